"""What docs/replay.md and docs/policies.md say is what happens."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rheostat.cli import app

DOCS = Path(__file__).parents[2] / "docs"
REPLAY, POLICIES = ((DOCS / name).read_text() for name in ("replay.md", "policies.md"))


def _blocks(page: str, language: str) -> list[str]:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    return [text for its_language, text in blocks if its_language == language]


def test_the_example_makes_the_table_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in zip(("train.csv", "power_a100.csv"), _blocks(REPLAY, "text"), strict=True):
        Path(name).write_text(text)
    command = next(block for block in _blocks(REPLAY, "sh") if block.startswith("rheostat replay"))
    answered = CliRunner().invoke(app, shlex.split(command.replace("\\\n", ""))[1:])
    assert answered.exit_code == 0, answered.output
    (printed,) = _blocks(REPLAY, "")
    assert answered.output.strip() == printed.strip()


def test_a_log_becomes_lines_of_a_trace(capsys: pytest.CaptureFixture[str]) -> None:
    (program,) = _blocks(REPLAY, "python")
    exec(compile(program, "replay.md", "exec"), {})
    said = capsys.readouterr().out.split()
    assert said == ["reviews,tiny-bert,64,adamw,4e-5,1,0.8,2", "reviews,tiny-bert,64,adamw,4e-5,1,0.85,4"]


def test_the_example_of_a_policy_decides_as_the_page_says() -> None:
    program = "\n".join(_blocks(POLICIES, "python"))
    named: dict[str, Any] = {}
    exec(compile(program, "policies.md", "exec"), named)
    assert named["policy"].predict(named["job"]) == 32
