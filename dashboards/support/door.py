"""The door of the served pages: every request passes it before any page, file or socket is touched."""

from __future__ import annotations

import asyncio
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

from bokeh.util.token import check_token_signature, get_session_id, get_token_payload
from tornado.httputil import HTTPServerRequest
from tornado.routing import Matcher
from tornado.web import RequestHandler

from dashboards.support.login_pages import LOGIN, LOGOUT, sheet
from dashboards.support.serving_rules import Guard

_COMPONENTS = "/components/"
_FILES = ("/static/", _COMPONENTS)
_MOST_FILES_S, _QUIET_S = 0.8, 0.12
_STATE = re.compile(rb"[\w=-]+")
_PACKAGES = ("panel", "panel_material_ui", "bokeh", "dashboards")


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
        self.last_file_s = 0.0

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """Return what refuses a request, None to let it pass."""
        if request.path.startswith(_FILES):
            self.last_file_s = time.monotonic()
        for ask in (self._from_where, self._what, self._who, self._how_many):
            refusal = ask(request)
            if refusal is not None:
                return {"target_kwargs": {"refusal": refusal}}
        return None

    async def until_files_are_sent(self) -> None:
        """Wait until a browser that asks for scripts and styles has them, because none is sent while a page is made."""
        begun = time.monotonic()
        while (now := time.monotonic()) < begun + _MOST_FILES_S and now < max(begun, self.last_file_s) + _QUIET_S:
            await asyncio.sleep(_QUIET_S / 4)

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
        if request.path == LOGIN and not all(map(_STATE.fullmatch, request.arguments.get("state", []))):
            # Panel takes an empty one for that of a browser that never asked to log in
            return Refusal(403, "Log in from the beginning.")
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
