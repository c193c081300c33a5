"""Compare slides' mean images, pair by pair and layer by layer."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.files import locked, whole_file
from analysis.flatfield._blocks import BLOCK_PIXELS, BlockReader, Survey, pixel_blocks, read_layer, survey_slide
from analysis.flatfield._slides import Slide, Slides, choose_layers, find_slides, make_problems, with_common_shape
from analysis.flatfield._statistic import add_pairs, delta_over_sigma, shift_of, standard_deviations
from analysis.flatfield._store import Pairs, SlideKey, Store, fill_known, key_of, table_of
from analysis.patterns import match_names
from analysis.tasks import Cancelled, Progress, count_workers, map_tasks

_CHECKPOINT_S = 10.0


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
    compute
        When False, only what is known is returned.
    progress, cancel
        See `analysis.tasks.map_tasks`.

    Returns
    -------
    Comparison
        The same numbers whatever the number of workers.

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
    store = None if working_dir is None else Store(Path(working_dir))
    slides = find_slides(roots, meanimage_folder=meanimage_folder)
    if store is not None:
        slides = _with_known_slides(slides, store, meanimage_folder)
    slides = _selected(slides, sample_regex)
    plan = _Plan(memory_gb * 1e9, count_workers(workers), progress, cancel)
    # one run at a time in a folder: a second one waits, then finds the pairs done
    with _turn(store, compute, cancel):
        if store is not None and compute:
            store.import_table(slides.slides)
        return _compare(slides, store, settings, min_images_stacked, plan, compute)


@dataclass(frozen=True)
class _Plan:
    memory: float
    workers: int
    progress: Progress | None
    cancel: threading.Event | None


@contextmanager
def _turn(store: Store | None, compute: bool, cancel: threading.Event | None) -> Iterator[None]:
    """Hold the working folder's run lock, waiting in small steps so that a cancel is heard."""
    with ExitStack() as held:
        waiting = store is not None and compute
        while waiting:
            try:
                held.enter_context(locked(store.run_lock, timeout_s=0.5))
                waiting = False
            except TimeoutError:
                if cancel is not None and cancel.is_set():
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
    return replace(slides, slides=tuple(joined), problems=_joined(slides.problems, problems))


def _joined(problems: pd.DataFrame, rows: Iterable[Sequence[str]]) -> pd.DataFrame:
    return make_problems([*problems.itertuples(index=False, name=None), *rows])


def _selected(slides: Slides, sample_regex: str | None) -> Slides:
    """Slides and problems that the pattern takes, with one image shape."""
    chosen = slides.select(sample_regex)
    bad = slides.problems
    # trouble with a whole root has no slide ID and concerns every pattern
    taken = np.array(match_names(sample_regex, bad["slide_id"]), dtype=bool) | (bad["slide_id"] == "").to_numpy(bool)
    kept, others = with_common_shape(chosen.slides)
    return replace(chosen, slides=tuple(kept), problems=_joined(bad[taken], others))


def _drop(slides: Slides, reasons: Mapping[int, tuple[Path, str, str, str]]) -> Slides:
    """Slides without some, each listed with (file, expected, found, reason)."""
    rows = [
        (slides.slides[i].slide_id, str(slides.slides[i].root_dir), *map(str, reason))
        for i, reason in sorted(reasons.items())
    ]
    kept = tuple(slide for i, slide in enumerate(slides.slides) if i not in reasons)
    return replace(slides, slides=kept, problems=_joined(slides.problems, rows))


def _failure(slide: Slide, error: Exception) -> tuple[Path | str, str, str, str]:
    file = getattr(error, "filename", None) or slide.mean_image
    return file, "files that can be read to the end", getattr(error, "strerror", None) or str(error), "cannot be read"


def _compare(
    slides: Slides, store: Store | None, settings: dict[str, Any], min_images: int, plan: _Plan, compute: bool
) -> Comparison:
    """Find out what is known, compute the rest, and put both together."""
    slides, keys = _with_keys(slides)
    shards = store.read() if store is not None else []
    new = 0
    known = _known(slides, keys, shards)[2]
    wanted = [compute and (bool(min_images) or not known[i].all()) for i in range(len(slides))]
    slides, surveys = _survey(slides, keys, wanted, store, plan)
    slides = _well_stacked(slides, surveys, min_images)
    if compute:
        slides, new = _compute_unknown(slides, keys, surveys, shards, store, plan)
    values, left_out, known = _known(slides, keys, shards)
    if store is not None and compute and not store.table_is_current():
        store.export_table(shards)
    return Comparison(slides, values, left_out, new, int(np.triu(~known).sum()), settings)


def _with_keys(slides: Slides) -> tuple[Slides, dict[tuple[str, str], SlideKey]]:
    keys, lost = {}, {}
    for index, slide in enumerate(slides.slides):
        try:
            keys[slide.key] = key_of(slide)
        except OSError as error:
            lost[index] = _failure(slide, error)
    return _drop(slides, lost), keys


def _known(
    slides: Slides, keys: Mapping[tuple[str, str], SlideKey], shards: Sequence[Pairs]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values, pixels left out, and whether a pair is known (a slide with itself counts as known)."""
    count = len(slides)
    layers = slides.slides[0].shape[2] if count else 0
    values, left_out = np.full((count, count, layers), np.nan), np.full((count, count, layers), -1, dtype=np.int32)
    known = fill_known(shards, [keys[slide.key] for slide in slides.slides], values, left_out)
    np.fill_diagonal(known, True)
    return values, left_out, known


def _survey(
    slides: Slides,
    keys: Mapping[tuple[str, str], SlideKey],
    wanted: Sequence[bool],
    store: Store | None,
    plan: _Plan,
) -> tuple[Slides, dict[tuple[str, str], Survey]]:
    """Look through slides that the store does not know yet; slides without a usable pixel are listed."""
    surveys: dict[tuple[str, str], Survey] = {}
    unseen = []
    for index, slide in enumerate(slides.slides):
        found = store.read_survey(keys[slide.key]) if store is not None else None
        if found is not None:
            surveys[slide.key] = Survey(**{name: tuple(values) for name, values in found.items()})
        elif wanted[index]:
            unseen.append(index)
    lost = {}
    look = map_tasks(
        lambda index: survey_slide(slides.slides[index]),
        unseen,
        workers=plan.workers,
        progress=plan.progress,
        cancel=plan.cancel,
        words="looking through slides",
    )
    for index, survey, error in look:
        slide = slides.slides[index]
        if error is not None:
            if not isinstance(error, (OSError, ValueError)):
                raise error
            lost[index] = _failure(slide, error)
            continue
        surveys[slide.key] = survey
        if store is not None:
            store.write_survey(keys[slide.key], survey.to_dict())
    return _drop(slides, lost), surveys


def _well_stacked(slides: Slides, surveys: Mapping[tuple[str, str], Survey], min_images: int) -> Slides:
    short = {}
    for index, slide in enumerate(slides.slides if min_images else ()):
        if slide.key not in surveys:
            continue  # not looked through yet
        stacked = np.array(surveys[slide.key].images_stacked)
        lowest = np.where(stacked > 0, stacked, np.inf)
        layer = int(np.argmin(lowest))
        if lowest[layer] < min_images:
            found = f"{lowest[layer]:.1f} in layer {layer + 1}"
            expected = f"at least {min_images} images stacked in every layer"
            short[index] = (slide.mask_stack, expected, found, "too few images stacked")
    return _drop(slides, short)


def _compute_unknown(
    slides: Slides,
    keys: Mapping[tuple[str, str], SlideKey],
    surveys: Mapping[tuple[str, str], Survey],
    shards: list[Pairs],
    store: Store | None,
    plan: _Plan,
) -> tuple[Slides, int]:
    """Compute pairs that no shard has; new shards are appended to the list and to the store."""
    pairs = np.argwhere(np.triu(~_known(slides, keys, shards)[2]))
    if not len(pairs):
        return slides, 0
    busy, pairs = np.unique(pairs, return_inverse=True)
    pairs = _neighbours_together(pairs.reshape(-1, 2))
    chosen = [slides.slides[i] for i in busy]
    reader = BlockReader(chosen, [surveys[slide.key] for slide in chosen])
    chosen_keys = tuple(keys[slide.key] for slide in chosen)
    layers, new = chosen[0].shape[2], 0
    # sums of a batch are held once for every block under way
    most = int(plan.memory / 2 / (2 * plan.workers + 2) / (3 * layers * 8))
    for batch in np.array_split(pairs, -(-len(pairs) // max(most, 1))):
        sums = _add_up(reader, chosen_keys, batch, store, plan)
        good = ~np.isin(batch, list(reader.failed)).any(axis=1)
        rows, columns, _ = chosen[0].shape
        left_out = rows * columns - sums[:, 0]
        first, second = batch[good].T
        done = Pairs(chosen_keys, first, second, standard_deviations(sums)[good], left_out[good])
        shards.append(done)
        new += len(first)
        if store is not None:
            store.add(done)
            store.drop_partials()
    failed = {int(busy[i]): _failure(chosen[i], error) for i, error in reader.failed.items()}
    return _drop(slides, failed), new


def _neighbours_together(pairs: np.ndarray) -> np.ndarray:
    """Pairs in squares of 16 x 16 slides, whose pixels stay in the processor's cache."""
    squares = pairs // 16
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0], squares[:, 1], squares[:, 0]))]


def _add_up(
    reader: BlockReader, keys: Sequence[SlideKey], pairs: np.ndarray, store: Store | None, plan: _Plan
) -> np.ndarray:
    """Run over all blocks of pixels; the sums so far are kept so that a killed run goes on from there."""
    rows, columns, layers = reader.shape
    size = _block_pixels(len(keys), layers, plan.memory)
    blocks = list(pixel_blocks(rows * columns, min(size, rows * columns)))
    partial = _Partial(store, [keys, pairs.tolist(), size])
    sums, shift, start = partial.load(pairs, layers)
    if start == 0:
        shift = _first_shift(reader, blocks[0], pairs)

    def add(block: tuple[int, int]) -> np.ndarray:
        means, variances, fast = reader.read(*block)
        part = np.zeros_like(sums)
        add_pairs(means, variances, pairs, shift, part, fast)
        return part

    for block, part, error in map_tasks(
        add,
        blocks[start:],
        # each worker holds one block of every slide and an eighth of the memory
        workers=min(plan.workers, 4),
        progress=plan.progress,
        cancel=plan.cancel,
        words=f"comparing {len(pairs)} pairs",
    ):
        if error is not None:
            raise error
        sums += part
        partial.save(sums, shift, blocks.index(block) + 1)
    return sums


def _block_pixels(slides: int, layers: int, memory: float) -> int:
    """Pixels of a block, so that normalised means and variances of all slides fit into an eighth of the memory."""
    return int(np.clip(memory / 8 / (slides * 2 * layers * 8), 64, BLOCK_PIXELS))


def _first_shift(reader: BlockReader, block: tuple[int, int], pairs: np.ndarray) -> np.ndarray:
    means, variances, fast = reader.read(*block)
    nothing = np.zeros((len(pairs), means.shape[1]))
    sums = np.zeros((len(pairs), 3, means.shape[1]))
    add_pairs(means, variances, pairs, nothing, sums, fast)
    return shift_of(sums, nothing)


class _Partial:
    """The sums so far of one computation, written now and then."""

    def __init__(self, store: Store | None, description: object):
        self._path = store.partial_path(description) if store is not None else None
        self._pause_s = _CHECKPOINT_S
        self._last = time.monotonic()

    def load(self, pairs: np.ndarray, layers: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Return sums, shift and the number of blocks done."""
        nothing = np.zeros((len(pairs), 3, layers)), np.zeros((len(pairs), layers)), 0
        if self._path is None or not self._path.exists():
            return nothing
        try:
            with open(self._path, "rb") as handle, np.load(handle, allow_pickle=False) as found:
                return found["sums"], found["shift"], int(found["done"])
        except (OSError, ValueError, KeyError):
            return nothing

    def save(self, sums: np.ndarray, shift: np.ndarray, done: int) -> None:
        """Write when the pause is over; the pause grows so that writing takes a twentieth of the time."""
        now = time.monotonic()
        if self._path is None or now - self._last < self._pause_s:
            return
        with whole_file(self._path) as handle:
            np.savez(handle, sums=sums, shift=shift, done=done)
        self._last = time.monotonic()
        self._pause_s = max(_CHECKPOINT_S, 20 * (self._last - now))


@dataclass(frozen=True)
class PairComparison:
    """One layer of two slides, side by side.

    Attributes
    ----------
    names
        The two slide IDs.
    layer
        From 1.
    mean_images
        Two (rows, columns) mean images divided by their weighted mean; NaN where a pixel is left out.
    delta_over_sigma
        (rows, columns) difference over its uncertainty; NaN where it does not count.
    standard_deviation
        The statistic.
    pixels_left_out
        Pixels that do not count.
    histogram
        (density, edges) of delta/sigma from -6 to 6.
    """

    names: tuple[str, str]
    layer: int
    mean_images: tuple[np.ndarray, np.ndarray]
    delta_over_sigma: np.ndarray
    standard_deviation: float
    pixels_left_out: int
    histogram: tuple[np.ndarray, np.ndarray]

    def summary(self) -> dict[str, Any]:
        """Return names, layer, statistic and pixels left out."""
        return {
            "slides": list(self.names),
            "layer": self.layer,
            "standard_deviation": round(self.standard_deviation, 4),
            "pixels_left_out": self.pixels_left_out,
        }


def compare_pair(first: Slide, second: Slide, layer: int) -> PairComparison:
    """Compare one layer of two slides pixel by pixel.

    Parameters
    ----------
    first, second
        Slides with images of the same shape.
    layer
        From 1.

    Raises
    ------
    ValueError
        For another shape or a layer out of range, or a file that is cut.
    OSError
        When a file cannot be read.
    """
    if first.shape != second.shape:
        raise ValueError(f"Slides must have images of one shape; got {first.shape} and {second.shape}.")
    if not 1 <= layer <= first.shape[2]:
        raise ValueError(f"layer must be from 1 to {first.shape[2]}; got {layer}.")
    (mean_1, error_1), (mean_2, error_2) = _normalised_layer(first, layer), _normalised_layer(second, layer)
    d = delta_over_sigma(mean_1, error_1, mean_2, error_2)
    counted = d[np.isfinite(d)]
    return PairComparison(
        (first.slide_id, second.slide_id),
        layer,
        (mean_1, mean_2),
        d,
        float(counted.std()) if counted.size else float("nan"),
        int(d.size - counted.size),
        np.histogram(counted, bins=120, range=(-6, 6), density=True) if counted.size else _no_histogram(),
    )


def _no_histogram() -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(120), np.linspace(-6, 6, 121)


def _normalised_layer(slide: Slide, layer: int) -> tuple[np.ndarray, np.ndarray]:
    mean, error, mask = read_layer(slide, layer)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        weight = 1 / error**2
        usable = (mask > 0) & np.isfinite(mean) & np.isfinite(error)
        weighs = usable & np.isfinite(weight)
        norm = np.sum(weight[weighs] * mean[weighs]) / np.sum(weight[weighs])
        return np.where(usable, mean / norm, np.nan), np.where(usable, error / norm, np.nan)
