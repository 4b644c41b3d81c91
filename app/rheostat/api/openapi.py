"""The OpenAPI document: FastAPI's own, with the media type of problems and the namespace header added."""

import json
from typing import Any

from fastapi import FastAPI

from rheostat.api.authentication import NAMESPACE_HEADER
from rheostat.api.paths import ZEUS_PREFIX
from rheostat.api.problems import MEDIA_TYPE
from rheostat.schemas.fields import NAMESPACE_PATTERN

_NAMESPACE_PARAMETER = {
    "name": NAMESPACE_HEADER,
    "in": "header",
    "required": False,
    "description": "Namespace to work in; for admins whose token is bound to none.",
    "schema": {"type": "string", "pattern": NAMESPACE_PATTERN},
}


class Application(FastAPI):
    """A FastAPI application with our OpenAPI document."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document, which is generated once."""
        if self.openapi_schema is None:
            for path, methods in super().openapi()["paths"].items():
                for operation in methods.values():
                    _complete(operation, has_problems=not path.startswith(f"{ZEUS_PREFIX}/"))
        assert self.openapi_schema is not None
        return self.openapi_schema

    def document(self, root_path: str) -> bytes:
        """Return the OpenAPI document as JSON.

        Args:
            root_path: The path that the application is mounted at.
        """
        servers = {"servers": [{"url": root_path}]} if root_path else {}
        return json.dumps(self.openapi() | servers, separators=(",", ":")).encode()


def _complete(operation: dict[str, Any], *, has_problems: bool) -> None:
    if "security" in operation:
        operation.setdefault("parameters", []).append(_NAMESPACE_PARAMETER)
    for status, answer in operation["responses"].items():
        if has_problems and status.startswith(("4", "5")):
            answer["content"] = {MEDIA_TYPE: answer["content"].pop("application/json")}
