"""`lens-bridge serve` as a process, read by a real browser and by many readers at once, while it is killed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from bridge.lab.redis_server import RedisServer
from bridge.lab.simulator import SimulatedSession
from tests.support.browser import Page, browser
from tests.support.deploy.needs import need_program
from tests.support.serving import Served, Subscriber, narrow
from tests.support.worker import ROOT, until
from tests.support.worker_rig import Rig

EXAMPLE = ROOT / "config" / "examples" / "browser"
TOKEN = "0123456789abcdef-token"

Opening = Callable[..., Any]


@pytest_asyncio.fixture
async def served(redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Callable[..., Served]]:
    """Makes servers of streams, and ends them."""
    made: list[Served] = []

    def make(**settings: object) -> Served:
        given: dict[str, object] = {"redis.url": redis_server.url, "sessions": "camera-1=lsn-1"}
        given |= {path.replace("__", "."): value for path, value in settings.items()}
        made.append(Served(tmp_path / f"serve-{len(made)}.log", given))
        return made[-1]

    try:
        yield make
    finally:
        for one in made:
            print(one.log.read_text(errors="replace")[-3000:] if one.log.exists() else "")
            await one.kill()


@asynccontextmanager
async def _pages() -> AsyncIterator[str]:
    """The example's folder on a port of its own, so that the stream is of another origin."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(EXAMPLE)))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()


async def _shown(page: Page) -> list[int]:
    """The numbers on the page, the oldest first."""
    found = await page.evaluate("[...document.querySelectorAll('[data-seq]')].map(one => one.dataset.seq).reverse()")
    return [int(one) for one in found]


async def _shows(page: Page, seq: int) -> None:
    async def there() -> bool:
        return (await _shown(page))[-1:] == [seq]

    await until(there, f"the page shows entry {seq}")


async def _state(page: Page, state: str) -> None:
    async def there() -> bool:
        return bool(await page.evaluate("document.querySelector('#state').textContent") == state)

    await until(there, f"the page says {state}")


def _session(rig: Rig) -> tuple[SimulatedSession, str]:
    session = rig.simulator.create_session("lsn-1")
    return session, "camera-1=lsn-1"


async def test_a_page_in_a_browser_sees_each_event_once_and_in_order_whatever_is_killed(
    rig: Rig, served: Callable[..., Served], tmp_path: Path
) -> None:
    """From the lens API through worker and Redis to an EventSource of another origin; worker and server are killed."""
    chromium = need_program("chromium")
    session, named = _session(rig)
    worker = await rig.worker(named).start()
    async with _pages() as pages, browser(chromium, tmp_path) as page:
        server = await served(serve__cors_origins=pages).start()
        await page.go(f"{pages}/index.html#{quote(server.url)}/streams/camera-1")
        await _state(page, "open")
        session.generate(50)
        await _shows(page, 50)
        for kill in range(1, 4):
            session.generate(50)
            await server.kill()
            await worker.kill()
            session.generate(50)
            await worker.start()
            await server.start()
            session.generate(50)
            await _shows(page, 50 + 150 * kill)
        assert await server.terminate() == 0
        session.generate(5)
        await server.start()
        await _shows(page, 505)
        assert await _shown(page) == list(range(1, 506))
        assert await page.evaluate("document.querySelectorAll('.hole').length") == 0


async def test_a_page_with_a_token_reads_by_fetch_and_one_of_a_strange_origin_not_at_all(
    served: Callable[..., Served], redis: Redis, tmp_path: Path
) -> None:
    """The browser asks first whether it may send the header. A hole that the server tells is shown."""
    chromium = need_program("chromium")
    key = "lens:{camera-1}:events"

    async def write(first: int, last: int) -> None:
        for seq in range(first, last + 1):
            await redis.xadd(key, {"seq": str(seq), "type": "<b>hostile</b>", "data": '{"text": "<b>"}'})

    async with _pages() as pages, browser(chromium, tmp_path) as page:
        server = await served(serve__cors_origins=pages, serve__token=TOKEN).start()
        await page.go(f"{pages}/index.html")
        url = f"{server.url}/streams/camera-1?from=start"
        await page.evaluate(f"form = document.querySelector('form'), form.url.value = {json.dumps(url)}")
        await page.evaluate("form.token.value = 'wrong', form.requestSubmit()")
        await _state(page, "waiting")
        await page.evaluate(f"form.token.value = {json.dumps(TOKEN)}, form.requestSubmit()")
        await _state(page, "open")
        await write(1, 20)
        await _shows(page, 20)
        await server.kill()
        await _state(page, "waiting")
        await write(21, 40)
        await redis.xtrim(key, maxlen=10, approximate=False)
        await server.start()
        await _shows(page, 40)
        assert await _shown(page) == [*range(1, 21), *range(31, 41)]
        assert "(trimmed)" in await page.evaluate("document.querySelector('.hole').textContent")
        assert await page.evaluate("document.querySelectorAll('#entries b').length") == 0
        strange = pages.replace("127.0.0.1", "localhost")
        await page.go(f"{strange}/index.html")
        refused = f"fetch({json.dumps(url)}, {{headers: {{Authorization: 'Bearer {TOKEN}'}}}}).catch(e => e.name)"
        assert await page.evaluate(refused) == "TypeError"


async def test_two_hundred_readers_get_everything_though_one_of_them_does_not_read(
    served: Callable[..., Served], redis: Redis
) -> None:
    """Over one blocking read of Redis; what the slow one does not take is not kept for it."""
    settings = {"serve__buffer_events": 200, "serve__max_connections_per_address": 1000}
    server = await served(**settings, serve__write_timeout_seconds=3600).start()  # the slow one is to stay
    url, key = f"{server.url}/streams/camera-1", "lens:{camera-1}:events"
    readers = [Subscriber(url).start() for _ in range(200)]
    for one in readers:
        await one.connected()
    slow, connection = await narrow(server.port, "/streams/camera-1")
    await slow.readuntil(b"\nid: ")
    before = server.resident_bytes()
    connected = int((await redis.info("clients"))["connected_clients"])
    total, size = 600, 10_000
    for first in range(1, total, 50):
        async with redis.pipeline() as pipe:
            for seq in range(first, first + 50):
                pipe.xadd(key, {"seq": str(seq), "type": "t", "data": "x" * size})
            await pipe.execute()
    await until(lambda: all(one.last_seq == total for one in readers), "all have all of it")
    grown = server.resident_bytes() - before
    assert all(one.seqs == list(range(1, total + 1)) for one in readers)
    assert all(one.connects == 1 for one in readers)
    _, metrics = await server.get("/metrics")
    print(f"{grown / 2**20:.1f} MiB more for {total * size / 2**20:.1f} MiB sent 200 times; {connected} Redis clients")
    assert 'lens_bridge_serve_readers{stream="camera-1"} 201' in metrics
    assert grown < 48 * 2**20, "what is sent to all, and to one that does not read, is kept once and within limits"
    assert connected < 10
    connection.close()
    for one in readers:
        await one.close()
    assert await server.terminate() == 0
    assert [one["signal"] for one in server.said("serve.stopping")] == ["SIGTERM"]


async def test_a_configuration_that_opens_streams_to_everybody_is_refused_in_one_line(
    served: Callable[..., Served],
) -> None:
    """Exit code 2, and what to do."""
    server = served(serve__host="0.0.0.0")
    with pytest.raises(AssertionError):
        await server.start()
    lines = server.log.read_text().splitlines()
    assert len(lines) == 1
    assert "serve.token_file" in lines[0]
    assert server.exit_code == 2


async def test_a_port_that_is_taken_is_told_in_one_line(served: Callable[..., Served]) -> None:
    """With the setting that names another one."""
    first = await served().start()
    second = served(serve__port=first.port)
    with pytest.raises(AssertionError):
        await second.start()
    (line,) = second.log.read_text().splitlines()
    assert "serve.port" in line
    assert str(first.port) in line
    assert second.exit_code == 2


async def test_a_redis_that_is_not_there_is_told_in_one_line_and_waited_for(
    served: Callable[..., Served], private_redis: RedisServer
) -> None:
    """The process stays up; probes tell; readers of what is configured are not turned away."""
    await private_redis.stop()
    server = await served(redis__url=private_redis.url).start()
    await until(lambda: bool(server.said("redis.unreachable")), "it is told")
    assert (await server.get("/readyz"))[0] == 503
    assert (await server.get("/livez"))[0] == 200
    reader = Subscriber(f"{server.url}/streams/camera-1").start()
    await private_redis.start()
    await until(server.ready, "it is ready when Redis is there")
    await reader.connected()
    await reader.close()
    assert len(server.said("redis.unreachable")) == 1
