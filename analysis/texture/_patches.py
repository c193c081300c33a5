"""Statistics of all patches of a set of tiles, and which patches are left out."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from analysis.planes import PlaneInfo
from analysis.tasks import Progress, map_tasks
from analysis.texture._filters import HALO_PX
from analysis.texture._grid import Grid, make_grid
from analysis.texture._rules import RULES, leave_out_patches
from analysis.texture._shading import Shading, find_shading
from analysis.texture._statistics import FILTERED, STATISTICS, Mode, choose_statistics, measure_band
from analysis.texture._store import Store, key_of
from analysis.texture._tile_set import TileSet, describe_state, open_tile, read_grey, sentence_of

PLACE_COLUMNS = (
    "file", "name", "tile", "tile_row", "tile_column", "row", "column", "row_px", "column_px", "rows_px", "columns_px",
)  # fmt: skip
"""Columns of a patch that say where it is."""
_ALWAYS = ("mean", "min", "max")
_BAND_BYTES = 16e6
MODES = ("centre", "compatible")


@dataclass(frozen=True)
class Patches:
    """Statistics of the patches of a set of tiles.

    Attributes
    ----------
    table
        One row a patch, tiles in the order of their names and patches row by row: ``file, name`` (of the file),
        ``tile`` (number), ``tile_row, tile_column`` (of the tile in the set), ``row, column`` (of the patch in its
        tile), ``row_px, column_px, rows_px, columns_px``, the statistics, ``left_out``, and ``why``.
    statistics
        Names of the statistics' columns, in the order asked for.
    tile_set
        The tiles.
    grid
        Of a tile of the shape that most have.
    shading
        What was taken off; None for nothing.
    problems
        One row a tile that could not be measured: ``file, error``.
    warnings
        Sentences.
    settings
        The keyword arguments used.
    """

    table: pd.DataFrame
    statistics: tuple[str, ...]
    tile_set: TileSet
    grid: Grid
    shading: Shading | None
    problems: pd.DataFrame
    warnings: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of patches."""
        return len(self.table)

    @property
    def features(self) -> np.ndarray:
        """(patches that count, statistics) float64."""
        return self.table.loc[~self.table["left_out"], list(self.statistics)].to_numpy(float)

    def summary(self) -> dict[str, Any]:
        """Return the number of tiles, patches, patches left out by reason, problems, and warnings."""
        why = self.table.loc[self.table["left_out"], "why"]
        return {
            "tiles": int(self.table["file"].nunique()),
            "patches": len(self),
            "grid": (self.grid.rows, self.grid.columns),
            "statistics": list(self.statistics),
            "left_out": {reason: int(count) for reason, count in why.value_counts().sort_index().items()},
            "problems": len(self.problems),
            "warnings": list(self.warnings),
        }


def measure_patches(
    tile_set: TileSet,
    *,
    grid: Grid | Sequence[int] | None = None,
    patch_size: int | Sequence[int] | None = None,
    step: int | Sequence[int] | None = None,
    statistics: str | Sequence[str] = "common",
    shading: str | os.PathLike[str] | np.ndarray | Shading = "surface",
    mode: Mode = "centre",
    leave_out: Sequence[str] = ("blank", "dark"),
    dark_below: float = 0.2,
    store: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> Patches:
    """Measure statistics of every patch of every tile.

    Parameters
    ----------
    tile_set
        As `find_tile_set` returns it.
    grid
        (rows, columns) of patches in a tile, or what `make_grid` returns; 16 x 16 when neither this nor ``patch_size``
        is given.
    patch_size, step
        As in `make_grid`.
    statistics
        Names of `STATISTICS` and of `PRESETS`.
    shading
        What is taken off first. ``"surface"``: a smooth surface fitted to the set by `estimate_shading`; ``"none"``; or
        what `estimate_shading` and `make_shading` return; or a flatfield image or its file, as `make_shading` takes it.
    mode
        ``"centre"``, or ``"compatible"`` for the mode and the grey of colour images as the original notebook has them.
    leave_out
        Patches that do not count: ``"blank"`` (all pixels have one value), ``"dark"`` (borders: the mean is below a
        share of the median of all patches' means), ``"partly_dark"`` (one pixel is), ``"edge"`` (the outermost patches
        of the set). They stay in the table, with the reason. A patch with a pixel that is not finite is always left
        out.
    dark_below
        That share, 0 to 1.
    store
        Folder where statistics are kept, so that tiles are read again only when they, the grid or the shading change;
        a further statistic is measured alone.
    workers
        Tiles measured at once; all cores when None.
    executor
        Anything with `concurrent.futures` manners, used in place of our own threads and left open.
    progress
        Called with tiles done, tiles, and words.
    cancel
        Stops the work when set; what is in the store stays.

    Returns
    -------
    Patches
        The same for any order of files, any number of workers, and with a store or without.

    Raises
    ------
    ValueError
        When an option is none of those above, or no tile can be measured.
    analysis.tasks.Cancelled
        When it was stopped.
    """
    names = choose_statistics(statistics)
    _check(mode, leave_out, dark_below)
    settings = {
        "grid": (grid.settings if isinstance(grid, Grid) else grid), "patch_size": patch_size, "step": step,
        "statistics": statistics, "shading": _words(shading), "mode": mode, "leave_out": tuple(leave_out),
        "dark_below": dark_below, "store": None if store is None else str(store),
    }  # fmt: skip
    how = _grid_keywords(grid, patch_size, step)
    typical = make_grid(tile_set.shape, **how)
    kept = None if store is None else Store(store)
    loop = {"workers": workers, "executor": executor, "progress": progress, "cancel": cancel}
    light, said = find_shading(tile_set, shading, kept, loop)
    needed = tuple(dict.fromkeys((*names, *_ALWAYS)))
    work = partial(_measure_tile, names=needed, how=how, shading=light, channel=tile_set.channel, mode=mode, store=kept)
    parts, problems = [], []
    for number, (info, found, error) in enumerate(map_tasks(work, tile_set.infos, **loop, words="measuring tiles")):
        if error is not None:
            problems.append((str(info.path), sentence_of(info.path, error)))
        else:
            parts.append((number, found))
    if not parts:
        raise ValueError(
            f"at least one of {len(tile_set)} tiles must be measured; none was. The first: {problems[0][1]}"
        )
    columns = _join(tile_set, parts, how)
    left_out, why = leave_out_patches(columns, tile_set, leave_out, dark_below)
    chosen = {name: columns[name] for name in (*PLACE_COLUMNS, *names)}
    # the columns are nobody else's
    table = pd.DataFrame({**chosen, "left_out": left_out, "why": why}, copy=False)
    warnings = (*tile_set.warnings, *typical.warnings, *said, *_doubts(columns["mean"], left_out, leave_out))
    failed = [*tile_set.problems.itertuples(index=False), *problems]
    failed = pd.DataFrame(failed, columns=["file", "error"], dtype=object)
    return Patches(table, names, tile_set, typical, light, failed, warnings, settings)


def select_statistics(patches: Patches, statistics: str | Sequence[str]) -> Patches:
    """Return the patches with some of their statistics only; no tile is read.

    Parameters
    ----------
    patches
        As `measure_patches` returns them.
    statistics
        Names of statistics that were measured, or presets of these.

    Returns
    -------
    Patches

    Raises
    ------
    ValueError
        When one was not measured.
    """
    names = choose_statistics(statistics)
    missing = [name for name in names if name not in patches.statistics]
    if missing:
        raise ValueError(f"statistics must have been measured; {', '.join(missing)} were not. Measure them first.")
    table = patches.table[[*PLACE_COLUMNS, *names, "left_out", "why"]]
    return replace(patches, table=table, statistics=names, settings={**patches.settings, "statistics": statistics})


def _check(mode: Mode, leave_out: Sequence[str], dark_below: float) -> None:
    if mode not in MODES:
        raise ValueError(f"mode must be {' or '.join(MODES)}; got {mode!r}.")
    unknown = [rule for rule in leave_out if rule not in RULES]
    if isinstance(leave_out, str) or unknown:
        said = repr(leave_out) if isinstance(leave_out, str) else ", ".join(map(str, unknown))
        raise ValueError(f"leave_out must be a list of {', '.join(RULES)}; got {said}.")
    if not 0 <= dark_below <= 1:
        raise ValueError(f"dark_below must be from 0 to 1; got {dark_below}.")


def _grid_keywords(grid: Grid | Sequence[int] | None, patch_size: Any, step: Any) -> dict[str, Any]:
    if isinstance(grid, Grid):
        if patch_size is not None or step is not None:
            raise ValueError("either grid or patch_size must be given; got both.")
        return dict(grid.settings)
    if isinstance(grid, str) or (isinstance(grid, Sequence) and len(grid) != 2):
        raise ValueError(f"grid must be (rows, columns) of patches, or one number for both; got {grid!r}.")
    rows, columns = (None, None) if grid is None else (grid, grid) if isinstance(grid, int | np.integer) else grid
    return {"rows": rows, "columns": columns, "patch_size": patch_size, "step": step}


def _words(shading: Any) -> Any:
    if isinstance(shading, Shading):
        return dict(shading.settings)
    return "an array" if isinstance(shading, np.ndarray) else str(shading)


# -------------------------------------------------------------------------------------------- one tile


def _measure_tile(
    info: PlaneInfo,
    names: tuple[str, ...],
    how: dict[str, Any],
    shading: Shading | None,
    channel: int,
    mode: Mode,
    store: Store | None,
) -> dict[str, np.ndarray]:
    """Return the statistics of a tile's patches, from the store as far as they are there."""
    shape = info.rows, info.columns
    if shading is not None and shape != shading.shape:
        raise ValueError(
            f"{info.path} must be as large as the shading, {shading.shape[0]} x {shading.shape[1]} px; got "
            f'{shape[0]} x {shape[1]} px. Measure such tiles apart, or choose shading "none".'
        )
    grid = make_grid(shape, **how)
    if store is None:
        return _measure_pixels(info, grid, names, shading, channel, mode)
    corners = [grid.patch_size, grid.starts_y.tolist(), grid.starts_x.tolist()]
    key = key_of("tile", describe_state(info), channel, mode, corners, shading.key if shading is not None else "none")
    kept = store.read(key)
    kept = {name: values for name, values in kept.items() if values.shape == (len(grid),) and values.dtype == float}
    missing = tuple(name for name in names if name not in kept)
    if missing:
        kept |= _measure_pixels(info, grid, missing, shading, channel, mode)
        store.write(key, kept)
    return {name: kept[name] for name in names}


def _measure_pixels(
    info: PlaneInfo, grid: Grid, names: tuple[str, ...], shading: Shading | None, channel: int, mode: Mode
) -> dict[str, np.ndarray]:
    """Read a tile in bands of whole patches and measure them."""
    halo = HALO_PX if {STATISTICS[name].group for name in names} & set(FILTERED) else 0
    height = grid.patch_size[0]
    row_bytes = info.columns * max(np.dtype(info.dtype).itemsize, 4 if shading is not None else 1)
    parts, at = [], 0
    with open_tile(info, channel) as plane:
        while at < grid.rows:
            top = int(grid.starts_y[at])
            fits = np.searchsorted(grid.starts_y + height, top + max(_BAND_BYTES / row_bytes, height), side="right")
            end = max(int(fits), at + 1)
            bottom = int(grid.starts_y[end - 1]) + height
            first, last = max(top - halo, 0), min(bottom + halo, info.rows)
            around = read_grey(plane, first, last, compatible=mode == "compatible")
            if shading is not None:
                around = shading.apply(around, first)
            band = around[top - first : bottom - first]
            tops = grid.starts_y[at:end] - top
            found = measure_band(
                band, tops, grid.starts_x, grid.patch_size, names, mode=mode, around=around if halo else None,
                above_px=top - first,
            )  # fmt: skip
            parts.append(found)
            at = end
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def _join(tile_set: TileSet, parts: Sequence[tuple[int, dict[str, np.ndarray]]], how: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of the tiles that were measured: places and statistics."""
    grids = {shape: make_grid(shape, **how).places for shape in {_shape(tile_set, number) for number, _ in parts}}
    numbers = np.array([number for number, _ in parts])
    tiles = np.repeat(numbers, [len(grids[_shape(tile_set, number)]["row"]) for number in numbers])
    told = tile_set.table
    columns = {"file": told["file"].array.take(tiles), "name": told["name"].array.take(tiles), "tile": tiles}
    for name in ("row", "column"):
        columns[f"tile_{name}"] = told[name].to_numpy()[tiles]
    for name in PLACE_COLUMNS[5:]:
        columns[name] = np.concatenate([grids[_shape(tile_set, number)][name] for number in numbers])
    return columns | {name: np.concatenate([found[name] for _, found in parts]) for name in parts[0][1]}


def _shape(tile_set: TileSet, number: int) -> tuple[int, int]:
    return tile_set.infos[number].rows, tile_set.infos[number].columns


def _doubts(means: np.ndarray, left_out: np.ndarray, rules: Sequence[str]) -> list[str]:
    said = []
    finite = np.isfinite(means)
    bad = int(np.count_nonzero(~finite))
    if bad:
        said.append(f"{bad} patches have pixels that are not finite; they have no statistics and are left out.")
    if {"dark", "partly_dark"} & set(rules) and finite.any() and not np.median(means[finite]) > 0:
        said.append("The median of all patches' means is not above 0, so that no patch counts as dark.")
    if left_out.all():
        said.append("All patches are left out.")
    return said
