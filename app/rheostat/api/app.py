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
from rheostat.api.desk import AsyncDesk
from rheostat.api.hot_path import HotPath
from rheostat.api.openapi import Application
from rheostat.api.routers import jobs, operations, power, trials
from rheostat.api.settings import Settings
from rheostat.service.operations import close_service, open_service


def create_app(settings: Settings) -> FastAPI:
    """Return the application over an open database, which it closes when it stops.

    Raises:
        ConfigurationError: The database's URL cannot be used.
        DatabaseUnavailable: The embedded database cannot be opened or upgraded.
    """
    # Not in the lifespan: what fails there is told by a traceback.
    service = open_service(settings.database_url, timedelta(seconds=settings.lease_seconds))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        app.state.desk.close()
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
    app.state.desk = AsyncDesk(service)
    problems.install(app)
    app.add_middleware(HotPath)  # the innermost: whatever guards the routes guards this, too
    app.add_middleware(problems.LimitBody, max_body_bytes=settings.max_body_bytes)
    for router in (jobs.router, trials.router, power.router, operations.router):
        app.include_router(router)
    _serve_docs(app)
    return app


def prepare_database(settings: Settings) -> None:
    """Bring the embedded database to this version before several processes open it.

    Raises:
        ConfigurationError: The database's URL cannot be used.
        DatabaseUnavailable: The embedded database cannot be opened or upgraded.
    """
    close_service(open_service(settings.database_url, timedelta(seconds=settings.lease_seconds)))


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
