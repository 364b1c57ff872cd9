"""What a careful user would write without the bridge: `httpx-sse`, and transactions of 500 events and the cursor.

`python -m tests.benchmarks.peers.sse_reader BASE_URL REDIS_URL EVENTS`
"""

from __future__ import annotations

import itertools
import json
import sys
import time

import httpx
import httpx_sse  # type: ignore[import-not-found, unused-ignore]
import redis

_TRANSACTION_EVENTS = 500


def main() -> None:
    """Read EVENTS events into the stream `peer`."""
    base_url, redis_url, events = sys.argv[1:4]
    pipeline = redis.Redis.from_url(redis_url).pipeline(transaction=True)
    url = f"{base_url}/lens/sessions/consumer/lsn-bench"
    with (
        httpx.Client(timeout=60, trust_env=False) as client,
        httpx_sse.connect_sse(client, "GET", url) as source,
    ):
        received = itertools.islice(source.iter_sse(), int(events))
        for number, event in enumerate(received, 1):
            fields = {
                "id": event.id,
                "session_id": "lsn-bench",
                "seq": number,
                "type": json.loads(event.data)["type"],
                "data": event.data,
                "received_at": f"{time.time():.3f}",
            }
            pipeline.xadd("peer", fields)  # type: ignore[arg-type]
            if number % _TRANSACTION_EVENTS == 0 or number == int(events):
                pipeline.set("peer:cursor", event.id)
                pipeline.execute()
        sys.stdin.read()  # there to be measured until it is ended


if __name__ == "__main__":
    main()
