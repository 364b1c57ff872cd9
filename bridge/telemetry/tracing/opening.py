"""The way in: the tracer of a worker that is told to trace, and nothing at all for any other one."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import ModuleType

from bridge.errors import ConfigurationError
from bridge.masking import Secrets
from bridge.settings import TracingSettings
from bridge.settings.reference import named
from bridge.telemetry.tracing.spans import Tracer, TracingFigures

__all__ = ["obstacle", "tracing"]


@asynccontextmanager
async def tracing(
    settings: TracingSettings, worker_id: str, figures: TracingFigures, secrets: Secrets
) -> AsyncIterator[Tracer | None]:
    """The tracer of a worker, or None where it is not to trace. At the end what waits is sent, for a second at most.

    Raises ConfigurationError where the extra is not installed, and for variables that ask for what it cannot do.
    """
    if not settings.enabled:
        yield None
        return
    provider = _installed().Provider(worker_id, figures, secrets)
    try:
        yield provider
    finally:
        await provider.aclose()


def obstacle(settings: TracingSettings) -> str | None:
    """Why a worker with these settings would not start; None where it would, or is not to trace."""
    if not settings.enabled:
        return None
    try:
        _installed().sends(os.environ)
    except ConfigurationError as error:
        return str(error)
    return None


def _installed() -> ModuleType:
    try:
        from bridge.telemetry.tracing import provider
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        raise ConfigurationError(
            f"{named('tracing.enabled')}: OpenTelemetry is not installed; pip install 'lens-bridge[otel]', or set it "
            "to false"
        ) from None
    return provider
