"""What a scrape costs and who feels it: `python -m tests.benchmarks.scrape --sessions 1000 3000`.

Real processes: a Redis, a source of that many sessions with an event a second each, one worker. It prints the size of
`/metrics` and how long it takes, plain and compressed, and, in a quiet stretch and in one that is scraped all the time,
the slowest answer of `/livez` and how long events take from when they were due to their entry in Redis.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.benchmarks.fleet import Fleet, cpu_seconds, fleet_of, percentile
from tests.support.worker import ROOT, Worker

_STRETCH_SECONDS = 15.0
_PROBE_EVERY_SECONDS = 0.02
_LEVELS = ("auto", "full")


class Scrape:
    """One worker, looked at. ``levels`` are the values of `metrics.detail`; None for code that does not know it."""

    def __init__(self, fleet: Fleet, levels: tuple[str, ...] | None) -> None:
        self.rows: list[dict[str, Any]] = []
        self._fleet = fleet
        self._levels = levels

    async def run(self) -> None:
        """A worker for each level."""
        for level in self._levels or ("-",):
            detail = {"metrics.detail": level} if self._levels else {}
            worker = await (await self._fleet.worker(detail)).wait_ready()
            await self._fleet.settled(1)
            self.rows.append(await self._row(worker, level))
            print(_line(self.rows[-1]), flush=True)
            worker.terminate()
            await worker.exit_code()

    async def _row(self, worker: Worker, level: str) -> dict[str, Any]:
        port = await worker.port()
        plain_bytes, plain_seconds = await _scrape(port, "identity")
        gzip_bytes, gzip_seconds = await _scrape(port, "gzip")
        quiet = await self._stretch(worker, port, scrapes=False)
        scraped = await self._stretch(worker, port, scrapes=True)
        return {
            "sessions": len(self._fleet.names), "detail": level, "bytes": plain_bytes, "seconds": plain_seconds,
            "gzip_bytes": gzip_bytes, "gzip_seconds": gzip_seconds, "quiet": quiet, "scraped": scraped,
        }  # fmt: skip

    async def _stretch(self, worker: Worker, port: int, *, scrapes: bool) -> dict[str, float]:
        probes: list[float] = []
        took: list[float] = []
        cpu, began = cpu_seconds(worker.pid), time.monotonic()
        async with _again_and_again(_probe(port, probes), _PROBE_EVERY_SECONDS):
            while time.monotonic() - began < _STRETCH_SECONDS:
                if scrapes:
                    took.append((await _scrape(port, "gzip"))[1])
                else:
                    await asyncio.sleep(0.5)
        seconds = time.monotonic() - began
        late = sorted(await self._fleet.delays(began))
        return {
            "scrapes": len(took), "scrape_worst": max(took, default=0.0),
            "cpu": (cpu_seconds(worker.pid) - cpu) / seconds,
            "livez_p99": percentile(probes, 0.99), "livez_worst": max(probes),
            "late_p50": percentile(late, 0.5), "late_p99": percentile(late, 0.99), "late_worst": late[-1],
        }  # fmt: skip


async def _scrape(port: int, encoding: str) -> tuple[int, float]:
    timeout = aiohttp.ClientTimeout(total=120)
    began, size = time.monotonic(), 0
    async with (
        aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as http,
        http.get(f"http://127.0.0.1:{port}/metrics", headers={"Accept-Encoding": encoding}) as response,
    ):
        async for chunk in response.content.iter_any():
            size += len(chunk)
    return size, time.monotonic() - began


def _probe(port: int, took: list[float]) -> Any:
    async def probe() -> None:
        began = time.monotonic()
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120)) as http,
            http.get(f"http://127.0.0.1:{port}/livez") as response,
        ):
            assert response.status == 200
        took.append(time.monotonic() - began)

    return probe


@asynccontextmanager
async def _again_and_again(step: Any, every_seconds: float) -> AsyncIterator[None]:
    async def run() -> None:
        while True:
            await step()
            await asyncio.sleep(every_seconds)

    task = asyncio.create_task(run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _line(row: dict[str, Any]) -> str:
    cells = [f"{row['sessions']:>5} {row['detail']:<5}"]
    cells.append(f"{row['bytes'] / 1e6:6.2f} MB {row['seconds']:6.2f} s")
    cells.append(f"{row['gzip_bytes'] / 1e6:6.2f} MB {row['gzip_seconds']:6.2f} s")
    for stretch in (row["quiet"], row["scraped"]):
        names = ("livez_p99", "livez_worst", "late_p50", "late_p99", "late_worst")
        cells.append(" ".join(f"{stretch[name] * 1000:6.0f}" for name in names) + f"  {stretch['cpu']:4.2f}")
    cells.append(f"{row['scraped']['scrapes']:4} {row['scraped']['scrape_worst']:6.2f} s")
    return " | ".join(cells)


def _heading() -> str:
    stretch = "/livez p99, max; late p50, p99, max (ms); cores"
    return f"sessions, detail | plain | compressed | {stretch} | the same while scraped all the time | scrapes, worst"


async def _main(sessions: list[int], interval_seconds: float, code: Path) -> list[dict[str, Any]]:
    print(_heading())
    rows: list[dict[str, Any]] = []
    for count in sessions:
        async with fleet_of(count, interval_seconds, code) as fleet:
            scrape = Scrape(fleet, _LEVELS if code == ROOT else None)
            await scrape.run()
            rows += scrape.rows
    return rows


def main() -> None:
    """Parse, measure, print; ``--json`` writes the figures too."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, nargs="+", default=[1000, 3000])
    parser.add_argument("--interval", type=float, default=1.0, metavar="SECONDS", help="from event to event")
    parser.add_argument("--code", type=Path, default=ROOT, help="the directory whose bridge the worker runs")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    told = asyncio.run(_main(arguments.sessions, arguments.interval, arguments.code))
    if arguments.json:
        arguments.json.write_text(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
