"""Patches parted into clusters that look alike: their numbers, scores, sizes and representatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from analysis.texture._features import Features, make_features
from analysis.texture._methods import Linkage, Method, Metric, check_count, check_method, part_features
from analysis.texture._patches import Patches
from analysis.texture._silhouette import EXACT, find_centres, measure_bic, measure_inertia, measure_silhouette

NONE = -1
"""Number of patches that belong to no cluster."""
_BRIGHTNESS = ("mean", "median", "quartile2", "mode", "max", "min")
"""What clusters are sorted by when the mean was not measured: the first of these that was."""
REPRESENTATIVES = 6


@dataclass(frozen=True)
class Clusters:
    """Patches and the cluster of each.

    Attributes
    ----------
    patches
        What was clustered.
    numbers
        (patches,) int64, in the order of their table: cluster from 1, or -1 for patches that were left out, have no
        number, or lie between the clusters of hdbscan. Sorted as ``order_by`` says.
    features
        The numbers that were compared, transformed: scaled and turned to components.
    silhouette
        Mean silhouette on the transformed features, -1 to 1; exact up to 5000 patches, above that of 5000 drawn by
        chance; NaN when there are fewer than two clusters.
    inertia
        Sum of the squared distances of patches from the mean of their cluster, in transformed features.
    bic
        Bayes' information criterion, lower is better: of the mixture for method ``"gaussian mixture"``, else of round
        Gaussians of one width around the means.
    representatives
        Up to 6 rows a cluster, the nearest to its mean first: ``cluster, rank, patch`` (row in the table of patches),
        ``distance``.
    warnings
        Sentences.
    settings
        The keyword arguments used.
    """

    patches: Patches
    numbers: np.ndarray
    features: Features
    silhouette: float
    inertia: float
    bic: float
    representatives: pd.DataFrame
    warnings: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def table(self) -> pd.DataFrame:
        """The table of patches, and their ``cluster``."""
        return self.patches.table.assign(cluster=self.numbers)

    @property
    def count(self) -> int:
        """Number of clusters."""
        return max(int(self.numbers.max(initial=0)), 0)

    @property
    def names(self) -> dict[int, str]:
        """Name of each cluster by its number."""
        return {number: f"cluster {number}" for number in range(1, self.count + 1)}

    @cached_property
    def sizes(self) -> pd.DataFrame:
        """One row a cluster: ``cluster, patches, share`` (of those in a cluster), and the mean of each statistic."""
        inside = self.numbers > 0
        found = np.bincount(self.numbers[inside], minlength=self.count + 1)[1:]
        told = self.patches.table.loc[inside, list(self.patches.statistics)].groupby(self.numbers[inside]).mean()
        rows = {"cluster": range(1, self.count + 1), "patches": found, "share": found / max(found.sum(), 1)}
        return pd.concat([pd.DataFrame(rows), told.reset_index(drop=True)], axis=1)

    def summary(self) -> dict[str, Any]:
        """Return the number of patches and clusters, sizes, scores, and warnings."""
        return {
            "patches": len(self.numbers),
            "in_no_cluster": int((self.numbers < 0).sum()),
            "clusters": self.count,
            "sizes": [int(size) for size in self.sizes["patches"]],
            "silhouette": self.silhouette,
            "silhouette_of_patches": min(int((self.numbers > 0).sum()), EXACT),
            "inertia": self.inertia,
            "bic": self.bic,
            "warnings": list(self.warnings),
        }


def cluster_patches(
    patches: Patches,
    *,
    clusters: int = 3,
    method: Method = "k-means",
    linkage: Linkage = "complete",
    metric: Metric = "euclidean",
    smallest: int | None = None,
    statistics: Sequence[str] | None = None,
    scale: bool = True,
    components: int | None = None,
    order_by: str = "mean",
    seed: int = 0,
    n_init: int = 10,
) -> Clusters:
    """Part patches into clusters that look alike; no tile is read.

    Parameters
    ----------
    patches
        As `measure_patches` returns them.
    clusters
        How many; hdbscan finds the number by itself.
    method
        ``"k-means"``, ``"agglomerative"``, ``"gaussian mixture"`` or ``"hdbscan"``.
    linkage
        Of agglomerative: ``"complete"`` joins by the farthest pair of patches, ``"average"`` by the mean of all pairs,
        ``"ward"`` such that the squares grow least.
    metric
        Of agglomerative: ``"euclidean"``, or ``"cosine"``, which looks at the pattern of the features and not their
        size.
    smallest
        Of hdbscan: patches in the smallest cluster; a fiftieth of all, and at least 5, when None.
    statistics
        Which of those measured count; all when None.
    scale
        Whether each statistic is brought to mean 0 and standard deviation 1.
    components
        Principal components that are kept; None for the statistics themselves.
    order_by
        What clusters are numbered by, so that their colours stay put: ``"mean"`` or another statistic that was measured
        (smallest first; without ``"mean"`` the median or the next like it), or ``"size"`` (largest first).
    seed
        Of the random starts.
    n_init
        Starts tried by k-means, at most 3 by the mixture. Of more than 50 000 patches they are tried on 20 000.

    Returns
    -------
    Clusters
        The same for any order of the files.

    Raises
    ------
    ValueError
        When an option is none of these, or there are fewer patches, different patches or statistics than asked for.

    References
    ----------
    S. Lloyd, IEEE Trans. Inf. Theory 28, 129 (1982), https://doi.org/10.1109/TIT.1982.1056489; L. McInnes, J. Healy,
    S. Astels, J. Open Source Softw. 2, 205 (2017), https://doi.org/10.21105/joss.00205

    Examples
    --------
    >>> import tempfile
    >>> from analysis.synthetic.texture import draw_tile_set
    >>> from analysis.texture import find_tile_set, measure_patches
    >>> truth = draw_tile_set(tempfile.mkdtemp(), shape=(128, 128))
    >>> patches = measure_patches(find_tile_set(truth.folder / "tiles"), grid=8, statistics="five_number")
    >>> found = cluster_patches(patches, clusters=3)
    >>> found.count, found.sizes["median"].is_monotonic_increasing
    (3, True)
    """
    features = make_features(patches, statistics=statistics, scale=scale, components=components)
    settings = {
        "clusters": clusters, "method": method, "linkage": linkage, "metric": metric, "smallest": smallest,
        "statistics": None if statistics is None else list(statistics), "scale": scale, "components": components,
        "order_by": order_by, "seed": seed, "n_init": n_init,
    }  # fmt: skip
    return cluster_features(patches, features, settings)


def cluster_features(patches: Patches, features: Features, settings: dict[str, Any]) -> Clusters:
    """Part patches whose features are at hand.

    Parameters
    ----------
    patches
        What is clustered.
    features
        Of these patches.
    settings
        Keyword arguments of `cluster_patches`.
    """
    how = {name: settings[name] for name in ("method", "linkage", "metric", "smallest", "seed", "n_init")}
    check_method(how["method"], how["linkage"], how["metric"])
    check_count(features, settings["clusters"], how["method"])
    if how["n_init"] < 1:
        raise ValueError(f"n_init must be at least 1; got {how['n_init']}.")
    if not 0 <= how["seed"] < 2**32:
        raise ValueError(f"seed must be from 0 to {2**32 - 1}; got {how['seed']}.")
    key, said = _order_key(patches, features, settings["order_by"])
    labels, criterion, found_said = part_features(features, settings["clusters"], **how)
    labels, count = sort_labels(labels, key)
    values = features.values
    centres = find_centres(values, labels, count)
    inside = labels >= 0
    inertia = measure_inertia(values, labels, centres)
    bic = measure_bic(inertia, np.bincount(labels[inside], minlength=count), values.shape[1]) if count else float("nan")
    numbers = np.full(len(patches.table), NONE, np.int64)
    numbers[features.rows] = np.where(inside, labels + 1, NONE)
    said = [*features.warnings, *said, *found_said]
    if int(inside.sum()) > EXACT:
        said.append(f"The silhouette is that of {EXACT} patches drawn by chance, of {int(inside.sum())}.")
    return Clusters(
        patches=patches,
        numbers=numbers,
        features=features,
        silhouette=measure_silhouette(values, labels, cosine=how["metric"] == "cosine", seed=how["seed"]),
        inertia=inertia,
        bic=bic if criterion is None else criterion,
        representatives=_represent(features, labels, centres),
        warnings=tuple(said),
        settings=settings,
    )


def sort_labels(labels: np.ndarray, key: np.ndarray | None) -> tuple[np.ndarray, int]:
    """Number clusters by the mean of a key, smallest first, or by size, largest first, when it is None.

    Parameters
    ----------
    labels
        (patches,) any numbers from 0; below 0 stays.
    key
        (patches,)

    Returns
    -------
    tuple
        New labels from 0 without gaps, and the number of clusters.
    """
    inside = labels >= 0
    sizes = np.bincount(labels[inside]) if inside.any() else np.zeros(0, np.int64)
    if key is None:
        rank = -sizes.astype(float)
    else:
        rank = np.bincount(labels[inside], key[inside], len(sizes)) / np.maximum(sizes, 1)
    first = np.full(len(sizes), len(labels))
    np.minimum.at(first, labels[inside], np.flatnonzero(inside))
    used = np.flatnonzero(sizes)
    order = used[np.lexsort((first[used], rank[used]))]
    new = np.full(len(sizes) + 1, NONE)
    new[order] = np.arange(len(order))
    return new[np.where(inside, labels, len(sizes))], len(order)


def _order_key(patches: Patches, features: Features, order_by: str) -> tuple[np.ndarray | None, list[str]]:
    if order_by == "size":
        return None, []
    name, said = order_by, []
    if name not in patches.statistics:
        if name != "mean":
            raise ValueError(f"order_by must be size or a statistic that was measured; got {order_by!r}.")
        name = next((each for each in _BRIGHTNESS if each in patches.statistics), patches.statistics[0])
        if name not in _BRIGHTNESS:
            said = [f"The mean was not measured, so clusters are numbered by {name}."]
    key = patches.table[name].to_numpy(float)[features.rows]
    return np.nan_to_num(key, nan=0.0, posinf=0.0, neginf=0.0), said


def _represent(features: Features, labels: np.ndarray, centres: np.ndarray) -> pd.DataFrame:
    """Return the patches nearest to the mean of their cluster; of equally near ones the first."""
    parts = []
    for cluster, centre in enumerate(centres):
        members = np.flatnonzero(labels == cluster)
        apart = np.sqrt(((features.values[members] - centre) ** 2).sum(axis=1))
        near = np.argsort(apart, kind="stable")[:REPRESENTATIVES]
        parts.append(
            pd.DataFrame(
                {
                    "cluster": cluster + 1,
                    "rank": np.arange(1, len(near) + 1),
                    "patch": features.rows[members[near]],
                    "distance": apart[near],
                }
            )
        )
    if not parts:
        return pd.DataFrame({"cluster": [], "rank": [], "patch": [], "distance": []}).astype(
            {"cluster": int, "rank": int, "patch": int}
        )
    return pd.concat(parts, ignore_index=True)
