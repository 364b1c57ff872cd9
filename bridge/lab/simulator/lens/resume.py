"""Where a new connection begins. Pure."""

from __future__ import annotations

from typing import assert_never

from bridge.lab.simulator.lens.history import History
from bridge.lab.simulator.lens.switches import CursorRule, FreshRule, Switches, UnknownCursorRule

__all__ = ["CursorRefused", "decode_cursor", "start_position"]


class CursorRefused(Exception):
    """The server refuses this Last-Event-ID with an HTTP status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"Unknown Last-Event-ID ({status})")
        self.status = status


def decode_cursor(raw: bytes | None) -> str | None:
    """The id in a Last-Event-ID header. The SSE standard sends UTF-8; clients that send Latin-1 are understood too."""
    if not raw:
        return None
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def start_position(switches: Switches, history: History, cursor: str | None) -> int:
    """The position of the first frame to send. Raises CursorRefused."""
    if cursor is None:
        return history.end if switches.fresh is FreshRule.LIVE else history.oldest
    match switches.cursor:
        case CursorRule.HONOUR:
            return _after(switches, history, cursor)
        case CursorRule.REPLAY:
            return history.oldest
        case CursorRule.TAIL:
            return max(history.oldest, history.end - switches.tail_events)
        case CursorRule.LIVE:
            return history.end
        case _:
            assert_never(switches.cursor)


def _after(switches: Switches, history: History, cursor: str) -> int:
    position = history.position_of(cursor)
    if position is not None:
        return max(history.oldest, position + 1 - switches.overlap_events)
    match switches.unknown_cursor:
        case UnknownCursorRule.LIVE:
            return history.end
        case UnknownCursorRule.REPLAY:
            return history.oldest
        case UnknownCursorRule.REFUSE:
            raise CursorRefused(switches.unknown_cursor_status)
        case _:
            assert_never(switches.unknown_cursor)
