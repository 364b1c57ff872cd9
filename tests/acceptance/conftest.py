"""Fixtures of the acceptance tests: a rig on the shared Redis, and one with a Redis of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from bridge.lab.redis_server import RedisServer
from bridge.lab.simulator import Simulator
from tests.support.worker_rig import Rig

TEST_TIMEOUT_SECONDS = 300


@pytest_asyncio.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """A simulated lens API, whose control port stays open while the other one refuses."""
    async with Simulator(control_port=0) as simulator:
        yield simulator


@pytest_asyncio.fixture
async def rig(redis_server: RedisServer, simulator: Simulator, tmp_path: Path) -> AsyncIterator[Rig]:
    """For tests that leave Redis alone."""
    async for made in _rig(redis_server, simulator, tmp_path):
        yield made


@pytest_asyncio.fixture
async def own_rig(simulator: Simulator, tmp_path: Path) -> AsyncIterator[Rig]:
    """With a Redis to pause, kill and reconfigure; it keeps nothing over a kill but snapshots."""
    async with RedisServer() as server:
        async for made in _rig(server, simulator, tmp_path):
            yield made


async def _rig(server: RedisServer, simulator: Simulator, directory: Path) -> AsyncIterator[Rig]:
    async with Redis.from_url(server.url) as client:
        made = Rig(server, client, simulator, directory)
        try:
            yield made
        finally:
            await made.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each wait has a deadline of its own; a test that starts twenty processes takes longer than others may."""
    for item in items:
        if item.path.parent == Path(__file__).parent and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_TIMEOUT_SECONDS))
