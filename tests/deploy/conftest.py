"""Fixtures of the tests of helm/: a rig with a Redis of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from redis.asyncio import Redis

from bridge.lab.redis_server import RedisServer
from bridge.lab.simulator import Simulator
from tests.support.worker_rig import Rig


@pytest_asyncio.fixture
async def own_rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """Simulated lens API and Redis, to be filled with workers; Redis keeps nothing over a kill."""
    async with Simulator(control_port=0) as simulator, RedisServer() as server, Redis.from_url(server.url) as client:
        rig = Rig(server, client, simulator, tmp_path)
        try:
            yield rig
        finally:
            await rig.close()
