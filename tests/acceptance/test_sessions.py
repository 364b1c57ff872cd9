"""Sessions at run time: added, removed, paused, resumed and moved by real commands under real workers."""

from __future__ import annotations

import json
import time
from typing import Any

from bridge.lab.simulator import Profile, SimulatedSession
from tests.support.steering import steer
from tests.support.worker import Worker, until
from tests.support.worker_rig import Rig, keys_of

NOWHERE = "redis://127.0.0.1:1/0"  # nothing listens on port 1


async def beginnings(worker: Worker, *names: str) -> dict[str, Any]:
    """How often a worker has connected to each of these."""
    return {name: await worker.metric("source_connects_total", stream=name) for name in names}


async def held(rig: Rig, session: SimulatedSession, by: str) -> None:
    """Until that worker reads it."""

    async def so() -> bool:
        return await rig.owner(session) == by

    await until(so, f"{by} reads {session.session_id}")


async def listed(rig: Rig, **settings: Any) -> dict[str, dict[str, Any]]:
    """What `sessions list` says, by name."""
    told = await steer(rig, "sessions", "list", "--json", **settings)
    return {one["name"]: one for one in told.value["sessions"]}


async def test_sessions_come_and_go_under_a_running_worker_and_touch_no_other(rig: Rig) -> None:
    """Without any session configured to begin with; each is taken up within two seconds of the command."""
    first, second = (rig.simulator.create_session(f"lsn-{name}") for name in ("first", "second"))
    worker = await rig.worker().start()
    await worker.wait_ready()
    first.play(Profile.SIZED, rate=50)
    second.generate(100)
    told = await steer(rig, "sessions", "add", first.session_id)
    assert told.output == "added: lsn-first\n"
    began = time.monotonic()
    await rig.reaches(first, 20)
    print(f"taken up {time.monotonic() - began:.2f} s after the command")
    connects = await beginnings(worker, "lsn-first")

    await steer(rig, "sessions", "add", second.session_id)
    await rig.reaches(second, 100)
    assert (await listed(rig))["lsn-second"]["state"] == "held"
    await steer(rig, "sessions", "remove", second.session_id)
    await second.wait_disconnected(timeout=60)
    assert list(await listed(rig)) == ["lsn-first"]
    second.generate(50)
    await steer(rig, "sessions", "add", second.session_id)
    await rig.reaches(second, 150)

    first.pause()
    assert await beginnings(worker, "lsn-first") == connects, "the other one was not touched"
    await rig.assert_kept(first, second)


async def test_a_removed_session_leaves_no_trace_in_status_and_metrics(rig: Rig) -> None:
    """What it no longer reads, a worker no longer shows."""
    session = rig.simulator.create_session("lsn-gone")
    worker = await rig.worker().start()
    await steer(rig, "sessions", "add", "camera=lsn-gone")
    await session.wait_connected(timeout=60)
    assert (await worker.session("camera"))["session_id"] == "lsn-gone"
    await steer(rig, "sessions", "remove", "camera")

    async def forgotten() -> bool:
        _, status = await worker.get("/status")
        _, metrics = await worker.get("/metrics")
        return json.loads(status)["sessions"] == [] and 'stream="camera"' not in metrics

    await until(forgotten, "it is shown no more")


async def test_a_paused_session_is_read_by_nobody_and_goes_on_where_it_stood(rig: Rig) -> None:
    """A configured one too, and by every worker: also by one that starts meanwhile."""
    session = rig.simulator.create_session("lsn-paused")
    workers = [await rig.worker(session).start() for _ in range(2)]
    session.play(Profile.SIZED, rate=100)
    await rig.reaches(session, 50)
    configured: dict[str, Any] = {"sessions": session.session_id}
    told = await steer(rig, "sessions", "pause", session.session_id, **configured)
    assert told.output == "paused: lsn-paused\n"
    assert await rig.owner(session) is None, "the command waits until it is let go, and nobody takes it any more"
    await session.wait_disconnected(timeout=60)
    stands = await rig.seq(session)
    assert (await listed(rig, **configured))["lsn-paused"]["state"] == "paused"
    late = await rig.worker(session).start()
    await late.wait_ready()
    for worker in (*workers, late):

        async def shown(worker: Worker = worker) -> bool:
            return bool((await worker.session(session.session_id))["state"] == "paused")

        await until(shown, "it is shown as paused")
        assert await worker.metric("session_state", stream=session.session_id, state="paused") == 1
    assert not late.said("lease.taken")
    assert await rig.seq(session) == stands
    assert "nothing to do" in (await steer(rig, "sessions", "pause", session.session_id, **configured)).output

    await steer(rig, "sessions", "resume", session.session_id, **configured)
    await rig.reaches(session, stands + 50)
    session.pause()
    assert await rig.client.hlen("lens:sessions") == 0, "what says nothing is removed"
    await rig.assert_kept(session)


async def test_a_configured_name_wins_and_the_conflict_is_told_in_words(rig: Rig) -> None:
    """By the command where it knows the configuration, and by workers where somebody writes into Redis himself."""
    session = rig.simulator.create_session("lsn-configured")
    rig.simulator.create_session("lsn-other")
    worker = await rig.worker("camera=lsn-configured").start()
    await worker.wait_ready()
    told = await steer(rig, "sessions", "add", "camera=lsn-other", code=2, sessions="camera=lsn-configured")
    assert told.errors.count("\n") == 1
    assert "camera is configured for lsn-configured, and configured names win" in told.errors

    await rig.client.hset("lens:sessions", "camera", '{"session_id": "lsn-other"}')
    await rig.client.hset("lens:sessions", "broken", "{")
    await until(lambda: len(worker.said("session.refused")) == 2, "the worker tells of both")
    words = {line["session"]: line["reason"] for line in worker.said("session.refused")}
    assert words == {"camera": "the name camera is configured for lsn-configured", "broken": "the record is not JSON"}
    await session.wait_connected(timeout=60)
    status = json.loads((await worker.get("/status"))[1])
    assert status["refused"] == [
        {
            "name": "camera",
            "session_id": "lsn-other",
            "origin": "registered",
            "reason": "the name camera is configured for lsn-configured",
        }
    ]
    assert "unreadable: broken: the record is not JSON" in (await steer(rig, "sessions", "list")).output
    await steer(rig, "sessions", "remove", "broken")
    assert await rig.client.hkeys("lens:sessions") == [b"camera"]


async def test_a_registered_name_gets_another_session_only_when_asked_to(rig: Rig) -> None:
    """Its consumers keep their stream then, and the old session has committed before the new one begins."""
    old, new = (rig.simulator.create_session(f"lsn-{name}") for name in ("old", "new"))
    await rig.worker().start()
    await steer(rig, "sessions", "add", "camera=lsn-old")
    old.generate(30)
    key = "lens:{camera}:events"

    async def long(entries: int) -> None:
        async def so() -> bool:
            return int(await rig.client.xlen(key)) >= entries

        await until(so, f"{entries} entries")

    await long(30)
    told = await steer(rig, "sessions", "add", "camera=lsn-new", code=2)
    assert "camera is registered for lsn-old" in told.errors
    await steer(rig, "sessions", "add", "--replace", "camera=lsn-new")
    new.generate(20)
    await long(50)
    fields: Any = await rig.client.xrange(key)
    assert [one[b"session_id"] for _, one in fields] == [b"lsn-old"] * 30 + [b"lsn-new"] * 20
    await old.wait_disconnected(timeout=60)


async def test_a_session_moves_to_the_worker_that_a_person_names(rig: Rig) -> None:
    """And back, without a loss; the shares stay even, so another one may come in exchange."""
    sessions = [rig.simulator.create_session(f"lsn-{number}") for number in range(3)]
    for session in sessions:
        session.play(Profile.SIZED, rate=50)
    for _ in range(2):
        await rig.worker(*sessions).start()
    names: dict[str, Any] = {"sessions": ",".join(one.session_id for one in sessions)}
    for session in sessions:
        await rig.reaches(session, 10)
    moved = sessions[0]
    for _ in range(2):
        to = "worker-2" if await rig.owner(moved) == "worker-1" else "worker-1"
        told = await steer(rig, "sessions", "move", moved.session_id, "--to", to, "--json", **names)
        assert told.value["worker"].startswith(f"{to}/")
        await held(rig, moved, to)
    told = await steer(rig, "sessions", "move", moved.session_id, "--to", "nobody", code=1, **names)
    assert "no live worker is called nobody; those that live: worker-1/" in told.errors
    for session in sessions:
        session.pause()
    await rig.assert_kept(*sessions)


async def test_a_drained_worker_gives_all_it_reads_and_takes_none_until_it_may(rig: Rig) -> None:
    """What nobody else can take it goes on reading, and the command says so."""
    sessions = [rig.simulator.create_session(f"lsn-{number}") for number in range(4)]
    names: dict[str, Any] = {"sessions": ",".join(one.session_id for one in sessions)}
    for session in sessions:
        session.play(Profile.SIZED, rate=50)
    first = await rig.worker(*sessions).start()
    for session in sessions:
        await rig.reaches(session, 10)
    told = await steer(rig, "drain", "worker-1", "--wait", "1", code=1, **names)
    assert "still reads lsn-0, lsn-1, lsn-2, lsn-3: no other worker has taken them" in told.errors
    second = await rig.worker(*sessions).start()
    for session in sessions:
        await held(rig, session, "worker-2")
    assert json.loads((await first.get("/status"))[1])["draining"]
    await steer(rig, "drain", "worker-2", "--wait", "1", code=1, **names)
    await steer(rig, "drain", "worker-1", "--undo", **names)
    for session in sessions:
        await held(rig, session, "worker-1")
    await steer(rig, "drain", "worker-2", "--undo", **names)
    await until(second.counts("lease_held", 2), "the shares are even again")
    for session in sessions:
        session.pause()
    await rig.assert_kept(*sessions)


async def test_where_redis_is_away_each_command_says_so_in_one_line(rig: Rig) -> None:
    """What, where, and what to do."""
    for command in (
        ("sessions", "list"),
        ("sessions", "add", "a=b"),
        ("sessions", "remove", "a=b"),
        ("sessions", "pause", "a=b"),
        ("sessions", "resume", "a=b"),
        ("sessions", "rewind", "a=b", "--to-start"),
        ("sessions", "move", "a=b", "--to", "w"),
        ("drain", "w"),
    ):
        told = await steer(rig, *command, code=1, redis__url=NOWHERE)
        assert told.output == ""
        assert told.errors.count("\n") == 1, told.errors
        assert told.errors.startswith("lens-bridge: ")
        assert "127.0.0.1:1" in told.errors
        assert "redis.url" in told.errors


async def test_what_an_emptied_redis_forgot_is_still_read_and_stands_there_again(own_rig: Rig) -> None:
    """Nobody has to add it a second time."""
    session = own_rig.simulator.create_session("lsn-flushed")
    worker = await own_rig.worker().start()
    await steer(own_rig, "sessions", "add", session.session_id)
    session.generate(20)
    await own_rig.reaches(session, 20)
    await own_rig.client.flushall()
    await until(lambda: bool(worker.said("sessions.restored")), "it is restored")
    assert list(await listed(own_rig)) == [session.session_id]
    session.generate(5)
    await own_rig.reaches(session, 25)
    assert keys_of(session).events
