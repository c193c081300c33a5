"""Images found in folders: all that can be cut, and a sentence for each that cannot."""

from __future__ import annotations

import os

import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage

from analysis.tiles import find_images

GREY = np.arange(30 * 40, dtype=np.uint16).reshape(30, 40)


@pytest.fixture
def folder(tmp_path):
    for number in (1, 2, 10):
        tifffile.imwrite(tmp_path / f"cells {number}.tif", GREY, resolution=(20_000, 20_000), resolutionunit=3)
    return tmp_path


def test_images_are_found_in_natural_order(folder):
    PillowImage.fromarray(GREY.astype(np.uint8)).save(folder / "cells 3.PNG")
    (folder / "notes.txt").write_text("no image")
    (folder / "._cells 1.tif").write_bytes(b"what a Mac leaves on a share")
    (folder / "x.tif").mkdir()
    (folder / "cells 4.tif.bak").write_bytes(b"")
    found = find_images(folder)
    assert list(found.names) == ["cells 1", "cells 2", "cells 3", "cells 10"]
    assert found.problems.empty
    assert found.shape == (30, 40)


def test_table_says_what_the_images_are(folder):
    found = find_images(folder)
    row = found.table.iloc[0]
    assert (row["rows_px"], row["columns_px"], row["dtype"], row["format"]) == (30, 40, "uint16", "TIFF")
    assert (row["pixel_size_y_um"], row["pixel_size_source"]) == (0.5, "TIFF resolution tags")
    assert found.pixel_size.sides_um == (0.5, 0.5)
    assert found.summary()["images"] == 3
    assert found.warnings == ()


def test_unlike_images_are_said(folder):
    tifffile.imwrite(folder / "wide.tif", np.zeros((30, 50), np.float32))
    tifffile.imwrite(folder / "colour.tif", np.zeros((30, 40, 3), np.uint8), photometric="rgb")
    found = find_images(folder)
    words = " ".join(found.warnings)
    for what in ("2 shapes: 30 x 40, 30 x 50", "3 number types", "2 numbers of colours", "2 pixel sizes"):
        assert what in words
    assert found.shape is None
    assert found.pixel_size is None


def test_a_bad_file_is_a_sentence_and_the_rest_is_found(folder):
    whole = (folder / "cells 1.tif").read_bytes()
    (folder / "cells 2.tif").write_bytes(whole[:-100])
    (folder / "empty.tif").write_bytes(b"")
    found = find_images(folder)
    assert list(found.names) == ["cells 1", "cells 10"]
    assert [os.path.basename(file) for file in found.problems["file"]] == ["cells 2.tif", "empty.tif"]
    assert all(file in error for file, error in found.problems.itertuples(index=False))


def test_names_are_told_apart(tmp_path):
    for name in ("a.tif", "a.tiff", "A.png", "b.ome.tif"):
        (tmp_path / "one").mkdir(exist_ok=True)
        path = tmp_path / "one" / name
        if path.suffix == ".png":
            PillowImage.fromarray(GREY.astype(np.uint8)).save(path)
        else:
            tifffile.imwrite(path, GREY)
    (tmp_path / "two").mkdir()
    tifffile.imwrite(tmp_path / "two" / "a.tif", GREY)
    found = find_images([tmp_path / "one", tmp_path / "two"])
    assert sorted(found.names) == ["A_png", "a_tif", "a_tif-2", "a_tiff", "b"]
    assert len({name.lower() for name in found.names}) == 5


def test_one_file_twice_is_one_image(folder):
    assert len(find_images([folder, folder / "cells 1.tif"])) == 3


def test_what_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ValueError, match="sources must be folders or files that exist"):
        find_images(tmp_path / "nowhere")


def test_an_empty_folder_has_no_images(tmp_path):
    found = find_images(tmp_path)
    assert len(found) == 0
    assert found.table.empty
    assert found.summary()["images"] == 0
