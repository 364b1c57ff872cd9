"""`lens-bridge tail`: follows streams as entries land, over every outage of Redis that happens meanwhile."""

from __future__ import annotations

import asyncio
import heapq
import json
import unicodedata
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from redis.asyncio import RedisCluster
from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    ClusterError,
    ConnectionError,
    MovedError,
    ReadOnlyError,
    RedisError,
    SlotNotCoveredError,
    TimeoutError,
    TryAgainError,
)

from bridge.errors import BridgeError
from bridge.model.keys import hash_tag
from bridge.operations.redis_client import Client

__all__ = ["Landed", "TailError", "follow", "json_line", "nothing_stands_at", "printable", "text_line"]

BLOCK_MILLISECONDS = 1000  # well under every socket time-out: a quiet stream must not look like a dead server
PAGE_ENTRIES = 200  # of each stream in one reply
POLL_SECONDS = 0.1  # between two looks at streams on several nodes
RETRY_SECONDS = 0.5
BEGINNING = b"0-0"


_PASSING = (
    *(ConnectionError, TimeoutError, BusyLoadingError, ReadOnlyError, OSError),
    *(ClusterError, ClusterDownError, MovedError, AskError, TryAgainError, SlotNotCoveredError),
)


class TailError(BridgeError):
    """Redis refuses to let these keys be read; waiting would not help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Landed:
    """One entry of a stream, as it stands there."""

    stream_key: str
    entry: str
    fields: Mapping[bytes, bytes]

    def text(self, name: str) -> str:
        """A field as text, empty where it is missing."""
        return _text(self.fields.get(name.encode(), b""))


async def follow(
    client: Client,
    stream_keys: Sequence[str],
    *,
    from_start: bool = False,
    on_change: Callable[[str | None], None] = lambda error: None,
) -> AsyncIterator[Landed]:
    """Entries of all streams in the order of their ids, from now on or from the oldest. Never ends by itself.

    The place in each stream is known at any time, so nothing is lost while Redis is away. ``on_change`` hears once
    why Redis cannot be read, and None when it can again. Raises TailError where a person has to mend something.
    """
    reader = _Reader(client, stream_keys, from_start=from_start)
    away = False
    while True:
        try:
            page = await reader.page()
        except _PASSING as error:
            if isinstance(error, AuthenticationError | AuthorizationError):
                raise TailError(f"Redis refuses the credentials: {error}") from error
            if not away:
                on_change(str(error) or type(error).__name__)
            away = True
            await asyncio.sleep(RETRY_SECONDS)
            continue
        except RedisError as error:
            raise TailError(f"cannot read {', '.join(stream_keys)}: {error}") from error
        if away:
            away = False
            on_change(None)
        for landed in page:
            yield landed


async def nothing_stands_at(client: Client, stream_keys: Sequence[str]) -> bool:
    """None of the streams is there; False where Redis does not say so, which `follow` then tells of."""
    try:
        return not any([await client.exists(key) for key in stream_keys])
    except (RedisError, *_PASSING):
        return False


def text_line(landed: Landed, *, columns: int | None = None, labels: Mapping[str, str] | None = None) -> str:
    """One line for a person: time, session, seq, id, type, data; no wider than ``columns`` of a terminal.

    ``labels`` are names to show for stream keys; an entry of another stream shows its own name, else the key, and one
    whose label begins with a slash both. Control characters are escaped: all of it comes from outside.
    """
    at = datetime.fromtimestamp(int(landed.entry.partition("-")[0]) / 1000).astimezone()
    label = (labels or {}).get(landed.stream_key, "")
    if not label or label.startswith("/"):
        label = (landed.text("name") or landed.stream_key) + label
    words = [at.strftime("%H:%M:%S.") + f"{at.microsecond // 1000:03}", label]
    reason = landed.text("reason")  # of a dead letter, which has no seq and seldom a type
    kind = f"{reason}: {landed.text('detail')}" if reason else landed.text("type")
    words += [landed.text("seq"), landed.text("id"), kind, landed.text("data")]
    if columns is None:
        return printable("  ".join(words))
    # Cut first, so that an event of megabytes costs no more than a line; then once more, since escapes are longer.
    return _cut(printable("  ".join(word[: columns + 1] for word in words)), columns)


def json_line(landed: Landed) -> str:
    """One line for a program: an object with the stream's key, the entry's id and its fields. Pure ASCII."""
    fields = {_text(name): _text(value) for name, value in landed.fields.items()}
    return json.dumps({"stream": landed.stream_key, "entry": landed.entry, **fields})


_Moment = tuple[int, int, int]


class _Reader:
    """The place in each stream."""

    def __init__(self, client: Client, stream_keys: Sequence[str], *, from_start: bool) -> None:
        self._client = client
        self._groups: list[list[str]] = [list(dict.fromkeys(stream_keys))]
        if isinstance(client, RedisCluster):  # which reads only those together that stand in one slot
            by_tag: dict[str, list[str]] = {}
            for key in self._groups[0]:
                by_tag.setdefault(hash_tag(key), []).append(key)
            self._groups = list(by_tag.values())
        self._unplaced = [] if from_start else list(dict.fromkeys(stream_keys))
        self._places: dict[Any, Any] = dict.fromkeys(stream_keys, BEGINNING)

    async def page(self) -> list[Landed]:
        """What landed since the last page, maybe nothing."""
        while self._unplaced:
            # `$` would be asked anew at each call, and lose what lands between two of them.
            last: Any = await self._client.xrevrange(self._unplaced[-1], count=1)
            self._places[self._unplaced.pop()] = last[0][0] if last else BEGINNING
        replies = await asyncio.gather(*map(self._read, self._groups))
        pages = [(_text(name), entries) for reply in replies for name, entries in _by_stream(reply)]
        if not pages and len(self._groups) > 1:
            await asyncio.sleep(POLL_SECONDS)
        # A full page may go on: what other streams hold beyond its end waits, so that the order of time is kept.
        full = [(_moment(*entries[-1]), key) for key, entries in pages if len(entries) == PAGE_ENTRIES]
        horizon, fullest = min(full) if full else (None, "")
        found: list[list[tuple[_Moment, Landed]]] = []
        for key, entries in pages:
            found.append([])
            for entry, fields in entries:
                moment = _moment(entry, fields)
                if horizon is not None and moment > horizon and key != fullest:
                    break
                self._places[key] = entry
                found[-1].append((moment, Landed(stream_key=key, entry=_text(entry), fields=fields)))
        return [landed for _, landed in heapq.merge(*found, key=lambda one: one[0])]

    async def _read(self, group: Sequence[str]) -> Any:
        # To block for several at once would hold up what lands in one until the others have spoken.
        block = BLOCK_MILLISECONDS if len(self._groups) == 1 else None
        return await self._client.xread({key: self._places[key] for key in group}, count=PAGE_ENTRIES, block=block)


def _moment(entry: bytes, fields: Mapping[bytes, bytes]) -> _Moment:
    """When it was written. Streams that one commit writes to give ids of their own within a millisecond, so there the
    numbers tell the order of a session's entries."""
    milliseconds, _, number = entry.partition(b"-")
    seq = fields.get(b"seq", b"")
    return int(milliseconds), int(seq) if seq.isdigit() and len(seq) < 17 else 0, int(number)


def _by_stream(reply: Any) -> list[tuple[bytes, Any]]:
    """The reply of XREAD: a list of pairs in RESP2, a map of lists of pages in RESP3."""
    if isinstance(reply, dict):
        return [(name, [entry for page in pages for entry in page]) for name, pages in reply.items()]
    return [(name, entries) for name, entries in reply or ()]


def _text(raw: bytes) -> str:
    return raw.decode(errors="backslashreplace")


def printable(text: str) -> str:
    """With escapes for what a terminal would obey."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _cut(text: str, columns: int) -> str:
    width = 0
    for at, character in enumerate(text):
        width += 2 if unicodedata.east_asian_width(character) in "WF" else 0 if unicodedata.combining(character) else 1
        if width > columns:
            return text[:at]
    return text
