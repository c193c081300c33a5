"""Figures of corrections that the texture page and its report share, and the look of all figures of the two."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from bokeh.models import ColumnDataSource, FixedTicker
from bokeh.plotting import figure as new_figure
from panel.io import unlocked
from panel.io.state import set_curdoc

from dashboards.support.colours import ACCENT
from dashboards.support.looks import plain

LINE_SHOWN = "#c1121f"
"""Colour of what a person should see: the cell shown, patches that are not sure."""
UNSURE = 0.6
"""Classes that are less sure than this should be looked at."""


def quiet_figure(*, solid: bool = False, **options: Any) -> Any:
    """Return an empty Bokeh figure with the look of all plots.

    Parameters
    ----------
    solid
        Whether its ground is white, as a report wants it: what is clear keeps traces of the first width there.
    **options
        Of `bokeh.plotting.figure`.
    """
    options = {"sizing_mode": "stretch_width", "tools": "reset", "toolbar_location": "right", **options}
    figure = new_figure(**options)
    plain(_Plot(figure), None)
    if solid:
        figure.update(background_fill_alpha=1.0, border_fill_alpha=1.0, border_fill_color="#ffffff")
    figure.axis.major_label_text_font_size = "8pt"
    figure.axis.axis_label_text_font_size = "9pt"
    return figure


class _Plot:
    """What the hook of all plots wants: something that has a figure."""

    def __init__(self, figure: Any) -> None:
        self.state = figure


@contextlib.contextmanager
def changing(figure: Any) -> Iterator[None]:
    """Change a figure that may be on a served page; after waiting for a thread nobody holds its document.

    Parameters
    ----------
    figure
        Of Bokeh.
    """
    document = figure.document
    if document is None or document.session_context is None:
        yield
        return
    with set_curdoc(document), unlocked():
        yield


class SurenessPicture:
    """How many patches are how sure, without those that were labelled by hand.

    Parameters
    ----------
    solid
        See `quiet_figure`.
    """

    def __init__(self, *, solid: bool = False) -> None:
        self.figure = quiet_figure(
            height=200, solid=solid, x_range=(0.0, 1.0), x_axis_label="sureness (share of the trees)",
            y_axis_label="patches", tools="",
        )  # fmt: skip
        self.figure.y_range.start = 0
        self._source = ColumnDataSource({name: [] for name in ("left", "right", "top", "colour")})
        self.figure.quad(
            left="left", right="right", top="top", bottom=0, source=self._source, fill_color="colour",
            line_color=None, name="sureness",
        )  # fmt: skip

    def draw(self, correction: Any, unsure: float) -> None:
        """Show how sure the classes are.

        Parameters
        ----------
        correction
            Of `analysis.texture.correct_labels`; None for nothing.
        unsure
            Patches below are drawn in a warning colour.
        """
        edges = np.linspace(0, 1, 21)
        counts = np.zeros(20, int)
        if correction is not None:
            guessed = (correction.numbers > 0) & ~correction.labelled
            counts, _ = np.histogram(correction.sureness[guessed], bins=edges)
        with changing(self.figure):
            self._source.data = {
                "left": edges[:-1] + 0.002, "right": edges[1:] - 0.002, "top": counts,
                "colour": [LINE_SHOWN if right <= unsure + 1e-9 else ACCENT for right in edges[1:]],
            }  # fmt: skip


class ImportancePicture:
    """Which statistics the forest found most useful.

    Parameters
    ----------
    solid
        See `quiet_figure`.
    """

    def __init__(self, *, solid: bool = False) -> None:
        self.figure = quiet_figure(
            height=200, solid=solid, x_axis_label="importance (all add up to 1)", y_range=(-0.5, 0.5), tools=""
        )
        self.figure.x_range.start = 0
        self._source = ColumnDataSource({"y": [], "right": []})
        self.figure.hbar(
            y="y", right="right", height=0.7, source=self._source, fill_color=ACCENT, line_color=None, name="importance"
        )
        self.figure.yaxis[0].ticker = FixedTicker(ticks=[])

    def draw(self, importance: pd.DataFrame, most: int = 12) -> None:
        """Show the most useful ones.

        Parameters
        ----------
        importance
            ``statistic, importance``, the most useful first.
        most
            How many.
        """
        kept = importance.head(most).iloc[::-1]
        with changing(self.figure):
            self._source.data = {"y": list(range(len(kept))), "right": kept["importance"].tolist()}
            self.figure.y_range.update(start=-0.5, end=max(len(kept), 1) - 0.5)
            self.figure.yaxis[0].ticker.ticks = list(range(len(kept)))
            self.figure.yaxis[0].major_label_overrides = dict(enumerate(kept["statistic"].tolist()))
            self.figure.height = 70 + 20 * max(len(kept), 4)
