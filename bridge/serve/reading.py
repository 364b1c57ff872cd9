"""What is asked of Redis: pages of a stream, its ends, what comes next. The one place that knows redis-py's errors."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, TypeVar

from redis.exceptions import RedisClusterException, RedisError, ResponseError

from bridge.errors import BridgeError
from bridge.operations.redis_client import Client
from bridge.serve.frames import Entry
from bridge.serve.places import BEGINNING, Bounds, EntryId, parse_id

__all__ = ["ReadFault", "Reads"]

T = TypeVar("T")


class ReadFault(BridgeError):
    """Redis did not answer, or refused. It may answer the next time."""


class Reads:
    """Only reads, by commands that any number of servers may answer. Every method raises ReadFault."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def ping(self) -> None:
        """Whether Redis answers at all."""
        await _asked(self._client.ping())

    async def bounds(self, key: str) -> Bounds:
        """The ends of a stream; of one that there is not yet, those of an empty one."""
        try:
            found: Any = await _asked(self._client.xinfo_stream(key))
        except _NoSuchKey:
            return Bounds(first=None, last=BEGINNING, whole=True)
        first = found["first-entry"]
        return Bounds(
            first=_id(first[0]) if first else None,
            last=_id(found["last-generated-id"]),
            whole=found.get("entries-added") == found["length"],
        )

    async def page(self, key: str, place: EntryId, count: int) -> list[Entry]:
        """Up to so many entries from a place on, the one that stands there included."""
        return _entries(await _asked(self._client.xrange(key, min=str(place), count=count)))

    async def stands(self, key: str, place: EntryId) -> bool:
        """Whether an entry stands at this place."""
        return bool(await _asked(self._client.xrange(key, min=str(place), max=str(place), count=1)))

    async def length(self, key: str) -> int:
        """How many entries a stream has."""
        return int(await _asked(self._client.xlen(key)))

    async def news(self, key: str, place: EntryId, count: int, block_milliseconds: int) -> list[Entry]:
        """Up to so many entries behind a place, as soon as there is one; none where none comes for so long."""
        places: dict[Any, Any] = {key: str(place)}
        reply: Any = await _asked(self._client.xread(places, count=count, block=block_milliseconds))
        if isinstance(reply, dict):  # RESP3: a map of lists of pages
            return [entry for pages in reply.values() for page in pages for entry in _entries(page)]
        return [entry for _, page in reply or () for entry in _entries(page)]


class _NoSuchKey(ReadFault):
    pass


async def _asked(answer: Awaitable[T]) -> T:
    try:
        return await answer
    except ResponseError as error:
        if "no such key" in str(error):
            raise _NoSuchKey(str(error)) from error
        raise ReadFault(str(error)) from error
    except (RedisError, RedisClusterException, OSError) as error:
        raise ReadFault(str(error) or type(error).__name__) from error


def _entries(page: Any) -> list[Entry]:
    return [Entry(_id(name), fields) for name, fields in page if fields is not None]


def _id(raw: bytes) -> EntryId:
    return parse_id(raw.decode())
