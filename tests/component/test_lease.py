"""Leases in a real Redis: one holder, one token, a place set up again only where it is missing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from bridge.errors import SinkFault
from bridge.events import START, Claim, Phase, Place, Session
from bridge.keys import WORKERS_KEY, session_keys
from bridge.lease import Leases, Registration
from bridge.link import RedisLink
from bridge.outcomes import Fenced, HeldBy, Lost
from bridge.recovery import Seed
from bridge.redis_server import RedisServer
from bridge.secrets import Secrets
from bridge.settings import RedisSettings
from bridge.window import Window, digest_of

KEYS = session_keys("lens:{<name>}:events", Session(name="line-1", session_id="lsn-1"))
PLACE = Place(cursor="e9", ordinal=2, seq=12, commits=7)


@pytest.fixture
async def link(redis_server: RedisServer) -> AsyncIterator[RedisLink]:
    """A link to the shared Redis."""
    made = RedisLink(RedisSettings(url=SecretStr(redis_server.url)), Secrets())
    yield made
    await made.aclose()


@pytest.fixture
def leases(link: RedisLink) -> Leases:
    """One worker."""
    return Leases(link, "one", 30)


@pytest.fixture
def others(link: RedisLink) -> Leases:
    """Another worker, with the same name by mistake."""
    return Leases(link, "one", 30)


async def claimed(leases: Leases, seed: Seed | None = None) -> Claim:
    """Take it; it must be free."""
    claim = await leases.acquire(KEYS, seed)
    assert isinstance(claim, Claim)
    return claim


async def hash_of(redis: Redis) -> dict[bytes, bytes]:
    """The state."""
    found: Any = await redis.hgetall(KEYS.state)
    return dict(found)


def blob(*keys: str) -> bytes:
    """A window's blob."""
    window = Window(10)
    for key in keys:
        window.remember(key, digest_of(key.encode()))
    return b"%d\n" % len(keys) + b"".join(digest_of(key.encode()) for key in keys) + "\n".join(keys).encode()


async def test_a_new_session_starts_at_the_beginning(leases: Leases, redis: Redis) -> None:
    """With an empty window, in phase active, and nothing set up."""
    claim = await claimed(leases)
    assert claim == Claim(token=claim.token, place=START, phase=Phase.ACTIVE, window=(), seeded=False)
    assert claim.token.startswith("1-")
    assert await redis.get(KEYS.lease) == leases.owner.encode()
    assert 29_000 < await redis.pttl(KEYS.lease) <= 30_000


async def test_only_one_worker_holds_it(leases: Leases, others: Leases) -> None:
    """The other is told who and for how long; two workers of one name are not taken for the same."""
    await claimed(leases)
    held = await others.acquire(KEYS)
    assert isinstance(held, HeldBy)
    assert held.owner == leases.owner != others.owner
    assert 29 < held.remaining_seconds <= 30


async def test_of_many_that_ask_at_once_one_gets_it(link: RedisLink) -> None:
    """Whatever the order."""
    answers = await asyncio.gather(*(Leases(link, f"w{number}", 30).acquire(KEYS) for number in range(50)))
    assert sum(isinstance(answer, Claim) for answer in answers) == 1


async def test_a_refused_worker_changes_nothing(leases: Leases, others: Leases, redis: Redis) -> None:
    """Above all not the token of the holder."""
    claim = await claimed(leases)
    before = await hash_of(redis)
    await others.acquire(KEYS)
    assert await hash_of(redis) == before
    assert await leases.renew(KEYS, claim.token) == 0


async def test_an_expired_lease_is_taken_over_with_a_new_token(leases: Leases, others: Leases, redis: Redis) -> None:
    """From then on the old holder is fenced, and what it committed is where the new one goes on."""
    old = await claimed(leases)
    await redis.hset(KEYS.state, mapping={"cursor": "e5", "ordinal": 1, "seq": 6, "commits": 3})
    await redis.rpush(KEYS.seen, blob("e5"))
    await redis.delete(KEYS.lease)  # as when it has run out
    new = await claimed(others)
    assert new.place == Place(cursor="e5", ordinal=1, seq=6, commits=3)
    assert new.window == (blob("e5"),)
    assert new.token.startswith("2-")
    assert await leases.renew(KEYS, old.token) == Fenced()


async def test_a_lease_runs_out_by_itself(link: RedisLink, redis: Redis) -> None:
    """Its time to live is in milliseconds on the server."""
    await claimed(Leases(link, "w", 0.05))
    async with asyncio.timeout(10):
        while await redis.exists(KEYS.lease):
            await asyncio.sleep(0.01)
    await claimed(Leases(link, "other", 30))


async def test_ones_own_lease_can_be_taken_again(leases: Leases) -> None:
    """A reply was lost, or a pump has crashed: with another token."""
    first, second = await claimed(leases), await claimed(leases)
    assert first.token != second.token
    assert await leases.renew(KEYS, first.token) == Fenced()
    assert await leases.renew(KEYS, second.token) == 0


async def test_tokens_differ_even_where_the_counter_comes_twice(leases: Leases, redis: Redis) -> None:
    """After a failover the same number may be given again."""
    first = await claimed(leases)
    await redis.delete(KEYS.state)
    second = await claimed(leases)
    assert (first.token[:2], second.token[:2]) == ("1-", "1-")
    assert first.token != second.token


async def test_a_lease_without_a_time_to_live_does_not_block_for_ever(leases: Leases, redis: Redis) -> None:
    """It was not written by a worker, or a restore has lost its TTL."""
    await redis.set(KEYS.lease, "somebody")
    await claimed(leases)
    assert await redis.pttl(KEYS.lease) > 0


# Renewing


async def test_renewing_answers_the_commits_and_keeps_the_lease(leases: Leases, redis: Redis) -> None:
    """An idle session learns of a rollback here only."""
    claim = await claimed(leases)
    await redis.hset(KEYS.state, "commits", 42)
    await redis.pexpire(KEYS.lease, 1000)
    assert await leases.renew(KEYS, claim.token) == 42
    assert await redis.pttl(KEYS.lease) > 20_000


async def test_renewing_brings_back_a_lease_that_expired_while_nobody_came(leases: Leases, redis: Redis) -> None:
    """The token decides, not the lease key."""
    claim = await claimed(leases)
    await redis.delete(KEYS.lease)
    assert await leases.renew(KEYS, claim.token) == 0
    assert await redis.get(KEYS.lease) == leases.owner.encode()


async def test_renewing_after_a_takeover_leaves_the_new_holders_lease(
    leases: Leases, others: Leases, redis: Redis
) -> None:
    """It is only told that it is fenced."""
    old = await claimed(leases)
    await redis.delete(KEYS.lease)
    await claimed(others)
    assert await leases.renew(KEYS, old.token) == Fenced()
    assert await redis.get(KEYS.lease) == others.owner.encode()


async def test_renewing_in_an_emptied_redis_is_lost(leases: Leases, redis: Redis) -> None:
    """And sets nothing up."""
    claim = await claimed(leases)
    await redis.flushall()
    assert await leases.renew(KEYS, claim.token) == Lost()
    assert await redis.keys() == []


# Giving back


async def test_a_released_lease_is_free_at_once(leases: Leases, others: Leases) -> None:
    """The next worker need not wait for it to expire."""
    await leases.release(KEYS, (await claimed(leases)).token)
    await claimed(others)


async def test_a_renewal_that_comes_after_the_release_does_not_bring_the_lease_back(
    leases: Leases, others: Leases
) -> None:
    """Both were on their way at once; the lease would be nobody's for a whole life."""
    claim = await claimed(leases)
    await leases.release(KEYS, claim.token)
    assert await leases.renew(KEYS, claim.token) == Fenced()
    assert isinstance(await others.acquire(KEYS), Claim)


async def test_a_window_is_set_up_alone_only_where_there_is_none(leases: Leases, redis: Redis) -> None:
    """It was deleted or evicted while the state stayed."""
    await claimed(leases, Seed(place=PLACE, window=(b"1\n12345678a",)))
    other = Seed(place=START, window=(b"1\n87654321b",))
    kept = await leases.acquire(KEYS, other, window_alone=True)
    assert isinstance(kept, Claim)
    assert (kept.place, kept.window) == (PLACE, (b"1\n12345678a",))
    await redis.delete(KEYS.seen)
    restored = await leases.acquire(KEYS, other, window_alone=True)
    assert isinstance(restored, Claim)
    assert (restored.place, restored.window) == (PLACE, (b"1\n87654321b",))


async def test_releasing_leaves_the_place(leases: Leases, redis: Redis) -> None:
    """Only the owner goes."""
    claim = await claimed(leases)
    await redis.hset(KEYS.state, mapping={"cursor": "e5", "commits": 3})
    await leases.release(KEYS, claim.token)
    state = await hash_of(redis)
    assert b"owner" not in state
    assert (state[b"cursor"], state[b"commits"], state[b"token"]) == (b"e5", b"3", claim.token.encode())


async def test_a_lease_that_is_no_longer_ours_is_not_released(leases: Leases, others: Leases, redis: Redis) -> None:
    """A worker that wakes up late must not free another's session."""
    old = await claimed(leases)
    await redis.delete(KEYS.lease)
    await claimed(others)
    before = await hash_of(redis)
    await leases.release(KEYS, old.token)
    assert await redis.get(KEYS.lease) == others.owner.encode()
    assert await hash_of(redis) == before


async def test_releasing_in_an_emptied_redis_is_harmless(leases: Leases, redis: Redis) -> None:
    """Nothing is written."""
    claim = await claimed(leases)
    await redis.flushall()
    await leases.release(KEYS, claim.token)
    assert await redis.keys() == []


# Where Redis has no place


async def test_a_session_without_a_place_can_be_left_alone(leases: Leases, redis: Redis) -> None:
    """Somebody else may know it, and must come first: nothing is written."""
    assert await leases.acquire(KEYS, begin=False) is None
    assert await redis.keys() == []


async def test_a_session_with_a_place_is_taken_all_the_same(leases: Leases, redis: Redis) -> None:
    """There is nothing to wait for."""
    await redis.hset(KEYS.state, mapping={"token": "3-x", "cursor": "e5", "commits": 3})
    assert isinstance(await leases.acquire(KEYS, begin=False), Claim)


async def add(redis: Redis, count: int, session_id: str = "lsn-1") -> None:
    """So many entries as the worker writes them."""
    async with redis.pipeline(transaction=False) as pipeline:
        for number in range(1, count + 1):
            fields: Any = {"id": f"e{number}", "session_id": session_id, "seq": number, "type": "t"}
            fields |= {"data": f"{number}", "received_at": "1741843200.123"}
            pipeline.xadd(KEYS.events, fields)
        await pipeline.execute()


async def test_a_place_is_found_in_the_sessions_own_entries(leases: Leases, redis: Redis) -> None:
    """The last one tells where to go on; behind it may stand more than a page of another session's."""
    await add(redis, 1200)
    await add(redis, 1100, "lsn-2")
    seed = await leases.find_seed(KEYS, "lsn-1")
    assert seed
    assert seed.place == Place(cursor="e1200", seq=1200)
    known = Window(1000, seed.window)
    assert known.get("e1200") == digest_of(b"1200")
    assert known.get("e202") == digest_of(b"202")


async def test_no_entries_tell_no_place(leases: Leases, redis: Redis) -> None:
    """Neither an empty stream nor one of other sessions."""
    assert await leases.find_seed(KEYS, "lsn-1") is None
    await add(redis, 1, "lsn-2")
    assert await leases.find_seed(KEYS, "lsn-1") is None


# Setting up a place again


async def test_a_remembered_place_is_set_up_where_redis_has_none(leases: Leases, redis: Redis) -> None:
    """Cursor, numbers and window; and it is said."""
    await redis.rpush(KEYS.seen, b"left over")
    claim = await claimed(leases, Seed(place=PLACE, window=(blob("e8"), blob("e9"))))
    assert claim == Claim(
        token=claim.token, place=PLACE, phase=Phase.ACTIVE, window=(blob("e8"), blob("e9")), seeded=True
    )
    assert (await hash_of(redis))[b"seq"] == b"12"


async def test_a_remembered_place_does_not_touch_one_that_is_there(leases: Leases, redis: Redis) -> None:
    """What Redis knows is what was committed, even where it is older."""
    await redis.hset(KEYS.state, mapping={"token": "3-x", "cursor": "e5", "ordinal": 0, "seq": 6, "commits": 3})
    await redis.rpush(KEYS.seen, blob("e5"))
    claim = await claimed(leases, Seed(place=PLACE, window=(blob("e9"),)))
    assert (claim.place, claim.window) == (Place(cursor="e5", ordinal=0, seq=6, commits=3), (blob("e5"),))
    assert not claim.seeded
    assert claim.token.startswith("4-")


async def test_a_seed_for_a_session_that_another_holds_is_not_written(
    leases: Leases, others: Leases, redis: Redis
) -> None:
    """The holder has set up its own."""
    await claimed(leases)
    before = await hash_of(redis)
    assert isinstance(await others.acquire(KEYS, Seed(place=PLACE, window=())), HeldBy)
    assert await hash_of(redis) == before


async def test_a_session_that_has_ended_is_claimed_as_such(leases: Leases, redis: Redis) -> None:
    """The phase is the committed one."""
    await redis.hset(KEYS.state, mapping={"token": "1-x", "phase": "ended"})
    assert (await claimed(leases)).phase is Phase.ENDED


# What others have put there


@pytest.mark.parametrize("key", [KEYS.lease, KEYS.state, KEYS.seen])
async def test_a_key_of_another_type_is_a_fault_and_leaves_everything_untouched(
    leases: Leases, redis: Redis, key: str
) -> None:
    """No lease is taken that could not be worked under."""
    await redis.xadd(key, {"not": "ours"})
    with pytest.raises(SinkFault) as caught:
        await leases.acquire(KEYS)
    assert caught.value.kind == "wrong_type"
    assert await redis.keys() == [key.encode()]


async def test_a_token_that_makes_no_sense_is_replaced(leases: Leases, redis: Redis) -> None:
    """The counter begins again; the random text keeps it apart from every other."""
    await redis.hset(KEYS.state, "token", "nonsense")
    assert (await claimed(leases)).token.startswith("1-")


# The register of workers


async def test_the_register_counts_the_workers_that_live(leases: Leases, others: Leases) -> None:
    """Each once, however often it says so; and a worker hears whether it was known."""
    assert await leases.register() == Registration(workers=1, forgotten=True)
    assert await leases.register() == Registration(workers=1, forgotten=False)
    assert await others.register() == Registration(workers=2, forgotten=True)
    await leases.sign_off()
    assert await others.register() == Registration(workers=1, forgotten=False)


async def test_a_worker_that_has_not_said_so_for_too_long_is_forgotten(leases: Leases, redis: Redis) -> None:
    """By the clock of Redis, so that no worker's clock matters."""
    seconds, _ = await redis.time()
    await redis.zadd(WORKERS_KEY, {"dead": seconds - 1, "alive": seconds + 600})
    assert (await leases.register()).workers == 2
    found: Any = await redis.zrange(WORKERS_KEY, 0, -1)
    assert set(found) == {b"alive", leases.owner.encode()}


async def test_the_register_stands_for_one_time_to_live(leases: Leases, redis: Redis) -> None:
    """Of Redis's time, counted from the call."""
    await leases.register()
    seconds, microseconds = await redis.time()
    score = await redis.zscore(WORKERS_KEY, leases.owner)
    assert score is not None
    assert 29 < float(score) - (seconds + microseconds / 1e6) <= 30
