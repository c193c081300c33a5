"""Values of circles: chosen rows, one number an experiment, and dates in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from analysis.patterns import natural_key

UNITS = ("Date", "Subject", "Experiment")
"""Columns that tell experiments apart: circles of one experiment share its day, its animal and its hands."""


def select_circles(
    circles: pd.DataFrame,
    *,
    where: Mapping[str, Sequence[str]] | None = None,
    between: Mapping[str, tuple[float, float]] | None = None,
) -> pd.DataFrame:
    """Return the circles of some subjects, dates or experiments, with values in some ranges.

    Parameters
    ----------
    circles
        The table of experiments.
    where
        Names to keep, by column; an empty list keeps all.
    between
        Lowest and highest value to keep, by column; both ends belong to it.

    Returns
    -------
    pandas.DataFrame
        The rows that fulfil everything, in their order.

    Raises
    ------
    ValueError
        When a column is not there.

    Examples
    --------
    >>> table = pd.DataFrame({"Subject": ["s1", "s2", "s1"], "R": [40.0, 25.0, 52.0]})
    >>> select_circles(table, where={"Subject": ["s1"]}, between={"R": (0, 50)})
      Subject     R
    0      s1  40.0
    """
    kept = np.ones(len(circles), bool)
    for name, wanted in (where or {}).items():
        if len(wanted):
            kept &= find_column(circles, name).astype(str).isin(list(map(str, wanted))).to_numpy()
    for name, (low, high) in (between or {}).items():
        kept &= find_column(circles, name).between(low, high).to_numpy()
    return circles[kept]


def find_column(circles: pd.DataFrame, name: str) -> pd.Series:
    """Return a column of the table.

    Raises
    ------
    ValueError
        When it is not there.
    """
    if name not in circles:
        raise ValueError(f"circles must have the column {name!r}; got {', '.join(map(str, circles.columns))}.")
    return circles[name]


def values_of(circles: pd.DataFrame, name: str) -> np.ndarray:
    """Return a column as numbers; what is not finite becomes NaN.

    Raises
    ------
    ValueError
        When the column is not there or holds no numbers.
    """
    column = find_column(circles, name)
    if len(column) and not pd.api.types.is_numeric_dtype(column):
        raise ValueError(f"value must be a column of numbers; got {name!r}, which holds {column.iloc[0]!r}.")
    values = column.to_numpy(dtype=float, na_value=np.nan)
    return np.where(np.isfinite(values), values, np.nan)


def measure_units(circles: pd.DataFrame, value: str, *, by: Sequence[str], units: Sequence[str]) -> pd.DataFrame:
    """Return one row an experiment: its place, its circles, and the mean of their values.

    Circles without a value do not count. The same experiment in two groups is two rows.

    Parameters
    ----------
    circles
        The table of experiments.
    value
        Column of numbers.
    by
        Columns of the groups.
    units
        Columns that tell experiments apart; those which the table does not have are passed over.

    Returns
    -------
    pandas.DataFrame
        The columns of ``by`` and ``units`` as text, ``circles``, ``mean`` and ``sum_of_squares`` (about the mean).
    """
    keys = list(dict.fromkeys([*by, *(name for name in units if name in circles)]))
    numbers = values_of(circles, value)
    kept = ~np.isnan(numbers)
    table = pd.DataFrame({name: find_column(circles, name)[kept].astype(str).to_numpy() for name in keys})
    table = table.assign(_value=numbers[kept])
    grouped = table.groupby(keys, sort=True)["_value"]
    found = grouped.agg(circles="size", mean="mean", sum_of_squares="var").reset_index()
    return found.assign(sum_of_squares=found["sum_of_squares"].fillna(0.0) * (found["circles"] - 1))


def count_images(circles: pd.DataFrame, units: Sequence[str]) -> int:
    """Return from how many images the circles are."""
    keys = [name for name in [*units, "FOV"] if name in circles]
    return len(circles[keys].drop_duplicates()) if keys else 0


def sort_naturally(names: Sequence[Any]) -> list[str]:
    """Return names in the order that people expect: s2 before s10."""
    return sorted(map(str, names), key=natural_key)


def sort_dates(names: Sequence[Any]) -> tuple[list[str], list[str]]:
    """Return dates in order, and those that are no dates.

    ``20180301``, ``2018-03-01`` and whatever else ISO 8601 allows are understood. When one is not, all are sorted
    by their names, numbers by their size.

    Parameters
    ----------
    names
        Of the dates, as the folders have them.

    Examples
    --------
    >>> sort_dates(["2018-03-10", "20180309"])
    (['20180309', '2018-03-10'], [])
    >>> sort_dates(["day 10", "day 9"])
    (['day 9', 'day 10'], ['day 9', 'day 10'])
    """
    found = sort_naturally(set(map(str, names)))
    dates = {name: parse_date(name) for name in found}
    strange = [name for name, date in dates.items() if date is None]
    return (found if strange else sorted(found, key=lambda name: (dates[name], name))), strange


def parse_date(text: str) -> datetime | None:
    """Return the date that a folder's name says, None when it says none."""
    try:
        return datetime.fromisoformat(text.strip()).replace(tzinfo=None)
    except ValueError:
        return None
