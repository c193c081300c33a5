"""Pictures of the texture report that move without Python: heat map with toggles, scatter, representatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from bokeh.layouts import column, row
from bokeh.model import Model
from bokeh.models import ColumnDataSource, CustomJS, FixedTicker, HoverTool, LinearColorMapper, Slider, Toggle
from bokeh.palettes import Greys256

from analysis.texture import COLOURS, Clusters, Correction, Embedding, Mosaic, cut_patches
from dashboards.support.colours import ACCENT
from dashboards.support.looks import framed
from dashboards.support.texture_plots import quiet_figure

Result = Clusters | Correction

MOST_POINTS = 5_000
"""Patches that can be pointed at and selected, and points of the scatter; a sample is drawn when there are more."""
_MOST_STATISTICS = 6
_LARGEST_HEIGHT_BY_WIDTH = 1.1
_CLEAR = "#00000000"
_SHOWN, _HIDDEN = 0.75, 0.0
_PICTURE, _GAP = 1.0, 0.08
_TOGGLE = """
const palette = [clear, ...colours.map((colour, place) => toggles[place].active ? colour : clear)]
mapper.palette = palette
const number = source.get_column("number")
const alpha = Array.from(number, each => each > 0 && toggles[each - 1].active ? shown : hidden)
source.data = {...source.data, alpha}
"""
_ALL = """
for (const toggle of toggles) { toggle.active = wanted }
"""


def colour_of(number: int) -> str:
    """Return the colour of a cluster or class.

    Examples
    --------
    >>> colour_of(1) == colour_of(13)
    True
    """
    return COLOURS[(number - 1) % len(COLOURS)]


def source_of(result: Result, mosaic: Mosaic, embedding: Embedding | None = None) -> ColumnDataSource:
    """Return the patches as the heat map and the scatter share them, a sample of them when there are many.

    Parameters
    ----------
    result
        As `cluster_patches` or `correct_labels` returns it.
    mosaic
        The set as a picture.
    embedding
        Places of the patches in the scatter; None for none.
    """
    patches = result.patches
    rows = np.flatnonzero(result.numbers > 0)
    if len(rows) > MOST_POINTS:
        rows = np.sort(np.random.default_rng(0).choice(rows, MOST_POINTS, replace=False))
    table = result.table.iloc[rows]
    numbers = result.numbers[rows]
    places = mosaic.place_patches(patches).iloc[rows]
    data: dict[str, Any] = {name: places[name].to_numpy(float) for name in places}
    data |= {
        "number": numbers, "colour": [colour_of(number) for number in numbers],
        "alpha": np.full(len(rows), _SHOWN), "called": [result.names[number] for number in numbers],
        "file": table["name"].astype(str).tolist(),
        "at": [f"row {down}, column {across}" for down, across in table[["row", "column"]].itertuples(index=False)],
    }  # fmt: skip
    for place, name in enumerate(patches.statistics[:_MOST_STATISTICS]):
        data[f"statistic_{place}"] = table[name].to_numpy(float)
    if isinstance(result, Correction):
        data["sureness"] = result.sureness[rows]
    if embedding is not None:
        across, up = embedding.names
        known = embedding.table.set_index("patch")[[across, up]].reindex(rows)
        data |= {"across": known[across].to_numpy(float), "up": known[up].to_numpy(float)}
    return ColumnDataSource(data)


def _tooltips(result: Result) -> list[tuple[str, str]]:
    told = [("", "@called"), ("file", "@file"), ("patch", "@at")]
    if isinstance(result, Correction):
        told.append(("sureness", "@sureness{0.00}"))
    names = result.patches.statistics[:_MOST_STATISTICS]
    return told + [(name, f"@statistic_{place}{{0.0000a}}") for place, name in enumerate(names)]


def grey_source(mosaic: Mosaic) -> ColumnDataSource:
    """Return the grey picture; several heat maps may share it, so that a report holds it once.

    Parameters
    ----------
    mosaic
        The set as a picture.
    """
    return ColumnDataSource({"image": [mosaic.pixels]})


def heat_map_with_controls(
    result: Result,
    mosaic: Mosaic,
    *,
    source: ColumnDataSource,
    grey: ColumnDataSource,
    opacity: float = 0.45,
    below: Model | None = None,
) -> Model:
    """Return the set with clusters or classes over it, a slider of their opacity, and a toggle of each.

    Parameters
    ----------
    result
        As `cluster_patches` or `correct_labels` returns it.
    mosaic
        The set as a picture.
    source
        As `source_of` returns it.
    grey
        As `grey_source` returns it.
    opacity
        To start with, 0 to 1.
    below
        Further figure of the same source.
    """
    numbers = sorted(result.names)
    at = mosaic.number_pixels(result.patches)
    kind = np.uint8 if len(numbers) < 256 else np.uint16
    raster = np.where(at >= 0, np.maximum(result.numbers, 0)[at], 0).astype(kind)
    colours = [colour_of(number) for number in numbers]
    mapper = LinearColorMapper(palette=[_CLEAR, *colours], low=-0.5, high=len(numbers) + 0.5)
    figure, overlay = _draw_map(result, mosaic, raster, mapper, source, grey, opacity)
    counts = np.bincount(np.maximum(result.numbers, 0), minlength=len(numbers) + 1)
    toggles = [
        _toggle(f"{result.names[number]} · {counts[number]:,}", colour)
        for number, colour in zip(numbers, colours, strict=True)
    ]
    follow = CustomJS(
        args={
            "toggles": toggles, "colours": colours, "clear": _CLEAR, "mapper": mapper, "source": source,
            "shown": _SHOWN, "hidden": _HIDDEN,
        },
        code=_TOGGLE,
    )  # fmt: skip
    for toggle in toggles:
        toggle.js_on_change("active", follow)
    every = _toggle("all", ACCENT)
    every.js_on_change("active", CustomJS(args={"toggles": toggles}, code=_ALL.replace("wanted", "cb_obj.active")))
    slider = Slider(
        title="Opacity", start=0, end=1, step=0.01, value=opacity, bar_color=ACCENT, sizing_mode="stretch_width",
        margin=(5, 20, 5, 10),
    )  # fmt: skip
    slider.js_link("value", overlay.glyph, "global_alpha")
    return column(
        slider,
        row(every, *toggles, sizing_mode="stretch_width", styles={"flex-wrap": "wrap"}),
        figure,
        *([below] if below is not None else []),
        sizing_mode="stretch_width",
    )


def _toggle(label: str, colour: str) -> Toggle:
    look = f":host .bk-btn {{ border-left: 12px solid {colour}; }} :host .bk-btn:not(.bk-active) {{ opacity: 0.45; }}"
    return Toggle(label=label, active=True, button_type="default", stylesheets=[look], margin=(3, 4))


def _draw_map(
    result: Result, mosaic: Mosaic, raster: np.ndarray, mapper: LinearColorMapper, source: ColumnDataSource,
    grey: ColumnDataSource, opacity: float,
) -> tuple[Any, Any]:  # fmt: skip
    rows_px, columns_px = mosaic.shape_px
    x, y, height_by_width = map_limits(rows_px, columns_px)
    figure = quiet_figure(
        solid=True, height=500, x_range=x, y_range=y, tools="pan,wheel_zoom,box_select,tap,reset",
        x_axis_label="column (px)", y_axis_label="row (px)",
    )  # fmt: skip
    framed(height_by_width)(_Framed(figure), None)
    size = {"x": 0, "y": 0, "dw": columns_px, "dh": rows_px}
    figure.image("image", source=grey, **size, color_mapper=LinearColorMapper(palette=Greys256, low=0, high=255))
    overlay = figure.image([raster], **size, color_mapper=mapper, name="overlay")
    overlay.glyph.global_alpha = opacity
    patches = figure.quad(
        left="left", right="right", top="top", bottom="bottom", source=source, fill_alpha=0, line_alpha=0,
        name="patches",
    )  # fmt: skip
    patches.selection_glyph = patches.glyph.clone(fill_alpha=0, line_alpha=1, line_color="#ffffff", line_width=2)
    patches.hover_glyph = patches.glyph.clone(fill_alpha=0, line_alpha=1, line_color="#ffffff", line_width=1)
    figure.add_tools(HoverTool(renderers=[patches], tooltips=_tooltips(result)))
    return figure, overlay


class _Framed:
    """What the hook of framed plots wants: a figure, and a place to remember."""

    def __init__(self, figure: Any) -> None:
        self.state, self.handles = figure, {}


def map_limits(rows_px: int, columns_px: int) -> tuple[tuple[float, float], tuple[float, float], float]:
    """Return limits across and downwards that show a set whole, and the height of the frame by its width.

    Parameters
    ----------
    rows_px, columns_px
        Of the set.

    Examples
    --------
    >>> map_limits(100, 200)
    ((0, 200), (100, 0), 0.5)
    """
    height_by_width = rows_px / columns_px
    if height_by_width <= _LARGEST_HEIGHT_BY_WIDTH:
        return (0, columns_px), (rows_px, 0), height_by_width
    wide = rows_px / _LARGEST_HEIGHT_BY_WIDTH
    beside = (wide - columns_px) / 2
    return (-beside, columns_px + beside), (rows_px, 0), _LARGEST_HEIGHT_BY_WIDTH


def scatter_of(result: Result, source: ColumnDataSource, embedding: Embedding) -> Model:
    """Return the patches as points; those selected are selected in the heat map too.

    Parameters
    ----------
    result
        As `cluster_patches` or `correct_labels` returns it.
    source
        As `source_of` returns it, with this embedding.
    embedding
        Names the axes.
    """
    share = [f" ({100 * part:.0f} % of the variance)" for part in embedding.explained] or ["", ""]
    labels = [f"{name}{more}" for name, more in zip(embedding.names, share, strict=True)]
    figure = quiet_figure(
        solid=True, height=340, x_axis_label=labels[0], y_axis_label=labels[1],
        tools="box_select,lasso_select,wheel_zoom,pan,tap,reset", active_drag="box_select",
    )  # fmt: skip
    points = figure.scatter(
        "across", "up", source=source, size=5, fill_color="colour", line_color=None, fill_alpha="alpha", name="points"
    )
    points.nonselection_glyph = points.glyph.clone(fill_color="#c9ced6")
    points.selection_glyph = points.glyph.clone(line_color="#1c2430", line_width=1)
    figure.add_tools(HoverTool(renderers=[points], tooltips=_tooltips(result)))
    return figure


def representatives_sheet(found: Clusters) -> Model:
    """Return the patches nearest to the mean of each cluster, a row a cluster.

    Parameters
    ----------
    found
        As `cluster_patches` returns it.
    """
    told = found.representatives
    pictures = cut_patches(found.patches, told["patch"].tolist())
    table = found.patches.table
    high = max((picture.shape[0] / picture.shape[1] for picture in pictures), default=1.0)
    rows = found.count
    across = int(told["rank"].max()) if len(told) else 1
    figure = quiet_figure(
        solid=True, height=int(40 + rows * min(110 * high, 220)), x_range=(-0.12, max(across, 4) * (_PICTURE + _GAP)),
        y_range=(rows * (high + _GAP), -_GAP), tools="",
    )  # fmt: skip
    data: dict[str, list[Any]] = {name: [] for name in ("image", "x", "y", "dw", "dh", "called", "file", "at")}
    for picture, entry in zip(pictures, told.to_dict("records"), strict=True):
        patch = table.iloc[entry["patch"]]
        place = (entry["rank"] - 1) * (_PICTURE + _GAP), (entry["cluster"] - 1) * (high + _GAP)
        values = (
            picture, *place, _PICTURE, picture.shape[0] / picture.shape[1], found.names[entry["cluster"]],
            str(patch["name"]), f"row {patch['row']}, column {patch['column']}",
        )  # fmt: skip
        for name, value in zip(data, values, strict=True):
            data[name].append(value)
    drawn = figure.image(
        "image", x="x", y="y", dw="dw", dh="dh", source=ColumnDataSource(data), name="representatives",
        color_mapper=LinearColorMapper(palette=Greys256, low=0, high=255),
    )  # fmt: skip
    figure.add_tools(HoverTool(renderers=[drawn], tooltips=[("", "@called"), ("file", "@file"), ("patch", "@at")]))
    tops = np.arange(rows) * (high + _GAP)
    figure.quad(
        left=-0.1, right=-0.04, top=tops, bottom=tops + high, line_color=None,
        fill_color=[colour_of(number) for number in range(1, rows + 1)],
    )  # fmt: skip
    middles = [float(top + high / 2) for top in tops]
    figure.yaxis.ticker = FixedTicker(ticks=middles)
    figure.yaxis.major_label_overrides = dict(zip(middles, found.names.values(), strict=True))
    figure.xaxis.visible = False
    return figure


def agreement_table(found: Clusters, correction: Correction) -> pd.DataFrame:
    """Return how many patches of each cluster have each class.

    Parameters
    ----------
    found
        As `cluster_patches` returns it.
    correction
        Of the same patches.
    """
    both = (found.numbers > 0) & (correction.numbers > 0)
    counts = np.zeros((found.count, len(correction.classes)), int)
    np.add.at(counts, (found.numbers[both] - 1, correction.numbers[both] - 1), 1)
    columns = {"cluster / class": list(found.names.values())}
    return pd.DataFrame(columns | {name: counts[:, place] for place, name in enumerate(correction.classes)})
