"""Reads one entry, marker or dead letter, and says what is wrong with it by itself. Pure."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from bridge.model.keys import NAME_PATTERN
from bridge.model.labels import DeadLetterReason
from bridge.verify.attributes import ATTRIBUTES, attribute_faults
from bridge.verify.report import FaultKind, Findings

__all__ = ["Entry", "Letter", "accuse", "aliases", "position", "read_entry", "read_letter", "reuse_of", "without_id"]

REQUIRED = (b"id", b"session_id", b"seq", b"type", b"data", b"received_at")
OPTIONAL = (b"event", b"name", b"dead_letter", *ATTRIBUTES)
LETTER_REQUIRED = (b"id", b"session_id", b"data", b"reason")
LETTER_OPTIONAL = (b"type", b"received_at", b"event", b"detail", b"truncated", b"name", b"seq")
CONTROL_TYPES = ("sse.stream.start", "sse.stream.heartbeat", "sse.stream.end")  # never appended
GAP, ENDED = "bridge.gap", "bridge.session.ended"
NUMBERS_LOST = "numbers_lost"
REWOUND = "rewound"

NUMBER = re.compile(rb"0|[1-9][0-9]{0,15}")  # Redis's scripts count exactly up to 2^53
_ENTRY = re.compile(r"[0-9]{1,18}-[0-9]{1,18}")
_TIME = re.compile(rb"[0-9]{1,11}\.[0-9]{3}")
_SESSION = re.compile(NAME_PATTERN)
_WITHOUT_ID = re.compile(r"(?P<after>.*)#(?P<ordinal>[1-9][0-9]{0,14})-(?P<hash>[0-9a-f]{8})", re.DOTALL)
_REUSED = re.compile(r"(?P<base>.*)~(?P<hash>[0-9a-f]{8})", re.DOTALL)
_ESCAPE, _MARKER = "server-", "bridge-"


class Entry(NamedTuple):
    """One stream entry, its fields read. ``hash8``: the first eight hex digits of its data's SHA-256.

    ``declares``: the first and last number that this marker says are lost. ``last_id``: the id before this gap, ``0``
    where there was none. ``rewound``: the id behind which a person has put the place here (``0`` for the start), and
    whether events may stand behind this marker once more. ``wrong``: what its own fields say against it.
    ``dead_letter``: the entry id it had as a dead letter, before a person had it published; empty for all others.
    ``stream``: the key where it stands, of a session that writes to several. ``unknown``: fields that a later release
    may write.
    """

    entry: str
    id: str
    session_id: str
    seq: int
    type: str
    data: bytes
    received_at: float
    hash8: str = ""
    declares: tuple[int, int] | None = None
    told: str = ""
    last_id: str | None = None
    rewound: tuple[str, bool] | None = None
    wrong: tuple[str, ...] = ()
    dead_letter: str = ""
    stream: str = ""
    unknown: tuple[str, ...] = ()

    @property
    def is_marker(self) -> bool:
        """Written by the bridge itself: both marks, since a server may use either of them."""
        return self.id.startswith(_MARKER) and self.type.startswith("bridge.")


class Letter(NamedTuple):
    """One dead letter. ``hash8`` is empty where its data is cut; ``unknown`` is that of an `Entry`."""

    entry: str
    id: str
    session_id: str
    hash8: str
    wrong: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


class WithoutId(NamedTuple):
    """The parts of a key ``after#ordinal-hash8``. ``made``: the hash is that of the data, so the bridge made it."""

    after: str
    ordinal: int
    made: bool


class Reuse(NamedTuple):
    """The parts of a key ``base~hash8``, as `WithoutId`."""

    base: str
    made: bool


def read_entry(entry: bytes, fields: Sequence[bytes]) -> Entry | str:
    """Read names and values in turn, or say why they can't be read at all."""
    found = _fields(fields, REQUIRED)
    if isinstance(found, str):
        return found
    values, wrong = found
    if said := _unreadable(values):
        return said
    timed = _TIME.fullmatch(values[b"received_at"])
    if not timed:
        wrong.append("received_at is no time: Unix seconds with milliseconds")
    read = Entry(
        _text(entry),
        _text(values[b"id"]),
        _text(values[b"session_id"]),
        int(values[b"seq"]),
        _text(values[b"type"]),
        values[b"data"],
        float(values[b"received_at"]) if timed else 0.0,
        unknown=_unknown(values, REQUIRED, OPTIONAL),
    )
    wrong += attribute_faults(values)
    if values.get(b"event") in (b"", b"message"):
        wrong.append("event is given though it is the usual one")
    if read.is_marker:
        return _marker(read, wrong, named=b"event" in values or b"dead_letter" in values)
    if not read.seq:
        return "seq is no decimal number from 1"
    if fault := _type_fault(read.data, read.type):
        wrong.append(fault)
    if read.type in CONTROL_TYPES:
        wrong.append(f"{read.type} is no lens event")
    letter = _text(values.get(b"dead_letter", b""))
    if b"dead_letter" in values and not (_ENTRY.fullmatch(letter) and position(letter) < position(read.entry)):
        wrong.append("dead_letter is not the id of an entry written before it")
        letter = ""
    return read._replace(hash8=_hash8(read.data), wrong=tuple(wrong), dead_letter=letter)


def read_letter(entry: bytes, fields: Sequence[bytes]) -> Letter:
    """Read a dead letter; what can't be read is empty, and told in ``wrong``."""
    values = dict(zip(fields[::2], fields[1::2], strict=False))
    found = _fields(fields, LETTER_REQUIRED)
    wrong = [found] if isinstance(found, str) else found[1]
    reason, truncated = _text(values.get(b"reason", b"")), values.get(b"truncated", b"0")
    if reason not in (*DeadLetterReason, ""):
        wrong.append(f"its reason is {reason}")
    if b"reason" in values and not reason:
        wrong.append("without reason")
    if truncated not in (b"0", b"1"):
        wrong.append("truncated is neither 0 nor 1")
    if not _TIME.fullmatch(values.get(b"received_at", b"0.000")):
        wrong.append("received_at is no time: Unix seconds with milliseconds")
    data = values.get(b"data", b"")
    broken = reason in (DeadLetterReason.INVALID_JSON, DeadLetterReason.MISSING_TYPE) and truncated == b"0"
    strictly = reason == DeadLetterReason.INVALID_JSON and not _standard(data)  # events.strict_json may have been on
    if broken and not strictly and not _deep(data) and _type_fault(data, None) is None:
        wrong.append(f"its reason is {reason}, but its data is a lens event")
    id, session_id = _text(values.get(b"id", b"")), _text(values.get(b"session_id", b""))
    hash8 = "" if truncated == b"1" else _hash8(data)
    return Letter(_text(entry), id, session_id, hash8, tuple(wrong), _unknown(values, LETTER_REQUIRED, LETTER_OPTIONAL))


def without_id(id: str, hash8: str) -> WithoutId | None:
    """The parts of an id that has the form of a key for an event without an id. A server may use such ids too."""
    found = _WITHOUT_ID.fullmatch(id) if "#" in id else None
    return found and WithoutId(found["after"], int(found["ordinal"]), hash8 in ("", found["hash"]))


def reuse_of(id: str, hash8: str) -> Reuse | None:
    """The parts of an id that has the form of a key for an id that came again with other bytes."""
    found = _REUSED.fullmatch(id) if "~" in id else None
    return found and Reuse(found["base"], hash8 in ("", found["hash"]))


def aliases(id: str) -> frozenset[str]:
    """What the server may have called it: an event that would pass for a marker has ``server-`` before its id."""
    return frozenset((id, id.removeprefix(_ESCAPE)) if id.startswith(_ESCAPE + _MARKER) else (id,))


def position(entry: str) -> tuple[int, int]:
    """The two numbers of an entry's id: milliseconds of Redis's clock, and which one of them."""
    milliseconds, _, number = entry.partition("-")
    return int(milliseconds), int(number or 0)


def accuse(findings: Findings, kind: FaultKind, detail: str, entry: Entry) -> None:
    """Count a fault that this entry shows."""
    findings.fault(kind, detail, entry=entry.entry, id=entry.id, seq=entry.seq, stream=entry.stream or None)


def _fields(fields: Sequence[bytes], required: Sequence[bytes]) -> tuple[dict[bytes, bytes], list[str]] | str:
    values = dict(zip(fields[::2], fields[1::2], strict=True))
    if missing := [name.decode() for name in required if name not in values]:
        return f"without {', '.join(missing)}"
    wrong = []
    if len(values) * 2 != len(fields):
        wrong.append("a field stands there more than once")
    return values, wrong


def _unknown(values: Collection[bytes], required: Sequence[bytes], optional: Sequence[bytes]) -> tuple[str, ...]:
    return tuple(_text(name) for name in values if name not in required and name not in optional)


def _unreadable(values: dict[bytes, bytes]) -> str | None:
    if not NUMBER.fullmatch(values[b"seq"]):
        return "seq is no decimal number"
    if not values[b"id"]:
        return "id is empty"
    if not _SESSION.fullmatch(_text(values[b"session_id"])):
        return "session_id is none"
    return None


def _marker(read: Entry, wrong: list[str], *, named: bool) -> Entry:
    if read.type not in (GAP, ENDED) or not read.id.startswith(f"{_MARKER}{read.type.removeprefix('bridge.')}-"):
        wrong.append(f"no marker of the bridge's is called {read.id} and has the type {read.type}")
        return read._replace(wrong=tuple(wrong))
    if named:
        wrong.append("a marker has no event name, and was no dead letter")
    try:
        said = json.loads(read.data)
        reason = said["reason"]
        if not isinstance(reason, str) or not reason:
            raise ValueError
        told, declares, last_id, rewound = reason, None, None, None
        if read.type == GAP:
            outage = float(said["outage_seconds"])
            if not 0 <= outage < math.inf:
                raise ValueError
            told = f"{reason}, outage {outage:g} s, last id {said['last_id']}"
            declares, last_id = _numbers(said, reason), str(said["last_id"] or "0")
            if reason == REWOUND:
                rewound = _rewound(said)
                told = f"{reason} from {said['last_id']} to {said['to_id'] or said['to']}"
                told += ", so events may stand here again" if rewound[1] else ""
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        wrong.append(f"a {read.type} marker whose data does not say what it has to")
        return read._replace(wrong=tuple(wrong))
    return read._replace(told=told, declares=declares, last_id=last_id, rewound=rewound, wrong=tuple(wrong))


def _numbers(said: dict[str, Any], reason: str) -> tuple[int, int] | None:
    first, last = said.get("from_seq"), said.get("to_seq")
    if reason != NUMBERS_LOST and first is None and last is None:
        return None
    if reason == NUMBERS_LOST and type(first) is int and type(last) is int and 0 < first <= last:
        return first, last
    raise ValueError


def _rewound(said: dict[str, Any]) -> tuple[str, bool]:
    to, id, again = said["to"], said["to_id"], said["again"]
    known = to in ("id", "start", "live") and isinstance(again, bool) and (id is None or isinstance(id, str))
    if not known or (to == "start") != (id is None):
        raise ValueError
    return id or "0", again


def _type_fault(data: bytes, type: str | None) -> str | None:
    """Why data is no lens event (of this type, where one is given); None where it is, or where that can't be known."""
    text = data.decode("utf-8-sig", "replace")
    try:
        try:
            envelope = json.loads(text)
        except json.JSONDecodeError:
            raise
        except ValueError:  # an integer of more than 4,300 digits
            envelope = json.loads(text, parse_int=float)
    except RecursionError:
        return None
    except ValueError:
        return "its data is not JSON"
    said = envelope.get("type") if isinstance(envelope, dict) else None
    if not isinstance(said, str):
        return "its data has no type"
    said = said.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return None if type in (None, said) else f"its type is {type}, but its data says {said}"


def _standard(data: bytes) -> bool:
    """Whether it is JSON as RFC 8259 has it: UTF-8 without a mark in front, and no number of Python's own."""
    try:
        json.loads(data.decode(), parse_constant=_refuse_constant, parse_int=float)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _deep(data: bytes) -> bool:
    return data.count(b"[") + data.count(b"{") > 500  # too deep for one reader, maybe, and not for another


def _hash8(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:8]


def _text(raw: bytes) -> str:
    return raw.decode(errors="backslashreplace")
