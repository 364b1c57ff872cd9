"""Groups that are lost, entries that are trimmed, servers that are away or are others by now."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from bridge.consumer import AsyncConsumer, Consumer, ConsumerError, Entry, Limits
from bridge.lab.redis_server import RedisServer
from bridge.store.nodes.slots import slot_of
from tests.support.consuming import FAST, GROUP, STREAM, add_events, eventually, seqs, take
from tests.support.permissions import TOPOLOGIES, WORD, rules_of
from tests.support.topology.clustered import Clustered
from tests.support.topology.stage import patient_client
from tests.support.topology.watched import Watched, asked
from tests.support.worker import python_environment, until

CONSUMER = "bridge-consumer"


class Reading:
    """A consumer in a thread of its own."""

    def __init__(self, url: str, *, in_order: bool = False, limits: Limits = FAST) -> None:
        self.taken: list[Entry] = []
        self.failed: list[BaseException] = []
        self.consumer = Consumer(url, STREAM, GROUP, in_order=in_order, limits=limits)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            with self.consumer:
                for entry in self.consumer:
                    self.taken.append(entry)
        except BaseException as error:
            self.failed.append(error)

    def settled(self, count: int) -> Callable[[], bool]:
        """A condition: so many were acknowledged, and its last look at the group saw that."""
        return lambda: self.consumer._member.counts.acknowledged >= count and self.consumer._member._hand.empty

    def end(self) -> list[int]:
        """Stop it; the numbers that it was given."""
        self.consumer.stop()
        self._thread.join(60)
        assert not self._thread.is_alive()
        assert not self.failed, self.failed
        return seqs(self.taken)


@pytest.mark.parametrize("in_order", [False, True])
def test_a_redis_that_was_emptied_is_read_from_its_beginning(
    redis_server: RedisServer, client: redis.Redis, in_order: bool
) -> None:
    """The stream goes on there: what came before the group was made again is not skipped."""
    add_events(client, 5)
    reading = Reading(redis_server.url, in_order=in_order)
    eventually(reading.settled(5), "all are worked on")
    reading.consumer._run(reading.consumer._member.beat())
    client.flushall()
    reading.consumer._run(reading.consumer._member.beat())  # meets no stream at all
    add_events(client, 5, first=6)
    eventually(reading.settled(10), "the new ones too")
    assert reading.end() == list(range(1, 11))


@pytest.mark.parametrize("in_order", [False, True])
def test_a_group_that_is_gone_goes_on_where_it_stood(
    redis_server: RedisServer, client: redis.Redis, in_order: bool
) -> None:
    """The stream still stands: nothing is skipped, and nothing comes again."""
    add_events(client, 5)
    reading = Reading(redis_server.url, in_order=in_order)
    eventually(reading.settled(5), "all are worked on")
    reading.consumer._run(reading.consumer._member.beat())
    with client.pipeline() as pipeline:
        pipeline.xgroup_destroy(STREAM, GROUP)
        for seq in range(6, 11):
            pipeline.xadd(STREAM, {"id": seq, "session_id": "s", "seq": seq, "type": "t", "data": "", "received_at": 1})
        pipeline.execute()
    eventually(reading.settled(10), "the new ones too")
    assert reading.end() == list(range(1, 11))


def test_a_stream_that_is_not_there_yet_is_waited_for(redis_server: RedisServer, client: redis.Redis) -> None:
    """Services may start before the bridge does."""
    reading = Reading(redis_server.url)
    eventually(lambda: bool(client.exists(STREAM)), "the group is made")
    add_events(client, 2)
    eventually(reading.settled(2), "both came")
    assert reading.end() == [1, 2]


@pytest.mark.parametrize("in_order", [False, True])
def test_a_stream_where_nothing_stands_is_told_of_once(
    redis_server: RedisServer, client: redis.Redis, caplog: pytest.LogCaptureFixture, in_order: bool
) -> None:
    """Its key may be misspelt, and then nothing would ever be said. Also by members that find the group made."""
    client.xgroup_create(STREAM, GROUP, "0", mkstream=True)
    told = "stream.empty stream=" + STREAM
    first, second = Reading(redis_server.url, in_order=in_order), Reading(redis_server.url, in_order=in_order)
    eventually(lambda: caplog.text.count(told) == 2, "each says so")
    add_events(client, 2)
    eventually(lambda: len(first.taken) + len(second.taken) == 2, "they go on as ever")
    assert sorted(first.end() + second.end()) == [1, 2]
    assert caplog.text.count(told) == 2


def test_a_stream_that_was_read_to_its_end_and_trimmed_is_not_told_of(
    redis_server: RedisServer, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Its key was right."""
    add_events(client, 2)
    reading = Reading(redis_server.url)
    eventually(reading.settled(2), "both came")
    client.xtrim(STREAM, maxlen=0, approximate=False)
    asked = client.info("commandstats")["cmdstat_xreadgroup"]["calls"]
    eventually(lambda: client.info("commandstats")["cmdstat_xreadgroup"]["calls"] > asked + 1, "it asks again")
    assert reading.end() == [1, 2]
    assert "stream.empty" not in caplog.text


def test_one_that_began_with_what_comes_next_skips_nothing_when_redis_was_emptied(
    redis_server: RedisServer, client: redis.Redis
) -> None:
    """Before it had read anything: what stands there then has come since."""
    add_events(client, 3)
    limits = Limits(start="$", block_seconds=0.05, claim_after_seconds=0.4, backoff_max_seconds=0.1)
    with Consumer(redis_server.url, STREAM, GROUP, limits=limits) as consumer:
        consumer.status()
        assert consumer._run(consumer._member._in_parallel(1)) == []
        client.flushall()
        add_events(client, 2, first=4)
        assert consumer._run(consumer._member.next(5))[0].seq == 4


def test_a_group_may_begin_with_what_comes_next(redis_server: RedisServer, client: redis.Redis) -> None:
    """What stands there is not for it."""
    add_events(client, 3)
    limits = Limits(start="$", block_seconds=0.05, claim_after_seconds=0.4)
    with Consumer(redis_server.url, STREAM, GROUP, limits=limits) as watching:
        watching.status()
    add_events(client, 2, first=4)
    assert seqs(take("threads", redis_server.url, 2, limits=limits)) == [4, 5]


@pytest.mark.parametrize("in_order", [False, True])
def test_pending_entries_that_were_trimmed_are_passed_over_and_counted(
    redis_server: RedisServer, client: redis.Redis, in_order: bool
) -> None:
    """A member died with them, and the stream has a limit; what is left comes."""
    add_events(client, 6)
    client.xgroup_create(STREAM, GROUP, "0")
    client.xreadgroup(GROUP, "killed", {STREAM: ">"}, count=4)
    client.xtrim(STREAM, maxlen=3, approximate=False)
    reading = Reading(redis_server.url, in_order=in_order)
    eventually(reading.settled(3), "what is left came")
    eventually(lambda: reading.consumer._member.counts.trimmed == 3, "the others are counted")
    assert sorted(reading.end()) == [4, 5, 6]
    assert client.xpending(STREAM, GROUP)["pending"] == 0


@pytest.mark.parametrize("kind", ["threads", "asyncio"])
async def test_a_redis_that_is_killed_and_comes_back_is_waited_for(
    private_redis: RedisServer, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With nothing lost on its side, nothing is lost and nothing comes twice but what was in hand. The log tells."""
    taken: list[Entry] = []
    kept = redis.Redis.from_url(private_redis.url)
    await asyncio.to_thread(add_events, kept, 3)

    async def read() -> None:
        async with AsyncConsumer(private_redis.url, STREAM, GROUP, limits=FAST) as consumer:
            async for entry in consumer:
                taken.append(entry)
                if entry.seq == 6:
                    consumer.stop()

    def read_in_a_thread() -> None:
        with Consumer(private_redis.url, STREAM, GROUP, limits=FAST) as consumer:
            for entry in consumer:
                taken.append(entry)
                if entry.seq == 6:
                    consumer.stop()

    task = asyncio.create_task(read() if kind == "asyncio" else asyncio.to_thread(read_in_a_thread))
    await until(lambda: len(taken) == 3, "the first ones came")
    await private_redis.kill()
    await asyncio.sleep(0.2)  # it meets a Redis that is not there
    await private_redis.start()
    await asyncio.to_thread(add_events, kept, 3, first=4)
    await asyncio.wait_for(task, 60)
    kept.close()
    assert sorted(set(seqs(taken))) == [1, 2, 3, 4, 5, 6]
    assert len(taken) <= 7
    assert caplog.text.index("redis.away stream=" + STREAM) < caplog.text.index("redis.back stream=" + STREAM)


def test_a_stop_ends_while_redis_is_away(redis_server: RedisServer) -> None:
    """Nobody waits for what cannot come."""
    reading = Reading("redis://127.0.0.1:1/0")
    eventually(lambda: reading.consumer._membership.asking.faults > 0, "it has tried")
    assert reading.end() == []


SIGNALLED = """
import os, signal, threading, time
from bridge.consumer import Consumer
consumer, heard = Consumer("redis://127.0.0.1:1", "s", "g"), 0
def stop(number, frame):
    global heard
    heard += 1
    consumer.stop()
signal.signal(signal.SIGUSR1, stop)
def send():
    for count in range(1, 301):
        os.kill(os.getpid(), signal.SIGUSR1)
        while heard < count:
            time.sleep(0.0001)
threading.Thread(target=send, daemon=True).start()
while heard < 300:
    consumer._wait(0.00001)
print("stopped")
"""


def test_a_signal_may_stop_it_at_any_instant() -> None:
    """Also in the middle of a wait, where what it waits for is locked by the very thread that the handler runs in."""
    command = [sys.executable, "-c", SIGNALLED]
    done = subprocess.run(command, env=python_environment(), capture_output=True, text=True, timeout=100, check=False)
    assert (done.stdout, done.stderr) == ("stopped\n", "")


async def test_wrong_credentials_are_told_by_a_cluster_and_behind_sentinels_too() -> None:
    """Not waited out as an outage."""
    async with Clustered() as cluster, Watched() as watched:
        secret = watched.url.split("@")[0].removeprefix("redis+sentinel://")
        for address in (
            cluster.url.replace("://", "://somebody:wrong-word@"),
            watched.url.replace(secret, "somebody:wrong-word"),
        ):
            with pytest.raises(ConsumerError, match="refuses user or password"):
                await asyncio.to_thread(list, Consumer(address, STREAM, GROUP, limits=FAST))
            with pytest.raises(ConsumerError, match="refuses user or password"):
                async with AsyncConsumer(address, STREAM, GROUP, limits=FAST) as consumer:
                    await anext(aiter(consumer))


async def test_what_only_a_person_can_mend_is_told_at_once(tmp_path: Path) -> None:
    """In one sentence that names the place, and no secret."""
    users = ["--user", "reader", "on", ">word-1", "~*", "-@all", "+eval", "+evalsha", "--requirepass", "word-2"]
    async with RedisServer(arguments=users) as server:
        for address, told in {
            f"redis://reader:wrong-word@127.0.0.1:{server.port}/0": "refuses user or password",
            f"redis://127.0.0.1:{server.port}/0": "refuses user or password",
            f"redis://reader:word-1@127.0.0.1:{server.port}/0": "does not permit",
        }.items():
            with pytest.raises(ConsumerError, match=told) as caught:
                await asyncio.to_thread(list, Consumer(address, STREAM, GROUP, limits=FAST))
            assert "word-" not in str(caught.value)
            assert "\n" not in str(caught.value)
            with pytest.raises(ConsumerError, match=told):
                async with AsyncConsumer(address, STREAM, GROUP, limits=FAST) as consumer:
                    await anext(aiter(consumer))


@pytest.mark.parametrize("in_order", [False, True])
async def test_the_user_in_the_readme_is_permitted_enough(in_order: bool) -> None:
    """All that a consumer does: a group made, read, claimed, failed, buried, looked at and left."""
    async with RedisServer(arguments=["--user", CONSUMER, *rules_of(CONSUMER)]) as server:
        url = f"redis://{CONSUMER}:{WORD}@127.0.0.1:{server.port}/0"

        def everything() -> None:
            with redis.Redis(port=server.port) as client:
                add_events(client, 3)
                for kind in ("threads", "asyncio"):
                    assert sorted(set(seqs(take(kind, url, 3, in_order=in_order)))) == [1, 2, 3]
                    client.xgroup_setid(STREAM, GROUP, "0")
                client.xreadgroup(GROUP, "killed", {STREAM: ">"}, count=2)
                with Consumer(url, STREAM, GROUP, in_order=in_order, limits=FAST) as consumer:
                    for entry in consumer:
                        if entry.seq == 2:
                            consumer.fail(ValueError(), entry)
                        if client.exists(consumer.dead_letters):
                            consumer.stop()
                    consumer.status()

        await asyncio.to_thread(everything)


@pytest.mark.parametrize("in_order", [False, True])
def test_a_key_that_is_no_stream_is_told_at_once(
    redis_server: RedisServer, client: redis.Redis, in_order: bool
) -> None:
    """With its name."""
    client.set(STREAM, "text")
    with pytest.raises(ConsumerError, match=r"lens:\{camera-1\}:events .* is no stream"):
        list(Consumer(redis_server.url, STREAM, GROUP, in_order=in_order, limits=FAST))


@pytest.mark.parametrize("address", ["localhost:6379", "http://x", "redis://", "redis+sentinel://host", "redis://a,b"])
def test_an_address_that_leads_nowhere_is_told_when_it_is_given(address: str) -> None:
    """Before anything is connected."""
    with pytest.raises(ConsumerError, match="the address of Redis"):
        Consumer(address, STREAM, GROUP)


def test_a_client_of_the_callers_own_serves_as_well(redis_server: RedisServer, client: redis.Redis) -> None:
    """With certificates or whatever it needs; one that answers in text is refused. It stays open."""
    add_events(client, 2)
    assert seqs([*_two(client)]) == [1, 2]
    assert client.ping()
    with (
        redis.Redis.from_url(redis_server.url, decode_responses=True) as text,
        pytest.raises(ConsumerError, match="bytes"),
    ):
        Consumer(text, STREAM, GROUP)


def _two(client: redis.Redis) -> list[Entry]:
    taken = []
    with Consumer(client, STREAM, GROUP, limits=FAST) as consumer:
        for entry in consumer:
            taken.append(entry)
            if len(taken) == 2:
                consumer.stop()
    return taken


async def test_a_unix_socket_is_an_address_too(tmp_path: Path) -> None:
    """As for the bridge."""
    async with RedisServer(arguments=["--unixsocket", str(tmp_path / "redis.sock")]) as server:
        with redis.Redis.from_url(server.url) as client:
            add_events(client, 1)
        url = f"unix://{tmp_path}/redis.sock"
        assert seqs(await asyncio.to_thread(take, "threads", url, 1)) == [1]


async def _moved(client: Any, count: int, first: int) -> None:
    for seq in range(first, first + count):
        fields = {"id": str(seq), "session_id": "s", "seq": seq, "type": "t", "data": "{}", "received_at": "1"}

        async def added(fields: dict[str, Any] = fields) -> bool:
            try:
                await client.xadd(STREAM, fields)
            except (redis.RedisError, OSError):
                if hasattr(client, "connection_pool"):
                    await client.connection_pool.disconnect()
                return False
            return True

        await until(added, f"{seq} is written", every=0.05)


@pytest.mark.parametrize("in_order", [False, True])
async def test_sentinels_are_followed_over_a_failover(in_order: bool) -> None:
    """For both kinds of consumers at once, in groups of their own."""
    async with Watched() as watched, patient_client(watched.url) as client:
        await _survives(watched.url, client, watched.fail_over, in_order)


@pytest.mark.parametrize("in_order", [False, True])
async def test_a_cluster_is_followed_when_a_slot_moves_and_a_primary_dies(in_order: bool) -> None:
    """The stream's slot goes to another primary, which is killed then. The README's user is enough for that."""
    async with Clustered() as cluster, patient_client(cluster.url) as client:
        for node in cluster.nodes:
            await asked(node, "ACL", "SETUSER", CONSUMER, *rules_of(CONSUMER, TOPOLOGIES["cluster"]))

        async def trouble() -> None:
            slot = slot_of(STREAM)
            owner = await cluster.owner(slot)
            target = next(one for one in await cluster.primaries() if one is not owner)
            await cluster.move_slot(slot, target)
            await target.kill()
            await cluster.another_takes_over(target, STREAM.replace("events", "probe"))

        await _survives(cluster.url.replace("://", f"://{CONSUMER}:{WORD}@"), client, trouble, in_order)


async def _survives(url: str, client: Any, trouble: Callable[[], Any], in_order: bool) -> None:
    await _moved(client, 5, 1)
    reading = Reading(url, in_order=in_order)
    seen: set[int] = set()

    async def read() -> None:
        async with AsyncConsumer(url, STREAM, "asyncio", in_order=in_order, limits=FAST) as consumer:
            async for entry in consumer:
                seen.add(entry.seq)
                if entry.seq == 11:
                    consumer.stop()

    task = asyncio.create_task(read())
    await until(lambda: len(reading.taken) >= 5 and len(seen) >= 5, "both read")
    await trouble()
    await _moved(client, 6, 6)
    await until(lambda: {one.seq for one in reading.taken} >= set(range(1, 11)), "the threads' one goes on")
    await asyncio.wait_for(task, 60)
    assert await asyncio.to_thread(reading.end)
    assert seen >= set(range(1, 11))
