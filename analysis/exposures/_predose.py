"""How much of each exposure's field was exposed before, and the dose it had then."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from analysis.exposures._calibration import Calibration
from analysis.exposures._duplicates import filled_diameters, leave_out_copies
from analysis.exposures._pairs import find_pairs
from analysis.exposures._session import Session

Field = Literal["camera", "beam"]

SAMPLES = 48
"""Points along each side of a field."""
_BATCH_BYTES = 32e6


@dataclass(frozen=True)
class Predose:
    """What each field had been exposed to before its own exposure.

    Attributes
    ----------
    table
        One row an exposure, in order of acquisition: ``name, file, session, grid_square, x_um, y_um,
        share_exposed`` (of the field, 0 to 1), ``predose_e_per_a2`` (mean over the field), ``highest_e_per_a2``
        (of any point) and ``earlier_exposures`` (how many reach the field). NaN where the size of the field, or
        the dose of an earlier exposure, is not known.
    settings
        The keyword arguments used.
    """

    table: pd.DataFrame
    settings: dict[str, Any] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """Return the largest shares and doses, and how many fields were exposed before by half or more."""
        share = self.table["share_exposed"]
        return {
            "exposures": len(share),
            "measured": int(share.notna().sum()),
            "exposed_before": int((share > 0).sum()),
            "half_exposed": int((share >= 0.5).sum()),
            "largest_share": float(share.max()),
            "mean_predose_e_per_a2": float(self.table["predose_e_per_a2"].mean()),
            "highest_e_per_a2": float(self.table["highest_e_per_a2"].max()),
        }


def measure_predose(session: Session, calibration: Calibration, *, field: Field = "camera") -> Predose:
    """Measure how much of each field was exposed before, and its dose.

    The beam of an exposure is taken for a disc of its ``beam_diameter_um`` (the most frequent one where EPU wrote
    none) that gives ``dose_e_per_a2`` evenly. Each field is sampled at 48 x 48 points; the share is right to
    0.01, and to 0.005 in most fields.

    Parameters
    ----------
    session
        As `read_epu_session` returns it.
    calibration
        Gives the places of the exposures.
    field
        ``"camera"``: the rectangle that the camera sees, pixel size x pixels, turned as EPU's image matrix says
        (along the stage's axes where it says nothing). ``"beam"``: the disc of the exposure's own beam.

    Returns
    -------
    Predose
        Only exposures of the same session that were taken earlier count.

    Raises
    ------
    ValueError
        When no file says the size of the beam, or of the field that is asked for, or when more than 5 million
        pairs of exposures may reach each other.

    Examples
    --------
    >>> from analysis.exposures import assume_beam_shift
    >>> from analysis.synthetic.exposures import draw_exposures
    >>> drawn = draw_exposures(grid_squares=1, repeated_shots=1, seed=1)
    >>> predose = measure_predose(drawn.session, assume_beam_shift(drawn.session, drawn.matrix))
    >>> predose.summary()["half_exposed"]
    1
    """
    if field not in ("camera", "beam"):
        raise ValueError(f"field must be camera or beam; got {field!r}.")
    rows = leave_out_copies(session.exposures)[0]
    discs = filled_diameters(rows)
    if len(rows) and np.isnan(discs).all():
        raise ValueError("beam_diameter_um must be known to measure earlier doses; no file says the beam's diameter.")
    frames = _camera_frames(rows) if field == "camera" else discs[:, None, None] * np.eye(2)
    if len(rows) and np.isnan(frames).any(axis=(1, 2)).all():
        raise ValueError(
            "pixel_size_angstrom, field_width_px and field_height_px must be known for the camera's field; no file "
            'says all. Use field="beam".'
        )
    positions = np.asarray(calibration.positions(rows), dtype=float).reshape(-1, 2)
    pairs = _reaching(positions, pd.factorize(rows["session"])[0], discs, frames)
    measured = _sum_doses(positions, pairs, discs / 2, rows["dose_e_per_a2"].to_numpy(), frames, _points(field))
    known = np.isfinite(frames).all(axis=(1, 2))
    table = rows[["name", "file", "session", "grid_square"]].assign(
        x_um=positions[:, 0],
        y_um=positions[:, 1],
        **{name: np.where(known, values, np.nan) for name, values in measured.items() if name != "earlier_exposures"},
        earlier_exposures=measured["earlier_exposures"],
    )
    return Predose(table, {"field": field})


def _points(field: Field) -> np.ndarray:
    """Return sample points of the unit square, or of the unit disc, about its centre: (points, 2)."""
    across = (np.arange(SAMPLES) + 0.5) / SAMPLES - 0.5
    points = np.stack(np.meshgrid(across, across), axis=-1).reshape(-1, 2)
    return points if field == "camera" else points[np.hypot(*points.T) <= 0.5]


def _camera_frames(rows: pd.DataFrame) -> np.ndarray:
    """Return what turns the unit square into each camera's field on the stage, (rows, 2, 2) in um."""
    sides_px = rows[["field_width_px", "field_height_px"]].to_numpy()
    pixel_um = rows["pixel_size_angstrom"].to_numpy() * 1e-4
    # EPU writes the matrix for row vectors: (x, y) = (column, row) M
    turned = rows[["image_xx_um", "image_yx_um", "image_xy_um", "image_yy_um"]].to_numpy().reshape(-1, 2, 2)
    scale = np.sqrt(np.abs(turned[:, 0, 0] * turned[:, 1, 1] - turned[:, 0, 1] * turned[:, 1, 0]))
    says = np.isfinite(scale) & (scale > 0)
    turned = np.where(says[:, None, None], turned / np.where(says, scale, 1)[:, None, None], np.eye(2))
    pixel_um = np.where(np.isfinite(pixel_um) & (pixel_um > 0), pixel_um, np.where(says, scale, np.nan))
    return turned * (np.where(sides_px > 0, sides_px, np.nan) * pixel_um[:, None])[:, None, :]


def _reaching(positions: np.ndarray, session: np.ndarray, discs: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Return pairs (earlier, later), (pairs, 2), whose earlier disc may reach the later field; by the later one."""
    if not len(positions):
        return np.empty((0, 2), dtype=int)
    corners = np.hypot(*(frames @ [[0.5, 0.5], [0.5, -0.5]]).transpose(1, 0, 2)).max(axis=1)
    largest = np.nanmax(corners) + np.nanmax(discs) / 2
    pairs, distances = find_pairs(positions, session, largest, name="reach of the beam")
    pairs = pairs[distances <= corners[pairs[:, 1]] + discs[pairs[:, 0]] / 2]
    return pairs[np.lexsort(pairs.T)]


def _sum_doses(
    positions: np.ndarray,
    pairs: np.ndarray,
    radii: np.ndarray,
    doses: np.ndarray,
    frames: np.ndarray,
    points: np.ndarray,
) -> dict[str, np.ndarray]:
    """Add up the earlier discs at the points of every field, some fields at a time."""
    found = {
        name: np.zeros(len(positions), dtype=kind)
        for name, kind in (
            ("share_exposed", float),
            ("predose_e_per_a2", float),
            ("highest_e_per_a2", float),
            ("earlier_exposures", int),
        )
    }
    later, starts, counts = np.unique(pairs[:, 1], return_index=True, return_counts=True)
    batch = max(1, int(_BATCH_BYTES / (8 * len(points))))
    for at in range(0, len(later), batch):
        rows, start, count = later[at : at + batch], starts[at : at + batch], counts[at : at + batch]
        x, y = (frames[rows] @ points.T).transpose(1, 0, 2)
        dose, number = np.zeros(x.shape), np.zeros(len(rows), dtype=int)
        exposed = np.zeros(x.shape, dtype=bool)
        # the first earlier disc of every field, then the second of those that have one, ...
        for turn in range(count.max()):
            some = np.flatnonzero(count > turn)
            earlier = pairs[start[some] + turn, 0]
            from_x, from_y = (positions[earlier] - positions[rows[some]]).T
            hit = (x[some] - from_x[:, None]) ** 2 + (y[some] - from_y[:, None]) ** 2 <= radii[earlier, None] ** 2
            exposed[some] |= hit
            dose[some] += np.where(hit, doses[earlier, None], 0.0)
            number[some] += hit.any(axis=1)
        found["share_exposed"][rows] = exposed.mean(axis=1)
        found["predose_e_per_a2"][rows] = dose.mean(axis=1)
        found["highest_e_per_a2"][rows] = dose.max(axis=1)
        found["earlier_exposures"][rows] = number
    return found
