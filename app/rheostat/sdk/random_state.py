"""Keeps the random generators of a process as they are while something else draws from them."""

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Restore at the block's end what Python's, NumPy's and PyTorch's global generators will draw next."""
    python = random.getstate()
    numpy: Any = sys.modules.get("numpy.random")
    torch: Any = sys.modules.get("torch")
    of_numpy = None if numpy is None else numpy.get_state()
    of_torch = None if torch is None else torch.get_rng_state()
    of_cuda = torch.cuda.get_rng_state_all() if torch is not None and torch.cuda.is_initialized() else None
    try:
        yield
    finally:
        random.setstate(python)
        if of_numpy is not None:
            numpy.set_state(of_numpy)
        if of_torch is not None:
            torch.set_rng_state(of_torch)
        if of_cuda is not None:
            torch.cuda.set_rng_state_all(of_cuda)
        elif torch is not None and torch.cuda.is_initialized():
            for generator in torch.cuda.default_generators:  # they began meanwhile, with the seed that they had got
                generator.manual_seed(generator.initial_seed())
