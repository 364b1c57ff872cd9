"""A lens API on this machine: for tests, for the demo, for a staging without an account.

It serves the endpoints of the real one, keeps a record of all it has emitted, and misbehaves on request.
"""

from bridge.lab.simulator.app import Simulator
from bridge.lab.simulator.faults import Drop, Forget, Poisoning, RandomDrops, Silence
from bridge.lab.simulator.lens.frames import Poison
from bridge.lab.simulator.lens.plans import Endpoint, Refusal
from bridge.lab.simulator.lens.profiles import Profile
from bridge.lab.simulator.lens.session import LensStatus, SimulatedSession
from bridge.lab.simulator.lens.switches import (
    ChunkShape,
    Closing,
    CursorRule,
    FreshRule,
    IdStyle,
    Switches,
    UnknownCursorRule,
    changed_switches,
)
from bridge.lab.simulator.manual import manual_json, manual_text

__all__ = [
    "ChunkShape",
    "Closing",
    "CursorRule",
    "Drop",
    "Endpoint",
    "Forget",
    "FreshRule",
    "IdStyle",
    "LensStatus",
    "Poison",
    "Poisoning",
    "Profile",
    "RandomDrops",
    "Refusal",
    "Silence",
    "SimulatedSession",
    "Simulator",
    "Switches",
    "UnknownCursorRule",
    "changed_switches",
    "manual_json",
    "manual_text",
]
