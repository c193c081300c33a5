"""The texture page in a real browser, as a person uses it."""

import re
import shutil

import numpy as np
import pytest
import tifffile
from playwright.sync_api import expect

from analysis.synthetic.texture import draw_tile_set

pytestmark = pytest.mark.browser

HTML_NAME = "<img src=x onerror=window.hit=1>"
MODELS = "(window.Bokeh?.documents ?? []).flatMap(one => [...one._all_models.values()])"
GLYPHS = f"{MODELS}.filter(m => m.type == 'GlyphRenderer')"
PATCHES = f"{GLYPHS}.find(r => r.name == 'patches')?.data_source"
COLOURS = f"{GLYPHS}.find(r => r.name == 'colours')"
GREY = f"{GLYPHS}.find(r => r.name == 'grey')"
LABELS = f"{GLYPHS}.find(r => r.name == 'labels')?.data_source"
MARKED = f"{PATCHES}.selected.indices"
LARGEST = f"Math.max(...[...{PATCHES}.get_column('value')].filter(v => !Number.isNaN(v)))"
PLACE = """([name, x, y]) => {
    const views = []
    const walk = view => { views.push(view); for (const child of view.children?.() ?? []) walk(child) }
    for (const root of Bokeh.index.roots) walk(root)
    const view = views.find(v => v.model.type == 'Figure' && v.model.name == name)
    const box = view.el.getBoundingClientRect(), frame = (view.frame ?? view.plot_view.frame)
    return [box.x + frame.x_scale.compute(x), box.y + frame.y_scale.compute(y)]
}"""


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    """Four tiles of which one has a name that is HTML."""
    drawn = draw_tile_set(tmp_path_factory.mktemp("texture"), tiles=(2, 2), shape=(256, 320), border=True, seed=4)
    drawn.files[0].rename(drawn.files[0].with_name(f"Tile_001-001-{HTML_NAME}.tif"))
    return drawn.folder / "tiles"


@pytest.fixture(scope="module")
def server(start_server, tiles):
    yield from start_server(tiles.parent, {"GRATICULE_TEXTURE": str(tiles)})


@pytest.fixture
def opened(opened, page):
    """As everywhere; what is on its way to a page arrives before it is closed."""
    yield opened
    page.wait_for_timeout(1500)


def wait_for_clusters(page, count="[0-9]+"):
    said = re.compile(rf"^{count} clusters? of [\d,]+ patches")
    expect(page.get_by_text(said).first).to_be_visible(timeout=30_000)
    page.wait_for_function(f"() => {PATCHES}?.get_length() > 0 && {GREY}.data_source.get_length() == 1", timeout=30_000)


def open_tab(page, name):
    page.get_by_role("tab", name=name, exact=True).click()


def slider(page, name):
    return page.get_by_role("slider", name=re.compile(f"^{name}")).locator("visible=true").first


def press(page, control, key, times=1):
    control.focus()
    for _ in range(times):
        page.keyboard.press(key)


def settle(page):
    """Wait until representatives are there, after which nothing moves."""
    expect(page.get_by_text(re.compile("^The patches nearest to the mean"))).to_be_visible(timeout=20_000)
    same, before = 0, None
    while same < 5:
        page.wait_for_timeout(250)
        now = at(page, "mosaic", 0, 0) + at(page, "scatter", 0, 0)
        same, before = (same + 1 if now == before else 0), now


def at(page, figure, x, y):
    """Place in the window of a place in a figure."""
    return page.evaluate(PLACE, [figure, float(x), float(y)])


def middle(page, patch):
    """Place in the window of the middle of a patch of the mosaic."""
    x, y = page.evaluate(
        f"() => [['left', 'right'], ['top', 'bottom']]"
        f".map(ends => ends.reduce((sum, end) => sum + {PATCHES}.get_column(end)[{patch}] / 2, 0))"
    )
    return at(page, "mosaic", x, y)


def kept_patches(page, number):
    """Places in the table of patches that are in a cluster."""
    return page.evaluate(
        f"() => [...{PATCHES}.get_column('value')].map((v, i) => v == {number} ? i : -1).filter(i => i >= 0)"
    )


def test_front_page_leads_to_the_instrument(opened):
    page = opened("/")
    expect(page.get_by_text("Which patches of a tile set look alike?")).to_be_visible(timeout=20_000)
    page.get_by_text("Open Texture").click()
    wait_for_clusters(page)


def test_clusters_opacity_and_grid_move_the_heat_map_and_stand_in_the_address(opened):
    page = opened("/texture")
    wait_for_clusters(page, 3)
    settle(page)
    pixels = page.evaluate(f"() => {GREY}.data_source.data.image")
    assert page.evaluate(f"() => {LARGEST}") == 3
    press(page, slider(page, "Clusters"), "ArrowRight", 2)
    page.wait_for_function(f"() => {LARGEST} == 5")
    wait_for_clusters(page, 5)
    image = f"{COLOURS}.data_source.get_column('image')"
    assert page.evaluate(f"() => Math.max(...{image}.flatMap(i => [...i].filter(v => v > 0)))") == 5
    assert page.evaluate(f"() => {COLOURS}.glyph.color_mapper.palette.length") == 5
    press(page, slider(page, "Opacity"), "End")
    page.wait_for_function(f"() => {COLOURS}.glyph.global_alpha.value == 1")
    press(page, slider(page, "Patches along a tile"), "ArrowRight", 4)
    page.wait_for_function(f"() => {PATCHES}.get_length() == 4 * 20 * 20")
    press(page, slider(page, "Principal components"), "ArrowRight", 2)
    page.wait_for_function("() => /components=2/.test(location.search) && /clusters=5/.test(location.search)")
    page.wait_for_function("() => /grid_rows=20/.test(location.search) && /opacity=1/.test(location.search)")
    assert len(pixels) == len(page.evaluate(f"() => {GREY}.data_source.data.image"))
    again = page.context.new_page()
    again.goto(page.url)
    wait_for_clusters(again, 5)
    again.wait_for_function(f"() => {PATCHES}.get_length() == 1600 && {COLOURS}.glyph.global_alpha.value == 1")


def test_statistics_are_shown_with_a_scale(opened):
    page = opened("/texture")
    wait_for_clusters(page)
    page.get_by_role("combobox", name="Shown").locator("visible=true").click()
    page.locator("li").filter(has_text=re.compile("^std$")).click()
    page.wait_for_function(f"() => {COLOURS}.glyph.color_mapper.palette.length == 256")
    scale = f"{MODELS}.find(m => m.type == 'ColorBar' && m.name == 'scale')"
    page.wait_for_function(f"() => {scale}.visible && {scale}.title == 'std'")
    page.get_by_role("combobox", name="Colours").locator("visible=true").click()
    page.locator("li").filter(has_text="grey").click()
    page.wait_for_function(f"() => {COLOURS}.glyph.color_mapper.palette[0].toLowerCase().startsWith('#000000')")


def test_selecting_in_the_scatter_marks_the_mosaic_and_back(opened):
    page = opened("/texture")
    wait_for_clusters(page)
    settle(page)
    members = kept_patches(page, 3)
    x, y = (page.evaluate(f"() => [...{PATCHES}.get_column('{name}')]") for name in "xy")
    corners = [
        at(page, "scatter", min(x[i] for i in members), min(y[i] for i in members)),
        at(page, "scatter", max(x[i] for i in members), max(y[i] for i in members)),
    ]
    page.mouse.move(corners[0][0] - 3, corners[0][1] + 3)
    page.mouse.down()
    page.mouse.move(corners[1][0] + 3, corners[1][1] - 3, steps=4)
    page.mouse.up()
    page.wait_for_function(f"() => {MARKED}.length >= {len(members) // 2}")
    marked = page.evaluate(f"() => {MARKED}")
    expect(page.get_by_text(re.compile(rf"^{len(marked)} patches selected: .*in cluster 3")).first).to_be_visible()
    expect(page.get_by_text("Selected patches", exact=True)).to_be_visible()
    marks = f"{GLYPHS}.find(r => r.name == 'patches')"
    assert page.evaluate(f"() => {marks}.data_source === {GLYPHS}.find(r => r.name == 'points').data_source")
    assert page.evaluate(f"() => {marks}.selection_glyph.fill_alpha.value > 0")
    page.evaluate("() => document.querySelector('.main')?.scrollTo(0, 0)")
    page.mouse.click(*middle(page, members[0]))
    page.wait_for_function(f"() => JSON.stringify({MARKED}) == '[{members[0]}]'")
    expect(page.get_by_text(re.compile("^1 patch selected")).first).to_be_visible()
    page.get_by_role("button", name="Select none").click()
    page.wait_for_function(f"() => {MARKED}.length == 0")
    expect(page.get_by_text("Selected patches", exact=True)).to_be_hidden()


def test_patches_tell_what_they_are(opened):
    page = opened("/texture")
    wait_for_clusters(page)
    settle(page)
    inside = next(
        i for i in kept_patches(page, 2) if HTML_NAME in page.evaluate(f"() => {PATCHES}.get_column('file')[{i}]")
    )
    x, y = middle(page, inside)
    page.mouse.move(x + 3, y + 3)
    page.mouse.move(x, y)
    tip = page.locator(".bk-Tooltip").locator("visible=true").first
    expect(tip).to_contain_text(HTML_NAME)
    expect(tip).to_contain_text("cluster 2")
    expect(tip).to_contain_text("relstd")


def test_clicks_label_patches_and_the_forest_does_the_rest(opened):
    page = opened("/texture")
    wait_for_clusters(page)
    settle(page)
    bright, other = kept_patches(page, 3), kept_patches(page, 2)
    page.get_by_role("switch", name="Clicks label patches").locator("visible=true").first.click()
    page.wait_for_timeout(500)  # Panel hands changes on a little later than clicks
    for count, patch in enumerate(bright[:3], start=1):
        page.mouse.click(*middle(page, patch))
        page.wait_for_function(f"() => {LABELS}.get_length() == {count}")
    page.get_by_role("combobox", name="Class").locator("visible=true").click()
    page.locator("li").filter(has_text="class 2").click()
    page.wait_for_timeout(500)  # for the list to close
    for patch in other[:3]:
        page.mouse.click(*middle(page, patch))
        page.wait_for_timeout(300)
    page.wait_for_function(f"() => {LABELS}.get_length() == 6")
    assert len(set(page.evaluate(f"() => {LABELS}.get_column('colour')"))) == 2
    page.mouse.click(*middle(page, other[0]))  # once more takes it back
    page.wait_for_function(f"() => {LABELS}.get_length() == 5")
    page.get_by_role("button", name="Undo").locator("visible=true").click()
    page.wait_for_function(f"() => {LABELS}.get_length() == 6")
    page.get_by_role("button", name="Relabel the rest").locator("visible=true").first.click()
    expect(page.get_by_role("combobox", name="Shown").locator("visible=true")).to_have_text("classes", timeout=20_000)
    page.wait_for_function(f"() => {LARGEST} == 2")
    # another grid has labels of its own; those of this one come back with it
    press(page, slider(page, "Patches along a tile"), "ArrowRight")
    page.wait_for_function(f"() => {PATCHES}.get_length() == 4 * 17 * 17 && {LABELS}.get_length() == 0")
    press(page, slider(page, "Patches along a tile"), "ArrowLeft")
    page.wait_for_function(f"() => {LABELS}.get_length() == 6")


def test_4096_patches_stay_fluid(opened, tiles):
    page = opened("/texture?grid_rows=32&grid_columns=32")
    wait_for_clusters(page)
    settle(page)
    assert page.evaluate(f"() => {PATCHES}.get_length()") == 4096
    clusters = slider(page, "Clusters")
    for count in (4, 5, 6, 5, 4):
        press(page, clusters, "ArrowRight" if count > page.evaluate(f"() => {LARGEST}") else "ArrowLeft")
        page.wait_for_function(f"() => {LARGEST} == {count}")
    page.mouse.click(*middle(page, kept_patches(page, 2)[5]))
    page.wait_for_function(f"() => {MARKED}.length == 1")


def test_more_patches_than_are_drawn(opened):
    page = opened("/texture?grid_rows=80&grid_columns=80&statistics=['mean','std']")
    wait_for_clusters(page)
    settle(page)
    assert page.evaluate(f"() => {PATCHES}.get_length()") == 20_000
    assert page.evaluate(f"() => {COLOURS}.data_source.get_column('image').reduce((n, i) => n + i.length, 0)") == 25_600
    expect(page.get_by_text("The scatter shows 20,000 of them", exact=False)).to_be_visible()
    x, y = at(page, "mosaic", 400, 300)
    page.mouse.click(x, y)
    expect(page.get_by_text(re.compile("^1 patch selected")).first).to_be_visible()


@pytest.mark.parametrize("width", [1280, 1920])
def test_every_tab_opens(opened, width):
    page = opened("/texture")
    page.set_viewport_size({"width": width, "height": 800 if width == 1280 else 1080})
    wait_for_clusters(page)
    for name in ("Search", "Labels", "Table", "Export", "Python and shell", "Log", "Heat map"):
        open_tab(page, name)
        page.wait_for_timeout(500)
    open_tab(page, "Python and shell")
    expect(page.get_by_text("graticule texture cluster", exact=False).first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_corrupt_tile_is_said_and_the_others_are_shown(opened, tiles, tmp_path):
    copy = shutil.copytree(tiles, tmp_path / "tiles")
    (copy / "Tile_003-001.tif").write_bytes(b"II*\0 no tile")
    page = opened(f"/texture?folder={copy}")
    wait_for_clusters(page)
    expect(page.locator(".banner").filter(has_text="Tile_003-001.tif").first).to_be_visible()
    assert page.evaluate(f"() => {PATCHES}.get_length()") == 4 * 256


def test_wrong_folders_are_said(opened, tmp_path):
    page = opened("/texture")
    wait_for_clusters(page)
    folder = page.get_by_role("textbox", name="Folder of tiles")
    folder.fill(f"/nowhere/{HTML_NAME}")
    folder.press("Tab")
    expect(page.locator(".banner").filter(has_text="/nowhere/").first).to_be_visible()
    assert page.evaluate(f"() => {PATCHES}.get_length()") > 0  # the last good picture stays
    folder.fill(str(tmp_path))
    folder.press("Tab")
    expect(page.locator(".banner").filter(has_text="must hold at least one image").first).to_be_visible()


@pytest.mark.parametrize(("count", "said"), [(1, "got"), (16, "")], ids=["one patch", "constant tiles"])
def test_tiles_without_clusters_are_shown_with_the_reason(opened, tmp_path, count, said):
    for number in range(2 if count > 1 else 1):
        tifffile.imwrite(tmp_path / f"tile{number}.tif", np.full((64, 64), 500 + number, np.uint16))
    page = opened(f"/texture?folder={tmp_path}&grid_rows={count}&grid_columns={count}&leave_out=[]&shading=none")
    if count == 1:
        expect(page.locator(".banner").filter(has_text="clusters must be").first).to_be_visible(timeout=20_000)
    else:
        expect(page.get_by_text(re.compile("clusters? of|must")).first).to_be_visible(timeout=20_000)
    page.wait_for_function(f"() => {GREY}.data_source.get_length() == 1")


def test_example_is_drawn_where_there_is_nothing(opened):
    page = opened("/texture")
    wait_for_clusters(page)
    folder = page.get_by_role("textbox", name="Folder of tiles")
    folder.fill("")
    folder.press("Tab")
    page.get_by_role("button", name="Look at sample data").locator("visible=true").first.click()
    expect(page.get_by_text(re.compile(r"^3 clusters of 5,860 patches")).first).to_be_visible(timeout=60_000)
    page.wait_for_function(f"() => {PATCHES}.get_length() == 6144")
