"""Fixtures of the tests of helm/ and of the image: a rig with a Redis of its own, the image, a lens API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from bridge.lab.redis_server import RedisServer
from bridge.lab.simulator import Simulator
from tests.support.deploy.image import Image, built_image
from tests.support.worker_rig import Rig


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """Built once, for all tests that run it."""
    with built_image(tmp_path_factory.mktemp("image")) as built:
        yield built


@pytest_asyncio.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """A lens API on loopback."""
    async with Simulator() as running:
        yield running


@pytest_asyncio.fixture
async def own_rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """Simulated lens API and Redis, to be filled with workers; Redis keeps nothing over a kill."""
    async with Simulator(control_port=0) as simulator, RedisServer() as server, Redis.from_url(server.url) as client:
        rig = Rig(server, client, simulator, tmp_path)
        try:
            yield rig
        finally:
            await rig.close()
