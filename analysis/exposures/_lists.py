"""Lists of bad exposures for other programs, and the tables of a result."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from analysis.exposures._duplicates import Duplicates
from analysis.exposures._predose import Predose
from analysis.files import whole_file
from analysis.tables import write_table

MOVIE_SUFFIXES = (".tiff", ".tif", ".eer", ".mrc", ".mrcs")
MOVIE_PATTERN = "{name}_fractions.tiff"
"""Name of a movie where none is looked for, as EPU gives it on a Falcon camera."""
_NO_MOVIE = re.compile(r"gain|defect", re.IGNORECASE)


@dataclass(frozen=True)
class BadFiles:
    """Which files of bad exposures were listed.

    Attributes
    ----------
    table
        One row a bad exposure and movie, in order of acquisition: ``name, jpg`` (path of the micrograph's picture),
        ``tiff`` (name EPU gives the movie), ``movie`` (path of the one found, or ``""``), ``found``.
    files
        The lists written.
    problems
        Sentences: movies missing or there several times, folders that could not be looked into.
    settings
        The keyword arguments used.
    """

    table: pd.DataFrame
    files: tuple[Path, ...]
    problems: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """Return how many are bad, of how many a movie was found, and what was written."""
        found = self.table["name"][self.table["found"]].nunique()
        return {
            "bad": self.table["name"].nunique(),
            "movies_found": int(found),
            "files": [str(path) for path in self.files],
            "problems": list(self.problems),
        }


def write_bad_files(
    duplicates: Duplicates,
    out: str | os.PathLike[str] = "duplicates",
    *,
    folder: str | os.PathLike[str] = ".",
    rawdata: str | os.PathLike[str] | None = None,
) -> BadFiles:
    """Write the lists of bad exposures, one file a line, in order of acquisition.

    ``<out>_badfiles_jpg.txt`` holds the micrographs' pictures, ``<out>_badfiles_tiff.txt`` the names of the movies
    (``<name>_fractions.tiff``); with ``rawdata`` also ``<out>_badfiles_rawdata.txt`` with the paths of all movies
    found and ``<out>_badfiles_notfound.txt`` with the names of exposures without one. Lists are written when they
    are empty, too, so that no older list stays.

    Parameters
    ----------
    duplicates
        As `find_duplicates` returns it.
    out
        How the names of the lists start; may lead into another folder.
    folder
        Where the session was read.
    rawdata
        Folder to look for movies in, at any depth.

    Returns
    -------
    BadFiles

    Raises
    ------
    ValueError
        When ``rawdata`` is no folder.
    OSError
        When a list cannot be written.
    """
    bad = duplicates.exposures[duplicates.exposures["bad"]].drop_duplicates("name")
    problems: list[str] = []
    movies = find_movies(rawdata, bad["name"], problems=problems) if rawdata is not None else {}
    rows = [
        (name, str(Path(folder) / PurePosixPath(file).with_suffix(".jpg")), MOVIE_PATTERN.format(name=name), str(movie))
        for name, file in zip(bad["name"], bad["file"], strict=True)
        for movie in movies.get(name) or [""]
    ]
    table = pd.DataFrame(rows, columns=["name", "jpg", "tiff", "movie"], dtype="str")
    table["found"] = table["movie"] != ""
    lists = {"jpg": table["jpg"].unique(), "tiff": table["tiff"].unique()}
    if rawdata is not None:
        missing = table["name"][~table["found"]]
        lists |= {"rawdata": table["movie"][table["found"]], "notfound": missing}
        problems += _say_movies(movies, missing, rawdata)
    files = tuple(write_lines(f"{os.fspath(out)}_badfiles_{kind}.txt", lines) for kind, lines in lists.items())
    settings = {"out": os.fspath(out), "folder": os.fspath(folder), "rawdata": rawdata and os.fspath(rawdata)}
    return BadFiles(table, files, tuple(problems), settings)


def _say_movies(movies: dict[str, list[Path]], missing: pd.Series, rawdata: str | os.PathLike[str]) -> list[str]:
    said = []
    if len(missing):
        said.append(
            f"{len(missing)} of {len(movies)} bad exposures have no movie ({', '.join(MOVIE_SUFFIXES)}) of their name "
            f"in {os.fspath(rawdata)}; the first is {missing.iloc[0]}."
        )
    several = [name for name, paths in movies.items() if len(paths) > 1]
    if several:
        said.append(f"{len(several)} bad exposures have several movies, all listed; the first is {several[0]}.")
    return said


def find_movies(
    rawdata: str | os.PathLike[str], names: Iterable[str], *, problems: list[str] | None = None
) -> dict[str, list[Path]]:
    """Find the movies of exposures by their names, in one walk through a folder.

    A movie is a file ``<name>``, ``<name>.<anything>`` or ``<name>_<anything>`` that ends in .tiff, .tif, .eer, .mrc
    or .mrcs, in capitals or not; names with "gain" or "defect" in what follows are not taken.

    Parameters
    ----------
    rawdata
        The folder; links to folders are followed, each folder once.
    names
        Names of exposures, as in ``Session.table``.
    problems
        A list to which sentences about folders that could not be looked into are added.

    Returns
    -------
    dict
        Paths of every name, sorted; empty where there is none.

    Raises
    ------
    ValueError
        When ``rawdata`` is no folder.
    """
    if not os.path.isdir(rawdata):
        raise ValueError(f"rawdata must be a folder with movies; got {os.fspath(rawdata)}, which is none.")
    found: dict[str, list[Path]] = {name: [] for name in names}
    seen = {os.path.realpath(rawdata)}

    def refused(error: OSError) -> None:
        if problems is not None:
            problems.append(f"{error.filename} could not be looked into for movies: {error.strerror}.")

    for folder, folders, files in os.walk(rawdata, followlinks=True, onerror=refused):
        folders[:] = [name for name in sorted(folders) if _is_new(os.path.join(folder, name), seen)]
        for file in files:
            stem, suffix = os.path.splitext(file)
            name = name_of_file(stem, found) if suffix.lower() in MOVIE_SUFFIXES else None
            if name is not None and not _NO_MOVIE.search(stem[len(name) :]):
                found[name].append(Path(folder, file))
    return {name: sorted(paths) for name, paths in found.items()}


def _is_new(folder: str, seen: set[str]) -> bool:
    """Say whether a folder was not seen yet; only links can lead to one again."""
    real = os.path.realpath(folder) if os.path.islink(folder) else folder
    if real in seen:
        return False
    seen.add(real)
    return True


def name_of_file(stem: str, names: Collection[str]) -> str | None:
    """Return the longest name with which a file's name starts and after which it ends or goes on with . or _."""
    if stem in names:
        return stem
    for at in range(len(stem) - 1, 0, -1):
        if stem[at] in "._" and stem[:at] in names:
            return stem[:at]
    return None


def write_exposure_list(
    duplicates: Duplicates,
    out: str | os.PathLike[str] = "duplicates",
    *,
    rawdata: str | os.PathLike[str] | None = None,
    movie: str = MOVIE_PATTERN,
) -> tuple[Path, Path]:
    """Write the paths of movies to reject and of those to keep, one a line, for cryoSPARC's Exposure Sets.

    The Exposure Sets Tool takes one set of exposures from another by their paths: import the movies of the first
    list as the set to be taken away.

    Parameters
    ----------
    duplicates
        As `find_duplicates` returns it.
    out
        How the names start: ``<out>_cryosparc_paths.txt`` lists the bad, ``<out>_cryosparc_keep_paths.txt`` the others.
    rawdata
        Folder to look for movies in. Exposures without one there are in neither list.
    movie
        Without ``rawdata``: how the path of a movie is made of ``{name}``.

    Returns
    -------
    tuple of Path
        The two lists.

    Raises
    ------
    ValueError
        When ``rawdata`` is no folder, or ``movie`` does not say where the name stands.
    """
    check_movie_pattern(movie)
    names = duplicates.exposures["name"].drop_duplicates()
    bad = set(duplicates.bad)
    if rawdata is None:
        paths = {name: [movie.replace("{name}", name)] for name in names}
    else:
        paths = find_movies(os.path.abspath(rawdata), names)
    reject = [path for name in names if name in bad for path in paths[name]]
    keep = [path for name in names if name not in bad for path in paths[name]]
    root = os.fspath(out)
    return write_lines(f"{root}_cryosparc_paths.txt", reject), write_lines(f"{root}_cryosparc_keep_paths.txt", keep)


def check_movie_pattern(movie: str) -> None:
    """Refuse a pattern that makes the same path of every name."""
    if "{name}" not in movie:
        raise ValueError(f"movie must have {{name}} where the exposure's name stands; got {movie!r}.")


def write_tables(
    duplicates: Duplicates, out: str | os.PathLike[str] = "duplicates", *, predose: Predose | None = None
) -> list[Path]:
    """Write the tables of a result as CSV.

    Parameters
    ----------
    duplicates
        As `find_duplicates` returns it: gives ``<out>_exposures.csv``, ``<out>_groups.csv`` (members of groups),
        ``<out>_pairs.csv`` (``first`` and ``second`` count the rows of the exposures from 0) and
        ``<out>_squares.csv``.
    out
        How the names start.
    predose
        As `measure_predose` returns it: gives ``<out>_predose.csv``.

    Returns
    -------
    list of Path
        The files written.
    """
    tables = {
        "exposures": duplicates.exposures.drop(columns="judged_by"),
        "groups": duplicates.table,
        "pairs": duplicates.pairs,
        "squares": duplicates.squares,
    }
    if predose is not None:
        tables["predose"] = predose.table
    return [write_table(table, f"{os.fspath(out)}_{name}.csv") for name, table in tables.items()]


def write_lines(path: str | os.PathLike[str], lines: Iterable[object]) -> Path:
    """Write one thing a line, whole or not at all; names that are no UTF-8 keep their bytes."""
    with whole_file(path, "w", encoding="utf-8", errors="surrogateescape", newline="") as handle:
        handle.writelines(f"{line}\n" for line in lines)
    return Path(path)
