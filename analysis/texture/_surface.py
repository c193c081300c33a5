"""The smooth surface that the differences of neighbouring blocks of pixels follow."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.polynomial import legendre

from analysis.planes import PlaneInfo
from analysis.texture._moments import average_blocks
from analysis.texture._tile_set import open_tile, read_grey

Kind = Literal["multiplicative", "additive"]

_BLOCKS = 32
_LAGS = (1, 2, 4)
"""How many blocks apart the blocks are that are compared."""
_DARK = 0.2
_TURNS = 20
_BIWEIGHT = 4.685
"""Tuning constant of Tukey's biweight: 95 % of the efficiency of least squares for normal noise."""
_BAND_BYTES = 32e6


def read_blocks(info: PlaneInfo, channel: int) -> np.ndarray:
    """Return the means of the blocks of a tile, read in bands; NaN where a pixel is not finite.

    Parameters
    ----------
    info
        The tile.
    channel
        From 1.
    """
    down, across = (min(_BLOCKS, length) for length in (info.rows, info.columns))
    size = info.rows // down, info.columns // across
    out = np.empty((down, across))
    step = max(1, int(_BAND_BYTES // (size[0] * info.columns * np.dtype(info.dtype).itemsize)))
    with open_tile(info, channel) as plane:
        for start in range(0, down, step):
            stop = min(start + step, down)
            band = np.ascontiguousarray(read_grey(plane, start * size[0], stop * size[0]))
            band = band if band.dtype.name in ("uint8", "uint16", "float32") else band.astype(float)
            average_blocks(band, *size, out[start:stop])
    return out


def fit_surface(blocks: np.ndarray, shape: tuple[int, int], order: int, kind: Kind) -> tuple[np.ndarray, np.ndarray]:
    """Return coefficients, and the weight of every difference of every tile.

    Parameters
    ----------
    blocks
        (tiles, blocks down, blocks across), NaN where unknown.
    shape
        (rows, columns) of a tile in pixels.
    order, kind
        As in `estimate_shading`.
    """
    if kind == "multiplicative":
        typical = np.nanmedian(blocks)
        if not typical > 0:
            raise ValueError(
                f"tiles must be above 0 to be divided by a surface; their median is {typical:g}. Choose shading "
                '"none", or estimate_shading with kind "additive".'
            )
        # where it is dark, what a camera adds outweighs the light
        blocks = np.log(np.where(blocks > _DARK * typical, blocks, np.nan))
    basis, powers = _make_basis(blocks.shape[1:], shape, order)
    basis = basis.reshape(*blocks.shape[1:], -1)
    steps = [(axis, lag) for axis in (0, 1) for lag in _LAGS if lag < blocks.shape[1 + axis]]
    slopes = [_subtract_neighbours(basis, axis, lag).reshape(-1, len(powers)) for axis, lag in steps]
    found = [_subtract_neighbours(blocks, axis + 1, lag).reshape(len(blocks), -1) for axis, lag in steps]
    known = [np.isfinite(each) for each in found]
    found = [np.where(there, each, 0.0) for there, each in zip(known, found, strict=True)]
    weights = [there.astype(float) for there in known]
    coefficients = np.zeros(len(powers))
    for turn in range(_TURNS):
        left, right = np.zeros((len(powers), len(powers))), np.zeros(len(powers))
        for number, (slope, each, there) in enumerate(zip(slopes, found, known, strict=True)):
            if turn:
                # absolute values first, which few boundaries do not bend; then a weight that leaves these out
                weights[number] = _weigh(each - slope @ coefficients, there, early=turn < _TURNS // 2)
            left += (slope * weights[number].sum(axis=0)[:, None]).T @ slope
            right += slope.T @ (weights[number] * each).sum(axis=0)
        coefficients = np.linalg.lstsq(left, right, rcond=1e-12)[0]
    grid = np.zeros((order + 1, order + 1))
    grid[tuple(np.array(powers).T)] = coefficients
    return grid, np.concatenate(weights, axis=1)


def _subtract_neighbours(values: np.ndarray, axis: int, lag: int) -> np.ndarray:
    length = values.shape[axis]
    return np.take(values, range(lag, length), axis) - np.take(values, range(length - lag), axis)


def _make_basis(
    blocks: tuple[int, int], shape: tuple[int, int], order: int
) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Legendre polynomials at the middles of blocks: the middles of a tile's outermost pixels are -1 and 1."""
    y, x = (
        2 * ((np.arange(count) + 0.5) * (length // count) - 0.5) / max(length - 1, 1) - 1
        for count, length in zip(blocks, shape, strict=True)
    )
    # differences do not know the constant
    powers = [(i, j) for i in range(order + 1) for j in range(order + 1 - i) if i + j]
    full = legendre.legvander2d(*(each.ravel() for each in np.meshgrid(y, x, indexing="ij")), [order, order])
    return full[:, [i * (order + 1) + j for i, j in powers]], powers


def _weigh(residual: np.ndarray, known: np.ndarray, early: bool) -> np.ndarray:
    """Return weights that make least squares a fit to absolute values, or later Tukey's biweight."""
    size = np.abs(residual)
    scale = (
        max(1.4826 * float(np.median(size[known])), 1e-12 * float(size[known].max()), 1e-300) if known.any() else 1.0
    )
    if early:
        return np.where(known, 1 / np.maximum(size, 0.1 * scale) * scale, 0.0)
    weights = (1 - np.minimum(size / (_BIWEIGHT * scale), 1) ** 2) ** 2
    return np.where(known, weights, 0.0)
