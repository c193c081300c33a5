"""STAR files: optics groups for RELION, and any file of micrographs without the bad ones."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.exposures._duplicates import Duplicates
from analysis.exposures._lists import MOVIE_PATTERN, check_movie_pattern, name_of_file
from analysis.exposures._optics import OpticsGroups
from analysis.exposures._session import Session
from analysis.files import whole_file

_EPU_NAME = re.compile(r"(?<![A-Za-z0-9])FoilHole_\d+_Data_\d+_\d+_\d{8}_\d{6}(?!\d)")
_NAMING = ("_rlnMicrographName", "_rlnMicrographMovieName")
_TOKEN = re.compile(r"""'[^'\n]*'(?=\s|$)|"[^"\n]*"(?=\s|$)|\S+""")


def write_optics_star(
    groups: OpticsGroups,
    session: Session,
    path: str | os.PathLike[str],
    *,
    movie: str = MOVIE_PATTERN,
    spherical_aberration_mm: float = 2.7,
    amplitude_contrast: float = 0.1,
    voltage_kv: float | None = None,
    pixel_size_angstrom: float | None = None,
) -> Path:
    """Write a STAR file of optics groups and the micrographs in them, as RELION reads it from version 3.1.

    Parameters
    ----------
    groups
        As `assign_optics_groups` returns it.
    session
        Its session, which says voltage and pixel size.
    path
        The file.
    movie
        How the path of a micrograph is made of ``{name}``, such as ``"Movies/{name}_EER.eer"``.
    spherical_aberration_mm, amplitude_contrast
        EPU does not write these.
    voltage_kv, pixel_size_angstrom
        In place of what the session says.

    Returns
    -------
    Path
        The file written, with the blocks ``data_optics`` and ``data_micrographs``.

    Raises
    ------
    ValueError
        When ``movie`` does not say where the name stands, or voltage or pixel size of a group are not known, or are
        several.

    References
    ----------
    RELION 3.1, conventions of STAR files: https://relion.readthedocs.io/en/latest/Reference/Conventions.html
    """
    check_movie_pattern(movie)
    known = session.exposures[["file", "voltage_kv", "pixel_size_angstrom"]]
    members = groups.table[["name", "file", "optics_group"]].merge(known, on="file", how="left", validate="m:1")
    given = {"voltage_kv": voltage_kv, "pixel_size_angstrom": pixel_size_angstrom}
    optics = []
    for number, inside in members.groupby("optics_group"):
        voltage, pixel = (_only(inside, name, given[name], int(number), path) for name in given)
        row = (f"opticsGroup{number}", number, f"{voltage:.6f}", f"{spherical_aberration_mm:.6f}")
        optics.append((*row, f"{amplitude_contrast:.6f}", f"{pixel:.6f}", f"{pixel:.6f}"))
    names = [_quoted(movie.replace("{name}", name)) for name in members["name"]]
    micrographs = list(zip(names, members["optics_group"], strict=True))
    with whole_file(path, "w", encoding="utf-8", newline="") as handle:
        columns = (
            "OpticsGroupName", "OpticsGroup", "Voltage", "SphericalAberration", "AmplitudeContrast",
            "MicrographOriginalPixelSize", "MicrographPixelSize",
        )  # fmt: skip
        handle.writelines(_star_block("optics", columns, optics))
        handle.writelines(_star_block("micrographs", ("MicrographName", "OpticsGroup"), micrographs))
    return Path(path)


def _only(inside: pd.DataFrame, column: str, given: float | None, number: int, path: str | os.PathLike[str]) -> float:
    found = inside[column].dropna().round(6).unique() if given is None else [given]
    if len(found) != 1:
        what = " and ".join(f"{value:g}" for value in found[:3]) or "none"
        raise ValueError(
            f"{column} must be one number in optics group {number} of {os.fspath(path)}; got {what}. Give {column}, "
            "or write the exposures of each setting apart."
        )
    return float(found[0])


def _star_block(name: str, columns: tuple[str, ...], rows: list[tuple[object, ...]]) -> Iterator[str]:
    yield f"\n# version 30001\n\ndata_{name}\n\nloop_\n"
    yield from (f"_rln{column} #{number}\n" for number, column in enumerate(columns, start=1))
    yield from (" ".join(map(str, row)) + "\n" for row in rows)
    yield "\n"


def _quoted(text: str) -> str:
    return f'"{text}"' if re.search(r"\s", text) or text[:1] in "#_;'\"" else text


# --------------------------------------------------------------------------------------------------- cleaning


@dataclass(frozen=True)
class CleanedStar:
    """What was taken out of a STAR file.

    Attributes
    ----------
    table
        One row a block with names of micrographs: ``block, rows, removed``.
    path
        The file written.
    not_in_it
        Names of bad exposures that no row named.
    settings
        The keyword arguments used.
    """

    table: pd.DataFrame
    path: Path
    not_in_it: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """Return how many rows were removed and kept, and how many bad exposures no row named."""
        removed = int(self.table["removed"].sum())
        return {
            "removed": removed,
            "kept": int(self.table["rows"].sum()) - removed,
            "bad_not_in_it": len(self.not_in_it),
            "file": str(self.path),
        }


def clean_star(path: str | os.PathLike[str], duplicates: Duplicates, out: str | os.PathLike[str]) -> CleanedStar:
    """Write a STAR file without the rows that belong to bad exposures; every other byte stays.

    Rows go from every table with ``rlnMicrographName`` or ``rlnMicrographMovieName`` (micrographs, movies,
    particles) when the name of the file there holds the name of a bad exposure, whatever is added before or behind.

    Parameters
    ----------
    path
        The STAR file, of RELION or of a program that writes like it.
    duplicates
        As `find_duplicates` returns it.
    out
        The file to write; not the one that is read.

    Returns
    -------
    CleanedStar

    Raises
    ------
    ValueError
        When ``out`` is the file itself, when no table names micrographs, or when a row cannot be told apart: values
        over several lines, more or fewer values than columns. The message names file and line.
    OSError
        When a file cannot be read or written.
    """
    if os.path.realpath(path) == os.path.realpath(out):
        raise ValueError(f"out must be another file than the one cleaned; got {os.fspath(out)} for both.")
    names, bad = set(duplicates.exposures["name"]), set(duplicates.bad)
    text = Path(path).read_bytes().decode("utf-8", errors="surrogateescape")
    kept: list[str] = []
    rows: Counter[str] = Counter()
    removed: Counter[str] = Counter()
    named: set[str] = set()
    for line, block, value in _star_lines(text, os.fspath(path)):
        if value is not None:
            name = _exposure_of(value, names)
            rows[block] += 1
            if name in bad:
                removed[block] += 1
                named.add(name)
                continue
        kept.append(line)
    if not rows and not any(label in text for label in _NAMING):
        raise ValueError(
            f"{os.fspath(path)} must have a table with {' or '.join(label[1:] for label in _NAMING)}; none is there."
        )
    with whole_file(out) as handle:
        handle.write("".join(kept).encode("utf-8", errors="surrogateescape"))
    table = pd.DataFrame(
        [(block, count, removed[block]) for block, count in rows.items()], columns=["block", "rows", "removed"]
    )
    missing = tuple(name for name in duplicates.bad if name not in named)
    return CleanedStar(table, Path(out), missing, {"path": os.fspath(path), "out": os.fspath(out)})


def _star_lines(text: str, path: str) -> Iterator[tuple[str, str, str | None]]:
    """Yield (line, block, the micrograph's name when the line is a row with one)."""
    block, labels, in_loop = "", [], False
    for number, line in enumerate(_lines(text), start=1):
        bare = line.strip()
        value = None
        if bare.startswith(";") or bare.lower().startswith(("save_", "global_", "stop_")):
            raise ValueError(f"{path} line {number} must be a STAR file of one line a row; got {bare[:40]!r}.")
        if bare.lower().startswith("data_"):
            block, labels, in_loop = bare, [], False
        elif bare.lower() == "loop_":
            labels, in_loop = [], True
        elif bare.startswith("_"):
            if not in_loop and _TOKEN.findall(bare)[0] in _NAMING:
                raise ValueError(f"{path} line {number} must name micrographs in a table (loop_); got {bare[:60]!r}.")
            labels.append(_TOKEN.findall(bare)[0])
        elif bare and not bare.startswith("#") and in_loop:
            value = _named_micrograph(bare, labels, f"{path} line {number}")
        yield line, block, value


def _lines(text: str) -> list[str]:
    """Split at line feeds only: other signs that Python takes for line ends may stand in names."""
    *whole, last = text.split("\n")
    return [*(f"{line}\n" for line in whole), *([last] if last else [])]


def _named_micrograph(row: str, labels: list[str], where: str) -> str | None:
    column = next((labels.index(label) for label in _NAMING if label in labels), None)
    if column is None:
        return None
    values = _TOKEN.findall(row)
    if len(values) != len(labels):
        raise ValueError(f"{where} must have {len(labels)} values, one for each column; got {len(values)}.")
    return values[column].strip("'\"")


def _exposure_of(value: str, names: set[str]) -> str | None:
    """Return the exposure that the file is of; programs put numbers and folders in front of EPU's names."""
    file = value.replace("\\", "/").rsplit("/", 1)[-1]
    found = _EPU_NAME.search(file)
    return found[0] if found else name_of_file(file, names)
