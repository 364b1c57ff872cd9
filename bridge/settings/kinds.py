"""What settings are made of: their common form, and the kinds of value that several of them, or others, know."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StringConstraints

from bridge.model.keys import NAME_PATTERN

__all__ = [
    "COUNTED",
    "KIB",
    "MIB",
    "DurabilityLevel",
    "MetricsDetail",
    "Name",
    "OnEnd",
    "OnLost",
    "Seconds",
    "Section",
    "secret",
]

Name = Annotated[str, StringConstraints(pattern=f"^{NAME_PATTERN}$")]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
KIB, MIB = 1024, 1024 * 1024
COUNTED = 2**53 - 1  # Lua, JSON and Helm count no further: beyond it a cap would not cap


def secret(check: Callable[[str], str]) -> AfterValidator:
    """The check of what a secret holds."""
    return AfterValidator(lambda secret: SecretStr(check(secret.get_secret_value())))


class OnEnd(StrEnum):
    """What to do when the server sends ``sse.stream.end``."""

    VERIFY = "verify"  # ask the metadata endpoint: active sessions are reconnected to, others are over
    STOP = "stop"
    RECONNECT = "reconnect"


class OnLost(StrEnum):
    """What to do when Redis was emptied under a running worker."""

    RESUME = "resume"  # go on after the last committed event, which this worker still knows
    RESTART = "restart"  # read again all that the server still serves
    STOP = "stop"  # leave the session in state `failed` for a person to decide


class DurabilityLevel(StrEnum):
    """What a commit must have reached before it counts."""

    MEMORY = "memory"  # the primary; how it keeps it is its own setting
    REPLICATED = "replicated"  # `durability_replicas` replicas (WAIT)
    FSYNCED = "fsynced"  # the primary's disk (WAITAOF: Redis 7.2 or newer, with appendonly yes)


class MetricsDetail(StrEnum):
    """How much ``/metrics`` tells of each session."""

    AUTO = "auto"  # `full` up to 250 sessions, `reduced` beyond
    FULL = "full"  # everything, some 8 KB a session
    REDUCED = "reduced"  # what it does now, less than 1 KB; what is counted is told for all sessions together


class Section(BaseModel):
    """Settings that stand together, below one name."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
