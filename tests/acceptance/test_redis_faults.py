"""Redis hangs, fills up, refuses, forgets or is emptied: the worker stays up, says so, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from bridge.lab.redis_server import RedisServer
from bridge.lab.simulator import FreshRule, Profile, SimulatedSession, Simulator
from bridge.store.commits import COMMIT
from tests.support.proxy import Proxy
from tests.support.worker import DEADLINE_SECONDS, Worker, until
from tests.support.worker_rig import Rig

HANG_SECONDS = 4.0
BUFFER_EVENTS = 500
LOST_REPLIES = 5
OVER = {"destroyed_session": "replay", "metadata_lists_destroyed": True}


async def test_a_redis_restarted_from_an_older_snapshot_is_healed_with_the_same_ids_and_numbers(own_rig: Rig) -> None:
    """Events go on coming, so the next commit meets the older state."""
    session = own_rig.simulator.create_session("lsn-rolled-back")
    session.play(Profile.SIZED, rate=300)
    worker = await own_rig.worker(session, commit__max_events=20).start()
    read = await _restart_from_older_snapshot(own_rig, session)
    await until(worker.counts("rollbacks_total", 1), "the rollback is noticed")
    session.pause()
    await own_rig.assert_kept(session)
    assert await _numbers(own_rig, session) >= read


async def test_a_rollback_is_noticed_while_the_session_is_idle(own_rig: Rig) -> None:
    """No event comes any more: only the renewal of the lease can tell."""
    session = own_rig.simulator.create_session("lsn-idle")
    worker = await own_rig.worker(session).start()
    session.play(Profile.SIZED, rate=300)
    read = await _restart_from_older_snapshot(own_rig, session, quiet=True)
    await until(worker.counts("rollbacks_total", 1), "the rollback is noticed")
    await own_rig.assert_kept(session)
    assert await _numbers(own_rig, session) == read


async def test_a_rollback_behind_the_end_of_a_session_brings_its_last_events_again(own_rig: Rig) -> None:
    """The session is over by then: nobody holds its lease, and no renewal can tell."""
    session = own_rig.simulator.create_session("lsn-over", switches=OVER)
    worker = await own_rig.worker(session).start()
    session.generate(100)
    await own_rig.reaches(session, 100)
    await own_rig.client.save()
    session.generate(100)
    session.destroy()
    await until(lambda: bool(worker.said("session.ended")), "it is over")
    await until(partial(_nobody_holds, own_rig, session), "and its lease given back")
    await _restart(own_rig)
    await own_rig.reaches(session, 200)
    await own_rig.assert_kept(session)
    await until(partial(_ends_with_its_end, own_rig, session), "the end stands there again")
    assert await worker.metric("rollbacks_total") >= 1


async def test_a_rollback_to_before_the_worker_is_healed_long_before_a_lease_expires(own_rig: Rig) -> None:
    """A snapshot from another worker's time knows neither this worker nor its token, but it does know a place."""
    session = own_rig.simulator.create_session("lsn-long-ago")
    session.play(Profile.SIZED, rate=200)
    first = await own_rig.worker(session).start()
    await own_rig.reaches(session, 100)
    first.terminate()
    assert await first.exit_code() == 0
    await own_rig.client.save()
    second = await own_rig.worker(session, lease__ttl_seconds=600).start()
    await own_rig.reaches(session, await own_rig.seq(session) + 100)
    await _restart(own_rig)
    await until(second.counts("rollbacks_total", 1), "the rollback is noticed")
    session.pause()
    await own_rig.assert_kept(session)


async def test_a_redis_that_hangs_for_seconds_costs_readiness_and_nothing_else(own_rig: Rig) -> None:
    """SIGSTOP: connections stay open and nobody answers."""
    session = own_rig.simulator.create_session("lsn-hung")
    session.play(Profile.SIZED, rate=300)
    worker = await (await own_rig.worker(session).start()).wait_ready()
    await own_rig.reaches(session, 100)
    own_rig.server.pause()
    began = time.monotonic()
    await until(lambda: _not(worker.ready()), "not ready while Redis hangs")
    while time.monotonic() < began + HANG_SECONDS:
        assert (await worker.get("/livez"))[0] == 200
        assert not await worker.ready()
        await asyncio.sleep(0.2)
    own_rig.server.resume()
    await worker.wait_ready()
    session.pause()
    report = await own_rig.assert_kept(session)
    assert report.sessions[0].events == len(session.record)


async def test_a_burst_while_redis_is_away_stops_the_reading_and_not_the_memory(own_rig: Rig) -> None:
    """40 MB come while the buffer may hold 500 events: the rest stays with the server."""
    session = own_rig.simulator.create_session("lsn-burst")
    worker = await own_rig.worker(
        session, commit__max_events=100, commit__buffer_events=BUFFER_EVENTS, redis__timeout_seconds=60
    ).start()
    session.generate(10)
    await own_rig.reaches(session, 10)
    before = worker.resident_bytes()
    own_rig.server.pause()
    session.generate(20_000, event_bytes=2000)
    await until(worker.counts("buffer_events", BUFFER_EVENTS), "the buffer is full")
    await until(worker.counts("session_state", 1, state="backpressured"), "the session is backpressured")
    received = await worker.metric("events_received_total")
    assert received < 5000  # the buffer, the batch under way and one chunk
    assert await worker.metric("buffer_events") < 2 * BUFFER_EVENTS
    assert worker.resident_bytes() - before < 24 * 1024 * 1024
    assert not session.readers[0].caught_up
    assert (await worker.get("/livez"))[0] == 200
    assert await worker.metric("events_received_total") == received
    own_rig.server.resume()
    report = await own_rig.assert_kept(session)
    assert report.sessions[0].events == 20_010
    assert await worker.metric("backpressure_seconds_total") > 0


async def test_a_full_redis_stops_the_stream_until_there_is_room(own_rig: Rig) -> None:
    """maxmemory is reached under noeviction, and raised later."""
    session = own_rig.simulator.create_session("lsn-full")
    worker = await own_rig.worker(session, commit__max_events=50).start()
    session.generate(10)
    await own_rig.reaches(session, 10)
    used = (await own_rig.client.info("memory"))["used_memory"]
    await own_rig.client.config_set("maxmemory", used + 1024 * 1024)
    session.generate(3000, event_bytes=2000)
    await until(worker.counts("commits_total", 3, result="error"), "Redis refuses commits")
    assert await own_rig.seq(session) < 3010
    assert (await worker.get("/livez"))[0] == 200
    assert "raise maxmemory" in (await worker.session("lsn-full"))["last_error"]
    await own_rig.client.config_set("maxmemory", 0)
    report = await own_rig.assert_kept(session)
    assert report.sessions[0].events == 3010
    await worker.wait_ready()


@pytest.mark.parametrize(
    ("fault", "mend", "told"),
    [
        ("CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0", "min-replicas-to-write"),
        ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", "point redis.url at the primary"),
    ],
)
async def test_a_redis_that_takes_no_writes_stops_the_stream_until_it_does(
    own_rig: Rig, fault: str, mend: str, told: str
) -> None:
    """A primary that misses its replicas, and one that was made a replica: not ready, alive, and well again later."""
    session = own_rig.simulator.create_session("lsn-refused")
    session.play(Profile.SIZED, rate=200)
    worker = await own_rig.worker(session).start()
    await own_rig.reaches(session, 100)
    client: Any = own_rig.client
    await client.execute_command(*fault.split())
    await until(worker.counts("commits_total", 3, result="error"), "Redis refuses commits")
    await until(lambda: _not(worker.ready()), "not ready: it cannot take part")
    assert (await worker.get("/livez"))[0] == 200
    assert told in (await worker.session(session.session_id))["last_error"]
    await client.execute_command(*mend.split())
    await worker.wait_ready()
    session.pause()
    report = await own_rig.assert_kept(session)
    assert report.sessions[0].events == len(session.record)


async def test_sigterm_while_redis_hangs_ends_within_the_grace_period(own_rig: Rig) -> None:
    """What could not be committed is left to the server, and the next worker reads it again."""
    session = own_rig.simulator.create_session("lsn-cut-short")
    worker = await own_rig.worker(session, worker__grace_period_seconds=1).start()
    await session.wait_connected(timeout=DEADLINE_SECONDS)
    own_rig.server.pause()
    session.generate(200)
    await until(worker.counts("events_received_total", 200), "all of it is read")
    worker.terminate()
    assert await worker.exit_code() == 0
    assert worker.said("drain.cut_short")
    own_rig.server.resume()
    await worker.start()
    report = await own_rig.assert_kept(session)
    assert report.sessions[0].events == 200


@pytest.mark.parametrize("fault", ["CLIENT KILL TYPE normal", "SCRIPT FLUSH"])
async def test_connections_killed_and_scripts_flushed_again_and_again_cost_nothing(rig: Rig, fault: str) -> None:
    """Forty times under load, at no matter which instant."""
    session = rig.simulator.create_session("lsn-pestered")
    session.play(Profile.SIZED, rate=500)
    worker = await rig.worker(session, commit__max_events=5).start()
    await rig.reaches(session, 1)
    client: Any = rig.client
    for _ in range(40):
        await client.execute_command(*fault.split())
        await rig.reaches(session, await rig.seq(session) + 1)
    assert (await worker.get("/livez"))[0] == 200
    session.pause()
    report = await rig.assert_kept(session)
    assert report.sessions[0].events == len(session.record)
    assert await worker.metric("fenced_total") == await worker.metric("rollbacks_total") == 0
    await worker.wait_ready()


async def test_a_commit_whose_reply_was_lost_is_found_landed_and_not_written_twice(rig: Rig) -> None:
    """A proxy lets the script call through, throws the answer away and cuts the connection."""
    session = rig.simulator.create_session("lsn-unanswered")
    session.play(Profile.SIZED, rate=300)
    async with Proxy(rig.server.port) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/0"
        worker = await rig.worker(session, commit__max_events=20, redis__url=url).start()
        await rig.reaches(session, 50)
        for count in range(1, LOST_REPLIES + 1):
            proxy.swallow_answer_to(COMMIT.sha.encode())
            await until(partial(_lost, proxy, count), "an answer is lost")
            await rig.reaches(session, await rig.seq(session) + 20)
        session.pause()
        report = await rig.assert_kept(session)
        assert report.sessions[0].events == len(session.record)
        assert await worker.metric("commits_total", result="already") >= 1
        assert await worker.metric("rollbacks_total") == 0


@pytest.mark.parametrize("fresh", list(FreshRule))
async def test_an_emptied_redis_gets_a_gap_marker_and_the_stream_goes_on_after_the_last_event(
    rig: Rig, fresh: FreshRule
) -> None:
    """FLUSHALL under a running worker, with a server that would begin anew, and with one that would skip."""
    session = rig.simulator.create_session("lsn-emptied")
    session.change(fresh=fresh)
    session.play(Profile.SIZED, rate=300)
    worker = await rig.worker(session, commit__max_events=20).start()
    await rig.reaches(session, 200)
    await rig.client.flushall()
    await rig.reaches(session, 300)
    session.pause()
    await rig.assert_kept(session)
    marker, *others = await rig.entries(session)
    told = json.loads(marker["data"])
    assert (marker["type"], told["reason"]) == ("bridge.gap", "state_lost")
    assert int(marker["seq"]) >= 200
    ids = [event.id for event in session.record]
    assert [entry["id"] for entry in others] == ids[ids.index(told["last_id"]) + 1 :]
    assert await worker.metric("gaps_total", reason="state_lost") == 1


async def test_a_standby_does_not_begin_anew_in_a_redis_that_was_emptied(rig: Rig) -> None:
    """The owner knows the place and sets it up again, however quick the standby is; the server would skip."""
    session = rig.simulator.create_session("lsn-emptied-for-two")
    session.change(fresh=FreshRule.LIVE)
    owner = await rig.worker(session, commit__max_events=20).start()
    await session.wait_connected(timeout=DEADLINE_SECONDS)
    session.play(Profile.SIZED, rate=100)
    standby = await (await rig.worker(session, lease__poll_seconds=0.05).start()).wait_ready()
    for count in range(1, 6):
        await rig.reaches(session, await rig.seq(session) + 20)
        await rig.client.flushall()
        await until(owner.counts("gaps_total", count, reason="state_lost"), "the owner comes back")
    session.pause()
    await rig.assert_kept(session)
    marker, *others = await rig.entries(session)
    told = json.loads(marker["data"])
    assert (marker["type"], told["reason"]) == ("bridge.gap", "state_lost")
    ids = [event.id for event in session.record]
    assert [entry["id"] for entry in others] == ids[ids.index(told["last_id"]) + 1 :]
    assert not standby.said("lease.taken")


async def test_a_worker_started_before_redis_waits_for_it(own_rig: Rig, fault_random: random.Random) -> None:
    """Alive and not ready until Redis comes; then it begins with all that the server has."""
    session = own_rig.simulator.create_session("lsn-early")
    session.generate(fault_random.randint(100, 500))
    await own_rig.server.kill()
    worker = await own_rig.worker(session).start()
    await until(worker.counts("ready", 0), "the admin server is up")
    assert (await worker.get("/livez"))[0] == 200
    status, page = await worker.get("/readyz")
    assert status == 503
    assert "Redis" in page
    await own_rig.server.start()
    await worker.wait_ready()
    await own_rig.assert_kept(session)


def _lost(proxy: Proxy, answers: int) -> bool:
    return proxy.swallowed >= answers


async def _restart_from_older_snapshot(rig: Rig, session: SimulatedSession, *, quiet: bool = False) -> set[str]:
    """SAVE, more events, SIGKILL, start. Returns the numbers and ids that a consumer had read by then."""
    await rig.reaches(session, 300)
    await rig.client.save()
    await rig.reaches(session, 600)
    if quiet:
        session.pause()
        await rig.reaches(session, len(session.record))
    read = await _numbers(rig, session)
    await _restart(rig)
    return read


async def _restart(rig: Rig) -> None:
    await rig.server.kill()
    await rig.client.connection_pool.disconnect()
    await rig.server.start()


async def _nobody_holds(rig: Rig, session: SimulatedSession) -> bool:
    return await rig.owner(session) is None


async def _ends_with_its_end(rig: Rig, session: SimulatedSession) -> bool:
    return (await rig.entries(session))[-1]["type"] == "bridge.session.ended"


async def _numbers(rig: Rig, session: SimulatedSession) -> set[str]:
    return {f"{entry['seq']} {entry['id']}" for entry in await rig.entries(session)}


async def _not(truth: Awaitable[bool]) -> bool:
    return not await truth


async def test_a_server_that_does_not_fit_is_told_of_at_the_start(simulator: Simulator, tmp_path: Path) -> None:
    """Once in words, by name: one that evicts what it holds, and one that runs no Lua. The worker stays up."""
    evicting = ["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]
    for arguments, reason in ((evicting, "evicting"), (["--rename-command", "EVALSHA", ""], "no_scripting")):
        async with RedisServer(arguments=arguments) as server, Redis.from_url(server.url) as client:
            rig = Rig(server, client, simulator, tmp_path)
            worker = await rig.worker(simulator.create_session(f"lsn-{reason}")).start()
            await until(partial(_has_said, worker, "redis.unfit", 2), "it says what does not fit")
            said = {line["reason"]: line for line in worker.said("redis.unfit")}
            assert said.keys() == {reason, "not_durable"}
            assert (said[reason]["level"], said[reason]["at"]) == ("error", f"127.0.0.1:{server.port}")
            assert len(worker.said("redis.met")) == 1
            assert (await worker.get("/livez"))[0] == 200
            if reason == "no_scripting":
                await until(partial(_has_said, worker, "redis.unavailable", 1), "and why nothing is read")
                assert "it runs no Lua scripts" in worker.said("redis.unavailable")[0]["error"]
            await worker.kill()


def _has_said(worker: Worker, event: str, times: int) -> bool:
    return len(worker.said(event)) >= times
