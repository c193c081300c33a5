"""``graticule demo``: sample data with its truth, every step of the instrument on it, and the pages to look at it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from cyclopts import App

import analysis
from analysis.files import whole_file
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
from dashboards.support.acts import Outcome, Run, act, print_outcome
from dashboards.support.figures import save_model_figures
from dashboards.support.flatfield_command import save_comparison
from dashboards.support.flatfield_report import write_flatfield_report
from dashboards.support.flatfield_words import MODEL_TABLE, REPORT
from dashboards.support.options import settings_of_file

VERSION = "demo-1"
MARK = "drawn.json"
"""File that tells data of a demonstration from a person's own."""

app = App(name="demo")


@dataclass(frozen=True)
class Demo:
    """What the demonstration made.

    Attributes
    ----------
    roots
        Folders of the sample slides.
    working_dir
        Folder of the results.
    files
        What was written: ``what, file``.
    summary
        Numbers of each step.
    """

    roots: tuple[Path, ...]
    working_dir: Path
    files: pd.DataFrame
    summary: dict[str, Any]


def make_demo(folder: Path, run: Run) -> Demo:
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
    folder = Path(folder)
    working_dir = folder / "results"
    roots = draw_data(folder / "data", run)
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
    return Demo(roots, working_dir, pd.DataFrame(made, columns=["what", "file"]), summary)


def draw_data(folder: Path, run: Run) -> tuple[Path, ...]:
    """Draw the sample slides, unless they are there from last time.

    Raises
    ------
    ValueError
        When the folder holds anything else.
    """
    mark = folder / MARK
    drawn = json.loads(json.dumps({"graticule": analysis.__version__, **EXAMPLE_COHORT}))
    known = json.loads(mark.read_text(encoding="utf-8")) if mark.exists() else None
    if known is not None and known.get("drawn") == drawn:
        roots = tuple((folder / name).resolve() for name in known["roots"])
        if all((root / "sampledef.csv").exists() for root in roots):
            return roots
    if known is None and folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} must be empty or from an earlier demo; it holds other files. Choose another --dir.")
    run.progress(0, 1, "drawing sample slides")
    roots = draw_cohort(folder, **EXAMPLE_COHORT).roots
    with whole_file(mark, "w", encoding="utf-8") as handle:
        json.dump({"drawn": drawn, "roots": [root.name for root in roots]}, handle)
    run.progress(1, 1, "drawing sample slides")
    return roots


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


@act()
def demo(run: Run, *, dir: Path = Path("demo"), serve: bool = True, port: int = 5006) -> Outcome:
    """Make sample data, run the instruments on it, and serve them.

    Parameters
    ----------
    dir
        Folder for data and results; made when missing.
    serve
        Serve the pages afterwards, until Ctrl-C.
    port
        Port of the pages; 0 takes any free one.
    """
    made = make_demo(dir, run)
    run.progress.close()
    outcome = Outcome(made.summary, table=made.files)
    if serve:
        from dashboards.support.serving import serve as serve_pages

        print_outcome(outcome)
        serve_pages(roots=made.roots, working_dir=made.working_dir, port=port)
        return Outcome({})
    return outcome


app.default(demo)
app.config = settings_of_file
