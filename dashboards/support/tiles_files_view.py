"""The files tab and the merge tab of the tiles page."""

from __future__ import annotations

import base64
from typing import Any

import pandas as pd
import panel as pn
import panel_material_ui as pmui

from dashboards.support.jobs import gently, start
from dashboards.support.parts import as_text, card, error_banner, say, words
from dashboards.support.path_settings import path_field
from dashboards.support.standard_tabs import report_buttons
from dashboards.support.statement import count_of
from dashboards.support.tabs import Shown, show_table
from dashboards.support.tiles_merge_work import MergedPictures, merged_folder
from dashboards.support.tiles_words import REPORT, earlier_words, plan_words

_TWO = {"gap": "12px", "grid-template-columns": "minmax(0, 1fr) minmax(0, 1fr)", "align-items": "start"}
_WIDE = {"sizing_mode": "stretch_width", "size": "small"}
_NOTHING_MERGED = "<p>Nothing was merged from this page yet.</p>"
_PICTURES = """
:host { color: inherit; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 10px; margin-bottom: 16px; }
.pair img { width: 100%; border-radius: 4px; display: block; }
p { margin: 4px 0; font: 400 0.82rem system-ui, sans-serif; color: var(--mui-palette-text-secondary, #7a8594); }
.pair div { font: 500 0.82rem system-ui, sans-serif; padding: 3px 0; color: var(--mui-palette-text-secondary, #7a8594);
  overflow-wrap: anywhere; }
"""
_SETTINGS = [
    "sources", "plan", "working_dir", "earlier", "format", "layout", "leave_out", "empty_below", "least_share_percent",
    "percentiles", "lower", "upper", "seed",
]  # fmt: skip
_MOST_ROWS = 2000


def files_tab(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
    """Return what will be written, the button that does it, and what was written."""
    content = pn.GridBox(
        *dashboard.offered(
            card(
                *_planned(dashboard),
                pmui.Row(*_buttons(dashboard)),
                pmui.Row(*report_buttons(dashboard, REPORT)),
                title="What to write",
            )
        ),
        card(_there(dashboard), pmui.Row(*_remove(dashboard)), title="What is there"),
        ncols=2,
        sizing_mode="stretch_width",
        styles=_TWO,
    )
    table = pn.Column(sizing_mode="stretch_width")

    def refresh(*_: Any) -> None:
        done = dashboard.exported
        wanted = ["tile", "name", "number", "row_px", "column_px", "low", "high", "dtype", "split", "left_out"]
        show_table(table, done.table[wanted].head(_MOST_ROWS) if done is not None else pd.DataFrame())

    dashboard.param.watch(shown(refresh), ["exported"])
    shown(refresh)()
    return pmui.Column(
        content,
        *dashboard.offered(card(table, title="Tiles written last", margin=(12, 0))),
        sizing_mode="stretch_width",
        margin=(12, 0),
    )


def _planned(dashboard: Any) -> list[pn.viewable.Viewable]:
    counted, named, where = words(""), words("", muted=True), words("", muted=True)

    def refresh(*_: Any) -> None:
        plan, sources = dashboard.plan, dashboard.sources
        if plan is None or sources is None or not len(sources):
            say(counted, "No tiles with these settings.")
            return
        less = " Empty tiles are left out, so there will be fewer." if dashboard.leave_out else ""
        say(counted, plan_words(plan, format=dashboard.format) + less)
        name, last = dashboard.image, len(dashboard.layout) - 1 if dashboard.layout is not None else 0
        say(named, f"{name}_000{dashboard.format} to {name}_{last:03d}{dashboard.format}, and so on for every image;\n"
            "tiles.csv and tiles.json say where each tile lies, enough to merge them again.")  # fmt: skip
        say(where, f"In {dashboard.working_dir or 'no folder yet: type one on the left'}.")

    dashboard.param.watch(refresh, _SETTINGS)
    refresh()
    return [counted, where, named]


def _buttons(dashboard: Any) -> list[pn.viewable.Viewable]:
    button = pmui.Button(label="Write tiles", variant="contained", margin=(12, 10, 4, 0))

    @gently
    def allow(*_: Any) -> None:
        some = dashboard.plan is not None and dashboard.plan.tiles > 0
        button.disabled = not some or dashboard.job.busy or not dashboard.working_dir.strip()

    button.on_click(lambda _: start(dashboard.export))
    dashboard.param.watch(allow, ["plan", "working_dir"])
    dashboard.job.param.watch(allow, "busy")
    allow()
    return dashboard.offered(button)


def _there(dashboard: Any) -> pn.viewable.Viewable:
    line = words("")

    def refresh(*_: Any) -> None:
        images = len(dashboard.sources) if dashboard.sources is not None else 0
        say(line, earlier_words(dashboard.earlier, dashboard.settings, images))

    dashboard.param.watch(refresh, _SETTINGS)
    refresh()
    return line


def _remove(dashboard: Any) -> list[pn.viewable.Viewable]:
    """A button that asks, says how many files go, and removes what the manifest lists."""
    button = pmui.Button(label="Remove tiles…", variant="outlined", color="error", margin=(12, 0, 4, 0))
    question = words("")
    yes, no = pmui.Button(label="Remove", variant="contained", color="error"), pmui.Button(label="Keep them")
    dialog = pmui.Dialog(
        question, pmui.Row(yes, no, margin=(10, 0)), title="Remove tiles", open=False, width_option="sm",
        close_on_click=True,
    )  # fmt: skip

    @gently
    def allow(*_: Any) -> None:
        button.disabled = dashboard.earlier is None or dashboard.job.busy

    def ask(_: Any) -> None:
        count = dashboard.earlier.files if dashboard.earlier is not None else 0
        listed = f"{count_of(count, 'file')} that the manifest in {dashboard.working_dir} lists"
        say(question, f"{listed} are deleted, and the manifest. Nothing else in the folder is touched.")
        dialog.open = True

    def confirm(_: Any) -> None:
        dialog.open = False
        start(dashboard.remove)

    button.on_click(ask)
    yes.on_click(confirm)
    no.on_click(lambda _: setattr(dialog, "open", False))
    dashboard.param.watch(allow, "earlier")
    dashboard.job.param.watch(allow, "busy")
    allow()
    return dashboard.offered(button, dialog)


# ---- merging ---------------------------------------------------------------------------------------------


def merge_tab(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
    """Return the controls that merge tiles, and what was merged beside its sources."""
    p = dashboard.param
    button = pmui.Button(label="Merge", variant="contained", margin=(12, 10, 4, 10))
    line, problems = words("", muted=True, margin=(4, 10)), error_banner(severity="warning")
    pictures = pn.pane.HTML("", stylesheets=[_PICTURES], sizing_mode="stretch_width")

    @gently
    def allow(*_: Any) -> None:
        button.disabled = dashboard.earlier is None or dashboard.job.busy
        if dashboard.earlier is None:
            say(line, f"There are no tiles with a manifest in {dashboard.working_dir} yet; export them first.")
        else:
            folder = merged_folder(dashboard.working_dir, dashboard.predictions)
            count = count_of(dashboard.earlier.images, "image")
            say(line, f"Writes {count} in {folder}; those of the same names there are replaced.")

    def refresh(*_: Any) -> None:
        done = dashboard.merged
        pictures.object = "".join(map(pair_html, done.pictures)) if done is not None else _NOTHING_MERGED
        say(problems, done.problems["error"].iloc[0] if done is not None and len(done.problems) else "")

    button.on_click(lambda _: start(dashboard.merge))
    dashboard.param.watch(allow, ["earlier", "working_dir", "predictions"])
    dashboard.job.param.watch(allow, "busy")
    dashboard.param.watch(refresh, "merged")
    allow()
    refresh()
    return pmui.Column(
        words("Tiles of the output folder, or a network's predictions for them, put together to whole images.",
              variant="body1", margin=(4, 4)),
        card(
            path_field(dashboard, "working_dir", label="Folder of tiles", **_WIDE),
            path_field(dashboard, "predictions", placeholder="none: merge the tiles themselves", **_WIDE),
            pmui.Select.from_param(p.blending, **_WIDE),
            *dashboard.offered(line, button),
        ),
        problems,
        card(pictures, title="Source and merged image", margin=(12, 0)),
        sizing_mode="stretch_width",
        margin=(12, 0),
    )  # fmt: skip


def pair_html(one: MergedPictures) -> str:
    """Return an image beside what was merged, as HTML; its name is shown as it is."""
    said = "" if one.difference is None else f", largest difference {one.difference:.3g}"
    if one.missing:
        said += f" without {count_of(one.missing, 'tile')} that {'is' if one.missing == 1 else 'are'} not there"
    cells = [
        f"<div><div>{as_text(text)}</div>{_img(content)}</div>"
        for content, text in ((one.source, f"{one.name}, source"), (one.merged, f"{one.name}, merged{said}"))
    ]
    return f'<div class="pair">{"".join(cells)}</div>'


def _img(content: bytes) -> str:
    if not content:
        return "(the source cannot be read any more)"
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(content).decode()}">'
