"""The soak for a moment: that it runs, ends, and can say no."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from asyncio.subprocess import PIPE, STDOUT

from bridge.lab.simulator.lens.connection import Connection
from bridge.lab.simulator.lens.history import RecordEntry
from tests.soak.evidence import offences, served
from tests.soak.follower import Seen
from tests.soak.timeline import Happened, Timeline
from tests.support.worker import ROOT, python_environment


async def test_a_short_soak_is_kept_and_says_what_went_wrong(fault_seed: int) -> None:
    """Faults from a seed, all sessions flowing behind them, and verify's verdict over each stream."""
    soak = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.soak", "--minutes", "0.3", "--seed", str(fault_seed)),
        env=python_environment(), cwd=ROOT, stdout=PIPE, stderr=STDOUT,
    )  # fmt: skip
    printed, _ = await soak.communicate()
    text = printed.decode()
    assert soak.returncode == 0, text
    assert text.splitlines()[-1] == "kept"
    assert "exactly once: " in text
    assert "faults: " in text


def test_the_first_repeat_and_hole_of_a_stream_are_found_with_what_went_before_them() -> None:
    """What verify's no is explained by: missing events that nobody was ever served are no loss of the worker's."""
    record = [RecordEntry(str(n), hashlib.sha256(b"%d" % n).digest(), "t", None) for n in range(8)]
    standing = (0, 1, 2, 1, 5, 7)
    entries = [(b"%d-0" % (1000 * at), {b"id": b"%d" % n, b"data": b"%d" % n}) for at, n in enumerate(standing)]
    ever = served([Connection(session_id="s", position=2, events=3, skipped=1)], len(record))
    assert ever == [False, False, False, True, True, True, False, False]
    repeat, hole = offences(record, entries, ever, {b"6"})
    assert (repeat.kind, repeat.at) == ("repeat", 3.0)
    assert (hole.kind, hole.at) == ("hole", 4.0)
    assert hole.detail == "events 3 to 4; missing in all 2, of which 2 were ever served"
    faults = [Happened(at, at, "kill", whom) for at, whom in ((1, "worker-1"), (2, "a1"), (3, "b1 429"), (5, "b1"))]
    before = Timeline(0.0, faults).before(4.0, "b1")
    assert [one.whom for one in before] == ["worker-1", "b1 429"]


def test_a_number_that_goes_to_another_event_is_seen() -> None:
    """And an event that gets another number; what comes again as it was is not."""
    seen = Seen()
    for id, seq in (("a", "1"), ("b", "2"), ("a", "1"), ("b", "2")):
        seen.take(id, seq, "t")
    assert seen.violations == []
    seen.take("c", "2", "t")
    seen.take("a", "3", "t")
    assert len(seen.violations) == 2
