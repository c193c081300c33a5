"""Classes given by hand to patches: checked, saved and read."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.files import whole_file
from analysis.tables import read_table, write_table
from analysis.texture._clusters import Clusters
from analysis.texture._patches import Patches

Labels = Mapping[tuple[str, int, int], str]
"""Class by (file, row, column) of a patch; the file by its path, or by its name where no two tiles share it."""
_COLUMNS = ("file", "row", "column", "class", "row_px", "column_px", "rows_px", "columns_px")
_PLACE = ("row_px", "column_px", "rows_px", "columns_px")
_LONGEST_CLASS = 100


def save_labels(labels: Labels, path: str | os.PathLike[str], *, patches: Patches | Clusters) -> Path:
    """Save labels as CSV or JSON, whole or not at all.

    Parameters
    ----------
    labels
        Class by (file, row, column) of a patch.
    path
        Ends with ``.csv`` or ``.json``. Columns: ``file`` (its name; the path where two tiles share a name), ``row,
        column, class, row_px, column_px, rows_px, columns_px``.
    patches
        What the labels belong to; where each patch lies is saved too, so that another grid is noticed.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ValueError
        When the path ends otherwise, or a label belongs to no patch.
    OSError
        When it cannot be written.
    """
    path = Path(path)
    _check_ending(path)
    patches = patches.patches if isinstance(patches, Clusters) else patches
    given = find_patches(patches, labels)
    chosen = patches.table.iloc[sorted(given)]
    owners = patches.table.drop_duplicates("file")["name"].value_counts()
    shared = chosen["name"].map(owners).to_numpy() > 1
    frame = pd.DataFrame(
        {
            "file": np.where(shared, chosen["file"].to_numpy(object), chosen["name"].to_numpy(object)),
            "row": chosen["row"].to_numpy(),
            "column": chosen["column"].to_numpy(),
            "class": [given[row] for row in sorted(given)],
            **{name: chosen[name].to_numpy() for name in _PLACE},
        }
    )
    if path.suffix.lower() == ".csv":
        return write_table(frame, path)
    with whole_file(path, "w", encoding="utf-8") as handle:
        json.dump({"labels": json.loads(frame.to_json(orient="records"))}, handle, indent=1, ensure_ascii=False)
    return path


def read_labels(
    path: str | os.PathLike[str], *, patches: Patches | Clusters | None = None
) -> dict[tuple[str, int, int], str]:
    """Read labels that `save_labels` wrote.

    Parameters
    ----------
    path
        Ends with ``.csv`` or ``.json``. The columns ``file, row, column, class`` are enough. Blanks around a class do
        not count, and ``3.0`` is a whole number too, as spreadsheets may write them.
    patches
        When given, labels of other tiles or of another grid are refused.

    Returns
    -------
    dict
        Class by (file, row, column).

    Raises
    ------
    ValueError
        When the file does not hold labels, or not of these patches; the message names the place.
    OSError
        When it cannot be opened.
    """
    path = Path(path)
    _check_ending(path)
    needed = _COLUMNS[:4]
    frame = _read_csv(path, needed) if path.suffix.lower() == ".csv" else _parse_json(path, needed)
    labels = {}
    for entry in frame.to_dict("records"):
        key = (str(entry["file"]), int(entry["row"]), int(entry["column"]))
        if key in labels:
            raise ValueError(
                f"{path} must label each patch once; {key[0]}, row {key[1]}, column {key[2]} is there twice."
            )
        labels[key] = entry["class"].strip()
    if patches is not None:
        patches = patches.patches if isinstance(patches, Clusters) else patches
        _check_places(path, frame, patches, labels)
    return labels


def _check_ending(path: Path) -> None:
    if path.suffix.lower() not in (".csv", ".json"):
        raise ValueError(f"path must end with .csv or .json; got {path}.")


def _read_csv(path: Path, needed: Sequence[str]) -> pd.DataFrame:
    """Read a table that may have gone through a spreadsheet: there 3 may become 3.0."""
    try:
        frame = read_table(path, columns=needed, numbers=("row", "column"))
    except ValueError:
        header = path.read_bytes()[:1000].partition(b"\n")[0]
        if b"," in header or header.count(b";") < len(needed) - 1:
            raise
        words = f"{path} must have commas between its values; it has semicolons. Save it with commas."
        raise ValueError(words) from None
    for name in ("row", "column"):
        wrong = [value for value in frame[name] if not value.is_integer()]
        if wrong:
            raise ValueError(f"{path} must have whole numbers in column {name}; got {wrong[0]}.")
    for name in set(_PLACE) & set(frame.columns):
        frame[name] = [value.removesuffix(".0") for value in frame[name]]
    return frame


def _parse_json(path: Path, needed: Sequence[str]) -> pd.DataFrame:
    try:
        found = json.loads(path.read_bytes())
        entries = found["labels"]
        rows = [{name: entry[name] for name in (*needed, *(set(_PLACE) & set(entry)))} for entry in entries]
        whole = all(type(row[name]) is (str if name in ("file", "class") else int) for row in rows for name in row)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(
            f'{path} must be JSON with "labels": a list of objects with {", ".join(needed)}; it is not '
            f"({type(error).__name__}: {error})."
        ) from None
    if not whole:
        raise ValueError(f"{path} must have whole numbers as row and column, and words as file and class.")
    return pd.DataFrame(rows, columns=list(_COLUMNS if rows and set(_PLACE) <= set(rows[0]) else needed))


def _check_places(path: Path, frame: pd.DataFrame, patches: Patches, labels: Labels) -> None:
    try:
        given = find_patches(patches, labels)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if not set(_PLACE) <= set(frame.columns):
        return
    for row, entry in zip(given, frame.to_dict("records"), strict=True):
        there = tuple(int(patches.table[name].iloc[row]) for name in _PLACE)
        saved = tuple(str(entry[name]) for name in _PLACE)
        if tuple(map(str, there)) != saved:
            raise ValueError(
                f"{path} must hold labels of this grid; {name_patch(patches, row)} lies at {there[0]}, {there[1]} px "
                f"with {there[2]} x {there[3]} px, but was labelled at {saved[0]}, {saved[1]} px with {saved[2]} x "
                f"{saved[3]} px."
            )


def find_patch(patches: Patches, key: tuple[str, int, int]) -> int:
    """Return the row in the table of a patch that is named by (file, row, column).

    Parameters
    ----------
    patches
        As `measure_patches` returns them.
    key
        The file is a path, or a name where no two tiles share it.

    Raises
    ------
    ValueError
        When there is none, or several.
    """
    return next(iter(find_patches(patches, {key: "any"})))


def find_patches(patches: Patches, labels: Labels) -> dict[int, str]:
    """Return class by row of the table of patches.

    Parameters
    ----------
    patches
        As `measure_patches` returns them.
    labels
        Class by (file, row, column).

    Raises
    ------
    ValueError
        When a label belongs to no patch or to several, or is no word.
    """
    table = patches.table
    numbers: dict[str, set[int]] = {}
    for number, file, name in table.drop_duplicates("tile")[["tile", "file", "name"]].itertuples(index=False):
        numbers.setdefault(str(file), set()).add(number)
        numbers.setdefault(str(name), set()).add(number)
    keys = zip(*(table[name].to_numpy().tolist() for name in ("tile", "row", "column")), strict=True)
    rows = {key: number for number, key in enumerate(keys)}
    given: dict[int, str] = {}
    for key, name in labels.items():
        try:
            file, row, column = key
        except (TypeError, ValueError):
            raise ValueError(f"labels must be named by (file, row, column); got {key!r}.") from None
        tiles = numbers.get(str(file), set())
        if len(tiles) > 1:
            raise ValueError(f"labels must give the path of {file}; {len(tiles)} tiles have that name.")
        at = rows.get((next(iter(tiles)), row, column)) if tiles else None
        if at is None:
            raise ValueError(
                f"labels must be of patches that were measured; {file}, row {row}, column {column} was not."
            )
        if not isinstance(name, str) or not name.strip() or len(name) > _LONGEST_CLASS or not name.isprintable():
            raise ValueError(f"classes must be words of 1 to {_LONGEST_CLASS} characters in one line; got {name!r}.")
        if given.setdefault(at, name) != name:
            raise ValueError(
                f"labels must give a patch one class; {name_patch(patches, at)} has {given[at]} and {name}."
            )
    return given


def name_patch(patches: Patches, row: int) -> str:
    """Return words for a row of the table: file, row and column."""
    entry = patches.table.iloc[row]
    return f"{entry['name']}, row {entry['row']}, column {entry['column']}"
