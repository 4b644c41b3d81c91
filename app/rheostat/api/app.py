"""The application: routes, errors and documentation around one service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib.resources import files

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

import rheostat
from rheostat.api import problems
from rheostat.api.authentication import Authenticate, Doorkeeper
from rheostat.api.desk import AsyncDesk
from rheostat.api.hosts import ANY, LOOPBACK_NAMES, CheckHost
from rheostat.api.hot_path import HotPath
from rheostat.api.metrics import Metrics
from rheostat.api.openapi import Application
from rheostat.api.rate_limit import RateLimit
from rheostat.api.routers import jobs, operations, power, trials
from rheostat.api.settings import Settings
from rheostat.api.tracing import make_tracer
from rheostat.api.watch import Watch
from rheostat.service import Service
from rheostat.service.operations import close_service, open_service


def create_app(settings: Settings) -> FastAPI:
    """Return the application over an open database, which it closes when it stops.

    Raises:
        ConfigurationError: The database's URL cannot be used.
        DatabaseUnavailable: The embedded database cannot be opened or upgraded.
    """
    # Not in the lifespan: what fails there is told by a traceback.
    service = open_from(settings)
    tracer, stop_tracing = make_tracer()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        app.state.desk.close()
        stop_tracing()
        close_service(service)

    app = Application(
        title="Rheostat",
        version=rheostat.__version__,
        summary="Which batch size and power limit a recurring training job should use.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.service = service
    app.state.desk = AsyncDesk(service, settings.request_timeout_seconds)
    app.state.metrics = Metrics()
    problems.install(app)
    app.add_middleware(HotPath)  # the innermost: whatever guards the routes guards this, too
    _guard(app, settings, service)
    app.add_middleware(Watch, metrics=app.state.metrics, tracer=tracer)
    for router in (jobs.router, trials.router, power.router, operations.router):
        app.include_router(router)
    _serve_docs(app)
    return app


def open_from(settings: Settings) -> Service:
    """Open the database that the settings name.

    Raises:
        ConfigurationError: The database's URL cannot be used.
        DatabaseUnavailable: The embedded database cannot be opened or upgraded.
    """
    password = settings.database_password
    return open_service(
        settings.database_url,
        timedelta(seconds=settings.lease_seconds),
        password=None if password is None else password.get_secret_value(),
        statement_timeout=timedelta(seconds=settings.request_timeout_seconds),
    )


def _guard(app: FastAPI, settings: Settings, service: Service) -> None:
    """Put before the routes what a request must get past, the innermost first."""
    app.add_middleware(
        problems.LimitBody,
        max_body_bytes=settings.max_body_bytes,
        timeout_seconds=settings.request_timeout_seconds,
    )
    doorkeeper = Doorkeeper(
        service, open_house=settings.on_loopback, rate_limit=RateLimit(settings.rate_limit_per_second)
    )
    app.add_middleware(Authenticate, doorkeeper=doorkeeper)
    hosts = settings.allowed_hosts
    if hosts is None:
        hosts = [*LOOPBACK_NAMES, settings.host] if settings.on_loopback else [ANY]
    app.add_middleware(CheckHost, names=tuple(host.lower() for host in hosts))


def _serve_docs(app: FastAPI) -> None:
    """Serve /docs with assets from an installed package: an air-gapped cluster has no CDN."""
    app.mount("/docs/assets", StaticFiles(directory=str(files("fastapi_offline") / "static")), "docs_assets")

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        assets = f"{request.scope.get('root_path', '').rstrip('/')}/docs/assets"
        return get_swagger_ui_html(
            openapi_url=f"{request.scope.get('root_path', '').rstrip('/')}{app.openapi_url}",
            title=f"{app.title} API",
            swagger_js_url=f"{assets}/swagger-ui-bundle.js",
            swagger_css_url=f"{assets}/swagger-ui.css",
            swagger_favicon_url=f"{assets}/favicon.png",
        )
