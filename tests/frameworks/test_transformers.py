from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainerCallback, TrainingArguments

from rheostat import Client, Gpu, JobSettings, LearningRate, RunningTrial, Target
from rheostat.errors import ConfigurationError
from rheostat.sdk.integrations.transformers import RheostatCallback, set_arguments

SETTINGS = JobSettings(
    batch_sizes=[16, 32],
    default_batch_size=32,
    target=Target(metric="accuracy", value=0.9, direction="maximize"),
    max_epochs=20,
    learning_rate=LearningRate(default=0.005, scaling="sqrt"),
    seed=1,
)
GPU = Gpu(model="Test GPU", min_power_limit_watts=100, max_power_limit_watts=250)
CONFIG = BertConfig(
    vocab_size=16, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, num_labels=2
)


def samples(count: int) -> list[dict[str, Any]]:
    torch.manual_seed(0)
    return [{"input_ids": row, "labels": int(row[0] > 7)} for row in torch.randint(0, 16, (count, 4))]


def accuracy(prediction: Any) -> dict[str, float]:
    return {"accuracy": float((prediction.predictions.argmax(1) == prediction.label_ids).mean())}


class Steps(TrainerCallback):
    """Sees the batches that the model really gets."""

    def __init__(self) -> None:
        self.optimizer_steps = 0

    def on_step_end(self, *arguments: Any, **kwargs: Any) -> None:
        self.optimizer_steps += 1


@pytest.fixture
def arguments(tmp_path: Path) -> Callable[..., TrainingArguments]:
    def make(**changes: Any) -> TrainingArguments:
        usual = {"eval_strategy": "epoch", "save_strategy": "no", "report_to": "none", "num_train_epochs": 20}
        return TrainingArguments(output_dir=str(tmp_path), use_cpu=True, disable_tqdm=True, **{**usual, **changes})

    return make


@pytest.fixture
def trial(client: Client, job_id: str) -> Iterator[RunningTrial]:
    with client.trial(job_id, SETTINGS, GPU) as trial:
        yield trial


def trainer(args: TrainingArguments, *callbacks: TrainerCallback, evaluate_on: Any = None) -> Trainer:
    torch.manual_seed(0)
    return Trainer(
        BertForSequenceClassification(CONFIG),
        args,
        train_dataset=samples(256),
        eval_dataset=samples(64) if evaluate_on is None else evaluate_on,
        compute_metrics=accuracy,
        callbacks=list(callbacks),
    )


class TestArguments:
    def test_they_are_the_trials_own(self, trial: RunningTrial, arguments: Callable[..., TrainingArguments]) -> None:
        args = arguments(gradient_accumulation_steps=2)
        set_arguments(args, trial)
        assert (args.per_device_train_batch_size, args.gradient_accumulation_steps) == (16, 2)
        assert args.learning_rate == 0.005

    @pytest.mark.parametrize(
        ("most", "split"), [(64, (32, 1)), (32, (32, 1)), (31, (16, 2)), (5, (4, 8)), (0, (1, 32))]
    )
    def test_gradients_are_accumulated_as_often_as_needed(
        self, trial: RunningTrial, arguments: Callable[..., TrainingArguments], most: int, split: tuple[int, int]
    ) -> None:
        args = arguments(gradient_accumulation_steps=3)
        set_arguments(args, trial, max_per_device_batch_size=most)
        assert (args.per_device_train_batch_size, args.gradient_accumulation_steps) == split

    def test_a_batch_size_that_cannot_be_split_is_refused(
        self, trial: RunningTrial, arguments: Callable[..., TrainingArguments]
    ) -> None:
        with pytest.raises(ConfigurationError, match="multiples of 3"):
            set_arguments(arguments(gradient_accumulation_steps=3), trial)

    @pytest.mark.parametrize(
        "changes", [{"auto_find_batch_size": True}, {"accelerator_config": {"split_batches": True}}]
    )
    def test_what_would_change_the_batch_size_is_refused(
        self, trial: RunningTrial, arguments: Callable[..., TrainingArguments], changes: dict[str, Any]
    ) -> None:
        with pytest.raises(ConfigurationError, match="leave it out"):
            set_arguments(arguments(**changes), trial)


class TestTraining:
    def test_it_ends_when_the_target_is_reached(
        self, client: Client, job_id: str, arguments: Callable[..., TrainingArguments]
    ) -> None:
        args, steps = arguments(eval_on_start=True), Steps()
        with client.trial(job_id, SETTINGS, GPU) as trial:
            set_arguments(args, trial, max_per_device_batch_size=16)
            run = trainer(args, RheostatCallback(trial, "eval_accuracy"), steps)
            run.evaluate()
            run.train()
            last = run.evaluate()
        (detail,) = client.list_trials(job_id).trials
        assert detail.state == "converged"
        assert detail.metric == pytest.approx(last["eval_accuracy"])
        assert detail.epochs is not None
        assert detail.epochs < 20
        assert steps.optimizer_steps == detail.epochs * 256 / 32

    def test_evaluations_inside_an_epoch_are_fractions_of_it(
        self, client: Client, job_id: str, arguments: Callable[..., TrainingArguments]
    ) -> None:
        args = arguments(eval_strategy="steps", eval_steps=2, max_steps=6, save_strategy="steps", save_steps=3)
        with client.trial(job_id, SETTINGS, GPU) as trial:
            set_arguments(args, trial)
            args.learning_rate = 0.0
            trainer(args, RheostatCallback(trial, "eval_accuracy")).train()
        (detail,) = client.list_trials(job_id).trials
        assert (detail.state, detail.epochs) == ("failed", 0.75)

    def test_one_of_several_evaluation_sets_counts(
        self, client: Client, job_id: str, arguments: Callable[..., TrainingArguments]
    ) -> None:
        args = arguments(num_train_epochs=2)
        with client.trial(job_id, SETTINGS, GPU) as trial:
            set_arguments(args, trial)
            args.learning_rate = 0.0
            sets = {"easy": samples(16), "hard": samples(32)}
            trainer(args, RheostatCallback(trial, "eval_hard_accuracy"), evaluate_on=sets).train()
        assert client.list_trials(job_id).trials[0].epochs == 2

    def test_a_second_training_in_the_trial_is_supervised_and_its_epochs_are_further_ones(
        self, client: Client, job_id: str, arguments: Callable[..., TrainingArguments]
    ) -> None:
        args, long = arguments(num_train_epochs=2), SETTINGS.model_copy(update={"max_epochs": 60, "beta_knob": None})
        with client.trial(job_id, long, GPU) as trial:
            set_arguments(args, trial)
            args.learning_rate, callback = 0.0, RheostatCallback(trial, "eval_accuracy")
            trainer(args, callback).train()
            trainer(args, callback).train()
            assert client.get_trial(str(trial.trial_id)).epochs == 4
            args.num_train_epochs, args.learning_rate = 20, 0.005
            trainer(args, callback).train()
        (detail,) = client.list_trials(job_id).trials
        assert detail.state == "converged"
        assert detail.epochs is not None
        assert 4 < detail.epochs < 24

    @pytest.mark.parametrize("changes", [{"eval_strategy": "no"}, {"eval_delay": 100}])
    def test_a_training_without_evaluations_is_warned_of_once(
        self,
        trial: RunningTrial,
        arguments: Callable[..., TrainingArguments],
        caplog: pytest.LogCaptureFixture,
        changes: dict[str, Any],
    ) -> None:
        args = arguments(num_train_epochs=1, **changes)
        set_arguments(args, trial)
        run = trainer(args, RheostatCallback(trial, "eval_accuracy"))
        run.train()
        run.train()
        assert caplog.text.count("eval_strategy='epoch'") == 1

    @pytest.mark.parametrize("own_optimizer", [False, True])
    def test_a_checkpoint_does_not_bring_its_learning_rate(
        self, trial: RunningTrial, arguments: Callable[..., TrainingArguments], tmp_path: Path, *, own_optimizer: bool
    ) -> None:
        def make(rate: float, epochs: int, *callbacks: TrainerCallback) -> Trainer:
            constant = {"lr_scheduler_type": "constant", "save_strategy": "epoch", "num_train_epochs": epochs}
            args = arguments(per_device_train_batch_size=32, learning_rate=rate, **constant)
            run = trainer(args, *callbacks)
            if own_optimizer:
                halves = [{"params": [one], "lr": rate * (1 + (i > 0))} for i, one in enumerate(run.model.parameters())]
                run = Trainer(
                    run.model,
                    args,
                    train_dataset=samples(256),
                    eval_dataset=samples(64),
                    compute_metrics=accuracy,
                    callbacks=list(callbacks),
                    optimizers=(torch.optim.SGD(halves), None),
                )
            return run

        make(0.5, 1).train()
        run = make(0.005, 2, RheostatCallback(trial, "eval_accuracy"))
        run.train(resume_from_checkpoint=True)
        rates = {group["lr"] for group in run.optimizer.param_groups}
        assert rates == ({0.005, 0.01} if own_optimizer else {0.005})

    def test_training_that_goes_on_from_a_checkpoint_pays_for_its_own_epochs(
        self, client: Client, job_id: str, arguments: Callable[..., TrainingArguments]
    ) -> None:
        def args(epochs: int) -> TrainingArguments:
            return arguments(learning_rate=0.0, save_strategy="epoch", num_train_epochs=epochs)

        never = SETTINGS.model_copy(update={"target": Target(metric="accuracy", value=2.0, direction="maximize")})
        with client.trial(job_id, never, GPU) as trial:
            first = args(3)
            set_arguments(first, trial)
            first.learning_rate = 0.0
            trainer(first).train()
            second = args(5)
            set_arguments(second, trial)
            trainer(second, RheostatCallback(trial, "eval_accuracy")).train(resume_from_checkpoint=True)
        (seen,) = client.list_trials(job_id).trials
        assert (seen.epochs, seen.epochs_run) == (5, 2)

    def test_a_metric_of_another_name_is_an_error_after_the_first_epoch(
        self, client: Client, job_id: str, arguments: Callable[..., TrainingArguments]
    ) -> None:
        def train() -> None:
            args = arguments()
            with client.trial(job_id, SETTINGS, GPU) as trial:
                set_arguments(args, trial)
                trainer(args, RheostatCallback(trial, "accuracy")).train()

        with pytest.raises(ConfigurationError, match=r"'accuracy'.*eval_accuracy"):
            train()
        assert client.list_trials(job_id).trials[0].state == "cancelled"

    def test_a_trainer_with_another_batch_size_does_not_begin(
        self, trial: RunningTrial, arguments: Callable[..., TrainingArguments]
    ) -> None:
        with pytest.raises(ConfigurationError, match=r"is 8; the trial's is 32.*set_arguments"):
            trainer(arguments(), RheostatCallback(trial, "eval_accuracy")).train()
