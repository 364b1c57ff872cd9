"""Which sessions there are, and whether they are read."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bridge.cli.options import ExitCode
from bridge.cli.sessions.desk import Outcome, at_desk

if TYPE_CHECKING:
    from bridge.operations.sessions import Desk, Listed

__all__ = ["add_sessions", "pause_sessions", "remove_sessions", "resume_sessions", "show_sessions"]


def show_sessions(options: argparse.Namespace) -> ExitCode:
    """`sessions list`."""
    from bridge.operations.glances import live_workers

    async def listed(desk: Desk) -> Outcome:
        sessions, workers = await desk.listed(), await live_workers(desk.link)
        held = {owner: sum(one.seen.owner == owner for one in sessions) for owner in workers}
        value = {
            "sessions": [_as_json(one) for one in sessions],
            "workers": [{"worker": owner, "sessions": count} for owner, count in held.items()],
            "unreadable": desk.unreadable,
        }
        lines = [*_table(sessions), *(f"unreadable: {name}: {why}" for name, why in desk.unreadable.items())]
        lines.append("workers: " + (", ".join(f"{owner} ({count})" for owner, count in held.items()) or "none"))
        return ExitCode.DONE, value, lines

    return at_desk(options, listed)


def _as_json(one: Listed) -> dict[str, Any]:
    return {
        "name": one.session.name,
        "session_id": one.session.session_id,
        "origin": one.origin,
        "state": one.state,
        "worker": one.seen.owner,
        "seq": one.seen.seq,
        "cursor": one.seen.cursor,
        "updated_at": one.seen.updated_at or None,
    }


def _table(sessions: Sequence[Listed]) -> list[str]:
    rows = [("SESSION", "ID", "ORIGIN", "STATE", "SEQ", "COMMITTED", "WORKER")]
    for one in sessions:
        at = datetime.fromtimestamp(one.seen.updated_at, UTC).strftime("%Y-%m-%d %H:%M:%S") if one.seen.seq else "-"
        session, seen = one.session, one.seen
        rows.append((session.name, session.session_id, one.origin, one.state, str(seen.seq), at, seen.owner or "-"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _changed(changed: Sequence[str], asked: int, done: str) -> Outcome:
    lines = [f"{done}: {', '.join(changed)}"] if changed else []
    if len(changed) < asked:
        lines.append(f"nothing to do for {asked - len(changed)} of {asked}")
    return ExitCode.DONE, {"changed": list(changed)}, lines


def add_sessions(options: argparse.Namespace) -> ExitCode:
    """`sessions add`."""
    from bridge.errors import ConfigurationError
    from bridge.operations.sessions import session_of

    words = [*options.session]
    if options.file:
        words += [word for line in options.file if (word := line.partition("#")[0].strip())]
    if not words:
        raise ConfigurationError("no sessions given: write NAME=ID, or --from FILE")
    sessions = [session_of(word) for word in words]

    async def add(desk: Desk) -> Outcome:
        await desk.read()
        return _changed(await desk.add(sessions, replaces=options.replace), len(sessions), "added")

    return at_desk(options, add)


def remove_sessions(options: argparse.Namespace) -> ExitCode:
    """`sessions remove`."""

    async def remove(desk: Desk) -> Outcome:
        return _changed(await desk.remove(options.session), len(options.session), "removed")

    return at_desk(options, remove)


def pause_sessions(options: argparse.Namespace) -> ExitCode:
    """`sessions pause`."""

    from bridge.operations.sessions import HEARD_SECONDS

    async def pause(desk: Desk) -> Outcome:
        changed = await desk.pause(options.session, paused=True)
        steady_seconds = HEARD_SECONDS if changed else 0.0
        sessions = [desk.known(name) for name in options.session]
        let_go = await asyncio.gather(
            *(desk.until(lambda seen: seen.owner is None, one, options.wait, steady_seconds) for one in sessions)
        )
        if still := [one.name for one, gone in zip(sessions, let_go, strict=True) if gone is None]:
            said = f"{still[0]} is still read after {options.wait:g} s; its worker lets go when it hears of it"
            return ExitCode.FAILED, {"changed": changed, "error": said}, [f"lens-bridge: {said}"]
        return _changed(changed, len(options.session), "paused")

    return at_desk(options, pause)


def resume_sessions(options: argparse.Namespace) -> ExitCode:
    """`sessions resume`."""

    async def resume(desk: Desk) -> Outcome:
        return _changed(await desk.pause(options.session, paused=False), len(options.session), "resumed")

    return at_desk(options, resume)
