"""Dead letters as a person sees them: read in pages, judged anew, removed. To publish them see `replays`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from redis.asyncio import RedisCluster
from redis.exceptions import RedisClusterException, RedisError

from bridge.delivery.envelopes import CONTROL_TYPES, NotAnEnvelope, type_of
from bridge.delivery.markers import escaped
from bridge.errors import BridgeError
from bridge.operations.redis_client import Client

__all__ = ["Choice", "Letter", "LetterStream", "Wish", "chosen", "find", "newest", "now_ms", "purge", "read", "wish_of"]

PAGE_LETTERS = 50  # a read: 3 MiB where each is as large as the default lets it be
REMOVED_AT_ONCE = 500  # entries of one XDEL

Position = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterStream:
    """A dead-letter stream, and what is known of those who write there.

    ``names`` and ``events``: the name and the stream of events of each configured session, by its id. ``others``: the
    one stream of events of all the rest, where there is but one that belongs to these dead letters. ``routes``: globs
    on types with the streams that such events of a session go to instead, as `SessionKeys` has them.
    """

    key: str
    names: Mapping[str, str] = field(default_factory=dict)
    events: Mapping[str, str] = field(default_factory=dict)
    others: str | None = None
    routes: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One dead letter. ``entry`` is its id in the stream ``stream``; ``id`` the key that it would have had as an event.

    ``received_at`` is Unix seconds as text, ``size_bytes`` that of the data kept; ``name`` is the session's, or its id.
    """

    stream: str
    entry: str
    name: str
    session_id: str
    id: str
    type: str
    reason: str
    detail: str
    event: str
    received_at: str
    truncated: bool
    size_bytes: int
    data: bytes = b""

    @property
    def position(self) -> Position:
        """Milliseconds of Redis's clock when it was written, and which of them it is."""
        return _position(self.entry)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which letters: those of all conditions that are given. An empty one leaves it open.

    ``sessions``: names or ids; ``before``, ``until``: entries below this id, letters written up to then.
    """

    entries: Collection[str] = ()
    reasons: Collection[str] = ()
    sessions: Collection[str] = ()
    before: str | None = None
    until_ms: int | None = None

    def takes(self, letter: Letter) -> bool:
        """Whether it is one of them."""
        return (
            (not self.entries or letter.entry in self.entries)
            and (not self.reasons or letter.reason in self.reasons)
            and (not self.sessions or letter.session_id in self.sessions or letter.name in self.sessions)
            and (self.until_ms is None or letter.position[0] <= self.until_ms)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A letter that can be published, and as what: its ``key`` and ``type``. ``entry`` is its id in ``stream``."""

    stream: str
    entry: str
    session_id: str
    key: str
    type: str
    size_bytes: int

    @property
    def position(self) -> Position:
        """Where it stands in its stream."""
        return _position(self.entry)


def wish_of(letter: Letter) -> Wish | str:
    """What to ask for so that it is published; or why it can't be, in words for a person."""
    if not letter.id or not letter.session_id:
        return "it has no id or no session_id, so the bridge did not write it"
    if letter.truncated:
        return f"its data was cut to {letter.size_bytes} bytes when it was set aside, and nobody has the rest"
    found = type_of(letter.data)
    if isinstance(found, NotAnEnvelope):
        return f"it is still no event: {found.reason.value}: {found.detail}"
    if found in CONTROL_TYPES:
        return f"{found} is about a connection, and no event"
    return Wish(
        stream=letter.stream,
        entry=letter.entry,
        session_id=letter.session_id,
        key=escaped(letter.id, found),
        type=found,
        size_bytes=letter.size_bytes,
    )


async def read(client: Client, stream: LetterStream, choice: Choice) -> AsyncIterator[Letter]:
    """The chosen letters of a stream, newest first, page by page. Raises BridgeError."""
    if choice.entries:
        for entry in sorted(set(choice.entries), key=_position, reverse=True):
            for letter in await _page(client, stream, entry, entry):
                if choice.takes(letter):
                    yield letter
        return
    high = f"({choice.before}" if choice.before else "+"
    while True:
        page = await _page(client, stream, high, "-")
        for letter in page:
            if choice.takes(letter):
                yield letter
        if len(page) < PAGE_LETTERS:
            return
        high = f"({page[-1].entry}"


async def chosen(client: Client, stream: LetterStream, choice: Choice) -> list[Letter]:
    """All chosen letters of a stream, without their data. Raises BridgeError."""
    return [replace(letter, data=b"") async for letter in read(client, stream, choice)]


async def newest(
    client: Client, streams: Sequence[LetterStream], choice: Choice, limit: int
) -> tuple[list[Letter], bool]:
    """About ``limit`` of the chosen letters of all streams, newest first, without their data; and whether more follow.

    All that have the last one's entry id are there, so that whoever goes on below it misses none. Raises BridgeError.
    """
    found: list[Letter] = []
    for stream in streams:
        taken = 0
        async for letter in read(client, stream, choice):
            found.append(replace(letter, data=b""))
            taken += 1
            if taken > limit:
                break
    found.sort(key=lambda letter: letter.position, reverse=True)
    cut = limit
    while cut < len(found) and found[cut].entry == found[limit - 1].entry:
        cut += 1
    return found[:cut], len(found) > cut


async def find(client: Client, streams: Sequence[LetterStream], entry: str) -> list[Letter]:
    """The letters with this entry id: one, or one of each of several streams. Raises BridgeError."""
    choice = Choice(entries=(entry,))
    return [letter for stream in streams async for letter in read(client, stream, choice)]


async def purge(client: Client, letters: Sequence[Letter]) -> int:
    """Remove these; tells how many were still there. Raises BridgeError."""
    by_stream: dict[str, list[str]] = {}
    for letter in letters:
        by_stream.setdefault(letter.stream, []).append(letter.entry)
    removed = 0
    for key, entries in by_stream.items():
        for at in range(0, len(entries), REMOVED_AT_ONCE):
            removed += int(await _asked(key, client.xdel, key, *entries[at : at + REMOVED_AT_ONCE]))
    return removed


async def now_ms(client: Client, key: str) -> int:
    """The time by the clock of the server that has this key: it dated the letters. Milliseconds; raises BridgeError."""
    if isinstance(client, RedisCluster):
        told: Any = await _asked(key, client.time, target_nodes=client.get_node_from_key(key))
    else:
        told = await _asked(key, client.time)
    return int(told[0]) * 1000 + int(told[1]) // 1000


async def _page(client: Client, stream: LetterStream, high: str, low: str) -> list[Letter]:
    found: Any = await _asked(stream.key, client.xrevrange, stream.key, high, low, count=PAGE_LETTERS)
    return [_letter(stream, entry, fields) for entry, fields in found]


async def _asked(key: str, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    try:
        return await call(*arguments, **options)
    except (RedisError, RedisClusterException, OSError) as error:
        raise BridgeError(f"{key}: Redis does not do it: {error or type(error).__name__}") from error


def _letter(stream: LetterStream, entry: bytes, fields: dict[bytes, bytes]) -> Letter:
    told = {name: value.decode(errors="backslashreplace") for name, value in fields.items() if name != b"data"}
    data, session_id = fields.get(b"data", b""), told.get(b"session_id", "")
    return Letter(
        stream=stream.key,
        entry=entry.decode(),
        name=stream.names.get(session_id) or told.get(b"name") or session_id,
        session_id=session_id,
        id=told.get(b"id", ""),
        type=told.get(b"type", ""),
        reason=told.get(b"reason", ""),
        detail=told.get(b"detail", ""),
        event=told.get(b"event", ""),
        received_at=told.get(b"received_at", ""),
        truncated=told.get(b"truncated", "0") != "0",
        size_bytes=len(data),
        data=data,
    )


def _position(entry: str) -> Position:
    milliseconds, _, number = entry.partition("-")
    return int(milliseconds), int(number or 0)
