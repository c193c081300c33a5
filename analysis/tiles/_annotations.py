"""Boxes and outlines in YOLO's text files, cut along with the images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

LEAST_VISIBLE = 0.2
"""Boxes of which a smaller share lies in a tile are left out of it."""


def read_labels(path: str | os.PathLike[str]) -> list[tuple[int, np.ndarray]]:
    """Read a YOLO label file: a class and a box, or a class and an outline, in each line.

    Parameters
    ----------
    path
        Text. ``class x y width height`` with the box's centre, or ``class x y x y x y ...``; shares of the image from
        0 to 1.

    Returns
    -------
    list
        Class, and (4,) for a box or (points, 2) for an outline; x before y.

    Raises
    ------
    ValueError
        With file and line, when a line is neither.
    """
    found = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            kind, *numbers = line.split()
            values = np.array([float(value) for value in numbers])
            if not float(kind).is_integer() or not np.isfinite(values).all():
                raise ValueError
        except ValueError:
            raise ValueError(f"{path}, line {number}, must hold a whole number and numbers; got {line!r}.") from None
        if len(values) == 4:
            found.append((int(float(kind)), values))
        elif len(values) >= 6 and len(values) % 2 == 0:
            found.append((int(float(kind)), values.reshape(-1, 2)))
        else:
            raise ValueError(
                f"{path}, line {number}, must hold a class and 4 numbers of a box, or 3 or more points; "
                f"got {len(values)} numbers."
            )
    return found


def cut_labels(
    labels: Sequence[tuple[int, np.ndarray]],
    shape: tuple[int, int],
    corner: Sequence[int],
    *,
    least_visible: float = LEAST_VISIBLE,
) -> list[tuple[int, np.ndarray]]:
    """Return the labels of a tile, as shares of the tile.

    Parameters
    ----------
    labels
        Of the whole image, as `read_labels` gives them.
    shape
        (rows, columns) of the image that the tile is cut from.
    corner
        ``y0, x0, y1, x1`` of the tile in that image.
    least_visible
        A label of which a smaller share of its area lies in the tile is left out.

    Returns
    -------
    list
        As from `read_labels`; boxes and outlines end at the border of the tile.
    """
    rows, columns = shape
    top, left, bottom, right = corner
    size = np.array([right - left, bottom - top], float)
    kept = []
    for kind, values in labels:
        if values.ndim == 1:
            centre, extent = values[:2] * (columns, rows), values[2:] * (columns, rows)
            low, high = centre - extent / 2, centre + extent / 2
            inner_low, inner_high = np.maximum(low, (left, top)), np.minimum(high, (right, bottom))
            inside = np.maximum(inner_high - inner_low, 0)
            if inside.prod() <= 0 or inside.prod() < least_visible * extent.prod():
                continue
            middle = (inner_low + inner_high) / 2 - (left, top)
            kept.append((kind, np.concatenate([middle / size, inside / size])))
        else:
            outline = values * (columns, rows)
            clipped = _clip(outline, (left, top), (right, bottom))
            area = _area(clipped)
            if len(clipped) < 3 or area <= 0 or area < least_visible * _area(outline):
                continue
            kept.append((kind, (clipped - (left, top)) / size))
    return kept


def format_labels(labels: Sequence[tuple[int, np.ndarray]]) -> str:
    """Return labels as the text of a YOLO file."""
    return "".join(f"{kind} {' '.join(f'{value:.6f}' for value in values.ravel())}\n" for kind, values in labels)


def _area(outline: np.ndarray) -> float:
    """Area of a polygon (the shoelace formula)."""
    x, y = outline.T if len(outline) else (np.zeros(0), np.zeros(0))
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def _clip(outline: np.ndarray, low: tuple[float, float], high: tuple[float, float]) -> np.ndarray:
    """Cut a polygon at a rectangle, one side after the other (Sutherland and Hodgman)."""
    for axis in range(2):
        for limit, sign in ((low[axis], 1.0), (high[axis], -1.0)):
            if not len(outline):
                return outline
            inside = sign * (outline[:, axis] - limit) >= 0
            points = []
            for here, there, here_in, there_in in zip(
                outline, np.roll(outline, -1, axis=0), inside, np.roll(inside, -1), strict=True
            ):
                if here_in:
                    points.append(here)
                if here_in != there_in:
                    share = (limit - here[axis]) / (there[axis] - here[axis])
                    points.append(here + share * (there - here))
            outline = np.array(points).reshape(-1, 2)
    return outline
