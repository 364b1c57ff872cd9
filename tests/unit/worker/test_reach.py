"""Cut off from the source: when a worker stands aside, for how long, and that nothing goes to and fro."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from bridge.worker.judging.reach import SourceReach


@dataclass
class World:
    """A clock and a source that answers or not."""

    now: float = 0.0
    answers: bool = False
    probes: list[float] = field(default_factory=list)

    def clock(self) -> float:
        """Monotonic seconds."""
        return self.now

    async def probe(self) -> bool:
        """Whether it answers."""
        self.probes.append(self.now)
        return self.answers


@pytest.fixture
def world() -> World:
    """At time 0."""
    return World()


def aside(reach: SourceReach) -> bool:
    """Whether it stands aside now."""
    return reach.aside


async def after(world: World, reach: SourceReach, seconds: float, *attempts: int) -> None:
    """Judge once a second for so long."""
    for _ in range(int(seconds)):
        world.now += 1
        reach.judge(attempts, wanted_by_others=True)
        await asyncio.sleep(0)


async def test_five_attempts_in_a_row_that_reach_nothing_are_enough(world: World) -> None:
    """Where somebody else wants to read."""
    reach = SourceReach(world.probe, world.clock)
    reach.judge([4], wanted_by_others=True)
    assert not aside(reach)
    reach.judge([5], wanted_by_others=False)
    assert not aside(reach)
    reach.judge([5, 1], wanted_by_others=True)
    assert aside(reach)


async def test_one_connection_that_stands_shows_that_the_source_can_be_reached(world: World) -> None:
    """Others may be refused for their own reasons."""
    reach = SourceReach(world.probe, world.clock)
    reach.judge([50, 50, 0], wanted_by_others=True)
    reach.judge([], wanted_by_others=True)
    assert not aside(reach)


async def test_an_answer_of_the_source_ends_it_but_not_too_soon(world: World) -> None:
    """It is asked now and then, and at most one handover comes of it in an interval."""
    reach = SourceReach(world.probe, world.clock)
    reach.judge([5], wanted_by_others=True)
    await after(world, reach, 29)
    assert aside(reach)
    assert world.probes == [15.0]
    world.answers = True
    await after(world, reach, 29)
    assert not aside(reach)
    assert world.probes == [15.0, 30.0]


async def test_without_any_answer_it_tries_again_by_reading(world: World) -> None:
    """After ten minutes: the metadata may be what is broken."""
    reach = SourceReach(world.probe, world.clock)
    reach.judge([5], wanted_by_others=True)
    await after(world, reach, 599)
    assert aside(reach)
    await after(world, reach, 2)
    assert not aside(reach)


async def test_times_aside_come_less_and_less_often_until_a_connection_stood(world: World) -> None:
    """30, 60, 120 s: the source answers the question after a session, and does not let anyone read."""
    world.answers = True
    reach = SourceReach(world.probe, world.clock)
    began: list[float] = []
    for _ in range(400):
        before = aside(reach)
        await after(world, reach, 1, 5)
        if aside(reach) and not before:
            began.append(world.now)
    gaps = [later - earlier for earlier, later in pairwise(began)]
    assert [round(gap / 30) for gap in gaps[:3]] == [1, 2, 4]
    await after(world, reach, 700, 0)
    assert not aside(reach)
    await after(world, reach, 1, 5)
    assert aside(reach)
    await after(world, reach, 50)
    assert not aside(reach), "30 s again"


async def test_a_question_that_ends_in_a_fault_is_no_answer(world: World) -> None:
    """Nor does it end the worker."""

    async def broken() -> bool:
        raise OSError

    reach = SourceReach(broken, world.clock)
    reach.judge([5], wanted_by_others=True)
    await after(world, reach, 100)
    assert aside(reach)
    await reach.aclose()


async def test_a_question_under_way_ends_with_it(world: World) -> None:
    """A source that does not answer must not keep a worker that stops."""
    asked = asyncio.Event()

    async def hangs() -> bool:
        asked.set()
        await asyncio.Event().wait()
        return True

    reach = SourceReach(hangs, world.clock)
    reach.judge([5], wanted_by_others=True)
    await after(world, reach, 20)
    await asked.wait()
    async with asyncio.timeout(10):
        await reach.aclose()
