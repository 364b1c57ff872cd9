"""Looks at Redis, the simulated API and the workers a few times a second, and shows it."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from redis.asyncio import Redis

from bridge.lab.demo.lenses import LENSES, TEMPLATE
from bridge.lab.demo.scene import Gauge, Newest, ReaderView, Scene, SessionView, WorkerView
from bridge.lab.demo.screen import Display
from bridge.lab.demo.story import Story
from bridge.lab.demo.workers import DemoReader, DemoWorker, WorkerState
from bridge.lab.service import read_work
from bridge.lab.simulator import SimulatedSession
from bridge.model.keys import session_keys

__all__ = ["Watch"]

LOOK_SECONDS = 0.2
SAID = re.compile(rb'"response": (.{1,80})', re.DOTALL)  # an embedding is too long to be parsed only to be shown


class Watch:
    """Makes scenes. ``seconds``: how long the demo is to last."""

    def __init__(
        self,
        client: Redis,
        simulated: Mapping[str, SimulatedSession],
        workers: Sequence[DemoWorker],
        story: Story,
        *,
        seed: int,
        seconds: float,
    ) -> None:
        self._client = client
        self._simulated = simulated
        self._workers = workers
        self._story = story
        self._seed = seed
        self._seconds = seconds
        self._keys = {lens.name: session_keys(TEMPLATE, lens.session) for lens in LENSES}
        self._readers: Sequence[DemoReader] = ()
        self._database: Path | None = None
        self._gauges = {lens.name: Gauge() for lens in LENSES}

    def readers(self, readers: Sequence[DemoReader], database: Path) -> None:
        """Show these too; ``database`` is where they write."""
        self._readers, self._database = readers, database

    @contextlib.asynccontextmanager
    async def showing(self, display: Display) -> AsyncIterator[None]:
        """Keep a display up to date, and leave the terminal in order whatever happens."""
        task = asyncio.create_task(self._show(display), name="display of the demo")
        try:
            yield
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            display.show_last(await self.scene())
        finally:
            task.cancel()
            display.close()

    async def caught_up(self) -> bool:
        """Everything that was sent is in Redis, and was worked on."""
        scene = await self.scene()
        sent, worked = sum(one.sent for one in scene.sessions), sum(one.worked for one in scene.readers)
        return all(one.sent == one.stored for one in scene.sessions) and (self._database is None or worked >= sent)

    async def scene(self) -> Scene:
        """This moment."""
        newest = await self._look()
        now = self._story.elapsed
        return Scene(
            elapsed=now,
            span_seconds=max(self._seconds, now),
            seed=self._seed,
            sessions=tuple(self._session(name, now, newest[name]) for name in self._gauges),
            workers=tuple(self._worker(one) for one in self._workers),
            happenings=tuple(self._story.happenings),
            readers=await self._members(),
        )

    async def _show(self, display: Display) -> None:
        while True:
            display.show(await self.scene())
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self) -> dict[str, Newest | None]:
        async with self._client.pipeline(transaction=False) as pipeline:
            for keys in self._keys.values():
                pipeline.xrevrange(keys.events, count=1)
            replies = await pipeline.execute()
        found = {}
        for name, reply in zip(self._keys, replies, strict=True):
            fields = reply[0][1] if reply else {}
            self._gauges[name].read(self._story.elapsed, int(fields.get(b"seq", 0)))
            found[name] = _newest(fields) if fields else None
        return found

    def _session(self, name: str, now: float, newest: Newest | None) -> SessionView:
        simulated, gauge = self._simulated[name], self._gauges[name]
        owner = self._story.owners.get(name)
        return SessionView(
            name=name,
            sent=len(simulated.record),
            stored=gauge.stored,
            rate=gauge.rate(now),
            drops=sum(one.ended == "cut" for one in simulated.connections),
            owner=None if owner is None or self._story.down(owner) else owner,
            newest=newest,
            landings=gauge.landings,
        )

    async def _members(self) -> tuple[ReaderView, ...]:
        if self._database is None:
            return ()
        worked = (await asyncio.to_thread(read_work, self._database)).by
        return tuple(
            ReaderView(
                name=one.name,
                state=one.state.value,
                up=one.state is WorkerState.RUNNING,
                pid=one.pid,
                worked=worked.get(one.name, 0),
            )
            for one in self._readers
        )

    def _worker(self, worker: DemoWorker) -> WorkerView:
        return WorkerView(
            name=worker.name,
            state=worker.state.value,
            up=worker.state is WorkerState.RUNNING,
            pid=worker.pid,
            admin_url=worker.admin_url,
            sessions=tuple(self._story.owned_by(worker.name)),
        )


def _newest(fields: Mapping[bytes, bytes]) -> Newest:
    said = SAID.search(fields[b"data"])
    text = (said[1] if said else fields[b"data"][:80]).decode(errors="replace")
    seq, id, type = (fields[name].decode() for name in (b"seq", b"id", b"type"))
    return Newest(seq=f"{int(seq):,}", id=id, type=type, said="".join(c if c.isprintable() else " " for c in text))
