"""How soon a page shows its first picture, and how soon a picture follows a slider; measured in the browser.

Run with ``python -m pytest tests/benchmarks/test_pages_speed.py -m benchmark -s``. The server is warm and shows the
sample data; each first picture is that of a browser with nothing in its cache.
"""

import pytest
from benchmarks.pages import CLOCK, MOVED, serve_demo, told

pytestmark = [pytest.mark.benchmark, pytest.mark.browser]


@pytest.fixture(scope="module")
def served(start_server, tmp_path_factory):
    yield from serve_demo(start_server, tmp_path_factory.mktemp("served"))


@pytest.mark.parametrize("name", MOVED)
def test_first_picture_and_picture_after_a_slider(served, browser, name):
    first, after = [], []
    for _ in range(5):
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        page = context.new_page()
        page.add_init_script(CLOCK)
        page.goto(f"{served.address}/{name}")
        page.wait_for_function("() => window.first_picture_ms", timeout=60_000)
        first.append(page.evaluate("() => window.first_picture_ms"))
        context.close()
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.add_init_script(CLOCK)
    page.goto(f"{served.address}/{name}")
    page.wait_for_function("() => window.first_picture_ms", timeout=60_000)
    page.wait_for_timeout(3000)
    moved = MOVED[name]
    low, high = moved.between
    whole = isinstance(low, int)
    for step in range(40):
        value = low + (high - low) * ((step * 7) % 20) / 19
        after.append(
            page.evaluate("([l, v]) => window.move(l, v, 3000)", [moved.label, round(value) if whole else value])
        )
        page.wait_for_timeout(300)
    context.close()
    print(f"\n{name:10s} first picture {told(first)}\n{'':10s} after {moved.label:10s}{told(after)}")
    assert len(first) == 5
