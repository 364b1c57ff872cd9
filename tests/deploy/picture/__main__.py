"""Draws helm/dashboards/overview.png: `python -m tests.deploy.picture`.

A bad night is run, Prometheus watches it, and every query of the overview is asked for its whole length. The answers
are drawn by Grafana's own panel components (npm: @grafana/ui) in a headless Chromium. Needs prometheus, chromium, npm.
"""

from __future__ import annotations

import asyncio
import functools
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from bridge.lab.redis_server import RedisServer
from bridge.lab.simulator import Simulator
from tests.support.deploy.dashboards import filled, load, panels
from tests.support.deploy.night import Night
from tests.support.deploy.prometheus import Prometheus
from tests.support.deploy.rules import HELM, load_rules, shortened
from tests.support.worker_rig import Rig

HERE = Path(__file__).parent
OUTPUT = HELM / "dashboards" / "overview.png"
PACE_SECONDS = 12.0
SIZE = "1360,1560"


def main() -> None:
    """Run the night, build the page, take the picture."""
    with tempfile.TemporaryDirectory(prefix="lens-bridge-picture-") as name:
        directory = Path(name)
        page = directory / "page"
        shutil.copytree(HERE, page, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
        (page / "public").mkdir()
        night = asyncio.run(_night(directory))
        (page / "public" / "night.json").write_text(json.dumps(night))
        for command in (["npm", "install", "--no-audit", "--no-fund", "--no-package-lock"], ["npm", "run", "build"]):
            subprocess.run(command, cwd=page, check=True, stdout=sys.stderr)
        _take(page / "dist", directory)
    print(OUTPUT)


async def _night(directory: Path) -> dict[str, Any]:
    """The dashboard, and the answers to its queries by panel and target."""
    async with Simulator(control_port=0) as simulator, RedisServer() as server, Redis.from_url(server.url) as client:
        rig = Rig(server, client, simulator, directory)
        night = Night(rig, pace_seconds=PACE_SECONDS)
        try:
            await night.begin()
            async with Prometheus(directory / "prometheus", night.targets, shortened(load_rules())) as prometheus:
                began = time.time()
                await asyncio.sleep(PACE_SECONDS)
                await night.fall()
                await asyncio.sleep(PACE_SECONDS)
                return await _answers(prometheus, began, time.time())
        finally:
            await night.end()
            await rig.close()


async def _answers(prometheus: Prometheus, began: float, ended: float) -> dict[str, Any]:
    dashboard = load(HELM / "dashboards" / "lens-bridge-overview.json")
    answers: dict[int, dict[str, Any]] = {}
    for panel in panels(dashboard):
        found = answers[panel["id"]] = {}
        for target in panel["targets"]:
            expr = filled(target["expr"], window="5s", whole=f"{ended - began:.0f}s")
            ask = prometheus.ask(expr, ended) if target["instant"] else prometheus.ask_range(expr, began, ended, 1)
            found[target["refId"]] = await ask
    return {"dashboard": dashboard, "answers": answers, "began": began, "ended": ended}


def _take(site: Path, directory: Path) -> None:
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        options = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={directory / 'chromium'}",
            f"--window-size={SIZE}",
            "--virtual-time-budget=20000",
            f"--screenshot={OUTPUT}",
        ]
        url = f"http://127.0.0.1:{server.server_port}/"
        subprocess.run(["chromium", *options, url], check=True, timeout=120, stderr=subprocess.DEVNULL)
        server.shutdown()


if __name__ == "__main__":
    main()
