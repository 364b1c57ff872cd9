"""`make bench` from end to end, with real processes and few events: that it measures, not what."""

from __future__ import annotations

import asyncio
import math
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.benchmarks.contenders import BARE_LOOP, OURS, PLAIN, limit_name
from tests.benchmarks.report.results import Run
from tests.benchmarks.report.stored import from_json
from tests.support.worker import ROOT, python_environment

pytestmark = pytest.mark.timeout(400)


async def bench(directory: Path, *arguments: str) -> Run:
    """Run it; the figures that it kept."""
    stored = directory / "run.json"
    command = [sys.executable, "-m", "tests.benchmarks", "--rounds", "1", "--json", str(stored), *arguments]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=python_environment(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        told, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    assert process.returncode == 0, told.decode()
    return from_json(stored.read_text())


async def test_a_catch_up_of_a_few_hundred_events_is_measured_beside_peers_and_limit(tmp_path: Path) -> None:
    """The other checkout is this one once more; tables and picture come of it too."""
    tables, drawn = tmp_path / "run.md", tmp_path / "run.svg"
    files = ("--markdown", str(tables), "--picture", str(drawn))
    run = await bench(tmp_path, "--only", "catch-up-1", "--events", "300", "--against", f"before={ROOT}", *files)
    (scenario,) = run.scenarios
    assert {OURS, f"{OURS} before", BARE_LOOP, limit_name(1000), limit_name(100)} <= set(scenario.rows)
    for name in (OURS, f"{OURS} before", BARE_LOOP):
        for figure in ("events_per_second", "cpu_us", "redis_cpu_us", "rss_mib"):
            spread = scenario.spread(name, figure)
            assert spread is not None, (name, figure)
            assert math.isfinite(spread.median), (name, figure)
            assert spread.median > 0, (name, figure)
    assert "### Goals" in tables.read_text()
    ElementTree.fromstring(drawn.read_text())


async def test_latency_transports_and_a_long_run_are_measured(tmp_path: Path) -> None:
    """Each with its own figures."""
    only = [word for name in ("latency-1000", "transport", "consuming", "flat") for word in ("--only", name)]
    run = await bench(tmp_path, *only, "--events", "400")
    latency, transport, consuming = run.scenarios
    for name in (OURS, BARE_LOOP):
        p50, p99 = latency.rows[name]["p50_us"][0], latency.rows[name]["p99_us"][0]
        assert 0 < p50 <= p99
    assert len(transport.rows) == 2
    assert consuming.rows.keys() >= {OURS, PLAIN}
    assert all(rounds["events_per_second"][0] > 0 for rounds in transport.rows.values())
    (flat,) = run.courses
    assert flat.rows[OURS]["events"][-1] == 400
    assert all(value > 0 for value in flat.rows[OURS]["rss_mib"])
