"""Shading: the uneven light that all tiles of a set share, estimated from them or given, and taken off."""

from __future__ import annotations

import hashlib
import math
import os
import threading
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.polynomial import legendre

from analysis.images import open_raw, read_image
from analysis.tasks import Progress, map_tasks
from analysis.texture._store import Store, key_of
from analysis.texture._surface import Kind, fit_surface, read_blocks
from analysis.texture._tile_set import TileSet, describe_state, sentence_of

KINDS = ("multiplicative", "additive")
MOST_TILES = 500
"""Tiles that a surface is fitted to; more take time and memory and change it by less than their noise."""


@dataclass(frozen=True)
class Shading:
    """Relative light of every pixel of a tile, the same for all tiles.

    Attributes
    ----------
    shape
        (rows, columns) of the tiles in pixels.
    kind
        ``"multiplicative"``: tiles are divided by the surface, whose mean is 1. ``"additive"``: the surface, whose mean
        is 0, is taken off.
    coefficients
        (order + 1, order + 1) of Legendre polynomials over rows and columns, both from -1 to 1, whose sum is the
        logarithm of the surface (multiplicative) or the surface; None of a given image.
    image
        (rows, columns) that was given; None of a fitted surface.
    table
        One row a tile: ``file, brightness`` (median of its blocks, counts), ``used`` (share of its differences of
        blocks that had weight in the fit). Empty of a given image.
    warnings
        Sentences on what makes the surface doubtful.
    settings
        The keyword arguments used.
    """

    shape: tuple[int, int]
    kind: Kind
    coefficients: np.ndarray | None
    image: np.ndarray | None
    table: pd.DataFrame
    warnings: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def surface(self) -> np.ndarray:
        """(rows, columns) float64, mean 1 (multiplicative) or 0 (additive)."""
        if self.image is not None:
            return self.image
        y, x = (np.linspace(-1, 1, length) if length > 1 else np.zeros(1) for length in self.shape)
        surface = legendre.leggrid2d(y, x, self.coefficients)
        if self.kind == "additive":
            return surface - surface.mean()
        surface = np.exp(surface)
        return surface / surface.mean()

    @cached_property
    def _applied(self) -> np.ndarray:
        return (1 / self.surface if self.kind == "multiplicative" else self.surface).astype(np.float32)

    def apply(self, band: np.ndarray, start: int = 0) -> np.ndarray:
        """Return rows of a tile without shading, in float32, or in float64 when the tile is.

        Parameters
        ----------
        band
            (rows, columns).
        start
            First row of the band in the tile.
        """
        kind = np.float32 if band.dtype.itemsize <= 2 or band.dtype == np.float32 else np.float64
        rows = self._applied[start : start + len(band)]
        act = np.multiply if self.kind == "multiplicative" else np.subtract
        return act(band, rows, dtype=kind)

    @property
    def key(self) -> str:
        """A word that differs between shadings."""
        numbers = self.image if self.image is not None else self.coefficients
        return hashlib.sha256(f"{self.shape}{self.kind}".encode() + np.ascontiguousarray(numbers).tobytes()).hexdigest()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what can be computed again: workers of other processes get the coefficients only."""
        return {name: value for name, value in self.__dict__.items() if name not in ("surface", "_applied")}

    def summary(self) -> dict[str, Any]:
        """Return the kind, the smallest and largest value of the surface, tiles it was fitted to, and warnings."""
        return {
            "kind": self.kind,
            "lowest": float(self.surface.min()),
            "highest": float(self.surface.max()),
            "tiles": len(self.table),
            "warnings": list(self.warnings),
        }


def estimate_shading(
    tile_set: TileSet,
    *,
    order: int = 4,
    kind: Kind = "multiplicative",
    workers: int | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> Shading:
    """Fit one smooth surface to all tiles of a set.

    Every tile is averaged in 32 x 32 blocks. Within a hole, a crystal or the film, neighbouring blocks differ by the
    shading and noise alone, whatever their own brightness; only at boundaries they differ by more. So the surface, a
    sum of polynomials of rows and columns, is fitted to the differences of blocks 1, 2 and 4 apart in all tiles
    together, by least squares whose weights (Tukey's biweight) fall to 0 at boundaries. Uneven light multiplies what is
    seen: then these are differences of logarithms, of blocks of at least a fifth of the median, and tiles are divided
    by the surface. ``"additive"`` is for stray light and for images with values below 0.

    Parameters
    ----------
    tile_set
        Tiles. Those of another shape than most are left out; of more than 500 as many are taken, spread evenly.
    order
        Highest power of rows and columns together, 1 to 8.
    kind
        ``"multiplicative"`` or ``"additive"``.
    workers, executor
        As in `measure_patches`.
    progress
        Called with tiles done, tiles, and words.
    cancel
        Stops the work when set.

    Returns
    -------
    Shading
        The same for any order of the files.

    Raises
    ------
    ValueError
        When the order or kind is none of these, no tile can be read, or tiles are not positive and the kind is
        multiplicative.
    analysis.tasks.Cancelled
        When it was stopped.
    """
    if not 1 <= order <= 8:
        raise ValueError(f"order must be from 1 to 8; got {order}.")
    if kind not in KINDS:
        raise ValueError(f"kind must be {' or '.join(KINDS)}; got {kind!r}.")
    infos = [info for info in tile_set.infos if (info.rows, info.columns) == tile_set.shape]
    if len(infos) > MOST_TILES:
        infos = [infos[number] for number in np.linspace(0, len(infos) - 1, MOST_TILES).round().astype(int)]
    blocks, used = [], []
    function = partial(read_blocks, channel=tile_set.channel)
    tasks = map_tasks(
        function,
        infos,
        workers=workers,
        executor=executor,
        progress=progress,
        cancel=cancel,
        words="looking for shading",
    )
    reasons = []
    for info, found, error in tasks:
        if error is not None:
            reasons.append(sentence_of(info.path, error))
        elif np.isfinite(found).sum() > (order + 1) * (order + 2) / 2:
            blocks.append(found)
            used.append(info)
        else:
            reasons.append(f"{info.path} has too few finite pixels for a surface of order {order}.")
    if not blocks:
        said = f" The first: {reasons[0]}" if reasons else ""
        raise ValueError(f'shading must be estimated from at least one tile, or be "none"; no tile can be used.{said}')
    settings = {"order": order, "kind": kind}
    coefficients, weights = fit_surface(np.array(blocks), tile_set.shape, order, kind)
    share = (weights > 0).mean(axis=1)
    brightness = [float(np.nanmedian(each)) for each in blocks]
    table = pd.DataFrame({"file": [str(info.path) for info in used], "brightness": brightness, "used": share})
    warnings = _doubts(len(used), float(share.mean()))
    return Shading(tile_set.shape, kind, coefficients, None, table, tuple(warnings), settings)


def make_shading(
    source: str | os.PathLike[str] | np.ndarray,
    *,
    shape: tuple[int, int] | None = None,
    layer: int = 1,
    kind: Kind = "multiplicative",
) -> Shading:
    """Make a shading of an image of the light, such as a registered flatfield model.

    Parameters
    ----------
    source
        (rows, columns) or (rows, columns, layers) of numbers, a TIFF or PNG file, or a headerless file of float64 that
        ends in ``.bin``, rows by columns by layers.
    shape
        (rows, columns) of the tiles; needed for ``.bin``, and compared with the others when given.
    layer
        Layer that is used, from 1.
    kind
        ``"multiplicative"`` or ``"additive"``.

    Returns
    -------
    Shading

    Raises
    ------
    ValueError
        When the shape is another one, the layer is not there, or a value is not finite, or not above 0 to divide by.
    OSError
        When the file cannot be opened.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be {' or '.join(KINDS)}; got {kind!r}.")
    name = "the flatfield image" if isinstance(source, np.ndarray) else str(source)
    pixels = source if isinstance(source, np.ndarray) else _read_model(Path(source), shape)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or not 1 <= layer <= pixels.shape[2]:
        raise ValueError(f"{name} must have rows, columns and a layer {layer}; its shape is {pixels.shape}.")
    if shape is not None and pixels.shape[:2] != tuple(shape):
        raise ValueError(f"{name} must be as large as the tiles, {shape[0]} x {shape[1]} px; got {pixels.shape[:2]}.")
    image = np.array(pixels[..., layer - 1], float)
    if not np.isfinite(image).all() or (kind == "multiplicative" and not (image > 0).all()):
        raise ValueError(
            f"{name} must be finite{' and above 0' if kind == 'multiplicative' else ''} everywhere; it is not."
        )
    image = image / image.mean() if kind == "multiplicative" else image - image.mean()
    settings = {"source": name, "layer": layer, "kind": kind}
    table = pd.DataFrame({"file": [], "brightness": [], "used": []})
    return Shading(image.shape, kind, None, image, table, (), settings)


def _read_model(path: Path, shape: tuple[int, int] | None) -> np.ndarray:
    if path.suffix.lower() != ".bin":
        return read_image(path).pixels
    if shape is None:
        raise ValueError(f"shape must be given for {path}, which does not say how many rows and columns it has.")
    layers, rest = divmod(os.stat(path).st_size, 8 * math.prod(shape))
    if rest or not layers:
        raise ValueError(f"{path} must hold float64 for tiles of {shape[0]} x {shape[1]} px; its size does not fit.")
    return open_raw(path, (*shape, layers), "<f8")


def find_shading(
    tile_set: TileSet, shading: Any, store: Store | None, loop: dict[str, Any]
) -> tuple[Shading | None, tuple[str, ...]]:
    """Return the shading to take off, None for none, and what is to be said about it.

    Parameters
    ----------
    tile_set
        The tiles.
    shading
        As in `measure_patches`.
    store
        Where a fitted surface is kept.
    loop
        Keywords of `analysis.tasks.map_tasks`.
    """
    if isinstance(shading, Shading):
        if shading.shape != tile_set.shape:
            raise ValueError(f"the shading must be as large as the tiles, {tile_set.shape} px; got {shading.shape}.")
        return shading, shading.warnings
    if isinstance(shading, str) and shading == "none":
        return None, ()
    if not (isinstance(shading, str) and shading == "surface"):
        return make_shading(shading, shape=tile_set.shape), ()
    if store is None:
        found = estimate_shading(tile_set, **loop)
        return found, found.warnings
    try:
        states = sorted(describe_state(info) for info in tile_set.infos)
    except OSError:  # a tile vanished: its own row will say so
        found = estimate_shading(tile_set, **loop)
        return found, found.warnings
    key = key_of("shading", states, tile_set.channel)
    found = _of_arrays(store.read(key))
    if found is None:
        found = estimate_shading(tile_set, **loop)
        store.write(key, _to_arrays(found))
    return found, found.warnings


def _to_arrays(shading: Shading) -> dict[str, np.ndarray]:
    """Return a fitted shading as arrays to be kept."""
    return {
        "coefficients": shading.coefficients,
        "shape": np.array(shading.shape),
        "tiles": shading.table["file"].to_numpy(str),
        "brightness": shading.table["brightness"].to_numpy(float),
        "used": shading.table["used"].to_numpy(float),
        "warnings": np.array(shading.warnings, dtype=str),
    }


def _of_arrays(arrays: Mapping[str, np.ndarray]) -> Shading | None:
    """Return the multiplicative shading that `_to_arrays` took apart; None when something is missing."""
    if not {"coefficients", "shape", "tiles", "brightness", "used", "warnings"} <= set(arrays):
        return None
    columns = {"file": "tiles", "brightness": "brightness", "used": "used"}
    table = pd.DataFrame({name: arrays[key].tolist() for name, key in columns.items()})
    shape = int(arrays["shape"][0]), int(arrays["shape"][1])
    settings = {"order": len(arrays["coefficients"]) - 1, "kind": "multiplicative"}
    said = tuple(map(str, arrays["warnings"]))
    return Shading(shape, "multiplicative", arrays["coefficients"], None, table, said, settings)


def _doubts(tiles: int, used: float) -> list[str]:
    said = []
    if tiles == 1:
        said.append("The shading was fitted to one tile, so wide structures of that tile are taken for shading.")
    if used < 0.5:
        said.append(
            f"Only {used:.0%} of the differences of blocks follow the fitted shading; look at it before you rely on it."
        )
    return said
