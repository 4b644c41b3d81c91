"""The application: one service with its middlewares, routes and documentation."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import lru_cache, partial
from importlib.resources import files

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

import rheostat
from rheostat.api import problems
from rheostat.api.authentication import Authenticate, TokenAuthenticator, authorise_page, namespaces_of
from rheostat.api.behind_proxy import BehindProxy, trusted_proxies
from rheostat.api.body_limit import LimitBody
from rheostat.api.dependencies import answer_of
from rheostat.api.hosts import ANY, LOOPBACK_NAMES, CheckHost
from rheostat.api.metrics import Metrics
from rheostat.api.openapi import Application
from rheostat.api.paths import client_of, root_path_of
from rheostat.api.request_log import RequestLog
from rheostat.api.routers import control, jobs, operations, power, review, trials, zeus
from rheostat.api.security_headers import POLICY_HEADER, hash_source, page_policy
from rheostat.api.settings import Settings
from rheostat.api.tracing import add_tracing
from rheostat.api.waiting import PROBE_CHECKS, read_within
from rheostat.dashboard.app import TRIALS_CSV, dashboard_router
from rheostat.dashboard.site import Site
from rheostat.dashboard.summaries import Summaries
from rheostat.dashboard.visit import Surroundings
from rheostat.service import Service
from rheostat.service.operations import begin_deletion, open_service

_INLINE_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def create_app(settings: Settings) -> FastAPI:
    """Return the application over a database that it opens now and closes when it stops.

    Raises:
        ConfigurationError: The database's URL cannot be used.
        DatabaseUnavailable: The embedded database cannot be opened or upgraded.
    """
    # Not in the lifespan, where an error is reported with a traceback.
    service = open_from(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.deliver_with(asyncio.get_running_loop().call_soon_threadsafe)
        begin_deletion(service)
        yield
        stop_tracing()
        service.close()

    app = Application(
        title="Rheostat",
        version=rheostat.__version__,
        summary="Which batch size and power limit a recurring training job should use.",
        lifespan=lifespan,
        docs_url=None,
        openapi_url=None,
        redoc_url=None,
    )
    app.state.service = service
    app.state.request_timeout_seconds = settings.request_timeout_seconds
    app.state.metrics = Metrics()
    problems.install(app)
    authenticator = _add_guards(app, settings, service)
    app.add_middleware(RequestLog, metrics=app.state.metrics)
    app.add_middleware(BehindProxy, root_path=settings.root_path, trusted=trusted_proxies())
    stop_tracing = add_tracing(app)
    # The busiest first: they are tried in this order.
    ours = (trials.router, jobs.router, control.router, power.router, review.router, zeus.router, operations.router)
    for router in ours:
        app.router.routes.extend(router.routes)  # an included router is matched twice at every request
    app.include_router(_dashboard(settings, service, authenticator))
    _serve_docs(app)
    return app


def open_from(settings: Settings) -> Service:
    """Open the database in the settings.

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


def site_of(settings: Settings) -> Site:
    """Return what the settings say of the site."""
    return Site(
        settings.site_name, settings.electricity_price_per_kwh, settings.currency, settings.carbon_grams_per_kwh
    )


def _add_guards(app: FastAPI, settings: Settings, service: Service) -> TokenAuthenticator:
    """Add the middlewares that may refuse a request, the innermost first; return what authenticates."""
    app.add_middleware(
        LimitBody,
        max_body_bytes=settings.max_body_bytes,
        timeout_seconds=settings.request_timeout_seconds,
    )
    authenticator = TokenAuthenticator(
        service, allow_anonymous=settings.on_loopback, timeout_seconds=settings.request_timeout_seconds
    )
    app.add_middleware(Authenticate, authenticator=authenticator)
    hosts = settings.allowed_hosts
    if hosts is None:
        hosts = [*LOOPBACK_NAMES, settings.host] if settings.on_loopback else [ANY]
    app.add_middleware(CheckHost, names=tuple(host.lower() for host in hosts))
    return authenticator


def _dashboard(settings: Settings, service: Service, authenticator: TokenAuthenticator) -> APIRouter:
    async def check(request: Request, token: str) -> None:
        identity = await authenticator.identify(f"Bearer {token}", client_of(request.scope) or "")
        identity.authorise(service, "read")

    router = dashboard_router(
        Surroundings(
            reader=lambda request: authorise_page(request.scope, "read"),
            operator=lambda request: authorise_page(request.scope, "admin"),
            namespaces=lambda request: namespaces_of(request.scope),
            check=check,
            answer=answer_of,
            read=lambda request, read: read_within(request.app.state.request_timeout_seconds, read),
            site=site_of(settings),
            summaries=Summaries(),
        )
    )
    # Among the pages, where a browser is let in by its cookie.
    router.add_api_route(TRIALS_CSV, review.trials_csv, methods=["GET"], include_in_schema=False)
    return router


def _serve_docs(app: Application) -> None:
    """Serve /docs with assets from an installed package, because an air-gapped cluster reaches no CDN."""
    app.mount("/docs/assets", StaticFiles(directory=str(files("fastapi_offline") / "static")), "docs_assets")

    document = lru_cache(maxsize=8)(app.document)

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi(request: Request) -> Response:
        # In a thread: the first time it takes as long as a hundred requests.
        make = partial(document, root_path_of(request.scope))
        content = await read_within(request.app.state.request_timeout_seconds, make, PROBE_CHECKS)
        return Response(content, media_type="application/json")

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        root_path = root_path_of(request.scope)
        assets = f"{root_path}/docs/assets"
        page = get_swagger_ui_html(
            openapi_url=f"{root_path}/openapi.json",
            title=f"{app.title} API",
            swagger_js_url=f"{assets}/swagger-ui-bundle.js",
            swagger_css_url=f"{assets}/swagger-ui.css",
            swagger_favicon_url=f"{assets}/favicon.png",
        )
        page.headers[POLICY_HEADER] = page_policy(
            script_src=" ".join(["'self'", *map(hash_source, _INLINE_SCRIPT.findall(bytes(page.body).decode()))]),
            style_src="'self' 'unsafe-inline'",  # Swagger UI sets styles of elements
            img_src="'self' data:",
            connect_src="'self'",
        )
        return page
