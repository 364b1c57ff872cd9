"""Reads streams page by page, several about in the order in which they were written; and what a simulator has sent."""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

import aiohttp

from bridge.verify.entries import CONTROL_TYPES, position
from bridge.verify.record import Filter, Sent
from bridge.verify.report import VerifyError

__all__ = ["Raw", "entries_of", "first_of", "served", "was_trimmed"]

RECORD_TIMEOUT_SECONDS = 60
RECORD_PAGE_EVENTS = 20_000
PAGE_ENTRIES = 500  # entries a read: 100 MB where each holds an embedding of 200 KB


class Raw(NamedTuple):
    """An entry as it is: its stream, its id, its names and values in turn."""

    stream: str
    entry: bytes
    fields: list[bytes]


async def entries_of(
    client: Any, ends: Mapping[str, bytes | None], after: Mapping[str, bytes | None] | None = None
) -> AsyncIterator[Raw]:
    """All entries of each stream after that in ``after``, up to that in ``ends``; by time where there are several."""
    readers = [_entries(client, key, end, after.get(key) if after else None) for key, end in ends.items()]
    if len(readers) == 1:
        async for raw in readers[0]:
            yield raw
        return
    heads: list[tuple[tuple[int, int], int, Raw]] = []
    for at, reader in enumerate(readers):
        async for raw in reader:
            heads.append((position(raw.entry.decode()), at, raw))
            break
    heapq.heapify(heads)
    while heads:
        _, at, raw = heads[0]
        yield raw
        heapq.heappop(heads)
        async for following in readers[at]:
            heapq.heappush(heads, (position(following.entry.decode()), at, following))
            break


async def _entries(client: Any, key: str, end: bytes | None, after: bytes | None) -> AsyncIterator[Raw]:
    while end is not None and after != end:
        low = b"-" if after is None else b"(" + after
        page: Any = await client.xrange(key, low, end, count=PAGE_ENTRIES)
        for entry, fields in page:
            yield Raw(key, entry, fields)
        if len(page) < PAGE_ENTRIES:
            return
        after = page[-1][0]


async def first_of(client: Any, key: str) -> bytes | None:
    """The id of the oldest entry."""
    found: Any = await client.xrange(key, count=1)
    return found[0][0] if found else None


async def was_trimmed(client: Any, key: str) -> bool:
    """Whether the oldest entries may be gone. Before Redis 7.0 no stream tells, so any may have been trimmed."""
    if not await client.exists(key):
        return False
    told: Any = await client.xinfo_stream(key)
    return "entries-added" not in told or int(told["entries-added"]) > int(told["length"])


async def served(simulator_url: str, session_id: str, filter: Filter) -> list[Sent]:
    """What the simulator says it has sent. Raises VerifyError."""
    url = f"{simulator_url.rstrip('/')}/control/sessions/{session_id}/record"
    timeout = aiohttp.ClientTimeout(total=RECORD_TIMEOUT_SECONDS)
    events: list[Any] = []
    try:
        async with aiohttp.ClientSession(timeout=timeout) as http:
            more = True
            while more:
                page = {"offset": len(events), "limit": RECORD_PAGE_EVENTS}
                async with http.get(url, params=page) as response:
                    response.raise_for_status()
                    told = await response.json()
                events += told["events"]
                more = bool(told["events"]) and len(events) < told["count"]
        sent = (one for one in events if one["type"] not in CONTROL_TYPES)
        return [Sent(one["id"], one["sha256"], filter.drops(one["type"])) for one in sent]
    except (aiohttp.ClientError, TimeoutError, ValueError, TypeError, KeyError) as error:
        raise VerifyError(f"{url}: no record to be had: {error or type(error).__name__}") from error
