"""Scores of a partition: silhouette, sum of squares, and Bayes' information criterion."""

from __future__ import annotations

import math

import numba
import numpy as np

EXACT = 5000
"""Patches up to which the silhouette is of all; of more it is of so many drawn by chance."""


def measure_silhouette(values: np.ndarray, labels: np.ndarray, *, cosine: bool = False, seed: int = 0) -> float:
    """Return the mean silhouette, -1 to 1: how much nearer patches are to their own cluster than to the next.

    Exact for up to `EXACT` patches, of more than that for so many drawn by chance, as distances to each other.

    Parameters
    ----------
    values
        (patches, features).
    labels
        (patches,) cluster of each, from 0; those below 0 do not count.
    cosine
        Whether distances are 1 - cosine of the angle, and not Euclidean.
    seed
        Of the draw.

    Returns
    -------
    float
        NaN when there are fewer than two clusters.

    References
    ----------
    P. J. Rousseeuw, J. Comput. Appl. Math. 20, 53 (1987), https://doi.org/10.1016/0377-0427(87)90125-7
    """
    rows = np.flatnonzero(labels >= 0)
    if len(rows) > EXACT:
        rows = np.sort(np.random.default_rng(seed).choice(rows, EXACT, replace=False))
    chosen = labels[rows]
    sizes = np.bincount(chosen) if len(chosen) else np.zeros(0, int)
    sizes = sizes[sizes > 0]
    if len(sizes) < 2:
        return float("nan")
    rows = rows[np.argsort(chosen, kind="stable")]
    part = values[rows]
    if cosine:
        part = turn_to_unit(part)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    return float(_mean_silhouette(np.ascontiguousarray(part.T), starts, cosine))


def turn_to_unit(values: np.ndarray) -> np.ndarray:
    """Return rows divided by their lengths; rows of zeros stay."""
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return values / np.where(length > 0, length, 1)


def find_centres(values: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """Return (clusters, features): the mean of each cluster."""
    inside = labels >= 0
    values, labels = (values, labels) if inside.all() else (values[inside], labels[inside])
    sizes = np.maximum(np.bincount(labels, minlength=count), 1)
    return np.stack([np.bincount(labels, column, count) for column in values.T], axis=1) / sizes[:, None]


def measure_inertia(values: np.ndarray, labels: np.ndarray, centres: np.ndarray) -> float:
    """Return the sum of the squared distances of patches from the mean of their cluster."""
    inside = labels >= 0
    values, labels = (values, labels) if inside.all() else (values[inside], labels[inside])
    return float(((values - centres[labels]) ** 2).sum())


def measure_bic(inertia: float, sizes: np.ndarray, features: int) -> float:
    """Return Bayes' information criterion of a partition, taken as round Gaussians of one width; lower is better.

    Parameters
    ----------
    inertia
        Sum of the squared distances from the means.
    sizes
        Patches in each cluster.
    features
        Number of them.

    References
    ----------
    D. Pelleg, A. Moore, Proc. 17th Int. Conf. Machine Learning, 727 (2000)
    """
    count, rows = len(sizes), int(sizes.sum())
    if not inertia > 0 or rows <= count:
        return float("nan")
    variance = inertia / (rows * features)
    likelihood = (sizes * np.log(sizes / rows)).sum() - rows * features / 2 * (math.log(2 * math.pi * variance) + 1)
    return float(-2 * likelihood + (count - 1 + count * features + 1) * math.log(rows))


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "nsz", "contract"})
def _mean_silhouette(columns, starts, squared):
    """Return the mean silhouette of patches that are sorted by cluster; columns is (features, patches)."""
    features, rows = columns.shape
    apart = np.empty(rows)
    total = 0.0
    own = 0
    for row in range(rows):
        while row >= starts[own + 1]:
            own += 1
        apart[:] = 0.0
        for feature in range(features):
            line = columns[feature]
            here = line[row]
            for other in range(rows):
                d = line[other] - here
                apart[other] += d * d
        if squared:
            for other in range(rows):
                apart[other] = 0.5 * apart[other]
        else:
            for other in range(rows):
                apart[other] = math.sqrt(apart[other])
        inside, outside = 0.0, np.inf
        for cluster in range(starts.shape[0] - 1):
            start, stop = starts[cluster], starts[cluster + 1]
            part = 0.0
            for other in range(start, stop):
                part += apart[other]
            if cluster == own:
                inside = part / max(stop - start - 1, 1)
            else:
                outside = min(outside, part / (stop - start))
        most = max(inside, outside)
        if starts[own + 1] - starts[own] > 1 and most > 0:
            total += (outside - inside) / most
    return total / rows
