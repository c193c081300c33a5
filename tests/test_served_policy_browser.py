"""Markup that got into a page somehow, in a real browser: it runs nothing, and loads nothing from elsewhere."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

INTO = "document.body.insertAdjacentHTML('beforeend', markup)"
MARKUP = {
    "an image that fails": "<img src=x onerror='window.hit=1'>",
    "an image within a drawing": "<svg><image href=x onerror='window.hit=1'></image></svg>",
    "a handler of a click": "<button id=evil onclick='window.hit=1'>evil</button>",
    "a link that is a program": "<a id=evil href='javascript:window.hit=1'>evil</a>",
    "a frame with a text": "<iframe srcdoc='<script>parent.hit=1</script>'></iframe>",
    "a frame that is a program": "<iframe src='javascript:parent.hit=1'></iframe>",
    "a details that opens": "<details open ontoggle='window.hit=1'>evil</details>",
}


@pytest.fixture(scope="module")
def server(start_server, tmp_path_factory):
    yield from start_server(tmp_path_factory.mktemp("served"), {})


@pytest.fixture
def front(page, server):
    page.set_default_timeout(60_000)
    page.goto(server.address + "/home", timeout=120_000)
    expect(page.get_by_text("Open Flatfield")).to_be_visible()
    return page


def hit(page):
    page.wait_for_timeout(1500)
    return page.evaluate("window.hit")


def test_markup_that_got_into_a_page_runs_nothing(front):
    """Handlers within markup (`<img onerror>`, `javascript:` and the like) that a fault let into a page: inert."""
    for name, markup in MARKUP.items():
        front.evaluate(f"markup => {INTO}", markup)
        if "id=evil" in markup:
            front.evaluate("() => { const it = document.getElementById('evil'); it.click(); it.remove() }")
        assert hit(front) is None, name
    front.evaluate(
        "() => { const it = document.createElement('script'); "
        "it.textContent = 'window.hit=1'; document.body.append(it) }"
    )
    assert hit(front) is None


@pytest.fixture
def elsewhere():
    """Another site on this machine, and what it was asked for."""
    asked = []

    class Site(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *words):
            """Say nothing."""

    served = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=served.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{served.server_port}", asked
    served.shutdown()
    thread.join()
    served.server_close()


def test_markup_that_got_into_a_page_calls_nobody(front, server, elsewhere):
    """Markup that sends what is on a page elsewhere, by an image, a form or a request: the browser refuses."""
    site, asked = elsewhere
    image, sheet = f"<img src='{site}/a'>", f"<link rel=stylesheet href='{site}/b'>"
    for markup in (image, sheet, f"<iframe src='{site}/c'></iframe>"):
        front.evaluate(f"markup => {INTO}", markup)
    told = front.evaluate(f"() => fetch('{site}/d', {{mode: 'no-cors'}}).then(() => 'sent', () => 'refused')")
    front.evaluate(
        f"markup => {{ {INTO}; document.getElementById('evil').submit() }}",
        f"<form id=evil action='{site}/e'><input name=a value=b></form>",
    )
    assert hit(front) is None and told == "refused"
    assert front.url == server.address + "/home" and asked == []
