"""`lens-bridge doctor`: what keeps a bridge from working, and what to do about it."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from typing import TYPE_CHECKING, Any

from bridge.cli.options import ExitCode, add_settings, command, configuration_of, number
from bridge.cli.targets import reading
from bridge.errors import ConfigurationError

if TYPE_CHECKING:
    from bridge.operations.doctor import Line

__all__ = ["add_doctor_command"]

_DOCTOR = """\
The first thing to run, with the settings that the worker will have. It prints a line for each thing as soon as it is
known: how it is, what was looked at, what was seen, and after the dash what to do about it.
  ok            as it should be
  warn          works for now, or not as well as it could
  fault         a worker cannot do its work, or cannot keep its promise

It looks at the configuration; at Redis: name, port, TLS, login, version, role, what it keeps on disk, what it evicts,
memory, replicas, slots, Sentinels, permissions, scripts, durability, limits, clock; at the lens API: proxy, name, port,
TLS, key, clock, sessions, the first frame of one session's stream, and whether its lens writes where the bridge reads.

It touches no key of a session: permissions are asked for by ACL DRYRUN where Redis allows that, else tried on keys of
its own beside them, and a commit is made there too; they are removed, and end by themselves after a minute. A stream is
opened only where no worker reads it, and closed at its first event; where one does, that worker is watched instead: of
two readers each may get a part.
--no-trial does neither. It takes a few seconds and the time of listening, and never more than a minute and that.

examples:
  lens-bridge doctor                       all of it
  lens-bridge doctor --no-api              Redis alone; --no-redis: the lens API alone
  lens-bridge doctor --session camera-1 --wait 90
                                           listen to this one, long enough for a model to warm up
  lens-bridge doctor --json | jq -r '.lines[] | select(.level != "ok") | .remedy'
  kubectl exec deploy/lens-bridge -- lens-bridge doctor

exit codes: 0 no fault, there may be warnings; 2 bad configuration; 3 a fault was found
"""

_COLOURS = {"ok": 32, "warn": 33, "fault": "1;31"}


def add_doctor_command(commands: Any) -> None:
    """Add it."""
    summary = "look at all that a worker needs, and say what to mend"
    doctor = command(commands, "doctor", _doctor, summary, _DOCTOR)
    doctor.add_argument("--no-api", action="store_true", help="leave out the lens API")
    doctor.add_argument("--no-redis", action="store_true", help="leave out Redis")
    doctor.add_argument("--no-trial", action="store_true", help="write nothing into Redis, and open no stream")
    doctor.add_argument(
        "--session", metavar="NAME", help="listen to this one, also where Redis cannot tell whether a worker reads it"
    )
    wait = number(float, 1, 600)
    doctor.add_argument(
        "--wait", type=wait, default=10.0, metavar="SECONDS", help="how long to listen at the most (default 10)"
    )
    doctor.add_argument("--json", action="store_true", help="the report as JSON, at the end")
    add_settings(doctor, worker=False)
    doctor.add_argument("--base-url", metavar="URL", help="source.base_url")


def _doctor(options: argparse.Namespace) -> ExitCode:
    from bridge.operations.doctor import Level, as_json, fault, verdict, worst

    lines: list[Line] = []
    tell = _teller(options)
    try:
        configuration = configuration_of(options)
    except ConfigurationError as error:
        for words in str(error).splitlines():
            lines.append(fault("configuration", words))
            tell(lines[-1])
    else:
        from bridge.operations.doctor import Scope, examine

        scope = Scope(
            listening_seconds=options.wait,
            redis=not options.no_redis,
            api=not options.no_api,
            trial=not options.no_trial,
            session=options.session,
        )
        lines = reading(examine(configuration, scope, tell))
    print(json.dumps(as_json(lines), indent=2) if options.json else f"\n{verdict(lines)}")
    if any(line.check == "configuration" and line.level is Level.FAULT for line in lines):
        return ExitCode.BAD_CONFIGURATION
    return ExitCode.FAULT_FOUND if worst(lines) is Level.FAULT else ExitCode.DONE


def _teller(options: argparse.Namespace) -> Any:
    """Prints a line as soon as it is known; in colours, and broken to its width, on a terminal."""
    from bridge.operations.doctor import text_of

    if options.json:
        return lambda line: None
    terminal = sys.stdout.isatty()
    columns = shutil.get_terminal_size().columns if terminal else None
    colours = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def tell(line: Line) -> None:
        text = text_of(line, columns=columns)
        if colours:
            text = f"\x1b[{_COLOURS[line.level]}m{line.level}\x1b[0m{text[len(line.level) :]}"
        print(text, flush=True)

    return tell
