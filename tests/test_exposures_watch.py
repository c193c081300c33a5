"""A watched session shows what arrives, changes and vanishes, and tries half-written files again."""

import os
import shutil
import threading
from pathlib import Path

import pytest

from analysis.exposures import _watch as watching
from analysis.exposures import read_epu_session, watch_session
from analysis.synthetic.exposures import draw_session


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("session")
    return draw_session(folder, grid_squares=2, stage_positions=2, groups=5, shots=2, seed=4)


@pytest.fixture
def folder(drawn, tmp_path):
    """A copy that a test may spoil."""
    return Path(shutil.copytree(drawn.session.folder, tmp_path / "epu"))


@pytest.fixture
def cancel():
    """Ends a watch that waits for ever, which fails the test."""
    event = threading.Event()
    timer = threading.Timer(30, event.set)
    timer.start()
    yield event
    timer.cancel()


def opened(monkeypatch):
    """Return the list that the names of all data files opened from now on are added to."""
    names, real_open = [], os.open

    def counting(path, *args, **options):
        if "FoilHole_" in os.fspath(path):
            names.append(os.path.basename(path))
        return real_open(path, *args, **options)

    monkeypatch.setattr(os, "open", counting)
    return names


def test_a_watch_sees_files_arrive_change_and_vanish(drawn, tmp_path, cancel):
    files = drawn.session.table["file"].tolist()
    for file in files[:3]:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(drawn.session.folder / file, tmp_path / file)
    watch = watch_session(tmp_path, interval_s=0.01, cancel=cancel)
    assert len(next(watch)) == 3
    whole = (drawn.session.folder / files[3]).read_bytes()
    (tmp_path / files[3]).write_bytes(whole[:900])
    half = next(watch)
    assert len(half) == 4 and len(half.exposures) == 3
    (tmp_path / files[3]).write_bytes(whole)
    assert len(next(watch).exposures) == 4
    (tmp_path / files[0]).unlink()
    assert next(watch).table["file"].tolist() == files[1:4]
    (tmp_path / "Images-Disc1").rename(tmp_path / "elsewhere.gone")
    shutil.move(tmp_path / "elsewhere.gone", tmp_path.parent / "moved")
    away = next(watch)
    assert away.warnings[0].startswith("Waiting: folder must hold data files of EPU")
    assert len(away) == 3
    shutil.move(tmp_path.parent / "moved", tmp_path / "Images-Disc1")
    assert next(watch).warnings == ()
    cancel.set()
    assert list(watch) == []


def test_a_file_that_became_whole_unnoticed_is_tried_again(folder, monkeypatch, cancel):
    known = read_epu_session(folder)
    path = folder / known.table["file"][2]
    whole, time = path.read_bytes(), path.stat().st_mtime_ns
    path.write_bytes(b" " * len(whole))
    os.utime(path, ns=(time, time))
    watch = watch_session(folder, interval_s=0.01, cancel=cancel)
    assert len(next(watch).problems) == 1
    path.write_bytes(whole)
    os.utime(path, ns=(time, time))
    assert next(watch).problems.empty
    names = opened(monkeypatch)
    monkeypatch.setattr(watching, "_TRY_AGAIN_S", 0.0)
    path.write_bytes(b" ")
    watch = watch_session(folder, interval_s=0.01, known=known, cancel=cancel)
    assert len(next(watch).problems) == 1
    names.clear()
    threading.Timer(0.2, cancel.set).start()
    assert list(watch) == []
    assert names == []


def test_a_watch_waits_for_the_first_exposure(tmp_path, drawn, cancel):
    watch = watch_session(tmp_path, interval_s=0.01, cancel=cancel)
    empty = next(watch)
    assert len(empty) == 0 and empty.warnings[0].startswith("Waiting: ")
    shutil.copytree(drawn.session.folder / "Images-Disc1", tmp_path / "Images-Disc1")
    for session in watch:
        if len(session) == len(drawn.session):
            break
    else:
        pytest.fail("the exposures were not seen")
    with pytest.raises(ValueError, match="interval_s must be a number of seconds above 0; got 0"):
        watch_session(tmp_path, interval_s=0)
    with pytest.raises(ValueError, match="which is not there"):
        watch_session(tmp_path / "missing")


def test_a_cancelled_watch_ends_in_its_wait(folder, cancel):
    watch = watch_session(folder, interval_s=3600, cancel=cancel)
    next(watch)
    threading.Timer(0.05, cancel.set).start()
    assert list(watch) == []


def test_a_watch_keeps_quiet_while_nothing_changes(folder, cancel, monkeypatch):
    looks = []
    monkeypatch.setattr(
        watching, "read_epu_session", lambda *args, **options: looks.append(1) or read_epu_session(*args, **options)
    )
    watch = watch_session(folder, interval_s=0.01, cancel=cancel)
    next(watch)
    threading.Timer(0.3, cancel.set).start()
    assert list(watch) == []
    assert len(looks) > 3
