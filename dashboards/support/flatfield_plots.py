"""Pictures of the flatfield instrument: a result in, a HoloViews element out, no state.

Matrix coordinates: column ``j`` covers x from ``j`` to ``j + 1``, row ``i`` covers y from ``count - i - 1`` to
``count - i``, so that row 0 is on top and the axes still run the usual way. A dividing line behind ``p`` slides is
therefore at x = ``p`` and y = ``count - p``.

Images keep pixel coordinates in the same manner: x is the column, y is the image height minus the row.
"""

import math

import holoviews as hv
import numpy as np
from bokeh.models import CustomJSHover, HoverTool

from dashboards.support.colours import ACCENT, CURVE, FAINT, LINE_RED, NO_VALUE, SOFT
from dashboards.support.flatfield_matrix import STATISTIC
from dashboards.support.looks import colour_bar, diverging_palette, framed, limited, plain, thin


def _image(image, label, limits, *, digits=4):
    """`holoviews.Image` of a thinned image with true pixel coordinates, row 0 on top."""
    image = np.asarray(image)
    if image.ndim != 2 or 0 in image.shape:
        raise ValueError(f"image must be (rows, columns) with at least one pixel; got shape {image.shape}.")
    pixels, step = thin(image)
    height, width = (length * step for length in pixels.shape)
    element = hv.Image(
        pixels,
        kdims=["column_px", "y_px"],
        # A given range spares HoloViews looking for one, and warning where every pixel is NaN.
        vdims=[hv.Dimension("value", label=label, range=limits)],
        bounds=(0, image.shape[0] - height, width, image.shape[0]),
    )
    return element.opts(
        clim=limits,
        clipping_colors={"NaN": NO_VALUE},
        tools=["hover"],
        responsive=True,
        height=260,
        xaxis=None,
        yaxis=None,
        xlim=(0, image.shape[1]),
        ylim=(0, image.shape[0]),
        fontsize={"title": 9},
        hooks=[
            plain,
            framed(image.shape[0] / image.shape[1]),
            limited((0, image.shape[1]), (0, image.shape[0])),
            _pixel_hover(image.shape[0], step, label, digits),
        ],
    )


def no_image() -> hv.Image:
    """Return a picture of nothing, which keeps a place for one."""
    return _image(np.full((3, 4), np.nan), "value", (0.0, 1.0)).opts(title=" ")


def _pixel_hover(height_px, step, label, digits):
    """Hook: the hover tool tells the row and the column of the pixel whose value is shown."""

    def hook(plot, element):
        for tool in plot.state.tools:
            if isinstance(tool, HoverTool):
                args = {"height": height_px, "step": step}
                tool.tooltips = [("row", "$y{custom}"), ("column", "$x{custom}"), (label, "@image{custom}")]
                tool.formatters = {
                    "$y": CustomJSHover(
                        args=args, code="return String(Math.floor((height - special_vars.y) / step) * step)"
                    ),
                    "$x": CustomJSHover(args=args, code="return String(Math.floor(special_vars.x / step) * step)"),
                    "@image": CustomJSHover(
                        args={"digits": digits},
                        code="return Number.isFinite(value) ? value.toFixed(digits) : 'left out'",
                    ),
                }

    return hook


def _shared_range(images):
    finite = np.concatenate([image[np.isfinite(image)].ravel() for image in images])
    if finite.size == 0:
        return (0.0, 1.0)
    low, high = (float(value) for value in np.percentile(finite, (0.5, 99.5)))
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def plot_pair_images(pair, names: tuple[str, str]) -> tuple[hv.Image, hv.Image, hv.Image]:
    """The two mean images of one layer on one grey scale, and the map of their Δ/σ.

    Parameters
    ----------
    pair
        Result with `mean_images` (two (H, W) arrays, normalised, NaN where left out), `delta_over_sigma` (H, W)
        and `layer`.
    names
        Names of the two slides.

    Returns
    -------
    tuple of three holoviews.Image
        First mean image, second mean image, Δ/σ from -4 (green) to 4 (purple). Images are thinned to at most
        350 pixels in width; hover tells the true row and column.
    """
    thinned = [thin(np.asarray(image))[0] for image in pair.mean_images]
    limits = _shared_range(thinned)
    means = [
        _image(image, "mean image", limits).opts(cmap="gray", title=name)
        for image, name in zip(pair.mean_images, names, strict=True)
    ]
    difference = _image(pair.delta_over_sigma, "Δ/σ", (-4.0, 4.0), digits=2).opts(
        cmap=diverging_palette((-4, 4), centre=0), title="Δ/σ from −4 to 4"
    )
    return means[0], means[1], difference


def plot_pair_histogram(pair) -> hv.Overlay:
    """Histogram of Δ/σ of one layer as a density, with a unit normal over it.

    Parameters
    ----------
    pair
        Result with `histogram`, counts (n,) and edges (n + 1,).

    Returns
    -------
    holoviews.Overlay
        Where two slides share one illumination the histogram follows the curve.
    """
    counts, edges = (np.asarray(part, dtype=float) for part in pair.histogram)
    widths = np.diff(edges)
    total = counts.sum()
    density = counts / (total * widths) if total else np.zeros_like(counts)
    places = np.linspace(-5, 5, 201)
    normal = np.exp(-(places**2) / 2) / math.sqrt(2 * math.pi)
    bars = hv.Histogram((edges, density), kdims=["Δ/σ"], vdims=["density"], label="pixels").opts(
        color=SOFT, line_color=None, hooks=[plain]
    )
    curve = hv.Curve((places, normal), "Δ/σ", "density", label="unit normal").opts(color=CURVE, line_width=1.8)
    reach = float(min(8, max(5, np.abs(edges).max())))
    top = float(max(0.42, density.max(initial=0) * 1.05))
    return (bars * curve).opts(
        responsive=True,
        height=190,
        xlim=(-reach, reach),
        ylim=(0, top),
        hooks=[limited((-reach, reach), (0, top))],
        xlabel="Δ/σ",
        ylabel="",
        yaxis=None,
        xticks=5,
        show_legend=False,
        fontsize={"xlabel": 9, "ylabel": 9, "xticks": 8, "yticks": 8, "title": 9},
        title="Δ/σ, unit normal",
    )


def plot_over_layers(
    values: np.ndarray, filter_groups: tuple[str, ...], chosen: int | None = None, *, title: str = ""
) -> hv.Overlay:
    """The statistic of one pair over the layers, filter groups as bands, a line at 1, the chosen layer marked.

    Parameters
    ----------
    values : (L,) array of float
        Standard deviation of Δ/σ per layer; NaN where there is none.
    filter_groups : tuple of str, length L
        Name of the filter group of every layer.
    chosen
        Layer to mark, counted from 1.
    title
        Words above the picture.

    Returns
    -------
    holoviews.Overlay
        Bands, their names, the curve with its points, the line at 1 and the mark.

    Raises
    ------
    ValueError
        If there are not as many filter groups as values.
    """
    values = np.asarray(values, dtype=float)
    if len(filter_groups) != len(values):
        raise ValueError(f"filter_groups must be one per layer ({len(values)}); got {len(filter_groups)}.")
    layers = np.arange(1, len(values) + 1)
    finite = values[np.isfinite(values)]
    low, high = min([0.95, *finite]), max([1.05, *finite])
    room = high - low
    bottom, top = low - 0.08 * room, high + 0.5 * room
    spans = filter_group_spans(filter_groups)
    bands = hv.Rectangles(
        [(first - 0.5, bottom, last + 0.5, top, number % 2) for number, (_, first, last) in enumerate(spans)],
        ["layer", "y0", "x1", "y1"],
        "shade",
    ).opts(color="shade", cmap=[FAINT, FAINT], line_color=None, clim=(0, 1), alpha=hv.dim("shade") * 0.14 + 0.06)
    narrow = any(len(name) * 7 > (last - first + 1) * 400 / len(values) for name, first, last in spans)
    words = hv.Labels(
        [((first + last) / 2, top - 0.04 * room, name) for name, first, last in spans], ["layer", STATISTIC], "name"
    ).opts(
        text_color=FAINT,
        text_font_size="8pt",
        angle=90 if narrow else 0,
        text_align="right" if narrow else "center",
        text_baseline="middle" if narrow else "top",
    )
    table = (layers, values)
    line = hv.Curve(table, "layer", STATISTIC).opts(color=ACCENT, line_width=1.6)
    points = hv.Scatter(table, "layer", STATISTIC).opts(color=ACCENT, size=5, tools=["hover"])
    one = hv.HLine(1).opts(color=FAINT, line_dash="dashed", line_width=1)
    mark = hv.Scatter([(chosen, values[chosen - 1])] if chosen else [], "layer", STATISTIC).opts(
        size=12, fill_color=None, line_color=LINE_RED, line_width=2
    )
    return (bands * words * one * line * points * mark).opts(
        responsive=True,
        height=220,
        xlim=(0.5, len(values) + 0.5),
        ylim=(bottom, top),
        xlabel="layer",
        ylabel=STATISTIC,
        fontsize={"title": 10, "xlabel": 9, "ylabel": 9, "xticks": 8, "yticks": 8},
        hooks=[plain, limited((0.5, len(values) + 0.5), (bottom, top))],
        show_legend=False,
        title=title,
    )


def filter_group_spans(filter_groups: tuple[str, ...]) -> list[tuple[str, int, int]]:
    """Runs of equal filter groups as (name, first layer, last layer), layers counted from 1.

    Parameters
    ----------
    filter_groups
        Name of the filter group of every layer.

    Returns
    -------
    list of tuple
        One entry per run.

    Examples
    --------
    >>> filter_group_spans(("DAPI", "DAPI", "FITC"))
    [('DAPI', 1, 2), ('FITC', 3, 3)]
    """
    spans: list[tuple[str, int, int]] = []
    for layer, name in enumerate(filter_groups, start=1):
        if spans and spans[-1][0] == name:
            spans[-1] = (name, spans[-1][1], layer)
        else:
            spans.append((name, layer, layer))
    return spans


def plot_field(image: np.ndarray, title: str, *, label: str = "flatfield", kind: str = "flatfield") -> hv.Image:
    """One layer of a model: its flatfield, its uncertainty, or how many images cover each pixel.

    Parameters
    ----------
    image : (H, W) array
        Values of one layer; NaN is drawn grey.
    title
        Words above the picture.
    label
        What the colour bar shows, with its unit.
    kind
        ``"flatfield"`` (diverging about 1), ``"uncertainty"`` or ``"coverage"`` (both from the lowest to the highest).

    Returns
    -------
    holoviews.Image
        Thinned to at most 350 pixels in width; hover tells the true row and column.

    Raises
    ------
    ValueError
        If `kind` is none of the three.
    """
    colours = {"uncertainty": "viridis", "coverage": "cividis", "flatfield": None}
    if kind not in colours:
        raise ValueError(f"kind must be one of {', '.join(sorted(colours))}; got {kind!r}.")
    image = np.asarray(image, dtype=float)
    limits = _shared_range([image])
    if kind == "flatfield":
        reach = max(0.01, abs(limits[0] - 1), abs(limits[1] - 1))
        limits = (1 - reach, 1 + reach)
    colour_map = diverging_palette(limits) if kind == "flatfield" else colours[kind]
    element = _image(image, label, limits, digits=0 if kind == "coverage" else 4)
    return element.opts(cmap=colour_map, title=title, **colour_bar(label))
