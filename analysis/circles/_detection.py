"""Discs found in an image: where, how large, how well seen, and whether something speaks against them.

Edges (`_edges`) vote for centres and radii (`_votes`), circles are fitted to the edges around the best voted places and
then between the pixels (`_fit`), and those that enough edges support which no better circle explains are discs
(`_acceptance`). Lengths are in pixels, pixel centres lie at whole numbers, and x counts columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from analysis.circles._acceptance import HOPE, accept, measure_support, overlapping, repeated, without_rims
from analysis.circles._edges import Edges, find_edges
from analysis.circles._fit import RAYS, fit_coarsely, fit_finely
from analysis.circles._pixels import convert_to_grey
from analysis.circles._votes import vote

Polarity = Literal["either", "bright", "dark"]

METHOD = "1"
"""Raised whenever the same pixels may give other circles or other measurements."""

_POLARITIES = ("either", "bright", "dark")
_LOOKS, _LEAST_COARSE_PX = 3, 4.0
"""How often the rest is looked at again; least radius in the image at quarter size, in its pixels."""
_CROWDED = 0.25
"""Share of the places voted for that must be discs for another vote to be worth it."""
_WEAK_MARGIN, _WEAK_CONTRAST = 0.1, 3.0
_COLUMNS = {"x_px": float, "y_px": float, "r_px": float, "support": float, "contrast": float, "border": bool,
            "overlap": bool, "weak": bool}  # fmt: skip
_LENGTHS = ("x", "y", "r")


@dataclass(frozen=True)
class Circles:
    """Discs of an image.

    Attributes
    ----------
    table
        One row a disc, the best supported first: ``x_px, y_px, r_px`` (pixel centres at whole numbers, x counts
        columns), ``support`` (share of the circumference within the frame where edges say so, 0 to 1; edges of the
        other polarity count half), ``contrast`` (grey levels inside less those outside, along what is supported),
        ``border`` (the frame cuts the disc), ``overlap`` (another disc lies over or under it) and ``weak`` (support
        within 0.1 of the strictness, or contrast below three standard deviations of the noise).
        ``x_um, y_um, r_um`` follow where the size of a pixel is known.
        `measure_circles` adds ``mean, median, std, background, area_px, integrated``.
    shape
        (rows, columns) of the image.
    pixel_size_um
        Side of a pixel in micrometres, or None.
    settings
        The keyword arguments used.
    warnings
        Sentences about the result as a whole.
    """

    table: pd.DataFrame
    shape: tuple[int, int]
    pixel_size_um: float | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.table)

    def summary(self) -> dict[str, Any]:
        """Return how many discs there are, how many of them are doubtful, and their middle radius and support."""
        table = self.table
        middle = {name: float(table[name].median()) if len(table) else None for name in ("r_px", "support", "contrast")}
        told = {
            "circles": len(table),
            "border": int(table["border"].sum()),
            "overlap": int(table["overlap"].sum()),
            "weak": int(table["weak"].sum()),
            "median_radius_px": middle["r_px"],
            "median_support": middle["support"],
            "median_contrast": middle["contrast"],
        }
        if "mean" in table:
            told["median_of_means"] = float(table["mean"].median()) if len(table) else None
        return told | {"warnings": list(self.warnings)}


@dataclass(frozen=True)
class PreparedImage:
    """An image whose edges are known, so that other radii or another strictness cost less.

    Attributes
    ----------
    edges
        Its edges; None when it has none.
    shape
        (rows, columns).
    warnings
        Sentences about its pixels.
    """

    edges: Edges | None
    shape: tuple[int, int]
    warnings: tuple[str, ...] = ()


def detect_circles(
    pixels: np.ndarray | PreparedImage,
    *,
    radius_px: Sequence[float] = (8.0, 80.0),
    radius_um: Sequence[float] | None = None,
    pixel_size_um: float | Sequence[float] | None = None,
    strictness: float = 0.3,
    polarity: Polarity = "either",
) -> Circles:
    """Detect discs in an image, with centre and radius between the pixels.

    Gain, offset and number type of the image do not matter, nor does a polarity that changes along a rim. An image
    without discs gives an empty table.

    Parameters
    ----------
    pixels
        (rows, columns), or (rows, columns, layers) with 1, 3 or 4 layers: red, green and blue are turned to grey
        (0.299, 0.587, 0.114), a fourth layer counts as opacity and is ignored. Any number type; what is not finite is
        filled from beside. Or what `prepare_image` made of them.
    radius_px
        Smallest and largest radius looked for, in pixels. At least 3.
    radius_um
        The same in micrometres; wins over ``radius_px`` and needs the size of a pixel.
    pixel_size_um
        Side of a pixel in micrometres, or height and width, which must agree to 1 %.
    strictness
        Least share of the circumference within the frame that edges must support, 0 to 1. Edges that belong to a
        better supported disc do not count.
    polarity
        ``"bright"`` for discs brighter than what is around, ``"dark"``, or ``"either"``.

    Returns
    -------
    Circles
        One row a disc, the best supported first.

    Raises
    ------
    ValueError
        When the image is no image, or a setting makes no sense; the message says what must hold.

    References
    ----------
    Kimme, Ballard and Sklansky 1975, doi:10.1145/360666.360677 (votes along the gradient); Gander, Golub and Strebel
    1994, doi:10.1007/BF01934268 (least-squares circles).

    Examples
    --------
    >>> rows, columns = np.ogrid[:120, :160]
    >>> image = 20 + 100.0 * (np.hypot(rows - 60, columns - 70) <= 30)
    >>> detect_circles(image).table[["x_px", "y_px", "r_px"]].round(0)
       x_px  y_px  r_px
    0  70.0  60.0  30.0
    """
    settings = {
        "radius_px": radius_px, "radius_um": radius_um, "pixel_size_um": pixel_size_um, "strictness": strictness,
        "polarity": polarity,
    }  # fmt: skip
    low, high, size_um = check_settings(**settings)
    prepared = pixels if isinstance(pixels, PreparedImage) else prepare_image(pixels)
    settings["radius_px"] = tuple(map(float, radius_px))
    settings["radius_um"] = None if radius_um is None else tuple(map(float, radius_um))
    edges, shape = prepared.edges, prepared.shape
    high = min(high, float(np.hypot(*shape)))
    table = _empty_table() if edges is None or low > high else _detect(edges, low, high, strictness, polarity)
    if size_um is not None:
        for name in _LENGTHS:
            table[f"{name}_um"] = table[f"{name}_px"] * size_um
    return Circles(table, shape, size_um, settings, prepared.warnings)


def prepare_image(pixels: np.ndarray) -> PreparedImage:
    """Find the edges of an image, so that `detect_circles` can look at it again and again with other settings.

    Parameters
    ----------
    pixels
        As `detect_circles` takes them.

    Returns
    -------
    PreparedImage
        In place of the pixels.

    Raises
    ------
    ValueError
        When the image is no image.
    """
    grey, warnings = convert_to_grey(pixels)
    return PreparedImage(find_edges(grey), grey.shape, warnings)


def _detect(edges: Edges, low: float, high: float, strictness: float, polarity: str) -> pd.DataFrame:
    found, share, own = _find(edges, low / 2, high / 2, strictness, polarity)
    if not len(found):
        return _empty_table()
    # the middle of the halved image's first pixel lies between the first two of the image
    circles, contrast = fit_finely(edges.grey, 2 * found + (0.5, 0.5, 0.0), own)
    contrast = contrast.astype(float)
    x, y, r = circles.T
    rows, columns = edges.grey.shape
    table = pd.DataFrame({
        "x_px": x, "y_px": y, "r_px": r, "support": share, "contrast": contrast * edges.scale,
        "border": (x - r < -0.5) | (y - r < -0.5) | (x + r > columns - 0.5) | (y + r > rows - 0.5),
        "overlap": overlapping(circles),
        "weak": (share < strictness + _WEAK_MARGIN) | (np.abs(contrast) < _WEAK_CONTRAST * edges.noise),
    })  # fmt: skip
    table = table[(r >= 0.97 * low) & (r <= 1.03 * high) & ~repeated(circles)]
    order = np.lexsort((table["x_px"], table["y_px"], -table["support"]))
    return table.iloc[order].reset_index(drop=True)


def _find(
    edges: Edges, low: float, high: float, strictness: float, polarity: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return circles of the halved image, their support, and which of their rays met their own rims."""
    sharp = _search(edges, low, high, strictness, polarity, np.zeros((0, 3)))
    low, high = max(low / 2, _LEAST_COARSE_PX), high / 2
    if edges.coarse is None or low > high:
        return sharp
    faint = _search(edges.coarse, low, high, strictness, polarity, (sharp[0] - (0.5, 0.5, 0)) / 2)
    faint = (2 * faint[0] + (0.5, 0.5, 0), *faint[1:])
    circles, share, own = (np.concatenate(parts) for parts in zip(sharp, faint, strict=True))
    return circles, share, own


def _search(
    edges: Edges, low: float, high: float, strictness: float, polarity: str, taken: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Look for circles besides those taken, again as long as more are found once the rims of the others are out."""
    most = int(np.clip(edges.across.size / 1000, 150, 4000))
    starts, found = np.zeros((0, 3)), [(np.zeros((0, 3)), np.zeros(0), np.zeros((0, RAYS), bool))]
    look, voted, crowded = 0, most, True
    while look < _LOOKS or crowded:
        seen = without_rims(edges, taken) if len(taken) else edges
        if crowded:
            places = vote(seen, low, high, least=0.5 * strictness, polarity=polarity, most=most)
            starts, voted = np.concatenate([places, starts]), len(places)
        fitted = fit_coarsely(seen, starts)
        fits = np.isfinite(fitted[:, 0]) & (fitted[:, 2] > 0.92 * low) & (fitted[:, 2] < 1.08 * high)
        starts, fitted = _drop_same(starts[fits], fitted[fits])
        if not len(fitted):
            break
        support = measure_support(seen, fitted, strictness, polarity)
        accepted = accept(support, strictness, taken, again=look > 0)
        chosen = accepted.chosen
        if not len(chosen):
            break
        found.append((fitted[chosen], support.share[chosen], accepted.own))
        taken = np.concatenate([taken, fitted[chosen]])
        hopeful = accepted.open & (accepted.left >= HOPE * strictness)
        starts = np.concatenate([starts[hopeful], fitted[hopeful]])
        # there may be more discs than places were voted for
        crowded = voted == most and len(chosen) > _CROWDED * most
        look += 1
    circles, share, own = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return circles, share, own


def _drop_same(starts: np.ndarray, fitted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Drop circles that ended up within half a pixel of an earlier one."""
    _, first = np.unique(np.rint(2 * fitted), axis=0, return_index=True)
    first.sort()
    return starts[first], fitted[first]


def _empty_table() -> pd.DataFrame:
    return pd.DataFrame({name: np.empty(0, kind) for name, kind in _COLUMNS.items()})


def check_settings(
    *,
    radius_px: Sequence[float] = (8.0, 80.0),
    radius_um: Sequence[float] | None = None,
    pixel_size_um: float | Sequence[float] | None = None,
    strictness: float = 0.3,
    polarity: str = "either",
) -> tuple[float, float, float | None]:
    """Check the settings of `detect_circles`; return the radii in pixels and the size of a pixel."""
    size_um = _check_pixel_size(pixel_size_um)
    if radius_um is not None and size_um is None:
        raise ValueError(f"radius_um needs pixel_size_um to become pixels; got {radius_um} um and no pixel size.")
    name, given = ("radius_px", radius_px) if radius_um is None else ("radius_um", radius_um)
    low, high = _check_radii(name, given)
    if radius_um is not None and size_um is not None:
        low, high = low / size_um, high / size_um
    if low < 3:
        raise ValueError(f"The smallest radius must be at least 3 px; got {low:.3g} px from {name} = {tuple(given)}.")
    if not _is_number(strictness) or not 0 <= strictness <= 1:
        raise ValueError(f"strictness must be a number from 0 to 1; got {strictness!r}.")
    if polarity not in _POLARITIES:
        raise ValueError(f"polarity must be either, bright or dark; got {polarity!r}.")
    return low, high, size_um


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _check_radii(name: str, given: Any) -> tuple[float, float]:
    wanted = f"{name} must be two numbers above 0, the smallest and the largest radius; got {given!r}."
    if isinstance(given, str) or not isinstance(given, Sequence | np.ndarray) or len(given) != 2:
        raise ValueError(wanted)
    if not all(_is_number(each) and np.isfinite(each) and each > 0 for each in given) or given[0] > given[1]:
        raise ValueError(wanted)
    return float(given[0]), float(given[1])


def _check_pixel_size(given: Any) -> float | None:
    if given is None:
        return None
    sides = (given,) if _is_number(given) else tuple(given) if isinstance(given, Sequence | np.ndarray) else ()
    if len(sides) not in (1, 2) or not all(_is_number(side) and np.isfinite(side) and side > 0 for side in sides):
        raise ValueError(f"pixel_size_um must be a number above 0, or height and width; got {given!r}.")
    if max(sides) > 1.01 * min(sides):
        raise ValueError(
            "pixel_size_um must have height and width that agree to 1 %, or discs are no circles in pixels; "
            f"got {given}."
        )
    return float(np.mean(sides))
