"""What the search of the texture page says: settings, scores, how many cells there are and how long they take."""

from __future__ import annotations

import math
import re
from typing import Any

from analysis.texture import STATISTICS

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
