"""One session from a simulated lens API into a real Redis, until there is a reason to end."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from bridge.delivery.window import Seal
from bridge.errors import FaultKind, SinkFault
from bridge.lab.redis_server import RedisServer
from bridge.lab.simulator import Closing, Drop, LensStatus, SimulatedSession, Simulator
from bridge.model.labels import CommitOutcome, DeadLetterReason, GapReason, Phase, SessionState
from bridge.model.outcomes import CommitResult, Fenced, Lost, RolledBack
from bridge.model.place import Place
from bridge.model.records import Piece
from bridge.session.pump import Ended, Stopped
from bridge.store.commits import RedisSink
from tests.support.awaited_sink import AwaitedSink
from tests.support.fakes import until
from tests.support.pump_rig import KEYS, SESSION, Rig, Running, rig_of
from tests.support.scripted_source import ScriptedSource, loose


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """Without heartbeats."""
    async with Simulator() as running:
        running.change(heartbeat_interval_seconds=0)
        yield running


@pytest.fixture
def session(simulator: Simulator) -> SimulatedSession:
    """The one that is read."""
    return simulator.create_session("lsn-1")


@pytest.fixture
async def rig(simulator: Simulator, redis_server: RedisServer) -> AsyncIterator[Rig]:
    """All parts."""
    async with rig_of(simulator.base_url, redis_server.url) as made:
        yield made


@pytest.fixture
async def running(rig: Rig, session: SimulatedSession) -> Running:
    """A pump that reads the session."""
    return await rig.run()


class Refusing(AwaitedSink):
    """The real sink behind a gate: it refuses what the test says."""

    def __init__(self, sink: RedisSink) -> None:
        self.sink = sink
        self.fault: SinkFault | None = None
        self.tries = 0
        self.largest = 10**9

    def pack(
        self,
        token: str,
        place: Place,
        after: Place,
        batch: Sequence[Piece],
        seal: Seal,
        phase: Phase,
        traceparent: str = "",
    ) -> bytes:
        """The same bytes."""
        return self.sink.pack(token, place, after, batch, seal, phase, traceparent)

    async def commit(self, packed: bytes) -> CommitResult:
        """Refuse, or pass on."""
        self.tries += 1
        if self.fault:
            raise self.fault
        if len(packed) > self.largest:
            raise SinkFault(FaultKind.TOO_LARGE, "over the limit")
        return await self.sink.commit(packed)


async def destroyed(session: SimulatedSession) -> None:
    """Destroy it once its events have been sent."""
    await session.wait_connected()
    await session.wait_caught_up()
    session.destroy()


def refusing(rig: Rig) -> Refusing:
    """A gate in front of the rig's Redis."""
    return Refusing(RedisSink(rig.link, KEYS, SESSION, rig.settings.stream))


# Reading and committing


async def test_what_is_emitted_lands_once_and_in_order(running: Running, session: SimulatedSession, rig: Rig) -> None:
    """Over drops at any place."""
    Drop(after_events=7, repeat=True, closing=Closing.CUT).apply(session)
    session.generate(100)
    await running.committed(100)
    assert await rig.ids() == [entry.id for entry in session.record]
    assert [int(entry["seq"]) for entry in await rig.entries()] == list(range(1, 101))
    assert await rig.markers() == []


async def test_the_place_is_the_committed_one(running: Running, session: SimulatedSession) -> None:
    """Also after the run."""
    session.generate(5)
    await running.committed(5)
    assert await running.stopped() == Stopped(left=0)
    assert (running.pump.place.cursor, running.pump.place.seq) == ("5", 5)


async def test_the_window_is_no_larger_than_configured_here_and_in_redis(
    simulator: Simulator, session: SimulatedSession, redis_server: RedisServer
) -> None:
    """What falls out of it is forgotten on both sides with the same commit."""
    async with rig_of(simulator.base_url, redis_server.url, dedupe={"window_events": 20}) as rig:
        running = await rig.run()
        for count in range(1, 41):
            session.generate(1)
            await running.committed(count)
        assert rig.figures.commits[CommitOutcome.OK] == 40
        assert await running.stopped() == Stopped(left=0)
        assert len(running.pump.window) == 20
        stored: Any = await rig.redis.lrange(KEYS.seen, 0, -1)
        assert stored == list(running.pump.window.blobs())


# Stopping


async def test_a_stop_commits_what_was_read(rig: Rig, session: SimulatedSession) -> None:
    """It had stood still in front of a Redis that was away, and now it is back."""
    gate = refusing(rig)
    gate.fault = SinkFault(FaultKind.UNREACHABLE, "away")
    running = await rig.run(sink=gate)
    session.generate(50)
    await until(lambda: gate.tries > 2)
    running.pump.stop()
    gate.fault = None
    assert await running.outcome() == Stopped(left=0)
    assert await rig.ids() == [entry.id for entry in session.record][: running.pump.place.seq]
    await session.wait_disconnected()


async def test_a_stop_returns_within_the_grace_period(
    simulator: Simulator, session: SimulatedSession, redis_server: RedisServer
) -> None:
    """With what was left, which the server still has."""
    async with rig_of(simulator.base_url, redis_server.url, worker={"grace_period_seconds": 0.05}) as rig:
        gate = refusing(rig)
        gate.fault = SinkFault(FaultKind.UNREACHABLE, "away")
        running = await rig.run(sink=gate)
        for number in range(8):
            session.emit({"type": "mine", "n": number})
        await until(lambda: rig.figures.events_received["other"] == 8)
        assert await running.stopped() == Stopped(left=8)
        assert await rig.ids() == []


async def test_a_stop_returns_when_it_is_told_to_however_long_the_grace_period(
    rig: Rig, session: SimulatedSession
) -> None:
    """A worker that stops has one deadline for all its sessions."""
    gate = refusing(rig)
    gate.fault = SinkFault(FaultKind.UNREACHABLE, "away")
    running = await rig.run(sink=gate)
    session.generate(8)
    await until(lambda: rig.figures.events_received["other"] + gate.tries > 2)
    running.pump.stop(until=time.monotonic())
    began = time.monotonic()
    outcome = await running.outcome()
    assert isinstance(outcome, Stopped)
    assert outcome.left > 0
    assert time.monotonic() - began < rig.settings.worker.grace_period_seconds / 2


async def test_an_interrupt_drops_all_and_returns_at_once(rig: Rig, session: SimulatedSession) -> None:
    """The place is another's now, and nothing more is sent."""
    gate = refusing(rig)
    gate.fault = SinkFault(FaultKind.UNREACHABLE, "away")
    running = await rig.run(sink=gate)
    session.generate(3)
    await until(lambda: gate.tries > 1)
    running.pump.interrupt(Fenced(commits=0))
    assert await running.outcome() == Fenced(commits=0)
    tries = gate.tries
    gate.fault = None
    await session.wait_disconnected()
    assert gate.tries == tries
    assert await rig.ids() == []


async def test_cancelling_leaves_neither_task_nor_connection(running: Running, session: SimulatedSession) -> None:
    """As at the end of a process."""
    await session.wait_connected()
    running.task.cancel()
    await asyncio.wait({running.task})
    await session.wait_disconnected()
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert not any(name.endswith("line-1") for name in names)


# Losing the place


async def test_a_takeover_ends_it(running: Running, session: SimulatedSession, rig: Rig) -> None:
    """With its next commit, of which nothing lands."""
    session.generate(3)
    await running.committed(3)
    await rig.redis.hset(KEYS.state, "token", "9-other")
    session.generate(1)
    assert isinstance(await running.outcome(), Fenced)
    assert len(await rig.ids()) == 3


async def test_a_rollback_ends_it(running: Running, session: SimulatedSession, rig: Rig) -> None:
    """It knows how far Redis went back."""
    session.generate(3)
    await running.committed(3)
    await rig.redis.hset(KEYS.state, "commits", 0)
    session.generate(1)
    assert await running.outcome() == RolledBack(commits=0)
    commits = rig.figures.commits
    assert commits[CommitOutcome.ROLLED_BACK] == 1
    assert 1 <= commits[CommitOutcome.OK] <= 3


async def test_an_emptied_redis_ends_it(running: Running, session: SimulatedSession, rig: Rig) -> None:
    """Nothing is written into it unasked."""
    session.generate(3)
    await running.committed(3)
    await rig.redis.flushall()
    session.generate(1)
    assert await running.outcome() == Lost()
    assert await rig.redis.keys() == []


# The end of a session


async def test_a_session_that_is_over_leaves_a_marker_and_its_phase(
    running: Running, session: SimulatedSession, rig: Rig
) -> None:
    """Both in the last commit, behind the last event."""
    session.generate(3)
    await destroyed(session)
    assert await running.outcome() == Ended(reason="unknown", gone=False)
    *events, marker = await rig.entries()
    assert [entry["id"] for entry in events] == ["1", "2", "3"]
    assert (marker["type"], json.loads(marker["data"])) == ("bridge.session.ended", {"reason": "unknown"})
    assert marker["seq"] == "3", "a marker takes no number"
    assert marker["id"].startswith("bridge-")
    assert await rig.phase() == "ended"


async def test_without_markers_only_the_phase_tells(
    simulator: Simulator, session: SimulatedSession, redis_server: RedisServer
) -> None:
    """stream.markers is off."""
    async with rig_of(simulator.base_url, redis_server.url, stream={"markers": False}) as rig:
        running = await rig.run()
        session.generate(3)
        await destroyed(session)
        assert isinstance(await running.outcome(), Ended)
        assert (await rig.markers(), await rig.phase()) == ([], "ended")


async def test_a_session_that_never_was_is_gone_without_a_marker(
    simulator: Simulator, redis_server: RedisServer
) -> None:
    """There is nothing that could end; the phase says it all the same."""
    async with rig_of(simulator.base_url, redis_server.url) as rig:
        running = await rig.run()
        assert await running.outcome() == Ended(reason="gone", gone=True)
        assert await rig.entries() == []
        assert await rig.phase() == "gone"


async def test_a_session_that_was_over_is_only_looked_at(running: Running, session: SimulatedSession, rig: Rig) -> None:
    """No second marker, no connection."""
    session.generate(1)
    await destroyed(session)
    await running.outcome()
    connections = len(session.connections)
    again = await rig.run()
    assert await again.outcome() == Ended(reason="unknown", gone=False)
    assert len(session.connections) == connections
    assert await rig.markers() == ["bridge.session.ended"]


async def test_a_session_that_lives_again_is_read_again(running: Running, session: SimulatedSession, rig: Rig) -> None:
    """The phase becomes active with the next commit."""
    session.generate(2)
    await running.committed(2)
    session.set_status(LensStatus.FAILED)
    session.drop(Closing.END)
    assert isinstance(await running.outcome(), Ended)
    session.set_status(LensStatus.RUNNING)
    again = await rig.run()
    session.generate(1)
    await again.committed(3)
    assert await again.stopped() == Stopped(left=0)
    assert await rig.ids() == ["1", "2", "3"]
    assert await rig.phase() == "active"


async def test_the_end_of_a_session_waits_for_redis(
    simulator: Simulator, session: SimulatedSession, redis_server: RedisServer
) -> None:
    """As long as it takes, past any grace period: nobody else will write it."""
    async with rig_of(simulator.base_url, redis_server.url, worker={"grace_period_seconds": 0.01}) as rig:
        gate = refusing(rig)
        gate.fault = SinkFault(FaultKind.UNREACHABLE, "away")
        running = await rig.run(sink=gate)
        session.generate(3)
        await destroyed(session)
        await until(lambda: gate.tries > 20)
        assert not running.task.done()
        gate.fault = None
        assert isinstance(await running.outcome(), Ended)
        assert await rig.markers() == ["bridge.session.ended"]


# What Redis refuses


async def test_a_record_that_redis_refuses_for_ever_is_set_apart_and_the_rest_goes_on(
    rig: Rig, session: SimulatedSession
) -> None:
    """In the middle of a batch, with the order kept and no hole in seq."""
    gate = refusing(rig)
    gate.largest = 100_000
    session.generate(5)
    session.emit({"type": "huge", "pad": "x" * 200_000})
    session.generate(5)
    running = await rig.run(sink=gate)
    await running.committed(10)
    assert await running.stopped() == Stopped(left=0)
    assert await rig.ids() == ["1", "2", "3", "4", "5", "7", "8", "9", "10", "11"]
    assert [int(entry["seq"]) for entry in await rig.entries()] == list(range(1, 11))
    [letter] = await rig.entries(KEYS.dead_letter)
    assert (letter["id"], letter["type"], letter["reason"]) == ("6", "huge", "rejected")
    assert (letter["truncated"], len(letter["data"])) == ("1", 65536)
    assert rig.figures.dead_letters[DeadLetterReason.REJECTED] == 1


async def test_a_dead_letter_that_is_itself_too_large_is_cut_until_it_fits(
    simulator: Simulator, session: SimulatedSession, redis_server: RedisServer
) -> None:
    """max_dead_letter_bytes may be set to more than Redis takes."""
    async with rig_of(simulator.base_url, redis_server.url, stream={"max_dead_letter_bytes": 500_000}) as rig:
        gate = refusing(rig)
        gate.largest = 100_000
        session.emit({"type": "huge", "pad": "x" * 400_000})
        session.generate(1)
        running = await rig.run(sink=gate)
        await running.committed(1)
        [letter] = await rig.entries(KEYS.dead_letter)
        assert letter["truncated"] == "1"
        assert 40_000 < len(letter["data"]) < 100_000
        assert await running.stopped() == Stopped(left=0)


async def test_a_refused_record_in_the_last_batch_does_not_lose_the_end(rig: Rig, session: SimulatedSession) -> None:
    """The phase goes with whatever commit turns out to be the last."""
    gate = refusing(rig)
    gate.largest = 100_000
    gate.fault = SinkFault(FaultKind.UNREACHABLE, "away")
    running = await rig.run(sink=gate)
    session.generate(1)
    await until(lambda: gate.tries > 1)
    session.emit({"type": "huge", "pad": "x" * 200_000})  # behind the commit under way: all of it is one batch
    session.generate(3)
    await destroyed(session)
    await until(lambda: running.pump._buffer.closed)
    gate.fault = None
    assert isinstance(await running.outcome(), Ended)
    assert await rig.ids() == ["1", "3", "4", "5"]
    assert (await rig.markers(), await rig.phase()) == (["bridge.session.ended"], "ended")


async def test_a_lone_refused_record_at_the_end_does_not_lose_it_either(
    simulator: Simulator, session: SimulatedSession, redis_server: RedisServer
) -> None:
    """Without markers it is itself the last commit."""
    async with rig_of(simulator.base_url, redis_server.url, stream={"markers": False}) as rig:
        gate = refusing(rig)
        gate.largest = 100_000
        gate.fault = SinkFault(FaultKind.UNREACHABLE, "away")
        running = await rig.run(sink=gate)
        session.generate(1)
        await until(lambda: gate.tries > 1)
        session.emit({"type": "huge", "pad": "x" * 200_000})
        await destroyed(session)
        await until(lambda: running.pump._buffer.closed)
        gate.fault = None
        assert isinstance(await running.outcome(), Ended)
        assert await rig.phase() == "ended"
        assert len(await rig.entries(KEYS.dead_letter)) == 1


async def test_an_outage_shows_and_is_over_when_it_is_over(rig: Rig, session: SimulatedSession) -> None:
    """Backpressured while Redis refuses; streaming again after it, also where a refused record came out of it."""
    gate = refusing(rig)
    gate.largest = 100_000
    running = await rig.run(sink=gate)
    session.generate(1)
    await running.committed(1)
    gate.fault = SinkFault(FaultKind.OUT_OF_MEMORY, "it is full")
    session.emit({"type": "huge", "pad": "x" * 200_000})
    await until(lambda: rig.figures.state is SessionState.BACKPRESSURED)
    assert rig.figures.last_error == "it is full"
    gate.fault = None
    session.generate(1)
    await running.committed(2)
    await until(lambda: rig.figures.state is SessionState.STREAMING)
    assert await running.stopped() == Stopped(left=0)


async def test_a_full_buffer_stops_the_reading_and_costs_nothing(
    simulator: Simulator, session: SimulatedSession, redis_server: RedisServer
) -> None:
    """The server is pushed back; when Redis is there again all of it lands."""
    async with rig_of(simulator.base_url, redis_server.url, commit={"buffer_events": 10, "max_events": 5}) as rig:
        gate = refusing(rig)
        gate.fault = SinkFault(FaultKind.UNREACHABLE, "away")
        running = await rig.run(sink=gate)
        session.generate(20_000)
        await until(lambda: rig.figures.buffer_events >= 10 and gate.tries > 1)
        await until(lambda: rig.figures.state is SessionState.BACKPRESSURED)
        received = rig.figures.events_received.copy()
        tries = gate.tries
        await until(lambda: gate.tries > tries + 10)
        assert rig.figures.events_received == received, "it reads on"
        gate.fault = None
        await running.committed(20_000)
        assert rig.figures.backpressure_seconds > 0
        assert await rig.redis.xlen(KEYS.events) == 20_000
        assert await running.stopped() == Stopped(left=0)


# Gaps


async def test_a_gap_that_is_known_from_the_start_is_marked_first(rig: Rig, session: SimulatedSession) -> None:
    """Redis was emptied, and the place set up again."""
    running = await rig.run(GapReason.STATE_LOST)
    session.generate(1)
    await running.committed(1)
    first, _ = await rig.entries()
    assert (first["type"], json.loads(first["data"])["reason"]) == ("bridge.gap", "state_lost")
    assert rig.figures.gaps[GapReason.STATE_LOST] == 1
    await running.stopped()


async def test_the_key_in_an_event_is_masked_before_it_is_stored(rig: Rig, session: SimulatedSession) -> None:
    """Whatever the server echoes."""
    running = await rig.run()
    session.emit({"type": "t", "api_key": "simulated-key"})
    await running.committed(1)
    found: Any = await rig.entries()
    assert "simulated-key" not in str(found)
    assert "**********" in found[0]["data"]
    await running.stopped()


async def test_the_first_dead_letter_of_each_reason_is_told(rig: Rig, session: SimulatedSession) -> None:
    """With what is wrong; the others are counted."""
    with capture_logs() as lines:
        running = await rig.run()
        for data in ("[1]", "[2]", "no json"):
            session.emit(data)
        await until(lambda: sum(rig.figures.dead_letters.values()) == 3)
        await running.stopped()
    told = [line for line in lines if line["event"] == "event.dead_lettered"]
    assert [(line["log_level"], line["reason"]) for line in told] == [
        ("warning", "missing_type"),
        ("warning", "invalid_json"),
    ]
    assert told[0]["detail"] == "the payload is not a JSON object"


async def test_events_without_an_id_that_are_held_at_a_stop_are_committed(rig: Rig) -> None:
    """Whether they are a replay is undecided; without ids the promise is at least once."""
    a, b, c = (b'{"type":"t","n":%d}' % n for n in range(3))
    source: Any = ScriptedSource([loose(a, b, c)], [loose(a, b)])
    rig.source = source
    running = await rig.run()
    await source.all_read.wait()
    assert await running.stopped() == Stopped(left=0)
    assert [entry["data"].encode() for entry in await rig.entries() if entry["type"] == "t"] == [a, b, c, a, b]
