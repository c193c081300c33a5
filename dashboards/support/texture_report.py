"""The texture instrument's report: clusters and classes over the tiles, scores and settings, in one file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from bokeh.model import Model

from analysis.provenance import describe_inputs, versions
from analysis.texture import (
    RULES,
    SCORES,
    Clusters,
    Correction,
    Embedding,
    Mosaic,
    Patches,
    Search,
    embed_patches,
    read_mosaic,
)
from dashboards.support.report import Report
from dashboards.support.texture_plots import UNSURE, ImportancePicture, SurenessPicture
from dashboards.support.texture_report_views import (
    MOST_POINTS,
    agreement_table,
    grey_source,
    heat_map_with_controls,
    representatives_sheet,
    scatter_of,
    source_of,
)
from dashboards.support.texture_search_plots import SearchCells, SearchLines, against_of
from dashboards.support.texture_words import components_words, short, slices_words

_LONGEST_PX = 1400
_LISTED_FILES = 300
_MOST_SHEETS = 3


def write_texture_report(
    path: str | os.PathLike[str],
    result: Clusters,
    *,
    correction: Correction | None = None,
    search: Search | None = None,
    mosaic: Mosaic | None = None,
    embedding: Embedding | None = None,
    opacity: float = 0.45,
) -> Path:
    """Write the report of clusters, and of what was corrected and searched.

    Parameters
    ----------
    path
        The HTML file.
    result
        As `cluster_patches` returns it.
    correction
        Classes of the same patches, as `correct_labels` returns them.
    search
        Scores of many settings, as `search_settings` returns them.
    mosaic
        The set as it was read before; read again when None.
    embedding
        Places of the patches in the scatter; principal components when None.
    opacity
        Of the colours over the tiles, 0 to 1; the report has a slider for it.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ValueError
        When no patch is in a cluster.
    OSError
        When it cannot be written, or a tile cannot be read any more.
    """
    patches = result.patches
    if not result.count:
        raise ValueError("A report needs at least one cluster; all patches are left out, or lie between clusters.")
    if mosaic is None or max(mosaic.pixels.shape) > 2 * _LONGEST_PX:
        mosaic = read_mosaic(patches.tile_set, longest_px=_LONGEST_PX)
    places, why_not = _embedding(result, embedding)
    report = Report("Texture of tiles", _summary(result), _settings(result, correction), versions(), _inputs(patches))
    _add_words(report, result, mosaic)
    grey = grey_source(mosaic)
    _add_map(report, result, mosaic, places, why_not, grey, opacity)
    report.add_section(
        "Representatives",
        "The patches nearest to the mean of their cluster, the nearest first, all in one grey scale and without the"
        " shading. Point at one to see where it lies.",
        representatives_sheet(result),
    )
    report.add_section("Sizes", "Patches of each cluster, and the mean of each statistic.", _sizes(result))
    if correction is not None:
        _add_correction(report, result, correction, mosaic, grey, opacity)
    if search is not None:
        _add_search(report, result, search)
    _add_left_out(report, patches)
    problems = pd.concat([patches.tile_set.problems, patches.problems, mosaic.problems]).drop_duplicates("file")
    if len(problems):
        report.add_section("Problems", "Files that could not be used, and why; the others went on.", problems)
    return report.write(path)


def _embedding(result: Clusters, embedding: Embedding | None) -> tuple[Embedding | None, str]:
    if embedding is not None:
        return embedding, ""
    try:
        return embed_patches(
            result.patches, statistics=result.settings.get("statistics"), scale=result.settings.get("scale", True)
        ), ""
    except ValueError as error:
        return None, f"There is no scatter: {error}"


def _summary(result: Clusters) -> dict[str, Any]:
    measured, found = result.patches.summary(), result.summary()
    rows, columns = measured["grid"]
    return {
        "tiles": measured["tiles"],
        "patches of a tile": f"{rows} × {columns}",
        "patches": measured["patches"],
        "left out": sum(measured["left_out"].values()),
        "clusters": found["clusters"],
        "in no cluster": max(found["in_no_cluster"] - sum(measured["left_out"].values()), 0),
        "silhouette": short(found["silhouette"]),
        "shading": "none" if result.patches.shading is None else result.patches.shading.kind,
    }


def _settings(result: Clusters, correction: Correction | None) -> dict[str, Any]:
    """Return the keyword arguments of all steps; those of one name are told apart by the step."""
    patches = result.patches
    # where numbers were kept changes none of them
    measured = {name: value for name, value in patches.settings.items() if name != "store"}
    steps = {"tile set": patches.tile_set.settings, "patches": measured, "clusters": result.settings}
    if correction is not None:
        steps["correction"] = correction.settings
    return {f"{step}: {name}": value for step, settings in steps.items() for name, value in settings.items()}


def _inputs(patches: Patches) -> pd.DataFrame:
    files = patches.tile_set.table["file"].tolist()
    return describe_inputs(Path(file) for file in files[:_LISTED_FILES])


def _add_words(report: Report, result: Clusters, mosaic: Mosaic) -> None:
    patches = result.patches
    said = [*patches.tile_set.warnings, *patches.warnings, *result.warnings]
    if len(patches.tile_set) > _LISTED_FILES:
        said.append(f"The inputs list {_LISTED_FILES} of {len(patches.tile_set)} files.")
    if said:
        report.add_section("To beware of", "\n\n".join(dict.fromkeys(said)))


def _add_map(
    report: Report, result: Clusters, mosaic: Mosaic, places: Embedding | None, why_not: str, grey: Any, opacity: float
) -> None:
    source = source_of(result, mosaic, places)
    scatter = scatter_of(result, source, places) if places is not None else None
    text = (
        "Clusters over the tiles. The slider sets how strong the colours are; a button hides or shows a cluster. Point"
        " at a patch to see its numbers."
    )
    if mosaic.settings["shading"] is not None:
        text += " The tiles are shown without their shading."
    if scatter is not None:
        text += " What is selected in the scatter, with a box or a lasso, is outlined in the heat map, and back."
    known = int((result.numbers > 0).sum())
    if known > MOST_POINTS:
        text += f" {MOST_POINTS:,} of {known:,} patches, drawn by chance, can be pointed at; the colours show all."
    picture = heat_map_with_controls(result, mosaic, source=source, grey=grey, opacity=opacity, below=scatter)
    report.add_section("Heat map", f"{text}\n\n{why_not}", picture)


def _sizes(result: Clusters) -> pd.DataFrame:
    sizes = result.sizes
    return _whole(sizes.assign(cluster=[result.names[number] for number in sizes["cluster"]]))


def _whole(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose large numbers have no digits behind the point, so that none is written as 1e+04."""
    whole = {}
    for name in table:
        values = table[name]
        if pd.api.types.is_float_dtype(values) and np.isfinite(values).all() and values.abs().median() >= 1000:
            whole[name] = values.round().astype("int64")
    return table.assign(**whole)


def _add_correction(
    report: Report, result: Clusters, correction: Correction, mosaic: Mosaic, grey: Any, opacity: float
) -> None:
    told = correction.summary()
    given = ", ".join(f"{name} ({count})" for name, count in told["labelled"].items())
    text = [
        f"A random forest learnt from {sum(told['labelled'].values())} patches that were labelled by hand: {given}. It"
        f" gave a class to the rest; {told['unsure']} patches are less sure than {UNSURE:g}. Sureness is the share of"
        " the trees that agree. It is no probability, and says nothing of patches unlike all that were labelled.",
        *correction.warnings,
    ]
    source = source_of(correction, mosaic)
    sureness, importance = SurenessPicture(solid=True), ImportancePicture(solid=True)
    sureness.draw(correction, UNSURE)
    importance.draw(correction.importance)
    table = pd.DataFrame(
        [
            {"class": name, "patches": told["patches"][name], "labelled by hand": told["labelled"][name]}
            for name in correction.classes
        ]
    )
    report.add_section(
        "Corrections",
        "\n\n".join(text),
        heat_map_with_controls(correction, mosaic, source=source, grey=grey, opacity=opacity),
        table,
        [sureness.figure, importance.figure],
    )
    report.add_section(
        "Clusters against classes", "How many patches of each cluster have each class.",
        agreement_table(result, correction),
    )  # fmt: skip


def _add_search(report: Report, result: Clusters, search: Search) -> None:
    table = search.table
    text = (
        "Each cell is a clustering with other settings. The scores below help to choose; none of them may choose alone."
        " The cell with a red outline is that of the heat map above, when it was searched."
    )
    report.add_section("Search", "\n\n".join([text, *search.warnings]), _whole(table))
    undrawn = max(table["components"].nunique() - _MOST_SHEETS, 0)
    for score, words in SCORES.items():
        if table[score].notna().any():
            pictures, left_out = _score_pictures(table, score, _shown_cell(result))
            more = f" {left_out} lines are not drawn; the table has them." if left_out else ""
            more += f" {undrawn} numbers of components are in the table only." if undrawn else ""
            name = "BIC" if score == "bic" else score.capitalize()
            report.add_section(name, f"{words}{more}", *pictures)


def _shown_cell(result: Clusters) -> tuple[int, int, int, int]:
    grid, settings = result.patches.grid, result.settings
    return grid.rows, grid.columns, settings["clusters"], settings["components"] or 0


def _score_pictures(table: pd.DataFrame, score: str, shown: tuple[int, int, int, int]) -> tuple[list[list[Model]], int]:
    """Return a score as lines and as tables of slices and clusters, two beside each other, and lines left out."""
    several = sorted(table["components"].unique().tolist())
    grids = sorted(table[["rows", "columns"]].drop_duplicates().itertuples(index=False, name=None))
    grid = shown[:2] if shown[:2] in grids else grids[-1]
    varied = against_of(table)
    rows, left_out = [], 0

    def lines_of(against: str, components: int, title: str) -> Model:
        nonlocal left_out
        lines = SearchLines(solid=True)
        left_out += lines.draw(table, score, against, components=components, grid=grid, title=title)
        return lines.figure

    for components in several[:_MOST_SHEETS]:
        title = _title_of(components, several)
        cells = SearchCells(solid=True)
        cells.draw(table, score, components, shown, title=title)
        first = lines_of("clusters" if "clusters" in varied else varied[0], components, title)
        rows.append([first, cells.figure])
    last = [lines_of("slices", several[0], _title_of(several[0], several))] if "slices" in varied else []
    last += [lines_of("components", 0, f"{slices_words(*grid)} patches a tile")] if len(several) > 1 else []
    rows += [last] if last else []
    return rows, left_out


def _title_of(components: int, several: list[int]) -> str:
    return components_words(components).capitalize() if len(several) > 1 else ""


def _add_left_out(report: Report, patches: Patches) -> None:
    settings = patches.settings
    rules = [f"{name}: {RULES[name]}" for name in settings["leave_out"]]
    text = f"Rules: {'; '.join(rules) or 'none'}. The share is {settings['dark_below']:g}."
    text += " A patch with a pixel that is not finite never counts."
    counts = patches.summary()["left_out"]
    table = pd.DataFrame({"why": list(counts), "patches": list(counts.values())})
    blocks = [table] if len(table) else []
    report.add_section("Left out", text if blocks else f"{text}\n\nNo patch was left out.", *blocks)
