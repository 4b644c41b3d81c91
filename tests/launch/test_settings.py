from pathlib import Path

import pytest

from rheostat import Client, Gpu, JobSettings, LearningRate, Target
from rheostat.errors import ConfigurationError
from rheostat.launch import settings
from rheostat.launch.plan import LaunchPlan, check

CONFIG = """
batch_sizes = [32, 64]
default_batch_size = 64
max_epochs = 60

[target]
metric = "accuracy"
value = 0.96
direction = "maximize"

[learning_rate]
default = 0.01
scaling = "sqrt"
"""
JOB = JobSettings(
    batch_sizes=[32, 64],
    default_batch_size=64,
    max_epochs=60,
    target=Target(metric="accuracy", value=0.96, direction="maximize"),
    learning_rate=LearningRate(default=0.01, scaling="sqrt"),
)


class TestGiven:
    def test_a_file_and_options_say_the_same(self, tmp_path: Path) -> None:
        path = tmp_path / "job.toml"
        path.write_text(CONFIG)
        options = {
            "batch_sizes": settings.whole_numbers("--batch-sizes", "64,32"),
            "default_batch_size": 64,
            "max_epochs": 60,
            "target": settings.target("accuracy>=0.96"),
            "learning_rate.default": 0.01,
            "learning_rate.scaling": "sqrt",
            "seed": None,
        }
        assert settings.given_settings({}, path) == settings.given_settings(options, None) == JOB

    def test_options_come_before_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "job.toml"
        path.write_text(CONFIG)
        given = settings.given_settings({"max_epochs": 5, "learning_rate.default": 0.5, "beta_knob": 0.0}, path)
        assert given is not None
        assert (given.max_epochs, given.beta_knob) == (5, None)
        assert given.learning_rate == LearningRate(default=0.5, scaling="sqrt")

    def test_without_options_and_file_there_are_none(self) -> None:
        assert settings.given_settings({"max_epochs": None}, None) is None

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"batch_sizes": [32]}, "--default-batch-size.*is missing.*--max-epochs.*is missing"),
            ({"learning_rate.default": 0.1}, "--lr-scaling.*is missing"),
            ({"eta_knob": 2.0}, "--eta-knob"),
            ({"batch_sizes": [32], "default_batch_size": 48}, r"\(--default-batch-size\): must be one of"),
            ({"batchsizes": [32]}, r"batchsizes: unknown field; did you mean batch_sizes\?"),
            ({"learning_rate.defualt": 0.1}, r"learning_rate\.defualt: unknown field; did you mean default\?"),
        ],
    )
    def test_mistakes_name_the_option(self, options: dict[str, object], message: str) -> None:
        with pytest.raises(ConfigurationError, match=message):
            settings.given_settings(options, None)

    @pytest.mark.parametrize("text", ["batch_sizes = ", 'colour = "red"'])
    def test_mistakes_in_a_file_name_it(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "job.toml"
        path.write_text(text)
        with pytest.raises(ConfigurationError, match=str(path)):
            settings.given_settings({}, path)


class TestTexts:
    def test_targets(self) -> None:
        assert settings.target("val/loss <= 0.3") == {"metric": "val/loss", "value": 0.3, "direction": "minimize"}

    @pytest.mark.parametrize("text", ["accuracy", "accuracy=0.9", "accuracy>=", "accuracy>=high", ">=0.9"])
    def test_an_invalid_target(self, text: str) -> None:
        with pytest.raises(ConfigurationError, match="in quotes"):
            settings.target(text)

    def test_gpus(self) -> None:
        assert settings.gpu("Tesla V100:100-250", 2) == Gpu(
            model="Tesla V100", count=2, min_power_limit_watts=100, max_power_limit_watts=250
        )

    @pytest.mark.parametrize("text", ["V100", "V100:100", "V100:250-100", ":100-250"])
    def test_an_invalid_gpu(self, text: str) -> None:
        with pytest.raises(ConfigurationError, match="--gpu"):
            settings.gpu(text, 1)

    def test_lists(self) -> None:
        with pytest.raises(ConfigurationError, match="--batch-sizes '32;64'"):
            settings.whole_numbers("--batch-sizes", "32;64")


class TestRegistered:
    def test_they_are_the_servers_and_cached_for_runs_without_it(self, client: Client, job: str) -> None:
        client.register_job(job, JOB)
        known = settings.registered_settings(client, job)
        assert known == JOB
        with Client("http://127.0.0.1:9", retry_for_seconds=0) as lost:
            lost.base_url = client.base_url
            assert settings.registered_settings(lost, job) == known

    def test_an_unknown_job_is_refused_with_a_remedy(self, client: Client, job: str) -> None:
        with pytest.raises(ConfigurationError, match=r"not registered.*--batch-sizes"):
            settings.registered_settings(client, job)
        with (
            Client("http://127.0.0.1:9", retry_for_seconds=0) as lost,
            pytest.raises(ConfigurationError, match="--config"),
        ):
            settings.registered_settings(lost, job)


class TestCheck:
    def test_a_learning_rate_must_be_known(self) -> None:
        plan = LaunchPlan(["train", "--lr={learning_rate}"], metric_pattern="(.*)")
        check(JOB, plan)
        with pytest.raises(ConfigurationError, match="--learning-rate"):
            check(JOB.model_copy(update={"learning_rate": None}), plan)

    def test_a_target_needs_a_place_to_read_it_from(self) -> None:
        with pytest.raises(ConfigurationError, match="--metric-pattern"):
            check(JOB, LaunchPlan(["train"]))
        check(JOB.model_copy(update={"target": None}), LaunchPlan(["train"]))

    def test_it_goes_around_a_launcher(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WORLD_SIZE", "2")
        with pytest.raises(ConfigurationError, match="around the launcher"):
            check(JOB, LaunchPlan(["train"], metrics_file="x"))
