"""The tiles of an image, as views of it where that is possible."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, Protocol

import numpy as np

from analysis.tiles._layout import Layout

Padding = Literal["reflect", "zero"]

PADDINGS = ("reflect", "zero")


class Pixels(Protocol):
    """Anything that has a shape and gives windows as arrays: an array, a file mapped to memory, a lazy reader."""

    shape: tuple[int, ...]

    def __getitem__(self, window: Any) -> np.ndarray:
        """Return a window, rows and columns first."""


def cut_tiles(image: Pixels, layout: Layout, *, padding: Padding = "reflect") -> Iterator[np.ndarray]:
    """Cut an image into tiles, one at a time.

    Parameters
    ----------
    image
        (rows, columns[, channels]); an array, or anything that has a shape and gives windows.
    layout
        Made for this shape.
    padding
        What fills a tile beyond the image: the image mirrored at its last pixel, or ``"zero"``.

    Yields
    ------
    numpy.ndarray
        (tile rows, tile columns[, channels]) in the order of the layout: views of the image where it allows, so
        copy before writing into them; copies where they are padded.

    Raises
    ------
    ValueError
        When the image has another shape than the layout, or ``padding`` is neither of the two.

    Examples
    --------
    >>> from analysis.tiles import make_layout
    >>> image = np.arange(12).reshape(3, 4)
    >>> [tile.tolist() for tile in cut_tiles(image, make_layout(image.shape, tile_size=3, overlap=1))]
    [[[0, 1, 2], [4, 5, 6], [8, 9, 10]], [[1, 2, 3], [5, 6, 7], [9, 10, 11]]]
    """
    _check_image(image.shape, layout, padding)
    return (_cut(image, corner, padding) for corner in layout.corners.tolist())


def cut_tile(image: Pixels, layout: Layout, tile: int, *, padding: Padding = "reflect") -> np.ndarray:
    """Cut one tile out of an image.

    Parameters
    ----------
    image, layout, padding
        As in `cut_tiles`.
    tile
        Its number, from 0.

    Returns
    -------
    numpy.ndarray
        (tile rows, tile columns[, channels]), a view where the image allows.

    Raises
    ------
    ValueError
        As `cut_tiles`, and when there is no such tile.
    """
    _check_image(image.shape, layout, padding)
    if not 0 <= tile < len(layout):
        raise ValueError(f"tile must be 0 to {len(layout) - 1}; got {tile}.")
    return _cut(image, layout.corners[tile].tolist(), padding)


def cut_bands(bands: Iterable[np.ndarray], layout: Layout, *, padding: Padding = "reflect") -> Iterator[np.ndarray]:
    """Cut an image that comes in bands of rows into tiles, holding one row of tiles at a time.

    Parameters
    ----------
    bands
        Arrays (any rows, columns[, channels]) that make up the image from top to bottom, as `resample_bands`
        and `merge_bands` yield them.
    layout, padding
        As in `cut_tiles`.

    Yields
    ------
    numpy.ndarray
        The tiles that `cut_tiles` yields for the whole image.

    Raises
    ------
    ValueError
        When the bands are not as many rows and columns as the layout says.
    """
    _check_image(layout.shape, layout, padding)
    return _cut_bands(iter(bands), layout, padding)


def _cut_bands(bands: Iterator[np.ndarray], layout: Layout, padding: Padding) -> Iterator[np.ndarray]:
    rows, columns = layout.shape
    strip = _Strip(layout.shape, 0, [])
    for line in layout.corners.reshape(*layout.grid, 4).tolist():
        # a tile mirrored at the last row may need rows above its own first
        lowest = _fold(line[0][0], line[0][2], rows, padding).min()
        strip.drop(int(lowest))
        while strip.end < min(line[0][2], rows):
            strip.add(_next_band(bands, layout, strip.end))
        for corner in line:
            yield _cut(strip, corner, padding)
    end = strip.end
    while layout.edges != "drop" and (band := next(bands, None)) is not None:
        end += len(band)
    if layout.edges != "drop" and end != rows:
        raise ValueError(f"bands must make up the {rows} x {columns} px of the layout; got {end} rows.")


def _next_band(bands: Iterator[np.ndarray], layout: Layout, found: int) -> np.ndarray:
    band = next(bands, None)
    if band is not None and band.shape[1] == layout.shape[1]:
        return band
    got = f"only {found} rows" if band is None else f"a band of {band.shape[1]} columns"
    raise ValueError(f"bands must make up the {layout.shape[0]} x {layout.shape[1]} px of the layout; got {got}.")


class _Strip:
    """Some rows of an image, addressed as if all were there."""

    def __init__(self, shape: tuple[int, ...], first: int, bands: list[np.ndarray]):
        self.shape, self.first, self.bands = shape, first, bands

    @property
    def end(self) -> int:
        return self.first + sum(map(len, self.bands))

    def add(self, band: np.ndarray) -> None:
        self.bands.append(band)

    def drop(self, first: int) -> None:
        """Forget what lies above a row."""
        while self.bands and self.first + len(self.bands[0]) <= first:
            self.first += len(self.bands.pop(0))
        if self.bands and first > self.first:
            self.bands[0] = self.bands[0][first - self.first :]
            self.first = first

    def __getitem__(self, window: tuple[slice, slice]) -> np.ndarray:
        if len(self.bands) > 1:
            self.bands = [np.concatenate(self.bands)]
        rows, columns = window
        return self.bands[0][rows.start - self.first : rows.stop - self.first, columns]


def _cut(image: Pixels, corner: Sequence[int], padding: Padding) -> np.ndarray:
    y0, x0, y1, x1 = corner
    height, width = image.shape[:2]
    if y1 <= height and x1 <= width:
        return image[y0:y1, x0:x1]
    y, x = _fold(y0, y1, height, padding), _fold(x0, x1, width, padding)
    row, column = int(y.min()), int(x.min())
    window = np.asarray(image[row : int(y.max()) + 1, column : int(x.max()) + 1])
    if padding == "reflect":
        return window[np.ix_(y - row, x - column)]
    tile = np.zeros((y1 - y0, x1 - x0, *window.shape[2:]), window.dtype)
    tile[: len(y), : len(x)] = window
    return tile


def _fold(start: int, end: int, length: int, padding: Padding) -> np.ndarray:
    """Return the pixels of the image that stand at start to end; pixels filled with zeros are not among them."""
    pixels = np.arange(start, min(end, length) if padding == "zero" else end)
    if padding == "zero" or length == 1:
        return np.minimum(pixels, length - 1)
    # without repeating the last pixel, and back and forth when the image is smaller than what is missing
    period = 2 * (length - 1)
    pixels %= period
    return np.minimum(pixels, period - pixels)


def _check_image(shape: Sequence[int], layout: Layout, padding: str) -> None:
    if padding not in PADDINGS:
        raise ValueError(f"padding must be {' or '.join(PADDINGS)}; got {padding!r}.")
    if tuple(shape[:2]) != layout.shape or len(shape) > 3:
        raise ValueError(
            f"image must be {layout.shape[0]} x {layout.shape[1]} px as the layout, channels last; got the shape"
            f" {tuple(shape)}. Make a layout for this shape."
        )
