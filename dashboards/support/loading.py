"""When a page may be changed: before its browser takes it over, and after, but not meanwhile.

What a page shows first is looked up as soon as somebody asks for the page, while the browser loads its scripts: most
often it is there when the page is handed over (`dashboards.support.early` sees to it). Changes that come while the
browser builds the page would be lost on the way, or find pictures half made: they wait until it has done so.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import panel as pn
from bokeh.document import Document
from bokeh.document.events import DocumentChangedEvent, DocumentPatchedEvent
from bokeh.server.session import ServerSession
from panel.io.state import set_curdoc

Output = TypeVar("Output")
logger = logging.getLogger(__name__)
_LOOK_S, _MOST_DRAWING_S, _MOST_REST_S = 0.02, 3.0, 0.5
looked_up_early: ContextVar[bool] = ContextVar("looked_up_early", default=False)
"""Whether a page is made by a server that waits for what it shows first."""
_begun: WeakKeyDictionary[Document, set[asyncio.Task]] = WeakKeyDictionary()
_redraws: WeakKeyDictionary[Document, _Redraws] = WeakKeyDictionary()


def served() -> bool:
    """Return whether a page is made for a visitor of a server."""
    return pn.state.curdoc is not None and pn.state.curdoc.session_context is not None


def _taken_over() -> bool:
    """Whether a browser is building the page at this moment."""
    context = pn.state.curdoc.session_context
    session = context.session
    return session is not None and session.connection_count > 0 and not context.destroyed and not pn.state.loaded


def drawable() -> bool:
    """Return whether the page may be changed: no browser takes it over at this moment."""
    return not (served() and _taken_over())


class _Redraws:
    """Pictures of one page that are to be drawn anew: all at once, and then not before as long again has passed.

    A slider that is dragged asks for more pictures than can be drawn; those between are left out, and the page answers
    in between.
    """

    def __init__(self) -> None:
        self._waiting: dict[Callable[[], None], None] = {}
        self._due, self._rest_until = False, 0.0

    def ask(self, document: Document, draw: Callable[[], None]) -> None:
        self._waiting[draw] = None
        if self._due:
            return
        self._due = True
        rest_ms = math.ceil(1000 * (self._rest_until - time.monotonic()))
        document.add_timeout_callback(functools.partial(self._draw_all, document), max(rest_ms, 0))

    def _draw_all(self, document: Document) -> None:
        begun = time.monotonic()
        waiting, self._waiting, self._due = self._waiting, {}, False
        # Bokeh looks for new parts of the page once, in place of once for each picture
        with document.models.freeze():
            for draw in waiting:
                try:
                    draw()
                except Exception:
                    logger.exception("A picture could not be drawn anew.")
        now = time.monotonic()
        self._rest_until = now + min(now - begun, _MOST_REST_S)


def draw_soon(draw: Callable[[], None]) -> None:
    """Draw a picture anew; in a moment and together with others when somebody looks at the page.

    Parameters
    ----------
    draw
        Called once, however often it is asked for until then.
    """
    document = pn.state.curdoc
    if served() and document.session_context.destroyed:
        return  # a job that ends after its page was closed
    if served() and pn.state.loaded:
        _redraws.setdefault(document, _Redraws()).ask(document, draw)
    else:
        draw()


async def until_drawable() -> None:
    """Wait while a browser takes the page over."""
    while not drawable():
        await asyncio.sleep(_LOOK_S)


async def in_thread(function: Callable[..., Output], *args: Any, **keywords: Any) -> Output:
    """Run a function in a thread, and go on with its result when the page may be changed.

    Parameters
    ----------
    function
        Called with the arguments.
    """
    try:
        return await asyncio.to_thread(function, *args, **keywords)
    finally:
        await until_drawable()


def begin(work: Callable[[], Awaitable[Any]]) -> None:
    """Run asynchronous work of a served page as soon as the page may be changed.

    Parameters
    ----------
    work
        Called without arguments; it awaits `in_thread` for what takes long.
    """
    document = pn.state.curdoc
    if pn.state.loaded or _taken_over() or not looked_up_early.get():
        pn.state.onload(work)
        return

    async def early() -> None:
        with set_curdoc(document):
            try:
                await work()
            except Exception:
                logger.exception("What a page shows first could not be looked up.")

    task = asyncio.get_running_loop().create_task(early())
    begun = _begun.setdefault(document, set())
    begun.add(task)
    task.add_done_callback(begun.discard)


def tell_nobody(session: ServerSession) -> None:
    """Let a page that no browser has yet change at once and tell nobody: a browser gets it as it is then.

    Panel and HoloViews would put each change off until a browser is there.

    Parameters
    ----------
    session
        Of the page.
    """
    document, subscribe, unsubscribe = session.document, session.subscribe, session.unsubscribe

    def be_quiet() -> None:
        session.subscribe = listen
        pn.state._connected[document] = True
        document.callbacks._change_callbacks[session] = hear  # a session that ends looks for itself here

    def listen(connection: Any) -> None:
        session.subscribe = subscribe
        pn.state._connected.pop(document, None)
        document.callbacks.remove_on_change(session)
        document.callbacks.on_change_dispatch_to(session)
        subscribe(connection)

    def leave(connection: Any) -> None:
        unsubscribe(connection)
        # whoever leaves while the browser still builds the page: again nobody has it
        if not session.connection_count and not session.destroyed and not pn.state._loaded.get(document):
            be_quiet()

    def hear(event: DocumentChangedEvent) -> None:
        if not isinstance(event, DocumentPatchedEvent):
            event.dispatch(session)  # such as a callback that was added

    session.unsubscribe = leave
    be_quiet()


async def until_looked_up(document: Document, most_s: float) -> None:
    """Wait until a page has what it shows first, or for some time.

    Parameters
    ----------
    document
        The page.
    most_s
        How long at most, in seconds.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + most_s
    while (running := _begun.get(document)) and (left := end - loop.time()) > 0:
        await asyncio.wait(list(running), timeout=left, return_when=asyncio.FIRST_COMPLETED)
    # what was found is put on the page within moments, which must not be those in which the browser takes it over
    while document.session_callbacks and loop.time() < end + _MOST_DRAWING_S:
        await asyncio.sleep(_LOOK_S / 4)
