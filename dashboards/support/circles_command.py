"""``graticule circles``: the circles instrument on the command line, for cron and clusters."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
from cyclopts import App, Parameter, Token

from analysis.circles import Plan, aggregate_circles, plan_run, read_levels, run_pipeline
from analysis.synthetic.circles import SUBJECTS, draw_acquisitions
from dashboards.support.acts import Outcome, Run, act
from dashboards.support.options import comma_separated, options_for, settings_of_file

REPORT = "circles_report.html"
FIRST_DATE = date(2018, 4, 1)
_LINES = 20

app = App(name="circles", help="What round objects are in last night's acquisitions?")


def parse_shard(type_: Any, tokens: Sequence[Token]) -> tuple[int, int]:
    """Return ``I/N`` as two numbers.

    Raises
    ------
    ValueError
        When it is something else.
    """
    del type_
    text = tokens[0].value
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal()):
        raise ValueError(f"must be the number of this part from 0 and how many there are, such as 0/4; got {text!r}.")
    return int(index), int(count)


Shard = Annotated[tuple[int, int] | None, Parameter(converter=parse_shard, n_tokens=1, metavar="I/N")]
Names = Annotated[tuple[str, ...], Parameter(converter=comma_separated(str), n_tokens=1, metavar="A,B")]


@act(draw_acquisitions, leave_out=("drift",))
def generate(
    run: Run,
    folder: Path,
    *,
    dates: int = 2,
    subjects: Names = tuple(SUBJECTS),
    experiments: int = 2,
    dimmed: float | None = None,
    **options: Any,
) -> Outcome:
    """Draw acquisitions whose circles are known, to try the pipeline on.

    Parameters
    ----------
    folder
        Where acquisitions and truth.csv are written; new, or of an earlier drawing.
    dates
        Number of dates, from 20180401 on.
    subjects
        Which subjects: s1 has large bright circles, s2 small dim ones.
    experiments
        Number of experiments of each subject on each date.
    dimmed
        Factor by which the circles of the last date are dimmer, to see it in a control chart.
    """
    for name, count in (("dates", dates), ("experiments", experiments)):
        if count < 1:
            raise ValueError(f"{name} must be at least 1; got {count}.")
    unknown = [name for name in subjects if name not in SUBJECTS]
    if unknown or not subjects:
        raise ValueError(f"subjects must be among {', '.join(SUBJECTS)}; got {', '.join(unknown) or 'none'}.")
    _refuse_others(folder)
    names = [f"{FIRST_DATE + timedelta(days=day):%Y%m%d}" for day in range(dates)]
    run.progress(0, 1, "drawing acquisitions")
    drawn = draw_acquisitions(
        folder,
        dates=names,
        subjects={name: SUBJECTS[name] for name in subjects},
        experiments=[f"e{number + 1}" for number in range(experiments)],
        drift=None if dimmed is None else {names[-1]: dimmed},
        **options_for(draw_acquisitions, options),
    )
    run.progress(1, 1, "drawing acquisitions")
    files = [Path(folder) / "acquisitions", Path(folder) / "truth.csv"]
    return Outcome({"images": len(drawn.files), "circles": len(drawn.truth)}, files)


def _refuse_others(folder: Path) -> None:
    """Refuse a folder of acquisitions that were not drawn."""
    there = folder / "acquisitions"
    if os.path.isdir(there) and os.listdir(there) and not os.path.exists(folder / "truth.csv"):
        raise ValueError(f"folder must be new or of an earlier drawing; {there} holds other files. Choose another one.")


@act(run_pipeline)
def run(
    run: Run,
    acquisitions: Path,
    output: Path,
    *,
    shard: Shard = None,
    dry_run: bool = False,
    **options: Any,
) -> Outcome:
    """Find the circles in images that are new or have changed, and bring tables and pictures up to date.

    Parameters
    ----------
    acquisitions
        Folder of the acquisitions.
    output
        Folder of the results; not the acquisitions' folder nor in it.
    shard
        Do one part of the images only: its number from 0, as JOB_COMPLETION_INDEX counts, and how many parts there
        are. Tables and montages are then made by graticule circles aggregate.
    dry_run
        Only say what would run and why.
    """
    if dry_run:
        plan = plan_run(acquisitions, output, shard=shard, **options_for(plan_run, options), **run.keywords)
        return _planned(plan)
    done = run_pipeline(acquisitions, output, shard=shard, **options, **run.work)
    files = [path for path in done.written if path.parent == done.output]
    return Outcome(done.summary(), files, done.problems, warnings=list(done.warnings), sentence=done.sentence)


@act(plan_run)
def status(run: Run, acquisitions: Path, output: Path, *, shard: Shard = None, **options: Any) -> Outcome:
    """Say what a run would do and why; nothing is changed.

    Parameters
    ----------
    acquisitions
        Folder of the acquisitions.
    output
        Folder of the results.
    shard
        Look at one part of the images only: its number from 0, and how many parts there are.
    """
    return _planned(plan_run(acquisitions, output, shard=shard, **options, **run.keywords))


def _planned(plan: Plan) -> Outcome:
    return Outcome(plan.summary(), (), plan.problems, reasons_of(plan), list(plan.warnings))


def reasons_of(plan: Plan) -> pd.DataFrame:
    """Return how many images have each state and reason, and the first of them: ``state, reason, images, such_as``.

    Parameters
    ----------
    plan
        What a run would do.
    """
    table = plan.table[plan.table["state"] != "done"]
    if table.empty:
        return pd.DataFrame(columns=["state", "reason", "images", "such_as"])
    grouped = table.groupby(["state", "reason"], sort=False, as_index=False)
    counted = grouped.agg(images=("file", "size"), such_as=("file", "first"))
    counted["such_as"] = [os.path.relpath(file, plan.acquisitions.root) for file in counted["such_as"]]
    return counted.sort_values("images", ascending=False, kind="stable").head(_LINES).reset_index(drop=True)


@act(aggregate_circles)
def aggregate(run: Run, results: Path, *, acquisitions: Path | None = None, **options: Any) -> Outcome:
    """Put the circles and failures of all images together and make montages, after runs that shared the images.

    Parameters
    ----------
    results
        Folder of the results.
    acquisitions
        Folder of the acquisitions; where the last run looked when not given.
    """
    made = aggregate_circles(results, acquisitions=acquisitions, **options, **run.keywords)
    failed = made.failures
    problems = pd.DataFrame({"file": failed["File"], "error": failed["Stage"] + ": " + failed["Reason"]})
    problems = pd.concat([problems, made.problems], ignore_index=True)
    return Outcome(made.summary(), list(made.written), problems, warnings=list(made.warnings))


@act()
def report(
    run: Run,
    results: Path,
    *,
    output: Path = Path(REPORT),
    value: str = "R",
    other_value: str = "Mean Intensity",
    by: str | None = None,
    baseline: int | None = None,
    spread: Literal["auto", "experiments", "dates"] = "auto",
) -> Outcome:
    """Write histograms, tests, control charts and pictures as one HTML file that opens without a network.

    Parameters
    ----------
    results
        Folder of the results.
    output
        The file.
    value
        Column of experiments.csv whose histogram and control charts are shown, and by which groups are compared.
    other_value
        Column shown beside it.
    by
        Level whose names are compared; the subject when not given.
    baseline
        How many of the first dates make the limits of the control charts; all but the last when not given.
    spread
        What the limits are from: several experiments of a date, the dates, or what fits.
    """
    # Bokeh takes a second to import, and only this act needs it
    from dashboards.support.circles_report import write_circles_report

    how = {"value": value, "other_value": other_value, "by": by, "baseline": baseline, "spread": spread}
    run.progress(0, 1, "writing the report")
    written = write_circles_report(output, results, levels=read_levels(results), **how)
    run.progress(1, 1, "writing the report")
    return Outcome({"results": str(results)}, [written])


def _command(function: Any, name: str) -> None:
    app.command(App(name=name, default_command=function, config=settings_of_file, help=function.__doc__))


_command(generate, "generate")
_command(run, "run")
_command(status, "status")
_command(aggregate, "aggregate")
_command(report, "report")
