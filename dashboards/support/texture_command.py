"""``graticule texture``: the texture instrument on the command line."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from cyclopts import App, Parameter

from analysis.tables import write_table
from analysis.texture import (
    OUTPUT_FORMATS,
    PLACE_COLUMNS,
    Clusters,
    Correction,
    Patches,
    Search,
    cluster_patches,
    find_tile_set,
    measure_patches,
    read_mosaic,
    search_settings,
    write_heat_map,
    write_outputs,
    write_patches,
)
from dashboards.support.acts import Outcome, Run, act
from dashboards.support.options import comma_separated, settings_of_file
from dashboards.support.texture_folder import cluster_folder, cluster_options, measure_folder, parse_size

REPORT = "texture_report.html"
_LONGEST_PX = 2000

Numbers = Annotated[tuple[int, ...], Parameter(converter=comma_separated(int), n_tokens=1, metavar="A,B")]
Names = Annotated[tuple[str, ...], Parameter(converter=comma_separated(str), n_tokens=1, metavar="A,B")]

app = App(name="texture", help="Which patches of a tile set look alike?")


_NOT_TYPED = ("outputs",)
_MEASURE = (measure_folder, find_tile_set, measure_patches)
_CLUSTER = (*_MEASURE, cluster_folder, cluster_patches)


@act(*_MEASURE, leave_out=_NOT_TYPED)
def statistics(run: Run, folder: Path, *, output: Path = Path("texture_statistics.csv"), **options: Any) -> Outcome:
    """Measure statistics of every patch of every tile, and write them as a table.

    Parameters
    ----------
    folder
        Of the tiles, or one tile.
    output
        CSV file.
    """
    _refuse_ending("output", output, ".csv")
    patches = measure_folder(folder, run, outputs=[output], **options)
    run.check()
    columns = [*PLACE_COLUMNS, *patches.statistics, "left_out", "why"]
    return _told(patches.summary(), patches, [write_table(patches.table[columns], output)])


@act(*_CLUSTER, leave_out=_NOT_TYPED)
def cluster(
    run: Run,
    folder: Path,
    *,
    output: Path = Path("texture_clusters.csv"),
    **options: Any,
) -> Outcome:
    """Part patches into clusters that look alike, and write a table of all patches.

    Parameters
    ----------
    folder
        Of the tiles, or one tile.
    output
        CSV file.
    """
    _refuse_ending("output", output, ".csv")
    found, corrected = cluster_folder(folder, run, outputs=[output], **options)
    run.check()
    if corrected is None:
        files = [write_patches(found, output)]
    else:
        columns = [*PLACE_COLUMNS, *found.patches.statistics, "left_out", "why", "cluster"]
        classes = corrected.table[["class", "sureness", "labelled"]]
        files = [write_table(pd.concat([found.table[columns], classes], axis=1), output)]
    return _told(_summary_of(found, corrected), found.patches, files, found.sizes)


@act(*_MEASURE, cluster_patches, search_settings, leave_out=(*_NOT_TYPED, "grid", "smallest"))
def search(
    run: Run,
    folder: Path,
    *,
    output: Path = Path("texture_search.csv"),
    grids: Names = (),
    clusters: Numbers = (2, 3, 4, 5, 6),
    components: Numbers = (0,),
    heat_maps: Path | None = None,
    **options: Any,
) -> Outcome:
    """Cluster with every combination of grids, numbers of clusters and of components, and write their scores.

    Parameters
    ----------
    folder
        Of the tiles, or one tile.
    output
        CSV file.
    grids
        Rows x columns of patches in a tile, such as 8x8,16x16; one number stands for both. 16x16 when neither these nor
        a patch size are given.
    clusters
        Numbers of clusters.
    components
        Numbers of principal components; 0 for the statistics themselves.
    heat_maps
        Folder for a PNG picture of the set for each combination; made when missing, and not that of the tiles.
    """
    _refuse_ending("output", output, ".csv")
    sizes = [parse_size("grids", text) for text in grids]
    if sizes and options["patch_size"] is not None:
        raise ValueError(f"either grids or patch_size must be given; got {', '.join(grids)} and patch_size.")
    outputs = [output, *([heat_maps] if heat_maps is not None else [])]
    how = cluster_options(search_settings, options)
    with tempfile.TemporaryDirectory(prefix="graticule-") as kept:
        # one grid is measured before the search begins; with a store it is not read a second time, but workers
        # elsewhere do not see this folder
        options["store"] = options["store"] or (Path(kept) if sizes and run.executor is None else None)
        coarsest = "x".join(map(str, min(sizes, key=math.prod))) if sizes else None
        patches = measure_folder(folder, run, outputs=outputs, grid=coarsest, **options)
        made = search_settings(
            patches, grids=sizes or None, clusters=_listed(clusters), components=_listed(components), **how,
            **run.work,
        )  # fmt: skip
    files = [write_table(made.table, output)]
    if heat_maps is not None:
        files += write_cells(made, heat_maps, run)
    empty = made.table[made.table["error"] != ""]
    cells = [f"{name_cell(row).replace('_', ' ')}" for row in empty.to_dict("records")]
    problems = pd.DataFrame({"file": cells, "error": empty["error"].to_numpy()}, dtype=object)
    shown = made.table.drop(columns=["error", "inertia"]).dropna(axis="columns", how="all")
    return _told(made.summary(), patches, files, shown, problems)


def write_cells(made: Search, folder: Path, run: Run) -> list[Path]:
    """Write a heat map of each cell of a search that holds clusters.

    Parameters
    ----------
    made
        The search.
    folder
        Made when it is missing. Names are ``8x8_3_clusters_0_components.png``.
    run
        Tells progress and hears a request to stop.
    """
    rows = [row for row, cell in zip(made.table.to_dict("records"), made.cells, strict=True) if cell is not None]
    cells = [cell for cell in made.cells if cell is not None]
    mosaic = read_mosaic(cells[0].patches.tile_set, longest_px=_LONGEST_PX, **run.keywords) if cells else None
    files = []
    for number, (row, cell) in enumerate(zip(rows, cells, strict=True), start=1):
        run.check()
        files.append(write_heat_map(cell, folder / f"{name_cell(row)}.png", mosaic=mosaic))
        run.progress(number, len(cells), "writing heat maps")
    return files


def name_cell(row: Mapping[str, Any]) -> str:
    """Return a name for a row of a search's table: its grid, clusters and components."""
    return f"{row['rows']}x{row['columns']}_{row['clusters']}_clusters_{row['components']}_components"


@act(*_CLUSTER, leave_out=_NOT_TYPED)
def export(
    run: Run,
    folder: Path,
    *,
    output: Path = Path("texture"),
    formats: Names = ("csv", "labels", "geojson", "heat_map"),
    opacity: float = 0.45,
    **options: Any,
) -> Outcome:
    """Write clusters, or classes learnt from labels, for other programs: tables, label images, outlines, heat maps.

    Parameters
    ----------
    folder
        Of the tiles, or one tile.
    output
        Folder; made when missing, and not that of the tiles.
    formats
        What is written: csv, labels (a TIFF of each tile), geojson (for QuPath), rois (for ImageJ; needs roifile),
        heat_map (PNG pictures of the set).
    opacity
        Of the colours of heat maps, 0 to 1.
    """
    unknown = [name for name in formats if name not in OUTPUT_FORMATS]
    if unknown or not formats:
        raise ValueError(f"formats must be among {', '.join(OUTPUT_FORMATS)}; got {', '.join(unknown) or 'none'}.")
    _refuse_opacity(opacity)
    found, corrected = cluster_folder(folder, run, outputs=[output], **options)
    result = found if corrected is None else corrected
    done = write_outputs(result, output, formats=formats, opacity=opacity, **run.keywords)
    files = [Path(file) for file in done.table["file"]]
    return _told({**_summary_of(found, corrected), **done.summary()}, found.patches, files, None, done.problems)


@act(*_CLUSTER, leave_out=_NOT_TYPED)
def report(
    run: Run,
    folder: Path,
    *,
    output: Path = Path(REPORT),
    search_grids: Names = (),
    search_clusters: Numbers = (),
    opacity: float = 0.45,
    **options: Any,
) -> Outcome:
    """Write heat map, scatter, clusters and scores as one HTML file that opens without a network.

    Parameters
    ----------
    folder
        Of the tiles, or one tile.
    output
        The file.
    search_grids
        Show the scores of these grids too, such as 8x8,16x16; one number stands for both.
    search_clusters
        Show the scores of these numbers of clusters too.
    opacity
        Of the colours over the tiles, 0 to 1; the report has a slider for it.
    """
    # Bokeh takes a second to import, and only this act needs it
    from dashboards.support.texture_report import write_texture_report

    _refuse_opacity(opacity)
    sizes = [parse_size("search_grids", text) for text in search_grids]
    found, corrected = cluster_folder(folder, run, outputs=[output], **options)
    made = None
    if sizes or search_clusters:
        how = cluster_options(search_settings, {**options, "clusters": None, "components": None})
        counts = _listed(search_clusters) or [options["clusters"]]
        how |= {"grids": sizes or None, "clusters": counts, "components": [options["components"] or None]}
        made = search_settings(found.patches, **how, **run.work)
    run.check()
    run.progress(0, 1, "writing the report")
    written = write_texture_report(output, found, correction=corrected, search=made, opacity=opacity)
    run.progress(1, 1, "writing the report")
    return _told(_summary_of(found, corrected), found.patches, [written])


# ----------------------------------------------------------------------------------------------- what is told


def _told(
    summary: Mapping[str, Any],
    patches: Patches,
    files: Sequence[Path],
    table: pd.DataFrame | None = None,
    problems: pd.DataFrame | None = None,
) -> Outcome:
    """An outcome whose problems begin with the tiles', and whose warnings stand once."""
    said = dict.fromkeys([*patches.warnings, *summary.get("warnings", ())])
    parts = [each for each in (patches.problems, problems) if each is not None and len(each)]
    failed = pd.concat(parts, ignore_index=True) if parts else patches.problems
    kept = {name: value for name, value in summary.items() if name != "warnings"} | {"problems": len(failed)}
    return Outcome(kept, list(files), failed, table, list(said))


def _summary_of(found: Clusters, corrected: Correction | None) -> dict[str, Any]:
    summary = {**found.patches.summary(), **found.summary()}
    said = [*summary.pop("warnings")]
    if corrected is not None:
        classes = corrected.summary()
        said += classes.pop("warnings")
        summary["classes"] = classes
    return {**summary, "warnings": said}


def _listed(values: int | Sequence[int]) -> list[int]:
    return [values] if isinstance(values, int) else list(values)


def _refuse_ending(name: str, path: Path, ending: str) -> None:
    if path.suffix.lower() != ending:
        raise ValueError(f"{name} must end with {ending}; got {path}.")


def _refuse_opacity(opacity: float) -> None:
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity must be from 0 to 1; got {opacity}.")


def _command(function: Any, name: str) -> None:
    app.command(App(name=name, default_command=function, config=settings_of_file, help=function.__doc__))


_command(statistics, "statistics")
_command(cluster, "cluster")
_command(search, "search")
_command(export, "export")
_command(report, "report")
