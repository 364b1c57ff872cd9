"""Orders of the control API, carried out on a session."""

from __future__ import annotations

import base64
import binascii
from typing import Any, assert_never

from bridge.errors import ConfigurationError
from bridge.simulator import orders
from bridge.simulator.frames import Poison
from bridge.simulator.session import SimulatedSession

__all__ = ["emit", "inject"]


def emit(session: SimulatedSession, order: orders.Emission) -> int:
    """Carry out an emission except GENERATE, which may take long; returns how many events it was.

    Raises ConfigurationError for an order that names none of the ways, or several, or not one id per event.
    """
    ways = (order.events, order.data, order.raw, order.raw_base64, order.generate)
    if sum(way is not None for way in ways) != 1:
        raise ConfigurationError("give just one of events, data, raw, raw_base64, generate")
    if order.raw is not None or order.raw_base64 is not None:
        session.emit_raw(_raw(order), id=order.ids[0] if order.ids else None)
        return 1
    events: list[Any] = order.events or order.data or []
    if order.ids is not None and len(order.ids) != len(events):
        raise ConfigurationError(f"{len(order.ids)} ids for {len(events)} events")
    ids: list[str | None] = [None] * len(events) if order.ids is None else [*order.ids]
    for event, identity in zip(events, ids, strict=True):
        session.emit(event, id=identity)
    return len(events)


def _raw(order: orders.Emission) -> bytes:
    if order.raw is not None:
        return order.raw.encode()
    try:
        return base64.b64decode(order.raw_base64 or "", validate=True)
    except binascii.Error as error:
        raise ConfigurationError(f"raw_base64: {error}") from error


def inject(session: SimulatedSession, fault: orders.SessionFault) -> dict[str, object]:
    """Make something go wrong; returns what the caller can't know."""
    match fault:
        case orders.Drop():
            if fault.after_events is None:
                return {"dropped": session.drop(fault.closing)}
            session.drop_after(fault.after_events, fault.closing, mid_frame=fault.mid_frame, repeat=fault.repeat)
        case orders.RandomDrops():
            seed = session.drop_randomly(fault.mean_events, fault.closing, seed=fault.seed, mid_frame=fault.mid_frame)
            return {"seed": seed}
        case orders.Silence():
            session.silence(fault.seconds)
        case orders.Forget():
            session.forget(fault.events)
        case orders.Poisoning():
            kinds = list(Poison) if fault.kind is None else [fault.kind]
            return {"ids": [session.poison(kind, size_bytes=fault.size_bytes) for kind in kinds * fault.count]}
        case _:
            assert_never(fault)
    return {}
