"""The way in: the tracer of a worker that is told to trace, and nothing at all for any other one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bridge.errors import ConfigurationError
from bridge.masking import Secrets
from bridge.settings import TracingSettings
from bridge.settings.reference import named
from bridge.telemetry.tracing.spans import Tracer, TracingFigures

__all__ = ["tracing"]


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
    try:
        from bridge.telemetry.tracing.provider import Provider
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        raise ConfigurationError(
            f"{named('tracing.enabled')}: OpenTelemetry is not installed; pip install 'lens-bridge[otel]', or set it "
            "to false"
        ) from None
    provider = Provider(worker_id, figures, secrets)
    try:
        yield provider
    finally:
        await provider.aclose()
