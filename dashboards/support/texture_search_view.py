"""The search tab of the texture page: what is tried, the scores, and what they can tell."""

from __future__ import annotations

import io
import time
from typing import Any

import pandas as pd
import panel as pn
import panel_material_ui as pmui
from bokeh.events import Tap

from analysis.texture import SCORES, STATISTICS
from dashboards.support.jobs import gently, start
from dashboards.support.parts import card, empty_state, error_banner, say, words
from dashboards.support.tabs import Shown, either
from dashboards.support.texture_search_plots import AGAINST, SearchCells, SearchLines, against_of
from dashboards.support.texture_settings import SEARCHED_BY
from dashboards.support.texture_tables import safe_csv, show_frame
from dashboards.support.texture_words import (
    components_words,
    count_cells,
    count_of,
    estimate_seconds,
    parse_numbers,
    seconds_words,
    slices_words,
)

_SMALL = {"size": "small"}
_WIDE = {"size": "small", "sizing_mode": "stretch_width"}
_SCORE_NAMES = {"silhouette": "silhouette", "stability": "stability", "BIC": "bic", "inertia": "inertia"}
_MOST_SLICES, _MOST_CELLS = 128, 2_000
_TWO = {"gap": "12px", "grid-template-columns": "minmax(0, 1fr) minmax(0, 1fr)", "align-items": "start"}


def build_search_tab(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
    """Return what is tried, the scores as lines and as a table, and what each can and cannot tell.

    Parameters
    ----------
    dashboard
        The page.
    shown
        The tab.
    """
    nothing = empty_state(
        "No search yet",
        "Choose above what is tried, and press Search. Every cell is a clustering of its own; a click on it opens its"
        " heat map at once.",
    )
    scores = pmui.Column(_scores_card(dashboard, shown), _table_card(dashboard, shown), sizing_mode="stretch_width")
    return pmui.Column(
        _what_is_tried(dashboard),
        either(dashboard, ["searched"], lambda: dashboard.searched is not None, scores, nothing),
        sizing_mode="stretch_width",
        margin=(12, 0),
    )


# ---- what is tried ---------------------------------------------------------------------------------------


def _what_is_tried(dashboard: Any) -> pn.viewable.Viewable:
    p = dashboard.param
    grids = _numbers_input(dashboard, "search_grids", "Patches along a tile", least=1, most=_MOST_SLICES)
    components = _numbers_input(
        dashboard, "search_components", "Components (0: the statistics)", least=0, most=len(STATISTICS)
    )
    clusters = pmui.IntRangeSlider.from_param(p.search_clusters, label="Clusters", **_WIDE)
    draws = pmui.IntSlider.from_param(p.search_draws, label="Draws for the stability (0: none)", **_WIDE)
    button = pmui.Button(label="Search", variant="contained", margin=(8, 10, 4, 0))
    line, banner = words("", margin=(12, 4)), error_banner()
    pace = _Pace(dashboard)

    @gently
    def refresh(*_: Any) -> None:
        cells = count_cells(dashboard)
        said = f"{count_of(cells, 'cell')}, {seconds_words(pace.factor * estimate_seconds(dashboard))}."
        if not dashboard.search_grids:
            said += " The grid shown is the only one."
        searched = dashboard.searched
        if searched is not None and not dashboard.search_job.busy:
            said += f" {count_of(len(searched.cells), 'cell')} searched."
        many = cells > _MOST_CELLS
        say(banner, f"At most {_MOST_CELLS:,} cells can be searched at once; choose fewer." if many else "")
        say(line, said)
        button.disabled = dashboard.patches is None or dashboard.search_job.busy or many

    button.on_click(lambda _: start(dashboard.search))
    dashboard.param.watch(refresh, [*SEARCHED_BY, "patches", "searched"])
    dashboard.search_job.param.watch(refresh, ["busy"])
    refresh()
    return card(
        pn.GridBox(grids, clusters, components, draws, ncols=2, sizing_mode="stretch_width", styles=_TWO),
        pmui.Row(button, line, sizing_mode="stretch_width"),
        banner,
        title="What is tried",
    )


class _Pace:
    """How much slower or faster searches are here than where the estimate was made; learnt from the last one."""

    def __init__(self, dashboard: Any) -> None:
        self._dashboard, self.factor = dashboard, 1.0
        self._begun, self._expected = 0.0, 0.0
        dashboard.search_job.param.watch(self._begin, ["busy"])
        dashboard.param.watch(self._learn, ["searched"])

    def _begin(self, event: Any) -> None:
        if event.new:
            self._begun, self._expected = time.monotonic(), estimate_seconds(self._dashboard)

    def _learn(self, event: Any) -> None:
        if event.new is not None and self._expected > 0:
            self.factor = max(0.2, (time.monotonic() - self._begun) / self._expected)


def _numbers_input(dashboard: Any, name: str, label: str, *, least: int, most: int) -> pn.viewable.Viewable:
    """Return a text input of a list of whole numbers, with what is wrong below it."""
    field = pmui.TextInput(label=label, value=_listed(getattr(dashboard, name)), **_WIDE)
    wrong = words("", margin=(0, 10), sx={"color": "error.main"}, visible=False)

    def typed(event: Any) -> None:
        try:
            numbers, said = parse_numbers(event.new, least=least, most=most), ""
        except ValueError as error:
            numbers, said = None, str(error)
        say(wrong, said)
        wrong.visible = bool(said)
        if numbers is not None and numbers != list(getattr(dashboard, name)):
            setattr(dashboard, name, numbers)

    def follow(event: Any) -> None:
        if _listed(event.new) != field.value:
            field.value = _listed(event.new)

    field.param.watch(typed, "value")
    dashboard.param.watch(follow, name)
    return pmui.Column(field, wrong, sizing_mode="stretch_width")


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))


# ---- scores ----------------------------------------------------------------------------------------------


def cell_shown(dashboard: Any) -> tuple[int, int, int, int] | None:
    """Return rows, columns, clusters and components of the heat map shown."""
    found = dashboard.found
    if found is None:
        return None
    grid, settings = found.patches.grid, found.settings
    return grid.rows, grid.columns, settings["clusters"], settings["components"] or 0


class _Choices:
    """Which score is drawn against what, and of which cells."""

    def __init__(self, dashboard: Any) -> None:
        self._dashboard = dashboard
        self.score = pmui.Select(label="Score", options=_SCORE_NAMES, value="silhouette", **_WIDE)
        self.against = pmui.Select(
            label="Lines against", options={AGAINST[name]: name for name in AGAINST}, value="clusters", **_WIDE
        )
        self.components = pmui.Select(label="Features", options={components_words(0): 0}, value=0, **_WIDE)
        self.grid = pmui.Select(label="Grid", options={"": (0, 0)}, value=(0, 0), **_WIDE)
        self.all = (self.score, self.against, self.components, self.grid)

    def offer(self) -> None:
        """Offer what the search has."""
        table = self._dashboard.searched.table
        grids = sorted(table[["rows", "columns"]].drop_duplicates().itertuples(index=False, name=None))
        amounts = sorted(table["components"].unique().tolist())
        scores = {name: score for name, score in _SCORE_NAMES.items() if table[score].notna().any()}
        here = cell_shown(self._dashboard) or (0, 0, 0, 0)
        _offer(self.score, scores or _SCORE_NAMES, "silhouette")
        _offer(self.against, {AGAINST[name]: name for name in against_of(table)}, "clusters")
        _offer(self.components, {components_words(each): each for each in amounts}, here[3])
        _offer(self.grid, {f"{slices_words(*each)} patches a tile": each for each in grids}, here[:2])
        self.hide()

    def hide(self) -> None:
        """Hide what there is no choice of."""
        self.against.visible = len(self.against.options) > 1
        across = self.against.value == "components"
        self.grid.visible = across and len(self.grid.options) > 1
        self.components.visible = not across and len(self.components.options) > 1


def _offer(select: pmui.Select, options: dict[str, Any], usual: Any) -> None:
    values = list(options.values())
    value = select.value if select.value in values else usual if usual in values else values[0]
    if select.options != options or select.value != value:
        select.param.update(options=options, value=value)


def _scores_card(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
    lines, cells, choices = SearchLines(), SearchCells(), _Choices(dashboard)
    meaning, more, warned = words("", variant="body1"), words("", muted=True), words("", muted=True)
    following: list[bool] = []

    def offer(*_: Any) -> None:
        if dashboard.searched is not None:
            following.append(True)
            choices.offer()
            following.pop()
        say(warned, " ".join(dashboard.searched.warnings) if dashboard.searched is not None else "")
        tell()

    def tell(*_: Any) -> None:
        say(meaning, SCORES[choices.score.value])

    def draw(*_: Any) -> None:
        if dashboard.searched is None:
            return
        table, score = dashboard.searched.table, choices.score.value
        components = choices.components.value
        left_out = lines.draw(table, score, choices.against.value, components=components, grid=choices.grid.value)
        cells.draw(table, score, components, cell_shown(dashboard))
        say(more, f"{left_out} further lines are not drawn." if left_out else "")

    drawn_when_seen = shown(draw)

    def chosen(*_: Any) -> None:
        if not following:
            choices.hide()
            tell()
            drawn_when_seen()

    def tapped(event: Any) -> None:
        row = cells.row_at(event.x, event.y)
        if row is not None:
            dashboard.open_cell(row)

    cells.figure.on_event(Tap, tapped)
    for select in choices.all:
        select.param.watch(chosen, "value")
    dashboard.param.watch(offer, ["searched"])
    dashboard.param.watch(drawn_when_seen, ["searched", "found"])
    offer()
    drawn_when_seen()
    hint = words("Click a cell to open its heat map; the red outline is the one shown. Hatched cells are empty; point"
                 " at one to see why.", muted=True)  # fmt: skip
    options = {"sizing_mode": "stretch_width", "margin": 0}
    return card(
        pmui.Row(*choices.all, sizing_mode="stretch_width"),
        meaning,
        pn.GridBox(
            pmui.Column(pn.pane.Bokeh(lines.figure, **options), more, sizing_mode="stretch_width"),
            pmui.Column(pn.pane.Bokeh(cells.figure, **options), hint, sizing_mode="stretch_width"),
            ncols=2, sizing_mode="stretch_width", styles=_TWO,
        ),
        warned,
        title="Scores",
        margin=(12, 0, 0, 0),
    )  # fmt: skip


# ---- table -----------------------------------------------------------------------------------------------


def _table_card(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
    place = pn.Column(sizing_mode="stretch_width")

    def content() -> io.StringIO:
        table = dashboard.searched.table if dashboard.searched is not None else pd.DataFrame()
        return io.StringIO(safe_csv(table))

    def draw(*_: Any) -> None:
        if dashboard.searched is None:
            return
        table = dashboard.searched.table
        table = table if table["error"].any() else table.drop(columns="error")
        show_frame(place, table, clicked=lambda row, _: dashboard.open_cell(row))

    download = pmui.FileDownload(callback=content, filename="texture_search.csv", label="Download the table (CSV)",
                                 margin=(0, 0, 8, 0))  # fmt: skip
    dashboard.param.watch(shown(draw), ["searched"])
    shown(draw)()
    return card(
        words("A click on a row opens its heat map.", muted=True), download, place,
        title="All cells", margin=(12, 0),
    )  # fmt: skip
