"""A committer against a real Redis, on a way there on which each try of a commit meets the fate that a test names."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from itertools import count
from typing import Any

from redis.asyncio import Redis

from bridge.delivery.filters import Selection
from bridge.delivery.numbers import Numbers
from bridge.delivery.window import Window, digest_of
from bridge.errors import FaultKind, SinkFault
from bridge.masking import Secrets
from bridge.model.keys import SessionKeys, session_keys
from bridge.model.outcomes import CommitResult, HeldBy
from bridge.model.place import Lease, Session
from bridge.model.records import Run
from bridge.session.buffer import Buffer
from bridge.session.committer import Committer
from bridge.session.context import SessionContext
from bridge.store.commits import RedisSink
from bridge.store.leases import Leases
from bridge.store.link import RedisLink
from bridge.telemetry.figures import SessionFigures
from bridge.telemetry.tracing.spans import SessionTracer
from tests.support.pump_rig import quick_settings

__all__ = ["Bench", "Fate", "Unreliable", "read_on", "run_of"]

_names = count()
_REFUSAL = SinkFault(FaultKind.REFUSED, "in words that nobody knows")


class Fate(Enum):
    """What becomes of one try of one commit."""

    LANDS = auto()
    REPLY_LOST = auto()  # and with it the connection: all behind it are not sent, and nobody knows
    REPLY_LOST_BEHIND = auto()  # the same, but what was sent behind it arrives
    NEVER_ARRIVES = auto()
    ARRIVES_LATE = auto()  # when the next try of anything is sent
    REFUSED = auto()  # for good, and nothing is written
    FULL = auto()
    SCRIPT_FORGOTTEN = auto()
    ROLLED_BACK = auto()  # Redis forgets its last commits first
    TAKEN_OVER = auto()  # another worker takes the session first


class Unreliable(RedisSink):
    """The real sink on a way to Redis that does what the test says, in the order in which it is asked."""

    def __init__(self, rig: Bench, fates: deque[Fate]) -> None:
        super().__init__(rig.link, rig.keys, rig.session, rig.settings.stream, traced=rig.spans is not None)
        self._rig, self._fates = rig, fates
        self._turn = asyncio.Lock()
        self._down_for = 0  # so many tries from now are of the connection that has just been lost
        self._they_arrive = False
        self._posted = 0
        self.most_under_way = 0

    def post(self, packed: bytes, hear: Callable[[asyncio.Future[object]], None]) -> asyncio.Future[object]:
        """What is posted while nothing has failed is of one connection."""
        self._posted += 1
        self.most_under_way = max(self.most_under_way, self._posted)
        task: asyncio.Future[Any] = asyncio.ensure_future(self._try(packed, posted=True))
        task.add_done_callback(self._answered)
        task.add_done_callback(hear)
        return task

    def _answered(self, _: object) -> None:
        self._posted -= 1

    def read(self, reply: object) -> CommitResult:
        """It is read already."""
        assert not isinstance(reply, SinkFault)
        return reply  # type: ignore[return-value]

    async def commit(self, packed: bytes) -> CommitResult:
        """One by one."""
        return await self._try(packed, posted=False)

    async def _try(self, packed: bytes, *, posted: bool) -> CommitResult:
        async with self._turn:
            if posted and self._down_for:
                self._down_for -= 1
                if self._they_arrive:
                    await super().commit(packed)
                raise SinkFault(FaultKind.UNREACHABLE, "the connection is lost")
            fate = self._fates.popleft() if self._fates else Fate.LANDS
            if posted and fate not in (Fate.LANDS, Fate.REFUSED, Fate.FULL, Fate.ROLLED_BACK, Fate.TAKEN_OVER):
                self._down_for = self._posted - 1
                self._they_arrive = fate is Fate.REPLY_LOST_BEHIND
            for late in self._rig.late:
                await super().commit(late)
            self._rig.late.clear()
            await self._rig.save()
            return await self._meet(fate, packed)

    async def _meet(self, fate: Fate, packed: bytes) -> CommitResult:
        match fate:
            case Fate.REFUSED:
                raise _REFUSAL
            case Fate.FULL:
                raise SinkFault(FaultKind.OUT_OF_MEMORY, "it is full")
            case Fate.SCRIPT_FORGOTTEN:
                raise SinkFault(FaultKind.NO_SCRIPT, "flushed")
            case Fate.NEVER_ARRIVES:
                raise SinkFault(FaultKind.TIMEOUT, "who knows")
            case Fate.ARRIVES_LATE:
                self._rig.late.append(packed)
                raise SinkFault(FaultKind.TIMEOUT, "who knows")
            case Fate.ROLLED_BACK:
                await self._rig.roll_back()
            case Fate.TAKEN_OVER:
                await self._rig.lease()
        result = await super().commit(packed)
        if fate in (Fate.REPLY_LOST, Fate.REPLY_LOST_BEHIND):
            raise SinkFault(FaultKind.TIMEOUT, "who knows")
        return result


class Bench:
    """One session without a source: what would be read is put into the buffer by the test."""

    def __init__(self, url: str, redis: Redis) -> None:
        session = Session(name=f"committer-{next(_names)}", session_id="lsn-1")
        self.session, self.redis = session, redis
        self.keys: SessionKeys = session_keys("lens:{<name>}:events", session)
        self.settings = quick_settings(
            "http://127.0.0.1:9", url, commit={"in_flight": 3}, redis={"backoff_max_seconds": 0.002}
        )
        self.link = RedisLink(self.settings.redis, Secrets())
        self.leases = Leases(self.link, "w", 30)
        self.figures = SessionFigures(session, self.keys.events)
        self.numbers = Numbers()
        self.late: list[bytes] = []
        self.snapshots: list[dict[str, bytes]] = []
        self.spans: SessionTracer | None = None

    def _names(self) -> list[str]:
        return [self.keys.events, self.keys.state, self.keys.seen, self.keys.dead_letter]

    async def save(self) -> None:
        """What a replica would know now."""
        found = {name: await self.redis.dump(name) for name in self._names()}
        self.snapshots.append({name: bytes(value) for name, value in found.items() if value is not None})

    async def roll_back(self) -> None:
        """By up to three commits."""
        await self.redis.delete(*self._names())
        for name, value in self.snapshots[-3:][0].items():
            await self.redis.restore(name, 0, value)

    async def lease(self) -> Lease:
        """A new token, whoever holds the old one."""
        await self.redis.delete(self.keys.lease)
        lease = await self.leases.acquire(self.keys)
        if isinstance(lease, HeldBy):
            lease = await self.leases.acquire(self.keys, overdue=lease.beat)
        assert isinstance(lease, Lease)
        return lease

    def committer(self, lease: Lease, sink: RedisSink) -> tuple[Committer, Buffer, Window]:
        """As the pump makes it, without the reader."""
        buffer = Buffer(max_events=10_000, max_bytes=1 << 30)
        window = Window(50, lease.window)
        context = SessionContext(
            session=self.session,
            lease=lease,
            source=None,  # type: ignore[arg-type]  # nothing is read
            sink=sink,
            figures=self.figures,
            settings=self.settings,
            numbers=self.numbers,
            sent_keys=Secrets(),
            spans=self.spans,
            selection=Selection(),
        )
        return Committer(context, window, buffer), buffer, window

    async def entries(self, key: str) -> list[dict[str, str]]:
        """What stands in a stream."""
        found: Any = await self.redis.xrange(key)
        return [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in found]

    async def aclose(self) -> None:
        """Leave nothing behind."""
        await self.link.aclose()
        await self.redis.delete(*self._names(), self.keys.lease)


def run_of(first: int, events: int) -> Run:
    """So many events of the source, which has 1, 2, 3, …"""
    ids = [str(n) for n in range(first, first + events)]
    datas = [b'{"type":"t","n":%s}' % id.encode() for id in ids]
    return Run.of(ids, ["t"] * events, datas, [digest_of(data) for data in datas], 1.0)


async def read_on(bench: Bench, sizes: list[int], sink: Unreliable, last: int) -> Any:
    """Take the lease and commit from its place on, in runs of these sizes, until all is, or the place is lost."""
    lease = await bench.lease()
    committer, buffer, window = bench.committer(lease, sink)
    running = asyncio.ensure_future(committer.run())
    at = int(lease.place.cursor or 0) + 1
    for size in sizes:
        size = min(size, last + 1 - at)
        if size <= 0:
            break
        run = run_of(at, size)
        window.remember_all(dict(zip(run.keys, run.digests, strict=True)))
        buffer.put([run])
        at += size
        await asyncio.sleep(0)
    if last + 1 > at:
        rest = run_of(at, last + 1 - at)
        window.remember_all(dict(zip(rest.keys, rest.digests, strict=True)))
        buffer.put([rest])
    buffer.close()
    async with asyncio.timeout(60):
        outcome = await running
    if outcome is None:
        assert committer.place.cursor == str(last)
        assert committer.in_flight == 0
    return outcome
