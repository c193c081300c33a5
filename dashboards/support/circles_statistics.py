"""What is counted of the circles that the filters leave: two histograms, a test between groups, a control chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.circles import (
    ControlChart,
    GroupComparison,
    ValueHistogram,
    compare_groups,
    make_control_chart,
    make_histogram,
    select_circles,
)

DATE, SUBJECT = "Date", "Subject"


@dataclass(frozen=True)
class Statistics:
    """What is counted.

    Attributes
    ----------
    chosen
        The circles that the filters leave.
    histograms
        Of the value and of the other one, in groups.
    behind
        The same of all circles with the names chosen, whatever their values.
    comparison
        Whether groups differ; None without groups.
    charts
        Means of dates with their limits, of the value and of the other one.
    words
        What to beware of.
    """

    chosen: pd.DataFrame
    histograms: tuple[ValueHistogram, ValueHistogram]
    behind: tuple[ValueHistogram, ValueHistogram]
    comparison: GroupComparison | None
    charts: tuple[ControlChart, ControlChart]
    words: tuple[str, ...] = ()


def date_level(levels: Sequence[str]) -> str:
    """Return the level that is the date: the one called so, or the outermost."""
    return next((level for level in levels if level.casefold() == DATE.casefold()), levels[0])


def subject_level(levels: Sequence[str]) -> str | None:
    """Return the level that is the subject: the one called so, or the first that is not the date; None without."""
    others = [level for level in levels if level != date_level(levels)]
    return next((level for level in others if level.casefold() == SUBJECT.casefold()), (others or [None])[0])


def measure_statistics(
    circles: pd.DataFrame,
    levels: Sequence[str],
    *,
    value: str = "R",
    other_value: str = "Mean Intensity",
    by: str | None = None,
    baseline: int | None = None,
    spread: str = "auto",
    where: Mapping[str, Sequence[str]] | None = None,
    between: Mapping[str, tuple[float, float]] | None = None,
) -> Statistics:
    """Count what the filters leave.

    Parameters
    ----------
    circles
        The table of experiments.
    levels
        What the folders stand for.
    value, other_value
        Columns of numbers that are shown; the first is tested and charted.
    by
        Column of the groups.
    baseline, spread
        Of `make_control_chart`.
    where, between
        Of `select_circles`.
    """
    named = select_circles(circles, where=where)
    chosen = select_circles(named, between=between)
    shown = (value, other_value)
    pairs = [_histograms(named, chosen, name, by, levels) for name in shown]
    charts = tuple(
        make_control_chart(
            chosen, name, by=date_level(levels), subject=subject_level(levels), units=levels, baseline=baseline,
            spread=spread,
        )
        for name in shown
    )  # fmt: skip
    words = [
        f"{name} is cut to a range, so only circles within it are compared and charted."
        for name in shown
        if name in (between or {})
    ]
    return Statistics(
        chosen,
        tuple(front for front, _ in pairs),
        tuple(behind for _, behind in pairs),
        compare_groups(chosen, value, by=by, units=levels) if by else None,
        charts,
        tuple(words),
    )


def _histograms(
    named: pd.DataFrame, chosen: pd.DataFrame, value: str, by: str | None, levels: Sequence[str]
) -> tuple[ValueHistogram, ValueHistogram]:
    """Return the histogram of the circles chosen in groups, and that of all behind it, over the same bins."""
    grouped = make_histogram(named, value, by=by, units=levels)
    if not len(grouped.table):
        return grouped, grouped
    behind = make_histogram(named, value, bins=grouped.edges, units=levels)
    return make_histogram(chosen, value, by=by, bins=grouped.edges, units=levels), behind
