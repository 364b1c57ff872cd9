"""Streams to be judged: a pure model of what the bridge writes, for tests that then tamper with it."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bridge.model.keys import session_keys
from bridge.model.place import Session
from bridge.model.records import Record
from bridge.verify.entries import Entry, position, read_entry, read_letter
from bridge.verify.place import DeadLetters, State
from bridge.verify.report import FaultKind, SessionReport
from bridge.verify.session import SessionCheck

__all__ = ["SESSION", "Stream", "Writer", "body", "flat", "hash8", "judge", "load"]

SESSION = Session(name="line-1", session_id="lsn-1")
KEYS = session_keys("lens:{<name>}:events", SESSION)
BEGIN_MS = 1_741_843_200_000

Fields = dict[str, Any]


def body(number: object, type: str = "inference.result") -> bytes:
    """The data of an event."""
    return json.dumps({"type": type, "n": number}).encode()


def hash8(data: bytes) -> str:
    """The hash in a key."""
    return hashlib.sha256(data).hexdigest()[:8]


@dataclass(slots=True)
class Stream:
    """What stands in Redis of one session. ``extra`` are further names and values of an entry, by its place."""

    entries: list[tuple[str, Fields]] = field(default_factory=list)
    letters: list[tuple[str, Fields]] = field(default_factory=list)
    state: Fields | None = field(default_factory=dict)
    removed_until: int = -1
    extra: dict[int, list[bytes]] = field(default_factory=dict)

    def copy(self) -> Stream:
        """To be tampered with."""
        return copy.deepcopy(self)

    def trimmed(self, count: int) -> Stream:
        """Without its oldest entries."""
        left = self.copy()
        del left.entries[:count]
        return left

    def renumber(self, begin: int, by: int = 1) -> None:
        """Move the numbers of the entries from ``begin`` on, and that of the state."""
        for _, fields in self.entries[begin:]:
            fields["seq"] += by
        if self.state is not None:
            self.state["seq"] += by

    def insert(self, at: int, fields: Fields) -> None:
        """Put an entry where it stands in time between its neighbours."""
        before = self.entries[at - 1][0] if at else "1-0"
        milliseconds, number = before.split("-")
        self.entries.insert(at, (f"{milliseconds}-{int(number) + 1}", fields))


class Writer:
    """Writes as a bridge does. ``numbered_markers``: as an earlier release did, whose markers took a number."""

    def __init__(self, *, numbered_markers: bool = False) -> None:
        self.stream = Stream()
        self.seq = 0
        self.cursor: str | None = None
        self.ordinal = 0
        self.numbered_markers = numbered_markers
        self._count = self._filtered = 0
        self.milliseconds = BEGIN_MS
        self.one_commit = False  # what is written from now on has one time

    def event(self, id: str, data: bytes | None = None, type: str = "inference.result", **more: Any) -> Writer:
        """An event with an id that is new."""
        self.cursor, self.ordinal = id, 0
        escaped = id.startswith("bridge-") and type.startswith("bridge.")
        return self._add("server-" + id if escaped else id, data or body(self._count, type), type, more)

    def reused(self, id: str, data: bytes | None = None) -> Writer:
        """An id that came before with other bytes."""
        data = data or body(self._count)
        if id != self.cursor:
            self.cursor, self.ordinal = id, 0
        return self._add(f"{id}~{hash8(data)}", data, "inference.result", {})

    def without_id(self, data: bytes | None = None) -> Writer:
        """An event that came without an id."""
        data = data or body(self._count)
        self.ordinal += 1
        return self._add(f"{self.cursor or 0}#{self.ordinal}-{hash8(data)}", data, "inference.result", {})

    def replayed(self, after: str, ordinal: int, data: bytes) -> Writer:
        """An event without an id after one that came before the cursor: it was not recognised as a replay."""
        return self._add(f"{after}#{ordinal}-{hash8(data)}", data, "inference.result", {})

    def letter(self, id: str | None, data: bytes = b"{", reason: str = "invalid_json", **more: Any) -> Writer:
        """A dead letter, with an id or without."""
        if id is None:
            self.ordinal += 1
            id = f"{self.cursor or 0}#{self.ordinal}-{hash8(data)}"
        else:
            self.cursor, self.ordinal = id, 0
        fields = {
            "id": id, "session_id": SESSION.session_id, "type": "", "data": data, "received_at": "1741843200.123",
            "event": "message", "reason": reason, "detail": "why", "truncated": 0, **more,
        }  # fmt: skip
        self.stream.letters.append((self._tick(), fields))
        return self.commit()

    def publish_letter(self, at: int = -1, type: str = "inference.result") -> Writer:
        """A person has a dead letter published: the place stays where it is."""
        entry, fields = self.stream.letters.pop(at)
        self.stream.removed_until = max(self.stream.removed_until, int(entry.split("-")[0]))
        return self._add(fields["id"], fields["data"], type, {"dead_letter": entry})

    def filtered(self, id: str | None) -> Writer:
        """An event that is filtered out, with an id or without: only the place moves."""
        if id is None:
            self.ordinal += 1
        else:
            self.cursor, self.ordinal = id, 0
        self._filtered += 1
        return self.commit()

    def land(self, record: Record) -> Writer:
        """What an intake made, at the place that it says."""
        self.cursor, self.ordinal = record.cursor, record.ordinal
        if record.skip == 0 and not record.type:
            self._filtered += 1
            return self.commit()
        if (dead := record.dead) is None:
            self.seq += not (record.key.startswith("bridge-") and record.type.startswith("bridge."))
            self._append(record.key, record.type, record.data, {})
        else:
            fields = {
                "id": record.key, "session_id": SESSION.session_id, "type": "", "data": record.data, "event": "message",
                "received_at": "1.000", "reason": dead.reason, "detail": dead.detail, "truncated": int(dead.truncated),
            }  # fmt: skip
            self.stream.letters.append((self._tick(), fields))
        return self.commit()

    def gap(self, reason: str = "cursor_unknown", **more: Any) -> Writer:
        """A gap marker."""
        told = {"reason": reason, "last_id": self.cursor, "outage_seconds": 12.5, **more}
        return self._marker("gap", told)

    def rewound(self, to: str | None, *, again: bool = False, live: bool = False) -> Writer:
        """A place that a person has moved: behind ``to``, or to the start."""
        where = "live" if live else "id" if to else "start"
        told = {"reason": "rewound", "last_id": self.cursor, "outage_seconds": 0}
        self.cursor, self.ordinal = to, 0
        return self._marker("gap", told | {"to": where, "to_id": to, "again": again})

    def lost(self, count: int) -> Writer:
        """Numbers that Redis lost and that the server does not serve again."""
        told = {"from_seq": self.seq + 1, "to_seq": self.seq + count}
        self.gap("numbers_lost", **told)
        self.seq += count
        return self.commit()

    def ended(self) -> Writer:
        """The marker at the end of a session."""
        return self._marker("session.ended", {"reason": "terminated"})

    def _marker(self, kind: str, told: Mapping[str, Any]) -> Writer:
        self.seq += self.numbered_markers
        id, data = f"bridge-{kind}-{self._count:016x}", json.dumps(told)
        self._append(id, f"bridge.{kind}", data.encode(), {})
        return self.commit()

    def _add(self, id: str, data: bytes, type: str, more: Mapping[str, Any]) -> Writer:
        self.seq += 1
        self._append(id, type, data, more)
        return self.commit()

    def _append(self, id: str, type: str, data: bytes, more: Mapping[str, Any]) -> None:
        fields = {
            "id": id, "session_id": SESSION.session_id, "seq": self.seq, "type": type, "data": data,
            "received_at": "1741843200.123", **more,
        }  # fmt: skip
        self.stream.entries.append((self._tick(), fields))

    def _tick(self) -> str:
        self._count += 1
        self.milliseconds += not self.one_commit
        return f"{self.milliseconds}-{self._count}"

    def commit(self) -> Writer:
        """Move the place past what was written."""
        self.stream.state = {
            "cursor": self.cursor or "", "seq": self.seq, "ordinal": self.ordinal, "commits": self._count,
            "phase": "active", "token": "1-abc", "filtered": self._filtered,
        }  # fmt: skip
        return self


def judge(stream: Stream) -> SessionReport:
    """The report on a stream, without a Redis."""
    check = SessionCheck(SESSION, KEYS.events)
    for at, (entry_id, fields) in enumerate(stream.entries):
        entry = read_entry(entry_id.encode(), flat(fields) + stream.extra.get(at, []))
        if not isinstance(entry, Entry):
            check.findings.fault(FaultKind.MALFORMED, entry, entry=entry_id)
        elif entry.session_id == SESSION.session_id:
            check.add(entry)
    letters = [read_letter(entry_id.encode(), flat(fields)) for entry_id, fields in stream.letters]
    check.bury(DeadLetters(letters=letters, removed_until=stream.removed_until))
    for entry_id, fields in stream.entries if check.has_suspects else ():
        if isinstance(again := read_entry(entry_id.encode(), flat(fields)), Entry):
            check.witness(again)
    told = stream.state
    state = None
    if told:
        numbers = {name: int(told[name]) for name in ("seq", "ordinal", "filtered")}
        state = State(cursor=told["cursor"] or None, **numbers)
    return check.report(state, oldest_entry=stream.entries[0][0] if stream.entries else None)


async def load(redis: Any, stream: Stream) -> None:
    """Put it into a Redis, through its client."""
    for at, (entry_id, fields) in enumerate(stream.entries):
        await redis.execute_command("XADD", KEYS.events, entry_id, *flat(fields), *stream.extra.get(at, []))
    gone = [(f"{stream.removed_until}-0", {"id": "gone"})] if stream.removed_until >= 0 else []
    for entry_id, fields in sorted([*stream.letters, *gone], key=lambda one: position(one[0])):
        await redis.execute_command("XADD", KEYS.dead_letter, entry_id, *flat(fields))
    for entry_id, _ in gone:
        await redis.xdel(KEYS.dead_letter, entry_id)
    if stream.state:
        await redis.hset(KEYS.state, mapping=stream.state)


def flat(fields: Fields) -> list[bytes]:
    return [part if isinstance(part, bytes) else str(part).encode() for pair in fields.items() for part in pair]
