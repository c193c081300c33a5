"""Pictures as PNG files, drawn without a screen and without matplotlib's global state."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, ListedColormap
from matplotlib.figure import Figure

from analysis.files import whole_file
from analysis.flatfield import FlatfieldModel

LINE_RED = "#c1121f"
_HALO = "#ffffff"
NO_VALUE = "#c9ced6"
STATISTIC = "std of delta/sigma"
_FONT_PT = 8.0
_LINE_SPACING = 1.25
_DPI = 150
_LONGEST_NAME = 40
_PANEL_PX = 300


def save_matrix(
    values: np.ndarray,
    names: Sequence[str],
    path: str | os.PathLike[str],
    *,
    bounds: tuple[float, float] = (0.85, 1.15),
    lines: Sequence[int] = (),
    title: str = "",
) -> Path:
    """Save the statistic of all pairs of slides as a square picture.

    Parameters
    ----------
    values
        (slides, slides), in the order they are drawn; NaN is drawn grey.
    names
        Of the slides. As many are written as fit without touching.
    path
        PNG file.
    bounds
        Values at the ends of the colour scale, the first below the second; 1 is always white.
    lines
        Red lines go after this many slides.
    title
        Above the picture.

    Returns
    -------
    Path
        The file written.
    """
    values = np.asarray(values, dtype=float)
    count = len(names)
    if values.shape != (count, count) or not count:
        raise ValueError(f"values must have one row and column for each name; got {values.shape} and {count} names.")
    side_in = float(np.clip(6 + count / 16, 7, 14))
    figure, axes = new_figure(side_in, side_in)
    image = axes.imshow(
        values, cmap=diverging_colours(bounds), vmin=bounds[0], vmax=bounds[1], interpolation="none", aspect="equal"
    )
    for colour, width in ((_HALO, 3.2), (LINE_RED, 1.4)):  # the red alone is lost on dark green to some eyes
        for place in lines:
            axes.axhline(place - 0.5, color=colour, linewidth=width)
            axes.axvline(place - 0.5, color=colour, linewidth=width)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontsize=_FONT_PT + 3, loc="left", parse_math=False)
    bar = figure.colorbar(image, ax=axes, shrink=0.6, aspect=30, extend="both", pad=0.02)
    bar.set_label(STATISTIC, fontsize=_FONT_PT + 1)
    bar.ax.tick_params(labelsize=_FONT_PT)
    bar.outline.set_visible(False)
    _name_slides(axes, [_shortened(name) for name in names])
    return save_figure(figure, path)


def diverging_colours(bounds: tuple[float, float]) -> Colormap:
    """Return green to white to purple for a range of values, with white at 1 and equal slopes on both sides.

    Raises
    ------
    ValueError
        When the bounds do not rise.
    """
    low, high = bounds
    if not low < high:
        raise ValueError(f"bounds must be two rising numbers; got {low:g}, {high:g}.")
    reach = max(high - 1, 1 - low)
    share = 0.5 + (np.linspace(low, high, 256) - 1) / (2 * reach)
    colours = ListedColormap(colormaps["PRGn_r"](np.clip(share, 0, 1)))
    return colours.with_extremes(bad=NO_VALUE, under=colours(0), over=colours(255))


def new_figure(width_in: float, height_in: float) -> tuple[Figure, Axes]:
    """Return an empty figure of a size in inches, and its axes."""
    figure = Figure(figsize=(width_in, height_in), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


def _name_slides(axes: Axes, names: Sequence[str]) -> None:
    """Write as many names as fit; the room depends on how long they are, so measure and thin twice."""
    step = 1
    for _ in range(2):
        shown = range(0, len(names), step)
        labels = [names[i] for i in shown]
        axes.set_xticks(shown, labels, rotation=90, fontsize=_FONT_PT, parse_math=False)
        axes.set_yticks(shown, labels, fontsize=_FONT_PT, parse_math=False)
        axes.figure.draw_without_rendering()
        cell_pt = axes.get_window_extent().height / len(names) * 72 / _DPI
        step = max(1, math.ceil(_FONT_PT * _LINE_SPACING / cell_pt))
        if len(shown) <= math.ceil(len(names) / step):
            return


def save_field(
    layers: np.ndarray,
    path: str | os.PathLike[str],
    *,
    title: str = "",
    label: str = "",
    filter_groups: Sequence[str] = (),
    about_one: bool = False,
) -> Path:
    """Save all layers of an image as one sheet of small pictures on one scale.

    Parameters
    ----------
    layers
        (rows, columns, layers).
    path
        PNG file.
    title
        Above the sheet.
    label
        Of the colour bar, with the unit.
    filter_groups
        One name a layer.
    about_one
        Whether values are ratios: white at 1, green below, purple above.

    Returns
    -------
    Path
        The file written.
    """
    rows_px, columns_px, count = layers.shape
    across = min(count, 7)
    down = math.ceil(count / across)
    step = max(1, math.ceil(columns_px / _PANEL_PX))
    small = layers[::step, ::step].astype(float)
    bounds = _scale(small, about_one)
    colours = diverging_colours(bounds) if about_one else colormaps["cividis"]
    panel_in, gap_in, bar_in = max(1.9, 4 / across), 0.12, 1.1
    tall_in = panel_in * rows_px / columns_px
    width_in = max(across * (panel_in + gap_in) + bar_in + gap_in, 5)
    height_in = down * (tall_in + 0.28) + 0.45
    figure = Figure(figsize=(width_in, height_in), dpi=_DPI)
    FigureCanvasAgg(figure)
    for layer in range(count):
        down_in = 0.45 + (layer // across) * (tall_in + 0.28) + 0.2
        left_in = gap_in + (layer % across) * (panel_in + gap_in)
        box = (left_in / width_in, 1 - (down_in + tall_in) / height_in, panel_in / width_in, tall_in / height_in)
        axes = figure.add_axes(box)
        axes.axis("off")
        image = axes.imshow(small[..., layer], cmap=colours, vmin=bounds[0], vmax=bounds[1], aspect="auto")
        group = f" · {filter_groups[layer]}" if layer < len(filter_groups) else ""
        axes.set_title(f"{layer + 1}{group}", fontsize=_FONT_PT, pad=2, parse_math=False)
    left = gap_in + across * (panel_in + gap_in)
    bar = figure.colorbar(image, cax=figure.add_axes((left / width_in, 0.1, 0.14 / width_in, 0.75)))
    bar.set_label(label, fontsize=_FONT_PT + 1)
    bar.ax.tick_params(labelsize=_FONT_PT)
    bar.outline.set_visible(False)
    figure.text(gap_in / width_in, 1 - 0.1 / height_in, title, fontsize=_FONT_PT + 3, va="top", parse_math=False)
    return save_figure(figure, path)


def _scale(values: np.ndarray, about_one: bool) -> tuple[float, float]:
    """Ends of the colour scale: from 0, or about 1; nearly all values, so that one hot pixel does not hide the rest."""
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, (0.5, 99.5)) if finite.size else (0.0, 1.0)
    if about_one:
        reach = max(high - 1, 1 - low, 0.005)
        return 1 - reach, 1 + reach
    return min(0.0, float(low)), float(high) if high > 0 else 1.0


def save_model_figures(model: FlatfieldModel, folder: str | os.PathLike[str]) -> list[Path]:
    """Save a model's flatfield, uncertainty and coverage, a sheet of all layers each.

    Parameters
    ----------
    model
        As created; parts it does not hold are left out.
    folder
        Where ``flatfield_<version>.png``, ``..._uncertainty.png`` and ``..._images_stacked.png`` go.

    Returns
    -------
    list of Path
        The files written.
    """
    name = f"flatfield_{model.version}"
    groups = tuple(model.table["filter_group"]) if "filter_group" in model.table else ()
    sheets = (
        ("", model.flatfield, "flatfield", "relative illumination", True),
        ("_uncertainty", model.uncertainty, "uncertainty of the flatfield", "standard error", False),
        ("_images_stacked", model.images_stacked, "coverage", "images stacked", False),
    )
    return [
        save_field(
            values,
            Path(folder) / f"{name}{ending}.png",
            title=f"{words}, version {model.version}",
            label=label,
            filter_groups=groups,
            about_one=about_one,
        )
        for ending, values, words, label, about_one in sheets
        if values is not None
    ]


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure as PNG, whole or not at all; return its path."""
    with whole_file(path) as handle:
        figure.savefig(handle, format="png", dpi=_DPI)
    return Path(path)
