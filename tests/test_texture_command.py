"""The texture commands: the tables of the functions, words instead of tracebacks, nothing half-written."""

from __future__ import annotations

import inspect
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from functools import wraps
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from cyclopts import Parameter
from PIL import Image as PillowImage

from analysis.synthetic.texture import draw_tile_set
from analysis.tasks import Cancelled
from analysis.texture import (
    OUTPUT_FORMATS,
    PLACE_COLUMNS,
    PRESETS,
    RULES,
    _patches,
    _shading,
    cluster_patches,
    correct_labels,
    find_tile_set,
    measure_patches,
    read_labels,
    save_labels,
    search_settings,
    write_outputs,
)
from dashboards.support import texture_command, texture_demo, texture_folder, texture_report
from dashboards.support.acts import Bar, Run
from dashboards.support.command import main


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Two tiles of 96 x 128 pixels; only to be read."""
    return draw_tile_set(tmp_path_factory.mktemp("drawn"), tiles=(1, 2), shape=(96, 128), seed=1)


@pytest.fixture
def here(tmp_path, monkeypatch, drawn):
    """A folder with a copy of the tiles in ``tiles``."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(drawn.folder / "tiles", tmp_path / "tiles")
    return tmp_path


def run_texture(act, *options, folder="tiles"):
    return main(["texture", act, folder, *options])


def lines_of(text):
    return [line for line in text.splitlines() if line]


COMMANDS = {
    "statistics": (find_tile_set, measure_patches),
    "cluster": (find_tile_set, measure_patches, cluster_patches),
    "search": (find_tile_set, measure_patches, search_settings),
    "export": (find_tile_set, measure_patches, cluster_patches, write_outputs),
    "report": (find_tile_set, measure_patches, cluster_patches),
}
SPELLED_OTHERWISE = {"statistics": ("common",), "components": (0,), "grids": ()}
"""Defaults that mean the same as the functions'."""
NO_OPTIONS = {("search", "grid")}
"""What an act spells with another option: the search has grids."""


@pytest.mark.parametrize("name", COMMANDS)
def test_options_are_explained_and_have_the_defaults_of_the_functions(name):
    options = inspect.signature(getattr(texture_command, name)).parameters
    for option in options.values():
        words = [part.help for part in option.annotation.__metadata__ if isinstance(part, Parameter) and part.help]
        assert words, option.name
        assert "`" not in words[0]
    for function in COMMANDS[name]:
        for argument in inspect.signature(function).parameters.values():
            if argument.kind is argument.KEYWORD_ONLY and (name, argument.name) not in NO_OPTIONS:
                if argument.name in options:
                    default = options[argument.name].default
                    assert default in (argument.default, SPELLED_OTHERWISE.get(argument.name, default)), argument.name
                    if argument.name not in SPELLED_OTHERWISE:
                        assert default == argument.default, argument.name
                else:
                    assert argument.name in {"progress", "cancel", "executor"}, argument.name


def test_help_names_every_act(capsys):
    assert main(["texture", "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(re.search(rf"\b{name}\b", shown) for name in COMMANDS)


@pytest.mark.parametrize(
    ("act", "option", "names"),
    [("cluster", "statistics", PRESETS), ("cluster", "leave_out", RULES), ("export", "formats", OUTPUT_FORMATS)],
)
def test_help_names_what_can_be_chosen(act, option, names):
    described = inspect.signature(getattr(texture_command, act)).parameters[option].annotation.__metadata__
    words = next(part.help for part in described if isinstance(part, Parameter) and part.help)
    assert all(re.search(rf"\b{name}\b", words) for name in names)


# ---------------------------------------------------------------------------------- one function, one command


def numbers_of(path, names):
    return pd.read_csv(path)[list(names)].to_numpy(float)  # to the last bit


def test_statistics_are_those_of_the_function(here, capsys):
    line = ["--grid", "6x8", "--statistics", "std", "--statistics", "mode,five_number", "--shading", "none"]
    assert run_texture("statistics", *line, "--leave-out", "nothing", "--output", "out.csv") == 0
    said = capsys.readouterr()
    assert "wrote out.csv" in said.out
    assert said.err == ""
    names = ["std", "mode", "five_number"]
    patches = measure_patches(
        find_tile_set("tiles"), grid=(6, 8), statistics=names, shading="none", leave_out=()
    )  # fmt: skip
    written = pd.read_csv(here / "out.csv")
    assert list(written) == [*PLACE_COLUMNS, *patches.statistics, "left_out", "why"]
    assert list(written["file"]) == list(patches.table["file"])
    np.testing.assert_array_equal(
        numbers_of(here / "out.csv", patches.statistics), patches.table[[*patches.statistics]]
    )


def test_json_is_the_summary(here, capsys):
    assert run_texture("statistics", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    expected = measure_patches(find_tile_set("tiles")).summary()
    assert expected.pop("warnings") == []
    assert told == json.loads(json.dumps(expected))


@pytest.mark.parametrize(
    ("options", "how"),
    [
        ([], {}),
        (["--grid", "8"], {"grid": (8, 8)}),
        (["--patch-size", "24x16", "--step", "12"], {"patch_size": (24, 16), "step": (12, 12)}),
        (["--leave-out", "edge", "--leave-out", "partly_dark", "--dark-below", "0.5"],
         {"leave_out": ("edge", "partly_dark"), "dark_below": 0.5}),
    ],
)  # fmt: skip
def test_patches_are_cut_and_left_out_as_typed(here, options, how):
    assert run_texture("statistics", *options, "--output", "out.csv") == 0
    written = pd.read_csv(here / "out.csv", keep_default_na=False)
    table = measure_patches(find_tile_set("tiles"), **how).table
    for name in ("row_px", "column_px", "rows_px", "columns_px", "left_out", "why"):
        assert list(written[name]) == list(table[name]), name


@pytest.mark.parametrize(
    ("options", "how"),
    [
        ([], {}),
        (["--clusters", "4", "--no-scale", "--components", "2", "--seed", "7", "--order-by", "size"],
         {"clusters": 4, "scale": False, "components": 2, "seed": 7, "order_by": "size"}),
        (["--components", "0"], {"components": None}),
        (["--method", "agglomerative", "--linkage", "average", "--metric", "cosine"],
         {"method": "agglomerative", "linkage": "average", "metric": "cosine"}),
        (["--method", "hdbscan", "--smallest", "8"], {"method": "hdbscan", "smallest": 8}),
        (["--method", "gaussian mixture", "--n-init", "2"], {"method": "gaussian mixture", "n_init": 2}),
    ],
)  # fmt: skip
def test_clusters_are_those_of_the_function(here, capsys, options, how):
    assert run_texture("cluster", "--grid", "8x8", *options, "--output", "out.csv", "--json") == 0
    patches = measure_patches(find_tile_set("tiles"), grid=(8, 8))
    found = cluster_patches(patches, **how)
    written = pd.read_csv(here / "out.csv")
    assert list(written["cluster"]) == found.numbers.tolist()
    assert list(written) == [*PLACE_COLUMNS, *patches.statistics, "left_out", "why", "cluster"]
    told = json.loads(capsys.readouterr().out)
    assert told["sizes"] == found.summary()["sizes"]
    # JSON has no word for a number that is none
    assert told["silhouette"] == (None if np.isnan(found.silhouette) else found.silhouette)


def test_a_layout_reaches_the_function(here, capsys):
    assert run_texture("statistics", "--rows", "2", "--columns", "1") == 0
    table = pd.read_csv(here / "texture_statistics.csv")
    assert sorted({*zip(table["tile_row"], table["tile_column"], strict=True)}) == [(0, 0), (1, 0)]
    assert run_texture("statistics", "--pattern", r"Tile_(?P<column>\d+)-(?P<row>\d+)") == 0
    table = pd.read_csv(here / "texture_statistics.csv")
    assert sorted({*zip(table["tile_row"], table["tile_column"], strict=True)}) == [(0, 0), (1, 0)]
    assert run_texture("statistics", "--channel", "2") == 2
    assert "must have a channel 2" in capsys.readouterr().err


def test_a_flatfield_image_is_taken_off(here, drawn):
    tifffile.imwrite(here / "light.tif", drawn.surface.astype(np.float32))
    assert run_texture("statistics", "--shading", "light.tif") == 0
    table = measure_patches(find_tile_set("tiles"), shading=here / "light.tif").table
    written = numbers_of(here / "texture_statistics.csv", ["mean"])
    np.testing.assert_array_equal(written[:, 0], table["mean"])
    plain = measure_patches(find_tile_set("tiles"), shading="none").table
    assert not np.allclose(written[:, 0], plain["mean"], rtol=0.01)


def test_settings_of_a_file(here):
    text = 'grid = "8x8"\nstatistics = ["mean", "std"]\nleave-out = ["nothing"]\nclusters = 2\nscale = false\n'
    (here / "run.toml").write_text(text, encoding="utf-8")
    assert run_texture("cluster", "--settings", "run.toml") == 0
    patches = measure_patches(find_tile_set("tiles"), grid=8, statistics=["mean", "std"], leave_out=())
    expected = cluster_patches(patches, clusters=2, scale=False).numbers.tolist()
    assert list(pd.read_csv(here / "texture_clusters.csv")["cluster"]) == expected


# --------------------------------------------------------------------------------------------------- labels


@pytest.fixture
def labels(here, drawn):
    """Twelve true labels of patches of an 8 x 8 grid, saved as the page saves them."""
    patches = measure_patches(find_tile_set("tiles"), grid=8)
    classes, share = drawn.patch_classes(patches.grid.starts_y, patches.grid.starts_x, patches.grid.patch_size)
    chosen = {}
    for number, name in enumerate(("film", "hole", "crystal")):
        for row in np.flatnonzero((classes == number) & (share > 0.9))[:4]:
            entry = patches.table.iloc[row]
            chosen[entry["name"], int(entry["row"]), int(entry["column"])] = name
    assert len(chosen) == 12
    return save_labels(chosen, here / "labels.csv", patches=patches)


def test_labels_correct_the_clusters(here, labels, capsys):
    assert run_texture("cluster", "--grid", "8x8", "--labels", "labels.csv", "--json", "--seed", "3") == 0
    patches = measure_patches(find_tile_set("tiles"), grid=8)
    found = cluster_patches(patches, seed=3)
    corrected = correct_labels(found, read_labels(labels), seed=3)
    written = pd.read_csv(here / "texture_clusters.csv", keep_default_na=False)
    assert list(written)[-4:] == ["cluster", "class", "sureness", "labelled"]
    for name in ("class", "labelled"):
        assert list(written[name]) == list(corrected.table[name])
    assert list(written["cluster"]) == found.numbers.tolist()
    assert json.loads(capsys.readouterr().out)["classes"]["labelled"] == {"crystal": 4, "film": 4, "hole": 4}


def test_export_writes_classes_in_place_of_clusters(here, labels):
    line = ["--grid", "8x8", "--formats", "csv,labels", "--output", "out"]
    assert run_texture("export", *line, "--labels", "labels.csv") == 0
    assert set(pd.read_csv(here / "out/patches.csv")["class"]) == {"film", "hole", "crystal"}
    assert list(pd.read_csv(here / "out/labels/labels.csv")["name"]) == ["crystal", "film", "hole"]


@pytest.mark.parametrize("act", ["cluster", "export", "report"])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "labels.csv: No such file"),
        ("file,row\n", "must have the columns file, row, column, class"),
        ("file,row,column,class\nTile_001-001.tif,0,0,film\n", "must name 2 to 255 classes; got 1 (film)"),
        ("file,row,column,class\nother.tif,0,0,film\n", "labels must be of patches that were measured"),
    ],
)
def test_wrong_labels_are_a_sentence_and_two(here, capsys, act, text, words):
    if text is not None:
        (here / "labels.csv").write_text(text, encoding="utf-8")
    before = sorted(here.rglob("*"))
    assert run_texture(act, "--labels", "labels.csv") == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(lines_of(said)) == 1
    assert sorted(here.rglob("*")) == before


def test_labels_of_another_grid_are_refused(here, labels, capsys):
    assert run_texture("cluster", "--grid", "16", "--labels", "labels.csv") == 2
    assert "labels.csv must hold labels of this grid" in capsys.readouterr().err


def test_the_labels_are_not_written_over(here, labels, capsys):
    before = labels.read_bytes()
    assert run_texture("cluster", "--grid", "8", "--labels", "labels.csv", "--output", "labels.csv") == 2
    assert "must not be the labels" in capsys.readouterr().err
    assert labels.read_bytes() == before


# --------------------------------------------------------------------------------------------------- search


def test_a_search_is_that_of_the_function(here, capsys):
    line = ["--grids", "8,6x4", "--clusters", "2,3", "--components", "0,2", "--draws", "2", "--heat-maps", "maps"]
    assert run_texture("search", *line, "--output", "out.csv") == 0
    patches = measure_patches(find_tile_set("tiles"), grid=8)
    made = search_settings(patches, grids=[(8, 8), (6, 4)], clusters=[2, 3], components=[None, 2], draws=2)
    written = pd.read_csv(here / "out.csv")
    assert list(written) == list(made.table)
    for name in list(made.table)[:-1]:
        assert list(written[name]) == list(made.table[name]), name
    names = {path.name for path in (here / "maps").iterdir()}
    assert len(names) == 8
    assert {"8x8_2_clusters_0_components.png", "6x4_3_clusters_2_components.png"} <= names
    with PillowImage.open(here / "maps/8x8_2_clusters_0_components.png") as picture:
        assert picture.size[0] > 100


def test_one_value_of_each_is_a_search_too(here, capsys):
    line = ["--patch-size", "16", "--clusters", "3", "--components", "1", "--draws", "0", "--json"]
    assert run_texture("search", *line) == 0
    assert json.loads(capsys.readouterr().out)["cells"] == 1
    assert list(pd.read_csv(here / "texture_search.csv")["rows"]) == [6]


def test_cells_that_cannot_be_are_a_sentence_each_and_the_rest_is_done(here, capsys):
    line = ["--grids", "500,8,1", "--clusters", "2,3", "--draws", "0"]
    assert run_texture("search", *line) == 1
    said = capsys.readouterr()
    assert "500x500 2 clusters 0 components: a grid must have at most" in said.err
    assert "1x1 3 clusters 0 components: " in said.err
    assert "stability" not in said.out.partition("rows")[2]
    table = pd.read_csv(here / "texture_search.csv", keep_default_na=False)
    assert [bool(error) for error in table["error"]] == [True, True, False, False, False, True]


def test_a_search_reads_a_tile_once_for_each_grid(here, monkeypatch):
    read, open_tile = [], _patches.open_tile
    monkeypatch.setattr(_patches, "open_tile", lambda info, channel: read.append(info.path) or open_tile(info, channel))
    assert run_texture("search", "--grids", "8,4,6", "--clusters", "2", "--draws", "0", "--shading", "none") == 0
    assert len(read) == 2 * 3


def test_grids_and_a_patch_size_are_refused(here, capsys):
    assert run_texture("search", "--grids", "8", "--patch-size", "16") == 2
    assert "either grids or patch_size must be given" in capsys.readouterr().err


# --------------------------------------------------------------------------------------------- export, report


def test_export_writes_every_format(here, capsys):
    assert run_texture("export", "--grid", "8", "--formats", "csv,labels,geojson,heat_map", "--output", "out") == 0
    said = capsys.readouterr().out
    written = [here / line.removeprefix("wrote ") for line in lines_of(said) if line.startswith("wrote ")]
    assert all(path.exists() for path in written)
    found = cluster_patches(measure_patches(find_tile_set("tiles"), grid=8))
    assert list(pd.read_csv(here / "out/patches.csv")["cluster"]) == found.numbers.tolist()
    images = [tifffile.imread(path) for path in sorted((here / "out/labels").glob("*.tif"))]
    assert [image.shape for image in images] == [(96, 128)] * 2
    shapes = json.loads((here / "out/geojson/Tile_001-001.geojson").read_text(encoding="utf-8"))
    assert len(shapes["features"]) == 64


def test_a_format_that_cannot_be_written_is_a_line_and_one(here, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "roifile", None)
    assert run_texture("export", "--grid", "8", "--formats", "csv,rois", "--output", "out") == 1
    assert "pip install roifile" in capsys.readouterr().err
    assert (here / "out/patches.csv").exists()


def test_a_report_is_written(here, labels, capsys):
    line = ["--grid", "8", "--labels", "labels.csv", "--search-grids", "4,8", "--search-clusters", "2,3"]
    assert run_texture("report", *line, "--output", "out.html") == 0
    page = (here / "out.html").read_text(encoding="utf-8")
    assert "Tile_001-001.tif" in page
    assert "silhouette" in page.lower()


def test_a_report_shows_labels_and_search_as_typed(here, labels, monkeypatch):
    shown = {}

    def write(path, result, **how):
        shown.update(how, path=path, result=result)
        return path

    monkeypatch.setattr(texture_report, "write_texture_report", write)
    line = ["--grid", "8", "--labels", "labels.csv", "--search-grids", "4,8x6", "--components", "2", "--opacity", "0.7"]
    assert run_texture("report", *line) == 0
    assert shown["correction"].classes == ("crystal", "film", "hole")
    assert shown["result"].settings["components"] == 2
    assert shown["opacity"] == 0.7
    searched = shown["search"].table[["rows", "columns", "clusters", "components"]]
    assert searched.to_numpy().tolist() == [[4, 4, 3, 2], [8, 6, 3, 2]]
    assert run_texture("report", "--grid", "8") == 0
    assert shown["correction"] is shown["search"] is None


# ---------------------------------------------------------------------------------------------- store, cancel


def test_with_a_store_no_pixel_is_read_again(here, monkeypatch, capsys):
    line = ["--grid", "8", "--store", "kept", "--output"]
    assert run_texture("cluster", *line, "first.csv") == 0

    def unread(*args, **kwargs):
        raise AssertionError("pixels were read")

    monkeypatch.setattr(_patches, "open_tile", unread)
    monkeypatch.setattr(_shading, "estimate_shading", unread)
    assert run_texture("cluster", *line, "second.csv") == 0
    assert (here / "first.csv").read_bytes() == (here / "second.csv").read_bytes()
    assert run_texture("cluster", *line, "third.csv", "--clusters", "5", "--components", "2") == 0


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("act", ["statistics", "cluster", "search", "export", "report"])
def test_a_stopped_command_leaves_nothing_behind(here, monkeypatch, capsys, sign, act):
    @wraps(measure_patches)
    def interrupted(*args, cancel=None, **kwargs):
        os.kill(os.getpid(), sign)
        assert cancel.is_set()
        raise Cancelled("Stopped after 1 of 2; finished work is kept.")

    monkeypatch.setattr(texture_folder, "measure_patches", interrupted)
    before = sorted(here.rglob("*"))
    assert run_texture(act) == 130
    assert "Stopped after 1 of 2" in capsys.readouterr().err
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize(
    ("act", "step"),
    [
        ("statistics", measure_patches), ("cluster", measure_patches), ("export", measure_patches),
        ("report", measure_patches), ("cluster", cluster_patches), ("export", cluster_patches),
        ("report", cluster_patches),
    ],
)  # fmt: skip
def test_a_command_stopped_during_its_last_step_leaves_nothing_behind(here, monkeypatch, act, step):
    # a step that does not look at the request itself
    @wraps(step)
    def late(*args, **kwargs):
        done = step(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGINT)
        return done

    monkeypatch.setattr(texture_folder, step.__name__, late)
    before = sorted(path for path in here.rglob("*") if path.is_file())
    assert run_texture(act) == 130
    assert sorted(path for path in here.rglob("*") if path.is_file()) == before


def test_a_stopped_search_leaves_nothing_behind(here, monkeypatch, capsys):
    @wraps(search_settings)
    def late(*args, cancel=None, **kwargs):
        cancel.set()
        return search_settings(*args, cancel=cancel, **kwargs)

    monkeypatch.setattr(texture_command, "search_settings", late)
    assert run_texture("search", "--grids", "4,8", "--draws", "0") == 130
    assert "Stopped after" in capsys.readouterr().err
    assert [path.name for path in here.iterdir()] == ["tiles"]


def test_a_write_that_fails_leaves_the_older_table(here, monkeypatch, capsys):
    assert run_texture("statistics") == 0
    table = here / "texture_statistics.csv"
    before = table.read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert run_texture("statistics", "--grid", "4") == 2
    assert "No space left on device" in capsys.readouterr().err
    assert table.read_bytes() == before
    assert [path.name for path in here.iterdir()] in ([*sorted(["tiles", table.name])], ["tiles", table.name])


def test_a_killed_command_leaves_the_older_table(here):
    assert run_texture("cluster") == 0
    before = (here / "texture_clusters.csv").read_bytes()
    code = (
        "import os, signal\n"
        "from dashboards.support.command import main\n"
        "os.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)\n"
        "main(['texture', 'cluster', 'tiles', '--clusters', '5'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=here, capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (here / "texture_clusters.csv").read_bytes() == before
    assert {path.name for path in here.iterdir() if not path.name.startswith(".")} == {"tiles", "texture_clusters.csv"}
    assert run_texture("cluster", "--clusters", "5") == 0
    assert set(pd.read_csv(here / "texture_clusters.csv")["cluster"]) == {1, 2, 3, 4, 5}


# ------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("act", "options", "words"),
    [
        ("statistics", ["--grid", "many"], "grid must be rows x columns, such as 16x16"),
        ("statistics", ["--grid", "0x4"], "must be a whole number from 1"),
        ("statistics", ["--grid", "200x200"], "at most as many rows and columns as the tile has pixels"),
        ("statistics", ["--grid", "8x"], "got '8x'"),
        ("statistics", ["--grid", "8", "--patch-size", "16"], "either rows and columns or patch_size"),
        ("statistics", ["--step", "8"], "step must come with patch_size"),
        ("statistics", ["--patch-size", "4000"], "patch_size must be at most the tile"),
        ("statistics", ["--statistics", "smell"], "smell"),
        ("statistics", ["--shading", "surfac"], "shading must be surface, none, or a file that exists; got surfac"),
        ("statistics", ["--leave-out", "ugly"], "leave_out must be a list of blank"),
        ("statistics", ["--leave-out", "nothing,dark"], "nothing or rules, not both"),
        ("statistics", ["--dark-below", "2"], "dark_below must be from 0 to 1"),
        ("statistics", ["--mode", "loud"], "compatible"),
        ("statistics", ["--workers", "0"], "workers must be at least 1"),
        ("statistics", ["--output", "table.tif"], "output must end with .csv"),
        ("statistics", ["--rows", "0"], "rows must be at least 1"),
        ("statistics", ["--rows", "1", "--columns", "1"], "a place for all 2 tiles"),
        ("statistics", ["--pattern", "("], "must be a regular expression"),
        ("cluster", ["--clusters", "0"], "clusters must be"),
        ("cluster", ["--grid", "2", "--clusters", "9"], "clusters"),
        ("cluster", ["--method", "magic"], "hdbscan"),
        ("cluster", ["--method", "agglomerative", "--linkage", "ward", "--metric", "cosine"], "ward"),
        ("cluster", ["--components", "99"], "components"),
        ("cluster", ["--order-by", "smell"], "order_by must be size or a statistic"),
        ("search", ["--grids", "8,many"], "grids must be rows x columns"),
        ("search", ["--clusters", "two"], "must be numbers separated by commas"),
        ("search", ["--draws", "-1"], "draws must be at least 0"),
        ("search", ["--heat-maps", "tiles"], "must not be the folder of the tiles"),
        ("export", ["--formats", "csv,stone"], "formats must be among csv, labels"),
        ("export", ["--output", "tiles"], "must not be the folder of the tiles"),
        ("export", ["--opacity", "3"], "opacity must be from 0 to 1"),
        ("report", ["--output", "tiles/Tile_001-001.tif"], "must not be one of the tiles"),
    ],
)  # fmt: skip
def test_wrong_use_is_a_sentence_and_two(here, capsys, act, options, words):
    before = {path: path.stat().st_mtime_ns for path in here.rglob("*")}
    assert run_texture(act, *options) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert len(lines_of(said.err)) == 1
    assert "Traceback" not in said.err
    assert {path: path.stat().st_mtime_ns for path in here.rglob("*")} == before


def test_a_link_to_a_tile_is_not_written_over(here, capsys):
    (here / "out.csv").symlink_to(here / "tiles/Tile_001-001.tif")
    before = (here / "tiles/Tile_001-001.tif").read_bytes()
    for act in ("statistics", "cluster", "search"):
        assert run_texture(act, "--output", "out.csv") == 2
        assert "must not be one of the tiles" in capsys.readouterr().err
    assert (here / "tiles/Tile_001-001.tif").read_bytes() == before


@pytest.mark.parametrize("folder", ["nowhere", "empty"])
def test_folders_without_tiles_are_two(here, capsys, folder):
    (here / "empty").mkdir()
    assert run_texture("statistics", folder=folder) == 2
    said = capsys.readouterr().err
    assert folder in said
    assert len(lines_of(said)) == 1


def test_bad_tiles_are_a_line_each_and_the_rest_is_done(here, capsys):
    whole = (here / "tiles/Tile_001-001.tif").read_bytes()
    (here / "tiles/Tile_001-003.tif").write_bytes(whole[: len(whole) // 2])
    (here / "tiles/Tile_001-004.tif").write_text("nothing")
    tifffile.imwrite(here / "tiles/Tile_001-005.tif", np.full((50, 60), 9000, np.uint16))
    assert run_texture("cluster", "--grid", "8") == 1
    said = capsys.readouterr()
    for number in (3, 4, 5):
        assert any(f"Tile_001-00{number}.tif" in line for line in lines_of(said.err)), said.err
    assert "Traceback" not in said.err
    table = pd.read_csv(here / "texture_clusters.csv")
    assert set(table["name"]) == {"Tile_001-001.tif", "Tile_001-002.tif"}
    assert set(table["cluster"]) == {1, 2, 3}


def make_tiles(folder, images):
    folder.mkdir()
    for number, image in enumerate(images):
        tifffile.imwrite(folder / f"tile_{number}.tif", image)


def test_constant_tiles_are_said(here, capsys):
    make_tiles(here / "flat", [np.full((64, 64), 100, np.uint8)] * 2)
    assert run_texture("statistics", folder="flat") == 0
    assert "All patches are left out." in capsys.readouterr().err
    for act in ("cluster", "export", "report"):
        assert run_texture(act, folder="flat") == 2
        said = capsys.readouterr().err
        assert "Traceback" not in said
        assert len(lines_of(said)) == 1


def test_numbers_that_are_none_are_left_out(here, capsys):
    rng = np.random.default_rng(0)
    images = rng.normal(1000, 50, (2, 64, 64)).astype(np.float32)
    images[0, 3, 5] = np.nan
    make_tiles(here / "holes", images)
    assert run_texture("cluster", "--grid", "4", folder="holes") == 0
    assert "1 patches have pixels that are not finite" in capsys.readouterr().err
    table = pd.read_csv(here / "texture_clusters.csv")
    assert list(np.flatnonzero(table["cluster"] < 0)) == [0]


def test_colour_with_a_fourth_channel_is_measured(here, capsys):
    rng = np.random.default_rng(0)
    (here / "colour").mkdir()
    for number in range(2):
        pixels = rng.integers(0, 255, (48, 64, 4), dtype=np.uint8)
        PillowImage.fromarray(pixels, "RGBA").save(here / f"colour/tile_{number}.png")
    assert run_texture("cluster", "--grid", "4x4", "--mode", "compatible", folder="colour") == 0
    assert len(pd.read_csv(here / "texture_clusters.csv")) == 32


def test_one_patch_is_measured_but_not_clustered(here, capsys):
    assert run_texture("statistics", "--grid", "1", folder="tiles/Tile_001-001.tif") == 0
    assert len(pd.read_csv(here / "texture_statistics.csv")) == 1
    assert run_texture("cluster", "--grid", "1", folder="tiles/Tile_001-001.tif") == 2
    assert "clusters" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------ demo


@pytest.fixture
def demonstrate(tmp_path, monkeypatch):
    """Make the demonstration of two tiles in ``demo/texture``."""
    monkeypatch.chdir(tmp_path)
    small = {**texture_demo.EXAMPLE_TILE_SET, "tiles": (1, 2)}
    monkeypatch.setattr(texture_demo, "EXAMPLE_TILE_SET", small)
    return lambda: texture_demo.make_texture_demo(Path("demo/texture"), Run(Bar(False), threading.Event()))


def test_the_demonstration_finds_the_truth_and_can_be_run_again(demonstrate, tmp_path):
    for _ in range(2):
        made = demonstrate()
        assert all(path.exists() for _, path in made.files)
        assert {os.path.exists(path) for path in made.opened.values()} == {True}
        assert made.summary["clusters"] == 3
        assert made.summary["clusters_agree_with_truth"] > 0.85
    labels = pd.read_csv(tmp_path / "demo/texture/results/labels.csv")
    assert dict(labels["class"].value_counts()) == texture_demo.LABELLED
    image = tifffile.imread(tmp_path / "demo/texture/results/labels/Tile_001-002_labels.tif")
    assert image.shape == (512, 512)


def test_the_lines_of_the_readme_work_on_the_demonstration(demonstrate, tmp_path, capsys):
    demonstrate()
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^graticule (texture .*)$", readme, re.MULTILINE)
    assert {shlex.split(line)[1] for line in lines} == set(COMMANDS)
    for line in lines:
        assert main(shlex.split(line)) == 0, line
    wrote = re.findall(r"^wrote (.*)$", capsys.readouterr().out, re.MULTILINE)
    assert all((tmp_path / name).exists() for name in wrote)
    assert {"patches.csv", "texture.html", "classes/patches.csv"} <= set(wrote)


def test_the_demonstration_leaves_other_data_alone(demonstrate, tmp_path):
    (tmp_path / "demo/texture/drawn").mkdir(parents=True)
    (tmp_path / "demo/texture/drawn/thesis.csv").write_text("years of work", encoding="utf-8")
    with pytest.raises(ValueError, match="must be empty or from an earlier demo"):
        demonstrate()
    assert [path.name for path in (tmp_path / "demo/texture").rglob("*.*")] == ["thesis.csv"]
