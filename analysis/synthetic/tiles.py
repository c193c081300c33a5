"""Microscope images of branched cells whose masks, boxes and pixel size are known."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import tifffile
from PIL import Image as PillowImage

Kind = Literal["grey", "colour", "channels", "stack"]
FileType = Literal["ome", "imagej", "tiff", "png", "jpg"]

EXAMPLE_IMAGES: dict[str, Any] = {"count": 4, "shape": (700, 900), "pixel_size_um": 0.5, "cells": 16, "seed": 11}
"""Keywords of `draw_images` for demonstrations: four images of pixels larger than models expect."""

_SOMA_UM, _BRANCH_UM, _WIDTH_UM = 4.0, 22.0, 1.1
_ENDINGS = {"ome": ".ome.tif", "imagej": ".tif", "tiff": ".tif", "png": ".png", "jpg": ".jpg"}
_DEEPEST = {"uint8": 255, "uint16": 65535, "float32": 1.0}


@dataclass(frozen=True)
class DrawnImages:
    """Images on disk and the truth they were drawn from.

    Attributes
    ----------
    folder
        Holds ``images``, ``masks`` (a TIFF of labels for each image, under the same stem) and ``labels`` (a text file
        of boxes for each image, as YOLO reads them: class, centre and size as shares of the image).
    files, masks, labels
        Paths of the images, of their masks and of their boxes, in the same order.
    cells
        One row a cell: ``image`` (number of the file), ``cell`` (its label in the mask, from 1), ``row_px, column_px,
        row_end_px, column_end_px`` (its box, ends exclusive), ``soma_row_px, soma_column_px, area_px``.
    label_images
        (rows, columns) of uint16 for each image: 0 for background.
    pixel_size_um
        Of every image.
    settings
        The keyword arguments used.
    """

    folder: Path
    files: tuple[Path, ...]
    masks: tuple[Path, ...]
    labels: tuple[Path, ...]
    cells: pd.DataFrame
    label_images: tuple[np.ndarray, ...]
    pixel_size_um: float
    settings: dict[str, Any] = field(default_factory=dict)


def draw_images(
    folder: str | os.PathLike[str],
    *,
    count: int = 4,
    shape: tuple[int, int] = (700, 900),
    dtype: str = "uint16",
    pixel_size_um: float = 0.5,
    cells: int = 9,
    noise: float = 0.02,
    kind: Kind = "grey",
    file_type: FileType = "imagej",
    seed: int = 0,
) -> DrawnImages:
    """Draw images of cells with branches on an uneven background, and write them with their masks and boxes.

    The brightness differs from image to image: the last is a quarter as bright as the first.

    Parameters
    ----------
    folder
        Where ``images``, ``masks`` and ``labels`` are made.
    count
        Number of images.
    shape
        (rows, columns) of each.
    dtype
        ``"uint8"``, ``"uint16"`` or ``"float32"`` (0 to 1).
    pixel_size_um
        Written into the files, but for PNG and JPEG, which are left without. Cells keep their size in micrometres.
    cells
        Number in each image; the last image of three or more has none in its left half.
    noise
        Standard deviation relative to the brightest cell.
    kind
        ``"grey"``; ``"colour"`` (red, green and blue last); ``"channels"`` (cells in the second of two); ``"stack"``
        (five planes, the third of them sharp).
    file_type
        ``"ome"``, ``"imagej"``, ``"tiff"`` (resolution in its tags), ``"png"`` or ``"jpg"``.
    seed
        Of the random numbers.

    Returns
    -------
    DrawnImages
        The files and the truth.

    Raises
    ------
    ValueError
        When the type, the kind or the file type is none of these, or files of that type cannot hold the others.

    Examples
    --------
    >>> import tempfile
    >>> drawn = draw_images(tempfile.mkdtemp(), count=1, shape=(200, 260), cells=2, seed=1)
    >>> drawn.files[0].name, drawn.label_images[0].max(), len(drawn.cells)
    ('cells_00.tif', np.uint16(2), 2)
    """
    settings = {
        "count": count, "shape": shape, "dtype": dtype, "pixel_size_um": pixel_size_um, "cells": cells, "noise": noise,
        "kind": kind, "file_type": file_type, "seed": seed,
    }  # fmt: skip
    _check(dtype, kind, file_type)
    rng = np.random.default_rng(seed)
    folder, paths, rows, labelled = Path(folder), [], [], []
    for number in range(count):
        halved = number == count - 1 >= 2
        light, labels, somas = draw_cells(shape, rng, cells=cells, pixel_size_um=pixel_size_um, right_only=halved)
        brightness = 0.85 * 0.25 ** (number / max(count - 1, 1))
        pixels = _expose(light, kind, brightness, noise, rng)
        paths.append(
            _write(folder, f"cells_{number:02d}", _to_type(pixels, dtype), labels, kind, file_type, pixel_size_um)
        )
        boxes = _find_boxes(labels, somas)
        _write_boxes(paths[-1][2], boxes, shape)
        rows += [(number, *box) for box in boxes]
        labelled.append(labels)
    columns = ["image", "cell", "row_px", "column_px", "row_end_px", "column_end_px", "soma_row_px", "soma_column_px",
               "area_px"]  # fmt: skip
    files, masks, texts = zip(*paths, strict=True) if paths else ((), (), ())
    table = pd.DataFrame(rows, columns=columns)
    return DrawnImages(folder, files, masks, texts, table, tuple(labelled), pixel_size_um, settings)


def draw_cells(
    shape: tuple[int, int],
    rng: np.random.Generator,
    *,
    cells: int = 9,
    pixel_size_um: float = 0.5,
    right_only: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw cells: a round soma from which a few branches wander off, getting thinner and darker.

    Parameters
    ----------
    shape
        (rows, columns).
    rng
        Where places and ways come from.
    cells
        Number of cells; a later one lies over an earlier one.
    pixel_size_um
        Somas have a radius of 4 um, branches a length of about 22 um.
    right_only
        Whether somas keep to the right half.

    Returns
    -------
    light
        (rows, columns) of float64, 0 to 1.
    labels
        (rows, columns) of uint16: number of the cell, from 1; 0 for background.
    somas
        (cells, 2) row and column of each soma.
    """
    light, labels = np.zeros(shape), np.zeros(shape, np.uint16)
    least = (shape[1] / 2 if right_only else 0.0, 0.0)[::-1]
    somas = rng.uniform(least, shape, (cells, 2))
    for number, soma in enumerate(somas, start=1):
        strength = rng.uniform(0.6, 1.0)
        _stamp(light, labels, number, soma[None], np.array([_SOMA_UM / pixel_size_um]), np.array([strength]))
        for angle in rng.uniform(0, 2 * np.pi, rng.integers(3, 7)):
            steps = int(rng.uniform(0.6, 1.4) * _BRANCH_UM / pixel_size_um)
            turns = angle + np.cumsum(rng.normal(0, 0.12, steps))
            way = soma + np.cumsum(np.stack([np.sin(turns), np.cos(turns)], axis=1), axis=0)
            fading = np.linspace(1, 0.3, steps)
            _stamp(light, labels, number, way, _WIDTH_UM / pixel_size_um * fading, 0.8 * strength * fading)
    return light, labels, somas


def _stamp(
    light: np.ndarray, labels: np.ndarray, number: int, places: np.ndarray, radii: np.ndarray, strengths: np.ndarray
) -> None:
    """Put discs with a soft rim at places; what is at least half as bright as the middle belongs to the cell."""
    reach = int(radii.max(initial=1) + 2)
    side = np.arange(-reach, reach + 1)
    offset = np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(-1, 2)
    pixel = np.rint(places).astype(int)[:, None] + offset
    distance = np.hypot(*np.moveaxis(pixel - places[:, None], -1, 0))
    share = np.clip(np.maximum(radii, 0.6)[:, None] + 0.5 - distance, 0, 1)
    inside = np.all((pixel >= 0) & (pixel < light.shape), axis=-1)
    row, column = np.moveaxis(pixel[inside], -1, 0)
    np.maximum.at(light, (row, column), (share * strengths[:, None])[inside])
    whole = share[inside] >= 0.5
    labels[row[whole], column[whole]] = number


def _expose(light: np.ndarray, kind: Kind, brightness: float, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Add background and noise; other kinds get their axes."""
    rows, columns = light.shape
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    background = 0.06 + 0.02 * np.cos(2 * y) * np.cos(1.5 * x)
    if kind == "stack":
        planes = [light * share for share in (0.1, 0.5, 1.0, 0.5, 0.1)]
    elif kind == "channels":
        planes = [0.3 * np.roll(light, rows // 3, axis=0), light]
    else:
        planes = [light * share for share in ((1.0, 0.55, 0.35) if kind == "colour" else (1.0,))]
    exposed = np.stack([brightness * (plane + background) for plane in planes])
    exposed += rng.normal(0, noise * brightness, exposed.shape)
    return np.moveaxis(exposed, 0, -1) if kind == "colour" else exposed[0] if kind == "grey" else exposed


def _to_type(pixels: np.ndarray, dtype: str) -> np.ndarray:
    stretched = np.clip(pixels, 0, 1) * _DEEPEST[dtype]
    return (stretched if dtype == "float32" else np.rint(stretched)).astype(dtype)


def _write(
    folder: Path, stem: str, pixels: np.ndarray, labels: np.ndarray, kind: Kind, file_type: FileType, size_um: float
) -> tuple[Path, Path, Path]:
    """Write an image and its mask; return these paths and that of its boxes."""
    image = folder / "images" / f"{stem}{_ENDINGS[file_type]}"
    mask, text = folder / "masks" / f"{stem}.tif", folder / "labels" / f"{stem}.txt"
    for path in (image, mask, text):
        path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(mask, labels, photometric="minisblack")
    if file_type in ("png", "jpg"):
        PillowImage.fromarray(pixels).save(image)
        return image, mask, text
    colour = "rgb" if kind == "colour" else "minisblack"
    axes = {"grey": "YX", "colour": "YXS", "channels": "CYX", "stack": "ZYX"}[kind]
    if file_type == "ome":
        metadata = {"axes": axes, "PhysicalSizeX": size_um, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": size_um,
                    "PhysicalSizeYUnit": "µm"}  # fmt: skip
        tifffile.imwrite(image, pixels, ome=True, photometric=colour, metadata=metadata)
    elif file_type == "imagej":
        resolution = (1 / size_um, 1 / size_um)
        metadata = {"axes": axes, "unit": "um"}
        tifffile.imwrite(image, pixels, imagej=True, photometric=colour, resolution=resolution, metadata=metadata)
    else:
        resolution = (1e4 / size_um, 1e4 / size_um)
        tifffile.imwrite(image, pixels, photometric=colour, resolution=resolution, resolutionunit="CENTIMETER")
    return image, mask, text


def _find_boxes(labels: np.ndarray, somas: np.ndarray) -> list[tuple[int, ...]]:
    """Return label, box, soma and area of every cell of which something is left to see."""
    boxes = []
    for number, soma in enumerate(somas, start=1):
        row, column = np.nonzero(labels == number)
        if len(row):
            ends = int(row.min()), int(column.min()), int(row.max()) + 1, int(column.max()) + 1
            boxes.append((number, *ends, float(soma[0]), float(soma[1]), len(row)))
    return boxes


def _write_boxes(path: Path, boxes: list[tuple[int, ...]], shape: tuple[int, int]) -> None:
    """Write boxes as YOLO reads them, all of class 0."""
    lines = []
    for _, row, column, row_end, column_end, *_ in boxes:
        middle = (column + column_end) / 2 / shape[1], (row + row_end) / 2 / shape[0]
        size = (column_end - column) / shape[1], (row_end - row) / shape[0]
        lines.append(" ".join(["0", *(f"{share:.8f}" for share in (*middle, *size))]) + "\n")
    path.write_text("".join(lines))


def _check(dtype: str, kind: str, file_type: str) -> None:
    for name, value, known in (
        ("dtype", dtype, tuple(_DEEPEST)),
        ("kind", kind, ("grey", "colour", "channels", "stack")),
        ("file_type", file_type, tuple(_ENDINGS)),
    ):
        if value not in known:
            raise ValueError(f"{name} must be {', '.join(known[:-1])} or {known[-1]}; got {value!r}.")
    flat = kind in ("grey", "colour")
    holds = {
        "png": flat and (dtype == "uint8" or (dtype == "uint16" and kind == "grey")),
        "jpg": flat and dtype == "uint8",
        "imagej": kind != "colour" or dtype == "uint8",
    }
    if not holds.get(file_type, True):
        raise ValueError(f"file_type must be ome or tiff for {kind} images of {dtype}; got {file_type!r}.")
