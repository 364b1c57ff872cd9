"""How many sessions a worker should read, where others want to read some of them too. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import ceil

from bridge.model.wishes import NO_WISHES, Wishes

__all__ = ["Rivals", "fair_share"]


def fair_share(rivals: Iterable[int]) -> int:
    """The most of the given sessions to read, each of which so many other workers want: its part of each, rounded up.

    Where all want the same, that is ceil(sessions / workers).
    """
    return ceil(sum(Fraction(sessions, others + 1) for others, sessions in Counter(rivals).items()))


class Rivals:
    """How many other workers want each session of ``mine``. Counted anew only when somebody's wishes change."""

    def __init__(self, mine: Wishes = NO_WISHES) -> None:
        self._mine = mine
        self._digests: Counter[str] = Counter()
        self._counts: Counter[bytes] = Counter()
        self._digests_of_rivals: set[str] = set()

    def update(self, others: Sequence[Wishes], mine: Wishes | None = None) -> None:
        """The wishes of all other live workers, and those of this one where they have changed."""
        digests = Counter(one.digest for one in others)
        if digests == self._digests and mine in (None, self._mine):
            return
        self._mine = mine or self._mine
        self._digests, self._counts, self._digests_of_rivals = digests, Counter(), set()
        for one in {one.digest: one for one in others}.values():
            if wanted_by_both := one.sessions & self._mine.sessions:
                self._counts.update(dict.fromkeys(wanted_by_both, digests[one.digest]))
                self._digests_of_rivals.add(one.digest)

    def of(self, fingerprint: bytes) -> int:
        """How many others want it."""
        return self._counts[fingerprint]

    def all_want(self, wishes: Wishes) -> bool:
        """Whoever wants any of these wants exactly these, so that the shares of all add up to all of them."""
        return self._digests_of_rivals <= {wishes.digest}
