import pytest

from rheostat import Client, Gpu, JobSettings
from rheostat.errors import ConfigurationError
from rheostat.sdk.ranks import Alone, ranks_of_this_run


def test_one_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for world in ("", "1"):
        monkeypatch.setenv("WORLD_SIZE", world)
        ranks = ranks_of_this_run()
        assert isinstance(ranks, Alone)
        assert (ranks.broadcast("it"), ranks.gather("it")) == ("it", ["it"])


def test_several_processes_without_init_process_group_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    settings = JobSettings(batch_sizes=[32], default_batch_size=32, max_epochs=1)
    gpu = Gpu(model="V100", min_power_limit_watts=100, max_power_limit_watts=250)
    with (
        pytest.raises(ConfigurationError, match=r"WORLD_SIZE is 2.*init_process_group"),
        Client("http://127.0.0.1:1") as client,
        client.trial("nightly", settings, gpu),
    ):
        pytest.fail("training began")
