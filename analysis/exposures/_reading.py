"""Reads the files of EPU sessions into one table."""

from __future__ import annotations

import os
import threading
from array import array
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.exposures._epu import READ_NUMBERS, TEXT_FIELDS, in_units, parse_session
from analysis.exposures._layout import Reader, Values
from analysis.exposures._scan import Found, find_data_files, find_session_file, make_fingerprint, place_in_session
from analysis.exposures._session import SESSION_COLUMNS, Session, make_table, sort_exposures
from analysis.tasks import Cancelled, Progress, map_tasks

_LARGEST_BYTES = 8_000_000  # EPU writes 12 kB
_AT_ONCE, _PART = 256, 2000
_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0)
_NO_VALUES = [np.nan] * len(READ_NUMBERS), [""] * len(TEXT_FIELDS), np.iinfo(np.int64).min


def read_epu_session(
    folder: str | os.PathLike[str],
    *,
    known: Session | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> Session:
    """Read what EPU wrote about the exposures below a folder.

    Parameters
    ----------
    folder
        The session's folder (with ``Images-Disc1``), any folder in it, or one that holds several sessions.
    known
        The same folder as it was read before: files whose size and time have not changed are not opened again.
    executor
        Reads the files in parts, in place of this thread, and is left open; see `analysis.tasks.map_tasks`.
    progress
        Told the number of files read and to read, now and then.
    cancel
        When set, reading stops.

    Returns
    -------
    Session
        Whatever cannot be read is a row with an ``error`` and the rest goes on.

    Raises
    ------
    ValueError
        When there is no such folder, or no data file in it.
    Cancelled
        When ``cancel`` was set.
    """
    folder = Path(folder).expanduser()
    if not os.path.isdir(folder):
        what = "a file" if os.path.exists(folder) else "nothing there"
        raise ValueError(f"folder must be the folder of an EPU session; got {folder}, {what}.")
    folder = folder.resolve()
    before = known.table if known is not None and known.folder == folder else None
    found = find_data_files(folder, set() if before is None else set(before["file"]), cancel)
    if not found.files:
        raise ValueError(_say_nothing_found(folder, found))
    kept = None if before is None else before[_still_holds(before, found)]
    new = found.files.keys() - (() if kept is None else set(kept["file"]))
    if new or kept is None:
        files = {file: found.files[file] for file in found.files if file in new}
        table = _read_table(folder, files, executor, progress, cancel)
        kept = table if kept is None or kept.empty else pd.concat([kept, table], ignore_index=True)
    table = sort_exposures(kept)
    sessions, unsaid = _read_sessions(folder, table)
    return Session(
        folder=folder,
        table=table,
        sessions=sessions,
        left_out=found.left_out,
        warnings=(*_warn(table), *unsaid),
        unread=tuple(found.unread),
    )


def _still_holds(before: pd.DataFrame, found: Found) -> np.ndarray:
    """Which rows are of files that have not changed since."""
    pairs = zip(before["file"], before["fingerprint"], strict=True)
    return np.array([found.fingerprints.get(file) == state for file, state in pairs], dtype=bool)


def _say_nothing_found(folder: Path, found: Found) -> str:
    there = f"{found.others} other files, such as {found.example}" if found.others else "no file"
    if found.unread:
        there += f", and {len(found.unread)} folders that may not be read, such as {found.unread[0][0]}"
    return (
        "folder must hold data files of EPU (FoilHole_*_Data_*_<date>_<time>.xml in "
        f"Images-Disc*/GridSquare_*/Data); got {folder} with {there}."
    )


@dataclass
class _Rows:
    """What files say, one after the other; plain numbers, for objects would keep the garbage collector busy."""

    files: list[str] = field(default_factory=list)
    numbers: array = field(default_factory=lambda: array("d"))
    texts: list[list[str]] = field(default_factory=list)
    acquired: array = field(default_factory=lambda: array("q"))
    fingerprints: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def extend(self, others: _Rows) -> None:
        for mine, more in zip(vars(self).values(), vars(others).values(), strict=True):
            mine.extend(more)

    def add(self, file: str, values: Values, fingerprint: str, error: str) -> None:
        self.files.append(file)
        self.numbers.extend(values[0])
        self.texts.append(values[1])
        self.acquired.append(values[2])
        self.fingerprints.append(fingerprint)
        self.errors.append(error)


def _read_table(folder, files, executor, progress, cancel) -> pd.DataFrame:
    """Read files into rows, in the order of their names."""
    names, rows = list(files), _Rows()
    size = _AT_ONCE if executor is None else _PART
    parts = [names[at : at + size] for at in range(0, len(names), size)]
    read = partial(_read_rows, f"{folder}/", Reader() if executor is None else None)
    if executor is None:
        # parsing holds the interpreter, so threads would not make it faster
        for number, part in enumerate(parts):
            _report(number * size, len(names), progress, cancel)
            rows.extend(read(part))
    else:
        for number, (_, found, error) in enumerate(map_tasks(read, parts, executor=executor, cancel=cancel)):
            if error is not None:
                found = _Rows()
                for file in parts[number]:
                    found.add(file, _NO_VALUES, _look_at(f"{folder}/{file}"), _sentence(error))
            rows.extend(found)
            _report(number * size, len(names), progress, cancel)
    _report(len(files), len(files), progress, cancel)
    return make_table(_columns(folder, rows, [files[file] for file in rows.files]))


def _read_rows(root: str, reader: Reader | None, files: Sequence[str]) -> _Rows:
    """Read some files; whatever cannot be read is a row with an error."""
    reader, rows = reader or Reader(), _Rows()
    for file in files:
        state = ""
        try:
            data, state = _read_bytes(root + file)
            rows.add(file, reader.read(data), state, "")
        except FileNotFoundError:
            continue  # it was taken away since
        except (ValueError, OSError) as error:
            rows.add(file, _NO_VALUES, state or _look_at(root + file), _sentence(error))
    return rows


def _report(done: int, total: int, progress: Progress | None, cancel: threading.Event | None) -> None:
    if cancel is not None and cancel.is_set():
        raise Cancelled(f"Stopped after {done} of {total} files.")
    if progress is not None and total:
        progress(done, total, "reading exposures")


def _read_bytes(path: str) -> tuple[bytes, str]:
    """Return a file's bytes and its fingerprint at that moment."""
    # much quicker than a file object, which would be most of the work with small files
    handle = os.open(path, _FLAGS)
    try:
        status = os.fstat(handle)
        size = status.st_size
        if size > _LARGEST_BYTES:
            raise ValueError(f"too large: must be the XML of an exposure, of some 12000 bytes; got {size} bytes.")
        data = os.read(handle, size + 1)
        # a network file may come in pieces; one that grew has another fingerprint next time
        while 0 < len(data) < size and (piece := os.read(handle, size - len(data))):
            data += piece
        return data, make_fingerprint(status)
    finally:
        os.close(handle)


def _look_at(path: str) -> str:
    """Fingerprint of a file that could not be read, empty when it cannot be looked at either."""
    try:
        return make_fingerprint(os.stat(path))
    except OSError:
        return ""


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"cannot be read: must be a file that may be read; got {error.strerror or error}."
    return str(error)


def _columns(folder: Path, rows: _Rows, named: Sequence[tuple[str, ...]]) -> dict[str, Any]:
    """Columns of the table, in the order of the rows; ``named`` is what their names say."""
    places: dict[str, tuple[str, str]] = {}
    inside, names = [], []
    for file in rows.files:
        below, _, name = file.rpartition("/")
        if below not in places:
            places[below] = place_in_session(below, folder)
        inside.append(places[below])
        names.append(name[:-4])
    holes, areas, acquisitions, dates, times = zip(*named, strict=True) if named else [()] * 5
    numbers = np.frombuffer(rows.numbers, dtype=float).reshape(-1, len(READ_NUMBERS))
    return {
        "name": names, "file": rows.files, "session": [s for s, _ in inside], "grid_square": [g for _, g in inside],
        "foil_hole": holes, "area": areas, "acquisition": acquisitions,
        "named_time": _parse_stamps(dates, times),
        "acquired": np.frombuffer(rows.acquired, dtype=np.int64).view("datetime64[ns]"),
        **in_units(dict(zip(READ_NUMBERS, numbers.T, strict=True))),
        **{name: [text[i] for text in rows.texts] for i, name in enumerate(TEXT_FIELDS)},
        "fingerprint": rows.fingerprints, "error": rows.errors,
    }  # fmt: skip


def _parse_stamps(dates: Sequence[str], times: Sequence[str]) -> np.ndarray:
    """Times such as ``20200206`` and ``170645``; NaT where they are none."""
    days = {date: _parse_day(date) for date in set(dates)}
    clock = np.array(times, dtype="U6").astype(np.int64)
    hours, minutes, seconds = clock // 10_000, clock // 100 % 100, clock % 100
    found = np.array([days[date] for date in dates], dtype="datetime64[s]") + 3600 * hours + 60 * minutes + seconds
    found[(hours > 23) | (minutes > 59) | (seconds > 59)] = np.datetime64("NaT")
    return found


def _parse_day(date: str) -> np.datetime64:
    try:
        return np.datetime64(f"{date[:4]}-{date[4:6]}-{date[6:]}")
    except ValueError:
        return np.datetime64("NaT")


def _read_sessions(folder: Path, table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """One row a session, with what its own file says; a sentence for each file that cannot be used."""
    rows, unsaid = [], []
    for session, part in table.groupby("session"):
        path = find_session_file(folder, session)
        grid = {"hole_spacing_um": np.nan, "hole_size_um": np.nan, "clustering_mode": ""}
        try:
            if os.path.exists(path):
                grid = parse_session(_read_bytes(os.fspath(path))[0])
        except (OSError, ValueError) as error:
            unsaid.append(f"{path.name} of {session or folder.name} is not used. {_sentence(error)}")
        wrong = int((part["error"] != "").sum())
        rows.append({"session": session, "exposures": len(part) - wrong, "unreadable": wrong, **grid})
    return pd.DataFrame(rows, columns=list(SESSION_COLUMNS)), unsaid


def _warn(table: pd.DataFrame) -> list[str]:
    said = []
    sessions = table["session"].unique()
    if len(sessions) > 1:
        listed = ", ".join(session or "the folder itself" for session in sessions[:4])
        said.append(
            f"{len(sessions)} sessions are in this folder ({listed}{', ...' if len(sessions) > 4 else ''}); "
            "duplicates are sought within each. Read one alone if the others belong to another grid."
        )
    copies = table["name"][table["name"].duplicated()].unique()
    if len(copies):
        said.append(
            f"{len(copies)} names occur more than once, such as {copies[0]}. Copies within a session are left out "
            "of the search for duplicates; take them out of the folder."
        )
    return said
