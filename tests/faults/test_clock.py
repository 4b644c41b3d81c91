"""The clock of the server's host jumps, as after a suspend or a correction."""

from pathlib import Path

from tests.faults.invariants import check
from tests.faults.load import JOB, Trainers, register
from tests.serving import V100, migrate, serving

# Replaces what all modules import as `datetime`, before they do.
JUMPING = """
import datetime
import pathlib

OFFSET = pathlib.Path({offset!r})

class Kind(type):
    def __instancecheck__(cls, value):
        return isinstance(value, datetime.date) and hasattr(value, "hour")

class Jumping(datetime.datetime, metaclass=Kind):
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) + datetime.timedelta(hours=float(OFFSET.read_text()))

datetime.datetime = Jumping
"""


HOURS = (0, 10, -30, 48, 0)


def test_nothing_is_lost_or_counted_twice(database_url: str, tmp_path: Path) -> None:
    offset = tmp_path / "offset"
    offset.write_text("0")
    (tmp_path / "sitecustomize.py").write_text(JUMPING.format(offset=str(offset)))
    migrate(database_url)
    with serving(database_url, tmp_path / "log", PYTHONPATH=str(tmp_path)) as server:
        register(str(server.client.base_url))
        silent = server.client.post(f"/v1/jobs/{JOB}/predict", json={"gpu": V100}).json()
        with Trainers([str(server.client.base_url)]) as trainers:
            for jump in HOURS:
                offset.with_suffix(".new").write_text(str(jump))
                offset.with_suffix(".new").replace(offset)
                trainers.wait_for_reports(20)
        # A lease that a jump ended begins anew with the next sign of life.
        alive = server.client.post(f"/v1/trials/{silent['trial_id']}/heartbeat").raise_for_status().json()
        assert alive["state"] == "running"
        done = {"epoch": 2, "metric": 0.95, "energy_joules": 200.0, "time_seconds": 2.0}
        ended = server.client.post(f"/v1/trials/{silent['trial_id']}/observe", json=done).raise_for_status().json()
        assert ended["state"] == "converged"
        assert "Traceback" not in server.log()
    check(database_url, trainers.said)
    assert trainers.said.refusals == []
