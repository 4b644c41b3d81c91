"""``rheostat replay`` from its options to its output."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from rheostat.errors import InvalidInput
from rheostat.replay.command import replay
from tests.replay.examples import write_power_trace, write_train_trace

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(replay)

JOB = ("--target", "0.7", "--max-epochs", "10", "--default-batch-size", "32")


def run(directory: Path, *options: str, gpus: tuple[str, ...] = ("t4",)) -> str:
    """Return what the command writes to standard output; an error is raised as it was."""
    power = [option for gpu in gpus for option in ("--power", str(write_power_trace(directory, gpu=gpu)))]
    arguments = ["--train", str(write_train_trace(directory)), *power, "--seeds", "2", "--recurrences", "20", *options]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return result.stdout


def test_it_tells_excess_and_savings_in_a_table(tmp_path: Path) -> None:
    lines = run(tmp_path, *JOB).splitlines()
    assert lines[0] == "Policy rheostat, eta_knob 0.5, 20 recurrences, mean over 2 seeds."
    (heading,) = [line for line in lines if line.startswith("workload")]
    assert heading.split()[4:] == ["at", "10", "at", "20", "behind", "energy", "time", "cost"]


def test_several_gpus_are_replayed_in_one_go_and_can_be_named(tmp_path: Path) -> None:
    output = run(tmp_path, *JOB, "--gpu", "First", "--gpu", "Second", gpus=("t4", "a40"))
    assert [line.split()[1] for line in output.splitlines() if line.startswith("digits/")] == ["First", "Second"]


def test_gpu_names_must_be_as_many_as_the_files(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="--gpu is given 1 times and --power 2 times"):
        run(tmp_path, *JOB, "--gpu", "First", gpus=("t4", "a40"))


def test_json_on_standard_output_is_all_that_is_there(tmp_path: Path) -> None:
    summary = json.loads(run(tmp_path, *JOB, "--json", "-", "--first-seed", "7", "--eta-knob", "1"))
    (world,) = summary["worlds"]
    assert [seed["seed"] for seed in world["seeds"]] == [7, 8]
    assert summary["plan"]["eta_knob"] == 1.0
    assert "not measured joules" in summary["note"]


def test_files_get_the_same_figures_and_every_trial(tmp_path: Path) -> None:
    figures, trials = tmp_path / "figures.json", tmp_path / "trials.jsonl"
    output = run(tmp_path, *JOB, "--json", str(figures), "--decisions", str(trials))
    assert output.startswith("Policy rheostat")
    lines = [json.loads(line) for line in trials.read_text().splitlines()]
    seeds = json.loads(figures.read_text())["worlds"][0]["seeds"]
    assert len(lines) == sum(seed["trials"] for seed in seeds)
    assert {line["seed"] for line in lines} == {0, 1}


def test_a_file_that_cannot_be_written_is_refused_before_the_replay(tmp_path: Path) -> None:
    arguments = ["--train", "x", "--power", "y", "--json", str(tmp_path / "nowhere" / "figures.json")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "--json" in result.stderr


def test_a_beta_knob_of_zero_is_none(tmp_path: Path) -> None:
    summary = json.loads(run(tmp_path, *JOB, "--beta-knob", "0", "--json", "-"))
    assert summary["plan"]["beta_knob"] is None


def test_the_direction_can_be_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="Pass --direction maximize"):
        run(tmp_path, *JOB, "--direction", "minimize")


def test_an_unknown_dataset_says_which_options_it_needs(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="so --target, --max-epochs, --default-batch-size must be given"):
        run(tmp_path)


def test_a_dataset_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"share no workload of letters\. Both hold: digits/perceptron/sgd\."):
        run(tmp_path, *JOB, "--dataset", "letters")


def test_the_command_line_starts_without_numpy() -> None:
    code = "import sys, rheostat.replay.command; sys.exit('numpy' in sys.modules or 'httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
