"""Traces of requests by OpenTelemetry's own ASGI middleware: only where its variables are set and it is installed."""

import logging
import os
from collections.abc import Callable

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rheostat.api.paths import route_of
from rheostat.api.request_record import record_of
from rheostat.extras import install_command

_CONFIGURED_BY = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

_log = logging.getLogger(__name__)


def add_tracing(app: FastAPI) -> Callable[[], None]:
    """Trace the requests of an application, if OpenTelemetry is configured; return what sends the last spans."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or not any(map(os.environ.get, _CONFIGURED_BY)):
        return _nothing
    # The current names of attributes (http.request.method); read when the middleware is made.
    os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http")
    try:
        # Imported here because it is an extra, and slow to import.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ModuleNotFoundError as error:
        how = install_command("otel")
        _log.warning("OpenTelemetry is configured but not installed (%s): %s", error.name, how)
        return _nothing
    service_name = os.environ.get("OTEL_SERVICE_NAME", "rheostat")
    provider = TracerProvider(resource=Resource.create({"service.name": service_name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    app.add_middleware(_DescribeSpan)
    app.add_middleware(
        OpenTelemetryMiddleware,
        tracer_provider=provider,
        default_span_details=lambda scope: (scope["method"], {}),
        exclude_spans=["receive", "send"],
    )
    return provider.shutdown


class _DescribeSpan:
    """Names the span of a request by its route, which is known only once the application answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from opentelemetry.trace import get_current_span  # noqa: PLC0415

        async def describe(message: Message) -> None:
            if message["type"] == "http.response.start":
                span, route = get_current_span(), route_of(scope)
                span.update_name(f"{scope['method']} {route}")
                span.set_attributes({"http.route": route, "rheostat.request_id": record_of(scope).request_id})
            await send(message)

        await self._app(scope, receive, describe)


def _nothing() -> None:
    """Stands in for the shutdown of a tracer that does not exist."""
