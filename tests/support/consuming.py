"""Streams as a bridge writes them, and consumers of either kind, for the tests of `bridge.consumer`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import redis

from bridge.consumer import AsyncConsumer, Consumer, Entry, Event, Limits

__all__ = ["FAST", "GROUP", "STREAM", "add", "add_events", "eventually", "seqs", "take"]

STREAM, GROUP = "lens:{camera-1}:events", "my-service"
FAST = Limits(claim_after_seconds=0.4, block_seconds=0.05, retry_seconds=0.01, backoff_max_seconds=0.1)


def add(client: redis.Redis, seq: int, *, stream: str = STREAM, entry_id: str = "*", **fields: Any) -> str:
    """One entry; returns its entry id."""
    whole = {
        "id": str(100 + seq),
        "session_id": "lsn-1",
        "seq": seq,
        "type": "inference.result",
        "data": b'{"type": "inference.result"}',
        "received_at": "1741843200.123",
    } | fields
    added: Any = client.xadd(stream, whole, id=entry_id)  # type: ignore[arg-type]
    return str(added.decode())


def add_events(client: redis.Redis, count: int, *, first: int = 1, stream: str = STREAM) -> None:
    """So many events, numbered from ``first`` on."""
    for seq in range(first, first + count):
        add(client, seq, stream=stream)


def seqs(entries: Sequence[Entry]) -> list[int]:
    """The numbers of those that are events."""
    return [one.seq for one in entries if isinstance(one, Event)]


def take(
    kind: str, url: str, count: int, work: Callable[[Entry], None] = lambda entry: None, **how: Any
) -> list[Entry]:
    """Read so many entries with a consumer of one kind, stop it, and give what was read.

    ``work`` may raise: what it raises leaves the loop, as in any program.
    """
    taken: list[Entry] = []
    how = {"limits": FAST} | how

    def one(entry: Entry, stop: Callable[[], None]) -> None:
        taken.append(entry)
        work(entry)
        if len(taken) >= count:
            stop()

    if kind == "threads":
        with Consumer(url, STREAM, GROUP, **how) as consumer:
            for entry in consumer:
                one(entry, consumer.stop)
        return taken

    async def read() -> None:
        async with AsyncConsumer(url, STREAM, GROUP, **how) as consumer:
            async for entry in consumer:
                one(entry, consumer.stop)

    asyncio.run(read())
    return taken


def eventually(condition: Callable[[], bool], what: str, *, timeout: float = 30.0) -> None:
    """Return when the condition holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}"
        time.sleep(0.01)
