"""The circles commands: the numbers of the functions, words instead of tracebacks, and exit codes for cron."""

from __future__ import annotations

import inspect
import json
import os
import re
import shlex
import shutil

import numpy as np
import pandas as pd
import pytest
from cyclopts import Parameter
from PIL import Image as PillowImage

from analysis.circles import aggregate_circles, plan_run, read_experiments, run_pipeline
from analysis.synthetic.circles import draw_acquisitions
from dashboards.support import circles_command, circles_demo
from dashboards.support.acts import Bar, Run
from dashboards.support.command import main

SMALL = ["--shape", "200,240", "--dates", "2", "--experiments", "1", "--fields", "1"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def drawn(here):
    """Four images of two dates and two subjects, drawn by the command."""
    assert main(["circles", "generate", "data", *SMALL]) == 0
    return here / "data"


@pytest.fixture
def circles(drawn):
    """Run ``graticule circles ACT data/acquisitions --output data OPTIONS``."""

    def run_act(act, *options):
        return main(["circles", act, "data/acquisitions", "--output", "data", *options])

    return run_act


COMMANDS = {
    "generate": (draw_acquisitions,), "run": (run_pipeline,), "status": (plan_run,),
    "aggregate": (aggregate_circles,), "report": (),
}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_options_are_explained_and_have_the_defaults_of_the_functions(name):
    options = inspect.signature(getattr(circles_command, name)).parameters
    for option in options.values():
        words = [part.help for part in option.annotation.__metadata__ if isinstance(part, Parameter) and part.help]
        assert words, option.name
        assert "`" not in words[0]
    for function in COMMANDS[name]:
        for argument in inspect.signature(function).parameters.values():
            if argument.kind is argument.KEYWORD_ONLY and argument.name in options and name != "generate":
                assert options[argument.name].default == argument.default, argument.name
            elif argument.kind is argument.KEYWORD_ONLY and name != "generate":
                assert argument.name in {"progress", "cancel", "executor"}, argument.name


def test_help_names_every_act(capsys):
    assert main(["circles", "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(re.search(rf"\b{name}\b", shown) for name in COMMANDS)


def test_generated_acquisitions_are_those_of_the_function(drawn, tmp_path):
    names = ["20180401", "20180402"]
    draw_acquisitions(tmp_path / "same", dates=names, experiments=["e1"], fields=1, shape=(200, 240))
    ours, same = (sorted((folder / "acquisitions").rglob("*.png")) for folder in (drawn, tmp_path / "same"))
    assert [path.relative_to(drawn) for path in ours] == [path.relative_to(tmp_path / "same") for path in same]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(ours, same, strict=True))
    assert len(pd.read_csv(drawn / "truth.csv")) > 0


def test_generate_leaves_other_acquisitions_alone(here, capsys):
    (here / "data/acquisitions/20180401").mkdir(parents=True)
    assert main(["circles", "generate", "data", *SMALL]) == 2
    assert "holds other files" in capsys.readouterr().err
    assert list((here / "data").rglob("*.png")) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--dates", "0"], "dates must be at least 1"),
        (["--subjects", "s9"], "subjects must be among s1, s2; got s9"),
        (["--level", "hard"], "level"),
        (["--shape", "5"], "must be 2 values"),
    ],
)
def test_wrong_drawings_are_refused(here, capsys, options, words):
    assert main(["circles", "generate", "data", *options]) == 2
    assert words in capsys.readouterr().err
    assert not (here / "data").exists()


def test_run_writes_what_the_function_writes(circles, drawn, tmp_path, capsys):
    assert circles("run", "--strictness", "0.35") == 0
    said = capsys.readouterr()
    run = run_pipeline(drawn / "acquisitions", tmp_path / "other", strictness=0.35)
    assert (drawn / "experiments.csv").read_bytes() == (tmp_path / "other/experiments.csv").read_bytes()
    first = said.out.splitlines()[0]
    assert re.fullmatch(
        rf"circles: 4 new, 0 changed, 0 unchanged, 0 failed, 0 vanished; {run.circles} circles in 4 images; [\d.e+]+ s",
        first,
    )
    assert said.out.splitlines()[1:] == ["wrote data/experiments.csv", "wrote data/failures.csv"]
    assert said.err == ""
    circles("run")
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_json_is_the_summary_and_output_may_stand_alone(drawn, capsys):
    capsys.readouterr()
    assert main(["circles", "run", "data/acquisitions", "data", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["new"] == 4
    assert told["sentence"].startswith("circles: 4 new, ")
    assert main(["circles", "run", "data/acquisitions", "data", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unchanged"] == 4


def test_the_output_folder_must_be_named(drawn, capsys):
    assert main(["circles", "run", "data/acquisitions"]) == 2
    assert "output" in capsys.readouterr().err.lower()


@pytest.mark.parametrize("act", ["status", "run"])
def test_status_and_dry_run_change_nothing_and_say_why(circles, drawn, capsys, act):
    dry = ["--dry-run"] if act == "run" else []
    circles("run")
    image = sorted((drawn / "acquisitions").rglob("*.png"))[0]
    PillowImage.fromarray(np.zeros((50, 60), np.uint8)).save(image)
    shutil.rmtree(drawn / "acquisitions/20180402/s2")
    before = {path: path.stat().st_mtime_ns for path in drawn.rglob("*")}
    capsys.readouterr()
    assert circles(act, *dry) == 0
    said = capsys.readouterr().out
    assert "to do: 1" in said
    assert re.search(r"changed +size or time of the file changed +1 +20180401/s1/e1/fov00.png", said)
    assert re.search(r"vanished +its file is gone +1 ", said)
    assert circles(act, *dry, "--strictness", "0.5", "--json") == 0
    assert json.loads(capsys.readouterr().out)["settings"] == 3
    assert {path: path.stat().st_mtime_ns for path in drawn.rglob("*")} == before


def test_failures_end_with_one_and_are_said_every_night(circles, drawn, capsys):
    (drawn / "acquisitions/20180401/s1/e1/bad.png").write_text("nothing")
    for _ in range(2):
        capsys.readouterr()
        assert circles("run") == 1
        said = capsys.readouterr()
        assert "1 failed" in said.out.splitlines()[0]
        assert "bad.png" in said.err
        assert "Traceback" not in said.err
    assert main(["circles", "aggregate", "data"]) == 1
    assert "read: " in capsys.readouterr().err
    (drawn / "acquisitions/20180401/s1/e1/bad.png").unlink()
    assert circles("run") == 0


def test_misplaced_images_end_with_one(circles, drawn, capsys):
    shutil.copy(next((drawn / "acquisitions").rglob("*.png")), drawn / "acquisitions/lost.png")
    for act in ("run", "status"):
        assert circles(act) == 1
        assert "lies too high" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--strictness", "3"], "strictness"),
        (["--radius-px", "80,8"], "radius"),
        (["--radius-px", "8"], "must be 2 values"),
        (["--shard", "4/4"], "shard must be a number from 0"),
        (["--shard", "4"], "such as 0/4"),
        (["--levels", "Date,Date,Date"], "levels must differ"),
        (["--qc", "gif"], "gif"),
        (["--workers", "0"], "workers must be at least 1"),
        (["--output", "data/acquisitions/out"], "output must lie outside of the acquisitions"),
    ],
)
def test_wrong_use_is_a_sentence_and_two(drawn, capsys, options, words):
    before = sorted(drawn.rglob("*"))
    options = options if "--output" in options else [*options, "--output", "data"]
    assert main(["circles", "run", "data/acquisitions", *options]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said
    assert sorted(drawn.rglob("*")) == before


def test_acquisitions_that_are_not_there_are_two(here, capsys):
    assert main(["circles", "run", "nowhere", "--output", "data"]) == 2
    assert "Is its disk there?" in capsys.readouterr().err
    assert list(here.iterdir()) == []
    assert main(["circles", "aggregate", "nowhere"]) == 2
    assert "Run the pipeline first" in capsys.readouterr().err


def test_parts_and_their_aggregation_are_the_whole(circles, drawn, tmp_path, capsys):
    for index in range(2):
        assert circles("run", "--shard", f"{index}/2") == 0
        said = capsys.readouterr()
        assert f"This was part {index} of 2" in said.err
        assert not (drawn / "experiments.csv").exists()
    assert main(["circles", "aggregate", "data", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["images"] == 4
    run_pipeline(drawn / "acquisitions", tmp_path / "whole")
    assert (drawn / "experiments.csv").read_bytes() == (tmp_path / "whole/experiments.csv").read_bytes()
    assert main(["circles", "aggregate", "data", "--acquisitions", "data/acquisitions"]) == 0


def test_settings_of_a_file(circles, here, capsys):
    (here / "night.toml").write_text('strictness = 0.45\nradius-px = "10,60"\nqc = "none"\n')
    assert circles("run", "--settings", "night.toml") == 0
    plan = plan_run("data/acquisitions", "data", strictness=0.45, radius_px=(10, 60), qc="none")
    assert plan.summary()["done"] == 4


def test_a_report_is_written(circles, here, capsys):
    pytest.importorskip("dashboards.support.circles_report")
    circles("run")
    assert main(["circles", "report", "data", "--output", "night.html"]) == 0
    assert (here / "night.html").stat().st_size > 10_000


def test_other_levels(here, capsys):
    draw_acquisitions(here / "data", dates=["20180401"], experiments=["e1"], fields=1, shape=(200, 240))
    line = "circles run data/acquisitions/20180401 --output out --levels Patient,Slide"
    assert main(shlex.split(line)) == 0
    assert list(read_experiments(here / "out"))[:3] == ["Patient", "Slide", "FOV"]
    assert main(["circles", "aggregate", "out"]) == 0


def test_prune_and_retry_reach_the_function(circles, drawn, capsys):
    circles("run")
    shutil.rmtree(drawn / "acquisitions/20180401")
    assert circles("run", "--prune") == 0
    assert not (drawn / "circles/20180401").exists()
    assert os.path.exists(drawn / "circles/20180402")


def test_the_demonstration_finds_the_truth_and_can_be_run_again(tmp_path, monkeypatch):
    pytest.importorskip("dashboards.support.circles_report")
    import threading

    small = {**circles_demo.EXAMPLE_ACQUISITIONS, "dates": ("20180401", "20180402"), "fields": 1, "drift": {}}
    monkeypatch.setattr(circles_demo, "EXAMPLE_ACQUISITIONS", small)
    run = Run(Bar(False), threading.Event())
    for turn in range(2):
        made = circles_demo.make_circles_demo(tmp_path / "circles", run)
        assert made.summary["unchanged"] == (8 if turn else 0)
        assert all(path.exists() for _, path in made.files)
        assert {os.path.exists(path) for path in made.opened.values()} == {True}
    truth = pd.read_csv(tmp_path / "circles/drawn/truth.csv")
    assert made.summary["circles"] == len(truth)
