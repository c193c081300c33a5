"""Tiles of an export put together again, beside the images they were cut from."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.planes import open_plane
from analysis.tiles import Cut, convert_pixels, merge_images, normalise, open_calibrated, read_manifest
from dashboards.support.tiles_work import PREVIEW_PX, decimate, png, seen_range, to_grey

_SHOWN = 6
_BAND = 256


@dataclass(frozen=True)
class MergedPictures:
    """One image beside what was merged, as PNG.

    Attributes
    ----------
    name
        Of the image.
    source, merged
        PNG; the first is empty when the source cannot be read any more.
    missing
        Tiles that were not there: empty ones that were left out, or predictions that were not made.
    difference
        Largest one between the source, calibrated and normalised as the tiles were, and what was merged; None where
        there is nothing to compare.
    """

    name: str
    source: bytes
    merged: bytes
    missing: int
    difference: float | None


@dataclass(frozen=True)
class Merged:
    """What was merged.

    Attributes
    ----------
    folder
        Where the images are.
    rows
        One row an image.
    problems
        What could not be merged.
    pictures
        Of the first few images.
    """

    folder: Path
    rows: pd.DataFrame
    problems: pd.DataFrame
    pictures: tuple[MergedPictures, ...]


def merged_folder(tiles: str, predictions: str) -> Path:
    """Return the folder that merged images are written to."""
    folder = Path(tiles)
    return folder.parent / f"{folder.name}_{'predictions_merged' if predictions.strip() else 'merged'}"


def merge_and_compare(tiles: str, *, predictions: str, blending: str, progress: Any, cancel: threading.Event) -> Merged:
    """Merge the tiles of a folder, and compare what comes out with the images they were cut from.

    Parameters
    ----------
    tiles
        Folder with a manifest.
    predictions
        Folder of other tiles with the same names, or empty.
    blending
        As in `merge_images`.
    progress, cancel
        As `dashboards.support.jobs.Job.run` gives them.
    """
    folder, other = merged_folder(tiles, predictions), predictions.strip() or None
    done = merge_images(
        tiles, folder, predictions=other, blending=blending, replace=True, progress=progress, cancel=cancel
    )
    cuts = {cut.name: cut for cut in read_manifest(tiles)}
    rows = list(done.table.itertuples())[:_SHOWN]
    pictures = tuple(_compare(cuts[row.name], Path(row.file), int(row.missing), compared=other is None) for row in rows)
    return Merged(folder, done.table, done.problems, pictures)


def _compare(cut: Cut, file: Path, missing: int, *, compared: bool) -> MergedPictures:
    with open_plane(file) as merged:
        small = decimate(merged, _step(merged.shape))
        picture = png(to_grey(small, seen_range(small)))
        try:
            with (
                open_plane(cut.source, channel=cut.channel, plane=cut.plane) as plane,
                open_calibrated(plane, cut.factor, anti_aliasing=cut.how.get("anti_aliasing")) as source,
            ):
                small = decimate(source, _step(source.shape))
                shown = png(to_grey(small, seen_range(small)))
                same = compared and not cut.ranges and not missing and source.shape == merged.shape
                return MergedPictures(
                    cut.name, shown, picture, missing, _difference(cut, source, merged) if same else None
                )
        except (ValueError, OSError):
            return MergedPictures(cut.name, b"", picture, missing, None)


def _difference(cut: Cut, source: Any, merged: Any) -> float:
    """Largest difference of the image as its tiles were made of it and of what was merged, band by band."""
    largest = 0.0
    for row in range(0, source.shape[0], _BAND):
        stop = min(row + _BAND, source.shape[0])
        before = source[row:stop]
        if cut.low is None:
            before = convert_pixels(before, cut.dtype)
        else:
            before = normalise(before, cut.low, cut.high, bounds=cut.bounds, dtype=cut.dtype)
        gap = np.abs(before.astype(np.float64) - merged[row:stop])
        largest = max(largest, float(np.nanmax(gap, initial=0)))
    return largest


def _step(shape: tuple[int, ...]) -> int:
    return max(1, math.ceil(max(shape[:2]) / PREVIEW_PX))
