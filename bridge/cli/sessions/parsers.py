"""The parsers of these commands."""

from __future__ import annotations

import argparse
from typing import Any

from bridge.cli.options import add_settings, command, number
from bridge.cli.sessions import places, records, texts

__all__ = ["add_drain_command", "add_sessions_commands"]


def add_sessions_commands(commands: Any) -> None:
    """Add them."""
    sessions = command(
        commands, "sessions", records.show_sessions, "see and steer sessions while workers run", texts.SESSIONS
    )
    verbs = sessions.add_subparsers(title="what to do", required=True, metavar="VERB")
    _common(
        command(verbs, "list", records.show_sessions, "all sessions: configured, registered, discovered", texts.LIST)
    )
    add = command(verbs, "add", records.add_sessions, "register sessions, for all workers to read", texts.ADD)
    add.add_argument("session", nargs="*", metavar="NAME=ID", help="or an id that is the name as well")
    add.add_argument("--from", dest="file", type=argparse.FileType(), metavar="FILE", help="one a line; - for stdin")
    add.add_argument("--replace", action="store_true", help="a registered name may get another id")
    _common(add)
    for verb, run, summary, text in (
        ("remove", records.remove_sessions, "take registered sessions out; streams and places stay", texts.REMOVE),
        ("pause", records.pause_sessions, "stop reading, and keep the place", texts.PAUSE),
        ("resume", records.resume_sessions, "go on from the place that was kept", texts.RESUME),
    ):
        one = command(verbs, verb, run, summary, text)
        one.add_argument("session", nargs="+", metavar="NAME", help="NAME=ID for one that only workers know")
        if verb == "pause":
            _add_wait(one, 15.0)
        _common(one)
    rewind = command(verbs, "rewind", places.rewind_session, "move a session's place, back or ahead", texts.REWIND)
    rewind.add_argument("session", metavar="NAME", help="NAME=ID for one that only workers know")
    to = rewind.add_mutually_exclusive_group(required=True)
    to.add_argument("--to", metavar="ID", help="go on behind the event with this id of the server's")
    to.add_argument("--to-start", action="store_true", help="go on with the first event that the server still serves")
    to.add_argument("--to-live", action="store_true", help="go on with what the server sends from now on")
    rewind.add_argument("--again", action="store_true", help="events may come again, or be skipped, as said above")
    _common(rewind, source=True)
    move = command(verbs, "move", places.move_session, "give a session to another worker", texts.MOVE)
    move.add_argument("session", metavar="NAME", help="NAME=ID for one that only workers know")
    move.add_argument("--to", required=True, metavar="WORKER", help="its worker.id, or how it begins: the pod, say")
    _add_wait(move, 20.0)
    _common(move)


def add_drain_command(commands: Any) -> None:
    """Add it."""
    drain = command(commands, "drain", places.drain_worker, "give all sessions of a worker to others", texts.DRAIN)
    drain.add_argument("worker", metavar="WORKER", help="its worker.id, or how it begins: the pod, say")
    drain.add_argument("--undo", action="store_true", help="let it take its share again")
    _add_wait(drain, 30.0)
    _common(drain)


def _common(parser: argparse.ArgumentParser, *, source: bool = False) -> None:
    parser.add_argument("--json", action="store_true", help="the outcome as JSON")
    if source:
        parser.add_argument("--base-url", metavar="URL", help="source.base_url")
    add_settings(parser, worker=False)


def _add_wait(parser: argparse.ArgumentParser, seconds: float) -> None:
    kind = number(float, 0, 3600)
    text = f"how long to wait for it (default {seconds:g})"
    parser.add_argument("--wait", type=kind, default=seconds, metavar="SECONDS", help=text)
