"""Plain PyTorch: a classifier of handwritten digits that is trained again and again, as every night.

    rheostat serve &                             # once, in another terminal
    python examples/pytorch_digits.py --runs 8   # eight recurrences

The data are scikit-learn's 1,797 real images; the target is 96 % accuracy on the 360 that are not trained on. Small
batches need fewer epochs, large ones have faster epochs: Rheostat finds out where the cheapest run to the target lies.
Every run prints its batch size, why it was chosen, and what it took; the last line names the page with what was saved.

Needs: pip install . torch scikit-learn. Without a GPU it trains on the CPU. Without a node agent energy is
unknown, and time alone counts. Without a server a warning says so, and it trains with the default batch size.
"""

from argparse import ArgumentParser

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from rheostat import Client, JobSettings, LearningRate, Target

JOB = "pytorch-digits"
SETTINGS = JobSettings(
    batch_sizes=[8, 32, 128, 512],
    default_batch_size=32,
    target=Target(metric="accuracy", value=0.96, direction="maximize"),
    max_epochs=60,
    learning_rate=LearningRate(default=0.02, scaling="sqrt"),
)
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
torch.set_num_threads(1)  # the model is so small that threads would wait for each other


def digits() -> tuple[TensorDataset, TensorDataset]:
    """Return the images to train on, and those to evaluate with."""
    images, labels = load_digits(return_X_y=True)
    inputs, wanted = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
    training, validation = train_test_split(range(len(labels)), test_size=360, random_state=0)
    return TensorDataset(inputs[training], wanted[training]), TensorDataset(inputs[validation], wanted[validation])


def accuracy(model: nn.Module, data: TensorDataset) -> float:
    """Return the share of images that are recognised."""
    inputs, wanted = (part.to(DEVICE) for part in data.tensors)
    with torch.no_grad():
        return (model(inputs).argmax(1) == wanted).float().mean().item()


def train(client: Client, training: TensorDataset, validation: TensorDataset) -> str | None:
    """Train a new model until Rheostat says stop: at the target, or when the run is not worth its cost."""
    with client.trial(JOB, SETTINGS) as trial:  # 1. asks what to train with
        print(f"batch size {trial.batch_size}: {trial.reason}", flush=True)
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)).to(DEVICE)
        optimizer = torch.optim.SGD(model.parameters(), lr=trial.learning_rate, momentum=0.9)  # 2. its learning rate
        loader = DataLoader(training, batch_size=trial.batch_size, shuffle=True)  # 3. its batch size
        epochs = 0
        while True:
            for inputs, wanted in trial.steps(loader):  # 4. measures power limits meanwhile, where an agent is
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(inputs.to(DEVICE)), wanted.to(DEVICE)).backward()
                optimizer.step()
            epochs += 1
            reached = accuracy(model, validation)
            if trial.report(reached) == "stop":  # 5. reports every evaluation
                break
    print(f"  accuracy {reached:.3f} after {epochs} epochs", flush=True)
    return trial.trial_id  # none without a server


def main() -> None:
    """Run some recurrences."""
    parser = ArgumentParser(description="Retrain a classifier of digits with Rheostat.")
    parser.add_argument("--runs", type=int, default=1, help="how many recurrences (1)")
    runs = parser.parse_args().runs
    training, validation = digits()
    with Client() as client:
        for run in range(runs):
            print(f"run {run + 1} of {runs}: ", end="", flush=True)
            trial_id = train(client, training, validation)
        if trial_id is not None:
            print(f"What was learned and saved: {client.base_url}/jobs/{JOB}")


if __name__ == "__main__":
    main()
