"""`lens-bridge demo`: see it work, without an account."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bridge.cli.options import ExitCode, command, number
from bridge.errors import BridgeError

__all__ = ["add_demo_command"]

_DEMO = """\
It starts a Redis, a simulated lens API that drops connections at random, two workers, and a service of two members that
reads. While events flow it kills one worker, one member of the service, pauses a worker for longer than its lease, and
kills one again; the others take over each time. Then it compares every entry in Redis, and what the service has worked
on, with what the API has sent. Nothing leaves this machine, nothing is left behind.
It needs: pip install '.[demo]' in the directory of the project (`make demo` does it), which brings a Redis too where
the PATH has no redis-server

examples:
  lens-bridge demo                         about half a minute; the last line is the verdict
  lens-bridge demo --keep                  stays up afterwards, with addresses and commands to try
  lens-bridge demo --seconds 10 --json     a report for a program; progress goes to standard error

exit codes: 0 exactly once, 1 could not run, 3 not exactly once (the offending entries are listed)
"""


def add_demo_command(commands: Any) -> None:
    """Add it."""
    demo = command(commands, "demo", _demo, "see it survive kills and dropped connections; needs no account", _DEMO)
    demo.add_argument(
        "--seconds", type=number(float, 5, 3600), default=30.0, help="about how long events flow (default 30)"
    )
    demo.add_argument("--seed", type=int, help="repeat a run's dropped connections and choice of victims")
    demo.add_argument("--keep", action="store_true", help="leave it running after the verdict, until Ctrl-C")
    demo.add_argument("--json", action="store_true", help="the report as JSON on standard output")
    demo.add_argument("--record", type=Path, metavar="FILE.svg", help="draw the last screen into a file")


def _demo(options: argparse.Namespace) -> ExitCode:
    try:
        from bridge.lab.demo import DemoOptions, run_demo
    except ModuleNotFoundError as error:
        if error.name != "rich":
            raise
        raise BridgeError(
            "the demo draws with rich, which is not installed: pip install '.[demo]' in the directory of the project, "
            "or make demo there"
        ) from None

    exact = run_demo(
        DemoOptions(
            seconds=options.seconds,
            seed=options.seed,
            keep=options.keep,
            as_json=options.json,
            picture=options.record,
        )
    )
    return ExitCode.DONE if exact else ExitCode.FAULT_FOUND
