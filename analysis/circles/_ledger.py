"""What is done: one small record an image, written when everything else of the image is on the disk."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from analysis.files import drop_nameless, locked, sweep, whole_file

FOLDER = ".graticule"
CIRCLES, QC = "circles", "qc"
EXPERIMENTS, FAILURES = "experiments.csv", "failures.csv"
_FORM = 1
CLAIM_S, _FRESH_S = 120, 20
"""A claim is made fresh every so often; one that has been left alone for longer is of a process that died elsewhere."""
_NAMELESS_S = 2.0
_STRAY_S = 3600


@dataclass(frozen=True)
class Record:
    """What is known of one image.

    Attributes
    ----------
    file
        Name of the file.
    fingerprint
        Its size and time when it was read.
    state
        ``"done"`` or ``"failed"``.
    pixels
        Hash of the decoded pixels and their size in micrometres; empty when they could not be read.
    recipe
        Settings of the detection that matter.
    method
        Version of the method.
    qc
        Kind of picture.
    circles
        How many there are.
    calibrated
        Whether the size of a pixel is known.
    outputs
        Path from the output folder, and size, of every file written.
    stage, error
        Where and why it failed.
    passing
        Whether it failed for a reason that may pass by itself: something the system said, not the file.
    when
        When it was done or failed; UTC.
    warnings
        Sentences of the detection.
    """

    file: str
    fingerprint: str
    state: str
    pixels: str = ""
    recipe: dict[str, Any] = field(default_factory=dict)
    method: str = ""
    qc: str = ""
    circles: int = 0
    calibrated: bool = False
    outputs: dict[str, int] = field(default_factory=dict)
    stage: str = ""
    error: str = ""
    passing: bool = False
    when: str = ""
    warnings: tuple[str, ...] = ()


_FIELDS = {each.name for each in dataclasses.fields(Record)}


def now() -> str:
    """Return the time as it is written in records and tables."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_records(output: str | os.PathLike[str]) -> dict[str, Record]:
    """Read what is known of every image that was ever done in an output folder.

    Parameters
    ----------
    output
        The output folder.

    Returns
    -------
    dict of Record
        By the image's folders and field of view, joined by slashes; empty when nothing was done there.
    """
    return Ledger(output).read_all()


class Ledger:
    """The records in an output folder.

    Parameters
    ----------
    output
        The output folder; it need not exist.
    """

    def __init__(self, output: str | os.PathLike[str]):
        self.output = Path(output)
        self.folder = self.output / FOLDER

    def path(self, key: str) -> Path:
        """Where the record of an image is."""
        return self.folder / f"{key}.json"

    def read(self, key: str) -> Record | None:
        """Return the record of an image; None when there is none that can be read."""
        with contextlib.suppress(OSError):
            return _parse(self.path(key).read_bytes())
        return None

    def read_all(self) -> dict[str, Record]:
        """Return all records by their images."""
        found: dict[str, Record] = {}
        self._gather(str(self.folder), "", found)
        return found

    def _gather(self, folder: str, before: str, found: dict[str, Record]) -> None:
        try:
            with os.scandir(folder) as listed:
                entries = list(listed)
        except FileNotFoundError:
            return
        for entry in entries:
            if entry.is_dir():
                self._gather(entry.path, f"{before}{entry.name}/", found)
            elif before and entry.name.endswith(".json") and not entry.name.endswith(".lock"):
                # another run, which does the image again, may have removed it since
                with contextlib.suppress(FileNotFoundError), open(entry.path, "rb") as handle:
                    record = _parse(handle.read())
                    if record is not None:
                        found[before + entry.name[:-5]] = record

    def write(self, key: str, record: Record) -> None:
        """Write the record of an image."""
        data = {"form": _FORM, **{name: getattr(record, name) for name in _FIELDS}}
        with whole_file(self.path(key), durable=False) as handle:
            handle.write(json.dumps(data, ensure_ascii=False, sort_keys=True).encode())

    def forget(self, key: str) -> None:
        """Remove the record of an image, which is done again."""
        self.path(key).unlink(missing_ok=True)

    def intact(self, record: Record) -> str:
        """Return what is wrong with the outputs of a record; nothing when all are as they were written."""
        for name, size in record.outputs.items():
            try:
                found = os.stat(f"{self.output}/{name}").st_size
            except OSError:
                return f"{name} is gone"
            if found != size:
                return f"{name} is not as it was written"
        return ""

    @contextlib.contextmanager
    def claim(self, key: str) -> Iterator[None]:
        """Hold an image for as long as the block runs.

        Raises
        ------
        TimeoutError
            When another run holds it.
        """
        path = self.path(key)
        _drop_old_claim(f"{path}.lock")
        # long enough to take over from a process that died
        with locked(path, timeout_s=0.1), _kept_fresh(f"{path}.lock"):
            yield

    @contextlib.contextmanager
    def alone(self, timeout_s: float = 600.0) -> Iterator[None]:
        """Hold the tables and pictures that belong to all images together."""
        with locked(self.folder / "aggregate", timeout_s=timeout_s):
            yield

    def remember(self, name: str, content: dict[str, Any]) -> None:
        """Keep something about all images, when it is not known yet."""
        content = json.loads(json.dumps(content))
        if self.recall(name) != content:
            with whole_file(self.folder / f"{name}.json", durable=False) as handle:
                handle.write(json.dumps(content, ensure_ascii=False).encode())

    def recall(self, name: str) -> dict[str, Any]:
        """Return what was kept; empty when nothing was."""
        try:
            content = json.loads((self.folder / f"{name}.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def sweep(self) -> int:
        """Remove temporary files and claims that killed runs left; return how many there were."""
        removed = 0
        for top in (FOLDER, CIRCLES, QC):
            removed += len(sweep(self.output / top, older_than_s=_STRAY_S, below=True))
            for folder, _, files in os.walk(self.output / top):
                removed += sum(_drop_old_claim(f"{folder}/{name}") for name in files if name.endswith(".json.lock"))
        return removed

    def remove_outputs(self, names: list[str]) -> list[Path]:
        """Remove files that a record names, and folders that become empty; nothing outside of the output folder."""
        removed = []
        base = os.path.realpath(self.output)
        for name in names:
            path = self.output / name
            if not os.path.realpath(path.parent).startswith(base + os.sep):
                continue
            with contextlib.suppress(OSError):
                path.unlink()
                removed.append(path)
        return removed


@contextlib.contextmanager
def _kept_fresh(marker: str) -> Iterator[None]:
    """Touch a claim now and then, so that others see that somebody still works on it."""
    ended = threading.Event()

    def touch() -> None:
        while not ended.wait(_FRESH_S):
            with contextlib.suppress(OSError):
                os.utime(marker)

    toucher = threading.Thread(target=touch, daemon=True)
    toucher.start()
    try:
        yield
    finally:
        ended.set()
        toucher.join()


def _drop_old_claim(marker: str) -> bool:
    with contextlib.suppress(OSError):
        if time.time() - os.stat(marker).st_mtime > CLAIM_S:
            os.unlink(marker)
            return True
    return drop_nameless(marker, _NAMELESS_S)


def _parse(data: bytes) -> Record | None:
    try:
        content = json.loads(data)
        if content.pop("form") != _FORM or not content.keys() <= _FIELDS:
            return None
        content["warnings"] = tuple(content.get("warnings", ()))
        return Record(**content)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
