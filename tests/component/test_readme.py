"""What the README shows is what works."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

from redis.asyncio import Redis

from bridge.lab.redis_server import RedisServer

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


async def test_the_consumer_prints_each_event_once_though_it_was_delivered_twice(
    redis_server: RedisServer, redis: Redis
) -> None:
    """It crashed before XACK, and Redis was rolled back meanwhile: the same `seq` came again under another entry id."""
    stream, group = "lens:{camera-1}:events", "my-service"
    await redis.xgroup_create(stream, group, id="0", mkstream=True)
    for seq in (1, 2, 2, 3):
        await redis.xadd(stream, {"id": str(seq), "session_id": "lsn-1", "seq": str(seq), "type": "t", "data": "{}"})
    await redis.xreadgroup(group, "my-service-1", {stream: ">"}, count=2)  # delivered, never acknowledged
    [source] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", "-c", source),
        env=os.environ | {"BRIDGE_REDIS__URL": redis_server.url},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert [await process.stdout.readline() for _ in range(3)] == [b"1 t {}\n", b"2 t {}\n", b"3 t {}\n"]
    finally:
        process.kill()
        await process.communicate()


def test_the_consumer_outlasts_a_quiet_stream() -> None:
    """It blocks for less than redis-py waits for a reply: 5 seconds since its version 8."""
    [milliseconds] = re.findall(r"block=(\d+)", README)
    assert 0 < int(milliseconds) < 4000


def test_it_stays_readable_in_one_sitting() -> None:
    """Under 400 lines, a tenth of them about which Redis."""
    assert len(README.splitlines()) < 400
