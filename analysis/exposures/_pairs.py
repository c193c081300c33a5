"""Places within a radius of each other: pairs, the groups they join to, and how much of two discs is shared."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

MOST_PAIRS = 5_000_000


def find_pairs(
    positions_um: np.ndarray, session: np.ndarray, radius_um: float, *, name: str = "radius_um"
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs of places of one session that are no further apart than the radius.

    Parameters
    ----------
    positions_um
        (exposures, 2).
    session
        (exposures,) number of each one's session; stages of two sessions have nothing to do with each other.
    radius_um
        Largest distance.
    name
        What an error calls the radius.

    Returns
    -------
    pairs : (pairs, 2) int array
        Row numbers, the smaller one first; sorted.
    distances_um : (pairs,) array

    Raises
    ------
    ValueError
        When there are more than 5 million pairs; they are counted before any is listed.
    """
    rows = [np.flatnonzero(session == number) for number in np.unique(session)]
    trees = [_tree(positions_um[inside]) for inside in rows]
    # each pair is counted from both ends, and each place with itself
    count = sum((int(tree.count_neighbors(tree, radius_um)) - tree.n) // 2 for tree in trees)
    if count > MOST_PAIRS:
        raise ValueError(
            f"{name} must give at most {MOST_PAIRS:,} pairs; {radius_um:g} um gives {count:,} among "
            f"{len(positions_um):,} exposures. "
            "It must be smaller than the distance of neighbours; are positions and diameters right?"
        )
    found = [
        inside[tree.query_pairs(radius_um, output_type="ndarray")] for inside, tree in zip(rows, trees, strict=True)
    ]
    pairs = np.concatenate([*found, np.empty((0, 2), dtype=int)]).astype(int)
    pairs = pairs[np.argsort(pairs[:, 0] * len(positions_um) + pairs[:, 1])]
    return pairs, np.hypot(*(positions_um[pairs[:, 0]] - positions_um[pairs[:, 1]]).T)


def join_pairs(pairs: np.ndarray, count: int) -> np.ndarray:
    """Return the number of each exposure's group, (count,): -1 for one in no pair, else from 0.

    Whatever is joined by pairs, directly or through others, is one group. Groups are numbered in the order of
    their first row.
    """
    graph = coo_matrix((np.ones(len(pairs), dtype=bool), tuple(pairs.T)), shape=(count, count))
    labels = connected_components(graph, directed=False)[1]
    groups = np.full(count, -1)
    inside = np.unique(pairs)
    _, first, number = np.unique(labels[inside], return_index=True, return_inverse=True)
    groups[inside] = np.argsort(np.argsort(first))[number]
    return groups


def nearest_earlier(
    positions_um: np.ndarray, groups: np.ndarray, pairs: np.ndarray, distances_um: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return which earlier member of its group lies nearest to each exposure, and at what distance.

    Parameters
    ----------
    positions_um, groups, pairs, distances_um
        As from the functions above; rows are in order of acquisition.

    Returns
    -------
    nearest : (exposures,) int array
        -1 for the first of a group and for an exposure in none.
    distances_um : (exposures,) array
        NaN there.
    """
    count = len(positions_um)
    nearest, shortest = np.full(count, -1), np.full(count, np.nan)
    order = np.lexsort((pairs[:, 0], distances_um, pairs[:, 1]))
    second, at = np.unique(pairs[order, 1], return_index=True)
    nearest[second], shortest[second] = pairs[order[at], 0], distances_um[order[at]]
    # left are firsts of groups, and members that only a later exposure joins to an earlier one
    inside = np.flatnonzero(groups >= 0)
    first = np.zeros(count, dtype=bool)
    first[inside[np.unique(groups[inside], return_index=True)[1]]] = True
    joined = inside[(nearest[inside] < 0) & ~first[inside]]
    if joined.size:
        nearest[joined] = _search_earlier(positions_um, groups, joined)
        shortest[joined] = np.hypot(*(positions_um[joined] - positions_um[nearest[joined]]).T)
    return nearest, shortest


def _search_earlier(positions_um: np.ndarray, groups: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Ask for more and more neighbours until one of them is earlier."""
    inside = np.flatnonzero(np.isin(groups, groups[rows]))
    # a third coordinate keeps groups further apart than any two members of one
    far = 2 * np.ptp(positions_um[inside], axis=0).sum() + 1
    lifted = np.column_stack([positions_um, groups * far])
    tree = cKDTree(lifted[inside])
    found = np.full(len(rows), -1)
    wanted = 8
    while (open_ := np.flatnonzero(found < 0)).size:
        neighbours = inside[tree.query(lifted[rows[open_]], k=min(wanted, len(inside)))[1]]
        earlier = (neighbours < rows[open_, None]) & (groups[neighbours] == groups[rows[open_], None])
        at = earlier.argmax(axis=1)
        found[open_] = np.where(earlier.any(axis=1), neighbours[np.arange(len(open_)), at], -1)
        wanted *= 4
    return found


def shared_share(distance_um: np.ndarray, earlier_um: np.ndarray, later_um: np.ndarray) -> np.ndarray:
    """Return which share of the later disc the earlier one covers, 0 to 1; arguments are distance and diameters."""
    distance, first, second = np.broadcast_arrays(distance_um, np.divide(earlier_um, 2), np.divide(later_um, 2))
    small, large = np.minimum(first, second), np.maximum(first, second)
    apart, within = distance >= first + second, distance <= large - small
    lens = ~(apart | within) & np.isfinite(small) & np.isfinite(distance)
    area = np.where(within, np.pi * small**2, np.where(apart, 0.0, np.nan))
    d, a, b = distance[lens], first[lens], second[lens]
    # two segments, each a sector less the kite of the two centres and the crossings
    angle_a = np.arccos(np.clip((d**2 + a**2 - b**2) / (2 * d * a), -1, 1))
    angle_b = np.arccos(np.clip((d**2 + b**2 - a**2) / (2 * d * b), -1, 1))
    kite = np.sqrt(np.clip((-d + a + b) * (d + a - b) * (d - a + b) * (d + a + b), 0, None)) / 2
    area[lens] = a**2 * angle_a + b**2 * angle_b - kite
    return area / (np.pi * second**2)


def _tree(positions_um: np.ndarray) -> cKDTree:
    # splitting at the middle of a box is faster to build than at the median, and positions are spread evenly
    return cKDTree(positions_um, balanced_tree=False, compact_nodes=False)
