"""What the commands of the exposures instrument write: tables, lists of bad files, pictures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.exposures import (
    BeamShiftClusters,
    Calibration,
    Duplicates,
    Session,
    SessionImages,
    save_montage,
    write_bad_files,
    write_exposure_list,
    write_tables,
)
from analysis.tables import write_table

OUT = Path("duplicates")
"""What the names of the files of a run begin with, unless another beginning is given."""


def with_ending(root: Path, ending: str) -> Path:
    """Return the name of a file that starts like the others of a run; in a folder they start as by default."""
    root = root / OUT if os.path.isdir(root) else root
    return root.with_name(root.name + ending)


def save_calibration(calibration: Calibration, root: Path) -> list[Path]:
    """Write holes and orientations of a calibration, with a picture of the lattice."""
    # matplotlib takes a second to import
    from dashboards.support.exposures_figures import save_lattice

    files = [write_table(calibration.holes, with_ending(root, "_holes.csv"))]
    if len(calibration.table):
        files.append(write_table(calibration.table, with_ending(root, "_orientations.csv")))
    if np.isfinite(calibration.residual_um):
        files.append(save_lattice(calibration, with_ending(root, "_lattice.png")))
    return files


def save_clusters_of(session: Session, clusters: BeamShiftClusters, root: Path) -> list[Path]:
    """Write clusters and the distances of their centres, with a picture."""
    from dashboards.support.exposures_figures import save_clusters

    names = [str(number) for number in range(len(clusters.centres))]
    distances = pd.DataFrame(clusters.distances, columns=names)
    distances.insert(0, "cluster", names)
    return [
        write_table(clusters.table, with_ending(root, "_clusters.csv")),
        write_table(distances, with_ending(root, "_distances.csv")),
        save_clusters(session, clusters, with_ending(root, "_beam_shifts.png")),
    ]


def write_lists(
    found: Duplicates, session: Session, root: Path, *, rawdata: Path | None = None, predose: Any = None
) -> tuple[list[Path], list[str]]:
    """Write the lists of bad files and the tables; return the files, and what was not found."""
    root = with_ending(root, "")
    lists = write_bad_files(found, root, folder=session.folder, rawdata=rawdata)
    files = [
        *lists.files,
        *write_exposure_list(found, root, rawdata=rawdata),
        *write_tables(found, root, predose=predose),
    ]
    return files, list(lists.problems)


def draw_montage(found: Duplicates, images: SessionImages, root: Path, files: list[Path], *, halved: bool) -> list[str]:
    """Draw the pairs when there are any, and add the file; return why not."""
    if not found.bad:
        return []
    try:
        files.append(save_montage(with_ending(root, ".png"), found, images, resize=halved))
    except ValueError as error:
        return [str(error)]
    return []
