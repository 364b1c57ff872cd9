"""Who listens to a session: a worker, as Redis knows, or the doctor itself, for a few seconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from bridge.delivery.envelopes import CONTROL_TYPES, kind_of
from bridge.model.keys import session_keys
from bridge.model.outcomes import Closed
from bridge.model.place import Session
from bridge.model.records import PlainEvents, ServerSentEvent
from bridge.operations.doctor.channel import Heard
from bridge.source.stream import LensStream
from bridge.store.link import RedisLink

__all__ = ["Ear", "Readers"]

_LOOK_SECONDS = 0.5  # between two looks at what a worker has published


class Readers:
    """The workers that read, by what stands in Redis. ``template``: that of the stream keys."""

    def __init__(self, link: RedisLink, template: str) -> None:
        self._link = link
        self._template = template

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
