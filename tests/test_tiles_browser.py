"""The tiles page in a real browser, as a person uses it."""

import re
import shutil

import pytest
import tifffile
from playwright.sync_api import expect
from waiting import place_in

from analysis.synthetic.tiles import draw_images
from analysis.tiles import find_images, make_layout
from dashboards.support.tiles_report import write_tiles_report
from dashboards.tiles import TilesDashboard

pytestmark = pytest.mark.browser

HTML_NAME = "<img src=x onerror=window.hit=1>"
MODELS = "(window.Bokeh?.documents ?? []).flatMap(one => [...one._all_models.values()])"
GLYPHS = f"{MODELS}.filter(m => m.type == 'GlyphRenderer')"
TILES = f"{GLYPHS}.find(r => r.name == 'tiles')?.data_source.get_length()"
CHOSEN = f"{GLYPHS}.find(r => r.name == 'chosen')?.data_source"
SHAPE = (150, 200)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Images in a folder of which the name, and that of one image, is HTML."""
    folder = tmp_path_factory.mktemp("tiles")
    drawn = draw_images(folder / "drawn", count=3, shape=SHAPE, cells=3, seed=2)
    place = folder / f"images {HTML_NAME}"
    shutil.move(drawn.folder / "images", place)
    (place / "cells_02.tif").rename(place / f"{HTML_NAME}.tif")
    return place


@pytest.fixture(scope="module")
def server(start_server, images):
    yield from start_server(images.parent, {"GRATICULE_IMAGES": str(images), "GRATICULE_TILES": "tiles"})


SMALL = "/tiles?tile_size=64&overlap=16"


def count(overlap, size=64):
    return len(make_layout(SHAPE, tile_size=size, overlap=overlap))


def wait_for_tiles(page, number):
    page.wait_for_function(f"() => {TILES} == {number}")
    expect(page.get_by_text(re.compile(rf"Tile \d+ of {number}:"))).to_be_visible()


def test_front_page_leads_to_the_instrument(opened):
    page = opened("/")
    expect(page.get_by_text("How do I cut calibrated, normalised training patches")).to_be_visible()
    page.get_by_text("Open Tiles").click()
    wait_for_tiles(page, count(128, 512))


def test_overlap_moves_the_grid_the_count_and_the_address(opened):
    page = opened(SMALL)
    wait_for_tiles(page, count(16))
    slider = page.get_by_role("slider", name=re.compile("Overlap"))
    slider.focus()
    for _ in range(16):
        page.keyboard.press("ArrowRight")
    wait_for_tiles(page, count(32))
    expect(page.get_by_text(f"{3 * count(32)} tiles from 3 images").first).to_be_visible()
    page.wait_for_function("() => location.search.includes('overlap=32')")
    again = page.context.new_page()
    again.goto(page.url)
    wait_for_tiles(again, count(32))


def test_tiles_are_walked_by_slider_buttons_and_click(opened):
    page = opened(SMALL)
    wait_for_tiles(page, count(16))
    slider = page.get_by_role("slider", name=re.compile("^Tile"))
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_text(f"Tile 2 of {count(16)}: rows 0 to 64, columns 48 to 112.")).to_be_visible()
    page.wait_for_function(f"() => {CHOSEN}?.get_column('left')[0] == 48")
    page.get_by_role("button", name="Previous").click()
    page.get_by_role("button", name="Previous").click()
    expect(page.get_by_text(f"Tile {count(16)} of {count(16)}:")).to_be_visible()
    place = place_in(page, "model.renderers.some(each => each.name == 'tiles')", 80, 150 - 80)
    page.mouse.click(*place)
    expect(page.get_by_text(re.compile("rows 48 to 112, columns 48 to 112"))).to_be_visible()
    page.get_by_label("Show all tiles").click()
    page.wait_for_function(f"() => {TILES} == 0")


def test_impossible_types_cannot_be_chosen_and_the_reason_is_said(opened):
    page = opened(SMALL + "&normalisation=global")
    wait_for_tiles(page, count(16))
    expect(page.get_by_text("uint8 would leave two values between 0 to 1.")).to_be_visible()
    page.get_by_role("combobox", name="Number type").click()
    expect(page.locator("li").filter(has_text="uint8")).to_have_attribute("aria-disabled", "true")
    page.locator("li").filter(has_text="float32").click()
    page.get_by_role("tab", name="Values").click()
    expect(page.get_by_text(re.compile("of this image become 0 to 1")).first).to_be_visible()


def test_empty_tiles_are_marked(opened):
    page = opened(SMALL + "&leave_out=true&empty_below=9000.0&least_share_percent=1.0")
    wait_for_tiles(page, count(16))
    expect(page.get_by_text(re.compile(r"\d+ empty ones marked"))).to_be_visible()
    fills = f"[...new Set({GLYPHS}.find(r => r.name == 'tiles').data_source.get_column('fill_color'))].length"
    page.wait_for_function(f"() => {fills} == 2")


def test_pixel_size_is_read_typed_and_applied(opened):
    page = opened(SMALL)
    wait_for_tiles(page, count(16))
    expect(page.get_by_text("0.5 µm, from ImageJ metadata.")).to_be_visible()
    page.get_by_label("Bring to one pixel size").click()
    expect(page.get_by_text("Times 1.538: 150 × 200 px become 231 × 308 px.")).to_be_visible()
    wait_for_tiles(page, len(make_layout((231, 308), tile_size=64, overlap=16)))


@pytest.mark.parametrize("width", [1280, 1920])
def test_every_tab_opens(opened, width):
    page = opened(SMALL)
    page.set_viewport_size({"width": width, "height": 800 if width == 1280 else 1080})
    wait_for_tiles(page, count(16))
    for name, shown in (
        ("Images", "All images; click one to lay tiles over it"),
        ("Values", "Heights are logarithmic"),
        ("Files", "What to write"),
        ("Merge", "Source and merged image"),
        ("Python and shell", "The same tiles without this page."),
        ("Log", "What could not be cut, and why"),
        ("Tiles", "Click the image to look at a tile."),
    ):
        page.get_by_role("tab", name=name, exact=True).click()
        expect(page.get_by_text(shown).first).to_be_visible()
    page.get_by_role("tab", name="Images", exact=True).click()
    expect(page.locator("figcaption").filter(has_text=HTML_NAME)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_export_merge_and_remove(opened, images):
    page = opened(SMALL)
    wait_for_tiles(page, count(16))
    tiles = images.parent / "tiles"
    assert not tiles.exists()
    page.get_by_role("tab", name="Files").click()
    expect(page.get_by_text("Nothing of ours is there yet.")).to_be_visible()
    page.get_by_role("button", name="Write tiles").click()
    expect(page.get_by_text(f"{3 * count(16)} tiles of 3 images in tiles.").first).to_be_visible()
    written = sorted(tiles.glob("*.tif"))
    assert len(written) == 3 * count(16) and (tiles / "tiles.csv").exists()
    assert tifffile.imread(written[0]).shape == (64, 64)
    expect(page.get_by_text("3 images are there already", exact=False)).to_be_visible()
    page.get_by_role("tab", name="Merge").click()
    page.get_by_role("button", name="Merge", exact=True).click()
    expect(page.get_by_text("cells_00, merged, largest difference 0")).to_be_visible()
    page.get_by_role("tab", name="Files").click()
    page.get_by_role("button", name="Remove tiles").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text(f"{3 * count(16)} files that the manifest in tiles lists")).to_be_visible()
    assert len(list(tiles.glob("*.tif"))) == 3 * count(16)  # not before it was confirmed
    dialog.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("Nothing of ours is there yet.")).to_be_visible()
    assert not list(tiles.glob("*"))


def test_example_is_drawn_where_there_is_nothing(opened):
    page = opened(SMALL)
    wait_for_tiles(page, count(16))
    folder = page.get_by_role("textbox", name=re.compile("Folders of images"))
    folder.fill("")
    folder.press("Tab")
    page.get_by_role("button", name="Look at sample data").locator("visible=true").click()
    expect(page.get_by_text(re.compile(r"cells_00: \d+ tiles"))).to_be_visible()


def test_wrong_folder_is_said(opened):
    page = opened(SMALL)
    wait_for_tiles(page, count(16))
    folder = page.get_by_role("textbox", name=re.compile("Folders of images"))
    folder.fill(f"/nowhere/{HTML_NAME}")
    folder.press("Tab")
    expect(page.locator(".banner").get_by_text("sources must be folders or files that exist")).to_be_visible()
    wait_for_tiles(page, count(16))  # the last good images stay


def test_report_opens_offline(page, images, tmp_path):
    dashboard = TilesDashboard(tile_size=64, overlap=16, normalisation="global")
    path = write_tiles_report(tmp_path / "report.html", find_images(images), **dashboard.settings)
    page.context.set_offline(True)
    outside = []
    page.on("request", lambda request: outside.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_function(f"() => {TILES} == {count(16)}")
    assert page.evaluate("window.hit") is None
    assert [url for url in outside if not url.startswith(("file:", "data:", "blob:"))] == []
