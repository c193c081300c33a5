"""A page whose tab is closed while it writes, in a real browser: the server goes on, and ends when it is told to."""

import os
import re
import sys

import pytest
from playwright.sync_api import expect
from waiting import until_open

from analysis.flatfield import compare_mean_images, read_model
from analysis.synthetic.flatfield import draw_cohort
from analysis.tables import read_table

pytestmark = pytest.mark.browser

# a server whose models take as long as there is no file called go
SLOW = """
import pathlib
import dashboards.flatfield as page
from dashboards.support.command import main

make = page.create_model

def slowly(*arguments, cancel, **options):
    print("making the model", flush=True)
    while not pathlib.Path("go").exists() and not cancel.wait(0.1):
        pass
    return make(*arguments, cancel=cancel, **options)

page.create_model = slowly
main()
"""
GOES_ON = re.compile("the page was closed and what it writes goes on: Registering")


@pytest.fixture
def served(tmp_path, start_server):
    roots = draw_cohort(tmp_path / "data", seed=3, shape=(24, 34, 35), sizes=(2, 1), outliers=0).roots
    compare_mean_images(roots, working_dir=tmp_path / "work")
    settings = {"GRATICULE_ROOTS": os.pathsep.join(map(str, roots)), "GRATICULE_WORKING_DIR": str(tmp_path / "work")}
    yield from start_server(tmp_path, settings, [sys.executable, "-c", SLOW, "serve", "--port", "0"])


def register(page, served):
    """Open the page, begin to register, and close the tab while the model is made."""
    page.goto(f"{served.address}/flatfield", timeout=120_000)
    until_open(page)
    expect(page.get_by_text("3 pairs of 3 slides, all compared.")).to_be_visible()
    version = page.get_by_role("textbox", name="Version tag")
    version.fill("v9")
    version.press("Enter")
    page.get_by_role("button", name="Register 3 slides as v9").click()
    page.get_by_role("dialog").get_by_role("button", name="Register and write").click()
    served.wait(re.compile("making the model"))
    page.close()


def test_a_registration_is_finished_after_its_tab_was_closed(context, served):
    work = served.log.parent / "work"
    register(context.new_page(), served)
    served.wait(GOES_ON)
    assert not (work / "flatfield" / "flatfield_v9.bin").exists()
    (served.log.parent / "go").touch()
    served.wait(re.compile("register has ended on a page that was closed. v9 is registered with 3 slides, model made."))
    assert list(read_table(work / "AstroPathFlatfieldModels.csv", columns=["version"])["version"]) == ["v9"] * 3
    assert read_model(work / "flatfield" / "flatfield_v9.bin").flatfield.shape == (24, 34, 35)
    assert any((work / "flatfield" / "flatfield_v9").iterdir())
    # whoever comes back sees it
    page = context.new_page()
    page.goto(f"{served.address}/flatfield", timeout=120_000)
    until_open(page)
    expect(page.get_by_text("3 pairs of 3 slides, all compared.")).to_be_visible()
    page.get_by_role("tab", name="Model").click()
    page.get_by_role("combobox", name="Version").click()
    page.locator("li").filter(has_text="v9").click()
    expect(page.get_by_text("Model v9, layer 1")).to_be_visible()


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "open"])
def test_a_server_that_is_told_to_end_leaves_nothing_half_written(context, served, closed):
    page = context.new_page()
    if closed:
        register(page, served)
        served.wait(GOES_ON)
    else:
        page.close = lambda: None
        register(page, served)
    served.process.terminate()
    assert served.process.wait(60) == 0
    assert served.log.read_text().rstrip().endswith("Stopped.")
    work = served.log.parent / "work"
    assert not (work / "flatfield" / "flatfield_v9.bin").exists()
    assert list(work.rglob("*.graticule-tmp")) == [] and list(work.rglob("*.lock")) == []
