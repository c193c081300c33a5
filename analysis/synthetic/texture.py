"""Tiles of an electron microscope's grid whose classes are known: film, holes, crystals, and the dark border."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from scipy.ndimage import gaussian_filter

CLASSES = ("film", "hole", "crystal", "border")
"""Classes by their number in label images."""
EXAMPLE_TILE_SET: dict[str, Any] = {"tiles": (2, 3), "shape": (512, 512), "border": True, "seed": 4}
"""Keywords of `draw_tile_set` for demonstrations: six tiles under shading, with a border at the left."""

_BRIGHTNESS = {"film": 10_000, "hole": 12_500, "crystal": 7_500, "border": 450}
_NOISE = {"film": 1_000, "hole": 700, "crystal": 1_400, "border": 60}
_GRAIN_PX = {"film": 0.8, "hole": 0.8, "crystal": 1.4, "border": 0.5}


@dataclass(frozen=True)
class TileSetTruth:
    """A set of tiles on disk and the truth it was drawn from.

    Attributes
    ----------
    folder
        Holds ``tiles`` and ``labels`` (an 8-bit TIFF of classes for each tile, under the same name).
    files, labels
        Paths of the tiles and of their label images, row by row.
    tiles
        (rows, columns) of the set.
    label_images
        (rows, columns) uint8 for each tile: 0 film, 1 hole, 2 crystal, 3 border.
    surface
        (rows, columns) float64: the light that all tiles share, mean 1.
    settings
        The keyword arguments used.
    """

    folder: Path
    files: tuple[Path, ...]
    labels: tuple[Path, ...]
    tiles: tuple[int, int]
    label_images: tuple[np.ndarray, ...]
    surface: np.ndarray
    settings: dict[str, Any] = field(default_factory=dict)

    def patch_classes(
        self, starts_y: Sequence[int], starts_x: Sequence[int], patch_size: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the class that most pixels of each patch have, and their share.

        Parameters
        ----------
        starts_y, starts_x
            First rows and first columns of the patches, which are all combinations of these.
        patch_size
            (rows, columns) of a patch in pixels.

        Returns
        -------
        tuple of ndarray
            Both (patches,), tile after tile and row by row: the class and its share, 0 to 1.
        """
        shares = []
        for image in self.label_images:
            views = np.lib.stride_tricks.sliding_window_view(image, patch_size)
            chosen = views[np.ix_(starts_y, starts_x)]
            shares.append([(chosen == number).mean(axis=(2, 3)).ravel() for number in range(len(CLASSES))])
        share = np.concatenate(shares, axis=1)
        return share.argmax(axis=0), share.max(axis=0)


def draw_tile_set(
    folder: str | os.PathLike[str],
    *,
    tiles: tuple[int, int] = (2, 2),
    shape: tuple[int, int] = (512, 512),
    dtype: str = "uint16",
    holes: int = 2,
    crystals: int = 2,
    border: bool = False,
    shading: float = 0.6,
    seed: int = 0,
) -> TileSetTruth:
    """Draw a set of tiles under a light that falls off to one side and to the corners, and write it with its classes.

    Film is of medium grey; holes are brighter and smoother, crystals darker and coarse. The light multiplies
    all of it, noise too.

    Parameters
    ----------
    folder
        Where ``tiles`` and ``labels`` are made.
    tiles
        (rows, columns) of the set; names are ``Tile_<row>-<column>.tif``.
    shape
        (rows, columns) of a tile in pixels.
    dtype
        ``"uint8"``, ``"uint16"`` or ``"float32"`` (0 to 1).
    holes, crystals
        In each tile.
    border
        Whether the tiles of the first column have a dark border at their left.
    shading
        How much light is lost where it is darkest, 0 to 0.9.
    seed
        Of the random numbers.

    Returns
    -------
    TileSetTruth

    Raises
    ------
    ValueError
        When the type is none of these, the shading is not 0 to 0.9, or a tile is smaller than 64 pixels.

    Examples
    --------
    >>> import tempfile
    >>> truth = draw_tile_set(tempfile.mkdtemp(), tiles=(1, 2), shape=(64, 96))
    >>> [path.name for path in truth.files], truth.label_images[0].shape
    (['Tile_001-001.tif', 'Tile_001-002.tif'], (64, 96))
    """
    if dtype not in ("uint8", "uint16", "float32"):
        raise ValueError(f"dtype must be uint8, uint16 or float32; got {dtype!r}.")
    if not 0 <= shading <= 0.9:
        raise ValueError(f"shading must be from 0 to 0.9; got {shading}.")
    if min(shape) < 64:
        raise ValueError(f"shape must be at least 64 x 64 px; got {shape[0]} x {shape[1]}.")
    settings = {
        "tiles": tiles, "shape": shape, "dtype": dtype, "holes": holes, "crystals": crystals, "border": border,
        "shading": shading, "seed": seed,
    }  # fmt: skip
    rng = np.random.default_rng(seed)
    surface = _draw_light(shape, shading)
    folder, files, labels, images = Path(folder), [], [], []
    for name in ("tiles", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for row in range(tiles[0]):
        for column in range(tiles[1]):
            classes = _draw_classes(rng, shape, holes, crystals, border and column == 0)
            pixels = _draw_pixels(rng, classes) * surface
            name = f"Tile_{row + 1:03d}-{column + 1:03d}.tif"
            files.append(folder / "tiles" / name)
            labels.append(folder / "labels" / name)
            tifffile.imwrite(files[-1], _to_type(pixels, dtype))
            tifffile.imwrite(labels[-1], classes)
            images.append(classes)
    return TileSetTruth(folder, tuple(files), tuple(labels), tuple(tiles), tuple(images), surface, settings)


def _draw_light(shape: tuple[int, int], loss: float) -> np.ndarray:
    y, x = np.meshgrid(*(np.linspace(-1, 1, length) for length in shape), indexing="ij")
    fall = 0.62 * (1 - x) / 2 + 0.16 * (1 + y) / 2 + 0.22 * (x**2 + y**2) / 2
    light = 1 - loss * (fall - fall.min()) / np.ptp(fall)
    return light / light.mean()


def _draw_classes(
    rng: np.random.Generator, shape: tuple[int, int], holes: int, crystals: int, border: bool
) -> np.ndarray:
    """Discs and turned rectangles at places that keep apart as far as there is room."""
    classes = np.zeros(shape, np.uint8)
    y, x = np.indices(shape)
    side, taken = min(shape), []
    for number in range(holes + crystals):
        radius = side * rng.uniform(0.15, 0.2)
        tries = [(rng.uniform(0, shape[0]), rng.uniform(0, shape[1])) for _ in range(40)]
        at = max(tries, key=lambda place: min((np.hypot(place[0] - a, place[1] - b) for a, b in taken), default=0))
        taken.append(at)
        angle = rng.uniform(0, np.pi)
        along = (y - at[0]) * np.sin(angle) + (x - at[1]) * np.cos(angle)
        across = (y - at[0]) * np.cos(angle) - (x - at[1]) * np.sin(angle)
        if number < holes:
            classes[np.hypot(along, across) < radius] = 1
        else:
            classes[(np.abs(along) < radius) & (np.abs(across) < 0.75 * radius)] = 2
    if border:
        edge = shape[1] * (0.12 + 0.03 * np.sin(np.linspace(0, 3 * np.pi, shape[0]) + rng.uniform(0, 6)))
        classes[x < edge[:, None]] = 3
    return classes


def _draw_pixels(rng: np.random.Generator, classes: np.ndarray) -> np.ndarray:
    pixels = np.empty(classes.shape)
    for number, name in enumerate(CLASSES):
        inside = classes == number
        if inside.any():
            noise = gaussian_filter(rng.standard_normal(classes.shape), _GRAIN_PX[name])
            pixels[inside] = _BRIGHTNESS[name] + (_NOISE[name] / noise.std() * noise)[inside]
    return pixels


def _to_type(pixels: np.ndarray, dtype: str) -> np.ndarray:
    if dtype == "float32":
        return (pixels / 65535).astype(np.float32)
    most = np.iinfo(dtype).max
    return np.clip(np.round(pixels / (257 if dtype == "uint8" else 1)), 0, most).astype(dtype)
