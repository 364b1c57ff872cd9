"""Bodies of the control API's requests, checked while they are decoded. Unknown fields are refused."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec

from bridge.errors import ConfigurationError
from bridge.simulator.faults import Endpoint, Refusal
from bridge.simulator.frames import Poison
from bridge.simulator.profiles import Profile
from bridge.simulator.session import LensStatus
from bridge.simulator.switches import Closing

__all__ = [
    "ApiKeys",
    "Drop",
    "Emission",
    "Fault",
    "Forget",
    "NewSession",
    "Poisoning",
    "RandomDrops",
    "Refuse",
    "ResumeAccepting",
    "SessionChange",
    "SessionFault",
    "Silence",
    "StopAccepting",
    "decode",
    "decode_fault",
]

T = TypeVar("T")
Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Rate = Annotated[float, msgspec.Meta(gt=0, le=1_000_000)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]


class _Order(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class NewSession(_Order, frozen=True, kw_only=True):
    """``POST /control/sessions``."""

    session_id: str | None = None
    lens_id: str = "lns-simulated"
    status: LensStatus = LensStatus.RUNNING
    seed: int | None = None
    profile: Profile | None = None
    rate: Rate = 1.0
    limit: Count | None = None
    event_bytes: Positive = 250
    switches: dict[str, Any] = {}


class SessionChange(_Order, frozen=True, kw_only=True):
    """``PATCH /control/sessions/{id}``."""

    status: LensStatus | None = None
    profile: Profile | None = None
    rate: Rate | None = None
    limit: Count | None = None
    event_bytes: Positive = 250


class ApiKeys(_Order, frozen=True, kw_only=True):
    """``PUT /control/api-keys``."""

    api_keys: list[str]


class Emission(_Order, frozen=True, kw_only=True):
    """``POST /control/sessions/{id}/events``: just one of the first five."""

    events: list[dict[str, Any]] | None = None
    data: list[str] | None = None
    raw: str | None = None
    raw_base64: str | None = None
    generate: Count | None = None
    ids: list[str] | None = None
    profile: Profile = Profile.SIZED
    event_bytes: Positive = 250


class Drop(_Order, frozen=True, kw_only=True, tag_field="fault", tag="drop"):
    """Close connections, now or after some more events."""

    closing: Closing = Closing.RESET
    after_events: Count | None = None
    mid_frame: bool = False
    repeat: bool = False


class RandomDrops(_Order, frozen=True, kw_only=True, tag_field="fault", tag="random_drops"):
    """Close connections at random."""

    mean_events: Annotated[float, msgspec.Meta(gt=0)]
    closing: Closing = Closing.CUT
    seed: int | None = None
    mid_frame: bool = True


class Silence(_Order, frozen=True, kw_only=True, tag_field="fault", tag="silence"):
    """Keep connections open and send nothing."""

    seconds: Seconds | None = None


class Refuse(_Order, frozen=True, kw_only=True, tag_field="fault", tag="refuse"):
    """Answer the next requests with something else."""

    status: Annotated[int, msgspec.Meta(ge=200, le=599)]
    requests: Positive = 1
    endpoint: Endpoint = Endpoint.CONSUMER
    retry_after: str | int | None = None
    location: str | None = None
    content_type: str = "application/json"
    body: str | None = None

    def refusal(self) -> Refusal:
        """The value that the endpoints work with."""
        return Refusal(
            status=self.status,
            endpoint=self.endpoint,
            retry_after=None if self.retry_after is None else str(self.retry_after),
            location=self.location,
            content_type=self.content_type,
            body=self.body,
        )


class Forget(_Order, frozen=True, kw_only=True, tag_field="fault", tag="forget"):
    """Lose history."""

    events: Count | None = None


class Poisoning(_Order, frozen=True, kw_only=True, tag_field="fault", tag="poison"):
    """Emit events that a client must survive; without ``kind`` one of each."""

    kind: Poison | None = None
    count: Positive = 1
    size_bytes: Annotated[int, msgspec.Meta(ge=1, le=256 * 1024 * 1024)] = 9 * 1024 * 1024


class StopAccepting(_Order, frozen=True, kw_only=True, tag_field="fault", tag="stop_accepting"):
    """Refuse new TCP connections."""

    seconds: Seconds | None = None


class ResumeAccepting(_Order, frozen=True, kw_only=True, tag_field="fault", tag="resume_accepting"):
    """Accept TCP connections again."""


SessionFault = Drop | RandomDrops | Silence | Forget | Poisoning
Fault = SessionFault | Refuse | StopAccepting | ResumeAccepting


def decode(body: bytes, order: type[T]) -> T:
    """The order in a request body; an empty body is an empty object. Raises ConfigurationError."""
    try:
        return msgspec.json.decode(body or b"{}", type=order)
    except msgspec.DecodeError as error:
        raise ConfigurationError(str(error)) from error


def decode_fault(body: bytes) -> Fault:
    """The fault in a request body. Raises ConfigurationError."""
    fault: Fault = decode(body, Fault)  # type: ignore[arg-type]  # msgspec takes unions, which have no type of their own
    return fault
