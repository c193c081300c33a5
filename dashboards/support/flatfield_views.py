"""What the flatfield page shows: matrix, pair, groups, model, tables. Views only read the dashboard."""

from __future__ import annotations

import io
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import holoviews as hv
import numpy as np
import pandas as pd
import panel as pn
import panel_material_ui as pmui

from analysis.flatfield import Groups, choose_layers
from analysis.tables import table_text
from dashboards.support.flatfield_matrix import group_lines, matrix_cell, plot_dendrogram, plot_matrix
from dashboards.support.flatfield_pair_choice import pair_choice
from dashboards.support.flatfield_plots import (
    no_image,
    plot_field,
    plot_over_layers,
    plot_pair_histogram,
    plot_pair_images,
)
from dashboards.support.flatfield_words import REPORT, check_sentence, groups_sentence, pair_sentence, problem_sentence
from dashboards.support.jobs import gently, start
from dashboards.support.parts import card, empty_state, error_banner, say, words
from dashboards.support.standard_tabs import add_tabs, code_tab, log_tab, nothing_yet, report_buttons
from dashboards.support.statement import count_of
from dashboards.support.tabs import Shown, either, live, pane, show_table

_MATRIX_INPUTS = ["result", "groups", "layers", "layer", "bounds", "sort_by", "lines", "lines_after", "chosen"]
_IN_CODE = [
    "roots", "sample_regex", "meanimage_folder", "min_images_stacked", "working_dir", "layers", "layer", "threshold",
    "sort_by", "lines", "lines_after", "bounds", "result",
]  # fmt: skip


# ---- the page's middle -----------------------------------------------------------------------------------


def build_main(dashboard: Any) -> pn.viewable.Viewable:
    """Return the tabs of the flatfield page below its status line."""
    tabs = pmui.Tabs(sizing_mode="stretch_width")
    content = {
        "Comparison": _comparison_tab,
        "Groups": _groups_tab,
        "Model": _model_tab,
        "Table": _table_tab,
        "Python and shell": code_tab("The same numbers without this page.", _IN_CODE, _commands),
        "Log": log_tab({"What could not be used, and why": _problems}, ["result"]),
    }
    add_tabs(tabs, dashboard, content)
    return pmui.Column(_problems_banner(dashboard), dashboard.job.panel(), tabs, sizing_mode="stretch_width", margin=8)


def _commands(dashboard: Any) -> str:
    return f"{dashboard.command()}\n{dashboard.groups_command()}"


def _problems(dashboard: Any) -> pd.DataFrame | None:
    return dashboard.result.problems if dashboard.result is not None else None


def _has_groups(dashboard: Any) -> bool:
    return dashboard.groups is not None and len(dashboard.groups.names) > 1


def _has_slides(dashboard: Any) -> bool:
    return dashboard.result is not None and len(dashboard.result.slides) > 0


def _problems_banner(dashboard: Any) -> pn.viewable.Viewable:
    banner = error_banner(severity="warning")

    def refresh(*_: Any) -> None:
        problems = dashboard.result.problems if dashboard.result is not None else []
        if not len(problems):
            say(banner, "")
            return
        row = problems.iloc[0]
        more = f" {len(problems) - 1} more are listed under Log." if len(problems) > 1 else ""
        say(banner, f"{problem_sentence(row)}{more}")

    dashboard.param.watch(refresh, "result")
    refresh()
    return banner


def _no_slides(dashboard: Any) -> pn.viewable.Viewable:
    return nothing_yet(
        dashboard,
        "Which slides share one illumination?",
        "Type the folders that hold your slides (each with a sampledef.csv) on the left",
        "The pictures stand here when the slides are found.",
    )


def _comparison_tab(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
    content = pn.GridBox(
        card(_matrix_pane(dashboard, shown)),
        card(_pair_view(dashboard, shown)),
        ncols=2,
        sizing_mode="stretch_width",
        styles={"gap": "12px", "grid-template-columns": "minmax(0, 12fr) minmax(0, 10fr)"},
        margin=(12, 0),
    )
    return either(dashboard, ["result"], lambda: _has_slides(dashboard), content, _no_slides(dashboard))


def _matrix_pane(dashboard: Any, shown: Shown) -> pn.pane.HoloViews:
    matrix = live(lambda: draw_matrix(dashboard), dashboard, _MATRIX_INPUTS, shown)
    tap = hv.streams.Tap(source=matrix)

    def tapped(x: float | None, y: float | None) -> None:
        cell = matrix_cell(x, y, len(dashboard.result.slides)) if _has_slides(dashboard) else None
        if cell is None or cell[0] == cell[1]:
            dashboard.chosen = None
            return
        order = dashboard.order()
        dashboard.chosen = tuple(int(order[place]) for place in cell)

    tap.add_subscriber(tapped)
    return pane(matrix)


def draw_matrix(dashboard: Any) -> hv.Image:
    """Return the matrix of a dashboard as its settings say."""
    result = dashboard.result
    if result is None or not len(result.slides):
        return plot_matrix(np.full((1, 1), np.nan), ["no slides"])
    order = dashboard.order()
    grid = np.ix_(order, order)
    layers = dashboard.layer_choice
    place = {int(slide): position for position, slide in enumerate(order)}
    return plot_matrix(
        result.average(layers)[grid],
        [result.slides.labels[i] for i in order],
        bounds=dashboard.bounds,
        lines=dashboard.dividing(order),
        chosen=tuple(place[i] for i in dashboard.chosen) if dashboard.chosen is not None else None,
        layers_used=result.layers_used(layers)[grid],
        left_out=result.pixels_left_out(layers)[grid],
        title=f"{name_layers(dashboard)} · {count_of(len(order), 'slide')}",
    )


def name_layers(dashboard: Any) -> str:
    """Return the layers averaged in words."""
    slide = dashboard.result.slides.slides[0]
    chosen = choose_layers(slide, dashboard.layer_choice)
    if len(chosen) == 1:
        return f"Layer {chosen[0]}, {slide.filter_groups[chosen[0] - 1]}"
    if dashboard.layers == "all":
        return f"Average over all {len(chosen)} layers"
    if dashboard.layers == "brightest":
        return f"Average over the {len(chosen)} brightest layers"
    return f"Average over {dashboard.layers}, layers {chosen[0]} to {chosen[-1]}"


def _pair_view(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
    title, sentence = words("", variant="h6", margin=0), words("", muted=True)
    drawn = PairPictures(dashboard)
    first, second, difference, histogram, layers = (
        pane(live(draw, dashboard, ["pair"], shown))
        for draw in (drawn.first, drawn.second, drawn.difference, drawn.histogram, drawn.over_layers)
    )
    content = pmui.Column(
        title,
        sentence,
        pn.Row(first, second, sizing_mode="stretch_width"),
        pn.Row(difference, histogram, sizing_mode="stretch_width"),
        layers,
        sizing_mode="stretch_width",
    )

    def refresh(*_: Any) -> None:
        if dashboard.pair is None:
            return
        names = drawn.names
        say(title, f"{names[0]} against {names[1]}")
        filters = dashboard.result.slides.slides[0].filter_groups
        say(sentence, pair_sentence(dashboard.pair, drawn.statistic, filters, dashboard.threshold))

    dashboard.param.watch(refresh, ["pair", "threshold"])
    refresh()
    hint = empty_state(
        "Choose a pair",
        "Click a cell of the matrix, or choose two slides above, to see both mean images and where they differ.",
    )
    return pmui.Column(
        pair_choice(dashboard),
        dashboard.pair_job.panel(),
        either(dashboard, ["pair"], lambda: dashboard.pair is not None, content, hint),
        sizing_mode="stretch_width",
    )


class PairPictures:
    """Pictures of the pair that a dashboard looks at; empty ones while there is none."""

    def __init__(self, dashboard: Any):
        self._dashboard = dashboard

    @property
    def names(self) -> tuple[str, str]:
        """IDs of the two slides."""
        return self._dashboard.pair.names

    @property
    def statistic(self) -> np.ndarray:
        """The pair's statistic in every layer."""
        return self._dashboard.result.values[self._dashboard.chosen]

    def _image(self, place: int) -> hv.Image:
        pair = self._dashboard.pair
        return no_image() if pair is None else plot_pair_images(pair, self.names)[place]

    def first(self) -> hv.Image:
        """Return the first mean image."""
        return self._image(0)

    def second(self) -> hv.Image:
        """Return the second mean image."""
        return self._image(1)

    def difference(self) -> hv.Image:
        """Return the map of their difference over its uncertainty."""
        return self._image(2)

    def histogram(self) -> hv.Overlay:
        """Return its histogram."""
        pair = self._dashboard.pair
        return plot_pair_histogram(pair if pair is not None else _NO_PAIR)

    def over_layers(self) -> hv.Overlay:
        """Return the statistic over the layers."""
        if self._dashboard.pair is None:
            return plot_over_layers(np.array([np.nan]), ("",))
        filters = self._dashboard.result.slides.slides[0].filter_groups
        return plot_over_layers(self.statistic, filters, self._dashboard.pair.layer)


_NO_PAIR = SimpleNamespace(histogram=(np.zeros(2), np.linspace(-6, 6, 3)))


# ---- groups ----------------------------------------------------------------------------------------------


def _groups_tab(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
    sentence = words("", variant="body1", margin=(4, 4))
    ordered = live(lambda: _draw_ordered(dashboard), dashboard, ["groups", "bounds"], shown)
    tree = live(lambda: _draw_tree(dashboard), dashboard, ["groups"], shown)
    table = pn.Column(sizing_mode="stretch_width")
    content = pmui.Column(
        sentence,
        pn.GridBox(
            card(pane(ordered)),
            card(pane(tree)),
            ncols=2,
            sizing_mode="stretch_width",
            styles={"gap": "12px", "grid-template-columns": "minmax(0, 1fr) minmax(0, 1fr)"},
        ),
        card(table, title="Groups", margin=(12, 0)),
        sizing_mode="stretch_width",
        margin=(12, 0),
    )

    def refresh(*_: Any) -> None:
        groups = dashboard.groups
        if groups is None or len(groups.names) < 2:
            return
        say(sentence, groups_sentence(groups))
        show_table(table, groups.table)

    dashboard.param.watch(refresh, "groups")
    refresh()
    enough = empty_state("No groups yet", "At least two slides must be compared.")
    return either(dashboard, ["groups"], lambda: _has_groups(dashboard), content, enough)


def _draw_tree(dashboard: Any) -> hv.Overlay:
    return plot_dendrogram(dashboard.groups if _has_groups(dashboard) else _NO_GROUPS)


_NOTHING = np.zeros((1, 1))
_NO_GROUPS = Groups(("",), np.array([0]), np.array([-1]), _NOTHING, _NOTHING, np.empty((0, 4)), 1.0)


def _draw_ordered(dashboard: Any) -> hv.Image:
    groups = dashboard.groups
    if groups is None or not len(groups.names):
        return plot_matrix(np.full((1, 1), np.nan), ["no slides"])
    order = groups.order
    names = [groups.names[i] for i in order]
    title = f"Ordered by likeness, cut at {groups.threshold:g}"
    return plot_matrix(
        groups.values[np.ix_(order, order)], names, bounds=dashboard.bounds, lines=group_lines(groups), title=title
    )


# ---- model -----------------------------------------------------------------------------------------------


def _model_tab(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
    chooser = pmui.Select(label="Version", options={"choose one": ""}, width=260)
    test = pmui.Button(label="Test on halves of the slides", variant="outlined", margin=(14, 10))
    panes = [
        pane(live(lambda kind=kind: _draw_field(dashboard, kind), dashboard, ["model", "layer"], shown))
        for kind in _FIELDS
    ]
    title = words("", variant="h6", margin=0)
    layers, check = pn.Column(sizing_mode="stretch_width"), pn.Column(sizing_mode="stretch_width")
    verdict = words("", margin=(4, 0))
    pictures = pmui.Column(
        title,
        pn.Row(*panes, sizing_mode="stretch_width"),
        card(layers, title="Layers of the model", margin=(12, 0)),
        sizing_mode="stretch_width",
    )
    checked = card(verdict, check, title="Before and after, on slides the model has not seen", margin=(12, 0))

    def list_versions(*_: Any) -> None:
        chooser.options = {"choose one": "", **{name: name for name in dashboard.versions}}
        chooser.value = dashboard.model.version if dashboard.model is not None else ""

    def show(*_: Any) -> None:
        model = dashboard.model
        if model is None:
            return
        index = min(dashboard.layer, model.flatfield.shape[2]) - 1
        slides = f", made of {count_of(len(model.slides), 'slide')}" if model.slides is not None else ""
        say(title, f"Model {model.version}, layer {index + 1}{slides}")
        show_table(layers, model.table)
        list_versions()

    def show_check(*_: Any) -> None:
        if dashboard.check is not None:
            say(verdict, f"{check_sentence(dashboard.check)} {_width_hint(dashboard)}")
            show_table(check, dashboard.check.table)

    chooser.param.watch(lambda event: _choose_version(dashboard, event.new), "value")

    @gently
    def allow_test(*_: Any) -> None:
        test.disabled = not _has_slides(dashboard) or dashboard.job.busy

    test.on_click(lambda _: start(dashboard.test))
    dashboard.param.watch(allow_test, "result")
    dashboard.job.param.watch(allow_test, "busy")
    allow_test()
    dashboard.param.watch(list_versions, "versions")
    dashboard.param.watch(show, ["model", "layer"])
    dashboard.param.watch(show_check, "check")
    list_versions()
    show()
    show_check()
    hint = empty_state("No model shown", "Register slides on the left, or choose a version registered before.")
    return pmui.Column(
        pmui.Row(chooser, test),
        either(dashboard, ["model"], lambda: dashboard.model is not None, pictures, hint),
        either(dashboard, ["check"], lambda: dashboard.check is not None, checked, pn.Spacer(height=0)),
        sizing_mode="stretch_width",
        margin=(12, 0),
    )


def _width_hint(dashboard: Any) -> str:
    """A word on a smoothing that is wide for the images, which leaves most of the illumination."""
    sigma_px, slides = dashboard.smoothing_sigma_px, dashboard.result.slides.slides
    if dashboard.smoothing == "edge-aware" or not slides or sigma_px <= min(slides[0].shape[:2]) / 4:
        return ""
    rows, columns, _ = slides[0].shape
    return (
        f"A smoothing sigma of {sigma_px:g} px is wide for images of {rows} x {columns} px: "
        f"try about {max(1, columns // 13)}, or edge-aware."
    )


_FIELDS = {"flatfield": "flatfield", "uncertainty": "standard error", "coverage": "images stacked"}


def _draw_field(dashboard: Any, kind: str) -> hv.Image:
    model = dashboard.model
    arrays = {"flatfield": "flatfield", "uncertainty": "uncertainty", "coverage": "images_stacked"}
    values = getattr(model, arrays[kind]) if model is not None else None
    if values is None:
        nothing = np.full((3, 4), np.nan)
        return plot_field(nothing, f"{_FIELDS[kind]}: not kept in files", label=_FIELDS[kind], kind=kind)
    index = min(dashboard.layer, values.shape[2]) - 1
    return plot_field(values[..., index], _FIELDS[kind], label=_FIELDS[kind], kind=kind)


def _choose_version(dashboard: Any, version: str) -> None:
    if version and (dashboard.model is None or dashboard.model.version != version):

        async def show() -> None:
            await dashboard.show_model(version)

        start(show)


# ---- tables, text and log --------------------------------------------------------------------------------


def pairs_table(dashboard: Any) -> pd.DataFrame:
    """Return one row a pair: slides, average, layers used, pixels left out, in the chosen layers."""
    result = dashboard.result
    first, second = np.triu_indices(len(result.slides), 1)
    labels, layers = np.array(result.slides.labels, dtype=object), dashboard.layer_choice
    groups = dashboard.groups.labels if dashboard.groups is not None else np.full(len(labels), -1)
    average = result.average(layers)[first, second]
    left_out = result.pixels_left_out(layers)[first, second]
    return pd.DataFrame(
        {
            "slide_1": labels[first],
            "slide_2": labels[second],
            "std_of_delta_over_sigma": average,
            "distance_from_1": np.abs(average - 1),
            "layers_used": result.layers_used(layers)[first, second],
            "pixels_left_out": left_out if (left_out >= 0).all() else np.where(left_out >= 0, left_out, np.nan),
            "same_group": (groups[first] == groups[second]) & (groups[first] >= 0),
        }
    )


def _table_tab(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
    table = pn.Column(sizing_mode="stretch_width")
    title = words("", variant="body1", margin=(4, 4))

    def say_what(*_: Any) -> None:
        if _has_slides(dashboard):
            say(title, f"{name_layers(dashboard)}, one row a pair. Click a heading to sort.")

    def refresh(*_: Any) -> None:
        if _has_slides(dashboard):
            show_table(table, pairs_table(dashboard))

    def as_file(frame: Callable[[], pd.DataFrame], *, for_people: bool) -> Callable[[], io.BytesIO]:
        return lambda: io.BytesIO(table_text(frame(), for_spreadsheets=for_people).encode("utf-8"))

    dashboard.param.watch(shown(refresh), ["result", "layers", "groups"])
    dashboard.param.watch(say_what, ["result", "layers"])
    say_what()
    shown(refresh)()
    downloads = pmui.Row(
        pmui.FileDownload(
            # AstroPath's tools read this one
            callback=as_file(lambda: dashboard.result.table, for_people=False),
            filename="meanimagecomparison_table.csv",
            label="Every layer of every pair (CSV)",
        ),
        pmui.FileDownload(
            callback=as_file(lambda: pairs_table(dashboard), for_people=True),
            filename="pairs.csv",
            label="This table (CSV)",
        ),
        pmui.FileDownload(
            callback=as_file(lambda: dashboard.groups.table, for_people=True),
            filename="groups.csv",
            label="Groups (CSV)",
        ),
    )
    content = pmui.Column(
        title,
        pmui.Row(downloads, *report_buttons(dashboard, REPORT)),
        card(table),
        sizing_mode="stretch_width",
        margin=(12, 0),
    )
    return either(dashboard, ["result"], lambda: _has_slides(dashboard), content, _no_slides(dashboard))
