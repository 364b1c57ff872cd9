"""A session that only commits, and what its consumer groups have left unread: told by listing, without the script."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import redis as sync_redis

from bridge.delivery.window import Window, digest_of
from bridge.model.keys import SessionKeys
from bridge.model.labels import Phase
from bridge.model.outcomes import Committed
from bridge.model.place import START, Place, Session
from bridge.model.records import Record
from bridge.settings import StreamSettings
from bridge.store.commits import RedisSink
from bridge.store.link import RedisLink

__all__ = ["TOKEN", "Line", "unread"]

TOKEN = "7-abcdef"

Id = tuple[int, int]


@dataclass
class Line:
    """Commits events 1, 2, 3, … under `TOKEN`, which must stand in the session's state."""

    link: RedisLink
    keys: SessionKeys
    settings: StreamSettings
    place: Place = START

    async def commit(self, events: int = 1) -> Committed:
        """The next so many events, in one commit that must land."""
        first = self.place.seq + 1
        batch = [
            Record(f"e{n}", "t", b'{"type":"t"}', 100.5, "message", digest_of(b"%d" % n), f"e{n}", 0)
            for n in range(first, first + events)
        ]
        commits = self.place.commits + 1
        after = self.place._replace(cursor=batch[-1].key, commits=commits, mark=f"m{commits}")
        sink = RedisSink(self.link, self.keys, Session(name="line-1", session_id="lsn-1"), self.settings)
        packed = sink.pack(TOKEN, self.place, after, batch, Window(10).seal(batch), Phase.ACTIVE)
        result = await sink.commit(packed)
        assert isinstance(result, Committed)
        self.place = after._replace(seq=result.seq)
        return result


def unread(client: sync_redis.Redis, key: str) -> set[Id]:
    """The ids of entries that some group has not read, or has not acknowledged."""
    client_: Any = client  # redis-py's types know every reply that could be
    entries = [_id(one) for one, _ in client_.xrange(key)]
    found: set[Id] = set()
    for group in client_.xinfo_groups(key) if entries else []:
        delivered = _id(group["last-delivered-id"])
        pending = {_id(one["message_id"]) for one in client_.xpending_range(key, group["name"], "-", "+", 100_000)}
        found |= {one for one in entries if one > delivered or one in pending}
    return found


def _id(text: bytes) -> Id:
    ms, _, count = text.partition(b"-")
    return int(ms), int(count)
