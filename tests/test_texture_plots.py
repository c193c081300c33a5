"""Figures and small tables of the texture page: they show the numbers they are given, and say what is not there."""

import io
import math

import numpy as np
import pandas as pd
import pytest

from analysis.synthetic.texture import draw_tile_set
from analysis.texture import (
    OUTPUT_FORMATS,
    SCORES,
    cluster_patches,
    correct_labels,
    find_tile_set,
    measure_patches,
    search_settings,
)
from dashboards.support.texture_export_view import export_words, offered_formats
from dashboards.support.texture_labels_view import class_fault, newest_first
from dashboards.support.texture_learnt_view import least_sure
from dashboards.support.texture_plots import LINE_SHOWN, ImportancePicture, SurenessPicture
from dashboards.support.texture_report_views import agreement_table
from dashboards.support.texture_search_plots import (
    MOST_LINES,
    SCORE_WORDS,
    SearchCells,
    SearchLines,
    against_of,
    make_lines,
)
from dashboards.support.texture_search_view import cell_shown
from dashboards.support.texture_table_view import choose_rows, patch_table
from dashboards.support.texture_tables import safe_csv
from dashboards.support.texture_words import count_cells, estimate_seconds, parse_numbers
from dashboards.texture import TextureDashboard


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    truth = draw_tile_set(tmp_path_factory.mktemp("texture"), tiles=(1, 2), shape=(120, 160), seed=1)
    return truth.folder / "tiles"


@pytest.fixture(scope="module")
def patches(tiles):
    return measure_patches(find_tile_set(tiles), grid=8, statistics="five_number")


@pytest.fixture(scope="module")
def search(patches):
    """Grids of which the coarsest has too few patches for many clusters."""
    return search_settings(patches, grids=[1, 4, 8], clusters=[2, 3, 4], components=[None, 2], draws=0)


@pytest.fixture(scope="module")
def correction(patches):
    brightness = patches.table["median"].rank(pct=True).to_numpy()
    labels = {}
    for row in (*np.argsort(brightness)[:4], *np.argsort(brightness)[-4:]):
        entry = patches.table.iloc[row]
        labels[(entry["name"], int(entry["row"]), int(entry["column"]))] = "dark" if brightness[row] < 0.5 else "bright"
    return correct_labels(patches, labels)


@pytest.fixture
def dashboard(tiles):
    return TextureDashboard(folder=tiles, grid_rows=8, grid_columns=8, preset="five_number")


def test_every_score_is_named_on_its_axis():
    assert set(SCORE_WORDS) == set(SCORES)


def test_lines_hold_the_scores_of_the_search(search):
    table = search.table
    lines = make_lines(table, "inertia", "clusters", components=0, grid=(8, 8))
    assert [line["label"] for line in lines] == ["1 × 1", "4 × 4", "8 × 8"]
    wanted = table[(table["rows"] == 8) & (table["components"] == 0)].sort_values("clusters")
    np.testing.assert_array_equal(lines[2]["x"], [2, 3, 4])
    np.testing.assert_array_equal(lines[2]["y"], wanted["inertia"])
    lines = make_lines(table, "bic", "slices", components=2, grid=(8, 8))
    assert [line["label"] for line in lines] == ["2 clusters", "3 clusters", "4 clusters"]
    np.testing.assert_array_equal(lines[0]["x"], [1, 4, 8])
    lines = make_lines(table, "bic", "components", components=0, grid=(4, 4))
    wanted = table[(table["rows"] == 4) & (table["clusters"] == 3)].sort_values("components")
    np.testing.assert_array_equal(lines[1]["y"], wanted["bic"])


def test_settings_with_one_value_are_not_offered(search):
    assert against_of(search.table) == ["clusters", "components", "slices"]
    assert against_of(search.table[search.table["components"] == 0]) == ["clusters", "slices"]
    assert against_of(search.table.head(1)) == ["clusters", "components", "slices"]


def test_lines_draw_what_there_is(search):
    picture = SearchLines()
    assert picture.draw(search.table, "silhouette", "clusters", components=0, grid=(8, 8)) == 0
    points = picture.figure.select_one({"name": "points"}).data_source.data
    part = search.table[search.table["components"] == 0]
    assert len(points["x"]) == np.isfinite(part["silhouette"]).sum() < len(part)
    assert picture.figure.legend[0].visible
    picture.draw(search.table, "silhouette", "components", components=0, grid=(8, 8))
    assert picture.figure.xaxis[0].major_label_overrides[0] == "all"
    picture.draw(search.table.assign(silhouette=math.nan), "silhouette", "clusters", components=0, grid=(8, 8))
    assert math.isfinite(picture.figure.y_range.start)


def test_too_many_lines_are_said(search):
    one = search.table[search.table["components"] == 0].head(1)
    many = pd.concat([one.assign(rows=rows, columns=rows) for rows in range(1, MOST_LINES + 4)])
    assert SearchLines().draw(many, "inertia", "clusters", components=0, grid=(8, 8)) == 3


def test_cells_tell_why_they_are_empty(search):
    picture = SearchCells()
    picture.draw(search.table, "inertia", 0, (8, 8, 3, 0))
    data = pd.DataFrame(picture.figure.select_one({"name": "cells"}).data_source.data)
    assert len(data) == 9
    empty = data[data["hatch"] != " "]
    wanted = search.table[(search.table["components"] == 0) & (search.table["error"] != "")]
    assert sorted(empty["row"]) == wanted.index.tolist() != []
    assert empty.set_index("row")["why"].to_dict() == wanted["error"].to_dict()
    shown = data[data["line"] == LINE_SHOWN]
    assert len(shown) == 1 and search.table.loc[shown["row"].iloc[0], ["rows", "clusters"]].tolist() == [8, 3]


def test_a_click_finds_its_cell(search):
    picture = SearchCells()
    picture.draw(search.table, "bic", 2, None)
    row = picture.row_at(2.3, 0.8)
    assert search.table.loc[row, ["rows", "clusters", "components"]].tolist() == [4, 4, 2]
    assert picture.row_at(7, 0) is None


def test_a_score_that_was_not_measured_is_no_error(search):
    picture = SearchCells()
    picture.draw(search.table, "stability", 0, None)
    data = pd.DataFrame(picture.figure.select_one({"name": "cells"}).data_source.data)
    row = data.set_index("row").loc[search.table.index[search.table["rows"] == 8][0]]
    assert row["words"] == "–" and "not measured" in row["why"]


def test_sureness_counts_patches_that_were_not_labelled(correction):
    picture = SurenessPicture()
    picture.draw(correction, 0.6)
    data = picture.figure.select_one({"name": "sureness"}).data_source.data
    guessed = (correction.numbers > 0) & ~correction.labelled
    assert sum(data["top"]) == guessed.sum()
    unsure = [count for count, colour in zip(data["top"], data["colour"], strict=True) if colour == LINE_SHOWN]
    assert len(unsure) == 12
    picture.draw(None, 0.6)
    assert sum(picture.figure.select_one({"name": "sureness"}).data_source.data["top"]) == 0


def test_most_important_statistic_stands_on_top(correction):
    picture = ImportancePicture()
    picture.draw(correction.importance)
    data = picture.figure.select_one({"name": "importance"}).data_source.data
    assert data["right"] == sorted(data["right"])
    top = picture.figure.yaxis[0].major_label_overrides[len(correction.importance) - 1]
    assert top == correction.importance["statistic"].iloc[0]


def test_least_sure_come_first(correction):
    rows = least_sure(correction, 5)
    guessed = np.flatnonzero((correction.numbers > 0) & ~correction.labelled)
    assert len(rows) == 5 and not correction.labelled[rows].any()
    assert correction.sureness[rows].max() <= np.partition(correction.sureness[guessed], 4)[4]
    assert least_sure(None) == []


def test_agreement_counts_every_patch_once(patches, correction):
    found = cluster_patches(patches, clusters=3)
    table = agreement_table(found, correction)
    both = (found.numbers > 0) & (correction.numbers > 0)
    assert table[list(correction.classes)].to_numpy().sum() == both.sum()
    assert table["bright"].iloc[2] == ((found.numbers == 3) & (correction.numbers == 1)).sum()


@pytest.mark.parametrize("text", ["4, x", "0", "200", "1.5", "-3", "4; 10000000"])
def test_other_than_whole_numbers_are_refused(text):
    with pytest.raises(ValueError, match="whole numbers from 1 to 128"):
        parse_numbers(text, least=1, most=128)


def test_numbers_are_read_as_people_type_them():
    assert parse_numbers(" 8,4 ;16,4", least=1, most=128) == [4, 8, 16]
    assert parse_numbers("", least=1, most=128) == []


def test_search_says_how_many_cells_and_how_long(dashboard):
    dashboard.param.update(search_grids=[4, 8], search_clusters=(2, 4), search_components=[0, 2])
    assert count_cells(dashboard) == 12
    before = estimate_seconds(dashboard)
    dashboard.search_draws = 10
    assert estimate_seconds(dashboard) > before > 0
    dashboard.search_grids = []
    assert count_cells(dashboard) == 6
    assert cell_shown(dashboard) == (8, 8, 3, 0)


def test_table_is_that_of_the_analysis(dashboard):
    table = patch_table(dashboard)
    np.testing.assert_array_equal(table["cluster"], dashboard.found.numbers)
    pd.testing.assert_series_equal(table["median"], dashboard.patches.table["median"])
    assert "class" not in table
    assert patch_table(TextureDashboard()).empty


def test_filters_leave_what_they_say():
    table = pd.DataFrame(
        {
            "name": ["a", "a", "b", "b"], "cluster": [1, 2, -1, 1], "class": ["x", "", "x", "none"],
            "left_out": [False, False, True, False],
        }
    )  # fmt: skip
    assert choose_rows(table).tolist() == [0, 1, 2, 3]
    assert choose_rows(table, cluster="1").tolist() == [0, 3]
    assert choose_rows(table, cluster="none").tolist() == [2]
    assert choose_rows(table, named="x", counted="count").tolist() == [0]
    assert choose_rows(table, named="none").tolist() == [1]
    assert choose_rows(table, file="b", counted="out").tolist() == [2]
    assert choose_rows(table, only=[3, 99]).tolist() == [3]
    assert choose_rows(table, only=[]).tolist() == []


def test_no_spreadsheet_takes_a_name_for_a_formula():
    table = pd.DataFrame(
        {"class": ["=1+1", "@x", "film"], "mean": [-1.5, 2.0, math.nan], "labelled": [True, False, True]}
    )
    read = pd.read_csv(io.StringIO(safe_csv(table)))
    assert read["class"].tolist() == ["'=1+1", "'@x", "film"]
    assert read["mean"].iloc[0] == -1.5 and read["labelled"].tolist() == [True, False, True]


def test_labelled_patches_are_listed_newest_first(dashboard):
    for row in (5, 2, 9):
        dashboard.label([row], "class 1")
    assert list(newest_first(dashboard)) == [9, 2, 5]


@pytest.mark.parametrize(("name", "fault"), [(" ", "Type a name"), ("a\nb", "one line"), ("x" * 101, "100"),
                                             ("film", "already")])  # fmt: skip
def test_classes_need_names_of_their_own(name, fault):
    assert fault in class_fault(name, ["film"])


def test_export_offers_every_format_and_counts_files(dashboard):
    assert set(offered_formats().values()) | {"rois"} == set(OUTPUT_FORMATS)
    assert export_words(dashboard, ["csv", "labels"], classes=False) == "4 files will be written."
    assert "Relabel" in export_words(dashboard, ["csv"], classes=True)
    assert "at least one format" in export_words(dashboard, [], classes=False)
    dashboard.output = " "
    assert "Type a folder" in export_words(dashboard, ["csv"], classes=False)
