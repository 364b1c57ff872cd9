"""Places that a person moves, back and ahead, under workers that read: nothing twice, nothing undeclared."""

from __future__ import annotations

import json
from typing import Any

from bridge.lab.simulator import Poison, Profile, RandomDrops, SimulatedSession
from bridge.lab.simulator.lens.switches import DestroyedRule
from tests.support.steering import steer
from tests.support.worker import KEY, Worker, until
from tests.support.worker_rig import Rig, keys_of

WINDOW_EVENTS = 64


def named(session: SimulatedSession) -> dict[str, Any]:
    """The settings of whoever rewinds it."""
    return {"sessions": session.session_id}


async def markers(rig: Rig, session: SimulatedSession) -> list[dict[str, Any]]:
    """What the gap markers of a stream say."""
    return [json.loads(one["data"]) for one in await rig.entries(session) if one["type"] == "bridge.gap"]


async def ids(rig: Rig, session: SimulatedSession) -> list[str]:
    """The ids of its events, in stream order."""
    return [one["id"] for one in await rig.entries(session) if not one["type"].startswith("bridge.")]


async def gaps(worker: Worker) -> float:
    """How many gaps a worker has met by itself."""
    return await worker.metric("gaps_total")


async def test_to_live_skips_what_waits_and_back_to_an_id_publishes_it_after_all(rig: Rig) -> None:
    """Both are declared, no event stands there twice, and no number changes."""
    session = rig.simulator.create_session("lsn-live")
    worker = await rig.worker(session).start()
    session.generate(20)
    await rig.reaches(session, 20)
    await steer(rig, "sessions", "pause", session.session_id, **named(session))
    session.generate(30)
    told = await steer(rig, "sessions", "rewind", session.session_id, "--to-live", **named(session))
    assert told.output.splitlines()[0] == "lsn-live stands behind 50; it stood behind 20"
    assert "skipped" in told.output
    assert "seq 21" in told.output
    await steer(rig, "sessions", "resume", session.session_id, **named(session))
    session.generate(10)
    await rig.reaches(session, 30)
    assert await ids(rig, session) == [str(number) for number in (*range(1, 21), *range(51, 61))]
    (skipped,) = await markers(rig, session)
    assert (skipped["reason"], skipped["last_id"], skipped["to_id"]) == ("rewound", "20", "50")
    await rig.assert_kept(session)

    told = await steer(rig, "sessions", "rewind", session.session_id, "--to", "20", "--json", **named(session))
    assert told.value == {
        "name": "lsn-live",
        "to": "id",
        "before": "60",
        "after": "20",
        "seq": 30,
        "window_events": 30,
        "again": False,
        "declared": True,
    }
    await rig.reaches(session, 60)
    session.generate(5)
    await rig.reaches(session, 65)
    order = (*range(1, 21), *range(51, 61), *range(21, 51), *range(61, 66))
    assert await ids(rig, session) == [str(number) for number in order]
    assert [one["seq"] for one in await rig.entries(session) if one["type"] != "bridge.gap"] == [
        str(number) for number in range(1, 66)
    ]
    await rig.assert_kept(session)
    assert await gaps(worker) == 0, "nobody is woken for what a person has done"


async def test_back_to_the_start_repeats_nothing_that_stands_there(rig: Rig) -> None:
    """While events flow: whoever reads is fenced, and goes on from the new place within seconds."""
    session = rig.simulator.create_session("lsn-start")
    window: dict[str, Any] = {"dedupe__window_events": "9000"}  # on a slow machine much flows while a command starts
    workers = [await rig.worker(session, **window).start() for _ in range(2)]
    session.play(Profile.SIZED, rate=30)
    await rig.reaches(session, 50)
    for _ in range(3):
        await steer(rig, "sessions", "rewind", session.session_id, "--to-start", **named(session), **window)
        await rig.reaches(session, await rig.seq(session) + 50)
    session.pause()
    report = await rig.assert_kept(session)
    assert report.sessions[0].events == len(session.record)
    assert len(set(await ids(rig, session))) == len(session.record)
    assert [one["to"] for one in await markers(rig, session)] == ["start"] * 3
    assert sum([await worker.metric("fenced_total") for worker in workers]) >= 3
    assert sum([await gaps(worker) for worker in workers]) == 0
    assert sum([await worker.metric("rollbacks_total") for worker in workers]) == 0


async def test_what_lies_further_back_than_the_window_comes_again_only_when_asked_for(rig: Rig) -> None:
    """Under new numbers, and declared: `verify` knows it, and counts it."""
    session = rig.simulator.create_session("lsn-again")
    settings: dict[str, Any] = {**named(session), "dedupe__window_events": str(WINDOW_EVENTS)}
    await rig.worker(session, dedupe__window_events=WINDOW_EVENTS).start()
    session.generate(3000)
    await rig.reaches(session, 3000)
    for to in (("--to-start",), ("--to", "5"), ("--to", "no-such-id")):
        told = await steer(rig, "sessions", "rewind", session.session_id, *to, code=2, **settings)
        assert told.errors.count("\n") == 1
        assert "--again" in told.errors
    assert await markers(rig, session) == []

    told = await steer(rig, "sessions", "rewind", session.session_id, "--to", "5", "--again", **settings)
    assert "may come again under new numbers: dedupe on the id" in told.output
    session.generate(5)

    async def caught_up() -> bool:
        return await rig.cursor(session) == "3005"

    await until(caught_up, "all of it was read once more")
    report = await rig.assert_kept(session)
    again = report.sessions[0].events - 3005
    assert again > 1000, "nearly all that lies beyond the window"
    assert any(f"{again} events stand here again" in note for note in report.sessions[0].notes), report.sessions[
        0
    ].notes


async def test_what_was_trimmed_comes_again_when_a_person_wants_it(rig: Rig) -> None:
    """The window holds what stands there, and not what stood there once."""
    session = rig.simulator.create_session("lsn-trimmed")
    await rig.worker(session).start()
    session.generate(40)
    await rig.reaches(session, 40)
    await rig.client.xtrim(keys_of(session).events, maxlen=10, approximate=False)
    await steer(rig, "sessions", "rewind", session.session_id, "--to-start", **named(session))
    await rig.reaches(session, 70)
    assert await ids(rig, session) == [str(number) for number in (*range(31, 41), *range(1, 31))]
    session.generate(1)
    await rig.reaches(session, 71)
    await rig.assert_kept(session)


async def test_connections_that_break_off_early_come_to_what_is_new_all_the_same(rig: Rig, fault_seed: int) -> None:
    """Each goes on behind what the last one has passed, though none of it is published again."""
    session = rig.simulator.create_session("lsn-broken-off")
    await rig.worker(session).start()
    session.generate(1500)
    await rig.reaches(session, 1500)
    RandomDrops(mean_events=30, seed=fault_seed).apply(session)
    await steer(rig, "sessions", "rewind", session.session_id, "--to-start", **named(session))
    session.generate(5)
    await rig.reaches(session, 1505)
    session.clear_faults()
    report = await rig.assert_kept(session)
    assert report.sessions[0].events == 1505


async def test_a_place_moved_by_hand_survives_a_kill_and_a_paused_session(rig: Rig) -> None:
    """It is committed; nothing of it is in a worker's memory."""
    session = rig.simulator.create_session("lsn-kept")
    worker = await rig.worker(session).start()
    session.generate(20)
    await rig.reaches(session, 20)
    await worker.kill()
    await steer(rig, "sessions", "rewind", session.session_id, "--to", "10", **named(session))
    assert await rig.cursor(session) == "10"
    await rig.verify(session)
    await worker.start()
    session.generate(5)
    await rig.reaches(session, 25)
    await rig.assert_kept(session)


async def test_a_session_that_is_over_is_read_again_when_its_place_is_moved(rig: Rig) -> None:
    """Though the API has said that it has ended: a person wants what it still serves."""
    session = rig.simulator.create_session("lsn-over")
    session.change(destroyed_session=DestroyedRule.REPLAY, metadata_lists_destroyed=True)
    worker = await rig.worker(session).start()
    session.generate(20)
    await rig.reaches(session, 20)
    session.destroy()

    async def over() -> bool:
        return bool((await worker.session(session.session_id))["state"] == "ended")

    await until(over, "it has ended")
    await rig.client.xtrim(keys_of(session).events, maxlen=5, approximate=False)
    await steer(rig, "sessions", "rewind", session.session_id, "--to-start", **named(session))
    await rig.reaches(session, 36)
    await until(over, "it has ended again")
    await rig.assert_kept(session)


async def test_more_than_the_window_may_lie_between_a_place_and_what_stands_ahead_of_it(rig: Rig) -> None:
    """What was skipped comes after all, whoever is killed in the middle of it; then what stands is known still."""
    session = rig.simulator.create_session("lsn-between")
    settings: dict[str, Any] = {**named(session), "dedupe__window_events": str(WINDOW_EVENTS)}
    worker = await rig.worker(session, dedupe__window_events=WINDOW_EVENTS, commit__max_events=50).start()
    session.generate(20)
    await rig.reaches(session, 20)
    await steer(rig, "sessions", "pause", session.session_id, **settings)
    session.generate(1500)
    await steer(rig, "sessions", "rewind", session.session_id, "--to-live", **settings)
    await steer(rig, "sessions", "resume", session.session_id, **settings)
    session.generate(10)
    await rig.reaches(session, 30)
    await steer(rig, "sessions", "rewind", session.session_id, "--to", "20", **settings)
    await rig.reaches(session, 31)
    await worker.kill()
    await worker.start()
    session.generate(5)
    await rig.reaches(session, 1535)
    order = (*range(1, 21), *range(1521, 1531), *range(21, 1521), *range(1531, 1536))
    assert await ids(rig, session) == [str(number) for number in order]
    await rig.assert_kept(session)


async def test_a_key_that_the_bridge_made_leads_behind_the_id_that_the_server_gave(rig: Rig) -> None:
    """Of the key itself the server knows nothing, and would go on with whatever comes next."""
    session = rig.simulator.create_session("lsn-made")
    session.change(ids=False)
    await rig.worker(session).start()
    for number, id in enumerate((None, None, "a", None, None, "b", None)):
        session.emit({"type": "t", "n": number}, id=id)
    await rig.reaches(session, 7)
    stands = await ids(rig, session)
    await steer(rig, "sessions", "pause", session.session_id, **named(session))
    for number in range(7, 10):
        session.emit({"type": "t", "n": number}, id=f"c{number}")
    told = await steer(rig, "sessions", "rewind", session.session_id, "--to", stands[1], code=2, **named(session))
    assert "came before the first id of the server: say --to-start" in told.errors
    told = await steer(rig, "sessions", "rewind", session.session_id, "--to", stands[4], **named(session))
    assert told.output.startswith("lsn-made stands behind a; it stood behind b\n")
    await steer(rig, "sessions", "resume", session.session_id, **named(session))
    await rig.reaches(session, 10)
    assert await ids(rig, session) == [*stands, "c7", "c8", "c9"]
    await steer(rig, "sessions", "rewind", session.session_id, "--to-start", **named(session))
    for number in range(10, 13):
        session.emit({"type": "t", "n": number})
        await rig.reaches(session, number + 1)
        session.drop()  # a place that was moved is not moved again by who resumes from it
    made = await ids(rig, session)
    assert made[:10] == [*stands, "c7", "c8", "c9"]
    assert [id.partition("-")[0] for id in made[10:]] == ["c9#1", "c9#2", "c9#3"]
    await rig.assert_kept(session)


async def test_where_only_dead_letters_stand_a_moved_place_is_declared_and_the_verdict_stays(rig: Rig) -> None:
    """They take no number, but the place has passed them."""
    session = rig.simulator.create_session("lsn-letters")
    await rig.worker(session).start()
    for _ in range(3):
        session.poison(Poison.INVALID_JSON)

    async def stand() -> bool:
        return await rig.cursor(session) == "3"

    await until(stand, "the letters stand")
    await steer(rig, "sessions", "rewind", session.session_id, "--to-start", **named(session))
    report = await rig.verify(session, recorded=False)
    assert report.sessions[0].faults == ()
    session.generate(2)
    await rig.reaches(session, 2)
    report = await rig.assert_kept(session)
    assert report.sessions[0].dead_letters == 3


async def test_a_key_that_is_echoed_in_the_newest_id_is_written_nowhere(rig: Rig) -> None:
    """The place is moved behind what the server sends now, whatever that is called."""
    session = rig.simulator.create_session("lsn-echo")
    session.generate(3)
    session.emit({"type": "t"}, id=f"id-{KEY}")
    told = await steer(rig, "sessions", "rewind", session.session_id, "--to-live", **named(session))
    state = await rig.client.hgetall(keys_of(session).state)
    assert state[b"cursor"]
    assert KEY not in told.output + told.errors + repr(state)
