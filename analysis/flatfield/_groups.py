"""Groups of slides that share one illumination, suggested from their comparison."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from analysis.flatfield._comparison import Comparison


@dataclass(frozen=True)
class Groups:
    """Slides ordered by likeness and cut into groups.

    Attributes
    ----------
    names
        Label of every slide.
    order
        (slides,) indices that put like slides side by side.
    labels
        (slides,) number of each slide's group, from 0 and largest group first; -1 for an outlier.
    distances
        (slides, slides) ``|value - 1|`` of the averages; infinite where a pair is unknown.
    values
        (slides, slides) the averages.
    linkage
        SciPy's linkage matrix, (slides - 1, 4); empty for fewer than two slides.
    threshold
        Where the tree was cut.
    settings
        The keyword arguments used.
    """

    names: tuple[str, ...]
    order: np.ndarray
    labels: np.ndarray
    distances: np.ndarray
    values: np.ndarray
    linkage: np.ndarray
    threshold: float
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def outliers(self) -> tuple[str, ...]:
        """Names of the slides that are in no group."""
        return tuple(self.names[i] for i in self.order if self.labels[i] < 0)

    def members(self, group: int) -> tuple[str, ...]:
        """Return the names in a group, in the order of likeness."""
        return tuple(self.names[i] for i in self.order if self.labels[i] == group)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row a group: ``group, slides, members, worst_slide_1, worst_slide_2, worst_value, median_value``.

        The worst pair is the one whose value is furthest from 1. Outliers are the last rows, named
        ``outlier``, with the slide they are closest to as their worst pair.
        """
        rows = [self._group_row(group) for group in range(self.labels.max(initial=-1) + 1)]
        rows += [self._outlier_row(i) for i in self.order if self.labels[i] < 0]
        columns = ["group", "slides", "members", "worst_slide_1", "worst_slide_2", "worst_value", "median_value"]
        return pd.DataFrame(rows, columns=columns)

    def _group_row(self, group: int) -> tuple:
        inside = [i for i in self.order if self.labels[i] == group]
        first, second = np.triu_indices(len(inside), 1)
        pairs = np.array(inside)[first], np.array(inside)[second]
        worst = int(np.argmax(self.distances[pairs]))
        i, j = pairs[0][worst], pairs[1][worst]
        members = ", ".join(self.names[k] for k in inside)
        median = float(np.median(self.values[pairs]))
        return f"group {group + 1}", len(inside), members, self.names[i], self.names[j], self.values[i, j], median

    def _outlier_row(self, index: int) -> tuple:
        others = self.distances[index].copy()
        others[index] = np.inf
        nearest = int(np.argmin(others))
        if not np.isfinite(others[nearest]):
            return "outlier", 1, self.names[index], self.names[index], "", np.nan, np.nan
        value = self.values[index, nearest]
        return "outlier", 1, self.names[index], self.names[index], self.names[nearest], value, value

    def summary(self) -> dict[str, Any]:
        """Return the number of groups, their sizes and the outliers."""
        sizes = np.bincount(self.labels[self.labels >= 0]).tolist()
        return {"groups": len(sizes), "sizes": sizes, "outliers": list(self.outliers), "threshold": self.threshold}


def suggest_groups(comparison: Comparison, *, layers: str | int = "all", threshold: float = 0.05) -> Groups:
    """Suggest which slides share one illumination.

    Slides are joined by complete linkage on ``|value - 1|``, so no pair within a group is further from 1
    than the threshold. A slide alone is an outlier.

    Parameters
    ----------
    comparison
        Of any slides.
    layers
        Layers to average, as in `choose_layers`.
    threshold
        Largest ``|value - 1|`` within a group.

    Returns
    -------
    Groups
        Largest group first, equals in the order of their first slide.

    Raises
    ------
    ValueError
        When the threshold is not a number above 0.

    References
    ----------
    Complete linkage: SciPy's `scipy.cluster.hierarchy.linkage`.
    """
    if not 0 < threshold < np.inf:
        raise ValueError(f"threshold must be a number above 0; got {threshold}.")
    values = comparison.average(layers)
    names = comparison.slides.labels
    count = len(names)
    distances = np.where(np.isfinite(values), np.abs(values - 1), np.inf)
    np.fill_diagonal(distances, 0)
    settings = {"layers": layers, "threshold": threshold}
    if count < 2:
        alone = np.full(count, -1)
        return Groups(names, np.arange(count), alone, distances, values, np.empty((0, 4)), threshold, settings)
    # an unknown pair must never be inside a group: further apart than any known one
    known = distances[np.isfinite(distances)]
    far = 2 * max(known.max(initial=0), threshold) + 1
    condensed = squareform(np.where(np.isfinite(distances), distances, far), checks=False)
    linkage = hierarchy.linkage(condensed, method="complete", optimal_ordering=count <= 300)
    raw = hierarchy.fcluster(linkage, threshold, criterion="distance")
    order = hierarchy.leaves_list(linkage)
    return Groups(names, order, _by_size(raw), distances, values, linkage, threshold, settings)


def _by_size(raw: np.ndarray) -> np.ndarray:
    """Number groups from 0, largest first; slides alone become -1."""
    numbers, first, sizes = np.unique(raw, return_index=True, return_counts=True)
    ranked = sorted((-size, start, number) for number, start, size in zip(numbers, first, sizes, strict=True))
    names = {number: rank if size < -1 else -1 for rank, (size, _, number) in enumerate(ranked)}
    return np.array([names[number] for number in raw], dtype=int)
