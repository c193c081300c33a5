"""The pixels of one image: read as one plane, turned to grey, and how large they are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.planes import open_plane

_LUMA = (0.299, 0.587, 0.114)
_SQUARE = 0.01


@dataclass(frozen=True)
class ImagePixels:
    """A decoded image.

    Attributes
    ----------
    values
        (rows, columns), or (rows, columns, layers) of a colour image.
    pixel_size_um
        (height, width) of a pixel in micrometres, as the file says; None when it does not.
    pixel_size_source
        What says so, or why there is none.
    """

    values: np.ndarray
    pixel_size_um: tuple[float, float] | None
    pixel_size_source: str


def read_pixels(file: str | os.PathLike[str]) -> ImagePixels:
    """Read an image of one plane.

    Parameters
    ----------
    file
        PNG, TIFF or JPEG.

    Returns
    -------
    ImagePixels
        Its pixels, and how large they are.

    Raises
    ------
    ValueError
        When it is no whole image, or has several planes or channels; the message begins with the file.
    OSError
        When it cannot be opened.
    """
    with open_plane(file, channel=1, plane=1) as plane:
        info = plane.info
        counts = ((info.channels, "channels"), (info.planes, "planes"))
        found = " and ".join(f"{count} {what}" for count, what in counts if count > 1)
        if found:
            raise ValueError(f"{file} must hold one plane; it has {found}. Save one plane as an image of its own.")
        return ImagePixels(plane.all(), info.pixel_size.sides_um, info.pixel_size.source)


def apply_pixel_size(
    how: Mapping[str, Any], sides_um: tuple[float, float] | None
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Add to what is asked of the detection what a file says of the size of its pixels.

    Parameters
    ----------
    how
        Keywords of `detect_circles`; a size given there wins.
    sides_um
        (height, width) of a pixel, or None.

    Returns
    -------
    dict and tuple of str
        The keywords, and sentences. Pixels that are not square have no size in one number, and only radii in
        micrometres must have it.
    """
    how = dict(how)
    if how.get("pixel_size_um") is not None or sides_um is None:
        return how, ()
    if abs(sides_um[0] / sides_um[1] - 1) > _SQUARE and how.get("radius_um") is None:
        said = f"Its pixels are {sides_um[0]:.4g} x {sides_um[1]:.4g} um, not square: there are no columns in um."
        return how, (said,)
    return {**how, "pixel_size_um": sides_um}, ()


def convert_to_grey(pixels: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return (rows, columns) of real numbers, and sentences about what was done.

    Parameters
    ----------
    pixels
        (rows, columns), or (rows, columns, layers) with 1, 3 or 4 layers: red, green and blue by 0.299, 0.587 and
        0.114, a fourth layer is left out.

    Raises
    ------
    ValueError
        When it is no such array.
    """
    pixels = np.asarray(pixels)
    if pixels.ndim not in (2, 3) or 0 in pixels.shape or (pixels.ndim == 3 and pixels.shape[2] not in (1, 3, 4)):
        raise ValueError(
            "pixels must be (rows, columns) or (rows, columns, layers) with 1, 3 or 4 layers; "
            f"got shape {pixels.shape}."
        )
    if pixels.dtype.kind not in "buif":
        raise ValueError(f"pixels must be real numbers; got {pixels.dtype}.")
    if pixels.dtype.kind == "b" or pixels.dtype == np.float16:
        pixels = pixels.astype(np.float32)
    if pixels.ndim == 2:
        return _warn_unknown(pixels)
    if pixels.shape[2] == 1:
        return _warn_unknown(pixels[..., 0])
    red, green, blue = (pixels[..., layer] for layer in range(3))
    if np.array_equal(red, green) and np.array_equal(red, blue):
        return _warn_unknown(red)
    wide = np.float32 if pixels.dtype.itemsize <= 2 else np.float64
    grey = sum(layer * wide(share) for layer, share in zip((red, green, blue), _LUMA, strict=True))
    return _warn_unknown(grey)


def _warn_unknown(grey: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    if grey.dtype.kind != "f":
        return grey, ()
    unknown = int(grey.size - np.isfinite(grey).sum())
    return grey, (f"{unknown} of {grey.size} pixels are not finite and were filled from beside.",) if unknown else ()
