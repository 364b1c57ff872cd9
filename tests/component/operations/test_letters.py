"""Dead letters as they stand in a real Redis."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis

from bridge.operations.letters import now_ms

KEY = "lens:{clock}:dead-letter"


async def test_a_letter_of_this_very_moment_is_not_from_the_future(redis: Redis) -> None:
    """`purge --older-than 0s` takes what stands there: the clock is read in the milliseconds that date an entry."""
    for _ in range(20):
        entry: Any = await redis.xadd(KEY, {"id": "e1"})
        assert int(entry.partition(b"-")[0]) <= await now_ms(redis, KEY)
