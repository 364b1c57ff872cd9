"""Faults that are waiting to happen: drops after so many events, refused connections. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from bridge.simulator.switches import Closing

__all__ = ["Countdown", "DropPlan", "Endpoint", "Refusal", "Refusals", "every", "once", "random_intervals"]


class Endpoint(StrEnum):
    """The endpoints of the lens API, as counted in ``requests``."""

    CONSUMER = "consumer"
    METADATA = "metadata"
    INFO = "info"
    CREATE = "create"
    DESTROY = "destroy"
    PROCESS = "process"


class Countdown(Protocol):
    """How many events until the next drop; None when there is none."""

    def __call__(self) -> int | None: ...


def once(events: int) -> Countdown:
    """One drop."""
    left = iter((events,))
    return lambda: next(left, None)


def every(events: int) -> Countdown:
    """A drop each time that so many events were sent."""
    return lambda: events


def random_intervals(mean_events: float, seed: int) -> Countdown:
    """Drops at random: the distances have an exponential distribution, as of independent faults."""
    source = random.Random(seed)
    return lambda: 1 + int(source.expovariate(1 / mean_events))


class DropPlan:
    """Drops connections of a session after so many events were written to any of them."""

    def __init__(self, countdown: Countdown, closing: Closing, *, mid_frame: bool) -> None:
        self.closing = closing
        self.mid_frame = mid_frame  # first write half of the event that follows
        self._countdown = countdown
        self._left = countdown()

    @property
    def left(self) -> int | None:
        """Events until the next drop; None when there will be none."""
        return self._left

    def sent(self, events: int) -> None:
        """Count events as written."""
        if self._left is not None:
            self._left -= events

    def dropped(self) -> None:
        """Begin anew, or stop."""
        self._left = self._countdown()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An answer instead of the real one. A ``body`` of None is an error body in the switched shape."""

    status: int = 503
    endpoint: Endpoint = Endpoint.CONSUMER
    retry_after: str | None = None
    location: str | None = None
    content_type: str = "application/json"
    body: str | None = None

    def headers(self) -> dict[str, str]:
        """The response headers beside the content type."""
        pairs: Iterable[tuple[str, str | None]] = (("Retry-After", self.retry_after), ("Location", self.location))
        return {name: value for name, value in pairs if value is not None}


@dataclass(slots=True)
class Refusals:
    """Refusals in the order of their use."""

    _waiting: list[Refusal] = field(default_factory=list)

    def add(self, refusal: Refusal, requests: int) -> None:
        """Answer the next ``requests`` with it."""
        self._waiting += [refusal] * requests

    def take(self, endpoint: Endpoint) -> Refusal | None:
        """The refusal for this request, used up by asking."""
        for place, refusal in enumerate(self._waiting):
            if refusal.endpoint is endpoint:
                return self._waiting.pop(place)
        return None

    def clear(self) -> None:
        """Refuse nothing any more."""
        self._waiting.clear()
