"""What an export will do, counted without reading a pixel: tiles, disk space, splits, and what is there already."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from analysis.planes import PlaneInfo
from analysis.tiles import Layout, Sources, find_factor, make_layout, read_manifest, resampled_shape, split_images


@dataclass(frozen=True)
class Plan:
    """What an export will write.

    Attributes
    ----------
    images, tiles, size_bytes
        Numbers of images and tiles, and the bytes of their pixels.
    problems
        Sentences about images that cannot be cut.
    split
        Images by split.
    """

    images: int = 0
    tiles: int = 0
    size_bytes: int = 0
    problems: tuple[str, ...] = ()
    split: Mapping[str, int] = field(default_factory=dict)


def calibrated_size(info: PlaneInfo, factor: tuple[float, float]) -> tuple[int, int]:
    """Return rows and columns of an image after it was enlarged by a factor."""
    return (info.rows, info.columns) if factor == (1.0, 1.0) else resampled_shape((info.rows, info.columns), factor)


def lay_out(info: PlaneInfo, how: Mapping[str, Any]) -> tuple[tuple[float, float], Layout]:
    """Return by how much an image is enlarged, and where its tiles lie.

    Raises
    ------
    ValueError
        When the pixel size is not known, or the tiles do not fit.
    """
    factor = find_factor(info, pixel_size_um=how["pixel_size_um"], target_pixel_size_um=how["target_pixel_size_um"])
    return factor, make_layout(
        calibrated_size(info, factor), tile_size=how["tile_size"], overlap=how["overlap"], edges=how["edges"]
    )


def tile_type(info: PlaneInfo, how: Mapping[str, Any]) -> str:
    """Return the number type of an image's tiles."""
    return how["dtype"] or ("float32" if how["normalisation"] != "none" else info.dtype)


def make_plan(sources: Sources, how: Mapping[str, Any]) -> Plan:
    """Count what an export of all images will write.

    Parameters
    ----------
    sources
        The images.
    how
        Keywords of `export_tiles`.
    """
    known: dict[Any, int | str] = {}
    tiles, size, problems = 0, 0, []
    for info in sources.infos:
        key = (info.rows, info.columns, info.pixel_size.sides_um)
        if key not in known:
            try:
                known[key] = len(lay_out(info, how)[1])
            except ValueError as error:
                known[key] = str(error)
        if isinstance(known[key], str):
            problems.append(known[key])
            continue
        tiles += known[key]
        size += known[key] * how["tile_size"] ** 2 * info.colours * np.dtype(tile_type(info, how)).itemsize
    split: dict[str, int] = {}
    if how["split"] is not None and len(sources):
        try:
            for name in split_images(sources.names, how["split"], seed=how["seed"]).values():
                split[name] = split.get(name, 0) + 1
        except ValueError as error:
            problems.append(str(error))
    return Plan(len(sources), tiles, size, tuple(dict.fromkeys(problems)), split)


@dataclass(frozen=True)
class Earlier:
    """Tiles that are in the output folder already.

    Attributes
    ----------
    images, files
        How many images were cut, and how many files were written for them.
    settings
        Keywords that they were cut with.
    """

    images: int
    files: int
    settings: Mapping[str, Any]

    def other(self, how: Mapping[str, Any]) -> list[str]:
        """Return the names of settings that are not as they were then."""
        return [name for name, value in how.items() if name in self.settings and self.settings[name] != _plain(value)]


def find_earlier(folder: str) -> Earlier | None:
    """Look at what an output folder holds.

    Parameters
    ----------
    folder
        The output folder.

    Returns
    -------
    Earlier or None
        None when nothing of ours is there.

    Raises
    ------
    ValueError
        When its manifest is none of ours.
    """
    if not os.path.exists(os.path.join(folder, "tiles.json")):
        return None
    cuts = read_manifest(folder)
    return Earlier(len(cuts), sum(len(cut.files()) for cut in cuts), cuts[0].how if cuts else {})


def _plain(value: Any) -> Any:
    return tuple(_plain(item) for item in value) if isinstance(value, (list, tuple)) else value
