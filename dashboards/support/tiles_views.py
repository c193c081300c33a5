"""What the tiles page shows: images, files, merged images, text and log. Views only read the dashboard."""

from __future__ import annotations

import base64
from typing import Any

import pandas as pd
import panel as pn
import panel_material_ui as pmui

from dashboards.support.jobs import start
from dashboards.support.page import as_text, card, code_box, empty_state, error_banner, say, words
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


def build_main(dashboard: Any) -> pn.viewable.Viewable:
    """Return the tabs of the tiles page below its status line."""
    tabs = pmui.Tabs(sizing_mode="stretch_width", active=TILES_TAB)

    def to_tiles() -> None:
        tabs.active = TILES_TAB

    content = {
        "Images": lambda dashboard, shown: _images_tab(dashboard, shown, to_tiles),
        "Tiles": tiles_tab,
        "Values": values_tab,
        "Files": files_tab,
        "Merge": merge_tab,
        "Python and shell": _code_tab,
        "Log": _log_tab,
    }
    nothing = _no_images(dashboard)
    needs_images = ("Images", "Tiles", "Values", "Files")
    for place, (name, build) in enumerate(content.items()):
        made = build(dashboard, Shown(tabs, place))
        if name in needs_images:
            made = either(dashboard, ["sources", "layout"], lambda: _some(dashboard), made, nothing())
        tabs.append((name, made))
    jobs = [dashboard.job.panel(), _view_job(dashboard)]
    return pmui.Column(*_banners(dashboard), *jobs, tabs, sizing_mode="stretch_width", margin=8)


def _view_job(dashboard: Any) -> pn.viewable.Viewable:
    """What the image shown is waiting for; nothing most of the time."""
    panel = dashboard.view_job.panel()

    def refresh(*_: Any) -> None:
        panel.visible = dashboard.view_job.busy or bool(dashboard.view_job.error)

    dashboard.view_job.param.watch(refresh, ["busy", "error"])
    refresh()
    return panel


def _some(dashboard: Any) -> bool:
    return dashboard.sources is not None and len(dashboard.sources) > 0


def _no_images(dashboard: Any) -> Any:
    def make() -> pn.viewable.Viewable:
        button = pmui.Button(label="Look at sample data", variant="contained", margin=(16, 0))
        button.on_click(lambda _: start(dashboard.load_example))
        nothing = empty_state(
            "How do I cut my images into tiles that a network can learn from?",
            "Type a folder of images (TIFF, PNG, JPEG) on the left, or look at sample data.",
            button,
        )
        waiting = empty_state("One moment", "The images stand here when they have been looked at.")

        def refresh(*_: Any) -> None:
            waiting.visible = dashboard.job.busy
            nothing.visible = not waiting.visible

        dashboard.job.param.watch(refresh, "busy")
        refresh()
        return pn.Column(nothing, waiting, sizing_mode="stretch_width")

    return make


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


# ---- text and log ----------------------------------------------------------------------------------------


def _code_tab(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
    python, shell = code_box("Python", ""), code_box("Shell", "")

    def refresh(*_: Any) -> None:
        python.text = dashboard.code()
        shell.text = dashboard.command()

    dashboard.param.watch(refresh, _IN_CODE)
    refresh()
    return pmui.Column(
        words("The same tiles without this page.", variant="body1", margin=(4, 4)),
        python,
        shell,
        sizing_mode="stretch_width",
        margin=(12, 0),
    )


def _log_tab(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
    lines, problems, uncut = (
        words("", margin=(4, 0)),
        pn.Column(sizing_mode="stretch_width"),
        pn.Column(sizing_mode="stretch_width"),
    )

    def refresh_lines(*_: Any) -> None:
        say(lines, "\n".join(dashboard.log[-50:]) or "Nothing has been done yet.")

    def refresh(*_: Any) -> None:
        sources, exported = dashboard.sources, dashboard.exported
        show_table(problems, sources.problems if sources is not None else pd.DataFrame())
        show_table(uncut, exported.problems if exported is not None else pd.DataFrame())

    dashboard.param.watch(refresh_lines, ["log"])
    dashboard.param.watch(shown(refresh), ["sources", "exported"])
    refresh_lines()
    shown(refresh)()
    return pmui.Column(
        card(lines, title="What was done"),
        card(problems, title="What could not be used, and why", margin=(12, 0)),
        card(uncut, title="What could not be cut, and why", margin=(12, 0)),
        sizing_mode="stretch_width",
        margin=(12, 0),
    )
