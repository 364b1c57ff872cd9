"""What has happened in the demo so far: who owns what, what was done to whom, told in short lines."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from bridge.errors import BridgeError

__all__ = ["DemoError", "Happening", "Story", "Tone"]


class DemoError(BridgeError):
    """The demo itself could not go on; that says nothing about the guarantee."""


class Tone(StrEnum):
    """How a piece of text is meant, as a style of rich. The colours follow the terminal's own theme."""

    PLAIN = "none"
    DIM = "dim"
    BOLD = "bold"
    GOOD = "green"
    BAD = "red"
    WARN = "yellow"
    ACCENT = "cyan"


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One line of the story. ``at`` is in seconds since the beginning."""

    at: float
    text: str
    tone: Tone = Tone.PLAIN


class Story:
    """Takes in what the workers' logs say and what is done to them, and wakes those who wait for it.

    ``clock`` gives seconds; time stands at 0 until `begin` is called.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.happenings: list[Happening] = []
        self.owners: dict[str, str] = {}  # session -> the last worker that took its lease
        self.takeovers: Counter[str] = Counter()  # session -> leases taken from a worker that was killed or paused
        self.handovers = self.kills = self.pauses = self.fenced = self.reader_kills = 0
        self._down: dict[str, float] = {}  # worker -> when it was killed or paused
        self._clock = clock
        self._began: float | None = None
        self._failure: str | None = None
        self._changed = asyncio.Event()

    def begin(self) -> None:
        """Count time from here."""
        self._began = self._clock()

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return 0.0 if self._began is None else self._clock() - self._began

    def tell(self, text: str, tone: Tone = Tone.PLAIN) -> None:
        """Add a line."""
        self.happenings.append(Happening(at=self.elapsed, text=text, tone=tone))
        self._wake()

    def owned_by(self, worker: str) -> list[str]:
        """The sessions that a worker reads, as far as is known."""
        return sorted(session for session, owner in self.owners.items() if owner == worker)

    def down(self, worker: str) -> bool:
        """It was killed or paused."""
        return worker in self._down

    def killed(self, worker: str) -> None:
        """SIGKILL."""
        self.kills += 1
        self._down[worker] = self._clock()
        self.tell(f"{worker} killed (SIGKILL) while it reads {_listing(self.owned_by(worker))}", Tone.BAD)

    def reader_killed(self, reader: str) -> None:
        """SIGKILL, to a member of the service that reads."""
        self.reader_kills += 1
        self.tell(f"{reader} killed (SIGKILL) at its work: the other member takes over what it had in hand", Tone.BAD)

    def paused(self, worker: str) -> None:
        """SIGSTOP."""
        self.pauses += 1
        self._down[worker] = self._clock()
        self.tell(f"{worker} paused (SIGSTOP) for longer than its lease lasts", Tone.WARN)

    def resumed(self, worker: str) -> None:
        """SIGCONT."""
        self._down.pop(worker, None)
        self.tell(f"{worker} wakes up (SIGCONT): a zombie with unread events", Tone.WARN)

    def restarted(self, worker: str) -> None:
        """A new process under the old name."""
        self._down.pop(worker, None)
        self.tell(f"{worker} is started again")

    def lease_taken(self, worker: str, session: str, seq: int) -> None:
        """From a worker's log. ``seq`` is the committed place from which it goes on."""
        before, self.owners[session] = self.owners.get(session), worker
        if before is None or before == worker:
            self.tell(f"{worker} reads {session}")
        elif (since := self._down.get(before)) is not None:
            self.takeovers[session] += 1
            after = self._clock() - since
            self.tell(f"{worker} takes over {session} after {after:.1f} s, goes on after event {seq:,}", Tone.ACCENT)
        else:
            self.handovers += 1
            self.tell(f"{before} hands {session} over to {worker}, after event {seq:,}")

    def lease_lost(self, worker: str, session: str) -> None:
        """From a worker's log: Redis refused it."""
        self.fenced += 1
        owner = self.owners.get(session)
        whose = f"{owner} owns it now" if owner and owner != worker else "its lease is over"
        self.tell(f"{worker} fenced: Redis refuses its writes for {session}, {whose}", Tone.GOOD)

    def fail(self, reason: str) -> None:
        """End the demo with an error."""
        self._failure = self._failure or reason
        self._wake()

    async def until(self, condition: Callable[[], bool], what: str, timeout: float = 60.0) -> None:
        """Return when the condition holds; it is looked at after each change. Raises DemoError."""
        if not await self._waited(condition, timeout):
            raise DemoError(f"the demo got stuck: {what}: not within {timeout:g} s; is this machine very busy?")

    async def reach(self, seconds: float) -> None:
        """Return that long after the beginning. Raises DemoError when something fails before."""
        await self._waited(lambda: False, seconds - self.elapsed)

    async def end(self) -> None:
        """Never returns. Raises DemoError when something fails."""
        await self._waited(lambda: False, None)

    async def _waited(self, condition: Callable[[], bool], timeout: float | None) -> bool:
        try:
            async with asyncio.timeout(timeout):
                while True:
                    if self._failure is not None:
                        raise DemoError(self._failure)
                    if condition():
                        return True
                    await self._changed.wait()
        except TimeoutError:
            return condition()

    def _wake(self) -> None:
        self._changed.set()
        self._changed.clear()


def _listing(names: list[str]) -> str:
    *first, last = names or ["nothing"]
    return f"{', '.join(first)} and {last}" if first else last
