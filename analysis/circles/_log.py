"""``circles.log``: one line for every image done, with the reason."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from analysis.circles._ledger import now

LOG = "circles.log"
_LARGEST_BYTES = 1_000_000
_KEPT = 3


class RunLog:
    """A log that starts anew at 1 MB and keeps three old ones.

    Parameters
    ----------
    path
        The file.
    """

    def __init__(self, path: Path):
        self._path = path

    def write(self, words: str, *, level: str = "INFO") -> None:
        """Add one line; what would break it is written as an escape."""
        line = words.encode("unicode_escape").decode() if not words.isprintable() else words
        with open(self._path, "a", encoding="utf-8") as handle:
            handle.write(f"{now()} {level} {line}\n")
            full = handle.tell() > _LARGEST_BYTES
        if full:
            self._start_anew()

    def _start_anew(self) -> None:
        # another run may do the same at this moment; the worst that happens is an old log less
        with contextlib.suppress(OSError):
            for number in range(_KEPT - 1, 0, -1):
                if os.path.exists(f"{self._path}.{number}"):
                    os.replace(f"{self._path}.{number}", f"{self._path}.{number + 1}")
            os.replace(self._path, f"{self._path}.1")


@contextlib.contextmanager
def open_log(output: Path) -> Iterator[RunLog]:
    """Open the log of an output folder, and write into it what ends the block.

    Raises
    ------
    OSError
        When it cannot be written.
    """
    output.mkdir(parents=True, exist_ok=True)
    log = RunLog(output / LOG)
    try:
        yield log
    except BaseException as error:
        with contextlib.suppress(OSError):
            log.write(" ".join(str(error).split()) or type(error).__name__, level="ERROR")
        raise
