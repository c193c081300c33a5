"""Pages that were closed are gone: nothing of them stays in the server's memory."""

import asyncio
import gc
import itertools
import subprocess
import sys
import time
import urllib.request
import weakref

import pytest
from bokeh.document import Document

from dashboards.support import housekeeping
from dashboards.support.guarded_server import guarded_server
from dashboards.support.instruments import INSTRUMENTS
from dashboards.support.serving import free_port, instrument_files
from dashboards.support.serving_rules import Guard

LONGEST_WAIT_S = 90


def documents():
    """How many pages there are in memory."""
    gc.collect()
    return sum(type(each) is Document for each in gc.get_objects())


async def pages_left():
    """Open every page, without the socket that keeps it, and wait until the server takes them for closed."""
    port = free_port("127.0.0.1", 0)
    server = guarded_server(Guard(), address="127.0.0.1", port=port, panels=instrument_files(), title="", start=False)
    server.start()
    try:
        before = documents()
        most = 0
        for path in ["home", *(instrument.name for instrument in INSTRUMENTS)]:
            answer = await asyncio.to_thread(urllib.request.urlopen, f"http://127.0.0.1:{port}/{path}", timeout=60)
            answer.close()
            most = max(most, documents() - before)
        for _ in range(LONGEST_WAIT_S):
            await asyncio.sleep(1)
            if not any(context.sessions for context in server._tornado.applications.values()):
                break
        await asyncio.sleep(1)
        return most, documents() - before
    finally:
        server.stop(wait=False)


def test_pages_that_nobody_has_open_leave_nothing_behind():
    most, left = asyncio.run(pages_left())
    assert most > 0
    assert left <= 0


IMPORTED = """
import asyncio, gc, sys
from dashboards.support.housekeeping import import_pages
from dashboards.support.serving import instrument_files
asyncio.run(import_pages(instrument_files().values()))
print(gc.get_freeze_count() > 0, *sys.modules)
"""


def test_what_pages_need_is_imported_before_anybody_comes_and_never_collected():
    run = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True, timeout=120)
    frozen, *modules = run.stdout.split()
    assert frozen == "True"
    assert {f"dashboards.{instrument.name}" for instrument in INSTRUMENTS} <= set(modules)


@pytest.fixture
def old_garbage():
    """What only a look through all that lives finds: two things that know each other, and have outlived the young."""

    class Thing:
        pass

    thresholds = gc.get_threshold()
    gc.collect()
    thing, other = Thing(), Thing()
    thing.other, other.thing = other, thing
    gc.collect()
    found = weakref.ref(thing)
    del thing, other
    yield found
    gc.set_threshold(*thresholds)


def test_garbage_is_collected_in_pauses(old_garbage, monkeypatch):
    monkeypatch.setattr(housekeeping, "_PAUSE_S", 0.05)
    monkeypatch.setattr(housekeeping, "_WORTH_IT", 0)
    spent_s = itertools.count()

    async def work():
        running = asyncio.create_task(housekeeping.collect_in_pauses())
        monkeypatch.setattr(time, "process_time", lambda: next(spent_s))  # as if it worked all the time
        await asyncio.sleep(0.5)
        assert next(spent_s) > 5 and old_garbage() is not None
        monkeypatch.setattr(time, "process_time", lambda: 0.0)
        while old_garbage() is not None:
            await asyncio.sleep(0.01)
        running.cancel()

    asyncio.run(asyncio.wait_for(work(), 30))
    assert 10 < gc.get_threshold()[2] < 10_000  # where no pause comes
