"""Reports: whole, safe, and working without a network."""

import re

import numpy as np
import pandas as pd
import pytest
from bokeh.models import RangeSlider, Select

from dashboards.support.flatfield_matrix import plot_matrix
from dashboards.support.flatfield_report_views import LARGEST_MATRIX_BYTES, matrix_with_controls
from dashboards.support.report import Report, table_html

HTML_NAME = '<img src=x onerror="window.hit=1">'
ONE_PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)


def make_report():
    inputs = pd.DataFrame({"file": [f"/data/{HTML_NAME}.bin"], "fingerprint": ["1024-1690000000"]})
    summary = {"slides": 2, "largest_value": 1.25}
    return Report(f"Cohort {HTML_NAME}", summary, {"sample_regex": None, "roots": ["/data"]}, {"numpy": "2.0"}, inputs)


def make_averages():
    first = np.array([[np.nan, 1.1, 1.2], [1.1, np.nan, 0.9], [1.2, 0.9, np.nan]])
    return {"all layers": first, f"DAPI {HTML_NAME}": first + 0.5}


def full_report():
    report = make_report()
    names = [HTML_NAME, "M2", "M3"]
    report.add_section("Comparison", "First.\n\nSecond.", matrix_with_controls(make_averages(), names, lines=(1,)))
    table = pd.DataFrame({"slide": [HTML_NAME, "M2", "M10"], "value": [1.5, np.nan, 0.25], "note": ["a", None, "c"]})
    report.add_section("Table", "", table, [ONE_PIXEL, ONE_PIXEL], f"print('{HTML_NAME}')")
    return report


def test_everything_asked_for_is_there():
    html = full_report().html()
    for words in (
        "Summary",
        "Comparison",
        "Settings",
        "Versions",
        "Inputs",
        "1024-1690000000",
        "1.25",
        "largest value",
    ):
        assert words in html
    assert "<p>First.</p><p>Second.</p>" in html
    assert html.count('<img alt="Table" src="data:image/png;base64,') == 2


def test_names_are_never_markup():
    assert "<img src=x" not in full_report().html()


def test_nothing_outside_the_file_is_referred_to():
    html = full_report().html()
    assert not re.findall(r"<script\b[^>]*\bsrc=", html)
    page = re.sub(r"<script\b.*?</script>", "", html, flags=re.DOTALL)
    assert not re.findall(r"<(?:link|iframe|object|embed|base)\b", page)
    assert not re.findall(r"\b(?:src|href)=\"(?!data:|#)", page)
    assert not re.findall(r"@import|url\(", page)
    assert "default-src 'none'" in page


def test_report_without_pictures_carries_no_scripts_of_bokeh():
    report = make_report()
    report.add_section("Table", "", pd.DataFrame({"n": [1]}))
    assert len(report.html()) < 20_000


def test_report_is_written_whole(tmp_path):
    path = full_report().write(tmp_path / "report.html")
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert text.rstrip().endswith("</html>")
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    assert len(text) < 4_000_000


def test_long_tables_say_what_was_left_out():
    html = table_html(pd.DataFrame({"n": range(12)}), largest_rows=10)
    assert html.count("<td") == 10
    assert "2 more rows are not shown" in html


def test_missing_cells_and_numbers():
    html = table_html(pd.DataFrame({"text": ["a", None], "number": [1.5, np.nan], "sure": [True, False]}))
    assert 'data-number="1.5"' in html
    assert html.count("–") == 2
    assert "yes" in html and "no" in html


def test_blocks_of_an_unknown_kind_are_refused():
    with pytest.raises(TypeError, match="got int"):
        make_report().add_section("x", "", 3)
    with pytest.raises(ValueError, match="must be a PNG"):
        make_report().add_section("x", "", b"GIF89a")


def test_matrix_choices_hold_the_given_values():
    averages = make_averages()
    layout = matrix_with_controls(averages, ["a", "b", "c"])
    choice = layout.select_one({"type": Select})
    assert choice.options == list(averages)
    args = choice.js_property_callbacks["change:value"][0].args
    for name, values in averages.items():
        drawn = args["sets"].data[args["fields"][name]][0]
        assert drawn.dtype == np.float32
        np.testing.assert_allclose(drawn[::-1], values, rtol=1e-6)


def test_too_many_layers_are_left_out_and_told():
    count = 300
    kept = LARGEST_MATRIX_BYTES // (4 * count**2)
    averages = {f"layer {number}": np.ones((count, count), dtype=np.float32) for number in range(kept + 5)}
    layout = matrix_with_controls(averages, [f"M{number}" for number in range(count)])
    choice = layout.select_one({"type": Select})
    assert len(choice.options) == kept
    assert f"{kept} of {kept + 5}" in choice.title


def test_matrix_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="at least one set"):
        matrix_with_controls({}, ["a"])
    with pytest.raises(ValueError, match="must have shape"):
        matrix_with_controls({"all": np.ones((2, 2)), "one": np.ones((3, 3))}, ["a", "b"])


def test_bounds_outside_the_slider_widen_it():
    slider = matrix_with_controls(make_averages(), ["a", "b", "c"], bounds=(0.2, 2.5)).select_one({"type": RangeSlider})
    assert (slider.start, slider.end) == (0.2, 2.5)


def model_of(page, kind):
    """Wait for Bokeh, and put the model of a type at `window.found`."""
    page.wait_for_function(
        """kind => {
          const documents = window.Bokeh?.documents ?? []
          window.found = documents.flatMap(one => [...one._all_models.values()]).find(model => model.type === kind)
          return window.found != null
        }""",
        arg=kind,
    )


@pytest.fixture
def opened(page, tmp_path):
    """The report in a browser which has no network, and what went wrong in it."""
    path = full_report().write(tmp_path / "report.html")
    page.context.set_offline(True)
    requests, faults = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda fault: faults.append(str(fault)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.goto(path.as_uri())
    page.locator("canvas").first.wait_for(state="attached")
    yield page
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert faults == []
    assert page.evaluate("window.hit") is None


@pytest.mark.browser
def test_slider_moves_the_colours_without_network(opened):
    model_of(opened, "LinearColorMapper")
    before = opened.evaluate("[found.low, found.high, found.palette[0]]")
    handle = opened.locator(".noUi-handle").first
    handle.focus()
    for _ in range(10):
        opened.keyboard.press("ArrowRight")
    opened.wait_for_function("found.low > 0.94")
    low, high, colour = opened.evaluate("[found.low, found.high, found.palette[0]]")
    assert before[:2] == [0.85, 1.15]
    assert (round(low, 2), round(high, 2)) == (0.95, 1.15)
    assert colour != before[2]


@pytest.mark.browser
def test_layers_are_chosen_without_network(opened):
    model_of(opened, "Image")
    drawn = """() => {
      const owner = Bokeh.documents.flatMap(one => [...one._all_models.values()])
        .find(model => model.type === "GlyphRenderer" && model.glyph.type === "Image")
      return Array.from(owner.data_source.data.image[0])
    }"""
    before = opened.evaluate(drawn)
    opened.locator("select").select_option(index=1)
    model_of(opened, "Title")
    opened.wait_for_function("found.text.startsWith('DAPI')")
    after = opened.evaluate(drawn)
    assert after[0] == pytest.approx(before[0] + 0.5, abs=1e-6)


@pytest.mark.browser
def test_hover_tells_the_drawn_value(opened):
    model_of(opened, "Figure")
    opened.locator("select").select_option(index=1)
    place = opened.evaluate("""() => {
      const view = [...Bokeh.index.roots].flatMap(root => [...root.children()]).find(child => child.model === found)
        ?? Bokeh.index.find_one(found)
      const box = view.el.getBoundingClientRect()
      const frame = (view.frame ?? view.plot_view.frame).bbox
      return [box.x + frame.left + frame.width * 0.5, box.y + frame.top + frame.height / 6]
    }""")
    opened.mouse.move(*place)
    tip = opened.locator(".bk-Tooltip")
    for words in (HTML_NAME, "M2", "1.600"):
        tip.get_by_text(words).wait_for(state="visible")


@pytest.mark.browser
def test_table_sorts_by_click(opened):
    cells = opened.locator("section", has=opened.locator("h2", has_text="Table")).locator("tbody tr td:first-child")
    head = opened.get_by_role("button", name="value")
    head.click()
    assert cells.all_inner_texts() == ["M10", HTML_NAME, "M2"]
    head.click()
    assert cells.all_inner_texts()[:2] == [HTML_NAME, "M10"]


def test_elements_of_holoviews_may_stand_in_a_report():
    report = make_report()
    report.add_section("Matrix", "", plot_matrix(np.ones((2, 2)), ["a", "b"]))
    assert 'data-root-id="' in report.html()
