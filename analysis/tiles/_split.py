"""Which images are for training, which to watch it, and which to test it at the end."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

SPLITS = ("train", "validation", "test")


def split_images(names: Sequence[str], shares: Sequence[float], *, seed: int = 0) -> dict[str, str]:
    """Deal images out to training, validation and test.

    Whole images are dealt out, because tiles of one image share pixels and look alike: a network tested on
    neighbours of what it has seen is judged too well.

    Parameters
    ----------
    names
        Of the images, each once.
    shares
        For training, validation and test; not negative, and together 1 (or 100).
    seed
        The same seed deals the same names alike, in whatever order they come.

    Returns
    -------
    dict
        ``"train"``, ``"validation"`` or ``"test"`` for each name.

    Raises
    ------
    ValueError
        When the shares are not three such numbers.

    Examples
    --------
    >>> from collections import Counter
    >>> Counter(split_images([f"image {i}" for i in range(10)], (0.8, 0.1, 0.1)).values())
    Counter({'train': 8, 'validation': 1, 'test': 1})
    """
    wanted = np.asarray(shares, float)
    if wanted.shape != (3,) or not np.isfinite(wanted).all() or (wanted < 0).any():
        raise ValueError(f"split must be three shares, for training, validation and test; got {shares}.")
    total = wanted.sum()
    if not (math.isclose(total, 1, abs_tol=0.005) or math.isclose(total, 100, abs_tol=0.5)):
        raise ValueError(f"split must add up to 1; got {', '.join(f'{share:g}' for share in wanted)}.")
    exact = wanted / total * len(names)
    counts = np.floor(exact).astype(int)
    # what is left over goes to the largest remainders
    for index in np.argsort(-(exact - counts), kind="stable")[: len(names) - counts.sum()]:
        counts[index] += 1
    dealt = np.random.default_rng(seed).permutation(sorted(names))
    ends = np.cumsum(counts)
    return {str(name): SPLITS[int(np.searchsorted(ends, number, side="right"))] for number, name in enumerate(dealt)}
