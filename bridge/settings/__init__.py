"""What the worker is told: every setting with its unit, default and reason, and where each may come from."""

from bridge.settings.sections import (
    AdminSettings,
    CommitSettings,
    DedupeSettings,
    DurabilityLevel,
    LeaseSettings,
    LogSettings,
    MetricsDetail,
    MetricsSettings,
    OnEnd,
    OnLost,
    RedisSettings,
    SessionSettings,
    Settings,
    SourceSettings,
    StreamSettings,
    WorkerSettings,
)

__all__ = [
    "AdminSettings",
    "CommitSettings",
    "DedupeSettings",
    "DurabilityLevel",
    "LeaseSettings",
    "LogSettings",
    "MetricsDetail",
    "MetricsSettings",
    "OnEnd",
    "OnLost",
    "RedisSettings",
    "SessionSettings",
    "Settings",
    "SourceSettings",
    "StreamSettings",
    "WorkerSettings",
]
