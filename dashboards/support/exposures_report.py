"""The exposures instrument's report: calibration, map, duplicates and lists in one file that opens offline."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import holoviews as hv
import numpy as np
import pandas as pd
from bokeh.layouts import column, row
from bokeh.model import Model
from bokeh.models import ColumnDataSource, CustomJS, Select

from analysis.exposures import Calibration, Duplicates, Session, find_duplicates, make_montage
from analysis.provenance import describe_inputs, versions
from dashboards.support.exposures_map import HEIGHT_BY_WIDTH, MOST_CIRCLES, ExposureMap
from dashboards.support.exposures_plots import padded, plot_lattice, square_limits
from dashboards.support.exposures_tables import groups_table, heading, tidy
from dashboards.support.exposures_words import (
    calibration_sentence,
    duplicates_sentence,
    lattice_title,
    micrometres,
    radius_sentence,
)
from dashboards.support.exposures_work import has_pictures, png
from dashboards.support.report import Report

RADII_UM = tuple(round(0.1 * step, 1) for step in range(1, 11))
"""Radii that the report's map can be looked at with, beside the one of the result."""
_LISTED_FILES = 300
_SHOWN_PAIRS = 24
_CHOOSE = """
const flag = flags.get_column(fields[cb_obj.value])
const x = points.get_column("x"), y = points.get_column("y")
const places = {kept: {x: [], y: []}, bad: {x: [], y: []}, circles: {x: [], y: []}}
for (let row = 0; row < flag.length; row++) {
  if (flag[row] == 0) { continue }
  for (const name of [flag[row] == 2 ? "bad" : "kept", "circles"]) {
    if (name == "circles" && places.circles.x.length >= most) { continue }
    places[name].x.push(x[row])
    places[name].y.push(y[row])
  }
}
kept.data = places.kept
bad.data = places.bad
circles.data = places.circles
for (const item of legend.items) { item.visible = item.renderers[0].data_source.get_length() > 0 }
circle.radius = {value: radii[cb_obj.value]}
heading.text = titles[cb_obj.value]
"""
_GO_TO = """
const [[x0, x1], [y0, y1]] = limits[cb_obj.value]
x_range.setv({start: x0, end: x1})
y_range.setv({start: y0, end: y1})
"""


def write_exposures_report(
    path: str | os.PathLike[str],
    session: Session,
    calibration: Calibration,
    duplicates: Duplicates,
    *,
    comparison: Calibration | None = None,
    images: Any = None,
    radii_um: Sequence[float] = RADII_UM,
) -> Path:
    """Write the report of a session's duplicates and of the calibration they were found with.

    Parameters
    ----------
    path
        The HTML file.
    session, calibration, duplicates
        What was read and found.
    comparison
        Another calibration, whose lattice is shown beside.
    images
        Pictures of the session, as of `analysis.exposures.find_images`, for a montage of the pairs.
    radii_um
        Further radii to look at the map with.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ValueError
        When there is no exposure to report on.
    """
    if not len(duplicates.exposures):
        raise ValueError(f"A report needs at least one exposure that can be read; got none in {session.folder}.")
    report = Report(
        "Exposures of an EPU session",
        _summary(calibration, duplicates),
        {"folder": str(session.folder), **calibration.settings, **duplicates.settings},
        versions(),
        session_inputs(session),
    )
    warnings = [*session.warnings, *duplicates.warnings]
    report.add_section(
        "Verdict",
        "\n\n".join([duplicates_sentence(duplicates), calibration_sentence(calibration), *dict.fromkeys(warnings)]),
    )
    report.add_section(
        "Map",
        "All exposures on the stage, in µm. Blue discs are kept, vermilion diamonds are bad: an earlier exposure lies "
        "within the radius. Choose another radius to see what it would find; the tables are of the first one.",
        map_with_radii(session, calibration, duplicates, radii_um),
    )
    _add_lattices(report, calibration, comparison)
    _add_tables(report, session, duplicates)
    if has_pictures(images) and len(duplicates.table):
        report.add_section(
            "Pairs",
            "Micrographs of duplicate pairs, with their foil holes.",
            *map(
                png,
                rows_of_pairs(make_montage(duplicates, images, pairs_per_row=2, most_pairs=_SHOWN_PAIRS, tile_px=190)),
            ),
        )
    return report.write(Path(path))


def _summary(calibration: Calibration, duplicates: Duplicates) -> dict[str, Any]:
    found, fitted = duplicates.summary(), calibration.summary()
    shown = {name: found[name] for name in ("exposures", "bad", "bad_percent", "groups", "radius_um")}
    names = ("k_um_per_unit", "angle_deg", "mirrored", "residual_um", "margin")
    shown.update({name: fitted[name] for name in names})
    return {heading(name): value for name, value in shown.items()}


def rows_of_pairs(montage: np.ndarray) -> list[np.ndarray]:
    """Cut a montage where nothing is drawn from side to side, so that a printed page ends between two pairs.

    Parameters
    ----------
    montage : (rows, columns) array of uint8
        White where nothing is drawn.

    Returns
    -------
    list of (rows, columns) arrays
        The first holds the heading and the first row of pairs.
    """
    drawn = np.concatenate([[False], (montage < np.iinfo(montage.dtype).max).any(axis=1), [False]])
    starts, ends = np.flatnonzero(np.diff(drawn.astype(np.int8))).reshape(-1, 2).T
    starts = np.delete(starts, slice(1, 2))
    ends = ends[1:] if len(ends) > 1 else ends
    return [montage[start:end] for start, end in zip(starts, ends, strict=True)]


def session_inputs(session: Session) -> pd.DataFrame:
    """Return the files read with their fingerprints; of many, one row a session with a fingerprint of all.

    Parameters
    ----------
    session
        What was read.
    """
    table = session.table
    if len(table) <= _LISTED_FILES and session.folder.is_dir():
        return describe_inputs(session.folder / file for file in table["file"])
    rows = []
    for name, part in table.groupby("session", sort=False):
        lines = "\n".join(sorted(part["file"] + " " + part["fingerprint"]))
        rows.append(
            {
                "folder": str(session.folder / name),
                "files": len(part),
                "fingerprint_of_all": hashlib.sha256(lines.encode()).hexdigest(),
            }
        )
    return pd.DataFrame(rows)


# ---- map -------------------------------------------------------------------------------------------------


def map_with_radii(
    session: Session, calibration: Calibration, duplicates: Duplicates, radii_um: Sequence[float]
) -> Model:
    """Map with a choice of radii and of grid squares, which work without Python and network.

    Parameters
    ----------
    session, calibration, duplicates
        What was read and found.
    radii_um
        Further radii; those that join too many exposures are left out.

    Returns
    -------
    bokeh.model.Model
        Layout for `dashboards.support.report.Report.add_section`.
    """
    found = _by_radius(session, calibration, duplicates, radii_um)
    titles = {name: _map_title(one) for name, one in found.items()}
    first = next(iter(found))
    drawn = ExposureMap().draw(duplicates.exposures, radius_um=duplicates.radius_um, title=titles[first])
    figure = hv.render(drawn)
    figure.output_backend = "canvas"
    parts = {renderer.name: renderer for renderer in figure.renderers if renderer.name}
    fields = {name: f"radius_{number}" for number, name in enumerate(found)}
    choice = Select(title="Radius", options=list(found), value=first, sizing_mode="stretch_width")
    choice.js_on_change(
        "value",
        CustomJS(
            args={
                "points": parts["exposures"].data_source,
                **{name: parts[name].data_source for name in ("kept", "bad", "circles")},
                "circle": parts["circles"].glyph,
                "legend": figure.legend[0],
                "heading": figure.title,
                "flags": ColumnDataSource({fields[name]: _flags(one) for name, one in found.items()}),
                "fields": fields,
                "radii": {name: one.radius_um for name, one in found.items()},
                "titles": titles,
                "most": MOST_CIRCLES,
            },
            code=_CHOOSE,
        ),
    )
    return column(row(choice, _squares(figure, duplicates), sizing_mode="stretch_width", spacing=24), figure,
                  sizing_mode="stretch_width")  # fmt: skip


def _by_radius(session: Any, calibration: Any, duplicates: Any, radii_um: Sequence[float]) -> dict[str, Any]:
    found = {f"{micrometres(duplicates.radius_um)}, as in the tables": duplicates}
    for radius in sorted(set(radii_um) - {duplicates.radius_um}):
        try:
            one = find_duplicates(session, calibration, radius_um=radius, keep=duplicates.settings["keep"])
        except ValueError:  # too many pairs, and more at every larger radius
            break
        found[f"{micrometres(radius)}"] = one
    return found


def _map_title(duplicates: Any) -> str:
    count, bad = len(duplicates.exposures), int(duplicates.exposures["bad"].sum())
    return f"{count:,} exposures; {bad:,} bad within {micrometres(duplicates.radius_um)}"


def _flags(duplicates: Any) -> np.ndarray:
    """0 for an exposure that stands alone, 1 for a kept member of a group, 2 for a bad one."""
    exposures = duplicates.exposures
    member, bad = (exposures["group"] >= 0).to_numpy(), exposures["bad"].to_numpy(bool)
    return np.where(bad, 2, member).astype(np.uint8)


def _squares(figure: Any, duplicates: Any) -> Select:
    """A choice of grid squares that the map then shows."""
    limits = square_limits(duplicates.exposures, height_by_width=HEIGHT_BY_WIDTH)
    choice = Select(title="Grid square", options=list(limits), value="all", sizing_mode="stretch_width")
    args = {"x_range": figure.x_range, "y_range": figure.y_range, "limits": limits}
    choice.js_on_change("value", CustomJS(args=args, code=_GO_TO))
    return choice


# ---- the rest --------------------------------------------------------------------------------------------


def _add_lattices(report: Report, calibration: Calibration, comparison: Calibration | None) -> None:
    names = calibration.holes[["session", "grid_square"]].value_counts().index
    if not len(names):
        return
    both = [one for one in (calibration, comparison) if one is not None]
    inside = [
        one.holes[(one.holes["session"] == names[0][0]) & (one.holes["grid_square"] == names[0][1])] for one in both
    ]
    places = pd.concat([holes[["x_um", "y_um"]] for holes in inside])
    limits = padded(places["x_um"].to_numpy(), places["y_um"].to_numpy())
    residual = np.concatenate([holes["residual_um"].to_numpy(float) for holes in inside])
    largest = max(float(np.nanpercentile(residual, 95)) if np.isfinite(residual).any() else 0.1, 0.01)
    pictures = [
        plot_lattice(holes, limits=limits, largest_um=largest, title=lattice_title(one))
        for holes, one in zip(inside, both, strict=True)
    ]
    square = "/".join(filter(None, names[0]))
    report.add_section(
        "Calibration",
        f"Foil holes of grid square {square} on the lattice fitted to them. Right positions lie on the crosses; red "
        "lines show how far off they are, red rings holes that share a cell with another one.",
        pictures,
        *([tidy(calibration.table)] if len(calibration.table) else []),
    )


def _add_tables(report: Report, session: Session, duplicates: Duplicates) -> None:
    report.add_section("Grid squares", "How many exposures of each are bad.", tidy(duplicates.squares))
    if len(duplicates.table):
        report.add_section(
            "Duplicate groups",
            "Exposures of one place, in order of acquisition.",
            # their names tell time, foil hole and area, and need the width
            tidy(groups_table(duplicates).drop(columns=["acquired_utc", "foil_hole", "area"])),
        )
    report.add_section(
        "Beam diameters", f"The radius is {radius_sentence(duplicates)}.",
        tidy(duplicates.beam_diameters),
    )  # fmt: skip
    if len(session.problems):
        report.add_section(
            "Left out", "What could not be used, what was expected and what was found.", session.problems
        )
