"""Every path that a visitor can have a page read or write, on all pages, tried with every way out that is known."""

from pathlib import Path

import panel as pn
import panel_material_ui as pmui
import param
import pytest
from test_places import attacks
from worlds import PAGES

from dashboards.support.file_wall import guard
from dashboards.support.instruments import INSTRUMENTS
from dashboards.support.path_settings import CheckedSetting, FileStem, ReadPaths, SchedulerAddress, WorkFolder
from dashboards.support.places import Refused, places

TEXTS = {
    # settings and results that are text and name no file
    "name", "wrong_in_address", "sample_regex", "version", "levels", "image", "experiment", "subject", "matrix",
    "looked_at", "pattern", "class_name", "trouble",
}  # fmt: skip
FIELDS = {
    # places to type into that name no file: numbers, patterns, names
    "Slide pattern", "Version tag", "What the folders stand for", "Pixel size (µm), if files do not say",
    "Matrix, four numbers (µm per unit)", "Pattern of names", "Rows of tiles", "Columns of tiles", "Name",
    "Patches along a tile", "Components (0: the statistics)",
}  # fmt: skip
LABELS = "File of labels (.csv or .json)"
SETTINGS = [
    (instrument, name)
    for instrument, made in PAGES.items()
    for name, setting in made.param.objects(False).items()
    if isinstance(setting, CheckedSetting) and not isinstance(setting, SchedulerAddress)
]
WAYS = [name for name in attacks(Path("/t"), "data") if name != "address"]


@pytest.fixture
def tree(tmp_path):
    for name in ("data", "output", "data_evil", "output_evil", "outside"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f.tif").write_text(name)
    for place in ("data", "output"):
        (tmp_path / place / "sub").mkdir()
        (tmp_path / place / "link_to_folder").symlink_to(tmp_path / "outside")
        (tmp_path / place / "link_to_file").symlink_to(tmp_path / "outside" / "f.tif")
        (tmp_path / place / "link_to_nothing").symlink_to(tmp_path / "outside" / "new")
        (tmp_path / place / "circle").symlink_to(tmp_path / place / "circle")
    return tmp_path


@pytest.fixture
def serve(tree, monkeypatch):
    """Name folders as the command does, and take them back."""

    def named(*, output=True, read_only=False, data=True):
        for name, value in (
            ("GRATICULE_DATA", str(tree / "data") if data else ""),
            ("GRATICULE_OUTPUT", str(tree / "output") if output else ""),
            ("GRATICULE_READ_ONLY", "1" if read_only else ""),
            ("GRATICULE_SCHEDULER", ""),
        ):
            monkeypatch.setenv(name, value)
        return places()

    monkeypatch.chdir(tree)
    yield named
    monkeypatch.undo()
    guard()  # holds nothing any more


# ---- what is typed ---------------------------------------------------------------------------------------


def test_all_pages_are_held_here():
    assert set(PAGES) == {instrument.name for instrument in INSTRUMENTS}
    assert all(sum(instrument == name for instrument, _ in SETTINGS) >= 2 for name in PAGES)


@pytest.mark.parametrize("instrument", PAGES)
def test_every_text_is_a_checked_path_or_known_to_be_none(instrument):
    """A new setting must be declared: one of `path_settings`, or a text in TEXTS that names no file."""
    kinds = (param.String, param.Path, param.Filename, param.Foldername, param.FileSelector, param.MultiFileSelector)
    settings = PAGES[instrument].param.objects(False)
    texts = {n for n, s in settings.items() if isinstance(s, kinds) and not isinstance(s, CheckedSetting)}
    assert texts - TEXTS == set()
    named = [name for name in settings if name.endswith(("folder", "dir", "path", "file", "output", "root", "roots"))]
    assert named == ["meanimage_folder"] or all(isinstance(settings[n], CheckedSetting) for n in named
                                                if n != "meanimage_folder")  # fmt: skip


@pytest.mark.parametrize("instrument", PAGES)
def test_every_place_to_type_into_is_held(instrument, serve):
    """A new text field must be made by `path_field`, or be one in FIELDS that names no file."""
    serve()
    made = PAGES[instrument]()
    shown = pn.Column(*made.controls(), made.main())
    labels = {setting.label for setting in made.param.objects().values() if isinstance(setting, CheckedSetting)}
    labels |= {"Folder of tiles"} if instrument == "tiles" else set()  # the working folder once more
    kinds = (pmui.TextInput, pmui.TextAreaInput, pn.widgets.TextInput, pn.widgets.TextAreaInput, pmui.AutocompleteInput)
    fields = {each.label for each in shown.select(lambda each: isinstance(each, kinds))}
    assert fields - labels - FIELDS == ({LABELS} if instrument == "texture" else set())
    assert "Dask scheduler" not in fields


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("instrument", "name"), SETTINGS)
def test_paths_that_lead_out_are_refused(instrument, name, way, tree, serve):
    serve()
    made = PAGES[instrument]()
    setting, before = made.param[name], getattr(made, name)
    typed = attacks(tree, "output" if isinstance(setting, WorkFolder) else "data")[way]
    if isinstance(setting, FileStem):
        if way in ("home", "home's file"):
            return  # a file may begin so: nothing follows it
        typed = typed.replace("\n", "/")
    elif way == "new line" and isinstance(setting, ReadPaths):
        typed = typed.replace("\n", "/sub\n")  # one path a line: the second leads out
    with pytest.raises(Refused):
        setattr(made, name, typed)
    assert getattr(made, name) == before
    with pytest.raises(Refused):
        PAGES[instrument](**{name: typed})
    # in the page's address
    made._take_one_by_one({name: typed})
    assert getattr(made, name) == before
    assert made.wrong_in_address.startswith("The page's address has a wrong value: ")
    assert made.job.error == made.wrong_in_address
