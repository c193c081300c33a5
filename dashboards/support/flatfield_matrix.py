"""The matrix of all pairs and the tree of the slides: a result in, a HoloViews element out, no state.

Matrix coordinates: column ``j`` covers x from ``j`` to ``j + 1``, row ``i`` covers y from ``count - i - 1`` to
``count - i``, so that row 0 is on top and the axes still run the usual way. A dividing line behind ``p`` slides is
therefore at x = ``p`` and y = ``count - p``.
"""

import math

import holoviews as hv
import numpy as np
from bokeh.models import ColumnDataSource, CustomJSHover, HoverTool

from dashboards.support.colours import FAINT, GROUP_COLOURS, HALO, INK, LINE_RED, NO_VALUE
from dashboards.support.looks import colour_bar, diverging_palette, framed, limited, plain, thin_labels

STATISTIC = "std of Δ/σ"


NAME_OF_ROW = "return names[names.length - 1 - Math.floor(special_vars.y)] ?? ''"


NAME_OF_COLUMN = "return names[Math.floor(special_vars.x)] ?? ''"


# BokehJS writes NaN by itself before a formatter of `@image` is asked, so the value is looked up from the index.
VALUE_UNDER_POINTER = """
const place = special_vars.image_index
if (place == null) { return '' }
const found = source.data[glyph.image.field][0][place.flat_index]
return Number.isFinite(found) ? found.toFixed(3) : 'no value'
"""


COUNT = "return Number.isFinite(value) && value >= 0 ? Math.round(value).toLocaleString('en') : '–'"


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
            source, ends = ColumnDataSource(data), ("x0", "y0", "x1", "y1")
            # the red is lost on dark green to some eyes
            figure.segment(*ends, source=source, name="halo of the lines", color=HALO, line_width=4, line_alpha=0.7)
            figure.segment(*ends, source=source, name="dividing lines", color=LINE_RED, line_width=1.5)
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
        **colour_bar(STATISTIC),
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
            thin_labels,
            framed(1),
            limited((0, count), (0, count)),
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


def group_lines(groups) -> tuple[int, ...]:
    """Positions of dividing lines between groups, and around outliers, in the order of likeness.

    Parameters
    ----------
    groups
        Result with `order` (S,) and `labels` (S,).
    """
    labels = np.asarray(groups.labels)[np.asarray(groups.order)]
    return tuple(i for i in range(1, len(labels)) if labels[i] != labels[i - 1] or labels[i] < 0)


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
        color="colour", line_width=1.6, tools=["hover"], hooks=[plain, thin_labels, framed(1), _tree_hover]
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
        hooks=[limited((0, reach), (0, count))],
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
