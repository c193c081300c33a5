"""How tiles are cut into patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

DEFAULT_GRID = (16, 16)


@dataclass(frozen=True)
class Grid:
    """Where the patches of a tile lie; they are numbered row by row from the upper left.

    Attributes
    ----------
    shape
        (rows, columns) of the tile in pixels.
    patch_size
        (rows, columns) of a patch in pixels.
    starts_y, starts_x
        First pixel row of every row of patches, first pixel column of every column of patches; int64.
    settings
        The keyword arguments used.
    """

    shape: tuple[int, int]
    patch_size: tuple[int, int]
    starts_y: np.ndarray
    starts_x: np.ndarray
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows of patches."""
        return len(self.starts_y)

    @property
    def columns(self) -> int:
        """Columns of patches."""
        return len(self.starts_x)

    def __len__(self) -> int:
        """Return the number of patches."""
        return self.rows * self.columns

    @property
    def dropped(self) -> tuple[int, int]:
        """Pixel rows at the bottom and pixel columns at the right that no patch covers."""
        ends = int(self.starts_y[-1]) + self.patch_size[0], int(self.starts_x[-1]) + self.patch_size[1]
        return self.shape[0] - ends[0], self.shape[1] - ends[1]

    @property
    def places(self) -> dict[str, np.ndarray]:
        """Columns of ``table`` by name, each (patches,) int64."""
        row, column = np.divmod(np.arange(len(self)), self.columns)
        return {
            "row": row,
            "column": column,
            "row_px": self.starts_y[row],
            "column_px": self.starts_x[column],
            "rows_px": np.full(len(self), self.patch_size[0]),
            "columns_px": np.full(len(self), self.patch_size[1]),
        }

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row a patch: ``row, column`` of patches, ``row_px, column_px`` of its corner, ``rows_px, columns_px``."""
        return pd.DataFrame(self.places)

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence when pixels are left over."""
        rows, columns = self.dropped
        if not rows and not columns:
            return ()
        return (
            f"{rows} pixel rows at the bottom and {columns} pixel columns at the right of tiles of {self.shape[0]} x "
            f"{self.shape[1]} px do not fill a patch and are left out.",
        )

    def summary(self) -> dict[str, Any]:
        """Return rows and columns of patches, size of a patch, and what is left over."""
        return {
            "patches": len(self),
            "grid": (self.rows, self.columns),
            "patch_size_px": self.patch_size,
            "dropped_px": self.dropped,
        }


def make_grid(
    shape: Sequence[int],
    *,
    rows: int | None = None,
    columns: int | None = None,
    patch_size: int | Sequence[int] | None = None,
    step: int | Sequence[int] | None = None,
) -> Grid:
    """Cut a tile into rows and columns of patches, or slide a window over it.

    Parameters
    ----------
    shape
        (rows, columns) of the tile; further axes are ignored.
    rows, columns
        Number of patches down and across. A patch has the tile's rows divided by ``rows`` and rounded down; what
        remains at the bottom and at the right is left out. 16 each when neither these nor ``patch_size`` is given;
        one alone stands for both.
    patch_size
        Side of a patch in pixels, or its (rows, columns); instead of ``rows`` and ``columns``.
    step
        Pixels from one patch to the next, or (down, across); the size of a patch when None. Smaller steps overlap.

    Returns
    -------
    Grid

    Raises
    ------
    ValueError
        When a number is not whole and above 0, both ways are given, or no patch fits.

    Examples
    --------
    >>> grid = make_grid((256, 300), rows=10, columns=10)
    >>> grid.patch_size, grid.dropped
    ((25, 30), (6, 0))
    >>> len(make_grid((100, 200), patch_size=(50, 40), step=20))
    27
    """
    settings = {"rows": rows, "columns": columns, "patch_size": patch_size, "step": step}
    if len(shape) < 2:
        raise ValueError(f"shape must be (rows, columns) of a tile; got {tuple(shape)}.")
    extent = _check_pair("shape", tuple(shape[:2]))
    if patch_size is None:
        if step is not None:
            raise ValueError(f"step must come with patch_size; got step {step!r} alone.")
        rows, columns = _first(rows, columns, DEFAULT_GRID[0]), _first(columns, rows, DEFAULT_GRID[1])
        count = _check_pair("rows and columns", (rows, columns))
        size = extent[0] // count[0], extent[1] // count[1]
        if 0 in size:
            raise ValueError(
                f"a grid must have at most as many rows and columns as the tile has pixels, {extent[0]} x "
                f"{extent[1]}; got {count[0]} x {count[1]}."
            )
        starts = [np.arange(number, dtype=np.int64) * side for number, side in zip(count, size, strict=True)]
        return Grid(extent, size, *starts, settings)
    if rows is not None or columns is not None:
        raise ValueError(
            f"either rows and columns or patch_size must be given; got {rows} x {columns} and {patch_size!r}."
        )
    size = _check_pair("patch_size", patch_size)
    steps = size if step is None else _check_pair("step", step)
    if size[0] > extent[0] or size[1] > extent[1]:
        raise ValueError(
            f"patch_size must be at most the tile, {extent[0]} x {extent[1]} px; got {size[0]} x {size[1]} px."
        )
    starts = [
        np.arange(0, length - side + 1, each, dtype=np.int64)
        for length, side, each in zip(extent, size, steps, strict=True)
    ]
    return Grid(extent, size, *starts, settings)


def _first(*values: int | None) -> int:
    return next(value for value in values if value is not None)


def _check_pair(name: str, value: int | Sequence[int]) -> tuple[int, int]:
    pair = tuple(value) if isinstance(value, Sequence) else (value, value)
    if len(pair) != 2 or any(not isinstance(each, int | np.integer) or each < 1 for each in pair):
        raise ValueError(f"{name} must be a whole number from 1, or two (rows, columns); got {value!r}.")
    return int(pair[0]), int(pair[1])
