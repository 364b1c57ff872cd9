"""`events.include` and `events.exclude` with real workers: what is filtered out is passed over for good."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from typing import Any

from bridge.verify import Filter, StreamTarget, verify
from bridge.verify.report import render_text
from tests.support.worker import ROOT, python_environment, until
from tests.support.worker_rig import Rig, keys_of

FILTER = Filter(("*",), ("noise.*",))


async def test_what_is_filtered_out_is_passed_over_for_good_whoever_is_killed(rig: Rig) -> None:
    """Only the rest is published; the committed cursor goes on with both, a killed worker does not ask again, and
    `verify` knows what to expect."""
    session = rig.simulator.create_session("lsn-filtered")
    worker = rig.worker(session, events__exclude="noise.*,other", lease__ttl_seconds=1)
    await worker.start()
    sent = 0
    for at in range(6):
        for n in range(20):
            sent += 1
            session.emit({"type": "noise.fan" if n % 3 else "t", "n": at * 100 + n})
        last = session.emit({"type": "noise.end", "n": at})

        async def moved_on(id: str | None = last) -> bool:
            return await rig.cursor(session) == id

        await until(moved_on, "the cursor stands behind what was filtered out")
        if at == 0:
            await until(worker.counts("events_skipped_total", 14, reason="filtered"), "it is counted")
        if at % 2:
            await worker.kill()
            await worker.start()
            await session.wait_connected(timeout=60)
    entries = await rig.entries(session)
    assert {entry["type"] for entry in entries} == {"t"}
    assert [int(entry["seq"]) for entry in entries] == [*range(1, 6 * 7 + 1)]
    state: Any = await rig.client.hget(keys_of(session).state, "filtered")
    assert int(state) == 6 * 14
    target = [StreamTarget(stream_key=keys_of(session).events)]
    url = rig.simulator.control_url.removesuffix("/control")
    report = await verify(rig.client, target, simulator_url=url, settle_seconds=20, filter=FILTER)
    assert report.ok, render_text(report)
    assert not report.pending
    assert not (await verify(rig.client, target, simulator_url=url)).ok, "without the filter they are missing"
    assert (await verify(rig.client, target)).ok


async def test_a_filter_that_takes_nothing_for_what_it_is_is_refused(rig: Rig) -> None:
    """An empty list would publish nothing at all."""
    for value, said in (("[]", "events.include"), ("a,,b", "an empty pattern")):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bridge", "config", "show"),
            env=python_environment() | {"BRIDGE_EVENTS__INCLUDE": value},
            cwd=ROOT,
            stdout=PIPE,
            stderr=PIPE,
        )
        _, errors = await process.communicate()
        assert process.returncode == 2
        assert said in errors.decode()
