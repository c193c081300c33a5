"""Served pages and requests that no visitor's browser sends: foreign hosts, origins and sessions, floods, headers."""

import asyncio
import contextlib
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from asking import ask, close_socket, open_socket, send_raw, token_of, try_socket

from dashboards.support.guarded_server import MOST_MESSAGE_BYTES
from dashboards.support.serving import instrument_files

PAGES = list(instrument_files())
OWN = [sys.executable, "-c", "from dashboards.support.command import main; main()", "serve", "--port", "0"]


@pytest.fixture(scope="module")
def server(start_server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    line = [*OWN, "--allow-origin", "pages.example.org", "--most-sessions", "12", "--data", str(folder)]
    yield from start_server(folder, {}, line)


@pytest.fixture(scope="module")
def token(server):
    return token_of(ask(server.address, "/home"))


# ---- from where ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/flatfield", "/static/js/bokeh.min.js", "/home/autoload.js", "/nothing"])
@pytest.mark.parametrize(
    "host", ["evil.example.org", "127.0.0.1", "localhost:1", "127.0.0.1.evil.org:5006", "[::1]", ""]
)
def test_foreign_hosts_are_refused(server, path, host):
    """A name of another site that leads to this machine (DNS rebinding): 403 with a sentence."""
    found = ask(server.address, path, Host=host)
    assert found.status in ((400, 403) if not host else (403,))
    assert not host or "not opened under the name" in found.text
    assert "token" not in found.text


@pytest.mark.parametrize("host", ["<img src=x>", "a\tb", "x" * 5000, "a@b", "evil.org#127.0.0.1"])
def test_odd_hosts_are_shown_as_text(server, host):
    """HTML as a host name: refused, and shown as text."""
    found = ask(server.address, "/", Host=host)
    assert found.status in (400, 403) and "<img" not in found.text
    assert "<" not in found.headers.get("Content-Security-Policy", "")


def test_two_hosts_are_refused(server):
    """Two host names in one request: 400."""
    host = server.address.removeprefix("http://")
    first = send_raw(server.address, ["GET /home HTTP/1.1", f"Host: {host}", "Host: evil.example.org"])
    assert " 400 " in first or " 403 " in first


def test_names_that_were_told_are_welcome(server, token):
    assert ask(server.address, "/home", Host="pages.example.org").status == 200
    assert ask(server.address, "/home", Host="Pages.Example.org:443").status == 200
    assert try_socket(server.address, "/home", token, Origin="https://pages.example.org") == 101


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example.org", "null", "https://pages.example.org.evil.org", "file://", "http://localhost",
        "chrome-extension://pages.example.org", "pages.example.org", "http://pages.example.org@evil.org", "",
    ],
)  # fmt: skip
@pytest.mark.parametrize("page", ["/home", "/texture", ""])
def test_sockets_of_other_sites_are_refused(server, token, origin, page):
    """A page of another site that opens the socket of these pages: 403."""
    assert try_socket(server.address, page, token, Origin=origin) == 403


def test_sockets_without_an_origin_are_refused(server, token):
    """A socket opened by something that hides its origin: 403, which Bokeh alone would let in."""
    assert try_socket(server.address, "/home", token, Origin=None) == 403
    assert try_socket(server.address, "/home", token) == 101


@pytest.mark.parametrize("path", ["/home", "/home/autoload.js?bokeh-autoload-element=a", "/static/js/bokeh.min.js"])
def test_other_sites_may_not_read(server, path):
    """A page of another site that fetches these pages, their scripts and tokens: 403, and no leave to read."""
    for headers in (
        {"Origin": "https://evil.example.org"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "script"},
        {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"},
    ):
        found = ask(server.address, path, **headers)
        assert found.status == 403 and "token" not in found.text
        assert not [name for name in found.headers if name.lower().startswith("access-control")]
    followed = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    if path == "/home":
        assert ask(server.address, path, **followed).status == 200


# ---- what ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["argument", "token", "header"])
def test_nobody_chooses_the_session_of_another(server, how, token):
    """A link that opens a page in a session the sender knows (session fixation): 403."""
    path = {"argument": "/home?bokeh-session-id=abc", "token": f"/home?bokeh-token={token}", "header": "/home"}[how]
    more = {"Bokeh_Session_Id": "abc"} if how == "header" else {}
    found = ask(server.address, path, **more)
    assert found.status == 403 and '"token"' not in found.text


@pytest.mark.parametrize(
    "change", [lambda t: t[:-3] + "abc", lambda t: t.partition(".")[0], lambda t: "x", lambda t: ""]
)
def test_tokens_that_were_made_up_open_nothing(server, token, change):
    """A made-up, changed or overlong token of a session: 403, and nothing of it is unpacked."""
    assert try_socket(server.address, "/home", change(token)) == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_pages_are_only_read(server, method):
    """Requests that send something to the pages: refused."""
    for path in ("/home", "/home/autoload.js", "/static/js/bokeh.min.js"):
        assert ask(server.address, path, method=method, Origin=server.address).status == 405
        assert ask(server.address, path, method=method).status == 403


@pytest.mark.parametrize("module", ["antigravity", "os", "this", "analysis.files", "dashboards.support.demo", "..", ""])
def test_nobody_imports_a_module(server, module):
    """An address that has Panel import a module of the server: 404, and nothing is imported."""
    found = ask(server.address, f"/components/{module}/x/_css/a.css")
    assert found.status == 404 and "Module" not in found.text


@pytest.mark.parametrize(
    "path",
    [
        "/static/../../../../etc/passwd", "/static/%2e%2e/%2e%2e/%2e%2e/etc/passwd", "/static//etc/passwd",
        "/static/extensions/panel/../../../../../../../../etc/passwd", "/static/extensions/panel/%2e%2e/%2e%2e/auth.py",
        "/components/panel.pane/HTML/_css/../../../etc/passwd",
    ],
)  # fmt: skip
def test_static_files_stay_in_their_folder(server, path):
    """Paths out of the folder of scripts: 403 or 404."""
    found = ask(server.address, path)
    assert found.status in (403, 404) and "root:" not in found.text and "import" not in found.text


# ---- how much --------------------------------------------------------------------------------------------


def test_large_requests_are_not_read(server):
    """A header or a body of many megabytes: hung up on or refused."""
    with contextlib.suppress(ConnectionError):
        assert ask(server.address, "/home?" + "a" * 100_000).status in (400, 414, 431)
    with contextlib.suppress(ConnectionError):
        assert ask(server.address, "/home", method="POST", body="a" * 5_000_000, Origin=server.address).status >= 400
    assert ask(server.address, "/nothing").status == 404


def test_large_messages_close_their_socket_alone(server):
    """A message of many megabytes on a socket: that socket is closed, memory and other visitors are not touched."""
    pages = [token_of(ask(server.address, "/home")) for _ in range(2)]
    before = psutil.Process(server.process.pid).memory_info().rss

    async def send():
        other = await open_socket(server.address, "/home", pages[1])
        socket = await open_socket(server.address, "/home", pages[0])
        for _ in range(5):
            with contextlib.suppress(Exception):
                await socket.write_message(b"x" * (MOST_MESSAGE_BYTES + 1000), binary=True)
        while await asyncio.wait_for(socket.read_message(), 30) is not None:
            pass
        other.write_message('{"msgid":"1","msgtype":"SERVER-INFO-REQ"}')
        other.write_message("{}")
        other.write_message("{}")
        answer = ""
        while "SERVER-INFO-REPLY" not in answer:
            answer = await asyncio.wait_for(other.read_message(), 30)
        await close_socket(other)
        socket.close()

    asyncio.run(send())
    assert psutil.Process(server.process.pid).memory_info().rss - before < 60e6


def test_sessions_are_bounded_and_end(start_server, tmp_path):
    """Opening pages without end: a sentence (503) instead of one more; those that are gone make room."""
    for served in start_server(tmp_path, {}, [*OWN, "--most-sessions", "5"]):
        with ThreadPoolExecutor(20) as many:
            found = list(many.map(ask, [served.address] * 20, ["/home"] * 20))
        statuses = [each.status for each in found]
        assert statuses.count(200) == 5 and statuses.count(503) == 15
        full = next(each for each in found if each.status == 503)
        assert "5 pages are open, and the server holds no more" in full.text and full.headers["Retry-After"] == "30"
        opened = [token_of(each) for each in found if each.status == 200]
        assert try_socket(served.address, "/home", opened[0]) == 101
        # a script has nothing to do with sessions
        paths = ["/static/js/bokeh.min.js", "/home/autoload.js?bokeh-autoload-element=a"]
        assert asyncio.run(asked_while_open(served.address, opened, paths)) == [200, 503]
        for _ in range(6):
            page_with_room(served)


async def asked_while_open(address, tokens, paths):
    """Status of answers while pages have their sockets open, for those without one end by themselves after a while."""
    sockets = [await open_socket(address, "/home", token) for token in tokens]
    try:
        return [(await asyncio.to_thread(ask, address, path)).status for path in paths]
    finally:
        for each in sockets:
            await close_socket(each)


def page_with_room(served):
    for _ in range(80):
        page = ask(served.address, "/home")
        if page.status == 200:
            return page
        time.sleep(1)
    raise AssertionError("no session ended")


def test_tokens_cannot_hold_more_sessions(start_server, tmp_path):
    """Sockets opened with kept tokens while the server is full: 503, as for pages."""
    for served in start_server(tmp_path, {}, [*OWN, "--most-sessions", "2"]):
        kept = [token_of(ask(served.address, "/home")) for _ in range(2)]
        asyncio.run(only_the_later_ones(served, kept))


async def only_the_later_ones(served, kept):
    later = []
    try:
        for _ in range(2):  # once both are open, those before have ended
            token = token_of(await asyncio.to_thread(page_with_room, served))
            later.append(await open_socket(served.address, "/home", token))
        assert (await asyncio.to_thread(ask, served.address, "/home")).status == 503
        assert {await asyncio.to_thread(try_socket, served.address, "/home", token) for token in kept} == {503}
    finally:
        for each in later:
            await close_socket(each)


# ---- headers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*PAGES, "/static/js/bokeh.min.js", "/nothing", "/favicon.ico", "/home/metadata"])
def test_every_answer_says_what_a_page_may(server, path):
    """Framing, sniffing and loading from elsewhere: forbidden by headers on every answer."""
    for host in (None, "evil.example.org"):
        found = ask(server.address, path, **({"Host": host} if host else {}))
        if found.status == 503:
            pytest.skip("full")
        headers = found.headers
        assert headers["X-Frame-Options"] == "DENY" and headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin" and "camera=()" in headers["Permissions-Policy"]
        assert headers["Cross-Origin-Opener-Policy"] == headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["Server"] is None
        rules = dict(rule.strip().split(" ", 1) for rule in headers["Content-Security-Policy"].split(";"))
        assert rules["default-src"] == rules["object-src"] == rules["frame-ancestors"] == "'none'"
        assert rules["base-uri"] == rules["form-action"] == "'self'"
        assert "'unsafe-inline'" not in rules["script-src"] and "*" not in headers["Content-Security-Policy"]
        assert not re.search(r"https?://", headers["Content-Security-Policy"])


def test_scripts_of_a_page_carry_its_word(server):
    """A script that got into a page as text: it lacks the word that the page's own carry, another one each time."""
    words = set()
    for _ in range(2):
        found = ask(server.address, "/home")
        word = re.search(r"'nonce-(\w{32})'", found.headers["Content-Security-Policy"])[1]
        assert len(re.findall(r"<script", found.text)) == len(re.findall(f"<script nonce={word}", found.text)) > 3
        words.add(word)
    assert len(words) == 2
