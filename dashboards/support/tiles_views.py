"""What the tiles page shows: images, files, merged images, text and log. Views only read the dashboard."""

from __future__ import annotations

import base64
from typing import Any

import panel as pn
import panel_material_ui as pmui

from dashboards.support.jobs import gently
from dashboards.support.parts import as_text, card, error_banner, say, words
from dashboards.support.standard_tabs import Build, add_tabs, code_tab, log_tab, nothing_yet
from dashboards.support.tabs import Shown, either, show_table
from dashboards.support.tiles_files_view import files_tab, merge_tab
from dashboards.support.tiles_tile_view import tiles_tab, values_tab
from dashboards.support.tiles_words import images_table, sources_words

TILES_TAB = 1
_IN_CODE = [
    "folder", "channel", "plane", "calibrate", "size_from", "pixel_size", "unit", "target_um", "normalisation",
    "percentiles", "lower", "upper", "dtype", "format", "tile_size", "overlap", "edges", "padding", "leave_out",
    "empty_below", "least_share_percent", "split_images", "training_percent", "validation_percent", "seed",
    "working_dir", "sources",
]  # fmt: skip
_MOSAIC = """
:host { color: inherit; }
.mosaic { display: flex; flex-wrap: wrap; gap: 10px; }
figure { margin: 0; width: 150px; }
figure img { width: 150px; height: 118px; object-fit: cover; border-radius: 4px; display: block; background: #8884; }
figcaption { font: 500 0.78rem system-ui, sans-serif; padding-top: 3px; overflow: hidden; text-overflow: ellipsis;
  white-space: nowrap; color: var(--mui-palette-text-secondary, #7a8594); }
"""

_LOGGED = {
    "What could not be used, and why": lambda page: page.sources.problems if page.sources is not None else None,
    "What could not be cut, and why": lambda page: page.exported.problems if page.exported is not None else None,
}


def build_main(dashboard: Any) -> pn.viewable.Viewable:
    """Return the tabs of the tiles page below its status line."""
    tabs = pmui.Tabs(sizing_mode="stretch_width", active=TILES_TAB)

    def to_tiles() -> None:
        tabs.active = TILES_TAB

    content = {
        "Images": _with_images(lambda dashboard, shown: _images_tab(dashboard, shown, to_tiles)),
        "Tiles": _with_images(tiles_tab),
        "Values": _with_images(values_tab),
        "Files": _with_images(files_tab),
        "Merge": merge_tab,
        "Python and shell": code_tab("The same tiles without this page.", _IN_CODE),
        "Log": log_tab(_LOGGED, ["sources", "exported"]),
    }
    add_tabs(tabs, dashboard, content)
    jobs = [dashboard.job.panel(), _view_job(dashboard)]
    return pmui.Column(*_banners(dashboard), *jobs, tabs, sizing_mode="stretch_width", margin=8)


def _view_job(dashboard: Any) -> pn.viewable.Viewable:
    """What the image shown is waiting for; nothing most of the time."""
    panel = dashboard.view_job.panel()

    @gently
    def refresh(*_: Any) -> None:
        panel.visible = dashboard.view_job.busy or bool(dashboard.view_job.error)

    dashboard.view_job.param.watch(refresh, ["busy", "error"])
    refresh()
    return panel


def _some(dashboard: Any) -> bool:
    return dashboard.sources is not None and len(dashboard.sources) > 0


def _with_images(build: Build) -> Build:
    """Return the same tab, which says what to do while there are no images."""

    def made(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
        nothing = nothing_yet(
            dashboard,
            "How do I cut my images into tiles that a network can learn from?",
            "Type a folder of images (TIFF, PNG, JPEG) on the left",
            "The images stand here when they have been looked at.",
        )
        return either(dashboard, ["sources", "layout"], lambda: _some(dashboard), build(dashboard, shown), nothing)

    return made


def _banners(dashboard: Any) -> list[pn.viewable.Viewable]:
    """What to beware of, whatever tab is open."""
    trouble, unlike, problems = (error_banner(severity="warning") for _ in range(3))

    def refresh(*_: Any) -> None:
        sources, plan = dashboard.sources, dashboard.plan
        others = plan.problems if plan is not None else ()
        more = f" ({len(others) - 1} more.)" if len(others) > 1 else ""
        say(trouble, dashboard.trouble or (f"{others[0]}{more}" if others else ""))
        say(unlike, " ".join(sources.warnings) if sources is not None else "")
        rows = sources.problems if sources is not None else []
        more = f" {len(rows) - 1} more are listed under Log." if len(rows) > 1 else ""
        say(problems, f"{rows['error'].iloc[0]}{more}" if len(rows) else "")

    dashboard.param.watch(refresh, ["sources", "plan", "trouble"])
    refresh()
    return [trouble, unlike, problems]


# ---- images ----------------------------------------------------------------------------------------------


def _images_tab(dashboard: Any, shown: Shown, to_tiles: Any) -> pn.viewable.Viewable:
    sentence, mosaic = words("", variant="body1", margin=(4, 4)), pn.pane.HTML("", stylesheets=[_MOSAIC])
    table, look = pn.Column(sizing_mode="stretch_width"), words("", muted=True)

    def clicked(event: Any) -> None:
        dashboard.image = dashboard.sources.names[event.row]
        to_tiles()

    def tell(*_: Any) -> None:
        say(sentence, sources_words(dashboard.sources))
        count = len(dashboard.sample)
        total = len(dashboard.sources) if dashboard.sources is not None else 0
        each = "Each is stretched for itself."
        say(look, "" if not count else f"{count} of {total:,} images. {each}" if count < total else each)

    def draw(*_: Any) -> None:
        mosaic.object = mosaic_html(dashboard.sample)

    def refresh(*_: Any) -> None:
        if _some(dashboard):
            show_table(table, images_table(dashboard.sources))
            table[0].on_click(clicked)

    dashboard.param.watch(tell, ["sources", "sample"])
    dashboard.param.watch(draw, ["sample"])
    dashboard.param.watch(shown(refresh), ["sources"])
    tell()
    draw()
    shown(refresh)()
    return pmui.Column(
        sentence,
        card(mosaic, look, title="Sample"),
        card(table, title="All images; click one to lay tiles over it", margin=(12, 0)),
        sizing_mode="stretch_width",
        margin=(12, 0),
    )


def mosaic_html(sample: list[tuple[str, bytes]]) -> str:
    """Return small pictures with their names as HTML; names are shown as they are."""
    figures = []
    for name, content in sample:
        address = f"data:image/png;base64,{base64.b64encode(content).decode()}"
        picture = f'<img alt="{as_text(name)}" src="{address}">' if content else '<img alt="not readable">'
        figures.append(f"<figure>{picture}<figcaption>{as_text(name)}</figcaption></figure>")
    return f'<div class="mosaic">{"".join(figures)}</div>'
