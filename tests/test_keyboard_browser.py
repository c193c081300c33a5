"""The pages without a mouse: Tab, arrows, Enter and letters."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect
from waiting import until_settled

from analysis.synthetic.flatfield import draw_cohort

pytestmark = pytest.mark.browser

FOLDERS = {
    "flatfield": "Roots, one folder a line",
    "tiles": "Folders of images, one a line",
    "circles": "Folder of acquisitions",
    "exposures": "Session folder",
    "texture": "Folder of tiles",
}
FOCUSED = """() => {
  let found = document.activeElement
  while (found?.shadowRoot?.activeElement) { found = found.shadowRoot.activeElement }
  if (!found || found === document.body) { return null }
  const look = getComputedStyle(found)
  const label = found.getAttribute("aria-label") ?? found.labels?.[0]?.textContent ?? found.textContent
  const field = found.closest(".MuiInputBase-root, .MuiSlider-root, .MuiCheckbox-root, .MuiSwitch-root")
  return {
    name: (label || "").trim(), role: found.getAttribute("role") ?? found.tagName.toLowerCase(),
    seen: look.outlineStyle !== "none" || field !== null,
  }
}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
def server(start_server, folder):
    yield from start_server(folder, {})


def tab_to(page, wanted, *, most=80):
    """Press Tab until something is focused; every stop on the way has a name and can be seen."""
    stops = []
    for _ in range(most):
        page.keyboard.press("Tab")
        stop = page.evaluate(FOCUSED)
        if stop is None:
            continue
        stops.append(stop)
        assert stop["name"], f"a stop without a name after {[each['name'] for each in stops]}"
        assert stop["seen"], f"the focus of {stop} is not seen"
        if wanted(stop):
            return stop
    raise AssertionError([each["name"] for each in stops])


@pytest.mark.parametrize("name", FOLDERS)
def test_folder_and_tabs_by_keyboard(opened, name):
    page = opened(f"/{name}")
    expect(page.get_by_role("tab").first).to_be_visible()
    tab_to(page, lambda stop: stop["name"].startswith(FOLDERS[name]))
    page.keyboard.type("/nowhere at all")
    page.keyboard.press("Tab")
    expect(page.get_by_role("alert").filter(has_text="nowhere at all").first).to_be_visible()
    tab_to(page, lambda stop: stop["role"] == "tab")
    page.keyboard.press("Home")
    expect(page.get_by_role("tab").first).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab").nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("tab").nth(1)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("End")
    expect(page.get_by_role("tab", name="Log")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("tab", name="Log")).to_have_attribute("aria-selected", "true")


def test_front_page_opens_an_instrument_by_keyboard(opened):
    page = opened("/")
    expect(page.get_by_text("Open Tiles")).to_be_visible()
    tab_to(page, lambda stop: stop["name"] == "Open Tiles")
    page.keyboard.press("Enter")
    page.wait_for_url("**/tiles")


def test_pair_of_slides_and_rows_of_tables_by_keyboard(opened, folder):
    root = draw_cohort(folder / "cohort", seed=3, shape=(24, 34, 5), sizes=(3,), outliers=0).roots[0]
    page = opened("/flatfield")
    roots = page.get_by_role("textbox", name="Roots, one folder a line")
    roots.fill(str(root))
    page.keyboard.press("Tab")
    compare = page.get_by_role("button", name=re.compile("^Compare"))
    expect(compare).to_be_enabled()
    compare.press("Enter")
    expect(page.get_by_text("3 pairs of 3 slides, all compared.")).to_be_visible()
    for label, downs in (("Slide", 1), ("Against slide", 2)):
        select = page.get_by_role("combobox", name=label, exact=True)
        select.focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("listbox")).to_be_visible()
        for _ in range(downs):
            page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        expect(page.get_by_role("listbox")).to_have_count(0)
    expect(page.get_by_text(re.compile(r"^M\w+ against M\w+$"))).to_be_visible()
    page.get_by_role("tab", name="Table").press("Enter")
    holder = page.locator(".tabulator-tableholder:visible").first
    expect(holder).to_have_attribute("aria-label", "Rows")
    until_settled(holder.locator(".tabulator-cell").first)
    holder.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(holder.locator(".tabulator-row").nth(1)).to_be_focused()
