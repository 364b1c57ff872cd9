"""The consumer endpoint on a real socket: frames, resuming, shaping."""

from __future__ import annotations

import asyncio
import email.utils
import hashlib
import time
import zlib
from collections.abc import AsyncIterator

import pytest

from bridge.errors import ConfigurationError
from bridge.lab.simulator import LensStatus, Profile, Simulator, Switches
from bridge.lab.simulator.answers import metadata_row
from bridge.lab.simulator.platform import Platform
from tests.support.simulator_reader import reading


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """A simulator without heartbeats, which would come between events."""
    async with Simulator() as running:
        running.change(heartbeat_interval_seconds=0)
        yield running


async def test_first_frame_is_start_with_session_and_reader(simulator: Simulator) -> None:
    """The start frame names the session and this very connection."""
    session = simulator.create_session("lsn-1")
    async with reading(simulator, "lsn-1") as stream:
        (start,) = await stream.blocks(1)
    await session.wait_disconnected()
    assert stream.status == 200
    assert stream.headers["content-type"] == "text/event-stream"
    assert (start.event, start.id, start.type) == ("message", None, "sse.stream.start")
    data = start.body["event_data"]
    assert data == {"session_id": "lsn-1", "reader_id": session.connections[0].reader_id}


async def test_a_lens_that_writes_to_the_mailbox_alone_is_heard_as_heartbeats_while_its_outputs_grow(
    simulator: Simulator,
) -> None:
    """The wrong channel: nothing is recorded, since nothing is there for a reader."""
    session = simulator.create_session("lsn-1")
    session.change(mailbox_only=True, heartbeat_interval_seconds=0.05)
    session.generate(3)
    async with reading(simulator, "lsn-1") as stream:
        blocks = await stream.blocks(3)
        session.generate(4)
        blocks += await stream.blocks(2)
    assert [block.type for block in blocks] == ["sse.stream.start"] + 4 * ["sse.stream.heartbeat"]
    assert session.record == []
    assert metadata_row(session, simulator.base_url)["num_outputs"] == 7


async def test_a_clock_that_is_ahead_shows_in_the_date_of_answers(simulator: Simulator) -> None:
    """Of the stream too."""
    simulator.create_session("lsn-1")
    simulator.change(clock_ahead_seconds=3600)
    async with reading(simulator, "lsn-1") as stream:
        await stream.blocks(1)
    told = email.utils.parsedate_to_datetime(stream.headers["date"]).timestamp()
    assert 3500 < told - time.time() < 3700


async def test_history_then_live_events_in_order_and_as_recorded(simulator: Simulator) -> None:
    """What was emitted before and after the connect arrives once, in order, with the recorded ids and hashes."""
    session = simulator.create_session("lsn-1")
    session.generate(100)
    async with reading(simulator, "lsn-1") as stream:
        events = await stream.events(100)
        session.emit({"type": "frame.processed", "event_data": {"text": "snowman ☃"}})
        session.emit(b'{"type": "two",\n "lines": 1}', id="own-id")
        events += await stream.events(2)
    assert [(one.id, hashlib.sha256(one.data).digest()) for one in events] == [
        (entry.id, entry.sha256) for entry in session.record
    ]
    assert [entry.type for entry in session.record[-3:]] == ["inference.result", "frame.processed", "two"]
    assert [one.body["event_data"]["n"] for one in events[:100]] == list(range(1, 101))
    assert events[-1].id == "own-id"


async def test_a_hundred_thousand_events_replay_whole(simulator: Simulator) -> None:
    """A large history arrives complete, many events to a chunk."""
    simulator.change(chunk_shape="coalesce")
    session = simulator.create_session("lsn-1")
    session.generate(100_000)
    session.destroy()
    session.change(destroyed_session="replay")
    async with reading(simulator, "lsn-1") as stream:
        events = await stream.events()
    assert [one.id for one in events] == [str(n) for n in range(1, 100_001)]
    assert len(stream.chunks) < 1000


@pytest.mark.parametrize(
    ("switches", "cursor", "expected"),
    [
        ({}, None, ["1", "2", "3", "4", "5", "new"]),
        ({"fresh": "live"}, None, ["new"]),
        ({}, b"3", ["4", "5", "new"]),
        ({}, b"5", ["new"]),
        ({"overlap_events": 1}, b"3", ["3", "4", "5", "new"]),
        ({}, b"unknown", ["new"]),
        ({"unknown_cursor": "replay"}, b"unknown", ["1", "2", "3", "4", "5", "new"]),
        ({"cursor": "replay"}, b"3", ["1", "2", "3", "4", "5", "new"]),
        ({"cursor": "tail", "tail_events": 2}, b"1", ["4", "5", "new"]),
        ({"cursor": "live"}, b"3", ["new"]),
        ({"history_events": 2}, None, ["4", "5", "new"]),
        ({"history_events": 2}, b"3", ["new"]),
        ({"history_events": 2}, b"4", ["5", "new"]),
    ],
)
async def test_where_a_connection_begins(
    simulator: Simulator, switches: dict[str, object], cursor: bytes | None, expected: list[str]
) -> None:
    """Each rule for fresh and resumed connections sends what its docstring says."""
    session = simulator.create_session("lsn-1")
    session.change(**switches)
    session.generate(5)
    async with reading(simulator, "lsn-1", last_event_id=cursor) as stream:
        await stream.blocks(1)
        session.emit({"type": "x"}, id="new")
        events = await stream.events(len(expected))
    assert [one.id for one in events] == expected
    assert session.connections[0].last_event_id == cursor


@pytest.mark.parametrize("style", ["counter", "opaque", "unicode"])
async def test_ids_of_each_style_can_be_resumed_from(simulator: Simulator, style: str) -> None:
    """An id that was received works as Last-Event-ID in UTF-8."""
    session = simulator.create_session("lsn-1")
    session.change(id_style=style)
    session.generate(3)
    ids = [entry.id or "" for entry in session.record]
    assert len(set(ids)) == 3
    async with reading(simulator, "lsn-1", last_event_id=ids[1].encode()) as stream:
        (event,) = await stream.events(1)
    assert event.id == ids[2]


@pytest.mark.parametrize(("ending", "line_end"), [("lf", b"\n"), ("crlf", b"\r\n"), ("cr", b"\r")])
async def test_frames_with_each_line_ending_bom_retry_and_other_name(
    simulator: Simulator, ending: str, line_end: bytes
) -> None:
    """The bytes of a body are to the letter what the switches say."""
    simulator.change(line_ending=ending, bom=True, retry_ms=250, event_name="lens", ids=False, start_frame=False)
    session = simulator.create_session("lsn-1")
    session.emit(b'{"type": "x"}')
    async with reading(simulator, "lsn-1") as stream:
        body = b"".join([await stream.chunk() or b"", await stream.chunk() or b""])
    expected = '\ufeffretry: 250\n\nevent: lens\ndata: {"type": "x"}\n\n'.encode().replace(b"\n", line_end)
    assert body == expected
    assert session.record[0].id is None


async def test_data_as_python_repr_and_without_event_name(simulator: Simulator) -> None:
    """The broken release that sent the repr of its bytes."""
    simulator.change(python_repr=True, event_name=None, start_frame=False)
    session = simulator.create_session("lsn-1")
    session.emit({"type": "x"})
    async with reading(simulator, "lsn-1") as stream:
        assert await stream.chunk() == b'id: 1\ndata: b\'{"type": "x"}\'\n\n'
    assert (session.record[0].type, session.record[0].poison) == (None, "python_repr")


async def test_heartbeats_come_when_idle_and_count_up(simulator: Simulator) -> None:
    """Heartbeats carry the session's status in the switched spelling and a growing message_timeout."""
    simulator.change(heartbeat_interval_seconds=0.02, status_spelling="qualified", ids_on_control_frames=True)
    simulator.create_session("lsn-1")
    async with reading(simulator, "lsn-1") as stream:
        start, first, second = await stream.blocks(3)
    assert first.body["event_data"] == {
        "session_id": "lsn-1",
        "session_status": "LensSessionStatus.SESSION_STATUS_RUNNING",
        "num_messages": 0,
        "num_bytes": 0,
        "message_timeout": 0.02,
    }
    assert second.body["event_data"]["message_timeout"] == 0.04
    assert len({start.id, first.id, second.id}) == 3


async def test_heartbeats_as_comments(simulator: Simulator) -> None:
    """A comment is no event but a byte."""
    simulator.change(heartbeat_interval_seconds=0.02, heartbeat_comments=True)
    simulator.create_session("lsn-1")
    async with reading(simulator, "lsn-1") as stream:
        _, beat = await stream.blocks(2)
    assert (beat.comment, beat.data) == ("heartbeat", b"")


@pytest.mark.parametrize(("closing", "last"), [("end", "sse.stream.end"), ("clean", "x")])
async def test_destroy_closes_after_the_last_event(simulator: Simulator, closing: str, last: str) -> None:
    """A destroyed session's reader gets every event, then the switched goodbye."""
    session = simulator.create_session("lsn-1")
    session.change(destroy_closing=closing)
    async with reading(simulator, "lsn-1") as stream:
        await stream.blocks(1)
        session.emit({"type": "x"})
        session.destroy()
        blocks = await stream.blocks()
    assert [one.type for one in blocks] == ["x", "sse.stream.end"][: len(blocks)]
    assert blocks[-1].type == last
    assert stream.ended == "clean"
    assert session.connections[0].ended == closing


async def test_an_idle_stream_is_ended_while_the_session_runs_on(simulator: Simulator) -> None:
    """The end frame comes after idle_closing_seconds, and the session can be read again."""
    session = simulator.create_session("lsn-1")
    session.change(idle_closing_seconds=0.05)
    async with reading(simulator, "lsn-1") as stream:
        assert [one.type for one in await stream.blocks()] == ["sse.stream.start", "sse.stream.end"]
    assert session.status is LensStatus.RUNNING
    async with reading(simulator, "lsn-1") as stream:
        assert stream.status == 200


@pytest.mark.parametrize("shape", ["random", "drip"])
async def test_events_cut_at_any_byte_arrive_whole(simulator: Simulator, shape: str) -> None:
    """Chunk borders inside events, also inside a character, lose nothing."""
    simulator.change(chunk_shape=shape, chunk_bytes=3)
    session = simulator.create_session("lsn-1")
    for n in range(20):
        session.emit({"type": "x", "event_data": {"n": n, "text": "☃☃☃"}})
    async with reading(simulator, "lsn-1") as stream:
        events = await stream.events(20)
    assert [one.body["event_data"]["n"] for one in events] == list(range(20))
    assert max(map(len, stream.chunks)) <= 5
    assert any(chunk[0] & 0xC0 == 0x80 for chunk in stream.chunks)


async def test_each_event_its_own_chunk_or_some_to_a_chunk(simulator: Simulator) -> None:
    """`event` puts every event alone into a chunk, `coalesce` as many as told."""
    session = simulator.create_session("lsn-1")
    session.change(start_frame=False)
    session.generate(8)
    async with reading(simulator, "lsn-1") as stream:
        await stream.events(8)
    assert len(stream.chunks) == 8
    session.change(chunk_shape="coalesce", chunk_events=4)
    async with reading(simulator, "lsn-1") as stream:
        await stream.events(8)
    assert len(stream.chunks) == 2


@pytest.mark.parametrize(
    ("rule", "asked", "zipped"),
    [("always", b"identity", True), ("accepted", b"gzip", True), ("accepted", b"br", False)],
)
async def test_gzip_when_the_rule_says_so(simulator: Simulator, rule: str, asked: bytes, zipped: bool) -> None:
    """A compressed body is flushed after each write, so that no event waits for the next."""
    simulator.change(gzip=rule, start_frame=False, event_name=None)
    session = simulator.create_session("lsn-1")
    session.emit(b'{"type": "x"}')
    async with reading(simulator, "lsn-1", headers=b"Accept-Encoding: " + asked + b"\r\n") as stream:
        chunk = await stream.chunk()
        session.destroy()
        session.change(destroy_closing="clean")
        await stream.blocks()
    assert stream.ended == "clean"
    plain = b'id: 1\ndata: {"type": "x"}\n\n'
    assert (stream.headers.get("content-encoding") == "gzip") is zipped
    assert (zlib.decompressobj(wbits=31).decompress(chunk or b"") if zipped else chunk) == plain
    if zipped:
        whole = zlib.decompressobj(wbits=31)
        assert whole.decompress(b"".join(stream.chunks)) == plain
        assert whole.eof


async def test_two_readers_each_get_all(simulator: Simulator) -> None:
    """The default: readers do not take events from each other."""
    session = simulator.create_session("lsn-1")
    session.generate(10)
    async with reading(simulator, "lsn-1") as one, reading(simulator, "lsn-1") as two:
        first, second = await asyncio.gather(one.events(10), two.events(10))
    assert first == second
    assert session.peak_readers == 2


async def test_two_readers_split_the_events(simulator: Simulator) -> None:
    """Each event goes to one of two readers, and both get some."""
    session = simulator.create_session("lsn-1")
    session.change(sharing="split", destroy_closing="clean")
    async with reading(simulator, "lsn-1") as one, reading(simulator, "lsn-1") as two:
        await session.wait_connected(2)
        session.generate(20)
        session.destroy()
        first, second = await asyncio.gather(one.events(), two.events())
    ids = [block.id for block in (*first, *second)]
    assert sorted(ids, key=str) == sorted((entry.id for entry in session.record), key=str)
    assert first
    assert second


async def test_a_session_id_is_free_again_after_destroy(simulator: Simulator) -> None:
    """A new session of the old name starts with an empty history and ids from the beginning."""
    simulator.create_session("lsn-1").destroy()
    session = simulator.create_session("lsn-1")
    assert session.emit({"type": "x"}) == "1"


async def test_a_reader_that_fell_out_of_the_history_is_told_in_the_log(simulator: Simulator) -> None:
    """Events that left the ring before they were sent are skipped and counted."""
    session = simulator.create_session("lsn-1")
    session.change(history_events=10)
    async with reading(simulator, "lsn-1") as stream:
        await stream.blocks(1)
        session.silence()
        session.generate(30)
        session.speak()
        events = await stream.events(10)
    assert [one.id for one in events] == [str(n) for n in range(21, 31)]
    assert session.connections[0].skipped == 20


async def test_delays_hold_back_the_answer_the_first_result_and_each_event(simulator: Simulator) -> None:
    """Lower bounds only: nothing comes earlier than its delay allows, and a delay can be taken back."""
    clock = asyncio.get_running_loop().time
    session = simulator.create_session("lsn-1")
    session.change(answer_delay_seconds=0.05, event_delay_seconds=0.05, first_result_delay_seconds=0.05)
    session.play(Profile.MACHINE_STATE, rate=1000, limit=2)
    begin = clock()
    async with reading(simulator, "lsn-1") as stream:
        assert clock() - begin >= 0.05
        first, second = await stream.events(2)
        assert clock() - begin >= 0.15
        session.change(event_delay_seconds=3600)
        session.emit({"type": "late"})
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stream.chunk(), 0.05)
        session.change(event_delay_seconds=0)
        assert [one.type for one in await stream.events(1)] == ["late"]
    assert first.body["timestamp"] >= session.created_at + 0.049
    assert (first.id, second.id) == ("1", "2")


async def test_without_a_record_events_still_arrive(simulator: Simulator) -> None:
    """Long runs can do without the record."""
    simulator.change(record=False)
    session = simulator.create_session("lsn-1")
    session.generate(3)
    async with reading(simulator, "lsn-1") as stream:
        assert len(await stream.events(3)) == 3
    assert session.record == []


async def test_switches_that_change_while_a_connection_is_open_take_effect(simulator: Simulator) -> None:
    """A reader sees new switches at its next step, without a reconnect."""
    session = simulator.create_session("lsn-1")
    async with reading(simulator, "lsn-1") as stream:
        await stream.blocks(1)
        simulator.change(ids=False)
        session.emit({"type": "x"})
        simulator.change(heartbeat_interval_seconds=0.01)
        event, beat = await stream.blocks(2)
        assert (event.id, event.type, beat.type) == (None, "x", "sse.stream.heartbeat")
        simulator.change(idle_closing_seconds=0.01, idle_closing="clean")
        await stream.blocks()
    assert stream.ended == "clean"


def test_an_id_with_a_line_end_is_refused() -> None:
    """It would become two lines of the stream."""
    session = Platform(Switches(), ["key"], seed=1).create_session()
    with pytest.raises(ConfigurationError, match="line end"):
        session.emit({"type": "x"}, id="a\nb")
