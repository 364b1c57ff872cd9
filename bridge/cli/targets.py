"""What the commands that read streams have in common: which streams, and how Ctrl-C ends them."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from bridge.cli.options import ExitCode

if TYPE_CHECKING:
    from bridge.operations.redis_client import Client
    from bridge.settings import Settings
    from bridge.verify import StreamTarget

__all__ = ["add_stream_flag", "labelled", "reading", "targets_of"]

T = TypeVar("T")


def add_stream_flag(parser: argparse.ArgumentParser) -> None:
    """The flag that names streams."""
    parser.add_argument(
        "--stream", action="append", default=[], metavar="KEY", help="a stream key instead of sessions; may be repeated"
    )


async def targets_of(options: argparse.Namespace, settings: Settings, client: Client) -> list[StreamTarget]:
    """The streams that were asked for, else those of ``--sessions``, else those of all sessions that are known.

    Raises ConfigurationError where there is none.
    """
    from bridge.model.place import Session
    from bridge.operations.known import known_sessions
    from bridge.verify import StreamTarget, stream_targets

    if options.stream:
        return [StreamTarget(stream_key=key) for key in dict.fromkeys(options.stream)]
    if options.sessions:
        sessions = [Session(name=one.name, session_id=one.session_id) for one in settings.sessions]
    else:
        sessions = await known_sessions(client, settings)
    return stream_targets(settings.stream.key, sessions, settings.stream.routes)


async def labelled(targets: Sequence[StreamTarget], client: Client) -> dict[str, str]:
    """All streams of these, those that events are routed to as well, each with what to call it in a line: where several
    sessions share it, what stands behind the name of each.

    A route that is no longer configured is found in the state. What this user may not read there is left out.
    """
    from bridge.model.keys import keys_beside
    from bridge.operations.known import streams_of

    found: dict[str, str] = {}
    for target in targets:
        own = len(target.sessions) == 1
        found[target.stream_key] = target.sessions[0].name if own else ""
        for session in target.sessions:
            keys = keys_beside(target.stream_key, session.session_id)
            told = await streams_of(client, keys)
            for key in (*target.routed.get(session.session_id, ()), *told[1:]):
                found.setdefault(key, f"{session.name if own else ''}/{keys.part_of(key)}")
    return found


def reading(command: Coroutine[Any, Any, T]) -> T:
    """Run a command that only reads. Ctrl-C ends it at once, since there is nothing to put in order.

    asyncio would make a cancellation of it, which Python 3.11 may lose in ``asyncio.wait_for``, as redis-py uses it.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else someone wants it ignored
        signal.signal(signal.SIGINT, lambda *_: os._exit(ExitCode.INTERRUPTED))
    return asyncio.run(command)
