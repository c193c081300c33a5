"""The controls of the circles page, in the steps from folders to a run."""

from __future__ import annotations

from typing import Any

import panel as pn
import panel_material_ui as pmui

from dashboards.support.circles_words import acquisitions_words, pixel_words, plan_words, to_do
from dashboards.support.jobs import gently, start
from dashboards.support.parts import say, section, words
from dashboards.support.path_settings import path_field

_WIDE = {"sizing_mode": "stretch_width", "size": "small"}
_LINE = {"muted": True, "margin": (-2, 10, 6, 10)}


def build_sidebar(dashboard: Any) -> list[pn.viewable.Viewable]:
    """Return the controls of the circles page, in sections."""
    p = dashboard.param
    return [
        section("1  Images", *_images(dashboard)),
        section("2  Circles", *_circles(dashboard)),
        section("3  Picture", pmui.RangeSlider.from_param(p.contrast, step=0.1, **_WIDE)),
        section("4  Run", *_run(dashboard)),
    ]


def _images(dashboard: Any) -> list[pn.viewable.Viewable]:
    p = dashboard.param
    line = words("", **_LINE)
    again = pmui.Button(label="Look again", variant="outlined", size="small", margin=(2, 10, 6, 10))

    def refresh(*_: Any) -> None:
        say(line, acquisitions_words(dashboard.acquisitions))

    @gently
    def allow(*_: Any) -> None:
        again.disabled = not dashboard.folder.strip() or dashboard.job.busy

    again.on_click(lambda _: start(dashboard.look_up))
    dashboard.param.watch(refresh, "acquisitions")
    dashboard.param.watch(allow, "folder")
    dashboard.job.param.watch(allow, "busy")
    refresh()
    allow()
    return [
        path_field(dashboard, "folder", placeholder="/data/acquisitions", **_WIDE),
        pmui.TextInput.from_param(p.levels, **_WIDE),
        line,
        again,
    ]


def _circles(dashboard: Any) -> list[pn.viewable.Viewable]:
    p = dashboard.param
    in_um = p.radius_unit.rx() == "µm"
    line = words("", **_LINE)

    def refresh(*_: Any) -> None:
        say(line, pixel_words(dashboard.opened, dashboard.pixel_size_um))

    dashboard.param.watch(refresh, ["opened", "pixel_size_um"])
    refresh()
    return [
        pmui.RadioButtonGroup.from_param(p.radius_unit, size="small", margin=(4, 10)),
        pmui.RangeSlider.from_param(p.radius_px, step=0.5, visible=p.radius_unit.rx() == "px", **_WIDE),
        pmui.RangeSlider.from_param(p.radius_um, step=0.1, visible=in_um, **_WIDE),
        _pixel_size(dashboard),
        line,
        pmui.FloatSlider.from_param(p.strictness, step=0.01, **_WIDE),
        pmui.Select.from_param(p.polarity, **_WIDE),
    ]


def _pixel_size(dashboard: Any) -> pn.viewable.Viewable:
    """A place for a number that may be left empty."""
    label = dashboard.param.pixel_size_um.label
    field = pmui.TextInput(label=label, placeholder="as the files say", **_WIDE)

    def follow(*_: Any) -> None:
        size = dashboard.pixel_size_um
        field.param.update(value="" if size is None else f"{size:g}", error_state=False)

    def typed(event: Any) -> None:
        text = event.new.strip().replace(",", ".")
        try:
            dashboard.pixel_size_um = float(text) if text else None
        except ValueError:
            field.error_state = True
        else:
            field.error_state = False

    field.param.watch(typed, "value")
    dashboard.param.watch(follow, "pixel_size_um")
    follow()
    return field


def _run(dashboard: Any) -> list[pn.viewable.Viewable]:
    p = dashboard.param
    line = words("", **_LINE)

    def refresh(*_: Any) -> None:
        say(line, plan_words(dashboard.plan))

    dashboard.param.watch(refresh, "plan")
    refresh()
    return [
        path_field(dashboard, "output", placeholder="/data/circles", **_WIDE),
        pmui.Select.from_param(p.qc, **_WIDE),
        *dashboard.offered(
            pmui.Switch.from_param(p.retry, sizing_mode="stretch_width", size="small"),
            pmui.Switch.from_param(p.redo, sizing_mode="stretch_width", size="small"),
        ),
        line,
        *run_button(dashboard, margin=(6, 10, 14, 10), sizing_mode="stretch_width"),
    ]


def run_button(dashboard: Any, **options: Any) -> list[pn.viewable.Viewable]:
    """Return the button that does all that is to be done, and says how much that is.

    Parameters
    ----------
    dashboard
        The page.
    **options
        Of the button.
    """
    button = pmui.Button(label="Run", variant="contained", **options)

    @gently
    def refresh(*_: Any) -> None:
        plan = dashboard.plan
        count = to_do(plan) if plan is not None else 0
        button.label = f"Run {count:,} image{'' if count == 1 else 's'}" if count else "Run"
        ready = dashboard.acquisitions is not None and len(dashboard.acquisitions) and dashboard.output.strip()
        button.disabled = not ready or dashboard.job.busy

    button.on_click(lambda _: start(dashboard.run))
    dashboard.param.watch(refresh, ["plan", "acquisitions", "output"])
    dashboard.job.param.watch(refresh, "busy")
    refresh()
    return dashboard.offered(button)
