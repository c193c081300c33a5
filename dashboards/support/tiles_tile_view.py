"""The tiles tab and the values tab of the tiles page: the image under its grid, and one tile before and after."""

from __future__ import annotations

from typing import Any

import holoviews as hv
import numpy as np
import panel as pn
import panel_material_ui as pmui

from dashboards.support.parts import card, say, words
from dashboards.support.statement import count_of, shortened
from dashboards.support.tabs import Shown, live, pane
from dashboards.support.tiles_plots import plot_chosen, plot_grid, plot_histogram, plot_image, plot_tile, tile_at
from dashboards.support.tiles_words import layout_words, plan_words, range_words, tile_words
from dashboards.support.tiles_work import OpenImage, TileView, count_values, seen_range, to_grey

_SIDE_BY_SIDE = {
    "gap": "12px",
    "grid-template-columns": "minmax(0, 13fr) minmax(0, 6fr)",
    "align-items": "start",
}


def tiles_tab(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
    """Return the image with its grid, and the tile looked at beside it."""
    return pmui.Column(
        _counted(dashboard),
        pn.GridBox(
            card(_image_pane(dashboard, shown), _all_tiles(dashboard)),
            card(*_walk(dashboard), *_tile_panes(dashboard, shown)),
            ncols=2,
            sizing_mode="stretch_width",
            styles=_SIDE_BY_SIDE,
        ),
        sizing_mode="stretch_width",
        margin=(12, 0),
    )


def _counted(dashboard: Any) -> pn.viewable.Viewable:
    """Say how many tiles there are, of this image and of all."""
    line = words("", variant="body1", margin=(0, 4, 8, 4))

    def refresh(*_: Any) -> None:
        layout, plan = dashboard.layout, dashboard.plan
        if layout is None or plan is None:
            say(line, "No tiles with these settings." if dashboard.trouble else "")
            return
        said = f"{dashboard.image}: {layout_words(layout)}"
        if dashboard.empty is not None:
            said += f", {count_of(dashboard.empty_count(), 'empty one')} marked"
        say(line, f"{said}. All images: {plan_words(plan, format=dashboard.format)}")

    dashboard.param.watch(refresh, ["layout", "plan", "empty", "format", "trouble"])
    refresh()
    return line


def _image_pane(dashboard: Any, shown: Shown) -> pn.pane.HoloViews:
    image = live(
        lambda: draw_image(dashboard),
        dashboard,
        ["layout", "opened"],
        shown,
        unless_same=lambda: _image_drawn(dashboard),
    )
    grid = live(
        lambda: plot_grid(dashboard.layout, dashboard.empty, all_tiles=dashboard.all_tiles),
        dashboard, ["layout", "empty", "all_tiles"], shown,
    )  # fmt: skip
    chosen = live(lambda: plot_chosen(dashboard.layout, dashboard.tile), dashboard, ["layout", "tile"], shown)
    tap = hv.streams.Tap(source=image)

    def tapped(x: float | None, y: float | None) -> None:
        layout = dashboard.layout
        if layout is None or x is None or y is None:
            return
        number = tile_at(layout, layout.shape[0] - y, x)
        if number is not None:
            dashboard.tile = number

    tap.add_subscriber(tapped)
    return pane(image * grid * chosen)


def draw_image(dashboard: Any) -> hv.RGB:
    """Return the image shown, or grey of its shape while it is read."""
    opened, shape, title = _image_drawn(dashboard)
    return plot_image(None if opened is None else opened.preview, shape, title=title)


def _image_drawn(dashboard: Any) -> tuple[OpenImage | None, tuple[int, int], str]:
    """Return the pixels of the image shown, its shape, and its title."""
    if dashboard.layout is None:
        return None, (3, 4), " "
    opened = dashboard.pixels()
    shape = dashboard.layout.shape
    title = f"{shortened(dashboard.image)}, {shape[0]:,} × {shape[1]:,} px"
    if opened is None:
        return None, shape, f"{title} (being read)" if dashboard.view_job.busy else title
    return opened, shape, f"{title}; one pixel in {opened.step} is drawn" if opened.step > 1 else title


def _all_tiles(dashboard: Any) -> pn.viewable.Viewable:
    return pmui.Row(
        pmui.Switch.from_param(dashboard.param.all_tiles, size="small", width=170),
        words("Click the image to look at a tile.", muted=True, margin=(6, 0)),
        sizing_mode="stretch_width",
    )


def _walk(dashboard: Any) -> list[pn.viewable.Viewable]:
    """A slider through the tiles, with a step back and forth."""
    slider = pmui.IntSlider(label="Tile", start=1, end=2, value=1, sizing_mode="stretch_width", size="small")
    back = pmui.Button(label="Previous", variant="outlined", size="small")
    forth = pmui.Button(label="Next", variant="outlined", size="small")
    line = words("", margin=(4, 0))
    following = []  # holds something while the slider is moved by us

    def follow(*_: Any) -> None:
        layout = dashboard.layout
        if layout is None:
            say(line, "")
            return
        number = min(dashboard.tile, len(layout) - 1)
        following.append(True)
        slider.param.update(end=max(len(layout), 2), value=number + 1, disabled=len(layout) < 2)
        following.pop()
        back.disabled = forth.disabled = len(layout) < 2
        empty = dashboard.empty is not None and len(dashboard.empty) == len(layout) and bool(dashboard.empty[number])
        say(line, tile_words(layout, number, empty=empty))

    def moved(event: Any) -> None:
        if not following and dashboard.layout is not None:
            dashboard.tile = min(event.new, len(dashboard.layout)) - 1

    slider.param.watch(moved, "value")
    back.on_click(lambda _: dashboard.step(-1))
    forth.on_click(lambda _: dashboard.step(1))
    dashboard.param.watch(follow, ["layout", "tile", "empty"])
    follow()
    return [slider, pmui.Row(back, forth), line]


def _tile_panes(dashboard: Any, shown: Shown) -> list[pn.viewable.Viewable]:
    return [
        pane(live(lambda: draw_tile(dashboard, after=True), dashboard, ["view"], shown)),
        _range_line(dashboard),
    ]


def _range_line(dashboard: Any) -> pn.viewable.Viewable:
    line = words("", muted=True, margin=(4, 0))

    def refresh(*_: Any) -> None:
        view = dashboard.view
        between = view.between if view is not None else None
        said = range_words(between, dashboard.normalisation, dashboard.bounds) if view is not None else ""
        say(line, f"{said} {view.after.dtype}." if view is not None else "")

    dashboard.param.watch(refresh, ["view"])
    refresh()
    return line


def draw_tile(dashboard: Any, *, after: bool) -> hv.RGB:
    """Return the tile looked at: as it was cut, or as it is written."""
    view: TileView | None = dashboard.view
    if view is None:
        return plot_tile(None, title=" ")
    if after and view.between is not None:
        bounds = tuple(map(float, dashboard.bounds))
        between = bounds if bounds[0] < bounds[1] else seen_range(view.after)
        return plot_tile(to_grey(view.after, between), title=f"As written, {between[0]:g} to {between[1]:g}")
    opened = dashboard.pixels()
    seen = opened.seen if opened is not None else seen_range(view.before)
    return plot_tile(to_grey(view.before, seen), title="As written" if after else f"As cut, {view.before.dtype}")


# ---- values ----------------------------------------------------------------------------------------------


def values_tab(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
    """Return the histogram of the image with what becomes the bounds, and the tile before and after."""
    line = words("", variant="body1", margin=(0, 4, 8, 4))

    def refresh(*_: Any) -> None:
        view = dashboard.view
        if view is None:
            say(line, "")
            return
        said = range_words(view.between, dashboard.normalisation, dashboard.bounds)
        say(line, f"Tile {view.number + 1:,} of {dashboard.image}. {said}")

    dashboard.param.watch(refresh, ["view"])
    refresh()
    before, after = (
        live(lambda after=after: draw_tile(dashboard, after=after), dashboard, ["view"], shown)
        for after in (False, True)
    )
    histogram = live(lambda: draw_image_histogram(dashboard), dashboard, ["view", "opened"], shown)
    of_tile, of_result = (
        live(lambda after=after: draw_tile_histogram(dashboard, after=after), dashboard, ["view"], shown)
        for after in (False, True)
    )
    return pmui.Column(
        line,
        card(_counted_values(dashboard), pane(histogram), title="Values of the image"),
        pn.GridBox(
            card(pane(before), pane(of_tile), title="Before"),
            card(pane(after), pane(of_result), title="After"),
            ncols=2,
            sizing_mode="stretch_width",
            styles={
                "gap": "12px",
                "grid-template-columns": "minmax(0, 440px) minmax(0, 440px)",
                "align-items": "start",
            },
            margin=(12, 0),
        ),
        sizing_mode="stretch_width",
        margin=(12, 0),
    )


def _counted_values(dashboard: Any) -> pn.viewable.Viewable:
    line = words("", muted=True)

    def refresh(*_: Any) -> None:
        opened = dashboard.pixels()
        if opened is None:
            say(line, "")
            return
        of = "" if opened.step == 1 else f", one in {opened.step} down and across"
        rest = "Heights are logarithmic; red lines are the values that become the bounds."
        say(line, f"Of {opened.sample.size:,} values{of}. {rest}")

    dashboard.param.watch(refresh, ["opened", "layout"])
    refresh()
    return line


def _ends(view: TileView | None) -> tuple[float, float] | None:
    if view is None or view.between is None:
        return None
    return tuple(float(np.min(end)) for end in (view.between.low, view.between.high))


def draw_image_histogram(dashboard: Any) -> hv.Overlay:
    """Return the values of the image shown, with those that become the bounds."""
    opened = dashboard.pixels()
    if opened is None:
        return plot_histogram(np.zeros(1), np.array([0.0, 1.0]), None)
    return plot_histogram(*count_values(opened.sample), _ends(dashboard.view))


def draw_tile_histogram(dashboard: Any, *, after: bool) -> hv.Overlay:
    """Return the values of the tile looked at, as it was cut or as it is written."""
    view: TileView | None = dashboard.view
    if view is None:
        return plot_histogram(np.zeros(1), np.array([0.0, 1.0]), None)
    counts, edges = count_values(view.after) if after else view.histogram
    return plot_histogram(counts, edges, None if after else _ends(view))
