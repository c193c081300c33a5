"""Why a place was exposed again, judged from its names, its distance, the stage and the foil-hole images."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.exposures._images import SessionImages

REPEATED_SHOT = "repeated shot"
MISSED_MOVE = "missed stage move"
PARTIAL = "partial overlap"
RE_EXPOSED = "re-exposed hole"
CAUSES = (REPEATED_SHOT, MISSED_MOVE, PARTIAL, RE_EXPOSED)

SAME_PICTURE = 0.9
"""Likeness from which two foil-hole images are the same picture."""
STILL_UM = 0.1
"""A stage that reads less than this from where it was has not moved; readings at rest jitter by nanometres."""
PARTIAL_SHARE = 0.25
"""Distance, in beam diameters, from which two places overlap in part only."""


def judging_exposures(pairs: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """Return the row by which each exposure's cause is judged, -1 for none.

    It is the earliest one within the radius, as that one brought the damage; a member that only a later exposure
    joins to its group has none and is judged by the nearest earlier member.

    Parameters
    ----------
    pairs
        (pairs, 2) rows, sorted by the first, which is the earlier one.
    nearest
        (exposures,) row of the nearest earlier member of the group, -1 for none.
    """
    judged_by = nearest.copy()
    second, at = np.unique(pairs[:, 1], return_index=True)
    judged_by[second] = pairs[at, 0]
    return judged_by


def judge_causes(
    exposures: pd.DataFrame, judged_by: np.ndarray, diameters_um: np.ndarray, images: SessionImages | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the likely cause of each exposure, and the likeness of foil-hole images where it was looked at.

    Parameters
    ----------
    exposures
        With ``file, session, grid_square, foil_hole, area, stage_x_um, stage_y_um, x_um, y_um``.
    judged_by
        (exposures,) the row by which each is judged, -1 for none.
    diameters_um
        (exposures,) diameter of the beam.
    images
        To compare the foil-hole images of different holes.

    Returns
    -------
    causes : (exposures,) object array
        One of `CAUSES`, or ``""`` for an exposure that is judged by none.
    likeness : (exposures,) array
        -1 to 1, or NaN.
    """
    causes, likeness = np.full(len(exposures), "", dtype=object), np.full(len(exposures), np.nan)
    later = np.flatnonzero(judged_by >= 0)
    if not later.size:
        return causes, likeness
    second, first = exposures.iloc[later], exposures.iloc[judged_by[later]]
    same_hole = _same(first, second, ("session", "grid_square", "foil_hole"))
    if images is not None:
        likeness[later[~same_hole]] = [
            images.foil_likeness(*files)
            for files in zip(first["file"][~same_hole], second["file"][~same_hole], strict=True)
        ]
    partly = _apart(first, second, "x_um", "y_um") > PARTIAL_SHARE * diameters_um[later]
    still = _apart(first, second, "stage_x_um", "stage_y_um") < STILL_UM
    causes[later] = np.select(
        [same_hole & _same(first, second, ("area",)), likeness[later] >= SAME_PICTURE, partly, still & ~same_hole],
        [REPEATED_SHOT, MISSED_MOVE, PARTIAL, MISSED_MOVE],
        RE_EXPOSED,
    )
    return causes, likeness


def _same(first: pd.DataFrame, second: pd.DataFrame, columns: tuple[str, ...]) -> np.ndarray:
    """Say where all columns agree; an unknown last one (a number EPU did not give) agrees with nothing."""
    alike = [first[name].to_numpy() == second[name].to_numpy() for name in columns]
    return np.logical_and.reduce([*alike, second[columns[-1]].to_numpy() != ""]).astype(bool)


def _apart(first: pd.DataFrame, second: pd.DataFrame, x: str, y: str) -> np.ndarray:
    return np.hypot(second[x].to_numpy() - first[x].to_numpy(), second[y].to_numpy() - first[y].to_numpy())
