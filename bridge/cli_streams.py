"""`lens-bridge verify` and `lens-bridge tail`: the commands that read what stands in Redis."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from bridge.cli_options import ExitCode, add_settings, command, number, settings_of
from bridge.errors import ConfigurationError

if TYPE_CHECKING:
    from bridge.verify import StreamTarget
    from bridge.verify.report import Report

__all__ = ["add_stream_commands"]

T = TypeVar("T")

_VERIFY = """\
It reads each stream from its first entry to its last, and the committed place beside it. It looks for ids that stand
there twice, numbers that are missing, entries out of order, and a place that does not fit. Workers may go on
meanwhile. It prints a table, each offence with its entry, and the verdict as the last line.

examples:
  lens-bridge verify                                 the sessions of the configuration
  lens-bridge verify --stream 'lens:{camera-1}:events' --redis-url redis://localhost:6379
  lens-bridge verify --json | jq .verdict
  lens-bridge verify --simulator http://127.0.0.1:8090 --settle 10
                                                     compare with what the simulator has sent, byte for byte

exit codes: 0 nothing wrong, 1 could not check or found no events, 2 bad configuration, 3 found a fault
"""

_TAIL = """\
It prints one line per entry: time, session, seq, id, type, data. On a terminal a line is cut to the screen. While
Redis is away it waits, and loses nothing. Ctrl-C ends it.

examples:
  lens-bridge tail                                   the sessions of the configuration, from now on
  lens-bridge tail --from-start --stream 'lens:{camera-1}:events'
  lens-bridge tail --json | jq -r .data              one JSON object per line
"""


def add_stream_commands(commands: Any) -> None:
    """Add both."""
    summary = "prove that every event is there once and in order, or refute it"
    verify = command(commands, "verify", _verify, summary, _VERIFY)
    _add_streams(verify)
    verify.add_argument("--simulator", metavar="URL", help="compare with this simulator's record (its control URL)")
    wait = number(float, 0, 86_400)
    verify.add_argument("--settle", type=wait, default=0.0, metavar="SECONDS", help="wait for what it has just sent")
    verify.add_argument("--json", action="store_true", help="the report as JSON")
    add_settings(verify, worker=False)

    tail = command(commands, "tail", _tail, "follow events as they land", _TAIL)
    _add_streams(tail)
    tail.add_argument("--from-start", action="store_true", help="begin with the oldest entry")
    tail.add_argument("--json", action="store_true", help="each entry as a JSON object")
    add_settings(tail, worker=False)


def _add_streams(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--stream", action="append", default=[], metavar="KEY", help="a stream key instead of sessions; may be repeated"
    )


def _reading(command: Coroutine[Any, Any, T]) -> T:
    """Run a command that only reads. Ctrl-C ends it at once, since there is nothing to put in order.

    asyncio would make a cancellation of it, which Python 3.11 may lose in ``asyncio.wait_for``, as redis-py uses it.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else someone wants it ignored
        signal.signal(signal.SIGINT, lambda *_: os._exit(ExitCode.INTERRUPTED))
    return asyncio.run(command)


def _verify(options: argparse.Namespace) -> ExitCode:
    from bridge.verify.report import as_json, render_text

    settings = settings_of(options)
    targets = _targets(options, settings)
    report = _reading(_report(options, settings, targets))
    print(json.dumps(as_json(report), indent=2) if options.json else render_text(report))
    if not report.ok:
        return ExitCode.FAULT_FOUND
    if report.pending and options.settle:
        print(f"lens-bridge: not settled within {options.settle:g} s: {report.pending} events missing", file=sys.stderr)
        return ExitCode.FAULT_FOUND
    return ExitCode.DONE if any(one.events for one in report.sessions) else ExitCode.FAILED


async def _report(options: argparse.Namespace, settings: Any, targets: list[StreamTarget]) -> Report:
    from bridge.redis_client import check_contact, open_client
    from bridge.verify import verify

    url = options.simulator and options.simulator.rstrip("/").removesuffix("/control")
    async with open_client(settings.redis) as client:
        await check_contact(client, settings.redis)
        return await verify(client, targets, simulator_url=url, settle_seconds=options.settle)


def _targets(options: argparse.Namespace, settings: Any) -> list[StreamTarget]:
    from bridge.events import Session
    from bridge.verify import StreamTarget, stream_targets

    if options.stream:
        return [StreamTarget(stream_key=key) for key in dict.fromkeys(options.stream)]
    if not settings.sessions:
        raise ConfigurationError("no sessions are configured: set BRIDGE_SESSIONS, or give --sessions or --stream")
    sessions = [Session(name=one.name, session_id=one.session_id) for one in settings.sessions]
    return stream_targets(settings.stream.key, sessions)


def _tail(options: argparse.Namespace) -> ExitCode:
    _reading(_follow(options, settings_of(options)))
    return ExitCode.DONE


async def _follow(options: argparse.Namespace, settings: Any) -> None:
    from bridge.redis_client import check_contact, open_client
    from bridge.tail import follow, json_line, text_line

    targets = _targets(options, settings)
    labels = {one.stream_key: one.sessions[0].name for one in targets if len(one.sessions) == 1}
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    async with open_client(settings.redis) as client:
        await check_contact(client, settings.redis)
        async for landed in follow(
            client, [one.stream_key for one in targets], from_start=options.from_start, on_change=_tell_change
        ):
            print(
                json_line(landed) if options.json else text_line(landed, columns=columns, labels=labels),
                flush=True,  # whoever reads through a pipe follows too
            )


def _tell_change(error: str | None) -> None:
    said = f"Redis is away, waiting for it: {error}" if error else "Redis is back"
    print(f"lens-bridge: {said}", file=sys.stderr)
