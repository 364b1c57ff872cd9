"""The register of workers: who lives, and who wants which sessions.

A heartbeat carries a digest of the wishes and not the wishes: the list itself stands in a key of its own, is written
when it changes, and read once by each worker that wants something else. Workers that want the same never read it.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from importlib.resources import files

from bridge.errors import SinkFault
from bridge.model.keys import WORKERS_KEY, wishes_key
from bridge.model.outcomes import HeldBy
from bridge.model.wishes import NO_WISHES, Wishes
from bridge.store.fleet.presence import Member, Presence
from bridge.store.link import RedisLink, Script

__all__ = ["Peer", "Register", "Registry", "certainly_ahead"]

_REGISTER = Script.of(files("bridge.store").joinpath("scripts/register.lua").read_text())


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Another live worker. ``releases`` counts the leases that it has given back; it moves when there is one to take.

    ``heard_again``: it was heard more than once, so that it is no trace of one that has just ended.
    """

    owner: str
    releases: int
    wishes: Wishes
    heard_again: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """What was heard. ``forgotten``: Redis no longer knew this worker. ``away``: it was not heard for long itself.

    ``clock_ahead_seconds``: by how much Redis's clock is ahead of this machine's, as far as that is certain.
    """

    peers: tuple[Peer, ...]
    forgotten: bool
    away: bool
    clock_ahead_seconds: float


class Registry:
    """Speaks for one worker."""

    def __init__(self, link: RedisLink, owner: str, ttl_seconds: float) -> None:
        self._link = link.to(WORKERS_KEY)
        self._owner = owner
        self._ttl_ms = int(ttl_seconds * 1000)
        self._presence = Presence(ttl_seconds)
        self._lists = {NO_WISHES.digest: NO_WISHES}

    async def register(self, wishes: Wishes, releases: int) -> Register:
        """Say that this worker lives, wants these sessions and has given so many leases back. Raises SinkFault."""
        key = wishes_key(wishes.digest)
        record = f"{wishes.digest} {releases} {self._ttl_ms}"
        began, sent = time.monotonic(), time.time()
        forgettable = self._presence.forgettable(began)
        packed = _REGISTER.pack((WORKERS_KEY, key), (self._owner, record, self._ttl_ms, *forgettable))
        seconds, microseconds, known, listed, found = await self._link.run(_REGISTER, packed)
        now = time.monotonic()
        if not listed:
            await self._link.call("SET", key, wishes.blob, "PX", self._ttl_ms)
        rows = zip(found[::3], found[1::3], map(bool, found[2::3]), strict=True)
        away = self._presence.note(rows, now)
        live = self._presence.live
        await self._read_lists(wishes, live)
        return Register(
            peers=tuple(
                Peer(
                    owner=one.owner,
                    releases=one.releases,
                    wishes=self._lists.get(one.digest, NO_WISHES),
                    heard_again=one.heard_again,
                )
                for one in sorted(live, key=lambda one: one.owner)
            ),
            forgotten=not known,
            away=away,
            clock_ahead_seconds=certainly_ahead(seconds + microseconds / 1e6 - sent, now - began),
        )

    def is_gone(self, held: HeldBy) -> bool:
        """Whether whoever holds a lease is known to be dead, so that nobody need wait for it."""
        return self._presence.is_gone(held.owner, lapsed=held.lapsed)

    async def sign_off(self) -> None:
        """Leave the register. Raises SinkFault."""
        await self._link.run(
            _REGISTER, _REGISTER.pack((WORKERS_KEY, wishes_key(NO_WISHES.digest)), (self._owner, "", 0))
        )

    async def _read_lists(self, wishes: Wishes, live: list[Member]) -> None:
        known = {digest: self._lists[digest] for one in live if (digest := one.digest) in self._lists}
        self._lists = {NO_WISHES.digest: NO_WISHES, wishes.digest: wishes} | known
        await asyncio.gather(*map(self._read_list, {one.digest for one in live} - self._lists.keys()))

    async def _read_list(self, digest: str) -> None:
        try:
            blob = await self._link.call("GET", wishes_key(digest))
        except SinkFault:
            return  # of another type, say: until its worker has written it, it wants nothing that we know of
        if isinstance(blob, bytes) and (wishes := Wishes.parse(blob, digest)):
            self._lists[digest] = wishes


def certainly_ahead(seconds: float, round_trip_seconds: float) -> float:
    """By how much another clock is ahead of ours, as far as that is certain: nobody knows when in a round trip it told
    its time. ``seconds``: by how much it is ahead of ours at the call. Pure."""
    if seconds > round_trip_seconds:
        return seconds - round_trip_seconds
    return min(0.0, seconds)
