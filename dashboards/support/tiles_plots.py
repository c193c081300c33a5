"""Pictures of the tiles instrument: pixels and a layout in, a HoloViews element out, no state.

The image is drawn with its first row on top; places are columns, and rows counted from the bottom.
"""

from __future__ import annotations

import holoviews as hv
import numpy as np

from analysis.tiles import Layout
from dashboards.support.colours import ACCENT, CURVE, LINE_RED, SOFT
from dashboards.support.looks import framed, limited, plain

MOST_HEIGHT = 0.78
"""Height of the image over its width, at most: a tall image is drawn in the middle of a frame of this shape."""
_TILE_PX = 400
_FAINT_FROM = 400  # tiles, from which on their fill would hide the image


def plot_image(preview: np.ndarray | None, shape: tuple[int, int], *, title: str = "") -> hv.RGB:
    """The image whose tiles are laid out.

    Parameters
    ----------
    preview : (h, w) or (h, w, 3) array of uint8, or None
        The image, thinned; None for nothing.
    shape
        (rows, columns) of the whole image.
    title
        Words above it.

    Returns
    -------
    holoviews.RGB
        In a frame of at most `MOST_HEIGHT`.
    """
    rows, columns = shape
    pixels = np.full((2, 2), 128, np.uint8) if preview is None else preview
    height = min(max(rows / columns, 0.35), MOST_HEIGHT)
    width_shown = max(columns, rows / height)
    height_shown = width_shown * height
    left, low = (columns - width_shown) / 2, (rows - height_shown) / 2
    pad = 0.012 * width_shown
    x, y = (left - pad, left + width_shown + pad), (low - pad * height, low + height_shown + pad * height)
    return _rgb(pixels, (0, 0, columns, rows)).opts(
        responsive=True,
        height=360,
        xaxis=None,
        yaxis=None,
        xlim=x,
        ylim=y,
        title=title,
        fontsize={"title": "9.5pt"},
        active_tools=[],
        default_tools=["pan", "wheel_zoom", "box_zoom", "reset"],
        hooks=[plain, framed(height), limited(x, y)],
    )


def plot_grid(layout: Layout | None, empty: np.ndarray | None = None, *, all_tiles: bool = True) -> hv.Rectangles:
    """All tiles as one glyph; where they overlap the fill is stronger, and empty ones are struck out in ochre.

    Parameters
    ----------
    layout
        Where the tiles lie.
    empty : (tiles,) array of bool
        Tiles that are left out.
    all_tiles
        Draw none when False.
    """
    names = ["line", "fill", "alpha"]
    if layout is None or not all_tiles:
        return _styled(hv.Rectangles([], vdims=names))
    empty = np.zeros(len(layout), bool) if empty is None or len(empty) != len(layout) else empty
    x0, y0, x1, y1 = _sides(layout, np.arange(len(layout)))
    fill = np.where(empty, CURVE, ACCENT)
    alpha = np.where(empty, 0.42, 0.10 if len(layout) < _FAINT_FROM else 0.04)
    line = np.where(empty, CURVE, SOFT)
    return _styled(hv.Rectangles((x0, y0, x1, y1, line, fill, alpha), vdims=names))


def _styled(rectangles: hv.Rectangles) -> hv.Rectangles:
    return rectangles.opts(
        line_color="line", fill_color="fill", fill_alpha="alpha", line_width=1, line_alpha=0.85, hooks=[_named("tiles")]
    )


def plot_chosen(layout: Layout | None, number: int) -> hv.Rectangles:
    """The tile looked at, as a frame."""
    sides = [] if layout is None or number >= len(layout) else [_sides(layout, np.array([number]))]
    places = [tuple(float(side[0]) for side in one) for one in sides]
    return hv.Rectangles(places).opts(
        line_color=LINE_RED, line_width=3, fill_alpha=0.0, fill_color=LINE_RED, hooks=[_named("chosen")]
    )


def _sides(layout: Layout, numbers: np.ndarray) -> tuple[np.ndarray, ...]:
    top, left, bottom, right = layout.corners[numbers].T
    rows = layout.shape[0]
    return left, rows - bottom, right, rows - top


def _named(name: str):
    def hook(plot, element):
        plot.handles["glyph_renderer"].name = name

    return hook


def tile_at(layout: Layout, row: float, column: float) -> int | None:
    """Return the tile at a place, of several the one whose middle is nearest; None beside all tiles."""
    corners = layout.corners
    inside = (corners[:, 0] <= row) & (row < corners[:, 2]) & (corners[:, 1] <= column) & (column < corners[:, 3])
    if not inside.any():
        return None
    middle = (corners[:, :2] + corners[:, 2:]) / 2
    away = np.hypot(middle[:, 0] - row, middle[:, 1] - column)
    return int(np.where(inside, away, np.inf).argmin())


def plot_tile(pixels: np.ndarray | None, *, title: str = "") -> hv.RGB:
    """One tile.

    Parameters
    ----------
    pixels : (h, w) or (h, w, 3) array of uint8, or None
        The tile; None for nothing.
    title
        Words above it.
    """
    grey = np.full((2, 2), 128, np.uint8) if pixels is None else pixels
    step = max(1, -(-max(grey.shape[:2]) // _TILE_PX))
    return _rgb(grey[::step, ::step], (0, 0, 1, 1)).opts(
        responsive=True,
        height=220,
        xaxis=None,
        yaxis=None,
        xlim=(0, 1),
        ylim=(0, 1),
        title=title,
        fontsize={"title": "9pt"},
        toolbar=None,
        default_tools=[],
        hooks=[plain, framed(1.0)],
    )


def _rgb(pixels: np.ndarray, bounds: tuple[float, float, float, float]) -> hv.RGB:
    colours = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
    return hv.RGB(np.ascontiguousarray(colours[..., :3]), bounds=bounds, kdims=["column", "row"])


def plot_histogram(
    counts: np.ndarray, edges: np.ndarray, between: tuple[float, float] | None, *, title: str = ""
) -> hv.Overlay:
    """How often values occur, on a logarithmic scale, and the two values that become the bounds.

    Parameters
    ----------
    counts : (n,) array
        Pixels.
    edges : (n + 1,) array
        Values between which they lie.
    between
        Values that become the bounds; None when values stay as they are.
    title
        Words above it.
    """
    heights = np.log10(1 + np.asarray(counts, float))
    bars = hv.Histogram((edges, heights), kdims=["value"], vdims=["pixels"]).opts(color=SOFT, line_color=None)
    lines = hv.VLines(list(between or ())).opts(color=LINE_RED, line_width=2)
    span = float(edges[-1] - edges[0]) or 1.0
    ends = [float(edges[0]), float(edges[-1]), *(between or ())]
    x = (min(ends) - 0.02 * span, max(ends) + 0.02 * span)
    y = (0.0, float(max(heights.max(initial=0), 0.1) * 1.08))
    return (bars * lines).opts(
        responsive=True,
        height=200,
        xlim=x,
        ylim=y,
        yaxis=None,
        xlabel="",
        title=title,
        fontsize={"title": "9pt"},
        toolbar=None,
        default_tools=[],
        show_legend=False,
        hooks=[plain, limited(x, y)],
    )
