"""One reader of a stream: what is to be sent to it next. It is asked only when the last block is on its way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from bridge.serve.figures import StreamFigures
from bridge.serve.frames import HEARTBEAT, Entry, hole_frame, place_frame
from bridge.serve.hub import PAGE_BYTES, Tail, awaited
from bridge.serve.places import BEGINNING, EntryId, HoleReason, hole
from bridge.serve.reading import ReadFault
from bridge.serve.ring import Ring
from bridge.serve.wishes import Begin, Wish

__all__ = ["Reader"]

_RETRY_SECONDS = 0.25
_SKIPPED_ENTRIES = 500  # that its filter left out, before it is told the place: a resume need not read them again


class Reader:
    """The place of one reader, and the way on from it.

    Each entry behind the place comes once, in order, from the ring or in pages; whatever may be missing is told.
    """

    def __init__(self, tail: Tail, wish: Wish, figures: StreamFigures) -> None:
        self._tail, self._wish, self._figures = tail, wish, figures
        self._place = BEGINNING
        self._told: EntryId | None = None
        self._epoch: int | None = None  # of the ring, when the place was last known to be in order; None: never
        self._settled = False
        self._sure = False  # what is missing behind the place is a hole: it is one that was given, or known
        self._skipped = 0
        self._page: asyncio.Task[bytes] | None = None

    async def next(self, seconds: float) -> bytes:
        """Whole frames. After so many seconds without any: a sign of life, which also tells the place if it moved."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if block := await self._step(left):
                return block
        return self._tell_place() or HEARTBEAT

    async def close(self) -> None:
        """Leave nothing under way."""
        if self._page:
            self._page.cancel()
            with suppress(asyncio.CancelledError, ReadFault):
                await self._page

    async def _step(self, seconds: float) -> bytes:
        news, ring = self._tail.news, self._tail.ring
        if ring is None:  # Redis has not answered yet
            await awaited(news, seconds)
            return b""
        if not self._settled:
            self._settled = True
            return self._settle(ring)
        if self._epoch == ring.epoch and not self._page:
            if self._place > ring.last:  # a page had more than the tail has seen
                await awaited(news, seconds)
                return b""
            entries = ring.after(self._place, PAGE_BYTES)
            if entries:
                return self._taken(entries)
            if entries is not None:
                await awaited(news, seconds)
                return b""
        return await self._paged(ring, news, seconds)

    def _settle(self, ring: Ring) -> bytes:
        """Where it begins. From now on: the reader is told at once where that is, and may come back to it."""
        wish = self._wish
        if wish.resume is not None:
            self._place, self._sure, self._told = wish.resume, True, wish.resume
            if ring.knows(self._place):
                self._epoch = ring.epoch
            return b""
        match wish.begin:
            case Begin.NOW:
                self._place, self._sure, self._epoch = ring.last, True, ring.epoch
                self._told = self._place
                return place_frame(self._place)
            case Begin.START:
                return b""
            case place:
                self._place = place
                return b""

    async def _paged(self, ring: Ring, news: asyncio.Event, seconds: float) -> bytes:
        """A page, however long Redis takes: meanwhile signs of life are due."""
        page = self._page = self._page or asyncio.create_task(self._read_page(ring), name="page")
        await asyncio.wait({page}, timeout=seconds)
        if not page.done():
            return b""
        self._page = None
        try:
            return page.result()
        except ReadFault:  # the tail meets it too, and tells it
            await awaited(news, min(seconds, _RETRY_SECONDS))
            return b""

    async def _read_page(self, ring: Ring) -> bytes:
        epoch, end = ring.epoch, ring.last
        found, complete = await self._tail.page(self._place)
        told = b""
        if found and found[0].id == self._place:
            del found[0]
        elif self._sure:
            bounds = await self._tail.bounds()
            missing = hole(self._place, replace(bounds, first=found[0].id) if found else bounds)
            if missing:
                self._figures.holes[missing.reason] += 1
                told = hole_frame(missing)
                self._place = self._told = missing.place
                if missing.reason is HoleReason.AHEAD:
                    found, complete = [], False  # what there is now is looked at from there
        self._epoch = epoch
        block = self._taken(found) if found else b""
        if complete and end > self._place and epoch == ring.epoch:
            self._place, self._sure = end, True  # up to where the ring begins there is nothing more
        return told + block

    def _taken(self, entries: Sequence[Entry]) -> bytes:
        choice, format = self._wish.choice, self._wish.format
        kept = entries if choice.all else [one for one in entries if choice.takes(one)]
        self._place, self._sure = entries[-1].id, True
        self._figures.events += len(kept)
        if not kept:
            self._skipped += len(entries)
            return self._tell_place() if self._skipped >= _SKIPPED_ENTRIES else b""
        self._told, self._skipped = kept[-1].id, 0
        return b"".join([one.frame(format) for one in kept])

    def _tell_place(self) -> bytes:
        """An id without an event, where the reader does not have it yet."""
        if not self._sure or self._place == self._told:
            return b""
        self._told, self._skipped = self._place, 0
        return place_frame(self._place)
