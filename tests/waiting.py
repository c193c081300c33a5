"""Waiting in a browser for what is meant, rather than for a time."""

from __future__ import annotations

import time

CALM_S = 0.4


def until_open(page):
    """Wait until a page stands in place of its outline: words are there a moment before anything can be clicked."""
    page.wait_for_function("() => (document.getElementById('loader')?.style.display ?? 'none') == 'none'")


def listen(page):
    """Note from now on when page and server last said something to each other."""

    def heard(_=None):
        page.last_heard = time.monotonic()

    def follow(socket):
        for what in ("framereceived", "framesent"):
            socket.on(what, heard)

    heard()
    page.on("websocket", follow)


def calm(page):
    """Wait until page and server have nothing to say to each other for a while."""
    while time.monotonic() - page.last_heard < CALM_S:
        page.wait_for_timeout(50)


def until_settled(locator):
    """Wait until what is found stays what it is, and return it.

    A table makes its cells anew some time after its tab was opened: who presses the button of the mouse on an old cell
    and releases it on the new one has clicked on neither.
    """
    while True:
        element = locator.element_handle()
        locator.page.wait_for_timeout(1000 * CALM_S)
        if element.evaluate("element => element.isConnected"):
            return locator
