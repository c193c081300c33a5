"""Files that are small and would fill the memory, or stand still, when they are read without care."""

from __future__ import annotations

import itertools
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile

ZEROS = 1_500_000_000


def png(path: Path, side_px: int = 60_000) -> Path:
    """Write a PNG of a few kilobytes that declares many gigabytes."""
    packed = zlib.compress(bytes(1_000_000), 9)
    header = struct.pack(">LLBBBBB", side_px, side_px, 16, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b""))
    return path


def png_with_text(path: Path) -> Path:
    """Write a small PNG whose comment unpacks to more than a gigabyte."""
    header = struct.pack(">LLBBBBB", 8, 8, 8, 0, 0, 0, 0)
    text = b"Comment\0\0" + _zeros()
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"zTXt", text)
        + _chunk(b"IDAT", zlib.compress(bytes(72))) + _chunk(b"IEND", b"")
    )  # fmt: skip
    return path


def png_with_long_rows(path: Path) -> Path:
    """Write a PNG that declares 8 x 8 pixels and unpacks to more than a gigabyte."""
    header = struct.pack(">LLBBBBB", 8, 8, 8, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", _zeros()) + _chunk(b"IEND", b"")
    )  # fmt: skip
    return path


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">L", len(data)) + name + data + struct.pack(">L", zlib.crc32(name + data))


_KEPT: dict[str, bytes] = {}


def _zeros() -> bytes:
    """More than a gigabyte of zeros, packed."""
    if "zeros" not in _KEPT:
        packer, step = zlib.compressobj(9), bytes(10_000_000)
        _KEPT["zeros"] = b"".join(packer.compress(step) for _ in range(ZEROS // len(step))) + packer.flush()
    return _KEPT["zeros"]


def tiff_that_declares_much(path: Path, compression: str, side_px: int = 100_000) -> Path:
    """Write a small TIFF that declares tens of gigabytes in one strip a row block."""
    block = np.zeros((256, side_px), np.uint16)
    tifffile.imwrite(path, block, compression=compression, rowsperstrip=256, metadata=None)
    _set_tag(path, 257, side_px)
    return path


def tiff_with_long_strips(path: Path) -> Path:
    """Write a TIFF that declares 64 x 64 pixels and has a strip of more than a gigabyte."""
    tifffile.imwrite(path, np.zeros((64, 64), np.uint8), compression="zlib", rowsperstrip=64, metadata=None)
    content = bytearray(path.read_bytes())
    place = len(content)
    path.write_bytes(bytes(content) + _zeros())
    _set_tag(path, 273, place)
    _set_tag(path, 279, len(_zeros()))
    return path


def tiff_of_ome(path: Path, description: str) -> Path:
    """Write a small TIFF with a description that is OME-XML."""
    tifffile.imwrite(path, np.ones((64, 64), np.uint16), description=description.encode(), metadata=None)
    return path


def _set_tag(path: Path, code: int, value: int) -> None:
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages[0].tags[code].overwrite(value)


def laughs(body: str = "&i;", levels: int = 9) -> str:
    """Entities that grow tenfold at each level (billion laughs)."""
    names = "abcdefghi"[:levels]
    lines = [f'<!ENTITY {names[0]} "{"lol" * 10}">']
    lines += [f'<!ENTITY {one} "{f"&{before};" * 10}">' for before, one in itertools.pairwise(names)]
    return f"<?xml version='1.0'?><!DOCTYPE a [{''.join(lines)}]><a>{body}</a>"


def quadratic() -> str:
    """One long entity, used very often."""
    return f"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY e \"{'x' * 50_000}\">]><a>{'&e;' * 50_000}</a>"


def outside(path: Path) -> str:
    """An entity that is another file."""
    return f"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY e SYSTEM \"{path.as_uri()}\">]><a>&e;</a>"


def deep(levels: int = 200_000) -> str:
    """Elements in elements in elements."""
    return "<a>" * levels + "</a>" * levels


def long_attribute(length: int = 30_000_000) -> str:
    """An attribute of many megabytes."""
    return f'<a b="{"x" * length}"/>'


def tiff_of_one_strip(path: Path, side_px: int = 100_000) -> Path:
    """Write a small TIFF that declares tens of gigabytes in a single strip."""
    tifffile.imwrite(path, np.zeros((64, side_px), np.uint16), compression="zlib", rowsperstrip=64, metadata=None)
    for code in (257, 278):
        _set_tag(path, code, side_px)
    return path


def tiff_of_one_tile(path: Path, side_px: int = 100_000) -> Path:
    """Write a small TIFF that declares tens of gigabytes in a single tile."""
    tifffile.imwrite(path, np.zeros((64, 64), np.uint16), compression="zlib", tile=(64, 64), metadata=None)
    for code in (256, 257, 322, 323):
        _set_tag(path, code, side_px)
    return path


def tiff_around(path: Path, compression: int, content: bytes) -> Path:
    """Write a TIFF that declares 64 x 64 pixels in one strip, whose content is something else."""
    tifffile.imwrite(path, np.zeros((64, 64), np.uint8), compression="zlib", rowsperstrip=64, metadata=None)
    place = path.stat().st_size
    with path.open("ab") as handle:
        handle.write(content)
    for code, value in ((273, place), (279, len(content)), (259, compression)):
        _set_tag(path, code, value)
    return path


def jpeg_content(side_px: int = 40_000) -> bytes:
    """Return a small JPEG that declares more than a gigabyte."""
    content = bytearray(imagecodecs.jpeg8_encode(np.zeros((64, 64), np.uint8)))
    place = content.index(b"\xff\xc0")
    content[place + 5 : place + 9] = struct.pack(">HH", side_px, side_px)
    return bytes(content)


def jpeg2000_content(side_px: int = 40_000) -> bytes:
    """Return a small JPEG 2000 that declares more than a gigabyte, as one tile."""
    content = bytearray(imagecodecs.jpeg2k_encode(np.zeros((64, 64), np.uint8), codecformat="j2k"))
    place = content.index(b"\xff\x51")
    for offset in (6, 10, 22, 26):  # size of the image and of its tile
        content[place + offset : place + offset + 4] = struct.pack(">L", side_px)
    return bytes(content)


def png_content(side_px: int = 40_000) -> bytes:
    """Return a small PNG that declares more than a gigabyte."""
    header = struct.pack(">LLBBBBB", side_px, side_px, 8, 0, 0, 0, 0)
    packed = zlib.compress(bytes(1_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def zstd_content(length: int = 700_000_000) -> bytes:
    """Return a few kilobytes that zstd unpacks to most of a gigabyte."""
    return imagecodecs.zstd_encode(bytes(length), level=1)
