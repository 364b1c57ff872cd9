"""A worker that is killed at any instant neither loses an event nor writes it twice."""

from __future__ import annotations

import asyncio
import random

from bridge.lab.simulator import Profile, RandomDrops
from tests.support.worker_rig import Rig

KILLS = 20


async def test_twenty_kills_over_dropped_connections_lose_nothing_and_repeat_nothing(
    rig: Rig, fault_random: random.Random, fault_seed: int
) -> None:
    """SIGKILL at random instants, most of them while commits are under way, and a restart at once each time."""
    print(f"fault seed {fault_seed}")
    session = rig.simulator.create_session("lsn-killed")
    RandomDrops(mean_events=150, seed=fault_random.getrandbits(32)).apply(session)
    session.play(Profile.SIZED, rate=300)
    worker = rig.worker(session, commit__max_events=10, lease__ttl_seconds=1)
    for _ in range(KILLS):
        await worker.start()
        before = await rig.seq(session)
        if fault_random.random() < 0.8:
            await rig.reaches(session, before + 1)
        await asyncio.sleep(fault_random.uniform(0, 0.3))
        await worker.kill()
    session.pause()
    await worker.start()
    report = await rig.assert_kept(session)
    assert report.sessions[0].events == len(session.record)
    assert not report.sessions[0].gaps
