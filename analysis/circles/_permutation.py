"""Which p-value comes of shuffling experiments between groups: all arrangements when few, a sample when many."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from analysis.circles._welch import welch_f

_AT_ONCE = 2000


@dataclass(frozen=True)
class Shuffled:
    """Share of arrangements at least as far apart, the least share possible, how many there were, whether all."""

    p_value: float
    least: float
    arrangements: int
    exact: bool


def permute_groups(samples: list[np.ndarray], *, permutations: int = 10_000, seed: int = 0) -> Shuffled:
    """Return how often groups differ as much when their members are dealt out anew.

    The statistic is that of Welch, which keeps the test honest when variances differ (A. Janssen, Stat. Probab.
    Lett. 36 (1997) 9, doi:10.1016/S0167-7152(97)00043-6).

    Parameters
    ----------
    samples
        Values of each group, at least two each.
    permutations
        Most arrangements looked at; all, when there are no more.
    seed
        Of the arrangements drawn when there are more.
    """
    values = np.concatenate(samples)
    sizes = [len(sample) for sample in samples]
    possible = math.factorial(len(values))
    for size in sizes:
        possible //= math.factorial(size)
    exact = possible <= permutations
    orders = _all_orders(sizes) if exact else _drawn_orders(len(values), permutations, seed)
    observed = _statistic(values[np.newaxis], sizes)[0]
    as_far = looked_at = 0
    for order in _in_blocks(orders):
        found = _statistic(values[order], sizes)
        looked_at += len(found)
        as_far += int((found >= observed * (1 - 1e-9)).sum())
    if exact:
        # groups of one size can swap their names, which changes nothing
        same = math.prod(math.factorial(sizes.count(size)) for size in set(sizes))
        return Shuffled(as_far / looked_at, same / looked_at, looked_at, True)
    return Shuffled((as_far + 1) / (looked_at + 1), 1 / (looked_at + 1), looked_at, False)


def _statistic(values: np.ndarray, sizes: list[int]) -> np.ndarray:
    """Return Welch's F for rows of values that stand in the order of their groups."""
    parts = np.split(values, np.cumsum(sizes)[:-1], axis=1)
    means = np.stack([part.mean(axis=1) for part in parts], axis=1)
    variances = np.stack([part.var(axis=1, ddof=1) for part in parts], axis=1)
    # equal values make a variance of nothing; beside any other that is as good as the smallest one
    variances = np.maximum(variances, 1e-12 * values[0].var())
    return welch_f(np.array(sizes, float), means, variances)[0]


def _all_orders(sizes: list[int], left: tuple[int, ...] | None = None) -> Iterator[tuple[int, ...]]:
    left = tuple(range(sum(sizes))) if left is None else left
    if len(sizes) == 1:
        yield left
        return
    for chosen in itertools.combinations(left, sizes[0]):
        others = set(chosen)
        for rest in _all_orders(sizes[1:], tuple(index for index in left if index not in others)):
            yield (*chosen, *rest)


def _drawn_orders(count: int, permutations: int, seed: int) -> Iterator[np.ndarray]:
    draw = np.random.default_rng(seed)
    for _ in range(permutations):
        yield draw.permutation(count)


def _in_blocks(orders: Iterator[tuple[int, ...] | np.ndarray]) -> Iterator[np.ndarray]:
    while block := list(itertools.islice(orders, _AT_ONCE)):
        yield np.array(block)
