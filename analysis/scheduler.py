"""Work on many machines: a Dask scheduler and its workers, used like any executor of `concurrent.futures`."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import Any

import analysis
from analysis.tasks import SchedulerLost

_ASKED_EVERY_S = 2.0
_ADDRESS = "tcp://host:8786"
_DASK_TRIMS_AT = "65536"
_MALLOC_BYTES = {-3: 32 << 20, -1: 64 << 20}
"""M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of mallopt(3), as far as they rise by themselves where nobody sets them."""
_LARGE_BYTES = 65_536
"""What a function holds beyond this travels once, and not with every input."""


class SchedulerExecutor(Executor):
    """Tasks on the workers of a Dask scheduler.

    Parameters
    ----------
    client
        A connected ``distributed.Client``, which stays open.
    patience_s
        How long to wait while there is no worker at all.
    """

    def __init__(self, client: Any, *, patience_s: float = 60.0):
        self._client, self._patience_s = client, patience_s
        # tasks write files, so the same input may have to be done twice
        self._tasks = client.get_executor(pure=False)
        self._asked_at = self._seen_at = time.monotonic()
        self._threads = max(self._count_threads(), 1)
        self._large: tuple[Any, Any] = (None, None)

    @property
    def width(self) -> int:
        """Tasks that the workers can run at once; workers that come later count too."""
        self.check()
        return self._threads

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future:
        """Start a task on a worker; as `concurrent.futures.Executor.submit`."""
        return self._tasks.submit(_call, self._hold(fn) or fn, *args, **kwargs)

    def _hold(self, function: Any) -> Any:
        """Return a large function as the result of a task, which workers hand to each other; None for a small one.

        When the workers that hold it die, the scheduler has it made again.
        """
        if not isinstance(function, functools.partial):
            return None
        if self._large[0] is not function:
            packed = _pickle().dumps(function)
            self._large = function, self._send(packed) if len(packed) > _LARGE_BYTES else None
        return self._large[1]

    def _send(self, packed: bytes) -> Any:
        import dask

        # the advice against large tasks is for those sent again and again
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": 2 * len(packed)}):
            return self._client.submit(_pickle().loads, packed, pure=False)

    def check(self) -> None:
        """See that there still is somebody who works.

        Raises
        ------
        SchedulerLost
            When the scheduler is gone, or has had no worker for too long.
        """
        now = time.monotonic()
        if now - self._asked_at < _ASKED_EVERY_S and self._client.status == "running":
            return
        self._asked_at = now
        threads = self._count_threads()
        if threads:
            self._threads, self._seen_at = threads, now
        elif now - self._seen_at > self._patience_s:
            raise SchedulerLost(
                f"The scheduler must have at least one worker; it has had none for {self._patience_s:.0f} s. Start "
                "workers, then run this again; finished work is kept."
            )

    def _count_threads(self) -> int:
        lost = "The connection to the scheduler was lost. Run this again when it is back; finished work is kept."
        if self._client.status != "running":
            raise SchedulerLost(lost)
        try:
            return sum(self._client.nthreads().values())
        except (OSError, TimeoutError, ValueError):
            raise SchedulerLost(lost) from None


@contextlib.contextmanager
def open_scheduler(
    address: str | None,
    *,
    paths: Iterable[str | os.PathLike[str]] = (),
    timeout_s: float = 10.0,
    patience_s: float = 60.0,
) -> Iterator[SchedulerExecutor | None]:
    """Connect to a Dask scheduler for the length of a ``with`` statement.

    Parameters
    ----------
    address
        As ``tcp://host:8786``; None or ``""`` works here, without a scheduler, and gives None.
    paths
        Folders and files that every worker must see under the same name.
    timeout_s
        For the connection, and for the first worker.
    patience_s
        How long to wait later on while there is no worker at all.

    Yields
    ------
    SchedulerExecutor or None
        For the ``executor`` of the functions that take one.

    Raises
    ------
    ImportError
        When dask.distributed is not installed.
    ValueError
        When the address is none, a worker has another version of this program, or does not see a path.
    SchedulerLost
        When nobody answers, or there is no worker.
    """
    if not address:
        yield None
        return
    try:
        from distributed import Client
    except ImportError:
        raise ImportError(
            "A scheduler needs the package dask.distributed; it is not installed. Install it with: pip install "
            '"dask[distributed]"'
        ) from None
    client = _connect(Client, address, timeout_s)
    try:
        _wait_for_worker(client, address, timeout_s)
        _check_workers(client, [os.path.abspath(path) for path in paths])
        yield SchedulerExecutor(client, patience_s=patience_s)
    finally:
        # what is under way is of no use to anybody
        client.close(timeout=5)


def _connect(kind: Any, address: str, timeout_s: float) -> Any:
    try:
        return kind(address, timeout=timeout_s, set_as_default=False, name="graticule")
    except (OSError, TimeoutError):
        raise SchedulerLost(
            f"A scheduler must answer at {address}; nobody did within {timeout_s:.0f} s. Check its address, or work on "
            "this machine, without one."
        ) from None
    except (ValueError, TypeError) as error:
        raise ValueError(f"The scheduler's address must be like {_ADDRESS}; got {address!r} ({error}).") from None


def _wait_for_worker(client: Any, address: str, timeout_s: float) -> None:
    try:
        client.wait_for_workers(1, timeout=timeout_s)
    except TimeoutError:
        raise SchedulerLost(
            f"The scheduler {address} must have at least one worker; none came within {timeout_s:.0f} s. Start one "
            f"with: dask worker {address}"
        ) from None


def _check_workers(client: Any, paths: list[str]) -> None:
    """Refuse workers that cannot do the work, before the first of a thousand inputs fails on them."""
    try:
        told = client.run(_describe_worker, paths, on_error="return")
    except (OSError, TimeoutError):
        return  # a worker that left while it was asked; others do the work
    for worker, found in told.items():
        if isinstance(found, ModuleNotFoundError):
            raise ValueError(f"Every worker must have Graticule {analysis.__version__}; {worker} has none ({found}).")
        if isinstance(found, BaseException):
            continue  # as above
        version, missing = found
        if version != analysis.__version__:
            raise ValueError(f"Every worker must have Graticule {analysis.__version__}; {worker} has {version}.")
        if missing:
            raise ValueError(
                f"Every worker must see the same files; {worker} has no {missing[0]}. Mount the shared file system "
                "there under the same path."
            )


def _pickle() -> Any:
    # Dask's own, which takes functions of a script and of a notebook too
    from distributed.protocol import pickle

    return pickle


def _call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    _keep_memory()
    return function(*args, **kwargs)


@functools.cache
def _keep_memory() -> None:
    """Let this worker use memory again that arrays gave back, as any other process does.

    Dask tells its workers to hand it to the system at once, and getting it anew takes as long as the work itself.
    Another value than Dask's own is somebody's choice, and stays.
    """
    if os.environ.get("MALLOC_TRIM_THRESHOLD_") != _DASK_TRIMS_AT:
        return
    try:
        choose = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return  # not the GNU C library
    for option, size in _MALLOC_BYTES.items():
        choose(option, size)


def _describe_worker(paths: list[str]) -> tuple[str, list[str]]:
    return analysis.__version__, [path for path in paths if not os.path.exists(path)]
