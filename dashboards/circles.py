"""The circles instrument as a page: look at images and their circles, run what is new, see distributions and drift."""

from __future__ import annotations

import asyncio
import functools
import os
import time
from pathlib import Path
from typing import Any

import pandas as pd
import panel as pn
import param

from analysis.circles import find_acquisitions, plan_run, run_pipeline
from analysis.synthetic.circles import EXAMPLE_ACQUISITIONS, draw_acquisitions
from dashboards.support.circles_controls import build_sidebar
from dashboards.support.circles_report import write_circles_report
from dashboards.support.circles_settings import COUNTED_BY, DETECTED_BY, PLANNED_BY, VALUES, CirclesSettings
from dashboards.support.circles_statistics import Statistics, measure_statistics
from dashboards.support.circles_text import python_text, shell_text
from dashboards.support.circles_views import build_main
from dashboards.support.circles_words import ran_words
from dashboards.support.circles_work import (
    Results,
    detect_shown,
    draw_gallery,
    open_image,
    read_results,
    same_circles,
    sound_filters,
    sound_ranges,
)
from dashboards.support.dashboard import build_page, serve_page, writes
from dashboards.support.jobs import quiet, start
from dashboards.support.loading import in_thread
from dashboards.support.statement import count_of

_SETTLED_S = 0.8


class CirclesDashboard(CirclesSettings):
    """Circles of last night's acquisitions, in a notebook cell or as a served page.

    Parameters
    ----------
    **params
        Any setting below by name; ``folder`` and ``output`` may be paths.

    Examples
    --------
    >>> CirclesDashboard(folder="/data/acquisitions", output="/data/circles")  # doctest: +SKIP
    """

    acquisitions = param.Parameter(default=None, doc="The images found.")
    plan = param.Parameter(default=None, doc="What a run would do, and why.")
    opened = param.Parameter(default=None, doc="The image shown.")
    found = param.Parameter(default=None, doc="Its circles.")
    found_ms = param.Number(default=0.0, doc="How long they took.")
    ran = param.Parameter(default=None, doc="The run made last.")
    results = param.ClassSelector(class_=Results, default=Results(), doc="What the output folder holds.")
    statistics = param.ClassSelector(class_=Statistics, default=None, doc="Histograms, test and control chart.")
    gallery = param.List(default=[], doc="Pictures of the experiment chosen.")

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.plan_job, self.view_job = self.new_job(), self.new_job()
        for job in (self.plan_job, self.view_job):
            job.param.watch(lambda event: self.note(event.new), "error")
        self._detecting, self._counting, self._planned = False, False, 0
        self._uncounted = ""
        self.param.watch(self._tree_changed, ["folder", "levels"])
        self.param.watch(self._output_changed, ["output"])
        self.param.watch(self._image_changed, ["image"])
        self.param.watch(lambda *_: start(self.detect), DETECTED_BY)
        self.param.watch(lambda *_: start(self.make_plan), PLANNED_BY)
        self.param.watch(self._counted_by, COUNTED_BY)
        self.param.watch(lambda *_: start(self.look_at_experiment), ["experiment"])
        if self.folder:
            start(self.look_up_first)
        elif self.output:
            start(self.read_output)

    # ---- images and what would be done -----------------------------------------------------------------

    def _tree_changed(self, *_: Any) -> None:
        if not self._loading:
            start(self.look_up)

    def _output_changed(self, *_: Any) -> None:
        if not self._loading:
            start(self.read_output)

    async def look_up(self) -> None:
        """Find the images, see what would be done, read the results, and open an image."""
        if not self.folder.strip():
            self.param.update(acquisitions=None, plan=None, opened=None, found=None)
            self.job.param.update(words="", error="")
            return
        look = functools.partial(find_acquisitions, self.folder, levels=self.level_names)
        found = await self.job.run("Looking for images", look)
        if found is None:
            return
        self.acquisitions = found
        self.job.words = f"{count_of(len(found), 'image')} in {found.root}."
        self.note(self.job.words)
        if not len(found):
            self.param.update(opened=None, found=None)
            self.job.error = (
                f"{found.root} must hold PNG, TIFF or JPEG images {len(found.levels)} folders deep"
                f" ({'/'.join(found.levels)}/image); there are none."
            )
        keys = self.image_keys()
        with self.held():
            self.image = self.image if self.image in keys else (keys or [""])[0]
        await self.open_image()
        await self.read_output()

    async def make_plan(self, *, wait_s: float = _SETTLED_S) -> None:
        """See what a run would do with the settings as they stand, and why."""
        if self.acquisitions is None or not len(self.acquisitions) or not self.output.strip():
            self.plan = None
            return
        self._planned += 1
        number = self._planned
        await asyncio.sleep(wait_s)  # while a slider is moved
        if number != self._planned or self.job.busy:
            return
        how = {name: value for name, value in self.settings.items() if name != "levels"}
        plan = functools.partial(quiet(plan_run), self.acquisitions, self.output, **how)
        found = await self.plan_job.run("Seeing what is new", plan)
        if found is not None and number == self._planned:
            self.plan = found
            self.plan_job.words = ""

    def image_keys(self) -> list[str]:
        """Return what images are called by, in their order."""
        return [row.key for row in self.acquisitions.rows] if self.acquisitions is not None else []

    def step(self, by: int, among: list[str] | None = None) -> None:
        """Show the next image, or the one before, of those listed."""
        keys = among or self.image_keys()
        if keys:
            self.image = keys[(keys.index(self.image) + by) % len(keys) if self.image in keys else 0]

    # ---- the image shown -------------------------------------------------------------------------------

    def _image_changed(self, *_: Any) -> None:
        if not self._loading:
            start(self.open_image)

    async def open_image(self) -> None:
        """Read the image shown, and detect its circles."""
        rows = {row.key: row for row in self.acquisitions.rows} if self.acquisitions is not None else {}
        row = rows.get(self.image)
        if row is None:
            self.param.update(opened=None, found=None)
            return
        opened = await self.view_job.run(f"Reading {row.place}", quiet(open_image), row.file)
        if opened is not None:
            self.view_job.words = ""
            self.param.update(opened=opened, found=None)
            await self.detect()
        elif not self.view_job.busy:
            self.param.update(opened=None, found=None)

    async def detect(self) -> None:
        """Detect the circles of the image shown; of several requests the last one wins."""
        self._wanted = object()
        if self._detecting or self.opened is None:
            return
        self._detecting = True
        try:
            answered = None
            while answered is not self._wanted:
                answered, opened = self._wanted, self.opened
                begun = time.perf_counter()
                try:
                    found, error = await in_thread(detect_shown, opened, self.detection), ""
                except ValueError as wrong:
                    found, error = None, str(wrong)
                if self.opened is opened and not self.view_job.busy:
                    if self.view_job.error != error:
                        self.view_job.error = error
                    if error or not same_circles(found, self.found):
                        self.found = found
                    self.found_ms = 1000 * (time.perf_counter() - begun)
        finally:
            self._detecting = False

    # ---- running ---------------------------------------------------------------------------------------

    @writes
    async def run(self) -> None:
        """Do all that is to be done, and read what came out."""
        if not self.folder.strip() or not self.output.strip():
            return
        work = functools.partial(run_pipeline, self.folder, self.output, **self.settings)
        done = await self.run_wide("Starting", work, self.folder, self.output)
        words, error = self.job.words, self.job.error
        if done is not None:
            self.ran = done
            words = ran_words(done)
            failed = done.summary().get("failed", 0)
            error = f"{count_of(failed, 'image')} failed; see Failures." if failed else ""
            with self.held():
                self.redo = False
            self.note(words)
        await self.read_output()
        # reading the results must not wipe out how the run ended
        self.job.param.update(words=words, error=error)

    async def read_output(self) -> None:
        """Read what the output folder holds, and see what would be done."""
        if self.closed:
            return
        results = await in_thread(read_results, self.output, self.level_names)
        for sentence in results.warnings:
            self.note(sentence)
        experiments = results.experiments or [""]
        choices = results.values or list(VALUES)
        chosen = {name: getattr(self, name) for name in ("value", "other_value")}
        self.param.by.objects = {"none": "", **{level: level for level in results.levels or self.level_names}}
        with self.held():
            for name, usual in zip(chosen, VALUES, strict=True):
                # a widget whose choices change may take another one
                self.param[name].objects = choices
                setattr(self, name, chosen[name] if chosen[name] in choices else usual)
            self.experiment = self.experiment if self.experiment in experiments else experiments[-1]
            self.filters = sound_filters(self.filters, results)
            self.between = sound_ranges(self.between, [self.value, self.other_value])
            if self.by and self.by not in (results.levels or self.level_names):
                self.by = ""
            self.results = results
        await self.look_at_experiment()
        await self.count()
        await self.make_plan(wait_s=0)

    async def look_at_experiment(self) -> None:
        """Draw small QC pictures of the experiment chosen."""
        wanted = self.experiment
        pictures = await in_thread(draw_gallery, self.results, wanted)
        if self.experiment == wanted:
            self.gallery = pictures

    # ---- counting --------------------------------------------------------------------------------------

    def _counted_by(self, *events: Any) -> None:
        if self._loading:
            return
        if any(event.name in ("value", "other_value") for event in events):
            with self.held():
                self.between = {n: ends for n, ends in self.between.items() if n in (self.value, self.other_value)}
        start(self.count)

    async def count(self) -> None:
        """Make histograms, test and control chart of what is chosen; of several requests the last one wins."""
        self._count_wanted = object()
        if self._counting:
            return
        self._counting = True
        try:
            answered = None
            while answered is not self._count_wanted:
                answered, how = self._count_wanted, self.statistics_settings
                results = self.results
                if not len(results.circles):
                    self.statistics = None
                    continue
                try:
                    made = await in_thread(measure_statistics, results.circles, results.levels, **how)
                except ValueError as error:
                    self.job.error = self._uncounted = str(error)
                    continue
                if answered is self._count_wanted:
                    self.statistics = made
                    if self._uncounted and self.job.error == self._uncounted:
                        self.job.error = self._uncounted = ""
        finally:
            self._counting = False

    @property
    def statistics_settings(self) -> dict[str, Any]:
        """What is counted, by the names of `measure_statistics`."""
        return {
            "value": self.value,
            "other_value": self.other_value,
            "by": self.by or None,
            "baseline": self.baseline or None,
            "spread": self.spread,
            "where": dict(self.filters),
            "between": dict(self.between),
        }

    def keep_between(self, column: str, ends: tuple[float, float] | None) -> None:
        """Keep circles whose value lies in a range; None keeps all."""
        others = {name: kept for name, kept in self.between.items() if name != column}
        self.between = others if ends is None else {**others, column: (float(ends[0]), float(ends[1]))}

    def keep_names(self, level: str, names: list[str]) -> None:
        """Keep circles of some subjects, dates or experiments; an empty list keeps all."""
        others = {name: kept for name, kept in self.filters.items() if name != level}
        self.filters = {**others, level: list(names)} if names else others

    def clear_filters(self) -> None:
        """Keep all circles."""
        self.param.update(filters={}, between={})

    @property
    def chosen(self) -> pd.DataFrame:
        """The circles that the filters leave."""
        return self.statistics.chosen if self.statistics is not None else self.results.circles.head(0)

    # ---- the rest --------------------------------------------------------------------------------------

    @writes(ends_with_page=True)
    async def load_example(self) -> None:
        """Draw acquisitions in a temporary folder, run the pipeline on them, and show them."""
        folder = self.example_folder()
        draw = functools.partial(quiet(draw_acquisitions), folder, **EXAMPLE_ACQUISITIONS)
        if await self.job.run("Drawing images", draw) is None:
            return
        with self.held():
            self.param.update(folder=str(folder / "acquisitions"), output=str(folder / "circles"))
        await self.look_up()
        await self.run()

    @writes
    async def write_report(self) -> Path | None:
        """Write what the output folder holds as one HTML file beside it."""
        if not len(self.results.circles):
            self.job.error = "There is nothing to report on yet: no circle is in the output folder. Press Run first."
            return None
        output = Path(self.output)
        return await self.save_report(
            output.parent / f"{output.name}_report.html",
            write_circles_report,
            output,
            levels=self.level_names,
            value=self.value,
            other_value=self.other_value,
            by=self.by or None,
            baseline=self.baseline or None,
            spread=self.spread,
        )

    def outcome(self) -> str:
        """Say in a line what is shown."""
        if not len(self.results.circles):
            return ""
        images = count_of(self.results.images, "image")
        return f"{count_of(len(self.results.circles), 'circle')} in {images}."

    def code(self) -> str:
        """Return the Python text that does what Run does."""
        return python_text(self)

    def command(self) -> str:
        """Return the shell line that does what Run does."""
        return shell_text(self)

    def sidebar(self) -> list[pn.viewable.Viewable]:
        """Return the controls."""
        return build_sidebar(self)

    def main(self) -> pn.viewable.Viewable:
        """Return the pictures and tables."""
        return build_main(self)


def build() -> pn.viewable.Viewable:
    """Return the served page, on the folders named by GRATICULE_ACQUISITIONS and GRATICULE_CIRCLES."""
    named = {"folder": os.environ.get("GRATICULE_ACQUISITIONS"), "output": os.environ.get("GRATICULE_CIRCLES")}
    dashboard = CirclesDashboard(**{name: value for name, value in named.items() if value}).sync_url()
    return build_page(dashboard, "Circles", "circles")


serve_page(__name__, "dashboards.circles")
