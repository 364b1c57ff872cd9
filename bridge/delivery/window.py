"""The dedupe window: the last ids of a session and what they carried. Pure.

It lives in two places that change in the same atomic step: here, and as one blob per commit in Redis. Since only the
holder of the fencing token writes, and every commit is checked against the number of commits before it, both always
agree; so replays are recognised here, and a commit needs one write for all its ids instead of one per event.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import chain, islice
from typing import NamedTuple

from bridge.model.records import Piece, Run

__all__ = ["DIGEST_BYTES", "Seal", "Window", "digest_of", "digests_of", "hash8"]

DIGEST_BYTES = 8
"""64 bits: two different payloads under one id pass for the same once in 10^19; a stronger hash cut short, so that
nobody can build such a pair on purpose without 2^64 work per id."""

_LONGEST_KEY = 128
"""Longer ids are remembered by their hash: 2,048 ids of a megabyte each would not fit in memory."""


LONGEST_WINDOWS = 32
"""So many times its size a window may grow to while what stands ahead of a place is awaited: 10 MB with the default."""

_AHEAD = b"+"
"""In front of the blob of events that stand ahead of the place: its count reads as a number all the same."""


class Seal(NamedTuple):
    """What one commit does to the window in Redis: push ``blob``, then keep the last ``keep`` blobs (0: all of them).

    ``drop`` is the same seen from here: so many of the oldest batches are forgotten once the commit has landed.
    ``keys`` are those that the blob brings.
    """

    blob: bytes = b""
    drop: int = 0
    keep: int = 0
    keys: Sequence[str] = ()


def digest_of(data: bytes) -> bytes:
    """What is remembered of a payload."""
    return sha256(data).digest()[:DIGEST_BYTES]


def digests_of(datas: Iterable[bytes]) -> list[bytes]:
    """The same of many."""
    return [sha256(data).digest()[:DIGEST_BYTES] for data in datas]


def hash8(digest: bytes) -> str:
    """The eight hex digits that stand in a key."""
    return digest[:4].hex()


class Window:
    """Ids in the order in which they came, at least the last ``size_events`` of those committed."""

    def __init__(self, size_events: int, blobs: Iterable[bytes] = ()) -> None:
        self._size = size_events
        self._digests: dict[str, bytes] = {}
        self._batches: deque[Sequence[str]] = deque()  # what each commit brought, as the blobs stand in Redis
        self._committed = 0
        # What stands in the stream ahead of a place that a person has moved back, and has not come again yet.
        self._awaited: set[str] = set()
        self._came: set[str] = set()  # those of them that came since the last new event
        self._passed: dict[str, set[str]] = {}  # the same by the new event behind them: once it stands they are passed
        for blob in blobs:
            keys, digests = _parse(blob)
            self._digests.update(zip(keys, digests, strict=True))
            self._append(keys)
            if blob.startswith(_AHEAD):
                self._awaited.update(keys)

    def __len__(self) -> int:
        return len(self._digests)

    def get(self, key: str) -> bytes | None:
        """The digest remembered for ``key``, or None."""
        if len(key) > _LONGEST_KEY:
            key = _shorten(key)
        return self._digests.get(key)

    def remember(self, key: str, digest: bytes) -> None:
        """Take in an event that was received. It counts from now on, committed or not."""
        if self._size:
            if len(key) > _LONGEST_KEY:
                key = _shorten(key)
            self._digests[key] = digest
            if self._came:
                self._pass(key)

    @property
    def awaits(self) -> bool:
        """Something stands ahead of the place, and may come again behind what is new."""
        return bool(self._awaited)

    def came_again(self, key: str) -> None:
        """An event that is known was sent once more. It is awaited until something behind it is committed: as long as
        the place stands before it, it may come yet again."""
        if self._awaited:
            self._came |= self._awaited & {_shorten(key)}

    def awaiting(self, key: str | None) -> list[bytes]:
        """All that is remembered as blobs for a place behind this key, None for the start: what stands ahead of it
        stays until it has come again, however much that is new comes before it.
        """
        keys = list(self._digests)
        known = key is not None and self.get(key) is not None
        cut = keys.index(_shorten(key)) + 1 if key is not None and known else 0
        parts = ((b"", keys[:cut]), (_AHEAD, keys[cut:]))
        return [head + _render(part, [self._digests[one] for one in part]) for head, part in parts if part]

    def after(self, key: str | None) -> dict[str, int]:
        """The keys that came after this one, each with its place among them; all of them for None, none for a key that
        is not known, or the last."""
        if not self._digests or next(reversed(self._digests)) == key:
            return {}
        keys = list(self._digests)
        begin = 0
        if key is not None:
            begin = keys.index(key) + 1 if key in self._digests else len(keys)
        return {each: at for at, each in enumerate(keys[begin:])}

    def all_new(self, keys: Collection[str]) -> bool:
        """Whether none of ``keys`` is known, and each is short enough to be remembered as it is."""
        return self._digests.keys().isdisjoint(keys) and max(map(len, keys)) <= _LONGEST_KEY

    def forget(self, keys: Iterable[str]) -> None:
        """Take back what was just remembered and is in no commit yet; to be committed with an empty digest."""
        for key in keys:
            self._digests.pop(key if len(key) <= _LONGEST_KEY else _shorten(key), None)

    def remember_all(self, digests: Mapping[str, bytes]) -> None:
        """Take in events, the digest of each by its key, of which `all_new` was said."""
        if self._size:
            self._digests.update(digests)
            if self._came:
                self._pass(next(iter(digests)))

    def seal(self, batch: Iterable[Piece], ahead: Collection[Seal] = ()) -> Seal:
        """Prepare the window's part of a commit. Changes nothing: the commit may have to be sent again.

        ``ahead`` are those of the commits that it follows and that are still under way, oldest first.
        """
        keys, digests = _remembered(batch)
        if not self._size or not keys:
            return Seal()
        standing, left = len(self._batches), self._committed + len(keys)
        oldest: Iterator[Sequence[str]] = iter(self._batches)
        if ahead:
            standing += sum(1 for seal in ahead if seal.blob)
            left += sum(len(seal.keys) for seal in ahead)
            oldest = chain(oldest, (seal.keys for seal in ahead if seal.blob))
            for fallen in islice(oldest, sum(seal.drop for seal in ahead)):
                left -= len(fallen)
                standing -= 1
        drop = 0
        if left > (self._size * LONGEST_WINDOWS if self._awaited else self._size):
            for candidate in oldest:
                left -= len(candidate)
                if left < self._size:
                    break
                drop += 1
        keep = standing + 1 - drop if drop else 0
        return Seal(_render(keys, digests), drop, keep, keys)

    def committed(self, seal: Seal) -> None:
        """The commit that carried ``seal`` has landed: forget what fell out of the window."""
        if not seal.blob:
            return
        self._append(seal.keys)
        if self._passed:
            for key in self._passed.keys() & seal.keys:
                self._awaited.difference_update(self._passed.pop(key))
        for _ in range(seal.drop):
            keys = self._batches.popleft()
            self._committed -= len(keys)
            for key in keys:
                self._digests.pop(key, None)
            if self._awaited:
                self._awaited.difference_update(keys)

    def blobs(self) -> Iterator[bytes]:
        """All that is committed, as it stands in Redis: to write it again where Redis was emptied."""
        for keys in self._batches:
            head = b"" if self._awaited.isdisjoint(keys) else _AHEAD
            yield head + _render(keys, [self._digests[key] for key in keys])

    def tail_of(self, prefix: str, count: int) -> dict[str, bytes]:
        """The last ``count`` events whose key begins with ``prefix``, oldest first, with their digests."""
        found = [(key, digest) for key, digest in self._digests.items() if key.startswith(prefix)] if count else []
        return dict(found[-count:])

    def _pass(self, key: str) -> None:
        self._passed[key], self._came = self._came, set()

    def _append(self, keys: Sequence[str]) -> None:
        self._batches.append(keys)
        self._committed += len(keys)


def _remembered(batch: Iterable[Piece]) -> tuple[list[str], list[bytes]]:
    keys: list[str] = []
    digests: list[bytes] = []
    for piece in batch:
        if isinstance(piece, Run):
            keys += piece.keys
            digests += piece.digests
        elif piece.digest:
            keys.append(_shorten(piece.key))
            digests.append(piece.digest)
    return keys, digests


def _shorten(key: str) -> str:
    return key if len(key) <= _LONGEST_KEY else "sha256:" + sha256(key.encode()).hexdigest()


def _render(keys: Sequence[str], digests: Sequence[bytes]) -> bytes:
    # An SSE id holds no line feed, so line feeds part the keys; the digests have a fixed size and go in front.
    return b"%d\n" % len(keys) + b"".join(digests) + "\n".join(keys).encode()


def _parse(blob: bytes) -> tuple[list[str], list[bytes]]:
    head, _, rest = blob.partition(b"\n")
    count = int(head)
    cut = count * DIGEST_BYTES
    digests = [rest[at : at + DIGEST_BYTES] for at in range(0, cut, DIGEST_BYTES)]
    return rest[cut:].decode().split("\n"), digests
