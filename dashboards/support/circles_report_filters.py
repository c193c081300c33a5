"""Histograms of a report that are filtered without Python: names, ranges and groups, in the browser alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from bokeh.layouts import column, row
from bokeh.model import Model
from bokeh.models import ColumnDataSource, CustomJS, Div, HoverTool, Legend, LegendItem, RangeSlider, Select
from bokeh.plotting import figure as new_figure

from dashboards.support.circles_plots import MOST_GROUPS, MOST_IN_LEGEND, colour_of, histogram_data, histogram_limits
from dashboards.support.circles_statistics import Statistics
from dashboards.support.circles_words import unit_of
from dashboards.support.circles_work import Results
from dashboards.support.colours import NO_VALUE
from dashboards.support.looks import plain

_ALL, _NONE = "all", "none"
_MOST_LEVELS = 4
_FILTER = """
const columns = names.map(name => circles.get_column(name))
const wanted = choices.map((choice, place) => codes[place].indexOf(choice.value))
const values = [circles.get_column("value"), circles.get_column("other")]
const kept = []
for (let at = 0; at < values[0].length; at++) {
  let keep = true
  for (let place = 0; place < columns.length; place++) {
    if (wanted[place] >= 0 && columns[place][at] != wanted[place]) { keep = false; break }
  }
  for (let place = 0; keep && place < 2; place++) {
    const [low, high] = ranges[place].value
    const moved = low > ranges[place].start || high < ranges[place].end
    // a slider's ends are rounded to its steps
    if (moved && !(values[place][at] >= low && values[place][at] <= high)) { keep = false }
  }
  if (keep) { kept.push(at) }
}
const by = names.indexOf("level_" + (levels.indexOf(groups.value)))
const labels = by < 0 ? ["all"] : codes[by].slice(0, most)
for (let place = 0; place < 2; place++) {
  const edges = all_edges[place], bins = edges.length - 1
  const counts = labels.map(() => new Array(bins).fill(0))
  for (const at of kept) {
    const group = by < 0 ? 0 : columns[by][at]
    const value = values[place][at]
    if (group >= counts.length || !(value >= edges[0] && value <= edges[bins])) { continue }
    let low = 0, high = bins
    while (high - low > 1) {
      const middle = (low + high) >> 1
      if (value >= edges[middle]) { low = middle } else { high = middle }
    }
    counts[group][low] += 1
  }
  const data = {xs: [], ys: [], colour: [], group: [], label: [], told: []}
  counts.forEach((each, group) => {
    const total = each.reduce((sum, count) => sum + count, 0)
    if (total == 0) { return }
    const xs = [], ys = [0]
    for (const edge of edges) { xs.push(edge, edge) }
    for (const count of each) { ys.push(count, count) }
    ys.push(0)
    data.xs.push(xs); data.ys.push(ys); data.colour.push(colours[group % colours.length])
    data.group.push(labels[group]); data.told.push(total + " circles")
    const name = labels[group], letters = labels.length > 4 ? 10 : 28
    data.label.push(name.length <= letters ? name : name.slice(0, letters / 2 - 1) + "…" + name.slice(-letters / 2))
  })
  shapes[place].data = data
  // afterwards: a legend that changes at once draws shapes that are gone
  setTimeout(() => { legends[place].items = data.group.length <= most_in_legend ? [items[place]] : [] }, 50)
}
const numbers = values.map((each, place) => {
  const chosen = kept.map(at => each[at]).filter(value => !Number.isNaN(value))
  if (chosen.length == 0) { return titles[place] + ": none" }
  const mean = chosen.reduce((sum, value) => sum + value, 0) / chosen.length
  const spread = Math.sqrt(chosen.reduce((sum, value) => sum + (value - mean) ** 2, 0) / Math.max(chosen.length - 1, 1))
  return titles[place] + ": mean " + mean.toFixed(2) + ", sd " + spread.toFixed(2)
})
count.text = kept.length + " of " + values[0].length + " circles. " + numbers.join("; ") + "."
"""


def filtered_histograms(results: Results, made: Statistics, *, by: str | None) -> Model:
    """Return two histograms with choices of names, ranges and groups that work in the browser alone.

    Parameters
    ----------
    results
        Of the output folder.
    made
        What was counted, of all circles.
    by
        Level of the groups shown first.
    """
    circles, levels = results.circles, list(results.levels[:_MOST_LEVELS])
    values = [histogram.settings["value"] for histogram in made.histograms]
    codes = [results.names(level) for level in levels]
    places = {
        f"level_{number}": pd.Categorical(circles[level].astype(str), categories=names).codes.astype(np.int32)
        for number, (level, names) in enumerate(zip(levels, codes, strict=True))
    }
    data = {name: circles[column].to_numpy(float) for name, column in zip(("value", "other"), values, strict=True)}
    source = ColumnDataSource({**data, **places})
    drawn = [_histogram(made, place) for place in (0, 1)]
    # a name called "all" would be taken for the choice of all
    choices = [Select(title=level, options=[_ALL, *(n for n in names if n != _ALL)], value=_ALL, width=150)
               for level, names in zip(levels, codes, strict=True)]  # fmt: skip
    groups = Select(title="Groups", options=[_NONE, *levels], value=by if by in levels else _NONE, width=150)
    ranges = [_range(circles[name].to_numpy(float), name) for name in values]
    count = Div(text=f"{len(circles)} circles.", render_as_text=True, sizing_mode="stretch_width")
    refresh = CustomJS(
        args={
            "circles": source, "names": list(places), "choices": choices, "codes": codes, "levels": levels,
            "groups": groups, "ranges": ranges, "most": MOST_GROUPS, "most_in_legend": MOST_IN_LEGEND,
            "legends": [figure.legend[0] for figure, _, _ in drawn], "items": [item for _, _, item in drawn],
            "count": count,
            "shapes": [shapes for _, shapes, _ in drawn], "titles": [unit_of(name) for name in values],
            "all_edges": [histogram.edges.tolist() for histogram in made.histograms],
            "colours": [colour_of(place) for place in range(MOST_GROUPS)],
        },
        code=_FILTER,
    )  # fmt: skip
    for widget in (*choices, groups, *ranges):
        widget.js_on_change("value", refresh)
    return column(
        row(*choices, groups, sizing_mode="stretch_width", styles={"flex-wrap": "wrap"}),
        row(*ranges, sizing_mode="stretch_width"),
        count,
        *(figure for figure, _, _ in drawn),
        sizing_mode="stretch_width",
    )


def _range(values: np.ndarray, name: str) -> RangeSlider:
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    step = 10.0 ** np.floor(np.log10(max(high - low, 1e-9) / 100))
    # whole steps around all values, so that the ends leave nothing out
    low, high = float(np.floor(low / step) * step), float(np.ceil(high / step) * step)
    high = high if high > low else low + step
    return RangeSlider(
        start=low, end=high, value=(low, high), step=step, title=f"Keep {unit_of(name)}", sizing_mode="stretch_width",
        format="0.00", margin=(5, 20, 5, 5),
    )  # fmt: skip


def _histogram(made: Statistics, place: int) -> tuple[Model, ColumnDataSource, LegendItem]:
    histogram, behind = made.histograms[place], made.behind[place]
    x, y = histogram_limits(histogram, behind)
    label = unit_of(histogram.settings["value"])
    figure = new_figure(
        height=250, sizing_mode="stretch_width", x_range=x, y_range=y, x_axis_label=label, y_axis_label="circles",
        tools="xwheel_zoom,reset",
    )  # fmt: skip
    plain(_Plot(figure), None)
    # what is clear keeps traces of the page's first width
    figure.update(background_fill_alpha=1.0, border_fill_alpha=1.0, border_fill_color="#ffffff")
    data = histogram_data(histogram, behind)
    figure.patches(
        "xs", "ys", source=ColumnDataSource(data["behind"]), fill_color=NO_VALUE, fill_alpha=0.35, line_color=None
    )
    shapes = ColumnDataSource(data["groups"])
    drawn = figure.patches(
        "xs", "ys", source=shapes, name=f"groups {place}", fill_color="colour", fill_alpha=0.28, line_color="colour",
        line_width=1.5,
    )  # fmt: skip
    figure.add_tools(HoverTool(renderers=[drawn], tooltips=[("group", "@group"), ("", "@told")]))
    item = LegendItem(label={"field": "label"}, renderers=[drawn])
    legend = Legend(
        items=[item] if len(data["groups"]["group"]) <= MOST_IN_LEGEND else [], orientation="horizontal", ncols=3,
        label_text_font_size="8pt", glyph_width=12, label_standoff=4, spacing=6,
        border_line_color=None, margin=0, padding=4,
    )  # fmt: skip
    figure.add_layout(legend, "above")
    return figure, shapes, item


class _Plot:
    """What the hook of all plots wants: something that has a figure."""

    def __init__(self, figure: Any) -> None:
        self.state = figure
