"""What an entry bears beside its plain fields: attributes of CloudEvents, a trace context. Pure.

All of them say again what the plain fields say, in a form that others know, so each is held against those.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from urllib.parse import quote

__all__ = ["ATTRIBUTES", "attribute_faults"]

_ALWAYS = (b"specversion", b"id", b"source", b"type", b"time", b"subject", b"datacontenttype", b"sequence")
_TRACEPARENT = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")  # W3C Trace Context, level 1
_TIME = re.compile(rb"([0-9]{1,11})\.([0-9]{3})")
_NONCHARACTERS = "".join(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
_FORBIDDEN = re.compile(f"[%\x00-\x1f\x7f-\x9f\ufdd0-\ufdef{_NONCHARACTERS}]")

ATTRIBUTES = (b"traceparent", b"ce_traceparent", *(b"ce_" + name for name in _ALWAYS))
"""All of their names."""


def attribute_faults(fields: Mapping[bytes, bytes]) -> Iterator[str]:
    """What is wrong with them; nothing where there are none. ``fields`` has all that every entry has."""
    traceparent = fields.get(b"traceparent")
    if traceparent is not None and not _TRACEPARENT.fullmatch(traceparent):
        yield "traceparent is no trace context"
    given = {name[3:]: value for name, value in fields.items() if name.startswith(b"ce_")}
    if not given:
        return
    if missing := [f"ce_{name.decode()}" for name in _ALWAYS if name not in given]:
        yield f"a CloudEvent without {', '.join(missing)}"
    for name, wanted in _wanted(fields):
        if name in given and given[name] != wanted:
            yield f"ce_{name.decode()} does not say what the plain fields say"
    if given.get(b"traceparent") != traceparent:
        yield "ce_traceparent is not the traceparent"


def _wanted(fields: Mapping[bytes, bytes]) -> Iterator[tuple[bytes, bytes]]:
    id, type = _allowed(fields[b"id"]), _allowed(fields[b"type"])
    marker = id.startswith(b"bridge-") and type.startswith(b"bridge.")
    yield b"specversion", b"1.0"
    yield b"id", id
    yield b"source", b"/lens/sessions/" + fields[b"session_id"]
    yield b"type", type if marker else b"app.archetypeai." + type
    yield b"subject", fields.get(b"name", b"")
    yield b"datacontenttype", b"application/json"
    if fields[b"seq"].isdigit():
        yield b"sequence", fields[b"seq"].rjust(16, b"0")
    if found := _TIME.fullmatch(fields[b"received_at"]):
        at = datetime.fromtimestamp(int(found[1]), UTC).replace(tzinfo=None)
        yield b"time", at.isoformat().encode() + b"." + found[2] + b"Z"


def _allowed(text: bytes) -> bytes:
    """Without what a text of CloudEvents may not hold: percent-encoded."""
    return _FORBIDDEN.sub(lambda found: quote(found[0], safe=""), text.decode(errors="surrogateescape")).encode(
        errors="surrogateescape"
    )
