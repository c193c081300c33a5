"""The map of all exposures on the stage: thousands of points sent once, and marks of duplicates changed in place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import holoviews as hv
import numpy as np
import pandas as pd
from bokeh.models import ColorBar, ColumnDataSource, HoverTool, Legend, LegendItem, LinearColorMapper
from bokeh.palettes import Viridis256

from dashboards.support.colours import FAINT, GROUP_COLOURS
from dashboards.support.exposures_plots import padded
from dashboards.support.exposures_words import clock
from dashboards.support.looks import colour_bar, framed, limited, plain, thin_labels

# Told apart by colour-blind eyes (blue and vermilion after Okabe and Ito) on white and on black.
KEPT, BAD, CHOSEN = "#1f8fd0", "#e0590b", "#d6409f"
MOST_CIRCLES = 2000
"""Search circles are drawn around no more members of duplicate groups than these."""
FOCUS_UM = 20.0
"""Width of the map when it shows a place closely."""
HEIGHT_BY_WIDTH = 0.85
_CLICK_REACH = 0.02
_FEW = 3000


@dataclass(frozen=True)
class Colouring:
    """What the colours of the exposures mean.

    Attributes
    ----------
    values
        (n,) numbers, one an exposure.
    label
        What they are, with the unit.
    limits
        Numbers drawn in the first and the last colour.
    palette
        Colours.
    bar
        Whether a colour bar tells them.
    """

    values: np.ndarray
    label: str = ""
    limits: tuple[float, float] = (0.0, 1.0)
    palette: tuple[str, ...] = (FAINT, FAINT)
    bar: bool = False


def colour_by_group(numbers: np.ndarray) -> Colouring:
    """Colour exposures by the number of their group, from 1; less means none.

    Parameters
    ----------
    numbers : (n,) array of int
        Groups.
    """
    numbers = np.asarray(numbers, dtype=int)
    count = len(GROUP_COLOURS)
    values = np.where(numbers < 1, count, (numbers - 1) % count)
    return Colouring(values.astype(np.float32), "optics group", (-0.5, count + 0.5), (*GROUP_COLOURS, FAINT))


def colour_by_value(values: np.ndarray, label: str, limits: tuple[float, float] | None = None) -> Colouring:
    """Colour exposures by a number, dark to bright.

    Parameters
    ----------
    values : (n,) array
        Numbers.
    label
        What they are, with the unit.
    limits
        Numbers drawn darkest and brightest; the lowest and highest by default.
    """
    values = np.asarray(values, dtype=np.float32)
    known = values[np.isfinite(values)]
    if limits is None:
        limits = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    low, high = limits
    return Colouring(values, label, (low, high if high > low else low + 1), tuple(Viridis256), True)


def colour_alike(count: int) -> Colouring:
    """Colour all exposures alike, so that only the marks stand out.

    Parameters
    ----------
    count
        Number of exposures.
    """
    return Colouring(np.zeros(count, dtype=np.float32))


class ExposureMap:
    """A map whose points are sent to the browser once, and whose marks change in place.

    The HoloViews element carries axes, limits and clicks only; points and marks are glyphs of the figure itself, and
    those that stay the same are not sent again. So a moved radius sends hundreds of rows, not all of them.
    """

    def __init__(self) -> None:
        self._glyphs: dict[str, dict[str, Any]] = {}
        self._title, self._colouring, self._radius_um = "", colour_alike(0), 0.0
        self._element: hv.Points | None = None
        self._limits: tuple | None = None
        self._figure: Any = None
        self._focus: tuple[float, float] | None = None
        self._told: pd.DataFrame | None = None
        self._text: dict[str, np.ndarray] = {}

    def draw(
        self,
        exposures: pd.DataFrame,
        *,
        radius_um: float,
        colouring: Colouring | None = None,
        chosen: np.ndarray | None = None,
        focus: tuple[float, float] | None = None,
        title: str = "",
    ) -> hv.Points:
        """Return the map.

        Parameters
        ----------
        exposures
            ``x_um``, ``y_um``, ``name``, ``acquired``, ``group`` (-1 for none) and ``bad``.
        radius_um
            Search radius, drawn around the members of duplicate groups.
        colouring
            Colours of the points; all alike by default.
        chosen : (n,) array of bool, optional
            Exposures that are looked at.
        focus
            Place to show closely when it was another one before; None to show everything again.
        title
            Words above the picture.

        Returns
        -------
        holoviews.Points
            Inside a `holoviews.DynamicMap` it changes in place; `holoviews.streams.Tap(source=that_map)` tells the
            place of a click.
        """
        self._colouring = colour_alike(len(exposures)) if colouring is None else colouring
        x, y = exposures["x_um"].to_numpy(np.float64), exposures["y_um"].to_numpy(np.float64)
        points = {"x": x, "y": y, "value": self._colouring.values, **self._hover(exposures)}
        self._glyphs = {"exposures": points, **_marks(exposures, x, y, chosen)}
        self._title, self._radius_um, self._focus = title, radius_um, focus
        limits = padded(x, y, height_by_width=HEIGHT_BY_WIDTH)
        if self._element is None or limits != self._limits:
            self._element, self._limits = self._axes(limits), limits
        return self._element

    def reach_um(self) -> float:
        """Distance from a click within which an exposure is meant, a small share of what is seen."""
        if self._figure is None or self._figure.x_range.start is None:
            return np.inf
        return _CLICK_REACH * abs(self._figure.x_range.end - self._figure.x_range.start)

    def _axes(self, limits: tuple) -> hv.Points:
        return hv.Points([], ["stage x", "stage y"]).opts(
            active_tools=["pan", "wheel_zoom"],
            responsive=True,
            height=560,
            xlim=limits[0],
            ylim=limits[1],
            xlabel="stage x (µm)",
            ylabel="stage y (µm)",
            fontsize={"title": 10, "xlabel": 9, "ylabel": 9, "xticks": 8, "yticks": 8},
            hooks=[plain, thin_labels, framed(HEIGHT_BY_WIDTH), limited(*limits), self._mark],
        )

    def _hover(self, exposures: pd.DataFrame) -> dict[str, np.ndarray]:
        """Names and times as text; writing twenty thousand takes longer than all the rest, so they are remembered."""
        told = exposures[["name", "acquired"]]
        if self._told is None or not told.equals(self._told):
            self._told = told
            times = [clock(moment) for moment in exposures["acquired"]]
            self._text = {"name": told["name"].to_numpy(object), "time": np.array(times, dtype=object)}
        return self._text

    def _mark(self, plot: Any, element: Any) -> None:
        """Hook: put points, marks, colours and title on the figure."""
        self._figure = figure = plot.state
        if "drawn" not in plot.handles:
            plot.handles["drawn"] = _add_glyphs(figure)
        drawn = plot.handles["drawn"]
        for name, data in self._glyphs.items():
            if not _same(drawn[name].data_source.data, data):
                drawn[name].data_source.data = data
        for item in drawn["legend"].items:  # one whose glyph draws nothing would be words without a mark
            item.visible = len(self._glyphs[item.renderers[0].name]["x"]) > 0
        drawn["circles"].glyph.radius = self._radius_um
        drawn["exposures"].glyph.size = 5 if len(self._glyphs["exposures"]["x"]) <= _FEW else 3
        figure.title.text = self._title
        if plot.handles.get("focus") != self._focus:
            plot.handles["focus"] = self._focus
            _go_to(figure, self._limits, self._focus)
        _colour(drawn, self._colouring)


def _go_to(figure: Any, limits: tuple, focus: tuple[float, float] | None) -> None:
    """Show a place closely, or everything; the reset tool always shows everything."""
    if focus is not None:
        half = FOCUS_UM / 2
        limits = tuple((at - size, at + size) for at, size in zip(focus, (half, half * HEIGHT_BY_WIDTH), strict=True))
    for plotted, (start, end) in zip((figure.x_range, figure.y_range), limits, strict=True):
        plotted.update(start=start, end=end)


def _same(before: dict[str, Any], now: dict[str, Any]) -> bool:
    if before.keys() != now.keys():
        return False
    return all(before[name] is now[name] or _equal(before[name], now[name]) for name in now)


def _equal(before: np.ndarray, now: np.ndarray) -> bool:
    return len(before) == len(now) and np.array_equal(before, now, equal_nan=now.dtype.kind == "f")


def _marks(exposures: pd.DataFrame, x: np.ndarray, y: np.ndarray, chosen: np.ndarray | None) -> dict[str, dict]:
    """Data of the marks by the name of their glyph."""
    member, bad = exposures["group"].to_numpy() >= 0, exposures["bad"].to_numpy(bool)
    marks = {
        "kept": np.flatnonzero(member & ~bad),
        "bad": np.flatnonzero(bad),
        "circles": np.flatnonzero(member)[:MOST_CIRCLES],
        "chosen": np.flatnonzero(chosen) if chosen is not None else np.array([], dtype=int),
    }
    return {name: {"x": x[rows], "y": y[rows]} for name, rows in marks.items()}


def _add_glyphs(figure: Any) -> dict[str, Any]:
    """Add empty points, marks, hover and legend to a figure, and return its parts by name."""
    figure.output_backend = "webgl"

    def source(*more: str) -> ColumnDataSource:
        return ColumnDataSource({name: np.array([]) for name in ("x", "y", *more)})

    thin_edge = {"line_color": "#ffffff", "line_width": 0.6}
    drawn = {
        "exposures": figure.scatter(
            "x", "y", size=5, source=source("value", "name", "time"), name="exposures", line_color=None
        ),
        "circles": figure.circle(
            "x", "y", radius=1, source=source(), name="circles", fill_color=BAD, fill_alpha=0.06, line_color=BAD,
            line_alpha=0.55,
        ),
        "kept": figure.scatter("x", "y", size=9, source=source(), name="kept", fill_color=KEPT, **thin_edge),
        "bad": figure.scatter(
            "x", "y", size=11, source=source(), name="bad", marker="diamond", fill_color=BAD, **thin_edge
        ),
        "chosen": figure.scatter(
            "x", "y", size=20, source=source(), name="chosen", fill_color=None, line_color=CHOSEN, line_width=2.5
        ),
    }  # fmt: skip
    figure.add_tools(
        HoverTool(renderers=[drawn["exposures"]], tooltips=[("exposure", "@name"), ("acquired (UTC)", "@time")])
    )
    drawn["legend"] = _legend(drawn)
    figure.add_layout(drawn["legend"], "above")
    drawn["mapper"] = LinearColorMapper(palette=[FAINT], low=0, high=1, nan_color=FAINT)
    drawn["bar"] = ColorBar(color_mapper=drawn["mapper"], visible=False, **colour_bar("")["colorbar_opts"])
    figure.add_layout(drawn["bar"], "right")
    return drawn


def _legend(drawn: dict[str, Any]) -> Legend:
    names = {"exposure": "exposures", "kept": "kept", "bad": "bad", "search radius": "circles"}
    return Legend(
        items=[LegendItem(label=label, renderers=[drawn[name]]) for label, name in names.items()],
        orientation="horizontal",
        click_policy="hide",
        label_text_font_size="8pt",
        background_fill_alpha=0,
        border_line_color=None,
        location="left",
        margin=0,
        padding=4,
    )


def _colour(drawn: dict[str, Any], colouring: Colouring) -> None:
    """Colour the points, and show a colour bar where one tells something."""
    low, high = colouring.limits
    palette = list(colouring.palette)
    if drawn["mapper"].palette != palette or (drawn["mapper"].low, drawn["mapper"].high) != (low, high):
        drawn["mapper"].update(palette=palette, low=low, high=high)
    drawn["bar"].update(visible=colouring.bar, title=colouring.label)
    alike = len(set(palette)) == 1
    colour = palette[0] if alike else {"field": "value", "transform": drawn["mapper"]}
    drawn["exposures"].glyph.update(fill_color=colour, fill_alpha=0.55 if alike else 0.9)


def nearest_exposure(exposures: pd.DataFrame, x: float | None, y: float | None, *, reach_um: float) -> int | None:
    """Row of the exposure meant by a click, members of duplicate groups first.

    Parameters
    ----------
    exposures
        ``x_um``, ``y_um`` and ``group`` (-1 for none).
    x, y
        Place as `holoviews.streams.Tap` gives it; None before the first tap.
    reach_um
        Exposures further away are not meant.

    Returns
    -------
    int or None
        Row number, or None when there is no exposure near.

    Examples
    --------
    >>> places = pd.DataFrame({"x_um": [0.0, 5.0], "y_um": [0.0, 0.0], "group": [-1, -1]})
    >>> nearest_exposure(places, 4.8, 0.1, reach_um=1.0)
    1
    """
    if x is None or y is None or not (np.isfinite(x) and np.isfinite(y)) or not len(exposures):
        return None
    distance = np.hypot(exposures["x_um"].to_numpy() - x, exposures["y_um"].to_numpy() - y)
    for meant in (exposures["group"].to_numpy() >= 0, np.ones(len(exposures), dtype=bool)):
        near = np.where(meant & (distance <= reach_um), distance, np.inf)
        if np.isfinite(near.min()):
            return int(near.argmin())
    return None
