"""What the forest learnt from labels, how sure it is, and patches like a chosen one: cards of the labels tab."""

from __future__ import annotations

from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui

from analysis.texture import cut_patches
from dashboards.support.jobs import gently, start
from dashboards.support.loading import in_thread
from dashboards.support.parts import card, say, words
from dashboards.support.statement import count_of
from dashboards.support.tabs import Shown, either
from dashboards.support.texture_plots import UNSURE, ImportancePicture, SurenessPicture
from dashboards.support.texture_report_views import agreement_table
from dashboards.support.texture_tables import gallery, show_frame, show_pictures

_TWO = {"gap": "12px", "grid-template-columns": "minmax(0, 1fr) minmax(0, 1fr)", "align-items": "start"}
_LEAST_SURE, _SIMILAR = 24, 16
_HEAT_MAP_TAB = 0


def learnt_card(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
    """Return the button that relabels the rest, how sure the classes are, and what they rest on.

    Parameters
    ----------
    dashboard
        The page.
    shown
        The tab.
    """
    button = pmui.Button(label="Relabel the rest", variant="contained", margin=(4, 10, 4, 0))
    least = pmui.Button(label="Show the least sure", variant="outlined", size="small", margin=(4, 10, 4, 0))
    line, warned = words("", margin=(8, 0)), words("", muted=True)
    sureness, importance = SurenessPicture(), ImportancePicture()
    table = pn.Column(sizing_mode="stretch_width")

    def tell(*_: Any) -> None:
        say(line, learnt_words(dashboard))
        say(warned, " ".join(dashboard.correction.warnings) if dashboard.correction is not None else "")

    @gently
    def allow(*_: Any) -> None:
        button.disabled = dashboard.patches is None or len(set(dashboard.labels.values())) < 2
        least.visible = dashboard.correction is not None

    def draw(*_: Any) -> None:
        correction = dashboard.correction
        if correction is None:
            return
        sureness.draw(correction, UNSURE)
        importance.draw(correction.importance)

    def draw_table(*_: Any) -> None:
        found, correction = dashboard.found, dashboard.correction
        # clusters may be of other patches for a moment
        if found is not None and correction is not None and found.patches is correction.patches:
            show_frame(table, agreement_table(found, correction))

    def show_least(_: Any) -> None:
        rows = least_sure(dashboard.correction)
        if rows:
            dashboard.param.update(selected=rows, tab=_HEAT_MAP_TAB)

    button.on_click(lambda _: start(dashboard.correct))
    least.on_click(show_least)
    dashboard.param.watch(tell, ["correction", "labels"])
    dashboard.param.watch(allow, ["correction", "labels", "patches"])
    dashboard.param.watch(shown(draw), ["correction"])
    dashboard.param.watch(shown(draw_table), ["correction", "found"])
    for act in (tell, allow, shown(draw), shown(draw_table)):
        act()
    options = {"sizing_mode": "stretch_width", "margin": 0}
    pictures = pn.GridBox(
        pmui.Column(
            words("How sure the classes are", variant="subtitle2"), pn.pane.Bokeh(sureness.figure, **options),
            sizing_mode="stretch_width",
        ),
        pmui.Column(
            words("What the classes rest on", variant="subtitle2"), pn.pane.Bokeh(importance.figure, **options),
            sizing_mode="stretch_width",
        ),
        ncols=2, sizing_mode="stretch_width", styles=_TWO,
    )  # fmt: skip
    told = pmui.Column(
        pictures, words("Clusters against classes", variant="subtitle2"), table, sizing_mode="stretch_width"
    )
    nothing = words(
        "Nothing is learnt yet. Sureness is the share of the forest's trees that agree. It is no probability, and says"
        " nothing of patches unlike all that were labelled.",
        muted=True,
    )
    return card(
        pmui.Row(button, least, line, sizing_mode="stretch_width"),
        either(dashboard, ["correction"], lambda: dashboard.correction is not None, told, nothing),
        warned,
        title="Relabel the rest",
        margin=(12, 0, 0, 0),
    )


def learnt_words(dashboard: Any) -> str:
    """Say how many patches got which class and how sure that is, or what is still needed.

    Parameters
    ----------
    dashboard
        The page.
    """
    correction = dashboard.correction
    if correction is None:
        given = len(set(dashboard.labels.values()))
        return "" if given > 1 else "Label patches of at least two classes first."
    told = correction.summary()
    counts = ", ".join(f"{name} {count:,}" for name, count in told["patches"].items())
    median = told["median_sureness"]
    sure = f"; median sureness {median:.2f}" if median is not None else ""
    return f"{counts}{sure}; {count_of(told['unsure'], 'patch')} less sure than {UNSURE:g}."


def least_sure(correction: Any, count: int = _LEAST_SURE) -> list[int]:
    """Return rows of the patches that the forest is least sure of.

    Parameters
    ----------
    correction
        Of `analysis.texture.correct_labels`; None for none.
    count
        How many.
    """
    if correction is None:
        return []
    guessed = np.flatnonzero((correction.numbers > 0) & ~correction.labelled)
    order = np.argsort(correction.sureness[guessed], kind="stable")
    return guessed[order[:count]].tolist()


# ---- patches like a chosen one ---------------------------------------------------------------------------


def similar_card(dashboard: Any) -> pn.viewable.Viewable:
    """Return a row of the patches that are most like the one that is selected.

    Parameters
    ----------
    dashboard
        The page.
    """
    find = pmui.Button(label="Find patches like the selected one", variant="outlined", size="small")
    mark = pmui.Button(label="Select them", variant="text", size="small", visible=False)
    give = pmui.Button(label="Label them", variant="text", size="small", visible=False)
    line, pictures = words("", muted=True), gallery()
    asked: dict[str, Any] = {"row": None}

    async def look() -> None:
        asked["row"] = dashboard.selected[0] if dashboard.selected else None
        if asked["row"] is not None:
            await dashboard.find_similar(asked["row"], count=_SIMILAR)

    async def draw() -> None:
        similar, patches = dashboard.similar, dashboard.patches
        if similar is None or patches is None or not len(similar):
            pictures.object = ""
            return
        rows = similar["patch"].tolist()
        first = [] if asked["row"] is None else [asked["row"]]
        asked["row"] = None  # what is found from elsewhere next time is not like this one
        try:
            cut = await in_thread(cut_patches, patches, [*first, *rows])
        except (OSError, ValueError) as error:
            dashboard.note(str(error))
            return
        if similar is not dashboard.similar:
            return
        captions = ["the one asked for"] * len(first)
        captions += [
            f"{value:.3f}: {name}, {down}, {across}"
            for value, name, down, across in similar[["similarity", "name", "row", "column"]].itertuples(index=False)
        ]
        show_pictures(pictures, cut, captions)

    def tell(*_: Any) -> None:
        say(line, similar_words(dashboard))

    @gently
    def allow(*_: Any) -> None:
        find.disabled = not dashboard.selected
        mark.visible = give.visible = dashboard.similar is not None

    find.on_click(lambda _: start(look))
    mark.on_click(lambda _: dashboard.param.update(selected=_rows(dashboard)))
    give.on_click(lambda _: dashboard.label(_rows(dashboard)))
    dashboard.param.watch(tell, ["selected", "similar", "class_name", "patches"])
    dashboard.param.watch(allow, ["selected", "similar"])
    dashboard.param.watch(lambda *_: start(draw), ["similar"])
    tell()
    allow()
    return card(
        pmui.Row(find, mark, give, sizing_mode="stretch_width"), line, pictures,
        title="Similar patches", margin=(12, 0),
    )  # fmt: skip


def _rows(dashboard: Any) -> list[int]:
    return dashboard.similar["patch"].tolist() if dashboard.similar is not None else []


def similar_words(dashboard: Any) -> str:
    """Say which patch is selected, and what the numbers below the pictures are.

    Parameters
    ----------
    dashboard
        The page.
    """
    if dashboard.similar is not None:
        return (
            "The most similar first: cosine of the angle between the features, then file, row and column. Label them"
            f" gives them the class {dashboard.class_name}."
        )
    if not dashboard.selected or dashboard.patches is None:
        return "Select a patch on the heat map, in the scatter or in a table first."
    patch = dashboard.patches.table.iloc[dashboard.selected[0]]
    return f"Selected: {patch['name']}, row {patch['row']}, column {patch['column']}."
