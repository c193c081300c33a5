"""The image shown with its circles: pixels are sent to the browser once, circles and contrast change in place."""

from __future__ import annotations

from typing import Any

import holoviews as hv
import numpy as np
import pandas as pd
from bokeh.models import ColorBar, ColumnDataSource, HoverTool, LinearColorMapper
from bokeh.palettes import Plasma256
from panel.io import unlocked
from panel.io.state import set_curdoc

from dashboards.support.looks import colour_bar, framed, limited, plain

HEIGHT_BY_WIDTH = 0.92
"""Shape of the frame: images of any shape are drawn in its middle, so that stepping through them moves nothing."""
MOST_CIRCLES = 5000
"""Circles drawn; those of the best support when there are more."""
# from blue-violet to yellow, without the darkest ones: they would be lost on black
_PALETTE = [Plasma256[place] for place in range(70, 250)]
_DASHES = {"weak": "dashed", "border": "dotted", "overlap": "dotdash"}
_TOLD = {
    "support": ("support", "0.00"),
    "r_px": ("radius (px)", "0.00"),
    "x_px": ("x (px)", "0.00"),
    "y_px": ("y (px)", "0.00"),
    "r_um": ("radius (µm)", "0.000"),
    "x_um": ("x (µm)", "0.00"),
    "y_um": ("y (µm)", "0.00"),
    "contrast": ("contrast", "0.0"),
    "mean": ("mean", "0.0"),
    "median": ("median", "0.0"),
    "std": ("sd", "0.0"),
    "background": ("background", "0.0"),
    "area_px": ("area (px²)", "0"),
    "integrated": ("integrated", "0"),
}
"""What hovering tells: heading and digits of each column."""
_NOTHING = pd.DataFrame({name: np.array([]) for name in ("x_px", "y_px", "r_px", "support")})


class CirclePicture:
    """An image under its circles.

    The HoloViews element carries axes and limits only; image and circles are glyphs of the figure itself, and
    what stays the same is not sent again. So a moved slider sends some circles, not a million pixels.
    """

    def __init__(self) -> None:
        self._element: hv.Points | None = None
        self._shape: tuple[int, int] | None = None
        self._grey = np.zeros((2, 2), np.uint8)
        self._contrast, self._strictness = (0.0, 255.0), 0.3
        self._circles: dict[str, Any] = {}
        self._title = ""
        self._figure: Any = None
        self._drawn: dict[str, Any] = {}

    def draw(
        self,
        grey: np.ndarray | None,
        circles: pd.DataFrame | None = None,
        *,
        contrast: tuple[float, float] = (0.0, 255.0),
        strictness: float = 0.3,
        title: str = "",
    ) -> hv.Points:
        """Return the picture.

        Parameters
        ----------
        grey : (rows, columns) array of uint8
            The image; None for nothing.
        circles
            As `measure_circles` makes them; None for none.
        contrast
            Greys drawn black and white.
        strictness
            Support drawn darkest.
        title
            Words above the picture.
        """
        self._grey = np.full((3, 4), 128, np.uint8) if grey is None else grey
        self._tell(circles, contrast, strictness, title)
        if self._element is None or self._shape != self._grey.shape:
            self._shape = self._grey.shape
            self._element = self._axes(*self._shape)
        return self._element

    def move(
        self, circles: pd.DataFrame | None, *, contrast: tuple[float, float], strictness: float, title: str = ""
    ) -> bool:
        """Change circles and contrast of the picture on a served page at once, without drawing it anew.

        Parameters
        ----------
        circles, contrast, strictness, title
            As for `draw`.

        Returns
        -------
        bool
            False when there is no picture on a served page; it must be drawn then.
        """
        document = self._figure.document if self._figure is not None else None
        if document is None or document.session_context is None:
            return False
        self._tell(circles, contrast, strictness, title)
        # after waiting for a thread nobody holds the document; Panel hands the change on when it may
        with set_curdoc(document), unlocked():
            self._put_circles()
        return True

    def _tell(self, circles: pd.DataFrame | None, contrast: tuple[float, float], strictness: float, title: str) -> None:
        self._contrast, self._strictness, self._title = contrast, strictness, title
        self._circles = circle_columns(_NOTHING if circles is None else circles.head(MOST_CIRCLES))

    def _axes(self, rows: int, columns: int) -> hv.Points:
        wide = max(columns, rows / HEIGHT_BY_WIDTH) * 1.01
        tall = wide * HEIGHT_BY_WIDTH
        left, top = (columns - wide) / 2 - 0.5, (rows - tall) / 2 - 0.5
        x, y = (left, left + wide), (top + tall, top)
        return hv.Points([], ["x", "y"]).opts(
            responsive=True,
            height=420,
            xaxis=None,
            yaxis=None,
            xlim=x,
            ylim=y,
            fontsize={"title": "9.5pt"},
            active_tools=[],
            default_tools=["pan", "wheel_zoom", "box_zoom", "reset"],
            hooks=[plain, framed(HEIGHT_BY_WIDTH), limited(x, y), self._put],
        )

    def _put(self, plot: Any, element: Any) -> None:
        """Hook: put image, circles, contrast and title on the figure."""
        figure = plot.state
        if "drawn" not in plot.handles:
            plot.handles["drawn"] = _add_glyphs(figure)
        self._figure, self._drawn = figure, plot.handles["drawn"]
        if plot.handles.get("grey") is not self._grey:
            plot.handles["grey"] = self._grey
            rows, columns = self._grey.shape
            self._drawn["image"].data_source.data = {"image": [self._grey], "dw": [columns], "dh": [rows]}
        self._put_circles()

    def _put_circles(self) -> None:
        drawn = self._drawn
        drawn["greys"].update(low=self._contrast[0], high=self._contrast[1])
        drawn["supports"].low = min(self._strictness, 0.95)
        if not _equal(drawn["circles"].data_source.data, self._circles):
            drawn["circles"].data_source.data = self._circles
        self._figure.title.text = self._title
        told = [name for name in _TOLD if name in self._circles]
        if drawn["told"] != told:
            drawn["told"] = told
            rows = [(_TOLD[name][0], f"@{name}{{{_TOLD[name][1]}}}") for name in told]
            drawn["hover"].tooltips = [*rows, ("flags", "@flags")]


def circle_columns(table: pd.DataFrame) -> dict[str, Any]:
    """Return circles as the columns that are drawn and told.

    Parameters
    ----------
    table
        As `measure_circles` makes it.
    """
    columns = {name: table[name].to_numpy(float) for name in _TOLD if name in table}
    flags = {name: table[name].to_numpy(bool) for name in _DASHES if name in table}
    words = [", ".join(name for name in flags if flags[name][row]) or "none" for row in range(len(table))]
    dashes = ["solid"] * len(table)
    if flags:
        dashes = np.select(list(flags.values()), [_DASHES[name] for name in flags], "solid")
    return {**columns, "flags": words, "dash": list(map(str, dashes))}


def _equal(before: dict[str, Any], now: dict[str, Any]) -> bool:
    return before.keys() == now.keys() and all(_same(before[name], now[name]) for name in now)


def _same(before: Any, now: Any) -> bool:
    if isinstance(now, list):
        return list(before) == now
    return np.array_equal(before, now, equal_nan=True)


def _add_glyphs(figure: Any) -> dict[str, Any]:
    """Add an image, circles, hover and colour bar to a figure, and return its parts by name."""
    greys = LinearColorMapper(palette="Greys256", low=0, high=255)
    supports = LinearColorMapper(palette=_PALETTE, low=0.3, high=1.0)
    empty = {"image": [], "dw": [], "dh": []}
    image = figure.image(
        "image", x=-0.5, y=-0.5, dw="dw", dh="dh", source=ColumnDataSource(empty), color_mapper=greys, name="image"
    )
    image.level = "image"
    names = [*_TOLD, "flags", "dash"]
    circles = figure.circle(
        "x_px", "y_px", radius="r_px", source=ColumnDataSource({name: [] for name in names}), name="circles",
        fill_alpha=0.0, line_width=2, line_dash="dash", line_color={"field": "support", "transform": supports},
    )  # fmt: skip
    circles.hover_glyph = circles.glyph.clone(fill_alpha=0.12, fill_color="#ffffff", line_width=3)
    hover = HoverTool(renderers=[circles], tooltips=[("support", "@support{0.00}")], point_policy="follow_mouse")
    figure.add_tools(hover)
    look = colour_bar("")["colorbar_opts"] | {"width": "auto", "height": 10, "title_text_align": "left"}
    figure.add_layout(ColorBar(color_mapper=supports, title="support", orientation="horizontal", **look), "below")
    return {"image": image, "circles": circles, "greys": greys, "supports": supports, "hover": hover, "told": []}
