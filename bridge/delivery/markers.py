"""Entries that the bridge itself writes between the events of a session. Pure.

A marker is told by its type, which begins ``bridge.``, and its key, which begins ``bridge-``, both together. It takes
no number: its ``seq`` is that of the event before it, so that one more or less after a rollback moves no number.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping

from bridge.model.records import Record

__all__ = ["REWOUND", "escaped", "is_marker", "marker", "may_need_escape", "unescaped"]

REWOUND = "rewound"
"""The reason of a gap that a person made by moving a session's place. `to_id` is where it stands from there on (None at
the start), and `again` tells that events which stood in the stream before may stand there once more behind it."""

_TYPE, _KEY, _ESCAPE = "bridge.", "bridge-", "server-"


def marker(kind: str, detail: Mapping[str, object], *, at: float, cursor: str | None, ordinal: int) -> Record:
    """A marker record, written at ``at`` (Unix seconds) behind the place ``cursor``, ``ordinal``."""
    data = json.dumps(detail, ensure_ascii=False).encode()
    key = f"{_KEY}{kind}-{uuid.uuid4().hex[:16]}"
    return Record(key, _TYPE + kind, data, at, "message", b"", cursor, ordinal, skip=0)


def is_marker(key: str, type: str) -> bool:
    """Whether an entry is one of the bridge's own."""
    return key.startswith(_KEY) and type.startswith(_TYPE)


def escaped(key: str, type: str) -> str:
    """The key under which an event is published: its own, but where it would make the event pass for a marker."""
    return _ESCAPE + key if is_marker(key, type) else key


def may_need_escape(keys: Iterable[str], types: Iterable[str]) -> bool:
    """Whether any of these keys could have to be escaped with any of these types."""
    return any(type.startswith(_TYPE) for type in types) and any(key.startswith(_KEY) for key in keys)


def unescaped(key: str, type: str) -> str:
    """The key that the server gave, of an entry that is no marker."""
    given = key.removeprefix(_ESCAPE)
    return given if is_marker(given, type) else key
