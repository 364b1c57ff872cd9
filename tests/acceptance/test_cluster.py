"""A cluster loses a primary and moves its slots under load."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bridge.lab.simulator import SimulatedSession, Simulator
from bridge.store.nodes.slots import slot_of
from tests.support.steering import steer
from tests.support.topology.clustered import Clustered
from tests.support.topology.stage import staged
from tests.support.worker import until
from tests.support.worker_rig import keys_of

SEEDS = 10
SESSIONS_A_NODE = 3
SLOTS_MOVED = 3


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster() -> AsyncIterator[Clustered]:
    """One for all seeds: each leaves it whole."""
    async with Clustered() as made:
        yield made


@pytest.mark.parametrize("number", range(SEEDS))
async def test_a_killed_primary_and_moved_slots_lose_nothing_and_repeat_nothing(
    cluster: Clustered,
    simulator: Simulator,
    tmp_path: Path,
    fault_random: random.Random,
    fault_seed: int,
    number: int,
) -> None:
    """Nine sessions over three primaries; one of these dies or hangs, and slots of sessions move before or after."""
    kind, first = ("killed", "frozen")[number % 2], fault_random.random() < 0.5
    print(f"fault seed {fault_seed}: {kind}, slots moved {'before' if first else 'after'}")
    await cluster.whole()
    primaries = await cluster.primaries()
    names = [
        await cluster.key_on(node, f"lsn-{number}-{place}-{one}")
        for place, node in enumerate(primaries)
        for one in range(SESSIONS_A_NODE)
    ]
    async with staged(cluster, simulator, tmp_path, names, rate=fault_random.choice((40, 80))) as stage:
        victim = fault_random.choice(primaries)
        if first:
            await _move_slots(cluster, stage.sessions, fault_random)
        await asyncio.sleep(fault_random.uniform(0, 0.3))
        probe = await cluster.key_on(victim)
        if kind == "killed":
            await victim.kill()
        else:
            cluster.freeze(victim)
        await stage.timed(cluster.another_takes_over(victim, probe))
        if not first:
            await _move_slots(cluster, stage.sessions, fault_random)
        await stage.flow()
        await cluster.whole()
        await stage.flow()
        report = await stage.judge(kind)
        assert stage.worker.running
        assert not any(one.gaps for one in report.sessions)


async def test_two_workers_share_the_sessions_of_a_cluster_and_take_over_from_each_other(
    cluster: Clustered, simulator: Simulator, tmp_path: Path
) -> None:
    """The register of workers stands anywhere, and so does each lease; also while a node joins and takes slots."""
    names = [f"lsn-shared-{number}" for number in range(6)]
    async with staged(cluster, simulator, tmp_path, names, rate=20, settings={"lease__ttl_seconds": 2}) as stage:
        second = stage.rig.worker(*stage.sessions, redis__url=cluster.url)
        await second.start()
        await until(second.counts("lease_held", 3), "the second one has its share")
        await cluster.whole()
        guest = await cluster.add_node()
        before = {name: await cluster.owner(slot_of(f"{{{name}}}")) for name in names}
        for name in names[:3]:
            await cluster.move_slot(slot_of(f"{{{name}}}"), guest)
        await stage.worker.kill()
        await until(second.counts("lease_held", 6), "the second one has all")
        await stage.flow()
        for name in names[:3]:
            await cluster.move_slot(slot_of(f"{{{name}}}"), before[name])
        await cluster.settled()
        await cluster.remove_node(guest)
        await stage.flow()
        await stage.kept()


async def test_sessions_are_steered_in_a_cluster_as_anywhere(
    cluster: Clustered, simulator: Simulator, tmp_path: Path
) -> None:
    """The register of sessions stands in one slot, and their places in many."""
    names = [f"lsn-steered-{number}" for number in range(6)]
    async with staged(cluster, simulator, tmp_path, names, rate=20) as stage:
        added = simulator.create_session("lsn-added")
        given: dict[str, Any] = {"redis__url": cluster.url, "sessions": ",".join(names)}
        await steer(stage.rig, "sessions", "add", "lsn-added", **given)
        await added.wait_connected(timeout=60)
        await steer(stage.rig, "sessions", "rewind", names[0], "--to-start", **given)
        await stage.flow()
        await steer(stage.rig, "sessions", "pause", *names, **given)
        listed = (await steer(stage.rig, "sessions", "list", "--json", **given)).value["sessions"]
        assert {one["name"]: one["state"] for one in listed} == {"lsn-added": "held"} | dict.fromkeys(names, "paused")
        assert all(one["seq"] > 0 for one in listed if one["name"] in names)
        await steer(stage.rig, "sessions", "resume", *names, **given)
        await steer(stage.rig, "sessions", "remove", "lsn-added", **given)
        await added.wait_disconnected(timeout=60)
        await stage.flow()
        await stage.kept()


async def _move_slots(cluster: Clustered, sessions: Sequence[SimulatedSession], chance: random.Random) -> None:
    """Those of some sessions, each to any other primary, one key at a time."""
    await cluster.settled()
    for session in chance.sample(sessions, SLOTS_MOVED):
        slot = slot_of(keys_of(session).events)
        owner = await cluster.owner(slot)
        target = chance.choice([one for one in await cluster.primaries() if one is not owner and one in cluster.awake])
        await cluster.move_slot(slot, target, chance.uniform(0, 0.05))
