"""An ACL user with the documented permissions and no other runs a worker, `verify` and `tail`, on every topology."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from bridge.lab.redis_server import RedisServer
from bridge.lab.simulator import SimulatedSession, Simulator
from bridge.operations.redis_client import Client
from tests.support.permissions import (
    DURABLE,
    FACTS,
    KEEPING,
    READER,
    TOPOLOGIES,
    WATCHER,
    WORD,
    WORKER,
    commands_of,
    rules_of,
)
from tests.support.serving import Served, Subscriber
from tests.support.topology.clustered import Clustered
from tests.support.topology.stage import patient_client
from tests.support.topology.watched import SERVICE, Watched, asked
from tests.support.worker import ROOT, Worker, python_environment, until
from tests.support.worker_rig import Rig, keys_of

EVENTS = 40
BOTH = "bridge-operator"  # who has dead letters published or removed needs what a worker and a reader need
GROUP = "readers"
# By which redis-py tells its own name, and does not mind. Redis 7.0 does not know it, so nobody could permit it there.
UNHEARD = {"client|setinfo"}


class Guarded:
    """Servers that know the users of the README, behind an address that takes one of them."""

    def __init__(self, address: str, client: Any, data: list[RedisServer], operator: str = "") -> None:
        self._address = address
        self._operator = operator
        self.client = client
        self.data = data

    def url(self, user: str) -> str:
        """With that user's password."""
        return self._address.replace("://", f"://{user}:{WORD}@")

    async def set_up(self, *when: str) -> None:
        """Make the users, with what the README says always and under these comments."""
        for server in self.data:
            rules = {user: rules_of(user, *when) for user in (WORKER, READER)}
            for user, permitted in (*rules.items(), (BOTH, rules[WORKER] + rules[READER])):
                await asked(server, "ACL", "SETUSER", user, "reset", *permitted, user=self._operator)
            await asked(server, "ACL", "LOG", "RESET", user=self._operator)

    async def refusals(self) -> set[str]:
        """What somebody tried and was not permitted to do."""
        replies = [await asked(server, "ACL", "LOG", user=self._operator) for server in self.data]
        logged = [dict(zip(entry[::2], entry[1::2], strict=True)) for reply in replies for entry in reply]
        return {f"{one[b'username'].decode()}: {one[b'reason'].decode()} {one[b'object'].decode()}" for one in logged}


@asynccontextmanager
async def guarded(topology: str) -> AsyncIterator[Guarded]:
    """One server, a primary that Sentinels watch, or a cluster."""
    client: Client
    async with AsyncExitStack() as stack:
        match topology:
            case "single":
                server = await stack.enter_async_context(RedisServer())
                client = await stack.enter_async_context(Redis.from_url(server.url))
                yield Guarded(server.url, client, [server])
            case "sentinel":
                watched = await stack.enter_async_context(Watched())
                for sentinel in watched.sentinels:
                    await asked(sentinel, "ACL", "SETUSER", WATCHER, *rules_of(WATCHER))
                client = await stack.enter_async_context(patient_client(watched.url))
                places = ",".join(f"127.0.0.1:{one.port}" for one in watched.sentinels)
                yield Guarded(f"redis+sentinel://{places}/{SERVICE}", client, watched.nodes, "operator")
            case _:
                clustered = await stack.enter_async_context(Clustered())
                client = await stack.enter_async_context(patient_client(clustered.url))
                yield Guarded(clustered.url, client, clustered.nodes)


@pytest.mark.parametrize("topology", TOPOLOGIES)
async def test_a_user_with_the_documented_permissions_runs_every_command(
    topology: str, simulator: Simulator, tmp_path: Path
) -> None:
    """Dead letters, limits, a lost window, lost sessions, a restart; the servers' own logs know of no refusal."""
    async with guarded(topology) as redis:
        await redis.set_up(TOPOLOGIES[topology], FACTS, KEEPING, DURABLE[0])
        rig = Rig(redis.data[0], redis.client, simulator, tmp_path)
        try:
            sessions = [simulator.create_session(f"lsn-{number}") for number in range(2)]
            limits = {"stream__max_length": 100, "stream__max_age_seconds": 86_400, "stream__hard_max_length": 100_000}
            extra: dict[str, Any] = {**limits, "stream__keep_unread": True}
            if topology == "sentinel":
                extra |= {"redis__sentinel_username": WATCHER, "redis__sentinel_password": WORD}
            if topology != "single":  # there are replicas
                extra |= {"redis__durability": "replicated", "redis__durability_timeout_seconds": 0.5}
            worker = rig.worker(*sessions, redis__url=redis.url(WORKER), **extra)
            await _live(rig, worker, sessions)
            variables = {f"BRIDGE_{name.upper()}": str(value) for name, value in extra.items()}
            await _read(redis, sessions, variables, tmp_path)
            await _replay(redis, rig, sessions, variables)
            met = worker.said("redis.met")
            assert met
            assert not any("unknown" in one["server"] for one in met)
            assert await redis.refusals() <= {
                f"{user}: command {one}" for user in (READER, BOTH) for one in logged(UNHEARD)
            }
        finally:
            await rig.close()


async def test_without_permission_to_ask_what_the_server_is_a_worker_works_all_the_same(
    simulator: Simulator, tmp_path: Path
) -> None:
    """It asks once, and the server notes that; the words say what was not to be learned."""
    async with guarded("single") as redis:
        await redis.set_up()
        rig = Rig(redis.data[0], redis.client, simulator, tmp_path)
        try:
            session = simulator.create_session("lsn-0")
            worker = rig.worker(session, redis__url=redis.url(WORKER))
            await _live(rig, worker, [session])
            assert "of an unknown version" in worker.said("redis.met")[0]["server"]
            tried = await redis.refusals()
            assert tried <= {
                f"{WORKER}: command {one}" for one in logged(commands_of(WORKER, FACTS) - commands_of(WORKER))
            }
            assert tried
        finally:
            await rig.close()


def logged(commands: set[str]) -> set[str]:
    """As a server's own log has them: before Redis 7.0 without the subcommand."""
    return commands | {one.partition("|")[0] for one in commands if "|" in one}


async def _live(rig: Rig, worker: Worker, sessions: list[SimulatedSession]) -> None:
    """All that befalls a worker and takes another command."""
    await worker.start()
    for session in sessions:
        await session.wait_connected()
        session.generate(EVENTS)
        session.emit("no JSON")
        session.generate(EVENTS)
        await rig.reaches(session, 2 * EVENTS)
    await until(worker.counts("dead_letters_total", len(sessions)), "what is no JSON is set aside")
    worker.terminate()
    assert await worker.exit_code() == 0
    for session in sessions:
        await rig.client.delete(keys_of(session).seen)
        await rig.client.xgroup_create(keys_of(session).events, GROUP, id="0")
        await rig.client.xreadgroup(GROUP, "one", {keys_of(session).events: ">"}, count=1)  # so that one is pending
        session.generate(EVENTS)
    await worker.start()
    for session in sessions:
        await rig.reaches(session, 3 * EVENTS)
    assert len(worker.said("window.restored")) == len(sessions)

    async def looked() -> bool:
        _, page = await worker.get("/metrics")
        return page.count(f'group="{GROUP}"') >= len(sessions)

    await until(looked, "it is told what groups have not read yet")
    for session in sessions:
        keys = keys_of(session)
        await rig.client.delete(keys.events, keys.state, keys.seen, keys.dead_letter)
        session.generate(EVENTS)
        await rig.reaches(session, 4 * EVENTS)


async def _read(redis: Guarded, sessions: list[SimulatedSession], variables: dict[str, str], directory: Path) -> None:
    """`verify`, `tail` and `serve` as a user who may only read."""
    ids = ",".join(one.session_id for one in sessions)
    own = {**python_environment(), **variables, "BRIDGE_REDIS__URL": redis.url(READER), "BRIDGE_SESSIONS": ids}
    code, told = await _command(own, "verify")
    assert code == 0, told
    assert "no fault found" in told
    code, told = await _command(own, "dead-letters", "list")
    assert (code, told) == (0, "no dead letters\n")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bridge", "tail", "--from-start"), env=own, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            for _ in range(EVENTS):
                assert await process.stdout.readline()
    finally:
        process.kill()
        await process.communicate()
    server = Served(directory / "serve.log", {})
    server.environment |= own
    try:
        await server.start()
        for session in sessions:
            reader = Subscriber(f"{server.url}/streams/{session.session_id}", {"from": "start"}).start()
            await until(lambda one=reader: len(one.seen) >= EVENTS, "its entries are read")  # type: ignore[misc]
            seen = len(reader.seen)
            session.generate(1)
            await until(lambda one=reader, n=seen: len(one.seen) > n, "and what comes then")  # type: ignore[misc]
            await reader.close()
    finally:
        await server.kill()


async def _replay(redis: Guarded, rig: Rig, sessions: list[SimulatedSession], variables: dict[str, str]) -> None:
    """A letter that the worker publishes, one that it cannot, and one for which there is no worker any more."""
    ids = ",".join(one.session_id for one in sessions)
    own = {**python_environment(), **variables, "BRIDGE_REDIS__URL": redis.url(BOTH), "BRIDGE_SESSIONS": ids}
    letter: Any = {
        "id": "old-1",
        "session_id": sessions[0].session_id,
        "type": "t",
        "data": '{"type":"t"}',
        "received_at": "1.000",
        "event": "message",
        "reason": "rejected",
        "detail": "no",
        "truncated": "0",
    }
    key = keys_of(sessions[0]).dead_letter
    await rig.client.xadd(key, letter)
    assert await _command(own, "dead-letters", "replay", "--all") == (0, "1 published, 0 not\n")
    await rig.client.xadd(key, letter | {"id": "old-2", "data": "[]"})
    code, told = await _command(own, "dead-letters", "replay", "--all")
    assert (code, told.splitlines()[-1]) == (1, "0 published, 1 not")
    assert await _command(own, "dead-letters", "purge", "--older-than", "0s", "--yes") == (0, "1 removed: 1 rejected\n")
    rig.workers[-1].terminate()
    assert await rig.workers[-1].exit_code() == 0
    await rig.client.xadd(key, letter | {"id": "old-3"})
    assert await _command(own, "dead-letters", "replay", "--all") == (0, "1 published, 0 not\n")
    published = [entry["id"] for entry in await rig.entries(sessions[0]) if "dead_letter" in entry]
    assert published == ["old-1", "old-3"]


async def _command(environment: dict[str, str], *words: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bridge", *words), env=environment, cwd=ROOT,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    return process.returncode, output.decode()
