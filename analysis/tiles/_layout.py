"""Where the tiles of an image lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd

Edges = Literal["shift", "pad", "drop"]

EDGES = ("shift", "pad", "drop")
SIDES = ("left", "bottom", "right", "top")
"""Order of the columns of `Layout.neighbours` and `Layout.overlaps`."""


@dataclass(frozen=True)
class Layout:
    """Where the tiles of an image lie.

    Tiles are numbered row by row from the upper left.

    Attributes
    ----------
    shape
        (rows, columns) of the image in pixels.
    tile_size
        (rows, columns) of a tile.
    overlap
        (rows, columns) that a tile shares with the one before, at least.
    edges
        ``"shift"``, ``"pad"`` or ``"drop"``, as in `make_layout`.
    settings
        The keyword arguments used.
    """

    shape: tuple[int, int]
    tile_size: tuple[int, int]
    overlap: tuple[int, int]
    edges: Edges = "shift"
    settings: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def starts_y(self) -> np.ndarray:
        """(rows of tiles,) first pixel row of each, int64."""
        return _find_starts(self.shape[0], self.tile_size[0], self.overlap[0], self.edges)

    @cached_property
    def starts_x(self) -> np.ndarray:
        """(columns of tiles,) first pixel column of each, int64."""
        return _find_starts(self.shape[1], self.tile_size[1], self.overlap[1], self.edges)

    @property
    def grid(self) -> tuple[int, int]:
        """Number of rows and of columns of tiles."""
        return len(self.starts_y), len(self.starts_x)

    def __len__(self) -> int:
        """Return the number of tiles."""
        return len(self.starts_y) * len(self.starts_x)

    @cached_property
    def corners(self) -> np.ndarray:
        """(tiles, 4) int64: first row, first column, end row, end column; a padded tile ends beyond the image."""
        y, x = (each.ravel() for each in np.meshgrid(self.starts_y, self.starts_x, indexing="ij"))
        return np.stack([y, x, y + self.tile_size[0], x + self.tile_size[1]], axis=1)

    @cached_property
    def overlaps(self) -> np.ndarray:
        """(tiles, 4) int64: pixels shared with the next tile to the left, bottom, right and top; 0 without one.

        Nothing counts as shared when the overlap asked for is 0, even where the last tile was shifted back.
        """
        top, bottom = _shared(self.starts_y, self.tile_size[0], self.overlap[0])
        left, right = _shared(self.starts_x, self.tile_size[1], self.overlap[1])
        rows, columns = self.grid
        sides = (np.tile(left, rows), np.repeat(bottom, columns), np.tile(right, rows), np.repeat(top, columns))
        return np.stack(sides, axis=1)

    @cached_property
    def neighbours(self) -> np.ndarray:
        """(tiles, 4) bool: whether pixels are shared with a tile to the left, bottom, right and top."""
        return self.overlaps > 0

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row a tile: ``tile, row, column, row_px, column_px, row_end_px, column_end_px, padded``.

        Row and column count tiles; the others are pixels of the image, the ends exclusive. ``padded`` says that
        the tile reaches beyond the image, which fills its upper left.
        """
        corners = self.corners
        row, column = np.divmod(np.arange(len(self)), max(self.grid[1], 1))
        return pd.DataFrame(
            {
                "tile": np.arange(len(self)),
                "row": row,
                "column": column,
                "row_px": corners[:, 0],
                "column_px": corners[:, 1],
                "row_end_px": corners[:, 2],
                "column_end_px": corners[:, 3],
                "padded": (corners[:, 2] > self.shape[0]) | (corners[:, 3] > self.shape[1]),
            }
        )

    @cached_property
    def covered(self) -> tuple[int, int]:
        """(rows, columns) of the image that tiles cover, from its upper left; less than all only when dropped."""
        ends = (self.starts_y[-1] + self.tile_size[0], self.starts_x[-1] + self.tile_size[1])
        return min(int(ends[0]), self.shape[0]), min(int(ends[1]), self.shape[1])

    def summary(self) -> dict[str, Any]:
        """Return the number of tiles, the grid, what is covered, lost and padded, and how often a pixel is cut."""
        pixels = self.shape[0] * self.shape[1]
        covered = self.covered[0] * self.covered[1]
        inside = np.minimum(self.corners[:, 2:], self.shape) - self.corners[:, :2]
        cut = int(np.prod(inside, axis=1).sum())
        return {
            "tiles": len(self),
            "grid": self.grid,
            "covered_share": covered / pixels,
            "lost_px": pixels - covered,
            "padded_px": len(self) * self.tile_size[0] * self.tile_size[1] - cut,
            "times_cut": cut / covered,
        }


def make_layout(
    shape: Sequence[int],
    *,
    tile_size: int | tuple[int, int] = 512,
    overlap: int | tuple[int, int] = 128,
    edges: Edges = "shift",
) -> Layout:
    """Lay tiles of one size over an image.

    Parameters
    ----------
    shape
        (rows, columns) of the image; further axes are ignored.
    tile_size
        Side of a tile in pixels, or its (rows, columns).
    overlap
        Pixels that neighbours share, or (rows, columns) of them; 0 to half the tile.
    edges
        What happens where tiles do not come out even. ``"shift"``: the last tile is shifted back to end with the
        image, so it shares more with its neighbour; an image smaller than a tile is padded. ``"pad"``: the last
        tile reaches beyond the image. ``"drop"``: pixels that do not fill a tile are left out.

    Returns
    -------
    Layout
        Row by row from the upper left.

    Raises
    ------
    ValueError
        When a size is not a whole number above 0, the overlap is not 0 to half the tile, ``edges`` is none of the
        three, or nothing would be left of the image.

    References
    ----------
    ``"shift"`` lays tiles as Microglia Analyzer does, https://github.com/MontpellierRessourcesImagerie/microglia-analyzer.

    Examples
    --------
    >>> layout = make_layout((1000, 1301))
    >>> layout.grid, layout.starts_x.tolist()
    ((3, 4), [0, 384, 768, 789])
    """
    if len(shape) < 2:
        raise ValueError(f"shape must be (rows, columns) of an image; got {tuple(shape)}.")
    size = _check_pair("tile_size", tile_size, 1)
    shared = _check_pair("overlap", overlap, 0)
    extent = _check_pair("shape", tuple(shape[:2]), 1)
    for side, pixels in zip(size, shared, strict=True):
        if pixels > side // 2:
            raise ValueError(
                f"overlap must be 0 to half the tile, {side // 2} px for tiles of {side} px; got {pixels}."
                " Make the tiles larger or the overlap smaller."
            )
    if edges not in EDGES:
        raise ValueError(f"edges must be {', '.join(EDGES[:-1])} or {EDGES[-1]}; got {edges!r}.")
    if edges == "drop" and (extent[0] < size[0] or extent[1] < size[1]):
        raise ValueError(
            f"the image must be at least as large as a tile, {size[0]} x {size[1]} px, when what does not fill a "
            f'tile is dropped; got {extent[0]} x {extent[1]} px. Make the tiles smaller, or choose edges="pad".'
        )
    return Layout(extent, size, shared, edges, {"tile_size": tile_size, "overlap": overlap, "edges": edges})


def _find_starts(length: int, size: int, overlap: int, edges: Edges) -> np.ndarray:
    """Return the first pixel of every tile along an axis."""
    step = size - overlap
    if edges == "drop":
        return np.arange((length - overlap) // step, dtype=np.int64) * step
    count = max(-((overlap - length) // step), 1)  # rounded up
    starts = np.arange(count, dtype=np.int64) * step
    return np.minimum(starts, max(length - size, 0)) if edges == "shift" else starts


def _shared(starts: np.ndarray, size: int, overlap: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels that every tile of an axis shares with the one before and with the one after."""
    between = (starts[:-1] + size - starts[1:]) * (overlap > 0)
    return np.concatenate([[0], between]), np.concatenate([between, [0]])


def _check_pair(name: str, value: int | Sequence[int], least: int) -> tuple[int, int]:
    pair = tuple(value) if isinstance(value, Sequence) else (value, value)
    if len(pair) != 2 or any(not isinstance(each, int | np.integer) or each < least for each in pair):
        raise ValueError(f"{name} must be a whole number from {least}, or two (rows, columns); got {value!r}.")
    return int(pair[0]), int(pair[1])
