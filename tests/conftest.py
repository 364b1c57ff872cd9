"""Fixtures for all tests: real Redis servers, clients, and seeds that a failed run can be repeated with."""

from __future__ import annotations

import os
import random
import zlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, settings
from redis.asyncio import Redis

from bridge.lab.redis_server import OVERRIDE_VARIABLE, RedisServer, RedisServerError, find_redis_server

SEED_VARIABLE = "BRIDGE_TEST_SEED"
SEED = int(os.environ.get(SEED_VARIABLE) or random.SystemRandom().randrange(2**32))

# No property depends on the speed of the machine: an example may take as long as it likes, and so may making one.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# Where every change has to pass, a run is about the change: the examples are the same each time. What is new is looked
# for by everybody else's runs.
settings.register_profile("the_same", settings.get_profile("unhurried"), derandomize=True)
settings.load_profile("the_same" if os.environ.get("BRIDGE_TEST_CI") else "unhurried")


def pytest_report_header() -> list[str]:
    """What a person needs to repeat this run."""
    try:
        server = str(find_redis_server())
    except RedisServerError as error:
        server = str(error)
    return [f"redis server: {server} ({OVERRIDE_VARIABLE} names another)", f"fault seed: {SEED_VARIABLE}={SEED}"]


@pytest.fixture
def fault_seed(request: pytest.FixtureRequest) -> int:
    """A number of its own for each test, the same again under the same BRIDGE_TEST_SEED."""
    return SEED ^ zlib.crc32(request.node.nodeid.encode())


@pytest.fixture
def fault_random(fault_seed: int) -> random.Random:
    """Randomness for faults, seeded with `fault_seed`."""
    return random.Random(fault_seed)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_redis_server() -> AsyncIterator[RedisServer]:
    """The one Redis of a test run. Tests take `redis_server`, which is the same one emptied."""
    async with RedisServer() as server:
        yield server


@pytest_asyncio.fixture
async def redis_server(shared_redis_server: RedisServer) -> RedisServer:
    """The shared Redis, empty. For tests that neither stop nor reconfigure it."""
    async with Redis.from_url(shared_redis_server.url) as client:
        await client.flushall()
    return shared_redis_server


@pytest_asyncio.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[Redis]:
    """A client of the shared Redis, replies as bytes."""
    async with Redis.from_url(redis_server.url) as client:
        yield client


@pytest_asyncio.fixture
async def private_redis() -> AsyncIterator[RedisServer]:
    """A Redis of the test's own, with AOF, to kill, pause and restart."""
    async with RedisServer(appendonly=True) as server:
        yield server
