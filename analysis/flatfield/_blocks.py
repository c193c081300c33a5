"""Mean-image files read in blocks of pixels, many slides side by side."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.flatfield._slides import Slide
from analysis.flatfield._statistic import normalise_block, survey_block

BLOCK_PIXELS = 1024
"""Pixels read side by side: few slides of them stay in a processor's cache."""
_LONG_BLOCK_PIXELS = 4096
VALUE_BYTES = 8


@dataclass(frozen=True)
class Survey:
    """What one look through a slide's files tells, layer by layer.

    Attributes
    ----------
    weighted_means
        ``sum(m / s**2) / sum(1 / s**2)`` over the covered pixels; NaN for a layer without any.
    uncovered
        Pixels with no image stacked.
    images_stacked
        Mean over the pixels of the number of images stacked.
    """

    weighted_means: tuple[float, ...]
    uncovered: tuple[int, ...]
    images_stacked: tuple[float, ...]

    def to_dict(self) -> dict:
        """Return plain lists, for a file."""
        return {name: list(values) for name, values in asdict(self).items()}


def read_block(path: Path, first: int, out: np.ndarray) -> None:
    """Fill an array from a headerless file, starting at a value's number.

    Raises
    ------
    ValueError
        When the file ends before the array is full.
    OSError
        When it cannot be read.
    """
    with open(path, "rb", buffering=0) as handle:
        handle.seek(first * VALUE_BYTES)
        view, done = memoryview(out).cast("B"), 0
        while done < len(view):
            got = handle.readinto(view[done:])
            if not got:
                needed = first * VALUE_BYTES + len(view)
                raise ValueError(f"{path} must have at least {needed} bytes; it ended at {first * VALUE_BYTES + done}.")
            done += got


def pixel_blocks(pixels: int, size: int) -> Iterator[tuple[int, int]]:
    """Return (first pixel, number of pixels) of blocks that cover an image."""
    return ((start, min(size, pixels - start)) for start in range(0, pixels, size))


def survey_slide(slide: Slide) -> Survey:
    """Look through a slide's mean image, standard error and mask stack once.

    Raises
    ------
    ValueError
        When a file is cut, or no layer has a pixel that can be used.
    OSError
        When a file cannot be read.
    """
    rows, columns, layers = slide.shape
    size = min(_LONG_BLOCK_PIXELS, rows * columns)
    mean, error = np.empty((2, size, layers))
    mask = np.empty((size, layers), dtype=np.uint64)
    weights, weighted, uncovered, stacked = np.zeros((4, layers))
    for first, count in pixel_blocks(rows * columns, size):
        parts = mean[:count], error[:count], mask[:count]
        for path, part in zip((slide.mean_image, slide.standard_error, slide.mask_stack), parts, strict=True):
            read_block(path, first * layers, part)
        block = [np.zeros(layers) for _ in range(4)]
        survey_block(*parts, *block)
        for total, part in zip((weights, weighted, uncovered, stacked), block, strict=True):
            total += part
    with np.errstate(invalid="ignore", divide="ignore"):
        norms = weighted / weights
    norms[(norms == 0) | ~np.isfinite(norms)] = np.nan
    if np.isnan(norms).all():
        raise ValueError(
            f"{slide.mean_image} must have a layer with pixels that are covered, finite and have a standard "
            "error above 0; none has."
        )
    pixels = rows * columns
    return Survey(tuple(norms.tolist()), tuple(map(int, uncovered)), tuple((stacked / pixels).tolist()))


class BlockReader:
    """Read blocks of pixels of many slides, normalised and turned so that pixels lie side by side.

    Attributes
    ----------
    shape
        (rows, columns, layers) of every slide.
    failed
        Slides (by index) whose files could not be read to the end, with the reason.
    """

    def __init__(self, slides: list[Slide], surveys: list[Survey]):
        self._slides, self._surveys = slides, surveys
        self.shape = slides[0].shape
        self._layers = self.shape[2]
        self.failed: dict[int, Exception] = {}
        self._local = threading.local()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to this process's threads."""
        return {name: value for name, value in self.__dict__.items() if name != "_local"} | {"failed": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _local=threading.local())

    def read(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray, bool]:
        """Return means and variances, (slides, layers, pixels), and whether the fast root will do.

        The arrays are this thread's own and change with its next block.
        """
        means, variances, mean, error = self._buffers_for(count)
        fast = True
        for index, (slide, survey) in enumerate(zip(self._slides, self._surveys, strict=True)):
            try:
                read_block(slide.mean_image, first * self._layers, mean)
                read_block(slide.standard_error, first * self._layers, error)
                mask = self._mask(slide, survey, first, count)
            except (OSError, ValueError) as reason:
                self.failed.setdefault(index, reason)
                means[index], variances[index] = np.nan, 1.0
                continue
            norms = np.array(survey.weighted_means)
            fast &= normalise_block(mean, error, mask, norms, means[index], variances[index])
        return means, variances, fast

    def _buffers_for(self, count: int) -> tuple[np.ndarray, ...]:
        """Arrays that this thread fills again for every block: fresh ones would cost as much as the reading."""
        if getattr(self._local, "count", None) != count:
            self._local.count = count
            self._local.buffers = (
                np.empty((len(self._slides), self._layers, count)),
                np.empty((len(self._slides), self._layers, count)),
                np.empty((count, self._layers)),
                np.empty((count, self._layers)),
            )
        return self._local.buffers

    def _mask(self, slide: Slide, survey: Survey, first: int, count: int) -> np.ndarray:
        if not any(survey.uncovered):
            return np.empty((0, 0), dtype=np.uint64)
        mask = np.empty((count, self._layers), dtype=np.uint64)
        read_block(slide.mask_stack, first * self._layers, mask)
        return mask


def read_layer(slide: Slide, layer: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean image, standard error and mask stack of one layer, each (rows, columns).

    Parameters
    ----------
    slide
        Whose files to read.
    layer
        From 1.

    Raises
    ------
    OSError, ValueError
        When a file cannot be read to its end.
    """
    rows, columns, layers = slide.shape
    planes = []
    kinds = ((slide.mean_image, "<f8"), (slide.standard_error, "<f8"), (slide.mask_stack, "<u8"))
    for path, kind in kinds:
        plane = np.empty(rows * columns, dtype=kind)
        buffer = np.empty((min(_LONG_BLOCK_PIXELS, rows * columns), layers), dtype=kind)
        for first, count in pixel_blocks(rows * columns, _LONG_BLOCK_PIXELS):
            read_block(path, first * layers, buffer[:count])
            plane[first : first + count] = buffer[:count, layer - 1]
        planes.append(plane.reshape(rows, columns))
    return planes[0], planes[1], planes[2]
