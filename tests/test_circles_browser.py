"""The circles page in a real browser, as a person uses it."""

import re
import shutil

import pandas as pd
import pytest
from playwright.sync_api import expect
from waiting import calm, listen, place_in, until_settled

from analysis.circles import run_pipeline
from analysis.synthetic.circles import draw_acquisitions
from dashboards.support.circles_report import write_circles_report

pytestmark = pytest.mark.browser

HTML_NAME = "<img src=x onerror=window.hit=1>"
MODELS = "(window.Bokeh?.documents ?? []).flatMap(one => [...one._all_models.values()])"
GLYPHS = f"{MODELS}.filter(m => m.type == 'GlyphRenderer')"
CIRCLES = f"{GLYPHS}.find(r => r.name == 'circles')?.data_source"
IMAGE = f"{GLYPHS}.find(r => r.name == 'image')"
COUNTED = (
    f"{GLYPHS}.filter(r => r.name == 'groups').map(r => r.data_source.get_column('ys')"
    ".reduce((sum, ys) => sum + [...ys].reduce((a, b) => a + b, 0) / 2, 0))"
)
DATES = ("20180401", "20180402", "20180403")
KINDS = {"s1": (30, 3, 200, 10), "s2": (15, 2, 100, 10)}


def draw(folder, *, fields=1, shape=(200, 260), dates=DATES):
    """Draw acquisitions of which one subject's name is HTML; one file is no image."""
    drawn = draw_acquisitions(
        folder, dates=dates, subjects=KINDS, experiments=("e1", "e2"), fields=fields, shape=shape, seed=4
    )
    for date in dates:
        (drawn.folder / "acquisitions" / date / "s2").rename(drawn.folder / "acquisitions" / date / HTML_NAME)
    (drawn.folder / "acquisitions" / dates[0] / "s1" / "e1" / "broken.png").write_text("no picture")
    return drawn.folder / "acquisitions"


@pytest.fixture(scope="module")
def acquisitions(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("circles"))


@pytest.fixture(scope="module")
def done(acquisitions):
    """The same, with everything done."""
    run_pipeline(acquisitions, acquisitions.parent / "done")
    return acquisitions.parent / "done"


@pytest.fixture(scope="module")
def server(start_server, acquisitions, done):
    yield from start_server(
        acquisitions.parent, {"GRATICULE_ACQUISITIONS": str(acquisitions), "GRATICULE_CIRCLES": str(done)}
    )


@pytest.fixture
def opened(opened, page):
    """As everywhere; what is on its way to a page arrives before it is closed."""
    listen(page)
    yield opened
    calm(page)


def wait_for_circles(page):
    expect(page.get_by_text(re.compile(r"\d+ circles?.*, found in \d+ ms"))).to_be_visible()
    page.wait_for_function(f"() => {CIRCLES}?.get_length() > 0")
    # what would run is seen last
    expect(page.get_by_text(re.compile("^(A run would do|Nothing is to be done)")).first).to_be_visible()


def count_shown(page):
    return page.evaluate(f"() => {CIRCLES}.get_length()")


def open_tab(page, name):
    page.get_by_role("tab", name=name, exact=True).click()


def press(page, slider, key, times):
    slider.focus()
    for _ in range(times):
        page.keyboard.press(key)


def test_front_page_leads_to_the_instrument(opened):
    page = opened("/")
    expect(page.get_by_text("What round objects are in last night's acquisitions?")).to_be_visible()
    page.get_by_text("Open Circles").click()
    wait_for_circles(page)


def test_sliders_detect_again_and_stand_in_the_address(opened):
    page = opened("/circles")
    wait_for_circles(page)
    before = count_shown(page)
    pixels = page.evaluate(f"() => {IMAGE}.data_source.id")
    lowest = page.get_by_role("slider", name=re.compile(r"Radius \(px\)")).first
    press(page, lowest, "PageUp", 1)
    radius = page.evaluate(f"() => Math.max(...{CIRCLES}.get_column('r_px'))")
    press(page, lowest, "ArrowRight", max(0, int(2 * (radius - 8)) + 2))
    page.wait_for_function(f"() => {CIRCLES}.get_length() == 0")
    expect(page.get_by_text(re.compile(r"^0 circles, found in"))).to_be_visible()
    press(page, lowest, "Home", 1)
    page.wait_for_function(f"() => {CIRCLES}.get_length() >= {before}")
    assert page.evaluate(f"() => {IMAGE}.data_source.id") == pixels
    press(page, page.get_by_role("slider", name=re.compile("Strictness")), "End", 1)
    page.wait_for_function("() => /strictness=1/.test(location.search)")
    again = page.context.new_page()
    again.goto(page.url)
    expect(again.get_by_role("slider", name=re.compile("Strictness"))).to_have_value("1")


def test_contrast_changes_in_place(opened):
    page = opened("/circles")
    wait_for_circles(page)
    mapper = f"{IMAGE}.glyph.color_mapper"
    before = page.evaluate(f"() => {mapper}.high")
    press(page, page.get_by_role("slider", name=re.compile("Contrast")).last, "PageDown", 1)
    page.wait_for_function(f"() => {mapper}.high < {before}")
    assert count_shown(page) > 0


def test_circles_tell_their_values(opened):
    page = opened("/circles")
    wait_for_circles(page)
    first = page.evaluate(f"() => ['x_px', 'y_px'].map(name => {CIRCLES}.get_column(name)[0])")
    x, y = place_in(page, "model.renderers.some(each => each.name == 'circles')", *first)
    page.mouse.move(x + 3, y + 3)
    page.mouse.move(x, y)
    expect(page.get_by_text("radius (px):").first).to_be_visible()
    expect(page.get_by_text("background:").first).to_be_visible()


def test_images_are_chosen_by_filters_clicks_and_steps(opened):
    page = opened("/circles?image=20180401/s1/e1/fov00")
    wait_for_circles(page)
    expect(page.get_by_text("20180401/s1/e1/fov00", exact=True)).to_be_visible()
    page.get_by_role("button", name="Next", exact=True).first.click()
    expect(page.get_by_text("20180401/s1/e2/fov00", exact=True)).to_be_visible()
    wait_for_circles(page)
    page.get_by_role("combobox", name="Subject").locator("visible=true").click()
    page.locator("li").filter(has_text=HTML_NAME).click()
    expect(page.get_by_text("6 images of 13. Click one", exact=False)).to_be_visible()
    until_settled(page.locator(".tabulator-row").nth(2).locator(".tabulator-cell:visible").first).click()
    expect(page.get_by_text(f"20180402/{HTML_NAME}/e1/fov00", exact=True)).to_be_visible()


def test_a_broken_image_is_said_and_the_next_one_is_shown(opened):
    page = opened("/circles?image=20180401/s1/e1/broken")
    expect(page.locator(".banner").filter(has_text="broken.png must").first).to_be_visible()
    page.get_by_role("button", name="Next", exact=True).first.click()
    wait_for_circles(page)
    expect(page.locator(".banner").filter(has_text="broken.png must")).to_have_count(0)


@pytest.mark.parametrize("width", [1280, 1920])
def test_every_tab_opens(opened, width):
    page = opened("/circles")
    page.set_viewport_size({"width": width, "height": 800 if width == 1280 else 1080})
    wait_for_circles(page)
    for name, shown in (
        ("Run", "What would run, and why"),
        ("Quality control", "Images with their circles"),
        ("Histograms", "Do the groups differ?"),
        ("Drift", re.compile("The last date")),
        ("Table", "Download what is shown (CSV)"),
        ("Failures", "Images that failed, and why"),
        ("Python and shell", "The same run without this page."),
        ("Log", "What was done"),
        ("Images", "Point at a circle to see all its values."),
    ):
        open_tab(page, name)
        expect(page.get_by_text(shown).first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name


def test_run_says_what_and_why_does_it_and_shows_what_came_out(opened, acquisitions):
    output = acquisitions.parent / "by page"
    page = opened(f"/circles?output={output}")
    wait_for_circles(page)
    open_tab(page, "Histograms")
    expect(page.get_by_text("No circles yet").locator("visible=true")).to_be_visible()
    open_tab(page, "Run")
    expect(page.get_by_text("A run would do 13 images: 13 new.").first).to_be_visible()
    expect(page.locator(".tabulator-cell").filter(has_text="not done before").first).to_be_visible()
    page.get_by_role("button", name="Run 13 images").last.click()
    expect(page.get_by_text(re.compile(r"^12 images done, 1 failure\.")).first).to_be_visible()
    expect(page.get_by_text("Nothing is to be done: 1 failed, 12 done.").first).to_be_visible()
    assert (output / "experiments.csv").exists() and (output / "qc" / "20180401" / "s1" / "e1.png").exists()
    open_tab(page, "Histograms")
    expect(page.get_by_text(re.compile("R differs between"))).to_be_visible()
    strict = page.get_by_role("slider", name=re.compile("Strictness"))
    press(page, strict, "ArrowRight", 1)
    expect(page.get_by_text("A run would do 12 images: 12 settings, 1 failed.").first).to_be_visible()
    open_tab(page, "Run")
    expect(page.locator(".tabulator-cell").filter(has_text="strictness 0.3 -> 0.31").first).to_be_visible()


def test_run_can_be_cancelled_and_goes_on(opened, tmp_path):
    root = draw(tmp_path, fields=4, shape=(512, 512), dates=DATES)
    page = opened(f"/circles?folder={root}&output={tmp_path / 'out'}")
    wait_for_circles(page)
    page.get_by_role("button", name="Run 49 images").first.click()
    expect(page.get_by_text(re.compile(r"finding circles: \d+ of 49"))).to_be_visible()
    page.get_by_role("button", name="Cancel").locator("visible=true").click()
    left = page.get_by_role("button", name=re.compile(r"Run \d+ images")).first
    expect(left).to_be_enabled()
    expect(left).not_to_have_text("Run 49 images")
    some = int(re.search(r"\d+", left.inner_text())[0])
    assert 0 < some < 49
    done_before = len(list((tmp_path / "out" / "circles").rglob("*.csv")))
    assert done_before >= 49 - some - 1  # one may have failed
    left.click()
    # the broken one may be among them
    expect(page.get_by_text(re.compile(rf"^({some}|{some - 1}) images? done")).first).to_be_visible()


def test_gallery_shows_montage_and_pictures(opened):
    page = opened("/circles")
    wait_for_circles(page)
    open_tab(page, "Quality control")
    expect(page.locator("img.montage")).to_be_visible()
    expect(page.locator("figcaption").filter(has_text=re.compile(r"^fov00, \d+ circles?$"))).to_be_visible()
    page.get_by_role("combobox", name="Experiment").locator("visible=true").click()
    page.locator("li").filter(has_text=f"20180401/{HTML_NAME}/e1").click()
    expect(page.locator("img.montage")).to_have_attribute("alt", "e1.png")


def test_histograms_filter_each_other_and_the_table(opened, done):
    table = pd.read_csv(done / "experiments.csv")
    page = opened("/circles")
    wait_for_circles(page)
    open_tab(page, "Histograms")
    page.wait_for_function(f"() => {COUNTED}.length == 2 && {COUNTED}[0] == {len(table)}")
    slider = page.get_by_role("slider", name=re.compile(r"Keep R \(px\)")).first
    press(page, slider, "PageUp", 3)
    kept = int((table["R"] >= float(slider.input_value())).sum())
    assert 0 < kept < len(table)
    page.wait_for_function(f"() => {COUNTED}[0] == {kept} && {COUNTED}[1] == {kept}")
    expect(page.get_by_text(re.compile(rf"^{kept} of {len(table)} circles: R \(px\)")).first).to_be_visible()
    open_tab(page, "Table")
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Download what is shown (CSV)").click()
    assert len(pd.read_csv(downloading.value.path())) == kept
    open_tab(page, "Histograms")
    page.get_by_role("button", name="Clear filters").locator("visible=true").click()
    page.wait_for_function(f"() => {COUNTED}[1] == {len(table)}")
    page.get_by_role("combobox", name="Subject").locator("visible=true").click()
    page.locator("li").filter(has_text="s1").click()
    page.keyboard.press("Escape")
    s1 = int((table["Subject"] == "s1").sum())
    page.wait_for_function(f"() => {COUNTED}[0] == {s1} && {COUNTED}[1] == {s1}")
    expect(page.get_by_text("there is one Subject only", exact=False)).to_be_visible()


def test_failures_have_reasons(opened):
    page = opened("/circles")
    wait_for_circles(page)
    open_tab(page, "Failures")
    expect(page.get_by_text("1 image failed. The others went on.", exact=False)).to_be_visible()
    expect(page.locator(".tabulator-cell").filter(has_text="broken.png").first).to_be_visible()


def test_example_is_drawn_where_there_is_nothing(opened):
    page = opened("/circles")
    wait_for_circles(page)
    folder = page.get_by_role("textbox", name="Folder of acquisitions")
    folder.fill("")
    folder.press("Tab")
    page.get_by_role("button", name="Look at sample data").locator("visible=true").click()
    expect(page.get_by_text(re.compile(r"^64 images done\.")).first).to_be_visible(timeout=90_000)
    open_tab(page, "Drift")
    expect(page.get_by_text("The last date drifted.")).to_be_visible()


def test_wrong_folder_is_said(opened):
    page = opened("/circles")
    wait_for_circles(page)
    folder = page.get_by_role("textbox", name="Folder of acquisitions")
    folder.fill(f"/nowhere/{HTML_NAME}")
    folder.press("Tab")
    expect(page.locator(".banner").get_by_text("acquisitions must be a folder that exists")).to_be_visible()
    assert count_shown(page) > 0  # the last good image stays


def test_a_level_called_html_is_not_run(opened):
    page = opened(f"/circles?levels=Date,{HTML_NAME},Experiment")
    wait_for_circles(page)
    open_tab(page, "Run")
    expect(page.get_by_text("What would run, and why")).to_be_visible()


def test_report_opens_offline_and_filters_without_python(page, done, tmp_path):
    copy = shutil.copytree(done, tmp_path / "done")
    path = write_circles_report(tmp_path / "report.html", copy)
    table = pd.read_csv(done / "experiments.csv")
    page.context.set_offline(True)
    outside, faults = [], []
    page.on("request", lambda request: outside.append(request.url))
    page.on("pageerror", lambda fault: faults.append(str(fault)))
    page.goto(path.as_uri())
    shapes = f"{GLYPHS}.filter(r => r.name?.startsWith('groups ')).map(r => r.data_source)"
    total = (
        f"{shapes}.map(s => s.get_column('ys').reduce((sum, ys) => sum + [...ys].reduce((a, b) => a + b, 0) / 2, 0))"
    )
    page.wait_for_function(f"() => {total}.length == 2 && {total}[0] == {len(table)}")
    page.wait_for_timeout(1000)  # for the widgets to listen
    page.locator("select").nth(1).select_option("s1")
    s1 = int((table["Subject"] == "s1").sum())
    page.wait_for_function(f"() => {total}[0] == {s1} && {total}[1] == {s1}")
    expect(page.get_by_text(f"{s1} of {len(table)} circles.", exact=False)).to_be_visible()
    page.locator("select").nth(1).select_option("all")
    page.locator(".noUi-handle").first.focus()
    for _ in range(30):
        page.keyboard.press("ArrowRight")
    page.wait_for_function(f"() => {total}[0] < {len(table)} && {total}[0] == {total}[1]")
    page.locator("select").nth(3).select_option("none")
    page.wait_for_function(f"() => {shapes}[0].get_length() == 1")
    expect(page.get_by_text(HTML_NAME).first).to_be_visible()
    assert page.evaluate("window.hit") is None
    assert [url for url in outside if not url.startswith(("file:", "data:", "blob:"))] == [] == faults
