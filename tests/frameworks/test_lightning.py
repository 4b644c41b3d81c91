from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import LightningDataModule, LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from rheostat import Client, Gpu, JobSettings, LearningRate, Target
from rheostat.errors import ConfigurationError
from rheostat.sdk.integrations.lightning import RheostatCallback

pytestmark = [
    # Lightning asks torch's trees in a way that torch has given up.
    pytest.mark.filterwarnings(r"ignore:`isinstance\(treespec, LeafSpec\)` is deprecated:FutureWarning"),
    # It advises more processes to load data with than a hundred samples need.
    pytest.mark.filterwarnings(r"ignore:The '\w+' does not have many workers"),
]

SETTINGS = JobSettings(
    batch_sizes=[32, 64],
    default_batch_size=64,
    target=Target(metric="accuracy", value=0.9, direction="maximize"),
    max_epochs=30,
    learning_rate=LearningRate(default=0.1, scaling="linear"),
    seed=1,
)
GPU = Gpu(model="Test GPU", min_power_limit_watts=100, max_power_limit_watts=250)
INPUTS = torch.randn(512, 8, generator=torch.Generator().manual_seed(0))
DATA = TensorDataset(INPUTS, (INPUTS.sum(1) > 0).long())


class Model(LightningModule):
    def __init__(self, fails: BaseException | None = None, *, learns: bool = True) -> None:
        super().__init__()
        self.batch_size, self.lr = 1, 1.0
        self.layer = nn.Linear(8, 2)
        self.sizes: set[int] = set()
        self._fails = fails
        self._learns = learns

    def train_dataloader(self) -> Any:
        return DataLoader(DATA, batch_size=self.batch_size, shuffle=True)

    def val_dataloader(self) -> Any:
        return DataLoader(DATA, batch_size=512)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=self.lr if self._learns else 0.0)

    def training_step(self, batch: Any) -> Any:
        if self._fails is not None and self.current_epoch == 1:
            raise self._fails
        self.sizes.add(len(batch[0]))
        loss = nn.functional.cross_entropy(self.layer(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Any) -> None:
        accuracy = (self.layer(batch[0]).argmax(1) == batch[1]).float().mean()
        self.log("accuracy", accuracy if self._learns else accuracy * 0)


class Trained(Model):
    """It has nothing to validate on."""

    val_dataloader = LightningModule.val_dataloader
    validation_step = LightningModule.validation_step


class Data(LightningDataModule):
    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.asked: list[int] = []

    def train_dataloader(self) -> Any:
        return DataLoader(DATA, batch_size=self.hparams["batch_size"])

    def val_dataloader(self) -> Any:
        return DataLoader(DATA, batch_size=512)


@pytest.fixture
def trainer(client: Client, job_id: str, tmp_path: Path) -> Callable[..., Trainer]:
    def make(metric: str = "accuracy", settings: JobSettings = SETTINGS, **options: Any) -> Trainer:
        callback = RheostatCallback(client.trial(job_id, settings, GPU), metric)
        usual = {"max_epochs": 30, "logger": False, "enable_checkpointing": False, "log_every_n_steps": 1}
        return Trainer(
            accelerator="cpu",
            default_root_dir=tmp_path,
            callbacks=[callback],
            enable_progress_bar=False,
            enable_model_summary=False,
            **{**usual, **options},
        )

    return make


def test_training_ends_when_the_target_is_reached(client: Client, job_id: str, trainer: Callable[..., Trainer]) -> None:
    model, run = Model(), trainer(enable_checkpointing=True)
    run.fit(model)
    (trial,) = client.list_trials(job_id).trials
    assert (trial.state, trial.epochs) == ("converged", run.current_epoch)
    assert run.current_epoch < 30
    assert (model.sizes, model.lr) == ({64}, 0.1)
    run.validate(model, verbose=False)
    assert client.list_trials(job_id).trials == [trial]


def test_accumulated_batches_make_up_the_global_batch(trainer: Callable[..., Trainer]) -> None:
    model = Model()
    trainer(accumulate_grad_batches=4, max_epochs=1).fit(model)
    assert model.sizes == {16}


def test_a_step_is_an_update_of_the_weights(trainer: Callable[..., Trainer]) -> None:
    run = trainer(accumulate_grad_batches=4, limit_train_batches=30, max_epochs=2)
    run.fit(Model(learns=False))
    (callback,) = (one for one in run.callbacks if isinstance(one, RheostatCallback))
    assert callback._trial._clock.steps == run.global_step == 16


def test_validations_inside_an_epoch_are_fractions_of_it(
    client: Client, job_id: str, trainer: Callable[..., Trainer]
) -> None:
    trainer(val_check_interval=0.25, max_steps=6).fit(Model(learns=False))
    (trial,) = client.list_trials(job_id).trials
    assert (trial.state, trial.epochs) == ("failed", 0.75)


def test_without_validation_each_epoch_is_reported(
    client: Client, job_id: str, trainer: Callable[..., Trainer]
) -> None:
    target = Target(metric="loss", value=0.4, direction="minimize")
    trainer("train_loss", SETTINGS.model_copy(update={"target": target})).fit(Trained())
    (trial,) = client.list_trials(job_id).trials
    assert trial.state == "converged"
    assert trial.metric is not None
    assert trial.metric <= 0.4


def test_a_data_module_gets_its_batch_size_by_its_hyperparameters(trainer: Callable[..., Trainer]) -> None:
    model, data = Model(), Data(batch_size=8)
    trainer(max_epochs=1).fit(model, data)
    assert model.sizes == {64}
    assert data.hparams["batch_size"] == 64


@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_a_checkpoint_does_not_bring_its_learning_rate(
    trainer: Callable[..., Trainer], tmp_path: Path, factor: float
) -> None:
    class Decaying(Model):
        def configure_optimizers(self) -> Any:
            optimizer = super().configure_optimizers()
            return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, factor)]

    before = Decaying()
    before.batch_size, before.lr = 64, 0.8
    run = Trainer(
        accelerator="cpu",
        default_root_dir=tmp_path,
        max_epochs=1,
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
    )
    run.fit(before)
    run.save_checkpoint(tmp_path / "checkpoint.ckpt")
    again = trainer(max_epochs=2)
    again.fit(Decaying(), ckpt_path=tmp_path / "checkpoint.ckpt")
    assert [group["lr"] for group in again.optimizers[0].param_groups] == [pytest.approx(0.1 * factor**2)]


@pytest.mark.parametrize(
    ("error", "state"),
    [(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB."), "oom"), (ValueError("a bug"), "cancelled")],
)
def test_an_exception_is_reported_and_propagates(
    client: Client, job_id: str, trainer: Callable[..., Trainer], error: Exception, state: str
) -> None:
    with pytest.raises(type(error)) as raised:
        trainer().fit(Model(error, learns=False))
    assert raised.value is error
    (trial,) = client.list_trials(job_id).trials
    assert (trial.state, trial.epochs) == (state, 1)


def test_ctrl_c_cancels_the_trial(client: Client, job_id: str, trainer: Callable[..., Trainer]) -> None:
    with pytest.raises(SystemExit):
        trainer().fit(Model(KeyboardInterrupt(), learns=False))
    assert client.list_trials(job_id).trials[0].state == "cancelled"


def test_ranks_that_are_spawned_begin_the_trial_themselves(
    client: Client, job_id: str, trainer: Callable[..., Trainer]
) -> None:
    trainer(devices=2, strategy="ddp_spawn", max_epochs=2).fit(Model(learns=False))
    (trial,) = client.list_trials(job_id).trials
    assert (trial.state, trial.epochs) == ("failed", 2)


class TestMistakes:
    def test_a_module_that_names_no_batch_size(
        self, client: Client, job_id: str, trainer: Callable[..., Trainer]
    ) -> None:
        model = Model()
        del model.batch_size
        with pytest.raises(ConfigurationError, match="has batch_size"):
            trainer().fit(model)
        assert client.list_trials(job_id).trials[0].state == "cancelled"

    def test_a_loader_with_another_batch_size(self, trainer: Callable[..., Trainer]) -> None:
        loader: DataLoader[Any] = DataLoader(DATA, batch_size=32)
        with pytest.raises(ConfigurationError, match=r"is 32; the trial's is 64"):
            trainer().fit(Model(), train_dataloaders=loader)

    def test_a_batch_size_that_cannot_be_split(self, trainer: Callable[..., Trainer]) -> None:
        with pytest.raises(ConfigurationError, match="multiples of 3"):
            trainer(accumulate_grad_batches=3).fit(Model())

    def test_a_metric_that_is_not_logged(self, trainer: Callable[..., Trainer]) -> None:
        with pytest.raises(ConfigurationError, match=r"'f1' is not logged.*accuracy"):
            trainer("f1").fit(Model())

    def test_a_second_training_with_the_same_trial(self, trainer: Callable[..., Trainer]) -> None:
        run = trainer(max_epochs=1)
        run.fit(Model())
        with pytest.raises(ConfigurationError, match="A trial is one training"):
            run.fit(Model())


def test_training_that_goes_on_from_a_checkpoint_pays_for_its_own_epochs(
    client: Client, job_id: str, trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    before = Model(learns=False)
    before.batch_size, before.lr = 64, 0.1
    run = Trainer(
        accelerator="cpu",
        default_root_dir=tmp_path,
        max_epochs=3,
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
    )
    run.fit(before)
    run.save_checkpoint(tmp_path / "checkpoint.ckpt")
    trainer(max_epochs=5).fit(Model(learns=False), ckpt_path=tmp_path / "checkpoint.ckpt")
    (trial,) = client.list_trials(job_id).trials
    assert (trial.epochs, trial.epochs_run) == (5, 2)
