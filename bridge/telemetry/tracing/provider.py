"""OpenTelemetry, as the usual OTEL_... variables configure it: spans of commits, sent as OTLP over HTTP.

Names are those of the semantic conventions for messaging (in development as of their version 1.45).
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Mapping
from urllib.parse import unquote

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace import Tracer as OtelTracer

from bridge import __version__
from bridge.errors import ConfigurationError
from bridge.masking import Secrets
from bridge.model.place import Session
from bridge.telemetry.tracing.export import CountingExporter, LastWords, Queue
from bridge.telemetry.tracing.spans import TracingFigures

__all__ = ["Provider", "sends"]

log = structlog.get_logger()

_LAST_SPANS_SECONDS = 1.0
"""How long a stop waits for the last spans to be sent. A collector that is well takes some milliseconds."""

_HEADERS = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")  # a collector's token stands there


class Provider:
    """All of OpenTelemetry in this process: its tracer, its queue, its thread and its way to the collector."""

    def __init__(
        self,
        worker_id: str,
        figures: TracingFigures,
        secrets: Secrets,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        sending = sends(environment)
        for variable in _HEADERS:
            for pair in environment.get(variable, "").split(","):
                secrets.add(unquote(pair.partition("=")[2]).strip(), variable)
        words = LastWords()
        sdk = logging.getLogger("opentelemetry")
        sdk.handlers, sdk.propagate = [words], False
        self._provider = TracerProvider(resource=_resource(worker_id, environment), shutdown_on_exit=False)
        self._exporter: CountingExporter | None = None
        if sending:
            try:
                self._exporter = CountingExporter(OTLPSpanExporter(), figures, words)
                self._provider.add_span_processor(Queue(self._exporter, figures))
            except (ValueError, OSError) as error:
                raise ConfigurationError(f"OTEL_...: OpenTelemetry refuses its variables: {error}") from None
        if words.text:
            log.warning("tracing.warned", detail=words.text)
        self._tracer = self._provider.get_tracer("lens-bridge", __version__)
        self._worker_id = worker_id

    def of(self, session: Session, stream_key: str) -> SpansOfSession:
        """The spans of one session."""
        return SpansOfSession(self._tracer, self._worker_id, session, stream_key)

    async def aclose(self) -> None:
        """Send what waits; but a collector that does not answer holds up no stop."""
        loop = asyncio.get_running_loop()
        done = asyncio.Event()

        def close() -> None:
            self._provider.shutdown()
            if not loop.is_closed():
                loop.call_soon_threadsafe(done.set)

        # A thread of its own, and one that the end of the process does not wait for, as it would for an executor's.
        threading.Thread(target=close, name="last spans", daemon=True).start()
        try:
            async with asyncio.timeout(0 if self._exporter and self._exporter.fails else _LAST_SPANS_SECONDS):
                await done.wait()
        except TimeoutError:
            log.warning("tracing.cut_short", hint="the collector does not take the last spans")


class SpansOfSession:
    """Makes the spans of one session's commits: what is the same in all of them stands ready."""

    def __init__(self, tracer: OtelTracer, worker_id: str, session: Session, stream_key: str) -> None:
        self._tracer = tracer
        self._name = f"send {stream_key}"
        self._attributes = {
            "messaging.system": "redis",
            "messaging.operation.name": "send",
            "messaging.operation.type": "send",
            "messaging.destination.name": stream_key,
            "messaging.client.id": worker_id,
            "lens_bridge.session.id": session.session_id,
            "lens_bridge.session.name": session.name,
        }

    def begin(self, messages: int | None = None) -> SpanOfCommit:
        """A span that begins now, with no parent: what the API sent has no trace to belong to."""
        attributes: dict[str, str | int] = dict(self._attributes)
        if messages is not None:
            attributes["messaging.batch.message_count"] = messages
        return SpanOfCommit(self._tracer.start_span(self._name, kind=SpanKind.PRODUCER, attributes=attributes))


class SpanOfCommit:
    """One commit's span."""

    __slots__ = ("_span", "traceparent")

    def __init__(self, span: Span) -> None:
        self._span = span
        context = span.get_span_context()
        self.traceparent = (
            f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}" if context.is_valid else ""
        )

    def landed(self, seq: int, messages: int) -> None:
        """It stands."""
        self._span.set_attribute("lens_bridge.seq", seq)
        self._span.set_attribute("messaging.batch.message_count", messages)
        self._span.end()

    def failed(self, error: str) -> None:
        """It does not stand, or nobody knows."""
        self._span.set_attribute("error.type", error)
        self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


def sends(environment: Mapping[str, str]) -> bool:
    """Whether spans are sent at all. Raises ConfigurationError for a way of sending that is not in the extra."""
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower() or "otlp"
    if exporter not in {"otlp", "none"}:
        raise ConfigurationError(f"OTEL_TRACES_EXPORTER: {exporter} is not known here; use otlp, or none")
    for variable in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if protocol := environment.get(variable, "").strip().lower():
            if protocol != "http/protobuf":
                raise ConfigurationError(
                    f"{variable}: {protocol} is not spoken here; use http/protobuf, at most collectors' port 4318"
                )
            break
    return exporter == "otlp"


def _resource(worker_id: str, environment: Mapping[str, str]) -> Resource:
    """Who made the spans. What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say is the stronger."""
    found = Resource.create()  # has a name and an id of the SDK's own making where those say nothing
    attributes = {SERVICE_VERSION: __version__, **found.attributes}
    if str(attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        attributes[SERVICE_NAME] = "lens-bridge"
    if SERVICE_INSTANCE_ID not in environment.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        attributes[SERVICE_INSTANCE_ID] = worker_id
    return Resource(attributes, found.schema_url)
