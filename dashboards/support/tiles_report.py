"""The tiles instrument's report: images, layout, values and settings in one file that opens offline."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.provenance import describe_inputs, versions
from analysis.tiles import Sources
from dashboards.support.report import Report
from dashboards.support.tiles_plan import lay_out, make_plan, tile_type
from dashboards.support.tiles_plots import plot_grid, plot_histogram, plot_image
from dashboards.support.tiles_words import (
    images_table,
    layout_words,
    plan_words,
    range_words,
    size_words,
    sources_words,
)
from dashboards.support.tiles_work import (
    OpenImage,
    count_values,
    find_dataset_range,
    make_sample,
    png,
    to_grey,
    view_tile,
)

_SHOWN_TILES = 6
_A_ROW = 4
_LISTED_FILES = 300


def write_tiles_report(path: str | os.PathLike[str], sources: Sources, *, image: str = "", **how: Any) -> Path:
    """Write the report of how images are cut.

    Parameters
    ----------
    path
        The HTML file.
    sources
        The images.
    image
        Name of the image whose tiles are shown; the first when empty.
    **how
        Keywords of `export_tiles`, every one that has to do with layout, pixel size and values.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ValueError
        When there is no image, or tiles cannot be laid over it.
    """
    if not len(sources):
        raise ValueError(f"A report needs at least one image; got none in {', '.join(sources.settings['sources'])}.")
    name = image if image in sources.names else sources.names[0]
    info = sources.infos[sources.names.index(name)]
    factor, layout = lay_out(info, how)
    plan = make_plan(sources, how)
    dtype = tile_type(info, how)
    report = Report(
        "Tiles of microscope images",
        {
            "images": plan.images,
            "tiles": plan.tiles,
            "space on disk": size_words(plan.size_bytes),
            "tile": f"{layout.tile_size[0]} x {layout.tile_size[1]} px",
            "overlap": f"{layout.overlap[0]} px",
            "number type": dtype,
        },
        {"sources": sources.settings["sources"], **how},
        versions(),
        describe_inputs([info.path for info in sources.infos[:_LISTED_FILES]]),
    )
    said = [sources_words(sources), plan_words(plan, format=how["format"]), *sources.warnings, *plan.problems]
    report.add_section("Images", "\n\n".join(said), *_sample(sources, how), images_table(sources))
    opened = OpenImage(
        info, channel=how["channel"], plane=how["plane"], factor=factor, anti_aliasing=how.get("anti_aliasing")
    )
    try:
        empty = None
        if how["empty_below"] is not None:
            asked = {key: how[key] for key in ("empty_below", "least_share", "padding")}
            empty = opened.find_empty(layout, **asked)
        left_out = f" {int(empty.sum())} of them are empty and left out (ochre)." if empty is not None else ""
        report.add_section(
            "Layout",
            f"{name}: {layout_words(layout)}.{left_out}",
            plot_image(opened.preview, layout.shape, title=name) * plot_grid(layout, empty),
        )
        _add_values(report, sources, opened, layout, how, dtype, empty)
    finally:
        opened.close()
    if len(sources.problems):
        report.add_section("Left out", "What could not be used, and why.", sources.problems)
    return report.write(path)


def _sample(sources: Sources, how: dict[str, Any]) -> list[Any]:
    pictures = [content for _, content in make_sample(sources, how) if content]
    return [pictures[start : start + _A_ROW] for start in range(0, min(len(pictures), 2 * _A_ROW), _A_ROW)]


def _add_values(
    report: Report, sources: Sources, opened: OpenImage, layout: Any, how: dict[str, Any], dtype: str, empty: Any
) -> None:
    """Histogram with what becomes the bounds, and a few tiles as they are written."""
    dataset = None
    if how["normalisation"] == "dataset":
        dataset = find_dataset_range(sources, how, progress=lambda *_: None, cancel=threading.Event())
    kept = [number for number in range(len(layout)) if empty is None or not empty[number]]
    chosen = kept[:: max(1, -(-len(kept) // _SHOWN_TILES))][:_SHOWN_TILES]
    views = [view_tile(opened, layout, number, how, dtype, dataset) for number in chosen]
    whole = views[0].between if views and how["normalisation"] in ("global", "dataset") else None
    ends = (float(pd.Series(whole.low).min()), float(pd.Series(whole.high).max())) if whole is not None else None
    text = range_words(whole, how["normalisation"], how["bounds"])
    if how["normalisation"] == "local":
        text = f"Each tile is stretched to {how['bounds'][0]:g} to {how['bounds'][1]:g} for itself."
    counts, edges = count_values(opened.sample)
    tiles = [png(to_grey(view.after, how["bounds"] if view.between is not None else opened.seen)) for view in views]
    rows = [tiles[start : start + 3] for start in range(0, len(tiles), 3)]
    report.add_section(
        "Values",
        f"{text} Heights of the histogram are logarithmic.",
        plot_histogram(counts, edges, ends, title=f"Values of {opened.info.path.name}"),
    )
    numbers = ", ".join(str(number + 1) for number in chosen)
    report.add_section("Tiles", f"Tiles {numbers} of {len(layout)}, as they are written.", *rows)
