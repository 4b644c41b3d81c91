"""Headers for browsers, on every answer."""

import httpx
import pytest

from rheostat.api.security_headers import SECURITY_HEADERS


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/v1/jobs", "/v1/none", "/openapi.json", "/none"])
def test_every_answer_has_them(http: httpx.Client, path: str) -> None:
    answer = http.get(path)
    for name, value in SECURITY_HEADERS:
        assert answer.headers.get_list(name.decode()) == [value.decode()]


def test_a_page_permits_no_script_but_its_own(http: httpx.Client) -> None:
    page = http.get("/docs")
    (policy,) = page.headers.get_list("content-security-policy")
    directives = dict(part.split(" ", 1) for part in policy.split("; "))
    assert directives["default-src"] == "'none'"
    assert directives["frame-ancestors"] == "'none'"
    assert directives["script-src"].startswith("'self' 'sha256-")
    assert page.headers["x-frame-options"] == "DENY"


def test_files_that_are_the_same_for_all_may_be_kept(http: httpx.Client) -> None:
    asset = http.get("/docs/assets/swagger-ui.css")
    assert asset.headers["x-content-type-options"] == "nosniff"
    assert "cache-control" not in asset.headers
