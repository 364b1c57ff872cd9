"""Proves or refutes the guarantee for one session from its own entries, their ids and numbers. Pure.

It shares no code with what writes the entries, so that one mistake can't hide in both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from bridge.model.place import Session
from bridge.verify.entries import GAP, Entry, Letter, accuse, position, without_id
from bridge.verify.numbers import NUMBERED, Numbers
from bridge.verify.place import DeadLetters, PlaceCheck, State
from bridge.verify.repeats import Repeats
from bridge.verify.report import FaultKind, Findings, SessionReport

__all__ = ["SessionCheck"]

ANY_TIME = 1 << 62  # milliseconds
UNKNOWN_NAMED = 10  # a stream may have a strange field in each entry
CLOCKS_APART_SECONDS = 5.0  # two clocks are never compared for a verdict, but a person should know


class SessionCheck:
    """Takes a session's entries in stream order, then its dead letters, then suspects again, then gives its report."""

    def __init__(self, session: Session, stream_key: str) -> None:
        self.session = session
        self.stream_key = stream_key
        self.routed: tuple[str, ...] = ()  # the other streams whose entries are judged with it
        self.findings = Findings()
        self.events = self.without_id = self.markers = self.gaps = 0
        self._numbers = Numbers(self.findings)
        self._place = PlaceCheck(self.findings)
        self._repeats = Repeats(self.findings)
        self._suspects: set[int] = set()
        self._dead = DeadLetters()
        self._replayed: list[Letter] = []  # entries that were dead letters once, as such
        self._early: Entry | None = None  # a marker before the first event
        self._elsewhere: list[Entry] = []  # gap markers whose last id is not that of the event before them
        self._clock_ahead = 0.0
        self._unknown: Counter[str] = Counter()  # fields that a later release may write, by how often they do

    @property
    def begins_late(self) -> bool:
        """The oldest entries are no longer there."""
        return self._numbers.begins_late or self._numbers.excused > 0

    @property
    def excused(self) -> int:
        """Numbers so far that are not there, since a stream of several was trimmed."""
        return self._numbers.excused

    def add(self, entry: Entry, *, excused: bool = False) -> None:
        """Take in the next entry. ``excused``: numbers before it may have stood in another stream that was trimmed."""
        self._numbers.add(entry, excused=excused)
        self._repeats.add(entry)
        self._count_unknown(entry.unknown)
        for said in entry.wrong:
            accuse(self.findings, FaultKind.MALFORMED, said, entry)
        if entry.is_marker:
            self._marker(entry)
            return
        if not self.events and not self.begins_late:
            self._place.begin()
        self.events += 1
        parts = without_id(entry.id, entry.hash8)
        self.without_id += parts is not None and parts.made
        if entry.dead_letter:  # the place had moved past it long before it became an entry
            self._replayed.append(Letter(entry.dead_letter, entry.id, entry.session_id, entry.hash8))
        else:
            self._place.add(entry)
        self._clock_ahead = max(self._clock_ahead, entry.received_at - position(entry.entry)[0] / 1000)

    def bury(self, dead: DeadLetters) -> None:
        """Take in the dead letters."""
        self._dead = dead
        for letter in dead.letters:
            self._count_unknown(letter.unknown)
            for said in letter.wrong:
                self.findings.fault(FaultKind.DEAD_LETTER, f"dead letter: {said}", entry=letter.entry, id=letter.id)
        self._repeats.add_letters(dead.letters)
        self._suspects = self._repeats.suspects()

    @property
    def dead_letters(self) -> list[str]:
        """Their ids."""
        return [letter.id for letter in self._dead.letters]

    @property
    def has_suspects(self) -> bool:
        """A second reading is needed."""
        return bool(self._suspects)

    def witness(self, entry: Entry) -> None:
        """Take in an entry of the second reading."""
        self._repeats.witness(entry, self._suspects)

    def report(
        self,
        state: State | None,
        *,
        oldest_entry: str | None,
        server_ids: Collection[str] = (),
        pending: int | None = None,
    ) -> SessionReport:
        """Judge. ``oldest_entry`` is the stream's first entry after the reading: what lies before it was trimmed.

        ``server_ids`` are those of the server's record, where there is one.
        """
        own_ids = {*server_ids, *((state.cursor,) if state and state.cursor else ())}
        self._numbers.conclude(state.seq if state else None, oldest_entry)
        self._repeats.conclude(own_ids)
        dead = self._dead.with_(self._replayed)
        if state and state.filtered:  # an event that was filtered out moves the place as a letter does that is gone
            dead.removed_until = ANY_TIME
        self._place.conclude(state, dead, self._repeats.knows, own_ids)
        self._compare_seq(state)
        self._tell()
        return SessionReport(
            name=self.session.name,
            session_id=self.session.session_id,
            stream_key=self.stream_key,
            routed=self.routed,
            events=self.events,
            without_id=self.without_id,
            markers=self.markers,
            gaps=self.gaps,
            dead_letters=len(self._dead.letters),
            replayed=len(self._replayed),
            first_seq=self._numbers.first,
            last_seq=self._numbers.last.seq if self._numbers.last else None,
            cursor=state.cursor if state else None,
            pending=pending,
            begins_late=self.begins_late,
            numbers_lost=self._numbers.lost,
            numbered_markers=self._numbers.own_numbers,
            faults=tuple(self.findings.faults),
            fault_counts=tuple(sorted(self.findings.counts.items())),
            notes=self.findings.all_notes(),
        )

    def _marker(self, entry: Entry) -> None:
        self.markers += 1
        self._place.mark()
        if not self.events and not entry.seq and not entry.told.startswith("state_lost"):
            self._early = entry
        if entry.type == GAP:
            self.gaps += 1
            if not self._place.stands_at(entry.last_id) and len(self._elsewhere) < NUMBERED:
                self._elsewhere.append(entry)
            if entry.rewound:
                self._place.rewind(entry, entry.rewound[0])
            if entry.told:
                self.findings.note(f"declared gap at entry {entry.entry} (seq {entry.seq}): {entry.told}")

    def _count_unknown(self, names: Sequence[str]) -> None:
        for name in names:
            if name in self._unknown or len(self._unknown) < UNKNOWN_NAMED:
                self._unknown[name] += 1

    def _compare_seq(self, state: State | None) -> None:
        last = self._numbers.last
        if last is None:
            if state is not None and state.seq:
                self.findings.note(f"no entries are left of {state.seq}: trimmed, or the stream was deleted")
        elif state is None:
            accuse(self.findings, FaultKind.STATE_MISMATCH, "there is no state for this session", last)
        elif state.seq != self._numbers.seq:
            said = f"the state says seq {state.seq}, but the last number is {self._numbers.seq}"
            accuse(self.findings, FaultKind.STATE_MISMATCH, said, last)

    def _tell(self) -> None:
        if self._early and not self._dead.letters and self._dead.removed_until < 0:
            accuse(self.findings, FaultKind.MARKER, "it stands before the first event of the session", self._early)
        buried = {letter.id for letter in self._dead.letters}
        for marker in self._elsewhere if self._dead.removed_until < 0 else ():
            if marker.entry in self._numbers.numbered and marker.last_id not in buried:
                said = f"it has a number of its own, but its last id {marker.last_id} is not the one before it"
                accuse(self.findings, FaultKind.MARKER, said, marker)
        if self._numbers.excused:
            said = "numbers are not there: trimmed from one of the streams, as far as can be told"
            self.findings.note(f"{self._numbers.excused} {said}")
        if self._numbers.begins_late:
            self.findings.note(f"the stream begins at seq {self._numbers.first}: older entries were trimmed or lost")
        if self._numbers.own_numbers:
            said = "numbers are taken by markers, as an earlier release did; else an event is missing before each"
            self.findings.note(f"{self._numbers.own_numbers} {said}")
        if self._unknown:
            often = ", ".join(f"{name} ({count})" for name, count in self._unknown.items())
            self.findings.note(f"fields that this release does not know: {often}")
        if self._clock_ahead > CLOCKS_APART_SECONDS:
            self.findings.note(f"received_at is up to {self._clock_ahead:.0f} s ahead of Redis's clock: set the clocks")
