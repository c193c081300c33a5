"""What can be measured in a patch: names, words, formulas, and the one function that computes them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from analysis.texture._filters import GRAIN_SIZES_PX, PATTERNS, filter_gradient, filter_grains, filter_patterns
from analysis.texture._moments import BINS, COLUMNS, count_between, count_classes, measure_windows

Mode = Literal["centre", "compatible"]

_SHAPE_BINS = 100
_SHAPE_TAIL = (1 - 0.99) * 50
"""Percent left out at either end; not 0.5 but the number next to it, which the original computes."""
_SHAPE_BELL = 5
_CHUNK_BYTES = 64e6


@dataclass(frozen=True)
class Statistic:
    """One number that describes a patch.

    Attributes
    ----------
    words
        What it is, with its formula.
    group
        ``"moments"``, ``"extremes"``, ``"percentiles"``, ``"histogram"``, ``"gradient"``, ``"patterns"`` or
        ``"grains"``. Statistics of one group cost little more than one of them.
    """

    words: str
    group: str


_PERCENT = {
    "median": 50, "quartile1": 25, "quartile2": 50, "quartile3": 75, "quintile1": 20, "quintile2": 40, "quintile3": 60,
    "quintile4": 80, "blacktail": 2.5, "whitetail": 97.5,
}  # fmt: skip
"""Percentile of every statistic that is one."""
_EXTREMES = {
    "min": "smallest value",
    "max": "largest value",
    "range": "max - min",
}
_MOMENTS = {
    "mean": "mean",
    "var": "variance, of all pixels and not of a sample",
    "std": "standard deviation, square root of var",
    "relstd": "relative standard deviation, std / (mean + 0.001)",
    "skewness": "third central moment / std**3; 0 in a patch of one value",
    "kurtosis": "fourth central moment / var**2 - 3; 0 in a patch of one value",
}
_DIFFERENCES = {
    "interquartilerange": "quartile3 - quartile1",
    "interquartilerange_low": "median - quartile1",
    "interquartilerange_high": "quartile3 - median",
    "refinterval": "whitetail - blacktail: 95 % of the pixels lie there",
    "refinterval_low": "mean - blacktail",
    "refinterval_high": "whitetail - mean",
}
_HISTOGRAM = {
    "mode": "centre of the fullest of 1024 bins from min to max, the first of equals",
    "mode_cnt": "pixels in the fullest of 1024 bins from min to max",
    "entropy": "Shannon's entropy of 64 bins from min to max, in bits, 0 to 6",
}
_SHAPE = (
    "up and down of the histogram: of 100 bins over the central 99 % of the pixels, smoothed by a bell of 5 bins, the "
    "sum of the absolute differences of neighbours / the largest bin"
)

STATISTICS: dict[str, Statistic] = {
    **{name: Statistic(words, "moments") for name, words in _MOMENTS.items()},
    **{name: Statistic(words, "extremes") for name, words in _EXTREMES.items()},
    **{name: Statistic(f"{percent:g} % of the pixels are below", "percentiles") for name, percent in _PERCENT.items()},
    **{name: Statistic(words, "percentiles") for name, words in _DIFFERENCES.items()},
    **{name: Statistic(words, "histogram") for name, words in _HISTOGRAM.items()},
    "shapevalue": Statistic(_SHAPE, "percentiles"),
    "gradient_mean": Statistic("mean length of the gradient, counts a pixel, central differences", "gradient"),
    "gradient_std": Statistic("standard deviation of the length of the gradient", "gradient"),
    **{
        f"lbp_{number}": Statistic(
            f"share of pixels of which {number} of 8 neighbours, side by side, are at least as bright"
            if number < PATTERNS - 1
            else "share of pixels whose brighter neighbours are not side by side",
            "patterns",
        )
        for number in range(PATTERNS)
    },
    **{
        f"dog_{size}": Statistic(
            f"standard deviation of the difference of Gaussians of {size} and {2 * size} px: grains of that size",
            "grains",
        )
        for size in GRAIN_SIZES_PX
    },
}
"""Every statistic by its name."""

FILTERED = ("gradient", "patterns", "grains")
"""Groups that look at pixels around the patch too."""

PRESETS: dict[str, tuple[str, ...]] = {
    "common": ("std", "relstd", "mean", "skewness", "kurtosis", "mode"),
    "five_number": ("min", "quartile1", "median", "quartile3", "max"),
    "seven_number": ("blacktail", "quintile1", "quartile1", "median", "quartile3", "quintile4", "whitetail"),
    "box_and_whisker": (
        "median", "quartile1", "quartile3", "interquartilerange", "refinterval", "blacktail", "whitetail",
    ),
    "texture": (
        "mean", "relstd", "skewness", "kurtosis", "entropy", "blacktail", "whitetail", "gradient_mean", "gradient_std",
        *(f"lbp_{number}" for number in range(PATTERNS)), *(f"dog_{size}" for size in GRAIN_SIZES_PX),
    ),
}  # fmt: skip
"""Statistics that are chosen together."""


def choose_statistics(statistics: str | Sequence[str]) -> tuple[str, ...]:
    """Return the names of statistics, presets replaced by what is in them, each once.

    Parameters
    ----------
    statistics
        Names of `STATISTICS` and of `PRESETS`, or one of them.

    Returns
    -------
    tuple of str
        In the order given.

    Raises
    ------
    ValueError
        When a name is neither, or none is given.

    Examples
    --------
    >>> choose_statistics(["five_number", "mean"])
    ('min', 'quartile1', 'median', 'quartile3', 'max', 'mean')
    """
    given = [statistics] if isinstance(statistics, str) else list(statistics)
    unknown = [name for name in given if name not in STATISTICS and name not in PRESETS]
    if unknown:
        raise ValueError(
            f"statistics must be among {', '.join(STATISTICS)}, or {', '.join(PRESETS)}; got {', '.join(unknown)}."
        )
    names = tuple(dict.fromkeys(each for name in given for each in PRESETS.get(name, (name,))))
    if not names:
        raise ValueError("statistics must name at least one; got none.")
    return names


def measure_band(
    band: np.ndarray,
    tops: np.ndarray,
    lefts: np.ndarray,
    patch_size: tuple[int, int],
    names: Iterable[str],
    *,
    mode: Mode = "centre",
    around: np.ndarray | None = None,
    above_px: int = 0,
) -> dict[str, np.ndarray]:
    """Return statistics of the patches of a band of a tile; a patch with a pixel that is not finite has NaN.

    Parameters
    ----------
    band
        (rows, columns) of numbers.
    tops, lefts
        First rows and first columns of the patches, which are all combinations of these.
    patch_size
        (rows, columns) of a patch.
    names
        Of `STATISTICS`. Only what these need is computed.
    mode
        ``"centre"``: the mode is the centre of the fullest bin; ``"compatible"``: of the bin before it, half its lower
        edge when it is the first, as the original notebook has it.
    around
        The band with rows above and below it, for what looks at pixels around the patch; the band when None.
    above_px
        How many rows of these are above.

    Returns
    -------
    dict
        For every name (patches,) float64.
    """
    names = set(names)
    band, around = _plain(band), None if around is None else _plain(around)
    tops, lefts = (np.asarray(each, np.int64) for each in (tops, lefts))
    windows = (tops, lefts, *patch_size)
    found = _from_moments(band, windows, names, mode)
    finite = np.isfinite(found["mean"])
    if names & (set(_PERCENT) | set(_DIFFERENCES) | {"shapevalue"}):
        found |= _from_percentiles(band, windows, found["mean"], "shapevalue" in names)
    wanted = {STATISTICS[name].group for name in names}
    if wanted & set(FILTERED):
        source = _filled(band if around is None else around)
        shifted = (tops + (0 if around is None else above_px), *windows[1:])
        found |= _from_filters(source, shifted, wanted, {name for name in names if name.startswith("dog_")})
    return {name: found[name] if finite.all() else np.where(finite, found[name], np.nan) for name in names}


def _plain(band: np.ndarray) -> np.ndarray:
    """Number types that the compiled functions know, in rows."""
    kind = band.dtype if band.dtype.name in ("uint8", "uint16", "float32", "float64") else np.float64
    return np.ascontiguousarray(band, kind)


def _filled(band: np.ndarray) -> np.ndarray:
    """Pixels that are not finite become the median of the others, so that they spoil no neighbour."""
    if band.dtype.kind != "f" or np.isfinite(band).all():
        return band
    finite = np.isfinite(band)
    return np.where(finite, band, np.median(band[finite]) if finite.any() else 0).astype(band.dtype)


# ------------------------------------------------------------------------------------------ from moments


def _from_moments(band: np.ndarray, windows: tuple, names: set[str], mode: Mode) -> dict[str, np.ndarray]:
    out = np.zeros((len(windows[0]) * len(windows[1]), len(COLUMNS)))
    moments = bool(names & (set(_MOMENTS) - {"mean"}))
    measure_windows(band, *windows, moments, bool(names & {"mode", "mode_cnt"}), "entropy" in names, out)
    mean, m2, m3, m4, low, high, fullest, mode_cnt, entropy = out.T
    with np.errstate(invalid="ignore", divide="ignore"):
        # scipy.stats takes a variance for 0 from here on, rounding aside
        flat = m2 <= (np.finfo(float).eps * mean) ** 2
        std = np.sqrt(m2)
        found = {
            "mean": mean,
            "min": low,
            "max": high,
            "range": high - low,
            "var": m2,
            "std": std,
            "relstd": std / (mean + 0.001),
            "skewness": np.where(flat, 0.0, m3 / m2**1.5),
            "kurtosis": np.where(flat, 0.0, m4 / m2**2 - 3),
            "mode": _mode(low, high, fullest, mode),
            "mode_cnt": mode_cnt,
            "entropy": entropy,
        }
    return found


def _mode(low: np.ndarray, high: np.ndarray, fullest: np.ndarray, mode: Mode) -> np.ndarray:
    if mode == "compatible":
        room = np.where(low == high, 0.5, 0.0)
        start, step = low - room, ((high + room) - (low - room)) / BINS
        here = fullest * step + start
        before = (fullest - 1) * step + start
        return np.where(fullest == 0, here / 2, (before + here) / 2)
    step = (high - low) / BINS
    return np.where(low == high, low, (fullest * step + low + ((fullest + 1) * step + low)) / 2)


# -------------------------------------------------------------------------------------- from percentiles


def _from_percentiles(band: np.ndarray, windows: tuple, mean: np.ndarray, shape: bool) -> dict[str, np.ndarray]:
    tops, lefts, rows_px, columns_px = windows
    pixels = rows_px * columns_px
    views = np.lib.stride_tricks.sliding_window_view(band, (rows_px, columns_px))
    step = max(1, int(_CHUNK_BYTES // max(pixels * len(lefts) * band.itemsize, 1)))
    parts = []
    for start in range(0, len(tops), step):
        chosen = views[tops[start : start + step, None], lefts[None, :]].reshape(-1, pixels)
        chosen.sort(axis=1)
        part = {name: _percentile(chosen, percent) for name, percent in _PERCENT.items()}
        if shape:
            part["shapevalue"] = _shape_value(chosen)
        parts.append(part)
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    found["interquartilerange"] = found["quartile3"] - found["quartile1"]
    found["interquartilerange_low"] = found["median"] - found["quartile1"]
    found["interquartilerange_high"] = found["quartile3"] - found["median"]
    found["refinterval"] = found["whitetail"] - found["blacktail"]
    found["refinterval_low"] = mean - found["blacktail"]
    found["refinterval_high"] = found["whitetail"] - mean
    return found


def _percentile(ordered: np.ndarray, percent: float) -> np.ndarray:
    """Linear between neighbours, rounded as `numpy.percentile` rounds."""
    at = percent / 100 * (ordered.shape[1] - 1)
    lower = math.floor(at)
    share = at - lower
    a, b = (ordered[:, min(each, ordered.shape[1] - 1)].astype(float) for each in (lower, lower + 1))
    with np.errstate(invalid="ignore"):
        return a + (b - a) * share if share < 0.5 else b - (b - a) * (1 - share)


def _shape_value(ordered: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        low, high = _percentile(ordered, _SHAPE_TAIL), _percentile(ordered, 100 - _SHAPE_TAIL)
        room = np.where(low == high, 0.5, 0.0)
        usable = np.isfinite(high - low)
        low, high = np.where(usable, low - room, 0.0), np.where(usable, high + room, 1.0)
    edges = np.linspace(low, high, _SHAPE_BINS + 1, axis=1)
    counts = np.empty((len(ordered), _SHAPE_BINS))
    count_between(ordered, edges, counts)
    x = np.linspace(-2.7 * _SHAPE_BELL, 2.7 * _SHAPE_BELL, 6 * _SHAPE_BELL)
    bell = np.exp(-((x / _SHAPE_BELL) ** 2) / 2) / (_SHAPE_BELL * math.sqrt(2 * math.pi))
    smoothing = np.array([np.convolve(line, bell, "same") for line in np.eye(_SHAPE_BINS)])
    smooth = counts @ smoothing
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.abs(np.diff(smooth, axis=1)).sum(axis=1) / smooth.max(axis=1)


# ------------------------------------------------------------------------------------------ from filters


def _from_filters(source: np.ndarray, windows: tuple, groups: set[str], grains: set[str]) -> dict[str, np.ndarray]:
    found = {}
    if "gradient" in groups:
        found["gradient_mean"], found["gradient_std"] = _mean_and_std(filter_gradient(source), windows)
    for name in sorted(grains):
        found[name] = _mean_and_std(filter_grains(source, int(name.removeprefix("dog_"))), windows)[1]
    if "patterns" in groups:
        patterns = np.empty(source.shape, np.uint8)
        filter_patterns(source, patterns)
        counts = np.zeros((len(windows[0]) * len(windows[1]), PATTERNS), np.int64)
        count_classes(patterns, *windows, counts)
        shares = counts / (windows[2] * windows[3])
        found |= {f"lbp_{number}": shares[:, number] for number in range(PATTERNS)}
    return found


def _mean_and_std(picture: np.ndarray, windows: tuple) -> tuple[np.ndarray, np.ndarray]:
    out = np.zeros((len(windows[0]) * len(windows[1]), len(COLUMNS)))
    measure_windows(_plain(picture), *windows, True, False, False, out)
    return out[:, 0], np.sqrt(out[:, 1])
