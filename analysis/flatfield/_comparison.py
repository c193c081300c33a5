"""Compare slides' mean images, pair by pair and layer by layer."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.files import locked
from analysis.flatfield._computation import (
    Plan,
    add_problems,
    compute_unknown,
    find_keys,
    keep_well_stacked,
    known_pairs,
    survey_slides,
)
from analysis.flatfield._order import choose_layers
from analysis.flatfield._slides import Slides, find_slides, with_common_shape
from analysis.flatfield._store import Pairs, Store, table_of
from analysis.patterns import match_names
from analysis.tasks import Cancelled, Progress, count_workers


@dataclass(frozen=True)
class Comparison:
    """The statistic of every pair of slides.

    Attributes
    ----------
    slides
        The slides compared.
    values
        (slides, slides, layers) standard deviation of delta/sigma; NaN on the diagonal and where unknown.
    left_out
        (slides, slides, layers) pixels that did not count; -1 where unknown.
    new_pairs
        How many pairs were computed rather than read from the working folder.
    unknown_pairs
        How many pairs have no value yet (``compute=False``).
    settings
        The keyword arguments used.
    """

    slides: Slides
    values: np.ndarray
    left_out: np.ndarray
    new_pairs: int = 0
    unknown_pairs: int = 0
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def problems(self) -> pd.DataFrame:
        """What could not be used, and why."""
        return self.slides.problems

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row for each layer of each pair, with the columns of ``meanimagecomparison_table.csv``."""
        first, second = np.triu_indices(len(self.slides), 1)
        keys = tuple((*slide.key, "") for slide in self.slides.slides)
        return table_of(Pairs(keys, first, second, self.values[first, second], self.left_out[first, second]))

    def average(self, layers: str | int = "all") -> np.ndarray:
        """Return the mean over a set of layers, leaving out layers without a value.

        Parameters
        ----------
        layers
            As in `choose_layers`.

        Returns
        -------
        ndarray of float64
            (slides, slides); NaN where no layer has a value.
        """
        if not len(self.slides):
            return np.empty((0, 0))
        chosen = np.array(choose_layers(self.slides.slides[0], layers)) - 1
        values = self.values[..., chosen]
        count = np.isfinite(values).sum(axis=2)
        with np.errstate(invalid="ignore"):
            return np.where(count > 0, np.nansum(values, axis=2) / count, np.nan)

    def layers_used(self, layers: str | int = "all") -> np.ndarray:
        """Return how many layers of a set have a value, (slides, slides)."""
        if not len(self.slides):
            return np.empty((0, 0), dtype=int)
        chosen = np.array(choose_layers(self.slides.slides[0], layers)) - 1
        return np.isfinite(self.values[..., chosen]).sum(axis=2)

    def pixels_left_out(self, layers: str | int = "all") -> np.ndarray:
        """Return the largest number of pixels left out in a layer of a set, (slides, slides); -1 where unknown."""
        if not len(self.slides):
            return np.empty((0, 0), dtype=int)
        chosen = np.array(choose_layers(self.slides.slides[0], layers)) - 1
        return self.left_out[..., chosen].max(axis=2)

    def summary(self) -> dict[str, Any]:
        """Return the numbers that matter: slides, pairs, and the extremes of the average over all layers."""
        average = self.average()
        upper = average[np.triu_indices(len(average), 1)]
        upper = upper[np.isfinite(upper)]
        return {
            "slides": len(self.slides),
            "pairs": len(self.slides) * (len(self.slides) - 1) // 2,
            "new_pairs": self.new_pairs,
            "unknown_pairs": self.unknown_pairs,
            "problems": len(self.problems),
            "lowest_value": round(float(upper.min()), 4) if upper.size else None,
            "median_value": round(float(np.median(upper)), 4) if upper.size else None,
            "highest_value": round(float(upper.max()), 4) if upper.size else None,
        }


def compare_mean_images(
    roots: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    sample_regex: str | None = None,
    meanimage_folder: str = "meanimage",
    min_images_stacked: int = 0,
    working_dir: str | os.PathLike[str] | None = None,
    memory_gb: float = 1.0,
    workers: int | None = None,
    executor: Executor | None = None,
    compute: bool = True,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> Comparison:
    """Compare the mean images of all pairs of slides in every layer.

    Each slide is looked through once for its weighted mean and its coverage, which the working folder
    remembers. Then blocks of pixels of all slides are read side by side and every pair is done on the
    block, so that no file is read again for each pair and memory stays bounded.

    Parameters
    ----------
    roots
        Folders with ``sampledef.csv``.
    sample_regex
        Slides whose ID it matches from the start; all when None.
    meanimage_folder
        ``"meanimage"`` or ``"meanimage_from_fw_files"``.
    min_images_stacked
        Slides whose emptiest layer has fewer images stacked, as a mean over its pixels, are left out and
        listed. Layers with none at all do not count.
    working_dir
        Where results are kept. Pairs whose files have not changed are not computed again; slides known
        from there join when the pattern takes them and their root is still there.
    memory_gb
        Bound for buffers and sums, in gigabytes (1e9 bytes).
    workers
        Threads; all cores when None.
    executor
        Used in their place, and left open; see `analysis.tasks.map_tasks`.
    compute
        When False, only what is known is returned.
    progress, cancel
        See `analysis.tasks.map_tasks`.

    Returns
    -------
    Comparison
        The same numbers whoever does the work, and however many they are.

    Raises
    ------
    ValueError
        For a bad pattern or a number out of range.
    analysis.tasks.Cancelled
        When cancelled; finished pairs and the sums so far are kept in the working folder.

    References
    ----------
    AstroPath pipeline, meanimagecomparison. Eminizer et al., "Flatfielding: Correcting Spatial Variations
    in Microscope High-power Field Illumination".

    Examples
    --------
    >>> import tempfile
    >>> from analysis.synthetic.flatfield import draw_cohort
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cohort = draw_cohort(folder, shape=(32, 40, 2), sizes=(2, 1), outliers=0)
    ...     comparison = compare_mean_images(cohort.roots)
    >>> comparison.values.shape
    (3, 3, 2)
    """
    if not memory_gb >= 0.05:
        raise ValueError(f"memory_gb must be at least 0.05; got {memory_gb}.")
    if min_images_stacked < 0:
        raise ValueError(f"min_images_stacked must not be negative; got {min_images_stacked}.")
    settings = {
        "sample_regex": sample_regex,
        "meanimage_folder": meanimage_folder,
        "min_images_stacked": min_images_stacked,
        "working_dir": None if working_dir is None else str(working_dir),
        "memory_gb": memory_gb,
    }
    store = None if working_dir is None else Store(Path(working_dir), look_only=not compute)
    slides = find_slides(roots, meanimage_folder=meanimage_folder)
    given = {slide.root_dir for slide in slides.slides}
    if store is not None:
        slides = _with_known_slides(slides, store, meanimage_folder)
    found, slides = slides, _selected(slides, sample_regex, given)
    plan = Plan(memory_gb * 1e9, count_workers(workers), executor, progress, cancel)
    # one run at a time in a folder: a second one waits, then finds the pairs done
    with _turn(store, compute, plan):
        if store is not None and compute:
            store.import_table(found.slides)
        return _compare(slides, store, settings, min_images_stacked, plan, compute)


@contextmanager
def _turn(store: Store | None, compute: bool, plan: Plan) -> Iterator[None]:
    """Hold the working folder's run lock, waiting in small steps so that a cancel is heard."""
    with ExitStack() as held:
        waiting = store is not None and compute
        while waiting:
            try:
                held.enter_context(locked(store.run_lock, timeout_s=0.5))
                waiting = False
            except TimeoutError:
                if plan.progress is not None:
                    plan.progress(0, 1, "waiting for another run in this working folder")
                if plan.cancel is not None and plan.cancel.is_set():
                    raise Cancelled("Stopped while another run was busy in this working folder.") from None
        yield


def _with_known_slides(slides: Slides, store: Store, meanimage_folder: str) -> Slides:
    """Add slides that the working folder knows and whose root is still there."""
    have = {slide.key for slide in slides.slides} | set(
        zip(slides.problems["root_dir"], slides.problems["slide_id"], strict=True)
    )
    wanted = sorted(store.known_slides() - have)
    joined, problems = list(slides.slides), []
    for root in dict.fromkeys(root for root, _ in wanted):
        names = {slide_id for other, slide_id in wanted if other == root}
        if not os.path.isdir(root):
            problems += [
                (name, root, root, "the root of a slide in the table", "nothing", "root no longer there")
                for name in sorted(names)
            ]
            continue
        there = find_slides(root, meanimage_folder=meanimage_folder)
        joined += [slide for slide in there.slides if slide.slide_id in names]
        bad = there.problems
        problems += bad[bad["slide_id"].isin(names)].itertuples(index=False, name=None)
        missing = names - {slide.slide_id for slide in there.slides} - set(bad["slide_id"])
        problems += [
            (name, root, str(Path(root) / "sampledef.csv"), "a line for this slide", "none", "no longer listed")
            for name in sorted(missing)
        ]
    return replace(slides, slides=tuple(joined), problems=add_problems(slides.problems, problems))


def _selected(slides: Slides, sample_regex: str | None, given: set[Path]) -> Slides:
    """Slides and problems that the pattern takes, with the image shape of most slides of the given roots."""
    chosen = slides.select(sample_regex)
    bad = slides.problems
    # trouble with a whole root has no slide ID and concerns every pattern
    taken = np.array(match_names(sample_regex, bad["slide_id"]), dtype=bool) | (bad["slide_id"] == "").to_numpy(bool)
    kept, others = with_common_shape(chosen.slides, given)
    return replace(chosen, slides=tuple(kept), problems=add_problems(bad[taken], others))


def _compare(
    slides: Slides, store: Store | None, settings: dict[str, Any], min_images: int, plan: Plan, compute: bool
) -> Comparison:
    """Find out what is known, compute the rest, and put both together."""
    slides, keys = find_keys(slides)
    shards = store.read() if store is not None else []
    new = 0
    known = known_pairs(slides, keys, shards)[2]
    wanted = [compute and (bool(min_images) or not known[i].all()) for i in range(len(slides))]
    slides, surveys = survey_slides(slides, keys, wanted, store, plan)
    slides = keep_well_stacked(slides, surveys, min_images)
    if compute:
        slides, new = compute_unknown(slides, keys, surveys, shards, store, plan)
    values, left_out, known = known_pairs(slides, keys, shards)
    if store is not None and compute:
        store.export_table(shards, keys.values())
    return Comparison(slides, values, left_out, new, int(np.triu(~known).sum()), settings)
