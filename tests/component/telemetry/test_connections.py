"""Who holds connections to the admin port: probes are answered all the same. On real sockets."""

from __future__ import annotations

import asyncio
import errno
import json
import socket
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from bridge.lab.redis_server import RedisServer
from bridge.lab.simulator import Simulator
from bridge.masking import Secrets
from bridge.settings import AdminSettings
from bridge.telemetry import listening
from bridge.telemetry.admin import AdminServer
from bridge.telemetry.connections import MAX_CONNECTIONS, Connections, Limits
from bridge.telemetry.listening import ALL_ADDRESSES, listen
from bridge.telemetry.status import WorkerStatus
from tests.support.raw_worker import free_port, raw_worker, serves
from tests.support.worker import until

HALF_A_REQUEST = b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: "
DEADLINE_SECONDS = 30.0


@pytest.fixture
async def server() -> AsyncIterator[AdminServer]:
    """An idle worker's."""
    status = WorkerStatus(worker_id="w", version="1")
    async with AdminServer(AdminSettings(host="127.0.0.1", port=0), status, Secrets()) as made:
        yield made


async def _ended(reader: StreamReader) -> bytes:
    """All that comes until the other side closes; nothing where it was reset."""
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await reader.read()
    except ConnectionResetError:
        return b""


class Upper(asyncio.Protocol):
    """Answers when it is asked something whole, and leaves the connection open."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        if data.endswith(b"\n"):
            self._connections.asked(self._transport)
            self._transport.write(data.upper())


class Rig:
    """Such a server, and connections to it."""

    def __init__(self, request_seconds: float) -> None:
        self.connections = Connections(lambda: Upper(self.connections), Limits(request_seconds=request_seconds))
        self.port = free_port()

    async def connect(self, text: bytes) -> tuple[StreamReader, StreamWriter]:
        """Say this much; an answer is waited for where one is due."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(text)
        if text.endswith(b"\n"):
            async with asyncio.timeout(DEADLINE_SECONDS):
                assert await reader.readline() == text.upper()
        return reader, writer

    async def __aenter__(self) -> Rig:
        self.server = await asyncio.get_running_loop().create_server(self.connections, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()


async def test_half_a_request_is_not_waited_for_for_ever() -> None:
    """The connection ends by itself; one that was asked something whole lasts."""
    async with Rig(request_seconds=0.05) as rig:
        _, answered = await rig.connect(b"all\n")
        reader, writer = await rig.connect(b"half")
        assert await _ended(reader) == b""
        assert not answered.is_closing()
        writer.close()
        answered.close()


async def test_silent_connections_make_room_for_new_ones_the_oldest_first() -> None:
    """However many there are; what is being answered stays."""
    async with Rig(request_seconds=3600) as rig:
        busy = await rig.connect(b"busy\n")
        silent = [await rig.connect(b"half") for _ in range(MAX_CONNECTIONS + 20)]
        late = await rig.connect(b"late\n")
        for reader, _ in silent[:20]:
            assert await _ended(reader) == b""
        for reader, writer in (busy, late, silent[-1]):
            writer.write(b"more\n")
            assert await reader.readline() in (b"MORE\n", b"HALFMORE\n")
        for _, writer in (busy, late, *silent):
            writer.close()


async def test_no_more_than_so_many_are_answered_at_once() -> None:
    """The next one is closed, and has its turn when one of them is done."""
    async with Rig(request_seconds=3600) as rig:
        busy = [await rig.connect(b"busy\n") for _ in range(MAX_CONNECTIONS)]
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        assert await _ended(reader) == b""
        writer.close()
        for _, done in busy[:2]:
            done.close()
            await done.wait_closed()

        async def admitted() -> bool:
            reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
            writer.write(b"again\n")
            answered = await _first_line(reader) == b"AGAIN\n"
            writer.close()
            return answered

        await until(admitted, "there is room again")
        for _, writer in busy[2:]:
            writer.close()


async def _first_line(reader: StreamReader) -> bytes:
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await reader.readline()
    except ConnectionResetError:
        return b""


async def test_half_requests_hold_no_probe_up(server: AdminServer) -> None:
    """Eight hundred of them; the kubelet's is answered between any two."""
    held = []
    for number in range(800):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(HALF_A_REQUEST)
        held.append((reader, writer))
        if number % 100 == 99:
            async with httpx.AsyncClient(timeout=DEADLINE_SECONDS) as client:
                assert (await client.get(f"http://127.0.0.1:{server.port}/livez")).status_code == 200
    for reader, _ in held[: 800 - MAX_CONNECTIONS]:
        assert await _ended(reader) == b""
    for _, writer in held:
        writer.close()


async def test_a_connection_carries_one_request(server: AdminServer) -> None:
    """Else who keeps one open and says nothing more could not be told from who says half of it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = await _ended(reader)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nConnection: close\r\n" in answer


async def test_an_address_of_ipv6_is_served() -> None:
    """As in a pod that has no other."""
    status = WorkerStatus(worker_id="w", version="1")
    async with (
        AdminServer(AdminSettings(host="::1", port=0), status, Secrets()) as server,
        httpx.AsyncClient(timeout=DEADLINE_SECONDS) as client,
    ):
        assert (await client.get(f"http://[::1]:{server.port}/livez")).status_code == 200


async def test_the_default_means_every_address_of_both_families() -> None:
    """One socket takes both; it is bound here, and nothing listens."""
    assert AdminSettings().host == ALL_ADDRESSES
    (made,) = await listen(ALL_ADDRESSES, 0)
    with made:
        assert (made.family, made.getsockname()[0]) == (socket.AF_INET6, "::")
        assert made.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 0


async def test_a_kernel_without_ipv6_is_served_in_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    """There such a socket cannot be made."""
    bound = listening._Socket.bound

    def without_ipv6(family: int, address: Any, *, dual: bool = False) -> Any:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return bound(family, address, dual=dual)

    monkeypatch.setattr(listening._Socket, "bound", without_ipv6)
    (made,) = await listen(ALL_ADDRESSES, 0)
    with made:
        assert (made.family, made.getsockname()[0]) == (socket.AF_INET, ALL_ADDRESSES)


async def test_probes_are_answered_when_descriptors_have_run_out(redis_server: RedisServer) -> None:
    """More sessions than descriptors: no traceback, and every probe is answered though each is a new connection."""
    sessions = 120
    port = free_port()
    async with Simulator() as simulator:
        for number in range(sessions):
            simulator.create_session(f"lsn-{number}")
        settings = {
            "admin.port": port,
            "redis.url": redis_server.url,
            "sessions": ",".join(f"s{number}=lsn-{number}" for number in range(sessions)),
            "source.base_url": simulator.base_url,
        }
        few = ("sh", "-c", 'ulimit -n 100; exec "$@"', "sh")
        async with raw_worker(settings, *few, stderr=asyncio.subprocess.PIPE) as process:
            assert process.stderr is not None
            lines = []
            while b"Too many open files" not in (line := await process.stderr.readline()):
                lines.append(line)
                assert line, b"".join(lines).decode()
            for _ in range(30):
                assert await serves(port, "/livez")
            process.terminate()
            _, rest = await process.communicate()
            assert process.returncode == 0
    logged = [json.loads(line) for line in (b"".join(lines) + rest).splitlines()]  # no line of a traceback
    scarce = [line for line in logged if line["event"] == "descriptors.scarce"]
    assert [(line["sessions"], line["limit"]) for line in scarce] == [(sessions, 75)]
