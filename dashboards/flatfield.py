"""The flatfield instrument as a page: compare slides, find groups, register and look at models."""

from __future__ import annotations

import functools
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import panel as pn
import param

from analysis.flatfield import (
    Comparison,
    Slides,
    check_model,
    compare_mean_images,
    compare_pair,
    create_model,
    dividing_lines,
    find_slides,
    layer_sets,
    read_model,
    read_model_table,
    refuse_existing_model,
    register_model,
    sort_slides,
    suggest_groups,
)
from analysis.patterns import match_names
from analysis.synthetic.flatfield import EXAMPLE_COHORT, draw_cohort
from dashboards.support.dashboard import build_page, serve_page, writes
from dashboards.support.figures import save_model_figures
from dashboards.support.flatfield_controls import build_sidebar
from dashboards.support.flatfield_matrix import group_lines
from dashboards.support.flatfield_report import write_flatfield_report
from dashboards.support.flatfield_settings import LOOKED_UP_BY, ONE_LAYER, FlatfieldSettings
from dashboards.support.flatfield_views import build_main
from dashboards.support.flatfield_words import MODEL_TABLE, REPORT
from dashboards.support.jobs import quiet, start
from dashboards.support.places import Refused, places
from dashboards.support.statement import Name, count_of, python_call, shell_line


class FlatfieldDashboard(FlatfieldSettings):
    """Slides' mean images compared live, in a notebook cell or as a served page.

    Parameters
    ----------
    **params
        Any setting below by name; ``roots`` may be a list of folders.

    Examples
    --------
    >>> FlatfieldDashboard(roots=["/data/project1"], working_dir="/data/comparison")  # doctest: +SKIP
    """

    result = param.ClassSelector(class_=Comparison, doc="The comparison shown.")
    groups = param.Parameter(doc="Groups suggested from it.")
    chosen = param.Parameter(default=None, doc="Two slides (indices into the result) looked at, or None.")
    pair = param.Parameter(default=None, doc="Their comparison in one layer.")
    found = param.ClassSelector(class_=Slides, doc="All slides under the roots.")
    versions = param.List(default=[], doc="Versions in the model table.")
    model = param.Parameter(default=None, doc="The model shown.")
    check = param.Parameter(default=None, doc="Its test on halves of the slides.")

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.pair_job = self.new_job()
        self.param.watch(self._looked_up_changed, LOOKED_UP_BY)
        self.param.watch(self._result_changed, ["result", "threshold", "layers"])
        self.param.watch(self._pair_changed, ["chosen"])
        self.param.watch(self._layer_changed, ["layer"])
        if self.roots:
            start(self.look_up_first)

    # ---- comparing -------------------------------------------------------------------------------------

    async def look_up(self) -> None:
        """Find the slides and show the pairs already known."""
        if not self.root_list:
            self.param.update(result=None, found=None, groups=None, chosen=None)
            self.job.param.update(words="", error="")
            return
        await self._run("Looking at the slides", compute=False)

    @writes(ends_with_page=True)
    async def compare(self) -> None:
        """Compare all pairs not known yet."""
        await self._run("Comparing", compute=True)

    async def _run(self, words: str, *, compute: bool) -> None:
        work = functools.partial(_find_and_compare, self.root_list, compute=compute, **self.settings)
        run = self.run_wide(words, work, *self.root_list, self.working_dir) if compute else self.job.run(words, work)
        done = await run
        if done is None:
            return
        found, comparison, versions = done
        self.param.update(found=found, result=comparison, versions=versions)
        new = comparison.new_pairs
        self.note(f"{count_of(len(comparison.slides), 'slide')}, {count_of(new, 'pair')} compared" if compute else "")
        self.job.words = self.outcome()

    def outcome(self) -> str:
        """Say in a line what is shown."""
        if self.result is None:
            return ""
        count = len(self.result.slides)
        matching, total, _ = self.matching(self.sample_regex)
        if not count and total and not matching:
            return f"No slide matches; {total} are there."
        if not count:
            reasons = len(self.result.problems)
            return f"No slide can be used; Log has the {'reason' if reasons == 1 else f'{reasons} reasons'}."
        missing = self.result.unknown_pairs
        pairs = f"{count_of(count * (count - 1) // 2, 'pair')} of {count_of(count, 'slide')}"
        state = f"{pairs}, {missing:,} of them not compared yet" if missing else f"{pairs}, all compared"
        if count == 1:
            state = "1 slide; a comparison needs two"
        problems = len(self.result.problems)
        return state + (f"; {problems} could not be used" if problems else "") + "."

    def matching(self, pattern: str) -> tuple[list[str], int, str]:
        """Return the slides that a pattern takes, how many there are, and what is wrong with the pattern."""
        names = list(self.found.labels) if self.found is not None else []
        try:
            ids = [slide.slide_id for slide in self.found.slides] if self.found is not None else []
            taken = match_names(pattern, ids)
        except ValueError as error:
            return [], len(names), str(error)
        return [name for name, take in zip(names, taken, strict=True) if take], len(names), ""

    def _looked_up_changed(self, *_: Any) -> None:
        if not self._loading:
            start(self.look_up)

    def _result_changed(self, event: Any, *_: Any) -> None:
        if self.result is None or not len(self.result.slides):
            self.param.update(groups=None, chosen=None)
            return
        if event.name == "result":
            self._keep_chosen(event.old)
            self._refresh_choices()
        groups = suggest_groups(self.result, layers=self.layer_choice, threshold=self.threshold)
        members = [groups.members(label) for label in range(groups.labels.max(initial=-1) + 1)]
        names = [f"group {place}: {count_of(len(group), 'slide')}" for place, group in enumerate(members, 1)]
        self.param.members.objects = ["all shown", *names]
        if self.members not in self.param.members.objects:
            self.members = "all shown"
        self.groups = groups

    def _keep_chosen(self, before: Comparison | None) -> None:
        """The pair looked at stays the same two slides, wherever they are now."""
        if self.chosen is None or before is None:
            return
        place = {slide.key: index for index, slide in enumerate(self.result.slides.slides)}
        now = tuple(place.get(before.slides.slides[index].key) for index in self.chosen)
        self.chosen = None if None in now else now

    def _refresh_choices(self) -> None:
        """Layers and slide names on offer are those of the result."""
        slide = self.result.slides.slides[0]
        self.param.layers.objects = [*layer_sets(slide), ONE_LAYER]
        with param.parameterized.batch_call_watchers(self):
            if self.layers not in self.param.layers.objects:
                self.layers = "all"
            self.layer = min(self.layer, slide.shape[2])
        ids = list(dict.fromkeys(s.slide_id for s in self.result.slides.slides))
        self.param.lines_after.objects = ids
        self.lines_after = [name for name in self.lines_after if name in ids]

    def order(self) -> np.ndarray:
        """Return the indices of the slides in the order they are drawn."""
        if self.sort_by == "likeness" and self.groups is not None and len(self.groups.order) == len(self.result.slides):
            return self.groups.order
        return sort_slides(self.result.slides, "order" if self.sort_by == "order" else "project-cohort-batch")

    def dividing(self, order: np.ndarray) -> tuple[int, ...]:
        """Return the positions of the dividing lines."""
        slides = self.result.slides
        if self.sort_by == "likeness" and self.lines == "project-cohort-batch" and self.groups is not None:
            return group_lines(self.groups)
        if self.lines == "named":
            return dividing_lines(slides, order, lines="none", lines_after=self.lines_after)
        return dividing_lines(slides, order, lines=self.lines)

    # ---- one pair --------------------------------------------------------------------------------------

    def _pair_changed(self, *_: Any) -> None:
        if self.chosen is None:
            self.pair = None
        else:
            start(self.look_at_pair)

    def _layer_changed(self, *_: Any) -> None:
        if self.chosen is not None:
            start(self.look_at_pair)
        if self.layers == ONE_LAYER:
            self.param.trigger("layers")

    async def look_at_pair(self) -> None:
        """Read the chosen layer of the chosen slides."""
        if self.chosen is None:
            return
        first, second = (self.result.slides.slides[i] for i in self.chosen)
        pair = await self.pair_job.run("Reading both slides", quiet(compare_pair), first, second, self.layer)
        if pair is not None:
            self.pair = pair

    # ---- models ----------------------------------------------------------------------------------------

    def slides_to_register(self) -> Slides:
        """Return the slides that would be registered."""
        slides = self.result.slides
        if self.members == "all shown" or self.groups is None:
            return slides
        group = int(self.members.partition(":")[0].split()[1]) - 1
        kept = tuple(s for s, label in zip(slides.slides, self.groups.labels, strict=True) if label == group)
        return replace(slides, slides=kept)

    def files_to_write(self) -> list[Path]:
        """Return what registering writes."""
        folder = Path(self.working_dir) / "flatfield"
        tag = f"flatfield_{self.version or '<version>'}"
        return [self.model_table, *([] if self.skip_creation else [folder / f"{tag}.bin", folder / tag])]

    @writes
    async def register(self) -> None:
        """Register the slides as a version and, unless told otherwise, make its model."""
        slides = self.slides_to_register()
        how = {"version": self.version, "model_table": self.model_table, "replace": self.replace}
        model_how = None
        if not self.skip_creation:
            model_how = {
                "roots": self.root_list,
                "out_dir": self.working_dir,
                "meanimage_folder": self.meanimage_folder,
                "smoothing": self.smoothing,
                "smoothing_sigma_px": self.smoothing_sigma_px,
            }
        done = await self.job.run("Registering", functools.partial(_register_and_create, slides, how, model_how))
        if done is None:
            return
        model, versions = done
        self.versions = versions
        if model is not None:
            self.param.update(model=model, check=None)
        made = ", model made" if model else ""
        words = f"{self.version} is registered with {count_of(len(slides), 'slide')}{made}."
        self.job.words = words
        self.note(words)

    async def show_model(self, version: str) -> None:
        """Read a version's model from the working folder."""
        path = Path(self.working_dir) / "flatfield" / f"flatfield_{version}.bin"
        try:
            path = places().to_read(path)
        except Refused as refused:  # the version may be anything that a browser sends
            self.job.error = str(refused)
            return
        if not path.exists():
            self.job.error = f"{version} is registered, but its model was not made: there is no {path}."
            self.param.trigger("versions")  # the chooser goes back to what is shown
            return
        model = await self.job.run(f"Reading {path.name}", quiet(read_model), path)
        if model is not None:
            self.param.update(model=model, check=None)
            self.job.words = f"{path} shown."

    async def test(self) -> None:
        """Make a model from a random half of the slides and correct the other half with it."""
        slides = self.slides_to_register()
        how = {"smoothing": self.smoothing, "smoothing_sigma_px": self.smoothing_sigma_px}
        check = await self.job.run("Testing on halves", check_model, slides, **how)
        if check is not None:
            self.check = check
            self.job.words = "Tested on halves of the slides."

    @writes
    async def write_report(self) -> Path | None:
        """Write what is shown as one HTML file in the working folder."""
        options = {
            "groups": self.groups,
            "model": self.model,
            "correction_test": self.check,
            "bounds": self.bounds,
            "sort_by": "order" if self.sort_by == "order" else "project-cohort-batch",
            "lines_after": tuple(self.lines_after) if self.lines == "named" else (),
        }
        return await self.save_report(Path(self.working_dir) / REPORT, write_flatfield_report, self.result, **options)

    @writes(ends_with_page=True)
    async def load_example(self) -> None:
        """Draw a synthetic cohort in a temporary folder, compare it, and show it."""
        folder = self.example_folder()
        cohort = await self.job.run("Drawing slides", quiet(draw_cohort), folder, **EXAMPLE_COHORT)
        if cohort is None:
            return
        with self.held():  # the comparison below looks them up
            self.param.update(roots="\n".join(map(str, cohort.roots)), working_dir=str(folder / "comparison"))
        await self.compare()

    # ---- the same elsewhere ----------------------------------------------------------------------------

    def code(self) -> str:
        """Return the Python text that gives what is shown."""
        groups = python_call(
            suggest_groups,
            Name("comparison"),
            {"layers": self.layer_choice, "threshold": self.threshold},
            result="groups",
        )
        lines = [
            "from analysis.flatfield import compare_mean_images, suggest_groups",
            "",
            python_call(compare_mean_images, self.root_list, self.settings, result="comparison"),
            f"average = comparison.average({self.layer_choice!r})",
            groups,
        ]
        return "\n".join(lines)

    def command(self) -> str:
        """Return the shell line that writes the table and the picture shown."""
        sort_by = "order" if self.sort_by == "order" else ""
        return shell_line(
            "graticule flatfield compare",
            self.root_list,
            {
                "sampleregex": self.sample_regex,
                "workingdir": self.working_dir,
                "flatw": self.meanimage_folder == "meanimage_from_fw_files",
                "min-images-stacked": self.min_images_stacked or None,
                "sort-by": sort_by,
                "lines-after": self.lines_after if self.lines == "named" else None,
                "bounds": None if self.bounds == (0.85, 1.15) else self.bounds,
            },
        )

    def groups_command(self) -> str:
        """Return the shell line that suggests the groups shown."""
        return shell_line(
            "graticule flatfield groups",
            self.root_list,
            {
                "sampleregex": self.sample_regex,
                "workingdir": self.working_dir,
                "meanimage-folder": None if self.meanimage_folder == "meanimage" else self.meanimage_folder,
                "min-images-stacked": self.min_images_stacked or None,
                "layers": None if self.layer_choice == "all" else self.layer_choice,
                "threshold": None if self.threshold == 0.05 else self.threshold,
            },
        )

    # ---- on a page -------------------------------------------------------------------------------------

    def sidebar(self) -> list[pn.viewable.Viewable]:
        """Return the controls."""
        return build_sidebar(self)

    def main(self) -> pn.viewable.Viewable:
        """Return the pictures and tables."""
        return build_main(self)


def _find_and_compare(roots: list[str], **settings: Any) -> tuple[Slides, Comparison, list[str]]:
    found = find_slides(roots, meanimage_folder=settings["meanimage_folder"])
    comparison = compare_mean_images(roots, **settings)
    return found, comparison, _versions(Path(settings["working_dir"] or ".") / MODEL_TABLE)


def _versions(model_table: Path) -> list[str]:
    return list(dict.fromkeys(read_model_table(model_table)["version"])) if model_table.exists() else []


def _register_and_create(
    slides: Slides, how: dict[str, Any], model_how: dict[str, Any] | None, *, progress: Any, cancel: Any
) -> tuple[Any, list[str]]:
    model = None
    if model_how is not None:
        refuse_existing_model(how["version"], out_dir=model_how["out_dir"], replace=how["replace"])
    register_model(slides, how["version"], model_table=how["model_table"], replace=how["replace"])
    if model_how is not None:
        model = create_model(**how, **model_how, progress=progress, cancel=cancel)
        save_model_figures(model, model.paths["flatfield"].with_suffix(""))
    return model, _versions(Path(how["model_table"]))


def build() -> pn.viewable.Viewable:
    """Return the served page, on the data named by GRATICULE_ROOTS and GRATICULE_WORKING_DIR."""
    given = os.environ.get("GRATICULE_ROOTS", "")
    settings = {"roots": [root for root in given.split(os.pathsep) if root]}
    if os.environ.get("GRATICULE_WORKING_DIR"):
        settings["working_dir"] = os.environ["GRATICULE_WORKING_DIR"]
    dashboard = FlatfieldDashboard(**settings).sync_url()
    return build_page(dashboard, "Flatfield", "flatfield")


serve_page(__name__, "dashboards.flatfield")
