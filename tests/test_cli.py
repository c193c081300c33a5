"""The command line: the same numbers as the functions, words instead of tracebacks, and exit codes for cron."""

from __future__ import annotations

import inspect
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from functools import wraps
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cyclopts import Parameter
from matplotlib.image import imread

import analysis
from analysis.flatfield import (
    apply_model,
    check_model,
    compare_mean_images,
    create_model,
    find_slides,
    make_mean_image,
    read_model,
    read_model_table,
    register_model,
    suggest_groups,
)
from analysis.images import read_image, write_image
from analysis.synthetic.exposures import EXAMPLE_SESSION, draw_exposures
from analysis.synthetic.flatfield import draw_fields
from analysis.tables import read_table
from analysis.tasks import Cancelled
from dashboards.support import (
    circles_demo,
    demo,
    exposures_demo,
    flatfield_command,
    flatfield_demo,
    serving,
    texture_demo,
)
from dashboards.support.acts import aligned
from dashboards.support.command import app, main

BESIDE_PYTHON = Path(sys.executable).parent
SEEDS_OPTIONS = (
    "--sampleregex", "--workingdir", "--sort-by", "--plot", "--lines-after", "--bounds", "--store-as",
    "--skip-creation", "--flatw", "--min-images-stacked",
)  # fmt: skip


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def flatfield(cohort, here):
    """Run ``graticule flatfield ACT ROOT ROOT OPTIONS`` in a folder of its own."""

    def run_act(act, *options):
        return main(["flatfield", act, *map(str, cohort.roots), *options])

    return run_act


def lines_of(text):
    return [line for line in text.splitlines() if line]


# ------------------------------------------------------------------------------------ one function, one command


def test_table_is_that_of_the_function(flatfield, cohort, here):
    assert flatfield("compare", "--plot", "none") == 0
    path = here / "meanimagecomparison" / "meanimagecomparison_table.csv"
    numbers = ["delta_over_sigma_std_dev"]
    written = read_table(path, columns=numbers, integers=["layer_n"], numbers=numbers)
    expected = compare_mean_images(cohort.roots).table
    assert list(written) == list(expected)
    by = ["slide_ID_1", "slide_ID_2", "layer_n"]
    written, expected = (table.astype({"root_dir_1": str}).sort_values(by) for table in (written, expected))
    for name in expected:
        assert list(written[name]) == list(expected[name])  # to the last bit


def test_json_is_the_summary(flatfield, cohort, capsys):
    assert flatfield("compare", "--json", "--plot", "none") == 0
    assert json.loads(capsys.readouterr().out) == compare_mean_images(cohort.roots).summary()


COMMANDS = {
    "compare": (compare_mean_images, create_model),
    "groups": (compare_mean_images, suggest_groups),
    "register": (register_model,),
    "model": (create_model,),
    "apply": (apply_model,),
    "test": (check_model,),
    "meanimage": (make_mean_image,),
    "report": (compare_mean_images, suggest_groups),
}
# What a command says differently: results have a folder, and the functions' tables and folders have no default.
OTHER_DEFAULTS = {"working_dir", "model_table", "out_dir"}


@pytest.mark.parametrize("name", COMMANDS)
def test_options_have_the_defaults_of_the_functions(name):
    options = inspect.signature(getattr(flatfield_command, name)).parameters
    for function in COMMANDS[name]:
        for argument in inspect.signature(function).parameters.values():
            if argument.kind is argument.KEYWORD_ONLY and argument.name in options:
                if argument.name not in OTHER_DEFAULTS:
                    assert options[argument.name].default == argument.default, argument.name
            elif argument.kind is argument.KEYWORD_ONLY:
                assert argument.name in {"executor", "progress", "cancel", "compute", "roots"}, argument.name


@pytest.mark.parametrize("name", [*COMMANDS, "serve", "demo"])
def test_every_option_is_explained(name):
    function = {"serve": serving.serve_command, "demo": demo.demo}.get(name) or getattr(flatfield_command, name)
    for option in inspect.signature(function).parameters.values():
        words = [part.help for part in option.annotation.__metadata__ if isinstance(part, Parameter) and part.help]
        assert words, option.name
        assert "`" not in words[0]


def test_help_names_every_act(capsys):
    assert main(["flatfield", "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(re.search(rf"\b{name}\b", shown) for name in COMMANDS)


@pytest.mark.parametrize("act", ["compare", "meanimagecomparison"])
def test_help_of_compare_names_the_options_of_astropath(act, capsys):
    assert main(["flatfield", act, "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(option in shown for option in SEEDS_OPTIONS)
    assert "0.85,1.15" in shown.replace("\n", " ")
    assert "Slides whose ID it matches from the start" in shown


def test_info_says_where_it_was_found(capsys):
    assert main(["info", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["graticule"] == analysis.__version__
    assert Path(told["analysis"]) == Path(analysis.__file__).parent


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == analysis.__version__


# -------------------------------------------------------------------------------------- names of AstroPath


def test_second_name_takes_the_line_of_astropath(cohort, tmp_path):
    line = [BESIDE_PYTHON / "meanimagecomparison", *cohort.roots, "--sampleregex", "M1", "--bounds", "0.9,1.1"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    folder = tmp_path / "meanimagecomparison"
    assert {path.name for path in folder.iterdir() if path.is_file()} >= {
        "meanimagecomparison_table.csv",
        "meanimage_comparison_average_over_all_layers.png",
        "meanimage_comparison.log",
    }
    log = (folder / "meanimage_comparison.log").read_text(encoding="utf-8")
    assert "--sampleregex M1" in log
    assert "slides 3" in log
    rows, columns, _ = imread(folder / "meanimage_comparison_average_over_all_layers.png").shape
    assert rows == columns


PICTURES = {
    "average": ["average_over_all_layers"],
    "brightest": [f"layer_{layer}" for layer in (5, 11, 21, 29, 34)],
    "filter-groups": [f"average_over_filter_group_{i}_layers" for i in (1, 2, 3, 4, 5)],
    "all": [f"layer_{layer}" for layer in range(1, 36)],
    "none": [],
}


@pytest.mark.parametrize("plot", PICTURES)
def test_pictures_have_the_names_of_astropath(plot, flatfield, here, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        flatfield_command, "save_matrix", lambda values, names, path, **look: drawn.update({path.name: values}) or path
    )
    assert flatfield("compare", "--plot", plot, "--sampleregex", "M1") == 0
    assert list(drawn) == [f"meanimage_comparison_{name}.png" for name in PICTURES[plot]]


def test_a_picture_shows_its_layers_in_the_order_of_the_slides(cohort, here, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        flatfield_command,
        "save_matrix",
        lambda values, names, path, **look: drawn.update({path.name: (values, names, look)}) or path,
    )
    backwards = [str(root) for root in reversed(cohort.roots)]
    assert main(["flatfield", "compare", *backwards, "--plot", "brightest", "--lines-after", "M1_1,M2_2"]) == 0
    comparison = compare_mean_images(cohort.roots)
    values, names, look = drawn["meanimage_comparison_layer_11.png"]
    assert names == list(cohort.slide_ids)
    np.testing.assert_array_equal(values, comparison.values[..., 10])
    assert look["lines"] == (1, 5)


def test_store_as_registers_and_creates(flatfield, here):
    assert flatfield("compare", "--sampleregex", "M1", "--store-as", "v1", "--plot", "none") == 0
    folder = here / "meanimagecomparison"
    table = read_model_table(folder / "AstroPathFlatfieldModels.csv")
    assert list(table["SlideID"]) == ["M1_1", "M1_2", "M1_3"]
    assert read_model(folder / "flatfield" / "flatfield_v1.bin").flatfield.shape == (24, 34, 35)
    names = {path.name for path in (folder / "flatfield" / "flatfield_v1").iterdir()}
    assert names >= {"flatfield_v1_uncertainty.bin", "fields_used.csv", "flatfield_v1.png", "flatfield_v1_layers.csv"}


def test_skip_creation_only_registers(flatfield, here):
    options = ["--sampleregex", "M1", "--store-as", "v1", "--skip-creation", "--plot", "none"]
    assert flatfield("compare", *options, "--flatfield-model-file", "models.csv") == 0
    assert len(read_model_table(here / "models.csv")) == 3
    assert not (here / "meanimagecomparison" / "flatfield").exists()


def test_a_version_that_exists_is_refused_and_can_be_replaced(flatfield, here, capsys):
    options = ["--sampleregex", "M1", "--store-as", "v1", "--plot", "none"]
    assert flatfield("compare", *options) == 0
    model = here / "meanimagecomparison" / "flatfield" / "flatfield_v1.bin"
    before = model.stat().st_mtime_ns
    capsys.readouterr()
    assert flatfield("compare", *options) == 2
    assert "must not exist yet" in capsys.readouterr().err
    assert model.stat().st_mtime_ns == before
    assert flatfield("compare", *options, "--replace") == 0
    assert model.stat().st_mtime_ns != before


def test_flatw_takes_the_other_mean_images(flatfield, capsys):
    assert flatfield("compare", "--flatw") == 1
    assert "meanimage_from_fw_files" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------- settings


def test_settings_fill_in_and_what_is_typed_wins(cohort, here, capsys):
    roots = json.dumps([str(root) for root in cohort.roots])
    text = f'roots = {roots}\nsample_regex = "M1"\nbounds = [0.9, 1.1]\nsort-by = "order"\nplot = "none"\n'
    (here / "run.toml").write_text(text, encoding="utf-8")
    assert main(["flatfield", "compare", "--settings", "run.toml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["slides"] == 3
    assert main(["flatfield", "compare", "--settings", "run.toml", "--json", "--sampleregex", "M2"]) == 0
    assert json.loads(capsys.readouterr().out)["slides"] == 3 - 1 + 1
    assert main(["flatfield", "compare", "--settings", "run.toml", "--json", "--sampleregex", "M._1"]) == 0
    assert json.loads(capsys.readouterr().out)["slides"] == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nonsense = 3\n", "nonsense not among"),
        ('sample_regex = "M1"\nsampelregex = "M2"\n', "sampelregex not among"),
        ("sample_regex = \n", "must be TOML"),
        ("memory_gb = 'much'\n", "memory-gb"),
        ('plot = "some"\n', "plot"),
        ('settings = "run.toml"\n', "settings not among"),
        ("bounds = [1.1, 0.9]\n", "bounds must be"),
    ],
)
def test_wrong_settings_are_refused_in_a_sentence(text, words, flatfield, here, capsys):
    (here / "run.toml").write_text(text, encoding="utf-8")
    assert flatfield("compare", "--settings", "run.toml") == 2
    said = capsys.readouterr()
    assert words in said.err
    assert len(lines_of(said.err)) == 1
    assert said.out == ""


def test_a_settings_file_that_is_missing_is_named(flatfield, capsys):
    assert flatfield("compare", "--settings", "none.toml") == 2
    assert "none.toml" in capsys.readouterr().err


# ----------------------------------------------------------------------------------------------- exit codes


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--sampleregex", "M1("], "must be a regular expression"),
        (["--sampleregex", "M" * 300], "at most 200 characters"),
        (["--sampleregex", "ZZ"], "must take at least one slide; got 'ZZ'"),
        (["--bounds", "1.15,0.85"], "bounds must be two rising numbers; got 1.15, 0.85"),
        (["--bounds", "0.9"], "must be 2 values separated by commas; got '0.9'"),
        (["--bounds", "a,b"], "must be numbers separated by commas; got 'a,b'"),
        (["--lines-after", "M1_1,M9"], "M9 not among them"),
        (["--plot", "some"], "average"),
        (["--sort-by", "size"], "project-cohort-batch"),
        (["--memory-gb", "0"], "memory_gb must be at least"),
        (["--workers", "0"], "workers must be at least 1"),
        (["--min-images-stacked", "-1"], "must not be negative"),
        (["--store-as", "../v1"], "version must have"),
        (["--sampelregex", "M1"], "--sampelregex"),
        (["--workingdir", "/dev/null/x"], "/dev/null"),
    ],
)
def test_wrong_use_is_a_sentence_and_2(options, words, flatfield, capsys):
    assert flatfield("compare", *options) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert len(lines_of(said.err)) == 1
    assert "Traceback" not in said.err
    assert said.out == ""


def test_no_roots_is_wrong_use(here, capsys):
    assert main(["flatfield", "compare"]) == 2
    assert "roots" in capsys.readouterr().err.lower()
    assert not list(here.iterdir())


def test_a_failed_slide_is_a_line_and_1(roots, here, capsys):
    spoiled = roots[0] / "M1_2" / "im3" / "meanimage" / "M1_2-mean_image.bin"
    spoiled.write_bytes(spoiled.read_bytes()[:-8])
    assert main(["flatfield", "compare", *map(str, roots), "nowhere", "--json"]) == 1
    said = capsys.readouterr()
    assert json.loads(said.out)["slides"] == 5
    assert json.loads(said.out)["problems"] == 2
    first, second = sorted(lines_of(said.err), key=lambda line: "nowhere" in line)
    assert str(spoiled) in first
    assert "truncated" in first
    assert f"found {spoiled.stat().st_size} bytes" in first
    assert "nowhere" in second
    log = (here / "meanimagecomparison" / "meanimage_comparison.log").read_text(encoding="utf-8")
    assert "truncated" in log


def test_a_bug_keeps_its_traceback(flatfield, monkeypatch):
    @wraps(compare_mean_images)
    def broken(*args, **kwargs):
        raise TypeError("a bug")

    monkeypatch.setattr(flatfield_command, "compare_mean_images", broken)
    with pytest.raises(TypeError, match="a bug"):
        flatfield("compare")


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_asks_the_work_to_stop_and_is_130(flatfield, monkeypatch, capsys, sign):
    before = signal.getsignal(sign)

    @wraps(compare_mean_images)
    def interrupted(*args, cancel=None, compute=True, **kwargs):
        if not compute:
            return compare_mean_images(*args, compute=False, **kwargs)
        os.kill(os.getpid(), sign)
        assert cancel.is_set()
        raise Cancelled("Stopped after 1 of 3.")

    monkeypatch.setattr(flatfield_command, "compare_mean_images", interrupted)
    assert flatfield("compare") == 130
    said = capsys.readouterr().err
    assert "what is finished is kept" in said
    assert "Stopped after 1 of 3." in said
    assert signal.getsignal(sign) is before


def test_a_reader_that_has_seen_enough_is_no_error():
    line = f"{shlex.quote(str(BESIDE_PYTHON / 'graticule'))} info | true; exit ${{PIPESTATUS[0]}}"
    said = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60)
    assert said.returncode == 0
    assert said.stderr == ""


def test_a_second_ctrl_c_stops_at_once(flatfield, monkeypatch):
    @wraps(compare_mean_images)
    def deaf(*args, compute=True, **kwargs):
        if not compute:
            return compare_mean_images(*args, compute=False, **{k: v for k, v in kwargs.items() if k != "cancel"})
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("still running")

    monkeypatch.setattr(flatfield_command, "compare_mean_images", deaf)
    assert flatfield("compare") == 130


def test_ctrl_c_keeps_what_was_compared(cohort, tmp_path):
    """The process is interrupted for real; the next run ends what was begun."""
    code = (
        "import os, signal, sys, threading\n"
        "from dashboards.support import flatfield_command as c\n"
        "from dashboards.support.command import main\n"
        "c.save_matrix = lambda *a, **k: os.kill(os.getpid(), signal.SIGINT) or a[2]\n"
        "sys.exit(main())\n"
    )
    line = ["flatfield", "compare", *map(str, cohort.roots), "--plot", "brightest"]
    stopped = subprocess.run(
        [sys.executable, "-c", code, *line], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert stopped.returncode == 130, stopped.stderr
    assert "Traceback" not in stopped.stderr
    again = subprocess.run(
        [BESIDE_PYTHON / "graticule", *line, "--json"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert again.returncode == 0
    assert json.loads(again.stdout)["new_pairs"] == 0


# ------------------------------------------------------------------------------------------------- progress


def test_progress_is_told_on_stderr_when_asked_for(flatfield, capsys):
    assert flatfield("compare", "--plot", "none") == 0
    assert capsys.readouterr().err == ""
    assert flatfield("compare", "--progress", "--workingdir", "again", "--json") == 0
    said = capsys.readouterr()
    assert "comparing 15 pairs: 100%" in said.err
    json.loads(said.out)


def test_long_logs_start_anew(here):
    log = here / "some.log"
    log.write_text("x" * 1_000_000, encoding="utf-8")
    with flatfield_command.log_to(log):
        pass
    assert log.stat().st_size < 10_000
    assert (here / "some.log.1").stat().st_size == 1_000_000


# ------------------------------------------------------------------------------------------ the other acts


def test_groups_are_the_true_ones(flatfield, cohort, here, capsys):
    assert flatfield("groups", "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary == suggest_groups(compare_mean_images(cohort.roots)).summary()
    assert summary["sizes"] == [3, 2]
    written = pd.read_csv(here / "meanimagecomparison" / "meanimage_comparison_groups.csv")
    assert sorted(written["members"][0].split(", ")) == ["M1_1", "M1_2", "M1_3"]


def test_register_model_apply_and_test(flatfield, cohort, here, capsys):
    assert flatfield("register", "--slides", "M1_1") == 2  # a root is no version
    roots = [str(root) for root in cohort.roots]
    assert main(["flatfield", "register", "v1", *roots, "--slides", "M1_1,M1_3"]) == 0
    assert main(["flatfield", "model", "v1", *roots, "--smoothing", "edge-aware"]) == 0
    model = read_model(here / "meanimagecomparison" / "flatfield" / "flatfield_v1.bin")
    assert model.settings["smoothing"] == "edge-aware"

    (here / "images").mkdir()
    image = np.full((24, 34, 35), 1000, dtype=np.uint16)
    write_image(here / "images" / "field.tif", image)
    (here / "images" / "broken.tif").write_bytes(b"nothing")
    capsys.readouterr()
    line = ["flatfield", "apply", str(model_file(here)), "images", "--outdir", "corrected", "--json"]
    assert main(line) == 1
    said = capsys.readouterr()
    assert "broken.tif" in said.err
    assert json.loads(said.out)["corrected"] == 1
    corrected = read_image(here / "corrected" / "field.tif").pixels
    np.testing.assert_array_equal(corrected, np.rint(1000 / model.flatfield).astype(np.uint16))

    assert main(["flatfield", "test", *roots, "--sampleregex", "M1", "--smoothing", "edge-aware", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    slides = find_slides(cohort.roots).select("M1")
    assert told == json.loads(json.dumps(check_model(slides, smoothing="edge-aware").summary()))
    assert len(pd.read_csv(here / "meanimagecomparison" / "flatfield_test.csv")) == 35


def model_file(folder):
    return folder / "meanimagecomparison" / "flatfield" / "flatfield_v1.bin"


def test_register_refuses_a_slide_that_is_not_there(cohort, here, capsys):
    assert main(["flatfield", "register", "v1", str(cohort.roots[0]), "--slides", "M1_1,M7"]) == 2
    assert "M7 not among them" in capsys.readouterr().err
    assert not list(here.iterdir())


def test_mean_image_of_fields_can_be_compared(here, capsys):
    for number in (1, 2):
        draw_fields(here / f"fields{number}", seed=number, shape=(40, 52, 3), fields=12)
        line = ["flatfield", "meanimage", f"fields{number}", "--slide-id", f"S{number}", "--root-dir", "lab"]
        assert main([*line, "--filter-names", "DAPI,DAPI,FITC", "--background-threshold", "500"]) == 0
    assert main(["flatfield", "compare", "lab", "--plot", "filter-groups", "--json"]) == 0
    assert json.loads(lines_of(capsys.readouterr().out)[-1])["pairs"] == 1
    assert (here / "meanimagecomparison" / "meanimage_comparison_average_over_filter_group_2_layers.png").exists()


def test_report_is_written(flatfield, here):
    assert flatfield("report", "--output", "report.html", "--bounds", "0.9,1.1") == 0
    assert "M1_1" in (here / "report.html").read_text(encoding="utf-8")


def test_tables_on_a_terminal_stand_in_columns():
    table = pd.DataFrame({"who_is": ["a", "long name"], "value": [1.23456, 22.0]})
    assert lines_of(aligned(table)) == ["who is     value", "a          1.235", "long name     22"]


# ----------------------------------------------------------------------------------------------------- demo


@pytest.fixture
def small_demo(monkeypatch):
    small = {**flatfield_demo.EXAMPLE_COHORT, "shape": (48, 66, 35), "sizes": (3, 2)}
    monkeypatch.setattr(flatfield_demo, "EXAMPLE_COHORT", small)
    monkeypatch.setattr(exposures_demo, "EXAMPLE_SESSION", {**exposures_demo.EXAMPLE_SESSION, "image_px": 48})
    few = {**circles_demo.EXAMPLE_ACQUISITIONS, "dates": ("20180401", "20180402"), "fields": 1, "drift": {}}
    monkeypatch.setattr(circles_demo, "EXAMPLE_ACQUISITIONS", few)
    monkeypatch.setattr(texture_demo, "EXAMPLE_TILE_SET", {**texture_demo.EXAMPLE_TILE_SET, "tiles": (1, 2)})


def test_demo_finds_its_truth_and_can_be_run_again(small_demo, here, capsys):
    for _ in range(2):
        assert main(["demo", "--no-serve", "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        summary = told["flatfield"]
        assert summary["comparison"]["pairs"] == 15
        assert summary["groups"]["sizes"] == [3, 2]
        assert summary["groups"]["outliers"] == ["M2_3"]
        assert summary["test"]["spread_after_percent"] < summary["test"]["spread_before_percent"] / 4
        assert told["exposures"]["calibration"]["k_um_per_unit"] == pytest.approx(24.33, rel=0.005)
        assert told["exposures"]["duplicates"]["bad"] == bad_of_the_example()
        assert told["tiles"]["merged"]["problems"] == 0
        assert told["circles"]["images"] == 8
        assert told["texture"]["corrected_agree_with_truth"] > 0.8
        for folder in ("results", "data"):
            (here / "demo" / "flatfield" / folder / "mine.txt").write_text("keep me", encoding="utf-8")
    assert summary["comparison"]["new_pairs"] == 0
    for folder in ("results", "data"):
        assert (here / "demo" / "flatfield" / folder / "mine.txt").read_text(encoding="utf-8") == "keep me"
    table = read_model_table(here / "demo" / "flatfield" / "results" / "AstroPathFlatfieldModels.csv")
    assert list(table["version"]) == ["demo-1"] * 3


def bad_of_the_example():
    drawn = draw_exposures(**{name: value for name, value in EXAMPLE_SESSION.items() if name != "image_px"})
    return len(drawn.bad(0.4275))


def test_demo_says_what_it_made_and_where(small_demo, here, capsys):
    assert main(["demo", "--no-serve", "--dir", "show me"]) == 0
    said = capsys.readouterr().out
    for line in lines_of(said):
        if "show me" in line:
            assert (here / ("show me" + line.partition("show me")[2])).exists(), line
    assert "flatfield_report.html" in said


def test_demo_leaves_other_data_alone(here, capsys):
    (here / "demo" / "flatfield" / "data").mkdir(parents=True)
    (here / "demo" / "flatfield" / "data" / "thesis.csv").write_text("years of work", encoding="utf-8")
    assert main(["demo", "--no-serve"]) == 2
    assert "must be empty or from an earlier demo" in capsys.readouterr().err
    assert [path.name for path in (here / "demo").rglob("*")] == ["flatfield", "data", "thesis.csv"]


# -------------------------------------------------------------------------------------------------- serving


def test_a_port_in_use_is_a_sentence(capsys):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 2
    assert f"{port} is in use" in capsys.readouterr().err


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_serve_shows_the_front_page_and_stops_when_told(sign, cohort, tmp_path):
    roots = [str(root) for root in cohort.roots]
    line = [BESIDE_PYTHON / "graticule", "serve", "--port", "0", "--roots", *roots, "--workingdir", "work"]
    with subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            place = re.search(r"http://127\.0\.0\.1:\d+/", process.stdout.readline()).group()
            pages = {name: urllib.request.urlopen(place + name, timeout=30).read() for name in ("", *pages_served())}
            for page in pages.values():
                assert b"<html" in page
            assert cannot_connect_from_elsewhere(place)
            began = time.monotonic()
        finally:
            process.send_signal(sign)
            said, complained = process.communicate(timeout=30)
    assert process.returncode == 0, complained
    assert "Stopped." in said
    assert "Traceback" not in complained
    assert time.monotonic() - began < 30


def pages_served():
    return [path.strip("/") for path in serving.instrument_files() if path != "/"]


def cannot_connect_from_elsewhere(place):
    """A page of another site must not open the data connection."""
    host, port = re.search(r"//(.*):(\d+)/", place).groups()
    wishes = (
        "GET /home/ws HTTP/1.1",
        f"Host: {host}:{port}",
        "Origin: http://example.org",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Protocol: bokeh, token",
    )
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(("\r\n".join(wishes) + "\r\n\r\n").encode())
        return b" 403 " in connection.recv(200)


def test_folders_reach_the_pages_through_the_environment(monkeypatch, tmp_path):
    for name in serving.OPENED.values():
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(serving, "_serve", lambda *args: _nothing())
    monkeypatch.chdir(tmp_path)
    line = ["serve", "--roots", "a", "b", "--workingdir", "work", "--images", "cells", "--acquisitions", "nights",
            "--circles", "found", "--epudata", "session", "--texture", "tiles", "--port", "0"]  # fmt: skip
    assert main(line) == 0
    assert os.environ["GRATICULE_ROOTS"].split(os.pathsep) == [str(tmp_path / "a"), str(tmp_path / "b")]
    assert os.environ["GRATICULE_WORKING_DIR"] == str(tmp_path / "work")
    assert os.environ["GRATICULE_IMAGES"] == str(tmp_path / "cells")
    assert os.environ["GRATICULE_ACQUISITIONS"] == str(tmp_path / "nights")
    assert os.environ["GRATICULE_CIRCLES"] == str(tmp_path / "found")
    assert os.environ["GRATICULE_EPU"] == str(tmp_path / "session")
    assert os.environ["GRATICULE_TEXTURE"] == str(tmp_path / "tiles")


async def _nothing():
    return None


def test_the_line_that_is_logged_can_be_typed_again():
    from dashboards.support.acts import typed_line

    assert shlex.split(typed_line())[1:] == sys.argv[1:]


def test_the_parser_prints_nothing_by_itself(capsys):
    # what is wrong is said once, by `main`
    assert main(["flatfield", "compar"]) == 2
    assert len(lines_of(capsys.readouterr().err)) == 1
    assert app.print_error is False


def command_lines():
    """Every command with the first line of its help, as the README lists them."""
    lines = []
    for name in ("demo", "serve", "report", "password", "info"):
        lines.append(f"| `graticule {name}` | {app[name].help} |")
    for name in ("compare", "groups", "register", "model", "test", "apply", "meanimage", "report"):
        lines.append(f"| `graticule flatfield {name}` | {app['flatfield'][name].help} |")
    for name in ("info", "export", "merge", "remove", "report"):
        lines.append(f"| `graticule tiles {name}` | {app['tiles'][name].help} |")
    for name in ("generate", "run", "status", "aggregate", "report"):
        lines.append(f"| `graticule circles {name}` | {app['circles'][name].help} |")
    for name in ("calibrate", "duplicates", "watch", "groups", "report", "find_dupl"):
        lines.append(f"| `graticule exposures {name}` | {app['exposures'][name].help} |")
    for name in ("statistics", "cluster", "search", "export", "report"):
        lines.append(f"| `graticule texture {name}` | {app['texture'][name].help} |")
    return lines


def test_readme_lists_the_commands_as_their_help_does():
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    listed = readme.partition("<!-- commands -->")[2].partition("<!-- /commands -->")[0]
    expected = "\n".join(["| command | what it does |", "|---|---|", *command_lines()])
    assert listed.strip() == expected
