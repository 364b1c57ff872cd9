"""What an enemy of the guarantee would try: damaged keys, old memories, and settings that are rarely used."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from bridge.lab.redis_server import RedisServer
from bridge.lab.simulator import Closing, Endpoint, FreshRule, Refusal, SimulatedSession
from tests.support.proxy import Proxy
from tests.support.worker import until
from tests.support.worker_rig import Rig, keys_of


async def test_a_gap_with_markers_off_is_counted_and_stops_nothing(rig: Rig) -> None:
    """A server without ids leaves a gap at each reconnect, and then there is nothing to append for it."""
    session = rig.simulator.create_session("lsn-unmarked")
    session.change(ids=False)
    worker = await rig.worker(session, stream__markers=False).start()
    for count in range(1, 4):
        await session.wait_connected()
        session.generate(20)
        await rig.reaches(session, 20 * count)
        session.drop(Closing.CUT)
        await until(worker.counts("gaps_total", count, reason="no_cursor"), "the gap is counted")
    await rig.assert_kept(session)
    assert not worker.said("session.crashed")


async def test_a_lost_state_is_rebuilt_from_the_entries_and_not_from_an_older_memory(rig: Rig) -> None:
    """The first worker remembers where it stood; the second one went on, died, and the state was deleted."""
    session = rig.simulator.create_session("lsn-remembered")
    first = await rig.worker(session).start()
    await session.wait_connected()
    session.generate(100)
    await rig.reaches(session, 100)
    second = await (await rig.worker(session).start()).wait_ready()
    first.pause()
    await until(lambda: bool(second.said("lease.taken")), "the second worker takes over")
    session.generate(100)
    await rig.reaches(session, 200)
    await second.kill()
    await rig.client.delete(keys_of(session).state, keys_of(session).seen)
    first.resume()
    session.generate(10)
    report = await rig.assert_kept(session)
    assert report.sessions[0].events == 210
    assert report.sessions[0].gaps == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [("commits", "abc"), ("seq", "1.5"), ("ordinal", ""), ("phase", "over"), ("cursor", b"\xff"), ("token", "x")],
)
async def test_a_damaged_state_stops_its_own_session_until_it_is_deleted(rig: Rig, field: str, value: str) -> None:
    """Somebody wrote into the hash by hand. The other session goes on, and the message says what to do."""
    damaged, sound = rig.simulator.create_session("lsn-damaged"), rig.simulator.create_session("lsn-sound")
    worker = await rig.worker(damaged, sound).start()
    damaged.generate(5)
    await rig.reaches(damaged, 5)
    await worker.kill()
    await rig.client.hset(keys_of(damaged).state, field, value)
    damaged.generate(5)
    await worker.start()
    if field != "token":  # any token is as good as none
        await until(lambda: bool(worker.said("lease.not_taken")), "the damage is told")
        assert keys_of(damaged).state in worker.said("lease.not_taken")[0]["error"]
    sound.generate(5)
    await rig.reaches(sound, 5)
    if field != "token":
        await rig.client.delete(keys_of(damaged).state)
    await rig.assert_kept(damaged, sound)
    assert worker.running


@pytest.mark.parametrize("key", ["seen", "events"])
async def test_foreign_things_in_the_keys_of_a_session_stop_that_session_alone(rig: Rig, key: str) -> None:
    """An entry that is not ours at the end of the stream, and an element that is not ours in the dedupe window."""
    damaged, sound = rig.simulator.create_session("lsn-damaged"), rig.simulator.create_session("lsn-sound")
    name = getattr(keys_of(damaged), key)
    if key == "seen":
        await rig.client.rpush(name, "hello")
    else:
        await rig.client.xadd(name, {"session_id": "lsn-damaged", "hello": "world"})
    worker = await rig.worker(damaged, sound).start()
    await until(lambda: bool(worker.said("lease.not_taken")), "the damage is told")
    assert name in worker.said("lease.not_taken")[0]["error"]
    damaged.generate(5)
    sound.generate(5)
    await rig.reaches(sound, 5)
    await rig.client.delete(name)
    await rig.assert_kept(damaged, sound)


async def test_a_seq_damaged_under_a_running_worker_writes_nothing_until_it_is_mended(rig: Rig) -> None:
    """Not even dead letters, which stand before the first entry of the batch."""
    session = rig.simulator.create_session("lsn-damaged")
    worker = await rig.worker(session).start()
    await session.wait_connected()
    session.generate(5)
    await rig.reaches(session, 5)
    await rig.client.hset(keys_of(session).state, "seq", "abc")
    session.emit("no JSON")
    session.generate(5)
    await until(worker.counts("commits_total", 3, result="error"), "the commit is refused")
    assert keys_of(session).state in (await worker.session("lsn-damaged"))["last_error"]
    assert not await rig.client.exists(keys_of(session).dead_letter)
    await rig.client.hset(keys_of(session).state, "seq", 5)
    await rig.assert_kept(session)


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_a_cursor_refused_in_passing_is_kept(rig: Rig, status: int) -> None:
    """A gateway in trouble; without the cursor this server would skip what came meanwhile."""
    session = rig.simulator.create_session("lsn-gateway")
    session.change(fresh=FreshRule.LIVE)
    worker = await rig.worker(session).start()
    await session.wait_connected()
    session.generate(20)
    await rig.reaches(session, 20)
    for refusals in ([status, status], [status, 503, status, status]):
        for refused in refusals:
            rig.simulator.refuse(Refusal(status=refused))
        session.drop(Closing.CUT)
        session.generate(20)
        await rig.reaches(session, len(session.record))
    report = await rig.assert_kept(session)
    assert not report.sessions[0].gaps
    assert await worker.metric("gaps_total") == 0


async def test_a_primary_that_was_made_a_replica_is_left_for_the_new_one(rig: Rig) -> None:
    """Behind one address, as with a Kubernetes Service: connections to the old primary stay open, and only read."""
    session = rig.simulator.create_session("lsn-demoted")
    async with RedisServer() as other, Redis.from_url(other.url) as new, Proxy(rig.server.port) as service:
        url = f"redis://127.0.0.1:{service.port}/0"
        worker = await rig.worker(session, redis__url=url).start()
        session.generate(50)
        await rig.reaches(session, 50)
        await new.replicaof("127.0.0.1", str(rig.server.port))
        await until(lambda: _has_seq(new, session, 50), "the replica has it all")
        await new.replicaof("NO", "ONE")
        service.target_port = other.port
        await rig.client.replicaof("127.0.0.1", str(other.port))
        try:
            session.generate(50)
            await until(lambda: _has_seq(new, session, 100), "the worker goes on at the new primary")
        finally:
            await rig.client.replicaof("NO", "ONE")
        assert await worker.metric("rollbacks_total") == 0


async def _has_seq(client: Redis, session: SimulatedSession, seq: int) -> bool:
    return await client.hget(keys_of(session).state, "seq") == b"%d" % seq


async def test_a_lost_window_is_rebuilt_from_the_entries(rig: Rig) -> None:
    """Somebody deleted it, or Redis evicted it; and the server sends again what lies before the cursor."""
    session = rig.simulator.create_session("lsn-forgetful")
    session.change(overlap_events=30)
    worker = await rig.worker(session).start()
    await session.wait_connected()
    session.generate(100)
    await rig.reaches(session, 100)
    await worker.kill()
    await rig.client.delete(keys_of(session).seen)
    again = await rig.worker(session).start()
    session.generate(10)
    report = await rig.assert_kept(session)
    assert report.sessions[0].events == 110
    assert again.said("window.restored")


async def test_a_session_that_was_only_once_not_listed_is_found_again(rig: Rig) -> None:
    """`end` while the metadata endpoint answers with 404 for a moment: the session lives, and is looked at again."""
    session = rig.simulator.create_session("lsn-overlooked")
    worker = await rig.worker(session, source__slow_retry_seconds=0.5).start()
    await session.wait_connected()
    session.generate(5)
    await rig.reaches(session, 5)
    rig.simulator.refuse(Refusal(status=404, endpoint=Endpoint.METADATA))
    session.drop(Closing.END)
    await until(lambda: bool(worker.said("session.ended")), "it is taken for ended")
    session.generate(5)
    await rig.reaches(session, 10)  # the marker between takes no number
    await rig.assert_kept(session)


async def test_a_batch_job_for_a_session_that_never_was_fails(rig: Rig) -> None:
    """A mistyped id must not pass for a job that is done."""
    worker = await rig.worker("lsn-mistyped", arguments=["--until-ended"]).start()
    assert await worker.exit_code() == 1
    assert "nothing was read of lsn-mistyped" in worker.log_tail()
