"""What the core asks of whoever runs it: a command to be sent, or a while to be waited. Pure.

Every decision of this room is in generators that yield these and are sent the replies, or have Redis's errors thrown
into them. So the threads' consumer and asyncio's are the same one, each with a few lines of its own around it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

__all__ = ["Call", "Pause", "Program", "Request", "Script", "script"]

T = TypeVar("T")
Word: TypeAlias = str | bytes | int

_SCRIPTS = Path(__file__).with_name("scripts")


@dataclass(frozen=True, slots=True)
class Call:
    """A command of Redis with its arguments; the answer is sent back, an error is thrown back."""

    words: tuple[Word, ...]


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait for so many seconds; a stop ends the wait where ``through_stop`` is not set."""

    seconds: float
    through_stop: bool = False


Request: TypeAlias = Call | Pause
Program: TypeAlias = Generator[Request, Any, T]


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the name under which Redis keeps it."""

    source: str
    sha: str


@cache
def script(name: str) -> Script:
    """One of those in `scripts`."""
    source = (_SCRIPTS / f"{name}.lua").read_text(encoding="utf-8")
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())
