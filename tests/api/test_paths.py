"""What middlewares read from an ASGI scope."""

from types import SimpleNamespace

import pytest

from rheostat.api.paths import header, path_of, route_of
from tests.api.asgi import scope_of


@pytest.mark.parametrize(
    ("path", "root_path", "expected"),
    [("/healthz", "", "/healthz"), ("/rheostat/healthz", "/rheostat", "/healthz"), ("/healthz", "/other", "/healthz")],
)
def test_a_path_is_relative_to_where_the_application_is_mounted(path: str, root_path: str, expected: str) -> None:
    assert path_of(scope_of(path, root_path=root_path)) == expected


def test_the_first_header_of_a_name_counts() -> None:
    scope = scope_of()
    scope["headers"] = [(b"x-a", b"\xfc"), (b"x-a", b"second")]
    assert header(scope, b"x-a") == "\xfc"
    assert header(scope, b"x-b") is None


def test_a_route_is_named_by_its_template() -> None:
    assert route_of(scope_of(route=SimpleNamespace(path="/v1/jobs/{job_id}"))) == "/v1/jobs/{job_id}"
    assert route_of(scope_of(endpoint=object())) == "/docs/assets"
    assert route_of(scope_of()) == "none"
