"""Server-Sent Events: bytes in, events out. No I/O, no clock, never an exception whatever the bytes are.

The rules are those of "Interpreting an event stream" in the WHATWG HTML Living Standard. Every buffer has a cap.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["MAX_LINE_BYTES", "MAX_RETRY_MS", "Decoder", "ServerSentEvent"]

MAX_LINE_BYTES = 4096
"""Longest line other than a data line; a longer one is ignored, as the standard ignores an id with a NUL.

An id must fit into a request header later, and common servers refuse more than 8 KiB of those. A shortened id would
be worse than none: two events could share it.
"""

MAX_RETRY_MS = 86_400_000
"""Largest reconnection time that is believed: one day. A larger one counts as this."""

_BOM = b"\xef\xbb\xbf"
_COLON = ord(":")


class ServerSentEvent(NamedTuple):
    """One dispatched event. A NamedTuple, since one is built per event on the hot path."""

    event: str  # "message" where the stream gives no name
    raw: bytes  # the data as received: its lines joined by LF, not checked for UTF-8
    id: str | None  # its own id line ("" where that was empty), None without one
    last_event_id: str  # what to send as Last-Event-ID once this event is handled
    oversize_bytes: int = 0  # size of all its data where that was over the cap; raw then holds the first part

    @property
    def data(self) -> str:
        """The data as the standard gives it: UTF-8, with U+FFFD for what is not."""
        return self.raw.decode("utf-8", "replace")


class Decoder:
    """Decodes the body of one response. ``max_event_bytes`` caps the data of an event, joined line ends included.

    The text between two feeds is kept in ``_tail``, from a line's start on. Once a block has grown past
    MAX_LINE_BYTES, its finished lines are digested into ``_id``, ``_event`` and ``_data``, and a line too long
    to keep goes on in ``_in_data_line`` or ``_in_ignored_line``.
    """

    def __init__(self, max_event_bytes: int = 8 * 1024 * 1024, last_event_id: str = "") -> None:
        self.max_event_bytes = max_event_bytes
        self.last_event_id = last_event_id
        self.retry_ms: int | None = None
        self._at_start = True
        self._after_cr = False
        self._tail = b""
        self._digested = False  # some of the current block has left _tail
        self._in_data_line = False
        self._in_ignored_line = False
        self._begun = False  # the current block has had a line other than a comment
        self._has_data = False
        self._id: str | None = None
        self._event = ""
        self._data = bytearray()
        self._data_bytes = 0  # all of it, also what is over the cap and not kept

    @property
    def pending(self) -> bool:
        """Whether a part of an unfinished event has come. Comments are no part of one."""
        if self._begun or self._in_data_line:
            return True
        return any(line and line[0] != _COLON for line in self._tail.split(b"\n"))

    @property
    def buffered_bytes(self) -> int:
        """Bytes held between two feeds: at most ``max_event_bytes`` plus a few times MAX_LINE_BYTES."""
        return len(self._tail) + len(self._data) + len(self._event) + len(self._id or "")

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Take the next bytes of the body, cut anywhere, and return the events that they complete."""
        if self._at_start:
            chunk = self._without_bom(chunk)
        if self._after_cr or b"\r" in chunk:
            chunk = self._with_lf_only(chunk)
        if self._in_data_line or self._in_ignored_line:
            chunk = self._continue_line(chunk)
        *blocks, tail = (self._tail + chunk).split(b"\n\n")
        events: list[ServerSentEvent] = []
        for block in blocks:
            self._take_lines(block)
            if (event := self._end_block()) is not None:
                events.append(event)
        self._tail = tail if len(tail) <= MAX_LINE_BYTES else self._digest(tail)
        return events

    def _without_bom(self, chunk: bytes) -> bytes:
        """Drop one byte order mark at the very start; hold its first bytes back until it is clear what they are."""
        chunk = self._tail + chunk
        self._tail = b""
        if len(chunk) < len(_BOM) and _BOM.startswith(chunk):
            self._tail = chunk
            return b""
        self._at_start = False
        return chunk.removeprefix(_BOM)

    def _with_lf_only(self, chunk: bytes) -> bytes:
        """Turn CRLF and CR into LF: no byte but a line end is lost. A CR ends its line at once, so a LF that opens
        the next chunk belongs to it."""
        if not chunk:
            return chunk
        if self._after_cr:
            chunk = chunk.removeprefix(b"\n")
        self._after_cr = chunk.endswith(b"\r")
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _continue_line(self, chunk: bytes) -> bytes:
        """Take the rest of a long line; what is returned begins with the line end, or is empty."""
        end = chunk.find(b"\n")
        if self._in_data_line:
            self._add(chunk if end < 0 else chunk[:end])
        if end < 0:
            return b""
        self._in_data_line = self._in_ignored_line = False
        return chunk[end:]

    def _digest(self, tail: bytes) -> bytes:
        """Take the finished lines of an unfinished block. The last line end stays: a LF after it ends the block."""
        lines, line_end, last = tail.rpartition(b"\n")
        self._take_lines(lines)
        self._digested = True
        if len(last) <= MAX_LINE_BYTES:
            return line_end + last
        if last.startswith(b"data:"):
            self._in_data_line = True
            self._take_data(last)
        else:
            self._in_ignored_line = True
        return b""

    def _take_lines(self, lines: bytes) -> None:
        for line in lines.split(b"\n"):
            if line.startswith(b"data:") or line == b"data":
                self._take_data(line)
            elif line and line[0] != _COLON and len(line) <= MAX_LINE_BYTES:
                self._take_field(line)

    def _take_data(self, line: bytes) -> None:
        if self._has_data:
            self._add(b"\n")
        self._has_data = self._begun = True
        self._add(line[6:] if line.startswith(b"data: ") else line[5:])

    def _add(self, data: bytes) -> None:
        self._data_bytes += len(data)
        room = self.max_event_bytes - len(self._data)
        self._data += data if len(data) <= room else data[:room]

    def _take_field(self, line: bytes) -> None:
        self._begun = True
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"id":
            if b"\0" not in value:
                self._id = value.decode("utf-8", "replace")
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit():
            digits = value.lstrip(b"0")
            self.retry_ms = min(int(digits or b"0"), MAX_RETRY_MS) if len(digits) < 10 else MAX_RETRY_MS

    def _end_block(self) -> ServerSentEvent | None:
        """A blank line: the block's id counts from here on, and the event is out if there was a data line."""
        if self._id is not None:
            self.last_event_id = self._id
        event = None
        if self._has_data:
            oversize = self._data_bytes if self._data_bytes > self.max_event_bytes else 0
            event = ServerSentEvent(self._event or "message", bytes(self._data), self._id, self.last_event_id, oversize)
        self._begin_block()
        return event

    def _begin_block(self) -> None:
        self._digested = self._begun = self._has_data = False
        self._id = None
        self._event = ""
        self._data = bytearray()
        self._data_bytes = 0
