"""The size of a pixel: every place a file may say it, every spelling, and what must not be believed."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import tifffile

from analysis.pixel_size import convert_length, read_pixel_size, unit_in_um

PIXELS = np.zeros((6, 8), np.uint16)


def imagej(path, unit, *, encoding="utf-8", more="", resolution=(2, 4), tag_unit=1):
    """An ImageJ file as ImageJ writes it: pixels per unit in the resolution tags, the unit in the description."""
    description = f"ImageJ=1.54f\nunit={unit}\n{more}" if unit is not None else f"ImageJ=1.54f\n{more}"
    tifffile.imwrite(path, PIXELS, description=description.encode(encoding), metadata=None, resolution=resolution,
                     resolutionunit=tag_unit)  # fmt: skip
    return read_pixel_size(path)


def ome(path, attributes, **tags):
    text = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        f'<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="8" SizeY="6" SizeC="1" SizeZ="1" SizeT="1" '
        f'{attributes}><Channel ID="Channel:0:0" SamplesPerPixel="1"/><TiffData/></Pixels></Image></OME>'
    )
    tifffile.imwrite(path, PIXELS, description=text.encode(), metadata=None, **tags)
    return read_pixel_size(path)


def tagged(path, resolution, unit):
    tifffile.imwrite(path, PIXELS, resolution=resolution, resolutionunit=unit, metadata=None)
    return read_pixel_size(path)


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("um", 1), ("micron", 1), ("microns", 1), ("micrometer", 1), ("Micrometers", 1), ("micrometre", 1), ("µm", 1),
        ("\u03bcm", 1), ("\\u00B5m", 1), ("nm", 1e-3), ("mm", 1e3), ("cm", 1e4), ("m", 1e6), ("inch", 25400),
        ("UM", 1), (" um ", 1),
    ],
)  # fmt: skip
def test_imagej_units(unit, factor, tmp_path):
    found = imagej(tmp_path / "a.tif", unit)
    assert found.x_um == pytest.approx(factor / 2)
    assert found.y_um == pytest.approx(factor / 4)
    assert found.source == "ImageJ metadata"


def test_imagej_mu_in_latin_1(tmp_path):
    assert imagej(tmp_path / "a.tif", "µm", encoding="latin-1").x_um == 0.5


@pytest.mark.parametrize("read_as", ["latin-1", "cp1252"])
@pytest.mark.parametrize("mu", ["µ", "\u03bc"])
def test_imagej_mu_read_with_a_wrong_encoding(mu, read_as, tmp_path):
    mangled = (mu + "m").encode().decode(read_as)
    assert imagej(tmp_path / "a.tif", mangled).x_um == 0.5


@pytest.mark.parametrize("unit", ["pixel", "pixels", "", None])
def test_imagej_without_calibration_does_not_fall_back_to_tags(unit, tmp_path):
    found = imagej(tmp_path / "a.tif", unit, resolution=(20_000, 20_000), tag_unit=3)
    assert not found.known
    assert "not calibrated" in found.source


def test_imagej_unit_that_is_no_length(tmp_path):
    found = imagej(tmp_path / "a.tif", "furlongs")
    assert not found.known
    assert "'furlongs' is no length" in found.source


def test_imagej_centimetres_said_twice_are_one_fact(tmp_path):
    assert imagej(tmp_path / "a.tif", "cm", resolution=(20_000, 40_000), tag_unit=3).sides_um == (0.25, 0.5)


def test_imagej_other_unit_down_and_in_depth(tmp_path):
    found = imagej(tmp_path / "a.tif", "um", more="yunit=nm\nzunit=mm\nspacing=0.002\n")
    assert (found.y_um, found.x_um, found.z_um) == (pytest.approx(0.25e-3), 0.5, pytest.approx(2.0))


def test_imagej_spacing_in_the_same_unit(tmp_path):
    assert imagej(tmp_path / "a.tif", "nm", more="spacing=300\n").z_um == pytest.approx(0.3)


def test_imagej_as_tifffile_writes_it(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, imagej=True, resolution=(2, 4), metadata={"unit": "um"})
    assert read_pixel_size(tmp_path / "a.tif").sides_um == (0.25, 0.5)


@pytest.mark.parametrize(
    ("attributes", "sides"),
    [
        ('PhysicalSizeX="0.5" PhysicalSizeY="0.25"', (0.25, 0.5)),
        ('PhysicalSizeX="0.5" PhysicalSizeXUnit="µm" PhysicalSizeY="0.25" PhysicalSizeYUnit="µm"', (0.25, 0.5)),
        ('PhysicalSizeX="500" PhysicalSizeXUnit="nm" PhysicalSizeY="250" PhysicalSizeYUnit="nm"', (0.25, 0.5)),
        ('PhysicalSizeX="5e-4" PhysicalSizeXUnit="mm" PhysicalSizeY="2.5e-4" PhysicalSizeYUnit="mm"', (0.25, 0.5)),
        ('PhysicalSizeX="5e-7" PhysicalSizeXUnit="m" PhysicalSizeY="2.5e-7" PhysicalSizeYUnit="m"', (0.25, 0.5)),
        ('PhysicalSizeX="8.7" PhysicalSizeXUnit="Å" PhysicalSizeY="8.7" PhysicalSizeYUnit="Å"', (8.7e-4, 8.7e-4)),
        ('PhysicalSizeX="0.0001" PhysicalSizeXUnit="in" PhysicalSizeY="0.0001" PhysicalSizeYUnit="in"', (2.54, 2.54)),
    ],
)
def test_ome_units(attributes, sides, tmp_path):
    found = ome(tmp_path / "a.ome.tif", attributes)
    assert found.sides_um == pytest.approx(sides)
    assert found.source == "OME metadata"


def test_ome_depth(tmp_path):
    assert ome(tmp_path / "a.ome.tif", 'PhysicalSizeX="1" PhysicalSizeY="1" PhysicalSizeZ="2.5"').z_um == 2.5


@pytest.mark.parametrize(
    "attributes",
    [
        "",
        'PhysicalSizeX="0.5"',
        'PhysicalSizeX="0" PhysicalSizeY="0"',
        'PhysicalSizeX="nan" PhysicalSizeY="nan"',
        'PhysicalSizeX="half" PhysicalSizeY="half"',
        'PhysicalSizeX="1" PhysicalSizeXUnit="pixel" PhysicalSizeY="1" PhysicalSizeYUnit="pixel"',
        'PhysicalSizeX="1" PhysicalSizeXUnit="reference frame" PhysicalSizeY="1" PhysicalSizeYUnit="reference frame"',
    ],
)
def test_ome_that_does_not_say_falls_back_to_tags(attributes, tmp_path):
    assert not ome(tmp_path / "a.ome.tif", attributes).known
    found = ome(tmp_path / "b.ome.tif", attributes, resolution=(20_000, 40_000), resolutionunit=3)
    assert found.sides_um == (0.25, 0.5)
    assert found.source == "TIFF resolution tags"


def test_ome_wins_and_a_contradiction_is_said(tmp_path):
    size = 'PhysicalSizeX="0.5" PhysicalSizeY="0.5"'
    agreeing = ome(tmp_path / "a.ome.tif", size, resolution=(20_000, 20_000), resolutionunit=3)
    other = ome(tmp_path / "b.ome.tif", size, resolution=(2_000, 2_000), resolutionunit=3)
    printer = ome(tmp_path / "c.ome.tif", size, resolution=(72, 72), resolutionunit=2)
    assert agreeing.sides_um == other.sides_um == printer.sides_um == (0.5, 0.5)
    assert agreeing.warnings == printer.warnings == ()
    assert other.warnings == ("the TIFF resolution tags say 5 x 5 um",)


@pytest.mark.parametrize(
    ("resolution", "unit", "sides"),
    [
        ((20_000, 40_000), 3, (0.25, 0.5)),
        ((50_800, 101_600), 2, (0.25, 0.5)),
        ((2, 4), 5, (0.25, 0.5)),
        ((2_540, 2_540), 2, (10.0, 10.0)),
    ],
)
def test_resolution_tags(resolution, unit, sides, tmp_path):
    found = tagged(tmp_path / "a.tif", resolution, unit)
    assert found.sides_um == pytest.approx(sides)
    assert found.source == "TIFF resolution tags"


@pytest.mark.parametrize("dpi", [72, 96, 100, 150, 200, 300, 600, 1200])
@pytest.mark.parametrize("unit", [2, 3])
def test_resolutions_of_screens_and_printers_are_refused(dpi, unit, tmp_path):
    found = tagged(tmp_path / "a.tif", (dpi if unit == 2 else dpi / 2.54,) * 2, unit)
    assert not found.known
    assert f"{dpi} pixels per inch" in found.source


def test_tags_without_unit_are_refused(tmp_path):
    assert tagged(tmp_path / "a.tif", (2, 2), 1).source == "the resolution tags have no unit"


@pytest.mark.parametrize("value", [(0, 0), (0, 1), (1, 0)])
def test_a_resolution_of_nothing(value, tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS, resolution=(2, 2), resolutionunit=3, metadata=None)
    with tifffile.TiffFile(path) as tiff:
        places = [tiff.pages.first.tags[name].valueoffset for name in ("XResolution", "YResolution")]
    data = bytearray(path.read_bytes())
    for place in places:
        data[place : place + 8] = struct.pack("<II", *value)
    path.write_bytes(data)
    assert read_pixel_size(path).source == "the file does not say"


def test_a_file_that_says_nothing(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, metadata=None)
    found = read_pixel_size(tmp_path / "a.tif")
    assert found.sides_um is None
    assert found.source


def test_lsm_in_metres(tmp_path):
    record = np.zeros(1, np.dtype(tifffile.TIFF.CZ_LSMINFO).newbyteorder("<"))
    record["MagicNumber"], record["StructureSize"] = 67127628, record.itemsize
    record["VoxelSizeX"], record["VoxelSizeY"], record["VoxelSizeZ"] = 0.5e-6, 0.25e-6, 1e-6
    path = tmp_path / "a.lsm"
    with tifffile.TiffWriter(path, byteorder="<") as writer:  # a thumbnail follows each plane
        writer.write(PIXELS, metadata=None, extratags=[(34412, 1, record.nbytes, record.tobytes(), True)])
        writer.write(PIXELS[:3, :3], metadata=None, subfiletype=1)
    found = read_pixel_size(path)
    assert (found.y_um, found.x_um, found.z_um) == pytest.approx((0.25, 0.5, 1.0))
    assert found.source == "LSM voxel size"


@pytest.mark.parametrize(("units", "factor"), [("um", 1.0), ("nm", 1e-3)])
def test_stk_calibration(units, factor, tmp_path):
    path = tmp_path / "a.stk"
    write_stk(path, units)
    found = read_pixel_size(path)
    assert found.sides_um == pytest.approx((0.25 * factor, 0.5 * factor))
    assert found.source == "STK calibration"


def test_stk_in_pixels_is_no_length(tmp_path):
    write_stk(tmp_path / "a.stk", "pixel")
    assert not read_pixel_size(tmp_path / "a.stk").known


def write_stk(path, units):
    """MetaMorph's UIC1 tag: pairs of an identifier and a value, or where in the file the value is."""
    tifffile.imwrite(path, PIXELS, metadata=None, extratags=[
        (33628, 4, 6, (4, 0, 5, 0, 6, 0), True),
        (33629, 5, 1, (1, 1), True),
    ])  # fmt: skip
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages.first.tags[33628]
        place, entry = tag.valueoffset, tag.offset
    data = bytearray(path.read_bytes())
    values = len(data)
    # the count of the tag is that of the pairs
    data[entry + 4 : entry + 8] = struct.pack("<I", 3)
    text = units.encode() + b"\0"
    data += struct.pack("<IIII", 1, 2, 1, 4) + struct.pack("<I", len(text)) + text
    data[place : place + 24] = struct.pack("<6I", 4, values, 5, values + 8, 6, values + 16)
    path.write_bytes(data)


def test_svs_microns_per_pixel(tmp_path):
    text = "Aperio Image Library v11.2.1\n8x6 (6x8) JPEG/RGB Q=30|AppMag = 40|MPP = 0.252|Left = 25"
    tifffile.imwrite(tmp_path / "a.svs", PIXELS, description=text, metadata=None)
    found = read_pixel_size(tmp_path / "a.svs")
    assert found.sides_um == (0.252, 0.252)
    assert found.source == "Aperio MPP"


def test_bigtiff(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, bigtiff=True, resolution=(20_000, 20_000), resolutionunit=3)
    assert read_pixel_size(tmp_path / "a.tif").sides_um == (0.5, 0.5)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"no image at all")
    with pytest.raises(ValueError, match=r"a\.tif must be a TIFF image"):
        read_pixel_size(tmp_path / "a.tif")


@pytest.mark.parametrize(("value", "unit", "expected"), [(325, "nm", 0.325), (0.5, "um", 0.5), (1e-6, "m", 1.0)])
def test_typed_lengths(value, unit, expected):
    assert convert_length(value, unit) == pytest.approx(expected)


@pytest.mark.parametrize(("value", "unit", "words"), [(1, "pixel", "unit must be a length"), (0, "um", "above 0"),
                                                        (float("nan"), "um", "above 0")])  # fmt: skip
def test_typed_lengths_that_are_none(value, unit, words):
    with pytest.raises(ValueError, match=words):
        convert_length(value, unit)


@pytest.mark.parametrize("unit", ["pixel", "reference frame", "", "kg", "mm2", "umm"])
def test_what_is_no_length(unit):
    assert unit_in_um(unit) is None
