"""Runs of before, from a file."""

from pathlib import Path

import pytest

from rheostat import service as use_cases
from rheostat.errors import InvalidInput, JobNotFound
from rheostat.service import Service
from rheostat.service.history_import import import_history
from tests.domain.examples import JOB
from tests.service.examples import register

HEADER = "run,batch_size,gpu_model,gpu_count,energy_joules,time_seconds,converged,epochs,curve,power_limit_watts"
PLAIN = "batch_size,epochs,metric,energy_joules,time_seconds"
RUNS = [
    "2026-03-01,32,V100,1,80000,400,true,10,1:0.2;5:0.6;10:0.95,250",
    "2026-03-02,64,V100,1,90000,380,,12,1:0.1;12:0.91,",
    "2026-03-03,128,V100,1,,500,no,,,",
]


def write(path: Path, *lines: str, header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def test_runs_are_recorded_once_however_often_the_file_is_imported(service: Service, tmp_path: Path) -> None:
    register(service, policy="rheostat", max_epochs=20)
    file = write(tmp_path / "history.csv", *RUNS)
    for _ in range(2):
        assert import_history(service, file, JOB) == {JOB: 3}
    arms = {arm.batch_size: arm for arm in use_cases.estimates(service, JOB).placements[0].arms}
    assert {size: arm.runs for size, arm in arms.items() if arm.runs} == {32: 1, 64: 1, 128: 1}
    assert arms[32].epochs == pytest.approx(10, rel=0.1)
    write(file, *RUNS, "2026-03-04,32,V100,1,81000,405,true,10,,")
    import_history(service, file, JOB)
    arms = {arm.batch_size: arm for arm in use_cases.estimates(service, JOB).placements[0].arms}
    assert arms[32].runs == 2


def test_runs_without_names_are_told_apart_by_their_lines(service: Service, tmp_path: Path) -> None:
    register(service, policy="rheostat")
    file = write(tmp_path / "history.csv", *["32,V100,100"] * 3, header="batch_size,gpu_model,cost")
    for _ in range(2):
        import_history(service, file, JOB)
    (arm,) = [arm for arm in use_cases.estimates(service, JOB).placements[0].arms if arm.runs]
    assert arm.runs == 3


def test_a_column_can_name_the_job(service: Service, tmp_path: Path) -> None:
    register(service, "nightly", policy="rheostat")
    register(service, "weekly", policy="rheostat")
    lines = ["nightly,32,V100,100", "weekly,32,V100,100", "weekly,64,V100,100"]
    file = write(tmp_path / "history.csv", *lines, header="job,batch_size,gpu_model,cost")
    assert import_history(service, file, None) == {"nightly": 1, "weekly": 2}


@pytest.mark.parametrize("separator", [";", "\t", " , "])
def test_a_file_may_be_written_by_a_spreadsheet(service: Service, tmp_path: Path, separator: str) -> None:
    register(service, policy="rheostat")
    lines = [separator.join(line) for line in (("batch_size", "gpu_model", "cost"), ("32", '"V100"', "100"))]
    file = tmp_path / "history.csv"
    file.write_bytes(("\ufeff" + "\r\n".join([*lines, ""])).encode())
    assert import_history(service, file, JOB) == {JOB: 1}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a,33,V100,1,1,1,true,,,", r"line 3, column batch_size: '33' is not among those of nightly"),
        ("a,32,,1,1,1,true,,,", r"line 3, column gpu_model: '' must not be empty"),
        ("a,32,V100,1,-1,1,true,,,", r"line 3, column energy_joules: '-1' must be greater than 0"),
        ("a,32,V100,1,1,1,maybe,,,", r"line 3, column converged: 'maybe' must be true or false"),
        ("a,32,V100,1,1,1,,1,1=0.5,", r"line 3, column curve: '1=0.5' must be written as 1:0.52"),
        ("a,32,V100,1,1,1,,1,2:0.5,", r"line 3, column curve: .*must ascend"),
        ("a,32,V100,70000,1,1,,1,,", r"line 3, column gpu_count: .*less than or equal to 65536"),
        ("a,32,V100,1,,,,1,,", r"line 3: give either cost"),
        ("a,32,V100", r"line 3: as many fields are needed as the header has columns, 10"),
        ("2026-03-01,32,V100,1,9,400,true,10,,250", r"line 3: The Idempotency-Key belongs to another run"),
    ],
)
def test_an_error_says_where_it_is(service: Service, tmp_path: Path, line: str, words: str) -> None:
    register(service, policy="rheostat")
    with pytest.raises(InvalidInput, match=words):
        import_history(service, write(tmp_path / "history.csv", RUNS[0], line), JOB)
    if "Key" not in words:
        assert use_cases.estimates(service, JOB).placements == []


def test_a_column_that_is_not_known_is_refused(service: Service, tmp_path: Path) -> None:
    register(service)
    file = write(tmp_path / "history.csv", "32,V100,1", header="batch_size,gpu_model,enrgy_joules")
    with pytest.raises(InvalidInput, match="unknown columns: enrgy_joules") as refused:
        import_history(service, file, JOB, defaults={"gpu_count": "1"})
    columns = refused.value.hint.removeprefix("There may be: ").rstrip(".").split(", ")
    assert "energy_joules" in columns
    assert len(columns) == len(set(columns))


def test_the_job_must_be_there(service: Service, tmp_path: Path) -> None:
    with pytest.raises(JobNotFound):
        import_history(service, write(tmp_path / "history.csv", RUNS[0]), "unknown")


def test_what_a_file_leaves_out_is_given_once_for_all_its_lines(service: Service, tmp_path: Path) -> None:
    register(service, policy="rheostat", max_epochs=20)
    file = write(tmp_path / "history.csv", "32,10,0.95,80000,400", "64,12,0.5,90000,380", header=PLAIN)
    for _ in range(2):
        assert import_history(service, file, JOB, {"gpu_model": "V100", "gpu_count": "4"}) == {JOB: 2}
    (placement,) = use_cases.estimates(service, JOB).placements
    assert (placement.gpu.model, placement.gpu.count) == ("V100", 4)
    assert {arm.batch_size: arm.runs for arm in placement.arms if arm.runs} == {32: 1, 64: 1}


def test_the_metric_at_the_end_says_whether_a_run_reached_the_target(service: Service, tmp_path: Path) -> None:
    register(service, policy="rheostat", max_epochs=20)
    file = write(tmp_path / "history.csv", "32,10,0.95,80000,400", "64,12,0.5,90000,380", header=PLAIN)
    import_history(service, file, JOB, {"gpu_model": "V100"})
    (placement,) = use_cases.estimates(service, JOB).placements
    assert [(arm.batch_size, arm.status) for arm in placement.arms if arm.runs] == [
        (32, "best known"),
        (64, "has not converged yet"),
    ]


def test_a_file_imported_before_is_known_again_when_defaults_are_given(service: Service, tmp_path: Path) -> None:
    register(service, policy="rheostat")
    file = write(tmp_path / "history.csv", "32,V100,100", header="batch_size,gpu_model,cost")
    import_history(service, file, JOB)
    import_history(service, file, JOB, {"gpu_count": "1"})
    (arm,) = [arm for arm in use_cases.estimates(service, JOB).placements[0].arms if arm.runs]
    assert arm.runs == 1


def test_a_metric_needs_its_epoch(service: Service, tmp_path: Path) -> None:
    register(service, policy="rheostat")
    file = write(tmp_path / "history.csv", "32,V100,100,0.9", header="batch_size,gpu_model,cost,metric")
    with pytest.raises(InvalidInput, match=r"line 2, column metric: '0\.9' needs the epochs"):
        import_history(service, file, JOB)
