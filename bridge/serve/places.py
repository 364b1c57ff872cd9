"""Where a reader stands in a stream, and what it may have missed when it comes back. Pure.

A place is the id of an entry (`1764143000000-3`, as Redis makes them). Whoever goes on behind one has missed nothing if
that entry is still there: streams lose entries at their old end only, unless somebody deletes single ones. So a page is
read from the place on, the place included; where that one does not come first, `hole` says what that may mean.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

__all__ = ["BEGINNING", "Bounds", "EntryId", "Hole", "HoleReason", "hole", "parse_id"]

_ID = re.compile(r"([0-9]{1,20})(?:-([0-9]{1,20}))?", re.ASCII)
_LARGEST = 2**64 - 1


class EntryId(NamedTuple):
    """The id of an entry; they rise within a stream."""

    milliseconds: int
    number: int

    def __str__(self) -> str:
        return f"{self.milliseconds}-{self.number}"


BEGINNING = EntryId(0, 0)
"""Before every entry."""


class HoleReason(StrEnum):
    """Why it is not known that nothing was missed."""

    TRIMMED = "trimmed"  # the place is older than the oldest entry: those behind it may be gone as well
    GONE = "gone"  # the place lies among the entries and is none: deleted, or lost by Redis and written again elsewhere
    AHEAD = "ahead"  # the place is newer than the newest: Redis was emptied, or lost its last writes


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a stream holds. ``first``: its oldest entry, None where there is none. ``last``: the newest id it ever gave.

    ``whole``: nothing was ever trimmed or deleted, as far as the server knows (Redis 7 and newer do).
    """

    first: EntryId | None
    last: EntryId
    whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Hole:
    """Something may be missing behind ``after``; it goes on behind ``place``."""

    reason: HoleReason
    after: EntryId
    place: EntryId


def parse_id(text: str) -> EntryId:
    """Of ``1764143000000-3`` or ``1764143000000``. Raises ValueError for anything else."""
    found = _ID.fullmatch(text)
    if not found:
        raise ValueError("is no id of an entry, such as 1764143000000-0")
    made = EntryId(int(found[1]), int(found[2] or 0))
    if max(made) > _LARGEST:
        raise ValueError("is larger than any id of an entry")
    return made


def hole(place: EntryId, bounds: Bounds) -> Hole | None:
    """What may be missing behind a place at which no entry stands; None where nothing is."""
    if place == bounds.last:
        return None  # nothing came since
    if place > bounds.last:
        # What stands there now was read before, or is a new beginning of which nothing was written yet.
        return Hole(reason=HoleReason.AHEAD, after=place, place=bounds.last)
    if bounds.first is None:
        return Hole(reason=HoleReason.TRIMMED, after=place, place=bounds.last)
    if place < bounds.first:
        if bounds.whole:
            # This stream never had such an entry: it was begun anew since, and all of it is news.
            return None if place == BEGINNING else Hole(reason=HoleReason.GONE, after=place, place=place)
        return Hole(reason=HoleReason.TRIMMED, after=place, place=place)
    return Hole(reason=HoleReason.GONE, after=place, place=place)
