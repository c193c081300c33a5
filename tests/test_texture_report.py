"""The texture report: what it holds, what it says when something is missing, and that it works offline."""

import re
import shutil

import numpy as np
import pytest
import tifffile
from playwright.sync_api import expect
from waiting import place_in

from analysis.synthetic.texture import draw_tile_set
from analysis.texture import (
    SCORES,
    cluster_patches,
    correct_labels,
    find_tile_set,
    measure_patches,
    read_mosaic,
    search_settings,
)
from dashboards.support.texture_report import write_texture_report
from dashboards.support.texture_report_views import MOST_POINTS, map_limits, source_of

HTML_NAME = "<img src=x onerror=window.hit=1>"
MODELS = "(window.Bokeh?.documents ?? []).flatMap(one => [...one._all_models.values()])"
RENDERERS = f"{MODELS}.filter(m => m.type == 'GlyphRenderer')"
OVERLAY = f"{RENDERERS}.filter(r => r.name == 'overlay')[0]"
PATCHES = f"{RENDERERS}.filter(r => r.name == 'patches')[0].data_source"


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    """Two tiles, of which one is named as HTML, and a file that is none."""
    folder = tmp_path_factory.mktemp("texture")
    truth = draw_tile_set(folder, tiles=(1, 2), shape=(120, 160), seed=1)
    truth.files[1].rename(truth.files[1].with_name(f"Tile_001-002 {HTML_NAME}.tif"))
    (truth.folder / "tiles" / "Tile_001-003.tif").write_text("no picture")
    return truth.folder / "tiles"


@pytest.fixture(scope="module")
def found(tiles):
    patches = measure_patches(find_tile_set(tiles), grid=8, statistics="five_number", leave_out=("dark", "edge"))
    return cluster_patches(patches, clusters=3)


@pytest.fixture(scope="module")
def correction(found):
    labels = {}
    for entry in found.representatives.itertuples():
        patch = found.patches.table.iloc[entry.patch]
        labels[(patch["name"], int(patch["row"]), int(patch["column"]))] = HTML_NAME if entry.cluster == 1 else "film"
    return correct_labels(found, labels)


@pytest.fixture(scope="module")
def search(found):
    return search_settings(found.patches, grids=[1, 8], clusters=[2, 3], components=[None, 2], draws=2)


@pytest.fixture(scope="module")
def report(found, correction, search, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "new" / "report.html"
    return write_texture_report(path, found, correction=correction, search=search)


def test_everything_has_its_section(report, found, search):
    text = report.read_text(encoding="utf-8")
    sections = re.findall(r"<h2>(.*?)</h2>", text)
    assert sections == [
        "Summary", "Heat map", "Representatives", "Sizes", "Corrections", "Clusters against classes", "Search",
        "Silhouette", "Inertia", "BIC", "Stability", "Left out", "Problems", "Settings", "Versions", "Inputs",
    ]  # fmt: skip
    assert "Tile_001-003.tif" in text
    for name in ("patches: dark_below", "clusters: seed", "correction: trees", "tile set: channel"):
        assert f"<dt>{name}</dt>" in text
    for words in SCORES.values():
        assert words[:40] in text
    assert "edge: it lies at the outer edge of the set" in text
    assert str(found.patches.table["left_out"].sum()) in text
    for error in set(search.table["error"]) - {""}:
        assert error.split(";")[0][:30] in text


def test_names_are_never_html(report):
    text = report.read_text(encoding="utf-8")
    body = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert "&lt;img src=x" in body and "<img src=x" not in body


def test_file_stays_small(report):
    assert report.stat().st_size < 6e6


def test_without_corrections_and_search_there_is_less(found, tmp_path):
    path = write_texture_report(tmp_path / "report.html", found, mosaic=read_mosaic(found.patches.tile_set))
    sections = re.findall(r"<h2>(.*?)</h2>", path.read_text(encoding="utf-8"))
    assert not {"Corrections", "Search"} & set(sections) and "Heat map" in sections


def test_one_statistic_has_no_scatter_but_a_report(tiles, tmp_path):
    found = cluster_patches(measure_patches(find_tile_set(tiles), grid=4, statistics=["mean"]), clusters=2)
    path = write_texture_report(tmp_path / "report.html", found)
    assert "There is no scatter" in path.read_text(encoding="utf-8")


def test_a_tile_that_is_gone_is_said_and_nothing_is_left(tiles, tmp_path):
    copied = shutil.copytree(tiles, tmp_path / "tiles")
    found = cluster_patches(measure_patches(find_tile_set(copied), grid=4), clusters=2)
    for file in copied.iterdir():
        file.unlink()
    with pytest.raises((OSError, ValueError)):
        write_texture_report(tmp_path / "report.html", found)
    assert not list(tmp_path.glob("*.html*"))


def test_no_cluster_is_refused(tmp_path):
    rng = np.random.default_rng(0)
    tifffile.imwrite(tmp_path / "a.tif", rng.normal(1000, 50, (64, 64)).astype("float32"))
    patches = measure_patches(find_tile_set(tmp_path), grid=4, shading="none")
    found = cluster_patches(patches, method="hdbscan", smallest=12)
    assert found.count == 0
    with pytest.raises(ValueError, match="at least one cluster"):
        write_texture_report(tmp_path / "report.html", found)


def test_many_patches_are_a_sample_and_the_colours_show_all(tmp_path):
    truth = draw_tile_set(tmp_path, tiles=(1, 2), shape=(256, 256), seed=2)
    found = cluster_patches(measure_patches(find_tile_set(truth.folder / "tiles"), grid=64), clusters=2)
    source = source_of(found, read_mosaic(found.patches.tile_set))
    assert len(source.data["left"]) == MOST_POINTS < (found.numbers > 0).sum()
    path = write_texture_report(tmp_path / "report.html", found)
    assert f"{MOST_POINTS:,} of 8,192 patches" in path.read_text(encoding="utf-8")


def test_tall_sets_are_drawn_in_the_middle():
    (left, right), (bottom, top), shape = map_limits(1000, 100)
    assert (bottom, top) == (1000, 0) and left + right == pytest.approx(100)
    assert (bottom - top) / (right - left) == pytest.approx(shape)


@pytest.mark.browser
def test_report_moves_without_python_and_network(page, report, found):
    page.context.set_offline(True)
    outside, faults = [], []
    page.on("request", lambda request: outside.append(request.url))
    page.on("pageerror", lambda fault: faults.append(str(fault)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.goto(report.as_uri())
    page.wait_for_function(
        f"() => {OVERLAY}?.glyph.global_alpha.value == 0.45 || {OVERLAY}?.glyph.global_alpha == 0.45"
    )
    page.wait_for_timeout(1000)  # for the widgets to listen
    size = int(found.sizes["patches"].iloc[1])
    page.get_by_role("button", name=f"cluster 2 · {size}").click()
    palette = f"{OVERLAY}.glyph.color_mapper.palette"
    page.wait_for_function(f"() => {palette}[2] == '#00000000' && {palette}[1] != '#00000000'")
    hidden = f"[...{PATCHES}.get_column('alpha')].filter(each => each == 0).length"
    assert page.evaluate(f"() => {hidden}") == size
    page.get_by_role("button", name=f"cluster 2 · {size}").click()
    page.wait_for_function(f"() => {palette}[2] != '#00000000' && {hidden} == 0")
    page.get_by_role("button", name="all").first.click()
    page.wait_for_function(f"() => {palette}.every(each => each == '#00000000')")
    page.locator(".noUi-handle").first.focus()
    page.keyboard.press("End")
    page.wait_for_function(f"() => ({OVERLAY}.glyph.global_alpha.value ?? {OVERLAY}.glyph.global_alpha) == 1")
    expect(page.get_by_role("button", name=re.compile(r"img src=x.* · \d+"))).to_be_visible()
    assert page.evaluate("window.hit") is None
    assert [url for url in outside if not url.startswith(("file:", "data:", "blob:"))] == [] == faults


@pytest.mark.browser
def test_scatter_and_heat_map_select_together(page, report):
    page.set_viewport_size({"width": 1280, "height": 2000})
    page.goto(report.as_uri())
    page.wait_for_function(f"() => {PATCHES}?.get_length() > 0")
    scatter = "model.renderers.some(each => each.name == 'points')"
    page.mouse.move(*place_in(page, scatter, 0.1, 0.1, shares=True))
    page.mouse.down()
    page.mouse.move(*place_in(page, scatter, 0.55, 0.8, shares=True), steps=8)
    page.mouse.up()
    page.wait_for_function(f"() => {PATCHES}.selected.indices.length > 0")
    chosen = page.evaluate(f"() => {PATCHES}.selected.indices.length")
    assert chosen < page.evaluate(f"() => {PATCHES}.get_length()")
