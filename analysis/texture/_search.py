"""Scores of many settings at once: numbers of clusters, components and slices; each cell is a clustering."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from analysis.tasks import Cancelled, Progress, map_tasks
from analysis.texture._clusters import Clusters, cluster_features
from analysis.texture._features import Features, make_features
from analysis.texture._grid import Grid
from analysis.texture._methods import Linkage, Method, Metric, check_method
from analysis.texture._patches import Patches, measure_patches
from analysis.texture._stability import agreement_of

SCORES: dict[str, str] = {
    "silhouette": "How much nearer patches are to their own cluster than to the next, -1 to 1. Values for other "
    "numbers of components or other statistics cannot be compared: noise alone scores higher with fewer of them. The "
    "best value can belong to clusters that mean nothing, such as light and shade: it must not choose the model.",
    "inertia": "Sum of the squared distances from the mean of the cluster. It always falls with more clusters; a bend "
    "says that further clusters gain little. Comparable for the same features and patches only.",
    "bic": "Fit of Gaussians less a price for each further number, lower is better. Comparable for the same features "
    "and patches only. Patches are rarely Gaussian, so it tends to ask for too many clusters.",
    "stability": "How alike the clusters of bootstrap draws are, up to 1; comparable throughout. Low values say that "
    "the patches do not ask for this number of clusters. High ones do not say that clusters mean anything, and few "
    "clusters are more stable than many.",
}
"""What each score can and cannot tell."""


@dataclass(frozen=True)
class Search:
    """Clusters and their scores for every combination of settings.

    Attributes
    ----------
    table
        One row a cell: ``rows, columns`` of patches in a tile, ``clusters`` (asked for), ``components`` (0 for the
        statistics themselves), ``patches`` (that count), ``found`` (clusters), ``silhouette, inertia, bic, stability``
        (NaN when it was not asked for), ``error`` (why the cell is empty, else nothing).
    cells
        The clustering of each row; None where there is an error.
    warnings
        Sentences.
    settings
        The keyword arguments used.
    """

    table: pd.DataFrame
    cells: tuple[Clusters | None, ...]
    warnings: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    def find_cell(
        self, *, grid: Sequence[int] | None = None, clusters: int | None = None, components: int | None = None
    ) -> Clusters:
        """Return the clustering of a cell at once, without computing anything.

        Parameters
        ----------
        grid
            (rows, columns) of patches; the first when None.
        clusters
            Number asked for; the first when None.
        components
            Number of components; the first in the table when None, 0 for the statistics themselves.

        Raises
        ------
        ValueError
            When the search has no such cell, or it is empty.
        """
        chosen = pd.Series(True, index=self.table.index)
        wanted = {"clusters": clusters, "components": components}
        if grid is not None:
            wanted |= {"rows": grid[0], "columns": grid[1]}
        for name, value in wanted.items():
            if value is not None:
                chosen &= self.table[name] == value
        if not chosen.any():
            raise ValueError(f"the cell must be one of the search; {wanted} is not.")
        number = int(np.flatnonzero(chosen)[0])
        if self.cells[number] is None:
            raise ValueError(f"the cell must hold clusters; it does not: {self.table['error'][number]}")
        return self.cells[number]

    def pivot(self, score: str, *, index: str = "rows", columns: str = "clusters") -> pd.DataFrame:
        """Return one score as a table of two settings, the first of cells that share both.

        Parameters
        ----------
        score
            Of `SCORES`.
        index, columns
            Columns of the table.
        """
        if score not in SCORES:
            raise ValueError(f"score must be one of {', '.join(SCORES)}; got {score!r}.")
        return self.table.pivot_table(index=index, columns=columns, values=score, aggfunc="first", dropna=False)

    def summary(self) -> dict[str, Any]:
        """Return the number of cells and of empty ones, what each score tells, and warnings."""
        return {
            "cells": len(self.cells),
            "empty": sum(cell is None for cell in self.cells),
            "scores": dict(SCORES),
            "warnings": list(self.warnings),
        }


def search_settings(
    patches: Patches,
    *,
    grids: Sequence[int | Sequence[int] | Grid] | None = None,
    clusters: Sequence[int] = (2, 3, 4, 5, 6),
    components: Sequence[int | None] = (None,),
    method: Method = "k-means",
    linkage: Linkage = "complete",
    metric: Metric = "euclidean",
    statistics: Sequence[str] | None = None,
    scale: bool = True,
    order_by: str = "mean",
    draws: int = 10,
    seed: int = 0,
    n_init: int = 10,
    workers: int | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> Search:
    """Cluster patches with every combination of grids, numbers of clusters and numbers of components, and score them.

    One sequence of several values is a search against that setting alone; two or three are a grid search. Each grid is
    measured once. No score chooses the model; `SCORES` says what each can tell.

    Parameters
    ----------
    patches
        As `measure_patches` returns them. Further grids are measured in the same way, with the same shading.
    grids
        (rows, columns) of patches in a tile, one number for both, or what `make_grid` returns; that of ``patches`` when
        None.
    clusters
        Numbers of clusters.
    components
        Numbers of principal components; None or 0 for the statistics themselves.
    method, linkage, metric, statistics, scale, order_by, seed
        As in `cluster_patches`.
    draws
        Bootstrap draws for the stability; 0 leaves it out, which is several times faster.
    n_init
        Starts tried in each cell.
    workers
        Cells clustered at once; all cores when None.
    executor
        Measures the tiles, in place of our own threads, and is left open; see `analysis.tasks.map_tasks`.
    progress
        Called with steps done, steps, and words.
    cancel
        Stops the work when set.

    Returns
    -------
    Search
        The same for any number of workers and any order of the files. A cell that cannot be is empty, with the reason.

    Raises
    ------
    ValueError
        When a sequence is empty, or an option is none of those.
    analysis.tasks.Cancelled
        When it was stopped.

    References
    ----------
    G. Schwarz, Ann. Stat. 6, 461 (1978), https://doi.org/10.1214/aos/1176344136
    """
    check_method(method, linkage, metric)
    for name, values in (("clusters", clusters), ("components", components), ("grids", grids)):
        if values is not None and (isinstance(values, str | int) or not len(values)):
            raise ValueError(f"{name} must be a list of at least one value; got {values!r}.")
    if draws < 0:
        raise ValueError(f"draws must be at least 0; got {draws}.")
    shared = {
        "method": method, "linkage": linkage, "metric": metric, "smallest": None, "scale": scale, "order_by": order_by,
        "statistics": None if statistics is None else list(statistics), "seed": seed, "n_init": n_init,
    }  # fmt: skip
    settings = {
        **{name: value for name, value in shared.items() if name != "smallest"}, "clusters": list(clusters),
        "grids": None if grids is None else [_words(grid) for grid in grids], "components": list(components),
        "draws": draws,
    }  # fmt: skip
    sets = [None] if grids is None else list(grids)
    per_set = len(clusters) * len(components)
    steps = _Steps(len(sets) + len(sets) * per_set, progress, cancel)
    inputs, warnings = [], []
    for number, grid in enumerate(sets):
        measured, error = (patches, None) if grid is None else _measure(patches, grid, workers, executor, cancel)
        steps.tell("measuring slices")
        for amount in components:
            features, reason = _features(measured, amount or None, shared, error)
            warnings += features.warnings if features is not None else ()
            inputs += [(number, measured, features, amount or None, count, reason) for count in clusters]
    work = partial(_cluster, shared=shared, draws=draws)
    cells, rows = [], []
    for cell, outcome, error in map_tasks(work, inputs, workers=workers, cancel=cancel):
        if error is not None and not isinstance(error, ValueError):
            raise error
        found, stability = outcome if error is None else (None, float("nan"))
        cells.append(found)
        rows.append(_row(cell, sets[cell[0]], found, stability, "" if error is None else str(error)))
        steps.tell("clustering")
    empty = sum(cell is None for cell in cells)
    if empty:
        warnings.append(f"{empty} of {len(cells)} cells are empty; the table says why.")
    return Search(pd.DataFrame(rows), tuple(cells), _told_once(warnings), settings)


def _told_once(sentences: Sequence[str]) -> tuple[str, ...]:
    """Return sentences that differ in more than their numbers: grids have most of them in common."""
    return tuple({re.sub(r"\d+", "", sentence): sentence for sentence in reversed(sentences)}.values())[::-1]


class _Steps:
    """Progress of two loops as of one."""

    def __init__(self, total: int, progress: Progress | None, cancel: threading.Event | None):
        self.done, self.total, self.progress, self.cancel = 0, total, progress, cancel

    def tell(self, words: str) -> None:
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total, words)
        if self.cancel is not None and self.cancel.is_set() and self.done < self.total:
            raise Cancelled(f"Stopped after {self.done} of {self.total} steps.")


def _words(grid: int | Sequence[int] | Grid) -> Any:
    return dict(grid.settings) if isinstance(grid, Grid) else grid if isinstance(grid, int) else list(grid)


def _measure(
    patches: Patches,
    grid: int | Sequence[int] | Grid,
    workers: int | None,
    executor: Executor | None,
    cancel: threading.Event | None,
) -> tuple[Patches | None, str | None]:
    told = patches.settings
    how = {name: told[name] for name in ("mode", "leave_out", "dark_below", "store") if name in told}
    shading = "none" if patches.shading is None else patches.shading
    try:
        found = measure_patches(
            patches.tile_set, grid=grid, statistics=patches.statistics, shading=shading, workers=workers,
            executor=executor, cancel=cancel, **how,
        )  # fmt: skip
    except ValueError as error:
        return None, str(error)
    return found, None


def _features(
    measured: Patches | None, components: int | None, shared: dict[str, Any], error: str | None
) -> tuple[Features | None, str | None]:
    if measured is None:
        return None, error
    try:
        found = make_features(measured, statistics=shared["statistics"], scale=shared["scale"], components=components)
    except ValueError as reason:
        return None, str(reason)
    return found, None


def _cluster(cell: tuple[Any, ...], shared: dict[str, Any], draws: int) -> tuple[Clusters, float]:
    _, measured, features, amount, count, reason = cell
    if reason is not None:
        raise ValueError(reason)
    settings = shared | {"clusters": count, "components": amount}
    found = cluster_features(measured, features, settings)
    alike = [each for each in _agreements(found, draws) if np.isfinite(each)]
    return found, float(np.mean(alike)) if alike else float("nan")


def _agreements(found: Clusters, draws: int) -> Iterator[float]:
    for draw in range(draws):
        yield agreement_of(found.features, found.numbers, found.settings, found.settings["seed"], draw)


def _row(cell: tuple[Any, ...], grid: Any, found: Clusters | None, stability: float, error: str) -> dict[str, Any]:
    _, measured, features, amount, count, _ = cell
    if measured is not None:
        shape = measured.grid.rows, measured.grid.columns
    else:
        shape = (grid, grid) if isinstance(grid, int) else (grid.rows, grid.columns) if isinstance(grid, Grid) else grid
    none = float("nan")
    return {
        "rows": shape[0],
        "columns": shape[1],
        "clusters": count,
        "components": amount or 0,
        "patches": 0 if features is None else len(features),
        "found": 0 if found is None else found.count,
        "silhouette": none if found is None else found.silhouette,
        "inertia": none if found is None else found.inertia,
        "bic": none if found is None else found.bic,
        "stability": stability,
        "error": error,
    }
