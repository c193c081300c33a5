"""Images with pixels of another size, by splines, whole or in bands of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage

from analysis.tiles._cutting import Pixels
from analysis.tiles._histogram import find_range

Order = Literal[0, 1, 3]

_BAND = 2**21
"""Values of a band, of 8 bytes each."""
_SPLINE_MARGIN_PX = 24
"""How far a pixel is felt by the coefficients of a cubic spline: 0.268 ** 24 is 2e-14."""
_TRUNCATE = 4.0


def resampled_shape(shape: Sequence[int], factor: float | tuple[float, float]) -> tuple[int, int]:
    """Rows and columns of an image after resampling.

    Parameters
    ----------
    shape
        (rows, columns) before; further axes are ignored.
    factor
        Size after over size before, or one for (rows, columns): the pixel size before over that wanted.

    Returns
    -------
    tuple of int
        Rounded to the nearest, halves to the even number, and at least 1.

    Raises
    ------
    ValueError
        When a factor is not a finite number above 0.

    Examples
    --------
    >>> resampled_shape((5, 1301), 0.5)
    (2, 650)
    """
    rows, columns = _check_factor(factor)
    return max(round(rows * shape[0]), 1), max(round(columns * shape[1]), 1)


def resample(
    image: Pixels, factor: float | tuple[float, float], *, anti_aliasing: bool | None = None, order: Order = 3
) -> np.ndarray:
    """Resample an image to pixels of another size.

    Parameters
    ----------
    image
        (rows, columns[, channels]); channels are resampled one by one.
    factor
        Size after over size before, or one for (rows, columns): the pixel size before over that wanted.
    anti_aliasing
        Whether details too small for the new pixels are smoothed away first; when shrinking if None.
    order
        Of the spline: 3 cubic, 1 linear, 0 the nearest pixel, for masks and labels.

    Returns
    -------
    numpy.ndarray
        Of `resampled_shape`; float32, or float64 for images of float64 or of whole numbers of 32 bits and more.
        The nearest pixel keeps the type. Values stay within those of the image.

    Raises
    ------
    ValueError
        When a factor is not a finite number above 0, the order is none of these, the shape is not that of an
        image, or pixels are NaN or infinite, which a spline would spread.

    References
    ----------
    Gaussian smoothing with a standard deviation of half of (1 / factor - 1), then cubic B-splines mirrored at the
    last pixel, on pixels that have an area: the numbers that `skimage.transform.resize` gives with
    ``mode="reflect"``, and Microglia Analyzer, which does not smooth.

    Examples
    --------
    >>> resample(np.array([[0, 0, 8, 8]], np.uint8), (1, 0.5), order=0)
    array([[0, 8]], dtype=uint8)
    """
    result, row = np.empty(0), 0
    for band in resample_bands(image, factor, anti_aliasing=anti_aliasing, order=order):
        if not row:
            result = np.empty((*resampled_shape(image.shape, factor), *image.shape[2:]), band.dtype)
        result[row : row + len(band)] = band
        row += len(band)
    return result


def resample_bands(
    image: Pixels,
    factor: float | tuple[float, float],
    *,
    anti_aliasing: bool | None = None,
    order: Order = 3,
    limits: tuple[float, float] | None = None,
) -> Iterator[np.ndarray]:
    """Resample an image in bands of rows, so that memory does not grow with its rows.

    Parameters
    ----------
    image, factor, anti_aliasing, order
        As in `resample`.
    limits
        Lowest and highest value of the image, when they are known; it is looked through for them otherwise.

    Yields
    ------
    numpy.ndarray
        (some rows, columns[, channels]): the resampled image from top to bottom.

    Raises
    ------
    ValueError
        As `resample`.
    """
    factors = _check_factor(factor)
    if len(image.shape) not in (2, 3) or 0 in image.shape:
        raise ValueError(f"image must be (rows, columns) or (rows, columns, channels); got {tuple(image.shape)}.")
    if order not in (0, 1, 3):
        raise ValueError(f"order must be 0 (nearest), 1 (linear) or 3 (cubic); got {order!r}.")
    shape = resampled_shape(image.shape, factor)
    smooth = (min(factors) < 1 if anti_aliasing is None else anti_aliasing) and order > 0
    axes = [_make_axis(before, after, order, smooth) for before, after in zip(image.shape[:2], shape, strict=True)]
    return _bands(image, *axes, order, limits)


@dataclass(frozen=True)
class _Axis:
    """How new pixels along an axis are made of old ones; without taps they are the old ones.

    Attributes
    ----------
    taps
        (pixels, taps) numbers of the old pixels that each new one is made of.
    weights
        (pixels, taps) their weights.
    pixels
        (before, after).
    sigma_px
        Of the smoothing, 0 for none.
    margin_px
        Old pixels needed around the taps.
    """

    taps: np.ndarray | None
    weights: np.ndarray
    pixels: tuple[int, int]
    sigma_px: float = 0.0
    margin_px: int = 0

    def window(self, start: int, end: int) -> tuple[int, int]:
        """Return the old pixels that new ones from start to end are made of."""
        if self.taps is None:
            return start, end
        taps = self.taps[start:end]
        return max(int(taps.min()) - self.margin_px, 0), min(int(taps.max()) + 1 + self.margin_px, self.pixels[0])


def _make_axis(before: int, after: int, order: int, smooth: bool) -> _Axis:
    ratio = before / after
    sigma = max((ratio - 1) / 2, 0.0) if smooth else 0.0
    if before == after:
        return _Axis(None, np.empty(0), (before, after))
    place = (np.arange(after) + 0.5) * ratio - 0.5
    if order == 0:
        return _Axis(_mirror(np.floor(place + 0.5)[:, None], before), np.ones((after, 1)), (before, after))
    first = np.floor(place)
    share = (place - first)[:, None]
    if order == 1:
        taps, weights = first[:, None] + np.arange(2), np.concatenate([1 - share, share], axis=1)
    else:
        taps, weights = first[:, None] + np.arange(-1, 3), _cubic(np.abs(share - np.arange(-1, 3)))
    margin = int(_TRUNCATE * sigma + 0.5) + (_SPLINE_MARGIN_PX if order == 3 else 0)
    return _Axis(_mirror(taps, before), weights, (before, after), sigma, margin)


def _cubic(distance: np.ndarray) -> np.ndarray:
    """Return the cubic B-spline at distances up to 2."""
    return np.where(distance < 1, 2 / 3 - distance**2 * (1 - distance / 2), np.maximum(2 - distance, 0) ** 3 / 6)


def _mirror(pixels: np.ndarray, length: int) -> np.ndarray:
    """Return the pixels of the image at places beyond it, mirrored at the first and the last pixel."""
    period = max(2 * (length - 1), 1)
    folded = pixels.astype(np.int64) % period
    return np.minimum(folded, period - folded) if length > 1 else np.zeros_like(folded)


def _bands(
    image: Pixels, rows: _Axis, columns: _Axis, order: int, limits: tuple[float, float] | None
) -> Iterator[np.ndarray]:
    kept = rows.taps is None and columns.taps is None
    if order and not kept and limits is None:
        limits = _find_limits(image)
    values = max(columns.pixels) * int(np.prod(image.shape[2:], dtype=np.int64))
    height = max(_BAND // values, 16)
    for start in range(0, rows.pixels[1], height):
        end = min(start + height, rows.pixels[1])
        first, last = rows.window(start, end)
        window = np.asarray(image[first:last])
        if order == 0:
            near = window if rows.taps is None else window[rows.taps[start:end, 0] - first]
            yield near if columns.taps is None else near[:, columns.taps[:, 0]]
            continue
        dtype = np.result_type(window.dtype, np.float32)
        if kept:
            yield window.astype(dtype)
            continue
        band = np.empty((end - start, columns.pixels[1], *window.shape[2:]), dtype)
        for channel in np.ndindex(window.shape[2:]):
            plane = window[(..., *channel)].astype(np.float64)
            plane = _along(plane, 0, rows, slice(start, end), first, order)
            plane = _along(plane, 1, columns, slice(None), 0, order)
            band[(..., *channel)] = np.clip(plane, *limits, out=plane) if order == 3 else plane
        yield band


def _along(plane: np.ndarray, axis: int, how: _Axis, part: slice, first: int, order: int) -> np.ndarray:
    """Smooth and interpolate along one axis; ``first`` is the old pixel that the plane begins with."""
    if how.taps is None:
        return plane
    if how.sigma_px:
        plane = ndimage.gaussian_filter1d(plane, how.sigma_px, axis, mode="mirror", truncate=_TRUNCATE)
    if order == 3:
        plane = ndimage.spline_filter1d(plane, 3, axis, mode="mirror")
    taps, weights = how.taps[part] - first, how.weights[part]
    result = 0.0
    for tap, weight in zip(taps.T, weights.T, strict=True):
        term = np.take(plane, tap, axis=axis)
        term *= weight[:, None] if axis == 0 else weight
        result = np.add(result, term, out=term)
    return result


def _find_limits(image: Pixels) -> tuple[float, float]:
    found = find_range(image)
    if found.left_out:
        raise ValueError(
            f"image must be finite to be resampled by splines, which would spread the {found.left_out} pixels that"
            " are NaN or infinite. Fill them first, or choose order 0."
        )
    return found.low, found.high


def _check_factor(factor: float | tuple[float, float]) -> tuple[float, float]:
    pair = tuple(factor) if isinstance(factor, Sequence) else (factor, factor)
    if len(pair) != 2 or not all(0 < each < np.inf for each in pair):
        raise ValueError(f"factor must be a number above 0, or two (rows, columns); got {factor!r}.")
    return float(pair[0]), float(pair[1])
