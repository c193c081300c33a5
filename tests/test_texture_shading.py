"""Shading: the light that was drawn is found again, whatever stands in it."""

import pickle

import numpy as np
import pytest
import tifffile

from analysis.synthetic.texture import draw_tile_set
from analysis.texture import estimate_shading, find_tile_set, make_shading, measure_patches


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    return draw_tile_set(tmp_path_factory.mktemp("set"), tiles=(2, 3), shape=(384, 448), border=True, seed=2)


def write(folder, tiles):
    folder.mkdir(parents=True, exist_ok=True)
    for number, tile in enumerate(tiles):
        tifffile.imwrite(folder / f"t{number}.tif", tile)
    return find_tile_set(folder, rows=1)


def test_the_light_is_found_among_holes_crystals_and_a_border(truth):
    shading = estimate_shading(find_tile_set(truth.folder / "tiles"))
    wrong = np.abs(shading.surface / truth.surface - 1)
    # the light differs by a factor of more than 2
    assert np.ptp(truth.surface) > 0.7
    assert wrong.mean() < 0.015
    assert wrong.max() < 0.08
    assert shading.surface.mean() == pytest.approx(1)
    assert not shading.warnings


def test_shading_explains_where_bright_patches_are(truth):
    tile_set = find_tile_set(truth.folder / "tiles")
    x = {}
    for how in ("none", "surface"):
        patches = measure_patches(tile_set, shading=how, statistics="median")
        kept = patches.table[~patches.table["left_out"]]
        x[how] = np.corrcoef(kept["column"], kept["median"])[0, 1] ** 2
    assert x["none"] > 0.3
    assert x["surface"] < 0.02


def test_order_of_files_does_not_matter(truth):
    paths = list(truth.files)
    a, b = (estimate_shading(find_tile_set(each)) for each in (paths, paths[::-1]))
    assert np.array_equal(a.coefficients, b.coefficients)
    assert a.key == b.key


def test_even_light_stays_even(tmp_path):
    rng = np.random.default_rng(0)
    shading = estimate_shading(write(tmp_path, [rng.normal(1000, 30, (128, 160)).astype(np.float32) for _ in range(6)]))
    assert np.abs(shading.surface - 1).max() < 0.02


def test_gain_and_brightness_of_single_tiles_do_not_matter(truth, tmp_path):
    tiles = [tifffile.imread(path).astype(np.float32) for path in truth.files]
    a = estimate_shading(write(tmp_path / "a", tiles))
    b = estimate_shading(write(tmp_path / "b", [tile * 2.0**number for number, tile in enumerate(tiles)]))
    assert np.abs(a.surface / b.surface - 1).max() < 0.05


def test_additive(tmp_path):
    rng = np.random.default_rng(1)
    stray = np.add.outer(np.linspace(-40, 60, 96), np.linspace(0, 80, 128) ** 2 / 80)
    tiles = [(stray + rng.normal(0, 5, stray.shape)).astype(np.float32) for _ in range(4)]
    shading = estimate_shading(write(tmp_path, tiles), kind="additive")
    assert np.abs(shading.surface - (stray - stray.mean())).max() < 3
    assert shading.apply(tiles[0]).std() < 6


def test_a_set_that_allows_no_division(tmp_path):
    tile_set = write(tmp_path, [np.full((64, 64), -3, np.int16)])
    with pytest.raises(ValueError, match="must be above 0"):
        estimate_shading(tile_set)
    with pytest.raises(ValueError, match="order must be from 1 to 8"):
        estimate_shading(tile_set, order=0)
    with pytest.raises(ValueError, match="kind must be"):
        estimate_shading(tile_set, kind="both")


def test_constant_and_small_tiles(tmp_path):
    shading = estimate_shading(write(tmp_path / "a", [np.full((40, 50), 9, np.uint8)] * 2))
    assert np.allclose(shading.surface, 1)
    assert "one tile" in estimate_shading(write(tmp_path / "b", [np.full((9, 7), 9.0)])).warnings[0]
    with pytest.raises(ValueError, match="too few finite pixels for a surface of order 4"):
        estimate_shading(write(tmp_path / "c", [np.full((3, 4), 9.0)]))


def test_of_very_many_tiles_some_are_looked_at(truth, monkeypatch):
    monkeypatch.setattr("analysis.texture._shading.MOST_TILES", 3)
    tile_set = find_tile_set(truth.folder / "tiles")
    shading = estimate_shading(tile_set)
    assert len(tile_set) > 3
    files = tile_set.table["file"]
    assert list(shading.table["file"])[::2] == [files.iloc[0], files.iloc[-1]]
    assert len(shading.table) == 3


def test_tiles_that_are_not_finite(tmp_path):
    good = np.random.default_rng(0).normal(500, 5, (96, 96)).astype(np.float32)
    bad = good.copy()
    bad[:30] = np.nan
    assert np.abs(estimate_shading(write(tmp_path, [good, bad])).surface - 1).max() < 0.01


def test_given_images(tmp_path, truth):
    model = truth.surface
    shape = model.shape
    tifffile.imwrite(tmp_path / "model.tif", (1000 * model).astype(np.float32))
    np.stack([np.ones(shape), model], axis=-1).astype("<f8").tofile(tmp_path / "model.bin")
    given = [
        make_shading(3 * model),
        make_shading(tmp_path / "model.tif", shape=shape),
        make_shading(tmp_path / "model.bin", shape=shape, layer=2),
    ]
    for shading in given:
        assert np.allclose(shading.surface, model / model.mean(), rtol=1e-6)
        assert np.array_equal(pickle.loads(pickle.dumps(shading)).surface, shading.surface)
    tile_set = find_tile_set(truth.folder / "tiles")
    by_array = measure_patches(tile_set, shading=model)
    assert by_array.table["std"].equals(measure_patches(tile_set, shading=given[0]).table["std"])
    with pytest.raises(ValueError, match="as large as the tiles"):
        measure_patches(tile_set, shading=np.ones((10, 10)))
    with pytest.raises(ValueError, match="a layer 3"):
        make_shading(tmp_path / "model.bin", shape=shape, layer=3)
    with pytest.raises(ValueError, match="shape must be given"):
        make_shading(tmp_path / "model.bin")
    with pytest.raises(ValueError, match="size does not fit"):
        make_shading(tmp_path / "model.bin", shape=(100, 100))
    with pytest.raises(ValueError, match="above 0 everywhere"):
        make_shading(model - 1)
