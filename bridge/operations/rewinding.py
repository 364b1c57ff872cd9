"""Moves the place of a session: back to an id or to the start, or ahead to what the server sends now.

Whoever reads the session is fenced first, by the same scripts with which workers take it from each other, so nobody can
commit against the old place. Then one commit writes the new place and a marker that declares it.

What consumers see. No number goes back: what is published from there on is numbered on. What stands in the stream, as
far as the dedupe window reaches, is skipped when the server sends it again: going back publishes what is *not* there,
behind the marker. Where more than the window stands behind the new place, events would stand there twice, under new
numbers; that is done only if it is asked for (`again`), and the marker declares it.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass
from enum import StrEnum

from bridge.delivery.echoes import masked
from bridge.delivery.envelopes import CONTROL_TYPES, STREAM_HEARTBEAT, kind_of
from bridge.delivery.markers import REWOUND, marker
from bridge.delivery.recovery import place_of
from bridge.delivery.window import Seal, Window
from bridge.errors import BridgeError, ConfigurationError, Meaning, SinkFault
from bridge.masking import Secrets
from bridge.model.keys import SessionKeys
from bridge.model.labels import Phase
from bridge.model.outcomes import AlreadyCommitted, Closed, CommitResult, Committed, HeldBy, Refused
from bridge.model.place import Lease, Place, Session
from bridge.model.records import PlainEvents
from bridge.model.registered import Order, Verb
from bridge.operations.sessions import Desk
from bridge.source.client import LensClient
from bridge.store.commits import RedisSink
from bridge.store.leases import FURTHEST_ENTRIES, Begin, Leases, WindowOnly

__all__ = ["Rewound", "Target", "rewind"]

_OWNER = "lens-bridge-rewind"
_TRIES = 20  # at a lease whose holder renews it at the same time, or an answer that did not come
_QUIET_SECONDS, _LONGEST_SECONDS = 0.5, 15.0  # how long to wait for more, and in all, to find where the server is now


class Target(StrEnum):
    """Where to."""

    ID = "id"
    START = "start"
    LIVE = "live"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewound:
    """What was done. ``window_events``: so many events that stand in the stream are skipped if they come again.

    ``again``: others may come again. ``declared``: a marker says so in the stream.
    """

    session: Session
    to: Target
    before: str | None
    after: str | None
    seq: int
    window_events: int
    again: bool
    declared: bool

    def in_words(self) -> list[str]:
        """What was done, and what consumers will see."""
        if self.to is Target.LIVE and self.after == self.before:
            return [f"{self.session.name} stands at the newest event already ({self.after or 'none yet'})"]
        where = f"behind {self.after}" if self.after else "before the first event that the server still serves"
        lines = [f"{self.session.name} stands {where}; it stood behind {self.before or 'nothing'}"]
        if self.to is Target.LIVE:
            lines.append("events between the two are skipped, unless they were read before")
        elif self.again:
            lines.append("events that stand in the stream may come again under new numbers: dedupe on the id")
        else:
            lines.append(f"the last {self.window_events} events of the stream are skipped if they come again")
        lines.append(f"what comes next gets seq {self.seq + 1}, and no number changes")
        if not self.declared:
            lines.append("no marker says so in the stream: nothing stands there yet, or stream.markers is false")
        return lines


async def rewind(desk: Desk, session: Session, to: Target, id: str | None, *, again: bool = False) -> Rewound:
    """Move the place. ``again``: also where events that stand in the stream would be published once more.

    Raises ConfigurationError where that is not accepted, BridgeError where it can't be done, and then nothing has
    changed; SinkFault for a fault of Redis.
    """
    keys, settings = desk.keys(session), desk.settings
    leases = Leases(desk.link, _OWNER, settings.lease.ttl_seconds)
    (seen,) = await desk.see([session])
    if to is Target.LIVE:
        id = await _newest(desk, session, seen.cursor)
    known = await _standing(desk, leases, keys, session)
    if to is Target.ID and id is not None:
        id = _of_the_server(id, known)
    _refuse(desk, session, to, id, known, again=again)
    if to is Target.LIVE and id == seen.cursor:
        return _told(session, to, seen.cursor, id, seen.seq, known, again=False, declared=False)
    lease = await _fence(leases, keys)
    try:
        before = lease.place
        if before.cursor is None and before.ordinal:
            raise BridgeError(f"the server gives {session.name} no ids, so there is no place to go to")
        if to is not Target.LIVE:
            # What is recognised from now on is what stands there: what was trimmed, or deleted, comes again.
            known = await _standing(desk, leases, keys, session)
            _refuse(desk, session, to, id, known, again=again)
            taken = await leases.acquire(keys, WindowOnly(window=known.window.awaiting(id)), under=lease.token)
            lease = _ours(taken, session)
        declared = settings.stream.markers and (before.seq > 0 or lease.letters > 0)
        await _commit(desk, keys, session, lease, to, id, again=again, declared=declared)
    finally:
        await leases.release(keys, lease.token)
    await desk.tell(Order(verb=Verb.LOOK, name=session.name))
    return _told(session, to, before.cursor, id, before.seq, known, again=again, declared=declared)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Standing:
    """The last events and dead letters of a session as they stand. ``whole``: there are no more of them."""

    window: Window
    whole: bool


async def _standing(desk: Desk, leases: Leases, keys: SessionKeys, session: Session) -> _Standing:
    size = desk.settings.dedupe.window_events
    seed = await leases.find_seed(keys, session.session_id, size)
    route = desk.link.to(keys.state)
    streams = keys.streams_with(await route.call("HGET", keys.state, "routed"))
    entries = max([int(await route.call("XLEN", key)) for key in streams])
    window = Window(size, seed.window if seed else ())
    # Fewer than were asked for: each stream was read to its beginning, where it is not too long for that.
    whole = len(window) < size and entries <= FURTHEST_ENTRIES
    return _Standing(window=window, whole=whole)


def _of_the_server(id: str, known: _Standing) -> str:
    """The id that the server gave last, where this is a key that the bridge made: of that the server knows nothing.

    What stands behind it already is skipped all the same. Raises ConfigurationError where no id came before it.
    """
    digest = known.window.get(id)
    given = id if digest is None else place_of(id, digest)[0]
    if given is None:
        raise ConfigurationError(f"{id!r:.100} came before the first id of the server: say --to-start")
    return given


def _refuse(desk: Desk, session: Session, to: Target, id: str | None, known: _Standing, *, again: bool) -> None:
    """Raises ConfigurationError where something would come twice, or be skipped, that nobody has asked for."""
    if to is Target.LIVE or again:
        return
    size = desk.settings.dedupe.window_events
    if to is Target.START and not known.whole:
        raise ConfigurationError(
            f"{session.name} has more than {size} events in its stream (dedupe.window_events): those before the last "
            f"{size} would come again under new numbers; give --again to accept that"
        )
    if to is Target.ID and id is not None and known.window.get(id) is None:
        raise ConfigurationError(
            f"{id!r:.100} is not among the last {len(known.window)} events of {session.name}: if it lies ahead, all "
            "before it is skipped; if it lies further back, what follows it comes again under new numbers; give "
            "--again to accept that"
        )


async def _fence(leases: Leases, keys: SessionKeys) -> Lease:
    """Take the lease from whoever has it."""
    overdue = b""
    for _ in range(_TRIES):
        match await leases.acquire(keys, Begin(), overdue=overdue):
            case Lease() as lease:
                return lease
            case HeldBy(beat=beat):
                overdue = beat
    raise BridgeError("its lease changes again and again; nothing was done, try once more")


def _ours(taken: Lease | HeldBy | None, session: Session) -> Lease:
    if isinstance(taken, Lease):
        return taken
    raise BridgeError(f"somebody else has taken {session.name} meanwhile; nothing was done, try once more")


async def _commit(
    desk: Desk, keys: SessionKeys, session: Session, lease: Lease, to: Target, id: str | None, *, again: bool,
    declared: bool,
) -> None:  # fmt: skip
    detail = {
        "reason": REWOUND,
        "last_id": lease.place.cursor,
        "outage_seconds": 0,
        "to": to.value,
        "to_id": id,
        "again": again,
    }
    batch = [marker("gap", detail, at=time.time(), cursor=id, ordinal=0)] if declared else []
    sink = RedisSink(desk.link.to(keys.state), keys, session, desk.settings.stream)
    after = Place(cursor=id, mark=uuid.uuid4().hex[:12])
    packed = sink.pack(lease.token, lease.place, after, batch, Seal(), Phase.ACTIVE)
    result = await _sent(sink, packed)
    if not isinstance(result, Committed | AlreadyCommitted):
        raise BridgeError(f"somebody else has taken {session.name} meanwhile; nothing was done, try once more")


async def _sent(sink: RedisSink, packed: bytes) -> CommitResult:
    """The same bytes until there is an answer: the script knows whether they had landed."""
    for _ in range(_TRIES):
        try:
            return await sink.commit(packed)
        except SinkFault as fault:
            if fault.kind.meaning is not Meaning.UNKNOWN:
                raise
            last = fault
            await asyncio.sleep(0.1)
    raise last


async def _newest(desk: Desk, session: Session, cursor: str | None) -> str | None:
    """The last id that the server has now. Raises BridgeError where it cannot be asked."""
    newest = cursor
    until = time.monotonic() + _LONGEST_SECONDS
    async with LensClient(desk.settings.source, Secrets()) as client:
        opened = await client.open(session.session_id, cursor)
        if isinstance(opened, Refused):
            raise BridgeError(f"the lens API does not say where {session.name} is now: {opened.detail}")
        try:
            # What is kept comes at once, and what happens now comes with pauses.
            while (left := until - time.monotonic()) > 0:
                async with asyncio.timeout(min(left, _QUIET_SECONDS if newest != cursor else left)):
                    events = await opened.read()
                if isinstance(events, Closed):
                    break
                each = events.events() if isinstance(events, PlainEvents) else events
                shown, _ = masked(client.sent_keys, each)  # it is written down
                ids = [one.id for one in shown if one.id and kind_of(one) not in CONTROL_TYPES]
                if not ids and any(kind_of(one) == STREAM_HEARTBEAT for one in each):
                    break
                newest = ids[-1] if ids else newest
        except TimeoutError:
            pass
        finally:
            await opened.aclose()
    return newest


def _told(
    session: Session, to: Target, before: str | None, after: str | None, seq: int, known: _Standing, *, again: bool,
    declared: bool,
) -> Rewound:  # fmt: skip
    return Rewound(
        session=session,
        to=to,
        before=before,
        after=after,
        seq=seq,
        window_events=len(known.window),
        again=again,
        declared=declared,
    )
