"""Pages and reports for those who use a keyboard or a screen reader: what axe-core finds, and what it cannot find."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from dashboards.support.instruments import INSTRUMENTS

pytestmark = pytest.mark.browser

GRAVE = {"serious", "critical"}
NAMES = [each.name for each in INSTRUMENTS]
GROUNDS = {"light": "rgb(255, 255, 255)", "dark": "rgb(27, 32, 39)"}
EXCEPTIONS = {
    ("aria-required-children", r'class="[^"]*\btabulator\b[^"]*" role="grid"'): (
        "Tabulator puts what scrolls, and the buttons of its pages, inside the element that it calls a grid"
    ),
}
"""What is not ours to mend, by rule and by what stands in the element; each must still be there somewhere."""


MAKE = """
import json, threading
from pathlib import Path
from dashboards.support.acts import Bar, Run
from dashboards.support.demo import make_demo, opened_by
print(json.dumps(opened_by(make_demo(Path("demo"), Run(Bar(False), threading.Event())))))
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Folder of a demonstration, and the settings that open it."""
    folder = tmp_path_factory.mktemp("looked_at")
    made = subprocess.run([sys.executable, "-c", MAKE], cwd=folder, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return folder, json.loads(made.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def server(start_server, data):
    yield from start_server(*data)


# rows of a table are alike, and hundreds of them take axe-core a minute
BUT_ROWS = {"exclude": ["tbody tr:nth-child(n+4)"]}
RULES = {
    "light": {"resultTypes": ["violations"]},
    "dark": {"runOnly": ["color-contrast"], "resultTypes": ["violations"]},
}
"""What is looked at; dark pages differ from light ones in their colours alone."""


@pytest.fixture(scope="module")
def bare(start_server, tmp_path_factory):
    """A server that opens nothing."""
    yield from start_server(tmp_path_factory.mktemp("bare"), {})


@pytest.fixture(scope="module")
def excused():
    """Exceptions that were needed, by the places that were looked at."""
    return {}


def grave(page, where, excused, rules=RULES["light"]):
    """What axe-core finds, without what is excused; that is noted."""
    for _ in range(3):
        faults = look(page, where, excused, rules)
        if not faults:
            break
        # colours and names of what has just been drawn may be on their way; what is wrong stays wrong
        settle(page)
    return faults


def look(page, where, excused, rules):
    """Run axe-core once."""
    looked = excused.setdefault(where, set())
    faults = []
    for fault in Axe().run(page, BUT_ROWS, rules).response["violations"]:
        if fault["impact"] not in GRAVE:
            continue
        for node in fault["nodes"]:
            known = [key for key in EXCEPTIONS if key[0] == fault["id"] and re.search(key[1], node["html"])]
            looked.update(known)
            if not known:
                faults.append(f"{where}: {fault['id']}: {node['html'][:200]} {node['failureSummary']}")
    return faults


def turn(page, theme):
    """Have the system prefer light or dark, and wait until the page follows."""
    page.emulate_media(color_scheme=theme)
    expect(page.locator("main")).to_have_css("background-color", GROUNDS[theme])
    settle(page)


def settle(page):
    """Wait until nothing is drawn any more, no control becomes usable, and no text changes its colour."""
    page.evaluate("window.seen = null")
    page.wait_for_function(
        """() => {
        const see = root => [...root.querySelectorAll("*")].map(each => [
          each.matches(".Mui-disabled, :disabled"), getComputedStyle(each).color,
          each.shadowRoot ? see(each.shadowRoot) : ""]).join()
        const now = see(document), same = window.seen === now
        window.seen = now
        return same
    }""",
        polling=700,
    )


def open_tabs(page):
    """Open every tab of a page in turn; yields its title."""
    tabs = page.get_by_role("tab")
    expect(tabs.first).to_be_visible()
    for tab in tabs.all():
        tab.click()
        expect(tab).to_have_attribute("aria-selected", "true")
        settle(page)
        yield tab.inner_text()


@pytest.mark.parametrize("name", NAMES)
def test_every_tab_with_data(opened, page, excused, name):
    page.emulate_media(color_scheme="light")
    page.set_default_timeout(120_000)
    opened(f"/{name}")
    faults = []
    for theme in GROUNDS:
        turn(page, theme)
        for tab in open_tabs(page):
            faults += grave(page, f"{name}/{tab}/{theme}", excused, RULES[theme])
    assert faults == []


def test_pages_without_data(page, bare, excused):
    faults, themes = [], list(GROUNDS)
    for name in ("home", *NAMES):
        page.emulate_media(color_scheme=themes[0])
        page.goto(f"{bare.address}/{name}")
        expect(page.get_by_role("navigation", name="Instruments")).to_be_visible()
        for theme in themes:
            turn(page, theme)
            faults += grave(page, f"empty {name}/{theme}", excused, RULES[theme])
        # what axe-core counts as moderate and is ours all the same
        expect(page.locator("[aria-level='1']")).to_have_count(1)
        expect(page.get_by_role("main")).to_have_count(1)
        # the next one is drawn from the first as this one was left
        themes.reverse()
    assert faults == []


@pytest.mark.parametrize("name", NAMES)
def test_reports(page, data, excused, name):
    page.goto((data[0] / "demo" / name / "results" / f"{name}_report.html").as_uri())
    settle(page)
    assert grave(page, f"report {name}", excused) == []
    expect(page.get_by_role("heading", level=1)).to_have_count(1)
    # pictures say what they show
    assert page.locator("img:not([alt]), img[alt='']").count() == 0


def test_every_exception_is_still_needed(excused):
    if len(excused) < len(NAMES) * len(GROUNDS):
        pytest.skip("not all pages were looked at")
    assert set().union(*excused.values()) == set(EXCEPTIONS)
