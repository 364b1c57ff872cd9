"""One session over all the times a worker holds it: taking, losing, handing over, and a Redis that forgot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bridge.delivery.window import Window
from bridge.lab.redis_server import RedisServer
from bridge.lab.simulator import Closing, LensStatus, SimulatedSession, Simulator
from bridge.model.labels import SessionState
from bridge.model.outcomes import HeldBy
from bridge.model.place import Lease
from bridge.store.leases import Leases
from bridge.worker.holder import SessionHolder
from tests.support.fakes import until
from tests.support.pump_rig import KEYS, Rig, rig_of


@pytest.fixture
async def holder(rig: Rig) -> AsyncIterator[SessionHolder]:
    """What the worker has to do with the session; handed over at the end."""
    made = rig.holder()
    yield made
    await left(made)


async def left(holder: SessionHolder) -> None:
    """Hand it over, and wait."""
    holder.hand_over()
    async with asyncio.timeout(20):
        await holder.finished()


async def robbed(rig: Rig) -> Leases:
    """Another worker takes the session over."""
    other = Leases(rig.link, "other", 30)
    held = await other.acquire(KEYS)
    assert isinstance(held, HeldBy)
    assert isinstance(await other.acquire(KEYS, overdue=held.beat), Lease)
    return other


async def settled(holder: SessionHolder) -> None:
    """Wait until it is no longer held."""
    async with asyncio.timeout(20):
        await holder.finished()


async def landed(rig: Rig, count: int) -> None:
    """Wait until so many entries are committed."""
    await until(lambda: rig.figures.seq >= count)


async def taken(holder: SessionHolder) -> None:
    """Take it; it must be free."""
    await holder.take()
    assert holder.held, holder.figures.last_error


async def seqs(rig: Rig) -> list[int]:
    """The numbers of all entries."""
    return [int(entry["seq"]) for entry in await rig.entries()]


async def test_a_session_is_taken_read_and_handed_over(
    holder: SessionHolder, rig: Rig, session: SimulatedSession
) -> None:
    """Afterwards the lease is free, and the next one goes on behind it."""
    assert (holder.wanted, holder.held) == (True, False)
    session.generate(3)
    await taken(holder)
    assert (holder.wanted, rig.figures.owner) == (False, rig.leases.owner)
    await landed(rig, 3)
    await left(holder)
    assert not await rig.redis.exists(KEYS.lease)
    assert (holder.wanted, rig.figures.owner, rig.figures.state) == (True, None, SessionState.STANDBY)
    session.generate(2)
    await taken(holder)
    await landed(rig, 5)
    assert await rig.ids() == ["1", "2", "3", "4", "5"]


async def test_a_session_that_another_worker_holds_is_left_to_it(holder: SessionHolder, rig: Rig) -> None:
    """Its owner is shown."""
    other = Leases(rig.link, "other", 30)
    await other.acquire(KEYS)
    await holder.take()
    assert (holder.held, rig.figures.owner) == (False, other.owner)
    assert rig.figures.state is SessionState.STANDBY


async def test_a_session_that_is_held_is_asked_for_again_when_its_lease_would_end_or_when_told(
    holder: SessionHolder, rig: Rig
) -> None:
    """Not at each look: a worker may stand by for a thousand of them."""
    other = Leases(rig.link, "other", 1)
    lease = await other.acquire(KEYS)
    assert isinstance(lease, Lease)
    wanted = []
    for _ in range(2):
        await holder.take()
        wanted.append(holder.wanted)
        holder.look_again()
        wanted.append(holder.wanted)
    assert wanted == [False, True, False, True]
    await other.release(KEYS, lease.token)
    holder.look_again()
    await taken(holder)


async def test_a_lease_that_nobody_renews_is_taken_over_by_ones_own_clock(holder: SessionHolder, rig: Rig) -> None:
    """Redis's clock went back an hour just after its holder had died."""
    await Leases(rig.link, "other", 1).acquire(KEYS)
    await rig.redis.pexpire(KEYS.lease, 3_583_000)
    await holder.take()
    assert not holder.held
    await until(lambda: holder.wanted)
    await taken(holder)
    assert await rig.redis.get(KEYS.lease) == rig.leases.owner.encode()


async def test_a_holder_that_renews_keeps_its_session_whatever_becomes_of_the_lease_key(
    holder: SessionHolder, rig: Rig
) -> None:
    """A Redis that is short of memory evicts keys with a time to live, this one above all."""
    other = Leases(rig.link, "other", 1)
    lease = await other.acquire(KEYS)
    assert isinstance(lease, Lease)
    for _ in range(3):
        await rig.redis.delete(KEYS.lease)
        await until(lambda: holder.wanted)
        await holder.take()
        assert not holder.held
        assert await other.renew(KEYS, lease.token) == 0
    await rig.redis.delete(KEYS.lease)
    holder.watch_anew()
    await holder.take()
    assert not holder.held, "after an outage of Redis the holder has its whole time again"


async def test_a_lease_of_a_worker_that_is_known_to_be_dead_is_taken_at_once(holder: SessionHolder, rig: Rig) -> None:
    """The register says so."""
    other = Leases(rig.link, "other", 30)
    await other.acquire(KEYS)
    asked: list[HeldBy] = []

    def is_gone(held: HeldBy) -> bool:
        asked.append(held)
        return held.owner == other.owner

    await holder.take(is_gone)
    assert holder.held
    assert [held.lapsed for held in asked] == [False]


async def test_handing_over_twice_is_handing_over_once(holder: SessionHolder, session: SimulatedSession) -> None:
    """It says that it is leaving meanwhile."""
    await taken(holder)
    holder.hand_over()
    holder.hand_over()
    assert (holder.held, holder.leaving) == (True, True)
    await settled(holder)
    assert not holder.leaving


async def test_a_takeover_is_noticed_at_the_next_renewal(
    holder: SessionHolder, rig: Rig, session: SimulatedSession
) -> None:
    """An idle session writes nothing that could be refused."""
    await taken(holder)
    other = await robbed(rig)
    await holder.renew()
    await settled(holder)
    assert rig.figures.fenced == 1
    assert await rig.redis.get(KEYS.lease) == other.owner.encode(), "it released what is another's"
    assert rig.figures.state is SessionState.STANDBY


async def test_a_rollback_is_noticed_at_the_next_renewal_and_read_again(
    holder: SessionHolder, rig: Rig, session: SimulatedSession
) -> None:
    """Counted once; the stream ends up whole, with the same ids and numbers."""
    session.generate(2)
    await taken(holder)
    await landed(rig, 2)
    kept = {key: await rig.redis.dump(key) for key in (KEYS.events, KEYS.state, KEYS.seen)}
    session.generate(2)
    await landed(rig, 4)
    await rig.redis.delete(*kept)
    for key, value in kept.items():
        assert value
        await rig.redis.restore(key, 0, value)
    await holder.renew()
    await settled(holder)
    await taken(holder)
    await landed(rig, 4)
    assert await rig.ids() == ["1", "2", "3", "4"]
    assert await seqs(rig) == [1, 2, 3, 4]
    assert rig.figures.rollbacks == 1


async def test_nothing_that_is_in_order_is_a_rollback_or_a_gap(
    holder: SessionHolder, rig: Rig, session: SimulatedSession
) -> None:
    """Take, land, renew, hand over, take again: it is still held, and nothing was lost."""
    for round in range(1, 4):
        await taken(holder)
        session.generate(2)
        await landed(rig, 2 * round)
        await holder.renew()
        assert holder.held
        await left(holder)
        assert rig.figures.state is SessionState.STANDBY
    assert (rig.figures.rollbacks, rig.figures.fenced) == (0, 0)
    assert await rig.markers() == []
    assert await rig.ids() == ["1", "2", "3", "4", "5", "6"]


async def test_a_rollback_is_counted_once_however_often_the_session_is_taken(
    holder: SessionHolder, rig: Rig, session: SimulatedSession
) -> None:
    """It has been said; and after an emptied Redis a later taking marks no second gap."""
    session.generate(2)
    await taken(holder)
    await landed(rig, 2)
    await rig.redis.flushall()
    await holder.renew()
    await settled(holder)
    for count in (3, 4, 5):
        await taken(holder)
        session.generate(1)
        await landed(rig, count)
        await left(holder)
    assert (rig.figures.rollbacks, await rig.markers()) == (1, ["bridge.gap"])
    await taken(holder)
    await rig.redis.hset(KEYS.state, "commits", 1)
    await holder.renew()
    await settled(holder)
    assert rig.figures.rollbacks == 2
    for _ in range(2):
        await taken(holder)
        await left(holder)
    assert rig.figures.rollbacks == 2


async def test_a_rollback_that_is_found_at_a_later_taking_is_counted_once(
    holder: SessionHolder, rig: Rig, session: SimulatedSession
) -> None:
    """Redis was restored from a snapshot while nobody read."""
    session.generate(2)
    await taken(holder)
    await landed(rig, 2)
    await left(holder)
    await rig.redis.hset(KEYS.state, mapping={"commits": 0, "seq": 0, "cursor": "", "mark": ""})
    await rig.redis.delete(KEYS.events, KEYS.seen)
    await taken(holder)
    assert rig.figures.rollbacks == 1
    await landed(rig, 2)
    await left(holder)
    await taken(holder)
    assert rig.figures.rollbacks == 1


async def test_an_older_token_after_a_failover_is_a_rollback_too(
    holder: SessionHolder, rig: Rig, session: SimulatedSession
) -> None:
    """Told as a fence first; the place that is found then gives it away."""
    session.generate(2)
    await taken(holder)
    await landed(rig, 2)
    await rig.redis.hset(KEYS.state, mapping={"token": "0-older", "commits": 0, "seq": 0, "cursor": ""})
    await rig.redis.delete(KEYS.events, KEYS.seen)
    await holder.renew()
    await settled(holder)
    assert rig.figures.fenced == 1
    await taken(holder)
    await until(lambda: rig.figures.rollbacks == 1)


async def test_an_emptied_redis_is_gone_on_with_from_memory(
    holder: SessionHolder, rig: Rig, session: SimulatedSession
) -> None:
    """With a gap marker, behind the last number; nothing is published a second time."""
    session.generate(3)
    await taken(holder)
    await landed(rig, 3)
    await rig.redis.flushall()
    await holder.renew()
    await settled(holder)
    session.generate(1)
    await holder.take(begin=False)
    assert holder.held, "who held it knows its place best"
    await landed(rig, 4)
    marker, _ = await rig.entries()
    assert (marker["type"], marker["seq"]) == ("bridge.gap", "3")
    assert await rig.ids() == ["4"]
    assert rig.figures.rollbacks == 1


async def test_an_emptied_redis_may_be_read_into_again(
    simulator: Simulator, redis_server: RedisServer, session: SimulatedSession
) -> None:
    """redis.on_lost: restart brings back all that the server still has, behind a gap marker."""
    async with rig_of(simulator.base_url, redis_server.url, redis={"on_lost": "restart"}) as rig:
        holder = rig.holder()
        session.generate(3)
        await taken(holder)
        await landed(rig, 3)
        await rig.redis.flushall()
        await holder.renew()
        await settled(holder)
        await taken(holder)
        await landed(rig, 3)
        assert await rig.markers() == ["bridge.gap"]
        assert await seqs(rig) == [0, 1, 2, 3], "and each event has its number again"
        assert await rig.ids() == ["1", "2", "3"]
        await left(holder)


async def test_an_emptied_redis_may_be_left_to_a_person(
    simulator: Simulator, redis_server: RedisServer, session: SimulatedSession
) -> None:
    """redis.on_lost: stop."""
    async with rig_of(simulator.base_url, redis_server.url, redis={"on_lost": "stop"}) as rig:
        holder = rig.holder()
        session.generate(3)
        await taken(holder)
        await landed(rig, 3)
        await rig.redis.flushall()
        await holder.renew()
        await settled(holder)
        assert rig.figures.state is SessionState.FAILED
        assert (holder.wanted, holder.over) == (False, True)
        assert await rig.redis.keys() == []


async def test_a_session_whose_place_nobody_knows_can_be_left_alone(holder: SessionHolder, rig: Rig) -> None:
    """Another worker may know it."""
    await holder.take(begin=False)
    assert not holder.held
    assert await rig.redis.keys() == []


async def test_a_deleted_state_is_made_up_from_the_entries(
    holder: SessionHolder, rig: Rig, session: SimulatedSession
) -> None:
    """A worker that knows nothing goes on behind the last entry."""
    session.generate(3)
    await taken(holder)
    await landed(rig, 3)
    await left(holder)
    await rig.redis.delete(KEYS.state, KEYS.seen)
    session.generate(1)
    other = rig.holder()
    await taken(other)
    await landed(rig, 4)
    assert await rig.ids() == ["1", "2", "3", "4"]
    assert await seqs(rig) == [1, 2, 3, 3, 4], "the gap marker takes none"
    await left(other)


async def test_a_window_that_was_deleted_is_made_up_from_the_entries(
    holder: SessionHolder, rig: Rig, session: SimulatedSession
) -> None:
    """A replay is recognised all the same; without entries there is nothing to make it of, and it goes on."""
    session.generate(3)
    await taken(holder)
    await landed(rig, 3)
    await left(holder)
    await rig.redis.delete(KEYS.seen)
    await taken(holder)
    assert await rig.redis.llen(KEYS.seen) == 1
    await left(holder)
    await rig.redis.delete(KEYS.seen, KEYS.events)
    await taken(holder)
    assert await rig.redis.exists(KEYS.seen) == 0
    session.generate(1)
    await landed(rig, 4)
    assert (await rig.ids(), rig.figures.rollbacks, await rig.markers()) == (["4"], 0, [])


async def test_a_window_that_was_deleted_under_its_holder_is_made_whole_at_the_next_taking(
    holder: SessionHolder, rig: Rig, session: SimulatedSession
) -> None:
    """The holder goes on with its own memory and writes the newest part again; the next one must know all of it."""
    session.generate(1200)
    await taken(holder)
    await landed(rig, 1200)
    await rig.redis.delete(KEYS.seen)
    session.generate(3)
    await landed(rig, 1203)
    await left(holder)
    await taken(holder)
    blobs: Any = await rig.redis.lrange(KEYS.seen, 0, -1)
    assert len(Window(2048, blobs)) == 1203
    await left(holder)


async def test_a_window_made_of_entries_that_a_rollback_took_loses_no_event(
    holder: SessionHolder, rig: Rig, session: SimulatedSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis fails over just between reading the entries and setting up the window."""
    await taken(holder)
    session.generate(3)
    await landed(rig, 3)
    keys = (KEYS.events, KEYS.state, KEYS.seen)
    snapshot = {key: await rig.redis.dump(key) for key in keys}
    session.generate(3)
    await landed(rig, 6)
    await left(holder)
    await rig.redis.delete(KEYS.seen)
    find_seed = rig.leases.find_seed

    async def fail_over(*arguments: Any) -> Any:
        monkeypatch.undo()
        seed = await find_seed(*arguments)
        await rig.redis.delete(*keys)
        for key, value in snapshot.items():
            await rig.redis.restore(key, 0, value or b"")
        return seed

    monkeypatch.setattr(rig.leases, "find_seed", fail_over)
    other = rig.holder()
    while not other.held:
        await other.take()
    await landed(rig, 6)
    assert await rig.ids() == ["1", "2", "3", "4", "5", "6"]
    await left(other)


async def test_the_newest_memory_sets_up_an_emptied_redis(
    holder: SessionHolder, rig: Rig, session: SimulatedSession
) -> None:
    """Another worker went on after this one; its entries tell more than what this one remembers."""
    session.generate(2)
    await taken(holder)
    await landed(rig, 2)
    await left(holder)
    other = rig.holder()
    session.generate(3)
    await taken(other)
    await landed(rig, 5)
    await left(other)
    await rig.redis.delete(KEYS.state, KEYS.seen)
    session.generate(1)
    await taken(holder)
    await landed(rig, 6)
    assert await rig.ids() == ["1", "2", "3", "4", "5", "6"]


async def test_ones_own_memory_sets_up_an_emptied_redis_where_the_entries_tell_nothing(
    holder: SessionHolder, rig: Rig, session: SimulatedSession
) -> None:
    """The stream was trimmed or deleted with the rest."""
    session.generate(3)
    await taken(holder)
    await landed(rig, 3)
    await left(holder)
    await rig.redis.xtrim(KEYS.events, maxlen=0)
    await rig.redis.delete(KEYS.state, KEYS.seen)
    session.generate(1)
    await taken(holder)
    await landed(rig, 4)
    assert await rig.ids() == ["4"]


@pytest.mark.parametrize("held", [True, False], ids=["while it is read", "while nobody reads it"])
async def test_a_redis_that_went_back_and_lost_the_state_besides_loses_no_event(
    holder: SessionHolder, rig: Rig, session: SimulatedSession, held: bool
) -> None:
    """What this worker remembers is ahead of what stands: the entries tell where to go on."""
    session.generate(3)
    await taken(holder)
    await landed(rig, 3)
    if not held:
        await left(holder)
    found: Any = await rig.redis.xrevrange(KEYS.events, count=1)
    await rig.redis.xdel(KEYS.events, found[0][0])
    await rig.redis.delete(KEYS.state, KEYS.seen)
    session.generate(1)
    if held:
        await settled(holder)
    await taken(holder)
    await landed(rig, 4)
    assert await rig.ids() == ["1", "2", "3", "4"]


async def test_a_session_that_is_no_longer_listed_is_looked_for_less_and_less_often(
    simulator: Simulator, redis_server: RedisServer
) -> None:
    """The metadata is not asked at every look."""
    async with rig_of(simulator.base_url, redis_server.url, source={"slow_retry_seconds": 0.15}) as rig:
        holder = rig.holder()
        loop = asyncio.get_running_loop()
        await taken(holder)
        await settled(holder)
        waits = []
        for _ in range(3):
            began = loop.time()
            assert not holder.wanted
            await until(lambda: holder.wanted)
            waits.append(loop.time() - began)
            await taken(holder)
            await settled(holder)
        assert waits[1] >= 0.2
        assert waits[2] >= 0.4


async def test_a_session_that_has_ended_is_not_taken_again(
    holder: SessionHolder, rig: Rig, session: SimulatedSession
) -> None:
    """The lease is free; the state says so."""
    session.generate(1)
    await taken(holder)
    await landed(rig, 1)
    session.set_status(LensStatus.FAILED)
    session.drop(Closing.END)
    await settled(holder)
    assert rig.figures.state is SessionState.ENDED
    rig.figures.enter(SessionState.STREAMING)  # what is shown decides nothing
    assert (holder.wanted, holder.over, holder.done, holder.never_seen) == (False, True, True, False)
    assert not await rig.redis.exists(KEYS.lease)


async def test_a_session_that_nobody_knows_is_looked_for_again(simulator: Simulator, redis_server: RedisServer) -> None:
    """It may be created later; then it is read."""
    async with rig_of(simulator.base_url, redis_server.url) as rig:
        holder = rig.holder()
        await taken(holder)
        await settled(holder)
        assert rig.figures.state is SessionState.GONE
        rig.figures.enter(SessionState.STREAMING)  # what is shown decides nothing
        assert (holder.over, holder.done, holder.never_seen) == (False, True, True)
        simulator.create_session("lsn-1").generate(2)
        await until(lambda: holder.wanted)
        await taken(holder)
        await landed(rig, 2)
        assert (holder.done, holder.never_seen) == (False, False)
        await left(holder)
        assert (holder.done, holder.never_seen) == (False, False)


async def test_a_refused_lease_is_shown_and_tried_again_later(holder: SessionHolder, rig: Rig) -> None:
    """It concerns this session alone, so it raises nothing."""
    await rig.redis.set(KEYS.seen, "somebody else's")
    await holder.take()
    assert (holder.held, holder.wanted) == (False, False)
    assert "WRONGTYPE" in (rig.figures.last_error or "")


DAMAGE: list[dict[str, Any]] = [{"seq": "many"}, {"commits": "x"}, {"ordinal": "-"}, {"phase": "no-such-phase"}]


@pytest.mark.parametrize("damage", DAMAGE)
async def test_a_state_that_makes_no_sense_concerns_this_session_alone(
    holder: SessionHolder, rig: Rig, damage: dict[str, Any]
) -> None:
    """It is told with the key's name, and must not end the worker."""
    state: dict[Any, Any] = {"token": "1-x", "cursor": "1", "ordinal": "0", "commits": "1", "seq": "1"} | damage
    await rig.redis.hset(KEYS.state, mapping=state)
    await holder.take()
    assert not holder.held
    assert KEYS.state in (rig.figures.last_error or "")
    assert str(next(iter(damage.values()))) in (rig.figures.last_error or "")


@pytest.mark.parametrize("blob", [b"garbage", b"", b"3\nshort", b"\xff\n"])
async def test_a_window_that_makes_no_sense_concerns_this_session_alone(
    holder: SessionHolder, rig: Rig, blob: bytes
) -> None:
    """Somebody has pushed something."""
    await rig.redis.hset(KEYS.state, mapping={"token": "1-x", "commits": "1", "seq": "1"})
    await rig.redis.rpush(KEYS.seen, blob)
    await holder.take()
    assert not holder.held
    assert KEYS.state in (rig.figures.last_error or "")


async def test_entries_of_somebody_else_in_the_stream_concern_this_session_alone(
    holder: SessionHolder, rig: Rig
) -> None:
    """They name our session, and have no number."""
    await rig.redis.xadd(KEYS.events, {"session_id": "lsn-1", "id": "e1"})
    await holder.take()
    assert not holder.held
    assert f"{KEYS.events} holds an entry of lsn-1 that the bridge did not write" in (rig.figures.last_error or "")


async def test_a_crash_concerns_this_session_alone(rig: Rig, session: SimulatedSession) -> None:
    """The lease is given back, and it waits a while before it tries again."""

    def broken(lease: Lease, gap: object) -> Any:
        pump = rig.pump(lease)
        pump._reader = None  # type: ignore[assignment]
        return pump

    holder = rig.holder(make_pump=broken)
    await taken(holder)
    await settled(holder)
    assert rig.figures.last_error == "internal error; see the log"
    assert not await rig.redis.exists(KEYS.lease)
    assert (holder.wanted, rig.figures.state) == (False, SessionState.STANDBY)


async def test_a_rollback_is_counted_once_also_where_a_crash_follows(rig: Rig, session: SimulatedSession) -> None:
    """A session that crashes at each taking must not look like a Redis that forgets each time."""
    sound = True

    def make(lease: Lease, gap: Any) -> Any:
        pump = rig.pump(lease, gap)
        if not sound:
            pump._reader = None  # type: ignore[assignment]
        return pump

    holder = rig.holder(make_pump=make)
    session.generate(2)
    await taken(holder)
    await landed(rig, 2)
    await left(holder)
    await rig.redis.hset(KEYS.state, "commits", 0)
    sound = False
    for _ in range(2):
        await taken(holder)
        await settled(holder)
    assert rig.figures.rollbacks == 1


async def test_attempts_that_do_not_reach_the_source_are_counted_until_one_does(
    redis_server: RedisServer, unused_tcp_port: int
) -> None:
    """Of a session that is read; the worker may then leave it to another one."""
    async with rig_of(f"http://127.0.0.1:{unused_tcp_port}/v0.5", redis_server.url) as rig:
        holder = rig.holder()
        assert holder.unreachable_attempts is None
        await taken(holder)
        await until(lambda: (holder.unreachable_attempts or 0) >= 3)
        async with Simulator(port=unused_tcp_port) as simulator:
            session = simulator.create_session("lsn-1")
            await session.wait_connected()
            await until(lambda: holder.unreachable_attempts == 0)
            session.generate(1)
            await landed(rig, 1)
            await left(holder)
        assert holder.unreachable_attempts is None


async def test_a_renewal_that_gets_no_answer_changes_nothing(
    holder: SessionHolder, rig: Rig, session: SimulatedSession
) -> None:
    """The token decides at the next commit; until then it reads on."""
    await taken(holder)
    await rig.redis.acl_setuser("default", enabled=True, commands=["-evalsha"])
    try:
        await holder.renew()
    finally:
        await rig.redis.acl_setuser("default", enabled=True, commands=["+evalsha"])
    assert holder.held
    assert rig.figures.last_error
    session.generate(1)
    await landed(rig, 1)
