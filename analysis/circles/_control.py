"""Control charts over dates: whether the last night drifted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from analysis.circles._rules import RULES, apply_rules
from analysis.circles._values import UNITS, find_column, measure_units, sort_dates, sort_naturally, values_of

Spread = Literal["auto", "experiments", "dates"]

_D2 = 1.128
"""Mean range of two normal values in standard deviations."""
_FEWEST = 2
_ENOUGH = 8
_UNEQUAL = 0.05
_ROUNDING = 1e-12
_COLUMNS = [
    "subject", "date", "mean", "experiments", "circles", "centre", "sigma", "lower", "upper", "z", "baseline",
    "in_control", "rules",
]  # fmt: skip


@dataclass(frozen=True)
class ControlChart:
    """Means of dates with the limits that they keep to as long as nothing changes.

    Attributes
    ----------
    table
        One row a subject and date, in order: ``subject, date, mean`` (of the experiments' means), ``experiments,
        circles, centre, sigma`` (of that date's mean), ``lower, upper`` (three sigma), ``z`` (distance from the
        centre in sigma), ``baseline`` (whether the date made the limits), ``in_control`` and ``rules`` (names of
        those broken, separated by ``"; "``). What is not known is NaN.
    limits
        One row a subject: ``subject, centre, sigma`` (of one date, or of one experiment), ``spread`` (what sigma is
        from: ``"experiments"``, ``"dates"`` or ``""``), ``baseline_dates``.
    sentences
        What the last date of each subject says, by subject.
    warnings
        Sentences about the result as a whole.
    settings
        The keyword arguments used.
    """

    table: pd.DataFrame
    limits: pd.DataFrame
    sentences: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def drifted(self) -> list[str]:
        """Subjects whose last date breaks a rule."""
        last = self.table.groupby("subject", sort=False).tail(1)
        return last.loc[last["rules"] != "", "subject"].tolist()

    def summary(self) -> dict[str, Any]:
        """Return the value, the numbers of subjects and dates, and what broke a rule."""
        broken = self.table[self.table["rules"] != ""]
        return {
            "value": self.settings["value"],
            "subjects": len(self.limits),
            "dates": int(self.table["date"].nunique()),
            "out_of_control": len(broken),
            "drifted": self.drifted,
        }


def make_control_chart(
    circles: pd.DataFrame,
    value: str = "R",
    *,
    by: str = "Date",
    subject: str | None = "Subject",
    units: Sequence[str] = UNITS,
    baseline: int | Sequence[str] | None = None,
    spread: Spread = "auto",
    rules: Sequence[str] = tuple(RULES),
) -> ControlChart:
    """Draw the means of dates against the limits of a process that does not change.

    The mean of a date is that of its experiments' means. Its sigma comes from how experiments of one date differ
    (a chart of means and standard deviations) or from how one date differs from the next (a chart of individuals
    with moving ranges). The former is sharper, but where dates differ by nature it would cry every night.

    Parameters
    ----------
    circles
        The table of experiments, or a part of it.
    value
        Column of numbers.
    by
        Column of dates: ``20180301``, ISO 8601, or names that are sorted naturally.
    subject
        Column of which every name has a chart of its own, as subjects differ; None for one chart of all.
    units
        Columns that tell experiments apart.
    baseline
        Dates that make the limits: how many of the first ones, or their names. By default all but the last, so
        that the last night is judged by those before it.
    spread
        Where sigma is from: ``"experiments"``, ``"dates"``, or ``"auto"``, which takes experiments when every date
        of the baseline has several and the dates do not differ more than those explain (analysis of variance at
        5 %).
    rules
        Names of rules that are looked at, of `RULES`.

    Returns
    -------
    ControlChart
        Without limits for a subject whose baseline has fewer than two dates.

    Raises
    ------
    ValueError
        When a column is not there, the value is no number, or the baseline or a rule is not known.

    References
    ----------
    D. C. Montgomery, Introduction to Statistical Quality Control, chapter 6; NIST/SEMATECH e-Handbook of Statistical
    Methods, 6.3.2, doi:10.18434/M32189; Western Electric, Statistical Quality Control Handbook (1956).

    Examples
    --------
    >>> dates = [f"2018030{day}" for day in range(1, 9)]
    >>> table = pd.DataFrame({"Date": dates, "R": [45.0, 45.2, 44.9, 45.1, 45.0, 44.8, 45.1, 48.0]})
    >>> chart = make_control_chart(table, subject=None)
    >>> chart.table["rules"].iloc[-1], chart.drifted
    ('beyond 3 sigma', ['all'])
    """
    unknown = [name for name in rules if name not in RULES]
    if unknown:
        raise ValueError(f"rules must be of {', '.join(RULES)}; got {', '.join(unknown)}.")
    if spread not in ("auto", "experiments", "dates"):
        raise ValueError(f"spread must be auto, experiments or dates; got {spread!r}.")
    find_column(circles, by)
    dates, strange = sort_dates(circles[by].astype(str))
    _check_baseline(baseline, dates)
    found = measure_units(circles, value, by=[by] if subject is None else [by, subject], units=units)
    names = [("all", found)] if subject is None else [
        (name, found[found[subject] == name]) for name in sort_naturally(set(found[subject]))
    ]  # fmt: skip
    warnings = _warn(circles, value, by, strange)
    tables, limits, sentences = [], [], {}
    for name, own in names:
        points, limit = _chart_one(own, by, dates, baseline, spread, rules)
        tables.append(points.assign(subject=name))
        limits.append({"subject": name, **limit})
        sentences[name] = _judge(points, limit, value, "" if subject is None else f"{name}, ")
    fewest = min((limit["baseline_dates"] for limit in limits if limit["spread"]), default=_ENOUGH)
    if fewest < _ENOUGH:
        warnings.append(f"The limits are rough: they are made of {fewest} dates only; {_ENOUGH} make good ones.")
    given = baseline if baseline is None or isinstance(baseline, int) else tuple(map(str, baseline))
    settings = {
        "value": value, "by": by, "subject": subject, "units": tuple(units), "baseline": given, "spread": spread,
        "rules": tuple(rules),
    }  # fmt: skip
    table = pd.concat(tables, ignore_index=True)[_COLUMNS] if tables else pd.DataFrame(columns=_COLUMNS)
    columns = ["subject", "centre", "sigma", "spread", "baseline_dates"]
    return ControlChart(table, pd.DataFrame(limits, columns=columns), sentences, tuple(warnings), settings)


def _check_baseline(baseline: int | Sequence[str] | None, dates: list[str]) -> None:
    if baseline is None:
        return
    if isinstance(baseline, int):
        if baseline < _FEWEST:
            raise ValueError(f"baseline must be {_FEWEST} dates or more; got {baseline}.")
    elif strangers := [str(date) for date in baseline if str(date) not in dates]:
        raise ValueError(f"baseline must be dates of the table; got {', '.join(strangers[:3])}.")


def _warn(circles: pd.DataFrame, value: str, by: str, strange: list[str]) -> list[str]:
    words = []
    if strange:
        words.append(f"{by} must be like 20180301 or 2018-03-01; got {strange[0]!r}. Sorted by name instead.")
    left_out = int(np.isnan(values_of(circles, value)).sum())
    if left_out:
        words.append(f"{left_out} circles have no {value} and are left out.")
    return words


def _chart_one(
    own: pd.DataFrame, by: str, dates: list[str], baseline: Any, spread: Spread, rules: Sequence[str]
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the points of one subject, and its limits."""
    points = _points(own, by, dates)
    chosen = _baseline_rows(points["date"].tolist(), baseline)
    points["baseline"] = chosen
    limit = _limits(points[chosen], spread)
    alone = limit["spread"] == "experiments"
    sigma = limit["sigma"] / np.sqrt(points["experiments"]) if alone else np.full(len(points), limit["sigma"])
    points = points.assign(
        centre=limit["centre"],
        sigma=sigma,
        lower=limit["centre"] - 3 * sigma,
        upper=limit["centre"] + 3 * sigma,
    )
    away = (points["mean"] - limit["centre"]).to_numpy()
    # sums of equal values differ in their last digits, which is no drift
    away = np.where(np.abs(away) <= _ROUNDING * abs(limit["centre"]), 0.0, away)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = away / points["sigma"].to_numpy()
    # without any spread nothing can be said of a date that differs
    points["z"] = np.where(np.isfinite(z), z, np.nan)
    broken = apply_rules(points["z"].to_numpy(), rules, away=away)
    points["rules"] = ["; ".join(names) for names in broken]
    points["in_control"] = [not names if limit["spread"] else np.nan for names in broken]
    return points, limit


def _points(own: pd.DataFrame, by: str, dates: list[str]) -> pd.DataFrame:
    points = own.groupby(by)["mean"].agg(["mean", "var", "size"]).rename(columns={"size": "experiments"})
    points["circles"] = own.groupby(by)["circles"].sum()
    points = points.reindex([date for date in dates if date in points.index])
    return points.rename_axis("date").reset_index()


def _baseline_rows(dates: list[str], baseline: Any) -> np.ndarray:
    if baseline is None:
        # two dates at least make limits
        return np.arange(len(dates)) < max(len(dates) - 1, _FEWEST)
    if isinstance(baseline, int):
        return np.arange(len(dates)) < baseline
    return np.isin(dates, list(map(str, baseline)))


def _limits(points: pd.DataFrame, spread: Spread) -> dict[str, Any]:
    """Return centre and sigma of the dates of a baseline."""
    number = len(points)
    if number < _FEWEST:
        centre = points["mean"].mean() if number else np.nan
        return {"centre": centre, "sigma": np.nan, "spread": "", "baseline_dates": number}
    if spread == "auto":
        spread = "dates" if _dates_differ(points) else "experiments"
    if spread == "experiments":
        freedom = int((points["experiments"] - 1).sum())
        if not freedom:
            return _limits(points, "dates")
        centre = float(np.average(points["mean"], weights=points["experiments"]))
        pooled = np.sqrt(((points["experiments"] - 1) * points["var"].fillna(0)).sum() / freedom)
        sigma = float(pooled / _c4(freedom + 1))
    else:
        centre = float(points["mean"].mean())
        sigma = float(np.abs(np.diff(points["mean"])).mean() / _D2)
    sigma = 0.0 if sigma <= _ROUNDING * abs(centre) else sigma
    return {"centre": centre, "sigma": sigma, "spread": spread, "baseline_dates": number}


def _dates_differ(points: pd.DataFrame) -> bool:
    """Say whether dates differ more than their experiments explain, or whether that cannot be known."""
    from scipy.stats import f

    sizes = points["experiments"].to_numpy(float)
    freedom = (len(points) - 1, int((sizes - 1).sum()))
    if (sizes < 2).any() or freedom[1] < 1:
        return True
    within = ((sizes - 1) * points["var"]).sum() / freedom[1]
    if within == 0:
        return True
    centre = np.average(points["mean"], weights=sizes)
    between = (sizes * (points["mean"] - centre) ** 2).sum() / freedom[0]
    return bool(f.sf(between / within, *freedom) < _UNEQUAL)


def _c4(size: int) -> float:
    """Return the mean standard deviation of that many normal values of variance 1."""
    from scipy.special import gammaln

    return float(np.sqrt(2 / (size - 1)) * np.exp(gammaln(size / 2) - gammaln((size - 1) / 2)))


def _judge(points: pd.DataFrame, limit: dict[str, Any], value: str, before: str) -> str:
    if not len(points):
        return f"{before}no date has {value}."
    last = points.iloc[-1]
    told = f"{before}{last['date']}: {value} {last['mean']:.4g}"
    if not limit["spread"]:
        return f"{told}. Whether that is usual cannot be known: the limits need two dates before it."
    if np.isnan(last["z"]):
        told += f", centre {last['centre']:.4g}. The dates of the baseline do not vary at all, so there are no limits."
        return told
    side = "above" if last["z"] >= 0 else "below"
    told += f", {abs(last['z']):.1f} sigma {side} the centre {last['centre']:.4g}"
    verdict = f"out of control ({last['rules']})" if last["rules"] else "in control"
    return f"{told}: {verdict}."
