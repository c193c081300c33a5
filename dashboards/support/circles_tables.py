"""Tables of the circles page: long ones of which the browser gets one page, with names that are never HTML."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import panel as pn
from bokeh.models.widgets.tables import NumberFormatter

from dashboards.support.circles_words import unit_of
from dashboards.support.parts import words
from dashboards.support.tabs import _TABLE_LOOK

_ROWS = 20
_NARROW_PX = 84
_NARROW = """
:host .tabulator { font-size: 12px; }
:host .tabulator .tabulator-header .tabulator-col .tabulator-col-content { padding: 4px; }
:host .tabulator .tabulator-header .tabulator-col .tabulator-col-content .tabulator-col-sorter { display: none; }
:host .tabulator .tabulator-header .tabulator-col.tabulator-sortable .tabulator-col-title { padding-right: 2px; }
:host .tabulator .tabulator-row .tabulator-cell { padding: 5px 4px; }
"""
_DIGITS = {
    "Support": 2, "support": 2, "p_value": 4, "holm_p_value": 4, "hedges_g": 2, "seconds": 2, "z": 1,
    "Area (px²)": 0, "Integrated Intensity": 0,
}  # fmt: skip


def show_rows(
    place: pn.Column,
    frame: pd.DataFrame,
    *,
    empty: str = "Nothing.",
    clicked: Callable[[int], None] | None = None,
    headings: Mapping[str, str] | None = None,
    rows: int = _ROWS,
    narrow: bool = False,
) -> None:
    """Show a table in pages; an empty one is said in words.

    Parameters
    ----------
    place
        Where.
    frame
        The table.
    empty
        What is said when there is no row.
    clicked
        Called with the row that is clicked.
    headings
        Of columns; by default their names with units.
    rows
        On a page.
    narrow
        Spare room beside the numbers.
    """
    if frame.empty:
        place[:] = [words(empty, muted=True)]
        return
    shown = frame.reset_index(drop=True)
    told = {name: (headings or {}).get(name, unit_of(str(name)).replace("_", " ")) for name in shown.columns}
    formatters = {
        name: NumberFormatter(format=f"0.{'0' * _DIGITS.get(name, 2)}".rstrip("."), text_align="right", nan_format="–")
        for name in shown.columns
        if pd.api.types.is_float_dtype(shown[name])
    }
    # a new widget each time: one on a tab not opened yet does not bear new columns
    table = pn.widgets.Tabulator(
        shown,
        # the headings are HTML to the table, and levels are named by people
        titles={name: html.escape(title) for name, title in told.items()},
        formatters=formatters,
        show_index=False,
        disabled=True,
        pagination="remote" if len(shown) > rows else None,
        page_size=rows,
        theme="simple",
        layout="fit_data_table",
        # long names leave room for what stands behind them
        configuration={"columnDefaults": {"maxWidth": _NARROW_PX}} if narrow else {},
        stylesheets=[_TABLE_LOOK, *([_NARROW] if narrow else [])],
        sizing_mode="stretch_width",
    )
    if clicked is not None:
        table.on_click(lambda event: clicked(event.row))
    place[:] = [table]


def tick(value: Any) -> str:
    """Return true as a word, false as nothing."""
    return "yes" if value else ""
