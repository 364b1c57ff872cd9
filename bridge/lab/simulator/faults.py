"""Faults as values: written in a test, in the demo or in a request of the control API, and applied all the same."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from itertools import repeat
from typing import Annotated

import msgspec

from bridge.lab.simulator.lens.choices import Count, Positive, Seconds
from bridge.lab.simulator.lens.frames import Poison
from bridge.lab.simulator.lens.plans import DropPlan, Refusal, random_distances
from bridge.lab.simulator.lens.session import SimulatedSession
from bridge.lab.simulator.lens.switches import Closing
from bridge.lab.simulator.listener import Listener

__all__ = [
    "FAULTS",
    "Drop",
    "Fault",
    "Forget",
    "Poisoning",
    "RandomDrops",
    "ResumeAccepting",
    "Silence",
    "StopAccepting",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """Close connections, now or after some more events."""

    closing: Closing = Closing.RESET
    """How they are closed."""
    after_events: Count | None = None
    """Close one once so many more events were written; none closes all of them now."""
    mid_frame: bool = False
    """With `after_events`: write half of the next event before it."""
    repeat: bool = False
    """With `after_events`: do it again each time that so many were written."""

    def apply(self, session: SimulatedSession) -> dict[str, object]:
        """Tells how many were closed, where that is known now."""
        if self.after_events is None:
            return {"dropped": session.drop(self.closing)}
        distances = repeat(self.after_events) if self.repeat else iter((self.after_events,))
        session.plan_drops(DropPlan(distances, self.closing, mid_frame=self.mid_frame))
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomDrops:
    """Close connections at random, as independent faults of a network do."""

    mean_events: Annotated[float, msgspec.Meta(gt=0)]
    """How many events are written between two of them, on average."""
    closing: Closing = Closing.CUT
    """How they are closed."""
    seed: int | None = None
    """The same seed drops at the same events; none draws one, which is answered."""
    mid_frame: bool = True
    """Write half of the next event before it."""

    def apply(self, session: SimulatedSession) -> dict[str, object]:
        """Tells the seed."""
        seed = secrets.randbits(32) if self.seed is None else self.seed
        session.plan_drops(DropPlan(random_distances(self.mean_events, seed), self.closing, mid_frame=self.mid_frame))
        return {"seed": seed}


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Keep connections open and send nothing at all."""

    seconds: Seconds | None = None
    """For how long; none: until faults are deleted."""

    def apply(self, session: SimulatedSession) -> dict[str, object]:
        """What is emitted meanwhile is sent afterwards."""
        session.silence(self.seconds)
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Forget:
    """Lose history, as a server does that was restarted."""

    events: Count | None = None
    """How many of the oldest events; none: all of them."""

    def apply(self, session: SimulatedSession) -> dict[str, object]:
        """The record stays."""
        session.forget(self.events)
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Poisoning:
    """Emit events that a client must survive."""

    kind: Poison | None = None
    """Which; none: one of each."""
    count: Positive = 1
    """How many of each."""
    size_bytes: Annotated[int, msgspec.Meta(ge=1, le=256 * 1024 * 1024)] = 9 * 1024 * 1024
    """The size of `oversize`."""

    def apply(self, session: SimulatedSession) -> dict[str, object]:
        """Tells their ids."""
        kinds = list(Poison) if self.kind is None else [self.kind]
        return {"ids": [session.poison(kind, size_bytes=self.size_bytes) for kind in kinds * self.count]}


@dataclass(frozen=True, slots=True, kw_only=True)
class StopAccepting:
    """Refuse new TCP connections to the lens API; open ones stay."""

    seconds: Seconds | None = None
    """For how long; none needs a control API on a port of its own."""

    async def apply(self, listener: Listener) -> None:
        """Close the port."""
        await listener.refuse(self.seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeAccepting:
    """Accept TCP connections again."""

    async def apply(self, listener: Listener) -> None:
        """Open the same port."""
        await listener.accept()


Fault = Drop | RandomDrops | Silence | Forget | Poisoning | Refusal | StopAccepting | ResumeAccepting
FAULTS: dict[str, type[Fault]] = {
    "drop": Drop,
    "random_drops": RandomDrops,
    "silence": Silence,
    "refuse": Refusal,
    "stop_accepting": StopAccepting,
    "resume_accepting": ResumeAccepting,
    "poison": Poisoning,
    "forget": Forget,
}
"""Every fault by its name in the control API."""
