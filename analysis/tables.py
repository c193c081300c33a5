"""The one reader and the one writer of tables: whole rows or none, safe for several writers."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
from pandas.api.types import is_numeric_dtype

from analysis.files import NAMELESS_TABLE_S, locked, whole_file


def read_table(
    path: str | os.PathLike[str],
    *,
    columns: Sequence[str],
    integers: Sequence[str] = (),
    numbers: Sequence[str] = (),
    keep_unfinished: bool = True,
) -> pd.DataFrame:
    """Read a comma-separated table whose identifiers stay text.

    Parameters
    ----------
    path
        The file; a byte-order mark and either kind of line end are accepted.
    columns
        Columns that must be there. Others are kept as text.
    integers, numbers
        Columns turned to int64 or float64. Everything else stays as written, so a slide called
        ``NA`` or ``001`` keeps its name.
    keep_unfinished
        Whether a last line with all its values but no line end counts. Tables edited by hand often lack
        the line end; in a table of numbers the last one may have been cut short.

    Returns
    -------
    DataFrame
        One row a line. ``attrs["torn_line"]`` is the number of a cut last line that was left out, or None.

    Raises
    ------
    ValueError
        When a column is missing, or a value is not of its type; the message names file, line and column.
    OSError
        When the file cannot be opened.
    """
    text = _decode(Path(path))
    try:
        rows = list(csv.reader(io.StringIO(text, newline="")))
    except csv.Error as error:
        raise ValueError(f"{path} must be a comma-separated table; {error}.") from None
    header = rows[0] if rows else []
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise ValueError(f"{path} must name each column once; {', '.join(twice)} stands there more than once.")
    missing = [name for name in columns if name not in header]
    if missing:
        raise ValueError(
            f"{path} must have the columns {', '.join(columns)}; "
            f"{', '.join(missing)} not found among {', '.join(header) or 'none (the file is empty)'}."
        )
    body, torn = _whole_rows(rows[1:], len(header), Path(path), text.endswith(("\n", "\r")), keep_unfinished)
    frame = pd.DataFrame(body, columns=header, dtype=object)
    for names, kind in ((integers, int), (numbers, float)):
        for name in names:
            frame[name] = _converted(frame[name], kind, path)
    frame.attrs["torn_line"] = torn
    return frame


def _decode(path: Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be UTF-8 text; byte {error.start} is not. Save it as CSV UTF-8.") from error


def _whole_rows(
    rows: list[list[str]], width: int, path: Path, ends_cleanly: bool, keep_unfinished: bool
) -> tuple[list[list[str]], int | None]:
    """Rows of the right width; a last line that a killed writer cut is left out, any other is refused."""
    kept = []
    for number, row in enumerate(rows, start=2):
        unfinished = number == len(rows) + 1 and not ends_cleanly
        if unfinished and (len(row) != width or not keep_unfinished):
            return kept, number
        if row and len(row) != width:
            raise ValueError(f"{path} line {number} must have {width} values; got {len(row)}.")
        if row:
            kept.append(row)
    return kept, None


def _converted(values: pd.Series, kind: Callable[[str], float], path: str | os.PathLike[str]) -> pd.Series:
    converted = []
    for line, value in enumerate(values, start=2):
        try:
            number = kind(value)
            if kind is int and abs(number) >= 2**63:
                raise ValueError
            converted.append(number)
        except ValueError:
            what = "a whole number" if kind is int else "a number"
            raise ValueError(f"{path} line {line}, column {values.name} must be {what}; got {value!r}.") from None
    return pd.Series(converted, index=values.index, dtype="int64" if kind is int else "float64")


def write_table(
    frame: pd.DataFrame, path: str | os.PathLike[str], *, for_spreadsheets: bool = False, missing: str = ""
) -> Path:
    """Write a table as CSV, whole or not at all.

    Numbers are written so that they read back to the same bits; lines end as the seeds' systems write
    them (carriage return and line feed).

    Parameters
    ----------
    frame
        The table; the index is not written.
    path
        The file, replaced in one step.
    for_spreadsheets
        Put an apostrophe before text that a spreadsheet would run as a formula. For tables read by people
        only, never for tables that other programs read.
    missing
        How a missing value is written.

    Returns
    -------
    Path
        The file written.
    """
    with whole_file(path, "w", encoding="utf-8", newline="") as handle:
        handle.write(table_text(frame, for_spreadsheets=for_spreadsheets, missing=missing))
    return Path(path)


def table_text(frame: pd.DataFrame, *, for_spreadsheets: bool = False, missing: str = "") -> str:
    """Return what `write_table` would write."""
    if for_spreadsheets:
        frame = frame.apply(lambda cells: cells if is_numeric_dtype(cells) else cells.astype(object).map(_harmless))
    return frame.to_csv(index=False, lineterminator="\r\n", na_rep=missing)


def _harmless(value: object) -> object:
    # what Excel, LibreOffice and Google take for the beginning of a formula (OWASP, CSV injection)
    starts = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    return f"'{value}" if starts else value


def update_table(
    path: str | os.PathLike[str],
    change: Callable[[pd.DataFrame | None], pd.DataFrame],
    *,
    columns: Sequence[str],
    integers: Sequence[str] = (),
    numbers: Sequence[str] = (),
    timeout_s: float = 60.0,
) -> pd.DataFrame:
    """Change a table that several people write: lock, read again, change, replace.

    Parameters
    ----------
    path
        The shared table.
    change
        Gets the table as it is now (None when there is none) and returns the new one. An exception
        raised here leaves the file as it was.
    columns, integers, numbers
        As in `read_table`.
    timeout_s
        Seconds to wait for another writer.

    Returns
    -------
    DataFrame
        The table as written.
    """
    path = Path(path)
    with locked(path, timeout_s=timeout_s, nameless_s=NAMELESS_TABLE_S):
        current = read_table(path, columns=columns, integers=integers, numbers=numbers) if path.exists() else None
        changed = change(current)
        write_table(changed, path)
    return changed
