"""A page's outline, which a visitor sees while the server still makes the page."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import re
import threading
from types import SimpleNamespace

import panel as pn
import panel_material_ui as pmui
import pytest
from asking import ask, open_socket, token_of
from bokeh.document import Document
from bokeh.document.document import DEFAULT_TITLE
from panel.io.state import set_curdoc
from tornado.websocket import WebSocketHandler

from dashboards.support.guarded_server import guarded_server
from dashboards.support.jobs import gently
from dashboards.support.loading import begin, in_thread, looked_up_early, until_looked_up
from dashboards.support.page import page
from dashboards.support.parts import words
from dashboards.support.serving import free_port
from dashboards.support.serving_rules import Guard
from dashboards.support.standard_tabs import add_tabs

WAIT_S = 60


@contextlib.asynccontextmanager
async def serving(build, **rules):
    """A server of one page, in this process."""
    port = free_port("127.0.0.1", 0)
    panels = {"slow": build}
    server = guarded_server(Guard(**rules), address="127.0.0.1", port=port, panels=panels, title="", start=False)
    server.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop()


class Visit:
    """An answer that is read as it comes."""

    def __init__(self, address, path="/slow", **headers):
        self.connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=WAIT_S)
        self.connection.request("GET", path, headers=headers)
        self.answer = self.connection.getresponse()
        self.text = ""

    def read_until(self, words):
        """Read on until some words have come."""
        while words not in self.text:
            piece = self.answer.read1(65536)
            assert piece, f"{words!r} did not come in {len(self.text)} characters"
            self.text += piece.decode()
        return self

    def read_all(self):
        """Read to the end."""
        self.text += self.answer.read().decode()
        self.connection.close()
        return self


def plain_page():
    return page("Slow", [words("control")], [words("content")])


def without_words_of_one_answer(text):
    return re.sub(r"nonce=\w+|p\d+|[0-9a-f-]{36}|\"token\":\"[^\"]+\"", "", text)


def test_the_outline_comes_before_the_page_is_made():
    seen = threading.Event()
    makings = []

    def build():
        makings.append(None)
        # a browser that saw nothing until the page is made would wait for it for ever, as the page does for the browser
        assert len(makings) == 1 or seen.wait(WAIT_S)
        return plain_page()

    def visit(address):
        found = Visit(address).read_until("Opening the page")
        assert "data-root-id" not in found.text
        seen.set()
        return found.read_all()

    async def both():
        async with serving(build) as address:
            whole = await asyncio.to_thread(ask, address, "/slow")
            return whole, await asyncio.to_thread(visit, address)

    whole, visited = asyncio.run(both())
    assert len(makings) == 2
    assert visited.answer.headers["Cache-Control"] == "no-store"
    assert without_words_of_one_answer(visited.text) == without_words_of_one_answer(whole.text)
    nonce = re.search(r"'nonce-(\w+)'", visited.answer.headers["Content-Security-Policy"])[1]
    scripts = re.findall(r"<script[^>]*>", visited.text)
    assert len(scripts) > 5 and all(f"nonce={nonce}" in each for each in scripts)


def test_a_page_that_begins_otherwise_is_loaded_again_and_then_sent_whole():
    titles = iter(["One", "Two", "Three", "Four"])

    async def visits():
        async with serving(lambda: page(next(titles), [], [words("content")])) as address:
            return [(await asyncio.to_thread(ask, address, "/slow")).text for _ in range(4)]

    first, second, third, fourth = asyncio.run(visits())
    assert "One" in first and "reload()" not in first
    assert "One" in second and re.search(r"<script nonce=\w+>location.reload\(\)</script>$", second)
    for text, title in ((third, "Three"), (fourth, "Four")):
        assert title in text and "reload()" not in text and text.count("<html") == 1


def test_dark_and_light_begin_as_the_visitor_chose():
    async def visits():
        async with serving(plain_page) as address:
            found = []
            for theme in ("light", "dark") * 2:
                cookie = {"Cookie": f"graticule_theme={theme}"}
                found.append(await asyncio.to_thread(lambda told=cookie: Visit(address, **told).read_all().text))
            return found

    found = asyncio.run(visits())
    assert ["#loader { background: #14181e" in text for text in found] == [False, True, False, True]


def test_what_fails_after_the_outline_is_said(monkeypatch, caplog):
    async def visits():
        async with serving(plain_page) as address:
            await asyncio.to_thread(ask, address, "/slow")
            monkeypatch.setattr(pn.io.server, "server_html_page_for_session", lambda *_, **__: 1 / 0)
            return await asyncio.to_thread(ask, address, "/slow")

    found = asyncio.run(visits())
    assert "Opening the page" in found.text and "showError('The page could not be made" in found.text
    assert "ZeroDivisionError" in caplog.text


def test_pages_that_are_still_made_are_counted():
    """The outline that was sent already makes no room for one more."""
    makings = []

    def build():
        makings.append(None)
        return plain_page()

    async def visits():
        async with serving(build, most_sessions=2) as address:
            assert (await asyncio.to_thread(ask, address, "/slow")).status == 200
            # of the two that come at once, one has no place any more
            both = [asyncio.to_thread(ask, address, "/slow") for _ in range(2)]
            return sorted(found.status for found in await asyncio.gather(*both))

    assert asyncio.run(visits()) == [200, 503]
    assert len(makings) == 2


# ---- tabs ------------------------------------------------------------------------------------------------


def make_tabs(made):
    tabs = pmui.Tabs(active=1)

    def tab_of(name):
        def build(dashboard, shown):
            made.append(name)
            return words(name)

        return build

    add_tabs(tabs, None, {name: tab_of(name) for name in ("one", "two", "three")})
    return tabs


def test_a_server_makes_the_tabs_that_are_opened():
    made, pages = [], []

    def build():
        pages.append(make_tabs(made))
        return page("Tabs", [], pages)

    async def visit():
        async with serving(build) as address:
            return await asyncio.to_thread(ask, address, "/slow")

    assert asyncio.run(visit()).status == 200
    assert made == ["two"]
    pages[0].active = 2
    pages[0].active = 1
    pages[0].active = 2
    assert made == ["two", "three"]
    assert [len(content) for content in pages[0]] == [0, 1, 1]
    assert [content.css_classes for content in pages[0]] == [["coming"], [], []], "a tab that is not made yet says so"


def test_a_notebook_and_a_file_have_all_tabs_at_once():
    made = []
    make_tabs(made)
    assert made == ["one", "two", "three"]


def test_the_parts_of_a_message_do_not_wait_for_each_other(monkeypatch):
    """Bokeh sends a message in several writes; with Nagle's algorithm a slider's picture came 40 ms late."""
    prompt = []
    monkeypatch.setattr(WebSocketHandler, "set_nodelay", lambda _, value: prompt.append(value))

    async def check():
        async with serving(plain_page) as address:
            page = await asyncio.to_thread(ask, address, "/slow")
            (await open_socket(address, "/slow", token_of(page))).close()

    asyncio.run(asyncio.wait_for(check(), WAIT_S))
    assert prompt == [True]


def test_whoever_leaves_while_the_page_is_built_disturbs_nobody():
    """What was looked up for them is put on the page all the same, as it is before a browser comes."""
    documents = []

    def build():
        documents.append(pn.state.curdoc)
        return plain_page()

    async def check():
        async with serving(build) as address:
            answer = await asyncio.to_thread(ask, address, "/slow")
            document = documents[-1]
            session = document.session_context.session
            (await open_socket(address, "/slow", token_of(answer))).close()
            while session.connection_count:
                await asyncio.sleep(0.01)
            document.roots[0].tags = ["found"]  # by a task, which holds no lock of the page
            again = await open_socket(address, "/slow", token_of(answer))
            assert session.connection_count == 1
            again.close()

    asyncio.run(asyncio.wait_for(check(), WAIT_S))


# ---- what is looked up meanwhile -------------------------------------------------------------------------


@pytest.fixture
def visited(monkeypatch):
    """A page of a server whose browser has not come yet."""
    session = SimpleNamespace(connection_count=0)
    document = Document()
    document._session_context = lambda: context
    context = SimpleNamespace(session=session, destroyed=False)
    monkeypatch.setattr(type(pn.state), "loaded", property(lambda _: document.title == "loaded"))
    waiting = []
    monkeypatch.setattr(pn.state, "onload", waiting.append)
    return SimpleNamespace(session=session, document=document, context=context, waiting=waiting)


def in_page(visited, work):
    async def run():
        looked_up_early.set(True)
        with set_curdoc(visited.document):
            return await work()

    return asyncio.run(asyncio.wait_for(run(), WAIT_S))


def test_what_is_shown_first_is_looked_up_before_the_browser_comes(visited):
    found = []

    async def look_up():
        found.append(await in_thread(lambda: pn.state.curdoc))

    async def work():
        begin(look_up)
        await until_looked_up(visited.document, WAIT_S)

    in_page(visited, work)
    assert found == [visited.document] and not visited.waiting


def test_what_comes_while_a_browser_builds_the_page_waits_until_it_has(visited):
    found = []

    async def look_up():
        found.append(await in_thread(lambda: "data"))

    async def work():
        begin(look_up)
        visited.session.connection_count = 1
        await until_looked_up(visited.document, 0.3)
        assert not found
        begin(look_up)
        assert visited.waiting == [look_up]
        visited.document.title = "loaded"
        await until_looked_up(visited.document, WAIT_S)

    in_page(visited, work)
    assert found == ["data"]


def test_a_refresh_put_off_is_not_done_while_a_browser_builds_the_page(visited):
    seen = []

    async def work():
        refresh = gently(lambda: seen.append(visited.document.title))
        refresh()
        refresh()
        visited.session.connection_count = 1
        await asyncio.sleep(0.7)
        assert seen == [DEFAULT_TITLE]
        visited.document.title = "loaded"
        while len(seen) < 2:
            await asyncio.sleep(0.01)

    in_page(visited, work)
    assert seen == [DEFAULT_TITLE, "loaded"]


def test_nothing_waits_for_a_browser_that_left(visited):
    async def work():
        visited.session.connection_count = 1
        visited.context.destroyed = True
        return await in_thread(lambda: "data")

    assert in_page(visited, work) == "data"


def test_what_fails_meanwhile_is_in_the_log(visited, caplog):
    async def look_up():
        raise RuntimeError("no such thing")

    async def work():
        begin(look_up)
        await until_looked_up(visited.document, WAIT_S)

    in_page(visited, work)
    assert "no such thing" in caplog.text
