"""Bytes of SSE frames: lens events, control frames and poison. Pure."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import assert_never

from bridge.lab.simulator.lens.choices import Explained
from bridge.lab.simulator.lens.switches import IdStyle, LineEnding, Switches

__all__ = [
    "Poison",
    "as_read",
    "comment",
    "control_id",
    "encode",
    "event_id",
    "frame",
    "normalized",
    "poison_data",
    "retry",
]

_LINE_ENDS = {LineEnding.LF: b"\n", LineEnding.CRLF: b"\r\n", LineEnding.CR: b"\r"}
_encoder = json.JSONEncoder(ensure_ascii=False)


class Poison(Explained):
    """Events that a client must survive."""

    INVALID_JSON = "invalid_json", "an object that is never closed"
    NOT_AN_OBJECT = "not_an_object", "a JSON array"
    NO_TYPE = "no_type", "an object without `type`"
    TYPE_NOT_TEXT = "type_not_text", "`type` is a number"
    EMPTY = "empty", "a bare `data:` line"
    OVERSIZE = "oversize", "`size_bytes` of valid JSON"
    NAN = "nan", "NaN and Infinity, which Python's json writes and reads"
    LONE_SURROGATE = "lone_surrogate", "an escape that is valid JSON, but no valid Unicode text"
    NUL = "nul", "a raw NUL byte, which JSON does not allow in a string"
    INVALID_UTF8 = "invalid_utf8", "bytes that are read as U+FFFD, and are valid JSON then"
    PYTHON_REPR = "python_repr", "the Python repr of the bytes, as one server release sent it"


def encode(body: object) -> bytes:
    """JSON as a server written in Python sends it; text that has no UTF-8 form is escaped."""
    text = _encoder.encode(body)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(body).encode()


def event_id(style: IdStyle, session_id: str, number: int) -> str:
    """The id of the ``number``-th event of a session."""
    match style:
        case IdStyle.COUNTER:
            return str(number)
        case IdStyle.OPAQUE:
            digest = hashlib.blake2b(f"{session_id} {number}".encode(), digest_size=12).digest()
            return base64.urlsafe_b64encode(digest).decode()
        case IdStyle.UNICODE:
            return f"событие-{number}-☃"
        case _:
            assert_never(style)


def control_id(reader_id: str, number: int) -> str:
    """An id for a control frame. It names no event, so nothing can be resumed from it."""
    return f"control-{reader_id}-{number}"


def normalized(data: bytes) -> bytes:
    """Data with the one line end that SSE knows inside data."""
    if b"\r" in data:
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return data


def as_read(data: bytes) -> str:
    """Normalized data as a client reads it: the SSE standard replaces what is not UTF-8."""
    return data.decode(errors="replace")


def frame(data: bytes, event_id: str | None, switches: Switches) -> bytes:
    """One SSE frame. ``data`` must be normalized; each of its lines becomes a ``data:`` line."""
    end = _LINE_ENDS[switches.line_ending]
    lines = []
    if switches.event_name is not None:
        lines.append(b"event: " + switches.event_name.encode())
    if event_id is not None:
        lines.append(b"id: " + event_id.encode())
    if b"\n" in data:
        lines += [b"data: " + line for line in data.split(b"\n")]
    else:
        lines.append(b"data: " + data)
    lines += (b"", b"")
    return end.join(lines)


def comment(text: str, switches: Switches) -> bytes:
    """A comment block, as many servers send to keep a connection open."""
    end = _LINE_ENDS[switches.line_ending]
    return b": " + text.encode() + end + end


def retry(switches: Switches) -> bytes:
    """The ``retry:`` block, or nothing."""
    if switches.retry_ms is None:
        return b""
    end = _LINE_ENDS[switches.line_ending]
    return b"retry: %d" % switches.retry_ms + end + end


def poison_data(poison: Poison, number: int, size_bytes: int) -> tuple[bytes, str | None]:
    """Data of a poisonous event, and its type where it has one. ``size_bytes`` is for OVERSIZE only."""
    head = b'{"type": "inference.result", "event_data": {"poison": %d, "text": ' % number
    padding = b"x" * max(0, size_bytes - len(head) - 4)
    shapes: dict[Poison, tuple[bytes, str | None]] = {
        Poison.INVALID_JSON: (head + b'"never closed', None),
        Poison.NOT_AN_OBJECT: (b"[%d]" % number, None),
        Poison.NO_TYPE: (b'{"event_data": {"poison": %d}}' % number, None),
        Poison.TYPE_NOT_TEXT: (b'{"type": 7, "event_data": {"poison": %d}}' % number, None),
        Poison.EMPTY: (b"", None),
        Poison.OVERSIZE: (head + b'"' + padding + b'"}}', "inference.result"),
        Poison.NAN: (head + b"[NaN, Infinity, -Infinity]}}", "inference.result"),
        Poison.LONE_SURROGATE: (head + rb'"\ud800"}}', "inference.result"),
        Poison.NUL: (head + b'"\0"}}', None),
        Poison.INVALID_UTF8: (head + b'"\xff\xfe"}}', "inference.result"),
        Poison.PYTHON_REPR: (repr(head + b'""}}').encode(), None),
    }
    return shapes[poison]
