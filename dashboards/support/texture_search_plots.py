"""Scores of a search as lines and as a table of slices and clusters: figures that change in place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from bokeh.models import ColorBar, ColumnDataSource, FixedTicker, HoverTool, Legend, LegendItem, LinearColorMapper
from bokeh.palettes import Viridis256

from dashboards.support.colours import FAINT, GROUP_COLOURS, NO_VALUE
from dashboards.support.texture_plots import LINE_SHOWN, changing, quiet_figure
from dashboards.support.texture_words import cell_words, scores_words, short, slices_words

SCORE_WORDS = {
    "silhouette": "silhouette",
    "stability": "stability",
    "bic": "BIC (lower is better)",
    "inertia": "inertia (always falls)",
}
"""Scores as axes name them."""
AGAINST = {"clusters": "number of clusters", "components": "principal components", "slices": "patches along a tile"}
"""Settings that a score is drawn against."""
MOST_LINES = 12
"""Lines drawn; more would be a tangle."""
_CELL_PX, _MOST_CELL_PX = 40, 520
# the darkest fifth would be lost on a dark page, and white words on the lightest
_PALETTE = Viridis256[30:]
_DASHES = ("solid", "dashed", "dotted")


# ---- a score against one setting -------------------------------------------------------------------------


def against_of(table: pd.DataFrame) -> list[str]:
    """Return the settings that have more than one value in a search, all when none has.

    Parameters
    ----------
    table
        Of `analysis.texture.Search`.
    """
    several = [name for name in AGAINST if len(table[_columns(name)].drop_duplicates()) > 1]
    return several or list(AGAINST)


def _columns(setting: str) -> list[str]:
    return ["rows", "columns"] if setting == "slices" else [setting]


def make_lines(
    table: pd.DataFrame, score: str, against: str, *, components: int, grid: tuple[int, int]
) -> list[dict[str, Any]]:
    """Return a line for each number of clusters, or for each grid when it is drawn against clusters.

    Parameters
    ----------
    table
        Of `analysis.texture.Search`.
    score
        Column drawn upwards.
    against
        Of `AGAINST`; along slices stands the root of their number.
    components
        Which cells are drawn, unless it is against components.
    grid
        (rows, columns) of the cells that are drawn against components.

    Returns
    -------
    list of dict
        ``label, x, y, told``.
    """
    if against == "components":
        chosen = table[(table["rows"] == grid[0]) & (table["columns"] == grid[1])]
    else:
        chosen = table[table["components"] == components]
    lines = []
    for values, part in chosen.groupby(["rows", "columns"] if against == "clusters" else ["clusters"], sort=True):
        x = np.sqrt(part["rows"] * part["columns"]) if against == "slices" else part[against]
        order = np.argsort(x.to_numpy(), kind="stable")
        lines.append(
            {
                "label": slices_words(*values) if against == "clusters" else f"{values[0]} clusters",
                "x": x.to_numpy(float)[order],
                "y": part[score].to_numpy(float)[order],
                "told": [cell_words(row) for row in part.iloc[order].to_dict("records")],
            }
        )
    return lines


class SearchLines:
    """A score against clusters, components or slices, with a line for each value of the other settings.

    Parameters
    ----------
    solid
        See `quiet_figure`.
    """

    def __init__(self, *, solid: bool = False) -> None:
        self.figure = quiet_figure(height=290, solid=solid, x_range=(0, 1), y_range=(0, 1))
        self._lines = ColumnDataSource({name: [] for name in ("xs", "ys", "colour", "dash", "label")})
        self._points = ColumnDataSource({name: [] for name in ("x", "y", "colour", "told", "value")})
        drawn = self.figure.multi_line(
            "xs", "ys", source=self._lines, line_color="colour", line_width=1.8, line_dash="dash", name="lines"
        )
        points = self.figure.scatter("x", "y", source=self._points, color="colour", size=7, name="points")
        self.figure.add_tools(HoverTool(renderers=[points], tooltips=[("", "@told"), ("score", "@value")]))
        item = LegendItem(label={"field": "label"}, renderers=[drawn])
        self._legend = Legend(
            items=[item], visible=False, ncols=4, orientation="horizontal", label_text_font_size="8pt", glyph_width=18,
            label_standoff=4, spacing=6, border_line_color=None, background_fill_alpha=0, margin=0, padding=4,
        )  # fmt: skip
        self.figure.add_layout(self._legend, "above")
        self.figure.xaxis.ticker = FixedTicker(ticks=[])

    def draw(
        self, table: pd.DataFrame, score: str, against: str, *, components: int, grid: tuple[int, int], title: str = ""
    ) -> int:
        """Show a score, and return how many lines were left out.

        Parameters
        ----------
        table
            Of `analysis.texture.Search`.
        score
            Of `analysis.texture.SCORES`.
        against
            Of `AGAINST`.
        components, grid
            See `make_lines`.
        title
            Above the figure.
        """
        lines = make_lines(table, score, against, components=components, grid=grid)
        kept = lines[:MOST_LINES]
        colours = [GROUP_COLOURS[place % len(GROUP_COLOURS)] for place in range(len(kept))]
        dashes = [_DASHES[place // len(GROUP_COLOURS)] for place in range(len(kept))]
        points = [
            (x, y, colour, told)
            for line, colour in zip(kept, colours, strict=True)
            for x, y, told in zip(line["x"], line["y"], line["told"], strict=True)
            if math.isfinite(y)
        ]
        xs = sorted({float(x) for line in kept for x in line["x"]})
        names = _slice_names(table) if against == "slices" else {}
        if against == "components":
            names = {0.0: "all"}
        with changing(self.figure):
            self._lines.data = {
                "xs": [line["x"] for line in kept], "ys": [line["y"] for line in kept], "colour": colours,
                "dash": dashes, "label": [line["label"] for line in kept],
            }  # fmt: skip
            self._points.data = {
                "x": [each[0] for each in points], "y": [each[1] for each in points],
                "colour": [each[2] for each in points], "told": [each[3] for each in points],
                "value": [short(each[1]) for each in points],
            }  # fmt: skip
            self._legend.visible = len(kept) > 1
            self.figure.title.text = title
            _set_range(self.figure.x_range, xs)
            _set_range(self.figure.y_range, [each[1] for each in points])
            axis = self.figure.xaxis[0]
            axis.ticker.ticks = xs
            axis.major_label_overrides = {x: names.get(x, f"{x:g}") for x in xs}
            axis.axis_label = AGAINST[against]
            self.figure.yaxis[0].axis_label = SCORE_WORDS[score]
        return len(lines) - len(kept)


def _slice_names(table: pd.DataFrame) -> dict[float, str]:
    grids = table[["rows", "columns"]].drop_duplicates()
    return {
        float(np.sqrt(rows * columns)): slices_words(rows, columns)
        for rows, columns in grids.itertuples(index=False)
    }  # fmt: skip


def _set_range(axis: Any, values: Sequence[float]) -> None:
    low, high = (min(values), max(values)) if len(values) else (0.0, 1.0)
    margin = 0.06 * (high - low) or max(abs(high), 1.0) * 0.1
    ends = {"start": low - margin, "end": high + margin}
    axis.update(**ends, reset_start=ends["start"], reset_end=ends["end"])


# ---- slices x clusters -----------------------------------------------------------------------------------


class SearchCells:
    """Slices against clusters, coloured by a score; a cell that is clicked can open its heat map.

    Parameters
    ----------
    solid
        See `quiet_figure`.
    """

    def __init__(self, *, solid: bool = False) -> None:
        self.figure = quiet_figure(height=240, solid=solid, x_range=(0, 1), y_range=(0, 1), tools="")
        names = ("x", "y", "colour", "hatch", "words", "ink", "told", "line", "why", "row")
        self._source = ColumnDataSource({name: [] for name in names})
        self._mapper = LinearColorMapper(palette=_PALETTE, low=0, high=1)
        drawn = self.figure.rect(
            "x", "y", width=0.94, height=0.9, source=self._source, fill_color="colour", hatch_pattern="hatch",
            hatch_color=FAINT, hatch_alpha=0.6, line_color="line", line_width=3, name="cells",
        )  # fmt: skip
        self.figure.text(
            "x", "y", text="words", text_color="ink", source=self._source, text_align="center",
            text_baseline="middle", text_font_size="9pt",
        )  # fmt: skip
        self.figure.add_tools(HoverTool(renderers=[drawn], tooltips=[("", "@told"), ("", "@why")]))
        bar = ColorBar(
            color_mapper=self._mapper, width=10, padding=6, bar_line_color=None, major_tick_line_color=None,
            background_fill_alpha=0, major_label_text_font_size="8pt",
        )  # fmt: skip
        self.figure.add_layout(bar, "right")
        for axis, label in zip(self.figure.axis, ("clusters asked for", "patches a tile"), strict=True):
            axis.ticker = FixedTicker(ticks=[])
            axis.axis_label = label

    def draw(
        self, table: pd.DataFrame, score: str, components: int, shown: tuple[int, ...] | None, *, title: str = ""
    ) -> None:
        """Show a score.

        Parameters
        ----------
        table
            Of `analysis.texture.Search`.
        score
            Of `analysis.texture.SCORES`.
        components
            Which cells, where a search has several.
        shown
            Rows, columns, clusters and components of the heat map shown, which gets an outline; None for none.
        title
            Above the figure.
        """
        part = table[table["components"] == components]
        grids = part[["rows", "columns"]].drop_duplicates().sort_values(["rows", "columns"])
        grids = list(grids.itertuples(index=False, name=None))
        counts = sorted(part["clusters"].unique().tolist())
        values = part[score].to_numpy(float)
        known = values[np.isfinite(values)]
        low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
        span = high - low if high > low else 1.0
        data: dict[str, list[Any]] = {name: [] for name in self._source.data}
        for number, row in zip(part.index, part.to_dict("records"), strict=True):
            value = row[score]
            share = (value - low) / span if math.isfinite(value) else math.nan
            empty = not math.isfinite(share)
            here = (row["rows"], row["columns"], row["clusters"], row["components"]) == shown
            told = {
                "x": counts.index(row["clusters"]), "y": grids.index((row["rows"], row["columns"])),
                "colour": NO_VALUE if empty else _PALETTE[round(share * (len(_PALETTE) - 1))],
                "hatch": "right_diagonal_line" if empty else " ",
                "words": short(value), "ink": "#1c2430" if empty or share > 0.55 else "#ffffff",
                "told": cell_words(row), "line": LINE_SHOWN if here else "rgba(0,0,0,0)",
                "why": row["error"] or (scores_words(row) if math.isfinite(value) else "This score was not measured."),
                "row": int(number),
            }  # fmt: skip
            for name, each in told.items():
                data[name].append(each)
        with changing(self.figure):
            self._source.data = data
            self.figure.title.text = title
            self._mapper.update(low=low, high=low + span)
            ends = ((self.figure.x_range, len(counts)), (self.figure.y_range, len(grids)))
            for plotted, size in ends:
                plotted.update(start=-0.5, end=size - 0.5)
            labels = ([str(count) for count in counts], [slices_words(*grid) for grid in grids])
            for axis, words in zip(self.figure.axis, labels, strict=True):
                axis.ticker.ticks = list(range(len(words)))
                axis.major_label_overrides = dict(enumerate(words))
            self.figure.height = min(90 + _CELL_PX * max(len(grids), 2), _MOST_CELL_PX)

    def row_at(self, x: float, y: float) -> int | None:
        """Return the row of the search's table that is drawn at a place; None where there is none.

        Parameters
        ----------
        x, y
            Of a click, in the figure's own units.
        """
        places = zip(self._source.data["x"], self._source.data["y"], self._source.data["row"], strict=True)
        return next((row for at_x, at_y, row in places if abs(at_x - x) <= 0.5 and abs(at_y - y) <= 0.5), None)
