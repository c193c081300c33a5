"""Pictures of the flatfield instrument: a result in, a HoloViews element out, no state.

Matrix coordinates: column ``j`` covers x from ``j`` to ``j + 1``, row ``i`` covers y from ``count - i - 1`` to
``count - i``, so that row 0 is on top and the axes still run the usual way. A dividing line behind ``p`` slides is
therefore at x = ``p`` and y = ``count - p``.

Images keep pixel coordinates in the same manner: x is the column, y is the image height minus the row.
"""

import math

import holoviews as hv
import numpy as np
from bokeh.models import BoxZoomTool, ColumnDataSource, CustomJS, CustomJSHover, HoverTool, NoOverlap
from bokeh.palettes import PRGn

from dashboards.support.page import ACCENT, CURVE, FAINT, GROUP_COLOURS, INK, LINE_RED, NO_VALUE, SOFT, plain

hv.extension("bokeh", logo=False)

STATISTIC = "std of Δ/σ"
LARGEST_WIDTH_PX = 350
"""Images wider than this are thinned before they are sent to the browser."""


def _interpolate(colours: tuple[str, ...], count: int) -> list[str]:
    """Palette of `count` colours running evenly through a few given ones (``#rrggbb``)."""
    red_green_blue = np.array([[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in colours])
    places = np.linspace(0, len(colours) - 1, count)
    channels = [np.interp(places, np.arange(len(colours)), red_green_blue[:, channel]) for channel in range(3)]
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in np.rint(channels).astype(int).T]


# Green below one, purple above: told apart by every kind of colour-blind eye, and red lines show on both.
DIVERGING = _interpolate(tuple(PRGn[11]), 511)


def diverging_palette(bounds: tuple[float, float], *, centre: float = 1.0, count: int = 256) -> list[str]:
    """Colours for the range `bounds` of a diverging scale whose neutral middle is always at `centre`.

    Both arms have the same slope, so that equal distances from the centre are equally strong, also where the bounds
    are not symmetric about it.

    Parameters
    ----------
    bounds
        Lowest and highest value of the scale; the first must be below the second.
    centre
        Value drawn neutral.
    count
        Number of colours.

    Returns
    -------
    list of str
        `count` colours as ``#rrggbb``, lowest value first.

    Raises
    ------
    ValueError
        If the bounds do not increase.

    Examples
    --------
    >>> diverging_palette((0.85, 1.15), count=3)[1]
    '#f7f7f7'
    """
    low, high = bounds
    if not low < high:
        raise ValueError(f"bounds must be two increasing numbers; got {low} and {high}.")
    reach = max(high - centre, centre - low)
    share = (np.linspace(low, high, count) - centre) / reach
    return [DIVERGING[place] for place in np.rint((np.clip(share, -1, 1) + 1) / 2 * (len(DIVERGING) - 1)).astype(int)]


def _thin_labels(plot, element):
    """Hook: leave out tick labels which would overlap, at every zoom."""
    for axis in plot.state.axis:
        axis.major_label_policy = NoOverlap(min_distance=3)


def _frame(height_by_width):
    """Hook: keep the drawing area (without labels and colour bar) in one shape at every width of the page.

    The aspect options of Bokeh and HoloViews speak of the whole figure with its labels, so the browser sets the height
    itself whenever the inner width changes.
    """

    def hook(plot, element):
        figure = plot.state
        args = {"figure": figure, "height_by_width": height_by_width}
        fit = plot.handles.get("fit")
        if fit is not None:
            fit.args = args
            return
        for zoom in figure.select({"type": BoxZoomTool}):
            zoom.match_aspect = True
        fit = plot.handles["fit"] = CustomJS(
            args=args,
            code="""
            const frame = Math.round(figure.inner_width * height_by_width)
            const wanted = frame + figure.outer_height - figure.inner_height
            if (figure.inner_width > 0 && Math.abs(wanted - figure.height) > 1) { figure.height = wanted }
            """,
        )
        for name in ("inner_width", "inner_height", "outer_width"):
            figure.js_on_change(name, fit)

    return hook


NAME_OF_ROW = "return names[names.length - 1 - Math.floor(special_vars.y)] ?? ''"
NAME_OF_COLUMN = "return names[Math.floor(special_vars.x)] ?? ''"
# BokehJS writes NaN by itself before a formatter of `@image` is asked, so the value is looked up from the index.
VALUE_UNDER_POINTER = """
const place = special_vars.image_index
if (place == null) { return '' }
const found = source.data[glyph.image.field][0][place.flat_index]
return Number.isFinite(found) ? found.toFixed(3) : 'no value'
"""
COUNT = "return Number.isFinite(value) ? Math.round(value).toLocaleString('en') : '–'"


def matrix_hover(hover: HoverTool, names: list[str], renderer, fields: list[tuple[str, str]] = ()) -> None:
    """Make a hover tool tell both slide names, the value and further counts of a matrix cell.

    Every part reaches the tooltip as text, never as HTML.

    Parameters
    ----------
    hover
        Tool to change in place.
    names
        Slide names in the order of the rows.
    renderer
        Bokeh renderer of the matrix image.
    fields
        Further image columns of whole numbers, each with its label.
    """
    names_of = {"names": list(names)}
    lookup = {"source": renderer.data_source, "glyph": renderer.glyph}
    hover.tooltips = [
        ("slide", "$y{custom}"),
        ("against", "$x{custom}"),
        (STATISTIC, "$index{custom}"),
        *((label, f"@{field}{{custom}}") for field, label in fields),
    ]
    hover.formatters = {
        "$y": CustomJSHover(args=names_of, code=NAME_OF_ROW),
        "$x": CustomJSHover(args=names_of, code=NAME_OF_COLUMN),
        "$index": CustomJSHover(args=lookup, code=VALUE_UNDER_POINTER),
        **{f"@{field}": CustomJSHover(code=COUNT) for field, _ in fields},
    }


def _names_on_hover(names, fields):
    """Hook: the hover tool tells slide names.

    With every new frame HoloViews applies ticks, colours and titles by itself and puts its own tooltips back, so the
    hook sets them anew each time.
    """

    def hook(plot, element):
        # Not `figure.select`, which walks through every model and took half the time of an update.
        for hover in (tool for tool in plot.state.tools if isinstance(tool, HoverTool)):
            matrix_hover(hover, names, plot.handles["glyph_renderer"], fields)

    return hook


def _limits(x, y):
    """Hook: show a picture whole when its limits have changed, and keep the zoom when they have not.

    HoloViews takes `xlim` and `ylim` from the first frame only.
    """

    def hook(plot, element):
        before = plot.handles.get("limits")
        plot.handles["limits"] = (x, y)
        if before in (None, (x, y)):
            return
        for plotted, (start, end) in ((plot.state.x_range, x), (plot.state.y_range, y)):
            plotted.update(start=start, end=end, reset_start=start, reset_end=end)

    return hook


def _colour_bar(title):
    """Options of a colour bar with a quiet look."""
    return {
        "colorbar": True,
        "clabel": title,
        "colorbar_opts": {
            "width": 10,
            "padding": 6,
            "bar_line_color": None,
            "major_tick_line_color": None,
            "background_fill_alpha": 0,
            "title_text_font_size": "8pt",
            "title_text_font_style": "normal",
            "title_text_align": "center",
            "major_label_text_font_size": "8pt",
        },
    }


def _marks(lines, chosen, count):
    """Hook: dividing lines and the frame of the chosen cell, as glyphs of the figure itself.

    An overlay of three elements would do, but HoloViews connects a `Tap` stream to a `DynamicMap` of overlays only
    when the stream also redraws that map.
    """
    data = {
        "x0": [*lines, *(0 for _ in lines)],
        "y0": [*(0 for _ in lines), *(count - line for line in lines)],
        "x1": [*lines, *(count for _ in lines)],
        "y1": [*(count for _ in lines), *(count - line for line in lines)],
    }
    cell = {"x": [chosen[1] + 0.5], "y": [count - chosen[0] - 0.5]} if chosen else {"x": [], "y": []}

    def hook(plot, element):
        figure = plot.state
        drawn = {renderer.name: renderer for renderer in figure.renderers}
        if "dividing lines" not in drawn:
            figure.segment(
                "x0",
                "y0",
                "x1",
                "y1",
                source=ColumnDataSource(data),
                name="dividing lines",
                color=LINE_RED,
                line_width=1.5,
            )
            figure.rect(
                "x",
                "y",
                1,
                1,
                source=ColumnDataSource(cell),
                name="chosen cell",
                fill_color=None,
                line_color=INK,
                line_width=2,
            )
        else:
            drawn["dividing lines"].data_source.data = data
            drawn["chosen cell"].data_source.data = cell

    return hook


def plot_matrix(
    values: np.ndarray,
    names: list[str],
    *,
    bounds: tuple[float, float] = (0.85, 1.15),
    lines: tuple[int, ...] = (),
    chosen: tuple[int, int] | None = None,
    layers_used: np.ndarray | None = None,
    left_out: np.ndarray | None = None,
    title: str = "",
) -> hv.Image:
    """Matrix of the comparison of every slide with every other, the first slide on top and on the left.

    Parameters
    ----------
    values : (S, S) array of float
        Standard deviation of Δ/σ of each pair, 1 where two slides share one illumination; NaN (the diagonal, and pairs
        without a value) is drawn grey.
    names : list of str, length S
        Slide names in the order of the rows.
    bounds
        Values drawn in the strongest green and purple; 1 is always neutral.
    lines
        Dividing lines: numbers of slides before each line, 1 to S - 1.
    chosen
        Row and column of a cell to frame, both from 0.
    layers_used : (S, S) array of int, optional
        Number of layers behind each value, told on hover.
    left_out : (S, S) array of int, optional
        Number of pixels left out of each value, told on hover.
    title
        Words above the picture.

    Returns
    -------
    holoviews.Image
        Inside a `holoviews.DynamicMap` bounds, lines, names, values and title change in place, the zoom is kept as long
        as the number of slides is the same, and `holoviews.streams.Tap(source=that_map)` tells the place of a click
        (see `matrix_cell`).

    Raises
    ------
    ValueError
        If the arrays are not square, differ in shape, or there are not as many names.

    Examples
    --------
    >>> matrix = plot_matrix(np.array([[np.nan, 1.1], [1.2, np.nan]]), ["M1", "M2"], title="two slides")
    >>> round(float(matrix[0.5, 0.5]), 3)  # column of M1, row of M2
    1.2
    """
    values = np.asarray(values, dtype=np.float32)
    _check_matrix(values, names, layers_used, left_out)
    count = len(names)
    given = [("layers_used", "layers used", layers_used), ("left_out", "pixels left out", left_out)]
    given = [(field, label, np.asarray(array)) for field, label, array in given if array is not None]
    fields = [(field, label) for field, label, _ in given]
    centres = np.arange(count) + 0.5
    image = hv.Image(
        (centres, centres, values[::-1], *(array[::-1].astype(np.int32) for _, _, array in given)),
        kdims=["column", "row"],
        vdims=[hv.Dimension("value", label=STATISTIC, range=bounds), *(hv.Dimension(field) for field in fields)],
        bounds=(0, 0, count, count),
    )
    return image.opts(
        cmap=diverging_palette(bounds),
        clim=tuple(bounds),
        clipping_colors={"NaN": NO_VALUE},
        **_colour_bar(STATISTIC),
        tools=["hover"],
        title=title,
        xticks=list(zip(centres.tolist(), names, strict=True)),
        yticks=list(zip(centres.tolist(), reversed(list(names)), strict=True)),
        xlabel="",
        ylabel="",
        xrotation=90,
        xlim=(0, count),
        ylim=(0, count),
        responsive=True,
        height=520,
        fontsize={"title": 10, "xticks": 8, "yticks": 8},
        hooks=[
            plain,
            _thin_labels,
            _frame(1),
            _limits((0, count), (0, count)),
            _marks(lines, chosen, count),
            _names_on_hover(names, fields),
        ],
    )


def _check_matrix(values, names, layers_used, left_out):
    if values.ndim != 2 or values.shape[0] != values.shape[1] or values.shape[0] == 0:
        raise ValueError(f"values must be a square array of at least one slide; got shape {values.shape}.")
    if len(names) != len(values):
        raise ValueError(f"names must be as many as rows of values ({len(values)}); got {len(names)}.")
    for name, array in (("layers_used", layers_used), ("left_out", left_out)):
        if array is not None and np.shape(array) != values.shape:
            raise ValueError(f"{name} must have the shape of values {values.shape}; got {np.shape(array)}.")


def matrix_cell(x: float | None, y: float | None, count: int) -> tuple[int, int] | None:
    """Row and column of the matrix cell at a tapped place, or None beside the matrix.

    Parameters
    ----------
    x, y
        Place as `holoviews.streams.Tap` gives it; None before the first tap.
    count
        Number of slides of the matrix.

    Returns
    -------
    tuple of int or None
        Row and column, both from 0.

    Examples
    --------
    >>> matrix_cell(2.4, 9.9, 10)
    (0, 2)
    >>> matrix_cell(-0.1, 3.0, 10) is None
    True
    """
    if x is None or y is None or not (math.isfinite(x) and math.isfinite(y)):
        return None
    row, column = count - 1 - math.floor(y), math.floor(x)
    return (row, column) if 0 <= row < count and 0 <= column < count else None


def plot_dendrogram(groups, *, names: list[str] | None = None, title: str = "") -> hv.Overlay:
    """Tree of the slides, in the row order of the ordered matrix, with the cut that makes the groups.

    Parameters
    ----------
    groups
        Result with `order` (S,), `labels` (S,) group number of each slide (-1 for an outlier), `distances` (S, S),
        infinite where a pair is unknown, `linkage` (S - 1, 4) as of `scipy.cluster.hierarchy.linkage`, `threshold`,
        and `names` (S,) of the slides.
    names
        Names of the slides in slide order (not row order), when they are not `groups.names`.
    title
        Words above the picture.

    Returns
    -------
    holoviews.Overlay
        Branches coloured by group up to the threshold and grey beyond it; the dashed red line is the cut. Branches
        which join only because a pair is unknown leave the picture on the right.
    """
    names = list(groups.names if names is None else names)
    order = [int(slide) for slide in groups.order]
    count = len(order)
    known = float(np.max(groups.distances, where=np.isfinite(groups.distances), initial=0))
    branches = _branches(groups, count, known)
    reach = max(1.25 * groups.threshold, 1.05 * known)
    centres = [count - row - 0.5 for row in range(count)]
    tree = hv.Segments(branches, ["distance", "y0", "x1", "y1"], ["colour", "slides", "joined"]).opts(
        color="colour", line_width=1.6, tools=["hover"], hooks=[plain, _thin_labels, _frame(1), _tree_hover]
    )
    cut = hv.Segments([(groups.threshold, 0, groups.threshold, count)], ["distance", "y0", "x1", "y1"]).opts(
        color=LINE_RED, line_width=1.2, line_dash="dashed"
    )
    return (tree * cut).opts(
        title=title,
        # Upwards, because labels are thinned out in the order of the ticks.
        yticks=[(centre, names[slide]) for centre, slide in zip(centres[::-1], order[::-1], strict=True)],
        xlabel="distance |value − 1|",
        ylabel="",
        xlim=(0, reach),
        ylim=(0, count),
        hooks=[_limits((0, reach), (0, count))],
        responsive=True,
        height=520,
        fontsize={"title": 10, "xticks": 8, "yticks": 8, "xlabel": 9},
        show_legend=False,
    )


def _branches(groups, count, known):
    """Segments (x0, y0, x1, y1, colour, number of slides, words on the join) of the tree."""
    place = {int(slide): count - row - 0.5 for row, slide in enumerate(groups.order)}
    reached, colour = dict.fromkeys(range(count), 0.0), {}
    for slide, label in enumerate(groups.labels):
        colour[slide] = FAINT if label < 0 else GROUP_COLOURS[int(label) % len(GROUP_COLOURS)]
    segments = []
    for node, (first, second, distance, slides) in enumerate(groups.linkage, start=count):
        first, second = int(first), int(second)
        colour[node] = colour[first] if distance <= groups.threshold else FAINT
        told = (slides, f"{distance:.3f}" if distance <= known else "no known value")
        for child in (first, second):
            segments.append((reached[child], place[child], distance, place[child], colour[child], *told))
        segments.append((distance, place[first], distance, place[second], colour[node], *told))
        place[node], reached[node] = (place[first] + place[second]) / 2, float(distance)
    return segments


def _tree_hover(plot, element):
    """Hook: what a branch of the tree tells."""
    for tool in plot.state.tools:
        if isinstance(tool, HoverTool):
            tool.tooltips = [("slides below", "@slides{0}"), ("joined at", "@joined")]


def thin(image: np.ndarray, largest_width_px: int = LARGEST_WIDTH_PX) -> tuple[np.ndarray, int]:
    """Every n-th pixel of an image, so that it is at most `largest_width_px` wide, and that n.

    Pixels are picked rather than averaged: the spread of Δ/σ, which is what is looked at, stays as it is.

    Parameters
    ----------
    image : (H, W) array
        Image; rows first.
    largest_width_px
        Width which the result does not exceed.

    Returns
    -------
    tuple
        Thinned (ceil(H / n), ceil(W / n)) float32 array, and the step n.

    Examples
    --------
    >>> thin(np.zeros((1004, 1344)))[0].shape
    (251, 336)
    """
    step = max(1, math.ceil(image.shape[1] / largest_width_px))
    return np.asarray(image[::step, ::step], dtype=np.float32), step


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
            _frame(image.shape[0] / image.shape[1]),
            _limits((0, image.shape[1]), (0, image.shape[0])),
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
        hooks=[_limits((-reach, reach), (0, top))],
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
        hooks=[plain, _limits((0.5, len(values) + 0.5), (bottom, top))],
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
    return element.opts(cmap=colour_map, title=title, **_colour_bar(label))
