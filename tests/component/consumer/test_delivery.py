"""Who is given what, and what becomes of it: on a real Redis, for threads and for asyncio."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
import redis

from bridge.consumer import AsyncConsumer, Consumer, ConsumerError, Ended, Entry, Event, Gap, Limits
from bridge.lab.redis_server import RedisServer
from bridge.store.nodes.slots import slot_of
from tests.support.consuming import FAST, GROUP, STREAM, add, add_events, eventually, seqs, take

KINDS = ["threads", "asyncio"]


def pending(client: redis.Redis) -> list[Any]:
    """What is delivered and not acknowledged."""
    found: Any = client.xpending_range(STREAM, GROUP, "-", "+", 1000)
    return list(found)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("in_order", [False, True])
def test_each_entry_comes_once_and_is_acknowledged_behind_its_work(
    redis_server: RedisServer, client: redis.Redis, kind: str, in_order: bool
) -> None:
    """While it is worked on it is pending; when the next one comes it is not any more."""
    add_events(client, 30)
    left: list[int] = []
    taken = take(kind, redis_server.url, 30, lambda entry: left.append(len(pending(client))), in_order=in_order)
    assert seqs(taken) == list(range(1, 31))
    assert left == list(range(30, 0, -1))
    assert pending(client) == []


@pytest.mark.parametrize("kind", KINDS)
def test_what_fails_comes_again_and_goes_to_the_dead_letters_in_the_end(
    redis_server: RedisServer, client: redis.Redis, kind: str
) -> None:
    """With the type of the exception; those behind it are worked on."""
    add_events(client, 3)
    tries: list[tuple[int, int]] = []

    def work(entry: Entry) -> None:
        tries.append((entry.seq, entry.deliveries))
        if entry.seq == 1:
            raise KeyError("no such camera")

    limits = Limits(claim_after_seconds=0.4, block_seconds=0.05, retry_seconds=0, max_deliveries=3)
    for _ in range(3):
        with pytest.raises(KeyError):
            take(kind, redis_server.url, 3, work, limits=limits, in_order=True)
    taken = take(kind, redis_server.url, 2, work, limits=limits, in_order=True)
    assert tries == [(1, 1), (1, 2), (1, 3), (2, 1), (3, 1)]
    assert seqs(taken) == [2, 3]
    letters: Any = client.xrange(f"lens:{{camera-1}}:dead-letter:{GROUP}")
    [(_, letter)] = letters
    assert (letter[b"seq"], letter[b"reason"], letter[b"error"]) == (b"1", b"failed", b"KeyError")
    assert (letter[b"deliveries"], letter[b"data"]) == (b"3", b'{"type": "inference.result"}')
    assert pending(client) == []


def test_what_failed_comes_again_in_time_though_nothing_else_comes(
    redis_server: RedisServer, client: redis.Redis
) -> None:
    """A request that waits for entries for long does not hold it up."""
    add_events(client, 1)
    limits = Limits(claim_after_seconds=3600, block_seconds=40, retry_seconds=0.2, prefetch=1)
    began = time.monotonic()
    with Consumer(redis_server.url, STREAM, GROUP, limits=limits) as consumer:
        for entry in consumer:
            if entry.deliveries == 2:
                consumer.stop()
            else:
                consumer.fail(ValueError("not now"), entry)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("in_order", [False, True])
def test_a_poisonous_entry_of_a_batch_takes_no_others_along(
    redis_server: RedisServer, client: redis.Redis, in_order: bool
) -> None:
    """The batch's transaction failed, so nobody knows which one it was: each comes again alone."""
    add_events(client, 20)
    done: set[int] = set()
    with Consumer(redis_server.url, STREAM, GROUP, in_order=in_order, limits=FAST) as consumer:
        for batch in consumer.batches(20):
            if 7 in seqs(batch):
                consumer.fail(ValueError("poison"), *batch)
            else:
                assert not done & set(seqs(batch))
                done |= set(seqs(batch))
            if consumer.status().dead_lettered and len(done) == 19:
                consumer.stop()
        assert client.xlen(consumer.dead_letters) == 1
    assert done == set(range(1, 21)) - {7}


def test_an_entry_that_kills_its_members_is_given_up_and_harms_no_other(
    redis_server: RedisServer, client: redis.Redis
) -> None:
    """Nobody ever sees an exception. Those that were asked for with it have been delivered once, and count as one."""
    add_events(client, 10)
    client.xgroup_create(STREAM, GROUP, "0")
    client.xreadgroup(GROUP, "killed", {STREAM: ">"}, count=10)
    limits = Limits(claim_after_seconds=0.05, block_seconds=0.02, max_deliveries=3)
    for _ in range(2):
        killed = Consumer(redis_server.url, STREAM, GROUP, limits=limits)
        assert next(iter(killed._batches(1)))[0].seq == 1  # the first that is claimed is the oldest
        killed._end_beating()  # it is gone with what it had in hand
        killed._managed = True
    taken = take("threads", redis_server.url, 9, limits=limits)
    assert sorted(seqs(taken)) == list(range(2, 11))
    letters: Any = client.xrange(f"lens:{{camera-1}}:dead-letter:{GROUP}")
    [(_, letter)] = letters
    assert (letter[b"reason"], letter[b"seq"], letter[b"deliveries"]) == (b"abandoned", b"1", b"3")


def test_a_member_that_works_long_is_not_robbed_and_a_dead_one_is(
    redis_server: RedisServer, client: redis.Redis
) -> None:
    """Longer than what makes others take it for dead; its signs of life come from beside the work."""
    add_events(client, 3)
    begun, others = threading.Event(), threading.Event()
    slow: list[Entry] = []
    limits = Limits(claim_after_seconds=1.5, block_seconds=0.1, prefetch=1)

    def work(entry: Entry) -> None:
        begun.set()
        assert others.wait(60)

    thread = threading.Thread(target=lambda: slow.extend(take("threads", redis_server.url, 1, work, limits=limits)))
    thread.start()
    assert begun.wait(60)
    client.xreadgroup(GROUP, "dies", {STREAM: ">"}, count=1)
    quick = take("threads", redis_server.url, 2, limits=limits)
    with Consumer(redis_server.url, STREAM, GROUP, limits=limits) as third:
        for _ in range(30):  # long enough to claim whatever could be claimed
            third._run(third._member._in_parallel(1))
        assert third.status().redelivered == 0
    others.set()
    thread.join()
    assert sorted(seqs(slow) + seqs(quick)) == [1, 2, 3]
    assert {one.seq: one.deliveries for one in quick} == {2: 2, 3: 1}


def test_an_entry_that_hangs_goes_to_another_member(redis_server: RedisServer, client: redis.Redis) -> None:
    """Where there is a limit for that."""
    add_events(client, 1)
    begun, release = threading.Event(), threading.Event()
    limits = Limits(claim_after_seconds=0.2, block_seconds=0.02, work_seconds=0.1)

    def hang(entry: Entry) -> None:
        begun.set()
        assert release.wait(60)

    thread = threading.Thread(target=take, args=("threads", redis_server.url, 1, hang), kwargs={"limits": limits})
    thread.start()
    assert begun.wait(60)
    assert seqs(take("threads", redis_server.url, 1, limits=limits)) == [1]
    release.set()
    thread.join()


@pytest.mark.parametrize("in_order", [False, True])
def test_what_waits_behind_an_entry_that_hangs_goes_to_others_and_counts_as_not_tried(
    redis_server: RedisServer, client: redis.Redis, in_order: bool
) -> None:
    """Signs of life for it would keep it from everybody for as long as the work hangs."""
    add_events(client, 4)
    begun, release = threading.Event(), threading.Event()
    limits = Limits(claim_after_seconds=3, block_seconds=0.02, work_seconds=0.5, prefetch=10)

    def hang(entry: Entry) -> None:
        begun.set()
        assert release.wait(60)

    how = {"limits": limits, "in_order": in_order}
    thread = threading.Thread(target=take, args=("threads", redis_server.url, 1, hang), kwargs=how, daemon=True)
    thread.start()
    assert begun.wait(60)
    limits = Limits(claim_after_seconds=3, block_seconds=0.02)
    taken = take("threads", redis_server.url, 4, limits=limits, in_order=in_order)
    assert not release.is_set()
    assert {one.seq: one.deliveries for one in taken} == {1: 2, 2: 1, 3: 1, 4: 1}
    assert seqs(taken) == [1, 2, 3, 4] if in_order else sorted(seqs(taken)) == [1, 2, 3, 4]
    release.set()
    thread.join()


@pytest.mark.parametrize("kind", KINDS)
def test_a_stop_loses_nothing_and_repeats_nothing(redis_server: RedisServer, client: redis.Redis, kind: str) -> None:
    """What was fetched and not worked on goes to others at once, and counts as not delivered."""
    add_events(client, 10)
    limits = Limits(claim_after_seconds=3600, block_seconds=0.05)
    first = take(kind, redis_server.url, 4, limits=limits)
    assert {one["times_delivered"] for one in pending(client)} == {0}
    second = take(kind, redis_server.url, 6, limits=limits)
    assert sorted(seqs(first) + seqs(second)) == list(range(1, 11))
    assert {one.deliveries for one in second} == {1}
    assert len(client.xinfo_consumers(STREAM, GROUP)) <= 1  # who has nothing left is no member any more


async def test_a_task_that_is_cancelled_gives_back_what_it_has(redis_server: RedisServer, client: redis.Redis) -> None:
    """At once; what was in work counts as delivered, what was not does not."""
    add_events(client, 5)
    begun = asyncio.Event()
    limits = Limits(claim_after_seconds=3600, block_seconds=0.05)

    async def work() -> None:
        async with AsyncConsumer(redis_server.url, STREAM, GROUP, limits=limits) as consumer:
            async for _entry in consumer:
                begun.set()
                await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.wait_for(begun.wait(), 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    taken = await asyncio.to_thread(take, "threads", redis_server.url, 5, limits=limits)
    assert {one.seq: one.deliveries for one in taken} == {1: 2, 2: 1, 3: 1, 4: 1, 5: 1}


def test_a_break_acknowledges_nothing(redis_server: RedisServer, client: redis.Redis) -> None:
    """Nobody can tell whether the work was done."""
    add_events(client, 2)
    with Consumer(redis_server.url, STREAM, GROUP, limits=FAST) as consumer:
        for _entry in consumer:
            break
    assert sorted(seqs(take("threads", redis_server.url, 2))) == [1, 2]


def test_without_a_with_block_it_cleans_up_as_well(redis_server: RedisServer, client: redis.Redis) -> None:
    """The shortest program there is, and an exception in it."""
    add_events(client, 2)
    limits = Limits(claim_after_seconds=3600, block_seconds=0.05)

    def shortest() -> None:
        for _entry in Consumer(redis_server.url, STREAM, GROUP, limits=limits):
            raise KeyError

    with pytest.raises(KeyError):
        shortest()
    assert sorted(seqs(take("threads", redis_server.url, 2, limits=limits))) == [1, 2]
    assert not [one for one in threading.enumerate() if one.name.startswith("signs of life")]


def test_members_share_the_work(redis_server: RedisServer, client: redis.Redis) -> None:
    """Side by side, each entry with one of them."""
    add_events(client, 400)
    taken: list[list[Entry]] = [[], []]
    together = threading.Barrier(2, timeout=60)

    def break_others() -> None:
        for one in consumers:
            one.stop()

    consumers = [
        Consumer(redis_server.url, STREAM, GROUP, limits=Limits(prefetch=10, block_seconds=0.05)) for _ in taken
    ]

    def run(number: int) -> None:
        with consumers[number] as consumer:
            for entry in consumer:
                taken[number].append(entry)
                if len(taken[number]) == 1:
                    together.wait()
                if sum(map(len, taken)) == 400:
                    break_others()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(seqs(taken[0]) + seqs(taken[1])) == list(range(1, 401))
    assert all(taken)
    assert pending(client) == []


def test_marks_are_values_and_every_field_can_be_read(redis_server: RedisServer, client: redis.Redis) -> None:
    """Also those that this kit has no name for."""
    add(client, 1, name="camera-1", traceparent="00-a-b-01", ce_type="x", dead_letter="5-0", event="alarm")
    add(client, 1, id="bridge-gap-1", type="bridge.gap", data='{"reason": "numbers_lost", "from_seq": 2, "to_seq": 4}')
    add(client, 5, data=b"\xff\x00")
    add(client, 5, id="bridge-session.ended-1", type="bridge.session.ended", data='{"reason": "destroyed"}')
    event, gap, odd, ended = take("threads", redis_server.url, 4)
    assert isinstance(event, Event)
    assert (event.name, event.traceparent, event.dead_letter, event.event) == ("camera-1", "00-a-b-01", "5-0", "alarm")
    assert dict(event.extra) == {"ce_type": b"x"}
    assert isinstance(gap, Gap)
    assert (gap.reason, list(gap.missing), gap.seq) == ("numbers_lost", [2, 3, 4], 1)
    assert (odd.data, odd.name) == (b"\xff\x00", None)
    assert isinstance(ended, Ended)
    assert ended.reason == "destroyed"


def test_what_no_bridge_has_written_is_set_aside(redis_server: RedisServer, client: redis.Redis) -> None:
    """And those around it come."""
    add_events(client, 1)
    client.xadd(STREAM, {"hello": "world"})
    add_events(client, 1, first=2)
    for in_order in (False, True):
        if in_order:
            client.xgroup_destroy(STREAM, GROUP)
        assert seqs(take("threads", redis_server.url, 2, in_order=in_order)) == [1, 2]
    letters: Any = client.xrange(f"lens:{{camera-1}}:dead-letter:{GROUP}")
    assert [(one[b"hello"], one[b"reason"], one[b"detail"]) for _, one in letters] == [
        (b"world", b"foreign", b"it has no field id")
    ] * 2


def test_a_dead_letter_that_cannot_be_written_leaves_the_entry_where_it_is(
    redis_server: RedisServer, client: redis.Redis
) -> None:
    """Both or neither: it is still pending, and a person is told."""
    client.xadd(STREAM, {"hello": "world"})
    with Consumer(redis_server.url, STREAM, GROUP, limits=FAST) as consumer:
        client.set(consumer.dead_letters, "something else")
        with pytest.raises(ConsumerError, match="no stream"):
            list(consumer)
    assert len(pending(client)) == 1


@pytest.mark.parametrize("stream", ["lens:{camera-1}:events", "lens:camera-1:events", "a{b}c", "plain"])
def test_dead_letters_stand_in_the_slot_of_the_stream(stream: str) -> None:
    """So a script may touch both in a cluster."""
    assert slot_of(Consumer("redis://nowhere", stream, "g").dead_letters) == slot_of(stream)


def test_the_stand_can_be_read(redis_server: RedisServer, client: redis.Redis) -> None:
    """Lag, what is pending, the last numbers; also by one that reads nothing."""
    add_events(client, 5)
    take("threads", redis_server.url, 3, limits=Limits(prefetch=3, block_seconds=0.05))
    with Consumer(redis_server.url, STREAM, GROUP) as watching:
        status = watching.status()
    assert (status.pending, status.newest_seq, status.acknowledged) == (0, 5, 0)
    assert status.lag in (2, None)  # servers below 7.0 do not tell
    with Consumer(redis_server.url, STREAM, GROUP, limits=FAST) as consumer:
        for entry in consumer:
            if entry.seq == 5:
                consumer.stop()
        assert consumer.status().last_seq == {"lsn-1": 5}


def test_signs_of_life_end_with_the_loop(redis_server: RedisServer, client: redis.Redis) -> None:
    """Otherwise an entry would be kept from others for ever."""
    add_events(client, 1)
    take("threads", redis_server.url, 1)
    eventually(
        lambda: not [one for one in threading.enumerate() if one.name.startswith("signs of life")], "no thread is left"
    )
