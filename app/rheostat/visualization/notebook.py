"""The dashboard's figures in a notebook: ``plot_costs(client, "my-job")``. Needs ``rheostat[visualization]``.

Each function asks a server through a :class:`rheostat.Client` and returns a :class:`plotly.graph_objects.Figure`. A job
that ran on several kinds of GPUs has a figure for each: ``placement`` counts them as `estimates` does, from 0.
"""

from typing import Protocol

import plotly.graph_objects as go

from rheostat.schemas.calibration import Calibration
from rheostat.schemas.fields import TrialState
from rheostat.schemas.insight import Estimates
from rheostat.schemas.review import ObservationPage, PowerCurves
from rheostat.schemas.server import JobDetail
from rheostat.schemas.trials import TrialDetail, TrialPage
from rheostat.visualization.arms import arms
from rheostat.visualization.calibration import calibration
from rheostat.visualization.costs import costs
from rheostat.visualization.power import energy_against_time, power_curves
from rheostat.visualization.style import Figure
from rheostat.visualization.trials import learning_curve

MOST_TRIALS = 2000
_PAGE = 200


class Reader(Protocol):
    """What the figures ask of a client."""

    def get_job(self, job_id: str) -> JobDetail:
        """Return a job."""

    def estimates(self, job_id: str) -> Estimates:
        """Return what the policy believes of a job."""

    def power_curves(self, job_id: str) -> PowerCurves:
        """Return what power limits cost."""

    def calibration(self, job_id: str) -> Calibration:
        """Return how well costs were predicted."""

    def list_trials(
        self, job_id: str, *, state: TrialState | None = None, limit: int = 50, cursor: str | None = None
    ) -> TrialPage:
        """Return a page of trials."""

    def get_trial(self, trial_id: str) -> TrialDetail:
        """Return a trial."""

    def list_observations(self, trial_id: str, *, limit: int = 50, cursor: str | None = None) -> ObservationPage:
        """Return a page of a trial's reports."""


def plot_costs(client: Reader, job_id: str, *, placement: int = 0) -> go.Figure:
    """Plot the cost of every run of a job, of its latest 2000."""
    job, estimates = client.get_job(job_id), client.estimates(job_id)
    settings = job.settings
    trials = _trials(client, job, placement)
    return _drawn(costs(trials, estimates.placements[placement], settings.default_batch_size, settings.batch_sizes))


def plot_arms(client: Reader, job_id: str, *, placement: int = 0) -> go.Figure:
    """Plot what is believed of each batch size of a job."""
    job, estimates = client.get_job(job_id), client.estimates(job_id)
    trials = _trials(client, job, placement)
    return _drawn(arms(estimates.placements[placement], trials, job.settings.default_batch_size))


def plot_power_curves(client: Reader, job_id: str, *, placement: int = 0) -> go.Figure:
    """Plot what each power limit costs, by batch size."""
    job = client.get_job(job_id)
    return _drawn(power_curves(client.power_curves(job_id).placements[placement], job.settings.batch_sizes))


def plot_energy_against_time(client: Reader, job_id: str, *, placement: int = 0) -> go.Figure:
    """Plot energy and time of every converged run of a job."""
    job = client.get_job(job_id)
    return _drawn(energy_against_time(_trials(client, job, placement), job.settings.batch_sizes))


def plot_calibration(client: Reader, job_id: str, *, placement: int = 0) -> go.Figure:
    """Plot what the latest runs of a job cost against what was predicted when they began."""
    return _drawn(calibration(client.calibration(job_id).placements[placement]))


def plot_learning_curve(client: Reader, trial_id: str) -> go.Figure:
    """Plot the metric of a trial by epoch."""
    job = client.get_job(client.get_trial(trial_id).job_id)
    page = client.list_observations(trial_id, limit=_PAGE)
    observations = list(page.observations)
    while page.next_cursor is not None:
        page = client.list_observations(trial_id, limit=_PAGE, cursor=page.next_cursor)
        observations += page.observations
    return _drawn(learning_curve(observations, job.settings.target))


def _trials(client: Reader, job: JobDetail, placement: int) -> list[TrialDetail]:
    gpu = job.placements[placement].gpu
    page = client.list_trials(job.job_id, limit=_PAGE)
    trials = list(page.trials)
    while page.next_cursor is not None and len(trials) < MOST_TRIALS:
        page = client.list_trials(job.job_id, limit=_PAGE, cursor=page.next_cursor)
        trials += page.trials
    return [trial for trial in trials if trial.gpu.is_placed_with(gpu)]


def _drawn(figure: Figure | None) -> go.Figure:
    """Return a Plotly figure; an empty one where there is nothing to show yet."""
    return go.Figure(figure or {})
