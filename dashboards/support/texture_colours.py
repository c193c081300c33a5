"""What is shown of each patch as a number, and the colours of these numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from bokeh.palettes import Cividis256, Greys256, Magma256, Viridis256

from analysis.texture import COLOURS

_PALETTES = {
    "viridis": list(Viridis256),
    "cividis": list(Cividis256),
    "magma": list(Magma256),
    "grey": list(Greys256),
}
_TAILS = (1, 99)


@dataclass(frozen=True)
class Colouring:
    """What is shown of each patch.

    Attributes
    ----------
    values
        (patches,) float32; NaN where there is nothing to show.
    colours
        From the lowest to the highest value.
    bounds
        Lowest and highest value.
    names
        Of groups by number; empty for a statistic.
    title
        What the values are.
    """

    values: np.ndarray
    colours: list[str]
    bounds: tuple[float, float]
    names: dict[int, str] = field(default_factory=dict)
    title: str = ""

    @property
    def groups(self) -> list[tuple[str, str, int]]:
        """Name, colour and number of patches of each group."""
        counts = np.bincount(np.nan_to_num(self.values).astype(int), minlength=max(self.names, default=0) + 1)
        return [(name, self.colours[number - 1], int(counts[number])) for number, name in self.names.items()]


def colour_patches(dashboard: Any) -> Colouring:
    """Return what the page shows of its patches.

    Parameters
    ----------
    dashboard
        The page.
    """
    patches, found, correction, shown = dashboard.patches, dashboard.found, dashboard.correction, dashboard.shown
    if patches is None:
        return Colouring(np.zeros(0, np.float32), list(COLOURS[:1]), (0.5, 1.5))
    if shown in patches.statistics:
        return _numbers(patches.table[shown].to_numpy(float), patches, dashboard.palette, shown)
    if shown == "sureness" and correction is not None:
        made = _numbers(correction.sureness, patches, dashboard.palette, "sureness of the class")
        lowest = 1 / max(len(correction.classes), 1)
        return Colouring(made.values, made.colours, (lowest, 1.0), title=made.title)
    if shown == "classes" and correction is not None:
        known = dashboard.class_numbers
        turned = np.array([0, *(known.get(name, 0) for name in correction.classes)])
        numbers = turned[np.maximum(correction.numbers, 0)]
        return _groups(numbers, {number: name for name, number in known.items()}, "class")
    if found is None:
        return _groups(np.zeros(len(patches), int), {}, "cluster")
    return _groups(np.maximum(found.numbers, 0), found.names, "cluster")


def _groups(numbers: np.ndarray, names: dict[int, str], title: str) -> Colouring:
    most = max(names, default=1)
    colours = [COLOURS[place % len(COLOURS)] for place in range(most)]
    values = np.where(numbers > 0, numbers, np.nan).astype(np.float32)
    return Colouring(values, colours, (0.5, most + 0.5), names, title)


def _numbers(values: np.ndarray, patches: Any, palette: str, title: str) -> Colouring:
    inside = np.where(patches.table["left_out"].to_numpy(), np.nan, np.asarray(values, float))
    finite = inside[np.isfinite(inside)]
    low, high = np.percentile(finite, _TAILS) if len(finite) else (0.0, 1.0)
    if not high > low:
        low, high = low - 0.5, high + 0.5
    return Colouring(inside.astype(np.float32), _PALETTES[palette], (float(low), float(high)), title=title)
