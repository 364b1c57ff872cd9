"""Fixtures of the consumer's tests: an ordinary client beside the consumers, and a PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from bridge.lab.redis_server import RedisServer
from tests.support.postgres import postgres_server


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """Of the shared Redis, emptied."""
    with redis.Redis.from_url(redis_server.url) as made:
        yield made


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The connection string of a PostgreSQL that runs for all tests here."""
    with postgres_server() as address:
        yield address
