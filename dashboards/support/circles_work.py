"""Work of the circles page that runs in threads: an image, its circles, the results of a folder, small pictures."""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image as PillowImage

from analysis.circles import (
    LEVELS,
    Circles,
    PreparedImage,
    apply_pixel_size,
    convert_to_grey,
    detect_circles,
    measure_circles,
    prepare_image,
    read_experiments,
    read_failures,
    read_pixels,
    read_records,
    sort_dates,
)
from analysis.patterns import natural_key
from analysis.tables import table_text

_PICTURE_PX = 600
_MONTAGE_PX = 1400
_MOST_PICTURES = 60
_ENDINGS = (".png", ".jpg", ".jpeg")
_NEVER_A_VALUE = {"FOV", "Circle", "Border", "Overlap", "Weak"}


# ---- an image and its circles ----------------------------------------------------------------------------


@dataclass(frozen=True)
class OpenImage:
    """An image that is shown.

    Attributes
    ----------
    file
        Its path.
    pixels
        As read.
    grey
        (rows, columns) of uint8, for the screen.
    pixel_size_um
        (height, width) as the file says; None when it does not.
    size_source
        What says so.
    """

    file: str
    pixels: np.ndarray
    grey: np.ndarray
    pixel_size_um: tuple[float, float] | None = None
    size_source: str = ""

    @cached_property
    def prepared(self) -> PreparedImage:
        """What of the detection does not depend on settings, kept while sliders are moved."""
        return prepare_image(self.pixels)

    @cached_property
    def _counts(self) -> np.ndarray:
        return np.cumsum(np.bincount(self.grey.ravel(), minlength=256)) / self.grey.size

    def between(self, percentiles: tuple[float, float]) -> tuple[float, float]:
        """Return the greys of the screen at two percentiles; the second is above the first."""
        low, high = (int(np.searchsorted(self._counts, min(share / 100, 1 - 1e-12))) for share in percentiles)
        low = int(np.argmax(self._counts > 0)) if percentiles[0] <= 0 else low
        return float(low), float(max(high, low + 1))


def open_image(file: str) -> OpenImage:
    """Read an image as the pipeline does, and make it grey for the screen.

    Raises
    ------
    ValueError
        When it is no whole image of one plane.
    OSError
        When it cannot be opened.
    """
    read = read_pixels(file)
    return OpenImage(file, read.values, to_screen(read.values), read.pixel_size_um, read.pixel_size_source)


def to_screen(pixels: np.ndarray) -> np.ndarray:
    """Return an image as grey of 8 bits; bytes stay as they are, all else is stretched from end to end."""
    grey, _ = convert_to_grey(pixels)
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(np.rint(grey).astype(np.uint8))
    grey = np.asarray(grey, np.float32)
    finite = np.isfinite(grey)
    if not finite.any():
        return np.zeros(grey.shape, np.uint8)
    low, high = np.percentile(grey[finite], (0.01, 99.99))
    scaled = (np.where(finite, grey, low) - low) * (255 / max(high - low, 1e-12))
    return np.clip(np.round(scaled), 0, 255).astype(np.uint8)


def detect_shown(opened: OpenImage, how: Mapping[str, Any]) -> Circles:
    """Detect and measure the circles of the image shown.

    Parameters
    ----------
    opened
        The image.
    how
        Keywords of `detect_circles`; a pixel size wins over that of the file.
    """
    asked, _ = apply_pixel_size(how, opened.pixel_size_um)
    if asked.get("radius_um") is not None and asked.get("pixel_size_um") is None:
        raise ValueError(
            "Radii in µm need the size of a pixel, and this image does not say it. Type it on the left, or choose px."
        )
    return measure_circles(opened.pixels, detect_circles(opened.prepared, **asked))


def same_circles(first: Circles | None, second: Circles | None) -> bool:
    """Say whether two detections found the same."""
    return first is not None and second is not None and first.table.equals(second.table)


# ---- what a folder holds ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Results:
    """What an output folder holds.

    Attributes
    ----------
    circles
        One row a circle, as in ``experiments.csv``.
    failures
        One row an image that failed, as in ``failures.csv``.
    levels
        What the folders stand for.
    output
        The folder.
    warnings
        What could not be read, and why.
    done
        What the images that are done are called by, those without circles too.
    seconds
        How long reading took.
    """

    circles: pd.DataFrame = field(default_factory=pd.DataFrame)
    failures: pd.DataFrame = field(default_factory=pd.DataFrame)
    levels: tuple[str, ...] = ()
    output: Path = Path()
    warnings: tuple[str, ...] = ()
    done: frozenset[str] = frozenset()
    seconds: float = 0.0

    @cached_property
    def counts(self) -> dict[str, int]:
        """Circles by image."""
        if not len(self.circles):
            return {}
        keys = [*self.levels, "FOV"]
        sizes = self.circles.groupby(keys, sort=False, observed=True).size()
        return {"/".join(map(str, names)): int(size) for names, size in sizes.items()}

    @property
    def images(self) -> int:
        """How many images are done; where nothing says so, how many have circles."""
        return len(self.done) or len(self.counts)

    @cached_property
    def experiments(self) -> list[str]:
        """Folders of experiments, dates in their order; those without circles too."""
        found = {tuple(key.split("/")[:-1]) for key in (*self.counts, *self.done)}
        order = [{name: place for place, name in enumerate(sort_dates(names)[0])} for names in zip(*found, strict=True)]
        rows = sorted(found, key=lambda row: [places[name] for places, name in zip(order, row, strict=True)])
        return ["/".join(row) for row in rows]

    def names(self, level: str) -> list[str]:
        """Return the names on a level, in their order."""
        return sort_dates(self.circles[level].unique())[0] if level in self.circles else []

    @cached_property
    def values(self) -> list[str]:
        """Columns of numbers that can be counted."""
        table = self.circles
        taken = _NEVER_A_VALUE | set(self.levels)
        return [
            name
            for name in table
            if name not in taken and pd.api.types.is_numeric_dtype(table[name]) and table[name].dtype != bool
        ]


def read_results(output: str | os.PathLike[str], levels: tuple[str, ...]) -> Results:
    """Read what an output folder holds; what is not there is empty.

    Parameters
    ----------
    output
        The folder.
    levels
        What the folders stand for.
    """
    folder, warnings = Path(output), []
    begun = time.perf_counter()
    tables = {"experiments.csv": pd.DataFrame(), "failures.csv": pd.DataFrame()}
    for name in tables:
        path = folder / name
        if not os.path.exists(path):
            continue
        try:
            if name == "experiments.csv":
                tables[name] = read_experiments(path, levels=levels or LEVELS)
            else:
                tables[name] = read_failures(folder)
        except (ValueError, OSError) as error:
            warnings.append(str(error))
    circles, failures = tables.values()
    known = tuple(name for name in levels if name in circles)
    done = _done(folder, len(levels)) if len(known) == len(levels) else frozenset()
    return Results(circles, failures, known, folder, tuple(warnings), done, time.perf_counter() - begun)


def sound_filters(filters: Mapping[str, Any], results: Results) -> dict[str, list[str]]:
    """Return the names kept that there are; what an address says may be anything."""
    kept = {}
    for level in results.levels:
        wanted = filters.get(level)
        names = [name for name in results.names(level) if name in wanted] if isinstance(wanted, list | tuple) else []
        kept |= {level: names} if names else {}
    return kept


def sound_ranges(between: Mapping[str, Any], values: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Return the ranges kept of values that are shown; what an address says may be anything."""
    kept = {}
    for name in values:
        with contextlib.suppress(KeyError, TypeError, ValueError):
            low, high = map(float, between[name])
            kept |= {name: (low, high)} if low <= high else {}
    return kept


def _done(output: Path, depth: int) -> frozenset[str]:
    """Return what the images that are done are called by; nothing when the records cannot be read."""
    try:
        records = read_records(output)
    except OSError:
        return frozenset()
    return frozenset(key for key, record in records.items() if record.state == "done" and key.count("/") == depth)


# ---- small pictures --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Picture:
    """A small picture: its name, JPEG bytes (empty when it is not there), and how many circles it shows."""

    name: str
    content: bytes
    circles: int = 0
    montage: bool = False


def draw_gallery(results: Results, experiment: str) -> list[Picture]:
    """Return the montage and the QC pictures of an experiment, made small.

    Parameters
    ----------
    results
        Of the output folder.
    experiment
        Its folders, with slashes.
    """
    if experiment not in results.experiments:
        return []
    folder = results.output / "qc" / experiment
    pictures = []
    montage = _existing(folder)
    if montage is not None:
        content = make_small(montage, _MONTAGE_PX)
        pictures += [Picture(montage.name, content, montage=True)] if content else []
    files = sorted((f for f in folder.glob("*") if f.suffix in _ENDINGS), key=lambda file: natural_key(file.stem))
    for file in files[:_MOST_PICTURES]:
        circles = results.counts.get(f"{experiment}/{file.stem}", 0)
        pictures.append(Picture(file.stem, make_small(file, _PICTURE_PX), circles))
    if len(files) > _MOST_PICTURES:
        pictures.append(Picture(f"and {len(files) - _MOST_PICTURES} more", b""))
    return pictures


def _existing(stem: Path) -> Path | None:
    return next((path for ending in _ENDINGS if (path := stem.with_name(stem.name + ending)).is_file()), None)


def make_small(file: Path, longest_px: int) -> bytes:
    """Return a picture as JPEG of a limited size; nothing when it cannot be read."""
    try:
        with PillowImage.open(file, formats=["PNG", "JPEG"]) as picture:
            picture.draft("RGB", (longest_px, longest_px))
            small = picture.convert("RGB")
            small.thumbnail((longest_px, longest_px), PillowImage.Resampling.BOX)
    except (OSError, SyntaxError, ValueError):
        return b""
    kept = io.BytesIO()
    small.save(kept, "JPEG", quality=82)
    return kept.getvalue()


# ---- tables ----------------------------------------------------------------------------------------------


def safe_csv(table: pd.DataFrame) -> str:
    """Return a table as CSV in which no spreadsheet takes a name for a formula.

    Text that begins as a formula does gets an apostrophe before it; numbers stay.

    Examples
    --------
    >>> safe_csv(pd.DataFrame({"Subject": ["=1+1", "s1"], "R": [-1.0, 2.0]})).splitlines()
    ['Subject,R', "'=1+1,-1.0", 's1,2.0']
    """
    return table_text(table, for_spreadsheets=True)
