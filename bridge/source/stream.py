"""One open event stream: bytes of a response in, events out, until it ends or is too slow."""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass

import httpx

from bridge.model.labels import DisconnectReason
from bridge.model.outcomes import Closed
from bridge.model.records import PlainEvents, ServerSentEvent
from bridge.settings import SourceSettings
from bridge.source.answers import content_coding
from bridge.source.faults import NETWORK_ERRORS, describe
from bridge.source.inflate import inflater_of
from bridge.source.sse import Decoder
from bridge.source.transport import BODY, Body

__all__ = ["Deadlines", "LensStream"]

_LATE = Closed(reason=DisconnectReason.EVENT_TIMEOUT, detail="one event took too long to arrive")


@dataclass(slots=True, kw_only=True)
class Deadlines:
    """How long a stream may be silent, and how long one event may take. Times are of a monotonic clock, in seconds.

    Two clocks, since a drip of bytes must not pass for life. Neither runs while we ourselves wait for Redis.
    """

    idle_seconds: float
    event_seconds: float
    waiting_since: float | None = None  # a read is under way
    incomplete_since: float | None = None  # a part of an event has come, and not yet its end

    def idle_in(self, now: float) -> float:
        """Seconds until silence has lasted for too long; zero or less where it has."""
        return self.idle_seconds - (0.0 if self.waiting_since is None else now - self.waiting_since)

    def event_is_late(self, now: float) -> bool:
        """Called where a chunk has left an event incomplete: whether that one takes too long."""
        if self.incomplete_since is None:
            self.incomplete_since = now
        return now - self.incomplete_since > self.event_seconds


class LensStream:
    """One open connection. ``resumed``: it was asked to go on after a cursor."""

    def __init__(self, response: httpx.Response, decoder: Decoder, settings: SourceSettings, *, resumed: bool) -> None:
        self.resumed = resumed
        self.bytes_received = 0
        self._response = response
        self._decoder = decoder
        self._chunks: AsyncIterator[bytes] = response.aiter_raw()
        self._body: Body | None = response.extensions.get(BODY)
        self._coding = content_coding(response.headers.get("content-encoding", ""))
        self._inflater = inflater_of(self._coding)
        self._deadlines = Deadlines(
            idle_seconds=settings.idle_timeout_seconds, event_seconds=settings.event_timeout_seconds
        )
        self._late = False  # an event has taken too long
        self._giving_up: asyncio.Task[None] | None = None
        self._watch = asyncio.get_running_loop().call_later(settings.idle_timeout_seconds, self._check_idle)

    @property
    def retry_floor_seconds(self) -> float:
        """What the server's `retry:` field asks for."""
        return (self._decoder.retry_ms or 0) / 1000

    async def read(self) -> PlainEvents | list[ServerSentEvent] | Closed:
        """The events of the next chunk (often none), or how the connection ended. Any byte counts as life."""
        if self._late:
            return _LATE
        if self._coding and self._inflater is None:
            return self._unreadable(f"content-encoding {self._coding!r}, which nobody asked for, cannot be undone")
        deadlines = self._deadlines
        try:
            if self._inflater is not None and self._inflater.more:
                await asyncio.sleep(0)  # others' turn between two steps
                chunk = self._inflater.step()
            else:
                deadlines.waiting_since = time.monotonic()
                chunk = await anext(self._chunks)
                deadlines.waiting_since = None
                self.bytes_received += len(chunk)
                if self._inflater is not None:
                    chunk = self._inflater.step(chunk)
        except StopAsyncIteration:
            return Closed(reason=DisconnectReason.CLOSED)
        except zlib.error as error:
            return self._unreadable(f"content-encoding {self._coding!r}, but the body is not: {error}")
        except NETWORK_ERRORS as error:
            if self._giving_up or isinstance(error, httpx.ReadTimeout):
                detail = "no byte came for source.idle_timeout_seconds"
                return Closed(reason=DisconnectReason.IDLE_TIMEOUT, detail=detail)
            return Closed(reason=DisconnectReason.RESET, detail=describe(error))
        events = self._decoded(chunk, time.monotonic())
        return _LATE if events is None else events

    async def flow(self, take: Callable[[PlainEvents | list[ServerSentEvent]], bool]) -> None:
        """Give ``take`` the events of each chunk in the very step in which it comes, for as long as it returns True.

        Returns then, at once where that cannot be, and when there is something that only `read` can tell.
        Raises what ``take`` raises.
        """
        if self._body is None or self._coding or self._late:
            return
        deadlines = self._deadlines

        def sink(chunk: bytes) -> bool:
            now = deadlines.waiting_since = time.monotonic()
            self.bytes_received += len(chunk)
            events = self._decoded(chunk, now)
            return take(events) if events is not None else False

        deadlines.waiting_since = time.monotonic()
        try:
            await self._body.flow(sink)
        finally:
            deadlines.waiting_since = None

    def _decoded(self, chunk: bytes, now: float) -> PlainEvents | list[ServerSentEvent] | None:
        """The events that a chunk completes; None where the one that it is a part of takes too long."""
        events = self._decoder.take(chunk)
        if events or not self._decoder.pending:
            self._deadlines.incomplete_since = None
        elif self._deadlines.event_is_late(now):
            self._late = True
            return None
        return events

    async def aclose(self) -> None:
        """Close the connection; what was not read is left to the server."""
        self._watch.cancel()
        with suppress(*NETWORK_ERRORS, RuntimeError):
            await self._response.aclose()

    def _unreadable(self, words: str) -> Closed:
        detail = f"{self._response.request.url.host}: {words} - look for a proxy that adds it"
        return Closed(reason=DisconnectReason.BAD_ENCODING, detail=detail)

    def _check_idle(self) -> None:
        loop = asyncio.get_running_loop()
        if (left := self._deadlines.idle_in(time.monotonic())) > 0:
            self._watch = loop.call_later(left, self._check_idle)
        else:
            self._giving_up = loop.create_task(self._response.aclose())  # which ends the read
