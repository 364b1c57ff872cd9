"""What people say of a session, as its holder carries it out, and how a worker hears of it: on a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from bridge.lab.simulator import SimulatedSession
from bridge.model.labels import SessionState
from bridge.model.place import Lease, Session
from bridge.model.registered import Order, Registered, Verb
from bridge.store.fleet.sessions import Change, SessionBook
from bridge.store.leases import Leases
from bridge.worker.following import Following
from bridge.worker.holder import SessionHolder
from bridge.worker.holders import Holders
from bridge.worker.roster import Origin, Roster
from tests.support.fakes import until
from tests.support.pump_rig import KEYS, Rig


@pytest.fixture
async def holder(rig: Rig) -> AsyncIterator[SessionHolder]:
    """What the worker has to do with the session; let go at the end."""
    made = rig.holder()
    yield made
    made.bar()
    async with asyncio.timeout(20):
        await made.finished()


async def settled(holder: SessionHolder) -> None:
    """Wait until it is no longer held."""
    async with asyncio.timeout(20):
        await holder.finished()


async def test_a_paused_session_is_let_go_and_cannot_be_taken(
    rig: Rig, holder: SessionHolder, session: SimulatedSession
) -> None:
    """What was read is committed first; then it goes on from there."""
    await holder.take()
    session.generate(3)
    await until(lambda: rig.figures.seq == 3)
    shown = []
    for paused in (True, False):
        holder.pause(paused)
        await settled(holder)
        shown.append((rig.figures.state, holder.wanted))
        if paused:
            await holder.take()
            session.generate(2)
        assert not holder.held
    assert shown == [(SessionState.PAUSED, False), (SessionState.STANDBY, True)]
    await holder.take()
    await until(lambda: rig.figures.seq == 5)


async def test_what_is_paused_or_let_go_while_it_is_taken_is_not_kept(holder: SessionHolder) -> None:
    """The lease was asked for already: it is given back."""
    for barred in (False, True):
        taking = asyncio.create_task(holder.take())
        await asyncio.sleep(0)
        holder.bar() if barred else holder.pause(True)
        await taking
        await settled(holder)
        assert not holder.held
        assert not holder.wanted
        holder.pause(False)


async def test_a_session_that_is_over_shows_so_again_when_it_is_resumed(
    rig: Rig, holder: SessionHolder, session: SimulatedSession
) -> None:
    """To pause it changes nothing of its fate."""
    session.generate(1)
    await holder.take()
    await until(lambda: rig.figures.seq == 1)
    session.destroy()
    await settled(holder)
    shown = [rig.figures.state]
    for paused in (True, False):
        holder.pause(paused)
        shown.append(rig.figures.state)
    assert shown[0] in (SessionState.ENDED, SessionState.GONE)
    assert shown == [shown[0], SessionState.PAUSED, shown[0]]


async def test_who_looks_afresh_learns_at_once_that_the_place_is_no_longer_its_own(
    rig: Rig, holder: SessionHolder
) -> None:
    """And not at the next renewal of its lease."""
    await holder.take()
    other = Leases(rig.link, "other", 30)
    held: Any = await other.acquire(KEYS)
    assert isinstance(await other.acquire(KEYS, overdue=held.beat), Lease)
    assert rig.figures.fenced == 0
    await holder.look_afresh()
    await settled(holder)
    assert rig.figures.fenced == 1


# following


class Followed:
    """A worker's part that follows, with holders that do nothing but stand there."""

    def __init__(self, rig: Rig, *, restores: bool = True) -> None:
        made: Any = self._make
        self.holders = Holders(made)
        self.roster = Roster(lambda one: one.session_id, on_change=self.holders.follow)
        self.orders: list[Order] = []
        self.book = SessionBook(rig.link)
        self.following = Following(
            SessionBook(rig.link), self.roster, self.holders, self.orders.append, restores=restores
        )

    class _Holder:
        def __init__(self, session: Session) -> None:
            self.session, self.fingerprint = session, session.session_id.encode()
            self.paused = self.was_free = False

        def pause(self, paused: bool) -> None:
            self.paused = paused

        def bar(self) -> None:
            """Nothing is held."""

        async def finished(self) -> None:
            """At once."""

    def _make(self, session: Session) -> Any:
        return self._Holder(session)

    @property
    def names(self) -> dict[str, bool]:
        """Which sessions there are, and whether they are paused."""
        return {one.session.name: one.paused for one in self.holders}

    async def say(self, *records: Registered, orders: tuple[Order, ...] = ()) -> None:
        """As a command does."""
        await self.book.follow()
        assert await self.book.change([Change(name=one.name, after=one) for one in records], orders) == []


@pytest.fixture
async def followed(rig: Rig) -> AsyncIterator[Followed]:
    """It follows."""
    made = Followed(rig)
    task = asyncio.create_task(made.following.run())
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await made.holders.aclose()


def record(name: str, **more: Any) -> Registered:
    """One of that name."""
    return Registered(name=name, session_id=f"lsn-{name}", **more)


async def test_what_is_said_is_followed(followed: Followed) -> None:
    """Added, paused from the start, resumed, removed; and orders are passed on once."""
    followed.roster.put(Origin.CONFIGURED, [Session(name="c", session_id="lsn-c")])
    await until(lambda: followed.holders.known)
    await followed.say(record("a"), record("b", paused=True), Registered(name="c", paused=True))
    await until(lambda: followed.names == {"c": True, "a": False, "b": True})
    order = Order(verb=Verb.DRAIN, to="w/1")
    await followed.say(record("b"), orders=(order,))
    await until(lambda: order in followed.orders)
    assert followed.names == {"c": True, "a": False, "b": False}
    await followed.book.follow()
    await followed.book.change([Change(name=name, after=None) for name in "ac"])
    await until(lambda: followed.names == {"c": False, "b": False})
    assert followed.orders.count(order) == 1


async def test_an_emptied_redis_removes_nothing_and_is_written_again(followed: Followed, redis: Redis) -> None:
    """It is still wanted."""
    await followed.say(record("a"), record("b", paused=True))
    await until(lambda: len(followed.names) == 2)
    await redis.flushall()

    async def written() -> int:
        return int(await redis.hlen("lens:sessions"))

    async with asyncio.timeout(60):
        while await written() < 2:
            assert followed.names == {"a": False, "b": True}
            await asyncio.sleep(0.01)
    await redis.hdel("lens:sessions", "a")
    await until(lambda: followed.names == {"b": True})


async def test_what_is_said_right_after_redis_was_emptied_takes_nothing_away(followed: Followed, redis: Redis) -> None:
    """Before a worker has looked: as many changes as it knew of make no register that it knows."""
    await followed.say(record("a"), record("b", paused=True))
    await until(lambda: len(followed.names) == 2)
    await redis.flushall()
    await followed.say(record("c"), record("b"))
    await until(lambda: followed.names == {"a": False, "b": False, "c": False})

    async with asyncio.timeout(60):
        while await redis.hlen("lens:sessions") < 3:
            await asyncio.sleep(0.01)


async def test_what_several_workers_write_again_at_once_is_whole_before_any_of_them_believes_it(
    followed: Followed, redis: Redis, rig: Rig
) -> None:
    """It goes in portions; who looked between two of them would let go of the rest, and forget its place."""
    names = {f"n{number}" for number in range(1200)}
    other = Followed(rig)
    task = asyncio.create_task(other.following.run())
    await followed.say(*map(record, names))
    await until(lambda: {*followed.names} == {*other.names} == names)
    gone: list[Any] = []
    for one in (followed, other):
        one.roster.on_change = gone.append  # nothing is to change any more, but for what is added at the end
    await redis.flushall()

    async with asyncio.timeout(60):
        while await redis.hlen("lens:sessions") < len(names):
            await asyncio.sleep(0.001)
    await other.say(record("last"))
    await until(lambda: len(gone) >= 2)
    assert not any(change.disappeared for change in gone)
    assert {*followed.roster.sessions} == {*other.roster.sessions} == {*names, "last"}
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_nonsense_in_a_record_is_refused_and_ends_no_worker(followed: Followed, redis: Redis) -> None:
    """Whatever a hash can hold: all workers read it."""
    nonsense: dict[Any, Any] = {
        "huge": '{"session_id": "x", "added_at": 1' + "0" * 400 + "}",
        "deep": "[" * 100_000,
        "later": '{"session_id": "y", "version": 9}',
        "list": '{"session_id": ["x"]}',
        "bytes": b"\xff\xfe",
        "endless": '{"session_id": "z", "added_at": 1e999}',
    }
    await redis.hset("lens:sessions", mapping=nonsense)
    await until(lambda: {*followed.names} == {"later", "endless"})
    await followed.say(record("a"))
    await until(lambda: "a" in followed.names)


async def test_a_register_that_may_not_be_read_holds_nothing_up(followed: Followed, redis: Redis, rig: Rig) -> None:
    """What is configured is read all the same; a key of another type is somebody's mistake."""
    await redis.set("lens:sessions", "not a hash")
    blocked = Followed(rig)
    task = asyncio.create_task(blocked.following.run())
    await until(lambda: blocked.holders.known)
    await redis.delete("lens:sessions")
    await blocked.say(record("a"))
    await until(lambda: blocked.names == {"a": False})
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
