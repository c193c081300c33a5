"""Work of the tiles page that reads pixels: an image kept open, one tile of it, empty tiles, small pictures."""

from __future__ import annotations

import contextlib
import io
import math
import threading
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from analysis.planes import Plane, PlaneInfo, open_plane
from analysis.tasks import Cancelled
from analysis.tiles import (
    Layout,
    Range,
    Sources,
    convert_pixels,
    cut_bands,
    cut_into_bands,
    cut_tile,
    find_range,
    normalise,
    open_calibrated,
)

PREVIEW_PX = 900
"""Longest side of what is sent to the browser of an image."""
SAMPLE_IMAGES = 25
_BAND_BYTES = 32_000_000
_THUMBNAIL_PX = 180
_SEEN = (0.2, 99.8)  # percentiles that are drawn black and white


class OpenImage:
    """One image brought to its pixel size and kept open: a preview of it, and windows of its pixels.

    Parameters
    ----------
    info
        Of the image.
    channel, plane
        From 1, or None.
    factor
        Down and across, as `find_factor` gives it.
    anti_aliasing
        As in `export_tiles`.
    """

    def __init__(
        self,
        info: PlaneInfo,
        *,
        channel: int | None = None,
        plane: int | None = None,
        factor: tuple[float, float] = (1.0, 1.0),
        anti_aliasing: bool | None = None,
    ):
        self.info, self.factor = info, factor
        self._lock = threading.Lock()
        with contextlib.ExitStack() as stack:
            opened = stack.enter_context(open_plane(info.path, channel=channel, plane=plane))
            self._pixels = stack.enter_context(open_calibrated(opened, factor, anti_aliasing=anti_aliasing))
            self.shape = tuple(self._pixels.shape)
            self.step = max(1, math.ceil(max(self.shape[:2]) / PREVIEW_PX))
            self.sample = decimate(self._pixels, self.step)
            self.seen = seen_range(self.sample)
            self.preview = to_grey(self.sample, self.seen)
            self._ranges: dict[tuple[float, float], Range] = {}
            stack = stack.pop_all()
        # what nobody holds any more is closed, also when a page is left without a word
        self.close = weakref.finalize(self, stack.close)

    def tile(self, layout: Layout, number: int, padding: str) -> np.ndarray:
        """Return the pixels of a tile as the export cuts it."""
        with self._lock:
            return np.array(cut_tile(self._pixels, layout, number, padding=padding))

    def range(self, percentiles: tuple[float, float]) -> Range:
        """Return the range of the whole image, found once for each pair of percentiles."""
        with self._lock:
            if percentiles not in self._ranges:
                self._ranges[percentiles] = find_range(self._pixels, percentiles=percentiles)
            return self._ranges[percentiles]

    def knows(self, percentiles: tuple[float, float]) -> bool:
        """Whether a range needs no look at the pixels."""
        return percentiles in self._ranges

    def find_empty(self, layout: Layout, *, empty_below: float, least_share: float, padding: str) -> np.ndarray:
        """Return, for each tile, whether the export leaves it out."""
        with self._lock:
            tiles = cut_bands(cut_into_bands(self._pixels, layout.tile_size[0]), layout, padding=padding)
            return np.array([_is_empty(tile, empty_below, least_share) for tile in tiles], bool)


def _is_empty(tile: np.ndarray, empty_below: float, least_share: float) -> bool:
    grey = tile if tile.ndim == 2 else tile.max(axis=2)
    return float((grey >= empty_below).mean()) < least_share


def decimate(pixels: Any, step: int) -> np.ndarray:
    """Return every n-th pixel of something that gives windows, without the whole of it in memory."""
    row_bytes = max(1, int(np.prod(pixels.shape[1:])) * np.dtype(pixels.dtype).itemsize)
    rows = max(1, _BAND_BYTES // row_bytes // step) * step
    bands = [
        np.array(pixels[row : min(row + rows, pixels.shape[0])][::step, ::step])
        for row in range(0, pixels.shape[0], rows)
    ]
    return np.concatenate(bands)


def seen_range(pixels: np.ndarray) -> tuple[float, float]:
    """Return the values that are drawn black and white; the second is always above the first."""
    finite = pixels[np.isfinite(pixels)] if pixels.dtype.kind == "f" else pixels
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(finite, _SEEN))
    return (low, high) if high > low else (low, low + 1)


def to_grey(pixels: np.ndarray, between: tuple[float, float]) -> np.ndarray:
    """Return pixels as 0 to 255 between two values, colours stretched alike."""
    return normalise(pixels, *between, bounds=(0, 255), dtype="uint8")


@dataclass(frozen=True)
class TileView:
    """A tile before and after it is normalised.

    Attributes
    ----------
    number
        Of the tile, from 0.
    before, after
        Its pixels; ``after`` is what the export writes.
    between
        Values that became the bounds; None when values stay as they are.
    """

    number: int
    before: np.ndarray
    after: np.ndarray
    between: Range | None = None
    histogram: tuple[np.ndarray, np.ndarray] = field(default=(np.zeros(0), np.zeros(1)))


def view_tile(
    image: OpenImage, layout: Layout, number: int, how: Mapping[str, Any], dtype: str, dataset: Range | None
) -> TileView:
    """Cut a tile and finish it as the export does.

    Parameters
    ----------
    image
        Open.
    layout
        Of the image.
    number
        Of the tile.
    how
        Keywords of `export_tiles`: ``normalisation, percentiles, bounds, padding``.
    dtype
        Of the tile.
    dataset
        Range of all images; needed when they are normalised together.
    """
    tile = image.tile(layout, number, how["padding"])
    percentiles = tuple(how["percentiles"])
    between = {
        "none": lambda: None,
        "local": lambda: find_range(tile, percentiles=percentiles),
        "global": lambda: image.range(percentiles),
        "dataset": lambda: dataset,
    }[how["normalisation"]]()
    if between is None:
        return TileView(number, tile, convert_pixels(tile, dtype), None, count_values(tile))
    after = normalise(tile, between.low, between.high, bounds=how["bounds"], dtype=dtype)
    return TileView(number, tile, after, between, count_values(tile))


def count_values(pixels: np.ndarray, bins: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """Return counts and the edges between them, of whole numbers where pixels are such."""
    finite = pixels[np.isfinite(pixels)] if pixels.dtype.kind == "f" else pixels.ravel()
    if not finite.size:
        return np.zeros(1), np.array([0.0, 1.0])
    low, high = float(finite.min()), float(finite.max())
    if finite.dtype.kind in "iub":
        width = max(1, math.ceil((high - low + 1) / bins))
        count = math.ceil((high - low + 1) / width)
        edges = low - 0.5 + width * np.arange(count + 1)
    else:
        edges = np.linspace(low, high if high > low else low + 1, bins + 1)
    return np.histogram(finite, edges)[0], edges


class EachPlane:
    """Planes of all images, one open at a time, as often as they are asked for."""

    def __init__(self, sources: Sources, how: Mapping[str, Any], progress: Any, cancel: threading.Event):
        self._infos, self._how, self._progress, self._cancel = sources.infos, how, progress, cancel

    def __iter__(self) -> Iterator[Plane]:
        """Open one after the other."""
        for number, info in enumerate(self._infos):
            if self._cancel.is_set():
                raise Cancelled("Stopped before all images were looked at.")
            self._progress(number, len(self._infos), "looking at all images")
            with open_plane(info.path, channel=self._how["channel"], plane=self._how["plane"]) as plane:
                yield plane


def find_dataset_range(sources: Sources, how: Mapping[str, Any], *, progress: Any, cancel: threading.Event) -> Range:
    """Find the range of all images together, as the export does."""
    return find_range(EachPlane(sources, how, progress, cancel), percentiles=how["percentiles"])


# ---- small pictures --------------------------------------------------------------------------------------


def sample_numbers(count: int, most: int = SAMPLE_IMAGES) -> list[int]:
    """Return numbers of images for the sample, evenly through all of them."""
    return sorted({round(place) for place in np.linspace(0, count - 1, min(count, most))}) if count else []


def make_sample(
    sources: Sources, how: Mapping[str, Any], *, progress: Any = None, cancel: threading.Event | None = None
) -> list[tuple[str, bytes]]:
    """Return up to 25 images as small PNG files with their names; one that cannot be read has none.

    Parameters
    ----------
    sources
        The images.
    how
        ``channel, plane`` of `export_tiles`.
    progress, cancel
        As `dashboards.support.jobs.Job.run` gives them.
    """
    numbers, pictures = sample_numbers(len(sources)), []
    for done, number in enumerate(numbers):
        if cancel is not None and cancel.is_set():
            raise Cancelled("Stopped while drawing the sample.")
        if progress is not None:
            progress(done, len(numbers), "drawing the sample")
        pictures.append((sources.names[number], _thumbnail(sources.infos[number], how)))
    return pictures


def _thumbnail(info: PlaneInfo, how: Mapping[str, Any]) -> bytes:
    try:
        with open_plane(info.path, channel=how["channel"], plane=how["plane"]) as plane:
            small = decimate(plane, max(1, math.ceil(max(plane.shape[:2]) / _THUMBNAIL_PX)))
    except (ValueError, OSError):
        return b""
    return png(to_grey(small, seen_range(small)))


def png(pixels: np.ndarray) -> bytes:
    """Return 8-bit pixels as a PNG file."""
    buffer = io.BytesIO()
    PillowImage.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()
