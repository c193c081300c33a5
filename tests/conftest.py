"""What several tests need: a cohort on disk, a browser, and reference data where there is any."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from math import inf
from pathlib import Path

import pytest
from playwright.sync_api import expect
from waiting import until_open

from analysis.synthetic.flatfield import Cohort, draw_cohort

REPOSITORY = Path(__file__).parents[1]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
IN_BROWSER = " in a browser"
expect.set_options(timeout=60_000)  # a busy machine takes its time
NO_BROWSER = "no Chromium or Chrome found; install one, or set GRATICULE_BROWSER to its program"


def find_browser() -> str | None:
    """Path of a browser: the one that GRATICULE_BROWSER names, or the first that is installed."""
    named = os.environ.get("GRATICULE_BROWSER")
    names = (named,) if named else BROWSERS
    return next((path for name in names if (path := shutil.which(name))), None)


def pytest_collection_modifyitems(items):
    in_browser = Counter(item.path for item in items if item.get_closest_marker("browser"))
    # the browser's driver keeps an event loop running in this thread, which asyncio.run of other tests does not bear;
    # short files at the very end have workers finish at about the same time
    items.sort(key=lambda item: -in_browser[item.path] if item.get_closest_marker("browser") else -inf)
    if find_browser() or os.environ.get("GRATICULE_BROWSER_REQUIRED"):
        return
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.skip(reason=NO_BROWSER))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give workers whole files, so that fixtures are made once, and one of them browsers from the start.

    Tests in a browser keep more than a core busy and others often wait, so the two go well side by side. A worker that
    had a browser gets no other tests any more, for the reason above.
    """
    from xdist.scheduler import LoadFileScheduling

    class BrowsersApart(LoadFileScheduling):
        """Files whose tests of a browser are handed out apart from their other tests, from the start to one worker."""

        def __init__(self, *args):
            super().__init__(*args)
            self.browsing = set()

        def _split_scope(self, nodeid):
            # the browser's name is a parameter of every test that has one
            return f"{super()._split_scope(nodeid)}{IN_BROWSER if '[chromium' in nodeid else ''}"

        def _assign_work_unit(self, node):
            units = list(self.workqueue)
            apart = node in self.browsing or (not self.browsing and len(self.nodes) > 1)
            unit = next((each for each in units if apart and each.endswith(IN_BROWSER)), units[0])
            self.workqueue.move_to_end(unit, last=False)
            if unit.endswith(IN_BROWSER):
                self.browsing.add(node)
            super()._assign_work_unit(node)

        def _reschedule(self, node):
            left = any(each.endswith(IN_BROWSER) for each in self.workqueue)
            if node in self.browsing and not left and len(self.nodes) > 1:
                node.shutdown()
            else:
                super()._reschedule(node)

    config.option.loadscopereorder = False
    return BrowsersApart(config, log)


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args):
    """Use the machine's browser, and let it talk to nobody by itself."""
    path = find_browser()
    if path is None:
        pytest.fail(NO_BROWSER)
    quiet = (
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    )
    return {**browser_type_launch_args, "executable_path": path, "args": list(quiet)}


class Server:
    """A server of the pages in a process of its own."""

    def __init__(self, command: list[str], folder: Path, settings: dict[str, str]):
        self.log = folder / "server.log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, cwd=folder, env=os.environ | settings
            )
        self.address = self.wait(re.compile(r"http://127\.0\.0\.1:\d+"))

    def wait(self, pattern: re.Pattern[str]) -> str:
        """Wait for words in the log, and return them."""
        for _ in range(1200):
            found = pattern.search(self.log.read_text())
            if found:
                return found[0]
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.1)
        raise AssertionError(self.log.read_text())

    def stop(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.wait(60)


# what tornado says when a page is closed while something is on its way to it
_CLOSED_UNDER_WAY = re.compile(
    r"(?:ERROR:asyncio:)?Task exception was never retrieved\n"
    r"(?:(?!Task exception).)*?\ntornado\.websocket\.WebSocketClosedError\n",
    re.DOTALL,
)
# and what Bokeh says when a message of such a page arrives after its connection was taken down
_CLOSED_BEFORE = re.compile(
    r"(?:ERROR:bokeh\.server\.protocol_handler:error handling message"
    r"|(?:ERROR:tornado\.application:)?Uncaught exception GET /\w+/ws)"
    r"(?:(?!ERROR:|Uncaught exception).)*?assert self\._session is not None\n[ ^]*\n\s*AssertionError\n",
    re.DOTALL,
)


@pytest.fixture(scope="session")
def start_server() -> Callable[..., Iterator[Server]]:
    """Start a server of the pages in a folder with some environment; afterwards its log must hold no error."""

    def start(folder: Path, settings: dict[str, str], command: list[str] | None = None) -> Iterator[Server]:
        own = [sys.executable, "-c", "from dashboards.support.command import main; main()", "serve", "--port", "0"]
        served = Server(command or own, folder, settings)
        try:
            yield served
        finally:
            served.stop()
        log = _CLOSED_BEFORE.sub("", _CLOSED_UNDER_WAY.sub("", served.log.read_text()))
        assert "Traceback" not in log and "ERROR" not in log, log

    return start


@pytest.fixture
def opened(page, server):
    """Open a page of ``server``; afterwards nothing must have failed, asked others for anything, or run as HTML."""
    faults, outside = [], []
    page.on("pageerror", lambda fault: faults.append(str(fault)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: outside.append(request.url))
    page.set_viewport_size({"width": 1280, "height": 800})
    page.set_default_timeout(60_000)

    def go(path="/flatfield"):
        page.goto(server.address + path)
        until_open(page)
        return page

    yield go
    assert page.evaluate("window.hit") is None
    assert [url for url in outside if not url.startswith((server.address, "data:", "blob:"))] == []
    assert [fault for fault in faults if "favicon" not in fault] == []


@pytest.fixture(autouse=True)
def _no_page_outlives_its_test():
    yield
    panel = sys.modules.get("panel")
    if panel is not None and panel.state._servers:
        panel.state.kill_all_servers()
        panel.state.reset()


@pytest.fixture(scope="session")
def reference() -> Path:
    """Files that another program wrote: from GRATICULE_REFERENCE, or beside the checkout."""
    named = os.environ.get("GRATICULE_REFERENCE")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "reference"
    if not folder.is_dir():
        pytest.skip(f"no reference data at {folder}; GRATICULE_REFERENCE may name its folder")
    return folder


@pytest.fixture(scope="session")
def real_epu() -> Path:
    """A session of a microscope: from GRATICULE_REAL, or beside the checkout."""
    named = os.environ.get("GRATICULE_REAL")
    folder = (Path(named) if named else REPOSITORY.parent / "shared" / "real") / "epu"
    if not folder.is_dir():
        pytest.skip(f"no session of a microscope at {folder}; GRATICULE_REAL may name the folder that holds epu")
    return folder


@pytest.fixture(scope="session")
def cohort(tmp_path_factory) -> Cohort:
    """Three slides that share an illumination, two that share another, and an outlier; only to be read."""
    return draw_cohort(tmp_path_factory.mktemp("cohort"), seed=3, shape=(24, 34, 35), sizes=(3, 2), outliers=1)


@pytest.fixture
def roots(cohort, tmp_path) -> list[Path]:
    """A copy of the cohort that a test may spoil."""
    return [Path(shutil.copytree(root, tmp_path / "data" / root.name)) for root in cohort.roots]


class Cluster:
    """A scheduler and workers in processes of their own, on this machine."""

    def __init__(self, folder):
        self.folder, self.workers, self.logs = folder, [], []
        told = folder / "scheduler.json"
        self.scheduler = self.start("dask_scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", told)
        for _ in range(300):
            time.sleep(0.1)
            if told.exists() and told.read_text().endswith("}"):
                break
        self.address = json.loads(told.read_text())["address"]

    def start(self, program, *arguments):
        self.logs.append(self.folder / f"{program}_{len(self.logs)}.log")
        # a worker lives in another folder, as it does on another machine
        elsewhere = self.folder / "elsewhere"
        elsewhere.mkdir(exist_ok=True)
        paths = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests"), os.environ.get("PYTHONPATH", "")])
        with open(self.logs[-1], "w") as log:
            return subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{program}", "--host", "127.0.0.1", *map(str, arguments)],
                cwd=elsewhere, stdout=log, stderr=log,
                env=os.environ | {"PYTHONPATH": paths, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "2"},
            )  # fmt: skip

    def add_worker(self, *, nanny=True):
        arguments = ["--nthreads", "1", "--no-dashboard", "--local-directory", self.folder / "space"]
        self.workers.append(self.start("dask_worker", self.address, *arguments, *([] if nanny else ["--no-nanny"])))
        return self.workers[-1]

    def stop(self):
        for process in (*self.workers, self.scheduler):
            process.terminate()
        for process in (*self.workers, self.scheduler):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture(scope="session")
def start_cluster() -> Callable[[Path], Cluster]:
    """Start a scheduler without workers, which the caller stops."""
    return Cluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """Two workers that stay."""
    found = Cluster(tmp_path_factory.mktemp("cluster"))
    for _ in range(2):
        found.add_worker()
    yield found
    found.stop()


@pytest.fixture
def fragile(tmp_path):
    """A scheduler without workers, for tests that break it."""
    found = Cluster(tmp_path)
    yield found
    found.stop()
