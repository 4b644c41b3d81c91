"""Epochs of steps, examples and tokens."""

import pytest

from rheostat.errors import ConfigurationError
from rheostat.sdk.epoch_units import EpochLength


@pytest.mark.parametrize(
    ("length", "figures", "epochs"),
    [
        (EpochLength(32), {}, None),
        (EpochLength(32), {"epoch": 1.5}, 1.5),
        (EpochLength(32, examples=3200), {"step": 150}, 1.5),
        (EpochLength(64, examples=3200), {"step": 150}, 3.0),
        (EpochLength(32, steps=50), {"step": 100}, 2.0),
        (EpochLength(32, examples=1e6), {"examples": 2.5e5}, 0.25),
    ],
)
def test_epochs_follow_from_what_is_counted(
    length: EpochLength, figures: dict[str, float], epochs: float | None
) -> None:
    given = {"epoch": None, "step": None, "examples": None, **figures}
    assert length.epochs(**given) == epochs


@pytest.mark.parametrize(
    ("length", "figures", "words"),
    [
        (EpochLength(32), {"step": 100.0}, "how many steps an epoch has"),
        (EpochLength(32, steps=50), {"examples": 100.0}, "how many examples an epoch has"),
        (EpochLength(32, steps=50), {"epoch": 1.0, "step": 50.0}, "one of epoch, step and examples"),
    ],
)
def test_what_is_not_known_is_said(length: EpochLength, figures: dict[str, float], words: str) -> None:
    given = {"epoch": None, "step": None, "examples": None, **figures}
    with pytest.raises(ConfigurationError, match=words):
        length.epochs(**given)
