"""The circles page without a browser: what it shows is what a run writes, and every way is said in text."""

import asyncio
import io
import re
import shlex

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from analysis.circles import read_experiments, run_pipeline
from analysis.synthetic.circles import draw_acquisitions, draw_phantom
from dashboards.circles import CirclesDashboard
from dashboards.support.circles_images_view import images_table
from dashboards.support.circles_report import as_png, write_circles_report
from dashboards.support.circles_run_view import gallery_html
from dashboards.support.circles_statistics import date_level, measure_statistics, subject_level
from dashboards.support.circles_statistics_view import verdict
from dashboards.support.circles_words import filter_words, plan_table, plan_words
from dashboards.support.circles_work import OpenImage, Picture, open_image, read_results, safe_csv, to_screen
from dashboards.support.command import main

HTML_NAME = "<img src=x onerror=window.hit=1>"
KINDS = {"s1": (30, 3, 200, 10), "s2": (15, 2, 100, 10)}
DATES = ("20180401", "20180402", "20180403")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Twelve images on disk, only to be read."""
    return draw_acquisitions(
        tmp_path_factory.mktemp("drawn"), dates=DATES, subjects=KINDS, experiments=("e1", "e2"), fields=1,
        shape=(160, 200), seed=4,
    )  # fmt: skip


@pytest.fixture(scope="module")
def done(drawn):
    """What the pipeline found in them, only to be read."""
    run_pipeline(drawn.folder / "acquisitions", drawn.folder / "done")
    return drawn.folder / "done"


@pytest.fixture
def make(drawn, tmp_path):
    """Make a page on the images, with an output folder of its own."""

    def page(**settings):
        return CirclesDashboard(**{"folder": drawn.folder / "acquisitions", "output": tmp_path / "out", **settings})

    return page


# ---- the same circles ------------------------------------------------------------------------------------

SETTINGS = {
    "as it comes": {},
    "strict and small": {"radius_px": (8.0, 40.5), "strictness": 0.6, "qc": "none"},
    "bright, in µm": {"radius_unit": "µm", "radius_um": (2.0, 20.0), "pixel_size_um": 0.5, "polarity": "bright",
                      "qc": "jpeg"},
}  # fmt: skip


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_page_python_and_shell_write_the_same_tables(make, settings, tmp_path, capsys):
    page = make(**settings)
    asyncio.run(page.run())
    assert page.job.error == "" and page.ran.summary()["failed"] == 0
    wanted = (tmp_path / "out" / "experiments.csv").read_bytes()
    page.output = str(tmp_path / "by python")
    exec(page.code(), {})
    page.output = str(tmp_path / "by shell")
    assert main(shlex.split(page.command())[1:]) == 0
    assert (tmp_path / "by python" / "experiments.csv").read_bytes() == wanted
    assert (tmp_path / "by shell" / "experiments.csv").read_bytes() == wanted


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_circles_shown_are_the_circles_written(make, settings, tmp_path):
    page = make(**settings)
    asyncio.run(page.run())
    written = read_experiments(tmp_path / "out")
    for key in page.image_keys():
        page.image = key
        own = written[(written[["Date", "Subject", "Experiment", "FOV"]].agg("/".join, axis=1)) == key]
        assert len(own) == len(page.found) == page.results.counts.get(key, 0)
        for column, name in {"X": "x_px", "R": "r_px", "Mean Intensity": "mean", "Support": "support"}.items():
            np.testing.assert_allclose(page.found.table[name], own[column], rtol=1e-6)


def test_moving_a_slider_reads_no_file_and_finds_the_edges_once(make, monkeypatch):
    page = make()
    opened = page.opened
    prepared = opened.prepared

    def fail(*_, **__):
        raise AssertionError

    monkeypatch.setattr("dashboards.circles.open_image", fail)
    before = len(page.found)
    page.strictness = 1.0
    assert len(page.found) <= before and page.opened is opened and opened.prepared is prepared
    page.strictness = 0.3
    page.radius_px = (8.0, 9.0)
    assert len(page.found) == 0 and page.view_job.error == ""


def test_what_detection_refuses_is_said_and_cured(make):
    page = make()
    page.radius_unit = "µm"
    assert "need the size of a pixel" in page.view_job.error and page.found is None
    page.pixel_size_um = 0.5
    assert page.view_job.error == "" and page.found is not None and "r_um" in page.found.table


# ---- planning and running --------------------------------------------------------------------------------


def test_states_are_planned_run_and_planned_again(make):
    page = make()
    assert plan_words(page.plan) == "A run would do 12 images: 12 new."
    assert plan_table(page.plan)["reason"].tolist() == ["not done before"]
    assert set(images_table(page)["state"]) == {"new"} and set(images_table(page)["circles"]) == {""}
    asyncio.run(page.run())
    assert plan_words(page.plan) == "Nothing is to be done: 12 done."
    table = images_table(page)
    assert set(table["state"]) == {"done"} and table["circles"].astype(int).sum() == len(page.results.circles)
    asyncio.run(page.run())
    assert page.job.words.startswith("Nothing was to be done.")
    page.strictness = 0.5
    assert "12 settings" in plan_words(page.plan)
    page.redo = True
    asyncio.run(page.run())
    assert page.redo is False and page.ran.summary()["redo"] + page.ran.summary()["settings"] == 12


def test_a_broken_image_is_a_failure_and_the_rest_is_done(make, drawn, tmp_path):
    root = tmp_path / "some"
    own = draw_acquisitions(root, dates=DATES[:1], subjects=KINDS, fields=1, shape=(120, 120), seed=1)
    (own.files[0].parent / "broken.png").write_text("no picture")
    page = make(folder=root / "acquisitions")
    asyncio.run(page.run())
    assert len(page.results.failures) == 1 and page.results.failures["FOV"].tolist() == ["broken"]
    assert "1 image failed; see Failures." in page.job.error
    page.image = next(key for key in page.image_keys() if key.endswith("broken"))
    assert "broken.png" in page.view_job.error and page.opened is None
    page.step(1)
    assert page.view_job.error == "" and page.opened is not None


def test_stepping_goes_round(make):
    page = make()
    keys = page.image_keys()
    page.step(-1)
    assert page.image == keys[-1]
    page.step(1)
    assert page.image == keys[0]
    page.step(1, keys[5:7])
    assert page.image == keys[5]


def test_output_in_the_acquisitions_is_refused(make, drawn):
    page = make(output=drawn.folder / "acquisitions" / "out")
    asyncio.run(page.run())
    assert "must lie outside" in page.job.error and not (drawn.folder / "acquisitions" / "out").exists()


def test_other_levels(tmp_path, make):
    for mouse in ("m1", "m2"):
        folder = tmp_path / "tree" / mouse
        folder.mkdir(parents=True)
        for day in range(3):
            Image.fromarray(draw_phantom((120, 120), seed=day).pixels).save(folder / f"{day}.png")
    page = make(folder=tmp_path / "tree", levels="Mouse")
    asyncio.run(page.run())
    assert page.results.levels == ("Mouse",) and page.results.experiments == ["m1", "m2"]
    assert page.job.error == "" and page.statistics is not None
    assert (date_level(("Mouse",)), subject_level(("Mouse",))) == ("Mouse", None)
    assert (date_level(("day", "Date", "x")), subject_level(("day", "Date", "x"))) == ("Date", "day")


def test_nothing_and_no_folder(tmp_path):
    page = CirclesDashboard(output=tmp_path / "none")
    assert page.acquisitions is None and page.outcome() == "" and page.statistics is None
    assert page.main() is not None
    (tmp_path / "empty").mkdir()
    page.folder = str(tmp_path / "empty")
    assert "must hold PNG, TIFF or JPEG images 3 folders deep" in page.job.error
    page.folder = str(tmp_path / "nowhere")
    assert "acquisitions must be a folder that exists" in page.job.error
    asyncio.run(page.write_report())
    assert page.report is None and "nothing to report on" in page.job.error


# ---- statistics ------------------------------------------------------------------------------------------


def test_filters_are_shared_by_histograms_test_chart_and_table(make, done):
    page = make(output=done)
    table = page.results.circles
    assert len(page.chosen) == len(table) and page.statistics.histograms[0].groups == ["s1", "s2"]
    page.keep_between("R", (20, 60))
    assert len(page.chosen) == table["R"].between(20, 60).sum()
    assert page.statistics.histograms[1].counts.sum() == len(page.chosen)
    assert page.statistics.behind[1].counts.sum() == len(table)
    assert "R is cut to a range" in page.statistics.words[0]
    page.keep_names("Subject", ["s1"])
    assert set(page.chosen["Subject"]) == {"s1"} and "one Subject only" in page.statistics.comparison.sentence
    assert page.statistics.charts[0].limits["subject"].tolist() == ["s1"]
    page.value = "Contrast"
    assert page.between == {} and page.statistics.histograms[0].settings["value"] == "Contrast"
    page.clear_filters()
    assert len(page.chosen) == len(table)
    page.by = ""
    assert page.statistics.comparison is None


def test_filters_from_an_address_are_taken_when_they_fit(make, done):
    page = make(output=done, filters={"Subject": ["s1", "s9"], "Date": 5, "x": []}, between={"R": [20, 60], "X": "a"})
    assert page.filters == {"Subject": ["s1"]} and page.between == {"R": (20.0, 60.0)}
    assert set(page.chosen["Subject"]) == {"s1"} and page.chosen["R"].between(20, 60).all()


def test_a_baseline_that_is_too_short_is_said_and_cured(make, done):
    page = make(output=done)
    page.baseline = 1
    assert "baseline must be 2 dates or more" in page.job.error
    page.baseline = 2
    assert page.job.error == "" and page.statistics.charts[0].settings["baseline"] == 2


def test_the_last_date_is_judged_where_there_are_limits(make, done):
    page = make(output=done)
    assert verdict(page.statistics.charts) in ("The last date drifted.", "The last date is as usual.")
    page.keep_names("Date", DATES[:1])
    assert verdict(page.statistics.charts) == "Whether the last date is as usual cannot be known."
    assert verdict(()) == ""


def test_filters_that_leave_nothing(make, done):
    page = make(output=done)
    page.keep_between("R", (1000, 2000))
    assert len(page.chosen) == 0 and "no circle has R" in page.statistics.comparison.sentence
    assert page.statistics.charts[0].drifted == []


def test_words_of_filters():
    assert filter_words({}, {}, 5, 5) == "All 5 circles."
    told = filter_words({"Subject": ["s1"]}, {"R": (1, 2)}, 3, 5)
    assert told == "3 of 5 circles: Subject s1; R (px) 1 to 2."


def test_thirty_thousand_circles_are_counted_in_a_moment():
    rng = np.random.default_rng(1)
    count = 30_000
    table = pd.DataFrame(
        {
            "Date": rng.choice([f"201804{day:02d}" for day in range(1, 31)], count),
            "Subject": rng.choice(["s1", "s2", "s3"], count),
            "Experiment": rng.choice(["e1", "e2"], count),
            "FOV": rng.choice(["fov00", "fov01"], count),
            "R": rng.normal(40, 5, count),
            "Mean Intensity": rng.normal(200, 20, count),
        }
    )
    made = measure_statistics(table, ("Date", "Subject", "Experiment"), by="Subject")
    assert made.histograms[0].counts.sum() == count and made.comparison.p_value > 0.0001


# ---- pictures and words ----------------------------------------------------------------------------------


def test_gallery_has_montage_first_and_names_are_no_html(make, done):
    page = make(output=done)
    assert page.gallery[0].montage and [picture.name for picture in page.gallery[1:]] == ["fov00"]
    assert page.gallery[1].circles == page.results.counts[f"{page.experiment}/fov00"]
    text = gallery_html([Picture(HTML_NAME, b"jpeg"), Picture("<b>", b"")])
    assert HTML_NAME not in text and "&#60;img" in text and "<b>" not in text


def test_gallery_shows_images_without_circles(make, tmp_path):
    folder = tmp_path / "blank" / "20180401" / "s1" / "e1"
    folder.mkdir(parents=True)
    Image.fromarray(np.full((90, 90), 80, np.uint8)).save(folder / "flat.png")
    page = make(folder=tmp_path / "blank")
    asyncio.run(page.run())
    assert len(page.results.circles) == 0 and page.results.images == 1
    assert page.results.experiments == ["20180401/s1/e1"] and page.gallery[-1].name == "flat"
    assert page.statistics is None and page.main() is not None


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "int16"])
def test_any_image_becomes_grey_for_the_screen(dtype, tmp_path):
    pixels = draw_phantom((60, 80), circles=[(40.0, 30.0, 20.0, 200.0)], seed=1).pixels
    scaled = pixels if dtype == "uint8" else (pixels.astype(float) * 100).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", scaled)
    opened = open_image(str(tmp_path / "a.tif"))
    assert opened.grey.dtype == np.uint8 and opened.grey.shape == (60, 80)
    assert np.abs(np.diff(opened.grey.astype(int))).max() > 100
    low, high = opened.between((0.0, 100.0))
    assert low == opened.grey.min() and high == opened.grey.max()
    assert opened.between((50.0, 50.0))[0] < opened.between((50.0, 50.0))[1]


def test_colours_and_nothing_finite_become_grey():
    colour = np.dstack([np.full((4, 5), value, np.uint8) for value in (10, 20, 30, 255)])
    assert set(to_screen(colour).ravel()) == {18}
    assert to_screen(np.full((3, 4), np.nan)).max() == 0
    assert OpenImage("", np.zeros((2, 2)), np.zeros((2, 2), np.uint8)).between((0, 100)) == (0.0, 1.0)


def test_csv_has_no_formula():
    table = pd.DataFrame({"Subject": ["=HYPERLINK(1)", "@x", "s1"], "R": [-1.0, 2.0, 3.0], "Weak": [True, False, True]})
    back = pd.read_csv(io.StringIO(safe_csv(table)))
    assert back["Subject"].tolist() == ["'=HYPERLINK(1)", "'@x", "s1"] and back["R"].tolist() == [-1.0, 2.0, 3.0]


def test_results_that_cannot_be_read_are_said(tmp_path):
    (tmp_path / "experiments.csv").write_text("a,b\n1,2\n")
    read = read_results(tmp_path, ("Date",))
    assert not len(read.circles) and "must have the columns" in read.warnings[0]
    assert read_results(tmp_path / "none", ("Date",)).warnings == ()


# ---- report ----------------------------------------------------------------------------------------------


def test_report_refers_to_nothing_outside(make, done, tmp_path):
    page = make(output=done)
    path = asyncio.run(page.write_report())
    assert path is not None and page.job.error == ""
    text = re.sub(r"<script\b.*?</script>", "", path.read_text(), flags=re.DOTALL)
    assert "Do the groups" not in text and "Differences between Subjects" in text
    assert not re.search(r'(src|href)="https?:', text)
    page.value, page.by = "Contrast", "Date"
    text = asyncio.run(page.write_report()).read_text()
    assert "Differences between Dates" in text and "Keep Contrast" in text
    with pytest.raises(ValueError, match="at least one circle"):
        write_circles_report(tmp_path / "no.html", tmp_path)


def test_report_pictures_are_small_png(done):
    file = next((done / "qc").rglob("fov00.png"))
    content = as_png(file, 100)
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.format == "PNG" and max(picture.size) <= 100
    assert as_png(done / "experiments.csv", 100) == b""


def test_page_and_cell_can_be_drawn(make, done):
    page = make(output=done)
    assert page.main() is not None and len(page.sidebar()) == 4
    assert page.outcome().endswith("in 12 images.")


def test_images_are_listed_under_new_names_of_the_levels_at_once(make):
    page = make()
    page.main()
    asyncio.run(page.look_up())
    before = images_table(page)
    page.levels = "Night, Mouse, Slice"
    after = images_table(page)
    assert list(before)[:3] == ["Date", "Subject", "Experiment"] and list(after)[:3] == ["Night", "Mouse", "Slice"]
    assert after.iloc[:, :3].to_numpy().tolist() == before.iloc[:, :3].to_numpy().tolist()
    assert page.job.error == ""
