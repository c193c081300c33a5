"""Pictures as files: right way up, readable, and named as they are."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.image import imread

from dashboards.support import figures
from dashboards.support.figures import diverging_colours, save_field, save_matrix, save_model_figures


@pytest.fixture
def drawn(monkeypatch):
    """The figure that is saved, to look at."""
    kept = []
    save = figures.save_figure
    monkeypatch.setattr(figures, "save_figure", lambda figure, path: kept.append(figure) or save(figure, path))
    return kept


def matrix_of(count, seed=0):
    values = 1 + 0.1 * np.random.default_rng(seed).normal(size=(count, count))
    values = (values + values.T) / 2
    np.fill_diagonal(values, np.nan)
    return values


@pytest.mark.parametrize("length", [4, 30])
@pytest.mark.parametrize("count", [1, 2, 6, 24, 200])
def test_names_of_slides_never_overlap_and_stay_on_the_picture(count, length, drawn, tmp_path):
    names = [f"{i:03d}".rjust(length, "M") for i in range(count)]
    path = save_matrix(matrix_of(count), names, tmp_path / "matrix.png", lines=[count // 2], title="a title")
    pixels = imread(path)
    assert pixels.shape[0] == pixels.shape[1]
    axes = drawn[0].axes[0]
    renderer = drawn[0].canvas.get_renderer()
    across = [label.get_window_extent(renderer) for label in axes.get_xticklabels()]
    down = [label.get_window_extent(renderer) for label in axes.get_yticklabels()]
    assert len(down) >= min(count, 20)
    assert all(left.x1 <= right.x0 for left, right in pairwise(across))
    assert all(upper.y0 >= lower.y1 for upper, lower in pairwise(down))
    assert min(box.x0 for box in down) >= 0
    assert min(box.y0 for box in across) >= 0


def test_first_slide_is_on_top_and_lines_are_red(drawn, tmp_path):
    values = matrix_of(5)
    values[0, 4] = values[4, 0] = 1.3
    save_matrix(values, list("abcde"), tmp_path / "matrix.png", lines=[2])
    axes = drawn[0].axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == list("abcde")
    low, high = axes.get_ylim()
    assert low > high  # row 0 on top
    assert axes.images[0].get_array()[0, 4] == 1.3
    red = [line for line in axes.lines if line.get_color() == figures.LINE_RED]
    assert axes.lines[-len(red) :] == red and len(axes.lines) == 2 * len(red) == 4, "a halo below each"
    assert {tuple(line.get_ydata()) for line in axes.lines} & {(1.5, 1.5)}


def test_names_are_words_and_not_formulas(drawn, tmp_path):
    # matplotlib would refuse the second and typeset the first
    names = ["$x_1$", r"$\nonsense{$", "<img src=x>"]
    save_matrix(matrix_of(3), names, tmp_path / "matrix.png", title="$x$ & <b>")
    assert [label.get_text() for label in drawn[0].axes[0].get_xticklabels()] == names


@pytest.mark.parametrize("bounds", [(0.85, 1.15), (0.5, 1.1), (1.2, 1.5), (0.1, 0.9)])
def test_one_is_white_whatever_the_bounds(bounds):
    colours = diverging_colours(bounds)
    share = (1 - bounds[0]) / (bounds[1] - bounds[0])
    if 0 <= share <= 1:
        assert min(colours(share)[:3]) > 0.94
    green, purple = colours(0.0), colours(1.0)
    if bounds[0] < 1:
        assert green[1] > green[2]
    if bounds[1] > 1:
        assert purple[2] > purple[1]


@pytest.mark.parametrize("bounds", [(1.1, 0.9), (1, 1), (float("nan"), 1)])
def test_bounds_must_rise(bounds):
    with pytest.raises(ValueError, match="bounds must be two rising numbers"):
        diverging_colours(bounds)


def test_no_value_is_grey(tmp_path):
    assert diverging_colours((0.9, 1.1))(np.ma.masked_invalid([np.nan]))[0][:3] == pytest.approx(
        [int(figures.NO_VALUE[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    )
    save_matrix(np.full((3, 3), np.nan), list("abc"), tmp_path / "empty.png")


@pytest.mark.parametrize("shape", [(3, 2), (0, 0)])
def test_values_must_belong_to_names(shape, tmp_path):
    with pytest.raises(ValueError, match="one row and column for each name"):
        save_matrix(np.ones(shape), ["a", "b"][: shape[1]], tmp_path / "matrix.png")


@pytest.mark.parametrize("layers", [1, 8, 43])
def test_sheet_shows_every_layer(layers, drawn, tmp_path):
    values = 1 + 0.1 * np.random.default_rng(0).normal(size=(20, 31, layers))
    save_field(values, tmp_path / "sheet.png", filter_groups=["Texas $Red"] * layers, about_one=True)
    sheets = [axes for axes in drawn[0].axes if axes.images]
    assert len(sheets) == layers
    assert sheets[-1].get_title() == f"{layers} · Texas $Red"
    assert np.array_equal(sheets[0].images[0].get_array(), values[..., 0])
    boxes = [axes.get_position() for axes in drawn[0].axes]
    assert min(box.x0 for box in boxes) >= 0
    assert max(box.x1 for box in boxes) <= 1


def test_wide_layers_are_thinned(drawn, tmp_path):
    save_field(np.ones((50, 1344, 1)), tmp_path / "sheet.png")
    assert drawn[0].axes[0].images[0].get_array().shape[1] <= 300


def test_layers_without_a_number_can_be_drawn(tmp_path):
    save_field(np.full((5, 6, 2), np.nan), tmp_path / "sheet.png")


def test_model_figures_leave_out_what_a_model_does_not_hold(cohort, tmp_path):
    from analysis.flatfield import create_model, find_slides, register_model

    table = tmp_path / "models.csv"
    register_model(find_slides(cohort.roots[0]), "v1", model_table=table)
    model = create_model("v1", roots=cohort.roots, model_table=table, out_dir=tmp_path)
    files = save_model_figures(model, tmp_path / "figures")
    assert [path.name for path in files] == [
        "flatfield_v1.png",
        "flatfield_v1_uncertainty.png",
        "flatfield_v1_images_stacked.png",
    ]
    assert all(imread(path).ndim == 3 for path in files)
