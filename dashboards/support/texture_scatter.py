"""The scatter of patches: two statistics, or a plane in which patches that look alike are near each other."""

from __future__ import annotations

import numpy as np
from bokeh.models import BoxSelectTool, LassoSelectTool, Range1d, TapTool
from bokeh.plotting import figure as new_figure

from dashboards.support.page import FAINT
from dashboards.support.texture_heat_map import style
from dashboards.support.texture_points import PatchPoints, axis_of

_TAILS = (1, 99)
_WIDEST = 4


class Scatter:
    """A figure with a point for each patch.

    Parameters
    ----------
    points
        The patches; shared with the mosaic.
    """

    def __init__(self, points: PatchPoints) -> None:
        self.points = points
        drag = BoxSelectTool()
        self.figure = new_figure(
            tools=[drag, LassoSelectTool(continuous=False), TapTool(), "pan", "wheel_zoom", "reset"],
            active_drag=drag,
            x_range=Range1d(-1, 1),
            y_range=Range1d(-1, 1),
            sizing_mode="stretch_width",
            height=380,
            min_border_left=46,
            toolbar_location="above",
            name="scatter",
        )
        style(self.figure)
        drawn = self.figure.scatter(
            "x", "y", source=points.source, size=5, line_color=None, fill_alpha=0.7, name="points",
            fill_color={"field": "value", "transform": points.colours},
        )  # fmt: skip
        drawn.nonselection_glyph = drawn.glyph.clone(fill_alpha=0.12)
        drawn.selection_glyph = drawn.glyph.clone(fill_alpha=1.0, line_color=FAINT, size=7)
        drawn.hover_glyph = drawn.glyph.clone(fill_alpha=1.0, line_color="#000000", size=8)
        self.figure.add_tools(points.hover(drawn))
        self._drawn = drawn
        self._axes: tuple = ()

    def put_axes(self) -> None:
        """Show other places, and the whole of them."""
        dashboard = self.points.dashboard
        if dashboard.patches is None:
            return
        explained = (
            dict(zip(dashboard.embedding.names, dashboard.embedding.explained, strict=False))
            if dashboard.embedding
            else {}
        )
        for axis, plotted, name in (
            (self.figure.xaxis, self.figure.x_range, dashboard.across),
            (self.figure.yaxis, self.figure.y_range, dashboard.up),
        ):
            share = f" ({100 * explained[name]:.0f} % of the variance)" if name in explained else ""
            axis.axis_label = f"{name}{share}"
            start, end = _span(axis_of(dashboard, name))
            plotted.update(start=start, end=end, reset_start=start, reset_end=end)
        size = 5 if len(self.points.rows) < 8000 else 3
        for glyph, more in (
            (self._drawn.glyph, 0),
            (self._drawn.nonselection_glyph, 0),
            (self._drawn.selection_glyph, 2),
        ):
            glyph.size = size + more


def _span(values: np.ndarray) -> tuple[float, float]:
    """Return the ends of an axis: a few very far points do not squeeze the rest."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return -1.0, 1.0
    low, high = np.percentile(finite, _TAILS)
    wide = _WIDEST * (high - low)
    low, high = max(finite.min(), low - wide), min(finite.max(), high + wide)
    room = 0.04 * (high - low) or 0.5
    return float(low - room), float(high + room)
