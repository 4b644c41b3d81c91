"""Traces are read whole or refused with the place that is wrong."""

from pathlib import Path

import pytest

from rheostat.errors import InvalidInput
from rheostat.replay.traces import EpochFigures, Workload, read_power_trace, read_train_trace
from tests.replay.examples import RUNS, WORKLOAD, write, write_power_trace, write_train_trace

TRAIN_HEADER = "dataset,network,batch_size,optimizer,learning_rate,run,target_metric,target_epoch"
POWER_HEADER = "dataset,network,batch_size,optimizer,power_limit,time_per_epoch,average_power"


def test_all_lines_of_a_run_together_are_its_learning_curve(tmp_path: Path) -> None:
    curves = read_train_trace(write_train_trace(tmp_path)).curves[WORKLOAD]
    assert {size: len(of_size) for size, of_size in curves.items()} == {size: len(runs) for size, runs in RUNS.items()}
    assert curves[16][0].epoch_of_level == {0.5: 2, 0.7: 6, 0.9: None}
    assert curves[16][0].name == "learning rate 1e-1, run 1"


@pytest.mark.parametrize("never", ["nan", "NaN", ""])
def test_a_level_that_was_never_reached_has_no_epoch(tmp_path: Path, never: str) -> None:
    path = write(tmp_path / "train.csv", [TRAIN_HEADER, f"digits,perceptron,8,sgd,0.1,1,0.5,{never}"])
    assert read_train_trace(path).curves[WORKLOAD][8][0].epoch_of_level == {0.5: None}


def test_runs_of_one_number_at_two_learning_rates_are_two_runs(tmp_path: Path) -> None:
    lines = [f"digits,perceptron,8,sgd,{rate},1,0.5,{epoch}" for rate, epoch in (("0.1", 3), ("0.2", 4))]
    curves = read_train_trace(write(tmp_path / "train.csv", [TRAIN_HEADER, *lines])).curves[WORKLOAD][8]
    assert [curve.epoch_of_level[0.5] for curve in curves] == [3, 4]


def test_columns_may_come_in_any_order_among_others(tmp_path: Path) -> None:
    header = "average_power,note,time_per_epoch,power_limit,optimizer,batch_size,network,dataset"
    path = write(tmp_path / "power.csv", [header, "90.5,fine,7.5,100,sgd,8,perceptron,digits"])
    assert read_power_trace(path).figures[WORKLOAD] == {8: {100: EpochFigures(7.5, 90.5)}}


def test_an_epoch_s_energy_is_its_time_by_its_power() -> None:
    assert EpochFigures(time_seconds=10.0, power_watts=90.0).energy_joules == 900.0


def test_an_epoch_that_was_measured_twice_counts_with_its_mean(tmp_path: Path) -> None:
    lines = ["digits,perceptron,8,sgd,100,10,80", "digits,perceptron,8,sgd,100,20,100"]
    figures = read_power_trace(write(tmp_path / "power.csv", [POWER_HEADER, *lines])).figures
    assert figures[WORKLOAD][8][100] == EpochFigures(15.0, 90.0)


def test_the_gpu_s_range_is_that_of_all_workloads(tmp_path: Path) -> None:
    lines = [
        "digits,perceptron,8,sgd,150,10,80",
        "letters,perceptron,8,sgd,100,10,80",
        "letters,perceptron,8,sgd,250,9,99",
    ]
    trace = read_power_trace(write(tmp_path / "power.csv", [POWER_HEADER, *lines]))
    assert trace.limits_watts == (100, 150, 250)
    assert set(trace.figures) == {WORKLOAD, Workload("letters", "perceptron", "sgd")}


def test_the_gpu_is_named_by_the_file_unless_it_is_named_otherwise(tmp_path: Path) -> None:
    path = write_power_trace(tmp_path, gpu="v100")
    assert read_power_trace(path).gpu_model == "v100"
    assert read_power_trace(path, "Tesla V100").gpu_model == "Tesla V100"


GOOD_TRAIN = ["digits", "perceptron", "8", "sgd", "0.1", "1", "0.5", "3"]
GOOD_POWER = ["digits", "perceptron", "8", "sgd", "100", "7.5", "90"]


@pytest.mark.parametrize(
    ("column", "text", "fault"),
    [
        ("dataset", "", "must not be empty"),
        ("run", "", "must not be empty"),
        ("batch_size", "many", "must be a finite number"),
        ("batch_size", "0", "must be greater than 0"),
        ("batch_size", "8.5", "must be a whole number"),
        ("target_metric", "inf", "must be a finite number"),
        ("target_epoch", "2.5", "must be a whole number"),
        ("target_epoch", "-3", "must be greater than 0"),
    ],
)
def test_a_fault_in_a_train_trace_is_named_with_file_line_and_column(
    tmp_path: Path, column: str, text: str, fault: str
) -> None:
    values = dict(zip(TRAIN_HEADER.split(","), GOOD_TRAIN, strict=True)) | {column: text}
    path = write(tmp_path / "train.csv", [TRAIN_HEADER, ",".join(GOOD_TRAIN), ",".join(values.values())])
    with pytest.raises(InvalidInput) as caught:
        read_train_trace(path)
    assert caught.value.message == f"{path}, line 3, column {column}: {text!r} {fault}."
    assert caught.value.hint


@pytest.mark.parametrize(
    ("column", "text"), [("power_limit", "nan"), ("time_per_epoch", "0"), ("average_power", "-1"), ("network", " ")]
)
def test_a_fault_in_a_power_trace_is_named_with_file_line_and_column(tmp_path: Path, column: str, text: str) -> None:
    values = dict(zip(POWER_HEADER.split(","), GOOD_POWER, strict=True)) | {column: text}
    path = write(tmp_path / "power.csv", [POWER_HEADER, ",".join(values.values())])
    with pytest.raises(InvalidInput, match=f"power.csv, line 2, column {column}"):
        read_power_trace(path)


def test_two_lines_of_a_run_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    lines = ["digits,perceptron,8,sgd,0.1,1,0.5,3", "digits,perceptron,8,sgd,0.1,1,0.5,4"]
    with pytest.raises(InvalidInput, match="line 3, column target_epoch: '4' contradicts 3 on an earlier line"):
        read_train_trace(write(tmp_path / "train.csv", [TRAIN_HEADER, *lines]))


@pytest.mark.parametrize("line", ["digits,perceptron,8", ",".join([*GOOD_POWER, "more"])])
def test_a_line_with_too_few_or_too_many_fields_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(InvalidInput, match="line 2: as many fields are needed as the header has columns, 7"):
        read_power_trace(write(tmp_path / "power.csv", [POWER_HEADER, line]))


def test_a_file_of_the_other_kind_is_refused_by_its_columns(tmp_path: Path) -> None:
    why = "line 1 lacks the columns power_limit, time_per_epoch, average_power.*and has dataset, .* the right file"
    with pytest.raises(InvalidInput, match=why):
        read_power_trace(write_train_trace(tmp_path))


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "line 1 lacks the columns dataset"),
        (f"{POWER_HEADER}\n".encode(), "has a header and nothing else"),
        (f"{POWER_HEADER}\n\xff\n".encode("latin-1"), "is not a CSV file in UTF-8"),
        (f'{POWER_HEADER}\n"digits'.encode(), "is not a CSV file in UTF-8"),
    ],
)
def test_a_file_that_is_no_trace_is_refused(tmp_path: Path, content: bytes, fault: str) -> None:
    path = tmp_path / "power.csv"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=fault):
        read_power_trace(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"nowhere.csv cannot be read: No such file or directory\."):
        read_train_trace(tmp_path / "nowhere.csv")


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "power.csv"
    path.write_text(f"{POWER_HEADER}\n{','.join(GOOD_POWER)}\n", encoding="utf-8-sig")
    assert WORKLOAD in read_power_trace(path).figures
