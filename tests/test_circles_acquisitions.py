"""Which images were acquired: names, depth, and whatever cannot be used."""

from __future__ import annotations

import os
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.circles import LEVELS, find_acquisitions, plan_run
from analysis.circles._acquisitions import _fovs, check_levels
from analysis.circles._plan import in_shard
from analysis.tasks import Cancelled

ODD = ("007", "NA", "a,b", 'say "hi"', "=1+1", "Übung µ 試料", "<img src=x onerror=alert(1)>", " space ", "new\nline")


@pytest.fixture
def root(tmp_path):
    return tmp_path / "acquisitions"


def touch(root, *places):
    for place in places:
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def keys(found):
    return [image.key for image in found.rows]


def test_images_of_a_tree_in_natural_order(root):
    touch(root, "d1/s1/e1/fov10.png", "d1/s1/e1/fov2.TIF", "d1/s1/e1/fov1.jpeg", "d1/s10/e1/a.png", "d1/s2/e1/a.tiff")
    found = find_acquisitions(root)
    assert keys(found) == ["d1/s1/e1/fov1", "d1/s1/e1/fov2", "d1/s1/e1/fov10", "d1/s2/e1/a", "d1/s10/e1/a"]
    assert list(found.table) == [*LEVELS, "fov", "file", "fingerprint"]
    assert found.table["file"][1] == str(root / "d1/s1/e1/fov2.TIF")
    assert found.summary() == {
        "images": 5, "Date": 1, "Subject": 3, "Experiment": 1, "problems": 0, "root": str(root),
    }  # fmt: skip
    assert found.warnings == ()


@pytest.mark.parametrize("name", ODD)
def test_names_come_back_unharmed(root, name):
    touch(root, f"{name}/{name}/{name}/{name}.png")
    found = find_acquisitions(root)
    assert found.table.loc[0, [*LEVELS, "fov"]].tolist() == [name] * 4


def test_depth_and_names_of_levels_are_an_option(root):
    touch(root, "lab/plate/a.png", "lab/b.png")
    found = find_acquisitions(root, levels=("Lab", "Plate"))
    assert keys(found) == ["lab/plate/a"]
    assert "Plate" in found.table
    assert keys(find_acquisitions(root, levels=["Lab"])) == ["lab/b"]


def test_too_high_and_too_deep_is_said(root):
    touch(root, "a.png", "d/b.png", "d/s/e/c.png", "d/s/e/deep/deeper/d.png")
    touch(root, *(f"d/s/{number}.png" for number in range(9)))
    found = find_acquisitions(root)
    assert keys(found) == ["d/s/e/c"]
    said = {os.path.relpath(file, root): error for file, error in found.problems.itertuples(index=False)}
    assert said["a.png"] == "lies too high: images must lie 3 folders deep; got 0."
    assert said["d/b.png"].startswith("lies too high")
    assert said["d/s/e/deep/deeper/d.png"] == "lies too deep: images must lie 3 folders deep; got 5."
    assert "So do 6 others there." in said["d/s/0.png"]
    assert list(found.problems) == ["file", "error"]


def test_hidden_files_are_left_out_and_others_are_counted(root):
    touch(root, "d/s/e/a.png", "d/s/e/.a.png.part.png", ".git/s/e/a.png", "d/s/e/notes.txt", "d/Thumbs.db")
    found = find_acquisitions(root)
    assert keys(found) == ["d/s/e/a"]
    assert found.problems.empty
    assert found.warnings[0].startswith("2 files are no images by their names and were left out, such as ")


def test_files_of_one_stem_are_told_apart(root):
    touch(root, "d/s/e/a.png", "d/s/e/a.tif", "d/s/e/b.png", "d/s/f/a.png")
    assert keys(find_acquisitions(root)) == ["d/s/e/a.png", "d/s/e/a.tif", "d/s/e/b", "d/s/f/a"]


@settings(deadline=None)
@given(st.sets(st.lists(st.sampled_from(["a", ".png", ".tif", ".b"]), min_size=1, max_size=4).map("".join), max_size=9))
def test_fields_of_view_of_a_folder_differ_always(names):
    files = [name for name in names if not name.startswith(".")]
    fovs = _fovs(files)
    assert len(set(fovs.values())) == len(files)


def test_a_link_that_leads_nowhere_is_said(root):
    touch(root, "d/s/e/a.png")
    os.symlink(root / "gone.png", root / "d/s/e/b.png")
    found = find_acquisitions(root)
    assert "is a link that leads to no file" in found.problems["error"][0]


def test_linked_folders_are_followed_down_to_the_images_only(root, tmp_path):
    touch(tmp_path / "other", "s/e/a.png")
    touch(root, "d/s/e/b.png")
    os.symlink(tmp_path / "other", root / "linked")
    os.symlink(root, root / "d/s/e/loop")
    assert keys(find_acquisitions(root)) == ["d/s/e/b", "linked/s/e/a"]


@pytest.mark.parametrize("target", ["", "d", "..", "d/s"])
def test_links_that_lead_up_are_said_and_not_followed(root, target):
    touch(root, "d/s/e/a.png", "c/s/e/b.png")
    os.symlink(root / target, root / "d/s/up")
    found = find_acquisitions(root)
    assert keys(found) == ["c/s/e/b", "d/s/e/a"]
    assert found.problems["error"].tolist() == ["is a link that leads up, to a folder that holds it. Remove it."]


def test_what_is_no_file_is_not_called_a_link(root):
    touch(root, "d/s/e/a.png")
    os.mkfifo(root / "d/s/e/b.png")
    assert find_acquisitions(root).problems["error"].tolist() == ["is no file."]


def test_a_folder_that_cannot_be_listed_is_said(root, monkeypatch):
    touch(root, "d/s/e/a.png", "d/t/e/b.png")
    listed = os.scandir

    def scandir(path):
        if str(path).endswith("/t"):
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr("analysis.circles._acquisitions.os.scandir", scandir)
    found = find_acquisitions(root)
    assert keys(found) == ["d/s/e/a"]
    assert found.unread == ("d/t",)
    assert "cannot be listed: Permission denied." in found.problems["error"][0]


@pytest.mark.skipif(os.name != "posix", reason="names are bytes only there")
def test_a_name_that_is_no_text_is_said(root):
    touch(root, "d/s/e/a.png")
    with open(os.fsencode(root / "d/s/e") + b"/\xff.png", "wb"):
        pass
    found = find_acquisitions(root)
    assert len(found) == 1
    assert "must have a name in UTF-8" in found.problems["error"][0]
    found.problems["error"][0].encode()


def test_a_root_that_is_none_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"acquisitions must be a folder that exists; .*nowhere is not"):
        find_acquisitions(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("levels", "words"),
    [
        ((), "at least one"),
        (("Date", "Date"), "differ; Date"),
        (("FOV",), "like other columns"),
        (("", "a"), "head a column"),
        (("a\nb",), "head a column"),
        (("file",), "like other columns"),
        (("Date", "Contrast"), "like other columns"),
        (("Border",), "like other columns"),
        (("X (um)",), "like other columns"),
        (("seconds",), "like other columns"),
        (("mean",), "like other columns"),
    ],
)
def test_levels_that_cannot_be_columns_are_refused(levels, words):
    with pytest.raises(ValueError, match=words):
        check_levels(levels)


def test_cancel_and_progress(root):
    touch(root, "d1/s/e/a.png", "d2/s/e/a.png")
    told = []
    find_acquisitions(root, progress=lambda *what: told.append(what))
    assert told == [(1, 2, "looking for images"), (2, 2, "looking for images")]
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        find_acquisitions(root, cancel=stop)


def test_shards_share_the_images_out(root, tmp_path):
    touch(root, *(f"d/s/e/{number}.png" for number in range(200)))
    found = find_acquisitions(root)
    parts = [plan_run(found, tmp_path / "out", shard=(index, 4)) for index in range(4)]
    shared = [file for part in parts for file in part.table["file"]]
    assert sorted(shared) == sorted(found.table["file"])
    assert all(30 < len(part.table) < 70 for part in parts)
    assert not (tmp_path / "out").exists()
    # the same on every machine and in every version
    assert [in_shard(f"d/s/e/{number}", (0, 2)) for number in range(8)] == EXPECTED_OF_TWO


EXPECTED_OF_TWO = [False, False, True, False, True, True, False, False]


@pytest.mark.parametrize("shard", [(4, 4), (-1, 4), (0, 0), (1,), (0.5, 2)])
def test_shards_that_are_none_are_refused(root, tmp_path, shard):
    touch(root, "d/s/e/a.png")
    with pytest.raises(ValueError, match="shard must be a number from 0"):
        plan_run(root, tmp_path / "out", shard=shard)
