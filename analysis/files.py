"""Files written whole or not at all, locks that several people share, and fingerprints."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import secrets
import socket
import stat
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from filelock import SoftFileLock, Timeout

_STRAY = ".graticule-tmp"
_STRAY_AGE_S = 24 * 3600
_NAMELESS_S, _LOOK_EVERY_S = 2.0, 0.5
_CURES = {
    errno.ENOSPC: "; make room there or choose another folder, and do it again: what is finished is kept",
    errno.EDQUOT: "; make room there or choose another folder, and do it again: what is finished is kept",
    errno.EROFS: "; choose a folder that can be written",
    errno.ESTALE: "; is its disk or share still there?",
    errno.EIO: "; is its disk or share still there?",
}
NAMELESS_TABLE_S = 30.0
"""Age from which the marker of a table, which other programs lock too, counts as left behind."""


@contextlib.contextmanager
def whole_file(
    path: str | os.PathLike[str], mode: str = "wb", *, durable: bool = True, **open_options: Any
) -> Iterator[IO[Any]]:
    """Open a file that appears under its name only when it was written to the end.

    The bytes go to a temporary file in the same folder, are forced to the disk, and the name is then
    moved over in one step. A reader sees the old file or the new one, never a part.

    Parameters
    ----------
    path
        The file's final name. Its folder is made when it is missing.
    mode
        ``"wb"`` or ``"w"``.
    durable
        Whether to wait until the bytes are on the disk. Without, a power failure may leave the file empty; for many
        small files that can be made again.
    **open_options
        Passed to `open`, for instance ``encoding`` and ``newline``.

    Yields
    ------
    file object
        Open for writing.

    Raises
    ------
    OSError
        With the final name in it, when the disk is full or the folder cannot be written. The temporary
        file is removed and an older file of that name is untouched.
    """
    final = Path(os.path.realpath(path))  # what a link leads to is what others read
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.with_name(f".{final.name}.{_own_ending()}")
    try:
        with open(temporary, mode, **open_options) as handle:
            yield handle
            handle.flush()
            if durable:
                os.fsync(handle.fileno())
        if final.exists():
            temporary.chmod(stat.S_IMODE(final.stat().st_mode))
        os.replace(temporary, final)
    except OSError as error:
        if error.errno is None or (error.filename and Path(error.filename) not in (temporary, final)):
            raise
        raise OSError(
            error.errno, f"{error.strerror} while writing{_CURES.get(error.errno, '')}", str(final)
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a path to be written by somebody else, and move what is there to its name when all went well.

    Parameters
    ----------
    path
        The file's final name. Its folder is made when it is missing.

    Yields
    ------
    Path
        A temporary file in the same folder; it need not be there yet.

    Raises
    ------
    OSError
        When it cannot be written or moved; the temporary file is removed.
    """
    final = Path(os.path.realpath(path))
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.with_name(f".{final.name}.{_own_ending()}")
    try:
        yield temporary
        with open(temporary, "rb+") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, final)
    finally:
        temporary.unlink(missing_ok=True)


def sweep(folder: str | os.PathLike[str], *, older_than_s: float = _STRAY_AGE_S, below: bool = False) -> list[Path]:
    """Remove temporary files that killed processes left in a folder.

    Those of processes that ran here and no longer do go at once. Whether those of other machines still run cannot be
    told, so theirs go when they are old.

    Parameters
    ----------
    folder
        Where to look; it need not exist.
    older_than_s
        Age in seconds from which a file of another machine counts as left behind.
    below
        Whether to look into folders in it too.

    Returns
    -------
    list of Path
        What was removed.
    """
    removed = []
    oldest = time.time() - older_than_s
    for place, folders, names in os.walk(folder):
        if not below:
            folders.clear()
        for stray in (Path(place, name) for name in names if name.startswith(".") and name.endswith(_STRAY)):
            with contextlib.suppress(OSError):
                if _is_orphan(stray.name) or stray.stat().st_mtime < oldest:
                    stray.unlink()
                    removed.append(stray)
    return removed


def _own_ending() -> str:
    """What the name of a temporary file ends with: who writes it, and where."""
    return f"{_here()}-{os.getpid()}-{secrets.token_hex(4)}{_STRAY}"


@functools.cache
def _here() -> str:
    """A word for all processes that can see whether each other runs: this machine since it started, or this container.

    The machine's name would not do: several may have one, and share a folder.
    """
    try:
        started = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        where = f"{started} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        where = socket.gethostname()
    return f"{zlib.crc32(where.encode()):08x}"


def _is_orphan(name: str) -> bool:
    """Whether a temporary file was written by a process that ran here and no longer does."""
    made = re.search(rf"\.({_here()})-(\d+)-[0-9a-f]+{re.escape(_STRAY)}$", name)
    if made is None or os.name != "posix":  # elsewhere a signal, even none, ends a process
        return False
    try:
        os.kill(int(made[2]), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        pass  # it runs as somebody else, or the name is not one of ours
    return False


@contextlib.contextmanager
def locked(path: str | os.PathLike[str], *, timeout_s: float = 60.0, nameless_s: float = _NAMELESS_S) -> Iterator[None]:
    """Hold ``<path>.lock`` for as long as the block runs.

    The lock is a marker file, which works on network shares and is what AstroPath's own tools look
    for. The marker of a process that died on this machine is taken over, also when it died before it had written
    who it is.

    Parameters
    ----------
    path
        The file to protect; it need not exist.
    timeout_s
        Seconds to wait for another holder; negative waits for ever.
    nameless_s
        Age in seconds from which a marker without a word in it counts as left behind. Ours get theirs at once; other
        programs may never write one into theirs, so tables that these lock too want longer than those hold them.

    Raises
    ------
    TimeoutError
        When somebody else keeps the lock; the message names the holder and what to do.
    """
    marker = Path(f"{os.path.realpath(path)}.lock")
    marker.parent.mkdir(parents=True, exist_ok=True)
    lock = SoftFileLock(str(marker), poll_interval=0.02)
    _acquire(lock, marker, timeout_s, nameless_s)
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: SoftFileLock, marker: Path, timeout_s: float, nameless_s: float) -> None:
    last = time.monotonic() + timeout_s if timeout_s >= 0 else float("inf")
    while True:
        drop_nameless(marker, nameless_s)
        left = last - time.monotonic()
        try:
            lock.acquire(timeout=max(min(left, _LOOK_EVERY_S), 0))
            return
        except Timeout as error:
            if left <= _LOOK_EVERY_S:
                raise TimeoutError(_who_holds(marker, timeout_s)) from error


def drop_nameless(marker: str | os.PathLike[str], older_than_s: float) -> bool:
    """Remove a lock's marker whose process died before it had written who it is; tell whether there was one.

    Parameters
    ----------
    marker
        The file.
    older_than_s
        Age in seconds from which it counts as left behind.
    """
    aside = f"{os.fspath(marker)}.{_own_ending()}"
    with contextlib.suppress(OSError):
        found = os.stat(marker)
        if found.st_size or time.time() - found.st_mtime <= older_than_s:
            return False
        # moved first: another process may have taken it over meanwhile, and then it is put back
        os.rename(marker, aside)
        if os.stat(aside).st_ino != found.st_ino or os.stat(aside).st_size:
            os.link(aside, marker)
            os.unlink(aside)
            return False
        os.unlink(aside)
        return True
    return False


def _who_holds(marker: Path, timeout_s: float) -> str:
    try:
        holder = " ".join(marker.read_text(encoding="utf-8", errors="replace").split()[:3])
        age_s = time.time() - marker.stat().st_mtime
        whose = f"held by {holder or 'an unknown process'} for {age_s:.0f} s"
    except OSError:
        whose = "held by another process"
    return (
        f"{marker} must be free to write beside it; it is {whose}, longer than the {timeout_s:.0f} s "
        "waited for. Try again; if that process (number and machine) no longer runs, delete the .lock file."
    )


def fingerprint(path: str | os.PathLike[str]) -> str:
    """Size and modification time of a file as one word, ``"<bytes>-<nanoseconds>"``.

    Raises
    ------
    OSError
        When the file is missing or cannot be looked at.
    """
    found = os.stat(path)
    return f"{found.st_size}-{found.st_mtime_ns}"
