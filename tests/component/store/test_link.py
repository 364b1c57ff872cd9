"""The way to Redis: connecting when needed, what is said when that fails, and that no password is ever part of it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from bridge.errors import SinkFault
from bridge.lab.redis_server import RedisServer
from bridge.masking import Secrets
from bridge.settings import RedisSettings
from bridge.store.connection import pack
from bridge.store.link import RedisLink, Script
from tests.support.fakes import HOST, FakeRedis, fake_redis, listening, until

ONE = Script.of("return {ARGV[1], #KEYS}")


@asynccontextmanager
async def link_to(url: str, said: list[str | None] | None = None, **settings: object) -> AsyncIterator[RedisLink]:
    """A link that notes every change of the connection in ``said``."""
    heard = [] if said is None else said
    made = RedisLink(
        RedisSettings.model_validate({"url": url, "timeout_seconds": 10.0, **settings}), Secrets(), heard.append
    )
    try:
        yield made
    finally:
        await made.aclose()


@pytest.fixture
async def server() -> AsyncIterator[FakeRedis]:
    """A server that answers when the test says so."""
    async with fake_redis() as running:
        yield running


async def fault_of(link: RedisLink, *command: str) -> SinkFault:
    """What a call fails with."""
    with pytest.raises(SinkFault) as caught:
        async with asyncio.timeout(20):
            await link.call(*(command or ("PING",)))
    return caught.value


async def test_a_thousand_who_wait_for_the_connection_go_on_together() -> None:
    """Not one in each turn of the event loop: with 3,000 sessions all of them once stood still for minutes."""
    async with fake_redis() as server, link_to(server.url) as link:
        calls = [asyncio.create_task(link.call("PING")) for _ in range(1_000)]
        connection = await server.connected()
        turns = 0
        async with asyncio.timeout(60):
            while len(connection.commands) < len(calls):
                await asyncio.sleep(0)
                turns += 1
        connection.reply(b"+PONG\r\n" * len(calls))
        assert set(await asyncio.gather(*calls)) == {b"PONG"}
    assert turns < len(calls) / 2


async def test_many_callers_share_one_connection(server: FakeRedis) -> None:
    """All that call before it stands wait for the one."""
    async with link_to(server.url) as link:
        calls = [asyncio.create_task(link.call("ECHO", str(number))) for number in range(100)]
        connection = await server.connected()
        await connection.asked(100)
        connection.reply(b"".join(b":%d\r\n" % number for number in range(100)))
        assert await asyncio.gather(*calls) == list(range(100))
        assert len(server.connections) == 1


async def test_it_connects_with_the_first_call_and_says_so(redis_server: RedisServer) -> None:
    """Not before: a worker starts without Redis."""
    said: list[str | None] = []
    async with link_to(redis_server.url, said) as link:
        assert said == []
        assert await link.call("PING") == b"PONG"
        assert await link.call("PING") == b"PONG"
    assert said == [None]


async def test_the_database_of_the_url_is_the_one_that_is_used(redis_server: RedisServer, redis: Redis) -> None:
    """SELECT is part of each connect."""
    url = redis_server.url.removesuffix("/0") + "/3"
    async with link_to(url) as link:
        await link.call("SET", "key", "value")
    assert await redis.get("key") is None
    async with Redis.from_url(url) as third:
        assert await third.get("key") == b"value"


async def test_a_database_that_does_not_exist_is_told(redis_server: RedisServer) -> None:
    """By the words of Redis."""
    async with link_to(redis_server.url.removesuffix("/0") + "/999") as link:
        fault = await fault_of(link)
    assert "out of range" in fault.detail


async def test_after_a_time_out_every_waiter_gets_a_fault_and_the_next_call_reconnects(server: FakeRedis) -> None:
    """Said once, however many waited."""
    said: list[str | None] = []
    async with link_to(server.url, said, timeout_seconds=0.1) as link:
        faults = await asyncio.gather(*(fault_of(link) for _ in range(3)))
        assert [fault.kind for fault in faults] == ["timeout"] * 3
        again = asyncio.create_task(link.call("PING"))
        connection = await server.connected(2)
        await connection.asked(1)
        connection.reply(b"+PONG\r\n")
        assert await again == b"PONG"
    assert said == [None, faults[0].detail, None]


async def test_a_call_cancelled_while_connecting_leaves_the_connecting_to_the_next(redis_server: RedisServer) -> None:
    """Whoever waits behind it goes on."""
    async with link_to(redis_server.url) as link:
        first = asyncio.create_task(link.call("ECHO", "a"))
        second = asyncio.create_task(link.call("ECHO", "b"))
        await asyncio.sleep(0)  # both wait now
        first.cancel()
        assert await second == b"b"
        assert first.cancelled()


async def test_a_call_cancelled_under_way_costs_the_others_nothing(server: FakeRedis) -> None:
    """The connection stands, and the next caller's reply is its own."""
    said: list[str | None] = []
    async with link_to(server.url, said) as link:
        first = asyncio.create_task(link.call("ECHO", "a"))
        connection = await server.connected()
        await connection.asked(1)
        first.cancel()
        second = asyncio.create_task(link.call("ECHO", "b"))
        await connection.asked(2)
        connection.reply(b"+a\r\n+b\r\n")
        assert await second == b"b"
    assert said == [None]


async def test_closing_fails_the_calls_under_way_and_says_nothing(server: FakeRedis) -> None:
    """It was asked for, so it is no outage."""
    said: list[str | None] = []
    async with link_to(server.url, said) as link:
        call = asyncio.create_task(fault_of(link))
        await (await server.connected()).asked(1)
        await link.aclose()
        assert (await call).kind == "unreachable"
    assert said == [None]


async def test_a_flushed_script_cache_costs_one_reload(redis_server: RedisServer, redis: Redis) -> None:
    """The same bytes are sent again, since Redis knew nothing of them."""
    packed = ONE.pack(["k"], ["a"])
    async with link_to(redis_server.url) as link:
        for _ in range(2):
            await redis.script_flush()
            assert await link.run(ONE, packed) == [b"a", 1]


async def test_a_script_that_redis_keeps_forgetting_is_a_fault(server: FakeRedis) -> None:
    """It is loaded once per call, not for ever."""
    async with link_to(server.url) as link:
        call = asyncio.create_task(link.run(ONE, ONE.pack([], ["a"])))
        connection = await server.connected()
        for number, reply in enumerate((b"-NOSCRIPT no\r\n", b"$1\r\nx\r\n", b"-NOSCRIPT no\r\n"), start=1):
            await connection.asked(number)
            connection.reply(reply)
        with pytest.raises(SinkFault, match="NOSCRIPT"):
            await call
        assert len(connection.commands) == 3


def test_a_script_call_is_the_same_bytes_each_time() -> None:
    """So that what is sent again can be told from what is new."""
    assert ONE.pack(["k"], ["a", 1, b"\xff"]) == pack("EVALSHA", ONE.sha, 1, "k", "a", 1, b"\xff")


async def test_a_refused_connection_names_the_place_and_the_setting() -> None:
    """Nobody listens there."""
    said: list[str | None] = []
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        port = taken.getsockname()[1]
        async with link_to(f"redis://{HOST}:{port}/0", said) as link:
            fault = await fault_of(link)
    assert fault.kind == "unreachable"
    assert f"{HOST}:{port}" in fault.detail
    assert "check redis.url" in fault.detail
    assert "\n" not in fault.detail
    assert said == [fault.detail]


@pytest.mark.parametrize("host", ["no-such-host.invalid", ".invalid", "a..b", "x" * 64 + ".invalid"])
async def test_an_unknown_host_is_one_fault_whatever_its_name_looks_like(host: str) -> None:
    """Also where the name cannot even be asked for: an empty or an overlong label."""
    async with link_to(f"redis://{host}:6379/0") as link:
        fault = await fault_of(link)
    assert fault.kind == "unreachable"
    assert host in fault.detail


async def test_a_server_that_accepts_and_says_nothing_is_given_up() -> None:
    """While the greeting is waited for."""

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with (
        listening(mute) as port,
        link_to(f"redis://{HOST}:{port}/0", timeout_seconds=0.1) as link,
    ):
        assert (await fault_of(link)).kind == "timeout"


async def test_a_tls_handshake_that_never_ends_is_given_up() -> None:
    """After connect_timeout_seconds."""

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with (
        listening(mute) as port,
        link_to(f"rediss://{HOST}:{port}/0", connect_timeout_seconds=0.2) as link,
    ):
        fault = await fault_of(link)
    assert (fault.kind, "within 0.2 s" in fault.detail) == ("unreachable", True)


async def test_tls_to_a_plain_port_is_one_fault(redis_server: RedisServer) -> None:
    """In one line."""
    async with link_to(redis_server.url.replace("redis:", "rediss:"), connect_timeout_seconds=1.0) as link:
        fault = await fault_of(link)
    assert fault.kind == "unreachable"
    assert "\n" not in fault.detail
    assert "speaks TLS" in fault.detail


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1, beside its key."""
    directory = tmp_path_factory.mktemp("tls")
    subject = ["-subj", f"/CN={HOST}", "-addext", f"subjectAltName=IP:{HOST}", "-days", "2", "-nodes"]
    made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    made += ["-keyout", str(directory / "key.pem"), "-out", str(directory / "cert.pem")]
    subprocess.run(["openssl", "req", "-x509", *made, *subject], check=True, capture_output=True)
    return directory / "cert.pem"


@asynccontextmanager
async def tls_front(certificate: Path) -> AsyncIterator[int]:
    """Something that speaks TLS and answers +OK to all; gives its port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))

    async def agree(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            writer.write(b"+OK\r\n")

    async with listening(agree, context) as port:
        yield port


async def test_tls_with_an_authority_of_our_own(certificate: Path) -> None:
    """redis.ca_file names it."""
    async with (
        tls_front(certificate) as port,
        link_to(f"rediss://{HOST}:{port}/0", ca_file=certificate) as link,
    ):
        assert await link.call("PING") == b"OK"


async def test_a_certificate_that_nobody_vouches_for_is_refused(certificate: Path) -> None:
    """And told as that."""
    async with tls_front(certificate) as port, link_to(f"rediss://{HOST}:{port}/0") as link:
        fault = await fault_of(link)
    assert "certificate verify failed" in fault.detail
    assert fault.detail.endswith("in redis.ca_file")


async def test_a_plain_connection_to_a_tls_port_is_one_fault(certificate: Path) -> None:
    """The other way round."""
    async with tls_front(certificate) as port, link_to(f"redis://{HOST}:{port}/0") as link:
        fault = await fault_of(link)
    assert fault.kind == "unreachable"
    assert "write rediss:// in redis.url" in fault.detail


async def test_a_complaint_of_a_tls_server_is_told_as_that() -> None:
    """Some send it in answer to what is not TLS."""

    async def complain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"\x15\x03\x01\x00\x02\x02\x46")
        await reader.read()

    async with listening(complain) as port, link_to(f"redis://{HOST}:{port}/0") as link:
        assert "it speaks TLS: write rediss://" in (await fault_of(link)).detail


@pytest.fixture(scope="module")
def locked_users() -> list[str]:
    """A server whose default user has a password, and one more user."""
    return ["--requirepass", "default-secret", "--user", "app", "on", ">user-secret", "~*", "+@all"]


async def test_each_way_to_give_user_and_password(locked_users: list[str], tmp_path: Path) -> None:
    """In the URL, percent-encoded or not; in settings of their own; in a file, with a line end behind it."""
    file = tmp_path / "password"
    file.write_text("user-secret\n")
    async with RedisServer(arguments=locked_users) as server:
        place = f"{HOST}:{server.port}"
        ways: list[tuple[str, dict[str, object]]] = [
            (f"redis://:default-secret@{place}/0", {}),
            (f"redis://app:user%2Dsecret@{place}", {}),
            (f"redis://{place}/0", {"password": SecretStr("default-secret")}),
            (f"redis://{place}/0", {"username": "app", "password": SecretStr("user-secret")}),
            (f"redis://app:wrong-secret@{place}/0", {"password_file": file}),
        ]
        for url, settings in ways:
            async with link_to(url, None, **settings) as link:
                assert await link.call("PING") == b"PONG"


async def test_no_fault_ever_shows_a_password(locked_users: list[str], tmp_path: Path) -> None:
    """Wrong in the URL, wrong in a setting, wrong in a file, and none at all."""
    file = tmp_path / "password"
    file.write_text("wrong-secret")
    async with RedisServer(arguments=locked_users) as server:
        place = f"{HOST}:{server.port}"
        for url, settings in (
            (f"redis://:wrong-secret@{place}/0", {}),
            (f"redis://{place}/0", {"password": SecretStr("wrong-secret")}),
            (f"redis://app@{place}/0", {"password_file": file}),
            (f"redis://{place}/0", {}),
        ):
            async with link_to(url, None, **settings) as link:
                fault = await fault_of(link)
            assert fault.kind == "unauthorized"
            assert "secret" not in fault.detail
            assert place in fault.detail
    async with link_to(f"redis://:wrong-secret@{place}/0") as link:  # and it has gone now
        assert "secret" not in (await fault_of(link)).detail


async def test_a_rotated_password_file_is_read_at_the_next_connect(tmp_path: Path) -> None:
    """No restart, and both passwords are secrets from then on."""
    file = tmp_path / "password"
    file.write_text("the-old-secret")
    secrets = Secrets()
    async with RedisServer(arguments=["--requirepass", "the-old-secret"]) as server:
        link = RedisLink(RedisSettings(url=SecretStr(server.url), password_file=file), secrets)
        assert await link.call("PING") == b"PONG"
        await link.call("CONFIG", "SET", "requirepass", "the-new-secret")
        await link.aclose()
        assert (await fault_of(link)).kind == "unauthorized"
        file.write_text("the-new-secret\n")
        assert await link.call("PING") == b"PONG"
        await link.aclose()
    assert secrets.mask("the-old-secret the-new-secret") == "********** **********"


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
async def test_a_password_file_that_cannot_be_read_is_a_fault_that_can_pass(
    redis_server: RedisServer, tmp_path: Path, content: bytes | None
) -> None:
    """Kubernetes may mount it later."""
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    async with link_to(redis_server.url, password_file=file) as link:
        fault = await fault_of(link)
        assert fault.kind == "unauthorized"
        assert f"redis.password_file {file}" in fault.detail
        file.write_text("")  # none after all
        assert await link.call("PING") == b"PONG"


async def test_a_server_that_vanished_while_nobody_called_is_found_at_the_next_call(server: FakeRedis) -> None:
    """The dead connection is replaced without a fault."""
    said: list[str | None] = []
    async with link_to(server.url, said) as link:
        first = asyncio.create_task(link.call("PING"))
        connection = await server.connected()
        await connection.asked(1)
        connection.reply(b"+PONG\r\n")
        await first
        connection.writer.close()
        (node,) = await link.nodes()
        await until(lambda: node.standing is None)
        again = asyncio.create_task(link.call("PING"))
        second = await server.connected(2)
        await second.asked(1)
        second.reply(b"+PONG\r\n")
        assert await again == b"PONG"
