"""The calibration tab of the exposures page: beam shifts and their groups, and the lattice that proves the matrix."""

from __future__ import annotations

from typing import Any

import holoviews as hv
import numpy as np
import pandas as pd
import panel as pn
import panel_material_ui as pmui
from scipy.spatial.distance import pdist, squareform

from dashboards.support.exposures_map_view import no_session
from dashboards.support.exposures_plots import padded, plot_beam_shifts, plot_distances, plot_lattice
from dashboards.support.exposures_tables import show_tidy
from dashboards.support.exposures_words import calibration_sentence, lattice_title, spacing_sentence
from dashboards.support.parts import card, say, words
from dashboards.support.tabs import Shown, either, live, pane

_HALVES = {
    "ncols": 2,
    "sizing_mode": "stretch_width",
    "styles": {"gap": "12px", "grid-template-columns": "minmax(0, 1fr) minmax(0, 1fr)"},
}


def calibrate_tab(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
    """Return the calibration in a sentence, and the pictures to judge it by."""
    verdict, compared, by_clusters = (words("", variant="body1", margin=(4, 4)) for _ in range(3))
    candidates = pn.Column(sizing_mode="stretch_width")
    on = ["calibrated", "session"]
    lattices = [
        # one scale and one view: what is zoomed on the left is zoomed on the right
        pn.pane.HoloViews(
            live(lambda kind=kind: draw_lattice(dashboard, kind), dashboard, ["calibrated", "grid_square"], shown),
            linked_axes=True,
            sizing_mode="stretch_width",
        )
        for kind in ("calibration", "comparison")
    ]

    def say_what(*_: Any) -> None:
        calibrated = dashboard.calibrated
        if calibrated is None:
            return
        say(verdict, calibration_sentence(calibrated.calibration))
        say(by_clusters, spacing_sentence(calibrated.clusters, calibrated.calibration))
        say(compared, lattices_sentence(dashboard))

    def list_candidates(*_: Any) -> None:
        if dashboard.calibrated is not None:
            show_tidy(candidates, dashboard.calibrated.calibration.table)

    dashboard.param.watch(say_what, ["calibrated", "grid_square"])
    dashboard.param.watch(shown(list_candidates), ["calibrated"])
    say_what()
    shown(list_candidates)()
    content = pmui.Column(
        verdict,
        pn.GridBox(
            card(pane(live(lambda: draw_beam_shifts(dashboard), dashboard, on, shown))),
            card(pane(live(lambda: draw_distances(dashboard), dashboard, on, shown))),
            **_HALVES,
            margin=(12, 0),
        ),
        by_clusters,
        card(compared, pn.GridBox(*lattices, **_HALVES), title="Do the holes lie on a lattice?", margin=(12, 0)),
        card(
            words(
                "The margin is the difference of the two best scores; filled is the share of lattice cells in use.",
                muted=True,
            ),
            candidates,
            title="Orientations tried, best first",
            margin=(12, 0),
        ),
        sizing_mode="stretch_width",
        margin=(12, 0),
    )
    return either(dashboard, ["calibrated"], lambda: dashboard.calibrated is not None, content, no_session(dashboard))


# ---- groups of beam shifts -------------------------------------------------------------------------------


def shift_groups(session: Any, calibrated: Any, *, by_clusters: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the beam shift and group of every exposure, and the centres of the groups, both numbered from 1.

    Parameters
    ----------
    session
        Exposures.
    calibrated
        Result with ``optics`` and ``clusters``.
    by_clusters
        Whether the clusters of beam shifts are meant, and not the optics groups.
    """
    shots = session.exposures[["beam_shift_x", "beam_shift_y"]].copy()
    if by_clusters and calibrated.clusters is not None and len(calibrated.clusters.labels) == len(shots):
        table = calibrated.clusters.table.rename(columns={"cluster": "group"})
        first = int(table["group"].min()) if len(table) else 0
        shots["group"] = np.asarray(calibrated.clusters.labels) + 1
        return shots, table.assign(group=table["group"] + 1 - first)
    table = calibrated.optics.table
    group = session.exposures["file"].map(pd.Series(table["optics_group"].to_numpy(), index=table["file"]))
    shots["group"] = group.fillna(0).astype(int)
    return shots, calibrated.optics.centres.rename(columns={"optics_group": "group"})


_NO_SHOTS = pd.DataFrame({"beam_shift_x": [], "beam_shift_y": [], "group": pd.Series([], dtype=int)})


def _groups(dashboard: Any) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    if dashboard.calibrated is None or dashboard.session is None:
        return _NO_SHOTS, _NO_SHOTS.assign(exposures=0), np.eye(2)
    calibrated = dashboard.calibrated
    by_clusters = dashboard.calibration == "clusters"
    return *shift_groups(dashboard.session, calibrated, by_clusters=by_clusters), calibrated.calibration.matrix


def draw_beam_shifts(dashboard: Any) -> hv.Overlay:
    """Return the beam shifts of a dashboard's session with their groups."""
    return plot_beam_shifts(*_groups(dashboard))


def draw_distances(dashboard: Any) -> hv.Overlay:
    """Return the distances between the groups of a dashboard's session."""
    _, centres, _ = _groups(dashboard)
    if len(centres) < 2:
        return plot_distances(np.full((1, 1), np.nan), ["1"], title="One group only")
    apart = pdist(centres[["beam_shift_x", "beam_shift_y"]].to_numpy(float))
    title = f"Distances in beam shift, {apart.min():.4f} to {apart.max():.4f}"
    return plot_distances(squareform(apart), [str(number) for number in centres["group"]], title=title)


# ---- lattices --------------------------------------------------------------------------------------------


def lattice_square(dashboard: Any) -> tuple[str, str] | None:
    """Return session and grid square of the lattice shown: the one chosen, or the one with the most holes."""
    holes = dashboard.calibrated.calibration.holes
    names = holes[["session", "grid_square"]].value_counts().index
    chosen = [name for name in names if "/".join(filter(None, name)) == dashboard.grid_square]
    return (chosen or list(names) or [None])[0]


def lattices_sentence(dashboard: Any) -> str:
    """Say which lattices are seen, and what to look for."""
    if lattice_square(dashboard) is None:
        return "There are no holes."
    square = "/".join(filter(None, lattice_square(dashboard)))
    start = (
        f"Foil holes of grid square {square}. Right positions lie on the crosses; red lines show how far off they are"
    )
    end = ", red rings holes that share a cell with another one. Choose another square under Picture."
    if dashboard.calibrated.comparison is None:
        return f"{start}{end} The holes tell no matrix to compare with."
    return start + end


def draw_lattice(dashboard: Any, kind: str) -> hv.Overlay:
    """Return the holes of one grid square on their lattice, with the calibration in use or the one beside it."""
    calibrated = dashboard.calibrated
    shown = None if calibrated is None else getattr(calibrated, kind)
    if shown is None:
        nothing = _NO_HOLES if calibrated is None else calibrated.calibration.holes.iloc[:0]
        return plot_lattice(nothing, limits=((0.0, 1.0), (0.0, 1.0)), largest_um=0.1, title="Nothing to compare with")
    square = lattice_square(dashboard)
    both = [one.holes for one in (calibrated.calibration, calibrated.comparison) if one is not None]
    inside = [holes[(holes["session"] == square[0]) & (holes["grid_square"] == square[1])] for holes in both]
    places = pd.concat([holes[["x_um", "y_um"]] for holes in inside])
    limits = padded(places["x_um"].to_numpy(), places["y_um"].to_numpy())
    residual = np.concatenate([holes["residual_um"].to_numpy(float) for holes in inside])
    largest = float(np.nanpercentile(residual, 95)) if np.isfinite(residual).any() else 0.1
    holes = inside[0] if kind == "calibration" else inside[1]
    return plot_lattice(holes, limits=limits, largest_um=max(largest, 0.01), title=lattice_title(shown))


_NO_HOLES = pd.DataFrame(
    {
        name: []
        for name in (
            "session", "grid_square", "foil_hole", "x_um", "y_um", "lattice_x_um", "lattice_y_um", "residual_um",
            "cell_row", "cell_column",
        )
    }
)  # fmt: skip
