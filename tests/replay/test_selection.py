"""Which recorded workloads are replayed."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from rheostat.errors import InvalidInput
from rheostat.replay.selection import select
from rheostat.replay.traces import Workload, read_power_trace, read_train_trace
from rheostat.replay.world import JobChoice
from tests.replay.examples import write_power_trace, write_train_trace
from tests.replay.test_command import app

KNOWN, UNKNOWN = Workload("cifar100", "shufflenet", "adadelta"), Workload("movielens-1m", "ncf", "adam")
CHOICE = JobChoice(target=0.7, default_batch_size=32)


@pytest.fixture
def artifact(tmp_path: Path) -> tuple[Path, Path]:
    """Write traces of a dataset with a published job and of one without, as the published files have them."""
    texts: dict[str, list[str]] = {"train": [], "power": []}
    for workload in (KNOWN, UNKNOWN):
        for name, path in (
            ("train", write_train_trace(tmp_path, workload=workload)),
            ("power", write_power_trace(tmp_path, workload=workload)),
        ):
            lines = path.read_text().splitlines(keepends=True)
            texts[name] += lines if not texts[name] else lines[1:]
    train, power = tmp_path / "summary_train.csv", tmp_path / "summary_power_t4.csv"
    train.write_text("".join(texts["train"]))
    power.write_text("".join(texts["power"]))
    return train, power


def test_what_makes_no_job_is_left_out_and_named(artifact: tuple[Path, Path]) -> None:
    train, power = artifact
    selection = select(read_train_trace(train), [read_power_trace(power)], CHOICE)
    assert [world.workload for world in selection.worlds] == [KNOWN]
    (left_out,) = selection.left_out
    assert left_out.startswith("movielens-1m/ncf/adam on t4: For movielens-1m there is no published job")


def test_a_dataset_that_is_named_is_not_left_out(artifact: tuple[Path, Path]) -> None:
    train, power = artifact
    with pytest.raises(InvalidInput, match="For movielens-1m there is no published job"):
        select(read_train_trace(train), [read_power_trace(power)], CHOICE, datasets=["cifar100", "movielens-1m"])


def test_the_command_replays_the_rest(artifact: tuple[Path, Path]) -> None:
    train, power = artifact
    arguments = ["--train", str(train), "--power", str(power), "--target", "0.7", "--default-batch-size", "32"]
    result = CliRunner().invoke(app, [*arguments, "--seeds", "1", "--recurrences", "5"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "cifar100/shufflenet/adadelta" in result.stdout
    assert result.stderr.count("Left out: movielens-1m/ncf/adam on t4") == 1
