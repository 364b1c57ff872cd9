"""Keys, unknown hosts, ended and unknown sessions: what the worker says, and how it comes back without a restart."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

from bridge.lab.simulator import Closing, Profile, Refusal, SimulatedSession
from tests.support.fakes import answer, listening, stream_head
from tests.support.worker import DEADLINE_SECONDS, KEY, Condition, Worker, until
from tests.support.worker_rig import Rig, keys_of

PAGES = ("/status", "/metrics", "/")


async def test_a_wrong_key_is_told_once_and_a_rotated_file_mends_it_without_a_restart(rig: Rig, tmp_path: Path) -> None:
    """Kubernetes swaps the file; the worker looks at it again long before the next slow retry."""
    session = rig.simulator.create_session("lsn-locked")
    session.generate(20)
    file = tmp_path / "key"
    file.write_text("an-old-key\n")
    worker = await rig.worker(
        session, source__api_key=None, source__api_key_file=file, source__slow_retry_seconds=600
    ).start()
    await until(_state(worker, session, "unauthorized"), "unauthorized")
    assert await worker.ready()
    assert len(session.connections) == 1
    (told,) = worker.said("source.refused")
    assert "401" in told["error"]
    assert "source.api_key_file" in told["error"]
    assert "an-old-key" not in worker.log.read_text()
    replacement = tmp_path / "new"
    replacement.write_text(f"{KEY}\n")
    replacement.rename(file)
    await until(_state(worker, session, "streaming"), "streaming")
    await rig.assert_kept(session)


async def test_a_rotated_file_brings_all_sessions_back_together(rig: Rig, tmp_path: Path) -> None:
    """Each compares with the key that it was refused with, not with the one that the first of them has sent since."""
    sessions = [rig.simulator.create_session(f"lsn-locked-{number}") for number in (1, 2, 3)]
    for session in sessions:
        session.generate(5)
    file = tmp_path / "key"
    file.write_text("an-old-key")
    worker = rig.worker(*sessions, source__api_key=None, source__api_key_file=file, source__slow_retry_seconds=600)
    await worker.start()
    for session in sessions:
        await until(_state(worker, session, "unauthorized"), "unauthorized")
    replacement = tmp_path / "new"
    replacement.write_text(KEY)
    replacement.rename(file)
    for session in sessions:
        await rig.reaches(session, 5)
    await rig.assert_kept(*sessions)


async def test_a_source_that_drops_after_every_few_events_is_read_without_growing_waits(rig: Rig) -> None:
    """Thirty connections in a row, each with something new: the backoff may grow to an hour here, and does not."""
    session = rig.simulator.create_session("lsn-drops")
    await rig.worker(session, source__backoff_max_seconds=3600).start()
    for count in range(1, 31):
        session.generate(3)
        await rig.reaches(session, 3 * count)
        session.drop()
    await rig.assert_kept(session)


async def test_a_refusal_inside_a_stream_is_told_and_published_once(rig: Rig) -> None:
    """A frame of type `error` and a close, at each attempt, while the metadata endpoint lists the session."""
    error = b'data: {"type": "error", "message": "no reader left for the session"}\n\n'

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked_after = b"/metadata?" in head.split(b"\r\n")[0]
        listed = answer(200, b'[{"session_id": "lsn-refused", "session_status": "RUNNING"}]')
        writer.write(listed if asked_after else stream_head() + error)

    async with listening(serve) as port:
        worker = await rig.worker("lsn-refused", source__base_url=f"http://127.0.0.1:{port}/v0.5").start()
        await until(worker.counts("source_connects_total", 6, outcome="ok"), "several attempts")
        assert await worker.metric("events_received_total", type="error") == 1
        assert await worker.metric("gaps_total") == 1  # without ids, and once
        assert await worker.metric("events_published_total") == 2
        (told,) = worker.said("source.refused")
        assert "no reader left for the session" in told["error"]
        assert await worker.metric("events_skipped_total", reason="duplicate") >= 4


async def test_an_unknown_host_keeps_the_worker_up_and_is_named(rig: Rig) -> None:
    """A name that no resolver may know (RFC 6761)."""
    session = rig.simulator.create_session("lsn-nowhere")
    url = "http://lens.invalid/v0.5"
    worker = await rig.worker(session, source__base_url=url, source__connect_timeout_seconds=2).start()
    await until(lambda: bool(worker.said("source.refused")), "the refusal is logged")
    assert url in worker.said("source.refused")[0]["error"]
    assert (await worker.get("/livez"))[0] == 200
    await worker.wait_ready()
    assert (await worker.session(session.session_id))["state"] in ("waiting", "connecting")


async def test_a_refused_connection_is_tried_again_until_the_server_is_back(rig: Rig) -> None:
    """Nobody listens for a while; then all that was emitted comes."""
    session = rig.simulator.create_session("lsn-refused")
    await rig.simulator.stop_accepting()
    worker = await rig.worker(session).start()
    await until(worker.counts("source_connects_total", 3, outcome="refused"), "several attempts")
    assert (await worker.get("/livez"))[0] == 200
    await worker.wait_ready()
    session.generate(50)
    await rig.simulator.resume_accepting()
    await rig.assert_kept(session)


async def test_an_unknown_session_is_gone(rig: Rig) -> None:
    """The API knows the key but not the session. The worker stays: it may come."""
    worker = await rig.worker("lsn-unheard-of").start()

    async def gone() -> bool:
        return bool((await worker.session("lsn-unheard-of"))["state"] == "gone")

    await until(gone, "gone")
    assert worker.running


async def test_destroyed_sessions_end_with_a_marker_and_batch_use_with_zero(rig: Rig) -> None:
    """With `sse.stream.end` or without it: the metadata endpoint says that the session is over."""
    sessions = [rig.simulator.create_session(f"lsn-destroyed-{closing}") for closing in Closing]
    for session, closing in zip(sessions, Closing, strict=True):
        session.change(destroy_closing=closing)
        session.generate(100)
    worker = await rig.worker(*sessions, arguments=["--until-ended"]).start()
    for session in sessions:
        await rig.reaches(session, 50)
        await session.wait_caught_up(timeout=DEADLINE_SECONDS)
        session.destroy()
    assert await worker.exit_code() == 0
    report = await rig.assert_kept(*sessions)
    for session, judged in zip(sessions, report.sessions, strict=True):
        *_, last = await rig.entries(session)
        assert last["type"] == "bridge.session.ended"
        assert (judged.events, judged.markers) == (100, 1)
        assert await rig.owner(session) is None
    again = await rig.worker(*sessions, arguments=["--until-ended"]).start()
    assert await again.exit_code() == 0
    assert [await rig.seq(session) for session in sessions] == [100] * len(sessions)


async def test_the_end_of_a_stream_whose_session_still_runs_is_only_a_reconnect(rig: Rig) -> None:
    """Idle streams get `sse.stream.end` every fifth of a second while the session lives."""
    session = rig.simulator.create_session("lsn-idle-ends")
    session.change(idle_closing_seconds=0.2, idle_closing=Closing.END)
    worker = await rig.worker(session).start()
    for count in range(1, 6):
        session.generate(10)
        await until(worker.counts("source_disconnects_total", count, reason="end"), "an end")
    report = await rig.assert_kept(session)
    assert (report.sessions[0].events, report.sessions[0].markers) == (50, 0)
    assert (await worker.session(session.session_id))["state"] not in ("ended", "gone")


async def test_a_key_that_the_server_echoes_is_shown_and_stored_nowhere(rig: Rig) -> None:
    """In payloads, ids, event names, garbage and error reports."""
    session = rig.simulator.create_session("lsn-echo")
    session.change(echo_key=True)
    session.generate(20)
    session.emit({"type": f"of {KEY}", "event_data": {}}, id=f"id-{KEY}")
    session.emit(f"no json but {KEY}")
    session.change(event_name=f"named-{KEY}")
    session.emit({"type": "log.info", "event_data": {}})
    session.change(event_name="message")
    worker = await rig.worker(session, log__level="debug").start()
    await rig.reaches(session, 22)
    rig.simulator.refuse(Refusal(status=400, body=f'{{"detail": "bad request of {KEY}"}}', requests=3))
    rig.simulator.refuse(Refusal(status=200, content_type="application/json", body=f'"{KEY}"'))
    session.drop()
    session.play(Profile.ACTIVITY, rate=100, limit=20)
    await rig.reaches(session, 42)
    await until(worker.counts("secrets_masked_total", 43), "all of them were masked")
    pages = [(await worker.get(page))[1] for page in PAGES]
    await worker.kill()
    keys = keys_of(session)
    letters = await rig.raw_entries(keys.dead_letter)
    assert len(letters) == 1
    stored: list[Any] = [letters, await rig.raw_entries(keys.events)]
    stored += [await rig.client.hgetall(keys.state), await rig.client.lrange(keys.seen, 0, -1)]
    for place in (*pages, worker.log.read_text(), *map(repr, stored)):
        assert KEY not in place
    report = await rig.verify(session, recorded=False)
    assert report.ok, report


async def test_a_silent_server_is_left_and_found_again(rig: Rig) -> None:
    """The connection stays open without a byte: the idle time-out ends it."""
    session = rig.simulator.create_session("lsn-silent")
    worker = await rig.worker(session, source__idle_timeout_seconds=0.5).start()
    session.generate(20)
    await rig.reaches(session, 20)
    session.silence()
    session.generate(20)
    await until(worker.counts("source_disconnects_total", 1, reason="idle_timeout"), "the idle time-out")
    session.speak()
    report = await rig.assert_kept(session)
    assert report.sessions[0].events == 40


async def test_a_taken_admin_port_is_one_clear_line(rig: Rig) -> None:
    """A mistake that only a person can mend: exit code 2, no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        worker = await rig.worker("lsn-any", admin__port=taken.getsockname()[1]).start()
        assert await worker.exit_code() == 2
    assert "BRIDGE_ADMIN__PORT" in worker.log_tail()
    assert "Traceback" not in worker.log_tail()


def _state(worker: Worker, session: SimulatedSession, state: str) -> Condition:
    async def stands() -> bool:
        return bool((await worker.session(session.session_id))["state"] == state)

    return stands
