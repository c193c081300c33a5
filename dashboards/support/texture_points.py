"""The patches that mosaic and scatter draw, as one source: what is marked in one is marked in the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, CustomJSHover, HoverTool, LinearColorMapper
from panel.io import unlocked
from panel.io.state import set_curdoc

from dashboards.support.page import FAINT
from dashboards.support.texture_colours import Colouring, colour_patches

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
