"""The control API over HTTP, and the small endpoints of the lens API."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

import aiohttp
import pytest

from bridge.lab.simulator import Closing, Endpoint, Profile, Simulator, Switches
from tests.support.simulator_reader import reading


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """A simulator without heartbeats, its control API on a port of its own."""
    async with Simulator(Switches(heartbeat_interval_seconds=0), control_port=0) as running:
        yield running


class Caller:
    """Calls with a JSON body and gives status and JSON back."""

    def __init__(self, client: aiohttp.ClientSession, url: str) -> None:
        self._client = client
        self._url = url

    async def __call__(self, method: str, path: str, body: object = None, key: str = "") -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        async with self._client.request(method, self._url + path, json=body, headers=headers) as answer:
            return answer.status, await answer.json()


@asynccontextmanager
async def calling(url: str) -> AsyncIterator[Caller]:
    """A caller for one base URL."""
    async with aiohttp.ClientSession() as client:
        yield Caller(client, url)


async def test_a_session_is_created_fed_and_read_over_http(simulator: Simulator) -> None:
    """Create, emit in every way, read the stream, and find the same in the record."""
    async with calling(simulator.control_url) as control:
        status, session = await control(
            "POST", "/sessions", {"session_id": "lsn-1", "switches": {"id_style": "opaque"}}
        )
        assert (status, session["session_id"], session["events"]) == (200, "lsn-1", 0)
        at = "/sessions/lsn-1"
        await control("POST", f"{at}/events", {"events": [{"type": "a"}, {"type": "b"}], "ids": ["x", "y"]})
        await control("POST", f"{at}/events", {"data": ['{"type":"c","n":NaN}']})
        await control("POST", f"{at}/events", {"raw": ": noise\n\n"})
        await control("POST", f"{at}/events", {"raw_base64": base64.b64encode(b"data: \xff\n\n").decode()})
        assert await control("POST", f"{at}/events", {"generate": 1200}) == (200, {"emitted": 1200, "events": 1205})
        async with reading(simulator, "lsn-1") as stream:
            events = [one for one in await stream.events(1204) if one.data != b"\xff"]
        _, record = await control("GET", f"{at}/record")
        assert record["count"] == 1203
        assert [(one["id"], one["sha256"]) for one in record["events"]] == [
            (one.id, hashlib.sha256(one.data).hexdigest()) for one in events
        ]
        assert [one["type"] for one in record["events"][:4]] == ["a", "b", "c", "inference.result"]
        _, part = await control("GET", f"{at}/record?offset=1&limit=1")
        assert part == {"count": 1203, "events": record["events"][1:2]}


async def test_switches_for_all_and_for_one_session(simulator: Simulator) -> None:
    """A session's own switch wins over the common one until it is deleted."""
    async with calling(simulator.control_url) as control:
        await control("POST", "/sessions", {"session_id": "lsn-1"})
        await control("PATCH", "/sessions/lsn-1/switches", {"tail_events": 7})
        _, common = await control("PATCH", "/switches", {"tail_events": 9, "ids": False})
        _, own = await control("GET", "/sessions/lsn-1/switches")
        assert (common["tail_events"], own["tail_events"], own["ids"]) == (9, 7, False)
        _, own = await control("DELETE", "/sessions/lsn-1/switches")
        assert own == common


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("PATCH", "/switches", {"id": False}, 400, "did you mean 'ids'"),
        ("PATCH", "/switches", {"tail_events": -1}, 400, "'tail_events' takes a whole number of 0 or more, not -1"),
        ("PATCH", "/switches", [1], 400, "object"),
        ("POST", "/sessions", {"session_id": "a/b"}, 400, "a/b"),
        ("POST", "/sessions", {"session_id": "lsn-1"}, 400, "exists"),
        ("POST", "/sessions", {"session_id": "lsn-2", "switches": {"x": 1}}, 400, "no switch named 'x'"),
        ("POST", "/sessions/lsn-1/events", {}, 400, "just one of"),
        ("POST", "/sessions/lsn-1/events", {"events": [{}], "ids": []}, 400, "0 ids for 1 events"),
        ("POST", "/sessions/lsn-1/events", {"raw_base64": "*"}, 400, "raw_base64"),
        (
            "POST",
            "/sessions/lsn-1/faults",
            {"fault": "drop", "events": 1},
            400,
            "no drop field named 'events'; did you mean 'after_events'?",
        ),
        (
            "POST",
            "/faults",
            {"fault": "drop", "closing": "abrupt"},
            400,
            "end, clean, cut or reset, not 'abrupt'",
        ),
        ("POST", "/faults", {"fault": "random_drops"}, 400, "'mean_events' is missing; it takes a number above 0"),
        ("POST", "/faults", {"fault": "fire"}, 400, "no fault named 'fire'; there are drop, random_drops, silence,"),
        ("POST", "/faults", {}, 400, "no fault named None; there are drop"),
        ("PATCH", "/switches", {"cursor": "forget"}, 400, "takes honour, replay, tail or live, not 'forget'"),
        ("POST", "/sessions/lsn-1/faults", {"fault": "stop_accepting"}, 400, "share one port"),
        ("PATCH", "/sessions/lsn-1", {"rate": 2}, 400, "profile and rate"),
        ("GET", "/sessions/lsn-1/record?limit=some", None, 400, "limit"),
        ("GET", "/sessions/lsn-none/record", None, 404, "lsn-none"),
    ],
)
async def test_mistakes_are_told_in_one_line(
    simulator: Simulator, method: str, path: str, body: object, status: int, words: str
) -> None:
    """A wrong order changes nothing and says what is wrong."""
    simulator.create_session("lsn-1")
    async with calling(simulator.control_url) as control:
        assert (answer := await control(method, path, body))[0] == status
        assert words in answer[1]["error"]
    assert list(simulator.sessions) == ["lsn-1"]


async def test_a_profile_speaks_at_its_rate_up_to_its_limit(simulator: Simulator) -> None:
    """Generated events carry a dense counter, a type and a time; speaking can be stopped and begun again."""
    async with calling(simulator.control_url) as control:
        await control(
            "POST", "/sessions", {"session_id": "lsn-1", "profile": "machine_state", "rate": 500, "limit": 20}
        )
        async with reading(simulator, "lsn-1") as stream:
            events = await stream.events(20)
            await control("PATCH", "/sessions/lsn-1", {"profile": "activity", "rate": 1000})
            events += await stream.events(5)
            _, session = await control("DELETE", "/sessions/lsn-1/profile")
            assert session["generated"] >= 25
    bodies = [one.body for one in events]
    assert [body["event_data"]["n"] for body in bodies] == list(range(1, 26))
    assert bodies[0]["timestamp"] > 1_000_000_000
    assert bodies[24]["type"] == "log.info"


async def test_a_destroyed_session_says_no_more(simulator: Simulator) -> None:
    """Destroying over control ends the profile too: the stream ends, and so does the count."""
    async with calling(simulator.control_url) as control:
        await control("POST", "/sessions", {"session_id": "lsn-1", "profile": "sized", "rate": 1000})
        async with reading(simulator, "lsn-1") as stream:
            await stream.events(3)
            _, session = await control("DELETE", "/sessions/lsn-1")
            events = await stream.blocks()
        await simulator.create_session("other", profile=Profile.SIZED, rate=1000, limit=20).wait_for(
            lambda: simulator.sessions["other"].generated == 20
        )
        _, later = await control("GET", "/sessions/lsn-1")
    assert events[-1].type == "sse.stream.end"
    assert (session["status"], later["generated"]) == ("DESTROYED", session["generated"])


async def test_faults_over_http(simulator: Simulator) -> None:
    """Refusals, drops, silence, poison and lost history, each by its name."""
    session = simulator.create_session("lsn-1")
    async with calling(simulator.control_url) as control:
        order = {"fault": "refuse", "status": 429, "retry_after": 7, "requests": 1}
        assert (await control("POST", "/faults", order))[0] == 200
        async with reading(simulator, "lsn-1") as stream:
            assert (stream.status, stream.headers["retry-after"]) == (429, "7")
        async with reading(simulator, "lsn-1") as stream:
            await stream.blocks(1)
            _, answer = await control("POST", "/faults", {"fault": "drop", "closing": "cut"})
            assert answer == {"sessions": {"lsn-1": {"dropped": 1}}}
            assert await stream.blocks() == []
        _, answer = await control("POST", "/sessions/lsn-1/faults", {"fault": "random_drops", "mean_events": 9})
        assert isinstance(answer["sessions"]["lsn-1"]["seed"], int)
        order = {"fault": "drop", "closing": "cut", "after_events": 3, "repeat": True}
        await control("POST", "/sessions/lsn-1/faults", order)
        session.generate(6)
        for _ in range(2):
            async with reading(simulator, "lsn-1") as stream:
                assert [one.id for one in await stream.events()] == ["1", "2", "3"]
        assert (await control("GET", "/sessions/lsn-1"))[1]["drop_in_events"] == 3
        await control("POST", "/sessions/lsn-1/faults", {"fault": "silence"})
        assert (await control("GET", "/sessions/lsn-1"))[1]["silent"]
        await control("DELETE", "/faults")
        _, state = await control("GET", "/sessions/lsn-1")
        assert (state["silent"], state["drop_in_events"]) == (False, None)
        await control("POST", "/sessions/lsn-1/faults", {"fault": "poison", "size_bytes": 1000})
        poisons = [entry.poison for entry in session.record[6:]]
        assert len(set(poisons)) == len(poisons) > 5
        await control("POST", "/sessions/lsn-1/faults", {"fault": "forget"})
        assert session.history.oldest == session.history.end


async def test_stop_accepting_over_http(simulator: Simulator) -> None:
    """Control keeps its own port, so it can end what it began."""
    simulator.create_session("lsn-1")
    async with calling(simulator.control_url) as control:
        await control("POST", "/faults", {"fault": "stop_accepting"})
        with pytest.raises(ConnectionRefusedError):
            async with reading(simulator, "lsn-1"):
                pass
        await control("POST", "/faults", {"fault": "resume_accepting"})
        async with reading(simulator, "lsn-1") as stream:
            assert stream.status == 200


async def test_stop_accepting_on_a_shared_port_needs_an_end() -> None:
    """Without a port of its own control could not be asked to accept again."""
    async with Simulator() as simulator, calling(simulator.control_url) as control:
        status, answer = await control("POST", "/faults", {"fault": "stop_accepting"})
        assert status == 400
        assert "seconds" in answer["error"]
        await control("POST", "/faults", {"fault": "stop_accepting", "seconds": 0.1})
        with pytest.raises(ConnectionRefusedError):
            async with reading(simulator, "lsn-none"):
                pass
        async with asyncio.timeout(10):
            while True:
                with contextlib.suppress(ConnectionRefusedError):
                    async with reading(simulator, "lsn-none") as stream:
                        assert stream.status == 404
                        break


async def test_the_connection_log_tells_what_a_client_asked(simulator: Simulator) -> None:
    """The cursor's bytes, the key check, the events sent and the end of each connect."""
    session = simulator.create_session("lsn-1")
    session.generate(3)
    async with reading(simulator, "lsn-1", last_event_id="☃".encode()) as stream:
        await stream.blocks(1)
    await session.wait_disconnected()
    async with reading(simulator, "lsn-1", key="wrong"), reading(simulator, "lsn-none"):
        pass
    async with calling(simulator.control_url) as control:
        _, connections = await control("GET", "/sessions/lsn-1/connections")
        _, strays = await control("GET", "/connections")
        _, overview = await control("GET", "")
    first, second = connections
    assert first["last_event_id_hex"] == "☃".encode().hex()
    assert first["last_event_id"] == "☃".encode().decode("latin-1")
    assert (first["authorized"], first["status"], first["ended"]) == (True, 200, "client")
    assert (second["authorized"], second["status"], second["ended"]) == (False, 401, "refused")
    assert [one["session_id"] for one in strays] == ["lsn-none"]
    assert overview["requests"] == {"consumer": 3}


async def test_the_other_endpoints_answer_as_the_real_ones(simulator: Simulator) -> None:
    """Create, process and destroy return the record with the caller's key; metadata lists active sessions only."""
    simulator.api_keys.append("other-key")
    async with calling(simulator.base_url + "/lens/sessions") as lens:
        _, record = await lens("POST", "/create", {"lens_id": "machine_state"}, key="other-key")
        identity = record["session_id"]
        assert record["api_key"] == "other-key"
        assert record["session_status"] == "SESSION_STATUS_RUNNING"
        await simulator.sessions[identity].wait_for(lambda: simulator.sessions[identity].generated > 0)
        order = {"session_id": identity, "event": {"type": "session.status"}}
        assert (await lens("POST", "/events/process", order, key="other-key"))[1]["api_key"] == "other-key"
        simulator.create_session("lsn-another").destroy()
        simulator.create_session("lsn-another")
        _, rows = await lens("GET", f"/metadata?session_id={identity}&shard_index=-1", key="other-key")
        assert [(row["session_id"], row["num_outputs"]) for row in rows] == [(identity, 1)]
        assert "api_key" not in rows[0]
        await lens("POST", "/destroy", {"session_id": identity}, key="other-key")
        assert (await lens("GET", f"/metadata?session_id={identity}", key="other-key")) == (200, [])
        simulator.change(metadata_lists_destroyed=True, status_spelling="bare")
        _, rows = await lens("GET", "/metadata", key="other-key")
        assert {row["session_id"]: row["session_status"] for row in rows} == {
            identity: "DESTROYED",
            "lsn-another": "RUNNING",
        }
        assert (await lens("GET", "/info", key="other-key"))[1]["num_active_sessions"] == 1
        assert (await lens("POST", "/destroy", {"session_id": identity}, key="other-key"))[0] == 404
        assert (await lens("POST", "/create", {}, key="other-key"))[0] == 400
    assert simulator.requests[Endpoint.DESTROY] == 2


async def test_metadata_for_an_unknown_session_and_a_wrong_key(simulator: Simulator) -> None:
    """An empty array or a status for an unknown id; no answer without a key; a rotated key works at once."""
    async with calling(simulator.base_url + "/lens/sessions") as lens, calling(simulator.control_url) as control:
        assert await lens("GET", "/metadata?session_id=lsn-none", key="simulated-key") == (200, [])
        simulator.change(metadata_unknown_status=404)
        assert (await lens("GET", "/metadata?session_id=lsn-none", key="simulated-key"))[0] == 404
        assert (await lens("GET", "/metadata", key="wrong"))[0] == 401
        await control("PUT", "/api-keys", {"api_keys": ["wrong"]})
        assert (await lens("GET", "/metadata", key="wrong"))[0] == 200
        simulator.change(check_key=False)
        assert (await lens("GET", "/metadata"))[0] == 200


async def test_an_echoed_key_stands_in_generated_events(simulator: Simulator) -> None:
    """The switch that lets tests see whether a client masks the key."""
    simulator.change(echo_key=True)
    session = simulator.create_session("lsn-1")
    session.generate(1)
    async with reading(simulator, "lsn-1") as stream:
        (event,) = await stream.events(1)
    assert event.body["event_data"]["api_key"] == "simulated-key"


async def test_the_simulator_explains_itself_to_eyes_and_programs() -> None:
    """`GET /` is text for curl and JSON where Accept asks for it, on the ports of both APIs."""
    async with Simulator(control_port=0) as simulator, aiohttp.ClientSession() as client:
        for url in (simulator.base_url.removesuffix("/v0.5"), simulator.control_url.removesuffix("/control")):
            async with client.get(url, headers={"Accept": "*/*"}) as answer:
                assert answer.content_type == "text/plain"
                text = await answer.text()
            async with client.get(url, headers={"Accept": "application/json"}) as answer:
                told = await answer.json()
            assert (told["base_url"], told["control_url"]) == (simulator.base_url, simulator.control_url)
            assert f"{simulator.control_url}/faults" in text
            assert "PATCH /control/sessions/{id}" in text
            assert "cursor=honour\n    What the server does with Last-Event-ID.\n" in text
            assert "\ndrop\n    Close connections, now or after some more events.\n    closing=reset\n" in text
            assert [one["name"] for one in told["switches"]] == list(asdict(Switches()))
            drop = next(one for one in told["faults"] if one["name"] == "drop")
            assert [one["name"] for one in drop["fields"]] == ["closing", "after_events", "mid_frame", "repeat"]
            assert drop["fields"][0]["values"] == {one.value: one.means for one in Closing}
