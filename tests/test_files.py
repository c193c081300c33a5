"""Files whole or not at all, tables with their identifiers, locks, patterns and the loop over inputs."""

import multiprocessing
import os
import threading
import time

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.files import NAMELESS_TABLE_S, drop_nameless, fingerprint, locked, sweep, whole_file
from analysis.patterns import match_names, natural_key
from analysis.provenance import describe_inputs, versions
from analysis.tables import read_table, update_table, write_table
from analysis.tasks import Cancelled, count_workers, map_tasks


def test_whole_file_replaces_in_one_step(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    for text in ("first", "second"):
        with whole_file(path, "w", encoding="utf-8") as handle:
            handle.write(text)
    assert path.read_text() == "second"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_whole_file_writes_where_a_link_leads(tmp_path):
    shared, link = tmp_path / "shared.csv", tmp_path / "link.csv"
    shared.write_text("old")
    link.symlink_to(shared)
    with whole_file(link, "w") as handle:
        handle.write("new")
    assert link.is_symlink() and shared.read_text() == "new"


def test_whole_file_keeps_the_old_one_when_writing_fails(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), whole_file(path, "w") as handle:
        handle.write("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_full_disk_names_the_file_and_leaves_nothing(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("analysis.files.os.fsync", full)
    with (
        pytest.raises(OSError, match=r"No space left on device while writing.*a\.bin"),
        whole_file(tmp_path / "a.bin") as handle,
    ):
        handle.write(b"x")
    assert not list(tmp_path.iterdir())


def test_sweep_takes_only_old_files_of_ours(tmp_path):
    stray, other = tmp_path / ".a.csv.1.ff.graticule-tmp", tmp_path / ".hidden"
    stray.write_text("")
    other.write_text("")
    assert sweep(tmp_path) == []
    assert sweep(tmp_path, older_than_s=-1) == [stray]
    assert other.exists()


def test_sweep_takes_what_a_killed_process_left(tmp_path):
    """What a process of this machine left goes once it is dead, and not before; sub-folders when asked for."""
    folder = tmp_path / "train"
    child = multiprocessing.get_context("spawn").Process(target=_write_for_ever, args=(folder / "a.bin",))
    child.start()
    while not list(folder.glob("*.graticule-tmp")):
        time.sleep(0.01)
    assert sweep(folder) == []
    child.kill()
    child.join()
    (stray,) = folder.iterdir()
    assert sweep(tmp_path) == [] and stray.exists()
    assert sweep(tmp_path, below=True) == [stray]
    assert not list(folder.iterdir())


def test_lock_names_its_holder(tmp_path):
    with (
        locked(tmp_path / "t.csv"),
        pytest.raises(TimeoutError, match=r"t\.csv\.lock must be free.*held by \d+"),
        locked(tmp_path / "t.csv", timeout_s=0.1),
    ):
        pass
    assert not (tmp_path / "t.csv.lock").exists()


def test_lock_of_a_dead_process_is_taken_over(tmp_path):
    child = multiprocessing.get_context("spawn").Process(target=_lock_and_die, args=(tmp_path / "t.csv",))
    child.start()
    child.join()
    assert (tmp_path / "t.csv.lock").exists()
    with locked(tmp_path / "t.csv", timeout_s=5):
        pass


def test_lock_of_a_process_that_died_before_it_said_who_it_is(tmp_path):
    marker, start = tmp_path / "t.csv.lock", time.monotonic()
    marker.touch()
    with pytest.raises(TimeoutError, match="held by an unknown process"), locked(tmp_path / "t.csv", timeout_s=0.1):
        pass
    with locked(tmp_path / "t.csv", timeout_s=30):
        assert marker.read_text()
    assert time.monotonic() - start > 1.5
    marker.touch()
    os.utime(marker, (time.time() - 20,) * 2)
    table = pytest.raises(TimeoutError, match="held by an unknown process for 20 s")
    with table, locked(tmp_path / "t.csv", timeout_s=0.1, nameless_s=NAMELESS_TABLE_S):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv.lock"]


def test_a_marker_that_was_taken_over_meanwhile_is_put_back(tmp_path, monkeypatch):
    marker, rename = tmp_path / "t.csv.lock", os.rename
    marker.touch()
    os.utime(marker, (1, 1))

    def late(source, target):
        marker.unlink()
        marker.write_text("4711\nelsewhere\n")
        rename(source, target)

    monkeypatch.setattr(os, "rename", late)
    assert not drop_nameless(marker, 2)
    assert marker.read_text().startswith("4711") and len(list(tmp_path.iterdir())) == 1


def _write_for_ever(path):
    with whole_file(path) as handle:
        handle.write(b"half")
        time.sleep(600)


def _lock_and_die(path):
    import os
    import signal

    with locked(path):
        os.kill(os.getpid(), signal.SIGKILL)


def _append(path, worker):
    for i in range(12):
        row = pd.DataFrame({"name": [f"{worker}-{i}"], "number": [i]})
        update_table(
            path, lambda now, row=row: row if now is None else pd.concat([now, row]), columns=["name", "number"]
        )


def test_eight_processes_appending_lose_nothing(tmp_path):
    path = tmp_path / "t.csv"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_append, args=(path, n)) for n in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    names = read_table(path, columns=["name"])["name"]
    assert sorted(names) == sorted(f"{n}-{i}" for n in range(8) for i in range(12))


def test_table_round_trip_keeps_names_and_bits(tmp_path):
    frame = pd.DataFrame({"id": ["NA", "001", "", "a,b", "=1+1"], "x": [0.1, 1 / 3, 1e-300, 2.0, -1.0]})
    path = write_table(frame, tmp_path / "t.csv")
    assert path.read_bytes().startswith(b"id,x\r\nNA,0.1\r\n001,0.3333333333333333\r\n")
    back = read_table(path, columns=["id"], numbers=["x"])
    assert back["id"].tolist() == frame["id"].tolist()
    assert (back["x"] == frame["x"]).all()
    write_table(frame, path, for_spreadsheets=True)
    assert read_table(path, columns=["id"])["id"].tolist()[-1] == "'=1+1"


@pytest.mark.parametrize(("keep", "rows", "torn"), [(True, 2, None), (False, 1, 3)])
def test_last_line_without_its_end(tmp_path, keep, rows, torn):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n3,4")
    table = read_table(path, columns=["a"], keep_unfinished=keep)
    assert len(table) == rows and table.attrs["torn_line"] == torn


def test_cut_last_line_is_left_out_and_a_broken_middle_is_refused(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n3")
    assert read_table(path, columns=["a"])["a"].tolist() == ["1"]
    path.write_text("a,b\n1\n3,4\n")
    with pytest.raises(ValueError, match=r"t\.csv line 2 must have 2 values; got 1"):
        read_table(path, columns=["a"])


def test_table_refusals_name_file_line_and_column(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,x\n")
    with pytest.raises(ValueError, match=r"t\.csv must have the columns c; c not found among a, b"):
        read_table(path, columns=["c"])
    with pytest.raises(ValueError, match=r"t\.csv line 2, column b must be a number; got 'x'"):
        read_table(path, columns=["a"], numbers=["b"])


def test_patterns_match_from_the_start():
    assert match_names("M1", ["M1", "M10", "xM1"]) == [True, True, False]
    assert match_names(None, ["a"]) == match_names("", ["a"]) == [True]
    assert match_names(r"(?!M10)M1", ["M1", "M10"]) == [True, False]  # needs look-ahead
    assert match_names(r"(M)\1", ["MM", "M"]) == [True, False]


@given(names=st.lists(st.text("aB1\u00b2\u0663 0_", max_size=6), max_size=8), random=st.randoms())
def test_natural_order_is_one_order_for_any_names(names, random):
    shuffled = list(names)
    random.shuffle(shuffled)
    assert sorted(names, key=natural_key) == sorted(shuffled, key=natural_key)


def test_natural_order_counts():
    names = ["fov_2", "fov_10", "FOV_3", "fov_02", "fov", "9" * 5000, "8" * 5000]
    expected = ["8" * 5000, "9" * 5000, "fov", "fov_02", "fov_2", "FOV_3", "fov_10"]
    assert sorted(names, key=natural_key) == expected


@pytest.mark.parametrize("pattern", ["(a+)+$", "(?=a)(a+)+$", r"(a)?(a*)*\1b"])
def test_no_pattern_hangs(pattern):
    names = ["a" * 60 + "!"] * 3 + ["b"]
    start = time.process_time()
    try:
        match_names(pattern, names)
    except ValueError as error:
        assert "takes too long" in str(error)
    assert time.process_time() - start < 5  # seconds: without a guard it would take hours


def test_pattern_refusals():
    with pytest.raises(ValueError, match="repeat counts must multiply to at most 10000"):
        match_names("(?=a)(((a{2000}){2000}){2000})", ["a"])
    with pytest.raises(ValueError, match="must be a regular expression"):
        match_names("(", ["a"])
    with pytest.raises(ValueError, match="at most 200 characters; got 201"):
        match_names("a" * 201, ["a"])


def test_tasks_keep_order_and_errors():
    def halve(n):
        if n == 3:
            raise ValueError("three")
        time.sleep(0.001 * (5 - n % 5))
        return n / 2

    seen = []
    done = list(map_tasks(halve, range(12), workers=3, progress=lambda *step: seen.append(step), words="halving"))
    assert [item for item, *_ in done] == list(range(12))
    assert str(done[3][2]) == "three" and done[4][1] == 2.0
    assert seen[-1] == (12, 12, "halving")


def test_tasks_cancel_and_bounds():
    cancel = threading.Event()
    with pytest.raises(Cancelled, match="Stopped after 2 of 100"):
        for item, *_ in map_tasks(lambda n: n, range(100), workers=1, cancel=cancel):
            if item == 1:
                cancel.set()
    assert count_workers(None) >= 1
    with pytest.raises(ValueError, match="workers must be at least 1; got 0"):
        count_workers(0)


def test_tasks_hold_few_results_at_once():
    started = []
    for taken, _ in enumerate(map_tasks(started.append, range(50), workers=2), start=1):
        assert len(started) <= taken + 5


def test_provenance_names_versions_and_inputs(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"123")
    assert {"graticule", "python", "numpy"} <= set(versions())
    table = describe_inputs([path, path, tmp_path / "missing"])
    assert table["size_bytes"].tolist()[0] == 3 and len(table) == 2
    assert table["fingerprint"][0] == fingerprint(path)
    assert "No such file" in table["fingerprint"][1]
