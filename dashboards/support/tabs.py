"""Tabs of a page: pictures that change in place when somebody looks, tables, and what stands where nothing is yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import holoviews as hv
import pandas as pd
import panel as pn
import panel_material_ui as pmui
from bokeh.models.widgets.tables import NumberFormatter

from dashboards.support.jobs import gently
from dashboards.support.loading import draw_soon
from dashboards.support.parts import words

_TABLE_ROWS = 20


class Shown:
    """One tab: what is drawn on it waits until a person looks at it.

    A plot that changes on a tab never opened fails in the browser, and drawing what nobody sees costs time. Words must
    not wait: those that change while a tab opens are lost on the way.
    """

    def __init__(self, tabs: pmui.Tabs, place: int):
        self._tabs, self._place = tabs, place
        self._waiting: dict[Callable[..., None], None] = {}
        tabs.param.watch(self._catch_up, "active")

    def __call__(self, draw: Callable[..., None]) -> Callable[..., None]:
        """Return a callback that draws now, or when the tab is opened."""

        def drawn_or_waiting(*_: Any) -> None:
            if self._tabs.active == self._place:
                draw()
            else:
                self._waiting[draw] = None

        return drawn_or_waiting

    def _catch_up(self, *_: Any) -> None:
        if self._tabs.active == self._place:
            waiting, self._waiting = self._waiting, {}
            for draw in waiting:
                draw()


def live(
    draw: Callable[[], Any],
    dashboard: Any,
    on: list[str],
    shown: Shown,
    *,
    unless_same: Callable[[], Any] | None = None,
) -> hv.DynamicMap:
    """A picture that is drawn again in place, so that the zoom stays, when one of some parameters changes.

    Parameters
    ----------
    draw
        Returns the picture.
    dashboard
        Whose parameters they are.
    on
        Their names.
    shown
        Whether its tab is open.
    unless_same
        Returns what the picture is made of; where that is as before, it is not drawn and not sent again.
    """
    pipe, last = hv.streams.Pipe(data=0), []

    def drawn(data: int) -> Any:
        last[:] = [unless_same()] if unless_same is not None else []
        return draw()

    def redraw() -> None:
        if unless_same is None or last != [unless_same()]:
            pipe.send(pipe.data + 1)

    dashboard.param.watch(shown(lambda: draw_soon(redraw)), on)
    return hv.DynamicMap(drawn, streams=[pipe])


def pane(element: Any = None, **options: Any) -> pn.pane.HoloViews:
    """Return a place for a picture, as wide as there is room, whose axes are its own."""
    return pn.pane.HoloViews(element, linked_axes=False, sizing_mode="stretch_width", **options)


def either(dashboard: Any, on: list[str], shown: Callable[[], bool], content: Any, otherwise: Any) -> pn.Column:
    """Show the content when there is something to show, and what to do otherwise.

    Both are on the page from the start, because a plot added later fails now and then in the browser.
    """

    @gently
    def refresh(*_: Any) -> None:
        content.visible = shown()
        otherwise.visible = not content.visible

    dashboard.param.watch(refresh, on)
    refresh()
    return pn.Column(content, otherwise, sizing_mode="stretch_width")


_TABLE_LOOK = """
:host .tabulator { font-size: 13px; background: none; border: none; }
:host .tabulator .tabulator-header, :host .tabulator .tabulator-header .tabulator-col { background: none; }
:host .tabulator .tabulator-row { min-height: 0; }
:host .tabulator .tabulator-row .tabulator-cell { padding: 5px 10px; }
:host .tabulator .tabulator-row:focus-visible { outline: 2px solid currentColor; outline-offset: -2px; }
"""


def show_table(place: pn.Column, frame: pd.DataFrame) -> None:
    """Show a table with plain headings and four decimals; an empty one is said in words."""
    if frame.empty:
        place[:] = [words("Nothing.", muted=True)]
        return
    formatters = {
        name: NumberFormatter(format="0.0000", text_align="right")
        for name in frame.columns
        if pd.api.types.is_float_dtype(frame[name])
    }
    # a new widget each time: one on a tab not opened yet does not bear new columns
    place[:] = [
        pn.widgets.Tabulator(
            frame,
            titles={name: str(name).replace("_", " ") for name in frame.columns},
            formatters=formatters,
            show_index=False,
            disabled=True,
            pagination="remote" if len(frame) > _TABLE_ROWS else None,
            page_size=_TABLE_ROWS,
            theme="simple",
            layout="fit_data_table",
            stylesheets=[_TABLE_LOOK],
            sizing_mode="stretch_width",
        )
    ]
