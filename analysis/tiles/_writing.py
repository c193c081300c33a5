"""Tiles as files: TIFF with the size of a pixel, PNG and JPEG."""

from __future__ import annotations

import io
import os

import numpy as np
import tifffile
from PIL import Image as PillowImage

from analysis.files import whole_file

_IMAGEJ = ("uint8", "uint16", "float32")


def write_tile(
    path: str | os.PathLike[str], tile: np.ndarray, *, pixel_size_um: tuple[float, float] | None = None, info: str = ""
) -> None:
    """Write a tile, whole or not at all.

    Parameters
    ----------
    path
        Ends with ``.tif``, ``.png`` or ``.jpg``.
    tile
        (rows, columns[, 3]).
    pixel_size_um
        Height and width of a pixel; only TIFF holds it.
    info
        A line about the tile, for ImageJ's Info window; only TIFF holds it.
    """
    ending = os.path.splitext(path)[1].lower()
    # encoded first, so that a full disk is told by the system and not by the encoder
    buffer = io.BytesIO()
    if ending == ".tif":
        _write_tiff(buffer, tile, pixel_size_um, info)
    else:
        how = {"compress_level": 1} if ending == ".png" else {"quality": 95}
        PillowImage.fromarray(tile).save(buffer, format="PNG" if ending == ".png" else "JPEG", **how)
    with whole_file(path, durable=False) as handle:
        handle.write(buffer.getbuffer())


def _write_tiff(handle: io.BytesIO, tile: np.ndarray, pixel_size_um: tuple[float, float] | None, info: str) -> None:
    colour = tile.ndim == 3 and tile.shape[2] in (3, 4)
    options = {"photometric": "rgb" if colour else "minisblack"}
    if tile.dtype.name in _IMAGEJ and not (colour and tile.dtype != np.uint8) and tile.ndim == 2 + colour:
        options["imagej"] = True
        metadata = {"Info": info} if info else {}
        if pixel_size_um is not None:
            options["resolution"] = (1 / pixel_size_um[1], 1 / pixel_size_um[0])
            metadata["unit"] = "um"
        options["metadata"] = metadata
    else:
        options["metadata"] = None
        if info:
            options["description"] = info.encode("ascii", "replace").decode()
        if pixel_size_um is not None:
            options |= {"resolution": (1e4 / pixel_size_um[1], 1e4 / pixel_size_um[0]), "resolutionunit": 3}
    tifffile.imwrite(handle, tile, **options)
