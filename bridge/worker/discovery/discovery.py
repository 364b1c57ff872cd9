"""Asks the API again and again for its sessions, and says which of them are to be read."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Container, Mapping
from contextlib import suppress
from typing import Protocol

import structlog

from bridge.errors import SinkFault
from bridge.model.outcomes import Listed, Lookup, Over, Unanswered
from bridge.model.place import Session
from bridge.settings import Settings
from bridge.source.answers import plain_status
from bridge.telemetry.status import DiscoveryFigures
from bridge.worker.discovery.roll import NOBODY, Roll, Rules, called, due, recalled, without

__all__ = ["Directory", "Discovery"]

log = structlog.get_logger()

_LONGEST_WAIT_SECONDS = 300.0
_LONGEST_RETRY_AFTER_SECONDS = 600.0  # a mistaken header must not end discovery for a day
_ASKED_AFTER_AT_ONCE = 20  # of those that are due: the rest has its turn with the next answer


class Directory(Protocol):
    """The API, as one asks it for sessions."""

    async def listing(self) -> tuple[Listed, ...] | Unanswered: ...
    async def lookup(self, session_id: str) -> Lookup: ...


class Memory(Protocol):
    """Where what was found outlives this worker."""

    async def keep(self, settings: Settings, found: Mapping[str, str]) -> None: ...
    async def recall(self, settings: Settings) -> dict[str, str]: ...


class Discovery:
    """Runs until cancelled. ``put`` hears what is to be read whenever an answer or a setting has changed it.

    ``reading`` gives the ids that this worker reads now. No answer changes nothing: the last list stays, that of
    ``memory`` where this worker has had none.
    """

    def __init__(
        self,
        directory: Directory,
        settings: Settings,
        put: Callable[[tuple[Session, ...]], object],
        reading: Callable[[], Container[str]],
        figures: DiscoveryFigures,
        memory: Memory,
    ) -> None:
        self._directory = directory
        self._memory = memory
        self._settings = settings
        self._put = put
        self._reading = reading
        self._figures = figures
        self._changed = asyncio.Event()
        self._roll = NOBODY
        self._failures = 0  # in a row

    def use(self, settings: Settings) -> None:
        """Go by these from now on; where they differ, ask at once."""
        now, then = self._settings, settings
        if (now.discovery, now.retention) != (then.discovery, then.retention):
            self._changed.set()
        self._settings = settings

    async def run(self) -> None:
        """Ask while it is enabled."""
        while True:
            self._changed.clear()
            self._figures.enabled = self._settings.discovery.enabled
            wait_seconds = None
            if self._settings.discovery.enabled:
                wait_seconds = await self._ask_safely()
            else:
                self._follow(NOBODY)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_seconds):
                    await self._changed.wait()

    async def _ask_safely(self) -> float:
        try:
            return await self._ask()
        except Exception:  # a fault of ours must neither end the sessions that were found nor the asking
            log.exception("discovery.crashed")
            self._figures.failures += 1
            return _LONGEST_WAIT_SECONDS

    async def _ask(self) -> float:
        """Returns after how many seconds to ask again."""
        answer = await self._directory.listing()
        interval_seconds = self._settings.discovery.interval_seconds * random.uniform(0.9, 1.1)
        if isinstance(answer, Unanswered):
            await self._recall()
            return self._unanswered(answer, interval_seconds)
        if self._failures:
            log.info("discovery.answered", failures=self._failures)
        self._failures = 0
        self._figures.answered_at = time.time()
        rules, now, reading = _rules(self._settings), time.monotonic(), self._reading()
        roll = called(self._roll, answer, rules, now, reading)
        self._follow(await self._without_those_that_are_over(roll, due(roll, rules, now, reading)))
        await self._memory.keep(self._settings, {one: known.lens_id for one, known in self._roll.known.items()})
        return interval_seconds

    async def _recall(self) -> None:
        """Begin with what was found before this worker was started, until the API tells."""
        if self._figures.answered_at or self._roll.known:
            return
        with suppress(SinkFault):  # tried again with the next question
            if found := await self._memory.recall(self._settings):
                log.info("discovery.recalled", sessions=len(found))
                self._follow(recalled(found, _rules(self._settings)))

    def _unanswered(self, answer: Unanswered, interval_seconds: float) -> float:
        if not self._failures:
            log.warning("discovery.unanswered", error=answer.detail, hint="the sessions that were found are read on")
        self._failures += 1
        self._figures.failures += 1
        self._figures.last_error = answer.detail
        asked_for = min(answer.retry_after_seconds or 0.0, _LONGEST_RETRY_AFTER_SECONDS)
        growing = interval_seconds * 2.0 ** min(self._failures, 30)
        return max(asked_for, interval_seconds, min(growing, _LONGEST_WAIT_SECONDS))

    async def _without_those_that_are_over(self, roll: Roll, ids: list[str]) -> Roll:
        """That a session is not listed is believed only where it was asked after by its id: a list may be too short."""
        over = []
        for session_id in ids[:_ASKED_AFTER_AT_ONCE]:
            if isinstance(await self._directory.lookup(session_id), Over):
                over.append(session_id)
                log.info("session.retired", session=roll.known[session_id].session.name, session_id=session_id)
        return without(roll, over)

    def _follow(self, roll: Roll) -> None:
        before, self._roll = self._roll, roll
        self._figures.sessions, self._figures.refused = len(roll.known), len(roll.refused)
        for session_id, reason in roll.refused.items():
            if before.refused.get(session_id) != reason:
                log.warning("discovery.refused", session_id=session_id, reason=reason)
        if roll.sessions != before.sessions:
            self._put(roll.sessions)


def _rules(settings: Settings) -> Rules:
    discovery = settings.discovery
    return Rules(
        lens_ids=frozenset(discovery.lens_ids),
        statuses=frozenset(map(plain_status, discovery.statuses)),
        name=discovery.name,
        ended_seconds=settings.retention.ended_seconds,
    )
