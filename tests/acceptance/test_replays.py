"""Servers that replay, that know no ids, that send garbage, and ids that hardly fit into a header."""

from __future__ import annotations

import random
from functools import partial

import pytest

from bridge.lab.simulator import Closing, CursorRule, FreshRule, IdStyle, Poison, Profile, RandomDrops, SimulatedSession
from tests.support.worker import DEADLINE_SECONDS, until
from tests.support.worker_rig import Rig, keys_of

REPLAYED_EVENTS = 500
CONSTANT = {"type": "inference.result", "event_data": {"response": ["HEALTHY"]}}
PUBLISHED = {Poison.NAN, Poison.LONE_SURROGATE}  # Python's json reads them, and a server written in Python sends them
REASONS = {
    Poison.INVALID_JSON: b"invalid_json",
    Poison.NOT_AN_OBJECT: b"missing_type",
    Poison.NO_TYPE: b"missing_type",
    Poison.TYPE_NOT_TEXT: b"missing_type",
    Poison.EMPTY: b"invalid_json",
    Poison.OVERSIZE: b"oversize",
    Poison.NUL: b"invalid_json",
    Poison.PYTHON_REPR: b"invalid_json",
}
ODD_IDS = [
    "событие-1-☃",
    "日本語",
    "naïve café",
    "two words",
    "tab\tinside",
    "x" * 4000,
    '"quoted", \\back, 50%',
    "{braces}:<angles>",
    "-1",
    "0",
    "𝄞",
    "7~0badcafe",
]


async def test_a_server_that_replays_500_events_at_each_reconnect_brings_no_duplicate(
    rig: Rig, fault_random: random.Random, fault_seed: int
) -> None:
    """It ignores Last-Event-ID; connections drop at random; the worker is killed once on top of it."""
    print(f"fault seed {fault_seed}")
    session = rig.simulator.create_session("lsn-replayed")
    session.change(cursor=CursorRule.TAIL, tail_events=REPLAYED_EVENTS)
    RandomDrops(mean_events=700, seed=fault_random.getrandbits(32)).apply(session)
    worker = await rig.worker(session, commit__max_events=50, dedupe__window_events=600, lease__ttl_seconds=1).start()
    killed_after = fault_random.randint(6, 15)
    for count in range(20):  # in steps: what is more than 500 events ago would not be served again
        session.generate(100)
        if count == killed_after:
            await worker.kill()
            await worker.start()
        await rig.reaches(session, len(session.record))
    report = await rig.assert_kept(session)
    assert report.sessions[0].events == len(session.record)
    assert await worker.metric("events_skipped_total", reason="duplicate") > 0  # since the kill
    assert await worker.metric("replay_overruns_total") == 0


async def test_a_replay_longer_than_the_window_is_counted_and_verify_says_no(rig: Rig) -> None:
    """What the bridge cannot promise it says: the cursor itself came again and was not recognised as old."""
    session = rig.simulator.create_session("lsn-overrun")
    session.change(cursor=CursorRule.REPLAY)
    worker = await rig.worker(session, commit__max_events=10, dedupe__window_events=20).start()
    session.generate(200)
    await rig.reaches(session, 200)
    session.drop()
    await until(worker.counts("replay_overruns_total", 1), "the overrun is counted")
    report = await rig.verify(session)
    assert not report.ok
    assert "duplicate" in report.verdict


async def test_without_ids_nothing_is_missing_and_replays_are_recognised(
    rig: Rig, fault_random: random.Random, fault_seed: int
) -> None:
    """The server knows no ids and sends all it has at each reconnect; each reconnect declares a gap."""
    print(f"fault seed {fault_seed}")
    session = rig.simulator.create_session("lsn-nameless")
    session.change(ids=False)
    worker = await rig.worker(session, commit__max_events=20).start()
    await session.wait_connected(timeout=DEADLINE_SECONDS)
    session.play(Profile.SIZED, rate=150, limit=400)
    await rig.reaches(session, 100)
    session.drop(Closing.CUT)
    RandomDrops(mean_events=200, seed=fault_random.getrandbits(32)).apply(session)
    await session.wait_for(lambda: len(session.record) == 400, DEADLINE_SECONDS)
    report = await rig.assert_kept(session)
    assert report.sessions[0].without_id == report.sessions[0].events >= 400
    assert await worker.metric("events_skipped_total", reason="duplicate") > 0
    assert report.sessions[0].gaps == await worker.metric("gaps_total", reason="no_cursor") > 0


@pytest.mark.parametrize("fresh", list(FreshRule))
async def test_without_ids_equal_payloads_are_never_taken_for_replays(
    rig: Rig, fault_random: random.Random, fault_seed: int, fresh: FreshRule
) -> None:
    """A machine that is HEALTHY again and again: every one of its reports counts, also right after a reconnect."""
    print(f"fault seed {fault_seed}")
    session = rig.simulator.create_session("lsn-constant")
    session.change(ids=False, fresh=fresh)
    worker = await rig.worker(session, commit__max_events=5).start()
    await session.wait_connected(timeout=DEADLINE_SECONDS)
    for _ in range(20):
        for _ in range(fault_random.randint(1, 5)):
            session.emit(CONSTANT)
        await until(worker.counts("events_received_total", len(session.record)), "all of them are read")
        if fault_random.random() < 0.5:
            connections = len(session.connections)
            session.drop(Closing.CUT)
            await session.wait_for(partial(_connected_again, session, connections), DEADLINE_SECONDS)
    report = await rig.assert_kept(session)
    if fresh is FreshRule.LIVE:  # nothing came twice, so nothing may stand there twice
        assert report.sessions[0].events == len(session.record)


async def test_poisonous_events_are_set_aside_or_passed_on_and_the_stream_goes_on(rig: Rig) -> None:
    """Each kind in a session of its own: between good events, and as the last one before the worker is killed."""
    sessions = {kind: rig.simulator.create_session(f"lsn-{kind}") for kind in Poison}
    worker = await rig.worker(*sessions.values(), source__max_event_bytes=100_000, lease__ttl_seconds=1).start()
    for kind, session in sessions.items():
        session.generate(5)
        session.poison(kind, size_bytes=200_000)
        session.generate(5)
        session.poison(kind, size_bytes=200_000)

    async def passed() -> bool:
        return all([await rig.cursor(session) == session.record[-1].id for session in sessions.values()])

    await until(passed, "the cursors move past them")
    await worker.kill()
    for session in sessions.values():
        session.generate(5)
    await worker.start()
    # Bytes that are no UTF-8 are passed on as they came; the record holds what the SSE standard reads in their place.
    garbled = sessions.pop(Poison.INVALID_UTF8)
    await rig.assert_kept(*sessions.values())
    assert (await rig.verify(garbled, recorded=False)).ok
    await rig.reaches(garbled, len(garbled.record))
    assert b'"\xff\xfe"' in (await rig.raw_entries(keys_of(garbled).events))[5][1][b"data"]
    for kind, session in sessions.items():
        letters = await rig.raw_entries(keys_of(session).dead_letter)
        reasons = [letter[b"reason"] for _, letter in letters]
        assert reasons == ([] if kind in PUBLISHED else [REASONS[kind]] * 2), kind
        assert await rig.seq(session) == len(session.record) - len(reasons)


async def test_an_odd_id_comes_back_to_the_server_as_it_was(rig: Rig) -> None:
    """Each is the cursor of a reconnect once: the header holds its very bytes, and nothing is lost or repeated."""
    session = rig.simulator.create_session("lsn-odd")
    await rig.worker(session).start()
    for id in ODD_IDS:
        session.emit(CONSTANT, id=id)

        async def committed(id: str = id) -> bool:
            return await rig.cursor(session) == id

        await until(committed, f"committed: {id!r}")
        connections = len(session.connections)
        session.drop()
        await session.wait_for(partial(_connected_again, session, connections), DEADLINE_SECONDS)
        assert session.connections[-1].last_event_id == id.encode()
    report = await rig.assert_kept(session)
    assert report.sessions[0].events == len(ODD_IDS)
    assert not report.sessions[0].gaps


def _connected_again(session: SimulatedSession, connections: int) -> bool:
    return len(session.connections) > connections and bool(session.readers)


async def test_ids_outside_latin_1_survive_drops_and_a_kill(rig: Rig, fault_random: random.Random) -> None:
    """The cursor is several bytes a character, in the header and in Redis."""
    session = rig.simulator.create_session("lsn-unicode")
    session.change(id_style=IdStyle.UNICODE)
    RandomDrops(mean_events=50, closing=Closing.RESET, seed=fault_random.getrandbits(32)).apply(session)
    session.play(Profile.ACTIVITY, rate=300, limit=900)
    worker = await rig.worker(session, commit__max_events=20, lease__ttl_seconds=1).start()
    await rig.reaches(session, 200)
    await worker.kill()
    await worker.start()
    await rig.reaches(session, 900)
    await rig.assert_kept(session)
