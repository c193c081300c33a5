"""What others read: tables that the first pipeline's notebook can read, pictures with circles, and montages."""

from __future__ import annotations

import csv

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from PIL import Image as PillowImage

from analysis.circles import (
    LEVELS,
    aggregate_circles,
    cut_crops,
    draw_overlay,
    make_montage,
    read_crops,
    read_experiments,
    read_failures,
    run_pipeline,
)
from analysis.circles._columns import CALIBRATED, FIRST, FURTHER, image_text, name_columns
from analysis.circles._log import RunLog
from analysis.circles._montage import CELL, MOST, Crops, encode_montage, read_mark, share_out
from analysis.circles._overlay import BORDER, COLOURS, FULL, GREYS, OVERLAP, PARTLY, WEAK, stretch_grey
from analysis.circles._recipe import changes, make_recipe

NINE = ["Date", "Subject", "Experiment", "FOV", "Circle", "X", "Y", "R", "Mean Intensity"]
QUICK = {"radius_px": (15.0, 40.0), "workers": 1}
mpl.use("Agg")


def disc(y=40.0, x=50.0, r=25.0, shape=(80, 100), light=160):
    rows, columns = np.indices(shape)
    draw = np.random.default_rng(int(10 * y + x))
    pixels = 20 + light * np.clip(r + 0.5 - np.hypot(rows - y, columns - x), 0, 1) + draw.normal(0, 1, shape)
    return np.rint(pixels).astype(np.uint8)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(pixels).save(path)


def circles(*places, **columns):
    table = pd.DataFrame(places, columns=["x_px", "y_px", "r_px"], dtype=float)
    table["support"] = 1.0
    table["contrast"] = 100.0
    for flag in ("border", "overlap", "weak"):
        table[flag] = False
    return table.assign(**columns)


@pytest.fixture
def out(tmp_path):
    """Two subjects on two dates; two images in each experiment."""
    for date in ("20180401", "20180402"):
        for subject, light in (("s1", 180), ("s2", 90)):
            for number in range(2):
                place = tmp_path / "in" / date / subject / "e1" / f"fov0{number}.png"
                save(place, disc(40 + number, 48 + number, light=light))
    run_pipeline(tmp_path / "in", tmp_path / "out", **QUICK)
    return tmp_path / "out"


# -------------------------------------------------------------------------------------------------- tables


def test_the_first_notebook_reads_the_table(out):
    df = pd.read_csv(out / "experiments.csv")
    assert list(df.columns[:9]) == NINE
    grouped = df.groupby("Subject")
    assert grouped["Mean Intensity"].mean().round(-1).to_dict() == {"s1": 200, "s2": 110}
    axes = df.hist(column="R", by="Subject")
    assert len(np.ravel(axes)) == 2
    assert df[df["Subject"] == "s1"]["R"].tolist() == pytest.approx([25] * 4, abs=0.2)
    assert df["FOV"].unique().tolist() == ["fov00", "fov01"]
    first = df.iloc[0]
    assert (first["X"], first["Y"]) == pytest.approx((48, 40), abs=0.1)  # X counts columns
    assert df["Circle"].tolist() == [0] * 8


def test_columns_behind_the_nine(out):
    table = read_experiments(out)
    assert list(table) == [*LEVELS, "FOV", *FIRST, *FURTHER]
    assert table["Area (px²)"][0] == pytest.approx(np.pi * table["R"][0] ** 2, rel=0.02)
    assert table["Support"].between(0.9, 1).all()
    assert not table[["Border", "Overlap", "Weak"]].to_numpy().any()


def test_columns_in_um_are_there_when_the_size_of_a_pixel_is_known_for_any(tmp_path):
    import tifffile

    save(tmp_path / "in/d/s/e/a.png", disc())
    size = {"resolution": (2, 2), "metadata": {"unit": "um"}}
    tifffile.imwrite(tmp_path / "in/d/s/e/b.tif", disc(42, 51), imagej=True, **size)
    run_pipeline(tmp_path / "in", tmp_path / "out", **QUICK)
    table = read_experiments(tmp_path / "out")
    assert list(table)[-3:] == list(CALIBRATED)
    assert table[list(CALIBRATED)].isna().all(axis=1).tolist() == [True, False]
    assert table["R (um)"][1] == pytest.approx(table["R"][1] / 2, rel=1e-5)
    with open(tmp_path / "out/experiments.csv", newline="") as handle:
        assert len({len(row) for row in csv.reader(handle)}) == 1


@pytest.mark.parametrize("name", ["007", "NA", "a,b", 'say "hi"', "=1+1", "Übung 試料", "<b>x", "new\nline"])
def test_names_come_back_from_the_tables_as_they_were(tmp_path, name):
    folder = tmp_path / "in" / name / name / name
    save(folder / f"{name}.png", disc())
    (folder / "broken.png").write_text(name)
    for _ in range(2):
        run_pipeline(tmp_path / "in", tmp_path / "out", **QUICK)
    row = read_experiments(tmp_path / "out").iloc[0]
    assert [row[level] for level in (*LEVELS, "FOV")] == [name] * 4
    failed = read_failures(tmp_path / "out").iloc[0]
    assert [failed[level] for level in LEVELS] == [name] * 3
    assert failed["File"] == f"{name}/{name}/{name}/broken.png"


def test_other_levels_head_the_columns(tmp_path):
    save(tmp_path / "in/lab, one/a.png", disc())
    run = run_pipeline(tmp_path / "in", tmp_path / "out", **QUICK, levels=("Lab, or not",))
    assert list(read_experiments(tmp_path / "out"))[:3] == ["Lab, or not", "FOV", "Circle"]
    assert list(run.table)[:3] == ["Lab, or not", "fov", "file"]
    # another name for a level does nothing again
    run = run_pipeline(tmp_path / "in", tmp_path / "out", **QUICK, levels=("Place",))
    assert run.summary()["unchanged"] == 1
    assert list(read_experiments(tmp_path / "out"))[:2] == ["Place", "FOV"]


def test_no_circle_at_all_is_a_table(tmp_path):
    save(tmp_path / "in/d/s/e/a.png", np.zeros((60, 70), np.uint8))
    run = run_pipeline(tmp_path / "in", tmp_path / "out", **QUICK)
    assert run.sentence.startswith("circles: 1 new")
    table = read_experiments(tmp_path / "out")
    assert len(table) == 0
    assert table["R"].dtype == float
    assert (tmp_path / "out/qc/d/s/e.png").exists()
    assert read_failures(tmp_path / "out").empty


def test_rows_are_sorted_by_level_field_of_view_and_circle(tmp_path):
    both = np.minimum(255, np.hstack([disc(), disc(41, 49)]).astype(int)).astype(np.uint8)
    for fov in ("fov10", "fov2", "fov1"):
        save(tmp_path / "in/d10/s/e" / f"{fov}.png", both)
        save(tmp_path / "in/d9/s/e" / f"{fov}.png", both)
    run_pipeline(tmp_path / "in", tmp_path / "out", **QUICK)
    table = read_experiments(tmp_path / "out")
    assert table["Date"].unique().tolist() == ["d9", "d10"]
    assert table["FOV"].unique().tolist() == ["fov1", "fov2", "fov10"]
    assert table["Circle"].tolist() == [0, 1] * 6


def test_numbers_of_a_table_have_seven_digits():
    table = circles((1 / 3, 2000.123456, 25.0))
    table = table.assign(mean=1e5 / 3, median=np.nan, std=0.0, background=-1.5, integrated=1e9 / 3, area_px=1963)
    header, line, end = image_text(table).split("\r\n")
    assert header == ",".join([*FIRST, *FURTHER])
    assert line == "0,0.3333333,2000.123,25,33333.33,,0,-1.5,3.333333e+08,1963,100,1,False,False,False"
    assert end == ""
    assert list(name_columns(table)) == header.split(",")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "X.*not found"),
        ("FOV,X\n", "Circle, Y, R, Mean Intensity not found"),
        ("FOV,Circle,X,Y,R,Mean Intensity\na,0,1,2,three,4\n", "must hold numbers"),
        ("FOV,Circle,X,Y,R,Mean Intensity\na,0.5,1,2,3,4\n", "must hold numbers"),
        ("FOV,Circle,X,Y,R,Mean Intensity\na,0,1,2,3,4\n\xff", "UTF-8|must hold"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path, text, words):
    (tmp_path / "experiments.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=words):
        read_experiments(tmp_path)


def test_aggregating_again_writes_nothing_and_spoilt_tables_are_mended(out):
    again = aggregate_circles(out)
    assert again.written == ()
    assert again.summary() == {
        "images": 8, "circles": 8, "failed": 0, "vanished": 0, "written": 0, "removed": 0,
    }  # fmt: skip
    before = (out / "experiments.csv").read_bytes()
    (out / "experiments.csv").write_text("mine")
    made = aggregate_circles(out)
    assert made.written == (out / "experiments.csv",)
    assert (out / "experiments.csv").read_bytes() == before
    assert made.table.equals(read_experiments(out))
    assert made.failures.empty


def test_a_spoilt_table_of_one_image_is_a_failure_until_the_next_run(out):
    (out / "circles/20180401/s1/e1/fov00.csv").write_text("spoilt")
    (out / "experiments.csv").unlink()
    made = aggregate_circles(out)
    assert "must be a table of circles as the pipeline writes it" in made.problems["error"][0]
    assert len(made.table) == 7
    assert made.failures["Stage"].tolist() == ["tables"]
    run_pipeline(out.parent / "in", out, **QUICK)
    assert len(read_experiments(out)) == 8
    assert read_failures(out).empty


def test_a_table_of_several_settings_says_so(out):
    run = run_pipeline(out.parent / "in", out, **QUICK, strictness=0.4, shard=(0, 2), aggregate=True)
    assert "2 different settings or methods" in " ".join(run.warnings)
    run = run_pipeline(out.parent / "in", out, **QUICK, strictness=0.4)
    assert run.warnings == ()


def test_aggregating_without_a_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="output must hold results of a run"):
        aggregate_circles(tmp_path)


def test_what_was_asked_for_is_compared_by_what_matters():
    how = {"radius_um": None, "pixel_size_um": None, "strictness": 0.3, "polarity": "either", "qc": "png"}
    assert make_recipe(radius_px=(8, 80), **how) == make_recipe(radius_px=[8.0, 80.0], **how)
    um = make_recipe(**{**how, "radius_px": (8, 80), "radius_um": (2, 20)})
    assert changes(make_recipe(radius_px=(8, 80), **how).settings, um.settings) == (
        "radius_px 8,80 -> none, radius_um none -> 2,20"
    )


# ------------------------------------------------------------------------------------------------ pictures


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32", "float64", "bool"])
def test_pictures_of_any_number_type_show_the_disc(dtype):
    pixels = (disc() > 100) if dtype == "bool" else disc().astype(dtype) * (257 if dtype != "uint8" else 1)
    grey = stretch_grey(pixels)
    assert grey.dtype == np.uint8
    assert grey.max() < GREYS
    assert grey[40, 50] > 150 > 50 > grey[2, 2]


def test_pictures_of_nothing_and_of_what_is_not_finite():
    assert stretch_grey(np.full((3, 4), np.nan)).max() == 0
    assert stretch_grey(np.array([[np.inf, -np.inf, 1.0]])).tolist() == [[239, 0, 0]]
    assert stretch_grey(np.full((3, 4), 7, np.uint8)).shape == (3, 4)
    assert stretch_grey(np.full((1, 1), 7, np.uint16)).shape == (1, 1)
    assert stretch_grey(np.dstack([disc()] * 4).astype(np.uint16)).shape == (80, 100)
    assert np.ptp(stretch_grey(np.dstack([disc()] * 3)).astype(int) - stretch_grey(disc())) <= 1


@pytest.mark.parametrize(("gain", "offset", "kind"), [(1, 2**31 - 300, "int32"), (1, 1e12, "f8"), (1e300, 0, "f8")])
def test_pictures_of_large_numbers_show_what_differs(gain, offset, kind):
    grey = stretch_grey(disc().astype(kind) * np.dtype(kind).type(gain) + np.dtype(kind).type(offset))
    assert np.abs(grey.astype(int) - stretch_grey(disc().astype(np.float32))).max() <= 1


def test_pictures_of_one_large_value_and_of_a_few_pixels():
    assert stretch_grey(np.full((30, 40), 1e20, np.float32)).shape == (30, 40)
    few = np.zeros((300, 300), np.float32)
    few[7, 7:11] = 0.25
    assert stretch_grey(few)[7, 8] == GREYS - 1


def test_circles_are_drawn_where_they_are_in_their_colours():
    flags = {"border": [0, 0, 1, 1, 1], "overlap": [0, 0, 0, 1, 1], "weak": [0, 0, 0, 0, 1]}
    table = circles((100, 50, 20), (200, 50, 20), (300, 50, 20), (400, 50, 20), (500, 50, 20), **flags)
    table["support"] = [1.0, 0.5, 1.0, 1.0, 1.0]
    picture = draw_overlay(np.full((110, 600), 99, np.uint8), table)
    assert picture.mode == "P"
    assert picture.size == (600, 110)
    drawn = np.asarray(picture)
    for x, colour in zip((100, 200, 300, 400, 500), (FULL, PARTLY, BORDER, OVERLAP, WEAK), strict=True):
        rows, columns = np.nonzero(drawn[:, x - 40 : x + 40] == colour)
        assert len(rows) > 50
        distance = np.hypot(rows - 50, columns - 40)
        outline = distance > 12  # the number stands in the middle
        assert np.abs(distance[outline] - 20).max() < 1.9
        assert abs(rows[outline].mean() - 50) < 0.6 and abs(columns[outline].mean() - 40) < 0.6
        assert set(np.unique(drawn[:, x - 40 : x + 40])) <= {drawn[0, 0], colour, GREYS + 5}
    assert picture.convert("RGB").getpixel((100, 30)) == COLOURS[FULL]


@pytest.mark.parametrize(("qc", "ending", "format"), [("png", "png", "PNG"), ("jpeg", "jpg", "JPEG")])
def test_pictures_are_files_that_open(tmp_path, qc, ending, format):
    save(tmp_path / "in/d/s/e/a.png", disc())
    run_pipeline(tmp_path / "in", tmp_path / "out", **QUICK, qc=qc)
    with PillowImage.open(tmp_path / f"out/qc/d/s/e/a.{ending}") as picture:
        assert picture.format == format
        assert picture.size == (100, 80)
        red, green, blue = np.moveaxis(np.asarray(picture.convert("RGB")).astype(int), -1, 0)
    assert np.count_nonzero((blue - red > 40) & (green > 120)) > 100


def test_no_picture_is_made_when_none_is_asked_for(tmp_path):
    save(tmp_path / "in/d/s/e/a.png", disc())
    run_pipeline(tmp_path / "in", tmp_path / "out", **QUICK, qc="none")
    assert not (tmp_path / "out/qc").exists()
    assert not list((tmp_path / "out/.graticule").rglob("*.png"))


# ------------------------------------------------------------------------------------------------ montages


def test_crops_hold_the_disc_in_their_middle_and_are_padded_at_the_border():
    grey = np.zeros((200, 300), np.uint8)
    rows, columns = np.indices(grey.shape)
    places = [(150.0, 100.0, 30.0), (0.0, 0.0, 20.0), (299.0, 100.0, 20.0)]
    for x, y, r in places:
        grey[np.hypot(rows - y, columns - x) <= r] = 200
    crops = cut_crops(grey, circles(*places))
    assert crops.pixels.shape == (3, CELL, CELL)
    bright = crops.pixels[0] > 100
    assert bright.sum() == pytest.approx(np.pi * (CELL / 2.6) ** 2, rel=0.02)
    assert np.argwhere(bright).mean(axis=0) == pytest.approx([(CELL - 1) / 2] * 2, abs=0.3)
    assert not crops.pixels[1][: CELL // 2 - 2].any() and not crops.pixels[1][:, : CELL // 2 - 2].any()
    assert crops.pixels[1][CELL // 2 + 2, CELL // 2 + 2] == 200
    assert not crops.pixels[2][:, CELL // 2 + 4 :].any()
    assert len(cut_crops(grey, circles()).pixels) == 0
    assert len(cut_crops(grey, circles(*places), most=2).pixels) == 2


def test_a_circle_outside_of_the_image_is_a_black_crop():
    crops = cut_crops(np.full((20, 30), 9, np.uint8), circles((500.0, 500.0, 8.0), (1e-9, 10.0, 2000.0)))
    assert not crops.pixels[0].any()


def test_shares_are_fair():
    assert sum(share_out([100] * 100, MOST)) == MOST
    assert share_out([], 10) == []
    assert share_out([1, 1], 10) == [1, 1]
    assert share_out([500], 400) == [400]
    assert max(share_out([3, 50, 60], 60)) - sorted(share_out([3, 50, 60], 60))[1] <= 1


def test_a_montage_shows_every_crop_with_its_label():
    crops = Crops(np.full((5, CELL, CELL), 120, np.uint8), (FULL, PARTLY, BORDER, OVERLAP, WEAK))
    picture = make_montage([("fov00", crops), ("<b>fov01</b> 試料", crops)], title="d/s/e")
    drawn = np.asarray(picture)
    for colour in (BORDER, OVERLAP, WEAK):
        assert np.count_nonzero(drawn == colour) == 2 * (4 * 2 * CELL - 16)
    assert np.count_nonzero(drawn == 120) == 4 * CELL**2 + 6 * (CELL - 4) ** 2
    assert make_montage([]).size[1] > 0


def test_a_montage_of_many_says_how_many_it_shows():
    crops = Crops(np.zeros((64, CELL, CELL), np.uint8), (FULL,) * 64)
    picture = make_montage([(f"fov{number}", crops) for number in range(100)], title="e", total=9000)
    assert picture.size[0] * picture.size[1] < 1.5 * MOST * (CELL + 20) ** 2


def test_a_montage_is_made_again_without_reading_an_image(out, monkeypatch):
    save(out.parent / "in/20180401/s1/e1/fov02.png", disc(44, 52))
    before = (out / "qc/20180401/s1/e1.png").read_bytes()
    other = (out / "qc/20180401/s2/e1.png").stat().st_mtime_ns
    opened = []
    from analysis.circles import _image

    real = _image.read_pixels
    monkeypatch.setattr(_image, "read_pixels", lambda path: opened.append(path) or real(path))
    run_pipeline(out.parent / "in", out, **QUICK)
    assert len(opened) == 1
    assert (out / "qc/20180401/s1/e1.png").read_bytes() != before
    assert (out / "qc/20180401/s2/e1.png").stat().st_mtime_ns == other
    assert len(read_crops(out / ".graticule/20180401/s1/e1/fov02.crops.png").pixels) == 1


def test_a_montage_says_what_it_was_made_of(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encode_montage(make_montage([]), "0123456789abcdef" * 2))
    assert read_mark(path) == "0123456789abcdef" * 2
    save(path, disc())
    assert read_mark(path) == ""
    assert read_mark(tmp_path / "none.png") == ""
    with pytest.raises(ValueError, match="must hold crops that the pipeline wrote"):
        read_crops(path)


def test_a_montage_that_cannot_be_written_is_a_problem_and_the_tables_are_there(tmp_path):
    save(tmp_path / "in/d/s/e/a.png", disc())
    run_pipeline(tmp_path / "in", tmp_path / "out", **QUICK, qc="none")
    (tmp_path / "out/qc/d/s/e.png").mkdir(parents=True)
    run = run_pipeline(tmp_path / "in", tmp_path / "out", **QUICK)
    assert len(run.problems) == 1
    assert run.problems["file"][0] == "qc/d/s/e.png"
    assert len(read_experiments(tmp_path / "out")) == 1


# ----------------------------------------------------------------------------------------------------- log


def test_the_log_starts_anew_when_it_is_large_and_keeps_three(tmp_path):
    log = RunLog(tmp_path / "circles.log")
    for number in range(50):
        log.write("x" * 99_000 + str(number))
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == ["circles.log", "circles.log.1", "circles.log.2", "circles.log.3"]
    assert all(path.stat().st_size < 1_200_000 for path in tmp_path.iterdir())


def test_a_line_of_the_log_stays_one_line(tmp_path):
    RunLog(tmp_path / "circles.log").write("a\nb\x1b[31m")
    assert (tmp_path / "circles.log").read_text().endswith(r"INFO a\nb\x1b[31m" + "\n")
