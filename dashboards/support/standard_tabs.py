"""What every instrument's page has: text for Python and shell, the log, the report's button, and what to do first."""

from __future__ import annotations

import io
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import panel as pn
import panel_material_ui as pmui

from dashboards.support.jobs import gently, start
from dashboards.support.loading import served
from dashboards.support.parts import card, code_box, empty_state, say, words
from dashboards.support.places import places
from dashboards.support.tabs import Shown, show_table

_LINES_SHOWN = 50
# seen after a moment only, so that nothing flashes where a tab is made at once
_COMING = """
:host(.coming)::before { content: "One moment"; display: block; padding: 90px 24px; text-align: center; color: inherit;
  animation: come 0.3s 0.3s both; }
@keyframes come { from { opacity: 0; } to { opacity: 0.7; } }
"""

Build = Callable[[Any, Shown], pn.viewable.Viewable]


def add_tabs(tabs: pmui.Tabs, dashboard: Any, content: Mapping[str, Build]) -> None:
    """Put tabs on a page; on a server each is made when somebody opens it, because most are not.

    Elsewhere (a notebook's cell, a file) nobody may be there to make them later: all are made at once.

    Parameters
    ----------
    tabs
        Where they go.
    dashboard
        The page.
    content
        For every title a function that is called with the page and a `Shown`, and returns what is on the tab.
    """
    coming = {"css_classes": ["coming"], "stylesheets": [_COMING]} if served() else {}
    places = [pn.Column(sizing_mode="stretch_width", **coming) for _ in content]
    waiting = dict(enumerate(content.values()))

    def make(place: int) -> None:
        build = waiting.pop(place, None)
        if build is not None:
            places[place].append(build(dashboard, Shown(tabs, place)))
            places[place].css_classes = []

    tabs.extend(zip(content, places, strict=True))
    if served():
        tabs.param.watch(lambda event: make(event.new), "active")
        make(tabs.active)
    else:
        for place in range(len(content)):
            make(place)


def code_tab(sentence: str, on: Sequence[str], shell: Callable[[Any], str] | None = None) -> Build:
    """Return what builds the tab with the page's ``code()`` and ``command()``.

    Parameters
    ----------
    sentence
        What the text gives.
    on
        Parameters of the page that change the text.
    shell
        Called with the page in place of ``command()``, where one line is not enough.
    """

    def build(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
        python, line = code_box("Python", ""), code_box("Shell", "")

        def refresh(*_: Any) -> None:
            python.text = dashboard.code()
            text = shell(dashboard) if shell is not None else dashboard.command()
            where = dashboard.scheduler.strip()
            line.text = f"{text} --scheduler {shlex.quote(where)}" if where else text

        dashboard.param.watch(refresh, [*on, "scheduler"])
        refresh()
        return pmui.Column(
            words(sentence, variant="body1", margin=(4, 4)),
            python,
            line,
            sizing_mode="stretch_width",
            margin=(12, 0),
        )

    return build


def log_tab(
    tables: Mapping[str, Callable[[Any], pd.DataFrame | None]],
    on: Sequence[str],
    *,
    show: Callable[[pn.Column, pd.DataFrame], None] = show_table,
) -> Build:
    """Return what builds the tab with what was done, and tables of what could not be.

    Parameters
    ----------
    tables
        For every title a function of the page that returns a table; None where there is none yet.
    on
        Parameters of the page that change the tables.
    show
        Puts a table on the page.
    """

    def build(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
        lines = words("", margin=(4, 0))
        places = {title: pn.Column(sizing_mode="stretch_width") for title in tables}

        def refresh_lines(*_: Any) -> None:
            say(lines, "\n".join(dashboard.log[-_LINES_SHOWN:]) or "Nothing has been done yet.")

        def refresh(*_: Any) -> None:
            for title, table_of in tables.items():
                table = table_of(dashboard)
                show(places[title], table if table is not None else pd.DataFrame())

        dashboard.param.watch(refresh_lines, ["log"])
        dashboard.param.watch(shown(refresh), list(on))
        refresh_lines()
        shown(refresh)()
        return pmui.Column(
            card(lines, title="What was done"),
            *(card(place, title=title, margin=(12, 0)) for title, place in places.items()),
            sizing_mode="stretch_width",
            margin=(12, 0),
        )

    return build


def report_buttons(dashboard: Any, filename: str) -> list[pn.viewable.Viewable]:
    """Return a button that writes the report, and one that takes it along once it is written.

    Parameters
    ----------
    dashboard
        The page.
    filename
        Name of the file taken along.
    """
    button = pmui.Button(label="Write report", variant="outlined", margin=(4, 10, 4, 0))
    download = pmui.FileDownload(
        # looked at again when it is taken along: a link may have been put in its place
        callback=lambda: io.BytesIO(places().to_read(dashboard.report).read_bytes()),
        label="Report (HTML)", filename=filename, visible=False, margin=(4, 10),
    )  # fmt: skip

    def refresh(*_: Any) -> None:
        download.visible = dashboard.report is not None

    @gently
    def allow(*_: Any) -> None:
        button.disabled = dashboard.job.busy

    button.on_click(lambda _: start(dashboard.write_report))
    dashboard.param.watch(refresh, "report")
    dashboard.job.param.watch(allow, "busy")
    refresh()
    allow()
    return dashboard.offered(button, download)


def nothing_yet(dashboard: Any, question: str, sentence: str, waiting_for: str) -> pn.viewable.Viewable:
    """Return what stands where there is no data yet: what to do, what the page is waiting for, or that there is none.

    Parameters
    ----------
    dashboard
        The page; its ``load_example()`` is offered.
    question
        What the instrument answers.
    sentence
        What to do, without a full stop; sample data are offered beside it, where they may be written.
    waiting_for
        What will stand here when the job that runs is done.
    """
    button = pmui.Button(label="Look at sample data", variant="contained", margin=(16, 0))
    button.on_click(lambda _: start(dashboard.load_example))
    offered = dashboard.offered(button)
    to_do = f"{sentence}{', or look at sample data' if offered else ''}."
    nothing = empty_state(question, to_do, *offered)
    title, line = nothing[0], nothing[1]
    waiting = empty_state("One moment", waiting_for)

    @gently
    def refresh(*_: Any) -> None:
        waiting.visible = dashboard.job.busy
        nothing.visible = not waiting.visible
        if nothing.visible:
            told = dashboard.job.error or dashboard.outcome()
            say(title, "Nothing to show" if told else question)
            say(line, f"The line above says why. {to_do}" if told else to_do)

    dashboard.job.param.watch(refresh, ["busy", "error", "words"])
    refresh()
    return pn.Column(nothing, waiting, sizing_mode="stretch_width")
