"""The streams that are read now: one tail each, however many readers it has.

A tail waits for what comes next and keeps the newest entries in a ring. Who is further behind than that reads pages,
few at a time, so that a thousand browsers which come back at once cost Redis what some tens do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog

from bridge.serve.figures import Figures
from bridge.serve.frames import Entry
from bridge.serve.places import Bounds, EntryId, hole
from bridge.serve.reading import ReadFault, Reads
from bridge.serve.ring import Ring
from bridge.settings import ServeSettings

__all__ = ["PAGE_BYTES", "Hub", "Tail", "awaited"]

log = structlog.get_logger()

PAGE_BYTES = 64 * 1024
"""About as much as one reader is given, or reads of Redis, at a time."""
_BLOCK_MILLISECONDS = 1000  # under every socket time-out: a quiet stream must not look like a dead server
_TAIL_ENTRIES = 200
_COMES_MEANWHILE_ENTRIES = 2000  # while Redis answers one question: more than one commit holds
_FIRST_PAGE_ENTRIES, _LARGEST_PAGE_ENTRIES = 8, 500
_RETRY_SECONDS = 0.25
_PAGES_AT_ONCE = 8
_LINGER_SECONDS = 5.0  # a browser that was cut off is back before that


class Hub:
    """Hands out tails, and ends those that nobody reads."""

    def __init__(self, reads: Reads, settings: ServeSettings, figures: Figures) -> None:
        self._reads = reads
        self._settings = settings
        self._figures = figures
        self._tails: dict[str, Tail] = {}
        self._gate = asyncio.Semaphore(_PAGES_AT_ONCE)

    @asynccontextmanager
    async def tail(self, key: str) -> AsyncIterator[Tail]:
        """For as long as one reader reads."""
        one = self._tails.get(key)
        if one is None:
            one = self._tails[key] = Tail(key, self._reads, self._gate, self._settings, self._figures)
        one.readers += 1
        try:
            yield one
        finally:
            one.readers -= 1
            if not one.readers:
                asyncio.get_running_loop().call_later(_LINGER_SECONDS, self._end_unread, one)

    def close(self) -> None:
        """End all tails."""
        for one in self._tails.values():
            one.close()
        self._tails.clear()

    def _end_unread(self, one: Tail) -> None:
        if not one.readers and self._tails.get(one.key) is one:
            del self._tails[one.key]
            one.close()


class Tail:
    """The end of one stream. ``ring`` is None until Redis has said where that is."""

    def __init__(
        self, key: str, reads: Reads, gate: asyncio.Semaphore, settings: ServeSettings, figures: Figures
    ) -> None:
        self.key = key
        self.readers = 0
        self.ring: Ring | None = None
        self._reads, self._gate, self._settings, self._figures = reads, gate, settings, figures
        self._page_entries = _FIRST_PAGE_ENTRIES
        self._stands = False  # an entry stands at the ring's end, as far as is known
        self._news = asyncio.Event()
        self._closed = False
        self._task = asyncio.create_task(self._follow(), name=f"tail {key}")

    def close(self) -> None:
        """Read no more, also should the cancellation be lost in what is awaited just then."""
        self._closed = True
        self._task.cancel()

    @property
    def news(self) -> asyncio.Event:
        """Set as soon as the ring is another one than now. Take it before looking at the ring."""
        return self._news

    async def page(self, place: EntryId) -> tuple[list[Entry], bool]:
        """Entries from a place on, that one included, and whether these were all. Raises ReadFault.

        How many depends on how large they were before: about `PAGE_BYTES` together.
        """
        async with self._gate:
            count = self._page_entries + 1
            found = await self._reads.page(self.key, place, count)
        self._figures.reads["page"] += 1
        if found:
            mean = sum(one.size_bytes for one in found) / len(found)
            self._page_entries = max(1, min(_LARGEST_PAGE_ENTRIES, int(PAGE_BYTES / max(1.0, mean))))
        return found, len(found) < count

    async def bounds(self) -> Bounds:
        """What the stream holds now. Raises ReadFault."""
        return await self._reads.bounds(self.key)

    async def _follow(self) -> None:
        told = ""
        while not self._closed:
            try:
                await self._go_on()
                told = ""
            except ReadFault as error:
                if str(error) != told:
                    log.warning("stream.unread", stream=self.key, error=str(error))
                told = str(error)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _go_on(self) -> None:
        """Find out where the stream ends, then follow it until Redis fails."""
        if self.ring is None:
            place = (await self._reads.bounds(self.key)).last
            self.ring = Ring(place, self._settings.buffer_events, self._settings.buffer_bytes)
            self._stands = await self._reads.stands(self.key, place)
            self._tell()
        else:
            await self._look(self.ring)
        while not self._closed:
            await self._read(self.ring)

    async def _read(self, ring: Ring) -> None:
        found = await self._reads.news(self.key, ring.last, _TAIL_ENTRIES, _BLOCK_MILLISECONDS)
        self._figures.reads["tail"] += 1
        if not found:
            if (await self._reads.bounds(self.key)).last < ring.last:
                await self._look(ring)  # emptied or rolled back, over a connection that never broke
            return
        # What was trimmed before it was read here shows in nothing but the place itself. That takes more than a page,
        # or a stream that keeps little more than this: what comes between the two questions counts as well.
        full = len(found) == _TAIL_ENTRIES
        short = full or await self._reads.length(self.key) <= len(found) + _COMES_MEANWHILE_ENTRIES
        if short and self._stands and not await self._reads.stands(self.key, ring.last):
            self._begin_anew(ring, found[-1].id)
        else:
            ring.append(found)
        self._stands = True
        self._tell()

    async def _look(self, ring: Ring) -> None:
        """Whether the stream is still the one that was read. If not, each reader has to look for its own place."""
        if self._stands and await self._reads.stands(self.key, ring.last):
            return
        bounds = await self._reads.bounds(self.key)
        if changed := hole(ring.last, bounds):
            self._begin_anew(ring, changed.place)
            self._stands = False
            self._tell()

    def _begin_anew(self, ring: Ring, place: EntryId) -> None:
        log.warning("stream.changed", stream=self.key, last_read=str(ring.last), goes_on_after=str(place))
        ring.restart(place)

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


async def awaited(event: asyncio.Event, seconds: float) -> None:
    """Until it is set, or for so long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
