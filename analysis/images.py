"""The one reader and the one writer of pixel files: pixels, size of a pixel, and where that size comes from."""

from __future__ import annotations

import contextlib
import math
import os
import struct
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image as PillowImage

from analysis.files import whole_file
from analysis.pixel_size import size_of_resolution, tiff_pixel_size
from analysis.tiff import TIFF_SIGNATURES, check_against_metadata, check_directories, check_offsets, naming

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_DTYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64")


@dataclass(frozen=True)
class Image:
    """An image and the size of its pixels.

    Attributes
    ----------
    pixels
        (rows, columns, layers), in the number type of the file.
    pixel_size_um
        Height and width of a pixel in micrometres, or None when the file does not say.
    pixel_size_source
        Where that size comes from, or why there is none.
    path
        The file.
    """

    pixels: np.ndarray
    pixel_size_um: tuple[float, float] | None
    pixel_size_source: str
    path: Path


def open_raw(path: str | os.PathLike[str], shape: tuple[int, ...], dtype: str | np.dtype) -> np.memmap:
    """Return a headerless file of numbers as a read-only array that stays on the disk.

    Parameters
    ----------
    path
        The file, in C order: the last axis runs fastest.
    shape
        Length of every axis.
    dtype
        Type of the numbers, such as ``"<f8"``.

    Raises
    ------
    ValueError
        When the size of the file is not that of the array; the message names the file and both sizes.
    OSError
        When the file is missing or cannot be opened.
    """
    expected = math.prod(map(int, shape)) * np.dtype(dtype).itemsize
    found = os.stat(path).st_size
    if found != expected or expected == 0:
        size = " x ".join(map(str, shape))
        state = "is truncated" if found < expected else "has another shape or type"
        raise ValueError(
            f"{path} must have {expected} bytes ({size} values of {np.dtype(dtype).itemsize} bytes); "
            f"got {found} bytes. The file {state}."
        )
    return np.memmap(path, dtype=dtype, mode="r", shape=tuple(map(int, shape)))


def write_raw(arrays: Mapping[str | os.PathLike[str], tuple[np.ndarray, str | np.dtype]]) -> None:
    """Write headerless files of numbers that belong together: all of them, or none.

    The files get their names in the order given, one right after the other, once all are on the disk.

    Parameters
    ----------
    arrays
        For every file its values and the type to write them in, such as ``"<f8"``; C order.

    Raises
    ------
    OSError
        When the disk is full or a folder cannot be written; older files stay as they were.
    """
    with contextlib.ExitStack() as stack:
        # contexts are left in reverse order, so the last file is opened first
        handles = {path: stack.enter_context(whole_file(path)) for path in reversed(arrays)}
        for path, (values, dtype) in arrays.items():
            handles[path].write(memoryview(np.ascontiguousarray(values, dtype)).cast("B"))
        for handle in handles.values():
            handle.flush()
            os.fsync(handle.fileno())


def read_image(path: str | os.PathLike[str], *, memory_gb: float = 4.0) -> Image:
    """Read a TIFF, OME-TIFF, ImageJ TIFF or PNG file of one plane with any number of layers.

    Channels, samples of a colour, and the pages of a plain TIFF become layers. The file is compared with
    what it declares before and after its pixels are decoded, so a cut or damaged file is never taken for a
    smaller image.

    Parameters
    ----------
    path
        The file; its first bytes tell its kind, not its name.
    memory_gb
        Largest size of the decoded image in gigabytes, compared with what the file declares before
        anything is decoded.

    Returns
    -------
    Image
        Pixels as (rows, columns, layers).

    Raises
    ------
    ValueError
        When the file is not such an image, is cut or damaged, holds several planes in depth or time or
        several images, or is too large. The message names the file.
    OSError
        When the file is missing or cannot be opened.
    """
    path = Path(path)
    with open(path, "rb") as handle:
        start = handle.read(8)
    if start == _PNG_SIGNATURE:
        return _read_png(path, memory_gb)
    if start[:4] in TIFF_SIGNATURES:
        return _read_tiff(path, memory_gb)
    raise ValueError(f"{path} must be a TIFF or PNG image; its first bytes are {start[:4]!r}.")


def _check_budget(path: Path, declared_bytes: int, memory_gb: float) -> None:
    if declared_bytes > memory_gb * 1e9:
        raise ValueError(
            f"{path} must decode to at most {memory_gb:g} GB; it declares {declared_bytes / 1e9:.3g} GB. "
            "Raise memory_gb when the image really is that large."
        )


# ------------------------------------------------------------------------------------------------- TIFF


def _read_tiff(path: Path, memory_gb: float) -> Image:
    check_directories(path)
    with naming(path), tifffile.TiffFile(path) as tiff:
        series = _only_series(path, tiff)
        _check_budget(path, series.nbytes, memory_gb)
        check_against_metadata(path, tiff, series)
        check_offsets(path, series)
        pixels = series.asarray()
        if pixels.shape != series.shape:
            raise ValueError(f"{path} must hold {series.shape} values; {pixels.shape} came out. It is damaged.")
        size = tiff_pixel_size(tiff)
        return Image(_rows_columns_layers(path, pixels, series.axes), size.sides_um, size.source, path)


def _only_series(path: Path, tiff: tifffile.TiffFile) -> tifffile.TiffPageSeries:
    if len(tiff.series) != 1:
        shapes = "; ".join(" x ".join(map(str, s.shape)) for s in tiff.series[:4])
        raise ValueError(f"{path} must hold one image; it holds {len(tiff.series)} ({shapes}). Save one a file.")
    return tiff.series[0]


def _rows_columns_layers(path: Path, pixels: np.ndarray, axes: str) -> np.ndarray:
    """Put the axes in order; depth and time must have one plane."""
    kept = [index for index, length in enumerate(pixels.shape) if length > 1 or axes[index] in "YX"]
    names = "".join(axes[index] for index in kept)
    pixels = pixels.reshape([pixels.shape[index] for index in kept])
    for axis, words in (("Z", "in depth (Z)"), ("T", "in time (T)")):
        if axis in names:
            planes = pixels.shape[names.index(axis)]
            raise ValueError(
                f"{path} must hold one plane; it has {planes} planes {words}, axes {axes}. Save one plane, "
                "or project them; channels that were saved as planes must be saved as channels (axes CYX)."
            )
    if not (set("YX") <= set(names) and len(names) <= 3):
        raise ValueError(f"{path} must have the axes YX, CYX or YXC; it has {axes}.")
    if pixels.dtype.name not in (*_DTYPES, "uint64", "int64", "float16", "bool"):
        raise ValueError(f"{path} must hold whole or real numbers; it holds {pixels.dtype.name}.")
    order = (names.index("Y"), names.index("X"), *(i for i, name in enumerate(names) if name not in "YX"))
    return pixels.transpose(order).reshape(*(pixels.shape[i] for i in order[:2]), -1)


# -------------------------------------------------------------------------------------------------- PNG


def _read_png(path: Path, memory_gb: float) -> Image:
    with open(path, "rb") as handle:
        header = handle.read(33)
    if len(header) < 33:
        raise ValueError(f"{path} must be a whole PNG; it ends after {len(header)} bytes.")
    width, height, bits, colour = struct.unpack(">LLBB", header[16:26])
    samples = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}.get(colour, 4)
    _check_budget(path, width * height * samples * max(bits // 8, 1), memory_gb)
    if bits == 16 and colour != 0:
        # Pillow would drop the lower 8 bits without a word
        raise ValueError(f"{path} must be grey when it has 16 bits; it is a colour PNG. Save it as TIFF.")
    try:
        with contextlib.ExitStack() as stack:
            image = stack.enter_context(_open_png(path))
            pixels = np.asarray(image.convert("RGB") if colour == 3 else image)
            dots_per_inch = image.info.get("dpi")
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{path} must be a whole image; it cannot be decoded: {error}.") from error
    if pixels.dtype == np.int32:  # older Pillow opens 16-bit grey as 32-bit
        pixels = pixels.astype(np.uint16)
    pixels = pixels.reshape(height, width, -1)
    if dots_per_inch is None or min(dots_per_inch) <= 0:
        return Image(pixels, None, "the file does not say", path)
    size = size_of_resolution(25400.0 / dots_per_inch[1], 25400.0 / dots_per_inch[0], "PNG pHYs entry")
    return Image(pixels, size.sides_um, size.source, path)


@contextlib.contextmanager
def _open_png(path: Path) -> Iterator[PillowImage.Image]:
    """Open with Pillow, whose own limit would warn of images that our budget allows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PillowImage.DecompressionBombWarning)
        with PillowImage.open(path, formats=["PNG"]) as image:
            yield image


# ---------------------------------------------------------------------------------------------- writing


def write_image(
    path: str | os.PathLike[str], pixels: np.ndarray, pixel_size_um: tuple[float, float] | None = None
) -> Path:
    """Write an image as OME-TIFF with the axes CYX, whole or not at all.

    Parameters
    ----------
    path
        The file, replaced in one step.
    pixels
        (rows, columns, layers) or (rows, columns); the number type is kept. Layers are copied one at a
        time, so no second image is held in memory.
    pixel_size_um
        Height and width of a pixel in micrometres.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ValueError
        When the shape or number type cannot be written.
    OSError
        When the disk is full or the folder cannot be written; an older file stays as it was.
    """
    pixels = np.asarray(pixels)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or 0 in pixels.shape:
        raise ValueError(f"pixels for {path} must be (rows, columns, layers); got the shape {pixels.shape}.")
    if pixels.dtype.name not in _DTYPES:
        raise ValueError(f"pixels for {path} must be one of {', '.join(_DTYPES)}; got {pixels.dtype.name}.")
    metadata: dict[str, object] = {"axes": "CYX"}
    if pixel_size_um is not None:
        for axis, size in zip("YX", pixel_size_um, strict=True):
            metadata |= {f"PhysicalSize{axis}": float(size), f"PhysicalSize{axis}Unit": "µm"}
    rows, columns, layers = pixels.shape
    # classic TIFF ends at 4 GB; tifffile cannot foresee the size of planes that come one by one
    big = pixels.nbytes > 2**32 - 2**25
    with whole_file(path) as handle:
        tifffile.imwrite(
            handle,
            (np.ascontiguousarray(pixels[..., layer]) for layer in range(layers)),
            shape=(layers, rows, columns),
            dtype=pixels.dtype,
            photometric="minisblack",
            ome=True,
            bigtiff=big,
            metadata=metadata,
        )
    return Path(path)


# ---------------------------------------------------------------------------------------------- preview


def read_preview(path: str | os.PathLike[str], *, longest_px: int = 256, memory_gb: float = 1.0) -> np.ndarray:
    """Read a small grey version of a JPEG or PNG picture, for eyes and for quick comparison.

    A JPEG is decoded at the smallest of its built-in reductions that is large enough. Pictures of 16 bits are
    scaled from their 0.5th to their 99.5th percentile.

    Parameters
    ----------
    path
        The file; its first bytes tell its kind, not its name.
    longest_px
        Largest number of rows and of columns; a smaller picture keeps its size.
    memory_gb
        Largest size of the decoded picture in gigabytes, compared with what the file declares before anything is
        decoded.

    Returns
    -------
    numpy.ndarray
        (rows, columns) of uint8.

    Raises
    ------
    ValueError
        When the file is no such picture, is cut or damaged, or is too large. The message names the file.
    OSError
        When the file is missing or cannot be opened.
    """
    if longest_px < 1:
        raise ValueError(f"longest_px must be at least 1; got {longest_px}.")
    path = Path(path)
    try:
        with open(path, "rb") as handle, warnings.catch_warnings():
            # Pillow's own limit would warn of pictures that our budget allows
            warnings.simplefilter("ignore", PillowImage.DecompressionBombWarning)
            with PillowImage.open(handle, formats=["JPEG", "PNG"]) as picture:
                width, height = picture.size
                bytes_each = 4 if picture.mode.startswith(("I", "F")) else len(picture.getbands())
                _check_budget(path, width * height * bytes_each, memory_gb)
                picture.draft("L", (longest_px, longest_px))
                return _small_grey(picture, longest_px)
    except OSError as error:
        if error.errno is not None:
            raise
        raise ValueError(f"{path} must be a whole JPEG or PNG picture; it cannot be decoded: {error}.") from error
    except (SyntaxError, struct.error, IndexError, ValueError, PillowImage.DecompressionBombError) as error:
        if str(path) in str(error):
            raise
        raise ValueError(f"{path} must be a whole JPEG or PNG picture; it cannot be decoded: {error}.") from error


def _small_grey(picture: PillowImage.Image, longest_px: int) -> np.ndarray:
    deep = picture.mode.startswith(("I", "F"))
    grey = picture.convert("F" if deep else "L")
    grey.thumbnail((longest_px, longest_px), PillowImage.Resampling.BOX)
    pixels = np.asarray(grey)
    if deep:
        low, high = np.percentile(pixels, (0.5, 99.5))
        pixels = np.clip((pixels - low) * (255 / max(high - low, 1e-9)), 0, 255)
    return pixels.astype(np.uint8)
