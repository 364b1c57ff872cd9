"""What the tests of the worker share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bridge.lab.redis_server import RedisServer
from bridge.lab.simulator import SimulatedSession, Simulator
from tests.support.pump_rig import Rig, rig_of


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def writer(text: str) -> Path:
        file = tmp_path / "bridge.yaml"
        file.write_text(text)
        return file

    return writer


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """Without heartbeats."""
    async with Simulator() as running:
        running.change(heartbeat_interval_seconds=0)
        yield running


@pytest.fixture
def session(simulator: Simulator) -> SimulatedSession:
    """The one that is read."""
    return simulator.create_session("lsn-1")


@pytest.fixture
async def rig(simulator: Simulator, redis_server: RedisServer) -> AsyncIterator[Rig]:
    """All parts."""
    async with rig_of(simulator.base_url, redis_server.url) as made:
        yield made
