"""Served pages and those who should not be in: pages and sockets without a login, guessing, logging in and out."""

import asyncio
import base64
import contextlib
import json
import re
import sys
import threading
import zlib

import pytest
from asking import PASSWORD, ask, cookie_of, log_in, open_socket, token_of, try_socket, write_logins
from playwright.sync_api import expect

from dashboards.support.serving import instrument_files

PAGES = list(instrument_files())
OWN = [sys.executable, "-c", "from dashboards.support.command import main; main()", "serve", "--port", "0"]


@pytest.fixture(scope="module")
def logins(tmp_path_factory):
    return write_logins(tmp_path_factory.mktemp("logins") / "people.json", "ada", "bob", "eve", "max", "mia", "zoe")


@pytest.fixture(scope="module")
def server(start_server, tmp_path_factory, logins):
    yield from start_server(tmp_path_factory.mktemp("served"), {}, [*OWN, "--basic-auth", str(logins)])


@pytest.fixture(scope="module")
def inside(server):
    """The cookie of somebody who is logged in."""
    return cookie_of(log_in(server.address))


# ---- without a login -------------------------------------------------------------------------------------

BEHIND = (
    "/metadata", "/autoload.js?bokeh-autoload-element=a", "/static/js/bokeh.min.js", "/static/../../etc/passwd",
)  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
def test_pages_ask_for_a_login(server, path):
    """Opening a page without a login: the login page comes, with the way back."""
    found = ask(server.address, path + "?a=b")
    assert found.status == 303 and "token" not in found.text
    assert found.headers["Location"].startswith("/login?next=%2F") and found.headers["Location"].endswith("%3Fa%3Db")


@pytest.mark.parametrize("path", [page.rstrip("/") + rest for page in PAGES for rest in BEHIND])
def test_nothing_behind_a_page_is_given_out(server, path):
    """Scripts, metadata and files without a login: refused."""
    found = ask(server.address, path)
    assert found.status == 403 and "Log in first." in found.text and "token" not in found.text


@pytest.mark.parametrize(
    "path",
    [
        "/static/extensions/panel/panel.min.js", "/components/panel.pane/HTML/_stylesheets/a.css", "/rest/session_info",
        "/flatfield//", "//flatfield", "/flatfield/login", "/login/", "/%6cogin", "/flatfield/../home", "/nothing",
        "/favicon.ico/../home",
    ],
)  # fmt: skip
def test_no_other_path_leads_in(server, path):
    """Paths that look like the login: refused, not let through."""
    found = ask(server.address, path)
    assert found.status in (303, 403, 404) and "token" not in found.text and "<script" not in found.text


@pytest.mark.parametrize("path", ["/home", "/flatfield", "/circles", "/texture", "/tiles", "/exposures", ""])
def test_sockets_ask_for_a_login(server, inside, path):
    """The socket of a page without a login, even with a page's own token: 403."""
    token = token_of(ask(server.address, path or "/", Cookie=inside))
    assert try_socket(server.address, path, token) == 403
    assert try_socket(server.address, path, token, Cookie="graticule_1=x; user=ada") == 403
    assert try_socket(server.address, path, token, Cookie=inside) == 101


@pytest.mark.parametrize("cookie", ["user=ada", "{name}=", "{name}=ada", "{name}={other}", "is_guest=1; {name}=guest"])
def test_made_up_tickets_are_nothing(server, inside, cookie):
    """Made-up, changed and foreign cookies: nobody."""
    name, _, word = inside.partition("=")
    found = ask(server.address, "/home", Cookie=cookie.format(name=name, other=word[::-1]))
    assert found.status == 303


# ---- logging in and out ----------------------------------------------------------------------------------


def test_the_right_password_opens_all_pages(server, inside):
    for path in PAGES:
        found = ask(server.address, path, Cookie=inside)
        assert found.status == 200 and TOKEN_IN in found.text
    assert ask(server.address, "/static/js/bokeh.min.js", Cookie=inside).status == 200


TOKEN_IN = '"token":"'


def test_ticket_is_for_the_browser_alone(server, inside):
    """Scripts and other sites that want the login: the cookie is HttpOnly and SameSite, and no page holds it."""
    said = log_in(server.address).headers["Set-Cookie"]
    assert re.fullmatch(r"graticule_\d+=[\w-]{43}; HttpOnly; Path=/; SameSite=Lax", said)
    page = ask(server.address, "/home", Cookie=inside, Authorization="Basic c2VjcmV0OnNlY3JldA==")
    payload = token_of(page).partition(".")[0]
    told = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    words = json.dumps(told)
    if "__bk__zlib_" in told:
        packed = told["__bk__zlib_"]
        words += zlib.decompress(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))).decode()
    assert "headers" in words and "cookies" in words
    assert inside.partition("=")[2] not in words + page.text and "c2VjcmV0OnNlY3JldA" not in words


def test_cookies_are_secure_behind_https(start_server, tmp_path, logins):
    """Listening in on the way: behind https the cookie is never sent without it."""
    for served in start_server(tmp_path, {}, [*OWN, "--basic-auth", str(logins), "--behind-https"]):
        found = log_in(served.address)
        assert "; Secure" in found.headers["Set-Cookie"]
        assert found.headers["Strict-Transport-Security"] == "max-age=31536000"


@pytest.mark.parametrize(
    ("following", "place"),
    [
        ("/tiles?a=b", "/tiles?a=b"), ("https://example.org/", "/"), ("//example.org", "/"), ("/\\example.org", "/"),
        ("javascript:alert(1)", "/"), ("/\texample.org", "/"), ("/a\r\nX: y", "/"), ("", "/"), ("/logout", "/"),
    ],
)  # fmt: skip
def test_login_leads_to_no_other_site(server, following, place):
    """A link to the login that leads to another site afterwards: it leads to the front page."""
    found = log_in(server.address, following=following)
    assert (found.status, found.headers["Location"], found.headers["X"]) == (303, place, None)


def test_login_page_shows_what_was_typed_as_text(server):
    """HTML as a name on the login page: shown as text."""
    found = log_in(server.address, name="'><img src=x onerror=window.hit=1>", password="x")
    assert found.status == 401 and "<img" not in found.text and "&lt;img" in found.text
    found = ask(server.address, "/login?next=/'><img+src=x>")
    assert "<img" not in found.text


def test_login_of_another_site_is_refused(server):
    """A form of another site that logs a visitor in as somebody else: 403."""
    assert log_in(server.address, Origin="https://example.org").status == 403
    assert log_in(server.address, Origin="null").status == 403


def test_logging_out_ends_the_ticket_and_its_sockets(server):
    """A copied cookie after logging out: worth nothing, and pages that are open are closed."""
    cookie = cookie_of(log_in(server.address, "bob"))
    token = token_of(ask(server.address, "/home", Cookie=cookie))

    async def watched():
        socket = await open_socket(server.address, "/home", token, Cookie=cookie)
        found = await asyncio.to_thread(ask, server.address, "/logout", Cookie=cookie)
        assert found.status == 200 and "expires=" in found.headers["Set-Cookie"].lower()
        while await asyncio.wait_for(socket.read_message(), 30) is not None:
            pass
        socket.close()
        return socket.close_code, socket.close_reason

    assert asyncio.run(watched()) == (1008, "The login has ended.")
    assert ask(server.address, "/home", Cookie=cookie).status == 303
    assert try_socket(server.address, "/home", token, Cookie=cookie) == 403


def test_other_sites_log_nobody_out(server):
    """A link of another site that logs a visitor out: 403."""
    cookie = cookie_of(log_in(server.address))
    assert ask(server.address, "/logout", Cookie=cookie, Sec_Fetch_Site="cross-site").status == 403
    assert ask(server.address, "/home", Cookie=cookie).status == 200


# ---- guessing --------------------------------------------------------------------------------------------


def test_guessing_is_slowed_for_a_name(server):
    """Guessing the password of a name: after five wrong tries waits that double, for the right password too."""
    tries = [log_in(server.address, "eve", f"wrong password {number}") for number in range(7)]
    assert [found.status for found in tries] == [401] * 5 + [429] * 2
    assert re.search(r"Wait \d+ seconds?", tries[-1].text)
    assert log_in(server.address, "eve").status == 429
    assert log_in(server.address, "ada").status == 303


def test_unknown_names_are_told_from_known_ones_by_nothing(server):
    """Finding out who has a login: same answers, same waits."""
    known = [log_in(server.address, "max", "wrong") for _ in range(6)]
    unknown = [log_in(server.address, "xam", "wrong") for _ in range(6)]
    assert [found.status for found in known] == [found.status for found in unknown] == [401] * 5 + [429]
    assert known[0].text.replace("max", "") == unknown[0].text.replace("xam", "")


def test_many_guesses_at_once_are_not_free(server):
    """Guessing with many requests at once: no more of them are checked than one after the other."""
    found = []
    threads = [
        threading.Thread(target=lambda n=number: found.append(log_in(server.address, "mia", f"wrong {n}").status))
        for number in range(30)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 30 and found.count(401) <= 5


def test_guessing_many_names_is_slowed_for_an_address(start_server, tmp_path, logins):
    """Guessing one password for many names: the address has to wait."""
    for served in start_server(tmp_path, {}, [*OWN, "--basic-auth", str(logins)]):
        found = [log_in(served.address, f"name {number}", "wrong").status for number in range(32)]
        assert found[:30] == [401] * 30 and found[30:] == [429] * 2
        assert log_in(served.address, "ada").status == 429


def test_long_passwords_and_large_forms_cost_nothing(server):
    """A password of many megabytes: refused before it is hashed or even read."""
    assert log_in(server.address, "zoe", "x" * 5000).status == 401
    with contextlib.suppress(ConnectionError):  # hung up on
        assert log_in(server.address, "zoe", "x" * 1_000_000).status in (400, 413)
    assert log_in(server.address, "zoe").status == 303


# ---- a browser -------------------------------------------------------------------------------------------


@pytest.mark.browser
def test_a_person_logs_in_and_out(page, server):
    faults = []
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.goto(server.address + "/tiles?tile_px=64")
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill("wrong password")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_have_text("This name and this password do not belong together.")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(re.compile(r"/tiles\?tile_px=64"))
    page.get_by_role("link", name="Log out").click()
    expect(page.get_by_role("heading", name="Logged out")).to_be_visible()
    page.goto(server.address + "/tiles")
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
    assert [fault for fault in faults if "favicon" not in fault and "401" not in fault] == []
