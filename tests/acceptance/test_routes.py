"""`stream.routes` with real workers: one run of numbers over several streams, whatever is killed or lost."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from bridge.lab.simulator import SimulatedSession
from bridge.model.keys import session_keys
from bridge.model.place import Session
from tests.support.worker import ROOT, Worker, python_environment, until
from tests.support.worker_rig import Rig, keys_of

ROUTES = {"log.*": "lens:{<name>}:logs", "inference.*": "lens:{<name>}:results"}
TYPES = ("inference.result", "log.info", "frame.processed", "log.warn", "inference.error")
PART_OF = {"log": "logs", "inference": "results", "frame": "events"}


def routed(**routes: str) -> dict[str, Any]:
    """The setting of a worker."""
    return {"stream__routes": json.dumps(routes or ROUTES)}


def streams_of(session: SimulatedSession) -> tuple[str, ...]:
    """The first one, the logs, the results."""
    named = Session(name=session.session_id, session_id=session.session_id)
    return session_keys("lens:{<name>}:events", named, ROUTES).streams


def emit(session: SimulatedSession, events: int, chosen: random.Random) -> None:
    """Of all types, in no order."""
    for _ in range(events):
        session.emit({"type": chosen.choice(TYPES), "n": len(session.record)})


@asynccontextmanager
async def emitting(session: SimulatedSession, chosen: random.Random) -> AsyncIterator[None]:
    """About 400 events a second meanwhile."""

    async def forever() -> None:
        while True:
            emit(session, 4, chosen)
            await asyncio.sleep(0.01)

    task = asyncio.create_task(forever())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def read(rig: Rig, session: SimulatedSession) -> dict[str, list[dict[str, str]]]:
    """What stands in each stream."""
    found = {}
    for key in streams_of(session):
        page = await rig.raw_entries(key)
        found[key.rpartition(":")[2]] = [
            {name.decode(): value.decode() for name, value in fields.items()} for _, fields in page
        ]
    return found


async def assert_each_in_its_stream(rig: Rig, session: SimulatedSession) -> None:
    """Every event once, where its type belongs, and in each stream the numbers rise."""
    events = 0
    for part, entries in (await read(rig, session)).items():
        assert {PART_OF[one["type"].partition(".")[0]] for one in entries if one["type"][:7] != "bridge."} == {part}
        numbers = [int(one["seq"]) for one in entries if one["type"][:7] != "bridge."]
        assert numbers == sorted(set(numbers))
        events += len(numbers)
    assert events == len(session.record)


async def command(rig: Rig, *arguments: str, **settings: str) -> tuple[int | None, str]:
    """A command of ours: exit code and output."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bridge", *arguments),
        env=python_environment() | {"BRIDGE_REDIS__URL": rig.server.url, **settings},
        cwd=ROOT,
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
    )
    async with asyncio.timeout(120):
        output, errors = await process.communicate()
    return process.returncode, output.decode() + errors.decode()


async def test_kills_and_routes_that_come_and_go_lose_nothing_and_repeat_nothing(
    rig: Rig, fault_random: random.Random, fault_seed: int
) -> None:
    """Two workers, of which one is killed again and again and comes back with other routes, as in a rolling update."""
    print(f"fault seed {fault_seed}")
    session = rig.simulator.create_session("lsn-routed")
    settings: list[dict[str, Any]] = [routed(), routed(**{"log.*": ROUTES["log.*"]}), {}]
    common: dict[str, Any] = {"lease__ttl_seconds": 1, "commit__max_events": 50}
    standing = await rig.worker(session, **common, **routed()).start()
    async with emitting(session, fault_random):
        for at in range(6):
            other = await rig.worker(session, **common, **settings[at % 3]).start()
            await rig.reaches(session, await rig.seq(session) + 50)
            victim = standing if fault_random.random() < 0.5 else other
            await victim.kill()
            await asyncio.sleep(fault_random.uniform(0, 0.3))
            standing = other if victim is standing else standing
    report = await rig.assert_kept(session)  # it knows the streams from the state alone
    assert report.sessions[0].events == len(session.record)
    assert {*streams_of(session)} == {keys_of(session).events, *report.sessions[0].routed}


async def test_a_redis_restarted_from_an_older_snapshot_is_healed_in_every_stream(
    own_rig: Rig, fault_random: random.Random
) -> None:
    """What readers of each stream had read comes again with the same ids and numbers."""
    session = own_rig.simulator.create_session("lsn-rolled-back")
    worker = await own_rig.worker(session, commit__max_events=20, **routed()).start()
    emit(session, 300, fault_random)
    await own_rig.reaches(session, 300)
    await own_rig.client.save()
    async with emitting(session, fault_random):
        await own_rig.reaches(session, 600)
        before = await read(own_rig, session)
        await own_rig.server.kill()
        await own_rig.client.connection_pool.disconnect()
        await own_rig.server.start()
        await until(worker.counts("rollbacks_total", 1), "the rollback is noticed")
    await own_rig.assert_kept(session)
    await assert_each_in_its_stream(own_rig, session)
    after = await read(own_rig, session)
    for part, entries in before.items():
        known = {(one["seq"], one["id"]) for one in after[part]}
        assert {(one["seq"], one["id"]) for one in entries} <= known


async def test_an_emptied_redis_gets_its_gap_marker_in_every_stream(rig: Rig, fault_random: random.Random) -> None:
    """Whoever reads one of them has to learn of it; numbers go on over all."""
    session = rig.simulator.create_session("lsn-emptied")
    worker = await rig.worker(session, **routed()).start()
    emit(session, 200, fault_random)
    await rig.reaches(session, 200)
    await rig.client.flushall()
    emit(session, 100, fault_random)
    await rig.reaches(session, 300)
    await rig.assert_kept(session)
    markers = {part: entries[0] for part, entries in (await read(rig, session)).items()}
    assert markers.keys() == {"events", "logs", "results"}
    assert len({(one["id"], one["seq"], one["data"]) for one in markers.values()}) == 1
    assert json.loads(markers["logs"]["data"])["reason"] == "state_lost"
    assert await worker.metric("gaps_total", reason="state_lost") == 1


async def test_a_place_that_was_lost_is_read_off_the_entries_of_all_streams(
    rig: Rig, fault_random: random.Random
) -> None:
    """The last event may stand in any of them; a server that begins anew repeats nothing."""
    session = rig.simulator.create_session("lsn-lost")
    worker = await rig.worker(session, **routed()).start()
    emit(session, 400, fault_random)
    session.emit({"type": "log.last"})
    await rig.reaches(session, 401)
    await worker.kill()
    keys = keys_of(session)
    await rig.client.delete(keys.state, keys.seen)
    emit(session, 50, fault_random)
    again = await rig.worker(session, **routed()).start()
    await rig.reaches(session, 451)
    report = await rig.assert_kept(session)
    assert report.sessions[0].events == 451
    assert await again.metric("gaps_total", reason="state_lost") == 1
    await rig.client.delete(keys.seen)
    await again.kill()
    emit(session, 10, fault_random)
    last = await rig.worker(session, **routed()).start()
    await rig.reaches(session, 461)
    assert last.said("window.restored")
    await rig.assert_kept(session)


async def groups_of(worker: Worker, session: SimulatedSession) -> set[str]:
    """The labels of a session's groups."""
    return set((await worker.session(session.session_id))["groups"])


async def test_an_operator_sees_and_steers_all_streams_of_a_session(rig: Rig, fault_random: random.Random) -> None:
    """Lag by stream, the page, `tail`, `rewind` and `verify`, and the last one says no to a lie."""
    session = rig.simulator.create_session("lsn-seen")
    name = session.session_id
    given = {"BRIDGE_SESSIONS": name, "BRIDGE_STREAM__ROUTES": json.dumps(ROUTES)}
    worker = await rig.worker(session, lease__ttl_seconds=1, **routed()).start()
    emit(session, 60, fault_random)
    await rig.reaches(session, 60)
    main, logs, results = streams_of(session)
    for key in (main, results):
        await rig.client.xgroup_create(key, "reader", id="0")

    async def seen() -> bool:
        return await groups_of(worker, session) == {"reader", "results/reader"}

    await until(seen, "the groups of each stream are told apart")
    status = await worker.session(name)
    assert (status["stream_key"], status["routed_keys"]) == (main, [logs, results])
    assert status["stream_length"] == 60
    assert logs in (await worker.get("/"))[1]

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bridge", "tail", "--from-start", "--json"),
        env=python_environment() | {"BRIDGE_REDIS__URL": rig.server.url, "BRIDGE_SESSIONS": name},
        cwd=ROOT,
        stdout=PIPE,
    )
    assert process.stdout
    async with asyncio.timeout(60):  # the routed streams are told by the state
        landed = [json.loads(await process.stdout.readline()) for _ in range(60)]
    process.kill()
    await process.wait()
    assert [int(one["seq"]) for one in landed] == [*range(1, 61)]
    assert {one["stream"] for one in landed} == {main, logs, results}

    code, said = await command(rig, "sessions", "rewind", name, "--to-start", **given)
    assert code == 0, said
    emit(session, 5, fault_random)
    await rig.reaches(session, 65)
    found = await read(rig, session)
    assert [sum(one["type"] == "bridge.gap" for one in entries) for entries in found.values()] == [1, 1, 1]

    code, said = await command(rig, "verify", **given)
    assert code == 0, said
    assert f"{main}, {logs}, {results}" in said
    copied: Any = (await rig.raw_entries(logs))[0][1]
    await rig.client.xadd(results, copied)
    code, said = await command(rig, "verify", **given)
    assert code == 3, said
    assert "duplicate" in said


async def test_what_a_route_may_not_be_is_told_in_one_line(rig: Rig) -> None:
    """With the path and the variable."""
    for routes, said in (
        ({"log.*": "lens:{<name>}:dead-letter"}, "which the bridge needs for itself"),
        ({"log.*": "lens:logs"}, "different hash slots"),
        ({"*": "lens:{<name>}:x", "log.*": "lens:{<name>}:y"}, "never reached"),
    ):
        code, told = await command(rig, "config", "show", BRIDGE_STREAM__ROUTES=json.dumps(routes))
        assert code == 2
        assert told.startswith("lens-bridge: stream.routes (BRIDGE_STREAM__ROUTES): ")
        assert said in told or said.removeprefix("which ") in told
