"""Flatfield models put to use: images corrected, and a model tested on images it has not seen."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage

from analysis.flatfield._fields import find_thresholds, first_shape, list_fields, stack_fields
from analysis.flatfield._model import FlatfieldModel, ImageSums, read_model, stack_slides
from analysis.flatfield._slides import Slides
from analysis.flatfield._smoothing import (
    SIGMA_PX,
    Smoothing,
    check_smoothing,
    gaussian_kernel,
    make_flatfield,
    mean_and_error,
)
from analysis.images import read_image, write_image
from analysis.tasks import Progress, map_tasks

CENTRE = 0.8
"""Share of each side that the centre takes: 64 % of the field."""


@dataclass(frozen=True)
class Correction:
    """Images divided by a flatfield model.

    Attributes
    ----------
    table
        One row an image: ``path, output, error``; one of the two last is empty.
    settings
        The keyword arguments used.
    """

    table: pd.DataFrame
    settings: dict[str, Any]

    def summary(self) -> dict[str, Any]:
        """Return the numbers of images corrected and failed, and where they are."""
        failed = int((self.table["error"] != "").sum())
        return {
            "images": len(self.table),
            "corrected": len(self.table) - failed,
            "failed": failed,
            "out_dir": self.settings["out_dir"],
        }


def apply_model(
    model: FlatfieldModel | str | os.PathLike[str],
    images: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    out_dir: str | os.PathLike[str],
    replace: bool = False,
    workers: int | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> Correction:
    """Divide images by a flatfield model and write them as OME-TIFF.

    Parameters
    ----------
    model
        A model, or the path of its ``.bin`` file (`read_model`).
    images
        A folder of images, one file, or any number of files; (rows, columns, layers) as the model.
    out_dir
        Folder of the corrected images, ``<name>.tif``; not the folder of an image, nor inside it. Where two
        images have one name, the second becomes ``<name>_2.tif``.
    replace
        Whether files in ``out_dir`` may be replaced.
    workers
        Images under way at once; all cores when None.
    executor
        Used in place of our own threads, and left open; see `analysis.tasks.map_tasks`.
    progress
        Told after every image.
    cancel
        When set, `analysis.tasks.Cancelled` is raised; images written so far are whole and stay.

    Returns
    -------
    Correction
        One row an image. Whole numbers are rounded and kept within the range of their type; number type and size of
        the pixels are kept. An image that fails is a row with ``error`` and the rest goes on.

    Raises
    ------
    ValueError
        When the model has values that are not above 0, there is no image, or ``out_dir`` is where the images are.
    """
    settings = {"model": _name_of(model), "out_dir": str(out_dir), "replace": replace}
    if not isinstance(model, FlatfieldModel):
        model = read_model(model)
    if not (np.isfinite(model.flatfield).all() and (model.flatfield > 0).all()):
        raise ValueError(f"The flatfield {settings['model']} must be finite and above 0 everywhere; it is not.")
    files = list_fields(images)
    if not files:
        raise ValueError("images must name at least one file; got none.")
    targets = _name_outputs(files, Path(out_dir))

    correct = partial(_correct, model=model, replace=replace)
    rows = []
    for (file, target), _, error in map_tasks(
        correct, zip(files, targets, strict=True), workers=workers, executor=executor,
        progress=progress, cancel=cancel, words="correcting images",
    ):  # fmt: skip
        words = "" if error is None else str(error) if str(file) in str(error) else f"{file}: {error}"
        rows.append((str(file), "" if words else str(target), words))
    return Correction(pd.DataFrame(rows, columns=["path", "output", "error"]), settings)


def _correct(pair: tuple[Path, Path], model: FlatfieldModel, replace: bool) -> None:
    """Divide one image by the model and write it."""
    file, target = pair
    if target.exists() and not replace:
        raise ValueError(f"{target} must not exist yet; it does. Set replace=True to replace it.")
    image = read_image(file)
    write_image(target, divide(image.pixels, model.flatfield, file), image.pixel_size_um)


def _name_of(model: FlatfieldModel | str | os.PathLike[str]) -> str:
    if isinstance(model, FlatfieldModel):
        return str(model.paths.get("flatfield", model.version))
    return str(model)


def _name_outputs(files: Sequence[Path], out_dir: Path) -> list[Path]:
    """Return one output for each file, no two the same also where case does not count."""
    resolved = out_dir.expanduser().resolve()
    for folder in {file.expanduser().resolve().parent for file in files}:
        if resolved == folder or folder in resolved.parents:
            raise ValueError(f"out_dir must lie outside the folder of the images, {folder}; got {resolved}.")
    stems = [file.name.removesuffix(file.suffix) for file in files]
    stems = [stem[:-4] if stem.lower().endswith(".ome") else stem for stem in stems]
    originals, taken, names = {stem.casefold() for stem in stems}, set(), []
    for stem in stems:
        name, number = stem, 2
        while name.casefold() in taken or (name != stem and name.casefold() in originals):
            name, number = f"{stem}_{number}", number + 1
        taken.add(name.casefold())
        names.append(name)
    return [out_dir / f"{name}.tif" for name in names]


def divide(pixels: np.ndarray, flatfield: np.ndarray, path: str | os.PathLike[str] = "the image") -> np.ndarray:
    """Return pixels divided by a flatfield, in the number type of the pixels.

    Parameters
    ----------
    pixels, flatfield
        (rows, columns, layers).
    path
        Named in the error.

    Returns
    -------
    ndarray
        Whole numbers are rounded and kept within the range of their type.

    Raises
    ------
    ValueError
        When the shapes differ.

    Examples
    --------
    >>> divide(np.full((1, 2, 1), 200, np.uint8), np.array([[[0.5], [2.0]]])).ravel()
    array([255, 100], dtype=uint8)
    """
    if pixels.shape != flatfield.shape:
        found, expected = (" x ".join(map(str, shape)) for shape in (pixels.shape, flatfield.shape))
        raise ValueError(f"{path} must have the shape of the model, {expected} (rows, columns, layers); got {found}.")
    corrected = np.empty_like(pixels)
    whole = np.issubdtype(pixels.dtype, np.integer)
    for layer in range(pixels.shape[2]):  # one at a time: the quotient has 8 bytes a pixel
        values = pixels[..., layer] / flatfield[..., layer]
        if whole:
            limits = np.iinfo(pixels.dtype)
            values = np.clip(np.rint(values), limits.min, limits.max)
        corrected[..., layer] = values
    return corrected


# ------------------------------------------------------------------------------------- test of a model


@dataclass(frozen=True)
class ModelCheck:
    """How even the illumination is before and after correction, on images the model has not seen.

    Attributes
    ----------
    table
        One row a layer, all but the first four columns in percent of the mean: ``layer, filter_group, images_in_model,
        images_corrected, spread_before_percent, spread_after_percent, standard_deviation_before_percent,
        standard_deviation_after_percent``, the same four for the centre beginning with ``central_``, and
        ``noise_percent``: the standard deviation that noise alone leaves.
    halves
        Names of the slides or files that made the model, and of those corrected.
    settings
        The keyword arguments used.
    problems
        Fields that could not be read: ``path, error``.
    """

    table: pd.DataFrame
    halves: tuple[tuple[str, ...], tuple[str, ...]]
    settings: dict[str, Any]
    problems: pd.DataFrame

    def summary(self) -> dict[str, Any]:
        """Return the means over the layers that have images."""
        names = [name for name in self.table if name.endswith("_percent")]
        means = {name: _mean_or_none(self.table[name]) for name in names}
        sizes = {"in_model": len(self.halves[0]), "corrected": len(self.halves[1])}
        return {"layers": len(self.table), **sizes, **means, "problems": len(self.problems)}


def _mean_or_none(values: pd.Series) -> float | None:
    return float(values.mean()) if values.notna().any() else None


def check_model(
    source: Slides | str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    seed: int = 0,
    smoothing: Smoothing = "astropath",
    smoothing_sigma_px: float = SIGMA_PX,
    measuring_sigma_px: float = 5.0,
    exposure_time_ms: float | Sequence[float] | None = None,
    background_threshold: float | Sequence[float] | None = None,
    min_tissue: float = 0.8,
    workers: int | None = None,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> ModelCheck:
    """Make a model from a random half of the images and correct the other half with it.

    Parameters
    ----------
    source
        Slides, whose mean images are halved; or a folder or list of fields of one kind, which are halved.
    seed
        Of the random halves.
    smoothing, smoothing_sigma_px
        As in `create_model`.
    measuring_sigma_px
        The mean of the other half is smoothed with a Gaussian of this standard deviation before it is
        measured, so that the noise of single pixels is not taken for illumination; 0 measures the pixels
        themselves. ``noise_percent`` says what noise is left.
    exposure_time_ms, background_threshold, min_tissue
        For fields, as in `make_mean_image`.
    workers
        Fields read at once; all cores when None.
    progress
        Told after every slide, field and layer.
    cancel
        When set, `analysis.tasks.Cancelled` is raised.

    Returns
    -------
    ModelCheck
        5-95 % spread and standard deviation, before and after, of the whole field and of its centre (80 % of
        each side), in percent of the mean.

    Raises
    ------
    ValueError
        When there are fewer than two images, a setting is wrong, or a half has no usable field.

    Notes
    -----
    After Eminizer, "Flatfielding: Correcting Spatial Variations in Microscope High-power Field
    Illumination", which reports the centre of the field on an independent half of the images. The mean of
    corrected images is the corrected mean, because the model is the same for all.
    """
    check_smoothing(smoothing, smoothing_sigma_px)
    if not 0 <= measuring_sigma_px < np.inf:
        raise ValueError(f"measuring_sigma_px must be 0 or above; got {measuring_sigma_px}.")
    of_slides = isinstance(source, Slides)
    items = list(source.slides) if of_slides else list_fields(source)
    first, second = _halve(items, seed)
    settings = {
        "seed": seed, "smoothing": smoothing, "smoothing_sigma_px": smoothing_sigma_px,
        "measuring_sigma_px": measuring_sigma_px, "exposure_time_ms": exposure_time_ms,
        "background_threshold": background_threshold, "min_tissue": min_tissue,
    }  # fmt: skip
    run = {"progress": progress, "cancel": cancel}
    problems = pd.DataFrame(columns=["path", "error"])
    if of_slides:
        halves = stack_slides(first, **run), stack_slides(second, **run)
        groups = items[0].filter_groups
        names = tuple(tuple(slide.slide_id for slide in half) for half in (first, second))
    else:
        options = {"exposure_time_ms": exposure_time_ms, "min_tissue": min_tissue, "workers": workers, **run}
        thresholds = background_threshold
        if thresholds is None:  # from both halves, so that they are masked alike
            thresholds = find_thresholds(items, first_shape(items), workers=workers, **run)
        stacks = [stack_fields(half, background_threshold=thresholds, **options) for half in (first, second)]
        _check_halves(stacks)
        halves = tuple(stack.sums for stack in stacks)
        groups = [f"layer {layer + 1}" for layer in range(halves[0].image_sum.shape[2])]
        names = tuple(tuple(map(str, half)) for half in (first, second))
        problems = _list_problems([stack.table for stack in stacks])
    table = _measure(halves, groups, (smoothing, smoothing_sigma_px), measuring_sigma_px, progress, cancel)
    return ModelCheck(table, names, settings, problems)


def _halve(items: list[Any], seed: int) -> tuple[list[Any], list[Any]]:
    """Two random halves, each in the order given; the first has the odd one."""
    if len(items) < 2:
        raise ValueError(f"A test needs at least two images, one for each half; got {len(items)}.")
    order = np.random.default_rng(seed).permutation(len(items))
    middle = (len(items) + 1) // 2
    return [items[i] for i in sorted(order[:middle])], [items[i] for i in sorted(order[middle:])]


def _check_halves(stacks: Sequence[Any]) -> None:
    shapes = {stack.sums.image_sum.shape for stack in stacks}
    if len(shapes) > 1:
        raise ValueError(f"All fields must have one shape; got {' and '.join(map(str, sorted(shapes)))}.")
    for stack, words in zip(stacks, ("makes the model", "is corrected"), strict=True):
        if not stack.table["used"].any():
            raise ValueError(
                f"The half that {words} must have a usable field; none of {len(stack.table)} is. "
                "Lower min_tissue, or give background_threshold."
            )


def _list_problems(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    rows = pd.concat(tables, ignore_index=True)
    return rows.loc[rows["error"] != "", ["file", "error"]].rename(columns={"file": "path"}).reset_index(drop=True)


def _measure(
    halves: tuple[ImageSums, ImageSums],
    groups: Sequence[str],
    smoothing: tuple[Smoothing, float],
    sigma_px: float,
    progress: Progress | None,
    cancel: threading.Event | None,
) -> pd.DataFrame:
    model, other = halves
    most = [sums.images_stacked.max(axis=(0, 1)) for sums in halves]
    flatfield, _ = make_flatfield(
        model.image_sum, model.squares_sum, model.images_stacked,
        smoothing=smoothing[0], smoothing_sigma_px=smoothing[1], overwrite=True, progress=progress, cancel=cancel,
    )  # fmt: skip
    rows = []
    for layer, group in enumerate(groups):
        parts = other.image_sum[..., layer], other.squares_sum[..., layer], other.images_stacked[..., layer]
        measured = _measure_layer(*mean_and_error(*parts), flatfield[..., layer], parts[2] > 0, sigma_px)
        counts = {"images_in_model": int(most[0][layer]), "images_corrected": int(most[1][layer])}
        rows.append({"layer": layer + 1, "filter_group": group, **counts, **measured})
    return pd.DataFrame(rows)


def _measure_layer(
    mean: np.ndarray, standard_error: np.ndarray, flatfield: np.ndarray, covered: np.ndarray, sigma_px: float
) -> dict[str, float]:
    """Evenness of one layer before and after, in percent."""
    corrected = np.divide(mean, flatfield, out=np.zeros(mean.shape), where=flatfield > 0)
    before, after = (_smooth_lightly(image, covered, sigma_px) for image in (mean, corrected))
    margins = [round(length * (1 - CENTRE) / 2) for length in mean.shape]
    centre = tuple(slice(margin, length - margin) for margin, length in zip(margins, mean.shape, strict=True))
    whole = (slice(None), slice(None))
    found = {}
    for where, part in (("", whole), ("central_", centre)):
        for when, image in (("before", before), ("after", after)):
            spread, deviation = _evenness(image[part][covered[part]])
            found[f"{where}spread_{when}_percent"] = spread
            found[f"{where}standard_deviation_{when}_percent"] = deviation
    kernel = gaussian_kernel(sigma_px) if sigma_px > 0 else np.ones(1)
    left = (kernel**2).sum()  # share of the variance that smoothing along one axis leaves
    level = before[covered].mean() if covered.any() else 0
    noise = np.sqrt((standard_error[covered] ** 2).mean()) * left if level > 0 else np.nan
    return found | {"noise_percent": float(100 * noise / level) if level > 0 else np.nan}


def _smooth_lightly(image: np.ndarray, covered: np.ndarray, sigma_px: float) -> np.ndarray:
    """Normalised Gaussian over the covered pixels: borders and holes do not enter."""
    if sigma_px == 0:
        return image
    values, share = (
        ndimage.gaussian_filter(part, sigma_px, mode="constant", truncate=2.5)
        for part in (np.where(covered, image, 0), covered.astype(float))
    )
    return np.divide(values, share, out=np.zeros(image.shape), where=share > 0)


def _evenness(values: np.ndarray) -> tuple[float, float]:
    """5-95 % spread and standard deviation in percent of the mean."""
    if not values.size or not values.mean() > 0:
        return np.nan, np.nan
    low, high = np.percentile(values, (5, 95))
    return float(100 * (high - low) / values.mean()), float(100 * values.std() / values.mean())
