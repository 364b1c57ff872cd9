"""A lens API on this machine: for tests, for the demo, for a staging without an account.

It serves the endpoints of the real one, keeps a record of all it has emitted, and misbehaves on request.
"""

from bridge.simulator.app import ServeOptions, SessionOptions, Simulator, serve
from bridge.simulator.connection import Connection
from bridge.simulator.faults import Endpoint, Refusal
from bridge.simulator.frames import Poison
from bridge.simulator.history import RecordEntry
from bridge.simulator.profiles import Profile
from bridge.simulator.session import LensStatus, SimulatedSession
from bridge.simulator.switches import (
    ChunkShape,
    Closing,
    CursorRule,
    DestroyedRule,
    ErrorShape,
    FreshRule,
    GzipRule,
    IdStyle,
    LineEnding,
    SharingRule,
    StatusSpelling,
    Switches,
    UnknownCursorRule,
    UnknownSessionRule,
    changed_switches,
)

__all__ = [
    "ChunkShape",
    "Closing",
    "Connection",
    "CursorRule",
    "DestroyedRule",
    "Endpoint",
    "ErrorShape",
    "FreshRule",
    "GzipRule",
    "IdStyle",
    "LensStatus",
    "LineEnding",
    "Poison",
    "Profile",
    "RecordEntry",
    "Refusal",
    "ServeOptions",
    "SessionOptions",
    "SharingRule",
    "SimulatedSession",
    "Simulator",
    "StatusSpelling",
    "Switches",
    "UnknownCursorRule",
    "UnknownSessionRule",
    "changed_switches",
    "serve",
]
