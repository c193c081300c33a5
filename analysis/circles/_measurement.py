"""What the pixels of discs hold: intensity inside, background around, area."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from analysis.circles._detection import Circles
from analysis.circles._pixels import convert_to_grey

_GAP_PX, _LEAST_RING_PX = 2.0, 3.0
_MEASURED = ("mean", "median", "std", "background", "area_px", "integrated")


def measure_circles(pixels: np.ndarray, circles: Circles) -> Circles:
    """Measure the intensity of discs.

    A pixel belongs to a disc when its centre is no further than the radius from the disc's centre; discs over each
    other share pixels. Only the surroundings of each disc are looked at.

    Parameters
    ----------
    pixels
        The image, as for `detect_circles`.
    circles
        Its discs.

    Returns
    -------
    Circles
        The same discs with further columns: ``mean, median, std`` of the pixels inside that the frame has and that
        are finite (std of all of them, not of a sample), ``background`` (median of a ring from 2 px outside the rim
        on, a fifth of the radius wide but at least 3 px, without pixels of other discs), ``area_px`` (number of
        pixels measured) and ``integrated`` (sum of the differences from the background). NaN where there are no
        pixels.

    Raises
    ------
    ValueError
        When the image has another shape than the one the discs are of.

    Examples
    --------
    >>> from analysis.circles import detect_circles
    >>> rows, columns = np.ogrid[:120, :160]
    >>> image = 20 + 100.0 * (np.hypot(rows - 60, columns - 70) <= 30)
    >>> measured = measure_circles(image, detect_circles(image))
    >>> measured.table[["median", "background"]]
       median  background
    0   120.0        20.0
    """
    grey, _ = convert_to_grey(pixels)
    if grey.shape != tuple(circles.shape):
        raise ValueError(
            f"pixels must have the shape of the image that the circles are of, {circles.shape}; got {grey.shape}."
        )
    places = circles.table[["x_px", "y_px", "r_px"]].to_numpy()
    rows = [_measure(grey, places, number) for number in range(len(places))]
    measured = pd.DataFrame(rows, columns=list(_MEASURED), index=circles.table.index, dtype=float)
    table = circles.table.drop(columns=[name for name in _MEASURED if name in circles.table]).join(measured)
    return dataclasses.replace(circles, table=table)


def _measure(grey: np.ndarray, places: np.ndarray, number: int) -> tuple[float, ...]:
    x, y, r = places[number]
    outer = r + _GAP_PX + max(_LEAST_RING_PX, 0.2 * r)
    window = tuple(
        slice(max(int(np.ceil(centre - outer)), 0), max(int(np.floor(centre + outer)) + 1, 0)) for centre in (y, x)
    )
    part = grey[window]
    rows, columns = np.ogrid[window[0].start : window[0].start + part.shape[0],
                             window[1].start : window[1].start + part.shape[1]]  # fmt: skip
    squared = (rows - y) ** 2 + (columns - x) ** 2
    known = np.isfinite(part) if part.dtype.kind == "f" else np.ones(part.shape, bool)
    ring = known & (squared > (r + _GAP_PX) ** 2) & (squared <= outer**2)
    for other_x, other_y, other_r in np.delete(places, number, axis=0):
        if np.hypot(other_x - x, other_y - y) < outer + other_r + 1:
            ring &= (rows - other_y) ** 2 + (columns - other_x) ** 2 > (other_r + 1) ** 2
    values = part[known & (squared <= r * r)].astype(float)
    background = float(np.median(part[ring])) if ring.any() else np.nan
    if not len(values):
        return np.nan, np.nan, np.nan, background, 0.0, np.nan
    mean = values.mean()
    return (
        mean,
        float(np.median(values)),
        values.std(),
        background,
        float(len(values)),
        (mean - background) * len(values),
    )
