"""A member of a consumer group with FastStream: at least once, any number of members, to be killed at any instant.

FastStream by itself begins at the newest entry, acknowledges what has failed, and takes every body for JSON text; what
is written out here is the other way round. A Redis that was emptied ends it (NOGROUP): let a supervisor start it again.
"""

import asyncio
import contextlib
import json
import os
import socket
from typing import Any

from faststream import AckPolicy, FastStream
from faststream.redis import RedisBroker, RedisStreamMessage, StreamSub
from redis.asyncio import Redis
from redis.exceptions import ResponseError

URL = os.environ.get("BRIDGE_REDIS__URL", "redis://localhost:6379")
STREAM, GROUP, ME = "lens:{camera-1}:events", "my-service", socket.gethostname()  # members may share a name
CLAIM_MS = int(os.environ.get("CLAIM_MS", 60_000))  # longer than any work takes: then an entry goes to another member
TRIES = int(os.environ.get("TRIES", 10))

redis = Redis.from_url(URL)
broker = RedisBroker(URL)
app = FastStream(broker)


async def fields(message: Any, parse: Any) -> RedisStreamMessage:
    """An entry as it came. FastStream's own messages have one field; all that has other fields it would make JSON."""
    parsed = await parse({**message, "data": {b"__data__": b"{}"}})
    parsed.body = message["data"]
    return parsed


async def as_they_are(message: RedisStreamMessage) -> dict[bytes, bytes]:
    return message.body


def work(entry: dict[bytes, bytes]) -> None:
    json.loads(entry[b"data"])  # raises for bytes that are no text: such an entry is set aside in the end
    print(entry[b"seq"].decode(), entry[b"type"].decode(), len(entry[b"data"]), flush=True)


raw = {"parser": fields, "decoder": as_they_are, "ack_policy": AckPolicy.NACK_ON_ERROR}  # what failed stays pending


@broker.subscriber(stream=StreamSub(STREAM, group=GROUP, consumer=ME, max_records=10, polling_interval=2000), **raw)
@broker.subscriber(stream=StreamSub(STREAM, group=GROUP, consumer=ME, min_idle_time=CLAIM_MS), **raw)  # left behind
async def take(entry: dict[bytes, bytes], message: RedisStreamMessage) -> None:
    try:
        work(entry)
    except Exception:
        [entry_id] = message.raw_message["message_ids"]
        [pending] = await redis.xpending_range(STREAM, GROUP, entry_id, entry_id, 1)
        if pending["times_delivered"] < TRIES:
            raise
        await redis.xadd(f"{GROUP}:poison", entry)  # for a person to look at


@app.on_startup
async def from_the_first_entry() -> None:
    with contextlib.suppress(ResponseError):  # it is there
        await redis.xgroup_create(STREAM, GROUP, "0", mkstream=True)


if __name__ == "__main__":
    asyncio.run(app.run())
