"""Sentences and small tables of the circles page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.circles import TO_DO
from dashboards.support.statement import count_of

STATES = {
    "new": "never done",
    "changed": "the image has changed",
    "settings": "done with other settings",
    "method": "done with an older method",
    "missing": "an output is gone",
    "redo": "to be done again, as asked for",
    "retry": "failed before, and is tried again",
    "failed": "failed, and has not changed since",
    "vanished": "done, but the image is gone",
    "done": "nothing to do",
}
"""What a state means, in the order in which states are listed."""
UNITS = {"R": "px", "X": "px", "Y": "px"}


def unit_of(column: str) -> str:
    """Return a column's heading with its unit, where its name does not say it.

    Examples
    --------
    >>> unit_of("R"), unit_of("R (um)"), unit_of("Mean Intensity")
    ('R (px)', 'R (µm)', 'Mean Intensity')
    """
    if column in UNITS:
        return f"{column} ({UNITS[column]})"
    return column.replace("(um)", "(µm)")


def acquisitions_words(found: Any) -> str:
    """Say what was found."""
    if found is None:
        return "A folder for each level, and in the last one the images: PNG, TIFF, JPEG."
    parts = [count_of(len(found), "image")]
    parts += [count_of(int(found.table[level].nunique()), level.casefold()) for level in found.levels[:2]]
    return ", ".join(parts) + "."


def pixel_words(opened: Any, typed: float | None) -> str:
    """Say how large the pixels of the image shown are."""
    if typed is not None:
        return "The size typed here wins over that of the files."
    if opened is None:
        return ""
    if opened.pixel_size_um is None:
        return "The image shown does not say the size of its pixels."
    height, width = opened.pixel_size_um
    size = f"{width:.4g}" if abs(height / width - 1) < 1e-3 else f"{height:.4g} × {width:.4g}"
    return f"A pixel is {size} µm, from {opened.size_source}."


def plan_counts(plan: Any) -> dict[str, int]:
    """Return how many images are in which state, those with work first."""
    counts = plan.table["state"].value_counts().to_dict()
    order = [*STATES, *sorted(set(counts) - set(STATES))]
    return {state: int(counts[state]) for state in order if counts.get(state)}


def to_do(plan: Any) -> int:
    """Return how many images a run would do."""
    return len(plan.to_do)


def plan_words(plan: Any) -> str:
    """Say what a run would do."""
    if plan is None:
        return ""
    counts = plan_counts(plan)
    do = to_do(plan)
    said = f"A run would do {count_of(do, 'image')}" if do else "Nothing is to be done"
    rest = [f"{count:,} {state}" for state, count in counts.items()]
    return f"{said}: {', '.join(rest)}." if rest else f"{said}."


def plan_table(plan: Any) -> pd.DataFrame:
    """Return why how many images are in which state, a row a state and reason."""
    table = plan.table.assign(reason=plan.table["reason"].astype(str))
    grouped = table.groupby(["state", "reason"], sort=False).size().rename("images").reset_index()
    order = {state: place for place, state in enumerate(STATES)}
    grouped = grouped.assign(_place=grouped["state"].map(lambda state: order.get(state, len(order))))
    return grouped.sort_values(["_place", "images"], ascending=[True, False]).drop(columns="_place")


def ran_words(ran: Any) -> str:
    """Say what a run did."""
    summary = ran.summary()
    done = sum(count for state, count in summary.items() if state in TO_DO)
    said = f"{count_of(done, 'image')} done" if done else "Nothing was to be done"
    said += f", {count_of(summary['failed'], 'failure')}" if summary["failed"] else ""
    return f"{said}. {count_of(ran.circles, 'circle')} in {count_of(ran.images, 'image')} in all."


def stages_words(seconds: Mapping[str, float]) -> str:
    """Say how long each stage took."""
    return ", ".join(f"{name} {value:.2g} s" for name, value in seconds.items() if value)


def found_words(found: Any, milliseconds: float) -> str:
    """Say how many circles the image shown has."""
    if found is None:
        return ""
    table = found.table
    told = {"weak": "weak", "border": "cut by the border", "overlap": "overlapping"}
    flags = [f"{int(table[name].sum())} {words}" for name, words in told.items() if name in table and table[name].any()]
    more = f" ({', '.join(flags)})" if flags else ""
    return f"{count_of(len(table), 'circle')}{more}, found in {milliseconds:.0f} ms."


def filter_words(
    filters: Mapping[str, list[str]], between: Mapping[str, tuple[float, float]], kept: int, of: int
) -> str:
    """Say what the filters leave."""
    if not filters and not between:
        return f"All {count_of(of, 'circle')}."
    parts = [
        f"{level} {', '.join(names[:3])}{' and others' if len(names) > 3 else ''}" for level, names in filters.items()
    ]
    parts += [f"{unit_of(name)} {low:.4g} to {high:.4g}" for name, (low, high) in between.items()]
    return f"{kept:,} of {count_of(of, 'circle')}: {'; '.join(parts)}."


def spread_words(chart: Any) -> str:
    """Say what the limits of a control chart are from."""
    told = {"experiments": "how experiments of one date differ", "dates": "how one date differs from the next"}
    parts = []
    for spread, words in told.items():
        names = chart.limits.loc[chart.limits["spread"] == spread, "subject"].tolist()
        whose = f" for {', '.join(names)}" if len(names) < len(chart.limits) else ""
        parts += [f"from {words}{whose}"] if names else []
    return f"Limits of {chart.settings['value']}: {'; '.join(parts)}." if parts else ""
