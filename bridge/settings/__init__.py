"""What the worker is told: every setting with its unit, default and reason, and where each may come from."""

from bridge.settings.kinds import DurabilityLevel, EntryFormat, MetricsDetail, OnEnd, OnLost
from bridge.settings.sections import (
    AdminSettings,
    CommitSettings,
    DedupeSettings,
    DiscoverySettings,
    LeaseSettings,
    LogSettings,
    MetricsSettings,
    RedisSettings,
    RetentionSettings,
    SessionSettings,
    Settings,
    SourceSettings,
    StreamSettings,
    TracingSettings,
    WorkerSettings,
)

__all__ = [
    "AdminSettings",
    "CommitSettings",
    "DedupeSettings",
    "DiscoverySettings",
    "DurabilityLevel",
    "EntryFormat",
    "LeaseSettings",
    "LogSettings",
    "MetricsDetail",
    "MetricsSettings",
    "OnEnd",
    "OnLost",
    "RedisSettings",
    "RetentionSettings",
    "SessionSettings",
    "Settings",
    "SourceSettings",
    "StreamSettings",
    "TracingSettings",
    "WorkerSettings",
]
