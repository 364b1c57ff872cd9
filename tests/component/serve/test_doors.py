"""Who may come in, and what whoever can reach the port may do to the others."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from bridge.errors import ConfigurationError
from bridge.masking import Secrets
from bridge.model.keys import SESSIONS_KEY
from bridge.model.registered import Registered
from bridge.serve.service import StreamServer
from bridge.settings import ServeSettings, Settings
from tests.component.serve.conftest import Opening, Writer
from tests.support.serving import Subscriber, narrow
from tests.support.worker import until

TOKEN, OTHER = "0123456789abcdef-first", "0123456789abcdef-second"
DEADLINE_SECONDS = 60.0


async def _ask(
    server: StreamServer, path: str = "/streams", method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], Any]:
    """Status, headers and JSON of what ends by itself."""
    url = f"http://127.0.0.1:{server.port}{path}"
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    async with aiohttp.ClientSession() as http, http.request(method, url, headers=given) as answer:
        text = "" if answer.content_type == "text/event-stream" else await answer.text()
        return answer.status, dict(answer.headers), json.loads(text) if text.startswith("{") else None


async def _raw(server: StreamServer, text: bytes) -> bytes:
    """What a client gets that sends these bytes, until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            writer.write(text)
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer {TOKEN}", 200),
        (f"Bearer {TOKEN}x", 401),
        (f"Bearer {TOKEN[:-1]}", 401),
        ("Bearer ", 401),
        (f"Basic {TOKEN}", 401),
        (TOKEN, 401),
        ("Bearer \udcff", 401),
        ("", 401),
    ],
)
@pytest.mark.parametrize("path", ["/streams", "/streams/camera-1", "/streams/nope", "/nowhere"])
async def test_without_the_token_nobody_learns_anything(
    serving: Opening, authorization: str, status: int, path: str
) -> None:
    """Not even which streams or paths there are."""
    async with serving(token=TOKEN) as server:
        request = f"GET {path} HTTP/1.0\r\nAuthorization: {authorization}\r\n\r\n".encode(errors="surrogateescape")
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(request)
        async with asyncio.timeout(DEADLINE_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        expected = status if status == 401 or path in ("/streams", "/streams/camera-1") else 404
        assert head.split()[1] == str(expected).encode()
        assert (b'WWW-Authenticate: Bearer realm="lens-bridge"' in head) == (expected == 401)


async def test_a_refusal_says_what_to_do(serving: Opening) -> None:
    """To who has sent no token, a wrong one, or asks for what is not there."""
    async with serving(token=TOKEN) as server:
        assert (await _ask(server))[2] == {"error": "send the token as Authorization: Bearer ..."}
        assert (await _ask(server, Authorization=f"Bearer {OTHER}"))[2] == {"error": "this is not the token"}
        for path in ("/", "/nowhere", "/streams/nope"):
            status, _, told = await _ask(server, path, Authorization=f"Bearer {TOKEN}")
            assert status == 404
            assert "GET /streams lists" in told["error"]


async def test_a_server_that_knows_no_session_says_so(serving: Opening, redis: Redis) -> None:
    """Started without the workers' configuration: an empty list alone would be a riddle. What is added shows up."""
    async with serving(sessions=[]) as server:
        status, _, told = await _ask(server)
        assert (status, told["streams"]) == (200, [])
        assert "BRIDGE_SESSIONS" in told["hint"]
        status, _, told = await _ask(server, "/streams/camera-1")
        assert status == 404
        assert "BRIDGE_SESSIONS" in told["error"]
    await redis.hset(SESSIONS_KEY, "camera-9", Registered(session_id="lsn-9", name="camera-9").render())
    async with serving(sessions=[]) as server:
        told = (await _ask(server))[2]
        assert [one["name"] for one in told["streams"]] == ["camera-9"]
        assert "hint" not in told


async def test_a_rotated_token_is_taken_at_once_and_open_streams_stay(
    serving: Opening, writer: Writer, tmp_path: Path
) -> None:
    """Also where the file is for a moment away, empty, or too short: then the one before stays valid."""
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    async with serving(token_file=file) as server:
        url = f"http://127.0.0.1:{server.port}/streams/camera-1"
        reader = await Subscriber(url, headers={"Authorization": f"Bearer {TOKEN}"}).start().connected()
        for bad in ("", "short", None):
            file.unlink() if bad is None else file.write_text(bad)
            assert (await _ask(server, Authorization=f"Bearer {TOKEN}"))[0] == 200
        file.write_text(OTHER)
        assert (await _ask(server, Authorization=f"Bearer {OTHER}"))[0] == 200
        assert (await _ask(server, Authorization=f"Bearer {TOKEN}"))[0] == 401
        await writer.write()
        await until(lambda: reader.seqs == [1], "what is open goes on")
        await reader.close()


async def test_a_token_in_the_address_is_taken_only_where_that_was_asked_for(serving: Opening) -> None:
    """Addresses stand in logs and histories."""
    for asked, status in ((False, 401), (True, 200)):
        async with serving(token=TOKEN, token_in_query=asked) as server:
            assert (await _ask(server, f"/streams?access_token={TOKEN}"))[0] == status
            assert (await _ask(server, f"/streams/camera-1?access_token={TOKEN}"))[0] == status
            assert (await _ask(server, f"/streams?access_token={OTHER}"))[0] == 401


@pytest.mark.parametrize(
    ("settings", "opened"),
    [
        ({"host": "127.0.0.1"}, True),
        ({"host": "::1"}, True),
        ({"host": "localhost"}, True),
        ({"host": "0.0.0.0"}, False),
        ({"host": "192.0.2.1"}, False),
        ({"host": "example.com"}, False),
        ({"host": "0.0.0.0", "anonymous": True}, True),
        ({"host": "0.0.0.0", "token": TOKEN}, True),
    ],
)
def test_beyond_this_machine_it_takes_a_token_or_a_clear_word(settings: dict[str, Any], opened: bool) -> None:
    """Else whoever finds the port reads all streams."""
    made = Settings(serve=ServeSettings(**settings))
    if opened:
        StreamServer(made, Secrets())
        return
    with pytest.raises(ConfigurationError, match="without a token"):
        StreamServer(made, Secrets())


async def test_pages_of_named_origins_may_read_and_no_others(serving: Opening) -> None:
    """Refusals can be read too, and the question before a request with a token is answered without one."""
    page = "https://app.example.com"
    asked = {"Access_Control_Request_Method": "GET", "Access_Control_Request_Headers": "authorization"}
    async with serving(token=TOKEN, cors_origins=[page]) as server:
        for origin, allowed in ((page, page), ("https://evil.example", None), ("null", None)):
            for path in ("/streams", "/streams/camera-1", "/nowhere"):
                for given in ({}, {"Authorization": f"Bearer {TOKEN}"}):
                    _, headers, _ = await _ask(server, path, Origin=origin, **given)
                    assert headers.get("Access-Control-Allow-Origin") == allowed
                    assert headers["Vary"] == "Origin"
            status, headers, _ = await _ask(server, "/streams/camera-1", "OPTIONS", Origin=origin, **asked)
            assert (status, headers.get("Access-Control-Allow-Origin")) == (204, allowed)
            assert ("Authorization" in headers.get("Access-Control-Allow-Headers", "")) == bool(allowed)
    async with serving(cors_origins="*") as server:
        assert (await _ask(server, Origin="https://x.example"))[1]["Access-Control-Allow-Origin"] == "*"
    async with serving() as server:
        assert "Access-Control-Allow-Origin" not in (await _ask(server, Origin=page))[1]


async def test_every_answer_has_the_headers_that_browsers_and_proxies_need(serving: Opening) -> None:
    """Nothing is kept, guessed at, held back or shown in a frame, and no version is told."""
    async with serving() as server:
        for path, kind in (("/streams", "application/json"), ("/streams/camera-1", "text/event-stream")):
            _, headers, _ = await _ask(server, path)
            assert headers["Content-Type"].startswith(kind)
            assert "no-store" in headers["Cache-Control"]
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Server"] == "lens-bridge"
        assert headers["X-Accel-Buffering"] == "no"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/streams/camera-2", 404),
        ("/streams/..%2f..%2fetc%2fpasswd", 404),
        ("/streams/%2e%2e", 404),
        ("/streams/../readyz", 404),
        ("/streams/lens:sessions", 404),
        ("/streams/lens:%7Bcamera-1%7D:events", 404),
        ("/streams/camera-1%0d%0aSet-Cookie:%20x", 404),
        ("/streams/%ff", 404),
        ("/streams/", 404),
        ("/metrics", 404),
        ("/streams/camera-1?type=%0d%0a", 400),
        ("/streams/camera-1?last_event_id=%0d%0a", 400),
        ("/streams/camera-1?from=1%0a2", 400),
        ("/streams/camera-1?" + "x" * 20_000, 400),
    ],
)
async def test_no_path_leads_to_another_key_and_nothing_of_it_into_a_header(
    serving: Opening, path: str, status: int
) -> None:
    """Only names that are known are looked up; keys of Redis are none."""
    async with serving() as server:
        answer = await _raw(server, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = answer.partition(b"\r\n\r\n")[0]
        assert answer.split()[1] == str(status).encode()
        assert b"Set-Cookie" not in head


@pytest.mark.parametrize(
    "request_text",
    [
        b"GET /streams HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"GET /streams HTTP/1.1\r\n" + b"X: y\r\n" * 5_000 + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET\r\n\r\n",
        b"GET /streams HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET /streams HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["huge header", "many headers", "TLS", "no request", "negative length", "broken chunk"],
)
async def test_nonsense_is_refused_and_the_others_notice_nothing(
    serving: Opening, writer: Writer, request_text: bytes
) -> None:
    """A reader goes on meanwhile."""
    async with serving() as server:
        reader = await Subscriber(f"http://127.0.0.1:{server.port}/streams/camera-1").start().connected()
        for _ in range(5):
            answer = await _raw(server, request_text)
            assert not answer or answer.split()[1] in (b"400", b"200")
        await writer.write()
        await until(lambda: reader.seqs == [1], "the reader gets what comes")
        await reader.close()
        assert reader.connects == 1


async def test_idle_connections_keep_nobody_out(serving: Opening, writer: Writer) -> None:
    """A thousand that say nothing or half a request, where forty are allowed: the oldest make room."""
    async with serving(max_connections=40, max_connections_per_address=10_000) as server:
        reader = await Subscriber(f"http://127.0.0.1:{server.port}/streams/camera-1").start().connected()
        held = []
        for number in range(1000):
            held.append(await asyncio.open_connection("127.0.0.1", server.port))
            held[-1][1].write(b"GET /streams HTTP/1.1\r\nX: " if number % 2 else b"")
            if number % 250 == 249:
                assert (await _ask(server))[0] == 200
        await writer.write()
        await until(lambda: reader.seqs == [1], "who reads goes on")
        for _, connection in held:
            connection.close()
        await reader.close()
        assert reader.connects == 1


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"max_connections": 3}, "connections"),
        ({"max_connections": 100, "max_connections_per_address": 3}, "address"),
    ],
)
async def test_more_readers_than_are_allowed_are_cut_off_and_counted(
    serving: Opening, limits: dict[str, int], reason: str
) -> None:
    """Cut off, since an EventSource tries again then and gives up at any status; there is room when one leaves."""
    async with serving(**limits) as server:
        url = f"http://127.0.0.1:{server.port}/streams/camera-1"
        readers = [await Subscriber(url).start().connected() for _ in range(3)]
        late = Subscriber(url).start()
        await until(lambda: server.figures.refusals[reason] > 2, "the fourth one is refused again and again")
        assert late.connects == 0
        await readers[0].close()
        await late.connected()
        for one in (*readers[1:], late):
            await one.close()


async def test_a_client_that_goes_on_asking_over_its_stream_is_not_listened_to(
    serving: Opening, writer: Writer
) -> None:
    """Requests that wait for the end of the stream would pile up in memory."""
    async with serving() as server:
        reader, connection = await asyncio.open_connection("127.0.0.1", server.port)
        request = b"GET /streams/camera-1 HTTP/1.1\r\nHost: x\r\n\r\n"
        connection.write(request)
        async with asyncio.timeout(DEADLINE_SECONDS):
            await reader.readuntil(b"\nid: ")
            for _ in range(200):
                connection.write(request * 500)
                await connection.drain()
            await writer.write()
            await reader.readuntil(b'"seq":"1"')
        assert server.figures.of("camera-1").readers == 1
        connection.close()
        await until(lambda: not server.figures.of("camera-1").readers, "it has left")
        assert server.figures.endings["left"] == 1


async def test_who_does_not_read_is_cut_off_and_holds_nobody_up(serving: Opening, writer: Writer) -> None:
    """It comes back behind what it has; another reader of the same stream gets everything meanwhile."""
    async with serving(write_timeout_seconds=1, buffer_events=10) as server:
        other = await Subscriber(f"http://127.0.0.1:{server.port}/streams/camera-1").start().connected()
        reader, slow = await narrow(server.port, "/streams/camera-1")
        async with asyncio.timeout(DEADLINE_SECONDS):
            await reader.readuntil(b"\nid: ")
        for _ in range(20):
            await writer.write(20, size=10_000)
        await until(lambda: other.last_seq == 400, "the other one has all of it")
        await until(lambda: server.figures.endings["slow"] > 0, "the slow one is cut off")
        await other.close()
        slow.close()
        assert other.seqs == list(range(1, 401))


async def test_a_stream_ends_after_its_time_and_when_the_server_stops_in_good_order(
    serving: Opening, writer: Writer
) -> None:
    """To the reader it is an end, no fault; it comes again behind what it has."""
    async with serving(max_stream_seconds=0.3) as server:
        reader = Subscriber(f"http://127.0.0.1:{server.port}/streams/camera-1")
        for count in range(1, 4):
            await writer.write()
            await asyncio.wait_for(reader.read(), DEADLINE_SECONDS)
            assert reader.connects == count
        assert reader.seqs == [2, 3]
        assert server.figures.endings["expired"] == 3
    async with serving() as server:
        readers = [Subscriber(f"http://127.0.0.1:{server.port}/streams/camera-1") for _ in range(20)]
        reading = [asyncio.create_task(one.read()) for one in readers]
        for one in readers:
            await one.connected()
    for done in reading:
        await asyncio.wait_for(done, DEADLINE_SECONDS)
    assert server.figures.endings["stopped"] == 20


async def test_streams_are_listed_and_those_that_are_not_served_are_as_if_they_were_not(serving: Opening) -> None:
    """By globs on their names."""
    sessions = [{"name": name, "session_id": f"lsn-{name}"} for name in ("camera-1", "camera-2", "door")]
    async with serving(sessions=sessions, streams="camera-*") as server:
        _, _, found = await _ask(server)
        assert found["streams"][0] == {
            "name": "camera-1",
            "path": "/streams/camera-1",
            "stream": "lens:{camera-1}:events",
            "session_ids": ["lsn-camera-1"],
        }
        assert [one["name"] for one in found["streams"]] == ["camera-1", "camera-2"]
        assert (await _ask(server, "/streams/door"))[0] == 404


async def test_a_session_that_is_added_at_run_time_can_be_read(serving: Opening, writer: Writer) -> None:
    """Its name stands in Redis alone."""
    async with serving(sessions=[]) as server:
        assert (await _ask(server, "/streams/late"))[0] == 404
        added = json.dumps({"session_id": "lsn-late"})
        await writer.client.hset("lens:sessions", "late", added)

        async def found() -> bool:
            return (await _ask(server, "/streams/late"))[0] == 200

        await until(found, "it is known within seconds")


async def test_where_redis_was_never_there_what_is_configured_is_opened_and_waits(serving: Opening) -> None:
    """One clear line, probes that tell, and no end."""
    async with serving(url="redis://127.0.0.1:1/0") as server:
        reader = Subscriber(f"http://127.0.0.1:{server.port}/streams/camera-1").start()
        await until(lambda: server.figures.of("camera-1").bytes > 20, "it is given signs of life")
        assert (reader.status, reader.seen, reader.last_event_id) == (200, [], "")
        await reader.close()
        status, headers, _ = await _ask(server, "/streams/unknown")
        assert (status, headers["Retry-After"]) == (503, "5")
        assert (await _ask(server))[2]["streams"][0]["name"] == "camera-1"
