"""Connecting, resuming and giving up: what each way a stream can end or be refused leads to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from structlog.testing import capture_logs

from bridge.backoff import Backoff
from bridge.delivery.batch import records_in
from bridge.delivery.filters import Selection
from bridge.delivery.intake import Intake
from bridge.delivery.window import Window
from bridge.lab.simulator import Closing, Endpoint, LensStatus, Refusal, SimulatedSession, Simulator
from bridge.masking import Secrets
from bridge.model.labels import ConnectOutcome, DisconnectReason, GapReason, SessionState, SkipReason
from bridge.model.outcomes import Active, Closed, Lookup, Over, Refused, Unanswered
from bridge.model.place import START, Place, Session
from bridge.model.records import PlainEvents, Record
from bridge.session.buffer import Buffer
from bridge.session.reader import Reader
from bridge.settings import SourceSettings
from bridge.source.client import LensClient
from bridge.source.sse import ServerSentEvent
from bridge.source.stream import LensStream
from bridge.telemetry.figures import SessionFigures
from tests.support.fakes import until
from tests.support.scripted_source import ScriptedSource, loose

SESSION = Session(name="line-1", session_id="lsn-1")
QUICK: dict[str, Any] = {
    "api_key": "simulated-key",
    "backoff_initial_seconds": 0.001,
    "backoff_max_seconds": 0.002,
    "backoff_reset_seconds": 0.0,
    "slow_retry_seconds": 0.02,
    "connects_per_second": 5000,
}


class Recorded(LensClient):
    """The real one; it keeps which cursors it was asked to go on after."""

    def __init__(self, settings: SourceSettings) -> None:
        super().__init__(settings, Secrets(), key_poll_seconds=0.01)
        self.cursors: list[str | None] = []

    async def open(self, session_id: str, cursor: str | None) -> LensStream | Refused:
        """Note it, and connect."""
        self.cursors.append(cursor)
        return await super().open(session_id, cursor)


@dataclass
class Read:
    """A reader under way, and what it leads to."""

    settings: SourceSettings
    source: Any
    place: Place = START

    backoff: Backoff | None = None
    selection: Selection | None = None

    def __post_init__(self) -> None:
        self.figures = SessionFigures(SESSION, "lens:{line-1}:events")
        self.buffer = Buffer(max_events=10_000, max_bytes=10_000_000)
        reader = Reader(
            session=SESSION,
            source=self.source,
            intake=Intake(place=self.place, window=Window(100), secrets=Secrets(), selection=self.selection),
            buffer=self.buffer,
            figures=self.figures,
            settings=self.settings,
        )
        reader.backoff = self.backoff or reader.backoff
        self.reader = reader
        self.task = asyncio.create_task(reader.run())
        self.taken: list[Record] = []

    def records(self) -> list[Record]:
        """All that was put into the buffer so far."""
        self.taken += records_in(self.buffer.take(100_000, 1 << 30, 1 << 30))
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
        return {outcome: count for outcome, count in self.figures.source_connects.items() if count}


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

        async def make(
            place: Place = START,
            source: Any = None,
            backoff: Backoff | None = None,
            selection: Selection | None = None,
            **changes: Any,
        ) -> Read:
            settings = SourceSettings.model_validate(QUICK | {"base_url": simulator.base_url} | changes)
            used = source or await stack.enter_async_context(Recorded(settings))
            started.append(Read(settings=settings, source=used, place=place, backoff=backoff, selection=selection))
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
    assert read.figures.source_disconnects[DisconnectReason.END] == 1
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
    simulator.refuse(Refusal(status=500, endpoint=Endpoint.METADATA, requests=3))
    for connection in (1, 2, 3):
        await until(lambda: len(session.connections) == connection and session.readers)  # noqa: B023
        session.drop(Closing.END)
    await until(lambda: len(session.connections) == 4)
    assert not read.task.done()
    assert "500" in (read.figures.last_error or "")


async def test_end_is_the_end_where_it_is_said_to_be(
    start: Start, simulator: Simulator, session: SimulatedSession
) -> None:
    """source.on_end: stop asks nobody."""
    read = await start(on_end="stop")
    await session.wait_connected()
    session.drop(Closing.END)
    assert await read.over() == "end"
    assert simulator.requests[Endpoint.METADATA] == 0


async def test_end_is_never_the_end_where_it_is_said_to_be_none(
    start: Start, simulator: Simulator, session: SimulatedSession
) -> None:
    """source.on_end: reconnect asks nobody either."""
    read = await start(on_end="reconnect")
    await session.wait_connected()
    session.drop(Closing.END)
    await until(lambda: len(session.connections) == 2)
    assert simulator.requests[Endpoint.METADATA] == 0
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
    assert simulator.requests[Endpoint.METADATA] == 0


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
    await until(lambda: read.figures.state is SessionState.STREAMING)
    read.task.cancel()
    await asyncio.wait({read.task})
    await session.wait_disconnected()
    assert read.figures.source_disconnects[DisconnectReason.LEFT] == 1


# Refusals


async def test_a_session_that_nobody_knows_is_gone(start: Start) -> None:
    """404, and the metadata endpoint does not list it either."""
    assert await (await start()).over() == "gone"


async def test_a_404_for_a_living_session_is_tried_again(
    start: Start, simulator: Simulator, session: SimulatedSession
) -> None:
    """The endpoint may not have heard of it yet."""
    simulator.refuse(Refusal(status=404))
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
    assert read.figures.gaps[GapReason.CURSOR_UNKNOWN] == 1
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
    simulator.refuse(Refusal(status=status, body='{"detail": "wait"}', requests=3))
    session.generate(1)
    read = await start()
    assert keys(await read.got(1)) == ["1"]
    assert read.connects == {outcome: 3, ConnectOutcome.OK: 1}
    assert "wait" in (read.figures.last_error or "")


async def test_an_error_in_the_shape_of_an_answer_is_confirmed_before_it_ends_a_session(
    start: Start, simulator: Simulator, session: SimulatedSession
) -> None:
    """200 with JSON."""
    simulator.refuse(Refusal(status=200, body='{"type": "error", "message": "Unknown session id: lsn-1"}'))
    session.generate(1)
    read = await start()
    assert keys(await read.got(1)) == ["1"]
    assert read.connects[ConnectOutcome.BAD_RESPONSE] == 1


async def test_a_rejected_key_is_tried_again_at_once_when_it_changes(
    start: Start, session: SimulatedSession, tmp_path: Path
) -> None:
    """The state says what to mend; a mended file is found long before slow_retry_seconds."""
    file = tmp_path / "key"
    file.write_text("a-wrong-key")
    session.generate(1)
    read = await start(api_key=None, api_key_file=file, slow_retry_seconds=3600)
    await until(lambda: read.figures.state is SessionState.UNAUTHORIZED)
    assert "source.api_key" in (read.figures.last_error or "")
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
    cursors: list[str | None] = field(default_factory=list)
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1_000))

    async def open(self, session_id: str, cursor: str | None) -> Any:
        """The next answer."""
        self.opens += 1
        self.cursors.append(cursor)
        if self.opens > len(self.answers):
            await asyncio.Event().wait()
        return self.answers[self.opens - 1]

    async def lookup(self, session_id: str) -> Lookup:
        """The next answer."""
        return self.lookups.pop(0)

    async def turn(self) -> None:
        """At once, unless told otherwise."""
        await self.turns.acquire()

    async def wait_for_key(self, since: int, at_most_seconds: float) -> None:
        """There is no other."""


@dataclass
class Opened:
    """A connection that brings these, one by one, and then closes."""

    chunks: list[list[ServerSentEvent]]
    resumed: bool = True
    retry_floor_seconds: float = 0.0
    bytes_received: int = 0
    closed: bool = False
    hangs: bool = False

    async def read(self) -> list[ServerSentEvent] | Closed:
        """The next chunk."""
        if not self.chunks and self.hangs:
            await asyncio.Event().wait()
        if not self.chunks:
            return Closed(reason=DisconnectReason.CLOSED)
        self.bytes_received += 10
        return self.chunks.pop(0)

    async def flow(self, take: Callable[[PlainEvents | list[ServerSentEvent]], bool]) -> None:
        """It is read chunk by chunk."""

    async def aclose(self) -> None:
        """Noted."""
        self.closed = True


class Wait(NamedTuple):
    """What one wait before a reconnect was asked for."""

    attempt: int
    floor_seconds: float
    spent_seconds: float


WAITS: list[Wait] = []


class Noted(Backoff):
    """Waits that take no time, and are written down."""

    def delay(self, random: object, floor_seconds: float = 0.0, spent_seconds: float = 0.0) -> float:
        """None at all."""
        WAITS.append(Wait(self.attempt, floor_seconds, spent_seconds))
        return 0.0


@pytest.fixture
def waits() -> list[Wait]:
    """Every wait before a reconnect of this test's readers."""
    WAITS.clear()
    return WAITS


def refused(outcome: ConnectOutcome = ConnectOutcome.SERVER_ERROR, retry_after: float | None = None) -> Refused:
    """An answer."""
    return Refused(outcome=outcome, detail="no", status=500, retry_after_seconds=retry_after)


async def ran(start: Start, scripted: Scripted, **changes: Any) -> Read:
    """A reader that has been through all answers, without waiting."""
    read = await start(source=scripted, backoff=Noted(initial_seconds=1.0, max_seconds=2.0), **changes)
    await until(lambda: scripted.opens > len(scripted.answers) or read.task.done())
    return read


def event(number: int, id: str | None) -> ServerSentEvent:
    """A lens event."""
    return ServerSentEvent("message", b'{"type":"t","n":%d}' % number, id, id or "")


def of_type(type_: str) -> ServerSentEvent:
    """An event without an id."""
    return ServerSentEvent("message", json.dumps({"type": type_, "message": "no reader left"}).encode(), None, "")


START_FRAME, BEAT, ERROR = of_type("sse.stream.start"), of_type("sse.stream.heartbeat"), of_type("error")


async def test_waits_grow_from_failure_to_failure(start: Start, waits: list[Wait]) -> None:
    """And closing without a byte is one."""
    await ran(start, Scripted([refused(), Opened([]), refused(), refused()]))
    assert [wait.attempt for wait in waits] == [0, 1, 2, 3]


async def test_waits_begin_anew_after_a_connection_that_brought_something_new(start: Start, waits: list[Wait]) -> None:
    """However short it was: a source that drops every third of a second would be read at a crawl."""
    brought = [Opened([[event(number, str(number))]]) for number in (1, 2, 3)]
    await ran(start, Scripted([refused(), refused(), *brought, refused()]), backoff_reset_seconds=3600)
    assert [wait.attempt for wait in waits] == [0, 1, 0, 0, 0, 1]


@pytest.mark.parametrize(
    "nothing",
    [
        [[]],
        [[START_FRAME]],
        [[START_FRAME, BEAT], [BEAT]],
        [[event(1, "1")]],
        [[START_FRAME, ERROR]],
        [[of_type("sse.stream.end")]],
    ],
)
async def test_what_brings_nothing_new_is_no_progress(
    start: Start, waits: list[Wait], nothing: list[list[ServerSentEvent]]
) -> None:
    """A server that accepts and drops must not be hammered: bytes, heartbeats, replays, errors, an end."""
    answers = [Opened([[event(1, "1")]]), *(Opened([list(chunk) for chunk in nothing]) for _ in range(4))]
    await ran(start, Scripted(answers, [Active(status="RUNNING")] * 4))
    assert [wait.attempt for wait in waits] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("selection", [None, Selection(exclude=["error"])])
async def test_errors_that_read_differently_each_time_are_no_progress_published_or_not(
    start: Start, waits: list[Wait], selection: Selection | None
) -> None:
    """A server that refuses us so, with the number of the request in it, say."""
    errors = [ServerSentEvent("message", b'{"type":"error","n":%d}' % number, None, "") for number in range(4)]
    read = await ran(
        start, Scripted([Opened([[one]]) for one in errors], [Active(status="RUNNING")] * 4), selection=selection
    )
    assert [wait.attempt for wait in waits] == [0, 1, 2, 3]
    assert len(read.records()) == 4


async def test_the_life_of_a_connection_counts_towards_the_wait_after_it(start: Start, waits: list[Wait]) -> None:
    """Idle streams are closed after a minute, and the first event after that is not to wait for a backoff."""
    await ran(start, Scripted([Opened([[BEAT]]), refused()]), backoff_reset_seconds=0)
    await ran(start, Scripted([Opened([[BEAT]])]), backoff_reset_seconds=3600)
    first, after_refusal, short = waits
    assert first.spent_seconds > 0
    assert after_refusal.spent_seconds == short.spent_seconds == 0


# A refusal inside a stream


async def test_an_error_and_a_close_is_a_refusal_that_is_published_and_told_once(
    start: Start, waits: list[Wait]
) -> None:
    """Later ones are counted: as duplicates, as attempts, as questions."""
    scripted = Scripted([Opened([[START_FRAME, ERROR]]) for _ in range(5)], [Active(status="RUNNING")] * 5)
    with capture_logs() as lines:
        read = await ran(start, scripted)
    assert [record.type for record in read.records()] == ["error"]
    assert read.figures.events_skipped[SkipReason.DUPLICATE] == 4
    assert scripted.lookups == []
    assert "no reader left" in (read.figures.last_error or "")
    told = [line["log_level"] for line in lines if line["event"] == "source.refused"]
    assert told == ["error", *["debug"] * 4]
    assert gaps(read.taken) == []


async def test_an_error_and_a_close_of_a_session_that_nobody_knows_is_the_end(start: Start, waits: list[Wait]) -> None:
    """The refusal was right."""
    read = await ran(start, Scripted([Opened([[ERROR]])], [Over(status="unknown")]))
    assert await read.over() == "gone"
    assert [record.type for record in read.records()] == ["error"]


async def test_an_error_that_is_kept_back_is_published_at_a_stop(start: Start, waits: list[Wait]) -> None:
    """It can't be told any more whether a close would have followed."""
    hangs = Opened([[ERROR]], resumed=False, hangs=True)
    read = await start(source=Scripted([Opened([[ERROR]]), hangs], [Active(status="RUNNING")]))
    await until(lambda: hangs.bytes_received)
    assert [record.type for record in read.records()] == ["error", "bridge.gap"]
    read.task.cancel()
    await asyncio.wait({read.task})
    read.reader.release_held()
    assert [record.type for record in read.records()] == ["error", "bridge.gap", "error"]


# What counts against the cursor


async def test_refusals_of_the_cursor_count_only_in_a_row(start: Start, waits: list[Wait]) -> None:
    """Three in as many weeks are no reason for a gap, which is for ever."""
    good = [Opened([[event(number, str(number))]]) for number in (1, 2, 3)]
    refusal = refused(ConnectOutcome.CURSOR_REFUSED)
    scripted = Scripted([good[0], refusal, refusal, good[1], refusal, refusal, good[2], refusal, refusal, refusal])
    await ran(start, scripted)
    assert scripted.cursors == [None, *["1"] * 3, *["2"] * 3, *["3"] * 3, None]


async def test_another_refusal_between_them_begins_the_count_anew(start: Start, waits: list[Wait]) -> None:
    """The server is in trouble, and what it said of the cursor may have been that."""
    refusal = refused(ConnectOutcome.CURSOR_REFUSED)
    scripted = Scripted([Opened([[event(1, "1")]]), refusal, refusal, refused(), refusal, refusal])
    await ran(start, scripted)
    assert scripted.cursors == [None, *["1"] * 6]


async def test_a_question_without_an_answer_does_not_count_against_the_cursor(start: Start, waits: list[Wait]) -> None:
    """Only where the session is known to live may it be our place that is not found."""
    lookups: list[Lookup] = [Unanswered(detail="no"), Active(status="RUNNING")] * 3
    refusals = [refused(ConnectOutcome.NOT_FOUND) for _ in lookups]
    scripted = Scripted([Opened([[event(1, "1")]]), *refusals], lookups)
    await ran(start, scripted)
    assert scripted.cursors == [None, *["1"] * 6, None]


# Turns


async def test_waiting_for_a_turn_is_seen(start: Start) -> None:
    """In a figure, and in words where it takes longer than a connection may."""
    scripted = Scripted([], turns=asyncio.Semaphore(0))
    with capture_logs() as lines:
        read = await start(source=scripted, connect_timeout_seconds=0.02)
        await until(lambda: lines)
        assert read.figures.state is SessionState.CONNECTING
        assert scripted.opens == 0
        scripted.turns.release()
        await until(lambda: scripted.opens)
    assert [line["event"] for line in lines] == ["source.connect_delayed"]
    assert "source.connects_per_second" in (read.figures.last_error or "")
    assert read.figures.source_connect_wait_seconds >= 0.02


async def test_what_the_server_asks_for_is_a_floor_within_reason(start: Start, waits: list[Wait]) -> None:
    """Retry-After, at most ten minutes; `retry:`, at most slow_retry_seconds."""
    answers = [
        refused(retry_after=7.0),
        refused(retry_after=86_400.0),
        Opened([], retry_floor_seconds=3.0),
        Opened([], retry_floor_seconds=86_400.0),
        refused(),
    ]
    await ran(start, Scripted(answers), slow_retry_seconds=60)
    assert [wait.floor_seconds for wait in waits] == [7.0, 600.0, 3.0, 60.0, 0.0]


async def test_every_connection_is_closed(start: Start, waits: list[Wait]) -> None:
    """However it ended."""
    connections = [Opened([[]]), Opened([])]
    await ran(start, Scripted([*connections, refused()]))
    assert all(connection.closed for connection in connections)


async def test_a_fresh_connection_behind_an_id_that_cannot_be_sent_is_a_gap(start: Start, waits: list[Wait]) -> None:
    """And no second one while nothing comes in between."""
    read = await ran(start, Scripted([Opened([[event(1, "a\x0bb")]]), *(Opened([], resumed=False) for _ in range(3))]))
    assert gaps(read.records()) == ["cursor_unsendable"]


async def test_a_fresh_connection_where_there_are_no_ids_is_a_gap(start: Start, waits: list[Wait]) -> None:
    """Each time that something had come before."""
    fresh = [Opened([[event(number, None)]], resumed=False) for number in (1, 2, 3)]
    read = await ran(start, Scripted(fresh))
    assert gaps(read.records()) == ["no_cursor", "no_cursor"]


async def test_the_first_connection_of_a_new_session_is_no_gap(start: Start, waits: list[Wait]) -> None:
    """There was nothing to miss."""
    read = await ran(start, Scripted([refused(), Opened([], resumed=False), refused()]))
    assert gaps(read.records()) == []


@pytest.mark.parametrize(
    ("lookup", "over"),
    [(Over(status="unknown"), "gone"), (Over(status="FAILED"), "FAILED"), (Active(status="RUNNING"), None)],
)
@pytest.mark.parametrize("outcome", [ConnectOutcome.NOT_FOUND, ConnectOutcome.REJECTED, ConnectOutcome.BAD_RESPONSE])
async def test_a_refusal_that_may_be_final_asks_after_the_session(
    start: Start, waits: list[Wait], outcome: ConnectOutcome, lookup: Lookup, over: str | None
) -> None:
    """And believes the answer."""
    read = await ran(start, Scripted([refused(outcome), refused()], [lookup]))
    assert (await read.over() if read.task.done() else None) == over


async def test_no_answer_about_a_session_keeps_it(start: Start, waits: list[Wait]) -> None:
    """However often."""
    scripted = Scripted([refused(ConnectOutcome.NOT_FOUND)] * 5, [Unanswered(detail="broken")] * 5)
    read = await ran(start, scripted)
    assert not read.task.done()
    assert read.figures.last_error == "broken"


async def test_a_key_that_is_rejected_when_asking_after_the_session_ends_nothing(
    start: Start, waits: list[Wait]
) -> None:
    """The same key may still be good for the stream."""
    scripted = Scripted([Opened([]), refused(ConnectOutcome.NOT_FOUND)], [Unanswered(detail="no")])
    assert not (await ran(start, scripted)).task.done()


async def test_the_states_tell_what_it_does(start: Start, simulator: Simulator, session: SimulatedSession) -> None:
    """Connecting, streaming; waiting between two connections."""
    simulator.change(answer_delay_seconds=0.05)
    read = await start(backoff_initial_seconds=10.0, backoff_max_seconds=10.0)
    await until(lambda: read.figures.state is SessionState.CONNECTING)
    await until(lambda: read.figures.state is SessionState.STREAMING)
    await simulator.stop_accepting()
    simulator.drop_all()
    await until(lambda: read.figures.state is SessionState.WAITING)


async def test_what_is_held_is_published_once_the_connection_has_been_idle(start: Start) -> None:
    """Two events came again and nothing after them: that is too little to be a replay, and they must not be lost."""
    a, b, c = (b'{"type":"t","n":%d}' % n for n in range(3))
    source = ScriptedSource([loose(a, b, c)], [loose(a, b)])
    read = await start(source=source)
    await source.all_read.wait()
    assert [record.data for record in read.records() if record.type == "t"] == [a, b, c]
    await until(lambda: len(read.records()) >= 6)
    assert [record.data for record in read.records() if record.type == "t"] == [a, b, c, a, b]
