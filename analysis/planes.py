"""One plane of an image file, read band by band: what it is before it is read, and only the rows that are asked for."""

from __future__ import annotations

import contextlib
import math
import os
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import tifffile
from PIL import Image as PillowImage

from analysis.pixel_size import PixelSize, size_of_resolution, tiff_pixel_size
from analysis.tiff import TIFF_SIGNATURES, check_directories, check_offsets, naming

VENDORS = (".czi", ".nd2", ".lif")
"""Files of microscopes that are read through bioio."""
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_PILLOW_LIMIT = threading.Lock()
"""Held while Pillow's limit, one for the whole process, is lifted to open a file."""


@dataclass(frozen=True)
class PlaneInfo:
    """What an image file says of itself before its pixels are read.

    Attributes
    ----------
    path
        The file.
    format
        ``"TIFF"``, ``"OME-TIFF"``, ``"ImageJ TIFF"``, ``"PNG"``, ``"JPEG"`` or a vendor's ending.
    rows, columns
        Of one plane.
    channels
        Channels beside each other; a colour image has one, in colours.
    planes
        Planes in depth and time.
    colours
        1 for grey, 3 for red, green and blue.
    dtype
        Name of the number type.
    pixel_size
        And where it comes from.
    """

    path: Path
    format: str
    rows: int
    columns: int
    channels: int
    planes: int
    colours: int
    dtype: str
    pixel_size: PixelSize

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one plane: (rows, columns), or (rows, columns, 3) for colour."""
        return (self.rows, self.columns) if self.colours == 1 else (self.rows, self.columns, self.colours)

    def index(self, channel: int | None, plane: int | None) -> tuple[int, int]:
        """Return channel and plane from 0.

        Parameters
        ----------
        channel, plane
            From 1; None where there is one only.

        Raises
        ------
        ValueError
            When there are several and none was chosen, or fewer than the one chosen.
        """
        return self._one("channel", channel, self.channels), self._one("plane", plane, self.planes)

    def _one(self, what: str, number: int | None, count: int) -> int:
        if number is None and count > 1:
            raise ValueError(f"{self.path} must have one {what}, or {what} must say which; it has {count}.")
        if number is not None and not 1 <= number <= count:
            raise ValueError(f"{what} must be from 1 to {count} in {self.path}; got {number}.")
        return (number or 1) - 1


class Plane:
    """One plane of an open file. Use it in a ``with`` statement; several threads may read.

    Parameters
    ----------
    info
        What it is.
    read
        Returns the rows from one to another.
    close
        Closes the file.
    memory_gb
        Largest part that is read at once, in gigabytes.
    """

    def __init__(
        self,
        info: PlaneInfo,
        read: Callable[[int, int], np.ndarray],
        close: Callable[[], None],
        *,
        memory_gb: float = 4.0,
    ) -> None:
        self.info, self.memory_gb = info, memory_gb
        self._read, self._close = read, close
        self._lock = threading.Lock()

    @property
    def shape(self) -> tuple[int, ...]:
        """(rows, columns), or (rows, columns, 3)."""
        return self.info.shape

    @property
    def dtype(self) -> np.dtype:
        """Number type."""
        return np.dtype(self.info.dtype)

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Read the rows from ``start`` to before ``stop``.

        Raises
        ------
        ValueError
            When the file is damaged there.
        """
        if not 0 <= start <= stop <= self.info.rows:
            raise ValueError(f"rows must lie within 0 to {self.info.rows}; got {start} to {stop}.")
        _check_budget(self.info.path, (stop - start, *self.shape[1:]), self.dtype, self.memory_gb)
        with self._lock, naming(self.info.path):
            band = self._read(start, stop)
        if band.shape != (stop - start, *self.shape[1:]):
            raise ValueError(f"{self.info.path} must be whole; rows {start} to {stop} came out as {band.shape}.")
        return band

    def all(self) -> np.ndarray:
        """Read the whole plane."""
        return self.rows(0, self.info.rows)

    def __getitem__(self, window: slice | tuple[slice, ...]) -> np.ndarray:
        """Return a window: rows, or rows and columns."""
        rows, *others = window if isinstance(window, tuple) else (window,)
        start, stop, step = rows.indices(self.info.rows)
        return self.rows(start, max(start, stop))[(slice(None, None, step), *others)]

    def __enter__(self) -> Plane:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._close()


def find_info(path: str | os.PathLike[str]) -> PlaneInfo:
    """Look at an image file without reading its pixels.

    Parameters
    ----------
    path
        TIFF of any kind, PNG, JPEG, or a file that bioio reads.

    Returns
    -------
    PlaneInfo

    Raises
    ------
    ValueError
        When it is no such image, is cut, or holds several images of different kinds.
    OSError
        When it cannot be opened.
    """
    with open_plane(path, channel=1, plane=1) as plane:
        return plane.info


def open_plane(
    path: str | os.PathLike[str], *, channel: int | None = None, plane: int | None = None, memory_gb: float = 4.0
) -> Plane:
    """Open one plane of an image file.

    An uncompressed TIFF stays on the disk and is read where it is asked for; of a compressed one the strips or tiles
    that are needed are decoded. PNG, JPEG and vendors' files have no such parts and are decoded whole.

    Parameters
    ----------
    path
        The file; its first bytes tell its kind, not its name.
    channel, plane
        From 1; needed where there are several.
    memory_gb
        Largest plane that is decoded whole, in gigabytes.

    Returns
    -------
    Plane
        To be used in a ``with`` statement.

    Raises
    ------
    ValueError
        As `find_info`, and when channel or plane are not there.
    OSError
        When the file cannot be opened.
    """
    path = Path(path)
    if path.suffix.lower() in VENDORS:
        return _open_vendor(path, channel, plane, memory_gb)
    with open(path, "rb") as handle:
        start = handle.read(8)
    if start[:4] in TIFF_SIGNATURES:
        return _open_tiff(path, channel, plane, memory_gb)
    if start == _PNG or start[:3] == _JPEG:
        return _open_picture(path, "PNG" if start == _PNG else "JPEG", channel, plane, memory_gb)
    raise ValueError(f"{path} must be a TIFF, PNG or JPEG image; its first bytes are {start[:4]!r}.")


# ------------------------------------------------------------------------------------------------- TIFF


def _open_tiff(path: Path, channel: int | None, plane: int | None, memory_gb: float) -> Plane:
    check_directories(path)
    with contextlib.ExitStack() as stack, naming(path):
        tiff = stack.enter_context(tifffile.TiffFile(path))
        series = tiff.series[0]
        if any(other.shape[-2:] == series.shape[-2:] for other in tiff.series[1:]):
            shapes = "; ".join(" x ".join(map(str, s.shape)) for s in tiff.series[:4])
            raise ValueError(f"{path} must hold one image; it holds {len(tiff.series)} ({shapes}). Save one a file.")
        check_offsets(path, series)
        info, page_of = _describe_tiff(path, tiff, series)
        index, samples = page_of(*info.index(channel, plane))
        read = _tiff_reader(series, index, samples, info, memory_gb)
        keep = stack.pop_all()
    return Plane(info, read, keep.close, memory_gb=memory_gb)


def _describe_tiff(path: Path, tiff: tifffile.TiffFile, series: Any) -> tuple[PlaneInfo, Callable]:
    """What a series is, and a function from channel and plane to the page and the samples in it."""
    axes, shape = series.axes, series.shape
    sizes = dict(zip(axes, shape, strict=True))
    if not {"Y", "X"} <= set(axes) or np.dtype(series.dtype).kind not in "uifb":
        raise ValueError(f"{path} must be an image of whole or real numbers; it has axes {axes} of {series.dtype}.")
    samples = sizes.get("S", 1)
    colour = samples in (3, 4)
    outer = [axis for axis in axes if axis not in "YXS"]
    # samples that are no colours, such as grey and transparency, are channels
    channels = sizes.get("C", 1) * (1 if colour else samples)
    planes = math.prod(sizes[axis] for axis in outer if axis != "C")
    kind = "OME-TIFF" if tiff.is_ome else "ImageJ TIFF" if tiff.is_imagej else "TIFF"
    info = PlaneInfo(
        path, kind, sizes["Y"], sizes["X"], channels, planes, 3 if colour else 1, np.dtype(series.dtype).name,
        tiff_pixel_size(tiff),
    )  # fmt: skip

    def page_of(channel: int, plane: int) -> tuple[int, slice]:
        sample = slice(0, 3) if colour else slice(channel % samples, channel % samples + 1)
        others = [axis for axis in outer if axis != "C"]
        where = dict(zip(others, np.unravel_index(plane, [sizes[a] for a in others]) if others else (), strict=True))
        where["C"] = channel if colour else channel // samples
        lengths = [sizes[axis] for axis in outer]
        return int(np.ravel_multi_index([where[a] for a in outer], lengths)) if outer else 0, sample

    return info, page_of


def _tiff_reader(
    series: Any, index: int, samples: slice, info: PlaneInfo, memory_gb: float
) -> Callable[[int, int], np.ndarray]:
    inner = "".join(axis for axis in series.axes if axis in "YXS")
    lengths = dict(zip(series.axes, series.shape, strict=True))
    shape = tuple(lengths[axis] for axis in inner)
    if series.dataoffset is not None and inner in ("YX", "YXS"):
        stored = np.dtype(series.dtype).newbyteorder(series.pages[0].parent.byteorder)
        row_bytes = math.prod(shape[1:]) * stored.itemsize
        first, handle = series.dataoffset + index * shape[0] * row_bytes, series.pages[0].parent.filehandle

        def read(start: int, stop: int) -> np.ndarray:
            # not mapped to memory: pages of a map count as the process's own until the system wants them back
            handle.seek(first + start * row_bytes)
            data = np.frombuffer(handle.read((stop - start) * row_bytes), stored)
            return _chosen(data.reshape(stop - start, *shape[1:]), samples, info)

        return read
    # several pages may lie one behind the other under the first page only
    page = series.pages[index] if len(series.pages) > index else None
    if page is None:
        _check_budget(info.path, series.shape, series.dtype, memory_gb)
        whole = series.asarray().reshape(-1, *shape)[index]
        return lambda start, stop: _chosen(_rows_first(whole, inner)[start:stop], samples, info)
    if inner == "SYX":
        _check_budget(info.path, shape, series.dtype, memory_gb)
        return lambda start, stop: _chosen(_rows_first(page.asarray(), inner)[start:stop], samples, info)
    page = page.aspage() if hasattr(page, "aspage") else page
    # a strip or a tile is decoded whole, however few of its rows are asked for
    _check_budget(info.path, page.chunks, page.dtype, memory_gb)
    return lambda start, stop: _chosen(_decode_band(page, start, stop), samples, info)


def _rows_first(pixels: np.ndarray, inner: str) -> np.ndarray:
    return np.moveaxis(pixels, 0, -1) if inner == "SYX" else pixels


def _chosen(band: np.ndarray, samples: slice, info: PlaneInfo) -> np.ndarray:
    """Colours, or one sample; in the byte order of the machine."""
    if band.ndim == 3:
        band = band[..., samples]
        band = band if info.colours == 3 else band[..., 0]
    return np.ascontiguousarray(band, dtype=band.dtype.newbyteorder("="))


def _decode_band(page: tifffile.TiffPage, start: int, stop: int) -> np.ndarray:
    """Decode the strips or tiles of a page that hold some rows."""
    samples = page.samplesperpixel if page.planarconfig == 1 else 1
    band = np.zeros((stop - start, page.imagewidth, samples), page.dtype)
    height = page.tilelength if page.is_tiled else page.rowsperstrip
    across = math.ceil(page.imagewidth / page.tilewidth) if page.is_tiled else 1
    handle = page.parent.filehandle
    for row in range(start // height, math.ceil(stop / height)):
        for number in range(row * across, (row + 1) * across):
            handle.seek(page.dataoffsets[number])
            data = handle.read(page.databytecounts[number])
            part, (_, _, top, left, _), _ = page.decode(
                data, number, jpegtables=page.jpegtables, jpegheader=page.jpegheader
            )
            if part is None:
                continue
            first, last = max(top, start), min(top + part.shape[1], stop)
            # tiles reach over the border of the image
            room = band[first - start : last - start, left : left + part.shape[2]]
            if first < last:
                room[:] = part[0, first - top : last - top, : room.shape[1]]
    return band if samples > 1 else band[..., 0]


# --------------------------------------------------------------------------------------------- pictures


def _open_picture(path: Path, kind: str, channel: int | None, plane: int | None, memory_gb: float) -> Plane:
    with naming(path), _pillow(path, kind) as picture:
        columns, rows = picture.size
        mode, dots = picture.mode, picture.info.get("dpi")
        bits_16 = kind == "PNG" and _png_bits(path) == 16
    if bits_16 and not mode.startswith("I"):
        # Pillow drops the lower 8 bits without a word
        raise ValueError(f"{path} must be grey when it has 16 bits; it is a colour PNG. Save it as TIFF.")
    colours = 1 if mode in ("1", "L", "LA", "I", "I;16", "I;16B", "F") else 3
    dtype = "uint16" if bits_16 else "uint8"
    size = PixelSize(None, None, "the file does not say")
    if dots is not None and min(dots) > 0:
        size = size_of_resolution(25400 / float(dots[1]), 25400 / float(dots[0]), f"{kind} resolution")
    info = PlaneInfo(path, kind, rows, columns, 1, 1, colours, dtype, size)
    info.index(channel, plane)
    _check_memory(info, memory_gb)
    kept: list[np.ndarray] = []

    def read(start: int, stop: int) -> np.ndarray:
        if not kept:
            with _pillow(path, kind) as picture:
                wanted = picture if bits_16 else picture.convert("L" if colours == 1 else "RGB")
                kept.append(np.asarray(wanted).astype(dtype, copy=False))
        return kept[0][start:stop]

    return Plane(info, read, kept.clear)


@contextlib.contextmanager
def _pillow(path: Path, kind: str) -> Iterator[PillowImage.Image]:
    with _PILLOW_LIMIT:
        limit = PillowImage.MAX_IMAGE_PIXELS
        # our own budget is compared with what the header says
        PillowImage.MAX_IMAGE_PIXELS = None
        try:
            picture = PillowImage.open(path, formats=[kind])
        finally:
            PillowImage.MAX_IMAGE_PIXELS = limit
    with picture:
        yield picture


def _png_bits(path: Path) -> int:
    with open(path, "rb") as handle:
        return struct.unpack(">B", handle.read(25)[24:25])[0]


def _check_memory(info: PlaneInfo, memory_gb: float) -> None:
    _check_budget(info.path, info.shape, info.dtype, memory_gb)


def _check_budget(path: Path, shape: Sequence[int], dtype: Any, memory_gb: float) -> None:
    """Refuse what would fill the memory by what the file declares, before anything is decoded."""
    declared = math.prod(shape) * np.dtype(dtype).itemsize
    if declared > memory_gb * 1e9:
        raise ValueError(
            f"{path} must decode to at most {memory_gb:g} GB; it declares {declared / 1e9:.3g} GB. "
            "Raise memory_gb when the image really is that large, or save it as tiled TIFF."
        )


# ---------------------------------------------------------------------------------------------- vendors


def _open_vendor(path: Path, channel: int | None, plane: int | None, memory_gb: float) -> Plane:
    try:
        from bioio import BioImage
    except ImportError:
        raise ValueError(
            f"{path} must be read with bioio, which is not installed: pip install 'graticule[formats]' and the reader "
            f"for {path.suffix} files."
        ) from None
    with open(path, "rb"), naming(path):
        image = BioImage(path)
        sizes = image.physical_pixel_sizes
        size = PixelSize(None, None, "the file does not say")
        if sizes.Y and sizes.X:
            size = PixelSize(float(sizes.Y), float(sizes.X), f"{path.suffix[1:].upper()} metadata", sizes.Z)
        dims = image.dims
        colours = 3 if "S" in dims.order and dims.S in (3, 4) else 1
        info = PlaneInfo(
            path, path.suffix[1:].upper(), dims.Y, dims.X, dims.C, dims.Z * dims.T, colours, image.dtype.name, size
        )
        at_channel, at_plane = info.index(channel, plane)
        time, depth = divmod(at_plane, dims.Z)
    _check_memory(info, memory_gb)
    kept: list[np.ndarray] = []

    def read(start: int, stop: int) -> np.ndarray:
        if not kept:
            order = "YXS" if colours == 3 else "YX"
            pixels = np.asarray(image.get_image_data(order, C=at_channel, T=time, Z=depth))
            kept.append(pixels[..., :3] if colours == 3 else pixels)
        return kept[0][start:stop]

    return Plane(info, read, kept.clear)
