"""For Lightning: a callback that begins a trial before the data loaders exist, and ends it with the training."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from math import ceil, isfinite
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.parsing import lightning_hasattr, lightning_setattr

from rheostat.errors import ConfigurationError
from rheostat.sdk.integrations.batches import equal_split
from rheostat.sdk.integrations.pytorch import check_loader, initial_learning_rates, restore_learning_rates
from rheostat.sdk.integrations.stepping import OnStep, steps_of
from rheostat.sdk.trial import RunningTrial


class RheostatCallback(Callback):
    """Runs a trial around `Trainer.fit`, with any launcher of its processes.

    It sets ``batch_size``, and ``learning_rate`` or ``lr``, on the module, its ``hparams`` and the data module, like
    Lightning's own tuner: the batch size of one device, for ``train_dataloader`` to use. It reports the metric after
    each validation, or after each epoch when there is no validation. With ``ckpt_path`` the epochs of the checkpoint do
    not count as run here.

    Args:
        trial: From `Client.trial`, and not entered.
        metric: Name of the target metric as it is logged. With several processes log it with ``sync_dist=True``: the
            value of rank 0 is reported.
    """

    def __init__(self, trial: RunningTrial, metric: str) -> None:
        self._trial = trial
        self._metric = metric
        self._open = ExitStack()
        self._has_begun = self._is_over = False
        self._learning_rates: list[list[float]] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Begin the trial: `torch.distributed` is initialised by now, and loaders and optimizers are not made yet."""
        if stage != "fit":
            return
        if self._has_begun:
            raise ConfigurationError("A trial is one training.", hint="Make a new trial and callback for the next one.")
        self._has_begun = True
        trial = self._open.enter_context(self._trial)
        split = equal_split(trial.batch_size, trainer.world_size, trainer.accumulate_grad_batches)
        _set(pl_module, ("batch_size",), split.per_device)
        if trial.learning_rate is not None:
            _set(pl_module, ("learning_rate", "lr"), trial.learning_rate)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember the learning rates before a checkpoint replaces them."""
        self._learning_rates = [initial_learning_rates(optimizer) for optimizer in trainer.optimizers]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check that the loader has the trial's batch size, and set the trial's learning rate if it was replaced."""
        if trainer.ckpt_path is not None and self._trial.learning_rate is not None:
            schedulers = [config.scheduler for config in trainer.lr_scheduler_configs]
            for optimizer, rates in zip(trainer.optimizers, self._learning_rates, strict=True):
                its_own = [scheduler for scheduler in schedulers if scheduler.optimizer is optimizer]
                restore_learning_rates(optimizer, its_own, rates)
        if trainer.global_step > 0:
            self._trial.resumed_at(_epochs_before(trainer))
        check_loader(self._trial, trainer.train_dataloader, accumulation_steps=trainer.accumulate_grad_batches)
        updates = trainer.num_training_batches / trainer.accumulate_grad_batches
        self._trial.begin_profiling(ceil(updates) if isfinite(updates) else None)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Record when the first step begins."""
        self._trial.begin_step()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Record the end of a step, which is an update of the weights by all the batches that it is made of."""
        if trainer.is_last_batch or (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            self._trial.step()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the validation out of the step times."""
        self._pause()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report, unless this is the sanity check before training."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._report(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report if there is no validation."""
        self._pause()
        if not trainer.enable_validation:
            self._report(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Leave a checkpoint out of the step times."""
        self._pause()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """End the trial with the exception."""
        self._is_over = True
        self._open.__exit__(type(exception), exception, exception.__traceback__)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """End the trial."""
        self._is_over = self._has_begun
        self._open.close()

    def _pause(self) -> None:
        if self._has_begun:
            self._trial.pause()

    def _report(self, trainer: Trainer) -> None:
        if self._is_over:
            return
        metrics = trainer.callback_metrics
        if self._metric not in metrics:
            logged = ", ".join(sorted(metrics)) or "none"
            raise ConfigurationError(f"The metric {self._metric!r} is not logged.", hint=f"Logged metrics: {logged}.")
        if self._trial.report(metrics[self._metric], epoch=_epochs(trainer)) == "stop":
            self._is_over = trainer.should_stop = True


def survey_steps(make_module: Callable[[], LightningModule], **options: Any) -> Callable[[int], Iterator[None]]:
    """Return what `Client.trial` takes as ``survey``: steps of a module to throw away, at any batch size.

    It neither validates, nor logs, nor saves.

    Args:
        make_module: Makes a new module, with the data loader.
        options: Of the `Trainer`, those that determine how it trains, such as ``precision`` and
            ``accumulate_grad_batches``.
    """

    def steps_at(batch_size: int) -> Iterator[None]:
        def train(on_step: OnStep) -> None:
            module = make_module()
            trainer = Trainer(**_QUIET, **options, callbacks=[_StepCallback(on_step)])
            split = equal_split(batch_size, trainer.world_size, trainer.accumulate_grad_batches)
            _set(module, ("batch_size",), split.per_device)
            trainer.fit(module)

        return steps_of(train)

    return steps_at


_QUIET: dict[str, Any] = {
    "max_epochs": -1,
    "limit_val_batches": 0,
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "devices": 1,
}


class _StepCallback(Callback):
    """Tells the end of each update of the weights."""

    def __init__(self, on_step: OnStep) -> None:
        self._on_step = on_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Tell it."""
        if trainer.is_last_batch or (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            self._on_step()


def _epochs(trainer: Trainer) -> float | None:
    """Return the epochs done, fractional inside an epoch; None when the length of an epoch is unknown."""
    batches = trainer.num_training_batches
    if not isfinite(batches):
        return None
    done: int = trainer.fit_loop.epoch_loop.batch_progress.current.ready
    epochs: float = trainer.current_epoch + done / batches
    return epochs


def _epochs_before(trainer: Trainer) -> float:
    """Return the epochs that were done before a checkpoint, which may have been saved at the end of an unclosed one."""
    done: float = trainer.current_epoch
    if isfinite(trainer.num_training_batches):
        batches = trainer.fit_loop.epoch_loop.batch_progress.total.ready
        done = min(max(batches / trainer.num_training_batches, done), done + 1)
    return done


def _set(module: LightningModule, names: tuple[str, ...], value: float) -> None:
    name = next((name for name in names if lightning_hasattr(module, name)), None)
    if name is None:
        raise ConfigurationError(
            f"Neither the module, nor its hparams, nor the data module has {' or '.join(names)}.",
            hint="Add the attribute, and use it where loaders and optimizers are made.",
        )
    lightning_setattr(module, name, value)
