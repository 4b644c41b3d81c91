"""Two processes that train one model together, with `DistributedDataParallel`.

    rheostat serve &                              # once, in another terminal
    torchrun --nproc-per-node 2 examples/two_processes.py

Every process enters the trial and makes the same calls: rank 0 talks to the server, and all get the same answers. The
batch size of a trial is that of all processes together; `data_loader` gives each its share. Rank 0 prints what they
train with and why, and the accuracy at the end.

Needs: pip install . scikit-learn torch. With a GPU for each process they use these, and NCCL; else the CPU, and
gloo. Without a node agent energy is unknown, and time alone counts. Without a server a warning says so, and they train
with the default batch size.
"""

import os

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import TensorDataset

from rheostat import Client, JobSettings, LearningRate, Target
from rheostat.sdk.integrations.pytorch import data_loader

SETTINGS = JobSettings(
    batch_sizes=[16, 32, 64, 128],  # of both processes together
    default_batch_size=32,
    target=Target(metric="accuracy", value=0.93, direction="maximize"),
    max_epochs=60,
    learning_rate=LearningRate(default=0.02, scaling="sqrt"),
)


def digits(device: torch.device) -> tuple[TensorDataset, TensorDataset]:
    """Return 1,437 real images of handwritten digits to train on, and 360 to evaluate with."""
    images, labels = load_digits(return_X_y=True)
    inputs = torch.tensor(images / 16, dtype=torch.float32, device=device)
    wanted = torch.tensor(labels, device=device)
    training, validation = train_test_split(range(len(labels)), test_size=360, random_state=0)
    return TensorDataset(inputs[training], wanted[training]), TensorDataset(inputs[validation], wanted[validation])


def train(device: torch.device) -> None:
    """Train until Rheostat says stop, to all processes at once."""
    training, validation = digits(device)
    with Client() as client, client.trial("two-processes", SETTINGS) as trial:
        if trial.rank == 0:
            print(f"batch size {trial.batch_size} over {trial.world_size} processes: {trial.reason}", flush=True)
        network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)).to(device)
        model = DistributedDataParallel(network)
        optimizer = torch.optim.SGD(model.parameters(), lr=trial.learning_rate, momentum=0.9)
        loader = data_loader(trial, training)  # this process's share of each batch
        while True:
            for inputs, wanted in trial.steps(loader):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(inputs), wanted).backward()
                optimizer.step()
            inputs, wanted = validation.tensors
            with torch.no_grad():
                accuracy = (network(inputs).argmax(1) == wanted).float().mean().item()
            if trial.report(accuracy) == "stop":  # rank 0's figure counts
                break
        if trial.rank == 0:
            print(f"  ended with accuracy {accuracy:.3f}", flush=True)


def main() -> None:
    """Join the other process, then train."""
    if "LOCAL_RANK" not in os.environ:
        raise SystemExit("Start it by: torchrun --nproc-per-node 2 examples/two_processes.py")
    device = torch.device("cpu")
    if torch.cuda.device_count() >= int(os.environ["LOCAL_WORLD_SIZE"]):
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    distributed.init_process_group("gloo" if device.type == "cpu" else "nccl")
    try:
        train(device)
    finally:
        distributed.destroy_process_group()


if __name__ == "__main__":
    main()
