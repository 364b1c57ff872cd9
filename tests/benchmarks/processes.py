"""Child processes, and what the kernel says that they used. Linux only: it is read from /proc."""

from __future__ import annotations

import ctypes
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_libc = ctypes.CDLL(None)
_STOP_SECONDS = 20.0
_REST_SECONDS, _REST_CPU_SECONDS = 0.3, 0.02
_REST_PATIENCE_SECONDS = 20.0


@contextmanager
def running(
    command: Sequence[str], *, cwd: Path, environment: Mapping[str, str] | None = None, heard: bool = True
) -> Iterator[Process]:
    """A child that can be told lines and ``heard``; it is ended by SIGTERM, or by force after 20 s.

    What this shell says to a bridge (BRIDGE_…) is not for it: only ``environment`` is.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("BRIDGE_", "ATAI_"))}
    child = subprocess.Popen(
        command,
        cwd=cwd,
        env=clean | dict(environment or {}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE if heard else subprocess.DEVNULL,
        bufsize=0,
    )
    try:
        yield Process(child)
    finally:
        child.terminate()
        try:
            child.communicate(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()


class Process:
    """A running child."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        self.pid = child.pid

    def tell(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._child.stdin is not None
        self._child.stdin.write(line.encode() + b"\n")

    def hear(self) -> str:
        """The next line of its standard output. Raises SystemExit when it ended instead."""
        assert self._child.stdout is not None
        if line := self._child.stdout.readline():
            return line.decode().strip()
        raise SystemExit(f"{self} stopped without a word")

    def check(self) -> None:
        """Raises SystemExit when it failed. One that ended in good order is left unreaped: its figures can be read."""
        ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is not None and ended.si_status != 0:
            raise SystemExit(f"{self} stopped with status {ended.si_status}")

    def come_to_rest(self) -> None:
        """Wait until it has nearly stopped computing: it has started. A worker of many sessions never quite does."""
        deadline = time.monotonic() + _REST_PATIENCE_SECONDS
        used = cpu_seconds(self.pid)
        while time.monotonic() < deadline:
            time.sleep(_REST_SECONDS)
            before, used = used, cpu_seconds(self.pid)
            if used - before <= _REST_CPU_SECONDS:
                return

    def __str__(self) -> str:
        command = self._child.args
        return " ".join(map(str, command)) if isinstance(command, list | tuple) else str(command)


def cpu_seconds(pid: int) -> float:
    """What a process and its threads, ended ones too, have used so far: to the nanosecond by its CPU clock.

    In ticks of 10 ms for one that has ended and whose exit code nobody has asked for; 0 for one that is gone.
    """
    clock = ctypes.c_int()
    if _libc.clock_getcpuclockid(pid, ctypes.byref(clock)) == 0:
        with suppress(OSError):  # it ended in between
            return time.clock_gettime(clock.value)
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    user, system = text.rpartition(")")[2].split()[11:13]  # the name in front may hold blanks
    return (int(user) + int(system)) / _TICKS_PER_SECOND


def machine_cpu_seconds() -> float:
    """What all programs and the kernel have used of all cores so far, and what a host took away: all but idleness."""
    user, nice, system, _, _, *rest = map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9])
    return (user + nice + system + sum(rest)) / _TICKS_PER_SECOND


def memory_mib(pid: int) -> tuple[float, float]:
    """Resident memory now and at its highest, in MiB. NaN for one that is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return float("nan"), float("nan")
    values = {name: value for name, _, value in (line.partition(":") for line in lines)}
    if "VmRSS" not in values:  # it has ended and nobody has asked for its exit code yet
        return float("nan"), float("nan")
    return int(values["VmRSS"].split()[0]) / 1024, int(values["VmHWM"].split()[0]) / 1024
