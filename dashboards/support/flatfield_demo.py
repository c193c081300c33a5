"""The flatfield part of ``graticule demo``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import analysis
from analysis.flatfield import (
    Comparison,
    Groups,
    Slides,
    check_model,
    compare_mean_images,
    create_model,
    dividing_lines,
    register_model,
    sort_slides,
    suggest_groups,
)
from analysis.synthetic.flatfield import EXAMPLE_COHORT, draw_cohort
from analysis.tables import write_table
from dashboards.support.acts import Run
from dashboards.support.demo import Demo, draw_once
from dashboards.support.figures import save_model_figures
from dashboards.support.flatfield_command import save_comparison
from dashboards.support.flatfield_report import write_flatfield_report
from dashboards.support.flatfield_words import MODEL_TABLE, REPORT

VERSION = "demo-1"


def make_flatfield_demo(folder: Path, run: Run) -> Demo:
    """Draw a cohort, compare it, find its groups, make and test the model of the largest, and write it all down.

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
    working_dir = folder / "results"
    drawn = {"graticule": analysis.__version__, **EXAMPLE_COHORT}
    names = draw_once(folder / "data", drawn, run, "drawing sample slides", _draw)
    roots = tuple((folder / "data" / name).resolve() for name in names)
    comparison = compare_mean_images(roots, working_dir=working_dir, **run.keywords)
    groups = suggest_groups(comparison)
    model, tested, files = _model_of_largest_group(comparison, groups, roots, working_dir, run)
    order = sort_slides(comparison.slides)
    lines = dividing_lines(comparison.slides, order)
    pictures = []
    for plot in ("average", "filter-groups"):
        pictures += save_comparison(comparison, working_dir, plot=plot, order=order, lines=lines, run=run)
    run.progress(0, 1, "writing the report")
    report = write_flatfield_report(
        working_dir / REPORT, comparison, groups=groups, model=model, correction_test=tested
    )
    run.progress(1, 1, "writing the report")
    made = [
        ("sample slides, in groups that are known", folder / "data"),
        ("report, opens without a network", report),
        ("statistic of every pair and layer", working_dir / "meanimagecomparison_table.csv"),
        ("groups and outliers", write_table(groups.table, working_dir / "meanimage_comparison_groups.csv")),
        *[("picture of all pairs", path) for path in pictures],
        *files,
    ]
    summary = {
        "comparison": comparison.summary(),
        "groups": groups.summary(),
        "model": model.summary(),
        "test": tested.summary(),
    }
    opened = {"GRATICULE_ROOTS": os.pathsep.join(map(str, roots)), "GRATICULE_WORKING_DIR": str(working_dir.resolve())}
    return Demo(opened, made, summary)


def _draw(folder: Path) -> list[str]:
    return [root.name for root in draw_cohort(folder, **EXAMPLE_COHORT).roots]


def _model_of_largest_group(
    comparison: Comparison, groups: Groups, roots: Sequence[Path], working_dir: Path, run: Run
) -> tuple[Any, Any, list[tuple[str, Path]]]:
    """Register, make and test the model; return model, test, and what was written."""
    slides = comparison.slides
    inside = tuple(slides.slides[i] for i in np.flatnonzero(groups.labels == 0))
    chosen = Slides(inside, slides.problems.iloc[:0], slides.settings)
    table = working_dir / MODEL_TABLE
    register_model(chosen, VERSION, model_table=table, replace=True)
    model = create_model(
        VERSION,
        roots=roots,
        model_table=table,
        out_dir=working_dir,
        smoothing="edge-aware",
        replace=True,
        **run.keywords,
    )
    tested = check_model(chosen, smoothing="edge-aware", **run.keywords)
    folder = working_dir / "flatfield" / f"flatfield_{VERSION}"
    layers = write_table(model.table, folder / f"flatfield_{VERSION}_layers.csv")
    before_after = write_table(tested.table, folder / f"flatfield_{VERSION}_test.csv")
    return (
        model,
        tested,
        [
            ("registered versions", table),
            *[(f"model: {name.replace('_', ' ')}", path) for name, path in model.paths.items()],
            ("model: layers", layers),
            ("model: illumination left before and after", before_after),
            *[("model: picture", path) for path in save_model_figures(model, folder)],
        ],
    )
