from collections.abc import Iterator
from itertools import chain

import pytest
import torch
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from rheostat import Client, RunningTrial
from rheostat.errors import ConfigurationError
from rheostat.sdk.integrations.pytorch import check_loader, data_loader, set_learning_rate
from tests.frameworks.trainers import GPU, SETTINGS

DATA = TensorDataset(torch.arange(100))


@pytest.fixture
def trial(client: Client, job_id: str) -> Iterator[RunningTrial]:
    """It trains with 64 samples at once."""
    with client.trial(job_id, SETTINGS, GPU) as trial:
        yield trial


class TestDataLoader:
    def test_each_epoch_has_all_samples_in_another_order(self, trial: RunningTrial) -> None:
        loader = data_loader(trial, DATA)
        epochs = [[batch.tolist() for (batch,) in loader] for _ in range(2)]
        assert [[len(batch) for batch in epoch] for epoch in epochs] == [[64, 36]] * 2
        assert [sorted(chain.from_iterable(epoch)) for epoch in epochs] == [list(range(100))] * 2
        assert epochs[0] != epochs[1]

    def test_an_epoch_can_be_repeated_after_a_restart(self, trial: RunningTrial) -> None:
        loader, resumed = data_loader(trial, DATA), data_loader(trial, DATA)
        next(iter(loader))
        resumed.batch_sampler.epoch = 1  # type: ignore[union-attr, unused-ignore]
        assert [batch.tolist() for (batch,) in loader] == [batch.tolist() for (batch,) in resumed]

    def test_accumulated_batches_make_up_the_global_batch(self, trial: RunningTrial) -> None:
        loader = data_loader(trial, DATA, shuffle=False, accumulation_steps=3, num_workers=0)
        batches = [batch.tolist() for (batch,) in loader]
        assert len(loader) == len(batches) == 6
        assert [len(batch) for batch in batches] == [22, 21, 21, 12, 12, 12]
        assert list(chain.from_iterable(batches)) == list(range(100))

    def test_a_batch_with_less_than_a_sample_for_each_part_is_refused(self, trial: RunningTrial) -> None:
        with pytest.raises(ConfigurationError, match="64 is too small for 1 processes with 65"):
            data_loader(trial, DATA, accumulation_steps=65)

    def test_no_data_is_refused(self, trial: RunningTrial) -> None:
        with pytest.raises(ConfigurationError, match="empty"):
            data_loader(trial, TensorDataset(torch.arange(0)))


class TestLearningRate:
    def test_groups_keep_their_ratio(self) -> None:
        first, second = nn.Linear(1, 1), nn.Linear(1, 1)
        optimizer = SGD([{"params": first.parameters()}, {"params": second.parameters(), "lr": 0.02}], lr=0.2)
        set_learning_rate(optimizer, 0.1)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1, 0.01])

    def test_a_job_without_one_leaves_it_alone(self) -> None:
        optimizer = SGD(nn.Linear(1, 1).parameters(), lr=0.2)
        set_learning_rate(optimizer, None)
        assert optimizer.param_groups[0]["lr"] == 0.2

    def test_it_comes_before_a_scheduler(self) -> None:
        optimizer = SGD(nn.Linear(1, 1).parameters(), lr=0.2)
        StepLR(optimizer, 1)
        with pytest.raises(ConfigurationError, match="before the scheduler"):
            set_learning_rate(optimizer, 0.1)

    def test_there_is_no_ratio_to_zero(self) -> None:
        with pytest.raises(ConfigurationError, match="is 0"):
            set_learning_rate(SGD(nn.Linear(1, 1).parameters(), lr=0.0), 0.1)


class TestALoaderOfYourOwn:
    def test_one_with_the_trials_batch_size_is_right(self, trial: RunningTrial) -> None:
        check_loader(trial, DataLoader(DATA, batch_size=trial.batch_size))
        check_loader(trial, DataLoader(DATA, batch_size=trial.batch_size // 4), accumulation_steps=4)
        check_loader(trial, data_loader(trial, DATA))

    def test_another_batch_size_is_refused_with_its_factors(self, trial: RunningTrial) -> None:
        sampler: DistributedSampler[int] = DistributedSampler(DATA, num_replicas=1, rank=0)
        with pytest.raises(
            ConfigurationError, match=r"batch size of 64, times 1 .* times 2 .* is 128; the trial's is 64"
        ):
            check_loader(trial, DataLoader(DATA, batch_size=64, sampler=sampler), accumulation_steps=2)
