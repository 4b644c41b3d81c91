"""What requests come to that break off."""

import asyncio

import pytest
from fastapi import FastAPI
from starlette.types import Message

from tests.api.asgi import scope_of


def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_error_of_the_server(
    app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    messages: list[Message] = [
        {"type": "http.request", "body": b'{"gpu"', "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Message:
        return messages.pop(0)

    async def send(_: Message) -> None:
        pass

    scope = scope_of("/v1/jobs/nightly/predict", "POST", {"content-type": "application/json"})
    asyncio.run(app(scope, receive, send))
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
