"""Rules that say when points of a control chart are more than chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

BEYOND_3 = "beyond 3 sigma"
TWO_OF_THREE = "2 of 3 beyond 2 sigma"
FOUR_OF_FIVE = "4 of 5 beyond 1 sigma"
ONE_SIDE = "8 in a row on one side"
TREND = "6 in a row rising or falling"


def apply_rules(z: np.ndarray, rules: Sequence[str], *, away: np.ndarray | None = None) -> list[list[str]]:
    """Return the names of rules that each point breaks, together with the points before it.

    Parameters
    ----------
    z
        (points,) distances from the centre in sigma; NaN breaks none.
    rules
        Names of `RULES`.
    away
        (points,) the distances themselves, for the rule on trends: where points have a sigma each, only these rise.
    """
    known_z = np.where(np.isnan(z), 0, z)
    broken = {name: RULES[name](known_z if name != TREND or away is None else away) for name in rules}
    known = ~np.isnan(z)
    return [[name for name in rules if broken[name][point] and known[point]] for point in range(len(z))]


def _some_of(count: int, window: int, sigma: float) -> Callable[[np.ndarray], np.ndarray]:
    """Make the rule: that many of the last so many points beyond some sigma on one side, this one among them."""

    def rule(z: np.ndarray) -> np.ndarray:
        broken = np.zeros(len(z), bool)
        for side in (1, -1):
            beyond = side * z > sigma
            sums = np.cumsum(np.concatenate([np.zeros(window, int), beyond]))
            broken |= beyond & (sums[window:] - sums[:-window] >= count)
        return broken

    return rule


def _trend(away: np.ndarray, *, length: int = 6) -> np.ndarray:
    steps = np.sign(np.diff(away, prepend=away[:1]))
    broken, run = np.zeros(len(away), bool), 1
    for point in range(1, len(away)):
        run = run + 1 if steps[point] and steps[point] == steps[point - 1] else 1 + bool(steps[point])
        broken[point] = run >= length
    return broken


RULES: dict[str, Any] = {
    BEYOND_3: _some_of(1, 1, 3),
    TWO_OF_THREE: _some_of(2, 3, 2),
    FOUR_OF_FIVE: _some_of(4, 5, 1),
    ONE_SIDE: _some_of(8, 8, 0),
    TREND: _trend,
}
"""The four of Western Electric, and the trend of Nelson's third, by name (L. S. Nelson, J. Qual. Technol. 16 (1984)
237, doi:10.1080/00224065.1984.11978921)."""
