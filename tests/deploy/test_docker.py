"""The compose file and the `docker run` of config/examples: what they ask for, and the image run with it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from redis.asyncio import Redis

from bridge.lab.redis_server import RedisServer
from bridge.lab.simulator import Simulator
from bridge.settings.loading import load
from tests.support.deploy.compose import ServiceContainer, health_command, of_docker_run, seconds
from tests.support.deploy.image import Image
from tests.support.deploy.needs import need_program
from tests.support.deploy.processes import free_port
from tests.support.worker import until

EXAMPLES = Path(__file__).parents[2] / "config" / "examples" / "without-kubernetes"
FILE = EXAMPLES / "compose.yaml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())
WORKER: dict[str, Any] = COMPOSE["services"]["worker"]
REDIS: dict[str, Any] = COMPOSE["services"]["redis"]
README = (EXAMPLES / "README.md").read_text()
SESSION = "lsn-250313c2177253cbaa7a73542edd90"
EVENTS = "lens:{camera-1}:events"


def check(file: Path) -> subprocess.CompletedProcess[str]:
    """What compose itself says to a file; it asks no daemon for that."""
    command = [need_program("docker-compose"), "--file", str(file), "config", "--quiet"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_compose_accepts_the_file_and_would_refuse_a_typing_error(tmp_path: Path) -> None:
    """By its own schema; and every name that is used is declared."""
    done = check(FILE)
    assert (done.returncode, done.stderr) == (0, "")
    for right, wrong in (("stop_grace_period", "stop_grace_periods"), ("service_healthy", "service_well")):
        file = tmp_path / "compose.yaml"
        file.write_text(FILE.read_text().replace(right, wrong))
        assert check(file).returncode, wrong
    assert set(WORKER["secrets"]) == set(COMPOSE["secrets"])
    assert {*WORKER["networks"], *REDIS["networks"]} == set(COMPOSE["networks"])
    assert {one.partition(":")[0] for one in REDIS["volumes"]} == set(COMPOSE["volumes"])


def test_docker_waits_longer_than_the_worker_takes_to_stop() -> None:
    """With the settings beside it."""
    settings = load(EXAMPLES / "bridge.yaml", {}, {})
    assert seconds(WORKER["stop_grace_period"]) >= settings.worker.grace_period_seconds + 5


def test_docker_run_asks_for_what_the_compose_file_asks_for() -> None:
    """Flag by flag; Redis is elsewhere, and the files are named by their whole path."""
    (command,) = re.findall(r"^docker run .*?[^\\]$", README, re.MULTILINE | re.DOTALL)
    asked = of_docker_run(command)
    assert asked.pop("container_name") == "lens-bridge"
    assert asked["environment"].pop("BRIDGE_REDIS__URL").startswith("redis://")
    wanted = json.loads(json.dumps(WORKER))
    assert wanted["environment"].pop("BRIDGE_REDIS__URL") == "redis://redis:6379/0"
    files = [one.replace("./", "$PWD/") for one in wanted.pop("volumes")]
    files += [f"$PWD/{one}:/run/secrets/{one}:ro" for one in wanted.pop("secrets")]
    assert asked.pop("volumes") == files
    for one in (asked, wanted):
        one["healthcheck"]["test"][1] = " ".join(one["healthcheck"]["test"][1].split())
    for name in ("build", "depends_on", "networks"):
        del wanted[name]
    assert asked == wanted


def test_nothing_is_open_to_other_machines_and_no_log_fills_the_disk() -> None:
    """The page has no login, Redis no password."""
    assert [one.partition(":")[0] for one in WORKER["ports"]] == ["127.0.0.1"]
    assert "ports" not in REDIS
    assert COMPOSE["networks"][REDIS["networks"][0]] == {"internal": True}
    assert "outside" in WORKER["networks"]
    for service in (WORKER, REDIS):
        assert service["restart"] == "unless-stopped"
        assert service["logging"]["options"].keys() == {"max-size", "max-file"}


async def test_a_server_takes_the_arguments_of_the_compose_file(tmp_path: Path) -> None:
    """It starts with them, keeps what it is told on disk, and refuses writes rather than drop streams."""
    program, *arguments = REDIS["command"]
    assert program == "redis-server"
    async with (
        RedisServer(arguments=[*arguments, "--dir", str(tmp_path)]) as server,
        Redis.from_url(server.url) as client,
    ):
        await client.xadd("key", {"field": "value"})
        told = await client.config_get("maxmemory-policy", "appendonly")
        assert told == {"maxmemory-policy": "noeviction", "appendonly": "yes"}
    assert list(tmp_path.glob("appendonlydir/*.incr.aof"))  # noqa: ASYNC240  nothing else runs here


@pytest_asyncio.fixture
async def container(
    image: Image, simulator: Simulator, redis_server: RedisServer, tmp_path: Path
) -> AsyncIterator[ServiceContainer]:
    """The worker of the compose file, beside a key that only its user can read. Not started yet."""
    here = tmp_path / "here"
    shutil.copytree(EXAMPLES, here)
    key = here / "api-key"
    key.write_text("simulated-key\n")
    shutil.chown(key, *(int(one) for one in image.config["User"].split(":")))
    key.chmod(0o400)
    for one in (tmp_path, here):
        one.chmod(0o755)
    variables = {
        "BRIDGE_SOURCE__BASE_URL": simulator.base_url,
        "BRIDGE_REDIS__URL": redis_server.url,
        "BRIDGE_ADMIN__HOST": "127.0.0.1",
        "BRIDGE_ADMIN__PORT": str(free_port()),
    }
    made = ServiceContainer(image, WORKER, here, variables, tmp_path)
    try:
        yield made
    finally:
        await made.close()


async def healthy(container: ServiceContainer) -> bool:
    """What Docker finds; here the worker listens on another port."""
    environment = dict(one.split("=", 1) for one in container.config["process"]["env"])
    *shell, command = health_command(WORKER)
    code, _ = await container.execute(*shell, command.replace("8080", environment["BRIDGE_ADMIN__PORT"]))
    return code == 0


async def length(redis: Redis, at_least: int) -> bool:
    """So many events are in Redis."""
    return await redis.xlen(EVENTS) >= at_least


@pytest.mark.timeout(1200)  # the first build makes a Debian
async def test_the_worker_of_the_compose_file_bridges_becomes_healthy_and_stops_in_good_order(
    container: ServiceContainer, simulator: Simulator, redis: Redis
) -> None:
    """Under all that the file forbids; the commands of README.md work in it, and a new key needs no restart."""
    session = simulator.create_session(SESSION)
    session.emit({"type": "inference.result", "number": 0})
    await container.start()
    await until(lambda: healthy(container), f"the worker is healthy\n{container.said()}")
    await until(lambda: length(redis, 1), f"the first event is in Redis\n{container.said()}")
    status = await container.kernel_status()
    assert status["Uid"].split() == ["10001"] * 4
    assert {int(status[one], 16) for one in ("CapPrm", "CapEff", "CapBnd")} == {0}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    code, said = await container.execute("python", "-c", "open('/tmp/written', 'w')")
    assert code, "the file system is read-only"
    assert "Read-only file system" in said
    code, said = await container.execute("lens-bridge", "verify")
    assert code == 0, said
    assert "no fault found" in said

    simulator.api_keys[:] = ["rotated-key"]
    (container.bundle.parent / "here" / "api-key").write_text("rotated-key\n")  # into the file that is mounted
    simulator.drop_all()
    session.emit({"type": "inference.result", "number": 1})
    await until(lambda: length(redis, 2), f"the second event is in Redis\n{container.said()}")

    await container.terminate("SIGTERM")
    assert await container.exit_code() == 0, container.said()
    assert "worker.stopped" in container.said()
    assert not await redis.keys("lens:*:lease:*"), "the session is free for the next worker"


@pytest.mark.timeout(1200)
async def test_a_worker_without_its_redis_is_not_healthy_and_is_told_so(
    container: ServiceContainer, simulator: Simulator, private_redis: RedisServer
) -> None:
    """Docker shows it; and it gets well by itself."""
    simulator.create_session(SESSION)
    variables = container.config["process"]["env"]
    variables[:] = [one for one in variables if not one.startswith("BRIDGE_REDIS__URL=")]
    variables.append(f"BRIDGE_REDIS__URL={private_redis.url}")
    await container.start()
    await until(lambda: healthy(container), f"the worker is healthy\n{container.said()}")
    await private_redis.stop()
    await until(lambda: unwell(container), "the worker is not healthy")
    await private_redis.start()
    await until(lambda: healthy(container), f"the worker is healthy again\n{container.said()}")


async def unwell(container: ServiceContainer) -> bool:
    """The other answer."""
    return not await healthy(container)
