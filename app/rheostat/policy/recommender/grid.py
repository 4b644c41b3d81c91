"""The batch sizes of a job on the logarithmic scale that the models work on."""

from collections.abc import Sequence
from functools import cached_property, lru_cache

import numpy as np

from rheostat.policy.recommender.normal import Array

HUB = 3.0
"""Octaves from the default beyond which curvature goes on in a straight line."""


class Grid:
    """Candidate batch sizes in octaves, seen from the default.

    Attributes:
        batch_sizes: Ascending.
        octaves: log2 of each, ``x`` in the formulas.
        distance: Octaves from the default, ``d``; negative below it.
    """

    def __init__(self, batch_sizes: Sequence[int], default_batch_size: int) -> None:
        self.batch_sizes = tuple(batch_sizes)
        self._key = (self.batch_sizes, default_batch_size)
        self.octaves: Array = np.log2(np.array(batch_sizes, dtype=np.float64))
        self.distance: Array = self.octaves - np.log2(float(default_batch_size))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Grid) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __len__(self) -> int:
        return len(self.batch_sizes)

    def index(self, batch_size: int) -> int:
        """Return the position of a batch size."""
        return self.batch_sizes.index(batch_size)

    @cached_property
    def apart(self) -> tuple[float, ...]:
        """Octaves from the default, whether above or below it."""
        return tuple(np.abs(self.distance).tolist())

    @cached_property
    def bend(self) -> Array:
        """Huber's function of the distance: half its square, and a straight line from :data:`HUB` octaves on."""
        far = np.abs(self.distance)
        bend: Array = np.where(far < HUB, 0.5 * self.distance**2, HUB * (far - 0.5 * HUB))
        return bend

    def smooth(self, deviation: float, length_octaves: float) -> Array:
        """Return a squared-exponential covariance: arms a few octaves apart go together, distant ones do not."""
        apart = (self.octaves[:, None] - self.octaves[None, :]) / length_octaves
        covariance: Array = deviation**2 * np.exp(-0.5 * apart**2)
        return covariance


@lru_cache(maxsize=128)
def grid_of(batch_sizes: tuple[int, ...], default_batch_size: int) -> Grid:
    """Return the grid of a job, the same one each time."""
    return Grid(batch_sizes, default_batch_size)
