"""The pictures that belong to exposures: micrographs, foil holes, and how alike two of them are."""

from __future__ import annotations

import os
import re
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter

from analysis.exposures._session import Session
from analysis.files import fingerprint
from analysis.images import read_preview

_SUFFIXES = (".jpg", ".jpeg", ".png")
_FOIL_NAME = re.compile(r"FoilHole_(\d+)_(\d{8})_(\d{6})\.(?:jpg|jpeg|png)", re.IGNORECASE)
_PREVIEW_PX = 128
_SMOOTH_PX, _BACKGROUND_PX, _SHIFT_PX = 1.0, 8.0, 4


@dataclass(frozen=True)
class SessionImages:
    """Where the pictures of a session's exposures are.

    Attributes
    ----------
    folder
        Of the session; paths are below it.
    table
        One row an exposure: ``name, file, micrograph, foil_hole_image`` (the last picture of its foil hole before
        the exposure, so the one after centring; the hole's first when none is earlier), ``foil_hole_time``
        (local, from its name), ``foil_hole_before`` (the one before that, so before centring; the same when
        there is one only). Paths are empty where there is no picture.
    settings
        The keyword arguments used: none.
    """

    folder: Path
    table: pd.DataFrame
    settings: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def _rows(self) -> dict[str, dict[str, Any]]:
        return {row["file"]: row for row in self.table.to_dict("records")}

    def path(self, file: str, kind: str = "micrograph") -> Path | None:
        """Return the path of an exposure's picture, None without one.

        Parameters
        ----------
        file
            The exposure's ``file``.
        kind
            ``"micrograph"``, ``"foil_hole_image"`` or ``"foil_hole_before"``.
        """
        found = self._rows.get(file, {}).get(kind)
        return self.folder / found if found else None

    def foil_hole_time(self, file: str) -> pd.Timestamp:
        """Return when the exposure's picture of its foil hole was taken; NaT without one."""
        return self._rows.get(file, {}).get("foil_hole_time", pd.NaT)

    def foil_likeness(self, first: str, second: str) -> float:
        """Return how alike the foil-hole images of two exposures are, as `likeness`; NaN when one is missing.

        The pictures before centring are compared: centring puts every hole into the middle, also one that the
        stage came back to.
        """
        paths = self.path(first, "foil_hole_before"), self.path(second, "foil_hole_before")
        if None in paths or paths[0] == paths[1]:
            return np.nan
        try:
            return likeness(*paths)
        except (ValueError, OSError):
            return np.nan  # a damaged picture says nothing about the stage

    def summary(self) -> dict[str, Any]:
        """Return for how many exposures there is a micrograph and a picture of the foil hole."""
        return {
            "exposures": len(self.table),
            "micrographs": int((self.table["micrograph"] != "").sum()),
            "foil_hole_images": int((self.table["foil_hole_image"] != "").sum()),
        }


def find_images(session: Session) -> SessionImages:
    """Find the pictures of a session's exposures by their names; none is opened.

    A micrograph stands beside its XML under the same name (``.jpg``, ``.jpeg`` or ``.png``); pictures of foil holes
    stand in ``GridSquare_*/FoilHoles/FoilHole_<hole>_<YYYYMMDD>_<HHMMSS>.jpg``, two for each visit of a hole.

    Parameters
    ----------
    session
        As `read_epu_session` returns it.

    Returns
    -------
    SessionImages
        Of all exposures of ``session.exposures``. A folder that is missing or cannot be looked into holds no
        pictures.
    """
    rows = session.exposures
    listed: dict[str, dict[str, str]] = {}
    holes: dict[str, dict[str, list[tuple[str, str]]]] = {}
    stamps = rows["named_time"].dt.strftime("%Y%m%d%H%M%S").fillna("")
    found = []
    for file, hole, stamp in zip(rows["file"], rows["foil_hole"], stamps, strict=True):
        path = PurePosixPath(file)
        data, square = str(path.parent), str(path.parent.parent)
        if data not in listed:
            listed[data] = _list_micrographs(session.folder / data)
        if square not in holes:
            holes[square] = _list_foil_holes(session.folder / square / "FoilHoles")
        micrograph = listed[data].get(path.stem)
        taken = holes[square].get(hole, [])
        last = max(bisect_left(taken, (stamp, "")) - 1, 0)
        names = [f"{square}/FoilHoles/{taken[at][1]}" if taken else "" for at in (last, max(last - 1, 0))]
        found.append((f"{data}/{micrograph}" if micrograph else "", *names, taken[last][0] if taken else None))
    columns = ["micrograph", "foil_hole_image", "foil_hole_before", "foil_hole_time"]
    table = pd.DataFrame(found, columns=columns, dtype=object)
    table["foil_hole_time"] = pd.to_datetime(table["foil_hole_time"], format="%Y%m%d%H%M%S", errors="coerce")
    return SessionImages(Path(session.folder), pd.concat([rows[["name", "file"]], table], axis=1))


def _list_folder(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries)
    except OSError:
        return []


def _list_micrographs(folder: Path) -> dict[str, str]:
    """Return the picture of every stem; a JPEG before a PNG."""
    found: dict[str, str] = {}
    names = [(name, *os.path.splitext(name)) for name in _list_folder(folder)]
    for suffix in _SUFFIXES:
        for name, stem, extension in names:
            if extension.lower() == suffix:
                found.setdefault(stem, name)
    return found


def _list_foil_holes(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """Return (time, name) of the pictures of every hole, in order of time."""
    found = defaultdict(list)
    for name in _list_folder(folder):
        if match := _FOIL_NAME.fullmatch(name):
            found[match[1]].append((match[2] + match[3], name))
    return {hole: sorted(taken) for hole, taken in found.items()}


def likeness(first: str | os.PathLike[str], second: str | os.PathLike[str]) -> float:
    """Return how alike two pictures are, -1 to 1: near 1 only for the same specks at the same place.

    Both are reduced to at most 128 pixels a side, smoothed (Gaussian, 1 pixel), freed of their background
    (Gaussian, 8 pixels), divided by their local contrast (the same 8 pixels, plus 0.3 of that of the whole picture),
    tapered towards the edges (Hann), and correlated with each other; the result is the largest normalised
    correlation among shifts of at most 4 pixels, 3 % of the side. Dividing by the local contrast keeps the rim of
    the hole, which all holes have, from outweighing what lies in it.

    Parameters
    ----------
    first, second
        JPEG or PNG files. Files that did not change are read once.

    Returns
    -------
    float
        NaN for pictures without contrast or of different shape.

    Raises
    ------
    ValueError
        When a file is no picture, or is damaged.
    OSError
        When a file is missing.
    """
    a, b = (_spectrum(os.fspath(path), fingerprint(path)) for path in (first, second))
    if a is None or b is None or a.shape != b.shape:
        return np.nan
    product = np.fft.ifft2(a * np.conj(b)).real
    rows, columns = (min(_SHIFT_PX, (length - 1) // 2) for length in product.shape)
    return float(np.roll(product, (rows, columns), axis=(0, 1))[: 2 * rows + 1, : 2 * columns + 1].max())


@lru_cache(maxsize=256)
def _spectrum(path: str, _fingerprint: str) -> np.ndarray | None:
    """Return the Fourier transform of a prepared preview of norm 1, None when it has no contrast."""
    pixels = read_preview(path, longest_px=_PREVIEW_PX).astype(np.float32)
    pixels = gaussian_filter(pixels, _SMOOTH_PX) - gaussian_filter(pixels, _BACKGROUND_PX)
    contrast = np.sqrt(gaussian_filter(pixels**2, _BACKGROUND_PX))
    if not contrast.max() > 1e-3:
        return None
    pixels /= contrast + 0.3 * np.sqrt(np.mean(pixels**2))
    taper = [np.hanning(length + 2)[1:-1] for length in pixels.shape]
    pixels = (pixels - pixels.mean()) * np.outer(*taper)
    return np.fft.fft2(pixels / np.linalg.norm(pixels))
