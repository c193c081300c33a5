"""The controls of the tiles page, in the five steps from images to files."""

from __future__ import annotations

from typing import Any

import panel as pn
import panel_material_ui as pmui

from dashboards.support.jobs import gently, start
from dashboards.support.parts import say, section, words
from dashboards.support.path_settings import path_field
from dashboards.support.tiles_words import factor_words, file_size_words, plan_words, size_words, sources_words

_WIDE = {"sizing_mode": "stretch_width", "size": "small"}
_LINE = {"muted": True, "margin": (-2, 10, 6, 10)}


def build_sidebar(dashboard: Any) -> list[pn.viewable.Viewable]:
    """Return the controls of the tiles page, in sections."""
    return [
        section("1  Images", *_images(dashboard)),
        section("2  Pixel size", *_sizes(dashboard)),
        section("3  Values", *_values(dashboard)),
        section("4  Tiles", *_tiles(dashboard)),
        section(
            "5  Export",
            path_field(dashboard, "masks", placeholder="none", **_WIDE),
            path_field(dashboard, "labels", placeholder="none", **_WIDE),
            path_field(dashboard, "working_dir", placeholder="/data/tiles", **_WIDE),
            *_export(dashboard),
        ),
    ]


def _pair(first: Any, second: Any, **options: Any) -> pmui.Row:
    return pmui.Row(first, second, sizing_mode="stretch_width", **options)


def _images(dashboard: Any) -> list[pn.viewable.Viewable]:
    p = dashboard.param
    folder = path_field(
        dashboard, "folder", widget=pmui.TextAreaInput, placeholder="/data/images", rows=2, max_rows=4, **_WIDE
    )
    line = words("", **_LINE)
    image = pmui.Select.from_param(p.image, **_WIDE)
    channel, plane = (pmui.IntInput.from_param(each, start=1, **_WIDE) for each in (p.channel, p.plane))
    again = pmui.Button(label="Read again", variant="outlined", size="small", margin=(2, 10, 6, 10))

    def refresh(*_: Any) -> None:
        sources = dashboard.sources
        infos = sources.infos if sources is not None else ()
        say(line, sources_words(sources))
        channels, planes = (max((getattr(info, name) for info in infos), default=1) for name in ("channels", "planes"))
        image.visible = len(infos) > 0
        channel.param.update(visible=channels > 1, label=f"Channel, 1 to {channels}", end=max(channels, 1))
        plane.param.update(visible=planes > 1, label=f"Plane, 1 to {planes}", end=max(planes, 1))

    @gently
    def allow(*_: Any) -> None:
        again.disabled = not dashboard.folders or dashboard.job.busy

    again.on_click(lambda _: start(dashboard.look_up))
    dashboard.param.watch(refresh, "sources")
    dashboard.param.watch(allow, "folder")
    dashboard.job.param.watch(allow, "busy")
    refresh()
    allow()
    return [folder, line, image, channel, plane, again]


def _sizes(dashboard: Any) -> list[pn.viewable.Viewable]:
    p = dashboard.param
    on, typed = p.calibrate.rx(), p.size_from.rx() == "typed"
    line, result = words("", **_LINE), words("", **_LINE)

    def refresh(*_: Any) -> None:
        info, layout = dashboard.info, dashboard.layout
        said = file_size_words(info)
        if info is not None and dashboard.calibrate and dashboard.size_from == "typed":
            said = f"The file says: {said}" if info.pixel_size.sides_um else ""
        say(line, said)
        factor = dashboard.factor() if dashboard.calibrate else None
        say(result, factor_words(info, factor, layout))

    dashboard.param.watch(
        refresh, ["sources", "image", "layout", "calibrate", "size_from", "pixel_size", "unit", "target_um"]
    )
    refresh()
    return [
        pmui.Switch.from_param(p.calibrate, sizing_mode="stretch_width", size="small"),
        pmui.Select.from_param(p.size_from, visible=on, **_WIDE),
        _pair(
            pmui.FloatInput.from_param(p.pixel_size, step=0.01, **_WIDE),
            pmui.Select.from_param(p.unit, width=90, size="small"),
            visible=on & typed,
        ),
        line,
        pmui.FloatInput.from_param(p.target_um, step=0.005, visible=on, **_WIDE),
        result,
    ]


def _values(dashboard: Any) -> list[pn.viewable.Viewable]:
    p = dashboard.param
    stretched = p.normalisation.rx() != "none"
    dtype, file_format = pmui.Select.from_param(p.dtype, **_WIDE), pmui.Select.from_param(p.format, **_WIDE)
    why = words("", **_LINE)

    def refresh(*_: Any) -> None:
        try:
            types = dashboard.judged_types()
        except ValueError as error:
            say(why, str(error))
            return
        formats = dashboard.judged_formats()
        dtype.disabled_options = [name for name, reason in types.items() if reason]
        file_format.disabled_options = [name for name, reason in formats.items() if reason]
        reasons = [reason for name, reason in {**types, **formats}.items() if reason and name]
        why.visible = dashboard.info is not None
        say(why, "\n".join(f"{reason}." for reason in dict.fromkeys(reasons)))

    dashboard.param.watch(refresh, ["normalisation", "lower", "upper", "dtype", "sources", "image"])
    refresh()
    return [
        pmui.Select.from_param(p.normalisation, **_WIDE),
        pmui.RangeSlider.from_param(p.percentiles, step=0.1, visible=stretched, **_WIDE),
        _pair(
            pmui.FloatInput.from_param(p.lower, **_WIDE),
            pmui.FloatInput.from_param(p.upper, **_WIDE),
            visible=stretched,
        ),
        _pair(dtype, file_format),
        why,
    ]


def _tiles(dashboard: Any) -> list[pn.viewable.Viewable]:
    p = dashboard.param
    overlap = pmui.IntSlider.from_param(p.overlap, start=0, end=max(dashboard.tile_size // 2, 1), step=1, **_WIDE)
    share = {"visible": p.leave_out.rx(), **_WIDE}
    splits = {"visible": p.split_images.rx(), **_WIDE}
    test = words("", **_LINE)

    def fit(*_: Any) -> None:
        """An overlap is at most half a tile."""
        most = max(dashboard.tile_size // 2, 1)
        if dashboard.overlap > most:
            dashboard.overlap = most
        overlap.end = most

    def rest(*_: Any) -> None:
        left = 100 - dashboard.training_percent - dashboard.validation_percent
        test.visible = dashboard.split_images
        say(test, f"Test: {left:g} %. Tiles of an image stay together.")

    dashboard.param.watch(fit, "tile_size")
    dashboard.param.watch(rest, ["split_images", "training_percent", "validation_percent"])
    fit()
    rest()
    return [
        pmui.IntInput.from_param(p.tile_size, step=32, **_WIDE),
        overlap,
        pmui.Select.from_param(p.edges, **_WIDE),
        pmui.Select.from_param(p.padding, visible=p.edges.rx() != "drop", **_WIDE),
        pmui.Switch.from_param(p.leave_out, sizing_mode="stretch_width", size="small"),
        pmui.FloatInput.from_param(p.empty_below, step=10, **share),
        pmui.FloatInput.from_param(p.least_share_percent, step=0.5, **share),
        pmui.Switch.from_param(p.split_images, sizing_mode="stretch_width", size="small"),
        pmui.FloatInput.from_param(p.training_percent, step=5, **splits),
        pmui.FloatInput.from_param(p.validation_percent, step=5, **splits),
        test,
        pmui.IntInput.from_param(p.seed, **splits),
    ]


def _export(dashboard: Any) -> list[pn.viewable.Viewable]:
    line = words("", **_LINE)
    button = pmui.Button(label="Export", variant="contained", sizing_mode="stretch_width", margin=(6, 10, 14, 10))

    @gently
    def refresh(*_: Any) -> None:
        plan = dashboard.plan
        say(line, plan_words(plan, format=dashboard.format) if plan is not None else "")
        some = plan is not None and plan.tiles > 0
        button.label = f"Export {plan.tiles:,} tiles, {size_words(plan.size_bytes)}" if some else "Export"
        button.disabled = not some or dashboard.job.busy or not dashboard.working_dir.strip()

    button.on_click(lambda _: start(dashboard.export))
    dashboard.param.watch(refresh, ["plan", "format", "working_dir"])
    dashboard.job.param.watch(refresh, "busy")
    refresh()
    return [line, *dashboard.offered(button)]
