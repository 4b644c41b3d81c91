"""Asks a running agent, for the command line."""

import http.client
import json
from pathlib import Path
from typing import Any

from rheostat.errors import ServerRefused, ServerUnreachable
from rheostat.unix_http import UnixConnection

_PATIENCE_SECONDS = 30.0


def ask(path: Path, method: str, target: str, body: object = None) -> Any:
    """Ask the agent behind a socket; returns what it answers.

    Raises:
        ServerUnreachable: When no agent answers there.
        ServerRefused: When it refuses.
    """
    connection = UnixConnection(path, _PATIENCE_SECONDS)
    try:
        connection.request(method, target, None if body is None else json.dumps(body))
        response = connection.getresponse()
        answer = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ServerUnreachable(f"No agent answers at {path}: {error}.") from None
    finally:
        connection.close()
    if response.status >= http.HTTPStatus.BAD_REQUEST and "detail" in answer:
        raise ServerRefused(
            answer["detail"],
            status=response.status,
            server_code=answer["code"],
            server_retryable=answer["retryable"],
            hint=answer["hint"],
        )
    return answer
