"""The least that has to be done: from the socket to XADD, with no promise at all.

`python -m tests.benchmarks.peers.bare_loop BASE_URL REDIS_URL STREAM...` reads one session into each stream. It takes
what a socket has, finds id and data of each whole frame, sends an XADD of the fields that the bridge writes for each,
and waits for the replies: no JSON, no place, no lease, no reconnect. It leans on what the source of these benchmarks
does and no server promises: `id` before `data`, one line of data, and HTTP chunks that end where a frame ends, so that
their sizes stand between frames and can be passed over.
"""

from __future__ import annotations

import gc
import selectors
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

import hiredis

_LONE_BUFFER_BYTES, _BUFFER_BYTES = 1 << 20, 1 << 12
_REPLY_BYTES = 1 << 16
_ID, _DATA = b"\nid: ", b"\ndata: "
_FIELDS = b"".join(b"$%d\r\n%s\r\n$%%d\r\n%%s\r\n" % (len(one), one) for one in (b"id", b"seq", b"received_at"))
_FIELDS += b"$4\r\ndata\r\n$%d\r\n"


class Session:
    """A connection to the source, and the stream that its events go to."""

    def __init__(self, base_url: str, stream: str, buffer_bytes: int) -> None:
        self.socket = _connection(base_url)
        self.socket.sendall(b"GET /lens/sessions/consumer/lsn-bench HTTP/1.1\r\nHost: source\r\n\r\n")
        constant = ("XADD", stream, "*", "session_id", "lsn-bench", "type", "inference.result")
        self._head = b"*15\r\n" + b"".join(b"$%d\r\n%s\r\n" % (len(one), one.encode()) for one in constant)
        self._buffer, self._end, self._seq = bytearray(buffer_bytes), 0, 0

    def read(self) -> tuple[bytes, int]:
        """Wait for bytes; the commands for the frames that are whole now, and how many."""
        if self._end == len(self._buffer):  # a frame fills it
            self._buffer.extend(bytes(self._end))
        with memoryview(self._buffer) as view:
            received = self.socket.recv_into(view[self._end :])
            if not received:
                raise SystemExit("the source closed the connection")
            self._end += received
            return self._commands(view)

    def _commands(self, view: memoryview) -> tuple[bytes, int]:
        buffer, begin, before, now = self._buffer, 0, self._seq, b"%.3f" % time.time()
        parts: list[bytes | memoryview] = []
        while (id_at := buffer.find(_ID, begin, self._end)) >= 0:
            data_at = buffer.find(_DATA, id_at + 1, self._end)
            end = buffer.find(b"\n", data_at + len(_DATA), self._end) if data_at > 0 else -1
            if end < 0:
                break
            self._seq += 1
            event_id, seq, data = view[id_at + len(_ID) : data_at], b"%d" % self._seq, view[data_at + len(_DATA) : end]
            fields = _FIELDS % (len(event_id), event_id, len(seq), seq, len(now), now, len(data))
            parts += (self._head, fields, data, b"\r\n")
            begin = end
        commands = b"".join(parts)  # the one copy of the data, before what is left moves to the front
        view[: self._end - begin] = bytes(view[begin : self._end])
        self._end -= begin
        return commands, self._seq - before


def main() -> None:
    """Copy until killed."""
    base_url, redis_url, *streams = sys.argv[1:]
    buffer_bytes = _LONE_BUFFER_BYTES if len(streams) == 1 else _BUFFER_BYTES
    sessions = [Session(base_url, stream, buffer_bytes) for stream in streams]
    gc.disable()  # nothing here makes circles, and a collection would be a pause
    store, replies = _connection(redis_url), hiredis.Reader()
    for ready in _ready(sessions):
        read = [one.read() for one in ready]
        if awaited := sum(count for _, count in read):
            store.sendall(b"".join(commands for commands, _ in read))
            while awaited:
                replies.feed(store.recv(_REPLY_BYTES))
                while (reply := replies.gets()) is not False:
                    if isinstance(reply, hiredis.ReplyError):
                        raise SystemExit(f"XADD was refused: {reply}")
                    awaited -= 1


def _ready(sessions: Sequence[Session]) -> Iterator[Sequence[Session]]:
    """Those that have bytes, again and again; a lone one is not asked, since reading it waits."""
    if len(sessions) == 1:
        while True:
            yield sessions
    selector = selectors.DefaultSelector()
    for one in sessions:
        selector.register(one.socket, selectors.EVENT_READ, one)
    while True:
        yield [key.data for key, _ in selector.select()]


def _connection(url: str) -> socket.socket:
    address = urlsplit(url)
    made = socket.create_connection((address.hostname, address.port))
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


if __name__ == "__main__":
    main()
