"""Waiting in a browser for what is meant, rather than for a time."""

from __future__ import annotations

import time

CALM_S = 0.4

# x, y: a place in the units of a figure's axes; a number between 0 and 1 of its width and height where it says so
_PLACE = """([shares, x, y]) => {
    const views = []
    const walk = view => { views.push(view); for (const child of view.children?.() ?? []) walk(child) }
    for (const root of window.Bokeh?.index?.roots ?? []) walk(root)
    const view = views.find(({model}) => model.type == 'Figure' && IS_MEANT(model))
    const frame = view?.frame ?? view?.plot_view?.frame
    if (!view?.el?.isConnected || !frame?.bbox?.width) return null
    const box = view.el.getBoundingClientRect()
    if (shares) return [box.x + frame.bbox.left + x * frame.bbox.width, box.y + frame.bbox.top + y * frame.bbox.height]
    return [box.x + frame.x_scale.compute(x), box.y + frame.y_scale.compute(y)]
}"""


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


def place_in(page, figure, x, y, *, shares=False):
    """Place in the window of a place in a figure, once the page has come to rest.

    The figure is told by a condition in JavaScript on its ``model``; x and y are in the units of its axes, or shares of
    its width from the left and of its height from the top.
    """
    script, place = _PLACE.replace("IS_MEANT", f"(model => {figure})"), None
    for _ in range(300):
        if place == (place := page.evaluate(script, [shares, float(x), float(y)])) and place is not None:
            return place
        page.wait_for_timeout(200)
    raise AssertionError(f"No figure of which {figure} comes to rest; the last place was {place}.")
