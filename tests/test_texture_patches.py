"""Statistics of whole sets: the table, what is left out, what is kept, and what must not matter."""

import shutil
import threading
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from analysis.synthetic.texture import draw_tile_set
from analysis.tasks import Cancelled
from analysis.texture import (
    PRESETS,
    STATISTICS,
    estimate_shading,
    find_tile_set,
    make_grid,
    measure_patches,
    select_statistics,
)
from analysis.texture import _patches as module


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    return draw_tile_set(tmp_path_factory.mktemp("set"), tiles=(2, 2), shape=(128, 192), border=True, seed=1)


@pytest.fixture
def tile_set(truth):
    return find_tile_set(truth.folder / "tiles")


@pytest.fixture
def reads(monkeypatch):
    """Tiles opened to be measured."""
    opened = []

    def counted(info, channel):
        opened.append(info.path.name)
        return real(info, channel)

    real = module.open_tile
    monkeypatch.setattr(module, "open_tile", counted)
    return opened


def test_table(tile_set, truth):
    patches = measure_patches(tile_set, grid=(4, 6), shading="none", statistics=["mean", "max"])
    assert len(patches) == 4 * 24
    assert list(patches.table.columns[-4:]) == ["mean", "max", "left_out", "why"]
    row = patches.table.iloc[24 + 7]
    assert (row["name"], row["tile_row"], row["tile_column"]) == ("Tile_001-002.tif", 0, 1)
    assert (row["row"], row["column"], row["row_px"], row["column_px"], row["rows_px"], row["columns_px"]) == (
        1, 1, 32, 32, 32, 32,
    )  # fmt: skip
    pixels = tifffile.imread(truth.files[1])[32:64, 32:64]
    assert row["mean"] == pixels.mean()
    assert row["max"] == pixels.max()
    assert patches.features.shape == ((~patches.table["left_out"]).sum(), 2)
    assert patches.summary()["left_out"].keys() == {"dark"}


def test_windows_may_overlap_in_any_shape(tile_set, truth):
    patches = measure_patches(tile_set, patch_size=(20, 50), step=(13, 31), shading="none", statistics="texture")
    grid = make_grid((128, 192), patch_size=(20, 50), step=(13, 31))
    assert len(patches) == 4 * len(grid)
    row = patches.table.iloc[len(grid) + 6]
    pixels = tifffile.imread(truth.files[1])
    part = pixels[row["row_px"] : row["row_px"] + 20, row["column_px"] : row["column_px"] + 50]
    assert row["mean"] == pytest.approx(part.mean())
    down, across = np.gradient(np.pad(pixels.astype(float), 1, mode="edge"))
    length = np.hypot(down, across)[1:-1, 1:-1]
    part = length[row["row_px"] : row["row_px"] + 20, row["column_px"] : row["column_px"] + 50]
    assert row["gradient_mean"] == pytest.approx(part.mean(), rel=1e-5)


def test_bands_do_not_matter(tile_set, monkeypatch):
    options = {"grid": (8, 5), "statistics": list(STATISTICS)}
    whole = measure_patches(tile_set, **options)
    monkeypatch.setattr(module, "_BAND_BYTES", 10_000)
    bands = measure_patches(tile_set, **options)
    pd.testing.assert_frame_equal(whole.table, bands.table, check_exact=True)


def test_order_of_files_and_workers_do_not_matter(truth):
    paths = list(truth.files)
    a = measure_patches(find_tile_set(paths), statistics="texture", workers=1)
    b = measure_patches(find_tile_set(paths[::-1]), statistics="texture", workers=3)
    pd.testing.assert_frame_equal(a.table, b.table, check_exact=True)


def test_processes_give_the_same(truth, tile_set, tmp_path):
    here = measure_patches(tile_set)
    with ProcessPoolExecutor(1) as executor:
        there = measure_patches(tile_set, executor=executor, store=tmp_path / "store")
    pd.testing.assert_frame_equal(here.table, there.table, check_exact=True)


def test_kept_statistics_are_not_measured_again(truth, tmp_path, reads):
    folder = shutil.copytree(truth.folder / "tiles", tmp_path / "tiles")
    tile_set, store = find_tile_set(folder), tmp_path / "store"
    first = measure_patches(tile_set, store=store)
    assert len(reads) == 4
    again = measure_patches(tile_set, store=store, leave_out=(), statistics=["mean", "std"])
    assert len(reads) == 4
    assert again.table["std"].equals(first.table["std"])
    assert np.array_equal(again.shading.surface, first.shading.surface)
    assert again.shading.table.equals(first.shading.table)
    more = measure_patches(tile_set, store=store, statistics=[*PRESETS["common"], "median"])
    assert len(reads) == 8
    pd.testing.assert_frame_equal(more.table, measure_patches(tile_set, statistics=list(more.statistics)).table)
    reads.clear()
    for options in ({"grid": (4, 4)}, {"shading": "none"}, {"mode": "compatible"}):
        measure_patches(tile_set, store=store, **options)
        assert len(reads) == 4
        reads.clear()
    measure_patches(tile_set, store=store, shading="none")
    tifffile.imwrite(folder / "Tile_001-001.tif", tifffile.imread(folder / "Tile_001-001.tif")[::-1])
    measure_patches(find_tile_set(folder), store=store, shading="none")
    assert reads == ["Tile_001-001.tif"]


def test_a_damaged_store_is_measured_again(tile_set, tmp_path, reads):
    first = measure_patches(tile_set, store=tmp_path, shading="none")
    for path in tmp_path.glob("*.npz"):
        path.write_bytes(path.read_bytes()[:100])
    reads.clear()
    again = measure_patches(tile_set, store=tmp_path, shading="none")
    assert len(reads) == 4
    pd.testing.assert_frame_equal(first.table, again.table)


def test_other_numbers_in_a_store_are_measured_again(tile_set, tmp_path, reads):
    first = measure_patches(tile_set, store=tmp_path, shading="none")
    for path in tmp_path.glob("*.npz"):
        np.savez(path, mean=np.array(1.0), min=np.array(["a"] * 256), max=np.zeros(255))
    again = measure_patches(tile_set, store=tmp_path, shading="none")
    pd.testing.assert_frame_equal(first.table, again.table)


def test_a_full_disk_stops_only_the_keeping(tile_set, tmp_path, monkeypatch, caplog):
    def refuse(path, **options):
        raise OSError(28, "No space left on device", str(path))

    first = measure_patches(tile_set)
    monkeypatch.setattr("analysis.texture._store.whole_file", refuse)
    again = measure_patches(tile_set, store=tmp_path / "store", workers=1)
    pd.testing.assert_frame_equal(first.table, again.table)
    assert len(again.problems) == 0
    assert [record.message.count("No space left") for record in caplog.records] == [1]


def test_only_what_is_asked_for_is_computed(tile_set, monkeypatch):
    def refuse(*args):
        raise AssertionError("percentiles were not asked for")

    monkeypatch.setattr("analysis.texture._statistics._from_percentiles", refuse)
    monkeypatch.setattr("analysis.texture._statistics._from_filters", refuse)
    measure_patches(tile_set, statistics="common", shading="none")


def test_left_out(tmp_path):
    pixels = np.random.default_rng(0).normal(1000, 20, (80, 80)).astype(np.float32)
    pixels[:20, :20] = 5000.0  # blank
    pixels[:20, 20:40] *= 0.1
    pixels[:20, 40:60] = np.where(np.arange(20) < 5, 1, pixels[:20, 40:60])
    pixels[45, 45] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    tile_set = find_tile_set(tmp_path)

    def why(*rules):
        table = measure_patches(tile_set, grid=(4, 4), shading="none", leave_out=rules).table
        assert (table["left_out"] == (table["why"] != "")).all()
        return table["why"].to_numpy().reshape(4, 4)

    assert why()[2, 2] == "pixels that are not finite"
    assert (why() != "").sum() == 1
    assert list(why("blank", "dark", "partly_dark")[0]) == ["blank", "dark", "partly_dark", ""]
    assert (why("edge") == "edge").sum() == 12
    patches = measure_patches(tile_set, grid=(4, 4), shading="none")
    assert any("not finite" in said for said in patches.warnings)
    assert np.isfinite(patches.features).all()


def test_nothing_is_dark_beside_a_median_below_zero(tmp_path):
    pixels = np.random.default_rng(0).integers(-1200, -800, (64, 64)).astype(np.int16)
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    patches = measure_patches(find_tile_set(tmp_path), grid=4, shading="none", leave_out=("dark", "partly_dark"))
    assert not patches.table["left_out"].any()
    assert any("no patch counts as dark" in said for said in patches.warnings)


def test_edge_is_that_of_the_set(tile_set):
    table = measure_patches(tile_set, grid=(4, 4), shading="none", leave_out=["edge"]).table
    assert table["left_out"].sum() == 4 * 7
    assert not table.query("tile == 0 and row == 3 and column == 3")["left_out"].any()


def test_bad_tiles_are_said_and_the_rest_is_measured(truth, tmp_path):
    folder = shutil.copytree(truth.folder / "tiles", tmp_path / "tiles")
    (folder / "Tile_002-001.tif").write_bytes(b"II*\0nothing")
    tifffile.imwrite(folder / "Tile_003-001.tif", np.full((50, 60), 7, np.uint16))
    tile_set = find_tile_set(folder)
    patches = measure_patches(tile_set)
    assert patches.table["name"].nunique() == 3
    assert len(patches.problems) == 2
    assert "must be as large as the shading, 128 x 192 px; got 50 x 60" in patches.problems["error"][1]
    # without shading it can be measured: a constant image, of which every patch is blank
    patches = measure_patches(tile_set, shading="none")
    constant = patches.table[patches.table["name"] == "Tile_003-001.tif"]
    assert len(constant) == 256
    assert (constant["why"] == "blank").all()
    # a file that vanishes after it was found
    (folder / "Tile_001-001.tif").unlink()
    patches = measure_patches(tile_set, store=tmp_path / "store")
    assert "No such file" in patches.problems["error"].iloc[1]
    assert patches.table["name"].nunique() == 2


def test_nothing_can_be_measured(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((8, 8), np.uint8))
    tile_set = find_tile_set(tmp_path)
    with pytest.raises(ValueError, match="at most as many rows"):
        measure_patches(tile_set, shading="none")
    one = measure_patches(tile_set, grid=(1, 1), shading="none")
    assert list(one.table["why"]) == ["blank"]
    assert "All patches are left out." in one.warnings
    (tmp_path / "a.tif").unlink()
    with pytest.raises(ValueError, match="none was"):
        measure_patches(tile_set, grid=(1, 1), shading="none")


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_number_types(tmp_path, dtype):
    truth = draw_tile_set(tmp_path, tiles=(1, 1), shape=(128, 128), dtype=dtype)
    patches = measure_patches(find_tile_set(truth.folder / "tiles"), grid=(4, 4), statistics="texture")
    assert np.isfinite(patches.features).all()
    assert not patches.problems.size


def test_colours_and_channels(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(2):
        Image.fromarray(rng.integers(0, 256, (48, 64, 4), np.uint8)).save(tmp_path / f"t{number}.png")
    patches = measure_patches(find_tile_set(tmp_path), grid=(3, 4))
    assert len(patches) == 24
    channels = rng.integers(0, 9999, (2, 40, 40), np.uint16)
    (tmp_path / "b").mkdir()
    tifffile.imwrite(tmp_path / "b" / "t.tif", channels, imagej=True, metadata={"axes": "CYX"})
    patches = measure_patches(find_tile_set(tmp_path / "b", channel=2), grid=(1, 1), shading="none", statistics="mean")
    assert patches.table["mean"][0] == pytest.approx(channels[1].mean())


def test_gain_changes_what_it_must(tile_set, tmp_path):
    for path in tile_set.table["file"]:
        pixels = tifffile.imread(path).astype(np.float32)
        tifffile.imwrite(tmp_path / path.rpartition("/")[2], 4 * pixels)
    a = measure_patches(tile_set, mode="centre").table
    b = measure_patches(find_tile_set(tmp_path)).table
    for name, factor in {"mean": 4, "std": 4, "mode": 4, "relstd": 1, "skewness": 1, "kurtosis": 1}.items():
        np.testing.assert_allclose(b[name], factor * a[name], rtol=2e-3, atol=2e-3)
    assert a["left_out"].equals(b["left_out"])


def test_a_grid_or_a_shading_made_before(tile_set):
    a = measure_patches(tile_set, grid=make_grid(tile_set.shape, rows=4, columns=6), shading=estimate_shading(tile_set))
    b = measure_patches(tile_set, grid=(4, 6))
    pd.testing.assert_frame_equal(a.table, b.table, check_exact=True)


def test_fewer_statistics_of_what_was_measured(tile_set):
    patches = measure_patches(tile_set, statistics=["common", "median"])
    chosen = select_statistics(patches, ["median", "std"])
    assert chosen.features.shape[1] == 2
    assert chosen.table["std"].equals(patches.table["std"])
    with pytest.raises(ValueError, match="quartile1 were not"):
        select_statistics(patches, "quartile1")


def test_cancel_and_progress(tile_set):
    stop, told = threading.Event(), []
    measure_patches(tile_set, progress=lambda *each: told.append(each))
    assert told[-1] == (4, 4, "measuring tiles")
    stop.set()
    with pytest.raises(Cancelled):
        measure_patches(tile_set, cancel=stop)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "old"}, "mode must be"),
        ({"leave_out": ["black"]}, "leave_out must be a list of blank"),
        ({"grid": "16x16"}, "grid must be"),
        ({"leave_out": "dark"}, "leave_out must be a list"),
        ({"dark_below": 2}, "dark_below must be from 0 to 1"),
        ({"statistics": ["x"]}, "got x"),
        ({"grid": (4, 4), "patch_size": 10}, "either rows and columns or patch_size"),
    ],
)
def test_options_are_checked(tile_set, options, words):
    with pytest.raises(ValueError, match=words):
        measure_patches(tile_set, **options)
