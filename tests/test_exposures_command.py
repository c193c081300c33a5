"""``graticule exposures`` and ``find_dupl``: the same tables as the functions, the original's lines, exit codes."""

from __future__ import annotations

import inspect
import json
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cyclopts import Parameter
from PIL import Image

from analysis.exposures import (
    assume_beam_shift,
    calibrate_beam_shift,
    find_duplicates,
    find_images,
    read_epu_session,
)
from analysis.synthetic.exposures import draw_session
from analysis.tables import read_table
from dashboards.support import exposures_command, find_dupl_command
from dashboards.support.command import find_dupl, main

BESIDE_PYTHON = Path(sys.executable).parent
ACTS = ("calibrate", "duplicates", "groups", "watch", "report", "find_dupl")
HOLES = {"grid_squares": 1, "stage_positions": 6, "groups": 5, "shots": 2, "seed": 11}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A session with pictures and duplicates of two kinds; only to be read."""
    folder = tmp_path_factory.mktemp("drawn") / "session"
    return draw_session(folder, **HOLES, re_exposed_holes=2, partial_overlaps=1, images=True, image_px=48)


@pytest.fixture
def session(drawn, tmp_path, monkeypatch):
    """A copy that a test may spoil, and a folder beside it to work in."""
    folder = Path(shutil.copytree(drawn.session.folder, tmp_path / "session"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return folder


def told(capsys):
    return json.loads(capsys.readouterr().out)


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("L"))


def lines_in(path):
    return Path(path).read_text(encoding="utf-8").splitlines()


# --------------------------------------------------------------------------------------------- options and help


@pytest.mark.parametrize("name", ACTS)
def test_every_option_is_explained(name):
    for option in inspect.signature(getattr(exposures_command, name)).parameters.values():
        words = [part.help for part in option.annotation.__metadata__ if isinstance(part, Parameter) and part.help]
        assert words, option.name
        assert "`" not in words[0]


def test_help_names_acts_and_the_options_of_find_dupl(capsys):
    assert main(["exposures", "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ACTS)
    assert main(["exposures", "duplicates", "--help"]) == 0
    shown = capsys.readouterr().out
    for option in ("--epudata", "--clusters", "--k", "--rad", "--montage", "--rescale", "--rawdata", "--o", "--watch"):
        assert option in shown, option


def test_defaults_are_those_of_the_functions():
    for name, functions in {"calibrate": (calibrate_beam_shift,), "duplicates": (find_duplicates,)}.items():
        options = inspect.signature(getattr(exposures_command, name)).parameters
        for function in functions:
            for argument in inspect.signature(function).parameters.values():
                if argument.kind is argument.KEYWORD_ONLY and argument.name not in ("progress", "cancel", "images"):
                    assert options[argument.name].default == argument.default, argument.name


# ------------------------------------------------------------------------------------------------- same results


def test_calibrate_says_what_the_function_says(session, capsys):
    assert main(["exposures", "calibrate", str(session), "--json", "--spacing", "2.5"]) == 0
    said = told(capsys)
    expected = calibrate_beam_shift(read_epu_session(session), hole_spacing_um=2.5).summary()
    assert set(said) == set(expected) - {"warning"}
    for name in ("k_um_per_unit", "angle_deg", "mirrored", "residual_um", "groups", "collisions", "margin"):
        assert said[name] == expected[name]
    assert not list(Path().iterdir())


def test_calibrate_writes_tables_and_pictures_when_asked(session, capsys):
    assert main(["exposures", "calibrate", str(session), "--clusters", "5", "--o", "out/of", "--json"]) == 0
    said = told(capsys)
    assert said["clusters"]["clusters"] == 5
    assert said["clusters"]["k_um_per_unit"] == pytest.approx(24.33, rel=0.05)
    names = {path.name for path in Path("out").iterdir()}
    assert names == {"of_holes.csv", "of_orientations.csv", "of_lattice.png", "of_clusters.csv", "of_distances.csv",
                     "of_beam_shifts.png"}  # fmt: skip
    distances = pd.read_csv("out/of_distances.csv").to_numpy()[:, 1:].astype(float)
    assert np.allclose(distances, distances.T)
    for path in Path("out").glob("*.png"):
        assert np.ptp(pixels(path)) > 100


def test_duplicates_are_those_of_the_function_and_of_the_truth(session, drawn, capsys):
    assert main(["exposures", "duplicates", str(session), "--rad", "0.4", "--json"]) == 0
    said = told(capsys)
    read = read_epu_session(session)
    expected = find_duplicates(read, calibrate_beam_shift(read), radius_um=0.4, images=find_images(read))
    assert said["exposures"] == len(expected.exposures)
    assert said["bad"] == len(expected.bad)
    assert said["causes"] == expected.summary()["causes"]
    assert expected.bad == drawn.bad(0.4)
    assert lines_in("duplicates_badfiles_tiff.txt") == [f"{name}_fractions.tiff" for name in expected.bad]
    jpgs = [Path(line) for line in lines_in("duplicates_badfiles_jpg.txt")]
    assert [path.stem for path in jpgs] == expected.bad
    assert all(path.exists() for path in jpgs)
    written = read_table(Path("duplicates_groups.csv"), columns=["name", "group", "cause"])
    assert list(written["name"]) == list(expected.table["name"])
    assert list(written["cause"]) == list(expected.table["cause"])


def test_k_matrix_and_clusters_choose_the_calibration(session, capsys):
    read = read_epu_session(session)
    fitted = calibrate_beam_shift(read)
    numbers = ",".join(f"{number:.6f}" for number in fitted.matrix.ravel())
    assert main(["exposures", "duplicates", str(session), "--matrix", numbers, "--json"]) == 0
    by_matrix = told(capsys)
    assert by_matrix["calibration"]["method"] == "matrix"
    assert by_matrix["bad"] == len(find_duplicates(read, fitted).bad)
    assert main(["exposures", "duplicates", str(session), "--k", "24.33", "--json"]) == 0
    by_k = told(capsys)
    assert by_k["calibration"]["method"] == "scalar"
    assert by_k["bad"] == len(find_duplicates(read, assume_beam_shift(read, 24.33)).bad)
    assert main(["exposures", "duplicates", str(session), "--clusters", "5", "--spacing", "2.5", "--json"]) == 0
    assert told(capsys)["calibration"]["k_um_per_unit"] == pytest.approx(24.33, rel=0.05)


def test_groups_are_written_as_table_and_star(session, capsys):
    assert main(["exposures", "groups", str(session), "--json", "--movie", "Movies/{name}_EER.eer"]) == 0
    assert told(capsys)["optics_groups"] == 5
    star = Path("duplicates_optics_groups.star").read_text(encoding="utf-8")
    assert "data_optics" in star
    table = read_table(Path("duplicates_optics_groups.csv"), columns=["name"])
    assert all(f"Movies/{name}_EER.eer" in star for name in table["name"])


def test_montage_rawdata_star_and_predose(session, capsys):
    read = read_epu_session(session)
    bad = find_duplicates(read, calibrate_beam_shift(read)).bad
    movies = session.parent / "movies" / "deep"
    movies.mkdir(parents=True)
    for name in bad[1:]:
        (movies / f"{name}_EER.eer").write_bytes(b"movie")
    star = session.parent / "micrographs.star"
    names = "\n".join(f"MotionCorr/{name}_fractions.mrc 1" for name in read.exposures["name"])
    star.write_text(
        f"data_micrographs\n\nloop_\n_rlnMicrographName #1\n_rlnOpticsGroup #2\n{names}\n", encoding="utf-8"
    )
    line = ["exposures", "duplicates", str(session), "--montage", "--predose", "--rawdata", str(movies.parent), "--o",
            "lists/night", "--star", str(star), "--json"]  # fmt: skip
    assert main(line) == 0
    said = capsys.readouterr()
    assert bad[0] in said.err
    summary = json.loads(said.out)
    assert summary["star"]["removed"] == len(bad)
    assert summary["predose"]["half_exposed"] >= 1
    assert lines_in("lists/night_badfiles_notfound.txt") == [bad[0]]
    assert [Path(path).name for path in lines_in("lists/night_badfiles_rawdata.txt")] == [
        f"{n}_EER.eer" for n in bad[1:]
    ]
    cleaned = Path("lists/night_cleaned.star").read_text(encoding="utf-8")
    assert not any(name in cleaned for name in bad)
    full = pixels("lists/night.png").shape
    assert main([*line, "--rescale"]) == 0
    assert pixels("lists/night.png").shape[1] < full[1]


# --------------------------------------------------------------------------------------------- names of find_dupl


def test_first_step_of_find_dupl_prints_the_distances(session, tmp_path):
    line = [BESIDE_PYTHON / "find_dupl", "--epudata", session, "--clusters", "3"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "minimum: 0." in done.stdout
    assert "maximum: 0." in done.stdout
    assert "The lattice of holes gives k 24." in done.stderr
    assert "Traceback" not in done.stderr
    assert {path.name for path in Path().iterdir()} == {
        "duplicates_clusters.csv", "duplicates_distances.csv", "duplicates_beam_shifts.png"
    }  # fmt: skip


def test_second_step_of_find_dupl_takes_its_line_and_doubts_one_k(session, capsys):
    line = ["--epudata", str(session), "--montage", "--rad", "0.2", "--k", "24.33", "--resize", "--o", "mine",
            "--n_init", "5", "--max_iter", "100"]  # fmt: skip
    assert find_dupl(line) == 0
    read = read_epu_session(session)
    expected = find_duplicates(read, assume_beam_shift(read, 24.33), radius_um=0.2)
    assert lines_in("mine_badfiles_tiff.txt") == [f"{name}_fractions.tiff" for name in expected.bad]
    assert "with one k for both" in capsys.readouterr().err


def test_a_folder_as_output_is_written_into(session, capsys):
    Path("lists").mkdir()
    assert main(["exposures", "duplicates", str(session), "--o", "lists/", "--montage"]) == 0
    assert {"duplicates_badfiles_tiff.txt", "duplicates.png"} <= {path.name for path in Path("lists").iterdir()}
    assert [path.name for path in Path().iterdir()] == ["lists"]


def test_a_scalar_is_doubted_by_the_lattice(session, capsys):
    assert main(["exposures", "duplicates", str(session), "--k", "24.33"]) == 0
    assert "with one k for both" in capsys.readouterr().err


def test_nothing_found_is_done(session, capsys):
    assert find_dupl(["--epudata", str(session), "--k", "24.33", "--rad", "0.0001"]) == 0
    assert lines_in("duplicates_badfiles_tiff.txt") == []
    assert "bad: 0" in capsys.readouterr().out


@pytest.mark.reference
@pytest.mark.parametrize("radius", [0.2, 0.5])
def test_a_scalar_k_lists_what_find_dupl_lists_on_a_real_session(radius, real_epu, reference, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_dupl(["--epudata", str(real_epu), "--k", "24.07", "--rad", str(radius)]) == 0
    listed = reference / f"exposures/real/original_k24p07_r{str(radius).replace('.', 'p')}_badfiles_tiff.txt"
    ours = lines_in("duplicates_badfiles_tiff.txt")
    assert sorted(ours) == sorted(set(lines_in(listed)))
    assert len(ours) == len(set(ours))


@pytest.mark.reference
@pytest.mark.parametrize("radius", [None, 0.2, 0.4, 0.5, 0.6])
def test_the_matrix_finds_no_duplicates_in_a_real_session(radius, real_epu, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    how = [] if radius is None else ["--rad", str(radius)]
    assert main(["exposures", "duplicates", str(real_epu), *how, "--json"]) == 0
    said = told(capsys)
    assert (said["exposures"], said["bad"]) == (189, 0)


@pytest.mark.reference
@pytest.mark.parametrize("which", ["aligned", "rotated"])
@pytest.mark.parametrize("radius", [0.2, 0.4, 0.5])
def test_planted_duplicates_are_found_and_nothing_else(which, radius, reference, tmp_path, monkeypatch):
    """Neither spacing nor number of groups is told."""
    monkeypatch.chdir(tmp_path)
    folder = reference / f"exposures/synthetic_{which}"
    assert main(["exposures", "duplicates", str(folder), "--rad", str(radius)]) == 0
    assert sorted(lines_in("duplicates_badfiles_tiff.txt")) == sorted(
        f"{name}_fractions.tiff" for name in lines_in(folder / f"truth_bad_r{radius}.txt")
    )


# ------------------------------------------------------------------------------------------------------ bad input


def data_files(session):
    return sorted(session.rglob("FoilHole_*_Data_*.xml"))


def test_a_bad_file_is_a_line_and_1_and_the_rest_is_done(session, capsys):
    spoiled = data_files(session)[4]
    spoiled.write_bytes(spoiled.read_bytes()[:-300])
    assert main(["exposures", "duplicates", str(session), "--json"]) == 1
    said = capsys.readouterr()
    assert spoiled.name in said.err
    assert "Traceback" not in said.err
    assert json.loads(said.out)["exposures"] == len(data_files(session)) - 1
    assert Path("duplicates_badfiles_tiff.txt").exists()


def test_no_pictures_for_the_montage_is_a_sentence_and_the_rest_is_done(session, capsys):
    for picture in session.rglob("*.jpg"):
        picture.unlink()
    assert main(["exposures", "duplicates", str(session), "--montage"]) == 0
    assert "must hold pictures for a montage" in capsys.readouterr().err
    assert Path("duplicates_badfiles_tiff.txt").exists()
    assert not Path("duplicates.png").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--k", "24", "--clusters", "5"], "one of k, matrix and clusters must be given at most"),
        (["--matrix", "1,2,3"], "must be 4 values separated by commas"),
        (["--matrix", "1,2,2,4"], "matrix must be"),
        (["--rad", "0"], "radius_um must be"),
        (["--rad", "nan"], "radius_um must be"),
        (["--spacing", "-1"], "hole_spacing_um must be"),
        (["--keep", "some"], "keep"),
        (["--rawdata", "nowhere"], "rawdata must be"),
        (["--star", "nowhere.star"], "nowhere.star"),
        (["--watch", "--idle-min", "0"], "idle_min must be"),
        (["--watch", "--interval-s", "0"], "interval_s must be"),
    ],
)
def test_wrong_use_is_a_sentence_and_2(options, words, session, capsys):
    assert main(["exposures", "duplicates", str(session), *options]) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert "Traceback" not in said.err


def test_a_star_file_that_cannot_be_used_is_said_before_anything_is_written(session, capsys):
    assert main(["exposures", "duplicates", str(session), "--star", "missing.star", "--o", "out/of"]) == 2
    assert "missing.star" in capsys.readouterr().err
    assert not Path("out").exists()


def test_the_first_step_tells_when_the_lattice_is_not_certain(session, capsys, monkeypatch):
    doubtful = replace(calibrate_beam_shift(read_epu_session(session)), warning="Not certain at all.", margin=1.0)
    monkeypatch.setattr(find_dupl_command, "calibrate_beam_shift", lambda *_, **__: doubtful)
    assert find_dupl(["--epudata", str(session), "--clusters", "5"]) == 0
    assert "Not certain at all." in capsys.readouterr().err


@pytest.mark.parametrize("act", ["calibrate", "duplicates", "groups", "watch", "report"])
def test_no_session_is_a_sentence_and_2(act, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["exposures", act, "nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_clusters_without_a_spacing_are_refused(session, capsys):
    for path in session.rglob("EpuSession.dm"):
        path.unlink()
    assert main(["exposures", "duplicates", str(session), "--clusters", "5"]) == 2
    assert "hole_spacing_um must be given" in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------------- watch, report


def test_watch_tells_of_a_duplicate_that_arrives(session, drawn, capsys):
    late = drawn.bad(0.4)[-1]
    (path,) = session.rglob(f"{late}.xml")
    away = session.parent / "late.xml"
    path.rename(away)
    half = away.read_bytes()[:500]

    def arrive():
        for _ in range(600):
            if Path("duplicates_badfiles_tiff.txt").exists():  # of the first look
                break
            time.sleep(0.05)
        time.sleep(0.5)
        path.write_bytes(half)
        time.sleep(1.0)
        away.replace(path)

    arrival = threading.Thread(target=arrive)
    arrival.start()
    try:
        line = ["exposures", "watch", str(session), "--rad", "0.4", "--interval-s", "0.2", "--idle-min", "0.07"]
        assert main([*line, "--json"]) == 0
    finally:
        arrival.join()
    said = capsys.readouterr()
    assert said.err.count(f"new: {late},") == 1
    assert json.loads(said.out)["bad"] == len(drawn.bad(0.4))
    assert f"{late}_fractions.tiff" in lines_in("duplicates_badfiles_tiff.txt")


def test_report_is_one_file(session, capsys):
    assert main(["exposures", "report", str(session), "--output", "out/report.html", "--json"]) == 0
    text = Path("out/report.html").read_text(encoding="utf-8")
    assert "</html>" in text
    assert told(capsys)["bad"] > 0
    assert [path.name for path in Path("out").iterdir()] == ["report.html"]
