"""Layouts, tiles cut by them, and the image merged again."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from analysis.tiles import (
    axis_weights,
    cut_bands,
    cut_tile,
    cut_tiles,
    make_layout,
    merge_bands,
    merge_tiles,
)

TYPES = ("uint8", "uint16", "int16", "uint32", "int32", "int64", "float16", "float32", "float64", "bool")
BLENDINGS = ("gradient", "flat", "gaussian", "nearest")
quick = settings(deadline=None, max_examples=150)


@st.composite
def layouts(draw, edges=("shift", "pad", "drop"), largest=40):
    """Any image, tile and overlap; often 0 or 1 of it."""
    shape = draw(st.tuples(*[st.integers(1, largest)] * 2))
    size = draw(st.tuples(*[st.integers(1, 16)] * 2))
    overlap = tuple(draw(st.sampled_from([0, 1, side // 2]) | st.integers(0, side // 2)) for side in size)
    overlap = tuple(min(each, side // 2) for each, side in zip(overlap, size, strict=True))
    edge = draw(st.sampled_from(edges))
    assume(edge != "drop" or (shape[0] >= size[0] and shape[1] >= size[1]))
    return make_layout(shape, tile_size=size, overlap=overlap, edges=edge)


def draw_pixels(shape, dtype, seed):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return (rng.standard_normal(shape) * 10.0 ** rng.integers(-3, 4)).astype(dtype)
    if dtype == "bool":
        return rng.random(shape) < 0.5
    info = np.iinfo(dtype)
    low, high = max(info.min, -(2**53)), min(info.max, 2**53)
    pixels = rng.integers(low, high, shape, np.int64, endpoint=True).astype(dtype)
    pixels.flat[0], pixels.flat[-1] = low, high
    return pixels


def plain_corners(length, size, overlap, edges):
    """Starts along an axis, one step after another."""
    starts, step = [0], size - overlap
    while starts[-1] + size < length:
        starts.append(starts[-1] + step)
    if edges == "drop" and starts[-1] + size > length:
        starts.pop()
    if edges == "shift" and length >= size:
        starts[-1] = length - size
    return starts


@given(layouts())
@quick
def test_where_tiles_lie(layout):
    for axis, starts in enumerate((layout.starts_y, layout.starts_x)):
        plain = plain_corners(layout.shape[axis], layout.tile_size[axis], layout.overlap[axis], layout.edges)
        assert starts.tolist() == plain
    wanted = [
        [y, x, y + layout.tile_size[0], x + layout.tile_size[1]] for y in layout.starts_y for x in layout.starts_x
    ]
    assert layout.corners.tolist() == wanted and layout.corners.dtype == np.int64
    assert len(layout) == layout.grid[0] * layout.grid[1] == len(wanted)
    named = layout.table[["row_px", "column_px", "row_end_px", "column_end_px"]].to_numpy().tolist()
    assert named == wanted
    by_place = layout.table.set_index(["row", "column"])
    assert by_place.loc[(layout.grid[0] - 1, layout.grid[1] - 1), "tile"] == len(layout) - 1


@given(layouts())
@quick
def test_what_tiles_cover(layout):
    seen = np.zeros(layout.shape, int)
    for y0, x0, y1, x1 in layout.corners:
        seen[y0:y1, x0:x1] += 1
    told = layout.summary()
    assert told["lost_px"] == np.sum(seen == 0)
    assert told["covered_share"] == pytest.approx(np.mean(seen > 0))
    assert told["times_cut"] == pytest.approx(seen.sum() / np.sum(seen > 0))
    assert told["padded_px"] == len(layout) * np.prod(layout.tile_size) - seen.sum()
    assert layout.table["padded"].any() == (told["padded_px"] > 0)
    if layout.edges != "drop":
        assert told["lost_px"] == 0
    if layout.edges == "drop" or (layout.edges == "shift" and np.all(np.array(layout.shape) >= layout.tile_size)):
        assert told["padded_px"] == 0 and (layout.corners[:, 2:] <= layout.shape).all()


@given(layouts())
@quick
def test_what_neighbours_share(layout):
    masks = np.zeros((len(layout), layout.corners[:, 2].max(), layout.corners[:, 3].max()), bool)
    for mask, (y0, x0, y1, x1) in zip(masks, layout.corners, strict=True):
        mask[y0:y1, x0:x1] = True
    rows, columns = layout.grid
    for tile in range(len(layout)):
        row, column = divmod(tile, columns)
        places = ((row, column - 1), (row + 1, column), (row, column + 1), (row - 1, column))
        for side, (y, x) in enumerate(places):
            axis = 1 - side % 2
            shared = 0
            if 0 <= y < rows and 0 <= x < columns and layout.overlap[axis]:
                shared = np.sum(masks[tile] & masks[y * columns + x]) // layout.tile_size[1 - axis]
            assert layout.overlaps[tile, side] == shared
            assert layout.neighbours[tile, side] == (shared > 0)


@given(layouts(), st.sampled_from(["reflect", "zero"]), st.sampled_from(["uint8", "float32"]), st.integers(0, 3))
@quick
def test_tiles_are_windows_of_the_padded_image(layout, padding, dtype, channels):
    image = draw_pixels(layout.shape + (channels,) * (channels > 0), dtype, 1)
    beyond = np.maximum(layout.corners[:, 2:].max(axis=0) - layout.shape, 0)
    wide = [(0, beyond[0]), (0, beyond[1])] + [(0, 0)] * (channels > 0)
    padded = np.pad(image, wide, mode="constant" if padding == "zero" else "reflect")
    tiles = list(cut_tiles(image, layout, padding=padding))
    assert len(tiles) == len(layout)
    inside = ~layout.table["padded"].to_numpy()
    for number, (tile, (y0, x0, y1, x1)) in enumerate(zip(tiles, layout.corners, strict=True)):
        assert tile.dtype == image.dtype
        assert np.array_equal(tile, padded[y0:y1, x0:x1])
        assert np.array_equal(tile, cut_tile(image, layout, number, padding=padding))
        assert np.shares_memory(tile, image) == inside[number]
    for height in (1, 5, 100):
        bands = (image[row : row + height] for row in range(0, len(image), height))
        again = list(cut_bands(bands, layout, padding=padding))
        assert len(again) == len(tiles) and all(map(np.array_equal, again, tiles))


@given(layouts(), st.sampled_from(BLENDINGS))
@quick
def test_weights_sum_to_one(layout, blending):
    for axis, starts in enumerate((layout.starts_y, layout.starts_x)):
        size = layout.tile_size[axis]
        weights = axis_weights(layout, axis, blending)
        assert weights.shape == (len(starts), size)
        assert weights.min() >= 0 and weights.max() <= 1 + 1e-12
        total = np.zeros(starts[-1] + size)
        for start, weight in zip(starts, weights, strict=True):
            total[start : start + size] += weight
        assert np.abs(total - 1).max() < 1e-12


def test_weights_are_what_they_say():
    layout = make_layout((1, 20), tile_size=(1, 12), overlap=(0, 4))
    flat, gradient, nearest, gaussian = (
        axis_weights(layout, 1, each) for each in ("flat", "gradient", "nearest", "gaussian")
    )
    assert flat[0].tolist() == [1] * 8 + [0.5] * 4
    assert gradient[0] == pytest.approx([1] * 8 + [1, 2 / 3, 1 / 3, 0])
    assert nearest[0].tolist() == [1] * 10 + [0] * 2
    ratio = np.exp(-0.5 * ((3.5 / 1.5) ** 2 - (4.5 / 1.5) ** 2))  # at column 9: 3.5 px and 4.5 px from the centres
    assert gaussian[0, 9] / gaussian[1, 1] == pytest.approx(ratio)
    for weights in (flat, gradient, gaussian):
        assert weights[1] == pytest.approx(weights[0][::-1])


@given(layouts(), st.sampled_from(BLENDINGS), st.sampled_from(TYPES), st.sampled_from([0, 1, 3]), st.integers(0, 2**32))
@settings(deadline=None, max_examples=600)
def test_cut_and_merge_gives_back_the_image(layout, blending, dtype, channels, seed):
    image = draw_pixels(layout.shape + (channels,) * (channels > 0), dtype, seed)
    kept = np.zeros_like(image)
    rows, columns = layout.covered
    kept[:rows, :columns] = image[:rows, :columns]
    merged = merge_tiles(cut_tiles(image, layout), layout, blending=blending)
    assert merged.dtype == image.dtype
    assert np.array_equal(merged, kept)
    bands = list(merge_bands(cut_tiles(image, layout), layout, blending=blending))
    assert np.array_equal(np.concatenate(bands), kept)
    assert max(map(len, bands)) <= max(layout.tile_size[0], layout.shape[0] - rows)


@given(layouts(largest=24), st.sampled_from(BLENDINGS), st.integers(0, 2**32))
@quick
def test_merged_is_the_weighted_mean(layout, blending, seed):
    rng = np.random.default_rng(seed)
    tiles = rng.random((len(layout), *layout.tile_size))
    y, x = axis_weights(layout, 0, blending), axis_weights(layout, 1, blending)
    wanted = np.zeros(layout.corners[:, 2:].max(axis=0))
    for number, (tile, (y0, x0, y1, x1)) in enumerate(zip(tiles, layout.corners, strict=True)):
        row, column = divmod(number, layout.grid[1])
        wanted[y0:y1, x0:x1] += tile * np.outer(y[row], x[column])
    rows, columns = layout.covered
    merged = merge_tiles(iter(tiles), layout, blending=blending, fill=-1)
    assert merged[:rows, :columns] == pytest.approx(wanted[:rows, :columns], abs=1e-12)
    assert np.all(merged[rows:] == -1) and np.all(merged[:, columns:] == -1)
    single = merge_tiles(tiles.astype(np.float32), layout, blending=blending, fill=-1)
    assert single == pytest.approx(merged, abs=1e-6)


@given(layouts(largest=24), st.sampled_from(BLENDINGS), st.data())
@quick
def test_neighbours_stand_in_for_missing_tiles(layout, blending, data):
    assume(len(layout) > 1)
    missing = data.draw(st.sets(st.integers(0, len(layout) - 1), max_size=len(layout) - 1))
    image = draw_pixels(layout.shape, "uint16", 5)
    seen = np.zeros(layout.shape, bool)
    for number, (y0, x0, y1, x1) in enumerate(layout.corners):
        seen[y0:y1, x0:x1] |= number not in missing
    tiles = [tile for number, tile in enumerate(cut_tiles(image, layout)) if number not in missing]
    merged = merge_tiles(tiles, layout, blending=blending, missing=missing, fill=7)
    assert np.array_equal(merged, np.where(seen, image, 7))


def test_missing_tiles_leave_the_other_weights_alone():
    layout = make_layout((30, 30), tile_size=10, overlap=4)
    tiles = np.random.default_rng(0).random((len(layout), 10, 10))
    whole = merge_tiles(tiles, layout)
    some = merge_tiles(tiles[:-1], layout, missing=[len(layout) - 1])
    y0, x0 = layout.corners[-1, :2]
    assert some[:y0] == pytest.approx(whole[:y0], abs=1e-9) and some[:, :x0] == pytest.approx(whole[:, :x0], abs=1e-9)
    assert np.abs(some[y0:, x0:] - whole[y0:, x0:]).max() > 0.1


def test_predictions_become_another_type_without_wrapping():
    layout = make_layout((20, 20), tile_size=8, overlap=2)
    for value, wanted in ((300.0, 255), (-5.0, 0), (1.6, 2), (np.nan, 0)):
        tiles = np.full((len(layout), 8, 8), value, np.float32)
        merged = merge_tiles(tiles, layout, dtype="uint8")
        assert merged.dtype == np.uint8 and np.all(merged == wanted)


def test_memory_does_not_grow_with_the_rows():
    """Tiles are asked for one row at a time, and a band is given before the next row is asked for."""
    layout = make_layout((100, 30), tile_size=10, overlap=2)
    asked = []

    def tiles():
        for number in range(len(layout)):
            asked.append(number)
            yield np.zeros((10, 10), np.uint8)

    bands = merge_bands(tiles(), layout)
    next(bands)
    assert len(asked) == layout.grid[1]
    assert sum(map(len, bands)) == 100 - 8


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"overlap": 257}, "overlap must be 0 to half the tile, 256 px for tiles of 512 px; got 257"),
        ({"overlap": -1}, "overlap must be a whole number from 0.*got -1"),
        ({"overlap": 1.5}, "overlap must be a whole number"),
        ({"tile_size": 0}, "tile_size must be a whole number from 1.*got 0"),
        ({"tile_size": (64, 64, 3)}, "tile_size must be a whole number from 1, or two"),
        ({"tile_size": (300, 100), "overlap": 64}, "half the tile, 50 px for tiles of 100 px; got 64"),
        ({"edges": "cut"}, "edges must be shift, pad or drop; got 'cut'"),
        ({"edges": "drop", "tile_size": 1200}, "as large as a tile, 1200 x 1200 px.*got 1000 x 1301 px.*pad"),
    ],
)
def test_layouts_refused(keywords, words):
    with pytest.raises(ValueError, match=words):
        make_layout((1000, 1301), **keywords)


def test_images_refused():
    layout = make_layout((20, 30), tile_size=8, overlap=2)
    with pytest.raises(ValueError, match=r"shape must be .rows, columns."):
        make_layout((20,))
    with pytest.raises(ValueError, match=r"image must be 20 x 30 px as the layout.*30, 20"):
        cut_tiles(np.zeros((30, 20)), layout)
    with pytest.raises(ValueError, match="padding must be reflect or zero; got 'edge'"):
        cut_tiles(np.zeros((20, 30)), layout, padding="edge")
    with pytest.raises(ValueError, match="tile must be 0 to 14; got 15"):
        cut_tile(np.zeros((20, 30)), layout, 15)
    for bands, words in (
        ([np.zeros((19, 30))], "only 19 rows"),
        ([np.zeros((20, 29))], "a band of 29 columns"),
        ([np.zeros((20, 30)), np.zeros((1, 30))], "got 21 rows"),
    ):
        with pytest.raises(ValueError, match=f"bands must make up the 20 x 30 px.*{words}"):
            list(cut_bands(bands, layout))


def test_tiles_refused():
    layout = make_layout((20, 30), tile_size=8, overlap=2)
    tiles = [np.zeros((8, 8), np.uint8)] * 15
    for wrong, words in (
        (tiles[:-1], "tiles must be 15, as the layout says; got fewer"),
        ([], "got fewer"),
        ([*tiles, tiles[0]], "tiles must be 15, as the layout says; got more"),
        ([tiles[0], np.zeros((8, 9), np.uint8), *tiles[2:]], r"must all be 8 x 8.*tile 1 is \(8, 9\)"),
        ([tiles[0], np.zeros((8, 8, 3), np.uint8), *tiles[2:]], r"must all be 8 x 8.*tile 1 is \(8, 8, 3\)"),
        ([np.zeros((4, 4))] * 15, "must all be 8 x 8.*tile 0"),
        (
            [*tiles[:5], np.zeros((8, 8), np.float32), *tiles[6:]],
            "must all have one type; tile 5 is float32, not",
        ),
        ([np.full((8, 8), 2**53 + 1)] * 15, r"whole numbers up to 2\*\*53; tile 0"),
        ([np.full((8, 8), "a")] * 15, "tiles must be numbers; got <U1"),
    ):
        with pytest.raises(ValueError, match=words):
            merge_tiles(wrong, layout)
    with pytest.raises(ValueError, match="blending must be gradient, flat, gaussian or nearest; got 'mean'"):
        merge_bands(tiles, layout, blending="mean")
    with pytest.raises(ValueError, match=r"missing must name some of the tiles 0 to 14; got \[15\]"):
        merge_bands(tiles, layout, missing=[15])
    for fill in (-1, 256, 0.5, np.nan):
        with pytest.raises(ValueError, match=f"fill must be a value that uint8 can hold; got {fill}"):
            merge_bands(tiles, layout, fill=fill)
    with pytest.raises(ValueError, match="axis must be 0"):
        axis_weights(layout, 2)
