"""How the two servers are asked for the same: begin a trial, and report that it reached its target."""

from typing import Any
from zlib import crc32

from benchmarks.server.load import request

BATCH_SIZES = [8, 16, 32, 64, 128, 256]
DEFAULT = 64
EPOCHS = 5
MAX_WATTS = 250


def _joules(batch_size: int, number: int) -> float:
    """Return what a run costs: the batch sizes differ, and so do the runs, a little."""
    base = 1000.0 + 400.0 * abs(BATCH_SIZES.index(batch_size) - 2)
    return base * (1.0 + crc32(str(number).encode()) % 100 / 1000)


class Rheostat:
    """This project's server.

    Args:
        policy: The policy of the jobs.
    """

    def __init__(self, policy: str) -> None:
        self._policy = policy
        gpu = {"model": "V100", "count": 1, "min_power_limit_watts": 100, "max_power_limit_watts": MAX_WATTS}
        self._predict = {"gpu": gpu}

    def register(self, job: str) -> bytes:
        """Return the request that registers a job."""
        settings = {
            "batch_sizes": BATCH_SIZES,
            "default_batch_size": DEFAULT,
            "target": {"metric": "accuracy", "value": 0.9, "direction": "maximize"},
            "max_epochs": 100,
            "policy": self._policy,
            "seed": 1,
        }
        return request("PUT", f"/v1/jobs/{job}", settings)

    def predict(self, job: str) -> bytes:
        """Return the request that begins a trial."""
        return request("POST", f"/v1/jobs/{job}/predict", self._predict)

    def observe(self, job: str, trial: Any) -> bytes:
        """Return the report that the trial reached its target."""
        joules = _joules(trial["batch_size"], trial["number"])
        report = {"epoch": EPOCHS, "metric": 0.95, "energy_joules": joules, "time_seconds": joules / MAX_WATTS}
        return request("POST", f"/v1/trials/{trial['trial_id']}/observe", report)


class Peer:
    """The server of Zeus's batch size optimizer."""

    def register(self, job: str) -> bytes:
        """Return the request that registers a job."""
        settings = {
            "job_id": job,
            "job_id_prefix": job[:4],
            "batch_sizes": BATCH_SIZES,
            "default_batch_size": DEFAULT,
            "target_metric": 0.9,
            "higher_is_better_metric": True,
            "max_epochs": 100,
            "mab_seed": 1,
            "max_power": MAX_WATTS,
            "number_of_gpus": 1,
            "gpu_model": "V100",
        }
        return request("POST", "/jobs", settings)

    def predict(self, job: str) -> bytes:
        """Return the request that begins a trial."""
        return request("GET", f"/jobs/batch_size?job_id={job}")

    def observe(self, job: str, trial: Any) -> bytes:
        """Return the report that the trial reached its target."""
        joules = _joules(trial["batch_size"], trial["trial_number"])
        report = {
            "job_id": job,
            "batch_size": trial["batch_size"],
            "trial_number": trial["trial_number"],
            "time": joules / MAX_WATTS,
            "energy": joules,
            "metric": 0.95,
            "current_epoch": EPOCHS,
        }
        return request("POST", "/report", report)
