"""Where discs may lie: every thin edge votes along its normal for centre and radius.

A Hough transform for circles with the direction of the gradient (Kimme, Ballard and Sklansky 1975,
doi:10.1145/360666.360677; Ballard 1981, doi:10.1016/0031-3203(81)90009-1). An edge votes once per radius on either side
of itself. Radii grow by a constant factor and cells with the radius, because a wrong direction moves the centre in
proportion to the radius. So the cost grows with the logarithm of the range of radii.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from analysis.circles._edges import Edges

_FACTOR = 1.07
"""From one radius to the next."""
_CELLS_PER_RADIUS = 4.0
_EDGES_AT_ONCE = 2**17
"""Few enough for their votes to stay within a hundred megabytes or so."""
_NEAR = 5
"""Radii looked at on either side of one that was voted for."""
_THINNED = 0.9
"""Pixels of a thin edge for a pixel of its length."""
_AROUND = sorted(product((-1, 0, 1), repeat=3), key=lambda step: sum(map(abs, step)))[1:]
"""Steps in radius, row and column to the cells around, the nearest first."""


def vote(edges: Edges, low: float, high: float, *, least: float, polarity: str, most: int) -> np.ndarray:
    """Return (candidates, 3) column, row and radius in the halved image, the most voted for first.

    Parameters
    ----------
    edges
        Of the image.
    low, high
        Radii looked for, in pixels of the halved image.
    least
        Share of the circumference that must have voted.
    polarity
        ``"either"``, ``"bright"`` or ``"dark"``.
    most
        Largest number of candidates.
    """
    steps = max(1, int(np.ceil(np.log(high / low) / np.log(_FACTOR)))) if high > low else 1
    radii = low * (high / low) ** ((np.arange(steps) + 0.5) / steps)
    octave = np.floor(np.log2(radii / low)).astype(int)
    found = [_vote_octave(edges, radii[octave == number], least, polarity) for number in np.unique(octave)]
    found = np.concatenate(found)
    order = np.argsort(-found[:, 3], kind="stable")[:most]
    return found[order, :3]


def _vote_octave(edges: Edges, radii: np.ndarray, least: float, polarity: str) -> np.ndarray:
    """Return (candidates, 4) column, row, radius and share of votes."""
    cell = max(radii[0] / _CELLS_PER_RADIUS, 1.0)
    margin = 2  # cells around the image, so that discs cut by the frame have their centre within
    rows, columns = (int(side / cell) + 2 * margin + 1 for side in edges.across.shape)
    # no cell has more votes than two from each edge
    kind = np.uint16 if 2 * len(edges.place) < 2**16 else np.uint32
    total = np.zeros(len(radii) * rows * columns, kind)
    layer = (np.arange(len(radii)) * rows * columns)[None]
    reach = (radii / cell).astype(np.float32)[None]
    for start in range(0, len(edges.place), _EDGES_AT_ONCE):
        part = slice(start, start + _EDGES_AT_ONCE)
        place = edges.place[part] / np.float32(cell) + np.float32(margin + 0.5)
        found = []
        for side, name in ((1, "bright"), (-1, "dark")):
            if polarity in ("either", name):
                column = place[:, :1] + edges.normal[part, :1] * (side * reach)
                row = place[:, 1:] + edges.normal[part, 1:] * (side * reach)
                within = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
                found.append((row.astype(np.int32) * columns + column.astype(np.int32) + layer)[within])
        votes = np.bincount(np.concatenate(found), minlength=len(total))
        total = votes.astype(kind) if start == 0 else total + votes.astype(kind)
    total = total.reshape(len(radii), rows, columns)
    return _peaks(_gather(total), total, radii, cell, margin, least)


def _gather(total: np.ndarray) -> np.ndarray:
    """Add the votes of the cells around each."""
    tall = total.copy()
    tall[:, 1:] += total[:, :-1]
    tall[:, :-1] += total[:, 1:]
    gathered = tall.copy()
    gathered[:, :, 1:] += tall[:, :, :-1]
    gathered[:, :, :-1] += tall[:, :, 1:]
    return gathered


def _peaks(
    gathered: np.ndarray, total: np.ndarray, radii: np.ndarray, cell: float, margin: int, least: float
) -> np.ndarray:
    layers, rows, columns = gathered.shape
    whole = (2 * np.pi * _THINNED) * radii
    needed = np.clip(np.ceil(least * whole), 2, np.iinfo(gathered.dtype).max).astype(gathered.dtype)
    index = np.flatnonzero(gathered >= needed[:, None, None])
    flat = gathered.ravel()
    layer, rest = np.divmod(index, rows * columns)
    row, column = np.divmod(rest, columns)
    inner = (row > 0) & (row < rows - 1) & (column > 0) & (column < columns - 1)
    index, layer, row, column = index[inner], layer[inner], row[inner], column[inner]
    own = flat[index] / whole[layer]
    for up, down, right in _AROUND:
        beside = np.clip(layer + up, 0, layers - 1)
        other = (beside * rows + row + down) * columns + column + right
        theirs = np.take(flat, other, mode="clip") / whole[beside]
        peak = (own > theirs) | ((own == theirs) & (index <= other))
        index, layer, row, column, own = index[peak], layer[peak], row[peak], column[peak], own[peak]
    # the centre of gravity of the votes around
    weight = np.stack(
        [[total[layer, row + i, column + j].astype(np.float32) for j in (-1, 0, 1)] for i in (-1, 0, 1)]
    ) + np.float32(1e-6)
    mass = weight.sum(axis=(0, 1))
    shift_row = (weight[2].sum(axis=0) - weight[0].sum(axis=0)) / mass
    shift_column = (weight[:, 2].sum(axis=0) - weight[:, 0].sum(axis=0)) / mass
    place = [(column + shift_column - margin) * cell, (row + shift_row - margin) * cell]
    # many radii around the right one bring all votes into the cells around, so the middle of them is the best guess
    near = layer + np.arange(-_NEAR, _NEAR + 1)[:, None]
    votes = gathered[np.clip(near, 0, layers - 1), row, column] * ((near >= 0) & (near < layers))
    excess = np.maximum(votes - 0.7 * votes.max(axis=0, initial=0), 0)
    radius = (excess * radii[np.clip(near, 0, layers - 1)]).sum(axis=0) / excess.sum(axis=0)
    return np.stack([*place, radius, own], axis=1)
