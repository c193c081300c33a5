"""Histograms and control charts of circles: a result in, a HoloViews element out, changed in place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import holoviews as hv
import numpy as np
from bokeh.models import ColumnDataSource, HoverTool, Legend, LegendItem

from analysis.circles import ControlChart, ValueHistogram
from dashboards.support.circles_words import unit_of
from dashboards.support.colours import ACCENT, FAINT, GROUP_COLOURS, LINE_RED, NO_VALUE
from dashboards.support.looks import limited, plain, thin_labels

MOST_GROUPS = 16
"""Groups drawn; a histogram of more would be a tangle."""
MOST_IN_LEGEND = 9
"""Groups named in a legend; more would leave no room for the histogram."""
_FEW_GROUPS, _FEW_LETTERS, _LETTERS = 4, 28, 10
_FONTS = {"title": 10, "xlabel": 9, "ylabel": 9, "xticks": 8, "yticks": 8}


def colour_of(place: int) -> str:
    """Return the colour of a group by its place."""
    return GROUP_COLOURS[place % len(GROUP_COLOURS)]


def outline(edges: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners of a histogram drawn as one shape.

    Examples
    --------
    >>> outline(np.array([0, 1, 2]), np.array([3, 4]))[1].tolist()
    [0, 3, 3, 4, 4, 0]
    """
    x = np.repeat(edges, 2)
    return x, np.concatenate([[0], np.repeat(counts, 2), [0]])


def legend_labels(names: Sequence[str]) -> tuple[list[str], int]:
    """Return names short enough for a legend, and how many of them stand beside each other.

    Examples
    --------
    >>> legend_labels(["s1", "s2"])
    (['s1', 's2'], 3)
    >>> legend_labels([f"subject number {number}" for number in range(5)])[0][4]
    'subj…ber 4'
    """
    few = len(names) <= _FEW_GROUPS
    most = _FEW_LETTERS if few else _LETTERS
    labels = [name if len(name) <= most else f"{name[: most // 2 - 1]}…{name[-(most // 2) :]}" for name in names]
    return labels, 2 if few and max(map(len, labels), default=0) > _LETTERS else 3


class HistogramPicture:
    """Histograms of groups over that of all circles, which changes in place."""

    def __init__(self) -> None:
        self._limits: tuple | None = None
        self._element: hv.Points | None = None
        self._data: dict[str, dict[str, Any]] = {}
        self._label = ""
        self._legend = False

    def draw(self, histogram: ValueHistogram | None, behind: ValueHistogram | None = None) -> hv.Points:
        """Return the picture.

        Parameters
        ----------
        histogram
            Of the circles chosen, in groups; None for nothing.
        behind
            Of all, over the same bins.
        """
        self._data = histogram_data(histogram, behind)
        self._label = unit_of(histogram.settings["value"]) if histogram is not None else ""
        self._legend = histogram is not None and histogram.settings["by"] is not None
        x, y = histogram_limits(histogram, behind)
        if self._element is None or self._limits != (x, y, self._label):
            self._limits = (x, y, self._label)
            self._element = hv.Points([], ["value", "circles"]).opts(
                responsive=True, height=280, xlim=x, ylim=y, xlabel=self._label, ylabel="circles", fontsize=_FONTS,
                tools=["xbox_select"], active_tools=["xbox_select"], default_tools=["wheel_zoom", "reset"],
                hooks=[plain, thin_labels, limited(x, y), self._put],
            )  # fmt: skip
        return self._element

    def _put(self, plot: Any, element: Any) -> None:
        figure = plot.state
        if "drawn" not in plot.handles:
            plot.handles["drawn"] = _add_histogram(figure)
        drawn = plot.handles["drawn"]
        names = self._data["groups"]["group"]
        for name, data in self._data.items():
            drawn[name].data_source.data = data
        named = self._legend and len(names) <= MOST_IN_LEGEND
        drawn["legend"].update(items=[drawn["item"]] if named else [], ncols=legend_labels(names)[1])


def histogram_data(histogram: ValueHistogram | None, behind: ValueHistogram | None) -> dict[str, dict[str, Any]]:
    """Return histograms as shapes with colours and names."""
    groups: dict[str, list[Any]] = {name: [] for name in ("xs", "ys", "colour", "group", "told")}
    labels: list[str] = []
    if histogram is not None:
        rows = zip(histogram.table.itertuples(), histogram.counts, strict=True)
        for place, (row, counts) in enumerate(rows):
            if place >= MOST_GROUPS:
                break
            x, y = outline(histogram.edges, counts)
            told = f"{row.circles:,} circles in {row.experiments:,} experiments, mean {row.mean:.4g}, sd {row.sd:.3g}"
            for name, value in zip(groups, (x, y, colour_of(place), row.group, told), strict=True):
                groups[name].append(value)
        labels, _ = legend_labels(groups["group"])
    back: dict[str, list[Any]] = {"xs": [], "ys": []}
    if behind is not None and len(behind.counts):
        x, y = outline(behind.edges, behind.counts.sum(axis=0))
        back = {"xs": [x], "ys": [y]}
    return {"behind": back, "groups": groups | {"label": labels}}


def histogram_limits(histogram: ValueHistogram | None, behind: ValueHistogram | None) -> tuple[Any, Any]:
    """Return what of a histogram is seen."""
    of_groups = histogram is not None and histogram.counts.size
    if not of_groups and (behind is None or not behind.counts.size):
        return (0.0, 1.0), (0.0, 1.0)
    edges = (histogram if of_groups else behind).edges
    highest = max(each.counts.max() for each in (histogram, behind) if each is not None and each.counts.size)
    pad = 0.02 * (edges[-1] - edges[0])
    return (float(edges[0] - pad), float(edges[-1] + pad)), (0.0, float(highest * 1.08) or 1.0)


def _add_histogram(figure: Any) -> dict[str, Any]:
    back = figure.patches(
        "xs", "ys", source=ColumnDataSource({"xs": [], "ys": []}), name="behind", fill_color=NO_VALUE, fill_alpha=0.35,
        line_color=None,
    )  # fmt: skip
    empty: dict[str, list[Any]] = {name: [] for name in ("xs", "ys", "colour", "group", "label", "told")}
    groups = figure.patches(
        "xs", "ys", source=ColumnDataSource(empty), name="groups", fill_color="colour", fill_alpha=0.28,
        line_color="colour", line_width=1.5,
    )  # fmt: skip
    figure.add_tools(HoverTool(renderers=[groups], tooltips=[("group", "@group"), ("", "@told")]))
    item = LegendItem(label={"field": "label"}, renderers=[groups])
    legend = Legend(
        items=[], orientation="horizontal", ncols=3,
        label_text_font_size="8pt", glyph_width=12, label_standoff=4, spacing=6,
        background_fill_alpha=0, border_line_color=None, margin=0, padding=4,
    )  # fmt: skip
    figure.add_layout(legend, "above")
    return {"behind": back, "groups": groups, "legend": legend, "item": item}


class ChartPicture:
    """The control chart of one subject, which changes in place."""

    def __init__(self) -> None:
        self._limits: tuple | None = None
        self._element: hv.Points | None = None
        self._data: dict[str, dict[str, Any]] = {}
        self._dates: list[str] = []

    def draw(self, chart: ControlChart | None, subject: str = "") -> hv.Points:
        """Return the picture.

        Parameters
        ----------
        chart
            The chart; None for nothing.
        subject
            Whose points are drawn.
        """
        self._data, self._dates = chart_data(chart, subject)
        points = self._data["points"]
        shown = np.concatenate([np.asarray(points[name], float) for name in ("mean", "lower", "upper")])
        shown = shown[np.isfinite(shown)]
        low, high = (float(shown.min()), float(shown.max())) if len(shown) else (0.0, 1.0)
        pad = 0.08 * (high - low) or 0.5
        x, y = (-0.5, max(len(self._dates), 1) - 0.5), (low - pad, high + pad)
        label = unit_of(chart.settings["value"]) if chart is not None else ""
        whose = f"{subject}: " if subject not in ("", "all") else ""
        title = f"{whose}mean of experiments by date"
        if self._element is None or self._limits != (x, y, label, title):
            self._limits = (x, y, label, title)
            self._element = hv.Points([], ["date", "mean"]).opts(
                responsive=True, height=300, xlim=x, ylim=y, xlabel="", ylabel=label, fontsize=_FONTS, title=title,
                active_tools=[], default_tools=["xpan", "xwheel_zoom", "reset"],
                hooks=[plain, thin_labels, limited(x, y), self._put],
            )  # fmt: skip
        return self._element

    def _put(self, plot: Any, element: Any) -> None:
        figure = plot.state
        if "drawn" not in plot.handles:
            plot.handles["drawn"] = _add_chart(figure)
        for name, data in self._data.items():
            plot.handles["drawn"][name].data_source.data = data
        figure.xaxis.ticker = _ticks(len(self._dates))
        figure.xaxis.major_label_overrides = dict(enumerate(self._dates))
        figure.xaxis.major_label_orientation = 0.6 if len(self._dates) > 9 else 0.0


def _ticks(count: int) -> list[int]:
    step = max(1, -(-count // 40))
    return list(range(0, count, step))


def chart_data(chart: ControlChart | None, subject: str) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return the points of a subject with what is drawn around them, and the dates."""
    told = ("date", "mean", "lower", "upper", "centre", "experiments", "circles", "z")
    if chart is None or not len(chart.table):
        points: dict[str, Any] = {name: [] for name in ("x", "rules", "colour", "marker", *told)}
        limits: dict[str, Any] = {name: [] for name in ("x", "lower", "upper", "centre")}
        return {"points": points, "line": {"x": [], "mean": []}, "limits": limits}, []
    rows = chart.table[chart.table["subject"] == subject]
    place = np.arange(len(rows), dtype=float)
    broken = (rows["rules"] != "").to_numpy()
    points = {name: rows[name].to_numpy() for name in told}
    points |= {
        "x": place,
        "rules": np.where(broken, rows["rules"], "none").tolist(),
        "colour": np.where(broken, LINE_RED, ACCENT).tolist(),
        "marker": np.where(broken, "diamond", "circle").tolist(),
    }
    # limits are steps, as each date has its own
    edges = np.stack([place - 0.5, place + 0.5], axis=1).ravel()
    limits = {"x": edges} | {name: np.repeat(rows[name].to_numpy(float), 2) for name in ("lower", "upper", "centre")}
    line = {"x": place, "mean": points["mean"]}
    return {"points": points, "line": line, "limits": limits}, rows["date"].tolist()


def _add_chart(figure: Any) -> dict[str, Any]:
    def source(*names: str) -> ColumnDataSource:
        return ColumnDataSource({name: [] for name in names})

    limits = source("x", "lower", "upper", "centre")
    band = figure.varea("x", "lower", "upper", source=limits, name="limits", fill_color=FAINT, fill_alpha=0.14)
    figure.line("x", "centre", source=limits, line_color=FAINT, line_width=1.5)
    for name in ("lower", "upper"):
        figure.line("x", name, source=limits, line_color=FAINT, line_dash="dashed", line_width=1.2)
    line = figure.line("x", "mean", source=source("x", "mean"), line_color=ACCENT, line_alpha=0.9, line_width=1.5)
    points = figure.scatter(
        "x", "mean", source=source("x", "mean", "colour", "marker", "date", "rules", "experiments", "circles", "z"),
        fill_color="colour", line_color="#ffffff", line_width=0.8, marker="marker", size=12, name="points",
    )  # fmt: skip
    told = [
        ("date", "@date"), ("mean", "@mean{0.000}"), ("sigma from the centre", "@z{0.0}"), ("rules broken", "@rules"),
        ("experiments", "@experiments"), ("circles", "@circles"),
    ]  # fmt: skip
    figure.add_tools(HoverTool(renderers=[points], tooltips=told))
    return {"limits": band, "line": line, "points": points}
