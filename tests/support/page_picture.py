"""Photographs a worker's page in a bad night: a real one, on this machine, as a browser shows it.

`python -m tests.support.page_picture DIRECTORY`, as `make picture` does, writes `page.png` and `page-phone.png`. A key
is refused for one session, a key in Redis is somebody else's, a session has ended, one is paused, a consumer group is
behind, dead letters wait, another worker reads a part. Where there is no chromium it says so and draws nothing.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from bridge.lab.redis_server import RedisServer
from bridge.lab.simulator import Poison, Poisoning, Profile, Refusal, Simulator
from bridge.masking import Secrets
from bridge.telemetry import log
from tests.support.steering import steer
from tests.support.worker import Worker, until
from tests.support.worker_rig import Rig

SIZES = {"page.png": (1180, 930), "page-phone.png": (390, 1060)}
NEVER = 1_000_000
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


async def photograph(directory: Path, browser: str) -> None:
    """Set the stage, wait until the page tells all of it, and take the pictures."""
    log.configure("error", "auto", Secrets())
    with tempfile.TemporaryDirectory(prefix="lens-bridge-page-") as logs:
        async with RedisServer() as server, Simulator() as simulator, Redis.from_url(server.url) as client:
            rig = Rig(server, client, simulator, Path(logs))
            try:
                worker = await _bad_night(rig)
                url = f"http://127.0.0.1:{await worker.port()}/"
                for name, (width, height) in SIZES.items():
                    await asyncio.to_thread(_shoot, browser, url, directory / name, width, height)
            finally:
                await rig.close()


async def _bad_night(rig: Rig) -> Worker:
    names = ("door", "gate", "hall", "line-1", "line-2", "ramp", "yard")
    sessions = {name: rig.simulator.create_session(f"lsn-{name}") for name in names}
    listed = [f"{name}=lsn-{name}" for name in names if name != "ramp"]
    slow: dict[str, Any] = {"worker__id": "lens-bridge-0", "source__slow_retry_seconds": 600}
    worker = await rig.worker(*listed, **slow).start()
    other = await rig.worker(*listed[2:], **(slow | {"worker__id": "lens-bridge-1"})).start()
    await steer(rig, "sessions", "add", "ramp=lsn-ramp")
    for session in sessions.values():
        session.play(Profile.SIZED, rate=20)
    await until(worker.counts("lease_held", 3), "this worker reads some")
    await until(other.counts("lease_held", 2), "and the other one")
    await rig.client.xgroup_create("lens:{line-1}:events", "quality", id="0", mkstream=True)
    await rig.client.xreadgroup("quality", "one", {"lens:{line-1}:events": ">"}, count=12)
    Poisoning(kind=Poison.INVALID_JSON, count=3).apply(sessions["line-2"])
    await steer(rig, "sessions", "pause", "yard", sessions=",".join(listed))
    sessions["hall"].destroy()
    Refusal(status=401, requests=NEVER).apply(sessions["door"])
    sessions["door"].drop()
    await rig.client.delete("lens:{gate}:dead-letter")
    await rig.client.set("lens:{gate}:dead-letter", "another program's")
    Poisoning(kind=Poison.INVALID_JSON).apply(sessions["gate"])

    async def told() -> bool:
        _, page = await worker.get("/")
        return all(word in page for word in ("unauthorized", "WRONGTYPE", "ended", "paused", "12 pending", "3"))

    await until(told, "the page tells all of it")
    return worker


def _shoot(browser: str, url: str, file: Path, width: int, height: int) -> None:
    with tempfile.TemporaryDirectory(prefix="lens-bridge-browser-") as profile:
        options = (
            *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=1"),
            *(f"--user-data-dir={profile}", f"--window-size={width},{height}", f"--screenshot={file}"),
            *("--virtual-time-budget=500", "--blink-settings=preferredColorScheme=1"),
        )
        subprocess.run([browser, *options, url], check=True, timeout=120, stderr=subprocess.DEVNULL)


def main() -> None:
    """Leave the pictures that are there where there is no browser."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        print("the page is not drawn anew: it takes a browser (on Debian: apt install chromium)", file=sys.stderr)
        return
    asyncio.run(photograph(Path(sys.argv[1]), found))


if __name__ == "__main__":
    main()
