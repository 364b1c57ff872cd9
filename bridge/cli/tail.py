"""`lens-bridge tail`: follow events as they land."""

from __future__ import annotations

import argparse
import shutil
import sys
from typing import Any

from bridge.cli.options import ExitCode, add_settings, command, settings_of
from bridge.cli.targets import add_stream_flag, labelled, reading, targets_of

__all__ = ["add_tail_command"]

_TAIL = """\
It prints one line per entry: time, session, seq, id, type, data. Where stream.routes sends types to other streams, all
of them are followed, and the session is shown as NAME/KEY, e.g. camera-1/results. On a terminal a line is cut to the
screen. While Redis is away it waits, and loses nothing. Ctrl-C ends it.

examples:
  lens-bridge tail                                   the sessions of the configuration, from now on
  lens-bridge tail --from-start --stream 'lens:{camera-1}:events'
  lens-bridge tail --json | jq -r .data              one JSON object per line

exit codes: 0 whoever read its output has gone, 1 Redis could not be reached at the start, 2 bad configuration or no
session, 130 Ctrl-C
"""


def add_tail_command(commands: Any) -> None:
    """Add it."""
    tail = command(commands, "tail", _tail, "follow events as they land", _TAIL)
    add_stream_flag(tail)
    tail.add_argument("--from-start", action="store_true", help="begin with the oldest entry")
    tail.add_argument("--json", action="store_true", help="each entry as a JSON object")
    add_settings(tail, worker=False)


def _tail(options: argparse.Namespace) -> ExitCode:
    reading(_follow(options, settings_of(options)))
    return ExitCode.DONE


async def _follow(options: argparse.Namespace, settings: Any) -> None:
    from bridge.operations.redis_client import check_contact, open_client
    from bridge.operations.tail import follow, json_line, nothing_stands_at, text_line

    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    async with open_client(settings.redis) as client:
        await check_contact(client, settings.redis)
        targets = await targets_of(options, settings, client)
        labels = await labelled(targets, client)
        if await nothing_stands_at(client, [*labels]):  # a misspelt key would be waited at in silence for ever
            print(f"lens-bridge: nothing stands yet at {', '.join(labels)}, waiting for it", file=sys.stderr)
        async for landed in follow(client, [*labels], from_start=options.from_start, on_change=_tell_change):
            print(
                json_line(landed) if options.json else text_line(landed, columns=columns, labels=labels),
                flush=True,  # whoever reads through a pipe follows too
            )


def _tell_change(error: str | None) -> None:
    said = f"Redis is away, waiting for it: {error}" if error else "Redis is back"
    print(f"lens-bridge: {said}", file=sys.stderr)
