"""What each tile weighs where tiles overlap."""

from __future__ import annotations

from typing import Literal

import numpy as np

from analysis.tiles._layout import Layout

Blending = Literal["gradient", "flat", "gaussian", "nearest"]

BLENDINGS = ("gradient", "flat", "gaussian", "nearest")
_SIGMAS = 8
"""Standard deviations of the gaussian in the side of a tile."""


def axis_weights(layout: Layout, axis: int, blending: Blending = "gradient") -> np.ndarray:
    """Weights of the tiles along one axis, which sum to 1 at every pixel.

    The weight of a tile at a pixel is the product of its weights along both axes.

    Parameters
    ----------
    layout
        Of the tiles.
    axis
        0 for rows, 1 for columns.
    blending
        ``"gradient"``: linear from one tile to the next across what they share, with 0 and 1 at its ends.
        ``"flat"``: the mean. ``"gaussian"``: less towards the edges of a tile, with a standard deviation of an
        eighth of its side. ``"nearest"``: only the tile whose centre is nearest, for labels that have no mean.

    Returns
    -------
    numpy.ndarray
        (tiles along the axis, tile side) of float64, 0 to 1.

    Raises
    ------
    ValueError
        When the axis or the blending is none of these.

    References
    ----------
    The ramps of ``"gradient"`` are those of Microglia Analyzer, divided by their sum, which is not 1 there where
    three tiles meet. The gaussian's width is that of MONAI's sliding window.

    Examples
    --------
    >>> from analysis.tiles import make_layout
    >>> axis_weights(make_layout((1, 5), tile_size=(1, 3), overlap=(0, 1)), 1)
    array([[1. , 1. , 0.5],
           [0.5, 1. , 1. ]])
    """
    if axis not in (0, 1):
        raise ValueError(f"axis must be 0 (rows) or 1 (columns); got {axis!r}.")
    if blending not in BLENDINGS:
        raise ValueError(f"blending must be {', '.join(BLENDINGS[:-1])} or {BLENDINGS[-1]}; got {blending!r}.")
    starts, size = (layout.starts_y, layout.starts_x)[axis], layout.tile_size[axis]
    pixels = starts[:, None] + np.arange(size)
    if blending == "gradient":
        weights = _ramps(starts, size)
    elif blending == "gaussian":
        weights = np.tile(np.exp(-0.5 * (_from_centre(size) / (size / _SIGMAS)) ** 2), (len(starts), 1))
    elif blending == "nearest":
        weights = _nearest(pixels, size)
    else:
        weights = np.ones((len(starts), size))
    return _to_sum_one(weights, pixels)


def _ramps(starts: np.ndarray, size: int) -> np.ndarray:
    """Return the products of the ramps that every tile has towards its neighbours."""
    weights = np.ones((len(starts), size))
    for before, shared in enumerate(np.maximum(starts[:-1] + size - starts[1:], 0).tolist()):
        ramp = np.linspace(0, 1, shared)
        weights[before, size - shared :] *= ramp[::-1]
        weights[before + 1, :shared] *= ramp
    return weights


def _from_centre(size: int) -> np.ndarray:
    return np.arange(size) - (size - 1) / 2


def _nearest(pixels: np.ndarray, size: int) -> np.ndarray:
    """Return 1 where no other tile of the axis has its centre nearer; the earlier one of two alike."""
    centres = pixels[:, 0] + (size - 1) / 2
    owner = np.argmin(np.abs(np.arange(pixels.max() + 1) - centres[:, None]), axis=0)
    return (owner[pixels] == np.arange(len(pixels))[:, None]).astype(float)


def _to_sum_one(weights: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    total = np.bincount(pixels.ravel(), weights.ravel())[pixels]
    # the single shared line of an overlap of 1 px is at the zero end of both ramps
    count = np.bincount(pixels.ravel())[pixels]
    return np.divide(weights, total, out=1 / count, where=total > 0)
