"""Mosaic and scatter: pixels of the set are sent once, colours and places are a few numbers a patch."""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.events import DoubleTap, Tap
from bokeh.models import (
    BoxSelectTool,
    BoxZoomTool,
    ColorBar,
    ColumnDataSource,
    CustomJS,
    LassoSelectTool,
    Range1d,
    TapTool,
)
from bokeh.plotting import figure as new_figure
from panel.io.state import set_curdoc

from dashboards.support.colours import FAINT
from dashboards.support.looks import colour_bar, plain
from dashboards.support.texture_points import PatchPoints, axis_of, lay_out

_FLATTEST, _TALLEST = 0.45, 1.0
_FIT = """
const frame = Math.round(figure.inner_width * shape[0])
const wanted = frame + figure.outer_height - figure.inner_height
if (figure.inner_width > 0 && Math.abs(wanted - figure.height) > 1) { figure.height = wanted }
"""
_RASTER = ("image", "x", "y", "dw", "dh")
_TAILS = (1, 99)
_WIDEST = 4
_OUTLINES = ("left", "right", "top", "bottom", "colour")


class HeatMap:
    """A figure of the whole set.

    Parameters
    ----------
    points
        The patches; shared with the scatter.
    """

    def __init__(self, points: PatchPoints) -> None:
        self.points = points
        self.figure = new_figure(
            tools="pan,wheel_zoom,reset",
            active_scroll="wheel_zoom",
            active_drag="pan",
            x_range=Range1d(0, 1),
            y_range=Range1d(1, 0),
            sizing_mode="stretch_width",
            height=420,
            x_axis_location=None,
            y_axis_location=None,
            toolbar_location="above",
            name="mosaic",
        )
        style(self.figure)
        self._grey = ColumnDataSource({"image": [], "dw": [], "dh": []})
        picture = self.figure.image(
            "image", x=0, y=0, dw="dw", dh="dh", source=self._grey, palette="Greys256", name="grey"
        )
        picture.glyph.color_mapper.update(low=0, high=255)
        picture.level = "image"
        self._colours = ColumnDataSource({name: [] for name in _RASTER})
        self.over = self.figure.image(
            "image", x="x", y="y", dw="dw", dh="dh", source=self._colours, color_mapper=points.over, name="colours"
        )
        self.over.level = "image"
        self._labels = ColumnDataSource({name: [] for name in _OUTLINES})
        for colour, width in (("#ffffff", 4.0), ("colour", 2.2)):
            self.figure.quad(
                "left", "right", "top", "bottom", source=self._labels, fill_color=None, line_color=colour,
                line_width=width, name="labels",
            )  # fmt: skip
        marks = self.figure.quad(
            "left", "right", "top", "bottom", source=points.source, fill_color=None, line_color=None, name="patches"
        )
        marks.selection_glyph = marks.glyph.clone(
            fill_color="#ffffff", fill_alpha=0.5, line_color="#000000", line_width=1.2
        )
        marks.nonselection_glyph = marks.glyph.clone()
        marks.hover_glyph = marks.glyph.clone(line_color="#ffffff", line_width=2)
        self.figure.add_tools(
            BoxZoomTool(match_aspect=True),
            BoxSelectTool(renderers=[marks]),
            LassoSelectTool(renderers=[marks], continuous=False),
            points.hover(marks),
        )
        look = colour_bar("")["colorbar_opts"] | {"width": "auto", "height": 8, "title_text_align": "left"}
        self._bar = ColorBar(color_mapper=points.over, orientation="horizontal", visible=False, name="scale", **look)
        self.figure.add_layout(self._bar, "below")
        self._fit = CustomJS(args={"figure": self.figure, "shape": [0.7]}, code=_FIT)
        for name in ("inner_width", "inner_height", "outer_width"):
            self.figure.js_on_change(name, self._fit)
        self._grey.js_on_change("data", self._fit)
        self.figure.on_event(Tap, self._tapped)
        self.figure.on_event(DoubleTap, self._tapped_again)
        self._mosaic, self._patches, self._raster = None, None, []
        self.put_opacity()
        self._tapped_last: int | None = None

    # ---- what has changed -----------------------------------------------------------------------------

    def put_mosaic(self) -> None:
        """Draw another set of tiles, or the same in another light, where what is looked at stays."""
        mosaic, before = self.points.dashboard.mosaic, self._mosaic
        if mosaic is before:
            return
        self._mosaic = mosaic
        if mosaic is None:
            self._grey.data = {"image": [], "dw": [], "dh": []}
            return
        if before is not None and before.tile_set is mosaic.tile_set:
            self._grey.data["image"] = [mosaic.pixels]
            return
        rows, columns = mosaic.shape_px
        shape = float(np.clip(rows / columns, _FLATTEST, _TALLEST))
        wide = max(columns, rows / shape) * 1.01
        tall = wide * shape
        left, top = (columns - wide) / 2, (rows - tall) / 2
        for plotted, (start, end) in (
            (self.figure.x_range, (left, left + wide)),
            (self.figure.y_range, (top + tall, top)),
        ):
            plotted.update(start=start, end=end, reset_start=start, reset_end=end)
        self._fit.args = {"figure": self.figure, "shape": [shape]}
        self._grey.data = {"image": [mosaic.pixels], "dw": [columns], "dh": [rows]}

    def put_colours(self) -> None:
        """Draw the patches in other colours, and other patches when there are any."""
        dashboard, made = self.points.dashboard, self.points.colouring
        patches = dashboard.patches
        if patches is None or dashboard.mosaic is None or len(made.values) != len(patches):
            self._patches, self._raster = None, []
            self._colours.data = {name: [] for name in _RASTER}
            self._bar.visible = False
            return
        if patches is not self._patches:
            self._patches = patches
            self._raster, places = lay_out(patches.table, dashboard.mosaic.place_patches(patches))
            self._colours.data = {"image": self._images(made.values), **places}
        else:
            self._colours.data["image"] = self._images(made.values)
        self._bar.update(visible=not made.names and bool(made.title), title=made.title)

    def put_opacity(self) -> None:
        """Draw the colours as strongly as is wanted; what is shown in a browser has followed its slider already."""
        if self.figure.document is None:
            self.over.glyph.global_alpha = self.points.dashboard.opacity

    def _images(self, values: np.ndarray) -> list[np.ndarray]:
        padded = np.append(values, np.float32("nan"))
        return [padded[cells] for cells in self._raster]

    def put_labels(self) -> None:
        """Outline the patches that have a class by hand."""
        dashboard = self.points.dashboard
        given = dashboard.labelled_rows if dashboard.mosaic is not None else {}
        if not given:
            self._labels.data = {name: [] for name in _OUTLINES}
            return
        places = dashboard.mosaic.place_patches(dashboard.patches).iloc[list(given)]
        colours = dashboard.class_colours
        inset = 0.04 * (places["right"] - places["left"]).to_numpy()
        self._labels.data = {
            "left": places["left"].to_numpy() + inset,
            "right": places["right"].to_numpy() - inset,
            "top": places["top"].to_numpy() + inset,
            "bottom": places["bottom"].to_numpy() - inset,
            "colour": [colours[name] for name in given.values()],
        }

    # ---- clicks ---------------------------------------------------------------------------------------

    def _tapped(self, event: Tap) -> None:
        with set_curdoc(self.figure.document):
            held = getattr(event, "modifiers", None)
            more = bool(held and (getattr(held, "shift", False) or getattr(held, "ctrl", False)))
            self.tap(event.x, event.y, more=more)

    def _tapped_again(self, event: DoubleTap) -> None:
        """Two patches clicked one soon after the other come as a double click; one clicked twice is meant once."""
        if self.patch_at(event.x, event.y) != self._tapped_last:
            self._tapped(event)

    def tap(self, x: float, y: float, *, more: bool = False) -> None:
        """Answer a click: label the patch there, or select it.

        Parameters
        ----------
        x, y
            In pixels of the set.
        more
            Whether what is selected stays so.
        """
        dashboard = self.points.dashboard
        row = self._tapped_last = self.patch_at(x, y)
        if dashboard.labelling:
            if row is not None:
                dashboard.toggle_label(row)
        elif row is None:
            dashboard.selected = dashboard.selected if more else []
        elif more:
            dashboard.selected = sorted({*dashboard.selected} ^ {row})
        else:
            dashboard.selected = [row]

    def patch_at(self, x: float, y: float) -> int | None:
        """Return the patch at a place: of those that overlap the one whose middle is nearest; None for none."""
        dashboard = self.points.dashboard
        if dashboard.patches is None or dashboard.mosaic is None:
            return None
        places = dashboard.mosaic.place_patches(dashboard.patches)
        left, right, top, bottom = (places[name].to_numpy() for name in ("left", "right", "top", "bottom"))
        inside = np.flatnonzero((left <= x) & (x < right) & (top <= y) & (y < bottom))
        if not len(inside):
            return None
        off = (left + right)[inside] / 2 - x, (top + bottom)[inside] / 2 - y
        return int(inside[np.hypot(*off).argmin()])


def style(figure: Any) -> None:
    """Give a figure the look of all plots."""
    plain(_Plot(figure), None)
    figure.title.text_color = FAINT


class _Plot:
    """What hooks of plots want: an object that has the figure."""

    def __init__(self, figure: Any) -> None:
        self.state = figure


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
