"""What a real service answers of a job that has explored."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from rheostat import service as use_cases
from rheostat.schemas.calibration import PlacementCalibration
from rheostat.schemas.insight import PlacementEstimates
from rheostat.schemas.review import Observation, PlacementPowerCurves
from rheostat.schemas.server import JobDetail
from rheostat.schemas.trials import TrialDetail
from rheostat.service import Service, review
from rheostat.service.operations import open_service
from tests.domain.examples import JOB
from tests.visualization.examples import explore


@dataclass(frozen=True)
class Explored:
    """A job as the wire shows it; ``trials`` newest first, ``reports`` of the first one."""

    job: JobDetail
    trials: list[TrialDetail]
    estimates: PlacementEstimates
    curves: PlacementPowerCurves
    calibration: PlacementCalibration
    reports: list[Observation]


@pytest.fixture(scope="session")
def explored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Explored]:
    service: Service = open_service(f"sqlite:///{tmp_path_factory.mktemp('figures') / 'r.db'}", timedelta(hours=1))
    explore(service)
    trials = use_cases.list_trials(service, JOB, state=None, cursor=None, limit=100).trials
    yield Explored(
        job=use_cases.get_job(service, JOB),
        trials=trials,
        estimates=use_cases.estimates(service, JOB).placements[0],
        curves=review.power_curves(service, JOB).placements[0],
        calibration=review.calibration(service, JOB).placements[0],
        reports=review.list_observations(service, trials[-1].trial_id, cursor=None, limit=100).observations,
    )
    service.close()
