"""Reads a stream as CloudEvents, with the official SDK: ``python cloud_events.py 'lens:{camera-1}:events'``."""

import os
import sys

import redis
from cloudevents.core.bindings import kafka

client = redis.Redis.from_url(os.environ.get("BRIDGE_REDIS__URL", "redis://localhost:6379"))
stream, last = sys.argv[1], b"0"

# Until nothing more is there; a service waits for more instead, with `block`.
while entries := client.xrange(stream, min=b"(" + last if last != b"0" else b"-", count=100):
    for last, fields in entries:  # noqa: B007  where it goes on
        attributes = {name.decode(): value for name, value in fields.items() if name.startswith(b"ce_")}
        if not attributes:
            continue  # written while the format was plain
        event = kafka.from_binary_event(kafka.KafkaMessage(headers=attributes, key=None, value=fields[b"data"]))
        print(event.get_source(), event.get_id(), event.get_type(), event.get_time(), event.get_data())
