"""A member of a consumer group with redis-py on asyncio: several entries at a time, at least once.

Any number of members, to be killed at any instant. Where the effect of an event may happen once only, set a mark with
`session_id`, `seq` and `id` in the transaction of the work, as the README's consumer does.
"""

import asyncio
import contextlib
import json
import os
import socket

from redis import RedisError, ResponseError
from redis.asyncio import Redis

STREAM, GROUP, ME = "lens:{camera-1}:events", "my-service", socket.gethostname()  # members may share a name
CLAIM_MS = int(os.environ.get("CLAIM_MS", 60_000))  # longer than any work takes: then an entry goes to another member
TRIES = int(os.environ.get("TRIES", 10))


async def work(entry: dict[bytes, bytes]) -> None:
    json.loads(entry[b"data"])  # raises for bytes that are no text: such an entry is set aside in the end
    print(entry[b"seq"].decode(), entry[b"type"].decode(), len(entry[b"data"]), flush=True)


async def take(redis: Redis, entry_id: bytes, entry: dict[bytes, bytes], earlier: int) -> None:
    """`earlier`: how often it was delivered before."""
    if entry and earlier >= TRIES:
        await redis.xadd(f"{GROUP}:poison", entry)  # for a person to look at
    elif entry:  # what was trimmed meanwhile has no fields
        try:
            await work(entry)
        except Exception as error:
            print(entry_id, repr(error), flush=True)
            return  # it stays pending, and is tried again when it is claimed
    await redis.xack(STREAM, GROUP, entry_id)


async def left_behind(redis: Redis) -> None:
    for left in await redis.xpending_range(STREAM, GROUP, "-", "+", 100, idle=CLAIM_MS):
        for _, entry in await redis.xclaim(STREAM, GROUP, ME, CLAIM_MS, [left["message_id"]]):
            await take(redis, left["message_id"], entry, left["times_delivered"])


async def main() -> None:
    async with Redis.from_url(os.environ.get("BRIDGE_REDIS__URL", "redis://localhost:6379")) as redis:
        while True:
            try:
                with contextlib.suppress(ResponseError):  # it is there
                    await redis.xgroup_create(STREAM, GROUP, "0", mkstream=True)
                while True:
                    await left_behind(redis)
                    for _, entries in await redis.xreadgroup(GROUP, ME, {STREAM: ">"}, count=10, block=2000):
                        async with asyncio.TaskGroup() as side_by_side:
                            for entry_id, entry in entries:
                                side_by_side.create_task(take(redis, entry_id, entry, 0))
            except* RedisError as errors:  # away, loading, read-only, emptied
                print(errors.exceptions[0], flush=True)
                await asyncio.sleep(1)


asyncio.run(main())
