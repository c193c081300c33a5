"""How much clusters hang on which patches happen to be there: clustered again and again with other draws of them."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_rand_score

from analysis.tasks import Progress, map_tasks
from analysis.texture._clusters import Clusters
from analysis.texture._features import Features
from analysis.texture._methods import assign_to_centres, part_features
from analysis.texture._silhouette import find_centres

_MOST = 3000
"""Patches in a draw; more change the score less than another draw does."""


@dataclass(frozen=True)
class Stability:
    """How alike the clusters of many draws of the patches are.

    Attributes
    ----------
    table
        One row a draw: ``draw`` from 1, ``agreement`` (adjusted Rand index with the clusters of all patches, at
        most 1).
    score
        Mean agreement: 1 means that the clusters are always the same, 0 no more alike than by chance.
    deviation
        Standard deviation of the agreement.
    settings
        The keyword arguments used.
    """

    table: pd.DataFrame
    score: float
    deviation: float
    settings: dict[str, Any] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """Return the score, its deviation, and the number of draws."""
        return {"score": self.score, "deviation": self.deviation, "draws": len(self.table)}


def measure_stability(
    clusters: Clusters,
    *,
    draws: int = 20,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> Stability:
    """Cluster bootstrap draws of the patches and compare with the clusters of all of them.

    Each draw, with replacement and of at most 3000 patches, is clustered alike; all patches then go to the nearest mean
    of its clusters. That tells whether the number of clusters is one that the patches themselves ask for; too many are
    rarely stable. It does not tell whether the clusters mean anything: shading gives stable ones too.

    Parameters
    ----------
    clusters
        As `cluster_patches` returns them.
    draws
        How many.
    seed
        Of the draws.
    workers
        Draws clustered at once; all cores when None.
    progress
        Called with draws done, draws, and words.
    cancel
        Stops the work when set.

    Returns
    -------
    Stability

    Raises
    ------
    ValueError
        When there is not one draw.
    analysis.tasks.Cancelled
        When it was stopped.

    References
    ----------
    L. Hubert, P. Arabie, J. Classification 2, 193 (1985), https://doi.org/10.1007/BF01908075; C. Hennig, Comput. Stat.
    Data Anal. 52, 258 (2007), https://doi.org/10.1016/j.csda.2006.11.025
    """
    if draws < 1:
        raise ValueError(f"draws must be at least 1; got {draws}.")
    work = partial(agreement_of, clusters.features, clusters.numbers, clusters.settings, seed)
    found = []
    for _, agreement, error in map_tasks(
        work, range(draws), workers=workers, progress=progress, cancel=cancel, words="clustering draws"
    ):
        if error is not None:
            raise error
        found.append(agreement)
    table = pd.DataFrame({"draw": np.arange(1, draws + 1), "agreement": found})
    score, deviation = (float("nan"),) * 2
    if np.isfinite(found).any():
        score, deviation = float(np.nanmean(found)), float(np.nanstd(found))
    return Stability(table, score, deviation, {"draws": draws, "seed": seed})


def agreement_of(features: Features, numbers: np.ndarray, settings: dict[str, Any], seed: int, draw: int) -> float:
    """Return the adjusted Rand index of one draw's clusters and those of all patches; NaN when it has fewer than two.

    Parameters
    ----------
    features
        What was clustered.
    numbers
        Cluster of each row in the table of patches.
    settings
        Keyword arguments of `cluster_patches`.
    seed, draw
        Of the random numbers.
    """
    whole = numbers[features.rows]
    inside = np.flatnonzero(whole > 0)
    if len(np.unique(whole[inside])) < 2:
        return float("nan")
    rng = np.random.default_rng([seed, draw])
    chosen = np.sort(rng.choice(inside, min(len(inside), _MOST), replace=True))
    if settings["method"] in ("agglomerative", "hdbscan"):
        chosen = np.unique(chosen)  # the same patch twice would be a dense place
    values = features.values[chosen]
    part = Features(values, chosen, features.names)
    how = {name: settings[name] for name in ("method", "linkage", "metric", "smallest")}
    if part.distinct < settings["clusters"] and settings["method"] != "hdbscan":
        return float("nan")
    labels, *_ = part_features(part, settings["clusters"], **how, seed=draw, n_init=min(settings["n_init"], 3))
    if labels.max(initial=-1) < 1:
        return 0.0
    kept, labels = values[labels >= 0], labels[labels >= 0]
    _, labels = np.unique(labels, return_inverse=True)
    centres = find_centres(kept, labels, int(labels.max()) + 1)
    return float(adjusted_rand_score(whole[inside], assign_to_centres(features.values[inside], centres)))
