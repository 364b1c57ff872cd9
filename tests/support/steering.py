"""Commands that steer a fleet, as a person gives them: real processes with the settings of a rig."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from dataclasses import dataclass
from typing import Any

from tests.support.worker import DEADLINE_SECONDS, KEY, ROOT, python_environment
from tests.support.worker_rig import Rig

__all__ = ["Told", "steer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is left of a command."""

    code: int | None
    output: str
    errors: str

    @property
    def value(self) -> Any:
        """Of a command that was given --json."""
        return json.loads(self.output)


async def steer(rig: Rig, *arguments: str, code: int | None = 0, **settings: str) -> Told:
    """Run ``lens-bridge`` against the rig; it has to end with ``code``, where one is given, and without a traceback.

    ``settings``: dotted paths, with ``__`` for the dot.
    """
    given = {"redis__url": rig.server.url, "source__base_url": rig.simulator.base_url, "source__api_key": KEY}
    environment = {f"BRIDGE_{name.upper()}": value for name, value in (given | settings).items()}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bridge", *arguments),
        env={**python_environment(), "COLUMNS": "120", **environment},
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    told = Told(code=process.returncode, output=output.decode(), errors=errors.decode())
    assert "Traceback" not in told.errors, told.errors
    assert code is None or told.code == code, told
    return told
