"""Lag and pending of consumer groups, as a real Redis tells them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic import SecretStr
from redis.asyncio import Redis

from bridge.lab.redis_server import RedisServer
from bridge.masking import Secrets
from bridge.model.place import Session
from bridge.settings import RedisSettings
from bridge.store.link import RedisLink
from bridge.telemetry.figures import Kept, SessionFigures
from bridge.worker.backlog import MAX_GROUPS, Backlog, groups_of
from tests.support.worker import until

KEY = "lens:{camera-1}:events"


def _figures() -> SessionFigures:
    return SessionFigures(Session(name="camera-1", session_id="lsn-1"), KEY)


def _link(server: RedisServer) -> RedisLink:
    return RedisLink(RedisSettings(url=SecretStr(server.url)), Secrets())


async def _lag(redis: Redis, lag: int) -> int | None:
    """What is to be seen of a lag: Redis before 7.0 tells none."""
    return lag if "lag" in (await redis.xinfo_groups(KEY))[0] else None


async def test_length_lag_and_pending_of_a_group_are_sampled(redis_server: RedisServer, redis: Redis) -> None:
    """Five entries, two read, one acknowledged: the lag is three and one is pending."""
    ids = [await redis.xadd(KEY, {"id": str(n)}) for n in range(5)]
    await redis.xgroup_create(KEY, "detector", id="0")
    await redis.xreadgroup("detector", "one", {KEY: ">"}, count=2)
    await redis.xack(KEY, "detector", ids[0])
    figures, link, lag = _figures(), _link(redis_server), await _lag(redis, 3)
    async with Backlog(link, [figures], interval_seconds=0.02):
        await until(lambda: figures.stream_length == 5, "the length is seen")
        await until(lambda: figures.groups == {"detector": (lag, 1)}, "the group is seen")
        await redis.flushall()
        await until(lambda: figures.groups == {} and figures.stream_length == 0, "nothing is left")
    await link.aclose()


async def test_the_groups_of_routed_streams_are_told_apart_and_lengths_are_added(
    redis_server: RedisServer, redis: Redis
) -> None:
    """A group of one stream says nothing of the group of that name at another."""
    figures, link = _figures(), _link(redis_server)
    figures.routed_keys = ("lens:{camera-1}:results", "lens:{camera-1}:logs")
    for n, key in enumerate((KEY, *figures.routed_keys[:1]), 2):
        for _ in range(n):
            await redis.xadd(key, {"id": "1"})
        await redis.xgroup_create(key, "detector", id="0")
        await redis.xreadgroup("detector", "one", {key: ">"}, count=n - 1)
    lag = await _lag(redis, 1)
    async with Backlog(link, [figures], interval_seconds=0.02):
        await until(lambda: figures.stream_length == 5, "the length is that of all")
        assert dict(figures.groups) == {"detector": (lag, 1), "results/detector": (lag, 2)}
    await link.aclose()


async def test_who_reads_and_from_where_is_told_of_every_session(redis_server: RedisServer, redis: Redis) -> None:
    """As it stands in Redis, whoever reads it; what somebody wrote by hand does no harm."""
    figures, link = _figures(), _link(redis_server)
    async with Backlog(link, [figures], interval_seconds=0.02):
        await until(lambda: figures.kept is not None, "a session that was never read is looked at too")
        assert figures.kept == Kept(owner=None, seq=None, cursor=None, updated_at=0.0, dead_letters=0)
        await redis.set("lens:{camera-1}:lease:lsn-1", "worker-2/b")
        await redis.xadd("lens:{camera-1}:dead-letter", {"id": "1"})
        state: Any = {"seq": "7", "cursor": "evt-7", "updated_at": "1741843200.123"}
        await redis.hset("lens:{camera-1}:state:lsn-1", mapping=state)
        told = Kept(owner="worker-2/b", seq=7, cursor="evt-7", updated_at=1741843200.123, dead_letters=1)
        await until(lambda: figures.kept == told, "what was written is seen")
        await redis.hset("lens:{camera-1}:state:lsn-1", mapping={"seq": "seven", "updated_at": "nan"})
        told = replace(told, seq=None, updated_at=0.0)
        await until(lambda: figures.kept == told, "what is no number is none")
        await redis.set("lens:{camera-1}:dead-letter", "somebody else's")
        await until(lambda: figures.kept is None, "a hole rather than something old")
    await link.aclose()


async def test_a_redis_that_is_away_leaves_a_hole_and_not_an_old_number(private_redis: RedisServer) -> None:
    """Groups vanish while Redis is away and come back with it."""
    async with Redis.from_url(private_redis.url) as redis:
        await redis.xgroup_create(KEY, "detector", mkstream=True)
        await redis.xadd(KEY, {"id": "1"})
        figures, link, lag = _figures(), _link(private_redis), await _lag(redis, 1)
        async with Backlog(link, [figures], interval_seconds=0.02):
            await until(lambda: bool(figures.groups), "the group is seen")
            await private_redis.kill()
            await until(lambda: figures.groups == {}, "a hole")
            await private_redis.start()
            await until(lambda: figures.groups == {"detector": (lag, 0)}, "the group is seen again")
        await link.aclose()


def test_a_lag_that_redis_cannot_tell_is_none_and_only_the_furthest_behind_are_kept() -> None:
    """A program that makes a group for each of its runs does not make a label without bound."""
    groups = [[b"name", f"g{n}".encode(), b"pending", n, b"lag", None] for n in range(MAX_GROUPS + 5)]
    found = groups_of([groups])
    assert len(found) == MAX_GROUPS
    assert next(iter(found.items())) == (f"g{MAX_GROUPS + 4}", (None, MAX_GROUPS + 4))
