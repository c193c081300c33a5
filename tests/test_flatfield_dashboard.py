"""The flatfield page without a browser: one run a change, and the same table from function, code and command."""

import asyncio
import shlex
import time
from html import unescape

import numpy as np
import panel_material_ui as pmui
import pytest
from holoviews import Image

from analysis.flatfield import compare_mean_images, suggest_groups
from analysis.tables import read_table
from dashboards.flatfield import FlatfieldDashboard
from dashboards.support.flatfield_views import draw_matrix, pairs_table
from dashboards.support.flatfield_words import groups_sentence


@pytest.fixture
def dashboard(cohort, tmp_path):
    shown = FlatfieldDashboard(roots=cohort.roots, working_dir=tmp_path)
    asyncio.run(shown.compare())
    return shown


def test_shows_the_table_of_the_function(dashboard, cohort):
    expected = compare_mean_images(cohort.roots)
    assert dashboard.result.table.equals(expected.table)
    assert dashboard.outcome() == "15 pairs of 6 slides, all compared."
    assert len(pairs_table(dashboard)) == 15


def test_known_pairs_are_there_at_once(dashboard, cohort, tmp_path):
    again = FlatfieldDashboard(roots=list(map(str, cohort.roots)), working_dir=tmp_path)
    assert again.result.unknown_pairs == 0 and again.found.summary()["slides"] == 6
    fresh = FlatfieldDashboard(roots=cohort.roots, working_dir=tmp_path / "other")
    assert fresh.outcome() == "15 pairs of 6 slides, 15 of them not compared yet."


def test_settings_that_only_draw_compute_nothing(dashboard, monkeypatch):
    monkeypatch.setattr("dashboards.flatfield.compare_mean_images", None)
    monkeypatch.setattr("analysis.flatfield._blocks.read_block", None)
    before = draw_matrix(dashboard)
    dashboard.bounds = (0.9, 1.3)
    dashboard.sort_by = "likeness"
    dashboard.param.update(lines="named", lines_after=["M1_2"])
    dashboard.layers = "DAPI"
    dashboard.threshold = 0.2
    after = draw_matrix(dashboard)
    assert isinstance(after, Image) and before.range("value") != after.range("value")


def test_matrix_follows_order_and_layer(dashboard):
    dashboard.layers, dashboard.layer = "one layer", 3
    order = dashboard.order()
    lowest_row_first = draw_matrix(dashboard).dimension_values("value", flat=False)
    expected = dashboard.result.values[..., 2][np.ix_(order, order)]
    assert np.allclose(lowest_row_first[::-1], expected, equal_nan=True)


def test_pattern_counts_live_and_explains_itself(dashboard):
    names, total, wrong = dashboard.matching("M1")
    assert (names, total, wrong) == (["M1_1", "M1_2", "M1_3"], 6, "")
    assert "regular expression" in dashboard.matching("(")[2]
    dashboard.sample_regex = "M1"
    assert len(dashboard.result.slides) == 3
    dashboard.sample_regex = "none"
    assert dashboard.outcome() == "No slide matches; 6 are there."


def test_a_wrong_pattern_keeps_the_last_good_result(dashboard):
    before = dashboard.result
    dashboard.sample_regex = "("
    assert dashboard.result is before
    assert "must be a regular expression" in dashboard.job.error


def test_groups_follow_the_threshold(dashboard):
    assert dashboard.groups.table.equals(suggest_groups(dashboard.result, threshold=0.05).table)
    assert "Group 1 has 3 slides" in groups_sentence(dashboard.groups)
    dashboard.threshold = 0.5
    assert dashboard.groups.threshold == 0.5
    dashboard.members = dashboard.param.members.objects[1]
    assert len(dashboard.slides_to_register()) == dashboard.groups.summary()["sizes"][0]


def test_pair_is_read_when_chosen_and_again_for_another_layer(dashboard):
    dashboard.chosen = (0, 4)
    assert dashboard.pair.standard_deviation == pytest.approx(dashboard.result.values[0, 4, 0], rel=1e-12)
    dashboard.layer = 3
    assert dashboard.pair.layer == 3
    dashboard.chosen = None
    assert dashboard.pair is None


def test_a_pair_stays_the_same_two_slides(dashboard):
    dashboard.chosen = (0, 4)
    names = dashboard.pair.names
    dashboard.sample_regex = "M1_1|M2"
    assert dashboard.chosen == (0, 2) and dashboard.pair.names == names
    dashboard.sample_regex = "M2"
    assert dashboard.chosen is None and dashboard.pair is None


def test_version_without_a_model_is_said(dashboard):
    dashboard.param.update(version="v3", skip_creation=True)
    asyncio.run(dashboard.register())
    asyncio.run(dashboard.show_model("v3"))
    assert "v3 is registered, but its model was not made" in dashboard.job.error


def test_one_slide_has_nothing_to_be_compared_with(dashboard):
    dashboard.sample_regex = str(dashboard.result.slides.labels[0])
    asyncio.run(dashboard.look_up())
    assert dashboard.outcome().startswith("1 slide; a comparison needs two")


def test_nothing_that_can_be_used_is_said(dashboard, tmp_path):
    dashboard.min_images_stacked = 100_000
    assert dashboard.outcome() == "No slide can be used; Log has the 6 reasons."
    dashboard.roots = ""
    assert dashboard.job.words == "" and dashboard.outcome() == ""


def test_registering_writes_table_and_model(dashboard, tmp_path):
    dashboard.param.update(version="v1", members=dashboard.param.members.objects[1])
    asyncio.run(dashboard.register())
    assert dashboard.job.error == ""
    table = read_table(tmp_path / "AstroPathFlatfieldModels.csv", columns=["version", "SlideID"])
    assert table["SlideID"].tolist() == ["M1_1", "M1_2", "M1_3"]
    for path in dashboard.files_to_write():
        assert path.exists()
    assert dashboard.versions == ["v1"] and dashboard.model.version == "v1"
    asyncio.run(dashboard.register())
    assert "v1" in dashboard.job.error and dashboard.model is not None
    dashboard.model = None
    asyncio.run(dashboard.show_model("v1"))
    assert dashboard.model.flatfield.shape == (24, 34, 35)


def test_refused_model_registers_nothing(dashboard, tmp_path):
    (tmp_path / "flatfield").mkdir()
    (tmp_path / "flatfield" / "flatfield_v2.bin").write_bytes(b"somebody's")
    dashboard.version = "v2"
    asyncio.run(dashboard.register())
    assert "flatfield_v2.bin" in dashboard.job.error
    assert not (tmp_path / "AstroPathFlatfieldModels.csv").exists()


def test_code_gives_the_same_groups(dashboard):
    dashboard.param.update(threshold=0.2, layers="DAPI")
    dashboard.sample_regex = "M[12]_[12]"
    names: dict = {}
    exec(dashboard.code(), names)
    assert names["comparison"].table.equals(dashboard.result.table)
    assert names["groups"].table.equals(dashboard.groups.table)


def test_command_gives_the_same_table(dashboard, tmp_path):
    from dashboards.support.command import main

    dashboard.param.update(bounds=(0.9, 1.1), sort_by="order", lines="named", lines_after=["M1_2"])
    dashboard.sample_regex = "M[12]_[12]"
    words = shlex.split(dashboard.command())
    assert words[:3] == ["graticule", "flatfield", "compare"]
    assert main(words[1:]) == 0
    written = read_table(
        tmp_path / "meanimagecomparison_table.csv", columns=["layer_n"], numbers=["delta_over_sigma_std_dev"]
    )
    mine = dashboard.result.table
    names = set(mine["slide_ID_1"]) | set(mine["slide_ID_2"])
    rows = written[written["slide_ID_1"].isin(names) & written["slide_ID_2"].isin(names)]
    assert sorted(rows["delta_over_sigma_std_dev"]) == sorted(mine["delta_over_sigma_std_dev"])


def test_report_is_written_where_the_results_are(dashboard, tmp_path):
    asyncio.run(dashboard.write_report())
    assert dashboard.job.error == "" and dashboard.report == tmp_path / "flatfield_report.html"
    assert "M1_1" in dashboard.report.read_text(encoding="utf-8")


def test_groups_command_gives_the_same_groups(dashboard, tmp_path):
    from dashboards.support.command import main

    dashboard.param.update(threshold=0.2, layers="DAPI")
    assert main(shlex.split(dashboard.groups_command())[1:]) == 0
    written = read_table(tmp_path / "meanimage_comparison_groups.csv", columns=["members"])
    assert written["members"].tolist() == dashboard.groups.table["members"].tolist()


def test_example_and_nothing(tmp_path):
    empty = FlatfieldDashboard(working_dir=tmp_path)
    assert empty.result is None and empty.outcome() == ""
    assert draw_matrix(empty) is not None
    asyncio.run(empty.load_example())
    assert empty.job.error == "" and len(empty.result.slides) == 12
    assert empty.result.unknown_pairs == 0


def test_builds_as_a_plain_layout(dashboard):
    assert dashboard.sidebar() and dashboard.main() is not None
    from panel.tests.util import serve_and_request

    assert serve_and_request(dashboard).status_code == 200


def test_comparing_at_once_is_not_overtaken_by_looking_up(cohort, tmp_path):
    async def as_in_a_cell():
        page = FlatfieldDashboard(roots=cohort.roots, working_dir=tmp_path)
        await page.compare()
        await asyncio.sleep(0.5)
        return page

    page = asyncio.run(as_in_a_cell())
    assert page.result is not None and page.result.unknown_pairs == 0


@pytest.mark.parametrize("settings", [{"sample_regex": "nobody"}, {"roots": "/nowhere"}])
def test_where_nothing_is_found_the_page_says_so(cohort, tmp_path, settings):
    page = FlatfieldDashboard(working_dir=tmp_path)
    shown = page.main()

    def texts(**look):
        found = shown.select(lambda each: isinstance(each, pmui.Typography))
        return [unescape(each.object) for each in found if all(getattr(each, k) == v for k, v in look.items())]

    assert "Which slides share one illumination?" in texts(variant="h6")

    def said():
        titles, told = texts(variant="h6"), texts()
        return {
            "title": "Which slides share one illumination?" not in titles and "Nothing to show" in titles,
            "line above": page.outcome() in told,
            "what to do": any(text.startswith("The line above says why. Type the folders") for text in told),
        }

    async def look():
        page.param.update(**{"roots": "\n".join(map(str, cohort.roots)), **settings})
        await page.look_up()
        # changed settings look up by themselves too, and each part of the page follows a moment later
        end = time.monotonic() + 30
        while not (page.outcome() and all(said().values())) and time.monotonic() < end:
            await asyncio.sleep(0.05)

    asyncio.run(look())
    assert page.outcome()
    assert said() == dict.fromkeys(said(), True)
