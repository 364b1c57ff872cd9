"""Commits that wait for replicas or for the disk: real servers, frozen and let go."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from bridge.delivery.window import Window, digest_of
from bridge.errors import FaultKind, SinkFault
from bridge.lab.redis_server import RedisServer
from bridge.masking import Secrets
from bridge.model.keys import session_keys
from bridge.model.labels import Phase
from bridge.model.outcomes import AlreadyCommitted, Committed
from bridge.model.place import START, Place, Session
from bridge.model.records import Record
from bridge.settings import DurabilityLevel, RedisSettings, StreamSettings
from bridge.store.commits import RedisSink
from bridge.store.durability import Durability
from bridge.store.link import RedisLink
from bridge.store.nodes.node import heard
from tests.support.fakes import fake_redis, until

SESSION = Session(name="durable", session_id="lsn-1")
KEYS = session_keys("lens:{<name>}:events", SESSION)
TOKEN = "1-abcdef"


class Bench:
    """A sink that asks for more than memory."""

    def __init__(self, server: RedisServer, level: DurabilityLevel, timeout_seconds: float = 0.3) -> None:
        self.settings = RedisSettings(
            url=SecretStr(server.url), durability=level, durability_timeout_seconds=timeout_seconds
        )
        self.link = RedisLink(self.settings, Secrets())
        self.degraded: list[bool] = []
        durability = Durability(self.settings, self.degraded.append)
        self.sink = RedisSink(self.link, KEYS, SESSION, StreamSettings(), durability)
        self.place = START

    def packed(self) -> bytes:
        """The next commit, of one event."""
        number = self.place.commits + 1
        data = b'{"type":"t","n":%d}' % number
        record = Record(str(number), "t", data, 1.0, "message", digest_of(data), str(number), 0)
        after = Place(cursor=str(number), seq=number, commits=number, mark=f"m{number}")
        packed = self.sink.pack(TOKEN, self.place, after, [record], Window(10).seal([record]), Phase.ACTIVE)
        self.place = after
        return packed


@asynccontextmanager
async def benched(server: RedisServer, level: DurabilityLevel) -> AsyncIterator[tuple[Bench, Redis]]:
    """With a session that the token may write."""
    client: Redis = Redis.from_url(server.url)
    await client.hset(KEYS.state, mapping={"token": TOKEN, "commits": 0, "taken": 0})
    bench = Bench(server, level)
    yield bench, client
    await bench.link.aclose()
    await client.aclose()


@asynccontextmanager
async def replica_of(primary: RedisServer) -> AsyncIterator[RedisServer]:
    """One that is in step."""
    arguments = ["--replicaof", "127.0.0.1", str(primary.port)]
    client: Redis = Redis.from_url(primary.url)
    async with RedisServer(arguments=arguments) as replica:
        async with asyncio.timeout(30):
            while int(await client.wait(1, 100)) < 1:
                await client.set("in-step", 1)
        yield replica
    await client.aclose()


async def test_a_commit_counts_once_a_replica_has_it(private_redis: RedisServer) -> None:
    """One that is frozen is waited for: the commit stands once, however often it is asked for."""
    async with (
        replica_of(private_redis) as replica,
        benched(private_redis, DurabilityLevel.REPLICATED) as (bench, client),
    ):
        assert bench.sink.read(await bench.sink.post(bench.packed(), heard)) == Committed(seq=1, length=1)
        assert bench.degraded == [False]
        os.kill(replica.pid, signal.SIGSTOP)
        packed = bench.packed()
        reply = await bench.sink.post(packed, heard)
        with pytest.raises(SinkFault) as short:
            bench.sink.read(reply)
        with pytest.raises(SinkFault) as again:
            await bench.sink.commit(packed)
        for caught in (short, again):
            assert caught.value.kind is FaultKind.NOT_DURABLE
            assert "0 of 1 replicas have it" in caught.value.detail
        assert bench.degraded == [False, True, True]
        os.kill(replica.pid, signal.SIGCONT)
        async with asyncio.timeout(30):
            while True:
                try:
                    result = await bench.sink.commit(packed)
                    break
                except SinkFault:
                    pass  # it catches up
        assert result == AlreadyCommitted(seq=2, length=2, mark="m2")
        assert bench.degraded[-1] is False
        assert await client.xlen(KEYS.events) == 2


async def test_what_had_landed_on_another_connection_is_written_to_be_waited_for(private_redis: RedisServer) -> None:
    """WAIT is content at once on a connection that has written nothing: a frozen replica would go unseen."""
    async with (
        replica_of(private_redis) as replica,
        benched(private_redis, DurabilityLevel.REPLICATED) as (bench, client),
    ):
        packed = bench.packed()
        os.kill(replica.pid, signal.SIGSTOP)
        with pytest.raises(SinkFault):
            await bench.sink.commit(packed)
        await bench.link.aclose()  # its reply was lost, say
        bench.link = RedisLink(bench.settings, Secrets())
        bench.sink = RedisSink(
            bench.link, KEYS, SESSION, StreamSettings(), Durability(bench.settings, bench.degraded.append)
        )
        with pytest.raises(SinkFault) as caught:
            await bench.sink.commit(packed)
        assert caught.value.kind is FaultKind.NOT_DURABLE
        os.kill(replica.pid, signal.SIGCONT)
        assert await client.xlen(KEYS.events) == 1


async def test_a_touch_of_a_place_that_is_gone_makes_none(redis: Redis, redis_server: RedisServer) -> None:
    """Or an emptied Redis would no longer look empty."""
    bench = Bench(redis_server, DurabilityLevel.REPLICATED)
    touch = bench.sink._touch
    assert await bench.link.run(replace(touch, confirmation=b""), touch.pack([KEYS.state], ("1.0",))) == 1
    assert await redis.exists(KEYS.state) == 0
    await bench.link.aclose()


async def test_fsynced_is_met_by_an_append_only_file_or_told_in_words(private_redis: RedisServer) -> None:
    """Redis before 7.2 has no WAITAOF; which server this is decides which of the two is seen."""
    async with benched(private_redis, DurabilityLevel.FSYNCED) as (bench, client):
        info: dict[str, Any] = await client.info("server")
        knows = tuple(int(part) for part in str(info["redis_version"]).split(".")[:2]) >= (7, 2)
        reply = await bench.sink.post(bench.packed(), heard)
        if knows:
            assert bench.sink.read(reply) == Committed(seq=1, length=1)
            assert bench.degraded == [False]
        else:
            with pytest.raises(SinkFault) as caught:
                bench.sink.read(reply)
            assert caught.value.kind is FaultKind.NOT_DURABLE
            assert "needs Redis 7.2 or newer with appendonly yes" in caught.value.detail
            assert bench.degraded == [True]
        assert await client.xlen(KEYS.events) == 1


async def test_one_confirmation_is_under_way_and_the_next_covers_all_who_asked_meanwhile() -> None:
    """A thousand sessions cost two of them, not a thousand."""
    async with fake_redis() as server:
        link = RedisLink(RedisSettings(url=SecretStr(server.url)), Secrets())
        [node] = await link.nodes()
        told = [asyncio.ensure_future(node.send(b"*1\r\n$4\r\nPING\r\n", confirmation=_WAIT)) for _ in range(5)]
        connection = await server.connected()
        await connection.asked(6)
        assert connection.commands.count([b"WAIT"]) == 1
        connection.reply(b"+PONG\r\n:1\r\n" + 4 * b"+PONG\r\n")
        await connection.asked(7)
        assert connection.commands[-1] == [b"WAIT"]
        connection.reply(b":2\r\n")
        async with asyncio.timeout(10):
            replies = await asyncio.gather(*told)
        assert replies == [("PONG", 1), *[("PONG", 2)] * 4] or replies == [(b"PONG", 1), *[(b"PONG", 2)] * 4]
        await link.aclose()


async def test_a_connection_that_breaks_fails_those_who_wait_for_the_next_confirmation_too() -> None:
    """Nobody is left waiting."""
    async with fake_redis() as server:
        link = RedisLink(RedisSettings(url=SecretStr(server.url)), Secrets())
        [node] = await link.nodes()
        told = [asyncio.ensure_future(node.send(b"*1\r\n$4\r\nPING\r\n", confirmation=_WAIT)) for _ in range(3)]
        connection = await server.connected()
        await connection.asked(4)
        connection.writer.close()
        await until(lambda: all(one.done() for one in told))
        assert all(isinstance(one.exception(), SinkFault) for one in told)
        await link.aclose()


_WAIT = b"*1\r\n$4\r\nWAIT\r\n"
