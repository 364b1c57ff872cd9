"""A collector: OTLP over HTTP on loopback, decoded by OpenTelemetry's own messages; it may be made to misbehave."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Mapping
from typing import Any, Self

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

__all__ = ["OtlpReceiver", "OtlpSpan", "attributes_of", "traceparent_of"]


class OtlpReceiver:
    """``status`` is what it answers; ``hang`` makes it answer nothing. Spans count once they were answered with 200."""

    def __init__(self) -> None:
        self.status = 200
        self.hang = False
        self.requests = 0
        self.headers: list[Mapping[str, str]] = []  # in any case
        self.bodies: list[bytes] = []
        self.spans: list[OtlpSpan] = []
        self.resources: list[dict[str, Any]] = []
        self._released = asyncio.Event()  # those whom it lets hang, at its end
        self._port = 0
        self._runner: web.AppRunner | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What a worker has to be given, to send here and soon."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self._port}",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            "NO_PROXY": "127.0.0.1",
        }

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen, at the same port as before where there was one."""
        self._released.clear()
        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/v1/traces", self._take)
        self._runner = web.AppRunner(app, shutdown_timeout=0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Hang up on everybody."""
        self._released.set()
        if self._runner:
            await self._runner.cleanup()
            self._runner = None

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.requests += 1
        if self.hang:
            await self._released.wait()
            return web.Response(status=500)
        self.headers.append(request.headers)
        if self.status != 200:
            return web.Response(status=self.status, text="no")
        if request.headers.get("Content-Encoding") == "gzip" and body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        self.bodies.append(body)
        message = ExportTraceServiceRequest.FromString(body)
        for resource in message.resource_spans:
            self.resources.append(_values(resource.resource.attributes))
            for scope in resource.scope_spans:
                self.spans += scope.spans
        answer = ExportTraceServiceResponse().SerializeToString()
        return web.Response(body=answer, content_type="application/x-protobuf")


def traceparent_of(span: OtlpSpan) -> str:
    """As entries bear it, but for the flags."""
    return f"00-{span.trace_id.hex()}-{span.span_id.hex()}"


def attributes_of(span: OtlpSpan) -> dict[str, Any]:
    """Names and plain values."""
    return _values(span.attributes)


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
