"""The pages in a real browser, as a person uses them."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect
from waiting import place_in

from analysis.flatfield import compare_mean_images
from analysis.synthetic.flatfield import draw_cohort
from analysis.tables import read_table
from dashboards.support.flatfield_report import write_flatfield_report

pytestmark = pytest.mark.browser

HTML_NAME = "M1_3<img src=x onerror=window.hit=1>"
DASHBOARDS = Path(__file__).parents[1] / "dashboards"
MODELS = "Bokeh.documents.flatMap(one => [...one._all_models.values()])"
MATRIX = f"{MODELS}.find(m => m.type == 'Figure' && m.title?.text?.match(/^average|^Average/))"
BOUNDS = f"{MATRIX}?.renderers.map(r => r.glyph.color_mapper).filter(m => m).map(m => [m.low, m.high])[0]"


def name_with_html(root):
    """Give one slide a name that is HTML."""
    (root / "M1_3").rename(root / HTML_NAME)
    for path in (root / HTML_NAME).rglob("M1_3*"):
        path.rename(path.with_name(path.name.replace("M1_3", HTML_NAME)))
    table = root / "sampledef.csv"
    table.write_text(table.read_text().replace("M1_3", HTML_NAME))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    roots = draw_cohort(folder / "data", seed=3, shape=(48, 64, 10), sizes=(3, 3), outliers=1).roots
    name_with_html(roots[0])
    compare_mean_images(roots, working_dir=folder / "work")
    return folder


@pytest.fixture(scope="module")
def settings(data):
    """Environment of the server: what the page opens first."""
    roots = os.pathsep.join(str(data / "data" / f"project{i}") for i in (1, 2))
    return {"GRATICULE_ROOTS": roots, "GRATICULE_WORKING_DIR": str(data / "work")}


@pytest.fixture(scope="module")
def server(start_server, data, settings):
    yield from start_server(data, settings)


def wait_for_matrix(page):
    expect(page.get_by_text("21 pairs of 7 slides, all compared.")).to_be_visible()
    page.wait_for_function(f"() => {BOUNDS}")


def place_in_matrix(page, row, column):
    """Place of a cell's middle in the window."""
    return place_in(page, "model.title?.text?.startsWith('Average')", (column + 0.5) / 7, (row + 0.5) / 7, shares=True)


def test_front_page_leads_to_the_instrument(opened):
    page = opened("/")
    expect(page.get_by_text("Which slides share one illumination pattern")).to_be_visible()
    page.get_by_text("Open Flatfield").click()
    wait_for_matrix(page)
    expect(page.locator(".bk-panel-models-loader, .loader")).to_have_count(0)


def test_slider_moves_the_colours_and_the_address(opened):
    page = opened()
    wait_for_matrix(page)
    assert page.evaluate(BOUNDS) == [0.85, 1.15]
    slider = page.get_by_role("slider", name=re.compile("Colour bounds")).first
    slider.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.wait_for_function(f"() => Math.abs({BOUNDS}[0] - 0.9) < 1e-6")
    page.wait_for_function("() => decodeURIComponent(location.search).includes('0.9')")
    again = page.context.new_page()
    again.goto(page.url + "&layer=7&sort_by=likeness&threshold=0.1")
    wait_for_matrix(again)
    again.wait_for_function(f"() => Math.abs({BOUNDS}[0] - 0.9) < 1e-6")
    expect(again.get_by_role("slider", name=re.compile("Layer of a pair"))).to_have_value("7")
    expect(again.get_by_role("slider", name=re.compile("Largest distance"))).to_have_value("0.1")


def test_click_shows_the_pair(opened):
    page = opened()
    wait_for_matrix(page)
    page.mouse.click(*place_in_matrix(page, 2, 4))
    expect(page.get_by_text(f"{HTML_NAME} against M2_2")).to_be_visible()
    expect(page.get_by_text(re.compile(r"another illumination \(1 means: no more than noise\)"))).to_be_visible()
    page.wait_for_function(f"() => {MODELS}.filter(m => m.type == 'Title').some(m => m.text.startsWith('Δ/σ'))")


@pytest.mark.parametrize("width", [1280, 1920])
def test_every_tab_opens(opened, width):
    page = opened()
    page.set_viewport_size({"width": width, "height": 800 if width == 1280 else 1080})
    wait_for_matrix(page)
    for name, shown in (
        ("Groups", "Group 1 has"),
        ("Model", "Test on halves of the slides"),
        ("Table", "one row a pair"),
        ("Python and shell", "The same numbers without this page."),
        ("Log", "What could not be used, and why"),
    ):
        page.get_by_role("tab", name=name).click()
        expect(page.get_by_text(shown).first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_pattern_counts_while_typing_and_a_wrong_one_is_explained(opened):
    page = opened()
    wait_for_matrix(page)
    pattern = page.get_by_role("textbox", name="Slide pattern")
    pattern.press_sequentially("M2_[12]")
    expect(page.get_by_text("2 of 7 slides match: M2_1, M2_2")).to_be_visible()
    pattern.press("Enter")
    expect(page.get_by_text("1 pair of 2 slides, all compared.")).to_be_visible()
    pattern.fill("(")
    pattern.press("Enter")
    expect(page.locator(".banner").get_by_text("must be a regular expression")).to_be_visible()
    expect(page.get_by_text("Average over all 10 layers")).to_have_count(0)  # drawn on a canvas, still there:
    assert page.evaluate(BOUNDS) == [0.85, 1.15]


def test_register_asks_and_writes(opened, data):
    page = opened()
    wait_for_matrix(page)
    version = page.get_by_role("textbox", name="Version tag")
    version.fill("browser-1")
    version.press("Enter")
    page.get_by_role("button", name="Register 7 slides as browser-1").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("7 slides become version browser-1")).to_be_visible()
    expect(dialog.get_by_text("flatfield_browser-1.bin")).to_be_visible()
    table = data / "work" / "AstroPathFlatfieldModels.csv"
    assert not table.exists()
    dialog.get_by_role("button", name="Register and write").click()
    expect(page.get_by_text("browser-1 is registered with 7 slides, model made.").first).to_be_visible()
    assert HTML_NAME in set(read_table(table, columns=["SlideID"])["SlideID"])
    assert (data / "work" / "flatfield" / "flatfield_browser-1.bin").stat().st_size == 48 * 64 * 10 * 8
    page.get_by_role("tab", name="Model").click()
    expect(page.get_by_text("Model browser-1, layer 1, made of 7 slides")).to_be_visible()


def test_files_that_cannot_be_used_are_said(opened, data):
    spare = data / "spare"
    shutil.copytree(data / "data" / "project2", spare, dirs_exist_ok=True)
    path = spare / "M2_2" / "im3" / "meanimage" / "M2_2-mean_image.bin"
    path.write_bytes(path.read_bytes()[:100])
    page = opened()
    wait_for_matrix(page)
    roots = page.get_by_role("textbox", name="Roots, one folder a line")
    roots.fill(f"{spare}\n{data / 'nowhere'}")
    roots.press("Tab")
    banner = page.locator(".banner").filter(has_text="left out")
    expect(banner).to_contain_text("M2_2-mean_image.bin: expected")
    expect(banner).to_contain_text("more are listed under Log")


def test_report_opens_offline(page, data, tmp_path):
    comparison = compare_mean_images([data / "data" / "project1", data / "data" / "project2"])
    path = write_flatfield_report(tmp_path / "report.html", comparison)
    page.context.set_offline(True)
    outside = []
    page.on("request", lambda request: outside.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_function(f"() => {BOUNDS}")
    page.locator(".noUi-handle").first.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.wait_for_function(f"() => Math.abs({BOUNDS}[0] - 0.9) < 1e-6")
    assert page.evaluate("window.hit") is None
    assert [url for url in outside if not url.startswith(("file:", "data:", "blob:"))] == []


def test_panel_serve_does_the_same(page, data, settings, start_server):
    files = sorted(map(str, DASHBOARDS.glob("*.py")))
    command = [sys.executable, "-m", "panel", "serve", *files, "--port", "0", "--address", "127.0.0.1"]
    for served in start_server(data, settings, command):
        names = set(re.findall(r"running at: http://\S+/(\S+)", served.wait(re.compile(r"(?s).*process id"))))
        assert names == {path.stem for path in DASHBOARDS.glob("*.py")}
        assert names == {"home", "flatfield", "tiles", "circles", "exposures", "texture"}
        page.goto(f"{served.address}/home")
        expect(page.get_by_text("Open Flatfield")).to_be_visible()
        page.goto(f"{served.address}/flatfield")
        wait_for_matrix(page)
