"""The admin server on a real socket: what a kubelet, Prometheus and a person see."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import json
import re
import socket
from collections.abc import AsyncIterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bridge.errors import ConfigurationError
from bridge.masking import Secrets
from bridge.model.labels import SessionState
from bridge.model.place import Session
from bridge.settings import AdminSettings, MetricsDetail
from bridge.telemetry.admin import AdminServer
from bridge.telemetry.figures import Kept, SessionFigures
from bridge.telemetry.status import WorkerStatus

KEY = "sk-0123456789abcdef"
PATHS = ["/livez", "/readyz", "/metrics", "/status", "/"]


def add_session(status: WorkerStatus, name: str, state: SessionState) -> SessionFigures:
    figures = status.session(Session(name=name, session_id=f"lsn-{name}"), f"lens:{{{name}}}:events")
    figures.enter(state)
    return figures


@pytest.fixture
def status() -> WorkerStatus:
    return WorkerStatus(worker_id="worker-1", version="1.2.3", redis_reachable=True, redis_error=None, taking_part=True)


@pytest.fixture
async def client(status: WorkerStatus) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server on a free port, which knows the API key as a secret."""
    secrets = Secrets()
    secrets.add(KEY)
    async with (
        AdminServer(AdminSettings(host="127.0.0.1", port=0), status, secrets) as server,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=10) as made,
    ):
        yield made


async def test_livez_depends_on_nothing_outside(client: httpx.AsyncClient, status: WorkerStatus) -> None:
    """A Redis that is away must not restart every pod."""
    status.redis_reachable = status.taking_part = False
    answer = await client.get("/livez")
    assert (answer.status_code, answer.json()) == (200, {"live": True})


async def test_a_worker_without_sessions_is_ready(client: httpx.AsyncClient) -> None:
    """A standby that is never ready would block every roll-out."""
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"ready": True})


async def test_readyz_says_why_it_is_not(client: httpx.AsyncClient, status: WorkerStatus) -> None:
    """503 and one reason, the most telling first."""

    async def reason() -> str:
        answer = await client.get("/readyz")
        content = answer.json()
        assert (answer.status_code, content["ready"]) == (503, False)
        return str(content["reason"])

    status.taking_part = False
    assert await reason() == "the worker has not registered in Redis yet"
    status.redis_error = "it is hung"
    assert await reason() == "the worker cannot register in Redis: it is hung"
    status.redis_reachable, status.redis_error = False, "connection refused: redis:6379"
    assert await reason() == "Redis is not reachable: connection refused: redis:6379"
    status.stopping = True
    assert await reason() == "the worker is stopping"


async def test_metrics_can_be_scraped(client: httpx.AsyncClient, status: WorkerStatus) -> None:
    """Prometheus's own parser reads them, at the values of this moment."""
    add_session(status, "entrance", SessionState.STREAMING).heartbeats = 3
    answer = await client.get("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    samples = [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]
    assert ("lens_bridge_heartbeats_total", {"stream": "entrance"}, 3.0) in [sample[:3] for sample in samples]


async def test_metrics_come_as_openmetrics_and_compressed_when_asked(client: httpx.AsyncClient) -> None:
    """As Prometheus asks by default."""
    headers = {"Accept": "application/openmetrics-text;version=1.0.0;q=0.6,*/*;q=0.1", "Accept-Encoding": "gzip"}
    async with client.stream("GET", "/metrics", headers=headers) as answer:
        raw = b"".join([chunk async for chunk in answer.aiter_raw()])
    assert answer.headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert gzip.decompress(raw).endswith(b"# EOF\n")


@pytest.mark.parametrize(
    ("path", "at_least_lines", "turns"), [("/metrics", 200_000, 100), ("/status", 2000, 20), ("/?all", 2000, 40)]
)
async def test_probes_are_answered_while_a_long_answer_is_made(
    status: WorkerStatus, path: str, at_least_lines: int, turns: int
) -> None:
    """All that there is to say of many sessions takes long; events and probes must not wait for it."""
    for number in range(2000):
        add_session(status, f"camera-{number}", SessionState.STREAMING)
    rounds = answered = 0

    async def look() -> None:
        nonlocal rounds
        while True:
            rounds += 1
            await asyncio.sleep(0)

    async with (
        AdminServer(AdminSettings(host="127.0.0.1", port=0), status, Secrets(), MetricsDetail.FULL) as server,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=30) as client,
    ):
        await client.get("/livez")
        looking = asyncio.create_task(look())
        scrape = asyncio.create_task(client.get(path, headers={"Accept-Encoding": "identity"}))
        while not scrape.done():
            assert (await client.get("/livez")).status_code == 200
            answered += not scrape.done()
        looking.cancel()
        page = await scrape
    assert page.content.count(b"\n") > at_least_lines
    assert rounds > turns
    assert answered >= 1


async def test_status_tells_each_session(client: httpx.AsyncClient, status: WorkerStatus) -> None:
    """What a script may read; null where something has not happened."""
    session = add_session(status, "entrance", SessionState.STREAMING)
    session.cursor, session.seq, session.owner, session.last_event_at = "evt-7", 7, "worker-1", 1741843200.1234
    content = (await client.get("/status")).json()
    assert {key: content[key] for key in ("worker", "version", "ready")} == {
        "worker": "worker-1",
        "version": "1.2.3",
        "ready": True,
    }
    (shown,) = content["sessions"]
    assert shown == shown | {
        "name": "entrance",
        "session_id": "lsn-entrance",
        "stream_key": "lens:{entrance}:events",
        "state": "streaming",
        "cursor": "evt-7",
        "seq": 7,
        "owner": "worker-1",
        "last_event_at": 1741843200.123,
        "last_byte_at": None,
        "last_error": None,
        "dead_letters": None,
        "groups": {},
    }
    assert content["workers"] == [{"worker": "worker-1", "own": True, "live": True, "sessions": 1}]


async def test_status_tells_the_fleet_and_what_redis_holds(client: httpx.AsyncClient, status: WorkerStatus) -> None:
    """Of a session that another worker reads the place is that of Redis. A line for each session, of any number."""
    status.owner, status.peers = "worker-1/a", ("worker-2/b",)
    session = add_session(status, "entrance", SessionState.STANDBY)
    session.kept = Kept(owner="worker-2/b", seq=9, cursor="evt-9", updated_at=1741843200.0, dead_letters=4)
    session.groups, session.stream_length, session.unread_trimmed = {"g": (None, 3)}, 12, 5
    answer = await client.get("/status")
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    (shown,) = answer.json()["sessions"]
    assert shown == shown | {
        "owner": "worker-2/b",
        "cursor": "evt-9",
        "seq": 9,
        "dead_letters": 4,
        "stream_length": 12,
        "unread_trimmed": 5,
        "groups": {"g": {"lag": None, "pending": 3}},
    }
    assert answer.json()["workers"] == [
        {"worker": "worker-1/a", "own": True, "live": True, "sessions": 0},
        {"worker": "worker-2/b", "own": False, "live": True, "sessions": 1},
    ]
    for number in range(60):
        add_session(status, f"camera-{number:02}", SessionState.STREAMING)
    text = (await client.get("/status")).text
    assert sum('"session_id"' in line for line in text.splitlines()) == 61
    assert [one["name"] for one in json.loads(text)["sessions"]] == sorted(status.sessions)
    status.sessions.clear()
    assert (await client.get("/status")).json()["sessions"] == []


async def test_the_whole_page_is_there_for_the_asking(client: httpx.AsyncClient, status: WorkerStatus) -> None:
    """A plain link, so that it works without scripts; and browsers get it compressed."""
    for number in range(300):
        add_session(status, f"camera-{number}", SessionState.STREAMING)
    assert (await client.get("/")).text.count('class="name"') == 250
    answer = await client.get("/?all")
    assert answer.text.count('class="name"') == 300
    assert answer.headers["Content-Encoding"] in ("gzip", "deflate")


async def test_no_page_shows_a_secret(client: httpx.AsyncClient, status: WorkerStatus) -> None:
    """Even where an error holds the key."""
    add_session(status, "entrance", SessionState.UNAUTHORIZED).fail(f"401: bad key {KEY}")
    status.redis_reachable, status.redis_error = False, f"AUTH {KEY} failed"
    for path in PATHS:
        text = (await client.get(path)).text
        assert KEY not in text, path
        if path in ("/readyz", "/status", "/"):
            assert "**********" in text, path


async def test_the_page_allows_its_own_style_and_script_and_nothing_else(client: httpx.AsyncClient) -> None:
    """It works in a closed network; without scripts it is loaded again as a whole."""
    answer = await client.get("/")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert '<noscript><meta http-equiv="refresh" content="2"></noscript>' in answer.text
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"  # itself, to be fresh
    for tag in ("style", "script"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", answer.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert policy[f"{tag}-src"] == f"'sha256-{digest}'"


@pytest.mark.parametrize("path", [*PATHS, "/no-such-page"])
async def test_every_answer_has_the_security_headers(client: httpx.AsyncClient, path: str) -> None:
    """Errors too; and the server does not tell its versions."""
    headers = (await client.get(path)).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Server"] == "lens-bridge"


@pytest.mark.parametrize("path", PATHS)
async def test_only_reading_is_allowed(client: httpx.AsyncClient, path: str) -> None:
    """HEAD is reading."""
    assert (await client.head(path)).status_code == 200
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        assert (await client.request(method, path)).status_code == 405


async def test_a_port_in_use_is_one_clear_line(status: WorkerStatus) -> None:
    """It names both settings; closing what never opened does no harm."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = AdminServer(AdminSettings(host="127.0.0.1", port=port), status, Secrets())
        with pytest.raises(ConfigurationError) as caught:
            await server.start()
        await server.close()
    assert str(caught.value) == (
        f"admin.host and admin.port (BRIDGE_ADMIN__HOST, BRIDGE_ADMIN__PORT): cannot listen on 127.0.0.1:{port}: "
        "Address already in use; set another one"
    )


async def test_an_address_of_another_machine_is_one_clear_line(status: WorkerStatus) -> None:
    """192.0.2.0/24 belongs to nobody."""
    server = AdminServer(AdminSettings(host="192.0.2.1", port=0), status, Secrets())
    with pytest.raises(ConfigurationError, match=r"^admin\.host and admin\.port .* cannot listen on 192\.0\.2\.1:0: "):
        await server.start()


async def test_after_closing_nobody_listens(status: WorkerStatus) -> None:
    """An idle connection that is kept alive does not hold the server up."""
    async with (
        httpx.AsyncClient() as client,
        AdminServer(AdminSettings(host="127.0.0.1", port=0), status, Secrets()) as server,
    ):
        url = f"http://127.0.0.1:{server.port}/livez"
        assert (await client.get(url)).status_code == 200
        async with asyncio.timeout(10):
            await server.close()
        with pytest.raises(httpx.ConnectError):
            await client.get(url)
