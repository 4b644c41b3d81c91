"""Small made-up traces in the format of the recorded ones, and the world that they make."""

from pathlib import Path

from rheostat.replay.traces import PowerTrace, TrainTrace, Workload, read_power_trace, read_train_trace
from rheostat.replay.world import JobChoice, World, build_world

WORKLOAD = Workload("digits", "perceptron", "sgd")
CHOICE = JobChoice(target=0.7, max_epochs=10, default_batch_size=32)

LEVELS = (0.5, 0.7, 0.9)

# Epochs to each level, run by run. 128 never gets there, 8 at times, and 256 was never trained.
RUNS: dict[int, list[tuple[int | None, ...]]] = {
    8: [(2, 5, 9), (2, None, None)],
    16: [(2, 6, None), (2, 8, None)],
    32: [(1, 4, 9), (2, 6, 9)],
    64: [(2, 4, 8), (2, 5, 8)],
    128: [(3, None, None), (4, None, None)],
}

SECONDS = {8: 30.0, 16: 20.0, 32: 12.0, 64: 8.0, 128: 5.0, 256: 4.0}

# Watts drawn and how much longer an epoch takes, by power limit.
LIMITS = {100: (95.0, 2.0), 150: (140.0, 1.1), 200: (180.0, 1.0)}


def write_train_trace(
    directory: Path,
    runs: dict[int, list[tuple[int | None, ...]]] = RUNS,
    levels: tuple[float, ...] = LEVELS,
    workload: Workload = WORKLOAD,
) -> Path:
    lines = ["dataset,network,batch_size,optimizer,learning_rate,run,target_metric,target_epoch"]
    for size, epochs_of_runs in runs.items():
        for run, epochs in enumerate(epochs_of_runs, 1):
            for level, epoch in zip(levels, epochs, strict=True):
                head = f"{workload.dataset},{workload.network},{size},{workload.optimizer},1e-1,{run}"
                lines.append(f"{head},{level},{'nan' if epoch is None else float(epoch)}")
    return write(directory / "summary_train.csv", lines)


def write_power_trace(directory: Path, *, gpu: str = "t4", workload: Workload = WORKLOAD) -> Path:
    lines = ["dataset,network,batch_size,optimizer,power_limit,time_per_epoch,average_power"]
    for size, seconds in SECONDS.items():
        for limit, (watts, slowdown) in LIMITS.items():
            head = f"{workload.dataset},{workload.network},{size},{workload.optimizer}"
            lines.append(f"{head},{limit},{seconds * slowdown},{watts}")
    return write(directory / f"summary_power_{gpu}.csv", lines)


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def traces(directory: Path) -> tuple[TrainTrace, PowerTrace]:
    return read_train_trace(write_train_trace(directory)), read_power_trace(write_power_trace(directory))


def a_world(directory: Path, choice: JobChoice = CHOICE) -> World:
    train, power = traces(directory)
    return build_world(train, power, WORKLOAD, choice)
