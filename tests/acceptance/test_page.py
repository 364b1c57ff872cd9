"""The page and `/status` of one of two workers: what it tells of the other one's sessions."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

from tests.support.worker import ROOT, Worker, python_environment, until
from tests.support.worker_rig import Rig, keys_of


async def test_each_worker_tells_who_reads_what_and_how_far_it_is(rig: Rig) -> None:
    """Two workers share four sessions; one is killed, and the other one tells that until it has taken them over."""
    sessions = [rig.simulator.create_session(f"lsn-{number}") for number in range(4)]
    await rig.client.xgroup_create(keys_of(sessions[0]).events, "<b>hostile</b>", id="0", mkstream=True)
    workers = [await rig.worker(*sessions, lease__ttl_seconds=3).start() for _ in range(2)]

    async def shared() -> bool:
        return [one["sessions"] for one in (await _status(workers[0]))["workers"]] == [2, 2]

    await until(shared, "two sessions each, as the first worker sees it")
    for session in sessions:
        session.generate(25)
        session.emit("no JSON")
        await rig.reaches(session, 25)

    async def told() -> bool:
        """By both, of all four: also of those that the other one reads."""
        for worker in workers:
            found = {one["name"]: one for one in (await _status(worker))["sessions"]}
            if any((one["seq"], one["dead_letters"]) != (25, 1) for one in found.values()):
                return False
            if "<b>hostile</b>" not in found["lsn-0"]["groups"]:
                return False
        return True

    await until(told, "all that Redis knows is told by both")
    _, page = await workers[0].get("/")
    assert "4 dead letters" in page
    assert "&lt;b&gt;hostile&lt;/b&gt;" in page
    assert "<b>hostile" not in page
    assert page.count("reads 2 sessions") == 2
    (other,) = {one["worker"] for one in (await _status(workers[0]))["workers"] if not one["own"]}
    await workers[1].kill()

    async def alone() -> bool:
        found = await _status(workers[0])
        return [one["sessions"] for one in found["workers"]] == [4] and other not in json.dumps(found)

    await until(alone, "the survivor reads all four, and nothing speaks of the dead one")
    await rig.assert_kept(*sessions)


async def test_without_a_browser_the_pictures_of_the_page_stay_as_they_are(tmp_path: Path) -> None:
    """And one line says what is missing."""
    drawing = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.page_picture", str(tmp_path)),
        env=python_environment() | {"PATH": str(tmp_path)},
        cwd=ROOT,
        stderr=PIPE,
    )
    _, told = await drawing.communicate()
    assert drawing.returncode == 0
    assert told.decode() == "the page is not drawn anew: it takes a browser (on Debian: apt install chromium)\n"
    assert not list(tmp_path.iterdir())  # noqa: ASYNC240  nothing else runs here


async def _status(worker: Worker) -> dict[str, Any]:
    code, text = await worker.get("/status")
    assert code == 200
    found: dict[str, Any] = json.loads(text)
    return found
