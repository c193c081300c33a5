"""Pictures of the exposures instrument but the map: a result in, a HoloViews element out, no state.

Stage coordinates are in µm, x to the right and y upwards. Distances between groups are shown like every matrix: row 0
on top.
"""

from __future__ import annotations

from typing import Any

import holoviews as hv
import numpy as np
import pandas as pd
from bokeh.models import CustomJSHover, HoverTool
from bokeh.palettes import Cividis256
from scipy.spatial import cKDTree

from dashboards.support.colours import FAINT, GROUP_COLOURS, LINE_RED, NO_VALUE
from dashboards.support.looks import colour_bar, framed, limited, plain, thin_labels

NUMBERS_UP_TO = 15
"""Distance matrices of more groups tell their numbers on hover only."""
_MOST_POINTS = 3000
_MOST_LENGTHS = 60
_NEIGHBOUR_REACH = 1.25
_NUMBER = "#d6409f"  # read on all group colours, on white and on black


def padded(x: np.ndarray, y: np.ndarray, *, height_by_width: float = 1.0, pad: float = 0.06, least: float = 1.0):
    """Limits that hold all points and have the shape of the frame, so that a µm is as long in x as in y.

    Parameters
    ----------
    x, y : (n,) arrays
        Places; those that are not finite are passed over.
    height_by_width
        Shape of the frame.
    pad
        Room at every side, as a share of the extent.
    least
        Smallest extent.

    Returns
    -------
    tuple
        ``(x0, x1), (y0, y1)``.

    Examples
    --------
    >>> padded(np.array([0.0, 10.0]), np.array([0.0, 2.0]), pad=0)
    ((0.0, 10.0), (-4.0, 6.0))
    """
    known = np.isfinite(x) & np.isfinite(y)
    if not known.any():
        return (0.0, least), (0.0, least * height_by_width)
    x, y = np.asarray(x)[known], np.asarray(y)[known]
    middle = (x.min() + x.max()) / 2, (y.min() + y.max()) / 2
    width = (1 + 2 * pad) * max(np.ptp(x), np.ptp(y) / height_by_width, least)
    height = width * height_by_width
    return tuple((float(m - size / 2), float(m + size / 2)) for m, size in zip(middle, (width, height), strict=True))


def square_limits(exposures: pd.DataFrame, *, height_by_width: float) -> dict[str, tuple]:
    """Limits of a picture of every grid square by its name, and of all of them as ``"all"``, which stands first.

    Parameters
    ----------
    exposures
        ``session``, ``grid_square``, ``x_um``, ``y_um``.
    height_by_width
        Shape of the frame.
    """
    parts = exposures.groupby(["session", "grid_square"], sort=False)
    named = {"all": exposures, **{"/".join(filter(None, name)): part for name, part in parts}}
    return {
        name: padded(part["x_um"].to_numpy(), part["y_um"].to_numpy(), height_by_width=height_by_width)
        for name, part in named.items()
    }


def neighbour_edges(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Pairs of points that are neighbours: hardly further apart than points are from the one nearest to them.

    Parameters
    ----------
    x, y : (n,) arrays
        Places.

    Returns
    -------
    (m, 2) array of int
        Row numbers, the smaller first.
    """
    places = np.column_stack([x, y]).astype(float)
    if len(places) < 2:
        return np.empty((0, 2), dtype=int)
    tree = cKDTree(places)
    nearest = np.median(tree.query(places, k=2)[0][:, 1])
    edges = tree.query_pairs(_NEIGHBOUR_REACH * nearest, output_type="ndarray")
    return edges[np.lexsort(edges.T[::-1])]


def colour_of_group(numbers: np.ndarray) -> np.ndarray:
    """Return the colours of groups by their numbers; negative ones, which mean none, are grey."""
    colours = np.array([*GROUP_COLOURS, FAINT], dtype=object)
    numbers = np.asarray(numbers, dtype=int)
    return colours[np.where(numbers < 0, len(GROUP_COLOURS), numbers % len(GROUP_COLOURS))]


def plot_beam_shifts(shots: pd.DataFrame, centres: pd.DataFrame, matrix: np.ndarray) -> hv.Overlay:
    """Beam shifts of the exposures coloured by group, the groups' numbers, and the way between neighbours in µm.

    Parameters
    ----------
    shots
        ``beam_shift_x``, ``beam_shift_y`` and ``group`` (from 1; less means none) of every exposure. Many are thinned.
    centres
        ``group``, ``beam_shift_x``, ``beam_shift_y``, ``exposures`` of every group.
    matrix : (2, 2) array
        From beam shift to µm on the stage, which gives the lengths.

    Returns
    -------
    holoviews.Overlay
        Edges, shots, lengths (hover only when there are many) and numbers.
    """
    step = max(1, -(-len(shots) // _MOST_POINTS))
    shots = shots.iloc[::step]
    points = hv.Points(
        (shots["beam_shift_x"], shots["beam_shift_y"], colour_of_group(shots["group"].to_numpy() - 1), shots["group"]),
        ["beam shift x", "beam shift y"],
        ["colour", "group"],
    ).opts(color="colour", size=4, alpha=0.8, line_color=None)
    x, y = centres["beam_shift_x"].to_numpy(float), centres["beam_shift_y"].to_numpy(float)
    edges = _edges(centres["group"].to_numpy(), x, y, matrix)
    few = len(edges) <= _MOST_LENGTHS
    lines = hv.Segments(
        edges[["x0", "y0", "x1", "y1", "um", "unit", "first", "second"]],
        ["x0", "y0", "x1", "y1"],
        ["um", "unit", "first", "second"],
    ).opts(color=FAINT, line_width=1.4, alpha=0.8, tools=["hover"], hooks=[_edge_hover])
    lengths = hv.Labels(edges if few else edges.iloc[:0], ["x", "y"], "text").opts(
        text_font_size="8pt", text_color=FAINT, text_baseline="bottom"
    )
    numbers = hv.Labels((x, y, centres["group"].astype(str)), ["x", "y"], "number").opts(
        text_font_size="11pt", text_font_style="bold", text_color=_NUMBER
    )
    limits = padded(np.append(x, shots["beam_shift_x"]), np.append(y, shots["beam_shift_y"]), least=1e-6)
    return (lines * points * lengths * numbers).opts(
        title=_shift_title(edges, len(centres), few),
        xlabel="beam shift x (no unit)",
        ylabel="beam shift y",
        **_square(limits),
    )


def _edges(names: np.ndarray, x: np.ndarray, y: np.ndarray, matrix: np.ndarray) -> pd.DataFrame:
    """Ways between neighbouring groups, which are neighbours on the stage, with their lengths there and in units."""
    places = np.column_stack([x, y]).reshape(-1, 2)
    pairs = neighbour_edges(*(places @ np.asarray(matrix).T).T)
    first, second = pairs[:, 0], pairs[:, 1]
    way = places[second] - places[first]
    um = np.hypot(*(way @ np.asarray(matrix).T).T)
    return pd.DataFrame(
        {
            "x0": x[first], "y0": y[first], "x1": x[second], "y1": y[second],
            "x": (x[first] + x[second]) / 2, "y": (y[first] + y[second]) / 2,
            "um": um, "unit": np.hypot(*way.T), "text": [f"{length:.2f}" for length in um],
            "first": names[first], "second": names[second],
        }
    )  # fmt: skip


def _shift_title(edges: pd.DataFrame, groups: int, few: bool) -> str:
    if edges.empty:
        return f"Beam shifts, {groups} groups"
    told = "" if few else ", lengths on hover"
    return f"{groups} groups, neighbours {edges['um'].mean():.2f} µm apart{told}"


def _edge_hover(plot, element):
    """Hook: what a way between two groups tells."""
    for tool in plot.state.tools:
        if isinstance(tool, HoverTool):
            tool.tooltips = [("groups", "@first and @second"), ("µm", "@um{0.000}"), ("beam shift", "@unit{0.0000}")]


def _square(limits: tuple, *, height: int = 430, height_by_width: float = 1.0) -> dict[str, Any]:
    """Options of a picture whose axes have one scale."""
    return {
        "xlim": limits[0],
        "ylim": limits[1],
        "responsive": True,
        "height": height,
        "fontsize": {"title": 10, "xlabel": 9, "ylabel": 9, "xticks": 8, "yticks": 8},
        "hooks": [plain, thin_labels, framed(height_by_width), limited(*limits)],
        "show_legend": False,
        "active_tools": ["pan", "wheel_zoom"],
    }


def plot_distances(distances: np.ndarray, names: list[str], *, title: str = "") -> hv.Overlay:
    """Distances between the centres of the groups in beam shift, with numbers when there are few groups.

    Parameters
    ----------
    distances : (n, n) array
        In the unit of the beam shift.
    names : list of str, length n
        Numbers of the groups.
    title
        Words above the picture.

    Raises
    ------
    ValueError
        When the array is not square, or the names are not as many.
    """
    distances = np.array(distances, dtype=float)
    count = len(names)
    if distances.shape != (count, count):
        raise ValueError(f"distances must have shape {(count, count)}, a row a name; got {distances.shape}.")
    np.fill_diagonal(distances, np.nan)
    finite = distances[np.isfinite(distances)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    high = high if high > low else low + 1
    centres = np.arange(count) + 0.5
    image = hv.Image(
        (centres, centres, distances[::-1]),
        ["column", "row"],
        hv.Dimension("distance", range=(low, high)),
        bounds=(0, 0, count, count),
    ).opts(
        cmap=list(Cividis256[::-1]),
        clim=(low, high),
        clipping_colors={"NaN": NO_VALUE},
        tools=["hover"],
        hooks=[_distance_hover(names)],
        **colour_bar("distance"),
    )
    row, column = np.nonzero(np.isfinite(distances)) if count <= NUMBERS_UP_TO else (np.array([], int),) * 2
    values = distances[row, column]
    # dark numbers on the bright half, bright ones on the dark half
    colours = np.where(values < (low + high) / 2, "#1c2430", "#ffffff")
    numbers = hv.Labels(
        (column + 0.5, count - row - 0.5, [f"{value:.3f}" for value in values], colours),
        ["column", "row"],
        ["text", "colour"],
    ).opts(text_color="colour", text_font_size="8pt" if count <= 9 else "6pt")
    return (image * numbers).opts(
        title=title,
        xticks=list(zip(centres.tolist(), names, strict=True)),
        yticks=list(zip(centres.tolist(), reversed(names), strict=True)),
        xlabel="group",
        ylabel="group",
        **_square(((0, count), (0, count))),
    )


_NAME = {
    "$y": "return names[names.length - 1 - Math.floor(special_vars.y)] ?? ''",
    "$x": "return names[Math.floor(special_vars.x)] ?? ''",
}


def _distance_hover(names: list[str]):
    """Hook: the hover tool tells both groups and their distance."""

    def hook(plot, element):
        for tool in plot.state.tools:
            if isinstance(tool, HoverTool):
                tool.tooltips = [("groups", "$y{custom} and $x{custom}"), ("distance", "@image{0.0000}")]
                tool.formatters = {
                    place: CustomJSHover(args={"names": list(names)}, code=code) for place, code in _NAME.items()
                }

    return hook


def shared_cells(holes: pd.DataFrame) -> np.ndarray:
    """Tell which holes share a lattice cell of their grid square with another hole.

    Parameters
    ----------
    holes
        ``session``, ``grid_square``, ``cell_row``, ``cell_column``.
    """
    return holes.duplicated(["session", "grid_square", "cell_row", "cell_column"], keep=False).to_numpy()


def plot_lattice(holes: pd.DataFrame, *, limits: tuple, largest_um: float, title: str = "") -> hv.Overlay:
    """Foil holes of one grid square on the stage, each coloured by its distance from the lattice fitted to them.

    Parameters
    ----------
    holes
        Of one grid square: ``foil_hole``, ``x_um``, ``y_um``, ``lattice_x_um``, ``lattice_y_um``, ``residual_um``,
        ``session``, ``grid_square``, ``cell_row``, ``cell_column``.
    limits
        ``(x0, x1), (y0, y1)`` as of `padded`.
    largest_um
        Distance drawn in the brightest colour.
    title
        Words above the picture.

    Returns
    -------
    holoviews.Overlay
        Lattice cells as crosses, holes as discs; those that share a cell wear a red ring.
    """
    places = ["stage x (µm)", "stage y (µm)"]
    cells = hv.Points((holes["lattice_x_um"], holes["lattice_y_um"]), places).opts(
        marker="cross", size=11, color=FAINT, line_width=1.2
    )
    ways = hv.Segments(
        (holes["lattice_x_um"], holes["lattice_y_um"], holes["x_um"], holes["y_um"]), [*places, "x1", "y1"]
    ).opts(color=LINE_RED, line_width=1.5)
    dots = hv.Points(
        (holes["x_um"], holes["y_um"], holes["residual_um"], holes["foil_hole"]),
        places,
        [hv.Dimension("residual", range=(0, largest_um)), "hole"],
    ).opts(
        color="residual",
        cmap="viridis",
        clim=(0, largest_um),
        size=7,
        line_color=None,
        tools=["hover"],
        hooks=[_hole_hover],
        **colour_bar("residual (µm)"),
    )
    shared = holes[shared_cells(holes)]
    rings = hv.Points((shared["x_um"], shared["y_um"]), places).opts(
        size=14, fill_alpha=0, line_color=LINE_RED, line_width=2
    )
    return (cells * ways * dots * rings).opts(
        title=title, xlabel="stage x (µm)", ylabel="stage y (µm)", **_square(limits)
    )


def _hole_hover(plot, element):
    """Hook: what a hole tells."""
    for tool in plot.state.tools:
        if isinstance(tool, HoverTool):
            tool.tooltips = [("foil hole", "@hole"), ("residual (µm)", "@residual{0.000}")]
