"""What is seen of sessions from outside, whatever stands in their state."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from bridge.lab.redis_server import RedisServer
from bridge.masking import Secrets
from bridge.model.keys import session_keys
from bridge.model.place import Session
from bridge.operations.glances import glance
from bridge.settings import RedisSettings
from bridge.store.link import RedisLink

KEYS = session_keys("lens:{<name>}:events", Session(name="line-1", session_id="lsn-1"))


@pytest.mark.parametrize(
    ("seq", "updated_at", "seen"),
    [
        ("7", "1741843200.123", (7, 1741843200.123)),
        ("7", "nan", (7, 0.0)),
        ("7", "-1e300", (7, 0.0)),
        ("7", "inf", (7, 0.0)),
        ("9" * 5000, "1", (0, 1.0)),
        ("\u0663", "soon", (0, 0.0)),
    ],
)
async def test_what_somebody_wrote_by_hand_stops_nobody_who_looks(
    redis_server: RedisServer, redis: Redis, seq: str, updated_at: str, seen: tuple[int, float]
) -> None:
    """A list of all sessions must not end with a traceback over one of them."""
    await redis.hset(KEYS.state, mapping={"token": "1-x", "seq": seq, "cursor": "7", "updated_at": updated_at})
    link = RedisLink(RedisSettings(url=redis_server.url), Secrets())  # type: ignore[arg-type]
    try:
        (found,) = await glance(link, [KEYS], clustered=False)
    finally:
        await link.aclose()
    assert (found.seq, found.updated_at) == seen
