"""Which other workers live, by this machine's monotonic clock: does what they say of themselves still change? Pure.

Redis's clock, which may jump at a failover, only serves for those whom this worker has never heard before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

__all__ = ["Member", "Presence"]

_RECORD = re.compile(r"(?P<owner>\S+) (?P<digest>[0-9a-f]{16}) (?P<releases>[0-9]+) (?P<ttl_ms>[0-9]{1,9})")
_FORGOTTEN_AFTER_LIVES = 2.0


@dataclass(slots=True, kw_only=True)
class Member:
    """A worker in the register, as it was heard last. Times are seconds; ``changed_at`` is monotonic."""

    owner: str
    digest: str  # of its wishes
    releases: int  # leases that it has given back so far
    ttl_seconds: float
    record: bytes
    score: bytes
    changed_at: float
    counted: bool  # Redis called it fresh, or it was seen to change
    heard_again: bool = False  # it was seen to change, so it lives indeed


class Presence:
    """Remembers when each worker was heard last. ``ttl_seconds`` is that of this worker: it listens twice as often."""

    def __init__(self, ttl_seconds: float) -> None:
        self._ttl_seconds = ttl_seconds
        self._members: dict[str, Member] = {}
        self._silent: set[str] = set()
        self._noted_at: float | None = None

    def note(self, rows: Iterable[tuple[bytes, bytes, bool]], now: float) -> bool:
        """Take in all records of others with their scores and whether Redis calls them fresh.

        Tells whether this worker itself was away for too long to judge others: it could not hear them then.
        """
        away = self._noted_at is not None and now - self._noted_at > self._ttl_seconds / 2
        self._noted_at = now
        members: dict[str, Member] = {}
        for record, score, fresh in rows:
            made = _member(record, score, fresh, now)
            if made is None or made.owner in members:
                continue
            before = self._members.get(made.owner)
            if before and (before.record, before.score) == (record, score):
                made = before
                made.counted |= fresh
            elif before:
                made.counted = made.heard_again = True
            if away:
                made.changed_at = now
            members[made.owner] = made
        self._members = members
        for one in members.values():
            if now - one.changed_at > one.ttl_seconds:
                self._silent.add(one.owner)
            else:
                self._silent.discard(one.owner)
        return away

    @property
    def live(self) -> list[Member]:
        """Those that count."""
        return [one for one in self._members.values() if one.counted and one.owner not in self._silent]

    def forgettable(self, now: float) -> Iterator[bytes]:
        """Records of workers that have not been heard for so long that nobody needs them."""
        for one in self._members.values():
            if now - one.changed_at > _FORGOTTEN_AFTER_LIVES * one.ttl_seconds:
                yield one.record

    def is_gone(self, owner: str, *, lapsed: bool) -> bool:
        """Whether a lease of ``owner`` binds nobody any more. ``lapsed``: its key is not there.

        A worker that was heard and then fell silent has left all it had. One that is not in the register has left
        what has lapsed; of one that never spoke yet, that cannot be told before its time to live is over.
        """
        return owner in self._silent or (lapsed and owner not in self._members)


def _member(record: bytes, score: bytes, fresh: bool, now: float) -> Member | None:
    """None for what no worker writes."""
    found = _RECORD.fullmatch(record.decode(errors="replace"))
    if found is None:
        return None
    return Member(
        owner=found["owner"],
        digest=found["digest"],
        releases=int(found["releases"]),
        ttl_seconds=int(found["ttl_ms"]) / 1000,
        record=record,
        score=score,
        changed_at=now,
        counted=fresh,
    )
