"""The table that says which slides make each version of the flatfield, and the record of who registered them."""

from __future__ import annotations

import getpass
import json
import os
import re
import shutil
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.files import NAMELESS_TABLE_S, locked, whole_file
from analysis.flatfield._slides import Slides
from analysis.tables import read_table, write_table

MODEL_TABLE_COLUMNS = ("version", "Project", "Cohort", "BatchID", "SlideID")
_INTEGERS = ("Project", "Cohort", "BatchID")
_VERSION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,59}", re.ASCII)


@dataclass(frozen=True)
class Registration:
    """A version of the flatfield as registered.

    Attributes
    ----------
    table
        The model table as written: ``version, Project, Cohort, BatchID, SlideID`` and what else it holds.
    version
        The version's tag.
    model_table
        The table's file.
    backup
        Copy of the table as it was before, or None when there was none.
    event
        JSON record of this registration.
    replaced
        Slide IDs that the version had before.
    settings
        The keyword arguments used.
    """

    table: pd.DataFrame
    version: str
    model_table: Path
    backup: Path | None
    event: Path
    replaced: tuple[str, ...]
    settings: dict[str, Any]

    def summary(self) -> dict[str, Any]:
        """Return the version, its number of slides, what it replaced, and the files written."""
        return {
            "version": self.version,
            "slides": int((self.table["version"] == self.version).sum()),
            "replaced_slides": len(self.replaced),
            "versions_in_table": int(self.table["version"].nunique()),
            "model_table": str(self.model_table),
            "backup": str(self.backup) if self.backup else None,
            "event": str(self.event),
        }


def check_version(version: str) -> str:
    """Return the version tag when it can be part of a file's name.

    Raises
    ------
    ValueError
        Unless it has 1 to 60 letters, digits, ``.``, ``_`` or ``-``, the first a letter, digit or ``_``,
        the last not a full stop.

    Examples
    --------
    >>> check_version("v1.2-liver")
    'v1.2-liver'
    """
    if not isinstance(version, str) or not _VERSION.fullmatch(version) or version.endswith("."):
        raise ValueError(
            "version must have 1 to 60 letters, digits, full stops, underscores or hyphens, and neither begin "
            f"with a full stop or hyphen nor end with a full stop; got {version!r}."
        )
    return version


def read_model_table(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read the table of registered versions.

    Parameters
    ----------
    path
        CSV file with the columns ``version, Project, Cohort, BatchID, SlideID``; others are kept as text.

    Returns
    -------
    DataFrame
        One row for each slide of each version; ``Project``, ``Cohort`` and ``BatchID`` are int64.

    Raises
    ------
    ValueError
        When a column is missing or a number is not one; the message names file, line and column.
    OSError
        When the file is missing or cannot be opened.
    """
    return read_table(path, columns=MODEL_TABLE_COLUMNS, integers=_INTEGERS)


def register_model(
    slides: Slides, version: str, *, model_table: str | os.PathLike[str], replace: bool = False
) -> Registration:
    """Register slides as the ones that make a version of the flatfield.

    Under a lock, so that any number of people can register at once: the table is read again, copied to a
    dated backup beside it, and replaced in one step. A JSON record of who, when and which slides from which
    roots goes to ``<model table>_events``.

    Parameters
    ----------
    slides
        The slides, `analysis.flatfield.find_slides`.
    version
        Tag of the version, such as ``"v1.1"``.
    model_table
        CSV file with the columns ``version, Project, Cohort, BatchID, SlideID``; made when missing.
    replace
        Whether a version of that tag may be replaced. Its old slides stay in the backup.

    Returns
    -------
    Registration
        The table as written, and the files.

    Raises
    ------
    ValueError
        When the version exists and ``replace`` is not set, the tag is not a tag, or there is no slide.
    TimeoutError
        When somebody else keeps the table locked.

    Examples
    --------
    >>> import tempfile
    >>> from analysis.flatfield import find_slides
    >>> from analysis.synthetic.flatfield import draw_cohort
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     slides = find_slides(draw_cohort(folder, shape=(6, 8, 2)).roots).select("M1_")
    ...     done = register_model(slides, "v1", model_table=f"{folder}/models.csv")
    >>> done.summary()["slides"]
    6
    """
    check_version(version)
    if not len(slides):
        raise ValueError(f"A version must have at least one slide; none is selected for {version}.")
    model_table = Path(model_table)
    settings = {"version": version, "model_table": str(model_table), "replace": replace}
    with locked(model_table, nameless_s=NAMELESS_TABLE_S):
        current = read_model_table(model_table) if model_table.exists() else None
        replaced = _slides_of(current, version)
        if len(replaced) and not replace:
            raise ValueError(_exists_already(model_table, version, replaced))
        changed = _with_version(current, version, slides)
        backup = _back_up(model_table) if current is not None else None
        event = _write_event(model_table, version, slides, replaced, settings)
        try:
            write_table(changed, model_table)
        except BaseException:
            event.unlink(missing_ok=True)
            raise
    return Registration(changed, version, model_table, backup, event, tuple(replaced["SlideID"]), settings)


def _slides_of(table: pd.DataFrame | None, version: str) -> pd.DataFrame:
    if table is None:
        return pd.DataFrame(columns=list(MODEL_TABLE_COLUMNS))
    return table[table["version"] == version]


def _exists_already(model_table: Path, version: str, registered: pd.DataFrame) -> str:
    names = list(registered["SlideID"])
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    slides = "slide" if len(names) == 1 else "slides"
    return (
        f"version must be new in {model_table}; {version} is registered already, with {len(names)} {slides}: {shown}. "
        "Choose another tag, or set replace=True to put the new slides in their place (a backup is kept)."
    )


def _with_version(current: pd.DataFrame | None, version: str, slides: Slides) -> pd.DataFrame:
    """Return the table without the version's old rows and with its new ones at the end."""
    rows = [(version, slide.project, slide.cohort, slide.batch, slide.slide_id) for slide in slides.slides]
    added = pd.DataFrame(rows, columns=list(MODEL_TABLE_COLUMNS))
    if current is None:
        return added
    kept = current[current["version"] != version]
    added = added.reindex(columns=kept.columns, fill_value="")
    return pd.concat([kept, added], ignore_index=True) if len(kept) else added.reset_index(drop=True)


def _time_stamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S.%fZ")


def _unused(folder: Path, name: str, ending: str) -> Path:
    """Return a dated name that no file has; the caller holds the lock."""
    while (path := folder / f"{name}.{_time_stamp()}{ending}").exists():
        pass
    return path


def _back_up(model_table: Path) -> Path:
    backup = _unused(model_table.parent, model_table.stem, ".backup.csv")
    with open(model_table, "rb") as old, whole_file(backup) as new:
        shutil.copyfileobj(old, new)
    return backup


def _events_folder(model_table: Path) -> Path:
    return model_table.with_name(f"{model_table.stem}_events")


def _who() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no such user in a container
        return "unknown"


def _write_event(
    model_table: Path, version: str, slides: Slides, replaced: pd.DataFrame, settings: dict[str, Any]
) -> Path:
    event = {
        "version": version,
        "when_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "who": _who(),
        "machine": socket.gethostname(),
        "slides": [
            {
                "SlideID": slide.slide_id,
                "Project": slide.project,
                "Cohort": slide.cohort,
                "BatchID": slide.batch,
                "root_dir": str(slide.root_dir),
            }
            for slide in slides.slides
        ],
        "replaced": replaced[list(MODEL_TABLE_COLUMNS)].to_dict("records"),
        "settings": {**settings, "slides": slides.settings},
    }
    path = _unused(_events_folder(model_table), version, ".json")
    with whole_file(path, "w", encoding="utf-8") as handle:
        json.dump(event, handle, indent=1, default=str)
    return path


def registered_roots(model_table: str | os.PathLike[str], version: str) -> dict[str, tuple[Path, ...]]:
    """Return the roots of a version's slides as they were when the version was registered.

    Parameters
    ----------
    model_table
        The table of versions.
    version
        Tag of the version.

    Returns
    -------
    dict
        Slide ID to its roots: one, or several when slides of one name were registered together. Empty for
        versions registered by other programs. A record whose slides are not those of the table is passed over.
    """
    model_table = Path(model_table)
    rows = _slides_of(read_model_table(model_table), check_version(version))
    wanted = sorted(rows["SlideID"])
    # `v1` must not take `v1.5`: the version is read from the record, and names begin with the tag and sort by time
    for path in sorted(_events_folder(model_table).glob(f"{version}.*.json"), reverse=True):
        roots: dict[str, tuple[Path, ...]] = {}
        try:
            event = json.loads(path.read_text(encoding="utf-8"))
            if event["version"] != version:
                continue
            for slide in event["slides"]:
                roots[slide["SlideID"]] = (*roots.get(slide["SlideID"], ()), Path(slide["root_dir"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if sorted(name for name, places in roots.items() for _ in places) == wanted:
            return roots
    return {}
