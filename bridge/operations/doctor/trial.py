"""Try out on keys of our own what a worker does to a session's: permissions, scripts, durability, limits.

The keys stand in the slot of a session, begin as its own do, are removed afterwards and end by themselves where nobody
comes to do that. Nothing is written unless it may be removed again; of a session's own keys none is touched.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from bridge.delivery.batch import MAX_ARGUMENTS, MAX_REQUEST_BYTES
from bridge.delivery.window import Seal
from bridge.errors import FaultKind, Meaning, SinkFault
from bridge.model.keys import WORKERS_KEY, SessionKeys, hash_tag
from bridge.model.labels import DeadLetterReason, Phase
from bridge.model.outcomes import AlreadyCommitted, Committed
from bridge.model.place import Lease, Place, Session
from bridge.model.records import DeadLetter, Record
from bridge.operations.doctor.lines import Level, Line, Tell, fault, from_words, ok, warn
from bridge.operations.doctor.permissions import (
    KEEP_MS,
    Call,
    Refusal,
    cleaning,
    everywhere,
    in_workers_slot,
    keeping_unread,
    laying_out,
    of_session,
    permission_lines,
)
from bridge.settings import DurabilityLevel, Settings
from bridge.store.commits import RedisSink
from bridge.store.durability import Durability
from bridge.store.leases import Leases
from bridge.store.link import RedisLink, Route
from bridge.store.script import Script

__all__ = ["ask_permissions", "throwaway", "try_out"]

_REMOVALS = 3
_SESSION = Session(name="doctor", session_id="doctor")
_NOTHING = Script.of("return 1")
_BY_QUESTION = "asked by ACL DRYRUN"
_BY_TRIAL = "tried on throw-away keys"


def throwaway(real: SessionKeys, token: str) -> SessionKeys:
    """Keys beside a session's own: the same beginnings, the same hash slot, and nobody else's. Pure."""
    tail = f":doctor:{token}"
    events = real.events + tail
    if hash_tag(events) != hash_tag(real.events):  # one without braces is its own tag
        events = f"{real.events}:doctor:{{{hash_tag(real.events)}}}:{token}"
    return SessionKeys(
        events=events,
        dead_letter=real.dead_letter + tail,
        state=real.state + tail,
        seen=real.seen + tail,
        lease=real.lease + tail,
        routes=tuple((glob, events if key == real.events else key + tail) for glob, key in real.routes),
    )


async def ask_permissions(link: RedisLink, settings: Settings, keys: SessionKeys) -> list[Line] | None:
    """Ask by ACL DRYRUN, with a session's own keys; nothing is carried out. None where that cannot be asked."""
    user, calls = _user(settings), _calls(settings, keys, f"{WORKERS_KEY}:{{{WORKERS_KEY}}}:doctor")
    route = link.to(keys.state)
    refusals = []
    for call in calls:
        try:
            said = await route.call("ACL", "DRYRUN", user, *call)
        except SinkFault as fault_:
            if fault_.kind.meaning is Meaning.UNKNOWN:
                raise
            if fault_.kind is FaultKind.NO_PERMISSION or call is calls[0]:
                return None
            continue  # a command that this server does not know: who needs it hears so elsewhere
        if said != b"OK":
            refusals.append(Refusal(call=call, words=said.decode(errors="replace") if isinstance(said, bytes) else ""))
    return list(permission_lines(refusals, user, len(calls), _BY_QUESTION))


async def try_out(
    link: RedisLink, settings: Settings, real: SessionKeys, tell: Tell, *, durability: bool = True
) -> None:
    """All of it, for the session with these keys. Raises SinkFault where the connection breaks.

    ``durability``: also whether a commit becomes as safe as it should be.
    """
    token = uuid.uuid4().hex[:12]
    keys = throwaway(real, token)
    workers = f"{WORKERS_KEY}:{{{WORKERS_KEY}}}:doctor:{token}"
    route = link.to(keys.state)
    user = _user(settings)
    asked = await ask_permissions(link, settings, real)
    for line in asked or ():
        tell(line)
    if refused := await _refused(route, cleaning(keys)):
        if not asked:
            for line in permission_lines(refused, user, 0, _BY_TRIAL):
                tell(line)
        tell(warn("redis.commit", "nothing was tried out, since what is written could not be removed again"))
        return
    try:
        laid_out = laying_out(keys)
        refused += await _refused(route, laid_out)
        if asked is None:
            calls = _of_session(settings, keys)
            calls += everywhere(settings.redis.address.topology, settings.redis.durability)
            there = in_workers_slot(workers)
            refused += await _refused(route, calls) + await _refused(link.to(workers), there)
            for line in permission_lines(refused, user, len(calls) + len(there) + len(laid_out) + 2, _BY_TRIAL):
                tell(line)
        if not refused:
            await _commit(link, settings, keys, tell, durability=durability)
            await _fill_a_request(route, keys, tell)
    finally:
        await _remove(route, keys, tell)


async def _commit(link: RedisLink, settings: Settings, keys: SessionKeys, tell: Tell, *, durability: bool) -> None:
    """What a worker does from taking a lease to giving it back, by its own scripts."""
    leases = Leases(link, "doctor", KEEP_MS / 1000)
    sink = RedisSink(link.to(keys.state), keys, _SESSION, settings.stream)
    try:
        lease = await leases.acquire(keys)
        if not isinstance(lease, Lease):
            tell(fault("redis.commit", f"a lease on {keys.lease}, which nobody knows, was not given: {lease}"))
            return
        after = Place(cursor="doctor-1", seq=1, commits=1, mark="doctor-1")
        packed = sink.pack(lease.token, lease.place, after, _records(), Seal(), Phase.ACTIVE)
        began = time.monotonic()
        first = await sink.commit(packed)
        seconds = time.monotonic() - began
        again = await sink.commit(packed)
        if not isinstance(first, Committed) or not isinstance(again, AlreadyCommitted):
            tell(fault("redis.commit", f"a commit and the same bytes again were answered {first} and {again}"))
            return
        tell(
            ok(
                "redis.commit",
                f"a commit lands within {seconds * 1000:.1f} ms, and the same bytes again change nothing",
            )
        )
        if durability and settings.redis.durability is not DurabilityLevel.MEMORY:
            follows = Place(cursor="doctor-1", seq=1, commits=2, mark="doctor-2")
            packed = sink.pack(lease.token, after, follows, (), Seal(), Phase.ACTIVE)
            tell(await _confirmed(link, settings, keys, packed))
        await leases.renew(keys, lease.token)
        await leases.find_seed(keys, "doctor")
        await leases.release(keys, lease.token)
    except SinkFault as error:
        if error.kind.meaning is Meaning.UNKNOWN:
            raise
        tell(from_words(Level.FAULT, "redis.commit", error.detail))


async def _confirmed(link: RedisLink, settings: Settings, keys: SessionKeys, packed: bytes) -> Line:
    """Whether a commit is as safe as it should be, in the time that it may take."""
    level = settings.redis.durability.value
    sink = RedisSink(link.to(keys.state), keys, _SESSION, settings.stream, Durability(settings.redis))
    began = time.monotonic()
    try:
        await sink.commit(packed)
    except SinkFault as error:
        if error.kind is not FaultKind.NOT_DURABLE:
            raise
        line = from_words(Level.FAULT, "redis.durability", error.detail)
        return (
            line if line.remedy else replace(line, remedy="look at INFO replication and INFO persistence: what lags?")
        )
    return ok("redis.durability", f"a commit is {level} within {(time.monotonic() - began) * 1000:.1f} ms")


async def _fill_a_request(route: Route, keys: SessionKeys, tell: Tell) -> None:
    """Ask for what is not there, with as many arguments and as many bytes as a batch may have."""
    fields = ["doctor"] * MAX_ARGUMENTS
    tries = (
        (f"{MAX_ARGUMENTS:,} arguments", "commit.max_events", ("HMGET", keys.state, *fields)),
        (f"{MAX_REQUEST_BYTES:,} bytes", "commit.max_bytes", ("HGET", keys.state, "x" * MAX_REQUEST_BYTES)),
    )
    for size, setting, call in tries:
        try:
            await route.call(*call)
        except SinkFault as error:
            detail = f"a request of {size}, which a batch may have, is refused: {error.detail}"
            tell(warn("redis.limits", detail, f"lower {setting}; a worker halves its batches until they pass"))
            return
    tell(ok("redis.limits", f"requests of {tries[0][0]} and of {tries[1][0]} pass, as large as a batch may be"))


async def _refused(route: Route, calls: Iterable[Call]) -> list[Refusal]:
    """Those that are not permitted. What else may be wrong with a call is heard of by the commit."""
    refusals = []
    for call in calls:
        try:
            await route.call(*call)
        except SinkFault as error:
            if error.kind is FaultKind.NO_PERMISSION:
                refusals.append(Refusal(call=call, words=error.detail))
            elif error.kind.meaning is Meaning.UNKNOWN:
                raise
    return refusals


async def _remove(route: Route, keys: SessionKeys, tell: Tell) -> None:
    """One by one: of several keys none is deleted where one is not permitted."""
    left = [*keys.streams, keys.dead_letter, keys.state, keys.seen, keys.lease]
    for _ in range(_REMOVALS):  # a connection that a trial has broken is found to be so by the first
        try:
            while left:
                with _refusing():
                    await route.call("DEL", left[-1])
                left.pop()
            return
        except SinkFault:
            continue
    tell(warn("redis.commit", f"throw-away keys are left for {KEEP_MS // 1000} s: {', '.join(left)}"))


@contextmanager
def _refusing() -> Iterator[None]:
    """Who refuses to delete a key has refused to write it."""
    try:
        yield
    except SinkFault as error:
        if error.kind.meaning is Meaning.UNKNOWN:
            raise


def _records() -> Sequence[Record]:
    now = time.time()
    letter = DeadLetter(reason=DeadLetterReason.REJECTED, detail="doctor", truncated=False)
    return (
        Record("doctor-1", "doctor", b'{"type":"doctor"}', now, "message", b"", "doctor-1", 0),
        Record("doctor-2", "doctor", b"", now, "message", b"", "doctor-1", 0, dead=letter),
    )


def _calls(settings: Settings, keys: SessionKeys, workers: str) -> list[Call]:
    return [
        *everywhere(settings.redis.address.topology, settings.redis.durability),
        *(*cleaning(keys), *laying_out(keys)),
        *_of_session(settings, keys),
        *in_workers_slot(workers),
    ]


def _of_session(settings: Settings, keys: SessionKeys) -> list[Call]:
    keeping = keeping_unread(keys) if settings.stream.keep_unread else []
    return [*keeping, *of_session(keys, _NOTHING.source, _NOTHING.sha)]


def _user(settings: Settings) -> str:
    return settings.redis.username or settings.redis.address.username or "default"
