"""What the texture page shows, tab by tab. Views only read the dashboard."""

from __future__ import annotations

from typing import Any

import panel as pn
import panel_material_ui as pmui

from dashboards.support.jobs import gently
from dashboards.support.parts import error_banner, say, words
from dashboards.support.standard_tabs import Build, add_tabs, code_tab, log_tab, nothing_yet
from dashboards.support.tabs import Shown, either
from dashboards.support.texture_export_view import build_export_tab
from dashboards.support.texture_heat_map_view import heat_map_tab
from dashboards.support.texture_labels_view import build_labels_tab
from dashboards.support.texture_search_view import build_search_tab
from dashboards.support.texture_settings import CLUSTERED_BY, LOOKED_UP_BY, MEASURED_BY
from dashboards.support.texture_table_view import build_table_tab
from dashboards.support.texture_words import problems_words, warned

_LOGGED = {
    "Tiles that could not be used, and why": lambda page: (
        page.patches.problems
        if page.patches is not None
        else page.tile_set.problems
        if page.tile_set is not None
        else None
    ),
    "What the tiles are, and where they lie": lambda page: page.tile_set.table if page.tile_set is not None else None,
}


def build_main(dashboard: Any) -> pn.viewable.Viewable:
    """Return the tabs of the texture page below its status line."""
    tabs = pmui.Tabs(sizing_mode="stretch_width", sx={"& .MuiTab-root": {"minWidth": 0, "px": 1.6}})
    content = {
        "Heat map": _with_tiles(heat_map_tab),
        "Search": _with_tiles(build_search_tab),
        "Labels": _with_tiles(build_labels_tab),
        "Table": _with_tiles(build_table_tab),
        "Export": _with_tiles(build_export_tab),
        "Python and shell": code_tab(
            "The same table without this page.", [*LOOKED_UP_BY, "preset", *MEASURED_BY, *CLUSTERED_BY, "output"]
        ),
        "Log": log_tab(_LOGGED, ["tile_set", "patches"]),
    }
    add_tabs(tabs, dashboard, content)
    tabs.param.watch(lambda event: setattr(dashboard, "tab", event.new), "active")
    dashboard.param.watch(lambda event: setattr(tabs, "active", event.new), "tab")
    quiet = [_quiet_job(job) for job in (dashboard.place_job, dashboard.search_job)]
    jobs = [dashboard.job.panel(), *quiet, _quiet_job(dashboard.write_job, says_how=True)]
    return pmui.Column(*_banners(dashboard), *jobs, tabs, _doubts(dashboard), sizing_mode="stretch_width", margin=8)


def _with_tiles(build: Build) -> Build:
    """Return the same tab, which says what to do while there are no tiles."""

    def made(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
        nothing = nothing_yet(
            dashboard,
            "Which patches of a tile set look alike?",
            "Type the folder of tiles on the left",
            "The picture of the set stands here when its patches have been measured.",
        )
        return either(dashboard, ["mosaic"], lambda: dashboard.mosaic is not None, build(dashboard, shown), nothing)

    return made


def _quiet_job(job: Any, *, says_how: bool = False) -> pn.viewable.Viewable:
    """What a job says while it runs or when it failed, and if wanted how it ended; nothing most of the time."""
    panel = job.panel()

    @gently
    def refresh(*_: Any) -> None:
        panel.visible = job.busy or bool(job.error) or (says_how and bool(job.words))

    job.param.watch(refresh, ["busy", "error", "words"])
    refresh()
    return panel


def _banners(dashboard: Any) -> list[pn.viewable.Viewable]:
    """What to beware of, whatever tab is open."""
    address, unused, trouble = (error_banner(severity=kind) for kind in ("warning", "warning", "error"))

    def refresh(*_: Any) -> None:
        for banner, sentence in (
            (address, dashboard.wrong_in_address),
            (unused, problems_words(dashboard)),
            (trouble, dashboard.trouble),
        ):
            if sentence or banner.visible:
                say(banner, sentence)

    dashboard.param.watch(refresh, ["tile_set", "patches", "trouble", "wrong_in_address"])
    refresh()
    return [address, unused, trouble]


def _doubts(dashboard: Any) -> pn.viewable.Viewable:
    """What is doubtful about what is shown: below it, because it is no error."""
    line = words("", muted=True, margin=(4, 12))

    def refresh(*_: Any) -> None:
        said = warned(dashboard)
        say(line, "Worth knowing: " + " ".join(said) if said else "")

    dashboard.param.watch(refresh, ["patches", "found", "correction"])
    refresh()
    return line
