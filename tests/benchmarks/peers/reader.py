"""A service that reads in batches of 100: `python -m tests.benchmarks.peers.reader REDIS_URL STREAM EVENTS KIND`.

KIND is `plain` (XREADGROUP and XACK in a loop, with redis-py, as README shows it), or `bridge.consumer` in one of its
forms: `kit`, `order`, `asyncio`. It prints, as JSON, how many seconds that took, and how many of CPU; the sum of the
sizes of all data says that each entry was looked at.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import redis

from bridge.consumer import AsyncConsumer, Consumer

_BATCH = 100


def _plain(url: str, stream: str, events: int) -> int:
    size, seen, client = 0, 0, redis.Redis.from_url(url)
    client.xgroup_create(stream, "plain", id="0")
    while seen < events:
        found: Any = client.xreadgroup("plain", "one", {stream: ">"}, count=_BATCH, block=1000)
        for _, entries in found:
            size += sum(len(fields[b"data"]) for _, fields in entries)
            client.xack(stream, "plain", *(entry_id for entry_id, _ in entries))
            seen += len(entries)
    return size


def _kit(url: str, stream: str, events: int, *, in_order: bool) -> int:
    size, seen = 0, 0
    with Consumer(url, stream, f"kit-{in_order}", in_order=in_order) as consumer:
        for batch in consumer.batches(_BATCH):
            size += sum(len(entry.data) for entry in batch)
            seen += len(batch)
            if seen >= events:
                consumer.stop()
    return size


async def _asyncio(url: str, stream: str, events: int) -> int:
    size, seen = 0, 0
    async with AsyncConsumer(url, stream, "asyncio") as consumer:
        async for batch in consumer.batches(_BATCH):
            size += sum(len(entry.data) for entry in batch)
            seen += len(batch)
            if seen >= events:
                consumer.stop()
    return size


def main() -> None:
    """Read once."""
    url, stream, events, kind = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
    elapsed, cpu = time.monotonic(), time.process_time()
    match kind:
        case "plain":
            size = _plain(url, stream, events)
        case "asyncio":
            size = asyncio.run(_asyncio(url, stream, events))
        case _:
            size = _kit(url, stream, events, in_order=kind == "order")
    seconds = {"elapsed": time.monotonic() - elapsed, "cpu": time.process_time() - cpu}
    print(json.dumps({**seconds, "data_bytes": size}), flush=True)
    sys.stdin.read()  # there to be measured until it is ended


if __name__ == "__main__":
    main()
