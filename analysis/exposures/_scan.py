"""The files of EPU sessions below a folder: found by name, looked at, not opened."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path

from analysis.tasks import Cancelled

SESSION_FILE = "EpuSession.dm"
_DATA = re.compile(r"FoilHole_(\d+)_Data_(\d+)_(\d+)_(\d{8})_(\d{6})\.xml", re.ASCII)
_LOOK_ALIKE = re.compile(r"FoilHole_.*_Data_.*\.xml", re.IGNORECASE)


@dataclass
class Found:
    """What a walk through a folder found.

    Attributes
    ----------
    files
        Data XML below the folder (posix path): the numbers in its name.
    fingerprints
        Those of the files that were known before.
    left_out
        How many look like data XML by their names and are something else.
    others
        How many other files there are.
    example
        Name of one of these.
    unread
        Folders that cannot be looked into: ``(folder, expected, found, reason)``.
    """

    files: dict[str, tuple[str, ...]] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)
    left_out: int = 0
    others: int = 0
    example: str = ""
    unread: list[tuple[str, str, str, str]] = field(default_factory=list)


def make_fingerprint(status: os.stat_result) -> str:
    """Return what `analysis.files.fingerprint` does, of a file already looked at."""
    return f"{status.st_size}-{status.st_mtime_ns}"


def find_data_files(folder: Path, known: Container[str] = (), cancel: threading.Event | None = None) -> Found:
    """Return the data XML below a folder. Linked folders are followed once, and never back into the folder.

    Parameters
    ----------
    folder
        Where to look.
    known
        Files to take fingerprints of; others are looked at when they are opened.
    cancel
        When set, looking stops.

    Raises
    ------
    Cancelled
        When ``cancel`` was set.
    """
    found, seen = Found(), set()
    waiting, links = [""], []
    # links come last: what they lead to may be below the folder anyway
    while waiting or links:
        if cancel is not None and cancel.is_set():
            raise Cancelled("Stopped while looking for files.")
        below = waiting.pop() if waiting else links.pop()
        path = os.path.join(folder, below) if below else os.fspath(folder)
        try:
            status = os.stat(path)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            _look_into(path, f"{below}/" if below else "", found, known, waiting, links)
        except OSError as error:
            why = error.strerror or str(error)
            found.unread.append((below or str(folder), "a folder that may be read", why, "cannot be looked into"))
    found.unread.sort()
    return found


def _look_into(
    path: str, prefix: str, found: Found, known: Container[str], waiting: list[str], links: list[str]
) -> None:
    with os.scandir(path) as entries:
        for entry in entries:
            name = entry.name
            if name.endswith(".xml") and (match := _DATA.fullmatch(name)) and entry.is_file():
                file = prefix + name
                if file in known:
                    try:
                        found.fingerprints[file] = make_fingerprint(entry.stat())
                    except FileNotFoundError:
                        continue
                found.files[file] = match.groups()
                continue
            if entry.is_dir() and not name.isprintable():
                shown = ascii(prefix + name)
                found.unread.append((shown, "a name in UTF-8, as tables need", shown, "cannot be named"))
            elif entry.is_dir(follow_symlinks=False):
                waiting.append(prefix + name)
            elif entry.is_symlink() and entry.is_dir():
                links.append(prefix + name)
            else:
                found.left_out += _LOOK_ALIKE.fullmatch(name) is not None
                found.others += 1
                found.example = found.example or name


def place_in_session(below: str, folder: Path) -> tuple[str, str]:
    """Return which session and which grid square a file belongs to, by the folders it lies in.

    Parameters
    ----------
    below
        Posix path of the file's folder, relative to the folder that was read.
    folder
        The folder that was read, which may itself be a part of a session.

    Returns
    -------
    session, grid_square
        Folder that holds ``Images-Disc*`` relative to ``folder`` (empty for itself), and the square's number.
    """
    parts = below.split("/") if below else []
    named = [part for part in (*folder.parts, *parts) if part.startswith("GridSquare_")]
    grid_square = named[-1].removeprefix("GridSquare_") if named else ""
    for start in ("Images-Disc", "GridSquare_"):
        for depth, part in enumerate(parts):
            if part.startswith(start):
                return "/".join(parts[:depth]), grid_square
    return "", grid_square


def find_session_file(folder: Path, session: str) -> Path:
    """Return where the session's own file should be, also when only a part of the session was read."""
    place = folder / session
    while not session and place.name.startswith(("Images-Disc", "GridSquare_", "Data")):
        place = place.parent
    return place / SESSION_FILE
