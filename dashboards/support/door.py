"""The door of the served pages: every request passes it before any page, file or socket is touched."""

from __future__ import annotations

import html
import re
import secrets
import sys
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import panel as pn
from bokeh.server import urls
from bokeh.util.token import check_token_signature, get_session_id, get_token_payload
from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.ioloop import PeriodicCallback
from tornado.routing import Matcher, Rule
from tornado.web import Application, OutputTransform, RequestHandler, decode_signed_value

from dashboards.support.login_pages import LOGIN, LOGOUT, PasswordLogin, sheet
from dashboards.support.logins import Accounts, Tickets
from dashboards.support.serving_rules import Guard

MOST_MESSAGE_BYTES = 16 * 1024**2
"""The largest message that a browser may send: an uploaded file of labels with what is around it."""

_BODY_BYTES, _HEADER_BYTES = 64 * 1024, 32 * 1024
_SESSION_MS = {"unused_session_lifetime_milliseconds": 20_000, "check_unused_sessions_milliseconds": 5_000}
_TOKEN_S, _LOOK_MS = 300, 5_000
_COMPONENTS = "/components/"
_PACKAGES = ("panel", "panel_material_ui", "bokeh", "dashboards")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # not "no-referrer", with which browsers call the origin of a form "null"
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=(), serial=(), hid=(), "
    "bluetooth=(), midi=(), display-capture=()",
}
_SCRIPT = re.compile(rb"<script(?=[\s>])", re.IGNORECASE)


@dataclass(frozen=True)
class Refusal:
    """An answer in place of a page.

    Attributes
    ----------
    status
        HTTP status.
    sentence
        What a person reads.
    place
        Where to go instead.
    retry_s
        When to come again.
    """

    status: int
    sentence: str
    place: str = ""
    retry_s: int = 0


class Door(Matcher):
    """Lets requests through to the pages, or has them refused.

    Parameters
    ----------
    guard
        The rules.
    hosts
        Names under which browsers may open the pages.
    login
        Who is logged in; None without a login.
    """

    def __init__(self, guard: Guard, hosts: frozenset[str], login: Any | None) -> None:
        self.guard, self.hosts, self.login = guard, hosts, login
        self.contexts: Mapping[str, Any] = {}
        self.sockets: weakref.WeakSet[Any] = weakref.WeakSet()
        self.key = secrets.token_urlsafe(32).encode()
        # let in, but their session is not there yet; those that never get one are forgotten with the request
        self.coming: weakref.WeakSet[HTTPServerRequest] = weakref.WeakSet()

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """Return what refuses a request, None to let it pass."""
        for ask in (self._from_where, self._what, self._who, self._how_many):
            refusal = ask(request)
            if refusal is not None:
                return {"target_kwargs": {"refusal": refusal}}
        return None

    # ---- where a request comes from ------------------------------------------------------------------

    def welcome(self, origin: str) -> bool:
        """Tell whether a page of some origin may open sockets."""
        found = urlsplit(origin)
        return found.scheme in ("http", "https") and found.netloc.lower() in self.hosts

    def _from_where(self, request: HTTPServerRequest) -> Refusal | None:
        if request.host.lower() not in self.hosts:
            return Refusal(
                403, f"These pages are not opened under the name {request.host!r}. Whoever serves them can "
                "allow it with --allow-origin.",
            )  # fmt: skip
        origin = request.headers.get("Origin")
        if origin is not None and not self.welcome(origin):
            return Refusal(403, "Pages of other sites may not ask these pages for anything.")
        if origin is None and (request.path.endswith("/ws") or request.method not in ("GET", "HEAD")):
            return Refusal(403, "A request that changes something must say which page it comes from.")
        foreign = request.headers.get("Sec-Fetch-Site", "") in ("cross-site", "same-site")
        seen = request.headers.get("Sec-Fetch-Mode") == "navigate"
        framed = request.headers.get("Sec-Fetch-Dest", "document") != "document"
        if foreign and (not seen or framed or request.path == LOGOUT):
            return Refusal(403, "Pages of other sites may not show or use these pages.")
        return None

    # ---- what it asks for ----------------------------------------------------------------------------

    def _what(self, request: HTTPServerRequest) -> Refusal | None:
        given = {"bokeh-session-id", "bokeh-token"} & set(request.arguments)
        if given or "Bokeh-Session-Id" in request.headers:
            return Refusal(403, "A page is always opened anew: nobody may choose which session another one gets.")
        if request.method not in ("GET", "HEAD") and not (request.method == "POST" and request.path == LOGIN):
            return Refusal(405, "Pages are read, and nothing is sent to them but the login.")
        if request.path.startswith(_COMPONENTS):
            # Panel imports whatever module stands here
            module = request.path.removeprefix(_COMPONENTS).partition("/")[0]
            if module not in sys.modules or module.partition(".")[0] not in _PACKAGES:
                return Refusal(404, "There is no such part of a page.")
        return None

    # ---- who asks ------------------------------------------------------------------------------------

    def _who(self, request: HTTPServerRequest) -> Refusal | None:
        if self.login is None or request.path in (LOGIN, LOGOUT, "/favicon.ico"):
            return None
        user = self.login.user_of(request)
        if user is None:
            if request.method == "GET" and request.path in self.contexts:
                return Refusal(303, "Log in first.", place=f"{LOGIN}?next={quote(request.uri, safe='')}")
            return Refusal(403, "Log in first.")
        if self.guard.oauth is not None and not self.guard.oauth.lets_in(user):
            return Refusal(403, f"{user} may not open these pages. Whoever serves them can allow it.")
        return None

    def look_around(self) -> None:
        """Close the sockets of those whose login has ended."""
        for socket in list(self.sockets):
            if self._who(socket.request) is not None:
                socket.close(1008, "The login has ended.")

    # ---- how many there are --------------------------------------------------------------------------

    def _how_many(self, request: HTTPServerRequest) -> Refusal | None:
        path = request.path.rstrip("/") or "/"
        if path.endswith("/ws"):
            session = self._session_of(request)
            if session is None:
                return Refusal(403, "A socket is opened by a page that was made a few minutes ago at most.")
            if session in {each.id for context in self.contexts.values() for each in context.sessions}:
                return None
        elif path not in self.contexts and not path.endswith("/autoload.js"):
            return None
        count = sum(len(context.sessions) for context in self.contexts.values()) + len(self.coming)
        if count < self.guard.most_sessions:
            self.coming.add(request)
            return None
        return Refusal(
            503, f"{self.guard.most_sessions} pages are open, and the server holds no more. Close pages that are not "
            "needed, here or on other machines; their places are free after half a minute.", retry_s=30,
        )  # fmt: skip

    def _session_of(self, request: HTTPServerRequest) -> str | None:
        """Session of a socket, by the token that a page of this server gave it; None for any other token."""
        token = request.headers.get("Sec-WebSocket-Protocol", "").rpartition(",")[2].strip()
        try:
            if not check_token_signature(token, secret_key=self.key, signed=True):
                return None
            # only what was signed here is unpacked
            return get_session_id(token) if get_token_payload(token)["session_expiry"] > time.time() else None
        except Exception:  # a token is whatever somebody sends
            return None


class Refused(RequestHandler):
    """Says why there is no page."""

    def initialize(self, refusal: Refusal) -> None:
        """Keep what to say."""
        self.refusal = refusal

    def prepare(self) -> None:
        """Answer at once, whatever the method."""
        self.set_status(self.refusal.status)
        self.set_header("Cache-Control", "no-store")
        if self.refusal.retry_s:
            self.set_header("Retry-After", str(self.refusal.retry_s))
        if self.refusal.place:
            self.set_header("Location", self.refusal.place)
        self.finish(sheet("Graticule", f"<p>{html.escape(self.refusal.sentence)}</p><a href='/'>Front page</a>"))


# ---- headers ---------------------------------------------------------------------------------------------


def policy(host: str, nonce: str) -> str:
    """Return what a page may load, run and talk to: itself.

    Parameters
    ----------
    host
        Name under which the page is open.
    nonce
        Word that the page's own scripts carry.
    """
    return "; ".join(
        (
            "default-src 'none'",
            # Bokeh makes functions of text (CustomJS), Panel loads its components from blobs. Without
            # 'unsafe-inline', markup that got into a page somehow still runs nothing.
            f"script-src 'self' 'nonce-{nonce}' 'unsafe-eval' blob:",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            # Panel fetches its components from blobs too; older Safari does not take a socket for a part of 'self'
            f"connect-src 'self' blob: ws://{host} wss://{host}",
            "worker-src 'self' blob:",
            "object-src 'none'",
            "base-uri 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )


def make_headers(door: Door) -> type[OutputTransform]:
    """Return what puts the headers on every answer, whoever made it.

    Parameters
    ----------
    door
        The door, which learns that a page is there.
    """
    guard = door.guard

    class SafeHeaders(OutputTransform):
        """Puts the headers on one answer."""

        def __init__(self, request: HTTPServerRequest) -> None:
            self.request, self.host, self.nonce = request, request.host, secrets.token_hex(16)

        def transform_first_chunk(
            self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
        ) -> tuple[int, HTTPHeaders, bytes]:
            door.coming.discard(self.request)
            host = self.host if re.fullmatch(r"[\w.:\[\]-]+", self.host) else ""
            for name, value in _HEADERS.items():
                headers[name] = value
            headers["Content-Security-Policy"] = policy(host, self.nonce)
            for name in [name for name in headers if name.startswith("Access-Control-")] + ["Server"]:
                headers.pop(name, None)
            if guard.https:
                headers["Strict-Transport-Security"] = "max-age=31536000"
            _seal_cookies(headers, https=guard.https)
            if finishing and chunk and headers.get("Content-Type", "").startswith("text/html"):
                # without quotation marks: it may stand within a text of JSON
                chunk = _SCRIPT.sub(b"<script nonce=" + self.nonce.encode(), chunk)
                headers["Content-Length"] = str(len(chunk))
            return status_code, headers, chunk

    return SafeHeaders


def _seal_cookies(headers: HTTPHeaders, *, https: bool) -> None:
    cookies = headers.get_list("Set-Cookie")
    if not cookies:
        return
    del headers["Set-Cookie"]
    for cookie in cookies:
        said = cookie.lower()
        for words, wanted in (("HttpOnly", True), ("SameSite=Lax", True), ("Secure", https)):
            if wanted and f"; {words.lower().partition('=')[0]}" not in said:
                cookie += f"; {words}"
        headers.add("Set-Cookie", cookie)


# ---- the server ------------------------------------------------------------------------------------------


class SignedLogin:
    """Tells who is logged in by another site, from the cookie that Panel signed.

    Parameters
    ----------
    secret
        Key of the signature.
    hours
        How long a login lasts.
    """

    def __init__(self, secret: str, hours: float) -> None:
        self.secret, self.days = secret, hours / 24

    def user_of(self, request: HTTPServerRequest) -> str | None:
        """Return who a request is from, None when not logged in."""
        found = request.cookies.get("user")
        user = found and decode_signed_value(self.secret, "user", found.value, max_age_days=self.days)
        return user.decode("utf-8", "replace") if user else None


def guarded_server(guard: Guard, *, address: str, port: int, panels: Mapping[str, Any], **options: Any) -> Any:
    """Return a server of pages behind the door, not started.

    Parameters
    ----------
    guard
        The rules.
    address, port
        Where it listens.
    panels
        Pages by their paths.
    **options
        Of `panel.io.server.get_server`.
    """
    hosts = guard.hosts(address, port)
    login: Any | None = None
    if guard.passwords is not None:
        accounts = Accounts(guard.passwords)
        login = PasswordLogin(
            accounts,
            Tickets(accounts, hours=guard.login_hours),
            # browsers share cookies among all ports of a host
            cookie=f"graticule_{port}",
            https=guard.https,
        )
        options["auth_provider"] = login
    elif guard.oauth is not None:
        secret = secrets.token_urlsafe(32)
        login = SignedLogin(secret, guard.login_hours)
        options |= {
            "oauth_provider": guard.oauth.provider,
            "oauth_key": guard.oauth.key,
            "oauth_secret": guard.oauth.read_secret(),
            "oauth_redirect_uri": guard.oauth.redirect_uri or None,
            "cookie_secret": secret,
        }
        pn.config.oauth_expiry = guard.login_hours / 24
    door = Door(guard, hosts, login)
    server = _with_sockets_of(
        door,
        lambda: pn.io.server.get_server(
            dict(panels),
            address=address,
            port=port,
            # what the door allows; Bokeh cannot spell addresses of IPv6
            websocket_origin=sorted(host for host in hosts if "[" not in host),
            websocket_max_message_size=MOST_MESSAGE_BYTES,
            session_token_expiration=_TOKEN_S,
            sign_sessions=True,
            secret_key=door.key,
            # what a page is told of a request is seen by its scripts: no cookie and no password may be in it
            include_cookies=[],
            exclude_headers=["Cookie", "Authorization", "Proxy-Authorization"],
            use_xheaders=guard.https or guard.by_proxy,
            http_server_kwargs={
                "max_body_size": _BODY_BYTES,
                "max_header_size": _HEADER_BYTES,
                "idle_connection_timeout": 120,
                "body_timeout": 20,
            },
            **_SESSION_MS,
            **options,
        ),
    )
    application: Application = server._tornado
    door.contexts = application.applications
    application.default_router.rules.insert(0, Rule(door, Refused))
    application.add_transform(make_headers(door))
    if login is not None:
        server.watch_of_logins = PeriodicCallback(door.look_around, _LOOK_MS)
        server.watch_of_logins.start()
    return server


def _with_sockets_of(door: Door, make: Any) -> Any:
    """Make a server whose sockets know the door; Bokeh takes their class from a list that all servers share."""
    place, usual = next((i, each) for i, each in enumerate(urls.per_app_patterns) if each[0] == "/ws")

    class GuardedSocket(usual[1]):
        """A socket that is closed when its login ends."""

        def check_origin(self, origin: str) -> bool:
            """Tell whether a page of some origin may open it."""
            return door.welcome(origin)

        def open(self, *args: Any, **kwargs: Any) -> Any:
            """Let the door know."""
            door.sockets.add(self)
            return super().open(*args, **kwargs)

        async def _async_open(self, token: str) -> None:
            try:
                await super()._async_open(token)
            finally:
                door.coming.discard(self.request)

    urls.per_app_patterns[place] = (usual[0], GuardedSocket, *usual[2:])
    try:
        return make()
    finally:
        urls.per_app_patterns[place] = usual
