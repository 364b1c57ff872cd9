"""How long a session is silent when workers come and go: `python -m tests.benchmarks.handover --sessions 1000`.

Real processes: a Redis, a source of that many sessions with an event a second each, workers with the settings of
production. For each thing that happens it prints, over all sessions: how long nobody read a session (as the source saw
it), the longest time between two of its entries in Redis (one interval of which is the source's own), how late an entry
came, and of how many sessions each was more than the limit: 2 s, or a lease and 2 s; between two entries an interval
more. It also checks that no event is lost or there twice.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

from tests.benchmarks.fleet import Fleet, Silence, cpu_seconds, fleet_of, percentile
from tests.support.worker import ROOT, until

LIMIT_SECONDS = 2.0
LEASE_SECONDS = 15.0  # the default of lease.ttl_seconds
_COLUMNS = ("unread", "between", "late")

Step = Callable[[], Awaitable[None]]


class Handover:
    """What happens to one fleet, one thing after another; ``rows`` tells how each went."""

    def __init__(self, fleet: Fleet) -> None:
        self.rows: list[dict[str, Any]] = []
        self._fleet = fleet

    async def run(self) -> None:
        """All of it."""
        fleet = self._fleet
        await self._measured("a start of all", self._start, 1, counts=False)
        await self._measured("a second worker joins", self._start, 2)
        await self._measured("a third joins", self._start, 3)
        await self._measured("SIGTERM of one of three", lambda: self._stop(2), 2)
        await self._measured("rolling restart of two", self._roll, 2)
        await self._measured("SIGTERM of one of two", lambda: self._stop(3), 1)
        await self._measured("another joins", self._start, 2)
        await self._measured("SIGKILL of one of two", fleet.workers[-1].kill, 1, limit=LEASE_SECONDS + LIMIT_SECONDS)
        await self._measured("Redis restarts", self._restart_redis, 1, counts=False)

    async def _start(self) -> None:
        await (await self._fleet.worker()).wait_ready()

    async def _stop(self, number: int) -> None:
        self._fleet.workers[number].terminate()
        assert await self._fleet.workers[number].exit_code() == 0

    async def _roll(self) -> None:
        for number in (0, 1):  # as Kubernetes does it with maxSurge 1 and maxUnavailable 0
            await self._start()
            await self._stop(number)

    async def _restart_redis(self) -> None:
        """In good order: all that it has acknowledged is there again."""
        await self._fleet.client.connection_pool.disconnect()
        await self._fleet.redis.restart()
        await until(self._answers, "Redis has loaded its data")

    async def _answers(self) -> bool:
        with suppress(RedisError, OSError):
            return bool(await self._fleet.client.ping())
        return False

    async def _measured(
        self, what: str, step: Step, owners: int, *, limit: float = LIMIT_SECONDS, counts: bool = True
    ) -> None:
        fleet = self._fleet
        began = time.monotonic()
        cpu = {worker.pid: cpu_seconds(worker.pid) for worker in fleet.workers if worker.running}
        await step()
        done = time.monotonic()
        await fleet.settled(owners)
        settled = time.monotonic() - 3.0
        silences = await fleet.silences(began)
        spent = sum(cpu_seconds(w.pid) - cpu.get(w.pid, 0.0) for w in fleet.workers if w.running)
        row = {
            "what": what, "sessions": len(silences), "limit": limit if counts else None,
            "step_seconds": done - began, "settled_seconds": settled - began, "cpu_seconds": spent,
            **_told(silences, limit, fleet.interval_seconds),
        }  # fmt: skip
        self.rows.append(row)
        print(_line(row), flush=True)


def _told(silences: Sequence[Silence], limit: float, interval_seconds: float) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for column in _COLUMNS:
        allowed = limit + interval_seconds if column == "between" else limit
        values = [float(getattr(one, column)) for one in silences]
        told[column] = {
            "max": max(values),
            "p99": percentile(values, 0.99),
            "p50": percentile(values, 0.5),
            "over": sum(value > allowed for value in values),
        }
    return told


def _line(row: dict[str, Any]) -> str:
    cells = [f"{row['what']:<24}"]
    for column in _COLUMNS:
        told = row[column]
        over = f"{told['over']}" if row["limit"] else "-"
        cells.append(f"{told['p50']:5.2f} {told['p99']:5.2f} {told['max']:5.2f} {over:>4}")
    cells.append(f"{row['settled_seconds']:6.1f}  {row['cpu_seconds']:6.1f}")
    return " | ".join(cells)


def _heading() -> str:
    part = "  p50   p99   max over"
    names = " | ".join(f"{name:<{len(part)}}" for name in ("nobody read it", "between two entries", "an event late"))
    return f"{'seconds':<24} | {names} | settled cpu\n{'':<24} | {part} | {part} | {part} |"


async def _main(sessions: int, interval_seconds: float, code: Path) -> dict[str, Any]:
    async with fleet_of(sessions, interval_seconds, code) as fleet:
        print(f"{sessions} sessions, an event every {interval_seconds:g} s each, workers of {code}\n{_heading()}")
        handover = Handover(fleet)
        await handover.run()
        return {"sessions": sessions, "interval_seconds": interval_seconds, "rows": handover.rows}


def main() -> None:
    """Parse, measure, print; ``--json`` writes the figures too."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--interval", type=float, default=1.0, metavar="SECONDS", help="from event to event")
    parser.add_argument("--code", type=Path, default=ROOT, help="the directory whose bridge the workers run")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    told = asyncio.run(_main(arguments.sessions, arguments.interval, arguments.code))
    if arguments.json:
        arguments.json.write_text(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
