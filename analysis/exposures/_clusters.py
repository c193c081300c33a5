"""Beam shifts in clusters: the scalar k by hand, from the distances of their centres."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist

from analysis.exposures._calibration import count_groups
from analysis.exposures._lattice import beam_shift_lattice, hole_terms
from analysis.exposures._session import Session

_NEIGHBOUR = 1.2
"""Centres up to this many times the usual nearest distance apart are neighbours on the lattice: a diagonal is 1.41."""
_OUTLIER = 3.5
_MOST_CLUSTERS = 60
_SAMPLE = 5000


@dataclass(frozen=True)
class BeamShiftClusters:
    """Beam shifts sorted into clusters, one for each hole that is reached without moving the stage.

    Attributes
    ----------
    centres
        (clusters, 2) in units of beam shift.
    labels
        (exposures,) cluster of each row of ``session.exposures``.
    distances
        (clusters, clusters) Euclidean distances of the centres.
    neighbours
        One row a pair of neighbours: ``first, second, distance, used``; outliers are not used.
    hole_spacing_um
        Distance of neighbouring holes, None when unknown.
    settings
        The keyword arguments used.
    """

    centres: np.ndarray
    labels: np.ndarray
    distances: np.ndarray
    neighbours: pd.DataFrame
    hole_spacing_um: float | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def minimum(self) -> float:
        """Smallest distance of two centres; NaN for fewer than two."""
        return float(self._apart().min()) if len(self.centres) > 1 else float("nan")

    @property
    def maximum(self) -> float:
        """Largest distance of two centres; NaN for fewer than two."""
        return float(self._apart().max()) if len(self.centres) > 1 else float("nan")

    @property
    def k_um_per_unit(self) -> float:
        """Hole spacing over the mean distance of neighbours; NaN without either."""
        return scalar_k(self.neighbours, self.hole_spacing_um)

    @property
    def table(self) -> pd.DataFrame:
        """One row a cluster: ``cluster, beam_shift_x, beam_shift_y, exposures, nearest_cluster, nearest_distance``."""
        apart = self.distances + np.diag(np.full(len(self.distances), np.inf))
        nearest = apart.argmin(axis=1) if len(apart) > 1 else np.full(len(apart), -1)
        return pd.DataFrame(
            {
                "cluster": np.arange(len(self.centres)),
                "beam_shift_x": self.centres[:, 0],
                "beam_shift_y": self.centres[:, 1],
                "exposures": np.bincount(self.labels, minlength=len(self.centres)),
                "nearest_cluster": nearest,
                "nearest_distance": apart.min(axis=1, initial=np.inf),
            }
        )

    def summary(self) -> dict[str, Any]:
        """Return the number of clusters, least and largest distance, k and the spacing it is for."""
        return {
            "clusters": len(self.centres),
            "minimum": self.minimum,
            "maximum": self.maximum,
            "mean_of_neighbours": float(self.neighbours.loc[self.neighbours["used"], "distance"].mean()),
            "hole_spacing_um": self.hole_spacing_um,
            "k_um_per_unit": self.k_um_per_unit,
        }

    def _apart(self) -> np.ndarray:
        return self.distances[np.triu_indices(len(self.distances), 1)]


def cluster_beam_shifts(
    session: Session,
    *,
    clusters: int | None = None,
    hole_spacing_um: float | None = None,
    n_init: int = 10,
    max_iter: int = 300,
    seed: int = 0,
) -> BeamShiftClusters:
    """Sort beam shifts into clusters by k-means, and take k from the distances of neighbouring centres.

    Parameters
    ----------
    session
        Of any exposures.
    clusters
        How many; when None, as many as lattice cells of the beam shift are in use or, where no lattice is seen,
        as many as give the best silhouette.
    hole_spacing_um
        Distance of neighbouring holes; without it k stays unknown.
    n_init, max_iter
        Starts of k-means, and rounds of each.
    seed
        Of k-means.

    Returns
    -------
    BeamShiftClusters
        Numbered from the left, so that numbers stay put between runs.

    Raises
    ------
    ValueError
        When there are fewer different beam shifts than clusters.

    References
    ----------
    k-means as in find_dupl, https://github.com/afanasyevp/find_dupl.
    """
    if hole_spacing_um is not None and not 0 < hole_spacing_um < np.inf:
        raise ValueError(f"hole_spacing_um must be a number above 0; got {hole_spacing_um}.")
    exposures = session.exposures
    shifts = exposures[["beam_shift_x", "beam_shift_y"]].to_numpy(float)
    # readings of one shift agree to many digits, but not to the last one
    different = len(np.unique(np.round(shifts, 7), axis=0))
    if clusters is not None and not 1 <= clusters <= different:
        raise ValueError(f"clusters must be from 1 to the {different} different beam shifts; got {clusters}.")
    count = clusters if clusters is not None else _find_count(session, shifts, different, seed)
    if not count:
        raise ValueError(f"The session must have exposures that can be read; got none in {session.folder}.")
    from sklearn.cluster import KMeans  # takes longer to import than all else together

    fitted = KMeans(count, n_init=n_init, max_iter=max_iter, random_state=seed).fit(shifts)
    order = np.lexsort(np.round(fitted.cluster_centers_, 4).T[::-1])
    centres = fitted.cluster_centers_[order]
    labels = np.argsort(order)[fitted.labels_]
    distances = cdist(centres, centres)
    settings = {"clusters": clusters, "hole_spacing_um": hole_spacing_um, "n_init": n_init, "max_iter": max_iter}
    settings["seed"] = seed
    return BeamShiftClusters(centres, labels, distances, find_neighbours(distances), hole_spacing_um, settings)


def find_neighbours(distances: np.ndarray) -> pd.DataFrame:
    """Find which pairs of centres are neighbours on the lattice of holes.

    Parameters
    ----------
    distances
        (clusters, clusters), symmetric.

    Returns
    -------
    DataFrame
        ``first, second, distance, used``: pairs up to 1.2 times the median nearest distance apart; those far off
        their median are not used.
    """
    if len(distances) < 2:
        return pd.DataFrame({"first": [], "second": [], "distance": [], "used": np.empty(0, bool)})
    apart = distances + np.diag(np.full(len(distances), np.inf))
    first, second = np.triu_indices(len(distances), 1)
    distance = distances[first, second]
    near = distance <= _NEIGHBOUR * np.median(apart.min(axis=1))
    distance = distance[near]
    middle = np.median(distance)
    # median absolute deviation, scaled to a standard deviation; a thousandth of the distance is agreement
    spread = max(1.4826 * np.median(np.abs(distance - middle)), 0.001 * middle)
    used = np.abs(distance - middle) <= _OUTLIER * spread
    return pd.DataFrame({"first": first[near], "second": second[near], "distance": distance, "used": used})


def scalar_k(neighbours: pd.DataFrame, hole_spacing_um: float | None) -> float:
    """Return the scalar k: hole spacing over the mean distance of neighbours that are used.

    Parameters
    ----------
    neighbours
        Of `find_neighbours`.
    hole_spacing_um
        None gives NaN.

    Returns
    -------
    float
        Um per unit of beam shift.
    """
    used = neighbours.loc[neighbours["used"].astype(bool), "distance"]
    return float(hole_spacing_um / used.mean()) if hole_spacing_um is not None and len(used) else float("nan")


def _find_count(session: Session, shifts: np.ndarray, different: int, seed: int) -> int:
    """Number of lattice cells in use; the best silhouette where no lattice is seen."""
    if different < 2:
        return different
    try:
        holes = hole_terms(session.exposures).holes
        terms = holes[["beam_shift_x", "beam_shift_y"]].to_numpy()
        basis, _ = beam_shift_lattice(terms, holes["position"].to_numpy())
        return len(count_groups(terms, basis)[1])
    except ValueError:
        from sklearn.cluster import KMeans
        from sklearn.metrics import silhouette_score

        some = shifts[np.random.default_rng(seed).permutation(len(shifts))[:_SAMPLE]]
        most = min(_MOST_CLUSTERS, different, len(some) - 1)
        scores = {k: silhouette_score(some, KMeans(k, n_init=3, random_state=seed).fit_predict(some))
                  for k in range(2, most + 1)}  # fmt: skip
        return max(scores, key=scores.get) if scores else different
