"""A source of thousands of sessions in one process: each gives an event every so often, and no more is kept of it.

`python -m tests.benchmarks.fleet_source INTERVAL_SECONDS` prints its port. Event n of a session was due at a time that
follows from its name, so nothing is remembered: a reader that asks for what came after event n is sent the rest at once
and then each event when it is due. Every session lives for ever, and `Last-Event-ID` is the number of the last event.

`/readers?since=T` tells for each session how long it had no reader since T (monotonic seconds, one clock for all
processes of this machine), as JSON: `{"lsn-1": [longest, readers now, connections]}`.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
import zlib
from collections import defaultdict
from dataclasses import dataclass, field

__all__ = ["EVENT_BYTES"]

EVENT_BYTES = 250
_BUCKETS_PER_SECOND = 100
_REQUEST = re.compile(rb"GET (\S+) HTTP/1\.1\r\n")
_LAST_ID = re.compile(rb"\r\nlast-event-id: *([0-9]+)", re.IGNORECASE)
_CONSUMER = b"/lens/sessions/consumer/"
_STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@dataclass(slots=True)
class Session:
    """When it had readers. Times are monotonic seconds."""

    phase: float
    readers: int = 0
    connections: int = 0
    unread_since: float | None = None
    unread: list[tuple[float, float]] = field(default_factory=list)

    def opened(self, now: float) -> None:
        """One reader more."""
        self.connections += 1
        self.readers += 1
        if self.readers == 1 and self.unread_since is not None:
            self.unread.append((self.unread_since, now))
            self.unread_since = None

    def closed(self, now: float) -> None:
        """One reader less."""
        self.readers -= 1
        if self.readers == 0:
            self.unread_since = now

    def longest_unread(self, since: float, now: float) -> float:
        """The longest time without a reader, of which ``since`` saw at least the end."""
        spans = [*self.unread, *([(self.unread_since, now)] if self.unread_since is not None else [])]
        return max((end - begin for begin, end in spans if end > since), default=0.0)


class Fleet:
    """All sessions, and who reads them."""

    def __init__(self, interval_seconds: float) -> None:
        self.interval_seconds = interval_seconds
        self.began = time.monotonic()
        self.ahead = time.time() - time.monotonic()  # of Unix time, so that an event can say when it was due
        self.sessions: dict[str, Session] = {}
        self._buckets = round(interval_seconds * _BUCKETS_PER_SECOND)
        self._reading: dict[int, set[Reader]] = defaultdict(set)

    def session(self, name: str) -> Session:
        """Made at first sight."""
        found = self.sessions.get(name)
        if found is None:
            bucket = zlib.crc32(name.encode()) % self._buckets
            found = self.sessions[name] = Session(phase=bucket / _BUCKETS_PER_SECOND)
        return found

    def due(self, session: Session, now: float) -> int:
        """The number of the last event that was due."""
        return max(0, int((now - self.began - session.phase) / self.interval_seconds))

    def event(self, session: Session, number: int) -> bytes:
        """As a chunk of HTTP."""
        due = self.began + session.phase + number * self.interval_seconds + self.ahead
        data = json.dumps({"type": "inference.result", "n": number, "due": round(due, 4)})
        block = b"event: message\nid: %d\ndata: %s\n\n" % (number, data.ljust(EVENT_BYTES).encode())
        return b"%x\r\n%s\r\n" % (len(block), block)

    def add(self, reader: Reader, session: Session) -> None:
        """It gets what is due from now on."""
        self._reading[round(session.phase * _BUCKETS_PER_SECOND)].add(reader)

    def drop(self, reader: Reader, session: Session) -> None:
        """It has gone."""
        self._reading[round(session.phase * _BUCKETS_PER_SECOND)].discard(reader)

    async def run(self) -> None:
        """Send what falls due."""
        bucket = 0
        while True:
            at = self.began + bucket / _BUCKETS_PER_SECOND
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            for reader in tuple(self._reading[bucket % self._buckets]):
                reader.send_due()
            bucket += 1

    def report(self, since: float) -> bytes:
        """Who was read how."""
        now = time.monotonic()
        rows = {
            name: (round(one.longest_unread(since, now), 3), one.readers, one.connections)
            for name, one in self.sessions.items()
        }
        return json.dumps(rows).encode()


class Reader(asyncio.Protocol):
    """One connection."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._session: Session | None = None
        self._transport: asyncio.Transport | None = None
        self._request = b""
        self._sent = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the request."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer a whole request; there is one a connection."""
        self._request += data
        if self._session is None and b"\r\n\r\n" in self._request:
            self._answer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it."""
        if self._session is not None:
            self._fleet.drop(self, self._session)
            self._session.closed(time.monotonic())

    def send_due(self) -> None:
        """Everything up to now."""
        assert self._session is not None
        assert self._transport is not None
        last = self._fleet.due(self._session, time.monotonic() + 0.5 / _BUCKETS_PER_SECOND)
        blocks = [self._fleet.event(self._session, number) for number in range(self._sent + 1, last + 1)]
        self._sent = max(self._sent, last)
        if blocks:
            self._transport.write(b"".join(blocks))

    def _answer(self) -> None:
        assert self._transport is not None
        found = _REQUEST.match(self._request)
        path = found[1] if found else b""
        if _CONSUMER in path:
            name = path.rpartition(b"/")[2].decode()
            self._session = self._fleet.session(name)
            last = _LAST_ID.search(self._request)
            self._sent = int(last[1]) if last else 0
            self._session.opened(time.monotonic())
            self._fleet.add(self, self._session)
            self._transport.write(_STREAM)
            self.send_due()
            return
        body = self._fleet.report(float(path.rpartition(b"=")[2])) if b"/readers" in path else _listed(path)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        self._transport.write(head % len(body) + body)
        self._transport.close()


def _listed(path: bytes) -> bytes:
    session_id = path.partition(b"session_id=")[2].partition(b"&")[0].decode()
    return json.dumps([{"session_id": session_id, "session_status": "SESSION_STATUS_RUNNING"}]).encode()


async def _serve(interval_seconds: float) -> None:
    fleet = Fleet(interval_seconds)
    server = await asyncio.get_running_loop().create_server(lambda: Reader(fleet), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await fleet.run()


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1])))
