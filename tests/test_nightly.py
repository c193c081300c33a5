"""Nights as cron has them: one process after another, files that come in between, and what a mail would say."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from analysis.circles import read_experiments, read_failures, run_pipeline
from analysis.synthetic.circles import draw_acquisitions

PROGRAM = [sys.executable, "-c", "import sys; from dashboards.support.command import main; sys.exit(main())"]
SENTENCE = re.compile(
    r"circles: (?P<new>[\d ]+) new, (?P<changed>\d+) changed, .*?(?P<unchanged>\d+) unchanged, (?P<failed>\d+) failed, "
    r"(?P<vanished>\d+) vanished; (?P<circles>\d+) circles in (?P<images>\d+) images; [\d.e+-]+ s"
)


def draw(folder, date, *, fields=2, shape=(200, 240)):
    """Draw a day of two subjects, and return its images."""
    draw_acquisitions(folder, dates=[date], experiments=["e1"], fields=fields, shape=shape, seed=int(date))
    return sorted((folder / "acquisitions" / date).rglob("*.png"))


def start(folder, *options, act="run"):
    places = {"run": ["acquisitions", "results"], "aggregate": ["results"]}[act]
    return subprocess.Popen(
        [*PROGRAM, "circles", act, *places, *options],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def night(folder, *options, act="run"):
    """Run one night; return exit code, lines on standard output and on standard error."""
    process = start(folder, *options, act=act)
    said, errors = process.communicate(timeout=120)
    return process.returncode, said.splitlines(), errors.splitlines()


def counts(line):
    found = SENTENCE.fullmatch(line)
    assert found, line
    return {name: int(number.replace(" ", "")) for name, number in found.groupdict().items()}


def log_of(folder):
    return (folder / "results" / "circles.log").read_text(encoding="utf-8").splitlines()


def contents(folder):
    """Bytes of all results; failures without the time they were seen at."""
    files = [path for name in ("circles", "qc") for path in sorted((folder / name).rglob("*")) if path.is_file()]
    found = {str(path.relative_to(folder)): path.read_bytes() for path in files}
    found["experiments.csv"] = (folder / "experiments.csv").read_bytes()
    found["failures.csv"] = read_failures(folder).drop(columns="When").to_csv()
    return found


def test_every_night_does_what_is_new_and_says_so(tmp_path):
    first_day = draw(tmp_path, "20180401")
    code, said, errors = night(tmp_path)
    assert (code, errors) == (0, [])
    assert counts(said[0]).items() >= {"new": 4, "changed": 0, "unchanged": 0, "failed": 0, "images": 4}.items()
    outputs = [path for name in ("circles", "qc") for path in (tmp_path / "results" / name).rglob("fov*")]
    before = {path: path.stat().st_mtime_ns for path in outputs}
    circles = read_experiments(tmp_path / "results")

    # nothing has come
    logged = len(log_of(tmp_path))
    code, said, errors = night(tmp_path)
    assert (code, errors, len(said)) == (0, [], 1)
    assert counts(said[0]).items() >= {"new": 0, "changed": 0, "unchanged": 4, "images": 4}.items()
    assert {path: path.stat().st_mtime_ns for path in before} == before
    quiet = len(log_of(tmp_path)) - logged

    # a day has come, one image was taken anew, one was only touched
    second_day = draw(tmp_path, "20180402", fields=3)
    shutil.copyfile(second_day[0], first_day[0])
    os.utime(first_day[1])
    logged = len(log_of(tmp_path))
    code, said, errors = night(tmp_path)
    assert (code, errors) == (0, [])
    assert counts(said[0]).items() >= {"new": 6, "changed": 1, "unchanged": 3, "images": 10}.items()
    touched = {path for path, when in before.items() if path.stat().st_mtime_ns != when}
    assert {(*path.parent.parts[-3:], path.stem) for path in touched} == {("20180401", "s1", "e1", "fov00")}
    named = [line for line in log_of(tmp_path)[logged:] if "/fov" in line]
    assert sum("20180402" in line for line in named) == 6
    assert any("20180401/s1/e1/fov00" in line for line in named)
    assert not any("20180401/s2" in line for line in named)
    kept = read_experiments(tmp_path / "results")
    kept = kept[(kept["Date"] == "20180401") & (kept["Subject"] == "s2")].reset_index(drop=True)
    assert kept.equals(circles[circles["Subject"] == "s2"].reset_index(drop=True))
    assert quiet <= 2


def test_what_failed_is_mailed_and_ends_with_one(tmp_path):
    images = draw(tmp_path, "20180401")
    images[0].write_bytes(b"\x89PNG\r\n\x1a\n")
    for _ in range(2):
        code, said, errors = night(tmp_path)
        assert code == 1 and counts(said[0])["failed"] == 1
        # one line for each failure, which names the file
        assert len(errors) == 1 and str(images[0].name) in errors[0]
        assert len(said[0]) < 200 and said[0].isprintable()
    assert counts(said[0])["unchanged"] == 3


def test_wrong_settings_end_with_two_and_touch_nothing(tmp_path):
    draw(tmp_path, "20180401")
    night(tmp_path)
    before = contents(tmp_path / "results")
    for options in (["--strictness", "3"], ["--nothing", "x"], ["--settings", "nowhere.toml"]):
        code, said, errors = night(tmp_path, *options)
        assert code == 2 and said == [] and len(errors) == 1, errors
    # a share that is not there is no reason to empty the table
    (tmp_path / "acquisitions").rename(tmp_path / "unplugged")
    code, said, errors = night(tmp_path)
    assert code == 2 and said == [] and "acquisitions" in errors[0]
    assert contents(tmp_path / "results") == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_night_that_is_stopped_ends_with_130_and_the_next_goes_on(tmp_path, number):
    images = draw(tmp_path, "20180401", fields=16, shape=(700, 800))
    process = start(tmp_path, "--workers", "1")
    for _ in range(600):
        if len(list((tmp_path / "results/circles").rglob("*.csv"))) >= 2:
            break
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(number)
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "finished work is kept" in errors and "Traceback" not in errors
    assert said == ""
    code, said, errors = night(tmp_path)
    told = counts(said[0])
    assert (code, errors) == (0, [])
    assert told["unchanged"] >= 2 and told["new"] >= 1 and told["new"] + told["unchanged"] == len(images)
    run_pipeline(tmp_path / "acquisitions", tmp_path / "once")
    assert contents(tmp_path / "results") == contents(tmp_path / "once")


def test_the_log_starts_anew_and_keeps_three(tmp_path):
    images = draw(tmp_path, "20180401")
    log = tmp_path / "results" / "circles.log"
    log.parent.mkdir()
    for number in range(6):
        log.write_text(f"night {number}\n" + "x" * 1_000_000 + "\n")
        shutil.copyfile(images[number % 2], images[2])
        assert night(tmp_path)[0] == 0
    kept = sorted(path.name for path in log.parent.glob("circles.log*"))
    assert kept == ["circles.log", "circles.log.1", "circles.log.2", "circles.log.3"]
    assert log.stat().st_size < 10_000
    first = [(log.parent / name).read_text(encoding="utf-8")[:7] for name in kept[1:]]
    assert first == ["night 5", "night 4", "night 3"]


def test_shards_at_once_and_their_aggregation_are_one_run_byte_for_byte(tmp_path):
    for date in ("20180401", "20180402"):
        images = draw(tmp_path, date, fields=3)
    images[0].write_bytes(b"\x89PNG\r\n\x1a\n")
    parts = [start(tmp_path, "--shard", f"{index}/3", "--workers", "1") for index in range(3)]
    told = []
    for process in parts:
        said, errors = process.communicate(timeout=120)
        assert "aggregate does that" in errors
        told.append((process.returncode, counts(said.splitlines()[0])))
    assert sorted(code for code, _ in told) == [0, 0, 1]
    assert sum(each["new"] + each["failed"] for _, each in told) == 12
    assert not (tmp_path / "results/experiments.csv").exists()
    code, said, errors = night(tmp_path, act="aggregate")
    assert code == 1 and len(errors) == 1 and images[0].name in errors[0]
    run_pipeline(tmp_path / "acquisitions", tmp_path / "once")
    assert contents(tmp_path / "results") == contents(tmp_path / "once")
    # the next night without parts has nothing to do
    code, said, _ = night(tmp_path)
    assert code == 1 and counts(said[0]).items() >= {"new": 0, "unchanged": 11, "failed": 1}.items()


def test_two_nights_at_once_share_the_work(tmp_path):
    images = draw(tmp_path, "20180401", fields=10, shape=(500, 600))
    both = [start(tmp_path, "--workers", "1") for _ in range(2)]
    told = []
    for process in both:
        said, errors = process.communicate(timeout=120)
        assert (process.returncode, errors) == (0, "")
        told.append(counts(said.splitlines()[0]))
    assert sum(each["new"] for each in told) == len(images)
    assert [each["images"] for each in told] == [len(images)] * 2
    done = [line for line in log_of(tmp_path) if " INFO done " in line]
    assert len(done) == len(images)
    run_pipeline(tmp_path / "acquisitions", tmp_path / "once")
    assert contents(tmp_path / "results") == contents(tmp_path / "once")
