"""Images cut into files of tiles, with a manifest; stopped and started again without doing anything twice."""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from analysis.files import fingerprint, sweep
from analysis.planes import Plane, open_plane
from analysis.provenance import versions
from analysis.tasks import Cancelled, Progress, map_tasks
from analysis.tiles._choices import check_choice
from analysis.tiles._cutting import Padding
from analysis.tiles._histogram import Range, find_range
from analysis.tiles._image import Job, cut_image, plain
from analysis.tiles._layout import Edges, make_layout
from analysis.tiles._manifest import (
    COLUMNS,
    MANIFEST,
    Cut,
    read_manifest,
    remove_files,
    write_manifest,
    write_manifest_table,
)
from analysis.tiles._sources import Sources, find_images
from analysis.tiles._split import split_images

Normalisation = Literal["none", "local", "global", "dataset"]
NORMALISATIONS = ("none", "local", "global", "dataset")
_SAVE_EVERY_S = 2.0
_SHOWN = 3


@dataclass(frozen=True)
class Export:
    """Tiles that were written.

    Attributes
    ----------
    folder
        Where they are.
    cuts
        How each image was cut.
    new_images
        How many were cut now; the others were there already.
    problems
        One row a file that could not be cut: ``file, error``.
    settings
        The keyword arguments used.
    """

    folder: Path
    cuts: tuple[Cut, ...]
    new_images: int
    problems: pd.DataFrame
    settings: dict[str, Any] = field(default_factory=dict)

    @functools.cached_property
    def table(self) -> pd.DataFrame:
        """One row a tile, as in ``tiles.csv``.

        ``tile`` (file, empty when left out), ``source, name, number, row, column, row_px, column_px, row_end_px,
        column_end_px`` (in the calibrated image), ``row_um, column_um, pixel_size_y_um, pixel_size_x_um, scale_y,
        scale_x, low, high`` (values that became the bounds), ``dtype, split, left_out, fingerprint``.
        """
        tables = [cut.table() for cut in self.cuts]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS)

    def summary(self) -> dict[str, Any]:
        """Return the numbers of images, tiles, tiles left out and problems, and tiles by split."""
        table = self.table
        written = table[~table["left_out"].astype(bool)]
        splits = {name: int(count) for name, count in written["split"].value_counts().items() if name}
        return {
            "images": len(self.cuts),
            "new_images": self.new_images,
            "tiles": len(written),
            "left_out": len(table) - len(written),
            "problems": len(self.problems),
            **({"split": splits} if splits else {}),
            "folder": str(self.folder),
        }


def export_tiles(
    sources: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    out_dir: str | os.PathLike[str],
    *,
    tile_size: int = 512,
    overlap: int = 128,
    edges: Edges = "shift",
    padding: Padding = "reflect",
    pixel_size_um: float | None = None,
    target_pixel_size_um: float | None = None,
    anti_aliasing: bool | None = None,
    normalisation: Normalisation = "none",
    percentiles: tuple[float, float] = (0, 100),
    bounds: tuple[float, float] = (0, 1),
    dtype: str | None = None,
    format: str = ".tif",
    channel: int | None = None,
    plane: int | None = None,
    masks: str | os.PathLike[str] | None = None,
    labels: str | os.PathLike[str] | None = None,
    empty_below: float | None = None,
    least_share: float = 0.01,
    split: tuple[float, float, float] | None = None,
    seed: int = 0,
    replace: bool = False,
    workers: int | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> Export:
    """Cut images into tiles of one size and one pixel size, and write them with a manifest.

    A second run with the same settings cuts only images that are new or have changed. Tiles appear whole or not at
    all, and nothing is overwritten that was not written before by the same manifest.

    Parameters
    ----------
    sources
        Folders of images, or image files.
    out_dir
        Where tiles go; neither a source folder nor inside one.
    tile_size
        Rows and columns of a tile.
    overlap
        Pixels that a tile shares with the one before, at least; up to half a tile.
    edges
        ``"shift"`` moves the last tiles back into the image, ``"pad"`` fills them up, ``"drop"`` leaves out what does
        not fill a tile. Images smaller than a tile are filled up, or left out with ``"drop"``.
    padding
        What tiles are filled up with: the image mirrored, or ``"zero"``.
    pixel_size_um
        Size of the images' pixels, in place of what the files say.
    target_pixel_size_um
        Size of the tiles' pixels; None leaves images as they are.
    anti_aliasing
        Whether to smooth before shrinking; when None, only when shrinking.
    normalisation
        Over what values are stretched to the bounds: each tile (``"local"``), each image (``"global"``), all images
        together (``"dataset"``), or not at all (``"none"``).
    percentiles
        Percentages of the pixels that lie below the lower and the upper end; 0 and 100 are minimum and maximum.
    bounds
        Lowest and highest value of normalised tiles.
    dtype
        Number type of the tiles; float32 when values are stretched, that of the image when not.
    format
        ``".tif"``, ``".png"`` or ``".jpg"``.
    channel, plane
        Which one to cut, from 1; needed where there are several.
    masks
        Folder of masks or label images of the same names, which are cut alike without smoothing or stretching.
    labels
        Folder of YOLO text files of the same names, boxes or outlines; an image without a file has no objects.
    empty_below
        A tile is left out when too few of its pixels reach this value, in the image's own units.
    least_share
        Share of pixels, 0 to 1, that must reach it.
    split
        Shares of images for training, validation and test; tiles of an image stay together.
    seed
        Of the split.
    replace
        Remove the tiles of an earlier export with other settings first.
    workers
        Images at a time; all cores when None.
    executor
        Used in place of our own threads, and left open; see `analysis.tasks.map_tasks`.
    progress
        Called with images done, images, and words.
    cancel
        Stops the export when set; finished images are kept.

    Returns
    -------
    Export
        A file that cannot be cut is a row of its problems; the others are cut.

    Raises
    ------
    ValueError
        When settings do not go together, the output folder is a source folder or in one, there is no image, or an
        earlier export with other settings is there.
    OSError
        When the output folder cannot be written.
    analysis.tasks.Cancelled
        When it was stopped.
    """
    how = {
        "tile_size": tile_size, "overlap": overlap, "edges": edges, "padding": padding, "pixel_size_um": pixel_size_um,
        "target_pixel_size_um": target_pixel_size_um, "anti_aliasing": anti_aliasing, "normalisation": normalisation,
        "percentiles": list(percentiles), "bounds": list(bounds), "dtype": dtype, "format": format,
        "channel": channel, "plane": plane, "masks": _text(masks), "labels": _text(labels),
        "empty_below": empty_below, "least_share": least_share, "split": split and list(split), "seed": seed,
    }  # fmt: skip
    _check(how)
    folder = Path(out_dir)
    found = sources if isinstance(sources, Sources) else find_images(sources, progress=progress, cancel=cancel)
    _check_place(folder, found, (masks, labels))
    if not len(found) and found.problems.empty:
        raise ValueError(f"sources must hold images; none is in {', '.join(found.settings['sources'])}.")
    before = _earlier(folder, how, replace)
    splits = split_images(found.names, split, seed=seed) if split is not None else dict.fromkeys(found.names, "")
    dataset = _dataset_range(found, how, executor, cancel) if normalisation == "dataset" else None
    keeper = _Keeper(
        folder, how, before, {str(info.path): name for info, name in zip(found.infos, found.names, strict=True)}
    )
    todo = [Job(info, name, splits[name], how, dataset) for info, name in zip(found.infos, found.names, strict=True)]
    todo, done = keeper.sort_out(todo)
    problems = [tuple(row) for row in found.problems.itertuples(index=False)]
    # an event does not travel to other processes
    work = functools.partial(cut_image, folder=folder, cancel=cancel if executor is None else None)
    try:
        for job, cut, error in map_tasks(
            work, todo, workers=workers, executor=executor, progress=progress, cancel=cancel, words="cutting"
        ):
            if error is None:
                keeper.add(cut)
            elif isinstance(error, Cancelled):
                raise error
            else:
                problems.append((str(job.info.path), _sentence(job.info.path, error)))
    finally:
        sweep(folder, below=True)  # of workers that were killed; first, for it makes room
        keeper.write()
    write_manifest_table(folder, keeper.cuts)
    table = pd.DataFrame(problems, columns=["file", "error"], dtype=object)
    return Export(folder, tuple(keeper.cuts), len(keeper.cuts) - done, table, how)


# ------------------------------------------------------------------------------------------------ before


def _check(how: Mapping[str, Any]) -> None:
    """Refuse settings that do not go together before anything is read."""
    if how["normalisation"] not in NORMALISATIONS:
        raise ValueError(f"normalisation must be one of {', '.join(NORMALISATIONS)}; got {how['normalisation']!r}.")
    make_layout((1, 1), tile_size=how["tile_size"], overlap=how["overlap"], edges="pad")
    if how["normalisation"] != "none":
        check_choice(how["bounds"], how["dtype"] or "float32", how["format"])
    elif how["dtype"] is not None:
        check_choice(None, how["dtype"], how["format"])
    if not 0 <= how["least_share"] <= 1:
        raise ValueError(f"least_share must be from 0 to 1; got {how['least_share']}.")


def _check_place(folder: Path, found: Sources, others: Sequence[str | os.PathLike[str] | None]) -> None:
    """Refuse an output folder that is, or lies in, a folder that is read."""
    real = Path(os.path.realpath(folder))
    read = {Path(os.path.realpath(info.path)).parent for info in found.infos}
    read |= {Path(os.path.realpath(path)) for path in found.settings["sources"] if os.path.isdir(path)}
    read |= {Path(os.path.realpath(path)) for path in others if path is not None}
    for source in sorted(read):
        if real.is_relative_to(source):
            raise ValueError(
                f"out_dir must lie outside of the folders that are read; {folder} is {source} or in it. "
                "Choose another folder."
            )
    if os.path.exists(real) and not os.path.isdir(real):
        raise ValueError(f"out_dir must be a folder; {folder} is a file.")


def _earlier(folder: Path, how: dict[str, Any], replace: bool) -> tuple[Cut, ...]:
    """Images cut before; with other settings they are in the way, and removed when they may be."""
    if not os.path.exists(folder / MANIFEST):
        return ()
    cuts = read_manifest(folder)
    other = [name for name in how if cuts and cuts[0].how.get(name) != plain(how[name])]
    if not other:
        return cuts
    if not replace:
        raise ValueError(
            f"{folder} must be free of tiles with other settings; it has an export with another {', '.join(other)}. "
            "Choose another folder, or set replace=True, which removes the tiles listed there and nothing else."
        )
    remove_files(folder, [file for cut in cuts for file in cut.files()])
    return ()


def _dataset_range(
    found: Sources, how: Mapping[str, Any], executor: Executor | None, cancel: threading.Event | None
) -> Range:
    """Range over all images together, of their pixels before they are calibrated; one worker reads them all."""
    if executor is None:
        return _range_of(found, how, cancel)
    measure = functools.partial(_range_of, how=how, cancel=None)
    _, measured, error = next(map_tasks(measure, [found], executor=executor, cancel=cancel))
    if error is not None:
        raise error
    return measured


def _range_of(found: Sources, how: Mapping[str, Any], cancel: threading.Event | None) -> Range:
    return find_range(_EachPlane(found, how, cancel), percentiles=how["percentiles"])


class _EachPlane:
    """Planes of all images, one open at a time, as often as they are asked for."""

    def __init__(self, found: Sources, how: Mapping[str, Any], cancel: threading.Event | None):
        self._found, self._how, self._cancel = found, how, cancel

    def __iter__(self) -> Iterator[Plane]:
        for info in self._found.infos:
            if self._cancel is not None and self._cancel.is_set():
                raise Cancelled("Stopped before cutting.")
            with open_plane(info.path, channel=self._how["channel"], plane=self._how["plane"]) as plane:
                yield plane


# ------------------------------------------------------------------------------------------------ keeping


class _Keeper:
    """The manifest while it grows."""

    def __init__(self, folder: Path, how: dict[str, Any], before: Sequence[Cut], sources: Sequence[str]):
        self._folder, self._how = folder, how
        self._before = {os.path.abspath(cut.source): cut for cut in before}
        self._order = {source: number for number, source in enumerate(sources)}
        self.cuts: list[Cut] = []
        self._written = 0.0

    def sort_out(self, jobs: list[Job]) -> tuple[list[Job], int]:
        """Keep images that were cut before and have not changed; remove the tiles of those that have."""
        todo = []
        ours = {file for cut in self._before.values() for file in cut.files()}
        for job in jobs:
            # typed from another folder or from the root, it is the same image
            cut = self._before.get(os.path.abspath(job.info.path))
            if cut is not None and self._is_current(cut, job):
                self.cuts.append(cut)
            else:
                todo.append(job)
        kept = {file for cut in self.cuts for file in cut.files()}
        remove_files(self._folder, sorted(ours - kept))
        self._refuse_foreign(todo)
        # from here on the folder is ours: what a killed run leaves is written over by the next one
        self.write()
        return todo, len(self.cuts)

    def _is_current(self, cut: Cut, job: Job) -> bool:
        same = cut.name == job.name and cut.split == job.split and cut.fingerprint == fingerprint(job.info.path)
        if job.dataset is not None:
            same = same and (cut.low, cut.high) == (job.dataset.low, job.dataset.high)
        return same and all(os.path.exists(self._folder / file) for file in cut.files())

    def _refuse_foreign(self, todo: Sequence[Job]) -> None:
        """Refuse to write over files of a folder that was never ours."""
        if self._before or not os.path.isdir(self._folder) or os.path.exists(self._folder / MANIFEST):
            return
        names = {f"{job.name}_000{self._how['format']}" for job in todo}
        there = sorted(name for name in names if os.path.exists(self._folder / name))
        if there:
            shown = ", ".join(there[:_SHOWN])
            raise ValueError(
                f"{self._folder} must not hold files with the names of tiles; {shown} is there, and no manifest of "
                "ours lists it. Choose another folder."
            )

    def add(self, cut: Cut) -> None:
        """Remember an image that was cut."""
        self.cuts.append(cut)
        if time.monotonic() - self._written > _SAVE_EVERY_S:
            self.write()

    def write(self) -> None:
        """Write the manifest as it stands."""
        self.cuts.sort(key=lambda cut: self._order.get(cut.source, len(self._order)))
        write_manifest(self._folder, self.cuts, self._how, versions())
        self._written = time.monotonic()


def _text(path: str | os.PathLike[str] | None) -> str | None:
    return None if path is None else os.fspath(path)


def _sentence(path: Path, error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or path}: {error.strerror}."
    text = " ".join(str(error).split())
    return text if str(path) in text else f"{path}: {text}"
