"""The table tab of the texture page: sizes of the clusters, and all patches, of which the browser gets one page."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd
import panel as pn
import panel_material_ui as pmui

from analysis.texture import PLACE_COLUMNS
from dashboards.support.jobs import gently
from dashboards.support.parts import card, say, words
from dashboards.support.statement import count_of
from dashboards.support.tabs import Shown
from dashboards.support.texture_tables import make_table, safe_csv, show_frame

_WIDE = {"size": "small", "sizing_mode": "stretch_width"}
_ALL, _NONE = "all", "none"
_COUNTED = {"that count": "count", "left out": "out", "all": "all"}
_PLACES = ("name", "row", "column")
_LAST = ("left_out", "why")
MOST_DOWNLOADED = 100_000
"""Rows that are taken along from here; making more of them into text would keep other visitors waiting."""


def build_table_tab(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
    """Return the sizes of clusters and classes, and the table of patches with filters and a download.

    Parameters
    ----------
    dashboard
        The page.
    shown
        The tab.
    """
    return pmui.Column(
        _sizes_card(dashboard, shown), _PatchTable(dashboard, shown).panel(), sizing_mode="stretch_width",
        margin=(12, 0),
    )  # fmt: skip


def _sizes_card(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
    place = pn.Column(sizing_mode="stretch_width")
    line = words("", muted=True)

    def draw(*_: Any) -> None:
        found = dashboard.found
        if found is None:
            place[:] = []
            return
        sizes = found.sizes
        show_frame(place, sizes.assign(cluster=[found.names[number] for number in sizes["cluster"]]))

    def tell(*_: Any) -> None:
        found = dashboard.found
        if found is None:
            said = "Nothing is clustered yet."
        else:
            outside = int((found.numbers < 0).sum() - found.patches.table["left_out"].sum())
            said = "The mean of each statistic, over the patches of each cluster."
            said += f" {count_of(outside, 'patch')} in no cluster." if outside > 0 else ""
        say(line, said)

    dashboard.param.watch(tell, ["found"])
    dashboard.param.watch(shown(draw), ["found"])
    tell()
    shown(draw)()
    return card(line, place, title="Sizes of clusters")


# ---- patches ---------------------------------------------------------------------------------------------


def patch_table(dashboard: Any) -> pd.DataFrame:
    """Return one row a patch: place, statistics, cluster, class, sureness, and why it is left out.

    Parameters
    ----------
    dashboard
        The page.
    """
    patches, found, correction = dashboard.patches, dashboard.found, dashboard.correction
    if patches is None:
        return pd.DataFrame()
    added: dict[str, Any] = {}
    if found is not None and found.patches is patches:
        added["cluster"] = found.numbers
    if correction is not None and correction.patches is patches:
        added |= {name: correction.table[name] for name in ("class", "sureness", "labelled")}
    statistics = patches.table[list(patches.statistics)]
    return pd.concat(
        [patches.table[list(PLACE_COLUMNS)], pd.DataFrame(added, index=patches.table.index), statistics,
         patches.table[list(_LAST)]],
        axis=1,
    )  # fmt: skip


def choose_rows(
    table: pd.DataFrame, *, cluster: str = _ALL, named: str = _ALL, file: str = _ALL, counted: str = "all",
    only: list[int] | None = None,
) -> np.ndarray:  # fmt: skip
    """Return the rows that filters leave.

    Parameters
    ----------
    table
        As `patch_table` returns it.
    cluster
        Its number as a word, ``"all"``, or ``"none"``.
    named
        A class, ``"all"``, or ``"none"`` for patches without one.
    file
        Name of a file, or ``"all"``.
    counted
        ``"count"``, ``"out"`` or ``"all"``.
    only
        Rows that are selected; None for all.
    """
    kept = np.ones(len(table), bool)
    if counted != "all":
        kept &= table["left_out"].to_numpy() == (counted == "out")
    if cluster != _ALL and "cluster" in table:
        kept &= table["cluster"].to_numpy() == (-1 if cluster == _NONE else int(cluster))
    if named != _ALL and "class" in table:
        kept &= (table["class"] == ("" if named == _NONE else named)).to_numpy()
    if file != _ALL:
        kept &= (table["name"] == file).to_numpy()
    if only is not None:
        chosen = np.zeros(len(table), bool)
        chosen[[row for row in only if row < len(table)]] = True
        kept &= chosen
    return np.flatnonzero(kept)


class _PatchTable:
    """The table of patches with its filters."""

    def __init__(self, dashboard: Any, shown: Shown) -> None:
        self._dashboard = dashboard
        self._place = pn.Column(sizing_mode="stretch_width")
        self._line = words("", muted=True, margin=(8, 4))
        self._cluster, self._class, self._file = (
            pmui.Select(label=label, options=[_ALL], value=_ALL, **_WIDE) for label in ("cluster", "class", "file")
        )
        self._counted = pmui.Select(label="patches", options=_COUNTED, value="count", **_WIDE)
        self._selected = pmui.Switch(label="Only what is selected", value=False, margin=(8, 10))
        self._download = pmui.FileDownload(
            callback=self._content, filename="patches.csv", label="Download what is shown (CSV)", margin=(4, 10, 4, 0)
        )
        self._all, self._rows, self._following = pd.DataFrame(), np.empty(0, int), False
        self._draw_later = shown(self._draw)
        for widget in (self._cluster, self._class, self._file, self._counted, self._selected):
            widget.param.watch(self._chosen, "value")
        dashboard.param.watch(shown(self._refresh), ["patches", "found", "correction"])
        dashboard.param.watch(self._marked, ["selected"])
        self._allow = gently(self._allow_now)
        shown(self._refresh)()
        self._allow()

    def panel(self) -> pn.viewable.Viewable:
        """Return filters, table, and the download."""
        hint = words("A click on a row selects the patch on the heat map. Sorted by a click on a heading.", muted=True)
        return card(
            pmui.Row(self._cluster, self._class, self._file, self._counted, sizing_mode="stretch_width"),
            pmui.Row(self._selected, self._download, self._line, sizing_mode="stretch_width"),
            hint, self._place,
            title="Patches", margin=(12, 0),
        )  # fmt: skip

    def _refresh(self, *_: Any) -> None:
        """Offer what there is to filter by, and draw again."""
        self._all = patch_table(self._dashboard)
        found, correction = self._dashboard.found, self._dashboard.correction
        self._following = True
        _offer(self._cluster, [*map(str, found.names), _NONE] if found is not None else [])
        names = [name for name in correction.classes if name not in (_ALL, _NONE)] if correction is not None else []
        _offer(self._class, [*names, _NONE] if names else [])
        files = list(dict.fromkeys(self._all["name"].astype(str))) if len(self._all) else []
        _offer(self._file, files if len(files) > 1 else [])
        self._following = False
        self._draw()

    def _chosen(self, *_: Any) -> None:
        if not self._following:
            self._draw_later()

    def _marked(self, *_: Any) -> None:
        if self._selected.value:
            self._draw_later()

    def _draw(self, *_: Any) -> None:
        table = self._all
        if not len(table):
            self._rows, self._place[:] = np.empty(0, int), [words("There are no patches yet.", muted=True)]
        else:
            self._rows = choose_rows(
                table, cluster=self._cluster.value, named=self._class.value, file=self._file.value,
                counted=self._counted.value, only=list(self._dashboard.selected) if self._selected.value else None,
            )  # fmt: skip
            self._show(self._shown_columns(table).iloc[self._rows])
        count = f"{len(self._rows):,} of {count_of(len(table), 'patch')}."
        large = len(self._rows) > MOST_DOWNLOADED
        say(self._line, f"{count} More than {MOST_DOWNLOADED:,} are written under Export." if large else count)
        self._allow()

    def _shown_columns(self, table: pd.DataFrame) -> pd.DataFrame:
        hidden = [name for name in PLACE_COLUMNS if name not in _PLACES]
        # all of those that count are in; the reasons matter for the others only
        hidden += list(_LAST) if self._counted.value == "count" else ["left_out"]
        shown = table.drop(columns=hidden)
        return shown.assign(labelled=np.where(shown["labelled"], "yes", "")) if "labelled" in shown else shown

    def _show(self, frame: pd.DataFrame) -> None:
        if frame.empty:
            self._place[:] = [words("No patch is left by the filters.", muted=True)]
            return
        self._place[:] = [make_table(frame, clicked=self._clicked)]

    def _clicked(self, at: int, _: str) -> None:
        if at < len(self._rows):
            self._dashboard.selected = [int(self._rows[at])]

    def _allow_now(self, *_: Any) -> None:
        self._download.disabled = not 0 < len(self._rows) <= MOST_DOWNLOADED

    def _content(self) -> io.StringIO:
        return io.StringIO(safe_csv(self._all.iloc[self._rows]) if len(self._all) else "")


def _offer(select: pmui.Select, choices: list[str]) -> None:
    options = [_ALL, *choices]
    if select.options != options:
        select.param.update(options=options, value=select.value if select.value in options else _ALL)
    select.visible = bool(choices)
