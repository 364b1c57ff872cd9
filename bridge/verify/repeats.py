"""Tells what stands in a stream twice, also under another key, or both there and among the dead letters. Pure.

Memory is bounded: per entry sixteen bytes of hashes, so ten million entries take 160 MB. What the hashes make suspect
is looked at in a second reading.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise

from bridge.verify.entries import Entry, Letter, accuse, position, reuse_of, without_id
from bridge.verify.report import FaultKind, Findings

__all__ = ["Repeats"]

SUSPECTS = 1000  # of each kind to look at in a second reading; more duplicates are counted, but not named
BUCKETS = 256  # hashes are compared bucket by bucket, so that comparing needs little more memory than they do


class Repeats:
    """Takes entries in stream order; then `suspects`, a second reading of those by `witness`, and `conclude`."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._ids = [_HashIndex()]  # ids that a server gave, anew from where a marker lets them stand once more
        self._keys = _HashIndex()  # keys made in their stead
        self._again = _HashIndex()  # the key that each event would have if it came again as another one's reuse
        self._reused = _HashIndex()  # keys that say so
        self._foreign = _HashIndex()  # what stands before the ~ of ids whose suffix is no hash of their data
        self._letters: dict[str, Letter] = {}
        self._seen: dict[str, list[tuple[int, Entry]]] = {}  # what `witness` found: after how many such markers, and
        self._witnessed = 0  # the entry without its data
        self._rewound: list[int] = []  # when places were moved by hand, in milliseconds of Redis's clock

    def add(self, entry: Entry) -> None:
        """Take in the next entry, a marker too."""
        if entry.rewound:
            self._rewound.append(position(entry.entry)[0])
            if entry.rewound[1]:
                self._ids.append(_HashIndex())
        if _made(entry):
            self._keys.add(entry.id)
            return
        self._ids[-1].add(entry.id)
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
            first = self._letters.setdefault(one.id, one)
            if self._rewound_between(first, one):
                self._letters[one.id] = one
            elif first is not one and without_id(one.id, one.hash8) is None:
                said = f"its id came first in dead letter {first.entry}"
                self._findings.fault(FaultKind.DEAD_LETTER, said, entry=one.entry, id=one.id)

    def knows(self, id: str) -> bool:
        """Whether an event stands in the stream under this id, as far as 64 bits tell."""
        return bool(self._common(_HashIndex((id,))))

    def suspects(self) -> set[int]:
        """Hashes of ids to look at in a second reading."""
        letters = _HashIndex(self._letters)
        return (
            set[int]().union(*(ids.repeated(SUSPECTS) for ids in self._ids))
            | self._common(self._keys)
            | self._again.common(self._reused)
            | self._common(self._foreign)
            | self._common(letters)
            | self._keys.common(letters)
        )

    def _common(self, other: _HashIndex) -> set[int]:
        return set[int]().union(*(ids.common(other) for ids in self._ids))

    def witness(self, entry: Entry, suspects: Collection[int]) -> None:
        """Take in an entry of a second reading, where it is among the suspects."""
        self._witnessed += bool(entry.rewound and entry.rewound[1])
        reuse = reuse_of(entry.id, entry.hash8)
        hashes = (hash(entry.id), hash(_again(entry)), hash(reuse.base) if reuse else None)
        if any(one in suspects for one in hashes):
            self._seen.setdefault(entry.id, []).append((self._witnessed, entry._replace(data=b"")))

    def conclude(self, server_ids: Collection[str]) -> None:
        """Judge. ``server_ids``: ids known to be the server's own, whatever they look like."""
        by_again = {_again(one): (era, one) for found in self._seen.values() for era, one in found if not one.is_marker}
        named = 0
        for id, found in self._seen.items():
            named += self._accuse_repeats(found)
            era, first = found[0]
            if (letter := self._letters.get(id)) and not self._rewound_between(letter, first):
                accuse(self._findings, FaultKind.DEAD_LETTER, f"it is also dead letter {letter.entry}", first)
            reuse = None if first.is_marker else reuse_of(id, first.hash8)
            if reuse is None:
                continue
            other_era, other = by_again.get(id, (-1, first))
            if reuse.made and other_era == era:
                said = f"entry {other.entry} has the id {other.id} and the same bytes"
                accuse(self._findings, FaultKind.DUPLICATE, said, first)
            elif not reuse.made and reuse.base in self._seen and id not in server_ids:
                accuse(self._findings, FaultKind.CHANGED, "the end of its id is no hash of its data", first)
        if self._seen and (unnamed := sum(ids.repeats() for ids in self._ids) - named) > 0:
            self._findings.counts[FaultKind.DUPLICATE] += unnamed
        if again := _HashIndex.of(self._ids).repeats() - sum(ids.repeats() for ids in self._ids):
            self._findings.note(f"{again} events stand here again behind a place that was moved by hand, as declared")
        if repeats := self._keys.repeats():
            self._findings.note(f"{repeats} events without an id stand here more than once: those are at least once")

    def _accuse_repeats(self, found: Sequence[tuple[int, Entry]]) -> int:
        """Of one id: each but the first, where no marker between them lets it stand once more. Gives how many."""
        if all(_made(entry) for _, entry in found):
            return 0
        firsts: dict[int, Entry] = {}
        for era, entry in found:
            if (first := firsts.setdefault(era, entry)) is not entry:
                accuse(self._findings, FaultKind.DUPLICATE, f"its id came first in entry {first.entry}", entry)
        return len(found) - len(firsts)

    def _rewound_between(self, letter: Letter, entry: Entry | Letter) -> bool:
        """The one came before the place was moved by hand, and the other after it."""
        low, high = sorted((position(letter.entry)[0], position(entry.entry)[0]))
        return any(low <= at <= high for at in self._rewound)


class _HashIndex:
    """Tells which texts came more than once, from 64 bits of each. Python seeds the hash, so none can be prepared."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._buckets = [array("q") for _ in range(BUCKETS)]
        for text in texts:
            self.add(text)

    def add(self, text: str) -> None:
        hashed = hash(text)
        self._buckets[hashed % BUCKETS].append(hashed)

    @classmethod
    def of(cls, parts: Iterable[_HashIndex]) -> _HashIndex:
        """All of them as one."""
        whole = cls()
        for part in parts:
            for mine, theirs in zip(whole._buckets, part._buckets, strict=True):
                mine.extend(theirs)
        return whole

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
