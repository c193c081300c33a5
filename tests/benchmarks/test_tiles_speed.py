"""How fast tiles are cut, normalised and merged, against the original's formulas written down plainly; prints ratios.

Run with ``python -m pytest tests/benchmarks/test_tiles_speed.py -m benchmark -s``. Seconds are those of the
processor, of the best of a few turns taken one after the other.
"""

import json
import subprocess
import sys
import time

import numpy as np
import pytest

from analysis.tiles import (
    cut_tiles,
    find_range,
    make_layout,
    merge_bands,
    merge_tiles,
    normalise,
    resample,
)

pytestmark = pytest.mark.benchmark

SHAPE = (8192, 8192)
SIZE, OVERLAP = 512, 128


class Plain:
    """The original's way.

    First a map of weights for every tile, of a full ramp for each neighbour; the whole image normalised; all tiles
    copied; all copied twice again, weighed and added up.
    """

    def __init__(self, shape, size, overlap):
        layout = make_layout(shape, tile_size=size, overlap=overlap)
        self.shape, self.corners, self.maps = shape, layout.corners, []
        for shared, present in zip(layout.overlaps, layout.neighbours, strict=True):
            weight = np.ones((size, size), np.float32)
            for side in np.flatnonzero(present):
                line = np.concatenate([np.linspace(0, 1, shared[side]), np.ones(size - shared[side], np.float32)])
                weight = weight * np.rot90(np.tile(line, (size, 1)), side)
            self.maps.append(weight)

    def cut(self, image):
        image = image.astype(np.float32)
        if abs(np.max(image)) < 1e-5 and abs(np.min(image)) < 1e-5:
            return image
        if np.max(image) - np.min(image) > 1e-6:
            image -= np.min(image)
        image /= np.max(image)
        image *= 1.0
        image += 0.0
        image = image.astype(np.float32)
        return [image[y0:y1, x0:x1].copy() for y0, x0, y1, x1 in self.corners]

    def merge(self, tiles):
        copies = [tile.copy().astype(np.float32) for tile in tiles]
        merged = np.zeros(self.shape, np.float32)
        for (y0, x0, y1, x1), tile, weight in zip(self.corners, copies, self.maps, strict=True):
            tile *= weight
            merged[y0:y1, x0:x1] += tile
        return merged.astype(tiles[0].dtype)


def cut_ours(image):
    """Yield tiles as something that writes or predicts them would take them."""
    found, layout = find_range(image), make_layout(image.shape, tile_size=SIZE, overlap=OVERLAP)
    for tile in cut_tiles(image, layout):
        yield normalise(tile, found.low, found.high)


def cpu_s(*functions, turns=3):
    """Return the fewest seconds of the processor of each function."""
    best = [np.inf] * len(functions)
    for _ in range(turns):
        for number, function in enumerate(functions):
            start = time.process_time()
            function()
            best[number] = min(best[number], time.process_time() - start)
    return best


@pytest.fixture(scope="module")
def image():
    rng = np.random.default_rng(0)
    return rng.integers(200, 60000, SHAPE, np.uint16)


def report(capsys, rows):
    with capsys.disabled():
        print(f"\n{'':46}{'plain':>9}{'here':>9}{'ratio':>8}{'wanted':>8}")
        for name, plain, ours, wanted in rows:
            print(f"{name:46}{plain:8.2f}s{ours:8.2f}s{plain / ours:8.1f}{wanted:>8}")


def take(tiles):
    """Look at every tile once, and keep none."""
    return sum(float(tile[0, 0]) for tile in tiles)


def test_cutting_and_normalising(image, capsys):
    tiler = Plain(SHAPE, SIZE, OVERLAP)
    for theirs, ours in zip(tiler.cut(image), cut_ours(image), strict=True):
        assert np.array_equal(theirs, ours)
    maps_and_cut, only_cut, one_by_one, kept = cpu_s(
        lambda: Plain(SHAPE, SIZE, OVERLAP).cut(image),
        lambda: tiler.cut(image),
        lambda: take(cut_ours(image)),
        lambda: list(cut_ours(image)),
    )
    rows = [
        ("8192 x 8192 uint16 to 441 float32 tiles", maps_and_cut, one_by_one, "5"),
        ("the same, all tiles kept in a list", maps_and_cut, kept, ""),
        ("the same, without the original's maps", only_cut, one_by_one, ""),
    ]
    report(capsys, rows)


def test_merging(image, capsys):
    layout, tiler = make_layout(SHAPE, tile_size=SIZE, overlap=OVERLAP), Plain(SHAPE, SIZE, OVERLAP)
    rows = []
    for dtype in ("float32", "uint16"):
        tiles = list(cut_ours(image)) if dtype == "float32" else [tile.copy() for tile in cut_tiles(image, layout)]
        plain, only, ours, bands = cpu_s(
            lambda tiles=tiles: Plain(SHAPE, SIZE, OVERLAP).merge(tiles),
            lambda tiles=tiles: tiler.merge(tiles),
            lambda tiles=tiles: merge_tiles(tiles, layout),
            lambda tiles=tiles: take(merge_bands(tiles, layout)),
        )
        theirs, merged = tiler.merge(tiles), merge_tiles(tiles, layout)
        # the sums are right for this length, so both are the image, the original's cut where ours is rounded
        assert np.abs(theirs - merged.astype(float)).max() <= (1e-6 if dtype == "float32" else 1)
        rows += [
            (f"merge 441 {dtype} tiles, gradient", plain, ours, "10"),
            (f"merge 441 {dtype} tiles in bands", plain, bands, ""),
            ("the same, without the original's maps", only, bands, ""),
        ]
    report(capsys, rows)


MEASURED = """
import json, sys, time, tracemalloc
import numpy as np
from analysis.tiles import cut_tiles, find_range, make_layout, merge_bands, normalise, resample_bands
import analysis.tiles._histogram

def watermark():
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) * 1024

class Drawn:
    shape = tuple(map(int, sys.argv[2:4]))
    dtype = np.dtype(np.uint16)
    def __getitem__(self, window):
        rows, columns = window if isinstance(window, tuple) else (window, slice(None))
        rows, columns = range(self.shape[0])[rows], range(self.shape[1])[columns]
        return np.add.outer(np.array(rows, np.uint16), np.array(columns, np.uint16))

image = Drawn()
if sys.argv[1] == "array":
    image = image[:]
layout = make_layout(image.shape)
normalise(np.zeros((9, 9), np.uint16), 0, 1)
before = watermark()
cpu = time.process_time()
if sys.argv[1] == "resample":
    total = sum(float(band[0, 0]) for band in resample_bands(image, 0.65 / 0.325 / 2 * 0.75))
else:
    found = find_range(image, percentiles=(0.2, 99.8))
    tiles = (normalise(tile, found.low, found.high) for tile in cut_tiles(image, layout))
    total = sum(float(band[0, 0]) for band in merge_bands(tiles, layout))
print(json.dumps(dict(peak=watermark(), over=watermark() - before, cpu=time.process_time() - cpu)))
"""


def test_memory(capsys):
    cases = [
        ("8192 x 8192 in memory: cut, normalised, merged", "array", 8192, 250e6),
        ("30 000 x 30 000 read by windows: the same", "windows", 30000, 1e9),
        ("30 000 x 30 000 resampled by 0.75, smoothed", "resample", 30000, 1e9),
    ]
    with capsys.disabled():
        print(f"\n{'':50}{'peak':>9}{'added':>9}{'wanted':>9}{'CPU':>8}")
        for name, kind, side, wanted in cases:
            command = [sys.executable, "-c", MEASURED, kind, str(side), str(side)]
            told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            measured = told["over"] if kind == "array" else told["peak"]
            print(
                f"{name:50}{told['peak'] / 1e6:6.0f} MB{told['over'] / 1e6:6.0f} MB{wanted / 1e6:6.0f} MB"
                f"{told['cpu']:7.1f}s"
            )
            assert measured < wanted


def test_resampling(capsys):
    from scipy import ndimage

    picture = np.random.default_rng(0).integers(0, 65536, (3000, 4000)).astype(np.uint16)
    plain, ours = cpu_s(
        lambda: ndimage.zoom(picture.astype(float), 0.7, order=3, mode="mirror", grid_mode=True),
        lambda: resample(picture, 0.7, anti_aliasing=False),
        turns=2,
    )
    report(capsys, [("resample 3000 x 4000 by 0.7, cubic", plain, ours, "")])
