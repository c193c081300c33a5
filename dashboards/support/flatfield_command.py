"""``graticule flatfield``: the flatfield instrument on the command line."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from cyclopts import App, Parameter

from analysis.flatfield import (
    NOT_GOOD,
    Comparison,
    Slides,
    SortBy,
    apply_model,
    check_model,
    compare_mean_images,
    create_model,
    dividing_lines,
    find_slides,
    layer_sets,
    make_mean_image,
    read_model,
    refuse_existing_model,
    register_model,
    sort_slides,
    suggest_groups,
)
from analysis.tables import write_table
from dashboards.support.acts import Outcome, Run, act, problem_lines, sentence, typed_line
from dashboards.support.figures import diverging_colours, save_matrix, save_model_figures
from dashboards.support.flatfield_words import MODEL_TABLE, REPORT
from dashboards.support.options import comma_separated, options_for, settings_of_file

WORKING_DIR = Path("meanimagecomparison")
LOG = "meanimage_comparison.log"
SPELLINGS = {
    "sample_regex": ("--sampleregex",),
    "working_dir": ("--workingdir",),
    "out_dir": ("--outdir",),
    "model_table": ("--flatfield-model-file",),
}
"""Names that AstroPath's own command has for these options."""

Roots = Annotated[list[Path], Parameter(consume_multiple=True)]
Words = Annotated[tuple[str, ...], Parameter(converter=comma_separated(str), n_tokens=1, metavar="ID,ID")]
Bounds = Annotated[tuple[float, float], Parameter(converter=comma_separated(float, 2), n_tokens=1, metavar="LOW,HIGH")]
Plot = Literal["average", "all", "brightest", "filter-groups", "none"]

logger = logging.getLogger(__name__)
app = App(name="flatfield", help="Which slides share one illumination pattern, and what is it?")
_compare_options = {
    "leave_out": ("compute", "roots"),
    "spellings": SPELLINGS,
    "defaults": {"working_dir": WORKING_DIR},
}


@act(compare_mean_images, create_model, **_compare_options)
def compare(
    run: Run,
    roots: Roots,
    *,
    sort_by: SortBy = "project-cohort-batch",
    plot: Plot = "average",
    lines_after: Words = (),
    bounds: Bounds = (0.85, 1.15),
    flatw: bool = False,
    store_as: str | None = None,
    skip_creation: bool = False,
    model_table: Path | None = None,
    out_dir: Path | None = None,
    **options: Any,
) -> Outcome:
    """Compare the mean images of all pairs of slides in every layer.

    Parameters
    ----------
    roots
        Folders with sampledef.csv.
    sort_by
        Order of the slides in pictures.
    plot
        Pictures to save: the average over all layers, every layer, the brightest layer of each filter group,
        the average over each filter group, or none.
    lines_after
        Slide IDs after which a red line goes; by default wherever project, cohort or batch change.
    bounds
        Ends of the colour scale.
    flatw
        Use the mean images made from .fw files (meanimage_from_fw_files).
    store_as
        Register the slides as this version and create its model.
    skip_creation
        Only register; do not create the model.
    model_table
        Table of registered versions; AstroPathFlatfieldModels.csv in the working folder when not given.
    out_dir
        Folder of the model; the working folder when not given.
    """
    diverging_colours(bounds)
    how_to_compare, how_to_model = options_for(compare_mean_images, options), options_for(create_model, options)
    if flatw:
        how_to_compare["meanimage_folder"] = "meanimage_from_fw_files"
    folder = Path(how_to_compare["working_dir"])
    model_table, out_dir = model_table or folder / MODEL_TABLE, out_dir or folder
    with log_to(folder / LOG):
        if store_as is not None:
            refuse_existing_model(store_as, out_dir=out_dir, replace=skip_creation or how_to_model["replace"])
        # what is known already tells about wrong options before hours of work
        _arrange(compare_mean_images(roots, compute=False, **how_to_compare).slides, sort_by, lines_after)
        comparison = compare_mean_images(roots, **how_to_compare, **run.work)
        still_there = [name for name in lines_after if name in {slide.slide_id for slide in comparison.slides.slides}]
        order, lines = _arrange(comparison.slides, sort_by, still_there)
        files = [folder / "meanimagecomparison_table.csv"]
        files += save_comparison(comparison, folder, plot=plot, order=order, lines=lines, bounds=bounds, run=run)
        summary = comparison.summary()
        if store_as is not None:
            how_to_register = {"model_table": model_table, "replace": how_to_model["replace"]}
            registered = register_model(comparison.slides, store_as, **how_to_register)
            summary["registered"] = registered.summary()
            files.append(model_table)
            if not skip_creation:
                how_to_model |= {"roots": roots, "model_table": model_table, "out_dir": out_dir}
                how_to_model["meanimage_folder"] = how_to_compare["meanimage_folder"]
                created, summary["model"] = _create(store_as, run, **how_to_model)
                files += created
        _log_outcome(summary, files, comparison.problems)
    return Outcome(summary, files, failed_inputs(comparison.problems))


def failed_inputs(problems: pd.DataFrame) -> pd.DataFrame:
    """Return the problems that are failures: a slide that people marked as not good is left out on purpose."""
    return problems[problems["reason"] != NOT_GOOD]


def _arrange(slides: Slides, sort_by: SortBy, lines_after: Sequence[str]) -> tuple[np.ndarray, tuple[int, ...]]:
    """Return the order of the slides and where lines go; no slide at all is refused."""
    if not len(slides) and slides.problems.empty:
        raise ValueError(f"sampleregex must take at least one slide; got {slides.settings.get('sample_regex')!r}.")
    order = sort_slides(slides, sort_by)
    return order, dividing_lines(slides, order, lines_after=lines_after)


def save_comparison(
    comparison: Comparison,
    folder: Path,
    *,
    plot: Plot = "average",
    order: Sequence[int],
    lines: Sequence[int] = (),
    bounds: tuple[float, float] = (0.85, 1.15),
    run: Run | None = None,
) -> list[Path]:
    """Save the pictures of a comparison under the names AstroPath gives them.

    Parameters
    ----------
    comparison
        Of any slides; without slides nothing is saved.
    folder
        Where they go.
    plot
        Which ones.
    order, lines, bounds
        As in `dashboards.support.figures.save_matrix`.
    run
        Tells progress and hears a request to stop.

    Returns
    -------
    list of Path
        The files written.
    """
    if not len(comparison.slides):
        return []
    names = [comparison.slides.labels[i] for i in order]
    wanted = _pictures(layer_sets(comparison.slides.slides[0]), plot)
    files = []
    for number, (name, title, layers) in enumerate(wanted, start=1):
        if run is not None:
            run.check()
        values = _mean_over(comparison.values, layers)[np.ix_(order, order)]
        path = Path(folder) / f"meanimage_comparison_{name}.png"
        files.append(save_matrix(values, names, path, bounds=bounds, lines=lines, title=title))
        if run is not None:
            run.progress(number, len(wanted), "drawing pictures")
    return files


def _pictures(sets: dict[str, tuple[int, ...]], plot: Plot) -> list[tuple[str, str, tuple[int, ...]]]:
    """Name, title and layers of each picture."""
    groups = {name: layers for name, layers in sets.items() if name not in ("all", "brightest")}
    of_layer = {layer: name for name, layers in groups.items() for layer in layers}
    if plot == "average":
        return [("average_over_all_layers", "Mean over all layers", sets["all"])]
    if plot == "filter-groups":
        return [
            (f"average_over_filter_group_{i}_layers", f"Mean over layers {layers[0]}-{layers[-1]}, {name}", layers)
            for i, (name, layers) in enumerate(groups.items(), start=1)
        ]
    layers = {"all": sets["all"], "brightest": sets["brightest"]}.get(plot, ())
    return [(f"layer_{layer}", f"Layer {layer}, {of_layer[layer]}", (layer,)) for layer in layers]


def _mean_over(values: np.ndarray, layers: Sequence[int]) -> np.ndarray:
    chosen = values[..., np.array(layers) - 1]
    count = np.isfinite(chosen).sum(axis=2)
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, np.nansum(chosen, axis=2) / count, np.nan)


def _create(version: str, run: Run, **how: Any) -> tuple[list[Path], dict[str, Any]]:
    """Create a model with its pictures; return files and summary."""
    model = create_model(version, **how, **run.keywords)
    folder = Path(how["out_dir"]) / "flatfield" / f"flatfield_{version}"
    table = write_table(model.table, folder / f"flatfield_{version}_layers.csv")
    return [*model.paths.values(), table, *save_model_figures(model, folder)], model.summary()


@contextlib.contextmanager
def log_to(path: Path) -> Iterator[None]:
    """Append what happens to a log file, which starts anew at 1 MB and keeps three old ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = RotatingFileHandler(path, maxBytes=1_000_000, backupCount=3, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    loggers = [logging.getLogger(name) for name in ("analysis", "dashboards")]
    before = [each.level for each in loggers]
    for each in loggers:
        each.addHandler(handler)
        each.setLevel(logging.INFO)
    try:
        logger.info("%s", typed_line())
        yield
    except BaseException as error:
        logger.error("%s", sentence(error))
        raise
    finally:
        for each, level in zip(loggers, before, strict=True):
            each.removeHandler(handler)
            each.setLevel(level)
        handler.close()


def _log_outcome(summary: dict[str, Any], files: Sequence[Path], problems: pd.DataFrame) -> None:
    for line in problem_lines(problems):
        logger.warning("%s", line)
    logger.info("%s", ", ".join(f"{name} {value}" for name, value in summary.items()))
    for path in files:
        logger.info("wrote %s", path)


@act(compare_mean_images, suggest_groups, **_compare_options)
def groups(run: Run, roots: Roots, **options: Any) -> Outcome:
    """Suggest which slides share one illumination, and which share it with nobody.

    Parameters
    ----------
    roots
        Folders with sampledef.csv.
    """
    folder = Path(options["working_dir"])
    comparison = compare_mean_images(roots, **options_for(compare_mean_images, options), **run.work)
    _arrange(comparison.slides, "order", ())
    suggested = suggest_groups(comparison, **options_for(suggest_groups, options))
    table = write_table(suggested.table, folder / "meanimage_comparison_groups.csv")
    return Outcome(suggested.summary(), [table], failed_inputs(comparison.problems), suggested.table)


@act(register_model, spellings=SPELLINGS, defaults={"model_table": WORKING_DIR / MODEL_TABLE})
def register(
    run: Run,
    version: str,
    roots: Roots,
    *,
    sample_regex: str | None = None,
    slides: Words = (),
    meanimage_folder: str = "meanimage",
    **options: Any,
) -> Outcome:
    """Register slides as the ones that make a version of the flatfield.

    Parameters
    ----------
    version
        Tag of the version, such as v1.1.
    roots
        Folders with sampledef.csv.
    sample_regex
        Slides whose ID it matches from the start; all when not given.
    slides
        Only these slide IDs.
    meanimage_folder
        meanimage or meanimage_from_fw_files.
    """
    found = find_slides(roots, meanimage_folder=meanimage_folder).select(sample_regex)
    registered = register_model(_only(found, slides), version, **options)
    return Outcome(registered.summary(), [registered.model_table], failed_inputs(found.problems))


def _only(found: Slides, names: Sequence[str]) -> Slides:
    unknown = [name for name in names if name not in {slide.slide_id for slide in found.slides}]
    if unknown:
        raise ValueError(f"slides must be among those found; {', '.join(unknown)} not among them.")
    kept = tuple(slide for slide in found.slides if not names or slide.slide_id in names)
    return replace(found, slides=kept)


@act(
    create_model,
    leave_out=("roots",),
    spellings=SPELLINGS,
    defaults={"model_table": WORKING_DIR / MODEL_TABLE, "out_dir": WORKING_DIR},
)
def model(run: Run, version: str, roots: Roots, **options: Any) -> Outcome:
    """Make the flatfield model of a registered version and write its files.

    Parameters
    ----------
    version
        Tag of the version.
    roots
        Folders with sampledef.csv; the roots that the slides were registered from are looked at too.
    """
    files, summary = _create(version, run, roots=roots, **options)
    return Outcome(summary, files)


@act(make_mean_image, spellings={"microscope_name": ("--microscope",)})
def meanimage(run: Run, fields: Roots, **options: Any) -> Outcome:
    """Make the mean image of a slide from its fields.

    Parameters
    ----------
    fields
        A folder of TIFF, OME-TIFF or PNG files, or the files, all of one shape.
    """
    made = make_mean_image(fields[0] if len(fields) == 1 else fields, **options, **run.work)
    failed = made.table[made.table["error"] != ""]
    return Outcome(made.summary(), sorted(made.folder.iterdir()), failed)


@act(apply_model, spellings=SPELLINGS)
def apply(run: Run, model: Path, images: Roots, **options: Any) -> Outcome:
    """Divide images by a flatfield model and write them as OME-TIFF.

    Parameters
    ----------
    model
        The model's .bin file.
    images
        Folders of images, or image files.
    """
    corrected = apply_model(model, images[0] if len(images) == 1 else images, **options, **run.work)
    table = corrected.table
    failed = table[table["error"] != ""]
    return Outcome(corrected.summary(), [path for path in table["output"] if path], failed)


@act(check_model, spellings=SPELLINGS)
def test(
    run: Run,
    sources: Roots,
    *,
    sample_regex: str | None = None,
    meanimage_folder: str = "meanimage",
    working_dir: Path = WORKING_DIR,
    **options: Any,
) -> Outcome:
    """Make a model from a random half of the images and correct the other half with it.

    Parameters
    ----------
    sources
        Folders with sampledef.csv, whose slides are halved; or a folder of fields, or fields, which are halved.
    sample_regex
        Slides whose ID it matches from the start; all when not given.
    meanimage_folder
        meanimage or meanimage_from_fw_files.
    working_dir
        Where the table goes.
    """
    source: Any = sources[0] if len(sources) == 1 else sources
    problems = pd.DataFrame()
    if any((path / "sampledef.csv").exists() for path in sources):
        source = find_slides(sources, meanimage_folder=meanimage_folder).select(sample_regex)
        problems = failed_inputs(source.problems)
    tested = check_model(source, **options, **run.keywords)
    table = write_table(tested.table, working_dir / "flatfield_test.csv")
    return Outcome(tested.summary(), [table], pd.concat([problems, tested.problems]).fillna(""), _shown(tested.table))


def _shown(table: pd.DataFrame) -> pd.DataFrame:
    """Columns of a test that fit on a terminal: the 5-95 % spread, whole field and centre."""
    spread = [name for name in table if "spread" in name]
    return table[["layer", "filter_group", *spread]]


@act(compare_mean_images, suggest_groups, **_compare_options)
def report(
    run: Run,
    roots: Roots,
    *,
    output: Path | None = None,
    sort_by: SortBy = "project-cohort-batch",
    lines_after: Words = (),
    bounds: Bounds = (0.85, 1.15),
    model: Path | None = None,
    **options: Any,
) -> Outcome:
    """Write the comparison and its groups as one HTML file that opens without a network.

    Parameters
    ----------
    roots
        Folders with sampledef.csv.
    output
        The file; flatfield_report.html in the working folder when not given.
    sort_by
        Order of the slides.
    lines_after
        Slide IDs after which a red line goes; by default wherever project, cohort or batch change.
    bounds
        Ends of the colour scale at first.
    model
        A model's .bin file to show.
    """
    # Bokeh takes a second to import, and only this act needs it
    from dashboards.support.flatfield_report import write_flatfield_report

    diverging_colours(bounds)
    shown = read_model(model) if model is not None else None
    output = output or Path(options["working_dir"]) / REPORT
    comparison = compare_mean_images(roots, **options_for(compare_mean_images, options), **run.work)
    _arrange(comparison.slides, sort_by, lines_after)
    suggested = suggest_groups(comparison, **options_for(suggest_groups, options))
    how_to_show = {"bounds": bounds, "sort_by": sort_by, "lines_after": lines_after}
    write_flatfield_report(output, comparison, groups=suggested, model=shown, **how_to_show)
    return Outcome(comparison.summary(), [output], failed_inputs(comparison.problems))


def _command(function: Any, name: str | tuple[str, ...]) -> None:
    app.command(App(name=name, default_command=function, config=settings_of_file, help=function.__doc__))


_command(compare, ("compare", "meanimagecomparison"))
_command(groups, "groups")
_command(register, "register")
_command(model, "model")
_command(apply, "apply")
_command(test, "test")
_command(meanimage, "meanimage")
_command(report, "report")
