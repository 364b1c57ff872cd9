"""`python -m tests.benchmarks`: the bridge beside its peer and its limit, whole processes, one run.

The peer is what a user would write (`peer.py`), the limit is Redis itself: XADD of the same payload, 100 at a time,
over one connection. Rates are taken from the ids that Redis gave the entries, so all three are measured by one clock.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import hiredis
import redis

from bridge.lab.redis_server import RedisServer
from tests.benchmarks import blast

_STREAM = "lens:{bench}:events"
_PEER_STREAM, _LIMIT_STREAM = "peer", "limit"


def main() -> None:
    """Run every scenario and print one line each."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--peer-events", type=int, default=15_000, help="the peer is slow; its rate does not change")
    parser.add_argument("--peer-python", default=sys.executable, help="a Python that has archetypeai and redis")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    asyncio.run(_run(options))


async def _run(options: argparse.Namespace) -> None:
    async with RedisServer() as server:
        for per_chunk in (1, 128):
            _catch_up(server.url, options, per_chunk)
        _embeddings(server.url, options)
    _transports(options)


def _catch_up(redis_url: str, options: argparse.Namespace, per_chunk: int) -> None:
    client = redis.Redis.from_url(redis_url)
    rates: list[tuple[float, float, float]] = []
    # The peer has a source of its own: events beyond those it is measured by would only take its processor time.
    with _blaster(options.events, 250, per_chunk) as port, _blaster(options.peer_events, 250, per_chunk) as peer_port:
        for _ in range(options.repeat):
            client.flushall()
            bridge, rss = _bridge(client, redis_url, port, options.events)
            client.flushall()
            limit = _limit(client, options.events, 250)
            client.flushall()
            peer = _peer(client, redis_url, peer_port, options)
            rates.append((bridge, peer, limit))
            print(
                f"  catch-up, 250 B, {per_chunk:>3} per chunk: bridge {bridge:>8,.0f}/s  peer {peer:>7,.0f}/s  "
                f"limit {limit:>8,.0f}/s  = {bridge / peer:.1f} x peer, {bridge / limit:.2f} x limit  "
                f"(RSS {rss:.0f} MiB)",
                flush=True,
            )
    bridge, peer, limit = sorted(rates, key=lambda row: row[0] / row[1])[len(rates) // 2]
    print(
        f"median, {per_chunk} per chunk: {bridge / peer:.1f} x the peer, {bridge / limit:.2f} x the limit", flush=True
    )


def _embeddings(redis_url: str, options: argparse.Namespace) -> None:
    client = redis.Redis.from_url(redis_url)
    events = max(200, options.events // 50)
    with _blaster(events, 65_536, 1) as port:
        client.flushall()
        bridge, rss = _bridge(client, redis_url, port, events)
        client.flushall()
        limit = _limit(client, events, 65_536)
    share = bridge / limit
    print(f"embeddings, 64 KiB: bridge {bridge:,.0f}/s, {share:.2f} x the limit {limit:,.0f}/s (RSS {rss:.0f} MiB)")


def _transports(options: argparse.Namespace) -> None:
    with _blaster(options.events, 250, 1) as port:
        size = sum(len(blast.event(n, 250)) for n in range(1, options.events + 1))
        command = [sys.executable, "-m", "tests.benchmarks.transport", f"http://127.0.0.1:{port}/", str(size)]
        own, aio = (float(text) for text in subprocess.run(command, check=True, capture_output=True).stdout.split())
    events = options.events
    print(
        f"transport below httpx: its own {events / own:,.0f} chunks/s, aiohttp {events / aio:,.0f}, {own / aio:.1f} x"
    )


def _bridge(client: redis.Redis, redis_url: str, port: int, events: int) -> tuple[float, float]:
    environment = os.environ | {
        "BRIDGE_SOURCE__BASE_URL": f"http://127.0.0.1:{port}",
        "BRIDGE_REDIS__URL": redis_url,
        "BRIDGE_SESSIONS": "bench=lsn-bench",
        "BRIDGE_ADMIN__HOST": "127.0.0.1",
        "BRIDGE_ADMIN__PORT": "0",
        "BRIDGE_LOG__LEVEL": "error",
    }
    with _process([sys.executable, "-m", "bridge", "run"], environment) as worker:
        _wait_for(client, _STREAM, events, worker)
        rss = _rss_mib(worker.pid)
    return _rate(client, _STREAM), rss


def _peer(client: redis.Redis, redis_url: str, port: int, options: argparse.Namespace) -> float:
    command = [options.peer_python, str(Path(__file__).with_name("peer.py")), f"http://127.0.0.1:{port}", redis_url]
    with _process([*command, str(options.peer_events), _PEER_STREAM], dict(os.environ)) as peer:
        _wait_for(client, _PEER_STREAM, options.peer_events, peer)
    return _rate(client, _PEER_STREAM)


def _limit(client: redis.Redis, events: int, data_bytes: int) -> float:
    data = blast.event(1, data_bytes).split(b"data: ", 1)[1].strip()
    fields = ("id", "1", "session_id", "lsn-bench", "seq", "1", "type", "inference.result", "data", data)
    one = hiredis.pack_command(("XADD", _LIMIT_STREAM, "*", *fields, "received_at", "1741843200.123"))  # type: ignore[arg-type]
    connection = client.connection_pool.get_connection()
    for _ in range(0, events, 100):
        connection.send_packed_command([one * 100])  # type: ignore[no-untyped-call]
        for _ in range(100):
            connection.read_response()
    client.connection_pool.release(connection)
    return _rate(client, _LIMIT_STREAM)


def _rate(client: redis.Redis, stream: str) -> float:
    ends: list[int] = []
    for reply in (client.xrange(stream, count=1), client.xrevrange(stream, count=1)):
        [(entry_id, _)] = cast("list[tuple[bytes, object]]", reply)
        ends.append(int(entry_id.split(b"-")[0]))
    return float(client.xlen(stream)) / max(0.001, (ends[1] - ends[0]) / 1000)


def _wait_for(client: redis.Redis, stream: str, events: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 300
    while client.xlen(stream) < events:
        if process.poll() not in (None, 0) or time.monotonic() > deadline:
            raise SystemExit(f"{process.args!r} stopped or stalled at {client.xlen(stream)} of {events} events")
        time.sleep(0.05)


def _rss_mib(pid: int) -> float:
    pages = Path(f"/proc/{pid}/statm")
    return int(pages.read_text().split()[1]) * 4096 / 2**20 if pages.exists() else float("nan")


@contextmanager
def _blaster(events: int, data_bytes: int, per_chunk: int) -> Iterator[int]:
    command = [sys.executable, "-m", "tests.benchmarks.blast", str(events), str(data_bytes), str(per_chunk)]
    with _process(command, dict(os.environ), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())


@contextmanager
def _process(
    command: Sequence[str], environment: dict[str, str], stdout: int | IO[bytes] = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, env=environment, stdout=stdout)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()


if __name__ == "__main__":
    main()
