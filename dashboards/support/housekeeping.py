"""What the server does when nobody waits for it: imports, and what pages leave in memory."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import importlib
import time
from collections.abc import Iterable
from pathlib import Path

_COLLECTED_S = 10.0  # by when Panel has collected what belonged to a page that was closed
_PAUSE_S, _BUSY_SHARE = 1.0, 0.05
# in collections of what is young, of which making a page takes a dozen
_WORTH_IT, _OVERDUE = 10, 500


async def keep_house(pages: Iterable[Path]) -> None:
    """Import the pages, and from then on collect garbage in pauses, until it is cancelled.

    Parameters
    ----------
    pages
        Files of the pages.
    """
    await import_pages(pages)
    await collect_in_pauses()


async def import_pages(pages: Iterable[Path]) -> None:
    """Import what the pages need, for which their first visitors would wait.

    The garbage collector passes over it from then on. It would stop all pages for half a second whenever one is closed.

    Parameters
    ----------
    pages
        Files of the pages.
    """
    for path in pages:
        # here and not in a thread: what imports the same in two threads may find it half made
        importlib.import_module(f"dashboards.{path.stem}")
        await asyncio.sleep(0)
    gc.collect()
    gc.freeze()


async def collect_in_pauses() -> None:
    """Look through all that lives for garbage when nothing else is to be done, instead of when a page is made.

    It takes a tenth of a second for every two pages that are open, in which none of them answers. Where no pause comes
    it is done in the end all the same.
    """
    gc.set_threshold(*gc.get_threshold()[:2], _OVERDUE)
    while True:
        before = time.process_time()
        await asyncio.sleep(_PAUSE_S)
        idle = time.process_time() - before < _BUSY_SHARE * _PAUSE_S
        if idle and gc.get_count()[2] >= _WORTH_IT:
            gc.collect()


def give_memory_back_soon(loop: asyncio.AbstractEventLoop) -> None:
    """Give what a closed page has left back to the system, once it is collected.

    Parameters
    ----------
    loop
        Which runs the server.
    """
    loop.call_later(_COLLECTED_S, _give_memory_back)


def _give_memory_back() -> None:
    # the C library would keep it for the next pages
    with contextlib.suppress(OSError, AttributeError):  # others than glibc do it by themselves
        ctypes.CDLL(None).malloc_trim(0)
