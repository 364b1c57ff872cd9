"""A worker as a process of its own, to be killed, paused, stopped and asked how it feels."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

__all__ = [
    "DEADLINE_SECONDS",
    "FAST",
    "ROOT",
    "Condition",
    "Worker",
    "dying_with_parent",
    "python_environment",
    "until",
]

Condition = Callable[[], bool | Awaitable[bool]]

ROOT = Path(__file__).resolve().parents[2]
KEY = "simulated-key"

# Workers start many times, and compiling takes most of a start: keep what was compiled, wherever that is switched off.
BYTECODE = tempfile.TemporaryDirectory(prefix="lens-bridge-bytecode-")
DEADLINE_SECONDS = 60.0  # of a single wait: a start takes long on a machine that is busy
LEFT_OUT = ("BRIDGE_", "ATAI_", "PYTHONDONTWRITEBYTECODE")

# Short waits, so that a test sees in seconds what a cluster sees in minutes.
FAST: dict[str, object] = {
    "source.api_key": KEY,
    "source.backoff_initial_seconds": 0.02,
    "source.backoff_max_seconds": 0.1,
    "source.connects_per_second": 1000,
    "redis.connect_timeout_seconds": 1,
    "redis.timeout_seconds": 1,
    "redis.backoff_max_seconds": 0.2,
    "lease.ttl_seconds": 2,
    "lease.poll_seconds": 0.1,
    "worker.grace_period_seconds": 5,
    "admin.host": "127.0.0.1",
    "admin.port": 0,
    "log.format": "json",
}


async def until(condition: Condition, what: str, *, timeout: float = DEADLINE_SECONDS, every: float = 0.02) -> None:
    """Return when the condition holds. Raises AssertionError with ``what`` after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        holds = condition()
        if await holds if inspect.isawaitable(holds) else holds:
            return
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}"
        await asyncio.sleep(every)


def python_environment() -> dict[str, str]:
    """What a command of this project is started with: the caller's environment without any setting of ours."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(LEFT_OUT)}
    return {**inherited, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "PYTHONPYCACHEPREFIX": BYTECODE.name}


class Worker:
    """``python -m bridge run``. ``settings`` has dotted paths; None takes the default of `FAST` away.

    ``code`` is the directory whose `bridge` is run.
    """

    def __init__(
        self, log: Path, settings: Mapping[str, object], arguments: Iterable[str] = (), *, code: Path = ROOT
    ) -> None:
        self.log = log
        self._code = code
        self._arguments = tuple(arguments)
        merged = {path: value for path, value in {**FAST, **settings}.items() if value is not None}
        own = {f"BRIDGE_{path.replace('.', '__').upper()}": _text(value) for path, value in merged.items()}
        self._environment = {**python_environment(), "PYTHONPATH": str(code), **own}
        self._process: Process | None = None
        self._port: int | None = None
        self._begin = 0  # of this start's lines in the log

    def give(self, variables: Mapping[str, str]) -> None:
        """Set these in its environment at the next start, as they are."""
        self._environment |= variables

    @property
    def pid(self) -> int:
        """The process id of the running worker."""
        return self._running().pid

    @property
    def running(self) -> bool:
        """The process exists; a paused one does."""
        return self._process is not None and self._process.returncode is None

    async def start(self, terminal: int | None = None) -> Self:
        """Start the process; it is not ready yet. ``terminal``: the descriptor of one that is to control it."""
        assert not self.running, "it runs already"
        self._port = None
        with self.log.open("ab") as log:
            self._begin = log.tell()
            self._process = await asyncio.create_subprocess_exec(
                *_controlled_by(terminal), *dying_with_parent(), sys.executable, "-m", "bridge", "run",
                *self._arguments, stdin=asyncio.subprocess.DEVNULL if terminal is None else terminal,
                stdout=log, stderr=log, env=self._environment, cwd=self._code,
            )  # fmt: skip
        return self

    async def kill(self) -> None:
        """SIGKILL, as by the kernel when memory runs out."""
        if self.running:
            self._running().kill()
            await self._running().wait()

    def pause(self) -> None:
        """SIGSTOP: a zombie that holds its connections and knows nothing of the time that passes."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT after `pause`."""
        os.kill(self.pid, signal.SIGCONT)

    def reload(self) -> None:
        """SIGHUP: read the configuration again."""
        os.kill(self.pid, signal.SIGHUP)

    def terminate(self) -> None:
        """SIGTERM, as by Kubernetes."""
        os.kill(self.pid, signal.SIGTERM)

    async def exit_code(self, timeout: float = DEADLINE_SECONDS) -> int:
        """Wait for the end."""
        assert self._process is not None, "it was never started"
        async with asyncio.timeout(timeout):
            return await self._process.wait()

    async def get(self, path: str) -> tuple[int, str]:
        """Status and body of a page."""
        timeout = aiohttp.ClientTimeout(total=10)
        url = f"http://127.0.0.1:{await self.port()}{path}"
        async with aiohttp.ClientSession(timeout=timeout) as http, http.get(url) as response:
            return response.status, await response.text()

    async def ready(self) -> bool:
        """Whether /readyz says so."""
        return (await self.get("/readyz"))[0] == 200

    async def wait_ready(self, timeout: float = DEADLINE_SECONDS) -> Self:
        """Until /readyz answers 200."""
        await until(self.ready, "ready", timeout=timeout)
        return self

    async def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric over all its label sets that have ``labels``."""
        values = await self._values(name, labels)
        assert values, f"no metric lens_bridge_{name} with {labels}"
        return sum(values)

    def counts(self, name: str, at_least: float, **labels: str) -> Condition:
        """A condition: the metric has come so far. A worker that knows no session yet has no series of one."""

        async def counted() -> bool:
            return sum(await self._values(name, labels)) >= at_least

        return counted

    async def _values(self, name: str, labels: Mapping[str, str]) -> list[float]:
        _, page = await self.get("/metrics")
        return [
            sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            if sample.name == f"lens_bridge_{name}" and labels.items() <= sample.labels.items()
        ]

    async def session(self, name: str) -> dict[str, Any]:
        """A session's part of /status."""
        _, page = await self.get("/status")
        found: dict[str, Any] = next(one for one in json.loads(page)["sessions"] if one["name"] == name)
        return found

    def said(self, event: str) -> list[dict[str, Any]]:
        """The log lines about ``event`` since the last start."""
        return [line for line in self._lines() if line.get("event") == event]

    def log_tail(self, lines: int = 30) -> str:
        """The end of the log, for the report of a test that failed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def resident_bytes(self) -> int:
        """How much memory it occupies (RSS)."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    async def port(self) -> int:
        """Of the admin server."""
        if self._port is None:
            await until(lambda: bool(self.said("admin.opened")) or not self.running, "the admin port is open")
            assert self.running, f"the worker has ended; its log:\n{self.log_tail()}"
            self._port = int(self.said("admin.opened")[0]["port"])
        return self._port

    def _lines(self) -> list[dict[str, Any]]:
        with self.log.open("rb") as log:
            log.seek(self._begin)
            whole, _, _ = log.read().rpartition(b"\n")  # a line may be on its way, or cut off by a SIGKILL
        return [json.loads(line) for line in whole.splitlines() if line.startswith(b"{")]

    def _running(self) -> Process:
        assert self._process is not None, "it was never started"
        assert self._process.returncode is None, f"the worker has ended; its log:\n{self.log_tail()}"
        return self._process


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _controlled_by(terminal: int | None) -> list[str]:
    """A prefix for a command line that is to have the terminal on its standard input for its own (Linux)."""
    return [] if terminal is None else ["setsid", "--ctty"]


def dying_with_parent() -> list[str]:
    """A prefix for a command line, so that a test run that is killed leaves no worker behind (Linux)."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []
