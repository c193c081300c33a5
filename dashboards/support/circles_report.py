"""The circles instrument's report: distributions, drift and pictures of a folder in one file that opens offline."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import holoviews as hv
import pandas as pd
from PIL import Image as PillowImage

from analysis.circles import LEVELS, read_records
from analysis.provenance import describe_inputs, versions
from dashboards.support.circles_plots import ChartPicture
from dashboards.support.circles_report_filters import filtered_histograms
from dashboards.support.circles_statistics import Statistics, date_level, measure_statistics, subject_level
from dashboards.support.circles_words import unit_of
from dashboards.support.circles_work import Results, read_results
from dashboards.support.report import Report
from dashboards.support.statement import count_of

_PICTURES, _MONTAGES = 6, 2
_PICTURE_PX, _MONTAGE_PX = 520, 1000
_LISTED_FILES = 300
_MOST_CHARTS = 6


def write_circles_report(
    path: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    levels: Sequence[str] = LEVELS,
    value: str = "R",
    other_value: str = "Mean Intensity",
    by: str | None = None,
    baseline: int | None = None,
    spread: str = "auto",
) -> Path:
    """Write the report of what the pipeline found.

    Parameters
    ----------
    path
        The HTML file.
    output
        The pipeline's output folder.
    levels
        What the folders of the acquisitions stand for, from the outermost on.
    value, other_value
        Columns of numbers whose histograms and control charts are shown; groups are compared by the first.
    by
        Level whose names are compared; the subject when None.
    baseline
        How many of the first dates make the limits of the control charts; all but the last when None.
    spread
        What the limits are from: ``"auto"``, ``"experiments"`` or ``"dates"``.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ValueError
        When there is no circle to report on, or a column is not there.
    """
    results = read_results(output, tuple(levels))
    if not len(results.circles):
        why = f" {' '.join(results.warnings)}" if results.warnings else ""
        raise ValueError(f"A report needs at least one circle; got none in {Path(output) / 'experiments.csv'}.{why}")
    by = by or subject_level(results.levels) or results.levels[-1]
    made = measure_statistics(
        results.circles, results.levels, value=value, other_value=other_value, by=by, baseline=baseline, spread=spread
    )
    records = read_records(output)
    report = Report(
        "Circles of acquisitions",
        _summary(results, made, records),
        {**_settings(records), "output": str(output), "compared by": by, "baseline": baseline, "limits from": spread},
        versions(),
        _inputs(results, records),
    )
    _add_drift(report, made)
    report.add_section(
        "Histograms",
        "Choose names and move the ends of the ranges: both histograms and the numbers follow. Grey is the whole.",
        filtered_histograms(results, made, by=by),
    )
    _add_groups(report, made, by)
    _add_pictures(report, results)
    if len(results.failures):
        report.add_section("Failures", "Images that failed, and why; the others went on.", results.failures)
    told = [*results.levels, "FOV", "Circle", "X", "Y", "R", "Mean Intensity", "Support"]
    shown = _rounded(results.circles[[name for name in told if name in results.circles]])
    report.add_section("Circles", f"The first rows and columns of {results.output / 'experiments.csv'}.", shown)
    return report.write(path)


def _summary(results: Results, made: Statistics, records: dict[str, Any]) -> dict[str, Any]:
    done = sum(record.state == "done" for record in records.values())
    circles = results.circles
    of_levels = {f"{level.casefold()}s": circles[level].nunique() for level in results.levels[:2]}
    drifted = sorted({name for chart in made.charts for name in chart.drifted})
    return {
        "images": done or results.images,
        "circles": len(circles),
        "experiments": len(results.experiments),
        **of_levels,
        "failures": len(results.failures),
        "drifted on the last date": ", ".join(drifted) or "none",
    }


def _settings(records: dict[str, Any]) -> dict[str, Any]:
    """Return what images were done with; several values when they were not all done alike."""
    kept: dict[str, list[Any]] = {}
    for record in records.values():
        for name, value in {**record.recipe, "method": record.method, "qc": record.qc}.items():
            values = kept.setdefault(name, [])
            if value not in values:
                values.append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in kept.items()}


def _inputs(results: Results, records: dict[str, Any]) -> pd.DataFrame:
    tables = [results.output / name for name in ("experiments.csv", "failures.csv")]
    described = describe_inputs(path for path in tables if path.exists())
    rows = [
        (f"{key.rpartition('/')[0]}/{record.file}", int(size), record.fingerprint)
        for key, record in list(records.items())[:_LISTED_FILES]
        for size in [record.fingerprint.partition("-")[0] or 0]
    ]
    images = pd.DataFrame(rows, columns=["file", "size_bytes", "fingerprint"])
    return pd.concat([described, images.assign(modified="")], ignore_index=True)[list(described.columns)]


def _add_drift(report: Report, made: Statistics) -> None:
    sentences = [sentence for chart in made.charts for sentence in chart.sentences.values()]
    how = (
        "A point is the mean of a date's experiments. Dashed lines are three sigma from the centre, as the dates of the"
        " baseline make them; red diamonds break a rule."
    )
    subjects = made.charts[0].limits["subject"].tolist()
    drifted = [name for chart in made.charts for name in chart.drifted]
    first = sorted(subjects, key=lambda name: name not in drifted)[:_MOST_CHARTS]
    pictures = [
        [hv.render(ChartPicture().draw(chart, name), backend="bokeh") for chart in made.charts] for name in first
    ]
    less = f"{len(first)} of {len(subjects)} subjects are drawn." if len(first) < len(subjects) else ""
    warnings = list(dict.fromkeys(words for chart in made.charts for words in chart.warnings))
    report.add_section("Last date", "\n\n".join([*sentences, *warnings, how, less]), *pictures)


def _add_groups(report: Report, made: Statistics, by: str) -> None:
    found = made.comparison
    text = "\n\n".join([found.sentence, found.naive_sentence, *found.warnings])
    tables = [_rounded(made.histograms[0].table), _rounded(found.pairs)]
    report.add_section(f"Differences between {by}s", text, *[table for table in tables if len(table)])


def _add_pictures(report: Report, results: Results) -> None:
    """QC pictures and montages of the last date."""
    date = date_level(results.levels)
    last = results.names(date)[-1]
    place = results.levels.index(date)
    experiments = [key for key in results.experiments if key.split("/")[place] == last]
    each = max(1, _PICTURES // max(1, len(experiments)))
    files = [
        file for key in experiments for file in sorted(_pictures_in(results.output / "qc" / key))[:each]
    ][:_PICTURES]  # fmt: skip
    montages = [
        path for key in experiments for ending in (".png", ".jpg")
        if (path := results.output / "qc" / f"{key}{ending}").is_file()
    ][:_MONTAGES]  # fmt: skip
    pictures = [content for file in files if (content := as_png(file, _PICTURE_PX))]
    rows: list[Any] = [pictures[start : start + 2] for start in range(0, len(pictures), 2)]
    rows += [content for file in montages if (content := as_png(file, _MONTAGE_PX))]
    if rows:
        names = ", ".join(str(file.relative_to(results.output / "qc")) for file in files)
        report.add_section("Pictures", f"{count_of(len(files), 'image')} of {last}: {names}.", *rows)


def _pictures_in(folder: Path) -> list[Path]:
    return [file for file in folder.glob("*") if file.suffix in (".png", ".jpg")]


def as_png(file: Path, longest_px: int) -> bytes:
    """Return a picture as small PNG of 64 colours; nothing when it cannot be read."""
    try:
        with PillowImage.open(file, formats=["PNG", "JPEG"]) as picture:
            small = picture.convert("RGB")
    except (OSError, SyntaxError, ValueError):
        return b""
    small.thumbnail((longest_px, longest_px), PillowImage.Resampling.BOX)
    kept = io.BytesIO()
    small.quantize(64).save(kept, "PNG", optimize=True)
    return kept.getvalue()


def _rounded(table: pd.DataFrame) -> pd.DataFrame:
    return table.rename(columns=lambda name: unit_of(str(name)).replace("_", " "))
