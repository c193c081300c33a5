"""The exposures page in a real browser, as a person uses it."""

import json
import re
import shutil

import pytest
from playwright.sync_api import expect
from waiting import place_in, until_settled

from analysis.exposures import calibrate_beam_shift, find_duplicates, read_epu_session
from analysis.synthetic.exposures import draw_session
from dashboards.support.exposures_report import write_exposures_report

pytestmark = pytest.mark.browser

HTML_NAME = "<img src=x onerror=window.hit=1>"
MODELS = "(window.Bokeh?.documents ?? []).flatMap(one => [...one._all_models.values()])"
MAP = f"{MODELS}.find(m => m.type == 'Figure' && m.title?.text?.match(/ bad/))"
GLYPHS = f"Object.fromEntries({MAP}.renderers.filter(r => r.name).map(r => [r.name, r]))"
RADIUS = f"{GLYPHS}.circles.glyph.radius.value"


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """A session with pictures, whose folder and one of whose grid squares have names that are HTML."""
    folder = tmp_path_factory.mktemp("exposures") / f"session {HTML_NAME}"
    settings = {"grid_squares": 2, "stage_positions": 8, "groups": 9, "shots": 2, "seed": 5}
    draw_session(folder, **settings, re_exposed_holes=3, missed_stage_moves=1, images=True, image_px=64)
    square = min(folder.glob("Images-Disc1/GridSquare_*"))
    square.rename(square.with_name(f"GridSquare_{HTML_NAME}"))
    return folder


@pytest.fixture(scope="module")
def bad(session):
    found = read_epu_session(session)
    return find_duplicates(found, calibrate_beam_shift(found)).bad


@pytest.fixture(scope="module")
def server(start_server, session):
    yield from start_server(session.parent, {"GRATICULE_EPU": str(session)})


def wait_for_map(page, count=None):
    """Wait until the map shows duplicates: some, or so many."""
    how_many = "> 0" if count is None else f"== {count}"
    page.wait_for_function(f"() => {MAP} && {GLYPHS}.bad?.data_source.get_length() {how_many}")


def place_of(page, glyph, number):
    """Where a mark of the map stands in the window, once the page has come to rest."""
    source = f"{GLYPHS}[{json.dumps(glyph)}].data_source"
    found = page.evaluate(f"number => ['x', 'y'].map(name => {source}.get_column(name)[number])", number)
    return place_in(page, f"model === {MAP}", *found)


def test_front_page_leads_to_the_instrument(opened, bad):
    page = opened("/")
    expect(page.get_by_text("Which cryo-EM micrographs were shot twice in one place?")).to_be_visible()
    page.get_by_text("Open Exposures").click()
    wait_for_map(page, len(bad))


def test_radius_moves_the_marks_and_the_address(opened, bad):
    page = opened("/exposures")
    wait_for_map(page, len(bad))
    before = page.evaluate(RADIUS)
    slider = page.get_by_role("slider", name=re.compile("Radius"))
    slider.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.wait_for_function(f"() => {RADIUS} > {before} + 0.01")
    page.wait_for_function("() => location.search.includes('radius_mode=typed')")
    slider.fill("1.2")
    page.wait_for_function(f"() => Math.abs({RADIUS} - 1.2) < 1e-6")
    wait_for_map(page)
    assert page.evaluate(f"{GLYPHS}.bad.data_source.get_length()") > len(bad)
    page.wait_for_function("() => location.search.includes('radius_um=1.2')")
    again = page.context.new_page()
    again.goto(page.url)
    again.wait_for_function(f"() => {MAP} && Math.abs({RADIUS} - 1.2) < 1e-6")


def test_click_on_a_duplicate_shows_its_pictures(opened, bad):
    page = opened("/exposures")
    wait_for_map(page, len(bad))
    page.mouse.click(*place_of(page, "bad", 0))
    expect(page.get_by_text(re.compile(r"Group \d+ of \d+: \d+ exposures of one place"))).to_be_visible()
    expect(page.get_by_text(re.compile(f"^({'|'.join(bad)}) — bad$")).first).to_be_visible()
    pictures = page.locator("img[alt=micrograph], img[alt='foil hole']")
    expect(pictures.nth(3)).to_be_visible()
    page.wait_for_function("() => window.Bokeh != null")
    for number in range(4):
        assert pictures.nth(number).evaluate("image => image.naturalWidth") == 64


def test_buttons_step_through_the_groups_and_the_table_leads_to_the_map(opened, bad):
    page = opened("/exposures")
    wait_for_map(page, len(bad))
    button = page.get_by_role("button", name="Next duplicate")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text(re.compile("Group 1 of"))).to_be_visible()
    page.wait_for_function(f"() => {MAP}.x_range.end - {MAP}.x_range.start < 25")
    page.keyboard.press("Enter")
    expect(page.get_by_text(re.compile("Group 2 of"))).to_be_visible()
    page.get_by_role("button", name="Whole map").click()
    page.wait_for_function(f"() => {MAP}.x_range.end - {MAP}.x_range.start > 100")
    page.get_by_role("tab", name="Groups", exact=True).click()
    until_settled(page.locator(".tabulator-row").nth(5).locator(".tabulator-cell:visible").first).click()
    expect(page.get_by_text(re.compile("Group 3 of"))).to_be_visible()


@pytest.mark.parametrize("width", [1280, 1920])
def test_every_tab_opens(opened, width, bad):
    page = opened("/exposures")
    page.set_viewport_size({"width": width, "height": 800 if width == 1280 else 1080})
    wait_for_map(page, len(bad))
    for name, shown in (
        ("Calibrate", "Orientations tried, best first"),
        ("Squares", "One row a grid square"),
        ("Groups", "One row an exposure of a duplicate group"),
        ("Optics groups", "9 optics groups"),
        ("Export", "What will be written"),
        ("Python and shell", "The same lists without this page."),
        ("Log", "What could not be used, and why"),
        ("Map", "Choose an exposure"),
    ):
        page.get_by_role("tab", name=name, exact=True).click()
        expect(page.get_by_text(shown).first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_lattices_move_together(opened, bad):
    page = opened("/exposures")
    wait_for_map(page, len(bad))
    page.get_by_role("tab", name="Calibrate").click()
    lattices = f"{MODELS}.filter(m => m.type == 'Figure' && m.title?.text?.match(/: residual/))"
    page.wait_for_function(f"() => {lattices}.length == 2")
    assert page.evaluate(f"{lattices}.map(m => m.title.text.split(' ')[0])") == ["Matrix:", "Scalar"]
    page.evaluate(f"() => {{ {lattices}[0].x_range.start -= 7 }}")
    starts = page.evaluate(f"{lattices}.map(m => m.x_range.start)")
    assert starts[0] == starts[1]


def test_another_calibration_and_a_wrong_one(opened, bad):
    page = opened("/exposures")
    wait_for_map(page, len(bad))
    page.get_by_role("combobox", name="Beam shift to µm").click()
    page.locator("li").filter(has_text="matrix typed").click()
    matrix = page.get_by_role("textbox", name=re.compile("Matrix"))
    matrix.fill("1, 2, 3")
    matrix.press("Enter")
    expect(page.locator(".banner").get_by_text("The matrix must be four numbers")).to_be_visible()
    assert page.evaluate(f"{GLYPHS}.bad.data_source.get_length()") == len(bad)  # the last good result stays
    matrix.fill("24.3, 0, 0, 24.3")
    matrix.press("Enter")
    page.wait_for_function(f"() => {GLYPHS}.bad.data_source.get_length() != {len(bad)}")


def test_export_writes_the_files_listed(opened, session, bad):
    page = opened("/exposures")
    wait_for_map(page, len(bad))
    page.get_by_role("tab", name="Export").click()
    expect(page.get_by_text("duplicates_badfiles_tiff.txt")).to_be_visible()
    written = session.parent / "exposures"
    assert not written.exists()
    page.get_by_role("button", name="Write files").click()
    expect(page.get_by_text("10 files written in exposures.").first).to_be_visible()
    listed = (written / "duplicates_badfiles_tiff.txt").read_text().split()
    assert listed == [f"{name}_fractions.tiff" for name in bad]
    page.get_by_role("button", name="Write report").click()
    expect(page.get_by_text("exposures_report.html written.").first).to_be_visible()
    with page.expect_download() as download:
        page.get_by_text("Report (HTML)").click()
    assert HTML_NAME not in re.sub(r"<script\b.*?</script>", "", download.value.path().read_text(), flags=re.DOTALL)


def test_watch_sees_a_file_that_arrives(opened, session, bad, tmp_path):
    here = tmp_path / "running"
    shutil.copytree(session, here)
    late = next(here.rglob(f"{bad[-1]}.xml"))
    content = late.read_bytes()
    late.unlink()
    page = opened("/exposures?watch_interval_s=0.3")
    wait_for_map(page, len(bad))
    folder = page.get_by_role("textbox", name="Session folder")
    folder.fill(str(here))
    folder.press("Enter")
    wait_for_map(page, len(bad) - 1)
    page.get_by_label("Watch the folder").click()
    page.wait_for_function("() => location.search.includes('watching=true')")
    late.write_bytes(content[:300])
    expect(page.locator(".banner").filter(has_text=f"{bad[-1]}.xml is left out")).to_be_visible()
    late.write_bytes(content)
    expect(page.get_by_text(re.compile(f"it is bad: {bad[-1]}")).first).to_be_visible()
    wait_for_map(page, len(bad))
    expect(page.locator(".banner").filter(has_text="is left out")).to_have_count(0)


def test_sample_data_and_no_folder(opened, tmp_path, bad):
    page = opened("/exposures")
    wait_for_map(page, len(bad))
    folder = page.get_by_role("textbox", name="Session folder")
    folder.fill(str(tmp_path / f"nowhere {HTML_NAME}"))
    folder.press("Enter")
    expect(page.locator(".banner").get_by_text("nowhere")).to_be_visible()
    folder.fill("")
    folder.press("Enter")
    button = page.get_by_role("button", name="Look at sample data").first
    expect(button).to_be_visible()
    button.click()
    wait_for_map(page)
    page.get_by_role("tab", name="Calibrate").click()
    expect(page.get_by_text("The holes of the support tell the matrix").first).to_be_visible()


def test_report_opens_offline(page, session, tmp_path):
    found = read_epu_session(session)
    calibration = calibrate_beam_shift(found)
    duplicates = find_duplicates(found, calibration)
    path = write_exposures_report(tmp_path / "report.html", found, calibration, duplicates)
    page.context.set_offline(True)
    outside, faults = [], []
    page.on("request", lambda request: outside.append(request.url))
    page.on("pageerror", lambda fault: faults.append(str(fault)))
    page.goto(path.as_uri())
    wait_for_map(page, len(duplicates.bad))
    page.get_by_label("Radius").select_option("1 µm")
    more = find_duplicates(found, calibration, radius_um=1.0)
    wait_for_map(page, len(more.bad))
    assert page.evaluate(RADIUS) == 1
    assert page.evaluate(f"{MAP}.title.text").endswith(f"{len(more.bad)} bad within 1 µm")
    width = page.evaluate(f"{MAP}.x_range.end - {MAP}.x_range.start")
    page.get_by_label("Grid square").select_option(HTML_NAME)
    page.wait_for_function(f"() => {MAP}.x_range.end - {MAP}.x_range.start < {width / 2}")
    assert page.evaluate("window.hit") is None and faults == []
    assert [url for url in outside if not url.startswith(("file:", "data:", "blob:"))] == []
