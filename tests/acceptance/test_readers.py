"""The readers of config/examples/consumers: real processes of each language, in a group of two, through a bad day."""

from __future__ import annotations

import contextlib
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from bridge.lab.simulator import Poison, Profile
from tests.support.languages import CONSUMERS, command_of
from tests.support.readers import Reader, members, settled
from tests.support.worker import python_environment, until
from tests.support.worker_rig import Rig

STREAM, GROUP, POISON = "lens:{camera-1}:events", "my-service", "my-service:poison"
NO_PROGRAMS = {".json", ".md"}
EXAMPLES = sorted(
    path.name
    for path in CONSUMERS.iterdir()
    if path.is_file() and path.suffix not in NO_PROGRAMS and not path.name.startswith("kit_")  # tested with the kit
)
HURRIED = {"CLAIM_MS": "500", "TRIES": "3"}
MAY_COME_TWICE = 30  # what two members can have in hand when one is killed, and both when Redis is

Entry = dict[bytes, bytes]


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where packages of other languages are installed, once for all tests."""
    return tmp_path_factory.mktemp("workshop")


@pytest.mark.parametrize("example", EXAMPLES)
async def test_each_event_is_worked_whatever_happens_to_members_and_to_redis(
    example: str, own_rig: Rig, workshop: Path, tmp_path: Path
) -> None:
    """Of two members one is killed; Redis is restarted, and in the end emptied. On the way they meet what a dead member
    has left, some of it trimmed; bytes that are no text; NaN; and an entry that nobody can work on.
    """
    command = command_of(example, workshop)
    environment = python_environment() | HURRIED | {"BRIDGE_REDIS__URL": own_rig.server.url}
    first, second = (Reader(tmp_path / f"{name}.log", command, environment) for name in ("first", "second"))
    session = own_rig.simulator.create_session("camera-1")
    await own_rig.worker(session).start()
    session.generate(12)
    await own_rig.reaches(session, 12)
    await _leave_behind(own_rig, entries=6, trimmed=2)
    nobodys: dict[Any, Any] = {b"id": b"broken", b"session_id": b"lsn-else", b"seq": b"1", b"type": b"t"}
    await own_rig.client.xadd(STREAM, nobodys)
    session.emit('{"type": "text", "event_data": "é"}'.encode())
    session.emit(
        '{"type": "text", "event_data": "é'.encode() + b'\xff"}'
    )  # as text it has neither this length nor 2 more
    session.poison(Poison.NAN)
    session.play(Profile.SIZED, rate=10)
    async with members(first, second):
        await _both_work(first, second)
        await first.kill()
        await _both_work(second)
        await first.start()
        await _both_work(first, second)
        await _restart(own_rig)
        await _both_work(first, second)
        session.pause()
        await own_rig.reaches(session, len(session.record))
        before = [entry for _, entry in await own_rig.raw_entries(STREAM)]
        await until(partial(settled, own_rig.client, STREAM, GROUP), "all is acknowledged")
        aside = [entry for _, entry in await own_rig.raw_entries(POISON)]
        await own_rig.client.flushall()
        session.generate(5)
        await until(
            partial(_all_over_again, own_rig, first, second), "what came after Redis was emptied is acknowledged"
        )
        after = [entry for _, entry in await own_rig.raw_entries(STREAM)]
    worked = [line for one in (first, second) for line in _worked(one)]
    assert nobodys in aside
    assert all(entry in before for entry in aside), "not byte for byte"
    assert {_line(entry) for entry in [*before, *after] if entry not in aside} <= set(worked)
    assert all(_is_hard(entry) for entry in aside)
    assert len(worked) - len(set(worked)) <= MAY_COME_TWICE


def _worked(reader: Reader) -> list[bytes]:
    """What its work has printed: seq, type, and how many bytes the data has."""
    return [line for line in reader.lines() if re.fullmatch(rb"\d+ [a-z._]+ \d+", line)]


def _line(entry: Entry) -> bytes:
    return b"%s %s %d" % (entry[b"seq"], entry[b"type"], len(entry[b"data"]))


def _is_hard(entry: Entry) -> bool:
    """Some languages cannot read it as JSON, and then set it aside."""
    return b"data" not in entry or b"NaN" in entry[b"data"] or b"\xff" in entry[b"data"]


async def _leave_behind(rig: Rig, *, entries: int, trimmed: int) -> None:
    """As by a member that was given entries and died, and a stream that was trimmed before anybody took them over."""
    await rig.client.xgroup_create(STREAM, GROUP, id="0")
    await rig.client.xreadgroup(GROUP, "who-died", {STREAM: ">"}, count=entries)
    await rig.client.xtrim(STREAM, maxlen=await rig.client.xlen(STREAM) - trimmed, approximate=False)


async def _both_work(*readers: Reader) -> None:
    """Each of them gets on."""
    enough = {one: len(_worked(one)) + 2 for one in readers}
    await until(lambda: all(len(_worked(one)) >= least for one, least in enough.items()), "each of them works")


async def _restart(rig: Rig) -> None:
    """It keeps what it had; connections break in the middle of everything."""
    with contextlib.suppress(RedisConnectionError):  # what an answer to SHUTDOWN looks like
        await rig.client.shutdown(save=True)
    await rig.client.connection_pool.disconnect()
    await rig.server.kill()
    await rig.server.start()


async def _all_over_again(rig: Rig, *readers: Reader) -> bool:
    """What ends with a group that is gone is started again, as a supervisor does."""
    for one in readers:
        if not one.running:
            await one.start()
    return await rig.client.xlen(STREAM) >= 5 and await settled(rig.client, STREAM, GROUP)
