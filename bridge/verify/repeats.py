"""Tells what stands in a stream twice, also under another key, or both there and among the dead letters. Pure.

Memory is bounded: per entry sixteen bytes of hashes, so ten million entries take 160 MB. What the hashes make suspect
is looked at in a second reading.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable
from itertools import pairwise

from bridge.verify.entries import Entry, Letter, accuse, reuse_of, without_id
from bridge.verify.report import FaultKind, Findings

__all__ = ["Repeats"]

SUSPECTS = 1000  # of each kind to look at in a second reading; more duplicates are counted, but not named
BUCKETS = 256  # hashes are compared bucket by bucket, so that comparing needs little more memory than they do


class Repeats:
    """Takes entries in stream order; then `suspects`, a second reading of those by `witness`, and `conclude`."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._ids, self._keys = _HashIndex(), _HashIndex()  # ids that a server gave; keys made in their stead
        self._again = _HashIndex()  # the key that each event would have if it came again as another one's reuse
        self._reused = _HashIndex()  # keys that say so
        self._foreign = _HashIndex()  # what stands before the ~ of ids whose suffix is no hash of their data
        self._letters: dict[str, Letter] = {}
        self._seen: dict[str, list[Entry]] = {}  # what `witness` found, without the data

    def add(self, entry: Entry) -> None:
        """Take in the next entry, a marker too."""
        if _made(entry):
            self._keys.add(entry.id)
            return
        self._ids.add(entry.id)
        if entry.is_marker:
            return
        self._again.add(_again(entry))
        if reuse := reuse_of(entry.id, entry.hash8):
            if reuse.made:
                self._reused.add(entry.id)
            else:
                self._foreign.add(reuse.base)

    def add_letters(self, letters: Iterable[Letter]) -> None:
        """Take in the session's dead letters."""
        for one in letters:
            if (first := self._letters.setdefault(one.id, one)) is not one and without_id(one.id, one.hash8) is None:
                said = f"its id came first in dead letter {first.entry}"
                self._findings.fault(FaultKind.DEAD_LETTER, said, entry=one.entry, id=one.id)

    def knows(self, id: str) -> bool:
        """Whether an event stands in the stream under this id, as far as 64 bits tell."""
        return bool(self._ids.common(_HashIndex((id,))))

    def suspects(self) -> set[int]:
        """Hashes of ids to look at in a second reading."""
        letters = _HashIndex(self._letters)
        return (
            self._ids.repeated(SUSPECTS)
            | self._ids.common(self._keys)
            | self._again.common(self._reused)
            | self._ids.common(self._foreign)
            | self._ids.common(letters)
            | self._keys.common(letters)
        )

    def witness(self, entry: Entry, suspects: Collection[int]) -> None:
        """Take in an entry of a second reading, where it is among the suspects."""
        reuse = reuse_of(entry.id, entry.hash8)
        hashes = (hash(entry.id), hash(_again(entry)), hash(reuse.base) if reuse else None)
        if any(one in suspects for one in hashes):
            self._seen.setdefault(entry.id, []).append(entry._replace(data=b""))

    def conclude(self, server_ids: Collection[str]) -> None:
        """Judge. ``server_ids``: ids known to be the server's own, whatever they look like."""
        by_again = {_again(one): one for found in self._seen.values() for one in found if not one.is_marker}
        named = 0
        for id, (first, *more) in self._seen.items():
            if more and not all(_made(one) for one in (first, *more)):
                named += len(more)
                for entry in more:
                    accuse(self._findings, FaultKind.DUPLICATE, f"its id came first in entry {first.entry}", entry)
            if letter := self._letters.get(id):
                accuse(self._findings, FaultKind.DEAD_LETTER, f"it is also dead letter {letter.entry}", first)
            reuse = None if first.is_marker else reuse_of(id, first.hash8)
            if reuse is None:
                continue
            if reuse.made and (other := by_again.get(id)):
                said = f"entry {other.entry} has the id {other.id} and the same bytes"
                accuse(self._findings, FaultKind.DUPLICATE, said, first)
            elif not reuse.made and reuse.base in self._seen and id not in server_ids:
                accuse(self._findings, FaultKind.CHANGED, "the end of its id is no hash of its data", first)
        if self._seen and (unnamed := self._ids.repeats() - named) > 0:
            self._findings.counts[FaultKind.DUPLICATE] += unnamed
        if repeats := self._keys.repeats():
            self._findings.note(f"{repeats} events without an id stand here more than once: those are at least once")


class _HashIndex:
    """Tells which texts came more than once, from 64 bits of each. Python seeds the hash, so none can be prepared."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._buckets = [array("q") for _ in range(BUCKETS)]
        for text in texts:
            self.add(text)

    def add(self, text: str) -> None:
        hashed = hash(text)
        self._buckets[hashed % BUCKETS].append(hashed)

    def repeats(self) -> int:
        """How many came again."""
        return sum(len(bucket) - len(set(bucket)) for bucket in self._buckets)

    def common(self, other: _HashIndex, limit: int = SUSPECTS) -> set[int]:
        """At most ``limit`` hashes that both have."""
        found: set[int] = set()
        for mine, theirs in zip(self._buckets, other._buckets, strict=True):
            if mine and theirs:
                found.update(set(theirs).intersection(mine))
            if len(found) >= limit:
                break
        return set(sorted(found)[:limit])

    def repeated(self, limit: int) -> set[int]:
        """At most ``limit`` hashes that came more than once."""
        found: set[int] = set()
        for bucket in self._buckets:
            if len(set(bucket)) == len(bucket):
                continue
            ordered = sorted(bucket)
            found.update(one for one, following in pairwise(ordered) if one == following)
            if len(found) >= limit:
                break
        return set(sorted(found)[:limit])


def _made(entry: Entry) -> bool:
    parts = None if entry.is_marker else without_id(entry.id, entry.hash8)
    return parts is not None and parts.made


def _again(entry: Entry) -> str:
    return f"{entry.id}~{entry.hash8}"
