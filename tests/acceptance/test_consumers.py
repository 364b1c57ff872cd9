"""Services that read with `bridge.consumer`: each event has its effect once, whoever is killed.

Their databases are SQLite and PostgreSQL, their members are processes of their own. While events flow they are killed,
frozen for longer than it takes to be taken for dead, and stopped; so is the bridge; and Redis is killed and comes back
as it was some seconds before.
"""

from __future__ import annotations

import asyncio
import random
import signal
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import RedisError

from bridge.consumer import Dialect
from bridge.lab.simulator import Profile, SimulatedSession
from tests.support.consuming_member import Service, connected, prepare
from tests.support.postgres import postgres_server
from tests.support.worker import ROOT, Worker, dying_with_parent, python_environment, until
from tests.support.worker_rig import Rig

STREAM = "lens:{all}:events"
PATIENCE_SECONDS = 180.0  # a dozen processes start at once
FROZEN_SECONDS = 1.6  # longer than what makes others take it for dead
DECK = ("kill", "kill", "kill", "freeze", "freeze", "stop", "bridge", "bridge", "redis", "redis", "all")


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """The connection string of a PostgreSQL."""
    with postgres_server() as address:
        yield address


class Member:
    """One process of a service."""

    def __init__(self, service: Service, log: Path) -> None:
        self.service, self._log = service, log
        self._process: Process | None = None

    async def start(self) -> None:
        """Also where it has ended by itself, as it does when its transaction was taken away."""
        if self._process is None or self._process.returncode is not None:
            with self._log.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *(*dying_with_parent(), *self.service.command()),
                    stdout=log, stderr=log, env=python_environment(), cwd=ROOT,
                )  # fmt: skip

    async def end(self, number: signal.Signals = signal.SIGKILL) -> int:
        """Send it a signal that ends it; its exit code."""
        assert self._process is not None
        self.send(signal.SIGCONT)
        self.send(number)
        return await asyncio.wait_for(self._process.wait(), 60)

    async def ended(self) -> int:
        """It ends by itself."""
        assert self._process is not None
        return await asyncio.wait_for(self._process.wait(), 60)

    def send(self, number: signal.Signals) -> None:
        """A signal to a process that may be gone."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            self._process.send_signal(number)


@asynccontextmanager
async def running(services: Sequence[Service], each: int, directory: Path) -> AsyncIterator[list[Member]]:
    """So many members of each service; what they said is shown where a test fails."""
    for service in services:
        prepare(service)
    members = [Member(one, directory / f"{one.group}-{n}.log") for one in services for n in range(each)]
    try:
        for one in members:
            await one.start()
        yield members
    finally:
        for one in members:
            await one.end()
        for one in members:
            print(f"--- {one._log.name}\n{one._log.read_text(errors='replace')[-1500:]}")


def effects(service: Service) -> list[tuple[str, int, str]]:
    """Session, number and id of each effect, in the order of the effects."""
    connection = connected(service)
    try:
        rows = connection.execute(f"SELECT session_id, seq, id FROM effects_{service.group} ORDER BY n").fetchall()
        return [tuple(row) for row in rows]
    finally:
        connection.close()


async def play(deck: Sequence[str], rig: Rig, worker: Worker, members: Sequence[Member], chance: random.Random) -> None:
    """One evil after the other; who was killed is started again at once."""
    for what in deck:
        await until(partial(_saved, rig), "a snapshot is taken")
        await asyncio.sleep(chance.uniform(0.1, 0.5))
        one = chance.choice(members)
        match what:
            case "kill":
                await one.end()
            case "stop":
                assert await one.end(signal.SIGTERM) in (0, 1, -signal.SIGTERM)  # some are told before they listen
            case "freeze":
                one.send(signal.SIGSTOP)
                await asyncio.sleep(FROZEN_SECONDS)
                one.send(signal.SIGCONT)
            case "bridge":
                await worker.kill()
                await worker.start()
            case "redis":
                await rig.server.kill()
                await rig.server.start()
            case "all":
                chosen = chance.sample(members, 2)
                chosen[0].send(signal.SIGSTOP)
                await asyncio.gather(chosen[1].end(), worker.kill(), rig.server.kill())
                await rig.server.start()
                await worker.start()
                chosen[0].send(signal.SIGCONT)
        for member in members:
            await member.start()
        print(f"{what}: done")


async def _work(services: Sequence[Service]) -> bool:
    return all([len(await asyncio.to_thread(effects, one)) >= 20 for one in services])


async def _saved(rig: Rig) -> bool:
    with suppress(RedisError, OSError):  # its connections broke with the server
        return bool(await rig.client.save())
    return False


async def settled(rig: Rig, services: Sequence[Service], sessions: Sequence[SimulatedSession]) -> None:
    """Everything that was sent stands in Redis, was given to members, and is acknowledged."""
    sent = sum(len(one.record) for one in sessions)

    async def quiet() -> bool:
        with suppress(RedisError, OSError):
            entries: Any = await rig.client.xrange(STREAM)
            stands = {
                (one[b"session_id"], one[b"seq"]) for _, one in entries if not one[b"type"].startswith(b"bridge.")
            }
            groups: Any = await rig.client.xinfo_groups(STREAM)
            last = entries[-1][0] if entries else b""
            done = [one for one in groups if one["pending"] == 0 and one["last-delivered-id"] == last]
            return len(stands) == sent and len(done) == len(services)
        return False

    await until(quiet, "all is acknowledged", timeout=PATIENCE_SECONDS, every=0.2)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("in_order", [False, True], ids=["side by side", "in order"])
async def test_each_event_has_its_effect_once_whoever_is_killed(
    own_rig: Rig, postgres: str, tmp_path: Path, fault_random: random.Random, fault_seed: int, in_order: bool
) -> None:
    """Three services at once; the third keeps no place, and what it repeats tells how evil the evils were."""
    print(f"fault seed {fault_seed}")
    sessions = [own_rig.simulator.create_session(name) for name in ("lsn-a", "lsn-b")]
    worker = own_rig.worker(*sessions, stream__key=STREAM, commit__max_events=20)
    await (await worker.start()).wait_ready(PATIENCE_SECONDS)
    given: dict[str, Any] = {
        "url": own_rig.server.url,
        "stream": STREAM,
        "in_order": in_order,
        "batch": fault_random.choice([1, 20]),
    }
    label = "order" if in_order else "beside"
    services = [
        Service(group=f"lite_{label}", dialect=Dialect.SQLITE, database=str(tmp_path / "lite.db"), **given),
        Service(group=f"postgres_{label}", dialect=Dialect.POSTGRES, database=postgres, **given),
        Service(
            group=f"forgets_{label}", dialect=Dialect.SQLITE, database=str(tmp_path / "f.db"), place="nowhere", **given
        ),
    ]
    async with running(services, 2, tmp_path) as members:
        for session in sessions:
            session.play(Profile.SIZED, rate=40)
        await until(partial(_work, services), "all services work", timeout=PATIENCE_SECONDS, every=0.3)
        deck = list(DECK)
        fault_random.shuffle(deck)
        await play(deck, own_rig, worker, members, fault_random)
        for session in sessions:
            session.pause()
        await settled(own_rig, services, sessions)
        found = {one.group: effects(one) for one in services}
    sent = {(session.session_id, one.id) for session in sessions for one in session.record}
    *exact, forgetful = services
    for service in exact:
        counted = Counter((session_id, id) for session_id, _, id in found[service.group])
        assert {event: n for event, n in counted.items() if n > 1} == {}, service.group
        assert set(counted) == sent, service.group
        for session in sessions if in_order else ():
            numbers = [seq for session_id, seq, _ in found[service.group] if session_id == session.session_id]
            assert numbers == sorted(numbers), service.group
    repeated = Counter((session_id, id) for session_id, _, id in found[forgetful.group])
    assert set(repeated) == sent
    print(f"{len(sent)} events; without a place {sum(repeated.values()) - len(sent)} were worked on again")


@pytest.mark.parametrize("place", ["transaction", "nowhere"])
@pytest.mark.parametrize("dies", ["before", "behind"])
@pytest.mark.parametrize("dialect", list(Dialect))
async def test_a_crash_between_work_and_acknowledgement_repeats_nothing(
    rig: Rig, postgres: str, tmp_path: Path, dialect: Dialect, dies: str, place: str
) -> None:
    """SIGKILL right before the commit and right behind it. Only with no place kept there does the effect come twice."""
    for seq in range(1, 7):
        fields = {"id": str(seq), "session_id": "lsn-1", "seq": seq, "type": "t", "data": "{}", "received_at": "1.0"}
        await rig.client.xadd(STREAM, fields)  # type: ignore[arg-type]
    database = postgres if dialect is Dialect.POSTGRES else str(tmp_path / "service.db")
    group = f"crash_{dialect}_{dies}_{place}"
    given: dict[str, Any] = {"url": rig.server.url, "stream": STREAM, "group": group, "database": database}
    service = Service(dialect=dialect, place=place, dies=dies, **given)
    async with running([service], 1, tmp_path) as [first]:
        assert await first.ended() == -signal.SIGKILL
        second = Member(Service(**{**_fields(service), "dies": ""}), tmp_path / "second.log")
        await second.start()

        async def done() -> bool:
            found: Any = await rig.client.xinfo_groups(STREAM)
            return bool(found[0]["pending"] == 0 and len({one[1] for one in effects(service)}) == 6)

        await until(done, "all is worked on")
        assert await second.end(signal.SIGTERM) == 0
    counted = Counter(seq for _, seq, _ in effects(service))
    again = {3: 2} if dies == "behind" and place == "nowhere" else {}
    assert counted == Counter(range(1, 7)) | Counter(again)


def _fields(service: Service) -> dict[str, Any]:
    return {one: getattr(service, one) for one in Service.__dataclass_fields__}
