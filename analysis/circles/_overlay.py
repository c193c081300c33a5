"""A picture of an image with its circles drawn in, for eyes: grey, with few colours, quick to write."""

from __future__ import annotations

import functools
import io
import math
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from analysis.circles._pixels import convert_to_grey

GREYS = 240
"""Steps of grey; the rest of the palette is for colours."""
FULL, PARTLY, BORDER, OVERLAP, WEAK, INK = range(GREYS, GREYS + 6)
COLOURS = {
    FULL: (86, 180, 233),
    PARTLY: (0, 200, 140),
    BORDER: (240, 228, 66),
    OVERLAP: (230, 130, 230),
    WEAK: (255, 110, 30),
    INK: (0, 0, 0),
}
"""After Okabe and Ito, whose colours most colour-blind people tell apart; brighter, for they lie on grey."""
WELL_SUPPORTED = 0.6
_DASHES = 14
_LEAST_NUMBERED = 5.0
"""Radius in pixels from which a circle has room for a number."""
_SAMPLE = 65_536
_SHARES = (0.1, 99.9)


def draw_overlay(pixels: np.ndarray, circles: Any) -> PillowImage.Image:
    """Draw circles and their numbers into an image.

    Circles are blue where at least 60 % of the outline is seen and green where less is; yellow where the frame cuts
    them, pink where they overlap, orange and dashed where they are weak. Images of other numbers than 8 bits are
    stretched from their 0.1th to their 99.9th percentile.

    Parameters
    ----------
    pixels
        (rows, columns) or (rows, columns, 1, 3 or 4), any number type.
    circles
        `Circles`, or their table.

    Returns
    -------
    PIL.Image.Image
        Of the same size, with a palette of 240 greys and the colours.
    """
    return draw_on_grey(stretch_grey(pixels), getattr(circles, "table", circles))


def draw_on_grey(grey: np.ndarray, table: pd.DataFrame) -> PillowImage.Image:
    """Draw circles into an image that is in steps of grey already.

    Parameters
    ----------
    grey
        (rows, columns) of uint8, as `stretch_grey` makes it.
    table
        The circles.
    """
    picture = PillowImage.fromarray(grey)
    picture.putpalette(palette())
    draw_circles(picture, table)
    return picture


@functools.cache
def palette() -> list[int]:
    greys = np.repeat(np.rint(np.arange(GREYS) * (255 / (GREYS - 1))).astype(int), 3).tolist()
    return greys + [part for colour in COLOURS.values() for part in colour]


def stretch_grey(pixels: np.ndarray) -> np.ndarray:
    """Return an image as steps of grey from 0 to 239.

    Parameters
    ----------
    pixels
        (rows, columns) or (rows, columns, 1, 3 or 4), any number type; what is not finite becomes black.

    Returns
    -------
    numpy.ndarray
        (rows, columns) of uint8.
    """
    pixels = np.asarray(pixels)
    if pixels.ndim == 3:
        grey = convert_to_grey(pixels)[0]
        pixels = np.rint(grey).astype(np.uint8) if pixels.dtype == np.uint8 else grey
    if pixels.dtype == bool:
        pixels = pixels * np.uint8(255)
    step = max(1, math.isqrt(pixels.size // _SAMPLE))
    low, high = _ends(pixels[::step, ::step])
    if pixels.dtype in (np.uint8, np.uint16):
        values = np.arange(np.iinfo(pixels.dtype).max + 1, dtype=np.float32)
        return _steps(values, low, high)[pixels]
    return _steps(pixels, low, high)


def _ends(sample: np.ndarray) -> tuple[float, float]:
    """Values that become black and white."""
    if sample.dtype == np.uint8:
        low, high = float(sample.min()), float(sample.max())
        # an 8-bit picture is shown as it is, unless nothing would be seen
        return (0.0, 255.0) if high - low > 64 else (low, max(high, low + 4))
    finite = sample[np.isfinite(sample)]
    if not finite.size:
        return 0.0, 1.0
    low, high = np.percentile(finite, _SHARES)
    # of an image that is nearly all one value the rest is shown
    return (float(low), float(high)) if high > low else (float(finite.min()), float(finite.max()))


def _steps(values: np.ndarray, low: float, high: float) -> np.ndarray:
    # wide enough for large numbers that differ little
    kind = np.result_type(values, np.float32).type
    scaled = (values - kind(low)) * kind((GREYS - 1) / (high - low if high > low else 1.0))
    scaled = np.nan_to_num(scaled, copy=False, nan=0.0, posinf=GREYS - 1, neginf=0.0)
    return np.clip(scaled, 0, GREYS - 1, out=scaled).astype(np.uint8)


def colours_of(table: pd.DataFrame) -> list[int]:
    """Return the place in the palette of each circle's colour."""
    flags = [table[name].to_numpy(dtype=bool).tolist() for name in ("weak", "overlap", "border")]
    supports = table["support"].tolist()
    return [
        WEAK if weak else OVERLAP if overlap else BORDER if border else FULL if support >= WELL_SUPPORTED else PARTLY
        for weak, overlap, border, support in zip(*flags, supports, strict=True)
    ]


def draw_circles(picture: PillowImage.Image, table: pd.DataFrame) -> None:
    """Draw circles with their numbers into a picture with our palette; line and numbers grow with it."""
    draw = ImageDraw.Draw(picture)
    side = min(picture.size)
    width = max(2, round(side / 400)) if side > 100 else 1
    largest = int(np.clip(side / 36, 12, 120))
    places = zip(table["x_px"].tolist(), table["y_px"].tolist(), table["r_px"].tolist(), strict=True)
    for number, ((x, y, r), colour) in enumerate(zip(places, colours_of(table), strict=True)):
        # Pillow cuts fractions off, and draws the line inside of the box
        outer = r + (width - 1) / 2
        box = [round(x - outer), round(y - outer), round(x + outer), round(y + outer)]
        if colour == WEAK:
            turn = 360 / _DASHES
            for dash in range(_DASHES):
                draw.arc(box, dash * turn, (dash + 0.6) * turn, fill=colour, width=width)
        else:
            draw.ellipse(box, outline=colour, width=width)
        if r > _LEAST_NUMBERED:
            _number(draw, (x, y), str(number), colour, int(np.clip(0.9 * r, 10, largest)))


def _number(draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, colour: int, size: int) -> None:
    """Write a number on a dark ground, which is read on any grey."""
    mask = _written(text, size)
    left, top = (round(at - length / 2) for at, length in zip(place, mask.size, strict=True))
    draw.rectangle((left, top, left + mask.size[0] - 1, top + mask.size[1] - 1), fill=INK)
    draw.bitmap((left, top), mask, fill=colour)


@functools.lru_cache(maxsize=4096)
def _written(text: str, size: int) -> PillowImage.Image:
    """Letters as a mask, with a little room around; numbers come back in every image."""
    room = 1 + size // 10
    left, top, right, bottom = font_of(size).getbbox(text)
    mask = PillowImage.new("1", (math.ceil(right - left) + 2 * room, math.ceil(bottom - top) + 2 * room))
    ImageDraw.Draw(mask).text((room - left, room - top), text, fill=1, font=font_of(size))
    return mask


@functools.cache
def font_of(size: int) -> Any:
    return ImageFont.load_default(size)


def encode_picture(picture: PillowImage.Image, kind: str) -> bytes:
    """Return a picture as the bytes of a PNG or JPEG file.

    Parameters
    ----------
    picture
        With our palette.
    kind
        ``"png"`` or ``"jpeg"``.
    """
    buffer = io.BytesIO()
    if kind == "jpeg":
        picture.convert("RGB").save(buffer, format="JPEG", quality=85)
    else:
        # runs and letters only: a third of the time of looking for repeats, which noise has none of
        picture.save(buffer, format="PNG", compress_level=1, compress_type=3)
    return buffer.getvalue()
