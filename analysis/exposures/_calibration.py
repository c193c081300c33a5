"""From beam shift to micrometres on the stage: the matrix that puts all foil holes on one lattice."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from analysis.exposures._fit import Holes, LatticeFit, filled, fit_lattice, sharpen
from analysis.exposures._lattice import HoleTerms, beam_shift_lattice, hole_terms
from analysis.exposures._orientation import Orientation, find_positions, neighbouring, refine, search, symmetric
from analysis.exposures._session import Session
from analysis.tasks import Progress

SAFE_MARGIN = 10.0
"""Below this margin another orientation may be the right one."""
SPACINGS_UM = {"R1.2/1.3": 2.5, "R2/1": 3.0, "R2/2": 4.0, "R2/4": 6.0}
"""Distance between neighbouring holes of common foils."""
_ANY_SPACING_UM = (1.4, 6.5)
_SPACING_LEEWAY = 0.08
_COLLISION_COST = 50.0
_HINT_LEEWAY = 0.1
_RARE = 1 / 3
"""Cells with up to this share of the usual cell's holes are no group of their own."""


@dataclass(frozen=True)
class Calibration:
    """What a unit of beam shift is on the stage: ``position_um = stage_um + matrix @ beam_shift``.

    Attributes
    ----------
    matrix
        (2, 2) um per unit.
    method
        ``"lattice"``, ``"scalar"`` or ``"matrix"``.
    residual_um
        Root mean square distance of the foil holes from the lattice fitted to them; NaN without a lattice.
    collisions
        Holes that fall into a lattice cell with another hole; holes that were exposed again do so rightly.
    groups
        Number of AFIS groups: lattice cells of the beam shift that are in use.
    margin
        How much likelier this orientation is than the runner-up, as a natural logarithm; NaN unless fitted.
    lattice_um
        (2, 2) basis of the holes on the stage; columns are the vectors.
    holes
        One row a visit of a hole: ``session, grid_square, foil_hole, beam_shift_x, beam_shift_y, stage_x_um,
        stage_y_um, x_um, y_um, cell_row, cell_column, lattice_x_um, lattice_y_um, residual_um, group``; the beam
        shift is that of the hole, without its shot area; ``group`` is the AFIS group from 0, -1 for none.
    areas
        One row a shot area: ``area, beam_shift_x, beam_shift_y, x_um, y_um, exposures``, from the hole's centre.
    table
        Orientations that were tried to the end, best first: ``k_um_per_unit, angle_deg, mirrored, residual_um,
        collisions, filled, score``; ``filled`` is the share of lattice cells within the holes' outline that
        hold one, and ``score`` the logarithm of the likelihood.
    warning
        What speaks against trusting it; empty for nothing.
    settings
        The keyword arguments used.
    """

    matrix: np.ndarray
    method: str
    residual_um: float
    collisions: int
    groups: int
    margin: float
    lattice_um: np.ndarray
    holes: pd.DataFrame
    areas: pd.DataFrame
    table: pd.DataFrame
    warning: str = ""
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def k_um_per_unit(self) -> float:
        """Um on the stage for a unit of beam shift: root of the matrix's determinant."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix))))

    @property
    def angle_deg(self) -> float:
        """Angle by which the beam shift's x axis is turned on the stage, -180 to 180."""
        return float(np.degrees(np.arctan2(self.matrix[1, 0], self.matrix[0, 0])))

    @property
    def mirrored(self) -> bool:
        """Whether the beam shift's axes have the other hand than the stage's."""
        return bool(np.linalg.det(self.matrix) < 0)

    @property
    def hole_spacing_um(self) -> float:
        """Distance between neighbouring holes that the fit found; NaN without a lattice."""
        return float(np.sqrt(abs(np.linalg.det(self.lattice_um))))

    def positions(self, exposures: pd.DataFrame) -> np.ndarray:
        """Return where exposures were taken.

        Parameters
        ----------
        exposures
            With ``stage_x_um, stage_y_um, beam_shift_x, beam_shift_y``.

        Returns
        -------
        numpy.ndarray
            (exposures, 2) um on the stage.
        """
        stage = exposures[["stage_x_um", "stage_y_um"]].to_numpy(float)
        return stage + exposures[["beam_shift_x", "beam_shift_y"]].to_numpy(float) @ self.matrix.T

    def summary(self) -> dict[str, Any]:
        """Return k, angle, hand, residual, groups, collisions, margin, hole spacing, method, matrix and warning."""
        return {
            "k_um_per_unit": self.k_um_per_unit,
            "angle_deg": self.angle_deg,
            "mirrored": self.mirrored,
            "residual_um": self.residual_um,
            "groups": self.groups,
            "collisions": self.collisions,
            "margin": self.margin,
            "hole_spacing_um": self.hole_spacing_um,
            "method": self.method,
            "matrix_um_per_unit": self.matrix.tolist(),
            "warning": self.warning,
        }


def calibrate_beam_shift(
    session: Session,
    *,
    hole_spacing_um: float | None = None,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> Calibration:
    """Find what a unit of beam shift is on the stage from the lattice of foil holes.

    The holes reached from one stage position show the lattice in beam shift; the stage positions lie on the
    same lattice in micrometres. Scale, turn and hand are searched for which both agree in every grid square,
    refined by least squares, and judged by how far stage positions are from the lattice, by holes that fall
    into one cell, and by cells left empty.

    Parameters
    ----------
    session
        Of any number of grid squares; in one of them two stage positions at least.
    hole_spacing_um
        Distance between neighbouring holes, such as 2.5 for R1.2/1.3; spacings within 8 % are looked at. When
        None, all from 1.4 to 6.5 um.
    progress
        Called with steps done, steps, and words.
    cancel
        Stops the search when set.

    Returns
    -------
    Calibration
        With a warning when another orientation fits nearly as well.

    Raises
    ------
    ValueError
        When the session has too few exposures, or no lattice is seen in beam shift or stage.
    analysis.tasks.Cancelled
        When it was stopped.
    """
    if hole_spacing_um is not None and not 0 < hole_spacing_um < np.inf:
        raise ValueError(f"hole_spacing_um must be a number above 0; got {hole_spacing_um}.")
    tell = progress or (lambda done, total, words: None)
    words = "calibrating the beam shift"
    tell(0, 4, words)
    terms = hole_terms(_usable(session))
    holes = _gather(terms)
    basis, assumed = beam_shift_lattice(holes.shifts, holes.position)
    tell(1, 4, words)
    positions = find_positions(holes.shifts, holes.stage_um, holes.position, holes.block, basis)
    pairs = neighbouring(positions)
    if not len(pairs):
        raise ValueError(
            "The lattice must be seen by the stage: two or more stage positions in one grid square; got one in "
            f"each of {len(np.unique(holes.block))}. Type k, or the matrix, by hand."
        )
    low, high = _ANY_SPACING_UM
    if hole_spacing_um is not None:
        low, high = hole_spacing_um * (1 - _SPACING_LEEWAY), hole_spacing_um * (1 + _SPACING_LEEWAY)
    found = search(positions, (low, high), cancel=cancel)
    tell(2, 4, words)
    ranked = _rank(holes, basis, [refine(positions, way, pairs) for way in _with_symmetric(found, basis)])
    tell(3, 4, words)
    best = ranked[0]
    rivals = [rank for rank in ranked[1:] if rank.way.differs(best.way)]
    margin = best.score - max((rival.score for rival in rivals), default=-np.inf)
    fit = fit_lattice(holes, best.fit.matrix, best.fit.lattice_um)
    table = pd.DataFrame([rank.row() for rank in (best, *_distinct(rivals))])
    settings = {"hole_spacing_um": hole_spacing_um}
    made = _assemble(terms, holes, fit, basis, "lattice", margin, table, settings)
    warning = _warning(made, rivals[:1], assumed, session.hole_spacing_um if hole_spacing_um is None else None)
    tell(4, 4, words)
    return _replace_warning(made, warning)


def assume_beam_shift(session: Session, matrix: float | Sequence[Sequence[float]]) -> Calibration:
    """Take the calibration as given, and see how well the foil holes lie on a lattice with it.

    Parameters
    ----------
    session
        Any.
    matrix
        A number k, for beam-shift axes that lie along the stage's with the same hand, or (2, 2) um per unit.

    Returns
    -------
    Calibration
        Residual, collisions and lattice are those of this matrix; residual is NaN where no lattice is seen.

    Raises
    ------
    ValueError
        When the matrix is neither, or cannot be inverted.
    """
    given = np.asarray(matrix, float)
    full = given * np.eye(2) if given.ndim == 0 else given
    if full.shape != (2, 2) or not np.isfinite(full).all() or abs(np.linalg.det(full)) < 1e-9:
        raise ValueError(f"matrix must be a number or 2 x 2 numbers that are not all in one line; got {matrix!r}.")
    method = "scalar" if given.ndim == 0 else "matrix"
    settings = {"matrix": given.tolist()}
    terms = hole_terms(_usable(session))
    holes = _gather(terms)
    try:
        basis, _ = beam_shift_lattice(holes.shifts, holes.position)
    except ValueError as error:
        return _without_lattice(terms, full, method, settings, str(error))
    fit = _best_fit(holes, full, basis)
    return _assemble(terms, holes, fit, basis, method, np.nan, _no_candidates(), settings)


def _usable(session: Session) -> pd.DataFrame:
    exposures = session.exposures
    if not len(exposures):
        raise ValueError(f"The session must have exposures that can be read; got none in {session.folder}.")
    return exposures


def _gather(terms: HoleTerms) -> Holes:
    table = terms.holes
    number = pd.factorize(table["session"] + "\n" + table["grid_square"] + "\n" + table["foil_hole"])[0]
    return Holes(
        table[["beam_shift_x", "beam_shift_y"]].to_numpy(),
        table[["stage_x_um", "stage_y_um"]].to_numpy(),
        table["position"].to_numpy(),
        table["block"].to_numpy(),
        number,
    )


def _with_symmetric(found: Sequence[Orientation], basis: np.ndarray) -> list[Orientation]:
    """The ways found, and those that the lattice's symmetry makes hard to tell from the best of them."""
    ways = list(found)
    for way in found[:4]:
        ways += symmetric(way, basis)
    return ways


@dataclass(frozen=True)
class _Rank:
    way: Orientation
    fit: LatticeFit
    filled: float
    score: float

    def row(self) -> dict[str, Any]:
        k, angle = abs(self.way.factor), float(np.degrees(np.angle(self.way.factor)))
        return {
            "k_um_per_unit": k,
            "angle_deg": angle,
            "mirrored": self.way.mirrored,
            "residual_um": self.fit.residual_um,
            "collisions": self.fit.collisions,
            "filled": self.filled,
            "score": self.score,
        }


def _rank(holes: Holes, basis: np.ndarray, ways: Sequence[Orientation]) -> list[_Rank]:
    """Fit the lattice for each way, and put the likeliest first."""
    positions = len(np.unique(np.stack([holes.position, holes.block]), axis=1).T)
    ranked = []
    for start in ways:
        rough = fit_lattice(holes, start.matrix, start.matrix @ basis)
        way = sharpen(holes, rough, start, basis)
        fit = fit_lattice(holes, way.matrix, rough.lattice_um)
        share = filled(holes, fit.cells)
        score = fit.likelihood - _COLLISION_COST * fit.collisions / len(holes.hole) + positions * np.log(share)
        ranked.append(_Rank(way, fit, share, float(score)))
    return sorted(ranked, key=lambda rank: -rank.score)


def _distinct(ranked: Sequence[_Rank], most: int = 12) -> list[_Rank]:
    kept: list[_Rank] = []
    for rank in ranked:
        if all(rank.way.differs(other.way) for other in kept):
            kept.append(rank)
    return kept[:most]


def _best_fit(holes: Holes, matrix: np.ndarray, basis: np.ndarray) -> LatticeFit:
    """Fit a lattice to holes placed by any matrix, however wrong: from the matrix's own, and from turned ones."""
    starts = [matrix @ basis]
    for degrees in range(5, 90, 5):
        turn = np.radians(degrees)
        starts.append(np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ starts[0])
    fits = [fit_lattice(holes, matrix, start) for start in starts]
    return min(fits, key=lambda fit: fit.residual_um)


def _no_candidates() -> pd.DataFrame:
    names = ["k_um_per_unit", "angle_deg", "mirrored", "residual_um", "collisions", "filled", "score"]
    return pd.DataFrame(columns=names)


def count_groups(shifts: np.ndarray, basis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find which lattice cells of the beam shift are in use.

    Parameters
    ----------
    shifts
        (holes, 2) hole terms.
    basis
        (2, 2) of their lattice, columns are the vectors.

    Returns
    -------
    labels
        (holes,) group from 0, in order of the cells; -1 for a hole in a cell that hardly any other uses.
    cells
        (groups, 2) whole coordinates.
    """
    parts = np.linalg.solve(basis, shifts.T).T
    origin = np.angle(np.exp(2j * np.pi * parts).mean(axis=0)) / (2 * np.pi)
    whole = np.round(parts - origin).astype(int)
    cells, label, count = np.unique(whole, axis=0, return_inverse=True, return_counts=True)
    # holes exposed again are reached by odd beam shifts; the cell of a usual hole tells what is rare
    usual = np.median(np.repeat(count, count))
    kept = count > _RARE * usual
    number = np.where(kept, np.cumsum(kept) - 1, -1)
    return number[label.ravel()], cells[kept]


def _assemble(
    terms: HoleTerms,
    holes: Holes,
    fit: LatticeFit,
    basis: np.ndarray,
    method: str,
    margin: float,
    table: pd.DataFrame,
    settings: dict[str, Any],
) -> Calibration:
    labels, cells = count_groups(holes.shifts, basis)
    rows = terms.holes[["session", "grid_square", "foil_hole", "beam_shift_x", "beam_shift_y"]].copy()
    rows[["stage_x_um", "stage_y_um"]] = holes.stage_um
    rows[["x_um", "y_um"]] = fit.places_um
    rows[["cell_row", "cell_column"]] = fit.cells
    rows[["lattice_x_um", "lattice_y_um"]] = fit.nodes_um
    rows["residual_um"] = np.hypot(*(fit.places_um - fit.nodes_um).T)
    rows["group"] = labels
    return Calibration(
        fit.matrix,
        method,
        fit.residual_um,
        fit.collisions,
        len(cells),
        float(margin),
        fit.lattice_um,
        rows,
        _areas(terms, fit.matrix),
        table,
        settings=settings,
    )


def _areas(terms: HoleTerms, matrix: np.ndarray) -> pd.DataFrame:
    areas = terms.areas.copy()
    areas[["x_um", "y_um"]] = areas[["beam_shift_x", "beam_shift_y"]].to_numpy() @ matrix.T
    return areas[["area", "beam_shift_x", "beam_shift_y", "x_um", "y_um", "exposures"]]


def _without_lattice(
    terms: HoleTerms, matrix: np.ndarray, method: str, settings: dict[str, Any], why: str
) -> Calibration:
    rows = terms.holes[["session", "grid_square", "foil_hole", "beam_shift_x", "beam_shift_y"]].copy()
    rows[["stage_x_um", "stage_y_um"]] = terms.holes[["stage_x_um", "stage_y_um"]]
    shifts = rows[["beam_shift_x", "beam_shift_y"]].to_numpy()
    rows[["x_um", "y_um"]] = rows[["stage_x_um", "stage_y_um"]].to_numpy() + shifts @ matrix.T
    rows[["cell_row", "cell_column"]] = 0
    rows[["lattice_x_um", "lattice_y_um"]] = np.nan
    rows["residual_um"] = np.nan
    rows["group"] = 0
    nothing = np.full((2, 2), np.nan)
    areas = _areas(terms, matrix)
    return Calibration(matrix, method, np.nan, 0, 1, np.nan, nothing, rows, areas, _no_candidates(), why, settings)


def _warning(made: Calibration, rivals: Sequence[_Rank], assumed: bool, hint_um: float | None) -> str:
    """Say what speaks against a calibration."""
    said = []
    if made.margin < SAFE_MARGIN and rivals:
        rival = rivals[0].row()
        hand = "mirrored" if rival["mirrored"] else "not mirrored"
        said.append(
            f"The orientation is not certain: the margin is {made.margin:.1f}, and should be {SAFE_MARGIN:.0f} or "
            f"more. Nearly as likely: k {rival['k_um_per_unit']:.2f}, angle {rival['angle_deg']:.1f} deg, {hand}. "
            "More stage positions, or the hole spacing, would tell."
        )
    if assumed:
        said.append("Holes were seen in one direction of the beam shift only; a square lattice was assumed.")
    if hint_um is not None and abs(made.hole_spacing_um / hint_um - 1) > _HINT_LEEWAY:
        said.append(
            f"EPU was told a hole spacing of {hint_um:.2f} um, and the lattice found has {made.hole_spacing_um:.2f} "
            "um: if EPU was told right, give that spacing."
        )
    return " ".join(said)


def _replace_warning(made: Calibration, warning: str) -> Calibration:
    return Calibration(**{**made.__dict__, "warning": warning})
