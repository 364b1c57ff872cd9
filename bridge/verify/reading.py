"""`lens-bridge verify`: reads streams and state from Redis and judges them, page by page.

State and last entry are read in one transaction, so a worker may go on writing meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
from redis.asyncio import Redis
from redis.exceptions import RedisError

from bridge.errors import BridgeError
from bridge.events import Session
from bridge.keys import session_keys
from bridge.verify.record import Delivered, Sent, compare, delivered
from bridge.verify.report import FaultKind, Findings, Report, SessionReport
from bridge.verify.session import DeadLetters, Entry, SessionCheck, State, read_entry

__all__ = ["StreamTarget", "VerifyError", "stream_targets", "verify"]

PAGE_ENTRIES = 500  # entries a read: 100 MB where each holds an embedding of 200 KB
SETTLE_PROBE_SECONDS = 0.2
RECORD_TIMEOUT_SECONDS = 60
RECORD_PAGE_EVENTS = 20_000
CONTROL_TYPES = ("sse.stream.start", "sse.stream.heartbeat", "sse.stream.end")  # no lens events, so never entries


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
    client: Redis, targets: Sequence[StreamTarget], *, simulator_url: str | None = None, settle_seconds: float = 0.0
) -> Report:
    """Check streams, and compare them with a simulator's record where its control URL is given.

    ``client`` answers in bytes (no ``decode_responses``). ``settle_seconds``: how long to wait for events that the
    simulator has sent and that are not committed yet. Raises VerifyError.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + settle_seconds
    while True:
        reports: list[SessionReport] = []
        for target in targets:
            try:
                reports += await _StreamReader(client, target, simulator_url).reports()
            except (RedisError, OSError) as error:
                raise VerifyError(f"{target.stream_key}: cannot read Redis: {error or type(error).__name__}") from error
        report = Report(sessions=tuple(reports))
        if not report.pending or loop.time() >= deadline:
            return report
        await asyncio.sleep(SETTLE_PROBE_SECONDS)


class _StreamReader:
    """One reading of one stream."""

    def __init__(self, client: Redis, target: StreamTarget, simulator_url: str | None) -> None:
        self._client = client
        self._key = target.stream_key
        self._simulator_url = simulator_url
        self._checks = {one.session_id: SessionCheck(one, self._key) for one in target.sessions}
        self._delivered: dict[str, list[Delivered]] = {}
        self._malformed = Findings()
        self._states: dict[str, dict[bytes, bytes]] = {}
        self._end: bytes | None = None  # the last entry at the time of the states

    async def reports(self) -> list[SessionReport]:
        await self._read_through()
        await self._read_suspects()
        dead = await self._dead_letters()
        oldest: Any = await self._client.xrange(self._key, count=1)
        oldest_entry = oldest[0][0].decode() if oldest else None
        found = []
        for session_id, check in self._checks.items():
            letters = dead.get(session_id, DeadLetters(set(), dead[""].removed))
            state = _state(self._states[session_id], check.findings)
            pending = await self._compare(check, state, letters) if self._simulator_url else None
            found.append(check.report(state, letters, oldest_entry=oldest_entry, pending=pending))
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
            async for entry, fields in self._pages(begin):
                self._add(entry, fields)
            begin = self._end

    async def _snapshot(self) -> None:
        async with self._client.pipeline(transaction=True) as pipeline:
            pipeline.xrevrange(self._key, count=1)
            for session_id in self._checks:
                pipeline.hgetall(_keys(self._key, session_id).state)
            last, *states = await pipeline.execute()
        self._end = last[0][0] if last else None
        self._states = dict(zip(self._checks, states, strict=True))

    async def _pages(self, after: bytes | None = None) -> AsyncIterator[tuple[bytes, dict[bytes, bytes]]]:
        """All entries after ``after`` up to the snapshot's last one."""
        while self._end is not None and after != self._end:
            low = b"-" if after is None else b"(" + after
            page: Any = await self._client.xrange(self._key, low, self._end, count=PAGE_ENTRIES)
            for entry, fields in page:
                yield entry, fields
            if len(page) < PAGE_ENTRIES:
                return
            after = page[-1][0]

    def _add(self, entry_id: bytes, fields: dict[bytes, bytes]) -> None:
        entry = read_entry(entry_id, fields)
        if isinstance(entry, str):
            raw = fields.get(b"session_id", b"").decode(errors="backslashreplace")
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
        suspects = {session_id: check.suspects() for session_id, check in self._checks.items()}
        if not any(suspects.values()):
            return
        async for entry_id, fields in self._pages():
            entry = read_entry(entry_id, fields)
            if isinstance(entry, Entry) and hash(entry.id) in suspects.get(entry.session_id, ()):
                self._checks[entry.session_id].witness(entry)

    async def _dead_letters(self) -> dict[str, DeadLetters]:
        """Dead letters by session; under the empty session whether any were removed."""
        found: dict[str, DeadLetters] = {"": DeadLetters()}
        key = _keys(self._key, "any").dead_letter
        after, total = b"-", 0
        while True:
            page: Any = await self._client.xrange(key, after, count=PAGE_ENTRIES)
            if not page:
                break
            for _, fields in page:
                session_id = fields.get(b"session_id", b"").decode(errors="backslashreplace")
                letter = fields.get(b"id", b"").decode(errors="backslashreplace")
                found.setdefault(session_id, DeadLetters()).ids.add(letter)
            total += len(page)
            after = b"(" + page[-1][0]
        if total or await self._client.exists(key):
            told: Any = await self._client.xinfo_stream(key)
            removed = int(told.get("entries-added", total)) > total
            for each in found.values():
                each.removed = removed
        return found

    async def _compare(self, check: SessionCheck, state: State | None, dead: DeadLetters) -> int:
        sent = await _record(str(self._simulator_url), check.session.session_id)
        return compare(
            sent,
            self._delivered.get(check.session.session_id, ()),
            dead_letters=dead.ids,
            cursor=state.cursor if state else None,
            trimmed=(check.first_seq or 1) > 1,
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


async def _record(simulator_url: str, session_id: str) -> list[Sent]:
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
        return [Sent(one["id"], one["sha256"]) for one in events if one["type"] not in CONTROL_TYPES]
    except (aiohttp.ClientError, TimeoutError, ValueError, TypeError, KeyError) as error:
        raise VerifyError(f"{url}: no record to be had: {error or type(error).__name__}") from error


def _state(fields: dict[bytes, bytes], findings: Findings) -> State | None:
    if not fields:
        return None
    try:
        seq, ordinal = int(fields.get(b"seq", 0)), int(fields.get(b"ordinal", 0))
    except ValueError:
        findings.fault(FaultKind.STATE_MISMATCH, "seq or ordinal of the state is no number")
        return None
    cursor = fields.get(b"cursor", b"").decode(errors="backslashreplace")
    return State(cursor=cursor or None, seq=seq, ordinal=ordinal)


def _keys(stream_key: str, session_id: str) -> Any:
    return session_keys(stream_key, Session(name=session_id, session_id=session_id))
