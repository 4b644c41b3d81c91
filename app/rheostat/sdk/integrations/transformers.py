"""For the Hugging Face `Trainer`: sets its arguments from the trial, and reports its evaluations by a callback."""

import logging
from collections.abc import Callable, Iterator, Sized
from copy import copy
from math import ceil
from typing import Any

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rheostat.errors import ConfigurationError
from rheostat.sdk.integrations.batches import equal_split
from rheostat.sdk.integrations.pytorch import initial_learning_rates, restore_learning_rates
from rheostat.sdk.integrations.stepping import OnStep, steps_of
from rheostat.sdk.trial import RunningTrial

_log = logging.getLogger("rheostat")


def set_arguments(
    args: TrainingArguments, trial: RunningTrial, *, max_per_device_batch_size: int | None = None
) -> None:
    """Set the trial's batch size and learning rate; call it before the `Trainer` is made.

    Args:
        args: Arguments of the trainer; batch size, accumulation and learning rate are set in place.
        trial: The running trial.
        max_per_device_batch_size: Samples that fit a device at once; gradients are accumulated as often as needed. By
            default as often as the arguments say.

    Raises:
        ConfigurationError: The batch size cannot be split equally, or the arguments let it change during training.
    """
    _set_batch_size(args, trial.batch_size, max_per_device_batch_size)
    if trial.learning_rate is not None:
        args.learning_rate = trial.learning_rate


def survey_steps(
    args: TrainingArguments,
    make_trainer: Callable[[TrainingArguments], Trainer],
    *,
    max_per_device_batch_size: int | None = None,
) -> Callable[[int], Iterator[None]]:
    """Return what `Client.trial` takes as ``survey``: steps of a trainer to throw away, at any batch size.

    It neither evaluates, nor logs, nor saves.

    Args:
        args: Arguments of the trainer; they stay as they are.
        make_trainer: Makes a `Trainer` with such arguments and a new model.
        max_per_device_batch_size: As of :func:`set_arguments`.
    """

    def steps_at(batch_size: int) -> Iterator[None]:
        own = copy(args)
        own.eval_strategy = own.save_strategy = own.logging_strategy = "no"  # type: ignore[assignment, unused-ignore]
        own.report_to, own.load_best_model_at_end = [], False
        _set_batch_size(own, batch_size, max_per_device_batch_size)

        def train(on_step: OnStep) -> None:
            trainer = make_trainer(own)
            trainer.add_callback(_StepCallback(on_step))
            trainer.train()

        return steps_of(train)

    return steps_at


class _StepCallback(TrainerCallback):
    """Tells the end of each step."""

    def __init__(self, on_step: OnStep) -> None:
        self._on_step = on_step

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Tell it."""
        self._on_step()


def _set_batch_size(args: TrainingArguments, batch_size: int, most_per_device: int | None) -> None:
    if args.auto_find_batch_size:
        raise ConfigurationError("auto_find_batch_size would change the batch size during the trial: leave it out.")
    if args.accelerator_config.split_batches:
        raise ConfigurationError("split_batches changes the meaning of the batch size per device: leave it out.")
    split = equal_split(batch_size, _devices(args), args.gradient_accumulation_steps, most_per_device=most_per_device)
    args.per_device_train_batch_size = split.per_device
    args.gradient_accumulation_steps = split.accumulation_steps


def _devices(args: TrainingArguments) -> int:
    """Return how many devices share a batch: one in each process, or several in one (`DataParallel`)."""
    devices: int = args.world_size * max(args.n_gpu, 1)
    return devices


class RheostatCallback(TrainerCallback):
    """Reports evaluations, measures power limits between steps, and ends the training when the answer is "stop".

    Callbacks do not see exceptions, so the trial's block goes around `Trainer.train`. Evaluations before and after the
    training are not reported. When `Trainer.train` is called again in the same trial, its epochs are further ones. With
    ``resume_from_checkpoint`` the epochs of the checkpoint do not count as run here.

    Args:
        trial: The running trial.
        metric: Name of the target metric in the trainer's evaluations, such as ``eval_accuracy``.
    """

    def __init__(self, trial: RunningTrial, metric: str) -> None:
        self._trial = trial
        self._metric = metric
        self._is_training = self._has_reported = self._has_warned = False
        self._seen: set[str] = set()
        self._epochs_before = self._epochs = 0.0
        self._learning_rates: list[float] | None = None

    def on_init_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Remember the learning rates of an optimizer of the user's own."""
        if (optimizer := kwargs.get("optimizer")) is not None:
            self._learning_rates = initial_learning_rates(optimizer)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Check that the trainer has the trial's batch size and learning rate, and will evaluate."""
        total = args.per_device_train_batch_size * _devices(args) * args.gradient_accumulation_steps
        if total != self._trial.batch_size:
            raise ConfigurationError(
                f"The trainer's global batch size is {total}; the trial's is {self._trial.batch_size}.",
                hint="Call rheostat.sdk.integrations.transformers.set_arguments before you make the Trainer.",
            )
        if state.global_step > 0 and self._trial.learning_rate is not None:
            self._replace_learning_rates(kwargs["optimizer"], kwargs["lr_scheduler"])
        if args.eval_strategy == "no":
            self._warn_of_no_evaluation(state)
        if state.global_step == 0 or self._epochs:
            self._epochs_before = self._epochs - (state.epoch or 0.0)
        elif state.epoch:
            self._trial.resumed_at(state.epoch)
        loader = kwargs.get("train_dataloader")
        steps = ceil(len(loader) / args.gradient_accumulation_steps) if isinstance(loader, Sized) else None
        self._is_training = True
        self._trial.begin_profiling(steps)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Record when the first step begins."""
        self._trial.begin_step()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Record the end of an optimizer step."""
        self._trial.step()
        self._epochs = self._epochs_before + (state.epoch or 0.0)

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Report the metric, and stop if that is the answer."""
        self._trial.pause()
        if not self._is_training or state.global_step == 0:
            return
        metrics: dict[str, float] = kwargs["metrics"]
        self._seen |= metrics.keys()
        # With several evaluation sets each has its own call.
        if self._metric not in metrics:
            return
        self._has_reported = True
        if self._trial.report(metrics[self._metric], epoch=self._epochs) == "stop":
            self._is_training = False
            control.should_training_stop = True

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Check after the first evaluation that the metric was in it."""
        self._trial.pause()
        if self._seen and not self._has_reported:
            raise ConfigurationError(
                f"No evaluation has the metric {self._metric!r}.", hint=f"They have: {', '.join(sorted(self._seen))}."
            )

    def on_predict(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Leave a prediction out of the step times."""
        self._trial.pause()

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Leave a checkpoint out of the step times."""
        self._trial.pause()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Stop reporting."""
        self._trial.pause()
        self._is_training = False
        if not self._has_reported:
            self._warn_of_no_evaluation(state)

    def _replace_learning_rates(self, optimizer: Any, scheduler: Any) -> None:
        """Set the trial's learning rate again: the state of a checkpoint has replaced it."""
        if (rates := self._learning_rates) is None:
            loaded = initial_learning_rates(optimizer)
            rates = [rate * (self._trial.learning_rate or 0.0) / loaded[0] if loaded[0] else rate for rate in loaded]
        restore_learning_rates(optimizer, [scheduler], rates)

    def _warn_of_no_evaluation(self, state: TrainerState) -> None:
        if state.is_world_process_zero and not self._has_warned:
            self._has_warned = True
            _log.warning(
                "The Trainer does not evaluate while it trains: nothing is reported, so Rheostat learns nothing from"
                " this run and cannot end it. Set eval_strategy='epoch' in TrainingArguments."
            )
