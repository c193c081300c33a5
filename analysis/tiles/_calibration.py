"""Images brought to one pixel size, without the whole of a large one in memory."""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from analysis.planes import Plane, PlaneInfo
from analysis.tiles._cutting import Pixels
from analysis.tiles._resampling import resample_bands, resampled_shape

TARGET_UM = 0.325
"""Pixel size that tiles are brought to unless another one is asked for."""
_IN_MEMORY_BYTES = 128_000_000
_SAME = 1e-6


def find_factor(
    info: PlaneInfo, *, pixel_size_um: float | None = None, target_pixel_size_um: float | None = None
) -> tuple[float, float]:
    """Return by how much an image is to be enlarged to have the pixel size asked for.

    Parameters
    ----------
    info
        Of the image.
    pixel_size_um
        Size of its pixels when the file says none, or says it wrong.
    target_pixel_size_um
        Size of square pixels in the result; None leaves the image as it is.

    Returns
    -------
    tuple of float
        Down and across; both are 1 when nothing is to be done.

    Raises
    ------
    ValueError
        When the pixel size is not known, or a size is not above 0.
    """
    for name, value in (("pixel_size_um", pixel_size_um), ("target_pixel_size_um", target_pixel_size_um)):
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"{name} must be a number above 0; got {value}.")
    if target_pixel_size_um is None:
        return 1.0, 1.0
    sides = sides_um(info, pixel_size_um)
    if sides is None:
        raise ValueError(
            f"{info.path} must say its pixel size to be brought to {target_pixel_size_um:g} um; "
            f"{info.pixel_size.source}. Give pixel_size_um, or leave the target out."
        )
    return tuple(1.0 if abs(side / target_pixel_size_um - 1) < _SAME else side / target_pixel_size_um for side in sides)


def sides_um(info: PlaneInfo, pixel_size_um: float | None) -> tuple[float, float] | None:
    """Return height and width of an image's pixels: what was given, or what the file says."""
    return (pixel_size_um, pixel_size_um) if pixel_size_um is not None else info.pixel_size.sides_um


def calibrated_shape(info: PlaneInfo, factor: tuple[float, float]) -> tuple[int, int]:
    """Return rows and columns of an image after it was enlarged by a factor."""
    return (info.rows, info.columns) if factor == (1.0, 1.0) else resampled_shape((info.rows, info.columns), factor)


@contextlib.contextmanager
def open_calibrated(
    plane: Plane, factor: tuple[float, float], *, anti_aliasing: bool | None = None, order: int = 3
) -> Iterator[Pixels]:
    """Give a plane enlarged by a factor, as something that windows can be taken of any number of times.

    Parameters
    ----------
    plane
        Open.
    factor
        Down and across.
    anti_aliasing, order
        As in `resample`.

    Yields
    ------
    Pixels
        The plane itself for a factor of 1; else an array in memory or, when it is large, in a temporary file.
    """
    if factor == (1.0, 1.0):
        yield plane
        return
    shape = (*calibrated_shape(plane.info, factor), *plane.shape[2:])
    bands = resample_bands(plane, factor, anti_aliasing=anti_aliasing, order=order)
    if math.prod(shape) * 8 <= _IN_MEMORY_BYTES:
        yield np.concatenate(list(bands))
        return
    with tempfile.TemporaryFile(prefix="graticule-") as handle:
        dtype = None
        for band in bands:
            dtype = band.dtype
            handle.write(np.ascontiguousarray(band).data)
        handle.flush()
        yield _OnDisk(handle, shape, np.dtype(dtype))


class _OnDisk:
    """An array in a file of which rows are read, not mapped: pages of a map count as the process's own memory."""

    def __init__(self, handle: BinaryIO, shape: tuple[int, ...], dtype: np.dtype):
        self.shape, self.dtype, self._handle = shape, dtype, handle

    def __getitem__(self, window: slice | tuple[slice, ...]) -> np.ndarray:
        rows, *others = window if isinstance(window, tuple) else (window,)
        start, stop, step = rows.indices(self.shape[0])
        row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        self._handle.seek(start * row_bytes)
        data = np.frombuffer(self._handle.read(max(stop - start, 0) * row_bytes), self.dtype)
        return data.reshape(-1, *self.shape[1:])[(slice(None, None, step), *others)]


def cut_into_bands(pixels: Pixels, height: int) -> Iterator[np.ndarray]:
    """Yield an image in bands of so many rows, the last one perhaps lower.

    Parameters
    ----------
    pixels
        (rows, columns) or (rows, columns, layers); read band by band.
    height
        Rows of a band.
    """
    for row in range(0, pixels.shape[0], height):
        yield pixels[row : min(row + height, pixels.shape[0])]
