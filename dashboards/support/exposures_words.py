"""Words of the exposures instrument that page, report and command share: names of files, results in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis.exposures import SAFE_MARGIN
from dashboards.support.statement import count_of

REPORT = "exposures_report.html"


def calibration_sentence(calibration: Any) -> str:
    """Say what a calibration found, with its numbers.

    Parameters
    ----------
    calibration
        Result with ``k_um_per_unit``, ``angle_deg``, ``mirrored``, ``residual_um``, ``collisions``, ``groups``,
        ``margin`` and ``method``.
    """
    turned = f"turned by {calibration.angle_deg:.1f}°" if np.isfinite(calibration.angle_deg) else "not turned"
    axes = f"axes {turned}{' and mirrored' if calibration.mirrored else ''} against the stage"
    start = {
        "lattice": "The holes of the support tell the matrix",
        "scalar": "One number k for both axes, as in find_dupl",
        "matrix": "The matrix is as typed",
    }[calibration.method]
    parts = [f"{start}: k {calibration.k_um_per_unit:.2f} µm per unit, {axes}."]
    if np.isfinite(calibration.residual_um):
        shared = "no hole shares its lattice cell with another one"
        if calibration.collisions:
            holes = count_of(calibration.collisions, "hole")
            shared = f"{holes} in the lattice cell of another one (expected where a hole was exposed again)"
        parts.append(f"Holes lie {calibration.residual_um:.3f} µm (root mean square) from a regular lattice; {shared}.")
    if calibration.groups:
        parts.append(f"{calibration.groups} AFIS groups.")
    if np.isfinite(calibration.margin):
        parts.append(f"Margin over the runner-up {calibration.margin:.1f} (below {SAFE_MARGIN:g} it is uncertain).")
    return " ".join(parts)


def lattice_title(calibration: Any) -> str:
    """Name a calibration with how well its holes lie on a lattice.

    Parameters
    ----------
    calibration
        Result with ``method``, ``k_um_per_unit``, ``residual_um`` and ``collisions``.
    """
    name = f"Scalar k {calibration.k_um_per_unit:.2f}" if calibration.method == "scalar" else "Matrix"
    residual = f"{calibration.residual_um:.3f} µm" if np.isfinite(calibration.residual_um) else "unknown"
    return f"{name}: residual {residual}, collisions {calibration.collisions}"


def spacing_sentence(clusters: Any, calibration: Any) -> str:
    """Say which k the distances of neighbouring groups give, beside the k of the calibration.

    Parameters
    ----------
    clusters
        Groups of beam shifts with ``minimum``, ``maximum``, ``neighbours`` and ``k_um_per_unit``; None for none.
    calibration
        Result with ``k_um_per_unit`` and ``method``.
    """
    if clusters is None:
        return "Beam shifts fall into too few groups for distances between them."
    mean = clusters.neighbours["distance"][clusters.neighbours["used"]].mean() if len(clusters.neighbours) else np.nan
    start = f"By clusters alone, as in find_dupl: neighbours are {mean:.4f} units apart on average"
    if not np.isfinite(clusters.k_um_per_unit):
        return f"{start}; with a hole spacing that would give k."
    spacing = clusters.k_um_per_unit * mean
    return (
        f"{start}; a hole spacing of {spacing:.3g} µm over that gives k {clusters.k_um_per_unit:.2f}. "
        f"The calibration in use has {calibration.k_um_per_unit:.2f}."
    )


def duplicates_sentence(result: Any) -> str:
    """Say how many exposures were shot where another one had been.

    Parameters
    ----------
    result
        Result with ``summary()``, ``radius_um`` and ``keep`` among its settings.
    """
    found = result.summary()
    count, bad, groups = found["exposures"], found["bad"], found["groups"]
    if not groups:
        return f"No two of {count:,} exposures lie within {micrometres(result.radius_um)} of each other."
    causes = ", ".join(count_of(number, cause) for cause, number in found["causes"].items() if number)
    return (
        f"{bad:,} of {count:,} exposures are bad ({100 * bad / max(count, 1):.1f} %), in {groups:,} "
        f"{'group' if groups == 1 else 'groups'} within {micrometres(result.radius_um)}: {causes}."
    )


def micrometres(length: float) -> str:
    """Return a radius with its unit, to four digits, as every place of the page and the report says it.

    Parameters
    ----------
    length
        In µm.

    Examples
    --------
    >>> micrometres(0.4275), micrometres(2.0)
    ('0.4275 µm', '2 µm')
    """
    return f"{length:.4g} µm"


def radius_sentence(result: Any) -> str:
    """Say the search radius and where it is from.

    Parameters
    ----------
    result
        Result with ``radius_um`` and ``radius_source``.
    """
    source = result.radius_source.replace(" um", " µm").replace(" x ", " × ")
    return f"{micrometres(result.radius_um)}, {'as typed' if source == 'given' else source}"


def group_title(result: Any, group: int) -> str:
    """Name a duplicate group and its place among all.

    Parameters
    ----------
    result
        Result with ``table``.
    group
        Its number, from 0.
    """
    numbers = group_numbers(result)
    rows = result.table[result.table["group"] == group]
    place = int(np.searchsorted(numbers, group)) + 1
    return f"Group {place} of {len(numbers)}: {len(rows)} exposures of one place"


def group_numbers(result: Any) -> np.ndarray:
    """Return the numbers of the duplicate groups, increasing.

    Parameters
    ----------
    result
        Result with ``table``, or None.
    """
    return (
        np.unique(result.table["group"].to_numpy()) if result is not None and len(result.table) else np.array([], int)
    )


def member_words(row: Mapping[str, Any], first_acquired: Any) -> str:
    """Say of one exposure of a group when, where and why.

    Parameters
    ----------
    row
        Row of the table of duplicates.
    first_acquired
        Time of the first exposure of the group.
    """
    where = f"square {row['grid_square']}, hole {row['foil_hole']}, area {row['area']}"
    when = f"{clock(row['acquired'])} UTC"
    if not row["cause"]:
        return f"{when}, the first · {where}"
    later = time_between(first_acquired, row["acquired"])
    overlap = f", {100 * row['overlap']:.0f} % of the beam shared" if np.isfinite(row["overlap"]) else ""
    return f"{when}, {later} later · {where} · {row['cause']} at {row['distance_um']:.3f} µm{overlap}"


def clock(moment: Any) -> str:
    """Return a time as text in its own zone, to the second; nothing when there is none.

    Parameters
    ----------
    moment
        Time, or NaT.
    """
    return "" if pd.isna(moment) else f"{moment:%Y-%m-%d %H:%M:%S}"


def time_between(first: Any, second: Any) -> str:
    """Return the time from one moment to another in words.

    Parameters
    ----------
    first, second
        Times.

    Examples
    --------
    >>> time_between(pd.Timestamp("2020-01-01 10:00"), pd.Timestamp("2020-01-01 12:30"))
    '2 h 30 min'
    """
    if pd.isna(first) or pd.isna(second):
        return "some time"
    seconds = abs((second - first).total_seconds())
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def problem_sentence(row: Mapping[str, str]) -> str:
    """Say what could not be used and why, what was expected and what was found.

    Parameters
    ----------
    row
        Row of a session's problems.
    """
    start, expected = f"{row['file']} is left out ({row['reason']})", row["expected"]
    if not expected:
        return f"{start}: {row['found']}"
    must = expected if expected.startswith(("be ", "have ")) else f"be {expected}"
    return f"{start}: it must {must}; got {row['found']}."


_WRITTEN = {
    "_badfiles_jpg.txt": "micrographs to reject, as find_dupl names them",
    "_badfiles_tiff.txt": "movies to reject, as find_dupl names them",
    "_badfiles_rawdata.txt": "movies to reject, with their folders",
    "_badfiles_notfound.txt": "movies to reject that were not found",
    "_cryosparc_paths.txt": "movies to reject, for cryoSPARC's Exposure Sets",
    "_cryosparc_keep_paths.txt": "movies to keep, for cryoSPARC's Exposure Sets",
    "_exposures.csv": "all exposures: position, group, kept or bad",
    "_groups.csv": "exposures of the duplicate groups, with causes",
    "_pairs.csv": "pairs within the radius, with distances",
    "_squares.csv": "exposures and bad ones of every grid square",
    "_predose.csv": "what each field of view had been exposed to before",
    "_optics_groups.star": "all exposures with their optics groups, for RELION",
    ".png": "montage of the pairs with their foil holes",
}


def purpose(name: str) -> str:
    """Say what a file that the page writes is for.

    Parameters
    ----------
    name
        Of the file.

    Examples
    --------
    >>> purpose("duplicates_squares.csv")
    'exposures and bad ones of every grid square'
    """
    return next((words for ending, words in _WRITTEN.items() if name.endswith(ending)), "")
