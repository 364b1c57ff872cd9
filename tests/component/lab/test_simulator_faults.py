"""Faults: what a client sees of each, and what the simulator remembers of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from bridge.lab.simulator import (
    Closing,
    Drop,
    Endpoint,
    Forget,
    Poison,
    Poisoning,
    Profile,
    RandomDrops,
    Refusal,
    Silence,
    Simulator,
)
from tests.support.simulator_reader import reading


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """A simulator without heartbeats, which would come between events."""
    async with Simulator() as running:
        running.change(heartbeat_interval_seconds=0)
        yield running


@pytest.mark.parametrize(
    ("closing", "seen", "types"),
    [
        (Closing.RESET, "reset", []),
        (Closing.CUT, "cut", []),
        (Closing.CLEAN, "clean", []),
        (Closing.END, "clean", ["sse.stream.end"]),
    ],
)
async def test_dropping_all_connections(simulator: Simulator, closing: Closing, seen: str, types: list[str]) -> None:
    """Each way of closing reaches the client as it would on a real network."""
    session = simulator.create_session("lsn-1")
    async with reading(simulator, "lsn-1") as stream:
        await stream.blocks(1)
        assert simulator.drop_all(closing) == 1
        assert [one.type for one in await stream.blocks()] == types
    await session.wait_disconnected()
    assert stream.ended == seen
    assert session.connections[0].ended == closing


async def test_a_reset_hits_a_client_that_does_not_read(simulator: Simulator) -> None:
    """A reader that is stuck in a full socket is dropped too."""
    session = simulator.create_session("lsn-1")
    session.generate(30, profile=Profile.SIZED, event_bytes=1_000_000)
    async with reading(simulator, "lsn-1"):
        await session.wait_for(lambda: session.connections[0].events > 0)
        assert Drop().apply(session) == {"dropped": 1}
        await session.wait_disconnected()
    assert session.connections[0].ended == "reset"


async def test_a_reset_of_a_connection_that_has_just_gone_does_no_harm(simulator: Simulator) -> None:
    """Its socket is closed, and whoever serves it has not heard of that yet."""
    session = simulator.create_session("lsn-1")
    async with reading(simulator, "lsn-1") as stream:
        await stream.blocks(1)
        (reader,) = session.readers
        loop = asyncio.get_running_loop()
        dropped: asyncio.Future[int] = loop.create_future()
        reader._transport.abort()  # type: ignore[attr-defined]  # as when the client hangs up
        loop.call_soon(lambda: dropped.set_result(session.drop()))
        assert await asyncio.wait_for(dropped, 20) == 1
    await session.wait_disconnected()


@pytest.mark.parametrize("mid_frame", [False, True])
async def test_drop_after_so_many_events(simulator: Simulator, mid_frame: bool) -> None:
    """Just so many whole events arrive, with half of the next one where asked; the next connection is spared."""
    session = simulator.create_session("lsn-1")
    session.generate(10)
    Drop(after_events=4, closing=Closing.CUT, mid_frame=mid_frame).apply(session)
    async with reading(simulator, "lsn-1") as stream:
        assert [one.id for one in await stream.events()] == ["1", "2", "3", "4"]
    assert stream.ended == "cut"
    assert stream.chunks[-1].endswith(b"\n\n") is not mid_frame
    async with reading(simulator, "lsn-1", last_event_id=b"4") as stream:
        assert [one.id for one in await stream.events(6)] == ["5", "6", "7", "8", "9", "10"]


async def test_half_an_event_before_a_clean_end(simulator: Simulator) -> None:
    """A body may end cleanly in the middle of an event."""
    session = simulator.create_session("lsn-1")
    session.generate(2)
    Drop(after_events=1, closing=Closing.CLEAN, mid_frame=True).apply(session)
    async with reading(simulator, "lsn-1") as stream:
        assert len(await stream.events()) == 1
    assert stream.ended == "clean"
    assert not stream.chunks[-1].endswith(b"\n\n")


async def test_repeated_and_random_drops_lose_nothing_to_a_client_that_resumes(
    simulator: Simulator, fault_seed: int
) -> None:
    """Every event arrives once when each connection goes on after the last whole event of the one before."""
    session = simulator.create_session("lsn-1")
    session.change(fresh="replay", idle_closing_seconds=0.2)
    session.generate(300)
    assert RandomDrops(mean_events=20, seed=fault_seed).apply(session) == {"seed": fault_seed}
    ids: list[str] = []
    while len(ids) < 300:
        async with reading(simulator, "lsn-1", last_event_id=ids[-1].encode() if ids else None) as stream:
            ids += [one.id or "" for one in await stream.events()]
    assert ids == [entry.id for entry in session.record]
    assert len(session.connections) > 3


async def test_silence_sends_nothing_and_then_all(simulator: Simulator) -> None:
    """While silent not even heartbeats come; afterwards what was emitted meanwhile does."""
    session = simulator.create_session("lsn-1")
    async with reading(simulator, "lsn-1") as stream:
        await stream.blocks(1)
        Silence().apply(session)
        session.change(heartbeat_interval_seconds=0.01)
        session.emit({"type": "x"})
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stream.chunk(), 0.1)
        session.change(heartbeat_interval_seconds=0)
        Silence(seconds=0.01).apply(session)
        (event,) = await stream.events(1)
    assert event.type == "x"


async def test_a_refusal_is_used_up_and_touches_its_endpoint_only(simulator: Simulator) -> None:
    """The next connects get the ordered answer, later ones the real one."""
    session = simulator.create_session("lsn-1")
    Refusal(status=500, endpoint=Endpoint.METADATA).apply(session)
    simulator.refuse(Refusal(status=429, retry_after="3", requests=2))
    for _ in range(2):
        async with reading(simulator, "lsn-1") as stream:
            assert (stream.status, stream.headers["retry-after"]) == (429, "3")
    async with reading(simulator, "lsn-1") as stream:
        assert stream.status == 200
    assert [one.ended for one in session.connections][:2] == ["refused", "refused"]
    assert simulator.requests[Endpoint.CONSUMER] == 3


@pytest.mark.parametrize(
    ("refusal", "headers"),
    [
        (
            Refusal(status=500, content_type="text/event-stream", body="data: x\n\n"),
            {"content-type": "text/event-stream"},
        ),
        (Refusal(status=302, location="http://127.0.0.1:1/", body="moved"), {"location": "http://127.0.0.1:1/"}),
        (Refusal(status=200, content_type="text/html", body="<p>login</p>"), {"content-type": "text/html"}),
        (Refusal(status=204), {"content-type": None, "content-length": None}),
    ],
    ids=["stream", "redirect", "page", "nothing"],
)
async def test_odd_answers(simulator: Simulator, refusal: Refusal, headers: dict[str, str | None]) -> None:
    """Answers that look like a stream, a redirect, a page, or nothing at all: to the last byte before the close."""
    simulator.create_session("lsn-1")
    simulator.refuse(refusal)
    async with reading(simulator, "lsn-1", headers=b"Connection: close\r\n") as stream:
        assert stream.status == refusal.status
        assert {name: stream.headers.get(name) for name in headers} == headers
        assert await stream.stream.read() == (refusal.body or "").encode()


async def test_stop_accepting_refuses_new_connections_and_keeps_open_ones(simulator: Simulator) -> None:
    """The port is closed and comes back the same; an open stream goes on."""
    session = simulator.create_session("lsn-1")
    url = simulator.base_url
    async with reading(simulator, "lsn-1") as stream:
        await stream.blocks(1)
        await simulator.stop_accepting()
        with pytest.raises(ConnectionRefusedError):
            async with reading(simulator, "lsn-1"):
                pass
        session.emit({"type": "x"})
        assert [one.type for one in await stream.events(1)] == ["x"]
        await simulator.resume_accepting()
        assert simulator.base_url == url
        async with reading(simulator, "lsn-1") as other:
            assert other.status == 200


@pytest.mark.parametrize("kind", list(Poison))
async def test_poison_arrives_and_the_next_event_too(simulator: Simulator, kind: Poison) -> None:
    """Each poison is in the record by name, and the frame after it is whole."""
    session = simulator.create_session("lsn-1")
    assert Poisoning(kind=kind, size_bytes=100_000).apply(session) == {"ids": ["1"]}
    session.emit({"type": "after"})
    async with reading(simulator, "lsn-1") as stream:
        poison, after = await stream.events(2)
    assert after.type == "after"
    assert session.record[0].poison == kind
    assert (len(poison.data) == 100_000) is (kind is Poison.OVERSIZE)


async def test_raw_bytes_stand_where_they_were_emitted(simulator: Simulator) -> None:
    """Raw bytes go out as they are, also on replay, and enter the record only as what a client should read."""
    session = simulator.create_session("lsn-1")
    session.change(start_frame=False)
    session.emit({"type": "before"})
    session.emit_raw(b'id: 7\ndata:{"type":"raw"}\n\n', id="7", data=b'{"type":"raw"}')
    session.emit_raw(b": only noise\n\n")
    async with reading(simulator, "lsn-1") as stream:
        await stream.blocks(3)
    assert stream.chunks[1:] == [b'id: 7\ndata:{"type":"raw"}\n\n', b": only noise\n\n"]
    assert [(entry.id, entry.type) for entry in session.record] == [("1", "before"), ("7", "raw")]
    async with reading(simulator, "lsn-1", last_event_id=b"7") as stream:
        assert [one.comment for one in await stream.blocks(1)] == ["only noise"]


async def test_forgotten_history_makes_cursors_unknown_and_keeps_the_record(simulator: Simulator) -> None:
    """After a loss of history a cursor from before is unknown; the record still tells what was sent."""
    session = simulator.create_session("lsn-1")
    session.change(unknown_cursor="refuse")
    session.generate(5)
    Forget(events=3).apply(session)
    async with reading(simulator, "lsn-1", last_event_id=b"2") as stream:
        assert stream.status == 410
    async with reading(simulator, "lsn-1") as stream:
        assert [one.id for one in await stream.events(2)] == ["4", "5"]
    assert len(session.record) == 5


async def test_stopping_the_simulator_leaves_no_reader_behind() -> None:
    """Open and silent connections are closed when the simulator stops."""
    async with Simulator() as simulator:
        session = simulator.create_session("lsn-1", profile=Profile.MACHINE_STATE, rate=1000)
        Silence().apply(session)
        async with reading(simulator, "lsn-1"):
            await session.wait_connected()
            await simulator.__aexit__(None, None, None)
            assert session.connections[0].ended == "stopped"
