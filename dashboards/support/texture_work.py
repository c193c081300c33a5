"""What the texture page keeps and how it waits: only the last request counts, and what was measured is remembered."""

from __future__ import annotations

import hashlib
import json
import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from analysis.files import fingerprint
from analysis.texture import Clusters, Mosaic, Patches, Shading, TileSet, measure_patches

_MOST_NUMBERS = 60_000_000
"""Numbers of kept tables: half a gigabyte."""
_MOST_CLUSTERINGS = 40
_MOST_MOSAICS = 6


class Latest:
    """Work of which one runs at a time, and of what is asked for meanwhile only the last is done after it."""

    def __init__(self) -> None:
        self._wanted: object | None = None
        self.busy = False

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work, which reads what it needs when it begins, and once more when it was asked for meanwhile.

        Parameters
        ----------
        work
            Called without arguments; what it cannot do it says itself.
        """
        self._wanted = object()
        if self.busy:
            return
        self.busy, answered = True, None
        try:
            while answered is not self._wanted:
                answered = self._wanted
                await work()
        finally:
            self.busy = False


class Kept:
    """What was measured and clustered, so that going back to earlier settings takes no time."""

    def __init__(self) -> None:
        self._patches: OrderedDict[str, Patches] = OrderedDict()
        self._clusters: OrderedDict[str, Clusters] = OrderedDict()
        self._mosaics: OrderedDict[str, Mosaic] = OrderedDict()

    def clear(self) -> None:
        """Forget everything."""
        self._patches.clear()
        self._clusters.clear()
        self._mosaics.clear()

    def find_patches(self, settings: Mapping[str, Any]) -> Patches | None:
        """Return what was measured with these settings."""
        return _find(self._patches, _key(settings))

    def keep_patches(self, settings: Mapping[str, Any], patches: Patches) -> None:
        """Remember what was measured; what was not asked for the longest time goes when there is too much."""
        self._patches[_key(settings)] = patches
        while len(self._patches) > 1 and sum(each.table.size for each in self._patches.values()) > _MOST_NUMBERS:
            self._patches.popitem(last=False)

    def find_clusters(self, patches: Patches, settings: Mapping[str, Any]) -> Clusters | None:
        """Return how these patches were clustered with these settings."""
        found = _find(self._clusters, f"{id(patches)} {_key(settings)}")
        # another object may have taken the place in memory
        return found if found is not None and found.patches is patches else None

    def keep_clusters(self, settings: Mapping[str, Any], found: Clusters) -> None:
        """Remember how patches were clustered."""
        self._clusters[f"{id(found.patches)} {_key(settings)}"] = found
        most = min(_MOST_CLUSTERINGS, max(1, _MOST_NUMBERS // max(found.patches.table.size, 1)))
        while len(self._clusters) > most:
            self._clusters.popitem(last=False)

    def find_mosaic(self, shading: Shading | None) -> Mosaic | None:
        """Return the picture of the set without this shading."""
        return _find(self._mosaics, _key_of_shading(shading))

    def keep_mosaic(self, shading: Shading | None, mosaic: Mosaic) -> None:
        """Remember a picture of the set."""
        self._mosaics[_key_of_shading(shading)] = mosaic
        while len(self._mosaics) > _MOST_MOSAICS:
            self._mosaics.popitem(last=False)


def _key_of_shading(shading: Shading | None) -> str:
    if shading is None:
        return ""
    light = shading.coefficients if shading.image is None else shading.image
    return f"{shading.kind} {hashlib.sha256(np.ascontiguousarray(light)).hexdigest()}"


def _find(kept: OrderedDict[str, Any], key: str) -> Any:
    if key not in kept:
        return None
    kept.move_to_end(key)
    return kept[key]


def _key(settings: Mapping[str, Any]) -> str:
    return json.dumps(dict(settings), sort_keys=True, default=str)


def find_partly_dark(patches: Patches, store: str | os.PathLike[str]) -> np.ndarray | None:
    """Return which patches that count have a dark pixel, as at the border of what was imaged.

    Parameters
    ----------
    patches
        As `measure_patches` returned them.
    store
        Folder that it kept their numbers in; no tile is read again.

    Returns
    -------
    ndarray or None
        (patches,) bool; None when such patches are left out by their rule.
    """
    how = patches.settings
    if "partly_dark" in how["leave_out"]:
        return None
    how = {**how, "statistics": ["min"], "leave_out": (*how["leave_out"], "partly_dark"), "store": store}
    if patches.shading is not None:
        how["shading"] = patches.shading
    again = measure_patches(patches.tile_set, **how)
    return (again.table["why"] == "partly_dark").to_numpy(bool)


def key_of_settings(settings: Mapping[str, Any], tile_set: TileSet) -> dict[str, Any]:
    """Return settings of `measure_patches` with what tells one set of tiles, and one model's file, from another.

    Parameters
    ----------
    settings
        Keyword arguments.
    tile_set
        The tiles.
    """
    model = settings["shading"]
    state = "" if model in ("surface", "none") or not Path(model).is_file() else fingerprint(Path(model))
    return {**settings, "tiles": id(tile_set), "model": str(state)}


def key_of_grid(patches: Patches) -> str:
    """Return a word that is the same for patches in the same places: their labels go together."""
    grid = patches.grid
    return f"{grid.shape} {grid.patch_size} {grid.starts_y.tolist()} {grid.starts_x.tolist()}"


def key_of_patch(patches: Patches, row: int) -> tuple[str, int, int]:
    """Return what a label calls a patch: file, row, column."""
    entry = patches.table.iloc[row]
    return str(entry["file"]), int(entry["row"]), int(entry["column"])


def rows_of_labels(patches: Patches, labels: Mapping[tuple[str, int, int], str]) -> dict[int, str]:
    """Return class by row of the table of patches; labels of patches that are not there are left out.

    Parameters
    ----------
    patches
        What was measured.
    labels
        Class by (file, row, column), the file by its path or its name.
    """
    if not labels:
        return {}
    table = patches.table
    wanted = np.isin(table["file"].to_numpy(object).astype(str), [key[0] for key in labels])
    wanted |= np.isin(table["name"].to_numpy(object).astype(str), [key[0] for key in labels])
    found = {}
    for at in np.flatnonzero(wanted):
        file, row, column = key_of_patch(patches, at)
        name = labels.get((file, row, column)) or labels.get((Path(file).name, row, column))
        if name is not None:
            found[int(at)] = name
    return found
