"""`lens-bridge verify`: reads streams and state from Redis and judges them, page by page.

State and last entry are read in one transaction, so a worker may go on writing meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from redis.asyncio import Redis, RedisCluster
from redis.exceptions import RedisClusterException, RedisError

from bridge.model.keys import SessionKeys, session_keys
from bridge.model.place import Session
from bridge.verify.entries import Entry, position, read_entry, read_letter
from bridge.verify.lanes import Lanes, Next
from bridge.verify.pages import Raw, entries_of, first_of, served, was_trimmed
from bridge.verify.place import DeadLetters, State, main_of, since_of, state_of
from bridge.verify.record import Delivered, Filter, Sent, compare, delivered
from bridge.verify.report import FaultKind, Findings, Report, SessionReport, VerifyError, words_of
from bridge.verify.session import SessionCheck

__all__ = ["StreamTarget", "VerifyError", "stream_targets", "verify"]

SETTLE_PROBE_SECONDS = 0.2
EVERYTHING = Filter()
Client: TypeAlias = "Redis | RedisCluster"
RAW = ("XRANGE", "XREVRANGE")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamTarget:
    """A stream to check, with the sessions that should be in it. Others found in it are checked too.

    ``routed``: the other streams of each session that are known beforehand, by its id. Those that the state names are
    read as well.
    """

    stream_key: str
    sessions: tuple[Session, ...] = ()
    routed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def stream_targets(
    template: str, sessions: Sequence[Session], routes: Mapping[str, str] | None = None
) -> list[StreamTarget]:
    """The streams of configured sessions. Raises ConfigurationError for a bad template."""
    by_key: dict[str, list[tuple[Session, tuple[str, ...]]]] = {}
    for session in sessions:
        main, *routed = session_keys(template, session, routes).streams
        by_key.setdefault(main, []).append((session, tuple(routed)))
    return [
        StreamTarget(
            stream_key=key,
            sessions=tuple(session for session, _ in each),
            routed={session.session_id: routed for session, routed in each if routed},
        )
        for key, each in by_key.items()
    ]


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
                raise VerifyError(f"{target.stream_key}: cannot read Redis: {words_of(error)}") from error
        report = Report(sessions=tuple(reports))
        if not report.pending or loop.time() >= deadline:
            return report
        await asyncio.sleep(SETTLE_PROBE_SECONDS)


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
    """One reading of one stream, and of those that its sessions route events to."""

    def __init__(self, client: Client, target: StreamTarget, simulator_url: str | None, filter: Filter) -> None:
        self._client = client
        self._target = target
        self._key = target.stream_key
        self._simulator_url = simulator_url
        self._filter = filter
        self._sessions = {one.session_id: one for one in target.sessions}
        self._streams = tuple(dict.fromkeys((self._key, *(key for each in target.routed.values() for key in each))))
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._checks = {id: SessionCheck(one, self._key) for id, one in self._sessions.items()}
        self._lanes: dict[str, Lanes] = {}
        self._delivered: dict[str, list[Delivered]] = {}
        self._malformed = Findings()
        self._states: dict[str, dict[bytes, bytes]] = {}
        self._ends: dict[str, bytes | None] = {}  # the last entry of each stream at the time of the states
        self._firsts: dict[str, bytes | None] = {}
        self._trimmed: set[str] = set()
        self._last_letter: bytes | None = None  # the last dead letter then

    async def reports(self) -> list[SessionReport]:
        while not await self._read_through():
            self._begin_anew()
        await self._read_dead_letters()
        await self._read_suspects()
        oldest_entry = await self._oldest_entry()
        found = []
        for session_id, check in self._checks.items():
            if self._belongs_elsewhere(session_id):
                continue
            if lanes := self._lanes.get(session_id):
                lanes.conclude(since_of(self._states[session_id]) | {self._key: -1})
            check.routed = self._streams_of(session_id)[1:]
            state = state_of(self._states[session_id], check.findings)
            sent = await served(self._simulator_url, session_id, self._filter) if self._simulator_url else []
            pending = self._compare(check, state, sent) if self._simulator_url else None
            ids = {one.id for one in sent if one.id}
            found.append(check.report(state, oldest_entry=oldest_entry, server_ids=ids, pending=pending))
        if self._malformed.counts:
            found.append(self._nameless())
        return found

    async def _read_through(self) -> bool:
        """Read to the end; again from there when sessions appeared whose state was not read together with it.

        False where a state names a stream that was not read: all has to be read again.
        """
        after: dict[str, bytes | None] | None = None
        known = -1
        while known < len(self._checks):
            known = len(self._checks)
            if not await self._snapshot():
                return False
            if after is None and len(self._streams) > 1:
                self._firsts = {key: await first_of(self._client, key) for key in self._streams}
                self._trimmed = {key for key in self._streams if await was_trimmed(self._client, key)}
            async for raw in entries_of(self._client, self._ends, after):
                self._add(raw)
            after = self._ends
        for session_id, lanes in self._lanes.items():
            self._judge(session_id, lanes.rest())
        return True

    async def _snapshot(self) -> bool:
        async with self._client.pipeline(transaction=True) as pipeline:
            for key in self._streams:
                pipeline.xrevrange(key, count=1)
            pipeline.xrevrange(_keys(self._key, "any").dead_letter, count=1)
            for session_id in self._checks:
                pipeline.hgetall(_keys(self._key, session_id).state)
            told = await pipeline.execute()
        streams = len(self._streams)
        self._ends = {key: last[0][0] if last else None for key, last in zip(self._streams, told, strict=False)}
        self._last_letter = told[streams][0][0] if told[streams] else None
        self._states = dict(zip(self._checks, told[streams + 1 :], strict=True))
        more = (key for session_id in self._checks for key in self._streams_of(session_id))
        self._streams = tuple(dict.fromkeys((*self._streams, *more)))
        return len(self._streams) == streams

    def _streams_of(self, session_id: str) -> tuple[str, ...]:
        """Those that it writes to, or has, as far as they are known; the first is where what is routed nowhere goes."""
        state = self._states.get(session_id, {})
        keys = _keys(self._key, session_id)
        if main_of(state) not in (None, self._key):
            return keys.streams
        told = keys.streams_with(state.get(b"routed"))
        return tuple(dict.fromkeys((*told, *self._target.routed.get(session_id, ()))))

    def _belongs_elsewhere(self, session_id: str) -> bool:
        """It only shares a stream that events are routed to: its own is another, and it is judged there.

        Raises VerifyError where that stream itself was named as the one to check.
        """
        if any(one.session_id == session_id for one in self._target.sessions):
            return False
        state = self._states[session_id]
        main = main_of(state)
        if main not in (None, self._key) and not self._target.sessions:
            raise VerifyError(f"{self._key} holds what is routed from {main}: they are judged together, so name {main}")
        lanes = self._lanes.get(session_id)
        return bool(state) and main != self._key and lanes is not None and not lanes.holds(self._key)

    def _add(self, raw: Raw) -> None:
        entry = read_entry(raw.entry, raw.fields)
        if isinstance(entry, str):
            told = dict(zip(raw.fields[::2], raw.fields[1::2], strict=True))
            session_id = told.get(b"session_id", b"").decode(errors="backslashreplace")
            findings = self._checks[session_id].findings if session_id in self._checks else self._malformed
            stream = raw.stream if len(self._streams) > 1 else None
            findings.fault(FaultKind.MALFORMED, entry, entry=raw.entry.decode(), stream=stream)
            return
        session_id = entry.session_id
        if session_id not in self._checks:
            self._sessions[session_id] = Session(name=session_id, session_id=session_id)
            self._checks[session_id] = SessionCheck(self._sessions[session_id], self._key)
        if len(self._streams) == 1:
            self._judge(session_id, (Next(entry, excused=False),))
            return
        lanes = self._lanes.get(session_id)
        if lanes is None:
            findings = self._checks[session_id].findings
            lanes = self._lanes[session_id] = Lanes(findings, self._lanes_of(session_id), self._trimmed)
        # What waits for its turn should be small, where nobody asks for its bytes any more.
        data = entry.data if self._simulator_url else b""
        self._judge(session_id, lanes.add(raw.stream, entry._replace(stream=raw.stream, data=data)))

    def _lanes_of(self, session_id: str) -> tuple[str, ...]:
        return self._streams_of(session_id) if session_id in self._states else self._streams

    def _judge(self, session_id: str, entries: Iterable[Next]) -> None:
        check = self._checks[session_id]
        for entry, excused in entries:
            before = check.excused
            check.add(entry, excused=excused)
            if self._simulator_url and (reduced := delivered(entry)):
                known = self._delivered.setdefault(session_id, [])
                if check.excused > before:  # as behind a gap: what is not there is not missed
                    known.append(reduced._replace(gap=True, rewound=None))
                known.append(reduced)

    async def _read_suspects(self) -> None:
        suspected = {id: check for id, check in self._checks.items() if check.has_suspects}
        again = {id: Lanes(Findings(), self._lanes_of(id), self._trimmed) for id in suspected}
        if not suspected:
            return
        async for raw in entries_of(self._client, self._ends):
            entry = read_entry(raw.entry, raw.fields)
            if not isinstance(entry, Entry) or entry.session_id not in suspected:
                continue
            if len(self._streams) == 1:
                suspected[entry.session_id].witness(entry)
                continue
            placed = entry._replace(stream=raw.stream, data=b"")
            for following in again[entry.session_id].add(raw.stream, placed):
                suspected[entry.session_id].witness(following.entry)
        for session_id, lanes in again.items():
            for following in lanes.rest():
                suspected[session_id].witness(following.entry)

    async def _oldest_entry(self) -> str | None:
        """What lies before it was trimmed during the reading: of several streams, up to the end of its millisecond."""
        now = {key: await first_of(self._client, key) for key in self._streams}
        if len(self._streams) == 1:
            first = now[self._key]
            return first.decode() if first else None
        moved = [now[key] or self._ends[key] for key, first in self._firsts.items() if first and first != now[key]]
        return f"{max(map(_milliseconds, filter(None, moved)))}-{10**17}" if any(moved) else None

    async def _read_dead_letters(self) -> None:
        key = _keys(self._key, "any").dead_letter
        found = {session_id: DeadLetters() for session_id in self._checks}
        first: bytes | None = None
        async for _, entry_id, fields in entries_of(self._client, {key: self._last_letter}):
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


def _milliseconds(entry: bytes) -> int:
    return position(entry.decode())[0]


def _keys(stream_key: str, session_id: str) -> SessionKeys:
    return session_keys(stream_key, Session(name=session_id, session_id=session_id))
