"""What the doctor says: a line for each thing it looked at, and the verdict over all of them. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Level", "Line", "Tell", "as_json", "fault", "from_words", "ok", "text_of", "verdict", "warn", "worst"]

_LEVEL_COLUMNS, _CHECK_COLUMNS = 7, 19
_NARROWEST = 20  # columns of words beside these two; on a smaller screen lines are not broken
_ADVICE = " - "  # between what is so and what to do, in the words of all faults


class Level(StrEnum):
    """How much a line matters."""

    OK = "ok"
    WARN = "warn"  # it works for now, or not as well as it could
    FAULT = "fault"  # a worker cannot do its work, or cannot keep its promise


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing that was looked at: ``check`` names it (`redis.memory`), ``remedy`` says what to do about it."""

    level: Level
    check: str
    detail: str
    remedy: str = ""


Tell = Callable[[Line], None]
"""Hears each line as soon as it is known."""


def ok(check: str, detail: str) -> Line:
    """All is well."""
    return Line(level=Level.OK, check=check, detail=detail)


def warn(check: str, detail: str, remedy: str = "") -> Line:
    """A person should know."""
    return Line(level=Level.WARN, check=check, detail=detail, remedy=remedy)


def fault(check: str, detail: str, remedy: str = "") -> Line:
    """A person has to mend it."""
    return Line(level=Level.FAULT, check=check, detail=detail, remedy=remedy)


def from_words(level: Level, check: str, words: str) -> Line:
    """A line of an error's own words, which end in what to do about it."""
    detail, dash, remedy = words.rpartition(_ADVICE)
    return Line(level=level, check=check, detail=detail if dash else words, remedy=remedy if dash else "")


def worst(lines: Sequence[Line]) -> Level:
    """The worst level among them; without any, all is well."""
    levels = list(Level)
    return max((line.level for line in lines), key=levels.index, default=Level.OK)


def verdict(lines: Sequence[Line]) -> str:
    """All of it in a few words."""
    faults, warnings = (sum(line.level is level for line in lines) for level in (Level.FAULT, Level.WARN))
    also = f", {_count(warnings, 'warning')}" if warnings else ""
    if faults:
        first = next(line for line in lines if line.level is Level.FAULT)
        return f"{_count(faults, 'fault')}{also}; begin with {first.check}"
    return f"no fault found{also}"


def text_of(line: Line, *, columns: int | None = None) -> str:
    """For a person: level, check, what is so, what to do. Broken to ``columns`` of a terminal, else one line."""
    words = line.detail + (f"{_ADVICE}{line.remedy}" if line.remedy else "")
    words = " ".join(words.split())
    head = f"{line.level:{_LEVEL_COLUMNS}}{line.check:{_CHECK_COLUMNS}}"
    if not head.endswith(" "):
        head += " "
    if columns is None or columns < len(head) + _NARROWEST:
        return head + words
    indent = " " * (_LEVEL_COLUMNS + _CHECK_COLUMNS)
    return textwrap.fill(
        words, columns, initial_indent=head, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def as_json(lines: Sequence[Line]) -> dict[str, object]:
    """For a program."""
    return {
        "verdict": worst(lines).value,
        "summary": verdict(lines),
        "lines": [
            {"level": line.level.value, "check": line.check, "detail": line.detail, "remedy": line.remedy}
            for line in lines
        ],
    }


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
