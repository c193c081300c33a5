"""Where the visitors of a page may have files read and written, as whoever serves it has said."""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DATA, OUTPUT, READ_ONLY = "GRATICULE_DATA", "GRATICULE_OUTPUT", "GRATICULE_READ_ONLY"
"""Environment variables with the folders, joined as those of PATH are, and with ``1`` for read only."""

SCHEDULER = "GRATICULE_SCHEDULER"
"""Environment variable with the address of the scheduler that pages use."""

_NO = ("", "0", "no", "false", "off")
_NOT_HERE = "is not in a folder that this server reads"
_NOT_WRITTEN = "is not in the folder that this server writes into"


class Refused(PermissionError):
    """What visitors may not have done; says nothing about whether a path exists.

    Parameters
    ----------
    path
        As it was typed; empty when it is not about one.
    why
        The rest of the sentence.
    """

    def __init__(self, path: object, why: str):
        super().__init__(errno.EACCES, why.rstrip("."), str(path))

    def __str__(self) -> str:
        """Return the whole sentence."""
        return f"{self.filename} {self.strerror}.".lstrip()


@dataclass(frozen=True)
class Places:
    """Folders that visitors may have read, and the one that they may have written into.

    Attributes
    ----------
    data
        Folders that may be read, links in them followed to their ends; empty when nothing is restricted.
    output
        Folder that may be written into and read; None when there is none.
    read_only
        Whether nothing may be written at all.
    """

    data: tuple[Path, ...] = ()
    output: Path | None = None
    read_only: bool = False

    @property
    def restricted(self) -> bool:
        """Whether there are folders outside which nothing is read."""
        return bool(self.data)

    @property
    def may_write(self) -> bool:
        """Whether anything may be written."""
        return not self.why_not_write

    @property
    def why_not_write(self) -> str:
        """Sentence that says why nothing may be written; empty when something may."""
        if self.read_only:
            return "Nothing is written here: the pages are served with --read-only."
        if self.restricted and self.output is None:
            return "Nothing is written here: the pages are served with --data but without --output FOLDER."
        return ""

    def to_read(self, path: str | os.PathLike[str]) -> Path:
        """Return a path that may be read, absolute and without links.

        Parameters
        ----------
        path
            As typed. One that does not begin at the root is looked for in the folders of ``data``, one after the
            other, and then in ``output``.

        Raises
        ------
        Refused
            When it is in none of them.
        """
        if not self.restricted:
            return Path(path)
        real = _resolve(path, self.readable)
        if not any(real.is_relative_to(folder) for folder in self.readable):
            raise Refused(path, f"{_NOT_HERE}; it must be in {_listed(self.readable)}")
        return real

    def to_write(self, path: str | os.PathLike[str]) -> Path:
        """Return a path that may be written, absolute and without links.

        Parameters
        ----------
        path
            As typed. One that does not begin at the root is in ``output``.

        Raises
        ------
        Refused
            When it is not in ``output``, or nothing may be written.
        """
        if self.why_not_write:
            raise Refused(path, f"cannot be written. {self.why_not_write}")
        if self.output is None:
            return Path(path)
        real = _resolve(path, (self.output,))
        if not real.is_relative_to(self.output):
            raise Refused(path, f"{_NOT_WRITTEN}; it must be in {self.output}")
        return real

    def to_work_in(self, path: str | os.PathLike[str]) -> Path:
        """Return a folder of results: one that does not begin at the root is in ``output``, where there is one.

        Parameters
        ----------
        path
            As typed. What an earlier run left in a folder of ``data`` may be looked at.

        Raises
        ------
        Refused
            When it may not be read.
        """
        if self.output is None or not self.restricted:
            return self.to_read(path)
        return self.to_read(_resolve(path, (self.output,)))

    @property
    def readable(self) -> tuple[Path, ...]:
        """All folders that may be read."""
        return self.data if self.output is None else (*self.data, self.output)

    def environment(self) -> dict[str, str]:
        """Return the environment variables that say this to pages."""
        said = {
            DATA: os.pathsep.join(map(str, self.data)),
            OUTPUT: str(self.output or ""),
            READ_ONLY: "1" if self.read_only else "",
        }
        return {name: value for name, value in said.items() if value}


def places() -> Places:
    """Return what the environment says.

    Raises
    ------
    ValueError
        When a folder is not there.
    """
    given = os.environ.get(DATA, ""), os.environ.get(OUTPUT, ""), os.environ.get(READ_ONLY, "")
    return _parse(*given, os.getcwd() if given[0] or given[1] else "")


@functools.lru_cache(maxsize=8)
def _parse(data: str, output: str, read_only: str, _here: str) -> Places:
    return make_places(
        data=[folder for folder in data.split(os.pathsep) if folder],
        output=output or None,
        read_only=read_only.strip().lower() not in _NO,
    )


def make_places(
    *,
    data: Iterable[str | os.PathLike[str]] = (),
    output: str | os.PathLike[str] | None = None,
    read_only: bool = False,
) -> Places:
    """Return folders as they were named when the pages were started.

    Parameters
    ----------
    data
        Folders that are there.
    output
        A folder; it is made when it is missing, unless nothing may be written.
    read_only
        Whether nothing may be written.

    Raises
    ------
    ValueError
        When a folder is none, is the root of all folders, or ``output`` is given without ``data``.
    """
    folders = tuple(dict.fromkeys(Path(folder).resolve() for folder in data))
    written = Path(output).resolve() if output is not None else None
    if written is not None and not folders:
        raise ValueError("output needs data: name the folders that may be read with --data too.")
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"data must be folders that are there; {folder} is none.")
    if written is not None and not read_only:
        written.mkdir(parents=True, exist_ok=True)
    for name, folder in (*(("data", folder) for folder in folders), ("output", written)):
        if folder is not None and folder == folder.parent:
            raise ValueError(f"{name} must be a folder below the root; got {folder}, which holds every file there is.")
    return Places(folders, written, read_only)


def check_places(data: Iterable[Any] | None, *, reached_by_others: bool) -> None:
    """Refuse to serve pages to other machines without a word on which folders they may have read.

    Parameters
    ----------
    data
        Folders named with ``--data``.
    reached_by_others
        Whether the pages listen on an address, or are opened under a name, that others reach.

    Raises
    ------
    ValueError
        With the cure.
    """
    if reached_by_others and not list(data or ()):
        raise ValueError(
            "data must name the folders that visitors may have read when other machines reach the pages; got none. "
            "Give them with --data FOLDER, and the one that may be written into with --output FOLDER."
        )


def _resolve(path: str | os.PathLike[str], folders: Iterable[Path]) -> Path:
    """Return a typed path absolute and without links; of several folders the first that has it."""
    typed = os.fspath(path)
    if "\0" in typed or any(ord(character) < 32 for character in typed):
        raise Refused(ascii(typed)[1:-1], "must be a path without signs that cannot be seen")
    parts = Path(typed).parts
    if ".." in parts:
        raise Refused(typed, "must be a path without '..'; type it from the root")
    if parts and parts[0].startswith("~"):
        raise Refused(typed, "must not begin with '~'; type it from the root")
    try:
        if Path(typed).is_absolute():
            return Path(typed).resolve()
        folders = tuple(folders)
        found = (real for folder in folders if (real := (folder / typed).resolve()).is_relative_to(folder))
        return next((real for real in found if real.exists()), (folders[-1] / typed).resolve())
    except (RuntimeError, OSError, ValueError):
        raise Refused(typed, _NOT_HERE) from None  # links in a circle, or a name too long


def _listed(folders: tuple[Path, ...]) -> str:
    return ", ".join(map(str, folders[:-1])) + (" or " if len(folders) > 1 else "") + str(folders[-1])
