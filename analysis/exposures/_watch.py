"""Follows a session while the microscope is writing it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from analysis.exposures._reading import read_epu_session
from analysis.exposures._session import Session, make_table
from analysis.tasks import Cancelled

_TRY_AGAIN_S = 120.0


def watch_session(
    folder: str | os.PathLike[str],
    *,
    interval_s: float = 5.0,
    known: Session | None = None,
    cancel: threading.Event | None = None,
) -> Iterator[Session]:
    """Yield a session at once, and again whenever its files have changed.

    Unchanged files are only looked at. A file that cannot be read, because EPU is still writing it, is tried again
    for two minutes and whenever it changes. When the folder vanishes or is empty, the last session comes with a
    warning, and the watch goes on.

    Parameters
    ----------
    folder
        As for `read_epu_session`.
    interval_s
        Seconds between looks.
    known
        The folder as it was read before.
    cancel
        When set, the watch ends, also in the middle of a wait.

    Yields
    ------
    Session
        The whole session each time.

    Raises
    ------
    ValueError
        When the folder does not exist at the start, or the interval is not above 0.
    """
    if not 0 < interval_s < float("inf"):
        raise ValueError(f"interval_s must be a number of seconds above 0; got {interval_s}.")
    if not os.path.isdir(Path(folder).expanduser()):
        raise ValueError(f"folder must be the folder of an EPU session; got {folder}, which is not there.")
    return _watch(Path(folder).expanduser().resolve(), interval_s, known, cancel or threading.Event())


def _watch(folder: Path, interval_s: float, known: Session | None, cancel: threading.Event) -> Iterator[Session]:
    last = known if known is not None and known.folder == folder else Session(folder, make_table({}))
    shown: Session | None = None
    first_seen: dict[tuple[str, str], float] = {}
    while not cancel.is_set():
        try:
            now = last = read_epu_session(folder, known=_to_keep(last, first_seen), cancel=cancel)
        except Cancelled:
            return
        except ValueError as error:
            # the share may be away for a moment, or nothing was exposed yet: what was read stays
            now = replace(last, warnings=(f"Waiting: {error}",))
        if shown is None or _differs(now, shown):
            yield now
            shown = now
        cancel.wait(interval_s)


def _to_keep(session: Session, first_seen: dict[tuple[str, str], float]) -> Session:
    """Leave out what could not be read a moment ago: it may be whole now without a new size or time."""
    now = time.monotonic()
    wrong = session.table["error"] != ""
    states = list(zip(session.table["file"][wrong], session.table["fingerprint"][wrong], strict=True))
    again = {file for file, state in states if now - first_seen.setdefault((file, state), now) < _TRY_AGAIN_S}
    return replace(session, table=session.table[~session.table["file"].isin(again)]) if again else session


def _differs(now: Session, before: Session) -> bool:
    if (now.warnings, now.unread, now.left_out) != (before.warnings, before.unread, before.left_out):
        return True
    columns = ["file", "fingerprint", "error"]
    return not (now.table[columns].equals(before.table[columns]) and now.sessions.equals(before.sessions))
