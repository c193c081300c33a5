"""Flatfield models: made from the slides registered for a version, written, and read back."""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.files import locked, whole_file
from analysis.flatfield._registered import as_roots, find_registered_slides
from analysis.flatfield._registry import check_version
from analysis.flatfield._slides import Slide, Slides
from analysis.flatfield._smoothing import SIGMA_PX, Smoothing, check_smoothing, make_flatfield
from analysis.images import open_raw, write_raw
from analysis.provenance import describe_inputs, versions
from analysis.tables import read_table, write_table
from analysis.tasks import Cancelled, Progress

FIELD_COLUMNS = ("slide", "file", "location", "use", "stacked_in_layers")
METADATA_COLUMNS = ("slideID", "project", "cohort", "microscope_name", "mindate", "maxdate")
_BLOCK_BYTES = 32e6


@dataclass(frozen=True)
class FlatfieldModel:
    """A flatfield model: what images of a group of slides are divided by.

    Attributes
    ----------
    version
        Tag of the version.
    flatfield
        (rows, columns, layers), relative illumination with mean about 1.
    uncertainty
        (rows, columns, layers), standard error of ``flatfield``; None when its file is missing.
    images_stacked
        (rows, columns, layers), number of images in every pixel; None for a model read from a file.
    slides
        The slides it was made of; None for a model read from a file.
    table
        One row a layer: ``layer, filter_group, images_stacked_min, images_stacked_median,
        images_stacked_max, lowest, highest, spread_percent`` (5-95 %), ``mean_uncertainty,
        values_left_out`` (values of slides that were not finite).
    settings
        The keyword arguments used.
    paths
        Files written, by name: ``flatfield, uncertainty, fields_used, metadata_summary, settings``.
    """

    version: str
    flatfield: np.ndarray
    uncertainty: np.ndarray | None
    images_stacked: np.ndarray | None
    slides: Slides | None
    table: pd.DataFrame
    settings: dict[str, Any]
    paths: dict[str, Path] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """Return the version, its size and slides, and the range of the flatfield."""
        found = {"version": self.version, "shape": list(self.flatfield.shape)}
        if self.slides is not None:
            found["slides"] = len(self.slides)
        return found | {
            "lowest": float(self.table["lowest"].min()),
            "highest": float(self.table["highest"].max()),
            "mean_spread_percent": float(self.table["spread_percent"].mean()),
            "files": {name: str(path) for name, path in self.paths.items()},
        }


@dataclass(frozen=True)
class ImageSums:
    """Sums over images, from which means, errors and models are made.

    Attributes
    ----------
    image_sum, squares_sum
        Sums of the images and of their squares, float64, (rows, columns, layers).
    images_stacked
        How many images are in the sums of every pixel, uint32.
    values_left_out
        Per layer, how many values of slides were left out because they are not finite.
    """

    image_sum: np.ndarray
    squares_sum: np.ndarray
    images_stacked: np.ndarray
    values_left_out: np.ndarray


def create_model(
    version: str,
    *,
    roots: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    model_table: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    meanimage_folder: str = "meanimage",
    smoothing: Smoothing = "astropath",
    smoothing_sigma_px: float = SIGMA_PX,
    replace: bool = False,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> FlatfieldModel:
    """Make the flatfield model of a registered version and write its files.

    Every slide of the version is in the model, from the given roots or from the one it was registered from.
    Three arrays of the size of an image are held in memory, and a block of rows.

    Parameters
    ----------
    version
        Tag of the version in ``model_table``.
    roots
        Folders with a ``sampledef.csv``. The roots that the slides were registered from are looked at too.
    model_table
        The table of versions, `register_model`.
    out_dir
        Folder in which ``flatfield/flatfield_<version>.bin`` and ``flatfield/flatfield_<version>/`` are made.
    meanimage_folder
        Folder of the mean images below ``<slide>/im3``.
    smoothing
        ``"astropath"``: equal to the original; ``"edge-aware"``: without its bias at borders and at
        pixels that no image covers.
    smoothing_sigma_px
        Standard deviation of the Gaussian; the original's suits images of about 1000 x 1300 pixels.
    replace
        Whether a model of that version may be replaced.
    progress
        Told after every slide and layer.
    cancel
        When set, `analysis.tasks.Cancelled` is raised and nothing is written.

    Returns
    -------
    FlatfieldModel
        Values, uncertainty and coverage, and the files written.

    Raises
    ------
    ValueError
        When the version is not registered, a slide of it cannot be found or used (each is named with the
        reason; nothing is written), the slides' images differ in shape, or the model exists.

    Notes
    -----
    With the mask stack as the number of images n, the mean is sum(n mean) / sum(n) and its squared error
    (sum(squares) / sum(n) - mean^2) / sum(n), made positive. Both are smoothed with a Gaussian, the
    variance with the squared kernel, and divided by the mean of the layer weighted with the inverse variance. A
    layer in which nothing is stacked is 1. Source: BatchFlatfieldCohort of AstroPathPipeline,
    https://github.com/AstroPathJHU/AstroPathPipeline.
    """
    check_smoothing(smoothing, smoothing_sigma_px)
    refuse_existing_model(version, out_dir=out_dir, replace=replace)
    paths = _model_paths(Path(out_dir), version)
    slides = find_registered_slides(version, roots=roots, model_table=model_table, meanimage_folder=meanimage_folder)
    sums = stack_slides(slides, progress=progress, cancel=cancel)
    flatfield, uncertainty = make_flatfield(
        sums.image_sum, sums.squares_sum, sums.images_stacked,
        smoothing=smoothing, smoothing_sigma_px=smoothing_sigma_px, overwrite=True, progress=progress, cancel=cancel,
    )  # fmt: skip
    groups = slides.slides[0].filter_groups
    table = _describe_layers(flatfield, uncertainty, sums, groups)
    settings = {
        "version": version, "roots": [str(root) for root in as_roots(roots)], "model_table": str(model_table),
        "out_dir": str(out_dir), "meanimage_folder": meanimage_folder, "smoothing": smoothing,
        "smoothing_sigma_px": smoothing_sigma_px, "replace": replace,
    }  # fmt: skip
    model = FlatfieldModel(version, flatfield, uncertainty, sums.images_stacked, slides, table, settings, paths)
    with locked(paths["flatfield"]):
        refuse_existing_model(version, out_dir=out_dir, replace=replace)
        _write_model(model)
    return model


def _model_paths(out_dir: Path, version: str) -> dict[str, Path]:
    name = f"flatfield_{version}"
    folder = out_dir / "flatfield" / name
    return {
        "flatfield": out_dir / "flatfield" / f"{name}.bin",
        "uncertainty": folder / f"{name}_uncertainty.bin",
        "fields_used": folder / "fields_used.csv",
        "metadata_summary": folder / "metadata_summary_stacked_images.csv",
        "settings": folder / f"{name}_settings.json",
    }


def refuse_existing_model(version: str, *, out_dir: str | os.PathLike[str], replace: bool) -> None:
    """Raise a ValueError when a version's tag is no tag, or its model exists and may not be replaced.

    Call it before `register_model` so that nothing is registered whose model cannot be made.

    Parameters
    ----------
    version
        Tag that a model would get.
    out_dir
        Folder of models.
    replace
        Whether an existing one may be replaced.

    Raises
    ------
    ValueError
        With the reason and what to do.
    """
    path = _model_paths(Path(out_dir), check_version(version))["flatfield"]
    if path.exists() and not replace:
        raise ValueError(f"{path} must not exist yet; it does. Choose another version, or set replace=True.")


# ------------------------------------------------------------------------- the slides of a version


# ------------------------------------------------------------------------------------------ sums


def stack_slides(
    slides: Slides | Sequence[Slide],
    *,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> ImageSums:
    """Add up the mean images of slides, a block of rows at a time.

    Parameters
    ----------
    slides
        At least one; all of one shape.
    progress
        Told after every slide.
    cancel
        When set, `analysis.tasks.Cancelled` is raised at the next block.

    Returns
    -------
    ImageSums
        A value that is not finite, in the mean or in the sum of squares, is left out as if its pixel were not covered.
    """
    slides = slides.slides if isinstance(slides, Slides) else tuple(slides)
    if not slides:
        raise ValueError("A stack must have at least one slide; got none.")
    shape = slides[0].shape
    sums = ImageSums(np.zeros(shape), np.zeros(shape), np.zeros(shape, np.uint32), np.zeros(shape[2], np.int64))
    block = max(1, int(_BLOCK_BYTES / (8 * shape[1] * shape[2])))
    for number, slide in enumerate(slides, start=1):
        for start in range(0, shape[0], block):
            if cancel is not None and cancel.is_set():
                raise Cancelled(f"Stopped within slide {number} of {len(slides)}.")
            _add_rows(sums, slide, slice(start, start + block))
        if progress is not None:
            progress(number, len(slides), "adding up slides")
    return sums


def _add_rows(sums: ImageSums, slide: Slide, rows: slice) -> None:
    # opened again for every block, so that the pages read so far do not count as ours
    mean = open_raw(slide.mean_image, slide.shape, "<f8")[rows]
    squares = open_raw(slide.sum_images_squared, slide.shape, "<f8")[rows]
    images = open_raw(slide.mask_stack, slide.shape, "<u8")[rows]
    finite = np.isfinite(mean) & np.isfinite(squares)
    if finite.all():
        sums.image_sum[rows] += images * mean
        sums.squares_sum[rows] += squares
        sums.images_stacked[rows] += images.astype(np.uint32)
        return
    used = finite & (images > 0)
    sums.image_sum[rows] += np.where(used, images * np.where(finite, mean, 0), 0)
    sums.squares_sum[rows] += np.where(used, squares, 0)
    sums.images_stacked[rows] += np.where(used, images, 0).astype(np.uint32)
    sums.values_left_out[:] += (~finite & (images > 0)).sum(axis=(0, 1))


def _describe_layers(
    flatfield: np.ndarray, uncertainty: np.ndarray, sums: ImageSums, groups: Sequence[str]
) -> pd.DataFrame:
    rows = []
    for layer, group in enumerate(groups):
        values, images = flatfield[..., layer], sums.images_stacked[..., layer]
        low, high = np.percentile(values, (5, 95))
        rows.append({
            "layer": layer + 1,
            "filter_group": group,
            "images_stacked_min": int(images.min()),
            "images_stacked_median": float(np.median(images)),
            "images_stacked_max": int(images.max()),
            "lowest": float(values.min()),
            "highest": float(values.max()),
            "spread_percent": float(100 * (high - low) / values.mean()),
            "mean_uncertainty": float(uncertainty[..., layer].mean()),
            "values_left_out": int(sums.values_left_out[layer]),
        })  # fmt: skip
    return pd.DataFrame(rows)


# ----------------------------------------------------------------------------------------- files


def _write_model(model: FlatfieldModel) -> None:
    """Write all files whole; the model itself last, so that it is there only with everything beside it."""
    slides, paths = model.slides.slides, model.paths
    _join_tables([s.fields_used for s in slides], FIELD_COLUMNS, paths["fields_used"])
    _join_tables([s.metadata_summary for s in slides], METADATA_COLUMNS, paths["metadata_summary"])
    inputs = [path for s in slides for path in (s.mean_image, s.sum_images_squared, s.mask_stack)]
    record = {
        "version": model.version,
        "shape": list(model.flatfield.shape),
        "sha256": _digest(model.flatfield),
        "settings": model.settings,
        "versions": versions(),
        "slides": model.slides.table.to_dict("records"),
        "layers": model.table.to_dict("records"),
        "inputs": describe_inputs(inputs).to_dict("records"),
    }
    with whole_file(paths["settings"], "w", encoding="utf-8") as handle:
        json.dump(record, handle, indent=1)
    write_raw({paths["uncertainty"]: (model.uncertainty, "<f8"), paths["flatfield"]: (model.flatfield, "<f8")})


def _digest(values: np.ndarray) -> str:
    return hashlib.sha256(memoryview(np.ascontiguousarray(values, "<f8")).cast("B")).hexdigest()


def _join_tables(sources: Sequence[Path], columns: Sequence[str], target: Path) -> None:
    """Write the rows of several tables one after the other; tables that cannot be read are left out with a warning."""
    frames = [pd.DataFrame(columns=list(columns))]
    for source in sources:
        try:
            frames.append(read_table(source, columns=columns))
        except (OSError, ValueError) as error:
            warnings.warn(f"{target.name} of the model lacks a slide: {error}", stacklevel=5)
    write_table(pd.concat(frames, ignore_index=True), target)


def read_model(path: str | os.PathLike[str], shape: tuple[int, int, int] | None = None) -> FlatfieldModel:
    """Read a flatfield model.

    Parameters
    ----------
    path
        The file ``flatfield_<version>.bin``. Its uncertainty and settings are read from the folder
        ``flatfield_<version>`` beside it where they are there.
    shape
        (rows, columns, layers); needed for models of other programs, which do not write it down.

    Returns
    -------
    FlatfieldModel
        Without ``slides`` and ``images_stacked``.

    Raises
    ------
    ValueError
        When the shape is not known, the size of the file is another, or the settings beside it belong to
        another model.
    OSError
        When the file is missing or cannot be opened.
    """
    path = Path(path)
    version = re.sub(r"^flatfield_", "", path.name.removesuffix(".bin"))
    folder = path.parent / f"flatfield_{version}"
    settings_file = folder / f"flatfield_{version}_settings.json"
    record = _read_record(settings_file)
    shape = tuple(shape or record.get("shape", ()))
    if len(shape) != 3:
        raise ValueError(f"shape must be given as (rows, columns, layers) for {path}; {settings_file} has none.")
    flatfield = np.array(open_raw(path, shape, "<f8"))
    if record and record.get("sha256") != _digest(flatfield):
        raise ValueError(f"{path} must be the model that {settings_file} describes; it is another. Make it again.")
    uncertainty_file = folder / f"flatfield_{version}_uncertainty.bin"
    uncertainty = np.array(open_raw(uncertainty_file, shape, "<f8")) if uncertainty_file.exists() else None
    layers = pd.DataFrame(record["layers"]) if record else _describe_values(flatfield, uncertainty)
    paths = {"flatfield": path, "uncertainty": uncertainty_file, "settings": settings_file}
    there = {name: file for name, file in paths.items() if file.exists()}
    return FlatfieldModel(version, flatfield, uncertainty, None, None, layers, record.get("settings", {}), there)


def _read_record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return {key: record[key] for key in ("shape", "sha256", "settings", "layers")}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} must be the settings of a flatfield model; it cannot be read: {error}.") from None


def _describe_values(flatfield: np.ndarray, uncertainty: np.ndarray | None) -> pd.DataFrame:
    """Describe the layers of a model of which nothing but the values is known."""
    unknown = np.full(flatfield.shape, np.nan) if uncertainty is None else uncertainty
    nothing = ImageSums(flatfield, flatfield, np.zeros(flatfield.shape, np.uint8), np.zeros(flatfield.shape[2], int))
    table = _describe_layers(flatfield, unknown, nothing, [""] * flatfield.shape[2])
    return table.drop(columns=[name for name in table if name.startswith(("images_stacked", "values_left"))])
