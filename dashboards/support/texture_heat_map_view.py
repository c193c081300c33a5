"""The heat map tab of the texture page: mosaic and scatter side by side, and what stands for each cluster."""

from __future__ import annotations

import functools
from typing import Any

import panel as pn
import panel_material_ui as pmui

from analysis.texture import COLOURS
from dashboards.support.jobs import start
from dashboards.support.parts import as_text, card, say, words
from dashboards.support.statement import count_of
from dashboards.support.tabs import Shown
from dashboards.support.texture_heat_map import HeatMap, Scatter
from dashboards.support.texture_points import MOST_DRAWN, PatchPoints, colour_patches, in_place
from dashboards.support.texture_tables import Pictures, draw_representatives, draw_selected, place_of
from dashboards.support.texture_words import border_words, clusters_words, patches_words, selected_words

_SIDE_BY_SIDE = {"gap": "12px", "grid-template-columns": "minmax(0, 1.55fr) minmax(0, 1fr)", "align-items": "start"}
_MOST_PICTURES = 24
_LEGEND = """
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; font-size: 12.5px; padding: 2px 0; }
.dot { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 6px; vertical-align: -1px; }
.count { opacity: 0.7; }
"""


def heat_map_tab(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
    """Return mosaic and scatter above the representatives."""
    points = PatchPoints(dashboard)
    mosaic, scatter = HeatMap(points), Scatter(points)
    _follow(dashboard, shown, points, mosaic, scatter)
    pictures = [
        card(_choices(dashboard, mosaic), _bokeh(mosaic.figure), *_legend(dashboard, shown)),
        card(_axes(dashboard), _bokeh(scatter.figure), *_selection(dashboard), *_labelling(dashboard)),
    ]
    return pn.Column(
        pn.GridBox(*pictures, ncols=2, sizing_mode="stretch_width", styles=_SIDE_BY_SIDE, margin=(12, 0)),
        _selected(dashboard, shown),
        _representatives(dashboard, shown),
        sizing_mode="stretch_width",
    )


def _bokeh(figure: Any) -> pn.pane.Bokeh:
    return pn.pane.Bokeh(figure, sizing_mode="stretch_width")


def _follow(dashboard: Any, shown: Shown, points: PatchPoints, mosaic: HeatMap, scatter: Scatter) -> None:
    """Change the figures where they are, and send what has changed only."""

    def patches() -> None:
        points.put_patches()
        mosaic.put_mosaic()
        mosaic.put_colours()
        mosaic.put_labels()
        scatter.put_axes()

    def colours() -> None:
        points.put_colours()
        mosaic.put_colours()

    def axes() -> None:
        points.put_axes()
        scatter.put_axes()

    def both(*events: Any) -> None:
        """Patches come with their clusters: what draws all need not draw the colours first."""
        names = {event.name for event in events}
        (drawn_anew if "patches" in names else lit if names == {"mosaic"} else coloured)()

    drawn_anew = shown(in_place(mosaic.figure, patches))
    coloured = shown(in_place(mosaic.figure, colours))
    lit = shown(in_place(mosaic.figure, mosaic.put_mosaic))
    dashboard.param.watch(both, ["patches", "mosaic", "found", "correction", "shown", "palette"])
    dashboard.param.watch(shown(in_place(mosaic.figure, axes)), ["embedding", "across", "up"])
    dashboard.param.watch(shown(in_place(mosaic.figure, mosaic.put_labels)), ["labels", "classes", "correction"])
    dashboard.param.watch(shown(in_place(mosaic.figure, points.put_marks)), ["selected"])
    dashboard.param.watch(lambda *_: mosaic.put_opacity(), ["opacity"])
    patches()


def _choices(dashboard: Any, mosaic: HeatMap) -> pn.viewable.Viewable:
    """What is shown over the picture, in which colours, and how strongly."""
    p = dashboard.param
    what = pmui.Select.from_param(p.shown, size="small", width=165, margin=(4, 10, 4, 0))
    palette = pmui.Select.from_param(p.palette, size="small", width=120, margin=(4, 10, 4, 0))
    opacity = pmui.FloatSlider.from_param(p.opacity, step=0.01, size="small", width=140, margin=(0, 10))

    flat = pmui.Switch.from_param(p.flat, size="small", margin=(8, 10, 0, 0))
    opacity.jscallback(args={"glyph": mosaic.over.glyph}, value="glyph.global_alpha = cb_obj.value")

    def refresh(*_: Any) -> None:
        palette.visible = dashboard.shown not in ("clusters", "classes")
        flat.visible = dashboard.patches is None or dashboard.patches.shading is not None

    dashboard.param.watch(refresh, ["shown", "patches"])
    refresh()
    return pmui.Row(
        what, palette, opacity, flat, sizing_mode="stretch_width", margin=(0, 0, 4, 0), sx={"flexWrap": "wrap"}
    )


def _legend(dashboard: Any, shown: Shown) -> list[pn.viewable.Viewable]:
    """What the colours mean, and how many patches there are."""
    legend = pn.pane.HTML("", stylesheets=[_LEGEND], sizing_mode="stretch_width", margin=(4, 0))
    parted, measured, dark = words("", margin=(2, 0)), words("", muted=True), words("", muted=True, visible=False)

    def refresh(*_: Any) -> None:
        made = colour_patches(dashboard)
        legend.object = legend_html(made.groups) if made.names else ""
        say(parted, clusters_words(dashboard.found, dashboard.clustered_ms))
        sampled = ""
        if dashboard.patches is not None and len(dashboard.patches) > MOST_DRAWN:
            sampled = f" The scatter shows {MOST_DRAWN:,} of them, drawn by chance; the picture shows all."
        say(measured, patches_words(dashboard.patches) + sampled)

    def suggest(*_: Any) -> None:
        said = border_words(dashboard)
        say(dark, said)
        dark.visible = bool(said)

    dashboard.param.watch(
        shown(refresh), ["patches", "found", "correction", "shown", "clustered_ms", "labels", "classes"]
    )
    dashboard.param.watch(suggest, ["partly_dark", "found"])
    refresh()
    suggest()
    return [legend, parted, measured, dark]


def legend_html(groups: list[tuple[str, str, int]]) -> str:
    """Return the names, colours and sizes of groups as HTML.

    Parameters
    ----------
    groups
        Name, colour, number of patches.
    """
    entries = (
        f'<span><span class="dot" style="background: {colour}"></span>{as_text(name)}'
        f' <span class="count">{count:,}</span></span>'
        for name, colour, count in groups
    )
    return f'<div class="legend">{"".join(entries)}</div>'


def _axes(dashboard: Any) -> pn.viewable.Viewable:
    p = dashboard.param
    selects = [
        pmui.Select.from_param(p[name], size="small", sizing_mode="stretch_width", margin=(4, 10, 4, 0))
        for name in ("across", "up")
    ]
    return pmui.Row(*selects, sizing_mode="stretch_width", margin=(0, 0, 4, 0))


def _selection(dashboard: Any) -> list[pn.viewable.Viewable]:
    """How many patches are selected, and what can be done with them."""
    line = words("", margin=(6, 0))
    none = pmui.Button(label="Select none", variant="outlined", size="small", visible=False, margin=(4, 8, 4, 0))

    def refresh(*_: Any) -> None:
        say(line, selected_words(dashboard))
        none.visible = bool(dashboard.selected)

    none.on_click(lambda _: setattr(dashboard, "selected", []))
    dashboard.param.watch(refresh, ["selected", "found", "correction"])
    refresh()
    return [line, pmui.Row(none, sizing_mode="stretch_width")]


def _labelling(dashboard: Any) -> list[pn.viewable.Viewable]:
    """The class that a click gives, and how to take it back."""
    p = dashboard.param
    switch = pmui.Switch.from_param(p.labelling, size="small", margin=(6, 10, 6, 0))
    name = pmui.Select(label="Class", options=[], size="small", width=150, margin=(4, 10, 4, 0))
    give = pmui.Button(label="Label the selected", variant="outlined", size="small", margin=(4, 8, 4, 0))
    undo = pmui.Button(label="Undo", variant="outlined", size="small", margin=(4, 8, 4, 0))
    learn = pmui.Button(label="Relabel the rest", variant="contained", size="small", margin=(4, 0))
    legend = pn.pane.HTML("", stylesheets=[_LEGEND], sizing_mode="stretch_width", margin=(2, 0))
    told = words("", muted=True)

    def offer(*_: Any) -> None:
        chosen = dashboard.class_name
        if name.options != dashboard.classes or name.value != chosen:
            name.param.update(options=list(dashboard.classes), value=chosen if chosen in dashboard.classes else None)

    def take(event: Any) -> None:
        if event.new:
            dashboard.class_name = event.new

    def refresh(*_: Any) -> None:
        given = list(dashboard.labels.values())
        colours = dashboard.class_colours
        groups = [(each, colours[each], given.count(each)) for each in sorted(set(given))]
        legend.object = legend_html(groups) if groups else ""
        classes = len(groups)
        said = "" if given else "Choose a class, turn the switch on and click patches in the picture."
        said = "Label patches of a second class too." if classes == 1 else said
        say(told, said)
        give.disabled = not dashboard.selected
        undo.disabled = not dashboard.undoable
        learn.disabled = classes < 2

    name.param.watch(take, "value")
    give.on_click(lambda _: dashboard.label(dashboard.selected))
    undo.on_click(lambda _: dashboard.undo())
    learn.on_click(lambda _: start(dashboard.correct))
    dashboard.param.watch(offer, ["classes", "class_name"])
    dashboard.param.watch(refresh, ["labels", "selected", "undoable", "classes", "correction"])
    offer()
    refresh()
    flowing = {"sizing_mode": "stretch_width", "sx": {"flexWrap": "wrap"}}
    heading = words("Labels", variant="subtitle2", margin=(8, 0, 0, 0))
    return [heading, pmui.Row(switch, name, **flowing), pmui.Row(give, undo, learn, **flowing), legend, told]


def _selected(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
    """Small pictures of what is selected; nothing while nothing is."""
    pictures = Pictures("Selected patches", "")

    def draw(*_: Any) -> None:
        patches, rows = dashboard.patches, dashboard.selected[:_MOST_PICTURES]
        pictures.card.visible = bool(rows)
        if not rows or patches is None:
            pictures.show(None, "")
            return
        more = f" The first {len(rows)} of {len(dashboard.selected):,}." if len(dashboard.selected) > len(rows) else ""
        where = place_of(patches, rows[0]) if len(rows) == 1 else count_of(len(dashboard.selected), "patch")
        pictures.show(functools.partial(draw_selected, patches, rows), f"{where}.{more}")

    dashboard.param.watch(shown(draw), ["selected"])
    draw()
    return pn.Column(pictures.card, sizing_mode="stretch_width", margin=(0, 0, 12, 0))


def _representatives(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
    pictures = Pictures("Representatives", "There are no clusters yet.")

    def draw(*_: Any) -> None:
        found = dashboard.found
        if found is None or not found.count:
            pictures.show(None, "")
        else:
            pictures.show(
                functools.partial(draw_representatives, found, COLOURS),
                "The patches nearest to the mean of their cluster, in one grey scale and without shading.",
            )

    dashboard.param.watch(shown(draw), ["found"])
    draw()
    return pictures.card
