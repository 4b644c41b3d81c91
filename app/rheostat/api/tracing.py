"""A span for each request, for OpenTelemetry: only where it is configured by its own variables, and installed."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

Attributes = Mapping[str, str | int]
Finish = Callable[[str, Attributes], None]
"""Gives a span its final name and attributes."""
Tracer = Callable[[str, Mapping[str, str]], AbstractContextManager[Finish]]
"""Opens the span of a request from its method and headers."""

_CONFIGURED_BY = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

_log = logging.getLogger(__name__)


def make_tracer() -> tuple[Tracer, Callable[[], None]]:
    """Return what opens spans, and what sends the last of them when the server stops."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or not any(map(os.environ.get, _CONFIGURED_BY)):
        return _no_span, _nothing
    try:
        return _open_telemetry()
    except ModuleNotFoundError as error:
        _log.warning("OpenTelemetry is configured and not installed (%s): pip install 'rheostat[otel]'", error.name)
        return _no_span, _nothing


def _open_telemetry() -> tuple[Tracer, Callable[[], None]]:
    # Here, since it is an extra, and takes its time to import.
    from opentelemetry import propagate  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    from opentelemetry.trace import SpanKind  # noqa: PLC0415

    name = os.environ.get("OTEL_SERVICE_NAME", "rheostat")
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    tracer = provider.get_tracer("rheostat")

    @contextmanager
    def span(method: str, headers: Mapping[str, str]) -> Iterator[Finish]:
        with tracer.start_as_current_span(method, propagate.extract(headers), SpanKind.SERVER) as current:

            def finish(name: str, attributes: Attributes) -> None:
                current.update_name(name)
                current.set_attributes(attributes)

            yield finish

    return span, provider.shutdown


@contextmanager
def _no_span(_: str, __: Mapping[str, str]) -> Iterator[Finish]:
    yield lambda _name, _attributes: None


def _nothing() -> None:
    """There is nothing to send."""
