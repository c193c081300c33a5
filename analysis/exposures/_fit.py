"""Holes on a lattice on the stage: fitted for one calibration of the beam shift, with what is left over."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial import ConvexHull

from analysis.exposures._orientation import Orientation

_OWN_LATTICE = 6
"""Stage positions from which a block of holes has a lattice of its own: foils are not flat, and squares differ."""
_ROUNDS = 8


@dataclass(frozen=True)
class LatticeFit:
    """Holes in cells of a lattice.

    Attributes
    ----------
    matrix
        (2, 2) um per unit of beam shift.
    lattice_um
        (2, 2) basis on the stage, columns are the vectors; the mean over the blocks.
    places_um
        (holes, 2) where the holes are.
    cells
        (holes, 2) whole coordinates.
    nodes_um
        (holes, 2) where the lattice says they are.
    residual_um
        Root mean square distance of the holes from the lattice.
    collisions
        Holes in a cell where another hole is already.
    likelihood
        Natural logarithm, up to a constant, of how likely the stage positions are.
    """

    matrix: np.ndarray
    lattice_um: np.ndarray
    places_um: np.ndarray
    cells: np.ndarray
    nodes_um: np.ndarray
    residual_um: float
    collisions: int
    likelihood: float


@dataclass(frozen=True)
class Holes:
    """What a fit reads: one entry a visit of a hole.

    Attributes
    ----------
    shifts
        (holes, 2) hole terms of the beam shift.
    stage_um
        (holes, 2).
    position, block, hole
        (holes,) numbers of stage position, of the part of a grid with one film, and of the foil hole.
    """

    shifts: np.ndarray
    stage_um: np.ndarray
    position: np.ndarray
    block: np.ndarray
    hole: np.ndarray

    @cached_property
    def part(self) -> np.ndarray:
        """(holes,) number of the lattice; blocks with few stage positions share number 0, others have their own."""
        pairs = np.unique(np.stack([self.block, self.position]), axis=1)
        counts = np.bincount(pairs[0])
        own = counts >= _OWN_LATTICE
        number = np.zeros(len(counts), int)
        shared = 0 if own.all() else 1
        number[own] = np.arange(own.sum()) + shared
        return number[self.block]

    @cached_property
    def reading(self) -> np.ndarray:
        """(holes,) number of the stage position in its block."""
        return np.unique(np.stack([self.position, self.block], axis=1), axis=0, return_inverse=True)[1].ravel()


def fit_lattice(holes: Holes, matrix: np.ndarray, lattice_um: np.ndarray) -> LatticeFit:
    """Put holes on a lattice, with a calibration as it is given.

    Parameters
    ----------
    holes
        Of a session.
    matrix
        (2, 2) um per unit of beam shift.
    lattice_um
        (2, 2) basis on the stage to begin with, columns are the vectors.

    Returns
    -------
    LatticeFit
        After the whole coordinates have settled.
    """
    part = holes.part
    lattices = np.repeat(lattice_um[None], part.max() + 1, axis=0)
    places = holes.stage_um + holes.shifts @ matrix.T
    cells = None
    for _ in range(_ROUNDS):
        before, cells = cells, _cells(places, lattices, part, holes.block)
        if before is not None and np.array_equal(before, cells):
            break
        whole = cells.astype(float)
        # what holes in one row do not show stays as it was
        beside = places - whole @ lattice_um.T
        lattices = lattice_um + _slopes(*(_less_block_mean(v, holes.block) for v in (whole, beside)), part)
    return _left_over(holes, places, cells, lattices, part, matrix)


def sharpen(holes: Holes, fit: LatticeFit, orientation: Orientation) -> Orientation:
    """Add to a calibration what the beam shift tells where it makes up for the stage.

    The stage stops beside the lattice, and the beam shift makes up for it hole by hole: the slope of one over
    the other, with the lattice's share taken out of both, is the calibration again. The two estimates are
    averaged with their uncertainties.

    Parameters
    ----------
    holes
        Of a session.
    fit
        On the right lattice.
    orientation
        From the lattices seen by beam shift and by stage.

    Returns
    -------
    Orientation
        Of the same hand; unchanged when the beam shift does not make up for the stage.
    """
    part = holes.part
    whole, stage, shift = (
        _less_block_mean(v, holes.block) for v in (fit.cells.astype(float), holes.stage_um, holes.shifts)
    )
    z, w = (
        left[:, 0] + 1j * left[:, 1]
        for left in (v - np.einsum("nij,nj->ni", _slopes(whole, v, part)[part], whole) for v in (stage, shift))
    )
    w = np.conj(w) if orientation.mirrored else w
    power, together = np.vdot(w, w).real, -np.vdot(w, z)
    if power == 0 or abs(together) ** 2 < 0.9 * power * np.vdot(z, z).real:
        return orientation
    factor = together / power
    noise = np.abs(z + factor * w).std() / abs(factor)
    own_share = noise**2 / power
    # the lattice in beam shift is known from the spread of the holes about their stage position
    spread = holes.shifts - _means_of(holes.shifts, holes.position)
    lattice_share = noise**2 / max((spread**2).sum(), 1e-30)
    weight = lattice_share / (lattice_share + own_share)
    return Orientation(complex(weight * factor + (1 - weight) * orientation.factor), orientation.mirrored)


def _means_of(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    counts = np.bincount(labels)
    return np.stack([np.bincount(labels, v) / np.maximum(counts, 1) for v in values.T], axis=1)[labels]


def _cells(places: np.ndarray, lattices: np.ndarray, part: np.ndarray, block: np.ndarray) -> np.ndarray:
    """Whole coordinates of places, each block about the phase its holes share."""
    parts = np.linalg.solve(lattices[part], places[..., None])[..., 0]
    turn = np.exp(2j * np.pi * parts)
    origin = np.stack(
        [np.angle(np.bincount(block, t.real) + 1j * np.bincount(block, t.imag)) / (2 * np.pi) for t in turn.T], axis=1
    )
    return np.round(parts - origin[block]).astype(int)


def _slopes(whole: np.ndarray, values: np.ndarray, part: np.ndarray) -> np.ndarray:
    """(parts, 2, 2) slopes of values over whole coordinates in each part."""
    count = part.max() + 1
    squares = np.zeros((count, 2, 2))
    products = np.zeros((count, 2, 2))
    for i in range(2):
        for j in range(2):
            squares[:, i, j] = np.bincount(part, whole[:, i] * whole[:, j], minlength=count)
            products[:, i, j] = np.bincount(part, values[:, i] * whole[:, j], minlength=count)
    return products @ np.linalg.pinv(squares)


def _less_block_mean(values: np.ndarray, block: np.ndarray) -> np.ndarray:
    return values - _means_of(values, block)


def _left_over(holes, places, cells, lattices, part, matrix) -> LatticeFit:
    on_lattice = np.einsum("nij,nj->ni", lattices[part], cells.astype(float))
    residual = _less_block_mean(places - on_lattice, holes.block)
    weights = np.bincount(part)
    mean_lattice = (lattices * weights[:, None, None]).sum(axis=0) / weights.sum()
    return LatticeFit(
        matrix,
        mean_lattice,
        places,
        cells,
        places - residual,
        float(np.sqrt((residual**2).sum(axis=1).mean())),
        _collisions(holes, cells),
        _likelihood(holes, residual, mean_lattice, len(lattices)),
    )


def _collisions(holes: Holes, cells: np.ndarray) -> int:
    """Count holes beyond the first in a cell; a hole visited twice is one hole."""
    cell = _number(holes.block, *cells.T)
    return int(_number(cell, holes.hole).max() - cell.max())


def _number(*columns: np.ndarray) -> np.ndarray:
    """(rows,) number of each row among the distinct ones; `numpy.unique` with an axis takes many times as long."""
    number = np.zeros(len(columns[0]), int)
    for column in columns:
        values, place = np.unique(column, return_inverse=True)
        number = np.unique(number * len(values) + place, return_inverse=True)[1]
    return number


def _likelihood(holes: Holes, residual: np.ndarray, lattice_um: np.ndarray, lattices: int) -> float:
    """Log likelihood of the stage positions, in units of cells so that a finer lattice gains nothing by being finer.

    The spread is unknown and taken from the residuals; holes of one position share its error and count once.
    """
    key = holes.reading
    mean = np.stack([np.bincount(key, column) / np.bincount(key) for column in residual.T], axis=1)
    free = 2 * len(mean) - 2 * len(np.unique(holes.block)) - 4 * lattices - 2
    if free <= 0:
        return 0.0
    spread = np.sqrt((mean**2).sum() / free / abs(np.linalg.det(lattice_um)))
    return float(-free * np.log(max(spread, 1e-3)))


def filled(holes: Holes, cells: np.ndarray) -> float:
    """Share of the cells within the outline of the holes that hold one; too small a k leaves gaps between positions."""
    occupied = within = 0.0
    for block in np.unique(holes.block):
        inside = np.unique(cells[holes.block == block], axis=0)
        if len(inside) < 4 or np.linalg.matrix_rank(inside - inside[0]) < 2:
            continue
        hull = ConvexHull(inside)
        occupied += len(inside)
        # Pick's theorem: points in and on a polygon = area + points on the outline / 2 + 1
        within += hull.volume + hull.area / 2 + 1
    return min(1.0, occupied / within) if within else 1.0
