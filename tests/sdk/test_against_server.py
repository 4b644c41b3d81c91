from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rheostat import Client, Gpu, JobSettings, LearningRate, PowerLimitMeasurement, Target
from rheostat.errors import KeyReused, ServerRefused
from rheostat.schemas.control import OrderRequest
from rheostat.schemas.power import ObservePowerLimitRequest, PredictPowerLimitRequest, SurveyRequest
from rheostat.schemas.server import JobUpdate
from rheostat.schemas.trials import ObserveRequest, ObserveRunRequest, PredictRequest
from rheostat.sdk import reporter
from rheostat.sdk.outbox import deliver_spool
from tests.sdk.server_process import ServerProcess
from tests.waiting import PATIENCE_SECONDS, eventually

SETTINGS = JobSettings(
    batch_sizes=[32, 64, 128],
    default_batch_size=64,
    target=Target(metric="accuracy", value=0.9, direction="maximize"),
    max_epochs=10,
    power_limits_watts=[200, 250],
    learning_rate=LearningRate(default=0.1, scaling="linear"),
    seed=1,
)
GPU = Gpu(model="Test GPU", min_power_limit_watts=100, max_power_limit_watts=250)
MEASUREMENTS = [
    PowerLimitMeasurement(power_limit_watts=250, time_seconds=5.0, energy_joules=1200.0, steps=50.0),
    PowerLimitMeasurement(power_limit_watts=200, time_seconds=5.1, energy_joules=900.0, steps=50.0),
]


class TestOperations:
    def test_a_job_is_registered_found_changed_and_deleted(self, client: Client, job_id: str) -> None:
        assert client.register_job(job_id, SETTINGS).settings == SETTINGS
        assert client.get_job(job_id) in client.list_jobs(limit=200).jobs
        assert client.update_job(job_id, JobUpdate(eta_knob=0.25)).settings.eta_knob == 0.25
        client.delete_job(job_id)
        with pytest.raises(ServerRefused) as refused:
            client.get_job(job_id)
        assert refused.value.server_code == "job_not_found"

    def test_a_job_is_pinned_paused_and_forced(self, client: Client, job_id: str) -> None:
        client.register_job(job_id, SETTINGS)
        client.pin_job(job_id, OrderRequest(batch_size=32, power_limit_watts=200, reason="a test"))
        client.force_job(job_id, OrderRequest(batch_size=64))
        control = client.pause_job(job_id).control
        assert control is not None
        assert (control.pin and control.pin.batch_size, control.force and control.force.batch_size) == (32, 64)
        assert [client.predict(job_id, PredictRequest(gpu=GPU)).batch_size for _ in range(2)] == [64, 32]
        client.unpin_job(job_id)
        client.unforce_job(job_id)
        assert client.resume_job(job_id).control is None
        with pytest.raises(ServerRefused) as refused:
            client.pin_job(job_id, OrderRequest(batch_size=17))
        assert (refused.value.status, refused.value.fields[0].field) == (409, "batch_size")

    def test_a_running_trial_holds_a_job_unless_forced(self, server: ServerProcess, job_id: str) -> None:
        with Client(server.url, retry_for_seconds=0.0) as client:
            client.register_job(job_id, SETTINGS)
            client.predict(job_id, PredictRequest(gpu=GPU))
            with pytest.raises(ServerRefused) as refused:
                client.delete_job(job_id)
            assert refused.value.server_code == "job_busy"
            client.delete_job(job_id, force=True)

    def test_a_trial_is_predicted_observed_and_listed(self, client: Client, job_id: str) -> None:
        client.register_job(job_id, SETTINGS)
        trial = client.predict(job_id, PredictRequest(gpu=GPU, node="node-1"), idempotency_key="run-1")
        assert client.predict(job_id, PredictRequest(gpu=GPU), idempotency_key="run-1") == trial
        assert client.heartbeat(trial.trial_id).state == "running"
        answer = client.observe(
            trial.trial_id, ObserveRequest(epoch=1.0, metric=0.95, energy_joules=5e3, time_seconds=30.0)
        )
        assert (answer.state, answer.action) == ("converged", "stop")
        assert client.get_trial(trial.trial_id) == client.list_trials(job_id, state="converged").trials[0]
        assert client.list_trials(job_id, state="running").trials == []

    def test_power_limits_are_measured_and_answered(self, client: Client, job_id: str) -> None:
        client.register_job(job_id, SETTINGS)
        question = PredictPowerLimitRequest(batch_size=64, gpu=GPU)
        assert client.predict_power_limit(job_id, question).profile_power_limits_watts == [250, 200]
        request = ObservePowerLimitRequest(batch_size=64, gpu=GPU, measurements=MEASUREMENTS)
        assert client.observe_power_limit(job_id, request).power_limit_watts == 200
        assert client.predict_power_limit(job_id, question).power_limit_watts == 200

    def test_a_survey_is_asked_for_until_nothing_is_left_and_leads_the_first_run(
        self, client: Client, job_id: str
    ) -> None:
        client.register_job(job_id, SETTINGS)
        asked = []
        while steps := client.survey(job_id, SurveyRequest(gpu=GPU)).survey:
            size, limits = steps[0].batch_size, steps[0].power_limits_watts
            asked.append((size, limits))
            figures: dict[str, Any] = {"outcome": "oom"}
            if size < 128:
                seconds = 640.0 / size
                slices = [
                    PowerLimitMeasurement(
                        power_limit_watts=limit,
                        time_seconds=seconds,
                        energy_joules=seconds * limit,
                        steps=10,
                        steps_per_epoch=10,
                    )
                    for limit in limits
                ]
                figures = {"measurements": slices}
            request = ObservePowerLimitRequest(batch_size=size, gpu=GPU, **figures)
            client.observe_power_limit(job_id, request, idempotency_key=f"{job_id}-{size}")
            client.observe_power_limit(job_id, request, idempotency_key=f"{job_id}-{size}")
        assert asked == [(64, [250, 200]), (32, [200]), (128, [200])]
        assert client.get_job(job_id).placements[0].smallest_oom_batch_size == 128
        assert client.predict(job_id, PredictRequest(gpu=GPU)).batch_size == 64
        assert client.savings(job_id).placements[0].time_seconds.surveyed == 40.0
        assert client.estimates(job_id).placements[0].account is None

    def test_a_past_run_is_recorded_and_seen_in_the_estimates(self, client: Client, job_id: str) -> None:
        client.register_job(job_id, SETTINGS)
        run = ObserveRunRequest(batch_size=32, gpu=GPU, cost=1000.0, converged=True)
        first = client.observe_run(job_id, run, idempotency_key="import-1")
        assert client.observe_run(job_id, run, idempotency_key="import-1") == first
        arms = client.estimates(job_id).placements[0].arms
        assert {arm.batch_size: arm.runs for arm in arms} == {32: 1, 64: 0, 128: 0}
        assert client.savings(job_id).placements[0].converged_runs == 0  # it was not asked for here

    def test_estimates_are_priced_at_another_knob(self, client: Client, job_id: str) -> None:
        client.register_job(job_id, SETTINGS)
        run = ObserveRunRequest(batch_size=32, gpu=GPU, energy_joules=100.0, time_seconds=2.0, converged=True)
        client.observe_run(job_id, run)
        for eta_knob in (0.0, 1.0):
            asked = client.estimates(job_id, eta_knob=eta_knob)
            client.update_job(job_id, JobUpdate(eta_knob=eta_knob))
            assert asked == client.estimates(job_id)
        for wrong in (-0.1, 1.1, float("nan")):
            with pytest.raises(ServerRefused, match="eta_knob"):
                client.estimates(job_id, eta_knob=wrong)


def of_settings(log: pytest.LogCaptureFixture) -> list[str]:
    """Return the warnings of settings that differ; a block without a report has another one."""
    return [text for record in log.records if "instead of" in (text := record.getMessage())]


class TestTrial:
    def test_a_run_reaches_its_target(self, client: Client, job_id: str) -> None:
        with client.trial(job_id, SETTINGS, GPU) as trial:
            assert (trial.batch_size, trial.learning_rate) == (64, 0.1)
            assert trial.profile_power_limits_watts[0] == 250
            assert trial.measured(MEASUREMENTS[:1]) is None
            assert trial.profile_power_limits_watts[0] == 200
            assert trial.measured(MEASUREMENTS[1:]) == 200
            assert not trial.profile_power_limits_watts
            assert trial.report(0.5, energy_joules=1e3, time_seconds=10.0) == "continue"
            assert trial.report(0.92, energy_joules=2e3, time_seconds=20.0) == "stop"
        detail = client.list_trials(job_id).trials[0]
        assert (detail.state, detail.epochs, detail.energy_joules) == ("converged", 2, 2e3)

    def test_changed_settings_train_by_the_registered_ones_with_a_warning(
        self, client: Client, job_id: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        client.register_job(job_id, SETTINGS)
        more = SETTINGS.model_copy(update={"batch_sizes": [32, 64, 128, 256], "max_epochs": 20})
        with client.trial(job_id, more, GPU) as trial:
            assert trial.settings == SETTINGS
        (warning,) = of_settings(caplog)
        assert "max_epochs 10 instead of 20" in warning
        assert 'on_conflict="update"' in warning

    def test_what_cannot_be_changed_is_told_as_such(
        self, client: Client, job_id: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        client.register_job(job_id, SETTINGS)
        lower = Target(metric="accuracy", value=0.8, direction="maximize")
        for change in ({"seed": 2}, {"target": lower}):
            with client.trial(job_id, SETTINGS.model_copy(update=change), GPU):
                pass
        seed, target = of_settings(caplog)
        assert "register another job" in seed
        assert 'on_conflict="update"' not in seed
        assert "target accuracy>=0.9 instead of accuracy>=0.8;" in target

    def test_changed_settings_are_taken_over_as_far_as_they_can_be(
        self, client: Client, job_id: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        client.register_job(job_id, SETTINGS)
        changes = {
            "batch_sizes": [64, 128, 256],
            "default_batch_size": 128,
            "max_epochs": 20,
            "target": Target(metric="accuracy", value=0.95, direction="maximize"),
            "power_limits_watts": [150, 250],
            "seed": 2,
        }
        with client.trial(job_id, SETTINGS.model_copy(update=changes), GPU, on_conflict="update") as trial:
            assert trial.batch_size == 128
            assert trial.settings == client.get_job(job_id).settings
        known = {name: getattr(trial.settings, name) for name in changes}
        assert known == changes | {"batch_sizes": [32, 64, 128, 256], "seed": 1}
        (warning,) = of_settings(caplog)
        assert "seed 1 instead of 2" in warning
        with client.trial(job_id, trial.settings, GPU):
            pass
        assert len(of_settings(caplog)) == 1

    def test_a_key_whose_trial_has_ended_is_an_error_or_a_new_trial_as_asked(self, client: Client, job_id: str) -> None:
        with client.trial(job_id, SETTINGS, GPU, idempotency_key="night") as first:
            first.report(0.95)
        with (
            pytest.raises(KeyReused, match="has ended: converged"),
            client.trial(job_id, SETTINGS, GPU, idempotency_key="night"),
        ):
            pytest.fail("training began")
        with client.trial(job_id, SETTINGS, GPU, idempotency_key="night", on_used_key="new") as second:
            assert second.trial_id != first.trial_id
            second.report(0.95)

    @pytest.mark.parametrize(
        ("error", "state"), [(MemoryError(), "oom"), (KeyboardInterrupt(), "cancelled"), (None, "failed")]
    )
    def test_the_state_of_a_run_that_ends_early_depends_on_how_it_ends(
        self, client: Client, job_id: str, error: BaseException | None, state: str
    ) -> None:
        def train() -> None:
            with client.trial(job_id, SETTINGS, GPU) as trial:
                trial.report(0.5)
                if error is not None:
                    raise error

        if error is None:
            train()
        else:
            with pytest.raises(type(error)):
                train()
        assert client.list_trials(job_id).trials[0].state == state


def test_a_server_that_was_restarted_gets_the_end_of_the_run(tmp_path: Path, spool: Path) -> None:
    with ServerProcess(tmp_path) as server, Client(server.url, retry_for_seconds=0.1) as client:
        with client.trial("nightly", SETTINGS, GPU) as trial:
            trial.report(0.1, energy_joules=100.0)
            server.kill()
            assert trial.report(0.2, energy_joules=200.0) == "continue"
            server.start()
            assert trial.report(0.3, energy_joules=300.0) == "continue"
            assert trial.report(0.95, energy_joules=400.0) == "stop"
        eventually(lambda: deliver_spool(client, spool) == 0)  # what a busy machine did not send in time
        detail = client.list_trials("nightly").trials[0]
        assert (detail.state, detail.epochs, detail.energy_joules) == ("converged", 4, 400)


def test_a_long_epoch_does_not_cost_the_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter, "_SHORTEST_HEARTBEAT_SECONDS", 0.1)
    monkeypatch.setattr(reporter, "_LONGEST_HEARTBEAT_SECONDS", 0.1)
    with (
        ServerProcess(tmp_path, lease_seconds=PATIENCE_SECONDS) as server,
        Client(server.url) as client,
        client.trial("nightly", SETTINGS, GPU),
    ):
        first = client.list_trials("nightly").trials[0].lease_expires_at
        eventually(lambda: client.list_trials("nightly").trials[0].lease_expires_at > first + timedelta(seconds=1))
        assert client.list_trials("nightly").trials[0].state == "running"
