"""How far the consumers of our streams have come, and what others do: asked of Redis now and then, to be shown alone.

Every worker asks for every session, owned or not, so that consumers are seen to catch up after a session has ended, and
no worker shows what was true when it last owned one.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from importlib.resources import files
from types import TracebackType
from typing import Any, Self

from bridge.errors import SinkFault
from bridge.model.keys import keys_beside
from bridge.store.link import RedisLink, Script
from bridge.telemetry.figures import Kept, SessionFigures

__all__ = ["Backlog", "groups_of"]

_LOOK = Script.of(files("bridge.store").joinpath("scripts/look.lua").read_text())
_WHOLE, _DECIMAL = re.compile("[0-9]{1,18}"), re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")

SHORTEST_SECONDS, LONGEST_SECONDS = 2.0, 10.0  # between two looks: fresh for eyes, and finer than most scrapes
LOOKS_PER_SECOND = 100  # with many sessions; each is a short call
PAUSE_SECONDS = 1.0  # after a fault: a Redis that is away needs no more callers
MAX_GROUPS = 20  # a label must stay bounded, and some programs make a group for each of their runs


class Backlog:
    """An async context manager: while it is open, length, groups and what is kept of each session stay fresh.

    ``interval_seconds`` lies between two rounds; without it 2 to 10, the more the more sessions there are.
    """

    def __init__(
        self, link: RedisLink, sessions: Collection[SessionFigures], interval_seconds: float | None = None
    ) -> None:
        self._link = link
        self._sessions = sessions
        self._interval_seconds = interval_seconds
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="backlog")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            for one in list(self._sessions):  # one by one: commits share the connection and go first
                try:
                    await self._look(one)
                except SinkFault:  # the commits and the leases meet it too, and say so
                    one.groups, one.kept = {}, None  # a hole in a graph rather than an old number
                    await asyncio.sleep(PAUSE_SECONDS)
            await asyncio.sleep(self._pause_seconds)

    @property
    def _pause_seconds(self) -> float:
        if self._interval_seconds is not None:
            return self._interval_seconds
        return min(max(SHORTEST_SECONDS, len(self._sessions) / LOOKS_PER_SECOND), LONGEST_SECONDS)

    async def _look(self, one: SessionFigures) -> None:
        keys = keys_beside(one.stream_key, one.session.session_id)
        packed = _LOOK.pack((keys.events, keys.dead_letter, keys.state, keys.lease, *one.routed_keys), ())
        length, letters, owner, place, *groups = await self._link.to(one.stream_key).run(_LOOK, packed)
        parts = ("", *(f"{keys.part_of(key)}/" for key in one.routed_keys))
        one.stream_length, one.groups = length, groups_of(groups, parts)
        one.kept = _kept(letters, owner, place)


def _kept(letters: int, owner: bytes | None, place: Sequence[bytes | None]) -> Kept:
    """What was written by hand must not stop the looking: what is no number is none."""
    seq, cursor, updated_at = (None if raw is None else raw.decode(errors="replace") for raw in place)
    return Kept(
        owner=owner.decode(errors="replace") if owner else None,
        seq=int(seq) if seq and _WHOLE.fullmatch(seq) else None,
        cursor=cursor or None,
        updated_at=float(updated_at) if updated_at and _DECIMAL.fullmatch(updated_at) else 0.0,
        dead_letters=letters,
    )


def groups_of(streams: Sequence[list[list[Any]]], parts: Sequence[str] = ("",)) -> dict[str, tuple[int | None, int]]:
    """Lag and pending by group, the furthest behind first. The lag is None where Redis cannot tell it (or is older
    than 7.0). ``streams``: the groups of each; ``parts``: what stands in front of their names, of each stream."""
    found = []
    for reply, part in zip(streams, parts, strict=True):
        for fields in reply:
            group = dict(zip(fields[::2], fields[1::2], strict=True))
            name = part + group[b"name"].decode(errors="replace")
            found.append((name, (group.get(b"lag"), group[b"pending"])))
    found.sort(key=lambda one: -((one[1][0] or 0) + one[1][1]))
    return dict(found[:MAX_GROUPS])
