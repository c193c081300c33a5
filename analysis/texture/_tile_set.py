"""A set of tiles: the images of a folder, their places beside each other, and how their pixels are read."""

from __future__ import annotations

import math
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
import re2

from analysis.files import fingerprint
from analysis.patterns import LONGEST_PATTERN, natural_key
from analysis.planes import VENDORS, Plane, PlaneInfo, find_info, open_plane
from analysis.tasks import Progress, map_tasks

ENDINGS = (".tif", ".tiff", ".png", ".jpg", ".jpeg", *VENDORS)
"""Files that are looked at; names that start with a dot are not."""
LUMINANCE = (0.2125, 0.7154, 0.0721)
"""Weights of red, green and blue in grey, as in ITU-R BT.709 and in scikit-image."""
_PLACES = (
    re.compile(r"(?:^|[_\-. ])tile[_\-]?(?P<row>\d+)-(?P<column>\d+)(?!\d)", re.IGNORECASE),
    re.compile(r"(?:^|[_\-. ])r(?:ow)?[_\-]?(?P<row>\d+)[_\-. ]?c(?:ol(?:umn)?)?[_\-]?(?P<column>\d+)", re.IGNORECASE),
    re.compile(r"(?:^|[_\-. ])x[_\-]?(?P<column>\d+)[_\-. ]?y[_\-]?(?P<row>\d+)", re.IGNORECASE),
    re.compile(r"(?:^|[_\-. ])y[_\-]?(?P<row>\d+)[_\-. ]?x[_\-]?(?P<column>\d+)", re.IGNORECASE),
)
_PLACES_A_TILE = 100
"""Places of the set for each tile (and for ten tiles more) above which numbers in names are positions, not counts."""
_NUMBERED = re.compile(r"(?:^|[_\-. ])s(?P<number>\d+)(?=$|[_\-. ])", re.IGNORECASE)


@dataclass(frozen=True)
class TileSet:
    """Tiles in the order of their names, and where each lies in the set.

    Attributes
    ----------
    infos
        What each file says of itself.
    table
        One row a tile: ``file`` (path), ``name`` (of the file), ``row, column`` (place in the set, from 0), ``rows_px,
        columns_px, colours, dtype``.
    rows, columns
        Of the set.
    problems
        One row a file that cannot be used: ``file, error``.
    warnings
        Sentences about the layout and about tiles that are unlike the others.
    settings
        The keyword arguments used.
    """

    infos: tuple[PlaneInfo, ...]
    table: pd.DataFrame
    rows: int
    columns: int
    problems: pd.DataFrame
    warnings: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of tiles."""
        return len(self.infos)

    @property
    def channel(self) -> int:
        """Channel that is read, from 1."""
        return self.settings.get("channel", 1)

    @cached_property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) in pixels that most tiles have; of equally many the largest."""
        shapes = [(info.rows, info.columns) for info in self.infos]
        return max(set(shapes), key=lambda shape: (shapes.count(shape), shape))

    def summary(self) -> dict[str, Any]:
        """Return the number of tiles and problems, rows and columns of the set, shape of a tile, and warnings."""
        return {
            "tiles": len(self),
            "rows": self.rows,
            "columns": self.columns,
            "shape_px": list(self.shape),
            "dtypes": sorted({info.dtype for info in self.infos}),
            "problems": len(self.problems),
            "warnings": list(self.warnings),
        }


def find_tile_set(
    source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    rows: int | None = None,
    columns: int | None = None,
    pattern: str | None = None,
    channel: int = 1,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> TileSet:
    """Find the tiles of a folder and where they lie beside each other; no pixels are read.

    Places are read from names such as ``Tile_002-003-...`` (row, column, as MAPS writes them), ``r01_c02`` or
    ``_x3_y4``. A number such as ``_s12`` gives the order only. Otherwise tiles fill the set row by row in natural order
    of their names, so tile 2 comes before tile 10.

    Parameters
    ----------
    source
        A folder, whose images are taken but not those of folders in it, or files.
    rows, columns
        Of the set; tiles then fill it row by row in the order of their names. One of the two is enough.
    pattern
        A regular expression with the groups ``row`` and ``column``, searched for in the names without their ending.
    channel
        Channel that is read, from 1; colour images have one.
    progress
        Called with files looked at, files, and words.
    cancel
        Stops the search when set.

    Returns
    -------
    TileSet
        A file that is no image, is cut, or cannot be opened is a row of its problems.

    Raises
    ------
    ValueError
        When there is no tile, the set has too few places, or the pattern is none.
    analysis.tasks.Cancelled
        When it was stopped.
    """
    sources = [source] if isinstance(source, str | os.PathLike) else list(source)
    settings = {
        "source": str(source) if isinstance(source, str | os.PathLike) else [str(each) for each in sources],
        "rows": rows, "columns": columns, "pattern": pattern, "channel": channel,
    }  # fmt: skip
    for name, value in (("rows", rows), ("columns", columns), ("channel", channel)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1; got {value}.")
    paths = sorted(
        {path for each in sources for path in _files_of(Path(each))},
        key=lambda path: (natural_key(path.name), str(path)),
    )
    infos, problems = [], []
    for path, info, error in map_tasks(find_info, paths, progress=progress, cancel=cancel, words="looking at tiles"):
        if error is None and info is not None and info.colours == 1 and channel > info.channels:
            error = ValueError(f"{path} must have a channel {channel}; it has {info.channels}.")
        shown = os.fsencode(path).decode(errors="replace")
        if shown != str(path):  # no table and no page could hold its name
            error = ValueError(f"{shown} must have a name in UTF-8. Rename it.")
        if error is not None:
            problems.append((shown, sentence_of(shown, error)))
        else:
            infos.append(info)
    found = pd.DataFrame(problems, columns=["file", "error"], dtype=object)
    if not infos:
        said = f" {len(found)} files cannot be used, the first: {found['error'][0]}" if len(found) else ""
        raise ValueError(f"{settings['source']} must hold at least one image ({', '.join(ENDINGS)}); got none.{said}")
    places, warnings = _places([info.path for info in infos], rows, columns, pattern)
    table = pd.DataFrame(
        {
            "file": [str(info.path) for info in infos],
            "name": [info.path.name for info in infos],
            "row": places[:, 0],
            "column": places[:, 1],
            "rows_px": [info.rows for info in infos],
            "columns_px": [info.columns for info in infos],
            "colours": [info.colours for info in infos],
            "dtype": [info.dtype for info in infos],
        }
    )
    size = tuple(int(each) + 1 for each in places.max(axis=0))
    size = max(size[0], rows or 0), max(size[1], columns or 0)
    return TileSet(tuple(infos), table, *size, found, (*warnings, *_unlike(infos)), settings)


def sentence_of(path: str | os.PathLike[str], error: Exception) -> str:
    """Return what went wrong with a file, in one line that names it.

    Parameters
    ----------
    path
        The file.
    error
        What was raised.
    """
    if isinstance(error, OSError) and error.strerror:
        return f"{path}: {error.strerror}."
    words = " ".join(str(error).split())
    return words if str(path) in words else f"{path}: {words}"


def describe_state(info: PlaneInfo) -> str:
    """Return a word that changes when the file does: its path, size and time."""
    return f"{os.path.realpath(info.path)}|{fingerprint(info.path)}"


# ------------------------------------------------------------------------------------------------ pixels


def read_grey(plane: Plane, start: int, stop: int, *, compatible: bool = False) -> np.ndarray:
    """Return rows of a tile as grey numbers.

    Parameters
    ----------
    plane
        An open file.
    start, stop
        Rows, the last exclusive.
    compatible
        Colour as the original notebook has it: the luminance as a share of white, times 256, cut to a whole number.
        Otherwise the luminance in the file's own counts, not rounded.

    Returns
    -------
    ndarray
        (rows, columns); in the file's number type when it is grey, float32 when it is colour.
    """
    band = plane.rows(start, stop)
    if band.dtype.kind == "b":
        band = band.astype(np.uint8)
    if band.ndim == 2:
        return band
    grey = band @ np.asarray(LUMINANCE)
    if not compatible:
        return grey.astype(np.float32)
    white = np.iinfo(band.dtype).max if band.dtype.kind in "ui" else 1
    # rounding must not take a whole number away: white is 256
    return np.floor(grey / white * 256 + 1e-9).astype(np.float32)


def open_tile(info: PlaneInfo, channel: int) -> Plane:
    """Open the first plane of a tile."""
    return open_plane(info.path, channel=1 if info.colours == 3 and info.channels == 1 else channel, plane=1)


# ------------------------------------------------------------------------------------------------ places


def _files_of(source: Path) -> list[Path]:
    if os.path.isdir(source):
        with os.scandir(source) as entries:
            return [Path(entry.path) for entry in entries if _is_image(entry)]
    if os.path.exists(source):
        return [source]
    raise ValueError(f"source must be a folder or files that exist; {source} does not.")


def _is_image(entry: os.DirEntry[str]) -> bool:
    return not entry.name.startswith(".") and entry.name.lower().endswith(ENDINGS) and entry.is_file()


def _places(
    paths: Sequence[Path], rows: int | None, columns: int | None, pattern: str | None
) -> tuple[np.ndarray, list[str]]:
    """Return (tiles, 2) rows and columns from 0, and what is to be said about them."""
    count = len(paths)
    if pattern is not None:
        return _put_close(_read_places(paths, pattern))
    if rows is not None or columns is not None:
        across = columns if columns is not None else math.ceil(count / rows)
        if rows is not None and rows * across < count:
            raise ValueError(f"rows x columns must have a place for all {count} tiles; got {rows} x {across}.")
        return _fill(np.arange(count), across), []
    stems = [path.stem for path in paths]
    for each in _PLACES:
        matches = [each.search(stem) for stem in stems]
        if all(matches):
            places = [(int(match["row"]), int(match["column"])) for match in matches]
            if len(set(places)) == count:
                return _put_close(places)
    across = math.ceil(math.sqrt(count))
    numbers = [_NUMBERED.search(stem) for stem in stems]
    order = np.arange(count)
    if all(numbers) and len({int(match["number"]) for match in numbers}) == count:
        order = np.argsort(np.argsort([int(match["number"]) for match in numbers]))
    said = (
        f"The names do not say where the {count} tiles lie; {math.ceil(count / across)} x {across} (rows x columns) is "
        "assumed. Give rows and columns when it is otherwise."
    )
    return _fill(order, across), [said] if count > 1 else []


def _fill(order: np.ndarray, across: int) -> np.ndarray:
    return np.stack(np.divmod(order, across), axis=1)


def _put_close(places: Sequence[tuple[int, int]]) -> tuple[np.ndarray, list[str]]:
    """Return places from 0 on; of numbers far apart, such as positions in micrometres, only the order counts."""
    sides = list(zip(*places, strict=True))
    if math.prod(max(side) - min(side) + 1 for side in sides) <= _PLACES_A_TILE * (len(places) + 10):
        return np.array([[number - min(side) for number in side] for side in sides]).T, []
    orders = [{number: order for order, number in enumerate(sorted(set(side)))} for side in sides]
    said = "The names give places far apart, like positions: rows and columns follow their order, without gaps."
    return np.array([[order[number] for number in side] for side, order in zip(sides, orders, strict=True)]).T, [said]


def _read_places(paths: Sequence[Path], pattern: str) -> list[tuple[int, int]]:
    if len(pattern) > LONGEST_PATTERN:
        raise ValueError(f"pattern must have at most {LONGEST_PATTERN} characters; got {len(pattern)}.")
    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        why = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else error
        raise ValueError(f"pattern must be a regular expression; {pattern!r} is not: {why}.") from None
    if not {"row", "column"} <= set(compiled.groupindex):
        raise ValueError(f"pattern must have the groups (?P<row>...) and (?P<column>...); got {pattern!r}.")
    places = []
    for path in paths:
        match = compiled.search(path.stem)
        try:
            places.append((int(match["row"]), int(match["column"])))
        except (TypeError, ValueError):
            raise ValueError(f"pattern must find two whole numbers in every name; not so in {path.name}.") from None
    if len(set(places)) != len(paths):
        raise ValueError(f"pattern must give every tile a place of its own; {pattern!r} gives one to several.")
    return places


def _unlike(infos: Sequence[PlaneInfo]) -> list[str]:
    said = []
    for what, values in (
        ("shapes", [f"{info.rows} x {info.columns}" for info in infos]),
        ("number types", [info.dtype for info in infos]),
        ("numbers of colours", [str(info.colours) for info in infos]),
    ):
        kinds = sorted(set(values), key=lambda value: (-values.count(value), value))
        if len(kinds) > 1:
            shown = ", ".join(f"{kind} ({values.count(kind)})" for kind in kinds[:4])
            said.append(f"The tiles have {len(kinds)} {what}: {shown}{', ...' if len(kinds) > 4 else ''}.")
    deep = sum(info.planes > 1 for info in infos)
    if deep:
        said.append(f"The first plane is measured of files that have several: {deep}.")
    return said
