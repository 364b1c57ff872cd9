"""Redis's own limit: XADD of the fields that the bridge wrote, packed beforehand, replies parsed in C (hiredis).

`python -m tests.benchmarks.peers.limit REDIS_URL EVENTS EVENTS_PER_ROUND_TRIP ENTRIES_FILE` prints `ready`, waits for a
line on standard input, and writes EVENTS entries into the stream `peer`. The file holds entries as JSON: lists of
field, value, field, value, ….
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from urllib.parse import urlsplit

import hiredis

_READ_BYTES = 1 << 20


def main() -> None:
    """Push as fast as one connection takes it."""
    redis_url, events, per_trip, entries_file = sys.argv[1:5]
    entries: list[list[str]] = json.loads(Path(entries_file).read_text())
    packed = [hiredis.pack_command(("XADD", "peer", "*", *fields)) for fields in entries]  # type: ignore[arg-type]
    trip = [packed[number % len(packed)] for number in range(int(per_trip))]
    address = urlsplit(redis_url)
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        print("ready", flush=True)
        sys.stdin.readline()
        _push(connection, trip, int(events))
        sys.stdin.read()  # there to be measured until it is ended


def _push(connection: socket.socket, trip: list[bytes], events: int) -> None:
    reader, whole, left = hiredis.Reader(), b"".join(trip), events
    while left:
        now = min(left, len(trip))
        connection.sendall(whole if now == len(trip) else b"".join(trip[:now]))
        replies = 0
        while replies < now:
            reader.feed(connection.recv(_READ_BYTES))
            while (reply := reader.gets()) is not False:
                if isinstance(reply, hiredis.ReplyError):
                    raise SystemExit(f"XADD was refused: {reply}")
                replies += 1
        left -= now


if __name__ == "__main__":
    main()
