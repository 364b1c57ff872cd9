"""The demo's lens sessions, on a simulated API that drops connections at random."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bridge.lab.simulator import Profile, RandomDrops, SimulatedSession, Simulator
from bridge.model.place import Session

__all__ = ["LENSES", "TEMPLATE", "Lens", "open_lenses", "play"]

TEMPLATE = "lens:{<name>}:events"  # of the stream keys; the default


@dataclass(frozen=True, slots=True, kw_only=True)
class Lens:
    """One session and its pace, in events per second; ``drop_after_events`` is a mean."""

    name: str
    profile: Profile
    rate: float
    drop_after_events: float
    history_events: int

    @property
    def session(self) -> Session:
        """The stable name and the lens session behind it."""
        return Session(name=self.name, session_id=f"lsn-demo-{self.name}")


# Histories last for more than a minute, so that a worker may be away that long; the embeddings' one takes 50 MB.
LENSES = (
    Lens(name="activity", profile=Profile.ACTIVITY, rate=40, drop_after_events=90, history_events=5_000),
    Lens(name="machine-state", profile=Profile.MACHINE_STATE, rate=200, drop_after_events=450, history_events=20_000),
    Lens(name="embeddings", profile=Profile.EMBEDDINGS, rate=6, drop_after_events=20, history_events=500),
)


def open_lenses(simulator: Simulator, seed: int) -> dict[str, SimulatedSession]:
    """Create the sessions, silent yet, by name. ``seed`` decides what they say and where connections are cut."""
    opened = {}
    for lens in LENSES:
        simulated = simulator.create_session(lens.session.session_id, seed=seed)
        simulated.change(history_events=lens.history_events, heartbeat_interval_seconds=1.0)
        RandomDrops(mean_events=lens.drop_after_events, seed=seed).apply(simulated)
        opened[lens.name] = simulated
    return opened


def play(sessions: dict[str, SimulatedSession], *, pace: float = 1.0, lenses: Iterable[Lens] = LENSES) -> None:
    """Let them speak. ``pace`` multiplies their rates."""
    for lens in lenses:
        sessions[lens.name].play(lens.profile, rate=lens.rate * pace)
