"""Looks that pictures of all instruments share: colours, frames, labels, limits."""

import math

import holoviews.plotting.bokeh
import numpy as np
from bokeh.models import BoxZoomTool, CustomJS, NoOverlap
from bokeh.palettes import PRGn

from dashboards.support.accessible import describe_figure
from dashboards.support.colours import FAINT

# what hv.extension("bokeh") does, but that in a notebook it would load scripts from the network before pn.extension
# could be told inline=True
holoviews.Store.set_current_backend("bokeh")

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


def thin_labels(plot, element):
    """Hook: leave out tick labels which would overlap, at every zoom."""
    for axis in plot.state.axis:
        axis.major_label_policy = NoOverlap(min_distance=3)


def framed(height_by_width):
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


def limited(x, y):
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


def colour_bar(title):
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


def plain(plot, element) -> None:
    """HoloViews hook with the look of all plots: no outline, no grid, no logo, thin quiet axes.

    Parameters
    ----------
    plot, element
        As HoloViews hands them to a hook.
    """
    figure = plot.state
    figure.outline_line_color = None
    figure.background_fill_alpha = 0
    figure.border_fill_alpha = 0
    figure.toolbar.logo = None
    figure.toolbar.autohide = True
    figure.grid.grid_line_color = None
    figure.title.text_font_style = "normal"
    for axis in figure.axis:
        axis.axis_line_color = FAINT
        axis.axis_line_alpha = 0.5
        axis.major_tick_line_color = None
        axis.minor_tick_line_color = None
        axis.axis_label_text_font_style = "normal"
    describe_figure(figure)
