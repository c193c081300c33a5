"""How large a pixel is, and which part of the file says so."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import tifffile
from lxml import etree

LENGTHS_UM: Mapping[str, float] = {"nm": 1e-3, "um": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6}
"""Units that people choose from, in micrometres."""
LARGEST_UM = 20.0
"""From plain resolution tags a larger pixel is taken for the resolution of a printer or a screen: 300 dpi is 85 um."""

_SPELLINGS_UM = {
    **LENGTHS_UM,
    "pm": 1e-6, "å": 1e-4, "angstrom": 1e-4, "angstroms": 1e-4, "a": 1e-4,
    "nanometer": 1e-3, "nanometers": 1e-3, "nanometre": 1e-3, "nanometres": 1e-3,
    "µm": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0, "micrometers": 1.0, "micrometre": 1.0,
    "micrometres": 1.0,
    "millimeter": 1e3, "millimeters": 1e3, "millimetre": 1e3, "millimetres": 1e3,
    "centimeter": 1e4, "centimeters": 1e4, "centimetre": 1e4, "centimetres": 1e4, "dm": 1e5,
    "meter": 1e6, "meters": 1e6, "metre": 1e6, "metres": 1e6,
    "in": 25400.0, "inch": 25400.0, "inches": 25400.0, "\"": 25400.0,
}  # fmt: skip
_MU = set("µ\u03bc\u00e2\u00c2\u00ee\u00ce\u00bc\ufffd\u00c3\u00e3")
"""Both mus, and what they become when they are read with a wrong encoding."""
_NO_LENGTH = {"", "pixel", "pixels", "px", "reference frame", "none", "unknown"}
_TAG_UNITS_UM = {2: 25400.0, 3: 1e4, 4: 1e3, 5: 1.0}
"""ResolutionUnit: inch and cm by the standard; mm and um as some programs write them."""
_MPP = re.compile(r"\bMPP\s*=\s*([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)")
_CONTRADICTING = 0.01


@dataclass(frozen=True)
class PixelSize:
    """Size of a pixel in micrometres.

    Attributes
    ----------
    y_um, x_um
        Height and width; None when the file does not say.
    source
        Where it comes from, or why there is none.
    z_um
        Distance of planes, where the file says.
    warnings
        What in the file speaks against it.
    """

    y_um: float | None
    x_um: float | None
    source: str
    z_um: float | None = None
    warnings: tuple[str, ...] = ()

    @property
    def known(self) -> bool:
        """Whether the file says."""
        return self.y_um is not None and self.x_um is not None

    @property
    def sides_um(self) -> tuple[float, float] | None:
        """Height and width, or None."""
        return (self.y_um, self.x_um) if self.known else None


def unit_in_um(unit: str) -> float | None:
    r"""Return what a unit is in micrometres, however it is spelled; None for one that is no length.

    Parameters
    ----------
    unit
        As programs write it: ``um``, ``micron``, ``µm`` with either mu, escaped, or read with a wrong encoding.

    Examples
    --------
    >>> unit_in_um("Microns"), unit_in_um(r"\u00B5m"), unit_in_um("pixel")
    (1.0, 1.0, None)
    """
    name = unit.strip(" \t\r\n\0").lower()
    for escaped in (r"\u00b5", r"\u03bc", r"\xb5", "&micro;", "&#181;"):
        name = name.replace(escaped, "µ")
    if name.endswith("m") and name != "m" and set(name[:-1]) <= _MU:
        return 1.0
    return _SPELLINGS_UM.get(name)


def convert_length(value: float, unit: str) -> float:
    """Return a typed length in micrometres.

    Parameters
    ----------
    value
        A number above 0.
    unit
        One of ``nm um mm cm m``, or another spelling of a length.

    Raises
    ------
    ValueError
        For no length, or a number that is none.
    """
    factor = unit_in_um(unit)
    if factor is None:
        raise ValueError(f"unit must be a length such as {', '.join(LENGTHS_UM)}; got {unit!r}.")
    if not 0 < value < math.inf:
        raise ValueError(f"pixel size must be a number above 0; got {value}.")
    return value * factor


def read_pixel_size(path: str | os.PathLike[str]) -> PixelSize:
    """Read the size of a pixel from a TIFF file.

    The first of these that says it: OME-XML, Zeiss LSM, MetaMorph STK, ImageJ, Olympus SIS, Aperio SVS, resolution
    tags. ImageJ's calibration is believed also when it says that there is none.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    PixelSize
        With its source, and a warning where another part of the file says otherwise.

    Raises
    ------
    ValueError
        When the file is no TIFF.
    OSError
        When it cannot be opened.
    """
    try:
        with tifffile.TiffFile(Path(path)) as tiff:
            return tiff_pixel_size(tiff)
    except tifffile.TiffFileError as error:
        raise ValueError(f"{path} must be a TIFF image; {error}.") from None


def tiff_pixel_size(tiff: tifffile.TiffFile) -> PixelSize:
    """Return the size of a pixel of an open TIFF file, as `read_pixel_size` does.

    Parameters
    ----------
    tiff
        An open file.
    """
    last = "the file does not say"
    for applies, read in _SOURCES:
        if not applies(tiff):
            continue
        found = _tried(read, tiff)
        if found is None:
            continue
        if found.known:
            return _compared(found, tiff)
        last = found.source
        if read is _from_imagej:  # it says that the image is not calibrated, whatever the tags are
            break
    return PixelSize(None, None, last)


def _tried(read: Callable[[tifffile.TiffFile], PixelSize | None], tiff: tifffile.TiffFile) -> PixelSize | None:
    # vendors' structures are read by tifffile, and may be damaged in ways of their own; the next source may be whole
    with contextlib.suppress(ValueError, TypeError, KeyError, IndexError, ArithmeticError, AttributeError, OSError):
        return read(tiff)
    return None


def _sized(y_um: float, x_um: float, source: str, z_um: float | None = None, *warnings: str) -> PixelSize | None:
    if not all(math.isfinite(side) and side > 0 for side in (y_um, x_um)):
        return None
    depth = z_um if z_um is not None and math.isfinite(z_um) and z_um > 0 else None
    return PixelSize(y_um, x_um, source, depth, warnings)


def _from_ome(tiff: tifffile.TiffFile) -> PixelSize | None:
    pixels = ome_pixels(tiff)
    if pixels is None:
        return None
    sides = {axis: _ome_length(pixels, axis) for axis in "YXZ"}
    if sides["Y"] is None or sides["X"] is None:
        return PixelSize(None, None, "the OME metadata does not say")
    return _sized(sides["Y"], sides["X"], "OME metadata", sides["Z"])


def ome_pixels(tiff: tifffile.TiffFile) -> etree._Element | None:
    """Return the Pixels element of the OME-XML in a file, or None; XML with a DOCTYPE is not looked at."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False)
    try:
        tree = etree.fromstring(tiff.ome_metadata.encode(), parser)
    except (etree.XMLSyntaxError, AttributeError):
        return None
    if tree.getroottree().docinfo.doctype:
        return None
    return next(tree.iter("{*}Pixels"), None)


def _ome_length(pixels: etree._Element, axis: str) -> float | None:
    factor = unit_in_um(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
    try:
        value = float(pixels.get(f"PhysicalSize{axis}", "")) * (factor or math.nan)
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def _from_lsm(tiff: tifffile.TiffFile) -> PixelSize | None:
    info = tiff.lsm_metadata or {}
    return _sized(info["VoxelSizeY"] * 1e6, info["VoxelSizeX"] * 1e6, "LSM voxel size", info["VoxelSizeZ"] * 1e6)


def _from_stk(tiff: tifffile.TiffFile) -> PixelSize | None:
    info = tiff.stk_metadata or {}
    unit = str(info.get("CalibrationUnits", ""))
    factor = unit_in_um(unit)
    if factor is None:
        return PixelSize(None, None, f"the STK calibration is in {unit or 'no unit'}, which is no length")
    return _sized(float(info["YCalibration"]) * factor, float(info["XCalibration"]) * factor, "STK calibration")


def _from_imagej(tiff: tifffile.TiffFile) -> PixelSize | None:
    info = tiff.imagej_metadata or {}
    unit = str(info.get("unit", ""))
    factor = unit_in_um(unit)
    if factor is None:
        known = unit.strip().lower() in _NO_LENGTH
        words = "the image is not calibrated in ImageJ" if known else f"ImageJ's unit {unit!r} is no length"
        return PixelSize(None, None, words)
    per_y, per_x = _per_unit(tiff)
    if per_y <= 0 or per_x <= 0:
        return PixelSize(None, None, f"ImageJ says {unit}, but the resolution tags say nothing")
    y_factor = unit_in_um(str(info.get("yunit", ""))) or factor
    z_factor = unit_in_um(str(info.get("zunit", ""))) or factor
    spacing = info.get("spacing")
    depth = abs(float(spacing)) * z_factor if isinstance(spacing, (int, float)) else None
    return _sized(y_factor / per_y, factor / per_x, "ImageJ metadata", depth)


def _from_sis(tiff: tifffile.TiffFile) -> PixelSize | None:
    info = tiff.sis_metadata or {}
    return _sized(info["pixelsizey"] * 1e6, info["pixelsizex"] * 1e6, "Olympus SIS calibration")


def _from_svs(tiff: tifffile.TiffFile) -> PixelSize | None:
    found = _MPP.search(tiff.pages.first.description)
    return _sized(float(found[1]), float(found[1]), "Aperio MPP") if found else None


def _from_tags(tiff: tifffile.TiffFile) -> PixelSize | None:
    per_y, per_x = _per_unit(tiff)
    if per_y <= 0 or per_x <= 0:
        return PixelSize(None, None, "the file does not say")
    tags = tiff.pages.first.tags
    # the standard's default is inch
    number = int(tags["ResolutionUnit"].value) if "ResolutionUnit" in tags else 2
    factor = _TAG_UNITS_UM.get(number)
    if factor is None:
        return PixelSize(None, None, "the resolution tags have no unit")
    return size_of_resolution(factor / per_y, factor / per_x, "TIFF resolution tags")


def size_of_resolution(y_um: float, x_um: float, source: str) -> PixelSize:
    """Return the size that a plain resolution gives, unless it is one for printing.

    Parameters
    ----------
    y_um, x_um
        Sides of a pixel that the resolution means.
    source
        Where the resolution stands.
    """
    if not all(math.isfinite(side) and side > 0 for side in (y_um, x_um)):
        return PixelSize(None, None, "the file does not say")
    if max(y_um, x_um) > LARGEST_UM:
        words = f"{25400 / x_um:.4g} pixels per inch"
        return PixelSize(None, None, f"{words}, a resolution for printing or screens, is not taken for a pixel size")
    return PixelSize(y_um, x_um, source)


def _per_unit(tiff: tifffile.TiffFile) -> tuple[float, float]:
    """Pixels per unit down and across as the tags say; 0 for a tag that is missing or has no value."""
    tags = tiff.pages.first.tags
    return tuple(_ratio(tags[name].value) if name in tags else 0.0 for name in ("YResolution", "XResolution"))


def _ratio(value: tuple[int, int] | float) -> float:
    if isinstance(value, tuple):
        return value[0] / value[1] if value[1] else 0.0
    return float(value)


def _compared(found: PixelSize, tiff: tifffile.TiffFile) -> PixelSize:
    """Add a warning when the resolution tags of an OME, LSM or STK file say another size."""
    if found.source in ("TIFF resolution tags", "ImageJ metadata"):
        return found
    tags = _tried(_from_tags, tiff)
    if tags is None or not tags.known or "ResolutionUnit" not in tiff.pages.first.tags:
        return found
    off = max(abs(tags.y_um / found.y_um - 1), abs(tags.x_um / found.x_um - 1))
    if off <= _CONTRADICTING:
        return found
    words = f"the TIFF resolution tags say {tags.y_um:.6g} x {tags.x_um:.6g} um"
    return PixelSize(found.y_um, found.x_um, found.source, found.z_um, (*found.warnings, words))


_SOURCES: tuple[tuple[Callable[[tifffile.TiffFile], bool], Callable[[tifffile.TiffFile], PixelSize | None]], ...] = (
    (lambda tiff: tiff.is_ome, _from_ome),
    (lambda tiff: tiff.is_lsm, _from_lsm),
    (lambda tiff: tiff.is_stk, _from_stk),
    (lambda tiff: tiff.is_imagej, _from_imagej),
    (lambda tiff: tiff.is_sis, _from_sis),
    (lambda tiff: tiff.pages.first.is_svs, _from_svs),
    (lambda tiff: True, _from_tags),
)
