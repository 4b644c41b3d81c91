"""Hugging Face's `Trainer`: a small vision transformer on real images of handwritten digits.

    rheostat serve &                              # once, in another terminal
    python examples/huggingface_trainer.py        # or: torchrun --nproc-per-node 2 examples/huggingface_trainer.py

Two lines join a `Trainer` to Rheostat: `set_arguments` gives it the trial's batch size and learning rate, and
`RheostatCallback` reports its evaluations and ends the training at the target. It prints what it trains with and why,
and how the run ended.

Needs: pip install . accelerate scikit-learn torch transformers. Without a GPU it trains on the CPU. Without a
node agent energy is unknown, and time alone counts. Without a server a warning says so, and it trains with the default.
"""

from tempfile import TemporaryDirectory

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from transformers import EvalPrediction, Trainer, TrainingArguments, ViTConfig, ViTForImageClassification

from rheostat import Client, JobSettings, LearningRate, Target
from rheostat.sdk.integrations.transformers import RheostatCallback, set_arguments

SETTINGS = JobSettings(
    batch_sizes=[16, 32, 64, 128],
    default_batch_size=32,
    target=Target(metric="accuracy", value=0.9, direction="maximize"),
    max_epochs=30,
    learning_rate=LearningRate(default=0.003, scaling="sqrt"),
)
MODEL = ViTConfig(
    image_size=8,
    patch_size=4,
    num_channels=1,
    hidden_size=64,
    num_hidden_layers=1,
    num_attention_heads=4,
    intermediate_size=128,
    num_labels=10,
)


def digits() -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """Return 1,437 images to train on, and 360 to evaluate with."""
    images, labels = load_digits(return_X_y=True)
    pixels = torch.tensor(images / 16, dtype=torch.float32).view(-1, 1, 8, 8)
    samples = [{"pixel_values": image, "labels": int(label)} for image, label in zip(pixels, labels, strict=True)]
    return train_test_split(samples, test_size=360, random_state=0)


def accuracy(prediction: EvalPrediction) -> dict[str, float]:
    """Return the share of images that are recognised."""
    return {"accuracy": float((prediction.predictions.argmax(1) == prediction.label_ids).mean())}


def main() -> None:
    """Train until Rheostat says stop."""
    training, validation = digits()
    with TemporaryDirectory() as directory:
        arguments = TrainingArguments(
            output_dir=directory,
            num_train_epochs=SETTINGS.max_epochs,
            lr_scheduler_type="constant",
            eval_strategy="epoch",
            save_strategy="no",
            dataloader_pin_memory=torch.cuda.is_available(),
            report_to="none",
            disable_tqdm=True,
        )
        # After the arguments, which join the processes of torchrun; before the Trainer, which fixes the batch size.
        with Client() as client, client.trial("huggingface-digits", SETTINGS) as trial:
            set_arguments(arguments, trial)
            print(f"batch size {trial.batch_size}: {trial.reason}", flush=True)
            trainer = Trainer(
                ViTForImageClassification(MODEL),
                arguments,
                train_dataset=training,
                eval_dataset=validation,
                compute_metrics=accuracy,
                callbacks=[RheostatCallback(trial, metric="eval_accuracy")],
            )
            trainer.train()
        print(f"  ended after {trainer.state.epoch:g} epochs", flush=True)


if __name__ == "__main__":
    main()
