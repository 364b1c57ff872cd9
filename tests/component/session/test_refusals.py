"""What a server refuses for good: batches are halved, single events set aside, and nothing is written twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from bridge.errors import FaultKind, SinkFault
from bridge.lab.redis_server import RedisServer
from bridge.lab.simulator import SimulatedSession, Simulator
from bridge.model.labels import CommitOutcome, DeadLetterReason, SessionState
from bridge.model.outcomes import CommitResult, Fenced
from bridge.model.records import Record
from bridge.session.pump import Stopped
from bridge.store.commits import COMMIT, RedisSink
from tests.support.awaited_sink import AwaitedSink
from tests.support.fakes import until
from tests.support.managed_redis import ManagedRedis, managed_redis
from tests.support.pump_rig import KEYS, SESSION, Rig, rig_of


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """The lens API."""
    async with Simulator() as made:
        yield made


@pytest.fixture
def session(simulator: Simulator) -> SimulatedSession:
    """The session that the rig reads."""
    return simulator.create_session("lsn-1")


_LETTERS = {"max_dead_letter_bytes": 20_000}


@asynccontextmanager
async def limited(
    simulator: Simulator, server: RedisServer, *, commit: dict[str, Any] | None = None, **limits: Any
) -> AsyncIterator[tuple[Rig, ManagedRedis]]:
    """A rig behind a service with these limits."""
    async with (
        managed_redis(server.port, **limits) as service,
        rig_of(simulator.base_url, service.url, stream=_LETTERS, commit=commit or {}) as rig,
    ):
        yield rig, service


async def seqs(rig: Rig) -> list[int]:
    """The numbers in the stream."""
    return [int(entry["seq"]) for entry in await rig.entries()]


@pytest.mark.parametrize(("events", "event_bytes"), [(5_000, 250), (5_000, 8_000), (40, 190_000)])
async def test_batches_stay_below_the_published_limits_of_managed_services(
    simulator: Simulator, session: SimulatedSession, redis_server: RedisServer, events: int, event_bytes: int
) -> None:
    """A backlog, so that each batch is as large as it may be."""
    session.generate(events, event_bytes=event_bytes)
    async with limited(simulator, redis_server) as (rig, service):
        running = await rig.run()
        await running.committed(events)
        await running.stopped()
    assert service.refused == 0
    assert service.most_arguments > 2_000 or service.most_bytes > 600_000, "as large as they may be"
    assert service.most_arguments <= 3_900
    assert service.most_bytes <= 900_000


async def test_batches_are_as_small_as_they_are_configured(
    simulator: Simulator, session: SimulatedSession, redis_server: RedisServer
) -> None:
    """commit.max_bytes and commit.max_events, whichever is met first."""
    session.generate(300, event_bytes=1_000)
    session.generate(300, event_bytes=10)
    async with limited(simulator, redis_server, commit={"max_bytes": 20_000, "max_events": 40}) as (rig, service):
        with capture_logs() as lines:
            running = await rig.run()
            await running.committed(600)
            await running.stopped()
    assert 15_000 < service.most_bytes <= 21_000
    assert max(line["events"] for line in lines if line["event"] == "batch.committed") == 40


@pytest.mark.parametrize(
    "limits",
    [
        {"max_arguments": 200},
        {"max_request_bytes": 20_000},
        {"max_request_bytes": 20_000, "hangs_up": True},
    ],
    ids=str,
)
async def test_a_batch_that_is_refused_is_halved_and_the_size_that_passed_is_remembered(
    simulator: Simulator,
    session: SimulatedSession,
    redis_server: RedisServer,
    limits: dict[str, Any],
) -> None:
    """A service with limits that nobody knew: few refusals, and all events in order."""
    session.generate(3_000)
    async with limited(simulator, redis_server, **limits) as (rig, service):
        running = await rig.run()
        await running.committed(3_000)
        await running.stopped()
        assert await seqs(rig) == list(range(1, 3_001))
        assert await rig.ids() == [entry.id for entry in session.record]
        assert rig.figures.dead_letters[DeadLetterReason.REJECTED] == 0
    assert 3 <= service.refused <= 12


@pytest.mark.parametrize(("hangs_up", "event_bytes"), [(False, 100_000), (True, 100_000), (True, 7_000_000)])
async def test_a_lone_event_over_the_limit_is_set_aside_and_those_around_it_stand_in_order(
    simulator: Simulator, session: SimulatedSession, redis_server: RedisServer, hangs_up: bool, event_bytes: int
) -> None:
    """Batches are as large again afterwards: it was no size that was refused."""
    session.generate(500)
    session.generate(1, event_bytes=event_bytes)
    session.generate(1_000)
    async with limited(simulator, redis_server, max_request_bytes=90_000, hangs_up=hangs_up) as (rig, service):
        running = await rig.run()
        await running.committed(1_500)
        await until(lambda: running.pump.place.cursor == "1501")
        await running.stopped()
        assert await seqs(rig) == list(range(1, 1_501))
        [letter] = await rig.entries(KEYS.dead_letter)
        assert (letter["id"], letter["reason"], letter["truncated"]) == ("501", "rejected", "1")
        assert "max request size exceeded" in letter["detail"]
    assert service.refused <= 25


async def test_an_event_with_an_endless_type_is_set_aside_like_any_other(
    simulator: Simulator, session: SimulatedSession, redis_server: RedisServer
) -> None:
    """The type stands beside the data, and neither may hold the session up."""
    session.generate(3)
    session.emit({"type": "\u00e9" * 150_000})
    session.generate(3)
    async with limited(simulator, redis_server, max_request_bytes=90_000) as (rig, _):
        running = await rig.run()
        await running.committed(6)
        await until(lambda: running.pump.place.cursor == "7")
        assert await running.stopped() == Stopped(left=0)
        assert await seqs(rig) == list(range(1, 7))
        [letter] = await rig.entries(KEYS.dead_letter)
        assert (letter["id"], letter["reason"], letter["truncated"]) == ("4", "rejected", "1")
        assert letter["type"] == "\u00e9" * 256
        assert letter["data"].startswith('{"type"')


@pytest.mark.parametrize("landed", [True, False])
@pytest.mark.parametrize("events", [1, 400])
async def test_a_batch_that_is_refused_after_its_reply_was_lost_is_never_written_twice(
    simulator: Simulator, session: SimulatedSession, redis_server: RedisServer, events: int, landed: bool
) -> None:
    """A failover to a server with other limits: first it is learned whether the batch had landed.

    An event alone that had landed is no dead letter as well; one that had not is one and no entry.
    """
    session.generate(events, event_bytes=250 if events > 1 else 40_000)
    async with limited(simulator, redis_server) as (rig, service):
        if landed:
            service.lose_reply_to(COMMIT.sha.encode())
        running = await rig.run(sink=Late(rig, service))
        await until(lambda: running.pump.place.cursor == str(events))
        session.generate(5)
        await until(lambda: running.pump.place.cursor == str(events + 5))
        assert await running.stopped() == Stopped(left=0)
        letters = [letter["id"] for letter in await rig.entries(KEYS.dead_letter)]
        assert sorted([*await rig.ids(), *letters], key=int) == [entry.id for entry in session.record]
        assert letters == (["1"] if events == 1 and not landed else [])
        assert await seqs(rig) == list(range(1, events + 6 - len(letters)))
        assert service.refused > 0
        assert rig.figures.commits[CommitOutcome.ALREADY] == landed


class Late(AwaitedSink, RedisSink):
    """The first commit is sent, and its outcome is not known; from then on the server takes less."""

    def __init__(self, rig: Rig, service: ManagedRedis) -> None:
        super().__init__(rig.link, KEYS, SESSION, rig.settings.stream)
        self._service = service
        self._sent = 0

    async def commit(self, packed: bytes) -> CommitResult:
        """The limits are low for the second and each later one."""
        self._sent += 1
        if self._sent == 1 and not self._service.losing:
            self._lower()
            raise SinkFault(FaultKind.TIMEOUT, "it was never sent, but who can tell")
        try:
            return await super().commit(packed)
        finally:
            self._lower()

    def _lower(self) -> None:
        self._service.max_arguments, self._service.max_request_bytes = 120, 30_000


async def test_a_session_of_which_everything_is_refused_waits_and_sets_no_more_than_ten_events_aside(
    simulator: Simulator, session: SimulatedSession, rig_of_refusals: tuple[Rig, Everything]
) -> None:
    """Small events, one after the other: it is not they that are refused."""
    rig, sink = rig_of_refusals
    session.generate(50)
    running = await rig.run(sink=sink)
    await until(lambda: sink.refused > 60)
    assert rig.figures.dead_letters[DeadLetterReason.REJECTED] <= 10
    assert rig.figures.last_error is not None
    assert "never heard of" in rig.figures.last_error
    sink.mended = True
    await until(lambda: running.pump.place.cursor == "50")
    letters = await rig.entries(KEYS.dead_letter)
    assert len(letters) == 10
    assert len(await rig.ids()) == 40
    await running.stopped()


async def test_numbers_that_are_to_be_declared_lost_set_no_more_events_aside(
    session: SimulatedSession, rig_of_refusals: tuple[Rig, Everything]
) -> None:
    """Behind a rollback each try carries a marker in front of its one event, which makes it no larger batch."""
    rig, sink = rig_of_refusals
    rig.numbers.landed([_event(f"forgotten {number}") for number in range(3)], 0)
    session.generate(50)
    running = await rig.run(sink=sink)
    await until(lambda: sink.refused > 60)
    assert rig.figures.dead_letters[DeadLetterReason.REJECTED] <= 10
    sink.mended = True
    await until(lambda: running.pump.place.cursor == "50")
    assert len(await rig.entries(KEYS.dead_letter)) == 10
    assert (await rig.markers(), await seqs(rig)) == (["bridge.gap"], [0, *range(4, 44)])
    await running.stopped()


def _event(key: str) -> Record:
    return Record(key, "t", b"{}", 1.0, "message", b"", key, 0)


@pytest.mark.parametrize("events", [1, 50])
async def test_while_every_commit_is_refused_even_an_empty_one_nothing_is_set_aside(
    session: SimulatedSession, rig_of_refusals: tuple[Rig, Everything], events: int
) -> None:
    """In words that nobody knows, for as long as it lasts: it cannot be the events. The session waits and says so."""
    rig, sink = rig_of_refusals
    sink.also_empty = True
    session.generate(events)
    running = await rig.run(sink=sink)
    await until(lambda: sink.refused > 30)
    assert rig.figures.state is SessionState.BACKPRESSURED
    assert rig.figures.last_error is not None
    assert "never heard of" in rig.figures.last_error
    sink.mended = True
    await running.committed(events)
    await until(lambda: rig.figures.state is SessionState.STREAMING)
    assert await seqs(rig) == list(range(1, events + 1))
    assert await rig.entries(KEYS.dead_letter) == []
    assert await running.stopped() == Stopped(left=0)


class Everything(AwaitedSink, RedisSink):
    """Refuses each entry, but no dead letter: as a stream does that takes no more. Or each commit whatever it holds."""

    refused = 0
    mended = False
    also_empty = False
    only = b"\r\ne\r\n"  # what a refused commit holds

    async def commit(self, packed: bytes) -> CommitResult:
        """In words of its own."""
        if not self.mended and (self.also_empty or (self.only in packed and b"\r\nd\r\n" not in packed)):
            self.refused += 1
            raise SinkFault(FaultKind.REFUSED, "an error that nobody has ever heard of: never heard of")
        return await super().commit(packed)


async def test_many_large_events_in_a_row_are_all_set_aside(
    simulator: Simulator, session: SimulatedSession, redis_server: RedisServer
) -> None:
    """Their size explains it: a row of them says nothing against the session."""
    session.generate(15, event_bytes=100_000)
    session.generate(3)
    async with limited(simulator, redis_server, max_request_bytes=90_000) as (rig, _):
        running = await rig.run()
        await running.committed(3)
        assert len(await rig.entries(KEYS.dead_letter)) == 15
        assert await running.stopped() == Stopped(left=0)


async def test_small_events_that_are_refused_between_others_are_all_set_aside(
    session: SimulatedSession, rig_of_refusals: tuple[Rig, Everything]
) -> None:
    """More than ten of them, but never in a row: whatever is wrong with them, the session takes the others."""
    rig, sink = rig_of_refusals
    sink.only = b"poison"
    for number in range(28):
        session.emit({"type": "poison" if number % 2 else "t", "n": number})
    running = await rig.run(sink=sink)
    await running.committed(14)
    await until(lambda: running.pump.place.cursor == "28")
    letters = await rig.entries(KEYS.dead_letter)
    assert [letter["truncated"] for letter in letters] == ["0"] * 14
    assert {letter["type"] for letter in letters} == {"poison"}
    assert await seqs(rig) == list(range(1, 15))
    assert await running.stopped() == Stopped(left=0)


async def test_a_takeover_shows_where_a_lone_refused_event_is_asked_after(
    session: SimulatedSession, rig_of_refusals: tuple[Rig, Everything]
) -> None:
    """The commit that carries nothing is fenced, and the event is left to whoever took over."""
    rig, sink = rig_of_refusals
    running = await rig.run(sink=sink)
    await session.wait_connected()
    await rig.redis.hset(KEYS.state, "token", "9-other")
    session.generate(1)
    assert isinstance(await running.outcome(), Fenced)
    assert rig.figures.commits[CommitOutcome.FENCED] == 1
    assert await rig.entries(KEYS.dead_letter) == []


async def test_an_outage_is_told_once_when_it_begins_and_once_when_it_is_over(
    session: SimulatedSession, rig_of_refusals: tuple[Rig, Everything]
) -> None:
    """However many tries it takes, each of which is counted; and sizes are as before again behind it."""
    rig, sink = rig_of_refusals
    sink.also_empty = True
    session.generate(40)
    with capture_logs() as lines:
        running = await rig.run(sink=sink)
        await until(lambda: sink.refused > 30)
        sink.mended = True
        await running.committed(40)
        session.generate(200)
        await running.committed(240)
        await running.stopped()
    told = [line["event"] for line in lines if line["event"] in ("commit.delayed", "commit.recovered")]
    assert told == ["commit.delayed", "commit.recovered"]
    [over] = [line for line in lines if line["event"] == "commit.recovered"]
    assert 0 < over["after_seconds"] < 60
    halvings = sum(line["event"] == "batch.halved" for line in lines)
    assert rig.figures.commits[CommitOutcome.ERROR] == sink.refused - halvings - 1, "a refused size is no outage"
    sizes = [line["events"] for line in lines if line["event"] == "batch.committed"]
    assert sum(sizes) == 240
    assert max(sizes) >= 32


async def test_while_numbers_are_given_out_again_batches_leave_room_for_markers(
    simulator: Simulator, session: SimulatedSession, redis_server: RedisServer
) -> None:
    """One may stand in front of each event; behind the last forgotten number sizes are as before."""
    async with limited(simulator, redis_server, commit={"max_events": 90}) as (rig, _):
        rig.numbers.landed([_event(str(number)) for number in range(1, 121)], 0)
        session.generate(400)
        with capture_logs() as lines:
            running = await rig.run()
            await running.committed(400)
            await running.stopped()
        sizes = [line["events"] for line in lines if line["event"] == "batch.committed"]
        assert (sizes[:4], max(sizes)) == ([30] * 4, 90)
        assert await seqs(rig) == list(range(1, 401))


@pytest.fixture
async def rig_of_refusals(simulator: Simulator, redis_server: RedisServer) -> AsyncIterator[tuple[Rig, Everything]]:
    """All parts, with a sink that refuses."""
    async with rig_of(simulator.base_url, redis_server.url) as rig:
        yield rig, Everything(rig.link, KEYS, SESSION, rig.settings.stream)


async def test_a_refused_handshake_is_not_the_batchs_fault(
    simulator: Simulator, session: SimulatedSession, redis_server: RedisServer
) -> None:
    """A database that does not exist: the batch waits whole, and nothing is set aside."""
    async with (
        rig_of(simulator.base_url, redis_server.url) as rig,
        rig_of(simulator.base_url, f"{redis_server.url.rstrip('/0')}/99") as wrong,
    ):
        session.generate(20)
        sink = RedisSink(wrong.link, KEYS, SESSION, rig.settings.stream)
        running = await rig.run(sink=sink)
        await until(lambda: rig.figures.commits[CommitOutcome.ERROR] > 3)
        assert rig.figures.last_error is not None
        assert "DB index" in rig.figures.last_error
        assert await rig.entries(KEYS.dead_letter) == []
        running.task.cancel()
