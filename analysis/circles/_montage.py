"""Crops of the circles of an experiment, side by side in one picture."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from PIL import Image as PillowImage
from PIL import ImageDraw, PngImagePlugin

from analysis.circles._overlay import FULL, GREYS, PARTLY, colours_of, font_of, palette

CELL = 72
"""Rows and columns of a crop in the montage."""
MARGIN = 1.3
"""Half the side of a crop in radii."""
MOST = 400
"""Crops of one montage at most."""
MOST_OF_ONE = 64
"""Crops kept of one image at most."""
_LABEL = 13
_GAP = 4
_TITLE = 22
_MARK = "graticule"


@dataclass(frozen=True)
class Crops:
    """Crops of the circles of one image.

    Attributes
    ----------
    pixels
        (circles, rows, columns) in steps of grey.
    colours
        Place in the palette of each circle's colour.
    """

    pixels: np.ndarray
    colours: tuple[int, ...]


def cut_crops(grey: np.ndarray, table: pd.DataFrame, *, most: int = MOST_OF_ONE) -> Crops:
    """Cut every circle out with a margin, all to one size; what lies outside of the image is black.

    Parameters
    ----------
    grey
        (rows, columns) in steps of grey.
    table
        Circles of the image; the first ones are taken.
    most
        How many at most.

    Returns
    -------
    Crops
    """
    table = table.head(most)
    cut = np.zeros((len(table), CELL, CELL), np.uint8)
    places = zip(table["x_px"].tolist(), table["y_px"].tolist(), table["r_px"].tolist(), strict=True)
    for crop, (x, y, r) in zip(cut, places, strict=True):
        half = max(MARGIN * r, 4.0)
        # the centre of the first pixel is 0, its edge -0.5
        rows, top, bottom = _inside(y + 0.5 - half, 2 * half, grey.shape[0])
        columns, left, right = _inside(x + 0.5 - half, 2 * half, grey.shape[1])
        if bottom > top and right > left:
            near = PillowImage.fromarray(grey[rows[2] : rows[3], columns[2] : columns[3]])
            box = (columns[0] - columns[2], rows[0] - rows[2], columns[1] - columns[2], rows[1] - rows[2])
            how = PillowImage.Resampling.BILINEAR
            crop[top:bottom, left:right] = near.resize((right - left, bottom - top), how, box=box)
    return Crops(cut, tuple(colours_of(table)))


def _inside(start: float, length: float, limit: int) -> tuple[tuple[float, float, int, int], int, int]:
    """Part of a stretch that lies in an image: its ends, the pixels that hold it, and its place in the crop."""
    low, high = max(start, 0.0), min(start + length, float(limit))
    first, last = (round((end - start) / length * CELL) for end in (low, high))
    return (low, high, math.floor(low), min(math.ceil(high), limit)), first, last


def encode_crops(crops: Crops) -> bytes:
    """Return crops as the bytes of a PNG file, one below the other."""
    count = len(crops.pixels)
    strip = PillowImage.fromarray(crops.pixels.reshape(-1, CELL) if count else np.zeros((1, 1), np.uint8))
    notes = PngImagePlugin.PngInfo()
    notes.add_text(_MARK, ",".join(map(str, crops.colours)))
    buffer = io.BytesIO()
    strip.save(buffer, format="PNG", compress_level=1, compress_type=3, pnginfo=notes)
    return buffer.getvalue()


def read_crops(path: str | os.PathLike[str]) -> Crops:
    """Read the crops of an image back.

    Parameters
    ----------
    path
        A file that the pipeline wrote for its montages.

    Raises
    ------
    ValueError
        When the file is none of ours.
    OSError
        When it cannot be read.
    """
    with PillowImage.open(path, formats=["PNG"]) as strip:
        text = strip.text.get(_MARK)
        if text is None:
            raise ValueError(f"{path} must hold crops that the pipeline wrote.")
        colours = tuple(int(word) for word in text.split(",") if word)
        pixels = np.asarray(strip)
    if colours and pixels.shape != (len(colours) * CELL, CELL):
        raise ValueError(f"{path} must hold {len(colours)} crops; its shape is {pixels.shape}.")
    return Crops(
        pixels.reshape(-1, CELL, CELL)[: len(colours)] if colours else np.zeros((0, CELL, CELL), np.uint8), colours
    )


def share_out(counts: Sequence[int], most: int = MOST) -> list[int]:
    """Return how many crops each image may show, so that all images show some and few show all of theirs.

    Examples
    --------
    >>> share_out([2, 9, 9], 12)
    [2, 5, 5]
    """
    shares = [0] * len(counts)
    left = most
    # those with the fewest first: what they leave goes to the others
    for place, number in enumerate(sorted(range(len(counts)), key=lambda each: (counts[each], each))):
        shares[number] = min(counts[number], left // (len(counts) - place))
        left -= shares[number]
    return shares


def make_montage(
    images: Sequence[tuple[str, Crops]], *, title: str = "", total: int | None = None
) -> PillowImage.Image:
    """Put the crops of several images side by side, with field of view and number of each.

    Parameters
    ----------
    images
        For each its field of view and its crops, in the order wanted.
    title
        Written above.
    total
        How many circles there are, when some have no crop; told in the title.

    Returns
    -------
    PIL.Image.Image
        With our palette.
    """
    shares = share_out([len(crops.pixels) for _, crops in images])
    cells = [
        (f"{fov}/{number}", crops.pixels[number], crops.colours[number])
        for (fov, crops), share in zip(images, shares, strict=True)
        for number in range(share)
    ]
    total = sum(len(crops.pixels) for _, crops in images) if total is None else total
    words = f"{len(cells)} of {total} circles" if total > len(cells) else f"{total} circles"
    across = max(4, math.ceil(math.sqrt(1.3 * len(cells))))
    down = math.ceil(len(cells) / across)
    width, height = CELL + _GAP, CELL + _LABEL + _GAP
    canvas = np.full((_TITLE + down * height + _GAP, across * width + _GAP), 24, np.uint8)
    corners = [(_GAP + number % across * width, _TITLE + number // across * height) for number in range(len(cells))]
    for (_, crop, colour), (left, top) in zip(cells, corners, strict=True):
        canvas[top : top + CELL, left : left + CELL] = crop
        if colour not in (FULL, PARTLY):
            for edge in (
                np.s_[top : top + 2, left : left + CELL],
                np.s_[top + CELL - 2 : top + CELL, left : left + CELL],
                np.s_[top : top + CELL, left : left + 2],
                np.s_[top : top + CELL, left + CELL - 2 : left + CELL],
            ):
                canvas[edge] = colour
    picture = PillowImage.fromarray(canvas)
    picture.putpalette(palette())
    draw = ImageDraw.Draw(picture)
    font = font_of(10)
    for (label, _, _), (left, top) in zip(cells, corners, strict=True):
        draw.text((left, top + CELL), _shortened(label, CELL), fill=GREYS - 30, font=font)
    heading = f"{title}: {words}" if title else words
    draw.text((_GAP, 4), _shortened(heading, canvas.shape[1] - 2 * _GAP, 12), fill=GREYS - 1, font=font_of(12))
    return picture


def _shortened(text: str, width: int, size: int = 10) -> str:
    """The end of a text that fits: numbers stand at the end."""
    text = " ".join(text.split())
    if font_of(size).getlength(text) <= width:
        return text
    while len(text) > 1 and font_of(size).getlength(f"…{text}") > width:
        text = text[1:]
    return f"…{text}"


def encode_montage(picture: PillowImage.Image, mark: str) -> bytes:
    """Return a montage as the bytes of a PNG file that says what it was made of.

    Parameters
    ----------
    picture
        With our palette.
    mark
        Told by `read_mark`.
    """
    notes = PngImagePlugin.PngInfo()
    notes.add_text(_MARK, mark)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", compress_level=1, compress_type=3, pnginfo=notes)
    return buffer.getvalue()


def read_mark(path: str | os.PathLike[str]) -> str:
    """Return what a montage was made of; empty when it is none of ours, or not there."""
    try:
        with open(path, "rb") as handle:
            start = handle.read(2048)
    except OSError:
        return ""
    before, found, after = start.partition(f"tEXt{_MARK}\0".encode())
    return after[:32].decode("ascii", "replace") if before and found else ""
