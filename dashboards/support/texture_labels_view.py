"""The labels tab of the texture page: classes, labelled patches, what the forest learnt from them, and files."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import panel as pn
import panel_material_ui as pmui

from analysis.texture import cut_patches, save_labels
from dashboards.support.jobs import gently, start
from dashboards.support.loading import in_thread
from dashboards.support.parts import as_text, card, error_banner, say, words
from dashboards.support.statement import count_of
from dashboards.support.tabs import Shown
from dashboards.support.texture_learnt_view import learnt_card, similar_card
from dashboards.support.texture_tables import make_table, picture_address

_SMALL = {"size": "small"}
_WIDE = {"size": "small", "sizing_mode": "stretch_width"}
_TWO = {"gap": "12px", "grid-template-columns": "minmax(0, 1fr) minmax(0, 1fr)", "align-items": "start"}
_MOST_PICTURES, _ROWS = 200, 8
_LONGEST_CLASS = 100
_CLASSES = """
:host { color: inherit; }
.classes { display: flex; flex-wrap: wrap; gap: 6px 18px; font: 0.86rem system-ui, sans-serif; }
.classes span { overflow-wrap: anywhere; }
.classes i { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 6px; }
"""


def build_labels_tab(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
    """Return classes, labelled patches, what was learnt from them, similar patches, and files of labels.

    Parameters
    ----------
    dashboard
        The page.
    shown
        The tab.
    """
    return pmui.Column(
        pn.GridBox(
            pmui.Column(_classes_card(dashboard), _files_card(dashboard), sizing_mode="stretch_width"),
            _labelled_card(dashboard, shown),
            ncols=2, sizing_mode="stretch_width", styles=_TWO,
        ),
        learnt_card(dashboard, shown),
        similar_card(dashboard),
        sizing_mode="stretch_width",
        margin=(12, 0),
    )  # fmt: skip


# ---- classes ---------------------------------------------------------------------------------------------


def class_fault(name: str, others: list[str]) -> str:
    """Return why a class cannot have a name; nothing when it can.

    Parameters
    ----------
    name
        As typed.
    others
        Names that there are.

    Examples
    --------
    >>> class_fault("film", ["hole"]), class_fault(" ", [])
    ('', 'Type a name for the class.')
    """
    name = name.strip()
    if not name:
        return "Type a name for the class."
    if len(name) > _LONGEST_CLASS or not name.isprintable():
        return f"A class must have a name of at most {_LONGEST_CLASS} characters in one line."
    return f"There is a class {name} already." if name in others else ""


def _classes_card(dashboard: Any) -> pn.viewable.Viewable:
    listed = pn.pane.HTML("", stylesheets=[_CLASSES], sizing_mode="stretch_width")
    chosen = pmui.Select(label="Class that is given", options=list(dashboard.classes), **_WIDE)
    clicks = pmui.Switch.from_param(dashboard.param.labelling, label="Clicks on the heat map label patches")
    name = pmui.TextInput(label="Name", value="", **_WIDE)
    add, rename, remove = (
        pmui.Button(label=label, variant="outlined", size="small") for label in ("Add", "Rename", "Remove")
    )
    give = pmui.Button(label="Label selected patches", variant="outlined", size="small")
    undo = pmui.Button(label="Undo", variant="text", size="small")
    clear = pmui.Button(label="Take all labels away", variant="text", size="small")
    banner = error_banner()
    following: list[bool] = []

    def follow(*_: Any) -> None:
        following.append(True)
        names = list(dashboard.classes)
        value = dashboard.class_name if dashboard.class_name in names else None
        if chosen.options != names or chosen.value != value:
            chosen.param.update(options=names, value=value)
        following.pop()

    def tell(*_: Any) -> None:
        listed.object = _class_list(dashboard)

    @gently
    def allow(*_: Any) -> None:
        undo.disabled = not dashboard.undoable
        clear.disabled = not dashboard.labels
        give.disabled = not dashboard.selected or not dashboard.classes
        rename.disabled = remove.disabled = not dashboard.classes

    def choose(event: Any) -> None:
        if not following and event.new:
            dashboard.class_name = event.new

    def added(_: Any) -> None:
        wrong = class_fault(name.value, dashboard.classes)
        say(banner, wrong)
        if not wrong:
            made = name.value.strip()
            dashboard.classes = [*dashboard.classes, made]
            dashboard.class_name, name.value = made, ""

    def renamed(_: Any) -> None:
        others = [each for each in dashboard.classes if each != dashboard.class_name]
        wrong = class_fault(name.value, others)
        say(banner, wrong)
        if not wrong:
            dashboard.rename_class(dashboard.class_name, name.value)
            name.value = ""

    def removed(_: Any) -> None:
        gone = dashboard.class_name
        rows = [row for row, given in dashboard.labelled_rows.items() if given == gone]
        dashboard.unlabel(rows)
        dashboard.classes = [each for each in dashboard.classes if each != gone]
        say(banner, "")

    chosen.param.watch(choose, "value")
    for button, act in ((add, added), (rename, renamed), (remove, removed)):
        button.on_click(act)
    give.on_click(lambda _: dashboard.label(list(dashboard.selected)))
    undo.on_click(lambda _: dashboard.undo())
    clear.on_click(lambda _: dashboard.forget_labels())
    dashboard.param.watch(follow, ["classes", "class_name"])
    dashboard.param.watch(tell, ["classes", "labels", "patches", "correction"])
    dashboard.param.watch(allow, ["undoable", "labels", "selected", "classes"])
    for act in (follow, tell, allow):
        act()
    return card(
        listed,
        chosen,
        clicks,
        pmui.Row(give, undo, clear, sizing_mode="stretch_width"),
        pmui.Row(name, add, rename, remove, sizing_mode="stretch_width"),
        banner,
        words("Add makes a class of this name; Rename and Remove change the class that is given. What is removed loses"
              " its labels; Undo brings them back.", muted=True),
        title="Classes",
    )  # fmt: skip


def _class_list(dashboard: Any) -> str:
    """Return the classes with their colours and how many patches have them by hand, as HTML."""
    counts = pd.Series(list(dashboard.labelled_rows.values()), dtype=object).value_counts()
    parts = [
        f'<span><i style="background:{colour}"></i>{as_text(name)}: {int(counts.get(name, 0))}</span>'
        for name, colour in dashboard.class_colours.items()
    ]
    return f'<div class="classes">{"".join(parts)}</div>'


# ---- labelled patches ------------------------------------------------------------------------------------


def _labelled_card(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
    """The labelled patches, newest first, with small pictures."""
    line = words("", margin=(0, 0, 6, 0))
    place = pn.Column(sizing_mode="stretch_width")
    listed: list[int] = []

    def tell(*_: Any) -> None:
        count = len(dashboard.labelled_rows)
        said = f"{count_of(count, 'patch')} labelled by hand." if count else _how_to(dashboard)
        more = f" The newest {_MOST_PICTURES} are listed." if count > _MOST_PICTURES else ""
        say(line, said + more)

    def clicked(at: int, column: str) -> None:
        if at < len(listed):
            if column == "remove":
                dashboard.unlabel([listed[at]])
            else:
                dashboard.selected = [listed[at]]

    async def draw() -> None:
        patches = dashboard.patches
        given = newest_first(dashboard) if patches is not None else {}
        try:
            # all at once, so that they share one grey scale
            pictures = await in_thread(cut_patches, patches, list(given), longest_px=48) if given else []
        except (OSError, ValueError) as error:
            dashboard.note(str(error))
            pictures = [np.zeros((2, 2), np.uint8)] * len(given)
        if patches is not dashboard.patches or (patches is not None and given != newest_first(dashboard)):
            return  # another drawing is on its way
        listed[:] = given
        place[:] = [_labelled_table(patches, given, pictures, clicked)] if given else []

    draw_when_seen = shown(lambda: start(draw))
    dashboard.param.watch(tell, ["labels", "patches"])
    dashboard.param.watch(draw_when_seen, ["labels", "patches"])
    tell()
    draw_when_seen()
    return card(line, place, title="Labelled patches")


def _how_to(dashboard: Any) -> str:
    return (
        "No patch is labelled yet. Choose a class, turn on the switch, and click patches on the heat map: a few of each"
        " class, also unusual ones, are enough for a start."
    )


def newest_first(dashboard: Any) -> dict[int, str]:
    """Return class by row of the table of patches, those labelled last first, as many as are listed.

    Parameters
    ----------
    dashboard
        The page.
    """
    places = {key: number for number, key in enumerate(dashboard.labels)}
    table, given = dashboard.patches.table, dashboard.labelled_rows

    def age(row: int) -> int:
        entry = table.iloc[row]
        at = int(entry["row"]), int(entry["column"])
        return places.get((str(entry["file"]), *at), places.get((str(entry["name"]), *at), -1))

    rows = sorted(given, key=age, reverse=True)[:_MOST_PICTURES]
    return {row: given[row] for row in rows}


def _labelled_table(
    patches: Any, given: dict[int, str], pictures: list[np.ndarray], clicked: Any
) -> pn.viewable.Viewable:
    places = patches.table.iloc[list(given)][["name", "row", "column"]]
    frame = pd.DataFrame(
        {
            "picture": [picture_address(picture) for picture in pictures],
            "class": list(given.values()),
            "patch": [f"{name}, {row}, {column}" for name, row, column in places.itertuples(index=False)],
        }
    )
    return make_table(
        frame, clicked=clicked, rows=_ROWS, buttons={"remove": "✕"}, sortable=False,
        widths={"picture": 90, "class": 120, "patch": 170, "remove": 60},
        formatters={"picture": {"type": "image", "height": "44px", "width": "44px"}},
    )  # fmt: skip


# ---- files -----------------------------------------------------------------------------------------------


def _files_card(dashboard: Any) -> pn.viewable.Viewable:
    path = pmui.TextInput(label="File of labels (.csv or .json)", value=_usual_path(dashboard), **_WIDE)
    save = pmui.Button(label="Save", variant="outlined", size="small")
    load = pmui.Button(label="Load", variant="outlined", size="small")
    upload = pmui.FileInput(accept=".csv,.json", label="Upload labels", variant="outlined", size="small")
    download = pmui.FileDownload(
        callback=lambda: _labels_as_csv(dashboard), filename="labels.csv", label="Download labels (CSV)", size="small"
    )

    def follow(event: Any) -> None:
        if path.value == _usual_path(dashboard, event.old):
            path.value = _usual_path(dashboard)

    @gently
    def allow(*_: Any) -> None:
        save.disabled = download.disabled = not dashboard.labels
        load.disabled = upload.disabled = dashboard.patches is None

    async def uploaded() -> None:
        await dashboard.upload_labels(upload.value, str(upload.filename or "labels.csv"))

    def taken(event: Any) -> None:
        if event.new:
            start(uploaded)

    async def saved() -> None:
        await dashboard.save_labels(path.value)

    async def loaded() -> None:
        await dashboard.load_labels(path.value)

    save.on_click(lambda _: start(saved))
    load.on_click(lambda _: start(loaded))
    upload.param.watch(taken, "value")
    dashboard.param.watch(follow, "output")
    dashboard.param.watch(allow, ["labels", "patches"])
    allow()
    return card(
        path,
        pmui.Row(*dashboard.offered(save), load, sizing_mode="stretch_width"),
        pmui.Row(upload, download, sizing_mode="stretch_width"),
        words("Labels belong to this grid: those of another one are refused.", muted=True),
        title="Save and load", margin=(12, 0, 0, 0),
    )  # fmt: skip


def _usual_path(dashboard: Any, output: str | None = None) -> str:
    return str(Path((dashboard.output if output is None else output) or "texture") / "labels.csv")


def _labels_as_csv(dashboard: Any) -> io.BytesIO:
    with tempfile.TemporaryDirectory() as folder:
        if not dashboard.labels:
            return io.BytesIO()
        return io.BytesIO(
            save_labels(dict(dashboard.labels), Path(folder) / "labels.csv", patches=dashboard.patches).read_bytes()
        )
