"""Sessions that nobody names: found at the API, read, retired; and an API that is silent, which takes none away."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bridge.lab.simulator import Endpoint, LensStatus, Profile, Refusal, SimulatedSession
from tests.support.steering import steer
from tests.support.worker import DEADLINE_SECONDS, Condition, Worker, until
from tests.support.worker_rig import Rig, keys_of


def following(rig: Rig, **settings: object) -> Worker:
    """A worker that is told of no session, unless ``settings`` do."""
    own: dict[str, object] = {"discovery__enabled": True, "discovery__interval_seconds": 1, "sessions": None}
    return rig.worker(arguments=(), **(own | settings))


async def test_sessions_that_come_are_read_from_their_first_event_and_those_that_end_are_retired(rig: Rig) -> None:
    """By two workers, which share them, under load; the end of each stands in its stream before it is let go of."""
    first = [rig.simulator.create_session(f"lsn-there-{n}", profile=Profile.SIZED, rate=50) for n in range(4)]
    workers = [await following(rig, retention__ended_seconds=2).start() for _ in range(2)]
    await until(_all_read(first), "those that are there are read")
    later = [rig.simulator.create_session(f"lsn-later-{n}", profile=Profile.SIZED, rate=50) for n in range(4)]
    await until(_all_read(later), "those that come are read")
    for session in first:
        session.destroy()
    retired = {session.session_id for session in first}
    for worker in workers:
        await until(_told_of(worker, "session.retired", retired), "retired")
        assert await worker.metric("discovery_sessions") == 4
    for session in first:
        assert (await rig.entries(session))[-1]["type"] == "bridge.session.ended"
    for session in later:
        session.pause()
    await rig.assert_kept(*later)
    await rig.assert_kept(*first)
    assert sum([await worker.metric("lease_held") for worker in workers]) == 4


async def test_only_the_lenses_and_statuses_that_are_wanted_are_read_in_every_spelling(rig: Rig) -> None:
    """A template makes the names; one that is configured keeps the name that it was given, and is read once."""
    wanted = "lns-wanted"
    spellings = ("bare", "digit", "prefixed", "qualified")
    running = {
        spelling: rig.simulator.create_session(
            f"lsn-{spelling}", switches={"status_spelling": spelling}, lens_id=wanted
        )
        for spelling in spellings
    }
    starting = rig.simulator.create_session("lsn-starting", lens_id=wanted)
    starting.set_status(LensStatus.STARTING)
    failed = rig.simulator.create_session("lsn-failed", lens_id=wanted)
    failed.set_status(LensStatus.FAILED)
    others = rig.simulator.create_session("lsn-of-another-lens", lens_id="lns-other")
    worker = await following(
        rig,
        sessions="camera=lsn-bare",
        discovery__lens_ids="lns-wanted",
        discovery__statuses="SESSION_STATUS_RUNNING",
        discovery__name="found-<session_id>",
    ).start()
    await until(_all_read(list(running.values())), "those that are wanted are read")
    assert not starting.connections
    starting.set_status(LensStatus.RUNNING)
    await until(lambda: bool(starting.readers), "as soon as it runs")
    for session in [*running.values(), starting]:
        session.generate(3)
        name = "camera" if session.session_id == "lsn-bare" else f"found-{session.session_id}"
        await until(worker.counts("events_published_total", 3, stream=name), f"read as {name}")
        assert len(session.connections) == 1
    assert not failed.connections
    assert not others.connections
    assert await worker.metric("discovery_sessions") == 5
    assert await worker.metric("lease_held") == 5


@pytest.mark.parametrize(
    "refusal",
    [
        Refusal(endpoint=Endpoint.METADATA, status=429, requests=1000, retry_after=1),
        Refusal(endpoint=Endpoint.METADATA, status=503, requests=1000),
        Refusal(endpoint=Endpoint.METADATA, status=200, requests=1000, body='{"type": "error", "message": "no"}'),
        Refusal(endpoint=Endpoint.METADATA, status=200, requests=1000, body="[]"),
    ],
    ids=["rate limit", "server error", "error with 200", "an empty list"],
)
async def test_an_api_that_does_not_tell_takes_no_session_away(rig: Rig, refusal: Refusal) -> None:
    """Not for as long as it lasts; an empty list is believed only after the session was asked after by its id."""
    session = rig.simulator.create_session("lsn-kept", profile=Profile.SIZED, rate=50)
    worker = await following(rig, retention__ended_seconds=1).start()
    await until(_all_read([session]), "it is found")
    asked = rig.simulator.requests[Endpoint.METADATA]
    rig.simulator.refuse(refusal)
    await until(lambda: rig.simulator.requests[Endpoint.METADATA] >= asked + 3, "asked again and again")
    rig.simulator.clear_faults()
    later = rig.simulator.create_session("lsn-later")
    await until(_all_read([later]), "and when it tells again, what is new is found", timeout=2 * DEADLINE_SECONDS)
    session.pause()
    await rig.assert_kept(session)
    assert len(session.connections) == 1
    assert not worker.said("session.removed")
    if refusal.body != "[]":
        assert len(worker.said("discovery.unanswered")) == 1
        assert await worker.metric("discovery_failures_total") >= 1


async def test_a_worker_that_starts_while_the_api_does_not_tell_begins_with_what_was_found_before(rig: Rig) -> None:
    """Killed, so that it could say nothing; the API limits the rate of that one question."""
    sessions = [rig.simulator.create_session(f"lsn-before-{n}", profile=Profile.SIZED, rate=50) for n in range(3)]
    worker = await following(rig).start()
    await until(_all_read(sessions), "they are found")
    await until(_kept(rig), "and kept")
    await worker.kill()
    rig.simulator.refuse(Refusal(endpoint=Endpoint.METADATA, status=429, requests=1000))
    await worker.start()
    await until(_all_read(sessions), "read again")
    assert worker.said("discovery.recalled")[0]["sessions"] == 3
    rig.simulator.clear_faults()
    later = rig.simulator.create_session("lsn-later")
    await until(_all_read([later]), "found once it tells")
    for session in sessions:
        session.pause()
    await rig.assert_kept(*sessions)


async def test_a_list_that_is_shorter_than_the_truth_ends_nobody(rig: Rig) -> None:
    """Those that it lacks are asked after by their ids, also by the worker that does not read them."""
    sessions = [rig.simulator.create_session(f"lsn-row-{n}") for n in range(4)]
    workers = [await following(rig, retention__ended_seconds=1).start() for _ in range(2)]
    await until(_all_read(sessions), "all are found")
    for worker in workers:
        await until(worker.counts("lease_held", 2), "and shared")
    rig.simulator.change(metadata_rows=1)
    asked = rig.simulator.requests[Endpoint.METADATA]
    await until(lambda: rig.simulator.requests[Endpoint.METADATA] >= asked + 20, "asked after, one by one")
    for worker in workers:
        assert await worker.metric("discovery_sessions") == 4
        assert not worker.said("session.retired")
    assert all(one.readers for one in sessions)


async def test_the_next_session_of_a_lens_goes_on_in_the_same_stream(rig: Rig) -> None:
    """Consumers keep their key; all of the first session and its end stand before the second one's events."""
    first = rig.simulator.create_session("lsn-first", lens_id="lns-1", profile=Profile.SIZED, rate=50)
    worker = await following(rig, discovery__name="camera-<lens_id>").start()
    await until(_all_read([first]), "the first is read")
    second = rig.simulator.create_session("lsn-second", lens_id="lns-1")
    await until(lambda: bool(worker.said("discovery.refused")), "the second is told to wait")
    assert "the name camera-lns-1 is that of lsn-first" in worker.said("discovery.refused")[0]["reason"]
    first.destroy()
    await until(_all_read([second]), "its turn has come")
    second.generate(5)
    key = "lens:{camera-lns-1}:events"

    async def five() -> bool:
        return [e[b"session_id"] for _, e in await rig.raw_entries(key)][-5:] == [b"lsn-second"] * 5

    await until(five, "in the stream of the first")
    entries = [fields for _, fields in await rig.raw_entries(key)]
    firsts = [fields for fields in entries if fields[b"session_id"] == b"lsn-first"]
    assert entries[: len(firsts)] == firsts
    assert firsts[-1][b"type"] == b"bridge.session.ended"
    assert [int(fields[b"seq"]) for fields in firsts[:-1]] == list(range(1, len(first.record) + 1))


async def test_commands_know_what_was_found(rig: Rig) -> None:
    """`sessions list` shows those sessions, `verify` judges them, and one is paused and resumed by its name."""
    for command in ("verify", "tail"):
        told = await steer(rig, command, code=2)
        assert told.errors.startswith(
            "lens-bridge: no sessions are configured, registered or found: set BRIDGE_SESSIONS"
        )
    found, added = (rig.simulator.create_session(f"lsn-{name}", profile=Profile.SIZED, rate=20) for name in "ab")
    file = rig.directory / "bridge.yaml"
    file.write_text("discovery: {enabled: true, interval_seconds: 1, name: cam-<session_id>}\n")
    same = str(file)
    worker = await rig.worker(arguments=("--config", same), sessions=None).start()
    await until(_all_read([found, added]), "both are found")
    await until(_kept(rig), "and kept")
    await steer(rig, "sessions", "add", "door=lsn-b", config=same)
    await until(_said(worker, "lease.taken", "door"), "read under the name that it was given")
    told = await steer(rig, "sessions", "list", "--json", config=same)
    assert {(one["name"], one["origin"]) for one in told.value["sessions"]} == {
        ("cam-lsn-a", "discovered"),
        ("door", "registered"),
    }
    await steer(rig, "sessions", "pause", "cam-lsn-a", config=same)
    await until(lambda: not found.readers, "paused")
    await steer(rig, "sessions", "resume", "cam-lsn-a", config=same)
    await until(_all_read([found]), "and read again")
    for session in (found, added):
        session.pause()
    told = await steer(rig, "verify", "--json", "--simulator", rig.simulator.control_url, "--settle", "60", config=same)
    assert {one["name"] for one in told.value["sessions"]} == {"cam-lsn-a", "door"}
    assert told.value["ok"]


async def test_discovery_is_turned_on_and_off_by_a_reload(rig: Rig) -> None:
    """And leaves the configured ones alone."""
    configured, found = (rig.simulator.create_session(f"lsn-{name}") for name in ("configured", "found"))
    file = rig.directory / "bridge.yaml"
    file.write_text("sessions: [lsn-configured]\n")
    worker = await rig.worker(arguments=("--config", str(file)), sessions=None).start()
    await until(_all_read([configured]), "the configured one is read")
    file.write_text("sessions: [lsn-configured]\ndiscovery: {enabled: true, interval_seconds: 1}\n")
    worker.reload()
    await until(_all_read([found]), "the other one is found")
    file.write_text("sessions: [lsn-configured]\n")
    worker.reload()
    await until(lambda: not found.readers, "and let go of")
    assert len(configured.connections) == 1
    await until(_released(rig, found), "its lease was given back")


def _kept(rig: Rig) -> Condition:
    async def kept() -> bool:
        return bool(await rig.client.keys("lens:sessions:{lens:sessions}:found:*"))

    return kept


def _all_read(sessions: Sequence[SimulatedSession]) -> Condition:
    return lambda: all(session.readers for session in sessions)


def _said(worker: Worker, event: str, name: str) -> Condition:
    return lambda: any(line["session"] == name for line in worker.said(event))


def _told_of(worker: Worker, event: str, names: set[str]) -> Condition:
    return lambda: {line["session"] for line in worker.said(event)} == names


def _released(rig: Rig, session: SimulatedSession) -> Condition:
    async def released() -> bool:
        return await rig.client.get(keys_of(session).lease) is None

    return released
