"""The exposures part of ``graticule demo``."""

from __future__ import annotations

from pathlib import Path

import analysis
from analysis.exposures import (
    assign_optics_groups,
    assume_beam_shift,
    calibrate_beam_shift,
    find_duplicates,
    find_images,
    read_epu_session,
    save_montage,
    write_optics_star,
)
from analysis.synthetic.exposures import EXAMPLE_SESSION, draw_session
from analysis.tables import write_table
from dashboards.support.acts import Run
from dashboards.support.demo import Demo, draw_once
from dashboards.support.exposures_report import write_exposures_report
from dashboards.support.exposures_words import REPORT
from dashboards.support.exposures_writing import save_calibration, write_lists


def make_exposures_demo(folder: Path, run: Run) -> Demo:
    """Draw an EPU session with planted duplicates, calibrate its beam shift, find them, and write it all down.

    Parameters
    ----------
    folder
        A new or empty folder, or one of an earlier demonstration, whose results are replaced.
    run
        Tells progress and hears a request to stop.

    Raises
    ------
    ValueError
        When the folder holds other data.
    """
    results = folder / "results"
    drawn = {"graticule": analysis.__version__, **EXAMPLE_SESSION}
    draw_once(folder / "session", drawn, run, "drawing a sample EPU session", _draw)
    session = read_epu_session(folder / "session", **run.keywords)
    calibration = calibrate_beam_shift(session, **run.keywords)
    images = find_images(session)
    found = find_duplicates(session, calibration, images=images)
    root = results / "duplicates"
    lists, _ = write_lists(found, session, root)
    groups = assign_optics_groups(session, calibration)
    run.progress(0, 1, "writing the report")
    report = write_exposures_report(
        results / REPORT,
        session,
        calibration,
        found,
        comparison=assume_beam_shift(session, calibration.k_um_per_unit),
        images=images,
    )
    run.progress(1, 1, "writing the report")
    made = [
        ("sample EPU session, duplicates known", folder / "session"),
        ("report, opens without a network", report),
        *[("lists and tables of duplicates", path) for path in lists],
        *[("calibration of the beam shift", path) for path in save_calibration(calibration, root)],
        ("optics groups", write_table(groups.table, results / "duplicates_optics_groups.csv")),
        ("optics groups for RELION", write_optics_star(groups, session, results / "duplicates_optics_groups.star")),
        ("pictures of the pairs", save_montage(results / "duplicates.png", found, images)),
    ]
    summary = {"calibration": calibration.summary(), "duplicates": found.summary(), "optics": groups.summary()}
    opened = {"GRATICULE_EPU": str((folder / "session").resolve()), "GRATICULE_EPU_OUTPUT": str(results.resolve())}
    return Demo(opened, made, summary)


def _draw(folder: Path) -> list[str]:
    draw_session(folder, images=True, **EXAMPLE_SESSION)
    return ["Images-Disc1"]
