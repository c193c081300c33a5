"""One picture of all duplicates: each bad exposure beside the one it repeats, with foil holes, times and cause."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from analysis.exposures._duplicates import Duplicates
from analysis.exposures._images import SessionImages
from analysis.files import whole_file
from analysis.images import read_preview

MOST_PIXELS = 60_000_000
_SMALLEST_TILE_PX = 64
_PAPER, _INK, _FAINT, _MISSING = 255, 20, 110, 200
_NAMED_TIME = re.compile(r"_(\d{4})(\d\d)(\d\d)_(\d\d)(\d\d)(\d\d)$")


def make_montage(
    duplicates: Duplicates,
    images: SessionImages,
    *,
    pairs_per_row: int = 4,
    most_pairs: int = 100,
    tile_px: int = 256,
    resize: bool = False,
    foil: bool = True,
) -> np.ndarray:
    """Draw pairs of exposures of one place: first and second micrograph, their foil holes below them.

    Each exposure that repeats an earlier one makes one pair, with the exposure its cause was judged by; pairs are in
    order of acquisition.

    Parameters
    ----------
    duplicates
        As `find_duplicates` returns it.
    images
        As `find_images` returns it.
    pairs_per_row
        Pairs beside each other; none is cut over two rows.
    most_pairs
        Later pairs are left out, which the heading says.
    tile_px
        Rows and columns of each picture; fewer when the whole would be larger than 60 million pixels.
    resize
        Halve the pictures.
    foil
        Whether to draw the foil holes.

    Returns
    -------
    numpy.ndarray
        (rows, columns) of uint8. A picture that is missing or damaged is a grey tile that says so; without any pair
        there is the heading only.

    Raises
    ------
    ValueError
        When the session has no pictures at all, or a number is below 1.
    """
    _check(images, pairs_per_row=pairs_per_row, most_pairs=most_pairs, tile_px=tile_px)
    every = np.flatnonzero(duplicates.exposures["judged_by"].to_numpy() >= 0)
    pairs = [_describe(duplicates, images, row, foil) for row in every[:most_pairs]]
    tile = max(tile_px // (2 if resize else 1), 1)
    layout = _lay_out(pairs, tile, pairs_per_row, foil)
    while layout.pixels > MOST_PIXELS and layout.tile > _SMALLEST_TILE_PX:
        layout = _lay_out(pairs, max(_SMALLEST_TILE_PX, int(0.9 * layout.tile)), pairs_per_row, foil)
    while layout.pixels > MOST_PIXELS and len(pairs) > 1:
        pairs = pairs[: int(0.9 * len(pairs))]
        layout = _lay_out(pairs, layout.tile, pairs_per_row, foil)
    canvas = Image.new("L", (layout.width, layout.height), _PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((layout.gap, layout.gap), _heading(duplicates, len(pairs), len(every)), _INK, layout.font)
    for number, pair in enumerate(pairs):
        _draw_pair(canvas, draw, pair, layout, *divmod(number, pairs_per_row))
    return np.asarray(canvas)


def save_montage(path: str | os.PathLike[str], duplicates: Duplicates, images: SessionImages, **options: Any) -> Path:
    """Write what `make_montage` draws as PNG, whole or not at all.

    Parameters
    ----------
    path
        The file.
    duplicates, images, **options
        As in `make_montage`.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ValueError
        As `make_montage`.
    OSError
        When the file cannot be written.
    """
    pixels = make_montage(duplicates, images, **options)
    with whole_file(path) as handle:
        Image.fromarray(pixels).save(handle, format="PNG")
    return Path(path)


def _check(images: SessionImages, **numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} must be at least 1; got {number}.")
    found = images.summary()
    if not found["micrographs"] and not found["foil_hole_images"]:
        raise ValueError(
            f"{images.folder} must hold pictures for a montage; got none: neither .jpg, .jpeg or .png files beside the "
            "XML files, nor GridSquare_*/FoilHoles/FoilHole_<hole>_<date>_<time>.jpg. EPU writes both; copy them too."
        )


@dataclass(frozen=True)
class _Tile:
    path: Path | None
    caption: tuple[str, ...]


@dataclass(frozen=True)
class _Pair:
    heading: str
    rows: tuple[tuple[_Tile, _Tile], ...]


def _describe(duplicates: Duplicates, images: SessionImages, row: int, foil: bool) -> _Pair:
    exposures = duplicates.exposures
    both = [exposures.iloc[int(exposures["judged_by"].iloc[row])], exposures.iloc[row]]
    first, second = both
    apart = math.hypot(second["x_um"] - first["x_um"], second["y_um"] - first["y_um"])
    heading = f"{second['cause']}, {apart:.3f} um apart{_later(second['acquired'] - first['acquired'])}"
    micrographs = tuple(
        _Tile(images.path(one["file"]), (one["name"], f"{_time(one)}, {'bad' if one['bad'] else 'kept'}"))
        for one in both
    )
    holes = tuple(_Tile(images.path(one["file"], "foil_hole_image"), (_hole_time(images, one),)) for one in both)
    return _Pair(heading, (micrographs, holes) if foil else (micrographs,))


def _later(waited) -> str:
    if waited != waited:  # no time is known
        return ""
    minutes = waited.total_seconds() / 60
    return f", {minutes:.1f} min later" if minutes < 120 else f", {minutes / 60:.1f} h later"


def _time(one) -> str:
    """Return the local time in the exposure's name, as names of foil holes have it; else that of the XML."""
    if match := _NAMED_TIME.search(one["name"]):
        return "{}-{}-{} {}:{}:{}".format(*match.groups())
    return f"{one['acquired']:%Y-%m-%d %H:%M:%S} UTC" if one["acquired"] == one["acquired"] else "no time"


def _hole_time(images: SessionImages, one) -> str:
    time = images.foil_hole_time(one["file"])
    return f"foil hole, {time:%Y-%m-%d %H:%M:%S}" if time == time else "foil hole"


def _heading(duplicates: Duplicates, shown: int, found: int) -> str:
    within = f"radius {duplicates.radius_um:.4g} um"
    if not found:
        return f"No duplicates, {within}"
    return f"{found} duplicates, {within}" if shown == found else f"The first {shown} of {found} duplicates, {within}"


# ----------------------------------------------------------------------------------------------------- layout


@dataclass(frozen=True)
class _Layout:
    tile: int
    gap: int
    font: Any
    line: int
    heading_lines: int
    caption_lines: tuple[int, ...]
    cell_width: int
    cell_height: int
    width: int
    height: int

    @property
    def pixels(self) -> int:
        return self.width * self.height


def _lay_out(pairs: list[_Pair], tile: int, pairs_per_row: int, foil: bool) -> _Layout:
    size = max(10, round(tile / 18))
    font, gap, line = ImageFont.load_default(size), max(4, tile // 32), math.ceil(1.35 * size)
    heading_lines = max((len(_wrap(pair.heading, 2 * tile + gap, font)) for pair in pairs), default=1)
    captions = tuple(
        max((_count_lines(tile_.caption, tile, font) for pair in pairs for tile_ in pair.rows[row]), default=1)
        for row in range(2 if foil else 1)
    )
    cell_width = 2 * tile + gap
    cell_height = line * heading_lines + sum(tile + line * lines + gap for lines in captions)
    columns, rows = min(pairs_per_row, max(len(pairs), 1)), math.ceil(len(pairs) / pairs_per_row)
    width = max(columns * (cell_width + 4 * gap), 40 * size)
    height = 2 * gap + 2 * line + rows * (cell_height + 3 * gap)
    return _Layout(tile, gap, font, line, heading_lines, captions, cell_width, cell_height, width, height)


def _wrap(text: str, width: int, font: Any) -> list[str]:
    """Break a text after spaces and underscores so that its lines are no wider than asked for."""
    lines = [""]
    for word in re.findall(r"[^ _]*[ _]?", text):
        if lines[-1] and font.getlength((lines[-1] + word).rstrip()) > width:
            lines.append("")
        lines[-1] += word
    return lines


def _count_lines(caption: tuple[str, ...], width: int, font: Any) -> int:
    return sum(len(_wrap(text, width, font)) for text in caption)


def _draw_pair(canvas, draw, pair: _Pair, layout: _Layout, row: int, column: int) -> None:
    gap, line = layout.gap, layout.line
    left = 2 * gap + column * (layout.cell_width + 4 * gap)
    top = 2 * gap + 2 * line + row * (layout.cell_height + 3 * gap)
    frame = (left - gap, top - gap, left + layout.cell_width + gap, top + layout.cell_height)
    draw.rectangle(frame, outline=_MISSING)
    _write(draw, (left, top), [pair.heading], layout.cell_width, layout, _INK)
    top += line * layout.heading_lines
    for tiles, lines in zip(pair.rows, layout.caption_lines, strict=True):
        for side, tile in enumerate(tiles):
            x = left + side * (layout.tile + gap)
            canvas.paste(_picture(tile.path, layout), (x, top))
            _write(draw, (x, top + layout.tile), tile.caption, layout.tile, layout, _FAINT)
        top += layout.tile + line * lines + gap


def _write(draw, corner: tuple[int, int], texts, width: int, layout: _Layout, ink: int) -> None:
    lines = [part for text in texts for part in _wrap(text, width, layout.font)]
    for number, text in enumerate(lines):
        draw.text((corner[0], corner[1] + number * layout.line), text, ink, layout.font)


def _picture(path: Path | None, layout: _Layout) -> Image.Image:
    """Return the picture in the middle of a square tile, its contrast spread; else words."""
    tile = Image.new("L", (layout.tile, layout.tile), _MISSING)
    words = "no image"
    if path is not None:
        try:
            pixels = read_preview(path, longest_px=layout.tile).astype(float)
            low, high = np.percentile(pixels, (1, 99))
            pixels = np.clip((pixels - low) * (255 / max(high - low, 1)), 0, 255).astype(np.uint8)
            small = Image.fromarray(pixels)
            enlarged = layout.tile / max(small.size)
            small = small.resize([max(1, round(side * enlarged)) for side in small.size])
            tile.paste(small, tuple((layout.tile - side) // 2 for side in small.size))
            return tile
        except (ValueError, OSError):
            words = "image cannot be read"
    draw = ImageDraw.Draw(tile)
    lines = _wrap(words, layout.tile, layout.font)
    for number, text in enumerate(lines):
        x = (layout.tile - layout.font.getlength(text)) / 2
        draw.text((x, layout.tile / 2 + (number - len(lines) / 2) * layout.line), text, _INK, layout.font)
    return tile
