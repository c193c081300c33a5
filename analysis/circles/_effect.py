"""How large a difference is: Hedges' g and omega squared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.circles._welch import describe


@dataclass(frozen=True)
class Effect:
    """The size of a difference.

    Attributes
    ----------
    name
        ``"Hedges' g"`` (difference in standard deviations of experiments) or ``"omega squared"`` (share of the
        variance of experiments that the groups explain).
    value
        Its estimate.
    low, high
        95 % interval; NaN where there is none.
    """

    name: str
    value: float
    low: float = np.nan
    high: float = np.nan

    @property
    def sentence(self) -> str:
        """The effect in words."""
        if np.isnan(self.value):
            return ""
        if self.name == "omega squared":
            return f"Groups explain {100 * max(0.0, self.value):.0f} % of the variance of experiments (omega squared)."
        between = "" if np.isnan(self.low) else f", 95 % {self.low:.2f} to {self.high:.2f}"
        return f"{self.name} is {self.value:.2f}{between}."


def hedges_g(first: np.ndarray, second: np.ndarray) -> Effect:
    """Return the difference of two means in standard deviations, without the bias of small samples.

    The interval is exact for normal values of one variance, through the non-central t distribution.

    Parameters
    ----------
    first, second
        Values of two groups, at least two each.

    References
    ----------
    L. V. Hedges, J. Educ. Stat. 6 (1981) 107, doi:10.3102/10769986006002107.
    """
    value = float(hedges_of_pairs([first, second], np.array([0]), np.array([1]))[0])
    if np.isnan(value):
        return Effect("Hedges' g", np.nan)
    freedom = len(first) + len(second) - 2
    correction, scale = float(_correction(freedom)), np.sqrt(1 / len(first) + 1 / len(second))
    low, high = (float(correction * end * scale) for end in _noncentral_interval(value / correction / scale, freedom))
    return Effect("Hedges' g", value, low, high)


def hedges_of_pairs(samples: list[np.ndarray], first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return Hedges' g of pairs of groups; NaN where neither varies.

    Parameters
    ----------
    samples
        Values of each group, at least two each.
    first, second
        (pairs,) numbers of the groups of each pair.
    """
    sizes, means, variances = describe(samples)
    squares, freedom = (sizes - 1) * variances, sizes[first] + sizes[second] - 2
    pooled = np.sqrt((squares[first] + squares[second]) / freedom)
    pooled[pooled <= 1e-12 * np.maximum(np.abs(means[first]), np.abs(means[second]))] = np.nan
    return _correction(freedom) * (means[first] - means[second]) / pooled


def _correction(freedom: np.ndarray | int) -> np.ndarray:
    """Return by what the bias of small samples is taken away."""
    from scipy.special import gammaln

    return np.exp(gammaln(freedom / 2) - gammaln((freedom - 1) / 2)) / np.sqrt(freedom / 2)


def _noncentral_interval(statistic: float, freedom: int) -> tuple[float, float]:
    """Return the non-centralities for which the statistic is at the 97.5 and the 2.5 % quantile."""
    from scipy.optimize import brentq
    from scipy.stats import nct

    # the distribution is flat where it is far off, so the search starts from the normal approximation
    error = np.sqrt(1 + statistic**2 / (2 * freedom))
    ends = []
    for probability, side in ((0.975, -1), (0.025, 1)):
        near, far = statistic, statistic + side * 12 * error

        def excess(centre: float, wanted: float = probability) -> float:
            return float(nct.cdf(statistic, freedom, centre)) - wanted

        try:
            ends.append(float(brentq(excess, min(near, far) - error, max(near, far) + error, xtol=1e-6)))
        except ValueError:  # the library's distribution fails far out
            ends.append(statistic + side * 1.96 * error)
    return ends[0], ends[1]


def variance_explained(samples: list[np.ndarray]) -> Effect:
    """Return omega squared, the share of variance that groups explain, without the bias of eta squared.

    Parameters
    ----------
    samples
        Values of each group, at least two each.
    """
    together = np.concatenate(samples)
    between = sum(len(values) * (values.mean() - together.mean()) ** 2 for values in samples)
    total = ((together - together.mean()) ** 2).sum()
    error = (total - between) / (len(together) - len(samples))
    return Effect("omega squared", float((between - (len(samples) - 1) * error) / (total + error)))
