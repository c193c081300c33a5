"""Fields of a slide: found, parted into tissue and background, and added up."""

from __future__ import annotations

import os
import shutil
import tempfile
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
from skimage.filters import threshold_otsu

from analysis.flatfield._model import ImageSums
from analysis.images import read_image
from analysis.patterns import natural_key
from analysis.tasks import Progress, map_tasks

FIELD_ENDINGS = (".tif", ".tiff", ".png")


# Tissue is told from background on a lightly smoothed image: single noisy pixels would otherwise be taken
# where they happen to be bright, which flattens the illumination.
_TISSUE_SIGMA_PX = 2.0


_RIM_PX = 3


# Share of the variance that lies between tissue and background. Parting one kind of pixel in two gives
# 0.64 (normal) to 0.75 (even distribution); two kinds give more.
_LEAST_SEPARATION = 0.8


_SAMPLED_FIELDS = 60


_SAMPLED_PIXELS = 8192


_BLOCK_ROWS = 64


_PART_FIELDS = 32


def find_fields(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the image files of a folder in natural order: field_2 before field_10.

    Parameters
    ----------
    folder
        Folder with ``.tif``, ``.tiff`` or ``.png`` files; hidden files and sub-folders are passed over.

    Raises
    ------
    ValueError
        When the folder holds no image.
    OSError
        When the folder is missing or cannot be read.
    """
    folder = Path(folder)
    found = [
        path for path in folder.iterdir()
        if path.suffix.lower() in FIELD_ENDINGS and not path.name.startswith(".") and path.is_file()
    ]  # fmt: skip
    if not found:
        raise ValueError(f"{folder} must hold images ({', '.join(FIELD_ENDINGS)}); none found.")
    return sorted(found, key=lambda path: natural_key(path.name))


def list_fields(fields: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Return image files given as a folder, a file or any number of files."""
    if isinstance(fields, (str, os.PathLike)):
        return find_fields(fields) if Path(fields).is_dir() else [Path(fields)]
    return [Path(field) for field in fields]


@dataclass(frozen=True)
class FieldStack:
    """Sums over the tissue of fields; ``table`` and ``background_threshold`` as in `MeanImage`."""

    sums: ImageSums
    table: pd.DataFrame
    background_threshold: tuple[float, ...]


def stack_fields(
    files: Sequence[Path],
    *,
    exposure_time_ms: float | Sequence[float] | None = None,
    background_threshold: float | Sequence[float] | None = None,
    min_tissue: float = 0.8,
    workers: int | None = None,
    executor: Executor | None = None,
    scratch: Path | None = None,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> FieldStack:
    """Add up the tissue of fields; keywords as in `make_mean_image`.

    Returns
    -------
    FieldStack
        Sums of the images divided by the exposure time.

    Raises
    ------
    ValueError
        When no field can be read, or the numbers for the layers do not fit.
    """
    files = list(files)
    if not files:
        raise ValueError("A mean image must have at least one field; got none.")
    shape = first_shape(files)
    exposure = per_layer(exposure_time_ms, shape[2], "exposure_time_ms")
    if exposure is not None and not (np.isfinite(exposure) & (exposure > 0)).all():
        raise ValueError(f"exposure_time_ms must be above 0; got {exposure_time_ms}.")
    thresholds = per_layer(background_threshold, shape[2], "background_threshold")
    if thresholds is None:
        thresholds = find_thresholds(files, shape, workers=workers, executor=executor, progress=progress, cancel=cancel)
    told = {"progress": progress, "cancel": cancel}
    if executor is None:
        sums, rows = _stack_here(files, shape, thresholds, min_tissue, workers, told)
    else:
        sums, rows = _stack_there(files, shape, thresholds, min_tissue, executor, scratch, told)
    if exposure is not None:
        sums.image_sum[:] /= exposure
        sums.squares_sum[:] /= exposure**2
    table = pd.DataFrame(rows, columns=["file", "tissue", "used", "reason", "error"])
    return FieldStack(sums, table, tuple(float(value) for value in thresholds))


Row = tuple[str, float, bool, str, str]


def _no_sums(shape: tuple[int, int, int]) -> ImageSums:
    return ImageSums(np.zeros(shape), np.zeros(shape), np.zeros(shape, np.uint32), np.zeros(shape[2], np.int64))


def _stack_here(
    files: Sequence[Path], shape: tuple[int, int, int], thresholds: np.ndarray, min_tissue: float,
    workers: int | None, told: dict[str, Any],
) -> tuple[ImageSums, list[Row]]:  # fmt: skip
    """Read fields in threads and add them up in this one."""
    sums, rows = _no_sums(shape), []

    def read(file: Path) -> tuple[np.ndarray, np.ndarray]:
        pixels = _read_field(file, shape)
        return pixels, _find_tissue(pixels, thresholds)

    # results come in the order of the files, so the sums are the same bits for any number of workers
    for file, result, error in map_tasks(read, files, workers=workers, words="stacking fields", **told):
        rows.append(_add_or_say(sums, file, result, error, min_tissue))
    return sums, rows


def _stack_there(
    files: Sequence[Path], shape: tuple[int, int, int], thresholds: np.ndarray, min_tissue: float,
    executor: Executor, scratch: Path | None, told: dict[str, Any],
) -> tuple[ImageSums, list[Row]]:  # fmt: skip
    """Have fields read and added up elsewhere, in parts whose sums come back as files."""
    size = max(1, min(_PART_FIELDS, -(-len(files) // (2 * getattr(executor, "width", 1)))))
    parts = [list(files[at : at + size]) for at in range(0, len(files), size)]
    sums, rows = _no_sums(shape), []
    if scratch is not None:
        scratch.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".parts-", dir=scratch))
    try:
        work = partial(_stack_part, shape=shape, thresholds=thresholds, min_tissue=min_tissue, folder=folder)
        for part, found, error in map_tasks(work, parts, executor=executor, words="stacking fields", **told):
            if error is not None:
                rows += [(str(file), np.nan, False, "", _words(file, error)) for file in part]
                continue
            path, more = found
            rows += more
            with open(path, "rb") as handle:
                for total in (sums.image_sum, sums.squares_sum, sums.images_stacked, sums.values_left_out):
                    total += np.load(handle, allow_pickle=False)
            path.unlink()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return sums, rows


def _stack_part(
    files: Sequence[Path], shape: tuple[int, int, int], thresholds: np.ndarray, min_tissue: float, folder: Path
) -> tuple[Path, list[Row]]:
    """Add up some fields and write the sums; return where, and a row for each field."""
    sums, rows = _no_sums(shape), []
    for file in files:
        result, error = None, None
        try:
            pixels = _read_field(file, shape)
            result = pixels, _find_tissue(pixels, thresholds)
        except Exception as wrong:
            error = wrong
        rows.append(_add_or_say(sums, file, result, error, min_tissue))
    handle, name = tempfile.mkstemp(suffix=".npy", dir=folder)
    with open(handle, "wb") as out:
        for array in (sums.image_sum, sums.squares_sum, sums.images_stacked, sums.values_left_out):
            np.save(out, array, allow_pickle=False)
    return Path(name), rows


def _add_or_say(
    sums: ImageSums, file: Path, result: tuple[np.ndarray, np.ndarray] | None, error: Exception | None, least: float
) -> Row:
    """Add a field when it has enough tissue; return its row of the table."""
    if error is not None:
        return str(file), np.nan, False, "", _words(file, error)
    pixels, tissue = result
    share = float(tissue.mean())
    used = share >= least and share > 0
    if used:
        _add_field(sums, pixels, _without_rim(tissue))
    return str(file), share, used, "" if used else f"{100 * share:.1f} % tissue, less than {100 * least:g} %", ""


def _words(file: Path, error: Exception) -> str:
    return str(error) if str(file) in str(error) else f"{file}: {error}"


def first_shape(files: Sequence[Path]) -> tuple[int, int, int]:
    """Return (rows, columns, layers) of the first field that can be read; the others must have the same.

    Raises
    ------
    ValueError
        When none can be read; the message holds the reason of the first.
    """
    errors = []
    for file in files:
        try:
            return read_image(file).pixels.shape
        except (OSError, ValueError) as error:
            errors.append(_words(file, error))
    raise ValueError(f"At least one of {len(files)} fields must be readable; the first: {errors[0]}")


def per_layer(values: float | Sequence[float] | None, layers: int, name: str) -> np.ndarray | None:
    if values is None:
        return None
    values = np.atleast_1d(np.asarray(values, dtype=float))
    if values.shape not in ((1,), (layers,)):
        raise ValueError(f"{name} must be one number, or one for each of {layers} layers; got {values.size}.")
    return np.broadcast_to(values, (layers,))


def _read_field(file: Path, shape: tuple[int, int, int]) -> np.ndarray:
    pixels = read_image(file).pixels
    if pixels.shape != shape:
        expected, found = (" x ".join(map(str, size)) for size in (shape, pixels.shape))
        raise ValueError(f"{file} must have {expected} values (rows, columns, layers) as the first field; got {found}.")
    return pixels


def _smooth_layer(pixels: np.ndarray, layer: int) -> np.ndarray:
    return ndimage.gaussian_filter(pixels[..., layer].astype(np.float32), _TISSUE_SIGMA_PX, mode="nearest")


def _find_tissue(pixels: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """(rows, columns), True where more than half of the layers that have a threshold are above it."""
    voting = np.flatnonzero(np.isfinite(thresholds))
    if not voting.size:
        return np.ones(pixels.shape[:2], dtype=bool)
    votes = np.zeros(pixels.shape[:2], dtype=np.int32)
    for layer in voting:
        votes += _smooth_layer(pixels, layer) > thresholds[layer]
    return 2 * votes > voting.size


def _without_rim(tissue: np.ndarray) -> np.ndarray:
    """Leave out the rim of the tissue, which smoothing made of background; the border of the field is no rim."""
    return ndimage.binary_erosion(tissue, np.ones((3, 3)), iterations=_RIM_PX, border_value=1)


def _add_field(sums: ImageSums, pixels: np.ndarray, tissue: np.ndarray) -> None:
    """Add counts: of whole numbers the sums are exact, so they do not hang on the order."""
    for start in range(0, len(pixels), _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        values = pixels[rows].astype(float)
        stacked = tissue[rows, :, None] & np.isfinite(values)
        sums.values_left_out[:] += (tissue[rows, :, None] & ~stacked).sum(axis=(0, 1))
        values[~stacked] = 0
        sums.image_sum[rows] += values
        sums.squares_sum[rows] += values * values
        sums.images_stacked[rows] += stacked


def find_thresholds(
    files: Sequence[Path],
    shape: tuple[int, int, int],
    *,
    workers: int | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> np.ndarray:
    """Return the counts of every layer that part tissue from background, by Otsu's method.

    Parameters
    ----------
    files
        Fields; up to 60 of them, evenly spread, are read.
    shape
        Their (rows, columns, layers).
    workers, executor, progress, cancel
        As in `make_mean_image`.

    Returns
    -------
    ndarray of float64
        One number a layer; minus infinity for a layer in which tissue and background cannot be told apart: it
        has no say, and when no layer has, everything is tissue.

    Notes
    -----
    The logarithm of the counts is used: on plain counts, Otsu's method parts bright tissue from dim tissue. It
    parts any values in two, so a threshold counts only when at least 80 % of the variance lies between the parts;
    fields full of tissue would otherwise lose their dark corners.
    """
    places = np.unique(np.linspace(0, len(files) - 1, min(len(files), _SAMPLED_FIELDS)).round().astype(int))
    step = max(1, round((shape[0] * shape[1] / _SAMPLED_PIXELS) ** 0.5))

    sample = partial(_sample_field, shape=shape, step=step)
    words = "finding the background"
    chosen = [files[place] for place in places]
    samples = [
        values
        for _, values, error in map_tasks(
            sample, chosen, workers=workers, executor=executor, progress=progress, cancel=cancel, words=words
        )
        if error is None
    ]
    if not samples:
        raise ValueError(f"At least one of {len(chosen)} sampled fields must be readable; none is.")
    return np.array([_otsu(values) for values in np.concatenate(samples, axis=1)])


def _sample_field(file: Path, shape: tuple[int, int, int], step: int) -> np.ndarray:
    pixels = _read_field(file, shape)
    parts = [_smooth_layer(pixels, layer)[step // 2 :: step, step // 2 :: step] for layer in range(shape[2])]
    return np.stack([part.ravel() for part in parts])


def _otsu(values: np.ndarray) -> float:
    values = values[np.isfinite(values)]
    if not values.size or values.max() <= 0 or values.min() == values.max():
        return -np.inf
    # zeros have no logarithm, and what lies far below the tissue is background however dark it is
    levels = np.log(np.maximum(values, 0.01 * np.percentile(values, 99) or values.max()))
    threshold = threshold_otsu(levels, nbins=512)
    above = levels > threshold
    if not above.any() or above.all():
        return -np.inf
    share = above.mean()
    between = share * (1 - share) * (levels[above].mean() - levels[~above].mean()) ** 2
    return float(np.exp(threshold)) if between > _LEAST_SEPARATION * levels.var() else -np.inf
