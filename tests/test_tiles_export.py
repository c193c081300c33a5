"""Tiles as files: what is written, a manifest that is enough, stopped and killed runs, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image as PillowImage

from analysis.pixel_size import read_pixel_size
from analysis.tasks import Cancelled
from analysis.tiles import (
    _calibration,
    cut_labels,
    export_tiles,
    find_images,
    make_layout,
    merge_images,
    normalise,
    read_labels,
    read_manifest,
    remove_tiles,
    resample,
    split_images,
)

RNG = np.random.default_rng(7)
SMALL = {"tile_size": 64, "overlap": 16}


def noise(*shape, dtype=np.uint16, top=60_000):
    return RNG.integers(100, top, shape).astype(dtype)


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    for number, shape in enumerate(((150, 211), (150, 211), (97, 130))):
        tifffile.imwrite(folder / f"im{number}.tif", noise(*shape), resolution=(20_000, 20_000), resolutionunit=3)
    return folder


def image(folder, name):
    return tifffile.imread(folder / f"{name}.tif")


def tiles_of(folder):
    return sorted(path.name for path in Path(folder).glob("*.tif"))


def content(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()
    }


# ------------------------------------------------------------------------------------------------- what is written


def test_tiles_are_the_windows_of_the_layout(source, tmp_path):
    done = export_tiles(source, tmp_path / "out", **SMALL)
    pixels = image(source, "im0")
    layout = make_layout(pixels.shape, **SMALL)
    for number, (y0, x0, y1, x1) in enumerate(layout.corners):
        tile = tifffile.imread(tmp_path / "out" / f"im0_{number:03d}.tif")
        assert tile.dtype == np.uint16
        assert np.array_equal(tile, pixels[y0:y1, x0:x1])
    assert done.summary()["tiles"] == len(tiles_of(tmp_path / "out")) == len(done.table)


def test_the_pixel_size_is_written(source, tmp_path):
    export_tiles(source, tmp_path / "a", **SMALL)
    export_tiles(source, tmp_path / "b", **SMALL, target_pixel_size_um=0.325)
    assert read_pixel_size(tmp_path / "a" / "im0_000.tif").sides_um == pytest.approx((0.5, 0.5))
    assert read_pixel_size(tmp_path / "b" / "im0_000.tif").sides_um == pytest.approx((0.325, 0.325))


def test_calibrated_tiles_are_those_of_the_resampled_image(source, tmp_path):
    export_tiles(source, tmp_path / "out", **SMALL, target_pixel_size_um=0.25)
    whole = resample(image(source, "im2"), 2.0)
    layout = make_layout(whole.shape, **SMALL)
    y0, x0, y1, x1 = layout.corners[5]
    tile = tifffile.imread(tmp_path / "out" / "im2_005.tif")
    assert tile.dtype == np.uint16
    assert np.array_equal(tile, np.clip(np.rint(whole[y0:y1, x0:x1]), 0, 65535))


@pytest.mark.parametrize("normalisation", ["none", "global"])
def test_large_images_on_the_disk_make_the_same_tiles(normalisation, source, tmp_path, monkeypatch):
    how = {**SMALL, "target_pixel_size_um": 0.3, "normalisation": normalisation, "percentiles": (1, 99)}
    export_tiles(source, tmp_path / "memory", **how)
    monkeypatch.setattr(_calibration, "_IN_MEMORY_BYTES", 1000)
    export_tiles(source, tmp_path / "disk", **how)
    in_memory, on_disk = ({path.name: path.read_bytes() for path in (tmp_path / folder).glob("*.tif")}
                          for folder in ("memory", "disk"))  # fmt: skip
    assert in_memory == on_disk


def test_images_with_unlike_pixels_keep_their_aspect(tmp_path):
    (tmp_path / "source").mkdir()
    tifffile.imwrite(tmp_path / "source" / "a.tif", noise(100, 100), resolution=(10_000, 20_000), resolutionunit=3)
    done = export_tiles(tmp_path / "source", tmp_path / "out", **SMALL, target_pixel_size_um=0.5)
    cut = done.cuts[0]
    assert cut.shape == (100, 200)
    assert cut.pixel_size_um == pytest.approx((0.5, 0.5))


@pytest.mark.parametrize("normalisation", ["local", "global", "dataset"])
@pytest.mark.parametrize(("dtype", "bounds", "ending"), [("float32", (0, 1), ".tif"), ("uint8", (0, 255), ".png"),
                                                           ("uint16", (10, 5000), ".tif")])  # fmt: skip
def test_values_are_stretched_over_tile_image_or_all(normalisation, dtype, bounds, ending, source, tmp_path):
    tifffile.imwrite(source / "dim.tif", noise(97, 130, top=3000))
    how = {"normalisation": normalisation, "dtype": dtype, "bounds": bounds, "format": ending}
    done = export_tiles(source, tmp_path / "out", **SMALL, **how)
    assert done.problems.empty
    pixels = image(source, "dim")
    layout = make_layout(pixels.shape, **SMALL)
    y0, x0, y1, x1 = layout.corners[4]
    tile = pixels[y0:y1, x0:x1]
    over = {
        "local": [tile],
        "global": [pixels],
        "dataset": [image(source, name) for name in ("im0", "im1", "im2", "dim")],
    }
    low = min(one.min() for one in over[normalisation])
    high = max(one.max() for one in over[normalisation])
    path = tmp_path / "out" / f"dim_004{ending}"
    with PillowImage.open(path) if ending == ".png" else tifffile.TiffFile(path) as opened:
        found = np.asarray(opened) if ending == ".png" else opened.asarray()
    assert np.array_equal(found, normalise(tile, low, high, bounds=bounds, dtype=dtype))
    row = done.table[done.table["tile"] == f"dim_004{ending}"].iloc[0]
    assert (row["low"], row["high"]) == (low, high)


def test_percentiles_cut_hot_pixels(source, tmp_path):
    pixels = noise(97, 130, top=1000)
    pixels[3, 3] = 65_000
    tifffile.imwrite(source / "hot.tif", pixels)
    done = export_tiles(source / "hot.tif", tmp_path / "out", **SMALL, normalisation="global", percentiles=(1, 99.8))
    low, high = np.percentile(pixels, (1, 99.8))
    assert done.cuts[0].low == pytest.approx(low)
    assert done.cuts[0].high == pytest.approx(high)


def test_colour_images(tmp_path):
    (tmp_path / "source").mkdir()
    pixels = noise(90, 140, 3, dtype=np.uint8, top=255)
    PillowImage.fromarray(pixels).save(tmp_path / "source" / "a.png")
    export_tiles(tmp_path / "source", tmp_path / "out", **SMALL, format=".png")
    merge_images(tmp_path / "out", tmp_path / "merged")
    assert np.array_equal(tifffile.imread(tmp_path / "merged" / "a.tif"), pixels)


def test_channel_and_plane_are_chosen(tmp_path):
    (tmp_path / "source").mkdir()
    stack = noise(2, 3, 80, 90)
    tifffile.imwrite(tmp_path / "source" / "a.ome.tif", stack, ome=True, metadata={"axes": "ZCYX"})
    failed = export_tiles(tmp_path / "source", tmp_path / "none", **SMALL)
    assert "must have one channel" in failed.problems["error"].iloc[0]
    export_tiles(tmp_path / "source", tmp_path / "out", **SMALL, channel=3, plane=2)
    assert np.array_equal(tifffile.imread(tmp_path / "out" / "a_000.tif"), stack[1, 2, :64, :64])


@pytest.mark.parametrize("edges", ["shift", "pad", "drop"])
def test_edges(edges, source, tmp_path):
    done = export_tiles(source / "im0.tif", tmp_path / "out", tile_size=64, overlap=0, edges=edges)
    grid = {"shift": (3, 4), "pad": (3, 4), "drop": (2, 3)}[edges]
    assert len(done.table) == grid[0] * grid[1]
    assert all(tifffile.imread(tmp_path / "out" / file).shape == (64, 64) for file in done.table["tile"])


def test_images_smaller_than_a_tile(source, tmp_path):
    done = export_tiles(source / "im2.tif", tmp_path / "out", tile_size=128, overlap=0)
    assert len(done.table) == 2
    merge_images(tmp_path / "out", tmp_path / "merged")
    assert np.array_equal(tifffile.imread(tmp_path / "merged" / "im2.tif"), image(source, "im2"))


def test_empty_tiles_are_left_out_and_merged_as_fill(source, tmp_path):
    pixels = image(source, "im0")
    pixels[:, :100] = 0
    tifffile.imwrite(source / "im0.tif", pixels)
    done = export_tiles(source / "im0.tif", tmp_path / "out", tile_size=64, overlap=0, empty_below=50)
    out = done.table[done.table["left_out"]]
    assert len(out) == 3
    assert (out["column"] == 0).all()
    assert len(tiles_of(tmp_path / "out")) == len(done.table) - 3
    merged = merge_images(tmp_path / "out", tmp_path / "merged")
    assert merged.summary()["missing"] == 3
    assert np.array_equal(tifffile.imread(tmp_path / "merged" / "im0.tif")[:, 64:], pixels[:, 64:])


# ------------------------------------------------------------------------------------------------- masks and labels


def test_masks_are_cut_alike_without_new_values(source, tmp_path):
    (tmp_path / "masks").mkdir()
    masks = {}
    for name in ("im0", "im1", "im2"):
        masks[name] = (image(source, name) > 30_000).astype(np.uint16) * 777
        tifffile.imwrite(tmp_path / "masks" / f"{name}.tif", masks[name])
    export_tiles(source, tmp_path / "out", **SMALL, masks=tmp_path / "masks", normalisation="global")
    layout = make_layout((150, 211), **SMALL)
    y0, x0, y1, x1 = layout.corners[7]
    assert np.array_equal(tifffile.imread(tmp_path / "out" / "masks" / "im1_007.tif"), masks["im1"][y0:y1, x0:x1])
    assert (tmp_path / "out" / "images" / "im1_007.tif").exists()
    export_tiles(source, tmp_path / "large", **SMALL, masks=tmp_path / "masks", target_pixel_size_um=0.2)
    values = np.unique(tifffile.imread(tmp_path / "large" / "masks" / "im1_007.tif"))
    assert set(values) <= {0, 777}


def test_an_image_without_its_mask_is_a_problem(source, tmp_path):
    (tmp_path / "masks").mkdir()
    tifffile.imwrite(tmp_path / "masks" / "im0.tif", np.zeros((150, 211), np.uint8))
    tifffile.imwrite(tmp_path / "masks" / "im1.tif", np.zeros((15, 21), np.uint8))
    done = export_tiles(source, tmp_path / "out", **SMALL, masks=tmp_path / "masks")
    assert [cut.name for cut in done.cuts] == ["im0"]
    errors = " ".join(done.problems["error"])
    assert "must hold a mask named im2" in errors
    assert "must have the shape of im1.tif, 150 x 211; it has 15 x 21" in errors
    assert not list((tmp_path / "out" / "images").glob("im1*"))


def test_boxes_and_outlines_are_cut_along(source, tmp_path):
    (tmp_path / "labels").mkdir()
    # a box 20 wide and 10 high about (x 60, y 40), and a triangle
    box = f"3 {60 / 211} {40 / 150} {20 / 211} {10 / 150}\n"
    outline = f"1 {10 / 211} {10 / 150} {30 / 211} {10 / 150} {10 / 211} {40 / 150}\n"
    (tmp_path / "labels" / "im0.txt").write_text(box + outline)
    done = export_tiles(source, tmp_path / "out", **SMALL, labels=tmp_path / "labels")
    assert done.problems.empty
    found = read_labels(tmp_path / "out" / "labels" / "im0_000.txt")
    kinds = [kind for kind, _ in found]
    assert kinds == [3, 1]
    # only x 50 to 64 of the box lies in the first tile
    assert found[0][1] * 64 == pytest.approx([57, 40, 14, 10], abs=1e-3)
    assert found[1][1] * 64 == pytest.approx(np.array([[10, 10], [30, 10], [10, 40]]), abs=1e-3)
    assert read_labels(tmp_path / "out" / "labels" / "im2_000.txt") == []


def test_labels_that_hardly_reach_a_tile_are_left_out():
    box = [(0, np.array([0.5, 0.5, 0.2, 0.2]))]  # x and y 40 to 60 of 100
    assert len(cut_labels(box, (100, 100), (0, 0, 45, 45))) == 0
    assert len(cut_labels(box, (100, 100), (0, 0, 45, 45), least_visible=0.05)) == 1
    inside = cut_labels(box, (100, 100), (0, 0, 50, 100))
    assert inside[0][1] == pytest.approx([0.5, 0.9, 0.2, 0.2])


@pytest.mark.parametrize(
    "line", ["a 0.5 0.5 0.1 0.1", "0 0.5 0.5", "0.5 0.5 0.5 0.1 0.1", "0 1 2 3 4 5", "0 nan 0 0 0"]
)
def test_wrong_labels_are_named(line, tmp_path):
    (tmp_path / "a.txt").write_text(f"0 0.5 0.5 0.1 0.1\n{line}\n")
    with pytest.raises(ValueError, match=r"a\.txt, line 2"):
        read_labels(tmp_path / "a.txt")


# ------------------------------------------------------------------------------------------------------------ split


def test_images_are_dealt_out_whole(source, tmp_path):
    for number in range(3, 10):
        tifffile.imwrite(source / f"im{number}.tif", noise(70, 80))
    done = export_tiles(source, tmp_path / "out", **SMALL, split=(0.6, 0.2, 0.2), seed=3)
    by_image = done.table.groupby("name")["split"].agg(["nunique", "first"])
    assert (by_image["nunique"] == 1).all()
    assert by_image["first"].value_counts().to_dict() == {"train": 6, "validation": 2, "test": 2}
    assert all((tmp_path / "out" / file).exists() for file in done.table["tile"])
    assert done.table["tile"].str.startswith(("train/", "validation/", "test/")).all()


def test_dealing_does_not_depend_on_the_order():
    names = [f"im{number}" for number in range(23)]
    assert split_images(names, (0.7, 0.2, 0.1), seed=1) == split_images(names[::-1], (70, 20, 10), seed=1)
    assert split_images(names, (0.7, 0.2, 0.1), seed=1) != split_images(names, (0.7, 0.2, 0.1), seed=2)


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.5, 0.5, 0.5), (-0.1, 1, 0.1), (float("nan"), 1, 0)])
def test_wrong_shares_are_refused(shares):
    with pytest.raises(ValueError, match="split must"):
        split_images(["a"], shares)


# ------------------------------------------------------------------------------------------------- manifest, resume


def test_the_manifest_is_enough(source, tmp_path):
    done = export_tiles(source, tmp_path / "out", **SMALL, target_pixel_size_um=0.325, normalisation="global")
    assert read_manifest(tmp_path / "out") == done.cuts
    table = pd.read_csv(tmp_path / "out" / "tiles.csv", keep_default_na=False)
    assert list(table["tile"]) == list(done.table["tile"])
    row = table.iloc[1]
    assert row["column_um"] == pytest.approx(row["column_px"] * 0.325)
    told = json.loads((tmp_path / "out" / "tiles.json").read_text())
    assert told["settings"]["target_pixel_size_um"] == 0.325
    assert told["made_with"]["graticule"]


def test_a_second_run_cuts_only_what_changed(source, tmp_path):
    export_tiles(source, tmp_path / "out", **SMALL)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("im*.tif")}
    tifffile.imwrite(source / "im1.tif", noise(97, 130))
    tifffile.imwrite(source / "im9.tif", noise(97, 130))
    (source / "im2.tif").unlink()
    again = export_tiles(source, tmp_path / "out", **SMALL)
    assert again.new_images == 2
    assert [cut.name for cut in again.cuts] == ["im0", "im1", "im9"]
    assert not list((tmp_path / "out").glob("im2*"))
    assert sorted(tiles_of(tmp_path / "out")) == sorted(again.table["tile"])
    for path, before in times.items():
        if path.name.startswith("im0"):
            assert path.stat().st_mtime_ns == before


def test_a_tile_that_was_lost_is_made_again(source, tmp_path):
    export_tiles(source, tmp_path / "out", **SMALL)
    (tmp_path / "out" / "im0_003.tif").unlink()
    assert export_tiles(source, tmp_path / "out", **SMALL).new_images == 1
    assert (tmp_path / "out" / "im0_003.tif").exists()


def test_other_settings_are_refused_or_replace(source, tmp_path):
    export_tiles(source, tmp_path / "out", **SMALL)
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="an export with another overlap"):
        export_tiles(source, tmp_path / "out", tile_size=64, overlap=32)
    done = export_tiles(source, tmp_path / "out", tile_size=64, overlap=32, replace=True)
    assert sorted(tiles_of(tmp_path / "out")) == sorted(done.table["tile"])
    assert (tmp_path / "out" / "thesis.txt").read_text() == "mine"


def test_cancel_half_way_and_go_on(source, tmp_path):
    for number in range(3, 9):
        tifffile.imwrite(source / f"im{number}.tif", noise(150, 211))
    stop = threading.Event()

    def progress(done, total, words):
        if words == "cutting" and done == 3:
            stop.set()

    with pytest.raises(Cancelled):
        export_tiles(source, tmp_path / "out", **SMALL, workers=1, progress=progress, cancel=stop)
    finished = len(read_manifest(tmp_path / "out"))
    assert 3 <= finished < 9
    again = export_tiles(source, tmp_path / "out", **SMALL)
    assert again.new_images == 9 - finished
    export_tiles(source, tmp_path / "other", **SMALL)
    ours, other = ({name: data for name, data in content(tmp_path / folder).items() if name.endswith(".tif")}
                   for folder in ("out", "other"))  # fmt: skip
    assert ours == other


def test_kills_leave_nothing_half_written_and_a_run_completes(source, tmp_path):
    for number in range(3, 30):
        tifffile.imwrite(source / f"im{number}.tif", noise(150, 211))
    before = content(source)
    line = (
        "import sys; from analysis.tiles import export_tiles; "
        "export_tiles(sys.argv[1], sys.argv[2], tile_size=64, overlap=16, workers=1)"
    )
    for wait_s in (0.02, 0.06, 0.1):
        with subprocess.Popen([sys.executable, "-c", line, source, tmp_path / "out"]) as process:
            deadline = time.monotonic() + 30
            while (
                not list((tmp_path / "out").glob("im*.tif")) and time.monotonic() < deadline and process.poll() is None
            ):
                time.sleep(0.005)
            time.sleep(wait_s)
            process.send_signal(signal.SIGKILL)
        for path in (tmp_path / "out").glob("im*.tif"):
            assert tifffile.imread(path).shape == (64, 64)
    done = export_tiles(source, tmp_path / "out", **SMALL)
    assert done.problems.empty
    assert len(done.cuts) == 30
    assert sorted(tiles_of(tmp_path / "out")) == sorted(done.table["tile"])
    assert content(source) == before


def test_emptying_removes_only_what_was_written(source, tmp_path):
    export_tiles(source, tmp_path / "out", **SMALL, split=(0.5, 0.5, 0))
    (tmp_path / "out" / "train" / "mine.tif").write_bytes(b"mine")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    removed = remove_tiles(tmp_path / "out")
    assert len(removed) > 10
    left = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*"))
    assert left == ["notes.txt", "train", "train/mine.tif"]


def test_a_manifest_that_leads_out_of_its_folder_removes_nothing_there(source, tmp_path):
    export_tiles(source, tmp_path / "out", **SMALL)
    manifest = json.loads((tmp_path / "out" / "tiles.json").read_text())
    manifest["images"][0]["folder"] = "../source"
    manifest["images"][0]["companions"] = ["../source/im1.tif"]
    (tmp_path / "out" / "tiles.json").write_text(json.dumps(manifest))
    remove_tiles(tmp_path / "out")
    assert len(list(source.glob("*.tif"))) == 3


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"form": 2, "images": []}', '{"form": 1, "images": [{"name": 1}]}'])
def test_a_manifest_that_is_none_is_refused(text, tmp_path):
    (tmp_path / "tiles.json").write_text(text)
    with pytest.raises(ValueError, match="must be a manifest that export wrote"):
        read_manifest(tmp_path)


# ------------------------------------------------------------------------------------------------------------ refusals


def test_output_in_or_as_the_source_is_refused(source, tmp_path):
    before = content(source)
    (tmp_path / "link").symlink_to(source)
    for folder in (source, source / "out", tmp_path / "link", tmp_path / "link" / "deeper", source / ".." / "source"):
        with pytest.raises(ValueError, match="out_dir must lie outside of the folders that are read"):
            export_tiles(source, folder, **SMALL)
    with pytest.raises(ValueError, match="out_dir must lie outside"):
        export_tiles(source / "im0.tif", source / "out", **SMALL)
    assert content(source) == before


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"normalisation": "all"}, "normalisation must be one of none, local, global, dataset"),
        ({"normalisation": "global", "dtype": "uint8"}, "uint8"),
        ({"normalisation": "global", "bounds": (0, 255), "dtype": "uint8", "format": ".bmp"}, "bmp"),
        ({"normalisation": "global", "format": ".png"}, "float32"),
        ({"normalisation": "global", "bounds": (1, 0)}, "bounds must"),
        ({"overlap": 40}, "overlap must"),
        ({"tile_size": 0}, "tile_size must"),
        ({"least_share": 2}, "least_share must"),
        ({"split": (1, 1, 1)}, "split must"),
        ({"target_pixel_size_um": 0}, "target_pixel_size_um must"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_written(how, words, source, tmp_path):
    with pytest.raises(ValueError, match=words):
        done = export_tiles(source, tmp_path / "out", **{**SMALL, **how})
        raise ValueError(" ".join(done.problems["error"]))
    assert not tiles_of(tmp_path / "out")


def test_bad_images_are_rows_and_the_others_are_cut(source, tmp_path):
    whole = (source / "im0.tif").read_bytes()
    (source / "im1.tif").write_bytes(whole[:-1000])
    (source / "x.tif").mkdir()
    (source / "._im0.tif").write_bytes(b"Mac OS X")
    tifffile.imwrite(source / "im0.tiff", noise(97, 130))
    done = export_tiles(source, tmp_path / "out", **SMALL)
    assert [os.path.basename(file) for file in done.problems["file"]] == ["im1.tif"]
    assert [cut.name for cut in done.cuts] == ["im0_tif", "im0_tiff", "im2"]
    assert len(set(done.table["tile"])) == len(done.table) == len(tiles_of(tmp_path / "out"))


def test_an_image_that_breaks_half_way_leaves_no_tiles(source, tmp_path):
    tifffile.imwrite(source / "im1.tif", noise(400, 200), compression="zlib", rowsperstrip=64)
    with tifffile.TiffFile(source / "im1.tif") as tiff:
        place = tiff.pages.first.dataoffsets[5]
    data = bytearray((source / "im1.tif").read_bytes())
    data[place : place + 40] = bytes(40)
    (source / "im1.tif").write_bytes(data)
    done = export_tiles(source, tmp_path / "out", **SMALL)
    assert "im1.tif must be a whole image" in done.problems["error"].iloc[0]
    assert sorted(tiles_of(tmp_path / "out")) == sorted(done.table["tile"])


@pytest.mark.parametrize("dtype", ["bool", "float16", "int8", "uint64"])
def test_other_number_types_are_cut_and_merged(dtype, tmp_path):
    (tmp_path / "source").mkdir()
    pixels = (noise(97, 130, top=120) % 2 if dtype == "bool" else noise(97, 130, top=120)).astype(dtype)
    tifffile.imwrite(tmp_path / "source" / "a.tif", pixels)
    assert export_tiles(tmp_path / "source", tmp_path / "out", **SMALL).problems.empty
    assert merge_images(tmp_path / "out", tmp_path / "merged").problems.empty
    assert np.array_equal(image(tmp_path / "merged", "a"), pixels)


def test_unknown_pixel_size_is_a_problem_with_the_cure(tmp_path):
    (tmp_path / "source").mkdir()
    tifffile.imwrite(tmp_path / "source" / "a.tif", noise(97, 130))
    done = export_tiles(tmp_path / "source", tmp_path / "out", **SMALL, target_pixel_size_um=0.325)
    assert "Give pixel_size_um" in done.problems["error"].iloc[0]
    given = export_tiles(tmp_path / "source", tmp_path / "out", **SMALL, target_pixel_size_um=0.325, pixel_size_um=0.65,
                         replace=True)  # fmt: skip
    assert given.cuts[0].shape == (194, 260)


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "source").mkdir()
    with pytest.raises(ValueError, match="sources must hold images"):
        export_tiles(tmp_path / "source", tmp_path / "out")


def test_files_of_others_are_not_written_over(source, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "im0_000.tif").write_bytes(b"years of work")
    with pytest.raises(ValueError, match="no manifest of ours lists it"):
        export_tiles(source, tmp_path / "out", **SMALL)
    assert (tmp_path / "out" / "im0_000.tif").read_bytes() == b"years of work"


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0 or not shutil.which("mount"), reason="mounts a disk"
)
def test_a_full_disk_is_said_and_nothing_is_half_written(source, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", disk], check=False, capture_output=True
    ).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        done = None
        with pytest.raises(OSError, match="No space left"):  # the manifest cannot be written either
            done = export_tiles(source, disk / "out", **SMALL)
            raise OSError(" ".join(done.problems["error"]))
        for path in (disk / "out").glob("im*.tif"):
            assert tifffile.imread(path).shape == (64, 64)
    finally:
        subprocess.run(["umount", disk], check=True)


# ------------------------------------------------------------------------------------------------------------ merging


@pytest.mark.parametrize("blending", ["flat", "gradient", "gaussian"])
def test_merged_images_are_the_sources(blending, source, tmp_path):
    export_tiles(source, tmp_path / "out", tile_size=64, overlap=31)
    merged = merge_images(tmp_path / "out", tmp_path / "merged", blending=blending)
    assert merged.problems.empty
    for name in ("im0", "im1", "im2"):
        found = image(tmp_path / "merged", name)
        assert found.dtype == np.uint16
        assert np.array_equal(found, image(source, name))
    assert read_pixel_size(tmp_path / "merged" / "im0.tif").sides_um == pytest.approx((0.5, 0.5))


def test_predictions_are_merged_by_the_same_layout(source, tmp_path):
    export_tiles(source, tmp_path / "out", **SMALL, split=(1, 0, 0))
    (tmp_path / "predicted").mkdir()
    for path in (tmp_path / "out" / "train").glob("*.tif"):
        prediction = (tifffile.imread(path) > 30_000).astype(np.uint8) * 255
        PillowImage.fromarray(prediction).save(tmp_path / "predicted" / f"{path.stem}.png")
    merge_images(tmp_path / "out", tmp_path / "merged", predictions=tmp_path / "predicted", names=("im0",))
    assert [path.name for path in (tmp_path / "merged").iterdir()] == ["im0.tif"]
    assert np.array_equal(image(tmp_path / "merged", "im0"), (image(source, "im0") > 30_000) * np.uint8(255))


def test_missing_and_wrong_tiles_are_problems(source, tmp_path):
    export_tiles(source, tmp_path / "out", **SMALL)
    (tmp_path / "out" / "im0_002.tif").unlink()
    tifffile.imwrite(tmp_path / "out" / "im1_001.tif", noise(10, 10))
    merged = merge_images(tmp_path / "out", tmp_path / "merged")
    assert [Path(file).name for file in merged.problems["file"]] == ["im0.tif", "im1.tif"]
    assert [path.name for path in (tmp_path / "merged").iterdir()] == ["im2.tif"]


def test_merging_refuses_what_would_harm(source, tmp_path):
    export_tiles(source, tmp_path / "out", **SMALL)
    with pytest.raises(ValueError, match="out_dir must not be a folder that tiles are read from"):
        merge_images(tmp_path / "out", tmp_path / "out")
    with pytest.raises(ValueError, match="names must be of images in the manifest"):
        merge_images(tmp_path / "out", tmp_path / "merged", names=("nobody",))
    merge_images(tmp_path / "out", tmp_path / "merged")
    again = merge_images(tmp_path / "out", tmp_path / "merged")
    assert "must not exist yet" in again.problems["error"].iloc[0]
    assert merge_images(tmp_path / "out", tmp_path / "merged", replace=True).problems.empty


def test_found_images_may_be_handed_over(source, tmp_path):
    found = find_images(source)
    assert export_tiles(found, tmp_path / "out", **SMALL).summary()["images"] == 3
