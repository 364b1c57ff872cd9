"""Bodies of the control API's requests: JSON objects, checked field by field. Unknown fields are refused."""

from __future__ import annotations

import asyncio
import base64
import binascii
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from bridge.errors import ConfigurationError
from bridge.lab.simulator.faults import FAULTS, Fault
from bridge.lab.simulator.lens.choices import Count, Positive, Rate, made
from bridge.lab.simulator.lens.profiles import Profile
from bridge.lab.simulator.lens.session import LensStatus, SimulatedSession
from bridge.lab.simulator.platform import Platform

__all__ = ["ApiKeys", "Emission", "NewSession", "SessionChange", "fault_in", "object_in", "order_in"]

T = TypeVar("T")
_BURST_EVENTS = 500  # generated between two turns of the event loop, so that readers go on meanwhile


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSession:
    """``POST /control/sessions``."""

    session_id: str | None = None
    lens_id: str = "lns-simulated"
    status: LensStatus = LensStatus.RUNNING
    seed: int | None = None
    profile: Profile | None = None
    rate: Rate = 1.0
    limit: Count | None = None
    event_bytes: Positive = 250
    switches: Mapping[str, Any] = field(default_factory=dict)

    def apply(self, platform: Platform) -> SimulatedSession:
        """Create it. Raises ConfigurationError for an id that is taken or not allowed, and for a wrong switch."""
        session = platform.create_session(
            self.session_id,
            lens_id=self.lens_id,
            seed=self.seed,
            switches=self.switches,
            profile=self.profile,
            rate=self.rate,
            limit=self.limit,
            event_bytes=self.event_bytes,
        )
        session.set_status(self.status)
        return session


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionChange:
    """``PATCH /control/sessions/{id}``."""

    status: LensStatus | None = None
    profile: Profile | None = None
    rate: Rate | None = None
    limit: Count | None = None
    event_bytes: Positive = 250

    def apply(self, session: SimulatedSession) -> None:
        """Change it. Raises ConfigurationError for a profile without a rate, and the other way round."""
        if (self.profile is None) != (self.rate is None):
            raise ConfigurationError("give profile and rate together")
        if self.status is not None:
            session.set_status(self.status)
        if self.profile is not None and self.rate is not None:
            session.play(self.profile, rate=self.rate, limit=self.limit, event_bytes=self.event_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeys:
    """``PUT /control/api-keys``."""

    api_keys: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Emission:
    """``POST /control/sessions/{id}/events``: just one of the first five."""

    events: list[dict[str, Any]] | None = None
    data: list[str] | None = None
    raw: str | None = None
    raw_base64: str | None = None
    generate: Count | None = None
    ids: list[str] | None = None
    profile: Profile = Profile.SIZED
    event_bytes: Positive = 250

    async def apply(self, session: SimulatedSession) -> int:
        """Emit; returns how many events it was.

        Raises ConfigurationError for an order that names none of the ways, or several, or not one id per event.
        """
        ways = (self.events, self.data, self.raw, self.raw_base64, self.generate)
        if sum(way is not None for way in ways) != 1:
            raise ConfigurationError("give just one of events, data, raw, raw_base64, generate")
        if self.generate is not None:
            for begin in range(0, self.generate, _BURST_EVENTS):
                burst = min(_BURST_EVENTS, self.generate - begin)
                session.generate(burst, profile=self.profile, event_bytes=self.event_bytes)
                await asyncio.sleep(0)
            return self.generate
        if self.raw is not None or self.raw_base64 is not None:
            session.emit_raw(self._raw(), id=self.ids[0] if self.ids else None)
            return 1
        events: list[Any] = self.events or self.data or []
        if self.ids is not None and len(self.ids) != len(events):
            raise ConfigurationError(f"{len(self.ids)} ids for {len(events)} events")
        ids: list[str | None] = [None] * len(events) if self.ids is None else [*self.ids]
        for event, identity in zip(events, ids, strict=True):
            session.emit(event, id=identity)
        return len(events)

    def _raw(self) -> bytes:
        if self.raw is not None:
            return self.raw.encode()
        try:
            return base64.b64decode(self.raw_base64 or "", validate=True)
        except binascii.Error as error:
            raise ConfigurationError(f"raw_base64: {error}") from error


def object_in(body: bytes) -> dict[str, Any]:
    """The JSON object in a request body; an empty body is an empty one. Raises ConfigurationError."""
    try:
        return msgspec.json.decode(body or b"{}", type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise ConfigurationError(str(error)) from error


def order_in(body: bytes, kind: type[T]) -> T:
    """The order in a request body. Raises ConfigurationError."""
    return made(kind, object_in(body), noun="field")


def fault_in(body: bytes) -> Fault:
    """The fault in a request body. Raises ConfigurationError, which tells what there is to choose from."""
    given = object_in(body)
    name = given.pop("fault", None)
    kind = FAULTS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ConfigurationError(f"no fault named {reprlib.repr(name)}; there are {', '.join(FAULTS)}")
    return made(kind, given, noun=f"{name} field")
