"""What workers say to each other so that a session is read on until the next one can read it.

A worker that should read more says how many it could begin with at once: its *room*. One that has too many, or that
leaves, *books* as many places, stops each of those sessions, leaves its lease to the one it booked with, and says so.
None of this gives a right to write: the lease is then acquired as ever, and with it a new token.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from bridge.model.keys import WORKERS_KEY, given_key, room_key
from bridge.store.link import RedisLink, Script

__all__ = ["Handovers", "Heard"]

_LUA = files("bridge.store").joinpath("scripts")
_OFFER = Script.of(_LUA.joinpath("offer.lua").read_text())
_BOOK = Script.of(_LUA.joinpath("book.lua").read_text())
_GIVE = Script.of(_LUA.joinpath("give.lua").read_text())


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """``given``: fingerprints of sessions whose leases were left to this worker. ``booked``: how many are to come."""

    given: tuple[bytes, ...]
    booked: int


class Handovers:
    """Speaks for one worker. ``ttl_seconds``: how long an offer or a gift stands that nobody takes."""

    def __init__(self, link: RedisLink, owner: str, ttl_seconds: float) -> None:
        self._link = link.to(WORKERS_KEY)
        self._owner = owner
        self._ttl_ms = int(ttl_seconds * 1000)
        self._offered = self._booked = 0

    @property
    def open(self) -> bool:
        """Something is offered, or booked and still to come."""
        return bool(self._offered or self._booked)

    async def offer(self, room: int) -> Heard:
        """Say that this worker could begin to read ``room`` more sessions now, with those that this call tells of and
        those that are still to come. In place of what was offered before. Raises SinkFault.
        """
        keys = room_key(self._owner), given_key(self._owner)
        packed = _OFFER.pack(keys, (room, self._offered, self._booked, self._ttl_ms))
        booked, offered, given = await self._link.run(_OFFER, packed)
        self._offered, self._booked = int(offered), int(booked)
        return Heard(given=tuple(given), booked=self._booked)

    def give_up(self) -> None:
        """What was booked has not come for long, and will not."""
        self._booked = 0

    async def book(self, sessions: int, most: Mapping[str, int]) -> dict[str, int]:
        """Book up to ``sessions`` places with other workers, of which each gets at most so many. Raises SinkFault."""
        if not most:
            return {}
        packed = _BOOK.pack([room_key(owner) for owner in most], (sessions, *most.values()))
        booked = await self._link.run(_BOOK, packed)
        return {owner: int(count) for owner, count in zip(most, booked, strict=True) if count}

    async def give(self, owner: str, fingerprint: bytes) -> None:
        """Tell a worker that the lease of a session was left to it. Raises SinkFault."""
        await self._link.run(_GIVE, _GIVE.pack((given_key(owner),), (fingerprint, self._ttl_ms)))
