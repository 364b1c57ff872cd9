"""A Redis that has kept only a part of a session: a careless hand, an eviction, a restore of single keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from bridge.lab.redis_server import RedisServer
from bridge.lab.simulator import CursorRule, Poison, SimulatedSession, Simulator
from bridge.model.outcomes import Lost
from bridge.store.leases import Begin
from bridge.worker.holder import SessionHolder
from tests.support.pump_rig import KEYS, Rig, rig_of
from tests.support.worker import until

FIELDS = (
    *("cursor", "ordinal", "seq", "commits", "mark"),
    *("token", "owner", "phase", "taken", "renewals", "lease_ms", "updated_at"),
)


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """Its sessions send all of their history to whoever comes without a cursor."""
    async with Simulator() as running:
        running.change(heartbeat_interval_seconds=0)
        yield running


@pytest.fixture
async def rig(simulator: Simulator, redis_server: RedisServer) -> AsyncIterator[Rig]:
    """With a window that is smaller than the history."""
    async with rig_of(simulator.base_url, redis_server.url, dedupe={"window_events": 4}) as made:
        yield made


async def reaches(holder: SessionHolder, rig: Rig, last_id: int) -> None:
    """Until the event is in the stream, whatever the holder has to go through."""

    async def reached() -> bool:
        if not holder.held:
            await holder.take()
        await holder.renew()
        return str(last_id) in await rig.ids()

    await until(reached, f"event {last_id} is there")


async def left(holder: SessionHolder) -> None:
    """Hand it over, and wait."""
    holder.hand_over()
    async with asyncio.timeout(20):
        await holder.finished()


async def grow(holder: SessionHolder, rig: Rig, session: SimulatedSession, events: int) -> None:
    """So many more events, each in a commit of its own."""
    for _ in range(events):
        session.generate(1)
        await reaches(holder, rig, len(session.record))


async def assert_kept(rig: Rig, session: SimulatedSession) -> None:
    """Each event once, in order, numbered from 1."""
    events = [entry for entry in await rig.entries() if not entry["type"].startswith("bridge.")]
    wanted = [(str(n), str(n)) for n in range(1, len(session.record) + 1)]
    assert [(entry["id"], entry["seq"]) for entry in events] == wanted


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("held", [True, False], ids=["while it is read", "while nobody reads it"])
async def test_a_state_that_has_lost_a_field_loses_no_event_and_brings_none_again(
    rig: Rig, simulator: Simulator, held: bool, field: str
) -> None:
    """Whichever it is: the rest is not taken for the whole."""
    session = simulator.create_session("lsn-1")
    holder = rig.holder()
    await grow(holder, rig, session, 20)
    if not held:
        await left(holder)
    await rig.redis.hdel(KEYS.state, field)
    await grow(holder, rig, session, 3)
    await left(holder)
    await grow(rig.holder() if held else holder, rig, session, 3)
    await assert_kept(rig, session)


async def test_numbers_that_are_lost_before_the_first_commit_behind_a_place_that_was_made_up_do_not_begin_anew(
    rig: Rig, simulator: Simulator
) -> None:
    """The state was lost, read off the entries, and then its seq was lost again."""
    session = simulator.create_session("lsn-1")
    holder = rig.holder()
    await grow(holder, rig, session, 3)
    await left(holder)
    await rig.redis.delete(KEYS.state)
    find = rig.leases.find_seed
    await rig.leases.acquire(KEYS, await find(KEYS, "lsn-1") or Begin())
    lease = await rig.lease()
    await rig.redis.hdel(KEYS.state, "seq")
    running = rig.pump(lease)
    session.generate(1)
    async with asyncio.timeout(20):
        assert isinstance(await running.run(), Lost)
    await grow(rig.holder(), rig, session, 1)
    await assert_kept(rig, session)


@pytest.mark.parametrize("lost", [(KEYS.seen,), (KEYS.state, KEYS.seen)], ids=["the window", "the state"])
async def test_a_dead_letter_is_not_written_again_where_a_part_of_the_session_was_lost(
    rig: Rig, simulator: Simulator, lost: tuple[str, ...]
) -> None:
    """The server replays it: it is known from the dead letters as the events are from the entries."""
    session = simulator.create_session("lsn-1")
    holder = rig.holder()
    await grow(holder, rig, session, 2)
    for kind in (Poison.INVALID_JSON, Poison.NO_TYPE):
        session.poison(kind)
    await grow(holder, rig, session, 1)
    session.poison(Poison.INVALID_JSON)
    await until(lambda: rig.figures.cursor == session.record[-1].id, "the dead letter is passed")
    await left(holder)
    await rig.redis.delete(*lost)
    session.change(cursor=CursorRule.REPLAY)
    holder = rig.holder()  # another worker's, which remembers nothing
    await grow(holder, rig, session, 2)
    letters = [entry["id"] for entry in await rig.entries(KEYS.dead_letter)]
    assert letters == [one.id for one in session.record if one.poison]
    assert await rig.ids() == [one.id for one in session.record if not one.poison]
    await left(holder)


async def test_a_window_that_knows_as_many_letters_as_it_lacks_events_is_not_taken_for_whole(
    rig: Rig, simulator: Simulator
) -> None:
    """It was deleted under its holder; the numbers count events alone."""
    session = simulator.create_session("lsn-1")
    holder = rig.holder()
    await grow(holder, rig, session, 2)
    await rig.redis.delete(KEYS.seen)
    for _ in range(2):
        session.poison(Poison.INVALID_JSON)
    await grow(holder, rig, session, 1)
    await left(holder)
    session.change(cursor=CursorRule.REPLAY)
    holder = rig.holder()
    await grow(holder, rig, session, 1)
    assert await rig.ids() == ["1", "2", "5", "6"]
    assert [entry["id"] for entry in await rig.entries(KEYS.dead_letter)] == ["3", "4"]
    await left(holder)


async def test_a_dead_letter_that_another_worker_wrote_is_not_written_again_from_an_older_memory(
    rig: Rig, simulator: Simulator
) -> None:
    """It moved no number, so the numbers do not tell which of the two places is the older one."""
    session = simulator.create_session("lsn-1")
    holder, other = rig.holder(), rig.holder()
    await grow(holder, rig, session, 2)
    await left(holder)
    session.poison(Poison.INVALID_JSON)
    await other.take()
    await until(lambda: rig.figures.cursor == "3", "the dead letter is passed")
    await left(other)
    await rig.redis.delete(KEYS.state, KEYS.seen)
    await grow(holder, rig, session, 1)
    assert [entry["id"] for entry in await rig.entries(KEYS.dead_letter)] == ["3"]
    await left(holder)


async def test_a_dead_letter_that_was_cut_is_known_to_the_worker_that_wrote_it(rig: Rig, simulator: Simulator) -> None:
    """What is left of it tells nothing; but who passed it remembers the place behind it."""
    session = simulator.create_session("lsn-1")
    holder = rig.holder()
    await grow(holder, rig, session, 1)
    session.emit(b"{" + b"x" * 70_000)
    await until(lambda: rig.figures.cursor == "2", "the dead letter is passed")
    await left(holder)
    await rig.redis.delete(KEYS.state, KEYS.seen)
    await grow(holder, rig, session, 1)
    assert [entry["truncated"] for entry in await rig.entries(KEYS.dead_letter)] == ["1"]
    await left(holder)


async def test_a_dead_letter_that_all_began_with_is_known_though_the_window_was_lost(
    rig: Rig, simulator: Simulator
) -> None:
    """It has no number; and sent again, it would pass for another event under the id that we stand behind."""
    session = simulator.create_session("lsn-1")
    holder = rig.holder()
    session.poison(Poison.INVALID_JSON)
    await holder.take()
    await until(lambda: rig.figures.cursor == "1", "the dead letter is passed")
    await left(holder)
    await rig.redis.delete(KEYS.seen)
    session.change(overlap_events=1)
    holder = rig.holder()
    await grow(holder, rig, session, 1)
    assert [entry["id"] for entry in await rig.entries(KEYS.dead_letter)] == ["1"]
    assert await rig.ids() == ["2"]
    await left(holder)
