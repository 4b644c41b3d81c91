"""The colours of the figures, as the colour-blind see them, on light and dark pages."""

import numpy as np
import pytest
from numpy.typing import NDArray

from rheostat.visualization.style import size_colours
from rheostat.visualization.timeline import STATE_COLOURS

Colours = NDArray[np.float64]

# Machado, Oliveira and Fernandes 2009, "A physiologically-based model for simulation of color vision deficiency":
# severity 1.0, for linear RGB.
EYES = {
    "usual": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
}

# Linear sRGB to CIE XYZ under D65, IEC 61966-2-1.
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = XYZ.sum(axis=1)

PALETTES = [[*size_colours(2**n for n in range(count)).values()] for count in range(2, 9)]


def linear(colours: list[str]) -> Colours:
    """Return the linear RGB of colours such as #0f9d76."""
    values = np.array([[int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)] for colour in colours])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(colours: Colours) -> Colours:
    """Return colours in CIE 1976 L*a*b*, where distances are as large as they look."""
    share = np.clip(colours, 0, 1) @ XYZ.T / WHITE
    x, y, z = np.where(share > 0.008856, np.cbrt(share), 7.787 * share + 16 / 116).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize("colours", [*PALETTES, [*STATE_COLOURS.values()]], ids=len)
def test_colours_differ_for_all_eyes(colours: list[str], eyes: str) -> None:
    seen = lab(linear(colours) @ np.array(EYES[eyes]).T)
    distances = np.linalg.norm(seen[:, None] - seen[None], axis=-1)
    assert distances[~np.eye(len(colours), dtype=bool)].min() > 17


@pytest.mark.parametrize("eyes", EYES)
def test_neighbouring_batch_sizes_have_clearly_different_colours(eyes: str) -> None:
    seen = lab(linear(PALETTES[-1]) @ np.array(EYES[eyes]).T)
    assert np.linalg.norm(seen[1:] - seen[:-1], axis=-1).min() > 60


@pytest.mark.parametrize("page", ["#ffffff", "#19212a"])
def test_colours_stand_out_from_the_page(page: str) -> None:
    luminance = linear([colour for palette in PALETTES for colour in palette]) @ XYZ[1]
    below = float(linear([page])[0] @ XYZ[1])
    contrast = (np.maximum(luminance, below) + 0.05) / (np.minimum(luminance, below) + 0.05)
    assert contrast.min() >= 3  # WCAG 2.2, 1.4.11
