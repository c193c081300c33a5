"""Requests to a server of the pages, word for word, as somebody else than a browser sends them."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import socket
from urllib.parse import urlencode, urlsplit

from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

PASSWORD = "correct horse battery"
TOKEN = re.compile(r'"token":"([^"]+)"')


class Answer:
    """Status, headers and text of an answer."""

    def __init__(self, found):
        self.status, self.headers = found.status, found.headers
        self.text = found.read().decode("utf-8", "replace")


def ask(address, path="/", *, method="GET", body=None, **headers):
    """Send a request; headers are written with _ for -."""
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=60)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        return Answer(connection.getresponse())
    finally:
        connection.close()


def log_in(address, name="ada", password=PASSWORD, following="/", **headers):
    """Send name and password as the form does."""
    body = urlencode({"username": name, "password": password, "next": following})
    kind = "application/x-www-form-urlencoded"
    headers = {"Origin": address, **headers}
    return ask(address, "/login", method="POST", body=body, Content_Type=kind, **headers)


def cookie_of(answer):
    """The cookie that an answer sets, as a browser sends it back."""
    return answer.headers["Set-Cookie"].partition(";")[0]


def token_of(page):
    """What a page opens its socket with."""
    return TOKEN.search(page.text)[1]


async def open_socket(address, path, token, **headers):
    """Open the socket of a page, and wait for its first word."""
    named = {"Origin": address, **{name.replace("_", "-"): value for name, value in headers.items()}}
    asked = HTTPRequest(address.replace("http", "ws", 1) + path + "/ws", headers=named)
    found = await websocket_connect(asked, subprotocols=["bokeh", token])
    assert '"ACK"' in await asyncio.wait_for(found.read_message(), 30)
    return found


async def close_socket(opened):
    """Close the socket of a page, and wait until the server has as well."""
    opened.close()
    while await asyncio.wait_for(opened.read_message(), 30) is not None:
        pass


def try_socket(address, path, token, **headers):
    """The status with which a socket is opened, 101, or refused; a header that is None is left out."""
    named = {"Host": urlsplit(address).netloc, "Origin": address}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    wishes = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", f"Sec-WebSocket-Protocol: bokeh, {token}"]  # fmt: skip
    told = [f"{name}: {value}" for name, value in named.items() if value is not None]
    return int(send_raw(address, [f"GET {path}/ws HTTP/1.1", *told, *wishes]).split()[1])


def send_raw(address, lines):
    """Send lines as they are, and return the first line of the answer."""
    place = urlsplit(address)
    with socket.create_connection((place.hostname, place.port), timeout=60) as connection:
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        return connection.recv(300).decode("latin-1").partition("\r\n")[0]


def write_logins(path, *names):
    """Write a file of logins, all with `PASSWORD`."""
    from dashboards.support.logins import hashed

    path.write_text(json.dumps({name: hashed(PASSWORD) for name in names}))
    os.chmod(path, 0o600)
    return path
