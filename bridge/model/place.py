"""Where a session stands, and what gives the right to move it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from bridge.model.labels import Phase

__all__ = [
    "START",
    "Lease",
    "Place",
    "Session",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One lens session as configured: a stable name for consumers, an id for the source."""

    name: str
    session_id: str


class Place(NamedTuple):
    """The committed place of a session: all of it changes in one step, or none of it.

    ``cursor`` is the last real SSE id of a lens event (None before the first), ``ordinal`` counts the events
    without an id since then, ``seq`` the number of the last event appended, ``commits`` the commits made so far, and
    ``mark`` the random mark of the last of them ("" where it has none).
    """

    cursor: str | None = None
    ordinal: int = 0
    seq: int = 0
    commits: int = 0
    mark: str = ""


START = Place()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """What taking a lease gives: the right to write (``token``), and where to go on."""

    token: str
    place: Place
    phase: Phase
    window: tuple[bytes, ...]  # blobs of `bridge.delivery.window`, oldest first
    seeded: bool = False  # Redis knew no place, so the one this worker remembered was set up again
    letters: int = 0  # dead letters so far, as far as is known
