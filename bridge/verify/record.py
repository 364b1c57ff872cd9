"""Compares what stands in a stream with what the server itself says it has sent. Pure."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from bridge.verify.entries import GAP, Entry, aliases, reuse_of, without_id
from bridge.verify.report import FaultKind, Findings

__all__ = ["Delivered", "Filter", "Sent", "compare", "delivered"]


class Filter(NamedTuple):
    """Globs of the types that are published, and of those that are not."""

    include: Sequence[str] = ("*",)
    exclude: Sequence[str] = ()

    def drops(self, type: str | None) -> bool:
        """Whether an event of this type need not be there. One without a type is a dead letter, and is."""
        if type is None:
            return False
        taken = any(fnmatchcase(type, glob) for glob in self.include)
        return not taken or any(fnmatchcase(type, glob) for glob in self.exclude)


class Sent(NamedTuple):
    """One event that the server has sent, in the server's order. ``sha256`` is hexadecimal.

    ``filtered``: it need not be there, but may, from before the filter.
    """

    id: str | None
    sha256: str
    filtered: bool = False


class Delivered(NamedTuple):
    """One entry of the stream, reduced to what is compared. ``gap``: a marker that declares a hole; ``rewound``: where
    a person has put the place, and whether events may come again from there; ``replayed``: it was a dead letter once,
    and was published behind whatever came meanwhile.
    """

    entry: str
    id: str
    seq: int
    sha256: str
    after: str | None
    gap: bool
    rewound: tuple[str, bool] | None = None
    replayed: bool = False
    stream: str = ""


def delivered(entry: Entry) -> Delivered | None:
    """Reduce an entry; None for a marker that declares nothing missing."""
    gap = entry.is_marker and entry.type == GAP
    if entry.is_marker and not gap:
        return None
    digest = "" if gap else hashlib.sha256(_as_read(entry.data)).hexdigest()
    parts = None if gap else without_id(entry.id, entry.hash8)
    after = parts.after if parts and parts.made else None
    return Delivered(
        entry.entry, entry.id, entry.seq, digest, after, gap, entry.rewound, bool(entry.dead_letter), entry.stream
    )


def _as_read(data: bytes) -> bytes:
    """The data as the standard lets a client read it, which is what the record holds: U+FFFD for what is not UTF-8."""
    return data.decode("utf-8", "replace").encode()


def compare(
    sent: Sequence[Sent],
    entries: Iterable[Delivered],
    *,
    dead_letters: Iterable[str],
    cursor: str | None,
    trimmed: bool,
    findings: Findings,
) -> int:
    """Put faults into ``findings`` and return how many events are still under way.

    ``trimmed``: the stream has lost its oldest entries, so what the server sent before the first one left is not
    judged. Events past the last one delivered and past ``cursor`` are under way, not missing.
    """
    comparison = _Comparison(sent, findings)
    for entry in entries:
        comparison.deliver(entry)
    for id in dead_letters:
        comparison.bury(id)
    return comparison.conclude(cursor, trimmed=trimmed)


class _Comparison:
    def __init__(self, sent: Sequence[Sent], findings: Findings) -> None:
        self._sent = sent
        self._findings = findings
        self._done = bytearray(len(sent))  # accounted for: delivered, buried, or declared
        self._stands = bytearray(len(sent))  # delivered, since a marker let events come again
        self._reached = -1  # the furthest position delivered since the place was moved by hand
        self._furthest = -1  # the furthest of all
        self._skipped = bytearray(len(sent))  # a person has moved the place past it; it may come after all
        self._first: int | None = None
        self._gap_from: int | None = None
        self._by_id: dict[str, list[int]] = defaultdict(list)
        self._by_hash: dict[str, list[int]] = defaultdict(list)  # events without an id
        self._by_hash8: dict[str, list[int]] = defaultdict(list)
        for at, one in enumerate(sent):
            if one.id:
                self._by_id[one.id].append(at)
            else:
                self._by_hash[one.sha256].append(at)
                self._by_hash8[one.sha256[:8]].append(at)

    def deliver(self, entry: Delivered) -> None:
        if entry.rewound:
            self._rewind(*entry.rewound)
            return
        if entry.gap:
            self._gap_from = self._reached + 1 if self._gap_from is None else self._gap_from
            return
        at = self._match(entry)
        if at is None:
            return
        self._done[at] = self._stands[at] = 1
        if entry.replayed:
            return
        if self._first is None:
            self._first = at
        if self._gap_from is not None and at > self._reached:
            self._declare(self._gap_from, at)
            self._gap_from = None
        if self._skipped[
            at
        ]:  # some servers serve from where they like, and a state that was lost is found further back
            self._skipped[at] = 0
            return
        if at < self._reached:
            self._accuse(FaultKind.OUT_OF_ORDER, "the server sent it before the event that stands before it", entry)
        self._reached = max(self._reached, at)

    def _rewind(self, to: str, again: bool) -> None:
        """The place was moved by hand: what lies between is declared, and what follows goes on from there."""
        if again:
            self._stands = bytearray(len(self._sent))
        self._furthest = max(self._furthest, self._reached)
        places = [-1] if to == "0" else self._with_id(to) or []
        if not places:  # nobody knows where that is: what comes next tells
            self._gap_from = 0
            self._reached = -1
            return
        if (at := places[-1]) > self._reached:
            for passed in range(self._reached + 1, at + 1):
                self._skipped[passed] |= not self._done[passed]
            self._declare(self._reached + 1, at + 1)
        self._reached = at

    def bury(self, id: str) -> None:
        """A dead letter counts as delivered."""
        places = self._with_id(id)
        if places is None and (parts := without_id(id, "")):
            places = self._by_hash8.get(id[-8:]) or self._counted(parts.after, parts.ordinal)
        free = [at for at in places or () if not self._done[at]]
        if free:
            self._done[free[0]] = 1

    def conclude(self, cursor: str | None, *, trimmed: bool) -> int:
        places = self._by_id.get(cursor, []) if cursor else []
        furthest = max(self._furthest, self._reached)
        passed = max(furthest, min((at for at in places if at >= furthest), default=-1))
        begin = (self._first or 0) if trimmed else 0
        for at in range(begin, passed + 1):
            if not self._done[at] and not self._sent[at].filtered:
                one = self._sent[at]
                detail = f"event {at + 1} of the server's record, sha256 {one.sha256[:12]}…"
                self._findings.fault(FaultKind.MISSING, detail, id=one.id)
        return sum(1 for at in range(passed + 1, len(self._sent)) if not self._done[at] and not self._sent[at].filtered)

    def _match(self, entry: Delivered) -> int | None:
        """The position of the event that this entry is, or None with a fault or a note."""
        places = self._with_id(entry.id)
        if places is None and entry.after is not None:
            return self._match_without_id(entry)
        if places is None:
            self._accuse(FaultKind.UNEXPECTED, "the server never sent it", entry)
            return None
        equal = [at for at in places if self._sent[at].sha256 == entry.sha256]
        free = [at for at in equal or places if not self._stands[at]]
        if not free:
            self._accuse(FaultKind.DUPLICATE, "the server sent it less often", entry)
            return None
        if not equal:
            self._accuse(FaultKind.CHANGED, f"other bytes than the server sent: sha256 {entry.sha256[:12]}…", entry)
        return free[0]

    def _with_id(self, id: str) -> list[int] | None:
        """Where the server sent this id, or the one that this key was made of."""
        reuse = reuse_of(id, "")
        names = (*aliases(id), *(aliases(reuse.base) if reuse else ()))
        return next((found for name in names if (found := self._by_id.get(name))), None)

    def _match_without_id(self, entry: Delivered) -> int | None:
        places = self._by_hash.get(entry.sha256) or [
            at for at in self._with_id(entry.after or "") or () if self._sent[at].sha256 == entry.sha256
        ]  # an id that came twice in a row counts on too
        if not places:
            self._accuse(FaultKind.UNEXPECTED, "the server never sent these bytes without an id", entry)
            return None
        free = [at for at in places if not self._stands[at]]
        if not free:
            self._findings.note(f"entry {entry.entry} repeats an event without an id: those are at least once")
            return None
        return next((at for at in free if at > self._reached), free[0])

    def _counted(self, after: str, ordinal: int) -> list[int]:
        """Where the hash does not tell (an oversize event is cut): the n-th event without an id after the one named."""
        begin = self._by_id[after][-1] if after in self._by_id else -1
        at = begin + ordinal
        return [at] if at < len(self._sent) and not self._sent[at].id else []

    def _declare(self, begin: int, end: int) -> None:
        undelivered = [at for at in range(begin, end) if not self._done[at]]
        for at in undelivered:
            self._done[at] = 1
        if undelivered:
            self._findings.note(f"{len(undelivered)} events of the server fell into a declared gap")

    def _accuse(self, kind: FaultKind, detail: str, entry: Delivered) -> None:
        self._findings.fault(kind, detail, entry=entry.entry, id=entry.id, seq=entry.seq, stream=entry.stream or None)
