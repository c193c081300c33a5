"""One image cut into files of tiles, with its mask and its labels."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from analysis.files import fingerprint, whole_file
from analysis.planes import PlaneInfo, open_plane
from analysis.tasks import Cancelled
from analysis.tiles._annotations import cut_labels, format_labels, read_labels
from analysis.tiles._calibration import calibrated_shape, cut_into_bands, find_factor, open_calibrated, sides_um
from analysis.tiles._choices import check_choice
from analysis.tiles._cutting import Pixels, cut_bands
from analysis.tiles._histogram import Range, find_range
from analysis.tiles._layout import Layout, make_layout
from analysis.tiles._manifest import Cut, remove_files
from analysis.tiles._normalisation import convert_pixels, normalise
from analysis.tiles._writing import write_tile


@dataclass(frozen=True)
class Job:
    """An image to be cut: what it is, what its tiles are called, and how."""

    info: PlaneInfo
    name: str
    split: str
    how: Mapping[str, Any]
    dataset: Range | None


def cut_image(job: Job, *, folder: Path, cancel: threading.Event | None) -> Cut:
    """Cut an image and write its tiles; all of them are there afterwards, or none."""
    cut = _plan(job)
    companions = _Companions(job, folder, cut.layout, cut.factor)
    cut = replace(cut, folder=companions.place("images"))
    written: list[str] = []
    try:
        with (
            open_plane(job.info.path, channel=cut.channel, plane=cut.plane) as opened,
            open_calibrated(opened, cut.factor, anti_aliasing=job.how["anti_aliasing"]) as pixels,
        ):
            cut = _write_tiles(pixels, cut, job, folder, written, cancel)
        companions.write(cut.left_out)
    except BaseException:
        # tiles of half an image belong to no manifest
        remove_files(folder, [*written, *companions.written])
        raise
    return replace(cut, companions=tuple(companions.written))


def _plan(job: Job) -> Cut:
    """How an image is to be cut, before any of its pixels is read."""
    how, info = job.how, job.info
    factor = find_factor(info, pixel_size_um=how["pixel_size_um"], target_pixel_size_um=how["target_pixel_size_um"])
    shape = calibrated_shape(info, factor)
    layout = _layout(info, shape, how)
    channel, plane = (number + 1 for number in info.index(how["channel"], how["plane"]))
    sides = sides_um(info, how["pixel_size_um"])
    dtype = _tile_type(info, how)
    check_choice(None, dtype, how["format"], channels=info.colours)
    return Cut(
        name=job.name,
        source=str(info.path),
        fingerprint=fingerprint(info.path),
        channel=channel,
        plane=plane,
        source_shape=(info.rows, info.columns),
        shape=shape,
        factor=factor,
        pixel_size_um=tuple(side / by for side, by in zip(sides, factor, strict=True)) if sides is not None else None,
        tile_size=layout.tile_size,
        overlap=layout.overlap,
        edges=layout.edges,
        padding=how["padding"],
        low=None,
        high=None,
        bounds=tuple(how["bounds"]) if how["normalisation"] != "none" else None,
        dtype=dtype,
        format=how["format"],
        split=job.split,
        how={name: plain(value) for name, value in how.items()},
    )


def _write_tiles(
    pixels: Pixels, cut: Cut, job: Job, folder: Path, written: list[str], cancel: threading.Event | None
) -> Cut:
    """Write the tiles of an image that are not empty; return how it was cut."""
    how, layout = job.how, cut.layout
    whole = _range(pixels, job)
    ranges, empty = [], []
    tiles = cut_bands(cut_into_bands(pixels, layout.tile_size[0]), layout, padding=how["padding"])
    for number, tile in enumerate(tiles):
        if cancel is not None and cancel.is_set():
            raise Cancelled("Stopped while cutting; finished images are kept.")
        if _is_empty(tile, how):
            empty.append(number)
            ranges.append((None, None))
            continue
        between = whole or _local_range(tile, how)
        ranges.append((between.low, between.high) if between else (None, None))
        finished = _finish(tile, between, cut.dtype, how)
        line = _line(cut, layout, number)
        write_tile(folder / cut.file(number), finished, pixel_size_um=cut.pixel_size_um, info=line)
        written.append(cut.file(number))
    return replace(
        cut,
        low=whole.low if whole else None,
        high=whole.high if whole else None,
        ranges=tuple(ranges) if how["normalisation"] == "local" else (),
        left_out=tuple(empty),
    )


def _layout(info: PlaneInfo, shape: tuple[int, int], how: Mapping[str, Any]) -> Layout:
    try:
        return make_layout(shape, tile_size=how["tile_size"], overlap=how["overlap"], edges=how["edges"])
    except ValueError as error:
        raise ValueError(f"{info.path}: {error}") from None


def _tile_type(info: PlaneInfo, how: Mapping[str, Any]) -> str:
    if how["dtype"] is not None:
        return how["dtype"]
    if how["normalisation"] != "none":
        return "float32"
    return "uint8" if info.dtype == "bool" else info.dtype


def _range(pixels: Pixels, job: Job) -> Range | None:
    if job.how["normalisation"] == "dataset":
        return job.dataset
    return find_range(pixels, percentiles=job.how["percentiles"]) if job.how["normalisation"] == "global" else None


def _local_range(tile: np.ndarray, how: Mapping[str, Any]) -> Range | None:
    return find_range(tile, percentiles=how["percentiles"]) if how["normalisation"] == "local" else None


def _finish(tile: np.ndarray, between: Range | None, dtype: str, how: Mapping[str, Any]) -> np.ndarray:
    if between is None:
        return convert_pixels(tile, dtype)
    return normalise(tile, between.low, between.high, bounds=how["bounds"], dtype=dtype)


def _is_empty(tile: np.ndarray, how: Mapping[str, Any]) -> bool:
    if how["empty_below"] is None:
        return False
    grey = tile if tile.ndim == 2 else tile.max(axis=2)
    return float((grey >= how["empty_below"]).mean()) < how["least_share"]


def _line(cut: Cut, layout: Layout, number: int) -> str:
    top, left, *_ = layout.corners[number].tolist()
    return f"source={cut.source}\ntile={number}\ny={top}\nx={left}"


class _Companions:
    """Masks and labels that are cut along with an image."""

    def __init__(self, job: Job, folder: Path, layout: Layout, factor: tuple[float, float]):
        self._job, self._folder, self._layout, self._factor = job, folder, layout, factor
        self.written: list[str] = []
        how, stem = job.how, job.info.path.stem
        # before anything is written, so that an image without its mask leaves nothing behind
        self._mask = _find_mask(Path(how["masks"]), stem) if how["masks"] else None
        self._labels = _read_labels(Path(how["labels"]), stem) if how["labels"] else None
        if self._mask is not None:
            self._check_mask()

    def place(self, kind: str) -> str:
        """Sub-folder of images, masks or labels, as training programs look for them."""
        several = self._job.how["masks"] or self._job.how["labels"]
        return "/".join(filter(None, [kind if several else "", self._job.split]))

    def _check_mask(self) -> None:
        info = self._job.info
        with open_plane(self._mask) as mask:
            if mask.shape[:2] != (info.rows, info.columns):
                raise ValueError(
                    f"{self._mask} must have the shape of {info.path.name}, {info.rows} x {info.columns}; "
                    f"it has {mask.shape[0]} x {mask.shape[1]}."
                )

    def write(self, left_out: Sequence[int]) -> None:
        """Write masks and labels of the tiles that were written."""
        if self._mask is not None:
            with (
                open_plane(self._mask) as mask,
                open_calibrated(mask, self._factor, order=0, anti_aliasing=False) as pixels,
            ):
                bands = cut_into_bands(pixels, self._layout.tile_size[0])
                for number, tile in enumerate(cut_bands(bands, self._layout, padding="zero")):
                    if number not in left_out:
                        file = self._name(
                            "masks", number, ".tif" if mask.dtype != np.uint8 else _mask_ending(self._mask)
                        )
                        write_tile(self._folder / file, convert_pixels(tile, mask.dtype))
        if self._labels is not None:
            for number, corner in enumerate(self._layout.corners.tolist()):
                if number not in left_out:
                    cut = cut_labels(self._labels, self._layout.shape, corner)
                    with whole_file(self._folder / self._name("labels", number, ".txt"), "w", durable=False) as handle:
                        handle.write(format_labels(cut))

    def _name(self, kind: str, number: int, ending: str) -> str:
        file = f"{self.place(kind)}/{self._job.name}_{number:03d}{ending}"
        self.written.append(file)
        return file


def _mask_ending(mask: Path) -> str:
    return ".png" if mask.suffix.lower() == ".png" else ".tif"


def _find_mask(folder: Path, stem: str) -> Path:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_file() and Path(entry.name).stem == stem and not entry.name.startswith("."):
            return Path(entry.path)
    raise ValueError(f"{folder} must hold a mask named {stem}; none is there.")


def _read_labels(folder: Path, stem: str) -> list[tuple[int, np.ndarray]]:
    path = folder / f"{stem}.txt"
    return read_labels(path) if os.path.exists(path) else []


def plain(value: Any) -> Any:
    """Return a setting as the manifest gives it back: tuples for lists."""
    return tuple(plain(item) for item in value) if isinstance(value, (list, tuple)) else value
