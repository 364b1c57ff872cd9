"""Programs of those who read: processes of any language, started side by side, killed and counted."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from tests.support.worker import dying_with_parent

__all__ = ["Reader", "members", "settled"]


class Reader:
    """One member. ``output`` has what it printed, over all its starts; it runs in the directory of that file."""

    def __init__(self, output: Path, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.output = output
        self._command = command
        self._environment = dict(environment)
        self._process: Process | None = None

    @property
    def running(self) -> bool:
        """The process exists."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start it, with a process group of its own: a shell's children are to end with it."""
        assert not self.running, "it runs already"
        with self.output.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *dying_with_parent(), *self._command, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output,
                env=self._environment, cwd=self.output.parent, start_new_session=True,
            )  # fmt: skip

    async def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()

    def lines(self) -> list[bytes]:
        """Whole lines so far: a SIGKILL may have cut the last one off."""
        return self.output.read_bytes().split(b"\n")[:-1] if self.output.exists() else []

    def tail(self, lines: int = 15) -> str:
        """The end of what it printed, for the report of a test that failed."""
        return "\n".join(line.decode(errors="backslashreplace")[:300] for line in self.lines()[-lines:])


@contextlib.asynccontextmanager
async def members(*readers: Reader) -> AsyncIterator[None]:
    """They run side by side and end with the block; their last words are for the report of a test that failed."""
    try:
        for one in readers:
            await one.start()
        yield
    finally:
        for one in readers:
            await one.kill()
            print(f"--- {one.output.name}\n{one.tail()}")


async def settled(client: Redis, stream: str, group: str) -> bool:
    """The group was given the stream to its end, and has acknowledged all of it."""
    try:
        groups: list[dict[str, Any]] = await client.xinfo_groups(stream)
    except ResponseError:
        return False  # there is no stream yet
    last: Any = await client.xrevrange(stream, count=1)
    return any(
        one["name"] == group.encode()
        and not one["pending"]
        and (not last or _position(one["last-delivered-id"]) >= _position(last[0][0]))
        for one in groups
    )


def _position(entry_id: bytes) -> tuple[int, ...]:
    return tuple(int(part) for part in entry_id.split(b"-"))
