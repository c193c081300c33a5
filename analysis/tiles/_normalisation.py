"""Pixels stretched between bounds: clipped, rounded, never wrapped."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.tiles._choices import check_bounds, check_choice

_BLOCK = 2**18
"""Values worked on at once, few enough to stay in the processor's cache."""


def normalise(
    image: np.ndarray,
    low: float | Sequence[float],
    high: float | Sequence[float],
    *,
    bounds: Sequence[float] = (0, 1),
    dtype: str | np.dtype = "float32",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Stretch an image so that low and high become the bounds.

    Values below low and above high are clipped, and rounded for whole numbers. NaN becomes the lower bound and
    infinities the bound on their side, so nothing ever lies outside. When low equals high, all values up to it
    become the lower bound and all above it the upper one; an image of one value is therefore the lower bound
    throughout, whatever the value.

    Parameters
    ----------
    image
        (rows, columns[, channels]) of any number type.
    low, high
        Values that become the bounds, as `find_range` gives them; or one of each for every channel.
    bounds
        Lowest and highest value of the result.
    dtype
        Of the result, one of `allowed_types`.
    out
        Array of the image's shape and this type to write into.

    Returns
    -------
    numpy.ndarray
        Of the image's shape. Single precision, which holds all values of 16 bits, is used for these and for
        float32; images of 32 and 64 bits are stretched in double precision.

    Raises
    ------
    ValueError
        When low or high is not finite or low is above high, or the type cannot hold the bounds.

    References
    ----------
    Linear stretch of Microglia Analyzer, whose results in float32 these are bit for bit. It cuts where whole
    numbers are rounded here, and makes an image of one value the upper bound.

    Examples
    --------
    >>> normalise(np.array([[0, 50, 100]], np.uint8), 0, 100, bounds=(0, 255), dtype="uint8")
    array([[  0, 128, 255]], dtype=uint8)
    """
    image = np.asarray(image)
    check_choice(bounds, dtype)
    limits = np.asarray(low, float), np.asarray(high, float)
    with np.errstate(over="ignore", invalid="ignore"):
        between = limits[1] - limits[0]
    if not np.all((between >= 0) & (between < np.inf)):
        raise ValueError(f"low and high must be finite numbers, low not above high; got {low} and {high}.")
    if out is None:
        out = np.empty(image.shape, dtype)
    elif out.shape != image.shape or out.dtype != np.dtype(dtype):
        raise ValueError(f"out must be {image.shape} of {np.dtype(dtype)}; got {out.shape} of {out.dtype}.")
    if limits[0].ndim == limits[1].ndim == 0:
        _stretch(image, float(limits[0]), float(limits[1]), check_bounds(bounds), out)
        return out
    if image.ndim < 3 or any(limit.shape not in ((), image.shape[-1:]) for limit in limits):
        raise ValueError(f"low and high must be one for each channel; got {low} and {high} for {image.shape}.")
    pairs = np.broadcast_arrays(*limits, np.empty(image.shape[-1]))[:2]
    for channel, (start, end) in enumerate(zip(*pairs, strict=True)):
        _stretch(image[..., channel], float(start), float(end), check_bounds(bounds), out[..., channel])
    return out


def _stretch(image: np.ndarray, low: float, high: float, bounds: tuple[float, float], out: np.ndarray) -> None:
    if low == high:
        np.copyto(out, np.where(image > high, out.dtype.type(bounds[1]), out.dtype.type(bounds[0])))
        return
    work = _work_type(image.dtype, low, high)
    rows = max(1, _BLOCK // max(image[:1].size, 1))
    scratch = None if out.dtype == work else np.empty((rows, *image.shape[1:]), work)
    for row in range(0, len(image), rows):
        part = image[row : row + rows]
        block = out[row : row + rows] if scratch is None else scratch[: len(part)]
        _stretch_block(part, work.type(low), work.type(high), bounds, block)
        if scratch is not None:
            if out.dtype.kind != "f":
                np.rint(block, out=block)
            out[row : row + rows] = block


def _stretch_block(
    image: np.ndarray, low: np.floating, high: np.floating, bounds: tuple[float, float], block: np.ndarray
) -> None:
    work = block.dtype
    with np.errstate(over="ignore"):
        np.subtract(image, low, out=block, dtype=work, casting="unsafe")
        block /= high - low
    if image.dtype.kind == "f":
        np.fmax(block, 0, out=block)  # which takes the 0 in place of NaN
        np.fmin(block, 1, out=block)
    else:
        np.clip(block, 0, 1, out=block)
    lower, upper, between = (work.type(each) for each in (*bounds, bounds[1] - bounds[0]))
    if between != 1:
        block *= between
    if lower != 0:
        block += lower
        np.clip(block, lower, upper, out=block)  # rounding may have gone beyond


def _work_type(dtype: np.dtype, low: float, high: float) -> np.dtype:
    """Return single precision where it can hold the values and tell low from high."""
    work = np.result_type(dtype, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        between = np.float32(high) - np.float32(low)
    return work if 0 < between < np.inf else np.dtype(np.float64)


def convert_pixels(image: np.ndarray, dtype: str | np.dtype) -> np.ndarray:
    """Turn pixels into another number type without ever wrapping.

    Whole numbers are rounded to the nearest, halves to the even one, and clipped to what the type holds; NaN
    becomes 0. Values are not stretched: that is what `normalise` does.

    Parameters
    ----------
    image
        Any shape.
    dtype
        Of the result.

    Returns
    -------
    numpy.ndarray
        The image itself when it has the type already.

    Examples
    --------
    >>> convert_pixels(np.array([-3.0, 1.6, 300.0]), "uint8")
    array([  0,   2, 255], dtype=uint8)
    """
    dtype = np.dtype(dtype)
    if image.dtype == dtype:
        return image
    if dtype.kind == "f" or image.dtype.kind == "b":
        return image.astype(dtype)
    if dtype.kind == "b":
        return image > 0.5
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    if image.dtype.kind in "iu":
        own = np.iinfo(image.dtype)
        return np.clip(image, max(low, own.min), min(high, own.max)).astype(dtype)
    rounded = np.array(np.rint(image, dtype=np.result_type(image.dtype, np.float32)))
    ends = _within(rounded.dtype, low), _within(rounded.dtype, high)
    np.clip(rounded, *ends, out=rounded)
    return np.nan_to_num(rounded, copy=False, nan=0).astype(dtype)


def _within(dtype: np.dtype, limit: int) -> np.floating:
    """Return a limit of whole numbers as a float that is not beyond it."""
    near = dtype.type(limit)
    return np.nextafter(near, dtype.type(0)) if abs(int(near)) > abs(limit) else near
