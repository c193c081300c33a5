"""The texture page without a browser: what it shows is what the library and the command write."""

import asyncio
import os
import shlex
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from bokeh.document import Document

from analysis.synthetic.texture import draw_tile_set
from analysis.texture import COLOURS, STATISTICS, cluster_patches, find_tile_set, measure_patches
from dashboards import texture
from dashboards.support.command import main
from dashboards.support.texture_heat_map import HeatMap, Scatter
from dashboards.support.texture_heat_map_view import legend_html
from dashboards.support.texture_points import PatchPoints, colour_patches, lay_out
from dashboards.support.texture_settings import CHOSEN
from dashboards.support.texture_tables import draw_representatives, draw_selected
from dashboards.support.texture_words import border_words, problems_words, selected_words, warned
from dashboards.support.texture_work import Latest
from dashboards.texture import TextureDashboard

HTML_NAME = "<img src=x onerror=window.hit=1>"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Four tiles that are not square, only to be read."""
    return draw_tile_set(tmp_path_factory.mktemp("drawn"), tiles=(2, 2), shape=(128, 160), seed=1)


@pytest.fixture
def make(drawn, tmp_path):
    """Make a page on the tiles, with an output folder of its own."""

    def page(**settings):
        return TextureDashboard(
            **{
                "folder": drawn.folder / "tiles",
                "output": tmp_path / "out",
                "grid_rows": 8,
                "grid_columns": 8,
                **settings,
            }
        )

    return page


# ---- the same table --------------------------------------------------------------------------------------

SETTINGS = {
    "as it comes": {},
    "a grid of another shape": {"grid_rows": 6, "grid_columns": 10, "preset": "five_number", "leave_out": []},
    "a window, statistics one by one": {
        "divide_by": "patch_size", "patch_px": 40, "step_px": 20, "statistics": ["std", "mean", "entropy"],
        "shading": "none", "scale": False, "clusters": 4,
    },
    "joined, components, one channel": {
        "method": "agglomerative", "linkage": "average", "metric": "cosine", "components": 2, "seed": 3,
        "leave_out": ["edge", "dark"], "dark_below": 0.3, "set_rows": 1, "set_columns": 4,
    },
}  # fmt: skip


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_page_python_and_shell_give_the_same_table(make, settings, tmp_path):
    page = make(**settings)
    assert page.job.error == page.trouble == ""
    asyncio.run(page.export(["csv"]))
    wanted = (tmp_path / "out" / "patches.csv").read_bytes()
    for way in ("by python", "by shell"):
        page.output = str(tmp_path / way)
        (tmp_path / way).mkdir()
        if way == "by python":
            exec(page.code(), {})
        else:
            assert main(shlex.split(page.command())[1:]) == 0
        assert (tmp_path / way / "patches.csv").read_bytes() == wanted


def test_what_is_shown_is_what_the_library_finds(make, drawn):
    page = make(clusters=4, preset="five_number")
    patches = measure_patches(find_tile_set(drawn.folder / "tiles"), grid=8, statistics="five_number")
    wanted = cluster_patches(patches, clusters=4)
    np.testing.assert_array_equal(page.found.numbers, wanted.numbers)
    np.testing.assert_array_equal(np.nan_to_num(colour_patches(page).values), np.maximum(wanted.numbers, 0))


def test_clusters_scale_and_components_read_no_tile(make, monkeypatch):
    page = make()
    patches = page.patches

    def fail(*_, **__):
        raise AssertionError

    monkeypatch.setattr("dashboards.texture.measure_patches", fail)
    page.clusters = 5
    assert page.found.count == 5 and page.patches is patches
    page.param.update(components=2, scale=False)
    assert page.found.features.values.shape[1] == 2
    page.method = "gaussian mixture"
    assert page.found.settings["method"] == "gaussian mixture" and page.patches is patches


def test_going_back_measures_nothing_again(make, monkeypatch):
    page = make()
    first, found = page.patches, page.found
    page.param.update(grid_rows=4, grid_columns=4)
    page.preset = "five_number"
    assert page.patches is not first
    monkeypatch.setattr("dashboards.texture.measure_patches", None)
    monkeypatch.setattr("dashboards.texture.cluster_patches", None)
    page.preset = "common"
    page.param.update(grid_rows=8, grid_columns=8)
    assert page.patches is first and page.found is found


def test_looks_compute_nothing(make, monkeypatch):
    page = make()
    for name in ("measure_patches", "cluster_patches", "embed_patches"):
        monkeypatch.setattr(f"dashboards.texture.{name}", None)
    page.param.update(opacity=0.9, palette="magma", shown="std", across="mean", up="PC 2")
    assert page.trouble == page.job.error == ""


def test_presets_and_single_statistics_agree():
    page = TextureDashboard(preset="five_number")
    assert page.statistics == ["min", "quartile1", "median", "quartile3", "max"]
    page.statistics = ["mean", "std"]
    assert page.preset == CHOSEN and page.settings["statistics"] == ["mean", "std"]
    page.preset = "texture"
    assert "lbp_3" in page.statistics and page.settings["statistics"] == "texture"
    assert TextureDashboard(statistics=["mean"]).preset == CHOSEN
    assert set(page.param.statistics.objects) == set(STATISTICS)


def test_fewer_statistics_leave_fewer_components(make):
    page = make(components=6)
    page.statistics = ["mean", "std"]
    assert page.components == 2 and page.trouble == "" and page.found.features.values.shape[1] == 2


def test_what_cannot_be_shown_any_more_is_left(make):
    page = make(shown="skewness", across="kurtosis")
    assert page.shown == "skewness" and page.across == "kurtosis"
    page.preset = "five_number"
    assert page.shown == "clusters" and page.across == "PC 1" and "median" in page.param.shown.objects


# ---- bad input -------------------------------------------------------------------------------------------


def test_nothing_and_wrong_folders(tmp_path):
    page = TextureDashboard()
    assert page.found is None and page.outcome() == "" and page.code().startswith("from analysis.texture")
    assert page.main() is not None and page.sidebar()
    page.folder = str(tmp_path / "nowhere")
    assert "nowhere" in page.job.error
    page.folder = str(tmp_path)
    assert "must hold at least one image" in page.job.error
    assert asyncio.run(page.write_report()) is None and "nothing to report on" in page.write_job.error
    assert asyncio.run(page.export(["csv"])) is None and "nothing to export" in page.write_job.error
    asyncio.run(page.search())
    assert "nothing to search" in page.search_job.error


def test_the_last_good_picture_stays(make, tmp_path):
    page = make()
    found, mosaic = page.found, page.mosaic
    page.folder = str(tmp_path / "nowhere")
    assert page.job.error and page.found is found and page.mosaic is mosaic
    page.folder = ""
    assert page.found is None and page.mosaic is None and page.job.error == ""


def test_a_corrupt_tile_is_said_and_the_others_are_shown(make, drawn, tmp_path):
    copy = shutil.copytree(drawn.folder / "tiles", tmp_path / "tiles")
    (copy / f"Tile_003-001{HTML_NAME}.tif").write_bytes(b"II*\0 no tile")
    page = make(folder=copy)
    assert page.found.count == 3 and len(page.patches) == 4 * 64
    assert HTML_NAME in problems_words(page)


def test_one_patch_and_more_clusters_than_patches(tmp_path):
    tifffile.imwrite(tmp_path / "one.tif", np.arange(64 * 64, dtype=np.uint16).reshape(64, 64))
    page = TextureDashboard(folder=tmp_path, grid_rows=1, grid_columns=1, shading="none")
    assert page.patches is not None and page.found is None and "clusters must be" in page.trouble
    page.param.update(grid_rows=2, grid_columns=2, clusters=5)
    assert page.found is None and "clusters must be" in page.trouble
    page.clusters = 2
    assert page.found.count == 2 and page.trouble == ""


def test_constant_tiles(tmp_path):
    for number in range(2):
        tifffile.imwrite(tmp_path / f"{number}.tif", np.full((64, 64), 500 + number, np.uint16))
    page = TextureDashboard(folder=tmp_path, grid_rows=4, grid_columns=4)
    assert page.mosaic is not None and page.found is None and page.trouble
    page.leave_out = []
    assert page.mosaic is not None and (page.trouble or warned(page))


def test_colour_and_numbers_that_are_not_finite(tmp_path, drawn):
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 255, (64, 64, 4)).astype(np.uint8)
        tifffile.imwrite(tmp_path / f"colour{number}.tif", pixels, photometric="rgb")
    page = TextureDashboard(folder=tmp_path, grid_rows=4, grid_columns=4, shading="none")
    assert page.found.count == 3, page.job.error
    pixels = np.random.default_rng(3).random((64, 64)).astype(np.float32)
    pixels[5, 5] = np.nan
    (tmp_path / "float").mkdir()
    tifffile.imwrite(tmp_path / "float" / "a.tif", pixels)
    page.folder = str(tmp_path / "float")
    assert page.patches.table["left_out"].sum() == 1 and np.isnan(colour_patches(page).values).sum() == 1


def test_a_missing_model_is_said(make, tmp_path):
    page = make()
    page.shading = "model"
    assert "Type the file of the flatfield model" in page.job.error
    page.model = str(tmp_path / "nothing.tif")
    assert "nothing.tif" in page.job.error and page.found is not None
    page.shading = "none"
    assert page.job.error == "" and page.patches.shading is None


# ---- pictures --------------------------------------------------------------------------------------------


def test_rasters_lie_where_patches_lie(make):
    for settings in (
        {},
        {"grid_rows": 5, "grid_columns": 7},
        {"divide_by": "patch_size", "patch_px": 32, "step_px": 16},
    ):
        page = make(**settings)
        places = page.mosaic.place_patches(page.patches)
        cells, at = lay_out(page.patches.table, places)
        assert sum(int((raster >= 0).sum()) for raster in cells) == len(page.patches)
        for raster, x, y, dw, dh in zip(cells, at["x"], at["y"], at["dw"], at["dh"], strict=True):
            row, column = np.divmod(np.arange(raster.size), raster.shape[1])
            middles = (places["left"] + places["right"]) / 2, (places["top"] + places["bottom"]) / 2
            np.testing.assert_allclose(x + (column + 0.5) * dw / raster.shape[1], middles[0][raster.ravel()])
            np.testing.assert_allclose(y + (row + 0.5) * dh / raster.shape[0], middles[1][raster.ravel()])


def test_a_new_number_of_clusters_sends_numbers_only(make):
    page = make()
    points = PatchPoints(page)
    heat_map, scatter = HeatMap(points), Scatter(points)
    points.put_patches()
    heat_map.put_mosaic()
    heat_map.put_colours()
    document = Document()
    document.add_root(heat_map.figure)
    document.add_root(scatter.figure)
    changed = []
    document.on_change(changed.append)
    page.clusters = 4
    points.put_colours()
    heat_map.put_colours()
    columns = [event.cols for event in changed if hasattr(event, "cols")]
    assert sorted(map(tuple, columns)) == [("image",), ("name",), ("value",)]
    assert {event.attr for event in changed if not hasattr(event, "cols")} <= {"palette", "high", "low"}


def test_clicks_select_and_label(make):
    page = make()
    points = PatchPoints(page)
    heat_map = HeatMap(points)
    points.put_patches()
    places = page.mosaic.place_patches(page.patches)
    x, y = (places["left"] + places["right"]) / 2, (places["top"] + places["bottom"]) / 2
    heat_map.tap(x[10], y[10])
    assert page.selected == [10] and selected_words(page).startswith("1 patch selected: 1 in cluster")
    heat_map.tap(x[200], y[200], more=True)
    assert page.selected == [10, 200]
    points.put_marks()
    assert points.source.selected.indices == [10, 200]
    heat_map.tap(-5, -5)
    assert page.selected == []
    page.labelling = True
    heat_map.tap(x[10], y[10])
    heat_map.tap(-5, -5)
    assert list(page.labelled_rows) == [10] and page.selected == []
    heat_map.put_labels()
    assert len(heat_map._labels.data["left"]) == 1
    heat_map.tap(x[10], y[10])
    assert page.labels == {}


def test_marks_of_the_browser_reach_the_page(make):
    page = make()
    points = PatchPoints(page)
    points.put_patches()
    points.source.selected.indices = [3, 7]
    assert page.selected == [3, 7]


def test_more_patches_than_are_drawn_one_by_one(make, monkeypatch):
    monkeypatch.setattr("dashboards.support.texture_points.MOST_DRAWN", 200)
    page = make()
    points = PatchPoints(page)
    heat_map = HeatMap(points)
    points.put_patches()
    heat_map.put_mosaic()
    heat_map.put_colours()
    assert len(points.rows) == 200 == len(points.source.data["value"])
    assert sum(image.size for image in heat_map._colours.data["image"]) == len(page.patches)
    hidden = int(np.setdiff1d(np.arange(len(page.patches)), points.rows)[5])
    places = page.mosaic.place_patches(page.patches).iloc[hidden]
    heat_map.tap((places["left"] + places["right"]) / 2, (places["top"] + places["bottom"]) / 2)
    assert page.selected == [hidden]
    points.put_marks()
    assert points.source.selected.indices == [] and page.selected == [hidden]


def test_names_from_files_are_text(make, drawn, tmp_path):
    copy = shutil.copytree(drawn.folder / "tiles", tmp_path / "tiles")
    for file in copy.iterdir():
        file.rename(file.with_name(f"{file.stem}-{HTML_NAME}.tif"))
    page = make(folder=copy)
    for content in (draw_representatives(page.found, ["#000000"]), draw_selected(page.patches, [0, 1])):
        assert "<img src=x" not in content and content.count("<img") >= 2
    assert "<img" not in legend_html([(HTML_NAME, "#000000", 3)])


def test_tiles_are_shown_with_and_without_their_shading(make, monkeypatch):
    page = make()
    flat, shading = page.mosaic, page.patches.shading
    assert flat.settings["shading"] is not None and shading is not None
    page.flat = False
    bare = page.mosaic
    assert bare.settings["shading"] is None and (bare.pixels != flat.pixels).any()
    monkeypatch.setattr("dashboards.texture.read_mosaic", None)
    page.flat = True
    assert page.mosaic is flat
    page.param.update(grid_rows=4, grid_columns=4)
    assert page.mosaic is flat
    page.shading = "none"
    assert page.mosaic is bare


def test_a_border_that_is_a_cluster_is_said(tmp_path):
    drawn = draw_tile_set(tmp_path, tiles=(1, 2), shape=(256, 256), border=True, seed=2)
    page = TextureDashboard(folder=drawn.folder / "tiles")
    assert border_words(page).startswith("Most patches of cluster 1 ")
    page.leave_out = ["blank", "dark", "partly_dark"]
    assert page.partly_dark is None and border_words(page) == ""


def test_a_border_is_not_looked_for_where_there_is_none(make):
    page = make()
    assert page.partly_dark is not None and border_words(page) == ""


def test_the_slider_of_the_grid_leaves_finer_and_coarser_grids(make):
    page = make()
    page.sidebar()
    page.param.update(grid_rows=1, grid_columns=1)
    assert (page.grid_rows, page.grid_columns) == (1, 1)
    page.param.update(grid_rows=80, grid_columns=100)
    assert (page.grid_rows, page.grid_columns) == (80, 100)


def test_both_axes_of_the_scatter_lie_in_one_plane(make, monkeypatch):
    made = []
    monkeypatch.setattr("dashboards.texture.embed_patches", lambda *_, method, **__: made.append(method))
    page = make()
    page.across = "UMAP 1"
    assert page.up == "UMAP 2"
    page.up = "PC 1"
    assert page.across == "PC 2"
    page.param.update(across="mean")
    assert page.up == "PC 1" and set(made) <= {"components", "umap"}


# ---- labels ----------------------------------------------------------------------------------------------


def given(page, drawn):
    """Labels of a few patches of each class that are nearly of it alone."""
    grid = page.patches.grid
    classes, share = drawn.patch_classes(grid.starts_y, grid.starts_x, grid.patch_size)
    for number, name in enumerate(("film", "hole", "crystal")):
        rows = np.flatnonzero((classes == number) & (share > 0.9) & ~page.patches.table["left_out"].to_numpy())[:4]
        page.label(rows.tolist(), name)
    return classes, share


def test_labels_are_learnt_and_shown(make, drawn):
    page = make(grid_rows=16, grid_columns=16)
    classes, share = given(page, drawn)
    assert len(page.labels) == 12 and {"film", "hole", "crystal"} <= set(page.classes)
    asyncio.run(page.correct())
    assert page.shown == "classes" and page.correction.classes == ("crystal", "film", "hole")
    clear = share > 0.9
    names = np.array(["film", "hole", "crystal"], object)[classes]
    found = page.correction.table["class"].to_numpy(object)
    assert (found == names)[clear].mean() > 0.8
    made = colour_patches(page)
    shown = {row: made.names[int(made.values[row])] for row in page.labelled_rows}
    assert shown == page.labelled_rows
    # of the same class on the page, in the report and in files
    assert [page.class_colours[name] for name in page.correction.classes] == list(COLOURS[:3]) == made.colours
    page.shown = "sureness"
    assert colour_patches(page).bounds == pytest.approx((1 / 3, 1.0))


def test_labels_can_be_taken_back_renamed_saved_and_read(make, drawn, tmp_path):
    page = make()
    given(page, drawn)
    kept = dict(page.labels)
    page.unlabel(list(page.labelled_rows)[:3])
    assert len(page.labels) == len(kept) - 3
    page.undo()
    assert page.labels == kept
    page.rename_class("film", "support")
    assert "film" not in page.classes and "film" not in page.labels.values()
    page.undo()
    assert "film" in page.classes and "film" in page.labels.values()
    page.rename_class("film", "support")
    path = tmp_path / "labels.csv"
    assert asyncio.run(page.save_labels(path)) == path
    other = make()
    asyncio.run(other.load_labels(path))
    assert other.labelled_rows == page.labelled_rows and "support" in other.classes
    coarse = make(grid_rows=4, grid_columns=4)
    asyncio.run(coarse.load_labels(path))
    assert "labels" in coarse.write_job.error and "Tile_001-001" in coarse.write_job.error
    assert coarse.labels == {}


def test_classes_follow_labels_that_change_while_the_forest_grows(make, drawn):
    page = make()
    given(page, drawn)

    async def change():
        growing = asyncio.create_task(page.correct())
        await asyncio.sleep(0)  # of three classes
        page.unlabel(list(page.labelled_rows)[:1])
        page.unlabel([row for row, name in page.labelled_rows.items() if name != "film"])
        await growing
        assert page.correction is None and page.shown == "clusters"
        assert not page.job.error
        page.undo()
        while page.correction is None:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(change(), 60))
    assert page.correction.classes == ("crystal", "film", "hole")


def test_labels_belong_to_their_grid(make, drawn):
    page = make()
    given(page, drawn)
    kept = dict(page.labels)
    asyncio.run(page.correct())
    page.param.update(grid_rows=4, grid_columns=4)
    assert page.labels == {} and page.correction is None and page.shown == "clusters"
    page.param.update(grid_rows=8, grid_columns=8)
    assert page.labels == kept
    page.preset = "five_number"
    assert page.labels == kept


def test_labels_outlive_looking_again_and_wait_for_tiles_that_are_gone(make, drawn, tmp_path):
    folder = shutil.copytree(drawn.folder / "tiles", tmp_path / "tiles")
    page = make(folder=folder)
    given(page, drawn)
    kept = dict(page.labels)
    lost = next(iter(kept))[0]
    assert {file for file, *_ in kept} != {lost}
    asyncio.run(page.look_up())
    assert page.labels == kept
    (file,) = (path for path in folder.rglob("*.tif*") if path.name == Path(lost).name)
    file.rename(tmp_path / file.name)
    asyncio.run(page.look_up())
    assert page.labels == {key: name for key, name in kept.items() if key[0] != lost}
    assert any("of tiles that are not there now" in line for line in page.log)
    asyncio.run(page.look_up())
    page.folder = str(drawn.folder / "tiles")
    assert page.labels == {}
    (tmp_path / file.name).rename(file)
    page.folder = str(folder)
    assert page.labels == kept


def test_a_patch_that_is_left_out_gets_no_class(make):
    page = make(leave_out=["edge"])
    out = int(np.flatnonzero(page.patches.table["left_out"])[0])
    page.label([out], "film")
    assert page.labels == {} and "is left out (edge)" in page.job.error
    page.label(np.flatnonzero(~page.patches.table["left_out"])[:1], "film")
    assert len(page.labels) == 1 and page.job.error == ""


def test_similar_patches(make):
    page = make()
    found = asyncio.run(page.find_similar(10, count=5))
    assert len(found) == 5 and page.similar is found and 10 not in found["patch"].tolist()


# ---- searching, example, report --------------------------------------------------------------------------


def test_a_cell_of_the_search_opens_without_computing(make, monkeypatch):
    page = make(search_grids=[4, 6], search_clusters=(2, 3), search_components=[0, 2])
    asyncio.run(page.search())
    assert len(page.searched.table) == 8
    page.preset = "five_number"
    page.tab = 1
    row = int(page.searched.table.query("rows == 6 and clusters == 3 and components == 2").index[0])
    for name in ("measure_patches", "cluster_patches"):
        monkeypatch.setattr(f"dashboards.texture.{name}", None)
    page.open_cell(row)
    assert page.found is page.searched.cells[row] and page.patches is page.found.patches
    assert (page.grid_rows, page.grid_columns, page.clusters, page.components) == (6, 6, 3, 2)
    assert page.preset == "common" and page.tab == 0
    assert page.embedding.table["patch"].max() < len(page.patches)


def test_example_has_three_clusters():
    page = TextureDashboard()
    asyncio.run(page.load_example())
    assert page.found.count == 3 and page.job.error == "" and len(page.patches) == 6 * 32 * 32
    assert page.outcome().startswith("6,144 patches of 6 tiles in 3 clusters")


def test_report_is_written(make, tmp_path):
    page = make()
    path = asyncio.run(page.write_report())
    assert path == tmp_path / "out" / "texture_report.html" and path.stat().st_size > 10_000


def test_measuring_exporting_and_reporting_do_not_stop_each_other(make, tmp_path):
    page = make()

    async def all_at_once():
        writing = [asyncio.ensure_future(page.export(["csv", "heat_map"])), asyncio.ensure_future(page.write_report())]
        await asyncio.sleep(0)
        page.param.update(grid_rows=6, grid_columns=6)
        await page.measure()
        return await asyncio.gather(*writing)

    written, report = asyncio.run(all_at_once())
    assert not len(written.problems) and report.is_file() and len(page.patches) == 4 * 36
    assert page.job.error == page.write_job.error == ""


def test_the_store_goes_with_the_page(make, tmp_path):
    page = make()
    store = page._store
    page.close()
    assert not os.path.exists(store)


def test_of_many_requests_the_last_one_counts():
    asked, done = [0], []

    async def work():
        wanted = asked[0]
        await asyncio.sleep(0.01)
        done.append(wanted)

    async def ask():
        latest = Latest()
        tasks = []
        for number in range(5):
            asked[0] = number
            tasks.append(asyncio.ensure_future(latest.run(work)))
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)

    asyncio.run(ask())
    assert done == [0, 4]


def test_a_folder_typed_while_patches_are_measured_is_read(tmp_path, monkeypatch):
    truth = draw_tile_set(tmp_path / "set", tiles=(2, 2), shape=(64, 64))
    other = tmp_path / "other"
    other.mkdir()
    for number in range(2):
        shutil.copy(truth.files[number], other / truth.files[number].name)
    real = texture.measure_patches

    def slow(*args, **keywords):
        time.sleep(0.3)
        return real(*args, **keywords)

    async def act():
        page = TextureDashboard(grid_rows=4, grid_columns=4)
        page.folder = str(truth.folder / "tiles")
        while page.found is None:
            await asyncio.sleep(0.05)
        monkeypatch.setattr(texture, "measure_patches", slow)
        page.grid_rows = 2
        await asyncio.sleep(0.1)
        page.grid_columns = 2
        page.folder = str(other)
        for _ in range(600):
            await asyncio.sleep(0.05)
            if page.found is not None and len(page.patches) == 2 * 4:
                break
        assert len(page.tile_set) == 2 and len(page.patches) == 2 * 4
        # a folder that is not there stays said, and settings changed meanwhile count for the tiles of before
        page.folder = str(tmp_path / "nowhere")
        page.grid_rows = 3
        for _ in range(600):
            await asyncio.sleep(0.05)
            if len(page.patches) == 2 * 6 and page.job.error:
                break
        assert len(page.patches) == 2 * 6 and "nowhere" in page.job.error

    asyncio.run(act())
