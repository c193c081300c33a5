"""What every answer of the served pages carries: what a page may load and run, and cookies that scripts cannot read."""

from __future__ import annotations

import re
import secrets
import time
from typing import Any

from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.web import OutputTransform

from dashboards.support.door import Door

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
            host = self.host if re.fullmatch(r"[\w.:\[\]-]+", self.host) else ""
            for name, value in _HEADERS.items():
                headers[name] = value
            headers["Content-Security-Policy"] = policy(host, self.nonce)
            for name in [name for name in headers if name.startswith("Access-Control-")] + ["Server"]:
                headers.pop(name, None)
            if guard.https:
                headers["Strict-Transport-Security"] = "max-age=31536000"
            _seal_later(self.request.connection, https=guard.https)
            self.is_page = headers.get("Content-Type", "").startswith("text/html")
            chunk = self.transform_chunk(chunk, finishing)
            if finishing and chunk and self.is_page:
                headers["Content-Length"] = str(len(chunk))
            return status_code, headers, chunk

        def transform_chunk(self, chunk: bytes, finishing: bool) -> bytes:
            if finishing:
                door.coming.discard(self.request)
            if not self.is_page:
                door.last_file_s = time.monotonic()
            # without quotation marks: it may stand within a text of JSON
            return _SCRIPT.sub(b"<script nonce=" + self.nonce.encode(), chunk) if self.is_page else chunk

    return SafeHeaders


def _seal_later(connection: Any, *, https: bool) -> None:
    """Seal the cookies of an answer when it is sent: tornado adds them after everything else."""

    def write_headers(start_line: Any, headers: HTTPHeaders, *rest: Any, **options: Any) -> Any:
        del connection.write_headers
        _seal_cookies(headers, https=https)
        return connection.write_headers(start_line, headers, *rest, **options)

    connection.write_headers = write_headers


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
