"""The exposures page without a browser: the functions' own numbers, nothing read twice, every way said in text."""

import asyncio
import shlex
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.exposures import (
    assume_beam_shift,
    calibrate_beam_shift,
    cluster_beam_shifts,
    find_duplicates,
    read_epu_session,
)
from analysis.synthetic.exposures import draw_session
from analysis.tables import read_table
from dashboards.exposures import ExposuresDashboard
from dashboards.support.exposures_calibrate_view import draw_beam_shifts, draw_distances, draw_lattice, lattice_square
from dashboards.support.exposures_map import ExposureMap
from dashboards.support.exposures_map_view import draw_map
from dashboards.support.exposures_tables import groups_table, tidy
from dashboards.support.exposures_words import (
    calibration_sentence,
    lattice_title,
    micrometres,
    problem_sentence,
    purpose,
    radius_sentence,
    spacing_sentence,
    time_between,
)
from dashboards.support.exposures_work import calibrate, parse_matrix

HTML_NAME = "<img src=x onerror=window.hit=1>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A session on disk, only to be read."""
    place = tmp_path_factory.mktemp("drawn") / "session"
    settings = {"grid_squares": 2, "stage_positions": 8, "groups": 9, "shots": 2, "seed": 5}
    planted = {"re_exposed_holes": 3, "missed_stage_moves": 1, "repeated_shots": 1}
    draw_session(place, **settings, **planted)
    return place


@pytest.fixture
def dashboard(folder, tmp_path):
    return ExposuresDashboard(folder=folder, working_dir=tmp_path / "written")


@pytest.fixture
def running(folder, tmp_path):
    """A copy of the session without its last files, as if it went on; and where these files are."""
    here, later = tmp_path / "running", tmp_path / "later"
    shutil.copytree(folder, here)
    last = sorted(here.rglob("FoilHole_*_Data_*.xml"), key=lambda path: path.stem[-15:])[-6:]
    for path in last:
        target = later / path.relative_to(here)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, target)
    return here, later


# ---- the same numbers ------------------------------------------------------------------------------------


def test_shows_what_the_functions_give(dashboard, folder):
    session = read_epu_session(folder)
    expected = find_duplicates(session, calibrate_beam_shift(session))
    assert dashboard.job.error == ""
    assert dashboard.result.bad == expected.bad and expected.bad
    assert dashboard.result.table.equals(expected.table)
    assert dashboard.outcome().startswith(f"{len(expected.bad)} of {len(session.exposures)} exposures are bad")
    assert len(groups_table(dashboard.result)) == len(expected.table)


def test_radius_and_rule_read_no_file(dashboard, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("nothing may be read or calibrated")

    for name in ("read_epu_session", "calibrate", "find_images"):
        monkeypatch.setattr(f"dashboards.exposures.{name}", refuse)
    few = len(dashboard.result.bad)
    dashboard.param.update(radius_mode="typed", radius_um=1.2)
    assert dashboard.result.radius_um == 1.2 and len(dashboard.result.bad) > few
    many = len(dashboard.result.bad)
    dashboard.keep = "none"
    assert len(dashboard.result.bad) > many
    dashboard.param.update(radius_mode="automatic", keep="first")
    assert len(dashboard.result.bad) == few and dashboard.job.error == ""


def test_square_chooses_what_is_drawn_only(dashboard):
    before = dashboard.result
    square = dashboard.param.grid_square.objects[1]
    dashboard.grid_square = square
    assert dashboard.result is before
    assert 0 < dashboard.shown().sum() < len(before.exposures)
    assert lattice_square(dashboard)[1] == square
    picture = ExposureMap()
    for colour in ("state", "optics group", "time", "pre-dose"):
        dashboard.colour_by = colour
        assert draw_map(dashboard, picture) is not None
    assert dashboard.predose is not None and dashboard.job.error == ""


@pytest.mark.parametrize("method", ["k typed", "clusters", "matrix typed"])
def test_calibration_can_be_given(dashboard, method):
    session = dashboard.session
    dashboard.param.update(
        calibration=method, k_um_per_unit=24.0, clusters=9, matrix="21.7, 11, 11, -21.7", hole_spacing="R1.2/1.3"
    )
    k = {"k typed": 24.0, "matrix typed": [[21.7, 11], [11, -21.7]]}.get(method)
    if k is None:
        k = cluster_beam_shifts(session, clusters=9, hole_spacing_um=2.5).k_um_per_unit
    expected = assume_beam_shift(session, k)
    assert dashboard.job.error == ""
    np.testing.assert_allclose(dashboard.calibrated.calibration.matrix, expected.matrix)
    assert dashboard.result.bad == find_duplicates(session, expected).bad
    # what the holes tell stands beside a number k, and a number k beside a matrix
    beside = dashboard.calibrated.comparison
    assert beside.method == ("scalar" if method == "matrix typed" else "lattice")
    for draw in (draw_beam_shifts, draw_distances):
        assert draw(dashboard) is not None
    for kind in ("calibration", "comparison"):
        assert draw_lattice(dashboard, kind) is not None


def test_matrix_that_is_none_is_explained_and_the_last_result_stays(dashboard):
    before = dashboard.result
    dashboard.calibration = "matrix typed"
    assert dashboard.job.error == "" and dashboard.result is before  # nothing typed yet
    dashboard.matrix = "1, 2, three"
    assert "four numbers" in dashboard.job.error and dashboard.result is before
    for text in (" ", "1 2 2 4", "0 0 0 0", "1e308 0 0 1e308", "nan 1 1 1", "inf 0 0 1"):
        with pytest.raises(ValueError, match=f"(?s)four numbers.*got {text.strip() or 'nothing'}\\.$"):
            parse_matrix(text)


def test_one_cluster_is_refused_for_what_it_is(dashboard):
    dashboard.param.update(calibration="clusters", clusters=1)
    assert "two clusters" in dashboard.job.error


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"calibration": "k typed", "k_um_per_unit": 0}, "k must be above 0"),
        ({"calibration": "k typed", "k_um_per_unit": -5}, "k must be above 0"),
        ({"calibration": "clusters", "clusters": -3}, "clusters must be from 1"),
        ({"hole_spacing": "typed", "hole_spacing_um": 1e-6}, "hole spacing must be from 0.2"),
        ({"hole_spacing": "typed", "hole_spacing_um": 600}, "hole spacing must be from 0.2"),
        ({"radius_mode": "typed", "radius_um": 0}, "radius_um must be"),
    ],
)
def test_numbers_out_of_range_are_explained_and_the_last_result_stays(dashboard, wrong, said):
    before = dashboard.result
    dashboard.param.update(**wrong)
    assert said in dashboard.job.error and dashboard.result is before


def test_clusters_beside_a_calibration_are_of_some_exposures_when_there_are_many(dashboard, monkeypatch):
    whole = dashboard.calibrated.clusters
    monkeypatch.setattr("dashboards.support.exposures_work._CLUSTERED", 120)
    some = calibrate(dashboard.session, method="automatic").clusters
    assert len(some.labels) == 120 < len(whole.labels)
    assert some.k_um_per_unit == pytest.approx(whole.k_um_per_unit, rel=0.02)
    dashboard.param.update(calibration="clusters", clusters=9, hole_spacing="R1.2/1.3")
    assert len(dashboard.calibrated.clusters.labels) == len(whole.labels)


def test_sentences_hold_the_numbers(dashboard):
    calibration = dashboard.calibrated.calibration
    sentence = calibration_sentence(calibration)
    for part in (f"k {calibration.k_um_per_unit:.2f}", "and mirrored", f"{calibration.residual_um:.3f} µm", "9 AFIS"):
        assert part in sentence
    assert f"collisions {calibration.collisions}" in lattice_title(calibration)
    clusters = dashboard.calibrated.clusters
    assert f"k {clusters.k_um_per_unit:.2f}" in spacing_sentence(clusters, calibration)
    assert "too few groups" in spacing_sentence(None, calibration)
    assert time_between(pd.NaT, pd.NaT) == "some time"


def test_radius_is_said_alike_everywhere(dashboard):
    radius = micrometres(dashboard.result.radius_um)
    assert radius == "0.4275 µm" and radius in dashboard.outcome()
    assert radius_sentence(dashboard.result).startswith(f"{radius}, 0.45 × the beam diameter 0.95 µm of ")
    dashboard.param.update(radius_mode="typed", radius_um=0.3)
    assert radius_sentence(dashboard.result) == "0.3 µm, as typed"


def test_tables_have_units_in_their_headings_and_few_digits(dashboard):
    shown = tidy(groups_table(dashboard.result))
    assert {"distance (µm)", "beam shared (%)", "acquired (UTC)"} < set(shown) and "session" not in shown
    later = shown["distance (µm)"].dropna()
    assert len(later) and (later == later.round(3)).all()
    assert "k (µm per unit)" in tidy(dashboard.calibrated.calibration.table)


def test_problems_are_said_in_a_sentence():
    row = {"file": "a.xml", "reason": "empty file", "expected": "be the XML of an exposure of EPU", "found": "0 bytes"}
    said = "a.xml is left out (empty file): it must be the XML of an exposure of EPU; got 0 bytes."
    assert problem_sentence(row) == said
    assert "it must be a folder that may be read; got" in problem_sentence(
        row | {"expected": "a folder that may be read"}
    )
    assert problem_sentence(row | {"expected": "", "found": "It is odd."}).endswith("(empty file): It is odd.")


# ---- looking at groups -----------------------------------------------------------------------------------


def test_steps_go_round_the_groups(dashboard):
    count = dashboard.result.table["group"].nunique()
    seen = []
    for _ in range(count + 1):
        dashboard.step(1)
        seen.append(dashboard.group())
        assert dashboard.focus is not None and len(dashboard.members()) >= 2
    assert seen == [*range(count), 0]
    dashboard.step(-1)
    assert dashboard.group() == count - 1
    dashboard.grid_square = dashboard.param.grid_square.objects[-1]
    assert dashboard.focus is None


def test_an_exposure_alone_can_be_looked_at_and_a_smaller_radius_forgets_nothing(dashboard):
    exposures = dashboard.result.exposures
    alone = exposures["file"][exposures["group"] < 0].iloc[0]
    dashboard.looked_at = alone
    assert dashboard.group() is None and dashboard.members()["file"].tolist() == [alone]
    dashboard.param.update(radius_mode="typed", radius_um=0.001)
    assert dashboard.looked_at == alone


def test_judging_the_causes_of_a_session_that_is_gone(dashboard):
    asyncio.run(dashboard.look_up())
    assert dashboard.result is not None

    async def leave():
        judging = asyncio.create_task(dashboard.judge())
        await asyncio.sleep(0)
        dashboard.folder = ""
        await dashboard.look_up()
        await judging

    asyncio.run(leave())
    assert dashboard.result is dashboard.session is None and dashboard.job.error == ""


def test_pictures_of_a_group(tmp_path):
    settings = {"grid_squares": 1, "stage_positions": 6, "groups": 7, "shots": 1, "missed_stage_moves": 1, "seed": 2}
    draw_session(tmp_path / "session", **settings, images=True, image_px=64)
    shown = ExposuresDashboard(folder=tmp_path / "session", hole_spacing="R1.2/1.3", working_dir=tmp_path)
    shown.step(1)
    assert shown.picture_job.error == "" and len(shown.pictures) == len(shown.members())
    for picture in shown.pictures:
        assert picture.micrograph.startswith(b"\x89PNG") and picture.foil_hole.startswith(b"\x89PNG")
    damaged = next((tmp_path / "session").rglob(f"{Path(shown.pictures[0].file).stem}.jpg"))
    damaged.write_bytes(b"no picture")
    shown.looked_at = ""
    shown.step(1)
    assert shown.pictures[0].micrograph == b"" and damaged.name in shown.pictures[0].problem
    asyncio.run(shown.write())
    assert shown.written[-1].suffix == ".png"


# ---- watching --------------------------------------------------------------------------------------------


def test_watch_takes_up_what_arrives_and_keeps_the_calibration(running, tmp_path):
    here, later = running
    shown = ExposuresDashboard(folder=here, working_dir=tmp_path / "written", hole_spacing="R1.2/1.3")
    before, calibration = len(shown.result.exposures), shown.calibrated.calibration
    asyncio.run(shown.look_again())
    assert len(shown.result.exposures) == before and not any("new exposure" in line for line in shown.log)
    files = sorted(later.rglob("*.xml"))
    whole = files[0].read_bytes()
    target = here / files[0].relative_to(later)
    target.write_bytes(whole[: len(whole) // 2])  # EPU is still writing
    asyncio.run(shown.look_again())
    assert len(shown.session.problems) == 1 and len(shown.result.exposures) == before
    target.write_bytes(whole)
    for path in files[1:]:
        shutil.copy(path, here / path.relative_to(later))
    asyncio.run(shown.look_again())
    assert len(shown.session.problems) == 0 and len(shown.result.exposures) == before + len(files)
    np.testing.assert_array_equal(shown.calibrated.calibration.matrix, calibration.matrix)
    assert shown.calibrated.calibration.margin == calibration.margin
    assert len(shown.calibrated.optics.table) == before + len(files)
    assert any(line.startswith(f"{len(files)} new exposures") for line in shown.log)


def test_watch_announces_a_new_duplicate(running, folder, tmp_path):
    here, later = running
    shown = ExposuresDashboard(folder=here, working_dir=tmp_path / "written", hole_spacing="R1.2/1.3")
    for path in later.rglob("*.xml"):
        shutil.copy(path, here / path.relative_to(later))
    bad = set(shown.result.bad)
    asyncio.run(shown.look_again())
    new = [name for name in shown.result.bad if name not in bad]
    assert new == [
        name for name in ExposuresDashboard(folder=folder, hole_spacing="R1.2/1.3").result.bad if name not in bad
    ]
    assert new and new[-1] in shown.log[-1] and new[-1] in shown.job.words
    asyncio.run(shown.judge())
    assert new[-1] in shown.job.words
    shown.keep = "none"
    assert new[-1] not in shown.job.words and shown.job.words


def test_watch_of_a_folder_that_vanishes_says_so_and_goes_on(running, tmp_path):
    here, _ = running
    shown = ExposuresDashboard(folder=here, working_dir=tmp_path / "written", hole_spacing="R1.2/1.3")
    result = shown.result
    here.rename(tmp_path / "away")
    asyncio.run(shown.look_again())
    assert str(here) in shown.job.error and shown.result is result
    (tmp_path / "away").rename(here)
    asyncio.run(shown.look_again())
    assert shown.job.error == ""


def test_a_closed_page_takes_nothing_any_more(dashboard, running):
    before, session = dashboard.result, dashboard.session
    dashboard.close()
    asyncio.run(dashboard.calibrate())
    assert dashboard.result is before
    dashboard.watch_interval_s = 0.1
    dashboard.watching = True  # ends by itself, or this test would not
    dashboard.folder = str(running[0])
    assert dashboard.session is session and not dashboard.job.busy


# ---- files, text and layout ------------------------------------------------------------------------------


def test_writes_the_files_it_lists(dashboard):
    asyncio.run(dashboard.write())
    assert dashboard.job.error == ""
    assert sorted(dashboard.written) == sorted(dashboard.files_to_write())
    assert all(purpose(path.name) for path in dashboard.written)
    listed = dashboard.root.with_name("duplicates_badfiles_tiff.txt").read_text().split()
    assert listed == [f"{name}_fractions.tiff" for name in dashboard.result.bad]


def test_movies_that_are_not_found_are_said(dashboard, tmp_path):
    dashboard.rawdata = str(tmp_path)
    asyncio.run(dashboard.write())
    assert "have no movie" in dashboard.job.error
    assert sorted(dashboard.written) == sorted(dashboard.files_to_write())


@pytest.mark.parametrize("method", ["automatic", "k typed", "clusters", "matrix typed"])
def test_code_gives_the_same_result(dashboard, method):
    dashboard.param.update(
        calibration=method, k_um_per_unit=24.5, clusters=9, matrix="21.7 11 11 -21.7", hole_spacing="R1.2/1.3",
        radius_mode="typed", radius_um=0.5, keep="unexposed",
    )  # fmt: skip
    names = {}
    exec(dashboard.code(), names)
    assert names["duplicates"].bad == dashboard.result.bad


@pytest.mark.parametrize("method", ["automatic", "k typed", "clusters", "matrix typed"])
def test_command_writes_the_same_table(dashboard, method, tmp_path):
    from dashboards.support.command import main

    dashboard.param.update(
        calibration=method, k_um_per_unit=24.5, matrix="21.7 11 11 -21.7", radius_mode="typed", radius_um=0.5,
        keep="none", montage=False,
    )  # fmt: skip
    words = shlex.split(dashboard.command())
    assert words[:3] == ["graticule", "exposures", "duplicates"]
    assert main(words[1:]) == 0
    written = read_table(tmp_path / "written" / "duplicates_groups.csv", columns=["name"])
    assert written["name"].tolist() == dashboard.result.table["name"].tolist()


def test_report_is_written_where_the_results_are(dashboard, tmp_path):
    asyncio.run(dashboard.write_report())
    assert dashboard.job.error == "" and dashboard.report == tmp_path / "written" / "exposures_report.html"
    assert dashboard.result.bad[0] in dashboard.report.read_text(encoding="utf-8")


def test_names_in_the_address_that_look_like_numbers_stay_names(dashboard):
    square = dashboard.param.grid_square.objects[-1]
    dashboard._take_one_by_one({"out": 2024, "grid_square": int(square), "keep": "all"})
    assert dashboard.out == "2024" and "wrong value" in dashboard.job.error
    asyncio.run(dashboard.look_up())
    assert dashboard.job.error == "" and "wrong value" in dashboard.wrong_in_address
    assert dashboard.grid_square == square and dashboard.shown().sum() < len(dashboard.result.exposures)


def test_wrong_folder_is_explained(tmp_path):
    shown = ExposuresDashboard(folder=tmp_path / HTML_NAME)
    assert HTML_NAME in shown.job.error and shown.result is None
    assert shown.main() is not None
    (tmp_path / "empty").mkdir()
    shown.folder = str(tmp_path / "empty")
    assert "empty" in shown.job.error


def test_another_folder_forgets_the_first_and_none_forgets_all(dashboard, running):
    dashboard.step(1)
    dashboard.folder = str(running[0])
    assert dashboard.looked_at == "" and dashboard.session.folder == running[0]
    dashboard.folder = ""
    assert dashboard.result is None and dashboard.session is None and dashboard.outcome() == ""


def test_what_was_found_elsewhere_does_not_stand_under_another_folder(dashboard, tmp_path):
    dashboard.folder = str(tmp_path / "nowhere")
    assert "nowhere" in dashboard.job.error
    assert dashboard.session is None and dashboard.result is None and dashboard.calibrated is None


def test_example_and_nothing(tmp_path):
    empty = ExposuresDashboard(working_dir=tmp_path)
    assert empty.result is None and empty.outcome() == "" and empty.code() and empty.command()
    assert draw_map(empty, ExposureMap()) is not None
    for draw in (draw_beam_shifts, draw_distances):
        assert draw(empty) is not None
    assert draw_lattice(empty, "comparison") is not None
    asyncio.run(empty.load_example())
    assert empty.job.error == "" and len(empty.result.bad) > 5
    assert empty.calibrated.calibration.warning == ""
    causes = empty.result.summary()["causes"]
    assert all(causes.values()), causes


def test_builds_as_a_plain_layout(dashboard):
    assert dashboard.sidebar() and dashboard.main() is not None
    from panel.tests.util import serve_and_request

    assert serve_and_request(dashboard).status_code == 200
