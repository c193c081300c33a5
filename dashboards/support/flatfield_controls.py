"""The controls of the flatfield page."""

from __future__ import annotations

from typing import Any

import panel as pn
import panel_material_ui as pmui

from dashboards.support.jobs import gently, start
from dashboards.support.parts import say, section, words
from dashboards.support.path_settings import path_field
from dashboards.support.statement import count_of

_SHOWN_NAMES = 24


def build_sidebar(dashboard: Any) -> list[pn.viewable.Viewable]:
    """Return the controls of the flatfield page, in sections."""
    p = dashboard.param
    wide = {"sizing_mode": "stretch_width", "size": "small"}
    return [
        section(
            "Slides",
            path_field(dashboard, "roots", widget=pmui.TextAreaInput, rows=2, auto_grow=True, max_rows=6, **wide),
            _pattern(dashboard),
            path_field(dashboard, "working_dir", **wide),
            pmui.Select.from_param(p.meanimage_folder, label="Mean images in", **wide),
            pmui.IntInput.from_param(p.min_images_stacked, **wide),
            *dashboard.offered(_compare_button(dashboard)),
        ),
        section(
            "Picture",
            pmui.Select.from_param(p.layers, **wide),
            _layer_slider(dashboard),
            pmui.RangeSlider.from_param(p.bounds, **wide),
            pmui.Select.from_param(p.sort_by, **wide),
            pmui.Select.from_param(p.lines, **wide),
            pmui.MultiChoice.from_param(p.lines_after, visible=p.lines.rx() == "named", sizing_mode="stretch_width"),
        ),
        section("Groups", pmui.FloatSlider.from_param(p.threshold, format="0.000", **wide)),
        section(
            "Model",
            pmui.Select.from_param(p.members, **wide),
            *dashboard.offered(pmui.TextInput.from_param(p.version, placeholder="v1.1", **wide)),
            pmui.Select.from_param(p.smoothing, **wide),
            pmui.FloatInput.from_param(p.smoothing_sigma_px, **wide),
            *dashboard.offered(
                pmui.Checkbox.from_param(p.skip_creation, sizing_mode="stretch_width", size="small"),
                pmui.Checkbox.from_param(p.replace, sizing_mode="stretch_width", size="small"),
                *_register(dashboard),
            ),
        ),
    ]


def _layer_slider(dashboard: Any) -> pn.viewable.Viewable:
    """A slider that ends at the last layer of the slides shown."""
    label = "Layer of a pair, model or picture"
    slider = pmui.IntSlider.from_param(dashboard.param.layer, label=label, start=1, end=100, size="small")
    slider.sizing_mode = "stretch_width"

    def refresh(*_: Any) -> None:
        if dashboard.result is not None and len(dashboard.result.slides):
            layers = dashboard.result.slides.slides[0].shape[2]
            slider.param.update(end=max(2, layers), disabled=layers < 2)

    dashboard.param.watch(refresh, "result")
    refresh()
    return slider


def _pattern(dashboard: Any) -> pn.viewable.Viewable:
    field = pmui.TextInput.from_param(
        dashboard.param.sample_regex, placeholder="all slides", sizing_mode="stretch_width", size="small"
    )
    line = words("", muted=True, margin=(-4, 10, 6, 10))

    def count(*_: Any) -> None:
        if dashboard.found is None:
            say(line, "No slides yet.")
            return
        names, total, wrong = dashboard.matching(field.value_input or "")
        listed = ", ".join(names[:_SHOWN_NAMES]) + (", …" if len(names) > _SHOWN_NAMES else "")
        matching = f"{len(names):,} of {count_of(total, 'slide')} match{'es' if total == 1 else ''}"
        say(line, wrong or matching + (f": {listed}" if names else ""))

    field.param.watch(count, ["value_input", "value"])
    dashboard.param.watch(count, "found")
    count()
    return pmui.Column(field, line, sizing_mode="stretch_width", margin=0)


def _compare_button(dashboard: Any) -> pn.viewable.Viewable:
    button = pmui.Button(label="Compare", variant="contained", sizing_mode="stretch_width", margin=(8, 10))

    @gently
    def refresh(*_: Any) -> None:
        missing = dashboard.result.unknown_pairs if dashboard.result is not None else 0
        some = dashboard.result is not None and len(dashboard.result.slides) > 1
        button.label = f"Compare {missing} pairs" if missing else "All pairs are compared" if some else "Compare"
        button.disabled = not missing or dashboard.job.busy

    dashboard.param.watch(refresh, "result")
    dashboard.job.param.watch(refresh, "busy")
    refresh()
    button.on_click(lambda _: start(dashboard.compare))
    return button


def _register(dashboard: Any) -> list[pn.viewable.Viewable]:
    """A button that says what it will write, asks once, and then does it."""
    button = pmui.Button(label="Register", variant="contained", sizing_mode="stretch_width", margin=(8, 10))
    question = pn.Column(sizing_mode="stretch_width")
    yes = pmui.Button(label="Register and write", variant="contained")
    no = pmui.Button(label="Not now", variant="outlined")
    dialog = pmui.Dialog(
        question,
        pmui.Row(yes, no, margin=(10, 0)),
        title="Register a model version",
        open=False,
        width_option="sm",
        close_on_click=True,
    )

    @gently
    def refresh(*_: Any) -> None:
        ready = dashboard.result is not None and len(dashboard.result.slides) > 0
        count = len(dashboard.slides_to_register()) if ready else 0
        named = f" {count_of(count, 'slide')} as {dashboard.version}" if dashboard.version else ""
        button.label = f"Register{named}…"
        button.disabled = not (ready and count and dashboard.version) or dashboard.job.busy

    def ask(_: Any) -> None:
        slides = dashboard.slides_to_register()
        shown = ", ".join(slides.labels[:_SHOWN_NAMES]) + (", …" if len(slides) > _SHOWN_NAMES else "")
        become = f"{count_of(len(slides), 'slide')} become{'s' if len(slides) == 1 else ''}"
        question[:] = [
            words(f"{become} version {dashboard.version}: {shown}."),
            words("This will write", muted=True, margin=(8, 0, 0, 0)),
            *[words(str(path), margin=(0, 0, 0, 12)) for path in dashboard.files_to_write()],
            words(
                "An existing version is replaced; the table keeps a dated copy."
                if dashboard.replace
                else "An existing version is refused.",
                muted=True,
                margin=(8, 0, 0, 0),
            ),
        ]
        dialog.open = True

    def confirm(_: Any) -> None:
        dialog.open = False
        start(dashboard.register)

    button.on_click(ask)
    yes.on_click(confirm)
    no.on_click(lambda _: setattr(dialog, "open", False))
    dashboard.param.watch(refresh, ["result", "groups", "members", "version"])
    dashboard.job.param.watch(refresh, "busy")
    refresh()
    return [button, dialog]
