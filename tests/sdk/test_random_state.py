"""Random generators are as they were after something else drew from them."""

import sys
from types import SimpleNamespace

import pytest

from rheostat.sdk.random_state import random_state_kept


class Generator:
    """One that, as those of CUDA, is made when the GPU is first used, with the seed that was asked for until then."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.drawn = 0

    def initial_seed(self) -> int:
        return self._seed

    def manual_seed(self, seed: int) -> None:
        self._seed, self.drawn = seed, 0


class Cuda:
    def __init__(self) -> None:
        self.default_generators: tuple[Generator, ...] = ()

    def is_initialized(self) -> bool:
        return self.default_generators != ()


def test_generators_of_gpus_that_are_first_used_meanwhile_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = Cuda()
    torch = SimpleNamespace(cuda=cuda, get_rng_state=lambda: "state", set_rng_state=lambda state: None)
    monkeypatch.setitem(sys.modules, "torch", torch)
    with random_state_kept():
        cuda.default_generators = (Generator(7), Generator(7))
        cuda.default_generators[0].drawn = 5
    assert [(generator.initial_seed(), generator.drawn) for generator in cuda.default_generators] == [(7, 0), (7, 0)]
