"""A worker that was told to wait for replicas, in front of one that hangs."""

from __future__ import annotations

import asyncio
import os
import signal

from bridge.lab.redis_server import RedisServer
from bridge.lab.simulator import Profile
from tests.support.worker import until
from tests.support.worker_rig import Rig


async def test_a_replica_that_hangs_stops_the_stream_and_nothing_is_written_twice(own_rig: Rig) -> None:
    """What is asked for is waited for: the metric says so, and all goes on when the replica does."""
    rig = own_rig
    session = rig.simulator.create_session("lsn-replicated")
    async with RedisServer(arguments=["--replicaof", "127.0.0.1", str(rig.server.port)]) as replica:
        async with asyncio.timeout(30):
            while int(await rig.client.wait(1, 100)) < 1:
                await rig.client.set("in-step", 1)
        session.play(Profile.SIZED, rate=300)
        worker = await rig.worker(
            session, redis__durability="replicated", redis__durability_timeout_seconds=0.2, commit__max_events=20
        ).start()
        await rig.reaches(session, 100)
        assert await worker.metric("durability_degraded") == 0
        os.kill(replica.pid, signal.SIGSTOP)

        async def degraded() -> bool:
            return await worker.metric("durability_degraded") == 1

        await until(degraded, "the shortfall is seen")
        stands = await rig.seq(session)
        os.kill(replica.pid, signal.SIGCONT)
        await rig.reaches(session, stands + 200)
        session.pause()
        await rig.assert_kept(session)
        assert await worker.metric("rollbacks_total") == 0
        assert not await degraded()
