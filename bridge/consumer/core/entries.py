"""What a stream of the bridge holds, as values: events, and the marks that it left between them. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

__all__ = ["Ended", "Entry", "Event", "Gap", "Marker", "NotAnEntryError", "parse"]

_KNOWN = frozenset(
    (b"id", b"session_id", b"name", b"seq", b"type", b"data", b"received_at", b"event", b"dead_letter", b"traceparent")
)
_ALWAYS = 6  # fields of every entry; newer bridges add `name` to each
_MARKER_TYPE, _MARKER_ID = "bridge.", "bridge-"
_NOTHING: Mapping[str, bytes] = MappingProxyType({})


class NotAnEntryError(ValueError):
    """What stands in the stream was not written by a bridge: a field is missing, or says nothing."""


@dataclass(slots=True, kw_only=True)
class Entry:
    """One entry of a stream, event or not. Take it as it is: nothing here is meant to be changed.

    ``entry_id`` is Redis's own; after a rollback of Redis the same event stands under another one, with the same ``id``
    and the same ``seq``. ``name`` is the session's stable name, None in what older bridges wrote. ``received_at``: Unix
    seconds. ``data``: the bytes as the lens API sent them. ``extra``: every field that this kit has no name for, e.g.
    those that begin with ``ce_``. ``deliveries``: how often the entry has been given to a member of the group, this
    time included; 1 is the first time.
    """

    stream: str
    entry_id: str
    id: str
    session_id: str
    seq: int
    type: str
    data: bytes
    received_at: float
    event: str = "message"
    name: str | None = None
    dead_letter: str | None = None
    traceparent: str | None = None
    deliveries: int = 1
    extra: Mapping[str, bytes] = field(default_factory=lambda: _NOTHING)

    @property
    def identity(self) -> tuple[str, int, str]:
        """Session, number and id, which together stand for one event for ever, whatever happens to Redis.

        Neither number nor id alone does: a number may go to another event when Redis was emptied, an id may come again
        when a server begins to count anew. A dead letter that was published after all has 0 for its number, since it
        may get another one after a rollback, and an id of its own.
        """
        return self.session_id, 0 if self.dead_letter else self.seq, self.id

    @property
    def entry_ms(self) -> int:
        """When Redis took it, in milliseconds by Redis's own clock: the first half of ``entry_id``."""
        return int(self.entry_id.partition("-")[0])

    def json(self, *, strict: bool = True) -> Any:
        """``data`` as Python values.

        ``strict`` takes what programs of every language read alike. It refuses what RFC 8259 forbids: NaN, Infinity,
        bytes that are not UTF-8. And what the RFC permits but calls unpredictable, which a bridge with
        ``events.strict_json`` publishes too: numbers that no double holds (1e999), and lone surrogates. Without it all
        that Python's own ``json`` reads is read, and a byte that is not UTF-8 becomes U+FFFD. Raises ValueError either
        way, also for what is nested too deeply.
        """
        try:
            if not strict:
                return json.loads(self.data.decode("utf-8", "replace"))
            text = self.data.decode("utf-8")
            value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
            if "\\u" in text:
                json.dumps(value, ensure_ascii=False).encode("utf-8")  # UnicodeEncodeError: a lone surrogate
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
        return value


@dataclass(slots=True, kw_only=True)
class Event(Entry):
    """A lens event."""


@dataclass(slots=True, kw_only=True)
class Marker(Entry):
    """What the bridge itself wrote between events; its ``seq`` is that of the event before it, so it is no event.

    ``detail`` is its ``data`` read as JSON, empty where that is none. A marker of a later release is just this.
    """

    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """Why it was written, in one word."""
        return str(self.detail.get("reason", ""))


@dataclass(slots=True, kw_only=True)
class Gap(Marker):
    """Before this point events may be missing (`bridge.gap`). Numbers behind it may skip."""

    @property
    def missing(self) -> range:
        """The numbers that cannot come any more, where the marker names them; else empty."""
        first, last = self.detail.get("from_seq"), self.detail.get("to_seq")
        return range(first, last + 1) if isinstance(first, int) and isinstance(last, int) else range(0)


@dataclass(slots=True, kw_only=True)
class Ended(Marker):
    """The session is over (`bridge.session.ended`)."""


_MARKERS: Mapping[str, type[Marker]] = {"bridge.gap": Gap, "bridge.session.ended": Ended}


def parse(stream: str, entry_id: str, fields: Mapping[bytes, bytes], deliveries: int = 1) -> Entry:
    """An entry as Redis gives it. Raises NotAnEntryError for what no bridge has written."""
    name = fields.get(b"name")
    try:
        entry = Event(
            stream=stream,
            entry_id=entry_id,
            id=fields[b"id"].decode(),
            session_id=fields[b"session_id"].decode(),
            seq=int(fields[b"seq"]),
            type=fields[b"type"].decode(),
            data=fields[b"data"],
            received_at=float(fields[b"received_at"]),
            name=None if name is None else name.decode(),
            deliveries=deliveries,
        )
        if len(fields) > _ALWAYS + (name is not None):
            _optional(entry, fields)
    except KeyError as error:
        raise NotAnEntryError(f"it has no field {error.args[0].decode()}") from None
    except ValueError as error:
        raise NotAnEntryError(str(error)) from None
    return _marker(entry) if entry.type.startswith(_MARKER_TYPE) and entry.id.startswith(_MARKER_ID) else entry


def _optional(entry: Event, fields: Mapping[bytes, bytes]) -> None:
    if (event := fields.get(b"event")) is not None:
        entry.event = event.decode()
    if (letter := fields.get(b"dead_letter")) is not None:
        entry.dead_letter = letter.decode()
    if (parent := fields.get(b"traceparent")) is not None:
        entry.traceparent = parent.decode(errors="replace")
    if not fields.keys() <= _KNOWN:
        entry.extra = {key.decode(errors="replace"): fields[key] for key in fields.keys() - _KNOWN}


def _marker(entry: Event) -> Marker:
    try:
        detail = json.loads(entry.data)
    except (ValueError, RecursionError):
        detail = None
    kind = _MARKERS.get(entry.type, Marker)
    given = {one: getattr(entry, one) for one in Entry.__dataclass_fields__}
    return kind(**given, detail=detail if isinstance(detail, dict) else {})


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is no JSON (RFC 8259)")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text:.40} is beyond what a number can hold")
    return number
