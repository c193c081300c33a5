"""Folders that visitors are held to, in a real browser: typed, in the address, and sent by an altered browser."""

import re
import sys

import pytest
from playwright.sync_api import expect

from analysis.synthetic.tiles import draw_images

pytestmark = pytest.mark.browser

SERVE = [sys.executable, "-c", "from dashboards.support.command import main; main()", "serve", "--port", "0"]
REFUSED = "is not in a folder that this server reads; it must be in"
MODELS = "Bokeh.documents.flatMap(one => [...one._all_models.values()])"
FOUND = re.compile("3 images")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    tree = tmp_path_factory.mktemp("served")
    for name, count in (("data", 3), ("outside", 2)):
        draw_images(tree / name, count=count, shape=(150, 200), cells=3, seed=2)
    (tree / "data" / "link").symlink_to(tree / "outside" / "images")
    (tree / "output").mkdir()
    return tree


@pytest.fixture(scope="module", params=["writing", "read only"])
def server(request, start_server, tree):
    options = ["--data", tree / "data", "--images", tree / "data" / "images"]
    options += ["--output", tree / "output"] if request.param == "writing" else ["--read-only"]
    for served in start_server(tree, {}, [*SERVE, *map(str, options)]):
        served.writing = request.param == "writing"
        yield served


def folder_field(page):
    return page.get_by_label("Folders of images, one a line")


def wait_for_images(page, tree):
    expect(page.get_by_text(FOUND).first).to_be_visible()
    expect(folder_field(page)).to_have_value(str(tree / "data" / "images"))


def test_a_path_in_the_address_is_refused(opened, tree):
    for path, said in (
        (tree / "data" / "link", REFUSED),
        (f"{tree}/data/../outside/images", "must be a path without '..'"),
    ):
        page = opened(f"/tiles?folder={path}")
        expect(page.get_by_text(said).first).to_be_visible()
        wait_for_images(page, tree)


def test_a_typed_path_is_refused_and_marked(opened, tree):
    page = opened("/tiles")
    wait_for_images(page, tree)
    field = folder_field(page)
    field.fill(str(tree / "outside" / "images"))
    field.blur()
    expect(page.locator(".banner").get_by_text(REFUSED).first).to_be_visible()
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_text(FOUND).first).to_be_visible()  # what was shown stays
    field.fill("images")
    field.blur()
    wait_for_images(page, tree)  # a relative path is shown in full
    expect(field).to_have_attribute("aria-invalid", "false")
    expect(page.locator(".banner").get_by_text(REFUSED)).to_have_count(0)


def test_values_of_an_altered_browser_are_refused(opened, tree):
    page = opened("/tiles")
    wait_for_images(page, tree)
    models = f"{MODELS}.filter(m => m.data?.label && 'value' in m.data)"
    labels = set(page.evaluate(f"{models}.map(m => m.data.label)"))
    assert "Image shown" in labels and "Dask scheduler" not in labels
    for label in ("Folder of masks", "Output folder"):
        for value in (str(tree / "outside" / "images"), ""):
            mine = f"{models}.filter(m => m.data.label == label)"
            page.evaluate(f"([label, value]) => {mine}.forEach(m => {{ m.data.value = value }})", [label, value])
            refused = page.locator(".banner").get_by_text(REFUSED)
            expect(refused.first).to_be_visible() if value else expect(refused).to_have_count(0)


def test_what_writes_is_there_only_where_something_may_be_written(opened, server, tree):
    before = sorted(tree.glob("data/**/*"))
    page = opened("/tiles")
    wait_for_images(page, tree)
    export = page.get_by_role("button", name=re.compile("^Export"))
    if server.writing:
        export.first.click()
        expect(page.get_by_text(f"in {tree / 'output' / 'tiles'}").first).to_be_visible()
        assert len(list((tree / "output" / "tiles").glob("*.tif"))) == 3
    else:
        expect(page.get_by_text("the pages are served with --read-only")).to_be_visible()
        expect(export).to_have_count(0)
    assert sorted(tree.glob("data/**/*")) == before
