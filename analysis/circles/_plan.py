"""What would run tonight, and why."""

from __future__ import annotations

import functools
import hashlib
import os
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.circles._acquisitions import LEVELS, AcquiredImage, Acquisitions, find_acquisitions
from analysis.circles._ledger import CIRCLES, EXPERIMENTS, FAILURES, FOLDER, QC, Ledger, Record
from analysis.circles._recipe import Polarity, Qc, Recipe, changes, make_recipe
from analysis.tasks import Progress

TO_DO = ("new", "changed", "settings", "method", "missing", "redo", "retry")
"""States of images that a run does."""
STATES = (*TO_DO, "done", "failed", "vanished")


@dataclass(frozen=True)
class Task:
    """An image, and whether it is to be done.

    Attributes
    ----------
    image
        The image; of one that vanished, what its record says.
    state, reason
        One of `STATES`, and why.
    record
        What is known of it.
    """

    image: AcquiredImage
    state: str
    reason: str
    record: Record | None


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes
    ----------
    table
        One row an image: a column for each level, ``fov``, ``file``, ``state`` and ``reason``. States to be done are
        ``new``, ``changed`` (the file), ``settings``, ``method``, ``missing`` (an output), ``redo`` and ``retry``;
        the others are ``done``, ``failed`` (before, and nothing has changed) and ``vanished``.
    tasks
        The same, one object an image.
    problems
        Files and folders that cannot be used: ``file, error``.
    acquisitions
        What was found.
    output
        The output folder.
    settings
        The keyword arguments used.
    warnings
        Sentences about the acquisitions.
    """

    table: pd.DataFrame
    tasks: tuple[Task, ...]
    problems: pd.DataFrame
    acquisitions: Acquisitions
    output: Path
    settings: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @functools.cached_property
    def to_do(self) -> tuple[Task, ...]:
        """Images that a run would do."""
        return tuple(task for task in self.tasks if task.state in TO_DO)

    def summary(self) -> dict[str, Any]:
        """Return the numbers of images, of those to be done, of each state and of problems."""
        states = Counter(task.state for task in self.tasks)
        return {
            "images": len(self.tasks) - states["vanished"],
            "to_do": len(self.to_do),
            **{state: states[state] for state in STATES},
            "problems": len(self.problems),
        }


def plan_run(
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
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> Plan:
    """Say what a run would do and why; nothing is written and no image is read.

    Parameters
    ----------
    source
        Folder of the acquisitions, or what was found there.
    output
        Folder of the results; not the acquisitions' folder nor in it.
    levels
        What the folders stand for, from the outermost on; their number is the depth.
    shard
        Number of this run from 0, and number of runs that share the images: a fixed part of them is looked at.
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
    progress
        Called with folders looked at, folders, and words.
    cancel
        Stops the search when set.

    Returns
    -------
    Plan
        Every image with its state and reason.

    Raises
    ------
    ValueError
        When settings are wrong, the output lies in the acquisitions or holds what others wrote, or there is no image.
    analysis.tasks.Cancelled
        When it was stopped.
    """
    recipe = make_recipe(
        radius_px=radius_px, radius_um=radius_um, pixel_size_um=pixel_size_um, strictness=strictness,
        polarity=polarity, qc=qc,
    )  # fmt: skip
    check_shard(shard)
    check_place(source.root if isinstance(source, Acquisitions) else source, output)
    if isinstance(source, Acquisitions):
        found = source
    else:
        found = find_acquisitions(source, levels=levels, progress=progress, cancel=cancel)
    ledger = Ledger(output)
    refuse_foreign(ledger)
    records = ledger.read_all()
    refuse_empty(found, records)
    tasks = _judge_all(found, records, ledger, recipe, shard, redo=redo, retry=retry)
    plan = Plan(
        _table(tasks, found.levels), tuple(tasks), _in_shard(found, shard), found, Path(output),
        {
            "levels": found.levels, "shard": shard, "redo": redo, "retry": retry, "radius_px": radius_px,
            "radius_um": radius_um, "pixel_size_um": pixel_size_um, "strictness": strictness, "polarity": polarity,
            "qc": qc,
        },
        found.warnings,
    )  # fmt: skip
    if plan.to_do:
        recipe.check()
    return plan


def recipe_of(plan: Plan) -> Recipe:
    """Return what a plan asks for."""
    names = ("radius_px", "radius_um", "pixel_size_um", "strictness", "polarity", "qc")
    return make_recipe(**{name: plan.settings[name] for name in names})


def check_shard(shard: tuple[int, int] | None) -> None:
    """Refuse a part that there is not.

    Raises
    ------
    ValueError
        When the number is not from 0 to before the count.
    """
    if shard is None:
        return
    if len(shard) != 2 or not all(isinstance(each, int) for each in shard) or not 0 <= shard[0] < shard[1]:
        raise ValueError(f"shard must be a number from 0 and the count above it, such as 0/4 to 3/4; got {shard}.")


def check_place(source: str | os.PathLike[str], output: str | os.PathLike[str]) -> None:
    """Refuse an output folder in the acquisitions, and acquisitions that the pipeline wrote itself.

    Raises
    ------
    ValueError
        With both folders and the cure.
    """
    read, written = Path(os.path.realpath(source)), Path(os.path.realpath(output))
    if written == read or read in written.parents:
        raise ValueError(
            f"output must lie outside of the acquisitions; {output} is {source} or in it. Choose another folder, such "
            "as the one above."
        )
    for ours in (CIRCLES, QC, FOLDER):
        if read == written / ours or written / ours in read.parents:
            raise ValueError(f"acquisitions must not be what the pipeline wrote; {source} is in {written / ours}.")
    if os.path.exists(written) and not os.path.isdir(written):
        raise ValueError(f"output must be a folder; {output} is a file.")


def refuse_foreign(ledger: Ledger) -> None:
    """Refuse an output folder that holds tables and pictures which others made: they would be written over.

    Raises
    ------
    ValueError
        With what is there and the cure.
    """
    if ledger.recall("run"):
        return
    there = [name for name in (EXPERIMENTS, FAILURES, CIRCLES, QC) if os.path.exists(ledger.output / name)]
    if there:
        raise ValueError(
            f"output must be new or of an earlier run; {ledger.output} holds {', '.join(there)} from elsewhere, which "
            "would be written over. Move them away, or choose another folder."
        )


def refuse_empty(found: Acquisitions, records: dict[str, Record]) -> None:
    """Refuse acquisitions without an image: a share that is not there must not empty the tables.

    Raises
    ------
    ValueError
        With the folder, and how many images were done before.
    """
    if len(found) or (not found.problems.empty and not records):
        return
    known = f" {len(records)} were done before, which stay as they are. Is its disk there?" if records else ""
    raise ValueError(
        f"acquisitions must hold images; none is in {found.root}, {len(found.levels)} folders deep.{known}"
    )


def _judge_all(
    found: Acquisitions,
    records: dict[str, Record],
    ledger: Ledger,
    recipe: Recipe,
    shard: tuple[int, int] | None,
    *,
    redo: bool,
    retry: bool,
) -> list[Task]:
    tasks, seen = [], set()
    for image in found.rows:
        seen.add(image.key)
        if in_shard(image.key, shard):
            record = records.get(image.key)
            state, reason = judge(image, record, ledger, recipe, redo=redo, retry=retry)
            tasks.append(Task(image, state, reason, record))
    for key in sorted(records.keys() - seen):
        *names, fov = key.split("/")
        if in_shard(key, shard) and not below(key, found.unread):
            record = records[key]
            file = str(found.root.joinpath(*names, record.file))
            image = AcquiredImage(tuple(names), fov, file, record.fingerprint)
            if len(names) == len(found.levels):
                tasks.append(Task(image, "vanished", "its file is gone", record))
    return tasks


def judge(
    image: AcquiredImage, record: Record | None, ledger: Ledger, recipe: Recipe, *, redo: bool = False,
    retry: bool = False,
) -> tuple[str, str]:  # fmt: skip
    """Return the state of an image that is there, and the reason.

    Parameters
    ----------
    image
        The image.
    record
        What is known of it.
    ledger
        Knows where its outputs are.
    recipe
        What is asked for.
    redo, retry
        Whether to do it again in any case, or when it failed.
    """
    if record is None:
        return "new", "not done before"
    failed = record.state == "failed"
    # a file that cannot be read does not depend on what is asked for
    unread = failed and record.stage == "read"
    reasons: dict[str, str] = {}
    if redo:
        reasons["redo"] = "asked for"
    if not unread:
        if settings := changes(record.recipe, recipe.settings):
            reasons["settings"] = settings
        if record.method != recipe.method:
            reasons["method"] = f"method {record.method} -> {recipe.method}"
        if recipe.qc not in ("none", record.qc):
            picture = f"qc {record.qc} -> {recipe.qc}"
            reasons["settings"] = f"{reasons['settings']}, {picture}" if "settings" in reasons else picture
    if os.path.basename(image.file) != record.file:
        reasons["changed"] = f"the file was {record.file}"
    elif image.fingerprint != record.fingerprint:
        reasons["changed"] = "size or time of the file changed"
    if failed and not reasons:
        if retry:
            reasons["retry"] = f"failed before: {record.error}"
        elif record.passing:
            reasons["retry"] = f"failed for a reason that may have passed: {record.error}"
        else:
            return "failed", record.error
    if not failed and (wrong := ledger.intact(record)):
        reasons["missing"] = wrong
    if not reasons:
        return "done", ""
    return next(iter(reasons)), "; ".join(reasons.values())


def in_shard(key: str, shard: tuple[int, int] | None) -> bool:
    """Tell whether an image is in a part; the same on every machine and every night."""
    if shard is None:
        return True
    index, count = shard
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest()) % count == index


def below(key: str, folders: Sequence[str]) -> bool:
    """Tell whether an image lies in one of some folders."""
    return any(key.startswith(f"{folder}/") for folder in folders)


def _in_shard(found: Acquisitions, shard: tuple[int, int] | None) -> pd.DataFrame:
    if shard is None or found.problems.empty:
        return found.problems
    mine = [in_shard(os.path.relpath(file, found.root), shard) for file in found.problems["file"]]
    return found.problems[mine].reset_index(drop=True)


def _table(tasks: Sequence[Task], levels: Sequence[str]) -> pd.DataFrame:
    rows = [(*t.image.names, t.image.fov, t.image.file, t.state, t.reason) for t in tasks]
    return pd.DataFrame(rows, columns=[*levels, "fov", "file", "state", "reason"], dtype=object)
