"""One layer of two slides, compared pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.flatfield._blocks import read_layer
from analysis.flatfield._slides import Slide
from analysis.flatfield._statistic import delta_over_sigma


@dataclass(frozen=True)
class PairComparison:
    """One layer of two slides, side by side.

    Attributes
    ----------
    names
        The two slide IDs.
    layer
        From 1.
    mean_images
        Two (rows, columns) mean images divided by their weighted mean; NaN where a pixel is left out.
    delta_over_sigma
        (rows, columns) difference over its uncertainty; NaN where it does not count.
    standard_deviation
        The statistic.
    pixels_left_out
        Pixels that do not count.
    histogram
        (density, edges) of delta/sigma from -6 to 6.
    """

    names: tuple[str, str]
    layer: int
    mean_images: tuple[np.ndarray, np.ndarray]
    delta_over_sigma: np.ndarray
    standard_deviation: float
    pixels_left_out: int
    histogram: tuple[np.ndarray, np.ndarray]

    def summary(self) -> dict[str, Any]:
        """Return names, layer, statistic and pixels left out."""
        return {
            "slides": list(self.names),
            "layer": self.layer,
            "standard_deviation": round(self.standard_deviation, 4),
            "pixels_left_out": self.pixels_left_out,
        }


def compare_pair(first: Slide, second: Slide, layer: int) -> PairComparison:
    """Compare one layer of two slides pixel by pixel.

    Parameters
    ----------
    first, second
        Slides with images of the same shape.
    layer
        From 1.

    Raises
    ------
    ValueError
        For another shape or a layer out of range, or a file that is cut.
    OSError
        When a file cannot be read.
    """
    if first.shape != second.shape:
        raise ValueError(f"Slides must have images of one shape; got {first.shape} and {second.shape}.")
    if not 1 <= layer <= first.shape[2]:
        raise ValueError(f"layer must be from 1 to {first.shape[2]}; got {layer}.")
    (mean_1, error_1), (mean_2, error_2) = _normalised_layer(first, layer), _normalised_layer(second, layer)
    d = delta_over_sigma(mean_1, error_1, mean_2, error_2)
    counted = d[np.isfinite(d)]
    return PairComparison(
        (first.slide_id, second.slide_id),
        layer,
        (mean_1, mean_2),
        d,
        float(counted.std()) if counted.size else float("nan"),
        int(d.size - counted.size),
        np.histogram(counted, bins=120, range=(-6, 6), density=True) if counted.size else _no_histogram(),
    )


def _no_histogram() -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(120), np.linspace(-6, 6, 121)


def _normalised_layer(slide: Slide, layer: int) -> tuple[np.ndarray, np.ndarray]:
    mean, error, mask = read_layer(slide, layer)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        weight = 1 / error**2
        usable = (mask > 0) & np.isfinite(mean) & np.isfinite(error)
        weighs = usable & np.isfinite(weight)
        norm = np.sum(weight[weighs] * mean[weighs]) / np.sum(weight[weighs])
        return np.where(usable, mean / norm, np.nan), np.where(usable, error / norm, np.nan)
