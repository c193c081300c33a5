"""Work on many machines: a Dask scheduler and its workers, used like any executor of `concurrent.futures`."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import logging
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
        Folders and files that every worker must see under the same name; of one that is not there yet, the folder that
        it will be in.
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
    # what a lost connection means is said by SchedulerLost; Dask's own words are tracebacks
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    client = _connect(Client, address, timeout_s)
    try:
        _wait_for_worker(client, address, timeout_s)
        _check_workers(client, list(dict.fromkeys(map(_nearest, paths))))
        yield SchedulerExecutor(client, patience_s=patience_s)
    finally:
        # what is under way is of no use to anybody
        client.close(timeout=5)


def _connect(kind: Any, address: str, timeout_s: float) -> Any:
    from distributed.comm import get_address_host

    try:
        # a client that was half made prints a traceback when it goes
        get_address_host(address)
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
    seen = {path: _number(path) for path in paths}
    for worker, (version, other) in _ask(client, _describe_worker, seen).items():
        if version != analysis.__version__:
            raise ValueError(f"Every worker must have Graticule {analysis.__version__}; {worker} has {version}.")
        for path in other:
            # some file systems number files anew on each machine; what is in them tells too
            told = _ask(client, _look_into, path, workers=[worker])
            inside = told.get(worker)
            if not told:
                continue
            if inside is None:
                found = f"has no {path}"
            elif not inside or inside != _look_into(path):
                found = f"has another {path} of its own"
            else:
                continue
            raise ValueError(
                f"Every worker must see the same files; {worker} {found}. Mount the shared file system there under "
                "the same path."
            )


def _ask(client: Any, function: Callable[..., Any], *args: Any, **how: Any) -> dict[str, Any]:
    """Return what every worker answers; one that leaves while it is asked is left out, as others do the work."""
    try:
        told = client.run(function, *args, **how, on_error="return")
    except (OSError, TimeoutError):
        return {}
    for worker, found in told.items():
        if isinstance(found, ModuleNotFoundError):
            raise ValueError(f"Every worker must have Graticule {analysis.__version__}; {worker} has none ({found}).")
    return {worker: found for worker, found in told.items() if not isinstance(found, BaseException)}


def _nearest(path: str | os.PathLike[str]) -> str:
    """Return the path from the root, or the folder nearest to it that is there."""
    path = os.path.abspath(path)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


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


def _describe_worker(seen: dict[str, int | None]) -> tuple[str, list[str]]:
    return analysis.__version__, [path for path, number in seen.items() if _number(path) != number]


def _number(path: str) -> int | None:
    try:
        return os.stat(path).st_ino
    except OSError:
        return None


def _look_into(path: str) -> tuple[str, ...] | None:
    """Return the names in a folder, or the size of a file; None where there is none."""
    try:
        return tuple(sorted(os.listdir(path))) if os.path.isdir(path) else (str(os.path.getsize(path)),)
    except OSError:
        return None
