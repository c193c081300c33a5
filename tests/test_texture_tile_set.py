"""Sets of tiles: which files, in which order, at which places, and how grids cut them."""

import os

import numpy as np
import pytest
import tifffile
from PIL import Image

from analysis.planes import open_plane
from analysis.texture import find_tile_set, make_grid
from analysis.texture._tile_set import read_grey


def write(folder, *names, shape=(20, 30), dtype=np.uint16):
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        tifffile.imwrite(folder / name, np.full(shape, number + 1, dtype))
    return folder


def places(tile_set):
    return list(tile_set.table[["name", "row", "column"]].itertuples(index=False, name=None))


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["Tile_002-003-000001_0-000.tif", "Tile_001-003-000000_0-000.tif"], [(0, 0), (1, 0)]),
        (["a_r01_c02.tif", "a_r01_c03.tif", "a_r02_c02.tif"], [(0, 0), (0, 1), (1, 0)]),
        (["s_row1_col1.tif", "s_row1_col12.tif", "s_row2_col1.tif"], [(0, 0), (0, 11), (1, 0)]),
        (["t_x3_y4.tif", "t_x2_y4.tif", "t_x3_y5.tif"], [(0, 0), (0, 1), (1, 1)]),
        (["t_y1_x1.tif", "t_y2_x1.tif"], [(0, 0), (1, 0)]),
    ],
)
def test_places_from_names(tmp_path, names, wanted):
    tile_set = find_tile_set(write(tmp_path / "set", *names))
    assert [place[1:] for place in places(tile_set)] == wanted
    assert not tile_set.warnings
    assert (tile_set.rows, tile_set.columns) == tuple(np.max(wanted, axis=0) + 1)


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["t_x12000_y3500.tif", "t_x12000_y4500.tif", "t_x13000_y3500.tif"], [(0, 0), (1, 0), (0, 1)]),
        (["r1c1.tif", f"r1c{10**30}.tif", "r2c1.tif"], [(0, 0), (0, 1), (1, 0)]),
    ],
)
def test_positions_far_apart_give_the_order(tmp_path, names, wanted):
    tile_set = find_tile_set(write(tmp_path / "set", *names))
    assert [place[1:] for place in places(tile_set)] == wanted
    assert (tile_set.rows, tile_set.columns) == (2, 2)
    assert "far apart" in tile_set.warnings[0]


def test_natural_order_and_given_layout(tmp_path):
    folder = write(tmp_path / "set", "im10.tif", "im2.tif", "im1.tif")
    found = find_tile_set(folder, columns=2)
    assert places(found) == [("im1.tif", 0, 0), ("im2.tif", 0, 1), ("im10.tif", 1, 0)]
    assert (found.rows, found.columns) == (2, 2)
    assert places(find_tile_set(folder, rows=1))[2] == ("im10.tif", 0, 2)
    assert "names do not say" in find_tile_set(folder).warnings[0]
    with pytest.raises(ValueError, match="a place for all 3 tiles; got 1 x 2"):
        find_tile_set(folder, rows=1, columns=2)


def test_numbers_give_the_order(tmp_path):
    found = find_tile_set(write(tmp_path / "set", "b_s1_z.tif", "a_s3_z.tif", "c_s2_z.tif", "d_s4_z.tif"))
    assert {name: (row, column) for name, row, column in places(found)} == {
        "b_s1_z.tif": (0, 0), "c_s2_z.tif": (0, 1), "a_s3_z.tif": (1, 0), "d_s4_z.tif": (1, 1),
    }  # fmt: skip


def test_pattern(tmp_path):
    folder = write(tmp_path / "set", "p7q1.tif", "p7q2.tif", "p8q1.tif")
    found = find_tile_set(folder, pattern=r"p(?P<row>\d+)q(?P<column>\d+)")
    assert [place[1:] for place in places(found)] == [(0, 0), (0, 1), (1, 0)]
    for pattern, words in [("(", "is not"), (r"p\d", "must have the groups"), (r"q(?P<row>\d)x(?P<column>\d)", "p7q1"),
                           (r"p(?P<row>\d)q(?P<column>)", "two whole numbers"),
                           (r"(?P<row>p)?(?P<column>\d)", "two whole numbers")]:  # fmt: skip
        with pytest.raises(ValueError, match=words):
            find_tile_set(folder, pattern=pattern)


def test_order_given_does_not_matter(tmp_path):
    folder = write(tmp_path / "set", *(f"im{n}.tif" for n in range(5)))
    paths = sorted(folder.iterdir())
    assert find_tile_set(paths).table.equals(find_tile_set(paths[::-1]).table)


def test_bad_files_are_rows_of_problems(tmp_path):
    folder = write(tmp_path / "set", "a.tif", "b.tif")
    (folder / "c.tif").write_bytes(b"nothing")
    data = (folder / "a.tif").read_bytes()
    (folder / "d.tif").write_bytes(data[: len(data) // 2])
    (folder / "notes.txt").write_text("not looked at")
    found = find_tile_set(folder, rows=1)
    assert list(found.table["name"]) == ["a.tif", "b.tif"]
    assert len(found.problems) == 2
    assert all(name in text for name, text in zip(("c.tif", "d.tif"), found.problems["error"], strict=True))
    assert found.summary()["problems"] == 2


def test_a_name_that_is_no_text_is_a_problem(tmp_path):
    folder = write(tmp_path / "set", "a.tif", "b.tif")
    try:
        (folder / "b.tif").rename(os.fsdecode(os.fsencode(folder) + b"/b\xff.tif"))
    except OSError:
        pytest.skip("this disk has names in UTF-8 only")
    found = find_tile_set(folder)
    assert list(found.table["name"]) == ["a.tif"]
    assert "must have a name in UTF-8" in found.problems["error"][0]
    found.problems.to_csv(tmp_path / "problems.csv")


def test_unlike_tiles_are_said(tmp_path):
    folder = write(tmp_path / "set", "a.tif", "b.tif")
    tifffile.imwrite(folder / "c.tif", np.zeros((10, 12), np.uint8))
    found = find_tile_set(folder, rows=1)
    assert found.shape == (20, 30)
    assert any("2 shapes: 20 x 30 (2), 10 x 12 (1)" in said for said in found.warnings)
    assert any("number types" in said for said in found.warnings)


def test_nothing_to_find(tmp_path):
    with pytest.raises(ValueError, match="at least one image"):
        find_tile_set(tmp_path)
    with pytest.raises(ValueError, match="does not"):
        find_tile_set(tmp_path / "missing")
    with pytest.raises(ValueError, match="channel must be at least 1"):
        find_tile_set(tmp_path, channel=0)
    write(tmp_path / "set", "a.tif")
    with pytest.raises(ValueError, match="must have a channel 3; it has 1"):
        find_tile_set(tmp_path / "set", channel=3)


def test_colour_becomes_grey(tmp_path):
    colours = np.zeros((4, 5, 4), np.uint8)
    colours[..., 0], colours[..., 1], colours[..., 2], colours[..., 3] = 100, 200, 50, 7
    colours[0, 0, :3] = 255
    Image.fromarray(colours).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "b.tif", colours, photometric="rgb", extrasamples=["unassalpha"])
    for name in ("a.png", "b.tif"):
        with open_plane(tmp_path / name, channel=1, plane=1) as plane:
            grey, cut = read_grey(plane, 0, 4), read_grey(plane, 0, 4, compatible=True)
        assert grey[1, 1] == pytest.approx(0.2125 * 100 + 0.7154 * 200 + 0.0721 * 50, rel=1e-6)
        assert grey[0, 0] == pytest.approx(255)
        assert cut[1, 1] == np.floor(grey[1, 1] / 255 * 256)
        assert cut[0, 0] == 256


def test_grids():
    grid = make_grid((100, 205), rows=3, columns=4)
    assert (grid.patch_size, grid.dropped, len(grid)) == ((33, 51), (1, 1), 12)
    assert "1 pixel rows" in grid.warnings[0]
    assert grid.table.loc[5, ["row", "column", "row_px", "column_px"]].tolist() == [1, 1, 33, 51]
    assert make_grid((64, 64)).rows == 16
    assert make_grid((64, 64), rows=4).columns == 4
    assert not make_grid((64, 64), rows=4).warnings
    assert len(make_grid((7, 9), rows=1, columns=1)) == 1
    sliding = make_grid((50, 80), patch_size=(20, 30), step=(10, 25))
    assert sliding.starts_y.tolist() == [0, 10, 20, 30]
    assert sliding.starts_x.tolist() == [0, 25, 50]
    assert sliding.summary()["dropped_px"] == (0, 0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rows": 0}, "whole number from 1"),
        ({"rows": 11, "columns": 4}, "at most as many rows"),
        ({"rows": 2, "patch_size": 4}, "either rows and columns or patch_size"),
        ({"step": 4}, "step must come with patch_size"),
        ({"patch_size": 40}, "at most the tile"),
        ({"patch_size": 4.5}, "whole number"),
    ],
)
def test_grids_that_cannot_be(options, words):
    with pytest.raises(ValueError, match=words):
        make_grid((10, 20), **options)
