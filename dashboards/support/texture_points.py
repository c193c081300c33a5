"""What is drawn of each patch, and in which colours: one source, so what is marked in a picture is marked in both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from bokeh.models import ColumnDataSource, CustomJSHover, HoverTool, LinearColorMapper
from bokeh.palettes import Cividis256, Greys256, Magma256, Viridis256
from panel.io import unlocked
from panel.io.state import set_curdoc

from analysis.texture import COLOURS
from dashboards.support.colours import FAINT

_PALETTES = {
    "viridis": list(Viridis256),
    "cividis": list(Cividis256),
    "magma": list(Magma256),
    "grey": list(Greys256),
}
_TAILS = (1, 99)
MOST_DRAWN = 20_000
"""Patches drawn one by one; of more a sample is drawn, and the colours of the picture still show all."""
MOST_TOLD = 8
"""Statistics that hovering tells."""
_PLACES = ("left", "right", "top", "bottom")
_COLUMNS = (*_PLACES, "x", "y", "value", "file", "row", "column", "why")
_TIP = "display: grid; grid-template-columns: auto auto; gap: 0 10px; font-size: 11px; line-height: 1.35"
_WIDE = "grid-column: 1 / 3; max-width: 230px; overflow-wrap: anywhere"
_VALUE = """
const why = source.data.why[special_vars.index]
if (Number.isNaN(value)) { return why ? "left out (" + why + ")" : "none" }
return names.data.name[Math.round(value) - 1] ?? Number(value).toPrecision(4)
"""


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
        return _groups(np.maximum(correction.numbers, 0), correction.names, "class")
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


class PatchPoints:
    """Patches as columns, of which only what has changed is sent to the browser.

    Parameters
    ----------
    dashboard
        The page.
    """

    def __init__(self, dashboard: Any) -> None:
        self.dashboard = dashboard
        self.source = ColumnDataSource({name: [] for name in _COLUMNS})
        self.rows = np.zeros(0, int)
        self.colouring: Colouring = colour_patches(dashboard)
        self.colours = LinearColorMapper(palette=["#000000"], low=0, high=1, nan_color=FAINT)
        self.over = LinearColorMapper(palette=["#000000"], low=0, high=1, nan_color="rgba(0, 0, 0, 0)")
        self._names = ColumnDataSource({"name": []})
        self._value = CustomJSHover(code=_VALUE, args={"names": self._names, "source": self.source})
        self.hovers: list[HoverTool] = []
        self.source.selected.on_change("indices", self._marked)

    def hover(self, renderer: Any) -> HoverTool:
        """Return a tool that tells what is under the pointer."""
        tool = HoverTool(renderers=[renderer], tooltips=[], formatters={"@value": self._value})
        self.hovers.append(tool)
        return tool

    # ---- what has changed -----------------------------------------------------------------------------

    def put_patches(self) -> None:
        """Draw other patches."""
        dashboard, patches = self.dashboard, self.dashboard.patches
        self.source.selected.indices = []
        if patches is None or dashboard.mosaic is None:
            self.rows = np.zeros(0, int)
            self.source.data = {name: [] for name in _COLUMNS}
            return
        count = len(patches)
        drawn = np.arange(count)
        if count > MOST_DRAWN:
            drawn = np.sort(np.random.default_rng(0).choice(count, MOST_DRAWN, replace=False))
        self.rows = drawn
        self.colouring = colour_patches(dashboard)
        table, places = patches.table.iloc[drawn], dashboard.mosaic.place_patches(patches).iloc[drawn]
        told = list(patches.statistics[:MOST_TOLD])
        across, up = self._axes()
        self.source.data = {
            **{name: places[name].to_numpy(np.float32) for name in _PLACES},
            "x": across,
            "y": up,
            "value": self.colouring.values[drawn],
            "file": table["name"].astype(str).tolist(),
            "row": table["row"].to_numpy(np.int32),
            "column": table["column"].to_numpy(np.int32),
            "why": table["why"].astype(str).str.replace("_", " ").tolist(),
            **{f"statistic_{place}": table[name].to_numpy(np.float32) for place, name in enumerate(told)},
        }
        self.put_colours(send=False)
        self.put_marks()

    def put_colours(self, *, send: bool = True) -> None:
        """Draw the patches in other colours."""
        self.colouring = made = colour_patches(self.dashboard)
        if len(made.values) != (len(self.dashboard.patches) if self.dashboard.patches is not None else 0):
            return
        if send and len(self.rows):
            self.source.data["value"] = made.values[self.rows]
        for mapper in (self.colours, self.over):
            mapper.update(palette=made.colours, low=made.bounds[0], high=made.bounds[1])
        names = [made.names.get(number + 1, "") for number in range(max(made.names, default=0))]
        if list(self._names.data["name"]) != names:
            # a column, because an argument that may hold models has the server look through the whole page
            self._names.data["name"] = names
        self._tell(made)

    def _tell(self, made: Colouring) -> None:
        patches = self.dashboard.patches
        told = list(patches.statistics[:MOST_TOLD]) if patches is not None else []
        lines = [("row, column", "@row, @column"), (made.title, "@value{custom}")]
        lines += [(name, f"@statistic_{place}{{0.[000]}}") for place, name in enumerate(told) if name != made.title]
        rows = "".join(f"<span>{name}</span><span>{value}</span>" for name, value in lines)
        # what stands behind an @ is put in as text by the browser
        text = f'<div style="{_TIP}"><b style="{_WIDE}">@file</b>{rows}</div>'
        for tool in self.hovers:
            if tool.tooltips != text:
                tool.tooltips = text

    def put_axes(self) -> None:
        """Draw the points at other places."""
        if not len(self.rows):
            return
        across, up = self._axes()
        for name, values in (("x", across), ("y", up)):
            if not np.array_equal(self.source.data[name], values, equal_nan=True):
                self.source.data[name] = values

    def _axes(self) -> list[np.ndarray]:
        return [axis_of(self.dashboard, name)[self.rows] for name in (self.dashboard.across, self.dashboard.up)]

    # ---- marks ----------------------------------------------------------------------------------------

    def put_marks(self) -> None:
        """Mark the patches that are selected."""
        wanted = np.flatnonzero(np.isin(self.rows, self.dashboard.selected)).tolist()
        if sorted(self.source.selected.indices) != wanted:
            self.source.selected.indices = wanted

    def _marked(self, _: str, __: Any, indices: list[int]) -> None:
        rows = sorted(int(self.rows[place]) for place in indices if place < len(self.rows))
        drawn = set(self.rows[np.isin(self.rows, self.dashboard.selected)].tolist())
        if set(rows) != drawn:
            with set_curdoc(self.source.document):
                self.dashboard.selected = rows


def lay_out(table: pd.DataFrame, places: pd.DataFrame) -> tuple[list[np.ndarray], dict[str, list[float]]]:
    """Return the patches of each tile as a raster of their rows in the table, and where each raster lies.

    Where there is no patch the row is -1. Patches that overlap have cells as far apart as their middles.

    Parameters
    ----------
    table
        Of patches.
    places
        (left, right, top, bottom) of each.
    """
    of_tile = table["tile"].to_numpy()
    order = np.argsort(of_tile, kind="stable")
    row, column = table["row"].to_numpy(), table["column"].to_numpy()
    cells, found = [], {name: [] for name in ("x", "y", "dw", "dh")}
    for chosen in np.split(order, np.flatnonzero(np.diff(of_tile[order])) + 1):
        raster = np.full((row[chosen].max() + 1, column[chosen].max() + 1), -1, np.int64)
        raster[row[chosen], column[chosen]] = chosen
        cells.append(raster)
        for count, low, high, start, size in (
            (raster.shape[1], "left", "right", "x", "dw"),
            (raster.shape[0], "top", "bottom", "y", "dh"),
        ):
            lows, highs = places[low].to_numpy()[chosen], places[high].to_numpy()[chosen]
            first, last = (lows.min() + highs.min()) / 2, (lows.max() + highs.max()) / 2
            each = (last - first) / (count - 1) if count > 1 else float(highs.max() - lows.min())
            found[start].append(first - each / 2)
            found[size].append(each * count)
    return cells, found


def axis_of(dashboard: Any, name: str) -> np.ndarray:
    """Return what a scatter's axis shows of each patch, as float32; NaN where there is nothing.

    Parameters
    ----------
    dashboard
        The page.
    name
        Of a statistic, or of a direction of the plane.
    """
    patches, embedding = dashboard.patches, dashboard.embedding
    values = np.full(len(patches), np.nan, np.float32)
    if name in patches.statistics:
        values[:] = patches.table[name].to_numpy(np.float32)
        values[patches.table["left_out"].to_numpy()] = np.nan
    elif embedding is not None and name in embedding.names:
        at = embedding.table["patch"].to_numpy()
        if not len(at) or at.max() < len(values):
            values[at] = embedding.table[name].to_numpy(np.float32)
    return values


def in_place(figure: Any, draw: Callable[[], None]) -> Callable[..., None]:
    """Return a callback that changes a figure where it is shown.

    After waiting for a thread nobody holds the document; Panel hands the change on when it may.

    Parameters
    ----------
    figure
        The figure, or any model on the same page.
    draw
        Changes it.
    """

    def changed(*_: Any) -> None:
        document = figure.document
        if document is None or document.session_context is None:
            draw()
        else:
            with set_curdoc(document), unlocked():
                draw()

    return changed
