"""The header of the pages: the way from one to the other, and light or dark as chosen before."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from dashboards.support.instruments import INSTRUMENTS

pytestmark = pytest.mark.browser

DARK_GROUND = "rgb(27, 32, 39)"
LIGHT_GROUND = "rgb(255, 255, 255)"
DEEPEST = """(() => {
  let found = document.activeElement
  while (found?.shadowRoot?.activeElement) { found = found.shadowRoot.activeElement }
  return found
})()"""
NAMES = ["home", *(each.name for each in INSTRUMENTS)]


@pytest.fixture(scope="module")
def server(start_server, tmp_path_factory):
    yield from start_server(tmp_path_factory.mktemp("bare"), {})


def ground(page):
    return page.locator("main").evaluate("main => getComputedStyle(main).backgroundColor")


def expect_ground(page, colour):
    expect(page.locator("main")).to_have_css("background-color", colour)


def links(page):
    return page.get_by_role("navigation", name="Instruments").get_by_role("link")


@pytest.mark.parametrize("name", ["home", "flatfield", "texture"])
def test_every_page_links_to_all_and_marks_itself(opened, name):
    page = opened(f"/{name}")
    expect(links(page)).to_have_count(len(NAMES))
    titles = ["Front page", *(each.title for each in INSTRUMENTS)]
    expect(links(page)).to_have_text(titles)
    current = page.get_by_role("navigation", name="Instruments").locator("a[aria-current=page]")
    expect(current).to_have_text([titles[NAMES.index(name)]])


def test_front_page_is_marked_at_its_short_address_too(opened):
    page = opened("/")
    current = page.get_by_role("navigation", name="Instruments").locator("a[aria-current=page]")
    expect(current).to_have_text(["Front page"])


def test_links_of_the_header_work_by_keyboard(opened):
    page = opened("/home")
    expect(links(page).first).to_be_visible()
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate(f"{DEEPEST}?.textContent") == "Tiles":
            break
    focused = links(page).nth(2)
    expect(focused).to_be_focused()
    assert focused.evaluate("each => getComputedStyle(each).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.wait_for_url("**/tiles")


def test_theme_follows_the_system_at_first(opened, page):
    page.emulate_media(color_scheme="dark")
    opened("/home")
    expect_ground(page, DARK_GROUND)
    assert page.evaluate("document.documentElement.style.colorScheme") == "dark"
    page.emulate_media(color_scheme="light")
    expect_ground(page, LIGHT_GROUND)
    # the next page is dark from the first thing drawn
    page.emulate_media(color_scheme="dark")
    expect_ground(page, DARK_GROUND)
    assert "graticule_theme=system-dark" in page.evaluate("document.cookie")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_links_and_code_can_be_read(opened, page, scheme):
    page.emulate_media(color_scheme=scheme)
    opened("/home")
    expect_ground(page, DARK_GROUND if scheme == "dark" else LIGHT_GROUND)
    for written in (links(page).nth(1), page.locator("pre").first):
        red, green, blue = written.evaluate("each => getComputedStyle(each).color.match(/\\d+/g).map(Number)")
        assert min(red, green, blue) > 200 if scheme == "dark" else max(red, green, blue) < 80


def test_theme_chosen_is_kept_from_page_to_page(opened, page):
    opened("/home")
    expect_ground(page, LIGHT_GROUND)
    page.get_by_role("button", name="Toggle theme").click()
    expect_ground(page, DARK_GROUND)
    links(page).get_by_text("Tiles").click()
    page.wait_for_url("**/tiles")
    expect(page.get_by_role("tab").first).to_be_visible()
    assert ground(page) == DARK_GROUND, "dark as soon as anything is seen"
    page.get_by_role("button", name="Toggle theme").click()
    expect_ground(page, LIGHT_GROUND)
    # chosen stands above what the system prefers
    page.emulate_media(color_scheme="dark")
    page.reload()
    expect(page.get_by_role("tab").first).to_be_visible()
    expect_ground(page, LIGHT_GROUND)
    page.wait_for_timeout(500)
    assert ground(page) == LIGHT_GROUND
