"""Which sessions there are, who has named them, and who listens: a worker, or the doctor itself for a few seconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from bridge.delivery.envelopes import CONTROL_TYPES, kind_of
from bridge.errors import ConfigurationError
from bridge.model.found import FIELD, key_of_found, parse_found, sessions_of
from bridge.model.keys import SESSIONS_KEY, session_keys
from bridge.model.outcomes import Closed, Unanswered
from bridge.model.place import Session
from bridge.model.records import PlainEvents, ServerSentEvent
from bridge.model.registered import Registered
from bridge.operations.doctor.channel import Heard
from bridge.operations.doctor.lines import Line, ok, warn
from bridge.settings import DiscoverySettings, Settings
from bridge.settings.values import listed
from bridge.source.answers import listed_in, plain_status
from bridge.source.stream import LensStream
from bridge.store.link import RedisLink

__all__ = ["Ear", "Known", "Readers", "chosen", "configured_in", "discovery_line", "found_in", "sessions_line"]

_ORIGINS = _CONFIGURED, _REGISTERED, _DISCOVERED = ("configured", "registered", "discovered")
_NONE = "none is configured, registered or found: a worker stands by"
_ADD = "set sessions (BRIDGE_SESSIONS) or discovery.enabled, or lens-bridge sessions add NAME=ID while workers run"


_MOST_LOOKED_AT = 100  # sessions whose end is looked for
_LOOK_SECONDS = 0.5  # between two looks at what a worker has published


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A session. ``origin``: configured, registered or discovered. ``over``: Redis knows its end."""

    session: Session
    origin: str = _CONFIGURED
    paused: bool = False
    over: bool = False

    @property
    def label(self) -> str:
        """Its name, and who has named it where that is not the configuration."""
        return self.session.name if self.origin == _CONFIGURED else f"{self.session.name} ({self.origin})"


class Readers:
    """The workers that read, by what stands in Redis. ``template``: that of the stream keys."""

    def __init__(self, link: RedisLink, template: str) -> None:
        self._link = link
        self._template = template

    async def known(self, settings: Settings) -> list[Known]:
        """What is configured, what was added at run time, what workers have found, in this order. Raises SinkFault."""
        there = {one.session.name: one for one in configured_in(settings)}
        paused = set()
        reply = await self._link.to(SESSIONS_KEY).call("HGETALL", SESSIONS_KEY)
        for name, text in zip(reply[::2], reply[1::2], strict=True):
            with suppress(ValueError):
                record = Registered.parse(name.decode(errors="replace"), text)
                paused |= {record.name} if record.paused else set()
                if record.session:
                    there.setdefault(record.name, Known(session=record.session, origin=_REGISTERED))
        rules = settings.discovery
        if rules.enabled:
            key = key_of_found(settings.source.base_url, rules.lens_ids, rules.statuses)
            found = parse_found(await self._link.to(key).call("HGET", key, FIELD))
            for one in sessions_of(found, rules.name, [one.session for one in there.values()]):
                there.setdefault(one.name, Known(session=one, origin=_DISCOVERED))
        return [
            replace(one, paused=name in paused, over=at < _MOST_LOOKED_AT and await self._is_over(one.session))
            for at, (name, one) in enumerate(there.items())
        ]

    async def _is_over(self, session: Session) -> bool:
        keys = session_keys(self._template, session)
        return await self._link.to(keys.state).call("HGET", keys.state, "phase") in (b"ended", b"gone")

    async def of(self, session: Session) -> str:
        """Who holds the lease of a session now; "" for nobody. Raises SinkFault."""
        keys = session_keys(self._template, session)
        owner = await self._link.to(keys.lease).call("GET", keys.lease)
        return owner.decode(errors="replace").partition("/")[0] if isinstance(owner, bytes) else ""

    async def watch(self, session: Session, reader: str, seconds: float) -> Heard:
        """What the worker publishes meanwhile; ends as soon as it is anything. Raises SinkFault."""
        began = time.monotonic()
        first = last = await self._published(session)
        while last == first and time.monotonic() - began < seconds:
            await asyncio.sleep(min(_LOOK_SECONDS, seconds))
            last = await self._published(session)
        return Heard(seconds=seconds, events=max(0, last - first), reader=reader)

    async def _published(self, session: Session) -> int:
        keys = session_keys(self._template, session)
        seq = await self._link.to(keys.state).call("HGET", keys.state, "seq")
        return int(seq) if isinstance(seq, bytes) and seq.isdigit() else 0


class Ear:
    """At an open stream, until the first lens event. Closes it at the end."""

    def __init__(self, stream: LensStream) -> None:
        self._stream = stream
        self._reading: asyncio.Task[PlainEvents | list[ServerSentEvent] | Closed] | None = None
        self._began = time.monotonic()
        self._first_seconds: float | None = None
        self._frames = self._events = 0
        self._closed: str | None = None

    async def listen(self, seconds: float) -> Heard:
        """For so long at the most; to be called again for more."""
        until = time.monotonic() + seconds
        while not self._events and self._closed is None and (left := until - time.monotonic()) > 0:
            if self._reading is None:
                self._reading = asyncio.create_task(self._stream.read(), name="listen")
            # Not cancelled when the time is over: a stream whose read was cancelled can be read no further.
            if (await asyncio.wait({self._reading}, timeout=left))[0]:
                taken, self._reading = self._reading.result(), None
                self._take(taken)
        return Heard(
            seconds=round(time.monotonic() - self._began),
            first_seconds=self._first_seconds,
            frames=self._frames,
            events=self._events,
            closed=self._closed or "",
        )

    async def aclose(self) -> None:
        """Hang up."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        await self._stream.aclose()

    def _take(self, taken: PlainEvents | list[ServerSentEvent] | Closed) -> None:
        if isinstance(taken, Closed):
            self._closed = taken.detail or taken.reason.value
            return
        frames: Sequence[ServerSentEvent] = taken.events() if isinstance(taken, PlainEvents) else taken
        if frames and self._first_seconds is None:
            self._first_seconds = time.monotonic() - self._began
        self._frames += len(frames)
        self._events += sum(kind_of(frame) not in CONTROL_TYPES for frame in frames)


def configured_in(settings: Settings) -> list[Known]:
    """What the configuration names."""
    return [Known(session=Session(name=one.name, session_id=one.session_id)) for one in settings.sessions]


def found_in(body: bytes, rules: DiscoverySettings, known: Iterable[Known]) -> list[Known]:
    """What discovery would read of an answer of the metadata endpoint, and nobody has named."""
    rows = listed_in(body)
    if not rules.enabled or isinstance(rows, Unanswered):
        return []
    statuses = frozenset(map(plain_status, rules.statuses))
    found = {
        row.session_id: row.lens_id
        for row in rows
        if not row.over
        and (not rules.lens_ids or row.lens_id in rules.lens_ids)
        and (not statuses or row.status in statuses)
    }
    named = [one.session for one in known]
    return [Known(session=one, origin=_DISCOVERED) for one in sessions_of(found, rules.name, named)]


def chosen(name: str, known: Sequence[Known]) -> Known:
    """The one that is meant. Raises ConfigurationError where it is none of them."""
    for one in known:
        if name in (one.session.name, one.session.session_id):
            return one
    names = listed([one.session.name for one in known]) if known else "none"
    raise ConfigurationError(
        f"--session {name}: no such session is configured, registered or found; there are: {names}"
    )


def sessions_line(known: Sequence[Known], rules: DiscoverySettings) -> Line:
    """How many there are of each origin."""
    counts = {
        origin: sum(one.origin == origin for one in known) for origin in (_CONFIGURED, "registered", "discovered")
    }
    told = ", ".join(f"{count} {origin}" for origin, count in counts.items() if count)
    if told:
        return ok("sessions", told)
    if rules.enabled:
        return ok("sessions", "none so far: discovery reads what the API lists")
    return warn("sessions", _NONE, _ADD)


def discovery_line(found: Sequence[Known], known: Sequence[Known]) -> Line:
    """What discovery finds at the API now."""
    names = [one.session.name for one in (*(one for one in known if one.origin == _DISCOVERED), *found)]
    if names:
        return ok("api.discovery", f"discovery finds {len(names)}: {listed(names)}")
    return ok("api.discovery", "discovery finds no session beside those that are named")
