"""Has dead letters published: by the worker that holds the session, or in its place where nobody does.

The letters are named in the state of their session. Whoever holds it hears of them when it renews its lease, and
publishes them in a commit of their own, in which they leave the dead-letter stream. Where nobody holds it, this command
takes the lease for a moment and makes that very commit. So a letter is published once, whoever is killed when.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.resources import files
from itertools import groupby

from bridge.delivery.filters import Router
from bridge.errors import FaultKind, Meaning, SinkFault
from bridge.masking import Secrets
from bridge.model.keys import SessionKeys, session_keys
from bridge.model.outcomes import HeldBy
from bridge.model.place import Lease, Session
from bridge.operations.letters import LetterStream, Wish
from bridge.settings import RedisSettings, StreamSettings
from bridge.store.commits import RedisSink
from bridge.store.durability import Durability
from bridge.store.leases import Leases, Wait
from bridge.store.link import RedisLink, Script

__all__ = ["Replayed", "replay"]

_ASK = Script.of(files("bridge.store").joinpath("scripts/ask.lua").read_text())

AT_ONCE_LETTERS, AT_ONCE_BYTES = 100, 1024 * 1024
"""In one commit, as large as those of events: Redis serves nobody else meanwhile."""

AT_ONCE_SESSIONS = 20

LEASE_SECONDS = 3.0
"""For as long a worker waits that wants the session when this command was killed while it held the lease."""

LOOK_SECONDS = 0.1
MOST_TRIES = 3  # of a letter that is still there after the commit that was to publish it


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What became of one session's letters: ``done`` are dead letters no longer, ``left`` still are; ``why``."""

    session_id: str
    done: tuple[Wish, ...]
    left: tuple[Wish, ...] = ()
    why: str = ""


async def replay(
    settings: RedisSettings, streams: Sequence[LetterStream], wishes: Sequence[Wish], wait_seconds: float
) -> list[Replayed]:
    """Publish each wish behind all events of its session, oldest first; one after another where they are many.

    ``wait_seconds``: for how long to wait for the worker that holds a session, for each hundred letters. What is not
    done by then is withdrawn, and left.
    """
    link = RedisLink(settings, Secrets())
    by_key = {stream.key: stream for stream in streams}
    turns = asyncio.Semaphore(AT_ONCE_SESSIONS)

    def owner(wish: Wish) -> tuple[str, str]:
        return wish.stream, wish.session_id

    async def one(stream: LetterStream, session_id: str, mine: list[Wish]) -> Replayed:
        events = stream.events.get(session_id, stream.others)
        if events is None:
            why = "several streams share these dead letters: name the session by --sessions, or its own --stream"
            return Replayed(session_id=session_id, done=(), left=tuple(mine), why=why)
        session = Session(name=stream.names.get(session_id, session_id), session_id=session_id)
        keys = replace(session_keys(events, session), routes=stream.routes.get(session_id, ()))
        async with turns:
            mine_there = _Session(link, settings, keys, session, known=session_id in stream.events)
            return await mine_there.replay(mine, wait_seconds)

    ordered = sorted(wishes, key=lambda wish: (owner(wish), wish.position))
    grouped = [(whose, list(mine)) for whose, mine in groupby(ordered, owner)]
    try:
        return await asyncio.gather(*(one(by_key[key], session_id, mine) for (key, session_id), mine in grouped))
    finally:
        await link.aclose()


class _Refused(Exception):
    """Waiting would not help; the text is for a person."""


_NO_PLACE = "Redis has no place of this session: a worker sets it up again from the entries, so start one first"


class _Session:
    """One session's letters."""

    def __init__(
        self, link: RedisLink, settings: RedisSettings, keys: SessionKeys, session: Session, *, known: bool
    ) -> None:
        self._link = link.to(keys.state)
        self._keys = keys
        self._session_id = session.session_id
        self._known = known  # that `keys.events` is its stream
        self._leases = Leases(link, "dead-letters", LEASE_SECONDS)
        # Trimming is left to the workers, whose limits this command may not know.
        self._sink = RedisSink(self._link, keys, session, StreamSettings(), Durability(settings))
        self._router = Router.of(keys)
        self._beat, self._overdue_at = b"", 0.0

    async def replay(self, wishes: Sequence[Wish], wait_seconds: float) -> Replayed:
        done: list[Wish] = []
        why = ""
        for portion in _portions(wishes):
            why = await self._publish(portion, wait_seconds)
            try:
                standing = await self._standing(portion)
            except SinkFault as fault:
                why = f"what became of them is not known, ask `dead-letters list`: {fault.detail}"
                break
            done += [wish for wish in portion if wish not in standing]
            if standing:
                break
        left = tuple(wish for wish in wishes if wish not in done)
        return Replayed(session_id=self._session_id, done=tuple(done), left=left, why=why)

    async def _publish(self, portion: Sequence[Wish], wait_seconds: float) -> str:
        """Ask for it until it is done or it is time to give up; tells why, empty where all is well."""
        letters = [[one.entry, one.key, one.type, *self._routed(one.type)] for one in portion]
        request = json.dumps(letters, separators=(",", ":"), ensure_ascii=False).encode()
        deadline = time.monotonic() + wait_seconds
        try:
            return await self._insist(portion, request, deadline)
        except _Refused as refused:
            why = str(refused)
        with suppress(SinkFault):  # then it may still be done, and the list tells
            await self._ask("withdraw", request)
        return why

    def _routed(self, type: str) -> tuple[str, ...]:
        return (self._router.stream_of(type),) if self._router else ()

    async def _insist(self, portion: Sequence[Wish], request: bytes, deadline: float) -> str:
        tries, asked, shortfall, said = 0, False, "", ""
        while True:
            try:
                if not asked:
                    asked = await self._ask("ask", request)
                    tries += asked
                elif await self._link.call("HGET", self._keys.state, "replay") != request:
                    if not await self._standing(portion):
                        return shortfall
                    if tries == MOST_TRIES:
                        raise _Refused("it is not what the dead letter said when it was read, or was cut")
                    asked = False
                    continue
                said = await self._in_the_place_of_the_holder()
                if not said:
                    continue
            except SinkFault as fault:
                said = fault.detail
                if fault.kind.meaning in (Meaning.CALL, Meaning.SESSION):
                    raise _Refused(said) from fault
                shortfall = said if fault.kind is FaultKind.NOT_DURABLE else shortfall
            if time.monotonic() >= deadline:
                raise _Refused(f"not done in time: {said}")
            await asyncio.sleep(LOOK_SECONDS)

    async def _ask(self, what: str, request: bytes) -> bool:
        """False where other letters are asked for at the moment, which have to be done first."""
        answer = await self._link.run(_ASK, _ASK.pack((self._keys.state,), (what, request)))
        if answer == b"NEW":
            raise _Refused(_NO_PLACE)
        return bool(answer == b"OK")

    async def _in_the_place_of_the_holder(self) -> str:
        """Do what is asked for where nobody holds the session; else tell who does."""
        overdue = self._beat if time.monotonic() >= self._overdue_at else b""
        lease = await self._leases.acquire(self._keys, Wait(), overdue=overdue)
        if lease is None:
            raise _Refused(_NO_PLACE)
        if isinstance(lease, HeldBy):
            if lease.beat != self._beat:
                self._beat, self._overdue_at = lease.beat, time.monotonic() + lease.remaining_seconds
            return f"{lease.owner} holds the session and does not publish them - is it of an earlier release?"
        try:
            await self._commit(lease)
        finally:
            with suppress(SinkFault):  # it runs out soon
                await self._leases.release(self._keys, lease.token)
        return ""

    async def _commit(self, lease: Lease) -> None:
        place = lease.place
        if place.cursor is None and not (place.ordinal or place.seq):
            raise _Refused(_NO_PLACE)
        if place.seq and not self._known:
            seed = await self._leases.find_seed(self._keys, self._session_id)
            if not (seed and seed.place.seq):
                raise _Refused(f"{self._keys.events} holds nothing of this session: name it by --sessions")
        await self._sink.commit(self._sink.pack_replay(lease.token, place, uuid.uuid4().hex[:12], lease.phase))

    async def _standing(self, portion: Sequence[Wish]) -> list[Wish]:
        """Those that are still dead letters."""
        calls = (self._link.call("XREVRANGE", one.stream, one.entry, one.entry) for one in portion)
        return [wish for wish, found in zip(portion, await asyncio.gather(*calls), strict=True) if found]


def _portions(wishes: Sequence[Wish]) -> Iterator[list[Wish]]:
    """What goes into one commit."""
    portion: list[Wish] = []
    size = 0
    for wish in wishes:
        if portion and (len(portion) == AT_ONCE_LETTERS or size + wish.size_bytes > AT_ONCE_BYTES):
            yield portion
            portion, size = [], 0
        portion.append(wish)
        size += wish.size_bytes
    if portion:
        yield portion
