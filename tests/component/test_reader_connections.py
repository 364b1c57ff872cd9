"""Connecting, resuming and giving up: what each way a stream can end or be refused leads to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bridge.buffer import Buffer
from bridge.events import START, ConnectOutcome, DisconnectReason, GapReason, Place, Record, Session, SessionState
from bridge.intake import Intake
from bridge.metrics import Metrics
from bridge.outcomes import Active, Closed, Lookup, Over, Refused, Unanswered
from bridge.reader import Reader
from bridge.secrets import Secrets
from bridge.settings import SourceSettings
from bridge.simulator import Closing, Endpoint, LensStatus, Refusal, SimulatedSession, Simulator
from bridge.source import LensSource, OpenSource
from bridge.sse import ServerSentEvent
from bridge.status import SessionStatus
from bridge.window import Window
from tests.component.fakes import until

SESSION = Session(name="line-1", session_id="lsn-1")
QUICK: dict[str, Any] = {
    "api_key": "simulated-key",
    "backoff_initial_seconds": 0.001,
    "backoff_max_seconds": 0.002,
    "backoff_reset_seconds": 0.0,
    "slow_retry_seconds": 0.02,
    "connects_per_second": 5000,
}


class Recorded(LensSource):
    """The real one; it keeps which cursors it was asked to go on after."""

    def __init__(self, settings: SourceSettings) -> None:
        super().__init__(settings, Secrets())
        self.cursors: list[str | None] = []

    async def open(self, session_id: str, cursor: str | None) -> OpenSource | Refused:
        """Note it, and connect."""
        self.cursors.append(cursor)
        return await super().open(session_id, cursor)


@dataclass
class Read:
    """A reader under way, and what it leads to."""

    settings: SourceSettings
    source: Any
    place: Place = START

    def __post_init__(self) -> None:
        metrics = Metrics([SESSION.name]).session(SESSION.name)
        self.status = SessionStatus(session=SESSION, stream_key="lens:{line-1}:events", metrics=metrics)
        self.buffer = Buffer(max_events=10_000, max_bytes=10_000_000)
        reader = Reader(
            session=SESSION,
            source=self.source,
            intake=Intake(place=self.place, window=Window(100), secrets=Secrets()),
            buffer=self.buffer,
            status=self.status,
            settings=self.settings,
        )
        self.task = asyncio.create_task(reader.run())
        self.taken: list[Record] = []

    def records(self) -> list[Record]:
        """All that was put into the buffer so far."""
        self.taken += self.buffer.take(100_000, 1 << 30)
        return self.taken

    async def got(self, count: int) -> list[Record]:
        """The same, once there are so many."""
        await until(lambda: len(self.records()) >= count or self.task.done())
        return self.taken

    async def over(self) -> str:
        """Why it ended."""
        async with asyncio.timeout(20):
            return await self.task

    @property
    def connects(self) -> dict[ConnectOutcome, int]:
        """Attempts so far, by outcome."""
        return {outcome: count for outcome, count in self.status.metrics.connects.items() if count}


Start = Callable[..., Awaitable[Read]]


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
async def start(simulator: Simulator) -> AsyncIterator[Start]:
    """Start readers; they are cancelled at the end."""
    started: list[Read] = []
    async with AsyncExitStack() as stack:

        async def make(place: Place = START, source: Any = None, **changes: Any) -> Read:
            settings = SourceSettings.model_validate(QUICK | {"base_url": simulator.base_url} | changes)
            used = source or await stack.enter_async_context(Recorded(settings))
            started.append(Read(settings=settings, source=used, place=place))
            return started[-1]

        yield make
        for one in started:
            one.task.cancel()
        await asyncio.gather(*(one.task for one in started), return_exceptions=True)


def gaps(records: list[Record]) -> list[str]:
    """The reasons of the gap markers."""
    return [json.loads(record.data)["reason"] for record in records if record.type == "bridge.gap"]


def keys(records: list[Record]) -> list[str]:
    """The keys of the events."""
    return [record.key for record in records if not record.type.startswith("bridge.")]


# `sse.stream.end`


async def test_end_of_a_living_session_is_no_end(start: Start, session: SimulatedSession) -> None:
    """Idle streams are ended by the server after a minute: it goes on where it was."""
    read = await start()
    session.generate(2)
    await read.got(2)
    session.drop(Closing.END)
    session.generate(2)
    assert keys(await read.got(4)) == ["1", "2", "3", "4"]
    assert read.status.metrics.disconnects[DisconnectReason.END] == 1
    assert read.source.cursors == [None, "2"]


@pytest.mark.parametrize("status", [LensStatus.FAILED, LensStatus.DESTROYED])
async def test_end_of_a_session_that_is_over_is_the_end(
    start: Start, session: SimulatedSession, status: LensStatus
) -> None:
    """With the status it has come to."""
    session.change(metadata_lists_destroyed=True)
    read = await start()
    await session.wait_connected()
    session.set_status(status)
    session.drop(Closing.END)
    assert status.value in await read.over()


async def test_end_while_nobody_answers_for_the_session_is_no_end(
    start: Start, simulator: Simulator, session: SimulatedSession
) -> None:
    """Giving up needs an answer; no answer is a reason to try again."""
    read = await start()
    simulator.refuse(Refusal(status=500, endpoint=Endpoint.METADATA), 3)
    for connection in (1, 2, 3):
        await until(lambda: len(session.connections) == connection and session.readers)  # noqa: B023
        session.drop(Closing.END)
    await until(lambda: len(session.connections) == 4)
    assert not read.task.done()
    assert "500" in (read.status.last_error or "")


async def test_end_is_the_end_where_it_is_said_to_be(
    start: Start, simulator: Simulator, session: SimulatedSession
) -> None:
    """source.on_end: stop asks nobody."""
    read = await start(on_end="stop")
    await session.wait_connected()
    session.drop(Closing.END)
    assert await read.over() == "end"
    assert simulator.requests(Endpoint.METADATA) == 0


async def test_end_is_never_the_end_where_it_is_said_to_be_none(
    start: Start, simulator: Simulator, session: SimulatedSession
) -> None:
    """source.on_end: reconnect asks nobody either."""
    read = await start(on_end="reconnect")
    await session.wait_connected()
    session.drop(Closing.END)
    await until(lambda: len(session.connections) == 2)
    assert simulator.requests(Endpoint.METADATA) == 0
    assert not read.task.done()


# Other ends


@pytest.mark.parametrize("closing", [Closing.CLEAN, Closing.CUT, Closing.RESET])
async def test_any_other_end_is_followed_by_a_reconnect_after_the_last_event(
    start: Start, simulator: Simulator, session: SimulatedSession, closing: Closing
) -> None:
    """Nothing is asked, nothing is lost, and there is no gap."""
    read = await start()
    session.generate(3)
    await read.got(3)
    session.drop(closing)
    session.generate(3)
    assert keys(await read.got(6)) == ["1", "2", "3", "4", "5", "6"]
    assert gaps(read.taken) == []
    assert read.source.cursors[-1] == "3"
    assert simulator.requests(Endpoint.METADATA) == 0


async def test_the_first_connection_goes_on_after_the_committed_place(start: Start, session: SimulatedSession) -> None:
    """Not from the beginning."""
    session.generate(5)
    read = await start(Place(cursor="3", seq=3, commits=1))
    assert keys(await read.got(2)) == ["4", "5"]


async def test_no_content_is_the_end(start: Start, simulator: Simulator, session: SimulatedSession) -> None:
    """204 is the standard's word for it."""
    simulator.refuse(Refusal(status=204))
    assert await (await start()).over() == "no_content"


async def test_cancelling_closes_the_connection(start: Start, session: SimulatedSession) -> None:
    """And counts it as left."""
    read = await start()
    await until(lambda: read.status.state is SessionState.STREAMING)
    read.task.cancel()
    await asyncio.wait({read.task})
    await session.wait_disconnected()
    assert read.status.metrics.disconnects[DisconnectReason.LEFT] == 1


# Refusals


async def test_a_session_that_nobody_knows_is_gone(start: Start) -> None:
    """404, and the metadata endpoint does not list it either."""
    assert await (await start()).over() == "gone"


async def test_a_404_for_a_living_session_is_tried_again(
    start: Start, simulator: Simulator, session: SimulatedSession
) -> None:
    """The endpoint may not have heard of it yet."""
    simulator.refuse(Refusal(status=404), 1)
    session.generate(1)
    read = await start()
    assert keys(await read.got(1)) == ["1"]
    assert read.connects == {ConnectOutcome.NOT_FOUND: 1, ConnectOutcome.OK: 1}


@pytest.mark.parametrize("status", [400, 404])
async def test_a_cursor_that_the_server_keeps_refusing_is_left_out_and_the_gap_marked(
    start: Start, session: SimulatedSession, status: int
) -> None:
    """Not at the first refusal where that may pass; once; and from then on the new ids count."""
    session.change(unknown_cursor="refuse", unknown_cursor_status=status)
    session.generate(3)
    read = await start(Place(cursor="unknown", seq=9, commits=1))
    assert keys(await read.got(4)) == ["1", "2", "3"]
    assert gaps(read.taken) == ["cursor_unknown"]
    assert read.status.metrics.gaps[GapReason.CURSOR_UNKNOWN] == 1
    session.drop()
    session.generate(1)
    assert keys(await read.got(5)) == ["1", "2", "3", "4"]
    assert list(dict.fromkeys(read.source.cursors)) == ["unknown", None, "3"]
    assert read.source.cursors.count(None) == 1


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (409, ConnectOutcome.NOT_READY),
        (429, ConnectOutcome.RATE_LIMITED),
        (500, ConnectOutcome.SERVER_ERROR),
        (503, ConnectOutcome.SERVER_ERROR),
        (418, ConnectOutcome.REJECTED),
    ],
)
async def test_a_refusal_that_can_pass_is_waited_out(
    start: Start, simulator: Simulator, session: SimulatedSession, status: int, outcome: ConnectOutcome
) -> None:
    """As often as it comes, and it is shown."""
    simulator.refuse(Refusal(status=status, body='{"detail": "wait"}'), 3)
    session.generate(1)
    read = await start()
    assert keys(await read.got(1)) == ["1"]
    assert read.connects == {outcome: 3, ConnectOutcome.OK: 1}
    assert "wait" in (read.status.last_error or "")


async def test_an_error_in_the_shape_of_an_answer_is_confirmed_before_it_ends_a_session(
    start: Start, simulator: Simulator, session: SimulatedSession
) -> None:
    """200 with JSON."""
    simulator.refuse(Refusal(status=200, body='{"type": "error", "message": "Unknown session id: lsn-1"}'), 1)
    session.generate(1)
    read = await start()
    assert keys(await read.got(1)) == ["1"]
    assert read.connects[ConnectOutcome.BAD_RESPONSE] == 1


async def test_a_rejected_key_is_tried_again_at_once_when_it_changes(
    start: Start, session: SimulatedSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state says what to mend; a mended file is found long before slow_retry_seconds."""
    monkeypatch.setattr("bridge.reader._KEY_POLL_SECONDS", 0.01)
    file = tmp_path / "key"
    file.write_text("a-wrong-key")
    session.generate(1)
    read = await start(api_key=None, api_key_file=file, slow_retry_seconds=3600)
    await until(lambda: read.status.state is SessionState.UNAUTHORIZED)
    assert "source.api_key" in (read.status.last_error or "")
    file.write_text("simulated-key")
    assert keys(await read.got(1)) == ["1"]
    assert read.connects == {ConnectOutcome.UNAUTHORIZED: 1, ConnectOutcome.OK: 1}


async def test_a_rejected_key_is_tried_again_slowly_where_it_stays(
    start: Start, simulator: Simulator, session: SimulatedSession
) -> None:
    """It may be the server that is mended."""
    session.generate(1)
    read = await start(api_key="not-valid-yet")
    await until(lambda: read.connects.get(ConnectOutcome.UNAUTHORIZED, 0) > 2)
    simulator.api_keys.append("not-valid-yet")
    assert keys(await read.got(1)) == ["1"]


# A source that is told what to answer, for what no server can be made to do in time


@dataclass
class Scripted:
    """Opens as told, then hangs."""

    answers: list[Any]
    lookups: list[Lookup] = field(default_factory=list)
    opens: int = 0

    async def open(self, session_id: str, cursor: str | None) -> Any:
        """The next answer."""
        self.opens += 1
        if self.opens > len(self.answers):
            await asyncio.Event().wait()
        return self.answers[self.opens - 1]

    async def lookup(self, session_id: str) -> Lookup:
        """The next answer."""
        return self.lookups.pop(0)

    def key_changed(self) -> bool:
        """Never."""
        return False


@dataclass
class Opened:
    """A connection that brings these, one by one, and then closes."""

    chunks: list[list[ServerSentEvent]]
    resumed: bool = True
    retry_floor_seconds: float = 0.0
    bytes_received: int = 0
    closed: bool = False

    async def read(self) -> list[ServerSentEvent] | Closed:
        """The next chunk."""
        if not self.chunks:
            return Closed(reason=DisconnectReason.CLOSED)
        self.bytes_received += 10
        return self.chunks.pop(0)

    async def aclose(self) -> None:
        """Noted."""
        self.closed = True


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, float]]:
    """Every wait before a reconnect: the attempt it counts, and the floor. They take no time."""
    found: list[tuple[int, float]] = []

    def delay(self: Any, random: object, floor_seconds: float = 0.0) -> float:
        found.append((self.attempt, floor_seconds))
        return 0.0

    monkeypatch.setattr("bridge.reader.Backoff.delay", delay)
    return found


def refused(outcome: ConnectOutcome = ConnectOutcome.SERVER_ERROR, retry_after: float | None = None) -> Refused:
    """An answer."""
    return Refused(outcome=outcome, detail="no", status=500, retry_after_seconds=retry_after)


async def ran(start: Start, scripted: Scripted, **changes: Any) -> Read:
    """A reader that has been through all answers."""
    read = await start(source=scripted, **changes)
    await until(lambda: scripted.opens > len(scripted.answers) or read.task.done())
    return read


async def test_waits_grow_from_failure_to_failure(start: Start, waits: list[tuple[int, float]]) -> None:
    """And closing without a byte is one."""
    await ran(start, Scripted([refused(), Opened([]), refused(), refused()]))
    assert [attempt for attempt, _ in waits] == [0, 1, 2, 3]


async def test_waits_begin_anew_after_a_connection_that_brought_something(
    start: Start, waits: list[tuple[int, float]]
) -> None:
    """Where it also stayed open for long enough."""
    await ran(start, Scripted([refused(), refused(), Opened([[]]), refused()]))
    assert [attempt for attempt, _ in waits] == [0, 1, 0, 1]


async def test_a_connection_that_closes_at_once_does_not_begin_anew(
    start: Start, waits: list[tuple[int, float]]
) -> None:
    """A server that accepts and drops must not be hammered."""
    await ran(start, Scripted([refused(), Opened([[]]), Opened([[]]), Opened([[]])]), backoff_reset_seconds=3600)
    assert [attempt for attempt, _ in waits] == [0, 1, 2, 3]


async def test_what_the_server_asks_for_is_a_floor_within_reason(start: Start, waits: list[tuple[int, float]]) -> None:
    """Retry-After, at most ten minutes; `retry:`, at most slow_retry_seconds."""
    answers = [
        refused(retry_after=7.0),
        refused(retry_after=86_400.0),
        Opened([], retry_floor_seconds=3.0),
        Opened([], retry_floor_seconds=86_400.0),
        refused(),
    ]
    await ran(start, Scripted(answers), slow_retry_seconds=60)
    assert [floor for _, floor in waits] == [7.0, 600.0, 3.0, 60.0, 0.0]


async def test_every_connection_is_closed(start: Start, waits: list[tuple[int, float]]) -> None:
    """However it ended."""
    connections = [Opened([[]]), Opened([])]
    await ran(start, Scripted([*connections, refused()]))
    assert all(connection.closed for connection in connections)


def event(number: int, id: str | None) -> ServerSentEvent:
    """A lens event."""
    return ServerSentEvent("message", b'{"type":"t","n":%d}' % number, id, id or "")


async def test_a_fresh_connection_behind_an_id_that_cannot_be_sent_is_a_gap(
    start: Start, waits: list[tuple[int, float]]
) -> None:
    """And no second one while nothing comes in between."""
    read = await ran(start, Scripted([Opened([[event(1, "a\x0bb")]]), *(Opened([], resumed=False) for _ in range(3))]))
    assert gaps(read.records()) == ["cursor_unsendable"]


async def test_a_fresh_connection_where_there_are_no_ids_is_a_gap(start: Start, waits: list[tuple[int, float]]) -> None:
    """Each time that something had come before."""
    fresh = [Opened([[event(number, None)]], resumed=False) for number in (1, 2, 3)]
    read = await ran(start, Scripted(fresh))
    assert gaps(read.records()) == ["no_cursor", "no_cursor"]


async def test_the_first_connection_of_a_new_session_is_no_gap(start: Start, waits: list[tuple[int, float]]) -> None:
    """There was nothing to miss."""
    read = await ran(start, Scripted([refused(), Opened([], resumed=False), refused()]))
    assert gaps(read.records()) == []


@pytest.mark.parametrize(
    ("lookup", "over"),
    [(Over(status="unknown"), "gone"), (Over(status="FAILED"), "FAILED"), (Active(status="RUNNING"), None)],
)
@pytest.mark.parametrize("outcome", [ConnectOutcome.NOT_FOUND, ConnectOutcome.REJECTED, ConnectOutcome.BAD_RESPONSE])
async def test_a_refusal_that_may_be_final_asks_after_the_session(
    start: Start, waits: list[tuple[int, float]], outcome: ConnectOutcome, lookup: Lookup, over: str | None
) -> None:
    """And believes the answer."""
    read = await ran(start, Scripted([refused(outcome), refused()], [lookup]))
    assert (await read.over() if read.task.done() else None) == over


async def test_no_answer_about_a_session_keeps_it(start: Start, waits: list[tuple[int, float]]) -> None:
    """However often."""
    scripted = Scripted([refused(ConnectOutcome.NOT_FOUND)] * 5, [Unanswered(detail="broken")] * 5)
    read = await ran(start, scripted)
    assert not read.task.done()
    assert read.status.last_error == "broken"


async def test_a_key_that_is_rejected_when_asking_after_the_session_ends_nothing(
    start: Start, waits: list[tuple[int, float]]
) -> None:
    """The same key may still be good for the stream."""
    scripted = Scripted([Opened([]), refused(ConnectOutcome.NOT_FOUND)], [Unanswered(detail="no")])
    assert not (await ran(start, scripted)).task.done()


async def test_the_states_tell_what_it_does(start: Start, simulator: Simulator, session: SimulatedSession) -> None:
    """Connecting, streaming; waiting between two connections."""
    simulator.change(answer_delay_seconds=0.05)
    read = await start(backoff_initial_seconds=10.0, backoff_max_seconds=10.0)
    await until(lambda: read.status.state is SessionState.CONNECTING)
    await until(lambda: read.status.state is SessionState.STREAMING)
    await simulator.stop_accepting()
    simulator.drop_all()
    await until(lambda: read.status.state is SessionState.WAITING)
