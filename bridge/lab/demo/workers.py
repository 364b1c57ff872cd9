"""The demo's workers and readers: real processes that are killed, paused and started again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from asyncio.subprocess import Process
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import bridge
from bridge.lab.demo.story import Story
from bridge.lab.redis_server import RedisServer

__all__ = ["DemoReader", "DemoWorker", "WorkerState", "guard", "running"]

LINE_BYTES = 1024 * 1024  # a log line is far shorter; asyncio's own limit of 64 KiB would end the reading
LAST_LINES = 10  # of the log, for the report of a worker that ended by itself


class WorkerState(StrEnum):
    """What was done to a worker last."""

    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused (SIGSTOP)"
    KILLED = "killed (SIGKILL)"


@contextlib.contextmanager
def guard(server: RedisServer) -> Iterator[int]:
    """A process that ends Redis and the workers if this one is killed; gives the process group for the workers."""
    program = str(Path(__file__).with_name("guard.py"))
    process = subprocess.Popen(  # noqa: S603  our own program
        [sys.executable, "-I", program, str(server.pid), str(server.directory)],
        stdin=subprocess.PIPE,
        process_group=0,  # Ctrl-C in the terminal is for the demo alone
    )
    with process:
        try:
            yield process.pid
        finally:
            process.kill()


class DemoWorker:
    """One worker. ``settings`` are dotted paths; what it logs goes into the story."""

    def __init__(self, name: str, settings: Mapping[str, object], story: Story, process_group: int) -> None:
        self.name = name
        self.state = WorkerState.STARTING
        self.admin_url: str | None = None
        self._story = story
        self._process_group = process_group
        self._environment = _environment({**settings, "worker.id": name})
        self._process: Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._last_lines: deque[str] = deque(maxlen=LAST_LINES)

    @property
    def pid(self) -> int | None:
        """The process id, None while there is no process."""
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """Start the process. It is under way then, not ready."""
        self.state, self.admin_url = WorkerState.STARTING, None
        self._process = await asyncio.create_subprocess_exec(
            # -P: a directory named like this package must not be taken for it because the user stands beside it
            *(sys.executable, "-P", "-m", "bridge", "run"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=self._environment,
            process_group=self._process_group,
            limit=LINE_BYTES,
        )
        self._reading = asyncio.create_task(self._read(self._process), name=f"log of {self.name}")

    async def kill(self) -> None:
        """SIGKILL: it can save nothing and say nothing. Does nothing where there is no process."""
        process, self._process = self._process, None
        if process is None or self._reading is None:
            return
        self.state = WorkerState.KILLED
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await self._reading

    def pause(self) -> None:
        """SIGSTOP."""
        self.state = WorkerState.PAUSED
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.state = WorkerState.RUNNING
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "the worker runs"
        self._process.send_signal(number)

    async def _read(self, process: Process) -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            self._last_lines.append(line.decode(errors="replace").rstrip())
            with contextlib.suppress(ValueError, KeyError, TypeError):  # a warning of Python's is no JSON
                self._take_in(json.loads(line))
        code = await process.wait()
        if self._process is process:
            last = "\n".join(self._last_lines)
            self._story.fail(f"{self.name} ended by itself with code {code}; its last words:\n{last}")

    def _take_in(self, logged: Mapping[str, Any]) -> None:
        match logged["event"]:
            case "admin.opened":
                self.admin_url = f"http://127.0.0.1:{logged['port']}/"
            case "worker.started":
                self.state = WorkerState.RUNNING
            case "lease.taken":
                self._story.lease_taken(self.name, logged["session"], logged["seq"])
            case "lease.lost":
                self._story.lease_lost(self.name, logged["session"])


class DemoReader:
    """One member of the service that reads: `bridge.lab.service`. ``arguments`` are those behind its own name."""

    def __init__(self, name: str, arguments: Sequence[str], story: Story, process_group: int) -> None:
        self.name = name
        self.state = WorkerState.STARTING
        url, database, *streams = arguments
        self._command = (sys.executable, "-P", "-m", "bridge.lab.service", url, database, name, *streams)
        self._story = story
        self._process_group = process_group
        self._process: Process | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process id, None while there is no process."""
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """Start the process."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=_environment({}),
            process_group=self._process_group,
        )
        self.state = WorkerState.RUNNING
        self._watching = asyncio.create_task(self._watch(self._process), name=f"end of {self.name}")

    async def kill(self) -> None:
        """SIGKILL, with whatever it has in hand. Does nothing where there is no process."""
        process, self._process = self._process, None
        if process is None or self._watching is None:
            return
        self.state = WorkerState.KILLED
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await self._watching

    async def _watch(self, process: Process) -> None:
        _, said = await process.communicate()
        if self._process is process:
            last = "\n".join(said.decode(errors="replace").splitlines()[-LAST_LINES:])
            self._story.fail(f"{self.name} ended by itself with code {process.returncode}; its last words:\n{last}")


@contextlib.asynccontextmanager
async def running(workers: Sequence[DemoWorker | DemoReader]) -> AsyncIterator[None]:
    """Start the workers and end them by force: what is not committed then is of no interest to a demo."""
    try:
        for worker in workers:
            await worker.start()
        yield
    finally:
        for worker in workers:
            await worker.kill()


def _environment(settings: Mapping[str, object]) -> dict[str, str]:
    """This process's own, without what the user has set for a worker of theirs."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("BRIDGE_", "ATAI_"))}
    own = {f"BRIDGE_{path.replace('.', '__').upper()}": str(value) for path, value in settings.items()}
    found_in = [str(Path(bridge.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return {**inherited, **own, "PYTHONPATH": os.pathsep.join(filter(None, found_in))}
