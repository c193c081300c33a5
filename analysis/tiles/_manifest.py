"""What was cut out of which image: enough to put it together again, and to go on after a stop."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.files import whole_file
from analysis.tables import write_table
from analysis.tiles._layout import Layout, make_layout

MANIFEST = "tiles.json"
TABLE = "tiles.csv"
_FORM = 1
COLUMNS = [
    "tile", "source", "name", "number", "row", "column", "row_px", "column_px", "row_end_px", "column_end_px",
    "row_um", "column_um", "pixel_size_y_um", "pixel_size_x_um", "scale_y", "scale_x", "low", "high", "dtype",
    "split", "left_out", "fingerprint",
]  # fmt: skip


@dataclass(frozen=True)
class Cut:
    """How one image was cut.

    Attributes
    ----------
    name
        What the names of its tiles start with.
    source
        Path of the image.
    fingerprint
        Size and time of the image's file.
    channel, plane
        From 1.
    source_shape, shape
        (rows, columns) of the image, and of the calibrated image that tiles are numbered in.
    factor
        Down and across, from the one to the other.
    pixel_size_um
        Height and width of the tiles' pixels; None when unknown.
    tile_size, overlap, edges, padding
        Of the layout.
    low, high
        Values that became the bounds; None where values stayed as they were, or each tile has its own.
    ranges
        Low and high of each tile, where each has its own.
    bounds
        Values that low and high became; None where values stayed as they were.
    dtype
        Of the tiles.
    format
        Ending of the tiles' files.
    folder
        Where the tiles are, below the output folder; ``""`` for the folder itself.
    split
        ``"train"``, ``"validation"``, ``"test"`` or ``""``.
    left_out
        Numbers of tiles that were not written because they are empty.
    companions
        Further files written, masks and labels, below the output folder.
    """

    name: str
    source: str
    fingerprint: str
    channel: int
    plane: int
    source_shape: tuple[int, int]
    shape: tuple[int, int]
    factor: tuple[float, float]
    pixel_size_um: tuple[float, float] | None
    tile_size: tuple[int, int]
    overlap: tuple[int, int]
    edges: str
    padding: str
    low: float | tuple[float, ...] | None
    high: float | tuple[float, ...] | None
    bounds: tuple[float, float] | None
    dtype: str
    format: str
    folder: str = ""
    split: str = ""
    ranges: tuple[tuple[float | None, float | None], ...] = ()
    left_out: tuple[int, ...] = ()
    companions: tuple[str, ...] = ()
    how: dict[str, Any] = field(default_factory=dict)

    @property
    def layout(self) -> Layout:
        """Where the tiles lie in the calibrated image."""
        return make_layout(self.shape, tile_size=self.tile_size, overlap=self.overlap, edges=self.edges)

    def file(self, number: int) -> str:
        """Return the file of a tile, below the output folder."""
        name = f"{self.name}_{number:03d}{self.format}"
        return f"{self.folder}/{name}" if self.folder else name

    def files(self) -> list[str]:
        """Return all files written for the image, below the output folder."""
        out = set(self.left_out)
        return [self.file(number) for number in range(len(self.layout)) if number not in out] + list(self.companions)

    def table(self) -> pd.DataFrame:
        """Return one row a tile, with the columns of the manifest."""
        layout = self.layout.table
        count = len(layout)
        out = set(self.left_out)
        y_um, x_um = self.pixel_size_um or (np.nan, np.nan)
        between = self.ranges or ((self.low, self.high),) * count
        return pd.DataFrame(
            {
                "tile": ["" if number in out else self.file(number) for number in range(count)],
                "source": self.source,
                "name": self.name,
                "number": np.arange(count),
                "row": layout["row"],
                "column": layout["column"],
                "row_px": layout["row_px"],
                "column_px": layout["column_px"],
                "row_end_px": layout["row_end_px"],
                "column_end_px": layout["column_end_px"],
                "row_um": layout["row_px"] * y_um,
                "column_um": layout["column_px"] * x_um,
                "pixel_size_y_um": y_um,
                "pixel_size_x_um": x_um,
                "scale_y": self.factor[0],
                "scale_x": self.factor[1],
                "low": [_one(low) for low, _ in between],
                "high": [_one(high) for _, high in between],
                "dtype": self.dtype,
                "split": self.split,
                "left_out": [number in out for number in range(count)],
                "fingerprint": self.fingerprint,
            },
            columns=COLUMNS,
        )


def _one(value: float | tuple[float, ...] | None) -> Any:
    if value is None:
        return np.nan
    return value if isinstance(value, (int, float)) else " ".join(f"{part:g}" for part in value)


def write_manifest(out_dir: Path, cuts: Iterable[Cut], settings: dict[str, Any], made_with: dict[str, str]) -> Path:
    """Write what was cut as JSON, which is read back."""
    content = {"form": _FORM, "made_with": made_with, "settings": settings, "images": [asdict(cut) for cut in cuts]}
    with whole_file(out_dir / MANIFEST, "w", encoding="utf-8") as handle:
        json.dump(content, handle, ensure_ascii=False, default=str)
    return out_dir / MANIFEST


def write_manifest_table(out_dir: Path, cuts: Iterable[Cut]) -> Path:
    """Write what was cut as CSV, for people and other programs."""
    tables = [cut.table() for cut in cuts]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS)
    return write_table(table, out_dir / TABLE)


def read_manifest(out_dir: str | os.PathLike[str]) -> tuple[Cut, ...]:
    """Read what was cut into a folder.

    Parameters
    ----------
    out_dir
        Folder of tiles, or its manifest.

    Returns
    -------
    tuple of Cut
        One an image.

    Raises
    ------
    ValueError
        When the folder has no manifest, or it is none of ours.
    OSError
        When it cannot be read.
    """
    path = Path(out_dir)
    path = path / MANIFEST if os.path.isdir(path) else path
    if not os.path.exists(path):
        raise ValueError(f"{out_dir} must be a folder of tiles with {MANIFEST} in it; there is none.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["form"] != _FORM:
            raise ValueError
        return tuple(Cut(**{name: _tuples(value) for name, value in image.items()}) for image in content["images"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} must be a manifest that export wrote; it is none ({type(error).__name__}).") from None


def _tuples(value: Any) -> Any:
    """JSON has lists where there were tuples."""
    if isinstance(value, dict):
        return {name: _tuples(item) for name, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def remove_tiles(out_dir: str | os.PathLike[str]) -> list[Path]:
    """Remove the files that a manifest says were written, and the manifest; nothing else.

    Parameters
    ----------
    out_dir
        Folder of tiles.

    Returns
    -------
    list of Path
        What was removed.

    Raises
    ------
    ValueError
        When the folder has no manifest of ours.
    """
    folder = Path(out_dir)
    cuts = read_manifest(folder)
    removed = remove_files(folder, [file for cut in cuts for file in cut.files()])
    for name in (TABLE, MANIFEST):
        path = folder / name
        if os.path.exists(path):
            path.unlink()
            removed.append(path)
    return removed


def remove_files(folder: Path, files: Iterable[str]) -> list[Path]:
    """Remove files below a folder, and folders that become empty by it; names that lead out of it are left alone."""
    root = folder.resolve()
    removed, parents = [], set()
    for file in files:
        path = folder / file
        if not path.resolve().is_relative_to(root) or not os.path.isfile(path):
            continue
        path.unlink()
        removed.append(path)
        parents.add(path.parent)
    for parent in sorted(parents, key=lambda path: -len(path.parts)):
        while parent != folder and os.path.isdir(parent) and not os.listdir(parent):
            parent.rmdir()
            parent = parent.parent
    return removed
