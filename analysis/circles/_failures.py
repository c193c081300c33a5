"""What could not be done: ``failures.csv``, and where its lines come from."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.circles._acquisitions import Acquisitions
from analysis.circles._ledger import FAILURES, Record, now
from analysis.patterns import natural_key
from analysis.tables import read_table


@dataclass(frozen=True)
class Failure:
    """An input that could not be done.

    Attributes
    ----------
    names, fov
        Folders and field of view, as far as known.
    place
        Path of the file from the root.
    stage, reason
        At what it failed, and why.
    when
        When; empty for now.
    """

    names: tuple[str, ...]
    fov: str
    place: str
    stage: str
    reason: str
    when: str = ""


def read_failures(output: str | os.PathLike[str]) -> pd.DataFrame:
    """Read ``failures.csv`` of an output folder: the levels, ``FOV, File, Stage, Reason, When``; all text.

    Parameters
    ----------
    output
        The output folder.

    Raises
    ------
    ValueError
        When it is no such table.
    OSError
        When there is none.
    """
    return read_table(Path(output) / FAILURES, columns=["FOV", "File", "Stage", "Reason", "When"])


def failure_of(key: str, record: Record) -> Failure:
    """Return the failure that a record tells of."""
    *names, fov = key.split("/")
    place = "/".join((*names, record.file))
    return Failure(tuple(names), fov, place, record.stage, record.error, record.when)


def problems_of(found: Acquisitions) -> list[Failure]:
    """Failures of files and folders that cannot be used."""
    failures = []
    for file, error in found.problems.itertuples(index=False):
        place = os.path.relpath(file, os.fsencode(found.root).decode("utf-8", "replace"))
        names = place.split(os.sep)[:-1][: len(found.levels)]
        failures.append(Failure(tuple(names), "", place, "find", error))
    return failures


def failure_rows(levels: tuple[str, ...], failures: Sequence[Failure], path: Path) -> list[tuple[str, ...]]:
    """Lines of the failures; those known before keep their time."""
    before: dict[tuple[str, str], str] = {}
    try:
        with io.StringIO(path.read_bytes().decode("utf-8", "replace"), newline="") as text:
            before = {(row["File"], row["Reason"]): row["When"] for row in csv.DictReader(text)}
    except (OSError, KeyError, csv.Error):
        pass
    rows = []
    for each in failures:
        names = (*each.names, *[""] * (len(levels) - len(each.names)))
        when = each.when or before.get((each.place, each.reason)) or now()
        rows.append((*names, each.fov, each.place, each.stage, each.reason, when))
    return sorted(rows, key=lambda row: tuple(natural_key(name) for name in row[: len(levels) + 2]))
