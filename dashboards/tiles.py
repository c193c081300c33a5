"""The tiles instrument as a page: look at images, lay tiles over them, see what they become, write them, merge them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import panel as pn
import param

from analysis.pixel_size import convert_length
from analysis.planes import PlaneInfo
from analysis.synthetic.tiles import EXAMPLE_IMAGES, draw_images
from analysis.tiles import Layout, Sources, export_tiles, find_images, judge_formats, judge_types, remove_tiles
from dashboards.support.dashboard import Dashboard, build_page, serve_page, writes
from dashboards.support.jobs import quiet, start
from dashboards.support.loading import in_thread
from dashboards.support.path_settings import ReadPath, ReadPaths, WorkFolder
from dashboards.support.statement import count_of
from dashboards.support.tiles_controls import build_sidebar
from dashboards.support.tiles_merge_work import merge_and_compare
from dashboards.support.tiles_plan import Plan, find_earlier, lay_out, make_plan, tile_type
from dashboards.support.tiles_report import write_tiles_report
from dashboards.support.tiles_text import python_text, shell_text
from dashboards.support.tiles_views import build_main
from dashboards.support.tiles_work import OpenImage, find_dataset_range, make_sample, view_tile

UNITS = ("nm", "µm", "mm", "cm", "m")
_SIZED_BY = ["calibrate", "size_from", "pixel_size", "unit", "target_um"]
_VALUED_BY = ["normalisation", "percentiles", "lower", "upper", "dtype", "format"]
_LAID_BY = ["tile_size", "overlap", "edges", "padding"]
_EMPTIED_BY = ["leave_out", "empty_below", "least_share_percent"]
_SPLIT_BY = ["split_images", "training_percent", "validation_percent", "seed"]
_DRAWN = ["image", "tile", "all_tiles"]
_SETTLED_S = 0.15


class TilesDashboard(Dashboard):
    """Images cut into calibrated, normalised tiles, in a notebook cell or as a served page.

    Parameters
    ----------
    **params
        Any setting below by name; ``folder`` may be a path.

    Examples
    --------
    >>> TilesDashboard(folder="/data/images", tile_size=256, overlap=32)  # doctest: +SKIP
    """

    in_url = (
        "folder", "channel", "plane", *_SIZED_BY, *_VALUED_BY, *_LAID_BY, *_EMPTIED_BY, *_SPLIT_BY, *_DRAWN,
        "masks", "labels", "working_dir", "predictions", "blending",
    )  # fmt: skip

    folder = ReadPaths(default="", label="Folders of images, one a line", doc="Files may be named too.")
    channel = param.Integer(default=1, bounds=(1, None), label="Channel")
    plane = param.Integer(default=1, bounds=(1, None), label="Plane")
    image = param.Selector(default="", objects=[""], label="Image shown", check_on_set=False)

    calibrate = param.Boolean(default=False, label="Bring to one pixel size")
    size_from = param.Selector(default="files", objects={"as the files say": "files", "typed": "typed"}, label="Size")
    pixel_size = param.Number(default=0.5, bounds=(0, None), inclusive_bounds=(False, True), label="Pixel size")
    unit = param.Selector(default="µm", objects=list(UNITS), label="Unit")
    target_um = param.Number(
        default=0.325, bounds=(0, None), inclusive_bounds=(False, True), label="Pixels of the tiles (µm)"
    )

    normalisation = param.Selector(
        default="none",
        objects={
            "as they are": "none",
            "stretched, each tile": "local",
            "stretched, each image": "global",
            "stretched, all images together": "dataset",
        },
        label="Values",
    )
    percentiles = param.Range(default=(0.0, 100.0), bounds=(0, 100), label="From percentile to percentile")
    lower = param.Number(default=0.0, label="Lower bound")
    upper = param.Number(default=1.0, label="Upper bound")
    dtype = param.Selector(
        default="", objects={"automatic": "", "uint8": "uint8", "uint16": "uint16", "float32": "float32"},
        label="Number type",
    )  # fmt: skip
    format = param.Selector(
        default=".tif", objects={"TIFF (.tif)": ".tif", "PNG (.png)": ".png", "JPEG (.jpg)": ".jpg"}, label="Files"
    )

    tile_size = param.Integer(default=512, bounds=(8, 16384), label="Tile (px)")
    overlap = param.Integer(default=128, bounds=(0, 8192), label="Overlap (px)")
    edges = param.Selector(
        default="shift",
        objects={"last tiles shifted back": "shift", "filled up": "pad", "left out": "drop"},
        label="Edges",
    )
    padding = param.Selector(default="reflect", objects={"mirrored": "reflect", "zero": "zero"}, label="Filled with")
    all_tiles = param.Boolean(default=True, label="Show all tiles")
    tile = param.Integer(default=0, bounds=(0, None), label="Tile looked at, from 0")
    leave_out = param.Boolean(default=False, label="Leave out empty tiles")
    empty_below = param.Number(default=1000.0, label="Something is at or above")
    least_share_percent = param.Number(default=1.0, bounds=(0, 100), label="in at least (% of the tile)")
    split_images = param.Boolean(default=False, label="Split for training")
    training_percent = param.Number(default=80, bounds=(0, 100), label="Training (%)")
    validation_percent = param.Number(default=10, bounds=(0, 100), label="Validation (%)")
    seed = param.Integer(default=0, bounds=(0, None), label="Seed")

    masks = ReadPath(default="", label="Folder of masks", doc="Of the same names; cut along with the images.")
    labels = ReadPath(default="", label="Folder of YOLO labels", doc="Text of the same names: boxes or outlines.")
    working_dir = WorkFolder(default="tiles", label="Output folder", doc="Not a folder of images, nor in one.")
    predictions = ReadPath(default="", label="Folder of predictions", doc="Tiles of the same names, or empty.")
    blending = param.Selector(default="gradient", objects=["flat", "gradient", "gaussian"], label="Blending")

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
        for name in ("folder", "working_dir", "predictions", "masks", "labels"):
            if name in params:
                params[name] = os.fspath(params[name])
        super().__init__(**params)
        self.view_job = self.new_job()
        self.view_job.param.watch(lambda event: self.note(event.new), "error")
        self._loading, self._views, self._looks, self._dataset = False, 0, 0, {}
        self.param.watch(self._folder_changed, ["folder"])
        self.param.watch(self._values_changed, _VALUED_BY)
        self.param.watch(self._plan_changed, [*_SIZED_BY, *_LAID_BY, *_VALUED_BY, *_SPLIT_BY])
        self.param.watch(self._image_changed, ["image", "channel", "plane", *_SIZED_BY])
        self.param.watch(self._view_changed, ["tile", "layout", *_VALUED_BY])
        self.param.watch(self._empty_changed, ["layout", *_EMPTIED_BY])
        self.param.watch(self._output_changed, ["working_dir"])
        self._values_changed()
        if self.folder:
            start(self.look_up_first)
        else:
            start(self.look_at_output)

    # ---- settings --------------------------------------------------------------------------------------

    @property
    def folders(self) -> list[str]:
        """Folders and files named."""
        return [line.strip() for line in self.folder.splitlines() if line.strip()]

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
    def bounds(self) -> tuple[float, float]:
        """Lowest and highest value of stretched tiles."""
        return (self.lower, self.upper)

    @property
    def settings(self) -> dict[str, Any]:
        """Keyword arguments of `export_tiles` as they stand."""
        several = self.sources.infos if self.sources is not None else ()
        typed = self.calibrate and self.size_from == "typed"
        share = [self.training_percent / 100, self.validation_percent / 100]
        return {
            "tile_size": self.tile_size,
            "overlap": self.overlap,
            "edges": self.edges,
            "padding": self.padding,
            "pixel_size_um": convert_length(self.pixel_size, self.unit) if typed else None,
            "target_pixel_size_um": self.target_um if self.calibrate else None,
            "normalisation": self.normalisation,
            "percentiles": tuple(map(float, self.percentiles)),
            "bounds": tuple(map(float, self.bounds)),
            "dtype": self.dtype or None,
            "format": self.format,
            "channel": self.channel if any(info.channels > 1 for info in several) else None,
            "plane": self.plane if any(info.planes > 1 for info in several) else None,
            "masks": self.masks.strip() or None,
            "labels": self.labels.strip() or None,
            "empty_below": self.empty_below if self.leave_out else None,
            "least_share": round(self.least_share_percent / 100, 6),
            "split": (*share, round(1 - sum(share), 6)) if self.split_images else None,
            "seed": self.seed,
        }

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
        with self._held():
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

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        """Change settings without starting anything."""
        before, self._loading = self._loading, True
        try:
            yield
        finally:
            self._loading = before

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
        with self._held():
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
        with self._held():
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
