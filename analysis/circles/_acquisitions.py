"""Which images were acquired: a tree of folders, one level a property, looked at without opening a file."""

from __future__ import annotations

import functools
import os
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.circles._columns import CALIBRATED, FIRST, FURTHER
from analysis.patterns import natural_key
from analysis.tasks import Cancelled, Progress

LEVELS = ("Date", "Subject", "Experiment")
"""What the folders stand for, from the outermost on."""
ENDINGS = (".png", ".tif", ".tiff", ".jpg", ".jpeg")
"""Files that are looked at; names that start with a dot are not."""
TAKEN = frozenset({"FOV", *FIRST, *FURTHER, *CALIBRATED, "File", "Stage", "Reason", "When"})
"""Columns of the tables, which no level may be called."""
_TAKEN_INSIDE = frozenset(
    {"fov", "file", "fingerprint", "state", "reason", "circles", "error", "seconds", "mean", "sum_of_squares"}
)
"""Columns of tables in Python, in small letters."""
_SHOWN = 3


@dataclass(frozen=True)
class Acquisitions:
    """Images that were acquired.

    Attributes
    ----------
    table
        One row an image, in natural order: a column for each level, ``fov`` (name of the field of view), ``file`` and
        ``fingerprint`` (size and time of the file).
    problems
        One row a file or folder that cannot be used: ``file, error``.
    root
        The folder.
    levels
        Names of the levels.
    unread
        Folders, as paths from the root, that could not be listed. What was found there before is not called vanished.
    settings
        The keyword arguments used.
    warnings
        Sentences about what was left out.
    """

    table: pd.DataFrame
    problems: pd.DataFrame
    root: Path
    levels: tuple[str, ...]
    unread: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.table)

    @functools.cached_property
    def rows(self) -> list[AcquiredImage]:
        """The table as one object an image."""
        width = len(self.levels)
        return [
            AcquiredImage(tuple(row[:width]), row[width], row[width + 1], row[width + 2])
            for row in self.table.to_numpy(dtype=object).tolist()
        ]

    def summary(self) -> dict[str, Any]:
        """Return the numbers of images, of names on each level, and of problems."""
        names = {level: int(self.table[level].nunique()) for level in self.levels}
        return {"images": len(self), **names, "problems": len(self.problems), "root": str(self.root)}


@dataclass(frozen=True)
class AcquiredImage:
    """One image.

    Attributes
    ----------
    names
        Of the folders it lies in, from the outermost on.
    fov
        Name of the field of view: the file's without its ending, or with it where two are alike.
    file
        Path of the file.
    fingerprint
        Size and time of the file.
    """

    names: tuple[str, ...]
    fov: str
    file: str
    fingerprint: str

    @property
    def key(self) -> str:
        """What its outputs are called by: folders and field of view."""
        return "/".join((*self.names, self.fov))

    @property
    def place(self) -> str:
        """Path of the file from the root, with slashes."""
        return "/".join((*self.names, os.path.basename(self.file)))


def find_acquisitions(
    root: str | os.PathLike[str],
    *,
    levels: Sequence[str] = LEVELS,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> Acquisitions:
    """Find the images of a tree of folders; no file is opened.

    Parameters
    ----------
    root
        Folder of the acquisitions. PNG, TIFF and JPEG files are taken that lie as many folders deep as there are
        levels.
    levels
        What the folders stand for, from the outermost on; their number is the depth.
    progress
        Called with folders looked at, folders, and words.
    cancel
        Stops the search when set.

    Returns
    -------
    Acquisitions
        An image that lies too high or too deep, or a folder that cannot be listed, is a row of its problems.

    Raises
    ------
    ValueError
        When the root is no folder, or the levels' names cannot be columns of a table.
    analysis.tasks.Cancelled
        When it was stopped.
    """
    levels = check_levels(levels)
    if not os.path.isdir(root):
        raise ValueError(f"acquisitions must be a folder that exists; {root} is not. Is its disk there?")
    # workers elsewhere, and tonight's run from another folder, must find the same file
    root = Path(os.path.abspath(root))
    walk = _Walk(root, len(levels))
    outermost = walk.list_folder((), root)
    for done, (names, path) in enumerate(outermost):
        if cancel is not None and cancel.is_set():
            raise Cancelled("Stopped while looking for images.")
        walk.descend(names, path)
        if progress is not None:
            progress(done + 1, len(outermost), "looking for images")
    images = sorted(walk.images(), key=_order)
    columns = [*levels, "fov", "file", "fingerprint"]
    table = pd.DataFrame([(*i.names, i.fov, i.file, i.fingerprint) for i in images], columns=columns, dtype=object)
    problems = pd.DataFrame(sorted(walk.problems), columns=["file", "error"], dtype=object)
    settings = {"levels": levels}
    return Acquisitions(table, problems, root, levels, tuple(walk.unread), settings, walk.warnings())


def check_levels(levels: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the levels, or refuse those that cannot be columns.

    Raises
    ------
    ValueError
        With the name and what is wrong with it.
    """
    names = (levels,) if isinstance(levels, str) else tuple(levels)
    if not names:
        raise ValueError("levels must name at least one folder level, such as Date,Subject,Experiment; got none.")
    for name in names:
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise ValueError(f"levels must be names that can head a column; got {name!r}.")
        if name in TAKEN or name.lower() in _TAKEN_INSIDE:
            raise ValueError(f"levels must not be called like other columns of the tables; got {name!r}.")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"levels must differ; {', '.join(twice)} stands there more than once.")
    return names


def _order(image: AcquiredImage) -> tuple[Any, ...]:
    return (*map(natural_key, image.names), natural_key(image.fov))


class _Walk:
    """A walk down a tree, and what was seen on it."""

    def __init__(self, root: Path, depth: int):
        self._root, self._depth = root, depth
        self._found: dict[tuple[str, ...], list[tuple[str, str]]] = {}
        self.problems: list[tuple[str, str]] = []
        self.unread: list[str] = []
        self._others: list[str] = []

    def descend(self, names: tuple[str, ...], path: Path) -> None:
        """Look at a folder and all below."""
        for deeper in self.list_folder(names, path):
            self.descend(*deeper)

    def list_folder(self, names: tuple[str, ...], path: Path) -> list[tuple[tuple[str, ...], Path]]:
        """Keep a folder's images, and return the folders in it."""
        folders, misplaced = [], []
        for entry in self._entries(names, path):
            image = entry.name.lower().endswith(ENDINGS)
            # below the last level links are not followed, for they may lead up again
            if entry.is_dir(follow_symlinks=len(names) < self._depth):
                if entry.is_symlink() and self._leads_up(entry.path):
                    self._problem(entry.path, "is a link that leads up, to a folder that holds it. Remove it.")
                else:
                    folders.append(((*names, entry.name), Path(entry.path)))
            elif not image:
                self._others.append(entry.path)
            elif not entry.is_file():
                kind = "a link that leads to no file" if entry.is_symlink() else "no file"
                self._problem(entry.path, f"is {kind}.")
            elif len(names) == self._depth:
                self._keep(names, entry)
            else:
                misplaced.append(entry.name)
        if misplaced:
            self._misplaced(names, path, sorted(misplaced))
        return sorted(folders)

    def _leads_up(self, path: str) -> bool:
        """Whether a link leads to a folder that holds it, so that walking on would never end or meet all twice."""
        target, holder = os.path.realpath(path), os.path.realpath(os.path.dirname(path))
        return os.path.commonpath([target, holder]) == target

    def _entries(self, names: tuple[str, ...], path: Path) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(path) as entries:
                listed = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            if not names:
                raise
            self.unread.append("/".join(names))
            self._problem(str(path), f"cannot be listed: {error.strerror}.")
            return
        for entry in listed:
            try:
                entry.name.encode("utf-8")
            except UnicodeEncodeError:
                self._problem(entry.path, "must have a name in UTF-8 to stand in tables. Rename it.")
            else:
                yield entry

    def _keep(self, names: tuple[str, ...], entry: os.DirEntry[str]) -> None:
        try:
            found = entry.stat()
        except OSError as error:
            self._problem(entry.path, f"cannot be looked at: {error.strerror}.")
            return
        self._found.setdefault(names, []).append((entry.name, f"{found.st_size}-{found.st_mtime_ns}"))

    def _problem(self, path: str, words: str) -> None:
        shown = os.fsencode(path).decode("utf-8", "replace")
        self.problems.append((shown, words))

    def _misplaced(self, names: tuple[str, ...], path: Path, files: list[str]) -> None:
        for name in files[:_SHOWN]:
            where = "high" if len(names) < self._depth else "deep"
            more = f" So do {len(files) - _SHOWN} others there." if len(files) > _SHOWN and name == files[0] else ""
            self._problem(
                str(path / name),
                f"lies too {where}: images must lie {self._depth} folders deep; got {len(names)}.{more}",
            )

    def images(self) -> Iterator[AcquiredImage]:
        """Yield the images with the names of their fields of view."""
        for names, files in self._found.items():
            folder = self._root.joinpath(*names)
            fovs = _fovs([name for name, _ in files])
            for name, mark in files:
                yield AcquiredImage(names, fovs[name], str(folder / name), mark)

    def warnings(self) -> tuple[str, ...]:
        """Say which files were no images."""
        if not self._others:
            return ()
        shown = ", ".join(sorted(os.fsencode(path).decode("utf-8", "replace") for path in self._others)[:_SHOWN])
        count = len(self._others)
        said = f"{count} files are no images by their names and were" if count > 1 else "1 file is no image and was"
        return (f"{said} left out, such as {shown}.",)


def _fovs(files: list[str]) -> dict[str, str]:
    """Name of the field of view of each file: without its ending, unless another one would be called alike."""
    fovs = {file: os.path.splitext(file)[0] for file in files}
    while True:
        count = Counter(fovs.values())
        alike = [file for file, fov in fovs.items() if count[fov] > 1 and fov != file]
        if not alike:
            return fovs
        fovs.update((file, file) for file in alike)
