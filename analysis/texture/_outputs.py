"""What leaves the instrument: a table, label images, outlines for QuPath and ImageJ, and a picture."""

from __future__ import annotations

import io
import json
import os
import re
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import tifffile

from analysis.files import whole_file
from analysis.tables import write_table
from analysis.texture._clusters import Clusters
from analysis.texture._corrections import Correction
from analysis.texture._drawing import colour_of, patch_of_pixels
from analysis.texture._patches import PLACE_COLUMNS, Patches

Result = Clusters | Correction
Kind = Literal["annotation", "detection"]
_LONGEST_STEM = 120
"""Bytes of a name that are kept: folders take 255, of which endings and the name while it is written need some."""
_FURTHEST_PX = 32767
"""ImageJ keeps the corners of an outline in 16 bits with a sign."""
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)
_SAME = uuid.UUID("6f5a3c52-6f0b-4d4e-9d19-1b6a1d9b6a55")


def write_patches(result: Result, path: str | os.PathLike[str]) -> Path:
    """Write patches with their statistics and their cluster or class as CSV.

    Parameters
    ----------
    result
        As `cluster_patches` or `correct_labels` returns it.
    path
        The file, replaced in one step. Columns: those of `PLACE_COLUMNS`, the statistics, ``left_out, why``, and
        ``cluster``, or ``class, sureness, labelled``.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ValueError
        When it is one of the tiles.
    OSError
        When it cannot be written.
    """
    path = Path(path)
    refuse_tiles(result.patches, [path])
    last = [name for name in ("cluster", "class", "sureness", "labelled") if name in result.table.columns]
    return write_table(result.table[[*PLACE_COLUMNS, *result.patches.statistics, "left_out", "why", *last]], path)


def make_label_image(result: Result, tile: int) -> np.ndarray:
    """Return an image of a tile's size whose pixels are the cluster or class of their patch.

    Parameters
    ----------
    result
        As `cluster_patches` or `correct_labels` returns it.
    tile
        Number of the tile in its set, from 0.

    Returns
    -------
    ndarray
        (rows, columns) uint8, or uint16 above 255 classes: from 1; 0 where there is none. Where patches overlap, the
        one whose middle is nearest counts.

    Raises
    ------
    ValueError
        When no patch of that tile was measured.
    """
    table = result.patches.table
    chosen = np.flatnonzero(table["tile"].to_numpy() == tile)
    if not len(chosen):
        raise ValueError(f"tile must be one that was measured; {tile!r} was not.")
    return _label_image(result, chosen)


def write_label_images(result: Result, folder: str | os.PathLike[str]) -> list[Path]:
    """Write a label image of each tile as TIFF, of the tile's size.

    Parameters
    ----------
    result
        As `cluster_patches` or `correct_labels` returns it.
    folder
        Made when it is missing; not that of the tiles. Files are ``<name of the tile>_labels.tif``, and
        ``labels.csv`` says which number has which name and colour.

    Returns
    -------
    list of Path
        The files written, in the order of the tiles.

    Raises
    ------
    ValueError
        When the folder is that of the tiles.
    OSError
        When it cannot be written.
    """
    paths = _name_outputs(result, folder, "_labels.tif")
    for path, chosen in zip(paths, _tiles(result), strict=True):
        image = _label_image(result, chosen)
        with whole_file(path) as handle:
            tifffile.imwrite(handle, image, compression="zlib", photometric="minisblack")
    names = result.names
    colours = ["#{:02x}{:02x}{:02x}".format(*colour_of(number)) for number in names]
    legend = pd.DataFrame({"number": list(names), "name": list(names.values()), "colour": colours})
    write_table(legend, Path(folder) / "labels.csv")
    return paths


def write_geojson(result: Result, folder: str | os.PathLike[str], *, kind: Kind = "annotation") -> list[Path]:
    """Write the patches of each tile as GeoJSON that QuPath opens, with their class and its colour.

    Parameters
    ----------
    result
        As `cluster_patches` or `correct_labels` returns it.
    folder
        Made when it is missing; not that of the tiles. Files are ``<name of the tile>.geojson``.
    kind
        ``"annotation"``, or ``"detection"`` with the statistics as measurements, which QuPath draws faster when there
        are thousands.

    Returns
    -------
    list of Path
        The files written, in the order of the tiles. Patches without cluster or class are not in them.

    Raises
    ------
    ValueError
        When the kind is neither, or the folder is that of the tiles.
    OSError
        When it cannot be written.
    """
    if kind not in ("annotation", "detection"):
        raise ValueError(f"kind must be annotation or detection; got {kind!r}.")
    paths = _name_outputs(result, folder, ".geojson")
    names = result.names
    for path, chosen in zip(paths, _tiles(result), strict=True):
        features = [_feature(result, entry, number, names, kind) for entry, number in _outlines(result, chosen)]
        with whole_file(path, "w", encoding="utf-8") as handle:
            json.dump({"type": "FeatureCollection", "features": features}, handle)
    return paths


def write_rois(result: Result, folder: str | os.PathLike[str]) -> list[Path]:
    """Write the patches of each tile as a ZIP file of outlines that ImageJ's ROI manager opens.

    Parameters
    ----------
    result
        As `cluster_patches` or `correct_labels` returns it.
    folder
        Made when it is missing; not that of the tiles. Files are ``<name of the tile>_rois.zip``.

    Returns
    -------
    list of Path
        The files written, in the order of the tiles. Patches without cluster or class are not in them.

    Raises
    ------
    ImportError
        When the package roifile is not installed.
    ValueError
        When a tile is too large for ImageJ's outlines, or the folder is that of the tiles.
    OSError
        When it cannot be written.
    """
    try:
        from roifile import ROI_TYPE, ImagejRoi
    except ImportError:
        raise ImportError(
            "roifile must be installed to write ImageJ's outlines; it is not. Install it with: pip install roifile"
        ) from None
    table = result.patches.table
    furthest = max((table["row_px"] + table["rows_px"]).max(), (table["column_px"] + table["columns_px"]).max())
    if furthest > _FURTHEST_PX:
        raise ValueError(f"tiles must have at most {_FURTHEST_PX} px for ImageJ's outlines; got {furthest}.")
    paths = _name_outputs(result, folder, "_rois.zip")
    names = result.names
    for path, chosen in zip(paths, _tiles(result), strict=True):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for entry, number in _outlines(result, chosen):
                top, left = int(entry["row_px"]), int(entry["column_px"])
                title = f"{names[number]} r{entry['row']:03d} c{entry['column']:03d}"
                outline = ImagejRoi(
                    roitype=ROI_TYPE.RECT,
                    top=top,
                    left=left,
                    bottom=top + int(entry["rows_px"]),
                    right=left + int(entry["columns_px"]),
                    name=title,
                    group=number if number < 256 else 0,
                    stroke_color=bytes([255, *colour_of(number)]),
                )
                # without a date the same patches give the same bytes; numbers in front keep names apart
                inside = zipfile.ZipInfo(f"{entry['row']:04d}-{entry['column']:04d} {_safe(names[number])}.roi")
                archive.writestr(inside, outline.tobytes(), zipfile.ZIP_DEFLATED)
        with whole_file(path) as handle:
            handle.write(packed.getvalue())
    return paths


# ------------------------------------------------------------------------------------------- patches of a tile


def _tiles(result: Result) -> list[np.ndarray]:
    """Return the rows of the table that belong to each tile."""
    tiles = result.patches.table["tile"].to_numpy()
    order = np.argsort(tiles, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(tiles[order])) + 1)


def _label_image(result: Result, chosen: np.ndarray) -> np.ndarray:
    part = result.patches.table.iloc[chosen]
    info = result.patches.tile_set.infos[int(part["tile"].iloc[0])]
    place = patch_of_pixels(part, (info.rows, info.columns))
    numbers = np.append(np.maximum(result.numbers[chosen], 0), 0)
    return numbers.astype(np.uint8 if max(result.names, default=0) < 256 else np.uint16)[place]


def _outlines(result: Result, chosen: np.ndarray) -> Iterator[tuple[dict[str, Any], int]]:
    numbers = result.numbers[chosen]
    rows = chosen[numbers > 0]
    yield from zip(result.table.iloc[rows].to_dict("records"), numbers[numbers > 0].tolist(), strict=True)


def _feature(result: Result, entry: dict[str, Any], number: int, names: dict[int, str], kind: Kind) -> dict[str, Any]:
    top, left = int(entry["row_px"]), int(entry["column_px"])
    bottom, right = top + int(entry["rows_px"]), left + int(entry["columns_px"])
    corners = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    told = {
        "objectType": kind,
        "name": f"row {entry['row']}, column {entry['column']}",
        "classification": {"name": names[number], "color": list(colour_of(number))},
    }
    if kind == "detection":
        told["measurements"] = {
            name: float(entry[name]) for name in result.patches.statistics if np.isfinite(entry[name])
        }
        if "sureness" in entry:
            told["measurements"]["sureness"] = float(entry["sureness"])
    words = f"{entry['name']}|{top}|{left}|{bottom}|{right}"
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(_SAME, words)),
        "geometry": {"type": "Polygon", "coordinates": [corners]},
        "properties": told,
    }


# ------------------------------------------------------------------------------------------------ names


def _safe(text: str) -> str:
    """Return a name that is one in every folder: no separators, no dots in front, nothing that Windows keeps."""
    name = re.sub(r"[^\w\-.+() ]", "_", text).encode()[:_LONGEST_STEM].decode(errors="ignore").strip(" .") or "tile"
    return f"_{name}" if _RESERVED.fullmatch(name.split(".")[0]) else name


def _name_outputs(result: Result, folder: str | os.PathLike[str], ending: str) -> list[Path]:
    """Return a path in the folder for each tile; tiles of one name get numbers."""
    folder = Path(folder)
    names = result.patches.table["name"].to_numpy(object)
    taken: set[str] = set()
    paths = []
    for chosen in _tiles(result):
        stem = _safe(Path(str(names[chosen[0]])).stem)
        name, number = stem, 2
        while name.lower() in taken:
            name, number = f"{stem}_{number}", number + 1
        taken.add(name.lower())
        paths.append(folder / f"{name}{ending}")
    refuse_folder(result.patches, folder)
    refuse_tiles(result.patches, paths)
    folder.mkdir(parents=True, exist_ok=True)
    return paths


def refuse_folder(patches: Patches, folder: str | os.PathLike[str]) -> None:
    """Refuse to write into the folder of the tiles."""
    if os.path.realpath(folder) in {os.path.dirname(os.path.realpath(file)) for file in patches.tile_set.table["file"]}:
        raise ValueError(f"folder must not be that of the tiles; got {folder}. Choose another one.")


def refuse_tiles(patches: Patches, paths: list[Path]) -> None:
    """Refuse to write over a tile."""
    tiles = {os.path.realpath(file) for file in patches.tile_set.table["file"]}
    for path in paths:
        if os.path.realpath(path) in tiles:
            raise ValueError(f"an output must not be one of the tiles; got {path}. Choose another name.")
