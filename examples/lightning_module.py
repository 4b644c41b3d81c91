"""Lightning: a small network on real images of handwritten digits, to a validation loss that falls to its target.

    rheostat serve &                              # once, in another terminal
    python examples/lightning_module.py

`RheostatCallback` is all that joins a `Trainer` to Rheostat: it sets `batch_size` and `learning_rate` on the module, as
Lightning's tuner does, reports every validation, and ends the training at the target. It prints what it trained with
and why, and how the run ended.

Needs: pip install . lightning scikit-learn. Without a GPU it trains on the CPU. Without a node agent energy is
unknown, and time alone counts. Without a server a warning says so, and it trains with the default batch size.
"""

import torch
from lightning import LightningModule, Trainer
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from rheostat import Client, JobSettings, LearningRate, Target
from rheostat.sdk.integrations.lightning import RheostatCallback

SETTINGS = JobSettings(
    batch_sizes=[16, 32, 64, 128],
    default_batch_size=32,
    target=Target(metric="val_loss", value=0.2, direction="minimize"),
    max_epochs=40,
    learning_rate=LearningRate(default=0.02, scaling="sqrt"),
)


class Digits(LightningModule):
    """A network with one hidden layer, and its data: 1,437 images to train on, and 360 to validate with."""

    def __init__(self) -> None:
        super().__init__()
        self.batch_size, self.learning_rate = SETTINGS.default_batch_size, 0.02  # the callback sets them
        self.layers = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        images, labels = load_digits(return_X_y=True)
        inputs, wanted = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
        training, validation = train_test_split(range(len(labels)), test_size=360, random_state=0)
        self.training_data = TensorDataset(inputs[training], wanted[training])
        self.validation_data = TensorDataset(inputs[validation], wanted[validation])

    def train_dataloader(self) -> DataLoader:
        """Return the batches to train with."""
        return DataLoader(self.training_data, batch_size=self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        """Return the batches to validate with."""
        return DataLoader(self.validation_data, batch_size=360)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer, with the trial's learning rate."""
        return torch.optim.SGD(self.parameters(), lr=self.learning_rate, momentum=0.9)

    def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
        """Return the loss of a batch."""
        return nn.functional.cross_entropy(self.layers(batch[0]), batch[1])

    def validation_step(self, batch: list[torch.Tensor]) -> None:
        """Log the target metric."""
        self.log("val_loss", nn.functional.cross_entropy(self.layers(batch[0]), batch[1]), sync_dist=True)


def main() -> None:
    """Train until Rheostat says stop."""
    with Client() as client:
        trial = client.trial("lightning-digits", SETTINGS)
        trainer = Trainer(
            max_epochs=SETTINGS.max_epochs,
            devices=1,
            callbacks=[RheostatCallback(trial, metric="val_loss")],
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
        )
        trainer.fit(Digits())
        print(f"batch size {trial.batch_size}: {trial.reason}")
        print(f"  loss {trainer.callback_metrics['val_loss']:.3f} after {trainer.current_epoch} epochs")


if __name__ == "__main__":
    main()
