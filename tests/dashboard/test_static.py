"""The files that pages load: from the installed packages, compressed, and fetched once."""

import re

import pytest

from rheostat.dashboard.static import accepts_gzip
from tests.dashboard.conftest import Pages

KINDS = {"dashboard.css": "text/css", "dashboard.js": "text/javascript", "icon.svg": "image/svg+xml"}


@pytest.mark.parametrize("name", [*KINDS, "plotly.min.js"])
def test_what_a_page_loads_is_served_compressed_and_kept_for_as_long_as_it_is_the_same(empty: Pages, name: str) -> None:
    address = re.search(rf"/assets/{re.escape(name)}\?v=\w+", empty.get("/").html)
    assert address is not None
    answer = empty.get(address[0]).answer  # a client that takes gzip, and unpacks it
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(KINDS.get(name, "text/javascript"))
    assert answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers["content-length"]) < len(answer.content)
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    plain = empty.get(address[0], headers={"Accept-Encoding": "identity"}).answer
    assert "content-encoding" not in plain.headers
    assert plain.content == answer.content
    assert b"http://cdn" not in plain.content


def test_a_file_without_its_version_is_asked_for_again_and_not_sent_twice(empty: Pages) -> None:
    first = empty.get("/assets/dashboard.css").answer
    assert first.headers["cache-control"] == "no-cache"
    again = empty.get("/assets/dashboard.css?v=old", headers={"If-None-Match": first.headers["etag"]}).answer
    assert (again.status_code, again.content) == (304, b"")
    changed = empty.get("/assets/dashboard.css", headers={"If-None-Match": '"other"'}).answer
    assert changed.status_code == 200


def test_what_is_no_file_of_the_pages_is_not_there(empty: Pages) -> None:
    for path in ("/assets/none.js", "/assets/..%2Fapp.py", "/assets/"):
        assert empty.get(path).answer.status_code == 404, path


def test_gzip_is_sent_to_those_who_take_it() -> None:
    accepted = ("gzip", "br, gzip;q=0.5", "*", "deflate, GZIP")
    refused = ("", "br", "gzip;q=0", "identity, gzip; q=0.0")
    assert [accepts_gzip(one) for one in (*accepted, *refused)] == [True] * 4 + [False] * 4
