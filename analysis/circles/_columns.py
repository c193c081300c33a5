"""The tables that others read: circles of one image, and ``experiments.csv`` of all."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pandas as pd

FIRST = ("Circle", "X", "Y", "R", "Mean Intensity")
"""As the first pipeline of this kind wrote them, behind the levels and FOV."""
FURTHER = (
    "Median Intensity", "SD Intensity", "Background Intensity", "Integrated Intensity", "Area (px²)", "Contrast",
    "Support", "Border", "Overlap", "Weak",
)  # fmt: skip
CALIBRATED = ("X (um)", "Y (um)", "R (um)")
FLAGS = ("Border", "Overlap", "Weak")
END = "\r\n"
_SOURCES = {
    "X": "x_px", "Y": "y_px", "R": "r_px", "Mean Intensity": "mean", "Median Intensity": "median",
    "SD Intensity": "std", "Background Intensity": "background", "Integrated Intensity": "integrated",
    "Area (px²)": "area_px", "Contrast": "contrast", "Support": "support", "Border": "border", "Overlap": "overlap",
    "Weak": "weak", "X (um)": "x_um", "Y (um)": "y_um", "R (um)": "r_um",
}  # fmt: skip


def image_columns(calibrated: bool) -> tuple[str, ...]:
    """Return the columns of one image's table."""
    return (*FIRST, *FURTHER, *(CALIBRATED if calibrated else ()))


def name_columns(table: pd.DataFrame) -> pd.DataFrame:
    """Return measured circles under the names of the tables.

    Parameters
    ----------
    table
        As `measure_circles` makes it.

    Returns
    -------
    DataFrame
        ``Circle`` counts from 0; the size of a pixel in micrometres being known, there are columns in um.
    """
    wanted = image_columns("r_um" in table)
    columns = {"Circle": range(len(table))} | {name: table[_SOURCES[name]].to_numpy() for name in wanted[1:]}
    return pd.DataFrame(columns, columns=list(wanted))


def image_text(table: pd.DataFrame) -> str:
    """Return measured circles as the text of one image's file; numbers have seven digits."""
    named = name_columns(table)
    cells = [_cells(name, named[name].tolist()) for name in named]
    lines = [",".join(named.columns), *map(",".join, zip(*cells, strict=True))]
    return END.join(lines) + END


def _cells(name: str, values: list[object]) -> list[str]:
    if name == "Circle":
        return list(map(str, values))
    if name in FLAGS:
        return [str(bool(value)) for value in values]
    return ["" if value != value else f"{value:.7g}" for value in values]


def image_lines(path: str | os.PathLike[str], *, calibrated: bool) -> list[str]:
    """Return the lines of one image's file, without its header.

    Raises
    ------
    ValueError
        When it is not as it was written.
    OSError
        When it cannot be read.
    """
    header, *lines = Path(path).read_bytes().decode("utf-8", "replace").split(END)
    if header != ",".join(image_columns(calibrated)) or not lines or lines[-1] != "":
        raise ValueError(
            f"{path} must be a table of circles as the pipeline writes it; it begins with {header[:60]!r}."
        )
    return lines[:-1]


def experiments_text(
    levels: Sequence[str], images: Iterable[tuple[Sequence[str], Sequence[str]]], *, calibrated: bool
) -> Iterator[str]:
    """Yield the text of ``experiments.csv`` in parts.

    Parameters
    ----------
    levels
        Names of the levels.
    images
        For each image the names of its folders and its field of view, and the lines of its file.
    calibrated
        Whether there are columns in um; lines of images without are filled up.
    """
    yield _line((*levels, "FOV", *image_columns(calibrated))) + END
    width = len(image_columns(False)) - 1
    empty = "," * len(CALIBRATED)
    for names, lines in images:
        before = _line(names)
        for line in lines:
            yield f"{before},{line}{empty if calibrated and line.count(',') == width else ''}{END}"


def _line(values: Sequence[str]) -> str:
    buffer = io.StringIO()
    # with the line end, for the writer puts quotes around a name that holds one
    csv.writer(buffer, lineterminator=END).writerow(values)
    return buffer.getvalue().removesuffix(END)


def read_experiments(path: str | os.PathLike[str], *, levels: Sequence[str] | None = None) -> pd.DataFrame:
    """Read ``experiments.csv`` back.

    Parameters
    ----------
    path
        The file, or the output folder that holds it.
    levels
        Names of its levels; all columns before ``FOV`` when None.

    Returns
    -------
    DataFrame
        One row a circle. Levels and ``FOV`` are text, so a subject called ``007`` or ``NA`` keeps its name; ``Circle``
        is a whole number, ``Border``, ``Overlap`` and ``Weak`` are true or false, all else are numbers.

    Raises
    ------
    ValueError
        When a column is missing or a value is none of its kind.
    OSError
        When the file cannot be opened.
    """
    path = Path(path)
    path = path / "experiments.csv" if os.path.isdir(path) else path
    try:
        with open(path, encoding="utf-8-sig", newline="") as handle:
            header = next(csv.reader(handle), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} must be a comma-separated table in UTF-8; {error}.") from None
    missing = [name for name in ("FOV", *FIRST, *(levels or ())) if name not in header]
    if missing:
        raise ValueError(f"{path} must have the columns of experiments.csv; {', '.join(missing)} not found.")
    text = [*(levels if levels is not None else header[: header.index("FOV")]), "FOV"]
    kinds = {name: _kind(name, text) for name in header}
    blank = {name: [] if name in text else [""] for name in header}
    try:
        table = pd.read_csv(path, dtype=kinds, na_values=blank, keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{path} must hold numbers behind the names; {' '.join(str(error).split())}.") from None
    if not (table["Circle"] % 1 == 0).all():
        raise ValueError(f"{path} must hold numbers behind the names; Circle must count.")
    return table.astype({"Circle": "int64"})


def _kind(name: str, text: Sequence[str]) -> str:
    if name in text:
        return "object"
    return "bool" if name in FLAGS else "float64"
