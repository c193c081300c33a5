"""What every instrument's page does alike: its jobs and log, its place in a cell and on the server, its address."""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import parse_qsl, urlencode

import panel as pn
import param

from dashboards.support.file_wall import guard
from dashboards.support.jobs import Job, going_on, on_scheduler, quiet
from dashboards.support.notebook import share_script
from dashboards.support.page import guarded, page
from dashboards.support.parts import section, words
from dashboards.support.path_settings import SchedulerAddress, WorkFolder, allowed_defaults, check_again, path_field
from dashboards.support.places import SCHEDULER, Refused, places
from dashboards.support.quick_bokeh import quicken

logger = logging.getLogger(__name__)
_SERVED = "bokeh_app_"
"""What the server's name for a file that it runs begins with; as `panel.state.served` looks for."""


def writes(act: Callable[..., Awaitable[Any]] | None = None, *, ends_with_page: bool = False) -> Any:
    """Mark an act of a page that writes files: where it may not, the page says why, and nothing is done.

    Such an act goes on to its end when its page is closed, with all jobs that it is made of.

    Parameters
    ----------
    act
        Coroutine method of a `Dashboard`; it writes into the page's folder of results, or into one that
        `Dashboard.example_folder` gave.
    ends_with_page
        Whether it stops when its page is closed, because what it writes only serves to look at something, and goes on
        where it was another time.
    """
    if act is None:
        return functools.partial(writes, ends_with_page=ends_with_page)

    @functools.wraps(act)
    async def allowed(self: Dashboard, *args: Any, **keywords: Any) -> Any:
        if self.closed:
            return None
        try:
            check_again(self)
            self.check_writing(example=act.__name__ == "load_example")
        except Refused as refused:
            self.job.error = str(refused)
            return None
        with going_on(not ends_with_page):
            done = await act(self, *args, **keywords)
        if self.closed:
            ended = " ".join(f"{job.words} {job.error}" for job in self._jobs if job.kept).strip()
            logger.info("%s: %s has ended on a page that was closed. %s", type(self).__name__, act.__name__, ended)
        return done

    return allowed


class Dashboard(pn.viewable.Viewer):
    """An instrument as a page; it says nothing of what the instrument does.

    An instrument has ``sidebar()``, ``main()``, ``code()``, ``command()``, ``outcome()``, ``look_up()`` and
    ``load_example()``.

    Parameters
    ----------
    **params
        Settings by name.
    """

    in_url: ClassVar[tuple[str, ...]] = ()
    """Settings that stand in the page's address."""

    scheduler = SchedulerAddress(
        default="", label="Dask scheduler",
        doc="Its address, such as tcp://host:8786. Its workers must see the same folders. Empty: this machine.",
    )  # fmt: skip
    report = param.Parameter(default=None, doc="The report written last.")
    wrong_in_address = param.String(default="", doc="What could not be taken from the page's address.")
    log = param.List(default=[], doc="What was done, newest last.")

    def __init__(self, **params: Any) -> None:
        guard()
        super().__init__(**allowed_defaults(type(self), params))
        self.closed = self._loading = False
        self._jobs: list[Job] = []
        self.job = self.new_job()
        self.job.param.watch(lambda event: self.note(event.new), "error")
        self._panel: pn.viewable.Viewable | None = None

    async def look_up_first(self) -> None:
        """Look up what the page is opened with, unless a notebook has asked for more at once."""
        if not self.job.busy:
            await self.look_up()
            if self.wrong_in_address and not self.job.error:
                self.job.error = self.wrong_in_address  # a job that starts wipes what went wrong before it

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Change settings without starting anything: what follows them looks whether the page is ``_loading``."""
        before, self._loading = self._loading, True
        try:
            yield
        finally:
            self._loading = before

    def new_job(self) -> Job:
        """Return a job that ends with the page, unless it is a part of an act that `writes`."""
        self._jobs.append(Job(check=functools.partial(check_again, self)))
        return self._jobs[-1]

    def close(self) -> None:
        """Stop what was only to be looked at, because the page was closed; what is being written goes on to its end."""
        self.closed = True
        self.param.watchers = {}  # nothing is left to draw on
        for job in self._jobs:
            if job.goes_on:
                logger.info("%s: the page was closed and what it writes goes on: %s", type(self).__name__, job.words)
            job.close()

    async def run_wide(self, words: str, function: Any, *paths: Any) -> Any:
        """Run a job on the workers of the scheduler, when one is named, and here when not.

        Parameters
        ----------
        words
            Said until there is more to say.
        function
            Takes ``executor``, ``progress`` and ``cancel``.
        *paths
            Folders that it reads and writes.

        Returns
        -------
        object or None
            As `Job.run`.
        """
        return await self.job.run(words, on_scheduler(self.scheduler, function, paths))

    def controls(self) -> list[pn.viewable.Viewable]:
        """Return the instrument's controls, and where the work is done."""
        allowed = places()
        why = [words(allowed.why_not_write, muted=True, margin=(10, 18))] if allowed.why_not_write else []
        if allowed.restricted:
            return [*self.sidebar(), *why]  # visitors do not choose whom this machine talks to
        where = path_field(self, "scheduler", placeholder="this machine", size="small", sizing_mode="stretch_width")
        return [*self.sidebar(), section("Where the work is done", where), *why]

    @property
    def may_write(self) -> bool:
        """Whether the page offers what writes files."""
        return places().may_write

    def offered(self, *shown: Any) -> list[Any]:
        """Return what writes files, or nothing where the page may not."""
        return list(shown) if self.may_write else []

    def check_writing(self, *, example: bool = False) -> None:
        """Refuse to write where nothing may be written, or not into the folder of results.

        Parameters
        ----------
        example
            Whether only a folder of `example_folder` is written into.

        Raises
        ------
        Refused
            With the reason.
        """
        allowed = places()
        if allowed.why_not_write:
            raise Refused("", allowed.why_not_write)
        if example or not allowed.restricted:
            return
        for name, setting in self.param.objects("existing").items():
            if isinstance(setting, WorkFolder):
                if not getattr(self, name):
                    raise Refused("", f"{setting.label} must be typed; it must be in {allowed.output}.")
                allowed.to_write(getattr(self, name))

    def example_folder(self) -> Path:
        """Return a new folder for sample data: a temporary one, or in the folder that may be written into."""
        inside = places().output
        if inside is not None:
            inside = inside / "examples"
            inside.mkdir(exist_ok=True)
        return Path(tempfile.mkdtemp(prefix="graticule-example-", dir=inside))

    def note(self, words: str) -> None:
        """Add a line to the log."""
        if words:
            self.log = [*self.log, words]

    async def save_report(self, path: Path, write: Any, *args: Any, **keywords: Any) -> Path | None:
        """Write a report in a thread, and say where it is.

        Parameters
        ----------
        path
            The file.
        write
            Called with the path, ``*args`` and ``**keywords``; returns the file written.

        Returns
        -------
        Path or None
            None when it was not written; the page says why.
        """
        try:
            places().to_write(path)
        except Refused as refused:
            self.job.error = str(refused)
            return None
        work = functools.partial(quiet(write), path, *args, **keywords)
        written = await self.job.run("Writing the report", work)
        if written is not None:
            self.report = written
            self.job.words = f"{written} written."
            self.note(self.job.words)
        return written

    def __panel__(self) -> pn.viewable.Viewable:
        """Return controls and pictures side by side, without the chrome of a page."""
        share_script()
        if self._panel is None:
            controls = pn.Column(*self.controls(), width=330)
            self._panel = pn.Row(controls, self.main(), sizing_mode="stretch_width")
        return self._panel

    def sync_url(self) -> Self:
        """Keep the settings in the page's address."""
        location = pn.state.location
        if location is not None:
            said = _said(location.search)
            location.sync(self, {name: name for name in self.in_url}, on_error=self._take_one_by_one)
            # Panel passes over what was left empty on purpose
            self._take_one_by_one({name: value for name, value in said.items() if name in self.in_url and not value})
            self.param.watch(lambda *_: self._say_empty(location), list(self.in_url))
        return self

    def _say_empty(self, location: Any) -> None:
        """Put settings that are empty, and do not come so, back into the address."""
        empty = {name: "" for name in self.in_url if getattr(self, name) == "" != self.param[name].default}
        said = _said(location.search)
        if not empty.keys() <= said.keys():
            location.search = "?" + urlencode(said | empty)

    def _take_one_by_one(self, values: dict[str, Any]) -> None:
        """Take what is right in the page's address when not all of it is, and say what is wrong."""
        for name, value in values.items():
            if isinstance(self.param[name], param.String):
                value = str(value)  # a folder called 2024 comes as a number
            try:
                setattr(self, name, value)
            except (ValueError, Refused) as error:
                self.wrong_in_address = self.job.error = f"The page's address has a wrong value: {error}"


def _said(search: str | None) -> dict[str, str]:
    """Settings in an address, the empty ones too."""
    return dict(parse_qsl((search or "").removeprefix("?"), keep_blank_values=True))


def build_page(dashboard: Dashboard, title: str, name: str) -> pn.viewable.Viewable:
    """Return an instrument as a served page, which stops when it is closed all but what it is writing.

    Parameters
    ----------
    dashboard
        The instrument.
    title
        Title of the page.
    name
        Name of the page, as in ``INSTRUMENTS``.
    """
    pn.state.on_session_destroyed(lambda _: dashboard.close())
    dashboard.scheduler = dashboard.scheduler or os.environ.get(SCHEDULER, "")
    made = page(title, dashboard.controls(), [dashboard.main()], here=name)
    pn.state.on_session_destroyed(lambda _: let_go(made))
    return made


def let_go(made: pn.viewable.Viewable) -> None:
    """Have HoloViews forget the plots of a closed page, which it keeps in a list of its own, and the page with them.

    Panel would, but does not find them within components whose models Bokeh has emptied before it asks.

    Parameters
    ----------
    made
        The page.
    """
    for pane in made.select(pn.pane.HoloViews):
        for plot, _ in pane._plots.values():
            plot.cleanup()
        pane._plots.clear()


def serve_page(running: str, module: str) -> None:
    """Put a page on the server, when it is the server that runs its file.

    The server runs the file anew for every visitor and empties it when the page is closed, under a thread that may
    still work. So the page is built from the module of its name, which stays whole.

    Parameters
    ----------
    running
        ``__name__`` of the file that runs.
    module
        Name under which it is imported; it has a ``build()``.
    """
    if running.startswith(_SERVED):
        quicken()
        pn.extension("tabulator")
        guarded(importlib.import_module(module).build).servable()
