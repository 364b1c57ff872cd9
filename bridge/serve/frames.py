"""Entries as Server-Sent Events: bytes of an event stream (WHATWG HTML, 9.2). Pure.

`entry`: one line of JSON with the fields as they stand in Redis, each a string; what is not UTF-8 comes as base64 under
`NAME_base64`. `data`: the event's data alone, under its own event name, as the API sent it; an entry whose data no
event stream can carry unchanged (a CR, bytes that are not UTF-8) comes in the other form, as an event `bridge.entry`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from bridge.serve.places import EntryId, Hole

__all__ = ["HEARTBEAT", "Entry", "Format", "begin", "entry_frame", "hole_frame", "place_frame"]

HEARTBEAT = b":\n\n"
ENTRY_EVENT, HOLE_EVENT = b"bridge.entry", b"bridge.hole"
_PLAIN_EVENT = b"message"


class Format(StrEnum):
    """What the data of an event is."""

    ENTRY = "entry"
    DATA = "data"


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One entry of a stream, and how it looks on the wire, which is the same for all readers."""

    id: EntryId
    fields: Mapping[bytes, bytes]
    frames: dict[Format, bytes] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """Of its values."""
        return sum(map(len, self.fields.values()))

    def text(self, name: bytes) -> str:
        """A field to compare with; empty where it is missing."""
        return self.fields.get(name, b"").decode(errors="replace")

    def frame(self, format: Format) -> bytes:
        """What is sent for it; made once."""
        made = self.frames.get(format)
        if made is None:
            made = self.frames[format] = entry_frame(self, format)
        return made


def entry_frame(entry: Entry, format: Format) -> bytes:
    """The whole event, with its blank line."""
    if format is Format.DATA:
        data, event = entry.fields.get(b"data"), entry.fields.get(b"event", _PLAIN_EVENT)
        if data is None or not _carried(data) or not _free_name(event):
            return _event(entry.id, ENTRY_EVENT, _envelope(entry.fields))
        return _event(entry.id, event, data)
    return _event(entry.id, _PLAIN_EVENT, _envelope(entry.fields))


def hole_frame(hole: Hole) -> bytes:
    """Tells what may be missing. With the id of where it goes on, if that is another one, so that it is told once."""
    said = msgspec.json.encode(
        {"reason": hole.reason.value, "after": str(hole.after), "goes_on_after": str(hole.place)}
    )
    return _event(hole.place if hole.place != hole.after else None, HOLE_EVENT, said)


def place_frame(place: EntryId) -> bytes:
    """No event, only an id: a reader that comes back goes on behind it."""
    return b"id: %s\n\n" % str(place).encode()


def begin(retry_seconds: float) -> bytes:
    """The first bytes of a stream: when to come again after a break."""
    return b"retry: %d\n\n" % max(1, round(retry_seconds * 1000))


def _event(place: EntryId | None, event: bytes, data: bytes) -> bytes:
    head = b"id: %s\n" % str(place).encode() if place else b""
    if event != _PLAIN_EVENT:
        head += b"event: %s\n" % event
    return b"%sdata: %s\n\n" % (head, data.replace(b"\n", b"\ndata: "))


def _carried(data: bytes) -> bool:
    """Whether a reader gets these very bytes: it decodes UTF-8 with replacement, and takes a CR for a line's end."""
    if b"\r" in data:
        return False
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _free_name(event: bytes) -> bool:
    """A name that an event may have here: on one line, and none of those that mean something of our own."""
    return bool(event) and b"\n" not in event and _carried(event) and not event.startswith(b"bridge.")


def _envelope(fields: Mapping[bytes, bytes]) -> bytes:
    said: dict[str, str] = {}
    for name, value in fields.items():
        key = name.decode(errors="backslashreplace")
        try:
            said[key] = value.decode()
        except UnicodeDecodeError:
            said[f"{key}_base64"] = base64.b64encode(value).decode()
    return msgspec.json.encode(said)
