"""Events in the step in which their bytes come: what flows, what stops it, and what whoever reads next is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from bridge.masking import Secrets
from bridge.model.labels import DisconnectReason
from bridge.model.outcomes import Closed
from bridge.model.records import PlainEvents, ServerSentEvent
from bridge.settings import SourceSettings
from bridge.source.client import LensClient
from bridge.source.stream import LensStream
from tests.support.fakes import FakeApi, fake_api, stream_head, until

CHUNKED = stream_head(Transfer_Encoding="chunked")


def event(number: int) -> bytes:
    """A frame."""
    return b'id: e%d\ndata: {"type":"t","n":%d}\n\n' % (number, number)


def chunk(body: bytes) -> bytes:
    """An HTTP chunk."""
    return b"%x\r\n%s\r\n" % (len(body), body)


class Taker:
    """Takes events, as many as it has room for at a time."""

    def __init__(self, room: int = 1_000_000) -> None:
        self.ids: list[str | None] = []
        self.room = room

    def __call__(self, found: PlainEvents | list[ServerSentEvent]) -> bool:
        events = found.events() if isinstance(found, PlainEvents) else found
        self.ids += [one.id for one in events]
        self.room -= len(events)
        return self.room > 0


@asynccontextmanager
async def flowing(**settings: Any) -> AsyncIterator[tuple[FakeApi, LensStream]]:
    """A connection that stands, and of which the first event was read."""
    given = SourceSettings.model_validate({"api_key": "key-of-a-test"} | settings)
    async with (
        asyncio.timeout(60),
        fake_api(CHUNKED + chunk(event(0)), hold=True) as api,
        LensClient(given.model_copy(update={"base_url": api.base_url}), Secrets()) as source,
    ):
        connection = await source.open("lsn-1", None)
        assert isinstance(connection, LensStream)
        assert not isinstance(await connection.read(), Closed)
        try:
            yield api, connection
        finally:
            await connection.aclose()


async def test_events_come_in_the_step_in_which_their_bytes_do() -> None:
    """No task gets a turn between the bytes and the event."""
    async with flowing() as (api, connection):
        turns_of: list[str] = []

        def take(found: PlainEvents | list[ServerSentEvent]) -> bool:
            task = asyncio.current_task()
            turns_of.append(task.get_name() if task else "the connection")
            return len(turns_of) < 3

        flow = asyncio.create_task(connection.flow(take), name="flow")
        for number in range(1, 4):
            await until(lambda number=number: len(turns_of) == number - 1)  # type: ignore[misc]
            api.writers[0].write(chunk(event(number)))
        await flow
        assert turns_of == ["the connection"] * 3


async def test_what_comes_while_there_is_no_room_waits_and_is_not_lost() -> None:
    """And nothing comes twice: it is read, or flows, when there is room again."""
    async with flowing() as (api, connection):
        taker = Taker(room=1)
        api.writers[0].write(b"".join(chunk(event(number)) for number in range(1, 2001)))
        api.writers[0].write(b"0\r\n\r\n")
        while True:
            await connection.flow(taker)
            taker.room = 7
            found = await connection.read()
            if isinstance(found, Closed):
                break
            taker(found)
        assert found.reason is DisconnectReason.CLOSED
        assert taker.ids == [f"e{number}" for number in range(1, 2001)]


async def test_a_source_that_is_faster_than_its_taker_is_held_back() -> None:
    """By TCP: what is neither taken nor read is bounded."""
    async with flowing() as (api, connection):
        api.writers[0].write(chunk(event(1)))
        await connection.flow(Taker(room=1))
        writer, body = api.writers[0], chunk(b": " + b"x" * 65_000 + b"\n")
        sent = 0
        with suppress(TimeoutError):
            while sent < 256 * 1024 * 1024:
                writer.write(body)
                async with asyncio.timeout(0.5):
                    await writer.drain()
                sent += len(body)
        assert sent < 64 * 1024 * 1024


async def test_a_fault_of_the_taker_is_raised_where_it_flows_and_breaks_no_connection() -> None:
    """Else it would pass for a connection that was reset, and be read again for ever."""
    async with flowing() as (api, connection):

        def take(_: PlainEvents | list[ServerSentEvent]) -> bool:
            raise ZeroDivisionError

        api.writers[0].write(chunk(event(1)))
        with pytest.raises(ZeroDivisionError):
            await connection.flow(take)
        taker = Taker(room=1)
        api.writers[0].write(chunk(event(2)))
        await connection.flow(taker)
        assert taker.ids == ["e2"]


@pytest.mark.parametrize("end", ["last chunk", "hang-up", "no HTTP chunk"])
async def test_what_ends_a_stream_that_flows_is_told_to_whoever_reads_next(end: str) -> None:
    """With all that came before it."""
    async with flowing() as (api, connection):
        taker = Taker()
        flow = asyncio.create_task(connection.flow(taker))
        writer = api.writers[0]
        writer.write(chunk(event(1)))
        match end:
            case "last chunk":
                writer.write(chunk(event(2)) + b"0\r\n\r\n")
            case "hang-up":
                writer.write(chunk(event(2)))
                writer.close()
            case _:
                writer.write(chunk(event(2)) + b"zz\r\n")
        await flow
        closed = await connection.read()
        assert isinstance(closed, Closed)
        clean = end == "last chunk"
        assert closed.reason is (DisconnectReason.CLOSED if clean else DisconnectReason.RESET)
        assert taker.ids == ["e1", "e2"]


async def test_silence_and_a_drip_are_seen_while_it_flows() -> None:
    """Each by its own clock."""
    async with flowing(idle_timeout_seconds=0.2) as (_, connection):
        await connection.flow(Taker())
        closed = await connection.read()
        assert isinstance(closed, Closed)
        assert closed.reason is DisconnectReason.IDLE_TIMEOUT
    async with flowing(event_timeout_seconds=0.2) as (api, connection):
        taker = Taker()
        flow = asyncio.create_task(connection.flow(taker))
        while not flow.done():
            api.writers[0].write(chunk(b"data: no end"))
            await asyncio.wait({flow}, timeout=0.02)
        closed = await connection.read()
        assert isinstance(closed, Closed)
        assert closed.reason is DisconnectReason.EVENT_TIMEOUT
        assert taker.ids == []


async def test_a_reader_that_is_cancelled_while_it_flows_takes_nothing_more() -> None:
    """What comes then is left to the server."""
    async with flowing() as (api, connection):
        taker = Taker()
        flow = asyncio.create_task(connection.flow(taker))
        api.writers[0].write(chunk(event(1)))
        await until(lambda: taker.ids == ["e1"])
        flow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await flow
        api.writers[0].write(chunk(event(2)))
        found = await connection.read()
        assert isinstance(found, list)
        assert [one.id for one in found] == ["e2"]
        assert taker.ids == ["e1"]
