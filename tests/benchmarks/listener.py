"""How late events are for who reads them. `python -m tests.benchmarks.listener REDIS_URL STREAM EVENTS`

It reads a stream as a consumer does, blocked in XREAD, until it has EVENTS entries, and prints a line of JSON: p50 and
p99, in microseconds, of the time from before the source sent an event until its entry was parsed here. The first tenth
is not counted. Both times are of this machine's monotonic clock, which all its processes share; the source writes its
own into the data. An entry id would not do: it is in whole milliseconds and of the wall clock, and so is all that Redis
tells of its time. And it would leave out the way to the consumer, who is woken for each commit.
"""

from __future__ import annotations

import gc
import json
import socket
import sys
import time
from collections.abc import Iterator
from typing import cast
from urllib.parse import urlsplit

import hiredis

from tests.benchmarks.frames import sent_ns_of
from tests.benchmarks.report.results import percentile

Entry = tuple[bytes, list[bytes]]

_READ_BYTES = 1 << 20
_WARM_UP_SHARE = 0.1


def main() -> None:
    """Listen, and say how late it was."""
    redis_url, stream, events = sys.argv[1], sys.argv[2], int(sys.argv[3])
    address = urlsplit(redis_url)
    latencies_us: list[float] = []
    gc.disable()  # nothing here makes circles, and a collection would be a pause
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for entries in _news(connection, stream):
            now = time.monotonic_ns()
            latencies_us += [(now - sent_ns_of(_data(fields))) / 1000 for _, fields in entries]
            if len(latencies_us) >= events:
                break
    counted = latencies_us[int(events * _WARM_UP_SHARE) :]
    print(json.dumps({"p50_us": percentile(counted, 0.5), "p99_us": percentile(counted, 0.99)}), flush=True)
    sys.stdin.read()


def _news(connection: socket.socket, stream: str) -> Iterator[list[Entry]]:
    reader, last = hiredis.Reader(), b"0"
    while True:
        connection.sendall(hiredis.pack_command(("XREAD", "BLOCK", 0, "STREAMS", stream, last)))  # type: ignore[arg-type]
        while (reply := reader.gets()) is False:
            reader.feed(connection.recv(_READ_BYTES))
        if isinstance(reply, hiredis.ReplyError):
            raise SystemExit(f"XREAD was refused: {reply}")
        entries = cast("list[Entry]", reply[0][1])
        yield entries
        last = entries[-1][0]


def _data(fields: list[bytes]) -> bytes:
    return fields[fields.index(b"data") + 1]


if __name__ == "__main__":
    main()
