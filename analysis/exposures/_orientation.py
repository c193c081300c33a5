"""How the axes of the beam shift lie on the stage: a search over all turns, both hands and a range of k.

A turn, a scale and a hand are one complex number and a flag: ``stage = factor * w`` where ``w`` is the beam shift
``x + iy``, or its conjugate for the mirrored hand.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from analysis.tasks import Cancelled

_MOST_PAIRS = 240
_NEIGHBOURS = 12
_PHASE_STEP = 0.2
"""Step of the search in cells of the lattice, at the distance of the pairs looked at."""
_MOST_ROUGH = 240
"""Peaks of the search that are refined before they are compared: the steps hide which one is the highest."""
_ASTRAY = 0.03
"""Share by which a refined scale may lie outside the range that is searched."""
_CHUNK = 32_000
"""Pairs looked at in one go, over all ways: as many as stay in a core's own memory."""


@dataclass(frozen=True)
class Positions:
    """Stage positions, each with where the holes' lattice lies in it.

    Attributes
    ----------
    stage_um
        (positions,) complex stage readings.
    phase
        (positions, 2) coordinates of the holes' beam shifts on their lattice, less whole cells.
    block
        (positions,) part of the grid with one film.
    basis
        (2, 2) basis of the lattice in beam shift; columns are the vectors.
    """

    stage_um: np.ndarray
    phase: np.ndarray
    block: np.ndarray
    basis: np.ndarray


@dataclass(frozen=True)
class Orientation:
    """One way the beam shift may lie on the stage: ``factor`` is k and the angle as a complex number."""

    factor: complex
    mirrored: bool

    @property
    def matrix(self) -> np.ndarray:
        """(2, 2) um per unit of beam shift."""
        a, b = self.factor.real, self.factor.imag
        return np.array([[a, b], [b, -a]]) if self.mirrored else np.array([[a, -b], [b, a]])

    def differs(self, other: Orientation, share: float = 0.03) -> bool:
        """Tell whether two ways are more than a share of k apart."""
        return self.mirrored != other.mirrored or abs(self.factor - other.factor) > share * abs(self.factor)


def find_positions(
    shifts: np.ndarray, stage_um: np.ndarray, position: np.ndarray, block: np.ndarray, basis: np.ndarray
) -> Positions:
    """Gather the holes of each stage position into one reading of stage and phase.

    Parameters
    ----------
    shifts
        (holes, 2) hole terms.
    stage_um
        (holes, 2).
    position, block
        (holes,) numbers.
    basis
        (2, 2) of the lattice of the shifts.

    Returns
    -------
    Positions
        One for each position in each block.
    """
    _, first, key = np.unique(np.stack([position, block], axis=1), axis=0, return_index=True, return_inverse=True)
    key, count = key.ravel(), np.bincount(key.ravel())
    turns = np.exp(2j * np.pi * np.linalg.solve(basis, shifts.T))
    phase = [np.angle(np.bincount(key, turn.real) + 1j * np.bincount(key, turn.imag)) / (2 * np.pi) for turn in turns]
    mean = [np.bincount(key, column) / count for column in stage_um.T]
    return Positions(mean[0] + 1j * mean[1], np.stack(phase, axis=1), block[first], basis)


def neighbouring(positions: Positions) -> np.ndarray:
    """(pairs, 2) positions of one block that are neighbours, nearest first."""
    pairs = []
    for block in np.unique(positions.block):
        inside = np.flatnonzero(positions.block == block)
        if len(inside) < 2:
            continue
        place = np.stack([positions.stage_um[inside].real, positions.stage_um[inside].imag], axis=1)
        near = min(len(inside), _NEIGHBOURS + 1)
        found = inside[cKDTree(place).query(place, k=near)[1]]
        pairs.append(np.stack([np.repeat(inside, near - 1), found[:, 1:].ravel()], axis=1))
    if not pairs:
        return np.empty((0, 2), int)
    every = np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0)
    away = np.abs(np.diff(positions.stage_um[every], axis=1)[:, 0])
    order = np.argsort(away, kind="stable")
    return every[order[away[order] > 0.5]]  # two readings of one place say nothing


def search(
    positions: Positions,
    spacing_um: tuple[float, float],
    *,
    most: int = 24,
    cancel: threading.Event | None = None,
) -> list[Orientation]:
    """Find the ways in which neighbouring stage positions agree best on one lattice.

    Parameters
    ----------
    positions
        Of all blocks.
    spacing_um
        Least and largest spacing of holes to look for.
    most
        How many distinct ones to return.
    cancel
        Checked now and then.

    Returns
    -------
    list of Orientation
        Most coherent first, each refined on all neighbouring pairs.
    """
    pairs = neighbouring(positions)
    if not len(pairs):
        return []
    near = pairs[: _MOST_PAIRS * 4][:: max(1, min(len(pairs), 4 * _MOST_PAIRS) // _MOST_PAIRS)]
    moved, turned = _differences(positions, near)
    ways, coherence, steps = _scan(positions, moved, turned, spacing_um, cancel)
    rough: list[Orientation] = []
    # neighbours on the grid belong to one peak, so many are looked at for every one kept
    for index in np.argsort(coherence)[::-1][: 60 * most]:
        peak = Orientation(complex(ways[index]), bool(index >= len(ways) // 2))
        if all(peak.differs(other, 2.5 * steps[index]) for other in rough):
            rough.append(peak)
        if len(rough) >= _MOST_ROUGH:
            break
    refined: list[Orientation] = []
    for better in _most_coherent(positions, refine(positions, rough, near), moved, turned):
        if all(better.differs(other) for other in refined):
            refined.append(better)
        if len(refined) >= most:
            break
    length = np.hypot(*positions.basis).mean()
    # refining may lead away from what was asked for
    low, high = (1 - _ASTRAY) * spacing_um[0], (1 + _ASTRAY) * spacing_um[1]
    final = refine(positions, refined, pairs)
    return [way for way in final if low <= abs(way.factor) * length <= high] or final


def _most_coherent(
    positions: Positions, ways: list[Orientation], moved: np.ndarray, turned: np.ndarray
) -> list[Orientation]:
    inverse = np.linalg.inv(positions.basis)
    factors, hands = np.array([way.factor for way in ways]), np.array([way.mirrored for way in ways])
    coherence = np.empty(len(ways), np.float32)
    for mirrored in (False, True):
        these = hands == mirrored
        coherence[these] = _coherence(moved, turned, inverse, factors[these], mirrored, None)
    return [ways[i] for i in np.argsort(coherence, kind="stable")[::-1]]


def _differences(positions: Positions, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first, second = pairs.T
    return positions.stage_um[second] - positions.stage_um[first], positions.phase[second] - positions.phase[first]


def _scan(
    positions: Positions,
    moved: np.ndarray,
    turned: np.ndarray,
    spacing_um: tuple[float, float],
    cancel: threading.Event | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Try every scale and turn of both hands on pairs; return the ways (mirrored ones last), coherence, and steps."""
    length = np.hypot(*positions.basis).mean()
    reach = np.quantile(np.abs(moved), 0.8)
    scale, last = spacing_um[0] / length, spacing_um[1] / length
    ways, steps = [], []
    while scale < last * 1.001:
        # a coarser lattice needs fewer steps for the same share of a cell
        step = min(_PHASE_STEP * scale * length / reach, 0.06)
        turns = scale * np.exp(1j * np.arange(0, 2 * np.pi, step))
        ways.append(turns)
        steps.append(np.full(len(turns), step))
        scale *= 1 + step
    every = np.concatenate(ways)
    inverse = np.linalg.inv(positions.basis)
    coherence = [_coherence(moved, turned, inverse, every, mirrored, cancel) for mirrored in (False, True)]
    return np.tile(every, 2), np.concatenate(coherence), np.tile(np.concatenate(steps), 2)


def _coherence(
    moved: np.ndarray,
    turned: np.ndarray,
    inverse: np.ndarray,
    ways: np.ndarray,
    mirrored: bool,
    cancel: threading.Event | None,
) -> np.ndarray:
    """(ways,) mean cosine of how far pairs of positions are from whole cells."""
    coherence = np.empty(len(ways), np.float32)
    turns = 1 / ways
    turns = np.stack([turns.real, turns.imag], axis=1).astype(np.float32)
    # a coordinate on the lattice is a sum of both parts of the turn, with weights that all ways share
    across = -inverse[:, 1:] if mirrored else inverse[:, 1:]
    weights = [
        np.stack([row * moved.real + side * moved.imag, side * moved.real - row * moved.imag]).astype(np.float32)
        for row, side in zip(inverse[:, 0], across[:, 0], strict=True)
    ]
    offsets = turned.astype(np.float32).T
    rows = max(1, _CHUNK // len(moved))
    for start in range(0, len(ways), rows):
        if cancel is not None and cancel.is_set():
            raise Cancelled("Stopped while searching the orientation of the beam shift.")
        total = np.float32(0)
        for weight, offset in zip(weights, offsets, strict=True):
            parts = turns[start : start + rows] @ weight
            parts += offset
            parts -= np.round(parts)
            parts *= np.float32(2 * np.pi)
            total = total + np.cos(parts, out=parts).mean(axis=1)
        coherence[start : start + rows] = total
    return coherence


def refine(positions: Positions, starts: Sequence[Orientation], pairs: np.ndarray) -> list[Orientation]:
    """Refine ways by least squares on pairs of positions, nearest first and then further ones.

    Parameters
    ----------
    positions
        Of all blocks.
    starts
        Right to a quarter of a cell at the nearest pairs.
    pairs
        (pairs, 2), nearest first.

    Returns
    -------
    list of Orientation
        Of the same hands, in the same order.
    """
    moved, turned = _differences(positions, pairs)
    away = np.abs(moved)
    reach = np.quantile(away, 0.2)
    factors = np.array([start.factor for start in starts], complex)
    mirrored = np.array([start.mirrored for start in starts], bool)
    while True:
        near = away <= reach
        factors = _fit(moved[near], turned[near], positions.basis, factors, mirrored)
        if reach >= away[-1]:
            return [Orientation(complex(f), bool(m)) for f, m in zip(factors, mirrored, strict=True)]
        reach *= 1.4


def _fit(
    moved: np.ndarray, turned: np.ndarray, basis: np.ndarray, factors: np.ndarray, mirrored: np.ndarray
) -> np.ndarray:
    """(ways,) factors after some rounds of least squares on the pairs that are near whole cells."""
    inverse = np.linalg.inv(basis)
    hand = np.where(mirrored, -1.0, 1.0)[:, None]
    for _ in range(4):
        shift = moved / factors[:, None]
        across = hand * shift.imag
        cells, used = [], True
        for row, offset in zip(inverse, turned.T, strict=True):
            parts = row[0] * shift.real + row[1] * across + offset
            whole = np.round(parts)
            used = used & (np.abs(parts - whole) < 0.3)
            cells.append(whole - offset)
        w = (basis[0, 0] * cells[0] + basis[0, 1] * cells[1]) * used
        v = (basis[1, 0] * cells[0] + basis[1, 1] * cells[1]) * used * hand
        total = (w**2 + v**2).sum(axis=1)
        # conj(w + iv) * moved, by parts
        along = w @ moved.real + v @ moved.imag + 1j * (w @ moved.imag - v @ moved.real)
        factors = np.divide(along, total, out=factors.copy(), where=total > 0)
    return factors


def symmetric(orientation: Orientation, basis: np.ndarray) -> list[Orientation]:
    """The other ways in which the same lattice of holes can be reached: turned and mirrored by its symmetries.

    Parameters
    ----------
    orientation
        One way.
    basis
        (2, 2) reduced basis in beam shift.

    Returns
    -------
    list of Orientation
        Seven for a square lattice, eleven for a hexagonal one.
    """
    first, second = basis.T
    angle = np.degrees(np.arccos(np.clip(first @ second / np.hypot(*first) / np.hypot(*second), -1, 1)))
    hexagonal = min(abs(angle - 60), abs(angle - 120)) < 10
    turns = np.exp(2j * np.pi * np.arange(6 if hexagonal else 4) / (6 if hexagonal else 4))
    axis = complex(first[0], first[1]) / np.hypot(*first)
    others = [Orientation(orientation.factor * turn, orientation.mirrored) for turn in turns[1:]]
    # mirrored at the first basis vector: w -> axis^2 conj(w), so the vector itself stays
    flip = axis**2 if not orientation.mirrored else np.conj(axis) ** 2
    others += [Orientation(orientation.factor * flip * turn, not orientation.mirrored) for turn in turns]
    return others
