"""Dead letters that are published after all, against a real Redis: once each, whoever commits, dies or loses what."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from bridge.delivery.window import digest_of
from bridge.errors import SinkFault
from bridge.lab.redis_server import RedisServer
from bridge.model.keys import session_keys
from bridge.model.labels import DeadLetterReason, Phase
from bridge.model.outcomes import Fenced, ReplayAsked
from bridge.model.place import Lease, Place
from bridge.model.records import DeadLetter, Piece, Record, Run
from bridge.operations.letters import Choice, Letter, LetterStream, Wish, read, wish_of
from bridge.operations.replays import Replayed, replay
from bridge.store.commits import RedisSink
from bridge.store.leases import Leases
from bridge.verify import StreamTarget, verify
from bridge.verify.report import Report, render_text
from tests.support.committer_bench import Bench, Fate, Unreliable, run_of
from tests.support.fakes import until

LAST, EACH = 600, 7  # the source has events 1 to LAST, and each so many-th is a dead letter


def letter_of(number: int, data: bytes = b"", **changes: Any) -> Record:
    """The n-th event, refused by Redis when it came."""
    data = data or b'{"type":"t","n":%d}' % number
    dead = DeadLetter(DeadLetterReason.REJECTED, "no", truncated=False)
    key = str(number)
    return Record(key, "t", data, 1.0, "message", digest_of(data), key, 0, dead)._replace(**changes)


def pieces_of(first: int, events: int) -> list[Piece]:
    """So many of the source's events."""
    found: list[Piece] = []
    at, end = first, first + events
    while at < end:
        if at % EACH == 0:
            found.append(letter_of(at))
            at += 1
        else:
            size = min(end - at, EACH - at % EACH)
            found.append(run_of(at, size))
            at += size
    return found


class Play:
    """A session whose holder meets fates, and a person who asks for letters meanwhile."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.stream = LetterStream(key=bench.keys.dead_letter, events={"lsn-1": bench.keys.events})
        self.acknowledged: dict[int, str] = {}
        self._landed = bench.numbers.landed
        self._taken = bench.numbers.taken
        bench.numbers.landed = self._note  # type: ignore[method-assign]
        bench.numbers.taken = self._note_letters  # type: ignore[method-assign]

    def _note(self, batch: Any, seq: int) -> None:
        at = seq
        for piece in batch:
            for record in piece.records() if isinstance(piece, Run) else (piece,):
                at += record.skip or 0
                if record.numbered:
                    at += 1
                    assert self.acknowledged.setdefault(at, record.key) == record.key, "a number has two events"
        self._landed(batch, seq)

    def _note_letters(self, first: int, last: int) -> None:
        for number in range(first, last + 1):
            assert self.acknowledged.setdefault(number, "a letter") == "a letter", "a number has two events"
        self._taken(first, last)

    async def wishes(self) -> list[Wish]:
        """All that stands among the dead letters."""
        found = [wish_of(letter) async for letter in read(self.bench.redis, self.stream, Choice())]
        assert all(isinstance(one, Wish) for one in found)
        return [one for one in found if isinstance(one, Wish)]

    async def ask(self, wait_seconds: float = 30.0) -> list[Replayed]:
        """What the command does."""
        return await replay(self.bench.settings.redis, [self.stream], await self.wishes(), wait_seconds)

    async def read_on(self, sizes: list[int], sink: RedisSink) -> Any:
        """Hold the session from its place to the last event, and give it back. As `Pump` and `SessionHolder` do it."""
        lease = await self.bench.lease()
        committer, buffer, window = self.bench.committer(lease, sink)
        running = asyncio.ensure_future(committer.run())

        async def renew() -> None:
            while True:
                with suppress(SinkFault):
                    if isinstance(await self.bench.leases.renew(self.bench.keys, lease.token), ReplayAsked):
                        committer.replay_letters()
                await asyncio.sleep(0.001)

        renewing = asyncio.create_task(renew())
        at = int(lease.place.cursor or 0) + 1
        for size in [*sizes, LAST]:
            size = min(size, LAST + 1 - at)
            for piece in pieces_of(at, size) if size > 0 else ():
                keys = (
                    zip(piece.keys, piece.digests, strict=True)
                    if isinstance(piece, Run)
                    else ((piece.key, piece.digest),)
                )
                window.remember_all(dict(keys))
                buffer.put([piece])
            at += max(size, 0)
            await asyncio.sleep(0.001)
        buffer.close()
        try:
            async with asyncio.timeout(60):
                outcome = await running
        finally:
            renewing.cancel()
        if outcome is None:
            await self.bench.leases.release(self.bench.keys, lease.token)
        return outcome

    async def judged(self) -> Report:
        """What `verify` says."""
        return await verify(self.bench.redis, [StreamTarget(stream_key=self.bench.keys.events)])


@pytest.fixture
async def play(redis_server: RedisServer, redis: Redis) -> AsyncIterator[Play]:
    """On an empty session."""
    bench = Bench(redis_server.url, redis)
    yield Play(bench)
    await bench.aclose()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    fates=st.lists(
        st.sampled_from([Fate.LANDS, Fate.LANDS, *(one for one in Fate if one is not Fate.REFUSED)]), max_size=14
    ),
    sizes=st.lists(st.sampled_from([1, 3, 64, 70, 130]), max_size=12),
    killed_after=st.lists(st.sampled_from([0.0, 0.002, 0.005, 0.01, 0.05]), min_size=1, max_size=8),
)
def test_whatever_befalls_holder_and_command_each_letter_is_published_once(
    shared_redis_server: RedisServer, fates: list[Fate], sizes: list[int], killed_after: list[float]
) -> None:
    """Lost replies, late packets, takeovers, rollbacks, a command killed at any time: once each, numbered, known."""

    async def perform() -> None:
        client: Redis = Redis.from_url(shared_redis_server.url)
        bench = Bench(shared_redis_server.url, client)
        play = Play(bench)

        async def kill_again_and_again() -> None:
            for seconds in killed_after:
                asking = asyncio.create_task(play.ask())
                await asyncio.wait({asking}, timeout=seconds)
                asking.cancel()
                await asyncio.wait({asking})
                if not asking.cancelled():
                    asking.result()
                await asyncio.sleep(0.003)

        try:
            sink = Watched(bench, deque(fates))
            killing = asyncio.create_task(kill_again_and_again())
            while await play.read_on(sizes, sink) is not None:
                pass
            await killing
            while await play.wishes():
                for one in await play.ask():
                    assert not one.left, one
            entries = await bench.entries(bench.keys.events)
            events = [entry for entry in entries if not entry["type"].startswith("bridge.")]
            assert sorted(int(entry["id"]) for entry in events) == [*range(1, LAST + 1)], "each once"
            read_in_order = [int(entry["id"]) for entry in events if "dead_letter" not in entry]
            assert read_in_order == sorted(read_in_order), "in order"
            assert {int(entry["id"]) % EACH for entry in events if "dead_letter" in entry} <= {0}
            report = await play.judged()
            assert report.ok, render_text(report)
        finally:
            await bench.aclose()
            await client.aclose()

    asyncio.run(perform())


class Watched(Unreliable):
    """Sees to it that nothing is under way beside the commit that publishes letters: its answer tells how many."""

    def __init__(self, rig: Bench, fates: deque[Fate]) -> None:
        super().__init__(rig, fates)
        self._under_way: set[bytes] = set()
        self._replays: set[bytes] = set()

    def pack_replay(self, token: str, place: Place, mark: str, phase: Phase, traceparent: str = "") -> bytes:
        """Note which it is."""
        packed = super().pack_replay(token, place, mark, phase, traceparent)
        self._replays.add(packed)
        return packed

    def post(self, packed: bytes, hear: Callable[[asyncio.Future[object]], None]) -> asyncio.Future[object]:
        """Look beside it."""
        assert not self._under_way or self._replays.isdisjoint({packed, *self._under_way}), "not alone"
        self._under_way.add(packed)

        def heard(reply: asyncio.Future[object]) -> None:
            self._under_way.discard(packed)
            hear(reply)

        return super().post(packed, heard)


class Holding:
    """A session that is held until the test lets go of it."""

    def __init__(self, play: Play, lease: Lease) -> None:
        self.play, self.lease = play, lease
        self.committer, self.buffer, self._window = play.bench.committer(lease, Watched(play.bench, deque()))
        self._running = asyncio.ensure_future(self.committer.run())

    async def commit(self, *pieces: Piece) -> None:
        """Until it stands."""
        commits = self.committer.place.commits
        self.buffer.put(pieces)
        await until(lambda: self.committer.place.commits > commits and not self.committer.in_flight)

    async def renew(self) -> Any:
        """As the holder does."""
        answer = await self.play.bench.leases.renew(self.play.bench.keys, self.lease.token)
        if isinstance(answer, ReplayAsked):
            self.committer.replay_letters()
        return answer

    async def give_back(self) -> None:
        """The last commit, and the lease."""
        self.buffer.close()
        async with asyncio.timeout(20):
            await self._running
        await self.play.bench.leases.release(self.play.bench.keys, self.lease.token)

    async def drop(self) -> None:
        """As a holder does that finds its place rolled back."""
        self._running.cancel()
        await asyncio.wait({self._running})


async def held(play: Play) -> Holding:
    """Take the lease."""
    return Holding(play, await play.bench.lease())


async def test_the_holder_publishes_what_is_asked_for_behind_what_stands_there(play: Play) -> None:
    """Under its own id and the next number, with all that the letter knew, and the letter is gone."""
    holding = await held(play)
    await holding.commit(run_of(1, 6), letter_of(7, event="named"), run_of(8, 2), letter_of(14), run_of(15, 1))
    (before, _) = [letter async for letter in read(play.bench.redis, play.stream, Choice(until_ms=None))][::-1]
    asking = asyncio.create_task(play.ask())
    await until_asked(play)
    await holding.renew()
    async with asyncio.timeout(20):
        (told,) = await asking
    assert (len(told.done), told.left, told.why) == (2, (), "")
    entries = await play.bench.entries(play.bench.keys.events)
    assert [(one["id"], int(one["seq"])) for one in entries[-2:]] == [("7", 10), ("14", 11)]
    assert entries[-2] == {
        "id": "7",
        "session_id": "lsn-1",
        "name": play.bench.session.name,
        "seq": "10",
        "type": "t",
        "data": '{"type":"t","n":7}',
        "received_at": "1.000",
        "event": "named",
        "dead_letter": before.entry,
    }
    assert "event" not in entries[-1]
    assert await play.wishes() == []
    await holding.commit(run_of(16, 1))
    assert (holding.committer.place.seq, holding.committer.place.cursor) == (12, "16")
    assert await play.bench.redis.hget(play.bench.keys.state, "replay") is None
    assert await play.bench.redis.hget(play.bench.keys.state, "letters") == b"0"
    assert play.bench.figures.events_published == 12
    report = await play.judged()
    assert report.ok, render_text(report)
    assert report.sessions[0].replayed == 2
    assert "2 dead letters published later" in report.verdict
    await holding.give_back()


@pytest.mark.parametrize("is_held", [True, False])
async def test_a_letter_goes_to_the_stream_of_its_type(play: Play, is_held: bool) -> None:
    """Whoever publishes it; the numbers are those of all streams together."""
    bench = play.bench
    routes = {"t": "lens:{<name>}:results", "log.*": "lens:{<name>}:logs"}
    bench.keys = session_keys("lens:{<name>}:events", bench.session, routes)
    play.stream = replace(play.stream, routes={"lsn-1": bench.keys.routes})
    main, results, logs = bench.keys.streams
    holding = await held(play)
    log_line = letter_of(14, data=b'{"type":"log.info"}', type="log.info")
    await holding.commit(run_of(1, 6), letter_of(7, data=b'{"type":"else"}', type="else"), run_of(8, 6), log_line)
    if is_held:
        asking = asyncio.create_task(play.ask())
        await until_asked(play)
        await holding.renew()
        async with asyncio.timeout(20):
            (told,) = await asking
        await holding.give_back()
    else:
        await holding.give_back()
        (told,) = await play.ask()
    assert (len(told.done), told.left) == (2, ())
    found = {key: [(one["id"], one["seq"]) for one in await bench.entries(key)] for key in (main, logs)}
    assert found == {main: [("7", "13")], logs: [("14", "14")]}
    assert len(await bench.entries(results)) == 12
    assert (await play.judged()).ok


async def test_where_nobody_holds_the_session_the_command_does_it_and_gives_the_lease_back(play: Play) -> None:
    """A session that has ended stays so, and nobody has to wait for the lease."""
    holding = await held(play)
    await holding.commit(run_of(1, 6), letter_of(7))
    holding.committer.final_phase = Phase.ENDED
    await holding.give_back()
    (told,) = await play.ask()
    assert (len(told.done), told.why) == (1, "")
    state: Any = await play.bench.redis.hgetall(play.bench.keys.state)
    assert (state[b"phase"], state[b"seq"], state[b"cursor"]) == (b"ended", b"7", b"7")
    assert b"owner" not in state
    assert not await play.bench.redis.exists(play.bench.keys.lease)
    report = await play.judged()
    assert report.ok, render_text(report)


async def test_a_holder_that_died_is_replaced_once_its_beat_has_stood_still(play: Play) -> None:
    """And one that was only paused is fenced: its place has moved."""
    dying = Leases(play.bench.link, "dying", 1)
    lease = await dying.acquire(play.bench.keys)
    assert isinstance(lease, Lease)
    holding = Holding(play, lease)
    await holding.commit(run_of(1, 6), letter_of(7))
    (told,) = await play.ask()
    assert len(told.done) == 1
    holding.buffer.put([run_of(8, 1)])
    async with asyncio.timeout(20):
        assert isinstance(await holding._running, Fenced)
    assert len(await play.bench.entries(play.bench.keys.events)) == 7


async def test_a_holder_that_does_not_do_it_is_told_of_and_the_letters_stay(play: Play) -> None:
    """One of an earlier release, say; and then nobody does it later by surprise."""
    holding = await held(play)
    await holding.commit(run_of(1, 6), letter_of(7))
    (told,) = await play.ask(wait_seconds=0.3)
    assert (told.done, len(told.left)) == ((), 1)
    assert "holds the session and does not publish them" in told.why
    assert await holding.renew() == 1
    assert len(await play.wishes()) == 1
    await holding.give_back()


async def test_what_is_asked_for_twice_at_once_is_published_once(play: Play) -> None:
    """Two people, each with other letters and one in common."""
    holding = await held(play)
    await holding.commit(run_of(1, 6), letter_of(7), letter_of(14), letter_of(21))
    wishes = await play.wishes()
    settings, streams = play.bench.settings.redis, [play.stream]
    asking = [asyncio.create_task(replay(settings, streams, some, 30)) for some in (wishes[:2], wishes[1:])]
    while not all(task.done() for task in asking):
        await holding.renew()
        await asyncio.sleep(0.01)
    assert [[one.why for one in task.result()] for task in asking] == [[""], [""]]
    entries = await play.bench.entries(play.bench.keys.events)
    assert sorted(one["id"] for one in entries[6:]) == ["14", "21", "7"]
    assert [one["seq"] for one in entries] == [str(n) for n in range(1, 10)]
    await holding.give_back()


async def test_without_a_place_nothing_is_written(play: Play) -> None:
    """The state was deleted: numbers must not begin anew."""
    holding = await held(play)
    await holding.commit(run_of(1, 6), letter_of(7))
    await holding.give_back()
    await play.bench.redis.delete(play.bench.keys.state)
    (told,) = await play.ask()
    assert len(told.left) == 1
    assert "start one first" in told.why
    assert not await play.bench.redis.exists(play.bench.keys.state)
    assert len(await play.bench.entries(play.bench.keys.events)) == 6


async def test_letters_of_a_session_that_is_not_known_to_write_there_are_left(play: Play) -> None:
    """Streams with one hash tag share their dead letters; in a stranger's stream they would make a hole in its own."""
    holding = await held(play)
    await holding.commit(run_of(1, 6), letter_of(7))
    await holding.give_back()
    wishes = await play.wishes()
    tag = play.bench.keys.events.removesuffix("events")
    wrong = LetterStream(key=play.bench.keys.dead_letter, others=f"{tag}others")
    (told,) = await replay(play.bench.settings.redis, [wrong], wishes, 5)
    assert "holds nothing of this session" in told.why
    unnamed = LetterStream(key=play.bench.keys.dead_letter)
    (told,) = await replay(play.bench.settings.redis, [unnamed], wishes, 5)
    assert "several streams share these dead letters" in told.why
    right = LetterStream(key=play.bench.keys.dead_letter, others=play.bench.keys.events)
    (told,) = await replay(play.bench.settings.redis, [right], wishes, 5)
    assert len(told.done) == 1


async def test_a_letter_that_redis_refuses_stays_and_the_session_goes_on(play: Play) -> None:
    """Its type became so long, say; here the holder's commit of letters is refused for good."""
    holding = await held(play)
    await holding.commit(run_of(1, 6), letter_of(7))
    sink: Any = holding.committer._context.sink
    sink._fates.append(Fate.REFUSED)
    asking = asyncio.create_task(play.ask(wait_seconds=0.5))
    await until_asked(play)
    await holding.renew()
    async with asyncio.timeout(20):
        (told,) = await asking
    assert len(told.left) == 1
    await holding.commit(run_of(8, 1))
    assert holding.committer.place.seq == 7
    await holding.give_back()
    (told,) = await play.ask()
    assert len(told.done) == 1


async def test_what_redis_refuses_midway_is_undone_whole(play: Play) -> None:
    """A stream with one entry id left: letters, state and numbers are as they were, and the reason is told."""
    holding = await held(play)
    await holding.commit(run_of(1, 6), letter_of(7), letter_of(14))
    await holding.give_back()
    redis, keys = play.bench.redis, play.bench.keys
    await redis.xadd(keys.events, {"x": "y"}, id="18446744073709551615-18446744073709551614")
    before = await redis.hmget(keys.state, ["seq", "commits", "mark", "letters"])
    (told,) = await play.ask()
    assert len(told.left) == 2
    assert "XADD" in told.why or "ID" in told.why, told.why
    assert await redis.hmget(keys.state, ["seq", "commits", "mark", "letters"]) == before
    assert await redis.hget(keys.state, "replay") is None, "withdrawn"
    assert len(await play.wishes()) == 2
    assert len(await play.bench.entries(keys.events)) == 7


async def test_after_a_rollback_the_number_of_a_letter_goes_to_no_other_event(play: Play) -> None:
    """Somebody may have read it. The letter is one again, and a marker names its number."""
    holding = await held(play)
    await holding.commit(run_of(1, 6), letter_of(7))
    play.bench.snapshots.clear()
    await play.bench.save()
    asking = asyncio.create_task(play.ask())
    await until_asked(play)
    await holding.renew()
    await asking
    assert holding.committer.place.seq == 7
    await play.bench.roll_back()
    await holding.drop()
    holding = await held(play)
    await holding.commit(run_of(8, 1))
    assert holding.committer.place.seq == 8
    assert len(await play.wishes()) == 1
    await holding.give_back()
    (told,) = await play.ask()
    assert len(told.done) == 1
    entries = await play.bench.entries(play.bench.keys.events)
    assert [(one["id"], one["seq"]) for one in entries if one["type"] == "t"][-2:] == [("8", "8"), ("7", "9")]
    report = await play.judged()
    assert report.ok, render_text(report)
    assert report.sessions[0].numbers_lost == 1


async def test_after_a_rollback_letters_wait_until_each_event_has_its_number_again(play: Play) -> None:
    """What is asked for stands there again as well; the events that were there come first, as they were."""
    holding = await held(play)
    await holding.commit(run_of(1, 6), letter_of(7))
    wishes = await play.wishes()
    request = json.dumps([[one.entry, one.key, one.type] for one in wishes])
    await play.bench.redis.hset(play.bench.keys.state, "replay", request)
    play.bench.snapshots.clear()
    await play.bench.save()
    await holding.commit(run_of(8, 3))
    await play.bench.roll_back()
    await holding.drop()
    holding = await held(play)
    assert isinstance(await holding.renew(), ReplayAsked)
    await holding.commit(run_of(8, 1))
    await holding.commit(run_of(9, 2))
    await until(lambda: holding.committer.place.seq == 10)
    entries = await play.bench.entries(play.bench.keys.events)
    assert [(one["id"], one["seq"]) for one in entries[6:]] == [("8", "7"), ("9", "8"), ("10", "9"), ("7", "10")]
    await holding.give_back()


async def test_a_lost_state_is_not_set_up_again_behind_a_letter(play: Play) -> None:
    """The server would send all that came after it once more."""
    holding = await held(play)
    await holding.commit(run_of(1, 6), letter_of(7), run_of(8, 5))
    await holding.give_back()
    await play.ask()
    seed = await play.bench.leases.find_seed(play.bench.keys, "lsn-1", 100)
    assert seed
    assert (seed.place.cursor, seed.place.seq) == ("12", 12)


async def test_many_letters_go_in_portions_and_in_their_own_order(play: Play) -> None:
    """Redis serves nobody else while a script runs."""
    holding = await held(play)
    await holding.commit(run_of(1, 1), *(letter_of(n) for n in range(2, 262)))
    await holding.give_back()
    (told,) = await play.ask()
    assert len(told.done) == 260
    entries = await play.bench.entries(play.bench.keys.events)
    assert [one["id"] for one in entries] == [str(n) for n in range(1, 262)]
    assert [one["seq"] for one in entries] == [str(n) for n in range(1, 262)]
    assert int((await play.bench.redis.hget(play.bench.keys.state, "commits")) or 0) == 4


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"truncated": True}, "was cut to 10 bytes"),
        ({"data": b'{"type":'}, "still no event: invalid_json"),
        ({"data": b'{"n":1}'}, "still no event: missing_type"),
        ({"data": b'{"type":"sse.stream.end"}'}, "about a connection"),
        ({"session_id": ""}, "the bridge did not write it"),
    ],
)
def test_a_letter_that_cannot_be_published_is_refused_in_words(changes: dict[str, Any], said: str) -> None:
    """Nothing is written on a guess."""
    assert said in str(wish_of(letter_in_hand(**changes)))


def letter_in_hand(**changes: Any) -> Letter:
    """One that can be published, but for ``changes``."""
    given: dict[str, Any] = {
        "stream": "lens:{a}:dead-letter",
        "entry": "1-0",
        "name": "a",
        "session_id": "lsn-1",
        "id": "7",
        "type": "",
        "reason": "rejected",
        "detail": "",
        "event": "message",
        "received_at": "1.000",
        "truncated": False,
        "size_bytes": 10,
        "data": b'{"type":"bridge.x"}',
    }
    return Letter(**(given | changes))


def test_an_event_that_would_pass_for_a_marker_gets_the_key_that_it_would_have_had() -> None:
    """Its broken data had no type, so its key needed no escape."""
    wish = wish_of(letter_in_hand(id="bridge-gap-1"))
    assert isinstance(wish, Wish)
    assert (wish.key, wish.type) == ("server-bridge-gap-1", "bridge.x")


async def until_asked(play: Play) -> None:
    """Until the holder could hear of it."""

    async def asked() -> bool:
        return bool(await play.bench.redis.hexists(play.bench.keys.state, "replay"))

    async with asyncio.timeout(20):
        while not await asked():
            await asyncio.sleep(0.01)
