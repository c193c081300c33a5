"""Pictures of a calibration as PNG files: beam shifts by group, and the lattice of holes on the stage."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from matplotlib import colormaps

from analysis.exposures import BeamShiftClusters, Calibration, Session
from dashboards.support.figures import new_figure, save_figure

_INK, _FAINT = "#1f2933", "#9aa5b1"
_MOST_LENGTHS = 80


def save_clusters(session: Session, clusters: BeamShiftClusters, path: str | os.PathLike[str]) -> Path:
    """Save beam shifts coloured by cluster, with the clusters' numbers and the lengths between neighbours.

    Parameters
    ----------
    session
        What was clustered.
    clusters
        Of its exposures.
    path
        PNG file.

    Returns
    -------
    Path
        The file written.
    """
    figure, axes = new_figure(8, 7)
    shifts = session.exposures[["beam_shift_x", "beam_shift_y"]].to_numpy(float)
    colours = colormaps["tab20"](clusters.labels % 20)
    axes.scatter(*shifts.T, s=3, c=colours, linewidths=0)
    for pair in clusters.neighbours.itertuples():
        ends = clusters.centres[[pair.first, pair.second]]
        axes.plot(*ends.T, color=_FAINT, linewidth=0.7, linestyle="-" if pair.used else ":", zorder=0)
        if len(clusters.neighbours) <= _MOST_LENGTHS:
            axes.text(*ends.mean(axis=0), f"{pair.distance:.3f}", fontsize=6, color=_FAINT, ha="center", va="center")
    for number, centre in enumerate(clusters.centres):
        axes.text(*centre, str(number), fontsize=9, color=_INK, ha="center", va="center", fontweight="bold")
    axes.set_aspect("equal")
    axes.set_xlabel("beam shift x")
    axes.set_ylabel("beam shift y")
    known = np.isfinite(clusters.k_um_per_unit)
    k = f", k {clusters.k_um_per_unit:.2f} um per unit" if known else ""
    axes.set_title(f"{len(clusters.centres)} clusters of beam shifts{k}", loc="left", fontsize=11)
    return save_figure(figure, path)


def save_lattice(calibration: Calibration, path: str | os.PathLike[str]) -> Path:
    """Save where the foil holes of the fullest grid square are, with the lattice fitted to them.

    Parameters
    ----------
    calibration
        With holes.
    path
        PNG file.

    Returns
    -------
    Path
        The file written.
    """
    figure, axes = new_figure(8, 7)
    holes = calibration.holes
    squares = holes["session"] + "\n" + holes["grid_square"]
    shown = holes[squares == squares.value_counts().index[0]]
    axes.scatter(
        shown["lattice_x_um"], shown["lattice_y_um"], s=60, facecolors="none", edgecolors=_FAINT, linewidths=0.8
    )
    dots = axes.scatter(shown["x_um"], shown["y_um"], s=14, c=shown["residual_um"], cmap="viridis", linewidths=0)
    figure.colorbar(dots, ax=axes, shrink=0.6, label="distance from the lattice (um)")
    axes.set_aspect("equal")
    axes.set_xlabel("stage x (um)")
    axes.set_ylabel("stage y (um)")
    axes.set_title(
        f"Foil holes of square {shown['grid_square'].iloc[0]}: residual {calibration.residual_um:.3f} um, "
        f"{calibration.collisions} collisions",
        loc="left",
        fontsize=11,
        parse_math=False,
    )
    return save_figure(figure, path)
