"""The JSON around every lens event: its ``type``, and the little else that the bridge looks at.

The rest of the payload is the consumers' business and is passed on byte for byte.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from bridge.model.labels import DeadLetterReason
from bridge.model.records import ServerSentEvent

__all__ = [
    "CONTROL_TYPES",
    "STREAM_END",
    "STREAM_HEARTBEAT",
    "STREAM_START",
    "Kind",
    "NotAnEnvelope",
    "all_utf8",
    "kind_of",
    "strictly",
    "timestamp_of",
    "type_of",
    "types_of",
]

STREAM_START = "sse.stream.start"
STREAM_HEARTBEAT = "sse.stream.heartbeat"
STREAM_END = "sse.stream.end"
CONTROL_TYPES = frozenset((STREAM_START, STREAM_HEARTBEAT, STREAM_END))
"""Frames about the connection. Every other type is a lens event, ``stream.end`` too."""


class NotAnEnvelope(NamedTuple):
    """Why a payload is not an envelope. ``detail`` tells a position and a reason, never a part of the payload."""

    reason: DeadLetterReason
    detail: str


Kind = str | NotAnEnvelope
"""The type of a lens event, or why it has none."""


class _Envelope(msgspec.Struct, gc=False):
    type: str


_decode = msgspec.json.Decoder(_Envelope).decode
_REFUSALS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def type_of(raw: bytes) -> str | NotAnEnvelope:
    """The ``type`` member of an envelope, always encodable as UTF-8; or why there is none. Never raises.

    JSON is what Python's own ``json`` accepts (NaN, Infinity, the last of two equal keys): servers are written in
    Python too. Bytes that are not UTF-8 count as U+FFFD, as the SSE standard reads them; one byte order mark at the
    start is let pass; UTF-16 is not JSON here, since an event stream is UTF-8 by definition.
    """
    try:
        return _decode(raw).type
    except _REFUSALS:
        return _type_beside_nan(raw) or _type_by_python(raw)


def kind_of(event: ServerSentEvent) -> Kind:
    """The type of an event, or why it has none. Never raises."""
    if event.oversize_bytes:
        return NotAnEnvelope(
            DeadLetterReason.OVERSIZE, f"{event.oversize_bytes} bytes, more than source.max_event_bytes"
        )
    return type_of(event.raw)


def strictly(event: ServerSentEvent, kind: Kind) -> Kind:
    """The same kind, where the payload is JSON as RFC 8259 has it; else why it is not. Never raises.

    A control frame is one all the same: it is not published, and an end must be seen however it is written.
    """
    if kind in CONTROL_TYPES or (isinstance(kind, NotAnEnvelope) and kind.reason is not DeadLetterReason.MISSING_TYPE):
        return kind
    breach = _breach_of(event.raw)
    return NotAnEnvelope(DeadLetterReason.INVALID_JSON, f"{breach} (RFC 8259)") if breach else kind


def types_of(raws: Iterable[bytes]) -> list[str] | None:
    """The types of envelopes that are plain JSON, all of them; None where one is not, and `type_of` has to tell.

    What is let pass is RFC 8259's but for bytes that are not UTF-8: see `all_utf8`.
    """
    try:
        return [envelope.type for envelope in map(_decode, raws)]
    except _REFUSALS:
        return None


def all_utf8(raws: Iterable[bytes]) -> bool:
    """Whether each of these is UTF-8."""
    try:
        for raw in raws:
            if not raw.isascii():  # a look, and no copy
                raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _breach_of(raw: bytes) -> str | None:
    """What RFC 8259 forbids in a payload that `type_of` takes for JSON, and where. None where it is all permitted.

    Left of Python's leniency are three things. What the RFC permits and calls unpredictable is no breach: halves of
    surrogate pairs written as escapes, equal names, numbers that no double holds.
    """
    try:
        if not raw.isascii():
            raw.decode()
    except UnicodeDecodeError as error:
        return f"no UTF-8 at byte {error.start}"
    if raw.startswith(codecs.BOM_UTF8):
        return "a byte order mark at byte 0 is no JSON"
    if b"NaN" in raw or b"Infinity" in raw:
        for found in _STRING_OR_CONSTANT.finditer(raw):
            if found[1]:
                return f"{found[1].decode()} at byte {found.start()} is no JSON"
    return None


_STRING_OR_CONSTANT = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|(NaN|-?Infinity)', re.DOTALL)


def _type_beside_nan(raw: bytes) -> str | None:
    """Try again with zeros for Python's own numbers: twenty times quicker than `json` for an embedding with a NaN.

    The spaces keep a zero from joining what is beside it, so that nothing wrong becomes right. A type that holds
    the name of such a number can't be told this way.
    """
    plain = raw.replace(b"-Infinity", b" 0 ").replace(b"Infinity", b" 0 ").replace(b"NaN", b" 0 ")
    try:
        found = _decode(plain).type if plain != raw else ""
    except _REFUSALS:
        return None
    return None if " 0 " in found else found


def _type_by_python(raw: bytes) -> str | NotAnEnvelope:
    try:
        envelope = _python_json.decode(raw.decode("utf-8-sig", "replace"))
    except json.JSONDecodeError as error:
        return NotAnEnvelope(DeadLetterReason.INVALID_JSON, f"{error.msg.removesuffix(' at')} at character {error.pos}")
    except RecursionError:
        return NotAnEnvelope(DeadLetterReason.INVALID_JSON, "nested too deeply")
    if not isinstance(envelope, dict):
        return NotAnEnvelope(DeadLetterReason.MISSING_TYPE, "the payload is not a JSON object")
    if "type" not in envelope:
        return NotAnEnvelope(DeadLetterReason.MISSING_TYPE, "the payload has no member `type`")
    found = envelope["type"]
    if not isinstance(found, str):
        return NotAnEnvelope(DeadLetterReason.MISSING_TYPE, "the member `type` is not a string")
    return found.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _number(_digits: str) -> int:
    return 0  # int() refuses more than 4,300 digits; no integer matters here


_python_json = json.JSONDecoder(parse_int=_number)


class _QueryMetadata(msgspec.Struct):
    query_timestamp: Any = None


class _EventData(msgspec.Struct):
    query_metadata: _QueryMetadata = msgspec.field(default_factory=_QueryMetadata)


class _Timed(msgspec.Struct):
    timestamp: Any = None
    event_data: msgspec.Raw = msgspec.Raw(b"{}")


_decode_timed = msgspec.json.Decoder(_Timed).decode
_decode_event_data = msgspec.json.Decoder(_EventData).decode
_OPENING = re.compile(rb'\{ ?(?:"type": ?"[^"\\]*", ?)?"timestamp": ?(\d{9,10}(?:\.\d{1,9})?)[,}]')
_LARGE_BYTES = 4096  # from here on a parse costs more than a look at how it opens
_EARLIEST, _LATEST = 946_684_800, 4_102_444_800  # the years 2000 to 2099, in Unix seconds


def timestamp_of(raw: bytes) -> float | None:
    """The server's own time of an event in Unix seconds, if it has one that can be true; best effort. Never raises.

    ``raw`` is the payload of an event that has a type. It is read once more, so ask for one event of a batch, not for
    each; of a large one that opens as the API documents it, with type and time, only that is. One with NaN has no time
    elsewhere.
    """
    if len(raw) >= _LARGE_BYTES and (opening := _OPENING.match(raw)):
        found = _plausible(float(opening[1]))
        if found is not None:
            return found
    try:
        timed = _decode_timed(raw)
        found = _plausible(timed.timestamp)
        if found is None:
            found = _plausible(_decode_event_data(timed.event_data).query_metadata.query_timestamp)
    except _REFUSALS:
        return None
    return found


def _plausible(timestamp: Any) -> float | None:
    if isinstance(timestamp, int | float) and _EARLIEST <= timestamp < _LATEST:
        return float(timestamp)
    return None
