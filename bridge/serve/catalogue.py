"""Which streams there are to read: those of the sessions that are configured, registered or found."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from bridge.delivery.filters import TypeFilter
from bridge.errors import ConfigurationError
from bridge.model.keys import session_keys
from bridge.model.place import Session
from bridge.operations.known import known_sessions
from bridge.operations.redis_client import Client
from bridge.serve.reading import ReadFault, Reads
from bridge.settings import Settings

__all__ = ["Catalogue", "Offer"]

_FRESH_SECONDS = 2.0  # as fast as a worker takes up a session that was added


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A stream that may be read. ``name``: that of a session, or the key of a stream that several share.

    ``only``: of a stream that several share, the entries of one: its name and its session id.
    """

    name: str
    stream_key: str
    session_ids: tuple[str, ...]
    only: frozenset[str] | None = None


class Catalogue:
    """Asks Redis at most every two seconds; while it does not answer, what was known before holds."""

    def __init__(self, client: Client, reads: Reads, settings: Settings) -> None:
        self._client, self._reads, self._settings = client, reads, settings
        self._served = TypeFilter(settings.serve.streams, ())
        configured = (Session(name=one.name, session_id=one.session_id) for one in settings.sessions)
        self._offers = self._offered(configured)
        self._asked_at = float("-inf")
        self._asking = asyncio.Lock()

    async def find(self, name: str) -> Offer | None:
        """The stream of this name; None where there is none. Raises ReadFault where Redis would have to be asked."""
        found = self._offers.get(name)
        if found is None:
            await self._refresh()
            found = self._offers.get(name)
        return found

    async def all(self) -> list[Offer]:
        """Sorted by name; of those that are known, where Redis does not answer."""
        with suppress(ReadFault):
            await self._refresh()
        return [self._offers[name] for name in sorted(self._offers)]

    async def _refresh(self) -> None:
        async with self._asking:
            if time.monotonic() - self._asked_at < _FRESH_SECONDS:
                return
            await self._reads.ping()
            try:
                known = await known_sessions(self._client, self._settings)
            except ConfigurationError:
                known = []  # none yet: others may come
            self._offers = self._offered(known)
            self._asked_at = time.monotonic()

    def _offered(self, sessions: Iterable[Session]) -> dict[str, Offer]:
        template = self._settings.stream.key
        shared = "<name>" not in template and "<session_id>" not in template
        offers: dict[str, Offer] = {}
        for one in sessions:
            if not self._served.takes(one.name):
                continue
            try:
                key = session_keys(template, one).events
            except ConfigurationError:
                continue
            only = frozenset((one.name, one.session_id)) if shared else None
            offers[one.name] = Offer(name=one.name, stream_key=key, session_ids=(one.session_id,), only=only)
        if shared and offers and self._served.takes(key := next(iter(offers.values())).stream_key):
            ids = tuple(session_id for one in offers.values() for session_id in one.session_ids)
            offers[key] = Offer(name=key, stream_key=key, session_ids=ids)
        return offers
