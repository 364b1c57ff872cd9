"""What is to go wrong later: drops after so many events, answers instead of the real ones. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from bridge.lab.simulator.lens.choices import HttpStatus, Positive
from bridge.lab.simulator.lens.switches import Closing

__all__ = ["DropPlan", "Endpoint", "Refusal", "Refusals", "random_distances"]


class Endpoint(StrEnum):
    """The endpoints of the lens API, as counted in ``requests``."""

    CONSUMER = "consumer"
    METADATA = "metadata"
    INFO = "info"
    CREATE = "create"
    DESTROY = "destroy"
    PROCESS = "process"


def random_distances(mean_events: float, seed: int) -> Iterator[int]:
    """Events between drops at random: exponentially distributed, as of independent faults, and never 0."""
    source = random.Random(seed)
    while True:
        yield 1 + int(source.expovariate(1 / mean_events))


class DropPlan:
    """Drops connections of a session each time that so many events were written to any of them.

    ``left`` counts the events until the next drop; None when there will be none.
    """

    def __init__(self, distances: Iterator[int], closing: Closing, *, mid_frame: bool) -> None:
        self.closing = closing
        self.mid_frame = mid_frame  # first write half of the event that follows
        self._distances = distances
        self.left = next(distances, None)

    def sent(self, events: int) -> None:
        """Count events as written."""
        if self.left is not None:
            self.left -= events

    def dropped(self) -> None:
        """Begin anew, or stop."""
        self.left = next(self._distances, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Answer the next requests to an endpoint with something else than the truth."""

    status: HttpStatus = 503
    """The HTTP status."""
    requests: Positive = 1
    """How many requests are answered with it."""
    endpoint: Endpoint = Endpoint.CONSUMER
    """Which requests."""
    retry_after: str | int | None = None
    """The header Retry-After: seconds, or a date."""
    location: str | None = None
    """The header Location."""
    content_type: str = "application/json"
    """The header Content-Type of `body`."""
    body: str | None = None
    """The exact body; none gives an error body in the shape of the switch `error_shape`."""

    def headers(self) -> dict[str, str]:
        """The response headers beside the content type."""
        pairs = (("Retry-After", self.retry_after), ("Location", self.location))
        return {name: str(value) for name, value in pairs if value is not None}

    def apply(self, where: Refusing) -> dict[str, object]:
        """Wait for requests that name one session, or for any."""
        where.refusals.add(self)
        return {}


@dataclass(slots=True)
class Refusals:
    """Refusals in the order of their use."""

    _waiting: list[Refusal] = field(default_factory=list)

    def add(self, refusal: Refusal) -> None:
        """Answer the next requests with it."""
        self._waiting += [refusal] * refusal.requests

    def take(self, endpoint: Endpoint) -> Refusal | None:
        """The refusal for this request, used up by asking."""
        for place, refusal in enumerate(self._waiting):
            if refusal.endpoint is endpoint:
                return self._waiting.pop(place)
        return None

    def clear(self) -> None:
        """Refuse nothing any more."""
        self._waiting.clear()


class Refusing(Protocol):
    """A session, or the service as a whole."""

    @property
    def refusals(self) -> Refusals:
        """What waits for its requests."""
