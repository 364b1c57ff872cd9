"""The README's consumer, taken from the README, under what happens to a group of readers.

It is run as it stands there, with work in its place and shorter waits. It promises the effect of each event once.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import re
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from bridge.lab.simulator import Poison, Profile, SimulatedSession
from tests.support.readers import Reader, members, settled
from tests.support.worker import ROOT, python_environment, until
from tests.support.worker_rig import Rig

CLAIMING = "claim_ms, tries = 60_000, 10"
HURRIED = "claim_ms, tries = 500, 3"  # a test does not wait for a minute
URL, OWN_URL = '"redis://localhost:6379"', 'os.environ["BRIDGE_REDIS__URL"]'
PRINTING = 'print(entry[b"seq"], entry[b"type"], entry[b"data"])'
WORKING = """(
    print(entry[b"seq"], entry[b"type"], flush=True),
    database.execute("INSERT INTO results VALUES (?, ?, ?)", (entry[b"id"], entry[b"type"], entry[b"data"])),
)"""
KIT = "from bridge.consumer import"
KIT_PRINTING = "print(entry.seq, entry.type, entry.data)"
KIT_WORKING = """(
    print(str(entry.seq).encode(), entry.type.encode(), flush=True),
    database.execute("INSERT INTO results VALUES (?, ?, ?)", (entry.id.encode(), entry.type.encode(), entry.data)),
)"""
KIT_OPENING = '"my-service") as consumer'
KIT_HURRIED = '"my-service", limits=__import__("bridge.consumer").consumer.Limits(claim_after_seconds=1)) as consumer'
STREAM, GROUP, POISON = "lens:{camera-1}:events", "my-service", "my-service:poison"
PLACE = "members"


class Member(Protocol):
    """Makes members that share one database, not started yet. ``user``: NAME:PASSWORD@."""

    def __call__(self, rig: Rig, user: str = "") -> Reader: ...


@pytest.fixture
def member(tmp_path: Path) -> Iterator[Member]:
    """Members are processes of the README's consumer in plain redis-py."""
    changed = {CLAIMING: HURRIED, URL: OWN_URL, PRINTING: WORKING}
    with _members_of("import os\n" + _changed(_snippet(CLAIMING), changed), tmp_path) as make:
        yield make


@pytest.fixture
def kit_member(tmp_path: Path) -> Iterator[Member]:
    """Members are processes of the README's consumer with the kit."""
    changed = {URL: OWN_URL, KIT_PRINTING: KIT_WORKING, KIT_OPENING: KIT_HURRIED}
    with _members_of("import os\n" + _changed(_snippet(KIT), changed), tmp_path) as make:
        yield make


async def test_two_members_share_the_work_and_each_event_is_worked_by_one_of_them(rig: Rig, member: Member) -> None:
    """At the same time: what one of them does stands before and behind what the other one does."""
    session = rig.simulator.create_session("camera-1")
    first, second = member(rig), member(rig)
    await rig.worker(session).start()
    async with members(first, second):
        for _ in range(2):
            await until(partial(_waiting, rig, 2), "both wait for entries")
            session.generate(200)
            await _assert_worked_once(rig, session)
    assert _worked(first)
    assert _worked(second)
    both = Counter(_worked(first) + _worked(second))
    assert set(both.values()) == {1}
    assert len(both) == len(session.record)


async def test_bytes_that_are_no_text_are_worked_as_they_came(rig: Rig, member: Member) -> None:
    session = rig.simulator.create_session("camera-1")
    reader = member(rig)
    async with members(reader):
        await rig.worker(session).start()
        session.generate(5)
        session.poison(Poison.INVALID_UTF8)
        session.generate(5)
        await _assert_worked_once(rig, session)
    [stored] = (row[2] for row in _results(rig) if row[0] == str(session.record[5].id).encode())
    with pytest.raises(UnicodeDecodeError):
        stored.decode()


async def test_an_entry_whose_work_always_fails_is_set_aside_and_holds_nobody_up(rig: Rig, member: Member) -> None:
    """It has no `data`, which this work cannot do without."""
    session = rig.simulator.create_session("camera-1")
    broken = {"id": "broken", "session_id": "lsn-else", "seq": "1", "type": "t"}
    await rig.client.xadd(STREAM, dict[Any, Any](broken))
    reader = member(rig)
    async with members(reader):
        await rig.worker(session).start()
        session.play(Profile.SIZED, rate=20)  # a member looks for what is left each time that it has read
        await until(partial(_exists, rig, POISON), "it is set aside")
        session.pause()
        await _assert_worked_once(rig, session)
    [(_, kept)] = await rig.raw_entries(POISON)
    assert kept == {name.encode(): value.encode() for name, value in broken.items()}
    assert reader.tail(1000).count("KeyError") == 3


async def test_pending_entries_that_were_trimmed_are_let_go(rig: Rig, member: Member) -> None:
    """A member got ten and died; before anybody claimed them, five were trimmed."""
    session = rig.simulator.create_session("camera-1")
    await rig.worker(session).start()
    session.generate(20)
    await rig.reaches(session, 20)
    await rig.client.xgroup_create(STREAM, GROUP, id="0")
    await rig.client.xreadgroup(GROUP, "who-died", {STREAM: ">"}, count=10)
    await rig.client.xtrim(STREAM, maxlen=15, approximate=False)
    async with members(member(rig)):
        await until(partial(settled, rig.client, STREAM, GROUP), "nothing is pending")
    assert [row[0].decode() for row in sorted(_results(rig))] == sorted(str(one.id) for one in session.record[5:])


async def test_a_restart_of_redis_is_outlasted(own_rig: Rig, member: Member) -> None:
    """It keeps what it had, as with AOF; connections break in the middle of everything."""
    session = own_rig.simulator.create_session("camera-1")
    async with members(member(own_rig), member(own_rig)):
        await own_rig.worker(session).start()
        session.play(Profile.SIZED, rate=100)
        for _ in range(2):
            await _goes_on(own_rig)
            with contextlib.suppress(RedisConnectionError):  # what an answer to SHUTDOWN looks like
                await own_rig.client.shutdown(save=True)
            await _start_again(own_rig)
        await _goes_on(own_rig)
        session.pause()
        await _assert_worked_once(own_rig, session)


async def test_a_redis_that_was_rolled_back_and_one_that_was_emptied_bring_no_event_again(
    own_rig: Rig, member: Member
) -> None:
    """Entries, acknowledgements and the group's place are lost; entries come again under new ids of Redis."""
    session = own_rig.simulator.create_session("camera-1")
    async with members(member(own_rig), member(own_rig)):
        worker = await own_rig.worker(session).start()
        session.play(Profile.SIZED, rate=100)
        await _goes_on(own_rig)
        await own_rig.client.save()
        await _goes_on(own_rig)
        await own_rig.server.kill()
        await _start_again(own_rig)
        await until(worker.counts("rollbacks_total", 1), "the rollback is noticed")
        await _goes_on(own_rig)
        session.pause()
        await _assert_worked_once(own_rig, session)
        await own_rig.client.flushall()
        session.generate(20)
        await _assert_worked_once(own_rig, session, markers=1)


async def test_a_kill_between_the_work_and_its_acknowledgement_repeats_nothing(own_rig: Rig, member: Member) -> None:
    """Redis hangs when the work is committed, and the member is killed while it tries to acknowledge."""
    session = own_rig.simulator.create_session("camera-1")
    reader = member(own_rig)
    await own_rig.worker(session).start()
    async with members(reader):
        with await _nobody_can_commit(own_rig, session):
            own_rig.server.pause()
        await until(lambda: len(_results(own_rig)) == 2, "the work is committed")
        await reader.kill()
        own_rig.server.resume()
        await reader.start()
        await _assert_worked_once(own_rig, session)


async def test_a_kill_before_the_work_is_committed_loses_nothing(rig: Rig, member: Member) -> None:
    session = rig.simulator.create_session("camera-1")
    first, second = member(rig), member(rig)
    await rig.worker(session).start()
    async with members(first, second):
        with await _nobody_can_commit(rig, session):
            await first.kill()
            await second.kill()
        assert len(_results(rig)) == 1
        await second.start()
        await _assert_worked_once(rig, session)


async def test_kills_of_members_at_random_cost_nothing_and_repeat_nothing(
    rig: Rig, member: Member, fault_random: random.Random, fault_seed: int
) -> None:
    print(f"fault seed {fault_seed}")
    session = rig.simulator.create_session("camera-1")
    readers = [member(rig) for _ in range(3)]
    await rig.worker(session).start()
    session.play(Profile.SIZED, rate=100)
    async with members(*readers):
        for _ in range(6):
            victim = fault_random.choice(readers)
            await until(partial(_has_worked, victim, len(_worked(victim)) + fault_random.randrange(1, 10)), "it works")
            await victim.kill()
            await victim.start()
        session.pause()
        await _assert_worked_once(rig, session)


async def test_it_needs_no_more_rights_than_the_examples_say(rig: Rig, member: Member) -> None:
    text = (ROOT / "config" / "examples" / "consumers" / "README.md").read_text(encoding="utf-8")
    [rights] = re.findall(r"^ACL (SETUSER my-service .*)$", text, re.MULTILINE)
    await _ask(rig, "ACL", *rights.split())
    try:
        session = rig.simulator.create_session("camera-1")
        broken: dict[Any, Any] = {"id": "broken", "session_id": "lsn-else", "seq": "1", "type": "t"}
        await rig.client.xadd(STREAM, broken)
        async with members(member(rig, "my-service:PASSWORD@")):
            await rig.worker(session).start()
            session.play(Profile.SIZED, rate=20)
            await until(partial(_exists, rig, POISON), "it has claimed, and set aside")
            session.pause()
            await _assert_worked_once(rig, session)
    finally:
        await _ask(rig, "ACL", "DELUSER", "my-service")


async def test_with_the_kit_a_kill_costs_nothing_and_repeats_nothing(rig: Rig, kit_member: Member) -> None:
    session = rig.simulator.create_session("camera-1")
    first, second = kit_member(rig), kit_member(rig)
    await rig.worker(session).start()
    session.play(Profile.SIZED, rate=100)
    session.poison(Poison.INVALID_UTF8)
    async with members(first, second):
        await until(lambda: bool(_worked(first) and _worked(second)), "both have worked")
        await first.kill()
        await until(partial(_has_worked, second, len(_worked(second)) + 50), "the other one goes on")
        session.pause()
        await _assert_worked_once(rig, session)


def test_the_snippet_is_the_only_program_of_its_kind_in_the_readme_and_reads_in_one_sitting() -> None:
    source = _snippet(CLAIMING)
    assert len(source.splitlines()) < 46
    [milliseconds] = re.findall(r"block=(\d+)", source)
    assert 0 < int(milliseconds) < 4000, "redis-py gives up an answer after 5 seconds"


def _snippet(mark: str) -> str:
    """The one program of the README that has these words."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    [found] = [one for one in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if mark in one]
    return str(found)


def _changed(source: str, changed: dict[str, str]) -> str:
    for there, here in changed.items():
        assert source.count(there) == 1, there
        source = source.replace(there, here)
    return source


@contextlib.contextmanager
def _members_of(source: str, directory: Path) -> Iterator[Member]:
    """They run in memory where there is such a directory: their database waits for the disk at each entry, and these
    tests are about other waits.
    """
    memory = Path("/dev/shm")
    made: list[Reader] = []
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as place:
        (directory / PLACE).symlink_to(place)
        program = directory / PLACE / "my_service.py"
        program.write_text(source, encoding="utf-8")
        with _database(directory) as database:
            database.execute("CREATE TABLE results (id, type, data)")

        def make(rig: Rig, user: str = "") -> Reader:
            environment = python_environment() | {"BRIDGE_REDIS__URL": rig.server.url.replace("://", f"://{user}")}
            output = directory / PLACE / f"member-{len(made) + 1}.log"
            made.append(Reader(output, [sys.executable, str(program)], environment))
            return made[-1]

        yield make


def _worked(reader: Reader) -> list[bytes]:
    """The lines that its work has printed."""
    return [line for line in reader.lines() if re.fullmatch(rb"b'\d+' b'[a-z.]+'", line)]


def _has_worked(reader: Reader, times: int) -> bool:
    return len(_worked(reader)) >= times


def _results(rig: Rig) -> list[tuple[bytes, bytes, bytes]]:
    """Id, type and data of what was worked, in the members' own database."""
    with _database(rig.directory) as database:
        return database.execute("SELECT id, type, data FROM results").fetchall()


def _database(directory: Path) -> contextlib.closing[sqlite3.Connection]:
    return contextlib.closing(sqlite3.connect(directory / PLACE / "my-service.db", timeout=30))


async def _waiting(rig: Rig, readers: int) -> bool:
    return bool((await rig.client.info("clients"))["blocked_clients"] >= readers)


async def _ask(rig: Rig, *command: str) -> None:
    client: Any = rig.client
    await client.execute_command(*command)


async def _exists(rig: Rig, key: str) -> bool:
    return bool(await rig.client.exists(key))


async def _nobody_can_commit(rig: Rig, session: SimulatedSession) -> contextlib.closing[sqlite3.Connection]:
    """While the result stands, the database is locked and work waits in it: of all events but the first."""
    session.generate(1)
    await _assert_worked_once(rig, session)
    database = sqlite3.connect(rig.directory / PLACE / "my-service.db", timeout=30)
    database.execute("BEGIN IMMEDIATE")
    session.generate(20)

    async def waits() -> bool:
        return bool((await rig.client.xpending(STREAM, GROUP))["pending"])

    await until(waits, "entries wait for their work")
    return contextlib.closing(database)


async def _goes_on(rig: Rig, events: int = 50) -> None:
    enough = len(_results(rig)) + events
    await until(lambda: len(_results(rig)) >= enough, f"{events} more are worked")


async def _start_again(rig: Rig) -> None:
    await rig.client.connection_pool.disconnect()
    await rig.server.kill()
    await rig.server.start()


async def _assert_worked_once(rig: Rig, session: SimulatedSession, *, markers: int = 0) -> None:
    """Each event of the session's record has had its effect once, and each marker; nothing is left to be done."""

    async def done() -> bool:
        return len(_results(rig)) >= len(session.record) + markers and await settled(rig.client, STREAM, GROUP)

    await until(done, f"{len(session.record)} events are worked and acknowledged")
    found = Counter((id_.decode(), _digest(data)) for id_, type_, data in _results(rig) if type_ != b"bridge.gap")
    assert found == Counter((one.id, one.sha256) for one in session.record)
    assert len(_results(rig)) == len(session.record) + markers


def _digest(data: bytes) -> bytes:
    """As the simulator's record has it."""
    return hashlib.sha256(data.decode(errors="replace").encode()).digest()
