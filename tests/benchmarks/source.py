"""A source that is never the bottleneck. `python -m tests.benchmarks.source SESSIONS EVENTS DATA_BYTES PER_CHUNK`

It prints its port, then takes turns: it accepts SESSIONS connections, answers each with the head of an event stream and
prints `connected`; then it waits for a line `EVENTS PER_SECOND` on standard input and sends so many events to each.

PER_SECOND 0 is as fast as TCP takes it: a body of EVENTS was rendered beforehand into a file, and the kernel sends it
from there (sendfile), which leaves nearly the whole core to the worker and Redis; more than that is rendered as it is
sent, for the long run whose file would fill the disk. Else each event is sent as it becomes due, alone, PER_SECOND to
each session, the sessions evenly spread; its data says when. Connections stay open and silent until those of the next
turn stand.
"""

from __future__ import annotations

import itertools
import socket
import sys
import tempfile
import time
from typing import BinaryIO

from tests.benchmarks.frames import chunk, chunks, frame

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_TICK_SECONDS = 0.001
"""Of many sessions, what has become due is sent once a tick: to wake for each event would cost more than to send it. A
lone session has its events when they are due, as far as the kernel wakes us: its latency is looked at."""
_BLOCK_CHUNKS = 1000


class Body:
    """Rendered events, and where each chunk of them ends."""

    def __init__(self, events: int, data_bytes: int, per_chunk: int) -> None:
        self._events, self._data_bytes, self._per_chunk = events, data_bytes, per_chunk
        self._ends = [0]
        self._file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as the program
        for one in chunks(events, data_bytes, per_chunk):
            self._ends.append(self._ends[-1] + self._file.write(one))
        self._file.flush()

    def send(self, connection: socket.socket, events: int) -> None:
        """Send the chunks that hold the first ``events``."""
        if events <= self._events:
            connection.sendfile(self._file, 0, self._ends[-(-events // self._per_chunk)])
            return
        rendered = chunks(events, self._data_bytes, self._per_chunk)
        while block := b"".join(itertools.islice(rendered, _BLOCK_CHUNKS)):
            connection.sendall(block)


def _accepted(listener: socket.socket) -> socket.socket:
    connection, _ = listener.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    request = b""
    while b"\r\n\r\n" not in request:
        request += connection.recv(65536)
    connection.sendall(_HEAD)
    print("connected", flush=True)
    return connection


def _send_paced(connections: list[socket.socket], events: int, data_bytes: int, per_second: float) -> None:
    """Event by event: session i has its n-th event (from 0) due at (n + i / sessions) / per_second."""
    rate, total = per_second * len(connections), events * len(connections)
    tick_seconds = _TICK_SECONDS if len(connections) > 1 else 0.0
    began, sent = time.monotonic(), 0
    while sent < total:
        due = min(total, int((time.monotonic() - began) * rate) + 1)
        for one in range(sent, due):
            number, session = divmod(one, len(connections))
            event = frame(number + 1, data_bytes, timestamp=time.time(), sent_ns=time.monotonic_ns())
            connections[session].sendall(chunk(event))
        sent = due
        time.sleep(max(tick_seconds, began + sent / rate - time.monotonic(), 0.0))


def main() -> None:
    """Serve until killed."""
    sessions, events, data_bytes, per_chunk = (int(text) for text in sys.argv[1:5])
    body = Body(events, data_bytes, per_chunk)
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print(listener.getsockname()[1], flush=True)
    earlier: list[socket.socket] = []
    while True:
        connections = [_accepted(listener) for _ in range(sessions)]
        for connection in earlier:
            connection.close()
        wanted, per_second = sys.stdin.readline().split()
        try:
            if float(per_second):
                _send_paced(connections, int(wanted), data_bytes, float(per_second))
            else:
                for connection in connections:
                    body.send(connection, int(wanted))
        except OSError:
            pass  # a reader that has enough leaves
        earlier = connections


if __name__ == "__main__":
    main()
