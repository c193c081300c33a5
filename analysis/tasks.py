"""One loop over many inputs, on the cores of this machine or on an executor that is given."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from typing import TypeVar

Input = TypeVar("Input")
Output = TypeVar("Output")

Progress = Callable[[int, int, str], None]
"""Called with (done, total, words) in the thread that runs the loop."""


class Cancelled(Exception):
    """Raised inside a task's loop when the person asked to stop; finished work is kept."""


class SchedulerLost(Exception):
    """Raised when the scheduler of many machines, or every worker of it, is gone; finished work is kept."""


def count_workers(workers: int | None) -> int:
    """Return the number of workers to use: what was asked for, or the cores this process may use.

    Raises
    ------
    ValueError
        When fewer than one is asked for.
    """
    if workers is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if workers < 1:
        raise ValueError(f"workers must be at least 1; got {workers}.")
    return workers


def map_tasks(
    function: Callable[[Input], Output],
    inputs: Iterable[Input],
    *,
    workers: int | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
    words: str = "",
) -> Iterator[tuple[Input, Output | None, Exception | None]]:
    """Run a function on every input and yield ``(input, output, error)`` in the order of the inputs.

    At most a few inputs are under way at once, so memory does not grow with their number. An exception
    of the function becomes the third item and the rest goes on.

    Parameters
    ----------
    function
        Called with one input. Threads run it, so the work should be NumPy's, numba's or a file's.
    inputs
        Any number of them.
    workers
        How many at once; all cores when None.
    executor
        Anything with `concurrent.futures` manners, used in place of our own threads and left open: processes here, or
        `analysis.scheduler.open_scheduler` for many machines.
    progress
        Told after every input.
    cancel
        When set, nothing new is started and `Cancelled` is raised.
    words
        What to say to ``progress``.

    Raises
    ------
    Cancelled
        When ``cancel`` was set before the end.
    SchedulerLost
        When the executor is a scheduler's, and it or all of its workers are gone.
    """
    inputs = list(inputs)
    count = count_workers(workers)
    how = progress, cancel, words
    if executor is not None:
        # twice as many as can run, so that nobody waits for the next one
        yield from _drain(function, inputs, executor, lambda: 2 * getattr(executor, "width", count), *how)
        return
    with ThreadPoolExecutor(count, thread_name_prefix="graticule") as threads:
        yield from _drain(function, inputs, threads, lambda: count, *how)


def _drain(function, inputs, executor, room, progress, cancel, words):
    """Keep as many inputs under way as there is room for, and hand results over in order."""
    pending: dict[Future, int] = {}
    finished: dict[int, Future] = {}
    once_more: set[int] = set()
    following = handed = 0
    try:
        while handed < len(inputs):
            if cancel is not None and cancel.is_set():
                raise Cancelled(f"Stopped after {handed} of {len(inputs)}; finished work is kept.")
            ahead = room()
            # the window counts from the oldest unfinished input, so results waiting their turn stay few
            while following < len(inputs) and following - handed < 2 * ahead and len(pending) < ahead:
                pending[executor.submit(function, inputs[following])] = following
                following += 1
            if handed not in finished:
                done, _ = wait(pending, timeout=0.1, return_when=FIRST_COMPLETED)
                finished.update({pending.pop(future): future for future in done})
                continue
            future = finished.pop(handed)
            if future.cancelled():
                # nobody here did that
                raise SchedulerLost("The connection to those who work was lost. Run this again; finished work is kept.")
            item, error = inputs[handed], future.exception()
            if error is not None and not isinstance(error, Exception):
                raise error
            if type(error).__name__ == "KilledWorker":
                if handed not in once_more:
                    # a worker dies with all it has, so the input may only have been beside the one that did it
                    once_more.add(handed)
                    pending[executor.submit(function, item)] = handed
                    continue
                error = ChildProcessError("every worker that tried it died; it may need more memory than they have.")
            handed += 1
            yield item, (future.result() if error is None else None), error
            if progress is not None:
                progress(handed, len(inputs), words)
    finally:
        for future in pending:
            future.cancel()
