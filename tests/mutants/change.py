"""One change of a source text, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Change"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The bytes from ``start`` to ``end`` become ``new``."""

    path: Path  # from the project's root
    start: int
    end: int
    new: bytes
    line: int  # of the unchanged text, from 1
    words: str  # what was done, for a person

    def apply(self, source: bytes) -> bytes:
        """The changed text."""
        return source[: self.start] + self.new + source[self.end :]

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.words}"
