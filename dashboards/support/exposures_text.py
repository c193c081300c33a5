"""The settings of the exposures page as text: Python and shell that give the same lists."""

from __future__ import annotations

from typing import Any

from analysis.exposures import assume_beam_shift, calibrate_beam_shift, cluster_beam_shifts, find_duplicates
from dashboards.support.exposures_work import parse_matrix
from dashboards.support.statement import Name, python_call, shell_line


def python_text(dashboard: Any) -> str:
    """Return the Python text that gives what is shown.

    Parameters
    ----------
    dashboard
        The page.
    """
    needed, lines = _calibration_lines(dashboard)
    names = sorted({"read_epu_session", "find_duplicates", *needed})
    return "\n".join(
        [
            f"from analysis.exposures import {', '.join(names)}",
            "",
            f"session = read_epu_session({dashboard.folder!r})",
            *lines,
            python_call(find_duplicates, Name("session, calibration"), dashboard.settings, result="duplicates"),
            "print(duplicates.summary())",
        ]
    )


def _calibration_lines(dashboard: Any) -> tuple[list[str], list[str]]:
    """Names to import and lines that calibrate."""
    session, by, spacing = Name("session"), dashboard.calibration, dashboard.spacing_um
    if by == "automatic":
        call = python_call(calibrate_beam_shift, session, {"hole_spacing_um": spacing}, result="calibration")
        return ["calibrate_beam_shift"], [call]
    if by == "clusters":
        known = dashboard.session.hole_spacing_um if dashboard.session is not None else None
        how = {"clusters": dashboard.clusters or None, "hole_spacing_um": spacing or known}
        lines = [python_call(cluster_beam_shifts, session, how, result="groups")]
        return ["assume_beam_shift", "cluster_beam_shifts"], [*lines, _assume("groups.k_um_per_unit")]
    given = dashboard.k_um_per_unit if by == "k typed" else _typed_matrix(dashboard)
    return ["assume_beam_shift"], [_assume(repr(given) if given is not None else "matrix")]


def _assume(matrix: str) -> str:
    return f"calibration = {assume_beam_shift.__name__}(session, {matrix})"


def _typed_matrix(dashboard: Any) -> list[list[float]] | None:
    try:
        return parse_matrix(dashboard.matrix).tolist()
    except ValueError:
        return None


def shell_text(dashboard: Any) -> str:
    """Return the shell line that writes the lists and tables shown.

    Parameters
    ----------
    dashboard
        The page.
    """
    by = dashboard.calibration
    matrix = _typed_matrix(dashboard) if by == "matrix typed" else None
    return shell_line(
        "graticule exposures duplicates",
        [dashboard.folder or "FOLDER"],
        {
            "spacing": dashboard.spacing_um,
            "k": dashboard.k_um_per_unit if by == "k typed" else None,
            "clusters": dashboard.clusters if by == "clusters" else None,
            "matrix": [number for line in matrix for number in line] if matrix else None,
            "rad": dashboard.settings["radius_um"],
            "keep": None if dashboard.keep == "first" else dashboard.keep,
            "o": dashboard.root,
            "rawdata": dashboard.rawdata,
            "montage": dashboard.montage,
            "rescale": dashboard.montage and dashboard.rescale,
            "predose": dashboard.predose is not None,
        },
    )
