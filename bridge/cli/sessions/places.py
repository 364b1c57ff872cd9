"""Where a session stands, and who reads it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bridge.cli.options import ExitCode
from bridge.cli.sessions.desk import Outcome, at_desk

if TYPE_CHECKING:
    from bridge.operations.sessions import Desk

__all__ = ["drain_worker", "move_session", "rewind_session"]


def rewind_session(options: argparse.Namespace) -> ExitCode:
    """`sessions rewind`."""
    from bridge.errors import ConfigurationError
    from bridge.operations.rewinding import Target, rewind

    if options.to == "":
        raise ConfigurationError("--to wants an id; for the start say --to-start")
    to = Target.START if options.to_start else Target.LIVE if options.to_live else Target.ID

    async def move_place(desk: Desk) -> Outcome:
        await desk.read()
        done = await rewind(desk, desk.known(options.session), to, options.to, again=options.again)
        value = {
            "name": done.session.name,
            "to": done.to.value,
            "before": done.before,
            "after": done.after,
            "seq": done.seq,
            "window_events": done.window_events,
            "again": done.again,
            "declared": done.declared,
        }
        return ExitCode.DONE, value, done.in_words()

    return at_desk(options, move_place)


def move_session(options: argparse.Namespace) -> ExitCode:
    """`sessions move`."""
    from bridge.operations.moving import move

    async def give(desk: Desk) -> Outcome:
        await desk.read()
        session = desk.known(options.session)
        owner = await move(desk, session, options.to, options.wait)
        return ExitCode.DONE, {"name": session.name, "worker": owner}, [f"{owner} reads {session.name}"]

    return at_desk(options, give)


def drain_worker(options: argparse.Namespace) -> ExitCode:
    """`drain`."""
    from bridge.operations.moving import drain, refill

    async def give(desk: Desk) -> Outcome:
        if options.undo:
            owner = await refill(desk, options.worker)
            return ExitCode.DONE, {"worker": owner, "draining": False}, [f"{owner} takes its share again"]
        done = await drain(desk, options.worker, options.wait)
        value = {"worker": done.worker, "draining": True, "given": done.given, "kept": list(done.kept)}
        if done.kept:
            said = f"{done.worker} still reads {', '.join(done.kept)}: no other worker has taken them"
            return ExitCode.FAILED, value, [f"lens-bridge: {said}"]
        sessions = "1 session" if done.given == 1 else f"{done.given} sessions"
        return ExitCode.DONE, value, [f"{done.worker} has given {sessions} to others"]

    return at_desk(options, give)
