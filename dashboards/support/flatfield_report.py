"""The flatfield instrument's report: comparison, groups, model and its test in one file that opens offline."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from analysis.flatfield import (
    Comparison,
    FlatfieldModel,
    Groups,
    ModelCheck,
    choose_layers,
    dividing_lines,
    layer_sets,
    sort_slides,
)
from analysis.provenance import describe_inputs, versions
from dashboards.support.flatfield_matrix import group_lines, plot_dendrogram, plot_matrix
from dashboards.support.flatfield_plots import plot_field
from dashboards.support.flatfield_report_views import matrix_with_controls
from dashboards.support.flatfield_words import check_sentence, groups_sentence
from dashboards.support.report import Report

_SHOWN_FIELDS = 6


def write_flatfield_report(
    path: str | os.PathLike[str],
    comparison: Comparison,
    *,
    groups: Groups | None = None,
    model: FlatfieldModel | None = None,
    correction_test: ModelCheck | None = None,
    bounds: tuple[float, float] = (0.85, 1.15),
    sort_by: str = "project-cohort-batch",
    lines_after: tuple[str, ...] = (),
) -> Path:
    """Write the report of a comparison and what came of it.

    Parameters
    ----------
    path
        The HTML file.
    comparison
        Of at least one slide.
    groups, model, correction_test
        Further sections, each where it is given.
    bounds, sort_by, lines_after
        How the matrix is drawn at first.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ValueError
        When there is no slide to report on.
    """
    slides = comparison.slides
    if not len(slides):
        raise ValueError("A report needs at least one slide; the comparison has none.")
    files = [path for slide in slides.slides for path in (slide.mean_image, slide.standard_error, slide.mask_stack)]
    report = Report(
        "Flatfield comparison", comparison.summary(), comparison.settings, versions(), describe_inputs(files)
    )
    order = sort_slides(slides, sort_by)
    lines = dividing_lines(slides, order, lines_after=lines_after)
    _add_comparison(report, comparison, order, lines, bounds)
    if groups is not None and len(groups.names) > 1:
        _add_groups(report, groups, bounds)
    if model is not None:
        _add_model(report, model)
    if correction_test is not None:
        report.add_section(
            "Test of the model",
            check_sentence(correction_test),
            correction_test.table,
        )
    report.add_section("Slides", f"{len(slides)} slides were compared.", slides.table)
    if len(comparison.problems):
        report.add_section(
            "Left out", "What could not be used, what was expected and what was found.", comparison.problems
        )
    return report.write(Path(path))


def _add_comparison(
    report: Report, comparison: Comparison, order: np.ndarray, lines: tuple[int, ...], bounds: tuple[float, float]
) -> None:
    slide = comparison.slides.slides[0]
    names = [comparison.slides.labels[i] for i in order]
    grid = np.ix_(order, order)
    averages = {_set_name(slide, name): comparison.average(name)[grid] for name in layer_sets(slide)}
    if slide.shape[2] > 1:
        averages |= {
            f"layer {layer}, {slide.filter_groups[layer - 1]}": comparison.average(layer)[grid]
            for layer in range(1, slide.shape[2] + 1)
        }
    report.add_section(
        "Comparison",
        "Standard deviation of the difference of two slides' mean images over its uncertainty. 1 means that two slides "
        "differ by no more than noise and can share one flatfield; the further from 1, the more their illumination "
        "differs.\n\nRed lines part projects, cohorts and batches. Move the slider and choose layers to look closer.",
        matrix_with_controls(averages, names, bounds=bounds, lines=lines),
    )


def _set_name(slide: Any, name: str) -> str:
    layers = choose_layers(slide, name)
    if name == "all":
        return f"average over all {len(layers)} layers"
    if name == "brightest":
        return "average over the brightest layers"
    return f"average over {name}, layers {layers[0]} to {layers[-1]}"


def _add_groups(report: Report, groups: Groups, bounds: tuple[float, float]) -> None:
    names = [groups.names[i] for i in groups.order]
    lines = group_lines(groups)
    ordered = plot_matrix(groups.values[np.ix_(groups.order, groups.order)], names, bounds=bounds, lines=lines)
    report.add_section(
        "Groups",
        f"{groups_sentence(groups)}\n\nSlides are joined by complete linkage on |value - 1| and the tree is cut at "
        f"{groups.threshold:g}: no pair within a group is further from 1.",
        [ordered, plot_dendrogram(groups)],
        groups.table,
    )


def _add_model(report: Report, model: FlatfieldModel) -> None:
    layers = np.unique(np.linspace(1, model.flatfield.shape[2], _SHOWN_FIELDS).round().astype(int))
    fields = [plot_field(model.flatfield[..., layer - 1], f"layer {layer}") for layer in layers]
    made_of = f", made of {', '.join(model.slides.labels)}" if model.slides is not None else ""
    report.add_section(
        f"Model {model.version}",
        f"What images are divided by{made_of}.",
        *[fields[start : start + 3] for start in range(0, len(fields), 3)],
        model.table,
    )
