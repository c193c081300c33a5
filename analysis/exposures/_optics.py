"""Optics groups: micrographs taken through the same beam shift, and so with the same tilt of the beam."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from analysis.exposures._calibration import Calibration
from analysis.exposures._lattice import hole_terms
from analysis.exposures._session import Session


@dataclass(frozen=True)
class OpticsGroups:
    """Exposures by the lattice cell of their hole's beam shift.

    Attributes
    ----------
    table
        One row an exposure: ``name, file, session, grid_square, foil_hole, area, optics_group`` (from 1).
    centres
        One row a group: ``optics_group, beam_shift_x, beam_shift_y, exposures``; the beam shift is the mean of
        its holes'.
    settings
        The keyword arguments used.
    """

    table: pd.DataFrame
    centres: pd.DataFrame
    settings: dict[str, Any] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """Return the numbers of groups and exposures, and the smallest and largest group."""
        sizes = self.centres["exposures"]
        return {
            "optics_groups": len(self.centres),
            "exposures": len(self.table),
            "smallest": int(sizes.min()) if len(sizes) else 0,
            "largest": int(sizes.max()) if len(sizes) else 0,
        }


def assign_optics_groups(session: Session, calibration: Calibration) -> OpticsGroups:
    """Sort exposures into optics groups, one for each cell of the lattice that beam shifts lie on.

    The shots within a hole belong to one group: their beam shifts differ by less than the aberrations change.
    A hole in a cell that hardly any other uses goes to the nearest group.

    Parameters
    ----------
    session
        Any.
    calibration
        Of the same session.

    Returns
    -------
    OpticsGroups
        Numbered from 1 in the order of the cells.
    """
    exposures = session.exposures
    hole_of = hole_terms(exposures).hole_of
    holes = calibration.holes
    if hole_of.max(initial=-1) + 1 != len(holes):
        raise ValueError(
            f"calibration must be of this session, with its {hole_of.max(initial=-1) + 1} visits of holes; "
            f"got one of {len(holes)}."
        )
    shifts = holes[["beam_shift_x", "beam_shift_y"]].to_numpy()
    label = holes["group"].to_numpy().copy()
    groups = label.max(initial=-1) + 1
    centres = np.stack([shifts[label == group].mean(axis=0) for group in range(groups)])
    odd = label < 0
    if odd.any():
        label[odd] = cKDTree(centres).query(shifts[odd])[1]
    table = exposures[["name", "file", "session", "grid_square", "foil_hole", "area"]].copy()
    table["optics_group"] = label[hole_of] + 1
    centre_table = pd.DataFrame(
        {
            "optics_group": np.arange(1, groups + 1),
            "beam_shift_x": centres[:, 0],
            "beam_shift_y": centres[:, 1],
            "exposures": np.bincount(label[hole_of], minlength=groups),
        }
    )
    return OpticsGroups(table, centre_table)
