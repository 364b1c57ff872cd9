"""Writes the dashboards into the directory above: `python helm/dashboards/source/build.py`; `--check` only compares."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import consumers
import fleet
import overview
import session

DASHBOARDS = (overview.DASHBOARD, session.DASHBOARD, consumers.DASHBOARD, fleet.DASHBOARD)
TARGET = Path(__file__).resolve().parent.parent


def main(arguments: list[str]) -> int:
    """Exit code 1 where a written dashboard is not what its source says."""
    stale = []
    for dashboard in DASHBOARDS:
        path = TARGET / f"{dashboard['uid']}.json"
        text = json.dumps(dashboard, indent=2) + "\n"
        if not path.exists() or path.read_text() != text:
            stale.append(path.name)
            if "--check" not in arguments:
                path.write_text(text)
    if "--check" in arguments and stale:
        sys.stderr.write(f"not up to date: {', '.join(stale)}; run python helm/dashboards/source/build.py\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
