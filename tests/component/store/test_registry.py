"""The register of workers in a real Redis: who lives, who wants what, and what others have put there."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from bridge.lab.redis_server import RedisServer
from bridge.masking import Secrets
from bridge.model.keys import WORKERS_KEY, wishes_key
from bridge.model.outcomes import HeldBy
from bridge.model.wishes import NO_WISHES, Wishes, fingerprint_of
from bridge.settings import RedisSettings
from bridge.store.fleet.registry import Register, Registry
from bridge.store.link import RedisLink

ONE, TWO = Wishes.of([fingerprint_of("a"), fingerprint_of("b")]), Wishes.of([fingerprint_of("b")])


@pytest.fixture
async def link(redis_server: RedisServer) -> AsyncIterator[RedisLink]:
    """A link to the shared Redis."""
    made = RedisLink(RedisSettings(url=SecretStr(redis_server.url)), Secrets())
    yield made
    await made.aclose()


@pytest.fixture
def first(link: RedisLink) -> Registry:
    """One worker."""
    return Registry(link, "first/1", 30)


@pytest.fixture
def second(link: RedisLink) -> Registry:
    """Another worker."""
    return Registry(link, "second/2", 30)


def owners(register: Register) -> list[str]:
    """Who else lives."""
    return [peer.owner for peer in register.peers]


async def test_workers_hear_of_each_other_and_of_what_each_wants(first: Registry, second: Registry) -> None:
    """Whether they want the same or not."""
    assert (await first.register(ONE, 0)).peers == ()
    (peer,) = (await second.register(TWO, 0)).peers
    assert (peer.owner, peer.wishes, peer.releases) == ("first/1", ONE, 0)
    (peer,) = (await first.register(ONE, 0)).peers
    assert (peer.owner, peer.wishes) == ("second/2", TWO)


async def test_what_a_worker_says_anew_replaces_what_it_said(first: Registry, second: Registry, redis: Redis) -> None:
    """Other wishes, or a lease given back: each worker has one record."""
    await second.register(ONE, 0)
    await first.register(ONE, 0)
    await second.register(NO_WISHES, 3)
    (peer,) = (await first.register(ONE, 0)).peers
    assert (peer.wishes, peer.releases, peer.heard_again) == (NO_WISHES, 3, True)
    assert await redis.zcard(WORKERS_KEY) == 2


async def test_a_heartbeat_carries_no_list(first: Registry, second: Registry, redis: Redis) -> None:
    """3,000 sessions: the list is written once, and read by nobody who wants the same."""
    many = Wishes.of(fingerprint_of(f"s{number}") for number in range(3000))
    await first.register(many, 0)
    await second.register(many, 0)
    await redis.config_resetstat()
    before: Any = await redis.info("stats")
    for _ in range(10):
        await first.register(many, 0)
        await second.register(many, 0)
    after: Any = await redis.info("stats")
    received = after["total_net_input_bytes"] - before["total_net_input_bytes"]
    sent = after["total_net_output_bytes"] - before["total_net_output_bytes"]
    assert received < 20 * 500
    assert sent < 20 * 500 + 10_000  # INFO itself answers some of it
    commands: Any = await redis.info("commandstats")
    assert "cmdstat_set" not in commands
    assert "cmdstat_get" not in commands


async def test_a_list_that_was_evicted_is_written_again(first: Registry, second: Registry, redis: Redis) -> None:
    """Until then its worker wants nothing that anybody knows of."""
    await first.register(ONE, 0)
    await redis.delete(wishes_key(ONE.digest))
    (peer,) = (await second.register(TWO, 0)).peers
    assert peer.wishes == NO_WISHES
    await first.register(ONE, 0)
    (peer,) = (await second.register(TWO, 0)).peers
    assert peer.wishes == ONE
    assert 0 < await redis.pttl(wishes_key(ONE.digest)) <= 30_000


@pytest.mark.parametrize("value", [b"", b"short", b"x" * 16])
async def test_a_list_that_is_not_what_its_digest_says_is_ignored(
    first: Registry, second: Registry, redis: Redis, value: bytes
) -> None:
    """Somebody has written there."""
    await first.register(ONE, 0)
    await redis.set(wishes_key(ONE.digest), value)
    (peer,) = (await second.register(TWO, 0)).peers
    assert peer.wishes == NO_WISHES


async def test_a_list_of_another_type_is_ignored(first: Registry, second: Registry, redis: Redis) -> None:
    """It must not end anybody's round."""
    await first.register(ONE, 0)
    await redis.delete(wishes_key(ONE.digest))
    await redis.lpush(wishes_key(ONE.digest), "x")
    (peer,) = (await second.register(TWO, 0)).peers
    assert peer.wishes == NO_WISHES


async def test_a_worker_hears_whether_it_was_known(first: Registry, redis: Redis) -> None:
    """If not, Redis was emptied."""
    assert (await first.register(ONE, 0)).forgotten
    assert not (await first.register(ONE, 0)).forgotten
    assert not (await first.register(TWO, 5)).forgotten
    await redis.flushall()
    assert (await first.register(ONE, 0)).forgotten


async def test_a_worker_that_has_signed_off_is_gone_at_once(first: Registry, second: Registry, redis: Redis) -> None:
    """And only that one."""
    await first.register(ONE, 0)
    assert owners(await second.register(ONE, 0)) == ["first/1"]
    await first.sign_off()
    assert owners(await second.register(ONE, 0)) == []
    assert await redis.zcard(WORKERS_KEY) == 1


async def test_a_record_stands_for_one_time_to_live_of_rediss_time(first: Registry, redis: Redis) -> None:
    """Counted from the call."""
    await first.register(ONE, 7)
    seconds, microseconds = await redis.time()
    score = await redis.zscore(WORKERS_KEY, f"first/1 {ONE.digest} 7 30000")
    assert score is not None
    assert 29 < float(score) - (seconds + microseconds / 1e6) <= 30


@pytest.mark.parametrize("after", [-1.0, -3600.0, 3600.0, 1e15])
async def test_a_record_that_is_not_fresh_counts_for_nobody(first: Registry, redis: Redis, after: float) -> None:
    """It has run out, or a wrong clock has written it, or it came with an old dump."""
    seconds, _ = await redis.time()
    await redis.zadd(WORKERS_KEY, {f"dead/1 {ONE.digest} 0 30000": seconds + after})
    assert owners(await first.register(ONE, 0)) == []


@pytest.mark.parametrize("record", ["garbage", "", "w/1", f"w/1 {ONE.digest}", f"w/1 {ONE.digest} 0 x", "a b c d", "ü"])
async def test_what_no_worker_writes_is_ignored(first: Registry, redis: Redis, record: str) -> None:
    """In the register, with a plausible time."""
    seconds, _ = await redis.time()
    await redis.zadd(WORKERS_KEY, {record: seconds + 10})
    assert owners(await first.register(ONE, 0)) == []


async def test_a_worker_that_lives_is_not_lost_by_a_clock_that_jumps(
    first: Registry, second: Registry, redis: Redis
) -> None:
    """An hour forth or back: its record is as if it had run out, or as if it were from the future."""
    await second.register(ONE, 0)
    await first.register(ONE, 0)
    record = f"second/2 {ONE.digest} 0 30000"
    for jump in (-3600.0, 3600.0):
        await redis.zincrby(WORKERS_KEY, jump, record)
        assert owners(await first.register(ONE, 0)) == ["second/2"]
    await redis.zrem(WORKERS_KEY, record)
    assert owners(await first.register(ONE, 0)) == []


async def test_what_has_been_silent_for_long_is_removed(link: RedisLink, redis: Redis) -> None:
    """By the clock of whoever looks, so nothing piles up and no clock of Redis matters."""
    seconds, _ = await redis.time()
    record = f"dead/1 {ONE.digest} 0 1"
    await redis.zadd(WORKERS_KEY, {record: seconds + 3600})
    worker = Registry(link, "first/1", 30)
    await worker.register(ONE, 0)
    assert await redis.zcard(WORKERS_KEY) == 2
    began = time.monotonic()
    while time.monotonic() - began < 0.01:
        await redis.ping()
    await worker.register(ONE, 0)
    assert await redis.zcard(WORKERS_KEY) == 1


async def test_the_difference_of_the_clocks_is_told(first: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as it is certain: the answer took some time too."""
    assert (await first.register(ONE, 0)).clock_ahead_seconds == 0.0
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 100)
    assert 90 < (await first.register(ONE, 0)).clock_ahead_seconds <= 100
    monkeypatch.setattr(time, "time", lambda: real() + 100)
    assert -101 <= (await first.register(ONE, 0)).clock_ahead_seconds < -90


async def test_a_lapsed_lease_of_a_worker_that_is_in_the_register_is_not_gone(
    first: Registry, second: Registry
) -> None:
    """But one of a worker that has signed off, or never was there, is."""
    await second.register(ONE, 0)
    await first.register(ONE, 0)

    def gone(owner: str, lapsed: bool) -> bool:
        return first.is_gone(HeldBy(owner=owner, remaining_seconds=1, beat=b"", lapsed=lapsed))

    assert not gone("second/2", True)
    assert gone("nobody/3", True)
    assert not gone("nobody/3", False)
    await second.sign_off()
    await first.register(ONE, 0)
    assert gone("second/2", True)
