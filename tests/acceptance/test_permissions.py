"""ACL users with exactly the permissions that the README names: a worker, verify and tail, on each topology."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bridge.lab.redis_server import RedisServer
from bridge.lab.simulator import Simulator
from tests.support.topology.clustered import Clustered
from tests.support.topology.stage import DEFAULTS, staged
from tests.support.topology.watched import WORD, Watched, asked
from tests.support.worker import ROOT, python_environment

WORKER, READER = "bridge-worker", "bridge-reader"
CAN_DO_WITHOUT = {"info", "config|get", "command|info"}


def documented(user: str) -> list[str]:
    """The rules as the README has them, with the password of the tests."""
    text = (ROOT / "README.md").read_text()
    (rules,) = re.findall(rf"^ACL SETUSER {user} (.*(?:\n  .*)*)", text, re.MULTILINE)
    return ["reset", *rules.replace("PASSWORD", WORD).split()]


class Single:
    """One server, as a topology."""

    def __init__(self, server: RedisServer) -> None:
        self.nodes = [server]
        self.url = server.url


@asynccontextmanager
async def opened(kind: str) -> AsyncIterator[Single | Watched | Clustered]:
    """A topology of this kind."""
    if kind == "sentinel":
        async with Watched() as watched:
            yield watched
    elif kind == "cluster":
        async with Clustered() as cluster:
            yield cluster
    else:
        async with RedisServer() as server:
            yield Single(server)


def url_of(user: str, topology: Single | Watched | Clustered) -> str:
    """The topology's, for this user."""
    scheme, _, rest = topology.url.partition("://")
    return f"{scheme}://{user}:{WORD}@{rest.rpartition('@')[2]}"


@pytest.mark.parametrize("kind", ["single", "sentinel", "cluster"])
async def test_a_user_with_the_documented_permissions_can_do_all(
    simulator: Simulator, tmp_path: Path, kind: str
) -> None:
    """Nothing is refused but what a worker can do without, and that once."""
    async with opened(kind) as topology:
        operator = "operator" if kind == "sentinel" else ""
        for node in topology.nodes:
            for user in (WORKER, READER):
                await asked(node, "ACL", "SETUSER", user, *documented(user), user=operator)
            await asked(node, "ACL", "LOG", "RESET", user=operator)
        settings = {**DEFAULTS, "redis__url": url_of(WORKER, topology)}
        names = ["lsn-a", "lsn-b", "lsn-c"]
        async with staged(topology, simulator, tmp_path, names, rate=50, settings=settings) as stage:
            await stage.flow()
            second = await stage.rig.worker(*stage.sessions, **settings).start()
            await second.wait_ready()
            stage.worker.terminate()
            assert await stage.worker.exit_code() == 0
            await stage.flow()
            await stage.kept()
            reader = url_of(READER, topology)
            verified = await _command("verify", "--redis-url", reader, "--sessions", ",".join(names))
            assert verified.splitlines()[-1].startswith("no fault found in ")
            assert await _first_line("tail", "--from-start", "--redis-url", reader, "--sessions", ",".join(names))
        denied = {one for node in topology.nodes for one in await _denied(node, operator)}
        assert denied <= CAN_DO_WITHOUT


async def _denied(node: RedisServer, user: str) -> Sequence[str]:
    """What somebody tried and was not permitted."""
    rows = await asked(node, "ACL", "LOG", user=user)
    entries = [dict(zip(row[::2], row[1::2], strict=True)) for row in rows]
    return [f"{one[b'reason'].decode()} {one[b'object'].decode()}".removeprefix("command ") for one in entries]


async def _command(*arguments: str) -> str:
    process = await _started(*arguments)
    printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()
    return printed.decode()


async def _first_line(*arguments: str) -> str:
    process = await _started(*arguments)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            return (await process.stdout.readline()).decode()
    finally:
        process.kill()
        await process.communicate()


async def _started(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bridge", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=python_environment(),
        cwd=ROOT,
    )
