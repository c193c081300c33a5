"""Whether groups of circles differ, with the experiment as the independent unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from analysis.circles._effect import Effect, hedges_g, hedges_of_pairs, variance_explained
from analysis.circles._permutation import permute_groups
from analysis.circles._values import UNITS, find_column, measure_units, sort_dates, values_of
from analysis.circles._welch import welch_anova, welch_differences

_FEW = 60
"""Up to this many experiments in all they are also shuffled: there the normal distribution is only hoped for."""


@dataclass(frozen=True)
class GroupComparison:
    """Whether groups of circles differ, judged by the means of their experiments.

    Attributes
    ----------
    table
        One row a group: ``group, experiments, circles, mean`` (of experiments' means), ``sd`` (of those), ``low,
        high`` (95 % interval of the mean).
    units
        One row an experiment: its names, ``circles, mean``.
    pairs
        One row a pair of groups: ``first, second, difference`` (first less second), ``low, high`` (95 %),
        ``p_value, holm_p_value`` (corrected for all pairs), ``hedges_g``.
    method
        ``"Welch's t-test"``, ``"Welch's ANOVA"``, or why nothing could be tested.
    statistic, degrees_of_freedom, p_value
        Of that test; NaN when nothing could be tested.
    permutation_p_value, arrangements, exact
        The same asked by shuffling which experiment belongs to which group: the share of arrangements that differ
        as much, how many were looked at, and whether those were all. NaN and 0 with many experiments.
    effect
        Hedges' g with its 95 % interval for two groups, omega squared for more, in units of experiments.
    intraclass_correlation
        Share of the variance within groups that is between experiments: 0 when circles of an experiment are no more
        alike than others, 1 when they are all the same.
    independent_circles
        How many independent circles would tell as much as all circles do.
    naive_p_value
        What the same test says when every circle passes for independent. It is here to be mistrusted.
    warnings
        Sentences about the result as a whole.
    settings
        The keyword arguments used.
    """

    table: pd.DataFrame
    units: pd.DataFrame
    pairs: pd.DataFrame
    method: str
    statistic: float = np.nan
    degrees_of_freedom: tuple[float, ...] = ()
    p_value: float = np.nan
    permutation_p_value: float = np.nan
    arrangements: int = 0
    exact: bool = False
    effect: Effect | None = None
    intraclass_correlation: float = np.nan
    independent_circles: float = np.nan
    naive_p_value: float = np.nan
    warnings: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """What was found, in words."""
        if np.isnan(self.p_value):
            return self.method
        value, names = self.settings["value"], self.table["group"].tolist()
        differ = "differs" if self.p_value < 0.05 else "is not shown to differ"
        told = f"{value} {differ} between {_listed(names)} ({self.method} on {int(self.table['experiments'].sum())}"
        told += f" experiments, p {p_words(self.p_value)}"
        if not np.isnan(self.permutation_p_value):
            told += f"; shuffling them, p {p_words(self.permutation_p_value)}"
        told += "). "
        if len(names) == 2:
            pair = self.pairs.iloc[0]
            told += f"{pair['first']} less {pair['second']}: {pair['difference']:.4g} ({_interval(pair)}). "
        return told + (self.effect.sentence if self.effect is not None else "")

    @property
    def naive_sentence(self) -> str:
        """Why circles were not counted as independent, in words."""
        if np.isnan(self.intraclass_correlation):
            return ""
        circles = int(self.table["circles"].sum())
        told = (
            f"Of the variance within groups {100 * self.intraclass_correlation:.0f} % is between experiments: the"
            f" {circles} circles tell as much as about {self.independent_circles:.0f} independent ones."
        )
        if not np.isnan(self.naive_p_value):
            told += f" A test that takes every circle for independent would say p {p_words(self.naive_p_value)}."
        return told

    def summary(self) -> dict[str, Any]:
        """Return the test, its p-values, the effect and the numbers of groups, experiments and circles."""
        return {
            "value": self.settings["value"],
            "by": self.settings["by"],
            "groups": len(self.table),
            "experiments": int(self.table["experiments"].sum()),
            "circles": int(self.table["circles"].sum()),
            "method": self.method,
            "p_value": self.p_value,
            "permutation_p_value": self.permutation_p_value,
            "effect": None if self.effect is None else self.effect.value,
            "effect_name": None if self.effect is None else self.effect.name,
            "intraclass_correlation": self.intraclass_correlation,
            "naive_p_value": self.naive_p_value,
        }


def compare_groups(
    circles: pd.DataFrame,
    value: str = "R",
    *,
    by: str = "Subject",
    units: Sequence[str] = UNITS,
    permutations: int = 10_000,
    seed: int = 0,
) -> GroupComparison:
    """Say whether groups of circles differ.

    Circles of one experiment share its day, its subject and its preparation, so they are no independent witnesses:
    each experiment gives one mean, and those are compared, by Welch's t-test for two groups and Welch's analysis of
    variance for more. Where experiments are few the same is asked by shuffling them.

    Parameters
    ----------
    circles
        The table of experiments, or a part of it.
    value
        Column of numbers.
    by
        Column whose names are the groups.
    units
        Columns that tell experiments apart.
    permutations
        Most arrangements looked at; all, when there are no more.
    seed
        Of the arrangements drawn when there are more.

    Returns
    -------
    GroupComparison
        When it cannot be known, because fewer than two groups have two experiments, ``method`` says so.

    Raises
    ------
    ValueError
        When a column is not there, or the value is no number.

    References
    ----------
    B. L. Welch, Biometrika 38 (1951) 330, doi:10.1093/biomet/38.3-4.330. S. E. Lazic, BMC Neuroscience 11 (2010) 5,
    doi:10.1186/1471-2202-11-5, on circles that pass for independent. S. Holm, Scand. J. Stat. 6 (1979) 65.

    Examples
    --------
    >>> table = pd.DataFrame(
    ...     {
    ...         "Subject": ["s1"] * 6 + ["s2"] * 6,
    ...         "Experiment": list("aabbcc") * 2,
    ...         "R": [40, 41, 42, 43, 41, 42, 20, 21, 23, 22, 22, 21],
    ...     }
    ... )
    >>> found = compare_groups(table)
    >>> found.table["experiments"].tolist(), found.p_value < 0.001
    ([3, 3], True)
    """
    if permutations < 100:
        raise ValueError(f"permutations must be 100 or more; got {permutations}.")
    find_column(circles, by)
    settings = {"value": value, "by": by, "units": tuple(units), "permutations": permutations, "seed": seed}
    found = measure_units(circles, value, by=[by], units=units)
    groups, means, warnings = _groups(found, by, value)
    left_out = int(np.isnan(values_of(circles, value)).sum())
    if left_out:
        warnings.append(f"{left_out} circles have no {value} and are left out.")
    table = _describe(groups, means, found, by)
    shown = found.drop(columns="sum_of_squares")
    trouble = _trouble(means, found[by].nunique(), value, by)
    if trouble:
        return GroupComparison(table, shown, _no_pairs(), trouble, warnings=tuple(warnings), settings=settings)
    used = found[found[by].isin(groups)]
    correlation, worth = _intraclass(used, by)
    samples = list(means.values())
    tested = welch_anova(samples)
    if np.isnan(tested.p_value):
        warnings.append(
            "Experiments of a group do not vary at all, so Welch's test cannot be made; shuffling them still can."
        )
    shuffled = permute_groups(samples, permutations=permutations, seed=seed) if sum(map(len, samples)) <= _FEW else None
    p_value = tested.p_value if not np.isnan(tested.p_value) or shuffled is None else shuffled.p_value
    method = tested.method if p_value is tested.p_value else "shuffling"
    if shuffled is not None and shuffled.least >= 0.05:
        warnings.append(
            f"With so few experiments no arrangement of them can give less than p {p_words(shuffled.least)} by"
            " shuffling: the p-value of Welch's test leans on the normal distribution."
        )
    return GroupComparison(
        table,
        shown,
        _compare_pairs(means),
        method,
        tested.statistic,
        tested.degrees_of_freedom,
        p_value,
        np.nan if shuffled is None else shuffled.p_value,
        0 if shuffled is None else shuffled.arrangements,
        shuffled is not None and shuffled.exact,
        hedges_g(*samples) if len(samples) == 2 else variance_explained(samples),
        correlation,
        worth,
        _naive(circles, value, by, groups),
        tuple(warnings),
        settings,
    )


def _groups(found: pd.DataFrame, by: str, value: str) -> tuple[list[str], dict[str, np.ndarray], list[str]]:
    """Return the groups that can be compared, the means of their experiments, and words on the others."""
    names = sort_dates(found[by])[0]
    means = {name: found.loc[found[by] == name, "mean"].to_numpy() for name in names}
    small = [name for name, values in means.items() if len(values) < 2]
    words = [f"{_listed(small)}: fewer than two experiments with {value}, so not compared."] if small else []
    means = {name: values for name, values in means.items() if len(values) >= 2}
    return list(means), means, words


def _trouble(means: dict[str, np.ndarray], groups: int, value: str, by: str) -> str:
    if groups == 0:
        return f"Nothing can be compared: no circle has {value}."
    if groups == 1:
        return f"Nothing can be compared: there is one {by} only."
    if len(means) < 2:
        return (
            "It cannot be known whether they differ: at least two groups must have two experiments or more; got"
            f" {len(means)} of {groups}. More circles of the same experiment do not help, another experiment does."
        )
    if np.ptp(np.concatenate(list(means.values()))) == 0:
        return f"Nothing differs: every experiment has the same mean {value}."
    return ""


def _describe(groups: list[str], means: dict[str, np.ndarray], found: pd.DataFrame, by: str) -> pd.DataFrame:
    from scipy.stats import t

    rows = []
    for name in groups:
        values = means[name]
        sd = values.std(ddof=1)
        half = t.ppf(0.975, len(values) - 1) * sd / np.sqrt(len(values))
        circles = int(found.loc[found[by] == name, "circles"].sum())
        rows.append((name, len(values), circles, values.mean(), sd, values.mean() - half, values.mean() + half))
    return pd.DataFrame(rows, columns=["group", "experiments", "circles", "mean", "sd", "low", "high"])


_PAIRS = ["first", "second", "difference", "low", "high", "p_value", "holm_p_value", "hedges_g"]


def _no_pairs() -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype=object if name in _PAIRS[:2] else float) for name in _PAIRS})


def _compare_pairs(means: dict[str, np.ndarray]) -> pd.DataFrame:
    names = np.array(list(means), object)
    samples = list(means.values())
    first, second = np.triu_indices(len(names), 1)
    difference, low, high, p_value = welch_differences(samples, first, second)
    columns = (names[first], names[second], difference, low, high, p_value, correct_by_holm(p_value),
               hedges_of_pairs(samples, first, second))  # fmt: skip
    return pd.DataFrame(dict(zip(_PAIRS, columns, strict=True)))


def correct_by_holm(p_values: np.ndarray) -> np.ndarray:
    """Return p-values corrected for their number, after Holm; NaN stays and does not count.

    Examples
    --------
    >>> correct_by_holm(np.array([0.01, 0.04, 0.03])).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    corrected = np.full(len(p_values), np.nan)
    order = [index for index in np.argsort(p_values, kind="stable") if not np.isnan(p_values[index])]
    highest = 0.0
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - place) * p_values[index]))
        corrected[index] = highest
    return corrected


def _intraclass(found: pd.DataFrame, by: str) -> tuple[float, float]:
    """Return how much of the variance within groups is between experiments, and what all circles are worth.

    From the mean squares of a nested analysis of variance; Donner and Koval, Biometrics 36 (1980) 19.
    """
    circles = found["circles"].to_numpy(float)
    total, number = circles.sum(), len(found)
    groups = found.groupby(by)
    centre = groups["mean"].transform(lambda values: np.average(values, weights=found.loc[values.index, "circles"]))
    within = total - number
    between = number - groups.ngroups
    if within <= 0 or between <= 0:
        return np.nan, np.nan
    square_within = found["sum_of_squares"].sum() / within
    square_between = (circles * (found["mean"] - centre).to_numpy() ** 2).sum() / between
    per_group = groups["circles"].transform("sum").to_numpy()
    size = (total - (circles**2 / per_group).sum()) / between
    whole = square_between + (size - 1) * square_within
    if whole <= 0:
        return np.nan, np.nan
    correlation = float(np.clip((square_between - square_within) / whole, 0, 1))
    # of clusters of unequal sizes: Kish's design effect
    design = 1 + ((circles**2).sum() / total - 1) * correlation
    return correlation, float(total / design)


def _naive(circles: pd.DataFrame, value: str, by: str, groups: list[str]) -> float:
    numbers, names = values_of(circles, value), circles[by].astype(str).to_numpy()
    samples = [numbers[(names == group) & ~np.isnan(numbers)] for group in groups]
    return welch_anova(samples).p_value if min(map(len, samples)) > 1 else np.nan


def p_words(p_value: float) -> str:
    """Return a p-value as it is written behind the letter.

    Examples
    --------
    >>> p_words(0.0312), p_words(1e-9)
    ('= 0.031', '< 0.0001')
    """
    return "< 0.0001" if p_value < 1e-4 else f"= {p_value:.2g}"


def _interval(pair: pd.Series) -> str:
    return "its interval is not known" if np.isnan(pair["low"]) else f"95 % {pair['low']:.4g} to {pair['high']:.4g}"


def _listed(names: list[str]) -> str:
    shown = names if len(names) <= 4 else [*names[:3], f"{len(names) - 3} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
