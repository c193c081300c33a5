"""Planes of image files, band by band: the pixels of every kind of file, and no more memory than the band."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage

from analysis.planes import find_info, open_plane

RNG = np.random.default_rng(0)


def noise(*shape, dtype=np.uint16):
    return RNG.integers(0, 200, shape).astype(dtype)


GREY = noise(157, 211)
COLOUR = noise(157, 211, 3, dtype=np.uint8)
LAYOUTS = {
    "contiguous": {},
    "strips": {"rowsperstrip": 10, "compression": "zlib"},
    "one strip": {"rowsperstrip": 157, "compression": "zlib"},
    "tiles": {"tile": (32, 48), "compression": "zlib"},
    "plain tiles": {"tile": (64, 64)},
    "predictor": {"rowsperstrip": 16, "compression": "zlib", "predictor": True},
    "lzw": {"rowsperstrip": 16, "compression": "lzw"},
    "bigtiff": {"bigtiff": True},
    "big-endian": {"byteorder": ">"},
    "big-endian strips": {"byteorder": ">", "rowsperstrip": 7, "compression": "zlib"},
}


def read_all(path):
    with open_plane(path) as plane:
        return plane.all()


def bands(plane, height):
    return np.concatenate([plane.rows(y, min(y + height, plane.shape[0])) for y in range(0, plane.shape[0], height)])


@pytest.mark.parametrize("height", [1, 13, 157])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("pixels", [GREY, COLOUR, GREY.astype(np.float32)], ids=["grey", "colour", "float"])
def test_bands_of_tiff_are_the_image(pixels, layout, height, tmp_path):
    options = {**LAYOUTS[layout], "photometric": "rgb" if pixels.ndim == 3 else "minisblack"}
    if pixels.dtype.kind == "f" and "predictor" in options:
        options["predictor"] = 3
    byteorder = {"byteorder": options.pop("byteorder")} if "byteorder" in options else {}
    tifffile.imwrite(tmp_path / "a.tif", pixels, **options, **byteorder)
    with open_plane(tmp_path / "a.tif") as plane:
        assert plane.shape == pixels.shape
        assert plane.dtype == pixels.dtype
        found = bands(plane, height)
        assert found.dtype == pixels.dtype
        assert found.dtype.isnative
        assert np.array_equal(found, pixels)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("kind", ["ome", "imagej", "plain"])
def test_channels_and_planes_are_chosen(kind, compression, tmp_path):
    stack = noise(4, 3, 40, 50)  # depth, channel
    path = tmp_path / ("a.ome.tif" if kind == "ome" else "a.tif")
    if kind == "ome":
        tifffile.imwrite(path, stack, ome=True, metadata={"axes": "ZCYX"}, compression=compression)
    elif kind == "imagej":
        tifffile.imwrite(path, stack, imagej=True, metadata={"axes": "ZCYX"}, compression=compression)
    else:
        tifffile.imwrite(path, stack.reshape(-1, 40, 50), metadata=None, compression=compression)
    info = find_info(path)
    assert (info.planes, info.channels) == ((12, 1) if kind == "plain" else (4, 3))
    for z in range(4):
        for c in range(3):
            how = {"plane": z * 3 + c + 1} if kind == "plain" else {"channel": c + 1, "plane": z + 1}
            with open_plane(path, **how) as plane:
                assert np.array_equal(plane.all(), stack[z, c])


def test_a_choice_is_asked_for(tmp_path):
    tifffile.imwrite(tmp_path / "a.ome.tif", noise(3, 20, 30), ome=True, metadata={"axes": "CYX"})
    with pytest.raises(ValueError, match="must have one channel, or channel must say which; it has 3"):
        open_plane(tmp_path / "a.ome.tif")
    with pytest.raises(ValueError, match="channel must be from 1 to 3"):
        open_plane(tmp_path / "a.ome.tif", channel=4)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_colours_saved_one_behind_the_other(compression, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.moveaxis(COLOUR, -1, 0), photometric="rgb", planarconfig="separate",
                     compression=compression)  # fmt: skip
    with open_plane(tmp_path / "a.tif") as plane:
        assert np.array_equal(bands(plane, 20), COLOUR)


def test_transparency_is_left_out(tmp_path):
    with_alpha = np.dstack([COLOUR, np.full(COLOUR.shape[:2], 255, np.uint8)])
    tifffile.imwrite(tmp_path / "a.tif", with_alpha, photometric="rgb", extrasamples=["unassalpha"])
    PillowImage.fromarray(with_alpha).save(tmp_path / "a.png")
    for name in ("a.tif", "a.png"):
        with open_plane(tmp_path / name) as plane:
            assert np.array_equal(plane.all(), COLOUR)


def test_pyramids_and_thumbnails_are_left_alone(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(GREY, subifds=1, tile=(64, 64), compression="zlib")
        writer.write(GREY[::2, ::2], subfiletype=1, tile=(64, 64), compression="zlib")
    with open_plane(tmp_path / "a.tif") as plane:
        assert np.array_equal(plane.all(), GREY)


@pytest.mark.parametrize(
    ("name", "pixels"),
    [("a.png", COLOUR), ("b.png", GREY.astype(np.uint8)), ("c.png", GREY), ("d.jpg", GREY.astype(np.uint8))],
)
def test_pictures(name, pixels, tmp_path):
    PillowImage.fromarray(pixels).save(tmp_path / name, **({"quality": 100} if name.endswith("jpg") else {}))
    with open_plane(tmp_path / name) as plane:
        found = bands(plane, 50)
    assert found.dtype == pixels.dtype
    assert np.abs(found.astype(int) - pixels).max() <= (2 if name.endswith("jpg") else 0)


def test_info_says_size_and_kind(tmp_path):
    tifffile.imwrite(tmp_path / "a.ome.tif", GREY, ome=True, metadata={"axes": "YX", "PhysicalSizeX": 0.5,
                     "PhysicalSizeY": 0.25})  # fmt: skip
    info = find_info(tmp_path / "a.ome.tif")
    assert (info.format, info.rows, info.columns, info.dtype) == ("OME-TIFF", 157, 211, "uint16")
    assert info.pixel_size.sides_um == (0.25, 0.5)


@pytest.mark.parametrize("keep", [0, 3, 60, 0.5, 0.98])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "rowsperstrip": 16}], ids=["plain", "compressed"])
def test_cut_files_are_refused(options, keep, tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GREY, **options)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(ValueError, match=r"a\.tif"):
        read_all(path)


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_cut_pictures_are_refused(name, tmp_path):
    PillowImage.fromarray(COLOUR).save(tmp_path / name)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="must be a whole image"):
        read_all(tmp_path / name)


def test_a_picture_that_declares_too_much_is_not_decoded(tmp_path):
    PillowImage.fromarray(COLOUR).save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.png"):
        open_plane(tmp_path / "a.png")


@pytest.mark.parametrize("content", [b"", b"text", b"GIF89a" + bytes(50)])
def test_other_files_are_refused(content, tmp_path):
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(ValueError, match="must be a TIFF, PNG or JPEG image"):
        open_plane(tmp_path / "a.tif")


def test_two_images_in_one_file_are_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(GREY, metadata=None)
        writer.write(GREY.astype(np.float32), metadata=None)
    with pytest.raises(ValueError, match="must hold one image; it holds 2"):
        open_plane(tmp_path / "a.tif")


@pytest.mark.parametrize("ending", [".czi", ".nd2", ".lif"])
def test_vendors_files_name_the_extra(ending, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "bioio", None)
    (tmp_path / f"a{ending}").write_bytes(b"ZISRAWFILE")
    with pytest.raises(ValueError, match=r"graticule\[formats\]"):
        open_plane(tmp_path / f"a{ending}")


def test_rows_outside_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GREY)
    with open_plane(tmp_path / "a.tif") as plane, pytest.raises(ValueError, match="rows must lie within 0 to 157"):
        plane.rows(100, 200)
