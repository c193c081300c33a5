"""Sentences of the texture page, how long a search takes, and the settings as text for Python and shell."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from analysis.texture import STATISTICS, Clusters, Patches, TileSet, cluster_patches, find_tile_set, measure_patches
from dashboards.support.statement import Name, changed_settings, count_of, python_call, shell_line


def tiles_words(tiles: TileSet | None) -> str:
    """Say how many tiles there are, how they lie, and how large they are."""
    if tiles is None:
        return "Images in one folder; where each lies is read from names such as Tile_002-003."
    rows, columns = tiles.shape
    dtypes = ", ".join(sorted({info.dtype for info in tiles.infos}))
    return (
        f"{count_of(len(tiles), 'tile')} in {tiles.rows} × {tiles.columns} places, {rows:,} × {columns:,} px, {dtypes}."
    )


def patches_words(patches: Patches | None) -> str:
    """Say how many patches there are, how large they are, and how many are left out."""
    if patches is None:
        return ""
    height, width = patches.grid.patch_size
    said = f"{count_of(len(patches), 'patch')} of {height} × {width} px"
    out = patches.table.loc[patches.table["left_out"], "why"].value_counts()
    told = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in out.items())
    return f"{said}; {int(out.sum()):,} left out ({told})." if len(out) else f"{said}; none left out."


def clusters_words(found: Clusters | None, milliseconds: float) -> str:
    """Say how the patches were parted."""
    if found is None:
        return ""
    said = f"{count_of(found.count, 'cluster')} of {count_of(int((found.numbers > 0).sum()), 'patch')}"
    score = f"; silhouette {found.silhouette:.2f}" if found.count > 1 else ""
    return f"{said}{score}; clustered in {milliseconds:.0f} ms." if milliseconds >= 1 else f"{said}{score}."


def border_words(dashboard: Any) -> str:
    """Say which clusters are mostly patches that dark pixels touch, and what to do; nothing when there is none."""
    found, partly = dashboard.found, dashboard.partly_dark
    if found is None or partly is None or len(partly) != len(found.numbers):
        return ""
    touched = np.bincount(found.numbers[partly & (found.numbers > 0)], minlength=max(found.names, default=0) + 1)
    cut = [
        name
        for number, name in found.names.items()
        if 2 * touched[number] > np.sum(found.numbers == number) and 4 * touched[number] < len(partly)
    ]
    if not cut:
        return ""
    told = " and ".join([", ".join(cut[:-1]), cut[-1]][len(cut) == 1 :])
    return (
        f"Most patches of {told} touch dark pixels, as a border does. If it is no part of the sample, tick"
        " partly dark under Patches left out."
    )


def outcome_words(dashboard: Any) -> str:
    """Say in a line what is shown."""
    found = dashboard.found
    if found is None:
        return ""
    counts = ", ".join(f"{int(count):,}" for count in found.sizes["patches"])
    tiles = count_of(int(found.patches.table["file"].nunique()), "tile")
    return f"{count_of(len(found.patches), 'patch')} of {tiles} in {count_of(found.count, 'cluster')} ({counts})."


def warned(dashboard: Any) -> list[str]:
    """Return what is doubtful about what is shown, each sentence once."""
    said = [*(dashboard.patches.warnings if dashboard.patches is not None else ())]
    said += dashboard.found.warnings if dashboard.found is not None else ()
    said += dashboard.correction.warnings if dashboard.correction is not None else ()
    return list(dict.fromkeys(said))


def problems_words(dashboard: Any) -> str:
    """Say which tiles could not be used."""
    patches, tiles = dashboard.patches, dashboard.tile_set
    table = patches.problems if patches is not None else tiles.problems if tiles is not None else None
    if table is None or not len(table):
        return ""
    more = f" {len(table) - 1:,} more are listed under Log." if len(table) > 1 else ""
    return f"Left out: {table['error'].iloc[0]}{more}"


def selected_words(dashboard: Any) -> str:
    """Say how many patches are selected, and what they are."""
    rows = dashboard.selected
    if not rows:
        return "Draw a box in the scatter or click a patch in the picture to select patches."
    said = f"{count_of(len(rows), 'patch')} selected"
    found = dashboard.found
    if found is None or max(rows) >= len(found.numbers):
        return f"{said}."
    numbers = found.numbers[rows]
    parts = [f"{int((numbers == number).sum()):,} in {name}" for number, name in found.names.items()]
    parts = [part for part in parts if not part.startswith("0 ")]
    return f"{said}: {', '.join(parts)}." if parts else f"{said}, in no cluster."


_NOTHING = "nothing"
_SLOW_GROUPS = ("patterns", "grains")
# seconds, measured on two cores: a megapixel read and measured, the same with filters, a patch clustered, a cell
_MEGAPIXEL_S, _FILTERED_S, _PATCH_S, _CELL_S = 0.006, 0.1, 1.2e-5, 0.008
_PATCHES_OF_A_DRAW = 3_000


def slices_words(rows: int, columns: int) -> str:
    """Return a grid as people write it.

    Examples
    --------
    >>> slices_words(8, 16)
    '8 × 16'
    """
    return f"{rows:g} × {columns:g}"


def components_words(components: int) -> str:
    """Return a number of components in words.

    Examples
    --------
    >>> components_words(0), components_words(1)
    ('all statistics', '1 component')
    """
    if not components:
        return "all statistics"
    return "1 component" if components == 1 else f"{components:g} components"


def short(value: float) -> str:
    """Return a score with as many digits as tell something.

    Examples
    --------
    >>> short(0.4567), short(-12345.6), short(float("nan"))
    ('0.46', '-12,346', '–')
    """
    if not math.isfinite(value):
        return "–"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:,.0f}"


def cell_words(row: dict[str, Any]) -> str:
    """Return the settings of a row of a search in words.

    Parameters
    ----------
    row
        Of the search's table.
    """
    slices = slices_words(row["rows"], row["columns"])
    return f"{slices} patches a tile, {row['clusters']} clusters, {components_words(row['components'])}"


def scores_words(row: dict[str, Any]) -> str:
    """Return all scores of a row of a search.

    Parameters
    ----------
    row
        Of the search's table.
    """
    names = ("silhouette", "stability", "bic", "inertia")
    said = [f"{'BIC' if name == 'bic' else name} {short(row[name])}" for name in names if math.isfinite(row[name])]
    return ", ".join(said)


def parse_numbers(text: str, *, least: int, most: int) -> list[int]:
    """Return whole numbers that are parted by commas or blanks, each once and sorted.

    Parameters
    ----------
    text
        As typed.
    least, most
        That are possible.

    Raises
    ------
    ValueError
        When something else is there.

    Examples
    --------
    >>> parse_numbers("16, 4 8,8", least=1, most=128)
    [4, 8, 16]
    """
    parts = [part for part in re.split(r"[,;\s]+", text.strip()) if part]
    wrong = [part for part in parts if not re.fullmatch(r"\d{1,6}", part) or not least <= int(part) <= most]
    if wrong:
        raise ValueError(f"Type whole numbers from {least} to {most} with commas between them; got {wrong[0]}.")
    return sorted({int(part) for part in parts})


def count_cells(dashboard: Any) -> int:
    """Return how many settings a search would try."""
    how = dashboard.search_settings
    return len(how["grids"] or [None]) * len(how["clusters"]) * len(how["components"])


def estimate_seconds(dashboard: Any) -> float:
    """Return about how long a search would take."""
    patches, how = dashboard.patches, dashboard.search_settings
    if patches is None:
        return 0.0
    tiles = patches.tile_set
    megapixels = sum(info.rows * info.columns for info in tiles.infos) / 1e6
    slow = any(STATISTICS[name].group in _SLOW_GROUPS for name in patches.statistics)
    per_grid = megapixels * (_FILTERED_S if slow else _MEGAPIXEL_S)
    each = len(how["clusters"]) * len(how["components"])
    grids = [grid**2 for grid in how["grids"] or ()] or [patches.grid.rows * patches.grid.columns]
    seconds = per_grid * len(how["grids"] or ())
    for slices in grids:
        count = slices * len(tiles)
        draws = how["draws"] * 0.35 * (_CELL_S + _PATCH_S * min(count, _PATCHES_OF_A_DRAW))
        seconds += each * (_CELL_S + _PATCH_S * count + draws)
    return seconds


def seconds_words(seconds: float) -> str:
    """Return a time as people say it.

    Examples
    --------
    >>> seconds_words(0.3), seconds_words(42), seconds_words(200)
    ('about a second', 'about 45 seconds', 'about 3 minutes')
    """
    if seconds < 1.5:
        return "about a second"
    if seconds < 10:
        return f"about {seconds:.0f} seconds"
    return f"about {5 * -(-seconds // 5):.0f} seconds" if seconds < 90 else f"about {seconds / 60:.0f} minutes"


def python_text(dashboard: Any) -> str:
    """Return the Python text that gives the table shown.

    Parameters
    ----------
    dashboard
        The page.
    """
    calls = (
        python_call(find_tile_set, dashboard.folder or "FOLDER", dashboard.tile_settings, result="tiles"),
        python_call(measure_patches, Name("tiles"), dashboard.settings, result="patches"),
        python_call(cluster_patches, Name("patches"), dashboard.cluster_settings, result="found"),
    )
    return "\n".join(
        [
            "from analysis.texture import cluster_patches, find_tile_set, measure_patches, write_patches",
            "",
            *calls,
            f"write_patches(found, {str(dashboard.table_file)!r})",
            "print(found.summary())",
        ]
    )


def shell_text(dashboard: Any) -> str:
    """Return the shell line that gives the table shown.

    Parameters
    ----------
    dashboard
        The page.
    """
    tiles = changed_settings(find_tile_set, dashboard.tile_settings)
    how = changed_settings(measure_patches, dashboard.settings)
    clusters = changed_settings(cluster_patches, dashboard.cluster_settings)
    options: dict[str, Any] = dict(tiles)
    if dashboard.divide_by == "grid":
        options["grid"] = f"{dashboard.grid_rows}x{dashboard.grid_columns}"
    options |= {name: how[name] for name in ("patch_size", "step", "statistics", "shading") if name in how}
    if "leave_out" in how:
        options["leave_out"] = how["leave_out"] or _NOTHING
    options |= {name: how[name] for name in ("dark_below",) if name in how}
    options |= {name: value for name, value in clusters.items() if name != "scale"}
    options["no-scale"] = clusters.get("scale") is False
    options["output"] = str(dashboard.table_file)
    spelled = {name.replace("_", "-"): value for name, value in options.items()}
    return shell_line("graticule texture cluster", [dashboard.folder or "FOLDER"], spelled)
