"""Places on a real Redis: each is booked once, and what was left to a worker comes to it once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from bridge.errors import SinkFault
from bridge.lab.redis_server import RedisServer
from bridge.masking import Secrets
from bridge.model.keys import WORKERS_KEY, given_key, hash_tag, room_key
from bridge.settings import RedisSettings
from bridge.store.fleet.handovers import Handovers, Heard
from bridge.store.link import RedisLink

NOTHING = Heard(given=(), booked=0)


@pytest.fixture
async def link(redis_server: RedisServer) -> AsyncIterator[RedisLink]:
    """A link to the shared Redis."""
    made = RedisLink(RedisSettings(url=SecretStr(redis_server.url)), Secrets())
    yield made
    await made.aclose()


@pytest.fixture
def taker(link: RedisLink) -> Handovers:
    """A worker that has room."""
    return Handovers(link, "taker/1", 30)


@pytest.fixture
def giver(link: RedisLink) -> Handovers:
    """One that has too many sessions."""
    return Handovers(link, "giver/1", 30)


async def test_a_place_is_booked_once_however_many_want_it(taker: Handovers, link: RedisLink) -> None:
    """Two workers may leave at the same time."""
    assert await taker.offer(5) == NOTHING
    givers = [Handovers(link, f"giver/{number}", 30) for number in range(10)]
    booked = await asyncio.gather(*(one.book(2, {"taker/1": 2}) for one in givers))
    assert sum(one.get("taker/1", 0) for one in booked) == 5
    assert await givers[0].book(1, {"taker/1": 1}) == {}


async def test_no_more_is_booked_than_there_is_to_give_and_than_each_may_get(link: RedisLink, giver: Handovers) -> None:
    """One wants a single one of the sessions, another has no room, a third has never said a word."""
    for name, room in (("a/1", 10), ("b/1", 10), ("c/1", 0)):
        await Handovers(link, name, 30).offer(room)
    assert await giver.book(7, {"a/1": 1, "b/1": 9, "c/1": 9, "d/1": 9}) == {"a/1": 1, "b/1": 6}
    assert await giver.book(0, {"a/1": 9}) == {}
    assert await giver.book(3, {}) == {}


async def test_what_is_booked_and_on_its_way_is_not_offered_again(taker: Handovers, giver: Handovers) -> None:
    """Or a giver that takes its time would be offered more and more."""
    await taker.offer(4)
    await giver.book(3, {"taker/1": 9})
    assert await taker.offer(4) == Heard(given=(), booked=3)
    assert await giver.book(9, {"taker/1": 9}) == {"taker/1": 1}
    assert await taker.offer(4) == Heard(given=(), booked=4)
    await giver.give("taker/1", b"12345678")
    assert await taker.offer(4) == Heard(given=(b"12345678",), booked=3), "each is said once"
    assert await giver.book(9, {"taker/1": 9}) == {}, "what has arrived takes up room too"
    assert await taker.offer(3) == Heard(given=(), booked=3)
    assert taker.open
    taker.give_up()
    assert await taker.offer(2) == NOTHING
    assert await giver.book(9, {"taker/1": 9}) == {"taker/1": 2}


async def test_an_offer_can_be_withdrawn(taker: Handovers, giver: Handovers, redis: Redis) -> None:
    """The share is full, or the worker leaves."""
    standing = [taker.open]
    for room in (4, 0):
        assert await taker.offer(room) == NOTHING
        standing.append(taker.open)
    assert standing == [False, True, False]
    assert await giver.book(9, {"taker/1": 9}) == {}
    assert await redis.keys() == []


async def test_an_offer_does_not_outlive_its_worker(link: RedisLink, giver: Handovers, redis: Redis) -> None:
    """Booking a part of it does not prolong it, and what was given to a dead worker goes too."""
    await Handovers(link, "taker/1", 30).offer(4)
    await redis.pexpire(room_key("taker/1"), 20_000)
    await giver.book(1, {"taker/1": 9})
    await giver.give("taker/1", b"12345678")
    assert 0 < await redis.pttl(room_key("taker/1")) <= 20_000
    assert 20_000 < await redis.pttl(given_key("taker/1")) <= 30_000


async def test_an_offer_that_redis_forgot_is_made_again(taker: Handovers, giver: Handovers, redis: Redis) -> None:
    """Evicted, expired or flushed: nothing counts as booked."""
    await taker.offer(4)
    await redis.flushall()
    assert await taker.offer(4) == NOTHING
    assert await giver.book(9, {"taker/1": 9}) == {"taker/1": 4}


@pytest.mark.parametrize("value", ["many", "-3", ""])
async def test_a_number_that_is_none_offers_nothing(giver: Handovers, redis: Redis, value: str) -> None:
    """Somebody has written there."""
    await redis.set(room_key("taker/1"), value)
    assert await giver.book(2, {"taker/1": 9}) == {}


async def test_keys_of_another_type_are_a_fault_of_this_call_alone(taker: Handovers, redis: Redis) -> None:
    """Whoever waits goes on reading."""
    await redis.lpush(room_key("taker/1"), "x")
    with pytest.raises(SinkFault):
        await taker.offer(1)
    await redis.delete(room_key("taker/1"))
    assert await taker.offer(1) == NOTHING


def test_all_of_it_stands_in_one_slot_whatever_a_worker_is_called() -> None:
    """One script books with several workers."""
    assert {hash_tag(key("{x}/1")) for key in (room_key, given_key)} == {hash_tag(WORKERS_KEY)}
