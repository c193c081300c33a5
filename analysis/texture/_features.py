"""Statistics of patches made ready to be compared: in a fixed order, scaled, and turned to principal components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from analysis.texture._patches import Patches

_ALIKE = 0.98
"""Statistics that correlate more than this count one thing twice."""


@dataclass(frozen=True)
class Features:
    """Numbers that patches are compared by.

    Attributes
    ----------
    values
        (patches that count, features) float64, sorted by the names of the files and then from the upper left.
    rows
        Row of each of them in the table of patches.
    names
        Of the features: statistics, or components.
    explained
        Share of the variance that each component has, 0 to 1; empty without components.
    warnings
        Sentences about statistics that tell nothing, or the same twice.
    """

    values: np.ndarray
    rows: np.ndarray
    names: tuple[str, ...]
    explained: tuple[float, ...] = ()
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of patches that count."""
        return len(self.values)

    @cached_property
    def distinct(self) -> int:
        """Number of different patches, counted to 256 at most."""
        for part in (self.values[:1000], self.values):
            found = len(np.unique(part, axis=0)) if len(part) <= 1000 else _count_distinct(part)
            if found >= 256:
                break
        return min(found, 256)


def _count_distinct(values: np.ndarray) -> int:
    most = max(len(np.unique(column)) for column in values.T)
    return most if most >= 256 else len(np.unique(values, axis=0))


def make_features(
    patches: Patches,
    *,
    statistics: Sequence[str] | None = None,
    scale: bool = True,
    components: int | None = None,
) -> Features:
    """Return the numbers that patches are compared by.

    Parameters
    ----------
    patches
        As `measure_patches` returns them.
    statistics
        Which of them count; all that were measured when None.
    scale
        Whether each statistic is brought to mean 0 and standard deviation 1. Without, those of large numbers count
        most.
    components
        Principal components that are kept; None for the statistics themselves.

    Returns
    -------
    Features

    Raises
    ------
    ValueError
        When no patch or no statistic is left, or there are fewer statistics or patches than components.
    """
    names = tuple(patches.statistics) if statistics is None else _check_names(patches, statistics)
    table = patches.table
    raw = table[list(names)].to_numpy(float)
    counts = ~table["left_out"].to_numpy(bool)
    finite = np.isfinite(raw)
    usable = counts & finite.all(axis=1)
    warnings = []
    _refuse_nothing(patches, names, counts, finite, usable)
    lost = int(counts.sum() - usable.sum())
    if lost:
        bad = [name for name, good in zip(names, finite[counts].T, strict=True) if not good.all()]
        warnings.append(f"{lost} patches have no number for {', '.join(bad)}; they belong to no cluster.")
    rows = sort_rows(table)
    rows = rows[usable[rows]]
    values = raw[rows]
    warnings += _doubts(values, names)
    if scale:
        values = StandardScaler().fit_transform(values)
    if components is None:
        return Features(np.ascontiguousarray(values), rows, names, (), tuple(warnings))
    most = min(values.shape)
    if isinstance(components, bool) or not isinstance(components, int | np.integer) or not 1 <= components <= most:
        raise ValueError(
            f"components must be from 1 to {most}, the fewer of {values.shape[1]} statistics and {values.shape[0]} "
            f"patches, or None; got {components!r}."
        )
    if not np.ptp(values, axis=0).any():
        raise ValueError(f"patches must differ to have components; all {len(values)} have the same statistics.")
    turn = PCA(int(components), random_state=0).fit(values)
    named = tuple(f"component {number + 1}" for number in range(components))
    explained = tuple(float(share) for share in turn.explained_variance_ratio_)
    return Features(np.ascontiguousarray(turn.transform(values)), rows, named, explained, tuple(warnings))


def sort_rows(table: pd.DataFrame) -> np.ndarray:
    """Return the rows of a table of patches by names of files, then from the upper left.

    Parameters
    ----------
    table
        Of `Patches`.
    """
    codes, files = pd.factorize(table["file"])
    names = pd.Series(table["name"].to_numpy(object)).groupby(codes).first().to_numpy()
    order = sorted(range(len(files)), key=lambda each: (str(names[each]), str(files[each])))
    place = np.empty(len(files), np.int64)
    place[order] = np.arange(len(files))
    return np.lexsort((table["column_px"].to_numpy(), table["row_px"].to_numpy(), place[codes]))


def _check_names(patches: Patches, statistics: Sequence[str]) -> tuple[str, ...]:
    names = (statistics,) if isinstance(statistics, str) else tuple(dict.fromkeys(statistics))
    missing = [name for name in names if name not in patches.statistics]
    if missing or not names:
        raise ValueError(
            f"statistics must be one or more of those measured, {', '.join(patches.statistics)}; got "
            f"{', '.join(missing) or 'none'}."
        )
    return names


def _refuse_nothing(
    patches: Patches, names: Sequence[str], counts: np.ndarray, finite: np.ndarray, usable: np.ndarray
) -> None:
    if usable.any():
        return
    if not counts.any():
        why = patches.table["why"].value_counts().sort_index()
        said = ", ".join(f"{reason} {number}" for reason, number in why.items())
        raise ValueError(f"at least one patch must count; all {len(counts)} are left out ({said}). Leave out fewer.")
    empty = [name for name, good in zip(names, finite[counts].T, strict=True) if not good.any()]
    raise ValueError(
        f"at least one patch must have a number for every statistic; none of {int(counts.sum())} has"
        f"{' one for ' + ', '.join(empty) if empty else ''}. Choose other statistics."
    )


def _doubts(values: np.ndarray, names: Sequence[str]) -> list[str]:
    said = []
    spread = values.std(axis=0)
    moves = spread > 1e-12 * np.maximum(np.abs(values).max(axis=0), 1e-300)
    still = [name for name, moved in zip(names, moves, strict=True) if not moved]
    if still and len(values) > 1:
        said.append(f"{', '.join(still)} have the same value in all patches and tell nothing.")
    at = np.flatnonzero(moves)
    if len(at) > 1 and len(values) > 2:
        alike = np.corrcoef(values[:, at].T)
        pairs = [
            f"{names[at[i]]} and {names[at[j]]} ({alike[i, j]:.2f})"
            for i in range(len(at))
            for j in range(i + 1, len(at))
            if alike[i, j] > _ALIKE
        ]
        if pairs:
            more = f" and {len(pairs) - 3} more pairs" if len(pairs) > 3 else ""
            said.append(f"These correlate, so what they tell counts twice: {', '.join(pairs[:3])}{more}.")
    return said
