"""Pictures of the tiles page: where tiles are drawn, what a click meets, and how much is sent."""

import holoviews as hv
import numpy as np
import pytest
import tifffile

from analysis.planes import find_info
from analysis.tiles import make_layout
from dashboards.support.tiles_plots import (
    plot_chosen,
    plot_grid,
    plot_histogram,
    plot_image,
    plot_tile,
    tile_at,
)
from dashboards.support.tiles_work import OpenImage, count_values, decimate, sample_numbers, seen_range, to_grey


@pytest.fixture
def layout():
    return make_layout((100, 130), tile_size=40, overlap=10)


def test_grid_is_one_glyph_with_the_first_row_on_top(layout):
    drawn = plot_grid(layout)
    assert len(drawn) == len(layout)
    first = [drawn.dimension_values(name)[0] for name in range(4)]
    assert first == [0, 60, 40, 100]
    figure = hv.render(plot_image(None, (100, 130)) * drawn * plot_chosen(layout, 2))
    assert sorted(renderer.name for renderer in figure.renderers if renderer.name in ("tiles", "chosen")) == [
        "chosen",
        "tiles",
    ]


def test_ten_thousand_tiles_stay_one_glyph():
    many = make_layout((10_000, 10_000), tile_size=128, overlap=28)
    assert len(many) == 10_000
    drawn = plot_grid(many, np.arange(len(many)) % 7 == 0)
    assert len(hv.render(drawn).renderers) == 1 and len(drawn) == len(many)


def test_empty_tiles_have_another_colour_and_none_are_drawn_when_hidden(layout):
    empty = np.zeros(len(layout), bool)
    empty[3] = True
    fill = plot_grid(layout, empty).dimension_values("fill")
    assert fill[3] != fill[2] and len(set(fill)) == 2
    assert len(plot_grid(layout, all_tiles=False)) == len(plot_grid(None)) == len(plot_chosen(None, 0)) == 0


def test_click_meets_the_tile_whose_middle_is_nearest(layout):
    assert tile_at(layout, 5, 5) == 0
    assert tile_at(layout, 5, 36) == 1 and tile_at(layout, 5, 33) == 0  # both reach there
    assert tile_at(layout, 99, 129) == len(layout) - 1
    assert tile_at(layout, -1, 5) is None and tile_at(layout, 5, 131) is None


@pytest.mark.parametrize("shape", [(100, 130), (10, 1000), (1000, 10), (1, 1)])
def test_whole_image_is_in_the_frame(shape):
    options = plot_image(np.zeros(shape, np.uint8), shape).opts.get("plot").kwargs
    (x0, x1), (y0, y1) = options["xlim"], options["ylim"]
    assert x0 <= 0 and x1 >= shape[1] and y0 <= 0 and y1 >= shape[0]


def test_histogram_holds_lines_that_lie_outside():
    counts, edges = count_values(np.array([[1, 2, 2, 9]], np.uint8))
    assert counts.sum() == 4 and edges[0] == 0.5 and edges[-1] == 9.5
    drawn = plot_histogram(counts, edges, (-5.0, 20.0))
    assert drawn.opts.get("plot").kwargs["xlim"][0] < -5 and drawn.opts.get("plot").kwargs["xlim"][1] > 20


@pytest.mark.parametrize(
    "pixels",
    [np.full((3, 3), 7, np.uint16), np.full((3, 3), np.nan), np.array([[np.inf, 1.0, np.nan]]), np.zeros((2, 2, 3))],
    ids=["one value", "nan", "mixed", "colour"],
)
def test_odd_pixels_are_drawn(pixels):
    grey = to_grey(pixels, seen_range(pixels))
    assert grey.dtype == np.uint8 and grey.shape == pixels.shape
    counts, edges = count_values(pixels)
    assert counts.sum() == np.isfinite(pixels).sum() and len(edges) == len(counts) + 1
    hv.render(plot_tile(grey))
    hv.render(plot_histogram(counts, edges, None))


def test_decimated_in_bands_is_the_decimated_whole():
    image = np.random.default_rng(0).integers(0, 255, (5003, 2001, 3), np.uint8)
    np.testing.assert_array_equal(decimate(image, 7), image[::7, ::7])


def test_large_image_is_sent_small(tmp_path):
    path = tmp_path / "large.tif"
    pixels = tifffile.memmap(path, shape=(6000, 8000), dtype=np.uint16)
    pixels[3000:, :] = 900
    pixels.flush()
    image = OpenImage(find_info(path))
    assert max(image.preview.shape) <= 900 and image.step == 9
    layout = make_layout(image.shape, tile_size=100, overlap=20)
    tile = image.tile(layout, len(layout) - 1, "reflect")
    assert tile.shape == (100, 100) and (tile == 900).all()
    empty = image.find_empty(layout, empty_below=900, least_share=0.5, padding="reflect")
    assert empty[: layout.grid[1]].all() and not empty[-1]
    image.close()


def test_sample_takes_images_evenly():
    assert sample_numbers(0) == [] and sample_numbers(3) == [0, 1, 2]
    many = sample_numbers(1000)
    assert len(many) == 25 and many[0] == 0 and many[-1] == 999
