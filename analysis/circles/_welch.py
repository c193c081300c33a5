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


def welch_differences(
    samples: list[np.ndarray], first: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the differences of means, their 95 % intervals, and the p-values of Welch's t-test, of pairs of groups.

    Parameters
    ----------
    samples
        Values of each group, at least two each.
    first, second
        (pairs,) numbers of the groups of each pair.

    Returns
    -------
    difference, low, high, p_value : numpy.ndarray
        (pairs,); NaN but for the difference when neither group varies.
    """
    from scipy.stats import t

    sizes, means, variances = describe(samples)
    difference, shares = means[first] - means[second], variances / sizes
    error = np.sqrt(shares[first] + shares[second])
    error[error <= 1e-12 * np.maximum(np.abs(means[first]), np.abs(means[second]))] = np.nan
    parts = shares**2 / (sizes - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = (shares[first] + shares[second]) ** 2 / (parts[first] + parts[second])
    half = t.ppf(0.975, freedom) * error
    return difference, difference - half, difference + half, 2 * t.sf(np.abs(difference) / error, freedom)


def describe(samples: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (groups,) sizes, means and variances."""
    sizes = np.array([len(values) for values in samples], float)
    means = np.array([values.mean() for values in samples])
    return sizes, means, np.array([values.var(ddof=1) for values in samples])


def welch_anova(samples: list[np.ndarray]) -> Tested:
    """Return Welch's analysis of variance; for two groups, his t-test.

    Parameters
    ----------
    samples
        Values of each group, at least two each.
    """
    from scipy.stats import f, t

    sizes, means, variances = describe(samples)
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
