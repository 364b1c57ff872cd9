"""One measurement: a contender on an empty Redis, from the word to go until all its entries stand."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from string import Template
from typing import cast

import redis

from bridge.lab.redis_server import RedisServer
from tests.benchmarks.contenders import HERE, Contender, Start
from tests.benchmarks.processes import Process, cpu_seconds, machine_cpu_seconds, memory_mib, running

Figures = dict[str, float]
"""What one measurement told, by name; the names bear the units."""

_LOOK_SECONDS = 0.02
_STREAMS_PER_LOOK = 50  # looking at 1,000 streams takes Redis a while, so it is done less often
_STALL_SECONDS = 60.0


class Source:
    """The source program as the rig sees it."""

    def __init__(self, process: Process, sessions: int) -> None:
        self._process, self._sessions = process, sessions
        self.pid = process.pid
        self.url = f"http://127.0.0.1:{process.hear()}"

    def wait_for_readers(self) -> None:
        """Until every session is being read."""
        for _ in range(self._sessions):
            self._process.hear()

    def send(self, events: int, per_second: float) -> None:
        """Let it send so many events to each session; 0 a second is as fast as TCP takes it."""
        self._process.tell(f"{events} {per_second}")


@contextmanager
def source(*, sessions: int = 1, events: int, data_bytes: int, per_chunk: int = 1) -> Iterator[Source]:
    """A source with so many sessions. ``events`` are rendered beforehand, more than that only as they are sent."""
    command = [sys.executable, "-m", "tests.benchmarks.source"]
    with running([*command, *map(str, (sessions, events, data_bytes, per_chunk))], cwd=HERE) as process:
        yield Source(process, sessions)


class Rig:
    """A Redis, and contenders on it one after the other. ``entries_file`` is where samples of entries are put."""

    def __init__(self, server: RedisServer, entries_file: Path) -> None:
        self.client = redis.Redis.from_url(server.url)
        self._server, self._entries_file = server, entries_file

    @property
    def redis_url(self) -> str:
        """Where its Redis is."""
        return self._server.url

    @property
    def server_pid(self) -> int:
        """The process of its Redis."""
        return self._server.pid

    def sample(self, stream: str, entries: int) -> list[str]:
        """Keep so many entries of a bridge for the limit to write. Returns one: field, value, field, value, …"""
        replies = cast("list[tuple[bytes, dict[bytes, bytes]]]", self.client.xrange(stream, count=entries))
        kept = [[part.decode() for pair in fields.items() for part in pair] for _, fields in replies]
        self._entries_file.write_text(json.dumps(kept))
        return kept[0]

    def measure(
        self, contender: Contender, origin: Source, events: int, per_second: float = 0, listener: Process | None = None
    ) -> Figures:
        """``events`` for each of its streams. Raises SystemExit where it stops or stalls."""
        with self.started(contender, origin, events) as process:
            pids = [process.pid, self._server.pid, origin.pid, os.getpid(), *([listener.pid] if listener else [])]
            busy, clock = machine_cpu_seconds(), time.monotonic()
            used, began = [cpu_seconds(pid) for pid in pids], time.time()
            if contender.start is Start.SOURCE:
                origin.send(events, per_second)
            elif contender.start is Start.WORD:
                process.tell("go")
            ended = self._wait_for(contender.streams, events, process)
            took = [cpu_seconds(pid) - before for pid, before in zip(pids, used, strict=True)]
            others_cores = (machine_cpu_seconds() - busy - sum(took)) / (time.monotonic() - clock)
            rss, peak = memory_mib(process.pid)
        total, (worker, server, sender) = events * len(contender.streams), took[:3]
        figures = {
            "events_per_second": total / (ended - began),
            "cpu_us": worker / total * 1e6,
            "redis_cpu_us": server / total * 1e6,
            "source_cpu_us": sender / total * 1e6,
            "rss_mib": rss,
            "peak_rss_mib": peak,
            "others_cores": max(0.0, others_cores),
        }
        return {name: value for name, value in figures.items() if not math.isnan(value)}

    @contextmanager
    def started(self, contender: Contender, origin: Source, events: int) -> Iterator[Process]:
        """The contender on an emptied Redis, come to rest and ready to go. Raises SystemExit where it stops."""
        self.client.flushall(asynchronous=False)
        filled = {
            "SOURCE": origin.url,
            "REDIS": self._server.url,
            "PORT": str(self._server.port),
            "EVENTS": str(events),
            "ENTRIES": str(self._entries_file),
        }
        command = [Template(part).safe_substitute(filled) for part in contender.command]
        environment = {name: Template(text).safe_substitute(filled) for name, text in contender.environment.items()}
        heard = contender.start is Start.WORD
        with running(command, cwd=contender.cwd, environment=environment, heard=heard) as process:
            if contender.start is Start.SOURCE:
                origin.wait_for_readers()
                process.come_to_rest()
            elif contender.start is Start.WORD:
                process.hear()
            yield process

    def _wait_for(self, streams: Sequence[str], events: int, process: Process) -> float:
        """When the last entry was written, in Unix seconds by Redis's clock."""
        patience = _LOOK_SECONDS * (1 + len(streams) / _STREAMS_PER_LOOK)
        found, progress = 0, time.monotonic()
        while found < events * len(streams):
            time.sleep(patience)
            before, found = found, sum(self._ask("xlen", streams))
            if found != before:
                progress = time.monotonic()
            process.check()
            if time.monotonic() > progress + _STALL_SECONDS:
                raise SystemExit(f"{process} stalled at {found} of {events * len(streams)} events")
        if found > events * len(streams):
            raise SystemExit(f"{process} wrote {found} entries for {events * len(streams)} events")
        infos = cast("list[dict[str, bytes]]", self._ask("xinfo_stream", streams))
        return max(int(info["last-generated-id"].split(b"-")[0]) for info in infos) / 1000

    def _ask(self, command: str, streams: Sequence[str]) -> list[int]:
        pipeline = self.client.pipeline(transaction=False)
        for stream in streams:
            getattr(pipeline, command)(stream)
        return cast("list[int]", pipeline.execute())
