"""Sessions at run time: who is there, add, remove, pause, resume. Workers take it up within two seconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from bridge.errors import BridgeError, ConfigurationError, Meaning, SinkFault
from bridge.masking import Secrets
from bridge.model.found import FIELD, key_of_found, parse_found, sessions_of
from bridge.model.keys import NAME_PATTERN, SessionKeys
from bridge.model.place import Session
from bridge.model.redis_address import Topology
from bridge.model.registered import Registered, is_name
from bridge.operations.glances import Glance, glance
from bridge.settings import Settings
from bridge.settings.contradictions import checked_keys
from bridge.settings.loading import hide_secrets
from bridge.store.fleet.sessions import Change, SessionBook
from bridge.store.link import RedisLink

__all__ = ["HEARD_SECONDS", "Desk", "Listed", "open_desk", "session_of"]

_TRIES = 5  # at a record that somebody else changes at the same time
_LOOK_SECONDS = 0.1
HEARD_SECONDS = 2.0
"""After which every worker has heard of a change. Until then one that has not may take what another has let go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A session as `sessions list` shows it. ``origin``: configured, registered or discovered."""

    session: Session
    origin: str
    paused: bool
    seen: Glance

    @property
    def state(self) -> str:
        """One word: paused, ended, gone, held, standby (nobody reads it now) or new (nobody ever has)."""
        if self.paused:
            return "paused"
        if self.seen.owner:
            return "held"
        if self.seen.phase in ("ended", "gone"):
            return self.seen.phase
        return "standby" if self.seen.token else "new"


def session_of(text: str) -> Session:
    """From ``name=id``, or an id that is the name as well. Raises ConfigurationError."""
    name, equals, session_id = text.partition("=")
    session = Session(name=name, session_id=session_id if equals else name)
    for word in (session.name, session.session_id):
        if not is_name(word):
            raise ConfigurationError(f"{text!r:.100} is no session: write NAME=ID, each of them {NAME_PATTERN}")
    return session


@asynccontextmanager
async def open_desk(settings: Settings) -> AsyncIterator[Desk]:
    """Where sessions are steered from. A fault of Redis becomes one line that says where, and what to do."""
    secrets = Secrets()
    hide_secrets(settings, secrets)
    link = RedisLink(settings.redis, secrets)
    try:
        yield Desk(settings, link)
    except SinkFault as fault:
        detail = secrets.mask(fault.detail).rstrip(".")
        advice = " - check redis.url (BRIDGE_REDIS__URL, --redis-url) and the password"
        unreached = fault.kind.meaning is Meaning.UNKNOWN and " - " not in detail
        raise BridgeError(detail + (advice if unreached else "")) from fault
    finally:
        await link.aclose()


@dataclass
class Desk:
    """What people do to sessions. Names that are configured are known from the settings of whoever calls.

    Everything raises SinkFault where Redis does not carry it out, and BridgeError where it makes no sense.
    """

    settings: Settings
    link: RedisLink
    records: dict[str, Registered] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)  # why a record is none, by name

    def __post_init__(self) -> None:
        self._book = SessionBook(self.link)
        self._found: dict[str, str] = {}  # lens ids by session id
        self.configured = {
            one.name: Session(name=one.name, session_id=one.session_id) for one in self.settings.sessions
        }

    def keys(self, session: Session) -> SessionKeys:
        """The names of its keys. Raises ConfigurationError where it cannot have them."""
        return checked_keys(self.settings.stream, session)

    async def read(self) -> None:
        """Read what is registered, and what workers have found."""
        await self._read_found()
        if news := await self._book.follow():
            if news.whole:
                self.records.clear()
                self.unreadable.clear()
            self.unreadable |= news.unreadable
            for name, record in news.records.items():
                self.records.pop(name, None)
                if record:
                    self.records[name] = record

    async def _read_found(self) -> None:
        discovery = self.settings.discovery
        if discovery.enabled:
            key = key_of_found(self.settings.source.base_url, discovery.lens_ids, discovery.statuses)
            self._found = parse_found(await self.link.to(key).call("HGET", key, FIELD))

    @property
    def discovered(self) -> dict[str, Session]:
        """By name: those that nobody names."""
        named = [*self.configured.values(), *(one.session for one in self.records.values() if one.session)]
        return {one.name: one for one in sessions_of(self._found, self.settings.discovery.name, named)}

    async def listed(self) -> list[Listed]:
        """All sessions that are configured here, registered or discovered, by name."""
        await self.read()
        registered = {name: one.session for name, one in self.records.items() if one.session}
        sessions = self.discovered | registered | self.configured
        origins = dict.fromkeys(sessions, "discovered")
        origins |= dict.fromkeys(registered, "registered") | dict.fromkeys(self.configured, "configured")
        seen = dict(zip(sessions, await self.see(sessions.values()), strict=True))
        return [
            Listed(
                session=session,
                origin=origins[name],
                paused=name in self.records and self.records[name].paused,
                seen=seen[name],
            )
            for name, session in sorted(sessions.items())
        ]

    async def see(self, sessions: Iterable[Session]) -> list[Glance]:
        """Their places and who reads them."""
        keys = [self.keys(one) for one in sessions]
        return await glance(self.link, keys, clustered=self.settings.redis.address.topology is Topology.CLUSTER)

    def known(self, text: str) -> Session:
        """The session that is meant by its name, or by ``name=id`` where only workers know it."""
        if "=" in text:
            return session_of(text)
        record = self.records.get(text)
        if found := self.configured.get(text) or (record and record.session) or self.discovered.get(text):
            return found
        raise ConfigurationError(
            f"no session is called {text!r:.100}: `lens-bridge sessions list` shows those that are configured here or "
            "registered; write NAME=ID for another one"
        )

    async def add(self, sessions: Sequence[Session], *, replaces: bool = False) -> list[str]:
        """Register sessions; gives the names of those that are new. Raises BridgeError for a conflict, and then adds
        none of them. ``replaces``: a registered name may get another id."""

        def added(one: Session, record: Registered | None) -> Registered | None:
            self.keys(one)
            if (other := self.configured.get(one.name)) and other != one:
                raise ConfigurationError(
                    f"the name {one.name} is configured for {other.session_id}, and configured names win: choose "
                    "another name, or change the configuration"
                )
            if record and record.session == one:
                return record
            if record and record.session and not replaces:
                raise ConfigurationError(
                    f"the name {one.name} is registered for {record.session_id}: remove it first, or give --replace "
                    "and its consumers keep their stream"
                )
            paused = bool(record and record.paused)
            return Registered(name=one.name, session_id=one.session_id, paused=paused, added_at=time.time())

        self._refuse_one_place(sessions)
        return await self._change(sessions, added)

    def _refuse_one_place(self, sessions: Sequence[Session]) -> None:
        """Two names that read into one place would take turns at fencing each other."""
        registered = {name: one.session for name, one in self.records.items() if one.session}
        places: dict[str, str] = {}
        for one in (*self.configured.values(), *registered.values(), *sessions):
            other = places.setdefault(self.keys(one).state, one.name)
            if other != one.name:
                raise ConfigurationError(f"{other} reads {one.session_id} into the same place already")

    async def remove(self, names: Sequence[str]) -> list[str]:
        """Take registered sessions out. Their streams and places stay: added again, they go on where they stood."""
        await self.read()
        sessions = [
            Session(name=name, session_id=name) if name in self.unreadable else self.known(name) for name in names
        ]

        def removed(one: Session, record: Registered | None) -> Registered | None:
            if one.name not in self.unreadable and (record is None or record.session is None):
                where = (
                    "configured: take it out of the configuration" if one.name in self.configured else "unknown here"
                )
                raise ConfigurationError(f"{one.name} is not registered; it is {where}, or pause it")
            return None

        return await self._change(sessions, removed)

    async def pause(self, names: Sequence[str], *, paused: bool) -> list[str]:
        """Stop reading and keep the place, or go on from there. Gives the names of those that were not so already."""
        await self.read()
        sessions = [self.known(name) for name in names]

        def put(one: Session, record: Registered | None) -> Registered | None:
            before = record or Registered(name=one.name, added_at=time.time())
            after = replace(before, paused=paused)
            return None if after.says_nothing else after

        return await self._change(sessions, put)

    async def _change(
        self, sessions: Sequence[Session], decide: Callable[[Session, Registered | None], Registered | None]
    ) -> list[str]:
        """Change the record of each; who else writes at the same time makes it decide anew."""
        for _ in range(_TRIES):
            await self.read()
            changes = []
            for one in {one.name: one for one in sessions}.values():
                before = self.records.get(one.name)
                if (after := decide(one, before)) != before or one.name in self.unreadable:
                    changes.append(Change(name=one.name, after=after))
            if not changes or not await self._book.change(changes):
                return [one.name for one in changes]
        raise BridgeError("somebody else changes the same sessions again and again; try once more")

    async def tell(self, *orders: Any) -> None:
        """Tell the workers something that stands in no record."""
        await self.read()
        await self._book.change((), orders)

    async def until(
        self, condition: Callable[[Glance], bool], session: Session, seconds: float, steady_seconds: float = 0.0
    ) -> Glance | None:
        """Wait until a session is seen so and stays so for ``steady_seconds``; None where that began too late."""
        deadline = time.monotonic() + seconds
        since: float | None = None
        while True:
            (seen,) = await self.see([session])
            now = time.monotonic()
            if not condition(seen):
                since = None
            elif since is None:
                since = now
            if since is not None and now - since >= steady_seconds:
                return seen
            if since is None and now >= deadline:
                return None
            await asyncio.sleep(_LOOK_SECONDS)
