"""The controls of the texture page, in the steps from tiles to clusters."""

from __future__ import annotations

from typing import Any

import panel as pn
import panel_material_ui as pmui

from analysis.texture import METHODS, RULES
from dashboards.support.jobs import gently, start
from dashboards.support.parts import say, section, words
from dashboards.support.path_settings import path_field
from dashboards.support.texture_words import tiles_words

_WIDE = {"sizing_mode": "stretch_width", "size": "small"}
_LINE = {"muted": True, "margin": (-2, 10, 6, 10)}
_MOST_PATCHES = 64


def build_sidebar(dashboard: Any) -> list[pn.viewable.Viewable]:
    """Return the controls of the texture page, in sections."""
    return [
        section("1  Tiles", *_tiles(dashboard)),
        section("2  Patches", *_patches(dashboard)),
        section("3  Clusters", *_clusters(dashboard)),
        section("4  Measured", *_measured(dashboard)),
    ]


def _tiles(dashboard: Any) -> list[pn.viewable.Viewable]:
    p = dashboard.param
    line = words("", **_LINE)
    again = pmui.Button(label="Look again", variant="outlined", size="small", margin=(2, 10, 6, 10))
    layout = pmui.Switch(label="Layout by hand", size="small", margin=(2, 10))
    layout.value = bool(dashboard.pattern or dashboard.set_rows or dashboard.set_columns or dashboard.channel > 1)
    by_hand = pmui.Column(
        pmui.Row(_whole(dashboard, "set_rows"), _whole(dashboard, "set_columns"), sizing_mode="stretch_width"),
        pmui.TextInput.from_param(p.pattern, placeholder="row(?P<row>\\d+)_column(?P<column>\\d+)", **_WIDE),
        pmui.IntInput.from_param(p.channel, **_WIDE),
        sizing_mode="stretch_width",
        visible=layout.param.value,
    )

    def refresh(*_: Any) -> None:
        say(line, tiles_words(dashboard.tile_set))

    @gently
    def allow(*_: Any) -> None:
        again.disabled = not dashboard.folder.strip() or dashboard.job.busy

    again.on_click(lambda _: start(dashboard.look_up))
    dashboard.param.watch(refresh, "tile_set")
    dashboard.param.watch(allow, "folder")
    dashboard.job.param.watch(allow, "busy")
    refresh()
    allow()
    return [
        path_field(dashboard, "folder", placeholder="/data/tiles", **_WIDE),
        line,
        layout,
        by_hand,
        again,
    ]


def _whole(dashboard: Any, name: str) -> pn.viewable.Viewable:
    """A place for a whole number that may be left empty."""
    field = pmui.TextInput(label=dashboard.param[name].label, placeholder="by names", **_WIDE)

    def follow(*_: Any) -> None:
        value = getattr(dashboard, name)
        field.param.update(value="" if value is None else str(value), error_state=False)

    def typed(event: Any) -> None:
        text = event.new.strip()
        try:
            setattr(dashboard, name, int(text) if text else None)
        except ValueError:
            field.error_state = True
        else:
            field.error_state = False

    field.param.watch(typed, "value")
    dashboard.param.watch(follow, name)
    follow()
    return field


def _patches(dashboard: Any) -> list[pn.viewable.Viewable]:
    p = dashboard.param
    in_grid = p.divide_by.rx() == "grid"
    in_px = p.divide_by.rx() == "patch_size"
    both = pmui.IntSlider(label="Patches along a tile", start=1, end=_MOST_PATCHES, **_WIDE)

    def along() -> int:
        return min(max(dashboard.grid_rows, dashboard.grid_columns), _MOST_PATCHES)

    def follow(*_: Any) -> None:
        both.value = along()

    def moved(event: Any) -> None:
        if event.new != along():
            dashboard.param.update(grid_rows=event.new, grid_columns=event.new)

    follow()
    both.param.watch(moved, "value")
    dashboard.param.watch(follow, ["grid_rows", "grid_columns"])
    return [
        pmui.RadioButtonGroup.from_param(
            p.divide_by, label="", size="small", margin=(8, 10), sizing_mode="stretch_width"
        ),
        pmui.Column(
            both,
            pmui.Row(
                pmui.IntInput.from_param(p.grid_rows, **_WIDE),
                pmui.IntInput.from_param(p.grid_columns, **_WIDE),
                sizing_mode="stretch_width",
            ),
            sizing_mode="stretch_width",
            visible=in_grid,
        ),
        pmui.Column(
            pmui.Row(
                pmui.IntInput.from_param(p.patch_px, **_WIDE),
                pmui.IntInput.from_param(p.step_px, **_WIDE),
                sizing_mode="stretch_width",
            ),
            words("A step smaller than the patch makes a sliding window.", **_LINE),
            sizing_mode="stretch_width",
            visible=in_px,
        ),
        _rules(dashboard),
        pmui.FloatSlider.from_param(p.dark_below, step=0.01, **_WIDE),
    ]


def _rules(dashboard: Any) -> pn.viewable.Viewable:
    """The rules by which patches are left out, each with its sentence."""
    told = {"blank": "blank", "dark": "dark", "partly_dark": "partly dark", "edge": "at the edge"}
    boxes = {
        rule: pmui.Checkbox(
            label=told.get(rule, rule), value=rule in dashboard.leave_out, description=f"{sentence}.", size="small",
            margin=(0, 10),
        )
        for rule, sentence in RULES.items()
    }  # fmt: skip

    def ticked(*_: Any) -> None:
        dashboard.leave_out = [rule for rule, box in boxes.items() if box.value]

    def follow(*_: Any) -> None:
        chosen = list(dashboard.leave_out)
        for rule, box in boxes.items():
            box.value = rule in chosen

    for box in boxes.values():
        box.param.watch(ticked, "value")
    dashboard.param.watch(follow, "leave_out")
    heading = words("Patches left out", muted=True, margin=(8, 10, 0, 10))
    rows = list(boxes.values())
    return pmui.Column(
        heading,
        *(pmui.Row(*rows[place : place + 2], sizing_mode="stretch_width") for place in range(0, len(rows), 2)),
        sizing_mode="stretch_width",
    )


def _clusters(dashboard: Any) -> list[pn.viewable.Viewable]:
    p = dashboard.param
    told = words("", **_LINE)
    joined = p.method.rx() == "agglomerative"
    count = pmui.IntSlider.from_param(p.clusters, visible=p.method.rx() != "hdbscan", **_WIDE)
    components = pmui.IntSlider(label=p.components.label, start=0, end=len(dashboard.statistics), **_WIDE)

    def refresh(*_: Any) -> None:
        sentence = METHODS[dashboard.method]
        say(told, sentence[0].upper() + sentence[1:] + ".")

    def bound(*_: Any) -> None:
        components.param.update(
            end=max(len(dashboard.statistics), 1), value=min(dashboard.components, len(dashboard.statistics))
        )

    def moved(event: Any) -> None:
        if event.new != dashboard.components:
            dashboard.components = event.new

    components.param.watch(moved, "value")
    dashboard.param.watch(bound, ["statistics", "components"])
    dashboard.param.watch(refresh, "method")
    bound()
    refresh()
    return [
        count,
        components,
        words("0 components: the statistics themselves.", **_LINE),
        pmui.Select.from_param(p.method, **_WIDE),
        told,
        pmui.Column(
            pmui.Select.from_param(p.linkage, **_WIDE),
            pmui.Select.from_param(p.metric, visible=p.linkage.rx() != "ward", **_WIDE),
            sizing_mode="stretch_width",
            visible=joined,
        ),
        pmui.Switch.from_param(p.scale, sizing_mode="stretch_width", size="small"),
        pmui.IntInput.from_param(p.seed, **_WIDE),
    ]


def _measured(dashboard: Any) -> list[pn.viewable.Viewable]:
    p = dashboard.param
    return [
        pmui.Select.from_param(p.preset, **_WIDE),
        pmui.MultiChoice.from_param(p.statistics, sizing_mode="stretch_width"),
        pmui.Select.from_param(p.shading, **_WIDE),
        path_field(dashboard, "model", placeholder="/data/flatfield.bin", visible=p.shading.rx() == "model", **_WIDE),
    ]
