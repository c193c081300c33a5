"""Patches as points in a plane, near each other when they look alike."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from analysis.texture._clusters import Clusters
from analysis.texture._features import make_features
from analysis.texture._patches import Patches

EmbeddingMethod = Literal["components", "umap"]
HAVE_UMAP = importlib.util.find_spec("umap") is not None
"""Whether the package umap-learn is installed."""
_MOST_UMAP = 20_000


@dataclass(frozen=True)
class Embedding:
    """A place in a plane for each patch.

    Attributes
    ----------
    table
        One row a patch that counts: ``patch`` (row in the table of patches), and the two names.
    names
        Of the two directions.
    explained
        Share of the variance that each has, 0 to 1; empty for UMAP, where distances have no unit.
    warnings
        Sentences.
    settings
        The keyword arguments used.
    """

    table: pd.DataFrame
    names: tuple[str, str]
    explained: tuple[float, ...] = ()
    warnings: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """Return the number of patches, the names of the directions, what they explain, and warnings."""
        return {
            "patches": len(self.table),
            "names": list(self.names),
            "explained": list(self.explained),
            "warnings": list(self.warnings),
        }


def embed_patches(
    patches: Patches | Clusters,
    *,
    method: EmbeddingMethod = "components",
    statistics: Sequence[str] | None = None,
    scale: bool = True,
    neighbours: int = 15,
    seed: int = 0,
) -> Embedding:
    """Give each patch a place in a plane.

    Parameters
    ----------
    patches
        As `measure_patches` or `cluster_patches` returns them.
    method
        ``"components"``: the first two principal components. ``"umap"``: keeps neighbours together and needs the
        package umap-learn; distances between groups say nothing.
    statistics
        Which of those measured count; all when None.
    scale
        Whether each statistic is brought to mean 0 and standard deviation 1.
    neighbours
        Of UMAP: how many are looked at; few show small groups, many the whole.
    seed
        Of UMAP.

    Returns
    -------
    Embedding

    Raises
    ------
    ValueError
        When an option is none of these, or there are fewer than 2 patches (3 for UMAP) or 2 statistics, or for UMAP
        more than 20000 patches.
    ImportError
        When umap-learn is asked for and not installed.

    References
    ----------
    L. McInnes, J. Healy, J. Melville, UMAP (2018), https://arxiv.org/abs/1802.03426
    """
    if method not in get_args(EmbeddingMethod):
        raise ValueError(f"method must be {' or '.join(get_args(EmbeddingMethod))}; got {method!r}.")
    patches = patches.patches if isinstance(patches, Clusters) else patches
    settings = {
        "method": method, "statistics": None if statistics is None else list(statistics), "scale": scale,
        "neighbours": neighbours, "seed": seed,
    }  # fmt: skip
    if method == "components":
        found = make_features(patches, statistics=statistics, scale=scale, components=2)
        names, values = ("PC 1", "PC 2"), found.values
    else:
        found = make_features(patches, statistics=statistics, scale=scale)
        names, values = ("UMAP 1", "UMAP 2"), _umap(found.values, neighbours, seed)
    table = pd.DataFrame({"patch": found.rows, names[0]: values[:, 0], names[1]: values[:, 1]})
    return Embedding(table, names, found.explained, found.warnings, settings)


def _umap(values: np.ndarray, neighbours: int, seed: int) -> np.ndarray:
    if not HAVE_UMAP:
        raise ImportError("umap-learn must be installed for UMAP; it is not. Install it with: pip install umap-learn")
    if not 3 <= len(values) <= _MOST_UMAP:
        raise ValueError(f"UMAP needs 3 to {_MOST_UMAP} patches; got {len(values)}. Choose a coarser grid.")
    if not 2 <= neighbours < len(values):
        raise ValueError(f"neighbours must be from 2 to {len(values) - 1}; got {neighbours}.")
    import umap

    return umap.UMAP(n_neighbors=neighbours, random_state=seed, n_jobs=1).fit_transform(values)
