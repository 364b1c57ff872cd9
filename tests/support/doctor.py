"""`lens-bridge doctor` as a process of its own, and what it has told."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from tests.support.worker import DEADLINE_SECONDS, KEY, ROOT, python_environment

__all__ = ["Told", "doctor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Its exit code, and each line: level, check, detail, remedy."""

    code: int
    lines: Sequence[dict[str, str]]
    output: str
    errors: str

    def of(self, check: str) -> list[dict[str, str]]:
        """The lines about one thing."""
        return [line for line in self.lines if line["check"] == check]

    def only(self, level: str) -> set[str]:
        """What was found to be so."""
        return {line["check"] for line in self.lines if line["level"] == level}

    def words(self, level: str, check: str) -> str:
        """What the one such line says, and what to do. Raises AssertionError where there is none, or several."""
        found = [line for line in self.of(check) if line["level"] == level]
        assert len(found) == 1, self.output
        return f"{found[0]['detail']} - {found[0]['remedy']}"


async def doctor(*arguments: str, json_wanted: bool = True, **settings: object) -> Told:
    """Run it with these settings: dotted paths, with ``__`` for the dot. The key is that of the simulator."""
    given = {"source__api_key": KEY, **settings}
    variables = {f"BRIDGE_{path.upper()}": str(value) for path, value in given.items() if value is not None}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bridge", "doctor", *arguments, *(["--json"] if json_wanted else [])),
        env=python_environment() | variables,
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(2 * DEADLINE_SECONDS):
            output, errors = (one.decode() for one in await process.communicate())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    assert "Traceback" not in errors, errors
    lines = json.loads(output)["lines"] if json_wanted else []
    return Told(code=process.returncode, lines=lines, output=output, errors=errors)
