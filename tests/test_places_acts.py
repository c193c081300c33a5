"""What pages do where folders were named: nothing is written elsewhere or at all, and links that lead out are told."""

import asyncio
import contextlib
import inspect
import os
import shutil
import threading
from pathlib import Path

import panel as pn
import pytest
from test_places_pages import SETTINGS
from worlds import PAGES, do, draw_all, open_page

from analysis.tiles import read_manifest
from dashboards.support.file_wall import guard
from dashboards.support.path_settings import WorkFolder
from dashboards.support.places import Refused

WRITING = {
    "flatfield": ["compare", "register", "write_report", "load_example"],
    "tiles": ["export", "merge", "write_report", "remove", "load_example"],
    "circles": ["run", "write_report", "load_example"],
    "exposures": ["write", "write_report", "load_example"],
    "texture": ["export", "write_report", "save_labels", "load_example"],
}
NOT_ACTS = {"run_wide", "save_report", "follow"}  # two that acts are made of, and one that goes on until it is stopped


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Data of all pages, only to be read."""
    return draw_all(tmp_path_factory.mktemp("drawn"))


@pytest.fixture
def world(drawn, tmp_path, monkeypatch):
    """Folders that are named as the command does, beside one that is not."""
    shutil.copytree(drawn, tmp_path / "data")
    for name in ("output", "outside", "here"):
        (tmp_path / name).mkdir()
    for name, value in {"DATA": tmp_path / "data", "OUTPUT": tmp_path / "output", "READ_ONLY": ""}.items():
        monkeypatch.setenv(f"GRATICULE_{name}", str(value))
    monkeypatch.setenv("GRATICULE_SCHEDULER", "")
    monkeypatch.chdir(tmp_path / "here")
    yield tmp_path
    monkeypatch.undo()
    guard()  # holds nothing any more


def opened(world, instrument, **settings):
    return open_page(world / "data", instrument, **settings)


def snapshot(folder):
    found = {path: path.lstat().st_mtime_ns if path.is_file() else 0 for path in folder.rglob("*")}
    return {str(path.relative_to(folder)): value for path, value in found.items()}


# ---- where things are written ----------------------------------------------------------------------------


@pytest.mark.parametrize("instrument", PAGES)
def test_everything_is_written_below_the_output_folder(world, instrument):
    made = opened(world, instrument)
    before = snapshot(world)
    for name in WRITING[instrument]:
        assert do(made, name) == ""
    after = snapshot(world)
    changed = {name.split("/")[0] for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert changed == {"output"}
    assert len(list((world / "output" / "examples").iterdir())) == 1


@pytest.mark.parametrize("how", ["read only", "no folder to write into"])
@pytest.mark.parametrize("instrument", PAGES)
def test_nothing_is_written_whatever_is_asked_for(world, instrument, how, monkeypatch):
    """Whatever a browser may send: every public act is done, also those whose button is not there."""
    monkeypatch.setenv(*(("GRATICULE_READ_ONLY", "1") if how == "read only" else ("GRATICULE_OUTPUT", "")))
    made = opened(world, instrument)
    assert made.outcome() or instrument == "circles"
    before = snapshot(world)
    acts = {name for name, each in inspect.getmembers(made, inspect.iscoroutinefunction) if not name.startswith("_")}
    for name in sorted(acts - NOT_ACTS):
        said = do(made, name)
        if name in WRITING[instrument]:
            assert "Nothing is written here: the pages are served with" in said, name
    assert set(WRITING[instrument]) <= acts
    assert snapshot(world) == before


@pytest.mark.parametrize("instrument", PAGES)
def test_what_writes_is_not_offered_read_only(world, instrument, monkeypatch):
    buttons = []
    for value in ("", "1"):
        monkeypatch.setenv("GRATICULE_READ_ONLY", value)
        made = PAGES[instrument]()
        shown = pn.Column(*made.controls(), made.main())
        labels = {str(getattr(each, "label", "")) for each in shown.select() if hasattr(each, "on_click")}
        buttons.append({label for label in labels if label})
        words = " ".join(str(getattr(each, "object", "")) for each in shown.select())
        assert ("served with" in words) == bool(value)
    gone = {
        "flatfield": {"Compare", "Register…", "Register and write", "Not now", "Write report", "Look at sample data"},
        "tiles": {"Export", "Write tiles", "Remove tiles…", "Remove", "Keep them", "Merge", "Write report",
                  "Look at sample data"},
        "circles": {"Run", "Write report", "Look at sample data"},
        "exposures": {"Write files", "Write report", "Look at sample data"},
        "texture": {"Write", "Save", "Write report", "Look at sample data"},
    }  # fmt: skip
    reports = {label for label in buttons[0] - buttons[1] if label.startswith("Report")}
    assert buttons[0] - buttons[1] - reports == gone[instrument]
    assert not {
        label for label in buttons[1] if label.startswith(("Write", "Export", "Save", "Run", "Register", "Merge"))
    }


@pytest.mark.parametrize("instrument", PAGES)
def test_results_in_the_data_are_looked_at_and_not_written(world, instrument):
    folder = world / "data" / "results"
    folder.mkdir()
    (name,) = [name for page, name in SETTINGS if page == instrument and is_work_folder(page, name)]
    made = opened(world, instrument, **{name: str(folder)})
    before = snapshot(world / "data")
    for act in WRITING[instrument]:
        if act not in ("load_example", "save_labels"):
            assert "is not in the folder that this server writes into" in do(made, act), act
    assert snapshot(world / "data") == before


def is_work_folder(page, name):
    return isinstance(PAGES[page].param[name], WorkFolder)


# ---- links -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("instrument", PAGES)
def test_a_link_made_after_the_check_leads_nowhere(world, instrument):
    (name,) = [name for page, name in SETTINGS if page == instrument and is_work_folder(page, name)]
    target = world / "output" / "mine"
    target.mkdir()
    made = opened(world, instrument, **{name: str(target)})
    if instrument == "circles":
        do(made, "run")
    shutil.rmtree(target)
    target.symlink_to(world / "outside")
    for act in WRITING[instrument]:
        if act not in ("load_example", "save_labels"):
            assert "is not in a folder that this server reads" in do(made, act), act
    assert list((world / "outside").iterdir()) == []


@pytest.mark.parametrize("instrument", PAGES)
def test_a_linked_folder_within_the_results_is_not_written_into(world, instrument):
    (name,) = [name for page, name in SETTINGS if page == instrument and is_work_folder(page, name)]
    target = world / "output" / "mine"
    target.mkdir()
    inside = {
        "flatfield": ["meanimagecomparison_store", "flatfield", "flatfield_report.html"],
        "tiles": ["cells_00_000.tif", "tiles.json"],
        "circles": ["qc", "circles", "experiments.csv"],
        "exposures": ["duplicates_badfiles_tiff.txt", "exposures_report.html"],
        "texture": ["patches.csv", "texture_report.html"],
    }[instrument]
    made = opened(world, instrument, **{name: str(target)})
    if instrument == "circles":  # which only goes on in a folder of its own
        do(made, "run")
        made.redo = True
        shutil.rmtree(target / "qc")
        shutil.rmtree(target / "circles")
        (target / "experiments.csv").unlink()
    for each in inside:
        place = world / "outside" / each
        place.mkdir() if "." not in each[1:] else None
        (target / each).symlink_to(place)
    before = snapshot(world / "outside")
    said = [
        do(made, act) for act in WRITING[instrument] if act not in ("load_example", "save_labels", "merge", "remove")
    ]
    assert any("leads out of the folder" in each for each in said), said
    assert snapshot(world / "outside") == before


def lead_out(world, pattern):
    """Put a link to a place outside where a file was, and return it."""
    file = sorted((world / "data").glob(pattern))[0]
    shutil.move(file, world / "outside" / file.name)
    file.symlink_to(world / "outside" / file.name)
    return file


@pytest.mark.parametrize(
    ("instrument", "pattern"),
    [
        ("flatfield", "flatfield/*/*/im3/meanimage/*mean_image.bin"),
        ("tiles", "tiles/images/*.tif"),
        ("circles", "circles/acquisitions/*/*/*/*.png"),
        ("exposures", "exposures/**/FoilHole_*_Data_*.xml"),
        ("texture", "texture/tiles/*.tif"),
    ],
)
def test_a_linked_file_is_told_by_name_and_the_rest_is_done(world, instrument, pattern):
    file = lead_out(world, pattern)
    made = opened(world, instrument)
    if instrument in ("flatfield", "circles"):
        do(made, WRITING[instrument][0])
    table = {
        "flatfield": lambda: made.result.problems,
        "tiles": lambda: made.sources.problems,
        "circles": lambda: made.results.failures,
        "exposures": lambda: made.session.problems,
        "texture": lambda: made.tile_set.problems,
    }[instrument]()
    said = table.astype(str).agg(" ".join, axis=1)
    assert len(said) == 1 and "leads out of the folders that this server reads" in said.iloc[0]
    assert file.stem in said.iloc[0]
    # and the rest
    assert made.outcome()
    # what it leads to is read when that is a folder that was named
    os.environ["GRATICULE_DATA"] += os.pathsep + str(world / "outside")
    again = opened(world, instrument)
    if instrument in ("flatfield", "circles"):
        do(again, WRITING[instrument][0])
    assert again.outcome() != made.outcome()


def test_a_source_named_by_a_manifest_is_read_only_where_it_may_be(world):
    made = opened(world, "tiles")
    do(made, "export")
    manifest = Path(made.working_dir) / "tiles.json"
    secret = world / "outside" / "secret.tif"
    shutil.copy(sorted((world / "data/tiles/images").glob("*.tif"))[0], secret)
    first = read_manifest(made.working_dir)[0].source
    manifest.write_text(manifest.read_text().replace(first, str(secret)))
    assert do(made, "merge") == ""
    assert [bool(picture.source) for picture in made.merged.pictures] == [False, True, True]


def test_a_forged_version_reads_and_tells_nothing(world):
    made = opened(world, "flatfield")
    said = []
    (world / "outside" / "there.bin").write_bytes(b"x" * 10)
    for version in ("/../../../../outside/there", "/../../../../outside/not"):
        asyncio.run(made.show_model(version))
        said.append(made.job.error.replace("there", "X").replace("not.bin", "X.bin"))
        assert made.model is None
    assert said[0] == said[1] and "without '..'" in said[0]


@pytest.mark.parametrize(
    ("instrument", "setting"),
    [("tiles", "image"), ("circles", "image"), ("circles", "experiment"), ("exposures", "looked_at"),
     ("exposures", "grid_square"), ("texture", "shown"), ("flatfield", "members"), ("flatfield", "layers")],
)  # fmt: skip
def test_a_picked_name_that_is_not_offered_opens_nothing(world, instrument, setting, monkeypatch):
    """Panel refuses such a value of a list; this is what a page makes of one that gets through all the same."""
    made = opened(world, instrument)
    shutil.copy(next((world / "data/circles/acquisitions").rglob("*.png")), world / "outside" / "f.png")
    reached, real = [], os.path.realpath

    def watch(path, **how):
        reached.append(os.fsdecode(real(path, **how)))
        return real(path, **how)

    # by which the guard is told of every file
    monkeypatch.setattr("dashboards.support.file_wall.os.path.realpath", watch)
    for value in (str(world / "outside" / "f.png"), "../../../outside/f.png", "/etc/passwd"):
        with contextlib.suppress(ValueError, KeyError, IndexError):
            setattr(made, setting, value)
        for act in ("look_at_pictures", "open_image", "look_at_experiment", "look_closer"):
            if hasattr(made, act):
                do(made, act)
    assert [path for path in reached if path.startswith((str(world / "outside"), "/etc"))] == []


def test_the_scheduler_named_at_start_still_works(world, cluster, monkeypatch):
    monkeypatch.setenv("GRATICULE_SCHEDULER", cluster.address)
    made = opened(world, "tiles", scheduler=cluster.address)
    assert do(made, "export") == ""
    assert len(list((world / "output" / "tiles").glob("*.tif"))) > 3


def test_labels_are_read_and_saved_only_where_they_may_be(world):
    made = opened(world, "texture")
    secret = world / "outside" / "labels.csv"
    secret.write_text("secret")
    for path in (secret, "../outside/labels.csv", "~/labels.csv", world / "data_evil" / "l.csv", "/etc/passwd"):
        asyncio.run(made.load_labels(path))
        assert "secret" not in made.write_job.error
        assert "this server reads" in made.write_job.error or "must" in made.write_job.error
        asyncio.run(made.save_labels(path))
        assert "this server writes into" in made.write_job.error or "must" in made.write_job.error
    assert secret.read_text() == "secret"
    asyncio.run(made.save_labels("mine.csv"))
    assert (world / "output" / "mine.csv").exists()
    content = (world / "output" / "mine.csv").read_bytes()
    made.forget_labels()
    asyncio.run(made.upload_labels(content, "../../../etc/passwd"))
    assert len(made.labels) == 1 and made.write_job.error == ""


def test_a_visitor_names_no_scheduler(world, monkeypatch):
    made = PAGES["flatfield"]()
    with pytest.raises(Refused, match="is not the scheduler that these pages are served with"):
        made.scheduler = "tcp://169.254.169.254:80"
    monkeypatch.setenv("GRATICULE_SCHEDULER", "tcp://lab:8786")
    made.scheduler = "tcp://lab:8786"
    with pytest.raises(Refused):
        made.scheduler = "tcp://lab:8786.evil"


def test_the_guard_holds_threads_that_pages_work_in(world):
    PAGES["tiles"]()
    (world / "outside" / "f").write_text("secret")
    (world / "data" / "link").symlink_to(world / "outside")
    tried = {
        "read": lambda: (world / "outside" / "f").read_text(),
        "read below a link": lambda: (world / "data" / "link" / "f").read_text(),
        "list": lambda: os.listdir(world / "outside"),
        "scan": lambda: list(os.scandir(world / "data" / "link")),
        "low": lambda: os.open(world / "outside" / "f", os.O_RDONLY),
        "write": lambda: (world / "data" / "new").write_text("x"),
        "write below a link": lambda: (world / "data" / "link" / "new").write_text("x"),
        "append": lambda: (world / "outside" / "f").open("a"),
        "make": lambda: (world / "data" / "made").mkdir(),
        "remove": lambda: (world / "data" / "link").unlink(),
        "rename in": lambda: os.rename(world / "outside" / "f", world / "output" / "f"),
        "rename out": lambda: os.replace(world / "output" / "kept", world / "outside" / "f"),
        "hard link": lambda: os.link(world / "outside" / "f", world / "output" / "f"),
        "tree": lambda: shutil.rmtree(world / "outside"),
        "mode": lambda: os.chmod(world / "outside" / "f", 0o777),
        "mapped root": lambda: Path("/proc/self/root" + str(world / "outside" / "f")).read_text(),
        "password": lambda: Path("/etc/passwd").read_text(),
    }
    (world / "output" / "kept").write_text("kept")
    refused = []

    def try_all():
        for name, act in tried.items():
            try:
                act()
            except Refused:
                refused.append(name)
        # and what is allowed, with all that Python does to remove a tree
        (world / "output" / "new" / "deep").mkdir(parents=True)
        (world / "output" / "new" / "deep" / "f").write_text("x")
        shutil.rmtree(world / "output" / "new")
        assert not (world / "output" / "new").exists() and Path("/proc/self/maps").read_bytes()

    thread = threading.Thread(target=try_all)
    thread.start()
    thread.join()
    assert refused == list(tried)
    assert (world / "outside" / "f").read_text() == "secret" and (world / "data" / "link").is_symlink()
