"""The export tab of the texture page: formats, folder, and what was written."""

from __future__ import annotations

import importlib.util
from typing import Any

import pandas as pd
import panel as pn
import panel_material_ui as pmui

from analysis.texture import OUTPUT_FORMATS
from dashboards.support.jobs import gently, start
from dashboards.support.parts import card, error_banner, say, words
from dashboards.support.path_settings import path_field
from dashboards.support.standard_tabs import report_buttons
from dashboards.support.statement import count_of
from dashboards.support.tabs import Shown
from dashboards.support.texture_tables import show_frame

HAVE_ROIFILE = importlib.util.find_spec("roifile") is not None
"""Whether the package roifile is installed."""
_WIDE = {"size": "small", "sizing_mode": "stretch_width"}
_FORMATS = {
    "CSV: place, statistics, cluster or class of each patch": "csv",
    "Label images: a TIFF of each tile whose pixels are the number of the cluster or class": "labels",
    "GeoJSON: outlines with their class, for QuPath": "geojson",
    "ROIs: outlines for ImageJ's ROI manager": "rois",
    "Heat maps: PNG pictures of the set with the clusters or classes, and with each statistic": "heat_map",
}
_ROWS = 12
_USUAL = ["csv", "labels", "geojson", "heat_map"]


def build_export_tab(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
    """Return what is written where, what was written, and the report.

    Parameters
    ----------
    dashboard
        The page.
    shown
        The tab.
    """
    return pmui.Column(
        _what_is_written(dashboard), _written_card(dashboard, shown), _report_card(dashboard),
        sizing_mode="stretch_width", margin=(12, 0),
    )  # fmt: skip


def offered_formats() -> dict[str, str]:
    """Return the formats that can be written here, by their words."""
    return {words: name for words, name in _FORMATS.items() if name in OUTPUT_FORMATS and
            (name != "rois" or HAVE_ROIFILE)}  # fmt: skip


def _what_is_written(dashboard: Any) -> pn.viewable.Viewable:
    formats = pmui.CheckBoxGroup(label="Formats", options=offered_formats(), value=list(_USUAL), inline=False)
    what = pmui.RadioButtonGroup(
        label="What is written is the result of",
        options={"Clusters": False, "Classes": True},
        value=False,
        size="small",
    )
    folder = path_field(dashboard, "output", **_WIDE)
    button = pmui.Button(label="Write", variant="contained", margin=(8, 10, 4, 0))
    line = words("", margin=(12, 4))
    missing = words(
        "Outlines for ImageJ need the package roifile; get it with: pip install roifile", muted=True,
        visible=not HAVE_ROIFILE,
    )  # fmt: skip

    def tell(*_: Any) -> None:
        say(line, export_words(dashboard, list(formats.value), classes=bool(what.value)))

    @gently
    def allow(*_: Any) -> None:
        ready = dashboard.correction is not None if what.value else dashboard.found is not None
        button.disabled = dashboard.write_job.busy or not formats.value or not ready or not dashboard.output.strip()
        what.disabled = dashboard.correction is None and not what.value

    def refresh(*_: Any) -> None:
        tell()
        allow()

    async def write() -> None:
        await dashboard.export(list(formats.value), classes=bool(what.value))

    button.on_click(lambda _: start(write))
    for widget in (formats, what):
        widget.param.watch(refresh, "value")
    dashboard.param.watch(refresh, ["found", "correction", "output"])
    dashboard.write_job.param.watch(allow, ["busy"])
    refresh()
    return card(
        what,
        formats,
        missing,
        folder,
        pmui.Row(*dashboard.offered(button), line, sizing_mode="stretch_width"),
        title="Export",
    )


def export_words(dashboard: Any, formats: list[str], *, classes: bool) -> str:
    """Say what would be written, or why nothing can be.

    Parameters
    ----------
    dashboard
        The page.
    formats
        Chosen.
    classes
        Whether classes, in place of clusters.
    """
    result = dashboard.correction if classes else dashboard.found
    if result is None:
        return "Label patches and press Relabel the rest first." if classes else "Nothing is clustered yet."
    if not formats:
        return "Choose at least one format."
    if not dashboard.output.strip():
        return "Type a folder; it is made when it is missing."
    tiles = int(result.patches.table["tile"].nunique())
    per_tile = sum(name in ("labels", "geojson", "rois") for name in formats)
    files = tiles * per_tile + ("csv" in formats) + ("labels" in formats)
    files += (1 + len(result.patches.statistics)) if "heat_map" in formats else 0
    return f"{count_of(files, 'file')} will be written."


def _written_card(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
    line, banner = words("", muted=True), error_banner()
    place = pn.Column(sizing_mode="stretch_width")

    def tell(*_: Any) -> None:
        written = dashboard.exported
        if written is None:
            say(line, "Nothing was written from this page yet.")
            say(banner, "")
            return
        counts = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in written.summary()["files"].items())
        say(line, f"{count_of(len(written.table), 'file')}: {counts}." if counts else "No file was written.")
        say(banner, "\n".join(written.problems["error"]) if len(written.problems) else "")

    def draw(*_: Any) -> None:
        written = dashboard.exported
        table = written.table if written is not None else pd.DataFrame()
        if len(table):
            show_frame(place, table, rows=_ROWS)
        else:
            place[:] = []

    dashboard.param.watch(tell, ["exported"])
    dashboard.param.watch(shown(draw), ["exported"])
    tell()
    shown(draw)()
    return card(line, banner, place, title="What was written", margin=(12, 0, 0, 0))


def _report_card(dashboard: Any) -> pn.viewable.Viewable:
    return card(
        words(
            "One HTML file that opens without a network: heat map with a slider of its opacity and a button for each"
            " cluster, scatter, representatives, sizes, corrections, scores of the search, settings and versions.",
            muted=True,
        ),
        pmui.Row(*report_buttons(dashboard, "texture_report.html")),
        title="Report",
        margin=(12, 0),
    )
