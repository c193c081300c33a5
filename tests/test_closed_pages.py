"""A page that is closed while it writes: what was asked for is on the disk in the end, and nothing stays in memory."""

import asyncio
import gc
import importlib
import logging
import re
import threading
import weakref

import pytest
from worlds import PAGES, begin, do, draw_all, errors, open_page

from analysis.tasks import Cancelled
from dashboards.support.jobs import Job, going_on, start, stop_all
from dashboards.support.path_settings import WorkFolder

ACTS = [
    # page, act, what it calls, what is done before
    ("flatfield", "register", "dashboards.flatfield.create_model", []),
    ("flatfield", "write_report", "dashboards.flatfield.write_flatfield_report", []),
    ("tiles", "export", "dashboards.tiles.export_tiles", []),
    ("tiles", "merge", "dashboards.tiles.merge_and_compare", ["export"]),
    ("tiles", "remove", "dashboards.tiles.remove_tiles", ["export"]),
    ("circles", "run", "dashboards.circles.run_pipeline", []),
    ("exposures", "write", "dashboards.exposures.write_everything", []),
    ("texture", "export", "dashboards.support.texture_writing.write_outputs", []),
    ("texture", "save_labels", "dashboards.support.texture_writing.save_labels", []),
]
SAYS_NOTHING = "write_everything"
TIME = re.compile(r"20\d\d-\d\d-\d\d[T ][\d:.-]+")
TIME_OF_BYTES = re.compile(TIME.pattern.encode())


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Data of all pages, only to be read."""
    return draw_all(tmp_path_factory.mktemp("drawn"))


@pytest.fixture
def held(monkeypatch):
    """Have a function wait until it is let go on: at the first progress it makes, where it makes any."""
    begun, going = threading.Event(), threading.Event()

    def hold(name):
        module, _, function = name.rpartition(".")
        real = getattr(importlib.import_module(module), function)

        def wait():
            begun.set()
            assert going.wait(60)

        def slow(*arguments, **keywords):
            progress = keywords.get("progress")
            if progress is None or function in SAYS_NOTHING:
                wait()
            else:
                keywords["progress"] = lambda *said: (wait(), progress(*said))
            return real(*arguments, **keywords)

        monkeypatch.setattr(name, slow)
        return begun, going

    yield hold
    going.set()


def opened(data, folder, instrument, monkeypatch):
    folder.mkdir()
    monkeypatch.chdir(folder)
    (name,) = [name for name, each in PAGES[instrument].param.objects(False).items() if isinstance(each, WorkFolder)]
    return open_page(data, instrument, **{name: str(folder / "results")})


def contents(folder):
    """What is in the files below a folder, without what differs between two runs of the same."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and ".graticule" not in path.parts and path.suffix != ".log":
            content = path.read_bytes().replace(str(folder).encode(), b"HERE")
            found[TIME.sub("THEN", str(path.relative_to(folder)))] = TIME_OF_BYTES.sub(b"THEN", content)
    return found


async def close_while(made, act, begun, going):
    """Close a page while it is busy with an act, and wait until that has ended."""
    running = asyncio.ensure_future(act())
    assert await asyncio.to_thread(begun.wait, 60)
    made.close()
    going.set()
    return await running


@pytest.mark.parametrize(("instrument", "act", "function", "before"), ACTS)
def test_what_is_being_written_is_written_to_the_end(
    data, tmp_path, monkeypatch, held, caplog, instrument, act, function, before
):
    caplog.set_level(logging.INFO, "dashboards")
    undisturbed = opened(data, tmp_path / "one", instrument, monkeypatch)
    for each in [*before, act]:
        assert do(undisturbed, each) == ""

    closed = opened(data, tmp_path / "two", instrument, monkeypatch)
    for each in before:
        assert do(closed, each) == ""
    begun, going = held(function)

    asyncio.run(close_while(closed, lambda: begin(closed, act), begun, going))
    assert errors(closed) == ""
    found, expected = contents(tmp_path / "two"), contents(tmp_path / "one")
    assert found.keys() == expected.keys()
    assert bool(found) == (act != "remove")
    # reports have names in them that are made up anew
    assert [name for name in found if found[name] != expected[name] and not name.endswith(".html")] == []
    said = [record.getMessage() for record in caplog.records]
    assert any("the page was closed and what it writes goes on" in each for each in said)
    assert any(f"{act} has ended on a page that was closed" in each for each in said)


@pytest.mark.parametrize(
    ("instrument", "act", "function"),
    [
        ("flatfield", "compare", "dashboards.flatfield.compare_mean_images"),
        ("tiles", "look_up", "dashboards.tiles.find_images"),
        ("texture", "search", "dashboards.texture.search_settings"),
    ],
)
def test_what_was_only_to_be_looked_at_is_stopped(data, tmp_path, monkeypatch, held, instrument, act, function):
    made = opened(data, tmp_path / "one", instrument, monkeypatch)
    asked = []
    module, _, name = function.rpartition(".")
    work = getattr(importlib.import_module(module), name)

    def look(*arguments, cancel, progress, **keywords):
        try:
            return work(*arguments, cancel=cancel, progress=progress, **keywords)
        finally:
            asked.append(cancel.is_set())

    monkeypatch.setattr(function, look)
    begun, going = held(function)
    asyncio.run(close_while(made, getattr(made, act), begun, going))
    assert asked == [True]


def test_sample_data_that_nobody_waits_for_are_not_compared(data, tmp_path, monkeypatch, held):
    made = opened(data, tmp_path / "one", "circles", monkeypatch)
    begun, going = held("dashboards.circles.draw_acquisitions")
    asyncio.run(close_while(made, made.load_example, begun, going))
    assert made.ran is None and not list((tmp_path / "one").rglob("*.csv"))


def test_a_closed_page_begins_nothing(data, tmp_path, monkeypatch):
    made = opened(data, tmp_path / "one", "tiles", monkeypatch)
    made.close()
    assert do(made, "export") == "" and not list((tmp_path / "one").rglob("*.tif"))


def test_a_closed_page_that_has_written_is_not_kept(data, tmp_path, monkeypatch, held):
    made = opened(data, tmp_path / "one", "tiles", monkeypatch)
    shown = made.main()
    begun, going = held("dashboards.tiles.export_tiles")
    asyncio.run(close_while(made, made.export, begun, going))
    assert (tmp_path / "one" / "results" / "tiles.json").exists()
    left = [weakref.ref(made), weakref.ref(made.job), weakref.ref(shown)]
    del made, shown
    gc.collect()
    assert [each() for each in left] == [None, None, None]


def count_to(steps, *, progress, cancel):
    for step in range(steps):
        if cancel.wait(0.01):
            raise Cancelled(f"Stopped after {step} of {steps}.")
    return steps


def run_kept(job, steps, *, meanwhile):
    async def run():
        with going_on(True):
            running = asyncio.ensure_future(job.run("Counting", count_to, steps))
        await asyncio.sleep(0.05)
        meanwhile()
        return await running

    return asyncio.run(run())


def test_what_goes_on_ends_with_its_result_and_what_does_not_is_stopped():
    job = Job()
    assert run_kept(job, 30, meanwhile=job.close) == 30

    async def looking():
        running = asyncio.ensure_future(other.run("Counting", count_to, 1000))
        await asyncio.sleep(0.05)
        other.close()
        return await running

    other = Job()
    assert asyncio.run(looking()) is None and other.words.startswith("Stopped after")


@pytest.mark.parametrize("how", ["by the button", "by the end of the server", "by the end of the server once closed"])
def test_what_goes_on_can_be_stopped(how):
    job = Job()

    def stop():
        if "closed" in how:
            job.close()
        job.cancel() if "button" in how else stop_all()

    assert run_kept(job, 10_000, meanwhile=stop) is None
    assert job.words.startswith("Stopped after") and job.error == ""


def test_what_an_act_starts_on_the_page_does_not_go_on_with_it():
    begun, job = [], Job()

    async def look():
        begun.append(await job.run("Counting", count_to, 1000))

    async def act():
        with going_on(True):
            start(look)
        await asyncio.sleep(0.05)
        assert job.busy and not job.goes_on
        job.close()
        while not begun:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(act(), 30))
    assert begun == [None] and job.words.startswith("Stopped after")
