"""Names that are HTML, from everywhere a name can come from: no component that runs HTML gets one as it is."""

import asyncio
import shutil

import pandas as pd
import panel as pn
import panel_material_ui as pmui
import pytest
from worlds import draw_all, open_page

NAME = "<img src=x onerror=window.hit=1>"
RUNS_HTML = (
    pmui.Typography, pmui.Alert, pmui.Badge, pmui.Tooltip, pmui.widgets.StaticText, pmui.Card, pmui.Accordion,
    pmui.Tabs, pn.pane.HTML, pn.pane.Markdown, pn.pane.Str, pn.pane.Alert, pn.widgets.StaticText,
    pn.widgets.TooltipIcon,
)  # fmt: skip


def rename(folder, old, new):
    """Put HTML into the names of all files and folders, and into tables that name them."""
    for path in sorted(folder.rglob(f"*{old}*"), key=lambda path: -len(path.parts)):
        path.rename(path.with_name(path.name.replace(old, new)))
    for path in folder.rglob("*.csv"):
        path.write_text(path.read_text().replace(old, new))


FIELDS = {
    # page and field: what is done to the data, and to the page
    ("flatfield", "slide ID"): (lambda data: rename(data / "flatfield", "M1_1", NAME), None),
    ("flatfield", "name of a root"): (lambda data: rename(data / "flatfield", "project1", NAME), None),
    ("flatfield", "slide pattern"): (None, lambda made: setattr(made, "sample_regex", f"({NAME}")),
    ("flatfield", "version"): (None, lambda made: setattr(made, "version", NAME)),
    ("tiles", "file name"): (lambda data: rename(data / "tiles", "cells_00", NAME), None),
    ("tiles", "name of a file that is no image"): (lambda data: (data / f"tiles/images/{NAME}.tif").touch(), None),
    ("tiles", "folder"): (None, lambda made: setattr(made, "folder", f"/nowhere/{NAME}")),
    ("circles", "date"): (lambda data: rename(data / "circles", "20180401", NAME), None),
    ("circles", "subject"): (lambda data: rename(data / "circles", "s2", NAME), None),
    ("circles", "image"): (lambda data: rename(data / "circles", "fov00", NAME), None),
    ("circles", "levels"): (None, lambda made: setattr(made, "levels", f"{NAME}, Subject, Experiment")),
    ("exposures", "grid square"): (lambda data: rename(data / "exposures", "GridSquare_", f"GridSquare_{NAME}"), None),
    ("exposures", "folder"): (None, lambda made: setattr(made, "folder", f"/nowhere/{NAME}")),
    ("texture", "file name"): (lambda data: rename(data / "texture", "Tile_001-001", NAME), None),
    ("texture", "class"): (None, lambda made: made.label([0, 1], NAME)),
    ("texture", "pattern"): (None, lambda made: setattr(made, "pattern", f"({NAME}")),
    ("texture", "name of an uploaded file"): (
        None, lambda made: asyncio.run(made.upload_labels(b"x" * 9_000_000, f"{NAME}.csv"))),
}  # fmt: skip


def texts(each):
    """What a component that runs HTML shows, and its title."""
    for name in ("object", "title", "label", "name", "value", "description", "badge_content"):
        value = getattr(each, name, None)
        if isinstance(value, str):
            yield name, value
    yield from (("titles", name) for name in getattr(each, "_names", ()) if isinstance(name, str))


def shown_anywhere(shown):
    """Whether the name is on the page at all, as it is or as text."""
    for each in shown.select():
        for name in each.param:
            value = getattr(each, name, None)
            if isinstance(value, pd.DataFrame):
                value = value.to_string()
            if "onerror" in (str(value) if isinstance(value, (str, list, dict)) else ""):
                return True
    return False


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Data of all pages, only to be read."""
    return draw_all(tmp_path_factory.mktemp("drawn"))


@pytest.mark.parametrize(("instrument", "field"), FIELDS)
def test_a_name_that_is_html_stays_text(drawn, tmp_path, monkeypatch, instrument, field):
    """HTML as a name of a slide, file, folder, subject, class, or in an error that quotes one: shown as text."""
    monkeypatch.chdir(tmp_path)
    data = shutil.copytree(drawn, tmp_path / "data")
    before, after = FIELDS[instrument, field]
    if before is not None:
        before(data)
    made = open_page(data, instrument)
    if instrument == "circles":
        asyncio.run(made.run())
    if instrument == "flatfield":
        asyncio.run(made.compare())
        made.chosen = (0, 1)
    shown = pn.Column(*made.controls(), made.main(), made.job.panel())
    if after is not None:
        after(made)
    assert shown_anywhere(shown)
    for each in shown.select():
        if isinstance(each, RUNS_HTML):
            for name, text in texts(each):
                assert "<img src=x" not in text, (type(each).__name__, name, text[:200])
