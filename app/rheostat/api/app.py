"""The application: routes, errors and documentation around one service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

import rheostat
from rheostat.api import problems
from rheostat.api.routers import jobs, operations, power, trials
from rheostat.api.settings import Settings
from rheostat.service.operations import close_service, open_service


def create_app(settings: Settings) -> FastAPI:
    """Return the application; it opens the database when it starts and closes it when it stops."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.service = open_service(settings.database_url, timedelta(seconds=settings.lease_seconds))
        yield
        close_service(app.state.service)

    app = _Application(
        title="Rheostat",
        version=rheostat.__version__,
        summary="Which batch size and power limit a recurring training job should use.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        max_body_size=settings.max_body_bytes,
        generate_unique_id_function=lambda route: route.name,
    )
    problems.install(app)
    for router in (jobs.router, trials.router, power.router, operations.router):
        app.include_router(router)
    _serve_docs(app)
    return app


class _Application(FastAPI):
    """Names the media type of problems in the OpenAPI document, where FastAPI writes its own of errors."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        if self.openapi_schema is None:
            document = super().openapi()
            for methods in document["paths"].values():
                for operation in methods.values():
                    for status, answer in operation["responses"].items():
                        if status.startswith(("4", "5")):
                            answer["content"] = {problems.MEDIA_TYPE: answer["content"].pop("application/json")}
        assert self.openapi_schema is not None
        return self.openapi_schema


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
