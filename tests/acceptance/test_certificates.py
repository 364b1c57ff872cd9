"""A Redis that asks its clients for certificates, and has its own and theirs rotated while events flow."""

from __future__ import annotations

from pathlib import Path

from bridge.lab.simulator import Simulator
from tests.support.topology.certificates import Authority, Rotating, needs_tls
from tests.support.topology.stage import DEFAULTS, staged

ROTATIONS = 3


@needs_tls
async def test_certificates_rotated_under_load_cost_nothing(simulator: Simulator, tmp_path: Path) -> None:
    """Each time by a new authority, in which the server alone believes when it is back; no worker is restarted."""
    async with Rotating(tmp_path / "rotating") as rotating:
        authority = Authority(tmp_path / "authority-0")
        await rotating.serve(authority)
        rotating.mount(authority)
        settings = DEFAULTS | {f"redis__{name}": file for name, file in rotating.settings.items()}
        async with staged(
            rotating,
            simulator,
            tmp_path,
            ["lsn-a", "lsn-b"],
            rate=100,
            settings=settings,
            readers_url=rotating.plain_url,
        ) as stage:
            for number in range(1, 1 + ROTATIONS):
                authority = Authority(tmp_path / f"authority-{number}")
                rotating.mount(authority)
                await stage.timed(rotating.serve(authority))
                await stage.flow()
            await stage.judge("rotated")
            assert stage.worker.running
