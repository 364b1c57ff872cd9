"""Proves or refutes the guarantee for one session from its own entries, their ids and numbers. Pure.

It shares no code with what writes the entries, so that one mistake can't hide in both. Memory is bounded: per entry
eight bytes of its id's hash, so ten million entries take 80 MB.
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from bridge.events import Session
from bridge.verify.report import FaultKind, Findings, SessionReport

__all__ = ["DeadLetters", "Entry", "SessionCheck", "State", "read_entry"]

REQUIRED_FIELDS = (b"id", b"session_id", b"seq", b"type", b"data", b"received_at")
KEY_WITHOUT_ID = re.compile(r"(?P<after>.*)#(?P<ordinal>\d+)-[0-9a-f]{8}", re.DOTALL)
REUSE_SUFFIX = re.compile(r"~[0-9a-f]{8}$")
OPEN_HOLES = 1000  # remembered, since a later entry may turn out to be the missing one: then it is out of order
SUSPECTS = 1000  # ids to look at in a second reading; more duplicates than these are counted, but not named
BUCKETS = 256  # hashes are compared bucket by bucket, so that comparing needs little more memory than they do


class Entry(NamedTuple):
    """One stream entry, its fields read. ``after`` and ``ordinal`` are those of an event that came without an id."""

    entry: str
    id: str
    session_id: str
    seq: int
    type: str
    data: bytes
    after: str | None
    ordinal: int

    @property
    def is_marker(self) -> bool:
        """Written by the bridge itself, not sent by the server."""
        return self.id.startswith("bridge-") and self.type.startswith("bridge.")


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The committed place as it stands in the state hash."""

    cursor: str | None
    seq: int
    ordinal: int


@dataclass(slots=True)
class DeadLetters:
    """The ids of a session's dead letters. ``removed``: some were trimmed or purged, so an id may be missing here."""

    ids: set[str] = field(default_factory=set)
    removed: bool = False

    def explain(self, cursor: str | None) -> bool:
        """The cursor may have moved past the last entry for a dead letter."""
        return self.removed or cursor in self.ids or any(one.startswith(f"{cursor or 0}#") for one in self.ids)


def read_entry(entry: bytes, fields: Mapping[bytes, bytes]) -> Entry | str:
    """Read one entry's fields, or say what is wrong with them."""
    if missing := [name.decode() for name in REQUIRED_FIELDS if name not in fields]:
        return f"without {', '.join(missing)}"
    seq = fields[b"seq"]
    if not seq.isdigit() or seq.startswith(b"0"):
        return "seq is no decimal number from 1"
    try:
        float(fields[b"received_at"])
    except ValueError:
        return "received_at is no number"
    id, type = _text(fields[b"id"]), _text(fields[b"type"])
    if not id or not type:
        return "id or type is empty"
    if id.startswith("bridge-") and not type.startswith("bridge."):
        return f"id {id} is kept for markers, but the type is {type}"
    match = KEY_WITHOUT_ID.fullmatch(id) if "#" in id else None
    after, ordinal = (match["after"], int(match["ordinal"])) if match else (None, 0)
    session_id = _text(fields[b"session_id"])
    return Entry(_text(entry), id, session_id, int(seq), type, fields[b"data"], after, ordinal)


class SessionCheck:
    """Takes a session's entries in stream order, then gives its report."""

    def __init__(self, session: Session, stream_key: str) -> None:
        self.session = session
        self.stream_key = stream_key
        self.findings = Findings()
        self.events = self.without_id = self.markers = self.gaps = 0
        self.first_seq: int | None = None
        self._last: Entry | None = None  # the highest number so far, and its entry
        self._restart: Entry | None = None  # the last entry below it: the numbers may have begun anew there
        self._holes: list[tuple[int, int, str]] = []  # first and last number missing, and the entry after them
        self._tail: Entry | None = None  # the last lens event
        self._last_id: str | None = None  # the last one that the server gave
        self._ids, self._keys_without_id = _HashIndex(), _HashIndex()
        self._seen: dict[str, list[Entry]] = {}  # what `witness` found, without the data

    def add(self, entry: Entry) -> None:
        """Take in the next entry."""
        self._number(entry)
        if entry.is_marker:
            self._ids.add(entry.id)
            self._marker(entry)
            return
        self.events += 1
        if entry.after is None:
            self._ids.add(entry.id)
            self._last_id = entry.id
        else:
            self._keys_without_id.add(entry.id)
            self.without_id += 1
            self._ordinal(entry)
        self._tail = entry

    def suspects(self) -> set[int]:
        """Hashes of ids that came more than once: nearly surely equal ids, to be looked at in a second reading."""
        return self._ids.repeated(SUSPECTS)

    def witness(self, entry: Entry) -> None:
        """Take in an entry whose id is under suspicion, in a second reading."""
        self._seen.setdefault(entry.id, []).append(entry._replace(data=b""))

    def report(
        self, state: State | None, dead: DeadLetters, *, oldest_entry: str | None, pending: int | None = None
    ) -> SessionReport:
        """Judge. ``oldest_entry`` is the stream's first entry after the reading: what lies before it was trimmed."""
        for first, last, entry in self._holes:
            self._hole(first, last, entry, oldest_entry)
        self._duplicates()
        self._place(state, dead)
        if self.first_seq is not None and self.first_seq > 1:
            self.findings.note(f"the stream begins at seq {self.first_seq}: older entries were trimmed or lost")
        return SessionReport(
            name=self.session.name,
            session_id=self.session.session_id,
            stream_key=self.stream_key,
            events=self.events,
            without_id=self.without_id,
            markers=self.markers,
            gaps=self.gaps,
            dead_letters=len(dead.ids),
            first_seq=self.first_seq,
            last_seq=self._last.seq if self._last else None,
            cursor=state.cursor if state else None,
            pending=pending,
            faults=tuple(self.findings.faults),
            fault_counts=tuple(sorted(self.findings.counts.items())),
            notes=self.findings.all_notes(),
        )

    def _number(self, entry: Entry) -> None:
        last = self._last
        if last is None:
            self.first_seq, self._last = entry.seq, entry
        elif entry.seq == last.seq + 1:
            self._last, self._restart = entry, None
        elif entry.seq > last.seq:
            if len(self._holes) == OPEN_HOLES:
                self._hole(*self._holes.pop(0), None)
            self._holes.append((last.seq + 1, entry.seq - 1, entry.entry))
            self._last, self._restart = entry, None
        elif self._restart is not None and entry.seq == self._restart.seq + 1:
            self._last, self._restart = entry, None  # said once, where the numbers began anew
        else:
            self._restart = entry
            self._fill(entry.seq)
            if (entry.seq, entry.id) != (last.seq, last.id):  # the same entry once more is a duplicate, told as one
                self._accuse(FaultKind.OUT_OF_ORDER, f"after seq {last.seq} (entry {last.entry})", entry)

    def _fill(self, seq: int) -> None:
        for at, (first, last, entry) in enumerate(self._holes):
            if first <= seq <= last:
                rest = [(first, seq - 1, entry), (seq + 1, last, entry)]
                self._holes[at : at + 1] = [one for one in rest if one[0] <= one[1]]
                return

    def _hole(self, first: int, last: int, entry: str, oldest_entry: str | None) -> None:
        if oldest_entry is not None and _position(entry) <= _position(oldest_entry):
            self.findings.note(f"entries before {entry} were trimmed during the reading")
            return
        missing = f"seq {first}" if first == last else f"seq {first} to {last}"
        self.findings.fault(FaultKind.HOLE, f"{missing} missing before it", entry=entry)

    def _ordinal(self, entry: Entry) -> None:
        tail = self._tail
        if tail is None or tail.after != entry.after or self._last_id not in (None, entry.after):
            return  # only events that follow the last id are counted on; others are replays of older ones
        if entry.ordinal <= tail.ordinal and entry.id != tail.id:
            self._accuse(FaultKind.OUT_OF_ORDER, f"ordinal {entry.ordinal} after {tail.ordinal}", entry)

    def _marker(self, entry: Entry) -> None:
        self.markers += 1
        if entry.type != "bridge.gap":
            return
        self.gaps += 1
        try:
            told = json.loads(entry.data)
            what = f"{told['reason']}, outage {float(told['outage_seconds']):g} s, last id {told['last_id']}"
        except (ValueError, TypeError, KeyError):
            self._accuse(FaultKind.MALFORMED, "a gap marker that does not tell its reason", entry)
            return
        self.findings.note(f"declared gap at entry {entry.entry} (seq {entry.seq}): {what}")

    def _duplicates(self) -> None:
        named = 0
        for first, *again in self._seen.values():
            named += len(again)
            for entry in again:
                self._accuse(FaultKind.DUPLICATE, f"its id came first in entry {first.entry}", entry)
        if self._seen and (unnamed := self._ids.repeats() - named) > 0:
            self.findings.counts[FaultKind.DUPLICATE] += unnamed
        if repeats := self._keys_without_id.repeats():
            self.findings.note(f"{repeats} events without an id stand here more than once: those are at least once")

    def _place(self, state: State | None, dead: DeadLetters) -> None:
        last = self._last
        if last is None:
            if state is not None and state.seq:
                self.findings.note(f"no entries are left of {state.seq}: trimmed, or the stream was deleted")
            return
        if state is None:
            self._accuse(FaultKind.STATE_MISMATCH, "there is no state for this session", last)
            return
        if state.seq != last.seq:
            self._accuse(FaultKind.STATE_MISMATCH, f"the last entry, but the state says seq {state.seq}", last)
        if self._tail is not None and (said := self._cursor_fault(self._tail, state, dead)):
            self._accuse(FaultKind.STATE_MISMATCH, said, self._tail)

    def _cursor_fault(self, tail: Entry, state: State, dead: DeadLetters) -> str | None:
        fitting = {tail.id, REUSE_SUFFIX.sub("", tail.id)} if tail.after is None else {tail.after, self._last_id}
        if (state.cursor or "0") not in fitting:
            return None if dead.explain(state.cursor) else f"the last event, but the cursor is {state.cursor}"
        if dead.explain(state.cursor):
            return None  # a dead letter without an id counts on, and leaves no entry
        if tail.after == (state.cursor or "0"):
            expected = tail.ordinal
        elif tail.after is None and tail.id == state.cursor:
            expected = 0
        else:
            return None
        return None if state.ordinal == expected else f"the last event, but the state says ordinal {state.ordinal}"

    def _accuse(self, kind: FaultKind, detail: str, entry: Entry) -> None:
        self.findings.fault(kind, detail, entry=entry.entry, id=entry.id, seq=entry.seq)


class _HashIndex:
    """Tells which texts came more than once, from 64 bits of each. Python seeds the hash, so none can be prepared."""

    def __init__(self) -> None:
        self._buckets = [array("q") for _ in range(BUCKETS)]

    def add(self, text: str) -> None:
        hashed = hash(text)
        self._buckets[hashed % BUCKETS].append(hashed)

    def repeats(self) -> int:
        """How many came again."""
        return sum(len(bucket) - len(set(bucket)) for bucket in self._buckets)

    def repeated(self, limit: int) -> set[int]:
        """At most ``limit`` hashes that came more than once."""
        found: set[int] = set()
        for bucket in self._buckets:
            if len(set(bucket)) == len(bucket):
                continue
            ordered = sorted(bucket)
            found.update(one for one, following in pairwise(ordered) if one == following)
            if len(found) >= limit:
                return set(sorted(found)[:limit])
        return found


def _position(entry: str) -> tuple[int, ...]:
    return tuple(int(part) for part in entry.split("-"))


def _text(raw: bytes) -> str:
    return raw.decode(errors="backslashreplace")
