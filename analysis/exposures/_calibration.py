"""From beam shift to micrometres on the stage: the matrix that puts all foil holes on one lattice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from analysis.exposures._fit import Holes, LatticeFit, fit_lattice
from analysis.exposures._lattice import HoleTerms, beam_shift_lattice, hole_terms
from analysis.exposures._ranking import Rank, best_fit, distinct, possible_bases, search_ranked
from analysis.exposures._session import Session
from analysis.exposures._several import join_calibrations, say_differences, split_sessions
from analysis.tasks import Progress

SAFE_MARGIN = 10.0
"""Below this margin another orientation may be the right one."""
SPACINGS_UM = {"R1.2/1.3": 2.5, "R2/1": 3.0, "R2/2": 4.0, "R2/4": 6.0}
"""Distance between neighbouring holes of common foils."""
POSSIBLE_SPACINGS_UM = (0.2, 50.0)
"""Spacings that can be given; the search takes as long as the spacing is small."""
_ANY_SPACING_UM = (1.4, 12.0)
_SPACING_LEEWAY = 0.08
_HINT_LEEWAY = 0.1
_MANY_COLLISIONS = 1 / 3
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
        return float(np.hypot(*self.lattice_um).mean())

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
    into one cell, and by cells left empty. Several sessions in one folder have films of their own: each is
    calibrated alone, the surest matrix is taken for all, and those that contradict it are named.

    Parameters
    ----------
    session
        Of any number of grid squares; in one of them two stage positions at least.
    hole_spacing_um
        Distance between neighbouring holes, such as 2.5 for R1.2/1.3; spacings within 8 % are looked at, and it
        is said when another one is much likelier. When None, all from 1.4 to 12 um.
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
    low_um, high_um = POSSIBLE_SPACINGS_UM
    if hole_spacing_um is not None and not low_um <= hole_spacing_um <= high_um:
        raise ValueError(f"hole_spacing_um must be a number from {low_um:g} to {high_um:g}; got {hole_spacing_um}.")
    parts = split_sessions(session)
    found: dict[str, Calibration] = {}
    refused: list[ValueError] = []
    for number, part in enumerate(parts):

        def tell(done: int, before: int = 4 * number) -> None:
            if progress is not None:
                progress(before + done, 4 * len(parts), "calibrating the beam shift")

        try:
            found[part.table["session"].iloc[0] if len(part) else ""] = _calibrate(part, hole_spacing_um, tell, cancel)
        except ValueError as error:
            refused.append(error)
    if not found:
        raise refused[0]
    best = max(found.values(), key=lambda one: one.margin)
    if len(parts) == 1:
        return best
    sure = {name: one for name, one in found.items() if one.margin >= SAFE_MARGIN}
    said = [best.warning, say_differences(list(sure), list(sure.values()), best)]
    kept = ("method", "margin", "lattice_um", "table", "settings")
    whole = assume_beam_shift(session, best.matrix)
    return replace(whole, warning=" ".join(filter(None, said)), **{name: getattr(best, name) for name in kept})


def _calibrate(
    session: Session, hole_spacing_um: float | None, tell: Callable[[int], None], cancel: threading.Event | None
) -> Calibration:
    """Calibrate a session with one lattice."""
    tell(0)
    terms = hole_terms(_usable(session))
    holes = _gather(terms)
    basis, assumed = beam_shift_lattice(holes.shifts, holes.position)
    tell(1)
    looked_at = _ANY_SPACING_UM
    if hole_spacing_um is not None:
        looked_at = hole_spacing_um * (1 - _SPACING_LEEWAY), hole_spacing_um * (1 + _SPACING_LEEWAY)
    bases = possible_bases(basis, assumed)
    ranked = search_ranked(holes, bases, looked_at, cancel)
    tell(2)
    # a spacing that is given may be that of another foil
    elsewhere = search_ranked(holes, bases, _ANY_SPACING_UM, cancel)[0] if hole_spacing_um is not None else None
    tell(3)
    best = ranked[0]
    rivals = [rank for rank in ranked[1:] if rank.way.differs(best.way)]
    margin = best.score - max((rival.score for rival in rivals), default=-np.inf)
    fit = fit_lattice(holes, best.fit.matrix, best.fit.lattice_um)
    table = pd.DataFrame([rank.row() for rank in (best, *distinct(rivals))])
    settings = {"hole_spacing_um": hole_spacing_um}
    made = _assemble(terms, holes, fit, best.basis, "lattice", margin, table, settings)
    hint_um = session.hole_spacing_um if hole_spacing_um is None else None
    warning = _warning(made, rivals[:1], assumed, looked_at, hint_um)
    if elsewhere is not None and elsewhere.score > best.score + SAFE_MARGIN:
        warning = f"{_say_elsewhere(elsewhere, hole_spacing_um)} {warning}".strip()
    tell(4)
    return replace(made, warning=warning)


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
    made = [_assume(part, full, method, settings) for part in split_sessions(session)]
    return made[0] if len(made) == 1 else join_calibrations(session, made)


def _assume(session: Session, full: np.ndarray, method: str, settings: dict[str, Any]) -> Calibration:
    terms = hole_terms(_usable(session))
    holes = _gather(terms)
    try:
        bases = possible_bases(*beam_shift_lattice(holes.shifts, holes.position))
    except ValueError as error:
        return _without_lattice(terms, full, method, settings, str(error))
    fit = min((best_fit(holes, full, basis) for basis in bases), key=lambda fit: fit.residual_um)
    return _assemble(terms, holes, fit, bases[0], method, np.nan, _no_candidates(), settings)


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


def _say_elsewhere(rank: Rank, given_um: float | None) -> str:
    found_um = np.hypot(*rank.fit.lattice_um).mean()
    return (
        f"The hole spacing given, {given_um:g} um, does not seem to be that of the foil: {found_um:.2f} um, with k "
        f"{abs(rank.way.factor):.2f}, is much likelier. Leave the spacing out to take it."
    )


def _warning(
    made: Calibration,
    rivals: Sequence[Rank],
    assumed: bool,
    looked_at_um: tuple[float, float],
    hint_um: float | None,
) -> str:
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
        said.append(
            "Holes were seen in one direction of the beam shift only; a square or hexagonal lattice was assumed."
        )
    low, high = looked_at_um
    if not 0.98 * low < made.hole_spacing_um < 1.02 * high:
        said.append(
            f"The lattice found has a hole spacing of {made.hole_spacing_um:.2f} um, and {low:.2f} to {high:.2f} um "
            "were looked at: if it is right, give that spacing."
        )
    if made.collisions > _MANY_COLLISIONS * len(made.holes):
        said.append(
            f"{made.collisions} of {len(made.holes)} holes share a lattice cell with another hole: unless so many were "
            "exposed again, they are closer together than that, and the hole spacing must be given."
        )
    if hint_um is not None and abs(made.hole_spacing_um / hint_um - 1) > _HINT_LEEWAY:
        said.append(
            f"EPU was told a hole spacing of {hint_um:.2f} um, and the lattice found has {made.hole_spacing_um:.2f} "
            "um: if EPU was told right, give that spacing."
        )
    return " ".join(said)
