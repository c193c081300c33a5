"""Which patches are left out, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from analysis.texture._tile_set import TileSet

NOT_FINITE = "pixels that are not finite"
RULES = {
    "blank": "all pixels of the patch have one value",
    "dark": "its mean is below a share of the median of all patches' means",
    "partly_dark": "its smallest value is below that share",
    "edge": "it lies at the outer edge of the set",
}
"""Why a patch may be left out, beside pixels that are not finite."""


def leave_out_patches(
    columns: Mapping[str, np.ndarray], tile_set: TileSet, rules: Sequence[str], dark_below: float
) -> tuple[np.ndarray, pd.api.extensions.ExtensionArray]:
    """Return which patches are left out, and why.

    Parameters
    ----------
    columns
        Of the table of patches: their places, ``mean``, ``min`` and ``max``.
    tile_set
        Where their tiles lie.
    rules
        Of `RULES`.
    dark_below
        Share of the median of all means.

    Returns
    -------
    tuple
        Both (patches,): whether, and the reason, ``""`` for none.
    """
    finite = np.isfinite(columns["mean"])
    reasons = ["", NOT_FINITE, *RULES]
    why = np.where(finite, 0, 1)
    median = np.median(columns["mean"][finite]) if finite.any() else np.nan
    level = dark_below * median if median > 0 else -np.inf  # a share of less than nothing says nothing
    tests = {
        "blank": lambda: columns["min"] == columns["max"],
        "dark": lambda: columns["mean"] < level,
        "partly_dark": lambda: columns["min"] < level,
        "edge": lambda: _at_edge(columns, tile_set),
    }
    for number, rule in enumerate(RULES, start=2):
        if rule in rules:
            why[tests[rule]() & (why == 0)] = number
    return why > 0, pd.array(reasons, dtype=str).take(why)


def _at_edge(columns: Mapping[str, np.ndarray], tile_set: TileSet) -> np.ndarray:
    tile = columns["tile"]
    found = np.zeros(len(tile), bool)
    for place, last_tile in (("row", tile_set.rows - 1), ("column", tile_set.columns - 1)):
        last = np.zeros(int(tile.max()) + 1, np.int64)
        np.maximum.at(last, tile, columns[place])
        of_tile, number = columns[f"tile_{place}"], columns[place]
        found |= ((of_tile == 0) & (number == 0)) | ((of_tile == last_tile) & (number == last[tile]))
    return found
