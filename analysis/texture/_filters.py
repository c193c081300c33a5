"""Pictures made from a tile, of which patches take means, deviations and shares: gradients, patterns, grain sizes."""

from __future__ import annotations

import numba
import numpy as np
from scipy.ndimage import gaussian_filter1d

GRAIN_SIZES_PX = (1, 2, 4)
"""Smaller Gaussian of each difference; the larger one is twice as wide."""
PATTERNS = 10
_TRUNCATE = 4
HALO_PX = 2 * GRAIN_SIZES_PX[-1] * _TRUNCATE
"""Pixels around a band that any of the filters looks at."""


def filter_gradient(band: np.ndarray) -> np.ndarray:
    """Return the length of the gradient from central differences, in counts a pixel.

    Parameters
    ----------
    band
        (rows, columns).
    """
    padded = np.pad(band.astype(np.float32, copy=False), 1, mode="edge")
    across = padded[1:-1, 2:] - padded[1:-1, :-2]
    down = padded[2:, 1:-1] - padded[:-2, 1:-1]
    return np.hypot(across, down) / np.float32(2)


def filter_grains(band: np.ndarray, grain_px: int) -> np.ndarray:
    """Return the difference of two Gaussians, of ``grain_px`` and twice that: grains of that size stand out.

    Parameters
    ----------
    band
        (rows, columns).
    grain_px
        Standard deviation of the smaller Gaussian.
    """
    pixels = band.astype(np.float32, copy=False)
    return _smooth(pixels, grain_px) - _smooth(pixels, 2 * grain_px)


def _smooth(pixels: np.ndarray, sigma_px: float) -> np.ndarray:
    for axis in (0, 1):
        pixels = gaussian_filter1d(pixels, sigma_px, axis, mode="nearest", truncate=_TRUNCATE)
    return pixels


@numba.njit(nogil=True, cache=True)
def filter_patterns(band, out):
    """Write the local binary pattern of every pixel: rotation-invariant, uniform, 8 neighbours of the square.

    0 to 8: so many neighbours, all side by side, are at least as bright; 9: they are not side by side. The neighbours
    are the pixels themselves, not points on a circle between them.

    Parameters
    ----------
    band
        (rows, columns); its border is repeated outwards.
    out
        (rows, columns) uint8.

    References
    ----------
    T. Ojala, M. Pietikäinen, T. Mäenpää, IEEE Trans. Pattern Anal. Mach. Intell. 24, 971 (2002),
    https://doi.org/10.1109/TPAMI.2002.1017623
    """
    down = (-1, -1, -1, 0, 1, 1, 1, 0)
    across = (-1, 0, 1, 1, 1, 0, -1, -1)
    rows, columns = band.shape
    for row in range(rows):
        for column in range(columns):
            value = band[row, column]
            brighter, changes = 0, 0
            before = band[row, max(column - 1, 0)] >= value
            for each in range(8):
                y = min(max(row + down[each], 0), rows - 1)
                x = min(max(column + across[each], 0), columns - 1)
                now = band[y, x] >= value
                brighter += now
                changes += now != before
                before = now
            out[row, column] = brighter if changes <= 2 else 9
