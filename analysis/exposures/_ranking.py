"""Orientations of the beam shift, fitted to all holes and put in order of how likely they are."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.exposures._fit import Holes, LatticeFit, filled, fit_lattice, sharpen
from analysis.exposures._lattice import hexagonal
from analysis.exposures._orientation import Orientation, find_positions, neighbouring, refine, search, symmetric
from analysis.tasks import Cancelled

_COLLISION_COST = 50.0


def possible_bases(basis: np.ndarray, assumed: bool) -> list[np.ndarray]:
    """The lattices that holes may be of: those in one row may be of a square or of a hexagonal one."""
    return [basis, hexagonal(basis)] if assumed else [basis]


def search_ranked(
    holes: Holes, bases: Sequence[np.ndarray], spacing_um: tuple[float, float], cancel: threading.Event | None
) -> list[Rank]:
    """Find ways, and put the likeliest first."""
    ways = [(way, basis) for basis in bases for way in _find_ways(holes, basis, spacing_um, cancel)]
    ranked = _rank(holes, ways, cancel)
    # sharpening may have led to a way whose look-alikes were not among those found
    alike = [(way, ranked[0].basis) for way in _look_alikes(holes, ranked[0])]
    return _best_first([*ranked, *_rank(holes, alike, cancel)])


def _find_ways(
    holes: Holes, basis: np.ndarray, spacing_um: tuple[float, float], cancel: threading.Event | None
) -> list[Orientation]:
    """The ways that agree best, and those that the lattice's symmetry makes hard to tell from the best of them."""
    positions = find_positions(holes.shifts, holes.stage_um, holes.position, holes.block, basis)
    pairs = neighbouring(positions)
    if not len(pairs):
        raise ValueError(
            "The lattice must be seen by the stage: two or more stage positions in one grid square; got one in "
            f"each of {len(np.unique(holes.block))}. Type k, or the matrix, by hand."
        )
    found = search(positions, spacing_um, cancel=cancel)
    alike = [way for one in found[:4] for way in symmetric(one, basis)]
    return [*found, *refine(positions, alike, pairs)]


@dataclass(frozen=True)
class Rank:
    """One way the beam shift may lie, the lattice it gives, and how likely that is."""

    way: Orientation
    basis: np.ndarray
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


def _rank(holes: Holes, ways: Sequence[tuple[Orientation, np.ndarray]], cancel: threading.Event | None) -> list[Rank]:
    """Fit the lattice for each way, and put the likeliest first."""
    positions = holes.reading.max() + 1
    ranked = []
    for start, basis in ways:
        if cancel is not None and cancel.is_set():
            raise Cancelled("Stopped while fitting the lattice of holes.")
        rough = fit_lattice(holes, start.matrix, start.matrix @ basis)
        way = sharpen(holes, rough, start)
        fit = fit_lattice(holes, way.matrix, rough.lattice_um)
        share = filled(holes, fit.cells)
        shared = fit.collisions / len(holes.hole)
        # a coarser lattice is kept to more easily, by as much as it has fewer cells: what it gains is lost here
        score = fit.likelihood - _COLLISION_COST * shared + positions * np.log(share * (1 - shared))
        ranked.append(Rank(way, basis, fit, share, float(score)))
    return _best_first(ranked)


def _best_first(ranked: list[Rank]) -> list[Rank]:
    return sorted(ranked, key=lambda rank: -rank.score)


def _look_alikes(holes: Holes, rank: Rank) -> list[Orientation]:
    positions = find_positions(holes.shifts, holes.stage_um, holes.position, holes.block, rank.basis)
    pairs = neighbouring(positions)
    return refine(positions, symmetric(rank.way, rank.basis), pairs)


def distinct(ranked: Sequence[Rank], most: int = 12) -> list[Rank]:
    kept: list[Rank] = []
    for rank in ranked:
        if all(rank.way.differs(other.way) for other in kept):
            kept.append(rank)
    return kept[:most]


def best_fit(holes: Holes, matrix: np.ndarray, basis: np.ndarray) -> LatticeFit:
    """Fit a lattice to holes placed by any matrix, however wrong: from the matrix's own, and from turned ones."""
    starts = [matrix @ basis]
    for degrees in range(5, 90, 5):
        turn = np.radians(degrees)
        starts.append(np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ starts[0])
    fits = [fit_lattice(holes, matrix, start) for start in starts]
    return min(fits, key=lambda fit: fit.residual_um)
