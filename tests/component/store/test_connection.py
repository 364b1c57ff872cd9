"""The connection to Redis: replies in order, whoever gives up waiting, and every waiter told when it breaks."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bridge.errors import SinkFault
from bridge.lab.redis_server import RedisServer
from bridge.model.redis_address import Endpoint
from bridge.store.connection import Connection, pack
from tests.support.fakes import HOST, FakeRedis, fake_redis, until


@pytest.fixture
async def server() -> AsyncIterator[FakeRedis]:
    """A server that answers when the test says so."""
    async with fake_redis() as running:
        yield running


async def open_to(server: FakeRedis | RedisServer, timeout_seconds: float = 10.0, *handshake: bytes) -> Connection:
    """A ours without TLS."""
    return await Connection.open(Endpoint(HOST, server.port), None, timeout_seconds, handshake)


async def fault_of(reply: asyncio.Future[Any]) -> SinkFault:
    """What a call failed with."""
    with pytest.raises(SinkFault) as caught:
        async with asyncio.timeout(10):
            await reply
    return caught.value


async def test_a_thousand_callers_get_their_own_replies(redis_server: RedisServer) -> None:
    """All of them sent before the first reply comes."""
    ours = await open_to(redis_server)
    replies = await asyncio.gather(*(ours.post(pack("ECHO", str(number))) for number in range(1000)))
    ours.close()
    assert replies == [b"%d" % number for number in range(1000)]


async def test_calls_of_one_round_of_the_loop_go_out_in_order(server: FakeRedis) -> None:
    """And nothing is sent but they."""
    ours = await open_to(server)
    replies = [ours.post(pack("ECHO", str(number))) for number in range(3)]
    connection = await server.connected()
    await connection.asked(3)
    assert connection.commands == [[b"ECHO", b"0"], [b"ECHO", b"1"], [b"ECHO", b"2"]]
    connection.reply(b":0\r\n:1\r\n:2\r\n")
    assert await asyncio.gather(*replies) == [0, 1, 2]
    ours.close()


async def test_a_reply_in_many_pieces_is_one_reply(server: FakeRedis) -> None:
    """Packets end anywhere."""
    ours = await open_to(server)
    reply = ours.post(pack("ECHO", "whole"))
    connection = await server.connected()
    for byte in b"$5\r\nwhole\r\n":
        connection.reply(bytes([byte]))
        await connection.writer.drain()
    assert await reply == b"whole"
    ours.close()


async def test_a_cancelled_callers_reply_is_swallowed_and_the_next_caller_gets_its_own(server: FakeRedis) -> None:
    """The call itself was sent and is carried out; the connection serves on."""
    ours = await open_to(server)
    first, second, third = (ours.post(pack("ECHO", word)) for word in ("a", "b", "c"))
    connection = await server.connected()
    await connection.asked(3)
    second.cancel()
    connection.reply(b"+a\r\n-ERR of the cancelled call\r\n+c\r\n")
    assert (await first, await third) == (b"a", b"c")
    assert second.cancelled()
    assert not ours.broken
    ours.close()


async def test_a_caller_cancelled_before_its_call_was_sent_leaves_the_others_in_order(server: FakeRedis) -> None:
    """It still goes out: what was posted is never taken back."""
    ours = await open_to(server)
    first, second = ours.post(pack("ECHO", "a")), ours.post(pack("ECHO", "b"))
    first.cancel()
    connection = await server.connected()
    await connection.asked(2)
    connection.reply(b"+a\r\n+b\r\n")
    assert await second == b"b"
    ours.close()


async def test_when_the_oldest_call_waits_too_long_every_waiter_gets_a_fault(server: FakeRedis) -> None:
    """Each its own, since one exception cannot be raised in several tasks; and the connection is given up."""
    ours = await open_to(server, 0.05)
    faults = await asyncio.gather(*(fault_of(ours.post(pack("ECHO", str(number)))) for number in range(3)))
    assert {fault.kind for fault in faults} == {"timeout"}
    assert len(set(map(id, faults))) == 3
    assert f"{HOST}:{server.port}" in faults[0].detail
    assert ours.broken


async def test_each_call_has_the_whole_time(server: FakeRedis) -> None:
    """An answered call's time is not charged to the one behind it."""
    ours = await open_to(server, 0.3)
    connection = await server.connected()
    for number in range(1, 4):
        reply = ours.post(pack("ECHO", "x"))
        await connection.asked(number)
        connection.reply(b"+x\r\n")
        assert await reply == b"x"
    last = ours.post(pack("ECHO", "y"))
    assert (await fault_of(last)).kind == "timeout"


async def test_a_cancelled_call_that_is_never_answered_still_breaks_the_channel(server: FakeRedis) -> None:
    """A server that is silent is silent for all."""
    ours = await open_to(server, 0.05)
    ours.post(pack("ECHO", "a")).cancel()
    await until(lambda: ours.broken)


async def test_a_server_that_hangs_up_fails_every_call_under_way_and_every_later_one(server: FakeRedis) -> None:
    """The later ones without a byte being sent."""
    ours = await open_to(server)
    replies = [ours.post(pack("ECHO", str(number))) for number in range(3)]
    connection = await server.connected()
    await connection.asked(3)
    connection.writer.close()
    for reply in replies:
        assert (await fault_of(reply)).kind == "unreachable"
    assert (await fault_of(ours.post(pack("ECHO", "late")))).kind == "unreachable"
    assert len(connection.commands) == 3


async def test_closing_fails_the_calls_under_way(server: FakeRedis) -> None:
    """Those that wait must not wait for ever."""
    ours = await open_to(server)
    reply = ours.post(pack("ECHO", "a"))
    ours.close()
    fault = await fault_of(reply)
    assert (fault.kind, "was closed" in fault.detail) == ("unreachable", True)


async def test_closing_twice_is_harmless(server: FakeRedis) -> None:
    """Whoever comes second finds it closed."""
    ours = await open_to(server)
    ours.close()
    ours.close()
    assert ours.broken


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"220 mail ready\r\n", b"\x00\x01\x02"])
async def test_something_that_is_not_redis_is_told_as_that(server: FakeRedis, greeting: bytes) -> None:
    """With the place to mend it."""
    ours = await open_to(server)
    reply = ours.post(pack("ECHO", "a"))
    (await server.connected()).reply(greeting)
    fault = await fault_of(reply)
    assert fault.kind == "unreachable"
    assert "is not Redis" in fault.detail
    assert "check redis.url" in fault.detail


async def test_a_reply_that_nobody_asked_for_breaks_the_channel(server: FakeRedis) -> None:
    """From there on replies would be taken for those of other calls."""
    ours = await open_to(server)
    (await server.connected()).reply(b"+OK\r\n")
    await until(lambda: ours.broken)
    assert (await fault_of(ours.post(pack("ECHO", "a")))).kind == "unreachable"


async def test_replies_before_garbage_still_settle_their_calls(server: FakeRedis) -> None:
    """What was acknowledged was carried out."""
    ours = await open_to(server)
    first, second = ours.post(pack("ECHO", "a")), ours.post(pack("ECHO", "b"))
    connection = await server.connected()
    await connection.asked(2)
    connection.reply(b"+a\r\ngarbage\r\n")
    assert await first == b"a"
    assert (await fault_of(second)).kind == "unreachable"


async def test_a_refused_handshake_is_one_fault_and_nothing_is_left_to_complain(
    server: FakeRedis, caplog: pytest.LogCaptureFixture
) -> None:
    """The replies behind the refused one belong to nobody, and must not be reported by the event loop."""
    async with RedisServer(arguments=["--requirepass", "right"]) as real:
        with pytest.raises(SinkFault) as caught:
            await open_to(real, 10.0, pack("AUTH", "wrong"), pack("SELECT", "0"))
    assert caught.value.kind == "unauthorized"
    gc.collect()
    assert not caplog.records


async def test_nothing_is_reported_about_calls_that_nobody_waits_for_any_more(
    server: FakeRedis, caplog: pytest.LogCaptureFixture
) -> None:
    """A caller that was cancelled and then failed is no error of the program."""
    ours = await open_to(server)
    ours.post(pack("ECHO", "a")).cancel()
    ours.close()
    gc.collect()
    assert not caplog.records


REPLIES = [
    ("NOSCRIPT No matching script. Please use EVAL.", "no_script"),
    ("LOADING Redis is loading the dataset in memory", "loading"),
    ("READONLY You can't write against a read only replica.", "read_only"),
    ("OOM command not allowed when used memory > 'maxmemory'. script: 1f, on @user_script:60.", "out_of_memory"),
    ("NOREPLICAS Not enough good replicas to write.", "no_replicas"),
    ("NOPERM User app has no permissions to run the 'evalsha' command", "no_permission"),
    ("ERR ACL failure in script: User app has no permissions to run the 'xadd' command", "no_permission"),
    ("NOAUTH Authentication required.", "unauthorized"),
    ("WRONGPASS invalid username-password pair or user is disabled.", "unauthorized"),
    ("ERR AUTH <password> called without any password configured for the default user.", "unauthorized"),
    ("WRONGTYPE Operation against a key holding the wrong kind of value", "wrong_type"),
    ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", "primary_down"),
    ("CLUSTERDOWN Hash slot not served", "cluster_down"),
    (
        "MISCONF Redis is configured to save RDB snapshots, but can't persist to disk.",
        "not_persisting",
    ),
    ("ERR Protocol error: invalid bulk length", "too_large"),
    (
        "ERR Error running script (call to f_1f): @user_script:60: @user_script: 60: -OOM command not allowed.",
        "out_of_memory",
    ),
    ("ERR Error running script (call to f_1f): @user_script:31: WRONGTYPE Operation against a key", "wrong_type"),
    ("ERR DB index is out of range", "refused"),
    ("WRONGTYPE lens:{BLOOM-7}:events is a string, not a stream", "wrong_type"),
    ("WRONGTYPE lens:{READONLY}:events is a hash, not a stream script: LOADING", "wrong_type"),
    ("ERR The stream has exhausted the last possible ID, unable to add more items", "damaged"),
    ("ERR max request size exceeded", "refused"),
    ("@user_script: 56: The user executing the script can't run this command or subcommand", "no_permission"),
    (
        "ERR Error running script (call to f_6b1): @user_script:14: @user_script: 14: "
        "The user executing the script can't run this command or subcommand",
        "no_permission",
    ),
    ("@user_script: 56: -NOREPLICAS Not enough good replicas to write.", "no_replicas"),
    ("@user_script: 56: -OOM command not allowed when used memory > 'maxmemory'.", "out_of_memory"),
    ("ERR Error running script (call to f_6b1): @user_script:56: @user_script: 56: -READONLY You can't", "read_only"),
]


@pytest.mark.parametrize(("reply", "kind"), REPLIES)
async def test_each_error_reply_has_its_kind(server: FakeRedis, reply: str, kind: str) -> None:
    """The kind is read from the reply's code, never from a key's name inside it."""
    ours = await open_to(server)
    call = ours.post(pack("ECHO", "a"))
    connection = await server.connected()
    await connection.asked(1)
    connection.reply(f"-{reply}\r\n".encode())
    fault = await fault_of(call)
    assert fault.kind == kind
    assert reply in fault.detail
    left = kind in ("too_large", "read_only", "primary_down")
    assert ours.broken is left, "a refused call is no broken connection, unless Redis hangs up or another one leads"
    ours.close()
