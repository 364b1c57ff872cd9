"""Follows the numbers of a session: 1, 2, 3, … for events, and markers between them. Pure."""

from __future__ import annotations

from bridge.verify.entries import Entry, accuse, position
from bridge.verify.report import FaultKind, Findings

__all__ = ["Numbers"]

NUMBERED = 1000  # markers with a number of their own that are remembered
OPEN_HOLES = 1000  # remembered, since a later entry may turn out to be the missing one: then it is out of order


class Numbers:
    """Takes entries in stream order. ``seq`` is the number that the state must have.

    A marker has the number of the entry before it. An earlier release gave it the next number; whether that is so, or
    the marker lies, is told by the event that follows, which then goes on after it.
    """

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self.first: int | None = None
        self.begins_late = False  # what stood before the first entry left is not there to be judged
        self.own_numbers = 0  # taken by markers of an earlier release
        self.numbered: set[str] = set()  # their entries, the first of them
        self.lost = 0  # declared as lost
        self.excused = 0  # not there, but they may have stood in another stream, whose oldest entries are gone
        self._seq = 0
        self._last: Entry | None = None  # the one with the highest number
        self._ahead: Entry | None = None  # a marker beyond it, until the next entry tells why
        self._declared: tuple[int, int, Entry] | None = None
        self._between = False  # a marker without a number was seen, so the earlier release is over
        self._restart: Entry | None = None  # the last entry below the highest: the numbers may have begun anew there
        self._holes: list[tuple[int, int, str]] = []  # first and last number missing, and the entry after them

    @property
    def seq(self) -> int:
        return self._declared[1] if self._declared else self._seq

    @property
    def last(self) -> Entry | None:
        return self._last

    def add(self, entry: Entry, *, excused: bool = False) -> None:
        """Take in the next entry of the session. ``excused``: numbers before it may have been trimmed elsewhere."""
        if excused and self._last is not None and self._declared is None:
            self._pass_over(entry.seq - (not entry.is_marker))
        if self._last is None:
            self.first, self._seq, self._last = entry.seq, entry.seq, entry
            self.begins_late = entry.seq > (0 if entry.is_marker else 1)
            self._between = not entry.seq
            self._declare(entry)
        elif entry.is_marker:
            self._marker(entry)
        else:
            self._event(entry, self._last)

    def conclude(self, state_seq: int | None, oldest_entry: str | None) -> None:
        """Nothing follows. ``oldest_entry`` is the stream's first one after the reading: the rest was trimmed."""
        if self._ahead:
            self._settle(believe=state_seq != self._seq)
        if self._declared:
            self._lost(*self._declared)
        for first, last, entry in self._holes:
            self._hole(first, last, entry, oldest_entry)

    def _marker(self, entry: Entry) -> None:
        if self._ahead:
            follows = entry.seq in (self._ahead.seq, self._ahead.seq + 1)
            self._settle(believe=follows or (entry.seq != self._seq and self._ahead.seq == self._seq + 1))
        if entry.seq in (self._seq, self.seq):
            self._between = True
            self._declare(entry)
        elif entry.seq > self.seq and entry.declares is None:
            self._ahead = entry
        else:
            self._accuse_marker(entry)

    def _declare(self, entry: Entry) -> None:
        if entry.declares is None:
            return
        first, last = entry.declares
        if first != self.seq + 1:
            said = f"it declares seq {first} to {last} lost, but the next number is {self.seq + 1}"
            accuse(self._findings, FaultKind.MARKER, said, entry)
            return
        self._declared = (self._declared[0] if self._declared else first, last, entry)

    def _event(self, entry: Entry, last: Entry) -> None:
        if self._ahead:
            self._settle(believe=entry.seq > self._ahead.seq)
        if self._declared:
            first, end, marker = self._declared
            self._declared = None
            if entry.seq == end + 1:
                self._lost(first, end, marker)
                self._seq = end
            else:
                said = f"it declares seq {first} to {end} lost, but seq {entry.seq} follows"
                accuse(self._findings, FaultKind.MARKER, said, marker)
        if entry.seq > self._seq:
            self._skip_to(entry)
            self._advance(entry)
        elif self._restart is not None and entry.seq == self._restart.seq + 1:
            self._advance(entry)  # said once, where the numbers began anew
        else:
            self._restart = entry
            self._fill(entry.seq)
            same = (entry.seq, entry.id) == (last.seq, last.id)  # once more the same is a duplicate, told as one
            if not same or "#" in entry.id:  # duplicates of events without an id are not always faults, numbers are
                said = f"after seq {self._seq} (entry {last.entry})"
                accuse(self._findings, FaultKind.OUT_OF_ORDER, said, entry)

    def _settle(self, *, believe: bool) -> None:
        marker, self._ahead = self._ahead, None
        assert marker is not None
        if not believe:
            self._accuse_marker(marker)
            return
        if self._between:
            said = f"it has the number {marker.seq} of its own, though a marker before it stands between numbers"
            accuse(self._findings, FaultKind.MARKER, said, marker)
        self.own_numbers += 1
        if len(self.numbered) < NUMBERED:
            self.numbered.add(marker.entry)
        self._skip_to(marker)
        self._advance(marker)

    def _accuse_marker(self, entry: Entry) -> None:
        said = f"its seq is not that of the entry before it, {self._seq}"
        accuse(self._findings, FaultKind.MARKER, said, entry)

    def _advance(self, entry: Entry) -> None:
        self._seq, self._last, self._restart = entry.seq, entry, None

    def _skip_to(self, entry: Entry) -> None:
        if entry.seq == self._seq + 1:
            return
        if len(self._holes) == OPEN_HOLES:
            self._hole(*self._holes.pop(0), None)
        self._holes.append((self._seq + 1, entry.seq - 1, entry.entry))

    def _pass_over(self, until: int) -> None:
        if until > self._seq:
            self.excused += until - self._seq
            self._seq = until

    def _fill(self, seq: int) -> None:
        for at, (first, last, entry) in enumerate(self._holes):
            if first <= seq <= last:
                rest = [(first, seq - 1, entry), (seq + 1, last, entry)]
                self._holes[at : at + 1] = [one for one in rest if one[0] <= one[1]]
                return

    def _lost(self, first: int, last: int, marker: Entry) -> None:
        self.lost += last - first + 1
        self._findings.note(f"seq {_range(first, last)} declared as lost by entry {marker.entry}")

    def _hole(self, first: int, last: int, entry: str, oldest_entry: str | None) -> None:
        if oldest_entry is not None and position(entry) <= position(oldest_entry):
            self._findings.note(f"entries before {entry} were trimmed during the reading")
            return
        self._findings.fault(FaultKind.HOLE, f"seq {_range(first, last)} missing before it", entry=entry)


def _range(first: int, last: int) -> str:
    return str(first) if first == last else f"{first} to {last}"
