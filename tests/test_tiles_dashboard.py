"""The tiles page without a browser: what it shows is what the export writes, and every way is said in text."""

import asyncio
import re
import shlex

import numpy as np
import pytest
import tifffile

from analysis.synthetic.tiles import draw_images
from analysis.tiles import export_tiles, find_images
from dashboards.support.acts import Run
from dashboards.support.command import main
from dashboards.support.tiles_demo import make_tiles_demo
from dashboards.support.tiles_plan import find_earlier
from dashboards.support.tiles_report import write_tiles_report
from dashboards.support.tiles_text import shell_text
from dashboards.support.tiles_views import mosaic_html
from dashboards.tiles import TilesDashboard

HTML_NAME = "<img src=x onerror=window.hit=1>"
SETTINGS = {
    "as it comes": {},
    "resampled, stretched, 8 bits": {
        "calibrate": True, "target_um": 0.4, "normalisation": "global", "upper": 255.0, "dtype": "uint8",
        "format": ".png", "percentiles": (1, 99.5),
    },
    "typed in nm, each tile": {
        "calibrate": True, "size_from": "typed", "pixel_size": 650.0, "unit": "nm", "target_um": 0.5,
        "normalisation": "local", "lower": -1.0,
    },
    "all together, filled up, some left out": {
        "normalisation": "dataset", "edges": "pad", "padding": "zero", "leave_out": True, "empty_below": 30000.0,
        "overlap": 7,
    },
    "dropped, split": {
        "edges": "drop", "split_images": True, "training_percent": 50.0, "validation_percent": 25.0, "seed": 3,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Four images on disk, only to be read."""
    return draw_images(tmp_path_factory.mktemp("drawn"), count=4, shape=(150, 200), cells=3, seed=2)


@pytest.fixture
def make(drawn, tmp_path):
    """Make a page on the images, with small tiles."""

    def page(**settings):
        settings = {"tile_size": 64, "overlap": 16, **settings}
        return TilesDashboard(folder=drawn.folder / "images", working_dir=tmp_path / "tiles", **settings)

    return page


def pixels_of(folder):
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".tif", ".png"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


# ---- the same pixels -------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_tile_shown_is_the_tile_written(make, settings):
    page = make(**settings)
    number = int(np.flatnonzero(~page.empty)[0]) if page.empty is not None else 5
    page.tile = number
    asyncio.run(page.export())
    assert page.job.error == ""
    cut = page.exported.cuts[0]
    path = page.exported.folder / cut.file(number)
    if page.format == ".tif":
        np.testing.assert_array_equal(page.view.after, tifffile.imread(path))
    assert page.view.number == number and page.view.after.dtype == cut.dtype
    assert page.empty_count() == len(cut.left_out)
    assert page.plan.tiles == page.exported.summary()["tiles"] + page.exported.summary()["left_out"]
    if page.split_images:
        assert dict(page.plan.split) == {"train": 2, "validation": 1, "test": 1}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_python_and_shell_write_the_same_tiles(make, settings, tmp_path, capsys):
    page = make(**settings)
    asyncio.run(page.export())
    wanted = pixels_of(tmp_path / "tiles")
    assert wanted
    page.working_dir = str(tmp_path / "by python")
    exec(page.code(), {})
    page.working_dir = str(tmp_path / "by shell")
    assert main(shlex.split(page.command())[1:]) == 0
    assert pixels_of(tmp_path / "by python") == pixels_of(tmp_path / "by shell") == wanted


def test_masks_and_labels_are_cut_along_here_and_in_the_shell(make, drawn, tmp_path):
    page = make(masks=drawn.folder / "masks", labels=drawn.folder / "labels")
    asyncio.run(page.export())
    assert page.job.error == ""
    wanted = pixels_of(tmp_path / "tiles")
    tiles = page.plan.tiles
    assert len([name for name in wanted if name.startswith("masks/")]) == tiles
    assert len(list((tmp_path / "tiles" / "labels").glob("*.txt"))) == tiles
    page.working_dir = str(tmp_path / "by shell")
    assert main(shlex.split(page.command())[1:]) == 0
    assert pixels_of(tmp_path / "by shell") == wanted
    asyncio.run(page.merge())
    assert [one.difference for one in page.merged.pictures] == [0.0] * 4


def test_several_folders_are_said_in_the_shell(make, drawn, tmp_path):
    page = make()
    page.folder = f"{drawn.folder / 'images'}\n{drawn.folder / 'masks'}"
    assert shell_text(page).endswith(f"--also {drawn.folder / 'masks'}")
    assert len(page.sources) == 8
    assert main(shlex.split(page.command())[1:]) == 0
    assert find_earlier(str(tmp_path / "tiles")).images == 8


# ---- what is looked at -----------------------------------------------------------------------------------


def test_settings_that_only_draw_read_nothing(make, monkeypatch):
    page = make()
    opened, layout = page.opened, page.layout

    def fail(*_, **__):
        raise AssertionError

    monkeypatch.setattr("dashboards.tiles.OpenImage", fail)
    monkeypatch.setattr("dashboards.tiles.find_images", fail)
    page.all_tiles = False
    page.tile = 3
    page.overlap = 0
    page.normalisation = "global"
    assert page.opened is opened and page.layout is not layout and page.view.number == 3


def test_another_image_of_the_same_shape_is_read(make, drawn):
    page = make()
    page.image = "cells_02"
    np.testing.assert_array_equal(page.view.before, tifffile.imread(drawn.files[2])[:64, :64])


def test_stepping_goes_round_and_stays_within_fewer_tiles(make):
    page = make()
    page.step(-1)
    assert page.tile == len(page.layout) - 1
    page.step(1)
    assert page.tile == 0
    page.tile = len(page.layout) - 1
    page.tile_size = 128
    assert page.tile == len(page.layout) - 1 == page.view.number


def test_impossible_choices_are_left_and_said(make):
    page = make(normalisation="global", upper=255.0, dtype="uint8", format=".jpg")
    page.upper = 1.0
    assert (page.dtype, page.tile_type, page.format) == ("", "float32", ".tif")
    assert "uint8" in page.judged_types()["uint8"] and "JPEG" in page.judged_formats()[".jpg"]
    page.lower = 2.0  # for a moment, while the other bound is typed
    assert "bounds must be two numbers" in page.view_job.error
    page.lower = 0.0
    assert page.view_job.error == ""


def test_unknown_pixel_size_is_said_and_cured_by_typing(tmp_path):
    draw_images(tmp_path / "in", count=1, shape=(90, 90), cells=1, file_type="png", dtype="uint8")
    page = TilesDashboard(folder=tmp_path / "in" / "images", tile_size=64, overlap=0, calibrate=True)
    assert "must say its pixel size" in page.trouble and page.layout is None
    page.size_from = "typed"
    assert page.trouble == "" and page.layout.shape == (138, 138) and page.view is not None


def test_channels_and_planes_are_chosen(tmp_path):
    drawn = draw_images(tmp_path / "in", count=1, shape=(80, 90), cells=1, kind="channels", file_type="ome")
    page = TilesDashboard(folder=tmp_path / "in" / "images", tile_size=64, overlap=0, channel=2)
    np.testing.assert_array_equal(page.view.after, tifffile.imread(drawn.files[0])[1, :64, :64])
    page.channel = 1
    np.testing.assert_array_equal(page.view.after, tifffile.imread(drawn.files[0])[0, :64, :64])


def test_colours_stay_colours(tmp_path):
    drawn = draw_images(
        tmp_path / "in", count=1, shape=(80, 90), cells=1, kind="colour", dtype="uint8", file_type="png"
    )
    page = TilesDashboard(folder=drawn.folder / "images", tile_size=64, overlap=0)
    assert page.view.after.shape == (64, 64, 3) and page.opened[1].preview.shape == (80, 90, 3)
    assert page.judged_formats() == {".tif": "", ".png": "", ".jpg": ""}


def test_nothing_a_broken_file_and_no_folder(tmp_path, drawn):
    empty = tmp_path / "empty"
    empty.mkdir()
    page = TilesDashboard(folder=empty)
    assert "must hold TIFF" in page.job.error
    page.folder = str(tmp_path / "nowhere")
    assert "nowhere does not" in page.job.error
    (empty / f"{HTML_NAME}.tif".replace("/", "")).write_bytes(b"II*\0 no image")
    (empty / "good.tif").write_bytes(drawn.files[0].read_bytes())
    page.folder = str(empty)
    assert list(page.sources.names) == ["good"] and len(page.sources.problems) == 1 and page.view is not None


# ---- writing ---------------------------------------------------------------------------------------------


def test_export_again_remove_and_merge(make, tmp_path, drawn):
    page = make()
    asyncio.run(page.export())
    assert page.earlier.images == 4 and page.earlier.other(page.settings) == []
    asyncio.run(page.export())
    assert "0 of the images cut now" in page.job.words
    page.overlap = 3
    assert page.earlier.other(page.settings) == ["overlap"]
    asyncio.run(page.export())
    assert "another overlap" in page.job.error
    asyncio.run(page.merge())
    assert [one.difference for one in page.merged.pictures] == [0.0] * 4
    np.testing.assert_array_equal(tifffile.imread(page.merged.folder / "cells_01.tif"), tifffile.imread(drawn.files[1]))
    asyncio.run(page.remove())
    assert page.earlier is None and not list((tmp_path / "tiles").glob("*"))


@pytest.mark.parametrize("blending", ["flat", "gradient", "gaussian"])
def test_stretched_tiles_merge_to_the_stretched_image(make, blending):
    page = make(normalisation="dataset", calibrate=True, target_um=0.4, blending=blending)
    asyncio.run(page.export())
    asyncio.run(page.merge())
    assert max(one.difference for one in page.merged.pictures) < 1e-6


def test_output_among_the_images_is_refused(make, drawn):
    page = make()
    page.working_dir = str(drawn.folder / "images" / "tiles")
    asyncio.run(page.export())
    assert "must lie outside" in page.job.error and not (drawn.folder / "images" / "tiles").exists()


def test_example_draws_images_with_several_tiles():
    page = TilesDashboard()
    asyncio.run(page.load_example())
    assert len(page.sources) == len(page.sample) == 4 and len(page.layout) > 9 and page.job.error == ""


# ---- words, report, demo ---------------------------------------------------------------------------------


def test_names_with_html_are_shown_as_they_are():
    assert HTML_NAME not in mosaic_html([(HTML_NAME, b"png"), ("<b>", b"")])
    assert "&#60;img" in mosaic_html([(HTML_NAME, b"png")])


def test_report_refers_to_nothing_outside(make, drawn, tmp_path):
    page = make(normalisation="dataset", leave_out=True, empty_below=30000.0)
    path = asyncio.run(page.write_report())
    assert path is not None and page.job.error == ""
    text = re.sub(r"<script\b.*?</script>", "", path.read_text(), flags=re.DOTALL)
    assert "cells_00" in text and not re.search(r'(src|href)="https?:', text)
    with pytest.raises(ValueError, match="at least one image"):
        write_tiles_report(tmp_path / "no.html", find_images(tmp_path), **page.settings)


def test_report_of_the_command(drawn, tmp_path, capsys):
    out = tmp_path / "report.html"
    given = [
        "tiles",
        "report",
        str(drawn.folder / "images"),
        "--output",
        str(out),
        "--tile-size",
        "64",
        "--overlap",
        "8",
    ]
    assert main([*given, "--target-pixel-size", "400", "--unit", "nm", "--normalisation", "local"]) == 0
    assert "stretched to 0 to 1 for itself" in out.read_text()


def test_demo_makes_tiles_and_can_be_made_again(tmp_path):
    class Quiet(Run):
        def __init__(self):
            pass

        @property
        def keywords(self):
            return {}

        def progress(self, *_):
            pass

    for _ in range(2):
        made = make_tiles_demo(tmp_path / "tiles", Quiet())
        assert made.summary["tiles"]["images"] == 4 and made.summary["merged"]["missing"] == 0
    assert all(path.exists() for _, path in made.files)
    assert set(made.opened) == {"GRATICULE_IMAGES", "GRATICULE_TILES"}


def test_page_and_cell_can_be_drawn(make):
    page = make()
    assert page.main() is not None and len(page.sidebar()) == 5
    assert export_tiles.__name__ in page.code()
