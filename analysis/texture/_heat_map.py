"""One picture of the whole set: its tiles in grey, and the patches' clusters, classes or a statistic over them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from analysis.files import whole_file
from analysis.texture._clusters import Clusters
from analysis.texture._corrections import Correction
from analysis.texture._drawing import colour_of, shade
from analysis.texture._mosaic import Mosaic, read_mosaic
from analysis.texture._outputs import refuse_tiles
from analysis.texture._patches import Patches

_TAILS = (1, 99)
_ROW_PX = 24


def write_heat_map(
    result: Patches | Clusters | Correction,
    path: str | os.PathLike[str],
    *,
    statistic: str | None = None,
    opacity: float = 0.45,
    longest_px: int = 2000,
    mosaic: Mosaic | None = None,
) -> Path:
    """Write the set as a PNG picture, the clusters, classes or one statistic of its patches over it, and a legend.

    Parameters
    ----------
    result
        As `cluster_patches`, `correct_labels` or `measure_patches` returns it.
    path
        PNG file, replaced in one step.
    statistic
        What is shown in place of clusters or classes, from dark blue to yellow; the colours span 1 to 99 % of the
        patches.
    opacity
        Of the colours, 0 to 1.
    longest_px
        Longer side of the set in the picture.
    mosaic
        The set as it was read before, in place of reading it with that size.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ValueError
        When the path does not end with .png or is one of the tiles, the opacity or the size is out of range, or the
        statistic was not measured.
    OSError
        When a tile cannot be read, or the picture cannot be written.
    """
    path = Path(path)
    patches = result if isinstance(result, Patches) else result.patches
    if path.suffix.lower() != ".png":
        raise ValueError(f"path must end with .png; got {path}.")
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity must be from 0 to 1; got {opacity}.")
    if statistic is None and isinstance(result, Patches):
        statistic = patches.statistics[0]
    if statistic is not None and statistic not in patches.statistics:
        raise ValueError(f"statistic must be one of {', '.join(patches.statistics)}; got {statistic!r}.")
    refuse_tiles(patches, [path])
    colours, shown, legend = _colour_patches(result, patches, statistic)
    mosaic = mosaic or read_mosaic(patches.tile_set, longest_px=longest_px)
    place = mosaic.number_pixels(patches)
    picture = np.repeat(mosaic.pixels[:, :, None], 3, axis=2).astype(float)
    covered = (place >= 0) & shown[place]
    picture[covered] = (1 - opacity) * picture[covered] + opacity * colours[place[covered]]
    image = _add_legend(picture.round().astype(np.uint8), legend)
    with whole_file(path) as handle:
        image.save(handle, "PNG")
    return path


def _colour_patches(
    result: Patches | Clusters | Correction, patches: Patches, statistic: str | None
) -> tuple[np.ndarray, np.ndarray, list[tuple[str, tuple[int, int, int]]]]:
    """Return a colour for each patch, whether it has one, and the words of the legend with their colours."""
    if statistic is None:
        names = result.names
        palette = np.array([(0, 0, 0), *(colour_of(number) for number in names)], float)
        return (
            palette[np.maximum(result.numbers, 0)],
            result.numbers > 0,
            [(name, colour_of(number)) for number, name in names.items()],
        )
    values = patches.table[statistic].to_numpy(float)
    shown = np.isfinite(values) & ~patches.table["left_out"].to_numpy(bool)
    low, high = np.percentile(values[shown], _TAILS) if shown.any() else (0.0, 1.0)
    marks = np.linspace(low, high, 5)
    words = [f"{mark:.4g}" for mark in marks]
    words[0] = f"{statistic} {words[0]}"
    legend = [
        (word, tuple(int(part) for part in shade(mark, (low, high)))) for word, mark in zip(words, marks, strict=True)
    ]
    return shade(values, (low, high)).astype(float), shown, legend


def _add_legend(picture: np.ndarray, legend: list[tuple[str, tuple[int, int, int]]]) -> Image.Image:
    """Put the legend below the picture, in as many rows as it needs."""
    font = ImageFont.load_default(13)
    width = max(picture.shape[1], 200)
    places, left, row = [], 8, 0
    for words, colour in legend:
        shown = words if len(words) <= 40 else f"{words[:39]}…"
        needed = int(font.getlength(shown)) + 34
        if left + needed > width and left > 8:
            left, row = 8, row + 1
        places.append((shown, colour, left, row))
        left += needed
    image = Image.new("RGB", (width, picture.shape[0] + (row + 1) * _ROW_PX + 6), "white")
    image.paste(Image.fromarray(picture), (0, 0))
    pen = ImageDraw.Draw(image)
    for shown, colour, left, row in places:
        top = picture.shape[0] + 6 + row * _ROW_PX
        pen.rectangle((left, top, left + 13, top + 13), fill=colour, outline="black")
        pen.text((left + 19, top - 1), shown, fill="black", font=font)
    return image
