"""Plots of flatfield: what is drawn where, from results with known values."""

from dataclasses import dataclass

import holoviews as hv
import numpy as np
import pytest
from bokeh.models import HoverTool, NoOverlap
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from dashboards.support import flatfield_matrix as matrix
from dashboards.support import flatfield_plots as plots
from dashboards.support import looks
from dashboards.support.colours import FAINT, GROUP_COLOURS
from dashboards.support.instruments import served_instruments
from dashboards.support.parts import as_text

HTML_NAME = '<img src=x onerror="window.hit=1">'


@dataclass(frozen=True)
class Pair:
    mean_images: tuple
    delta_over_sigma: np.ndarray
    histogram: tuple
    layer: int = 1


@dataclass(frozen=True)
class Groups:
    order: np.ndarray
    labels: np.ndarray
    distances: np.ndarray
    linkage: np.ndarray
    threshold: float
    names: list


def three_slides():
    values = np.array([[np.nan, 1.1, 1.2], [1.3, np.nan, 1.4], [1.5, 1.6, np.nan]])
    return values, ["first", HTML_NAME, "third"]


def figure_of(element):
    return hv.render(element, backend="bokeh")


def image_of(figure):
    return next(drawn for drawn in figure.renderers if type(drawn.glyph).__name__ == "Image")


def test_matrix_has_the_first_slide_on_top_and_left():
    values, names = three_slides()
    figure = figure_of(matrix.plot_matrix(values, names))
    drawn = image_of(figure).data_source.data["image"][0]
    np.testing.assert_array_equal(drawn[::-1], values.astype(np.float32))
    upright = figure.left[0].major_label_overrides
    assert [upright[place] for place in (2.5, 1.5, 0.5)] == names
    lying = figure.below[0].major_label_overrides
    assert [lying[place] for place in (0.5, 1.5, 2.5)] == names


def test_matrix_tap_finds_the_drawn_value():
    values, names = three_slides()
    drawn = matrix.plot_matrix(values, names)
    for x, y in ((0.5, 0.5), (2.2, 1.9), (1.01, 2.99)):
        row, column = matrix.matrix_cell(x, y, 3)
        assert drawn[x, y] == pytest.approx(values[row, column])


@pytest.mark.parametrize("place", [(None, None), (-0.01, 1), (3, 1), (1, 3), (1, -0.01), (float("nan"), 1)])
def test_matrix_tap_beside_the_matrix_is_no_cell(place):
    assert matrix.matrix_cell(*place, 3) is None


def test_matrix_labels_thin_out_and_names_are_whole():
    names = [f"slide-{number:03d}-with-a-very-long-name" for number in range(200)]
    figure = figure_of(matrix.plot_matrix(np.ones((200, 200)), names))
    assert all(isinstance(axis.major_label_policy, NoOverlap) for axis in figure.axis)
    assert set(figure.left[0].major_label_overrides.values()) == set(names)


def test_matrix_lines_stand_behind_the_given_number_of_slides():
    values, names = three_slides()
    figure = figure_of(matrix.plot_matrix(values, names, lines=(1,)))
    data = figure.select_one({"name": "dividing lines"}).data_source.data
    segments = set(zip(data["x0"], data["y0"], data["x1"], data["y1"], strict=True))
    assert segments == {(1, 0, 1, 3), (0, 2, 3, 2)}
    drawn = {renderer.name: renderer for renderer in figure.renderers}
    assert list(drawn).index("halo of the lines") < list(drawn).index("dividing lines")
    assert drawn["halo of the lines"].data_source is drawn["dividing lines"].data_source


def test_matrix_hover_tells_names_and_counts():
    values, names = three_slides()
    counts = np.arange(9).reshape(3, 3)
    figure = figure_of(matrix.plot_matrix(values, names, layers_used=counts, left_out=counts * 10))
    hover = figure.select_one({"type": HoverTool})
    assert hover.formatters["$y"].args["names"] == names
    assert [label for label, _ in hover.tooltips] == [
        "slide",
        "against",
        "std of Δ/σ",
        "layers used",
        "pixels left out",
    ]
    data = image_of(figure).data_source.data
    np.testing.assert_array_equal(data["left_out"][0][::-1], counts * 10)


def test_matrix_changes_in_place_and_keeps_the_zoom():
    values, names = three_slides()
    choice = {"order": [0, 1, 2], "bounds": (0.85, 1.15), "lines": (1,)}
    redraw = hv.streams.Counter()

    def draw(counter):
        order = choice["order"]
        return matrix.plot_matrix(
            values[np.ix_(order, order)],
            [names[slide] for slide in order],
            bounds=choice["bounds"],
            lines=choice["lines"],
            title=str(order),
        )

    figure = hv.renderer("bokeh").get_plot(hv.DynamicMap(draw, streams=[redraw])).state
    figure.x_range.update(start=0.5, end=1.5)
    choice.update(order=[2, 1, 0], bounds=(0.5, 1.2), lines=(1, 2))
    redraw.event()
    assert (figure.x_range.start, figure.x_range.end) == (0.5, 1.5)
    assert figure.left[0].major_label_overrides[2.5] == "third"
    assert figure.title.text == "[2, 1, 0]"
    mapper = image_of(figure).glyph.color_mapper
    assert (mapper.low, mapper.high) == (0.5, 1.2)
    assert list(mapper.palette) == looks.diverging_palette((0.5, 1.2))
    assert len(figure.select_one({"name": "dividing lines"}).data_source.data["x0"]) == 4
    hover = figure.select_one({"type": HoverTool})
    assert hover.formatters["$x"].args["names"] == names[::-1]
    assert hover.tooltips[0] == ("slide", "$y{custom}")
    choice.update(order=[0, 1], lines=())
    redraw.event()
    assert (figure.x_range.start, figure.x_range.end, figure.y_range.end) == (0, 2, 2)


def test_matrix_of_one_slide():
    figure = figure_of(matrix.plot_matrix(np.array([[np.nan]]), ["only"]))
    assert image_of(figure).data_source.data["dw"][0] == 1


def test_matrix_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="square array"):
        matrix.plot_matrix(np.ones((2, 3)), ["a", "b"])
    with pytest.raises(ValueError, match="as many as rows"):
        matrix.plot_matrix(np.ones((2, 2)), ["a"])
    with pytest.raises(ValueError, match="left_out must have the shape"):
        matrix.plot_matrix(np.ones((2, 2)), ["a", "b"], left_out=np.ones(2))
    with pytest.raises(ValueError, match="increasing"):
        matrix.plot_matrix(np.ones((2, 2)), ["a", "b"], bounds=(1.1, 0.9))


def brightness(colour):
    return sum(int(colour[at : at + 2], 16) for at in (1, 3, 5))


@pytest.mark.parametrize("bounds", [(0.85, 1.15), (0.5, 1.05), (0.99, 1.5)])
def test_palette_is_neutral_at_one(bounds):
    palette = looks.diverging_palette(bounds, count=401)
    at_one = round((1 - bounds[0]) / (bounds[1] - bounds[0]) * 400)
    assert max(range(401), key=lambda place: brightness(palette[place])) == pytest.approx(at_one, abs=4)


def test_palette_beyond_one_is_purple_throughout():
    red, green, _ = (int(looks.diverging_palette((1.05, 1.2))[0][at : at + 2], 16) for at in (1, 3, 5))
    assert red > green


def test_dendrogram_follows_the_row_order():
    distances = np.array([[0, 0.3, 0.01], [0.3, 0, 0.32], [0.01, 0.32, 0]])
    tree = linkage(squareform(distances), "average")
    groups = Groups(leaves_list(tree), np.array([0, -1, 0]), distances, tree, 0.05, ["a", HTML_NAME, "c"])
    drawn = matrix.plot_dendrogram(groups)
    figure = figure_of(drawn)
    overrides = figure.left[0].major_label_overrides
    assert [overrides[place] for place in (2.5, 1.5, 0.5)] == [groups.names[slide] for slide in groups.order]
    table = drawn.get(0).dframe()
    assert table["x1"].max() == pytest.approx(0.31)
    leaves = table[table["distance"] == 0].set_index("x1")["colour"]
    assert set(leaves[leaves.index < 0.05]) == {GROUP_COLOURS[0]}
    assert set(leaves[leaves.index > 0.05]) == {FAINT}
    assert set(drawn.get(1).dframe()["distance"]) == {0.05}


def test_dendrogram_of_an_unknown_pair_keeps_its_scale():
    far = 2.0
    tree = linkage([0.02, far, far], "complete")
    distances = np.array([[0, 0.02, np.inf], [0.02, 0, np.inf], [np.inf, np.inf, 0]])
    drawn = matrix.plot_dendrogram(
        Groups(leaves_list(tree), np.array([0, 0, -1]), distances, tree, 0.05, ["a", "b", "c"])
    )
    assert figure_of(drawn).x_range.end == pytest.approx(0.0625)
    assert "no known value" in set(drawn.get(0).dframe()["joined"])


def test_dendrogram_of_one_slide():
    groups = Groups(np.array([0]), np.array([-1]), np.zeros((1, 1)), np.empty((0, 4)), 0.05, ["only"])
    figure_of(matrix.plot_dendrogram(groups))


def pair_of(height=5, width=8):
    first = np.arange(height * width, dtype=float).reshape(height, width)
    first[0, 1] = np.nan
    return Pair((first, first + 1), first - 3, np.histogram(first[np.isfinite(first)], 10))


def test_pair_images_share_one_grey_scale_and_show_row_zero_on_top():
    pair = pair_of()
    first, second, difference = (figure_of(element) for element in plots.plot_pair_images(pair, (HTML_NAME, "b")))
    scales = {(image_of(f).glyph.color_mapper.low, image_of(f).glyph.color_mapper.high) for f in (first, second)}
    assert len(scales) == 1
    np.testing.assert_array_equal(image_of(first).data_source.data["image"][0][::-1], pair.mean_images[0])
    mapper = image_of(difference).glyph.color_mapper
    assert (mapper.low, mapper.high) == (-4, 4)


def test_images_are_thinned_and_keep_pixel_coordinates():
    image = np.arange(1004 * 1344, dtype=float).reshape(1004, 1344)
    figure = figure_of(plots.plot_field(image / image.mean(), "layer 1"))
    data = image_of(figure).data_source.data
    assert data["image"][0].shape == (251, 336)
    assert (data["x"][0], data["dw"][0], data["y"][0], data["dh"][0]) == (0, 1344, 0, 1004)
    hover = figure.select_one({"type": HoverTool})
    assert hover.formatters["$y"].args == {"height": 1004, "step": 4}


def test_thinned_image_of_odd_size_keeps_the_first_row_on_top():
    element = plots.plot_field(np.arange(703 * 7.0).reshape(7, 703), "x", kind="coverage", label="images")
    left, bottom, right, top = element.bounds.lbrt()
    assert (left, top) == (0, 7)
    assert (bottom, right) == (-2, 705)


def test_field_refuses_an_unknown_kind():
    with pytest.raises(ValueError, match="kind must be one of coverage, flatfield, uncertainty"):
        plots.plot_field(np.ones((2, 2)), "x", kind="heat")


def test_field_of_nothing_finite_is_drawn():
    figure_of(plots.plot_field(np.full((3, 4), np.nan), "empty"))


def test_histogram_is_a_density():
    drawn = plots.plot_pair_histogram(pair_of()).get(0)
    assert np.sum(np.diff(drawn.edges) * drawn.dimension_values(1)) == pytest.approx(1)


def test_histogram_of_no_pixels_is_drawn():
    figure_of(plots.plot_pair_histogram(Pair((), np.empty(0), (np.zeros(4), np.linspace(-1, 1, 5)))))


def test_over_layers_marks_the_chosen_layer_and_names_filter_groups():
    values = np.array([1.0, np.nan, 1.3])
    overlay = plots.plot_over_layers(values, ("DAPI", "DAPI", "Cy5"), chosen=3)
    words, mark = overlay.get(1).dframe(), overlay.get(5).dframe()
    assert list(words["name"]) == ["DAPI", "Cy5"]
    assert mark.values.tolist() == [[3, 1.3]]
    figure_of(overlay)
    figure_of(plots.plot_over_layers(np.full(2, np.nan), ("DAPI", "Cy5")))
    with pytest.raises(ValueError, match="one per layer"):
        plots.plot_over_layers(values, ("DAPI",))


def test_as_text_leaves_nothing_to_execute():
    text = as_text(f"{HTML_NAME} **b** [l](javascript:alert(1))\n$$x$$ # 1")
    assert not set("<>*[]()$`_") & set(text.replace("<br>", ""))
    assert text.count("<br>") == 1


def test_only_instruments_with_a_page_are_served(tmp_path):
    assert served_instruments(tmp_path) == ()
    (tmp_path / "flatfield.py").touch()
    assert [instrument.name for instrument in served_instruments(tmp_path)] == ["flatfield"]
