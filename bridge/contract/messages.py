"""Entries, markers and dead letters as JSON schemas: the one source of ``config/contract.schema.json``. Pure.

A reason that is added to `bridge.model.labels` stands here by itself; what its marker says beside the rest does not.
"""

from __future__ import annotations

from typing import Any

from bridge.contract.fields import FIELDS, Schema, data_of, text
from bridge.delivery.envelopes import CONTROL_TYPES
from bridge.delivery.markers import REWOUND
from bridge.model.labels import DeadLetterReason, GapReason

__all__ = ["DEFINITIONS", "EVOLUTION", "FIELD_MAP", "GAP_REASONS", "MESSAGES", "schema"]

GAP_REASONS: dict[str, str] = {
    GapReason.CURSOR_UNKNOWN.value: "the server refused the id after which it was asked to go on",
    GapReason.CURSOR_UNSENDABLE.value: "the last id cannot stand in an HTTP header",
    GapReason.NO_CURSOR.value: "the server gives no ids, so there was nothing to go on after",
    GapReason.STATE_LOST.value: "Redis was emptied under a running worker",
    GapReason.NUMBERS_LOST.value: "events that Redis has lost are not served again: their numbers will not come",
    REWOUND: "a person has moved the place of the session",
}
"""Why a gap is declared, and what that means."""

EVOLUTION = (
    "How this may change: fields and members may be added, and so may types of markers and reasons, so readers leave "
    "alone what they do not know. A field that is here stays, and keeps its meaning; what moves one stands in the "
    "CHANGELOG under Changed or Removed."
)

FIELD_MAP = (
    "An object here is the field map of a Redis Streams entry: names and values, decoded from UTF-8. In `data` alone "
    "may stand bytes that are no UTF-8: decode them as U+FFFD to validate, and take them as they are to work with them."
)

_DATA = (
    "The data of the event, byte for byte as the server sent it, at most source.max_event_bytes: JSON as Python's "
    "`json` reads it, so NaN, Infinity and bytes that are no UTF-8 may stand there. With events.strict_json it is JSON "
    "by RFC 8259, but in what a person had published from the dead letters."
)


_CLOUD_EVENT = ["specversion", "id", "source", "type", "time", "subject", "datacontenttype", "sequence", "traceparent"]


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _object(title: str, description: str, properties: dict[str, Schema], optional: tuple[str, ...] = ()) -> Schema:
    required = [name for name in properties if name not in optional]
    return {
        "title": title, "description": description, "type": "object", "properties": properties, "required": required,
    }  # fmt: skip


def _entry(title: str, description: str, fields: dict[str, Schema], number: str) -> Schema:
    """An entry in the order in which its fields are written."""
    properties = {
        "id": fields["id"],
        "session_id": _ref("sessionId"),
        "name": _ref("sessionName"),
        "seq": _ref(number),
        "type": fields["type"],
        "data": fields["data"],
        "received_at": _ref("receivedAt"),
    }
    required = properties.keys() - {"name"}
    properties |= {name: schema for name, schema in fields.items() if name not in properties}
    properties["traceparent"] = _ref("traceContext")
    properties |= {f"ce_{name}": _ref("cloudEventAttribute") for name in _CLOUD_EVENT}
    return _object(title, description, properties, optional=tuple(properties.keys() - required))


_EVENT = _entry(
    "event",
    "An event of the lens session. It is told from a marker by `type` and `id` together.",
    {
        "id": text(
            "The message key: the SSE id of the event. Without one `<last id>#<n>-<hash8>`, where an id came again "
            "with other data `<id>~<hash8>`, and where it would pass for a marker's `server-<id>`. Once in a session, "
            "unless a marker says that events may come again.",
            minLength=1,
            examples=["8", "8#1-1f0c33aa"],
        ),
        "type": text("The member `type` of the data, e.g. inference.result; may be empty.")
        | {"not": {"enum": sorted(CONTROL_TYPES)}},
        "data": data_of("eventData", _DATA),
        "event": text("The name of the SSE event, only where it is not `message`.", minLength=1)
        | {"not": {"const": "message"}},
        "dead_letter": {
            **FIELDS["entryId"],
            "description": "Only where a person had a dead letter published: its entry id there.",
        },
    },
    "eventNumber",
) | {
    "not": {
        "properties": {"type": {"pattern": "^bridge\\."}, "id": {"pattern": "^bridge-"}},
        "required": ["type", "id"],
    }
}


def _marker(kind: str, description: str, content: str) -> Schema:
    type = f"bridge.{kind}"
    return _entry(
        type,
        description,
        {
            "id": text("Made by the bridge.", f"bridge-{kind.replace('.', '[.]')}-[0-9a-f]+"),
            "type": {"const": type},
            "data": data_of(content, "What the marker says, as JSON by RFC 8259."),
        },
        "markerNumber",
    )


def _gap_data(reason: str, meaning: str) -> Schema:
    number = {"type": "integer", "minimum": 1}
    members: dict[str, Schema] = {
        "reason": {"const": reason},
        "last_id": {"type": ["string", "null"], "description": "The SSE id before the gap; null where there was none."},
        "outage_seconds": {"type": "number", "minimum": 0, "description": "How long nothing could be read."},
    }
    if reason == GapReason.NUMBERS_LOST:
        members["from_seq"] = {**number, "description": "The first number that will not come."}
        members["to_seq"] = {**number, "description": "The last of them."}
    if reason == REWOUND:
        members["to"] = {"enum": ["id", "start", "live"], "description": "What was asked for."}
        members["to_id"] = {"type": ["string", "null"], "description": "Behind which id it goes on; null: the start."}
        members["again"] = {
            "type": "boolean",
            "description": "Events from before the marker may stand behind it again.",
        }
    return _object(reason, f"{meaning[0].upper()}{meaning[1:]}.", members)


def _name_of(reason: str) -> str:
    return "gap" + "".join(word.capitalize() for word in reason.split("_"))


_LETTER = _object(
    "dead letter",
    "An event that could not become an entry, written in the same atomic step that moved the place past it.",
    {
        "id": text("The message key that it would have had.", minLength=1),
        "session_id": _ref("sessionId"),
        "name": _ref("sessionName"),
        "type": text("Its type where that is known, else empty."),
        "data": {
            "type": "string",
            "description": "The bytes as they came, whatever they are: up to stream.max_dead_letter_bytes of them.",
        },
        "received_at": _ref("receivedAt"),
        "event": text("The name of the SSE event.", minLength=1),
        "reason": {
            "enum": [one.value for one in DeadLetterReason],
            "description": "invalid_json: no JSON; missing_type: no object with a `type` that is text; oversize: "
            "larger than source.max_event_bytes; rejected: Redis itself refuses it.",
        },
        "detail": text("What exactly, and where, in words for a person."),
        "truncated": {"enum": ["0", "1"], "description": "1: `data` is not all of it."},
    },
    ("name",),
)

DEFINITIONS: dict[str, Schema] = {
    "entry": {
        "description": "What stands in a stream of events.",
        "oneOf": [_ref("event"), _ref("gap"), _ref("sessionEnded")],
    },
    "event": _EVENT,
    "gap": _marker("gap", "Events may be missing at this point, or stand behind it once more.", "gapData"),
    "sessionEnded": _marker("session.ended", "The session is over, as far as the lens API knows.", "sessionEndedData"),
    "deadLetter": _LETTER,
    "eventData": {
        "title": "data of an event",
        "description": "What the lens API sent; the rest of it depends on the lens.",
        "type": "object",
        "properties": {"type": {"type": "string"}},
        "required": ["type"],
    },
    "gapData": {"title": "data of bridge.gap", "oneOf": [_ref(_name_of(reason)) for reason in GAP_REASONS]},
    **{_name_of(reason): _gap_data(reason, meaning) for reason, meaning in GAP_REASONS.items()},
    "sessionEndedData": _object(
        "data of bridge.session.ended",
        "How the session ended.",
        {
            "reason": {
                "type": "string",
                "minLength": 1,
                "description": "The status that the lens API gives it, `unknown` where it knows it no longer, `gone` "
                "where it never did, `end` or `no_content` where the stream said so.",
            }
        },
    ),
    **FIELDS,
}
"""Each definition by its name; they refer to each other as ``#/$defs/NAME``."""

MESSAGES = ("event", "gap", "sessionEnded", "deadLetter")
"""The definitions of what stands in Redis."""


def schema() -> dict[str, Any]:
    """The JSON schema of all that stands in the streams."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What Lens Bridge writes into Redis Streams",
        "description": f"{FIELD_MAP} `data` is itself a document: `contentSchema` says of what. {EVOLUTION}",
        "anyOf": [_ref("entry"), _ref("deadLetter")],
        "$defs": DEFINITIONS,
    }
