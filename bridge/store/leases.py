"""Who reads which session: leases with a fencing token.

A lease's time to live says when another worker may take over; who may write is said by the token alone, compared whole
at every commit. So a worker that was paused past its lease cannot harm: its next commit is refused.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, assert_never

from bridge.delivery.recovery import Placed, Seed, Trace, joined, seed_from_traces, trace_of, trace_of_letter
from bridge.delivery.window import Window
from bridge.errors import FaultKind, SinkFault
from bridge.model.keys import SessionKeys
from bridge.model.labels import Phase
from bridge.model.outcomes import Fenced, HeldBy, Lost, ReplayAsked
from bridge.model.place import Lease, Place
from bridge.store.link import Argument, RedisLink, Script

__all__ = ["FURTHEST_ENTRIES", "Begin", "Leases", "Start", "Wait", "WindowOnly"]

_LUA = files("bridge.store").joinpath("scripts")
_ACQUIRE = Script.of(_LUA.joinpath("acquire.lua").read_text())
_RENEW = Script.of(_LUA.joinpath("renew.lua").read_text())
_RELEASE = Script.of(_LUA.joinpath("release.lua").read_text())
_FIND = Script.of(_LUA.joinpath("find.lua").read_text())

# How far back in a stream to look for a session's last entries; how many at once, where each may be an embedding of
# 200 KB; and how many of them are enough at least.
_MAX_PAGES, _PAGE_ENTRIES, _ENOUGH_ENTRIES = 100, 100, 1000
FURTHEST_ENTRIES = _MAX_PAGES * _PAGE_ENTRIES
"""How far back `Leases.find_seed` looks, counted in entries of all sessions in the stream."""


@dataclass(frozen=True, slots=True)
class Begin:
    """Where Redis has no place, the session begins anew."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Where Redis has no place, the session is left alone: another worker may know it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowOnly:
    """Where Redis has a place without its whole window, these blobs become the window."""

    window: Sequence[bytes]


Start = Begin | Wait | Seed | WindowOnly
"""What to do about what Redis lacks when a lease is taken. A `Seed` is set up where Redis has no place."""

_BEGIN = Begin()


class Leases:
    """Takes, renews and gives back leases for one worker. ``releases`` counts those it has given back to anybody."""

    def __init__(self, link: RedisLink, worker_id: str, ttl_seconds: float) -> None:
        self._link = link
        # Two workers may be given one name by mistake; they must still not take each other for themselves.
        self.owner = f"{worker_id}/{uuid.uuid4().hex[:8]}"
        self.releases = 0
        self._ttl_ms = int(ttl_seconds * 1000)

    async def acquire(
        self, keys: SessionKeys, start: Start = _BEGIN, *, overdue: bytes = b"", under: str = ""
    ) -> Lease | HeldBy | None:
        """Take a lease that is free, ours already, or held by one whose beat is still ``overdue``: with a new token.

        ``under`` is the token under which a `Seed` or `WindowOnly` was found. None where `Wait` was to wait, and where
        Redis has gone back behind that token. Raises SinkFault.
        """
        arguments: list[Argument] = [
            *(self.owner, self._ttl_ms, uuid.uuid4().hex[:12], f"{time.time():.3f}", overdue),
            *_arguments_of(start, under),
        ]
        packed = _ACQUIRE.pack((keys.lease, keys.state, keys.seen), arguments)
        reply = await self._link.to(keys.state).run(_ACQUIRE, packed)
        try:
            return _lease(reply)
        except ValueError as error:
            detail = f"{keys.state} or {keys.seen} holds what the bridge did not write ({error})"
            raise SinkFault(
                FaultKind.DAMAGED, f"{detail} - delete both: the place is then read off the stream"
            ) from error

    async def renew(self, keys: SessionKeys, token: str) -> int | ReplayAsked | Fenced | Lost:
        """Keep a lease; tells how many commits Redis knows of, which an idle session can only learn here.

        Raises SinkFault.
        """
        packed = _RENEW.pack((keys.lease, keys.state), (self.owner, self._ttl_ms, token))
        match await self._link.to(keys.state).run(_RENEW, packed):
            case int(commits):
                return commits
            case [b"REPLAY", int(commits)]:
                return ReplayAsked(commits=commits)
            case [b"FENCED", int(commits)]:
                return Fenced(commits=commits)
            case b"LOST":
                return Lost()
            case reply:
                raise SinkFault(
                    FaultKind.REPLY, f"Redis gave an answer to a renewal that it should not know: {reply!r:.100}"
                )

    async def release(self, keys: SessionKeys, token: str, successor: str = "") -> None:
        """Give a lease back, if it is still ours, or leave it to ``successor`` for a time to live. Raises SinkFault.

        What is left to one worker is not counted: to the others there is nothing to take.
        """
        arguments = (self.owner, token, successor, self._ttl_ms)
        await self._link.to(keys.state).run(_RELEASE, _RELEASE.pack((keys.lease, keys.state), arguments))
        self.releases += not successor

    async def find_seed(self, keys: SessionKeys, session_id: str, window_events: int = 0) -> Seed | None:
        """The place that a session's own entries and dead letters tell, for a state that was lost. Raises SinkFault.

        ``window_events``: how many of them its window should hold, where there are so many.
        """
        enough = max(_ENOUGH_ENTRIES, window_events)
        routed = await self._link.to(keys.state).call("HGET", keys.state, "routed")
        found = [await self._traces(key, session_id, trace_of, enough) for key in keys.streams_with(routed)]
        traces, whole = joined(found, enough)
        oldest = (0, 0) if whole else traces[0][0]
        letters = await self._traces(keys.dead_letter, session_id, trace_of_letter, enough, oldest)
        both = sorted(traces + letters, key=lambda one: one[0])  # one clock, that of Redis, has written both
        return seed_from_traces([trace for _, trace in both])

    async def _traces(
        self,
        key: str,
        session_id: str,
        read: Callable[[dict[bytes, bytes]], Trace],
        enough: int,
        oldest: tuple[int, int] = (0, 0),
    ) -> list[Placed]:
        """The last entries of a session in one stream, ``enough`` of them or back to ``oldest``."""
        traces: list[Placed] = []
        begin = "+"
        for _ in range(_MAX_PAGES):
            packed = _FIND.pack((key,), (begin, _PAGE_ENTRIES, session_id))
            found, last, looked_at = await self._link.to(key).run(_FIND, packed)
            try:
                traces += [(_order(id), read(dict(zip(it[::2], it[1::2], strict=True)))) for id, it in found]
            except (KeyError, ValueError) as error:
                detail = f"{key} holds an entry of {session_id} that the bridge did not write ({error!r})"
                raise SinkFault(FaultKind.DAMAGED, f"{detail} - delete it with XDEL") from error
            if looked_at < _PAGE_ENTRIES or len(traces) >= enough or _order(last) < oldest:
                break
            begin = f"({last.decode()}"
        return traces


def _order(entry_id: bytes) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition(b"-")
    return int(milliseconds), int(number)


def _arguments_of(start: Start, under: str) -> list[Argument]:
    match start:
        case Begin():
            return ["begin"]
        case Wait():
            return ["wait"]
        case Seed(place=place, window=window):
            return ["seed", under, place.cursor or "", place.ordinal, place.seq, place.commits, *window]
        case WindowOnly(window=window):
            return ["window", under, "", 0, 0, 0, *window]
    assert_never(start)


def _lease(reply: Any) -> Lease | HeldBy | None:
    """Raises ValueError where the place was damaged."""
    match reply:
        case [b"NEW"]:
            return None
        case [b"HELD", bytes(owner), int(left), bytes(beat), int(lapsed)]:
            return HeldBy(
                owner=owner.decode(errors="replace"),
                remaining_seconds=left / 1000,
                beat=beat,
                lapsed=bool(lapsed),
            )
        case [b"OK", token, cursor, ordinal, seq, commits, phase, mark, list(window), seeded, int(letters)]:
            Window(0, window)  # to see that it can be read
            place = Place(
                cursor=cursor.decode() or None,
                ordinal=int(ordinal),
                seq=int(seq),
                commits=int(commits),
                mark=mark.decode(),
            )
            return Lease(
                token=token.decode(),
                place=place,
                phase=Phase(phase.decode()),
                window=tuple(window),
                seeded=bool(seeded),
                letters=letters,
            )
    raise SinkFault(FaultKind.REPLY, f"Redis gave an answer to a lease request that it should not know: {reply!r:.100}")
