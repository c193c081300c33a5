"""The ways to part patches into clusters, each with one thread: sessions side by side do not fight for cores."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Literal

import numpy as np
from sklearn.cluster import HDBSCAN, AgglomerativeClustering, KMeans
from sklearn.mixture import GaussianMixture
from threadpoolctl import ThreadpoolController

from analysis.texture._features import Features
from analysis.texture._silhouette import turn_to_unit

Method = Literal["k-means", "agglomerative", "gaussian mixture", "hdbscan"]
Linkage = Literal["complete", "average", "ward"]
Metric = Literal["euclidean", "cosine"]
METHODS: dict[str, str] = {
    "k-means": "round clusters of like width, each around its mean; the usual choice, fast for any number of patches",
    "agglomerative": "patches are joined to ever larger clusters; slow above 10 000 patches, and other patches of the "
    "same tiles may give other clusters",
    "gaussian mixture": "ellipses of any width and direction that may overlap",
    "hdbscan": "dense places of any form, their number found by itself; what lies between belongs to no cluster",
}
"""Ways to part patches, in words."""
LINKAGES = ("complete", "average", "ward")
METRICS = ("euclidean", "cosine")
START_SAMPLE = 20_000
"""Patches, drawn by chance, that k-means and the mixture look for a start in when there are far more."""
MANY = 50_000
MOST_JOINED = 20_000
"""Agglomerative clustering holds half the square of so many distances twice: 3.2 GB."""
_PAIR_BYTES = 16
SLOW_JOINED = 8_000
MOST_DENSE = 40_000


@lru_cache(maxsize=1)
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


def one_thread() -> AbstractContextManager[object]:
    """Keep OpenMP to one thread in the thread that calls; others keep theirs.

    Several threads that each start as many as there are cores make k-means slower by far, not faster.
    """
    return _controller().limit(limits=1, user_api="openmp")


def check_method(method: str, linkage: str, metric: str) -> None:
    """Refuse what is no method, and what does not go together."""
    for name, value, known in (
        ("method", method, tuple(METHODS)), ("linkage", linkage, LINKAGES), ("metric", metric, METRICS),
    ):  # fmt: skip
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}; got {value!r}.")
    if metric == "cosine" and method != "agglomerative":
        raise ValueError(f'metric must be "euclidean" for {method}; "cosine" goes with agglomerative alone.')
    if metric == "cosine" and linkage == "ward":
        raise ValueError('linkage must be "complete" or "average" with the metric "cosine"; got "ward".')


def check_count(features: Features, clusters: int, method: str) -> None:
    """Refuse more clusters than different patches."""
    if isinstance(clusters, bool) or not isinstance(clusters, int | np.integer) or not 1 <= clusters <= 255:
        raise ValueError(f"clusters must be a whole number from 1 to 255; got {clusters!r}.")
    if method == "hdbscan":
        return
    if clusters > len(features):
        raise ValueError(
            f"clusters must be at most the number of patches that count, {len(features)}; got {clusters}. Choose fewer "
            "clusters or a finer grid."
        )
    if method == "gaussian mixture" and len(features) < 2:
        raise ValueError("gaussian mixture must have at least two patches that count; got 1. Choose k-means.")
    if clusters > features.distinct:
        raise ValueError(
            f"clusters must be at most the number of different patches, {features.distinct}; got {clusters}. Constant "
            "images have one; leave out blank patches or choose fewer clusters."
        )


def part_features(
    features: Features,
    clusters: int,
    *,
    method: Method = "k-means",
    linkage: Linkage = "complete",
    metric: Metric = "euclidean",
    smallest: int | None = None,
    seed: int = 0,
    n_init: int = 10,
) -> tuple[np.ndarray, float | None, list[str]]:
    """Return the cluster of each patch from 0 (below 0 none), the mixture's own criterion, and sentences.

    Parameters
    ----------
    features
        As `make_features` returns them.
    clusters, method, linkage, metric, smallest, seed, n_init
        As in `cluster_patches`.
    """
    with one_thread():
        if method == "k-means":
            return *_part_by_means(features.values, clusters, seed, n_init), []
        if method == "gaussian mixture":
            return _part_by_mixture(features.values, clusters, seed, n_init)
        if method == "agglomerative":
            return _join(features.values, clusters, linkage, metric)
        return _part_by_density(features.values, smallest)


def assign_to_centres(values: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return the nearest centre of each row."""
    apart = (centres**2).sum(axis=1)[None, :] - 2 * (values @ centres.T)
    return apart.argmin(axis=1)


def _start_rows(count: int, seed: int) -> np.ndarray | None:
    if count <= MANY:
        return None
    return np.sort(np.random.default_rng(seed).choice(count, START_SAMPLE, replace=False))


def _part_by_means(values: np.ndarray, clusters: int, seed: int, n_init: int) -> tuple[np.ndarray, None]:
    """Run k-means; of very many patches the starts are tried on some of them, and the best one runs on all."""
    rows = _start_rows(len(values), seed)
    if rows is not None and len(np.unique(values[rows], axis=0)) >= clusters:
        best = KMeans(clusters, n_init=n_init, random_state=seed, algorithm="lloyd").fit(values[rows])
        last = KMeans(clusters, init=best.cluster_centers_, n_init=1, random_state=seed, algorithm="lloyd")
        return last.fit(values).labels_.astype(np.int64), None
    found = KMeans(clusters, n_init=n_init, random_state=seed, algorithm="lloyd").fit(values)
    return found.labels_.astype(np.int64), None


def _part_by_mixture(
    values: np.ndarray, clusters: int, seed: int, n_init: int
) -> tuple[np.ndarray, float | None, list[str]]:
    rows = _start_rows(len(values), seed)
    part = values if rows is None else values[rows]
    # a start by k-means is a good one; each of ours is one of its own
    spread = max(float(part.var(axis=0).max()), 1e-300)
    model = GaussianMixture(
        clusters, n_init=min(n_init, 3), random_state=seed, max_iter=2000, reg_covar=1e-6 * spread, tol=1e-3
    ).fit(part)
    said = []
    if rows is not None:
        said.append(
            f"The mixture is fitted to {len(part)} patches drawn by chance, and then applied to all {len(values)}."
        )
    return model.predict(values).astype(np.int64), float(model.bic(values)), said


def _join(values: np.ndarray, clusters: int, linkage: str, metric: str) -> tuple[np.ndarray, None, list[str]]:
    count = len(values)
    if count > MOST_JOINED:
        raise ValueError(
            f"agglomerative must have at most {MOST_JOINED} patches, because it holds all distances between them; got "
            f"{count}, which need {count * (count - 1) / 2 * _PAIR_BYTES / 1e9:.0f} GB. Choose k-means or a coarser "
            "grid."
        )
    said = []
    if count > SLOW_JOINED:
        said.append(
            f"Agglomerative clustering of {count} patches needs {count * (count - 1) / 2 * _PAIR_BYTES / 1e9:.1f} GB "
            "for distances; with twice the patches it takes more than 4 times as long."
        )
    if count == 1:
        return np.zeros(1, np.int64), None, said
    if metric == "cosine":
        silent = int((np.linalg.norm(values, axis=1) == 0).sum())
        if silent:
            raise ValueError(
                f'patches must differ from zero in at least one feature for the metric "cosine"; {silent} do not. '
                'Choose the metric "euclidean".'
            )
        values = turn_to_unit(values)
    model = AgglomerativeClustering(clusters, linkage=linkage, metric=metric).fit(values)
    return model.labels_.astype(np.int64), None, said


def _part_by_density(values: np.ndarray, smallest: int | None) -> tuple[np.ndarray, None, list[str]]:
    count = len(values)
    if count > MOST_DENSE:
        raise ValueError(
            f"hdbscan must have at most {MOST_DENSE} patches; got {count}. Choose k-means or a coarser grid."
        )
    size = max(2, min(count, max(5, round(count / 50)))) if smallest is None else smallest
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 2:
        raise ValueError(f"smallest must be a whole number from 2; got {smallest!r}.")
    if size > count and smallest is not None:
        raise ValueError(f"smallest must be at most the number of patches that count, {count}; got {size}.")
    labels = np.full(count, -1)
    if count > 1:
        labels = HDBSCAN(min_cluster_size=int(size), n_jobs=1, copy=True).fit(values).labels_.astype(np.int64)
    found = int(labels.max(initial=-1)) + 1
    none = int((labels < 0).sum())
    said = [f"{none} of {count} patches lie between dense places and belong to no cluster."] if none else []
    if found == 0:
        said.append(f"No place is dense enough for a cluster of {size} patches. Choose a smaller one.")
    return labels, None, said
