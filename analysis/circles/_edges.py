"""Edges of an image in units of its local noise, at half size.

The image is averaged over 2 x 2 pixels, smoothed with a Gaussian and differentiated. Where nothing is drawn, the
length of the gradient of white noise follows a Rayleigh distribution, whose quantile in blocks of the image tells the
noise, whatever its strength and wherever it changes. A gradient is then told in standard deviations of its noise:
textures count as noise, and gain and offset of the image do not matter.

Thin edges are the pixels where the gradient is larger than before and behind (non-maximum suppression, Canny 1986,
doi:10.1109/TPAMI.1986.4767851).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

SMOOTHING_PX = 1.3
"""Standard deviation of the Gaussian, in pixels of the halved image."""
EDGE_SNR = 4.0
"""Least gradient of an edge, in standard deviations of its noise."""
_BLOCK, _QUANTILE = 32, 0.4
"""Side of the blocks that the noise is told in, in pixels of the halved image, and the quantile that tells it."""
_LOW_QUANTILE, _FULL = 0.1, 1.5
"""Quantile that tells the noise of blocks so full of rims that the other is a rim's, and how much more it may say."""
_NOISY = 0.02
"""Noise from which on a coarser look is worth it, as a share of the range of grey values."""
_FLOOR = 0.004
"""Least contrast of an edge that is told from none, as a share of the range of grey values."""


@dataclass(frozen=True)
class Edges:
    """What detection needs to know of an image; made once, used for any radius, strictness and polarity.

    Attributes
    ----------
    grey
        (rows, columns) of float32, from 0 to 1; NaN and infinity are filled from beside.
    unknown
        (rows, columns) of bool: where the image was not finite; None when nowhere.
    low, scale
        Grey level that became 0, and grey levels that became 1.
    across, down
        (half rows, half columns) of float32: gradient along columns and rows, in standard deviations of its noise.
    place
        (edges, 2) column and row of thin edges in the halved image.
    normal
        (edges, 2) unit vectors of the gradient there, towards the brighter side.
    noise
        Standard deviation of the noise of single pixels, in units of ``grey``.
    coarse
        The same of the halved image, where faint rims stand out twice as far of the noise; None for an image of little
        noise.
    """

    grey: np.ndarray
    unknown: np.ndarray | None
    low: float
    scale: float
    across: np.ndarray
    down: np.ndarray
    place: np.ndarray
    normal: np.ndarray
    noise: float
    coarse: Edges | None = None


def find_edges(pixels: np.ndarray) -> Edges | None:
    """Find the edges of a grey image; None when it has no two different finite values or is too small to have any."""
    scaled = _scale(pixels)
    if scaled is None:
        return None
    edges = _edges_of(*scaled)
    # with less noise than this, only discs would gain that are fainter than a fiftieth of the range of grey values
    if edges.noise < _NOISY or min(pixels.shape) < 64:
        return edges
    unknown = None if scaled[1] is None else _halve(scaled[1].astype(np.float32)) > 0
    return dataclasses.replace(edges, coarse=_edges_of(_halve(scaled[0]), unknown, *scaled[2:]))


def _edges_of(grey: np.ndarray, unknown: np.ndarray | None, low: float, scale: float) -> Edges:
    half = _halve(grey)
    across, down = _derive(half, axis=1), _derive(half, axis=0)
    if unknown is not None:
        near = ndimage.binary_dilation(_halve(unknown.astype(np.float32)) > 0, iterations=2)
        across[near] = down[near] = 0
    length = np.hypot(across, down)
    noise = _local_noise(length)
    across /= noise
    down /= noise
    length /= noise
    place, normal = _thin(across, down, length)
    # the derivative of a Gaussian passes this share of white noise, averaged over 2 x 2 pixels before
    passed = 1 / (2 * np.sqrt(8 * np.pi) * SMOOTHING_PX**2)
    return Edges(grey, unknown, low, scale, across, down, place, normal, float(np.median(noise[::8, ::8])) / passed)


def _scale(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, float, float] | None:
    if min(pixels.shape) < 12:
        return None
    if pixels.dtype.kind == "f":
        finite = np.isfinite(pixels)
        unknown = None if finite.all() else ~finite
        if not finite.any():
            return None
        known = pixels if unknown is None else pixels[finite]
    else:
        unknown, known = None, pixels
    low, high = float(known.min()), float(known.max())
    if not high > low:
        return None
    wide = np.float64 if pixels.dtype.itemsize > 2 else np.float32
    with np.errstate(over="ignore", invalid="ignore"):
        scale = high - low
        if not np.isfinite(scale):
            return None
        grey = np.subtract(pixels, low, dtype=wide)
        grey = np.multiply(grey, 1 / scale if scale > 1e-300 else np.inf).astype(np.float32, copy=False)
    if unknown is not None:
        nearest = ndimage.distance_transform_edt(unknown, return_distances=False, return_indices=True)
        grey = grey[tuple(nearest)]
    return grey, unknown, low, scale


def _halve(image: np.ndarray) -> np.ndarray:
    rows, columns = image.shape
    if rows % 2 or columns % 2:
        image = np.pad(image, ((0, rows % 2), (0, columns % 2)), mode="edge")
    pairs = image[::2] + image[1::2]
    return (pairs[:, ::2] + pairs[:, 1::2]) * np.float32(0.25)


def _derive(half: np.ndarray, axis: int) -> np.ndarray:
    smooth = ndimage.gaussian_filter1d(half, SMOOTHING_PX, axis=1 - axis, truncate=3, mode="nearest")
    return ndimage.gaussian_filter1d(smooth, SMOOTHING_PX, axis=axis, order=1, truncate=3.5, mode="nearest")


def _local_noise(length: np.ndarray) -> np.ndarray:
    """Return the standard deviation of each component of the gradient's noise, block by block."""
    rows, columns = length.shape
    blocks = -(-rows // _BLOCK), -(-columns // _BLOCK)
    padded = np.pad(length, ((0, blocks[0] * _BLOCK - rows), (0, blocks[1] * _BLOCK - columns)), mode="symmetric") \
        if (rows % _BLOCK or columns % _BLOCK) else length  # fmt: skip
    tiles = padded.reshape(blocks[0], _BLOCK, blocks[1], _BLOCK)[:, ::2, :, ::2].swapaxes(1, 2)
    tiles = tiles.reshape(*blocks, -1)
    ranks = [int(share * tiles.shape[-1]) for share in (_LOW_QUANTILE, _QUANTILE)]
    quantiles = np.partition(tiles, ranks, axis=-1)[..., ranks]
    low, noise = np.moveaxis(quantiles, -1, 0) / np.sqrt(-2 * np.log1p([[[-_LOW_QUANTILE]], [[-_QUANTILE]]]))
    noise = np.minimum(noise, _FULL * low)
    typical = np.median(noise)
    floor = _FLOOR / (np.sqrt(2 * np.pi) * SMOOTHING_PX) / EDGE_SNR
    noise = np.maximum(noise, max(0.7 * typical, floor)).astype(np.float32)
    return np.repeat(np.repeat(noise, _BLOCK, axis=0), _BLOCK, axis=1)[:rows, :columns]


def _thin(across: np.ndarray, down: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    strong = length > EDGE_SNR
    strong[[0, -1]] = False
    strong[:, [0, -1]] = False
    index = np.flatnonzero(strong)
    size, width = length.ravel()[index], length.shape[1]
    normal = np.stack([across.ravel()[index], down.ravel()[index]], axis=1) / size[:, None]
    step = np.rint(normal * np.float32(1.3)).astype(np.intp)  # to one of the eight pixels around
    step = np.clip(step, -1, 1)
    way = step[:, 1] * width + step[:, 0]
    flat = length.ravel()
    peak = (size >= flat[index + way]) & (size > flat[index - way])
    index, normal = index[peak], normal[peak]
    row, column = np.divmod(index, width)
    return np.stack([column, row], axis=1).astype(np.float32), normal
