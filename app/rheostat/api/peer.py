"""Another server on this machine."""

from http.client import HTTPConnection, HTTPException

from rheostat.schemas.operations import Health

_TIMEOUT_SECONDS = 2.0
_HEALTH_BYTES = 100


def is_rheostat(host: str, port: int) -> bool:
    """Return whether what listens there answers as a Rheostat server does."""
    connection = HTTPConnection(host, port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().read(_HEALTH_BYTES) == Health(status="ok").model_dump_json().encode()
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
