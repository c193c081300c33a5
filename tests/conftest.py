"""What several tests need: a cohort on disk, a browser, and reference data where there is any."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from analysis.synthetic.flatfield import Cohort, draw_cohort

REPOSITORY = Path(__file__).parents[1]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
NO_BROWSER = "no Chromium or Chrome found; install one, or set GRATICULE_BROWSER to its program"


def find_browser() -> str | None:
    """Path of a browser: the one that GRATICULE_BROWSER names, or the first that is installed."""
    named = os.environ.get("GRATICULE_BROWSER")
    names = (named,) if named else BROWSERS
    return next((path for name in names if (path := shutil.which(name))), None)


def pytest_collection_modifyitems(items):
    # the browser's driver keeps an event loop running in this thread, which asyncio.run of other tests does not bear
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)
    if find_browser() or os.environ.get("GRATICULE_BROWSER_REQUIRED"):
        return
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.skip(reason=NO_BROWSER))


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
def cohort(tmp_path_factory) -> Cohort:
    """Three slides that share an illumination, two that share another, and an outlier; only to be read."""
    return draw_cohort(tmp_path_factory.mktemp("cohort"), seed=3, shape=(24, 34, 35), sizes=(3, 2), outliers=1)


@pytest.fixture
def roots(cohort, tmp_path) -> list[Path]:
    """A copy of the cohort that a test may spoil."""
    return [Path(shutil.copytree(root, tmp_path / "data" / root.name)) for root in cohort.roots]
