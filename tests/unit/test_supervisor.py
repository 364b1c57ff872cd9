"""Who takes what: the fair share, handing over what is too much, and a Redis that is away or was emptied."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import SinkFault
from bridge.events import Session
from bridge.lease import Registration
from bridge.settings import LeaseSettings
from bridge.status import WorkerStatus
from bridge.supervisor import Supervisor, fair_share


@given(sessions=st.integers(0, 5000), workers=st.integers(0, 500))
def test_shares_cover_all_sessions_and_none_is_larger_than_needed(sessions: int, workers: int) -> None:
    """A register that counts nobody is read as one worker: the one that asks."""
    share = fair_share(sessions, workers)
    living = max(1, workers)
    assert share * living >= sessions
    assert (share - 1) * living < sessions or share == 0


@dataclass
class FakeTenure:
    """A session's part, without Redis: it is held once it was taken, and left once it was handed over."""

    name: str
    free: bool = True
    over: bool = False
    held: bool = False
    leaving: bool = False
    stays: bool = False  # it takes its time to leave
    begins: list[bool] = field(default_factory=list)
    renewals: int = 0

    @property
    def session(self) -> Session:
        """For the log."""
        return Session(name=self.name, session_id=self.name)

    @property
    def wanted(self) -> bool:
        """It may be taken."""
        return not self.held and not self.over

    async def take(self, *, begin: bool = True) -> None:
        """Succeeds where it is free."""
        self.begins.append(begin)
        self.held = self.free

    async def renew(self) -> None:
        """Counted."""
        self.renewals += 1

    def hand_over(self) -> None:
        """At once, unless it takes its time."""
        self.leaving = self.held and self.stays
        self.held = self.leaving

    async def finished(self) -> None:
        """At once."""
        self.held = self.leaving = False


@dataclass
class FakeLeases:
    """A register."""

    workers: int = 1
    forgotten: bool = False
    fault: SinkFault | None = None
    rounds: int = 0
    signed_off: bool = False

    async def register(self) -> Registration:
        """As told."""
        self.rounds += 1
        if self.fault:
            raise self.fault
        forgotten, self.forgotten = self.forgotten, False
        return Registration(workers=self.workers, forgotten=forgotten)

    async def sign_off(self) -> None:
        """As told."""
        if self.fault:
            raise self.fault
        self.signed_off = True


@dataclass
class Running:
    """A supervisor under way."""

    tenures: list[FakeTenure]
    leases: FakeLeases
    status: WorkerStatus

    @property
    def held(self) -> int:
        """How many sessions it holds."""
        return sum(tenure.held for tenure in self.tenures)

    async def round(self, count: int = 2) -> None:
        """Wait until it has looked again, from its beginning to its end."""
        seen = self.leases.rounds
        async with asyncio.timeout(10):
            while self.leases.rounds < seen + count:
                await asyncio.sleep(0.002)


@asynccontextmanager
async def supervised(tenures: list[FakeTenure], leases: FakeLeases | None = None) -> AsyncIterator[Running]:
    """A supervisor that looks again and again; stopped at the end."""
    made = leases or FakeLeases()
    status = WorkerStatus(worker_id="w", version="0", redis_reachable=True)
    fakes: Any = (tenures, made)
    settings = LeaseSettings.model_construct(ttl_seconds=60.0, poll_seconds=0.005)
    supervisor = Supervisor(tenures=fakes[0], leases=fakes[1], settings=settings, status=status)
    stop = asyncio.Event()
    task = asyncio.create_task(supervisor.run(stop))
    try:
        yield Running(tenures, made, status)
    finally:
        stop.set()
        async with asyncio.timeout(10):
            await task


def some(count: int) -> list[FakeTenure]:
    """Free sessions."""
    return [FakeTenure(f"s{number}") for number in range(count)]


async def test_a_lone_worker_takes_all() -> None:
    """In the first round."""
    async with supervised(some(7)) as running:
        await running.round()
        assert running.held == 7


@pytest.mark.parametrize(("sessions", "workers", "share"), [(7, 2, 4), (6, 3, 2), (1, 5, 1), (0, 3, 0), (10, 10, 1)])
async def test_a_worker_takes_no_more_than_its_share(sessions: int, workers: int, share: int) -> None:
    """However many are free."""
    async with supervised(some(sessions), FakeLeases(workers)) as running:
        await running.round(4)
        assert running.held == share


async def test_sessions_that_others_hold_do_not_count() -> None:
    """It goes on asking until its share is full."""
    tenures = some(10)
    for tenure in tenures[:5]:
        tenure.free = False
    async with supervised(tenures, FakeLeases(2)) as running:
        await running.round(3)
        assert running.held == 5


async def test_sessions_that_are_over_do_not_count() -> None:
    """Neither as taken nor as to be shared."""
    tenures = some(6)
    for tenure in tenures[:4]:
        tenure.over = True
    async with supervised(tenures, FakeLeases(2)) as running:
        await running.round(3)
        assert running.held == 1
        assert not any(tenure.begins for tenure in tenures[:4])


async def test_a_session_that_cannot_be_taken_does_not_keep_the_others() -> None:
    """Its refusal is its own."""
    tenures = some(3)
    tenures[1].free = False
    async with supervised(tenures) as running:
        await running.round(3)
        assert [tenure.held for tenure in tenures] == [True, False, True]
        assert running.status.ready


async def test_what_is_too_much_is_handed_over_when_a_worker_joins() -> None:
    """No more than that."""
    async with supervised(some(8)) as running:
        await running.round()
        running.leases.workers = 2
        await running.round(3)
        assert running.held == 4


async def test_those_that_are_leaving_already_count_as_handed_over() -> None:
    """A session that commits its tail for a while must not cost another one."""
    tenures = some(8)
    for tenure in tenures:
        tenure.stays = True
    async with supervised(tenures) as running:
        await running.round()
        running.leases.workers = 2
        await running.round(6)
        assert sum(tenure.leaving for tenure in tenures) == 4


async def test_the_share_grows_when_a_worker_goes() -> None:
    """Its sessions are taken at the next look."""
    async with supervised(some(8), FakeLeases(2)) as running:
        await running.round(3)
        running.leases.workers = 1
        await running.round(3)
        assert running.held == 8


async def test_a_standby_without_a_session_is_ready() -> None:
    """It takes part; that there is nothing for it to do is no fault."""
    tenures = some(2)
    for tenure in tenures:
        tenure.free = False
    async with supervised(tenures) as running:
        await running.round()
        assert (running.held, running.status.ready) == (0, True)
        assert running.status.workers_live == 1


async def test_an_outage_takes_nothing_away_and_is_over_when_it_is_over() -> None:
    """Only readiness shows it, with the reason."""
    async with supervised(some(3)) as running:
        await running.round()
        running.leases.fault = SinkFault("unreachable", "no way there")
        await running.round()
        assert (running.held, running.status.ready, running.status.redis_error) == (3, False, "no way there")
        running.leases.fault = None
        await running.round()
        assert (running.held, running.status.ready, running.status.redis_error) == (3, True, None)


async def test_leases_are_renewed_well_within_their_life_and_not_at_each_look() -> None:
    """Three times within a time to live, however often the supervisor looks."""
    async with supervised(some(1)) as running:
        await running.round(5)
        assert running.tenures[0].renewals == 0


async def test_after_a_redis_that_forgot_this_worker_nobody_begins_anew_at_once() -> None:
    """Leases are renewed at once, and a session without a place is left to whoever may know it."""
    tenures = some(2)
    tenures[1].free = False
    leases = FakeLeases(forgotten=True)  # as at every first registration
    async with supervised(tenures, leases) as running:
        await running.round(3)
        assert all(tenures[1].begins), "the first registration is no sign of loss"
        tenures[1].begins.clear()
        leases.forgotten = True
        await running.round(3)
        assert tenures[0].renewals == 1
        assert tenures[1].begins[1:]
        assert not any(tenures[1].begins[1:])


async def test_a_stop_hands_all_over_and_signs_off() -> None:
    """And it is not ready from then on."""
    async with supervised(some(3)) as running:
        await running.round()
    assert (running.held, running.leases.signed_off, running.status.ready) == (0, True, False)


async def test_a_stop_while_redis_is_away_still_ends() -> None:
    """The register forgets this worker by itself."""
    async with supervised(some(3)) as running:
        await running.round()
        running.leases.fault = SinkFault("unreachable", "no way there")
    assert (running.held, running.leases.signed_off) == (0, False)
