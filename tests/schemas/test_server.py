"""The rules that both the server and the SDK apply."""

import math

import pytest
from pydantic import ValidationError

from rheostat.schemas.server import Gpu, JobSettings, LearningRate, Target


def settings(target: Target | None = None, learning_rate: LearningRate | None = None) -> JobSettings:
    return JobSettings(
        batch_sizes=[32, 64, 128],
        default_batch_size=64,
        max_epochs=10,
        target=target,
        learning_rate=learning_rate,
    )


class TestLearningRate:
    @pytest.mark.parametrize(
        ("scaling", "batch_size", "expected"),
        [
            ("linear", 128, 0.2),
            ("linear", 32, 0.05),
            ("sqrt", 128, 0.1 * math.sqrt(2)),
            ("none", 128, 0.1),
            ("linear", 64, 0.1),
        ],
    )
    def test_it_follows_the_batch_size_as_the_job_says(self, scaling: str, batch_size: int, expected: float) -> None:
        learning_rate = LearningRate.model_validate({"default": 0.1, "scaling": scaling})
        assert settings(learning_rate=learning_rate).learning_rate_for(batch_size) == expected

    def test_a_job_without_one_has_none(self) -> None:
        assert settings().learning_rate_for(128) is None


class TestConvergence:
    @pytest.mark.parametrize(
        ("direction", "metric", "converged"),
        [
            ("maximize", 0.9, True),
            ("maximize", 0.89, False),
            ("minimize", 0.9, True),
            ("minimize", 0.91, False),
            ("maximize", math.nan, False),
            ("minimize", math.nan, False),
            ("maximize", None, False),
        ],
    )
    def test_a_run_has_converged_at_its_target(self, direction: str, metric: float | None, converged: bool) -> None:
        target = Target.model_validate({"metric": "accuracy", "value": 0.9, "direction": direction})
        assert settings(target).has_converged(metric, epoch=1) is converged

    def test_its_last_epoch_does_not_stand_in_for_the_target(self) -> None:
        target = Target(metric="accuracy", value=0.9, direction="maximize")
        assert not settings(target).has_converged(0.5, epoch=10)

    def test_without_a_target_it_has_converged_after_its_epochs(self) -> None:
        assert not settings().has_converged(0.99, epoch=9.5)
        assert settings().has_converged(None, epoch=10)


class TestDefaultBatchSize:
    @pytest.mark.parametrize(("max_batch_size", "expected"), [(None, 64), (64, 64), (500, 64), (63, 32), (16, 16)])
    def test_it_is_the_largest_that_fits_when_the_default_does_not(
        self, max_batch_size: int | None, expected: int
    ) -> None:
        assert settings().default_batch_size_within(max_batch_size) == expected


class TestGpu:
    def test_its_limits_are_given_together_or_not_at_all(self) -> None:
        assert Gpu(model="laptop").max_power_limit_watts is None
        assert Gpu(model="fixed", min_power_limit_watts=200, max_power_limit_watts=200).count == 1
        for limits in ({"min_power_limit_watts": 100}, {"max_power_limit_watts": 100}):
            with pytest.raises(ValidationError, match="both"):
                Gpu.model_validate({"model": "V100", **limits})
        with pytest.raises(ValidationError, match="must not be less than min_power_limit_watts, 200"):
            Gpu(model="V100", min_power_limit_watts=200, max_power_limit_watts=199)

    def test_only_scopes_that_are_known_are_taken(self) -> None:
        with pytest.raises(ValidationError, match="power_scope"):
            Gpu.model_validate({"model": "V100", "power_scope": "node"})


def test_lists_may_be_any_sequence_of_python() -> None:
    settings = JobSettings.model_validate(
        {
            "batch_sizes": (64, 32),
            "default_batch_size": 32,
            "max_epochs": 1,
            "power_limits_watts": range(100, 250, 50),
        }
    )
    assert (settings.batch_sizes, settings.power_limits_watts) == ([32, 64], [100, 150, 200])
