"""Images come back as they were written, with their pixel size; cut, damaged and huge files are refused."""

import logging

import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage

from analysis.images import open_raw, read_image, write_image, write_raw

LAYERS = np.random.default_rng(0).integers(0, 60000, (5, 23, 31), dtype=np.uint16)
PIXELS = LAYERS.transpose(1, 2, 0)


@pytest.fixture(autouse=True)
def quiet():
    """The decoder logs what it finds wrong; the refusal is what is looked at here."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int16", "int32", "float32", "float64"])
def test_written_image_reads_back(tmp_path, dtype):
    pixels = (PIXELS / 300).astype(dtype)
    image = read_image(write_image(tmp_path / "a.tif", pixels, (0.5, 0.25)))
    assert image.pixels.dtype == dtype
    np.testing.assert_array_equal(image.pixels, pixels)
    assert image.pixel_size_um == (0.5, 0.25)
    assert image.pixel_size_source == "OME metadata"
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_written_image_declares_its_axes(tmp_path):
    write_image(tmp_path / "a.tif", PIXELS)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.is_ome
        assert tiff.series[0].axes == "CYX"
    assert read_image(tmp_path / "a.tif").pixel_size_um is None


@pytest.mark.parametrize("shape", [(1, 1), (1, 7, 1), (3, 4, 1), (1, 1, 4), (2, 2, 3), (3, 3, 3)])
def test_small_images(tmp_path, shape):
    pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    found = read_image(write_image(tmp_path / "a.tif", pixels)).pixels
    np.testing.assert_array_equal(found, pixels.reshape(*shape[:2], -1))


WRITERS = {
    "ome": lambda path: tifffile.imwrite(path, LAYERS, ome=True, metadata={"axes": "CYX"}),
    "ome-deflate": lambda path: tifffile.imwrite(
        path, LAYERS, ome=True, metadata={"axes": "CYX"}, compression="zlib", rowsperstrip=8
    ),
    "ome-tiles": lambda path: tifffile.imwrite(
        path, LAYERS, ome=True, metadata={"axes": "CYX"}, tile=(16, 16), compression="zlib"
    ),
    "ome-samples": lambda path: tifffile.imwrite(
        path, PIXELS, ome=True, metadata={"axes": "YXS"}, photometric="minisblack", planarconfig="contig"
    ),
    "imagej": lambda path: tifffile.imwrite(path, LAYERS, imagej=True, metadata={"axes": "CYX"}),
    "pages": lambda path: tifffile.imwrite(path, LAYERS, photometric="minisblack", metadata=None),
    "pages-deflate": lambda path: tifffile.imwrite(
        path, LAYERS, photometric="minisblack", metadata=None, compression="zlib"
    ),
    "bigtiff": lambda path: tifffile.imwrite(path, LAYERS, photometric="minisblack", bigtiff=True),
    "big-endian": lambda path: tifffile.imwrite(path, LAYERS, photometric="minisblack", byteorder=">", metadata=None),
    "ours": lambda path: write_image(path, PIXELS, (0.5, 0.5)),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_layers_come_last_whatever_the_writer(tmp_path, kind):
    WRITERS[kind](tmp_path / "a.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels, PIXELS)


@pytest.mark.parametrize("kind", [*WRITERS, "png"])
def test_cut_file_is_refused_or_whole(tmp_path, kind):
    path, cut = tmp_path / "a.tif", tmp_path / "cut.tif"
    if kind == "png":
        PillowImage.fromarray(LAYERS[0]).save(path, format="PNG")
    else:
        WRITERS[kind](path)
    data, whole = path.read_bytes(), read_image(path)
    refused = 0
    for end in {*range(0, 300, 7), *range(300, len(data), 211), *range(len(data) - 60, len(data))}:
        cut.write_bytes(data[:end])
        try:
            image = read_image(cut)
        except ValueError as error:
            assert str(cut) in str(error)
            refused += 1
        else:
            np.testing.assert_array_equal(image.pixels, whole.pixels)
            assert image.pixel_size_um == whole.pixel_size_um
    assert refused > 70


def test_colour_and_palette(tmp_path):
    colour = (PIXELS[..., :3] >> 8).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", colour, photometric="rgb")
    PillowImage.fromarray(colour).save(tmp_path / "a.png")
    PillowImage.fromarray(colour[..., 0]).convert("P").save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels, colour)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").pixels, colour)
    assert read_image(tmp_path / "p.png").pixels.shape == (23, 31, 3)


def test_grey_png_keeps_16_bits(tmp_path):
    PillowImage.fromarray(LAYERS[0]).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.pixels.dtype == np.uint16
    np.testing.assert_array_equal(image.pixels[..., 0], LAYERS[0])


def test_kind_is_told_by_content(tmp_path):
    write_image(tmp_path / "a.png", PIXELS)
    assert read_image(tmp_path / "a.png").pixels.shape == PIXELS.shape


def test_pixel_size_from_each_source(tmp_path):
    imagej, tags, png = tmp_path / "i.tif", tmp_path / "t.tif", tmp_path / "p.png"
    tifffile.imwrite(imagej, LAYERS[0], imagej=True, resolution=(4, 2), metadata={"axes": "YX", "unit": "um"})
    tifffile.imwrite(tags, LAYERS[0], resolution=(40000, 20000), resolutionunit="CENTIMETER")
    PillowImage.fromarray(LAYERS[0]).save(png, dpi=(25400 * 4, 25400 * 2))
    assert read_image(imagej).pixel_size_um == (0.5, 0.25)
    assert read_image(imagej).pixel_size_source == "ImageJ metadata"
    assert read_image(tags).pixel_size_um == (0.5, 0.25)
    assert read_image(tags).pixel_size_source == "TIFF resolution tags"
    assert read_image(png).pixel_size_um == pytest.approx((0.5, 0.25), rel=1e-4)
    assert read_image(png).pixel_size_source == "PNG pHYs entry"


@pytest.mark.parametrize(("unit", "factor"), [("nm", 1e-3), ("mm", 1e3), ("µm", 1), ("pixel", None)])
def test_ome_units(tmp_path, unit, factor):
    metadata = {"axes": "YX", "PhysicalSizeX": 2.0, "PhysicalSizeXUnit": unit, "PhysicalSizeY": 3.0}
    metadata["PhysicalSizeYUnit"] = unit
    tifffile.imwrite(tmp_path / "a.tif", LAYERS[0], ome=True, metadata=metadata)
    expected = None if factor is None else pytest.approx((3 * factor, 2 * factor))
    assert read_image(tmp_path / "a.tif").pixel_size_um == expected


@pytest.mark.parametrize("dots", [72, 96, 300])
def test_resolution_for_printers_is_no_pixel_size(tmp_path, dots):
    tifffile.imwrite(tmp_path / "a.tif", LAYERS[0], resolution=(dots, dots), resolutionunit="INCH")
    PillowImage.fromarray(LAYERS[0]).save(tmp_path / "a.png", dpi=(dots, dots))
    for name in ("a.tif", "a.png"):
        image = read_image(tmp_path / name)
        assert image.pixel_size_um is None
        assert "print" in image.pixel_size_source


@pytest.mark.parametrize(("axes", "words"), [("ZCYX", "depth"), ("TCYX", "time"), ("ZYX", "depth")])
def test_planes_in_depth_or_time_are_refused(tmp_path, axes, words):
    shape = (2,) * (len(axes) - 2) + (8, 9)
    tifffile.imwrite(tmp_path / "a.tif", np.zeros(shape, np.uint8), ome=True, metadata={"axes": axes})
    with pytest.raises(ValueError, match=rf"a\.tif must hold one plane; it has 2 planes in {words}"):
        read_image(tmp_path / "a.tif")


def test_single_planes_in_depth_and_time_are_read(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", LAYERS[None, :, None], ome=True, metadata={"axes": "TCZYX"})
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels, PIXELS)


def test_several_images_are_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(LAYERS[0])
        tiff.write(LAYERS[0, :5])
    with pytest.raises(ValueError, match=r"a\.tif must hold one image; it holds 2"):
        read_image(tmp_path / "a.tif")


def test_huge_declared_size_is_refused_before_decoding(tmp_path):
    blank = np.zeros((2000, 2000), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", blank, compression="zlib")
    PillowImage.fromarray(blank).save(tmp_path / "a.png")
    assert (tmp_path / "a.tif").stat().st_size < 50_000
    for name in ("a.tif", "a.png"):
        with pytest.raises(ValueError, match=rf"{name} must decode to at most 0\.001 GB; it declares 0\.004 GB"):
            read_image(tmp_path / name, memory_gb=0.001)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "a.tif").write_text("no image")
    (tmp_path / "b.tif").write_bytes(b"")
    for name in ("a.tif", "b.tif"):
        with pytest.raises(ValueError, match=rf"{name} must be a TIFF or PNG image"):
            read_image(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"missing\.tif"):
        read_image(tmp_path / "missing.tif")


def test_colour_png_of_16_bits_is_refused(tmp_path):
    header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (4).to_bytes(4, "big") * 2 + bytes([16, 2, 0, 0, 0]) + bytes(4)
    (tmp_path / "a.png").write_bytes(header)
    with pytest.raises(ValueError, match=r"a\.png must be grey when it has 16 bits"):
        read_image(tmp_path / "a.png")


def test_damaged_strip_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, LAYERS[0], compression="zlib", rowsperstrip=8)
    with tifffile.TiffFile(path) as tiff:
        start = tiff.pages[0].dataoffsets[1]
    data = bytearray(path.read_bytes())
    data[start : start + 40] = bytes(40)
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.tif must be a whole image"):
        read_image(path)


def test_cut_in_the_pixels_is_said_before_decoding(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, LAYERS[0], photometric="minisblack", metadata=None)
    path.write_bytes(path.read_bytes()[:-100])
    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", None)
    with pytest.raises(ValueError, match=r"a\.tif must be whole; page 1 reaches to byte \d+, the file has"):
        read_image(path)


def test_parts_without_bytes_are_refused(tmp_path):
    """They would come out black."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, LAYERS[0], compression="zlib", tile=(16, 16))
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tag = tiff.pages[0].tags["TileByteCounts"]
        tag.overwrite([0, *tag.value[1:]])
    with pytest.raises(ValueError, match=r"a\.tif must be whole; a part of page 1 is empty"):
        read_image(path)


def test_fewer_pages_than_the_metadata_declares(tmp_path):
    path = tmp_path / "a.ome.tif"
    xml = tifffile.OmeXml()
    xml.addimage("uint16", (10, 23, 31), (10, 1, 1, 23, 31, 1), axes="CYX")
    tifffile.imwrite(path, LAYERS, description=xml.tostring(), photometric="minisblack", metadata=None)
    with pytest.raises(ValueError, match=r"a\.ome\.tif must hold"):
        read_image(path)


def test_imagej_file_with_fewer_pages_than_declared(tmp_path):
    path = tmp_path / "a.tif"
    description = "ImageJ=1.54f\nimages=9\nchannels=9\nhyperstack=true\n"
    tifffile.imwrite(path, LAYERS, description=description, photometric="minisblack", metadata=None)
    with pytest.raises(ValueError, match=r"a\.tif must (hold|be whole)"):
        read_image(path)


def test_decoder_that_returns_less_is_not_believed(tmp_path, monkeypatch):
    write_image(tmp_path / "a.tif", PIXELS)
    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", lambda _: LAYERS[:2])
    with pytest.raises(ValueError, match=r"a\.tif must hold \(5, 23, 31\) values; \(2, 23, 31\) came out"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("dtype", ["complex64", "uint64", "bool"])
def test_types_that_cannot_be_written(tmp_path, dtype):
    with pytest.raises(ValueError, match=r"a\.tif must be one of uint8.*got"):
        write_image(tmp_path / "a.tif", np.zeros((3, 4, 1), dtype))
    with pytest.raises(ValueError, match=r"a\.tif must be \(rows, columns, layers\)"):
        write_image(tmp_path / "a.tif", np.zeros((3, 4, 1, 1), "uint8"))
    assert not list(tmp_path.iterdir())


def test_failed_write_keeps_the_old_image(tmp_path, monkeypatch):
    write_image(tmp_path / "a.tif", PIXELS)
    before = (tmp_path / "a.tif").read_bytes()

    def full(handle, *_, **__):
        handle.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tifffile, "imwrite", full)
    with pytest.raises(OSError, match=r"No space left.*a\.tif"):
        write_image(tmp_path / "a.tif", PIXELS + 1)
    assert (tmp_path / "a.tif").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_raw_arrays_are_mapped_read_only(tmp_path):
    values = np.arange(24.0).reshape(2, 3, 4)
    write_raw({tmp_path / "a.bin": (values, "<f8"), tmp_path / "b.bin": (values, "<u8")})
    found = open_raw(tmp_path / "a.bin", (2, 3, 4), "<f8")
    np.testing.assert_array_equal(found, values)
    np.testing.assert_array_equal(open_raw(tmp_path / "b.bin", (2, 3, 4), "<u8"), values)
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 1


@pytest.mark.parametrize(("size", "state"), [(191, "truncated"), (200, "another shape"), (0, "truncated")])
def test_raw_file_of_another_size_is_refused(tmp_path, size, state):
    (tmp_path / "a.bin").write_bytes(bytes(size))
    with pytest.raises(ValueError, match=rf"a\.bin must have 192 bytes.*got {size} bytes.*{state}"):
        open_raw(tmp_path / "a.bin", (2, 3, 4), "<f8")


def test_raw_arrays_are_written_all_or_none(tmp_path):
    write_raw({tmp_path / "a.bin": (np.zeros(3), "<f8")})
    with pytest.raises(ValueError, match="could not convert"):
        write_raw({tmp_path / "a.bin": (np.ones(3), "<f8"), tmp_path / "b.bin": (np.array(["x"]), "<f8")})
    np.testing.assert_array_equal(open_raw(tmp_path / "a.bin", (3,), "<f8"), 0)
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]
