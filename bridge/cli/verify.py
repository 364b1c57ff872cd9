"""`lens-bridge verify`: judge what stands in Redis."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from bridge.cli.options import ExitCode, add_settings, command, number, settings_of
from bridge.cli.targets import add_stream_flag, reading, targets_of

if TYPE_CHECKING:
    from bridge.settings import Settings
    from bridge.verify.report import Report

__all__ = ["add_verify_command"]

_VERIFY = """\
It reads each stream from its first entry to its last, the dead letters and the committed place. It looks for events
that stand there twice, numbers that are missing, entries out of order, keys and types that do not fit the data, and a
place that does not fit the entries. Workers may go on meanwhile.

It prints a table, each offence with its entry, what you should know, and the verdict as the last line:
  SESSION       the configured name, else the session id
  EVENTS        lens events; MARKERS: entries of the bridge's own; DEAD LETTERS: events that could not be published
  SEQ           the first and the last number there
  UNDER WAY     sent by the simulator and not yet committed; - without --simulator
  FAULTS        0, or the guarantee is broken; STREAM KEY: where it stands in Redis

"no fault found" is what Redis alone can prove. "exactly once" needs the server's own record (--simulator).

examples:
  lens-bridge verify                                 the sessions of the configuration
  lens-bridge verify --stream 'lens:{camera-1}:events' --redis-url redis://localhost:6379
  lens-bridge verify --json | jq .verdict
  lens-bridge verify --simulator http://127.0.0.1:8090 --settle 10
                                                     compare with what the simulator has sent, byte for byte

exit codes: 0 nothing wrong, 1 could not check or found no events, 2 bad configuration, 3 found a fault
"""


def add_verify_command(commands: Any) -> None:
    """Add it."""
    summary = "prove the guarantee from what stands in Redis, or refute it"
    verify = command(commands, "verify", _verify, summary, _VERIFY)
    add_stream_flag(verify)
    verify.add_argument("--simulator", metavar="URL", help="compare with this simulator's record (its control URL)")
    wait = number(float, 0, 86_400)
    verify.add_argument("--settle", type=wait, default=0.0, metavar="SECONDS", help="wait for what it has just sent")
    verify.add_argument("--json", action="store_true", help="the report as JSON")
    add_settings(verify, worker=False)


def _verify(options: argparse.Namespace) -> ExitCode:
    from bridge.verify.report import as_json, render_text

    settings = settings_of(options)
    report = reading(_report(options, settings))
    print(json.dumps(as_json(report), indent=2) if options.json else render_text(report))
    if not report.ok:
        return ExitCode.FAULT_FOUND
    if report.pending and options.settle:
        print(f"lens-bridge: not settled within {options.settle:g} s: {report.pending} events missing", file=sys.stderr)
        return ExitCode.FAULT_FOUND
    return ExitCode.DONE if any(one.events for one in report.sessions) else ExitCode.FAILED


async def _report(options: argparse.Namespace, settings: Settings) -> Report:
    from bridge.operations.redis_client import check_contact, open_client
    from bridge.verify import Filter, verify

    url = options.simulator and options.simulator.rstrip("/").removesuffix("/control")
    async with open_client(settings.redis) as client:
        await check_contact(client, settings.redis)
        targets = await targets_of(options, settings, client)
        filter = Filter(settings.events.include, settings.events.exclude)
        return await verify(client, targets, simulator_url=url, settle_seconds=options.settle, filter=filter)
