"""`dead-letters` as a person uses it: seen, published after all, removed, with real workers and real kills."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from typing import Any

from bridge.lab.simulator import Poison, Poisoning, Profile, SimulatedSession
from bridge.verify.report import render_text
from tests.support.managed_redis import UNLOVED, managed_redis
from tests.support.worker import ROOT, python_environment, until
from tests.support.worker_rig import Rig, keys_of

ROUNDS = 8


async def start(rig: Rig, session: SimulatedSession, *arguments: str) -> Process:
    """The command under way."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bridge", "dead-letters", *arguments),
        *("--redis-url", rig.server.url, "--sessions", f"camera={session.session_id}"),
        env=python_environment() | {"BRIDGE_STREAM__KEY": "lens:{<session_id>}:events", "COLUMNS": "200"},
        cwd=ROOT,
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
    )


async def run(rig: Rig, session: SimulatedSession, *arguments: str) -> tuple[int | None, bytes, str]:
    """Exit code, output and complaints."""
    process = await start(rig, session, *arguments)
    async with asyncio.timeout(120):
        output, errors = await process.communicate()
    return process.returncode, output, errors.decode()


async def letters_of(rig: Rig, session: SimulatedSession) -> int:
    """How many there are."""
    return int(await rig.client.xlen(keys_of(session).dead_letter))


async def test_letters_are_published_once_under_load_whoever_is_killed(
    rig: Rig, fault_random: random.Random, fault_seed: int
) -> None:
    """SIGKILL of the command and of workers at random instants, while events flow and others are refused."""
    print(f"fault seed {fault_seed}")
    session = rig.simulator.create_session("lsn-letters")
    session.play(Profile.SIZED, rate=150)
    async with managed_redis(rig.server.port) as service:
        workers = [rig.worker(session, redis__url=service.url, lease__ttl_seconds=1) for _ in range(2)]
        await asyncio.gather(*(worker.start() for worker in workers))
        unloved: list[str | None] = []
        for at in range(ROUNDS):
            await rig.reaches(session, await rig.seq(session) + 1)
            unloved += [session.emit({"type": "t", "n": n, "is": UNLOVED.decode()}) for n in range(3)]

            async def set_aside(many: int = len(unloved)) -> bool:
                found = {one["id"] for one in await rig.entries(session) if "dead_letter" in one}
                return await letters_of(rig, session) + len(found) >= many

            await until(set_aside, "the refused events are set aside")
            command = await start(rig, session, "replay", "--all")
            victim = workers[at % 2] if fault_random.random() < 0.6 else None
            await asyncio.sleep(fault_random.uniform(0.2, 1.2))
            if victim:
                await victim.kill()
            await asyncio.sleep(fault_random.uniform(0, 0.5))
            with suppress(ProcessLookupError):
                command.kill()
            await command.communicate()
            if victim:
                await victim.start()
        code, output, errors = await run(rig, session, "replay", "--all", "--json")
        assert code == 0, errors
        assert json.loads(output)["left"] == []
        session.pause()
        report = await rig.assert_kept(session)
    entries = await rig.entries(session)
    assert sorted(one["id"] for one in entries if "dead_letter" in one) == sorted(str(id) for id in unloved)
    assert await letters_of(rig, session) == 0
    assert report.sessions[0].replayed == len(unloved) == 3 * ROUNDS
    assert report.sessions[0].events == len(session.record)


async def test_an_operator_finds_reads_and_removes_what_is_no_event(rig: Rig) -> None:
    """list, show, show --raw, a replay that is refused in words, purge with and without --yes."""
    session = rig.simulator.create_session("lsn-poison")
    worker = rig.worker(session)
    await worker.start()
    Poisoning(kind=Poison.NO_TYPE).apply(session)
    Poisoning(kind=Poison.INVALID_JSON, count=2).apply(session)
    session.generate(3)
    await rig.reaches(session, 3)

    code, output, _ = await run(rig, session, "list", "--json")
    listed: Any = json.loads(output)
    assert (code, len(listed["letters"]), listed["before"]) == (0, 3, None)
    assert [one["reason"] for one in listed["letters"]] == ["invalid_json", "invalid_json", "missing_type"]
    first: Any = listed["letters"][-1]
    assert (first["session"], first["session_id"], first["truncated"]) == ("camera", "lsn-poison", False)

    code, output, errors = await run(rig, session, "list", "--limit", "1")
    assert code == 0
    assert output.decode().splitlines()[0].split()[:4] == ["LETTER", "SESSION", "REASON", "BYTES"]
    assert f"go on with --before {listed['letters'][0]['letter']}" in errors
    code, output, _ = await run(rig, session, "list", "--before", listed["letters"][0]["letter"], "--json")
    assert [one["letter"] for one in json.loads(output)["letters"]] == [one["letter"] for one in listed["letters"][1:]]
    code, output, _ = await run(rig, session, "list", "--reason", "missing_type", "--session", "camera", "--json")
    assert [one["letter"] for one in json.loads(output)["letters"]] == [first["letter"]]
    code, output, _ = await run(rig, session, "list", "--session", "other")
    assert (code, output) == (0, b"no such dead letters\n")

    raw: Any = (await rig.raw_entries(keys_of(session).dead_letter))[0][1][b"data"]
    assert (await run(rig, session, "show", first["letter"], "--raw"))[:2] == (0, raw)
    code, output, _ = await run(rig, session, "show", first["letter"])
    assert code == 0
    assert b"missing_type" in output
    assert raw in output
    assert json.loads((await run(rig, session, "show", first["letter"], "--json"))[1])["data"] == raw.decode()
    code, _, errors = await run(rig, session, "show", "1-1")
    assert (code, errors.startswith("lens-bridge: there is no dead letter 1-1")) == (1, True)

    code, output, _ = await run(rig, session, "replay", first["letter"], "1-1", "--json")
    told: Any = json.loads(output)
    assert (code, told["published"], len(told["left"])) == (1, 0, 2)
    assert {one["letter"]: one["why"][:20] for one in told["left"]} == {
        "1-1": "there is no such let",
        first["letter"]: "it is still no event",
    }
    code, _, errors = await run(rig, session, "replay")
    assert code == 2
    assert "say which" in errors

    code, output, errors = await run(rig, session, "purge", "--reason", "invalid_json")
    assert (code, output) == (2, b"2 to remove: 2 invalid_json\n")
    assert "say --yes" in errors
    code, output, _ = await run(rig, session, "purge", "--all", "--older-than", "1h", "--yes")
    assert (code, output) == (0, b"0 removed\n")
    code, output, _ = await run(rig, session, "purge", "--yes", first["letter"])
    assert (code, output) == (0, b"1 removed: 1 missing_type\n")
    code, output, _ = await run(rig, session, "purge", "--older-than", "0s", "--yes", "--json")
    assert json.loads(output) == {"chosen": 2, "by_reason": {"invalid_json": 2}, "removed": 2}
    assert (await run(rig, session, "list"))[1] == b"no dead letters\n"
    report = await rig.verify(session, recorded=False)  # the record's events that are gone would be missing
    assert report.ok, render_text(report)


async def test_what_a_terminal_obeys_is_escaped_and_the_raw_bytes_are_whole(rig: Rig) -> None:
    """Data and ids come from outside."""
    session = rig.simulator.create_session("lsn-escape")
    evil = b'\x1b]0;owned\x07 \xff\xfe {"type"'
    fields: Any = {
        "id": "\x1b[2J",
        "session_id": "lsn-escape",
        "reason": "invalid_json",
        "detail": "\x1b[31m",
        "data": evil,
    }
    added: Any = await rig.client.xadd(keys_of(session).dead_letter, fields)
    entry = added.decode()
    for arguments in (("list",), ("show", entry)):
        code, output, _ = await run(rig, session, *arguments)
        assert code == 0
        assert b"\x1b" not in output
        assert b"\\x1b" in output
    assert (await run(rig, session, "show", entry, "--raw"))[1] == evil
    told: Any = json.loads((await run(rig, session, "show", entry, "--json"))[1])
    assert "data" not in told
    assert told["data_base64"]


async def test_of_two_letters_with_one_id_one_alone_is_published(rig: Rig) -> None:
    """Where a place was moved back with --again the second stands beside the first: an id stands in a stream once."""
    session = rig.simulator.create_session("lsn-twice")
    await rig.worker(session).start()
    session.generate(2)
    await rig.reaches(session, 2)
    fields = {"session_id": "lsn-twice", "id": "r1", "type": "t", "data": '{"type": "t"}', "received_at": "1.000"}
    letter: Any = fields | {"event": "message", "reason": "rejected", "detail": "", "truncated": "0"}
    added: list[Any] = [await rig.client.xadd(keys_of(session).dead_letter, letter) for _ in range(2)]
    first, second = (one.decode() for one in added)
    code, output, _ = await run(rig, session, "replay", "--all", "--json")
    told = json.loads(output)
    assert (code, told["published"]) == (1, 1)
    assert told["left"] == [{"letter": second, "why": f"{first} has its id as well: purge one of them"}]
    assert [one["id"] for one in await rig.entries(session)] == ["1", "2", "r1"]
