"""The soak for a moment: that it runs, ends, and can say no."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, STDOUT

from tests.soak.follower import Seen
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


def test_a_number_that_goes_to_another_event_is_seen() -> None:
    """And an event that gets another number; what comes again as it was is not."""
    seen = Seen()
    for id, seq in (("a", "1"), ("b", "2"), ("a", "1"), ("b", "2")):
        seen.take(id, seq, "t")
    assert seen.violations == []
    seen.take("c", "2", "t")
    seen.take("a", "3", "t")
    assert len(seen.violations) == 2
