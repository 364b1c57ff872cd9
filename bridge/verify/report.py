"""What `verify` found, as values, as a table for people and as JSON. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from bridge.errors import BridgeError

__all__ = [
    "FaultKind",
    "Finding",
    "Findings",
    "Report",
    "SessionReport",
    "VerifyError",
    "as_json",
    "render_text",
    "words_of",
]

LISTED = 20  # faults and notes kept per session: the rest are counted, so that a ruined stream fits in memory
NUMBERED = " taken by a marker (by an earlier release; else an event is missing)"
_OF_PIPELINE = re.compile(r"Command # \d+ \(.*\) of pipeline caused error: \(?['\"](.*)['\"],?\)?")
ACCUSED = 10_000  # entries remembered as accused: memory must stay bounded where everything is wrong


class VerifyError(BridgeError):
    """Redis or the simulator could not be read."""


def words_of(error: Exception) -> str:
    """What Redis says, without the command that redis-py puts around it."""
    words = _OF_PIPELINE.sub(r"\1", str(error)) or type(error).__name__
    return f"{words} - another program uses this key: move one of them" if words.startswith("WRONGTYPE") else words


class FaultKind(StrEnum):
    """In which way a stream breaks the guarantee."""

    DUPLICATE = "duplicate"  # an id stands in the stream twice
    HOLE = "hole"  # a number is missing
    OUT_OF_ORDER = "out_of_order"
    CHANGED = "changed"  # other bytes than the server sent, or than the key was made of
    MISSING = "missing"  # sent by the server, passed by the cursor, but not in the stream
    UNEXPECTED = "unexpected"  # in the stream, but never sent by the server
    MALFORMED = "malformed"  # a field is missing or makes no sense
    MARKER = "marker"  # it stands where none may be, or does not fit what stands around it
    DEAD_LETTER = "dead_letter"  # it makes no sense, is there twice, or its event was published too
    STATE_MISMATCH = "state_mismatch"  # the committed place does not fit the entries


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One offence, with the entry that shows it (None where it is the lack of one); ``stream`` is the key where that
    stands, of a session that writes to several."""

    kind: FaultKind
    detail: str
    entry: str | None = None
    id: str | None = None
    seq: int | None = None
    stream: str | None = None


@dataclass(slots=True)
class Findings:
    """Faults and notes as they are found: all are counted, the first ones are kept.

    An entry is accused once of the same thing, though both the stream and the server's record may speak against it.
    """

    faults: list[Finding] = field(default_factory=list)
    counts: Counter[FaultKind] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    notes_left_out: int = 0
    _accused: set[tuple[FaultKind, str]] = field(default_factory=set)

    def fault(
        self,
        kind: FaultKind,
        detail: str,
        *,
        entry: str | None = None,
        id: str | None = None,
        seq: int | None = None,
        stream: str | None = None,
    ) -> None:
        """Count a fault, and keep it if it is among the first."""
        if entry is not None:
            accused = (kind, f"{stream or ''} {entry}")
            if accused in self._accused:
                return
            if len(self._accused) < ACCUSED:
                self._accused.add(accused)
        self.counts[kind] += 1
        if len(self.faults) < LISTED:
            self.faults.append(Finding(kind=kind, detail=detail, entry=entry, id=id, seq=seq, stream=stream))

    def note(self, text: str) -> None:
        """Keep something that a person should know and that is no fault."""
        if len(self.notes) < LISTED:
            self.notes.append(text)
        else:
            self.notes_left_out += 1

    def all_notes(self) -> tuple[str, ...]:
        """The notes, with a last one for those that were left out."""
        more = (f"and {self.notes_left_out} more notes",) if self.notes_left_out else ()
        return (*self.notes, *more)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionReport:
    """One session in one stream. ``pending`` is None where there was no record of the server's to compare with.

    ``begins_late``: the first entry left is not the session's first. ``numbers_lost``: numbers that gap markers declare
    lost. ``replayed``: events that were dead letters once. ``numbered_markers``: markers with a number of their own, as
    an earlier release wrote them. ``routed``: the other streams that were read for it.
    """

    name: str
    session_id: str
    stream_key: str
    routed: tuple[str, ...] = ()
    events: int = 0
    without_id: int = 0
    markers: int = 0
    gaps: int = 0
    dead_letters: int = 0
    replayed: int = 0
    first_seq: int | None = None
    last_seq: int | None = None
    cursor: str | None = None
    pending: int | None = None
    begins_late: bool = False
    numbers_lost: int = 0
    numbered_markers: int = 0
    faults: tuple[Finding, ...] = ()
    fault_counts: tuple[tuple[FaultKind, int], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def fault_total(self) -> int:
        """All faults, also those that are not listed."""
        return sum(count for _, count in self.fault_counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All sessions that were looked at."""

    sessions: tuple[SessionReport, ...]

    @property
    def ok(self) -> bool:
        """No session has a fault."""
        return not any(one.fault_total for one in self.sessions)

    @property
    def pending(self) -> int:
        """Events that the server has sent and that are not committed yet."""
        return sum(one.pending or 0 for one in self.sessions)

    @property
    def compared(self) -> bool:
        """Every session that has events was compared with the server's own record."""
        judged = [one for one in self.sessions if one.events]
        return bool(judged) and all(one.pending is not None for one in judged)

    @property
    def verdict(self) -> str:
        """One line that says what was proved, and with what reservations.

        Only a comparison with the server's own record can tell that every event is there once. From Redis alone it can
        be told that nothing speaks against it.
        """
        if not self.ok:
            return f"{'not exactly once' if self.compared else 'faults found'}: {_listing(self._fault_counts())}"
        events = sum(one.events for one in self.sessions)
        if not events:
            return f"nothing to judge: no events in {_count(len(self.sessions), 'session')}"
        judged = [one for one in self.sessions if one.events]
        what = f"{_count(events, 'event')} in {_count(len(judged), 'session')}{self._reservations()}"
        if not self.compared:
            return f"no fault found in {what}"
        without_id = sum(one.without_id for one in judged)
        return f"{'at least once' if without_id == events else 'exactly once'}: {what}"

    def _fault_counts(self) -> list[tuple[int, str]]:
        total: Counter[FaultKind] = Counter()
        for session in self.sessions:
            total.update(dict(session.fault_counts))
        return [(total[kind], kind.value) for kind in FaultKind if total[kind]]

    def _reservations(self) -> str:
        without_id = sum(one.without_id for one in self.sessions)
        parts = [
            (sum(one.gaps for one in self.sessions), "declared gap", ""),
            (without_id, "event", " without an id (at least once)"),
            (sum(one.numbers_lost for one in self.sessions), "number", " declared lost"),
            (
                sum(one.numbered_markers for one in self.sessions),
                "number",
                " taken by a marker (earlier release, or an event is missing)",
            ),
            (sum(one.begins_late for one in self.sessions), "session", " without its oldest entries"),
            (sum(not one.events for one in self.sessions), "session", " without events (nothing to judge)"),
            (sum(one.dead_letters for one in self.sessions), "dead letter", ""),
            (sum(one.replayed for one in self.sessions), "dead letter", " published later"),
            (self.pending, "event", " under way"),
        ]
        return "".join(f", {_count(number, noun)}{more}" for number, noun, more in parts if number)


def as_json(report: Report) -> dict[str, Any]:
    """The report for a program; `ok`, `verdict`, `compared` and `pending` stand in front."""
    sessions = [
        {
            **asdict(one),
            "routed": list(one.routed),
            "faults": [asdict(fault) for fault in one.faults],
            "fault_counts": {kind.value: count for kind, count in one.fault_counts},
            "notes": list(one.notes),
        }
        for one in report.sessions
    ]
    return {
        "ok": report.ok,
        "verdict": report.verdict,
        "compared": report.compared,
        "pending": report.pending,
        "sessions": sessions,
    }


def render_text(report: Report) -> str:
    """The report for a person: a table, what was found, and the verdict as the last line."""
    head = ("SESSION", "EVENTS", "MARKERS", "DEAD LETTERS", "SEQ", "UNDER WAY", "FAULTS", "STREAM KEY")
    rows = [head, *(_row(one) for one in report.sessions)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    for session in report.sessions:
        lines += [f"{session.name}: {_fault_line(fault)}" for fault in session.faults]
        if session.fault_total > len(session.faults):
            lines.append(f"{session.name}: and {session.fault_total - len(session.faults)} more faults")
        lines += [f"{session.name}: note: {_plain(note)}" for note in session.notes]
    return "\n".join([*lines, report.verdict])


def _row(session: SessionReport) -> tuple[str, ...]:
    numbers = "-" if session.first_seq is None else f"{session.first_seq}-{session.last_seq}"
    pending = "-" if session.pending is None else str(session.pending)
    counts = (str(session.events), str(session.markers), str(session.dead_letters))
    streams = ", ".join((session.stream_key, *session.routed))
    return (session.name, *counts, numbers, pending, str(session.fault_total), _plain(streams))


def _fault_line(fault: Finding) -> str:
    where = [f"entry {fault.entry}{f' of {fault.stream}' if fault.stream else ''}"] if fault.entry else []
    where += [f"seq {fault.seq}"] if fault.seq is not None else []
    where += [f"id {fault.id}"] if fault.id is not None else []
    return _plain(f"{fault.kind.value}: {', '.join(where)}{': ' if where else ''}{fault.detail}")


def _plain(text: str) -> str:
    """Ids come from outside: control characters must not reach a terminal, nor an id of a megabyte."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:500])
    return shown if len(text) <= 500 else shown + "…"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _listing(counts: Sequence[tuple[int, str]]) -> str:
    return ", ".join(f"{number:,} {kind}" for number, kind in counts)
