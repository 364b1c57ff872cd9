"""The consumer endpoint on a real socket: what it answers when there is no stream to give."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from bridge.lab.simulator import LensStatus, Simulator
from tests.support.simulator_reader import reading


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """A simulator as it is by default."""
    async with Simulator() as running:
        yield running


async def test_unknown_cursor_is_refused_with_the_switched_status(simulator: Simulator) -> None:
    """The refusal has the status and an error body, and stands in the connection log."""
    simulator.change(unknown_cursor="refuse", unknown_cursor_status=400, error_shape="texts")
    session = simulator.create_session("lsn-1")
    async with reading(simulator, "lsn-1", last_event_id=b"nobody-knows") as stream:
        assert stream.status == 400
        assert "Last-Event-ID" in json.loads(await stream.body())["errors"][0]
    assert (session.connections[0].ended, session.connections[0].status) == ("refused", 400)


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
