"""Mean images made from the fields of a slide, and the files that hold them."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.files import locked
from analysis.flatfield._fields import list_fields, stack_fields
from analysis.flatfield._model import ImageSums
from analysis.flatfield._slide_files import check_definition, define_slide, write_mean_image
from analysis.flatfield._smoothing import mean_and_error
from analysis.tasks import Progress


@dataclass(frozen=True)
class MeanImage:
    """The mean image of a slide and what it was made of.

    Attributes
    ----------
    mean, standard_error
        (rows, columns, layers), in counts, or counts per millisecond when an exposure time was given; 0
        where nothing was stacked.
    sum_images_squared
        (rows, columns, layers), sum of the squared images.
    mask_stack
        (rows, columns, layers), uint64: number of images in every pixel.
    table
        One row a field: ``file, tissue`` (share of the field, 0-1), ``used, reason, error``.
    background_threshold
        Counts of every layer above which a pixel is tissue.
    settings
        The keyword arguments used.
    folder
        Where the files are.
    """

    mean: np.ndarray
    standard_error: np.ndarray
    sum_images_squared: np.ndarray
    mask_stack: np.ndarray
    table: pd.DataFrame
    background_threshold: tuple[float, ...]
    settings: dict[str, Any]
    folder: Path

    def summary(self) -> dict[str, Any]:
        """Return the numbers of fields used, left out and failed, and the coverage."""
        failed = int((self.table["error"] != "").sum())
        used = int(self.table["used"].sum())
        return {
            "slide_id": self.settings["slide_id"],
            "shape": list(self.mean.shape),
            "fields": len(self.table),
            "fields_used": used,
            "fields_left_out": len(self.table) - used - failed,
            "fields_failed": failed,
            "images_stacked_median": float(np.median(self.mask_stack)),
            "background_threshold": list(self.background_threshold),
            "folder": str(self.folder),
        }


def make_mean_image(
    fields: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    slide_id: str,
    root_dir: str | os.PathLike[str],
    project: int = 1,
    cohort: int = 1,
    batch: int = 1,
    exposure_time_ms: float | Sequence[float] | None = None,
    background_threshold: float | Sequence[float] | None = None,
    min_tissue: float = 0.8,
    meanimage_folder: str = "meanimage",
    filter_names: Sequence[str] | None = None,
    microscope_name: str = "unknown",
    replace: bool = False,
    workers: int | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> MeanImage:
    """Make the mean image of a slide from its fields, in the files that the other functions read.

    The fields are read one after the other and added up, so memory does not grow with their number: three
    arrays of the size of a field, and a field for every worker. A field that cannot be read is a row with
    ``error`` and the rest goes on.

    Parameters
    ----------
    fields
        A folder of TIFF, OME-TIFF or PNG files, or the files, all of one shape.
    slide_id
        Name of the slide; names its folder and files.
    root_dir
        Folder of the cohort. Its ``sampledef.csv`` gets a line for the slide.
    project, cohort, batch
        Numbers of the slide in ``sampledef.csv``.
    exposure_time_ms
        The images are divided by it: one number, or one for every layer; None leaves counts.
    background_threshold
        Counts above which a pixel is tissue: one number, or one for every layer. None finds them by Otsu's
        method on the logarithm of a sample of the fields; a layer without background or without tissue has no say.
    min_tissue
        Share of a field, 0-1, that must be tissue for the field to be used.
    meanimage_folder
        Folder below ``<slide>/im3``.
    filter_names
        Filter of every layer; layers of one filter are a group. ``"layer 1"``, ... when None.
    microscope_name
        Written into the table of metadata.
    replace
        Whether a slide that has a mean image may be replaced.
    workers
        Fields read at once; all cores when None.
    executor
        Used in place of our own threads, and left open; see `analysis.tasks.map_tasks`. Sums of parts of the fields
        pass through files in ``root_dir``, where each worker holds three arrays of the size of a field.
    progress
        Told after every field.
    cancel
        When set, `analysis.tasks.Cancelled` is raised and nothing is written.

    Returns
    -------
    MeanImage
        Mean, error, sums, coverage and one row a field.

    Raises
    ------
    ValueError
        When a setting is wrong, the slide has a mean image already, or no field can be used.

    Notes
    -----
    A pixel is tissue when more than half of the layers, smoothed with a Gaussian of 2 px, are above their
    thresholds; a rim of 3 px is left out. Only tissue is stacked: with n images in a pixel the mean is
    sum(image) / n and its squared error (sum(image^2) / n - mean^2) / n, as in the meanimage of
    AstroPathPipeline, https://github.com/AstroPathJHU/AstroPathPipeline. Otsu (1979),
    https://doi.org/10.1109/TSMC.1979.4310076.
    """
    files = list_fields(fields)
    _check_settings(slide_id, min_tissue, meanimage_folder)
    root = Path(root_dir).expanduser().resolve()
    folder = root / slide_id / "im3" / meanimage_folder
    _refuse_existing(folder, slide_id, replace)
    stack = stack_fields(
        files, exposure_time_ms=exposure_time_ms, background_threshold=background_threshold, min_tissue=min_tissue,
        workers=workers, executor=executor, scratch=root, progress=progress, cancel=cancel,
    )  # fmt: skip
    if not stack.table["used"].any():
        raise ValueError(_nothing_used(stack.table, min_tissue, stack.background_threshold))
    names = _name_filters(filter_names, stack.sums.image_sum.shape[2])
    mean, standard_error = _means_and_errors(stack.sums)
    settings = {
        "slide_id": slide_id, "root_dir": str(root), "project": project, "cohort": cohort, "batch": batch,
        "exposure_time_ms": _plain(exposure_time_ms), "background_threshold": _plain(background_threshold),
        "min_tissue": min_tissue, "meanimage_folder": meanimage_folder, "filter_names": _plain(filter_names),
        "microscope_name": microscope_name, "replace": replace,
    }  # fmt: skip
    masks = stack.sums.images_stacked.astype(np.uint64)
    used = [file for file, take in zip(files, stack.table["used"], strict=True) if take]
    with locked(root / f"{slide_id}.meanimage"):
        _refuse_existing(folder, slide_id, replace)
        check_definition(root, slide_id, (project, cohort, batch), replace)
        write_mean_image(
            root, slide_id, mean, standard_error, stack.sums.squares_sum, masks,
            meanimage_folder=meanimage_folder, project=project, cohort=cohort, files=[file.name for file in used],
            filters=[(name, 0.0) for name in names], microscope_name=microscope_name, dates=_dates(used),
        )  # fmt: skip
        define_slide(root, slide_id, (project, cohort, batch))
    return MeanImage(
        mean, standard_error, stack.sums.squares_sum, masks, stack.table, stack.background_threshold, settings, folder
    )


def _means_and_errors(sums: ImageSums) -> tuple[np.ndarray, np.ndarray]:
    mean, standard_error = np.empty_like(sums.image_sum), np.empty_like(sums.image_sum)
    for layer in range(mean.shape[2]):  # one at a time: the formula makes several arrays
        parts = sums.image_sum[..., layer], sums.squares_sum[..., layer], sums.images_stacked[..., layer]
        mean[..., layer], standard_error[..., layer] = mean_and_error(*parts)
    return mean, standard_error


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, str) else value


def _check_settings(slide_id: str, min_tissue: float, meanimage_folder: str) -> None:
    for what, name in (("slide_id", slide_id), ("meanimage_folder", meanimage_folder)):
        if not name or name in (".", "..") or name != name.strip() or re.search(r"[/\\\x00-\x1f]", name):
            raise ValueError(f"{what} must be the name of a folder; got {name!r}.")
    if not 0 <= min_tissue <= 1:
        raise ValueError(f"min_tissue must be a share from 0 to 1; got {min_tissue}.")


def _refuse_existing(folder: Path, slide_id: str, replace: bool) -> None:
    existing = folder / f"{slide_id}-mean_image.bin"
    if existing.exists() and not replace:
        raise ValueError(
            f"{slide_id} must not have a mean image yet; {existing} exists. Set replace=True to replace it."
        )


def _nothing_used(table: pd.DataFrame, min_tissue: float, thresholds: Sequence[float]) -> str:
    errors = [text for text in table["error"] if text]
    found = f"the first of {len(errors)} errors: {errors[0]}" if errors else "none could be read"
    if len(errors) < len(table):
        best = table["tissue"].max()
        found = f"the best has {100 * best:.0f} % above the thresholds {', '.join(f'{t:g}' for t in thresholds)}"
    return (
        f"At least one of {len(table)} fields must be readable and {100 * min_tissue:.0f} % tissue; {found}. "
        "Lower min_tissue, or give background_threshold."
    )


def _name_filters(names: Sequence[str] | None, layers: int) -> list[str]:
    if names is None:
        return [f"layer {layer}" for layer in range(1, layers + 1)]
    if len(names) != layers:
        raise ValueError(f"filter_names must have a name for each of {layers} layers; got {len(names)}.")
    if not all(name.strip() and name.isprintable() for name in names):
        raise ValueError(f"filter_names must be printable words; got {', '.join(map(repr, names))}.")
    return list(names)


# ------------------------------------------------------------------------------------ stacking fields


# -------------------------------------------------------------------------------------------- files


def _dates(files: Sequence[Path]) -> tuple[str, str]:
    times = [file.stat().st_mtime for file in files if file.exists()] or [0.0]
    first, last = (datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S") for time in (min(times), max(times)))
    return first, last
