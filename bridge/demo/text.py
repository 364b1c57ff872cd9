"""Styled text: one form for the terminal, for plain output and for the picture. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

__all__ = ["Line", "Span", "Tone", "columns", "cut", "plain", "styled"]


class Tone(StrEnum):
    """How a piece of text is meant; each output has its own look for it."""

    PLAIN = "plain"
    DIM = "dim"
    BOLD = "bold"
    GOOD = "good"
    BAD = "bad"
    WARN = "warn"
    ACCENT = "accent"


class Span(NamedTuple):
    """A piece of one line."""

    text: str
    tone: Tone = Tone.PLAIN


Line = tuple[Span, ...]

_SGR = {  # ECMA-48; the sixteen colours follow the terminal's own theme
    Tone.PLAIN: "",
    Tone.DIM: "2",
    Tone.BOLD: "1",
    Tone.GOOD: "32",
    Tone.BAD: "31",
    Tone.WARN: "33",
    Tone.ACCENT: "36",
}


def plain(line: Line) -> str:
    """Without any style."""
    return "".join(span.text for span in line).rstrip()


def styled(line: Line) -> str:
    """With ANSI escape sequences."""
    return "".join(f"\x1b[{_SGR[tone]}m{text}\x1b[0m" if _SGR[tone] else text for text, tone in line)


def cut(line: Line, width: int) -> Line:
    """At most ``width`` characters of a line."""
    kept: list[Span] = []
    for text, tone in line:
        if width <= 0:
            break
        kept.append(Span(text[:width], tone))
        width -= len(text)
    return tuple(kept)


def columns(rows: Sequence[Sequence[Span]], right: frozenset[int] = frozenset(), gap: str = "  ") -> list[Line]:
    """Rows as a table. ``right``: the columns that are aligned to the right."""
    widths = [max(len(cell.text) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        spans: list[Span] = []
        for at, (cell, width) in enumerate(zip(row, widths, strict=True)):
            text = cell.text.rjust(width) if at in right else cell.text.ljust(width)
            spans += [Span(gap), Span(text, cell.tone)]
        lines.append(tuple(spans))
    return lines
