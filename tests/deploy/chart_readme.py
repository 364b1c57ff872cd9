"""Writes the table of values into helm/README.md anew: ``python -m tests.deploy.chart_readme``."""

from __future__ import annotations

import json

from tests.deploy.chart_values import CHART, Value, documented_values

__all__ = ["FILE", "render"]

FILE = CHART / "README.md"
_BEGIN, _END = "<!-- values: begin -->", "<!-- values: end -->"


def render() -> str:
    """The whole README, with the table as values.yaml has it. Raises ValueError where the marks are missing."""
    before, begin, rest = FILE.read_text(encoding="utf-8").partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise ValueError(f"{FILE} must hold {_BEGIN} and {_END}")
    rows = "\n".join(map(_row, documented_values()))
    return f"{before}{_BEGIN}\n\n| value | default | what |\n| --- | --- | --- |\n{rows}\n\n{_END}{after}"


def _row(value: Value) -> str:
    description = value.description.replace("|", "\\|")
    return f"| `{value.path}` | {_default(value.default)} | {description} |"


def _default(default: object) -> str:
    if default in ("", None):
        return ""
    text = json.dumps(default) if isinstance(default, dict | list | bool) else str(default)
    return f"`{text}`" if len(text) <= 60 else "see values.yaml"


if __name__ == "__main__":
    FILE.write_text(render(), encoding="utf-8")
