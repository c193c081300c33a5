"""An EPU session as one table: a row for each exposure, in the order in which they were taken."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

TEXTS = ("name", "file", "session", "grid_square", "foil_hole", "area", "acquisition")
NUMBERS = (
    "stage_x_um", "stage_y_um", "stage_z_um", "stage_alpha_deg", "stage_beta_deg",
    "beam_shift_x", "beam_shift_y", "image_shift_x", "image_shift_y", "beam_tilt_x", "beam_tilt_y",
    "beam_diameter_um", "defocus_um", "applied_defocus_um", "dose_e_per_a2", "dose_on_camera_e_per_px",
    "pixel_size_angstrom", "field_width_px", "field_height_px",
    "image_xx_um", "image_xy_um", "image_yx_um", "image_yy_um",
    "exposure_time_s", "magnification", "voltage_kv",
)  # fmt: skip
REMARKS = ("microscope", "camera", "software_version", "fingerprint", "error")
COLUMNS = (*TEXTS, "named_time", "acquired", *NUMBERS, *REMARKS)
NEEDED = ("stage_x_um", "stage_y_um", "beam_shift_x", "beam_shift_y")
SESSION_COLUMNS = ("session", "exposures", "unreadable", "hole_spacing_um", "hole_size_um", "clustering_mode")
PROBLEM_COLUMNS = ("file", "expected", "found", "reason")

_SENTENCE = re.compile(r"(?P<reason>.*?): must (?P<expected>.*); got (?P<found>.*)\.", re.DOTALL)
_SAME_SPACING = 0.1


def make_table(columns: Mapping[str, Any]) -> pd.DataFrame:
    """Return the given columns as a table of exposures; a column that is not given is empty.

    Parameters
    ----------
    columns
        Sequences of one length. ``named_time`` and ``acquired`` are datetimes, or nanoseconds since 1970.

    Returns
    -------
    DataFrame
        With all columns of `Session.table`, in their order and of their types.
    """
    rows = len(next(iter(columns.values()), ()))
    table = {}
    for name in COLUMNS:
        if name in NUMBERS:
            table[name] = np.asarray(columns.get(name, np.full(rows, np.nan)), dtype=float)
        elif name in ("named_time", "acquired"):
            times = np.asarray(columns.get(name, np.full(rows, "NaT")), dtype="datetime64[ns]")
            table[name] = pd.DatetimeIndex(times, tz="UTC" if name == "acquired" else None)
        else:
            table[name] = pd.Series(list(columns.get(name, [""] * rows)), dtype="str")
    return pd.DataFrame(table, columns=list(COLUMNS))


def sort_exposures(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows by session, time of acquisition, name and file; rows without a time come last."""
    times = table["acquired"].dt.tz_localize(None).to_numpy()
    # sorting texts takes longer than reading them, and two exposures hardly ever have one time
    if table["session"].nunique() < 2 and not pd.Index(times).has_duplicates:
        return table.take(np.argsort(times)).reset_index(drop=True)
    return table.sort_values(["session", "acquired", "name", "file"], ignore_index=True, kind="stable")


@dataclass(frozen=True)
class Session:
    """What an EPU session wrote about its exposures.

    Attributes
    ----------
    folder
        Where the session was read.
    table
        One row a data XML, by session, time and name. Text: ``name`` (of the file, without ``.xml``), ``file``
        (below the folder), ``session`` (the folder that holds the session's ``Images-Disc*``, ``""`` for the
        folder itself), ``grid_square``, ``foil_hole``, ``area`` and ``acquisition`` (numbers that EPU gave).
        ``named_time`` (local, from the name) and ``acquired`` (UTC, from the XML). ``stage_x_um, stage_y_um,
        stage_z_um, stage_alpha_deg, stage_beta_deg``; ``beam_shift_x, beam_shift_y`` and the image shift and
        beam tilt of the same form, as EPU writes them (the beam shift has no unit); ``beam_diameter_um,
        defocus_um, applied_defocus_um, dose_e_per_a2, dose_on_camera_e_per_px, pixel_size_angstrom,
        field_width_px, field_height_px`` (of that pixel size); ``image_xx_um, image_xy_um, image_yx_um,
        image_yy_um`` (um on the stage for a pixel of the image, EPU's m11, m12, m21, m22); ``exposure_time_s,
        magnification, voltage_kv, microscope, camera, software_version``; ``fingerprint`` (size and time of the
        file); ``error`` (empty, or why the file could not be used: its numbers are then NaN).
    sessions
        One row a session: ``session, exposures, unreadable, hole_spacing_um, hole_size_um, clustering_mode``;
        the last three are what was asked of EPU, NaN and empty where ``EpuSession.dm`` does not say.
    left_out
        How many files look like data XML by their name and are something else, such as ``*_Fractions.xml``.
    warnings
        Sentences about the folder as a whole.
    unread
        Folders that could not be looked into: ``(folder, expected, found, reason)``.
    settings
        The keyword arguments used.
    """

    folder: Path
    table: pd.DataFrame
    sessions: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(SESSION_COLUMNS)))
    left_out: int = 0
    warnings: tuple[str, ...] = ()
    unread: tuple[tuple[str, str, str, str], ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def exposures(self) -> pd.DataFrame:
        """The rows that can be used: without error, with stage position and beam shift; by time and name."""
        usable = (self.table["error"] == "") & np.isfinite(self.table[list(NEEDED)]).all(axis=1)
        return self.table[usable].sort_values(["acquired", "name", "file"], ignore_index=True, kind="stable")

    @cached_property
    def problems(self) -> pd.DataFrame:
        """One row a file or folder that could not be used: ``file, expected, found, reason``."""
        wrong = self.table[self.table["error"] != ""]
        rows = [(file, *split_sentence(error)) for file, error in zip(wrong["file"], wrong["error"], strict=True)]
        return pd.DataFrame([*self.unread, *rows], columns=list(PROBLEM_COLUMNS), dtype=object)

    @property
    def hole_spacing_um(self) -> float | None:
        """Distance of neighbouring holes as EPU was told, or None when unsaid or said differently."""
        return _agreed(self.sessions["hole_spacing_um"])

    def summary(self) -> dict[str, Any]:
        """Return the numbers of exposures, grid squares, foil holes, sessions, problems and files left out."""
        usable = self.exposures
        return {
            "exposures": len(usable),
            "grid_squares": len(usable[["session", "grid_square"]].drop_duplicates()),
            "foil_holes": len(usable[["session", "grid_square", "foil_hole"]].drop_duplicates()),
            "sessions": self.table["session"].nunique(),
            "problems": len(self.problems),
            "left_out": self.left_out,
            "hole_spacing_um": self.hole_spacing_um,
            "warnings": list(self.warnings),
        }


def split_sentence(error: str) -> tuple[str, str, str]:
    """Return what a sentence ``<reason>: must <expected>; got <found>.`` says: expected, found, reason."""
    match = _SENTENCE.fullmatch(error)
    return (match["expected"], match["found"], match["reason"]) if match else ("", error, "cannot be used")


def _agreed(values: Iterable[float]) -> float | None:
    """Middle of numbers that are alike, None for none and for contradicting ones."""
    known = np.asarray([v for v in values if np.isfinite(v)], dtype=float)
    if not known.size or np.ptp(known) > _SAME_SPACING * known.min():
        return None
    return float(np.median(known))
