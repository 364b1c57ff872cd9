"""In order: one member at a time works on a stream, and another one goes on where it stood."""

from __future__ import annotations

import threading
from typing import Any

import redis

from bridge.consumer import Consumer, Entry, Limits
from bridge.lab.redis_server import RedisServer
from tests.support.consuming import GROUP, STREAM, add_events, eventually, seqs, take

LONG = Limits(claim_after_seconds=3600, block_seconds=0.02, prefetch=3)  # nobody is taken for dead by the clock


def asked_once(consumer: Consumer) -> list[Entry]:
    """What it is given if it asks now, without waiting."""
    return consumer._run(consumer._member._in_turn(1))


def take_over(client: redis.Redis, consumer: Consumer, seq: int) -> list[Entry]:
    """It is given this entry, as if its member had given no sign of life for long."""
    found: Any = client.xrange(STREAM)
    client.xclaim(STREAM, GROUP, "dead", 0, [id for id, fields in found if int(fields[b"seq"]) == seq], idle=10**9)
    taken = asked_once(consumer)
    assert seqs(taken) == [seq]
    return taken


def test_while_one_works_the_others_are_given_nothing(redis_server: RedisServer, client: redis.Redis) -> None:
    """Not even what nobody has asked for yet; as soon as nothing is in hand anybody may go on."""
    add_events(client, 10)
    limits = Limits(claim_after_seconds=3600, block_seconds=0.02, prefetch=5)
    with (
        Consumer(redis_server.url, STREAM, GROUP, in_order=True, limits=limits) as one,
        Consumer(redis_server.url, STREAM, GROUP, in_order=True, limits=limits) as other,
    ):
        reading = one.batches(5)
        assert seqs(next(reading)) == [1, 2, 3, 4, 5]
        assert [asked_once(other) for _ in range(3)] == [[], [], []]
        one.stop()
        assert not list(reading)
        assert seqs(next(other.batches(5))) == [6, 7, 8, 9, 10]


def test_the_next_one_goes_on_with_what_the_dead_one_had(redis_server: RedisServer, client: redis.Redis) -> None:
    """Oldest first, before anything new."""
    add_events(client, 8)
    client.xgroup_create(STREAM, GROUP, "0")
    client.xreadgroup(GROUP, "killed", {STREAM: ">"}, count=4)
    taken = take("threads", redis_server.url, 8, in_order=True)
    assert seqs(taken) == list(range(1, 9))
    assert [one.deliveries for one in taken] == [2, 2, 2, 2, 1, 1, 1, 1]


def test_one_that_slept_for_too_long_reads_nothing_more_and_hands_nothing_out(
    redis_server: RedisServer, client: redis.Redis
) -> None:
    """What it had in hand is another one's by now, who is not disturbed; nor is that overtaken by what waits here."""
    add_events(client, 6)
    with (
        Consumer(redis_server.url, STREAM, GROUP, in_order=True, limits=LONG) as sleeper,
        Consumer(redis_server.url, STREAM, GROUP, in_order=True, limits=LONG) as other,
    ):
        first = sleeper._run(sleeper._member.next(1))  # without signs of life: as a process that is stopped
        assert seqs(first) == [1]
        taken = take_over(client, other, 1)
        sleeper._run(sleeper._member.beat())
        held: Any = client.xpending_range(STREAM, GROUP, "-", "+", 10)
        assert held[0]["consumer"].decode() == other._member.name
        assert first[0].entry_id not in sleeper._member._hand
        assert sleeper._member._hand_out(3) == []
        assert [asked_once(sleeper) for _ in range(3)] == [[], [], []]
        other.ack(*taken)
        assert sleeper.status().pending == 2


def test_one_that_slept_acknowledges_nothing_that_another_one_works_on(
    redis_server: RedisServer, client: redis.Redis
) -> None:
    """Else a third one would go on behind it, while it is worked on."""
    add_events(client, 6)
    with (
        Consumer(redis_server.url, STREAM, GROUP, in_order=True, limits=LONG) as sleeper,
        Consumer(redis_server.url, STREAM, GROUP, in_order=True, limits=LONG) as other,
        Consumer(redis_server.url, STREAM, GROUP, in_order=True, limits=LONG) as third,
    ):
        first = sleeper._run(sleeper._member.next(1))
        taken = take_over(client, other, 1)
        sleeper.ack(*first)
        assert sleeper.status().acknowledged == 0
        assert sleeper._member._hand_out(3) == []
        assert asked_once(third) == []
        other.ack(*taken)
        assert other.status().acknowledged == 1


def test_one_that_slept_leaves_nothing_out_of_what_it_has(redis_server: RedisServer, client: redis.Redis) -> None:
    """Another member has the second entry by now: the third one would overtake it."""
    add_events(client, 3)
    with (
        Consumer(redis_server.url, STREAM, GROUP, in_order=True, limits=LONG) as sleeper,
        Consumer(redis_server.url, STREAM, GROUP, in_order=True, limits=LONG) as other,
    ):
        assert seqs(sleeper._run(sleeper._member.next(1))) == [1]  # without signs of life: as a process that is stopped
        other.ack(*take_over(client, other, 1))
        take_over(client, other, 2)
        sleeper._run(sleeper._member.beat())
        assert sleeper._member._hand_out(1) == []
        assert asked_once(sleeper) == []


def test_members_that_come_and_go_keep_the_order(redis_server: RedisServer, client: redis.Redis) -> None:
    """Four of them, each stopped and begun again after a few entries."""
    add_events(client, 300)
    order: list[int] = []
    members: dict[int, Consumer] = {}

    def come_and_go(number: int) -> None:
        while len(order) < 300:
            with Consumer(redis_server.url, STREAM, GROUP, in_order=True, limits=LONG) as consumer:
                members[number] = consumer
                if len(order) >= 300:
                    return
                for done, entry in enumerate(consumer, 1):
                    order.append(entry.seq)
                    if done == 3 + number:
                        consumer.stop()

    threads = [threading.Thread(target=come_and_go, args=(number,), daemon=True) for number in range(4)]
    for one in threads:
        one.start()
    eventually(lambda: len(order) >= 300, "all are worked on")
    for one in threads:
        while one.is_alive():
            for member in members.values():
                member.stop()
            one.join(0.1)
    assert order == list(range(1, 301))
