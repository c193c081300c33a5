"""Mean images made from the fields of a slide, and the files that hold them."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import pandas as pd
from scipy import ndimage
from skimage.filters import threshold_otsu

from analysis.files import locked, whole_file
from analysis.flatfield._model import FIELD_COLUMNS, METADATA_COLUMNS, ImageSums
from analysis.flatfield._slides import SAMPLEDEF_COLUMNS, natural_key
from analysis.flatfield._smoothing import mean_and_error
from analysis.images import read_image, write_raw
from analysis.tables import read_table, update_table, write_table
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
        workers=workers, progress=progress, cancel=cancel,
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
        _check_definition(root, slide_id, (project, cohort, batch), replace)
        write_mean_image(
            root, slide_id, mean, standard_error, stack.sums.squares_sum, masks,
            meanimage_folder=meanimage_folder, project=project, cohort=cohort, files=[file.name for file in used],
            filters=[(name, 0.0) for name in names], microscope_name=microscope_name, dates=_dates(used),
        )  # fmt: skip
        _define_slide(root, slide_id, (project, cohort, batch))
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
    exposure = _per_layer(exposure_time_ms, shape[2], "exposure_time_ms")
    if exposure is not None and not (np.isfinite(exposure) & (exposure > 0)).all():
        raise ValueError(f"exposure_time_ms must be above 0; got {exposure_time_ms}.")
    thresholds = _per_layer(background_threshold, shape[2], "background_threshold")
    if thresholds is None:
        thresholds = find_thresholds(files, shape, workers=workers, progress=progress, cancel=cancel)
    sums = ImageSums(np.zeros(shape), np.zeros(shape), np.zeros(shape, np.uint32), np.zeros(shape[2], np.int64))

    def read(file: Path) -> tuple[np.ndarray, np.ndarray]:
        pixels = _read_field(file, shape)
        return pixels, _find_tissue(pixels, thresholds)

    rows = []
    # results come in the order of the files, so the sums are the same bits for any number of workers
    for file, result, error in map_tasks(
        read, files, workers=workers, progress=progress, cancel=cancel, words="stacking fields"
    ):
        if error is not None:
            rows.append((str(file), np.nan, False, "", _words(file, error)))
            continue
        pixels, tissue = result
        share = float(tissue.mean())
        used = share >= min_tissue and share > 0
        if used:
            _add_field(sums, pixels, _without_rim(tissue), exposure)
        reason = "" if used else f"{100 * share:.1f} % tissue, less than {100 * min_tissue:g} %"
        rows.append((str(file), share, used, reason, ""))
    table = pd.DataFrame(rows, columns=["file", "tissue", "used", "reason", "error"])
    return FieldStack(sums, table, tuple(float(value) for value in thresholds))


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


def _per_layer(values: float | Sequence[float] | None, layers: int, name: str) -> np.ndarray | None:
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


def _add_field(sums: ImageSums, pixels: np.ndarray, tissue: np.ndarray, exposure: np.ndarray | None) -> None:
    for start in range(0, len(pixels), _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        values = pixels[rows].astype(float)
        if exposure is not None:
            values /= exposure
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
    workers, progress, cancel
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

    def sample(file: Path) -> np.ndarray:
        pixels = _read_field(file, shape)
        parts = [_smooth_layer(pixels, layer)[step // 2 :: step, step // 2 :: step] for layer in range(shape[2])]
        return np.stack([part.ravel() for part in parts])

    words = "finding the background"
    chosen = [files[place] for place in places]
    samples = [
        values
        for _, values, error in map_tasks(
            sample, chosen, workers=workers, progress=progress, cancel=cancel, words=words
        )
        if error is None
    ]
    if not samples:
        raise ValueError(f"At least one of {len(chosen)} sampled fields must be readable; none is.")
    return np.array([_otsu(values) for values in np.concatenate(samples, axis=1)])


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


# -------------------------------------------------------------------------------------------- files


def _dates(files: Sequence[Path]) -> tuple[str, str]:
    times = [file.stat().st_mtime for file in files if file.exists()] or [0.0]
    first, last = (datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S") for time in (min(times), max(times)))
    return first, last


_DEFINITION_INTEGERS = ("SampleID", "Project", "Cohort", "BatchID")


def _check_definition(root: Path, slide_id: str, numbers: tuple[int, int, int], replace: bool) -> None:
    """Refuse to give a listed slide other numbers, before anything is written."""
    path = root / "sampledef.csv"
    if replace or not path.exists():
        return
    table = read_table(path, columns=("SlideID", *_DEFINITION_INTEGERS), integers=_DEFINITION_INTEGERS)
    for row in table[table["SlideID"] == slide_id].to_dict("records"):
        listed = row["Project"], row["Cohort"], row["BatchID"]
        if listed != numbers:
            raise ValueError(
                f"project, cohort and batch must be {listed} as {path} has them for {slide_id}; got {numbers}. "
                "Set replace=True to change them."
            )


def _define_slide(root: Path, slide_id: str, numbers: tuple[int, int, int]) -> None:
    """Give the slide its line in ``sampledef.csv``; others may be writing theirs at the same time."""

    def change(table: pd.DataFrame | None) -> pd.DataFrame:
        if table is None:
            table = pd.DataFrame(columns=list(SAMPLEDEF_COLUMNS))
        listed = table["SlideID"] == slide_id
        if listed.any():
            table.loc[listed, ["Project", "Cohort", "BatchID"]] = numbers
            return table
        number = int(table["SampleID"].max()) + 1 if len(table) else 1
        project, cohort, batch = numbers
        values = {
            "SampleID": number, "SlideID": slide_id, "Project": project, "Cohort": cohort, "Scan": 1,
            "BatchID": batch, "isGood": 1,
        }  # fmt: skip
        added = pd.DataFrame([{name: values.get(name, "") for name in table.columns}], dtype=object)
        return pd.concat([table, added], ignore_index=True) if len(table) else added

    columns = ("SlideID", *_DEFINITION_INTEGERS)
    update_table(root / "sampledef.csv", change, columns=columns, integers=_DEFINITION_INTEGERS)


def write_mean_image(
    root: str | os.PathLike[str],
    slide_id: str,
    mean: np.ndarray,
    standard_error: np.ndarray,
    sum_images_squared: np.ndarray,
    mask_stack: np.ndarray,
    *,
    filters: Sequence[tuple[str, float]],
    files: Sequence[str],
    dates: tuple[str, str],
    meanimage_folder: str = "meanimage",
    project: int = 1,
    cohort: int = 1,
    microscope_name: str = "unknown",
) -> Path:
    """Write the mean-image files of one slide, without its line in ``sampledef.csv``.

    Parameters
    ----------
    root, slide_id
        The slide's place and name.
    mean, standard_error, sum_images_squared, mask_stack
        (rows, columns, layers).
    filters
        Excitation filter and emission wavelength in nm of every layer.
    files
        Names of the fields stacked.
    dates
        Of the first and the last field, ``YYYY-MM-DD hh:mm:ss``.
    meanimage_folder
        Name of the folder below ``im3``.
    project, cohort, microscope_name
        Written into the metadata.

    Returns
    -------
    Path
        The folder of the mean image.
    """
    folder = Path(root) / slide_id / "im3"
    target = folder / meanimage_folder
    (folder / "Scan1").mkdir(parents=True, exist_ok=True)
    write_slide_xml(folder / "xml", slide_id, mean.shape, filters)
    layers = list(range(1, mean.shape[2] + 1))
    rows = [(slide_id, name, "bulk", "stacking", str(layers)) for name in files]
    write_table(pd.DataFrame(rows, columns=list(FIELD_COLUMNS)), target / "fields_used.csv")
    row = (slide_id, project, cohort, microscope_name, *dates)
    summary = target / f"{slide_id}-metadata_summary_stacked_images.csv"
    write_table(pd.DataFrame([row], columns=list(METADATA_COLUMNS)), summary)
    parts = {
        "mask_stack": (mask_stack, "<u8"),
        "sum_images_squared": (sum_images_squared, "<f8"),
        "std_err_of_mean_image": (standard_error, "<f8"),
        "mean_image": (mean, "<f8"),
    }
    write_raw({target / f"{slide_id}-{name}.bin": part for name, part in parts.items()})
    return target


def write_slide_xml(
    folder: str | os.PathLike[str],
    slide_id: str,
    shape: tuple[int, int, int],
    filters: Sequence[tuple[str, float]],
) -> None:
    """Write the two XML files that tell a slide's shape and the filter and wavelength in nm of every layer."""
    rows, columns, layers = shape
    with whole_file(Path(folder) / f"{slide_id}.Parameters.xml", "w", encoding="utf-8") as handle:
        handle.write(
            '<?xml version="1.0" encoding="utf-8"?>\n<IM3Fragment>\n'
            f'  <D name="Shape" type="Int32" size="3">{columns} {rows} {layers}</D>\n</IM3Fragment>\n'
        )
    entries = "".join(
        f'<G name="{i}"><G name="Spectrum"><G name="0"><D name="Wavelengths">{nm:g}</D></G></G>'
        f'<G name="AcquisitionSettings"><G name="0"><D name="ExcitationFilterName">{escape(name)}</D></G></G></G>\n'
        for i, (name, nm) in enumerate(filters)
    )
    with whole_file(Path(folder) / f"{slide_id}.Full.xml", "w", encoding="utf-8") as handle:
        handle.write(
            '<?xml version="1.0" encoding="utf-8"?>\n'
            f'<IM3><G><G><G><G name="Spectra">\n{entries}</G></G></G></G></IM3>\n'
        )
