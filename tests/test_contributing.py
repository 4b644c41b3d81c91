"""What CONTRIBUTING, SECURITY and the changelog name is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_every_path_that_a_page_names_exists(name: str) -> None:
    folders = r"(?:\.ci|app|benchmarks|deploy|docs|examples|migrations|tests)"
    paths = re.findall(rf"[`(]({folders}/[\w./-]*)[`)#]", (ROOT / name).read_text())
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_target_that_it_names_exists() -> None:
    targets = set(re.findall(r"(?:^|`)make ([a-z-]+)", PAGE, re.MULTILINE))
    assert targets <= set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_it_says_where_every_layer_is() -> None:
    package = ROOT / "app" / "rheostat"
    layers = [path.name for path in package.iterdir() if (path / "__init__.py").exists()]
    assert [name for name in layers if f"`app/rheostat/{name}/`" not in PAGE] == []


def test_it_says_what_ci_runs() -> None:
    steps = re.findall(r"^(?:make ([a-z-]+)|\.ci/(\w+))", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    chapter = PAGE.partition("## What CI does")[2].partition("## ")[0]
    named = [target or script for target, script in steps if (target or script) != "build"]
    assert [step for step in named if step not in chapter] == []
