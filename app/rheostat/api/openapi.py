"""The OpenAPI document: what FastAPI writes, with the media type of problems and links between operations."""

from typing import Any

from fastapi import FastAPI

from rheostat.api.authentication import NAMESPACE_HEADER
from rheostat.api.problems import MEDIA_TYPE
from rheostat.schemas.server import NAMESPACE_PATTERN

# What an operation answers with, and who takes it as a path parameter: documents, and lets a fuzzer go deep.
_LINKS = {
    "register_job": (
        "job_id",
        (
            "get_job",
            "update_job",
            "predict",
            "observe_run",
            "predict_power_limit",
            "observe_power_limit",
            "list_trials",
            "estimates",
            "savings",
            "delete_job",
        ),
    ),
    "predict": ("trial_id", ("observe", "heartbeat", "get_trial")),
}


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
        """Return the OpenAPI document; it is made once."""
        if self.openapi_schema is None:
            for methods in super().openapi()["paths"].values():
                for operation in methods.values():
                    _complete(operation)
        assert self.openapi_schema is not None
        return self.openapi_schema


def _complete(operation: dict[str, Any]) -> None:
    if "security" in operation:
        operation.setdefault("parameters", []).append(_NAMESPACE_PARAMETER)
    for status, answer in operation["responses"].items():
        if status.startswith(("4", "5")):
            answer["content"] = {MEDIA_TYPE: answer["content"].pop("application/json")}
    if operation["operationId"] in _LINKS:
        name, followers = _LINKS[operation["operationId"]]
        operation["responses"]["201"]["links"] = {
            follower: {"operationId": follower, "parameters": {name: f"$response.body#/{name}"}}
            for follower in followers
        }
