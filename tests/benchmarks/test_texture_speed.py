"""How fast patches are measured, against a plain loop over them, and against reading alone; prints ratios.

Run with ``python -m pytest tests/benchmarks/test_texture_speed.py -m benchmark -s``. Seconds are those of the
processor, the fewest of a few turns. The largest set is 1 GB on the disk while the benchmark runs.
"""

import shutil
import time

import numpy as np
import pytest
import tifffile
from scipy import stats

from analysis.synthetic.texture import EXAMPLE_TILE_SET, draw_tile_set
from analysis.texture import PRESETS, find_tile_set, make_grid, measure_patches
from analysis.texture._statistics import measure_band

pytestmark = pytest.mark.benchmark


def cpu_s(function, turns):
    best = np.inf
    for _ in range(turns):
        start = time.process_time()
        function()
        best = min(best, time.process_time() - start)
    return best


def plain(tiles, count):
    """Each statistic a function of a patch, called one after the other, as the original notebook does it."""

    def mode(patch):
        counts, edges = np.histogram(patch, bins=1024)
        at = np.argmax(counts)
        return (edges[at] + edges[at + 1]) / 2

    functions = (
        np.std,
        lambda patch: np.std(patch) / (np.mean(patch) + 0.001),
        np.mean,
        lambda patch: stats.skew(patch.ravel().astype(float)),
        lambda patch: stats.kurtosis(patch.ravel().astype(float)),
        mode,
    )
    rows = []
    for tile in tiles:
        height, width = (length // count for length in tile.shape)
        for row in range(count):
            for column in range(count):
                patch = tile[row * height : (row + 1) * height, column * width : (column + 1) * width]
                rows.append([function(patch) for function in functions])
    return np.array(rows)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    truth = draw_tile_set(tmp_path_factory.mktemp("set"), tiles=(2, 2), shape=(1024, 1024), seed=1)
    return truth.folder / "tiles"


@pytest.mark.parametrize(("count", "wanted"), [(16, 80), (32, 250)])
def test_six_statistics_against_a_loop(folder, count, wanted, capsys):
    tile_set = find_tile_set(folder)
    paths = list(tile_set.table["file"])
    tiles = [tifffile.imread(path) for path in paths]
    grid, names = make_grid(tiles[0].shape, rows=count, columns=count), PRESETS["common"]

    def ours():
        return [measure_band(tile, grid.starts_y, grid.starts_x, grid.patch_size, names) for tile in tiles]

    def whole(shading="none"):
        return measure_patches(tile_set, grid=(count, count), shading=shading, workers=1)

    def reading():
        return [int(tifffile.imread(path).sum()) for path in paths]

    found = np.concatenate([np.stack([each[name] for name in names], axis=1) for each in ours()])
    np.testing.assert_allclose(found, plain(tiles, count), rtol=1e-9, atol=1e-9)
    loop_s, ours_s = cpu_s(lambda: plain(tiles, count), 2), cpu_s(ours, 15)
    whole_s, reading_s, shaded_s = cpu_s(whole, 15), cpu_s(reading, 15), cpu_s(lambda: whole("surface"), 5)
    with capsys.disabled():
        print(
            f"\n{count} x {count}: loop {loop_s * 1e3:.0f} ms, here {ours_s * 1e3:.1f} ms, ratio {loop_s / ours_s:.0f} "
            f"(wanted: {wanted}); with reading and the table {whole_s * 1e3:.1f} ms, ratio "
            f"{(loop_s + reading_s) / whole_s:.0f}"
            f"\n  reading and one sum {reading_s * 1e3:.1f} ms; all is {whole_s / reading_s:.1f} times that "
            f"(wanted: at most 8); with the shading estimated and taken off {shaded_s * 1e3:.0f} ms"
        )
    assert loop_s / ours_s > wanted
    assert whole_s / reading_s < 8


@pytest.mark.parametrize("statistics", ["common", "box_and_whisker", "texture"])
def test_presets(folder, statistics, capsys):
    tile_set = find_tile_set(folder)
    seconds = cpu_s(lambda: measure_patches(tile_set, statistics=statistics, shading="none", workers=1), 3)
    with capsys.disabled():
        print(f"\n{statistics}, 16 x 16, 4 tiles of 1024 x 1024: {seconds * 1e3:.0f} ms")


def test_the_example_is_drawn_at_once(tmp_path, capsys):
    seconds = cpu_s(lambda: draw_tile_set(tmp_path, **EXAMPLE_TILE_SET), 1)
    with capsys.disabled():
        print(f"\nthe example set: {seconds:.2f} s (wanted: below 5)")


@pytest.mark.parametrize("shading", ["none", "surface"])
def test_one_gigabyte(tmp_path, shading, capsys):
    rng = np.random.default_rng(0)
    tile = rng.normal(10_000, 900, (2048, 2048)).astype(np.uint16)
    for number in range(128):
        tifffile.imwrite(tmp_path / f"t{number:03d}.tif", np.roll(tile, 97 * number))
    options = {"grid": (32, 32), "shading": shading, "store": tmp_path / "store"}
    start, start_cpu = time.perf_counter(), time.process_time()
    patches = measure_patches(find_tile_set(tmp_path), **options)
    cold_s, cold_cpu_s = time.perf_counter() - start, time.process_time() - start_cpu
    start = time.perf_counter()
    again = measure_patches(find_tile_set(tmp_path), **options)
    again_s = time.perf_counter() - start
    assert len(patches) == len(again) == 128 * 1024
    with capsys.disabled():
        print(
            f"\n1 GB, shading {shading}: {cold_s:.1f} s, {cold_cpu_s:.1f} s of the processor (wanted: below 15); again "
            f"from the store {again_s:.2f} s"
        )
    shutil.rmtree(tmp_path / "store")
