"""A primary that Sentinels watch fails over under load: asked for, killed, frozen, cut off."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from bridge.lab.simulator import Simulator
from tests.support.topology.stage import DEFAULTS, Stage, staged
from tests.support.topology.watched import Watched
from tests.support.worker import until

FAILOVERS = ("asked for", "killed", "frozen", "cut off")
SEEDS = 10


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def watched() -> AsyncIterator[Watched]:
    """One for all seeds: each leaves it whole."""
    async with Watched() as made:
        yield made


@pytest.mark.parametrize("number", range(SEEDS))
async def test_failovers_lose_nothing_and_repeat_nothing(
    watched: Watched,
    simulator: Simulator,
    tmp_path: Path,
    fault_random: random.Random,
    fault_seed: int,
    number: int,
) -> None:
    """A worker with its default times goes on with the new primary, and what was rolled back comes again as it was."""
    kind, cuts = FAILOVERS[number % len(FAILOVERS)], number % 2 == number // 4 % 2
    print(f"fault seed {fault_seed}: {kind}{', connections cut' if cuts else ''}")
    await watched.whole()
    names = [f"lsn-{number}-{one}" for one in range(3)]
    async with staged(watched, simulator, tmp_path, names, rate=fault_random.choice((50, 150))) as stage:
        cutting = asyncio.create_task(_cut(watched, fault_random) if cuts else asyncio.sleep(0))
        await asyncio.sleep(fault_random.uniform(0, 0.3))
        await _fail_over(kind, watched, stage, fault_random)
        await stage.flow()
        await cutting
        await watched.whole()  # what was frozen wakes and believes itself the primary still
        await stage.flow()
        report = await stage.judge(kind)
        assert stage.worker.running
        assert not any(one.gaps for one in report.sessions)


async def _fail_over(kind: str, watched: Watched, stage: Stage, chance: random.Random) -> None:
    before = await watched.primary()
    match kind:
        case "asked for":
            await stage.timed(watched.fail_over(chance))
            return
        case "killed":
            await before.kill()
        case "frozen":
            watched.freeze(before)
        case "cut off":
            await watched.cut_off(before)
    await stage.timed(watched.another_takes_over(before))


async def _cut(watched: Watched, chance: random.Random) -> None:
    for _ in range(4):
        await asyncio.sleep(chance.uniform(0, 0.5))
        await watched.cut_connections()


async def test_what_a_replica_has_to_have_is_never_rolled_back(
    simulator: Simulator, tmp_path: Path, fault_random: random.Random, fault_seed: int
) -> None:
    """``redis.durability: replicated``: what was acknowledged when the primary is killed stands on the new one.

    While one of two does not answer, nothing more is acknowledged and that is told.
    """
    print(f"fault seed {fault_seed}")
    settings = {**DEFAULTS, "redis__durability": "replicated", "redis__durability_replicas": 2}
    async with (
        Watched(arguments=["--repl-timeout", "3600"]) as watched,
        staged(watched, simulator, tmp_path, ["lsn-a", "lsn-b"], rate=100, settings=settings) as stage,
    ):
        primary = await watched.primary()
        replicas = [node for node in watched.nodes if node is not primary]
        watched.freeze(replicas[0])
        await until(stage.worker.counts("durability_degraded", 1), "the shortfall is shown")
        published = await stage.worker.metric("events_published_total")
        sent = stage.sent
        await until(lambda: stage.sent > sent + 100, "more is sent")
        assert await stage.worker.metric("events_published_total") == published
        replicas[0].resume()
        await stage.flow()
        assert await stage.worker.metric("durability_degraded") == 0
        await asyncio.sleep(fault_random.uniform(0, 0.3))
        await primary.kill()
        await stage.timed(watched.another_takes_over(primary))
        await watched.whole()
        await stage.flow()
        await stage.judge("replicated")
        assert await stage.worker.metric("rollbacks_total") == 0
        assert await stage.worker.metric("commits_total", result="rolled_back") == 0
