"""The lattice of foil holes: what beam shift each hole took, and on which lattice those shifts lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import lsqr
from scipy.spatial import cKDTree

STILL_UM = 0.1
"""A stage that moved less than this between two readings stood still: its readings jitter by some nanometres."""
_MOST_DIFFERENCES = 60_000


@dataclass(frozen=True)
class HoleTerms:
    """Beam shifts taken apart into what the hole asked for and what the shot area in it asked for.

    Attributes
    ----------
    holes
        One row a visit of a foil hole: ``session, grid_square, foil_hole, beam_shift_x, beam_shift_y, stage_x_um,
        stage_y_um, position, block, exposures``; ``position`` numbers the stage positions, ``block`` the parts of
        grid squares that share shot areas.
    areas
        One row a shot area: ``area, beam_shift_x, beam_shift_y, exposures``; beam shifts from the hole's centre.
    hole_of
        (exposures,) row of each exposure's hole.
    residual
        Largest difference between a beam shift and the sum of its two terms.
    """

    holes: pd.DataFrame
    areas: pd.DataFrame
    hole_of: np.ndarray
    residual: float


def hole_terms(exposures: pd.DataFrame) -> HoleTerms:
    """Take beam shifts apart: that of an exposure is its hole's plus its shot area's.

    EPU adds the two, so the split is exact but for one constant, chosen such that the shot areas of a template
    average to nought.

    Parameters
    ----------
    exposures
        Rows of a `Session`, in order of acquisition.

    Returns
    -------
    HoleTerms
        Of every visit of a hole: one that the stage came back to counts again.
    """
    square = pd.factorize(exposures["session"] + "\n" + exposures["grid_square"])[0]
    visit, square_of = _visits(exposures, square)
    area, areas = pd.factorize(exposures["area"])
    shift = exposures[["beam_shift_x", "beam_shift_y"]].to_numpy(float)
    stage = exposures[["stage_x_um", "stage_y_um"]].to_numpy(float)
    of_hole, of_area, template = _two_way_fit(shift, visit, area)
    first = np.unique(visit, return_index=True)[1]
    holes = exposures.iloc[first][["session", "grid_square", "foil_hole"]].reset_index(drop=True)
    holes[["beam_shift_x", "beam_shift_y"]] = of_hole
    holes[["stage_x_um", "stage_y_um"]] = _means(stage, visit)
    holes["position"] = _stage_positions(holes[["stage_x_um", "stage_y_um"]].to_numpy(), square_of)
    holes["block"] = pd.factorize(square_of * (template.max(initial=0) + 1) + template)[0]
    holes["exposures"] = np.bincount(visit)
    table = pd.DataFrame({"area": areas, "beam_shift_x": of_area[:, 0], "beam_shift_y": of_area[:, 1]})
    table["exposures"] = np.bincount(area, minlength=len(areas))
    residual = np.abs(shift - of_hole[visit] - of_area[area]).max(initial=0)
    return HoleTerms(holes, table, visit, float(residual))


def _visits(exposures: pd.DataFrame, square: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number the visits of holes in order of acquisition; return each exposure's, and each visit's grid square."""
    hole = pd.factorize(pd.Series(square).astype(str) + "\n" + exposures["foil_hole"].to_numpy())[0]
    stage = exposures[["stage_x_um", "stage_y_um"]].to_numpy(float)
    order = np.argsort(hole, kind="stable")
    new = np.ones(len(hole), bool)
    moved = np.hypot(*np.diff(stage[order], axis=0).T) > STILL_UM
    new[1:] = (np.diff(hole[order]) != 0) | moved
    raw = np.empty(len(hole), int)
    raw[order] = np.cumsum(new) - 1
    visit, _ = pd.factorize(raw)
    first = np.unique(visit, return_index=True)[1]
    return visit, square[first]


def _two_way_fit(shift: np.ndarray, hole: np.ndarray, area: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit ``shift = of_hole[hole] + of_area[area]``; return both terms and the template of each hole."""
    count, holes, areas = len(shift), hole.max() + 1, area.max() + 1
    places = np.concatenate([hole, holes + area])
    rows = np.concatenate([np.arange(count)] * 2)
    both = coo_matrix((np.ones(2 * count), (rows, places)), shape=(count, holes + areas)).tocsr()
    terms = np.stack([lsqr(both, column, atol=1e-14, btol=1e-14)[0] for column in shift.T], axis=1)
    joined = coo_matrix((np.ones(count), (hole, holes + area)), shape=(holes + areas,) * 2)
    template = connected_components(joined, directed=False)[1]
    # the constant that the sum does not know, one for each set of areas seen in the same holes
    templates = template.max() + 1
    weight = np.bincount(area, minlength=areas)
    total = np.bincount(template[holes:], weight, minlength=templates)
    for axis in range(2):
        mean = np.bincount(template[holes:], weight * terms[holes:, axis], minlength=templates) / total
        terms[:holes, axis] += mean[template[:holes]]
        terms[holes:, axis] -= mean[template[holes:]]
    return terms[:holes], terms[holes:], pd.factorize(template[:holes])[0]


def _means(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    counts = np.bincount(labels)
    return np.stack([np.bincount(labels, column) / counts for column in values.T], axis=1)


def _stage_positions(stage: np.ndarray, square: np.ndarray) -> np.ndarray:
    """Number the runs of holes, in order of acquisition, between which the stage stood still."""
    new = np.ones(len(stage), bool)
    new[1:] = (np.diff(square) != 0) | (np.hypot(*np.diff(stage, axis=0).T) > STILL_UM)
    return np.cumsum(new) - 1


def beam_shift_lattice(shifts: np.ndarray, position: np.ndarray) -> tuple[np.ndarray, bool]:
    """Find the lattice on which the hole terms of one stage position lie.

    Differences within one stage position are free of the stage's error, so they are lattice vectors. The
    shortest frequent ones make a basis, refined by least squares on their whole coordinates.

    Parameters
    ----------
    shifts
        (holes, 2) hole terms of the beam shift.
    position
        (holes,) number of each hole's stage position.

    Returns
    -------
    basis
        (2, 2), columns are the reduced basis vectors, in units of beam shift.
    assumed
        Whether the second direction is not in the data and a square lattice was assumed.

    Raises
    ------
    ValueError
        When no two holes were reached from one stage position.
    """
    differences = _differences(shifts, position)
    lengths = np.hypot(*differences.T)
    near = lengths[lengths > 0.02 * lengths.max(initial=0)]
    if not near.size or lengths.max() < 1e-6:
        raise ValueError(
            "The lattice must be seen by beam shifts: two or more foil holes reached from one stage position; got "
            "none (not a session with aberration-free image shift). Type k, or the matrix, by hand."
        )
    shortest = _shortest_frequent(differences, lengths)
    tolerance = 0.2 * np.hypot(*shortest)
    second = _second_vector(differences, shortest, tolerance)
    if second is None:
        return np.column_stack([shortest, [-shortest[1], shortest[0]]]), True
    basis = reduce_basis(np.column_stack([shortest, second]))
    basis = _add_missing(basis, differences)
    return refine_basis(basis, differences), False


def hexagonal(square: np.ndarray) -> np.ndarray:
    """(2, 2) basis of the hexagonal lattice that shares the first vector with a square one; columns are the vectors."""
    first, across = square.T
    return np.column_stack([first, first / 2 + np.sqrt(0.75) * across])


def _differences(shifts: np.ndarray, position: np.ndarray) -> np.ndarray:
    """All differences of two holes of one stage position, each with both signs."""
    order = np.argsort(position, kind="stable")
    starts = np.flatnonzero(np.diff(position[order], prepend=-1))
    found, total = [], 0
    runs = np.split(order, starts[1:])
    # in large sessions some of the positions tell enough; they are taken evenly
    stride = max(1, sum(len(run) ** 2 for run in runs) // _MOST_DIFFERENCES)
    for run in runs[::stride]:
        first, second = np.triu_indices(len(run), 1)
        found.append(shifts[run[second]] - shifts[run[first]])
        total += len(first)
    every = np.concatenate(found) if total else np.empty((0, 2))
    return np.concatenate([every, -every])


def _votes(differences: np.ndarray, at: np.ndarray, radius: float) -> np.ndarray:
    return cKDTree(differences).query_ball_point(at, radius, return_length=True)


def _shortest_frequent(differences: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The shortest difference that is there about as often as the most frequent short one."""
    # a hole visited twice gives differences of almost nothing: they are no lattice vectors
    usual = np.quantile(lengths[lengths > 0.02 * lengths.max()], 0.1)
    short = (lengths > 0.35 * usual) & (lengths < 1.7 * usual)
    candidates = differences[short][:: max(1, short.sum() // 2000)]
    votes = _votes(differences, candidates, 0.15 * usual)
    good = candidates[votes >= 0.3 * votes.max()]
    start = good[np.argmin(np.hypot(*good.T))]
    return _centre(differences, start, 0.15 * usual)


def _centre(differences: np.ndarray, start: np.ndarray, radius: float) -> np.ndarray:
    for _ in range(5):
        start = differences[np.hypot(*(differences - start).T) < radius].mean(axis=0)
    return start


def _second_vector(differences: np.ndarray, first: np.ndarray, tolerance: float) -> np.ndarray | None:
    length = np.hypot(*first)
    across = np.abs(differences @ np.array([-first[1], first[0]])) / length
    sideways = (across > 0.5 * length) & (np.hypot(*differences.T) < 2.6 * length)
    if not sideways.any():
        return None
    candidates = differences[sideways][:: max(1, sideways.sum() // 2000)]
    votes = _votes(differences, candidates, tolerance)
    good = candidates[votes >= 0.3 * votes.max()]
    return _centre(differences, good[np.argmin(np.hypot(*good.T))], tolerance)


def reduce_basis(basis: np.ndarray) -> np.ndarray:
    """Return the basis of the same lattice with the shortest vectors (Lagrange's reduction), right-handed.

    Parameters
    ----------
    basis
        (2, 2), columns are the vectors.
    """
    first, second = basis.T.copy()
    for _ in range(100):
        if first @ first > second @ second:
            first, second = second, first
        steps = np.round((first @ second) / (first @ first))
        if steps == 0:
            break
        second = second - steps * first
    reduced = np.column_stack([first, second])
    if np.linalg.det(reduced) < 0:
        reduced[:, 1] *= -1
    return reduced


def _add_missing(basis: np.ndarray, differences: np.ndarray) -> np.ndarray:
    """Make the lattice finer when many differences lie halfway between its points."""
    parts = np.linalg.solve(basis, differences.T).T
    off = parts - np.round(parts)
    between = np.abs(off).max(axis=1) > 0.3
    if between.mean() < 0.1:
        return basis
    vectors = differences[between]
    extra = vectors[np.argmin(np.hypot(*vectors.T))]
    coordinates = np.linalg.solve(basis, extra)
    halves = np.round(2 * coordinates).astype(int)
    if halves[0] % 2 and halves[1] % 2:
        return reduce_basis(np.column_stack([basis[:, 0], basis.sum(axis=1) / 2]))
    return reduce_basis(basis / np.where(halves % 2 == 1, 2, 1))


def refine_basis(basis: np.ndarray, differences: np.ndarray) -> np.ndarray:
    """Refine a basis by least squares on the whole coordinates of differences.

    Parameters
    ----------
    basis
        (2, 2), columns are the vectors.
    differences
        (pairs, 2) differences of lattice points, some of them wrong.

    Returns
    -------
    numpy.ndarray
        (2, 2), reduced.
    """
    reach = 3 * np.hypot(*basis).max()
    largest = np.hypot(*differences.T).max()
    while True:
        parts = np.linalg.solve(basis, differences.T).T
        whole = np.round(parts)
        used = (np.abs(parts - whole).max(axis=1) < 0.25) & (np.hypot(*differences.T) <= reach)
        if np.linalg.matrix_rank(whole[used]) == 2:
            basis = np.linalg.lstsq(whole[used], differences[used], rcond=None)[0].T
        if reach >= largest:
            return reduce_basis(basis)
        reach *= 1.7
