"""The tables of all images, and a montage of each experiment, from what is done."""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.circles._acquisitions import Acquisitions, find_acquisitions
from analysis.circles._columns import experiments_text, image_lines, read_experiments
from analysis.circles._failures import Failure, failure_of, failure_rows, problems_of, read_failures
from analysis.circles._ledger import EXPERIMENTS, FAILURES, FOLDER, QC, Ledger, Record
from analysis.circles._plan import below, check_place, refuse_empty
from analysis.files import fingerprint, whole_file
from analysis.patterns import natural_key
from analysis.tables import table_text
from analysis.tasks import Progress, map_tasks

_LAYOUT = "1"
"""Raised when montages are to be made again though nothing in them has changed."""


@dataclass(frozen=True)
class Aggregate:
    """Tables of all images.

    Attributes
    ----------
    output
        The output folder, with ``experiments.csv`` and ``failures.csv``.
    levels
        Names of the levels.
    images, circles, vanished
        How many images are in the table, their circles, and images that are done but whose files are gone.
    failed
        How many lines ``failures.csv`` has.
    written
        Files that were written; the others were as they should be.
    removed
        Files of vanished images that were removed.
    problems
        Pictures and tables that could not be made: ``file, error``.
    settings
        The keyword arguments used.
    warnings
        Sentences about the table.
    """

    output: Path
    levels: tuple[str, ...]
    images: int
    circles: int
    vanished: int
    failed: int
    written: tuple[Path, ...]
    removed: tuple[Path, ...]
    problems: pd.DataFrame
    settings: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @functools.cached_property
    def table(self) -> pd.DataFrame:
        """One row a circle, as `read_experiments` reads it."""
        return read_experiments(self.output / EXPERIMENTS, levels=self.levels)

    @functools.cached_property
    def failures(self) -> pd.DataFrame:
        """One row an input that failed: the levels, ``FOV, File, Stage, Reason, When``; all text."""
        return read_failures(self.output)

    def summary(self) -> dict[str, Any]:
        """Return the numbers of images, circles, failures, vanished images, and files written and removed."""
        return {
            "images": self.images,
            "circles": self.circles,
            "failed": self.failed,
            "vanished": self.vanished,
            "written": len(self.written),
            "removed": len(self.removed),
        }


def read_levels(output: str | os.PathLike[str]) -> tuple[str, ...]:
    """Read what the folders of the acquisitions stood for in the last run.

    Parameters
    ----------
    output
        The output folder.

    Raises
    ------
    ValueError
        When it holds no results.
    """
    known = Ledger(output).recall("run")
    if not known:
        raise ValueError(f"output must hold results of a run; {output} has none. Run the pipeline first.")
    return tuple(known["levels"])


def aggregate_circles(
    output: str | os.PathLike[str],
    *,
    acquisitions: str | os.PathLike[str] | Acquisitions | None = None,
    prune: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> Aggregate:
    """Put the circles of all images together, and the failures, and make montages that are out of date.

    Files whose content would be the same are not touched.

    Parameters
    ----------
    output
        Folder of the results.
    acquisitions
        Folder of the acquisitions, or what was found there; where the last run looked when None.
    prune
        Remove what was written for images whose files are gone. Without, it stays on the disk, and nothing is done
        again when they come back.
    workers
        Montages at a time; all cores when None.
    progress
        Called with what is done, how much there is, and words.
    cancel
        Stops when set.

    Returns
    -------
    Aggregate
        Images whose files are gone are not in its table.

    Raises
    ------
    ValueError
        When the output folder holds no results, or the acquisitions are gone.
    TimeoutError
        When another run writes these tables for minutes.
    OSError
        When a table cannot be written.
    analysis.tasks.Cancelled
        When it was stopped.
    """
    ledger = Ledger(output)
    if isinstance(acquisitions, Acquisitions):
        found = acquisitions
    else:
        levels = read_levels(output)
        source = acquisitions if acquisitions is not None else ledger.recall("run")["source"]
        found = find_acquisitions(source, levels=levels, progress=progress, cancel=cancel)
    check_place(found.root, output)
    check_prune(found, ledger, prune=prune)
    return put_together(found, ledger, prune=prune, workers=workers, progress=progress, cancel=cancel)


def check_prune(found: Acquisitions, ledger: Ledger, *, prune: bool) -> None:
    """Refuse to remove what was written for the images of another folder, or of other levels.

    Raises
    ------
    ValueError
        With both folders.
    """
    known = ledger.recall("run")
    here = {"source": os.path.realpath(found.root), "levels": list(found.levels)}
    if prune and known and known != here:
        before = f"{known.get('source')}, {','.join(known.get('levels', ()))}"
        raise ValueError(
            f"prune must be asked for with the acquisitions of the run before ({before}); got {here['source']}, "
            f"{','.join(found.levels)}. If these are the right ones, run once without prune."
        )


def put_together(
    found: Acquisitions,
    ledger: Ledger,
    *,
    further: Sequence[Failure] = (),
    prune: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> Aggregate:
    """Do what `aggregate_circles` does.

    Parameters
    ----------
    found
        What was found.
    ledger
        What is done.
    further
        Failures that are in no record.
    prune, workers, progress, cancel
        As there.
    """
    with ledger.alone():
        records = ledger.read_all()
        refuse_empty(found, records)
        current, gone = _sort_out(found, records)
        removed = _prune(ledger, records, gone) if prune else []
        done = [key for key in current if records[key].state == "done"]
        failures = [failure_of(key, records[key]) for key in current if records[key].state == "failed"]
        failures += [*further, *problems_of(found)]
        written, unread = _write_tables(found.levels, ledger, records, done, failures)
        pictures, problems = _write_montages(ledger, records, done, workers, progress, cancel)
    problems += unread
    table = pd.DataFrame([(f.place, f.reason) for f in problems], columns=["file", "error"], dtype=object)
    return Aggregate(
        ledger.output, found.levels, len(done), sum(records[key].circles for key in done), len(gone),
        len(failures) + len(unread), tuple(written + pictures), tuple(removed), table, {"prune": prune},
        _warnings([records[key] for key in done]),
    )  # fmt: skip


# ---------------------------------------------------------------------------------------- what counts


def _sort_out(found: Acquisitions, records: dict[str, Record]) -> tuple[list[str], list[str]]:
    """Images whose records count, in order, and those that are gone."""
    listed = {image.key: os.path.basename(image.file) for image in found.rows}
    places = {image.place for image in found.rows}
    current, gone = [], []
    for key, record in records.items():
        *names, _ = key.split("/")
        there = listed.get(key) == record.file or below(key, found.unread)
        if not there and key not in listed:
            there = _came_later(found, "/".join((*names, record.file)), places)
        (current if there and len(names) == len(found.levels) else gone).append(key)
    return sorted(current, key=_order), sorted(gone)


def _came_later(found: Acquisitions, place: str, places: set[str]) -> bool:
    """Whether another run found a file after we had looked; a file listed under another name has not come later."""
    return place not in places and os.path.exists(found.root / place)


def _order(key: str) -> tuple[Any, ...]:
    return tuple(map(natural_key, key.split("/")))


def _prune(ledger: Ledger, records: dict[str, Record], gone: Sequence[str]) -> list[Path]:
    removed = []
    for key in gone:
        removed += ledger.remove_outputs([*records[key].outputs, f"{FOLDER}/{key}.json"])
    left = {key.rpartition("/")[0] for key in records.keys() - set(gone)}
    for folder in sorted({key.rpartition("/")[0] for key in gone} - left):
        if _mark_of(ledger.output / QC / f"{folder}.png"):
            removed += ledger.remove_outputs([f"{QC}/{folder}.png"])
    for path in removed:
        for folder in itertools.takewhile(lambda each: each != ledger.output, path.parents):
            try:
                folder.rmdir()
            except OSError:
                break
    return removed


def _warnings(records: Sequence[Record]) -> tuple[str, ...]:
    kinds = {(record.method, *map(str, sorted(record.recipe.items()))) for record in records}
    if len(kinds) < 2:
        return ()
    return (f"The images were done with {len(kinds)} different settings or methods; a whole run brings them to one.",)


# --------------------------------------------------------------------------------------------- tables


def _write_tables(
    levels: tuple[str, ...], ledger: Ledger, records: dict[str, Record], done: Sequence[str],
    failures: Sequence[Failure],
) -> tuple[list[Path], list[Failure]]:  # fmt: skip
    """Write both tables unless they are up to date; return what was written and what could not be read."""
    paths = ledger.output / EXPERIMENTS, ledger.output / FAILURES
    token = _hash([*levels, *(f"{key} {records[key].when}" for key in done), *map(repr, failures)])
    kept = ledger.recall("aggregate")
    if kept.get("token") == token and kept.get("files") == [_fingerprint(path) for path in paths]:
        return [], []
    calibrated = any(records[key].calibrated for key in done)
    images, unread = [], []
    for key in done:
        try:
            lines = image_lines(f"{ledger.output}/circles/{key}.csv", calibrated=records[key].calibrated)
        except (OSError, ValueError) as error:
            *names, fov = key.split("/")
            place = "/".join((*names, records[key].file))
            unread.append(Failure(tuple(names), fov, place, "tables", " ".join(str(error).split())))
        else:
            images.append((key.split("/"), lines))
    text = "".join(experiments_text(levels, images, calibrated=calibrated))
    written = [paths[0]] if _write_changed(paths[0], text) else []
    rows = failure_rows(levels, [*failures, *unread], paths[1])
    columns = [*levels, "FOV", "File", "Stage", "Reason", "When"]
    if _write_changed(paths[1], table_text(pd.DataFrame(rows, columns=columns, dtype=object))):
        written.append(paths[1])
    if not unread:
        ledger.remember("aggregate", {"token": token, "files": [_fingerprint(path) for path in paths]})
    return written, unread


def _write_changed(path: Path, text: str) -> bool:
    content = text.encode()
    try:
        if path.stat().st_size == len(content) and path.read_bytes() == content:
            return False
    except OSError:
        pass
    with whole_file(path) as handle:
        handle.write(content)
    return True


def _fingerprint(path: Path) -> str:
    try:
        return fingerprint(path)
    except OSError:
        return ""


def _hash(words: Iterable[str]) -> str:
    return hashlib.blake2b("\0".join(words).encode("utf-8", "replace"), digest_size=16).hexdigest()


# ------------------------------------------------------------------------------------------- montages


def _write_montages(
    ledger: Ledger, records: dict[str, Record], done: Sequence[str], workers: int | None, progress: Progress | None,
    cancel: threading.Event | None,
) -> tuple[list[Path], list[Failure]]:  # fmt: skip
    """Make the montages that are out of date; return them, and those that could not be made."""
    todo = []
    for folder, group in itertools.groupby(done, key=lambda key: key.rpartition("/")[0]):
        keys = [key for key in group if f"{FOLDER}/{key}.crops.png" in records[key].outputs]
        mark = _hash([_LAYOUT, *(_made_of(key, records[key]) for key in keys)])
        if keys and _mark_of(ledger.output / QC / f"{folder}.png") != mark:
            todo.append((folder, keys, sum(records[key].circles for key in keys), mark))
    if not todo:
        return [], []
    work = functools.partial(_write_montage, ledger)
    written, problems = [], []
    how = {"workers": workers, "progress": progress, "cancel": cancel, "words": "making montages"}
    for (folder, *_), path, error in map_tasks(work, todo, **how):
        if error is None:
            written.append(path)
        elif isinstance(error, (OSError, ValueError)):
            problems.append(Failure(tuple(folder.split("/")), "", f"{QC}/{folder}.png", "montage", str(error)))
        else:
            raise error
    return written, problems


def _made_of(key: str, record: Record) -> str:
    """What an image's crops depend on."""
    return f"{key} {record.pixels} {record.method} {sorted(record.recipe.items())}"


def _mark_of(path: Path) -> str:
    from analysis.circles._montage import read_mark

    return read_mark(path)


def _write_montage(ledger: Ledger, task: tuple[str, list[str], int, str]) -> Path:
    from analysis.circles._montage import encode_montage, make_montage, read_crops

    folder, keys, total, mark = task
    crops = [(key.rpartition("/")[2], read_crops(f"{ledger.folder}/{key}.crops.png")) for key in keys]
    path = ledger.output / QC / f"{folder}.png"
    content = encode_montage(make_montage(crops, title=folder, total=total), mark)
    with whole_file(path, durable=False) as handle:
        handle.write(content)
    return path
