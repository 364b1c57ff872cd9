"""A consumer that follows every stream all the time, and remembers which number each event had."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from bridge.lab.simulator import SimulatedSession
from tests.support.worker_rig import keys_of

__all__ = ["Follower", "Seen"]

POLL_SECONDS = 0.2


@dataclass
class Seen:
    """What was read of one session, also what Redis has forgotten since."""

    number_of: dict[str, str] = field(default_factory=dict)
    event_of: dict[str, str] = field(default_factory=dict)
    again: int = 0  # events that came a second time, after a rollback
    markers: Counter[str] = field(default_factory=Counter)
    last_at: float = field(default_factory=time.monotonic)
    longest_silence_seconds: float = 0.0
    letters: set[str] = field(default_factory=set)  # numbers that dead letters were published under
    violations: list[str] = field(default_factory=list)

    def take(self, id: str, seq: str, type: str, *, was_letter: bool = False) -> None:
        """One entry, in the order of the stream.

        A dead letter that was published may be one again after a rollback, and gets another number then.
        """
        if was_letter:
            self.number_of.pop(id, None)
            self.letters.add(seq)
        if type.startswith("bridge.") and id.startswith("bridge-"):
            self.markers[type] += 1
            return
        now = time.monotonic()
        self.longest_silence_seconds = max(self.longest_silence_seconds, now - self.last_at)
        self.last_at = now
        if self.number_of.setdefault(id, seq) != seq:
            self.violations.append(f"{id} had the number {self.number_of[id]}, and now {seq}")
        elif self.event_of.setdefault(seq, id) != id and seq not in self.letters:
            self.violations.append(f"number {seq} was {self.event_of[seq]}, and now {id}")
        else:
            return
        self.number_of[id], self.event_of[seq] = seq, id


class Follower:
    """Polls with XRANGE from a place of its own, and begins anew where Redis has gone back behind it."""

    def __init__(self, client: Redis, sessions: Mapping[str, SimulatedSession]) -> None:
        self.seen: defaultdict[str, Seen] = defaultdict(Seen)
        self._client = client
        self._sessions = sessions  # more of them may come
        self._after: defaultdict[str, str] = defaultdict(lambda: "0-0")

    async def run(self) -> None:
        """Until it is cancelled. A Redis that is away is waited for."""
        while True:
            for name, session in list(self._sessions.items()):
                try:
                    await self._follow(name, keys_of(session).events)
                except (RedisError, OSError):
                    await asyncio.sleep(POLL_SECONDS)
            await asyncio.sleep(POLL_SECONDS)

    async def _follow(self, name: str, key: str) -> None:
        last: Any = await self._client.xrevrange(key, count=1)
        newest = last[0][0].decode() if last else "0-0"
        if _order(newest) < _order(self._after[name]):
            self._after[name] = "0-0"  # rolled back: read it all again, what stands there has its old number
        while page := await self._page(key, self._after[name]):
            for entry_id, fields in page:
                seen, id, seq = self.seen[name], fields[b"id"].decode(), fields[b"seq"].decode()
                seen.again += seen.number_of.get(id) == seq
                seen.take(id, seq, fields[b"type"].decode(), was_letter=b"dead_letter" in fields)
                self._after[name] = entry_id.decode()

    async def _page(self, key: str, after: str) -> Any:
        return await self._client.xrange(key, f"({after}", count=500)


def _order(entry_id: str) -> tuple[int, ...]:
    return tuple(map(int, entry_id.split("-")))
