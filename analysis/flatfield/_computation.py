"""The work behind a comparison: slides looked through, pairs computed block by block, sums kept on the way."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.files import whole_file
from analysis.flatfield._blocks import BLOCK_PIXELS, BlockReader, Survey, pixel_blocks, survey_slide
from analysis.flatfield._slides import Slide, Slides, make_problems
from analysis.flatfield._statistic import add_pairs, shift_of, standard_deviations
from analysis.flatfield._store import Pairs, SlideKey, Store, fill_known, key_of
from analysis.tasks import Progress, map_tasks

_CHECKPOINT_S = 10.0
_STRETCHES = 128
"""In so many parts the pixels of all slides are added up, each by one worker."""


@dataclass(frozen=True)
class Plan:
    """How to work: memory in bytes, threads or an executor in their place, and whom to tell and hear."""

    memory: float
    workers: int
    executor: Executor | None
    progress: Progress | None
    cancel: threading.Event | None


def add_problems(problems: pd.DataFrame, rows: Iterable[Sequence[str]]) -> pd.DataFrame:
    """Return a table of problems with further rows."""
    return make_problems([*problems.itertuples(index=False, name=None), *rows])


def drop_slides(slides: Slides, reasons: Mapping[int, tuple[Path, str, str, str]]) -> Slides:
    """Slides without some, each listed with (file, expected, found, reason)."""
    rows = [
        (slides.slides[i].slide_id, str(slides.slides[i].root_dir), *map(str, reason))
        for i, reason in sorted(reasons.items())
    ]
    kept = tuple(slide for i, slide in enumerate(slides.slides) if i not in reasons)
    return replace(slides, slides=kept, problems=add_problems(slides.problems, rows))


def _failure(slide: Slide, error: Exception) -> tuple[Path | str, str, str, str]:
    file = getattr(error, "filename", None) or slide.mean_image
    return file, "files that can be read to the end", getattr(error, "strerror", None) or str(error), "cannot be read"


def find_keys(slides: Slides) -> tuple[Slides, dict[tuple[str, str], SlideKey]]:
    """Return the slides whose files can be looked at, and what their results are kept under."""
    keys, lost = {}, {}
    for index, slide in enumerate(slides.slides):
        try:
            keys[slide.key] = key_of(slide)
        except OSError as error:
            lost[index] = _failure(slide, error)
    return drop_slides(slides, lost), keys


def known_pairs(
    slides: Slides, keys: Mapping[tuple[str, str], SlideKey], shards: Sequence[Pairs]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values, pixels left out, and whether a pair is known (a slide with itself counts as known)."""
    count = len(slides)
    layers = slides.slides[0].shape[2] if count else 0
    values, left_out = np.full((count, count, layers), np.nan), np.full((count, count, layers), -1, dtype=np.int32)
    known = fill_known(shards, [keys[slide.key] for slide in slides.slides], values, left_out)
    np.fill_diagonal(known, True)
    return values, left_out, known


def survey_slides(
    slides: Slides,
    keys: Mapping[tuple[str, str], SlideKey],
    wanted: Sequence[bool],
    store: Store | None,
    plan: Plan,
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
        survey_slide,
        [slides.slides[index] for index in unseen],
        workers=plan.workers,
        executor=plan.executor,
        progress=plan.progress,
        cancel=plan.cancel,
        words="looking through slides",
    )
    for index, (slide, survey, error) in zip(unseen, look, strict=True):
        if error is not None:
            if not isinstance(error, (OSError, ValueError)):
                raise error
            lost[index] = _failure(slide, error)
            continue
        surveys[slide.key] = survey
        if store is not None:
            store.write_survey(keys[slide.key], survey.to_dict())
    return drop_slides(slides, lost), surveys


def keep_well_stacked(slides: Slides, surveys: Mapping[tuple[str, str], Survey], min_images: int) -> Slides:
    """Return the slides whose emptiest layer has enough images stacked; the others are listed."""
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
    return drop_slides(slides, short)


def compute_unknown(
    slides: Slides,
    keys: Mapping[tuple[str, str], SlideKey],
    surveys: Mapping[tuple[str, str], Survey],
    shards: list[Pairs],
    store: Store | None,
    plan: Plan,
) -> tuple[Slides, int]:
    """Compute pairs that no shard has; new shards are appended to the list and to the store."""
    pairs = np.argwhere(np.triu(~known_pairs(slides, keys, shards)[2]))
    if not len(pairs):
        return slides, 0
    busy, pairs = np.unique(pairs, return_inverse=True)
    pairs = _neighbours_together(pairs.reshape(-1, 2))
    chosen = [slides.slides[i] for i in busy]
    reader = BlockReader(chosen, [surveys[slide.key] for slide in chosen])
    chosen_keys = tuple(keys[slide.key] for slide in chosen)
    layers, new = chosen[0].shape[2], 0
    # sums of a batch are held once for every stretch under way or waiting for its turn
    width = plan.workers if plan.executor is None else 2 * getattr(plan.executor, "width", plan.workers)
    held = min(_STRETCHES, 2 * width)
    most = int(plan.memory / 2 / (held + 2) / (3 * layers * 8))
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
    return drop_slides(slides, failed), new


def _neighbours_together(pairs: np.ndarray) -> np.ndarray:
    """Pairs in squares of 16 x 16 slides, whose pixels stay in the processor's cache."""
    squares = pairs // 16
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0], squares[:, 1], squares[:, 0]))]


def _add_up(
    reader: BlockReader, keys: Sequence[SlideKey], pairs: np.ndarray, store: Store | None, plan: Plan
) -> np.ndarray:
    """Run over all blocks of pixels; the sums so far are kept so that a killed run goes on from there."""
    rows, columns, layers = reader.shape
    size = min(_block_pixels(len(keys), layers, plan.memory), rows * columns)
    blocks = list(pixel_blocks(rows * columns, size))
    # a stretch is added up by one worker, so the sums are the same bits wherever that is
    length = -(-len(blocks) // _STRETCHES)
    stretches = [blocks[at : at + length] for at in range(0, len(blocks), length)]
    partial_sums = _Partial(store, [keys, pairs.tolist(), size, length])
    sums, shift, start = partial_sums.load(pairs, layers)
    if start == 0:
        shift = _first_shift(reader, blocks[0], pairs)
    loop = map_tasks(
        partial(_add_stretch, reader, pairs, shift),
        stretches[start:],
        # each worker holds one block of every slide and an eighth of the memory
        workers=min(plan.workers, 4),
        executor=plan.executor,
        progress=plan.progress,
        cancel=plan.cancel,
        words=f"comparing {len(pairs)} pairs",
    )
    for number, (_, part, error) in enumerate(loop, start=start + 1):
        if error is not None:
            raise error
        added, failed = part
        for index, reason in failed.items():
            reader.failed.setdefault(index, reason)
        sums += added
        # sums that lack blocks of a slide must not outlive this run, which alone knows of it
        if not reader.failed:
            partial_sums.save(sums, shift, number)
    return sums


def _add_stretch(
    reader: BlockReader, pairs: np.ndarray, shift: np.ndarray, blocks: Sequence[tuple[int, int]]
) -> tuple[np.ndarray, dict[int, Exception]]:
    """Return the sums of some blocks, and slides that could not be read."""
    sums = np.zeros((len(pairs), 3, reader.shape[2]))
    for block in blocks:
        means, variances, fast = reader.read(*block)
        add_pairs(means, variances, pairs, shift, sums, fast)
    return sums, dict(reader.failed)


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
