"""What a consumer waits for, and how often it tries: every number with its unit."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Pass what differs: ``Consumer(…, limits=Limits(claim_after_seconds=10))``. Raises ValueError where one is absurd.

    - ``claim_after_seconds`` (over 0): a member that has given no sign of life for so long is taken for dead, and its
      entries go to others. A living one gives a sign three times in that time, from a thread or a task of its own, so
      work may take as long as it likes; but asyncio's must not block the loop for longer than this.
    - ``work_seconds`` (None: no limit): an entry that is worked on for longer is taken for hung and goes to others, and
      with it what waits behind it in the member.
    - ``max_deliveries`` (2 or more): when an entry was given out so often in vain it goes to the dead letters.
    - ``retry_seconds``: what failed is tried again after this.
    - ``prefetch`` (1 or more): how many entries are asked for at once, and wait in the member; embeddings of 190 KB are
      19 MB then, so take fewer of those.
    - ``block_seconds`` (over 0): how long one request waits for entries. A stop may take as long.
    - ``start``: where a group begins that was never there: ``0`` with the oldest entry, ``$`` with what comes next, or
      behind an entry id.
    - ``backoff_max_seconds``: the longest wait between two tries while Redis is away; each is random below that.
    - ``stop_seconds``: a stop waits so long for a Redis that is away to take the last acknowledgements.
    """

    claim_after_seconds: float = 30.0
    work_seconds: float | None = None
    max_deliveries: int = 5
    retry_seconds: float = 1.0
    prefetch: int = 100
    block_seconds: float = 1.0
    start: str = "0"
    backoff_max_seconds: float = 5.0
    stop_seconds: float = 10.0

    def __post_init__(self) -> None:
        for name in ("claim_after_seconds", "block_seconds", "backoff_max_seconds"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be over 0, not {getattr(self, name)}")
        if self.max_deliveries < 2:
            raise ValueError("max_deliveries must be 2 or more: the first time, an entry may come among others")
        if self.prefetch < 1:
            raise ValueError("prefetch must be 1 or more")

    @property
    def claim_after_ms(self) -> int:
        """As Redis counts."""
        return max(1, round(self.claim_after_seconds * 1000))
