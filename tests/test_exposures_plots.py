"""Pictures of exposures: what is drawn where, and what is sent again when a radius moves."""

import re
from dataclasses import replace

import holoviews as hv
import numpy as np
import pandas as pd
import pytest
from bokeh.models import CustomJS, Select

from analysis.exposures import assume_beam_shift, find_duplicates
from analysis.synthetic.exposures import draw_exposures
from dashboards.support import exposures_plots as plots
from dashboards.support.exposures_map import (
    FOCUS_UM,
    MOST_CIRCLES,
    ExposureMap,
    colour_by_group,
    colour_by_value,
    nearest_exposure,
)
from dashboards.support.exposures_report import (
    RADII_UM,
    map_with_radii,
    rows_of_pairs,
    session_inputs,
    write_exposures_report,
)

HTML_NAME = '<img src=x onerror="window.hit=1">'


def figure_of(element):
    return hv.render(element, backend="bokeh")


def parts_of(figure):
    return {renderer.name: renderer for renderer in figure.renderers if renderer.name}


@pytest.fixture(scope="module")
def drawn():
    return draw_exposures(grid_squares=2, stage_positions=6, groups=9, shots=2, re_exposed_holes=3, seed=4)


@pytest.fixture(scope="module")
def calibration(drawn):
    return assume_beam_shift(drawn.session, drawn.matrix)


@pytest.fixture(scope="module")
def duplicates(drawn, calibration):
    return find_duplicates(drawn.session, calibration, radius_um=0.3)


def some_exposures(count, pairs=0):
    """Exposures in a row, 1 um apart, of which the first 2 * pairs are duplicates of each other."""
    group = np.where(np.arange(count) < 2 * pairs, np.arange(count) // 2, -1)
    return pd.DataFrame(
        {
            "x_um": np.arange(count, dtype=float),
            "y_um": np.zeros(count),
            "name": [f"shot {number} {HTML_NAME}" for number in range(count)],
            "acquired": pd.date_range("2024-01-01", periods=count, freq="40s", tz="UTC"),
            "group": group,
            "bad": (group >= 0) & (np.arange(count) % 2 == 1),
        }
    )


# ---- calibration -----------------------------------------------------------------------------------------


def test_limits_have_the_shape_of_the_frame():
    (x0, x1), (y0, y1) = plots.padded(np.array([0, 10, np.nan]), np.array([0, 2, 5.0]), height_by_width=0.5, pad=0.1)
    assert (x1 - x0) == pytest.approx(12) and (y1 - y0) == pytest.approx(6)
    assert (x0 + x1) / 2 == pytest.approx(5) and (y0 + y1) / 2 == pytest.approx(1)
    assert plots.padded(np.array([]), np.array([])) == ((0.0, 1.0), (0.0, 1.0))


def test_neighbours_are_along_the_lattice_not_across():
    x, y = np.meshgrid(np.arange(3.0), np.arange(2.0))
    edges = plots.neighbour_edges(x.ravel(), y.ravel())
    assert edges.tolist() == [[0, 1], [0, 3], [1, 2], [1, 4], [2, 5], [3, 4], [4, 5]]
    assert plots.neighbour_edges(np.array([1.0]), np.array([1.0])).shape == (0, 2)


def test_ways_between_groups_are_measured_on_the_stage():
    centres = pd.DataFrame(
        {"group": [1, 2], "beam_shift_x": [0.0, 0.3], "beam_shift_y": [0.0, 0.4], "exposures": [5, 5]}
    )
    shots = pd.DataFrame({"beam_shift_x": [0.0, 0.3], "beam_shift_y": [0.0, 0.4], "group": [1, 2]})
    overlay = plots.plot_beam_shifts(shots, centres, np.array([[0.0, 10.0], [10.0, 0.0]]))
    edges = next(iter(overlay.Segments)).dframe()
    assert edges["um"].tolist() == [pytest.approx(5)] and edges["unit"].tolist() == [pytest.approx(0.5)]
    assert "2 groups, neighbours 5.00 µm apart" in figure_of(overlay).title.text


def test_distances_are_written_when_there_are_few(calibration):
    distances = np.array([[0, 0.1, 0.4], [0.1, 0, 0.3], [0.4, 0.3, 0]])
    overlay = plots.plot_distances(distances, ["1", "2", "3"])
    image, numbers = overlay.Image.I, overlay.Labels.I
    assert float(image[0.5, 0.5]) == pytest.approx(0.4)  # last row, first column
    assert sorted(numbers.dframe()["text"]) == ["0.100", "0.100", "0.300", "0.300", "0.400", "0.400"]
    many = plots.NUMBERS_UP_TO + 1
    assert len(plots.plot_distances(np.ones((many, many)), list(map(str, range(many)))).Labels.I) == 0
    with pytest.raises(ValueError, match="a row a name"):
        plots.plot_distances(distances, ["1"])
    figure_of(plots.plot_distances(np.full((1, 1), np.nan), ["1"]))


def test_lattice_marks_holes_that_share_a_cell(calibration):
    holes = calibration.holes[calibration.holes["grid_square"] == calibration.holes["grid_square"].iloc[0]].copy()
    shared = plots.shared_cells(holes)
    assert not shared[: len(shared) // 2].all()
    holes.loc[holes.index[1], ["cell_row", "cell_column"]] = holes.loc[holes.index[0], ["cell_row", "cell_column"]]
    assert plots.shared_cells(holes)[:2].all()
    limits = plots.padded(holes["x_um"].to_numpy(), holes["y_um"].to_numpy())
    overlay = plots.plot_lattice(holes, limits=limits, largest_um=0.2, title="one")
    rings = overlay.Points.III.dframe()
    assert len(rings) == plots.shared_cells(holes).sum()
    figure_of(plots.plot_lattice(holes.iloc[:0], limits=limits, largest_um=0.2))


# ---- map -------------------------------------------------------------------------------------------------


def live_map(picture, **options):
    """The map in a DynamicMap that draws again when asked."""
    pipe = hv.streams.Pipe(data={})
    shown = {"exposures": None, **options}

    def draw(data):
        shown.update(data)
        return picture.draw(**shown)

    dynamic = hv.DynamicMap(draw, streams=[pipe])
    return pipe, dynamic


def test_radius_sends_marks_and_no_points():
    picture, exposures = ExposureMap(), some_exposures(2000, pairs=5)
    pipe, dynamic = live_map(picture, exposures=exposures, radius_um=0.2)
    figure = hv.renderer("bokeh").get_plot(dynamic).state
    parts = parts_of(figure)
    sent = {name: part.data_source.data for name, part in parts.items()}
    assert len(sent["exposures"]["x"]) == 2000 and len(sent["bad"]["x"]) == 5 and len(sent["circles"]["x"]) == 10
    pipe.send({"exposures": some_exposures(2000, pairs=7), "radius_um": 0.4, "title": "more"})
    assert parts["exposures"].data_source.data is sent["exposures"]
    assert parts["bad"].data_source.data["x"].tolist() == [1, 3, 5, 7, 9, 11, 13]
    assert parts["circles"].glyph.radius == 0.4 and figure.title.text == "more"


def test_zoom_stays_unless_a_place_is_asked_for():
    picture, exposures = ExposureMap(), some_exposures(200, pairs=2)
    pipe, dynamic = live_map(picture, exposures=exposures, radius_um=0.2)
    figure = hv.renderer("bokeh").get_plot(dynamic).state
    figure.x_range.update(start=3, end=9)
    pipe.send({"radius_um": 0.3})
    assert (figure.x_range.start, figure.x_range.end) == (3, 9)
    assert picture.reach_um() == pytest.approx(0.02 * 6)
    pipe.send({"focus": (100.0, 0.0)})
    assert (figure.x_range.start, figure.x_range.end) == (100 - FOCUS_UM / 2, 100 + FOCUS_UM / 2)
    pipe.send({"focus": None})
    assert figure.x_range.start < 0 and figure.x_range.end > 199
    pipe.send({"exposures": exposures.iloc[:10]})
    assert figure.x_range.end < 12


def test_circles_are_capped():
    figure = figure_of(ExposureMap().draw(some_exposures(2 * MOST_CIRCLES + 10, pairs=MOST_CIRCLES), radius_um=1))
    assert len(parts_of(figure)["circles"].data_source.data["x"]) == MOST_CIRCLES


def test_colours_tell_groups_and_values():
    groups = colour_by_group(np.array([0, 1, 9]))
    assert groups.values[1] == groups.values[2] != groups.values[0]
    values = colour_by_value(np.array([np.nan, 2.0, 3.0]), "hours")
    assert values.limits == (2, 3) and values.bar
    picture = ExposureMap()
    pipe, dynamic = live_map(picture, exposures=some_exposures(3), radius_um=1)
    points = parts_of(hv.renderer("bokeh").get_plot(dynamic).state)["exposures"]
    assert isinstance(points.glyph.fill_color, str)
    pipe.send({"colouring": values})
    np.testing.assert_array_equal(points.data_source.data["value"], values.values)
    assert points.glyph.fill_color.transform.high == 3


def test_click_means_the_duplicate_rather_than_its_neighbour():
    exposures = pd.DataFrame({"x_um": [0.0, 1.0, 5.0], "y_um": [0.0, 0.0, 0.0], "group": [-1, 0, -1]})
    assert nearest_exposure(exposures, 0.2, 0.0, reach_um=2) == 1
    assert nearest_exposure(exposures, 0.2, 0.0, reach_um=0.5) == 0
    assert nearest_exposure(exposures, 3.0, 0.0, reach_um=0.5) is None
    assert nearest_exposure(exposures, None, None, reach_um=0.5) is None
    assert nearest_exposure(exposures.iloc[:0], 0.0, 0.0, reach_um=0.5) is None


# ---- report ----------------------------------------------------------------------------------------------


def test_report_map_holds_what_each_radius_finds(drawn, calibration, duplicates):
    layout = map_with_radii(drawn.session, calibration, duplicates, RADII_UM)
    choice = next(select for select in layout.select({"type": Select}) if select.title == "Radius")
    (script,) = choice.js_property_callbacks["change:value"]
    assert isinstance(script, CustomJS)
    for name in choice.options:
        radius = script.args["radii"][name]
        flags = script.args["flags"].data[script.args["fields"][name]]
        names = duplicates.exposures["name"].to_numpy()[flags == 2]
        assert sorted(names) == sorted(drawn.bad(radius)) if radius < 0.5 else len(names)
    assert len(choice.options) == len(RADII_UM)  # 0.3 is that of the result


def test_report_is_whole_and_safe(drawn, calibration, duplicates, tmp_path):
    table = drawn.session.table.assign(grid_square=HTML_NAME, session=f"first {HTML_NAME}")
    session = replace(drawn.session, table=table, folder=tmp_path / HTML_NAME.replace("/", ""))
    assumed = assume_beam_shift(session, drawn.matrix)
    found = find_duplicates(session, assumed, radius_um=0.3)
    other = assume_beam_shift(session, 24.0)
    path = write_exposures_report(tmp_path / "report.html", session, assumed, found, comparison=other)
    html = path.read_text(encoding="utf-8")
    assert HTML_NAME not in re.sub(r"<script\b.*?</script>", "", html, flags=re.DOTALL)
    for words in ("Verdict", "Grid squares", "Duplicate groups", "Beam diameters", "k (µm per unit)", "Inputs"):
        assert words in html


def test_fingerprints_of_many_files_are_one(drawn, monkeypatch):
    monkeypatch.setattr("dashboards.support.exposures_report._LISTED_FILES", 100)
    inputs = session_inputs(drawn.session)
    assert inputs["files"].sum() == len(drawn.session.table) and inputs["fingerprint_of_all"].str.len().eq(64).all()


def test_report_of_nothing_is_refused(drawn, calibration, duplicates, tmp_path):
    nothing = replace(duplicates, exposures=duplicates.exposures.iloc[:0])
    with pytest.raises(ValueError, match="at least one exposure"):
        write_exposures_report(tmp_path / "report.html", drawn.session, calibration, nothing)


def test_montage_is_cut_between_pairs_and_keeps_its_heading():
    montage = np.full((20, 6), 255, dtype=np.uint8)
    for start, end in ((1, 3), (5, 9), (11, 15), (17, 20)):  # a heading and three rows of pairs
        montage[start:end, 2] = 7
    assert [len(part) for part in rows_of_pairs(montage)] == [8, 4, 3]
    assert [len(part) for part in rows_of_pairs(montage[:4])] == [2]
