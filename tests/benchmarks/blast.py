"""A source that is never the bottleneck: the whole response is rendered beforehand and sent as fast as TCP takes it.

`python -m tests.benchmarks.blast EVENTS EVENT_BYTES EVENTS_PER_CHUNK` prints its port. Every connection gets all
events, then silence.
"""

from __future__ import annotations

import json
import socket
import sys
import threading

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def event(number: int, data_bytes: int) -> bytes:
    """One frame whose data is about ``data_bytes`` long."""
    envelope = {"type": "inference.result", "timestamp": 1741843200.123, "data": {"n": number, "result": ""}}
    bare = len(json.dumps(envelope))
    envelope["data"]["result"] = "x" * max(0, data_bytes - bare)  # type: ignore[index]
    return b"event: message\nid: %d\ndata: %s\n\n" % (number, json.dumps(envelope).encode())


def render(events: int, data_bytes: int, per_chunk: int) -> bytes:
    """The response body, chunked."""
    body = bytearray()
    for first in range(1, events + 1, per_chunk):
        chunk = b"".join(event(n, data_bytes) for n in range(first, min(first + per_chunk, events + 1)))
        body += b"%x\r\n%s\r\n" % (len(chunk), chunk)
    return bytes(body)


def _serve(connection: socket.socket, body: bytes) -> None:
    with connection:
        request = b""
        while b"\r\n\r\n" not in request:
            request += connection.recv(65536)
        try:
            connection.sendall(_HEAD)
            connection.sendall(body)
            connection.recv(1)  # until the client leaves
        except OSError:
            return


def main() -> None:
    """Serve until killed."""
    events, data_bytes, per_chunk = (int(text) for text in sys.argv[1:4])
    body = render(events, data_bytes, per_chunk)
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_serve, args=(connection, body), daemon=True).start()


if __name__ == "__main__":
    main()
