"""The place of a session as its own entries and dead letters tell it, for when the state beside them is gone. Pure.

Somebody deleted the state, or Redis evicted it. Starting from nothing would publish the server's history a second time
and number it from 1 again; but the last entries hold all that is needed: `seq`, the id to resume after, and what to
recognise a replay by.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from bridge.delivery.markers import is_marker, unescaped
from bridge.delivery.window import Window, digest_of, hash8
from bridge.model.place import Place
from bridge.model.records import Record

__all__ = ["Placed", "Seed", "Trace", "joined", "place_of", "seed_from_traces", "trace_of", "trace_of_letter"]

_WITHOUT_ID = re.compile(r"(?P<id>.*)#(?P<ordinal>[0-9]+)-(?P<hash>[0-9a-f]{8})", re.DOTALL)
_REUSED = re.compile(r"(?P<id>.*)~(?P<hash>[0-9a-f]{8})", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """A place to set up where Redis has none, and the blobs of the window that goes with it."""

    place: Place
    window: Sequence[bytes]

    def is_beyond(self, place: Place) -> bool:
        """It stands behind another event than ``place``, and knows the one that stands there: dead letters followed."""
        known = place.cursor is not None and Window(1, self.window).get(place.cursor) is not None
        return known and self.place.cursor != place.cursor


class Trace(NamedTuple):
    """What is kept of an entry; ``digest`` is empty where its bytes tell nothing: of a marker, or cut.

    ``given`` is the key without what escapes it, empty for a dead letter that was published later: the place had moved
    on. ``seq`` is 0 for a dead letter, which has no number.
    """

    key: str
    given: str
    seq: int
    digest: bytes


def trace_of(entry: Mapping[bytes, bytes]) -> Trace:
    """Raises KeyError or ValueError for an entry that the bridge did not write."""
    key, type = entry[b"id"].decode(), entry[b"type"].decode()
    digest = b"" if is_marker(key, type) else digest_of(entry[b"data"])
    given = "" if b"dead_letter" in entry else unescaped(key, type)
    return Trace(key, given, int(entry[b"seq"]), digest)


def trace_of_letter(letter: Mapping[bytes, bytes]) -> Trace:
    """Of a dead letter. One that was cut, or that the bridge did not write, tells nothing."""
    key = letter.get(b"id", b"").decode(errors="replace")
    return Trace(key, key, 0, digest_of(letter[b"data"]) if letter.get(b"truncated") == b"0" and key else b"")


Placed = tuple[tuple[int, int], Trace]
"""A trace, and the two numbers of its entry's id."""


def joined(streams: Sequence[Sequence[Placed]], enough: int) -> tuple[list[Placed], bool]:
    """The last entries of one session in each of its streams, newest first, as one run of numbers, oldest first.

    A stream with ``enough`` of them may hold more: nothing older than its oldest here is taken from the others, since
    what came between is not known. Tells as well whether nothing was left out. Two streams may give entries of one
    millisecond ids in any order, so their order is that of the numbers, and the ids rise with it.
    """
    parts = [part for part in streams if part]
    if len(parts) < 2:
        return [*reversed(parts[0])] if parts else [], not parts or len(parts[0]) < enough
    floor = max((part[-1][1].seq for part in parts if len(part) >= enough), default=0)
    kept = [one for part in parts for one in part if one[1].seq >= floor]
    kept.sort(key=lambda one: (one[1].seq, one[0]))
    ids = accumulate((id for id, _ in kept), max)
    return [(id, trace) for id, (_, trace) in zip(ids, kept, strict=True)], not floor


def seed_from_traces(traces: Sequence[Trace]) -> Seed | None:
    """``traces`` are those of one session, oldest first, up to the last one. None where there are none."""
    if not traces:
        return None
    cursor, ordinal = _cursor_of(traces)
    window = Window(len(traces))
    known = [Record(one.key, "", b"", 0.0, "", one.digest, None, 0) for one in traces if one.digest]
    for record in known:
        window.remember(record.key, record.digest)
    window.committed(window.seal(known))
    return Seed(
        place=Place(cursor=cursor, ordinal=ordinal, seq=max(one.seq for one in traces)), window=tuple(window.blobs())
    )


def _cursor_of(traces: Sequence[Trace]) -> tuple[str | None, int]:
    for _, key, _, digest in reversed(traces):
        if not digest or not key:
            continue
        return place_of(key, digest)
    return None, 0


def place_of(key: str, digest: bytes) -> tuple[str | None, int]:
    """The server's id behind which an event stands, its own where it has one, and how many without an id came since."""
    # A server's own id may look like a key of ours; but it does not end with the hash of the data.
    if (made := _WITHOUT_ID.fullmatch(key)) and made["hash"] == hash8(digest):
        return (None if made["id"] == "0" else made["id"]), int(made["ordinal"])
    if (made := _REUSED.fullmatch(key)) and made["hash"] == hash8(digest):
        return made["id"], 0
    return key, 0
