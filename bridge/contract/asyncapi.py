"""The streams as an AsyncAPI 3 document: ``config/asyncapi.yaml``. Pure.

AsyncAPI's binding for Redis is empty, so what its streams are stands in an extension, ``x-redis-stream``.
"""

from __future__ import annotations

from typing import Any

from bridge import __version__
from bridge.contract.messages import DEFINITIONS, EVOLUTION, FIELD_MAP, MESSAGES
from bridge.model.keys import keys_beside

__all__ = ["asyncapi"]

SPECIFICATION = "3.1.0"

_EVENTS = "lens:{<name>}:events"  # the default of stream.key

_ENTRY = {
    "id": "8",
    "session_id": "lsn-250313a1b2",
    "name": "camera-1",
    "seq": "42",
    "type": "inference.result",
    "data": '{"type": "inference.result", "event_data": {"response": ["a red car"]}}',
    "received_at": "1741843200.123",
}
_LAST = '"last_id": "8", "outage_seconds": 0'

_EXAMPLES: dict[str, list[dict[str, str]]] = {
    "event": [
        _ENTRY,
        {**_ENTRY, "id": "8#1-1f0c33aa", "seq": "43", "event": "result"},
        {**_ENTRY, "id": "5", "seq": "44", "dead_letter": "1741843100000-0"},
    ],
    "gap": [
        {**_ENTRY, "id": "bridge-gap-0f3a5c7e9b1d2468", "type": "bridge.gap", "data": data}
        for data in (
            '{"reason": "state_lost", "last_id": "8", "outage_seconds": 12.5}',
            f'{{"reason": "numbers_lost", {_LAST}, "from_seq": 43, "to_seq": 45}}',
            f'{{"reason": "rewound", {_LAST}, "to": "start", "to_id": null, "again": false}}',
        )
    ],
    "sessionEnded": [
        {
            **_ENTRY,
            "id": "bridge-session.ended-0f3a5c7e9b1d2468",
            "type": "bridge.session.ended",
            "data": '{"reason": "destroyed"}',
        }
    ],
    "deadLetter": [
        {name: value for name, value in _ENTRY.items() if name != "seq"}
        | {
            "type": "",
            "data": '{"type": "inference.result", "x": NaN}',
            "event": "message",
            "reason": "invalid_json",
            "detail": "NaN at byte 33 is no JSON (RFC 8259)",
            "truncated": "0",
        }
    ],
}
"""Of each message what may stand there."""


def asyncapi() -> dict[str, Any]:
    """The document, with the keys that the defaults give."""
    return {
        "asyncapi": SPECIFICATION,
        "info": {
            "title": "Lens Bridge",
            "version": __version__,
            "description": "The events of Archetype AI lens sessions in Redis Streams: each once, in order, none "
            f"missing. {FIELD_MAP} {EVOLUTION}",
        },
        "servers": {
            "redis": {
                "host": "localhost:6379",
                "protocol": "redis",
                "description": "Redis 6.2 or newer, or Valkey: one server, behind Sentinels, or a cluster, in which "
                "all keys of a session stand in one slot. redis.url of the bridge says where; `rediss` there is TLS.",
            }
        },
        "channels": {
            "events": _channel(
                "Events and markers",
                _EVENTS,
                MESSAGES[:3],
                "stream.key is its template; several sessions may share one.",
            ),
            "deadLetters": _channel(
                "Dead letters", keys_beside(_EVENTS, "").dead_letter, MESSAGES[3:], "Capped by stream.max_dead_letters."
            ),
        },
        "operations": {
            "publish": _operation(
                "events", "Append each event of the session, and a marker where there is need of one."
            ),
            "setAside": _operation("deadLetters", "Keep what could not be an entry."),
        },
        "components": {
            "messages": {name: _message(name) for name in MESSAGES},
            "schemas": {name: _moved(one) for name, one in DEFINITIONS.items() if name not in ("entry", *MESSAGES)}
            | {name: _moved(DEFINITIONS[name]) for name in MESSAGES},
        },
    }


def _channel(title: str, key: str, messages: tuple[str, ...], note: str) -> dict[str, Any]:
    """In an address braces are AsyncAPI's own, so those of the key are part of the parameter's value."""
    return {
        "address": key.replace("{<name>}", "{tag}"),
        "title": title,
        "description": f"A Redis stream. {note}",
        "servers": [{"$ref": "#/servers/redis"}],
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "parameters": {
            "tag": {
                "description": "The stable name of the session in braces, which belong to the key: its hash tag.",
                "examples": ["{camera-1}"],
            }
        },
        "x-redis-stream": {
            "key": key,
            "entryId": "Redis's own (`*`): rises within the stream, and is not the message key, which is the field id.",
            "order": "Entries of a session stand in the order in which the lens API sent them.",
            "read": "XREADGROUP GROUP <group> <consumer> COUNT <n> BLOCK <milliseconds> STREAMS <key> >",
            "groups": "Each group is given every entry, and within a group each consumer some of them, at least once: "
            "XACK after the work, and know what came again by id, or by session_id and seq. Create the group with "
            "XGROUP CREATE <key> <group> 0 MKSTREAM; from then on stream.keep_unread leaves it what it has not read.",
        },
    }


def _operation(channel: str, summary: str) -> dict[str, Any]:
    return {"action": "send", "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary}


def _message(name: str) -> dict[str, Any]:
    definition = DEFINITIONS[name]
    return {
        "name": definition["title"],
        "title": definition["title"],
        "summary": definition["description"],
        "payload": {"$ref": f"#/components/schemas/{name}"},
        "examples": [{"payload": payload} for payload in _EXAMPLES[name]],
    }


def _moved(schema: Any) -> Any:
    """The same, where definitions stand among AsyncAPI's components."""
    match schema:
        case {"$ref": str(reference)}:
            return {"$ref": reference.replace("#/$defs/", "#/components/schemas/")}
        case dict():
            return {name: _moved(one) for name, one in schema.items()}
        case list():
            return [_moved(one) for one in schema]
    return schema
