"""Spans to an OpenTelemetry collector by OTLP over HTTP, where the environment names one.

The variables are those of the OpenTelemetry specification: OTEL_EXPORTER_OTLP_ENDPOINT switches it on,
OTEL_EXPORTER_OTLP_HEADERS, OTEL_TRACES_SAMPLER, OTEL_RESOURCE_ATTRIBUTES and the others are read by the SDK. Nothing of
the SDK is loaded without an endpoint (16 MB of memory).
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import structlog

from mail_runtime import tracing
from mail_runtime.tracing import Kind, Trace

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

log = structlog.get_logger()

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
# A collector that doesn't answer mustn't hold up the end of a process: the last spans are given up then.
LAST_SPANS_S: Final = 2.0


@contextmanager
def exporting(service: str, environ: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Export the spans of this process while the block runs, if an endpoint is set."""
    if not any(environ.get(name) for name in ENDPOINTS):
        yield
        return
    provider = _provider(service)
    tracing.record_with(_Recorder(provider))
    log.info("exporting_traces", endpoint=next(filter(None, map(environ.get, ENDPOINTS))))
    try:
        yield
    finally:
        tracing.record_with(None)
        last = threading.Thread(target=provider.shutdown, name="last-spans", daemon=True)
        last.start()
        last.join(LAST_SPANS_S)


def _provider(service: str) -> TracerProvider:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    own = {"service.name": service, "service.namespace": "postroom", "service.instance.id": socket.gethostname()}
    provider = TracerProvider(resource=Resource.create(own), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class _Recorder:
    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("postroom")

    def start(self, name: str, parent: Trace | None, kind: Kind) -> _Recording:
        from opentelemetry import trace as api
        from opentelemetry.context import Context

        context = Context()
        if parent is not None:
            flags = api.TraceFlags(api.TraceFlags.SAMPLED if parent.sampled else api.TraceFlags.DEFAULT)
            before = api.SpanContext(
                int(parent.trace_id, 16), int(parent.span_id, 16), is_remote=True, trace_flags=flags
            )
            context = api.set_span_in_context(api.NonRecordingSpan(before), Context())
        return _Recording(self._tracer.start_span(name, context, api.SpanKind[kind.upper()]))


class _Recording:
    def __init__(self, span: Span) -> None:
        self._span = span
        at = span.get_span_context()
        self.trace = Trace(f"{at.trace_id:032x}", f"{at.span_id:016x}", at.trace_flags.sampled)

    def end(self, name: str, error: BaseException | None) -> None:
        from opentelemetry.trace import Status, StatusCode

        self._span.update_name(name)
        if error is not None:
            # What it says may name people: its kind is enough.
            self._span.set_status(Status(StatusCode.ERROR, type(error).__name__))
        self._span.end()
