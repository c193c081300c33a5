"""The nightly run: what is done again and why, what fails, and that no kill, race or full disk spoils anything."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage

from analysis.circles import _image as image_module
from analysis.circles import (
    _ledger,
    _pipeline,
    aggregate_circles,
    find_acquisitions,
    plan_run,
    read_experiments,
    read_failures,
    run_pipeline,
)
from analysis.circles._ledger import Ledger
from analysis.files import locked
from analysis.tasks import Cancelled

QUICK = {"radius_px": (15.0, 40.0), "workers": 2}


def disc(seed=0, shape=(80, 100), r=25.3):
    """A bright disc somewhere on a dark ground."""
    draw = np.random.default_rng(seed)
    y, x = (draw.uniform(r + 4, length - r - 4) for length in shape)
    rows, columns = np.indices(shape)
    distance = np.hypot(rows - y, columns - x)
    pixels = 20 + 160 * np.clip(r + 0.5 - distance, 0, 1) + draw.normal(0, 2, shape)
    return np.rint(pixels).astype(np.uint8)


def save(path, pixels, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(pixels).save(path, **how)
    return path


@pytest.fixture
def nights(tmp_path):
    """Twelve images of two dates."""
    root = tmp_path / "data" / "acquisitions"
    for number in range(12):
        save(root / f"2018040{number % 2 + 1}" / "s1" / f"e{number // 6}" / f"fov{number:02d}.png", disc(number))
    return root


@pytest.fixture
def out(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def reads(monkeypatch):
    """Which images are opened."""
    opened = []
    real = image_module.read_pixels

    def read_pixels(path):
        opened.append(os.path.basename(path))
        return real(path)

    monkeypatch.setattr(image_module, "read_pixels", read_pixels)
    return opened


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def outputs(folder):
    """What counts, without the times in records and logs."""
    kept = {name: data for name, data in content(folder).items() if name.parts[0] in ("circles", "qc")}
    # what a kill left is swept when it is old
    kept = {name: data for name, data in kept.items() if name.suffix != ".graticule-tmp"}
    return kept | {"table": (folder / "experiments.csv").read_bytes()}


def states(run):
    return run.table["state"].value_counts().to_dict()


# ------------------------------------------------------------------------------------------ what is done again


def test_first_run_does_all_and_the_second_nothing(nights, out, reads):
    first = run_pipeline(nights, out, **QUICK)
    assert states(first) == {"new": 12}
    assert first.problems.empty
    assert len(read_experiments(out)) == first.circles == 12
    assert sorted(reads) == [f"fov{number:02d}.png" for number in range(12)]
    before, marks = content(out), {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    reads.clear()
    second = run_pipeline(nights, out, **QUICK)
    assert reads == []
    assert states(second) == {"done": 12}
    words = "circles: 0 new, 0 changed, 12 unchanged, 0 failed, 0 vanished; 12 circles in 12 images; "
    assert second.sentence.startswith(words)
    changed = {path.name for path, mark in marks.items() if path.is_file() and path.stat().st_mtime_ns != mark}
    assert changed == {"circles.log"}
    assert content(out).keys() == before.keys()


def test_a_plan_changes_nothing_and_says_what_the_run_does(nights, out, reads):
    before = content(out)
    plan = plan_run(nights, out, radius_px=(15, 40))
    assert content(out) == before
    assert reads == []
    assert plan.summary()["new"] == plan.summary()["to_do"] == 12
    run = run_pipeline(nights, out, **QUICK)
    assert plan.table[["file", "state", "reason"]].equals(run.table[["file", "state", "reason"]])


def test_one_changed_image_is_done_again_alone(nights, out, reads):
    run_pipeline(nights, out, **QUICK)
    reads.clear()
    changed = save(nights / "20180401/s1/e0/fov00.png", disc(99))
    run = run_pipeline(nights, out, **QUICK)
    assert reads == ["fov00.png"]
    assert states(run) == {"done": 11, "changed": 1}
    row = run.table[run.table["state"] == "changed"].iloc[0]
    assert row["file"] == str(changed)
    assert row["reason"] == "size or time of the file changed"
    assert "done 20180401/s1/e0/fov00.png: 1 circles (changed: size or time of the file changed)" in log_of(out)
    fresh = run_pipeline(nights, out.parent / "fresh", **QUICK)
    assert fresh.circles == run.circles
    assert outputs(out) == outputs(out.parent / "fresh")


def log_of(out):
    return (out / "circles.log").read_text(encoding="utf-8")


def test_a_touched_or_packed_image_is_looked_at_but_not_done_again(nights, out, reads):
    run_pipeline(nights, out, **QUICK)
    before = outputs(out)
    save(nights / "20180401/s1/e0/fov00.png", disc(0), compress_level=0)
    os.utime(nights / "20180402/s1/e0/fov01.png", ns=(1, 1))
    reads.clear()
    run = run_pipeline(nights, out, **QUICK)
    assert sorted(reads) == ["fov00.png", "fov01.png"]
    assert states(run) == {"done": 12}
    assert outputs(out) == before
    assert "left 20180401/s1/e0/fov00.png: size or time of the file changed, but no pixel" in log_of(out)
    reads.clear()
    run_pipeline(nights, out, **QUICK)
    assert reads == []


def test_another_pixel_size_in_the_file_is_a_change(tmp_path):
    def save_tiff(size):
        path = tmp_path / "in/d/s/e/a.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, disc(), imagej=True, resolution=(1 / size, 1 / size), metadata={"unit": "um"})

    save_tiff(0.5)
    run_pipeline(tmp_path / "in", tmp_path / "out", **QUICK)
    first = read_experiments(tmp_path / "out")
    save_tiff(0.25)
    assert states(run_pipeline(tmp_path / "in", tmp_path / "out", **QUICK)) == {"changed": 1}
    second = read_experiments(tmp_path / "out")
    assert first["R (um)"][0] == pytest.approx(0.5 * first["R"][0], rel=1e-5)
    assert second["R (um)"][0] == pytest.approx(0.25 * first["R"][0], rel=1e-5)


def test_a_changed_setting_does_all_again_and_says_so(nights, out):
    run_pipeline(nights, out, **QUICK)
    run = run_pipeline(nights, out, **QUICK, strictness=0.4)
    assert states(run) == {"settings": 12}
    assert set(run.table["reason"]) == {"strictness 0.3 -> 0.4"}
    assert "12 with other settings" in run.sentence
    assert log_of(out).count("(settings: strictness 0.3 -> 0.4)") == 12
    assert states(run_pipeline(nights, out, **QUICK, strictness=0.4)) == {"done": 12}


def test_settings_that_do_not_matter_change_nothing(nights, out):
    how = {"radius_um": (7.5, 20.0), "pixel_size_um": 0.5}
    run_pipeline(nights, out, **QUICK, **how)
    again = run_pipeline(nights, out, radius_px=(5, 50), workers=1, qc="none", **how)
    assert states(again) == {"done": 12}


def test_another_kind_of_picture_takes_the_place_of_the_old_one(nights, out):
    run_pipeline(nights, out, **QUICK)
    run = run_pipeline(nights, out, **QUICK, qc="jpeg")
    assert set(run.table["reason"]) == {"qc png -> jpeg"}
    pictures = {path.suffix for path in (out / "qc").glob("*/*/*/*")}
    assert pictures == {".jpg"}


def test_another_method_does_all_again(nights, out, monkeypatch):
    run_pipeline(nights, out, **QUICK)
    from analysis.circles import _detection

    monkeypatch.setattr(_detection, "METHOD", "next")
    run = run_pipeline(nights, out, **QUICK)
    assert states(run) == {"method": 12}
    assert run.table["reason"][0].endswith("-> next")


@pytest.mark.parametrize("place", ["circles/20180401/s1/e0/fov00.csv", "qc/20180401/s1/e0/fov00.png"])
@pytest.mark.parametrize("emptied", [False, True])
def test_a_missing_or_emptied_output_is_made_again(nights, out, place, emptied):
    run_pipeline(nights, out, **QUICK)
    before = outputs(out)
    (out / place).write_bytes(b"") if emptied else (out / place).unlink()
    run = run_pipeline(nights, out, **QUICK)
    assert states(run) == {"missing": 1, "done": 11}
    assert place in "".join(run.table["reason"])
    assert outputs(out) == before


@pytest.mark.parametrize("place", ["experiments.csv", "failures.csv", "qc/20180401/s1/e0.png"])
def test_tables_and_montages_are_made_again_without_reading_an_image(nights, out, reads, place):
    run_pipeline(nights, out, **QUICK)
    before = (out / place).read_bytes()
    reads.clear()
    for spoil in (lambda path: path.unlink(), lambda path: path.write_bytes(b"something else")):
        spoil(out / place)
        run_pipeline(nights, out, **QUICK)
        assert (out / place).read_bytes() == before
    assert reads == []


def test_redo_does_all_again(nights, out):
    run_pipeline(nights, out, **QUICK)
    assert states(run_pipeline(nights, out, **QUICK, redo=True)) == {"redo": 12}


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"form": 1}', b'{"form": 99}', b"\xff\xfe"])
def test_a_record_that_cannot_be_read_is_none(nights, out, text):
    run_pipeline(nights, out, **QUICK)
    (out / ".graticule/20180401/s1/e0/fov00.json").write_bytes(text)
    assert states(run_pipeline(nights, out, **QUICK)) == {"done": 11, "new": 1}


# ------------------------------------------------------------------------------------------- what vanishes


def test_vanished_images_leave_the_table_and_come_back_for_nothing(nights, out, reads):
    run_pipeline(nights, out, **QUICK)
    before = outputs(out)
    shutil.move(nights / "20180401", out / "elsewhere")
    run = run_pipeline(nights, out, **QUICK)
    assert states(run) == {"done": 6, "vanished": 6}
    assert run.problems.empty
    assert set(read_experiments(out)["Date"]) == {"20180402"}
    assert (out / "qc/20180401/s1/e0/fov00.png").exists()
    shutil.move(out / "elsewhere", nights / "20180401")
    reads.clear()
    assert states(run_pipeline(nights, out, **QUICK)) == {"done": 12}
    assert reads == []
    assert outputs(out) == before


def test_pruning_removes_what_was_written_for_vanished_images_and_nothing_else(nights, out):
    run_pipeline(nights, out, **QUICK)
    shutil.rmtree(nights / "20180401")
    (out / "circles/20180401/s1/e0/mine.txt").write_text("mine")
    run = run_pipeline(nights, out, **QUICK, prune=True)
    assert states(run)["vanished"] == 6
    left = [str(name) for name in content(out) if "20180401" in str(name)]
    assert left == ["circles/20180401/s1/e0/mine.txt"]
    assert states(run_pipeline(nights, out, **QUICK)) == {"done": 6}


def test_pruning_with_other_acquisitions_is_refused(nights, out, tmp_path):
    run_pipeline(nights, out, **QUICK)
    before = outputs(out)
    many(tmp_path / "other", 2)
    with pytest.raises(ValueError, match="prune must be asked for with the acquisitions of the run before"):
        run_pipeline(tmp_path / "other", out, **QUICK, prune=True)
    with pytest.raises(ValueError, match="prune must be asked for with the acquisitions of the run before"):
        aggregate_circles(out, acquisitions=tmp_path / "other", prune=True)
    assert outputs(out) == before


@pytest.mark.parametrize("place", ["experiments.csv", "circles/20180401/s1/e0/fov00.txt", "qc/a.png", "failures.csv"])
def test_what_others_wrote_is_not_written_over(nights, out, place):
    (out / place).parent.mkdir(parents=True, exist_ok=True)
    (out / place).write_text("years of work")
    before = content(out)
    for act in (plan_run, run_pipeline):
        with pytest.raises(ValueError, match=r"output must be new or of an earlier run; .* from elsewhere"):
            act(nights, out)
    assert content(out) == before


@pytest.mark.parametrize("how", ["gone", "empty"])
def test_a_share_that_is_not_there_costs_nothing(nights, out, how):
    run_pipeline(nights, out, **QUICK)
    before = content(out)
    shutil.move(nights, out.parent / "away")
    if how == "empty":
        nights.mkdir()
    with pytest.raises(ValueError, match="Is its disk there"):
        run_pipeline(nights, out, **QUICK, prune=True)
    assert content(out) == {name: data for name, data in before.items() if name.parts[0] != "acquisitions"}


def test_images_of_a_folder_that_cannot_be_listed_stay(nights, out, monkeypatch):
    run_pipeline(nights, out, **QUICK)
    before = (out / "experiments.csv").read_bytes()
    listed = os.scandir

    def scandir(path):
        if str(path).endswith("acquisitions/20180401"):
            raise OSError(5, "Input/output error", str(path))
        return listed(path)

    monkeypatch.setattr("analysis.circles._acquisitions.os.scandir", scandir)
    run = run_pipeline(nights, out, **QUICK, prune=True)
    assert states(run) == {"done": 6}
    assert "cannot be listed: Input/output error." in run.problems["error"][0]
    assert (out / "experiments.csv").read_bytes() == before
    assert read_failures(out)["Stage"].tolist() == ["find"]


def test_acquisitions_that_vanish_during_the_run_end_it(nights, out):
    def progress(done, total, words):
        if words == "finding circles" and done == 3:
            shutil.move(nights, out / "away")

    with pytest.raises(OSError, match="vanished during the run; what is finished is kept"):
        run_pipeline(nights, out, radius_px=(15, 40), workers=1, progress=progress)
    finished = Ledger(out).read_all()
    assert {record.state for record in finished.values()} == {"done"}
    assert 3 <= len(finished) < 12
    shutil.move(out / "away", nights)
    run = run_pipeline(nights, out, **QUICK)
    assert states(run) == {"done": len(finished), "new": 12 - len(finished)}


def test_an_image_that_vanishes_during_the_run_is_a_failure_and_tried_again(nights, out):
    def progress(done, total, words):
        if words == "finding circles" and done == 1:
            (nights / "20180402/s1/e1/fov11.png").rename(out / "fov11.png")

    run = run_pipeline(nights, out, radius_px=(15, 40), workers=1, progress=progress)
    assert len(run.problems) == 1
    assert "No such file" in run.problems["error"][0]
    (out / "fov11.png").rename(nights / "20180402/s1/e1/fov11.png")
    again = run_pipeline(nights, out, **QUICK)
    assert states(again) == {"done": 11, "retry": 1}
    assert again.problems.empty


# ---------------------------------------------------------------------------------------------- what fails


@pytest.fixture
def odd(tmp_path):
    """Fifty images, of which some are none."""
    root = tmp_path / "in"
    folder = root / "20180401/s1/e1"
    for number in range(43):
        save(folder / f"good{number:02d}.png", disc(number))
    whole = (folder / "good00.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "text.png").write_text("this is no picture", encoding="utf-8")
    rgba = np.dstack([disc(50)] * 3 + [np.full((80, 100), 255, np.uint8)])
    save(folder / "rgba.png", rgba)
    save(folder / "deep.png", disc(51).astype(np.uint16) * 257)
    save(folder / "tiny.png", np.array([[7]], np.uint8))
    tifffile.imwrite(folder / "float.tif", disc(52).astype(np.float32) / 255)
    save(folder / "photo.jpg", disc(53), quality=95)
    return root


def test_odd_images_are_done_or_explained(odd, tmp_path):
    run = run_pipeline(odd, tmp_path / "out", **QUICK)
    assert len(run.table) == 50
    failed = run.table[run.table["error"] != ""]
    assert sorted(failed["fov"]) == ["cut", "text"]
    assert sorted(run.problems["file"]) == sorted(failed["file"])
    circles = run.table.set_index("fov")["circles"]
    assert (circles.drop(["cut", "text", "tiny"]) == 1).all()
    assert circles["tiny"] == 0
    written = read_failures(tmp_path / "out")
    assert written["FOV"].tolist() == ["cut", "text"]
    assert written["File"].tolist() == ["20180401/s1/e1/cut.png", "20180401/s1/e1/text.png"]
    assert written["Stage"].tolist() == ["read", "read"]
    assert "first bytes" in written["Reason"][1]
    assert set(read_experiments(tmp_path / "out")["FOV"]) == set(circles.index) - {"cut", "text", "tiny"}


def test_a_failed_image_is_not_read_every_night(odd, tmp_path, reads):
    run_pipeline(odd, tmp_path / "out", **QUICK)
    before = (tmp_path / "out/failures.csv").read_bytes()
    reads.clear()
    run = run_pipeline(odd, tmp_path / "out", **QUICK)
    assert reads == []
    assert states(run) == {"done": 48, "failed": 2}
    assert len(run.problems) == 2
    assert (tmp_path / "out/failures.csv").read_bytes() == before
    # nor is it when settings change on which reading does not depend
    run_pipeline(odd, tmp_path / "out", **QUICK, strictness=0.4)
    assert "text.png" not in reads
    reads.clear()
    assert states(run_pipeline(odd, tmp_path / "out", **QUICK, strictness=0.4, retry=True)) == {"done": 48, "retry": 2}
    assert sorted(reads) == ["cut.png", "text.png"]


def test_a_mended_image_is_done_and_leaves_the_failures(odd, tmp_path):
    run_pipeline(odd, tmp_path / "out", **QUICK)
    save(odd / "20180401/s1/e1/text.png", disc(77))
    run = run_pipeline(odd, tmp_path / "out", **QUICK)
    assert states(run) == {"done": 48, "changed": 1, "failed": 1}
    assert read_failures(tmp_path / "out")["FOV"].tolist() == ["cut"]


def test_an_image_that_is_spoilt_leaves_the_table_and_its_picture_goes(nights, out):
    run_pipeline(nights, out, **QUICK)
    (nights / "20180401/s1/e0/fov00.png").write_bytes(b"nothing")
    run = run_pipeline(nights, out, **QUICK)
    assert len(run.problems) == 1
    assert len(read_experiments(out)) == 11
    assert not (out / "qc/20180401/s1/e0/fov00.png").exists()


def test_stacks_are_explained(tmp_path):
    folder = tmp_path / "in/d/s/e"
    folder.mkdir(parents=True)
    tifffile.imwrite(folder / "stack.tif", np.zeros((5, 40, 50), np.uint8), imagej=True, metadata={"axes": "ZYX"})
    run = run_pipeline(tmp_path / "in", tmp_path / "out", **QUICK)
    assert "must hold one plane; it has 5 planes. Save one plane as an image of its own." in run.problems["error"][0]


def test_a_bug_in_one_image_does_not_stop_the_others(nights, out, monkeypatch, caplog):
    from analysis.circles import _detection

    real = _detection.detect_circles

    def detect(pixels, **how):
        if pixels[0, 0] == disc(3)[0, 0] and np.array_equal(pixels, disc(3)):
            raise IndexError("index 3 is out of bounds")
        return real(pixels, **how)

    monkeypatch.setattr(_detection, "detect_circles", detect)
    run = run_pipeline(nights, out, **QUICK)
    assert run.problems["error"].tolist() == ["IndexError: index 3 is out of bounds"]
    assert len(read_experiments(out)) == 11
    assert "IndexError" in caplog.text


def test_problems_of_the_tree_are_failures_with_a_lasting_time(nights, out):
    save(nights / "lost.png", disc(1))
    run = run_pipeline(nights, out, **QUICK)
    assert "lies too high" in run.problems["error"][0]
    before = (out / "failures.csv").read_bytes()
    time.sleep(0.01)
    save(nights / "20180401/s1/e0/more.png", disc(70))
    run_pipeline(nights, out, **QUICK)
    assert (out / "failures.csv").read_bytes() == before


def test_names_that_are_too_long_are_failures(nights, out):
    save(nights / "20180401/s1/e0" / ("x" * 240 + ".png"), disc(1))
    for _ in range(2):
        run = run_pipeline(nights, out, **QUICK)
        assert "File name too long" in run.problems["error"][0]
        assert run.circles == 12
        assert len(read_failures(out)) == 1


def test_a_file_that_changes_while_it_is_read_is_tried_again(nights, out, monkeypatch):
    real = image_module.read_pixels

    def read_pixels(path):
        if path.endswith("fov03.png"):
            save(nights / "20180402/s1/e0/fov03.png", disc(33))
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr(image_module, "read_pixels", read_pixels)
        os.utime(nights / "20180402/s1/e0/fov03.png", ns=(1, 1))
        run = run_pipeline(nights, out, **QUICK)
    assert "must stay as it is while it is read" in run.problems["error"][0]
    again = run_pipeline(nights, out, **QUICK)
    assert again.problems.empty


# ------------------------------------------------------------------------------------ disks, kills and races


def test_a_full_disk_ends_the_run_and_leaves_nothing_half_written(nights, out, monkeypatch):
    real, left = image_module.whole_file, [7]

    def whole_file(path, *args, **how):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device", str(path))
        return real(path, *args, **how)

    with monkeypatch.context() as patch:
        patch.setattr(image_module, "whole_file", whole_file)
        with pytest.raises(OSError, match="No space left on device"):
            run_pipeline(nights, out, radius_px=(15, 40), workers=1)
    finished = Ledger(out).read_all()
    assert 1 <= len(finished) < 12
    assert all(record.state == "done" and not Ledger(out).intact(record) for record in finished.values())
    assert not list(out.rglob("*.graticule-tmp")) and not list(out.rglob("*.lock"))
    assert "ERROR" in log_of(out)
    run = run_pipeline(nights, out, **QUICK)
    assert states(run) == {"done": len(finished), "new": 12 - len(finished)}


@pytest.mark.parametrize("kind", ["file", "below a file", "source", "in the source", "written"])
def test_an_output_that_cannot_be_is_refused(nights, out, tmp_path, kind):
    (tmp_path / "file").write_text("mine")
    before = content(tmp_path)
    source = nights
    output = {
        "file": tmp_path / "file", "below a file": tmp_path / "file/deeper", "source": nights,
        "in the source": nights / "20180401/out", "written": tmp_path,
    }[kind]  # fmt: skip
    if kind == "written":
        source = tmp_path / "qc"
        source.mkdir()
    with pytest.raises((ValueError, OSError), match=r"output must|Not a directory|must not be what the pipeline wrote"):
        run_pipeline(source, output, **QUICK)
    assert content(tmp_path) == before


NIGHT = """
import sys
from analysis.circles import run_pipeline
import analysis.circles._detection, analysis.circles._montage, analysis.circles._measurement
source, output, workers = sys.argv[1:]
print("ready", flush=True)
run = run_pipeline(source, output, radius_px=(15, 40), workers=int(workers))
print("done", run.sentence, flush=True)
"""


def many(root, count):
    for number in range(count):
        save(root / f"d{number % 3}" / "s" / f"e{number % 2}" / f"fov{number:03d}.png", disc(number))
    return root


def test_twenty_kills_lose_and_repeat_nothing(tmp_path):
    root, out, dice = many(tmp_path / "in", 150), tmp_path / "out", random.Random(11)
    ledger, finished = Ledger(out), {}
    for turn in range(20):
        line = [sys.executable, "-c", NIGHT, root, out, str(1 + turn % 2)]
        with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "ready\n"
            time.sleep(dice.uniform(0, 0.3))
            process.send_signal(signal.SIGKILL)
        now = ledger.read_all()
        for key, record in finished.items():
            assert now[key].when == record.when, f"{key} was lost or repeated"
        assert all(not ledger.intact(record) for record in now.values())
        if (out / "experiments.csv").exists():
            read_experiments(out)
        finished = now
    assert finished, "no run got as far as a finished image"
    for path in (*out.rglob("*.graticule-tmp"), *out.rglob("*.lock")):
        os.utime(path, (0, 0))
    run = run_pipeline(root, out, **QUICK)
    assert run.problems.empty
    assert states(run).get("done", 0) == len(finished)
    assert not list(out.rglob("*.graticule-tmp")) and not list(out.rglob("*.lock"))
    assert all(ledger.read(key).when == record.when for key, record in finished.items())
    run_pipeline(root, tmp_path / "fresh", **QUICK)
    assert outputs(out) == outputs(tmp_path / "fresh")


EVERYWHERE = """
import os, signal, sys
from analysis.circles import run_pipeline
from analysis.circles._ledger import Ledger
source, output = sys.argv[1:]
import analysis.circles._detection, analysis.circles._montage, analysis.circles._measurement

def die_at(count, before):
    left, real = [count], os.replace
    def replace(*names):
        left[0] -= 1
        if left[0] == 0 and before:
            os.kill(os.getpid(), signal.SIGKILL)
        real(*names)
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    os.replace = replace

finished, kills = {}, 0
while True:
    # the first step of the run is reached with every number again, so each kill is one step further into the work
    for before in (True, False):
        child = os.fork()
        if child == 0:
            die_at(1 + kills % 5, before)
            run_pipeline(source, output, radius_px=(15, 40), workers=1)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        records = Ledger(output).read_all()
        assert all(records[key].when == record.when for key, record in finished.items()), "lost or repeated"
        assert not any(map(Ledger(output).intact, records.values())), "a record without its outputs"
        finished = records
        if status == 0:
            print(kills, len(finished))
            sys.exit()
        kills += 1
        assert kills < 200
"""


def test_a_kill_at_any_step_loses_and_repeats_nothing(tmp_path):
    root, out = many(tmp_path / "in", 6), tmp_path / "out"
    line = [sys.executable, "-c", EVERYWHERE, root, out]
    said = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert said.returncode == 0, said.stderr
    kills, finished = map(int, said.stdout.split())
    assert finished == 6
    assert kills > 12
    run_pipeline(root, out, **QUICK)
    run_pipeline(root, tmp_path / "fresh", **QUICK)
    assert outputs(out) == outputs(tmp_path / "fresh")


def test_kills_while_all_is_done_again_leave_no_mixture(tmp_path):
    root, out, dice = many(tmp_path / "in", 40), tmp_path / "out", random.Random(3)
    run_pipeline(root, out, **QUICK, strictness=0.5)
    for _ in range(5):
        line = [sys.executable, "-c", NIGHT, root, out, "1"]
        with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "ready\n"
            time.sleep(dice.uniform(0.02, 0.2))
            process.send_signal(signal.SIGKILL)
        assert all(not Ledger(out).intact(record) for record in Ledger(out).read_all().values())
    time.sleep(2.1)  # a claim whose process died before it said who it is counts for two seconds
    assert states(run_pipeline(root, out, **QUICK)).get("busy", 0) == 0
    run_pipeline(root, tmp_path / "fresh", **QUICK)
    assert outputs(out) == outputs(tmp_path / "fresh")


def test_a_claim_without_a_word_is_taken_over_soon(nights, out, monkeypatch):
    marker = out / ".graticule/20180401/s1/e0/fov00.json.lock"
    marker.parent.mkdir(parents=True)
    marker.touch()
    monkeypatch.setattr(_pipeline, "PATIENCE_S", 0)
    assert states(run_pipeline(nights, out, **QUICK)) == {"new": 11, "busy": 1}
    os.utime(marker, (time.time() - 3,) * 2)
    assert states(run_pipeline(nights, out, **QUICK)) == {"done": 11, "new": 1}


def test_two_runs_at_once_share_the_work(tmp_path):
    root, out = many(tmp_path / "in", 60), tmp_path / "out"
    line = [sys.executable, "-c", NIGHT, root, out, "1"]
    both = [subprocess.Popen(line, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120)[0] for process in both]
    assert all(process.returncode == 0 for process in both), said
    lines = [line for line in log_of(out).splitlines() if " done d" in line]
    assert len(lines) == len({line.split(" done ")[1].split(":")[0] for line in lines}) == 60
    again = run_pipeline(root, out, **QUICK)
    assert states(again) == {"done": 60}
    run_pipeline(root, tmp_path / "fresh", **QUICK)
    assert outputs(out) == outputs(tmp_path / "fresh")


def test_an_image_that_another_run_holds_is_left_to_it(nights, out, monkeypatch):
    monkeypatch.setattr(_pipeline, "PATIENCE_S", 1.5)
    ledger = Ledger(out)
    with locked(ledger.path("20180401/s1/e0/fov00")):
        run = run_pipeline(nights, out, **QUICK)
    assert states(run) == {"new": 11, "busy": 1}
    assert "1 left to another run" in run.sentence
    assert run.problems.empty
    assert states(run_pipeline(nights, out, **QUICK)) == {"done": 11, "new": 1}


def test_a_claim_that_a_dead_machine_left_is_taken_over(nights, out):
    marker = out / ".graticule/20180401/s1/e0/fov00.json.lock"
    marker.parent.mkdir(parents=True)
    marker.write_text("1\nanother-machine\n")
    os.utime(marker, (0, 0))
    assert states(run_pipeline(nights, out, **QUICK)) == {"new": 12}


def test_a_run_waits_for_a_machine_that_died_just_now(nights, out, monkeypatch):
    monkeypatch.setattr(_ledger, "CLAIM_S", 4)
    marker = out / ".graticule/20180401/s1/e0/fov00.json.lock"
    marker.parent.mkdir(parents=True)
    marker.write_text("1\nanother-machine\n")
    run = run_pipeline(nights, out, **QUICK)
    assert states(run) == {"new": 12} and run.problems.empty


def test_a_claim_on_a_long_image_stays_fresh(out, monkeypatch):
    monkeypatch.setattr(_ledger, "_FRESH_S", 0.1)
    ledger = Ledger(out)
    marker = Path(f"{ledger.path('a')}.lock")
    with ledger.claim("a"):
        os.utime(marker, (1, 1))
        time.sleep(0.5)
        assert time.time() - marker.stat().st_mtime < 5
    assert not marker.exists()


def test_cancel_keeps_what_is_finished(nights, out):
    stop = threading.Event()

    def progress(done, total, words):
        if words == "finding circles" and done == 4:
            stop.set()

    with pytest.raises(Cancelled):
        run_pipeline(nights, out, radius_px=(15, 40), workers=1, progress=progress, cancel=stop)
    finished = len(Ledger(out).read_all())
    assert 4 <= finished < 12
    assert states(run_pipeline(nights, out, **QUICK)) == {"done": finished, "new": 12 - finished}


# --------------------------------------------------------------------------------------- many hands, many images


def test_the_same_comes_out_of_one_worker_threads_processes_and_shards(nights, tmp_path):
    run_pipeline(nights, tmp_path / "one", radius_px=(15, 40), workers=1)
    run_pipeline(nights, tmp_path / "threads", radius_px=(15, 40), workers=3)
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        run = run_pipeline(nights, tmp_path / "processes", radius_px=(15, 40), executor=pool)
    assert states(run) == {"new": 12}
    for index in range(3):
        part = run_pipeline(nights, tmp_path / "shards", **QUICK, shard=(index, 3), aggregate=index == 2)
    assert part.aggregated
    one = outputs(tmp_path / "one")
    for name in ("threads", "processes", "shards"):
        assert outputs(tmp_path / name) == one, name


def test_settings_of_a_run_make_the_same_run(nights, out):
    run = run_pipeline(nights, out, **QUICK, strictness=0.35)
    again = run_pipeline(nights, out, **run.settings)
    assert states(again) == {"done": 12}
    assert json.loads(json.dumps(again.summary()))["unchanged"] == 12
    assert states(run_pipeline(find_acquisitions(nights), out, **run.settings)) == {"done": 12}


def test_wrong_settings_are_refused_before_an_image_is_read(nights, out, reads):
    before = content(out)
    for how, words in (
        ({"strictness": 2}, "strictness"),
        ({"radius_px": (40, 15)}, "radius"),
        ({"radius_px": 8}, "radius_px must be two numbers"),
        ({"qc": "gif"}, "qc must be one of"),
        ({"workers": 0}, "workers must be at least 1"),
        ({"polarity": "grey"}, "polarity"),
        ({"strictness": "much"}, "strictness must be a number"),
    ):
        with pytest.raises(ValueError, match=words):
            run_pipeline(nights, out, **how)
    assert reads == []
    assert content(out) == before


def test_radii_in_um_are_held_against_the_size_that_each_file_says(tmp_path):
    size = {"resolution": (1e4 / 0.05, 1e4 / 0.05), "resolutionunit": "CENTIMETER"}
    (tmp_path / "in/d/s/e").mkdir(parents=True)
    tifffile.imwrite(tmp_path / "in/d/s/e/a.tif", disc(1), **size)
    save(tmp_path / "in/d/s/e/b.png", disc(2))
    run = run_pipeline(tmp_path / "in", tmp_path / "out", radius_um=(0.5, 2.0))
    assert run.table["circles"].tolist() == [1, 0]
    assert run.table["error"].str.contains("radius_um needs pixel_size_um").tolist() == [False, True]
    with pytest.raises(ValueError, match="radius_um must be two numbers"):
        run_pipeline(tmp_path / "in", tmp_path / "out", radius_um=(2.0, 0.5))


def test_a_record_that_another_run_removes_meanwhile_is_passed_over(nights, out, monkeypatch):
    run_pipeline(nights, out, **QUICK)
    scandir = os.scandir

    def removed(path):
        listed = scandir(path)
        if str(path).endswith(".graticule/20180401/s1/e0"):
            listed = list(listed)
            os.unlink(f"{path}/fov00.json")
            return contextlib.nullcontext(listed)
        return listed

    monkeypatch.setattr("analysis.circles._ledger.os.scandir", removed)
    assert len(Ledger(out).read_all()) == 11


def test_what_detection_says_comes_with_its_images(tmp_path):
    holed = disc(1).astype(np.float32)
    holed[:3] = np.nan
    for name in "ab":
        (tmp_path / f"in/d/s/{name}").mkdir(parents=True)
        tifffile.imwrite(tmp_path / f"in/d/s/{name}/x.tif", holed)
    said = run_pipeline(tmp_path / "in", tmp_path / "out", **QUICK).warnings
    assert said[-1].endswith("filled from beside. (2 images, such as d/s/a/x)")


def test_two_thousand_images_with_nothing_new(tmp_path, reads, monkeypatch, capsys):
    from analysis.circles import _detection, _measurement

    root, out = tmp_path / "in", tmp_path / "out"
    # how circles are found does not matter here
    found = _detection.detect_circles(disc(1))
    measured = _measurement.measure_circles(disc(1), found)
    monkeypatch.setattr(_detection, "detect_circles", lambda pixels, **how: found)
    monkeypatch.setattr(_measurement, "measure_circles", lambda pixels, circles: measured)
    tiny = save(tmp_path / "tiny.png", disc(1, shape=(60, 60), r=20.0))
    for number in range(2000):
        folder = root / f"d{number % 20:02d}" / f"s{number % 5}" / f"e{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        os.link(tiny, folder / f"fov{number:04d}.png")
    run_pipeline(root, out, radius_px=(15, 40), qc="none")
    assert len(reads) == 2000
    reads.clear()
    assert states(run_pipeline(root, out, radius_px=(15, 40), qc="none")) == {"done": 2000}
    assert reads == []
    line = [sys.executable, "-c", "import sys; from dashboards.support.command import main; sys.exit(main())"]
    line += ["circles", "run", root, "--output", out, "--radius-px", "15,40", "--qc", "none", "--json"]
    before, began = os.times(), time.perf_counter()
    said = subprocess.run(line, capture_output=True, text=True, check=True)
    took, after = time.perf_counter() - began, os.times()
    cpu = sum(after[2:4]) - sum(before[2:4])
    assert json.loads(said.stdout)["unchanged"] == 2000
    with capsys.disabled():
        print(f"\n2000 images, nothing new: {took:.2f} s, {cpu:.2f} s of CPU, imports included (wanted: below 2 s)")
