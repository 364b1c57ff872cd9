"""The place of a session as its own entries tell it, for when the state beside them is gone. Pure.

Somebody deleted the state, or Redis evicted it. Starting from nothing would publish the server's history a second time
and number it from 1 again; but the last entries hold all that is needed: `seq`, the id to resume after, and what to
recognise a replay by.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bridge.events import Place, Record
from bridge.window import Window, digest_of

__all__ = ["Seed", "seed_from_entries"]

_WITHOUT_ID = re.compile(r"(.*)#([0-9]+)-[0-9a-f]{8}", re.DOTALL)
_REUSED = re.compile(r"(.*)~[0-9a-f]{8}", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """A place to set up where Redis has none, and the blobs of the window that goes with it."""

    place: Place
    window: Sequence[bytes]


def seed_from_entries(entries: Sequence[Mapping[bytes, bytes]]) -> Seed | None:
    """``entries`` are those of one session, oldest first, up to the last one. None where there are none."""
    if not entries:
        return None
    seq = int(entries[-1][b"seq"])
    cursor, ordinal = _cursor_of([entry[b"id"].decode() for entry in entries])
    window = Window(len(entries))
    known = [
        Record(entry[b"id"].decode(), "", entry[b"data"], 0.0, "", digest_of(entry[b"data"]), None, 0)
        for entry in entries
        if not entry[b"id"].startswith(b"bridge-")
    ]
    for record in known:
        window.remember(record.key, record.digest)
    window.committed(known, window.seal(known))
    return Seed(place=Place(cursor=cursor, ordinal=ordinal, seq=seq), window=tuple(window.blobs()))


def _cursor_of(keys: Sequence[str]) -> tuple[str | None, int]:
    for key in reversed(keys):
        if key.startswith("bridge-"):
            continue
        if match := _WITHOUT_ID.fullmatch(key):
            return (None if match[1] == "0" else match[1]), int(match[2])
        match = _REUSED.fullmatch(key)
        return (match[1] if match else key), 0
    return None, 0
