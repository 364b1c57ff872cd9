"""The consumer endpoint on a real socket: frames, resuming, shaping, refusals."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator

import pytest

from bridge.simulator import LensStatus, Simulator
from tests.component.simulator_reader import reading


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


async def test_unknown_cursor_is_refused_with_the_switched_status(simulator: Simulator) -> None:
    """The refusal has the status and an error body, and stands in the connection log."""
    simulator.change(unknown_cursor="refuse", unknown_cursor_status=400, error_shape="texts")
    session = simulator.create_session("lsn-1")
    async with reading(simulator, "lsn-1", last_event_id=b"nobody-knows") as stream:
        assert stream.status == 400
        assert "Last-Event-ID" in json.loads(await stream.body())["errors"][0]
    assert (session.connections[0].ended, session.connections[0].status) == ("refused", 400)


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
    plain = b'id: 1\ndata: {"type": "x"}\n\n'
    assert (stream.headers.get("content-encoding") == "gzip") is zipped
    assert (stream.unzipped() if zipped else chunk) == plain


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


@pytest.mark.parametrize(
    ("shape", "path"),
    [
        ("errors", ("errors", 0, "message")),
        ("texts", ("errors", 0)),
        ("detail", ("detail",)),
        ("error", ("error", "message")),
        ("typed", ("message",)),
    ],
)
async def test_a_wrong_key_gets_the_switched_error(
    simulator: Simulator, shape: str, path: tuple[str | int, ...]
) -> None:
    """Status and body of a rejected key; the log says that it was not authorized."""
    simulator.change(unauthorized_status=403, error_shape=shape)
    session = simulator.create_session("lsn-1")
    async with reading(simulator, "lsn-1", key="wrong") as stream:
        assert stream.status == 403
        found = json.loads(await stream.body())
    for step in path:
        found = found[step]
    assert found == "Invalid API key."
    assert not session.connections[0].authorized
    simulator.api_keys.append("wrong")
    async with reading(simulator, "lsn-1", key="wrong") as stream:
        assert stream.status == 200


@pytest.mark.parametrize(
    ("rule", "status", "content_type"),
    [("status", 404, "application/json"), ("json", 200, "application/json"), ("empty", 200, "text/event-stream")],
)
async def test_unknown_session(simulator: Simulator, rule: str, status: int, content_type: str) -> None:
    """Each answer for a session that does not exist; the connect is kept among the strays."""
    simulator.change(unknown_session=rule)
    async with reading(simulator, "lsn-none") as stream:
        assert (stream.status, stream.headers["content-type"].split(";")[0]) == (status, content_type)
        body = await stream.body()
    assert (b"lsn-none" in body) is (rule != "empty")
    assert simulator.strays[0].session_id == "lsn-none"


async def test_unknown_session_as_a_stream_that_ends(simulator: Simulator) -> None:
    """Start and end frames, then a clean close."""
    simulator.change(unknown_session="end")
    async with reading(simulator, "lsn-none") as stream:
        assert [one.type for one in await stream.blocks()] == ["sse.stream.start", "sse.stream.end"]
    assert stream.ended == "clean"


@pytest.mark.parametrize(("rule", "status"), [("unknown", 404), ("refuse", 410), ("replay", 200)])
async def test_destroyed_session(simulator: Simulator, rule: str, status: int) -> None:
    """A destroyed session is unknown, refused, or still replayed."""
    simulator.change(destroyed_session=rule)
    simulator.create_session("lsn-1").destroy()
    async with reading(simulator, "lsn-1") as stream:
        assert stream.status == status


async def test_a_starting_session_can_be_not_ready(simulator: Simulator) -> None:
    """409 until the session runs, where the switch says so."""
    session = simulator.create_session("lsn-1")
    session.change(starting_session_status=409)
    session.set_status(LensStatus.STARTING)
    async with reading(simulator, "lsn-1") as stream:
        assert stream.status == 409
    session.set_status(LensStatus.RUNNING)
    async with reading(simulator, "lsn-1") as stream:
        assert stream.status == 200


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
