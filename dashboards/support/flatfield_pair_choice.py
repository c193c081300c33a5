"""Two slides chosen by name, for who cannot click a cell of the matrix or knows what to look for."""

from __future__ import annotations

from typing import Any

import panel as pn
import panel_material_ui as pmui

from dashboards.support.jobs import gently

_NONE = "choose one"


def pair_choice(dashboard: Any) -> pn.viewable.Viewable:
    """Return two choices of slides, which follow what is clicked in the matrix and choose as a click does.

    Parameters
    ----------
    dashboard
        The flatfield page.
    """
    first, second = (
        pmui.Select(label=label, options=[_NONE], value=_NONE, size="small", sizing_mode="stretch_width", margin=(4, 6))
        for label in ("Slide", "Against slide")
    )
    following: list[bool] = []  # holds something while the choices are changed by us

    @gently
    def follow(*_: Any) -> None:
        slides = dashboard.result.slides if dashboard.result is not None else None
        if slides is None or not len(slides):
            return
        options = {_NONE: None, **{slides.labels[index]: int(index) for index in dashboard.order()}}
        following.append(True)
        for select, index in zip((first, second), dashboard.chosen or (None, None), strict=True):
            # one alone stays until the other is chosen too
            kept = index if dashboard.chosen is not None else select.value
            if select.options != options:
                select.options = options
            select.value = kept if kept in options.values() else None
        following.pop()

    def choose(*_: Any) -> None:
        if following or first.value == second.value or not all(isinstance(each.value, int) for each in (first, second)):
            return
        dashboard.chosen = (first.value, second.value)

    for select in (first, second):
        select.param.watch(choose, "value")
    dashboard.param.watch(follow, ["result", "chosen", "sort_by"])
    follow()
    return pmui.Row(first, second, sizing_mode="stretch_width")
