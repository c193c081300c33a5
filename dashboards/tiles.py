"""The tiles instrument as a page: look at images, lay tiles over them, see what they become, write them, merge them."""

from __future__ import annotations

import asyncio
import functools
import os
from pathlib import Path
from typing import Any

import numpy as np
import panel as pn
import param

from analysis.planes import PlaneInfo
from analysis.synthetic.tiles import EXAMPLE_IMAGES, draw_images
from analysis.tiles import Layout, Sources, export_tiles, find_images, judge_formats, judge_types, remove_tiles
from dashboards.support.dashboard import build_page, serve_page, writes
from dashboards.support.jobs import quiet, start
from dashboards.support.loading import in_thread
from dashboards.support.statement import count_of
from dashboards.support.tiles_controls import build_sidebar
from dashboards.support.tiles_merge_work import merge_and_compare
from dashboards.support.tiles_plan import Plan, find_earlier, lay_out, make_plan, tile_type
from dashboards.support.tiles_report import write_tiles_report
from dashboards.support.tiles_settings import EMPTIED_BY, LAID_BY, SIZED_BY, SPLIT_BY, VALUED_BY, TilesSettings
from dashboards.support.tiles_text import python_text, shell_text
from dashboards.support.tiles_views import build_main
from dashboards.support.tiles_work import OpenImage, find_dataset_range, make_sample, view_tile

_SETTLED_S = 0.15


class TilesDashboard(TilesSettings):
    """Images cut into calibrated, normalised tiles, in a notebook cell or as a served page.

    Parameters
    ----------
    **params
        Any setting below by name; ``folder`` may be a path.

    Examples
    --------
    >>> TilesDashboard(folder="/data/images", tile_size=256, overlap=32)  # doctest: +SKIP
    """

    sources = param.ClassSelector(class_=Sources, doc="The images found.")
    sample = param.List(default=[], doc="Names and small pictures of up to 25 images.")
    layout = param.ClassSelector(class_=Layout, doc="Where the tiles of the image shown lie.")
    plan = param.ClassSelector(class_=Plan, doc="What an export writes.")
    opened = param.Parameter(default=None, doc="The image shown.")
    view = param.Parameter(default=None, doc="The tile looked at, before and after.")
    empty = param.Parameter(default=None, doc="Which tiles of the image shown are empty, or None.")
    earlier = param.Parameter(default=None, doc="What the output folder holds.")
    exported = param.Parameter(default=None, doc="The export made last.")
    merged = param.Parameter(default=None, doc="What was merged last.")
    trouble = param.String(default="", doc="Why no tiles can be laid with these settings.")

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.view_job = self.new_job()
        self.view_job.param.watch(lambda event: self.note(event.new), "error")
        self._views, self._looks, self._dataset = 0, 0, {}
        self.param.watch(self._folder_changed, ["folder"])
        self.param.watch(self._values_changed, VALUED_BY)
        self.param.watch(self._plan_changed, [*SIZED_BY, *LAID_BY, *VALUED_BY, *SPLIT_BY])
        self.param.watch(self._image_changed, ["image", "channel", "plane", *SIZED_BY])
        self.param.watch(self._view_changed, ["tile", "layout", *VALUED_BY])
        self.param.watch(self._empty_changed, ["layout", *EMPTIED_BY])
        self.param.watch(self._output_changed, ["working_dir"])
        self._values_changed()
        if self.folder:
            start(self.look_up_first)
        else:
            start(self.look_at_output)

    # ---- what can be chosen ----------------------------------------------------------------------------

    @property
    def info(self) -> PlaneInfo | None:
        """What the file of the image shown says."""
        if self.sources is None or self.image not in self.sources.names:
            return None
        return self.sources.infos[self.sources.names.index(self.image)]

    def factor(self) -> tuple[float, float] | None:
        """Return by how much the image shown is enlarged; None when that is not known."""
        try:
            return lay_out(self.info, self.settings)[0] if self.info is not None else None
        except ValueError:
            return None

    @property
    def tile_type(self) -> str:
        """Number type of the tiles of the image shown."""
        return tile_type(self.info, self.settings) if self.info is not None else self.dtype or "float32"

    def judged_types(self) -> dict[str, str]:
        """Why a number type cannot be chosen, by its name; empty for those that can."""
        if self.normalisation == "none":
            return {"": "", "uint8": "", "uint16": "", "float32": ""}
        reasons = judge_types(self.bounds)
        return {"": reasons["float32"], **reasons}

    def judged_formats(self) -> dict[str, str]:
        """Why a format cannot be chosen, by its ending; empty for those that can."""
        return judge_formats(self.tile_type, channels=self.info.colours if self.info is not None else 1)

    def _values_changed(self, *_: Any) -> None:
        """Leave choices that have become impossible."""
        try:
            types = self.judged_types()
        except ValueError:
            return
        if types[self.dtype]:
            self.dtype = next((name for name, reason in types.items() if not reason), "")
        formats = self.judged_formats()
        if formats[self.format]:
            self.note(f"Files are .tif now: {formats[self.format]}.")
            self.format = ".tif"

    # ---- finding images --------------------------------------------------------------------------------

    async def look_up(self) -> None:
        """Look at the folders, open the first image and draw the sample."""
        if not self.folders:
            self.param.update(sources=None, sample=[], opened=None, layout=None, plan=None, view=None, trouble="")
            self.job.param.update(words="", error="")
            return
        found = await self.job.run("Looking at the images", find_images, self.folders)
        if found is None:
            return
        self._dataset.clear()
        names = list(found.names)
        self.param.image.objects = names or [""]
        with self.held():
            shown = str(self.image)
            self.param.update(
                image=shown if shown in names else (names or [""])[0], sources=found, sample=[], report=None
            )
        self._values_changed()
        self._lay_out()
        if not names:
            found_words = "files there are no images that can be read" if len(found.problems) else "no image is there"
            self.job.error = f"Folders must hold TIFF, PNG or JPEG images; {found_words}."
            self.param.update(opened=None, view=None)
            return
        self.note(f"{count_of(len(names), 'image')} found in {', '.join(self.folders)}.")
        for warning in found.warnings:
            self.note(warning)
        await self.look_at_output()
        await self.open_image()
        sample = await self.job.run("Drawing the sample", make_sample, found, self.settings)
        if sample is not None and self.sources is found:
            self.sample = sample
            self.job.words = self.outcome()

    def _folder_changed(self, *_: Any) -> None:
        if not self._loading:
            start(self.look_up)

    @writes(ends_with_page=True)
    async def load_example(self) -> None:
        """Draw images of cells in a temporary folder, and show them."""
        folder = self.example_folder()
        draw = functools.partial(quiet(draw_images), folder, **EXAMPLE_IMAGES)
        if await self.job.run("Drawing images", draw) is None:
            return
        with self.held():
            self.param.update(
                folder=str(folder / "images"), working_dir=str(folder / "tiles"), tile_size=256, overlap=64
            )
        await self.look_up()

    # ---- looking at an image and its tiles -------------------------------------------------------------

    def _plan_changed(self, *_: Any) -> None:
        if not self._loading:
            self._lay_out()

    def _lay_out(self) -> None:
        """Lay tiles over the image shown, and count those of all images; nothing is read."""
        if self.sources is None:
            return
        how, layout, trouble = self.settings, None, ""
        try:
            if self.info is not None:
                layout = lay_out(self.info, how)[1]
        except ValueError as error:
            trouble = str(error)
        self.trouble = trouble
        if layout is None:
            self.param.update(layout=None, view=None, empty=None)
            self.plan = None
            return
        self.plan = make_plan(self.sources, how)
        tile = min(self.tile, len(layout) - 1)
        with self.held():
            self.tile = tile
        self.layout = layout
        if not self.job.busy:
            self.job.param.update(words=self.outcome(), error="")

    def _image_changed(self, event: Any, *_: Any) -> None:
        if self._loading or self.sources is None:
            return
        if event.name in ("image", "channel", "plane"):
            self.param.update(view=None, empty=None)
            self._values_changed()
            self._lay_out()
        start(self.open_image)

    async def open_image(self) -> None:
        """Read the image shown and bring it to its pixel size; it is kept for its tiles."""
        self._looks += 1
        number = self._looks
        if self.layout is None:
            self.opened = None
            return
        await asyncio.sleep(_SETTLED_S)  # while a number is being typed
        if number != self._looks or self.info is None or self.layout is None:
            return
        info, channel, plane, factor = key = self._wanted()
        if self.opened is not None and self.opened[0] == key:
            return
        read = functools.partial(quiet(OpenImage), info, channel=channel, plane=plane, factor=factor)
        image = await self.view_job.run(f"Reading {info.path.name}", read)
        if image is None:
            if not self.view_job.busy:
                self.opened = None
            return
        if number == self._looks:
            self.opened = (key, image)
            await self.look_at_tile()
            await self.look_for_empty()

    def pixels(self) -> OpenImage | None:
        """Return the image shown, when it is read and the tiles are laid over it."""
        if self.opened is None or self.layout is None:
            return None
        key, image = self.opened
        return image if key == self._wanted() and image.shape[:2] == self.layout.shape else None

    def _wanted(self) -> tuple[Any, ...]:
        """Return what tells the image shown from every other one."""
        how = self.settings
        return (self.info, how["channel"], how["plane"], self.factor())

    def _view_changed(self, *_: Any) -> None:
        if not self._loading and self.pixels() is not None:
            start(self.look_at_tile)

    async def look_at_tile(self) -> None:
        """Cut the tile looked at, and finish it as the export does."""
        self._views += 1
        number, how, image, layout = self._views, self.settings, self.pixels(), self.layout
        if image is None:
            return
        percentiles = how["percentiles"]
        try:
            dataset = await self._dataset_range(how)
            if how["normalisation"] == "global" and not image.knows(percentiles):
                find = functools.partial(quiet(image.range), percentiles)
                if await self.view_job.run("Finding the range of the image", find) is None:
                    return
            if number != self._views or (how["normalisation"] == "dataset" and dataset is None):
                return
            tile = min(self.tile, len(layout) - 1)
            view = await in_thread(view_tile, image, layout, tile, how, self.tile_type, dataset)
        except (ValueError, OSError) as error:
            self.view_job.error = str(error)
            return
        if number == self._views:
            self.view = view
            if self.view_job.error:
                self.view_job.error = ""

    async def _dataset_range(self, how: dict[str, Any]) -> Any:
        """Return the range of all images together, found once for each pair of percentiles."""
        if how["normalisation"] != "dataset":
            return None
        key = (self.sources, how["channel"], how["plane"], how["percentiles"])
        if self._dataset.get("key") != key:
            found = await self.view_job.run("Finding the range of all images", find_dataset_range, self.sources, how)
            if found is None:
                return None
            self._dataset.update(key=key, range=found)
        return self._dataset["range"]

    def _empty_changed(self, *_: Any) -> None:
        if not self._loading:
            start(self.look_for_empty)

    async def look_for_empty(self) -> None:
        """Find out which tiles of the image shown the export leaves out."""
        how, image, layout = self.settings, self.pixels(), self.layout
        if image is None or how["empty_below"] is None:
            self.empty = None
            return
        await asyncio.sleep(_SETTLED_S)
        asked = {name: how[name] for name in ("empty_below", "least_share", "padding")}
        if self.layout is not layout or any(self.settings[name] != value for name, value in asked.items()):
            return
        empty = await in_thread(image.find_empty, layout, **asked)
        if self.layout is layout and all(self.settings[name] == value for name, value in asked.items()):
            self.empty = empty

    def step(self, by: int) -> None:
        """Look at the next tile, or the one before."""
        if self.layout is not None:
            self.tile = (self.tile + by) % len(self.layout)

    # ---- writing ---------------------------------------------------------------------------------------

    def _output_changed(self, *_: Any) -> None:
        if not self._loading:
            start(self.look_at_output)

    async def look_at_output(self) -> None:
        """See what the output folder holds already."""
        if self.closed:
            return
        try:
            self.earlier = await in_thread(find_earlier, self.working_dir)
        except (ValueError, OSError) as error:
            self.earlier = None
            self.note(str(error))

    @writes
    async def export(self) -> None:
        """Write the tiles of all images."""
        if self.sources is None or not self.working_dir.strip():
            return
        work = functools.partial(export_tiles, self.sources, self.working_dir, **self.settings)
        done = await self.run_wide("Cutting", work, *self.folders, self.working_dir)
        if done is not None:
            self.exported = done
            summary = done.summary()
            said = f"{count_of(summary['tiles'], 'tile')} of {count_of(summary['images'], 'image')} in {done.folder}"
            if summary["new_images"] < summary["images"]:
                said += f", {summary['new_images']} of the images cut now"
            if summary["left_out"]:
                said += f", {summary['left_out']} empty ones left out"
            self.job.words = f"{said}."
            self.note(self.job.words)
            if len(done.problems):
                self.job.error = (
                    f"{count_of(len(done.problems), 'file')} could not be cut: {done.problems['error'].iloc[0]}"
                )
        await self.look_at_output()

    @writes
    async def remove(self) -> None:
        """Remove the tiles that the manifest in the output folder lists."""
        removed = await self.job.run("Removing tiles", quiet(remove_tiles), self.working_dir)
        if removed is not None:
            self.exported = None
            self.job.words = f"{count_of(len(removed), 'file')} removed from {self.working_dir}."
            self.note(self.job.words)
        await self.look_at_output()

    @writes
    async def merge(self) -> None:
        """Put the tiles of the output folder together again, and compare them with their sources."""
        done = await self.job.run(
            "Merging", merge_and_compare, self.working_dir, predictions=self.predictions, blending=self.blending
        )
        if done is not None:
            self.merged = done
            self.job.words = f"{count_of(len(done.rows), 'image')} merged in {done.folder}."
            self.note(self.job.words)

    @writes
    async def write_report(self) -> Path | None:
        """Write what is shown as one HTML file beside the tiles."""
        if self.sources is None or self.layout is None:
            return None
        folder = Path(self.working_dir)
        return await self.save_report(
            folder.parent / f"{folder.name}_report.html",
            write_tiles_report,
            self.sources,
            image=self.image,
            **self.settings,
        )

    def outcome(self) -> str:
        """Say in a line what is shown."""
        if self.layout is None or self.plan is None:
            return ""
        return f"{count_of(self.plan.tiles, 'tile')} from {count_of(self.plan.images, 'image')}."

    def empty_count(self) -> int:
        """Return how many tiles of the image shown are empty."""
        return 0 if self.empty is None else int(np.sum(self.empty))

    # ---- the same elsewhere ----------------------------------------------------------------------------

    def code(self) -> str:
        """Return the Python text that writes the tiles."""
        return python_text(self)

    def command(self) -> str:
        """Return the shell line that writes the tiles."""
        return shell_text(self)

    # ---- on a page -------------------------------------------------------------------------------------

    def sidebar(self) -> list[pn.viewable.Viewable]:
        """Return the controls."""
        return build_sidebar(self)

    def main(self) -> pn.viewable.Viewable:
        """Return the pictures and tables."""
        return build_main(self)


def build() -> pn.viewable.Viewable:
    """Return the served page, on the folders named by GRATICULE_IMAGES and GRATICULE_TILES."""
    images = os.environ.get("GRATICULE_IMAGES", "").split(os.pathsep)
    named = {"folder": "\n".join(filter(None, images)), "working_dir": os.environ.get("GRATICULE_TILES")}
    dashboard = TilesDashboard(**{name: value for name, value in named.items() if value}).sync_url()
    return build_page(dashboard, "Tiles", "tiles")


serve_page(__name__, "dashboards.tiles")
