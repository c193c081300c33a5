"""Numbers of patches as pixels of a tile, and the colours they are shown in."""

from __future__ import annotations

import numpy as np
import pandas as pd

COLOURS: tuple[str, ...] = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#7b4173", "#8c6d31", "#5e3c99",
    "#b2df8a", "#6e0b25",
)  # fmt: skip
"""Colours of clusters and classes, from the first; colour-blind people tell them apart too, the first seven easily."""
_VIRIDIS = (
    (68, 1, 84), (72, 40, 120), (62, 74, 137), (49, 104, 142), (38, 130, 142), (31, 158, 137), (53, 183, 121),
    (109, 205, 89), (180, 222, 44), (253, 231, 37),
)  # fmt: skip


def colour_of(number: int) -> tuple[int, int, int]:
    """Return red, green and blue, 0 to 255, of a cluster or class from 1."""
    text = COLOURS[(number - 1) % len(COLOURS)]
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def shade(values: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    """Return (..., 3) uint8 from dark blue to yellow of values between bounds."""
    low, high = bounds
    share = np.clip((np.asarray(values, float) - low) / (high - low if high > low else 1), 0, 1)
    share = np.nan_to_num(share)
    at = np.linspace(0, 1, len(_VIRIDIS))
    parts = [np.interp(share, at, [colour[part] for colour in _VIRIDIS]) for part in range(3)]
    return np.stack(parts, axis=-1).round().astype(np.uint8)


def patch_of_pixels(table: pd.DataFrame, shape: tuple[int, int], *, step: int = 1) -> np.ndarray:
    """Return which patch each pixel of a tile belongs to.

    Where patches overlap it is the one whose middle is nearest, the upper left one of equally near ones.

    Parameters
    ----------
    table
        The patches of one tile, which are all combinations of rows and columns.
    shape
        (rows, columns) of the tile in pixels.
    step
        Looks at the middles of squares of so many pixels only.

    Returns
    -------
    ndarray
        (rows, columns), or so many squares, int32: the place of the patch in ``table``, or -1 for none.
    """
    row, column = table["row"].to_numpy(), table["column"].to_numpy()
    lookup = np.full((row.max() + 2, column.max() + 2), -1, np.int32)
    lookup[row, column] = np.arange(len(table))
    down = _along(row, table["row_px"].to_numpy(), int(table["rows_px"].iloc[0]), shape[0], step)
    across = _along(column, table["column_px"].to_numpy(), int(table["columns_px"].iloc[0]), shape[1], step)
    # index -1 is the last row or column, which holds no patch
    return lookup[np.ix_(down, across)]


def _along(numbers: np.ndarray, starts: np.ndarray, size: int, length: int, step: int) -> np.ndarray:
    used, first = np.unique(numbers, return_index=True)
    starts = starts[first]
    middles = starts + (size - 1) / 2
    pixels = np.minimum(np.arange(0, length, step) + step // 2, length - 1)
    after = np.searchsorted(middles, pixels).clip(0, len(starts) - 1)
    before = (after - 1).clip(0)
    nearest = np.where(pixels - middles[before] <= middles[after] - pixels, before, after)
    inside = (pixels >= starts[nearest]) & (pixels < starts[nearest] + size)
    return np.where(inside, used[nearest], -1)
