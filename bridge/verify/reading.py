"""`lens-bridge verify`: reads streams and state from Redis and judges them, page by page.

State and last entry are read in one transaction, so a worker may go on writing meanwhile.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import aiohttp
from redis.asyncio import Redis, RedisCluster
from redis.exceptions import RedisClusterException, RedisError

from bridge.errors import BridgeError
from bridge.model.keys import session_keys
from bridge.model.place import Session
from bridge.verify.entries import CONTROL_TYPES, NUMBER, Entry, position, read_entry, read_letter
from bridge.verify.place import DeadLetters, State
from bridge.verify.record import Delivered, Filter, Sent, compare, delivered
from bridge.verify.report import FaultKind, Findings, Report, SessionReport
from bridge.verify.session import SessionCheck

__all__ = ["StreamTarget", "VerifyError", "stream_targets", "verify"]

PAGE_ENTRIES = 500  # entries a read: 100 MB where each holds an embedding of 200 KB
SETTLE_PROBE_SECONDS = 0.2
RECORD_TIMEOUT_SECONDS = 60
RECORD_PAGE_EVENTS = 20_000
EVERYTHING = Filter()
PHASES = ("active", "ended", "gone")
Client: TypeAlias = "Redis | RedisCluster"
RAW = ("XRANGE", "XREVRANGE")
_OF_PIPELINE = re.compile(r"Command # \d+ \(.*\) of pipeline caused error: \(?['\"](.*)['\"],?\)?")


class VerifyError(BridgeError):
    """Redis or the simulator could not be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamTarget:
    """A stream to check, with the sessions that should be in it. Others found in it are checked too."""

    stream_key: str
    sessions: tuple[Session, ...] = ()


def stream_targets(template: str, sessions: Sequence[Session]) -> list[StreamTarget]:
    """The streams of configured sessions. Raises ConfigurationError for a bad template."""
    by_key: dict[str, list[Session]] = {}
    for session in sessions:
        by_key.setdefault(session_keys(template, session).events, []).append(session)
    return [StreamTarget(stream_key=key, sessions=tuple(each)) for key, each in by_key.items()]


async def verify(
    client: Client,
    targets: Sequence[StreamTarget],
    *,
    simulator_url: str | None = None,
    settle_seconds: float = 0.0,
    filter: Filter = EVERYTHING,
) -> Report:
    """Check streams, and compare them with a simulator's record where its control URL is given.

    ``client`` answers in bytes (no ``decode_responses``). ``settle_seconds``: how long to wait for events that the
    simulator has sent and that are not committed yet. ``filter``: which of them are to be published.
    Raises VerifyError.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + settle_seconds
    while True:
        reports: list[SessionReport] = []
        for target in targets:
            try:
                with _as_they_are(client) as raw:
                    reports += await _StreamReader(raw, target, simulator_url, filter).reports()
            except (RedisError, RedisClusterException, OSError) as error:
                raise VerifyError(f"{target.stream_key}: cannot read Redis: {_words(error)}") from error
        report = Report(sessions=tuple(reports))
        if not report.pending or loop.time() >= deadline:
            return report
        await asyncio.sleep(SETTLE_PROBE_SECONDS)


def _words(error: Exception) -> str:
    """Without the command that redis-py puts around them."""
    words = _OF_PIPELINE.sub(r"\1", str(error)) or type(error).__name__
    return f"{words} - another program uses this key: move one of them" if words.startswith("WRONGTYPE") else words


@contextmanager
def _as_they_are(client: Client) -> Iterator[Client]:
    """A client that gives entries as Redis does: the usual mapping does not show a field that stands there twice."""
    if isinstance(client, RedisCluster):
        usual = {name: client.response_callbacks[name] for name in RAW}
        try:
            for name in RAW:
                client.set_response_callback(name, _as_it_is)
            yield client
        finally:
            for name, callback in usual.items():
                client.set_response_callback(name, callback)
        return
    raw = Redis(connection_pool=client.connection_pool)
    for name in RAW:
        raw.set_response_callback(name, _as_it_is)
    yield raw


class _StreamReader:
    """One reading of one stream."""

    def __init__(self, client: Client, target: StreamTarget, simulator_url: str | None, filter: Filter) -> None:
        self._client = client
        self._key = target.stream_key
        self._simulator_url = simulator_url
        self._filter = filter
        self._checks = {one.session_id: SessionCheck(one, self._key) for one in target.sessions}
        self._delivered: dict[str, list[Delivered]] = {}
        self._malformed = Findings()
        self._states: dict[str, dict[bytes, bytes]] = {}
        self._end: bytes | None = None  # the last entry at the time of the states
        self._last_letter: bytes | None = None  # the last dead letter then

    async def reports(self) -> list[SessionReport]:
        await self._read_through()
        await self._read_dead_letters()
        await self._read_suspects()
        oldest: Any = await self._client.xrange(self._key, count=1)
        oldest_entry = oldest[0][0].decode() if oldest else None
        found = []
        for session_id, check in self._checks.items():
            state = _state(self._states[session_id], check.findings)
            sent = await _record(self._simulator_url, session_id, self._filter) if self._simulator_url else []
            pending = self._compare(check, state, sent) if self._simulator_url else None
            ids = {one.id for one in sent if one.id}
            found.append(check.report(state, oldest_entry=oldest_entry, server_ids=ids, pending=pending))
        if self._malformed.counts:
            found.append(self._nameless())
        return found

    async def _read_through(self) -> None:
        """Read to the end; again from there when sessions appeared whose state was not read together with it."""
        begin: bytes | None = None
        known = -1
        while known < len(self._checks):
            known = len(self._checks)
            await self._snapshot()
            async for entry, fields in self._pages(self._key, self._end, begin):
                self._add(entry, fields)
            begin = self._end

    async def _snapshot(self) -> None:
        async with self._client.pipeline(transaction=True) as pipeline:
            pipeline.xrevrange(self._key, count=1)
            pipeline.xrevrange(_keys(self._key, "any").dead_letter, count=1)
            for session_id in self._checks:
                pipeline.hgetall(_keys(self._key, session_id).state)
            last, letter, *states = await pipeline.execute()
        self._end = last[0][0] if last else None
        self._last_letter = letter[0][0] if letter else None
        self._states = dict(zip(self._checks, states, strict=True))

    async def _pages(
        self, key: str, end: bytes | None, after: bytes | None = None
    ) -> AsyncIterator[tuple[bytes, list[bytes]]]:
        """All entries of a stream after ``after`` up to ``end``, each with its names and values in turn."""
        while end is not None and after != end:
            low = b"-" if after is None else b"(" + after
            page: Any = await self._client.xrange(key, low, end, count=PAGE_ENTRIES)
            for entry, fields in page:
                yield entry, fields
            if len(page) < PAGE_ENTRIES:
                return
            after = page[-1][0]

    def _add(self, entry_id: bytes, fields: list[bytes]) -> None:
        entry = read_entry(entry_id, fields)
        if isinstance(entry, str):
            told = dict(zip(fields[::2], fields[1::2], strict=True))
            raw = told.get(b"session_id", b"").decode(errors="backslashreplace")
            findings = self._checks[raw].findings if raw in self._checks else self._malformed
            findings.fault(FaultKind.MALFORMED, entry, entry=entry_id.decode())
            return
        check = self._checks.get(entry.session_id)
        if check is None:
            session = Session(name=entry.session_id, session_id=entry.session_id)
            check = self._checks[entry.session_id] = SessionCheck(session, self._key)
        check.add(entry)
        if self._simulator_url and (reduced := delivered(entry)):
            self._delivered.setdefault(entry.session_id, []).append(reduced)

    async def _read_suspects(self) -> None:
        if not any(check.has_suspects for check in self._checks.values()):
            return
        async for entry_id, fields in self._pages(self._key, self._end):
            entry = read_entry(entry_id, fields)
            if isinstance(entry, Entry):
                self._checks[entry.session_id].witness(entry)

    async def _read_dead_letters(self) -> None:
        key = _keys(self._key, "any").dead_letter
        found = {session_id: DeadLetters() for session_id in self._checks}
        first: bytes | None = None
        async for entry_id, fields in self._pages(key, self._last_letter):
            first = first or entry_id
            letter = read_letter(entry_id, fields)
            if letter.session_id in found:
                found[letter.session_id].letters.append(letter)
        removed_until = await self._removed_until(key, first)
        for session_id, dead in found.items():
            newest = dead.letters and dead.letters[-1].entry.encode() == self._last_letter
            dead.removed_until = -1 if newest else removed_until
            self._checks[session_id].bury(dead)

    async def _removed_until(self, key: str, first: bytes | None) -> int:
        """Up to when dead letters may have been removed, in milliseconds of Redis's clock; -1 where none were.

        This is for sessions whose last dead letter is not the newest one of all, or gone.
        """
        if not await self._client.exists(key):
            return -1
        told: Any = await self._client.xinfo_stream(key)
        generated, last = told["last-generated-id"], told.get("last-entry")
        if last is None or last[0] != generated or "max-deleted-entry-id" not in told:
            return _milliseconds(generated)  # before Redis 7.0 it does not tell whether others were removed
        trimmed = int(told["entries-added"]) > int(told["length"])
        return max(_milliseconds(told["max-deleted-entry-id"]) or -1, _milliseconds(first) if trimmed and first else -1)

    def _compare(self, check: SessionCheck, state: State | None, sent: Sequence[Sent]) -> int:
        return compare(
            sent,
            self._delivered.get(check.session.session_id, ()),
            dead_letters=check.dead_letters,
            cursor=state.cursor if state else None,
            trimmed=check.begins_late,
            findings=check.findings,
        )

    def _nameless(self) -> SessionReport:
        return SessionReport(
            name="(no session)",
            session_id="",
            stream_key=self._key,
            faults=tuple(self._malformed.faults),
            fault_counts=tuple(self._malformed.counts.items()),
        )


def _as_it_is(response: Any, **options: Any) -> Any:
    return response


async def _record(simulator_url: str, session_id: str, filter: Filter) -> list[Sent]:
    """What the simulator says it has sent. Raises VerifyError."""
    url = f"{simulator_url.rstrip('/')}/control/sessions/{session_id}/record"
    timeout = aiohttp.ClientTimeout(total=RECORD_TIMEOUT_SECONDS)
    events: list[Any] = []
    try:
        async with aiohttp.ClientSession(timeout=timeout) as http:
            more = True
            while more:
                page = {"offset": len(events), "limit": RECORD_PAGE_EVENTS}
                async with http.get(url, params=page) as response:
                    response.raise_for_status()
                    told = await response.json()
                events += told["events"]
                more = bool(told["events"]) and len(events) < told["count"]
        sent = (one for one in events if one["type"] not in CONTROL_TYPES)
        return [Sent(one["id"], one["sha256"], filter.drops(one["type"])) for one in sent]
    except (aiohttp.ClientError, TimeoutError, ValueError, TypeError, KeyError) as error:
        raise VerifyError(f"{url}: no record to be had: {error or type(error).__name__}") from error


def _state(fields: dict[bytes, bytes], findings: Findings) -> State | None:
    if not fields:
        return None
    numbers = {}
    for name in ("seq", "ordinal", "commits", "filtered"):
        raw = fields.get(name.encode(), b"0")
        if not NUMBER.fullmatch(raw):
            findings.fault(FaultKind.STATE_MISMATCH, f"{name} of the state is no number")
            return None
        numbers[name] = int(raw)
    if (phase := fields.get(b"phase", b"active").decode(errors="backslashreplace")) not in PHASES:
        findings.fault(FaultKind.STATE_MISMATCH, f"the state has the phase {phase}")
    cursor = fields.get(b"cursor", b"").decode(errors="backslashreplace")
    return State(cursor=cursor or None, seq=numbers["seq"], ordinal=numbers["ordinal"], filtered=numbers["filtered"])


def _milliseconds(entry: bytes) -> int:
    return position(entry.decode())[0]


def _keys(stream_key: str, session_id: str) -> Any:
    return session_keys(stream_key, Session(name=session_id, session_id=session_id))
