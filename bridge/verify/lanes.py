"""Brings the entries of a session that stand in several streams into one order, that of their numbers. Pure.

Within a stream the order is that of the entries; between two of them no clock tells it, since each may give the entries
of one millisecond ids of its own. So the judge sees what a reader of all of them could: one run of numbers. Markers
stand in each stream; the first copy is judged, the others are held to be the same, in their places.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from bridge.verify.entries import Entry, accuse
from bridge.verify.report import FaultKind, Findings

__all__ = ["Lanes", "Next"]

HELD = 2_000  # entries that wait for a number before them; more are not held back: it is missing
MARKERS = 10_000  # of which it is remembered where they stand


class Next(NamedTuple):
    """The entry that comes next, and whether numbers just before it may have stood in a stream that was trimmed."""

    entry: Entry
    excused: bool


class _Marker(NamedTuple):
    entry: Entry
    streams: set[str]


class Lanes:
    """Takes the entries of each stream in its order, from all of them about as they were written, without their data.

    ``streams``: those that the session writes to, ``trimmed``: those whose oldest entries may be gone.
    """

    def __init__(self, findings: Findings, streams: Collection[str], trimmed: Collection[str]) -> None:
        self._findings = findings
        self._streams = tuple(streams)
        self._trimmed = trimmed
        self._waiting: dict[str, deque[Entry]] = {}
        self._held = 0
        self._number = 0  # of the last event, or the last one that was declared lost
        self._first: dict[str, int] = {}  # the first number that is left in each stream
        self._last: dict[str, int] = {}  # the last number of an event in each stream
        self._markers: dict[str, _Marker] = {}

    def add(self, stream: str, entry: Entry) -> Iterator[Next]:
        """Take in the next entry of a stream; gives what is known to come next."""
        self._waiting.setdefault(stream, deque()).append(entry)
        self._held += 1
        while self._held:
            stream = self._next_stream()
            if self._held <= HELD and not self._follows(self._waiting[stream][0]):
                return
            yield from self._take(stream)

    def rest(self) -> Iterator[Next]:
        """Nothing follows: gives all that waits."""
        while self._held:
            yield from self._take(self._next_stream())

    def holds(self, stream: str) -> bool:
        """Something of the session stands there."""
        return stream in self._first

    def conclude(self, since: Mapping[str, int]) -> None:
        """Accuse markers that do not stand in each stream. ``since``: since which number each is written to."""
        for marker, there in self._markers.values():
            for stream, number in since.items():
                if stream not in there and marker.seq > number and not self._may_be_trimmed(stream, marker.seq):
                    said = f"it does not stand in {stream}, whose readers have to learn of it too"
                    accuse(self._findings, FaultKind.MARKER, said, marker)

    def _may_be_trimmed(self, stream: str, number: int) -> bool:
        begun = stream in self._streams[:1] or stream in self._trimmed
        return begun and self._first.get(stream, number + 1) > number

    def _next_stream(self) -> str:
        return min((one for one, waiting in self._waiting.items() if waiting), key=self._rank)

    def _rank(self, stream: str) -> tuple[int, bool, bool, int]:
        """A marker stands behind the event of its number; of several there its copies, then the first stream's."""
        entry = self._waiting[stream][0]
        known = entry.is_marker and entry.id in self._markers
        order = self._streams.index(stream) if stream in self._streams else len(self._streams)
        return entry.seq, entry.is_marker, not known, order

    def _follows(self, entry: Entry) -> bool:
        return entry.seq <= self._number + (not entry.is_marker)

    def _take(self, stream: str) -> Iterator[Next]:
        entry = self._waiting[stream].popleft()
        self._held -= 1
        excused = any(one in self._trimmed and one not in self._first for one in self._streams)
        self._first.setdefault(stream, entry.seq)
        self._number = max(self._number, entry.seq, entry.declares[1] if entry.declares else 0)
        if not entry.is_marker:
            self._last[stream] = max(entry.seq, self._last.get(stream, 0))
        elif (known := self._markers.get(entry.id)) and stream not in known.streams:
            self._compare(entry, known.entry, stream)
            known.streams.add(stream)
            return
        elif not known and len(self._markers) < MARKERS:
            self._markers[entry.id] = _Marker(entry, {stream})
        yield Next(entry, excused)

    def _compare(self, copy: Entry, first: Entry, stream: str) -> None:
        if copy._replace(entry=first.entry, stream=first.stream) != first:
            accuse(
                self._findings, FaultKind.MARKER, f"it is not the same as entry {first.entry} in another stream", copy
            )
        elif copy.seq < self._last.get(stream, 0):
            said = f"it stands behind seq {self._last[stream]} there"
            accuse(self._findings, FaultKind.MARKER, said, copy)
