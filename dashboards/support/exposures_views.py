"""What the exposures page shows: calibration, map, tables, files, log. Views only read the dashboard."""

from __future__ import annotations

from typing import Any

import panel as pn
import panel_material_ui as pmui

from dashboards.support.exposures_calibrate_view import calibrate_tab
from dashboards.support.exposures_map_view import map_tab, no_session
from dashboards.support.exposures_tables import groups_table, show_tidy
from dashboards.support.exposures_words import REPORT, problem_sentence, purpose
from dashboards.support.jobs import gently, start
from dashboards.support.parts import card, error_banner, say, words
from dashboards.support.path_settings import path_field
from dashboards.support.standard_tabs import add_tabs, code_tab, log_tab, report_buttons
from dashboards.support.tabs import Shown, either

MAP_TAB = 1
_IN_CODE = [
    "folder", "calibration", "hole_spacing", "hole_spacing_um", "k_um_per_unit", "clusters", "matrix", "radius_mode",
    "radius_um", "keep", "working_dir", "out", "rawdata", "montage", "rescale", "session", "predose",
]  # fmt: skip

_LOGGED = {
    "What could not be used, and why": lambda page: page.session.problems if page.session is not None else None,
    "Beam diameters": lambda page: page.result.beam_diameters if page.result is not None else None,
    "Sessions": lambda page: page.session.sessions if page.session is not None else None,
}


def build_main(dashboard: Any) -> pn.viewable.Viewable:
    """Return the tabs of the exposures page below its status line."""
    tabs = pmui.Tabs(sizing_mode="stretch_width", active=MAP_TAB)

    def to_map() -> None:
        tabs.active = MAP_TAB

    content = {
        "Calibrate": calibrate_tab,
        "Map": map_tab,
        "Squares": _squares_tab,
        "Groups": lambda dashboard, shown: _groups_tab(dashboard, shown, to_map),
        "Optics groups": _optics_tab,
        "Export": _export_tab,
        "Python and shell": code_tab("The same lists without this page.", _IN_CODE),
        "Log": log_tab(_LOGGED, ["session", "result"], show=show_tidy),
    }
    add_tabs(tabs, dashboard, content)
    return pmui.Column(*_banners(dashboard), dashboard.job.panel(), tabs, sizing_mode="stretch_width", margin=8)


def _banners(dashboard: Any) -> list[pn.viewable.Viewable]:
    """What to beware of, whatever tab is open: the calibration, the session, files that cannot be used."""
    uncertain, session, problems = (error_banner(severity="warning") for _ in range(3))

    def refresh(*_: Any) -> None:
        calibrated, read = dashboard.calibrated, dashboard.session
        say(uncertain, calibrated.calibration.warning if calibrated is not None else "")
        said = [dashboard.wrong_in_address, *(read.warnings if read is not None else [])]
        said += dashboard.result.warnings if dashboard.result is not None else []
        of_calibration = calibrated.calibration.warning if calibrated is not None else ""
        say(session, " ".join(text for text in dict.fromkeys(said) if text and text != of_calibration))
        rows = read.problems if read is not None else []
        if not len(rows):
            say(problems, "")
            return
        more = f" {len(rows) - 1} more are listed under Log." if len(rows) > 1 else ""
        say(problems, f"{problem_sentence(rows.iloc[0])}{more}")

    dashboard.param.watch(refresh, ["session", "calibrated", "result", "wrong_in_address"])
    refresh()
    return [uncertain, session, problems]


def _with_result(dashboard: Any, content: Any) -> pn.viewable.Viewable:
    return either(dashboard, ["result"], lambda: dashboard.result is not None, content, no_session(dashboard))


# ---- tables ----------------------------------------------------------------------------------------------


def _squares_tab(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
    table = pn.Column(sizing_mode="stretch_width")

    def refresh(*_: Any) -> None:
        if dashboard.result is not None:
            show_tidy(table, dashboard.result.squares)

    dashboard.param.watch(shown(refresh), ["result"])
    shown(refresh)()
    content = pmui.Column(
        words("One row a grid square. Click a heading to sort.", variant="body1", margin=(4, 4)),
        card(table),
        sizing_mode="stretch_width",
        margin=(12, 0),
    )
    return _with_result(dashboard, content)


def _groups_tab(dashboard: Any, shown: Shown, to_map: Any) -> pn.viewable.Viewable:
    table = pn.Column(sizing_mode="stretch_width")

    def clicked(event: Any) -> None:
        dashboard.look_at_group(int(dashboard.result.table["group"].iloc[event.row]))
        to_map()

    def refresh(*_: Any) -> None:
        if dashboard.result is None:
            return
        show_tidy(table, groups_table(dashboard.result))
        if isinstance(table[0], pn.widgets.Tabulator):
            table[0].on_click(clicked)

    dashboard.param.watch(shown(refresh), ["result"])
    shown(refresh)()
    content = pmui.Column(
        words("One row an exposure of a duplicate group. Click a row to see it on the map.", variant="body1",
              margin=(4, 4)),
        card(table),
        sizing_mode="stretch_width",
        margin=(12, 0),
    )  # fmt: skip
    return _with_result(dashboard, content)


def _optics_tab(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
    sentence, table = words("", variant="body1", margin=(4, 4)), pn.Column(sizing_mode="stretch_width")

    def say_count(*_: Any) -> None:
        if dashboard.calibrated is not None:
            count = len(dashboard.calibrated.optics.centres)
            say(sentence, f"{count} optics groups: exposures taken with one beam shift of the hole share one.")

    def refresh(*_: Any) -> None:
        if dashboard.calibrated is not None:
            show_tidy(table, dashboard.calibrated.optics.centres)

    dashboard.param.watch(shown(refresh), ["calibrated"])
    dashboard.param.watch(say_count, ["calibrated"])
    say_count()
    shown(refresh)()
    content = pmui.Column(sentence, card(table), sizing_mode="stretch_width", margin=(12, 0))
    return _with_result(dashboard, content)


# ---- files ---------------------------------------------------------------------------------


def _export_tab(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
    p, wide = dashboard.param, {"sizing_mode": "stretch_width", "size": "small"}
    button = pmui.Button(label="Write files", variant="contained", margin=(12, 10))
    where = words("", muted=True)
    listed, written = words(""), words("")

    def list_files(*_: Any) -> None:
        if dashboard.result is not None:
            paths = dashboard.files_to_write()
            say(where, f"{len(paths)} files in {paths[0].parent.absolute()}; those of these names are replaced:")
            say(listed, "\n".join(f"{path.name}: {purpose(path.name)}" for path in paths))

    def list_written(*_: Any) -> None:
        said = [f"{path.name}, {path.stat().st_size:,} bytes" for path in dashboard.written if path.exists()]
        say(written, "\n".join(said) or "Nothing yet.")

    @gently
    def allow(*_: Any) -> None:
        button.disabled = dashboard.result is None or dashboard.job.busy

    button.on_click(lambda _: start(dashboard.write))
    dashboard.param.watch(list_files, ["result", "working_dir", "out", "rawdata", "montage", "images", "predose"])
    dashboard.param.watch(list_written, ["written"])
    dashboard.param.watch(allow, ["result"])
    dashboard.job.param.watch(allow, ["busy"])
    list_files()
    list_written()
    allow()
    controls = card(
        path_field(dashboard, "working_dir", **wide),
        path_field(dashboard, "out", **wide),
        path_field(dashboard, "rawdata", placeholder="none", **wide),
        pmui.Checkbox.from_param(p.montage, sizing_mode="stretch_width", size="small"),
        pmui.Checkbox.from_param(p.rescale, sizing_mode="stretch_width", size="small", disabled=p.montage.rx.not_()),
        pmui.Row(*dashboard.offered(button), *report_buttons(dashboard, REPORT)),
        title="Where",
    )
    lists = pmui.Column(
        card(where, listed, title="What will be written"),
        card(written, title="Written last", margin=(12, 0)),
        sizing_mode="stretch_width",
    )
    content = pn.GridBox(
        controls,
        lists,
        ncols=2,
        sizing_mode="stretch_width",
        styles={"gap": "12px", "grid-template-columns": "minmax(0, 1fr) minmax(0, 1fr)", "align-items": "start"},
        margin=(12, 0),
    )
    return _with_result(dashboard, content)
