"""Everything that leaves the instrument, into one folder."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.tasks import Progress, map_tasks
from analysis.texture._heat_map import write_heat_map
from analysis.texture._mosaic import read_mosaic
from analysis.texture._outputs import (
    Result,
    refuse_folder,
    write_geojson,
    write_label_images,
    write_patches,
    write_rois,
)
from analysis.texture._tile_set import sentence_of

OUTPUT_FORMATS: dict[str, str] = {
    "csv": "patches.csv: place, statistics, cluster or class of each patch",
    "labels": "labels: a TIFF of each tile whose pixels are the number of the cluster or class",
    "geojson": "geojson: outlines with their class, for QuPath",
    "rois": "rois: outlines for ImageJ's ROI manager (needs the package roifile)",
    "heat_map": "heat_maps: PNG pictures of the set with the clusters or classes, and with each statistic",
}
"""What can be written, and what it is."""
_USUAL = ("csv", "labels", "geojson", "heat_map")
_LONGEST_PX = 2000


@dataclass(frozen=True)
class Outputs:
    """Files that were written.

    Attributes
    ----------
    table
        One row a file: ``format, file``.
    problems
        One row a format that could not be written: ``file`` (its name), ``error``; and one a measured tile that could
        not be read any more and is black in the heat maps.
    settings
        The keyword arguments used.
    """

    table: pd.DataFrame
    problems: pd.DataFrame
    settings: dict[str, Any] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """Return the number of files of each format, and the number of problems."""
        return {
            "files": {name: int(count) for name, count in self.table["format"].value_counts(sort=False).items()},
            "problems": len(self.problems),
        }


def write_outputs(
    result: Result,
    folder: str | os.PathLike[str],
    *,
    formats: Sequence[str] = _USUAL,
    opacity: float = 0.45,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> Outputs:
    """Write clusters or classes in several formats; one that cannot be written does not stop the others.

    Parameters
    ----------
    result
        As `cluster_patches` or `correct_labels` returns it.
    folder
        Made when it is missing; not that of the tiles.
    formats
        Of `OUTPUT_FORMATS`. Each but the table has a folder of its own inside.
    opacity
        Of the heat maps' colours, 0 to 1.
    progress
        Called with formats written, formats, and words.
    cancel
        Stops the writing when set; files are whole or not there.

    Returns
    -------
    Outputs

    Raises
    ------
    ValueError
        When a format is none of these, or the folder is that of the tiles.
    analysis.tasks.Cancelled
        When it was stopped.
    """
    unknown = [name for name in formats if name not in OUTPUT_FORMATS]
    if isinstance(formats, str) or unknown or not formats:
        raise ValueError(f"formats must be a list of {', '.join(OUTPUT_FORMATS)}; got {formats!r}.")
    folder = Path(folder)
    refuse_folder(result.patches, folder)
    written, problems = [], []
    writers: dict[str, Callable[[], list[Path]]] = {
        "csv": lambda: [write_patches(result, folder / "patches.csv")],
        "labels": lambda: [*write_label_images(result, folder / "labels"), folder / "labels" / "labels.csv"],
        "geojson": lambda: write_geojson(result, folder / "geojson"),
        "rois": lambda: write_rois(result, folder / "rois"),
        "heat_map": partial(_write_heat_maps, result, folder / "heat_maps", opacity, problems),
    }
    chosen = [name for name in OUTPUT_FORMATS if name in formats]
    folder.mkdir(parents=True, exist_ok=True)
    loop = map_tasks(lambda name: writers[name](), chosen, workers=1, progress=progress, cancel=cancel, words="writing")
    for name, files, error in loop:
        if error is None:
            written += [(name, str(file)) for file in files]
        else:
            problems.append((name, sentence_of(getattr(error, "filename", None) or name, error)))
    return Outputs(
        pd.DataFrame(written, columns=["format", "file"], dtype=object),
        pd.DataFrame(problems, columns=["file", "error"], dtype=object),
        {"formats": chosen, "opacity": opacity},
    )


def _write_heat_maps(result: Result, folder: Path, opacity: float, problems: list[tuple[str, str]]) -> list[Path]:
    mosaic = read_mosaic(result.patches.tile_set, longest_px=_LONGEST_PX)
    known = set(result.patches.problems["file"])
    problems += [row for row in mosaic.problems.itertuples(index=False, name=None) if row[0] not in known]
    folder.mkdir(parents=True, exist_ok=True)
    kind = "clusters" if "cluster" in result.table.columns else "classes"
    made = {kind: None, **{f"statistic_{name}": name for name in result.patches.statistics}}
    return [
        write_heat_map(result, folder / f"{stem}.png", statistic=name, opacity=opacity, mosaic=mosaic)
        for stem, name in made.items()
    ]
