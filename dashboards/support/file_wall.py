"""The last wall before files: whatever leads a page's work out of the folders that were named is refused when opened.

What visitors type is checked by `dashboards.support.path_settings`. This catches the rest, in one place: links inside a
folder, links made after a path was checked, and names found in tables, manifests and pages' messages. Python tells of
every file before it is opened, listed, made, moved or removed; work runs in threads, while the main thread serves.
"""

from __future__ import annotations

import atexit
import os
import shutil
import site
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import analysis
import dashboards
from dashboards.support.places import Places, Refused, places

_READS = {"os.listdir", "os.scandir"}
_CHANGES = {
    # which arguments are paths, and which an open folder that they are below of
    "os.mkdir": ((0,), (2,)),
    "os.remove": ((0,), (1,)),
    "os.rmdir": ((0,), (1,)),
    "os.rename": ((0, 1), (2, 3)),
    "os.link": ((0, 1), (2, 3)),
    "os.symlink": ((1,), (2,)),
    "os.chmod": ((0,), (2,)),
    "os.chown": ((0,), (3,)),
    "os.utime": ((0,), (3,)),
    "os.truncate": ((0,), ()),
}
_OF_ITSELF = ("os.mkdir", "os.remove", "os.rmdir", "os.rename", "os.link", "os.symlink")
"""What changes a link, where the path is one, and not what it leads to."""
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_KERNEL = ("/proc", "/sys", "/dev")
"""What libraries ask how many cores there are, and the like; they name it themselves, no link leads there."""
_SYSTEM = ("/usr/share", "/usr/lib", "/etc/mime.types", "~/.cache/matplotlib", "~/.config/matplotlib")
_LED_OUT = "leads out of the folders that this server reads."
_LED_OUT_TO_WRITE = "leads out of the folder that this server writes into."


class _Guard:
    """Where the work of all pages of this process may reach."""

    def __init__(self, allowed: Places, scratch: Path):
        self.allowed, self.scratch = allowed, scratch
        program = {sys.prefix, sys.base_prefix, *site.getsitepackages(), *analysis.__path__, *dashboards.__path__}
        program |= {os.path.expanduser(folder) for folder in _SYSTEM}
        self._program = tuple({os.path.realpath(folder) for folder in program})
        self._readable = tuple(map(str, (*allowed.readable, scratch)))
        self._writable = tuple(map(str, (*([allowed.output] if allowed.may_write else []), scratch)))
        self._main = threading.main_thread().ident

    def look(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Refuse what leads out, when it is a page's work that wants it."""
        if (event != "open" and event not in _READS and event not in _CHANGES) or threading.get_ident() == self._main:
            return
        if event in _CHANGES:
            self._changed(event, arguments)
            return
        path = "." if arguments[0] is None else arguments[0]
        if isinstance(path, int):
            return
        if event == "open":
            _, mode, flags = arguments
            # `os.open` of a name alone is in a folder opened before, as `shutil.rmtree` has it
            if mode is not None or os.path.dirname(path):
                self._hold(path, os.path.realpath(path), writing=bool((flags or 0) & _WRITING))
        else:
            self._hold(path, os.path.realpath(path), writing=False)

    def _changed(self, event: str, arguments: tuple[Any, ...]) -> None:
        paths, folders = _CHANGES[event]
        if any(place < len(arguments) and arguments[place] not in (-1, None) for place in folders):
            return
        for path in (arguments[place] for place in paths):
            if not isinstance(path, int):
                folder, name = os.path.split(os.path.abspath(os.fsdecode(path)))
                real = os.path.join(os.path.realpath(folder), name)
                self._hold(path, real if event in _OF_ITSELF else os.path.realpath(real), writing=True)

    def _hold(self, path: Any, real: str | bytes, *, writing: bool) -> None:
        real = os.fsdecode(real)
        if _inside(real, self._writable if writing else self._readable):
            return
        if not writing and (not self.allowed.restricted or _inside(real, self._program)):
            return
        if not writing and _inside(os.fsdecode(path), _KERNEL) and _inside(real, _KERNEL):
            return
        if writing and (real == os.devnull or _is_kept_code(real)):
            return
        if writing and self.allowed.why_not_write:
            raise Refused(os.fsdecode(path), f"cannot be written. {self.allowed.why_not_write}")
        raise Refused(os.fsdecode(path), _LED_OUT_TO_WRITE if writing else _LED_OUT)


def _inside(real: str, folders: tuple[str, ...]) -> bool:
    return any(real == folder or real.startswith(folder + os.sep) for folder in folders)


def _is_kept_code(real: str) -> bool:
    """Whether a file is code that Python or numba keeps for the next start."""
    folder, name = os.path.split(real)
    return ".nbi" in name or ".nbc" in name or os.path.basename(folder) == "__pycache__"


_now: _Guard | None = None
_hooked = False


def guard() -> None:
    """Hold the work of this process's pages to the folders that the environment names, if it names any."""
    global _now
    allowed = places()
    if not (allowed.restricted or allowed.read_only):
        _now = None
    elif _now is None or _now.allowed != allowed:
        _hook()
        _now = _Guard(allowed, Path(_own_scratch()).resolve())


def _hook() -> None:
    """Ask to be told of every file; this can be done once and never taken back."""
    global _hooked
    if not _hooked:
        _hooked = True
        sys.addaudithook(lambda event, arguments: None if _now is None else _now.look(event, arguments))


_scratch: str | None = None


def _own_scratch() -> str:
    """Have temporary files made in a folder of this process alone, and return it."""
    global _scratch
    if _scratch is None or not os.path.isdir(_scratch):
        tempfile.tempdir = _scratch = tempfile.mkdtemp(prefix="graticule-")
        atexit.register(shutil.rmtree, _scratch, ignore_errors=True)
    return _scratch
