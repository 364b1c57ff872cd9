"""What can be set of the process itself: id, stop, HTTP server, and what it tells. The form is that of ``sections``."""

from __future__ import annotations

import socket
import uuid
from typing import Literal

from pydantic import Field

from bridge.settings.kinds import MetricsDetail, Name, Seconds, Section

__all__ = ["AdminSettings", "LogSettings", "MetricsSettings", "TracingSettings", "WorkerSettings"]


class WorkerSettings(Section):
    """This process."""

    id: Name = Field(default_factory=lambda: f"{_host_name()}-{uuid.uuid4().hex[:8]}")
    """Shown as the owner of sessions; give each worker its own. Default: host name and random text."""
    grace_period_seconds: Seconds = 20.0
    """How long a stop may take to commit what was read: one deadline for the whole stop, however many sessions there
    are. Keep it under Kubernetes' terminationGracePeriodSeconds."""


class AdminSettings(Section):
    """The HTTP server for probes, Prometheus and people."""

    host: str = "0.0.0.0"  # noqa: S104  Prometheus and the kubelet come from outside the pod
    """Address to listen on. The default means every address of this machine: of IPv6 too, where it has that."""
    port: int = Field(default=8080, ge=0, le=65_535)
    """Port to listen on; 0 takes a free one and logs it."""


class MetricsSettings(Section):
    """What Prometheus is told."""

    detail: MetricsDetail = MetricsDetail.AUTO
    """`auto`, `full` or `reduced`. `full` has about a hundred series for each session, 8 KB of text. `reduced` tells of
    each session who reads it, in which state it is, and when its last byte, event and commit were; what is counted is
    told for all sessions of the worker together, as the stream `*`. `auto` is `full` up to 250 sessions."""


class TracingSettings(Section):
    """OpenTelemetry: a span for each commit. Where it is sent is for the usual `OTEL_...` variables to say."""

    enabled: bool = False
    """Make a span of each commit that publishes something, and give its entries `traceparent` (W3C Trace Context), so
    that consumers can link to it. Takes the extra: `pip install 'lens-bridge[otel]'`. Off, since a span takes about 80
    µs of CPU time, or 5 where the sampler drops it (`OTEL_TRACES_SAMPLER`), and some 50 bytes of each entry."""


class LogSettings(Section):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """`info` tells changes of state only; `debug` every commit."""
    format: Literal["auto", "json", "console"] = "auto"
    """`auto` is `console` on a terminal and `json` elsewhere."""


def _host_name() -> str:
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "._:-") else "-" for c in socket.gethostname())
    return kept[:100] or "worker"
