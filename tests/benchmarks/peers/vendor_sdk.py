"""What a user would write without the bridge: the vendor SDK's reader, and one XADD for each event.

`python -m tests.benchmarks.peers.vendor_sdk BASE_URL REDIS_URL EVENTS`
"""

from __future__ import annotations

import json
import os
import sys
import warnings

import redis
from archetypeai.api_client import ArchetypeAI  # type: ignore[import-untyped, import-not-found, unused-ignore]


def main() -> None:
    """Read EVENTS events into the stream `peer`."""
    base_url, redis_url, events = sys.argv[1:4]
    warnings.simplefilter("ignore")
    client = redis.Redis.from_url(redis_url)
    reader = ArchetypeAI("benchmark-key", api_endpoint=base_url).lens.sessions.create_sse_consumer("lsn-bench")
    for event in reader.read(max_num_events=int(events), block=True):
        client.xadd("peer", {"type": event["type"], "data": json.dumps(event)})
    sys.stdin.read()  # there to be measured until it is ended
    os._exit(0)  # its reader thread would go on for ever


if __name__ == "__main__":
    main()
