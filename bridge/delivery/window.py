"""The dedupe window: the last ids of a session and what they carried. Pure.

It lives in two places that change in the same atomic step: here, and as one blob per commit in Redis. Since only the
holder of the fencing token writes, and every commit is checked against the number of commits before it, both always
agree; so replays are recognised here, and a commit needs one write for all its ids instead of one per event.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from bridge.model.records import Record

__all__ = ["DIGEST_BYTES", "Seal", "Window", "digest_of", "hash8"]

DIGEST_BYTES = 8
"""64 bits: two different payloads under one id pass for the same once in 10^19; a stronger hash cut short, so that
nobody can build such a pair on purpose without 2^64 work per id."""

_LONGEST_KEY = 128
"""Longer ids are remembered by their hash: 2,048 ids of a megabyte each would not fit in memory."""


class Seal(NamedTuple):
    """What one commit does to the window in Redis: push ``blob``, then keep the last ``keep`` blobs (0: all of them).

    ``drop`` is the same seen from here: so many of the oldest batches are forgotten once the commit has landed.
    """

    blob: bytes
    drop: int
    keep: int


def digest_of(data: bytes) -> bytes:
    """What is remembered of a payload."""
    return hashlib.sha256(data).digest()[:DIGEST_BYTES]


def hash8(digest: bytes) -> str:
    """The eight hex digits that stand in a key."""
    return digest[:4].hex()


class Window:
    """Ids in the order in which they came, at least the last ``size_events`` of those committed."""

    def __init__(self, size_events: int, blobs: Iterable[bytes] = ()) -> None:
        self._size = size_events
        self._digests: dict[str, bytes] = {}
        self._batches: deque[list[str]] = deque()
        self._committed = 0
        for blob in blobs:
            keys, digests = _parse(blob)
            self._digests.update(zip(keys, digests, strict=True))
            self._append(keys)

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

    def forget(self, keys: Iterable[str]) -> None:
        """Take back what was just remembered and is in no commit yet; to be committed with an empty digest."""
        for key in keys:
            self._digests.pop(key if len(key) <= _LONGEST_KEY else _shorten(key), None)

    def seal(self, batch: Sequence[Record]) -> Seal:
        """Prepare the window's part of a commit. Changes nothing: the commit may have to be sent again."""
        pairs = [(_shorten(record.key), record.digest) for record in batch if record.digest]
        if not self._size or not pairs:
            return Seal(b"", 0, 0)
        left, drop = self._committed + len(pairs), 0
        for keys in self._batches:
            if left - len(keys) < self._size:
                break
            left -= len(keys)
            drop += 1
        keep = len(self._batches) + 1 - drop if drop else 0
        return Seal(_render([key for key, _ in pairs], [digest for _, digest in pairs]), drop, keep)

    def committed(self, batch: Sequence[Record], seal: Seal) -> None:
        """The commit that carried ``seal`` has landed: forget what fell out of the window."""
        if not seal.blob:
            return
        self._append([_shorten(record.key) for record in batch if record.digest])
        for _ in range(seal.drop):
            keys = self._batches.popleft()
            self._committed -= len(keys)
            for key in keys:
                self._digests.pop(key, None)

    def blobs(self) -> Iterator[bytes]:
        """All that is committed, as it stands in Redis: to write it again where Redis was emptied."""
        for keys in self._batches:
            yield _render(keys, [self._digests[key] for key in keys])

    def tail_of(self, prefix: str, count: int) -> dict[str, bytes]:
        """The last ``count`` events whose key begins with ``prefix``, oldest first, with their digests."""
        found = [(key, digest) for key, digest in self._digests.items() if key.startswith(prefix)] if count else []
        return dict(found[-count:])

    def _append(self, keys: list[str]) -> None:
        self._batches.append(keys)
        self._committed += len(keys)


def _shorten(key: str) -> str:
    return key if len(key) <= _LONGEST_KEY else "sha256:" + hashlib.sha256(key.encode()).hexdigest()


def _render(keys: Sequence[str], digests: Sequence[bytes]) -> bytes:
    # An SSE id holds no line feed, so line feeds part the keys; the digests have a fixed size and go in front.
    return b"%d\n" % len(keys) + b"".join(digests) + "\n".join(keys).encode()


def _parse(blob: bytes) -> tuple[list[str], list[bytes]]:
    head, _, rest = blob.partition(b"\n")
    count = int(head)
    cut = count * DIGEST_BYTES
    digests = [rest[at : at + DIGEST_BYTES] for at in range(0, cut, DIGEST_BYTES)]
    return rest[cut:].decode().split("\n"), digests
