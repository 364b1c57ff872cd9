"""A span for each entry, with a link to the commit that wrote it: ``python linked_spans.py 'lens:{camera-1}:events'``.

It takes the packages of ``pip install 'lens-bridge[otel]'``. OTEL_EXPORTER_OTLP_ENDPOINT says where the spans go.
"""

import os
import sys

import redis
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
tracer = provider.get_tracer("my-service")
propagator = TraceContextTextMapPropagator()

client = redis.Redis.from_url(os.environ.get("BRIDGE_REDIS__URL", "redis://localhost:6379"))
stream = sys.argv[1]

for entry_id, fields in client.xrange(stream):
    carrier = {"traceparent": fields.get(b"traceparent", b"").decode()}
    commit = trace.get_current_span(propagator.extract(carrier)).get_span_context()
    links = [trace.Link(commit)] if commit.is_valid else []  # an entry from before the worker traced has none
    # A link, not a parent: one commit has many entries, and they are handled when somebody has time for them.
    with tracer.start_as_current_span(f"process {stream}", kind=trace.SpanKind.CONSUMER, links=links) as span:
        span.set_attribute("messaging.system", "redis")
        span.set_attribute("messaging.destination.name", stream)
        print(entry_id.decode(), fields[b"type"].decode())  # your work
