"""Lag and pending of consumer groups, as a real Redis tells them."""

from __future__ import annotations

from pydantic import SecretStr
from redis.asyncio import Redis

from bridge.backlog import MAX_GROUPS, Backlog, groups_of
from bridge.events import Session
from bridge.link import RedisLink
from bridge.metrics import Metrics
from bridge.redis_server import RedisServer
from bridge.secrets import Secrets
from bridge.settings import RedisSettings
from bridge.status import SessionStatus
from tests.acceptance.worker import until

KEY = "lens:{camera-1}:events"


def _status() -> SessionStatus:
    session = Session(name="camera-1", session_id="lsn-1")
    return SessionStatus(session=session, stream_key=KEY, metrics=Metrics().session("camera-1"))


def _link(server: RedisServer) -> RedisLink:
    return RedisLink(RedisSettings(url=SecretStr(server.url)), Secrets())


async def test_length_lag_and_pending_of_a_group_are_sampled(redis_server: RedisServer, redis: Redis) -> None:
    """Five entries, two read, one acknowledged: the lag is three and one is pending."""
    ids = [await redis.xadd(KEY, {"id": str(n)}) for n in range(5)]
    await redis.xgroup_create(KEY, "detector", id="0")
    await redis.xreadgroup("detector", "one", {KEY: ">"}, count=2)
    await redis.xack(KEY, "detector", ids[0])
    status, link = _status(), _link(redis_server)
    async with Backlog(link, [status], interval_seconds=0.02):
        await until(lambda: status.metrics.length == 5, "the length is seen")
        await until(lambda: status.metrics.groups == {"detector": (3, 1)}, "the group is seen")
        await redis.flushall()
        await until(lambda: status.metrics.groups == {} and status.metrics.length == 0, "nothing is left")
    await link.aclose()


async def test_a_redis_that_is_away_leaves_a_hole_and_not_an_old_number(private_redis: RedisServer) -> None:
    """Groups vanish while Redis is away and come back with it."""
    async with Redis.from_url(private_redis.url) as redis:
        await redis.xgroup_create(KEY, "detector", mkstream=True)
        await redis.xadd(KEY, {"id": "1"})
        status, link = _status(), _link(private_redis)
        async with Backlog(link, [status], interval_seconds=0.02):
            await until(lambda: bool(status.metrics.groups), "the group is seen")
            await private_redis.kill()
            await until(lambda: status.metrics.groups == {}, "a hole")
            await private_redis.start()
            await until(lambda: status.metrics.groups == {"detector": (1, 0)}, "the group is seen again")
        await link.aclose()


def test_a_lag_that_redis_cannot_tell_is_none_and_only_the_furthest_behind_are_kept() -> None:
    """A program that makes a group for each of its runs does not make a label without bound."""
    groups = [[b"name", f"g{n}".encode(), b"pending", n, b"lag", None] for n in range(MAX_GROUPS + 5)]
    found = groups_of(groups)
    assert len(found) == MAX_GROUPS
    assert next(iter(found.items())) == (f"g{MAX_GROUPS + 4}", (None, MAX_GROUPS + 4))
