"""Several commits under way against a real Redis: whatever becomes of any of them, the stream is one run."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from bridge.delivery.window import Window
from bridge.lab.redis_server import RedisServer
from bridge.masking import Secrets
from bridge.model.labels import CommitOutcome, Phase
from bridge.model.outcomes import Fenced
from bridge.model.records import Run
from bridge.settings import StreamSettings
from bridge.store.commits import RedisSink
from bridge.store.link import RedisLink
from tests.support.committer_bench import Bench, Fate, Unreliable, read_on, run_of
from tests.support.fakes import fake_redis, until
from tests.support.pump_rig import quick_settings


@pytest.fixture
async def bench(redis_server: RedisServer, redis: Redis) -> AsyncIterator[Bench]:
    """On an empty session."""
    made = Bench(redis_server.url, redis)
    yield made
    await made.aclose()


LAST = 900


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    fates=st.lists(st.sampled_from([Fate.LANDS, Fate.LANDS, *Fate]), max_size=14),
    sizes=st.lists(st.sampled_from([1, 3, 64, 70, 130, 300]), max_size=12),
)
def test_whatever_becomes_of_commits_under_way_the_stream_is_one_run(
    shared_redis_server: RedisServer, fates: list[Fate], sizes: list[int]
) -> None:
    """Lost replies, late packets, refusals in the middle, takeovers, rollbacks: each id once, in order, numbered."""

    async def play() -> None:
        client: Redis = Redis.from_url(shared_redis_server.url)
        bench = Bench(shared_redis_server.url, client)
        acknowledged: dict[int, str] = {}
        landed = bench.numbers.landed

        def note(batch: Any, seq: int) -> None:
            for record in batch if batch and not isinstance(batch[0], Run) else ():
                seq += record.skip or 0
                if record.numbered:
                    seq += 1
                    assert acknowledged.setdefault(seq, record.key) == record.key, "a number has two events"
            landed(batch, seq)

        queue = deque(fates)
        try:
            while await read_on(bench, sizes, Unreliable(bench, queue), LAST) is not None:
                pass
            entries = await bench.entries(bench.keys.events)
            letters = await bench.entries(bench.keys.dead_letter)
            assert len(letters) <= fates.count(Fate.REFUSED)
            ids = [int(entry["id"]) for entry in entries if entry["type"] != "bridge.gap"]
            assert ids == sorted(set(ids)), "each once, in order"
            assert sorted([*ids, *(int(letter["id"]) for letter in letters)]) == [*range(1, LAST + 1)], "all"
            seqs = [int(entry["seq"]) for entry in entries if entry["type"] != "bridge.gap"]
            holes = sum(1 for entry in entries if entry["type"] == "bridge.gap")
            assert holes or seqs == [*range(1, len(ids) + 1)]
            blobs: Any = await client.lrange(bench.keys.seen, 0, -1)
            known = Window(50, blobs)
            assert known.get(str(LAST)) is not None
            assert len(known) >= 50
        finally:
            await bench.aclose()
            await client.aclose()

    asyncio.run(play())


async def test_several_commits_are_under_way_where_enough_waits(bench: Bench) -> None:
    """As many as `commit.in_flight` says."""
    sink = Unreliable(bench, deque())
    assert await read_on(bench, [100] * 9, sink, LAST) is None
    assert sink.most_under_way == 3


async def test_what_is_little_waits_for_the_answer_and_goes_together(bench: Bench) -> None:
    """Two small scripts cost Redis more than one."""
    sink = Unreliable(bench, deque())
    assert await read_on(bench, [1] * 50, sink, 50) is None
    assert sink.most_under_way == 1
    assert bench.figures.commits[CommitOutcome.OK] < 50


async def test_none_lands_behind_one_that_did_not(bench: Bench) -> None:
    """The first of three never arrives, the others do: they change nothing, and all are sent again."""
    fates = deque([Fate.NEVER_ARRIVES])
    sink = Unreliable(bench, fates)
    sink._they_arrive = True
    assert await read_on(bench, [100, 100, 100], sink, 300) is None
    assert [int(entry["seq"]) for entry in await bench.entries(bench.keys.events)] == [*range(1, 301)]
    assert bench.figures.rollbacks == 0


async def test_commits_found_landed_behind_the_one_that_is_asked_for_count_as_landed(bench: Bench) -> None:
    """All replies are lost: the first answer is that of a later one, and it is no rollback."""
    sink = Unreliable(bench, deque([Fate.REPLY_LOST_BEHIND]))
    assert await read_on(bench, [100, 100, 100], sink, 300) is None
    assert bench.figures.commits[CommitOutcome.ALREADY] == 3
    assert bench.figures.commits[CommitOutcome.ROLLED_BACK] == 0
    assert bench.figures.events_published == 300
    assert (bench.numbers.highest, bench.figures.seq) == (300, 300)


async def test_a_refusal_in_the_middle_takes_back_those_behind_it_in_order(bench: Bench) -> None:
    """The second of three is refused: it is halved, and the third follows."""
    sink = Unreliable(bench, deque([Fate.LANDS, Fate.REFUSED]))
    assert await read_on(bench, [100, 100, 100], sink, 300) is None
    assert [int(entry["id"]) for entry in await bench.entries(bench.keys.events)] == [*range(1, 301)]
    assert await bench.entries(bench.keys.dead_letter) == []


async def test_a_takeover_between_two_commits_under_way_fences_the_second(bench: Bench) -> None:
    """The first stands, and whoever took over goes on behind it."""
    outcome = await read_on(bench, [100, 100, 100], Unreliable(bench, deque([Fate.LANDS, Fate.TAKEN_OVER])), 300)
    assert outcome == Fenced(commits=1)
    assert len(await bench.entries(bench.keys.events)) == 100


async def test_a_fault_of_ours_in_an_answer_ends_the_run_with_it(bench: Bench) -> None:
    """It is not lost in a callback."""
    sink = Unreliable(bench, deque())
    sink.read = lambda reply: 1 / 0  # type: ignore[assignment,return-value,method-assign]
    with pytest.raises(ZeroDivisionError):
        await read_on(bench, [1], sink, 1)


async def test_the_end_is_committed_with_the_last_records(bench: Bench) -> None:
    """In one step, behind what is under way."""
    sink = Unreliable(bench, deque())
    committer, buffer, _ = bench.committer(await bench.lease(), sink)
    running = asyncio.ensure_future(committer.run())
    buffer.put([run_of(1, 100)])
    buffer.put([run_of(101, 100)])
    committer.final_phase = Phase.ENDED
    buffer.close([run_of(201, 5)])
    async with asyncio.timeout(20):
        assert await running is None
    state: Any = await bench.redis.hgetall(bench.keys.state)
    assert (state[b"phase"], state[b"seq"]) == (b"ended", b"205")
    assert committer.final_phase is Phase.ACTIVE


async def test_replies_that_come_after_the_end_are_nobodys(bench: Bench) -> None:
    """A pump that was told to drop all leaves commits under way; their faults are looked at, and nothing is said."""
    async with fake_redis() as server:
        link = RedisLink(quick_settings("http://127.0.0.1:9", server.url).redis, Secrets())
        sink = RedisSink(link, bench.keys, bench.session, bench.settings.stream)
        committer, buffer, _ = bench.committer(await bench.lease(), sink)
        running = asyncio.ensure_future(committer.run())
        buffer.put([run_of(1, 100)])
        connection = await server.connected()
        await connection.asked(1)
        buffer.put([run_of(101, 100)])
        await connection.asked(2)
        assert committer.in_flight == 200
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await link.aclose()
        await until(lambda: all(flight.reply and flight.reply.done() for flight in committer._flights))


async def test_what_is_trimmed_unread_and_what_cannot_be_is_told_once(
    redis_server: RedisServer, redis: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    """The cap cuts again and again: the metric has all of it, the log the first. Then the user loses a permission."""
    admin: Any = redis
    url = redis_server.url.replace("redis://", "redis://narrow:word@")
    await admin.execute_command("ACL", "SETUSER", "narrow", "on", ">word", "~*", "+@all")
    narrow = Bench(url, redis)
    keeping = StreamSettings(keep_unread=True, hard_max_length=100, max_length=100)
    narrow.settings = narrow.settings.model_copy(update={"stream": keeping})
    try:
        await redis.xgroup_create(narrow.keys.events, "g", id="0", mkstream=True)
        assert await read_on(narrow, [100] * 9, Unreliable(narrow, deque()), LAST) is None
        assert LAST - 200 < narrow.figures.unread_trimmed <= LAST - 100
        assert not narrow.figures.last_error
        assert capsys.readouterr().out.count("stream.unread_trimmed") == 1
        await admin.execute_command("ACL", "SETUSER", "narrow", "-xinfo")
        assert await read_on(narrow, [100] * 9, Unreliable(narrow, deque()), 2 * LAST) is None
        assert "its user needs xrange, xpending" in str(narrow.figures.last_error)
        assert capsys.readouterr().out.count("stream.not_trimmed") == 1
        assert await redis.xlen(narrow.keys.events) >= LAST + 100, "nothing was trimmed on a guess"
    finally:
        await narrow.aclose()
        await admin.execute_command("ACL", "DELUSER", "narrow")
