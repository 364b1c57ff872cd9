"""Leases in a real Redis: one holder, one token, a place set up again only where it is missing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from bridge.delivery.recovery import Seed
from bridge.delivery.window import Window, digest_of
from bridge.errors import SinkFault
from bridge.lab.redis_server import RedisServer
from bridge.masking import Secrets
from bridge.model.keys import session_keys
from bridge.model.labels import Phase
from bridge.model.outcomes import Fenced, HeldBy, Lost
from bridge.model.place import START, Lease, Place, Session
from bridge.settings import RedisSettings
from bridge.store.leases import Begin, Leases, Start, Wait, WindowOnly
from bridge.store.link import RedisLink

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


async def acquired(leases: Leases, start: Start | None = None) -> Lease:
    """Take it; it must be free."""
    lease = await leases.acquire(KEYS, start or Begin())
    assert isinstance(lease, Lease)
    return lease


async def held(leases: Leases) -> HeldBy:
    """Ask for it; another worker must have it."""
    answer = await leases.acquire(KEYS)
    assert isinstance(answer, HeldBy)
    return answer


async def taken_over(leases: Leases) -> Lease:
    """Take it from another worker, as after its time has passed without a beat."""
    lease = await leases.acquire(KEYS, overdue=(await held(leases)).beat)
    assert isinstance(lease, Lease)
    return lease


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
    lease = await acquired(leases)
    assert lease == Lease(token=lease.token, place=START, phase=Phase.ACTIVE, window=(), seeded=False)
    assert lease.token.startswith("1-")
    assert await redis.get(KEYS.lease) == leases.owner.encode()
    assert 29_000 < await redis.pttl(KEYS.lease) <= 30_000


async def test_only_one_worker_holds_it(leases: Leases, others: Leases) -> None:
    """The other is told who and for how long; two workers of one name are not taken for the same."""
    await acquired(leases)
    answer = await held(others)
    assert answer.owner == leases.owner != others.owner
    assert 29 < answer.remaining_seconds <= 30
    assert not answer.lapsed


async def test_of_many_that_ask_at_once_one_gets_it(link: RedisLink) -> None:
    """Whatever the order."""
    answers = await asyncio.gather(*(Leases(link, f"w{number}", 30).acquire(KEYS) for number in range(50)))
    assert sum(isinstance(answer, Lease) for answer in answers) == 1


async def test_a_refused_worker_changes_nothing(leases: Leases, others: Leases, redis: Redis) -> None:
    """Above all not the token of the holder."""
    lease = await acquired(leases)
    before = await hash_of(redis)
    await others.acquire(KEYS)
    assert await hash_of(redis) == before
    assert await leases.renew(KEYS, lease.token) == 0


async def test_an_expired_lease_is_taken_over_with_a_new_token(leases: Leases, others: Leases, redis: Redis) -> None:
    """From then on the old holder is fenced, and what it committed is where the new one goes on."""
    old = await acquired(leases)
    await redis.hset(KEYS.state, mapping={"cursor": "e5", "ordinal": 1, "seq": 6, "commits": 3})
    await redis.rpush(KEYS.seen, blob("e5"))
    await redis.delete(KEYS.lease)  # as when it has run out
    new = await taken_over(others)
    assert new.place == Place(cursor="e5", ordinal=1, seq=6, commits=3)
    assert new.window == (blob("e5"),)
    assert new.token.startswith("2-")
    assert await leases.renew(KEYS, old.token) == Fenced(commits=3)


async def test_a_lease_runs_out_by_itself(link: RedisLink, redis: Redis) -> None:
    """Its time to live is in milliseconds on the server; but that it has run out does not say that it is free."""
    await acquired(Leases(link, "w", 0.05))
    async with asyncio.timeout(10):
        while await redis.exists(KEYS.lease):
            await asyncio.sleep(0.01)
    other = Leases(link, "other", 30)
    answer = await held(other)
    assert (answer.lapsed, answer.remaining_seconds) == (True, 0.05), "the holder's time, not the one's who asks"
    await taken_over(other)


async def test_ones_own_lease_can_be_taken_again(leases: Leases) -> None:
    """A reply was lost, or a pump has crashed: with another token."""
    first, second = await acquired(leases), await acquired(leases)
    assert first.token != second.token
    assert await leases.renew(KEYS, first.token) == Fenced(commits=0)
    assert await leases.renew(KEYS, second.token) == 0


async def test_tokens_differ_even_where_the_counter_comes_twice(leases: Leases, redis: Redis) -> None:
    """After a failover the same number may be given again."""
    first = await acquired(leases)
    await redis.delete(KEYS.state)
    second = await acquired(leases)
    assert (first.token[:2], second.token[:2]) == ("1-", "1-")
    assert first.token != second.token


async def test_a_lease_without_a_time_to_live_does_not_block_for_ever(leases: Leases, redis: Redis) -> None:
    """It was not written by a worker, or a restore has lost its TTL."""
    await redis.set(KEYS.lease, "somebody")
    await acquired(leases)
    assert await redis.pttl(KEYS.lease) > 0


# The lease key is a hint


async def test_a_lease_that_was_evicted_is_still_held(leases: Leases, others: Leases, redis: Redis) -> None:
    """A Redis that evicts keys with a time to live must not part a healthy worker from its session."""
    lease = await acquired(leases)
    await redis.delete(KEYS.lease)
    answer = await held(others)
    assert (answer.owner, answer.lapsed, answer.remaining_seconds) == (leases.owner, True, 30)
    assert await leases.renew(KEYS, lease.token) == 0


async def test_a_lease_never_lasts_longer_than_its_time_to_live(leases: Leases, others: Leases, redis: Redis) -> None:
    """Redis's clock went back an hour: what is left by it says nothing."""
    await acquired(leases)
    await redis.pexpire(KEYS.lease, 3_583_000)
    assert (await held(others)).remaining_seconds == 30
    await taken_over(others)


async def test_each_sign_of_life_changes_the_beat(leases: Leases, others: Leases, redis: Redis) -> None:
    """A renewal, a commit, another token; asking changes nothing."""
    lease = await acquired(leases)
    beats = [(await held(others)).beat, (await held(others)).beat]
    assert len(set(beats)) == 1
    await leases.renew(KEYS, lease.token)
    beats.append((await held(others)).beat)
    await leases.renew(KEYS, lease.token)
    beats.append((await held(others)).beat)
    await redis.hincrby(KEYS.state, "commits", 1)
    beats.append((await held(others)).beat)
    await acquired(leases)
    beats.append((await held(others)).beat)
    assert len(set(beats)) == 5


async def test_a_holder_that_has_moved_meanwhile_is_not_taken_over(leases: Leases, others: Leases) -> None:
    """Whoever asks says which beat is overdue; the script compares."""
    lease = await acquired(leases)
    overdue = (await held(others)).beat
    await leases.renew(KEYS, lease.token)
    assert isinstance(await others.acquire(KEYS, overdue=overdue), HeldBy)
    assert await leases.renew(KEYS, lease.token) == 0


async def test_an_unreadable_time_to_live_in_the_state_is_ones_own(
    leases: Leases, others: Leases, redis: Redis
) -> None:
    """Somebody has written there; a lease must end all the same."""
    await acquired(leases)
    await redis.hset(KEYS.state, "lease_ms", "many")
    await redis.delete(KEYS.lease)
    assert (await held(others)).remaining_seconds == 30


# Renewing


async def test_renewing_answers_the_commits_and_keeps_the_lease(leases: Leases, redis: Redis) -> None:
    """An idle session learns of a rollback here only."""
    lease = await acquired(leases)
    await redis.hset(KEYS.state, "commits", 42)
    await redis.pexpire(KEYS.lease, 1000)
    assert await leases.renew(KEYS, lease.token) == 42
    assert await redis.pttl(KEYS.lease) > 20_000


async def test_renewing_brings_back_a_lease_that_expired_while_nobody_came(leases: Leases, redis: Redis) -> None:
    """The token decides, not the lease key."""
    lease = await acquired(leases)
    await redis.delete(KEYS.lease)
    assert await leases.renew(KEYS, lease.token) == 0
    assert await redis.get(KEYS.lease) == leases.owner.encode()


async def test_renewing_after_a_takeover_leaves_the_new_holders_lease(
    leases: Leases, others: Leases, redis: Redis
) -> None:
    """It is only told that it is fenced."""
    old = await acquired(leases)
    await taken_over(others)
    assert await leases.renew(KEYS, old.token) == Fenced(commits=0)
    assert await redis.get(KEYS.lease) == others.owner.encode()


async def test_a_renewal_of_a_lease_whose_owner_is_not_known_tells_the_commits_that_stand(
    leases: Leases, redis: Redis
) -> None:
    """Nobody else has come, so nothing was rolled back."""
    lease = await acquired(leases, Seed(place=PLACE, window=()))
    await redis.hset(KEYS.state, "commits", 9)
    await redis.hdel(KEYS.state, "owner")
    assert await leases.renew(KEYS, lease.token) == Fenced(commits=9)


async def test_renewing_in_an_emptied_redis_is_lost(leases: Leases, redis: Redis) -> None:
    """And sets nothing up."""
    lease = await acquired(leases)
    await redis.flushall()
    assert await leases.renew(KEYS, lease.token) == Lost()
    assert await redis.keys() == []


# Giving back


async def test_a_released_lease_is_free_at_once(leases: Leases, others: Leases) -> None:
    """The next worker need not wait for it to expire."""
    await leases.release(KEYS, (await acquired(leases)).token)
    await acquired(others)


async def test_a_renewal_that_comes_after_the_release_does_not_bring_the_lease_back(
    leases: Leases, others: Leases
) -> None:
    """Both were on their way at once; the lease would be nobody's for a whole life."""
    lease = await acquired(leases)
    await leases.release(KEYS, lease.token)
    assert await leases.renew(KEYS, lease.token) == Fenced(commits=0)
    assert isinstance(await others.acquire(KEYS), Lease)


@pytest.mark.parametrize("left", [True, False], ids=["a part is left", "all of it is gone"])
async def test_a_window_is_set_up_alone_in_the_place_of_what_is_left_of_it(
    leases: Leases, redis: Redis, left: bool
) -> None:
    """It was deleted or evicted while the state stayed, and its holder may have written some of it since."""
    await acquired(leases, Seed(place=PLACE, window=(b"1\n12345678a",)))
    if not left:
        await redis.delete(KEYS.seen)
    restored = await leases.acquire(KEYS, WindowOnly(window=(b"1\n87654321b", b"1\n12345678a")))
    assert isinstance(restored, Lease)
    assert (restored.place, restored.window) == (PLACE, (b"1\n87654321b", b"1\n12345678a"))


@pytest.mark.parametrize(
    "start",
    [WindowOnly(window=(b"1\n87654321b",)), Seed(place=PLACE, window=(b"1\n87654321b",))],
    ids=["window", "seed"],
)
async def test_what_was_found_before_redis_went_back_is_not_set_up(leases: Leases, redis: Redis, start: Start) -> None:
    """A window made of entries that are gone would pass them for known when they are sent again, and lose them."""
    await acquired(leases)
    state, before = await redis.dump(KEYS.state), await hash_of(redis)
    lease = await acquired(leases)  # under this token the entries were read
    await redis.delete(KEYS.state)
    await redis.restore(KEYS.state, 0, state or b"")
    assert await leases.acquire(KEYS, start, under=lease.token) is None
    assert (await hash_of(redis), await redis.exists(KEYS.seen)) == (before, 0)
    again = await leases.acquire(KEYS, start, under=(await acquired(leases)).token)
    assert isinstance(again, Lease)
    assert again.window == start.window  # type: ignore[union-attr]


async def test_releasing_leaves_the_place(leases: Leases, redis: Redis) -> None:
    """Only the owner goes."""
    lease = await acquired(leases)
    await redis.hset(KEYS.state, mapping={"cursor": "e5", "commits": 3})
    await leases.release(KEYS, lease.token)
    state = await hash_of(redis)
    assert b"owner" not in state
    assert (state[b"cursor"], state[b"commits"], state[b"token"]) == (b"e5", b"3", lease.token.encode())


async def test_a_lease_that_is_no_longer_ours_is_not_released(leases: Leases, others: Leases, redis: Redis) -> None:
    """A worker that wakes up late must not free another's session."""
    old = await acquired(leases)
    await taken_over(others)
    before = await hash_of(redis)
    await leases.release(KEYS, old.token)
    assert await redis.get(KEYS.lease) == others.owner.encode()
    assert await hash_of(redis) == before


async def test_a_lease_key_of_another_is_not_deleted_by_a_release(leases: Leases, redis: Redis) -> None:
    """The token is still ours, after a failover say; the key is not."""
    lease = await acquired(leases)
    await redis.set(KEYS.lease, "another", px=30_000)
    await leases.release(KEYS, lease.token)
    assert await redis.get(KEYS.lease) == b"another"


async def test_leases_given_back_are_counted(leases: Leases) -> None:
    """So that others can be told that there is something to take."""
    lease = await acquired(leases)
    assert leases.releases == 0
    await leases.release(KEYS, lease.token)
    assert leases.releases == 1


async def test_a_lease_can_be_left_to_one_worker(link: RedisLink, leases: Leases, others: Leases) -> None:
    """It acquires it as everybody does, and gets a new token; to the others it is held."""
    lease = await acquired(leases)
    await leases.release(KEYS, lease.token, successor=others.owner)
    answer = await Leases(link, "third", 30).acquire(KEYS)
    assert isinstance(answer, HeldBy)
    assert (answer.owner, answer.lapsed) == (others.owner, False)
    assert leases.releases == 0, "there is nothing to take for the others"
    assert await leases.renew(KEYS, lease.token) == Fenced(commits=0)
    taken = await acquired(others)
    assert taken.token.startswith("2-")


async def test_a_lease_that_was_left_to_a_worker_is_not_kept_for_ever(
    leases: Leases, others: Leases, redis: Redis
) -> None:
    """That one has died meanwhile."""
    await leases.release(KEYS, (await acquired(leases)).token, successor="dead/1")
    assert 29_000 < await redis.pttl(KEYS.lease) <= 30_000
    await redis.delete(KEYS.lease)  # as when it has run out
    assert isinstance(await others.acquire(KEYS), Lease)


async def test_only_ones_own_lease_can_be_left_to_another(leases: Leases, others: Leases, redis: Redis) -> None:
    """Neither one that was lost, nor one whose key somebody else has."""
    old = await acquired(leases)
    new = await taken_over(others)
    await leases.release(KEYS, old.token, successor="third/1")
    assert await redis.get(KEYS.lease) == others.owner.encode()
    await redis.set(KEYS.lease, "another", px=30_000)
    await others.release(KEYS, new.token, successor="third/1")
    assert await redis.get(KEYS.lease) == b"another"


async def test_releasing_in_an_emptied_redis_is_harmless(leases: Leases, redis: Redis) -> None:
    """Nothing is written."""
    lease = await acquired(leases)
    await redis.flushall()
    await leases.release(KEYS, lease.token)
    assert await redis.keys() == []


# Where Redis has no place


async def test_a_session_without_a_place_can_be_left_alone(leases: Leases, redis: Redis) -> None:
    """Somebody else may know it, and must come first: nothing is written."""
    assert await leases.acquire(KEYS, Wait()) is None
    assert await redis.keys() == []


async def test_a_session_with_a_place_is_taken_all_the_same(leases: Leases, redis: Redis) -> None:
    """There is nothing to wait for."""
    await redis.hset(KEYS.state, mapping={"token": "3-x", "cursor": "e5", "commits": 3})
    assert isinstance(await leases.acquire(KEYS, Wait()), Lease)


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


async def test_the_search_goes_back_page_by_page_and_misses_no_entry(leases: Leases, redis: Redis) -> None:
    """Each page begins behind the last entry of the one before it; fields may stand in any order."""
    await add(redis, 150)
    fields: Any = {"session_id": "lsn-1", "seq": 151, "data": "151", "type": "t", "id": "e151", "received_at": "1"}
    await redis.xadd(KEYS.events, fields)
    await redis.xadd(KEYS.events, {"id": "lsn-1", "data": "session_id", "type": "t"})
    seed = await leases.find_seed(KEYS, "lsn-1")
    assert seed
    assert seed.place == Place(cursor="e151", seq=151)
    known = Window(1000, seed.window)
    assert len(known) == 151
    assert all(known.get(f"e{number}") == digest_of(b"%d" % number) for number in range(1, 152))


async def test_no_entries_tell_no_place(leases: Leases, redis: Redis) -> None:
    """Neither an empty stream nor one of other sessions."""
    assert await leases.find_seed(KEYS, "lsn-1") is None
    await add(redis, 1, "lsn-2")
    assert await leases.find_seed(KEYS, "lsn-1") is None


# Setting up a place again


async def test_a_remembered_place_is_set_up_where_redis_has_none(leases: Leases, redis: Redis) -> None:
    """Cursor, numbers and window; and it is said."""
    await redis.rpush(KEYS.seen, b"left over")
    lease = await acquired(leases, Seed(place=PLACE, window=(blob("e8"), blob("e9"))))
    assert lease == Lease(
        token=lease.token, place=PLACE, phase=Phase.ACTIVE, window=(blob("e8"), blob("e9")), seeded=True
    )
    assert (await hash_of(redis))[b"seq"] == b"12"


async def test_a_remembered_place_does_not_touch_one_that_is_there(leases: Leases, redis: Redis) -> None:
    """What Redis knows is what was committed, even where it is older."""
    await redis.hset(KEYS.state, mapping={"token": "3-x", "cursor": "e5", "ordinal": 0, "seq": 6, "commits": 3})
    await redis.rpush(KEYS.seen, blob("e5"))
    lease = await acquired(leases, Seed(place=PLACE, window=(blob("e9"),)))
    assert (lease.place, lease.window) == (Place(cursor="e5", ordinal=0, seq=6, commits=3), (blob("e5"),))
    assert not lease.seeded
    assert lease.token.startswith("4-")


async def test_a_seed_for_a_session_that_another_holds_is_not_written(
    leases: Leases, others: Leases, redis: Redis
) -> None:
    """The holder has set up its own."""
    await acquired(leases)
    before = await hash_of(redis)
    assert isinstance(await others.acquire(KEYS, Seed(place=PLACE, window=())), HeldBy)
    assert await hash_of(redis) == before


async def test_a_session_that_has_ended_is_claimed_as_such(leases: Leases, redis: Redis) -> None:
    """The phase is the committed one."""
    await redis.hset(KEYS.state, mapping={"token": "1-x", "phase": "ended"})
    assert (await acquired(leases)).phase is Phase.ENDED


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
    assert (await acquired(leases)).token.startswith("1-")
