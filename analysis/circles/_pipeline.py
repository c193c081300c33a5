"""The run of every night: what is new or changed is done, and tables and pictures are brought up to date."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.circles._acquisitions import LEVELS, Acquisitions
from analysis.circles._aggregate import check_prune, put_together
from analysis.circles._failures import Failure
from analysis.circles._image import STAGES, ImageDone, ImageJob, process_image
from analysis.circles._ledger import CLAIM_S, Ledger
from analysis.circles._log import RunLog, open_log
from analysis.circles._plan import Plan, Task, plan_run, recipe_of
from analysis.circles._recipe import Polarity, Qc
from analysis.tasks import Cancelled, Progress, count_workers, map_tasks

PATIENCE_S, _PAUSE_S = CLAIM_S + 30, 1.0
"""How long a run waits at its end for images that another one is at."""

_COUNTED = {
    "settings": "with other settings", "method": "by another method", "missing": "with outputs missing",
    "redo": "asked for again", "retry": "tried again", "busy": "left to another run",
}  # fmt: skip
"""States that the sentence names only when there are any."""


@dataclass(frozen=True)
class PipelineRun:
    """What a run did.

    Attributes
    ----------
    table
        One row an image: a column for each level, ``fov``, ``file``, ``state`` (as planned; ``done`` when nothing was
        to be done after all, ``busy`` when another run was at it), ``reason``, ``circles``, ``error`` (empty when all
        is well) and ``seconds`` of CPU time.
    seconds_by_stage
        CPU seconds of each stage, and ``total``, what the clock says.
    problems
        One row an input that failed: ``file, error``.
    output
        The output folder.
    circles, images
        How many circles in how many images ``experiments.csv`` has, or this part of the images when it was not made.
    aggregated
        Whether tables and montages were brought up to date.
    written
        Tables and montages that were written; the others were as they should be.
    settings
        The keyword arguments used.
    warnings
        Sentences about what was found.
    """

    table: pd.DataFrame
    seconds_by_stage: dict[str, float]
    problems: pd.DataFrame
    output: Path
    circles: int
    images: int
    aggregated: bool
    written: tuple[Path, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """One line that a mail can carry."""
        counts = self.summary()
        words = [f"{_grouped(counts[name])} {name}" for name in ("new", "changed")]
        words += [f"{_grouped(counts[state])} {text}" for state, text in _COUNTED.items() if counts[state]]
        words += [f"{_grouped(counts[name])} {name}" for name in ("unchanged", "failed", "vanished")]
        made = f"{_grouped(self.circles)} circles in {_grouped(self.images)} images"
        return f"circles: {', '.join(words)}; {made}; {self.seconds_by_stage['total']:.3g} s"

    def summary(self) -> dict[str, Any]:
        """Return the numbers of images in each state, of failures, circles and images, and seconds."""
        failed = self.table["error"] != ""
        states = Counter(self.table.loc[~failed, "state"])
        return {
            "new": states["new"],
            "changed": states["changed"],
            **{state: states[state] for state in _COUNTED},
            "unchanged": states["done"],
            "failed": len(self.problems),
            "vanished": states["vanished"],
            "circles": self.circles,
            "images": self.images,
            "aggregated": self.aggregated,
            "seconds": round(self.seconds_by_stage["total"], 3),
        }


def run_pipeline(
    source: str | os.PathLike[str] | Acquisitions,
    output: str | os.PathLike[str],
    *,
    levels: Sequence[str] = LEVELS,
    shard: tuple[int, int] | None = None,
    redo: bool = False,
    retry: bool = False,
    radius_px: tuple[float, float] = (8.0, 80.0),
    radius_um: tuple[float, float] | None = None,
    pixel_size_um: float | None = None,
    strictness: float = 0.3,
    polarity: Polarity = "either",
    qc: Qc = "png",
    aggregate: bool | None = None,
    prune: bool = False,
    workers: int | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> PipelineRun:
    """Find and measure the circles of all images that are new or have changed, and bring the tables up to date.

    An image is done again only when its pixels, the settings that matter or the method have changed, or an output is
    missing. Every output appears whole or not at all, and an image's record last: a killed run loses and repeats
    nothing that was finished. Several runs may work at once.

    Parameters
    ----------
    source
        Folder of the acquisitions, or what was found there. Colours are made grey; transparency is left out.
    output
        Folder of the results; not the acquisitions' folder nor in it.
    levels
        What the folders stand for, from the outermost on; their number is the depth.
    shard
        Number of this run from 0, and number of runs that share the images: a fixed part of them is done.
    redo
        Do every image again.
    retry
        Do images again that failed and have not changed.
    radius_px
        Smallest and largest radius in pixels.
    radius_um
        Smallest and largest radius in micrometres, in place of pixels; needs the size of a pixel.
    pixel_size_um
        Size of the images' pixels in micrometres, in place of what the files say.
    strictness
        Least share of a circle's outline, 0 to 1, that must be seen.
    polarity
        ``"bright"`` circles on dark ground, ``"dark"`` on bright, or ``"either"``.
    qc
        Pictures with the circles drawn in: ``"png"``, ``"jpeg"`` or ``"none"``.
    aggregate
        Whether to bring tables and montages up to date in the end; when None, unless the images are shared out.
    prune
        Remove what was written for images whose files are gone.
    workers
        Images at a time; all cores when None.
    executor
        Anything with the manners of `concurrent.futures`, in place of threads; its processes must see both folders
        under the same paths.
    progress
        Called with images done, images, and words.
    cancel
        Stops the run when set; finished images are kept.

    Returns
    -------
    PipelineRun
        An image that fails is a row of its problems and a line of ``failures.csv``; the others are done.

    Raises
    ------
    ValueError
        When settings are wrong, the output lies in the acquisitions or holds what others wrote, or there is no image.
    OSError
        When the output folder cannot be written, or the acquisitions vanish during the run.
    analysis.tasks.Cancelled
        When it was stopped.
    """
    began = time.perf_counter()
    count_workers(workers)
    plan = plan_run(
        source, output, levels=levels, shard=shard, redo=redo, retry=retry, radius_px=radius_px, radius_um=radius_um,
        pixel_size_um=pixel_size_um, strictness=strictness, polarity=polarity, qc=qc, progress=progress, cancel=cancel,
    )  # fmt: skip
    ledger = Ledger(output)
    whole = aggregate if aggregate is not None else shard is None
    found = plan.acquisitions
    check_prune(found, ledger, prune=prune)
    with open_log(Path(output)) as log:
        log.write(_opening(plan))
        ledger.remember("run", {"source": os.path.realpath(found.root), "levels": list(found.levels)})
        ledger.sweep()
        done = _do(plan, log, workers, executor, progress, cancel)
        seconds = _sum_stages(done)
        made, further = None, _unrecorded(plan, done)
        if whole:
            before = time.process_time()
            how = {"workers": workers, "progress": progress, "cancel": cancel}
            made = put_together(found, ledger, further=further, prune=prune, **how)
            seconds["tables and montages"] = time.process_time() - before
        table = _table(plan, done)
        kept = [pd.DataFrame(_failed(plan, done), columns=["file", "error"], dtype=object), plan.problems]
        problems = pd.concat([*kept, made.problems] if made else kept, ignore_index=True)
        seconds["total"] = time.perf_counter() - began
        run = PipelineRun(
            table, seconds, problems, Path(output),
            made.circles if made else int(table["circles"].sum()),
            made.images if made else int(((table["error"] == "") & (table["state"] != "vanished")).sum()),
            made is not None, made.written if made else (), {**plan.settings, "aggregate": aggregate, "prune": prune},
            (*plan.warnings, *(made.warnings if made else (_not_aggregated(shard),)), *_said(done)),
        )  # fmt: skip
        log.write(run.sentence)
    return run


def _do(
    plan: Plan, log: RunLog, workers: int | None, executor: Executor | None, progress: Progress | None,
    cancel: threading.Event | None,
) -> dict[str, ImageDone]:  # fmt: skip
    """Do the images that are to be done; return what became of each."""
    recipe, root, output = recipe_of(plan), str(plan.acquisitions.root), os.path.abspath(plan.output)
    jobs = [ImageJob(t.image, root, output, recipe, t.state, t.reason, t.record) for t in plan.to_do]
    how = {"workers": workers, "executor": executor, "progress": progress, "cancel": cancel}
    done: dict[str, ImageDone] = {}
    _go_through(jobs, done, log, **how, words="finding circles")
    # who held an image may have died, on another machine where nobody can look
    last = time.monotonic() + PATIENCE_S
    while (left := [job for job in jobs if done[job.image.key].state == "busy"]) and time.monotonic() < last:
        if cancel is not None and cancel.wait(_PAUSE_S):
            raise Cancelled(f"Stopped while another run was at {len(left)} images; finished work is kept.")
        if cancel is None:
            time.sleep(_PAUSE_S)
        _go_through(left, done, log, **how, words="waiting for images that another run is at")
    return done


def _go_through(jobs: list[ImageJob], done: dict[str, ImageDone], log: RunLog, **how: Any) -> None:
    for job, result, error in map_tasks(process_image, jobs, **how):
        if isinstance(error, ChildProcessError):
            # whoever did it died of it, so there is no record; it is tried again next time
            result = ImageDone(job.state, job.reason, 0, str(error), "detect")
        elif error is not None:
            raise error
        if result.state != "busy" or job.image.key not in done:
            log.write(*_line(job, result))
        done[job.image.key] = result


def _line(job: ImageJob, result: ImageDone) -> tuple[str]:
    place, seconds = job.image.place, sum(result.seconds.values())
    if result.error:
        return (f"failed {place}: {result.stage}: {result.error} ({job.state}: {job.reason})",)
    if result.state in ("done", "busy"):
        return (f"left {place}: {result.reason}",)
    return (f"done {place}: {result.circles} circles ({job.state}: {job.reason}), {seconds:.3f} s",)


def _opening(plan: Plan) -> str:
    counts = {name: count for name, count in plan.summary().items() if count}
    words = ", ".join(f"{name} {count}" for name, count in counts.items())
    settings = ", ".join(f"{name} {value}" for name, value in plan.settings.items())
    return f"run on {plan.acquisitions.root}: {words}; settings: {settings}"


def _sum_stages(done: dict[str, ImageDone]) -> dict[str, float]:
    return {stage: sum(each.seconds.get(stage, 0.0) for each in done.values()) for stage in STAGES}


def _unrecorded(plan: Plan, done: dict[str, ImageDone]) -> list[Failure]:
    """Failures for which not even a record could be written."""
    return [
        Failure(task.image.names, task.image.fov, task.image.place, result.stage, result.error)
        for task in plan.to_do
        if (result := done[task.image.key]).error and result.record is None
    ]


def _failed(plan: Plan, done: dict[str, ImageDone]) -> list[tuple[str, str]]:
    failed = []
    for task in plan.tasks:
        error = done[task.image.key].error if task.image.key in done else task.reason if task.state == "failed" else ""
        if error:
            failed.append((task.image.file, error))
    return failed


def _table(plan: Plan, done: dict[str, ImageDone]) -> pd.DataFrame:
    rows = [
        (*task.image.names, task.image.fov, task.image.file, *_outcome(task, done.get(task.image.key)))
        for task in plan.tasks
    ]
    columns = [*plan.acquisitions.levels, "fov", "file", "state", "reason", "circles", "error", "seconds"]
    kinds = dict.fromkeys(columns, object) | {"circles": "int64", "seconds": "float64"}
    return pd.DataFrame(rows, columns=columns).astype(kinds)


def _outcome(task: Task, result: ImageDone | None) -> tuple[str, str, int, str, float]:
    if result is not None:
        return result.state, result.reason, result.circles, result.error, sum(result.seconds.values())
    error = task.reason if task.state == "failed" else ""
    circles = task.record.circles if task.record is not None and task.state == "done" else 0
    return task.state, task.reason, circles, error, 0.0


def _not_aggregated(shard: tuple[int, int] | None) -> str:
    part = f"This was part {shard[0]} of {shard[1]}: t" if shard else "T"
    return f"{part}ables and montages are not brought up to date; aggregate does that."


def _said(done: dict[str, ImageDone]) -> tuple[str, ...]:
    """What detection had to say, each sentence once, with the images."""
    said: dict[str, list[str]] = {}
    for key, each in done.items():
        for words in each.record.warnings if each.record is not None else ():
            said.setdefault(words, []).append(key)
    return tuple(
        f"{words} ({f'{len(keys)} images, such as ' if len(keys) > 1 else ''}{keys[0]})" for words, keys in said.items()
    )


def _grouped(number: int) -> str:
    return f"{number:,}".replace(",", " ")
