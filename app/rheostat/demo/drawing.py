"""Draws the digits of the demo: as a pocket calculator shows them, with corners out of place and noise."""

import numpy as np
from numpy.typing import NDArray

SIDE_PIXELS = 8

# Column and row of the six corners, the strokes between them, and the strokes of each digit.
_CORNERS = np.array([(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2)])
_STROKES = np.array([(0, 1), (0, 2), (1, 3), (2, 3), (2, 4), (3, 5), (4, 5)])
_DIGITS = ("1110111", "0010010", "1011101", "1011011", "0111010", "1101011", "1101111", "1010010", "1111111", "1111011")
_HAS_STROKE = np.array([[stroke == "1" for stroke in digit] for digit in _DIGITS])

_TOP_LEFT_PIXELS = 1.5
_CELL_PIXELS = (4.5, 2.25)
_UNSTEADINESS = 0.05
_STROKE_PIXELS = 0.8
_NOISE = 0.1


def draw_digits(count: int, random: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.int_]]:
    """Draw each digit equally often.

    Args:
        count: Number of images.
        random: Draws where corners are, and the noise.

    Returns:
        The images, a row of pixels each, ink being 1 and paper 0 but for the noise; and the digits.
    """
    digits = np.arange(count) % len(_DIGITS)
    corners = _CORNERS + random.normal(0, _UNSTEADINESS, (count, *_CORNERS.shape))
    ends = (_TOP_LEFT_PIXELS + corners * _CELL_PIXELS)[:, _STROKES]
    begin, along = ends[:, :, :1], ends[:, :, 1:] - ends[:, :, :1]
    row, column = np.divmod(np.arange(SIDE_PIXELS**2), SIDE_PIXELS)
    from_begin = np.stack((column, row), axis=-1) - begin
    share = np.clip((from_begin * along).sum(-1) / (along**2).sum(-1), 0, 1)
    distance = np.linalg.norm(from_begin - share[..., None] * along, axis=-1)
    ink = np.exp(-((distance / _STROKE_PIXELS) ** 2)) * _HAS_STROKE[digits][..., None]
    return (ink.max(axis=1) + random.normal(0, _NOISE, (count, SIDE_PIXELS**2))).astype(np.float32), digits
