"""No link of a page leads nowhere, and every page is in the navigation."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, anchors, links, markdown_files, problem_of

PAGES = markdown_files()
HOME = ROOT / "docs" / "index.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    problems = {target: problem_of(page, target) for target in links(page.read_text())}
    assert {target: problem for target, problem in problems.items() if problem} == {}


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("nowhere.md", "no such file"),
        ("agent.md#nowhere", "no such anchor in docs/agent.md"),
        ("#nowhere", "no such anchor in docs/index.md"),
        ("../../outside.md", "leaves the repository"),
        ("http://example.org/", "no https address"),
        ("https://nowhere", "no https address"),
        ("agent.md#whose-gpu-is-it", None),
        ("https://www.rfc-editor.org/rfc/rfc9457", None),
    ],
)
def test_a_broken_link_is_found(target: str, problem: str | None) -> None:
    assert problem_of(HOME, target) == problem


def test_links_are_read_in_all_their_forms() -> None:
    page = (
        '[a](b.md "c") ![d](e.svg) <https://f.org>\n[g]: h.md\n`[no](no.md)` <img src="i.png">\n```\n[no](no.md)\n```\n'
    )
    assert links(page) == ["b.md", "e.svg", "https://f.org", "h.md", "i.png"]


def test_anchors_are_those_of_code_hosts() -> None:
    page = "# What `a` does: b's\n## Again\n## Again\n```sh\n# no heading\n```\n"
    assert anchors(page) == {"what-a-does-bs", "again", "again-1"}


def test_every_page_is_in_the_navigation() -> None:
    listed = {(HOME.parent / target.partition("#")[0]).resolve() for target in links(HOME.read_text())}
    site = [
        page for page in PAGES if page.parent == ROOT or page.parts[len(ROOT.parts)] in {"docs", "deploy", "examples"}
    ]
    assert {page for page in site if page not in listed} == {HOME}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_has_one_title_and_begins_with_a_sentence(page: Path) -> None:
    title, empty, first, *_ = page.read_text().splitlines()
    assert title.startswith("# ")
    assert empty == ""
    assert re.match(r"(?!```)[\w`*\[]", first)
