"""The pages that ask for a name and a password, and what Bokeh asks of them."""

from __future__ import annotations

import asyncio
import html
import math

from bokeh.server.auth_provider import AuthProvider
from tornado.httputil import HTTPServerRequest
from tornado.web import RequestHandler

from dashboards.support.logins import LONGEST, Accounts, Tickets, Waits

LOGIN, LOGOUT = "/login", "/logout"
_AT_ONCE, _MOST_WAITING = 2, 20
_SHEET = (
    "<!DOCTYPE html><html lang=en><head><meta charset=utf-8><meta name=viewport content='width=device-width'>"
    "<title>{title}</title><style>body{{font:15px/1.5 system-ui,sans-serif;color:#1c2430;background:#f6f7f9;"
    "display:grid;place-items:center;min-height:90vh;margin:0}}main{{background:#fff;border:1px solid #d9dee5;"
    "border-radius:8px;padding:28px 32px;width:320px}}h1{{font-size:1.2rem;margin:0 0 14px}}"
    "label{{display:block;font-weight:600;margin:12px 0 4px}}input{{width:100%;box-sizing:border-box;font:inherit;"
    "padding:8px;border:1px solid #8a94a3;border-radius:6px}}button{{font:inherit;font-weight:600;margin-top:18px;"
    "padding:8px 18px;border:0;border-radius:6px;color:#fff;background:#0f6e84}}p.wrong{{color:#c1121f}}"
    "a{{color:#0f6e84}}</style></head><body><main><h1>{title}</h1>{body}</main></body></html>"
)


def sheet(title: str, body: str) -> str:
    """Return a small page that needs nothing else.

    Parameters
    ----------
    title
        Plain text.
    body
        HTML.
    """
    return _SHEET.format(title=html.escape(title), body=body)


def place_after(wanted: str) -> str:
    """Return where to go after the login: a place of this server, whatever was asked for.

    Parameters
    ----------
    wanted
        As it stands in the address.
    """
    within = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
    return wanted if within and not wanted.startswith((LOGIN, LOGOUT)) else "/"


class PasswordLogin(AuthProvider):
    """Name and password, asked for on a page.

    Parameters
    ----------
    accounts
        Who may.
    tickets
        Who is in.
    cookie
        Name of the cookie with the ticket.
    https
        Whether the cookie is for https only.
    """

    def __init__(self, accounts: Accounts, tickets: Tickets, *, cookie: str, https: bool) -> None:
        self.accounts, self.tickets, self.cookie, self.https = accounts, tickets, cookie, https
        # several people may share an address, so it has more free tries than a name
        self.names, self.addresses = Waits(free=5), Waits(free=30)
        self._hashing, self._waiting = asyncio.Semaphore(_AT_ONCE), 0
        super().__init__()

    @property
    def login_url(self):
        """Path of the page that asks."""
        return LOGIN

    @property
    def logout_url(self):
        """Path that ends the login."""
        return LOGOUT

    @property
    def login_handler(self):
        """The page that asks."""
        return LoginPage

    @property
    def logout_handler(self):
        """The page that ends the login."""
        return LogoutPage

    @property
    def get_user(self):
        """Tells who a request is from."""
        return lambda handler: self.user_of(handler.request)

    def user_of(self, request: HTTPServerRequest) -> str | None:
        """Return who a request is from, None when not logged in."""
        found = request.cookies.get(self.cookie)
        return self.tickets.holder(found.value) if found else None

    async def admit(self, name: str, password: str, address: str) -> tuple[int, str]:
        """Check a name and its password.

        Parameters
        ----------
        name, password
            As typed.
        address
            Where the request comes from.

        Returns
        -------
        tuple of (int, str)
            The status, 200 when right, and why not.
        """
        wait_s = max(self.names.left_s(name), self.addresses.left_s(address))
        if wait_s > 0:
            return 429, f"Too many wrong tries. Wait {math.ceil(wait_s)} seconds, then try again."
        if self._waiting >= _MOST_WAITING:
            return 503, "Too many people log in at this moment. Try again in a few seconds."
        # counted before it is checked: many tries at once must not all be free
        self.names.wrong(name)
        self.addresses.wrong(address)
        self._waiting += 1
        try:
            async with self._hashing:
                right = max(len(name), len(password)) <= LONGEST and await asyncio.to_thread(
                    self.accounts.check, name, password
                )
        finally:
            self._waiting -= 1
        if not right:
            return 401, "This name and this password do not belong together."
        self.names.forget(name)
        self.addresses.forgive(address)
        return 200, ""


class LoginPage(RequestHandler):
    """Asks for a name and a password."""

    def get(self) -> None:
        """Show the form."""
        self._show("")

    async def post(self) -> None:
        """Check what was typed, and go on to the page that was asked for."""
        provider: PasswordLogin = self.application.auth_provider
        name = self.get_body_argument("username", "").strip()
        password = self.get_body_argument("password", "", strip=False)
        status, why = await provider.admit(name, password, self.request.remote_ip)
        if status != 200:
            self.set_status(status)
            self._show(why, name)
            return
        # a ticket that came along, perhaps from somebody else, is never taken over
        self.set_cookie(
            provider.cookie, provider.tickets.give(name),
            path="/", httponly=True, samesite="Lax", secure=provider.https, expires_days=None,
        )  # fmt: skip
        self.redirect(place_after(self.get_argument("next", "/")), status=303)

    def _show(self, why: str, name: str = "") -> None:
        self.set_header("Cache-Control", "no-store")
        following = html.escape(place_after(self.get_argument("next", "/")))
        name = html.escape(name[:LONGEST])
        wrong = f"<p class=wrong role=alert>{html.escape(why)}</p>" if why else ""
        self.finish(
            sheet(
                "Graticule",
                f"{wrong}<form method=post action='{LOGIN}'><input type=hidden name=next value='{following}'>"
                f"<label for=username>Name</label><input id=username name=username value='{name}'"
                " autocomplete=username required autofocus>"
                "<label for=password>Password</label><input id=password name=password type=password "
                "autocomplete=current-password required><button>Log in</button></form>",
            )
        )


class LogoutPage(RequestHandler):
    """Ends the login of a browser, and says so."""

    def get(self) -> None:
        """Take the ticket back."""
        provider: PasswordLogin = self.application.auth_provider
        found = self.request.cookies.get(provider.cookie)
        if found:
            provider.tickets.take(found.value)
        self.clear_cookie(provider.cookie, path="/")
        self.set_header("Cache-Control", "no-store")
        self.finish(sheet("Logged out", f"<p>Pages that are still open stop working.</p><a href='{LOGIN}'>Log in</a>"))
