"""The unit of config/examples, under a real systemd: what it forbids, what it brings back, how it stops."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from bridge.lab.redis_server import RedisServer
from bridge.lab.simulator import Simulator
from bridge.settings import Settings
from bridge.settings.loading import load
from tests.support.deploy.machine import UNIT, Machine
from tests.support.deploy.processes import free_port
from tests.support.worker import until

EXAMPLES = Path(__file__).parents[2] / "config" / "examples" / "without-kubernetes"
KEY = f"/run/credentials/{UNIT}/api-key"
SESSION = "lsn-250313c2177253cbaa7a73542edd90"
EVENTS = "lens:{camera-1}:events"
TEXT = (EXAMPLES / UNIT).read_text()
SETTINGS_FILE = (EXAMPLES / "bridge.yaml").read_text()
README = (EXAMPLES / "README.md").read_text()


@pytest_asyncio.fixture
async def machine(simulator: Simulator, redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Machine]:
    """With what README.md has an administrator put there, and one drop-in, as by `systemctl edit`. Not started yet."""
    here = (
        f"BRIDGE_SOURCE__BASE_URL={simulator.base_url}", f"BRIDGE_REDIS__URL={redis_server.url}",
        "BRIDGE_ADMIN__HOST=127.0.0.1", f"BRIDGE_ADMIN__PORT={free_port()}",
    )  # fmt: skip
    files = {
        f"etc/systemd/system/{UNIT}": TEXT,
        f"etc/systemd/system/{UNIT}.d/override.conf": "[Service]\n" + "\n".join(f"Environment={one}" for one in here),
        "etc/lens-bridge/bridge.yaml": SETTINGS_FILE,
        "etc/lens-bridge/api-key": "simulated-key\n",
    }
    made = Machine(tmp_path, files)
    (made.root / "etc" / "lens-bridge" / "api-key").chmod(0o600)
    try:
        yield made
    finally:
        await made.close()


async def started(machine: Machine) -> None:
    """Boot it, and wait for the service."""
    await machine.start()
    await until(lambda: runs(machine), f"the service runs\n{machine.said()}")


async def runs(machine: Machine) -> bool:
    """Systemd says so."""
    return await machine.property("ActiveState") == "active"


async def length(redis: Redis, at_least: int) -> bool:
    """So many events are in Redis."""
    return await redis.xlen(EVENTS) >= at_least


def directive(name: str) -> str:
    """The value of one that stands in the unit once."""
    (found,) = re.findall(rf"^{name}=(.*)$", TEXT, re.MULTILINE)
    return str(found)


def test_systemd_waits_longer_than_the_worker_takes_to_stop() -> None:
    """With the settings beside it; and by default too."""
    settings = load(EXAMPLES / "bridge.yaml", {}, {})
    for one in (settings, Settings()):
        assert int(directive("TimeoutStopSec")) >= one.worker.grace_period_seconds + 5


def test_an_administrator_is_told_to_put_there_what_the_unit_reads() -> None:
    """Each file below /etc, under the name that the unit has for it."""
    read = set(re.findall(r"[=:](/etc/\S+)$", TEXT, re.MULTILINE))
    assert read == {"/etc/lens-bridge/bridge.yaml", "/etc/lens-bridge/api-key"}
    assert read == set(re.findall(r"^install -D .* (/etc/\S+)$", README, re.MULTILINE))
    assert f"install -m 644 {UNIT} /etc/systemd/system/" in README
    assert directive("ExecStart").split()[0].removesuffix("/bin/lens-bridge") == "/opt/lens-bridge"
    assert "python3 -m venv /opt/lens-bridge" in README


@pytest.mark.timeout(300)
async def test_systemd_has_no_objection_to_the_unit(machine: Machine) -> None:
    """Every name and value is one that it knows, the program is there, and little of the machine is exposed."""
    await started(machine)
    unit = f"/etc/systemd/system/{UNIT}"
    verify = ("systemd-analyze", "verify", "--man=no")
    assert await machine.execute(*verify, unit) == (0, "")
    code, said = await machine.execute("systemd-analyze", "security", "--offline=yes", "--threshold=20", unit)
    assert code == 0, said[-2000:]  # an exposure of 2.0 of 10 at most
    print("\n" + said.strip().splitlines()[-1])
    system = machine.root / "etc" / "systemd" / "system"
    (drop_in,) = re.findall(r"```ini\n(.*?)```", README, re.DOTALL)  # for a Redis with a password
    (system / "elsewhere.service").write_text(TEXT)
    (system / "elsewhere.service.d").mkdir()
    (system / "elsewhere.service.d" / "override.conf").write_text(drop_in)
    assert await machine.execute(*verify, "/etc/systemd/system/elsewhere.service") == (0, "")
    wrong = system / "wrong.service"
    wrong.write_text(TEXT.replace("ProtectSystem=strict", "ProtectSystem=stricter"))
    assert "protect system" in (await machine.execute(*verify, f"/etc/systemd/system/{wrong.name}"))[1]


@pytest.mark.timeout(300)
async def test_the_service_bridges_under_all_that_its_unit_forbids(
    machine: Machine, simulator: Simulator, redis: Redis
) -> None:
    """The kernel's own word: a user made for it, no capability, nothing to gain, seccomp; and nobody reads its key."""
    session = simulator.create_session(SESSION)
    session.emit({"type": "inference.result"})
    await started(machine)
    await until(lambda: length(redis, 1), f"the first event is in Redis\n{await machine.journal()}")
    pid = await machine.property("MainPID")
    _, status = await machine.execute("cat", f"/proc/{pid}/status")
    told = {name: value.strip() for name, _, value in (line.partition(":") for line in status.splitlines())}
    assert all(61184 <= int(one) <= 65519 for one in told["Uid"].split()), "what systemd gives to DynamicUser"
    assert {int(told[one], 16) for one in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert (told["NoNewPrivs"], told["Seccomp"]) == ("1", "2")
    _, key = await machine.execute("setpriv", "--reuid=1", "--regid=1", "--clear-groups", "cat", KEY)
    assert "Permission denied" in key
    assert await machine.execute("cat", KEY) == (0, "simulated-key\n")
    assert "simulated-key" not in await machine.journal()


@pytest.mark.timeout(300)
async def test_a_worker_that_is_killed_comes_back_and_goes_on_where_it_was(
    machine: Machine, simulator: Simulator, redis: Redis
) -> None:
    """Nothing is missing, nothing there twice; a stop in good order then commits the tail and frees the session."""
    session = simulator.create_session(SESSION)
    session.emit({"type": "inference.result", "number": 0})
    await started(machine)
    await until(lambda: length(redis, 1), "the first event is in Redis")
    first = await machine.property("MainPID")
    await machine.execute("kill", "-KILL", first)
    session.emit({"type": "inference.result", "number": 1})
    await until(lambda: length(redis, 2), f"the second event is in Redis\n{await machine.journal()}", timeout=60)
    assert await machine.property("MainPID") != first
    assert await machine.property("NRestarts") == "1"

    await machine.systemctl("stop", UNIT)
    assert await machine.property("Result") == "success"
    assert "worker.stopped" in await machine.journal()
    entries: Any = await redis.xrange(EVENTS)
    assert [int(fields[b"seq"]) for _, fields in entries] == [1, 2]
    assert not await redis.keys("lens:*:lease:*"), "the session is free for the next worker"


@pytest.mark.timeout(300)
async def test_a_new_key_arrives_with_a_restart_and_costs_no_event(
    machine: Machine, simulator: Simulator, redis: Redis
) -> None:
    """The service reads a copy that systemd makes when it starts."""
    session = simulator.create_session(SESSION)
    session.emit({"type": "inference.result", "number": 0})
    await started(machine)
    await until(lambda: length(redis, 1), "the first event is in Redis")
    simulator.api_keys[:] = ["rotated-key"]
    (machine.root / "etc" / "lens-bridge" / "api-key").write_text("rotated-key\n")
    session.emit({"type": "inference.result", "number": 1})
    await machine.systemctl("restart", UNIT)
    session.emit({"type": "inference.result", "number": 2})
    await until(lambda: length(redis, 3), "every event is in Redis")
    entries: Any = await redis.xrange(EVENTS)
    assert [int(fields[b"seq"]) for _, fields in entries] == [1, 2, 3]


@pytest.mark.timeout(300)
async def test_bad_configuration_is_told_once_and_not_tried_again(machine: Machine) -> None:
    """A person has to mend it; the line that says how is the last in the journal."""
    (machine.root / "etc" / "lens-bridge" / "bridge.yaml").write_text("log: {levell: debug}\n")
    await machine.start()
    await until(lambda: failed(machine), f"the service has failed\n{machine.said()}")
    assert await machine.property("ExecMainStatus") == "2"
    assert await machine.property("NRestarts") == "0"
    assert "levell: unknown setting; did you mean log.level?" in await machine.journal()


async def failed(machine: Machine) -> bool:
    """Systemd has given up."""
    return await machine.property("ActiveState") == "failed"
