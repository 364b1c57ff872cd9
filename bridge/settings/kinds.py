"""What settings are made of: their common form, and the kinds of value that several of them, or others, know."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    WithJsonSchema,
)

from bridge.model.keys import NAME_PATTERN
from bridge.settings.values import glob_list, route_map, word_list

__all__ = [
    "COUNTED",
    "KIB",
    "MIB",
    "DurabilityLevel",
    "EntryFormat",
    "Globs",
    "MetricsDetail",
    "Name",
    "OnEnd",
    "OnLost",
    "Routes",
    "Seconds",
    "Section",
    "SomeGlobs",
    "Words",
    "globs",
    "secret",
]

Name = Annotated[str, StringConstraints(pattern=f"^{NAME_PATTERN}$")]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
KIB, MIB = 1024, 1024 * 1024
Glob = Annotated[str, StringConstraints(pattern=r"^\s*\S+\s*$")]
GlobText = Annotated[str, StringConstraints(pattern=r"^\s*[^\s,\[][^\s,]*\s*(,\s*[^\s,]+\s*)*$")]
Globs = GlobText | list[Glob]
SomeGlobs = GlobText | Annotated[list[Glob], Field(min_length=1)]
Words = BeforeValidator(word_list, json_schema_input_type=str | list[str])
_ROUTES = {
    "type": "object",
    "propertyNames": {"pattern": r"^\s*[^\s,]+\s*$"},
    "additionalProperties": {"type": "string", "pattern": r"^[^<\s][^\s]{0,999}$"},
}
Routes = Annotated[
    dict[str, str],
    BeforeValidator(route_map),
    WithJsonSchema({"anyOf": [_ROUTES, {"type": "array", "items": _ROUTES}]}),
]
COUNTED = 2**53 - 1  # Lua, JSON and Helm count no further: beyond it a cap would not cap


def globs(given: Any) -> BeforeValidator:
    """The reading of globs; ``given`` is the type of what may be written."""
    return BeforeValidator(glob_list, json_schema_input_type=given)


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


class EntryFormat(StrEnum):
    """What an entry bears."""

    PLAIN = "plain"
    CLOUDEVENTS = "cloudevents"  # the same, and CloudEvents attributes beside it


class MetricsDetail(StrEnum):
    """How much ``/metrics`` tells of each session."""

    AUTO = "auto"  # `full` up to 250 sessions, `reduced` beyond
    FULL = "full"  # everything, some 8 KB a session
    REDUCED = "reduced"  # what it does now, less than 1 KB; what is counted is told for all sessions together


class Section(BaseModel):
    """Settings that stand together, below one name."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
