"""What they have in common: a way to Redis, and an outcome for people or for programs."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from bridge.cli.options import ExitCode, settings_of

if TYPE_CHECKING:
    from bridge.operations.sessions import Desk

__all__ = ["Outcome", "at_desk"]

Outcome = tuple[ExitCode, Any, Sequence[str]]
"""The exit code, the value for --json, and the lines for a person."""


def at_desk(options: argparse.Namespace, work: Callable[[Desk], Coroutine[Any, Any, Outcome]]) -> ExitCode:
    """Do it, and print what came of it: the value as JSON, or the lines."""
    from bridge.operations.sessions import open_desk

    settings = settings_of(options)

    async def work_there() -> Outcome:
        async with open_desk(settings) as desk:
            return await work(desk)

    code, value, lines = asyncio.run(work_there())
    if options.json:
        print(json.dumps(value, indent=2))
    else:
        print(*lines, sep="\n", file=sys.stdout if code is ExitCode.DONE else sys.stderr)
    return code
