"""Login by another site, from end to end, with a provider of our own on this machine."""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from asking import ask

OWN = [sys.executable, "-c", "from dashboards.support.command import main; main()", "serve", "--port", "0"]

STATES = [
    "of another visitor", "without a cookie", "made up", "empty", "empty, without a cookie",
    "a blank, without a cookie", "unseen, without a cookie",
]  # fmt: skip


class Provider(BaseHTTPRequestHandler):
    """Gives a token for a code, and says whose it is: the code names the person."""

    codes: list[dict[str, list[str]]] = []  # noqa: RUF012  # of all requests

    def _answer(self, status, said):
        content = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self):
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.codes.append(form)
        known = form["client_secret"] == ["the secret"] and "@" in form["code"][0]
        self._answer(*((200, {"access_token": form["code"][0]}) if known else (400, {"error": "invalid_grant"})))

    def do_GET(self):
        self._answer(200, {"email": self.headers["Authorization"].removeprefix("Bearer ")})

    def log_message(self, *words):
        """Say nothing."""


@pytest.fixture(scope="module")
def provider():
    served = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    thread = threading.Thread(target=served.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{served.server_port}"
    served.shutdown()
    thread.join()
    served.server_close()


@pytest.fixture(scope="module")
def server(start_server, tmp_path_factory, provider):
    folder = tmp_path_factory.mktemp("served")
    secret = folder / "secret"
    secret.write_text("the secret")
    secret.chmod(0o600)
    named = {f"PANEL_OAUTH_{name.upper()}_URL": f"{provider}/{name}" for name in ("authorize", "token", "user")}
    line = ["--oauth-provider", "generic", "--oauth-key", "our key", "--oauth-secret", str(secret)]
    yield from start_server(folder, named, [*OWN, *line, "--oauth-allow", "@example.org", "--behind-https"])


def cookies_of(answer):
    pairs = [each.partition(";")[0] for each in answer.headers.get_all("Set-Cookie") or []]
    return "; ".join(pair for pair in pairs if not pair.endswith(('=""', "=")))


def set_out(server):
    """Ask for a page, and be sent to the provider; the state that goes with it, and the cookie that knows it."""
    page = ask(server.address, "/home")
    assert page.status == 303 and page.headers["Location"] == "/login?next=%2Fhome"
    sent = ask(server.address, page.headers["Location"])
    place = urlsplit(sent.headers["Location"])
    asked = {name: value[0] for name, value in parse_qs(place.query).items()}
    assert place.path == "/authorize" and asked["client_id"] == "our key" and "the secret" not in place.query
    return asked["state"], cookies_of(sent)


def come_back(server, code, state, cookie=None):
    path = f"/login?code={quote(code)}&state={quote(state)}"
    return ask(server.address, path, **({"Cookie": cookie} if cookie else {}))


def test_whoever_the_provider_knows_and_we_let_in_opens_pages(server):
    """Login by a provider: authorise, token, user, page."""
    state, cookie = set_out(server)
    back = come_back(server, "ada@example.org", state, cookie)
    assert back.status == 302 and back.headers["Location"] == "/home"
    for each in back.headers.get_all("Set-Cookie"):
        assert all(word in each.lower() for word in ("; httponly", "; samesite=lax", "; secure")), each
    inside = cookies_of(back)
    assert ask(server.address, "/home", Cookie=inside).status == 200
    assert Provider.codes[-1]["client_secret"] == ["the secret"]
    assert ask(server.address, "/home").status == 303


def test_an_account_that_was_not_named_stays_out(server):
    """Somebody whom the provider knows and nobody let in: 403 on every page."""
    state, cookie = set_out(server)
    inside = cookies_of(come_back(server, "eve@evil-example.org", state, cookie))
    for path in ("/home", "/flatfield", "/static/js/bokeh.min.js"):
        found = ask(server.address, path, Cookie=inside)
        assert found.status == 403 and "may not open these pages" in found.text


@pytest.mark.parametrize("how", STATES)
def test_a_foreign_state_is_refused(server, how):
    """A link that would log somebody in as another one (a code with a foreign state): nobody is logged in."""
    state, cookie = set_out(server)
    other, _ = set_out(server)
    given, known = {
        "of another visitor": (other, cookie),
        "without a cookie": (state, None),
        "made up": ("e30=", cookie),
        "empty": ("", cookie),
        "empty, without a cookie": ("", None),
        "a blank, without a cookie": (" ", None),
        "unseen, without a cookie": ("\0", None),
    }[how]
    asked = len(Provider.codes)
    found = come_back(server, "mallory@example.org", given, known)
    assert found.status >= 400 and "user=" not in (cookies_of(found) or "")
    assert ask(server.address, "/home", Cookie=cookies_of(found) or "a=b").status == 303
    assert len(Provider.codes) == asked, "the code is not even asked about"


def test_login_leads_to_no_other_site(server):
    """A link to our login that leads elsewhere afterwards: it leads to a page of ours."""
    for next_page in ("https://evil.example.org/", "//evil.example.org", "/\\evil.example.org"):
        sent = ask(server.address, f"/login?next={quote(next_page, safe='')}")
        if sent.status == 400:
            continue
        state = parse_qs(urlsplit(sent.headers["Location"]).query)["state"][0]
        back = come_back(server, "ada@example.org", state, cookies_of(sent))
        assert back.status == 302 and "evil" not in back.headers["Location"], next_page
