"""The run tab, the quality control tab and the failures tab of the circles page."""

from __future__ import annotations

import base64
from typing import Any

import pandas as pd
import panel as pn
import panel_material_ui as pmui

from dashboards.support.circles_controls import run_button
from dashboards.support.circles_tables import show_rows
from dashboards.support.circles_words import (
    STATES,
    count_of,
    plan_counts,
    plan_table,
    plan_words,
    ran_words,
    stages_words,
)
from dashboards.support.circles_work import Picture
from dashboards.support.parts import as_text, card, say, words
from dashboards.support.standard_tabs import report_buttons
from dashboards.support.tabs import Shown

_GALLERY = """
:host { color: inherit; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 12px; }
.montage { max-width: 100%; border-radius: 4px; display: block; }
figure { margin: 0; min-width: 0; }
figure img { width: 100%; border-radius: 4px; display: block; background: #8884; }
figcaption { font: 500 0.8rem system-ui, sans-serif; padding-top: 3px; overflow-wrap: anywhere;
  color: var(--mui-palette-text-secondary, #7a8594); }
"""


def run_tab(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
    """Return what would run and why, the button that does it, and what was done."""
    counted, meant = words("", variant="body1"), words("", muted=True)
    reasons, listed, done = (pn.Column(sizing_mode="stretch_width") for _ in range(3))
    last, stages = words("Nothing was run from this page yet."), words("", muted=True)

    def tell(*_: Any) -> None:
        plan, ran = dashboard.plan, dashboard.ran
        say(counted, plan_words(plan) or "What would run is seen when there are images and an output folder.")
        states = plan_counts(plan) if plan is not None else {}
        say(meant, "\n".join(f"{state}: {STATES[state]}" for state in states if state in STATES))
        if ran is not None:
            say(last, ran_words(ran))
            told = stages_words(ran.seconds_by_stage)
            say(stages, f"Work of all cores together: {told}." if told else "")

    def draw_plan(*_: Any) -> None:
        plan = dashboard.plan
        show_rows(reasons, plan_table(plan) if plan is not None else pd.DataFrame(), empty="Nothing is known yet.")
        if plan is not None:
            waiting = plan.table[plan.table["state"] != "done"]
            show_rows(listed, waiting.drop(columns="file"), empty="Every image is done.", rows=12)

    def draw_done(*_: Any) -> None:
        ran = dashboard.ran
        table = ran.table if ran is not None else pd.DataFrame()
        table = table.drop(columns=[name for name in ("file",) if name in table])
        show_rows(done, table, empty="No image was done.", rows=12)

    dashboard.param.watch(tell, ["plan", "ran"])
    dashboard.param.watch(shown(draw_plan), ["plan"])
    dashboard.param.watch(shown(draw_done), ["ran"])
    tell()
    shown(draw_plan)()
    shown(draw_done)()
    return pmui.Column(
        card(
            counted, meant, reasons,
            pmui.Row(*run_button(dashboard, margin=(4, 10, 4, 0)), *report_buttons(dashboard, "circles_report.html")),
            title="What would run, and why",
        ),
        card(listed, title="Images that are not done", margin=(12, 0)),
        card(last, stages, done, title="The last run from this page", margin=(12, 0)),
        sizing_mode="stretch_width",
        margin=(12, 0),
    )  # fmt: skip


# ---- quality control -------------------------------------------------------------------------------------


def quality_tab(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
    """Return the QC pictures of the experiment chosen, and its montage."""
    select = pmui.Select(label="Experiment", options=[""], value="", width=420, size="small")
    back = pmui.Button(label="Previous", variant="outlined", size="small")
    forth = pmui.Button(label="Next", variant="outlined", size="small")
    line = words("", muted=True)
    montage = pn.pane.HTML("", stylesheets=[_GALLERY], sizing_mode="stretch_width")
    pictures = pn.pane.HTML("", stylesheets=[_GALLERY], sizing_mode="stretch_width")

    def step(by: int) -> None:
        names = dashboard.results.experiments
        if names:
            at = names.index(dashboard.experiment) if dashboard.experiment in names else 0
            dashboard.experiment = names[(at + by) % len(names)]

    following: list[bool] = []  # holds something while the choice is changed by us

    def follow(*_: Any) -> None:
        following.append(True)
        select.param.update(options=dashboard.results.experiments or [""], value=dashboard.experiment)
        following.pop()

    def chosen(event: Any) -> None:
        if not following:
            dashboard.experiment = event.new

    def refresh(*_: Any) -> None:
        shown_pictures = [picture for picture in dashboard.gallery if not picture.montage]
        whole = [picture for picture in dashboard.gallery if picture.montage]
        montage.object = "".join(_image_html(picture, "montage") for picture in whole)
        pictures.object = gallery_html(shown_pictures)
        back.disabled = forth.disabled = len(dashboard.results.experiments) < 2
        if not dashboard.results.experiments:
            say(line, "No experiment is done yet.")
        elif not dashboard.gallery:
            say(line, "This experiment has no QC pictures; choose PNG or JPEG on the left and run.")
        else:
            circles = sum(picture.circles for picture in shown_pictures)
            say(line, f"{count_of(len(shown_pictures), 'image')}, {count_of(circles, 'circle')}.")

    back.on_click(lambda _: step(-1))
    forth.on_click(lambda _: step(1))
    select.param.watch(chosen, "value")
    dashboard.param.watch(follow, ["experiment", "results"])
    dashboard.param.watch(refresh, ["gallery", "results"])
    follow()
    refresh()
    return pmui.Column(
        pmui.Row(select, back, forth, sizing_mode="stretch_width"),
        line,
        card(pictures, title="Images with their circles"),
        card(montage, title="All circles of the experiment", margin=(12, 0)),
        sizing_mode="stretch_width",
        margin=(12, 0),
    )


def gallery_html(pictures: list[Picture]) -> str:
    """Return pictures with their names and numbers of circles as HTML; names are shown as they are."""
    figures = []
    for picture in pictures:
        text = as_text(f"{picture.name}, {count_of(picture.circles, 'circle')}" if picture.content else picture.name)
        figures.append(f"<figure>{_image_html(picture)}<figcaption>{text}</figcaption></figure>")
    return f'<div class="gallery">{"".join(figures)}</div>' if figures else ""


def _image_html(picture: Picture, kind: str = "") -> str:
    if not picture.content:
        return ""
    content = base64.b64encode(picture.content).decode()
    return f'<img class="{kind}" alt="{as_text(picture.name)}" src="data:image/jpeg;base64,{content}">'


# ---- failures --------------------------------------------------------------------------------------------


def failures_tab(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
    """Return images that failed, and files that cannot be used, with reasons."""
    sentence = words("", variant="body1", margin=(4, 4))
    failed, unused = (pn.Column(sizing_mode="stretch_width") for _ in range(2))

    def tell(*_: Any) -> None:
        count = len(dashboard.results.failures)
        said = "No image failed."
        if count:
            said = (
                f"{count_of(count, 'image')} failed. The others went on. They are tried again when the file changes, or"
                " with “Try failed images again” on the left."
            )
        say(sentence, said)

    def draw(*_: Any) -> None:
        # the file tells the folders, and the reason has room
        failures = dashboard.results.failures
        show_rows(failed, failures.filter(["File", "Stage", "Reason"]), empty="No image failed.")
        found = dashboard.acquisitions
        problems = found.problems if found is not None else pd.DataFrame()
        show_rows(unused, problems, empty="Every file and folder could be used.")

    dashboard.param.watch(tell, ["results"])
    dashboard.param.watch(shown(draw), ["results", "acquisitions"])
    tell()
    shown(draw)()
    return pmui.Column(
        sentence,
        card(failed, title="Images that failed, and why"),
        card(unused, title="Files and folders that cannot be used, and why", margin=(12, 0)),
        sizing_mode="stretch_width",
        margin=(12, 0),
    )
