"""Server-Sent Events: bytes in, events out. No I/O, no clock, and no exception whatever the bytes are.

The rules are those of "Interpreting an event stream" in the WHATWG HTML Living Standard, and every buffer has a cap.
"""

from __future__ import annotations

import re
from itertools import chain

from bridge.model.records import PlainEvents, ServerSentEvent

__all__ = ["MAX_LINE_BYTES", "MAX_RETRY_MS", "Decoder", "ServerSentEvent"]

MAX_LINE_BYTES = 4096
"""Longest line other than a data line; a longer one is ignored, as the standard ignores an id with a NUL.

An id has to fit into a request header later, and common servers refuse more than 8 KiB of those. A shortened id would
be worse than none: two events could share it.
"""

MAX_RETRY_MS = 86_400_000
"""Largest reconnection time that is believed: one day. A larger one counts as this."""

_BOM = b"\xef\xbb\xbf"
_CR = ord("\r")
_COLON = ord(":")
_PART_BYTES = 64 * 1024 + MAX_LINE_BYTES  # more than that, with what was kept before, is taken in parts: see `take`
_WORTH_COLUMNS = 4  # fewer events cost less one by one
_LONG_BYTES = 8 * 1024  # for a data line that is longer, its end is looked for in one go, since a pattern goes by bytes

# A whole block: (id, data, b"") where it has the usual lines, else (b"", b"", block with the blank lines after it).
# An id that is empty or has anything but plain ASCII is not usual. An empty alternative is quicker to match than a
# `?` after a group.
_EVENT_LINE = rb"(?:event: ?message\n|)"
_ID_LINE = rb"(?:id:(?: |(?! ))([\x01-\x09\x0b-\x7f]{1,4000})\n|)"
_USUAL = _EVENT_LINE + _ID_LINE + _EVENT_LINE + rb"data: ?([^\n]*)\n\n"
_OTHER = rb"((?:[^\n]+\n)*\n+)"
_BLOCKS = re.compile(_USUAL + b"|" + _OTHER)
_OTHER_BLOCKS = re.compile(b"()()" + _OTHER)
_UP_TO_DATA = re.compile(_EVENT_LINE + _ID_LINE + _EVENT_LINE + rb"data: ?")


_new_event = tuple.__new__  # a NamedTuple's own constructor takes twice as long
_joined = chain.from_iterable


class Decoder:
    """Decodes the body of one response; an event that is incomplete at its end is dropped with the decoder.

    ``max_event_bytes`` caps the data of an event, the line ends between its lines included.
    ``last_event_id`` is the place a reconnect starts from; it holds until a block with an id line ends.

    A short unfinished block is kept as it is, in ``_tail``, so that most blocks are parsed in one go. One that
    outgrows MAX_LINE_BYTES is digested: its finished lines move into ``_id``, ``_event`` and ``_data``, and
    ``_tail`` keeps the last line, with the line end before it. A last line that is too long to be kept is taken as
    it comes. A long data line is copied once, from the chunk: its pieces stay what they are until the event is out.
    """

    def __init__(self, max_event_bytes: int = 8 * 1024 * 1024, last_event_id: str = "") -> None:
        self.max_event_bytes = max_event_bytes
        self.last_event_id = last_event_id
        self._at_start = True
        self._after_cr = False
        self._tail = b""
        self._digested = False
        self._in_data_line = False
        self._in_ignored_line = False
        self._id: str | None = None
        self._event = ""
        self._has_data = False
        self._data: list[bytes | bytearray] = []  # pieces of it; small ones share a bytearray, which costs less
        self._kept_bytes = 0
        self._data_bytes = 0  # the size of all of it, kept or not
        self._retry_ms: int | None = None

    @property
    def retry_ms(self) -> int | None:
        """The reconnection time that the server asked for last, 0 to MAX_RETRY_MS; None where it did not.

        It counts from the end of its line on, not only from the end of its block.
        """
        if b"retry" in self._tail:
            self._tail = self._digest(self._tail)
        return self._retry_ms

    @property
    def pending(self) -> bool:
        """Whether a part of an unfinished event has come. Comments and unknown fields are no part of one."""
        *finished, last = self._tail.split(b"\n")
        id, event = self._id is not None, bool(self._event)
        for line in finished:
            name, _, value = line.partition(b":")
            if name == b"data":
                return True
            if name == b"event":
                event = value.removeprefix(b" ") != b""
            elif name == b"id":
                id = id or b"\0" not in value
        return self._has_data or id or event or (last != b"" and last[0] != _COLON)

    @property
    def buffered_bytes(self) -> int:
        """Size of what is kept between two feeds: at most ``max_event_bytes`` and three times MAX_LINE_BYTES."""
        return len(self._tail) + self._kept_bytes + len(self._event) + len(self._id or "")

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Take the next bytes of the body, cut anywhere, and return the events that they complete. Never raises."""
        return _one_by_one(self.take(chunk))

    def take(self, chunk: bytes) -> PlainEvents | list[ServerSentEvent]:
        """The same, but by column where all events that a chunk completes are plain ones."""
        if self._at_start:
            chunk = self._without_bom(chunk)
        if self._after_cr or _CR in chunk:
            chunk = self._with_lf_only(chunk)
        if len(chunk) <= MAX_LINE_BYTES:
            return self._take_part(chunk, _WORTH_COLUMNS)
        if self._tail and not self._digested:
            chunk, self._tail = self._tail + chunk, b""  # so that a block begins it
        parts: list[PlainEvents | list[ServerSentEvent]] = []
        at = 0
        while at < len(chunk):
            if self._in_data_line or self._in_ignored_line:
                at = self._continue_line(chunk, at)
            elif self._digested and self._tail == b"\n" == chunk[at : at + 1]:  # behind a long line that was the last
                self._tail = b""
                parts.append(self._long_event())
                at += 1
            elif (after := self._begin_long_line(chunk, at)) > at:
                at = after
            else:
                end = self._end_of_part(chunk, at)
                worth = _WORTH_COLUMNS if end - at == len(chunk) else 1
                parts.append(self._take_part(chunk[at:end], worth))
                at = end
        return _together([part for part in parts if part])

    def _end_of_part(self, chunk: bytes, at: int) -> int:
        """Where the part that begins ``at`` ends: with a block, if it can, so that a long one begins the next part."""
        end = min(at + _PART_BYTES, len(chunk))
        if self._digested:
            found = chunk.find(b"\n\n", at, end)
        else:
            found = chunk.rfind(b"\n\n", at, end)
            if end == len(chunk) and end - found <= _LONG_BYTES:
                return end
        return found + 2 if found >= 0 else end

    def _take_part(self, chunk: bytes, worth: int) -> PlainEvents | list[ServerSentEvent]:
        events: list[ServerSentEvent] = []
        if self._digested:
            chunk = self._continue_block(chunk, events)
        elif self._tail:
            chunk = self._tail + chunk
        end = chunk.rfind(b"\n\n") + 2
        plain = None
        if end >= 2:
            plain = self._take_blocks(chunk, end, events, worth)
            chunk = chunk[end:]
        self._tail = chunk if len(chunk) <= MAX_LINE_BYTES else self._digest(chunk)
        return plain or events

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
        """Turn every line end into LF; nothing is lost, since a CR can't be anything else.

        A CR ends its line at once, so a LF that opens the next chunk belongs to it.
        """
        if not chunk:
            return chunk
        if self._after_cr:
            chunk = chunk.removeprefix(b"\n")
        self._after_cr = chunk.endswith(b"\r")
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _take_blocks(self, text: bytes, end: int, events: list[ServerSentEvent], worth: int) -> PlainEvents | None:
        """Take whole blocks up to ``end``, where one ends; the usual ones without a look at their lines.

        At least ``worth`` plain events are given back by column; else what there is stands in ``events``.
        """
        last_id = self.last_event_id
        blocks = _BLOCKS if end <= self.max_event_bytes else _OTHER_BLOCKS  # only the slow way minds the cap
        found = blocks.findall(text, 0, end)
        if len(found) >= worth and not events:
            ids, datas, others = zip(*found, strict=True)
            if not any(others) and all(ids):
                keys = b"\n".join(ids).decode().split("\n")
                self.last_event_id = keys[-1]
                return PlainEvents(keys, datas)
        for own_id, data, other in found:
            if other:
                self.last_event_id = last_id
                self._take_lines(other)
                self._end_block(events)
                last_id = self.last_event_id
            elif own_id:
                last_id = own_id.decode()
                events.append(_new_event(ServerSentEvent, ("message", data, last_id, last_id, 0)))
            else:
                events.append(_new_event(ServerSentEvent, ("message", data, None, last_id, 0)))
        self.last_event_id = last_id
        return None

    def _digest(self, tail: bytes) -> bytes:
        """Take the finished lines of an unfinished block; returns what to keep.

        That begins with the last line end: should a LF follow, the two end the block as they do everywhere.
        """
        lines, line_end, last = tail.rpartition(b"\n")
        self._take_lines(lines)
        self._digested = True
        if len(last) <= MAX_LINE_BYTES:
            return line_end + last
        self._in_data_line = last.startswith(b"data:")
        self._in_ignored_line = not self._in_data_line
        self._take_line(last)
        return b""

    def _continue_block(self, chunk: bytes, events: list[ServerSentEvent]) -> bytes:
        """Take what belongs to the digested block; returns what comes after it, or what to keep of it."""
        if self._in_data_line or self._in_ignored_line:
            chunk = chunk[self._continue_line(chunk, 0) :]
        rest, block_end, after = (self._tail + chunk).partition(b"\n\n")
        if not block_end:
            return rest
        self._take_lines(rest)
        self._end_block(events)
        return after

    def _begin_long_line(self, chunk: bytes, at: int) -> int:
        """Take a long data line, as far as it has come, and the usual lines before it, where they stand ``at`` the
        beginning of a block; returns where what comes after it begins, and ``at`` where there is no such line."""
        if self._tail or self._digested or (usual := _UP_TO_DATA.match(chunk, at)) is None:
            return at
        begin = usual.end()
        if len(chunk) - begin <= _LONG_BYTES or chunk.find(b"\n", begin, begin + _LONG_BYTES) >= 0:
            return at
        if usual[1]:
            self._id = usual[1].decode()
        self._digested = self._has_data = self._in_data_line = True
        return self._continue_line(chunk, begin)

    def _continue_line(self, chunk: bytes, at: int) -> int:
        """Take what belongs to the long line; returns where what comes after it begins. Its line end is kept."""
        end = chunk.find(b"\n", at)
        if self._in_data_line:
            self._add_data(chunk[at:] if end < 0 else chunk[at:end])
        if end < 0:
            return len(chunk)
        self._in_data_line = self._in_ignored_line = False
        self._tail = b"\n"
        return end + 1

    def _take_lines(self, lines: bytes) -> None:
        for line in lines.split(b"\n"):
            if line:
                self._take_line(line)

    def _take_line(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if value.startswith(b" "):
            value = value[1:]
        if name == b"data":
            self._add_data(b"\n" + value if self._has_data else value)
            self._has_data = True
        elif len(line) > MAX_LINE_BYTES:
            pass
        elif name == b"id":
            if b"\0" not in value:
                self._id = value.decode("utf-8", "replace")
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit():
            digits = value.lstrip(b"0") or b"0"
            self._retry_ms = min(int(digits[:10]), MAX_RETRY_MS)  # ten digits are over it already

    def _add_data(self, data: bytes) -> None:
        self._data_bytes += len(data)
        room = self.max_event_bytes - self._kept_bytes
        if len(data) > room:
            data = data[:room]
        self._kept_bytes += len(data)
        if len(data) > MAX_LINE_BYTES:
            self._data.append(data)
        elif self._data and isinstance(last := self._data[-1], bytearray):
            last += data
        else:
            self._data.append(bytearray(data))

    def _long_event(self) -> PlainEvents | list[ServerSentEvent]:
        """End the block, and give its event as a column where it is a plain one; nothing where there is none."""
        events: list[ServerSentEvent] = []
        self._end_block(events)
        for name, raw, id, _, oversize_bytes in events:
            if id and id.isascii() and name == "message" and not oversize_bytes:
                return PlainEvents([id], [raw])
        return events

    def _end_block(self, events: list[ServerSentEvent]) -> None:
        """A blank line: the block's id counts from here on, and the event is out if there was a data line."""
        if self._id is not None:
            self.last_event_id = self._id
        if self._has_data:
            name, raw = self._event or "message", b"".join(self._data)
            oversize = self._data_bytes if self._data_bytes > self.max_event_bytes else 0
            events.append(ServerSentEvent(name, raw, self._id, self.last_event_id, oversize))
            self._has_data, self._data, self._kept_bytes, self._data_bytes = False, [], 0, 0
        self._id, self._event, self._digested = None, "", False


def _together(parts: list[PlainEvents | list[ServerSentEvent]]) -> PlainEvents | list[ServerSentEvent]:
    """The events of all parts, none of which is empty."""
    if len(parts) == 1:
        return parts[0]
    plain = [part for part in parts if isinstance(part, PlainEvents)]
    if not plain or len(plain) < len(parts):
        return [event for part in parts for event in _one_by_one(part)]
    return PlainEvents(list(_joined(part.ids for part in plain)), list(_joined(part.raws for part in plain)))


def _one_by_one(taken: PlainEvents | list[ServerSentEvent]) -> list[ServerSentEvent]:
    return taken.events() if isinstance(taken, PlainEvents) else taken
