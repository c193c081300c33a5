"""Images to cut: what is in the folders, what each file is, and how large its pixels are."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.patterns import natural_key
from analysis.pixel_size import PixelSize
from analysis.planes import VENDORS, PlaneInfo, find_info
from analysis.tasks import Progress, map_tasks

ENDINGS = (".tif", ".tiff", ".png", ".jpg", ".jpeg", *VENDORS)
"""Files that are looked at; names that start with a dot are not."""


@dataclass(frozen=True)
class Sources:
    """Images of one or more folders.

    Attributes
    ----------
    infos
        What each image that can be used says of itself, in natural order of their paths.
    names
        Name for each image's tiles: the file's without its ending, told apart where two are alike.
    problems
        One row a file that cannot be used: ``file, error``.
    settings
        The keyword arguments used.
    """

    infos: tuple[PlaneInfo, ...]
    names: tuple[str, ...]
    problems: pd.DataFrame
    settings: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.infos)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row an image: file, name, format, sizes, number type, pixel size and its source.

        Columns: ``file, name, format, rows_px, columns_px, channels, planes, colours, dtype, pixel_size_y_um,
        pixel_size_x_um, pixel_size_source, warnings``; pixel sizes are NaN where the file does not say.
        """
        rows = [
            {
                "file": str(info.path),
                "name": name,
                "format": info.format,
                "rows_px": info.rows,
                "columns_px": info.columns,
                "channels": info.channels,
                "planes": info.planes,
                "colours": info.colours,
                "dtype": info.dtype,
                "pixel_size_y_um": _or_nan(info.pixel_size.y_um),
                "pixel_size_x_um": _or_nan(info.pixel_size.x_um),
                "pixel_size_source": info.pixel_size.source,
                "warnings": "; ".join(info.pixel_size.warnings),
            }
            for info, name in zip(self.infos, self.names, strict=True)
        ]
        return pd.DataFrame(rows, columns=_COLUMNS)

    @property
    def shape(self) -> tuple[int, int] | None:
        """Rows and columns when all images have the same, or None."""
        shapes = {(info.rows, info.columns) for info in self.infos}
        return shapes.pop() if len(shapes) == 1 else None

    @property
    def pixel_size(self) -> PixelSize | None:
        """The pixel size when all images say the same, or None."""
        sizes = {info.pixel_size.sides_um for info in self.infos}
        return self.infos[0].pixel_size if len(sizes) == 1 and None not in sizes else None

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences about images that are unlike each other."""
        said = []
        for what, values in (
            ("shapes", {f"{info.rows} x {info.columns}" for info in self.infos}),
            ("number types", {info.dtype for info in self.infos}),
            ("numbers of colours", {str(info.colours) for info in self.infos}),
            ("pixel sizes", {_words(info.pixel_size) for info in self.infos}),
        ):
            if len(values) > 1:
                shown = ", ".join(sorted(values)[:4]) + (", ..." if len(values) > 4 else "")
                said.append(f"The images have {len(values)} {what}: {shown}.")
        return tuple(said)

    def summary(self) -> dict[str, Any]:
        """Return the number of images and problems, the shape and pixel size they share, and warnings."""
        size = self.pixel_size
        return {
            "images": len(self),
            "problems": len(self.problems),
            "shape_px": list(self.shape) if self.shape else None,
            "pixel_size_um": list(size.sides_um) if size else None,
            "pixel_size_source": size.source if size else "",
            "warnings": list(self.warnings),
        }


_COLUMNS = [
    "file", "name", "format", "rows_px", "columns_px", "channels", "planes", "colours", "dtype", "pixel_size_y_um",
    "pixel_size_x_um", "pixel_size_source", "warnings",
]  # fmt: skip


def find_images(
    sources: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> Sources:
    """Find images and look at what each file says of itself; no pixels are read.

    Parameters
    ----------
    sources
        Folders, whose images are taken but not those of folders in them, or files.
    progress
        Called with files looked at, files, and words.
    cancel
        Stops the search when set.

    Returns
    -------
    Sources
        A file that is no image, is cut or cannot be opened is a row of its problems.

    Raises
    ------
    ValueError
        When a source is neither a file nor a folder.
    analysis.tasks.Cancelled
        When it was stopped.
    """
    given = [sources] if isinstance(sources, (str, os.PathLike)) else list(sources)
    paths = list(dict.fromkeys(path for source in given for path in _files_of(Path(source))))
    infos: list[PlaneInfo] = []
    problems = []
    for path, info, error in map_tasks(find_info, paths, progress=progress, cancel=cancel, words="looking at images"):
        if error is not None:
            problems.append((str(path), _sentence(path, error)))
        else:
            infos.append(info)
    settings = {"sources": [str(source) for source in given]}
    return Sources(tuple(infos), _names([info.path for info in infos]), _problems(problems), settings)


def _files_of(source: Path) -> list[Path]:
    if os.path.isdir(source):
        inside = [Path(entry.path) for entry in os.scandir(source) if _is_image(entry)]
        return sorted(inside, key=lambda path: natural_key(path.name))
    if os.path.exists(source):
        return [source]
    raise ValueError(f"sources must be folders or files that exist; {source} does not.")


def _is_image(entry: os.DirEntry[str]) -> bool:
    return not entry.name.startswith(".") and entry.name.lower().endswith(ENDINGS) and entry.is_file()


def _names(paths: Sequence[Path]) -> tuple[str, ...]:
    """Stems; where two are alike, with their ending, and where these are alike too, numbered."""
    stems = [_stem(path) for path in paths]
    names = []
    for path, stem in zip(paths, stems, strict=True):
        alike = sum(other.lower() == stem.lower() for other in stems) > 1
        name = f"{stem}_{path.suffix[1:]}" if alike else stem
        number, wanted = 2, name
        while name.lower() in {taken.lower() for taken in names}:
            name, number = f"{wanted}-{number}", number + 1
        names.append(name)
    return tuple(names)


def _stem(path: Path) -> str:
    return re.sub(r"\.ome$", "", path.stem, flags=re.IGNORECASE)


def _sentence(path: Path, error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{path}: {error.strerror}."
    return " ".join(str(error).split())


def _problems(rows: list[tuple[str, str]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["file", "error"], dtype=object)


def _words(size: PixelSize) -> str:
    return "unknown" if size.sides_um is None else f"{size.y_um:.5g} x {size.x_um:.5g} um"


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value
