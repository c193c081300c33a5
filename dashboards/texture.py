"""The texture instrument as a page: measure the patches of a set of tiles, cluster them, look, correct and export."""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
import tempfile
import time
import weakref
from typing import Any

import panel as pn
import param

from analysis.synthetic.texture import EXAMPLE_TILE_SET, draw_tile_set
from analysis.texture import (
    Clusters,
    Embedding,
    Mosaic,
    Patches,
    Search,
    TileSet,
    cluster_patches,
    embed_patches,
    find_tile_set,
    measure_patches,
    read_mosaic,
    search_settings,
)
from dashboards.support.dashboard import build_page, serve_page, writes
from dashboards.support.jobs import quiet, start
from dashboards.support.loading import in_thread
from dashboards.support.statement import count_of
from dashboards.support.texture_controls import build_sidebar
from dashboards.support.texture_settings import CLUSTERED_BY, LOOKED_UP_BY, MEASURED_BY, PLANES
from dashboards.support.texture_views import build_main
from dashboards.support.texture_words import outcome_words, python_text, shell_text, tiles_words
from dashboards.support.texture_work import Kept, Latest, find_partly_dark, key_of_grid, key_of_settings
from dashboards.support.texture_writing import TextureOutputs

_EXAMPLE = {"grid_rows": 32, "grid_columns": 32, "leave_out": ["blank", "dark", "partly_dark"], "divide_by": "grid"}
"""With patches cut by the border left out, the clusters of the sample tiles are what was drawn."""


class TextureDashboard(TextureOutputs):
    """Patches of a set of tiles that look alike, in a notebook cell or as a served page.

    Parameters
    ----------
    **params
        Any setting below by name; ``folder``, ``output`` and ``model`` may be paths.

    Examples
    --------
    >>> TextureDashboard(folder="/data/tiles", grid_rows=32, grid_columns=32)  # doctest: +SKIP
    """

    tile_set = param.ClassSelector(class_=TileSet, default=None, doc="The tiles found.")
    mosaic = param.ClassSelector(class_=Mosaic, default=None, doc="The set as one picture.")
    patches = param.ClassSelector(class_=Patches, default=None, doc="Their patches, with what was measured.")
    found = param.ClassSelector(class_=Clusters, default=None, doc="The clusters of these patches.")
    trouble = param.String(default="", doc="Why the patches could not be clustered or drawn; empty when they could.")
    clustered_ms = param.Number(default=0.0, doc="How long clustering took.")
    embedding = param.ClassSelector(class_=Embedding, default=None, doc="A place in a plane for each patch.")
    searched = param.ClassSelector(class_=Search, default=None, doc="The search made last.")
    partly_dark = param.Array(default=None, doc="Whether dark pixels touch a patch that counts; None when not known.")
    selected = param.List(default=[], item_type=int, doc="Rows of the table of patches that are marked.")
    tab = param.Integer(default=0, bounds=(0, None), doc="The tab that is open.")

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.search_job = self.new_job()
        self.place_job = self.new_job()
        for job in (self.search_job, self.place_job):
            job.param.watch(lambda event: self.note(event.new), "error")
        self._kept, self._measuring, self._clustering, self._looking = Kept(), Latest(), Latest(), Latest()
        self._placing = asyncio.Lock()
        self._finding, self._missed = 0, False
        self._measured: Patches | None = None
        self._labels_of: dict[str, dict[tuple[str, int, int], str]] = {}
        self._labels_elsewhere: dict[tuple[str, int, int], str] = {}
        self._opened, self._grid, self._plane, self._looked = "", "", "", ""
        self._searched_with: dict[str, Any] = {}
        self._store = tempfile.mkdtemp(prefix="graticule-texture-")
        weakref.finalize(self, shutil.rmtree, self._store, True)
        self.offer_choices()
        self.param.watch(self._when_free(self.look_up), LOOKED_UP_BY)
        self.param.watch(self._when_free(self.measure), [*MEASURED_BY, "scheduler"])
        self.param.watch(self._when_free(self.cluster), CLUSTERED_BY)
        self.param.watch(self._when_free(self.embed), ["across", "up"])
        self.param.watch(self._when_free(self.look_closer), ["flat"])
        self.param.watch(self.offer_choices, ["patches", "correction"])
        if self.folder:
            start(self.look_up_first)

    def _when_free(self, act: Any) -> Any:
        """Return a callback that starts an act, unless settings are being changed together."""

        def changed(*_: Any) -> None:
            if not self._loading:
                start(act)

        return changed

    def close(self) -> None:
        """Stop everything, and remove what was kept on the disk."""
        super().close()
        shutil.rmtree(self._store, ignore_errors=True)

    # ---- tiles -----------------------------------------------------------------------------------------

    async def look_up(self) -> None:
        """Find the tiles, read them as one picture, and measure their patches."""
        if not self.folder.strip():
            self._forget()
            self.param.update(tile_set=None, mosaic=None)
            self.job.param.update(words="", error="")
            return
        # measuring the tiles of before must not take the place of looking for others
        self._finding += 1
        try:
            found = await self._find()
        finally:
            self._finding -= 1
        if self._finding:
            return
        error = self.job.error
        if found or self._missed:
            await self.measure()
        if not found and error:
            self.job.error = error

    async def _find(self) -> bool:
        folder = self.folder
        look = functools.partial(find_tile_set, folder, **self.tile_settings)
        tiles = await self.job.run("Looking for tiles", look)
        mosaic = None if tiles is None else await self.job.run("Reading tiles", read_mosaic, tiles)
        if mosaic is None:
            return False
        self._forget()
        self._opened = folder
        self._kept.keep_mosaic(None, mosaic)
        self.param.update(tile_set=tiles, mosaic=mosaic)
        self.note(tiles_words(tiles))
        return True

    def _forget(self) -> None:
        """Forget what belongs to tiles that are gone; only labels are kept, until their tiles come back."""
        self._kept.clear()
        self._put_labels_aside()
        self._grid, self._plane, self._looked, self._measured = "", "", "", None
        self._learns, self._undone = False, []
        self.param.update(
            patches=None, found=None, trouble="", embedding=None, searched=None, correction=None, similar=None,
            labels={}, selected=[], exported=None, report=None, partly_dark=None, undoable=0,
        )  # fmt: skip

    def _put_labels_aside(self) -> None:
        if self._grid:
            self._labels_of[self._grid] = {**self._labels_elsewhere, **self.labels}
        self._labels_elsewhere = {}

    def _labels_kept(self, measured: Patches) -> dict[tuple[str, int, int], str]:
        """Return the labels of patches that were put aside; those of tiles that are not there now wait on."""
        kept = self._labels_of.get(self._grid, {})
        there = {*measured.table["file"].astype(str), *measured.table["name"].astype(str)}
        self._labels_elsewhere = {key: name for key, name in kept.items() if key[0] not in there}
        if self._labels_elsewhere:
            waiting = count_of(len(self._labels_elsewhere), "label")
            self.note(f"{waiting} of tiles that are not there now: kept until they are.")
        return {key: name for key, name in kept.items() if key[0] in there}

    # ---- patches ---------------------------------------------------------------------------------------

    async def measure(self) -> None:
        """Measure the patches and cluster them; of several requests the last one wins."""
        if self.tile_set is None:
            return
        if self._finding:
            self._missed = True
            return
        if self._measuring.busy:
            self.job.cancel()
        await self._measuring.run(self._measure_once)
        await self.cluster()

    async def _measure_once(self) -> None:
        self._missed = bool(self._finding)
        if self._finding:
            return
        tiles, how = self.tile_set, self.settings
        if how["shading"] == "":
            self.job.error = "Type the file of the flatfield model, or choose another shading."
            return
        key = key_of_settings(how, tiles)
        measured = self._kept.find_patches(key)
        if measured is None:
            # workers elsewhere do not see the folder of this session
            store = None if self.scheduler.strip() else self._store
            work = functools.partial(measure_patches, tiles, **how, store=store)
            measured = await self.run_wide("Measuring patches", work, self.folder)
            if measured is None:
                return
            self._kept.keep_patches(key, measured)
        elif self.job.error and not self.job.busy:
            self.job.param.update(words="", error="")
        if tiles is not self.tile_set:
            return
        self._measured = measured
        if self.components > len(measured.statistics):
            with self.held():
                self.components = len(measured.statistics)

    async def look_closer(self) -> None:
        """Take the light off the picture of the tiles too, and see which patches the dark border may cut."""
        await self._looking.run(self._look_closer_once)

    async def _look_closer_once(self) -> None:
        tiles, patches = self.tile_set, self.patches
        looked = f"{id(patches)} {self.flat}"
        if patches is None or looked == self._looked:
            return
        self._looked = looked
        light = patches.shading if self.flat else None
        mosaic = self._kept.find_mosaic(light)
        try:
            if mosaic is None:
                mosaic = await in_thread(read_mosaic, tiles, shading=light)
                if tiles is self.tile_set:
                    self._kept.keep_mosaic(light, mosaic)
            if tiles is self.tile_set:
                self.mosaic = mosaic
            partly = await in_thread(find_partly_dark, patches, self._store)
        except (ValueError, OSError) as error:
            self.note(str(error))
            return
        if patches is self.patches:
            self.partly_dark = partly

    # ---- clusters --------------------------------------------------------------------------------------

    async def cluster(self) -> None:
        """Cluster the patches measured; no tile is read. Of several requests the last one wins."""
        await self._clustering.run(self._cluster_once)
        # what may take longer keeps no clusters waiting
        await asyncio.gather(self.embed(), self.look_closer())

    async def _cluster_once(self) -> None:
        measured, how = self._measured, self.cluster_settings
        if measured is None:
            return
        begun, error = time.perf_counter(), ""
        found = self._kept.find_clusters(measured, how)
        if found is None:
            try:
                found = await in_thread(cluster_patches, measured, **how)
            except ValueError as wrong:
                error = str(wrong)
            else:
                self._kept.keep_clusters(how, found)
        if measured is not self._measured:
            return
        self._show(measured, found, error, 1000 * (time.perf_counter() - begun))

    def _show(self, measured: Patches, found: Clusters | None, error: str = "", took_ms: float = 0.0) -> None:
        """Take patches and clusters together; where the patches are the same, the last good clusters stay."""
        if measured is self.patches:
            self.param.update(found=found or self.found, trouble=error, clustered_ms=took_ms)
            return
        changed: dict[str, Any] = {"clustered_ms": took_ms}
        grid = f"{self._opened} {key_of_grid(measured)}"
        if grid != self._grid:
            self._put_labels_aside()
            self._grid, self._undone = grid, []
            changed |= {"labels": self._labels_kept(measured), "selected": [], "undoable": 0}
        self.param.update(
            patches=measured, found=found, trouble=error, correction=None, similar=None, partly_dark=None, **changed
        )  # fmt: skip
        self._learn_again()

    async def embed(self) -> None:
        """Give each patch a place in the plane that the scatter shows, when it has changed; the last request counts."""
        patches, how = self.patches, {"scale": self.scale, "seed": self.seed}
        method = next((name for name, axes in PLANES.items() if {self.across, self.up} & set(axes)), None)
        plane = f"{id(patches)} {method} {how}"
        if patches is None or method is None or plane == self._plane:
            return
        self._plane = plane
        place = functools.partial(quiet(embed_patches), patches, method=method, **how)
        try:
            if method == "umap":
                async with self._placing:  # one at a time: it takes long and cannot be stopped
                    if plane != self._plane:
                        return
                    made = await self.place_job.run("Placing the patches by UMAP", place)
            else:
                made = await in_thread(place, progress=None, cancel=None)
        except ValueError:
            made = None  # too few patches: the clusters say so already
        if plane == self._plane:
            self.embedding = made

    # ---- search ----------------------------------------------------------------------------------------

    async def search(self) -> None:
        """Cluster with every combination that is searched, and score them."""
        if self._measured is None:
            self.search_job.error = "There is nothing to search yet: open a folder of tiles first."
            return
        with_ = {name: getattr(self, name) for name in (*MEASURED_BY, *CLUSTERED_BY, "preset")}
        how, measured = self.search_settings, self._measured
        found = await self.search_job.run("Searching", functools.partial(search_settings, measured, **how))
        if found is not None and measured.tile_set is self.tile_set:
            self._searched_with = with_
            self.searched = found
            self.search_job.words = f"{len(found.cells):,} settings tried."
            self.note(self.search_job.words)

    def open_cell(self, row: int) -> None:
        """Show the clusters of a cell of the search at once, as it was searched.

        Parameters
        ----------
        row
            Of the search's table.
        """
        if self.searched is None or not 0 <= row < len(self.searched.cells):
            return
        found, entry = self.searched.cells[row], self.searched.table.iloc[row]
        if found is None:
            self.search_job.error = f"That cell is empty: {entry['error']}"
            return
        changed = dict(self._searched_with)
        if self.searched.settings["grids"] is not None:
            changed |= {
                "divide_by": "grid", "grid_rows": int(entry["rows"]), "grid_columns": int(entry["columns"]),
            }  # fmt: skip
        changed |= {"clusters": int(entry["clusters"]), "components": int(entry["components"])}
        with self.held():
            self.param.update(**changed)
        self._kept.keep_patches(key_of_settings(self.settings, self.tile_set), found.patches)
        self._kept.keep_clusters(self.cluster_settings, found)
        self._measured = found.patches
        self._show(found.patches, found)
        self.tab = 0
        for act in (self.embed, self.look_closer):
            start(act)

    # ---- the rest --------------------------------------------------------------------------------------

    @writes(ends_with_page=True)
    async def load_example(self) -> None:
        """Draw tiles in a temporary folder and show them."""
        folder = self.example_folder()
        draw = functools.partial(quiet(draw_tile_set), folder, **EXAMPLE_TILE_SET)
        if await self.job.run("Drawing tiles", draw) is None:
            return
        with self.held():
            self.param.update(folder=str(folder / "tiles"), output=str(folder / "texture"), **_EXAMPLE)
        await self.look_up()

    def outcome(self) -> str:
        """Say in a line what is shown."""
        return outcome_words(self)

    def code(self) -> str:
        """Return the Python text that gives the same table."""
        return python_text(self)

    def command(self) -> str:
        """Return the shell line that gives the same table."""
        return shell_text(self)

    def sidebar(self) -> list[pn.viewable.Viewable]:
        """Return the controls."""
        return build_sidebar(self)

    def main(self) -> pn.viewable.Viewable:
        """Return the pictures and tables."""
        return build_main(self)


def build() -> pn.viewable.Viewable:
    """Return the served page, on the folder named by GRATICULE_TEXTURE."""
    named = {"folder": os.environ.get("GRATICULE_TEXTURE")}
    dashboard = TextureDashboard(**{name: value for name, value in named.items() if value}).sync_url()
    return build_page(dashboard, "Texture", "texture")


serve_page(__name__, "dashboards.texture")
