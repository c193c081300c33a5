"""Whether a TIFF file is whole: checks of its structure before any pixel is decoded."""

from __future__ import annotations

import contextlib
import math
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import tifffile

from analysis.pixel_size import ome_pixels

TIFF_SIGNATURES = {b"II*\0": "<HL", b"MM\0*": ">HL", b"II+\0": "<QQ", b"MM\0+": ">QQ"}
_TIFF_TYPE_BYTES = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8,
}  # fmt: skip


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn whatever a decoder raises on a damaged file into one sentence that names the file.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    ValueError
        In place of anything but an error of the operating system.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:  # Pillow's way of saying that a picture is damaged
            raise ValueError(f"{path} must be a whole image; it cannot be decoded: {error}.") from error
        raise
    except Exception as error:  # decoders raise struct.error, zlib.error, IndexError, TypeError, ...
        if isinstance(error, ValueError) and str(path) in str(error):
            raise
        raise ValueError(f"{path} must be a whole image; it cannot be decoded: {error}.") from error


def check_directories(path: Path) -> None:
    """Follow the chain of directories to its end; a cut file breaks it, which tifffile does not say.

    Parameters
    ----------
    path
        A file that starts as a TIFF does.

    Raises
    ------
    ValueError
        When the chain breaks, goes in a circle, or an entry reaches behind the end of the file.
    """
    size = path.stat().st_size
    with open(path, "rb") as handle:
        order, count_code, offset_code = TIFF_SIGNATURES[handle.read(4)]
        handle.seek(8 if offset_code == "Q" else 4)
        seen: set[int] = set()
        while offset := _unpack(handle, path, order + offset_code)[0]:
            if offset in seen:
                raise ValueError(f"{path} must have directories that end; they go round in a circle.")
            seen.add(offset)
            handle.seek(offset)
            for _ in range(_unpack(handle, path, order + count_code)[0]):
                entry = _unpack(handle, path, f"{order}HH{offset_code}{offset_code}")
                _check_entry(path, size, struct.calcsize(order + offset_code), *entry)
    if not seen:
        raise ValueError(f"{path} must hold an image; it has no directory.")


def _check_entry(path: Path, size: int, inline_bytes: int, tag: int, kind: int, count: int, offset: int) -> None:
    """Refuse a directory entry whose values lie behind the end of the file: it would be left out silently."""
    length = count * _TIFF_TYPE_BYTES.get(kind, 0)
    if length > inline_bytes and offset + length > size:
        raise ValueError(f"{path} must be whole; its entry {tag} reaches to byte {offset + length} of {size}.")


def _unpack(handle: BinaryIO, path: Path, code: str) -> tuple[int, ...]:
    data = handle.read(struct.calcsize(code))
    if len(data) < struct.calcsize(code):
        raise ValueError(f"{path} must be whole; it ends within a directory, after {path.stat().st_size} bytes.")
    return struct.unpack(code, data)


def check_against_metadata(path: Path, tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> None:
    """Refuse a series that has fewer values than the metadata of OME or ImageJ declare.

    Parameters
    ----------
    path, tiff, series
        The file, open, and its image.

    Raises
    ------
    ValueError
        With both numbers.
    """
    declared, whose = None, ""
    if tiff.is_ome:
        pixels = ome_pixels(tiff)
        if pixels is not None:
            declared, whose = math.prod(int(pixels.get(f"Size{axis}", 1)) for axis in "XYCZT"), "OME metadata"
            # SizeC counts the samples of a colour pixel already
    elif tiff.is_imagej and tiff.imagej_metadata:
        planes = int(tiff.imagej_metadata.get("images", 1))
        declared, whose = planes * math.prod(tiff.pages[0].shape), "ImageJ metadata"
    found = math.prod(series.shape)
    if declared is not None and declared != found:
        raise ValueError(f"{path} must hold the {declared} values its {whose} declares; got {found}. It is cut.")


def check_offsets(path: Path, series: tifffile.TiffPageSeries) -> None:
    """Refuse a series whose pages are not all there, or reach behind the end of the file.

    Parameters
    ----------
    path, series
        The file and its image.

    Raises
    ------
    ValueError
        With the page and the place in the file.
    """
    size = path.stat().st_size
    with open(path, "rb") as handle:
        _check_pages(path, handle, size, series)
    if series.dataoffset is not None and series.dataoffset + series.nbytes > size:
        end = series.dataoffset + series.nbytes
        raise ValueError(f"{path} must be whole; its pixels reach to byte {end}, the file has {size} bytes.")


def _check_pages(path: Path, handle: BinaryIO, size: int, series: tifffile.TiffPageSeries) -> None:
    for number, page in enumerate(series.pages, start=1):
        if page is None:
            raise ValueError(f"{path} must hold every page it declares; page {number} is missing. It is cut.")
        for offset, length in zip(page.dataoffsets, page.databytecounts, strict=True):
            if offset + length > size:
                raise ValueError(
                    f"{path} must be whole; page {number} reaches to byte {offset + length}, the file has {size} bytes."
                )
            if length == 0:
                raise ValueError(f"{path} must be whole; a part of page {number} is empty.")
            _check_content(path, handle, number, page.keyframe, offset)


def _check_content(path: Path, handle: BinaryIO, number: int, page: tifffile.TiffPage, offset: int) -> None:
    """Refuse a strip or tile that is a picture with a header of its own and declares much more than the page does.

    Decoders make room for what that header says, whatever the page says.
    """
    measure = _PICTURES.get(int(page.compression))
    if measure is None:
        return
    handle.seek(offset)
    rows, columns = measure(handle)
    chunk = (page.tilelength, page.tilewidth) if page.is_tiled else (page.imagelength, page.imagewidth)
    # parts may be padded, and some microscopes write one picture over several strips
    if rows * columns > 4 * math.prod(chunk) + _PADDING_PX:
        raise ValueError(
            f"{path} must hold parts of {chunk[0]} x {chunk[1]} pixels at most on page {number}; one of them declares "
            f"{rows} x {columns}."
        )


_PADDING_PX = 1_000_000
_HEAD_BYTES = 4096


def _measure_jpeg(handle: BinaryIO) -> tuple[int, int]:
    """Rows and columns in the header of a JPEG picture; none where it says none."""
    if handle.read(2) != b"\xff\xd8":
        return 0, 0
    while len(head := handle.read(4)) == 4 and head[0] == 0xFF:
        kind, length = head[1], int.from_bytes(head[2:], "big")
        if kind == 0xFF:  # filled up with these
            handle.seek(-3, os.SEEK_CUR)
        elif 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            frame = handle.read(5)
            return int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
        elif kind == 0xDA or length < 2:
            break
        else:
            handle.seek(length - 2, os.SEEK_CUR)
    return 0, 0


def _measure_jpeg2000(handle: BinaryIO) -> tuple[int, int]:
    """Rows and columns in the header of a JPEG 2000 picture."""
    head = handle.read(_HEAD_BYTES)
    place = head.find(b"\xff\x4f\xff\x51")
    if place < 0:
        raise ValueError("a part that is JPEG 2000 has no header where it begins")
    columns, rows = struct.unpack(">LL", head[place + 8 : place + 16])
    return rows, columns


def _measure_png(handle: BinaryIO) -> tuple[int, int]:
    """Rows and columns in the header of a PNG picture."""
    columns, rows = struct.unpack(">LL", handle.read(24)[16:])
    return rows, columns


_PICTURES = {
    # kinds of compression whose parts are pictures with a header of their own
    **dict.fromkeys((6, 7, 99, 33007, 34892), _measure_jpeg),
    **dict.fromkeys((33003, 33004, 33005, 34712), _measure_jpeg2000),
    34933: _measure_png,
}
