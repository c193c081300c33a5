"""What the circles page shows, tab by tab. Views only read the dashboard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import panel as pn
import panel_material_ui as pmui

from dashboards.support.circles_images_view import images_tab
from dashboards.support.circles_run_view import failures_tab, quality_tab, run_tab
from dashboards.support.circles_statistics_view import drift_tab, histograms_tab, table_tab
from dashboards.support.circles_tables import show_rows
from dashboards.support.circles_work import Results
from dashboards.support.jobs import gently
from dashboards.support.parts import empty_state, error_banner, say
from dashboards.support.standard_tabs import Build, add_tabs, code_tab, log_tab, nothing_yet
from dashboards.support.tabs import Shown, either

_IN_CODE = [
    "folder", "output", "levels", "radius_unit", "radius_px", "radius_um", "pixel_size_um", "strictness", "polarity",
    "qc", "redo", "retry",
]  # fmt: skip
_LOGGED = {
    "Files and folders that cannot be used, and why": lambda page: (
        page.acquisitions.problems if page.acquisitions is not None else None
    ),
}


def build_main(dashboard: Any) -> pn.viewable.Viewable:
    """Return the tabs of the circles page below its status line."""
    # nine titles have room beside each other on a small screen
    tabs = pmui.Tabs(sizing_mode="stretch_width", sx={"& .MuiTab-root": {"minWidth": 0, "px": 1.3}})
    content = {
        "Images": _with_images(images_tab),
        "Run": _with_images(run_tab),
        "Quality control": _with_results(quality_tab, lambda results: bool(results.experiments)),
        "Histograms": _with_results(histograms_tab),
        "Drift": _with_results(drift_tab),
        "Table": _with_results(table_tab),
        "Failures": failures_tab,
        "Python and shell": code_tab("The same run without this page.", _IN_CODE),
        "Log": log_tab(_LOGGED, ["acquisitions"], show=show_rows),
    }
    add_tabs(tabs, dashboard, content)
    jobs = [dashboard.job.panel(), _quiet_job(dashboard.view_job), _errors_of(dashboard.plan_job)]
    return pmui.Column(*_banners(dashboard), *jobs, tabs, sizing_mode="stretch_width", margin=8)


def _with_images(build: Build) -> Build:
    """Return the same tab, which says what to do while there are no images."""

    def made(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
        nothing = nothing_yet(
            dashboard,
            "What round objects are in last night's acquisitions?",
            "Type the folder of acquisitions (date/subject/experiment/image) on the left",
            "The images stand here when they have been found.",
        )
        return either(dashboard, ["acquisitions"], lambda: _some(dashboard), build(dashboard, shown), nothing)

    return made


def _some_circles(results: Results) -> bool:
    return len(results.circles) > 0


def _with_results(build: Build, filled: Callable[[Results], bool] = _some_circles) -> Build:
    """Return the same tab, which says what to do while nothing is done, or while no circle was found."""

    def made(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
        nothing = empty_state(
            "No circles yet",
            "Choose radius and strictness on the images tab until the circles are right, then press Run on the left."
            " Where a run found none, Quality control shows its pictures.",
        )
        return either(dashboard, ["results"], lambda: filled(dashboard.results), build(dashboard, shown), nothing)

    return made


def _some(dashboard: Any) -> bool:
    return dashboard.acquisitions is not None and len(dashboard.acquisitions) > 0


def _quiet_job(job: Any) -> pn.viewable.Viewable:
    """What a job says while it runs or when it failed; nothing most of the time."""
    panel = job.panel()

    @gently
    def refresh(*_: Any) -> None:
        panel.visible = job.busy or bool(job.error)

    job.param.watch(refresh, ["busy", "error"])
    refresh()
    return panel


def _errors_of(job: Any) -> pn.viewable.Viewable:
    """What went wrong in a job that nobody waits for."""
    banner = error_banner()

    def refresh(*_: Any) -> None:
        if banner.visible or job.error:
            say(banner, job.error)

    job.param.watch(refresh, "error")
    refresh()
    return banner


def _banners(dashboard: Any) -> list[pn.viewable.Viewable]:
    """What to beware of, whatever tab is open."""
    address, unused = (error_banner(severity="warning") for _ in range(2))

    def refresh(*_: Any) -> None:
        say(address, dashboard.wrong_in_address)
        found = dashboard.acquisitions
        said = list(found.warnings) if found is not None else []
        if found is not None and len(found.problems):
            more = f" {len(found.problems) - 1} more are listed under Failures." if len(found.problems) > 1 else ""
            file, error = found.problems[["file", "error"]].iloc[0]
            said.append(f"{file} {error}{more}")
        said += dashboard.results.warnings
        say(unused, " ".join(said))

    dashboard.param.watch(refresh, ["acquisitions", "results", "wrong_in_address"])
    refresh()
    return [address, unused]
