"""Follows what people say of sessions at run time: adds and removes, pauses and resumes, and passes orders on."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import replace

import structlog

from bridge.errors import Meaning, SinkFault
from bridge.model.registered import Order, Registered
from bridge.store.fleet.sessions import Change, News, SessionBook
from bridge.worker.holders import Holders
from bridge.worker.roster import Origin, Roster

__all__ = ["Following"]

log = structlog.get_logger()

_TRIES = 100  # at writing again what was lost
_POLL_SECONDS = 1.0  # a command is taken up within twice that, and one short question a second costs next to nothing


class Following:
    """Runs until cancelled. ``obey`` gets each order. ``restores``: what an emptied Redis forgot is written again."""

    def __init__(
        self,
        book: SessionBook,
        roster: Roster,
        holders: Holders,
        obey: Callable[[Order], None],
        *,
        restores: bool,
    ) -> None:
        self._book = book
        self._roster = roster
        self._holders = holders
        self._obey = obey
        self._restores = restores
        self._records: dict[str, Registered] = {}
        self._told: dict[str, str] = {}
        self._refused: str | None = None
        self._lost = False  # Redis was emptied, and what stood there is not written again yet

    async def run(self) -> None:
        """Follow again and again."""
        while True:
            await self._look()
            await asyncio.sleep(_POLL_SECONDS * random.uniform(0.8, 1.0))

    async def _look(self) -> None:
        try:
            news = await self._book.follow()
            if news and news.lost and not self._lost:
                self._lost = True
                log.error("sessions.lost", sessions=len(self._records), restored=self._restores)
            if self._lost:
                news = await self._restored(self._book.standing())
                self._lost = False
        except SinkFault as fault:
            # Of a Redis that is away others speak. Who may not follow reads what is configured.
            if fault.kind.meaning is not Meaning.UNKNOWN:
                self._tell_refusal(fault)
                self._holders.informed()
            return
        self._refused = None
        if news:
            self._apply(news)
        self._holders.informed()

    def _tell_refusal(self, fault: SinkFault) -> None:
        if fault.detail != self._refused:
            self._refused = fault.detail
            hint = "sessions that are added, paused or moved at run time go unheard; see the README for the ACL user"
            log.error("sessions.not_followed", kind=fault.kind, error=fault.detail, hint=hint)

    async def _restored(self, news: News) -> News:
        """Redis was emptied: what stood there is still wanted, unless a person is to decide. What was said since then
        counts, and takes nothing away."""
        lost = [one for name, one in self._records.items() if name not in news.records]
        if not self._restores:
            return replace(news, whole=False)
        began = time.monotonic()
        for _ in range(_TRIES):  # others do the same at the same time, and then a part of it is refused
            missing = [one for one in lost if one.name not in news.records]
            if not missing:
                log.info("sessions.restored", sessions=len(lost), seconds=round(time.monotonic() - began, 3))
                return news
            await self._book.change([Change(name=one.name, after=one) for one in missing])
            await self._book.follow()
            news = self._book.standing()
        return replace(news, whole=False)

    def _apply(self, news: News) -> None:
        if news.whole:
            self._records.clear()
            self._told = {name: why for name, why in self._told.items() if name in news.unreadable}
        for name, record in news.records.items():
            self._records.pop(name, None)
            if record:
                self._records[name] = record
        for name, why in news.unreadable.items():
            if self._told.get(name) != why:
                self._told[name] = why
                log.error("session.refused", session=name, origin=Origin.REGISTERED, reason=why)
        # Before the sessions: one that comes paused must not be taken first.
        self._holders.pause({name for name, one in self._records.items() if one.paused})
        self._roster.put(Origin.REGISTERED, [session for one in self._records.values() if (session := one.session)])
        for order in news.orders:
            self._obey(order)
