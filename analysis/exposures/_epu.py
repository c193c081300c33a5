"""What EPU writes about one exposure and about the session, read from the bytes of its XML.

Fields are found by path and namespace, as EPU 2.6 to 3.9 write them; prefixes do not matter. EPU's pixel size and
``ReadoutArea`` count the pixels of the image as it was binned (a K3 of 5760 x 4092 binned by 2 says 2880 x 2046),
while ``ReferenceTransformation`` is um per pixel of the camera, so it is multiplied by the binning here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from lxml import etree

from analysis.exposures._session import NEEDED, NUMBERS

TEXT_FIELDS = ("microscope", "camera", "software_version")
_CONTRACTS = "http://schemas.datacontract.org/2004/07/"
_SPACES = {
    "e": f"{_CONTRACTS}Fei.SharedObjects",
    "t": f"{_CONTRACTS}Fei.Types",
    "d": f"{_CONTRACTS}System.Drawing",
    "w": f"{_CONTRACTS}System.Windows.Media",
    "a": "http://schemas.microsoft.com/2003/10/Serialization/Arrays",
    "p": f"{_CONTRACTS}Applications.Epu.Persistence",
}
_ACQUISITION, _OPTICS = "e:microscopeData/e:acquisition/", "e:microscopeData/e:optics/"
_CAMERA, _POSITION = f"{_ACQUISITION}e:camera/", "e:microscopeData/e:stage/e:Position/"
_MATRIX = "e:ReferenceTransformation/e:matrix/"
_PATHS = {
    "stage_x_um": f"{_POSITION}e:X",
    "stage_y_um": f"{_POSITION}e:Y",
    "stage_z_um": f"{_POSITION}e:Z",
    "stage_alpha_deg": f"{_POSITION}e:A",
    "stage_beta_deg": f"{_POSITION}e:B",
    "beam_shift_x": f"{_OPTICS}e:BeamShift/t:_x",
    "beam_shift_y": f"{_OPTICS}e:BeamShift/t:_y",
    "image_shift_x": f"{_OPTICS}e:ImageShift/t:_x",
    "image_shift_y": f"{_OPTICS}e:ImageShift/t:_y",
    "beam_tilt_x": f"{_OPTICS}e:BeamTilt/t:_x",
    "beam_tilt_y": f"{_OPTICS}e:BeamTilt/t:_y",
    "beam_diameter_um": f"{_OPTICS}e:BeamDiameter",
    "defocus_um": f"{_OPTICS}e:Defocus",
    "applied_defocus_um": "AppliedDefocus",
    "dose_e_per_a2": "Dose",
    "dose_on_camera_e_per_px": "DoseOnCamera",
    "pixel_size_angstrom": "e:SpatialScale/e:pixelSize/e:x/e:numericValue",
    "field_width_px": f"{_CAMERA}e:ReadoutArea/d:width",
    "field_height_px": f"{_CAMERA}e:ReadoutArea/d:height",
    "image_xx_um": f"{_MATRIX}w:_m11",
    "image_xy_um": f"{_MATRIX}w:_m12",
    "image_yx_um": f"{_MATRIX}w:_m21",
    "image_yy_um": f"{_MATRIX}w:_m22",
    "exposure_time_s": f"{_CAMERA}e:ExposureTime",
    "magnification": f"{_OPTICS}e:TemMagnification/e:NominalMagnification",
    "voltage_kv": "e:microscopeData/e:gun/e:AccelerationVoltage",
    "binning_x": f"{_CAMERA}e:Binning/d:x",
    "binning_y": f"{_CAMERA}e:Binning/d:y",
    "microscope": "e:microscopeData/e:instrument/e:InstrumentModel",
    "camera": f"{_CAMERA}e:Name",
    "software_version": "e:microscopeData/e:core/e:ApplicationSoftwareVersion",
    "acquired": f"{_ACQUISITION}e:acquisitionDateTime",
}
READ_NUMBERS = (*NUMBERS, "binning_x", "binning_y")
FIELDS = (*READ_NUMBERS, *TEXT_FIELDS, "acquired")
_FACTORS = {
    "stage_alpha_deg": 180 / math.pi, "stage_beta_deg": 180 / math.pi, "dose_e_per_a2": 1e-20,
    "pixel_size_angstrom": 1e10, "voltage_kv": 1e-3,
}  # fmt: skip
_WHAT = {"stage": "stage position", "beam": "beam shift"}
_ROOT = etree.QName(_SPACES["e"], "MicroscopeImage")
_SESSION_ROOT = etree.QName(_SPACES["p"], "EpuSessionXml")
_EPOCH = datetime(1970, 1, 1)
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:Z|([+-])(\d\d):(\d\d))?", re.ASCII)
_NAME = re.compile(r"FoilHole_(\d+)_Data_(\d+)_(\d+)_(\d{8}_\d{6})", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


def _clark(path: str) -> str:
    return "/".join(f"{{{_SPACES[step[0]]}}}{step[2:]}" for step in path.split("/"))


def _make_tree() -> dict[str, Any]:
    """Return the names of the fields as a tree of tags."""
    tree: dict[str, Any] = {}
    for name, path in _PATHS.items():
        if ":" in path:
            *above, last = (_clark(step) for step in path.split("/"))
            branch = tree
            for tag in above:
                branch = branch.setdefault(tag, {})
            branch[last] = name
    return tree


_TREE = _make_tree()
_CUSTOM = {path: name for name, path in _PATHS.items() if ":" not in path}
_ENTRIES = _clark("e:CustomData/a:KeyValueOfstringanyType")
_KEY, _VALUE = _clark("a:Key"), _clark("a:Value")


def parse_exposure(data: bytes) -> dict[str, Any]:
    """Return what the XML of one exposure says.

    Parameters
    ----------
    data
        The whole file.

    Returns
    -------
    dict
        The numbers of `Session.table` in its units (NaN where the file does not say), ``microscope``, ``camera``
        and ``software_version`` (text, or empty), and ``acquired`` (nanoseconds since 1970, UTC).

    Raises
    ------
    ValueError
        When this is no exposure of EPU, is cut short, holds a DOCTYPE, or lacks stage position, beam shift or time;
        the sentence says ``<reason>: must <expected>; got <found>.``
    """
    numbers, texts, acquired = convert(find_fields(data))
    row = in_units({name: np.array([value]) for name, value in zip(READ_NUMBERS, numbers, strict=True)})
    found: dict[str, Any] = {name: float(values[0]) for name, values in row.items()}
    return found | dict(zip(TEXT_FIELDS, texts, strict=True)) | {"acquired": acquired}


def parse_name(stem: str) -> dict[str, Any]:
    """Return what the name of a data file says: ``foil_hole, area, acquisition`` and ``named_time``.

    The time is the microscope's own (no zone); NaT when it is no date.

    Raises
    ------
    ValueError
        When the name is of another kind.

    Examples
    --------
    >>> parse_name("FoilHole_5330589_Data_5338216_5338218_20200206_172047")["area"]
    '5338216'
    """
    match = _NAME.fullmatch(stem)
    if match is None:
        raise ValueError(
            f"name of another kind: must be FoilHole_<number>_Data_<number>_<number>_<date>_<time>; got {stem[:120]!r}."
        )
    hole, area, acquisition, stamp = match.groups()
    try:
        named_time = np.datetime64(datetime.strptime(stamp, "%Y%m%d_%H%M%S"), "ns")
    except ValueError:
        named_time = np.datetime64("NaT", "ns")
    return {"foil_hole": hole, "area": area, "acquisition": acquisition, "named_time": named_time}


def parse_session(data: bytes) -> dict[str, Any]:
    """Return what ``EpuSession.dm`` says about the grid: ``hole_spacing_um, hole_size_um, clustering_mode``.

    The spacing is what EPU was told or measured on one square; others may differ by some percent.

    Raises
    ------
    ValueError
        When this is no XML of an EPU session.
    """
    root = _parse(data, _SESSION_ROOT, "a session of EPU")
    # a session may list further samples that are empty
    samples = root.iterfind(_clark("p:Samples/p:_items/p:SampleXml"))
    grids = [grid for sample in samples if (grid := sample.find(_clark("p:FilterHolesSettings"))) is not None]

    def length_um(name: str) -> float:
        texts = [(grid.findtext(_clark(f"p:{name}")) or "").strip() for grid in grids]
        known = [1e6 * float(text) for text in texts if _NUMBER.fullmatch(text)]
        return next((value for value in known if 0 < value < np.inf), math.nan)

    return {
        "hole_spacing_um": length_um("HoleSpacing"),
        "hole_size_um": length_um("HoleSize"),
        "clustering_mode": (root.findtext(_clark("p:ClusteringMode")) or "").strip(),
    }


def find_fields(data: bytes) -> list[str | None]:
    """Return the text of every field of `FIELDS`, None where the file has none."""
    root = _parse(data, _ROOT, "an exposure of EPU")
    found: dict[str, str | None] = {}
    _collect(root, _TREE, found)
    for entry in root.iterfind(_ENTRIES):
        name = _CUSTOM.get(entry.findtext(_KEY) or "")
        if name is not None:
            found[name] = entry.findtext(_VALUE)
    return [found.get(name) for name in FIELDS]


def _collect(element: etree._Element, tree: Mapping[str, Any], found: dict[str, str | None]) -> None:
    # by hand, as a look-up of 30 paths takes longer than parsing the file
    for child in element:
        branch = tree.get(child.tag)
        if isinstance(branch, str):
            found.setdefault(branch, child.text)
        elif branch is not None:
            _collect(child, branch, found)


def _parse(data: bytes, root_name: etree.QName, what: str) -> etree._Element:
    if not data.strip():
        raise ValueError(f"empty file: must be the XML of {what}; got {len(data)} bytes.")
    # said before anything is parsed: entities could fill the memory, or name other files
    if b"<!DOCTYPE" in data:
        raise ValueError("refused DOCTYPE: must be XML without one, its entities could fill the memory; got one.")
    # EPU writes UTF-8; any other encoding could hide a DOCTYPE from the line above
    parser = etree.XMLParser(encoding="utf-8", resolve_entities=False, no_network=True, huge_tree=False)
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        found = " ".join((error.msg or "no XML").split())
        raise ValueError(
            f"unreadable XML: must be whole, EPU may still be writing it; got {len(data)} bytes: {found}."
        ) from None
    if root.getroottree().docinfo.doctype:
        raise ValueError("refused DOCTYPE: must be XML without one, its entities could fill the memory; got one.")
    if root.tag != root_name.text:
        name = etree.QName(root)
        space = f" of {name.namespace[:80]}" if name.namespace else ""
        raise ValueError(
            f"another kind of XML: must have the root {root_name.localname} of {what}; "
            f"got {name.localname[:80]}{space}."
        )
    return root


def convert(fields: Sequence[str | None]) -> tuple[list[float], list[str], int]:
    """Return the numbers as they stand in the file, the texts, and the time in nanoseconds since 1970."""
    count = len(READ_NUMBERS)
    numbers = [_number(name, text) for name, text in zip(READ_NUMBERS, fields[:count], strict=True)]
    return numbers, [(text or "").strip() for text in fields[count:-1]], parse_time((fields[-1] or "").strip())


def _number(name: str, text: str | None) -> float:
    text = (text or "").strip()
    if _NUMBER.fullmatch(text):
        value = float(text)
        if math.isfinite(value):
            return value
    elif name not in NEEDED and text in ("", "NaN"):
        return math.nan
    where = "/".join(step.partition(":")[2] or step for step in _PATHS[name].split("/"))
    what = _WHAT.get(name.partition("_")[0]) if name in NEEDED else name.rpartition("_")[0].replace("_", " ")
    raise ValueError(f"no {what}: must have a number at {where}; got {repr(text[:60]) if text else 'nothing'}.")


def parse_time(text: str) -> int:
    """Return a time such as ``2020-02-06T17:06:46.7628367+01:00`` in nanoseconds since 1970, UTC.

    Without a zone it counts as UTC.

    Raises
    ------
    ValueError
        When it is no such time.
    """
    match = _TIME.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        when, fraction, sign, hours, minutes = match.groups()
        since = datetime.fromisoformat(when) - _EPOCH
    except ValueError:
        found = repr(text[:60]) if text else "nothing"
        raise ValueError(
            f"no time: must have one such as 2020-02-06T17:06:46.7628367+01:00 as acquisitionDateTime; got {found}."
        ) from None
    seconds = 86400 * since.days + since.seconds
    if sign:
        seconds -= (3600 * int(hours) + 60 * int(minutes)) * (1 if sign == "+" else -1)
    return seconds * 1_000_000_000 + int((fraction or "0").ljust(9, "0"))


def in_units(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the numbers of `READ_NUMBERS`, as they stand in files, in the units of `Session.table`."""
    found = {}
    for name in NUMBERS:
        factor = _FACTORS.get(name, 1e6 if name.endswith("_um") else 1.0)
        found[name] = columns[name] if factor == 1.0 else columns[name] * factor
    for row in ("x", "y"):
        binning = np.nan_to_num(columns[f"binning_{row}"], nan=1.0)
        for name in (f"image_{row}x_um", f"image_{row}y_um"):
            found[name] = found[name] * binning
    return found
