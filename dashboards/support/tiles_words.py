"""Sentences of the tiles page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis.planes import PlaneInfo
from analysis.tiles import Layout, Range, Sources
from dashboards.support.statement import count_of
from dashboards.support.tiles_plan import Earlier, Plan

REPORT = "tiles_report.html"
MICROMETRE = "µm"
_SPLITS = {"train": "training", "validation": "validation", "test": "test"}


def size_words(size_bytes: float) -> str:
    """Return a number of bytes as people say it."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.3g} {unit}"
    return f"{size_bytes:.0f} bytes"


def sources_words(sources: Sources | None) -> str:
    """Say how many images there are and what shape they have."""
    if sources is None:
        return "No images yet."
    if not len(sources):
        return "There is no image."
    said = [count_of(len(sources), "image")]
    info = sources.infos[0]
    if sources.shape is not None:
        each = "each " if len(sources) > 1 else ""
        said.append(f"{each}{sources.shape[0]:,} × {sources.shape[1]:,} px, {info.dtype}{_colour(info)}")
    else:
        said.append(f"of {len({(one.rows, one.columns) for one in sources.infos})} shapes")
    if len(sources.problems):
        said.append(f"{count_of(len(sources.problems), 'file')} could not be used")
    return ", ".join(said) + "."


def _colour(info: PlaneInfo) -> str:
    return ", colour" if info.colours == 3 else ""


def images_table(sources: Any) -> pd.DataFrame:
    """Return the table of images as it is shown: without paths and without columns that say nothing."""
    table = sources.table.drop(columns=["file"])
    boring = [
        name
        for name, nothing in (("channels", 1), ("planes", 1), ("colours", 1), ("warnings", ""))
        if (table[name] == nothing).all()
    ]
    return table.drop(columns=boring)


def file_size_words(info: PlaneInfo | None) -> str:
    """Say what the file tells of its pixel size, and where."""
    if info is None:
        return ""
    sides = info.pixel_size.sides_um
    if sides is None:
        return f"{info.path.name}: {info.pixel_size.source}. Type the size."
    shown = length_words(sides)
    warned = "".join(f" {warning[:1].upper()}{warning[1:]}." for warning in info.pixel_size.warnings)
    return f"{shown}, from {info.pixel_size.source}.{warned}"


def length_words(sides: tuple[float, float]) -> str:
    """Return height and width of a pixel, once when they are the same."""
    y, x = sides
    return f"{y:.4g} {MICROMETRE}" if abs(y / x - 1) < 1e-6 else f"{y:.4g} × {x:.4g} {MICROMETRE}"


def factor_words(info: PlaneInfo | None, factor: tuple[float, float] | None, layout: Layout | None) -> str:
    """Say by how much the image shown is enlarged and how large it becomes."""
    if info is None or factor is None or layout is None:
        return ""
    if factor == (1.0, 1.0):
        return f"Stays as it is: {info.rows:,} × {info.columns:,} px."
    by = f"{factor[0]:.4g}" if abs(factor[0] / factor[1] - 1) < 1e-6 else f"{factor[0]:.4g} and {factor[1]:.4g}"
    return f"Times {by}: {info.rows:,} × {info.columns:,} px become {layout.shape[0]:,} × {layout.shape[1]:,} px."


def layout_words(layout: Layout) -> str:
    """Say how many tiles an image has, and what becomes of its edges."""
    found = layout.summary()
    rows, columns = layout.grid
    said = f"{count_of(len(layout), 'tile')} ({rows} × {columns})"
    if found["lost_px"]:
        said += f", {1 - found['covered_share']:.1%} of the image is left out at the edges"
    elif found["padded_px"]:
        said += f", {count_of(int(layout.table['padded'].sum()), 'tile')} filled up at the edges"
    return said


def plan_words(plan: Plan, *, format: str) -> str:
    """Say what an export writes."""
    about = "about " if format == ".tif" else "at most "
    said = f"{count_of(plan.tiles, 'tile')} from {count_of(plan.images, 'image')}, {about}{size_words(plan.size_bytes)}"
    if plan.split:
        shares = ", ".join(f"{plan.split.get(name, 0)} {word}" for name, word in _SPLITS.items())
        said += f". Images: {shares}"
    return f"{said}."


def earlier_words(earlier: Earlier | None, how: Mapping[str, Any], images: int) -> str:
    """Say what the output folder holds already, and what an export does about it."""
    if earlier is None:
        return "Nothing of ours is there yet."
    there = "1 image is there already" if earlier.images == 1 else f"{earlier.images:,} images are there already"
    there += f", {count_of(earlier.files, 'file')}"
    other = earlier.other(how)
    if other:
        names = ", ".join(name.replace("_", " ") for name in other)
        return f"{there}, cut with another {names}. Choose another folder, or remove these tiles first."
    return f"{there}; only new or changed ones of the {count_of(images, 'image')} are cut."


def tile_words(layout: Layout, number: int, *, empty: bool = False) -> str:
    """Say which tile is looked at and where it lies."""
    top, left, bottom, right = layout.corners[number].tolist()
    place = f"rows {top:,} to {bottom:,}, columns {left:,} to {right:,}"
    return f"Tile {number + 1:,} of {len(layout):,}: {place}" + (" (empty, left out)." if empty else ".")


def range_words(between: Range | None, normalisation: str, bounds: tuple[float, float]) -> str:
    """Say which values become the bounds."""
    if between is None:
        return "Values stay as they are."
    whose = {"local": "this tile", "global": "this image", "dataset": "all images"}[normalisation]
    low, high = (float(np.min(end)) for end in (between.low, between.high))
    return f"{low:.5g} to {high:.5g} of {whose} become {bounds[0]:g} to {bounds[1]:g}."
