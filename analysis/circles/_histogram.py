"""How values of circles are distributed, overall and by subject, date or experiment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from analysis.circles._values import UNITS, count_images, find_column, sort_dates, sort_naturally, values_of

ALL = "all"
_MOST_BINS = 200


@dataclass(frozen=True)
class ValueHistogram:
    """How many circles have which value, by group, over the same bins.

    Attributes
    ----------
    table
        One row a group: ``group, circles, images, experiments, mean, median, sd, quartile_1, quartile_3, lowest,
        highest``. The standard deviation is that of circles; it says nothing of how sure the mean is.
    counts
        (groups, bins) circles; a value equal to the last edge is in the last bin.
    edges
        (bins + 1,) in the unit of the value.
    left_out
        Circles without the value.
    warnings
        Sentences about the result as a whole.
    settings
        The keyword arguments used.
    """

    table: pd.DataFrame
    counts: np.ndarray
    edges: np.ndarray
    left_out: int = 0
    warnings: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def groups(self) -> list[str]:
        """Names of the groups, in the order of ``counts``."""
        return self.table["group"].tolist()

    def summary(self) -> dict[str, Any]:
        """Return the value, the numbers of circles, groups and bins, and the mean of each group."""
        return {
            "value": self.settings["value"],
            "circles": int(self.table["circles"].sum()),
            "left_out": self.left_out,
            "bins": len(self.edges) - 1,
            "mean": dict(zip(self.groups, self.table["mean"].tolist(), strict=True)),
        }


def make_histogram(
    circles: pd.DataFrame,
    value: str = "R",
    *,
    by: str | None = None,
    bins: int | str | Sequence[float] = "auto",
    units: Sequence[str] = UNITS,
) -> ValueHistogram:
    """Count the values of circles in bins that all groups share.

    Parameters
    ----------
    circles
        The table of experiments, or a part of it.
    value
        Column of numbers.
    by
        Column whose names are the groups; all circles together when None.
    bins
        How many, or their edges, or a rule of `numpy.histogram_bin_edges` applied to each group: the finest wins,
        so that a narrow group beside a wide one keeps its shape. At most 200 when a rule is given.
    units
        Columns that tell experiments apart.

    Returns
    -------
    ValueHistogram
        Of no bins when no circle has the value.

    Raises
    ------
    ValueError
        When a column is not there, the value is no number, or the bins are not understood.

    Examples
    --------
    >>> table = pd.DataFrame({"Subject": ["s1", "s1", "s2"], "R": [40.0, 44.0, 25.0]})
    >>> made = make_histogram(table, by="Subject", bins=[20, 30, 40, 50])
    >>> made.counts.tolist(), made.groups
    ([[0, 0, 2], [1, 0, 0]], ['s1', 's2'])
    """
    numbers = values_of(circles, value)
    kept = ~np.isnan(numbers)
    names = find_column(circles, by).astype(str).to_numpy() if by is not None else np.full(len(circles), ALL)
    numbers, names, rows = numbers[kept], names[kept], circles[kept]
    groups = sort_dates(names)[0] if by is not None else sort_naturally(set(names))
    edges = _find_edges([numbers[names == group] for group in groups], bins)
    counts = [np.histogram(numbers[names == group], edges)[0] for group in groups]
    table = [_describe(group, numbers[names == group], rows[names == group], units) for group in groups]
    left_out = int((~kept).sum())
    given = bins if isinstance(bins, (int, str)) else tuple(map(float, bins))
    return ValueHistogram(
        pd.DataFrame(table, columns=_COLUMNS),
        np.array(counts, int).reshape(len(groups), len(edges) - 1),
        edges,
        left_out,
        (f"{left_out} circles have no {value} and are left out.",) if left_out else (),
        {"value": value, "by": by, "bins": given, "units": tuple(units)},
    )


_COLUMNS = [
    "group", "circles", "images", "experiments", "mean", "median", "sd", "quartile_1", "quartile_3", "lowest",
    "highest",
]  # fmt: skip


def _describe(group: str, values: np.ndarray, rows: pd.DataFrame, units: Sequence[str]) -> tuple[Any, ...]:
    keys = [name for name in units if name in rows]
    experiments = len(rows[keys].drop_duplicates()) if keys else 0
    quarter, middle, three_quarters = np.percentile(values, (25, 50, 75))
    sd = values.std(ddof=1) if len(values) > 1 else np.nan
    ends = quarter, three_quarters, values.min(), values.max()
    return (group, len(values), count_images(rows, units), experiments, values.mean(), middle, sd, *ends)


def _find_edges(groups: list[np.ndarray], bins: int | str | Sequence[float]) -> np.ndarray:
    if not isinstance(bins, (int, str)):
        edges = np.asarray(bins, float)
        if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
            raise ValueError(f"bins must be edges that rise, at least two; got {bins!r}.")
        return edges
    if isinstance(bins, int) and not 1 <= bins <= 100_000:
        raise ValueError(f"bins must be from 1 to 100000; got {bins}.")
    together = np.concatenate(groups) if groups else np.zeros(0)
    if not len(together):
        return np.zeros(1)
    ends = float(together.min()), float(together.max())
    if isinstance(bins, int):
        return np.histogram_bin_edges(together, bins)
    try:
        widths = [np.diff(np.histogram_bin_edges(values, bins)[:2])[0] for values in groups if np.ptp(values) > 0]
    except ValueError as error:
        raise ValueError(f"bins must be a number, edges or a rule of numpy; got {bins!r}: {error}") from None
    if not widths:
        return np.histogram_bin_edges(together, 1 if ends[0] == ends[1] else 10)
    count = min(_MOST_BINS, int(np.ceil((ends[1] - ends[0]) / min(widths) - 1e-9)))
    return np.linspace(*ends, max(1, count) + 1)
