"""The page of the examples names each of them, and nothing else."""

import re

from tests.examples.runs import EXAMPLES

PAGE = (EXAMPLES / "README.md").read_text()
ROWS = re.findall(r"^\| \[(.+?)\]\((.+?)\) \| .* \| .* \| `(.+?)`", PAGE, re.MULTILINE)


def test_every_example_has_a_row() -> None:
    ignored = {"README.md", "past_runs.csv", "__pycache__"}
    there = {path.name for path in EXAMPLES.iterdir() if not path.name.startswith(".")}
    assert {name for name, _, _ in ROWS} == there - ignored
    assert all((EXAMPLES / link).is_file() for _, link, _ in ROWS)


def test_the_command_of_a_row_is_that_of_the_example_itself() -> None:
    scripts = [(name, command) for name, _, command in ROWS if name.endswith((".py", ".sh"))]
    assert [name for name, command in scripts if command not in (EXAMPLES / name).read_text()] == []
    assert len(scripts) == 7
