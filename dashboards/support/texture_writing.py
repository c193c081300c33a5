"""What leaves the texture page: outputs for other programs, the report, and files of labels, one after the other."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import param

from analysis.texture import read_labels, save_labels, write_outputs
from dashboards.support.dashboard import writes
from dashboards.support.jobs import quiet
from dashboards.support.loading import in_thread
from dashboards.support.places import Refused, places
from dashboards.support.texture_labelling import TextureLabels
from dashboards.support.texture_report import write_texture_report
from dashboards.support.texture_work import key_of_patch, rows_of_labels

_ENDINGS = (".csv", ".json")
_MOST_LABEL_BYTES = 8 * 1024**2
_NOTHING = "There is nothing to {} yet: open a folder of tiles first."


class TextureOutputs(TextureLabels):
    """Files that are written and read while patches may be measured; none of them stops another."""

    exported = param.Parameter(default=None, doc="What was written last.")

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.write_job = self.new_job()
        self.write_job.param.watch(lambda event: self.note(event.new), "error")
        self._writing = asyncio.Lock()

    async def _in_turn(self, words: str, function: Any, *args: Any, **keywords: Any) -> Any:
        """Run a function in a thread, when what was asked for before has been written."""
        async with self._writing:
            return await self.write_job.run(words, function, *args, **keywords)

    def _wrote(self, words: str) -> None:
        self.write_job.words = words
        self.note(words)

    @writes
    async def export(self, formats: Sequence[str], *, classes: bool = False) -> Any:
        """Write the patches into the output folder.

        Parameters
        ----------
        formats
            Of `OUTPUT_FORMATS`.
        classes
            Of the forest, in place of the clusters.
        """
        result = self.correction if classes else self.found
        if result is None:
            self.write_job.error = (
                "There are no classes yet: label patches and press Relabel the rest."
                if classes and self.found is not None
                else _NOTHING.format("export")
            )
            return None
        folder = self.output or "texture"
        work = functools.partial(write_outputs, result, folder, formats=list(formats), opacity=self.opacity)
        written = await self._in_turn("Writing", work)
        if written is not None:
            self.exported = written
            self._wrote(f"{len(written.table):,} files written to {folder}.")
        return written

    @writes
    async def write_report(self) -> Path | None:
        """Write what is shown as one HTML file in the output folder."""
        if self.found is None:
            self.write_job.error = _NOTHING.format("report on")
            return None
        work = functools.partial(
            quiet(write_texture_report),
            Path(self.output or "texture") / "texture_report.html",
            self.found,
            correction=self.correction,
            search=self.searched,
            mosaic=self.mosaic,
            embedding=self.embedding,
            opacity=self.opacity,
        )
        written = await self._in_turn("Writing the report", work)
        if written is not None:
            self.report = written
            self._wrote(f"{written} written.")
        return written

    @writes
    async def save_labels(self, path: str | os.PathLike[str]) -> Path | None:
        """Save the labels as CSV or JSON.

        Parameters
        ----------
        path
            Ends with ``.csv`` or ``.json``.
        """
        if self.patches is None or not self.labels:
            self.write_job.error = "There are no labels to save yet. Give some patches a class first."
            return None
        try:
            path = places().to_write(path)
        except Refused as refused:
            self.write_job.error = str(refused)
            return None
        work = functools.partial(quiet(save_labels), dict(self.labels), path, patches=self.patches)
        written = await self._in_turn("Saving labels", work)
        if written is not None:
            self._wrote(f"{written} written.")
        return written

    async def load_labels(self, path: str | os.PathLike[str]) -> None:
        """Take labels from a file in place of those that are there.

        Parameters
        ----------
        path
            As `save_labels` wrote it.
        """
        try:
            path = places().to_work_in(path)
        except Refused as refused:
            self.write_job.error = str(refused)
            return
        if not self._refused_labels(Path(path).name, await in_thread(_begin, path)):
            await self._take_labels(path)

    def _refused_labels(self, name: str, content: bytes) -> bool:
        """Say so when a file of labels is larger than one of these patches can be."""
        most = 2 * len(self.patches.table) + 1000 if self.patches is not None else 0
        # JSON may have every value on a line of its own
        signs = (b"{",) if name.lower().endswith(".json") else (b"\n", b"\r")
        rows = max(map(content.count, signs))
        if len(content) > _MOST_LABEL_BYTES:
            found = f"{_MOST_LABEL_BYTES // 1024**2} MB at most; it has more"
        elif self.patches is not None and rows > most:
            found = f"one row for each of the {len(self.patches.table):,} patches at most; it has {rows:,}"
        else:
            return False
        self.write_job.error = f"{name} must be a file of labels of these patches, with {found}."
        return True

    async def upload_labels(self, content: bytes, called: str) -> None:
        """Take labels from a file that a browser sent.

        Parameters
        ----------
        content
            Of the file.
        called
            Its name.
        """
        if self._refused_labels(Path(called).name[:80], content):
            return
        with tempfile.TemporaryDirectory() as folder:
            # a browser may make the name up; what is said of the file should still name it
            stem, ending = re.sub(r"[^\w .-]", "_", Path(called).stem)[:80], Path(called).suffix.lower()
            file = Path(folder) / f"{stem or 'labels'}{ending if ending in _ENDINGS else '.csv'}"
            file.write_bytes(content)
            await self._take_labels(file)

    async def _take_labels(self, path: str | os.PathLike[str]) -> None:
        patches = self.patches
        if patches is None:
            self.write_job.error = "Labels belong to patches; open a folder of tiles first."
            return
        found = await self._in_turn("Reading labels", quiet(read_labels), path, patches=patches)
        if found is None or patches is not self.patches:
            return
        rows = rows_of_labels(patches, found)
        self._change({key_of_patch(patches, row): name for row, name in rows.items()})
        self.classes = list(dict.fromkeys([*self.classes, *sorted(set(rows.values()))]))
        self._wrote(f"{len(rows):,} labels read from {Path(path).name}.")


def _begin(path: str | os.PathLike[str]) -> bytes:
    """Return what a file holds, or enough of it to see that it is too large; nothing where it cannot be read."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return file.read(_MOST_LABEL_BYTES + 1)
    return b""
