"""The texture part of ``graticule demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from sklearn.metrics import adjusted_rand_score

import analysis
from analysis.synthetic.texture import CLASSES, EXAMPLE_TILE_SET, draw_tile_set
from analysis.texture import (
    OUTPUT_FORMATS,
    Patches,
    cluster_patches,
    correct_labels,
    find_tile_set,
    measure_patches,
    save_labels,
    write_outputs,
)
from dashboards.support.acts import Run
from dashboards.support.demo import Demo, draw_once
from dashboards.support.texture_command import REPORT
from dashboards.support.texture_report import write_texture_report

DEMO_PATCHES: dict[str, Any] = {"grid": (32, 32), "leave_out": ("blank", "dark", "partly_dark")}
"""Keywords of `measure_patches` for the demonstration: patches cut by the border would be a cluster of their own."""
LABELLED = {"film": 8, "hole": 6, "crystal": 6}
"""How many patches of each class have a label in the demonstration."""


def make_texture_demo(folder: Path, run: Run) -> Demo:
    """Draw a set of tiles, cluster its patches, correct them by a few labels, and write it all down.

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
    drawn, results = folder / "drawn", folder / "results"
    known = {"graticule": analysis.__version__, **EXAMPLE_TILE_SET}
    draw_once(drawn, known, run, "drawing sample tiles", _draw)
    tiles = find_tile_set(drawn / "tiles", **run.keywords)
    patches = measure_patches(tiles, **DEMO_PATCHES, store=results / "store", **run.keywords)
    found = cluster_patches(patches, clusters=3)
    truth = true_classes(patches, drawn / "labels")
    labels = save_labels(choose_labels(patches, truth), results / "labels.csv", patches=patches)
    corrected = correct_labels(found, choose_labels(patches, truth))
    formats = [name for name in OUTPUT_FORMATS if name != "rois"]
    written = write_outputs(found, results, formats=formats, **run.keywords)
    run.progress(0, 1, "writing the report")
    report = write_texture_report(results / REPORT, found, correction=corrected)
    run.progress(1, 1, "writing the report")
    counted = ~patches.table["left_out"].to_numpy()
    agreement = {
        "clusters_agree_with_truth": adjusted_rand_score(truth[counted], found.numbers[counted]),
        "corrected_agree_with_truth": adjusted_rand_score(truth[counted], corrected.numbers[counted]),
    }
    made = [
        ("sample tiles", drawn / "tiles"),
        ("what each of their pixels truly is", drawn / "labels"),
        ("report, opens without a network", report),
        ("patches with statistics and clusters", results / "patches.csv"),
        ("classes of 20 patches, as if given by hand", labels),
        ("heat maps", results / "heat_maps"),
        ("outlines for QuPath", results / "geojson"),
        ("label images", results / "labels"),
    ]
    opened = {"GRATICULE_TEXTURE": str((drawn / "tiles").resolve())}
    return Demo(opened, made, {**found.summary(), **agreement, "outputs": written.summary()})


def true_classes(patches: Patches, folder: Path) -> np.ndarray:
    """Return the number of the class that most pixels of each patch truly have.

    Parameters
    ----------
    patches
        Of drawn tiles.
    folder
        Of the images of their classes, under the tiles' names.
    """
    images = {name: tifffile.imread(folder / name) for name in patches.table["name"].unique()}
    columns = ["name", "row_px", "column_px", "rows_px", "columns_px"]
    found = []
    for name, top, left, rows, across in patches.table[columns].itertuples(index=False):
        inside = images[name][top : top + rows, left : left + across]
        found.append(np.bincount(inside.ravel(), minlength=len(CLASSES)).argmax())
    return np.array(found)


def choose_labels(patches: Patches, truth: np.ndarray) -> dict[tuple[str, int, int], str]:
    """Return the true class of a few patches, as a person would give it, spread over the tiles.

    Parameters
    ----------
    patches
        Of drawn tiles.
    truth
        Number of the class of each patch.
    """
    rng = np.random.default_rng(0)
    counted = ~patches.table["left_out"].to_numpy()
    labels = {}
    for name, count in LABELLED.items():
        of_class = np.flatnonzero(counted & (truth == CLASSES.index(name)))
        for row in rng.choice(of_class, min(count, len(of_class)), replace=False):
            entry = patches.table.iloc[row]
            labels[entry["file"], int(entry["row"]), int(entry["column"])] = name
    return labels


def _draw(folder: Path) -> list[str]:
    draw_tile_set(folder, **EXAMPLE_TILE_SET)
    return ["tiles", "labels"]
