"""The notebooks as a person runs them: in JupyterLab on this machine, and as a file to read without a network."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect

REPOSITORY = Path(__file__).parents[1]
NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
TOKEN = "of-this-test-only"
MODELS = "Bokeh.documents.flatMap(one => [...one._all_models.values()])"
MATRIX = f"{MODELS}.find(m => m.type == 'Figure' && m.title?.text?.startsWith('Average'))"
TYPED = f"{MODELS}.find(m => m.data?.label == 'Slide pattern')?.data.value_input"
BOUNDS = f"{MATRIX}?.renderers.map(r => r.glyph.color_mapper).filter(m => m).map(m => [m.low, m.high])[0]"


def need(package):
    """Import what the tests ask for, or skip; where browsers must be there, so must this."""
    if os.environ.get("GRATICULE_BROWSER_REQUIRED"):
        return __import__(package)
    return pytest.importorskip(package, reason=f"{package} is not installed; it comes with graticule[test]")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_hold_no_outputs(path):
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        assert cell.get("outputs", []) == [] and cell.get("execution_count") is None
        assert cell["metadata"] == {}


def test_notebooks_load_nothing_from_the_network():
    loading = re.compile(r"\w+\.extension\(.*\)")
    for path in NOTEBOOKS:
        lines = [line for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] for line in cell["source"]]
        assert loading.findall("".join(lines)) == ['pn.extension("tabulator", inline=True)'], path
    # hv.extension loads at once and before anybody could say inline=True
    for path in (REPOSITORY / "dashboards").rglob("*.py"):
        assert not re.search(r"^hv\.extension|^    hv\.extension", path.read_text(encoding="utf-8"), re.MULTILINE), path


@pytest.fixture(scope="module")
def lab(start_server, tmp_path_factory):
    """JupyterLab with a copy of the notebooks; what it keeps, it keeps in a folder of its own."""
    need("jupyterlab")
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(REPOSITORY / "notebooks", folder / "notebooks")
    asked = folder / "settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    asked.parent.mkdir(parents=True)
    asked.write_text('{"fetchNews": "false"}')
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    named = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime",
             "JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
             "IPYTHONDIR": "ipython"}  # fmt: skip
    settings = {name: str(folder / place) for name, place in named.items()}
    paths = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}",
        f"--ServerApp.root_dir={folder / 'notebooks'}", "--LabApp.news_url=", "--LabApp.extension_manager=readonly",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]  # fmt: skip
    yield from start_server(folder, {**settings, "PYTHONPATH": paths, "JUPYTER_TOKEN": TOKEN}, command)


@pytest.fixture
def watched(page):
    """What a page asked for, and what went wrong on it."""
    asked, faults = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda fault: faults.append(str(fault)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.set_viewport_size({"width": 1400, "height": 1000})
    page.set_default_timeout(60_000)
    return asked, faults


@pytest.mark.browser
def test_page_in_a_cell_of_jupyterlab_answers(page, lab, watched):
    asked, faults = watched
    page.goto(f"{lab.address}/lab/tree/00_start.ipynb?token={TOKEN}&reset")
    expect(page.get_by_text("| Idle")).to_be_visible()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    expect(page.get_by_text("graticule flatfield compare").last).to_be_visible(timeout=180_000)
    bounds = page.get_by_role("slider", name=re.compile("Colour bounds")).first
    bounds.scroll_into_view_if_needed()
    page.wait_for_function(f"() => {BOUNDS}")
    assert page.evaluate(BOUNDS) == [0.85, 1.15]
    # the picture follows, by the kernel
    bounds.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.wait_for_function(f"() => Math.abs({BOUNDS}[0] - 0.9) < 1e-6")
    # and the words; what is typed is not heard by the notebook, in which x cuts the cell and m makes it text
    cells = page.locator(".jp-Cell").count()
    pattern = page.get_by_role("textbox", name="Slide pattern")
    pattern.press_sequentially("M1_[123]|xdd")
    page.wait_for_function(f"() => {TYPED} == 'M1_[123]|xdd'")
    expect(page.get_by_text("3 of 6 slides match")).to_be_visible()
    # the field takes what it has drawn, not what it was sent, when Enter is pressed
    page.evaluate("() => new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    pattern.press("Enter")
    expect(page.get_by_text("3 pairs of 3 slides, all compared.").first).to_be_visible()
    page.wait_for_function(f"() => {MATRIX}?.x_range.end == 3")
    assert page.locator(".jp-Cell").count() == cells and page.locator(".jp-CodeCell").count() == 5
    assert [
        url for url in asked if not url.startswith((lab.address, lab.address.replace("http", "ws"), "blob:", "data:"))
    ] == []
    assert faults == []


@pytest.mark.browser
def test_notebook_as_html_needs_no_network(page, watched, tmp_path):
    need("nbconvert")
    from nbconvert import HTMLExporter

    asked, faults = watched
    told = [sys.executable, "-m", "nbconvert", "--to", "html", "--execute", "--output-dir", str(tmp_path)]
    paths = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    subprocess.run(
        [*told, str(REPOSITORY / "notebooks" / "00_start.ipynb")], check=True, env=os.environ | {"PYTHONPATH": paths}
    )
    path = tmp_path / "00_start.html"
    page.context.set_offline(True)
    page.goto(path.as_uri())
    page.wait_for_function(f"() => {BOUNDS}")
    expect(page.locator("canvas").first).to_be_visible()
    expect(page.get_by_text("Colour bounds").first).to_be_visible()
    expect(page.get_by_text("15 pairs of 6 slides, all compared.").first).to_be_visible()
    # what nbconvert itself puts in every file of its own, for formulas and widgets, of which there are none
    exporter = HTMLExporter()
    own = (exporter.mathjax_url.partition("?")[0], exporter.require_js_url)
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:", *own))] == []
    assert [fault for fault in faults if "ERR_INTERNET_DISCONNECTED" not in fault] == []
