"""Served pages and those who should not be in: addresses, files of logins, guessing, tickets, sockets."""

import asyncio
import base64
import contextlib
import io
import json
import os
import re
import sys
import threading
import zlib

import pytest
from asking import PASSWORD, ask, cookie_of, log_in, open_socket, token_of, try_socket, write_logins
from playwright.sync_api import expect

from dashboards.support.command import main
from dashboards.support.logins import Accounts, Tickets, Waits, hashed, matches, read_accounts
from dashboards.support.password_command import set_password
from dashboards.support.serving import instrument_files
from dashboards.support.serving_rules import Guard, OAuth

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


# ---- where the server listens ----------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.7", "example.org"])
@pytest.mark.parametrize("more", [[], ["--allow-origin", "pages.example.org"]])
def test_addresses_that_others_reach_need_a_login(address, more, capsys):
    """Listening to the network without a login: refused before anything listens, with what to do."""
    assert main(["serve", "--address", address, *more]) == 2
    said = capsys.readouterr().err
    assert "no login" in said and "graticule password" in said and "--allow-origin" in said


@pytest.mark.parametrize("login", ["basic", "proxy"])
def test_addresses_that_others_reach_need_a_name(login, logins, capsys):
    """Listening to the network under any name: refused, the name must be told."""
    line = ["--basic-auth", str(logins)] if login == "basic" else ["--login-by-proxy"]
    assert main(["serve", "--address", "0.0.0.0", *line]) == 2
    assert "--allow-origin HOST:PORT" in capsys.readouterr().err


@pytest.mark.parametrize(
    "host", ["*", "*.example.org", "https://example.org", "example.org/a", "a b", "", "a:0", "a:b"]
)
def test_wildcards_and_addresses_are_no_names(host):
    """Allowing every site at once: refused, names are given one by one."""
    with pytest.raises(ValueError, match="allow-origin must be HOST or HOST:PORT"):
        Guard(allow_origin=(host,)).check("127.0.0.1")


def test_two_logins_are_refused(logins):
    with pytest.raises(ValueError, match="one login; got --basic-auth and --login-by-proxy"):
        Guard(passwords=logins, by_proxy=True).check("127.0.0.1")


def test_names_are_spelt_as_browsers_spell_them():
    hosts = Guard(allow_origin=("Pages.example.org", "lab:8443", "old:80")).hosts("0.0.0.0", 5006)
    assert {"pages.example.org", "pages.example.org:443", "lab:8443", "old", "localhost:5006", "[::1]:5006"} <= hosts
    assert "lab" not in hosts and "0.0.0.0:5006" not in hosts
    assert "[2001:db8::1]:5006" in Guard().hosts("2001:db8::1", 5006)


def test_who_listens_to_the_network_is_told_what_is_not_safe(logins):
    named = {"allow_origin": ("lab",)}
    assert Guard().warnings("127.0.0.1", 1) == []
    assert "--behind-https" in Guard(passwords=logins, **named).warnings("0.0.0.0", 1)[0]
    assert Guard(passwords=logins, https=True, **named).warnings("0.0.0.0", 1) == []
    assert "without passing the proxy" in Guard(by_proxy=True, https=True, **named).warnings("0.0.0.0", 1)[0]


# ---- the file of logins ----------------------------------------------------------------------------------


def test_passwords_are_hashed_with_salt():
    """A file of logins that got out: it holds slow, salted hashes and no password."""
    first, second = hashed(PASSWORD), hashed(PASSWORD)
    assert first != second and PASSWORD not in first
    assert matches(PASSWORD, first) and matches(PASSWORD, second)
    assert not matches(PASSWORD + " ", first) and not matches("", first)


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps rights elsewhere")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o777])
def test_a_file_that_others_can_read_is_refused(tmp_path, mode, capsys):
    """A file of logins that others can read: refused, with the line that cures it."""
    path = write_logins(tmp_path / "people.json", "ada")
    path.chmod(mode)
    assert main(["serve", "--basic-auth", str(path)]) == 2
    assert f"chmod 600 {path}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (json.dumps({"ada": "secret"}), "must hold hashes, never passwords as they are; that of 'ada' is none"),
        (json.dumps({"ada": "scrypt$1073741824$8$1$AAAA$AAAA"}), "must hold hashes"),
        (json.dumps({"ada": None}), "must hold hashes"),
        (json.dumps(["ada"]), "must be a JSON object with one name at least"),
        ("{}", "must be a JSON object with one name at least"),
        ("[" * 100_000, "must be a JSON object of names and hashes"),
        ("ada:secret", "must be a JSON object of names and hashes"),
        ("\udcff", "must be a JSON object of names and hashes"),
    ],
)
def test_a_file_that_is_something_else_is_refused(tmp_path, content, said):
    """A file of logins with plain passwords, endless hashing or nonsense: refused, with how to make one."""
    path = tmp_path / "people.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    path.chmod(0o600)
    with pytest.raises(ValueError, match=re.escape(said)) as refused:
        read_accounts(path)
    assert "graticule password" in str(refused.value) and str(path) in str(refused.value)


def test_password_command_makes_and_changes_the_file(tmp_path, monkeypatch, capsys):
    path = tmp_path / "new" / "people.json"
    for name in ("ada", "bob"):
        monkeypatch.setattr(sys, "stdin", _typed(PASSWORD + name))
        assert main(["password", str(path), name]) == 0
    assert os.name == "nt" or path.stat().st_mode & 0o777 == 0o600
    accounts = Accounts(path)
    assert accounts.check("ada", PASSWORD + "ada") and not accounts.check("ada", PASSWORD + "bob")
    assert PASSWORD not in path.read_text() and PASSWORD not in "".join(capsys.readouterr())
    assert main(["password", str(path), "ada", "--remove"]) == 0
    assert not accounts.check("ada", PASSWORD + "ada") and accounts.check("bob", PASSWORD + "bob")
    monkeypatch.setattr(sys, "stdin", _typed("short"))
    assert main(["password", str(path), "bob"]) == 2
    assert "12 to 200 letters; got 5" in capsys.readouterr().err
    assert accounts.check("bob", PASSWORD + "bob")


def _typed(words):
    return io.StringIO(words + "\n")


def test_a_file_that_goes_wrong_lets_nobody_in(tmp_path):
    """A file of logins damaged while pages are served: nobody gets in, instead of everybody."""
    path = write_logins(tmp_path / "people.json", "ada")
    accounts = Accounts(path)
    assert accounts.check("ada", PASSWORD)
    path.write_text("{")
    assert not accounts.check("ada", PASSWORD)
    path.unlink()
    assert not accounts.check("ada", PASSWORD)


# ---- tickets and waits -----------------------------------------------------------------------------------


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def test_tickets_end(tmp_path):
    """A login kept for ever: it ends after its hours, with the name, and with a new password."""
    path = write_logins(tmp_path / "people.json", "ada", "bob")
    clock = Clock()
    tickets = Tickets(Accounts(path), hours=1, most=3, clock=clock)
    ada, bob = tickets.give("ada"), tickets.give("bob")
    assert (tickets.holder(ada), tickets.holder(bob), tickets.holder("")) == ("ada", "bob", None)
    set_password(path, "ada", None)
    assert (tickets.holder(ada), tickets.holder(bob)) == (None, "bob")
    set_password(path, "bob", "another long password")
    assert tickets.holder(bob) is None
    again = tickets.give("bob")
    clock.now += 3599
    assert tickets.holder(again) == "bob"
    clock.now += 2
    assert tickets.holder(again) is None
    kept = [tickets.give("bob") for _ in range(5)]
    assert [tickets.holder(each) for each in kept] == [None, None, "bob", "bob", "bob"]


def test_waits_double_and_are_forgotten():
    clock = Clock()
    waits = Waits(free=2, longest_s=30, most=4, clock=clock)
    seen = []
    for _ in range(7):
        waits.wrong("ada")
        seen.append(waits.left_s("ada"))
    assert seen == [0, 5, 10, 20, 30, 30, 30]
    assert waits.left_s("bob") == 0 and waits.left_s("bob", "ada") == 30
    clock.now += 86_401
    waits.wrong("ada")
    assert waits.left_s("ada") == 0
    for number in range(100_000):
        waits.wrong(f"made up {number}")
    assert len(waits._wrong) == 4


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


# ---- login by another site -------------------------------------------------------------------------------


def test_login_by_another_site_says_who_may(monkeypatch, tmp_path):
    """Login by a public provider without saying who: refused, everybody has an account there."""
    monkeypatch.setenv("PANEL_OAUTH_SECRET", "s")
    with pytest.raises(ValueError, match="everybody with an account at github"):
        Guard(oauth=OAuth("github", "key")).check("127.0.0.1")
    with pytest.raises(ValueError, match="must be one of auth0"):
        Guard(oauth=OAuth("elsewhere", "key", allow=("*",))).check("127.0.0.1")
    with pytest.raises(ValueError, match="--oauth-key"):
        Guard(oauth=OAuth("github", "", allow=("*",))).check("127.0.0.1")
    monkeypatch.delenv("PANEL_OAUTH_SECRET")
    with pytest.raises(ValueError, match="PANEL_OAUTH_SECRET"):
        Guard(oauth=OAuth("github", "key", allow=("*",))).check("127.0.0.1")
    secret = tmp_path / "secret"
    secret.write_text("s\n")
    secret.chmod(0o644)
    if os.name != "nt":
        with pytest.raises(ValueError, match="chmod 600"):
            Guard(oauth=OAuth("github", "key", secret, allow=("*",))).check("127.0.0.1")
    secret.chmod(0o600)
    Guard(oauth=OAuth("github", "key", secret, allow=("*",))).check("127.0.0.1")


@pytest.mark.parametrize(
    ("user", "allow", "may"),
    [
        ("Ada@Example.org", ("@example.org",), True), ("ada@evil-example.org", ("@example.org",), False),
        ("ada", ("ada",), True), ("adam", ("ada",), False), ("x", ("*",), True),
        ("ada@example.org.evil", ("@example.org",), False),
    ],
)  # fmt: skip
def test_who_may_come_from_another_site(user, allow, may):
    assert OAuth("github", "k", allow=allow).lets_in(user) is may


# ---- a browser -------------------------------------------------------------------------------------------


@pytest.mark.browser
def test_a_person_logs_in_and_out(page, server):
    faults = []
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.goto(server.address + "/tiles?tile_px=64")
    expect(page.get_by_role("button", name="Log in")).to_be_visible(timeout=30_000)
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill("wrong password")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_have_text("This name and this password do not belong together.")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(re.compile(r"/tiles\?tile_px=64"))
    page.get_by_role("link", name="Log out").click(timeout=60_000)
    expect(page.get_by_role("heading", name="Logged out")).to_be_visible()
    page.goto(server.address + "/tiles")
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
    assert [fault for fault in faults if "favicon" not in fault and "401" not in fault] == []
