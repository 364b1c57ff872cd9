"""Dead letters in words: for a person, with nothing that a terminal obeys, and for a program. Pure."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from bridge.operations.letters import Letter
from bridge.operations.tail import printable

__all__ = ["as_object", "details", "table"]

DATA_LINES_CHARACTERS = 100_000  # of data on a screen; all of it is in `--raw` and `--json`
_HEAD = ("LETTER", "SESSION", "REASON", "BYTES", "WHEN", "ID", "DETAIL")


def table(letters: Sequence[Letter], columns: int | None = None) -> list[str]:
    """A line for each, below a head; no wider than ``columns``, where they are given. Times are local."""
    rows = [_HEAD, *(_row(letter) for letter in letters)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [line[:columns] for line in lines]


def details(letter: Letter) -> str:
    """All of one letter, its data as text at the end."""
    told = {
        "letter": letter.entry,
        "stream": letter.stream,
        "session": letter.name if letter.name == letter.session_id else f"{letter.name} ({letter.session_id})",
        "reason": letter.reason,
        "detail": letter.detail,
        "when": _when(letter),
        "received": letter.received_at,
        "id": letter.id,
        "type": letter.type,
        "event": letter.event,
        "bytes": f"{letter.size_bytes:,}{', the rest was cut off' if letter.truncated else ''}",
    }
    lines = [f"{name:9} {printable(value)}" for name, value in told.items() if value]
    text = letter.data.decode(errors="backslashreplace")
    shown = "\n".join(printable(line) for line in text[:DATA_LINES_CHARACTERS].split("\n"))
    more = "" if len(text) <= DATA_LINES_CHARACTERS else "\n… (--raw has all of it)"
    return "\n".join([*lines, "", shown + more])


def as_object(letter: Letter, *, data: bool) -> dict[str, Any]:
    """For JSON. With ``data``: as text where it is UTF-8, else as ``data_base64``."""
    told: dict[str, Any] = {
        "letter": letter.entry,
        "stream": letter.stream,
        "session": letter.name,
        "session_id": letter.session_id,
        "id": letter.id,
        "type": letter.type,
        "event": letter.event,
        "reason": letter.reason,
        "detail": letter.detail,
        "received_at": letter.received_at,
        "written_at": letter.position[0] / 1000,
        "size_bytes": letter.size_bytes,
        "truncated": letter.truncated,
    }
    if data:
        try:
            told["data"] = letter.data.decode()
        except UnicodeDecodeError:
            told["data_base64"] = base64.b64encode(letter.data).decode()
    return told


def _row(letter: Letter) -> tuple[str, ...]:
    size = f"{letter.size_bytes}{'+' if letter.truncated else ''}"
    words = (letter.entry, letter.name, letter.reason, size, _when(letter), letter.id[:60], letter.detail[:200])
    return tuple(map(printable, words))


def _when(letter: Letter) -> str:
    at = datetime.fromtimestamp(letter.position[0] / 1000).astimezone()
    return at.strftime("%Y-%m-%d %H:%M:%S")
