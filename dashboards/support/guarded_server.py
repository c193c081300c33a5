"""The server of the pages: Panel's own, behind the door, with bounds on messages, requests and sessions."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from typing import Any

import panel as pn
from bokeh.server import urls
from tornado.httputil import HTTPServerRequest
from tornado.ioloop import PeriodicCallback
from tornado.routing import Rule
from tornado.web import Application, decode_signed_value

from dashboards.support.answer_headers import make_headers
from dashboards.support.door import Door, Refused
from dashboards.support.early import early_pages
from dashboards.support.header import THEME_COOKIE
from dashboards.support.login_pages import PasswordLogin
from dashboards.support.logins import Accounts, Tickets
from dashboards.support.serving_rules import Guard

MOST_MESSAGE_BYTES = 16 * 1024**2
"""The largest message that a browser may send: an uploaded file of labels with what is around it."""

_BODY_BYTES, _HEADER_BYTES = 64 * 1024, 32 * 1024
_SESSION_MS = {"unused_session_lifetime_milliseconds": 20_000, "check_unused_sessions_milliseconds": 5_000}
_TOKEN_S, _LOOK_MS = 300, 5_000
# how long Panel gathers what a browser says before it answers; its 50 ms are felt, and `draw_soon` spares the drawing
_GATHER_MS = 15


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
    pn.reactive.Syncable._debounce = _GATHER_MS
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
    server = _with_handlers_of(
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
            # what a page is told of a request is seen by its scripts: no password and no login may be in it
            include_cookies=[THEME_COOKIE],
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


def _with_handlers_of(door: Door, make: Any) -> Any:
    """Make a server whose sockets know the door and whose pages come early.

    Bokeh takes their classes from a list that all servers share.
    """
    usual = list(urls.per_app_patterns)
    classes = {pattern: handler for pattern, handler, *_ in usual}

    class GuardedSocket(classes["/ws"]):
        """A socket that is closed when its login ends."""

        def check_origin(self, origin: str) -> bool:
            """Tell whether a page of some origin may open it."""
            return door.welcome(origin)

        def open(self, *args: Any, **kwargs: Any) -> Any:
            """Let the door know."""
            door.sockets.add(self)
            # a message goes in several parts; kept back until the browser acknowledges the one before, each costs 40 ms
            self.set_nodelay(True)
            return super().open(*args, **kwargs)

        def log_exception(self, kind: Any, error: Any, trace: Any) -> None:
            """Log what went wrong, which the end of the server is not."""
            if not isinstance(error, asyncio.CancelledError):
                super().log_exception(kind, error, trace)

        async def _async_open(self, token: str) -> None:
            try:
                await super()._async_open(token)
            finally:
                door.coming.discard(self.request)

    own = {"/ws": GuardedSocket, "/?": early_pages(door.until_files_are_sent)}
    urls.per_app_patterns[:] = [(each[0], own.get(each[0], each[1]), *each[2:]) for each in usual]
    try:
        return make()
    finally:
        urls.per_app_patterns[:] = usual
