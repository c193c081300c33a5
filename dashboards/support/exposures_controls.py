"""The controls of the exposures page."""

from __future__ import annotations

from typing import Any

import panel as pn
import panel_material_ui as pmui

from dashboards.support.exposures_words import radius_sentence
from dashboards.support.jobs import gently, start
from dashboards.support.parts import say, section, words
from dashboards.support.path_settings import path_field
from dashboards.support.statement import count_of

RADIUS_BOUNDS_UM = (0.05, 2.0)
_WIDE = {"sizing_mode": "stretch_width", "size": "small"}


def build_sidebar(dashboard: Any) -> list[pn.viewable.Viewable]:
    """Return the controls of the exposures page, in sections."""
    p = dashboard.param
    by = p.calibration.rx()
    return [
        section(
            "Session",
            path_field(dashboard, "folder", placeholder="/data/session", **_WIDE),
            _session_line(dashboard),
            _again(dashboard),
            pmui.Switch.from_param(p.watching, sizing_mode="stretch_width", size="small"),
        ),
        section(
            "Calibration",
            pmui.Select.from_param(p.calibration, label="Beam shift to µm", **_WIDE),
            pmui.Select.from_param(p.hole_spacing, **_WIDE),
            pmui.FloatInput.from_param(p.hole_spacing_um, visible=p.hole_spacing.rx() == "typed", step=0.1, **_WIDE),
            pmui.FloatInput.from_param(p.k_um_per_unit, visible=by == "k typed", step=0.1, **_WIDE),
            pmui.IntInput.from_param(p.clusters, visible=by == "clusters", **_WIDE),
            pmui.TextInput.from_param(
                p.matrix, visible=by == "matrix typed", placeholder="21.7, 11.0, 11.0, -21.7", **_WIDE
            ),
        ),
        section("Duplicates", *_radius(dashboard), pmui.Select.from_param(p.keep, **_WIDE)),
        section(
            "Picture",
            pmui.Select.from_param(p.grid_square, **_WIDE),
            pmui.Select.from_param(p.colour_by, **_WIDE),
        ),
    ]


def _session_line(dashboard: Any) -> pn.viewable.Viewable:
    """Say what was read."""
    line = words("", muted=True, margin=(-4, 10, 6, 10))

    def refresh(*_: Any) -> None:
        session = dashboard.session
        if session is None:
            say(line, "No session yet.")
            return
        found = session.summary()
        parts = [
            count_of(found["exposures"], "exposure"),
            count_of(found["grid_squares"], "grid square"),
            count_of(found["foil_holes"], "foil hole"),
        ]
        if found["hole_spacing_um"]:
            parts.append(f"hole spacing {found['hole_spacing_um']:.2f} µm as EPU was told")
        if found["problems"]:
            parts.append(f"{count_of(found['problems'], 'file')} could not be used")
        say(line, ", ".join(parts) + ".")

    dashboard.param.watch(refresh, "session")
    refresh()
    return line


def _again(dashboard: Any) -> pn.viewable.Viewable:
    button = pmui.Button(label="Read again", variant="outlined", size="small", margin=(2, 10, 6, 10))

    @gently
    def refresh(*_: Any) -> None:
        button.disabled = not dashboard.folder.strip() or dashboard.job.busy

    button.on_click(lambda _: start(dashboard.look_up))
    dashboard.param.watch(refresh, "folder")
    dashboard.job.param.watch(refresh, "busy")
    refresh()
    return button


def _radius(dashboard: Any) -> list[pn.viewable.Viewable]:
    """The radius: from the beam, or by a slider that types it when it is moved."""
    mode = pmui.Select.from_param(dashboard.param.radius_mode, **_WIDE)
    low, high = RADIUS_BOUNDS_UM
    slider = pmui.FloatSlider(
        label="Radius (µm)", start=low, end=high, step=0.005, value=dashboard.radius_um, format="0.000[0]", **_WIDE
    )
    line = words("", muted=True, margin=(-4, 10, 6, 10))
    following = []  # holds something while the slider is moved by us

    def follow(*_: Any) -> None:
        radius = dashboard.radius_um if dashboard.result is None else dashboard.result.radius_um
        say(line, "" if dashboard.result is None else radius_sentence(dashboard.result))
        following.append(True)
        # a typed radius may lie outside what the slider offers at first
        slider.param.update(start=min(low, radius), end=max(high, radius), value=radius)
        following.pop()

    def moved(event: Any) -> None:
        if not following:
            dashboard.param.update(radius_mode="typed", radius_um=event.new)

    slider.param.watch(moved, "value")
    dashboard.param.watch(follow, ["result"])
    follow()
    return [mode, slider, line]
