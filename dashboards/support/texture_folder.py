"""A folder of tiles as the command line names it: found, measured, clustered and corrected."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.texture import (
    Clusters,
    Correction,
    Patches,
    TileSet,
    cluster_patches,
    correct_labels,
    find_tile_set,
    measure_patches,
    read_labels,
)
from dashboards.support.acts import Run
from dashboards.support.options import options_for

NOTHING = "nothing"
"""What is typed for leaving no patch out."""
_SIZE = re.compile(r"(\d+)(?:x(\d+))?", re.IGNORECASE)


def measure_folder(
    folder: Path,
    run: Run,
    *,
    outputs: Sequence[Path] = (),
    grid: str | None = None,
    patch_size: str | None = None,
    step: str | None = None,
    statistics: Sequence[str] = ("common",),
    shading: str = "surface",
    leave_out: Sequence[str] = ("blank", "dark"),
    dark_below: float = 0.2,
    rows: int | None = None,
    columns: int | None = None,
    **options: Any,
) -> Patches:
    """Find the tiles of a folder and measure their patches, as it is typed.

    Parameters
    ----------
    folder
        Of the tiles, or one tile.
    run
        Tells progress and hears a request to stop.
    outputs
        What will be written; none may be a tile.
    grid
        Rows x columns of patches in a tile, such as 16x16; one number stands for both. 16x16 when neither this nor a
        patch size is given.
    patch_size
        Rows x columns of a patch in pixels, such as 64x64; one number stands for both.
    step
        Pixels from one patch to the next, down x across; the size of a patch when not given. Smaller steps overlap.
    statistics
        What is measured: names of statistics, and of presets: common, five_number, seven_number, box_and_whisker,
        texture. May be given several times.
    shading
        What is taken off first: surface (one smooth surface, fitted to all tiles), none, or the file of a flatfield
        image: TIFF, PNG, or .bin as the flatfield instrument writes it.
    leave_out
        Patches that do not count: blank (all pixels have one value), dark (the mean is below a share of the median of
        all patches' means), partly_dark (one pixel is), edge (the outermost patches of the set), or nothing. May be
        given several times.
    dark_below
        The share of that median below which a patch, or a pixel of it, is dark, 0 to 1.
    rows, columns
        Of the set; tiles then fill it row by row in the order of their names. One of the two is enough; by default the
        names say where tiles lie.
    **options
        Of `find_tile_set` and `measure_patches`.

    Raises
    ------
    ValueError
        When an option is none of these, an output is a tile, or no tile can be measured.
    """
    if shading not in ("surface", "none") and not os.path.exists(shading):
        raise ValueError(f"shading must be surface, none, or a file that exists; got {shading}.")
    how = {
        "grid": parse_size("grid", grid),
        "patch_size": parse_size("patch-size", patch_size),
        "step": parse_size("step", step),
        "statistics": list(statistics),
        "shading": shading if shading in ("surface", "none") else Path(shading),
        "leave_out": parse_rules(leave_out),
        "dark_below": dark_below,
    }
    if not how["statistics"]:
        raise ValueError("statistics must be at least one name or preset; got none.")
    layout = {"rows": rows, "columns": columns, **options_for(find_tile_set, options)}
    tiles = find_tile_set(folder, **layout, **run.keywords)
    refuse_tiles(tiles, outputs)
    return measure_patches(tiles, **how, **options_for(measure_patches, options), **run.work)


def parse_size(name: str, text: str | None) -> tuple[int, int] | None:
    """Return ``ROWSxCOLUMNS``, or one number for both, as two numbers.

    Parameters
    ----------
    name
        Of the option, for the sentence.
    text
        What was typed; None stays None.

    Raises
    ------
    ValueError
        When it is something else.
    """
    if text is None:
        return None
    match = _SIZE.fullmatch(str(text).strip())
    if match is None or len(match[0]) > 20:
        raise ValueError(f"{name} must be rows x columns, such as 16x16, or one number for both; got {text!r}.")
    return int(match[1]), int(match[2] or match[1])


def parse_rules(rules: Sequence[str]) -> tuple[str, ...]:
    """Return the rules by which patches are left out; none for ``nothing``.

    Parameters
    ----------
    rules
        As typed.

    Raises
    ------
    ValueError
        When nothing stands beside a rule.
    """
    if NOTHING in rules and len(rules) > 1:
        raise ValueError(f"leave_out must be {NOTHING} or rules, not both; got {', '.join(rules)}.")
    return () if NOTHING in rules else tuple(rules)


def refuse_tiles(tiles: TileSet, outputs: Iterable[Path]) -> None:
    """Refuse outputs that are a tile, also through a link, or the tiles' own folder.

    Parameters
    ----------
    tiles
        The tiles.
    outputs
        Files and folders to be written.

    Raises
    ------
    ValueError
        When one of them is.
    """
    files = {os.path.realpath(file) for file in tiles.table["file"]}
    folders = {os.path.dirname(file) for file in files}
    for path in outputs:
        if os.path.realpath(path) in files:
            raise ValueError(f"an output must not be one of the tiles; got {path}. Choose another name.")
        if os.path.realpath(path) in folders:
            raise ValueError(f"an output must not be the folder of the tiles; got {path}. Choose another one.")


def cluster_folder(
    folder: Path,
    run: Run,
    *,
    outputs: Sequence[Path] = (),
    labels: Path | None = None,
    components: int | None = None,
    **options: Any,
) -> tuple[Clusters, Correction | None]:
    """Measure the patches of a folder, cluster them, and correct them by labels.

    Parameters
    ----------
    folder, run, outputs
        As in `measure_folder`.
    labels
        File of classes given by hand, as the page saves it: CSV or JSON with file, row, column and class. A random
        forest gives a class, and how sure it is, to all other patches.
    components
        Principal components that are kept; the statistics themselves are compared for 0 and when not given.
    **options
        Of `measure_folder` and `cluster_patches`.

    Raises
    ------
    ValueError
        When an option or a label is none that can be.
    OSError
        When the labels cannot be opened.
    """
    if labels is not None:
        if os.path.realpath(labels) in map(os.path.realpath, outputs):
            raise ValueError(f"an output must not be the labels; got {labels}. Choose another name.")
        read_labels(labels)  # what is wrong with the file itself is better said before the work
    patches = measure_folder(folder, run, outputs=outputs, **options)
    run.check()
    how = cluster_options(cluster_patches, {**options, "components": components})
    found = cluster_patches(patches, **how)
    if labels is None:
        return found, None
    given = read_labels(labels, patches=patches)
    return found, correct_labels(found, given, seed=options["seed"])


def cluster_options(function: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keyword arguments of a function that clusters: what was measured counts, 0 components are none.

    Parameters
    ----------
    function
        `cluster_patches` or `search_settings`.
    options
        As typed.
    """
    how = {name: value for name, value in options_for(function, options).items() if name != "statistics"}
    if "components" in how:
        how["components"] = how["components"] or None
    return how
