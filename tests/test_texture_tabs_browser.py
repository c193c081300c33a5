"""Search, labels, table and export of the texture page in a real browser, as a person uses them."""

import re
import urllib.request

import pandas as pd
import pytest
from playwright.sync_api import expect
from waiting import calm, listen, until_settled

from analysis.synthetic.texture import draw_tile_set
from analysis.texture import find_tile_set, measure_patches, read_labels, save_labels

pytestmark = pytest.mark.browser

HTML_NAME = "<img src=x onerror=window.hit=1>"
ADDRESS = "/texture?grid_rows=8&grid_columns=8&preset=five_number"
MODELS = "(window.Bokeh?.documents ?? []).flatMap(one => [...one._all_models.values()])"
GLYPHS = f"{MODELS}.filter(m => m.type == 'GlyphRenderer')"
CELLS = f"{GLYPHS}.find(r => r.name == 'cells')?.data_source"
PATCHES = 2 * 64


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    """Two tiles, of which one is named as HTML."""
    truth = draw_tile_set(tmp_path_factory.mktemp("texture"), tiles=(1, 2), shape=(120, 160), seed=1)
    truth.files[1].rename(truth.files[1].with_name(f"Tile_001-002 {HTML_NAME}.tif"))
    return truth.folder / "tiles"


@pytest.fixture(scope="module")
def server(start_server, tiles):
    started = start_server(tiles.parent, {"GRATICULE_TEXTURE": str(tiles)})
    server = next(started)
    # the first visitor waits for all that is imported
    urllib.request.urlopen(f"{server.address}/texture", timeout=90).close()
    yield server
    yield from started


@pytest.fixture
def ready(opened, page, tmp_path):
    """Open the page with its output in a folder of the test; what is on its way arrives before it is closed."""

    def go(more=""):
        listen(page)
        opened(f"{ADDRESS}&output={tmp_path / 'out'}{more}")
        expect(page.get_by_text("2 tiles in 1 × 2 places", exact=False).first).to_be_visible()
        return page

    yield go
    calm(page)


def open_tab(page, name):
    page.get_by_role("tab", name=name, exact=True).click()
    expect(page.get_by_role("tab", name=name, exact=True)).to_have_attribute("aria-selected", "true")
    calm(page)


def seen(page, role, name):
    """Return what is seen: a hidden tab may hold another of the same name."""
    return page.get_by_role(role, name=name, exact=True).locator("visible=true")


def choose(page, label, option):
    seen(page, "combobox", label).click()
    entry = page.locator("li").filter(has_text=re.compile(rf"^{re.escape(option)}$"))
    entry.click()
    expect(entry).to_have_count(0)


def type_in(page, label, text):
    # the name of some goes on with what they are for
    field = page.get_by_role("textbox", name=re.compile(f"^{re.escape(label)}")).locator("visible=true")
    field.fill(text)
    field.press("Tab")


def press_slider(page, name, key, times=1):
    page.get_by_role("slider", name=re.compile(f"^{name}")).locator("visible=true").last.focus()
    for _ in range(times):
        page.keyboard.press(key)


def search(page):
    open_tab(page, "Search")
    type_in(page, "Patches along a tile", "1, 4, 8")
    press_slider(page, "Clusters", "ArrowLeft", 2)
    expect(page.get_by_text(re.compile("^9 cells, about a second"))).to_be_visible()
    seen(page, "button", "Search").click()
    page.wait_for_function(f"() => {CELLS}?.get_length() == 9")


def test_search_opens_cells_says_what_is_wrong_and_is_stopped(ready):
    page = ready()
    search(page)
    for width, height in ((1920, 1080), (1280, 800)):
        page.set_viewport_size({"width": width, "height": height})
        calm(page)
        assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
    assert any("must" in words for words in page.evaluate(f"() => [...{CELLS}.get_column('why')]"))
    expect(page.get_by_text("it must not choose the model", exact=False)).to_be_visible()
    choose(page, "Score", "BIC")
    expect(page.get_by_text("lower is better.", exact=False).locator("visible=true").first).to_be_visible()
    calm(page)
    figure = page.locator(".bk-Figure").locator("visible=true").last
    box = figure.bounding_box()
    while box != (box := figure.bounding_box()):
        page.wait_for_timeout(100)
    page.mouse.click(box["x"] + 0.72 * box["width"], box["y"] + 0.1 * box["height"])
    expect(page.get_by_role("tab", name="Heat map")).to_have_attribute("aria-selected", "true")
    page.wait_for_function("() => /clusters=4/.test(location.search) && /grid_rows=8/.test(location.search)")
    open_tab(page, "Search")
    lines = f"[...{CELLS}.get_column('line')].filter(each => each.startsWith('#')).length"
    page.wait_for_function(f"() => {lines} == 1")
    row_of(page, 4).click()
    expect(page.get_by_role("tab", name="Heat map")).to_have_attribute("aria-selected", "true")
    page.wait_for_function("() => /grid_rows=4/.test(location.search)")
    open_tab(page, "Search")
    row_of(page, 2).click()
    expect(page.locator(".banner").get_by_text("That cell is empty", exact=False).first).to_be_visible()
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Download the table (CSV)").click()
    table = pd.read_csv(downloading.value.path())
    assert len(table) == 9 and table["error"].notna().any()
    type_in(page, "Patches along a tile", "4, many")
    expect(page.get_by_text("Type whole numbers from 1 to 128", exact=False)).to_be_visible()
    type_in(page, "Patches along a tile", "24, 28, 30")
    press_slider(page, "Draws", "End")
    expect(page.get_by_text(re.compile("^9 cells, about")).locator("visible=true")).to_be_visible()
    calm(page)
    seen(page, "button", "Search").click()
    seen(page, "button", "Cancel").first.click()
    expect(seen(page, "button", "Search")).to_be_enabled()
    assert any("4 × 4" in words for words in page.evaluate(f"() => [...{CELLS}.get_column('told')]"))


def row_of(page, number):
    return until_settled(page.locator(".tabulator-row:visible").nth(number).locator(".tabulator-cell:visible").first)


def label(page, rows, name):
    """Select patches by the table and give them a class."""
    for row in rows:
        open_tab(page, "Table")
        row_of(page, row).click()
        open_tab(page, "Labels")
        choose(page, "Class that is given", name)
        calm(page)
        seen(page, "button", "Label selected patches").click()


def test_labels_teach_the_forest_and_are_files(ready, tiles, tmp_path):
    patches = measure_patches(find_tile_set(tiles), grid=8, statistics="five_number")
    coarse = measure_patches(find_tile_set(tiles), grid=4, statistics="five_number")
    name = patches.table["name"].iloc[0]
    file = save_labels({(name, 1, 2): "=film", (name, 3, 4): "hole"}, tmp_path / "mine.json", patches=patches)
    other = save_labels({(name, 1, 2): "film"}, tmp_path / "other.csv", patches=coarse)
    page = ready("&leave_out=%5B%5D")
    open_tab(page, "Labels")
    expect(page.get_by_text("No patch is labelled yet.", exact=False)).to_be_visible()
    type_in(page, "Name", "class 1")
    seen(page, "button", "Add").click()
    expect(page.get_by_text("There is a class class 1 already.")).to_be_visible()
    type_in(page, "Name", HTML_NAME)
    seen(page, "button", "Add").click()
    expect(page.get_by_text(f"{HTML_NAME}: 0")).to_be_visible()
    # the first table is that of the sizes
    label(page, (3, 4), HTML_NAME)
    label(page, (8, 11), "class 1")
    expect(page.get_by_text("4 patches labelled by hand.")).to_be_visible()
    expect(page.locator(".tabulator-row:visible img").first).to_be_visible()
    seen(page, "button", "Relabel the rest").click()
    expect(page.get_by_text(re.compile(r"less sure than 0\.6\.$")).locator("visible=true")).to_be_visible()
    expect(page.get_by_text("Clusters against classes")).to_be_visible()
    expect(seen(page, "button", "Show the least sure")).to_be_visible()
    seen(page, "button", "Find patches like the selected one").click()
    expect(page.locator("figcaption").first).to_have_text("the one asked for")
    expect(page.locator("figcaption")).to_have_count(17)
    seen(page, "button", "Save").click()
    expect(page.get_by_text(re.compile("labels.csv written")).first).to_be_visible()
    saved = read_labels(tmp_path / "out" / "labels.csv")
    assert sorted(saved.values()) == sorted([HTML_NAME] * 2 + ["class 1"] * 2)
    page.locator(".tabulator-row:visible button, .tabulator-row:visible .tabulator-cell:has-text('✕')").first.click()
    expect(page.get_by_text("3 patches labelled by hand.")).to_be_visible()
    seen(page, "button", "Undo").click()
    expect(page.get_by_text("4 patches labelled by hand.")).to_be_visible()
    seen(page, "button", "Remove").click()
    expect(page.get_by_text("2 patches labelled by hand.")).to_be_visible()
    seen(page, "button", "Load").click()
    expect(page.get_by_text("4 patches labelled by hand.")).to_be_visible()
    page.locator("input[type=file]").set_input_files(file)
    expect(page.get_by_text("2 patches labelled by hand.")).to_be_visible()
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Download labels (CSV)").click()
    assert len(pd.read_csv(downloading.value.path())) == 2
    page.locator("input[type=file]").set_input_files(other)
    expect(page.locator(".banner").get_by_text("labels of this grid", exact=False)).to_be_visible()
    expect(page.get_by_text("2 patches labelled by hand.")).to_be_visible()
    seen(page, "button", "Show the least sure").click()
    expect(page.get_by_role("tab", name="Heat map")).to_have_attribute("aria-selected", "true")


def test_table_export_and_report(ready, tiles, tmp_path):
    page = ready()
    open_tab(page, "Table")
    line = page.get_by_text(re.compile(rf"^\d+ of {PATCHES} patches\."))
    expect(line).to_be_visible()
    choose(page, "cluster", "2")
    choose(page, "file", f"Tile_001-002 {HTML_NAME}.tif")
    expect(page.locator(".tabulator-row:visible").filter(has_text="onerror").first).to_be_visible()
    calm(page)
    said = line.inner_text()
    assert not said.startswith(f"{PATCHES} ")
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Download what is shown (CSV)").click()
    table = pd.read_csv(downloading.value.path())
    assert len(table) == int(said.split(" ")[0]) > 0
    assert set(table["cluster"]) == {2} and table["name"].str.contains("onerror").all()
    page.get_by_text("Only what is selected").click()
    expect(page.get_by_text("No patch is left by the filters.")).to_be_visible()
    open_tab(page, "Export")
    expect(page.get_by_text(re.compile("^12 files will be written"))).to_be_visible()
    page.get_by_text("Heat maps: PNG pictures", exact=False).click()
    expect(page.get_by_text(re.compile("^6 files will be written"))).to_be_visible()
    seen(page, "button", "Write").click()
    seen(page, "button", "Write report").click()  # waits for the files, and stops nothing
    expect(page.get_by_text(re.compile("^6 files: csv 1, labels 3, geojson 2"))).to_be_visible()
    assert (tmp_path / "out" / "patches.csv").is_file()
    assert len(list((tmp_path / "out" / "labels").glob("*.tif"))) == 2
    expect(seen(page, "button", "Report (HTML)")).to_be_visible()
    assert (tmp_path / "out" / "texture_report.html").stat().st_size > 1e6
    calm(page)
    type_in(page, "Output folder", str(tiles))
    calm(page)
    seen(page, "button", "Write").click()
    expect(page.locator(".banner").get_by_text("folder must not be that of the tiles", exact=False)).to_be_visible()
