"""What a built site loads is in it."""

from pathlib import Path

import pytest

from docs.check_site import problems_of


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.html", '<script src="https://cdn.example.org/a.js"></script>', "from another host"),
        ("a.html", '<link rel="stylesheet" href="//cdn.example.org/a.css">', "from another host"),
        ("a.css", "@import 'https://fonts.example.org/a';", "from another host"),
        ("a.css", "body { background: url(missing.png) }", "is missing"),
        ("a.html", '<img src="missing.svg?v=1">', "is missing"),
        ("a.html", '<a href="https://example.org">link</a><img src="here.svg?v=1"><img src="data:image/png,">', None),
    ],
)
def test_what_is_loaded_from_elsewhere_is_found(tmp_path: Path, name: str, text: str, problem: str | None) -> None:
    (tmp_path / "here.svg").touch()
    (tmp_path / name).write_text(text)
    found = problems_of(tmp_path)
    assert [problem in each for each in found if problem] == [True] * (problem is not None)
    assert len(found) == (problem is not None)
