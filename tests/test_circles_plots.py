"""Pictures of the circles page: what is in a result is what is drawn, and what stays is not sent again."""

import holoviews as hv
import numpy as np
import pandas as pd
import pytest
from bokeh.models import GlyphRenderer, HoverTool

from analysis.circles import detect_circles, make_control_chart, make_histogram, measure_circles
from analysis.synthetic.circles import draw_phantom
from dashboards.support.circles_picture import MOST_CIRCLES, CirclePicture, circle_columns
from dashboards.support.circles_plots import ChartPicture, HistogramPicture, chart_data, histogram_data, outline

NAME = "<img src=x onerror=window.hit=1>"


def figure_of(element):
    return hv.render(element, backend="bokeh")


def glyph(figure, name):
    return next(r for r in figure.renderers if isinstance(r, GlyphRenderer) and r.name == name)


@pytest.fixture(scope="module")
def found():
    discs = [
        (30.0, 30.0, 15.0, 200.0),
        (80.0, 60.0, 20.0, 150.0),
        (150.0, 80.0, 25.0, 180.0),
        (195.0, 20.0, 12.0, 90.0),
    ]
    pixels = draw_phantom((120, 200), circles=discs, seed=3).pixels
    return pixels, measure_circles(pixels, detect_circles(pixels)).table


def table_of(groups=("s1", "s2"), dates=9):
    rng = np.random.default_rng(1)
    rows = [
        (f"201804{date + 1:02d}", group, "e1", "fov00", circle, value)
        for group in groups
        for date in range(dates)
        for circle, value in enumerate(rng.normal(45, 3, 10))
    ]
    return pd.DataFrame(rows, columns=["Date", "Subject", "Experiment", "FOV", "Circle", "R"])


# ---- the image -------------------------------------------------------------------------------------------


def test_first_row_is_on_top_and_circles_lie_on_their_pixels(found):
    pixels, table = found
    figure = figure_of(CirclePicture().draw(pixels, table))
    image = glyph(figure, "image")
    assert image.data_source.data["image"][0] is pixels
    assert (image.glyph.x, image.glyph.y) == (-0.5, -0.5)
    assert (image.data_source.data["dw"], image.data_source.data["dh"]) == ([200], [120])
    assert figure.y_range.start > 119.5 > -0.5 > figure.y_range.end  # rows count downwards
    drawn = glyph(figure, "circles").data_source.data
    for name in ("x_px", "y_px", "r_px", "support", "mean", "integrated"):
        np.testing.assert_array_equal(drawn[name], table[name])


def test_a_pixel_is_square_on_the_screen(found):
    pixels, _ = found
    for grey in (pixels, pixels.T.copy(), np.zeros((50, 50), np.uint8)):
        figure = figure_of(CirclePicture().draw(grey, None))
        x, y = figure.x_range, figure.y_range
        assert (y.start - y.end) / (x.end - x.start) == pytest.approx(0.92)
        assert x.start <= -0.5 and x.end >= grey.shape[1] - 0.5 and y.start >= grey.shape[0] - 0.5


def test_other_circles_and_contrast_send_no_pixels(found):
    pixels, table = found
    picture = CirclePicture()
    drawn = hv.renderer("bokeh").get_plot(picture.draw(pixels, table))
    image = glyph(drawn.state, "image").data_source
    before = image.data
    assert not picture.move(table.head(1), contrast=(5.0, 80.0), strictness=0.5)  # no served page
    picture.draw(pixels, table.head(1), contrast=(5.0, 80.0), strictness=0.5)
    picture._put(drawn, None)
    assert image.data is before
    assert len(glyph(drawn.state, "circles").data_source.data["x_px"]) == 1
    mapper = glyph(drawn.state, "image").glyph.color_mapper
    assert (mapper.low, mapper.high) == (5.0, 80.0)


def test_flags_are_words_and_dashes_and_hover_tells_all(found):
    pixels, table = found
    flagged = table.head(3).assign(weak=[True, False, False], border=[True, True, False], overlap=False)
    columns = circle_columns(flagged)
    assert columns["flags"] == ["weak, border", "border", "none"]
    assert columns["dash"] == ["dashed", "dotted", "solid"]
    figure = figure_of(CirclePicture().draw(pixels, flagged.assign(r_um=1.0)))
    told = [row[0] for row in next(tool for tool in figure.tools if isinstance(tool, HoverTool)).tooltips]
    for name in ("support", "radius (px)", "radius (µm)", "mean", "background", "area (px²)", "flags"):
        assert name in told


def test_nothing_and_too_much():
    figure = figure_of(CirclePicture().draw(None))
    assert len(glyph(figure, "circles").data_source.data["x_px"]) == 0
    many = pd.DataFrame({name: np.arange(MOST_CIRCLES + 5.0) for name in ("x_px", "y_px", "r_px", "support")})
    figure = figure_of(CirclePicture().draw(np.zeros((4, 4), np.uint8), many))
    assert len(glyph(figure, "circles").data_source.data["x_px"]) == MOST_CIRCLES


# ---- histograms ------------------------------------------------------------------------------------------


def test_outline_holds_every_count():
    x, y = outline(np.array([0.0, 1.0, 2.0, 3.0]), np.array([2, 0, 5]))
    assert np.trapezoid(y, x) == 7 and y[0] == y[-1] == 0


def test_groups_are_drawn_over_all():
    table = table_of()
    histogram, behind = make_histogram(table, by="Subject"), make_histogram(table, bins=10)
    data = histogram_data(histogram, behind)
    assert data["groups"]["group"] == ["s1", "s2"] and len(set(data["groups"]["colour"])) == 2
    assert len(data["behind"]["xs"]) == 1
    figure = figure_of(HistogramPicture().draw(histogram, behind))
    assert len(glyph(figure, "groups").data_source.data["xs"]) == 2
    assert figure.y_range.end >= behind.counts.max()
    assert histogram_data(make_histogram(table_of([f"s{i}" for i in range(40)], 2), by="Subject"), None)
    assert figure_of(HistogramPicture().draw(None)) is not None


def test_empty_histograms_can_be_drawn():
    empty = make_histogram(table_of().head(0), by="Subject")
    assert histogram_data(empty, empty)["groups"]["xs"] == []
    assert figure_of(HistogramPicture().draw(empty, empty)) is not None


# ---- charts ----------------------------------------------------------------------------------------------


def test_points_out_of_control_are_red_diamonds_and_limits_are_steps():
    table = table_of((NAME,))
    table.loc[table["Date"] == "20180409", "R"] += 30
    chart = make_control_chart(table)
    data, dates = chart_data(chart, NAME)
    assert dates[-1] == "20180409" and data["points"]["marker"][-1] == "diamond"
    assert set(data["points"]["marker"][:-1]) == {"circle"}
    assert len(data["limits"]["x"]) == 2 * len(dates)
    figure = figure_of(ChartPicture().draw(chart, NAME))
    assert figure.xaxis[0].major_label_overrides[8] == "20180409"
    assert figure.title.text == f"{NAME}: mean of experiments by date"


def test_empty_charts_can_be_drawn():
    assert figure_of(ChartPicture().draw(None)) is not None
    chart = make_control_chart(table_of().head(0))
    assert chart_data(chart, "s1")[1] == []
    assert figure_of(ChartPicture().draw(make_control_chart(table_of(dates=1)), "s1")) is not None


def test_many_or_long_names_leave_room_for_the_histogram():
    table = table_of([f"a subject with a long name {number}" for number in range(12)])
    histogram = make_histogram(table, "R", by="Subject")
    figure = figure_of(HistogramPicture().draw(histogram))
    assert not figure.legend[0].items and len(glyph(figure, "groups").data_source.data["label"]) == 12
    few = make_histogram(table[table["Subject"].isin(histogram.groups[:3])], "R", by="Subject")
    figure = figure_of(HistogramPicture().draw(few))
    assert figure.legend[0].items and figure.legend[0].ncols == 2
    labels = glyph(figure, "groups").data_source.data["label"]
    assert len(set(labels)) == 3 and max(map(len, labels)) <= 28
