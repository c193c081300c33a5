"""Long work off the event loop: progress, cancel, and the library's own sentence when it fails."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import logging
import os
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any, TypeVar

import panel as pn
import panel_material_ui as pmui
import param

from analysis.scheduler import open_scheduler
from analysis.tasks import Cancelled, SchedulerLost
from dashboards.support.loading import begin, drawable, in_thread, served
from dashboards.support.parts import error_banner, say, status_line
from dashboards.support.places import Refused

Output = TypeVar("Output")
logger = logging.getLogger(__name__)
_MOMENT_S = 0.3
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE, errno.EIO, errno.ENODEV, errno.ENOTCONN, errno.EHOSTDOWN)
_LOST = "It was there before, or should be: see whether its disk or share is still there, and do it again."
_goes_on: ContextVar[bool] = ContextVar("_goes_on", default=False)
_jobs: weakref.WeakSet[Job] = weakref.WeakSet()


@contextlib.contextmanager
def going_on(wanted: bool) -> Iterator[None]:
    """Have the jobs of this block go on to their end, or not, when their page is closed.

    Parameters
    ----------
    wanted
        Whether they do; work that is begun by `start` within the block never does.
    """
    before = _goes_on.set(wanted)
    try:
        yield
    finally:
        _goes_on.reset(before)


def stop_all() -> None:
    """Ask every job of this process to stop, also those whose page was closed; finished work is kept."""
    for job in list(_jobs):
        job.cancel()


class Job(param.Parameterized):
    """One thing at a time that a page is busy with.

    A new job asks the one before it to stop and takes its place; the result of a job that was overtaken is
    dropped. A job whose page is closed is asked to stop, unless it began in a block of `going_on`: then it ends as if
    the page were there.

    Parameters
    ----------
    check
        Called in the thread before each job; what it raises ends the job before it began.
    **params
        Parameters below by name.
    """

    busy = param.Boolean(default=False, doc="Whether something runs.")
    words = param.String(default="", doc="What it does, or how it ended.")
    error = param.String(default="", doc="What went wrong last; empty when nothing did.")
    share = param.Integer(default=0, bounds=(0, 100), doc="Progress in percent.")

    def __init__(self, *, check: Callable[[], None] | None = None, **params: Any) -> None:
        super().__init__(**params)
        self._check = check
        self._cancel = threading.Event()
        self._number = 0
        self.kept = self.closed = False
        _jobs.add(self)

    def cancel(self) -> None:
        """Ask what runs to stop; finished work is kept."""
        self._cancel.set()

    def close(self) -> None:
        """Stop what runs, unless it goes on without its page; there is nothing left to show anything on."""
        self.closed = True
        self.param.watchers = {}
        if not self.goes_on:
            self.cancel()

    @property
    def goes_on(self) -> bool:
        """Whether something runs that does not stop when the page is closed."""
        return self.busy and self.kept

    async def run(self, words: str, function: Callable[..., Output], *args: Any, **keywords: Any) -> Output | None:
        """Run a function in a thread and return its result.

        Parameters
        ----------
        words
            Shown while it runs.
        function
            Called with the arguments and with ``progress`` and ``cancel``.

        Returns
        -------
        object or None
            None when it failed, was cancelled or overtaken, or when the page was closed and it does not go on without.
            What failed is in ``error``.
        """
        kept = _goes_on.get()
        if self.closed and not kept:
            return None
        self._cancel.set()
        self._cancel = cancel = threading.Event()
        self._number += 1
        self.kept = kept
        number = self._number
        loop = asyncio.get_running_loop()

        def progress(done: int, total: int, what: str) -> None:
            loop.call_soon_threadsafe(self._step, number, done, total, what)

        self.param.update(busy=True, words=words, error="", share=0)
        try:
            if self._check is not None:
                await in_thread(self._check)
            found = await in_thread(function, *args, **keywords, progress=progress, cancel=cancel)
        except Cancelled as stop:
            return self._end(number, str(stop))
        except (ValueError, OSError, SchedulerLost) as error:
            return self._end(number, "", _sentence(error))
        except Exception as error:
            logger.exception("%s failed.", words)
            return self._end(number, "", f"{type(error).__name__}: {error} (a fault of the program; see the log).")
        self._end(number, "")
        return found if number == self._number and (kept or not self.closed) else None

    def _step(self, number: int, done: int, total: int, words: str) -> None:
        if number == self._number and self.busy:
            self.param.update(share=int(100 * done / max(total, 1)), words=f"{words}: {done} of {total}")

    def _end(self, number: int, words: str, error: str = "") -> None:
        if number == self._number:
            self.param.update(busy=False, words=words, error=error, share=0)

    def panel(self) -> pn.viewable.Viewable:
        """Return a bar, a line of words, a Cancel button and a banner for errors."""
        bar = pmui.LinearProgress(value=0, variant="determinate", sizing_mode="stretch_width", visible=False)
        line = status_line()
        stop = pmui.Button(label="Cancel", variant="outlined", size="small", visible=False, on_click=self._asked)
        banner = error_banner()

        @gently
        def show(*_: Any) -> None:
            bar.param.update(value=self.share, visible=self.busy)
            stop.visible = self.busy
            say(line, self.words)
            say(banner, self.error)

        show()
        self.param.watch(show, ["busy", "words", "error", "share"])
        return pmui.Column(banner, bar, pmui.Row(line, stop, sizing_mode="stretch_width"), sizing_mode="stretch_width")

    def _asked(self, _: Any) -> None:
        self.words = "Stopping; what is finished is kept."
        self.cancel()


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and not isinstance(error, Refused):
        said = f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}."
        return f"{said} {_LOST}" if error.errno in _GONE else said
    return str(error)


def on_scheduler(
    address: str, function: Callable[..., Any], paths: Iterable[str | os.PathLike[str]]
) -> Callable[..., Any]:
    """Return a function that has its work done by the workers of a Dask scheduler.

    Parameters
    ----------
    address
        Of the scheduler; the function itself is returned when empty.
    function
        Takes an ``executor``.
    paths
        Folders that it reads and writes.
    """
    if not address.strip():
        return function

    @functools.wraps(function)
    def work(*args: Any, **keywords: Any) -> Any:
        relative = [path for path in paths if str(path).strip() and not os.path.isabs(path)]
        if relative:
            raise ValueError(
                "Folders must be typed from the root when a scheduler does the work, for its workers are elsewhere; "
                f"got {relative[0]}. Here it is {os.path.abspath(relative[0])}."
            )
        with open_scheduler(address.strip(), paths=[path for path in paths if str(path).strip()]) as executor:
            return function(*args, **keywords, executor=executor)

    return work


def start(work: Callable[[], Awaitable[Any]]) -> None:
    """Run asynchronous work: on the running loop, once the page may be changed, or to its end without one."""

    @functools.wraps(work)
    async def apart() -> None:
        # what changes on the page while an act goes on may start something; that is not a part of the act
        with going_on(False):
            await work()

    if served():
        begin(apart)
        return
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(apart())
        return
    task = loop.create_task(apart())
    _running.add(task)
    task.add_done_callback(_running.discard)


_running: set[asyncio.Task] = set()  # a task that nobody holds may be collected half way


def gently(refresh: Callable[..., None]) -> Callable[..., None]:
    """Return a callback that refreshes widgets at once, and then not again before a moment has passed.

    A Material component that is changed again while the browser still works on the change before may stay at the older
    value: a button is grey for ever, a bar never goes. What is asked for within the moment is done once at its end, or
    when the browser has built the page, which would miss it meanwhile.

    Parameters
    ----------
    refresh
        Called without arguments that matter; it reads all it needs when it runs.
    """
    last, later = -_MOMENT_S, None

    def now() -> None:
        nonlocal last, later
        last, later = time.monotonic(), None
        refresh()

    def at_last() -> None:
        nonlocal later
        if drawable():
            now()
        else:
            later = asyncio.get_running_loop().call_later(_MOMENT_S, at_last)

    @functools.wraps(refresh)
    def call(*_: Any) -> None:
        nonlocal later
        if later is not None:
            return
        wait_s = last + _MOMENT_S - time.monotonic()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            now()
            return
        if wait_s <= 0:
            now()
        else:
            later = loop.call_later(wait_s, at_last)

    return call


def quiet(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that takes ``progress`` and ``cancel``, and needs neither, for `Job.run`.

    Parameters
    ----------
    function
        Called without them.
    """

    @functools.wraps(function)
    def call(*args: Any, progress: Any, cancel: Any, **keywords: Any) -> Any:
        return function(*args, **keywords)

    return call
