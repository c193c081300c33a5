"""Several sessions in one folder: each has films of its own, which lie as they like, on one stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from analysis.exposures._lattice import hole_terms
from analysis.exposures._session import Session

if TYPE_CHECKING:
    from analysis.exposures._calibration import Calibration

_ALIKE = 0.02
"""Share of k up to which two calibrations are the same."""


def split_sessions(session: Session) -> list[Session]:
    """Return the sessions of a folder one by one, those without usable exposures left out."""
    names = session.exposures["session"].unique()
    if len(names) < 2:
        return [session]
    tables = (session.table, session.sessions)
    return [
        replace(session, **dict(zip(("table", "sessions"), (t[t["session"] == name] for t in tables), strict=True)))
        for name in names
    ]


def join_calibrations(session: Session, parts: Sequence[Calibration]) -> Calibration:
    """Return one calibration with the holes of all, in the order of the whole; what is one for all is the first's.

    Parameters
    ----------
    session
        The whole.
    parts
        One for each session in it, in the order of `split_sessions`, all with one matrix.

    Returns
    -------
    Calibration
        Residual over all holes; AFIS groups of two sessions are two.
    """
    names = hole_terms(session.exposures).holes["session"].to_numpy()
    holes, groups = [], 0
    for part, name in zip(parts, pd.unique(session.exposures["session"]), strict=True):
        rows = part.holes.set_index(np.flatnonzero(names == name))
        holes.append(rows.assign(group=np.where(rows["group"] >= 0, rows["group"] + groups, -1)))
        groups += part.groups
    together = pd.concat(holes).sort_index()
    areas = pd.concat([part.areas for part in parts]).drop_duplicates("area", ignore_index=True)
    said = dict.fromkeys(part.warning for part in parts if part.warning)
    return replace(
        parts[0],
        holes=together,
        areas=areas,
        groups=groups,
        collisions=sum(part.collisions for part in parts),
        residual_um=float(np.sqrt((together["residual_um"] ** 2).mean())),
        warning=" ".join(said),
    )


def say_differences(names: Sequence[str], found: Sequence[Calibration], best: Calibration) -> str:
    """Return a sentence about sessions whose calibration is another one than the best, empty for none."""
    others = [
        f"{name or 'the folder itself'} (k {one.k_um_per_unit:.2f}, angle {one.angle_deg:.1f} deg)"
        for name, one in zip(names, found, strict=True)
        if np.linalg.norm(one.matrix - best.matrix) > _ALIKE * np.linalg.norm(best.matrix)
    ]
    if not others:
        return ""
    return (
        f"Sessions of this folder have different calibrations: k {best.k_um_per_unit:.2f}, angle "
        f"{best.angle_deg:.1f} deg is taken for all, and does not hold for {', '.join(others)}. Read those alone."
    )
