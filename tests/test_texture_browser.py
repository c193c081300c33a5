"""The texture page in a real browser, as a person uses it."""

import re
import shutil
import urllib.request

import numpy as np
import pytest
import tifffile
from playwright.sync_api import expect
from waiting import calm, listen, place_in

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


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    """Four tiles of which one has a name that is HTML."""
    drawn = draw_tile_set(tmp_path_factory.mktemp("texture"), tiles=(2, 2), shape=(256, 320), border=True, seed=4)
    drawn.files[0].rename(drawn.files[0].with_name(f"Tile_001-001-{HTML_NAME}.tif"))
    return drawn.folder / "tiles"


@pytest.fixture(scope="module")
def server(start_server, tiles):
    started = start_server(tiles.parent, {"GRATICULE_TEXTURE": str(tiles)})
    server = next(started)
    # the first visitor waits for all that is imported
    urllib.request.urlopen(f"{server.address}/texture", timeout=90).close()
    yield server
    yield from started


@pytest.fixture
def opened(opened, page):
    """As everywhere; what is on its way to a page arrives before it is closed."""
    listen(page)
    yield opened
    calm(page)


def wait_for_clusters(page, count="[0-9]+"):
    said = re.compile(rf"^{count} clusters? of [\d,]+ patches")
    expect(page.get_by_text(said).first).to_be_visible()
    page.wait_for_function(f"() => {PATCHES}?.get_length() > 0 && {GREY}.data_source.get_length() == 1")


def open_tab(page, name):
    page.get_by_role("tab", name=name, exact=True).click()
    expect(page.get_by_role("tab", name=name, exact=True)).to_have_attribute("aria-selected", "true")


def choose(page, label, option):
    page.get_by_role("combobox", name=label).locator("visible=true").click()
    entry = page.locator("li").filter(has_text=re.compile(f"^{option}$"))
    entry.click()
    expect(entry).to_have_count(0)


def type_in(page, label, text):
    # the name of some goes on with what they are for
    field = page.get_by_label(re.compile(f"^{label}")).locator("visible=true").first
    field.fill(text)
    field.press("Tab")


def slider(page, name):
    return page.get_by_role("slider", name=re.compile(f"^{name}")).locator("visible=true").first


def press(page, control, key, times=1):
    control.focus()
    for _ in range(times):
        page.keyboard.press(key)


def settle(page):
    """Wait until representatives are there and nothing moves any more."""
    expect(page.get_by_text(re.compile("^The patches nearest to the mean"))).to_be_visible()
    before = None
    while before != (before := at(page, "mosaic", 0, 0) + at(page, "scatter", 0, 0)):
        calm(page)


def at(page, figure, x, y):
    """Place in the window of a place in a figure, once it has come to rest."""
    return place_in(page, f"model.name == {figure!r}", x, y)


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


def test_front_page_leads_to_the_instrument_whose_tabs_fit_the_screen(opened):
    page = opened("/")
    expect(page.get_by_text("Which patches of a tile set look alike?")).to_be_visible()
    page.get_by_text("Open Texture").click()
    wait_for_clusters(page)
    for name in ("Search", "Labels", "Table", "Export", "Log", "Python and shell"):
        open_tab(page, name)
        calm(page)
        for width, height in ((1920, 1080), (1280, 800)):
            page.set_viewport_size({"width": width, "height": height})
            page.wait_for_function(f"() => document.documentElement.scrollWidth <= {width}")
    expect(page.get_by_text("graticule texture cluster", exact=False).first).to_be_visible()
    open_tab(page, "Heat map")
    choose(page, "Shown", "std")
    page.wait_for_function(f"() => {COLOURS}.glyph.color_mapper.palette.length == 256")
    scale = f"{MODELS}.find(m => m.type == 'ColorBar' && m.name == 'scale')"
    page.wait_for_function(f"() => {scale}.visible && {scale}.title == 'std'")
    choose(page, "Colours", "grey")
    page.wait_for_function(f"() => {COLOURS}.glyph.color_mapper.palette[0].toLowerCase().startsWith('#000000')")


def test_clusters_opacity_and_grid_move_the_heat_map_and_stand_in_the_address(opened):
    page = opened("/texture")
    wait_for_clusters(page, 3)
    settle(page)
    assert page.evaluate(f"() => {LARGEST}") == 3
    press(page, slider(page, "Clusters"), "ArrowRight", 2)
    wait_for_clusters(page, 5)
    image = f"{COLOURS}.data_source.get_column('image')"
    page.wait_for_function(f"() => {LARGEST} == 5 && Math.max(...{image}.flatMap(i => [...i].filter(v => v > 0))) == 5")
    assert page.evaluate(f"() => {COLOURS}.glyph.color_mapper.palette.length") == 5
    press(page, slider(page, "Opacity"), "End")
    page.wait_for_function(f"() => {COLOURS}.glyph.global_alpha.value == 1")
    press(page, slider(page, "Patches along a tile"), "ArrowRight", 4)
    page.wait_for_function(f"() => {PATCHES}.get_length() == 4 * 20 * 20")
    settle(page)
    press(page, slider(page, "Principal components"), "ArrowRight", 2)
    switch = page.get_by_role("switch", name="Flat-field tiles")
    pixels = f"[...{GREY}.data_source.get_column('image')[0]]"
    flat = page.evaluate(f"() => {pixels}")
    switch.click()
    page.wait_for_function(f"before => {pixels}.some((value, at) => value != before[at])", arg=flat)
    switch.click()
    page.wait_for_function(f"before => {pixels}.every((value, at) => value == before[at])", arg=flat)
    for part in ("components=2", "clusters=5", "grid_rows=20", "opacity=1"):
        expect(page).to_have_url(re.compile(part))
    assert page.evaluate(f"() => {COLOURS}.glyph.global_alpha.value") == 1
    again = page.context.new_page()
    again.goto(page.url)
    wait_for_clusters(again, 5)
    again.wait_for_function(f"() => {PATCHES}.get_length() == 1600 && {COLOURS}.glyph.global_alpha.value == 1")


def test_values_that_come_fast_stay_as_they_came(opened):
    page = opened("/texture")
    wait_for_clusters(page)
    settle(page)
    given, seen = page.evaluate(f"""async () => {{
        const field = {MODELS}.find(m => m.class_name == 'IntInput' && m.data.label == 'Rows of patches').data
        const {{port1, port2}} = new MessageChannel(), given = [], seen = []
        let go
        port1.onmessage = () => go()
        field.properties.value.change.connect(() => seen.push(field.value))
        for (let at = 0; at < 120; at++) {{
            given.push(at % 16 + 1)
            field.setv({{value: given.at(-1)}})
            // between the moments at which React draws and at which its effects run
            for (let times = 0; times < at % 6; times++) {{
                await new Promise(resolve => {{ go = resolve; port2.postMessage(0) }})
            }}
        }}
        await new Promise(resolve => setTimeout(resolve, 300))
        return [given, seen]
    }}""")
    assert seen == given


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
    settle(page)
    page.mouse.click(*middle(page, members[0]))
    page.wait_for_function(f"() => JSON.stringify({MARKED}) == '[{members[0]}]'")
    expect(page.get_by_text(re.compile("^1 patch selected")).first).to_be_visible()
    page.get_by_role("button", name="Select none").click()
    page.wait_for_function(f"() => {MARKED}.length == 0")
    expect(page.get_by_text("Selected patches", exact=True)).to_be_hidden()
    settle(page)
    files = page.evaluate(f"() => {PATCHES}.get_column('file')")
    x, y = middle(page, next(patch for patch in kept_patches(page, 2) if HTML_NAME in files[patch]))
    page.mouse.move(x + 3, y + 3)
    page.mouse.move(x, y)
    tip = page.locator(".bk-Tooltip").locator("visible=true").first
    for told in (HTML_NAME, "cluster 2", "relstd"):
        expect(tip).to_contain_text(told)


def test_clicks_label_patches_and_the_forest_does_the_rest(opened):
    page = opened("/texture")
    wait_for_clusters(page)
    settle(page)
    bright, other = kept_patches(page, 3), kept_patches(page, 2)
    page.get_by_role("switch", name="Clicks label patches").locator("visible=true").first.click()
    calm(page)
    for count, patch in enumerate(bright[:3], start=1):
        page.mouse.click(*middle(page, patch))
        page.wait_for_function(f"() => {LABELS}.get_length() == {count}")
    choose(page, "Class", "class 2")
    calm(page)
    for count, patch in enumerate(other[:3], start=4):
        page.mouse.click(*middle(page, patch))
        page.wait_for_function(f"() => {LABELS}.get_length() == {count}")
    assert len(set(page.evaluate(f"() => {LABELS}.get_column('colour')"))) == 2
    calm(page)
    page.mouse.click(*middle(page, other[0]))  # once more takes it back
    page.wait_for_function(f"() => {LABELS}.get_length() == 5")
    page.get_by_role("button", name="Undo").locator("visible=true").click()
    page.wait_for_function(f"() => {LABELS}.get_length() == 6")
    page.get_by_role("button", name="Relabel the rest").locator("visible=true").first.click()
    expect(page.get_by_role("combobox", name="Shown").locator("visible=true")).to_have_text("classes")
    page.wait_for_function(f"() => {LARGEST} == 2")
    # another grid has labels of its own; those of this one come back with it
    press(page, slider(page, "Patches along a tile"), "ArrowRight")
    page.wait_for_function(f"() => {PATCHES}.get_length() == 4 * 17 * 17 && {LABELS}.get_length() == 0")
    calm(page)
    press(page, slider(page, "Patches along a tile"), "ArrowLeft")
    page.wait_for_function(f"() => {LABELS}.get_length() == 6")


def test_many_patches_stay_fluid(opened):
    page = opened("/texture?grid_rows=32&grid_columns=32")
    wait_for_clusters(page)
    settle(page)
    assert page.evaluate(f"() => {PATCHES}.get_length()") == 4096
    clusters = slider(page, "Clusters")
    for key, count in (("ArrowRight", 4), ("ArrowRight", 5), ("ArrowRight", 6), ("ArrowLeft", 5), ("ArrowLeft", 4)):
        press(page, clusters, key)
        page.wait_for_function(f"() => {LARGEST} == {count}")
    settle(page)
    page.mouse.click(*middle(page, kept_patches(page, 2)[5]))
    page.wait_for_function(f"() => {MARKED}.length == 1")
    # more than are drawn one by one
    for name in ("Rows of patches", "Columns of patches"):
        type_in(page, name, "80")
    sampled = page.get_by_text("The scatter shows 20,000 of them", exact=False)
    expect(sampled).to_be_visible()
    page.wait_for_function(f"() => {PATCHES}.get_length() == 20_000")
    image = f"{COLOURS}.data_source.get_column('image')"
    assert page.evaluate(f"() => {image}.reduce((n, i) => n + i.length, 0)") == 25_600
    settle(page)
    page.mouse.click(*at(page, "mosaic", 400, 300))
    expect(page.get_by_text(re.compile("^1 patch selected")).first).to_be_visible()


def test_folders_with_something_wrong_are_said(opened, tiles, tmp_path):
    corrupt = shutil.copytree(tiles, tmp_path / "corrupt")
    (corrupt / "Tile_003-001.tif").write_bytes(b"II*\0 no tile")
    constant, empty = tmp_path / "constant", tmp_path / "empty"
    for folder in (constant, empty):
        folder.mkdir()
    for number in range(2):
        tifffile.imwrite(constant / f"tile{number}.tif", np.full((64, 64), 500 + number, np.uint16))
    page = opened(f"/texture?folder={corrupt}")
    banner = page.locator(".banner")
    wait_for_clusters(page)
    expect(banner.filter(has_text="Tile_003-001.tif").first).to_be_visible()
    assert page.evaluate(f"() => {PATCHES}.get_length()") == 4 * 256
    for folder, said in ((f"/nowhere/{HTML_NAME}", "/nowhere/"), (empty, "must hold at least one image")):
        type_in(page, "Folder of tiles", str(folder))
        expect(banner.filter(has_text=said).first).to_be_visible()
        assert page.evaluate(f"() => {PATCHES}.get_length()") > 0  # the last good picture stays
    type_in(page, "Folder of tiles", str(constant))
    expect(page.get_by_text("2 tiles in", exact=False).first).to_be_visible()
    expect(banner.filter(has_text="must").first).to_be_visible()
    type_in(page, "Folder of tiles", "")
    page.get_by_role("button", name="Look at sample data").locator("visible=true").first.click()
    expect(page.get_by_text(re.compile(r"^3 clusters of 5,860 patches")).first).to_be_visible()
    page.wait_for_function(f"() => {PATCHES}.get_length() == 6144")
    for name in ("Rows of patches", "Columns of patches"):
        type_in(page, name, "1")
    type_in(page, "Folder of tiles", str(constant))
    expect(page.get_by_text(re.compile("^2 patches of 64 × 64 px"))).to_be_visible()
    expect(banner.filter(has_text="must").first).to_be_visible()
