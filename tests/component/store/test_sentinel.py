"""The way to a primary that Sentinels watch: who is asked, who is believed, and when it is left for another."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

import pytest

from bridge.errors import FaultKind, SinkFault
from bridge.lab.redis_server import RedisServer
from bridge.masking import Secrets
from bridge.settings import RedisSettings
from bridge.store.link import RedisLink, Script
from tests.support.fakes import HOST, listening, read_command
from tests.support.topology.watched import SERVICE, Watched, asked
from tests.support.worker import until

FOR_EVER = 90.0  # seconds: what ends within a test, ends for another reason
COUNT = Script.of("return redis.call('INCR', KEYS[1])")


@dataclass
class Witness:
    """A Sentinel that says what the test wants; 0 for a service that it does not know."""

    names: int
    epoch: int = 1
    mute: bool = False
    password: str = ""
    questions: list[list[bytes]] = field(default_factory=list)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        known = not self.password
        while True:
            command = await read_command(reader)
            self.questions.append(command)
            if self.mute:
                continue
            if command[0] == b"AUTH":
                known = command[-1].decode() == self.password
                writer.write(b"+OK\r\n" if known else b"-WRONGPASS invalid username-password pair\r\n")
            elif not known:
                writer.write(b"-NOAUTH Authentication required.\r\n")
            elif command[1] == b"MASTER":
                epoch = str(self.epoch)
                writer.write(f"*2\r\n$12\r\nconfig-epoch\r\n${len(epoch)}\r\n{epoch}\r\n".encode())
            elif self.names:
                port = str(self.names)
                writer.write(f"*2\r\n$9\r\n127.0.0.1\r\n${len(port)}\r\n{port}\r\n".encode())
            else:
                writer.write(b"*-1\r\n")


@asynccontextmanager
async def witnesses(*made: Witness, **settings: object) -> AsyncIterator[RedisLink]:
    """A link that asks them."""
    async with AsyncExitStack() as stack:
        for one in made:
            one.port = await stack.enter_async_context(listening(one.serve))
        places = ",".join(f"{HOST}:{one.port}" for one in made)
        link = link_to(f"redis+sentinel://{places}/{SERVICE}", None, **settings)
        stack.push_async_callback(link.aclose)
        yield link


def link_to(url: str, said: list[str | None] | None = None, **settings: object) -> RedisLink:
    """A way there."""
    heard = [] if said is None else said
    return RedisLink(RedisSettings.model_validate({"url": url, **settings}), Secrets(), heard.append)


async def fault_of(link: RedisLink) -> SinkFault:
    """What a call fails with."""
    with pytest.raises(SinkFault) as caught:
        async with asyncio.timeout(60):
            await link.call("GET", "key")
    return caught.value


@pytest.fixture
async def primary() -> AsyncIterator[RedisServer]:
    """A server that takes writes."""
    async with RedisServer() as server:
        yield server


@pytest.fixture
async def other() -> AsyncIterator[RedisServer]:
    """Another one, which takes writes too."""
    async with RedisServer() as server:
        yield server


async def test_a_sentinel_that_lies_is_outvoted(primary: RedisServer, other: RedisServer) -> None:
    """It names a server that says of itself that it is a primary, and claims the latest failover."""
    honest = [Witness(primary.port), Witness(primary.port)]
    for liar_first in (True, False):
        liar = Witness(other.port, epoch=99)
        every = [liar, *honest] if liar_first else [*honest, liar]
        async with witnesses(*every) as link:
            await link.call("SET", "key", "value")
    assert await asked(primary, "GET", "key") == b"value"
    assert await asked(other, "DBSIZE") == 0


async def test_a_primary_that_is_away_is_waited_for_and_not_given_up_for_what_a_liar_names(other: RedisServer) -> None:
    """Most Sentinels name it still: another server that says it is a primary is none of this service."""
    with socket.socket() as nobody:
        nobody.bind((HOST, 0))
        away = nobody.getsockname()[1]
        every = [Witness(other.port, epoch=99), Witness(away), Witness(away)]
        async with witnesses(*every, connect_timeout_seconds=0.5) as link:
            fault = await fault_of(link)
    assert f"Redis at {HOST}:{away} cannot be reached" in fault.detail
    assert b"cmdstat_get:" not in await asked(other, "INFO", "COMMANDSTATS")


async def test_a_sentinel_that_hangs_is_not_waited_for(primary: RedisServer) -> None:
    """Two of three are most."""
    every = [Witness(0, mute=True), Witness(primary.port), Witness(primary.port)]
    async with witnesses(*every, timeout_seconds=FOR_EVER, connect_timeout_seconds=FOR_EVER) as link:
        assert await link.call("PING") == b"PONG"


async def test_the_word_of_one_is_enough_where_the_others_are_silent(primary: RedisServer) -> None:
    """Sentinels die as well, and the server itself agrees."""
    every = [Witness(0, mute=True), Witness(primary.port), Witness(0, mute=True)]
    async with witnesses(*every, timeout_seconds=FOR_EVER, connect_timeout_seconds=FOR_EVER) as link:
        assert await link.call("PING") == b"PONG"


async def test_where_they_differ_the_later_failover_is_tried_first(primary: RedisServer, other: RedisServer) -> None:
    """One of each: no side has most, and none gets it in the time that Sentinels take to tell each other."""
    async with witnesses(Witness(other.port, epoch=1), Witness(primary.port, epoch=2)) as link:
        await link.call("SET", "key", "value")
    assert await asked(primary, "GET", "key") == b"value"


async def test_a_replica_that_is_named_gets_no_write_and_is_waited_for(
    primary: RedisServer, other: RedisServer
) -> None:
    """In the middle of a failover the name comes before the role."""
    await asked(other, "REPLICAOF", HOST, str(primary.port))
    async with witnesses(Witness(other.port), connect_timeout_seconds=0.3) as link:
        fault = await fault_of(link)
        assert fault.kind is FaultKind.PRIMARY_DOWN
        assert f"Redis at {HOST}:{other.port} is a replica" in fault.detail
    async with witnesses(Witness(other.port), connect_timeout_seconds=FOR_EVER) as link:
        call = asyncio.create_task(link.call("SET", "key", "value"))
        await asyncio.wait({call}, timeout=0.3)
        assert not call.done()
        await asked(other, "REPLICAOF", "NO", "ONE")
        assert await call == b"OK"


async def test_what_sentinels_answer_is_told_of_each(primary: RedisServer) -> None:
    """A service that they do not know, a server that is none, nobody at all."""
    async with witnesses(Witness(0), connect_timeout_seconds=0.2) as link:
        fault = await fault_of(link)
    assert fault.kind is FaultKind.UNREACHABLE
    assert f"knows no service {SERVICE} - check redis.url" in fault.detail
    url = f"redis+sentinel://{HOST}:{primary.port},{HOST}:1/{SERVICE}"
    link = link_to(url, connect_timeout_seconds=0.2)
    fault = await fault_of(link)
    await link.aclose()
    assert f"what answers at {HOST}:{primary.port} is no Sentinel - name the Sentinels in redis.url" in fault.detail
    assert f"the Sentinel at {HOST}:1 cannot be reached: " in fault.detail


async def test_sentinels_have_users_and_passwords_of_their_own(primary: RedisServer) -> None:
    """None of the data's is ever sent to them."""
    witness = Witness(primary.port, password="right-one")
    async with witnesses(witness, connect_timeout_seconds=0.2, sentinel_password="wrong-one") as link:
        fault = await fault_of(link)
    assert "check redis.sentinel_username and redis.sentinel_password" in fault.detail
    assert "wrong-one" not in fault.detail
    witness.questions.clear()
    given = {"sentinel_username": "me", "sentinel_password": "right-one", "password": None}
    async with witnesses(witness, **given) as link:
        assert await link.call("PING") == b"PONG"
    assert witness.questions[0] == [b"AUTH", b"me", b"right-one"]
    witness = Witness(primary.port)
    await asked(primary, "CONFIG", "SET", "requirepass", "of-the-data")
    async with witnesses(witness, password="of-the-data") as link:
        assert await link.call("PING") == b"PONG"
    assert b"of-the-data" not in {word for question in witness.questions for word in question}


async def test_a_primary_that_was_replaced_is_left_while_it_still_takes_writes(
    primary: RedisServer, other: RedisServer
) -> None:
    """Nobody has told it, and no call fails: what it acknowledges is going to be lost."""
    every = [Witness(primary.port), Witness(primary.port), Witness(primary.port)]
    async with witnesses(*every) as link:
        await link.call("SET", "key", "old")
        every[0].names = other.port  # one of three is not yet enough
        every[1].questions.clear()
        await until(lambda: len(every[1].questions) > 4, "the Sentinels are asked again")
        await link.call("SET", "key", "still old")
        assert await asked(other, "DBSIZE") == 0
        every[1].names = other.port

        async def has_moved() -> bool:
            with suppress(SinkFault):
                await link.call("SET", "key", "new")
            return bool(await asked(other, "GET", "key") == b"new")

        await until(has_moved, "the other one is written to")
    assert await asked(primary, "GET", "key") == b"still old" or await asked(primary, "GET", "key") == b"new"


async def test_a_call_that_hangs_on_a_frozen_primary_ends_once_there_is_another(
    primary: RedisServer, other: RedisServer
) -> None:
    """Long before its own time is up; and so does a connection that was just being made."""
    witness = Witness(primary.port)
    async with witnesses(witness, timeout_seconds=FOR_EVER, connect_timeout_seconds=FOR_EVER) as link:
        await link.call("SET", "key", "old")
        primary.pause()
        hanging = asyncio.create_task(fault_of(link))
        await asyncio.wait({hanging}, timeout=0.2)
        witness.names = other.port
        fault = await hanging
        assert fault.kind is FaultKind.UNREACHABLE
        assert f"was left: {HOST}:{other.port} is the primary of {SERVICE} by now" in fault.detail
        assert await link.call("SET", "key", "new") == b"OK"
        assert await link.run(COUNT, COUNT.pack(["number"], [])) == 1
    witness.names = primary.port  # which hangs as before, while the connection is made
    async with witnesses(witness, timeout_seconds=FOR_EVER, connect_timeout_seconds=FOR_EVER) as link:
        opening = asyncio.create_task(link.call("GET", "key"))
        await until(lambda: len(witness.questions) > 2, "it was named")
        witness.names = other.port
        async with asyncio.timeout(60):
            assert await opening == b"new"
    primary.resume()


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    """Real Sentinels."""
    async with Watched() as made:
        yield made


async def test_a_failover_is_followed_by_itself(watched: Watched) -> None:
    """Asked for, then by a kill: each time the next calls go to the new primary."""
    said: list[str | None] = []
    link = link_to(watched.url, said)

    async def follows(before: RedisServer) -> bool:
        with suppress(SinkFault):
            await link.call("SET", "after", "1")
            (node,) = await link.nodes()
            where = f"{HOST}:{before.port}"
            return (await link.call("ROLE"))[0] == b"master" and bool(node.standing and node.standing.where != where)
        return False

    await link.call("SET", "before", "1")
    for kill in (False, True):
        before = await watched.primary()
        if kill:
            await before.kill()
            await watched.another_takes_over(before)
        else:
            await watched.fail_over()
        await until(partial(follows, before), "the link follows")
        await watched.whole()
    await link.aclose()
    assert said[0] is None
    assert said[-1] is None
