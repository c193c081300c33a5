"""Tiles, or predictions for them, put together to images again."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tifffile

from analysis.files import whole_path
from analysis.planes import open_plane
from analysis.tasks import Cancelled, Progress
from analysis.tiles._blending import merge_bands
from analysis.tiles._manifest import Cut, read_manifest
from analysis.tiles._weights import Blending

_ENDINGS = (".tif", ".tiff", ".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Merge:
    """Images that were put together.

    Attributes
    ----------
    table
        One row an image: ``name, file`` (written), ``rows_px, columns_px, dtype, tiles, missing``.
    problems
        One row an image that could not be: ``file, error``.
    settings
        The keyword arguments used.
    """

    table: pd.DataFrame
    problems: pd.DataFrame
    settings: dict[str, Any] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """Return the numbers of images, tiles, tiles that are missing, and problems."""
        return {
            "images": len(self.table),
            "tiles": int(self.table["tiles"].sum()),
            "missing": int(self.table["missing"].sum()),
            "problems": len(self.problems),
        }


def merge_images(
    tiles: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    *,
    predictions: str | os.PathLike[str] | None = None,
    names: tuple[str, ...] = (),
    blending: Blending = "gradient",
    fill: float = 0,
    replace: bool = False,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> Merge:
    """Put tiles together to images, one row of tiles at a time.

    Parameters
    ----------
    tiles
        Folder that `export_tiles` wrote, with its manifest.
    out_dir
        Where ``<name>.tif`` goes for every image; not the folder of the tiles.
    predictions
        Folder of other tiles with the same names, such as what a network made of them; of any ending that is read,
        any number type, and colours or not.
    names
        Of the images to put together; all when empty.
    blending
        How tiles that overlap are mixed: ``"flat"``, ``"gradient"`` or ``"gaussian"``; ``"nearest"`` takes each pixel
        from one tile, for masks and labels.
    fill
        Value where tiles were left out.
    replace
        Whether an image that is there already may be replaced.
    progress
        Called with images done, images, and words.
    cancel
        Stops when set; finished images are kept.

    Returns
    -------
    Merge
        An image of which tiles cannot be read is a row of its problems.

    Raises
    ------
    ValueError
        When there is no manifest, a name is not in it, or ``out_dir`` is where tiles are read.
    OSError
        When nothing can be written.
    analysis.tasks.Cancelled
        When it was stopped.
    """
    folder = Path(tiles) if os.path.isdir(tiles) else Path(tiles).parent
    cuts = read_manifest(tiles)
    unknown = sorted(set(names) - {cut.name for cut in cuts})
    if unknown:
        raise ValueError(f"names must be of images in the manifest; {', '.join(unknown)} not among them.")
    source = Path(predictions) if predictions is not None else folder
    for read in (folder, source):
        if os.path.realpath(out_dir) == os.path.realpath(read):
            raise ValueError(f"out_dir must not be a folder that tiles are read from; got {out_dir}.")
    chosen = [cut for cut in cuts if not names or cut.name in names]
    rows, problems = [], []
    for number, cut in enumerate(chosen, start=1):
        if cancel is not None and cancel.is_set():
            raise Cancelled("Stopped; finished images are kept.")
        path = Path(out_dir) / f"{cut.name}.tif"
        try:
            if os.path.exists(path) and not replace:
                raise ValueError(f"{path} must not exist yet; it does. Choose another folder, or set replace=True.")
            rows.append(_merge_one(cut, source, path, predictions is not None, blending, fill, cancel))
        except (ValueError, OSError) as error:
            problems.append((str(path), " ".join(str(error).split())))
        if progress is not None:
            progress(number, len(chosen), "merging")
    columns = ["name", "file", "rows_px", "columns_px", "dtype", "tiles", "missing"]
    settings = {"predictions": predictions, "names": list(names), "blending": blending, "fill": fill}
    return Merge(
        pd.DataFrame(rows, columns=columns), pd.DataFrame(problems, columns=["file", "error"], dtype=object), settings
    )


def _merge_one(
    cut: Cut,
    folder: Path,
    path: Path,
    other: bool,
    blending: Blending,
    fill: float,
    cancel: threading.Event | None,
) -> tuple[Any, ...]:
    layout = cut.layout
    written = [number for number in range(len(layout)) if number not in set(cut.left_out)]
    if not written:
        raise ValueError(f"{cut.name} must have a tile; all were left out as empty.")
    files = {number: _find(folder, cut, number, other) for number in written}
    with open_plane(files[written[0]]) as first:
        dtype, colours = first.dtype, first.shape[2:]

    def read() -> Iterator[np.ndarray]:
        for number in written:
            if cancel is not None and cancel.is_set():
                raise Cancelled("Stopped; finished images are kept.")
            with open_plane(files[number]) as tile:
                if tile.shape != (*layout.tile_size, *colours):
                    raise ValueError(
                        f"{files[number]} must have the shape {(*layout.tile_size, *colours)}; it has {tile.shape}."
                    )
                yield tile.all()

    shape = (*layout.shape, *colours)
    bands = merge_bands(read(), layout, blending=blending, missing=cut.left_out, fill=fill)
    with whole_path(path) as temporary:
        _write_bands(temporary, bands, shape, dtype, cut.pixel_size_um)
    return cut.name, str(path), *layout.shape, dtype.name, len(written), len(cut.left_out)


def _find(folder: Path, cut: Cut, number: int, other: bool) -> Path:
    """The file of a tile; of predictions any ending will do, with or without the sub-folders."""
    if not other:
        return folder / cut.file(number)
    inner = Path(cut.file(number))
    for parent in (folder / inner.parent, folder):
        for ending in dict.fromkeys([inner.suffix, *_ENDINGS]):
            path = parent / f"{inner.stem}{ending}"
            if os.path.exists(path):
                return path
    raise ValueError(f"{folder} must hold a tile {inner.stem} ({', '.join(_ENDINGS)}); there is none.")


def _write_bands(
    path: Path, bands: Iterator[np.ndarray], shape: tuple[int, ...], dtype: np.dtype, pixel_size_um: Any
) -> None:
    """Write bands into an uncompressed TIFF, which needs no more memory than a band."""
    options: dict[str, Any] = {"photometric": "rgb" if len(shape) == 3 else "minisblack", "metadata": None}
    if pixel_size_um is not None:
        options |= {"resolution": (1e4 / pixel_size_um[1], 1e4 / pixel_size_um[0]), "resolutionunit": 3}
    large = math.prod(shape) * dtype.itemsize > 3_900_000_000
    image = tifffile.memmap(path, shape=shape, dtype=dtype, bigtiff=large, **options)
    row = 0
    for band in bands:
        image[row : row + len(band)] = band
        row += len(band)
    image.flush()
