"""Pages whose files, disk or workers fail while they are used: a sentence, nothing half-written, and then on again."""

import os
import shutil
import signal
import subprocess
import sys

import pandas as pd
import pytest
from worlds import PAGES, do, draw_all, open_page

from analysis.planes import find_info
from dashboards.support.path_settings import WorkFolder

LOOKING = "look_up"
WRITING = {"flatfield": "compare", "tiles": "export", "circles": "run", "exposures": "write", "texture": "export"}
FIRST = {
    # a file that is read, by pages that read it once more when they write
    "flatfield": "flatfield/*/*/im3/meanimage/*-mean_image.bin",
    "tiles": "tiles/images/*.tif",
    "circles": "circles/acquisitions/*/*/*/*.png",
    "exposures": "exposures/**/FoilHole_*_Data_*.xml",
    "texture": "texture/tiles/*.tif",
}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Data of all pages, only to be read."""
    return draw_all(tmp_path_factory.mktemp("drawn"))


@pytest.fixture
def data(drawn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(drawn, tmp_path / "data")


def opened(data, instrument, results, **settings):
    (name,) = [name for name, each in PAGES[instrument].param.objects(False).items() if isinstance(each, WorkFolder)]
    return open_page(data, instrument, **{name: str(results)}, **settings)


def said(made):
    """All that a page says of what went wrong: in its banners, and in its tables of problems."""
    words = [job.error for job in made._jobs]
    for name in ("result", "sources", "results", "session", "tile_set", "exported", "merged", "ran"):
        for kind in ("problems", "failures"):
            table = getattr(getattr(made, name, None), kind, None)
            if hasattr(table, "astype") and len(table):
                words += table.astype(str).agg(" ".join, axis=1).tolist()
    return "\n".join(word for word in words if word)


def check_words(words, *wanted):
    assert "fault of the program" not in words and "Traceback" not in words
    for each in wanted:
        assert each in words, words


def check_whole(folder):
    """Every file that is there can be read to its end, and nothing is left of those that cannot."""
    for path in folder.rglob("*"):
        assert not path.name.endswith((".graticule-tmp", ".lock")), path
        if path.suffix == ".csv":
            pd.read_csv(path)
        elif path.suffix in (".tif", ".png"):
            assert find_info(path).shape
        elif path.suffix == ".html":
            assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")


# ---- inputs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("instrument", PAGES)
def test_a_folder_that_goes_away_and_comes_back(data, tmp_path, instrument):
    """A share that is not there for a while: the page says which folder, and goes on when it is back."""
    undisturbed = opened(data, instrument, tmp_path / "undisturbed" / "results")
    assert do(undisturbed, WRITING[instrument]) == ""
    made = opened(data, instrument, tmp_path / "output" / "results")
    (data / instrument).rename(data / "away")
    for act in (LOOKING, WRITING[instrument], "write_report"):
        do(made, act)
        check_words(said(made))
        check_whole(tmp_path / "output") if (tmp_path / "output").exists() else None
    do(made, LOOKING)
    check_words(said(made), str(data / instrument))
    (data / "away").rename(data / instrument)
    words = [do(made, act) for act in (LOOKING, WRITING[instrument], "write_report")]
    assert words[-1] == ""
    assert made.outcome() == undisturbed.outcome() and made.outcome()
    check_whole(tmp_path / "output")


@pytest.mark.parametrize("change", ["cut", "empty", "gone"])
@pytest.mark.parametrize("instrument", PAGES)
def test_a_file_that_changes_after_it_was_listed(data, tmp_path, instrument, change):
    """A file cut, emptied or removed while the page has it in its list: told by name, and the rest is done."""
    made = opened(data, instrument, tmp_path / "output" / "results")
    file = sorted(data.glob(FIRST[instrument]))[0]
    whole = file.read_bytes()
    if change == "gone":
        file.unlink()
    else:
        file.write_bytes(whole[: len(whole) // 2 if change == "cut" else 0])
    acts = ["register", "compare"] if instrument == "flatfield" else [WRITING[instrument], LOOKING]
    words = ""
    for act in acts:
        do(made, act)
        words += said(made)
        check_whole(tmp_path / "output") if (tmp_path / "output").exists() else None
    # what is no longer there when the page looks again is simply not there
    check_words(words, *([file.stem] if change != "gone" or instrument in ("flatfield", "tiles") else []))
    assert made.outcome()
    file.write_bytes(whole)
    for act in (LOOKING, WRITING[instrument]):
        assert do(made, act) == ""
    assert file.stem not in said(made)
    check_whole(tmp_path / "output")


# ---- the disk --------------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path):
    """A disk of 16 kB, and a way to make it larger."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o"]
    if sys.platform != "linux" or subprocess.run([*mount, "size=16k", "tmpfs", folder], check=False).returncode:
        pytest.skip("a full disk is made by mounting one, which only root on Linux may")
    yield folder, lambda: subprocess.run(["mount", "-o", "remount,size=64m", folder], check=True)
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("instrument", PAGES)
def test_a_full_disk_is_said_and_then_there_is_room(data, disk, instrument):
    """A disk that is full: which file could not be written and what to do; the same button works when there is room."""
    folder, make_room = disk
    made = opened(data, instrument, folder / "results")
    acts = [WRITING[instrument], *(["register"] if instrument == "flatfield" else []), "write_report"]
    for act in acts:
        do(made, act)
        if act == "write_report" and instrument == "circles":
            continue  # there is nothing to report on
        check_words(said(made), "No space left on device", "make room there or choose another folder", str(folder))
        check_whole(folder)
    make_room()
    for act in acts:
        assert do(made, act) == "", act
    assert "No space left" not in said(made)
    assert made.outcome() and len(list(folder.rglob("*.html"))) == 1
    check_whole(folder)


# ---- those who work --------------------------------------------------------------------------------------


@pytest.mark.parametrize("instrument", ["tiles", "circles"])
def test_a_worker_that_is_killed_while_it_works(data, tmp_path, fragile, monkeypatch, instrument):
    """The only worker killed (SIGKILL) half way: the page says so, and another one finishes what is left."""
    pytest.importorskip("distributed", reason="dask.distributed is not installed")
    name = {"tiles": "export_tiles", "circles": "run_pipeline"}[instrument]
    module = sys.modules[PAGES[instrument].__module__]
    real, killed = getattr(module, name), []

    def work(*arguments, progress, **options):
        def tell(*words):
            if not killed:
                os.kill(first.pid, signal.SIGKILL)
                killed.append(first.wait(10))
            progress(*words)

        return real(*arguments, progress=tell, **options)

    first = fragile.add_worker(nanny=False)
    monkeypatch.setattr(module, name, work)
    made = opened(data, instrument, tmp_path / "output" / "results", scheduler=fragile.address)
    do(made, WRITING[instrument])
    assert killed == [-signal.SIGKILL]
    check_words(said(made), "work")
    check_whole(tmp_path / "output")
    fragile.add_worker(nanny=False)
    assert do(made, WRITING[instrument]) == ""
    here = opened(data, instrument, tmp_path / "here" / "results")
    assert do(here, WRITING[instrument]) == ""
    assert made.outcome() == here.outcome() and made.outcome()
    images = [
        {path.name: path.read_bytes() for path in (tmp_path / each).rglob("*.tif")} for each in ("output", "here")
    ]
    assert images[0] == images[1]
