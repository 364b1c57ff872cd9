"""The client of the reading commands: its password, and what a person is told when there is no Redis."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from bridge.errors import BridgeError, ConfigurationError
from bridge.lab.redis_server import RedisServer
from bridge.operations.redis_client import check_contact, open_client
from bridge.settings import RedisSettings
from tests.support.topology.clustered import free_port
from tests.support.worker import ROOT, python_environment


async def test_the_password_may_stand_in_a_file(tmp_path: Path) -> None:
    """A trailing line end, as editors write it, does not belong to the password."""
    file = tmp_path / "password"
    file.write_text("right\n")
    async with (
        RedisServer(arguments=["--requirepass", "right"]) as server,
        open_client(settings := RedisSettings(url=SecretStr(server.url), password_file=file)) as client,
    ):
        await check_contact(client, settings)
        assert await client.get("key") is None


async def test_a_wrong_password_is_told_and_not_shown() -> None:
    """The error says what Redis said."""
    async with RedisServer(arguments=["--requirepass", "right"]) as server:
        settings = RedisSettings(url=SecretStr(server.url), password=SecretStr("my-wrong-one"))
        async with open_client(settings) as client:
            with pytest.raises(BridgeError, match="cannot read Redis") as caught:
                await check_contact(client, settings)
    assert "my-wrong-one" not in str(caught.value)


async def test_a_cluster_that_may_not_be_asked_for_its_slots_is_one_clear_error() -> None:
    """redis-py has an exception for it that is none of its usual ones."""
    async with RedisServer(port=free_port(), arguments=["--cluster-enabled", "yes"]) as server:
        async with Redis.from_url(server.url) as client:
            await client.acl_setuser("reader", enabled=True, passwords=["+word"], keys=["*"], commands=["+xrange"])
        url = SecretStr(server.url.replace("redis://", "redis+cluster://reader:word@").removesuffix("/0"))
        settings = RedisSettings(url=url)
        async with open_client(settings) as cluster:
            with pytest.raises(BridgeError, match=r"cannot read Redis at redis\+cluster://"):
                await check_contact(cluster, settings)


async def test_no_redis_is_one_clear_error() -> None:
    """It says where it was looked for and which setting says so, and no password."""
    settings = RedisSettings(url=SecretStr("redis://:my-password@127.0.0.1:1/0"))
    async with open_client(settings) as client:
        with pytest.raises(BridgeError, match=r"redis://127\.0\.0\.1:1: .*BRIDGE_REDIS__URL") as caught:
            await check_contact(client, settings)
    assert "my-password" not in str(caught.value)


def test_a_missing_password_file_names_its_setting(tmp_path: Path) -> None:
    """With the path, so that it can be mended."""
    with pytest.raises(ConfigurationError, match=r"redis\.password_file.*/none"):
        open_client(RedisSettings(password_file=tmp_path / "none"))


@pytest.mark.parametrize("command", ["verify", "tail"])
def test_a_password_file_that_is_no_text_is_one_line_and_bad_configuration(tmp_path: Path, command: str) -> None:
    """What to mend instead of a traceback, and exit code 2; the password's bytes are not shown."""
    file = tmp_path / "word"
    file.write_bytes(b"caf\xe9-secret")
    ended = subprocess.run(
        [sys.executable, "-m", "bridge", command, "--stream", "key", "--redis-url", "redis://127.0.0.1:1/0"],
        env={**python_environment(), "BRIDGE_REDIS__PASSWORD_FILE": str(file)},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [
        f"lens-bridge: redis.password_file {file}: not UTF-8 text - write the password into it as UTF-8"
    ]
