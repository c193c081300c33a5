"""The histograms tab, the drift tab and the table tab of the circles page, with the filters that they share."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import holoviews as hv
import pandas as pd
import panel as pn
import panel_material_ui as pmui

from analysis.circles import ControlChart
from dashboards.support.circles_plots import MOST_GROUPS, MOST_IN_LEGEND, ChartPicture, HistogramPicture
from dashboards.support.circles_tables import show_rows, tick
from dashboards.support.circles_words import filter_words, spread_words, unit_of
from dashboards.support.circles_work import safe_csv
from dashboards.support.parts import card, say, words
from dashboards.support.tabs import Shown, live, pane

_SMALL = {"size": "small"}
_WIDE = {"size": "small", "sizing_mode": "stretch_width"}
_TWO = {"gap": "12px", "grid-template-columns": "minmax(0, 1fr) minmax(0, 1fr)", "align-items": "start"}
_MOST_LEVELS = 4
_MOST_SENTENCES = 12


def filter_row(dashboard: Any) -> pn.viewable.Viewable:
    """Return choices of names for every level, and what they leave; they are shared by all tabs that have them."""
    choices = [
        pmui.MultiChoice(label="", options=[], value=[], sizing_mode="stretch_width", visible=False)
        for _ in range(_MOST_LEVELS)
    ]
    line = words("", margin=(8, 4))
    clear = pmui.Button(label="Clear filters", variant="text", size="small")
    following: list[bool] = []  # holds something while the choices are changed by us

    def follow(*_: Any) -> None:
        following.append(True)
        levels = dashboard.results.levels[:_MOST_LEVELS]
        for place, choice in enumerate(choices):
            names = dashboard.results.names(levels[place]) if place < len(levels) else []
            if choice.options != names:
                choice.options = names
            if names:
                choice.param.update(label=levels[place], value=list(dashboard.filters.get(levels[place], [])))
            choice.visible = len(names) > 1
        following.pop()

    def tell(*_: Any) -> None:
        say(
            line,
            filter_words(dashboard.filters, dashboard.between, len(dashboard.chosen), len(dashboard.results.circles)),
        )
        clear.disabled = not dashboard.filters and not dashboard.between

    def chosen(place: int, event: Any) -> None:
        levels = dashboard.results.levels
        if not following and place < len(levels):
            dashboard.keep_names(levels[place], event.new)

    for place, choice in enumerate(choices):
        choice.param.watch(lambda event, place=place: chosen(place, event), "value")
    clear.on_click(lambda _: dashboard.clear_filters())
    dashboard.param.watch(follow, ["results", "filters"])
    dashboard.param.watch(tell, ["results", "statistics", "filters", "between"])
    follow()
    tell()
    return pmui.Column(
        pmui.Row(*choices, sizing_mode="stretch_width"),
        pmui.Row(line, clear, sizing_mode="stretch_width"),
        sizing_mode="stretch_width",
    )


# ---- histograms ------------------------------------------------------------------------------------------


def histograms_tab(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
    """Return two histograms that filter each other, and whether groups differ."""
    p = dashboard.param
    return pmui.Column(
        filter_row(dashboard),
        pn.GridBox(
            _histogram_card(dashboard, shown, 0, p.value),
            _histogram_card(dashboard, shown, 1, p.other_value),
            ncols=2,
            sizing_mode="stretch_width",
            styles=_TWO,
        ),
        _comparison_card(dashboard, shown),
        sizing_mode="stretch_width",
        margin=(12, 0),
    )


def _histogram_card(dashboard: Any, shown: Shown, place: int, value: Any) -> pn.viewable.Viewable:
    drawn = HistogramPicture()
    histogram = live(lambda: draw_histogram(dashboard, drawn, place), dashboard, ["statistics"], shown)
    bounds = hv.streams.BoundsX(source=histogram, boundsx=None)
    slider = pmui.RangeSlider(label="Keep", start=0, end=1, value=(0, 1), **_WIDE)
    following: list[bool] = []

    def column() -> str:
        return dashboard.value if place == 0 else dashboard.other_value

    def follow(*_: Any) -> None:
        """Show the range kept, of the range that there is."""
        name, circles = column(), dashboard.results.circles
        if name not in circles or not circles[name].notna().any():
            return
        low, high = float(circles[name].min()), float(circles[name].max())
        high = high if high > low else low + 1
        following.append(True)
        kept = dashboard.between.get(name, (low, high))
        slider.param.update(start=low, end=high, step=(high - low) / 200, value=kept, label=f"Keep {unit_of(name)}")
        following.pop()

    def keep(ends: tuple[float, float]) -> None:
        whole = ends[0] <= slider.start and ends[1] >= slider.end
        dashboard.keep_between(column(), None if whole else ends)

    def moved(event: Any) -> None:
        if not following:
            keep(event.new)

    def brushed(boundsx: tuple[float, float] | None) -> None:
        if boundsx is not None:
            keep((max(boundsx[0], slider.start), min(boundsx[1], slider.end)))

    slider.param.watch(moved, "value_throttled")
    bounds.add_subscriber(brushed)
    dashboard.param.watch(follow, ["results", "value", "other_value", "between"])
    follow()
    selects = [pmui.Select.from_param(value, **_WIDE)]
    if place == 0:
        selects.append(pmui.Select.from_param(dashboard.param.by, **_WIDE))
    return card(pmui.Row(*selects, sizing_mode="stretch_width"), pane(histogram), slider)


def draw_histogram(dashboard: Any, drawn: HistogramPicture, place: int) -> hv.Points:
    """Return one of the two histograms as the dashboard's settings say."""
    made = dashboard.statistics
    if made is None:
        return drawn.draw(None)
    return drawn.draw(made.histograms[place], made.behind[place])


def _comparison_card(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
    sentence, naive, warned = words("", variant="body1"), words("", muted=True), words("", muted=True)
    groups, pairs = pn.Column(sizing_mode="stretch_width"), pn.Column(sizing_mode="stretch_width")

    def tell(*_: Any) -> None:
        made = dashboard.statistics
        found = made.comparison if made is not None else None
        if made is None:
            said = ("", "", "")
        elif found is None:
            said = ("Choose groups above to ask whether they differ.", "", "")
        else:
            many = [f"The first {MOST_GROUPS} groups are drawn."] if len(found.table) > MOST_GROUPS else []
            many += ["Point at a histogram to see whose it is."] if len(found.table) > MOST_IN_LEGEND else []
            said = (found.sentence, found.naive_sentence, " ".join([*made.words, *found.warnings, *many]))
        for line, text in zip((sentence, naive, warned), said, strict=True):
            say(line, text)

    def draw(*_: Any) -> None:
        made = dashboard.statistics
        found = made.comparison if made is not None else None
        summary = made.histograms[0].table if made is not None else pd.DataFrame()
        show_rows(groups, summary, empty="No circle is left by the filters.")
        show_rows(pairs, found.pairs if found is not None else pd.DataFrame(), empty="No pairs to compare.", rows=10)

    dashboard.param.watch(tell, ["statistics"])
    dashboard.param.watch(shown(draw), ["statistics"])
    tell()
    shown(draw)()
    return pmui.Column(
        card(sentence, naive, warned, title="Do the groups differ?", margin=(12, 0, 0, 0)),
        card(groups, title="Groups", margin=(12, 0, 0, 0)),
        card(pairs, title="Pairs of groups, from means of experiments", margin=(12, 0)),
        sizing_mode="stretch_width",
    )


# ---- drift -----------------------------------------------------------------------------------------------


def drift_tab(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
    """Return the control charts of two values, and what the last date says."""
    p = dashboard.param
    subject = pmui.Select(label="Charted", options=[""], value="", **_WIDE)
    following: list[bool] = []

    def follow(*_: Any) -> None:
        names = subjects_of(dashboard)
        following.append(True)
        subject.param.update(options=names or [""], value=charted(dashboard))
        subject.visible = len(names) > 1
        following.pop()

    def chosen(event: Any) -> None:
        if not following:
            dashboard.subject = event.new

    subject.param.watch(chosen, "value")
    dashboard.param.watch(follow, ["statistics", "subject"])
    follow()
    return pmui.Column(
        filter_row(dashboard),
        pmui.Row(
            subject,
            pmui.Select.from_param(p.value, **_WIDE),
            pmui.Select.from_param(p.other_value, **_WIDE),
            pmui.IntInput.from_param(p.baseline, **_WIDE),
            pmui.Select.from_param(p.spread, **_WIDE),
            sizing_mode="stretch_width",
        ),
        _verdicts(dashboard),
        pn.GridBox(
            *(_chart_card(dashboard, shown, place) for place in (0, 1)),
            ncols=2,
            sizing_mode="stretch_width",
            styles=_TWO,
        ),
        sizing_mode="stretch_width",
        margin=(12, 0),
    )


def subjects_of(dashboard: Any) -> list[str]:
    """Return the subjects that have a chart."""
    return dashboard.statistics.charts[0].limits["subject"].tolist() if dashboard.statistics is not None else []


def charted(dashboard: Any) -> str:
    """Return the subject whose chart is shown: the one chosen, or the first that drifted, or the first."""
    names = subjects_of(dashboard)
    if dashboard.subject in names:
        return dashboard.subject
    drifted = [name for chart in dashboard.statistics.charts for name in chart.drifted] if names else []
    return (drifted or names or [""])[0]


def _verdicts(dashboard: Any) -> pn.viewable.Viewable:
    title, lines, warned = words("", sx={"fontWeight": 600}), words(""), words("", muted=True)

    def refresh(*_: Any) -> None:
        made = dashboard.statistics
        charts = made.charts if made is not None else ()
        say(title, verdict(charts))
        told = [(name not in chart.drifted, said) for chart in charts for name, said in chart.sentences.items()]
        sentences = [said for _, said in sorted(told, key=lambda each: each[0])]
        # of those that drifted none is left out
        shown = max(_MOST_SENTENCES, sum(not usual for usual, _ in told))
        rest = len(sentences) - shown
        say(lines, "\n".join([*sentences[:shown], *([f"And {rest} more."] if rest > 0 else [])]))
        said = [*(made.words if made is not None else ()), *map(spread_words, charts)]
        said += dict.fromkeys(sentence for chart in charts for sentence in chart.warnings)
        say(warned, "\n".join(filter(None, said)))

    dashboard.param.watch(refresh, ["statistics"])
    refresh()
    return card(title, lines, warned, margin=(8, 0, 0, 0))


def verdict(charts: Sequence[ControlChart]) -> str:
    """Say whether the last date drifted."""
    if any(chart.drifted for chart in charts):
        return "The last date drifted."
    last = [chart.table.groupby("subject", sort=False).tail(1) for chart in charts]
    if any(rows["z"].notna().any() for rows in last):
        return "The last date is as usual."
    return "Whether the last date is as usual cannot be known." if any(len(rows) for rows in last) else ""


def _chart_card(dashboard: Any, shown: Shown, place: int) -> pn.viewable.Viewable:
    drawn = ChartPicture()

    def draw() -> hv.Points:
        made = dashboard.statistics
        return drawn.draw(made.charts[place], charted(dashboard)) if made is not None else drawn.draw(None)

    return card(pane(live(draw, dashboard, ["statistics", "subject"], shown)), margin=(12, 0, 0, 0))


# ---- table -----------------------------------------------------------------------------------------------


def table_tab(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
    """Return the circles that the filters leave, with a download."""
    place = pn.Column(sizing_mode="stretch_width")

    def content() -> io.StringIO:
        return io.StringIO(safe_csv(dashboard.chosen))

    download = pmui.FileDownload(
        callback=content, filename="circles.csv", label="Download what is shown (CSV)", margin=(4, 0, 8, 0)
    )

    def draw(*_: Any) -> None:
        chosen = dashboard.chosen
        flags = {name: chosen[name].map(tick) for name in chosen if pd.api.types.is_bool_dtype(chosen[name])}
        show_rows(place, chosen.assign(**flags), empty="No circle: nothing is done yet, or the filters leave none.")

    dashboard.param.watch(shown(draw), ["statistics", "results"])
    shown(draw)()
    return pmui.Column(filter_row(dashboard), download, card(place), sizing_mode="stretch_width", margin=(12, 0))
