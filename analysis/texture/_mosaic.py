"""Pictures of tiles and of patches: the whole set in grey, where patches lie in it, and patches cut out."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from analysis.planes import PlaneInfo
from analysis.tasks import Progress, map_tasks
from analysis.texture._drawing import patch_of_pixels
from analysis.texture._patches import PLACE_COLUMNS, Patches
from analysis.texture._shading import Shading
from analysis.texture._tile_set import TileSet, open_tile, read_grey, sentence_of

_TAILS = (1, 99)
_BAND_ROWS = 1024


@dataclass(frozen=True)
class Mosaic:
    """A set of tiles as one picture.

    Attributes
    ----------
    pixels
        (rows, columns) uint8: grey, from 1 to 99 % of the values. Places without a tile are black.
    step
        Pixels of the tiles, along each side, that one pixel of the picture is the mean of.
    tile_shape
        (rows, columns) in pixels of the tiles that each place of the set has: those of the largest tile.
    tile_set
        The tiles.
    problems
        One row a tile that could not be read: ``file, error``.
    settings
        The keyword arguments used.
    """

    pixels: np.ndarray
    step: int
    tile_shape: tuple[int, int]
    tile_set: TileSet
    problems: pd.DataFrame
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def shape_px(self) -> tuple[int, int]:
        """(rows, columns) of the set in pixels of the tiles, as far as the picture goes."""
        return self.pixels.shape[0] * self.step, self.pixels.shape[1] * self.step

    @property
    def place_px(self) -> tuple[int, int]:
        """(rows, columns) from one tile to the next, in pixels of the tiles: whole pixels of the picture."""
        rows, columns = (-(-side // self.step) * self.step for side in self.tile_shape)
        return rows, columns

    def place_patches(self, patches: Patches) -> pd.DataFrame:
        """Return where each patch lies in the set, in pixels of the tiles from the upper left corner.

        Parameters
        ----------
        patches
            Of these tiles.

        Returns
        -------
        DataFrame
            One row a patch, as in their table: ``left, right, top, bottom``.
        """
        table = patches.table
        rows, columns = self.place_px
        top = table["tile_row"].to_numpy() * rows + table["row_px"].to_numpy()
        left = table["tile_column"].to_numpy() * columns + table["column_px"].to_numpy()
        return pd.DataFrame(
            {
                "left": left,
                "right": left + table["columns_px"].to_numpy(),
                "top": top,
                "bottom": top + table["rows_px"].to_numpy(),
            }
        )

    def number_pixels(self, patches: Patches) -> np.ndarray:
        """Return which patch each pixel of the picture belongs to.

        Parameters
        ----------
        patches
            Of these tiles.

        Returns
        -------
        ndarray
            Shape of ``pixels``, int32: row in the table of patches, or -1. Of patches that overlap the one whose middle
            is nearest counts.
        """
        found = np.full(self.pixels.shape, -1, np.int32)
        table = patches.table[list(PLACE_COLUMNS[5:])]
        of_tile = patches.table["tile"].to_numpy()
        order = np.argsort(of_tile, kind="stable")
        for chosen in np.split(order, np.flatnonzero(np.diff(of_tile[order])) + 1):
            number = int(of_tile[chosen[0]])
            info = self.tile_set.infos[number]
            at = patch_of_pixels(table.iloc[chosen], (info.rows, info.columns), step=self.step)
            found[self._area(number, at.shape)] = np.where(at >= 0, chosen[at], -1)
        return found

    def _area(self, number: int, shape: tuple[int, ...]) -> tuple[slice, slice]:
        rows, columns = (side // self.step for side in self.place_px)
        top = int(self.tile_set.table["row"].iloc[number]) * rows
        left = int(self.tile_set.table["column"].iloc[number]) * columns
        return slice(top, top + shape[0]), slice(left, left + shape[1])

    def summary(self) -> dict[str, Any]:
        """Return the shape of the picture, its step, and the number of problems."""
        return {"shape": list(self.pixels.shape), "step": self.step, "problems": len(self.problems)}


def read_mosaic(
    tile_set: TileSet,
    *,
    longest_px: int = 1600,
    shading: Shading | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> Mosaic:
    """Read a set of tiles as one picture.

    Parameters
    ----------
    tile_set
        As `find_tile_set` returns it.
    longest_px
        Longer side of the picture at most; larger sets are averaged over squares of whole pixels.
    shading
        Taken off first, where a tile has its shape; None shows the tiles as they are.
    workers
        Tiles read at once; all cores when None.
    progress
        Called with tiles read, tiles, and words.
    cancel
        Stops the reading when set.

    Returns
    -------
    Mosaic
        A tile that cannot be read is a row of its problems and stays black.

    Raises
    ------
    ValueError
        When the size is out of range.
    analysis.tasks.Cancelled
        When it was stopped.
    """
    if not 50 <= longest_px <= 20_000:
        raise ValueError(f"longest_px must be from 50 to 20000; got {longest_px}.")
    shape = tuple(max(sizes) for sizes in zip(*((info.rows, info.columns) for info in tile_set.infos), strict=True))
    step = max(1, -(-max(shape[0] * tile_set.rows, shape[1] * tile_set.columns) // longest_px))
    rows, columns = (-(-side // step) for side in shape)
    size = rows * tile_set.rows, columns * tile_set.columns
    empty = pd.DataFrame(columns=["file", "error"], dtype=object)
    settings = {"longest_px": longest_px, "shading": None if shading is None else dict(shading.settings)}
    mosaic = Mosaic(np.zeros(size, np.uint8), step, shape, tile_set, empty, settings)
    values, problems = np.full(size, np.nan, np.float32), []
    read = partial(_read_small, channel=tile_set.channel, step=step, shading=shading)
    loop = map_tasks(read, tile_set.infos, workers=workers, progress=progress, cancel=cancel, words="reading tiles")
    for number, (info, small, error) in enumerate(loop):
        if error is not None:
            problems.append((str(info.path), sentence_of(info.path, error)))
        else:
            values[mosaic._area(number, small.shape)] = small
    mosaic.pixels[:] = _stretch(values, _ends([values]))
    found = pd.DataFrame(problems, columns=["file", "error"], dtype=object)
    return Mosaic(mosaic.pixels, step, shape, tile_set, found, settings)


def cut_patches(
    patches: Patches, rows: Sequence[int], *, longest_px: int = 96, shading: bool = True
) -> list[np.ndarray]:
    """Cut patches out of their tiles, as pictures.

    Parameters
    ----------
    patches
        As `measure_patches` returns them.
    rows
        Of their table, in any order.
    longest_px
        Longer side of a picture at most; larger patches are averaged over squares of whole pixels.
    shading
        Whether the shading that the patches were measured without is taken off.

    Returns
    -------
    list of ndarray
        (rows, columns) uint8 each, in the order asked for, all in one grey scale, from 1 to 99 % of the values.

    Raises
    ------
    ValueError
        When a row is none of the table.
    OSError
        When a tile cannot be read.
    """
    table = patches.table
    rows = [int(row) for row in rows]
    wrong = [row for row in rows if not 0 <= row < len(table)]
    if wrong:
        raise ValueError(f"rows must be of the table, 0 to {len(table) - 1}; got {wrong[0]}.")
    light = patches.shading if shading else None
    cut: dict[int, np.ndarray] = {}
    for tile, chosen in table.iloc[sorted(set(rows))].groupby("tile"):
        with open_tile(patches.tile_set.infos[int(tile)], patches.tile_set.channel) as plane:
            for row, entry in zip(chosen.index, chosen.to_dict("records"), strict=True):
                band = read_grey(plane, entry["row_px"], entry["row_px"] + entry["rows_px"])
                band = band if light is None else light.apply(band, entry["row_px"])
                pixels = band[:, entry["column_px"] : entry["column_px"] + entry["columns_px"]]
                cut[row] = _average(pixels, max(1, -(-max(pixels.shape) // longest_px)))
    ends = _ends(list(cut.values()))
    return [_stretch(cut[row], ends) for row in rows]


def _read_small(info: PlaneInfo, channel: int, step: int, shading: Shading | None) -> np.ndarray:
    """Return a tile of which each pixel is the mean of a square."""
    height = max(_BAND_ROWS // step, 1) * step
    light = shading if shading is not None and shading.shape == (info.rows, info.columns) else None
    parts = []
    with open_tile(info, channel) as plane:
        for start in range(0, info.rows, height):
            band = read_grey(plane, start, min(start + height, info.rows))
            parts.append(_average(band if light is None else light.apply(band, start), step))
    return np.concatenate(parts)


def _average(band: np.ndarray, step: int) -> np.ndarray:
    """Return means over squares; those at the lower and right edge may be cut."""
    if step == 1:
        return band.astype(np.float32)
    for axis in (0, 1):
        starts = np.arange(0, band.shape[axis], step)
        counts = np.diff(np.append(starts, band.shape[axis])).astype(np.float32)
        band = np.add.reduceat(band, starts, axis=axis, dtype=np.float32)
        band /= counts[:, None] if axis == 0 else counts
    return band


def _ends(parts: Sequence[np.ndarray]) -> tuple[float, float]:
    """Return the values that are black and white."""
    values = np.concatenate([part[np.isfinite(part)] for part in parts]) if parts else np.empty(0)
    return tuple(map(float, np.percentile(values, _TAILS))) if len(values) else (0.0, 1.0)


def _stretch(values: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
    low, high = ends
    share = (values - low) / (high - low if high > low else 1)
    return np.rint(np.clip(np.nan_to_num(share, nan=0.0, posinf=1.0, neginf=0.0), 0, 1) * 255).astype(np.uint8)
