"""One session over all the times a worker holds it: taking, losing, handing over, and a Redis that forgot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bridge.events import Claim, SessionState
from bridge.lease import Leases
from bridge.redis_server import RedisServer
from bridge.simulator import Closing, LensStatus, SimulatedSession, Simulator
from bridge.tenure import Tenure
from tests.component.fakes import until
from tests.component.rig import KEYS, Rig, rig_of


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """Without heartbeats."""
    async with Simulator() as running:
        running.change(heartbeat_interval_seconds=0)
        yield running


@pytest.fixture
def session(simulator: Simulator) -> SimulatedSession:
    """The one that is read."""
    return simulator.create_session("lsn-1")


@pytest.fixture
async def rig(simulator: Simulator, redis_server: RedisServer) -> AsyncIterator[Rig]:
    """All parts."""
    async with rig_of(simulator.base_url, redis_server.url) as made:
        yield made


@pytest.fixture
async def tenure(rig: Rig) -> AsyncIterator[Tenure]:
    """What the worker has to do with the session; handed over at the end."""
    made = rig.tenure()
    yield made
    await left(made)


async def left(tenure: Tenure) -> None:
    """Hand it over, and wait."""
    tenure.hand_over()
    async with asyncio.timeout(20):
        await tenure.finished()


async def settled(tenure: Tenure) -> None:
    """Wait until it is no longer held."""
    async with asyncio.timeout(20):
        await tenure.finished()


async def landed(rig: Rig, count: int) -> None:
    """Wait until so many entries are committed."""
    await until(lambda: rig.status.seq >= count)


async def taken(tenure: Tenure) -> None:
    """Take it; it must be free."""
    await tenure.take()
    assert tenure.held, tenure.status.last_error


async def seqs(rig: Rig) -> list[int]:
    """The numbers of all entries."""
    return [int(entry["seq"]) for entry in await rig.entries()]


async def test_a_session_is_taken_read_and_handed_over(tenure: Tenure, rig: Rig, session: SimulatedSession) -> None:
    """Afterwards the lease is free, and the next one goes on behind it."""
    assert (tenure.wanted, tenure.held) == (True, False)
    session.generate(3)
    await taken(tenure)
    assert (tenure.wanted, rig.status.owner) == (False, rig.leases.owner)
    await landed(rig, 3)
    await left(tenure)
    assert not await rig.redis.exists(KEYS.lease)
    assert (tenure.wanted, rig.status.owner, rig.status.state) == (True, None, SessionState.STANDBY)
    session.generate(2)
    await taken(tenure)
    await landed(rig, 5)
    assert await rig.ids() == ["1", "2", "3", "4", "5"]


async def test_a_session_that_another_worker_holds_is_left_to_it(tenure: Tenure, rig: Rig) -> None:
    """Its owner is shown."""
    other = Leases(rig.link, "other", 30)
    await other.acquire(KEYS)
    await tenure.take()
    assert (tenure.held, rig.status.owner) == (False, other.owner)
    assert rig.status.state is SessionState.STANDBY


async def test_handing_over_twice_is_handing_over_once(tenure: Tenure, session: SimulatedSession) -> None:
    """It says that it is leaving meanwhile."""
    await taken(tenure)
    tenure.hand_over()
    tenure.hand_over()
    assert (tenure.held, tenure.leaving) == (True, True)
    await settled(tenure)
    assert not tenure.leaving


async def test_a_takeover_is_noticed_at_the_next_renewal(tenure: Tenure, rig: Rig, session: SimulatedSession) -> None:
    """An idle session writes nothing that could be refused."""
    await taken(tenure)
    await rig.redis.delete(KEYS.lease)
    other = Leases(rig.link, "other", 30)
    await other.acquire(KEYS)
    await tenure.renew()
    await settled(tenure)
    assert rig.status.metrics.fences == 1
    assert await rig.redis.get(KEYS.lease) == other.owner.encode(), "it released what is another's"
    assert rig.status.state is SessionState.STANDBY


async def test_a_rollback_is_noticed_at_the_next_renewal_and_read_again(
    tenure: Tenure, rig: Rig, session: SimulatedSession
) -> None:
    """Counted once; the stream ends up whole, with the same ids and numbers."""
    session.generate(2)
    await taken(tenure)
    await landed(rig, 2)
    kept = {key: await rig.redis.dump(key) for key in (KEYS.events, KEYS.state, KEYS.seen)}
    session.generate(2)
    await landed(rig, 4)
    await rig.redis.delete(*kept)
    for key, value in kept.items():
        assert value
        await rig.redis.restore(key, 0, value)
    await tenure.renew()
    await settled(tenure)
    await taken(tenure)
    await landed(rig, 4)
    assert await rig.ids() == ["1", "2", "3", "4"]
    assert await seqs(rig) == [1, 2, 3, 4]
    assert rig.status.metrics.rollbacks == 1


async def test_an_older_token_after_a_failover_is_a_rollback_too(
    tenure: Tenure, rig: Rig, session: SimulatedSession
) -> None:
    """Told as a fence first; the place that is found then gives it away."""
    session.generate(2)
    await taken(tenure)
    await landed(rig, 2)
    await rig.redis.hset(KEYS.state, mapping={"token": "0-older", "commits": 0, "seq": 0, "cursor": ""})
    await rig.redis.delete(KEYS.events, KEYS.seen)
    await tenure.renew()
    await settled(tenure)
    assert rig.status.metrics.fences == 1
    await taken(tenure)
    await until(lambda: rig.status.metrics.rollbacks == 1)


async def test_an_emptied_redis_is_gone_on_with_from_memory(
    tenure: Tenure, rig: Rig, session: SimulatedSession
) -> None:
    """With a gap marker, behind the last number; nothing is published a second time."""
    session.generate(3)
    await taken(tenure)
    await landed(rig, 3)
    await rig.redis.flushall()
    await tenure.renew()
    await settled(tenure)
    session.generate(1)
    await tenure.take(begin=False)
    assert tenure.held, "who held it knows its place best"
    await landed(rig, 5)
    marker, _ = await rig.entries()
    assert (marker["type"], marker["seq"]) == ("bridge.gap", "4")
    assert await rig.ids() == ["4"]
    assert rig.status.metrics.rollbacks == 1


async def test_an_emptied_redis_may_be_read_into_again(
    simulator: Simulator, redis_server: RedisServer, session: SimulatedSession
) -> None:
    """redis.on_lost: restart brings back all that the server still has, behind a gap marker."""
    async with rig_of(simulator.base_url, redis_server.url, redis={"on_lost": "restart"}) as rig:
        tenure = rig.tenure()
        session.generate(3)
        await taken(tenure)
        await landed(rig, 3)
        await rig.redis.flushall()
        await tenure.renew()
        await settled(tenure)
        await taken(tenure)
        await landed(rig, 4)
        assert await rig.markers() == ["bridge.gap"]
        assert await rig.ids() == ["1", "2", "3"]
        await left(tenure)


async def test_an_emptied_redis_may_be_left_to_a_person(
    simulator: Simulator, redis_server: RedisServer, session: SimulatedSession
) -> None:
    """redis.on_lost: stop."""
    async with rig_of(simulator.base_url, redis_server.url, redis={"on_lost": "stop"}) as rig:
        tenure = rig.tenure()
        session.generate(3)
        await taken(tenure)
        await landed(rig, 3)
        await rig.redis.flushall()
        await tenure.renew()
        await settled(tenure)
        assert rig.status.state is SessionState.FAILED
        assert (tenure.wanted, tenure.over) == (False, True)
        assert await rig.redis.keys() == []


async def test_a_session_whose_place_nobody_knows_can_be_left_alone(tenure: Tenure, rig: Rig) -> None:
    """Another worker may know it."""
    await tenure.take(begin=False)
    assert not tenure.held
    assert await rig.redis.keys() == []


async def test_a_deleted_state_is_made_up_from_the_entries(tenure: Tenure, rig: Rig, session: SimulatedSession) -> None:
    """A worker that knows nothing goes on behind the last entry."""
    session.generate(3)
    await taken(tenure)
    await landed(rig, 3)
    await left(tenure)
    await rig.redis.delete(KEYS.state, KEYS.seen)
    session.generate(1)
    other = rig.tenure()
    await taken(other)
    await landed(rig, 5)
    assert await rig.ids() == ["1", "2", "3", "4"]
    assert await seqs(rig) == [1, 2, 3, 4, 5]
    await left(other)


async def test_a_session_that_has_ended_is_not_taken_again(tenure: Tenure, rig: Rig, session: SimulatedSession) -> None:
    """The lease is free; the state says so."""
    session.generate(1)
    await taken(tenure)
    await landed(rig, 1)
    session.set_status(LensStatus.FAILED)
    session.drop(Closing.END)
    await settled(tenure)
    assert rig.status.state is SessionState.ENDED
    assert (tenure.wanted, tenure.over) == (False, True)
    assert not await rig.redis.exists(KEYS.lease)


async def test_a_session_that_nobody_knows_is_looked_for_again(simulator: Simulator, redis_server: RedisServer) -> None:
    """It may be created later; then it is read."""
    async with rig_of(simulator.base_url, redis_server.url) as rig:
        tenure = rig.tenure()
        await taken(tenure)
        await settled(tenure)
        assert rig.status.state is SessionState.GONE
        assert not tenure.over
        simulator.create_session("lsn-1").generate(2)
        await until(lambda: tenure.wanted)
        await taken(tenure)
        await landed(rig, 2)
        await left(tenure)


async def test_a_refused_lease_is_shown_and_tried_again_later(tenure: Tenure, rig: Rig) -> None:
    """It concerns this session alone, so it raises nothing."""
    await rig.redis.set(KEYS.seen, "somebody else's")
    await tenure.take()
    assert (tenure.held, tenure.wanted) == (False, False)
    assert "WRONGTYPE" in (rig.status.last_error or "")


DAMAGE: list[dict[str, Any]] = [{"seq": "many"}, {"commits": "x"}, {"ordinal": "-"}, {"phase": "no-such-phase"}]


@pytest.mark.parametrize("damage", DAMAGE)
async def test_a_state_that_makes_no_sense_concerns_this_session_alone(
    tenure: Tenure, rig: Rig, damage: dict[str, Any]
) -> None:
    """It is told with the key's name, and must not end the worker."""
    state: dict[Any, Any] = {"token": "1-x", "commits": "1", "seq": "1"} | damage
    await rig.redis.hset(KEYS.state, mapping=state)
    await tenure.take()
    assert not tenure.held
    assert KEYS.state in (rig.status.last_error or "")
    assert str(next(iter(damage.values()))) in (rig.status.last_error or "")


@pytest.mark.parametrize("blob", [b"garbage", b"", b"3\nshort", b"\xff\n"])
async def test_a_window_that_makes_no_sense_concerns_this_session_alone(tenure: Tenure, rig: Rig, blob: bytes) -> None:
    """Somebody has pushed something."""
    await rig.redis.hset(KEYS.state, mapping={"token": "1-x", "commits": "1", "seq": "1"})
    await rig.redis.rpush(KEYS.seen, blob)
    await tenure.take()
    assert not tenure.held
    assert KEYS.state in (rig.status.last_error or "")


async def test_entries_of_somebody_else_in_the_stream_concern_this_session_alone(tenure: Tenure, rig: Rig) -> None:
    """They name our session, and have no number."""
    await rig.redis.xadd(KEYS.events, {"session_id": "lsn-1", "id": "e1"})
    await tenure.take()
    assert tenure.held or rig.status.last_error


async def test_a_crash_concerns_this_session_alone(rig: Rig, session: SimulatedSession) -> None:
    """The lease is given back, and it waits a while before it tries again."""

    def broken(claim: Claim, gap: object) -> Any:
        pump = rig.pump(claim)
        pump._reader = None  # type: ignore[assignment]
        return pump

    tenure = rig.tenure(make_pump=broken)
    await taken(tenure)
    await settled(tenure)
    assert rig.status.last_error == "internal error; see the log"
    assert not await rig.redis.exists(KEYS.lease)
    assert (tenure.wanted, rig.status.state) == (False, SessionState.STANDBY)


async def test_a_renewal_that_gets_no_answer_changes_nothing(
    tenure: Tenure, rig: Rig, session: SimulatedSession
) -> None:
    """The token decides at the next commit; until then it reads on."""
    await taken(tenure)
    await rig.redis.acl_setuser("default", enabled=True, commands=["-evalsha"])
    try:
        await tenure.renew()
    finally:
        await rig.redis.acl_setuser("default", enabled=True, commands=["+evalsha"])
    assert tenure.held
    assert rig.status.last_error
    session.generate(1)
    await landed(rig, 1)
