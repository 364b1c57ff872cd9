"""Who takes what: the fair share, handing over what is too much, and a Redis that is away or was emptied."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import structlog

from bridge.errors import FaultKind, SinkFault
from bridge.model.outcomes import HeldBy
from bridge.model.place import Session
from bridge.model.registered import Order, Verb
from bridge.model.wishes import NO_WISHES, Wishes, fingerprint_of
from bridge.settings import LeaseSettings, OnLost, RedisSettings, Settings, WorkerSettings
from bridge.store.fleet.handovers import Heard
from bridge.store.fleet.registry import Peer, Register
from bridge.telemetry.status import WorkerStatus
from bridge.worker.holders import Holders
from bridge.worker.judging.ends import SessionEnd
from bridge.worker.roster import Change
from bridge.worker.supervisor import Coordination, Supervisor
from tests.support.fakes import until
from tests.support.hurry import hurried

TTL_SECONDS = 60.0


@pytest.fixture(autouse=True)
def hurry() -> Iterator[None]:
    """Nothing here waits for anything but time."""
    with hurried():
        yield


@dataclass
class FakeLeases:
    """Counts what was given back."""

    owner: str = "w/1"
    releases: int = 0


@dataclass(eq=False)
class FakeHolder:
    """A session's part, without Redis: it is held once it was taken, and left once it was handed over."""

    name: str
    free: bool = True
    over: bool = False
    recheck: bool = False  # it is over, and may be looked at again
    held: bool = False
    leaving: bool = False
    stays: bool = False  # it takes its time to leave
    successor: str = ""  # whom it was left to
    slow: asyncio.Event | None = None  # taking it takes so long
    asked: bool = False  # and held by another, so there is no need to ask again
    unreachable_attempts: int | None = None
    begins: list[bool] = field(default_factory=list)
    renewals: int = 0
    watched_anew: int = 0
    abandoned: bool = False
    paused: bool = False
    barred: bool = False
    end: SessionEnd = field(default_factory=lambda: SessionEnd(None, None, 1.0))  # type: ignore[arg-type]  # none
    sent_here: bool = False
    most: Callable[[], None] = lambda: None

    @property
    def session(self) -> Session:
        """For the log."""
        return Session(name=self.name, session_id=self.name)

    @property
    def fingerprint(self) -> bytes:
        """For its share."""
        return fingerprint_of(self.name)

    @property
    def wanted(self) -> bool:
        """It may be taken."""
        return not self.held and not self.asked and not self.barred and (self.recheck or not self.over)

    def look_again(self) -> None:
        """There is need to ask."""
        self.asked = False

    def watch_anew(self) -> None:
        """Counted."""
        self.watched_anew += 1

    async def take(self, is_gone: Callable[[HeldBy], bool], *, begin: bool = True) -> None:
        """Succeeds where it is free."""
        self.begins.append(begin)
        if self.slow:
            await self.slow.wait()
            self.slow = None
        await asyncio.sleep(0)
        self.held, self.asked = self.free, not self.free
        self.most()

    async def renew(self) -> None:
        """Counted."""
        self.renewals += 1

    def hand_over(self, until: float | None = None, successor: str = "") -> None:
        """At once, unless it takes its time."""
        if self.held and not self.leaving:
            self.successor = successor
        self.leaving = self.held and self.stays
        self.held = self.leaving

    async def finished(self) -> None:
        """At once, unless it takes its time."""
        while self.held:
            await asyncio.sleep(0.002)

    def bar(self) -> None:
        """At once, unless it takes its time."""
        self.barred = True
        self.hand_over()

    async def abandon(self) -> None:
        """At once."""
        self.abandoned, self.held, self.leaving = True, False, False


def peer(name: str, wishes: Wishes, *, releases: int = 0, heard_again: bool = True) -> Peer:
    """Another worker."""
    return Peer(owner=name, releases=releases, wishes=wishes, heard_again=heard_again)


@dataclass
class FakeRegistry:
    """A register."""

    peers: tuple[Peer, ...] = ()
    forgotten: bool = False
    away: bool = False
    fault: SinkFault | None = None
    hangs: bool = False
    rounds: int = 0
    said: list[tuple[Wishes, int]] = field(default_factory=list)
    signed_off: bool = False

    async def register(self, wishes: Wishes, releases: int) -> Register:
        """As told."""
        self.rounds += 1
        self.said.append((wishes, releases))
        await self._meet()
        forgotten, self.forgotten = self.forgotten, False
        away, self.away = self.away, False
        return Register(peers=self.peers, forgotten=forgotten, away=away, clock_ahead_seconds=0.0)

    def is_gone(self, held: HeldBy) -> bool:
        """Nobody is."""
        return False

    async def sign_off(self) -> None:
        """As told."""
        await self._meet()
        self.signed_off = True

    async def _meet(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.fault:
            raise self.fault


@dataclass
class FakeHandovers:
    """What others offer and leave to this worker. Those whom ``places`` does not name take all that they may have."""

    places: dict[str, int] = field(default_factory=dict)
    gifts: list[bytes] = field(default_factory=list)
    rooms: list[int] = field(default_factory=list)
    given: list[tuple[str, bytes]] = field(default_factory=list)
    booked_here: int = 0
    fault: SinkFault | None = None

    @property
    def open(self) -> bool:
        """Something was offered last."""
        return bool(self.rooms and self.rooms[-1]) or bool(self.booked_here)

    async def offer(self, room: int) -> Heard:
        """Kept; what was left comes once."""
        self._meet()
        self.rooms.append(room)
        given, self.gifts = tuple(self.gifts), []
        self.booked_here = max(0, self.booked_here - len(given))
        return Heard(given=given, booked=self.booked_here)

    def give_up(self) -> None:
        """It never comes."""
        self.booked_here = 0

    async def book(self, sessions: int, most: Mapping[str, int]) -> dict[str, int]:
        """As many as there are places."""
        self._meet()
        booked = {}
        for owner, count in most.items():
            booked[owner] = min(sessions, count, self.places.get(owner, count))
            sessions -= booked[owner]
            if owner in self.places:
                self.places[owner] -= booked[owner]
        return booked

    async def give(self, owner: str, fingerprint: bytes) -> None:
        """Kept."""
        self.given.append((owner, fingerprint))

    def _meet(self) -> None:
        if self.fault:
            raise self.fault


@dataclass
class FakeSource:
    """The way to the source."""

    capacity: int = 1000

    async def answers(self) -> bool:
        """Never."""
        return False


@dataclass
class Running:
    """A supervisor under way."""

    holders: list[FakeHolder]
    registry: FakeRegistry
    leases: FakeLeases
    status: WorkerStatus
    handovers: FakeHandovers = field(default_factory=FakeHandovers)
    source: FakeSource = field(default_factory=FakeSource)
    most: int = 0  # the most sessions that were held at once

    supervisor: Any = None

    def __post_init__(self) -> None:
        make: Any = self._make
        self.made: Any = Holders(make)
        self.made.follow(Change(appeared=tuple(holder.session for holder in self.holders)))

    def _make(self, session: Session) -> FakeHolder:
        found = [holder for holder in self.holders if holder.session == session and not holder.barred]
        if not found:
            found = [FakeHolder(session.name)]
            self.holders += found
        found[0].most = self._count
        return found[0]

    def _count(self) -> None:
        self.most = max(self.most, self.held)

    @property
    def held(self) -> int:
        """How many sessions it holds."""
        return sum(holder.held for holder in self.holders)

    @property
    def asked(self) -> int:
        """How often it asked for any."""
        return sum(len(holder.begins) for holder in self.holders)

    async def round(self, count: int = 2) -> None:
        """Wait until it has looked again, from its beginning to its end."""
        seen = self.registry.rounds
        async with asyncio.timeout(10):
            while self.registry.rounds < seen + count:
                await asyncio.sleep(0.002)

    async def settles(self, held: int) -> None:
        """Wait until it holds so many, and see that it stays so."""
        async with asyncio.timeout(10):
            while self.held != held:
                await asyncio.sleep(0.002)
        await self.round(4)
        assert self.held == held

    def join(self, count: int, names: str | None = None) -> None:
        """So many others want the same from now on, or what ``names`` says."""
        wanted = names.split() if names is not None else [holder.name for holder in self.holders if not holder.over]
        others = tuple(peer(f"o{number}/1", Wishes.of(map(fingerprint_of, wanted))) for number in range(count))
        self.registry.peers = others


@asynccontextmanager
async def supervised(
    holders: list[FakeHolder],
    registry: FakeRegistry | None = None,
    *,
    others: int = 0,
    ttl_seconds: float = TTL_SECONDS,
    grace_seconds: float = 20.0,
    on_lost: OnLost = OnLost.RESUME,
    handovers: FakeHandovers | None = None,
    informed: bool = True,
) -> AsyncIterator[Running]:
    """A supervisor that looks again and again; stopped at the end."""
    status = WorkerStatus(worker_id="w", version="0", redis_reachable=True)
    running = Running(holders, registry or FakeRegistry(), FakeLeases(), status, handovers or FakeHandovers())
    if informed:
        running.made.informed()
    if others:
        running.join(others)
    settings = Settings.model_construct(
        lease=LeaseSettings.model_construct(ttl_seconds=ttl_seconds, poll_seconds=0.005),
        redis=RedisSettings(on_lost=on_lost),
        worker=WorkerSettings(grace_period_seconds=grace_seconds),
    )
    fakes: Any = (running.made, running.leases, running.registry, running.handovers)
    coordination = Coordination(leases=fakes[1], registry=fakes[2], handovers=fakes[3])
    supervisor = Supervisor(
        holders=fakes[0], coordination=coordination, settings=settings, status=status, source=running.source
    )
    running.supervisor = supervisor
    stop = asyncio.Event()
    task = asyncio.create_task(supervisor.run(stop))
    try:
        yield running
    finally:
        stop.set()
        async with asyncio.timeout(10):
            await task


def some(count: int) -> list[FakeHolder]:
    """Free sessions."""
    return [FakeHolder(f"s{number}") for number in range(count)]


async def test_a_lone_worker_takes_all() -> None:
    """In the first round."""
    async with supervised(some(7)) as running:
        await running.round()
        assert running.held == 7


@pytest.mark.parametrize(("sessions", "others", "share"), [(7, 1, 4), (6, 2, 2), (1, 4, 1), (0, 2, 0), (10, 9, 1)])
async def test_a_worker_takes_no_more_than_its_share(sessions: int, others: int, share: int) -> None:
    """However many are free, and not for a moment."""
    async with supervised(some(sessions), others=others) as running:
        await running.round(4)
        assert (running.held, running.most) == (share, share)
        assert running.asked == share


async def test_sessions_that_nobody_else_wants_are_all_taken() -> None:
    """Another deployment on the same Redis, and a worker that only stands by."""
    async with supervised(some(6), FakeRegistry(peers=(peer("a/1", NO_WISHES),))) as running:
        await running.round()
        running.join(3, "x y z")
        await running.round(3)
        assert running.held == 6
        assert running.status.workers_live == 4


async def test_only_what_others_want_too_is_shared_with_them() -> None:
    """Of four sessions two are wanted by another one: one of these is handed over, and none of the rest."""
    for _ in range(5):  # the choice is random
        async with supervised(some(4)) as running:
            await running.round()
            running.join(1, "s2 s3 x")
            await running.settles(3)
            assert [holder.held for holder in running.holders[:2]] == [True, True]


async def test_it_says_what_it_wants_and_what_it_gave_back() -> None:
    """What is over is wanted no more."""
    holders = some(3)
    async with supervised(holders) as running:
        await running.round()
        assert running.registry.said[-1] == (Wishes.of(holder.fingerprint for holder in holders), 0)
        holders[0].over, running.leases.releases = True, 1
        await running.round()
        assert running.registry.said[-1] == (Wishes.of(holder.fingerprint for holder in holders[1:]), 1)


async def test_what_others_hold_is_not_asked_for_again_until_something_changes() -> None:
    """501 sessions, two workers: the one with a session less has room, and there is nothing to be had."""
    holders = some(501)
    for holder in holders[:251]:
        holder.free = False
    async with supervised(holders, others=1) as running:
        await until(lambda: running.asked >= 501)
        await running.settles(250)
        asked = running.asked
        await running.round(20)
        assert running.asked == asked
        holders[0].free = True
        running.registry.peers = tuple(replace(one, releases=1) for one in running.registry.peers)
        await running.settles(251)


async def test_a_session_that_rounding_leaves_to_nobody_is_taken_in_the_end() -> None:
    """Three workers of which each two share one session, each of them full with another one's."""
    holders = some(2)
    async with supervised(holders, ttl_seconds=1.0) as running:
        running.registry.peers = (
            peer("a/1", Wishes.of(map(fingerprint_of, ["s0", "x"]))),
            peer("b/1", Wishes.of(map(fingerprint_of, ["s1", "x"]))),
        )
        await running.round(3)
        assert running.held == 1
        async with asyncio.timeout(10):
            while running.held < 2:
                await running.round(1)
        await running.round(5)
        assert running.held == 2, "and it is kept"
        running.join(1, "s0 s1")
        await running.settles(1)  # until something changes


async def test_sessions_that_others_hold_do_not_count() -> None:
    """It goes on asking until its share is full."""
    holders = some(10)
    for holder in holders[:5]:
        holder.free = False
    async with supervised(holders, others=1) as running:
        await running.round(3)
        assert running.held == 5


async def test_sessions_that_are_over_do_not_count() -> None:
    """Neither as taken nor as to be shared; one may be looked at again, and takes nobody's place."""
    holders = some(6)
    for holder in holders[:4]:
        holder.over = True
    holders[0].recheck = True
    async with supervised(holders, others=1) as running:
        await running.round(3)
        assert [holder.held for holder in holders[:4]] == [True, False, False, False]
        assert sum(holder.held for holder in holders[4:]) == 1
        assert not any(holder.begins for holder in holders[1:4])


async def test_one_that_is_over_and_held_to_look_again_is_not_handed_over() -> None:
    """It counts for nobody's share."""
    holders = some(5)
    holders[0].over = holders[0].held = True
    everything = Wishes.of(holder.fingerprint for holder in holders)  # the other one has not seen it end
    async with supervised(holders, FakeRegistry(peers=(peer("o/1", everything),))) as running:
        await running.round(3)
        assert holders[0].held
        assert (running.held, running.most) == (3, 3)


async def test_a_session_that_cannot_be_taken_does_not_keep_the_others() -> None:
    """Its refusal is its own."""
    holders = some(3)
    holders[1].free = False
    async with supervised(holders) as running:
        await running.round(3)
        assert [holder.held for holder in holders] == [True, False, True]
        assert running.status.ready


async def test_what_is_too_much_is_handed_over_when_a_worker_joins() -> None:
    """No more than that."""
    async with supervised(some(8)) as running:
        await running.round()
        running.join(1)
        await running.settles(4)


async def test_those_that_are_leaving_already_count_as_handed_over() -> None:
    """A session that commits its tail for a while must not cost another one."""
    holders = some(8)
    for holder in holders:
        holder.stays = True
    async with supervised(holders, grace_seconds=0.1) as running:
        await running.round()
        running.join(1)
        await until(lambda: sum(holder.leaving for holder in holders) == 4)
        await running.round(6)
        assert sum(holder.leaving for holder in holders) == 4


async def test_the_share_grows_when_a_worker_goes() -> None:
    """Its sessions are taken at the next look."""
    async with supervised(some(8), others=1) as running:
        await running.round(3)
        running.join(0)
        await running.round(3)
        assert running.held == 8


async def test_a_standby_without_a_session_is_ready() -> None:
    """It takes part; that there is nothing for it to do is no fault."""
    holders = some(2)
    for holder in holders:
        holder.free = False
    async with supervised(holders) as running:
        await running.round()
        assert (running.held, running.status.ready) == (0, True)
        assert running.status.workers_live == 1


async def test_an_outage_takes_nothing_away_and_is_over_when_it_is_over() -> None:
    """Only readiness shows it, with the reason."""
    async with supervised(some(3)) as running:
        await running.round()
        running.registry.fault = SinkFault(FaultKind.UNREACHABLE, "no way there")
        await running.round()
        assert (running.held, running.status.ready, running.status.redis_error) == (3, False, "no way there")
        running.registry.fault = None
        await running.round()
        assert (running.held, running.status.ready, running.status.redis_error) == (3, True, None)


async def test_leases_are_renewed_three_times_within_their_life_and_not_at_each_look() -> None:
    """However often the supervisor looks."""
    async with supervised(some(1), ttl_seconds=0.3) as running:
        async with asyncio.timeout(10):
            while running.holders[0].renewals < 6:
                await running.round(1)
        assert running.registry.rounds > 6
    loop = asyncio.get_running_loop()
    async with supervised(some(1), ttl_seconds=6.0) as running:
        began = loop.time()
        await running.round(5)
        assert loop.time() - began < 2.0
        assert running.holders[0].renewals == 0
        async with asyncio.timeout(3.5 + 10):
            while running.holders[0].renewals == 0:
                await running.round(1)
        assert loop.time() - began >= 1.9


async def test_after_a_redis_that_forgot_this_worker_nobody_begins_anew_at_once() -> None:
    """Leases are renewed at once, and a session without a place is left to whoever may know it."""
    holders = some(2)
    async with supervised(holders, FakeRegistry(forgotten=True)) as running:  # as at every first registration
        await running.round(3)
        assert all(holders[1].begins), "the first registration is no sign of loss"
        holders[1].held = False
        holders[1].begins.clear()
        running.registry.forgotten = True
        await running.round(3)
        assert holders[0].renewals == 1
        assert holders[1].begins == [False]


@pytest.mark.parametrize(("on_lost", "begins"), [(OnLost.RESUME, True), (OnLost.STOP, False)])
async def test_patience_with_an_emptied_redis_ends_unless_a_person_is_to_decide(on_lost: OnLost, begins: bool) -> None:
    """After a time to live: whoever knew the place has come by then."""
    holders = some(1)
    async with supervised(holders, ttl_seconds=0.05, on_lost=on_lost) as running:
        await running.round(3)
        running.registry.forgotten = True
        await running.round(2)
        await asyncio.sleep(0.1)
        holders[0].held = False
        holders[0].begins.clear()
        await running.round(3)
        assert holders[0].begins == [begins]


async def test_after_an_outage_of_its_own_it_gives_all_holders_their_time() -> None:
    """They could not renew either."""
    async with supervised(some(2)) as running:
        await running.round(3)
        assert [holder.watched_anew for holder in running.holders] == [0, 0]
        running.registry.away = True
        await running.round(3)
        assert [holder.watched_anew for holder in running.holders] == [1, 1]


async def test_a_take_that_takes_long_keeps_nobody_from_hearing_of_this_worker() -> None:
    """A lost place may have to be looked for in a long stream."""
    holders = some(3)
    holders[1].slow = asyncio.Event()
    async with supervised(holders) as running:
        await running.round(5)
        assert running.held == 2
        assert len(holders[1].begins) == 1, "and it is not asked for twice at once"
        holders[1].slow.set()
        await running.round(3)
        assert running.held == 3


async def test_a_worker_that_is_cut_off_from_the_source_leaves_to_others_what_they_want() -> None:
    """It keeps what nobody else wants, and says that it wants nothing; sessions that it reads it keeps otherwise."""
    holders = some(4)
    for holder in holders:
        holder.unreachable_attempts = 7
    async with supervised(holders) as running:
        await running.round(3)
        assert running.held == 4, "alone it goes on trying"
        holders[0].unreachable_attempts = 0
        running.join(1, "s0 s1 s2")
        await running.settles(3)
        holders[0].unreachable_attempts = 1
        await running.settles(1)
        assert [holder.held for holder in holders] == [False, False, False, True]
        assert running.registry.said[-1][0] == NO_WISHES
        running.join(0)
        await running.round(3)
        assert running.held == 4, "the others have gone: better one that tries"


async def test_two_workers_of_one_name_are_told_once() -> None:
    """One that was heard a single time may be what is left of this worker's last run."""
    registry = FakeRegistry(peers=(peer("w/9", NO_WISHES, heard_again=False), peer("v/1", NO_WISHES)))
    with structlog.testing.capture_logs() as logs:
        async with supervised(some(1), registry) as running:
            await running.round(3)
            assert not [line for line in logs if line["event"] == "worker.id_used_twice"]
            registry.peers = (peer("w/9", NO_WISHES), peer("v/1", NO_WISHES))
            await running.round(4)
    assert [line["worker"] for line in logs if line["event"] == "worker.id_used_twice"] == ["w/9"]


# Handing over


async def test_it_asks_for_what_others_hold_and_for_no_more_than_it_can_begin_with() -> None:
    """Of ten sessions it should read five, and has none."""
    holders = some(10)
    for holder in holders:
        holder.free = False
    async with supervised(holders, others=1) as running:
        running.source.capacity = 3
        await until(lambda: running.handovers.rooms[-3:] == [3, 3, 3])
        running.source.capacity = 100
        await until(lambda: running.handovers.rooms[-3:] == [5, 5, 5])


async def test_what_was_left_to_it_is_taken_at_once_though_its_holder_was_asked_a_moment_ago() -> None:
    """Of a session that it does not know it says nothing."""
    holders = some(4)
    for holder in holders:
        holder.free = False
    async with supervised(holders, others=1) as running:
        await until(lambda: all(holder.asked for holder in holders))
        holders[0].free = holders[3].free = True
        running.handovers.gifts = [holders[0].fingerprint, b"stranger", holders[3].fingerprint]
        await running.settles(2)
        assert (holders[0].held, holders[3].held) == (True, True)
        assert running.handovers.rooms[-1] == 0, "its share is full: what it offered is withdrawn"


async def test_what_is_too_much_is_read_until_another_worker_asks_for_it() -> None:
    """And goes to the one that has asked, who is told."""
    holders = some(8)
    async with supervised(holders) as running:
        await running.round()
        running.handovers.places = {"o0/1": 0}
        running.join(1)
        await running.round(10)
        assert running.held == 8
        running.handovers.places["o0/1"] = 3
        await running.settles(5)
        running.handovers.places["o0/1"] = 3
        await running.settles(4)
        left = {holder.fingerprint for holder in holders if holder.successor == "o0/1"}
        assert len(left) == 4
        await until(lambda: {("o0/1", one) for one in left} == set(running.handovers.given))


async def test_a_worker_is_given_nothing_that_it_does_not_want() -> None:
    """Of two that join, one wants a single session."""
    holders = some(6)
    async with supervised(holders) as running:
        await running.round()
        running.handovers.places = {"a/1": 10, "b/1": 0}
        wanted = Wishes.of(map(fingerprint_of, ["s0"]))
        everything = Wishes.of(holder.fingerprint for holder in holders)
        running.registry.peers = (peer("a/1", wanted), peer("b/1", everything))
        await running.settles(5)
        assert holders[0].successor == "a/1"


async def test_the_next_ones_are_asked_for_while_some_are_still_on_their_way() -> None:
    """But not those: who gives has booked them, and may take its time."""
    holders = some(2)
    for holder in holders:
        holder.free = False
    async with supervised(holders, others=1) as running:
        await until(lambda: bool(running.handovers.rooms))
        running.handovers.booked_here = 1
        for holder in holders:
            holder.held = True  # nothing is missing any more
        rooms = len(running.handovers.rooms)
        await until(lambda: len(running.handovers.rooms) > rooms + 5)
        assert running.handovers.rooms[-1] == 0
        running.handovers.booked_here = 0


async def test_a_register_of_places_that_cannot_be_had_changes_nothing() -> None:
    """Sessions are read where they are, and taken where they are free."""
    handovers = FakeHandovers(fault=SinkFault(FaultKind.DAMAGED, "somebody has written there"))
    async with supervised(some(4), handovers=handovers) as running:
        await running.round()
        running.join(1)
        await running.round(5)
        assert (running.held, running.status.ready) == (4, True)
        handovers.fault = None
        await running.settles(2)


# Stopping


async def test_a_stop_hands_all_over_and_signs_off() -> None:
    """And it is not ready from then on."""
    async with supervised(some(3)) as running:
        await running.round()
    assert (running.held, running.registry.signed_off, running.status.ready) == (0, True, False)


async def test_a_stop_reads_each_session_until_another_worker_asks_for_it() -> None:
    """This worker wants none from the first moment, so that the others' shares grow."""
    holders = some(5)
    async with supervised(holders, others=1) as running:
        await running.settles(3)
        running.handovers.places = {"o0/1": 0}

        async def ask() -> None:
            await until(lambda: running.registry.said[-1][0] == NO_WISHES)
            await running.round(3)
            assert running.held == 3
            for left in (2, 1, 0):
                running.handovers.places["o0/1"] = 1
                await until(lambda left=left: running.held <= left)  # type: ignore[misc]
                assert running.held == left

        asking = asyncio.create_task(ask())
    await asking
    assert len(running.handovers.given) == 3
    assert running.registry.signed_off


async def test_a_stop_lets_go_of_what_nobody_asks_for() -> None:
    """Long before the grace period is over: those who could have asked do not, or do not want it."""
    loop = asyncio.get_running_loop()
    async with supervised(some(4), others=1, grace_seconds=600.0) as running:
        await running.settles(2)
        running.handovers.places = {"o0/1": 0}
        began = loop.time()
    assert (running.held, running.registry.signed_off) == (0, True)
    assert running.handovers.given == []
    assert loop.time() - began < 300


async def test_a_stop_waits_for_what_was_booked_here_and_passes_it_on() -> None:
    """Its lease was left to this worker by name: nobody else would take it."""
    holders = some(2)
    holders[0].free = False
    async with supervised(holders, others=1, grace_seconds=60.0) as running:
        await running.settles(1)
        holders[0].asked = False
        running.handovers.booked_here = 1

        async def come() -> None:
            await until(lambda: running.registry.said[-1][0] == NO_WISHES)
            holders[0].free = True
            running.handovers.gifts = [holders[0].fingerprint]
            await until(lambda: holders[0].successor == "o0/1")

        coming = asyncio.create_task(come())
    await coming
    assert running.held == 0


async def test_a_stop_while_redis_is_away_still_ends() -> None:
    """The register forgets this worker by itself."""
    async with supervised(some(3)) as running:
        await running.round()
        running.registry.fault = SinkFault(FaultKind.UNREACHABLE, "no way there")
    assert (running.held, running.registry.signed_off) == (0, False)


async def test_a_stop_while_redis_hangs_ends_with_the_grace_period() -> None:
    """However many sessions have not finished by then: they are let go, and that is said."""
    holders = some(5)
    for holder in holders:
        holder.stays = True
    with structlog.testing.capture_logs() as logs:
        async with supervised(holders, grace_seconds=0.2) as running:
            await running.round()
            running.registry.hangs = True
    assert all(holder.abandoned for holder in holders)
    (said,) = [line for line in logs if line["event"] == "worker.stop_cut_short"]
    assert said["sessions"] == 5


async def test_others_are_told_of_each_lease_that_a_stop_has_freed() -> None:
    """They would wait for its end otherwise; and this worker wants nothing any more."""
    holders = some(2)
    holders[1].stays = True
    async with supervised(holders) as running:
        await running.round()

        async def free_one_after_another() -> None:
            running.leases.releases = 1
            while running.registry.said[-1] != (NO_WISHES, 1):
                await asyncio.sleep(0.002)
            running.leases.releases = 2
            holders[1].held = False

        freeing = asyncio.create_task(free_one_after_another())
    async with asyncio.timeout(10):
        await freeing
    assert running.registry.signed_off


async def test_what_is_taken_while_the_stop_comes_is_handed_over_too() -> None:
    """Its lease would be kept by nobody."""
    holders, taken = some(2), asyncio.Event()
    holders[0].slow = taken
    async with supervised(holders) as running:
        await running.round()
        asyncio.get_running_loop().call_later(0.05, taken.set)
    assert (running.held, running.most) == (0, 1)
    assert [holder.slow for holder in holders] == [None, None], (
        "it was not broken off: Redis would have the lease, and nobody would know"
    )
    assert running.registry.signed_off


async def test_a_session_that_appears_is_taken_and_one_that_disappears_is_let_go() -> None:
    """The others are not touched, and the next round need not be waited for."""
    async with supervised(some(3)) as running:
        await running.settles(3)
        untouched = running.holders[1:]
        began = [len(holder.begins) for holder in untouched]
        gone, new = running.holders[0].session, Session(name="new", session_id="new")
        running.made.follow(Change(appeared=(new,), disappeared=(gone,)))
        await running.settles(3)
        assert running.holders[0].barred
        assert not running.holders[0].held
        assert running.holders[3].session == new
        assert [len(holder.begins) for holder in untouched] == began
        assert set(running.made) == set(running.holders[1:])


async def test_whoever_takes_a_name_over_waits_until_the_tail_is_committed() -> None:
    """One stream never has two writers of a worker at once."""
    async with supervised(some(1)) as running:
        await running.settles(1)
        old = running.holders[0]
        old.stays = True
        new = Session(name="s0", session_id="another")
        running.made.follow(Change(appeared=(new,), disappeared=(old.session,)))
        await running.round(3)
        assert old in running.made.everyone
        assert len(running.made) == 0, "the name is still in use"
        old.held = False
        await until(lambda: running.made.named("s0") is not None and running.made.named("s0") is not old)
        assert old not in running.made.everyone


async def test_a_worker_without_sessions_stands_by_until_some_appear() -> None:
    """It needs none to begin with."""
    async with supervised([], others=0) as running:
        await running.round(3)
        assert running.status.taking_part
        running.made.follow(Change(appeared=(Session(name="a", session_id="a"),)))
        await running.settles(1)


async def test_what_appears_is_counted_in_the_share_and_said_to_others() -> None:
    """As if it had been there from the start."""
    async with supervised(some(2)) as running:
        await running.settles(2)
        appeared = tuple(Session(name=name, session_id=name) for name in ("x", "y"))
        running.registry.peers = (peer("o/1", Wishes.of(map(fingerprint_of, ("s0", "s1", "x", "y")))),)
        await running.settles(1)
        running.made.follow(Change(appeared=appeared))
        await running.settles(2)
        assert running.registry.said[-1][0] == Wishes.of(map(fingerprint_of, ("s0", "s1", "x", "y")))


async def test_a_paused_session_counts_for_nobody() -> None:
    """It is not said to be wanted, and makes no share larger."""
    async with supervised(some(2)) as running:
        await running.settles(2)
        running.holders[0].paused = True
        await running.round(2)
        assert running.registry.said[-1][0] == Wishes.of([running.holders[1].fingerprint])


async def test_what_is_let_go_is_renewed_until_its_tail_is_committed() -> None:
    """Redis may be away for longer than a lease lasts."""
    async with supervised(some(1), ttl_seconds=0.1) as running:
        await running.settles(1)
        old = running.holders[0]
        old.stays = True
        running.made.follow(Change(disappeared=(old.session,)))
        renewals = old.renewals
        await until(lambda: old.renewals > renewals + 1)
        old.held = False


async def test_nothing_is_taken_before_it_was_heard_what_people_say() -> None:
    """One of them may be paused."""
    async with supervised(some(2), informed=False) as running:
        await running.round(3)
        assert running.asked == 0
        running.made.informed()
        await running.settles(2)


async def test_where_that_cannot_be_heard_all_is_taken_after_a_time_to_live() -> None:
    """Whoever may not read the register reads what is configured."""
    async with supervised(some(2), ttl_seconds=0.1, informed=False) as running:
        await running.settles(2)
        assert not running.made.known


async def test_a_drained_worker_keeps_only_what_nobody_else_wants() -> None:
    """Until it may take its share again."""
    async with supervised(some(3)) as running:
        await running.settles(3)
        running.supervisor.obey(Order(verb=Verb.DRAIN, to="w/2"))
        await running.round(2)
        assert running.registry.said[-1][0] != NO_WISHES, "another one was meant"
        running.supervisor.obey(Order(verb=Verb.DRAIN, to="w/1"))
        await running.settles(3)
        assert running.status.draining
        assert running.registry.said[-1][0] == NO_WISHES
        running.join(1, "s0 s1")
        await running.settles(1)
        running.supervisor.obey(Order(verb=Verb.REFILL, to="w/1"))
        running.holders[0].free = running.holders[1].free = True
        running.registry.peers = ()
        await running.settles(3)


async def test_what_a_person_wants_elsewhere_goes_there_once_there_is_room() -> None:
    """Whatever the shares say; it is read until then."""
    handovers = FakeHandovers(places={"o0/1": 0})
    async with supervised(some(2), handovers=handovers) as running:
        await running.settles(2)
        running.supervisor.obey(Order(verb=Verb.MOVE, name="s0", to="o0/1"))
        await running.round(3)
        assert running.held == 2
        handovers.places["o0/1"] = 1
        await until(lambda: handovers.given)
        assert handovers.given == [("o0/1", fingerprint_of("s0"))]
        assert running.holders[0].successor == "o0/1"


async def test_what_a_person_wants_here_has_room_and_is_given_away_last() -> None:
    """Also by a worker that has its share already."""
    async with supervised(some(2), others=1) as running:
        await running.settles(1)
        (wanted,) = [holder for holder in running.holders if not holder.held]
        wanted.free = False
        running.supervisor.obey(Order(verb=Verb.MOVE, name=wanted.name, to="w/1"))
        await until(lambda: running.handovers.rooms and running.handovers.rooms[-1] > 0)
        wanted.free = True
        running.handovers.gifts.append(wanted.fingerprint)
        await until(lambda: running.handovers.given)
        assert [fingerprint for _, fingerprint in running.handovers.given] != [wanted.fingerprint]
        assert wanted.held


async def test_of_many_that_are_given_away_what_a_person_wants_here_stays() -> None:
    """As long as the share has room for it."""
    async with supervised(some(20)) as running:
        await running.settles(20)
        running.supervisor.obey(Order(verb=Verb.MOVE, name="s7", to="w/1"))
        running.join(19)
        await running.settles(1)
        assert running.holders[7].held


async def test_what_was_just_added_is_not_all_taken_by_who_hears_of_it_first() -> None:
    """The others will want it too: each takes its share, and what is left is anybody's after a while."""
    async with supervised(some(2), others=1) as running:
        await running.settles(1)
        appeared = tuple(Session(name=f"new{number}", session_id=f"new{number}") for number in range(4))
        running.made.follow(Change(appeared=appeared))
        await running.settles(3)
