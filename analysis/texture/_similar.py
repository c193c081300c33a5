"""Patches that look like a chosen one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.texture._clusters import Clusters
from analysis.texture._features import make_features
from analysis.texture._labels import find_patch
from analysis.texture._patches import PLACE_COLUMNS, Patches
from analysis.texture._silhouette import turn_to_unit


def find_similar(
    patches: Patches | Clusters,
    patch: int | tuple[str, int, int],
    *,
    count: int = 20,
    statistics: Sequence[str] | None = None,
    scale: bool = True,
) -> pd.DataFrame:
    """Return the patches that are most like a chosen one: whose features point the same way from the mean of all.

    Parameters
    ----------
    patches
        As `measure_patches` or `cluster_patches` returns them.
    patch
        (file, row, column), or its row in the table of patches.
    count
        How many; fewer when there are not as many.
    statistics
        Which of those measured count; all when None.
    scale
        Whether each statistic is brought to mean 0 and standard deviation 1.

    Returns
    -------
    DataFrame
        The most similar first: ``patch`` (row in the table of patches), the columns of `PLACE_COLUMNS`, ``similarity``
        (cosine of the angle between the features, -1 to 1).

    Raises
    ------
    ValueError
        When there is no such patch, it is left out, or all its features are those of the mean patch.
    """
    patches = patches.patches if isinstance(patches, Clusters) else patches
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
        raise ValueError(f"count must be a whole number from 1; got {count!r}.")
    row = patch if isinstance(patch, int | np.integer) else find_patch(patches, patch)
    if not 0 <= row < len(patches.table):
        raise ValueError(f"patch must be a row of the table, 0 to {len(patches.table) - 1}; got {row}.")
    features = make_features(patches, statistics=statistics, scale=scale)
    at = np.flatnonzero(features.rows == row)
    if not len(at):
        why = patches.table["why"].iloc[row] or "it lacks a number"
        raise ValueError(f"patch must be one that counts; row {row} is left out ({why}).")
    directions = turn_to_unit(features.values)
    if not directions[at[0]].any():
        raise ValueError(f"patch must differ from the mean of all patches; row {row} does not. Choose another one.")
    cosine = np.clip(directions @ directions[at[0]], -1, 1)
    order = np.argsort(-cosine, kind="stable")
    order = order[order != at[0]][:count]
    rows = features.rows[order]
    found = patches.table.iloc[rows][list(PLACE_COLUMNS)].reset_index(drop=True)
    found.insert(0, "patch", rows)
    return found.assign(similarity=cosine[order])
