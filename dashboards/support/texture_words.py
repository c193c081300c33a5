"""Sentences of the texture page."""

from __future__ import annotations

from typing import Any

from analysis.texture import Clusters, Patches, TileSet


def count_of(count: int, noun: str) -> str:
    """Return a number with its noun.

    Examples
    --------
    >>> count_of(1, "patch"), count_of(2000, "patch"), count_of(2, "tile")
    ('1 patch', '2,000 patches', '2 tiles')
    """
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {noun}{'es' if noun.endswith(('ch', 's')) else 's'}"


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
