"""One image of the pipeline: read, detect, measure, draw, write, and last the record that says it is done."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from analysis.circles._acquisitions import AcquiredImage
from analysis.circles._columns import image_text
from analysis.circles._ledger import CIRCLES, FOLDER, QC, Ledger, Record, now
from analysis.circles._pixels import apply_pixel_size, read_pixels
from analysis.circles._plan import judge
from analysis.circles._recipe import Recipe
from analysis.files import fingerprint, whole_file

logger = logging.getLogger(__name__)

ENDINGS = {"png": "png", "jpeg": "jpg"}
STAGES = ("read", "fingerprint", "detect", "measure", "qc", "write")
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


@dataclass(frozen=True)
class ImageJob:
    """An image to be done, with all that another process needs.

    Attributes
    ----------
    image
        The image.
    root
        Folder of the acquisitions.
    output
        Folder of the results.
    recipe
        What is asked for.
    state, reason
        Why it is done.
    before
        What was known of it.
    """

    image: AcquiredImage
    root: str
    output: str
    recipe: Recipe
    state: str
    reason: str
    before: Record | None


@dataclass(frozen=True)
class ImageDone:
    """What became of an image.

    Attributes
    ----------
    state, reason
        As planned; ``"done"`` when nothing was to be done after all, ``"busy"`` when another run is at it.
    circles
        How many there are.
    error, stage
        Why it failed, and at what.
    record
        As written; None when nothing was.
    seconds
        CPU seconds of each stage.
    """

    state: str
    reason: str
    circles: int = 0
    error: str = ""
    stage: str = ""
    record: Record | None = None
    seconds: dict[str, float] = field(default_factory=dict)


class SourceGone(OSError):
    """The acquisitions' folder vanished during the run."""


class _Failed(Exception):
    """An image could not be done; the record is written by who catches it."""

    def __init__(self, words: str, *, passing: bool = False):
        super().__init__(words)
        self.passing = passing


class _Clock:
    """CPU seconds of this thread, by stage."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self.stage = STAGES[0]

    @contextlib.contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        self.stage, began = stage, time.thread_time()
        try:
            yield
        finally:
            self.seconds[stage] += time.thread_time() - began


@dataclass(frozen=True)
class _Pixels:
    """A decoded image."""

    values: np.ndarray
    pixel_size_um: tuple[float, float] | None
    fingerprint: str
    hash: str


def process_image(job: ImageJob) -> ImageDone:
    """Do one image, unless another run does it or has done it meanwhile.

    Parameters
    ----------
    job
        The image and what is asked for.

    Returns
    -------
    ImageDone
        A failure is told there, and recorded.

    Raises
    ------
    OSError
        When nothing can be written, or the acquisitions are gone: the other images need not be tried.
    """
    ledger, clock = Ledger(job.output), _Clock()
    try:
        with ledger.claim(job.image.key):
            current = ledger.read(job.image.key)
            if current is not None and current != job.before:
                state, _ = judge(job.image, current, ledger, job.recipe)
                if state in ("done", "failed"):
                    error = current.error if state == "failed" else ""
                    return ImageDone(state, "done by another run", current.circles, error, current.stage, current)
            return _process(job, ledger, current, clock)
    except TimeoutError:
        return ImageDone("busy", "another run is doing it")
    except OSError as error:
        if isinstance(error, SourceGone) or error.errno in _NO_ROOM:
            raise
        # not even a record could be written: a name that is too long, a folder in the way
        return ImageDone(job.state, job.reason, 0, _words(error, job.image)[0], "write", None, clock.seconds)


def _process(job: ImageJob, ledger: Ledger, current: Record | None, clock: _Clock) -> ImageDone:
    image, pixels = job.image, None
    try:
        pixels = _read(job, clock)
        if current is not None and job.state == "changed" and _is_same(job, current, pixels, ledger):
            record = replace(current, fingerprint=pixels.fingerprint)
            ledger.write(image.key, record)
            reason = f"{job.reason}, but no pixel"
            return ImageDone("done", reason, record.circles, record=record, seconds=clock.seconds)
        record, files = _measure(job, pixels, clock)
        with clock("write"):
            _write(job, ledger, current, record, files)
        return ImageDone(job.state, job.reason, record.circles, record=record, seconds=clock.seconds)
    except Exception as error:
        stage = clock.stage
        _let_through(error, job, stage)
        words, passing = _words(error, image)
        record = Record(
            os.path.basename(image.file), pixels.fingerprint if pixels else image.fingerprint, "failed",
            pixels=pixels.hash if pixels else "", recipe=job.recipe.settings, method=job.recipe.method,
            qc=job.recipe.qc, stage=stage, error=words, passing=passing, when=now(),
        )  # fmt: skip
        ledger.write(image.key, record)
        if current is not None and not passing:
            # they belong to pixels that are no longer there
            ledger.remove_outputs(list(current.outputs))
        return ImageDone(job.state, job.reason, 0, words, stage, record, clock.seconds)


def _let_through(error: Exception, job: ImageJob, stage: str) -> None:
    """Raise what concerns all images."""
    if not isinstance(error, OSError):
        return
    if stage == "write" and error.errno in _NO_ROOM:
        raise error
    if stage == "read" and not os.path.isdir(job.root):
        raise SourceGone(f"{job.root} vanished during the run; what is finished is kept.") from error


def _words(error: Exception, image: AcquiredImage) -> tuple[str, bool]:
    """What a person reads about a failure, and whether it may pass by itself."""
    if isinstance(error, OSError):
        said = f"{error.strerror or error}."
        return said if error.filename in (None, image.file) else f"{error.filename}: {said}", True
    # the file stands beside the reason in every table, and many images fail for the same reason
    text = " ".join(str(error).removeprefix(image.file).split())
    if isinstance(error, _Failed):
        return text, error.passing
    if isinstance(error, (ValueError, MemoryError)):
        return text or type(error).__name__, isinstance(error, MemoryError)
    logger.exception("%s", image.file)
    return f"{type(error).__name__}: {text}", False


# ---------------------------------------------------------------------------------------------- reading


def _read(job: ImageJob, clock: _Clock) -> _Pixels:
    path = job.image.file
    with clock("read"):
        before = fingerprint(path)
        found = read_pixels(path)
        if fingerprint(path) != before:
            raise _Failed("must stay as it is while it is read; it changed.", passing=True)
    with clock("fingerprint"):
        values = found.values
        mark = hashlib.blake2b(f"{values.dtype.str} {values.shape} {found.pixel_size_um}".encode(), digest_size=16)
        mark.update(np.ascontiguousarray(values))
    clock.stage = "detect"
    return _Pixels(values, found.pixel_size_um, before, mark.hexdigest())


def _is_same(job: ImageJob, current: Record, pixels: _Pixels, ledger: Ledger) -> bool:
    """Whether only size or time of the file have changed."""
    if current.state != "done" or not current.pixels or current.pixels != pixels.hash:
        return False
    state, _ = judge(replace(job.image, fingerprint=current.fingerprint), current, ledger, job.recipe)
    return state == "done"


# --------------------------------------------------------------------------------------------- measuring


def _measure(job: ImageJob, pixels: _Pixels, clock: _Clock) -> tuple[Record, dict[str, bytes]]:
    """Return the record to be, and the content of each output by its path."""
    from analysis.circles._detection import detect_circles
    from analysis.circles._measurement import measure_circles

    how, said = apply_pixel_size(job.recipe.keywords(), pixels.pixel_size_um)
    with clock("detect"):
        circles = detect_circles(pixels.values, **how)
    with clock("measure"):
        circles = measure_circles(pixels.values, circles)
        table, key = circles.table, job.image.key
        files = {f"{CIRCLES}/{key}.csv": image_text(table).encode()}
    if job.recipe.qc != "none":
        with clock("qc"):
            files |= _pictures(key, pixels.values, table, job.recipe.qc)
    record = Record(
        os.path.basename(job.image.file), pixels.fingerprint, "done", pixels=pixels.hash, recipe=job.recipe.settings,
        method=job.recipe.method, qc=job.recipe.qc, circles=len(table), calibrated="r_um" in table,
        outputs={name: len(content) for name, content in files.items()}, when=now(),
        warnings=(*said, *map(str, circles.warnings)),
    )  # fmt: skip
    return record, files


def _pictures(key: str, values: np.ndarray, table, qc: str) -> dict[str, bytes]:
    from analysis.circles._montage import cut_crops, encode_crops
    from analysis.circles._overlay import draw_on_grey, encode_picture, stretch_grey

    grey = stretch_grey(values)
    return {
        # before circles are drawn into the grey
        f"{FOLDER}/{key}.crops.png": encode_crops(cut_crops(grey, table)),
        f"{QC}/{key}.{ENDINGS[qc]}": encode_picture(draw_on_grey(grey, table), qc),
    }


# ----------------------------------------------------------------------------------------------- writing


def _write(job: ImageJob, ledger: Ledger, current: Record | None, record: Record, files: dict[str, bytes]) -> None:
    if current is not None:
        # from here to the new record nothing is known, so that a kill in between leaves no mixture
        ledger.forget(job.image.key)
    for name, content in files.items():
        with whole_file(Path(job.output) / name, durable=False) as handle:
            handle.write(content)
    ledger.write(job.image.key, record)
    if current is not None:
        ledger.remove_outputs(sorted(current.outputs.keys() - files.keys()))
