"""The sessions that a worker has to do with now: one holder for each, made and let go as the roster says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator

import structlog

from bridge.model.place import Session
from bridge.worker.holder import SessionHolder
from bridge.worker.roster import Change

__all__ = ["Holders"]

log = structlog.get_logger()

_TOLD_ONE_BY_ONE = 20  # of more there is one line in the log


class Holders:
    """Iterates over the holders of what is to be read. ``make`` makes one, and ``forget`` hears of each that has gone.

    One that is let go commits its tail and releases; until then it stays in ``everyone``, and whoever comes in its
    place, under the same name or into the same place, waits for it.
    """

    def __init__(
        self, make: Callable[[Session], SessionHolder], forget: Callable[[SessionHolder], None] = lambda holder: None
    ) -> None:
        self.changed = asyncio.Event()  # set whenever a holder was made or let go; cleared by who has looked
        self._make = make
        self._forget = forget
        self._present: dict[str, SessionHolder] = {}
        self._by_fingerprint: dict[bytes, SessionHolder] = {}
        self._leaving: dict[asyncio.Task[None], SessionHolder] = {}
        self._waiting: dict[str, Session] = {}
        self._paused: Collection[str] = ()
        self._closed = False
        self.known = False  # what people say of them was heard, so that nothing paused is taken

    def __iter__(self) -> Iterator[SessionHolder]:
        return iter(tuple(self._present.values()))

    def __len__(self) -> int:
        return len(self._present)

    @property
    def everyone(self) -> list[SessionHolder]:
        """Those that are on their way out too."""
        return [*self._present.values(), *self._leaving.values()]

    def named(self, name: str) -> SessionHolder | None:
        """The holder of the session of that name, if there is one."""
        return self._present.get(name)

    def find(self, fingerprint: bytes) -> SessionHolder | None:
        """The holder of the session that this stands for, if there is one."""
        return self._by_fingerprint.get(fingerprint)

    def follow(self, change: Change) -> None:
        """Do what a change of the roster asks for, and touch no other session."""
        if self._closed:
            return
        for session in change.disappeared:
            if self._waiting.pop(session.name, None) is None:
                self._let_go(self._present.pop(session.name))
        for session in change.appeared:
            self._waiting[session.name] = session
        self._admit()
        self.changed.set()
        if self.known:
            _tell(change)

    def pause(self, names: Collection[str]) -> None:
        """From now on these are paused, and no other."""
        self._paused = names
        changed = [holder for holder in self if holder.paused is not (holder.session.name in names)]
        for holder in changed:
            log.info("session.paused" if not holder.paused else "session.resumed", session=holder.session.name)
            holder.pause(not holder.paused)
        if changed:
            self.changed.set()

    def informed(self) -> None:
        """All that people have said up to now was passed on."""
        if not self.known:
            self.known = True
            self.changed.set()

    def doubt(self) -> None:
        """Redis was connected to anew: it may have forgotten the ends of sessions that are over."""
        for holder in self:
            holder.end.doubt()

    async def look_back(self) -> None:
        """Ask it, where that is in doubt."""
        await asyncio.gather(*(holder.look_back() for holder in self if holder.end.doubted))

    def close(self) -> None:
        """Follow no more: the worker stops, and all of them are let go by whoever stops it."""
        self._closed = True
        self._waiting.clear()

    def check(self) -> None:
        """Raise what went wrong while one was let go."""
        for task in [task for task in self._leaving if task.done()]:
            task.result()

    async def aclose(self) -> None:
        """Give up waiting for those that are on their way out."""
        for task in self._leaving:
            task.cancel()
        await asyncio.gather(*self._leaving, return_exceptions=True)

    def _let_go(self, holder: SessionHolder) -> None:
        if self._by_fingerprint.get(holder.fingerprint) is holder:
            del self._by_fingerprint[holder.fingerprint]
        task = asyncio.create_task(self._see_off(holder), name=f"let go of {holder.session.name}")
        self._leaving[task] = holder
        # Before the loop turns: whoever looks at it next must not take it any more.
        holder.bar()

    async def _see_off(self, holder: SessionHolder) -> None:
        await holder.finished()
        self._forget(holder)
        if task := asyncio.current_task():
            del self._leaving[task]
        if self._waiting:
            self._admit()
            self.changed.set()

    def _admit(self) -> None:
        """Make a holder of each session that waits for nobody."""
        names = {holder.session.name for holder in self._leaving.values()}
        ids = {holder.session.session_id for holder in self._leaving.values()}  # only one id can mean one place
        for name, session in list(self._waiting.items()):
            if name in names or session.session_id in ids:
                continue
            del self._waiting[name]
            holder = self._make(session)
            self._present[name] = self._by_fingerprint[holder.fingerprint] = holder
            if name in self._paused:
                holder.pause(True)


def _tell(change: Change) -> None:
    for event, sessions in (("session.removed", change.disappeared), ("session.added", change.appeared)):
        if len(sessions) > _TOLD_ONE_BY_ONE:
            log.info(event.replace("session", "sessions"), sessions=len(sessions))
            continue
        for one in sessions:
            log.info(event, session=one.name, session_id=one.session_id)
