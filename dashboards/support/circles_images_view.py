"""The images tab of the circles page: the tree with the state of every image, and the one chosen with its circles."""

from __future__ import annotations

from typing import Any

import holoviews as hv
import pandas as pd
import panel as pn
import panel_material_ui as pmui

from dashboards.support.circles_picture import CirclePicture
from dashboards.support.circles_tables import show_rows
from dashboards.support.circles_words import found_words
from dashboards.support.loading import draw_soon
from dashboards.support.parts import card, say, words
from dashboards.support.statement import count_of, shortened
from dashboards.support.tabs import Shown, pane

_ROWS = 13
_SIDE_BY_SIDE = {"gap": "12px", "grid-template-columns": "minmax(0, 460px) minmax(0, 860px)", "align-items": "start"}
_ALL = "all"
_MOST_LEVELS = 4


def images_tab(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
    """Return the tree of images beside the one chosen."""
    tree = _Tree(dashboard, shown)
    return pn.GridBox(
        card(*tree.panels()),
        card(*_walk(dashboard, tree), _picture(dashboard, shown), *_lines(dashboard)),
        ncols=2,
        sizing_mode="stretch_width",
        styles=_SIDE_BY_SIDE,
        margin=(12, 0),
    )


def images_table(dashboard: Any) -> pd.DataFrame:
    """Return one row an image: its folders and name, its state, its circles, and what it is called by."""
    found = dashboard.acquisitions
    if found is None or not len(found):
        return pd.DataFrame()
    table = found.table[[*found.levels, "fov"]].astype(str)
    keys = dashboard.image_keys()
    states: dict[str, str] = {}
    # a plan that is made anew still has the levels of before
    if dashboard.plan is not None and {*found.levels} <= {*dashboard.plan.table}:
        columns = [dashboard.plan.table[name] for name in (*found.levels, "fov")]
        names = ["/".join(map(str, row)) for row in zip(*columns, strict=True)]
        states = dict(zip(names, dashboard.plan.table["state"], strict=True))
    counts = dashboard.results.counts
    done = {"done", "settings", "method"}
    circles = [str(counts[key]) if key in counts else "0" if states.get(key) in done else "" for key in keys]
    return table.assign(state=[states.get(key, "") for key in keys], circles=circles, key=keys)


class _Tree:
    """The table of images, with a filter for each level and for the state."""

    def __init__(self, dashboard: Any, shown: Shown):
        self._dashboard = dashboard
        self._place = pn.Column(sizing_mode="stretch_width")
        self._line = words("", muted=True)
        self._selects = [
            pmui.Select(label="", options=[_ALL], value=_ALL, sizing_mode="stretch_width", size="small", visible=False)
            for _ in range(_MOST_LEVELS)
        ]
        self._state = pmui.Select(label="state", options=[_ALL], value=_ALL, sizing_mode="stretch_width", size="small")
        self._table, self._told = pd.DataFrame(), False
        self._keys: list[str] = []
        draw = shown(self._draw)
        for select in (*self._selects, self._state):
            select.param.watch(draw, "value")
        self._draw_later = draw
        dashboard.param.watch(self._refresh, ["acquisitions", "plan", "results"])
        self._refresh()

    def panels(self) -> list[pn.viewable.Viewable]:
        """Return filters, table and words."""
        filters = pmui.Row(*self._selects, self._state, sizing_mode="stretch_width")
        return [filters, self._place, self._line]

    @property
    def keys(self) -> list[str]:
        """Images listed."""
        return self._keys

    def _refresh(self, *_: Any) -> None:
        """Offer the names that there are, and draw the table again when it has changed."""
        table = images_table(self._dashboard)
        if self._told and table.equals(self._table):
            return
        self._table, self._told = table, True
        found = self._dashboard.acquisitions
        levels = found.levels[:_MOST_LEVELS] if found is not None else ()
        for place, select in enumerate(self._selects):
            names = list(dict.fromkeys(self._table[levels[place]])) if place < len(levels) and len(self._table) else []
            _offer(select, names, label=levels[place] if place < len(levels) else "")
            select.visible = len(names) > 1
        _offer(self._state, sorted(set(self._table["state"])) if len(self._table) else [], label="state")
        self._draw_later()

    def _draw(self, *_: Any) -> None:
        table = self._table
        found = self._dashboard.acquisitions
        if found is not None and len(table):
            for level, select in zip(found.levels, self._selects, strict=False):
                if select.value != _ALL:
                    table = table[table[level] == select.value]
            if self._state.value != _ALL:
                table = table[table["state"] == self._state.value]
        self._keys = table["key"].tolist() if len(table) else []
        keys = self._keys
        shown = table.drop(columns="key") if len(table) else table
        show_rows(
            self._place, shown, empty="No image with these filters.", rows=_ROWS,
            clicked=lambda row: setattr(self._dashboard, "image", keys[row]),
            narrow=True,
        )  # fmt: skip
        more = "" if len(keys) == len(self._table) else f" of {len(self._table):,}"
        say(self._line, f"{count_of(len(keys), 'image')}{more}. Click one to see its circles.")


def _offer(select: pmui.Select, names: list[str], *, label: str) -> None:
    options = [_ALL, *[name for name in names if name != _ALL]]
    if select.options != options or select.label != label:
        value = select.value if select.value in options else _ALL
        select.param.update(options=options, value=value, label=label)


def _walk(dashboard: Any, tree: _Tree) -> list[pn.viewable.Viewable]:
    """The name of the image shown, with a step back and forth."""
    back = pmui.Button(label="Previous", variant="outlined", size="small")
    forth = pmui.Button(label="Next", variant="outlined", size="small")
    name = words("", sx={"fontWeight": 600}, margin=(8, 8))

    def follow(*_: Any) -> None:
        say(name, shortened(dashboard.image, 60) or "No image")
        back.disabled = forth.disabled = dashboard.acquisitions is None or len(dashboard.acquisitions) < 2

    back.on_click(lambda _: dashboard.step(-1, tree.keys))
    forth.on_click(lambda _: dashboard.step(1, tree.keys))
    dashboard.param.watch(follow, ["image", "acquisitions"])
    follow()
    return [pmui.Row(back, forth, name, sizing_mode="stretch_width")]


def _picture(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
    """The picture; a slider changes it in place, which takes a fifth of the time of drawing it."""
    drawn = CirclePicture()
    pipe = hv.streams.Pipe(data=0)
    plot = hv.DynamicMap(lambda data: draw_image(dashboard, drawn), streams=[pipe])

    def draw() -> None:
        pipe.send(pipe.data + 1)

    def move() -> None:
        opened = dashboard.opened
        if opened is None or not drawn.move(*_circles(dashboard), **_looks(dashboard)):
            draw()

    dashboard.param.watch(shown(lambda: draw_soon(draw)), ["opened"])
    dashboard.param.watch(shown(lambda: draw_soon(move)), ["found", "contrast"])
    return pane(plot)


def draw_image(dashboard: Any, drawn: CirclePicture) -> hv.Points:
    """Return the image shown with its circles, as the dashboard's settings say."""
    opened = dashboard.opened
    if opened is None:
        return drawn.draw(None, title=" ")
    return drawn.draw(opened.grey, *_circles(dashboard), **_looks(dashboard))


def _circles(dashboard: Any) -> list[pd.DataFrame | None]:
    return [dashboard.found.table if dashboard.found is not None else None]


def _looks(dashboard: Any) -> dict[str, Any]:
    opened = dashboard.opened
    rows, columns = opened.grey.shape
    return {
        "contrast": opened.between(tuple(dashboard.contrast)),
        "strictness": dashboard.strictness,
        "title": f"{columns:,} × {rows:,} px, {opened.pixels.dtype}",
    }


def _lines(dashboard: Any) -> list[pn.viewable.Viewable]:
    count, warned = words("", margin=(4, 0)), words("", muted=True)
    hint = words(
        "Point at a circle to see all its values. Dashed: weakly supported; dotted: cut by the border; dash and dot:"
        " overlapping another one.",
        muted=True,
    )

    def refresh(*_: Any) -> None:
        say(count, found_words(dashboard.found, dashboard.found_ms))
        say(warned, " ".join(dashboard.found.warnings) if dashboard.found is not None else "")

    dashboard.param.watch(refresh, ["found", "found_ms"])
    refresh()
    return [count, warned, hint]
