"""The circles part of ``graticule demo``."""

from __future__ import annotations

from pathlib import Path

import analysis
from analysis.circles import run_pipeline
from analysis.synthetic.circles import EXAMPLE_ACQUISITIONS, draw_acquisitions
from dashboards.support.acts import Run
from dashboards.support.circles_command import REPORT
from dashboards.support.circles_report import write_circles_report
from dashboards.support.demo import Demo, draw_once


def make_circles_demo(folder: Path, run: Run) -> Demo:
    """Draw nights of acquisitions, find their circles, and write it all down.

    Parameters
    ----------
    folder
        A new or empty folder, or one of an earlier demonstration, whose results are brought up to date.
    run
        Tells progress and hears a request to stop.

    Raises
    ------
    ValueError
        When the folder holds other data.
    """
    drawn, results = folder / "drawn", folder / "results"
    known = {"graticule": analysis.__version__, **EXAMPLE_ACQUISITIONS}
    draw_once(drawn, known, run, "drawing sample acquisitions", _draw)
    done = run_pipeline(drawn / "acquisitions", results, **run.keywords)
    run.progress(0, 1, "writing the report")
    write_circles_report(results / REPORT, results)
    run.progress(1, 1, "writing the report")
    made = [
        ("sample acquisitions", drawn / "acquisitions"),
        ("where their circles truly are", drawn / "truth.csv"),
        ("report, opens without a network", results / REPORT),
        ("all circles", results / "experiments.csv"),
        ("images with their circles, and montages", results / "qc"),
    ]
    opened = {
        "GRATICULE_ACQUISITIONS": str((drawn / "acquisitions").resolve()),
        "GRATICULE_CIRCLES": str(results.resolve()),
    }
    return Demo(opened, made, done.summary())


def _draw(folder: Path) -> list[str]:
    draw_acquisitions(folder, **EXAMPLE_ACQUISITIONS)
    return ["acquisitions", "truth.csv"]
