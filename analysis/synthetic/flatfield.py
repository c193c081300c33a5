"""Cohorts of slides whose illumination is known."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile

from analysis.flatfield._slide_files import write_mean_image
from analysis.tables import write_table

# Filter, first emission wavelength in nm and number of layers of a microscope with 35 layers.
_FILTERS = (("DAPI", 440, 9), ("FITC", 520, 9), ("Cy3", 570, 7), ("Texas Red", 620, 7), ("Cy5", 680, 3))

EXAMPLE_COHORT = {"seed": 28, "shape": (96, 128, 35), "images": 400, "noise": 0.35, "depth": 0.25, "difference": 0.03}
"""Keywords of `draw_cohort` for demonstrations: groups that differ by a tenth or two of the statistic."""


@dataclass(frozen=True)
class Cohort:
    """A cohort on disk and the truth it was drawn from.

    Attributes
    ----------
    roots
        Folders with ``sampledef.csv``, one a project.
    slide_ids
        Names of the slides in the order of the tables.
    groups
        True illumination group of every slide; -1 for an outlier that shares it with nobody.
    illumination
        (groups, rows, columns, layers): relative illumination of each group, mean 1 in every layer.
    """

    roots: tuple[Path, ...]
    slide_ids: tuple[str, ...]
    groups: tuple[int, ...]
    illumination: np.ndarray


def filters_of_layers(layers: int) -> list[tuple[str, int]]:
    """Return (excitation filter, emission wavelength in nm) of every layer, shared out as on a 35-layer microscope."""
    total = sum(count for *_, count in _FILTERS)
    ends = np.round(np.cumsum([count for *_, count in _FILTERS]) * layers / total).astype(int)
    chosen, start = [], 0
    for (name, first_nm, _), end in zip(_FILTERS, ends, strict=True):
        chosen += [(name, first_nm + 10 * i) for i in range(end - start)]
        start = end
    return chosen


def draw_illumination(shape: tuple[int, int, int], rng: np.random.Generator, *, depth: float = 0.12) -> np.ndarray:
    """Return a smooth relative illumination with mean 1 in every layer.

    Parameters
    ----------
    shape
        (rows, columns, layers).
    rng
        Where the centre, width and tilt come from.
    depth
        How much darker the corners are, 0-1.

    Returns
    -------
    ndarray of float64
        Positive.
    """
    rows, columns, layers = shape
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    pattern = np.empty(shape)
    centre, tilt = rng.uniform(-0.45, 0.45, 2), depth * rng.uniform(-0.3, 0.3, 2)
    for layer in range(layers):
        row, column = centre + rng.normal(0, 0.05, 2)
        hollow = 1 - depth * ((y - row) ** 2 + (x - column) ** 2) / 2
        pattern[..., layer] = hollow + tilt[0] * y + tilt[1] * x
    return _mean_one(pattern)


def _mean_one(pattern: np.ndarray) -> np.ndarray:
    return pattern / pattern.mean(axis=(0, 1))


def draw_cohort(
    folder: str | os.PathLike[str],
    *,
    seed: int = 0,
    shape: tuple[int, int, int] = (64, 86, 35),
    sizes: Sequence[int] = (6, 5),
    outliers: int = 1,
    images: int = 400,
    noise: float = 0.25,
    depth: float = 0.2,
    difference: float = 0.12,
    meanimage_folder: str = "meanimage",
) -> Cohort:
    """Draw slides that share illumination in groups, and write their mean images as AstroPath does.

    Every group is a project of its own root; outliers join the last one. A pixel of a slide is the mean of
    ``images`` exposures, each with a normal noise of ``noise`` times the signal.

    Parameters
    ----------
    folder
        Where the roots ``project1``, ``project2``, ... are made.
    seed
        Of the random numbers.
    shape
        (rows, columns, layers) of the images.
    sizes
        Number of slides in each group.
    outliers
        Slides with an illumination of their own.
    images
        Images stacked in every pixel.
    noise
        Standard deviation of one exposure relative to the signal.
    depth
        How much darker the corners are on every slide.
    difference
        How much a group's own illumination, on top of that, differs from the middle to the corners.
    meanimage_folder
        Name of the folder below ``im3``.

    Returns
    -------
    Cohort
        The roots and the truth.
    """
    rng = np.random.default_rng(seed)
    groups = [group for group, size in enumerate(sizes) for _ in range(size)] + [-1] * outliers
    projects = [group + 1 if group >= 0 else len(sizes) for group in groups]
    shared = draw_illumination(shape, rng, depth=depth)
    patterns = np.stack([_mean_one(shared * draw_illumination(shape, rng, depth=difference)) for _ in sizes])
    roots = tuple(Path(folder) / f"project{i + 1}" for i in range(len(sizes)))
    names, definitions = [], {root: [] for root in roots}
    brightness = rng.uniform(5, 40, shape[2])
    for index, (group, project) in enumerate(zip(groups, projects, strict=True)):
        root, number = roots[project - 1], len(definitions[roots[project - 1]]) + 1
        name = f"M{project}_{number}"
        own = patterns[group] if group >= 0 else shared * draw_illumination(shape, rng, depth=2 * difference)
        pattern = _mean_one(own)
        signal = brightness * pattern * rng.uniform(0.7, 1.4, shape[2])
        write_slide(root, name, *_stack(signal, images, noise, rng), meanimage_folder=meanimage_folder, project=project)
        names.append(name)
        definitions[root].append((index + 1, name, project, project, 1, 1 + (number > sizes[project - 1] // 2), 1))
    for root, rows in definitions.items():
        columns = ["SampleID", "SlideID", "Project", "Cohort", "Scan", "BatchID", "isGood"]
        write_table(pd.DataFrame(rows, columns=columns), root / "sampledef.csv")
    return Cohort(tuple(root.resolve() for root in roots), tuple(names), tuple(groups), patterns)


def _stack(signal: np.ndarray, images: int, noise: float, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Mean, standard error, sum of squares and mask stack of exposures of a signal."""
    standard_error = noise * signal / np.sqrt(images)
    mean = signal + standard_error * rng.standard_normal(signal.shape)
    mask_stack = np.full(signal.shape, images, dtype=np.uint64)
    return mean, standard_error, images * (mean**2 + images * standard_error**2), mask_stack


def write_slide(
    root: Path,
    slide_id: str,
    mean: np.ndarray,
    standard_error: np.ndarray,
    sum_images_squared: np.ndarray,
    mask_stack: np.ndarray,
    *,
    meanimage_folder: str = "meanimage",
    project: int = 1,
) -> Path:
    """Write the files of one slide, without its line in ``sampledef.csv``.

    Parameters
    ----------
    root, slide_id
        The slide's place and name.
    mean, standard_error, sum_images_squared, mask_stack
        (rows, columns, layers).
    meanimage_folder
        Name of the folder below ``im3``.
    project
        Number written into the metadata.

    Returns
    -------
    Path
        The folder of the mean image.
    """
    return write_mean_image(
        root, slide_id, mean, standard_error, sum_images_squared, mask_stack,
        filters=filters_of_layers(mean.shape[2]),
        files=[f"{slide_id}_[{1000 * i},2000].tif" for i in range(3)],
        dates=("2021-01-01 10:00:00", "2021-01-01 18:00:00"),
        meanimage_folder=meanimage_folder, project=project, cohort=project, microscope_name="synthetic",
    )  # fmt: skip


def draw_fields(
    folder: str | os.PathLike[str],
    *,
    seed: int = 0,
    shape: tuple[int, int, int] = (96, 128, 3),
    fields: int = 40,
    tissue: float = 0.95,
    depth: float = 0.2,
) -> np.ndarray:
    """Draw the fields of one slide as multi-layer OME-TIFF files under a known illumination.

    Parameters
    ----------
    folder
        Where ``field_000.ome.tif``, ... (uint16, axes CYX) are written.
    seed
        Of the random numbers.
    shape
        (rows, columns, layers).
    fields
        How many.
    tissue
        Share of the field covered by tissue, 0-1; every tenth field has a third of it.
    depth
        How much darker the corners are.

    Returns
    -------
    ndarray of float64
        The true relative illumination, (rows, columns, layers), mean 1 in every layer.
    """
    rng = np.random.default_rng(seed)
    illumination = draw_illumination(shape, rng, depth=depth)
    rows, columns, layers = shape
    Path(folder).mkdir(parents=True, exist_ok=True)
    for number in range(fields):
        covered = tissue if number % 10 != 9 else tissue / 3
        empty = round((1 - covered) * columns)
        inside = np.ones((rows, columns, 1))
        start = rng.integers(0, columns)
        inside[:, (start + np.arange(empty)) % columns] = 0
        texture = rng.gamma(20, 1 / 20, (rows, columns, 1)) * inside
        values = 40 + 3000 * illumination * texture + rng.normal(0, 5, (rows, columns, layers))
        pixels = np.clip(np.rint(values), 0, 65535).astype(np.uint16).transpose(2, 0, 1)
        path = Path(folder) / f"field_{number:03d}.ome.tif"
        tifffile.imwrite(path, pixels, metadata={"axes": "CYX"}, photometric="minisblack")
    return illumination
