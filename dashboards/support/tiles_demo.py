"""The tiles part of ``graticule demo``."""

from __future__ import annotations

from pathlib import Path

import analysis
from analysis.synthetic.tiles import EXAMPLE_IMAGES, draw_images
from analysis.tiles import export_tiles, find_images, merge_images
from dashboards.support.acts import Run
from dashboards.support.demo import Demo, draw_once
from dashboards.support.tiles_report import write_tiles_report
from dashboards.support.tiles_words import REPORT

DEMO_TILES = {"tile_size": 256, "overlap": 64, "normalisation": "global"}
"""Keywords of `export_tiles` for the demonstration."""


def make_tiles_demo(folder: Path, run: Run) -> Demo:
    """Draw images of cells, cut them into tiles, merge the tiles, and write it all down.

    Parameters
    ----------
    folder
        A new or empty folder, or one of an earlier demonstration, whose results are replaced.
    run
        Tells progress and hears a request to stop.

    Raises
    ------
    ValueError
        When the folder holds other data.
    """
    drawn = {"graticule": analysis.__version__, **EXAMPLE_IMAGES}
    images, results = folder / "drawn" / "images", folder / "results"
    draw_once(folder / "drawn", drawn, run, "drawing sample images", _draw)
    found = find_images(images, **run.keywords)
    cut = export_tiles(found, results / "tiles", **DEMO_TILES, replace=True, **run.keywords)
    merged = merge_images(results / "tiles", results / "merged", replace=True, **run.keywords)
    run.progress(0, 1, "writing the report")
    report = write_tiles_report(results / REPORT, found, **cut.settings)
    run.progress(1, 1, "writing the report")
    made = [
        ("sample images", images),
        ("masks and boxes of their cells", folder / "drawn" / "masks"),
        ("report, opens without a network", report),
        ("tiles", cut.folder),
        ("where each tile lies", cut.folder / "tiles.csv"),
        ("images merged from the tiles", results / "merged"),
    ]
    opened = {"GRATICULE_IMAGES": str(images.resolve()), "GRATICULE_TILES": str((results / "tiles").resolve())}
    return Demo(opened, made, {"tiles": cut.summary(), "merged": merged.summary()})


def _draw(folder: Path) -> list[str]:
    draw_images(folder, **EXAMPLE_IMAGES)
    return ["images", "masks", "labels"]
