"""Welch's tests: groups whose variances need not agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

T_TEST, ANOVA = "Welch's t-test", "Welch's ANOVA"


@dataclass(frozen=True)
class Tested:
    """A test statistic with its degrees of freedom and p-value; NaN where a group does not vary."""

    method: str
    statistic: float = np.nan
    degrees_of_freedom: tuple[float, ...] = ()
    p_value: float = np.nan


def welch_difference(first: np.ndarray, second: np.ndarray) -> tuple[float, float, float, float]:
    """Return the difference of two means, its 95 % interval, and the p-value of Welch's t-test.

    Parameters
    ----------
    first, second
        Values of two groups, at least two each.

    Returns
    -------
    difference, low, high, p_value : float
        NaN but for the difference when neither group varies.
    """
    from scipy.stats import t

    difference = float(first.mean() - second.mean())
    shares = first.var(ddof=1) / len(first), second.var(ddof=1) / len(second)
    error = np.sqrt(sum(shares))
    if error <= 1e-12 * max(abs(first.mean()), abs(second.mean())):
        return difference, np.nan, np.nan, np.nan
    freedom = sum(shares) ** 2 / (shares[0] ** 2 / (len(first) - 1) + shares[1] ** 2 / (len(second) - 1))
    half = t.ppf(0.975, freedom) * error
    return difference, difference - half, difference + half, float(2 * t.sf(abs(difference) / error, freedom))


def welch_anova(samples: list[np.ndarray]) -> Tested:
    """Return Welch's analysis of variance; for two groups, his t-test.

    Parameters
    ----------
    samples
        Values of each group, at least two each.
    """
    from scipy.stats import f, t

    sizes = np.array([len(values) for values in samples], float)
    means = np.array([values.mean() for values in samples])
    variances = np.array([values.var(ddof=1) for values in samples])
    method = T_TEST if len(samples) == 2 else ANOVA
    still = variances <= (1e-12 * np.abs(means).max()) ** 2
    if still.all() or (still.any() and len(samples) > 2):
        return Tested(method)
    if len(samples) == 2:
        shares = variances / sizes
        freedom = shares.sum() ** 2 / (shares**2 / (sizes - 1)).sum()
        statistic = float((means[0] - means[1]) / np.sqrt(shares.sum()))
        return Tested(method, statistic, (float(freedom),), float(2 * t.sf(abs(statistic), freedom)))
    statistic, spread = welch_f(sizes, means, variances)
    freedom = len(samples) - 1, 1 / (3 * spread)
    return Tested(method, float(statistic), (float(freedom[0]), float(freedom[1])), float(f.sf(statistic, *freedom)))


def welch_f(sizes: np.ndarray, means: np.ndarray, variances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return Welch's F and the sum behind its second degrees of freedom, for groups along the last axis."""
    groups = sizes.shape[-1]
    weights = sizes / variances
    whole = weights.sum(axis=-1, keepdims=True)
    centre = (weights * means).sum(axis=-1, keepdims=True) / whole
    spread = ((1 - weights / whole) ** 2 / (sizes - 1)).sum(axis=-1) / (groups**2 - 1)
    between = (weights * (means - centre) ** 2).sum(axis=-1) / (groups - 1)
    return between / (1 + 2 * (groups - 2) * spread), spread
