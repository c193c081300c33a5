"""Drawn images hold what their truth says."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from analysis.synthetic.tiles import EXAMPLE_IMAGES, draw_images
from analysis.tiles import cut_tiles, find_range, make_layout, merge_tiles, normalise


def test_files_hold_the_truth(tmp_path):
    drawn = draw_images(tmp_path, count=3, shape=(300, 410), cells=5, seed=4)
    assert [path.name for path in drawn.files] == ["cells_00.tif", "cells_01.tif", "cells_02.tif"]
    brightness = []
    for number, (file, mask, text) in enumerate(zip(drawn.files, drawn.masks, drawn.labels, strict=True)):
        pixels, labels = tifffile.imread(file), tifffile.imread(mask)
        assert pixels.shape == labels.shape == (300, 410) and pixels.dtype == np.uint16
        assert np.array_equal(labels, drawn.label_images[number])
        cells = drawn.cells[drawn.cells["image"] == number]
        assert set(np.unique(labels)) == {0, *cells["cell"]}
        written = np.loadtxt(text, ndmin=2)
        for cell, (kind, x, y, width, height) in zip(cells.itertuples(), written, strict=True):
            row, column = np.nonzero(labels == cell.cell)
            assert len(row) == cell.area_px
            box = row.min(), column.min(), row.max() + 1, column.max() + 1
            assert box == (cell.row_px, cell.column_px, cell.row_end_px, cell.column_end_px)
            assert kind == 0
            assert ((y - height / 2) * 300, (x - width / 2) * 410) == pytest.approx(box[:2], abs=1e-4)
            assert ((y + height / 2) * 300, (x + width / 2) * 410) == pytest.approx(box[2:], abs=1e-4)
        brightness.append(pixels[labels > 0].mean() - pixels[labels == 0].mean())
    assert brightness[0] > 1.5 * brightness[1] > 3 * brightness[2] / 2 > 0
    assert not drawn.label_images[2][:, :60].any()


def test_the_same_seed_draws_the_same(tmp_path):
    first, again, other = (draw_images(tmp_path / name, count=1, shape=(80, 90), cells=2, seed=seed)
                           for name, seed in (("a", 3), ("b", 3), ("c", 4)))  # fmt: skip
    assert first.files[0].read_bytes() == again.files[0].read_bytes() != other.files[0].read_bytes()
    assert first.settings["seed"] == 3 and set(EXAMPLE_IMAGES) <= set(first.settings)


@pytest.mark.parametrize("kind", ["grey", "colour", "channels", "stack"])
@pytest.mark.parametrize("file_type", ["ome", "imagej", "tiff"])
def test_kinds_and_their_pixel_size(kind, file_type, tmp_path):
    drawn = draw_images(tmp_path, count=1, shape=(90, 70), dtype="uint8", cells=2, kind=kind, file_type=file_type,
                        pixel_size_um=0.4)  # fmt: skip
    shapes = {"grey": (90, 70), "colour": (90, 70, 3), "channels": (2, 90, 70), "stack": (5, 90, 70)}
    with tifffile.TiffFile(drawn.files[0]) as tiff:
        assert tiff.asarray().shape == shapes[kind]
        page = tiff.pages[0]
        if file_type == "ome":
            assert 'PhysicalSizeX="0.4"' in tiff.ome_metadata
        else:
            per_um = 1e-4 if file_type == "tiff" else 1
            assert page.get_resolution()[0] * per_um == pytest.approx(2.5)


@pytest.mark.parametrize(("file_type", "dtype", "kind"), [("png", "uint16", "grey"), ("png", "uint8", "colour"),
                                                          ("jpg", "uint8", "colour")])  # fmt: skip
def test_pictures(file_type, dtype, kind, tmp_path):
    drawn = draw_images(tmp_path, count=1, shape=(90, 70), dtype=dtype, cells=2, kind=kind, file_type=file_type)
    assert np.asarray(Image.open(drawn.files[0])).shape == (90, 70) + (3,) * (kind == "colour")


def test_images_and_masks_are_cut_and_merged(tmp_path):
    drawn = draw_images(tmp_path, count=1, shape=(300, 410), cells=5, seed=4)
    image, labels = tifffile.imread(drawn.files[0]), drawn.label_images[0]
    layout = make_layout(image.shape, tile_size=128, overlap=32)
    found = find_range(image, percentiles=(0.2, 99.8))
    tiles = [normalise(tile, found.low, found.high) for tile in cut_tiles(image, layout)]
    assert np.array_equal(merge_tiles(tiles, layout), normalise(image, found.low, found.high))
    assert np.array_equal(merge_tiles(cut_tiles(labels, layout), layout, blending="nearest"), labels)


def test_refused(tmp_path):
    for keywords, words in (
        ({"dtype": "int8"}, "dtype must be uint8, uint16 or float32; got 'int8'"),
        ({"kind": "rgb"}, "kind must be grey, colour, channels or stack; got 'rgb'"),
        ({"file_type": "bmp"}, "file_type must be ome, imagej, tiff, png or jpg; got 'bmp'"),
        ({"file_type": "jpg"}, "file_type must be ome or tiff for grey images of uint16; got 'jpg'"),
    ):
        with pytest.raises(ValueError, match=words):
            draw_images(tmp_path, **keywords)
    assert list(tmp_path.iterdir()) == []
