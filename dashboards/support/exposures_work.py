"""What the exposures page does in a thread: read and calibrate a session, read pictures, write files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from analysis.exposures import (
    assign_optics_groups,
    assume_beam_shift,
    calibrate_beam_shift,
    cluster_beam_shifts,
    save_montage,
    write_bad_files,
    write_exposure_list,
    write_optics_star,
    write_tables,
)
from analysis.images import read_preview
from analysis.tasks import Cancelled

PICTURE_PX = 320
"""Longer side of pictures on the page."""
SPACING_BOUNDS_UM = (0.2, 50.0)
"""Hole spacings that any film has; far smaller ones would be sought for hours."""
_LARGEST_K, _SMALLEST_AREA = 1e6, 1e-6
_CLUSTERED = 4000


def parse_matrix(text: str) -> np.ndarray:
    """Return four typed numbers as a matrix, row by row.

    Parameters
    ----------
    text
        Numbers parted by commas, semicolons, spaces or lines; brackets are passed over.

    Returns
    -------
    (2, 2) array
        µm on the stage per unit of beam shift.

    Raises
    ------
    ValueError
        When these are not four finite numbers, or the matrix cannot be inverted.

    Examples
    --------
    >>> parse_matrix("[[21.7, 11], [11, -21.7]]").tolist()
    [[21.7, 11.0], [11.0, -21.7]]
    """
    parts = text.translate(str.maketrans("[](),;", "      ")).split()
    try:
        numbers = np.array([float(part) for part in parts])
    except ValueError:
        numbers = np.array([])
    wrong = len(numbers) != 4 or not (np.abs(numbers) <= _LARGEST_K).all()
    if wrong or abs(np.linalg.det(numbers.reshape(2, 2))) < _SMALLEST_AREA:
        raise ValueError(
            "The matrix must be four numbers, row by row, in µm per unit of beam shift, whose rows do not point the "
            f"same way, such as 21.7, 11.0, 11.0, -21.7; got {text.strip() or 'nothing'}."
        )
    return numbers.reshape(2, 2)


@dataclass(frozen=True)
class Calibrated:
    """A calibration and what is shown beside it.

    Attributes
    ----------
    calibration
        The one in use.
    comparison
        A number k of the same size beside a matrix; what the holes tell beside a number k; None when there is none.
    clusters
        Groups of beam shifts found without looking at the stage, as find_dupl does; None when there are too few.
    optics
        Optics groups.
    """

    calibration: Any
    comparison: Any
    clusters: Any
    optics: Any


def calibrate(
    session: Any,
    *,
    method: str,
    hole_spacing_um: float | None = None,
    k_um_per_unit: float = 25.0,
    clusters: int = 0,
    matrix: str = "",
    progress: Any = None,
    cancel: Any = None,
) -> Calibrated:
    """Calibrate a session in one of the page's ways.

    Parameters
    ----------
    session
        Exposures.
    method
        ``"automatic"``, ``"k typed"``, ``"clusters"`` or ``"matrix typed"``.
    hole_spacing_um, k_um_per_unit, clusters, matrix
        What the method needs; ``clusters`` of 0 finds their number.
    progress, cancel
        As of `analysis.tasks`.

    Raises
    ------
    ValueError
        From the analysis, or when something needed is missing.
    """
    groups = None
    low, high = SPACING_BOUNDS_UM
    if hole_spacing_um is not None and not low <= hole_spacing_um <= high:
        raise ValueError(f"The hole spacing must be from {low:g} to {high:g} µm; got {hole_spacing_um:g}.")
    if method == "k typed" and not 0 < k_um_per_unit <= _LARGEST_K:
        raise ValueError(f"k must be above 0 and at most {_LARGEST_K:g} µm per unit; got {k_um_per_unit:g}.")
    if method == "automatic":
        found = calibrate_beam_shift(session, hole_spacing_um=hole_spacing_um, progress=progress, cancel=cancel)
        comparison = assume_beam_shift(session, found.k_um_per_unit)
    else:
        k = k_um_per_unit
        if method == "clusters":
            spacing = hole_spacing_um or session.hole_spacing_um
            groups = cluster_beam_shifts(session, clusters=clusters or None, hole_spacing_um=spacing)
            k = groups.k_um_per_unit
            if clusters == 1:
                raise ValueError("k from clusters needs two clusters at least, for a distance between them; got 1.")
            if not np.isfinite(k):
                raise ValueError(
                    "k from clusters needs the hole spacing, and the session does not say it; choose or type it."
                )
        found = assume_beam_shift(session, parse_matrix(matrix) if method == "matrix typed" else k)
        comparison = _otherwise(found, session, hole_spacing_um, progress, cancel)
    optics = assign_optics_groups(session, found)
    if groups is None:
        groups = _clusters(session, clusters or len(optics.centres), hole_spacing_um or _spacing(found))
    return Calibrated(found, comparison, groups, optics)


def _spacing(found: Any) -> float | None:
    return float(found.hole_spacing_um) if np.isfinite(found.hole_spacing_um or np.nan) else None


def _otherwise(found: Any, session: Any, hole_spacing_um: float | None, progress: Any, cancel: Any) -> Any:
    """A scalar beside a matrix, the holes' own matrix beside a scalar; None where the holes tell none."""
    if found.method != "scalar":
        return assume_beam_shift(session, found.k_um_per_unit)
    try:
        return calibrate_beam_shift(session, hole_spacing_um=hole_spacing_um, progress=progress, cancel=cancel)
    except ValueError:
        return None


def _clusters(session: Any, count: int, hole_spacing_um: float | None) -> Any:
    """Clusters to be told beside a calibration; of many exposures some are enough, and take a tenth of the time."""
    if count < 2:
        return None
    if len(session.table) > _CLUSTERED:
        session = replace(session, table=session.table.sample(_CLUSTERED, random_state=0))
    try:
        return cluster_beam_shifts(session, clusters=count, hole_spacing_um=hole_spacing_um)
    except ValueError:
        return None


def keep_calibration(calibrated: Calibrated, session: Any) -> Calibrated:
    """Return a calibration for a session that has grown: the same matrix, with the holes and groups there are now.

    Parameters
    ----------
    calibrated
        Of the session as it was.
    session
        The session as it is.
    """
    before = calibrated.calibration
    now = assume_beam_shift(session, before.matrix)
    now = replace(now, method=before.method, margin=before.margin, table=before.table, warning=before.warning)
    return replace(calibrated, calibration=now, optics=assign_optics_groups(session, now))


@dataclass(frozen=True)
class Picture:
    """Pictures of one exposure as PNG, empty where there is none.

    Attributes
    ----------
    file
        Its XML below the session's folder.
    micrograph, foil_hole
        PNG.
    taken
        When the foil hole was seen (local); NaT without a picture.
    problem
        Why a picture could not be read.
    """

    file: str
    micrograph: bytes = b""
    foil_hole: bytes = b""
    taken: pd.Timestamp = pd.NaT
    problem: str = ""


def has_pictures(images: Any) -> bool:
    """Tell whether there is any picture of a session.

    Parameters
    ----------
    images
        As of `find_images`, or None.
    """
    if images is None:
        return False
    found = images.summary()
    return bool(found["micrographs"] or found["foil_hole_images"])


def read_pictures(images: Any, files: Sequence[str], *, progress: Any = None, cancel: Any = None) -> list[Picture]:
    """Read the micrograph and the foil-hole picture of some exposures.

    Parameters
    ----------
    images
        Pictures of the session, as of `find_images`.
    files
        Of the exposures.
    progress, cancel
        As of `analysis.tasks`.
    """
    read = []
    for number, file in enumerate(files, start=1):
        if cancel is not None and cancel.is_set():
            raise Cancelled("Stopped.")
        read.append(_read_picture(images, file))
        if progress is not None:
            progress(number, len(files), "Reading pictures")
    return read


def _read_picture(images: Any, file: str) -> Picture:
    contents, problems = {}, []
    for name, kind in (("micrograph", "micrograph"), ("foil_hole", "foil_hole_image")):
        path = images.path(file, kind)
        try:
            contents[name] = png(read_preview(path, longest_px=PICTURE_PX)) if path is not None else b""
        except (ValueError, OSError) as error:
            problems.append(str(error))
    return Picture(file, **contents, taken=images.foil_hole_time(file), problem=" ".join(problems))


def png(image: np.ndarray) -> bytes:
    """Return an image as PNG.

    Parameters
    ----------
    image : (rows, columns[, 3]) array of uint8
        The image.
    """
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


# ---- files -----------------------------------------------------------------------------------------------


def files_written(root: Path, *, rawdata: str, montage: bool, predose: bool) -> list[Path]:
    """Return the files that `write_everything` writes.

    Parameters
    ----------
    root
        What their names begin with.
    rawdata
        Folder of the movies, or nothing.
    montage, predose
        Whether there will be a montage and a table of the pre-dose.
    """
    endings = ["_badfiles_jpg.txt", "_badfiles_tiff.txt"]
    endings += ["_badfiles_rawdata.txt", "_badfiles_notfound.txt"] if rawdata else []
    endings += ["_cryosparc_paths.txt", "_cryosparc_keep_paths.txt"]
    endings += ["_exposures.csv", "_groups.csv", "_pairs.csv", "_squares.csv"]
    endings += ["_predose.csv"] if predose else []
    endings += ["_optics_groups.star"]
    endings += [".png"] if montage else []
    return [root.with_name(root.name + ending) for ending in endings]


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes
    ----------
    files
        Paths.
    problems
        Sentences: what was not written or not found, and why.
    """

    files: list[Path]
    problems: list[str]


def write_everything(
    root: Path,
    *,
    session: Any,
    calibrated: Calibrated,
    duplicates: Any,
    images: Any = None,
    predose: Any = None,
    rawdata: str = "",
    montage: bool = False,
    rescale: bool = False,
    progress: Any = None,
    cancel: Any = None,
) -> Written:
    """Write lists of bad files, tables, optics groups and montage.

    Parameters
    ----------
    root
        What the names begin with; its folder is made.
    session, calibrated, duplicates, images, predose
        What was read and found.
    rawdata
        Folder of the movies, or nothing.
    montage, rescale
        Whether to write a picture of the pairs, and in half size.
    progress, cancel
        As of `analysis.tasks`.
    """
    root.parent.mkdir(parents=True, exist_ok=True)
    raw = rawdata.strip() or None
    lists = write_bad_files(duplicates, root, folder=session.folder, rawdata=raw)
    files, problems = [*lists.files], [*lists.problems]
    files += write_exposure_list(duplicates, root, rawdata=raw)
    files += write_tables(duplicates, root, predose=predose)
    try:
        star = root.with_name(f"{root.name}_optics_groups.star")
        files.append(write_optics_star(calibrated.optics, session, star))
    except ValueError as error:  # a microscope setting that the XML does not say; the rest is worth having
        problems.append(str(error))
    if montage:
        files.append(save_montage(root.with_name(f"{root.name}.png"), duplicates, images, resize=rescale))
    return Written([Path(path) for path in files], problems)
