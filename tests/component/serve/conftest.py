"""A server in this process, on a real Redis and real sockets, and what is written there."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from bridge.lab.redis_server import RedisServer
from bridge.masking import Secrets
from bridge.serve.service import StreamServer
from bridge.settings import Settings

KEY = "lens:{camera-1}:events"

Opening = Callable[..., AbstractAsyncContextManager[StreamServer]]


@pytest.fixture
def serving(redis_server: RedisServer) -> Opening:
    """Opens a server on the shared Redis: ``serving(heartbeat_seconds=1)``. Other sections by their names."""

    @asynccontextmanager
    async def opened(url: str = redis_server.url, **given: object) -> AsyncIterator[StreamServer]:
        sections = {name: given.pop(name) for name in ("sessions", "stream", "redis") if name in given}
        own = {"port": 0, "admin_port": 0, "heartbeat_seconds": 0.5, "retry_seconds": 0.1, **given}
        settings = Settings.model_validate(
            {
                "redis": {"url": url},
                "admin": {"host": "127.0.0.1"},
                "sessions": [{"name": "camera-1", "session_id": "lsn-1"}],
                "serve": own,
                **sections,
            }
        )
        async with StreamServer(settings, Secrets()) as server:
            yield server

    return opened


class Writer:
    """Writes entries as the bridge does: numbered, densely."""

    def __init__(self, client: Redis, key: str = KEY) -> None:
        self.client = client
        self.key = key
        self.seq = 0

    async def write(
        self, count: int = 1, *, type: str = "inference.result", size: int = 0, keep: int | None = None, **others: str
    ) -> None:
        """So many entries, in one step; ``keep``: the stream is trimmed to so many in the same one."""
        async with self.client.pipeline() as pipe:
            for _ in range(count):
                self.seq += 1
                fields: dict[Any, Any] = {
                    "id": f"e{self.seq}",
                    "session_id": "lsn-1",
                    "name": "camera-1",
                    "seq": str(self.seq),
                }
                data = json.dumps({"type": type, "n": self.seq, "pad": "x" * size})
                fields |= {"type": type, "data": data, "received_at": "1764143000.123", **others}
                pipe.xadd(self.key, fields)
            if keep is not None:
                pipe.xtrim(self.key, maxlen=keep, approximate=False)
            await pipe.execute()


@pytest.fixture
def writer(redis: Redis) -> Writer:
    """Of the stream that the server knows."""
    return Writer(redis)
